"""Pruning of calls: detail goes, no total and no dimension changes by a nano, and the mark guards what is left."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import apsw
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ledger_world import ACTS, FIRST_DAY, NOW, Act, call, kept_sums, naive_sums, perform

import orchestrator
from orchestrator.ledger import calls, entries, pruning, rollups
from orchestrator.ledger.calls import Call
from orchestrator.ledger.entries import OperatingCost, Revenue
from orchestrator.money import NanoUsd
from orchestrator.periods import zone
from orchestrator.store import meta
from orchestrator.store.database import Database

UTC_ZONE = zone("UTC")
# What answers at day granularity or coarser are made of.
KEPT = ("daily_costs", "daily_totals", "daily_operating_costs", "revenue", "pnl_daily", "costs_daily", "revenue_daily")


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "orchestrator.db")
    yield database
    database.close()


def query(database: Database, statement: str) -> list[tuple[Any, ...]]:
    with database.read() as connection:
        return list(connection.execute(statement))


def fill(database: Database, days: int = 6, each: int = 5) -> None:
    """Store calls on so many days from the first on, of two users."""
    with database.write() as connection:
        many = [
            Call(
                f"{day}-{n}", datetime(2026, 3, 25, 4, tzinfo=UTC) + timedelta(days=day, hours=n),
                model=f"m{n % 2}", user_id=f"u{n % 2}", cost_nano=NanoUsd(10**day * (n + 1)),
            )
            for day in range(days)
            for n in range(each)
        ]  # fmt: skip
        calls.insert_many(connection, many, UTC_ZONE)


def pruned(database: Database, before: date, batch: int = 500) -> list[int]:
    return list(pruning.prune_calls(database, before, batch=batch))


def mark(database: Database) -> str | None:
    with database.read() as connection:
        return meta.get(connection, "pruned_before")


@pytest.mark.parametrize("batch", [1, 4, 5, 10, 500])
def test_days_before_go_and_later_ones_stay(database: Database, batch: int) -> None:
    fill(database)

    steps = pruned(database, date(2026, 3, 27), batch)

    assert sum(steps) == 10
    assert max(steps) <= batch
    assert 0 not in steps
    assert query(database, "SELECT min(day), count(*) FROM ai_calls") == [("2026-03-27", 20)]
    assert query(database, "SELECT min(day) FROM daily_user_costs") == [("2026-03-27",)]
    assert mark(database) == "2026-03-27"


def test_the_number_is_known_before(database: Database) -> None:
    fill(database)

    assert pruning.prunable_calls(database, date(2026, 3, 27)) == 10
    assert pruning.prunable_calls(database, date(2026, 3, 25)) == 0
    assert query(database, "SELECT count(*) FROM ai_calls") == [(30,)]


@settings(max_examples=40)
@given(st.lists(ACTS, max_size=20), st.integers(0, 7), st.integers(1, 5))
def test_no_total_and_no_dimension_changes_by_a_nano(
    tmp_path_factory: pytest.TempPathFactory, acts: list[Act], days: int, batch: int
) -> None:
    database = Database(tmp_path_factory.mktemp("pruning") / "orchestrator.db")
    fill(database, days=0)
    for act in acts:
        perform(database, act, UTC_ZONE)
    with database.write() as connection:
        entries.insert_cost(connection, OperatingCost("c", "hosting", NanoUsd(101), NOW, NOW + timedelta(9)), UTC_ZONE)
        entries.insert_revenue(connection, Revenue("r", "sales", NOW - timedelta(5), NanoUsd(5)), UTC_ZONE)
    before = {table: query(database, f"SELECT * FROM {table}") for table in KEPT}

    pruned(database, FIRST_DAY + timedelta(days=days), batch)

    assert {table: query(database, f"SELECT * FROM {table}") for table in KEPT} == before
    with database.read() as connection:
        kept_from = (FIRST_DAY + timedelta(days=days)).isoformat()
        assert kept_sums(connection, kept_from) == naive_sums(connection, kept_from)
    database.close()


def test_what_was_interrupted_goes_on_the_next_time(database: Database) -> None:
    fill(database)
    totals = query(database, "SELECT * FROM daily_totals")

    next(pruning.prune_calls(database, date(2026, 3, 28), batch=3))
    in_between = mark(database)
    pruned(database, date(2026, 3, 28), batch=3)

    assert in_between == "2026-03-28"
    assert query(database, "SELECT min(day), count(*) FROM ai_calls") == [("2026-03-28", 15)]
    assert query(database, "SELECT * FROM daily_totals") == totals


def test_the_mark_never_goes_back(database: Database) -> None:
    fill(database)
    pruned(database, date(2026, 3, 28))
    with database.write() as connection:
        calls.insert(connection, Call("late", datetime(2026, 3, 20, tzinfo=UTC)), UTC_ZONE)

    pruned(database, date(2026, 3, 26))

    assert mark(database) == "2026-03-28"
    assert query(database, "SELECT min(day) FROM ai_calls") == [("2026-03-28",)]


def test_nothing_to_prune_leaves_no_mark(database: Database) -> None:
    fill(database)

    assert pruned(database, date(2026, 3, 25)) == []

    assert mark(database) is None


def test_a_call_that_comes_late_is_counted_and_pruned_like_the_others(database: Database) -> None:
    fill(database)
    pruned(database, date(2026, 3, 27))

    with database.write() as connection:
        late = Call("late", datetime(2026, 3, 25, 12, tzinfo=UTC), user_id="u", cost_nano=NanoUsd(10**6))
        assert calls.insert(connection, late, UTC_ZONE) == "stored"
    counted = query(database, "SELECT sum(calls), sum(cost_nano) FROM daily_totals WHERE day = '2026-03-25'")
    pruned(database, date(2026, 3, 27))

    assert counted == [(6, 10**6 + 15)]
    assert query(database, "SELECT sum(calls), sum(cost_nano) FROM daily_totals WHERE day = '2026-03-25'") == counted
    assert query(database, "SELECT * FROM daily_user_costs WHERE day < '2026-03-27'") == []


def test_a_call_that_came_late_can_still_be_voided(database: Database) -> None:
    fill(database)
    pruned(database, date(2026, 3, 27))

    with database.write() as connection:
        late = Call("late", datetime(2026, 3, 25, 12, tzinfo=UTC), cost_nano=NanoUsd(10**6))
        calls.insert(connection, late, UTC_ZONE)
        calls.void(connection, "late", NOW)

    assert query(database, "SELECT sum(cost_nano) FROM daily_totals WHERE day = '2026-03-25'") == [(15,)]


def test_somebody_who_deletes_what_the_mark_covers_changes_no_sum(database: Database) -> None:
    fill(database)
    totals = query(database, "SELECT * FROM daily_totals")
    next(pruning.prune_calls(database, date(2026, 3, 28), batch=1))

    connection = apsw.Connection(str(database.path))
    connection.execute("DELETE FROM ai_calls WHERE day < '2026-03-28'")
    connection.close()

    assert query(database, "SELECT * FROM daily_totals") == totals


def test_rebuilding_leaves_pruned_days_alone(database: Database) -> None:
    fill(database)
    pruned(database, date(2026, 3, 28))
    totals = query(database, "SELECT * FROM daily_totals")

    for _ in rollups.rebuild(database, UTC_ZONE):
        pass

    assert query(database, "SELECT * FROM daily_totals") == totals


@pytest.mark.parametrize(
    ("days", "tz", "now", "first"),
    [
        (90, "UTC", datetime(2026, 3, 31, 12, tzinfo=UTC), date(2025, 12, 31)),
        (1, "UTC", datetime(2026, 3, 31, 0, tzinfo=UTC), date(2026, 3, 30)),
        (1, "Asia/Tokyo", datetime(2026, 3, 31, 15, tzinfo=UTC), date(2026, 3, 31)),
        (0, "UTC", datetime(2026, 3, 31, 12, tzinfo=UTC), None),
    ],
)
def test_only_whole_closed_local_days_are_old(days: int, tz: str, now: datetime, first: date | None) -> None:
    assert pruning.first_kept_day(days, zone(tz), now) == first


def test_a_month_of_pruning_makes_the_file_no_larger(database: Database) -> None:
    with database.write() as connection:
        calls.insert_many(connection, [call(n)._replace(call_id=str(n)) for n in range(2000)], UTC_ZONE)
    database.checkpoint()
    size = database.path.stat().st_size

    pruned(database, date(2026, 4, 1))
    database.checkpoint()

    assert database.path.stat().st_size <= size
    assert query(database, "SELECT count(*) FROM ai_calls") == [(0,)]


def test_a_call_that_was_pruned_is_still_recorded_once(database: Database) -> None:
    history: list[dict[str, Any]] = [
        {"service": "s", "model": "m", "cost_usd": 1, "call_id": f"call {n}", "called_at": NOW - timedelta(days=n)}
        for n in range(20)
    ]
    orchestrator.record_calls(history, now=NOW, db=database)
    pruned(database, NOW.date() - timedelta(days=10), batch=3)
    totals = query(database, "SELECT * FROM daily_totals")

    one = orchestrator.record_call(**history[15], now=NOW, db=database)
    without_its_time = orchestrator.record_call(**(history[16] | {"called_at": None}), now=NOW, db=database)
    new: dict[str, Any] = {
        "service": "s",
        "model": "m",
        "cost_usd": 1,
        "call_id": "new",
        "called_at": NOW - timedelta(days=15),
    }
    again = orchestrator.record_calls([*history, new, new], now=NOW, db=database)

    assert (one.outcome, without_its_time.outcome) == ("duplicate", "duplicate")
    assert [each.outcome for each in again] == ["duplicate"] * 20 + ["stored", "duplicate"]
    assert [each.id for each in again][:20] == [f"call {n}" for n in range(20)]
    assert query(database, "SELECT sum(calls), sum(cost_nano) FROM daily_totals") == [(21, 21 * 10**9)]
    pruned(database, NOW.date() - timedelta(days=10))
    assert orchestrator.record_call(**new, now=NOW, db=database).outcome == "duplicate"
    assert len(totals) == 20


def test_a_call_that_was_pruned_is_stored_once_also_from_the_spool(database: Database) -> None:
    call: dict[str, Any] = {
        "service": "s",
        "model": "m",
        "cost_usd": 1,
        "call_id": "a",
        "called_at": NOW - timedelta(days=20),
    }
    orchestrator.record_call(**call, now=NOW, db=database)
    pruned(database, NOW.date() - timedelta(days=10))
    blocker = apsw.Connection(str(database.path))
    blocker.execute("BEGIN IMMEDIATE")
    spooled = orchestrator.record_call(**call, now=NOW, db=database)
    blocker.close()

    orchestrator.record_call(service="s", model="m", cost_usd=1, now=NOW, db=database)

    assert spooled.outcome == "spooled"
    assert query(database, "SELECT sum(calls) FROM daily_totals") == [(2,)]
