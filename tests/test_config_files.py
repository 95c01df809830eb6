"""The files themselves: what TOML allows, what is no TOML, the lines of keys, and the file that `init` writes."""

import dataclasses
import os
import tomllib
from decimal import Decimal
from pathlib import Path

import pytest
import tomli_w
from config_world import World, value_of
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.config import default_toml
from orchestrator.config.layers import all_keys
from orchestrator.config.lines import lines_of
from orchestrator.config.sections import PriceOverride, Scope

ROOT = Path(__file__).parent.parent


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"[orchestrator\n", "1: is not TOML: Expected ']' at the end of a table declaration"),
        (b"[revenue]\na = 1\na = 2", "3: is not TOML: Cannot overwrite a value"),
        (b"[revenue]\n[revenue]\n", "2: is not TOML: "),
        (b"# \xc3\xa4\n# \xe4\n", "2: is not UTF-8"),
        ("[revenue]".encode("utf-16"), "1: is not UTF-8"),
        (b'x = """\nnever closed\n', "2: is not TOML: "),
        (b"x = 1\ry = 2", "1: is not TOML: "),
        (b"\x00", "1: is not TOML: "),
        (b"x = " + b"[" * 5000, " is not TOML that can be read: "),
        (b"x = " + b"9" * 5000, " is not TOML that can be read: "),
        (b"#" * 300_000, " is larger than 256 KiB"),
        (b"# dots\na" + b".a" * 100_000 + b" = 1", "2: has more than 500 dots"),
    ],
)
def test_a_file_that_is_not_toml_is_one_problem(world: World, content: bytes, expected: str) -> None:
    assert world.problem(content).startswith(f"etc/config.toml:{expected}")


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbf[retention]\r\ncalls_days = 7\r\n",
        b"retention.calls_days = 7",
        b"retention = { calls_days = 7 }",
        b'[retention]\n"calls_days" = 7',
        b"['retention']\ncalls_days = +7",
        b"[retention] # seven\ncalls_days = 0x7",
    ],
)
def test_a_key_may_be_spelt_in_every_way_that_toml_has(world: World, content: bytes) -> None:
    assert world.load(content).retention.calls_days == 7


def test_other_things_than_files_are_refused_and_do_not_block(world: World) -> None:
    os.mkfifo(world.path)
    assert world.problem() == "etc/config.toml: is not a regular file"

    world.path.unlink()
    world.path.mkdir()
    assert world.problem() == "etc/config.toml: is not a regular file"

    world.path.rmdir()
    world.path.symlink_to(world.path)
    world.environ["ORCHESTRATOR_CONFIG"] = str(world.path)
    assert world.problem() == "etc/config.toml: cannot be read: Too many levels of symbolic links"


def test_a_wrong_environment_is_told_beside_a_file_that_cannot_be_read(world: World) -> None:
    problems = world.problems("[", ORCHESTRATOR_REVENUE__ENABLED="maybe", OPENROUTER_API_KEY="a b")

    assert len(problems) == 3


def test_the_file_in_the_repository_is_what_init_writes() -> None:
    assert (ROOT / "config.toml").read_text() == default_toml()


def test_a_new_file_changes_nothing(world: World) -> None:
    without = world.load()

    config = world.load(default_toml())

    assert dataclasses.replace(config, path=None, origins={}) == dataclasses.replace(without, origins={})
    assert set(config.origins) == {"orchestrator.database", "revenue.xmr_wallet"}


def test_a_new_file_shows_every_key_with_its_default(world: World) -> None:
    every_line = "\n".join(
        line[1:] if line[:1] == "#" and line[1:2] != " " else line for line in default_toml().split("\n")
    )
    defaults = world.load()

    config = world.load(every_line)

    assert set(all_keys()) <= set(config.origins)
    examples = {"orchestrator.database", "budget.monthly_limit_usd", "budget.scopes"}
    for key in set(all_keys()) - examples:
        assert value_of(config, key) == value_of(defaults, key), key
    assert config.budget.scopes == (Scope(tenant_id="*", daily_limit_usd=Decimal(10)),)
    assert {f.name for f in dataclasses.fields(PriceOverride)} == {
        name for price in tomllib.loads(every_line)["prices"].values() for name in price
    }


NAMES = st.text(st.characters(codec="utf-8"), max_size=4)
TABLES = st.dictionaries(
    NAMES,
    st.recursive(
        st.integers(-9, 9) | st.text(st.characters(codec="utf-8"), max_size=6),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
        max_leaves=8,
    ),
    max_size=4,
)


@given(table=TABLES)
def test_every_key_of_any_toml_has_a_line_that_holds_it(table: dict[str, object]) -> None:
    text = tomli_w.dumps(table)

    found = lines_of(text)

    expected = {path for path in paths(tomllib.loads(text)) if len(path) <= 6}
    assert {path for path in found if len(path) <= 6} == expected
    lines = text.split("\n")
    for path, line in found.items():
        assert 1 <= line <= len(lines)
        if isinstance(path[-1], str):
            # Other names stand there with escapes.
            assert not path[-1].isalnum() or path[-1] in lines[line - 1]


def paths(value: object, above: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    inner: list[tuple[str | int, object]] = []
    if isinstance(value, dict):
        inner = list(value.items())
    elif isinstance(value, list):
        inner = list(enumerate(value))
    return [path for name, one in inner for path in [(*above, name), *paths(one, (*above, name))]]


def test_lines_are_found_in_toml_as_people_write_it() -> None:
    text = """\
a.b = 1 # [no]
[x] # the = first
"y.z" = [1,
  2, { p = "]" }]
m = '''
[fake]
k = 1'''
n = \"\"\"
\\\"\"\" [fake2] \"\"\"\"\"
d = 1979-05-27 07:32:00
[[t]]
u = 1
[[t]]
  [t.v]
  w = 1.5
  [[t.s]]
  [[t.s]]
  r = 1
"""

    found = lines_of(text)

    assert found == {
        ("a",): 1, ("a", "b"): 1,
        ("x",): 2, ("x", "y.z"): 3, ("x", "y.z", 0): 3, ("x", "y.z", 1): 4, ("x", "y.z", 2): 4, ("x", "y.z", 2, "p"): 4,
        ("x", "m"): 5, ("x", "n"): 8, ("x", "d"): 10,
        ("t",): 11, ("t", 0): 11, ("t", 0, "u"): 12, ("t", 1): 13, ("t", 1, "v"): 14, ("t", 1, "v", "w"): 15,
        ("t", 1, "s"): 16, ("t", 1, "s", 0): 16, ("t", 1, "s", 1): 17, ("t", 1, "s", 1, "r"): 18,
    }  # fmt: skip
    assert set(found) == set(paths(tomllib.loads(text)))
