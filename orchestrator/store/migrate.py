"""The file's versions: numbered .sql files, applied with their `user_version` in one transaction, and the views anew.

A new migration is a file in migrations/ and its name in `MIGRATIONS`; none is edited once shipped.
"""

import apsw

MIGRATIONS = (
    "0001_snapshots", "0002_ledger", "0003_alerts", "0004_pruned_calls", "0005_changes", "0006_limits", "0007_pnl_view",
)  # fmt: skip
NEWEST = len(MIGRATIONS)
APPLICATION_ID = 0x6F726368  # "orch"


def upgrade(connection: apsw.Connection, version: int) -> None:
    """Apply every migration above `version` and make the views anew, inside the caller's transaction."""
    views = sql_file("views.sql")
    for name in _view_names(views):
        run(connection, f"DROP VIEW IF EXISTS {name}")
    for migration in MIGRATIONS[version:]:
        run(connection, sql_file(f"migrations/{migration}.sql"))
    run(connection, views)
    run(connection, f"PRAGMA application_id = {APPLICATION_ID}")
    run(connection, f"PRAGMA user_version = {NEWEST}")


def run(connection: apsw.Connection, statements: str) -> None:
    """Run all statements to their end: execute() alone stops at the first row that one of them returns."""
    for _ in connection.execute(statements):
        pass


def sql_file(name: str) -> str:
    """Return the text of one of this package's .sql files."""
    from importlib.resources import files

    return files("orchestrator.store").joinpath(name).read_text(encoding="utf-8")


def _view_names(views: str) -> list[str]:
    return [line.split()[2] for line in views.splitlines() if line.startswith("CREATE VIEW ")]


def number(connection: apsw.Connection, pragma: str) -> int:
    """Return what a PRAGMA that answers one number says."""
    value = connection.execute(pragma).get
    assert isinstance(value, int)
    return value
