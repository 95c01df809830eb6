"""Records that wait beside the file until it takes them: whether there are any, and how many. `recording.spool` puts them there."""

import os
import stat
from pathlib import Path
from typing import Final

SPOOL: Final = "-spool.jsonl"
# A longer spool is not counted for every question: it would take some tenths of a millisecond.
MOST_COUNTED: Final = 128 * 1024


def is_waiting(database: Path) -> bool:
    """Return whether there is anything in the spool of a database; never raises."""
    # Asked after every record: text is cheaper than paths are, and an answer than an exception.
    name = str(database) + SPOOL
    try:
        return os.access(name, os.F_OK) and os.path.getsize(name) > 0  # noqa: PTH202
    except (OSError, ValueError):
        # Drained meanwhile by another process.
        return False


def spooled(database: Path) -> int | None:
    """Return how many records wait in the spool of a database; None for some, in one that is too long to count, or not ours to read.

    Costs one look for a file when there is none; never raises.
    """
    if not is_waiting(database):
        return 0
    try:
        # Something else in its place, a pipe say, must not hold up who asks.
        descriptor = os.open(f"{database}{SPOOL}", os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except PermissionError:
        return None
    except OSError:
        return 0
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return 0
        content = os.read(descriptor, MOST_COUNTED + 1)
    except OSError:
        return None
    finally:
        os.close(descriptor)
    if len(content) > MOST_COUNTED:
        return None
    return content.count(b"\n") + (content[-1:] not in (b"", b"\n"))


def spooled_text(records: int | None) -> str:
    """Return a number of waiting records in words; nothing for none."""
    if records is None:
        return "records wait in the spool"
    return (
        ""
        if records == 0
        else "1 record waits in the spool"
        if records == 1
        else f"{records} records wait in the spool"
    )
