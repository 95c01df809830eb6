"""Profit and loss: what was earned, what was spent and what is left, and beside it what of that is not known."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from itertools import groupby

from orchestrator.ledger import growth_windows
from orchestrator.ledger.setup import Setup
from orchestrator.ledger.snapshots import XMR_MINING
from orchestrator.ledger.spooled import spooled_text
from orchestrator.money import usd_from_nano, xmr_text
from orchestrator.periods import day_of, day_start, instant_from_text
from orchestrator.reports import window as windows
from orchestrator.reports.pnl_days import Part, is_mining, parts
from orchestrator.reports.window import Period, Window
from orchestrator.store.database import Connection


@dataclass(frozen=True)
class Pnl:
    """What [period_start, period_end) earned and cost, in USD: sums of what is known, 0 where nothing was.

    `mining_usd`, a part of the revenue, is None when mining is configured or has rows, but nothing was observed.
    `unpriced_calls` have no known cost, `unpriced_atomic` is the piconero without a price, None like the mining. `unknown` names
    what lacks something: mining, mining_price, revenue, ai_inference, operating_cost, and spooled_records, which wait beside the file
    and may be of any of these and of any time. `spooled_records` counts them, None for some that were not counted. `coverage` says in
    words how much of the time up to now the mining was observed; `mining_hours_known` of `mining_hours` are its numbers, None where
    there is no mining.
    """

    total_revenue_usd: Decimal
    total_costs_usd: Decimal
    net_pnl_usd: Decimal
    ai_inference_cost_usd: Decimal
    operating_cost_usd: Decimal
    mining_usd: Decimal | None
    unpriced_calls: int
    unpriced_atomic: int | None
    unknown: tuple[str, ...]
    coverage: str
    mining_hours_known: float | None
    mining_hours: float | None
    period_start: datetime
    period_end: datetime
    spooled_records: int | None = 0


@dataclass(frozen=True)
class Standing:
    """Where the agent stands: the P&L of today and of the last 30 local days, and how many calls today has."""

    today: Pnl
    thirty_days: Pnl
    calls_today: int


def pnl(connection: Connection, setup: Setup, window: Window, now: datetime, *, spooled: int | None = 0) -> Pnl:
    """Return the profit and loss of a window; `spooled` records wait beside the file, None: some."""
    days, mines = parts(connection, setup, window, now), is_mining(connection, setup)
    return _sum(days, window.start, window.end, now, spooled, mines=mines)


def pnl_by(
    connection: Connection, setup: Setup, window: Window, period: Period, now: datetime, *, spooled: int | None = 0
) -> list[Pnl]:
    """Return the profit and loss of each local day, week or month of which the window holds a part, in order of time."""
    mines = is_mining(connection, setup)
    rows = []
    for _, group in groupby(
        parts(connection, setup, window, now), lambda part: windows.first_day(period, part.day, setup.week_starts_on)
    ):
        within = list(group)
        rows.append(_sum(within, within[0].start, within[-1].end, now, spooled, mines=mines))
    return rows


def standing(connection: Connection, setup: Setup, now: datetime, *, spooled: int | None = 0) -> Standing | None:
    """Return where the agent stands now; None while nobody has recorded a call, a cost or revenue."""
    if spooled == 0 and not _is_kept(connection):
        return None
    today = day_of(now, setup.tz)
    window = windows.last_days(windows.DEFAULT_DAYS, today, setup.tz)
    days = parts(connection, setup, window, now)
    calls = connection.execute(
        "SELECT coalesce(sum(calls), 0) FROM daily_totals WHERE day = :day", {"day": today.isoformat()}
    ).get
    mines, start = is_mining(connection, setup), day_start(today, setup.tz)
    return Standing(
        _sum(days[-1:], start, window.end, now, spooled, mines=mines),
        _sum(days, window.start, window.end, now, spooled, mines=mines),
        int(calls),
    )


def remarks(pnl: Pnl) -> dict[str, str]:
    """Return for each name in `unknown`, in a few words, what is not known."""
    calls = "1 unpriced call" if pnl.unpriced_calls == 1 else f"{pnl.unpriced_calls} unpriced calls"
    said = {
        "mining": "mining unknown",
        "mining_price": f"{xmr_text(pnl.unpriced_atomic or 0)} unpriced",
        "revenue": "revenue without a rate",
        "ai_inference": calls if pnl.unpriced_calls else "calls pruned",
        "operating_cost": "a cost not counted",
        "spooled_records": spooled_text(pnl.spooled_records),
    }
    return {name: said[name] for name in pnl.unknown}


def operating_cost_total(connection: Connection, category: str | None) -> Decimal:
    """Return all operating costs that were ever recorded, in USD, or those of one category."""
    return usd_from_nano(
        connection.execute(
            """
            SELECT coalesce(sum(amount_nano), 0)
            FROM operating_costs
            WHERE voided_at IS NULL AND (:category IS NULL OR category = :category)
            """,
            {"category": category},
        ).get
    )


def revenue_total(connection: Connection, setup: Setup, strategy_id: str | None, now: datetime) -> Decimal:
    """Return all revenue that was ever booked and all priced mining, in USD; with a strategy, what was booked for it."""
    booked = connection.execute(
        """
        SELECT coalesce(sum(amount_nano), 0)
        FROM revenue
        WHERE voided_at IS NULL AND (:strategy_id IS NULL OR strategy_id = :strategy_id)
        """,
        {"strategy_id": strategy_id},
    ).get
    return usd_from_nano(booked + (0 if strategy_id is not None else _mined_ever(connection, setup, now)))


def _sum(
    days: Sequence[Part], start: datetime, end: datetime, now: datetime, spooled: int | None, *, mines: bool
) -> Pnl:
    revenue = ai = operating = earned = 0
    unpriced_calls = unpriced_atomic = covered_seconds = 0
    is_mined = unknown_revenue = unknown_operating = False
    pruned = []
    for part in days:
        revenue += part.revenue
        ai += part.ai
        operating += part.operating
        unpriced_calls += part.unpriced_calls
        mined = part.mined
        covered_seconds += mined.covered_seconds
        if mined.earned_atomic is not None:
            is_mined = True
            earned += mined.earned_nano or 0
            unpriced_atomic += mined.unpriced_atomic or 0
        unknown_revenue |= part.unknown_revenue
        unknown_operating |= part.unknown_operating
        if part.pruned:
            pruned.append(part)
    lacks_mining = mines and not is_mined
    lacking = {
        "mining": lacks_mining,
        "mining_price": unpriced_atomic != 0,
        "revenue": unknown_revenue,
        "ai_inference": unpriced_calls > 0 or bool(pruned),
        "operating_cost": unknown_operating,
        "spooled_records": spooled != 0,
    }
    hours_known = hours = None
    if mines:
        hours_known = round(covered_seconds / 3600, 2)
        hours = round(max((min(end, now) - start).total_seconds(), 0.0) / 3600, 2)
    return Pnl(
        total_revenue_usd=usd_from_nano(revenue),
        total_costs_usd=usd_from_nano(ai + operating),
        net_pnl_usd=usd_from_nano(revenue - ai - operating),
        ai_inference_cost_usd=usd_from_nano(ai),
        operating_cost_usd=usd_from_nano(operating),
        mining_usd=None if lacks_mining else usd_from_nano(earned),
        unpriced_calls=unpriced_calls,
        unpriced_atomic=None if lacks_mining else unpriced_atomic,
        unknown=tuple(name for name, lacks in lacking.items() if lacks),
        coverage=_coverage(hours_known, hours, pruned),
        mining_hours_known=hours_known,
        mining_hours=hours,
        period_start=start,
        period_end=end,
        spooled_records=spooled,
    )


def _coverage(hours_known: float | None, hours: float | None, pruned: Sequence[Part]) -> str:
    mining = "no mining"
    if hours_known is not None and hours is not None:
        mining = f"mining known {_hours(hours_known)} of {_hours(hours)} h"
    if not pruned:
        return mining
    days = " and ".join(part.day.isoformat() for part in pruned)
    return f"{mining}; calls of a part of {days} not known any more, only of whole days"


def _hours(hours: float) -> str:
    return f"{hours:.0f}" if hours >= 10 else f"{hours:.1f}".removesuffix(".0")


def _is_kept(connection: Connection) -> bool:
    return bool(
        connection.execute(
            """
            SELECT EXISTS (SELECT 1 FROM daily_totals)
                OR EXISTS (SELECT 1 FROM operating_costs WHERE voided_at IS NULL)
                OR EXISTS (SELECT 1 FROM revenue WHERE voided_at IS NULL)
            """
        ).get
    )


def _mined_ever(connection: Connection, setup: Setup, now: datetime) -> int:
    """Return the nano-USD of all mining that has a price."""
    day, at = connection.execute(
        """
        SELECT
            (SELECT min(day) FROM daily_growth WHERE source = :source),
            (SELECT min(collected_at) FROM revenue_snapshots WHERE source = :source AND good)
        """,
        {"source": XMR_MINING},
    ).get
    begins = [
        *([day_start(date.fromisoformat(day), setup.tz)] if day else []),
        *([instant] if at and (instant := instant_from_text(at)) else []),
    ]
    if not begins:
        return 0
    grown = growth_windows.window(connection, XMR_MINING, min(begins), now, setup.tz, setup.interval_seconds, now)
    return grown.earned_nano or 0
