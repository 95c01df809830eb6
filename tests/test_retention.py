"""Pruning: what goes, what stays, and that nobody has to wait for it."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import perf_counter

import pytest

from orchestrator.periods import text_from_instant
from orchestrator.store import meta
from orchestrator.store.database import Database
from orchestrator.store.retention import SNAPSHOTS_PRUNED_BEFORE, prunable_snapshots, prune_snapshots

CUT = datetime(2026, 8, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "orchestrator.db")
    yield database
    database.close()


def fill(database: Database, hours: dict[int, bool], source: str = "xmr-mining", raw_json: str = "{}") -> None:
    """Store a snapshot at so many hours after the cut; True is a good one."""
    with database.write() as connection:
        connection.executemany(
            """
            INSERT INTO revenue_snapshots (source, collected_at, balance_atomic, paid_atomic, requests_served, raw_json)
            VALUES (?, ?, ?, ?, ?, ?)
            """,
            [
                (source, text_from_instant(CUT + hour * HOUR), *([1 if good else None] * 3), raw_json)
                for hour, good in hours.items()
            ],
        )


def left(database: Database, source: str = "xmr-mining") -> list[int]:
    """Return the hours of the rows that are left."""
    with database.read() as connection:
        rows = connection.execute(
            "SELECT collected_at FROM revenue_snapshots WHERE source = ? ORDER BY collected_at", (source,)
        ).fetchall()
    return [(datetime.fromisoformat(str(at)) - CUT) // HOUR for (at,) in rows]


def mark(database: Database) -> str | None:
    with database.read() as connection:
        return meta.get(connection, SNAPSHOTS_PRUNED_BEFORE)


def test_a_row_goes_only_when_the_mark_is_already_raised_over_it(database: Database) -> None:
    fill(database, dict.fromkeys(range(-20, 0), True))
    with database.write() as connection:
        connection.execute("CREATE TABLE seen (mark)")
        connection.execute(
            f"""
            CREATE TRIGGER look BEFORE DELETE ON revenue_snapshots
            BEGIN
                INSERT INTO seen VALUES ((SELECT value FROM meta WHERE key = '{SNAPSHOTS_PRUNED_BEFORE}'));
            END
            """
        )

    removed = sum(prune_snapshots(database, CUT, keep_good=3, batch=5))

    with database.read() as connection:
        marks = [at for (at,) in connection.execute("SELECT mark FROM seen")]
    assert marks == [text_from_instant(CUT)] * removed != []


def test_what_is_older_goes_and_what_is_not_stays(database: Database) -> None:
    fill(database, dict.fromkeys(range(-20, 20), True))

    removed = sum(prune_snapshots(database, CUT, keep_good=3))

    assert removed == 17
    assert left(database) == list(range(-3, 20))
    assert mark(database) == "2026-08-01T00:00:00.000Z"


def test_the_newest_good_rows_before_the_cut_stay_for_the_growth_after_it(database: Database) -> None:
    fill(database, {-9: True, -8: True, -7: True, -6: False, -5: True, -4: False, 1: True, 2: False, 30: True})

    sum(prune_snapshots(database, CUT, keep_good=2))

    assert left(database) == [-7, -5, 1, 2, 30]


@pytest.mark.parametrize(("hours_before", "stays"), [(3, True), (24, True), (25, False)])
def test_the_last_price_that_may_be_in_force_after_the_cut_stays(
    database: Database, hours_before: int, stays: bool
) -> None:
    fill(database, {-hours_before: False, -1: False, 1: True})
    with database.write() as connection:
        connection.execute(
            "UPDATE revenue_snapshots SET xmr_price_usd = 200.0 WHERE collected_at <= ?",
            (text_from_instant(CUT - hours_before * HOUR),),
        )

    counted = prunable_snapshots(database, CUT, keep_good=3)
    removed = sum(prune_snapshots(database, CUT, keep_good=3))

    assert left(database) == ([-hours_before, 1] if stays else [1])
    assert removed == counted


def test_a_source_that_failed_ever_since_keeps_its_newest_good_rows(database: Database) -> None:
    fill(database, {-90: True, -80: True, -70: True, -60: True, -50: False})
    fill(database, {-90: False, -80: True, -10: False, 5: False}, "mlx-api")
    fill(database, {-90: False}, "gpu-rental")

    sum(prune_snapshots(database, CUT, keep_good=3))

    assert left(database) == [-80, -70, -60]
    assert left(database, "mlx-api") == [-80, 5]
    assert left(database, "gpu-rental") == [-90]


def test_a_row_without_a_time_stays(database: Database) -> None:
    with database.write() as connection:
        connection.execute("INSERT INTO revenue_snapshots (source) VALUES ('xmr-mining')")
    fill(database, {-9: False})

    assert sum(prune_snapshots(database, CUT, keep_good=3)) == 1
    with database.read() as connection:
        assert connection.execute("SELECT count(id) FROM revenue_snapshots").get == 1


def test_counting_says_what_pruning_does_and_changes_nothing(database: Database) -> None:
    fill(database, {hour: hour % 3 != 0 for hour in range(-700, 50)})
    fill(database, dict.fromkeys(range(-700, 50), False), "mlx-api")
    before = database.version()

    counted = prunable_snapshots(database, CUT, keep_good=3)

    assert database.version() == before
    assert mark(database) is None
    assert counted == sum(prune_snapshots(database, CUT, keep_good=3, batch=100))
    assert prunable_snapshots(database, CUT, keep_good=3) == 0


def test_pruning_again_changes_nothing_and_the_mark_never_falls(database: Database) -> None:
    fill(database, dict.fromkeys(range(-200, 200), False))
    list(prune_snapshots(database, CUT + 48 * HOUR, keep_good=3))
    before = database.version()

    assert list(prune_snapshots(database, CUT + 48 * HOUR, keep_good=3)) == []
    assert list(prune_snapshots(database, CUT, keep_good=3)) == []

    assert database.version() == before
    assert mark(database) == "2026-08-03T00:00:00.000Z"


def test_the_mark_is_raised_with_the_first_rows_that_go(database: Database) -> None:
    fill(database, dict.fromkeys(range(-200, 0), False))

    steps = prune_snapshots(database, CUT, keep_good=3, batch=10)
    next(steps)

    assert mark(database) == "2026-08-01T00:00:00.000Z"
    assert len(left(database)) == 190


def test_others_write_between_the_steps(database: Database) -> None:
    fill(database, dict.fromkeys(range(-200, 0), False))

    for number, _ in enumerate(prune_snapshots(database, CUT, keep_good=3, batch=50)):
        fill(database, {number: True})

    assert left(database) == [0, 1, 2, 3]


def test_a_step_is_short_also_when_the_rows_are_large(database: Database) -> None:
    fill(database, dict.fromkeys(range(-3000, 0), False), raw_json="x" * 16_000)
    durations = []

    began = perf_counter()
    for _ in prune_snapshots(database, CUT, keep_good=3):
        durations.append(perf_counter() - began)
        began = perf_counter()

    # About 10 ms each; the bound is for a loaded machine.
    assert sorted(durations)[len(durations) // 2] < 0.2


def test_another_writer_gets_its_turn_while_rows_are_pruned(database: Database) -> None:
    fill(database, dict.fromkeys(range(-20_000, 0), False))
    other = Database(database.path)
    waits: list[float] = []
    done = threading.Event()

    def collect() -> None:
        number = 0
        while not done.is_set():
            number += 1
            began = perf_counter()
            fill(other, {number: True})
            waits.append(perf_counter() - began)

    collector = threading.Thread(target=collect)
    collector.start()
    list(prune_snapshots(database, CUT, keep_good=3))
    done.set()
    collector.join()
    other.close()

    assert left(database) == list(range(1, len(waits) + 1))
    assert max(waits) < 1
