"""Calls: stored once by their id, read back as they were, voided, repriced; what strangers write becomes ours or is refused."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import apsw
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.ledger import calls, local_days, voids
from orchestrator.ledger.calls import MOST_COST_NANO, MOST_TOKENS, Call
from orchestrator.money import NanoUsd
from orchestrator.periods import instant_from_millis, zone
from orchestrator.store import meta
from orchestrator.store.database import Database

NOW = datetime(2026, 3, 31, 12, tzinfo=UTC)
UTC_ZONE = zone("UTC")
FULL = Call(
    call_id="0198c2f0-0000-7000-8000-000000000001",
    called_at=NOW,
    service="openrouter",
    model="anthropic/claude-sonnet-4",
    operation="chat",
    tier="premium",
    input_tokens=450,
    cache_read_tokens=20,
    cache_write_tokens=0,
    output_tokens=180,
    reasoning_tokens=60,
    tokens_estimated=True,
    quantity=Decimal("12.345"),
    unit="seconds",
    cost_nano=NanoUsd(1_080_000),
    cost_source="priced",
    price_origin="genai-prices 0.2.3",
    usage_details='{"terms": {"service_tier": "batch"}}',
    tenant_id="acme",
    user_id="ann",
    organization_id="org",
    session_id="s-1",
    endpoint="/v1/chat",
    resource_type="ticket",
    resource_id="42",
    cache_hit=True,
    succeeded=False,
    duration_ms=1234,
    voided_at=NOW + timedelta(hours=1),
    error="timeout",
    problem="no price for seconds",
    metadata='{"a": [1, "ä"]}',
)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "orchestrator.db")
    yield database
    database.close()


def insert(database: Database, *several: Call, tz: str = "UTC") -> list[calls.Stored]:
    with database.write() as connection:
        return calls.insert_many(connection, several, zone(tz))


def found(database: Database, call_id: str) -> Call | None:
    with database.read() as connection:
        return calls.by_id(connection, call_id)


def query(database: Database, statement: str) -> list[tuple[Any, ...]]:
    with database.read() as connection:
        return list(connection.execute(statement))


def foreign(database: Database, **values: object) -> None:
    """Insert a call as somebody who knows the documented columns and nothing else of ours."""
    with database.write():
        pass
    connection = apsw.Connection(str(database.path))
    try:
        columns, marks = ", ".join(values), ", ".join("?" * len(values))
        connection.execute(f"INSERT INTO ai_calls ({columns}) VALUES ({marks})", tuple(values.values()))
    finally:
        connection.close()


def test_a_call_is_read_back_as_it_was(database: Database) -> None:
    assert insert(database, FULL) == ["stored"]

    assert found(database, FULL.call_id) == FULL


@pytest.mark.parametrize(
    "called_at",
    [
        datetime(1, 1, 1, tzinfo=UTC),
        datetime(3000, 1, 1, tzinfo=UTC),
        datetime(9999, 12, 30, 23, 59, 59, 999000, tzinfo=UTC),
    ],
)
def test_a_call_at_any_moment_that_python_knows_is_stored(database: Database, called_at: datetime) -> None:
    assert insert(database, Call(call_id="a", called_at=called_at)) == ["stored"]


def test_what_is_not_known_stays_unknown(database: Database) -> None:
    insert(database, Call("a", NOW))

    assert found(database, "a") == Call("a", NOW)
    assert query(database, "SELECT input_tokens, cost_nano, cost_source FROM ai_calls") == [(None, None, "unknown")]


def test_a_call_that_is_not_there_is_none(database: Database) -> None:
    insert(database, FULL)

    assert found(database, "another") is None


def test_recording_twice_is_recording_once_and_the_first_one_stays(database: Database) -> None:
    insert(database, Call("a", NOW, cost_nano=NanoUsd(5)))

    assert insert(database, Call("a", NOW, cost_nano=NanoUsd(9))) == ["duplicate"]

    assert query(database, "SELECT cost_nano, (SELECT sum(cost_nano) FROM daily_totals) FROM ai_calls") == [(5, 5)]


def test_each_of_many_hears_what_became_of_it(database: Database) -> None:
    insert(database, Call("old", NOW), Call("wrong", NOW))
    with database.write() as connection:
        calls.void(connection, "wrong", NOW)

    stored = insert(database, Call("new", NOW), Call("old", NOW), Call("new", NOW), Call("wrong", NOW), Call("b", NOW))

    assert stored == ["stored", "duplicate", "duplicate", "voided", "stored"]
    assert insert(database) == []


def test_a_thousand_calls_hear_it_too_wherever_the_old_ones_stand_among_them(database: Database) -> None:
    old = [Call(str(n), NOW) for n in range(0, 1000, 7)]
    insert(database, *old)

    stored = insert(database, *(Call(str(n % 900), NOW) for n in range(1010)))

    new = {n for n in range(900) if n % 7}
    assert stored == ["stored" if n in new else "duplicate" for n in range(1010)]
    assert query(database, "SELECT count(*), (SELECT sum(calls) FROM daily_totals) FROM ai_calls") == [(914, 914)]


def test_one_call_alone_hears_it_too(database: Database) -> None:
    with database.write() as connection:
        assert calls.insert(connection, Call("a", NOW), UTC_ZONE) == "stored"
        assert calls.insert(connection, Call("a", NOW), UTC_ZONE) == "duplicate"


@pytest.mark.parametrize(
    ("tz", "called_at", "day"),
    [
        ("Europe/Berlin", datetime(2026, 3, 28, 23, tzinfo=UTC), "2026-03-29"),
        ("Asia/Kathmandu", datetime(2026, 3, 28, 18, 14, 59, tzinfo=UTC), "2026-03-28"),
        ("UTC", datetime(2026, 3, 29, 1, tzinfo=timezone(timedelta(hours=5))), "2026-03-28"),
    ],
)
def test_a_call_stands_on_the_local_day_of_the_files_zone(
    database: Database, tz: str, called_at: datetime, day: str
) -> None:
    insert(database, Call("a", called_at), tz=tz)

    assert query(database, "SELECT day FROM ai_calls") == [(day,)]


def test_calls_of_one_batch_keep_their_own_times(database: Database) -> None:
    insert(database, Call("a", NOW), Call("b", NOW), Call("c", NOW + timedelta(days=1)), Call("d", NOW))

    days = query(database, "SELECT call_id, day FROM ai_calls ORDER BY id")
    assert days == [("a", "2026-03-31"), ("b", "2026-03-31"), ("c", "2026-04-01"), ("d", "2026-03-31")]


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("input_tokens", -1),
        ("input_tokens", MOST_TOKENS + 1),
        ("cache_read_tokens", 2**63),
        ("cache_write_tokens", 2**70),
        ("output_tokens", -(2**80)),
        ("reasoning_tokens", 2**63 - 1),
        ("duration_ms", 2**64),
        ("quantity", Decimal("NaN")),
        ("quantity", Decimal("sNaN")),
        ("quantity", Decimal("Infinity")),
        ("quantity", Decimal(-1)),
        ("quantity", Decimal("1e400")),
    ],
)
def test_a_number_that_no_call_can_have_is_not_known_and_named(database: Database, column: str, value: Any) -> None:
    insert(database, Call("a", NOW, problem="first", **{column: value}))

    stored = found(database, "a")
    assert stored is not None
    assert getattr(stored, column) is None
    assert stored.problem == f"first; {column}: too large, or too small, to be true"


@pytest.mark.parametrize("cost", [-1, MOST_COST_NANO + 1, 2**63])
def test_a_cost_that_no_call_can_have_is_unknown(database: Database, cost: int) -> None:
    insert(database, Call("a", NOW, cost_nano=NanoUsd(cost), cost_source="given", price_origin="x"))

    stored = found(database, "a")
    assert stored is not None
    assert (stored.cost_nano, stored.cost_source, stored.price_origin) == (None, "unknown", None)
    assert stored.problem == "cost_nano: too large, or too small, to be true"


def test_a_call_that_can_be_true_is_left_as_it_is() -> None:
    assert calls.believable(FULL) is FULL


def test_hundreds_of_the_largest_calls_of_a_day_can_still_be_added_up(database: Database) -> None:
    largest = Call("a", NOW, input_tokens=MOST_TOKENS, output_tokens=MOST_TOKENS, cost_nano=NanoUsd(MOST_COST_NANO))

    assert set(insert(database, *(largest._replace(call_id=str(n)) for n in range(900)))) == {"stored"}

    assert query(database, "SELECT sum(cost_nano) FROM daily_costs") == [(900 * MOST_COST_NANO,)]


def made(values: dict[str, Any]) -> Call:
    return Call(**values)


ANY_CALL = st.fixed_dictionaries(
    {
        "call_id": st.just("a"),
        "called_at": st.integers(0, 4 * 10**12).map(instant_from_millis),
        "service": st.none() | st.text(st.characters(codec="utf-8")),
        "quantity": st.none() | st.decimals(0, 10**6, places=3),
        "cost_nano": st.none() | st.integers(0, MOST_COST_NANO),
        "input_tokens": st.none() | st.integers(0, MOST_TOKENS),
        "cache_hit": st.booleans(),
    }
).map(made)


@settings(max_examples=40)
@given(ANY_CALL)
def test_any_call_is_read_back_as_it_was(tmp_path_factory: pytest.TempPathFactory, call: Call) -> None:
    database = Database(tmp_path_factory.mktemp("calls") / "orchestrator.db")

    insert(database, call)

    assert found(database, "a") == call
    database.close()


@pytest.mark.parametrize(
    ("called_at", "stored"),
    [
        ("2026-03-31T12:00:00.000Z", "2026-03-31T12:00:00.000Z"),
        ("2026-03-31T12:00:00Z", "2026-03-31T12:00:00.000Z"),
        ("2026-03-31 12:00:00", "2026-03-31T12:00:00.000Z"),
        ("2026-03-31T14:00:00.123456+02:00", "2026-03-31T12:00:00.123Z"),
        ("2026-03-31", "2026-03-31T00:00:00.000Z"),
        (1774958400, "2026-03-31T12:00:00.000Z"),
        (1774958400123, "2026-03-31T12:00:00.123Z"),
    ],
)
def test_a_foreign_call_counts_like_ours_whatever_the_form_of_its_time(
    database: Database, called_at: object, stored: str
) -> None:
    foreign(database, call_id="a", called_at=called_at, model="m", cost_nano=5)

    assert query(database, "SELECT called_at, day, cost_source FROM ai_calls") == [(stored, "2026-03-31", "given")]
    assert query(database, "SELECT day, calls, cost_nano FROM daily_totals") == [("2026-03-31", 1, 5)]


@pytest.mark.parametrize(
    "called_at",
    [
        "now",
        "then",
        "",
        "12:00",
        "2026-13-31T12:00:00.000Z",
        12,
        "2026-03-31 nonsense",
        "2026-02-29T12:00:00.000Z",
        "2026-02-31",
        "2026-04-31 12:00:00",
        "2026-03-30 24:00:00",
        "2026-03-30T24:00:00.000Z",
        "2026-03-00T12:00:00.000Z",
        "0000-01-01T12:00:00.000Z",
    ],
)
def test_a_foreign_call_without_a_time_that_was_is_refused(database: Database, called_at: object) -> None:
    with pytest.raises(apsw.ConstraintError, match="called_at is not a time"):
        foreign(database, call_id="a", called_at=called_at, cost_nano=5)

    assert query(database, "SELECT (SELECT count(*) FROM ai_calls), (SELECT count(*) FROM daily_totals)") == [(0, 0)]


@pytest.mark.parametrize(
    "values",
    [
        {"called_at": None},
        {"day": "yesterday"},
        {"day": "2026-02-30"},
        {"cost_nano": -1},
        {"cost_nano": 2**62},
        {"input_tokens": -1},
        {"succeeded": 2},
        {"cache_hit": "yes"},
    ],
)
def test_a_foreign_call_that_would_spoil_the_sums_is_refused(database: Database, values: dict[str, object]) -> None:
    with pytest.raises(apsw.ConstraintError):
        foreign(database, **{"called_at": "2026-03-31T12:00:00.000Z", **values})

    assert query(database, "SELECT count(*) FROM ai_calls") == [(0,)]


@pytest.mark.parametrize(
    ("given_metadata", "stored"),
    [(None, None), ("not json", '"not json"'), ('{"a": 1}', '{"a": 1}'), ("[]", "[]"), ('a "b"', '"a \\"b\\""')],
)
def test_a_foreign_call_is_given_what_it_lacks(
    database: Database, given_metadata: str | None, stored: str | None
) -> None:
    foreign(database, called_at="2026-03-31T12:00:00.000Z", metadata=given_metadata)

    [(call_id, source, metadata, succeeded)] = query(
        database, "SELECT call_id, cost_source, metadata, succeeded FROM ai_calls"
    )
    assert len(call_id) == 32
    assert (source, metadata, succeeded) == ("unknown", stored, 1)
    assert query(database, "SELECT unpriced_calls FROM daily_totals") == [(1,)]


@pytest.mark.parametrize("row_id", [0, -1, -5])
@pytest.mark.parametrize("conflict", ["", "OR IGNORE ", "OR REPLACE "])
def test_a_row_id_below_one_is_refused_and_nobody_is_kept_from_recording(
    database: Database, row_id: int, conflict: str
) -> None:
    statement = (
        f"INSERT {conflict}INTO ai_calls (id, call_id, called_at) VALUES ({row_id}, 'f', '2026-03-31T12:00:00.000Z')"
    )
    insert(database)
    with pytest.raises(apsw.ConstraintError, match="ids begin with 1"), apsw.Connection(str(database.path)) as stranger:
        stranger.execute(statement)

    assert insert(database, Call("a", NOW)) == ["stored"]
    assert query(database, "SELECT id, call_id FROM ai_calls") == [(1, "a")]


def test_calls_are_stored_beside_one_with_the_highest_row_id_there_is(database: Database) -> None:
    foreign(database, id=2**63 - 1, call_id="f", called_at="2026-03-31T12:00:00.000Z")

    stored = insert(database, Call("a", NOW), Call("f", NOW), Call("b", NOW), Call("a", NOW))

    assert stored == ["stored", "duplicate", "stored", "duplicate"]
    assert query(database, "SELECT sum(calls) FROM daily_totals") == [(3,)]


def test_a_voided_call_stays_as_a_row(database: Database) -> None:
    insert(database, Call("a", NOW, cost_nano=NanoUsd(5)))

    with database.write() as connection:
        assert voids.void(connection, "a", UTC_ZONE, now=NOW + timedelta(hours=1)) == "voided"
        assert voids.void(connection, "a", UTC_ZONE, now=NOW + timedelta(hours=2)) == "already voided"
        assert voids.void(connection, "b", UTC_ZONE, now=NOW) == "unknown"

    stored = found(database, "a")
    assert stored is not None
    assert stored.voided_at == NOW + timedelta(hours=1)


def test_only_computed_and_unknown_costs_are_repriced(database: Database) -> None:
    sources: list[calls.CostSource] = ["reported", "override", "priced", "given", "cached", "failed", "unknown"]
    insert(database, *(Call(source, NOW, model="m", cost_nano=NanoUsd(1), cost_source=source) for source in sources))
    insert(database, Call("wrong", NOW, voided_at=NOW))

    with database.write() as connection:
        due = calls.repriceable(connection)
        for row_id in range(1, 9):
            calls.reprice(connection, row_id, NanoUsd(7), "priced", "prices.toml 2026-01-01", None)

    assert [call.call_id for _, call in due] == ["override", "priced", "unknown"]
    assert query(database, "SELECT call_id FROM ai_calls WHERE cost_nano = 7") == [
        ("override",),
        ("priced",),
        ("unknown",),
    ]
    repriced = found(database, "unknown")
    assert repriced is not None
    assert (repriced.cost_source, repriced.price_origin) == ("priced", "prices.toml 2026-01-01")


def test_calls_to_reprice_come_in_parts_by_model_and_time(database: Database) -> None:
    insert(
        database,
        *(Call(str(n), NOW + timedelta(hours=n), model="m" if n % 2 else "other") for n in range(10)),
    )

    with database.read() as connection:
        first = calls.repriceable(connection, model="m", since=NOW + timedelta(hours=2), most=2)
        rest = calls.repriceable(connection, model="m", since=NOW + timedelta(hours=2), most=9, after=first[-1][0])

    assert [call.call_id for _, call in first + rest] == ["3", "5", "7", "9"]


def test_where_a_price_is_from_is_written_once(database: Database) -> None:
    insert(database, *(Call(str(n), NOW, cost_source="priced", price_origin="genai-prices 0.2.3") for n in range(5)))
    insert(database, Call("a", NOW, cost_source="priced", price_origin="prices.toml 2026-01-01"), Call("b", NOW))

    with database.write() as connection:
        calls.reprice(connection, 1, NanoUsd(1), "priced", "prices.toml 2026-01-01", None)

    origins = query(database, "SELECT id, origin FROM price_origins ORDER BY id")
    assert origins == [(1, "genai-prices 0.2.3"), (2, "prices.toml 2026-01-01")]
    assert query(database, "SELECT price_origin_id FROM ai_calls ORDER BY id") == [(2,), *[(1,)] * 4, (2,), (None,)]


def test_a_repriced_call_may_become_unknown_again_with_the_reason(database: Database) -> None:
    insert(database, Call("a", NOW, cost_nano=NanoUsd(1), cost_source="priced"))

    with database.write() as connection:
        calls.reprice(connection, 1, None, "unknown", None, "no price for m")

    stored = found(database, "a")
    assert stored is not None
    assert (stored.cost_nano, stored.cost_source, stored.problem) == (None, "unknown", "no price for m")
    assert query(database, "SELECT cost_nano, unpriced_calls FROM daily_totals") == [(0, 1)]


@pytest.mark.parametrize(
    ("said", "stored", "day"),
    [
        ("2026-05-02T23:30:00.000Z", "2026-05-02T23:30:00.000Z", "2026-05-03"),
        ("2026-05-02 20:00:00", "2026-05-02T20:00:00.000Z", "2026-05-02"),
        ("2026-05-02T23:30:00+05:00", "2026-05-02T18:30:00.000Z", "2026-05-02"),
        ("1777764600", "2026-05-02T23:30:00.000Z", "2026-05-03"),
    ],
)
def test_a_call_whose_time_somebody_corrects_changes_its_day(
    database: Database, said: str, stored: str, day: str
) -> None:
    with database.write() as connection:
        meta.put(connection, "timezone", "Europe/Vienna")
        local_days.remember_zone(connection, zone("Europe/Vienna"))
    insert(database, Call("a", NOW, cost_nano=NanoUsd(5)), Call("b", NOW, cost_nano=NanoUsd(7)), tz="Europe/Vienna")

    connection = apsw.Connection(str(database.path))
    connection.execute("UPDATE ai_calls SET called_at = ? WHERE call_id = 'a'", (said,))
    connection.close()

    assert query(database, "SELECT called_at, day FROM ai_calls WHERE call_id = 'a'") == [(stored, day)]
    assert query(database, "SELECT day, calls, cost_nano FROM daily_totals ORDER BY cost_nano") == [
        (day, 1, 5), (NOW.date().isoformat(), 1, 7),
    ]  # fmt: skip


def test_a_call_is_not_corrected_to_a_time_that_never_was(database: Database) -> None:
    insert(database, Call("a", NOW))
    before = query(database, "SELECT * FROM ai_calls")

    connection = apsw.Connection(str(database.path))
    with pytest.raises(apsw.ConstraintError, match="called_at is not a time"):
        connection.execute("UPDATE ai_calls SET called_at = 'yesterday'")
    connection.execute("UPDATE ai_calls SET called_at = called_at")
    connection.close()

    assert query(database, "SELECT * FROM ai_calls") == before


def test_a_day_that_is_given_with_a_corrected_time_stays(database: Database) -> None:
    insert(database, Call("a", NOW))

    connection = apsw.Connection(str(database.path))
    connection.execute("UPDATE ai_calls SET called_at = '2026-01-01T00:00:00.000Z', day = '2026-01-02'")
    connection.execute("INSERT INTO revenue (source, earned_at) VALUES ('s', '2026-01-01T00:00:00.000Z')")
    connection.execute("UPDATE revenue SET earned_at = '2026-01-05 10:00'")
    connection.close()

    assert query(database, "SELECT day FROM ai_calls") == [("2026-01-02",)]
    assert query(database, "SELECT earned_at, day FROM revenue") == [("2026-01-05T10:00:00.000Z", "2026-01-05")]
