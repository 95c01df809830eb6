"""What a source grew by in any window: closed days as they were kept, the rest from raw snapshots."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from orchestrator import growth
from orchestrator.growth import Flag
from orchestrator.ledger import readings
from orchestrator.ledger.growth_days import day_rows, pruned_before
from orchestrator.ledger.readings import Grown
from orchestrator.periods import day_bounds, day_of, day_start, instant_from_text, millis, text_from_instant
from orchestrator.store.database import Connection


def window(
    connection: Connection,
    source: str,
    start: datetime,
    end: datetime,
    tz: ZoneInfo,
    interval_seconds: float,
    now: datetime,
) -> Grown:
    """Return what a source grew by in [start, end): closed days as they were kept, the rest from raw snapshots.

    A part of a day whose snapshots were pruned is that day's growth in proportion to time, and the answer an estimate.
    """
    if start >= end:
        return Grown()
    gap = growth.max_gap_ms(interval_seconds)
    first_full = day_of(start, tz)
    if day_start(first_full, tz) < start:
        first_full += timedelta(days=1)
    last_full = day_of(end, tz) - timedelta(days=1)
    kept, covered = _kept_days(connection, source, first_full, last_full)
    parts = list(kept)
    estimated = False
    # The ends of the window, as long as nothing has told whether they lie in a gap.
    ends = {start, end}
    edges = [start, *(edge for first, last in covered for edge in (day_start(first, tz), day_bounds(last, tz)[1])), end]
    mark = pruned_before(connection)
    for a, b in zip(edges[::2], edges[1::2], strict=True):
        if a >= b:
            continue
        if mark is not None and a < mark:
            parts.append(_pruned_part(connection, source, a, min(b, mark), tz))
            estimated = True
            a = mark
        if a < b:
            series = readings.series(connection, source, a, b, interval_seconds, now)
            parts.append(readings.grown(series, a, b))
            estimated = estimated or any(readings.is_estimate(series, t) for t in {a, b} & ends)
            ends -= {a, b}
    total = _total(parts)
    if total.flag == "unknown":
        return total
    inexact = estimated or any(_inside_gap(connection, source, t, now, gap) for t in ends)
    return replace(total, flag="estimated" if inexact else "exact")


def _kept_days(
    connection: Connection, source: str, first: date, last: date
) -> tuple[list[Grown], list[tuple[date, date]]]:
    """Return the sums of closed days, and the unbroken runs of days that they stand for."""
    if first > last:
        return [], []
    low, high, days, earned, nano, unpriced, requests, tokens, covered = connection.execute(
        """
        SELECT min(day), max(day), count(day), sum(earned_atomic), sum(earned_nano), sum(unpriced_atomic),
            sum(requests), sum(tokens), sum(covered_seconds)
        FROM daily_growth
        WHERE source = :source AND day BETWEEN :first AND :last
        """,
        {"source": source, "first": first.isoformat(), "last": last.isoformat()},
    ).get
    if not days:
        return [], []
    low, high = date.fromisoformat(low), date.fromisoformat(high)
    if (high - low).days + 1 == days:
        flag: Flag = "unknown" if earned is None and requests is None else "exact"
        return [Grown(earned, nano, unpriced, requests, tokens, covered, flag)], [(low, high)]
    rows = day_rows(connection, source, first, last)
    runs = list(_runs(sorted(rows)))
    return list(rows.values()), [(run[0], run[-1]) for run in runs]


def _total(parts: list[Grown]) -> Grown:
    def total(name: str) -> int | None:
        known = [value for part in parts if (value := getattr(part, name)) is not None]
        return sum(known) if known else None

    flags = {part.flag for part in parts}
    flag: Flag = "estimated" if "estimated" in flags else "exact" if "exact" in flags else "unknown"
    return Grown(
        total("earned_atomic"), total("earned_nano"), total("unpriced_atomic"), total("requests"), total("tokens"),
        sum(part.covered_seconds for part in parts), flag,
    )  # fmt: skip


def _pruned_part(connection: Connection, source: str, start: datetime, end: datetime, tz: ZoneInfo) -> Grown:
    """Return the share that [start, end) has in the growth of the closed days it touches."""
    parts = []
    for day, row in day_rows(connection, source, day_of(start, tz), day_of(end, tz)).items():
        opens, closes = day_bounds(day, tz)
        whole = millis(closes) - millis(opens)
        a, b = millis(max(start, opens)) - millis(opens), millis(min(end, closes)) - millis(opens)
        if whole and b > a:
            earned, nano, unpriced, requests, tokens = (
                None if value is None else value * b // whole - value * a // whole
                for value in (row.earned_atomic, row.earned_nano, row.unpriced_atomic, row.requests, row.tokens)
            )
            covered = row.covered_seconds * (b - a) // whole
            parts.append(Grown(earned, nano, unpriced, requests, tokens, covered, row.flag))
    return _total(parts)


def _inside_gap(connection: Connection, source: str, t: datetime, now: datetime, gap_ms: int) -> bool:
    """Return whether a moment lies between two good samples further apart than the longest gap."""
    moment = {"source": source, "t": text_from_instant(t), "until": text_from_instant(now)}
    before = connection.execute(
        "SELECT max(collected_at) FROM revenue_snapshots WHERE source = :source AND good AND collected_at <= :t",
        moment,
    ).get
    after = connection.execute(
        """
        SELECT min(collected_at)
        FROM revenue_snapshots
        WHERE source = :source AND good AND collected_at > :t AND collected_at <= :until
        """,
        moment,
    ).get
    if before is None or after is None or before == moment["t"]:
        return False
    a, b = instant_from_text(before), instant_from_text(after)
    return a is not None and b is not None and millis(b) - millis(a) > gap_ms


def _runs(days: list[date]) -> Iterator[list[date]]:
    """Yield the unbroken runs of sorted days."""
    run: list[date] = []
    for day in days:
        if run and day != run[-1] + timedelta(days=1):
            yield run
            run = []
        run.append(day)
    if run:
        yield run
