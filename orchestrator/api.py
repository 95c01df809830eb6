"""The in-process API: calls that need no argument, for an agent's own code.

Each finds the file as the command line does and opens it once; `db=` names another file, a path or a `Database`, and `now=` an
aware datetime instead of the clock. Every call may be made from any thread, and after a fork.
"""

import os
import threading
from datetime import UTC, datetime
from pathlib import Path

from orchestrator import context
from orchestrator.config.place import find_database
from orchestrator.errors import OrchestratorError
from orchestrator.ledger import setup as setups
from orchestrator.ledger.setup import Setup
from orchestrator.ledger.snapshots import Latest
from orchestrator.reports import trends
from orchestrator.reports.latest import latest_by_source
from orchestrator.reports.trends import WeeklyTrend
from orchestrator.store.database import Database

# What decides where the file lies; while it stays the same, so does the file.
_PLACES = (
    "ORCHESTRATOR_DB", "ORCHESTRATOR_CONFIG", "ORCHESTRATOR_ORCHESTRATOR__DATABASE", "STATE_DIRECTORY", "HOME",
    "XDG_CONFIG_HOME", "XDG_STATE_HOME",
)  # fmt: skip

_lock = threading.Lock()
_open: dict[Path, Database] = {}
_found: dict[tuple[str | None, ...], Path] = {}


def format_for_context(
    max_chars: int | None = None, *, now: datetime | None = None, db: str | Path | Database | None = None
) -> str:
    """Return the lines for an agent's prompt; always a string, at most `max_chars` characters, the least important dropped first.

    What is unknown says so; a file that cannot be read becomes a line that says why.
    """
    try:
        database = _database(db)
    except OrchestratorError as error:
        return context.fitting(context.unavailable(error), max_chars)
    return context.format_for_context(database, _configured, max_chars, now or _now())


def get_latest(*, now: datetime | None = None, db: str | Path | Database | None = None) -> dict[str, Latest | None]:
    """Return each source's last good snapshot with its age and what was tried since.

    None stands for a source that is neither configured nor in the file; one that was never good has the state `never`.
    Raises StoreError for a file that cannot be read.
    """
    return latest_by_source(_database(db), _configured, now or _now())


def get_weekly_trend(*, now: datetime | None = None, db: str | Path | Database | None = None) -> WeeklyTrend:
    """Return this week so far, last week to the same point, and the whole last week, with the change in percent.

    Raises FileMissing while there is no file, StoreError for one that cannot be read.
    """
    with _database(db).read() as connection:
        return trends.weekly_trend(connection, setups.read(connection, _configured), now or _now())


def close() -> None:
    """Close every file that these calls have opened; the next call looks for it and opens it anew."""
    with _lock:
        databases = list(_open.values())
        _open.clear()
        _found.clear()
    for database in databases:
        database.close()


def _now() -> datetime:
    return datetime.now(UTC)


def _database(db: str | Path | Database | None) -> Database:
    if isinstance(db, Database):
        return db
    path = Path(db).absolute() if db is not None else _default_path()
    with _lock:
        return _open.setdefault(path, Database(path))


def _default_path() -> Path:
    place = (os.getcwd(), *(os.environ.get(name) for name in _PLACES))  # noqa: PTH109 - a string compares faster
    found = _found.get(place)
    if found is None:
        found = find_database(None, None, os.environ, Path.cwd())
        # Where there is no file yet, a better place may still appear.
        if found.exists():
            _found[place] = found
    return found


def _configured() -> Setup:
    """Return what the configuration says, for a file that does not; the defaults when it has a problem."""
    from orchestrator import config

    try:
        return setups.of_config(config.load(environ=os.environ, cwd=Path.cwd()))
    except OrchestratorError:
        return Setup()
