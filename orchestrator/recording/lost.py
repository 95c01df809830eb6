"""What could be written neither into the file nor beside it: a mark of it, in the first place that takes one.

A mark holds the lost lines where there is room. On a full disk often a name is all that can be made: then an empty mark says that
something was lost, and its time when.
"""

import hashlib
import json
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from orchestrator.config.place import user_directory
from orchestrator.periods import instant_from_text, text_from_instant
from orchestrator.recording.spool import may_stand_beside
from orchestrator.store.database import Database
from orchestrator.store.modes import protect
from orchestrator.text import one_line

# Beyond it a mark takes no more.
LARGEST_MARK: Final = 4 * 1024 * 1024


@dataclass(frozen=True)
class LostMark:
    """Records that one user lost: how many the mark names (0: it had no room for any), the last of them when, and why.

    What was lost stands in the file at `path`, as in a spool, in the key `record` of each line. Who has seen to it removes the file.
    """

    path: Path
    records: int
    last_at: datetime
    reason: str


def mark_lost(database: Path, lines: Sequence[bytes], reason: str, now: datetime) -> Path | None:
    """Leave a mark that these lines were lost, and return where; None when that cannot be done either. Never raises."""
    content = b"".join(_marked(database, line, reason, now) for line in lines)
    bare = None
    for path in _places(database):
        with suppress(OSError):
            # Ours to make; the folder of the database, or for temporary files, is not.
            if path.parent == _own_folder():
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError:
            continue
        try:
            if _written(descriptor, content):
                with suppress(OSError):
                    protect(path)
                return path
            if bare is None:
                bare = path
            elif os.fstat(descriptor).st_size == 0:
                path.unlink()
        except OSError:
            continue
        finally:
            os.close(descriptor)
    return bare


def _written(descriptor: int, content: bytes) -> bool:
    """Return whether all of it is on the disk; where it is not, none is."""
    try:
        size = os.fstat(descriptor).st_size
        if size + len(content) > LARGEST_MARK:
            return False
        try:
            written = 0
            while written < len(content):
                written += os.write(descriptor, content[written:])
            os.fsync(descriptor)
        except OSError:
            os.ftruncate(descriptor, size)
            return False
    except OSError:
        return False
    return True


def nowhere() -> Path:
    """Return what stands for the file when the configuration cannot tell which it is."""
    return _own_folder() / "orchestrator.db"


def lost_marks(database: Database) -> list[LostMark]:
    """Return the marks of records that this file should have, or that no file could be named for, as far as this user may look."""
    marks = []
    for path in dict.fromkeys((*_places(database.path), next(_places(nowhere())))):
        try:
            found = path.lstat()
        except OSError:
            continue
        if not stat.S_ISREG(found.st_mode):
            continue
        records, reason = 0, ""
        last_at = datetime.fromtimestamp(found.st_mtime, UTC)
        for line in _lines(path):
            records += 1
            reason = one_line(str(line.get("reason", "")))
            last_at = instant_from_text(str(line.get("lost_at"))) or last_at
        marks.append(LostMark(path, records, last_at, reason))
    return marks


def _places(database: Path) -> Iterator[Path]:
    """Yield where a mark may lie: beside the file, in the user's state directory, in the folder for temporary files."""
    if may_stand_beside(database):
        yield database.with_name(f"{database.name}-lost.jsonl")
    named = hashlib.sha256(os.fsencode(database)).hexdigest()[:16]
    yield _own_folder() / f"lost-{named}.jsonl"
    yield Path(os.environ.get("TMPDIR") or "/tmp") / f"orchestrator-{os.getuid()}-lost-{named}.jsonl"  # noqa: S108 - O_NOFOLLOW


def _own_folder() -> Path:
    # The base is for a folder that is named relative to it, which a state directory never is.
    return user_directory("state", os.environ, Path("/"))


def _marked(database: Path, line: bytes, reason: str, now: datetime) -> bytes:
    said = {"lost_at": text_from_instant(now), "database": str(database), "reason": reason, "record": json.loads(line)}
    return json.dumps(said, separators=(",", ":")).encode() + b"\n"


def _lines(path: Path) -> Iterator[dict[str, object]]:
    with suppress(OSError):
        for text in path.read_bytes()[: 2 * LARGEST_MARK].splitlines():
            with suppress(ValueError, RecursionError):
                line = json.loads(text)
                if isinstance(line, dict):
                    yield line
