"""What an agent asks: its context, where its sources stand, what it earned, what is left of it, and what it was told."""

from datetime import datetime
from decimal import Decimal
from pathlib import Path

from orchestrator import context
from orchestrator.api.files import asked, clock, configured, database_of
from orchestrator.errors import FileMissing, OrchestratorError
from orchestrator.ledger import alerts
from orchestrator.ledger.alerts import Alert
from orchestrator.ledger.snapshots import Latest
from orchestrator.ledger.spooled import spooled
from orchestrator.reports import pnl, trends
from orchestrator.reports import window as windows
from orchestrator.reports.latest import latest_by_source
from orchestrator.reports.pnl import Pnl
from orchestrator.reports.trends import WeeklyTrend
from orchestrator.reports.window import Moment
from orchestrator.store.database import Database


def format_for_context(
    max_chars: int | None = None, *, now: datetime | None = None, db: str | Path | Database | None = None
) -> str:
    """Return the lines for an agent's prompt; always a string, at most `max_chars` characters, the least important dropped first.

    What is unknown says so; a file that cannot be read becomes a line that says why.
    """
    try:
        database = database_of(db)
    except OrchestratorError as error:
        return context.fitting(context.unavailable(error), max_chars)
    return context.format_for_context(database, configured, max_chars, now or clock())


def get_latest(*, now: datetime | None = None, db: str | Path | Database | None = None) -> dict[str, Latest | None]:
    """Return each source's last good snapshot with its age and what was tried since.

    None stands for a source that is neither configured nor in the file; one that was never good has the state `never`.
    Raises StoreError for a file that cannot be read.
    """
    return latest_by_source(database_of(db), configured, now or clock())


def get_weekly_trend(*, now: datetime | None = None, db: str | Path | Database | None = None) -> WeeklyTrend:
    """Return this week so far, last week to the same point, and the whole last week, with the change in percent.

    Raises FileMissing while there is no file, StoreError for one that cannot be read.
    """
    with asked(db) as (connection, setup):
        return trends.weekly_trend(connection, setup, now or clock())


def get_pnl(
    since: Moment | None = None,
    until: Moment | None = None,
    *,
    now: datetime | None = None,
    db: str | Path | Database | None = None,
) -> Pnl:
    """Return revenue, costs and what is left, in USD, with the names of what is not known; the last 30 local days by default.

    Here and below a date means the local day, as `until` that day included, and a datetime means the moment, as `until` excluded;
    text of either will do, and without an offset a time is in the file's zone. Operating costs accrue evenly over their local day.
    Raises FileMissing while there is no file, StoreError for one that cannot be read, ValueError for a time that is none.
    """
    now = now or clock()
    with asked(db) as (connection, setup):
        window = windows.between(since, until, setup.tz, now)
        return pnl.pnl(connection, setup, window, now, spooled=spooled(database_of(db).path))


def get_operating_cost_total(
    category: str | None = None,
    *,
    now: datetime | None = None,  # noqa: ARG001 - every call takes `now`
    db: str | Path | Database | None = None,
) -> Decimal:
    """Return all operating costs ever recorded, in USD, or those of a category; without those whose amount is not known."""
    with asked(db) as (connection, _):
        return pnl.operating_cost_total(connection, category)


def get_revenue_total(
    strategy_id: str | None = None, *, now: datetime | None = None, db: str | Path | Database | None = None
) -> Decimal:
    """Return all revenue ever booked and all mining that has a price, in USD; with a strategy, what was booked for it.

    What has no rate or no price is not in it; `get_pnl().unknown` names it.
    """
    with asked(db) as (connection, setup):
        return pnl.revenue_total(connection, setup, strategy_id, now or clock())


def get_alert_history(
    limit: int = 50, *, now: datetime | None = None, db: str | Path | Database | None = None
) -> list[Alert]:
    """Return the last alerts, at most `limit`, the newest first, with what became of each; none while there is no file.

    Raises StoreError for a file that cannot be read. `now` leaves out what was raised later.
    """
    try:
        with database_of(db).read() as connection:
            found = alerts.recent_alerts(connection, limit)
    except FileMissing:
        return []
    return [alert for alert in found if now is None or alert.raised_at <= now]
