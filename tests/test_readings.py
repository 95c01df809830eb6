"""What was read of snapshots is remembered, until anybody changes one."""

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import apsw
import pytest

import orchestrator
from orchestrator.growth import Counters, Mining
from orchestrator.ledger import readings, snapshots
from orchestrator.ledger.snapshots import XMR_MINING, Snapshot
from orchestrator.store.database import Database

NOW = datetime(2026, 3, 31, 12, tzinfo=UTC)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "orchestrator.db")
    with database.write() as connection:
        for hour in range(4):
            at = NOW - timedelta(hours=4 - hour)
            snapshots.insert(connection, Snapshot(XMR_MINING, at, balance_atomic=hour * 10**9, paid_atomic=0))
    yield database
    database.close()


def read(database: Database) -> Mining | Counters:
    with database.read() as connection:
        return readings.series(connection, XMR_MINING, NOW - timedelta(hours=5), NOW, 300, NOW)


def test_a_call_or_a_cost_makes_nobody_read_the_snapshots_again(database: Database) -> None:
    first = read(database)

    orchestrator.record_call(service="s", model="m", cost_usd=1, now=NOW, db=database)
    orchestrator.record_cost(category="hosting", amount_usd=1, now=NOW, db=database)

    assert read(database) is first


def test_what_was_read_of_a_change_that_was_rolled_back_is_forgotten(database: Database) -> None:
    earned = []
    for factor in (2, 5):
        with suppress(ZeroDivisionError), database.write() as connection:
            connection.execute("UPDATE revenue_snapshots SET balance_atomic = balance_atomic * ?", (factor,))
            found = readings.series(connection, XMR_MINING, NOW - timedelta(hours=5), NOW, 300, NOW)
            earned.append(readings.grown(found, NOW - timedelta(hours=5), NOW).earned_atomic)
            1 / 0  # noqa: B018

    assert earned == [6 * 10**9, 15 * 10**9]


@pytest.mark.parametrize(
    "change",
    [
        (
            "INSERT INTO revenue_snapshots (source, collected_at, balance_atomic, paid_atomic) "
            "VALUES ('xmr-mining', '2026-03-31T11:30:00.000Z', 9000000000, 0)"
        ),
        "UPDATE revenue_snapshots SET balance_atomic = balance_atomic * 2",
        "DELETE FROM revenue_snapshots WHERE balance_atomic = 3000000000",
        "DELETE FROM meta; UPDATE revenue_snapshots SET balance_atomic = balance_atomic * 2",
    ],
)
def test_a_change_of_a_snapshot_is_seen_whoever_makes_it(database: Database, change: str) -> None:
    before = readings.grown(read(database), NOW - timedelta(hours=5), NOW)

    connection = apsw.Connection(str(database.path))
    connection.execute(change).fetchall()
    connection.close()

    after = readings.grown(read(database), NOW - timedelta(hours=5), NOW)
    assert before.earned_atomic == 3 * 10**9
    assert after.earned_atomic not in (None, before.earned_atomic)
