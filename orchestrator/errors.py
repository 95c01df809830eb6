"""Every error that is raised on purpose. The tree:

OrchestratorError                 exit code 1
├── ConfigError                   exit code 78: one or more problems in the configuration
├── LeaseHeld                     another daemon owns the file
├── Overtaken                     a rebuild gave way to a later one, in another zone
├── NotRecorded                   with `strict`: what a caller gave cannot be believed; a ValueError too
└── StoreError                    the file cannot be used; the subclass says why
    ├── FileMissing               there is no file yet (a reader never creates one)
    ├── NotADatabase              the bytes are not a SQLite file
    ├── ForeignFile               a SQLite file, but with tables that are not ours
    ├── FileCorrupt               SQLite found damage
    ├── FileNewer                 written by a newer version of this program
    ├── FileReadOnly              may be read, not written
    ├── FileLocked                another process held it for too long
    ├── DiskFull                  no space left to write
    ├── FileUnreachable           the folder is missing, or permission is denied
    │   └── CopyUnreachable       the same of a backup's path
    └── FileExists                a backup goes only where nothing is

Each class builds its one-line message, with the remedy, from its fields.
"""

from pathlib import Path


class OrchestratorError(Exception):
    """The root: whoever catches it has every error that this program raises on purpose."""

    exit_code = 1


class ConfigError(OrchestratorError):
    """The configuration cannot be used; `problems` lists everything that is wrong, not only the first thing."""

    exit_code = 78

    def __init__(self, problems: tuple[str, ...]) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))


class LeaseHeld(OrchestratorError):
    """A living daemon owns the file."""

    def __init__(self, path: Path, owner: str) -> None:
        self.path = path
        self.owner = owner
        super().__init__(f"{path}: {owner} already runs on this file; stop it first, or use another --db")


class Overtaken(OrchestratorError):
    """A rebuild stopped, because a later one makes the days of the file those of another zone."""

    def __init__(self, path: Path, timezone: str) -> None:
        self.path = path
        self.timezone = timezone
        super().__init__(
            f"{path}: a later rebuild makes its days those of {timezone}, so this one stopped; "
            "if another zone is meant, rebuild again when that one is done"
        )


class NotRecorded(OrchestratorError, ValueError):
    """What a caller with `strict=True` gave cannot be believed, or does not belong here; nothing was stored. `problem` says what."""

    def __init__(self, problem: str) -> None:
        self.problem = problem
        super().__init__(problem)


class StoreError(OrchestratorError):
    """The file cannot be used. `detail` is SQLite's or the system's own words, without a line break."""

    remedy = "see the log"

    def __init__(self, path: Path, detail: str = "") -> None:
        self.path = path
        self.detail = " ".join(detail.split())
        said = f" ({self.detail})" if self.detail else ""
        super().__init__(f"{path}: {self.what()}{said}; {self.remedy}")

    def what(self) -> str:
        """Return what is wrong, in a few words."""
        return "cannot be used"


class FileMissing(StoreError):
    """There is no file, or an empty one, where a reader looked."""

    remedy = "run `orchestrator once` to make it, or name another with --db"

    def what(self) -> str:
        return "there is no database yet"


class NotADatabase(StoreError):
    """The bytes at the path are not SQLite's."""

    remedy = "nothing was changed; name another file with --db"

    def what(self) -> str:
        return "is not a SQLite database"


class ForeignFile(StoreError):
    """A SQLite file that belongs to another program."""

    remedy = "nothing was changed; name another file with --db"

    def what(self) -> str:
        return "belongs to another program"


class FileCorrupt(StoreError):
    """SQLite found damage."""

    remedy = "nothing was changed; restore a backup, or copy the file away and start a new one"

    def what(self) -> str:
        return "is damaged"


class FileNewer(StoreError):
    """The file's version is above the newest migration this program knows."""

    remedy = "nothing was changed; upgrade orchestrator"

    def what(self) -> str:
        return "was written by a newer version"


class FileReadOnly(StoreError):
    """The file, or its folder, may not be written."""

    remedy = "give this user write permission on the file and its folder, or name another with --db"

    def what(self) -> str:
        return "is read-only"


class FileLocked(StoreError):
    """Another process held the write lock for longer than the busy timeout."""

    remedy = "try again, or stop the process that holds it"

    def what(self) -> str:
        return "is locked by another process"


class DiskFull(StoreError):
    """The disk, or the quota, has no room."""

    remedy = "free some space; nothing that was committed is lost"

    def what(self) -> str:
        return "the disk is full"


class FileUnreachable(StoreError):
    """The folder does not exist, or the file may not be opened at all."""

    remedy = "make the folder, or give this user permission, or name another with --db"

    def what(self) -> str:
        return "cannot be opened"


class CopyUnreachable(FileUnreachable):
    """The folder that a copy was to go to does not exist, or may not be written."""

    remedy = "make the folder, or give this user permission, or name another path"

    def what(self) -> str:
        return "cannot be written"


class FileExists(StoreError):
    """A copy was to be written where a file is already."""

    remedy = "nothing was changed; name a path where nothing is yet"

    def what(self) -> str:
        return "exists already"
