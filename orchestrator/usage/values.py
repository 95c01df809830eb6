"""Values of a stranger's object: asked for without raising, believed only when they are what they should be."""

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Final

INT64_END: Final = 2**63
QUANTITY_END: Final = Decimal(10**18)
USD_END: Final = Decimal("9223372036.854775808")  # what fits a column of nano-USD
PROBLEM_LENGTH: Final = 300

_DIGITS = re.compile(r"[0-9]{1,19}", re.ASCII)
_AMOUNT = re.compile(r"[0-9]{1,20}(?:\.[0-9]{1,40})?(?:[eE][+-]?[0-9]{1,2})?", re.ASCII)
_UNREADABLE: Final = object()


def value_of(source: object, name: str) -> object:
    """Return what an object or mapping has under a name: None for nothing, a mark when asking for it raises."""
    if source is None:
        return None
    try:
        if type(source) is dict or isinstance(source, Mapping):
            return source.get(name)
        return getattr(source, name, None)
    except Exception:  # noqa: BLE001 - a property of a stranger's object may raise anything
        return _UNREADABLE


def count(source: object, names: tuple[str, ...], problems: list[str]) -> int | None:
    """Return the first count there is under these names; None and a problem when it is no count."""
    if source is None:
        return None
    for name in names:
        value = value_of(source, name)
        if value is None:
            continue
        number = whole(value)
        if number is None:
            problems.append(f"{name} is not a whole number from 0 to 2^63 - 1")
        return number
    return None


def amount(source: object, name: str, problems: list[str]) -> Decimal | None:
    """Return an amount of USD that fits a ledger; None when absent, and with a problem when it is no amount."""
    value = value_of(source, name)
    if value is None:
        return None
    usd = decimal_of(value)
    if usd is None:
        problems.append(f"{name} is not an amount of money")
    return usd


def decimal_of(value: object, end: Decimal = USD_END) -> Decimal | None:
    """Return a number from 0 to less than `end`, given as a number or as plain ASCII; None for anything else."""
    number: Decimal | None = None
    match value:
        case bool():
            pass
        case int():
            number = Decimal(int(value))
        case float():
            number = Decimal(repr(float(value)))
        case Decimal():
            number = value
        case str() if _AMOUNT.fullmatch(value):
            number = Decimal(value)
    return number if number is not None and number.is_finite() and 0 <= number < end else None


def nested(source: object, names: tuple[str, ...], problems: list[str]) -> object:
    """Return the first of the nested objects that is there; None and a problem when it is no object."""
    for name in names:
        value = value_of(source, name)
        if value is None:
            continue
        if value is _UNREADABLE or is_plain(value):
            problems.append(f"{name} is not an object")
            return None
        return value
    return None


def is_plain(value: object) -> bool:
    """Return whether a value is a number, a text or a list: nothing that has counts under names."""
    return isinstance(value, bool | int | float | Decimal | str | bytes | list) or type(value) is tuple


def line(problems: list[str]) -> str | None:
    """Return the problems, each once, as one line of bounded length; None when there are none."""
    return "; ".join(dict.fromkeys(problems))[:PROBLEM_LENGTH] or None


def whole(value: object) -> int | None:
    """Return an int64 from 0 on, given as a number without a fraction or as ASCII digits."""
    match value:
        case bool():
            return None
        case int():
            number = int(value)
        case float() if value.is_integer() and value < INT64_END:
            number = int(value)
        case Decimal() if value.is_finite() and 0 <= value < INT64_END and value == value.to_integral_value():
            number = int(value)
        case str() if _DIGITS.fullmatch(value):
            number = int(value)
        case _:
            return None
    return number if 0 <= number < INT64_END else None
