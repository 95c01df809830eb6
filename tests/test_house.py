"""The house: what the build files promise is true of the tree that they build."""

import os
import re
import shutil
import subprocess
import tomllib
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
TARGETS = {"help", "install", "format", "lint", "types", "layers", "test", "bench", "check", "once"}
# What DESIGN calls pure; a module among them that exists stands in the contract.
PURE = {"errors", "money", "periods", "growth", "pricing", "budgets", "redaction", "text", "usage"}

in_a_clone = pytest.mark.skipif(
    shutil.which("git") is None or not (ROOT / ".git").exists(), reason="git is asked, and this is not a clone"
)


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    # The make that runs these tests must not pass its own flags and variables on.
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    return subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)


def pinned() -> dict[str, str]:
    """Return the version of each package in constraints.txt, by its canonical name."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return {canonicalize_name(name): version for name, version in (line.split("==") for line in lines)}


def declared() -> list[Requirement]:
    groups = PROJECT["dependency-groups"].values()
    asked = [*PROJECT["build-system"]["requires"], *PROJECT["project"]["dependencies"], *(r for g in groups for r in g)]
    return [Requirement(r) for r in asked]


def contract(name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(c for c in PROJECT["tool"]["importlinter"]["contracts"] if c["name"] == name)
    return found


def modules() -> set[str]:
    folder = ROOT / "orchestrator"
    packages = {path.parent.name for path in folder.glob("*/__init__.py")}
    return packages | {path.stem for path in folder.glob("*.py")} - {"__init__"}


def test_make_without_a_word_explains_every_target() -> None:
    said = run("make").stdout.splitlines()

    explained = {line.split()[1]: line.split(maxsplit=2)[2] for line in said}
    assert set(explained) == TARGETS
    assert all(explained.values())


def test_check_contains_every_word_that_must_pass() -> None:
    said = run("make", "--dry-run", "--always-make", "check").stdout

    for tool in ("ruff format --check", "ruff check", "mypy", "lint-imports", "pytest -n auto --cov"):
        assert tool in said


def test_a_python_that_is_too_old_is_named_with_the_remedy(tmp_path: Path) -> None:
    old = tmp_path / "python3"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)

    said = run("make", f"VENV={tmp_path / 'venv'}", f"PYTHON={old}", "once")

    assert said.returncode != 0
    assert said.stderr.startswith(f"No Python 3.11 or newer among: {old}. Install one")
    assert not (tmp_path / "venv").exists()


def test_a_python_without_ensurepip_is_named_with_the_package_that_has_it(tmp_path: Path) -> None:
    bare = tmp_path / "python3"
    bare.write_text('#!/bin/sh\ncase "$2" in *ensurepip*) exit 1;; *print*) echo 3.12;; esac\n')
    bare.chmod(0o755)

    said = run("make", f"VENV={tmp_path / 'venv'}", f"PYTHON={bare}", "once")

    assert said.returncode != 0
    assert "apt-get install python3-venv, or python3.12-venv" in said.stderr.splitlines()[0]
    assert not (tmp_path / "venv").exists()


def test_ci_runs_what_a_developer_runs() -> None:
    script = ROOT / ".ci" / "run"

    assert script.stat().st_mode & 0o111
    assert "set -euo pipefail" in script.read_text()
    assert "make check" in script.read_text()


def test_constraints_pin_one_exact_version_a_line_and_nothing_else() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()

    # Neither an address nor an index, a path, a hash or a marker fits this form.
    assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][0-9A-Za-z.+!]*", line)] == []
    assert len(pinned()) == len(lines)


def test_constraints_satisfy_everything_that_is_declared() -> None:
    versions = pinned()

    assert [str(r) for r in declared() if versions.get(canonicalize_name(r.name), "0") not in r.specifier] == []


def test_constraints_cover_what_the_dependencies_bring_along() -> None:
    versions = pinned()
    seen: set[str] = set()
    waiting = [canonicalize_name(r.name) for r in declared()]

    while waiting:
        name = waiting.pop()
        seen.add(name)
        try:
            brought = [Requirement(r) for r in requires(name) or []]
        except PackageNotFoundError:
            # The peers of the bench and the build's own tools are not installed here.
            continue
        here = [r for r in brought if r.marker is None or r.marker.evaluate({"extra": ""})]
        waiting += [canonicalize_name(r.name) for r in here if canonicalize_name(r.name) not in seen]

    assert sorted(seen - versions.keys()) == []


def test_whoever_installs_the_package_gets_none_of_our_tools() -> None:
    runtime = {Requirement(r).name for r in PROJECT["project"]["dependencies"]}

    assert runtime.isdisjoint({"pytest", "ruff", "mypy", "hypothesis", "coverage", "import-linter"})
    assert "optional-dependencies" not in PROJECT["project"]


@in_a_clone
@pytest.mark.parametrize(
    "path",
    [
        "orchestrator.db",
        "orchestrator.db-wal",
        "orchestrator.db-shm",
        "orchestrator.db-spool.jsonl",
        "overrides.toml",
        ".venv/bin/python",
        ".coverage",
    ],
)
def test_git_ignores_what_a_run_leaves_behind(path: str) -> None:
    assert run("git", "check-ignore", "--quiet", "--no-index", path).returncode == 0


@in_a_clone
def test_git_holds_no_database_and_no_secret() -> None:
    held = run("git", "ls-files").stdout.splitlines()

    assert [path for path in held if re.search(r"\.db($|-)|(^|/)\.env|overrides\.toml$", path)] == []


def test_every_pure_module_that_exists_stands_in_its_contract() -> None:
    held = {name.removeprefix("orchestrator.") for name in contract("Pure modules do no I/O")["source_modules"]}

    assert held == PURE & modules()


def test_every_module_has_its_layer() -> None:
    layers = contract("Imports go down only")["layers"]

    placed = {name.strip(" ()") for layer in layers for name in layer.split("|")}
    assert modules() <= placed


def test_the_wheel_holds_whatever_the_package_folder_holds() -> None:
    wheel = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]

    assert wheel == {"packages": ["orchestrator"]}
    assert (ROOT / "orchestrator" / "py.typed").exists()
    assert list((ROOT / "orchestrator" / "store" / "migrations").glob("*.sql"))
