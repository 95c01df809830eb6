"""What each local day of a window earned and cost, in nano-USD: the parts that every profit and loss is the sum of.

A whole day is the view `pnl_daily` and, until the day is closed, its mining from the snapshots. Of a day that a window cuts, facts
count by their time, and its operating costs in proportion to time: they accrue evenly over their local day.
"""

from collections.abc import Iterator
from datetime import date, datetime
from typing import Final, NamedTuple

from orchestrator.ledger import growth_days, growth_windows, shares
from orchestrator.ledger.pruning import pruned_before
from orchestrator.ledger.readings import Grown
from orchestrator.ledger.setup import Setup
from orchestrator.ledger.snapshots import XMR_MINING
from orchestrator.periods import day_bounds, day_of, days_between, instant_from_text, millis, text_from_instant
from orchestrator.reports.window import Window
from orchestrator.store.database import Connection

_NOTHING_MINED: Final = Grown()


class Part(NamedTuple):
    """A local day, or a part of one. `revenue` contains the priced mining.

    `unknown_revenue` and `unknown_operating`: something was booked without an amount in USD, or is in no day yet. `pruned`: what the calls cost is not
    known any more, because only a part of a day is asked for.
    """

    day: date
    start: datetime
    end: datetime
    revenue: int
    ai: int
    operating: int
    unpriced_calls: int
    mined: Grown
    unknown_revenue: bool = False
    unknown_operating: bool = False
    pruned: bool = False


def parts(connection: Connection, setup: Setup, window: Window, now: datetime) -> list[Part]:
    """Return what the window is made of, in order of time; a date that the zone skipped is no part."""
    made = list(_whole_days(connection, setup, window, now))
    for day, start, end in window.parts:
        made.append(_part_of_day(connection, setup, day, start, end, now))
    made.sort(key=lambda part: part.start)
    if unknown := _costs_not_counted(connection, window):
        made = [
            part._replace(unknown_operating=any(a < part.end and part.start < b for a, b in unknown)) for part in made
        ]
    return made


def is_mining(connection: Connection, setup: Setup) -> bool:
    """Return whether mining is asked for, or the file has any row of it."""
    if XMR_MINING in (setup.sources or ()):
        return True
    return bool(
        connection.execute(
            """
            SELECT EXISTS (SELECT 1 FROM revenue_snapshots WHERE source = :source)
                OR EXISTS (SELECT 1 FROM daily_growth WHERE source = :source)
            """,
            {"source": XMR_MINING},
        ).get
    )


def _whole_days(connection: Connection, setup: Setup, window: Window, now: datetime) -> Iterator[Part]:
    bounds = {"first": window.first.isoformat(), "last": window.last.isoformat()}
    sums = {
        day: (revenue, ai, operating, unpriced_calls)
        for day, revenue, ai, operating, unpriced_calls in connection.execute(
            """
            SELECT day, revenue_nano, ai_nano, operating_nano, unpriced_calls
            FROM pnl_daily
            WHERE day BETWEEN :first AND :last
            """,
            bounds,
        )
    }
    without_amount = {
        day
        for (day,) in connection.execute(
            """
            SELECT DISTINCT day
            FROM revenue
            WHERE day BETWEEN :first AND :last AND amount_nano IS NULL AND voided_at IS NULL
            """,
            bounds,
        )
    }
    closed = growth_days.day_rows(connection, XMR_MINING, window.first, window.last)
    observed = _observed(connection, now)
    for day in days_between(window.first, window.last):
        start, end = day_bounds(day, window.tz)
        if start == end:
            continue
        text = day.isoformat()
        revenue, ai, operating, unpriced_calls = sums.get(text, (0, 0, 0, 0))
        mined = closed.get(day, _NOTHING_MINED)
        if day not in closed and observed is not None and start < observed[1] and observed[0] < end:
            mined = _mined(connection, setup, start, end, now)
            revenue += mined.earned_nano or 0
        yield Part(
            day, start, end, revenue, ai, operating, unpriced_calls, mined, unknown_revenue=text in without_amount
        )


def _part_of_day(
    connection: Connection, setup: Setup, day: date, start: datetime, end: datetime, now: datetime
) -> Part:
    bounds = {"day": day.isoformat(), "start": text_from_instant(start), "end": text_from_instant(end)}
    booked, without_amount = connection.execute(
        """
        SELECT coalesce(sum(amount_nano), 0), count(id) FILTER (WHERE amount_nano IS NULL)
        FROM revenue
        WHERE day = :day AND earned_at >= :start AND earned_at < :end AND voided_at IS NULL
        """,
        bounds,
    ).get
    pruned = bounds["day"] < pruned_before(connection)
    ai, unpriced_calls = (0, 0) if pruned else connection.execute(
        """
        SELECT coalesce(sum(cost_nano), 0), count(id) FILTER (WHERE cost_nano IS NULL)
        FROM ai_calls
        WHERE day = :day AND called_at >= :start AND called_at < :end AND voided_at IS NULL
        """,
        bounds,
    ).get  # fmt: skip
    operating = connection.execute(
        "SELECT coalesce(sum(amount_nano), 0) FROM daily_operating_costs WHERE day = :day", bounds
    ).get
    opens, closes = map(millis, day_bounds(day, setup.tz))
    operating, before = (operating * (millis(at) - opens) // (closes - opens) for at in (end, start))
    mined = _mined(connection, setup, start, end, now)
    return Part(
        day, start, end, booked + (mined.earned_nano or 0), ai, operating - before, unpriced_calls, mined,
        unknown_revenue=without_amount > 0, pruned=pruned,
    )  # fmt: skip


def _mined(connection: Connection, setup: Setup, start: datetime, end: datetime, now: datetime) -> Grown:
    return growth_windows.window(connection, XMR_MINING, start, min(end, now), setup.tz, setup.interval_seconds, now)


def _observed(connection: Connection, now: datetime) -> tuple[datetime, datetime] | None:
    """Return the times of the first and last good reading of mining that the file still has."""
    first, last = connection.execute(
        """
        SELECT
            (SELECT min(collected_at) FROM revenue_snapshots WHERE source = :source AND good),
            (SELECT max(collected_at) FROM revenue_snapshots WHERE source = :source AND good AND collected_at <= :until)
        """,
        {"source": XMR_MINING, "until": text_from_instant(now)},
    ).get
    if first is None or last is None:
        return None
    since, until = instant_from_text(first), instant_from_text(last)
    return None if since is None or until is None else (since, until)


def _costs_not_counted(connection: Connection, window: Window) -> list[tuple[datetime, datetime]]:
    """Return when operating costs accrue whose amount is not known, or that another program wrote and that are in no day yet.

    Without a period they do so in the whole local day.
    """
    found = []
    for start_text, end_text in connection.execute(
        """
        SELECT period_start, period_end
        FROM operating_costs
        WHERE voided_at IS NULL AND (amount_nano IS NULL OR id > :shared)
        """,
        {"shared": shares.shared_up_to(connection)},
    ):
        start = instant_from_text(start_text)
        end = None if end_text is None else instant_from_text(end_text)
        if start is not None:
            found.append(
                (start, end) if end is not None and end > start else day_bounds(day_of(start, window.tz), window.tz)
            )
    return found
