"""A file with books in it: calls, costs, revenue and mining, and plain loops over them that say what reports have to say."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from fractions import Fraction
from pathlib import Path
from zoneinfo import ZoneInfo

from orchestrator import growth
from orchestrator.ledger import calls, entries, growth_days, setup, snapshots
from orchestrator.ledger.calls import Call
from orchestrator.ledger.entries import OperatingCost, Revenue
from orchestrator.ledger.setup import Setup
from orchestrator.ledger.snapshots import XMR_MINING, Snapshot
from orchestrator.periods import millis, zone
from orchestrator.store.database import Database

USD = 10**9
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
INTERVAL_SECONDS = 300.0


@dataclass
class Books:
    """What is recorded, each in the order of recording."""

    calls: list[Call] = field(default_factory=list)
    costs: list[OperatingCost] = field(default_factory=list)
    revenue: list[Revenue] = field(default_factory=list)
    snapshots: list[Snapshot] = field(default_factory=list)


def keep(path: Path, books: Books, timezone: str = "UTC", sources: tuple[str, ...] = ()) -> Database:
    """Return a database with these books, weeks from Sunday; the caller closes it."""
    database = Database(path)
    with database.write() as connection:
        setup.write(connection, Setup(timezone, "sunday", sources, INTERVAL_SECONDS))
    add(database, books, timezone)
    return database


def add(database: Database, books: Books, timezone: str = "UTC") -> None:
    """Record these books."""
    tz = zone(timezone)
    with database.write() as connection:
        calls.insert_many(connection, books.calls, tz)
        for cost in books.costs:
            entries.insert_cost(connection, cost, tz)
        for revenue in books.revenue:
            entries.insert_revenue(connection, revenue, tz)
        for snapshot in books.snapshots:
            snapshots.insert(connection, snapshot)


def close_days(database: Database, timezone: str, now: datetime) -> None:
    """Close every day of mining that can be closed at `now`."""
    closed = True
    while closed:
        with database.write() as connection:
            closed = bool(growth_days.close_days(connection, XMR_MINING, zone(timezone), INTERVAL_SECONDS, now))


def local_midnight(day: date, tz: ZoneInfo) -> datetime:
    """Return the moment at which a local day begins."""
    return datetime.combine(day, time(), tz).astimezone(UTC)


def naive_ai(books: Books, tz: ZoneInfo, first: date, last: date) -> tuple[int, int]:
    """Return the nano-USD of the calls of some local days, and how many have no price."""
    cost = unpriced = 0
    for call in books.calls:
        if call.voided_at is None and first <= call.called_at.astimezone(tz).date() <= last:
            if call.cost_nano is None:
                unpriced += 1
            else:
                cost += call.cost_nano
    return cost, unpriced


def naive_booked(books: Books, tz: ZoneInfo, first: date, last: date) -> int:
    """Return the nano-USD that were booked as earned on some local days."""
    booked = 0
    for revenue in books.revenue:
        if revenue.voided_at is None and first <= revenue.earned_at.astimezone(tz).date() <= last:
            booked += revenue.amount_nano or 0
    return booked


def naive_operating(books: Books, tz: ZoneInfo, first: date, last: date) -> int:
    """Return the nano-USD of operating costs that fall on some local days: by seconds, floored, the rest on the last day."""
    total = 0
    for cost in books.costs:
        if cost.voided_at is not None or cost.amount_nano is None:
            continue
        start, end = cost.period_start, cost.period_end
        begins = start.astimezone(tz).date()
        if end is None:
            total += cost.amount_nano if first <= begins <= last else 0
            continue
        left, day = int(cost.amount_nano), begins
        while local_midnight(day + DAY, tz) < end:
            overlap = min(local_midnight(day + DAY, tz), end) - max(local_midnight(day, tz), start)
            share = Fraction(cost.amount_nano) * Fraction(
                overlap // timedelta(milliseconds=1), (end - start) // timedelta(milliseconds=1)
            )
            total += share.__floor__() if first <= day <= last else 0
            left -= share.__floor__()
            day += DAY
        total += left if first <= day <= last else 0
    return total


def naive_mined(snapshots: Iterable[Snapshot], start: datetime, end: datetime, now: datetime) -> int | None:
    """Return the nano-USD that mining brought in a time: the growth of all readings up to now, taken at once."""
    samples = [
        (millis(one.collected_at), one.balance_atomic, one.paid_atomic, None if one.xmr_price_usd is None else round(one.xmr_price_usd * USD))
        for one in snapshots
        if one.collected_at <= now
    ]  # fmt: skip
    series = growth.mining(samples, growth.max_gap_ms(INTERVAL_SECONDS))
    if growth.growth(series.atomic, millis(start), millis(min(end, now))).amount is None:
        return None
    return growth.growth(series.nano, millis(start), millis(min(end, now))).amount
