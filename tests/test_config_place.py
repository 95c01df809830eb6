"""Where config.toml and the database lie, and that asking costs an agent's process little."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.config import ensure_directory, find_config_file, find_database, load
from orchestrator.config.place import SYSTEM_FILE
from orchestrator.errors import ConfigError

ROOT = Path(__file__).parent.parent
OURS = "[orchestrator]\n"

is_linux = pytest.mark.skipif(sys.platform != "linux", reason="the directories of Linux")
needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can give a file away")
without_a_system_file = pytest.mark.skipif(SYSTEM_FILE.exists(), reason="this machine has a configuration")


@pytest.fixture
def cwd(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"HOME": str(tmp_path / "home")}


def write(path: Path, text: str = OURS) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o644)
    return path


@is_linux
@without_a_system_file
def test_the_file_is_the_first_of_those_that_may_be(tmp_path: Path, cwd: Path, environ: dict[str, str]) -> None:
    assert find_config_file(None, environ, cwd) is None

    user = write(tmp_path / "home/.config/orchestrator/config.toml")
    assert find_config_file(None, environ, cwd) == user

    here = write(cwd / "config.toml")
    assert find_config_file(None, environ, cwd) == here

    named = write(tmp_path / "named.toml", "")
    assert find_config_file(None, environ | {"ORCHESTRATOR_CONFIG": "../named.toml"}, cwd) == cwd / "../named.toml"

    flag = write(tmp_path / "flag.toml", "")
    assert find_config_file(flag, environ | {"ORCHESTRATOR_CONFIG": str(named)}, cwd) == flag


@pytest.mark.parametrize("by_flag", [True, False])
def test_a_file_that_is_named_must_be_there(tmp_path: Path, cwd: Path, environ: dict[str, str], by_flag: bool) -> None:
    path = tmp_path / "none.toml"
    if not by_flag:
        environ["ORCHESTRATOR_CONFIG"] = str(path)

    with pytest.raises(ConfigError, match=r"none\.toml: cannot be read: No such file"):
        find_config_file(path if by_flag else None, environ, cwd)


@without_a_system_file
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "there is no [orchestrator] table; the file is ignored"),
        ("[revenue]\n", "there is no [orchestrator] table; the file is ignored"),
        ("orchestrator = 1\n", "there is no [orchestrator] table; the file is ignored"),
        ("title: a page\n", "is not TOML: Expected '=' after a key in a key/value pair; the file is ignored"),
        ("\xff", "is not UTF-8; the file is ignored"),
    ],
)
def test_a_file_here_that_is_not_ours_is_passed_over_with_a_warning(
    cwd: Path, environ: dict[str, str], text: str, reason: str
) -> None:
    (cwd / "config.toml").write_text(text, encoding="latin-1")

    config = load(environ=environ, cwd=cwd)

    assert config.path is None
    (warning,) = config.warnings
    assert warning.startswith(str(cwd / "config.toml"))
    assert warning.endswith(reason)


def test_a_file_here_that_everybody_may_write_is_passed_over(cwd: Path, environ: dict[str, str]) -> None:
    write(cwd / "config.toml").chmod(0o666)

    assert find_config_file(None, environ, cwd) != cwd / "config.toml"
    assert load(environ=environ, cwd=cwd).warnings == (
        f"{cwd}/config.toml: everybody may write it; the file is ignored",
    )


@needs_root
@pytest.mark.parametrize("what", ["file", "link"])
def test_a_file_here_that_belongs_to_another_is_passed_over(
    tmp_path: Path, cwd: Path, environ: dict[str, str], what: str
) -> None:
    path = cwd / "config.toml"
    if what == "link":
        path.symlink_to(write(tmp_path / "ours.toml"))
    else:
        write(path)
    os.chown(path, 12345, 12345, follow_symlinks=False)

    assert load(environ=environ, cwd=cwd).warnings == (f"{path}: it belongs to another user; the file is ignored",)


def test_a_file_here_that_is_ours_and_broken_is_a_problem(cwd: Path, environ: dict[str, str]) -> None:
    write(cwd / "config.toml", "[orchestrator] # ours\nscan_interval_seconds = \n")

    with pytest.raises(ConfigError, match=r"config\.toml:2: is not TOML"):
        load(environ=environ, cwd=cwd)


@is_linux
@without_a_system_file
def test_the_database_is_the_first_of_those_that_may_be(tmp_path: Path, cwd: Path, environ: dict[str, str]) -> None:
    def found(db: str | None = None) -> str:
        light = find_database(db, None, environ, cwd)
        whole = load(db=db, environ=environ, cwd=cwd)
        assert whole.database == light
        return f"{light.relative_to(tmp_path)} by {whole.origin('orchestrator.database')}"

    assert found() == "home/.local/state/orchestrator/orchestrator.db by the user's state directory"

    (cwd / "orchestrator.db").touch()
    assert found() == "work/orchestrator.db by the working directory"

    environ["STATE_DIRECTORY"] = f"{tmp_path}/state:{tmp_path}/second"
    assert found() == "state/orchestrator.db by environment STATE_DIRECTORY"

    file = write(tmp_path / "home/.config/orchestrator/config.toml", '[orchestrator]\ndatabase = "a.db"')
    assert found() == f"home/.config/orchestrator/a.db by {file}:2"

    environ["ORCHESTRATOR_ORCHESTRATOR__DATABASE"] = "~/b.db"
    assert found() == "home/b.db by environment ORCHESTRATOR_ORCHESTRATOR__DATABASE"

    environ["ORCHESTRATOR_DB"] = "c.db"
    assert found() == "work/c.db by environment ORCHESTRATOR_DB"

    assert found("d.db") == "work/d.db by --db"


def test_an_empty_name_is_no_name(tmp_path: Path, cwd: Path, environ: dict[str, str]) -> None:
    environ |= {"ORCHESTRATOR_DB": "", "ORCHESTRATOR_CONFIG": "", "STATE_DIRECTORY": str(tmp_path)}
    write(cwd / "config.toml", '[orchestrator]\ndatabase = ""')

    assert find_database(None, None, environ, cwd) == tmp_path / "orchestrator.db"
    assert (
        find_database("", None, environ | {"ORCHESTRATOR_ORCHESTRATOR__DATABASE": ""}, cwd)
        == tmp_path / "orchestrator.db"
    )
    assert load(db="", environ=environ, cwd=cwd).database == tmp_path / "orchestrator.db"


@pytest.mark.parametrize(
    "text", ["[orchestrator]\ndatabase = 5", '[orchestrator]\ndatabase = "a\\u0000"', "[orchestrator"]
)
def test_a_file_that_cannot_tell_where_the_database_lies_is_a_problem_unless_a_flag_tells(
    tmp_path: Path, cwd: Path, environ: dict[str, str], text: str
) -> None:
    path = write(tmp_path / "config.toml", text)
    write(tmp_path / "overrides.toml", "not read, since nobody knows where to look")

    with pytest.raises(ConfigError, match=r"config\.toml"):
        find_database(None, path, environ, cwd)
    with pytest.raises(ConfigError) as caught:
        load(config_path=path, environ=environ | {"STATE_DIRECTORY": str(tmp_path)}, cwd=cwd)
    assert len(caught.value.problems) == 1
    assert find_database("x.db", path, environ, cwd) == cwd / "x.db"


def test_a_folder_is_made_only_where_it_is_ours_to_make(tmp_path: Path, cwd: Path, environ: dict[str, str]) -> None:
    environ["XDG_STATE_HOME"] = str(tmp_path / "a/b")
    ours = find_database(None, None, environ, cwd)
    assert not ours.parent.exists()

    ensure_directory(ours, environ, cwd)
    ensure_directory(ours, environ, cwd)
    ensure_directory(tmp_path / "c/orchestrator.db", environ, cwd)

    assert stat.S_IMODE(ours.parent.stat().st_mode) == 0o700
    assert not (tmp_path / "c").exists()


@is_linux
@pytest.mark.parametrize("xdg", [{}, {"XDG_CONFIG_HOME": "/x/c", "XDG_STATE_HOME": "/x/s/"}, {"XDG_STATE_HOME": " "}])
def test_the_users_directories_are_those_of_platformdirs(xdg: dict[str, str]) -> None:
    code = """
import json, os, pathlib, platformdirs
from orchestrator.config.place import user_directory
ours = [str(user_directory(kind, os.environ, pathlib.Path.cwd())) for kind in ("config", "state")]
theirs = [str(find("orchestrator", appauthor=False)) for find in (platformdirs.user_config_path, platformdirs.user_state_path)]
print(json.dumps([ours, theirs]))
"""

    ours, theirs = json.loads(run(code, {"HOME": "/home/me", **xdg}))

    assert ours == theirs


@pytest.mark.parametrize("has_file", [True, False])
def test_finding_the_database_loads_nothing_heavy(tmp_path: Path, has_file: bool) -> None:
    environ = {"HOME": str(tmp_path)}
    if has_file:
        environ["ORCHESTRATOR_CONFIG"] = str(write(tmp_path / "config.toml", '[orchestrator]\ndatabase = "a.db"'))
    code = """
import os, pathlib, sys
from orchestrator.config import find_database
find_database(None, None, os.environ, pathlib.Path.cwd())
print(" ".join({"msgspec", "click", "rich", "platformdirs", "difflib", "dataclasses", "tomllib", "decimal"} & set(sys.modules)))
"""

    loaded = set(run(code, environ, cwd=tmp_path).split())

    assert loaded == ({"tomllib"} if has_file else set())


def run(code: str, environ: dict[str, str], cwd: Path | None = None) -> str:
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)} | environ
    return subprocess.run(
        [sys.executable, "-c", code], env=environ, cwd=cwd, check=True, capture_output=True, text=True
    ).stdout
