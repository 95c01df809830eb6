"""The spool: records that could not be stored for now, a line each, in a file beside the database.

Every process appends to the one file and any of them drains it. A lock on it (flock) holds them apart for the moment that one of
them takes; it ends with its process, however that ends. Lines are taken from the end: stored first, then cut off. Who is killed in
between leaves lines that are stored already, and storing them again changes nothing, because every record has its id.
"""

import fcntl
import os
import stat
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic
from typing import Final

from orchestrator.ledger.spooled import SPOOL, is_waiting
from orchestrator.loading import at_fork
from orchestrator.store.modes import create_protected

__all__ = ["STEP_BYTES", "append", "aside_of", "is_waiting", "may_stand_beside", "spool_of", "take"]

# So much is stored at once while the spool is locked: some 500 calls, some hundredth of a second.
STEP_BYTES: Final = 128 * 1024
# An append has to wait for the other processes' fsync, of which a busy disk may take long ones. Who waits in vain has lost a record.
_APPEND_SECONDS: Final = 5.0
_PAUSE_SECONDS: Final = 0.001
_FORK_SECONDS: Final = 5.0

_never: Final = threading.Event()
# A child of a fork would share the locks of open descriptors, so there are none while this process forks.
_at_work = threading.RLock()
_forking = False


def spool_of(database: Path) -> Path:
    """Return where the spool of a database lies, whether or not there is one."""
    return database.with_name(f"{database.name}{SPOOL}")


def aside_of(database: Path) -> Path:
    """Return where lines are kept that no record could be read from."""
    return database.with_name(f"{database.name}-spool-bad.jsonl")


def may_stand_beside(database: Path) -> bool:
    """Return whether files of ours may be put beside a database: not where there is a folder or a device, which nobody means."""
    try:
        return stat.S_ISREG(database.stat().st_mode)
    except FileNotFoundError:
        return True
    except (OSError, ValueError):
        return False


def append(path: Path, lines: Sequence[bytes]) -> None:
    """Add lines, all or none, and return when they are on the disk; raises OSError."""
    if not may_stand_beside(path.with_name(path.name.removesuffix(SPOOL))):
        msg = "there is none beside what is no file"
        raise OSError(msg)
    with _locked(path, make=True, seconds=_APPEND_SECONDS) as descriptor:
        if descriptor is None:
            msg = "locked for too long"
            raise TimeoutError(msg)
        size = os.fstat(descriptor).st_size
        torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
        try:
            _write(descriptor, (b"\n" if torn else b"") + b"".join(lines))
            os.fsync(descriptor)
        except OSError:
            with suppress(OSError):
                os.ftruncate(descriptor, size)
            raise


def take(path: Path, store: Callable[[list[bytes]], None], most_bytes: int = STEP_BYTES) -> bool:
    """Give the last lines to `store`, then cut them off; False when there is no spool, or others are at it. Passes on what is raised.

    The last lines, because the rest of the file then stays as it is; without a line left, the file goes.
    """
    with _locked(path, make=False, seconds=0) as descriptor:
        if descriptor is None:
            return False
        kept, lines = _last_lines(descriptor, most_bytes)
        if lines:
            store(lines)
        os.ftruncate(descriptor, kept)
        if kept == 0:
            with suppress(OSError):
                path.unlink()
    return True


def _last_lines(descriptor: int, most_bytes: int) -> tuple[int, list[bytes]]:
    """Return where the last lines begin, as many as fit, at least one, and those that are not empty."""
    size = os.fstat(descriptor).st_size
    while True:
        start = max(size - most_bytes, 0)
        block = _read(descriptor, start, size - start)
        # The first line may be cut; it counts from the next one on.
        first = 0 if start == 0 else block.find(b"\n") + 1
        if start == 0 or 0 < first < len(block):
            return start + first, [line for line in block[first:].split(b"\n") if line.strip()]
        most_bytes *= 4


@contextmanager
def _locked(path: Path, *, make: bool, seconds: float) -> Iterator[int | None]:
    """Give the file, locked; None when there is none and none is to be made, or when it stays locked for that long."""
    until = monotonic() + seconds
    if not _at_work.acquire(timeout=seconds):
        yield None
        return
    try:
        descriptor = _open_locked(path, make=make, until=until)
        if descriptor is None:
            yield None
            return
        try:
            yield descriptor
        finally:
            # Not only closed: a child that got a copy in spite of all would keep the lock.
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)
    finally:
        _at_work.release()


def _open_locked(path: Path, *, make: bool, until: float) -> int | None:
    while True:
        made = make and create_protected(path)
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except FileNotFoundError:
            if make and monotonic() < until:
                continue
            return None
        try:
            if _lock(descriptor, path, until):
                if made:
                    _sync_folder(path)
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
        if monotonic() >= until:
            return None


def _lock(descriptor: int, path: Path, until: float) -> bool:
    """Lock the file; False when it has been taken away meanwhile, or when the time is over."""
    while True:
        here = os.fstat(descriptor)
        if not stat.S_ISREG(here.st_mode):
            msg = f"{path} is not a regular file"
            raise OSError(msg)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if monotonic() >= until or not _is_at(path, here):
                return False
            _never.wait(_PAUSE_SECONDS)
            continue
        return _is_at(path, here)


def _is_at(path: Path, here: os.stat_result) -> bool:
    try:
        found = path.stat()
    except FileNotFoundError:
        return False
    return (found.st_dev, found.st_ino) == (here.st_dev, here.st_ino)


def _write(descriptor: int, content: bytes) -> None:
    written = 0
    while written < len(content):
        written += os.write(descriptor, content[written:])


def _read(descriptor: int, start: int, length: int) -> bytes:
    block = b""
    while len(block) < length and (more := os.pread(descriptor, length - len(block), start + len(block))):
        block += more
    return block


def _sync_folder(path: Path) -> None:
    """See that the file's name is on the disk too, where the system lets a folder be opened."""
    with suppress(OSError):
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _before_fork() -> None:
    global _forking
    _forking = False
    _forking = _at_work.acquire(timeout=_FORK_SECONDS)


def _after_fork_in_parent() -> None:
    if _forking:
        _at_work.release()


def _after_fork_in_child() -> None:
    global _at_work
    _at_work = threading.RLock()


at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
