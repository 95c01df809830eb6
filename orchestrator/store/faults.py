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

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def store_error(path: Path, error: apsw.Error, system_errno: int = 0) -> StoreError | None:
    """Return what is wrong with the file, or None when the error is about the statement or its values.

    Constraint, binding, SQL and interrupt errors are the caller's: they pass as apsw raised them. `system_errno` is the
    connection's last one; it tells a quota (an I/O error to SQLite) from a broken disk.
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
        case apsw.IOError() if system_errno in _NO_ROOM:
            return DiskFull(path, f"{said}: {os.strerror(system_errno)}")
        case apsw.ReadOnlyError() | apsw.PermissionsError():
            return FileReadOnly(path, said)
        case apsw.CantOpenError():
            return _unopened(path, said)
        case apsw.IOError():
            return FileUnreachable(path, f"{said}: {os.strerror(system_errno)}" if system_errno else said)
    return None


def _unopened(path: Path, said: str) -> StoreError:
    # SQLite says "unable to open database file" also when it may not make the -shm that reading a WAL file needs.
    if os.access(path, os.R_OK) and not os.access(path.parent, os.W_OK):
        return FileReadOnly(path, "SQLite may not make the -wal and -shm files that it needs beside it, even to read")
    return FileUnreachable(path, said)
