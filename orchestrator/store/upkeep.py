"""What keeps the file healthy: checks, statistics for the planner, pages given back."""

from collections.abc import Iterator

from orchestrator.store.database import Connection, Database

_PAGES = 64


def quick_check(database: Database) -> list[str]:
    """Return what SQLite finds wrong with the file's structure, nothing when it is sound; reads the whole file once."""
    with database.read() as connection:
        return _findings(connection, "PRAGMA quick_check")


def integrity_check(database: Database) -> list[str]:
    """Return what `quick_check` does, and where an index and its table disagree; takes several times as long."""
    with database.read() as connection:
        return _findings(connection, "PRAGMA integrity_check")


def optimize(database: Database) -> None:
    """Let SQLite refresh the statistics that its planner uses, where tables have changed much since the last time."""
    with database.write() as connection:
        # 0x10000: all tables, and not only those that this connection asked; 0x12: ANALYZE, of a sample.
        connection.execute("PRAGMA optimize(0x10012)").fetchall()


def shrink(database: Database) -> Iterator[int]:
    """Give free pages back to the disk, some in each of many short transactions; each step is the number given back."""
    while True:
        with database.write() as connection:
            free = _free_pages(connection)
            # The pragma frees one page a row, so its rows are read to the end.
            connection.execute(f"PRAGMA incremental_vacuum({_PAGES})").fetchall()
            freed = free - _free_pages(connection)
        if freed <= 0:
            return
        yield freed


def _free_pages(connection: Connection) -> int:
    return int(connection.pragma("freelist_count"))


def _findings(connection: Connection, check: str) -> list[str]:
    return [str(finding) for (finding,) in connection.execute(check) if finding != "ok"]
