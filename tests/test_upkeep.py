"""What may be pruned, and when."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from writers import with_writer

from orchestrator import upkeep
from orchestrator.config import Config
from orchestrator.config.sections import Revenue
from orchestrator.growth import READINGS_THAT_CONVINCE
from orchestrator.ledger.setup import Setup
from orchestrator.ledger.snapshots import Snapshot
from orchestrator.store.database import Database

NOW = datetime(2026, 11, 21, 19, tzinfo=UTC)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    one = Database(tmp_path / "orchestrator.db", busy_timeout_ms=50)
    with one.write():
        pass
    yield one
    one.close()


def prunable(database: Database, days: int, now: datetime = NOW) -> datetime | None:
    with database.read() as connection:
        return upkeep.snapshots_prunable_before(connection, days, Setup(), now)


def fill(database: Database, source: str, first_day: int, last_day: int) -> None:
    """Store a good reading every six hours of some days of November."""
    with database.write() as connection:
        for day in range(first_day, last_day + 1):
            for hour in (0, 6, 12, 18):
                connection.execute(
                    """
                    INSERT INTO revenue_snapshots (source, collected_at, balance_atomic, paid_atomic, requests_served)
                    VALUES (?, ?, 1, 1, 1)
                    """,
                    (source, f"2026-11-{day:02}T{hour:02}:00:00.000Z"),
                )


def close_days(database: Database, now: datetime = NOW) -> None:
    with_writer(database, lambda writer: upkeep.close_days(writer, Setup(), now=now))


def november(day: int) -> datetime:
    return datetime(2026, 11, day, tzinfo=UTC)


def test_what_is_kept_for_ever_is_not_pruned(database: Database) -> None:
    fill(database, "mlx-api", 1, 21)
    close_days(database)

    assert prunable(database, 0) is None


def test_whole_days_go_when_they_are_closed(database: Database) -> None:
    fill(database, "mlx-api", 1, 21)
    close_days(database)

    assert prunable(database, 7) == november(14)


def test_a_day_that_is_not_closed_stays_however_short_the_retention(database: Database) -> None:
    fill(database, "mlx-api", 1, 20)
    close_days(database, november(21) + timedelta(hours=1))

    assert prunable(database, 1, november(21) + timedelta(hours=1)) == november(20)
    assert prunable(database, 1, november(23) - timedelta(seconds=1)) == november(20)


def test_a_source_that_is_asked_no_more_does_not_keep_the_others_rows(database: Database) -> None:
    fill(database, "xmr-mining", 1, 3)
    fill(database, "mlx-api", 1, 21)
    close_days(database)

    assert prunable(database, 7) == november(14)


def test_before_any_day_was_closed_nothing_goes(database: Database) -> None:
    fill(database, "mlx-api", 1, 21)

    assert prunable(database, 7) == november(1)


def test_a_clock_that_has_leapt_costs_no_reading_of_the_last_day_and_marks_no_day_to_come(database: Database) -> None:
    fill(database, "mlx-api", 1, 21)
    ahead = NOW + timedelta(days=400)
    with_writer(database, lambda writer: writer.store(Snapshot("mlx-api", ahead, requests_served=2)))
    close_days(database, ahead)

    assert prunable(database, 7, ahead) == november(22)
    assert prunable(database, 7, NOW + timedelta(days=3000)) is None


def test_a_reading_from_a_wrong_future_does_not_keep_what_is_old(database: Database) -> None:
    fill(database, "xmr-mining", 1, 3)
    with_writer(database, lambda writer: writer.store(Snapshot("xmr-mining", NOW + timedelta(days=400))))
    fill(database, "mlx-api", 1, 21)
    close_days(database)

    assert prunable(database, 7) == november(14)


def test_pruning_is_done_again_only_a_day_later(database: Database) -> None:
    fill(database, "mlx-api", 1, 21)
    close_days(database)
    config = Config(database.path, revenue=Revenue(retention_days=7))

    def prune(now: datetime) -> int | None:
        rows = with_writer(database, lambda writer: upkeep.prune_when_due(writer, config, Setup(), now=now))
        return None if rows is None else rows["snapshots"]

    assert prune(NOW) == 13 * 4 - READINGS_THAT_CONVINCE
    assert prune(NOW + timedelta(hours=23, minutes=59)) is None
    assert prune(NOW + timedelta(hours=24)) == 4
    # The clock was wrong, and is right again.
    assert prune(NOW - timedelta(days=1)) == 0
