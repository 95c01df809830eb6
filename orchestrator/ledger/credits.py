"""Credit snapshots: what may still be spent at OpenRouter at one moment, and the numbers it was found from."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

from orchestrator.ledger.snapshots import CLOCK_SKEW
from orchestrator.money import usd_from_nano
from orchestrator.periods import instant_from_text, text_from_instant
from orchestrator.store.database import Connection

RemainingSource = Literal["key limit", "budget", "account"]
Failure = Literal["rejected", "out_of_money", "unreachable"]

NANO_PER_CENT = 10_000_000
# As text above every stored time.
_EVER = "A"


@dataclass(frozen=True)
class CreditSnapshot:
    """What OpenRouter said at `collected_at`, an aware instant; money in nano-USD, None is not known and `error` says why.

    `remaining_nano` may be spent: the least of the known among the key's limit, the budget in force and the account,
    and `remaining_source` is the one it is. It may be negative. `limit_nano` is what it is left of, for the account
    what was ever bought.
    `usage_nano` is the key's since it was made,
    `usage_daily_nano` since 00:00 UTC. `limit_reset` is daily, weekly, monthly, or None for a limit that stays.
    `failure` is None when the key works: its balance may be unknown all the same.
    """

    collected_at: datetime
    remaining_nano: int | None = None
    remaining_source: RemainingSource | None = None
    limit_nano: int | None = None
    limit_remaining_nano: int | None = None
    budget_remaining_nano: int | None = None
    account_nano: int | None = None
    usage_nano: int | None = None
    usage_daily_nano: int | None = None
    limit_reset: str | None = None
    failure: Failure | None = None
    raw_json: str | None = None
    error: str | None = None


@dataclass(frozen=True)
class Standing:
    """The last look, the last one at which the key worked, and how many have failed since; None for none."""

    latest: CreditSnapshot | None
    answered: CreditSnapshot | None
    failures: int


def insert(connection: Connection, snapshot: CreditSnapshot) -> int:
    """Store a snapshot and return its id."""
    connection.execute(
        """
        INSERT INTO credit_snapshots (
            collected_at, remaining_nano, remaining_source, limit_nano, limit_remaining_nano, budget_remaining_nano, account_nano,
            usage_nano, usage_daily_nano, limit_reset, failure, raw_json, error
        )
        VALUES (
            :collected_at, :remaining_nano, :remaining_source, :limit_nano, :limit_remaining_nano, :budget_remaining_nano,
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
        SELECT collected_at, remaining_nano, remaining_source, limit_nano, limit_remaining_nano, budget_remaining_nano, account_nano,
            usage_nano, usage_daily_nano, limit_reset, failure, raw_json, error
        FROM credit_snapshots
        WHERE collected_at <= :until
        ORDER BY collected_at DESC, id DESC
        LIMIT 1
        """,
        {"until": text_from_instant(now + CLOCK_SKEW)},
    ).fetchone()
    return _snapshot(row)


def latest_good(connection: Connection, now: datetime, *, before: datetime | None = None) -> CreditSnapshot | None:
    """Return the last snapshot that says what may be spent, or None; a row more than five minutes ahead is left out.

    With `before`, the last one that is older than that.
    """
    row = connection.execute(
        """
        SELECT collected_at, remaining_nano, remaining_source, limit_nano, limit_remaining_nano, budget_remaining_nano, account_nano,
            usage_nano, usage_daily_nano, limit_reset, failure, raw_json, error
        FROM credit_snapshots
        WHERE collected_at <= :until AND collected_at < :before AND remaining_nano IS NOT NULL
        ORDER BY collected_at DESC, id DESC
        LIMIT 1
        """,
        {"until": text_from_instant(now + CLOCK_SKEW), "before": text_from_instant(before) if before else _EVER},
    ).fetchone()
    return _snapshot(row)


def standing(connection: Connection, now: datetime) -> Standing:
    """Return the last look, the last one at which the key worked, and how asking has gone since."""
    until = text_from_instant(now + CLOCK_SKEW)
    answered = connection.execute(
        """
        SELECT collected_at, remaining_nano, remaining_source, limit_nano, limit_remaining_nano, budget_remaining_nano, account_nano,
            usage_nano, usage_daily_nano, limit_reset, failure, raw_json, error
        FROM credit_snapshots
        WHERE collected_at <= :until AND failure IS NULL
        ORDER BY collected_at DESC, id DESC
        LIMIT 1
        """,
        {"until": until},
    ).fetchone()
    failures = connection.execute(
        "SELECT count(id) FROM credit_snapshots WHERE collected_at > :since AND collected_at <= :until",
        {"since": "" if answered is None else answered[0], "until": until},
    ).get
    return Standing(latest(connection, now), _snapshot(answered), int(failures))


def unknown_since(connection: Connection, now: datetime) -> datetime | None:
    """Return the first look since which no look has said what may be spent; None when the last one said it, or there is none."""
    first = connection.execute(
        """
        SELECT min(collected_at)
        FROM credit_snapshots
        WHERE collected_at <= :until AND collected_at > coalesce(
            (SELECT max(collected_at) FROM credit_snapshots WHERE remaining_nano IS NOT NULL AND collected_at <= :until),
            ''
        )
        """,
        {"until": text_from_instant(now + CLOCK_SKEW)},
    ).get
    return None if first is None else instant_from_text(first)


def left_usd(remaining_nano: int) -> Decimal:
    """Return what is left in USD, cut to the cent, so that less than a limit never reads as the limit; below a cent as it is."""
    cents = remaining_nano // NANO_PER_CENT
    return usd_from_nano(remaining_nano if abs(remaining_nano) < NANO_PER_CENT else cents * NANO_PER_CENT)


def prune(connection: Connection, before: datetime, most: int) -> int:
    """Remove up to `most` snapshots older than `before` and return how many went; the last that says what is left stays."""
    connection.execute(
        """
        DELETE FROM credit_snapshots
        WHERE id IN (
            SELECT id
            FROM credit_snapshots
            WHERE collected_at < :before AND id IS NOT (
                SELECT id
                FROM credit_snapshots
                WHERE remaining_nano IS NOT NULL
                ORDER BY collected_at DESC, id DESC
                LIMIT 1
            )
            ORDER BY collected_at
            LIMIT :most
        )
        """,
        {"before": text_from_instant(before), "most": most},
    )
    return connection.changes()


def prunable(connection: Connection, before: datetime) -> int:
    """Return how many snapshots `prune` would remove in all."""
    return int(
        connection.execute(
            """
            SELECT count(id)
            FROM credit_snapshots
            WHERE collected_at < :before AND id IS NOT (
                SELECT id
                FROM credit_snapshots
                WHERE remaining_nano IS NOT NULL
                ORDER BY collected_at DESC, id DESC
                LIMIT 1
            )
            """,
            {"before": text_from_instant(before)},
        ).get
    )


def _snapshot(row: tuple[Any, ...] | None) -> CreditSnapshot | None:
    collected_at = None if row is None else instant_from_text(row[0])
    return None if row is None or collected_at is None else CreditSnapshot(collected_at, *row[1:])
