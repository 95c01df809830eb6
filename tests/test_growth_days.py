"""Closed days: what they hold, when they close and change, and that any window made of them equals the raw growth."""

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator import growth
from orchestrator.growth import READINGS_THAT_CONVINCE
from orchestrator.ledger import growth_days, growth_windows, snapshots
from orchestrator.ledger.readings import Grown
from orchestrator.ledger.snapshots import MLX_API, XMR_MINING, Snapshot
from orchestrator.periods import day_bounds, millis, text_from_instant, zone
from orchestrator.store import meta, retention
from orchestrator.store.database import Database

UTC_ZONE = zone("UTC")
START = datetime(2026, 3, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
PRICE = 200.0


def mined(at: datetime, balance: int | None, paid: int | None = 0, price: float | None = PRICE) -> Snapshot:
    return Snapshot(XMR_MINING, at, balance_atomic=balance, paid_atomic=paid, xmr_price_usd=price)


def served(at: datetime, requests: int | None, tokens: int | None = None) -> Snapshot:
    return Snapshot(MLX_API, at, requests_served=requests, tokens_generated=tokens)


def store(database: Database, rows: list[Snapshot]) -> None:
    with database.write() as connection:
        for row in rows:
            snapshots.insert(connection, row)


def close_all(database: Database, now: datetime, source: str = XMR_MINING, tz: str = "UTC") -> list[date]:
    closed: list[date] = []
    while True:
        with database.write() as connection:
            days = growth_days.close_days(connection, source, zone(tz), 300, now)
        if not days:
            return closed
        closed += days


def rows(database: Database, source: str = XMR_MINING) -> dict[date, Grown]:
    with database.read() as connection:
        return growth_days.day_rows(connection, source, date(1990, 1, 1), date(2100, 1, 1))


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return Database(tmp_path / "orchestrator.db")


def test_a_day_closes_when_three_good_samples_lie_after_its_end(database: Database) -> None:
    store(database, [mined(START + n * HOUR, 10**9 * n) for n in range(25)])
    now = START + timedelta(hours=26)
    assert close_all(database, now) == []

    store(database, [mined(START + timedelta(hours=24, minutes=5 * n), 24 * 10**9) for n in (1, 2)])
    assert close_all(database, now) == []

    store(database, [mined(START + timedelta(hours=24, minutes=15), 24 * 10**9)])
    assert close_all(database, now) == [START.date()]
    assert rows(database) == {
        START.date(): Grown(24 * 10**9, 24 * 200 * 10**6, 0, None, None, 86_400, "exact"),
    }


def test_a_day_without_samples_after_it_closes_after_two_days(database: Database) -> None:
    store(database, [mined(START + n * HOUR, 10**9 * n) for n in range(24)])
    end = START + timedelta(days=1)

    assert close_all(database, end + timedelta(hours=48) - timedelta(seconds=1)) == []
    assert close_all(database, end + timedelta(hours=48)) == [START.date()]
    assert rows(database)[START.date()].covered_seconds == 23 * 3600


def test_days_of_a_gap_are_estimates_once_the_gap_has_closed(database: Database) -> None:
    store(database, [mined(START, 0), mined(START + HOUR, 0)])
    assert close_all(database, START + timedelta(days=3, hours=2)) == [START.date()]
    assert rows(database)[START.date()].flag == "exact"

    store(database, [mined(START + timedelta(days=4, hours=1), 96 * 10**9)])
    closed = close_all(database, START + timedelta(days=6))

    assert closed == [START.date() + timedelta(days=n) for n in range(4)]
    days = rows(database)
    assert [days[START.date() + timedelta(days=n)].earned_atomic for n in range(4)] == [
        23 * 10**9, 24 * 10**9, 24 * 10**9, 24 * 10**9
    ]  # fmt: skip
    assert {days[START.date() + timedelta(days=n)].flag for n in range(4)} == {"estimated"}


def test_a_closed_day_changes_when_a_late_row_says_more_and_not_when_a_null_row_comes(database: Database) -> None:
    store(database, [mined(START + n * HOUR, 10**9 * n) for n in range(30)])
    now = START + timedelta(hours=30)
    assert close_all(database, now) == [START.date()]

    store(database, [mined(START + timedelta(hours=2, minutes=30), None, None, None)])
    assert close_all(database, now) == []

    store(database, [mined(START + timedelta(hours=23, minutes=59), 24 * 10**9)])
    assert close_all(database, now) == [START.date()]
    assert rows(database)[START.date()].earned_atomic == 24 * 10**9


def test_a_closed_day_stays_as_it_is_once_its_snapshots_were_pruned(database: Database) -> None:
    store(database, [mined(START + n * HOUR, 10**9 * n) for n in range(60)])
    now = START + timedelta(hours=60)
    close_all(database, now)
    before = rows(database)
    with database.write() as connection:
        meta.put(connection, "snapshots_pruned_before", text_from_instant(START + timedelta(days=1)))
        connection.execute("DELETE FROM revenue_snapshots WHERE collected_at < :day", {"day": "2026-03-02"})
    store(database, [mined(START + timedelta(hours=5), 77 * 10**9)])

    close_all(database, now)

    assert rows(database)[START.date()] == before[START.date()]


def test_days_of_failures_only_are_unknown_and_not_zero(database: Database) -> None:
    store(database, [mined(START + n * HOUR, None, None, None) for n in range(24)])

    assert close_all(database, START + timedelta(days=3)) == [START.date()]
    assert rows(database) == {START.date(): Grown(None, None, None, None, None, 0, "unknown")}


def test_served_requests_and_tokens_count_across_a_restart(database: Database) -> None:
    counts = [(0, 0), (10, 100), (20, 200), (3, 30), (13, 130)]
    store(database, [served(START + n * HOUR, *count) for n, count in enumerate(counts)])
    store(database, [served(START + timedelta(hours=24 + n), 13, 130) for n in (1, 2, 3)])

    close_all(database, START + timedelta(hours=28), MLX_API)

    day = rows(database, MLX_API)[START.date()]
    assert (day.requests, day.tokens, day.flag) == (33, 330, "estimated")


def test_a_window_in_pruned_days_is_their_share_and_an_estimate(database: Database) -> None:
    store(database, [mined(START + n * HOUR, 10**9 * n) for n in range(60)])
    now = START + timedelta(hours=60)
    close_all(database, now)
    with database.write() as connection:
        meta.put(connection, "snapshots_pruned_before", text_from_instant(START + timedelta(days=2)))
        connection.execute("DELETE FROM revenue_snapshots WHERE collected_at < :day", {"day": "2026-03-03"})

    with database.read() as connection:
        part = growth_windows.window(connection, XMR_MINING, START, START + timedelta(hours=36), UTC_ZONE, 300, now)

    assert (part.earned_atomic, part.flag) == (36 * 10**9, "estimated")


def test_years_of_history_close_in_pieces(database: Database) -> None:
    store(database, [mined(START + timedelta(days=n), 10**9 * n) for n in range(60)])

    with database.write() as connection:
        first = growth_days.close_days(connection, XMR_MINING, UTC_ZONE, 86_400, START + timedelta(days=59), most=16)
    rest = close_all(database, START + timedelta(days=59))

    assert len(first) == 16
    assert len(first + rest) == len(set(first + rest)) == 57


balances = st.one_of(st.none(), st.integers(0, 10**12))
readings = st.lists(
    st.tuples(st.integers(0, 6 * 24 * 60), balances, st.one_of(st.none(), st.sampled_from([0, 10**11])), st.sampled_from([None, 150.0, 410.25])),
    min_size=2, max_size=40, unique_by=lambda reading: reading[0],
)  # fmt: skip


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    readings,
    st.lists(st.integers(0, 6 * 24 * 60), min_size=2, max_size=6).map(sorted),
    st.sampled_from(["UTC", "Asia/Kathmandu", "Asia/Beirut"]),
)
def test_windows_over_closed_days_add_up_and_equal_the_raw_growth(
    tmp_path_factory: pytest.TempPathFactory,
    samples: list[tuple[int, int | None, int | None, float | None]],
    edges: list[int],
    name: str,
) -> None:
    start = datetime(2026, 3, 26, tzinfo=UTC)
    now = start + timedelta(days=6)
    tz = zone(name)
    database = Database(tmp_path_factory.mktemp("days") / "orchestrator.db")
    # In the order of the draw, closing in between: late rows arrive, and change what was closed.
    for i in range(0, len(samples), 10):
        store(database, [mined(start + timedelta(minutes=m), b, p, price) for m, b, p, price in samples[i : i + 10]])
        close_all(database, now, tz=name)
    whole = growth.mining(
        [(millis(start + timedelta(minutes=m)), b, p, None if price is None else round(price * 10**9)) for m, b, p, price in samples],
        growth.max_gap_ms(300),
    )  # fmt: skip
    moments = [start + timedelta(minutes=m) for m in edges]

    with database.read() as connection:
        parts = [growth_windows.window(connection, XMR_MINING, a, b, tz, 300, now) for a, b in pairwise(moments)]
        total = growth_windows.window(connection, XMR_MINING, moments[0], moments[-1], tz, 300, now)
    database.close()

    assert sum(part.earned_atomic or 0 for part in parts) == (total.earned_atomic or 0)
    assert sum(part.earned_nano or 0 for part in parts) == (total.earned_nano or 0)
    expected = growth.growth(whole.atomic, millis(moments[0]), millis(moments[-1])).amount
    assert total.earned_atomic == expected


def test_every_day_row_equals_the_growth_of_the_whole_list(database: Database) -> None:
    samples = [(START + timedelta(minutes=7 * n), 10**8 * n) for n in range(1500)]
    store(database, [mined(at, balance) for at, balance in samples])
    close_all(database, START + timedelta(days=8))
    whole = growth.mining([(millis(at), balance, 0, 200 * 10**9) for at, balance in samples], growth.max_gap_ms(300))

    kept = rows(database)

    assert len(kept) == 7
    for day, row in kept.items():
        a, b = map(millis, day_bounds(day, UTC_ZONE))
        assert row.earned_atomic == growth.growth(whole.atomic, a, b).amount
        assert row.earned_nano == growth.growth(whole.nano, a, b).amount
        assert row.covered_seconds == growth.covered_ms(whole.atomic, a, b) // 1000


def test_pruning_changes_no_window_that_begins_where_it_ended(database: Database) -> None:
    samples = [(START + timedelta(minutes=17 * n), 10**8 * n) for n in range(400)]
    store(database, [mined(at, balance) for at, balance in samples])
    now = START + timedelta(days=5)
    close_all(database, now)
    cut = START + timedelta(days=2)
    starts = [cut - timedelta(days=1), cut, cut + timedelta(minutes=5), cut + timedelta(hours=30)]
    ends = [cut, cut + timedelta(minutes=30), cut + timedelta(hours=20), now]
    windows = [(a, b) for a in starts for b in ends if a < b]

    def grown() -> list[Grown]:
        with database.read() as connection:
            return [growth_windows.window(connection, XMR_MINING, a, b, UTC_ZONE, 300, now) for a, b in windows]

    before = grown()
    assert sum(retention.prune_snapshots(database, cut, keep_good=READINGS_THAT_CONVINCE)) > 100
    assert grown() == before


def test_a_growth_that_cannot_be_is_unknown_and_closes_its_day(database: Database) -> None:
    counts = [0, 9 * 10**18, 5, 9 * 10**18, 7] + [10] * 30
    store(database, [served(START + n * HOUR, count, 0) for n, count in enumerate(counts)])
    store(database, [mined(START + n * HOUR, 9 * 10**18 if n == 3 else 1000 + n, 0, 99_999.0) for n in range(35)])

    close_all(database, START + timedelta(hours=35))
    close_all(database, START + timedelta(hours=35), MLX_API)

    assert rows(database, MLX_API)[START.date()].requests is None
    assert rows(database)[START.date()].earned_atomic == 24


def test_tokens_that_were_silent_over_midnight_are_counted_in_full(database: Database) -> None:
    silent = range(23, 34)
    store(database, [served(START + n * HOUR, n, None if n in silent else 100 * n) for n in range(34)])
    close_all(database, START + timedelta(hours=33), MLX_API)
    store(database, [served(START + n * HOUR, n, 100 * n) for n in range(34, 50)])
    now = START + timedelta(hours=49)
    close_all(database, now, MLX_API)

    with database.read() as connection:
        whole = growth_windows.window(connection, MLX_API, START, now, UTC_ZONE, 300, now)

    day = rows(database, MLX_API)[START.date()]
    assert (day.tokens, day.flag) == (2400, "estimated")
    assert whole.tokens == 4900


def test_days_that_a_fast_clock_closed_are_taken_back(database: Database) -> None:
    store(database, [mined(START + n * HOUR, 10**9 * n) for n in range(30)])
    close_all(database, START + timedelta(hours=30))
    ahead = START + timedelta(days=400)
    store(database, [mined(ahead, 40 * 10**9)])
    assert len(close_all(database, ahead + timedelta(days=3))) > 300

    store(database, [mined(START + n * HOUR, 10**9 * n) for n in range(31, 80)])
    close_all(database, START + timedelta(hours=80))

    days = rows(database)
    assert sorted(days) == [START.date() + timedelta(days=n) for n in range(3)]
    assert [day.earned_atomic for day in days.values()] == [24 * 10**9] * 3
    assert {day.flag for day in days.values()} == {"exact"}


def test_a_row_of_a_machine_without_a_clock_makes_no_days(database: Database) -> None:
    store(database, [mined(START + n * HOUR, 10**9 * n) for n in range(30)])
    store(database, [mined(datetime(1970, 1, 1, 0, 5, tzinfo=UTC), 5)])

    close_all(database, START + timedelta(hours=30))

    assert {day: row.earned_atomic for day, row in rows(database).items()} == {START.date(): 24 * 10**9}


def test_a_window_that_ends_between_readings_that_count_is_an_estimate(database: Database) -> None:
    store(database, [mined(START, 1000), mined(START + 1.5 * HOUR, 400), mined(START + 3 * HOUR, 1300)])
    now = START + 3 * HOUR

    with database.read() as connection:
        grown = growth_windows.window(connection, XMR_MINING, START, START + 2 * HOUR, UTC_ZONE, 300, now)

    assert (grown.earned_atomic, grown.flag) == (200, "estimated")
