"""The file: opened on first use, with one connection that reads and one that writes.

SQLite's state must not cross a fork: a child that inherited it would believe in locks that only its parent holds, and the parent's
exit could then delete the WAL under the child. So every `Database` closes its connections just before the process forks, and opens
them again on the next use, in the parent and in the child.
"""

import os
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic
from typing import NoReturn

import apsw

from orchestrator.errors import DiskFull, FileCorrupt, FileLocked, FileMissing, FileReadOnly, NotADatabase
from orchestrator.loading import at_fork
from orchestrator.store.faults import store_error
from orchestrator.store.files import NO_FILES, Files, identity, opened
from orchestrator.store.header import look
from orchestrator.store.migrate import NEWEST, number
from orchestrator.store.modes import open_beside, protect
from orchestrator.store.recipe import Patience, connect, connect_newest, use_log

__all__ = ["Connection", "Database", "protect"]

Connection = apsw.Connection

BUSY_TIMEOUT_MS = 5_000
_FORK_TIMEOUT_SECONDS = 5.0
_LOOKS = 5
_POLL_SECONDS = 0.005
_MOVED = "its log was removed or replaced while it was open"


class Database:
    """The file at `path`, for any number of threads and processes; making one touches no disk.

    The readers of one `Database` take turns, and so do its writers; a reader never waits for a writer. Who reads for long takes a
    `Database` of their own.
    """

    def __init__(self, path: str | Path, *, busy_timeout_ms: int = BUSY_TIMEOUT_MS) -> None:
        self.path = Path(os.path.abspath(path))  # noqa: PTH100 - resolve() asks the disk
        self.busy_timeout_ms = busy_timeout_ms
        self._reader: Connection | None = None
        self._writer: Connection | None = None
        self._reader_files = self._writer_files = NO_FILES
        self._opened = 0
        self._torn = False
        self._renew_locks()
        key = id(self)
        _databases[key] = weakref.ref(self, lambda _: _databases.pop(key, None))

    def _renew_locks(self) -> None:
        self._reading = _Turn()
        self._writing = _Turn()
        self._read_patience = Patience(self.busy_timeout_ms / 1000)
        self._write_patience = Patience(self.busy_timeout_ms / 1000)
        self._held: list[_Turn] = []

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Give a connection on one snapshot of the file; inside another `read` of the same thread, on that one's snapshot.

        Raises FileMissing when there is no file, or one without tables: a reader never makes one, but it brings an older one up to
        date.
        """
        pid = os.getpid()
        turn = self._take_reading()
        try:
            connection = self._open_reader()
            if turn.depth > 1:
                yield connection
                return
            try:
                connection.execute("BEGIN")
                yield connection
            except apsw.Error as error:
                self._raise(error, connection)
            finally:
                _roll_back(connection, pid)
        finally:
            turn.give_back()

    @contextmanager
    def write(self, *, timeout_ms: int | None = None) -> Iterator[Connection]:
        """Give a connection inside BEGIN IMMEDIATE … COMMIT, or ROLLBACK when the block raises; makes the file if there is none.

        Waits at most `timeout_ms` for other writers, then raises FileLocked. A `write` inside a `write` of the same thread is a
        RuntimeError: the inner one could not keep its promise if the outer one failed; pass the connection on instead.
        """
        pid = os.getpid()
        turn = self._take_writing(self.busy_timeout_ms if timeout_ms is None else timeout_ms)
        try:
            connection = self._open_writer()
            is_done = False
            try:
                connection.execute("BEGIN IMMEDIATE")
                yield connection
                if os.getpid() != pid:
                    msg = "forked inside write(): only the parent may commit it"
                    raise RuntimeError(msg)
                files = self._writer_files
                if files.log_changed():
                    raise FileLocked(self.path, _MOVED)
                connection.execute("COMMIT")
                if files.log_changed():
                    # What was committed may lie in a log without a name.
                    files.lose_log()
                    self._close_writer()
                    raise FileLocked(self.path, _MOVED)
                is_done = True
            except apsw.Error as error:
                self._raise(error, connection)
            finally:
                if not is_done:
                    _roll_back(connection, pid)
        finally:
            turn.give_back()

    def version(self) -> tuple[int, int]:
        """Return a value that changes whenever anyone changed the file; raises FileMissing like `read`."""
        turn = self._take_reading()
        try:
            connection = self._open_reader()
            try:
                return self._opened, connection.pragma("data_version")
            except apsw.Error as error:
                self._raise(error, connection)
        finally:
            turn.give_back()

    def checkpoint(self, *, timeout_ms: int = 250) -> bool:
        """Copy the log into the file and empty it; False when readers or writers were in the way for longer than that."""
        turn = self._take_writing(timeout_ms)
        try:
            connection = self._open_writer()
            try:
                connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
            except apsw.BusyError:
                return False
            except apsw.Error as error:
                self._raise(error, connection)
        finally:
            turn.give_back()
        return True

    def close(self) -> None:
        """Close both connections; the next use opens them again. Inside a `read` or `write` of this thread nothing happens."""
        with self._writing.lock, self._reading.lock:
            if not self._writing.depth and not self._reading.depth:
                self._close_both()

    def _take_reading(self) -> "_Turn":
        """Return the readers' turn, taken: who takes it gives it back."""
        turn = self._reading
        if not turn.lock.acquire(timeout=self.busy_timeout_ms / 1000):
            raise FileLocked(self.path, "another thread of this process has been reading for long")
        turn.depth += 1
        return turn

    def _take_writing(self, timeout_ms: int) -> "_Turn":
        """Return the writers' turn, taken: who takes it gives it back."""
        turn = self._writing
        until = monotonic() + timeout_ms / 1000
        if not turn.lock.acquire(timeout=timeout_ms / 1000):
            raise FileLocked(self.path, "another thread of this process is writing")
        try:
            if turn.depth:
                msg = "write() inside write(): pass the connection on"
                raise RuntimeError(msg)
            self._write_patience.seconds = max(until - monotonic(), 0.0)
            turn.depth = 1
        except BaseException:
            turn.lock.release()
            raise
        return turn

    def _open_reader(self) -> Connection:
        if self._reader is not None:
            if self._reading.depth > 1 or not self._reader_files.changed():
                return self._reader
            self._close_reader()
        with self._opening(self._read_patience):
            file = identity(self.path)
            reader = _connect(self.path, self._read_patience, make=False)
            self._reader_files = _opened(reader, str(self.path), file)
            self._reader = reader
            reader.pragma("query_only", "ON")
            self._opened += 1
        return reader

    def _open_writer(self) -> Connection:
        if self._writer is not None:
            if not self._writer_files.changed():
                return self._writer
            self._close_writer()
        with self._opening(self._write_patience):
            open_beside(self.path)
            file = identity(self.path)
            writer = _connect(self.path, self._write_patience, make=True)
            try:
                if not writer.readonly("main"):
                    use_log(writer, self._write_patience)
                    number(writer, "PRAGMA user_version")  # opens the log, if the file had none
            except BaseException:
                writer.close()
                raise
            self._writer_files = _opened(writer, str(self.path), file)
            self._writer = writer
        return writer

    @contextmanager
    def _opening(self, patience: Patience) -> Iterator[None]:
        if self._torn:
            raise FileLocked(
                self.path, "this process was forked in the middle of a transaction; start it in another way"
            )
        # One at a time in this process: while `look` has a log's index open without the right to write it, a connection that is
        # opened beside it would share that handle, and could not write either.
        with _opening:
            self._close_outdated(patience.seconds)
            try:
                yield
            except apsw.Error as error:
                self._raise(error, None)

    def _raise(self, error: apsw.Error, connection: Connection | None) -> NoReturn:
        """Raise what the error means for the file, or the error itself; give up a connection that may be beyond use."""
        fault = store_error(self.path, error, connection.system_errno if connection else 0)
        if fault is None:
            raise error
        if connection is not None and not isinstance(fault, FileLocked | DiskFull):
            # Opened again, it may be well: somebody gave a permission, put a backup in its place.
            if isinstance(fault, FileCorrupt | NotADatabase) and _size(connection.filename_wal):
                # What is damaged is not written to: without this, closing it would copy the log into the file.
                connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
            if connection is self._reader:
                self._close_reader()
            elif connection is self._writer:
                self._close_writer()
                if isinstance(fault, FileReadOnly):
                    self._close_idle_readers()
        raise fault from error

    def _close_outdated(self, seconds: float) -> None:
        """Close what this process still has open of a log that is gone: a new connection would share its index and its locks."""
        until = monotonic() + seconds
        file = identity(self.path)
        for database in _living():
            while database._reader is not None and database._reader_files.outdated(file):
                if database._reading.take_idle(until, self.path):
                    database._close_reader()
                    database._reading.lock.release()
            while database._writer is not None and database._writer_files.outdated(file):
                if database._writing.take_idle(until, self.path):
                    database._close_writer()
                    database._writing.lock.release()

    def _close_idle_readers(self) -> None:
        """Close what this process reads the file with: all its connections share the index, and with it that it may not be written."""
        file = identity(self.path)
        for database in _living():
            if database._reader_files.seen[:1] == (file,) and database._reading.lock.acquire(blocking=False):
                if not database._reading.depth:
                    database._close_reader()
                database._reading.lock.release()

    def _close_reader(self) -> None:
        if self._reader is not None:
            _close(self._reader, self._reader_files)
            self._reader = None

    def _close_writer(self) -> None:
        if self._writer is not None:
            _close(self._writer, self._writer_files)
            self._writer = None

    def _close_both(self) -> None:
        # The writer last: who closes last takes the log away, and a reader that may not write the file could not.
        self._close_reader()
        self._close_writer()

    def _before_fork(self, seconds: float) -> bool:
        """Close both connections and let nobody take a turn; False when somebody's took too long."""
        self._held = []
        for turn in (self._writing, self._reading):
            if not turn.lock.acquire(timeout=seconds):
                self._after_fork_in_parent()
                return False
            self._held.append(turn)
        if not any(turn.depth for turn in self._held):
            self._close_both()
        return True

    def _after_fork_in_parent(self) -> None:
        while self._held:
            self._held.pop().lock.release()

    def _after_fork_in_child(self) -> None:
        if self._reader is not None or self._writer is not None:
            # Closing them here could take the parent's log away.
            _inherited.append((self._reader, self._writer))
            self._reader = self._writer = None
            self._torn = True
        self._renew_locks()


class _Turn:
    """A lock that one thread may take again, and how often it has."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.depth = 0

    def give_back(self) -> None:
        """Let the next one have it."""
        self.depth -= 1
        self.lock.release()

    def take_idle(self, until: float, path: Path) -> bool:
        """Take the lock between two uses; False when it has to be asked for again."""
        if self.lock.acquire(timeout=_POLL_SECONDS):
            if not self.depth:
                return True
            self.lock.release()
        elif monotonic() < until:
            return False
        raise FileLocked(path, _MOVED)


_databases: dict[int, weakref.ref[Database]] = {}
_inherited: list[tuple[Connection | None, Connection | None]] = []
_opening = threading.RLock()


def _connect(path: Path, patience: Patience, *, make: bool) -> Connection:
    # What was found may have changed when it is opened: another process upgraded it, or died making it and was rolled back.
    for _ in range(_LOOKS):
        kind = look(path, patience)
        if kind in ("missing", "empty") and not make:
            raise FileMissing(path)
        if kind != "current":
            connect_newest(path, patience).close()
        connection = connect(path, patience)
        if number(connection, "PRAGMA user_version") == NEWEST:
            return connection
        connection.close()
    raise FileLocked(path, "other processes keep changing it")


def _opened(connection: Connection, path: str, file: tuple[int, int]) -> Files:
    log = connection.filename_wal
    return opened((path, log, f"{log.removesuffix('-wal')}-shm"), file)


def _size(name: str) -> int:
    try:
        return os.stat(name).st_size  # noqa: PTH116 - as above
    except OSError:
        return 0


def _roll_back(connection: Connection, pid: int) -> None:
    # An error may have ended the transaction or the connection already. A child may not touch what its parent began.
    if os.getpid() == pid:
        with suppress(apsw.Error):
            if connection.in_transaction:
                connection.execute("ROLLBACK")


def _close(connection: Connection, files: Files) -> None:
    with suppress(apsw.Error):
        if not files.may_copy_log():
            connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        connection.close()


def _living() -> list[Database]:
    return [database for reference in list(_databases.values()) if (database := reference()) is not None]


def _before_fork() -> None:
    until = monotonic() + _FORK_TIMEOUT_SECONDS
    at_rest = set(_living())
    for database in at_rest:
        database._before_fork(_FORK_TIMEOUT_SECONDS)
    while _opening.acquire(timeout=_FORK_TIMEOUT_SECONDS):
        # Nobody opens a file from here on. What others made meanwhile and have open has to come to rest too, all of it at one look.
        late = [one for one in _living() if one not in at_rest and (one._reader or one._writer)]
        at_rest.update(one for one in late if one._before_fork(_POLL_SECONDS))
        if at_rest.issuperset(late) or monotonic() >= until:
            return
        # Who is at work there may have to open the other connection to get done.
        _opening.release()


def _after_fork_in_parent() -> None:
    with suppress(RuntimeError):
        _opening.release()
    for database in _living():
        database._after_fork_in_parent()


def _after_fork_in_child() -> None:
    global _opening
    _opening = threading.RLock()
    for database in _living():
        database._after_fork_in_child()


at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
