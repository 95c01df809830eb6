"""Growth held against the snapshots it is made of: `verify` says where days differ, `rebuild` makes them anew.

Both leave alone what lies before the mark of pruning: of those days the rows are all there is.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from orchestrator.ledger import growth_days, rollups
from orchestrator.ledger.growth_days import DAYS_AT_ONCE, FIRST_KEPT
from orchestrator.ledger.local_days import remember_zone
from orchestrator.ledger.readings import Grown
from orchestrator.ledger.rollups import Progress
from orchestrator.ledger.snapshots import sources_in
from orchestrator.periods import day_of, days_between, instant_from_text, zone
from orchestrator.store import meta
from orchestrator.store.database import Connection, Database
from orchestrator.store.retention import SNAPSHOTS_PRUNED_BEFORE


@dataclass(frozen=True, slots=True)
class GrowthDifference:
    """A value that a source's closed day keeps, and what its snapshots make of it; None is not known, or no row at all."""

    source: str
    day: date
    column: str
    kept: int | str | None
    counted: int | str | None


def verify(connection: Connection, tz: ZoneInfo, interval_seconds: float, now: datetime) -> list[GrowthDifference]:
    """Return every difference between the closed days and the snapshots that were not pruned; none when all is well.

    Days that are open again, because of snapshots that nobody has looked at yet, are no difference.
    """
    found: list[GrowthDifference] = []
    for source in sources_in(connection):
        first = _first_day(connection, source, tz)
        opened, _ = growth_days.open_from(connection, source, tz)
        if first is None or opened is None:
            continue
        kept = growth_days.day_rows(connection, source, first, date.max)
        closed = days_between(first, opened - timedelta(days=1))
        for n in range(0, len(closed), DAYS_AT_ONCE):
            days = closed[n : n + DAYS_AT_ONCE]
            for day, counted in growth_days.grown_days(connection, source, days, tz, interval_seconds, now).items():
                found += _differences(source, day, kept.get(day), counted)
        open_day = growth_days.first_open_day(connection, source)
        for day in kept:
            if open_day is None or day >= open_day:
                found += _differences(source, day, kept[day], None)
    return found


def rebuild(database: Database, tz: ZoneInfo, interval_seconds: float, now: datetime) -> Iterator[Progress]:
    """Make the closed days of retained snapshots anew in this zone, which becomes the file's.

    Each step is one transaction; between two steps anybody may write. The first one begins a rebuild, which `rollups.rebuild`
    goes on with and ends. Meanwhile the days that are still missing count as open, so that reports read their snapshots.
    Raises Overtaken like that one.
    """
    with database.write() as connection:
        sources = sources_in(connection)
        total = sum(_begin(connection, source, tz) for source in sources)
        _enter(connection, tz)
    done = 0
    for source in sources:
        closed = True
        while closed:
            with database.write() as connection:
                rollups.go_on(database, connection, tz)
                days = growth_days.close_days(connection, source, tz, interval_seconds, now)
            closed = bool(days)
            done += len(days)
            yield Progress("growth", min(done, total), total)


def _begin(connection: Connection, source: str, tz: ZoneInfo) -> int:
    """Take away the days that are to be made anew, and return how many these were."""
    before = zone(meta.get(connection, "timezone") or tz.key)
    kept_zone, first = _first_day(connection, source, before), _first_day(connection, source, tz, before)
    if first is None or kept_zone is None:
        return 0
    connection.execute(
        "DELETE FROM daily_growth WHERE source = :source AND day >= :first",
        {"source": source, "first": min(first, kept_zone).isoformat()},
    )
    removed = connection.changes()
    meta.put(connection, f"growth_from:{source}", first.isoformat())
    return removed


def _enter(connection: Connection, tz: ZoneInfo) -> None:
    """Make a zone the file's, and remember which day the mark of pruning is the beginning of."""
    before = zone(meta.get(connection, "timezone") or tz.key)
    mark, first_kept = meta.get(connection, SNAPSHOTS_PRUNED_BEFORE), growth_days.first_kept_day(connection, before)
    if before.key != tz.key and mark is not None and first_kept is not None:
        meta.put(connection, FIRST_KEPT, f"{mark} {first_kept}")
    meta.put(connection, rollups.REBUILDING, tz.key)
    meta.put(connection, "timezone", tz.key)
    remember_zone(connection, tz)


def _first_day(connection: Connection, source: str, tz: ZoneInfo, marked_in: ZoneInfo | None = None) -> date | None:
    """Return the first day of which the snapshots are there, None when there are none; `marked_in` is the zone of the days before it."""
    oldest = connection.execute(
        "SELECT min(collected_at) FROM revenue_snapshots WHERE source = :source", {"source": source}
    ).get
    instant = None if oldest is None else instant_from_text(oldest)
    if instant is None:
        return None
    first_kept = growth_days.first_kept_day(connection, marked_in or tz)
    return max(day_of(instant, tz), first_kept or date.min)


def _differences(source: str, day: date, kept: Grown | None, counted: Grown | None) -> Iterator[GrowthDifference]:
    for column in vars(kept or counted or Grown()):
        a, b = getattr(kept, column, None), getattr(counted, column, None)
        if a != b:
            yield GrowthDifference(source, day, column, a, b)
