"""A record as one line of JSON, for a file beside the database, and back."""

import json
from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from orchestrator.ledger.calls import Call
from orchestrator.ledger.entries import OperatingCost, Revenue
from orchestrator.periods import instant_from_text, text_from_instant
from orchestrator.usage.values import INT64_END

Record = Call | OperatingCost | Revenue

_KINDS: Final[Mapping[str, type[Record]]] = {"call": Call, "cost": OperatingCost, "revenue": Revenue}
_NAMES: Final = {
    "call": frozenset(Call._fields),
    "cost": frozenset(field.name for field in fields(OperatingCost)),
    "revenue": frozenset(field.name for field in fields(Revenue)),
}
_TIMES: Final = frozenset(("called_at", "period_start", "period_end", "earned_at", "voided_at"))
_DECIMALS: Final = frozenset(("quantity", "original_amount"))
_FLAGS: Final = frozenset(("tokens_estimated", "cache_hit", "succeeded"))
_COUNTS: Final = frozenset((
    "input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens", "cost_nano", "amount_nano",
    "duration_ms",
))  # fmt: skip


def kind_of(record: Record) -> str:
    """Return `call`, `cost` or `revenue`."""
    return next(kind for kind, type_ in _KINDS.items() if isinstance(record, type_))


def to_line(record: Record) -> bytes:
    """Return the line, with its line feed."""
    kind = kind_of(record)
    columns = record._asdict() if isinstance(record, Call) else {n: getattr(record, n) for n in _NAMES[kind]}
    said = {"kind": kind} | {name: _plain(value) for name, value in columns.items() if value is not None}
    # Everything but ASCII is escaped: what a line break is to somebody is none here.
    return json.dumps(said, separators=(",", ":")).encode() + b"\n"


def from_line(text: bytes) -> Record | str:
    """Return the record, or in a few words why there is none in the line."""
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        return "is not JSON"
    kind = said.pop("kind", None) if isinstance(said, dict) else None
    if not isinstance(kind, str) or kind not in _NAMES or not said.keys() <= _NAMES[kind]:
        return "is not a record"
    values: dict[str, Any] = {name: _value(name, value) for name, value in said.items() if value is not None}
    for name, value in values.items():
        if value is None:
            return f"has no {name} that can be read"
    if kind != "call":
        values.setdefault("amount_nano", None)
    try:
        return _KINDS[kind](**values)
    except TypeError:
        return "lacks a value"


def _plain(value: object) -> object:
    match value:
        case datetime():
            return text_from_instant(value)
        case Decimal():
            return str(value)
    return value


def _value(name: str, value: object) -> object:
    """Return the value of a column, None for one of another kind."""
    if name in _FLAGS:
        return value if isinstance(value, bool) else None
    if name in _COUNTS:
        return value if type(value) is int and abs(value) < INT64_END else None
    if not isinstance(value, str):
        return None
    if name in _TIMES:
        return instant_from_text(value)
    if name in _DECIMALS:
        try:
            number = Decimal(value)
        except ArithmeticError:
            return None
        return number if number.is_finite() else None
    return value
