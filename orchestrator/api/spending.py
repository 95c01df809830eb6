"""What an agent asks of its AI calls: what they cost, by what, and how they went."""

from datetime import date, datetime
from pathlib import Path

from orchestrator.api.files import asked, clock
from orchestrator.reports import spending
from orchestrator.reports import window as windows
from orchestrator.reports.spending import AiSpend, CostStats, ServiceSpend, UserSpend
from orchestrator.reports.window import Moment
from orchestrator.store.database import Database


def get_ai_spend_summary(
    *,
    now: datetime | None = None,  # noqa: ARG001 - every call takes `now`
    db: str | Path | Database | None = None,
) -> AiSpend:
    """Return what all AI calls ever recorded cost in USD, how many have no known cost, and the same by tier."""
    with asked(db) as (connection, _):
        return spending.ai_spend_ever(connection)


def get_daily_costs(
    day: Moment,
    *,
    now: datetime | None = None,  # noqa: ARG001 - every call takes `now`
    db: str | Path | Database | None = None,
) -> AiSpend:
    """Return what the AI calls of a local day cost in USD; a moment stands for its day."""
    with asked(db) as (connection, setup):
        local = windows.read_day(day, setup.tz)
        return spending.ai_spend(connection, windows.of_days(local, local, setup.tz))


def get_monthly_costs(
    year: int,
    month: int,
    *,
    now: datetime | None = None,  # noqa: ARG001 - every call takes `now`
    db: str | Path | Database | None = None,
) -> AiSpend:
    """Return what the AI calls of a local month cost in USD."""
    with asked(db) as (connection, setup):
        window = windows.of_period("month", date(year, month, 1), setup.tz, setup.week_starts_on)
        return spending.ai_spend(connection, window)


def get_service_breakdown(
    since: Moment | None = None,
    until: Moment | None = None,
    *,
    now: datetime | None = None,
    db: str | Path | Database | None = None,
) -> list[ServiceSpend]:
    """Return calls, USD, unpriced calls and tokens by service, the dearest first; times as in `get_pnl`."""
    with asked(db) as (connection, setup):
        return spending.service_breakdown(connection, windows.between(since, until, setup.tz, now or clock()))


def get_cost_stats(
    since: Moment | None = None,
    until: Moment | None = None,
    *,
    now: datetime | None = None,
    db: str | Path | Database | None = None,
) -> CostStats:
    """Return how many AI calls there were, how they went and what they cost in USD; times as in `get_pnl`."""
    with asked(db) as (connection, setup):
        return spending.cost_stats(connection, windows.between(since, until, setup.tz, now or clock()))


def get_top_users(
    since: Moment | None = None,
    until: Moment | None = None,
    limit: int = 10,
    *,
    now: datetime | None = None,
    db: str | Path | Database | None = None,
) -> list[UserSpend]:
    """Return the users who cost most, the dearest first, as far back as single calls are kept; times as in `get_pnl`."""
    with asked(db) as (connection, setup):
        return spending.top_users(connection, windows.between(since, until, setup.tz, now or clock()), limit)
