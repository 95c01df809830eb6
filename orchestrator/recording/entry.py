"""An operating cost, and booked revenue, from what their caller said of them. Nothing here raises."""

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from orchestrator.ledger.entries import AI_INFERENCE, MOST_NANO, OperatingCost, Revenue
from orchestrator.ledger.shares import LONGEST_PERIOD
from orchestrator.ledger.snapshots import XMR_MINING
from orchestrator.recording import fields
from orchestrator.recording.fields import Around
from orchestrator.text import one_line
from orchestrator.usage.values import line

COST_REQUIRED: Final = frozenset(("category", "amount_usd"))
COST_NAMES: Final = frozenset((
    *COST_REQUIRED, "service", "description", "quantity", "unit", "period_start", "period_end", "tenant_id",
    "resource_type", "resource_id", "entry_id",
))  # fmt: skip
REVENUE_REQUIRED: Final = frozenset(("source",))
REVENUE_NAMES: Final = frozenset((
    *REVENUE_REQUIRED, "amount_usd", "strategy_id", "earned_at", "currency", "original_amount", "tenant_id", "note",
    "entry_id",
))  # fmt: skip

NO_CATEGORY: Final = "uncategorized"
NO_SOURCE: Final = "unknown"
NO_CURRENCY: Final = "XXX"  # ISO 4217's own code for none

_CURRENCY: Final = re.compile(r"[A-Z][A-Z0-9]{1,9}", re.ASCII)
_AMOUNT_END: Final = Decimal(10) ** 18
_LEAST_DIGIT: Final = -30
_BETWEEN_WORDS: Final = re.compile(r"[\s_-]+")


def read_cost(given: Mapping[str, object], around: Around) -> tuple[OperatingCost, str | None]:
    """Return the operating cost, and on one line what cannot be believed; without a known amount it is kept as unknown."""
    problems: list[str] = []
    said = _said(COST_NAMES, given, around.tags, ("tenant_id", "resource_type", "resource_id"))
    columns: dict[str, Any] = {
        name: fields.text(name, said[name], problems)
        for name in ("category", "service", "unit", "tenant_id", "resource_type", "resource_id")
    }
    if columns["category"] is None:
        problems.append("there is no category")
        columns["category"] = NO_CATEGORY
    if said["amount_usd"] is None:
        problems.append("there is no amount_usd")
    start = fields.instant("period_start", said["period_start"], problems, around.zone, around.now)
    end = None
    if said["period_end"] is not None:
        end = fields.instant("period_end", said["period_end"], problems, around.zone, start)
        if not start < end <= start + LONGEST_PERIOD:
            problems.append("period_end is not within a century after period_start")
            end = None
    columns |= {
        "entry_id": fields.identifier("entry_id", said["entry_id"], problems, around.new_ids),
        "amount_nano": fields.signed_money("amount_usd", said["amount_usd"], problems, MOST_NANO),
        "description": fields.note("description", said["description"], problems),
        "quantity": fields.quantity("quantity", said["quantity"], problems),
    }
    problem = line(problems)
    return OperatingCost(period_start=start, period_end=end, problem=problem, **columns), problem


def read_revenue(given: Mapping[str, object], around: Around) -> tuple[Revenue, str | None]:
    """Return the revenue, and on one line what cannot be believed.

    What was earned in another currency is as many USD as the caller says, else it is not known.
    """
    problems: list[str] = []
    said = _said(REVENUE_NAMES, given, around.tags, ("tenant_id",))
    columns: dict[str, Any] = {
        name: fields.text(name, said[name], problems) for name in ("source", "strategy_id", "tenant_id")
    }
    if columns["source"] is None:
        problems.append("there is no source")
        columns["source"] = NO_SOURCE
    currency = _currency(said["currency"], problems)
    original = _original(said["original_amount"], problems)
    amount = fields.signed_money("amount_usd", said["amount_usd"], problems, MOST_NANO)
    if said["amount_usd"] is None and currency == "USD":
        amount = fields.signed_money("original_amount", original, problems, MOST_NANO)
    if said["amount_usd"] is None and said["original_amount"] is None:
        problems.append("there is no amount_usd")
    columns |= {
        "entry_id": fields.identifier("entry_id", said["entry_id"], problems, around.new_ids),
        "earned_at": fields.instant("earned_at", said["earned_at"], problems, around.zone, around.now),
        "note": fields.note("note", said["note"], problems),
    }
    doubt = line(problems)
    if amount is None and doubt is None:
        problems.append(f"what it is worth in USD is not known: {currency} without amount_usd")
    revenue = Revenue(
        amount_nano=amount, currency=currency, original_amount=original, problem=line(problems), **columns
    )
    return revenue, doubt


def cost_refusal(given: Mapping[str, object]) -> str | None:
    """Return why an operating cost does not belong here; None when it does."""
    if _word(given.get("category")) == AI_INFERENCE:
        return "ai_inference is no operating cost: AI calls are recorded with record_call"
    return None


def revenue_refusal(given: Mapping[str, object]) -> str | None:
    """Return why revenue may not be booked; None when it may."""
    if _word(given.get("source")) == _word(XMR_MINING):
        return "xmr-mining is measured at the pool: a payout booked by hand would count it twice"
    return None


def _word(name: object) -> str:
    """Return a name as one that differs in case, blanks, hyphens or hidden characters has it too."""
    return _BETWEEN_WORDS.sub("_", one_line(name).casefold()) if isinstance(name, str) else ""


def _said(
    names: frozenset[str], given: Mapping[str, object], tags: Mapping[str, object], tagged: tuple[str, ...]
) -> dict[str, object]:
    said = {name: given.get(name) for name in names}
    return said | {name: tags[name] for name in tagged if said[name] is None and name in tags}


def _currency(value: object, problems: list[str]) -> str:
    if value is None:
        return "USD"
    code = value.strip().upper() if isinstance(value, str) else ""
    if not _CURRENCY.fullmatch(code):
        problems.append("currency is not a code like EUR")
        return NO_CURRENCY
    return code


def _original(value: object, problems: list[str]) -> Decimal | None:
    """Return an amount in whatever currency; None where none is given, and for nonsense."""
    if value is None:
        return None
    amount: Decimal | None = None
    match value:
        case bool():
            pass
        case int() | Decimal():
            amount = Decimal(value)
        case float():
            amount = Decimal(repr(float(value)))
        case str() if fields.is_amount(value):
            amount = Decimal(value)
    if amount is None or not amount.is_finite() or abs(amount) >= _AMOUNT_END or amount.adjusted() < _LEAST_DIGIT:
        problems.append("original_amount is not an amount of money")
        return None
    return amount
