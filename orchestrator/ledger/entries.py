"""What is booked beside AI calls: operating costs, spread over their local days, and revenue. Recorded once by its id."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, Literal
from zoneinfo import ZoneInfo

from orchestrator.money import NanoUsd
from orchestrator.periods import day_bounds, day_of, days_between, instant_from_text, millis, text_from_instant
from orchestrator.store.database import Connection

Stored = Literal["stored", "duplicate", "voided"]

AI_INFERENCE = "ai_inference"
# What the tables take: beyond it an amount is nonsense, and sums of it could leave 64 bits.
MOST_NANO = 10**17
# A longer period is nonsense too: it would be a row for each of its days.
LONGEST_PERIOD = timedelta(days=36_525)


@dataclass(frozen=True, slots=True)
class OperatingCost:
    """What was spent on anything but AI calls; None is not known, or not said.

    Nano-USD, negative for a refund. It belongs to [period_start, period_end); without an end to the day of `period_start`.
    """

    entry_id: str
    category: str
    amount_nano: NanoUsd | None
    period_start: datetime
    period_end: datetime | None = None
    service: str | None = None
    description: str | None = None
    quantity: Decimal | None = None
    unit: str | None = None
    tenant_id: str | None = None
    resource_type: str | None = None
    resource_id: str | None = None
    voided_at: datetime | None = None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Revenue:
    """What somebody booked as earned. `amount_nano` is nano-USD, None when `currency` has no known rate; negative for a refund."""

    entry_id: str
    source: str
    earned_at: datetime
    amount_nano: NanoUsd | None
    strategy_id: str | None = None
    currency: str = "USD"
    original_amount: Decimal | None = None
    tenant_id: str | None = None
    note: str | None = None
    voided_at: datetime | None = None
    problem: str | None = None


def insert_cost(connection: Connection, cost: OperatingCost, tz: ZoneInfo) -> Stored:
    """Store an operating cost and its share of each local day, unless its id is there.

    The category `ai_inference` is the caller's to refuse; the table refuses it too.
    """
    connection.execute(
        """
        INSERT INTO operating_costs (
            entry_id, category, service, description, amount_nano, quantity, unit, period_start, period_end,
            tenant_id, resource_type, resource_id, voided_at, problem
        )
        VALUES (
            :entry_id, :category, :service, :description, :amount_nano, :quantity, :unit, :period_start, :period_end,
            :tenant_id, :resource_type, :resource_id, :voided_at, :problem
        )
        ON CONFLICT (entry_id) DO NOTHING
        """,
        {
            "entry_id": cost.entry_id,
            "category": cost.category,
            "service": cost.service,
            "description": cost.description,
            "amount_nano": cost.amount_nano,
            "quantity": None if cost.quantity is None else float(cost.quantity),
            "unit": cost.unit,
            "period_start": text_from_instant(cost.period_start),
            "period_end": None if cost.period_end is None else text_from_instant(cost.period_end),
            "tenant_id": cost.tenant_id,
            "resource_type": cost.resource_type,
            "resource_id": cost.resource_id,
            "voided_at": None if cost.voided_at is None else text_from_instant(cost.voided_at),
            "problem": cost.problem,
        },
    )
    if not connection.changes():
        existing = cost_by_id(connection, cost.entry_id)
        return "voided" if existing is not None and existing.voided_at is not None else "duplicate"
    if cost.voided_at is None:
        add_shares(connection, cost, tz, 1)
    return "stored"


def insert_revenue(connection: Connection, revenue: Revenue, tz: ZoneInfo) -> Stored:
    """Store booked revenue on its local day, unless its id is there.

    The source `xmr-mining` is the caller's to refuse; the table refuses it too.
    """
    connection.execute(
        """
        INSERT INTO revenue (
            entry_id, source, strategy_id, earned_at, day, amount_nano, currency, original_amount, tenant_id, note,
            voided_at, problem
        )
        VALUES (
            :entry_id, :source, :strategy_id, :earned_at, :day, :amount_nano, :currency, :original_amount, :tenant_id,
            :note, :voided_at, :problem
        )
        ON CONFLICT (entry_id) DO NOTHING
        """,
        {
            "entry_id": revenue.entry_id,
            "source": revenue.source,
            "strategy_id": revenue.strategy_id,
            "earned_at": text_from_instant(revenue.earned_at),
            "day": day_of(revenue.earned_at, tz).isoformat(),
            "amount_nano": revenue.amount_nano,
            "currency": revenue.currency,
            "original_amount": None if revenue.original_amount is None else f"{revenue.original_amount:f}",
            "tenant_id": revenue.tenant_id,
            "note": revenue.note,
            "voided_at": None if revenue.voided_at is None else text_from_instant(revenue.voided_at),
            "problem": revenue.problem,
        },
    )
    if connection.changes():
        return "stored"
    existing = revenue_by_id(connection, revenue.entry_id)
    return "voided" if existing is not None and existing.voided_at is not None else "duplicate"


def cost_by_id(connection: Connection, entry_id: str) -> OperatingCost | None:
    """Return the operating cost of that id, voided or not, or None."""
    row = connection.execute(
        """
        SELECT entry_id, category, amount_nano, period_start, period_end, service, description, quantity, unit,
            tenant_id, resource_type, resource_id, voided_at, problem
        FROM operating_costs
        WHERE entry_id = :entry_id
        """,
        {"entry_id": entry_id},
    ).fetchone()
    return None if row is None else _cost(row)


def revenue_by_id(connection: Connection, entry_id: str) -> Revenue | None:
    """Return the booked revenue of that id, voided or not, or None."""
    row = connection.execute(
        """
        SELECT entry_id, source, earned_at, amount_nano, strategy_id, currency, original_amount, tenant_id, note,
            voided_at, problem
        FROM revenue
        WHERE entry_id = :entry_id
        """,
        {"entry_id": entry_id},
    ).fetchone()
    return None if row is None else _revenue(row)


def void_cost(connection: Connection, entry_id: str, tz: ZoneInfo, now: datetime) -> bool:
    """Mark an operating cost as wrong and take its shares away; False when there is none of that id that counts."""
    cost = cost_by_id(connection, entry_id)
    if cost is None or cost.voided_at is not None:
        return False
    add_shares(connection, cost, tz, -1)
    connection.execute(
        "UPDATE operating_costs SET voided_at = :now WHERE entry_id = :entry_id",
        {"entry_id": entry_id, "now": text_from_instant(now)},
    )
    return True


def void_revenue(connection: Connection, entry_id: str, now: datetime) -> bool:
    """Mark booked revenue as wrong; False when there is none of that id that counts."""
    connection.execute(
        "UPDATE revenue SET voided_at = :now WHERE entry_id = :entry_id AND voided_at IS NULL",
        {"entry_id": entry_id, "now": text_from_instant(now)},
    )
    return connection.changes() > 0


def shares(cost: OperatingCost, tz: ZoneInfo) -> list[tuple[date, int]]:
    """Return what each local day carries of a cost, in nano-USD, only days that carry any; together exactly the amount.

    In proportion to the time that the day shares with the period, rounded down, the rest on the last day. Without a period, or
    with one that ends before it begins or lasts more than a century, the day of `period_start` carries all.
    """
    if not cost.amount_nano:
        return []
    first = day_of(cost.period_start, tz)
    start = millis(cost.period_start)
    end = start if cost.period_end is None else millis(cost.period_end)
    if not start < end <= start + LONGEST_PERIOD // timedelta(milliseconds=1):
        return [(first, cost.amount_nano)]
    assert cost.period_end is not None
    last = day_of(cost.period_end - timedelta(milliseconds=1), tz)
    carried: list[tuple[date, int]] = []
    rest: int = cost.amount_nano
    for day in days_between(first, last - timedelta(days=1)):
        opens, closes = day_bounds(day, tz)
        share = cost.amount_nano * (min(millis(closes), end) - max(millis(opens), start)) // (end - start)
        rest -= share
        carried.append((day, share))
    carried.append((last, rest))
    return [(day, share) for day, share in carried if share]


def add_shares(connection: Connection, cost: OperatingCost, tz: ZoneInfo, sign: Literal[1, -1]) -> None:
    """Add a cost's shares to the local days, or take them away."""
    for day, share in shares(cost, tz):
        key = {
            "day": day.isoformat(), "category": cost.category, "service": cost.service or "",
            "tenant_id": cost.tenant_id or "",
        }  # fmt: skip
        connection.execute(
            """
            INSERT INTO daily_operating_costs (day, category, service, tenant_id, amount_nano, entries)
            VALUES (:day, :category, :service, :tenant_id, :amount_nano, :entries)
            ON CONFLICT (day, category, service, tenant_id) DO UPDATE SET
                amount_nano = amount_nano + excluded.amount_nano,
                entries = entries + excluded.entries
            """,
            {**key, "amount_nano": sign * share, "entries": sign},
        )
        if sign < 0:
            connection.execute(
                """
                DELETE FROM daily_operating_costs
                WHERE day = :day AND category = :category AND service = :service AND tenant_id = :tenant_id
                    AND entries = 0 AND amount_nano = 0
                """,
                key,
            )


def _cost(row: tuple[Any, ...]) -> OperatingCost:
    (
        entry_id,
        category,
        amount,
        start,
        end,
        service,
        description,
        quantity,
        unit,
        tenant,
        kind,
        resource,
        voided,
        problem,
    ) = row
    period_start = instant_from_text(start)
    assert period_start is not None, "nobody else writes operating costs"
    return OperatingCost(
        entry_id, category, amount, period_start, _instant(end), service, description, _decimal(quantity), unit, tenant, kind,
        resource, _instant(voided), problem,
    )  # fmt: skip


def _revenue(row: tuple[Any, ...]) -> Revenue:
    entry_id, source, earned, amount, strategy, currency, original, tenant, note, voided, problem = row
    earned_at = instant_from_text(earned)
    assert earned_at is not None, "the table takes no other form"
    return Revenue(
        entry_id,
        source,
        earned_at,
        amount,
        strategy,
        currency,
        _decimal(original),
        tenant,
        note,
        _instant(voided),
        problem,
    )


def _instant(text: str | None) -> datetime | None:
    return None if text is None else instant_from_text(text)


def _decimal(stored: float | str | None) -> Decimal | None:
    return None if stored is None else Decimal(str(stored))
