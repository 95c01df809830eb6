"""A million calls of ninety days: what reports take, beside DuckDB on the same rows, and that every sum is exact."""

import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import orchestrator
from bench import typical
from bench.peers_duckdb import Duck
from bench.timing import Row, in_turn, median_ms, ratio
from orchestrator.ledger import rollups, setup
from orchestrator.ledger.setup import Setup
from orchestrator.pricing import PriceBook, configured_rates
from orchestrator.recording.repricing import reprice
from orchestrator.reports import pnl, spending, window
from orchestrator.reports.call_sums import ANY
from orchestrator.reports.spending import By
from orchestrator.store.database import Database

MILLION, DAYS, AT_ONCE, ROUNDS = 1_000_000, 90, 50_000, 25
HERE = Setup(sources=())

Answer = Decimal | dict[str, Decimal]
Question = Callable[[], Answer]


def measure(folder: Path, now: datetime) -> list[Row]:
    """Return the rows of a million calls."""
    database = Database(folder / "million.db")
    with database.write() as connection:
        setup.write(connection, HERE)
    calls = typical.calls(MILLION, now - timedelta(days=DAYS), now)
    recording = _seconds(lambda: _record(database, calls, now))
    database.checkpoint()
    if (spent := _spent(database)) != Decimal(1080):
        raise AssertionError(spent)
    _book(database, now)
    rows = [
        *_asked(folder, database, now),
        _context(database, now),
        Row("recording the million", f"{recording:.0f} s", f"exactly ${spent:.9f}", ""),
        *_kept(database),
    ]
    database.close()
    return rows


def _asked(folder: Path, database: Database, now: datetime) -> list[Row]:
    """Measure each question after a call that makes what was remembered out of date."""
    duck = Duck(folder / "million.duckdb", database)
    first, last = now.date() - timedelta(days=29), now.date()
    fast, dimension, other = "≤ 1.5 ms, ≥ 5 ×", "≤ 5 ms", "≤ 150 ms"
    questions: Mapping[str, tuple[Question, Question, str]] = {
        "P&L of 30 days": (
            lambda: orchestrator.get_pnl(db=database, now=now).net_pnl_usd, partial(duck.net, first, last), fast,
        ),
        "all that was ever spent, by tier": (
            partial(_ever, database, now), duck.by_tier, fast,
        ),
        "a daily series of 30 days": (partial(_series, database, now), partial(duck.net_by_day, first, last), fast),
        "30 days by tenant": (partial(_by, database, "tenant", now, 30), partial(duck.by, "tenant_id", first, last), dimension),
        "30 days by operation": (partial(_by, database, "operation", now, 30), partial(duck.by, "operation", first, last), dimension),
        "30 days by endpoint": (partial(_by, database, "endpoint", now, 30), partial(duck.by, "endpoint", first, last), other),
        "all days by endpoint": (
            partial(_by, database, "endpoint", now, DAYS + 1),
            partial(duck.by, "endpoint", now.date() - timedelta(days=DAYS), last), "",
        ),
    }  # fmt: skip
    rows = []
    for name, (ours, theirs, goal) in questions.items():
        seconds = in_turn({"change": partial(_change, database, now), "ours": ours, "duck": theirs}, ROUNDS)
        if ours() != theirs():
            raise AssertionError(name)
        beside = f"{ratio(seconds, 'duck', 'ours'):.2g} × as fast as DuckDB on the same rows ({median_ms(seconds['duck'])}), equal to the nano"
        rows.append(Row(f"{name}, of a million calls", median_ms(seconds["ours"]), beside, goal))
    duck.close()
    return rows


def _context(database: Database, now: datetime) -> Row:
    ask = partial(orchestrator.format_for_context, db=database, now=now)
    if "Costs: " not in ask():
        raise AssertionError(ask())
    changed = in_turn({"change": partial(_change, database, now), "context": ask}, 200)
    again = in_turn({"context": ask}, 1000)
    beside = f"{median_ms(changed['context'])} after a new call"
    return Row("`format_for_context()` with a million calls", median_ms(again["context"]), beside, "≤ 1 ms")


def _kept(database: Database) -> list[Row]:
    """Measure what an operator does with a million calls."""
    own = PriceBook({typical.MODEL["model"]: configured_rates(input_per_million=1.0, output_per_million=5.0)})
    repricing = _seconds(lambda: list(reprice(database, own)))
    if (spent := _spent(database)) != Decimal(1350):
        raise AssertionError(spent)
    verifying = _seconds(lambda: _verify(database))
    rebuilding = _seconds(lambda: list(rollups.rebuild(database, HERE.tz)))
    if _spent(database) != spent:
        raise AssertionError(_spent(database))
    return [
        Row("`reprice` of the million at 1 and 5 USD", f"{repricing:.0f} s", f"exactly ${spent:.9f}", ""),
        Row("`doctor --verify` of the million", f"{verifying:.1f} s", "no difference", ""),
        Row("`rebuild` of the million", f"{rebuilding:.1f} s", "", ""),
    ]


def _record(database: Database, calls: Iterator[dict[str, Any]], now: datetime) -> None:
    while batch := list(islice(calls, AT_ONCE)):
        if {one.outcome for one in orchestrator.record_calls(batch, db=database, now=now)} != {"stored"}:
            raise AssertionError


def _book(database: Database, now: datetime) -> None:
    """Book what an agent pays for a day, and what it earns of ten customers."""
    for day in (now - timedelta(days=n) for n in range(DAYS)):
        for n, category in enumerate(("hosting", "storage", "licences")):
            orchestrator.record_cost(category=category, amount_usd=1 + n / 8, period_start=day, now=now, db=database)
        for customer in range(10):
            orchestrator.record_revenue(
                source="customers",
                strategy_id=f"customer-{customer}",
                amount_usd=2,
                earned_at=day,
                now=now,
                db=database,
            )


def _change(database: Database, now: datetime) -> None:
    """Record a call that costs nothing, among the others."""
    orchestrator.record_call(
        service="anthropic", model="claude-3-5-haiku", cost_usd=0, called_at=now, tenant_id="tenant-0",
        operation="chat", tier="premium", endpoint="/v1/0", db=database,
    )  # fmt: skip


def _series(database: Database, now: datetime) -> dict[str, Decimal]:
    with database.read() as connection:
        days = pnl.pnl_by(connection, HERE, window.between(None, None, HERE.tz, now), "day", now)
    return {day.period_start.date().isoformat(): day.net_pnl_usd for day in days}


def _ever(database: Database, now: datetime) -> dict[str, Decimal]:
    by_tier = orchestrator.get_ai_spend_summary(db=database, now=now).by_tier
    return {str(tier): spent.cost_usd for tier, spent in by_tier.items()}


def _by(database: Database, by: By, now: datetime, days: int) -> dict[str, Decimal]:
    with database.read() as connection:
        asked = window.last_days(days, now.date(), HERE.tz)
        found = spending.breakdown(connection, HERE, by, asked, ANY, None)
    return {str(row.dimensions[spending.NAMES[by][0]]): row.cost_usd or Decimal(0) for row in found.rows}


def _spent(database: Database) -> Decimal:
    return orchestrator.get_ai_spend_summary(db=database).total_cost_usd


def _verify(database: Database) -> None:
    with database.read() as connection:
        if differences := rollups.verify(connection, HERE.tz):
            raise AssertionError(differences)


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
