"""Profit and loss: sums of what is known with the unknown named beside, the same by functions, by views and by a plain loop."""

import sqlite3
import tempfile
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import books
import pytest
from books import DAY, HOUR, USD, Books
from hypothesis import given, settings
from hypothesis import strategies as st

import orchestrator
from orchestrator import upkeep
from orchestrator.ledger import calls, entries, pruning, snapshots
from orchestrator.ledger.calls import Call
from orchestrator.ledger.entries import OperatingCost, Revenue
from orchestrator.ledger.setup import Setup
from orchestrator.ledger.snapshots import XMR_MINING, Snapshot
from orchestrator.money import NanoUsd
from orchestrator.periods import day_of, zone
from orchestrator.reports import pnl as reports
from orchestrator.reports import window as windows
from orchestrator.reports.pnl import Pnl
from orchestrator.reports.window import Moment
from orchestrator.store import retention
from orchestrator.store.database import Database

NOW = datetime(2026, 11, 18, 12, 0, tzinfo=UTC)
TODAY = datetime(2026, 11, 18, tzinfo=UTC)

# Each with a day on which its clocks or its calendar do something odd.
ZONES = {
    "UTC": date(2026, 11, 18),
    "Asia/Kolkata": date(2026, 11, 18),
    "Europe/Vienna": date(2026, 10, 25),
    "America/Havana": date(2026, 3, 8),
    "America/Havana ": date(2026, 11, 1),
    "Australia/Lord_Howe": date(2026, 4, 5),
    "Asia/Kathmandu": date(2026, 11, 18),
    "America/Sao_Paulo": date(2018, 11, 4),
    "Asia/Beirut": date(2026, 3, 29),
}


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = books.keep(tmp_path / "orchestrator.db", Books())
    yield database
    database.close()


def call(at: datetime, cost: int | None, **values: Any) -> Call:
    nano = None if cost is None else NanoUsd(cost)
    return Call(
        f"{at} {cost} {values}", at, "openai", "gpt-4o", cost_nano=nano,
        cost_source="unknown" if cost is None else "priced", **values,
    )  # fmt: skip


def cost(start: datetime, amount: int | None, end: datetime | None = None, category: str = "hosting") -> OperatingCost:
    nano = None if amount is None else NanoUsd(amount)
    return OperatingCost(f"{start} {amount} {end} {category}", category, nano, start, end)


def sold(at: datetime, amount: int | None, strategy: str | None = None) -> Revenue:
    return Revenue(f"{at} {amount}", "consulting", at, None if amount is None else NanoUsd(amount), strategy)


def mined(at: datetime, balance: int | None, price: float | None = 200.0) -> Snapshot:
    return Snapshot(XMR_MINING, at, balance, None if balance is None else 0, xmr_price_usd=price)


def pnl(database: Database, since: Moment | None = None, until: Moment | None = None, now: datetime = NOW) -> Pnl:
    return orchestrator.get_pnl(since, until, now=now, db=database)


def test_profit_is_revenue_less_calls_and_costs(database: Database) -> None:
    books.add(database, Books([call(NOW, 2 * USD)], [cost(NOW, 3 * USD)], [sold(NOW, 10 * USD)]))

    answer = pnl(database)

    assert answer == Pnl(
        total_revenue_usd=Decimal(10), total_costs_usd=Decimal(5), net_pnl_usd=Decimal(5), ai_inference_cost_usd=Decimal(2),
        operating_cost_usd=Decimal(3), mining_usd=Decimal(0), unpriced_calls=0, unpriced_atomic=0, unknown=(),
        coverage="no mining", mining_hours_known=None, mining_hours=None,
        period_start=datetime(2026, 10, 20, tzinfo=UTC), period_end=datetime(2026, 11, 19, tzinfo=UTC),
    )  # fmt: skip


def test_an_empty_file_has_earned_and_spent_nothing_and_knows_it(database: Database) -> None:
    answer = pnl(database)

    assert (answer.net_pnl_usd, answer.unknown) == (Decimal(0), ())


def test_what_is_not_known_is_named_and_never_zero(tmp_path: Path) -> None:
    kept = Books([call(NOW, None), call(NOW, USD)], [cost(NOW, None)], [sold(NOW, None)])
    database = books.keep(tmp_path / "x.db", kept, sources=(XMR_MINING,))

    answer = pnl(database)

    assert answer.unknown == ("mining", "revenue", "ai_inference", "operating_cost")
    assert (answer.mining_usd, answer.unpriced_atomic, answer.unpriced_calls) == (None, None, 1)
    assert (answer.total_revenue_usd, answer.total_costs_usd) == (Decimal(0), Decimal(1))
    assert answer.coverage == "mining known 0 of 708 h"
    database.close()


def test_a_part_of_the_unknown_is_named_only_where_it_lies(database: Database) -> None:
    books.add(
        database,
        Books(costs=[cost(TODAY - 3 * DAY, None, TODAY - 2 * DAY), cost(TODAY - 5 * DAY + HOUR, None)], revenue=[sold(NOW, None)]),
    )  # fmt: skip

    with database.read() as connection:
        days = reports.pnl_by(connection, Setup(), windows.between("2026-11-12", None, zone("UTC"), NOW), "day", NOW)

    assert [day.unknown for day in days] == [(), ("operating_cost",), (), ("operating_cost",), (), (), ("revenue",)]


def test_mining_that_is_off_but_has_rows_may_be_unknown(tmp_path: Path) -> None:
    database = books.keep(tmp_path / "x.db", Books(snapshots=[mined(NOW - 90 * DAY, 10**12)]))

    assert pnl(database).mining_usd is None
    database.close()


def test_mining_of_open_days_counts_up_to_now(database: Database) -> None:
    rows = [mined(TODAY + n * HOUR, n * 10**12) for n in range(13)]
    books.add(database, Books(snapshots=rows))

    answer = pnl(database, "2026-11-18")

    assert answer.mining_usd == answer.total_revenue_usd == 2400
    assert (answer.coverage, answer.mining_hours_known, answer.mining_hours) == ("mining known 12 of 12 h", 12.0, 12.0)


def test_coverage_tells_how_much_of_a_day_was_observed(database: Database) -> None:
    at = [n for n in range(25) if n not in (10, 11)]
    books.add(database, Books(snapshots=[mined(TODAY - DAY + n * HOUR, n * 10**12) for n in at]))

    assert pnl(database, "2026-11-17", "2026-11-17").coverage == "mining known 21 of 24 h"


def test_mining_without_a_price_is_counted_apart(database: Database) -> None:
    books.add(database, Books(snapshots=[mined(TODAY + n * HOUR, n * 10**9, None) for n in range(13)]))

    answer = pnl(database)

    assert (answer.mining_usd, answer.unpriced_atomic, answer.unknown) == (Decimal(0), 12 * 10**9, ("mining_price",))
    assert reports.remarks(answer) == {"mining_price": "0.012000 XMR unpriced"}


def test_voided_facts_count_nowhere(database: Database) -> None:
    kept = Books([call(NOW, USD)], [cost(NOW, USD)], [sold(NOW, USD)])
    books.add(database, kept)

    with database.write() as connection:
        calls.void(connection, kept.calls[0].call_id, NOW)
        entries.void_cost(connection, kept.costs[0].entry_id, zone("UTC"), NOW)
        entries.void_revenue(connection, kept.revenue[0].entry_id, NOW)

    answer = pnl(database)
    assert (answer.total_revenue_usd, answer.total_costs_usd, answer.unknown) == (Decimal(0), Decimal(0), ())


def test_a_fact_belongs_to_the_window_that_begins_with_it(database: Database) -> None:
    books.add(database, Books([call(NOW, USD)], revenue=[sold(NOW, 5 * USD)]))

    before, after = pnl(database, TODAY, NOW), pnl(database, NOW, NOW + HOUR)

    assert before.total_costs_usd == before.total_revenue_usd == 0
    assert (after.total_costs_usd, after.total_revenue_usd) == (Decimal(1), Decimal(5))


def test_an_operating_cost_accrues_evenly_over_its_day(database: Database) -> None:
    books.add(database, Books(costs=[cost(TODAY, 24, TODAY + DAY), cost(TODAY, 1)]))

    hours = [pnl(database, TODAY + n * HOUR, TODAY + (n + 1) * HOUR).operating_cost_usd * USD for n in range(24)]

    assert sum(hours) == 25
    assert set(hours) == {1, 2}


def test_until_a_date_contains_it_and_until_a_time_does_not(database: Database) -> None:
    books.add(database, Books([call(NOW, USD)]))

    assert pnl(database, "2026-11-18", "2026-11-18").total_costs_usd == 1
    assert pnl(database, date(2026, 11, 17), date(2026, 11, 18)).total_costs_usd == 1
    assert pnl(database, "2026-11-18", "2026-11-18T12:00").total_costs_usd == 0


def test_totals_cover_everything_that_was_ever_recorded(database: Database) -> None:
    long_ago = datetime(2019, 5, 1, tzinfo=UTC)
    books.add(
        database,
        Books(
            costs=[cost(long_ago, USD), cost(NOW, 2 * USD, category="storage"), cost(NOW, None)],
            revenue=[sold(long_ago, 7 * USD, "arbitrage"), sold(NOW, 8 * USD), sold(NOW + HOUR, None)],
            snapshots=[mined(TODAY + n * HOUR, n * 10**12) for n in range(13)],
        ),
    )

    assert orchestrator.get_operating_cost_total(db=database) == 3
    assert orchestrator.get_operating_cost_total("storage", db=database) == 2
    assert orchestrator.get_revenue_total(db=database, now=NOW) == 15 + 2400
    assert orchestrator.get_revenue_total("arbitrage", db=database, now=NOW) == 7
    assert orchestrator.get_revenue_total("no such", db=database, now=NOW) == 0


def test_money_is_exact_to_the_nano_however_much_there_is(database: Database) -> None:
    books.add(database, Books([call(NOW + n * HOUR, 10**16 - n) for n in range(3)]))

    assert pnl(database).ai_inference_cost_usd == Decimal("29999999.999999997")


def test_a_part_of_a_pruned_day_is_unknown_and_the_whole_day_is_not(database: Database) -> None:
    old = TODAY - 20 * DAY
    books.add(database, Books([call(old + HOUR, USD), call(old + 20 * HOUR, 2 * USD)]))
    for _ in pruning.prune_calls(database, date(2026, 11, 1)):
        pass

    part, whole = pnl(database, old + 6 * HOUR, old + 2 * DAY), pnl(database, old, old + 2 * DAY)

    assert (part.ai_inference_cost_usd, part.unknown) == (Decimal(0), ("ai_inference",))
    assert part.coverage == "no mining; calls of a part of 2026-10-29 not known any more, only of whole days"
    assert (whole.ai_inference_cost_usd, whole.unknown, whole.coverage) == (Decimal(3), (), "no mining")


def test_a_date_that_its_zone_skipped_is_no_day(tmp_path: Path) -> None:
    database = books.keep(tmp_path / "x.db", Books([call(NOW, USD)]), "Pacific/Apia")
    tz = zone("Pacific/Apia")

    with database.read() as connection:
        window = windows.between("2011-12-29", "2011-12-31", tz, NOW)
        days = reports.pnl_by(connection, Setup("Pacific/Apia"), window, "day", NOW)

    assert [day.period_start.astimezone(tz).date() for day in days] == [date(2011, 12, 29), date(2011, 12, 31)]
    database.close()


AMOUNTS = st.none() | st.integers(-(10**12), 10**12)
MINUTES = st.integers(0, 8 * 24 * 60)


@st.composite
def kept_books(draw: st.DrawFn, start: datetime) -> Books:
    """Return books of eight days from `start`, at any minute of them."""

    def moments(most: int) -> list[datetime]:
        return [start + timedelta(minutes=n) for n in draw(st.lists(MINUTES, max_size=most, unique=True))]

    kept = Books()
    for at in moments(6):
        amount = draw(AMOUNTS)
        made = call(at, None if amount is None else abs(amount))
        kept.calls.append(made._replace(voided_at=at if draw(st.integers(0, 5)) == 0 else None))
    for at in moments(4):
        end = draw(st.none() | st.integers(1, 5 * 24 * 60))
        kept.costs.append(cost(at, draw(AMOUNTS), None if end is None else at + timedelta(minutes=end)))
    kept.revenue = [sold(at, draw(AMOUNTS)) for at in moments(4)]
    balance = 0
    for at in sorted(moments(25)):
        balance += draw(st.integers(0, 10**12))
        good = draw(st.integers(0, 5)) > 0
        kept.snapshots.append(mined(at, balance if good else None, draw(st.sampled_from([None, 150.25, 312.84]))))
    return kept


@st.composite
def worlds(draw: st.DrawFn) -> tuple[str, datetime, Books, datetime]:
    """Return a zone, a local midnight in it, books of the eight days from then on, and a moment in or after them."""
    name = draw(st.sampled_from(sorted(ZONES)))
    start = books.local_midnight(ZONES[name] - 3 * DAY, zone(name.strip()))
    return name.strip(), start, draw(kept_books(start)), start + timedelta(minutes=draw(st.integers(60, 12 * 24 * 60)))


def views(database: Database) -> tuple[dict[str, tuple[int, int, int, int]], set[str]]:
    """Return the rows of pnl_daily and the closed days of mining, as a program that knows nothing of ours reads them."""
    # Two SQLite libraries in one process must not have the file open at once.
    database.close()
    connection = sqlite3.connect(database.path)
    rows = connection.execute(
        "SELECT day, revenue_nano, ai_nano, operating_nano, unpriced_calls FROM pnl_daily"
    ).fetchall()
    closed = connection.execute("SELECT day FROM daily_growth WHERE source = 'xmr-mining'").fetchall()
    connection.close()
    return {row[0]: row[1:] for row in rows}, {day for (day,) in closed}


@settings(max_examples=60)
@given(worlds(), st.integers(-1, 8), st.integers(0, 9))
def test_functions_and_views_say_what_a_plain_loop_says(
    world: tuple[str, datetime, Books, datetime], skipped: int, length: int
) -> None:
    name, start, kept, now = world
    tz = zone(name)
    first = start.astimezone(tz).date() + skipped * DAY
    last = first + length * DAY
    begins, ends = books.local_midnight(first, tz), books.local_midnight(last + DAY, tz)
    with tempfile.TemporaryDirectory() as folder:
        database = books.keep(Path(folder) / "x.db", kept, name)
        books.close_days(database, name, now)

        answer = pnl(database, first, last, now)
        rows, closed = views(database)

        ai, unpriced = books.naive_ai(kept, tz, first, last)
        booked, operating = books.naive_booked(kept, tz, first, last), books.naive_operating(kept, tz, first, last)
        mining = books.naive_mined(kept.snapshots, begins, ends, now)
        assert answer.ai_inference_cost_usd * USD == ai
        assert answer.unpriced_calls == unpriced
        assert answer.operating_cost_usd * USD == operating
        assert answer.mining_usd == (None if mining is None else Decimal(mining) / USD) or not kept.snapshots
        assert answer.total_revenue_usd * USD == booked + (mining or 0)
        assert answer.net_pnl_usd == answer.total_revenue_usd - answer.total_costs_usd

        days = [first + n * DAY for n in range(length + 1)]
        seen = [rows.get(day.isoformat(), (0, 0, 0, 0)) for day in days]
        open_days = [day for day in days if day.isoformat() not in closed]
        still_open = sum(
            books.naive_mined(kept.snapshots, books.local_midnight(day, tz), books.local_midnight(day + DAY, tz), now)
            or 0
            for day in open_days
        )
        assert [sum(column) for column in zip(*seen, strict=True)] == [
            booked + (mining or 0) - still_open,
            ai,
            operating,
            unpriced,
        ]
        database.close()


@settings(max_examples=40)
@given(worlds(), st.lists(MINUTES, max_size=4))
def test_parts_of_any_kind_add_up_to_the_nano(world: tuple[str, datetime, Books, datetime], cuts: list[int]) -> None:
    name, start, kept, now = world
    end = start + 9 * DAY
    edges = [start, *sorted(start + timedelta(minutes=cut) for cut in cuts), end]
    with tempfile.TemporaryDirectory() as folder:
        database = books.keep(Path(folder) / "x.db", kept, name)
        books.close_days(database, name, now)

        whole = pnl(database, start, end, now)
        cut = [pnl(database, a, b, now) for a, b in pairwise(edges)]
        with database.read() as connection:
            window = windows.between(start, end, zone(name), now)
            periods = [
                reports.pnl_by(connection, Setup(name), window, period, now) for period in ("day", "week", "month")
            ]

        for parts in (cut, *periods):
            assert sum(part.total_revenue_usd for part in parts) == whole.total_revenue_usd
            assert sum(part.ai_inference_cost_usd for part in parts) == whole.ai_inference_cost_usd
            assert sum(part.operating_cost_usd for part in parts) == whole.operating_cost_usd
            assert sum(part.net_pnl_usd for part in parts) == whole.net_pnl_usd
            assert sum(part.mining_usd or 0 for part in parts) == (whole.mining_usd or 0)
            assert sum(part.unpriced_calls for part in parts) == whole.unpriced_calls
        database.close()


@settings(max_examples=40)
@given(worlds(), st.integers(1, 9))
def test_pruning_changes_no_answer_about_days(world: tuple[str, datetime, Books, datetime], kept_days: int) -> None:
    name, start, kept, now = world
    setup = Setup(name, sources=())
    window = windows.of_days(start.astimezone(setup.tz).date(), (start + 9 * DAY).astimezone(setup.tz).date(), setup.tz)
    with tempfile.TemporaryDirectory() as folder:
        database = books.keep(Path(folder) / "x.db", kept, name)
        books.close_days(database, name, now)
        with database.read() as connection:
            unpruned = reports.pnl_by(connection, setup, window, "day", now)
            before = upkeep.snapshots_prunable_before(connection, kept_days, setup, now)
        revenue = orchestrator.get_revenue_total(db=database, now=now)

        for _ in pruning.prune_calls(database, day_of(now, setup.tz) - kept_days * DAY):
            pass
        for _ in () if before is None else retention.prune_snapshots(database, before, keep_good=snapshots.LEAD):
            pass

        with database.read() as connection:
            assert reports.pnl_by(connection, setup, window, "day", now) == unpruned
        assert orchestrator.get_revenue_total(db=database, now=now) == revenue
        database.close()
