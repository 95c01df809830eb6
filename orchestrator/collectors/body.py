"""The body of an answer: read as JSON, rid of secrets, and made fit to be stored."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Final, NoReturn

from orchestrator.redaction import redact
from orchestrator.text import one_line

TEXT_LIMIT: Final = 2_000
RAW_LIMIT: Final = 8_000

_ESCAPED_ASCII = re.compile(r"\\(?:u00([2-7][0-9A-Fa-f])|(.))")
_UNPRINTABLE = re.compile(r"[^\x20-\x7e]")
_LINE_BREAKS = re.compile(r"[\t\r\n][\t\r\n ]*")


@dataclass(frozen=True)
class Body:
    """A body without secrets: the JSON document, if it is one, a line to show, valid JSON to store, and what was wrong."""

    document: object = None
    text: str = ""
    raw_json: str = "null"
    problem: str | None = None


def read_body(content: bytes, secrets: Iterable[str] = ()) -> Body:
    """Return what the bytes hold; `problem` is "empty answer" or "not JSON" when that is no document."""
    if not content.strip():
        return Body(problem="empty answer")
    try:
        written = content.decode(json.detect_encoding(content))
        document = read_json(written)
        plain = _unescaped(written)
        clean = redact(plain, secrets)
        if clean != plain:
            document = read_json(clean)
    except (ValueError, RecursionError):
        junk = redact(_unescaped(content.decode("utf-8", "replace")), secrets)
        return Body(text=_line(junk), raw_json=_quoted(junk), problem="not JSON")
    return Body(document, _line(clean), _stored(clean))


def read_json(text: str) -> object:
    """Return the document that JSON text holds, fractions as Decimal; raises ValueError or RecursionError for none.

    NaN and Infinity are refused; of duplicate keys the last counts.
    """
    document: object = json.loads(text, parse_float=_fraction, parse_constant=_refuse_constant)
    return document


def _fraction(digits: str) -> Decimal:
    """Return the number, or Infinity, which no reader accepts, when its exponent is beyond what Decimal can hold."""
    try:
        return Decimal(digits)
    except InvalidOperation:
        return Decimal("Infinity")


def _refuse_constant(name: str) -> NoReturn:
    message = f"{name} is not JSON"
    raise ValueError(message)


def _unescaped(text: str) -> str:
    r"""Return JSON text with needless escapes undone, so that a secret written as \u0073k-… is seen."""
    return _ESCAPED_ASCII.sub(_unescaped_one, text) if "\\" in text else text


def _unescaped_one(found: re.Match[str]) -> str:
    code, other = found.groups()
    if other == "/":
        return "/"
    character = chr(int(code, 16)) if code else ""
    return found[0] if character in {"", '"', "\\", "\x7f"} else character


def _line(text: str) -> str:
    # Four times the limit fills the line from any honest text and bounds the work on a megabyte of junk.
    return one_line(text[: 4 * TEXT_LIMIT], TEXT_LIMIT)


def _stored(text: str) -> str:
    """Return valid JSON text as one line of ASCII that means the same, or its beginning as a string when it is too long."""
    line = _LINE_BREAKS.sub("", text)
    if len(line) <= RAW_LIMIT:
        line = _UNPRINTABLE.sub(lambda found: json.dumps(found[0])[1:-1], line)
    return line if len(line) <= RAW_LIMIT else _quoted(line)


def _quoted(text: str) -> str:
    """Return any text as a JSON string of ASCII, its beginning when it is too long."""
    line = one_line(text[: 4 * RAW_LIMIT], RAW_LIMIT).encode("ascii", "replace").decode()
    limit = RAW_LIMIT // 2 - 50  # quotes and backslashes double
    return json.dumps(line if len(line) <= limit else f"{line[:limit]} [cut, {len(text)} characters in all]")
