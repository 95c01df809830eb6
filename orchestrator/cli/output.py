"""How answers leave the command line: JSON with the API's names, and text for people."""

import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import date, datetime
from decimal import Decimal

import click

from orchestrator.periods import text_from_instant


def print_json(data: object, now: datetime) -> None:
    """Print `{"generated_at": …, "data": …}`: unknown is null, money is a number in USD."""
    click.echo(json_text(data, now))


def json_text(data: object, now: datetime) -> str:
    """Return `{"generated_at": …, "data": …}` as text."""
    return json.dumps({"generated_at": text_from_instant(now), "data": plain(data)}, ensure_ascii=False, indent=2)


def plain(value: object) -> object:
    """Return a value as JSON can say it: records by field name, times as text, amounts as numbers.

    A key that is None becomes "", as a name may be "null" but never empty.
    """
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {"" if key is None else str(key): plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    if isinstance(value, datetime):
        return text_from_instant(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    return value
