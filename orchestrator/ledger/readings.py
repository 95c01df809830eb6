"""Readings: the cumulative series behind a window, read from raw snapshots and remembered while these stay as they are."""

from dataclasses import dataclass
from datetime import datetime
from typing import cast
from weakref import WeakKeyDictionary

from orchestrator import growth
from orchestrator.growth import Counters, CounterSample, Flag, Growth, Mining, MiningSample
from orchestrator.ledger.snapshots import LEAD, XMR_MINING
from orchestrator.periods import instant_from_millis, instant_from_text, millis, text_from_instant
from orchestrator.store import meta
from orchestrator.store.database import Connection

DAY_MS = 86_400_000
# Monero began on that day. A row from before was written by a machine that did not know the time yet.
BEGINNING = "2014-04-18T00:00:00.000Z"
# More than that in one window is no growth but nonsense in a reading, and sums of it would leave 64 bits.
MOST_GROWN = 2**53
# Windows that an agent asks for again and again: today, and the same day last week, of each source.
REMEMBERED = 16


@dataclass(frozen=True)
class Grown:
    """What one source grew by in a window; None is not known.

    Piconero earned net of fees, nano-USD of what has a price, piconero of what has none, requests, tokens, how many seconds
    lie between samples close enough to count as observed, and whether an end of the window had to be interpolated.
    """

    earned_atomic: int | None = None
    earned_nano: int | None = None
    unpriced_atomic: int | None = None
    requests: int | None = None
    tokens: int | None = None
    covered_seconds: int = 0
    flag: Flag = "unknown"


@dataclass
class _Memory:
    """The series read on one connection, valid while nobody changed a snapshot."""

    version: tuple[object, ...]
    series: dict[tuple[object, ...], Mining | Counters]


_memories: WeakKeyDictionary[Connection, _Memory] = WeakKeyDictionary()


def series(
    connection: Connection, source: str, start: datetime, end: datetime, interval_seconds: float, now: datetime
) -> Mining | Counters:
    """Return the cumulative series that covers [start, end), from readings on both sides that decide which count."""
    # Whole UTC days, so that an end that moves with the clock finds what was read before.
    from_ms, to_ms = millis(start) // DAY_MS * DAY_MS, -(-millis(end) // DAY_MS) * DAY_MS
    newest = connection.execute(
        "SELECT max(collected_at) FROM revenue_snapshots WHERE source = :source AND collected_at <= :now",
        {"source": source, "now": text_from_instant(now)},
    ).get
    key = (source, from_ms, to_ms, newest, interval_seconds)
    memory = _memory(connection)
    found = memory.series.get(key)
    if found is None:
        found = _read(
            connection,
            source,
            instant_from_millis(from_ms),
            instant_from_millis(to_ms),
            newest or "",
            growth.max_gap_ms(interval_seconds),
        )
        if len(memory.series) >= REMEMBERED:
            del memory.series[next(iter(memory.series))]
        memory.series[key] = found
    return found


def grown(series: Mining | Counters, start: datetime, end: datetime) -> Grown:
    """Return what a series grew by in [start, end); what is more than can be is unknown."""
    a, b = millis(start), millis(end)
    if isinstance(series, Mining):
        earned, nano, unpriced = (growth.growth(one, a, b) for one in (series.atomic, series.nano, series.unpriced))
        if not all(map(_can_be, (earned, nano, unpriced))):
            return Grown()
        covered = growth.covered_ms(series.atomic, a, b) // 1000
        return Grown(earned.amount, nano.amount, unpriced.amount, None, None, covered, earned.flag)
    if not series.series:
        return Grown()
    requests, tokens = (growth.growth(one, a, b) for one in series.series)
    if not (_can_be(requests) and _can_be(tokens)):
        return Grown()
    flag: Flag = "estimated" if "estimated" in (requests.flag, tokens.flag) else requests.flag
    covered = growth.covered_ms(series.series[0], a, b) // 1000
    return Grown(None, None, None, requests.amount, tokens.amount, covered, flag)


def is_estimate(series: Mining | Counters, t: datetime) -> bool:
    """Return whether a series has to be interpolated at a moment."""
    every = (series.atomic,) if isinstance(series, Mining) else series.series
    return any(growth.value_at(one, millis(t))[1] == "estimated" for one in every)


def _can_be(grown: Growth) -> bool:
    return grown.amount is None or abs(grown.amount) <= MOST_GROWN


def _memory(connection: Connection) -> _Memory:
    changes = meta.get(connection, meta.SNAPSHOT_CHANGES)
    # A change of this connection's own may be rolled back, and the count with it; total_changes only grows. A reader's stays 0.
    version: tuple[object, ...] = (changes, connection.total_changes())
    if changes is None:
        # Somebody removed the count. data_version tells of other connections' commits.
        version = (*version, connection.execute("PRAGMA data_version").get)
    memory = _memories.get(connection)
    if memory is None or memory.version != version:
        memory = _memories[connection] = _Memory(version, {})
    return memory


def _read(
    connection: Connection, source: str, start: datetime, end: datetime, newest: str, gap_ms: int
) -> Mining | Counters:
    bounds = {
        "source": source,
        "start": text_from_instant(start),
        "end": text_from_instant(end),
        "lead": LEAD - 1,
        "beginning": BEGINNING,
    }
    first = connection.execute(
        """
        SELECT collected_at
        FROM revenue_snapshots
        WHERE source = :source AND good AND collected_at <= :start AND collected_at >= :beginning
        ORDER BY collected_at DESC
        LIMIT 1 OFFSET :lead
        """,
        bounds,
    ).fetchone()
    last = connection.execute(
        """
        SELECT collected_at
        FROM revenue_snapshots
        WHERE source = :source AND good AND collected_at > :end
        ORDER BY collected_at
        LIMIT 1 OFFSET :lead
        """,
        bounds,
    ).fetchone()
    since = instant_from_text(first[0]) if first else None
    span = {
        "source": source,
        "first": first[0] if first else BEGINNING,
        "last": min(last[0], newest) if last else newest,
        "price_from": text_from_instant(since - growth.MAX_PRICE_AGE) if since else "",
    }
    if source == XMR_MINING:
        return growth.mining(_mining_samples(connection, span), gap_ms)
    return growth.counters(_counter_samples(connection, span), gap_ms)


def _mining_samples(connection: Connection, span: dict[str, str]) -> list[MiningSample]:
    before = connection.execute(
        """
        SELECT CAST(round(1000 * unixepoch(collected_at, 'subsec')) AS INTEGER), NULL, NULL,
            CAST(round(1e9 * xmr_price_usd) AS INTEGER)
        FROM revenue_snapshots
        WHERE source = :source AND xmr_price_usd IS NOT NULL AND collected_at < :first AND collected_at >= :price_from
        ORDER BY collected_at DESC
        LIMIT 1
        """,
        span,
    ).fetchall()
    inside = connection.execute(
        """
        SELECT CAST(round(1000 * unixepoch(collected_at, 'subsec')) AS INTEGER), balance_atomic, paid_atomic,
            CAST(round(1e9 * xmr_price_usd) AS INTEGER)
        FROM revenue_snapshots
        WHERE source = :source AND collected_at BETWEEN :first AND :last
        ORDER BY collected_at, id
        """,
        span,
    ).fetchall()
    return cast(list[MiningSample], [sample for sample in before + inside if sample[0] is not None])


def _counter_samples(connection: Connection, span: dict[str, str]) -> list[CounterSample]:
    return [
        (at_ms, (requests, tokens), uptime, None)
        for at_ms, requests, tokens, uptime in connection.execute(
            """
            SELECT CAST(round(1000 * unixepoch(collected_at, 'subsec')) AS INTEGER), requests_served, tokens_generated,
                uptime_seconds
            FROM revenue_snapshots
            WHERE source = :source AND good AND collected_at BETWEEN :first AND :last
            ORDER BY collected_at, id
            """,
            span,
        )
        if at_ms is not None
    ]
