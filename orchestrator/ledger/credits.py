"""Credit snapshots: what may still be spent at OpenRouter at one moment, and the numbers it was found from."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from orchestrator.ledger.snapshots import CLOCK_SKEW
from orchestrator.periods import instant_from_text, text_from_instant
from orchestrator.store.database import Connection

RemainingSource = Literal["key limit", "budget", "account"]
Failure = Literal["rejected", "out_of_money", "unreachable"]


@dataclass(frozen=True)
class CreditSnapshot:
    """What OpenRouter said at `collected_at`, an aware instant; money in nano-USD, None is not known and `error` says why.

    `remaining_nano` may be spent: the least of the known among the key's limit, the budget in force and the account,
    and `remaining_source` is the one it is. It may be negative. `usage_nano` is the key's since it was made,
    `usage_daily_nano` since 00:00 UTC. `limit_reset` is daily, weekly, monthly, or None for a limit that stays.
    `failure` is None when the key works: its balance may be unknown all the same.
    """

    collected_at: datetime
    remaining_nano: int | None = None
    remaining_source: RemainingSource | None = None
    limit_remaining_nano: int | None = None
    budget_remaining_nano: int | None = None
    account_nano: int | None = None
    usage_nano: int | None = None
    usage_daily_nano: int | None = None
    limit_reset: str | None = None
    failure: Failure | None = None
    raw_json: str | None = None
    error: str | None = None


def insert(connection: Connection, snapshot: CreditSnapshot) -> int:
    """Store a snapshot and return its id."""
    connection.execute(
        """
        INSERT INTO credit_snapshots (
            collected_at, remaining_nano, remaining_source, limit_remaining_nano, budget_remaining_nano, account_nano,
            usage_nano, usage_daily_nano, limit_reset, failure, raw_json, error
        )
        VALUES (
            :collected_at, :remaining_nano, :remaining_source, :limit_remaining_nano, :budget_remaining_nano,
            :account_nano, :usage_nano, :usage_daily_nano, :limit_reset, :failure, :raw_json, :error
        )
        """,
        {**vars(snapshot), "collected_at": text_from_instant(snapshot.collected_at)},
    )
    return connection.last_insert_rowid()


def latest(connection: Connection, now: datetime) -> CreditSnapshot | None:
    """Return the last snapshot, also one that failed, or None; a row more than five minutes ahead of `now` is left out."""
    row = connection.execute(
        """
        SELECT collected_at, remaining_nano, remaining_source, limit_remaining_nano, budget_remaining_nano, account_nano,
            usage_nano, usage_daily_nano, limit_reset, failure, raw_json, error
        FROM credit_snapshots
        WHERE collected_at <= :until
        ORDER BY collected_at DESC, id DESC
        LIMIT 1
        """,
        {"until": text_from_instant(now + CLOCK_SKEW)},
    ).fetchone()
    return _snapshot(row)


def latest_good(connection: Connection, now: datetime) -> CreditSnapshot | None:
    """Return the last snapshot that says what may be spent, or None; a row more than five minutes ahead is left out."""
    row = connection.execute(
        """
        SELECT collected_at, remaining_nano, remaining_source, limit_remaining_nano, budget_remaining_nano, account_nano,
            usage_nano, usage_daily_nano, limit_reset, failure, raw_json, error
        FROM credit_snapshots
        WHERE collected_at <= :until AND remaining_nano IS NOT NULL
        ORDER BY collected_at DESC, id DESC
        LIMIT 1
        """,
        {"until": text_from_instant(now + CLOCK_SKEW)},
    ).fetchone()
    return _snapshot(row)


def _snapshot(row: tuple[Any, ...] | None) -> CreditSnapshot | None:
    collected_at = None if row is None else instant_from_text(row[0])
    return None if row is None or collected_at is None else CreditSnapshot(collected_at, *row[1:])
