"""The prose: whatever it names exists, and whatever exists is named."""

import re
import tomllib
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import click
import pytest

import orchestrator
from orchestrator.cli.main import cli
from orchestrator.config import Config

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
SOURCE_MAP = (ROOT / "docs" / "source-map.md").read_text()
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
DECISIONS = sorted((ROOT / "docs" / "design").glob("*.md"))


def commands(group: click.Group, above: str = "orchestrator") -> Iterator[tuple[str, click.Command]]:
    """Give each command with the words that call it; a group's own commands stand for it."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None, f"{above} {name} is listed and cannot be loaded"
        if isinstance(command, click.Group):
            yield from commands(command, f"{above} {name}")
        else:
            yield f"{above} {name}", command


def keys(record: Any, above: str = "") -> Iterator[str]:
    """Give the dotted name of each key of the configuration that has a name of its own."""
    for field in fields(record):
        if not field.metadata:
            continue
        value = getattr(record, field.name)
        if is_dataclass(value):
            yield from keys(value, f"{above}{field.name}.")
        elif above:
            yield f"{above}{field.name}"


KEYS = sorted(keys(Config(database=Path("orchestrator.db"))))


def explained_in_config_toml() -> dict[str, str]:
    """Return the comment above each key of config.toml, whether the key is commented out or not."""
    explained: dict[str, str] = {}
    table = comment = ""
    for line in (ROOT / "config.toml").read_text().splitlines():
        if header := re.fullmatch(r"#?\[+([^]]+)\]+", line):
            table, comment = header[1], ""
        elif key := re.match(r"#?([a-z_]+) = ", line):
            explained[f"{table}.{key[1]}"] = comment
            comment = ""
        elif line.startswith("# "):
            comment += line[1:]
        elif not line:
            comment = ""
    return explained


def test_every_command_says_what_it_does_and_so_does_each_of_its_options() -> None:
    silent = [words for words, command in commands(cli) if not command.get_short_help_str()]
    for words, command in commands(cli):
        options = [p for p in command.params if isinstance(p, click.Option)]
        silent += [f"{words} {option.opts[0]}" for option in options if not option.help]
    silent += [option.opts[0] for option in cli.params if isinstance(option, click.Option) and not option.help]

    assert silent == []


def test_every_command_stands_in_the_readme() -> None:
    rows = set(re.findall(r"^\| `(orchestrator [a-z ]*[a-z])", README, re.MULTILINE))

    assert sorted({words for words, _ in commands(cli)} - rows) == []


def test_the_readme_names_no_command_that_does_not_exist() -> None:
    called = re.findall(r"^(?:.*bin/)?orchestrator ([a-z]+)|`orchestrator ([a-z]+)", README, re.MULTILINE)

    assert {first or second for first, second in called} - set(cli.list_commands(click.Context(cli))) == set()


@pytest.mark.parametrize("key", KEYS)
def test_every_key_is_explained_in_config_toml(key: str) -> None:
    assert explained_in_config_toml().get(key)


def test_config_toml_names_no_key_that_does_not_exist() -> None:
    known = set(KEYS)

    assert {key for key in explained_in_config_toml() if not key.startswith("prices")} - known == set()


def test_config_toml_can_be_used_as_it_is() -> None:
    assert tomllib.loads((ROOT / "config.toml").read_text())["orchestrator"] is not None


@pytest.mark.parametrize("key", [key for key in KEYS if key.startswith(("orchestrator.", "revenue."))])
def test_every_key_of_the_main_job_stands_in_the_readme(key: str) -> None:
    assert f"`{key.rpartition('.')[2]}`" in README


def test_every_public_name_in_the_readme_exists() -> None:
    blocks = "".join(re.findall(r"```python\n(.*?)```", README, re.DOTALL))

    called = set(re.findall(r"orchestrator\.([a-z_]+)\(", blocks))
    assert called
    assert called <= set(orchestrator.__all__)


def test_every_module_stands_in_the_source_map() -> None:
    folder = ROOT / "orchestrator"
    packages = [f"{path.parent.name}/" for path in folder.glob("*/__init__.py")]
    modules = [path.name for path in folder.glob("*.py") if not path.name.startswith("__")]

    assert [
        name for name in [*packages, *modules] if f"/{name}`" not in SOURCE_MAP and f"`{name}`" not in SOURCE_MAP
    ] == []


def test_the_source_map_names_nothing_that_does_not_exist() -> None:
    rows = re.findall(r"^\| (`.*?) \|", SOURCE_MAP, re.MULTILINE)

    named = [name for row in rows for name in re.findall(r"`([^`]+)`", row)]
    assert named
    gone = [n for n in named if not (ROOT / n).exists() and not (ROOT / "orchestrator" / n).exists()]
    assert gone == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_to_a_file_leads_to_one(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)\)", page.read_text())

    assert [link for link in links if "://" not in link and not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", DECISIONS, ids=lambda page: page.stem)
def test_a_decision_has_a_number_of_its_own_and_says_why(page: Path) -> None:
    number = page.name[:4]
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)

    assert [other.name for other in DECISIONS if other.name.startswith(number)] == [page.name]
    assert re.match(rf"{number}[: ]", headings[0])
    assert headings[1:] == ["Context", "Decision", "Consequences"]


def test_every_dependency_has_its_reason_and_its_cost() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    page = (ROOT / "docs" / "design" / "0001-dependencies.md").read_text()

    for dependency in project["dependencies"]:
        name = re.split(r"[<>=]", dependency)[0]
        assert re.search(rf"^\| {re.escape(name)} \| [^|]+ \| [0-9]", page, re.MULTILINE), name


def test_the_changelog_begins_with_what_is_not_released_yet() -> None:
    versions = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)

    assert versions[0] == "Unreleased"
