"""What is changed in overrides.toml: checked before it is written, written in one step, by several at once."""

import os
import stat
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from config_world import World

from orchestrator.config import write_override
from orchestrator.config.overrides import change, raw_from_text
from orchestrator.errors import ConfigError, FileUnreachable

ROOT = Path(__file__).parent.parent


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_what_is_written_is_in_force_and_the_rest_stays(world: World) -> None:
    write_override(world.load(), "retention.calls_days", 7)
    write_override(world.load(), "budget.daily_limit_usd", "none")
    write_override(world.load(), 'prices."gpt-4.1".input_per_million', 0.1)
    write_override(world.load(), "alerts.email.recipients", ["ops@example.org"])

    config = world.load()

    assert config.retention.calls_days == 7
    assert config.budget.daily_limit_usd is None
    assert str(config.prices["gpt-4.1"].input_per_million) == "0.1"
    assert config.alerts.email.recipients == ("ops@example.org",)
    assert config.origin("retention.calls_days").startswith(f"{world.overrides}:")


def test_records_are_written_as_they_were_read(world: World) -> None:
    config = world.load()

    write_override(config, "budget.thresholds", config.budget.thresholds[:2])

    assert world.load().budget.thresholds == config.budget.thresholds[:2]


def test_what_is_taken_out_falls_back(world: World) -> None:
    write_override(world.load(), "retention.calls_days", 7)
    write_override(world.load(), "retention.alerts_days", 8)

    write_override(world.load(), "retention.calls_days", None)

    assert world.load().retention.calls_days == 90
    assert tomllib.loads(world.overrides.read_text()) == {"retention": {"alerts_days": 8}}
    assert change(world.overrides, "retention.alerts_days", None)
    assert tomllib.loads(world.overrides.read_text()) == {}
    assert not change(world.overrides, "retention.alerts_days", None)
    assert not change(world.overrides, "no.such.key", None)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("retention.calls_days", -1),
        ("retention.calls_days", "7"),
        ("retention.calls_day", 7),
        ("retention.calls_days.x", 7),
        ("calls_days", 7),
        ("retention", 7),
        ("", 7),
        ("retention.", 7),
        ("retention.calls_days = 1\nx", 7),
        ("retention = { calls_days = 1 } #", 7),
        ("credits.low_threshold_usd", float("nan")),
        ("budget.scopes", [None]),
        ("actions.scale_down", ["rm"]),
        ("web.enabled", True),
        ("orchestrator.database", "other.db"),
        ("revenue.pool_url", "https://evil.example"),
        ("alerts.discord.api_url", "https://evil.example"),
        ("alerts.discord.webhook_url", "https://hunter2.example"),
        ("openrouter_api_key", "hunter2"),
        ("prices.m.unit", "images"),
    ],
)
def test_what_cannot_be_right_is_refused_and_nothing_is_written(world: World, key: str, value: object) -> None:
    write_override(world.load(), "retention.alerts_days", 8)
    before = world.overrides.read_bytes()

    with pytest.raises(ConfigError) as caught:
        write_override(world.load(), key, value)

    assert "hunter2" not in str(caught.value)
    assert world.overrides.read_bytes() == before
    assert sorted(path.name for path in world.root.iterdir()) == ["credentials", "etc", "overrides.toml", "work"]


def test_a_wrong_value_can_be_taken_out_but_not_built_upon(world: World) -> None:
    world.overrides.write_text("[retention]\ncalls_days = -1\n[revenue]\npool_url = 'x'\n")

    with pytest.raises(ConfigError):
        change(world.overrides, "retention.alerts_days", 8)
    assert change(world.overrides, "retention.calls_days", None)
    assert change(world.overrides, "revenue.pool_url", None)

    assert world.load().origin("retention.calls_days") == "default"


def test_a_file_that_is_not_toml_is_left_as_it_is(world: World) -> None:
    world.overrides.write_text("[")

    with pytest.raises(ConfigError, match=r"overrides\.toml:1"):
        change(world.overrides, "retention.alerts_days", 8)

    assert world.overrides.read_text() == "["


@pytest.mark.parametrize(
    ("folder_mode", "expected"), [(0o755, 0o600), (0o2770, 0o660), (0o2750, 0o600), (0o770, 0o600)]
)
@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_the_file_may_be_used_by_who_may_use_the_database(
    world: World, folder_mode: int, expected: int, umask: int
) -> None:
    world.root.chmod(folder_mode)
    before = os.umask(umask)
    try:
        write_override(world.load(), "retention.calls_days", 7)
    finally:
        os.umask(before)

    assert stat.S_IMODE(world.overrides.stat().st_mode) == expected


def test_a_link_is_replaced_and_what_it_points_at_stays(world: World) -> None:
    target = world.root / "etc" / "other.toml"
    target.write_text("[retention]\ncalls_days = 3\n")
    world.overrides.symlink_to(target)

    write_override(world.load(), "retention.calls_days", 7)

    assert target.read_text() == "[retention]\ncalls_days = 3\n"
    assert not world.overrides.is_symlink()


def test_a_folder_that_is_not_there_is_named(world: World) -> None:
    with pytest.raises(FileUnreachable, match="No such file or directory"):
        change(world.root / "nowhere" / "overrides.toml", "retention.calls_days", 7)


def test_writers_at_the_same_time_lose_nothing_of_each_other(world: World) -> None:
    code = """
import sys
from pathlib import Path
from orchestrator.config.overrides import change
for n in range(20):
    change(Path(sys.argv[1]), f"prices.{sys.argv[2]}-{n}.input_per_million", n)
"""
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    arguments = [sys.executable, "-c", code, str(world.overrides)]
    writers = [subprocess.Popen([*arguments, str(n)], env=environ) for n in range(4)]

    assert [writer.wait(60) for writer in writers] == [0, 0, 0, 0]

    assert len(world.load().prices) == 80


@pytest.mark.parametrize(
    ("key", "text", "expected"),
    [
        ("retention.calls_days", "7", 7),
        ("revenue.enabled", "off", False),
        ("orchestrator.timezone", "UTC", "UTC"),
        ("budget.daily_limit_usd", "none", "none"),
        ("prices.m.unit", "images", "images"),
        ("alerts.email.recipients", '["a@b.org"]', ["a@b.org"]),
        ("no.such.key", "7", "7"),
    ],
)
def test_a_command_line_spells_values_as_the_environment_does(key: str, text: str, expected: object) -> None:
    assert raw_from_text(key, text) == expected


@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
def test_a_folder_that_takes_no_file_is_named() -> None:
    with pytest.raises(FileUnreachable, match=r"^/proc/overrides\.toml: cannot be opened"):
        change(Path("/proc/overrides.toml"), "retention.calls_days", 7)
