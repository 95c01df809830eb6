"""The files that the API's calls are about: found as the command line finds them, opened once, and closed by `close`."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.config.place import ensure_directory, find_database, working_directory
from orchestrator.errors import ConfigError, OrchestratorError
from orchestrator.ledger import setup as setups
from orchestrator.ledger.setup import Setup
from orchestrator.loading import at_fork, loading
from orchestrator.store.database import Connection, Database

if TYPE_CHECKING:
    from orchestrator.recording import Rules

# What decides where the file lies; while it stays the same, so does the file.
_PLACES = (
    b"ORCHESTRATOR_DB", b"ORCHESTRATOR_CONFIG", b"ORCHESTRATOR_ORCHESTRATOR__DATABASE", b"STATE_DIRECTORY", b"HOME",
    b"XDG_CONFIG_HOME", b"XDG_STATE_HOME",
)  # fmt: skip

_lock = threading.Lock()
_open: dict[Path, Database] = {}
_rules: dict[Path, "Rules"] = {}
_found: dict[tuple[str | bytes | None, ...], Path] = {}
# Files for which there is a folder, as far as that is ours to make.
_housed: set[Path] = set()


def database_of(db: str | Path | Database | None) -> Database:
    """Return the file that a call is about, not opened yet; raises ConfigError when nobody can tell which it is."""
    if isinstance(db, Database):
        return db
    path = _default_path() if db is None else Path(db)
    if not path.is_absolute():
        path = working_directory() / path
    if (found := _open.get(path)) is not None:
        return found
    if db == "" or "\0" in str(path):
        # An empty text is a variable that is not set; nobody means the folder that it stands for as a path.
        raise ConfigError(("db: a path is due",))
    with _lock:
        return _open.setdefault(path, Database(path))


def database_to_write(db: str | Path | Database | None) -> Database:
    """Return what `database_of` does, with a folder for it where that is ours to make."""
    database = database_of(db)
    if database.path not in _housed:
        # What keeps the folder from being made is said by the file that cannot be made in it.
        with suppress(OSError):
            ensure_directory(database.path, os.environ, working_directory())
            _housed.add(database.path)
    return database


def rules_of(path: Path) -> "Rules":
    """Return what records of a file need of the configuration, read once a process."""
    found = _rules.get(path)
    if found is not None:
        return found
    with loading():
        from orchestrator import recording

    return _rules.setdefault(path, recording.configured(path))


@contextmanager
def asked(db: str | Path | Database | None) -> Iterator[tuple[Connection, Setup]]:
    """Give one snapshot of the file, and what it says of its zone and its sources."""
    with database_of(db).read() as connection:
        yield connection, setups.read(connection, configured)


def configured() -> Setup:
    """Return what the configuration says, for a file that does not; the defaults when it has a problem."""
    from orchestrator import config  # who asks is reading the file or holds the lock of imports: a fork waits

    try:
        return setups.of_config(config.load(environ=os.environ, cwd=working_directory()))
    except OrchestratorError:
        return Setup()


def clock() -> datetime:
    """Return what time it is."""
    return datetime.now(UTC)


def close() -> None:
    """Close every file that these calls have opened; the next call looks for it and opens it anew."""
    with _lock:
        databases = list(_open.values())
        _open.clear()
        _found.clear()
        _rules.clear()
        _housed.clear()
    for database in databases:
        database.close()


def _default_path() -> Path:
    # At every call, and as bytes in half the time that text takes.
    try:
        here = os.getcwd()  # noqa: PTH109
    except OSError:
        here = ""  # somebody has removed it
    place = (here, *map(os.environb.get, _PLACES))
    found = _found.get(place)
    if found is None:
        found = find_database(None, None, os.environ, working_directory())
        # Where there is no file yet, a better place may still appear.
        if found.exists():
            _found[place] = found
    return found


def _after_fork_in_child() -> None:
    global _lock
    _lock = threading.Lock()


at_fork(after_in_child=_after_fork_in_child)
