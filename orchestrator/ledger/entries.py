"""What is booked beside AI calls: operating costs, spread over their local days, and revenue. Recorded once by its id."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal
from zoneinfo import ZoneInfo

from orchestrator.ledger.shares import add, are_complete, note_shared, rewrite, spread, take_away
from orchestrator.money import NanoUsd
from orchestrator.periods import day_of, instant_from_text, text_from_instant
from orchestrator.store.database import Connection

Stored = Literal["stored", "duplicate", "voided"]

AI_INFERENCE = "ai_inference"
# What the tables take: beyond it an amount is nonsense, and sums of it could leave 64 bits.
MOST_NANO = 10**17


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
    row_id = connection.last_insert_rowid()
    if cost.voided_at is None:
        add(connection, shares(cost, tz))
    note_shared(connection, row_id)
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


def costs(connection: Connection) -> Iterator[OperatingCost]:
    """Yield every operating cost that counts."""
    for row in connection.execute(
        """
        SELECT entry_id, category, amount_nano, period_start, period_end, service, description, quantity, unit,
            tenant_id, resource_type, resource_id, voided_at, problem
        FROM operating_costs
        WHERE voided_at IS NULL
        ORDER BY id
        """
    ):
        yield _cost(row)


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
    # Another program may have written or changed it, and then it has no such shares.
    share_out(connection, tz)
    take_away(connection, shares(cost, tz))
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


def shares(cost: OperatingCost, tz: ZoneInfo) -> dict[tuple[str, ...], int]:
    """Return what a cost adds to each row of daily_operating_costs, in nano-USD; together exactly its amount."""
    return {
        (day.isoformat(), cost.category, cost.service or "", cost.tenant_id or ""): share
        for day, share in spread(cost.amount_nano or 0, cost.period_start, cost.period_end, tz)
    }


def counted_shares(connection: Connection, tz: ZoneInfo) -> dict[tuple[str, ...], tuple[int, int]]:
    """Return what every row of daily_operating_costs has to say: nano-USD, and how many costs have a share in it."""
    counted: dict[tuple[str, ...], tuple[int, int]] = {}
    for cost in costs(connection):
        for key, share in shares(cost, tz).items():
            amount, several = counted.get(key, (0, 0))
            counted[key] = (amount + share, several + 1)
    return counted


def share_out(connection: Connection, tz: ZoneInfo) -> bool:
    """Give operating costs that another program wrote, changed or took back their shares of days; False when there were none."""
    if are_complete(connection):
        return False
    rewrite(connection, counted_shares(connection, tz))
    return True


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
    assert period_start is not None, "the table takes no other form"
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
