"""Closed days held against their snapshots, and made anew, also in another zone: nothing is lost and nothing counted twice."""

import random
import tempfile
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator import upkeep
from orchestrator.errors import Overtaken
from orchestrator.ledger import calls, growth_days, growth_rollups, rollups, snapshots
from orchestrator.ledger.calls import Call
from orchestrator.ledger.growth_rollups import GrowthDifference
from orchestrator.ledger.readings import Grown
from orchestrator.ledger.setup import Setup
from orchestrator.ledger.setup import write as write_setup
from orchestrator.ledger.snapshots import LEAD, MLX_API, XMR_MINING, Snapshot
from orchestrator.money import NanoUsd
from orchestrator.periods import day_start, zone
from orchestrator.store import meta
from orchestrator.store.database import Database
from orchestrator.store.retention import prune_snapshots

START = datetime(2026, 3, 24, tzinfo=UTC)
LATER = START + timedelta(days=30)
ZONES = (
    "UTC", "Europe/Vienna", "Asia/Kolkata", "America/Sao_Paulo", "Pacific/Kiritimati", "Etc/GMT+12", "Australia/Lord_Howe",
)  # fmt: skip

Rows = dict[str, dict[date, Grown]]


def make(path: Path, timezone: str = "UTC") -> Database:
    database = Database(path / "orchestrator.db")
    with database.write() as connection:
        write_setup(connection, Setup(timezone, sources=(XMR_MINING, MLX_API)))
    return database


def store(database: Database, rows: list[Snapshot]) -> None:
    with database.write() as connection:
        for row in rows:
            snapshots.insert(connection, row)


def mined(at: datetime, balance: int) -> Snapshot:
    return Snapshot(XMR_MINING, at, balance, 0, xmr_price_usd=200.0)


def steadily(days: int, every: timedelta = timedelta(hours=1)) -> list[Snapshot]:
    return [mined(START + n * every, 10**9 * n) for n in range(int(timedelta(days=days) / every) + 1)]


def close(database: Database, timezone: str, now: datetime) -> None:
    for source in (XMR_MINING, MLX_API):
        closed = True
        while closed:
            with database.write() as connection:
                closed = bool(growth_days.close_days(connection, source, zone(timezone), 300, now))


def rows(database: Database) -> Rows:
    with database.read() as connection:
        return {
            source: growth_days.day_rows(connection, source, date.min, date.max) for source in (XMR_MINING, MLX_API)
        }


def verify(database: Database, timezone: str = "UTC", now: datetime = LATER) -> list[GrowthDifference]:
    with database.read() as connection:
        return growth_rollups.verify(connection, zone(timezone), 300, now)


def rebuild(database: Database, timezone: str = "UTC", now: datetime = LATER) -> None:
    list(growth_rollups.rebuild(database, zone(timezone), 300, now))


def change(database: Database, statement: str) -> None:
    with database.write() as connection:
        connection.execute(statement)


def totals(kept: Rows) -> list[int]:
    return [
        sum(getattr(row, name) or 0 for row in of_source.values())
        for of_source in kept.values()
        for name in ("earned_atomic", "earned_nano", "unpriced_atomic", "requests", "tokens")
    ]


def test_days_that_are_as_their_snapshots_make_them_do_not_differ(tmp_path: Path) -> None:
    database = make(tmp_path)
    store(database, steadily(5))
    close(database, "UTC", LATER)

    assert len(rows(database)[XMR_MINING]) == 6
    assert verify(database) == []


@pytest.mark.parametrize(
    ("statement", "column", "kept"),
    [
        ("UPDATE daily_growth SET earned_nano = earned_nano + 1 WHERE day = '2026-03-25'", "earned_nano", 4_800_000_001),
        ("UPDATE daily_growth SET earned_atomic = NULL WHERE day = '2026-03-25'", "earned_atomic", None),
        ("UPDATE daily_growth SET flag = 'estimated' WHERE day = '2026-03-25'", "flag", "estimated"),
        ("DELETE FROM daily_growth WHERE day = '2026-03-25'", "covered_seconds", None),
    ],
)  # fmt: skip
def test_a_day_that_somebody_changed_differs_until_it_is_rebuilt(
    tmp_path: Path, statement: str, column: str, kept: int | str | None
) -> None:
    database = make(tmp_path)
    store(database, steadily(5))
    close(database, "UTC", LATER)
    right = rows(database)

    change(database, statement)

    found = {one.column: one for one in verify(database)}
    assert (found[column].source, found[column].day, found[column].kept) == (XMR_MINING, date(2026, 3, 25), kept)
    rebuild(database)
    assert verify(database) == []
    assert rows(database) == right


def test_a_day_that_no_snapshot_knows_of_differs_until_it_is_rebuilt(tmp_path: Path) -> None:
    database = make(tmp_path)
    store(database, steadily(5))
    close(database, "UTC", LATER)
    right = rows(database)

    change(
        database,
        "INSERT INTO daily_growth (day, source, earned_atomic, earned_nano, covered_seconds, flag)"
        " VALUES ('2026-04-20', 'xmr-mining', 7, 7, 0, 'exact')",
    )

    assert {(one.column, one.kept, one.counted) for one in verify(database)} >= {("earned_atomic", 7, None)}
    rebuild(database)
    assert rows(database) == right


def test_snapshots_that_nobody_has_looked_at_yet_are_no_difference(tmp_path: Path) -> None:
    database = make(tmp_path)
    store(database, steadily(5)[::2])
    close(database, "UTC", LATER)

    store(database, [mined(START + timedelta(days=2, hours=7), 10**10)])

    assert verify(database) == []


def test_days_before_the_mark_of_pruning_are_neither_held_against_anything_nor_rebuilt(tmp_path: Path) -> None:
    database = make(tmp_path)
    store(database, steadily(20))
    close(database, "UTC", LATER)
    assert sum(prune_snapshots(database, START + timedelta(days=10), keep_good=LEAD)) > 200
    change(database, "UPDATE daily_growth SET earned_atomic = 1 WHERE day < '2026-04-03'")
    changed = rows(database)

    assert verify(database) == []
    rebuild(database)
    assert rows(database) == changed


def test_in_another_zone_the_days_before_the_mark_stay_and_nothing_is_counted_twice_or_lost(tmp_path: Path) -> None:
    database = make(tmp_path)
    store(database, steadily(20))
    close(database, "UTC", LATER)
    sum(prune_snapshots(database, START + timedelta(days=10), keep_good=LEAD))
    before = rows(database)[XMR_MINING]

    rebuild(database, "America/New_York")

    after = rows(database)[XMR_MINING]
    mark = date(2026, 4, 3)
    assert {day: row for day, row in after.items() if day < mark} == {d: row for d, row in before.items() if d < mark}
    # The first day after the mark goes on until midnight in New York: 28 hours.
    assert (after[mark].earned_atomic, after[mark].covered_seconds) == (28 * 10**9, 28 * 3600)
    assert after[mark + timedelta(days=1)].earned_atomic == 24 * 10**9
    assert verify(database, "America/New_York") == []


def test_the_longer_day_after_a_change_of_zone_is_pruned_as_a_whole(tmp_path: Path) -> None:
    database = make(tmp_path)
    store(database, steadily(20))
    close(database, "UTC", LATER)
    sum(prune_snapshots(database, START + timedelta(days=10), keep_good=LEAD))
    rebuild(database, "America/New_York")
    before = totals(rows(database))
    setup = Setup("America/New_York", sources=(XMR_MINING,))
    # In New York the day that begins with the mark has its own midnight four hours after it.
    now = day_start(date(2026, 4, 13), setup.tz) + timedelta(hours=1)

    marks = []
    for days in (10, 9):
        with database.read() as connection:
            mark = upkeep.snapshots_prunable_before(connection, days, setup, now)
        marks.append(mark)
        if mark is not None:
            sum(prune_snapshots(database, mark, keep_good=LEAD))
        assert verify(database, "America/New_York") == []
        rebuild(database, "America/New_York")
        assert totals(rows(database)) == before

    assert marks == [None, day_start(date(2026, 4, 4), setup.tz)]


def test_who_still_thinks_of_the_old_zone_closes_no_day(tmp_path: Path) -> None:
    database = make(tmp_path)
    store(database, steadily(5))
    rebuild(database, "Asia/Kolkata")
    kept = rows(database)
    change(database, "DELETE FROM daily_growth WHERE day >= '2026-03-26'")
    change(database, "UPDATE meta SET value = '2026-03-26' WHERE key = 'growth_from:xmr-mining'")

    close(database, "UTC", LATER)
    assert len(rows(database)[XMR_MINING]) == 2

    close(database, "Asia/Kolkata", LATER)
    assert rows(database) == kept


def test_a_rebuild_that_was_interrupted_is_completed_by_whoever_closes_days(tmp_path: Path) -> None:
    database = make(tmp_path)
    store(database, steadily(40))
    now = LATER + timedelta(days=30)
    close(database, "UTC", now)
    right = rows(database)

    next(growth_rollups.rebuild(database, zone("UTC"), 300, now))

    assert len(rows(database)[XMR_MINING]) < len(right[XMR_MINING])
    assert verify(database, now=now) == []
    close(database, "UTC", now)
    assert rows(database) == right


def test_the_zone_is_the_files_from_the_first_step_on(tmp_path: Path) -> None:
    database = make(tmp_path)
    store(database, steadily(5))

    next(growth_rollups.rebuild(database, zone("Asia/Kolkata"), 300, LATER))

    with database.read() as connection:
        assert meta.get(connection, "timezone") == "Asia/Kolkata"


@pytest.mark.parametrize("steps", [1, 2, 4, 7, 10])
@pytest.mark.parametrize("finished", [True, False])
def test_a_rebuild_gives_way_to_a_later_one_in_another_zone(tmp_path: Path, steps: int, finished: bool) -> None:
    database = make(tmp_path)
    store(database, steadily(5))
    close(database, "UTC", LATER)
    with database.write() as connection:
        several = [Call(f"c{n}", START + n * timedelta(hours=5), cost_nano=NanoUsd(1)) for n in range(20)]
        calls.insert_many(connection, several, zone("UTC"))

    def whole(timezone: str) -> Iterator[object]:
        yield from growth_rollups.rebuild(database, zone(timezone), 300, LATER)
        yield from rollups.rebuild(database, zone(timezone), batch=6, begun=True)

    first, second = whole("Asia/Kolkata"), whole("America/New_York")
    list(islice(first, steps))
    if finished:
        list(second)
    else:
        next(second)

    with pytest.raises(Overtaken, match="America/New_York"):
        list(first)
    list(second)
    with database.read() as connection:
        assert rollups.unfinished(connection) is None
        assert rollups.verify(connection, zone("America/New_York")) == []
    assert verify(database, "America/New_York") == []


def history(chance: random.Random) -> list[Snapshot]:
    """Return readings of two weeks, with gaps, payouts, torn and failed readings, restarts, and prices that are missing."""
    at, balance, paid, requests, tokens = START + timedelta(hours=5, minutes=7), 10**11, 0, 100, 1000
    found: list[Snapshot] = []
    for _ in range(chance.randint(1, 60)):
        at += chance.choice([timedelta(minutes=5), timedelta(hours=1), timedelta(hours=7), timedelta(hours=31)])
        price = chance.choice([200.0, 201.5, None])
        match chance.choice(["grows", "grows", "grows", "pays", "torn", "fails", "restarts"]):
            case "grows":
                balance, requests, tokens = balance + chance.randint(0, 10**10), requests + 3, tokens + 70
            case "pays":
                paid, balance = paid + balance - 10**6, 10**6
            case "torn":
                found.append(Snapshot(XMR_MINING, at, balance - 1, paid, xmr_price_usd=price))
                continue
            case "fails":
                found.append(Snapshot(XMR_MINING, at, None, None, xmr_price_usd=price, error="silent"))
                continue
            case "restarts":
                requests = tokens = 1
        found.append(Snapshot(XMR_MINING, at, balance, paid, xmr_price_usd=price))
        found.append(Snapshot(MLX_API, at, requests_served=requests, tokens_generated=tokens))
    return found


def known(kept: Rows) -> Rows:
    return {
        source: {day: row for day, row in of_days.items() if row.flag != "unknown"} for source, of_days in kept.items()
    }


# Seeds, because the shape of a history says little and shrinking one of a hundred readings takes minutes.
@given(
    seed=st.integers(0, 10**9), closings=st.lists(st.integers(0, 15 * 24), max_size=3), kept=st.none() | st.integers(1, 14),
    zones=st.lists(st.sampled_from(ZONES), min_size=2, max_size=3),
)  # fmt: skip
@settings(max_examples=60)
def test_whatever_was_collected_closed_and_pruned_days_verify_and_move_between_zones_without_loss(
    seed: int, closings: list[int], kept: int | None, zones: list[str]
) -> None:
    readings = history(random.Random(seed))
    with tempfile.TemporaryDirectory() as folder:
        database = make(Path(folder), zones[0])
        now = START
        for hours in [*sorted(closings), 60 * 24]:
            later = START + timedelta(hours=hours)
            store(database, [row for row in readings if now <= row.collected_at < later])
            now = later
            close(database, zones[0], now)
        if kept is not None:
            cut = day_start(START.date() + timedelta(days=kept), zone(zones[0]))
            sum(prune_snapshots(database, cut, keep_good=LEAD))
        assert verify(database, zones[0], now) == []
        original = rows(database)

        for name in [*zones[1:], zones[0]]:
            rebuild(database, name, now)
            assert verify(database, name, now) == []
            assert totals(rows(database)) == totals(original)

        assert known(rows(database)) == known(original)
        database.close()
