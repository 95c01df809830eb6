"""Week over week: this week so far, last week to the same point on the wall clock, and the whole last week."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from orchestrator.growth import Flag, change_percent
from orchestrator.ledger.growth_windows import window
from orchestrator.ledger.readings import Grown
from orchestrator.ledger.setup import Setup
from orchestrator.ledger.snapshots import MLX_API, XMR_MINING
from orchestrator.money import usd_from_nano
from orchestrator.periods import same_point_last_week, week_bounds
from orchestrator.store.database import Connection


@dataclass(frozen=True)
class WeekGrowth:
    """What was mined and served in [start, end): piconero, USD of what has a price, piconero of what has none, counts.

    None is not known. A flag is `estimated` when an end of the window lies in a gap of the readings, `unknown` when nothing was
    observed; `flag` speaks for all that was observed. `hours` is how long the window is, `…_hours_known` how much of it the
    readings cover.
    """

    start: datetime
    end: datetime
    xmr_atomic: int | None
    xmr_usd: Decimal | None
    unpriced_atomic: int | None
    requests: int | None
    tokens: int | None
    flag: Flag
    xmr_flag: Flag
    mlx_flag: Flag
    hours: float
    xmr_hours_known: float
    mlx_hours_known: float


@dataclass(frozen=True)
class WeeklyTrend:
    """Three windows, and the change in percent from `last_week_to_date` to `this_week` by xmr_atomic, xmr_usd, requests, tokens.

    A percentage is None when a side is unknown (for USD also: when a part has no price), or when last week was not above zero.
    """

    this_week: WeekGrowth
    last_week_to_date: WeekGrowth
    last_week: WeekGrowth
    change_percent: dict[str, float | None]


def weekly_trend(connection: Connection, setup: Setup, now: datetime) -> WeeklyTrend:
    """Return this week so far beside last week, in the file's zone and week."""
    start, _ = week_bounds(now, setup.tz, setup.week_starts_on)
    same_point = same_point_last_week(now, setup.tz)
    last_start, _ = week_bounds(same_point, setup.tz, setup.week_starts_on)
    # Where clocks changed in between, the same wall-clock point can fall on the other side of the boundary.
    same_point = min(same_point, start)
    this_week = _week(connection, setup, start, now, now)
    last_week_to_date = _week(connection, setup, last_start, same_point, now)
    return WeeklyTrend(
        this_week,
        last_week_to_date,
        _week(connection, setup, last_start, start, now),
        {
            "xmr_atomic": change_percent(this_week.xmr_atomic, last_week_to_date.xmr_atomic),
            "xmr_usd": change_percent(_nano(this_week), _nano(last_week_to_date)),
            "requests": change_percent(this_week.requests, last_week_to_date.requests),
            "tokens": change_percent(this_week.tokens, last_week_to_date.tokens),
        },
    )


def _week(connection: Connection, setup: Setup, start: datetime, end: datetime, now: datetime) -> WeekGrowth:
    def grown(source: str) -> Grown:
        return window(connection, source, start, end, setup.tz, setup.interval_seconds, now)

    mined, served = grown(XMR_MINING), grown(MLX_API)
    flags = {mined.flag, served.flag}
    return WeekGrowth(
        start=start,
        end=end,
        xmr_atomic=mined.earned_atomic,
        xmr_usd=None if mined.earned_nano is None else usd_from_nano(mined.earned_nano),
        unpriced_atomic=mined.unpriced_atomic,
        requests=served.requests,
        tokens=served.tokens,
        flag="estimated" if "estimated" in flags else "exact" if "exact" in flags else "unknown",
        xmr_flag=mined.flag,
        mlx_flag=served.flag,
        hours=(end - start).total_seconds() / 3600,
        xmr_hours_known=mined.covered_seconds / 3600,
        mlx_hours_known=served.covered_seconds / 3600,
    )


def _nano(week: WeekGrowth) -> int | None:
    """Return a week's USD as nano-USD, or None when a part of what was mined has no price."""
    return None if week.xmr_usd is None or week.unpriced_atomic else int(week.xmr_usd * 10**9)
