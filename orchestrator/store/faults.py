"""What SQLite's errors mean for this file: an apsw error in, one of our errors out."""

import errno
import os
from pathlib import Path

import apsw

from orchestrator.errors import (
    DiskFull,
    FileCorrupt,
    FileLocked,
    FileReadOnly,
    FileUnreachable,
    NotADatabase,
    StoreError,
)

_WHY_NO_INDEX = "even to read it, SQLite needs a -wal and a -shm file beside it, which may not be made here"
_NO_INDEX = (apsw.SQLITE_READONLY_DIRECTORY, apsw.SQLITE_READONLY_CANTINIT, apsw.SQLITE_READONLY_RECOVERY)
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def store_error(path: Path, error: apsw.Error, system_errno: int = 0) -> StoreError | None:
    """Return what is wrong with the file, or None when the error is about the statement or its values.

    Constraint, binding, SQL and interrupt errors are the caller's: they pass as apsw raised them. `system_errno` is the
    connection's last one, 0 if that was never opened; it tells a quota (an I/O error to SQLite) from a broken disk.
    """
    said = str(error)
    match error:
        case apsw.NotADBError():
            return NotADatabase(path, said)
        case apsw.CorruptError():
            return FileCorrupt(path, said)
        case apsw.FullError():
            return DiskFull(path, said)
        case apsw.BusyError() | apsw.LockedError() | apsw.ProtocolError():
            return FileLocked(path, said)
        case apsw.IOError() if system_errno in NO_ROOM:
            return DiskFull(path, f"{said}: {os.strerror(system_errno)}")
        case apsw.IOError() if getattr(error, "extendedresult", 0) == apsw.SQLITE_IOERR_SHMSIZE or _is_full(path):
            # To grow the log's index is the first thing that a connection does; if that fails, none is left to ask for its errno.
            return DiskFull(path, said)
        case apsw.ReadOnlyError() if getattr(error, "extendedresult", 0) in _NO_INDEX:
            return FileReadOnly(path, _WHY_NO_INDEX)
        case apsw.ReadOnlyError() | apsw.PermissionsError():
            return FileReadOnly(path, said)
        case apsw.CantOpenError():
            return _unopened(path, said)
        case apsw.IOError():
            return FileUnreachable(path, f"{said}: {os.strerror(system_errno)}" if system_errno else said)
    return None


def _is_full(path: Path) -> bool:
    try:
        disk = os.statvfs(path.parent)
    except OSError:
        return False
    return disk.f_bavail == 0 or (disk.f_files > 0 and disk.f_favail == 0)


def _unopened(path: Path, said: str) -> StoreError:
    if os.access(path, os.R_OK) and not os.access(path.parent, os.W_OK):
        return FileReadOnly(path, _WHY_NO_INDEX)
    return DiskFull(path, said) if _is_full(path) else FileUnreachable(path, said)
