"""Revenue snapshots: what each source answered, one row a collection, also when it answered nothing."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from orchestrator.periods import instant_from_text, text_from_instant
from orchestrator.store.database import Connection

XMR_MINING = "xmr-mining"
MLX_API = "mlx-api"
SOURCES = (XMR_MINING, MLX_API)
NAMES = {XMR_MINING: "XMR Mining", MLX_API: "MLX API"}

State = Literal["fresh", "stale", "dead", "never"]

# Clocks of hosts differ a little; a row further in the future than this was written by a clock that was wrong.
CLOCK_SKEW = timedelta(minutes=5)
# A source that is never there fails some 26,000 times in 90 days, and nobody needs to know the number so exactly.
MOST_FAILURES = 1000
# Readings before and after a window that decide which of its own count: see growth.READINGS_THAT_CONVINCE.
LEAD = 12


@dataclass(frozen=True)
class Snapshot:
    """What a source said at one moment; None is not known, and `error` says why. Piconero, H/s, USD for one XMR, seconds."""

    source: str
    collected_at: datetime
    balance_atomic: int | None = None
    paid_atomic: int | None = None
    hashrate: float | None = None
    xmr_price_usd: float | None = None
    requests_served: int | None = None
    tokens_generated: int | None = None
    raw_json: str | None = None
    error: str | None = None
    uptime_seconds: float | None = None
    healthy: bool | None = None
    last_hash_at: datetime | None = None


@dataclass(frozen=True)
class Latest:
    """The last good snapshot of a source, how old it is, and how asking has gone since.

    `collected_at` and `age_minutes` (whole, rounded down) are None, like every value, and the state is `never`, when no good
    one was ever stored. `failures` counts the attempts since the last good one, up to 1,000, `failing_since` is the first of them, and
    `last_error` is what the last attempt said when it was not good.
    """

    source: str
    collected_at: datetime | None
    balance_atomic: int | None
    paid_atomic: int | None
    hashrate: float | None
    xmr_price_usd: float | None
    requests_served: int | None
    tokens_generated: int | None
    raw_json: str | None
    error: str | None
    uptime_seconds: float | None
    healthy: bool | None
    last_hash_at: datetime | None
    age_seconds: float | None
    age_minutes: int | None
    state: State
    last_attempt_at: datetime | None
    failures: int
    failing_since: datetime | None
    last_error: str | None


def state_at(age_seconds: float | None, interval_seconds: float) -> State:
    """Return how far a value of that age can be trusted when one is due every interval."""
    if age_seconds is None:
        return "never"
    if age_seconds <= 2.5 * interval_seconds:
        return "fresh"
    return "stale" if age_seconds <= 24 * 3600 else "dead"


def insert(connection: Connection, snapshot: Snapshot) -> int:
    """Store a snapshot and return its id."""
    connection.execute(
        """
        INSERT INTO revenue_snapshots (
            source, collected_at, balance_atomic, paid_atomic, hashrate, xmr_price_usd, requests_served, tokens_generated,
            raw_json, error, uptime_seconds, healthy, last_hash_at
        )
        VALUES (
            :source, :collected_at, :balance_atomic, :paid_atomic, :hashrate, :xmr_price_usd, :requests_served,
            :tokens_generated, :raw_json, :error, :uptime_seconds, :healthy, :last_hash_at
        )
        """,
        {
            **vars(snapshot),
            "collected_at": text_from_instant(snapshot.collected_at),
            "last_hash_at": None if snapshot.last_hash_at is None else text_from_instant(snapshot.last_hash_at),
        },
    )
    return connection.last_insert_rowid()


def sources_in(connection: Connection) -> list[str]:
    """Return the sources that have any row, in the order in which they are shown."""
    found = {
        source
        for (source,) in connection.execute(
            """
            WITH RECURSIVE each(source) AS (
                SELECT min(source) FROM revenue_snapshots
                UNION ALL
                SELECT (SELECT min(source) FROM revenue_snapshots WHERE source > each.source)
                FROM each
                WHERE each.source IS NOT NULL
            )
            SELECT source FROM each WHERE source IS NOT NULL
            """
        )
    }
    return [source for source in SOURCES if source in found]


def latest(connection: Connection, source: str, interval_seconds: float, now: datetime) -> Latest | None:
    """Return the last good snapshot of a source with its age, or None when the source has no row at all.

    A row more than five minutes ahead of `now` is left out; within that, its age is 0.
    """
    until = text_from_instant(now + CLOCK_SKEW)
    attempt = connection.execute(
        """
        SELECT collected_at, error
        FROM revenue_snapshots
        WHERE source = :source AND collected_at <= :until
        ORDER BY collected_at DESC, id DESC
        LIMIT 1
        """,
        {"source": source, "until": until},
    ).fetchone()
    if attempt is None:
        return None
    last_attempt_at = instant_from_text(attempt[0])
    good = connection.execute(
        """
        SELECT collected_at, balance_atomic, paid_atomic, hashrate, xmr_price_usd, requests_served, tokens_generated,
            raw_json, error, uptime_seconds, healthy, last_hash_at
        FROM revenue_snapshots
        WHERE source = :source AND good AND collected_at <= :until
        ORDER BY collected_at DESC, id DESC
        LIMIT 1
        """,
        {"source": source, "until": until},
    ).fetchone()
    failures, failing_since = connection.execute(
        """
        SELECT count(collected_at), min(collected_at)
        FROM (
            SELECT collected_at
            FROM revenue_snapshots
            WHERE source = :source AND collected_at > :since AND collected_at <= :until
            ORDER BY collected_at
            LIMIT :most
        )
        """,
        {"source": source, "since": good[0] if good else "", "until": until, "most": MOST_FAILURES},
    ).get
    collected_at = instant_from_text(good[0]) if good else None
    age = None if collected_at is None else max((now - collected_at).total_seconds(), 0.0)
    balance, paid, hashrate, price, requests, tokens, raw_json, error, uptime, healthy, last_hash = (
        good[1:] if good else (None,) * 11
    )
    return Latest(
        source, collected_at, balance, paid, hashrate, price, requests, tokens, raw_json, error, uptime,
        None if healthy is None else bool(healthy), None if last_hash is None else instant_from_text(last_hash),
        age, None if age is None else int(age // 60), state_at(age, interval_seconds), last_attempt_at,
        failures, instant_from_text(failing_since) if failing_since else None, attempt[1] if failures else None,
    )  # fmt: skip


def never(source: str) -> Latest:
    """Return what is known of a source that has no row yet."""
    return Latest(
        source,
        None,
        None,
        None,
        None,
        None,
        None,
        None,
        None,
        None,
        None,
        None,
        None,
        None,
        None,
        "never",
        None,
        0,
        None,
        None,
    )


def last_price(connection: Connection, now: datetime) -> tuple[float, datetime] | None:
    """Return the last known price of one XMR in USD and when it was read, at most 24 h before `now`; None for none."""
    row = connection.execute(
        """
        SELECT xmr_price_usd, collected_at
        FROM revenue_snapshots
        WHERE source = 'xmr-mining' AND xmr_price_usd > 0 AND xmr_price_usd < 1e9
            AND collected_at >= :oldest AND collected_at <= :until
        ORDER BY collected_at DESC, id DESC
        LIMIT 1
        """,
        {"oldest": text_from_instant(now - timedelta(hours=24)), "until": text_from_instant(now + CLOCK_SKEW)},
    ).fetchone()
    read_at = None if row is None else instant_from_text(row[1])
    return None if row is None or read_at is None else (row[0], read_at)
