"""Repricing: what was computed or unknown is computed anew at the prices of its time; what was said stays."""

import tempfile
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_cli import data, orchestrator

from orchestrator import recording
from orchestrator.config import Config
from orchestrator.config.sections import PriceOverride as Price
from orchestrator.ledger import calls, rollups
from orchestrator.ledger.calls import Call
from orchestrator.periods import zone
from orchestrator.pricing import PriceBook, configured_rates
from orchestrator.recording import Rules
from orchestrator.recording.repricing import AT_ONCE, Repriced, reprice
from orchestrator.store.database import Database

NOW = datetime(2026, 11, 18, 12, 0, tzinfo=UTC)
HAIKU: Mapping[str, Any] = {
    "service": "anthropic",
    "model": "claude-3-5-haiku",
    "input_tokens": 450,
    "output_tokens": 180,
}
MINE: Mapping[str, Any] = {"service": "me", "model": "my-model", "input_tokens": 1000, "output_tokens": 10}


def rules(**prices: Price) -> Rules:
    """Return the rules of a configuration with these prices, `_` for `-` in the models' names."""
    named = {name.replace("_", "-"): price for name, price in prices.items()}
    return Rules(lambda: Config(Path("orchestrator.db"), prices=named))


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "orchestrator.db")
    yield database
    database.close()


def record(database: Database, under: Rules, *given: Mapping[str, object]) -> None:
    assert all(one.is_kept for one in recording.record_all(database, under, "call", given, now=NOW))


def run(database: Database, under: Rules, **choice: Any) -> Repriced:
    *_, done = reprice(database, under.prices(), **choice)
    return done


def call(database: Database, call_id: str) -> Call:
    with database.read() as connection:
        found = calls.by_id(connection, call_id)
    assert found is not None
    return found


def cost(database: Database, call_id: str) -> tuple[int | None, str]:
    found = call(database, call_id)
    return found.cost_nano, found.cost_source


def differences(database: Database) -> list[rollups.Difference]:
    with database.read() as connection:
        return rollups.verify(connection, zone("UTC"))


def kept_total(database: Database) -> tuple[int, int]:
    with database.read() as connection:
        nano, unpriced = connection.execute("SELECT sum(cost_nano), sum(unpriced_calls) FROM daily_totals").get
    return nano, unpriced


def test_a_call_without_a_price_is_priced_when_there_is_one(database: Database) -> None:
    record(database, rules(), {**MINE, "call_id": "one"})
    assert cost(database, "one") == (None, "unknown")
    assert call(database, "one").problem is not None

    done = run(database, rules(my_model=Price(input_per_million=Decimal(2), output_per_million=Decimal(8))))

    assert cost(database, "one") == (2_080_000, "override")
    assert call(database, "one").problem is None
    assert (done.changed, done.found, done.unknown) == (1, 1, 0)
    assert (done.before_nano, done.after_nano) == (0, 2_080_000)
    assert kept_total(database) == (2_080_000, 0)


def test_a_thousand_calls_follow_a_price_of_the_readers_own_exactly_and_back(database: Database) -> None:
    record(database, rules(), *({**HAIKU, "call_id": f"call-{n}"} for n in range(1000)))
    assert kept_total(database) == (1_080_000_000, 0)

    there = run(database, rules(claude_3_5_haiku=Price(input_per_million=Decimal(1), output_per_million=Decimal(5))))

    assert kept_total(database) == (1_350_000_000, 0)
    assert (there.changed, there.before_nano, there.after_nano) == (1000, 1_080_000_000, 1_350_000_000)
    assert differences(database) == []
    back = run(database, rules())
    assert (back.before_nano, back.after_nano) == (1_350_000_000, 1_080_000_000)
    assert kept_total(database) == (1_080_000_000, 0)


def test_the_price_is_that_of_the_day_on_which_the_call_was_made(database: Database) -> None:
    days = {"before any": "2026-01-05", "summer": "2026-07-01", "autumn": "2026-10-10"}
    with database.write() as connection:
        for name, day in days.items():
            at = datetime.fromisoformat(f"{day}T12:00:00+00:00")
            unpriced = Call(name, at, "elevenlabs", "eleven_v3", quantity=Decimal(1000), unit="characters")
            calls.insert(connection, unpriced, zone("UTC"))

    run(database, rules())

    assert cost(database, "before any") == (None, "unknown")
    assert cost(database, "summer") == (100_000_000, "priced")
    assert cost(database, "autumn") == (80_000_000, "priced")


@pytest.mark.parametrize(
    ("said", "source"),
    [
        ({"cost_usd": "0.5"}, "given"),
        ({"usage": {"prompt_tokens": 450, "completion_tokens": 180, "cost": 0.25}}, "reported"),
        ({"cache_hit": True}, "cached"),
        ({"succeeded": False, "input_tokens": None, "output_tokens": None}, "failed"),
    ],
)
def test_what_was_said_of_the_cost_stays(database: Database, said: Mapping[str, object], source: str) -> None:
    record(database, rules(), {**HAIKU, **said, "call_id": "one"})
    before = call(database, "one")
    assert before.cost_source == source

    done = run(database, rules(claude_3_5_haiku=Price(input_per_million=Decimal(9), output_per_million=Decimal(9))))

    assert (done.looked_at, done.changed) == (0, 0)
    assert call(database, "one") == before


def test_a_known_cost_is_never_replaced_by_an_unknown_one(database: Database) -> None:
    mine = rules(my_model=Price(input_per_million=Decimal(2), output_per_million=Decimal(8)))
    record(database, mine, {**MINE, "call_id": "one"})
    before = call(database, "one")

    done = run(database, rules())

    assert (done.looked_at, done.changed, done.unknown) == (1, 0, 0)
    assert call(database, "one") == before


def test_what_cannot_be_believed_stays_unknown_whatever_the_prices_are(database: Database) -> None:
    everything = rules(claude_3_5_haiku=Price(input_per_million=Decimal(1), output_per_million=Decimal(5)))
    record(
        database, rules(),
        {**HAIKU, "call_id": "minus", "input_tokens": -1},
        {"service": "openrouter", "model": "claude-3-5-haiku", "call_id": "own key",
         "usage": {"prompt_tokens": 1, "completion_tokens": 1, "cost": 0.1, "is_byok": True}},
        {"service": "anthropic", "model": "claude-3-5-haiku", "call_id": "end of a stream", "usage": {"output_tokens": 9}},
        {**HAIKU, "call_id": "how many?", "quantity": "many", "unit": "images"},
    )  # fmt: skip

    done = run(database, everything)

    assert (done.looked_at, done.changed, done.unknown) == (4, 0, 4)
    assert kept_total(database) == (0, 4)


def test_what_a_price_tells_apart_inside_the_tokens_still_counts(database: Database) -> None:
    an_hour = {
        "input_tokens": 10, "output_tokens": 5, "cache_creation_input_tokens": 1000,
        "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 1000},
    }  # fmt: skip
    batch = {"input_tokens": 10, "output_tokens": 5, "service_tier": "batch"}
    plain = {"input_tokens": 10, "output_tokens": 5}
    named = {"service": "anthropic", "model": "claude-3-5-haiku"}
    usages = {"an hour": an_hour, "batch": batch, "plain": plain}
    record(database, rules(), *({**named, "usage": usage, "call_id": name} for name, usage in usages.items()))
    right = {name: cost(database, name) for name in usages}
    assert len({nano for nano, _ in right.values()}) == 3
    with database.write() as connection:
        connection.execute("UPDATE ai_calls SET cost_nano = NULL, cost_source = 'unknown'")

    run(database, rules())

    assert {name: cost(database, name) for name in usages} == right


def test_the_reason_goes_with_the_price_and_doubts_of_other_arguments_stay(database: Database) -> None:
    record(database, rules(), {**MINE, "call_id": "one", "duration_ms": "long", "metadata": 7})
    assert "no price" in (call(database, "one").problem or "")

    run(database, rules(my_model=Price(input_per_million=Decimal(2))))
    partly = call(database, "one").problem or ""
    run(database, rules(my_model=Price(input_per_million=Decimal(2), output_per_million=Decimal(8))))

    doubts = "duration_ms is not a number of milliseconds; metadata is not a mapping"
    assert partly == f"{doubts}; no price for output tokens"
    assert call(database, "one").problem == doubts


def test_a_dry_run_says_the_same_and_changes_nothing(database: Database) -> None:
    record(database, rules(), {**HAIKU, "call_id": "one"}, {**MINE, "call_id": "two"})
    mine = rules(my_model=Price(input_per_million=Decimal(2), output_per_million=Decimal(8)))
    before = database.version()

    would = run(database, mine, dry_run=True)

    assert database.version() == before
    assert run(database, mine) == would
    assert would.changed == 1


def test_repricing_again_writes_nothing(database: Database) -> None:
    record(database, rules(), {**HAIKU, "call_id": "one"}, {**MINE, "call_id": "two"})
    run(database, rules(my_model=Price(input_per_million=Decimal(2))))
    before = database.version()

    again = run(database, rules(my_model=Price(input_per_million=Decimal(2))))

    assert database.version() == before
    assert (again.changed, again.unknown) == (0, 1)


def test_only_the_chosen_calls_are_looked_at(database: Database) -> None:
    record(
        database, rules(),
        {**MINE, "call_id": "old", "called_at": NOW - timedelta(days=3)},
        {**MINE, "call_id": "new"},
        {**MINE, "call_id": "other", "model": "other-model"},
    )  # fmt: skip
    mine = rules(my_model=Price(input_per_million=Decimal(2), output_per_million=Decimal(8)))

    done = run(database, mine, model="my-model", since=NOW - timedelta(days=3, milliseconds=-1))

    assert (done.looked_at, done.changed) == (1, 1)
    assert [cost(database, name)[0] for name in ("old", "new", "other")] == [None, 2_080_000, None]


def test_a_void_call_stays_as_it_was(database: Database) -> None:
    record(database, rules(), {**MINE, "call_id": "one"})
    with database.write() as connection:
        calls.void(connection, "one", NOW)

    done = run(database, rules(my_model=Price(input_per_million=Decimal(2), output_per_million=Decimal(8))))

    assert done.looked_at == 0
    assert cost(database, "one") == (None, "unknown")


@pytest.mark.parametrize(
    ("details", "expected"),
    [
        (None, 1_080_000),
        ("{}", 1_080_000),
        ("not json", None),
        ('{"parts": {"cache_write_1h": "x"}}', None),
        ('{"parts": 7}', None),
        ('{"terms": {"speed": 1}}', None),
        ('{"problem": ["x"]}', None),
        ("[" * 100_000, None),
    ],
)
def test_what_somebody_else_wrote_is_priced_where_it_can_be_read(
    database: Database, details: str | None, expected: int | None
) -> None:
    with database.write() as connection:
        connection.execute(
            """
            INSERT INTO ai_calls (call_id, called_at, service, model, input_tokens, output_tokens, usage_details)
            VALUES ('theirs', '2026-11-18 12:00:00', 'anthropic', 'claude-3-5-haiku', 450, 180, ?)
            """,
            (details,),
        )

    run(database, rules())

    assert cost(database, "theirs") == (expected, "unknown" if expected is None else "priced")
    assert differences(database) == []


def test_a_cost_that_no_call_can_have_is_unknown(database: Database) -> None:
    record(database, rules(), {**MINE, "call_id": "one", "input_tokens": 10**12})

    done = run(database, rules(my_model=Price(input_per_million=Decimal(100), output_per_million=Decimal(1))))

    assert (done.changed, done.unknown, done.problem) == (0, 1, "a cost of more than 10000000 USD")


def test_others_write_between_two_batches_and_what_they_write_is_not_waited_for(database: Database) -> None:
    record(database, rules(), *({**MINE, "call_id": f"call-{n}"} for n in range(2 * AT_ONCE + 1)))
    mine = rules(my_model=Price(input_per_million=Decimal(2), output_per_million=Decimal(8)))
    other = Database(database.path)
    steps = []

    for n, step in enumerate(reprice(database, mine.prices())):
        with other.write(timeout_ms=0) as connection:
            calls.insert(connection, Call(f"between-{n}", NOW, "me", "my-model", input_tokens=1), zone("UTC"))
        steps.append(step.done)
    other.close()

    assert steps == [AT_ONCE, 2 * AT_ONCE, 2 * AT_ONCE + 1, 2 * AT_ONCE + 1]
    assert kept_total(database)[1] == len(steps)
    assert differences(database) == []


USAGES = st.fixed_dictionaries(
    {"model": st.sampled_from(["claude-3-5-haiku", "my-model", "gpt-4o-mini", "tts-1", "dall-e-3:1024x1024", "nobody's"])},
    optional={
        "service": st.sampled_from(["anthropic", "openai", "me"]),
        "input_tokens": st.integers(0, 10**6),
        "output_tokens": st.integers(0, 10**6),
        "cache_read_tokens": st.integers(0, 10**6),
        "quantity": st.integers(0, 100),
        "unit": st.sampled_from(["images", "characters"]),
        "cost_usd": st.sampled_from(["0.5", "-1"]),
        "succeeded": st.booleans(),
        "cache_hit": st.booleans(),
        "usage": st.sampled_from([
            {"prompt_tokens": 100, "completion_tokens": 7, "prompt_tokens_details": {"cached_tokens": 30}},
            {"input_tokens": 100, "output_tokens": 7, "service_tier": "batch"},
            {"input_tokens": 100, "output_tokens": 7, "server_tool_use": {"web_search_requests": 2}},
            {"prompt_tokens": 5, "completion_tokens": 5, "cost": 0.125},
            {"prompt_tokens": 5, "completion_tokens": "five"},
        ]),
    },
)  # fmt: skip


@given(said=st.lists(USAGES, min_size=1, max_size=8), first=st.booleans())
@settings(max_examples=60)
def test_a_repriced_call_costs_what_it_would_have_cost_had_the_price_been_known(
    said: list[dict[str, Any]], first: bool
) -> None:
    mine = rules(my_model=Price(input_per_million=Decimal(2), output_per_million=Decimal(8)))
    early, late = (mine, rules()) if first else (rules(), mine)
    given_calls = [{"service": None, **one, "call_id": f"call-{n}"} for n, one in enumerate(said)]
    with tempfile.TemporaryDirectory() as folder:
        repriced, direct = Database(Path(folder) / "a.db"), Database(Path(folder) / "b.db")
        record(repriced, early, *given_calls)
        record(direct, late, *given_calls)

        run(repriced, late)

        for one in given_calls:
            here, there = call(repriced, one["call_id"]), call(direct, one["call_id"])
            unread = "cost_usd" in (here.problem or "")
            if there.cost_nano is not None:
                assert (here.cost_nano, here.cost_source) == (there.cost_nano, there.cost_source)
            elif here.cost_nano is not None and not unread:
                assert here.cost_source == "override"
        assert differences(repriced) == []
        repriced.close()
        direct.close()


def test_the_book_that_prices_a_call_again_is_the_one_that_priced_it(database: Database) -> None:
    priced = PriceBook({"my-model": configured_rates(input_per_million=Decimal(2))})

    assert rules(my_model=Price(input_per_million=Decimal(2))).prices().shown("my-model", at=NOW) == priced.shown(
        "my-model", at=NOW
    )


def recorded(folder: Path) -> None:
    database = Database(folder / "orchestrator.db")
    record(database, rules(), {**HAIKU, "call_id": "one"}, {**MINE, "call_id": "two"})
    database.close()
    (folder / "config.toml").write_text(
        '[orchestrator]\ndatabase = "orchestrator.db"\n'
        '[prices."claude-3-5-haiku"]\ninput_per_million = 1.0\noutput_per_million = 5.0\n'
    )


def test_the_command_says_how_many_calls_changed_and_their_sums(tmp_path: Path) -> None:
    recorded(tmp_path)

    would = orchestrator(tmp_path, "reprice", "--dry-run")
    told = data(orchestrator(tmp_path, "reprice", "--json", "--since", "2026-11-01", "--model", "claude-3-5-haiku"))
    after = orchestrator(tmp_path, "reprice")

    assert would.stdout.startswith("1 of 2 calls would change: $0.0011 before, $0.0014 after\n1 stay unknown: no price")
    assert told == {
        "looked_at": 1, "changed": 1, "found": 0, "unknown": 0, "before_usd": 0.00108, "after_usd": 0.00135,
    }  # fmt: skip
    assert after.stdout.startswith("0 of 2 calls changed\n1 stay unknown: no price")


def test_the_command_says_from_when_on_there_are_calls(tmp_path: Path) -> None:
    recorded(tmp_path)
    database = Database(tmp_path / "orchestrator.db")
    with database.write() as connection:
        connection.execute("INSERT INTO meta (key, value) VALUES ('pruned_before', '2026-11-01')")
    database.close()

    every, since = orchestrator(tmp_path, "reprice"), orchestrator(tmp_path, "reprice", "--since", "2026-11-01")

    assert "Calls before 2026-11-01 were pruned: what they cost stays as it is." in every.stdout
    assert "pruned" not in since.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("--since", "yesterday"), 2, "neither a date"),
        (("--db", "nothing.db"), 1, "no database yet"),
    ],
)
def test_the_command_says_in_a_line_what_is_wrong(
    tmp_path: Path, arguments: tuple[str, str], code: int, says: str
) -> None:
    recorded(tmp_path)
    before, after = (arguments, ()) if arguments[0] == "--db" else ((), arguments)

    done = orchestrator(tmp_path, *before, "reprice", *after)

    assert (done.returncode, says in done.stderr, done.stdout) == (code, True, "")
