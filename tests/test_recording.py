"""Recording: what is said of a call, a cost or a revenue becomes a row, exactly, whatever is said."""

import asyncio
import inspect
import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from freezegun import freeze_time
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from samples import document

import orchestrator
from orchestrator.errors import ConfigError
from orchestrator.ledger import calls
from orchestrator.ledger.calls import Call
from orchestrator.pricing import PriceBook
from orchestrator.recording import NotRecorded, Recorded, drain, lost_marks, usage_of, void
from orchestrator.recording.call import NAMES
from orchestrator.recording.entry import COST_NAMES, REVENUE_NAMES
from orchestrator.recording.rules import configured
from orchestrator.store import meta
from orchestrator.store.database import Database

NOW = datetime(2026, 11, 18, 12, 0, tzinfo=UTC)
ROOT = Path(__file__).parents[1]
PLAIN: Mapping[str, Any] = {
    "service": "anthropic",
    "model": "claude-3-5-haiku",
    "input_tokens": 450,
    "output_tokens": 180,
}


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    """A file that is not there yet, where no configuration of the developer's can be found."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    database = Database(tmp_path / "orchestrator.db")
    yield database
    database.close()
    orchestrator.close()


def call_of(database: Database, recorded: Recorded) -> Call:
    with database.read() as connection:
        call = calls.by_id(connection, recorded.id)
    assert call is not None
    return call


def rows(database: Database, query: str) -> list[tuple[Any, ...]]:
    with database.read() as connection:
        return connection.execute(query).fetchall()


def test_a_call_is_stored_with_everything_that_was_said_of_it(database: Database) -> None:
    called_at = datetime(2026, 11, 17, 23, 30, 0, 123456, tzinfo=timezone(timedelta(hours=2)))

    recorded = orchestrator.record_call(
        service="anthropic", model="claude-3-5-haiku", input_tokens=450, cache_read_tokens=7, output_tokens=180,
        reasoning_tokens=20, call_id="call-1", called_at=called_at, operation="chat", tier="standard", tenant_id="acme",
        user_id="u1", organization_id="o1", session_id="s1", endpoint="/chat", resource_type="ticket", resource_id="17",
        succeeded=False, error=ValueError("overloaded\nnow"), duration_ms=1234.6, metadata={"k": ["v", Decimal("1.5")]},
        now=NOW, db=database,
    )  # fmt: skip

    assert (recorded.id, recorded.outcome, recorded.cost_source, recorded.problem) == (
        "call-1",
        "stored",
        "priced",
        None,
    )
    stored = call_of(database, recorded)
    assert stored.price_origin is not None
    assert stored.price_origin.startswith("genai-prices ")
    assert stored._replace(price_origin=None) == Call(
        "call-1", datetime(2026, 11, 17, 21, 30, 0, 123000, tzinfo=UTC), service="anthropic", model="claude-3-5-haiku",
        operation="chat", tier="standard", input_tokens=450, cache_read_tokens=7, output_tokens=180, reasoning_tokens=20,
        cost_nano=recorded.cost_usd and int(recorded.cost_usd * 10**9),  # type: ignore[arg-type]
        cost_source="priced", tenant_id="acme", user_id="u1",
        organization_id="o1", session_id="s1", endpoint="/chat", resource_type="ticket", resource_id="17", succeeded=False,
        error="ValueError: overloaded now", duration_ms=1235, metadata='{"k":["v","1.5"]}',
    )  # fmt: skip


def test_the_tokens_of_a_million_calls_cost_what_a_million_times_one_costs(database: Database) -> None:
    results = orchestrator.record_calls([PLAIN] * 5000, now=NOW, db=database)

    assert {result.cost_usd for result in results} == {Decimal("0.00108")}
    assert len({result.id for result in results}) == 5000
    assert rows(database, "SELECT calls, cost_nano FROM daily_totals") == [(5000, 5000 * 1_080_000)]


def test_an_embedding_of_a_thousand_tokens_costs_thirteen_hundred_thousandths(database: Database) -> None:
    usage = {"prompt_tokens": 1000, "total_tokens": 1000}

    recorded = orchestrator.record_call(
        service="openai", model="text-embedding-3-large", usage=usage, now=NOW, db=database
    )

    assert recorded.cost_usd == Decimal("0.00013")
    assert orchestrator.calculate_cost(usage, "text-embedding-3-large", "openai", now=NOW) == Decimal("0.00013")


def test_a_price_of_the_configuration_comes_before_the_tables(database: Database, tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(
        '[orchestrator]\n[prices."claude-3-5-haiku"]\ninput_per_million = 1.0\noutput_per_million = 5.0\n'
    )

    recorded = orchestrator.record_call(**PLAIN, now=NOW, db=database)

    assert (recorded.cost_usd, recorded.cost_source) == (Decimal("0.00135"), "override")
    assert call_of(database, recorded).price_origin == "config"


REPORTED = document("openrouter-chat-usage.json")


@pytest.mark.parametrize(
    ("said", "source", "usd"),
    [
        ({**PLAIN, "cost_usd": "0.5", "cache_hit": True, "usage": REPORTED}, "given", "0.5"),
        ({**PLAIN, "cost_usd": 0}, "given", "0"),
        ({**PLAIN, "cache_hit": True, "usage": REPORTED, "input_tokens": None}, "cached", "0"),
        ({**PLAIN, "usage": REPORTED, "succeeded": False}, "reported", str(REPORTED["usage"]["cost"])),
        ({"service": "anthropic", "model": "claude-3-5-haiku", "succeeded": False}, "failed", "0"),
        ({"service": "anthropic", "model": "claude-3-5-haiku", "succeeded": False, "usage": {}}, "failed", "0"),
        ({"service": "nobody", "model": "nothing", "succeeded": False, "input_tokens": 0}, "failed", "0"),
        ({"service": "openai", "model": "gpt-4o", "succeeded": False, "input_text": "never heard"}, "failed", "0"),
        ({**PLAIN, "succeeded": False}, "priced", "0.00108"),
        (PLAIN, "priced", "0.00108"),
        ({**PLAIN, "model": "no-such-model"}, "unknown", None),
        ({"service": "openai", "model": "gpt-4o"}, "unknown", None),
        ({"service": "openai", "model": "tts-1", "input_tokens": 1000}, "unknown", None),
        ({"service": "openai", "model": "tts-1", "quantity": 1000, "unit": "characters"}, "priced", "0.015"),
        ({"service": "elevenlabs", "model": "eleven_v3", "quantity": 3, "unit": "videos"}, "unknown", None),
        ({"service": "openai", "model": "tts-1", "quantity": 10**11, "unit": "characters"}, "priced", "1500000"),
    ],
)
def test_the_cost_is_given_cached_reported_failed_priced_or_unknown_in_this_order(
    database: Database, said: dict[str, Any], source: str, usd: str | None
) -> None:
    recorded = orchestrator.record_call(**said, now=NOW, db=database)

    assert (recorded.cost_source, recorded.cost_usd) == (source, None if usd is None else Decimal(usd))
    assert (recorded.problem is None) == (usd is not None)


@pytest.mark.parametrize(
    ("sample", "service", "model", "buckets"),
    [
        ("openai-chat-usage.json", "openai", "gpt-5.4", (86, 1920, 0, 300, 128)),
        ("openai-responses-usage.json", "openai", "gpt-5.4", (86, 1920, 0, 300, 128)),
        ("openai-embeddings-usage.json", "openai", "text-embedding-3-small", (8, None, None, None, None)),
        ("anthropic-usage.json", "anthropic", "claude-sonnet-4-5", (50, 100000, 1024, 503, 210)),
        ("openrouter-chat-usage.json", "openrouter", "anthropic/claude-sonnet-4.5", (94, 0, 100, 2, 0)),
    ],
)
def test_a_providers_usage_is_stored_in_five_buckets(
    database: Database, sample: str, service: str, model: str, buckets: tuple[int | None, ...]
) -> None:
    recorded = orchestrator.record_call(service=service, model=model, usage=document(sample), now=NOW, db=database)

    call = call_of(database, recorded)
    assert recorded.problem is None or "price" in recorded.problem
    assert (
        call.input_tokens, call.cache_read_tokens, call.cache_write_tokens, call.output_tokens, call.reasoning_tokens,
    ) == buckets  # fmt: skip


def test_a_number_that_the_caller_counted_comes_before_the_providers(database: Database) -> None:
    recorded = orchestrator.record_call(
        service="openai", model="gpt-4o", usage={"prompt_tokens": 5, "completion_tokens": 6}, output_tokens=60,
        now=NOW, db=database,
    )  # fmt: skip

    call = call_of(database, recorded)
    assert (call.input_tokens, call.output_tokens, call.tokens_estimated) == (5, 60, False)


def test_a_text_is_estimated_at_four_characters_a_token_and_flagged(database: Database) -> None:
    text = "a" * 4001

    recorded = orchestrator.record_call(
        service="anthropic", model="claude-3-5-haiku", input_text=text, output_tokens=0, now=NOW, db=database
    )

    call = call_of(database, recorded)
    assert (call.input_tokens, call.tokens_estimated, recorded.cost_usd) == (1001, True, Decimal("0.0008008"))


def test_what_was_counted_is_not_estimated(database: Database) -> None:
    recorded = orchestrator.record_call(**PLAIN, input_text="a" * 4000, now=NOW, db=database)

    call = call_of(database, recorded)
    assert (call.input_tokens, call.tokens_estimated) == (450, False)


NONSENSE = [
    ({"input_tokens": -1}, "input_tokens", True),
    ({"input_tokens": True}, "input_tokens", True),
    ({"input_tokens": float("nan")}, "input_tokens", True),
    ({"output_tokens": 10**13}, "output_tokens", True),
    ({"output_tokens": 10**400}, "output_tokens", True),
    ({"output_tokens": "many"}, "output_tokens", True),
    ({"output_tokens": 1.5}, "output_tokens", True),
    ({"reasoning_tokens": 181}, "reasoning_tokens", True),
    ({"usage": {"prompt_tokens": "x", "completion_tokens": 4}, "input_tokens": None}, "usage", True),
    ({"usage": object(), "input_tokens": None, "output_tokens": None}, "usage", True),
    ({"quantity": -1, "unit": "images"}, "quantity", True),
    ({"quantity": float("inf"), "unit": "images"}, "quantity", True),
    ({"quantity": Decimal("1e16"), "unit": "images"}, "quantity", True),
    ({"cost_usd": -1}, "cost_usd", True),
    ({"cost_usd": "$4"}, "cost_usd", True),
    ({"cost_usd": float("nan")}, "cost_usd", True),
    ({"cost_usd": 10**9}, "cost_usd", True),
    ({"cost_usd": [1]}, "cost_usd", True),
    ({"called_at": NOW.replace(tzinfo=None)}, "called_at", False),
    ({"called_at": "noon"}, "called_at", False),
    ({"called_at": 1795000000}, "called_at", False),
    ({"called_at": datetime.max.replace(tzinfo=UTC)}, "called_at", False),
    ({"called_at": datetime.min.replace(tzinfo=timezone(timedelta(hours=14)))}, "called_at", False),
    ({"call_id": ""}, "call_id", False),
    ({"call_id": 1.5}, "call_id", False),
    ({"tenant_id": {"a": 1}}, "tenant_id", False),
    ({"model": 4.5}, "model", True),
    ({"cache_hit": "yes"}, "cache_hit", False),
    ({"succeeded": 2}, "succeeded", False),
    ({"duration_ms": -5}, "duration_ms", False),
    ({"duration_ms": "soon"}, "duration_ms", False),
    ({"metadata": [1]}, "metadata", False),
    ({"metadata": {"a": "x" * 9000}}, "metadata", False),
    ({"metadata": {"a": float("nan")}}, "metadata", False),
    ({"metadata": {(1,): 2}}, "metadata", False),
    ({"input_text": b"bytes"}, "input_text", False),
]


@pytest.mark.parametrize(("said", "name", "is_about_money"), NONSENSE)
def test_nonsense_is_stored_as_unknown_with_the_reason(
    database: Database, said: dict[str, Any], name: str, is_about_money: bool
) -> None:
    recorded = orchestrator.record_call(**{**PLAIN, **said}, now=NOW, db=database)

    assert recorded.outcome == "stored"
    assert recorded.problem
    assert recorded.cost_usd == (None if is_about_money else Decimal("0.00108"))
    call = call_of(database, recorded)
    assert call.problem == recorded.problem
    assert getattr(call, name, None) in (None, NOW, "", recorded.id, False, True)
    # What is missing from the counts would be missing from a price that is looked up later, too.
    if is_about_money and name not in ("cost_usd", "model"):
        again = PriceBook().cost(
            service=call.service, model=call.model, usage=usage_of(call), quantity=call.quantity, unit=call.unit, at=NOW
        )
        assert again.cost_nano is None


@pytest.mark.parametrize(("said", "name", "is_about_money"), NONSENSE)
def test_with_strict_nonsense_raises_and_nothing_is_stored(
    database: Database, said: dict[str, Any], name: str, is_about_money: bool
) -> None:
    with pytest.raises(NotRecorded):
        orchestrator.record_call(**{**PLAIN, **said}, strict=True, now=NOW, db=database)

    assert not database.path.exists()


def test_with_strict_a_price_that_is_not_known_is_no_nonsense(database: Database) -> None:
    recorded = orchestrator.record_call(service="me", model="mine", input_tokens=1, strict=True, now=NOW, db=database)

    assert (recorded.outcome, recorded.cost_usd) == ("stored", None)


def test_a_name_that_there_is_not_is_a_type_error_as_anywhere(database: Database) -> None:
    with pytest.raises(TypeError):
        orchestrator.record_call(**{**PLAIN, "input_token": 4}, db=database)
    with pytest.raises(TypeError):
        orchestrator.record_call(service="openai", db=database)  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        orchestrator.tags(tenant="acme")  # type: ignore[call-arg]


JUNK: st.SearchStrategy[Any] = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.decimals(allow_nan=True), st.text(), st.binary(),
    st.datetimes(timezones=st.one_of(st.none(), st.timezones())), st.dates(), st.uuids(),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(
        st.sampled_from(["prompt_tokens", "completion_tokens", "input_tokens", "cost", "usage", "a"]),
        st.one_of(st.integers(), st.floats(), st.text()), max_size=4,
    ),
)  # fmt: skip


@pytest.fixture(scope="module")
def junkyard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    database = Database(tmp_path_factory.mktemp("junk") / "orchestrator.db")
    yield database
    database.close()


@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])
@given(said=st.dictionaries(st.sampled_from(sorted(NAMES - {"call_id"})), JUNK, max_size=8), call_id=st.none() | JUNK)
def test_whatever_is_said_becomes_a_row(junkyard: Database, said: dict[str, Any], call_id: object) -> None:
    arguments: dict[str, Any] = {"service": "openai", "model": "gpt-4o", **said, "call_id": call_id}

    first = orchestrator.record_call(**arguments, now=NOW, db=junkyard)
    again = orchestrator.record_call(**{**arguments, "call_id": first.id}, now=NOW, db=junkyard)

    assert first.outcome in ("stored", "duplicate")
    assert again.outcome == "duplicate"
    assert first.cost_usd is None or first.cost_usd >= 0


@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow])
@given(
    cost=st.dictionaries(st.sampled_from(sorted(COST_NAMES)), JUNK, max_size=8),
    revenue=st.dictionaries(st.sampled_from(sorted(REVENUE_NAMES)), JUNK, max_size=8),
)
def test_whatever_is_said_of_an_entry_becomes_a_row(
    junkyard: Database, cost: dict[str, Any], revenue: dict[str, Any]
) -> None:
    spent = orchestrator.record_cost(**{"category": "hosting", "amount_usd": 1, **cost}, now=NOW, db=junkyard)
    earned = orchestrator.record_revenue(**{"source": "bounty", **revenue}, now=NOW, db=junkyard)

    assert {spent.outcome, earned.outcome} <= {"stored", "duplicate"}


def test_an_id_makes_recording_twice_recording_once(database: Database) -> None:
    first = orchestrator.record_call(**PLAIN, call_id="a", now=NOW, db=database)

    again = orchestrator.record_call(**{**PLAIN, "input_tokens": 9}, call_id="a", now=NOW, db=str(database.path))

    assert (first.outcome, again.outcome) == ("stored", "duplicate")
    assert again.cost_usd == first.cost_usd
    assert rows(database, "SELECT calls, input_tokens FROM daily_totals") == [(1, 450)]


def test_a_voided_call_that_is_recorded_again_stays_voided_and_says_so(database: Database) -> None:
    orchestrator.record_call(**PLAIN, call_id="a", now=NOW, db=database)
    void(database, configured(database.path), "a", now=NOW)

    again = orchestrator.record_call(**PLAIN, call_id="a", now=NOW, db=database)

    assert (again.outcome, again.problem) == ("duplicate", "voided")
    assert rows(database, "SELECT sum(calls) FROM daily_totals") == [(None,)]


@pytest.mark.parametrize("odd", ["a\nb", "x" * 201, "x" * 10_000, "tab\there", "  a", "\ud800", "naïve\u202e"])
def test_an_id_that_cannot_be_stored_stays_itself_by_its_digest(database: Database, odd: str) -> None:
    first = orchestrator.record_call(**PLAIN, call_id=odd, now=NOW, db=database)
    again = orchestrator.record_call(**PLAIN, call_id=odd, now=NOW, db=database)
    other = orchestrator.record_call(**PLAIN, call_id=odd + "!", now=NOW, db=database)

    assert (first.outcome, again.outcome, other.outcome) == ("stored", "duplicate", "stored")
    assert first.id == again.id != other.id
    assert len(first.id) == len("sha256:") + 64


def test_ids_that_nobody_gave_are_new_and_in_the_order_of_time(database: Database) -> None:
    results = [
        orchestrator.record_call(**PLAIN, now=NOW + timedelta(seconds=n), db=database) for n in range(20)
    ]  # fmt: skip

    ids = [result.id for result in results]
    assert ids == sorted(set(ids))
    assert {UUID(one).version for one in ids} == {7}
    assert {UUID(one).variant for one in ids} == {"specified in RFC 4122"}


def test_numbers_and_uuids_are_names_too(database: Database) -> None:
    user = uuid4()

    recorded = orchestrator.record_call(**PLAIN, tenant_id=7, user_id=user, now=NOW, db=database)  # type: ignore[arg-type]

    assert (call_of(database, recorded).tenant_id, call_of(database, recorded).user_id) == ("7", str(user))


def test_text_cannot_leave_its_line(database: Database) -> None:
    recorded = orchestrator.record_call(
        service="openai", model="gpt-4o\u202e\n", input_tokens=1, tenant_id="a\x00b\u2028c", error="e" * 2000, now=NOW,
        db=database,
    )  # fmt: skip

    call = call_of(database, recorded)
    assert (call.model, call.tenant_id) == ("gpt-4o", "a b c")
    assert call.error is not None
    assert len(call.error) == 500


def test_secrets_in_what_a_call_failed_with_never_reach_a_row_or_the_spool(database: Database) -> None:
    key = "sk-or-v1-0123456789abcdef0123456789abcdef"
    webhook = "https://discord.com/api/webhooks/123/a-b_c"
    facts: dict[str, Any] = {
        "error": ValueError(f"401 for Bearer {key}\n{key}"),
        "metadata": {"headers": {"x-api-key": "0a1b2c"}, "log": f"at once:\n{key}", "hook": webhook, "n": 1.5},
    }

    stored = orchestrator.record_call(**PLAIN, **facts, now=NOW, db=database)
    with database.write():
        spooled = orchestrator.record_call(**PLAIN, **facts, now=NOW, db=database)

    kept = call_of(database, stored)
    assert kept.error == "ValueError: 401 for Bearer [redacted] [redacted]"
    assert kept.metadata is not None
    assert json.loads(kept.metadata) == {
        "headers": {"x-api-key": "[redacted]"}, "log": "at once:\n[redacted]",
        "hook": "https://discord.com/api/webhooks/[redacted]", "n": 1.5,
    }  # fmt: skip
    assert spooled.outcome == "spooled"
    for path in database.path.parent.iterdir():
        assert not any(secret in path.read_bytes() for secret in (b"0123456789abcdef", b"0a1b2c", b"a-b_c")), path


@pytest.mark.parametrize("depth", [100, 900, 3000])
def test_metadata_that_is_deeper_than_can_be_searched_costs_no_record(database: Database, depth: int) -> None:
    deep: object = "a\n"
    for _ in range(depth):
        deep = [deep]

    recorded = orchestrator.record_call(**PLAIN, metadata={"k": deep}, now=NOW, db=database)

    kept = call_of(database, recorded)
    assert recorded.outcome == "stored"
    assert (kept.metadata is None) == (recorded.problem == "metadata cannot be written as JSON")


def test_the_day_is_that_of_the_files_zone_whatever_is_configured_now(database: Database, tmp_path: Path) -> None:
    with database.write() as connection:
        meta.put(connection, "timezone", "Pacific/Kiritimati")
    (tmp_path / "config.toml").write_text('[orchestrator]\ntimezone = "America/New_York"\n')

    orchestrator.record_call(**PLAIN, now=NOW, db=database)

    assert rows(database, "SELECT day FROM ai_calls") == [("2026-11-19",)]
    assert rows(database, "SELECT value FROM meta WHERE key = 'timezone'") == [("Pacific/Kiritimati",)]


def test_a_new_file_gets_the_configured_zone(database: Database, tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('[orchestrator]\ntimezone = "Pacific/Kiritimati"\n')

    orchestrator.record_call(**PLAIN, now=NOW, db=database)

    assert rows(database, "SELECT day FROM ai_calls") == [("2026-11-19",)]
    assert rows(database, "SELECT value FROM meta WHERE key = 'timezone'") == [("Pacific/Kiritimati",)]
    assert rows(database, "SELECT count(*) FROM zone_offsets WHERE zone = 'Pacific/Kiritimati'") != [(0,)]


def test_a_configuration_with_problems_costs_no_record(
    database: Database, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "config.toml").write_text("[orchestrator]\ntimezone = 'Nowhere/Land'\n")

    first = orchestrator.record_call(**PLAIN, now=NOW, db=database)
    second = orchestrator.record_call(**PLAIN, now=NOW, db=database)

    assert (first.outcome, second.outcome, second.cost_usd) == ("stored", "stored", Decimal("0.00108"))
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "timezone" in caplog.text


def test_a_configuration_that_cannot_tell_the_file_makes_a_record_lost_but_noted(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "config.toml").write_text("[orchestrator]\ndatabase = \n")

    recorded = orchestrator.record_call(**PLAIN, now=NOW)
    several = orchestrator.record_calls([PLAIN, {"service": "a"}], now=NOW)

    assert recorded.outcome == "lost"
    assert [one.outcome for one in several] == ["lost", "refused"]
    assert "config.toml:2" in str(recorded.problem)
    assert "records lost" in caplog.text
    assert [(mark.records, mark.last_at) for mark in lost_marks(database)] == [(2, NOW)]
    assert orchestrator.calculate_cost({"prompt_tokens": 1000}, "gpt-4o", "openai", now=NOW) == Decimal("0.0025")
    with pytest.raises(ConfigError):
        orchestrator.record_call(**PLAIN, strict=True, now=NOW)


def test_the_first_record_makes_the_users_own_folder(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))

    recorded = orchestrator.record_call(**PLAIN, now=NOW)

    assert recorded.outcome == "stored"
    assert (tmp_path / "state" / "orchestrator" / "orchestrator.db").exists()


def test_the_clock_is_the_default_for_now(database: Database) -> None:
    with freeze_time(NOW):
        recorded = orchestrator.record_call(**PLAIN, db=database)

    assert call_of(database, recorded).called_at == NOW


def test_a_date_is_its_local_midnight(database: Database, tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('[orchestrator]\ntimezone = "Europe/Berlin"\n')

    recorded = orchestrator.record_call(**PLAIN, called_at=date(2026, 7, 1), now=NOW, db=database)  # type: ignore[arg-type]

    assert call_of(database, recorded).called_at == datetime(2026, 6, 30, 22, tzinfo=UTC)


# Tags


def test_tags_attribute_what_is_recorded_inside_them_and_the_call_itself_comes_first(database: Database) -> None:
    with orchestrator.tags(tenant_id="acme", user_id="u1", metadata={"a": 1, "b": 1}):
        with orchestrator.tags(user_id="u2", tier=None, metadata={"b": 2}):
            inner = orchestrator.record_call(**PLAIN, operation="chat", metadata={"c": 3}, now=NOW, db=database)
            own = orchestrator.record_call(**PLAIN, tenant_id="self", now=NOW, db=database)
        outer = orchestrator.record_calls([PLAIN], now=NOW, db=database)[0]
        cost = orchestrator.record_cost(category="hosting", amount_usd=1, now=NOW, db=database)
    without = orchestrator.record_call(**PLAIN, now=NOW, db=database)

    found = [call_of(database, one) for one in (inner, own, outer, without)]
    assert [(call.tenant_id, call.user_id) for call in found] == [
        ("acme", "u2"), ("self", "u2"), ("acme", "u1"), (None, None),
    ]  # fmt: skip
    assert found[0].metadata == '{"a":1,"b":2,"c":3}'
    assert cost.outcome == "stored"
    assert rows(database, "SELECT tenant_id FROM operating_costs") == [("acme",)]


def test_tasks_that_run_at_once_have_their_own_tags(database: Database) -> None:
    async def work(tenant: str) -> set[str | None]:
        found = set()
        with orchestrator.tags(tenant_id=tenant):
            for _ in range(5):
                await asyncio.sleep(0)
                recorded = orchestrator.record_call(**PLAIN, now=NOW, db=database)
                found.add(call_of(database, recorded).tenant_id)
        return found

    async def main() -> list[set[str | None]]:
        return await asyncio.gather(*(work(f"t{n}") for n in range(8)))

    assert asyncio.run(main()) == [{f"t{n}"} for n in range(8)]


def test_threads_have_their_own_tags_and_lose_nothing(database: Database) -> None:
    def work(n: int) -> None:
        with orchestrator.tags(tenant_id=f"t{n}"):
            for _ in range(25):
                assert orchestrator.record_call(**PLAIN, now=NOW, db=database.path).outcome in ("stored", "spooled")

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(work, range(8)))
    orchestrator.record_calls([], now=NOW, db=database)
    while orchestrator.record_call(**PLAIN, call_id="last", now=NOW, db=database).outcome == "spooled":
        pass

    counted = rows(database, "SELECT tenant_id, calls FROM daily_totals WHERE tenant_id <> '' ORDER BY tenant_id")
    assert counted == [(f"t{n}", 25) for n in range(8)]


def test_a_fork_in_the_middle_leaves_parent_and_child_recording(database: Database) -> None:
    stop = threading.Event()

    def others() -> None:
        while not stop.is_set():
            orchestrator.record_call(**PLAIN, tenant_id="others", now=NOW, db=database.path)

    thread = threading.Thread(target=others)
    thread.start()
    outcomes = []
    try:
        for n in range(10):
            with orchestrator.tags(tenant_id="child"):
                child = os.fork()
                if child == 0:
                    recorded = orchestrator.record_call(**PLAIN, call_id=f"c{n}", now=NOW, db=database.path)
                    os._exit({"stored": 0, "spooled": 1}.get(recorded.outcome, 2))
            outcomes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
            orchestrator.record_call(**PLAIN, tenant_id="parent", now=NOW, db=database.path)
    finally:
        stop.set()
        thread.join()
    drain(database)

    assert set(outcomes) <= {0, 1}
    assert rows(database, "SELECT calls FROM daily_totals WHERE tenant_id = 'child'") == [(10,)]
    assert rows(database, "SELECT calls FROM daily_totals WHERE tenant_id = 'parent'") == [(10,)]


# Many at once


def test_many_calls_come_back_in_order_with_what_is_refused_among_them(database: Database) -> None:
    said: list[Any] = [{**PLAIN, "call_id": f"c{n}"} for n in range(4500)]
    said[10] = {"service": "openai"}
    said[2100] = {**PLAIN, "input_token": 4}
    said[4499] = {**PLAIN, "call_id": "c0"}
    said[7] = "nothing"

    results = orchestrator.record_calls(iter(said), now=NOW, db=database)

    kept = [n for n in range(4499) if n not in (7, 10, 2100)]
    assert [results[n].id for n in kept] == [f"c{n}" for n in kept]
    assert {results[n].outcome for n in kept} == {"stored"}
    assert results[4499].outcome == "duplicate"
    assert [results[n].problem for n in (7, 10, 2100)] == [
        "is no mapping of arguments but str", "there is no model",
        "there is no argument 'input_token'; did you mean 'input_tokens'?",
    ]  # fmt: skip
    assert rows(database, "SELECT sum(calls) FROM daily_costs") == [(4496,)]


def test_what_an_iterable_gave_before_it_failed_is_recorded(database: Database) -> None:
    def failing() -> Iterator[Mapping[str, Any]]:
        yield from [PLAIN] * 3
        raise OSError("the source broke")

    with pytest.raises(OSError, match="the source broke"):
        orchestrator.record_calls(failing(), now=NOW, db=database)

    assert rows(database, "SELECT count(*) FROM ai_calls") == [(3,)]


# What it costs the caller


def test_within_a_transaction_of_the_caller_a_record_waits_in_the_spool(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    with database.write():
        recorded = orchestrator.record_call(**PLAIN, now=NOW, db=database)

    drain(database)
    assert recorded.outcome == "spooled"
    assert rows(database, "SELECT count(*) FROM ai_calls") == [(1,)]


def test_recording_and_pricing_never_use_the_network(tmp_path: Path) -> None:
    script = (
        "import sys\n"
        "def refuse(event, arguments):\n"
        "    if event.startswith('socket.'): raise SystemExit(event)\n"
        "sys.addaudithook(refuse)\n"
        "import orchestrator\n"
        "r = orchestrator.record_call(service='openai', model='gpt-4o', input_tokens=1, db='x.db')\n"
        "assert r.outcome == 'stored' and r.cost_source == 'priced', r\n"
    )

    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True, timeout=60, env=bare(tmp_path))


def test_who_only_asks_for_the_context_does_not_load_the_recording(tmp_path: Path) -> None:
    script = (
        "import orchestrator, sys\n"
        "orchestrator.format_for_context()\n"
        "print([name for name in sys.modules if name.startswith(('orchestrator.recording', 'orchestrator.pricing'))])\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, check=True, timeout=60, env=bare(tmp_path), capture_output=True
    )

    assert done.stdout == b"[]\n"


def bare(home: Path) -> dict[str, str]:
    return {"HOME": str(home), "PYTHONPATH": str(ROOT)}


def test_the_names_of_a_mapping_are_those_of_the_function() -> None:
    shell = {"strict", "now", "db"}

    for function, names in (
        (orchestrator.record_call, NAMES),
        (orchestrator.record_cost, COST_NAMES),
        (orchestrator.record_revenue, REVENUE_NAMES),
    ):
        assert set(inspect.signature(function).parameters) - shell == names


@pytest.mark.parametrize(
    ("usage", "model", "service", "usd"),
    [
        ({"prompt_tokens": 450, "completion_tokens": 180}, "claude-3-5-haiku", "anthropic", "0.00108"),
        (REPORTED, "anthropic/claude-sonnet-4.5", "openrouter", str(REPORTED["usage"]["cost"])),
        ({"quantity": 1000, "unit": "characters"}, "tts-1", "openai", "0.015"),
        ({"prompt_tokens": 1}, "no-such-model", None, None),
        (None, "gpt-4o", "openai", None),
        ("nonsense", "gpt-4o", "openai", None),
    ],
)
def test_a_cost_can_be_calculated_without_recording(
    database: Database, usage: object, model: str, service: str | None, usd: str | None
) -> None:
    cost = orchestrator.calculate_cost(usage, model, service, now=NOW, db=database)

    assert cost == (None if usd is None else Decimal(usd))
    assert not database.path.exists()
