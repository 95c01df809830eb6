"""Operating costs and booked revenue: stored once, spread exactly over local days, voided without a trace in the sums."""

from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import apsw
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from orchestrator.ledger import calls, entries, rollups, voids
from orchestrator.ledger.calls import Call
from orchestrator.ledger.entries import MOST_NANO, OperatingCost, Revenue
from orchestrator.ledger.shares import spread
from orchestrator.money import NanoUsd
from orchestrator.periods import day_of, instant_from_millis, millis, week_start, zone
from orchestrator.store.database import Database

NOW = datetime(2026, 3, 31, 12, tzinfo=UTC)
UTC_ZONE = zone("UTC")
# Clocks that change by an hour and by half of one, at midnight and at night; offsets of a quarter; a date that was skipped.
ZONES = (
    "UTC", "Europe/Berlin", "America/New_York", "America/St_Johns", "America/Sao_Paulo", "Asia/Kathmandu", "Asia/Kolkata",
    "Asia/Beirut", "Africa/Cairo", "Australia/Lord_Howe", "Pacific/Apia", "America/Santiago", "Africa/Casablanca",
)  # fmt: skip

FULL = OperatingCost(
    entry_id="invoice-1",
    category="hosting",
    amount_nano=NanoUsd(412_000_000_000),
    period_start=datetime(2026, 3, 1, tzinfo=UTC),
    period_end=datetime(2026, 4, 1, tzinfo=UTC),
    service="fly.io",
    description="machines, März",
    quantity=Decimal("744.5"),
    unit="machine_hours",
    tenant_id="acme",
    resource_type="machine",
    resource_id="m-1",
    problem="the rate was guessed",
)
SOLD = Revenue(
    entry_id="sale-1",
    source="sales",
    earned_at=NOW,
    amount_nano=None,
    strategy_id="s-1",
    currency="EUR",
    original_amount=Decimal("12.50"),
    tenant_id="acme",
    note="no rate for that day",
    problem="no rate",
)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "orchestrator.db")
    yield database
    database.close()


def query(database: Database, statement: str) -> list[tuple[Any, ...]]:
    with database.read() as connection:
        return list(connection.execute(statement))


def book(database: Database, *costs: OperatingCost, tz: str = "UTC") -> list[entries.Stored]:
    with database.write() as connection:
        return [entries.insert_cost(connection, cost, zone(tz)) for cost in costs]


def test_an_operating_cost_is_read_back_as_it_was(database: Database) -> None:
    assert book(database, FULL) == ["stored"]

    with database.read() as connection:
        assert entries.cost_by_id(connection, "invoice-1") == FULL
        assert entries.cost_by_id(connection, "another") is None


def test_revenue_is_read_back_as_it_was_on_its_local_day(database: Database) -> None:
    with database.write() as connection:
        assert entries.insert_revenue(connection, SOLD, zone("Pacific/Kiritimati")) == "stored"

    with database.read() as connection:
        assert entries.revenue_by_id(connection, "sale-1") == SOLD
        assert entries.revenue_by_id(connection, "another") is None
    assert query(database, "SELECT day, original_amount FROM revenue") == [("2026-04-01", "12.50")]


def test_recording_an_entry_twice_is_recording_it_once(database: Database) -> None:
    book(database, FULL)
    before = query(database, "SELECT * FROM daily_operating_costs")

    assert book(database, FULL) == ["duplicate"]
    with database.write() as connection:
        assert entries.insert_revenue(connection, SOLD, UTC_ZONE) == "stored"
        assert entries.insert_revenue(connection, SOLD, UTC_ZONE) == "duplicate"

    assert query(database, "SELECT * FROM daily_operating_costs") == before
    assert query(database, "SELECT count(*) FROM revenue") == [(1,)]


def test_a_voided_entry_counts_nowhere_and_stays_voided(database: Database) -> None:
    book(database, FULL, OperatingCost("other", "hosting", NanoUsd(7), NOW, service="fly.io", tenant_id="acme"))
    with database.write() as connection:
        entries.insert_revenue(connection, SOLD, UTC_ZONE)

    with database.write() as connection:
        assert voids.void(connection, "invoice-1", UTC_ZONE, now=NOW) == "voided"
        assert voids.void(connection, "sale-1", UTC_ZONE, now=NOW) == "voided"
        assert voids.void(connection, "invoice-1", UTC_ZONE, now=NOW) == "already voided"
        assert entries.insert_cost(connection, FULL, UTC_ZONE) == "voided"
        assert entries.insert_revenue(connection, SOLD, UTC_ZONE) == "voided"

    assert query(database, "SELECT day, amount_nano, entries FROM daily_operating_costs") == [("2026-03-31", 7, 1)]
    assert query(database, "SELECT * FROM revenue_daily") == []


def test_an_id_that_is_two_things_is_voided_only_when_it_is_said_which(database: Database) -> None:
    book(database, OperatingCost("invoice-1", "fees", NanoUsd(7), NOW))
    with database.write() as connection:
        entries.insert_revenue(connection, Revenue("invoice-1", "sales", NOW, NanoUsd(90)), UTC_ZONE)
        calls.insert(connection, Call("invoice-1", NOW), UTC_ZONE)

        assert voids.kinds_of(connection, "invoice-1") == ["call", "cost", "revenue"]
        assert voids.void(connection, "invoice-1", UTC_ZONE, now=NOW) == "ambiguous"
        assert voids.void(connection, "invoice-1", UTC_ZONE, "cost", now=NOW) == "voided"

    assert query(database, "SELECT net_nano, unpriced_calls FROM pnl_daily") == [(90, 1)]


@pytest.mark.parametrize("category", ["ai_inference", "AI_Inference"])
def test_ai_calls_are_no_operating_costs(database: Database, category: str) -> None:
    with pytest.raises(apsw.ConstraintError):
        book(database, OperatingCost("c", category, NanoUsd(7), NOW))


def test_mining_is_not_booked(database: Database) -> None:
    with pytest.raises(apsw.ConstraintError), database.write() as connection:
        entries.insert_revenue(connection, Revenue("r", "xmr-mining", NOW, NanoUsd(7)), UTC_ZONE)


def test_an_amount_that_is_not_known_has_no_share_of_any_day(database: Database) -> None:
    book(database, OperatingCost("c", "hosting", None, NOW, problem="not a number"))

    assert query(database, "SELECT amount_nano, problem FROM operating_costs") == [(None, "not a number")]
    assert query(database, "SELECT * FROM daily_operating_costs") == []


def test_costs_without_a_service_or_tenant_make_one_row(database: Database) -> None:
    book(database, *(OperatingCost(str(n), "hosting", NanoUsd(n), NOW) for n in (1, 2, 3)))

    assert query(database, "SELECT service, tenant_id, amount_nano, entries FROM daily_operating_costs") == [
        ("", "", 6, 3)
    ]


BERLIN = zone("Europe/Berlin")


@pytest.mark.parametrize(
    ("start", "end", "amount", "shares"),
    [
        # No period: the day of the moment.
        ("2026-03-28T22:59:59Z", None, 7, {"2026-03-28": 7}),
        ("2026-03-28T23:00:00Z", None, 7, {"2026-03-29": 7}),
        # Three local days, of which the middle one has 23 hours: 71 hours in all.
        ("2026-03-27T23:00:00Z", "2026-03-30T22:00:00Z", 71_000, {"2026-03-28": 24_000, "2026-03-29": 23_000, "2026-03-30": 24_000}),
        # A day of 25 hours.
        ("2026-10-24T22:00:00Z", "2026-10-26T23:00:00Z", 49, {"2026-10-25": 25, "2026-10-26": 24}),
        # Rounded down, the rest on the last day.
        ("2026-06-01T22:00:00Z", "2026-06-04T22:00:00Z", 1000, {"2026-06-02": 333, "2026-06-03": 333, "2026-06-04": 334}),
        ("2026-06-01T22:00:00Z", "2026-06-04T22:00:00Z", 2, {"2026-06-04": 2}),
        # A refund is rounded down too: away from zero.
        ("2026-06-01T22:00:00Z", "2026-06-04T22:00:00Z", -1000, {"2026-06-02": -334, "2026-06-03": -334, "2026-06-04": -332}),
        # The end is exclusive, to the millisecond.
        ("2026-06-01T22:00:00Z", "2026-06-02T22:00:00.001Z", 86_400_001, {"2026-06-02": 86_400_000, "2026-06-03": 1}),
        # Part of a day.
        ("2026-06-01T10:00:00Z", "2026-06-01T11:00:00Z", 5, {"2026-06-01": 5}),
        # No period at all: it ends before it begins, or lasts for more than a century.
        ("2026-06-01T10:00:00Z", "2026-06-01T10:00:00Z", 5, {"2026-06-01": 5}),
        ("2026-06-01T10:00:00Z", "2026-05-01T10:00:00Z", 5, {"2026-06-01": 5}),
        ("2026-06-01T10:00:00Z", "2126-06-03T10:00:00Z", 5, {"2026-06-01": 5}),
        ("2026-06-01T10:00:00Z", "9999-12-31T23:59:59Z", 5, {"2026-06-01": 5}),
        ("2026-06-01T10:00:00Z", "2026-06-09T10:00:00Z", 0, {}),
    ],
)  # fmt: skip
def test_a_cost_is_spread_over_its_local_days(start: str, end: str | None, amount: int, shares: dict[str, int]) -> None:
    until = None if end is None else datetime.fromisoformat(end)

    carried = spread(amount, datetime.fromisoformat(start), until, BERLIN)

    assert {day.isoformat(): share for day, share in carried} == shares


def test_a_date_that_the_zone_skipped_carries_nothing() -> None:
    apia = zone("Pacific/Apia")
    start, end = datetime(2011, 12, 29, tzinfo=apia), datetime(2012, 1, 1, tzinfo=apia)

    carried = spread(2_000, start, end, apia)

    assert carried == [(date(2011, 12, 29), 1_000), (date(2011, 12, 31), 1_000)]


def seconds_by_day(start: datetime, end: datetime, tz: ZoneInfo) -> dict[date, int]:
    """Return how many seconds of a period fall on each local day, by asking every quarter of an hour what day it is."""
    counted: dict[date, int] = defaultdict(int)
    for at in range(int(start.timestamp()), int(end.timestamp()), 900):
        counted[day_of(datetime.fromtimestamp(at, UTC), tz)] += 900
    return counted


INSTANTS = st.integers(millis(datetime(2012, 1, 1, tzinfo=UTC)), millis(datetime(2030, 1, 1, tzinfo=UTC)))
AMOUNTS = st.integers(-MOST_NANO, MOST_NANO)


@settings(max_examples=150)
@given(st.sampled_from(ZONES), INSTANTS.map(lambda ms: ms // 900_000 * 900), st.integers(1, 4 * 40 * 24), AMOUNTS)
@example("America/Sao_Paulo", 1541300400, 96, 10**9 + 7)  # a day without its midnight
@example("Australia/Lord_Howe", 1775300400, 96 * 3, 1000)
def test_every_day_but_the_last_carries_its_time_rounded_down(
    tz: str, start_s: int, quarters: int, amount: int
) -> None:
    start = datetime.fromtimestamp(start_s, UTC)
    end = start + timedelta(minutes=15 * quarters)

    carried = dict(spread(amount, start, end, zone(tz)))

    seconds = seconds_by_day(start, end, zone(tz))
    last = max(seconds)
    expected = {day: amount * s // (900 * quarters) for day, s in seconds.items() if day != last}
    expected[last] = amount - sum(expected.values())
    assert carried == {day: share for day, share in expected.items() if share}


@settings(max_examples=150)
@given(st.sampled_from((*ZONES, "Pacific/Kiritimati")), INSTANTS, st.integers(1, 10**11), AMOUNTS)
def test_the_shares_of_any_period_are_the_amount_to_the_nano(tz: str, start_ms: int, length: int, amount: int) -> None:
    start, end = instant_from_millis(start_ms), instant_from_millis(start_ms + length)

    carried = spread(amount, start, end, zone(tz))

    days = [day for day, _ in carried]
    assert sum(share for _, share in carried) == amount
    assert days == sorted(set(days))
    assert all(day_of(start, zone(tz)) <= day <= day_of(end, zone(tz)) for day in days)


@settings(max_examples=25)
@given(
    st.sampled_from(ZONES),
    st.lists(st.tuples(INSTANTS, st.none() | st.integers(1, 10**10), AMOUNTS), max_size=5),
    st.lists(st.tuples(INSTANTS, st.none() | st.integers(0, 10**12)), max_size=8),
    st.lists(st.tuples(INSTANTS, st.none() | AMOUNTS), max_size=5),
)
def test_days_add_up_to_weeks_and_months_and_to_what_was_booked(
    tmp_path_factory: pytest.TempPathFactory,
    tz: str,
    costs: list[tuple[int, int | None, int]],
    made: list[tuple[int, int | None]],
    sold: list[tuple[int, int | None]],
) -> None:
    database = Database(tmp_path_factory.mktemp("entries") / "orchestrator.db")
    with database.write() as connection:
        for n, (start, length, amount) in enumerate(costs):
            end = None if length is None else instant_from_millis(start + length)
            cost = OperatingCost(f"c{n}", "hosting", NanoUsd(amount), instant_from_millis(start), end)
            entries.insert_cost(connection, cost, zone(tz))
        many = [
            Call(f"a{n}", instant_from_millis(at), cost_nano=None if cost is None else NanoUsd(cost))
            for n, (at, cost) in enumerate(made)
        ]
        calls.insert_many(connection, many, zone(tz))
        for n, (at, amount_or_none) in enumerate(sold):
            amount_nano = None if amount_or_none is None else NanoUsd(amount_or_none)
            entries.insert_revenue(
                connection, Revenue(f"r{n}", "sales", instant_from_millis(at), amount_nano), zone(tz)
            )

    days = query(database, "SELECT day, net_nano, ai_nano, operating_nano, revenue_nano FROM pnl_daily")

    booked = sum(amount or 0 for _, amount in sold) - sum(cost or 0 for _, cost in made) - sum(a for _, _, a in costs)
    assert sum(net for _, net, *_ in days) == booked
    for first_of in (lambda day: day.replace(day=1), lambda day: week_start(noon(day, zone(tz)), zone(tz), "monday")):
        by_period: dict[date, int] = defaultdict(int)
        for at, cost_or_none in made:
            by_period[first_of(day_of(instant_from_millis(at), zone(tz)))] += cost_or_none or 0
        summed: dict[date, int] = defaultdict(int)
        for day, _, ai, *_ in days:
            summed[first_of(date.fromisoformat(day))] += ai
        assert {k: v for k, v in summed.items() if v} == {k: v for k, v in by_period.items() if v}
    with database.read() as connection:
        assert rollups.verify(connection, zone(tz)) == []
    database.close()


def noon(day: date, tz: ZoneInfo) -> datetime:
    return datetime(day.year, day.month, day.day, 12, tzinfo=tz)


@pytest.mark.parametrize(
    "earned_at",
    [
        "now",
        "2026-02-29T12:00:00.000Z",
        "2026-02-31",
        "2026-04-31 12:00:00",
        "2026-03-30 24:00:00",
        "0000-01-01T12:00:00.000Z",
    ],
)
def test_foreign_revenue_without_a_time_that_was_is_refused(database: Database, earned_at: str) -> None:
    with pytest.raises(apsw.ConstraintError, match="earned_at is not a time"), database.write() as connection:
        connection.execute("INSERT INTO revenue (source, earned_at, amount_nano) VALUES ('sales', ?, 5)", (earned_at,))

    assert query(database, "SELECT count(*) FROM revenue") == [(0,)]


@pytest.mark.parametrize("day", ["2026-02-29", "2026-02-31", "2026-04-31", "2026-13-01", "today"])
def test_foreign_revenue_on_a_day_that_never_was_is_refused(database: Database, day: str) -> None:
    with pytest.raises(apsw.ConstraintError), database.write() as connection:
        connection.execute(
            "INSERT INTO revenue (source, earned_at, day) VALUES ('sales', '2026-03-01T12:00:00.000Z', ?)", (day,)
        )

    assert query(database, "SELECT count(*) FROM revenue") == [(0,)]
