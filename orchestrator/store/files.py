"""The file, its log and the log's index: whether they still lie where a connection opened them.

To ask for a log's times has a price: Linux from 6.13 on gives a file that was asked for them a finer time at its next write, and the
commit that follows takes half as long again. So the folder is asked first: its `ctime` changes with every name in it, and nobody can
set it back.
"""

import os
from time import monotonic
from typing import Final

Identity = tuple[int, int]

NOTHING: Final[Identity] = (0, 0)
# File systems may tell time in steps of some milliseconds: a folder that has not changed for so long shows the next change. Some tell
# whole seconds, or every other one (ext4 with inodes of 128 bytes, HFS+, FAT).
_SETTLED_SECONDS: Final = 0.1
_COARSELY_SETTLED_SECONDS: Final = 2.5


class Files:
    """Where a connection has the file, its log and the log's index, and what lay there when it opened them."""

    def __init__(self, names: tuple[str, str, str], seen: tuple[Identity, ...]) -> None:
        self.names = names
        self.seen = seen
        self._folder = os.path.dirname(names[0])  # noqa: PTH120 - as below
        # A link's log lies beside what the link leads to, and that folder says nothing about the link.
        self._is_one_folder = self._folder == os.path.dirname(names[1]) or (  # noqa: PTH120
            identity(self._folder) == identity(os.path.dirname(names[1]))  # noqa: PTH120
        )
        # As the folder was when it was last asked, and since when; and as it was when all was in place, if it shows every later change.
        self._found: tuple[int, int, int] | None = None
        self._since = 0.0
        self._settled: tuple[int, int, int] | None = None

    def changed(self) -> bool:
        """Return whether anything else, or nothing, lies at one of the names."""
        return self._now() != self.seen

    def log_changed(self) -> bool:
        """Return whether anything else, or nothing, lies at the name of the log."""
        return self._now()[1] != self.seen[1]

    def outdated(self, file: Identity) -> bool:
        """Return whether these are the log and the index of `file` no more."""
        return self.seen[0] == file and self.changed()

    def may_copy_log(self) -> bool:
        """Return whether closing may copy the log into the file, and remove what has the log's name."""
        file, log, index = identities(self.names)
        if (log, index) == self.seen[1:]:
            return True
        # A log that was only removed holds what was confirmed: while it is open nobody else can have written and taken theirs away.
        return file == self.seen[0] and log == NOTHING and (self.names, self.seen) not in _lost

    def lose_log(self) -> None:
        """Remember that what the log holds must not be copied over what others wrote since, whoever closes it."""
        _lost.add((self.names, self.seen))

    def _now(self) -> tuple[Identity, ...]:
        try:
            found = os.stat(self._folder)  # noqa: PTH116 - three times for every row: half the price of Path.stat
        except OSError:
            return identities(self.names)
        folder = (found.st_dev, found.st_ino, found.st_ctime_ns)
        if folder == self._settled:
            return self.seen
        if folder != self._found:
            self._found, self._since = folder, monotonic()
        is_old = monotonic() - self._since > settled_after(found.st_ctime_ns)
        here = identities(self.names)
        if is_old and self._is_one_folder and here == self.seen:
            self._settled = folder
        return here


def settled_after(changed_ns: int) -> float:
    """Return for how many seconds a folder that last changed then has to be the same, until every later change shows another time."""
    return _SETTLED_SECONDS if changed_ns % 10**9 else _COARSELY_SETTLED_SECONDS


def opened(names: tuple[str, str, str], file: Identity) -> Files:
    """Return what a connection that has read has opened; `file` is what lay at its path before."""
    here, *beside = identities(names)
    return Files(names, (here if file == NOTHING else file, *beside))


def identity(path: str | os.PathLike[str]) -> Identity:
    """Return what lies at a path: its device and number, two zeros for nothing."""
    try:
        found = os.stat(path)  # noqa: PTH116 - as above
    except OSError:
        return NOTHING
    return found.st_dev, found.st_ino


def identities(names: tuple[str, str, str]) -> tuple[Identity, ...]:
    """Return what lies at each of the names."""
    return identity(names[0]), identity(names[1]), identity(names[2])


NO_FILES: Final = Files(("", "", ""), ())

_lost: set[tuple[tuple[str, str, str], tuple[Identity, ...]]] = set()
