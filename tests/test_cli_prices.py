"""`prices list` and `prices show`: what is charged, in the words of the tables that say so."""

from pathlib import Path

import pytest
from test_cli import data, orchestrator

MINE = """
[orchestrator]
[prices."claude-3-5-haiku"]
input_per_million = 1.0
output_per_million = 5.0
[prices."my-voice"]
unit = "characters"
usd_per_unit = 0.00003
"""


def rows(text: str) -> list[list[str]]:
    """Return the cells of the lines under title and heads."""
    return [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in text.splitlines()[2:]]


def test_a_model_is_shown_with_every_price_that_a_call_of_it_may_be_charged(tmp_path: Path) -> None:
    done = orchestrator(tmp_path, "prices", "show", "claude-3-5-haiku", "--service", "anthropic")

    assert done.returncode == 0
    found = {measure: (service, usd) for service, _, usd, measure, *_ in rows(done.stdout)}
    assert found["1M input tokens"] == ("anthropic", "0.8")
    assert found["1M output tokens"] == ("anthropic", "4")
    assert "genai-prices" in done.stdout


def test_the_readers_own_price_comes_first(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(MINE)

    shown = data(orchestrator(tmp_path, "prices", "show", "claude-3-5-haiku", "--json"))

    assert {(one["table"], one["unit"], one["usd"], one["per"]) for one in shown} == {
        ("override", "input tokens", 1, 1_000_000),
        ("override", "output tokens", 5, 1_000_000),
    }


def test_a_price_that_changed_is_listed_with_its_days(tmp_path: Path) -> None:
    listed = data(orchestrator(tmp_path, "prices", "list", "eleven_v3", "--json"))
    shown = orchestrator(tmp_path, "prices", "show", "eleven_v3")

    assert [(one["usd"], one["per"], one["unit"], one["valid_from"]) for one in listed] == [
        (0.0001, 1, "characters", "2026-06-09"),
        (0.00008, 1, "characters", "2026-10-03"),
    ]
    assert all(one["source"].startswith("ElevenLabs API pricing page") for one in listed)
    assert rows(shown.stdout) == [["eleven_v3", "0.00008", "1 character", "prices.toml"]]


def test_a_price_that_depends_on_the_length_of_the_prompt_says_so(tmp_path: Path) -> None:
    done = orchestrator(tmp_path, "prices", "show", "gemini-1.5-pro")

    assert {"1M input tokens", "1M input tokens, prompt beyond 128000"} <= {row[2] for row in rows(done.stdout)}


def test_everything_is_listed_and_a_search_narrows_it(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(MINE)

    everything = data(orchestrator(tmp_path, "prices", "list", "--json"))
    some = orchestrator(tmp_path, "prices", "list", "VOICE")

    assert len(everything) > 1000
    assert {one["table"] for one in everything} == {"override", "prices.toml", "genai-prices"}
    assert ["my-voice", "0.00003", "1 character", "override"] in rows(some.stdout)
    assert all("voice" in " ".join(row).lower() for row in rows(some.stdout))


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("nobodys-model",), "nobodys-model: no price: name the service that sold it"),
        (("claude-3-5-haiku", "--service", "my-proxy"), "no price: the service is not one whose prices are known"),
        (("dall-e-3",), "no price"),
        (("x\n\x1b[31my",), "x [31my: no price"),
    ],
)
def test_a_model_without_a_price_fails_with_the_reason(tmp_path: Path, arguments: tuple[str, ...], reason: str) -> None:
    done = orchestrator(tmp_path, "prices", "show", *arguments)

    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert reason in done.stderr


def test_a_search_that_finds_nothing_says_so_and_is_an_empty_list_in_json(tmp_path: Path) -> None:
    done = orchestrator(tmp_path, "prices", "list", "qqq")

    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "No price has 'qqq' in its service or model.\n"
    assert data(orchestrator(tmp_path, "prices", "list", "qqq", "--json")) == []


def test_a_price_that_cannot_be_is_a_configuration_problem(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('[orchestrator]\n[prices."m"]\ninput_per_million = -1.0\n')

    done = orchestrator(tmp_path, "prices", "show", "m")

    assert done.returncode == 78
    assert "config.toml:3: prices.m.input_per_million" in done.stderr


def test_prices_are_shown_without_a_database_and_make_none(tmp_path: Path) -> None:
    assert orchestrator(tmp_path, "prices", "show", "gpt-4o").returncode == 0

    assert list(tmp_path.rglob("*.db")) == []
