"""What lies at a path, found out without changing a byte of it or of the files beside it.

Only SQLite may open the file, even to look: closing a descriptor of our own would drop the POSIX locks that every other connection
of this process holds on it, and another process could then delete a WAL that is in use.
"""

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
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


@dataclass(frozen=True)
class _Schema:
    application_id: int
    version: int
    tables: tuple[str, ...]
    snapshot_columns: frozenset[str]


def look(path: Path, patience: Callable[[int], bool]) -> Kind:
    """Return what the file is to us.

    `missing` is no file, `empty` one without a table, `node` the earlier implementation's, `older` and `current` are ours. Raises
    NotADatabase, ForeignFile, FileNewer and FileUnreachable, and whatever apsw raises for a file that it cannot read.
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
        schema = _read_schema(path, log, patience, in_wal_mode=header[18] == 2, has_log=has_log)
        if schema.application_id != APPLICATION_ID:
            return _unmarked(path, schema)
        version = schema.version
    if version > NEWEST:
        raise FileNewer(path, f"version {version}, known are 1 to {NEWEST}")
    return "current" if version == NEWEST else "older" if version else "empty"


def _unmarked(path: Path, schema: _Schema) -> Kind:
    if schema.application_id != 0:
        raise ForeignFile(path, f"application_id {schema.application_id:#x}")
    if schema.version:
        raise ForeignFile(path, f"user_version {schema.version} without our application_id")
    if not schema.tables:
        return "empty"
    others = [table for table in schema.tables if table != "revenue_snapshots"]
    if others:
        raise ForeignFile(path, f"table {others[0]}")
    if schema.snapshot_columns != _NODE_COLUMNS:
        raise ForeignFile(path, "its revenue_snapshots has other columns")
    return "node"


def _read_schema(path: Path, log: str, patience: Callable[[int], bool], *, in_wal_mode: bool, has_log: bool) -> _Schema:
    flags = apsw.SQLITE_OPEN_READONLY
    name = str(path)
    has_index = in_wal_mode and os.path.exists(f"{log.removesuffix('-wal')}-shm")  # noqa: PTH110
    if has_log and has_index:
        # A log and its index: read both as they are. A connection that may write the index would move its read marks.
        flags |= apsw.SQLITE_OPEN_URI
        name = f"file:{name.replace('%', '%25').replace('?', '%3f').replace('#', '%23')}?readonly_shm=1"
    elif in_wal_mode:
        # Without an index SQLite makes one, and takes it away again only if it may write.
        flags = apsw.SQLITE_OPEN_READWRITE
    connection = apsw.Connection(name, flags=flags)
    try:
        connection.set_busy_handler(patience)
        if has_log:
            connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
            if not has_index:
                connection.execute("PRAGMA locking_mode = EXCLUSIVE").get  # the index stays in memory  # noqa: B018
        application_id, version = connection.execute(
            "SELECT application_id, user_version FROM pragma_application_id, pragma_user_version"
        ).get
        tables = connection.execute(
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT GLOB 'sqlite_*' ORDER BY name"
        )
        columns = connection.execute("SELECT lower(name) FROM pragma_table_xinfo('revenue_snapshots')")
        return _Schema(
            application_id, version, tuple(name for (name,) in tables), frozenset(name for (name,) in columns)
        )
    finally:
        connection.close()


def _size(name: str) -> int:
    try:
        return os.stat(name).st_size  # noqa: PTH116
    except OSError:
        return 0
