"""Single arguments of a record, read by total functions: what cannot be believed is None, and a problem in a list."""

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import lru_cache
from itertools import count
from typing import Final, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

from orchestrator.ledger.calls import MOST_QUANTITY
from orchestrator.money import NanoUsd, nano_from_usd
from orchestrator.periods import day_start, instant_from_text
from orchestrator.pricing import PriceBook
from orchestrator.redaction import redact, redact_json
from orchestrator.text import one_line
from orchestrator.usage.values import QUANTITY_END, decimal_of, whole

LONGEST_TEXT: Final = 200
LONGEST_NOTE: Final = 500
# Of a longer text only so much is looked at; the rest could not be kept anyway.
_LONGEST_LOOK: Final = 8 * 1024
LONGEST_METADATA: Final = 8 * 1024
MOST_MILLISECONDS: Final = 10**12

# Whoever says another year has counted in other units. What lies beyond 2999 the file does not take.
_YEARS: Final = range(1970, 2999)
_AMOUNT: Final = re.compile(r"-?[0-9]{1,18}(?:\.[0-9]{1,18})?", re.ASCII)
_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)


class Around(NamedTuple):
    """What is the same for all records of one call of the API: the tags in force, what tells prices and the zone, new ids, and now."""

    tags: Mapping[str, object]
    prices: Callable[[], PriceBook]
    zone: Callable[[], ZoneInfo]
    new_ids: Iterator[str]
    now: datetime


def text(name: str, value: object, problems: list[str], limit: int = LONGEST_TEXT) -> str | None:
    """Return text on one clean line, at most `limit` characters; an int or a UUID counts as its text, "" as nothing."""
    if value is None:
        return None
    if type(value) is str:
        return _line(value, limit)
    match value:
        case str():
            return _line(str.__str__(value), limit)
        case bool():
            pass
        case int() if abs(value) < 2**63:
            return str(int(value))
        case UUID():
            return str(value)
    problems.append(f"{name} is not text")
    return None


# The same few names come again and again.
@lru_cache(maxsize=4096)
def _line(value: str, limit: int) -> str | None:
    return one_line(value, limit) or None


def identifier(name: str, value: object, problems: list[str], new_ids: Iterator[str]) -> str:
    """Return a caller's id, or a new one where there is none.

    An id that cannot be stored as it is becomes its digest: two such stay two, and recording twice stays recording once.
    """
    if value is None:
        return next(new_ids)
    if not isinstance(value, str):
        return text(name, value, problems) or next(new_ids)
    if not value.strip():
        problems.append(f"{name} is empty")
        return next(new_ids)
    if one_line(value, LONGEST_TEXT) == value:
        return str.__str__(value)
    problems.append(f"{name} has hidden characters or more than {LONGEST_TEXT}: its digest stands for it")
    return "sha256:" + hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()


def new_ids(now: datetime) -> Iterator[str]:
    """Yield UUIDv7s (RFC 9562) of a moment, each above the last: an index takes many of them at its end, and nowhere else.

    Without hyphens, which would be a thirtieth of all that a call takes.
    """
    moment = max(int(now.timestamp() * 1000), 0)
    # 12 bits of chance, and 62 more, less one to count on in.
    chance = int.from_bytes(os.urandom(10))
    head = f"{moment:012x}7{chance >> 68:03x}"
    for number in count(1 << 63 | chance & (1 << 61) - 1):
        yield f"{head}{number:x}"


def instant(
    name: str, value: object, problems: list[str], zone: Callable[[], ZoneInfo], otherwise: datetime
) -> datetime:
    """Return an aware datetime, or ISO 8601 text of one, in UTC; a date is its local midnight; nonsense is `otherwise`."""
    if value is None:
        return otherwise
    found: datetime | None = None
    try:
        match value:
            case datetime() if value.utcoffset() is not None:
                found = value.astimezone(UTC)
            case datetime():
                problems.append(f"{name} has no time zone")
                return otherwise
            case date():
                found = day_start(value, zone())
            case str() if _DAY.fullmatch(value):
                found = day_start(date.fromisoformat(value), zone())
            case str():
                found = instant_from_text(value)
    except (ValueError, OverflowError):
        pass
    if found is None or found.year not in _YEARS:
        problems.append(f"{name} is not an instant with a time zone")
        return otherwise
    return found


def money(name: str, value: object, problems: list[str], most_nano: int) -> NanoUsd | None:
    """Return an amount of USD from 0 to `most_nano` as nano-USD, half to even; None where none is given, and for nonsense."""
    if value is None:
        return None
    usd = decimal_of(value)
    nano = None if usd is None else nano_from_usd(usd)
    if nano is None or nano > most_nano:
        problems.append(f"{name} is not an amount of USD from 0 to {most_nano // 10**9}")
        return None
    return nano


def signed_money(name: str, value: object, problems: list[str], most_nano: int) -> NanoUsd | None:
    """Return what `money` returns, also below zero: a refund, a credit note."""
    found: list[str] = []
    nano = money(name, value, found, most_nano)
    if found and (negated := _negated(value)) is not None:
        found.clear()
        nano = money(name, negated, found, most_nano)
        nano = None if nano is None else NanoUsd(-nano)
    if found:
        problems.append(f"{name} is not an amount of USD of at most {most_nano // 10**9}")
    return nano


def is_amount(value: str) -> bool:
    """Return whether text is a plain decimal number, at most 18 digits on either side of the point."""
    return _AMOUNT.fullmatch(value) is not None


def _negated(value: object) -> object:
    match value:
        case bool():
            return None
        case int() | float():
            return -value if value < 0 else None
        case Decimal():
            return value.copy_negate() if value.is_signed() else None
        case str() if value.startswith("-"):
            return value[1:]
    return None


def quantity(name: str, value: object, problems: list[str]) -> Decimal | None:
    """Return a number from 0 on that a ledger can hold; None where none is given, and for nonsense."""
    if value is None:
        return None
    number = decimal_of(value, QUANTITY_END)
    if number is None or number > MOST_QUANTITY:
        problems.append(f"{name} is not a number from 0 to 10^15")
        return None
    return number


def milliseconds(name: str, value: object, problems: list[str]) -> int | None:
    """Return a length of time in whole milliseconds; None where none is given, and for nonsense."""
    if value is None:
        return None
    number = whole(value)
    if number is None and (exact := decimal_of(value)) is not None:
        number = round(exact)
    if number is None or number > MOST_MILLISECONDS:
        problems.append(f"{name} is not a number of milliseconds")
        return None
    return number


def flag(name: str, value: object, problems: list[str], *, otherwise: bool) -> bool:
    """Return a truth, given as such or as 0 or 1; nonsense is `otherwise`."""
    if value is True or value is False:
        return value
    if isinstance(value, int | float) and value in (0, 1):
        return bool(value)
    if value is not None:
        problems.append(f"{name} is neither true nor false")
    return otherwise


def failure(name: str, value: object, problems: list[str]) -> str | None:
    """Return what a call failed with, on one line and without secrets; an exception is its type and its words."""
    if isinstance(value, BaseException):
        try:
            value = f"{type(value).__name__}: {value}"
        except Exception:  # noqa: BLE001 - a stranger's exception may fail to say what it is
            value = type(value).__name__
    return note(name, value, problems)


def note(name: str, value: object, problems: list[str]) -> str | None:
    """Return a sentence or two on one line, without what has the form of a secret."""
    if isinstance(value, str):
        value = redact(str.__str__(value)[:_LONGEST_LOOK])
    return text(name, value, problems, LONGEST_NOTE)


def document(name: str, value: object, problems: list[str]) -> str | None:
    """Return a mapping as JSON text of at most 8 KiB, what JSON does not know as its text; None for what is too long or none.

    What has the form or the name of a secret is taken out.
    """
    if value is None:
        return None
    if not isinstance(value, Mapping):
        problems.append(f"{name} is not a mapping")
        return None
    try:
        said = json.dumps(dict(value), ensure_ascii=False, allow_nan=False, default=str, separators=(",", ":"))
        length = len(said.encode())
        if length <= LONGEST_METADATA:
            said = redact_json(said)
    except Exception:  # noqa: BLE001 - a stranger's objects may raise anything when they are asked for their text
        problems.append(f"{name} cannot be written as JSON")
        return None
    if length > LONGEST_METADATA:
        problems.append(f"{name} has more than {LONGEST_METADATA} bytes")
        return None
    return said
