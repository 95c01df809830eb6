"""A consistent copy of the file while others write to it, checked before it counts."""

import os
from collections.abc import Callable
from pathlib import Path

import apsw

from orchestrator.errors import CopyUnreachable, DiskFull, FileCorrupt, FileExists, FileUnreachable
from orchestrator.store.database import Connection, Database
from orchestrator.store.faults import NO_ROOM, store_error
from orchestrator.store.modes import create_protected

_PAGES = 512


def backup(database: Database, target: Path, *, progress: Callable[[int, int], None] | None = None) -> None:
    """Write a copy of the file to a path where nothing is yet, and check it; on failure nothing stays there.

    The copy is one snapshot, however much is written meanwhile. `progress` is called with the pages done and the pages in all.
    Raises FileExists, and StoreErrors about the file or the target.
    """
    target = Path(os.path.abspath(target))  # noqa: PTH100 - as Database does
    # SQLite would take a journal or log that lies beside the target for the copy's own.
    for path in (target, *_siblings(target)):
        if os.path.lexists(path):
            raise FileExists(path)
    # A Database of its own: the snapshot lasts as long as the copying, and others read meanwhile.
    source = Database(database.path, busy_timeout_ms=database.busy_timeout_ms)
    try:
        with source.read() as connection:
            counts = _row_counts(connection)
            _create(target)
            try:
                _copy(connection, source.path, target, progress)
                _check(source.path, target, counts)
            except BaseException:
                for path in (target, *_siblings(target)):
                    path.unlink(missing_ok=True)
                raise
    finally:
        source.close()


def _siblings(target: Path) -> list[Path]:
    return [Path(f"{target}{suffix}") for suffix in ("-journal", "-wal", "-shm")]


def _create(target: Path) -> None:
    try:
        if not create_protected(target):
            raise FileExists(target)
    except OSError as error:
        fault = DiskFull if error.errno in NO_ROOM else CopyUnreachable
        raise fault(target, error.strerror or "") from error


def _copy(connection: Connection, source: Path, target: Path, progress: Callable[[int, int], None] | None) -> None:
    copy = apsw.Connection(str(target), flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        with copy.backup("main", connection, "main") as pages:
            while not pages.done:
                pages.step(_PAGES)
                if progress is not None:
                    progress(pages.page_count - pages.remaining, pages.page_count)
    except apsw.Error as error:
        if isinstance(error, apsw.CorruptError | apsw.NotADBError):
            raise store_error(source, error) or error from error
        raise _fault_at(target, error, copy.system_errno) from error
    finally:
        copy.close()


def _check(source: Path, target: Path, counts: dict[str, int]) -> None:
    copy = apsw.Connection(str(target), flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        for (finding,) in copy.execute("PRAGMA integrity_check"):
            if finding != "ok":
                raise FileCorrupt(source, f"its copy fails the check: {finding}")
        if _row_counts(copy) != counts:
            raise FileCorrupt(source, "its copy has other rows")
    except apsw.Error as error:
        raise _fault_at(target, error, copy.system_errno) from error
    finally:
        copy.close()


def _fault_at(target: Path, error: apsw.Error, system_errno: int) -> Exception:
    fault = store_error(target, error, system_errno)
    return CopyUnreachable(target, fault.detail) if isinstance(fault, FileUnreachable) else fault or error


def _row_counts(connection: Connection) -> dict[str, int]:
    counts = {}
    for (table,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'"):
        name = str(table)
        quoted = name.replace('"', '""')
        counts[name] = int(connection.execute(f'SELECT count(*) FROM "{quoted}"').get)  # noqa: S608 - its own tables
    return counts
