"""Where config.toml and the database lie. An agent's process asks this each time it starts, so only light modules are imported here.

config.toml: `--config`, `$ORCHESTRATOR_CONFIG`, `./config.toml` if it is ours, the user's config directory, /etc/orchestrator.
The database: `--db`, `$ORCHESTRATOR_DB`, `[orchestrator] database`, `$STATE_DIRECTORY`, `./orchestrator.db` if it exists, the user's
state directory. Every path that is returned is absolute; nothing is created but by `ensure_directory`.
"""

import os
import stat
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from orchestrator.errors import ConfigError
from orchestrator.text import one_line

LARGEST_FILE = 256 * 1024
SYSTEM_FILE = Path("/etc/orchestrator/config.toml")

_MOST_DOTS = 500
_GONE = Path("/proc/self/cwd")

Table = dict[str, object]


def working_directory() -> Path:
    """Return the working directory; where somebody has removed it, the name under which nothing can be found or made any more."""
    try:
        return Path.cwd()
    except OSError:
        return _GONE


def find_config_file(config_path: Path | None, environ: Mapping[str, str], cwd: Path) -> Path | None:
    """Return the config.toml that is in force, or None when there is none; raises ConfigError when a named one cannot be read."""
    return search(config_path, environ, cwd)[0]


def find_database(db: str | Path | None, config_path: Path | None, environ: Mapping[str, str], cwd: Path) -> Path:
    """Return where the database lies, whether or not there is a file yet; raises ConfigError when the config cannot tell."""
    if db or environ.get("ORCHESTRATOR_DB"):
        return choose_database(db, None, environ, cwd)[0]
    named = environ.get("ORCHESTRATOR_ORCHESTRATOR__DATABASE")
    if named is None:
        path, text, _ = search(config_path, environ, cwd)
        configured = _configured_database(path, text, environ) if path else None
    else:
        configured = absolute(named, cwd, environ) if named else None
    return choose_database(db, (configured, "") if configured else None, environ, cwd)[0]


def choose_database(
    db: str | Path | None, configured: tuple[Path, str] | None, environ: Mapping[str, str], cwd: Path
) -> tuple[Path, str]:
    """Return where the database lies and what says so; `configured` is the path that the configuration names, and its origin."""
    if db:
        return absolute(str(db), cwd, environ), "--db"
    if named := environ.get("ORCHESTRATOR_DB"):
        return absolute(named, cwd, environ), "environment ORCHESTRATOR_DB"
    if configured:
        return configured
    if state := environ.get("STATE_DIRECTORY"):
        # systemd separates several directories with colons; the unit's first one is ours.
        return absolute(state.split(":")[0], cwd, environ) / "orchestrator.db", "environment STATE_DIRECTORY"
    here = absolute("orchestrator.db", cwd, environ)
    if is_there(here):
        return here, "the working directory"
    return user_directory("state", environ, cwd) / "orchestrator.db", "the user's state directory"


def ensure_directory(database: Path, environ: Mapping[str, str], cwd: Path) -> None:
    """Make the user's state directory (0700) when the database lies there; any other folder is the operator's to make."""
    if database.parent == user_directory("state", environ, cwd):
        database.parent.mkdir(mode=0o700, parents=True, exist_ok=True)


def search(config_path: Path | None, environ: Mapping[str, str], cwd: Path) -> tuple[Path | None, str, tuple[str, ...]]:
    """Return the config.toml in force (None: none), its text, and a warning for a ./config.toml that was passed over."""
    named = config_path or environ.get("ORCHESTRATOR_CONFIG")
    if named:
        path = absolute(str(named), cwd, environ)
        return path, read_text(path), ()
    here = absolute("config.toml", cwd, environ)
    warnings: tuple[str, ...] = ()
    if is_there(here):
        text, warning = _own_text(here)
        if not warning:
            return here, text, ()
        warnings = (warning,)
    for path in (user_directory("config", environ, cwd) / "config.toml", SYSTEM_FILE):
        if is_there(path):
            return path, read_text(path), warnings
    return None, "", warnings


def read_text(path: Path, allowed: Callable[[os.stat_result], str] = lambda _: "") -> str:
    """Return a file's text without its byte order mark; raises ConfigError, also with what `allowed` says against its owner or mode."""
    try:
        # A FIFO must not block us: it is opened without waiting and then refused like any other thing that is not a file.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        said = (isinstance(error, OSError) and error.strerror) or "is not a path"
        raise ConfigError((f"{shown(path)}: cannot be read: {said}",)) from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ConfigError((f"{shown(path)}: is not a regular file",))
        if refusal := allowed(status):
            raise ConfigError((f"{shown(path)}: {refusal}",))
        content = os.read(descriptor, LARGEST_FILE + 1)
    finally:
        os.close(descriptor)
    if len(content) > LARGEST_FILE:
        raise ConfigError((f"{shown(path)}: is larger than {LARGEST_FILE // 1024} KiB",))
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError((f"{shown(path)}:{line}: is not UTF-8",)) from error


def parse(path: Path, text: str, parse_float: Callable[[str], object] = float) -> Table:
    """Return what TOML text says; raises ConfigError with the line of the mistake."""
    import tomllib

    # tomllib keeps every beginning of a dotted key: 100,000 dots in one line would take all the memory there is.
    if dotted := [n for n, line in enumerate(text.split("\n"), start=1) if line.count(".") > _MOST_DOTS]:
        raise ConfigError((f"{shown(path)}:{dotted[0]}: has more than {_MOST_DOTS} dots",))
    try:
        return tomllib.loads(text, parse_float=parse_float)
    except tomllib.TOMLDecodeError as error:
        said, _, place = str(error).rpartition(" (at ")
        digits = place.removeprefix("line ").split(",")[0]
        line = int(digits) if digits.isdigit() else text.rstrip("\n").count("\n") + 1
        raise ConfigError((f"{shown(path)}:{line}: is not TOML: {one_line(said)}",)) from error
    except (ValueError, RecursionError) as error:
        # tomllib lets through int()'s refusal of more than 4300 digits, and the interpreter's of arrays in arrays in arrays.
        raise ConfigError(
            (f"{shown(path)}: is not TOML that can be read: too long a number or too deep a nesting",)
        ) from error


def absolute(text: str, base: Path, environ: Mapping[str, str]) -> Path:
    """Return a path as absolute: `~` is the user's home, and a relative one starts at `base`."""
    if text == "~" or text.startswith("~/"):
        text = _home(environ) + text[1:]
    return Path(base, text).absolute()


def user_directory(kind: str, environ: Mapping[str, str], cwd: Path) -> Path:
    """Return the user's `config` or `state` directory for this program."""
    if sys.platform != "linux":
        import platformdirs

        found = platformdirs.user_config_path if kind == "config" else platformdirs.user_state_path
        return found("orchestrator", appauthor=False)
    # platformdirs' answer on Linux, without the time that importing it costs; a test holds the two equal.
    base = environ.get(f"XDG_{kind.upper()}_HOME", "")
    if not base.startswith("/"):
        base = _home(environ) + ("/.config" if kind == "config" else "/.local/state")
    return absolute(base, cwd, environ) / "orchestrator"


def is_there(path: Path) -> bool:
    """Return whether there is anything at a path; where this user may not look, there is nothing."""
    try:
        path.stat()
    except (OSError, ValueError):
        return False
    return True


def shown(path: Path) -> str:
    """Return a path as it stands in a message, where no line break or hidden character in its name can do harm."""
    return one_line(str(path), limit=4096)


def _home(environ: Mapping[str, str]) -> str:
    try:
        return (environ.get("HOME") or str(Path.home())).rstrip("/")
    except RuntimeError:
        return ""


def _own_text(path: Path) -> tuple[str, str]:
    """Return the text of ./config.toml, and a warning instead when it is not to be used.

    The working directory may be anybody's, and what runs there must not take orders from a file that another user left.
    """

    def allowed(status: os.stat_result) -> str:
        if status.st_mode & stat.S_IWOTH:
            return "everybody may write it"
        owners = {status.st_uid, path.lstat().st_uid}
        return "" if owners <= {0, os.getuid()} else "it belongs to another user"

    text = ""
    try:
        text = read_text(path, allowed)
        table = parse(path, text)
    except ConfigError as error:
        # With our header in it, it is ours and broken, which whoever reads it next will say.
        headers = (line.split("#")[0].strip() for line in text.splitlines())
        return (text, "") if "[orchestrator]" in headers else ("", f"{error}; the file is ignored")
    if not isinstance(table.get("orchestrator"), dict):
        return "", f"{shown(path)}: there is no [orchestrator] table; the file is ignored"
    return text, ""


def _configured_database(path: Path, text: str, environ: Mapping[str, str]) -> Path | None:
    section = parse(path, text).get("orchestrator")
    named = section.get("database", "") if isinstance(section, dict) else ""
    if not isinstance(named, str) or "\0" in named:
        raise ConfigError((f"{shown(path)}: orchestrator.database: a path is due",))
    return absolute(named, path.parent, environ) if named else None
