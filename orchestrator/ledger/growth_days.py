"""What each source grew by, one kept row a closed local day.

A day is closed when three good samples lie after its end, or two days have passed. While its snapshots exist it is computed
again when a later row changes it; afterwards never. Closed days serve every long window, so no answer gets slower with history.
"""

from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from orchestrator import growth
from orchestrator.ledger import readings
from orchestrator.ledger.readings import Grown
from orchestrator.periods import (
    day_bounds,
    day_of,
    days_between,
    instant_from_text,
    text_from_instant,
)
from orchestrator.store import meta
from orchestrator.store.database import Connection
from orchestrator.store.retention import SNAPSHOTS_PRUNED_BEFORE

GOOD_SAMPLES_THAT_CLOSE = 3
CLOSES_ANYWAY_AFTER = timedelta(hours=48)
# Days computed from one reading of the snapshots, and so in one transaction: some 20 ms at five-minute intervals.
DAYS_AT_ONCE = 16

# In meta after a rebuild in another zone: the mark of pruning, and the day that begins there.
FIRST_KEPT = "growth_first_kept"


def close_days(
    connection: Connection, source: str, tz: ZoneInfo, interval_seconds: float, now: datetime, most: int = DAYS_AT_ONCE
) -> list[date]:
    """Write the rows of up to `most` days that can be closed or that later snapshots have changed; return those days.

    Call it again until it returns none. In another zone than the file's it does nothing: a rebuild may have come in between.
    """
    if meta.get(connection, "timezone") not in (None, tz.key):
        return []
    due = _due_days(connection, source, tz, now, most)
    if due:
        for day, grown in grown_days(connection, source, due, tz, interval_seconds, now).items():
            _write_day(connection, source, day, grown)
        meta.put(connection, f"growth_from:{source}", (due[-1] + timedelta(days=1)).isoformat())
    return due


def first_open_day(connection: Connection, source: str) -> date | None:
    """Return the day after a source's last closed one, None when none was ever closed."""
    first = meta.get(connection, f"growth_from:{source}")
    return date.fromisoformat(first) if first else None


def grown_days(
    connection: Connection, source: str, days: list[date], tz: ZoneInfo, interval_seconds: float, now: datetime
) -> dict[date, Grown]:
    """Return what a source grew by on each of some days in a row, from its raw snapshots."""
    bounds = {day: _bounds(connection, day, tz) for day in days}
    start, end = bounds[days[0]][0], bounds[days[-1]][1]
    series = readings.series(connection, source, start, end, interval_seconds, now)
    return {day: readings.grown(series, *of_day) for day, of_day in bounds.items()}


def first_kept_day(connection: Connection, tz: ZoneInfo) -> date | None:
    """Return the first day after the mark of pruning, of which all snapshots are there; None when none were ever pruned."""
    mark = meta.get(connection, SNAPSHOTS_PRUNED_BEFORE)
    if mark is None:
        return None
    # In the zone of the days before the mark, which a rebuild in another zone has kept: "mark day".
    kept, _, day = (meta.get(connection, FIRST_KEPT) or "").partition(" ")
    pruned_before = instant_from_text(mark)
    if kept == mark:
        return date.fromisoformat(day)
    return None if pruned_before is None else day_of(pruned_before, tz)


def day_rows(connection: Connection, source: str, first: date, last: date) -> dict[date, Grown]:
    """Return the closed days of a source from first to last, both included."""
    return {
        date.fromisoformat(day): Grown(*values)
        for day, *values in connection.execute(
            """
            SELECT day, earned_atomic, earned_nano, unpriced_atomic, requests, tokens, covered_seconds, flag
            FROM daily_growth
            WHERE source = :source AND day BETWEEN :first AND :last
            ORDER BY day
            """,
            {"source": source, "first": first.isoformat(), "last": last.isoformat()},
        )
    }


def _due_days(connection: Connection, source: str, tz: ZoneInfo, now: datetime, most: int) -> list[date]:
    """Return the first days, at most `most` and without a gap, that are to be computed now."""
    first = _first_day_to_compute(connection, source, tz, now)
    newest = connection.execute(
        "SELECT max(collected_at) FROM revenue_snapshots WHERE source = :source AND collected_at <= :until",
        {"source": source, "until": text_from_instant(now)},
    ).get
    last_attempt = None if newest is None else instant_from_text(newest)
    if first is None or last_attempt is None:
        return []
    last = day_of(last_attempt, tz)
    if (mark := pruned_before(connection)) is not None and last_attempt >= mark:
        last = max(last, first_kept_day(connection, tz) or last)
    due: list[date] = []
    for day in days_between(first, min(last, day_of(now, tz) - timedelta(days=1))):
        if len(due) == most or not _can_close(connection, source, day_bounds(day, tz)[1], now):
            break
        due.append(day)
    return due


def _first_day_to_compute(connection: Connection, source: str, tz: ZoneInfo, now: datetime) -> date | None:
    """Return the first open day, after taking in what was stored since the last look."""
    mark, today = f"growth_from:{source}", day_of(now, tz).isoformat()
    if (meta.get(connection, mark) or "") > today:
        # The clock was ahead when these days were closed, and has been put right.
        connection.execute(
            "DELETE FROM daily_growth WHERE source = :source AND day >= :today", {"source": source, "today": today}
        )
        meta.put(connection, mark, today)
    first, newest = open_from(connection, source, tz)
    if newest is not None:
        meta.put(connection, f"growth_seen:{source}", str(newest))
        if first is not None:
            meta.put(connection, mark, first.isoformat())
    return first


def open_from(connection: Connection, source: str, tz: ZoneInfo) -> tuple[date | None, int | None]:
    """Return the day from which on rows are missing or out of date, and the newest snapshot that nobody had looked at; None for none."""
    kept_from, seen = meta.get(connection, f"growth_from:{source}"), meta.get(connection, f"growth_seen:{source}")
    newest, oldest = connection.execute(
        """
        SELECT
            (SELECT max(id) FROM revenue_snapshots WHERE source = :source),
            (SELECT min(collected_at) FROM revenue_snapshots WHERE source = :source AND collected_at >= :beginning)
        """,
        {"source": source, "beginning": readings.BEGINNING},
    ).get
    first = None if kept_from is None else date.fromisoformat(kept_from)
    if newest is None or str(newest) == seen:
        return first, None
    changed = _changed_since(connection, source, int(seen or 0))
    if first is None and oldest is not None:
        changed = instant_from_text(oldest)
    if changed is not None:
        first = min(first or day_of(changed, tz), day_of(changed, tz))
    first_kept = first_kept_day(connection, tz)
    if first is not None and first_kept is not None:
        first = max(first, first_kept)
    return first, newest


def _changed_since(connection: Connection, source: str, seen_id: int) -> datetime | None:
    """Return the moment from which on rows with a higher id can have changed what was grown; None for nothing.

    A good reading decides over the odd ones just before it, and ends the gap that it closes; a count of tokens ends the gap since
    the last one, which may be longer. A price alone reaches no further back than itself, and a row with nothing changes nothing.
    """
    good, tokens, priced = connection.execute(
        """
        SELECT
            min(collected_at) FILTER (WHERE good),
            min(collected_at) FILTER (WHERE good AND tokens_generated IS NOT NULL),
            min(collected_at) FILTER (WHERE xmr_price_usd IS NOT NULL)
        FROM revenue_snapshots
        WHERE id > :seen AND source = :source AND collected_at >= :beginning
        """,
        {"source": source, "seen": seen_id, "beginning": readings.BEGINNING},
    ).get
    times = [priced]
    if good is not None:
        earlier = connection.execute(
            """
            SELECT collected_at
            FROM revenue_snapshots
            WHERE source = :source AND good AND collected_at < :good AND collected_at >= :beginning
            ORDER BY collected_at DESC
            LIMIT :convincing
            """,
            {
                "source": source, "good": good, "beginning": readings.BEGINNING,
                "convincing": growth.READINGS_THAT_CONVINCE,
            },
        ).fetchall()  # fmt: skip
        times.append(earlier[-1][0] if earlier else good)
    if tokens is not None:
        times.append(
            connection.execute(
                """
                SELECT max(collected_at)
                FROM revenue_snapshots
                WHERE source = :source AND good AND tokens_generated IS NOT NULL AND collected_at < :tokens
                    AND collected_at >= :beginning
                """,
                {"source": source, "tokens": tokens, "beginning": readings.BEGINNING},
            ).get
        )
    known = [text for text in times if text is not None]
    return instant_from_text(min(known)) if known else None


def _can_close(connection: Connection, source: str, ended: datetime, now: datetime) -> bool:
    if now >= ended + CLOSES_ANYWAY_AFTER:
        return True
    after = connection.execute(
        """
        SELECT count(*)
        FROM (
            SELECT 1
            FROM revenue_snapshots
            WHERE source = :source AND good AND collected_at > :ended AND collected_at <= :until
            LIMIT :most
        )
        """,
        {
            "source": source, "ended": text_from_instant(ended), "until": text_from_instant(now),
            "most": GOOD_SAMPLES_THAT_CLOSE,
        },
    ).get  # fmt: skip
    return bool(after == GOOD_SAMPLES_THAT_CLOSE)


def _bounds(connection: Connection, day: date, tz: ZoneInfo) -> tuple[datetime, datetime]:
    """Return [start, end) of what a day's row stands for: the local day; the first after the mark of pruning begins at the mark.

    It does so anyway, unless a rebuild has put other days beside those before the mark.
    """
    start, end = day_bounds(day, tz)
    mark = pruned_before(connection)
    if mark is None or day < (first := first_kept_day(connection, tz) or day):
        return start, end
    return mark if day == first else max(start, mark), end


def pruned_before(connection: Connection) -> datetime | None:
    """Return the moment before which snapshots were pruned; None when none were."""
    mark = meta.get(connection, SNAPSHOTS_PRUNED_BEFORE)
    return None if mark is None else instant_from_text(mark)


def _write_day(connection: Connection, source: str, day: date, grown: Grown) -> None:
    connection.execute(
        """
        INSERT INTO daily_growth (
            day, source, earned_atomic, earned_nano, unpriced_atomic, requests, tokens, covered_seconds, flag
        )
        VALUES (
            :day, :source, :earned_atomic, :earned_nano, :unpriced_atomic, :requests, :tokens, :covered_seconds, :flag
        )
        ON CONFLICT (source, day) DO UPDATE SET
            earned_atomic = excluded.earned_atomic,
            earned_nano = excluded.earned_nano,
            unpriced_atomic = excluded.unpriced_atomic,
            requests = excluded.requests,
            tokens = excluded.tokens,
            covered_seconds = excluded.covered_seconds,
            flag = excluded.flag
        """,
        {**vars(grown), "day": day.isoformat(), "source": source},
    )
