"""How a connection is opened, and how a file is made and brought up to date."""

import errno
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from time import monotonic

import apsw

from orchestrator.errors import DiskFull, FileNewer, FileReadOnly, FileUnreachable, ForeignFile
from orchestrator.store import migrate
from orchestrator.store.faults import NO_ROOM
from orchestrator.store.modes import create_protected, protect

# How long a process waits before it asks again for a lock that another one holds. It does not grow: with growing pauses the
# newcomers would overtake those who waited longest.
_PAUSE_SECONDS = 0.001

_OPTIONS = (
    (apsw.SQLITE_DBCONFIG_ENABLE_FKEY, 1),
    (apsw.SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0),
    (apsw.SQLITE_DBCONFIG_DQS_DDL, 0),
    (apsw.SQLITE_DBCONFIG_DQS_DML, 0),
    (apsw.SQLITE_DBCONFIG_DEFENSIVE, 1),
    # PyPI's apsw has STAT4, which without this prepares a cached statement anew for every other value bound to it.
    (apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1),
)
# A log of 2000 pages is just within its limit: a commit that writes over what is there is quicker than one that makes the log longer.
_SETTINGS = """
PRAGMA synchronous = FULL;
PRAGMA recursive_triggers = ON;
PRAGMA journal_size_limit = 8388608;
PRAGMA wal_autocheckpoint = 2000;
"""
# On macOS fsync leaves the data in the drive's cache.
_SETTINGS_MACOS = """
PRAGMA fullfsync = ON;
PRAGMA checkpoint_fullfsync = ON;
"""


class Patience:
    """A busy handler: asks again in short steps until `seconds` have passed."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._until = 0.0
        self._never = threading.Event()

    def __call__(self, tries: int) -> bool:
        if tries == 0:
            self._until = monotonic() + self.seconds
        if monotonic() >= self._until:
            return False
        self._never.wait(_PAUSE_SECONDS)
        return True


def connect(path: Path, patience: Callable[[int], bool]) -> apsw.Connection:
    """Open a file that exists, for writing where that is permitted, else for reading."""
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        connection.set_busy_handler(patience)
        for option, value in _OPTIONS:
            connection.config(option, value)
        connection.transaction_mode = "IMMEDIATE"
        migrate.run(connection, _SETTINGS)
        if sys.platform == "darwin":
            migrate.run(connection, _SETTINGS_MACOS)
    except BaseException:
        connection.close()
        raise
    return connection


def connect_newest(path: Path, patience: Patience) -> apsw.Connection:
    """Open a file that is missing, empty, older or the Node implementation's, and make it ours at the newest version.

    Any number of processes may do so at once. Raises FileUnreachable when the folder is missing, FileReadOnly, FileNewer,
    ForeignFile, and apsw's errors.
    """
    _create(path)
    connection = connect(path, patience)
    try:
        if connection.readonly("main"):
            raise FileReadOnly(path, "it has to be brought up to date first")
        # Counts only before the first table, and before the file is in WAL mode.
        connection.pragma("auto_vacuum", "INCREMENTAL")
        if _bring_up_to_date(connection, path):
            for suffix in ("", "-wal", "-shm"):
                with suppress(FileNotFoundError):
                    protect(Path(f"{path}{suffix}"))
            # Only a VACUUM turns auto_vacuum on in a file that has tables; without it the file is right, but never shrinks.
            with suppress(apsw.BusyError, apsw.FullError, apsw.IOError):
                connection.execute("VACUUM")
        use_log(connection, patience)
    except BaseException:
        connection.close()
        raise
    return connection


def _bring_up_to_date(connection: apsw.Connection, path: Path) -> bool:
    """Apply all missing versions in one transaction; True when the file was the Node implementation's.

    An empty file is filled before it is put in WAL mode: so the first page of the file itself, and not only its log, says whose it is.
    """
    with connection:
        version = migrate.number(connection, "PRAGMA user_version")
        if version > migrate.NEWEST:
            raise FileNewer(path, f"version {version}, known are 1 to {migrate.NEWEST}")
        is_node = version == 0 and connection.table_exists("main", "revenue_snapshots")
        if is_node:
            from orchestrator.store.adoption import adopt

            try:
                adopt(connection)
            except apsw.SQLError as error:
                # A view that somebody made has the name of a table of ours.
                raise ForeignFile(path, str(error)) from error
        elif version < migrate.NEWEST:
            migrate.upgrade(connection, version)
    return is_node


def use_log(connection: apsw.Connection, patience: Patience) -> None:
    """Put the file in WAL mode, if it is not."""
    # The switch needs the file to itself, and SQLite does not call the busy handler for that.
    tries = 0
    while True:
        try:
            connection.pragma("journal_mode", "WAL")
        except apsw.BusyError:
            if not patience(tries):
                raise
            tries += 1
        else:
            return


def _create(path: Path) -> None:
    try:
        create_protected(path)
    except OSError as error:
        if error.errno in NO_ROOM:
            raise DiskFull(path, error.strerror or "") from error
        fault = FileReadOnly if error.errno in (errno.EROFS, errno.EACCES) and path.parent.is_dir() else FileUnreachable
        raise fault(path, error.strerror or "") from error
