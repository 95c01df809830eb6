from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import apsw
import pytest

from orchestrator.ledger import credits as ledger
from orchestrator.ledger.credits import CreditSnapshot
from orchestrator.store.database import Connection

NOW = datetime(2026, 11, 21, 8, 0, 0, 123_000, tzinfo=UTC)
FULL = CreditSnapshot(
    collected_at=NOW,
    remaining_nano=-423_100_000,
    remaining_source="account",
    limit_remaining_nano=74_500_000_000,
    budget_remaining_nano=4_200_000_000,
    account_nano=-423_100_000,
    usage_nano=25_500_000_000,
    usage_daily_nano=1_800,
    limit_reset="daily",
    failure="out_of_money",
    raw_json='{"key": null}',
    error="credits: HTTP 403",
)


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[Connection]:
    opened = apsw.Connection(str(tmp_path / "credits.db"))
    opened.execute(
        """
        CREATE TABLE credit_snapshots (
            id INTEGER PRIMARY KEY,
            collected_at TEXT NOT NULL,
            remaining_nano INTEGER,
            remaining_source TEXT,
            limit_remaining_nano INTEGER,
            budget_remaining_nano INTEGER,
            account_nano INTEGER,
            usage_nano INTEGER,
            usage_daily_nano INTEGER,
            limit_reset TEXT,
            failure TEXT,
            raw_json TEXT,
            error TEXT
        ) STRICT
        """
    )
    yield opened
    opened.close()


def test_nothing_is_known_before_the_first_row(connection: Connection) -> None:
    assert (ledger.latest(connection, NOW), ledger.latest_good(connection, NOW)) == (None, None)


@pytest.mark.parametrize("snapshot", [FULL, CreditSnapshot(NOW), CreditSnapshot(NOW, failure="rejected")])
def test_what_is_stored_comes_back(connection: Connection, snapshot: CreditSnapshot) -> None:
    ledger.insert(connection, snapshot)

    assert ledger.latest(connection, NOW) == snapshot


def test_the_last_good_one_is_the_last_that_knows_what_is_left(connection: Connection) -> None:
    earlier = CreditSnapshot(NOW - timedelta(hours=2), remaining_nano=0, remaining_source="key limit")
    failed = CreditSnapshot(NOW - timedelta(hours=1), failure="unreachable", error="key: timeout")
    for snapshot in (failed, earlier):
        ledger.insert(connection, snapshot)

    assert ledger.latest(connection, NOW) == failed
    assert ledger.latest_good(connection, NOW) == earlier


def test_a_row_from_a_clock_that_was_wrong_is_left_out(connection: Connection) -> None:
    for ahead in (timedelta(minutes=4), timedelta(minutes=6)):
        ledger.insert(connection, CreditSnapshot(NOW + ahead, remaining_nano=1))

    latest = ledger.latest(connection, NOW)

    assert latest is not None
    assert latest.collected_at == NOW + timedelta(minutes=4)
    assert ledger.latest_good(connection, NOW) == latest
