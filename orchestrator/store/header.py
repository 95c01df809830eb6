"""What lies at a path, found out without changing a byte of it or of the files beside it.

Only SQLite may open the file, even to look: closing a descriptor of our own would drop the POSIX locks that every other connection
of this process holds on it, and another process could then delete a WAL that is in use.
"""

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import apsw

from orchestrator.errors import FileNewer, FileUnreachable, ForeignFile, NotADatabase
from orchestrator.store.migrate import APPLICATION_ID, NEWEST

Kind = Literal["missing", "empty", "node", "older", "current"]

_NODE_COLUMNS = {
    "id",
    "source",
    "collected_at",
    "balance_atomic",
    "paid_atomic",
    "hashrate",
    "xmr_price_usd",
    "requests_served",
    "tokens_generated",
    "raw_json",
}

_MAGIC = b"SQLite format 3\0"


def look(path: Path, patience: Callable[[int], bool], *, looks: int = 20) -> Kind:
    """Return what the file is to us.

    `missing` is no file, `empty` one with nothing in it, `node` the earlier implementation's, `older` and `current` are ours.
    Looks again, `looks` times in all, while other processes take the log and its index away meanwhile. Raises NotADatabase,
    ForeignFile, FileNewer and FileUnreachable, and whatever apsw raises for a file that it cannot read.
    """
    try:
        found = os.stat(path)  # noqa: PTH116 - on every cold start: half the price of Path.stat
    except FileNotFoundError:
        return "missing"
    except OSError as error:
        raise FileUnreachable(path, error.strerror or "") from error
    if not stat.S_ISREG(found.st_mode):
        raise NotADatabase(path, "not a regular file")
    if found.st_size == 0:
        return "empty"
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        header = connection.read("main", 0, 0, 100)[1]
        log = connection.filename_wal
    finally:
        connection.close()
    if not header.startswith(_MAGIC):
        raise NotADatabase(path, "its first bytes are another format's")
    application_id = int.from_bytes(header[68:72])
    version = int.from_bytes(header[60:64])
    if application_id not in (0, APPLICATION_ID):
        raise ForeignFile(path, f"application_id {application_id:#x}")
    has_log = _size(log) > 0
    if application_id == 0 or has_log:
        # The first page may be older than the log, and a file without our mark may still be the Node one.
        index = f"{log.removesuffix('-wal')}-shm"
        before = _made(index)
        try:
            application_id, version, objects, columns = _schema(
                path, index, patience, in_wal_mode=header[18] == 2, has_log=has_log
            )
        except (apsw.CantOpenError, apsw.ReadOnlyError, apsw.IOError):
            # Whoever closes the file last takes both away, also between the check for the index and its opening.
            if looks <= 1 or _made(index) == before:
                raise
            return look(path, patience, looks=looks - 1)
        if application_id != APPLICATION_ID:
            return _unmarked(path, application_id, version, objects, columns)
    if version > NEWEST:
        raise FileNewer(path, f"version {version}, known are 1 to {NEWEST}")
    return "current" if version == NEWEST else "older" if version else "empty"


def _unmarked(path: Path, application_id: int, version: int, objects: list[tuple[str, str]], columns: set[str]) -> Kind:
    if application_id != 0:
        raise ForeignFile(path, f"application_id {application_id:#x}")
    if version != 0:
        raise ForeignFile(path, f"user_version {version} without our application_id")
    if not objects:
        return "empty"
    tables = [name for kind, name in objects if kind == "table"]
    others = [name for name in tables if name != "revenue_snapshots"]
    if others:
        raise ForeignFile(path, f"table {others[0]}")
    if not tables:
        raise ForeignFile(path, " ".join(objects[0]))
    if columns != _NODE_COLUMNS:
        raise ForeignFile(path, "its revenue_snapshots has other columns")
    return "node"


def _schema(
    path: Path, index: str, patience: Callable[[int], bool], *, in_wal_mode: bool, has_log: bool
) -> tuple[int, int, list[tuple[str, str]], set[str]]:
    """Return application_id, user_version, what is in it (type and name), and the columns of revenue_snapshots; leave no trace."""
    name = str(path)
    if not in_wal_mode:
        try:
            return _read_schema(apsw.Connection(name, flags=apsw.SQLITE_OPEN_READONLY), patience)
        except apsw.ReadOnlyError:
            # A writer died and left its journal. Rolling back is what any program does that opens the file.
            return _read_schema(apsw.Connection(name, flags=apsw.SQLITE_OPEN_READWRITE), patience)
    if not has_log:
        # SQLite makes a log and an index to read, and takes both away again if it may write.
        return _read_schema(apsw.Connection(name, flags=apsw.SQLITE_OPEN_READWRITE), patience)
    if not os.path.exists(index):  # noqa: PTH110
        connection = apsw.Connection(name, flags=apsw.SQLITE_OPEN_READWRITE)
        connection.pragma("locking_mode", "EXCLUSIVE")  # keeps the index in memory
    else:
        # A connection that may write the index would move its read marks.
        escaped = name.replace("%", "%25").replace("?", "%3f").replace("#", "%23")
        connection = apsw.Connection(
            f"file:{escaped}?readonly_shm=1", flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
        )
    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    return _read_schema(connection, patience)


def _read_schema(
    connection: apsw.Connection, patience: Callable[[int], bool]
) -> tuple[int, int, list[tuple[str, str]], set[str]]:
    try:
        connection.set_busy_handler(patience)
        application_id, version = connection.execute(
            "SELECT application_id, user_version FROM pragma_application_id, pragma_user_version"
        ).get
        objects = connection.execute(
            "SELECT type, name FROM sqlite_schema WHERE name NOT GLOB 'sqlite_*' ORDER BY name"
        )
        columns = connection.execute("SELECT lower(name) FROM pragma_table_xinfo('revenue_snapshots')")
        found = [(str(kind), str(name)) for kind, name in objects]
        return application_id, version, found, {name for (name,) in columns}
    finally:
        connection.close()


def _made(name: str) -> tuple[int, int]:
    try:
        found = os.stat(name)  # noqa: PTH116
    except OSError:
        return 0, 0
    # The number of a removed file is soon given to the next one.
    return found.st_ino, found.st_ctime_ns


def _size(name: str) -> int:
    try:
        return os.stat(name).st_size  # noqa: PTH116
    except OSError:
        return 0
