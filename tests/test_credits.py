from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from orchestrator.ledger import credits as ledger
from orchestrator.ledger.credits import CreditSnapshot, Standing
from orchestrator.store.database import Connection, Database

NOW = datetime(2026, 11, 21, 8, 0, 0, 123_000, tzinfo=UTC)
FULL = CreditSnapshot(
    collected_at=NOW,
    remaining_nano=-423_100_000,
    remaining_source="account",
    limit_nano=100_000_000_000,
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
    database = Database(tmp_path / "orchestrator.db")
    with database.write() as connection:
        yield connection
    database.close()


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


def test_failures_are_counted_since_the_key_last_worked(connection: Connection) -> None:
    good = CreditSnapshot(NOW - timedelta(hours=3), remaining_nano=7, remaining_source="account")
    uncapped = CreditSnapshot(NOW - timedelta(hours=2), error="uncapped key, no management key")
    failed = [CreditSnapshot(NOW - timedelta(minutes=n), failure="unreachable", error="key: timeout") for n in (10, 5)]
    for snapshot in (good, uncapped, *failed):
        ledger.insert(connection, snapshot)

    assert ledger.standing(connection, NOW) == Standing(failed[1], uncapped, 2)
    assert ledger.unknown_since(connection, NOW) == NOW - timedelta(hours=2)


def test_nothing_is_unknown_while_the_last_look_says_what_is_left(connection: Connection) -> None:
    ledger.insert(connection, CreditSnapshot(NOW - timedelta(hours=1), failure="unreachable"))
    assert ledger.unknown_since(connection, NOW) == NOW - timedelta(hours=1)

    ledger.insert(connection, CreditSnapshot(NOW, remaining_nano=0, remaining_source="account"))
    assert ledger.unknown_since(connection, NOW) is None
    assert ledger.standing(connection, NOW).failures == 0


def test_the_good_one_before_another_is_found(connection: Connection) -> None:
    for minutes in (10, 5, 0):
        ledger.insert(connection, CreditSnapshot(NOW - timedelta(minutes=minutes), remaining_nano=minutes))

    before = ledger.latest_good(connection, NOW, before=NOW)

    assert before is not None
    assert before.remaining_nano == 5


def test_pruning_keeps_the_last_that_says_what_is_left(connection: Connection) -> None:
    good = CreditSnapshot(NOW - timedelta(days=200), remaining_nano=7, remaining_source="account")
    for days in range(199, -1, -1):
        ledger.insert(connection, CreditSnapshot(NOW - timedelta(days=days), failure="unreachable"))
    for snapshot in (CreditSnapshot(NOW - timedelta(days=201), remaining_nano=8), good):
        ledger.insert(connection, snapshot)
    before = NOW - timedelta(days=90)

    would = ledger.prunable(connection, before)
    removed = [ledger.prune(connection, before, 50) for _ in range(4)]

    assert removed == [50, 50, 10, 0]
    assert would == 110
    assert ledger.latest_good(connection, NOW) == good


@pytest.mark.parametrize(
    ("nano", "usd"),
    [
        (4_270_000_000, "4.27"), (4_999_999_999, "4.99"), (5_000_000_000, "5"), (0, "0"), (9_999_999, "0.009999999"),
        (-185_117_000, "-0.19"), (-1, "-0.000000001"),
    ],
)  # fmt: skip
def test_less_than_a_limit_never_reads_as_the_limit(nano: int, usd: str) -> None:
    assert ledger.left_usd(nano) == Decimal(usd)


def test_the_balance_is_a_line_of_charts_with_gaps_where_it_is_unknown(connection: Connection) -> None:
    for snapshot in (FULL, CreditSnapshot(NOW + timedelta(minutes=5))):
        ledger.insert(connection, snapshot)

    points = connection.execute("SELECT time, value FROM timeseries WHERE metric = 'credits_usd'").fetchall()

    assert points == [("2026-11-21T08:00:00.123Z", -0.4231)]
