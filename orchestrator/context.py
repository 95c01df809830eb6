"""The lines that go into an agent's prompt: what it earns and spends, in words that say how old and how sure each figure is.

`gather` reads facts from the file, `render` turns them into text, `format_for_context` does both and always returns a string.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from math import isfinite

from orchestrator.errors import FileMissing, OrchestratorError
from orchestrator.ledger import alerts, channels, snapshots
from orchestrator.ledger import setup as setups
from orchestrator.ledger.alerts import Alert
from orchestrator.ledger.channels import Unreached, unreached_text
from orchestrator.ledger.setup import Setup
from orchestrator.ledger.snapshots import MLX_API, NAMES, XMR_MINING, Latest
from orchestrator.ledger.spooled import spooled, spooled_text
from orchestrator.loading import loading
from orchestrator.money import nano_price, usd_from_nano, usd_text, xmr_text, xmr_value_nano
from orchestrator.periods import age_text, span_text
from orchestrator.reports.balance import NO_BALANCE, Balance, balance, balance_text
from orchestrator.reports.pnl import Pnl, Standing, remarks, standing
from orchestrator.reports.trends import WeekGrowth, WeeklyTrend, weekly_trend
from orchestrator.store.database import Connection, Database
from orchestrator.text import one_line

# What other programs write into the file may be anything; a price beyond is none.
MOST_USD = 1e9
NO_SOURCE = "Revenue: no source is configured"
# Below this share of known time a comparison says how much of it was observed.
WELL_COVERED = 0.9
MOST_ALERTS = 5
# What is dropped last when room is short, after the alerts and channels that begin with 1.
_SOURCES, _BALANCE, _COSTS, _WEEK = 10, 20, 25, 30
_COSTS_LACK = frozenset(("ai_inference", "operating_cost", "spooled_records"))


@dataclass(frozen=True)
class Facts:
    """What the lines are made of. `price_usd` is the last known one, at most a day old, for a balance read without one.

    `balance` is None when nobody looks at OpenRouter, `alerts` are the open ones, `unreached` the places with channels that are stopped,
    `standing` is None while nobody has recorded a call, a cost or revenue.
    """

    now: datetime
    latest: dict[str, Latest | None]
    price_usd: float | None
    trend: WeeklyTrend | None
    balance: Balance | None = None
    alerts: tuple[Alert, ...] = ()
    unreached: tuple[Unreached, ...] = ()
    standing: Standing | None = None


@dataclass(frozen=True)
class Line:
    """One line of the context; the highest rank is dropped first when room is short."""

    text: str
    rank: int


def format_for_context(database: Database, otherwise: Callable[[], Setup], max_chars: int | None, now: datetime) -> str:
    """Return the lines for a prompt, at most `max_chars` characters, the least important left out first.

    `otherwise` tells what is configured, for a file that does not exist yet or does not say. What cannot be read becomes a line.
    """
    waiting = spooled(database.path)
    try:
        try:
            with database.read() as connection:
                lines = render(gather(connection, otherwise, now, spooled=waiting))
        except FileMissing:
            with loading():
                setup = otherwise()
            untried = None if setup.credits_interval_seconds is None else NO_BALANCE
            lines = render(Facts(now, dict.fromkeys(setup.sources or ()), None, None, untried)) + _unread(waiting)
    except OrchestratorError as error:
        lines = unavailable(error) + _unread(waiting)
    except Exception as error:  # noqa: BLE001 - an agent's prompt must not fail for a row that nobody thought of
        lines = unavailable(error) + _unread(waiting)
    return fitting(lines, max_chars)


def unavailable(error: Exception) -> list[Line]:
    """Return the lines that stand in for facts that cannot be read."""
    return [Line("Revenue:", 0), Line(f"- data unavailable: {one_line(str(error), 300)}", 1)]


def gather(connection: Connection, otherwise: Callable[[], Setup], now: datetime, *, spooled: int | None = 0) -> Facts:
    """Return what the file knows at `now`; where it does not say what is configured, `otherwise` does.

    `spooled` records wait beside the file, None: some.
    """
    setup = setups.read(connection, otherwise)
    latest = {
        source: snapshots.latest(connection, source, setup.interval_seconds, now)
        for source in setups.shown_sources(connection, setup)
    }
    # A source that the daemon no longer asks is shown while its value may still matter.
    shown = {
        source: one
        for source, one in latest.items()
        if not setup.said_by_file
        or source in (setup.sources or ())
        or (one is not None and one.state in ("fresh", "stale"))
    }
    price = snapshots.last_price(connection, now) if XMR_MINING in shown else None
    trend = weekly_trend(connection, setup, now) if any(shown.values()) else None
    looks_every = setup.credits_interval_seconds
    return Facts(
        now,
        shown,
        None if price is None else price[0],
        trend,
        None if looks_every is None else balance(connection, looks_every, now),
        tuple(alerts.open_alerts(connection)),
        tuple(channels.unreached(connection)),
        standing(connection, setup, now, spooled=spooled),
    )


def render(facts: Facts) -> list[Line]:
    """Return the lines, first the heading."""
    lines = [Line("Revenue:" if facts.latest else NO_SOURCE, 0)]
    for rank, (source, latest) in enumerate(facts.latest.items(), start=_SOURCES):
        lines.append(Line(f"- {NAMES[source]}: {_source_text(source, latest, facts)}", rank))
    week = _week_text(facts.trend, facts.latest) if facts.trend else ""
    if week:
        lines.append(Line(f"- Week so far: {week}", _WEEK))
    if facts.standing is not None:
        lines.append(Line(f"- Costs: {_costs_text(facts.standing)}", _COSTS))
    if facts.balance is not None:
        lines.append(Line(f"- OpenRouter: {balance_text(facts.balance, facts.now)}", _BALANCE))
    return lines + _alert_lines(facts)


def fitting(lines: list[Line], max_chars: int | None) -> str:
    """Return the lines as text of at most `max_chars` characters; the highest rank goes first, a last one is cut."""
    kept = list(lines)
    text = "\n".join(line.text for line in kept)
    if max_chars is None:
        return text
    while len(text) > max_chars and len(kept) > 1:
        # The heading goes last but one: a line that stands alone names its subject itself.
        droppable = [line for line in kept if line.rank > 0]
        kept.remove(max(droppable, key=lambda line: line.rank) if len(droppable) > 1 else kept[0])
        text = "\n".join(line.text for line in kept)
    if len(text) <= max_chars or max_chars <= 0:
        return text[: max(max_chars, 0)]
    # Not inside a word: a figure that is cut is another figure.
    words = text[: max_chars - 1] if text[max_chars - 1] == " " else text[: max_chars - 1].rpartition(" ")[0]
    return f"{words.rstrip()}…"


def _unread(spooled: int | None) -> list[Line]:
    """Return the line that stands for costs where there is no file to tell them, but a spool."""
    return [Line(f"- Costs: unknown ({spooled_text(spooled)})", _COSTS)] if spooled != 0 else []


def _alert_lines(facts: Facts) -> list[Line]:
    lines = []
    for rank, alert in enumerate(facts.alerts[:MOST_ALERTS], start=1):
        age = span_text((facts.now - alert.raised_at).total_seconds())
        lines.append(Line(f"- Alert ({alert.severity}, {age} ago): {one_line(alert.now.brief)}", rank))
    if more := len(facts.alerts) - len(lines):
        lines.append(Line(f"- Alerts: {more} more, see `orchestrator alerts list`", MOST_ALERTS + 1))
    # Of a mailbox only that it is one: its address is nobody's business but the operator's.
    places = [unreached_text(place, facts.now) for place in facts.unreached]
    return lines + [Line(f"- Alerts no longer reach {place}", MOST_ALERTS + 2) for place in places]


def _source_text(source: str, latest: Latest | None, facts: Facts) -> str:
    if latest is None or latest.last_attempt_at is None:
        return "no data collected yet"
    reason = _reason(latest)
    if latest.collected_at is None or latest.age_seconds is None:
        age = age_text((facts.now - latest.last_attempt_at).total_seconds())
        return f"data unavailable ({age})" + (f": {reason}" if reason else "")
    said = _mining_text(latest, facts.price_usd) if source == XMR_MINING else _serving_text(latest)
    text = f"{said} ({age_text(latest.age_seconds)})"
    if latest.failures:
        tries = "1 try" if latest.failures == 1 else f"{latest.failures} tries"
        if latest.failures >= snapshots.MOST_FAILURES:
            tries = f"over {tries}"
        how = "no data" if reason.startswith(("wallet unknown", "no counters")) else "unreachable"
        text += f"; {how} for {span_text(latest.age_seconds)}, {tries}" + (f": {reason}" if reason else "")
    return text


def _mining_text(latest: Latest, price_usd: float | None) -> str:
    if latest.balance_atomic is None:
        return "balance unknown"
    own = latest.xmr_price_usd
    price = own if own is not None and 0 < own < MOST_USD else price_usd
    amount = xmr_text(latest.balance_atomic)
    if price is None:
        balance = f"{amount} balance (price unknown)"
    else:
        balance = (
            f"{usd_text(usd_from_nano(xmr_value_nano(latest.balance_atomic, nano_price(price))))} balance ({amount})"
        )
    known = latest.hashrate is not None and isfinite(latest.hashrate)
    rate = f"hashrate {latest.hashrate:.0f} H/s" if known else "hashrate unknown"
    return f"{balance}, {rate}"


def _serving_text(latest: Latest) -> str:
    served = "requests unknown" if latest.requests_served is None else f"{latest.requests_served} requests served"
    tokens = "tokens unknown" if latest.tokens_generated is None else f"{latest.tokens_generated} tokens"
    return f"{served}, {tokens}" + (", says it is not healthy" if latest.healthy is False else "")


def _reason(latest: Latest) -> str:
    """Return why the last attempt failed, of a row's `pool: …; price: …` only what concerns the values themselves."""
    said = one_line(latest.last_error or "", 400)
    parts = [part for part in said.split("; ") if not part.startswith("price: ")]
    return one_line("; ".join(part.removeprefix("pool: ") for part in parts), 100)


def _costs_text(stands: Standing) -> str:
    today, month = stands.today, stands.thirty_days
    counted = ["1 call" if stands.calls_today == 1 else f"{stands.calls_today} calls"]
    if today.unpriced_calls:
        counted.append(f"{today.unpriced_calls} unpriced")
    earlier = f" ({month.unpriced_calls} unpriced)" if month.unpriced_calls > today.unpriced_calls else ""
    costs = f"{_spent(today)} today ({', '.join(counted)}), {_spent(month)} in 30 days{earlier}"
    lacking = [said for name, said in remarks(month).items() if name != "ai_inference"]
    if month.mining_usd is not None and (month.mining_hours_known or 0) < WELL_COVERED * (month.mining_hours or 0):
        lacking.append(month.coverage)
    nothing_known = bool(month.unknown) and not month.total_revenue_usd and not month.total_costs_usd
    net = _amount(month.net_pnl_usd, unknown=nothing_known)
    return f"{costs}; net 30 days {net}" + (f" ({', '.join(lacking)})" if lacking else "")


def _spent(pnl: Pnl) -> str:
    return _amount(pnl.total_costs_usd, unknown=not _COSTS_LACK.isdisjoint(pnl.unknown))


def _amount(usd: Decimal, *, unknown: bool) -> str:
    """Return an amount for a reader; nothing, of which a part is unknown, is no zero."""
    return "unknown" if unknown and not usd else usd_text(usd)


def _week_text(trend: WeeklyTrend, latest: dict[str, Latest | None]) -> str:
    this, last = trend.this_week, trend.last_week_to_date
    parts = []
    if XMR_MINING in latest and (this.xmr_atomic is not None or last.xmr_atomic is not None):
        percent = trend.change_percent["xmr_usd" if _priced(this) and _priced(last) else "xmr_atomic"]
        parts.append(
            _compared(f"{_mined(this)} mined", _mined(last), percent, _coverage(last.xmr_hours_known, last.hours))
        )
    if MLX_API in latest and (this.requests is not None or last.requests is not None):
        coverage = _coverage(last.mlx_hours_known, last.hours)
        parts.append(
            _compared(
                f"{_count(this)} requests", _count(last), trend.change_percent["requests"], coverage, first=not parts
            )
        )
    return "; ".join(parts)


def _compared(now: str, then: str, percent: float | None, coverage: str, *, first: bool = True) -> str:
    point = " at this point last week" if first else ""
    change = "" if percent is None else f" ({percent:+.0f}%)"
    return f"{now} vs {then}{point}{coverage}{change}"


def _coverage(known: float, hours: float) -> str:
    return f" (known {known:.0f} of {hours:.0f}h)" if 0 < known < WELL_COVERED * hours else ""


def _priced(week: WeekGrowth) -> bool:
    return week.xmr_usd is not None and not week.unpriced_atomic


def _mined(week: WeekGrowth) -> str:
    if week.xmr_atomic is None or week.xmr_usd is None:
        return "unknown"
    about = "~" if week.xmr_flag == "estimated" else ""
    if not week.unpriced_atomic:
        return f"{about}{usd_text(week.xmr_usd)}"
    unpriced = f"{xmr_text(week.unpriced_atomic)} (price unknown)"
    return about + (f"{usd_text(week.xmr_usd)} + {unpriced}" if week.xmr_usd else unpriced)


def _count(week: WeekGrowth) -> str:
    if week.requests is None:
        return "unknown"
    return f"{'~' if week.mlx_flag == 'estimated' else ''}{week.requests}"
