"""Who may use the files that we make: their owner, or the owner's group where the folder says so."""

import os
import stat
from contextlib import suppress
from pathlib import Path


def file_mode(path: Path) -> int:
    """Return the mode for a file at that path: 0660 in a set-group-ID, group-writable folder, else 0600."""
    folder = path.parent.stat().st_mode
    return 0o660 if folder & stat.S_ISGID and folder & stat.S_IWGRP else 0o600


def protect(path: Path) -> None:
    """Give a file the mode that `file_mode` says, whatever the umask made of it; another user's file stays as it is."""
    mode = file_mode(path)
    found = path.stat()
    if stat.S_IMODE(found.st_mode) != mode and os.geteuid() in (0, found.st_uid):
        path.chmod(mode)


def open_beside(path: Path) -> None:
    """Let the log and its index be written by whom the file may be, as far as they are this user's.

    SQLite makes both with the mode that the file has then: while it was read-only, as read-only as it was.
    """
    with suppress(OSError):
        mode = stat.S_IMODE(path.stat().st_mode)
        for name in beside(path):
            found = name.lstat()
            if mode & stat.S_IWUSR and not found.st_mode & stat.S_IWUSR and os.geteuid() in (0, found.st_uid):
                name.chmod(mode)


def beside(path: Path) -> list[Path]:
    """Return the log and its index, those of them that are there."""
    file = os.path.realpath(path)
    return [name for name in (Path(f"{file}-wal"), Path(f"{file}-shm")) if os.path.lexists(name)]


def create_protected(path: Path) -> bool:
    """Make an empty file with the right mode; False when there is one already. Raises OSError."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        return False
    try:
        os.fchmod(descriptor, file_mode(path))
    finally:
        os.close(descriptor)
    return True
