"""What a value may be: a form reads one raw value, as TOML gives it, and says in words what is due instead.

msgspec checks the type and the range, without converting anything; `checks` says what a type cannot.
"""

import json
import re
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated

import msgspec

from orchestrator.config import checks
from orchestrator.text import one_line

Place = tuple[str | int, ...]

_WHOLE = re.compile(r"[+-]?[0-9]{1,20}")
_NUMBER = re.compile(r"[+-]?[0-9]{1,40}(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,3})?")
_WORDS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


class Unfit(ValueError):
    """A value that cannot be used; `faults` are pairs of a place in the file and what is wrong there."""

    def __init__(self, faults: Sequence[tuple[Place, str]]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(fault for _, fault in faults))


@dataclass(frozen=True)
class Form:
    """`read` returns the value or raises Unfit; `from_text` turns an environment's or a command line's text into a raw value."""

    read: Callable[[object, Place], object]
    from_text: Callable[[str], object] = str


def convert(raw: object, type_: object, due: str, place: Place) -> object:
    """Return a raw value as msgspec reads it; raises Unfit with what is due."""
    try:
        return msgspec.convert(raw, type_, strict=True)
    except (msgspec.ValidationError, OverflowError) as error:
        raise Unfit([(place, f"{due} is due, not {described(raw)}")]) from error


def described(raw: object) -> str:
    """Return what a raw value is, in a few words that repeat no text."""
    match raw:
        case bool():
            return "true" if raw else "false"
        case int() if raw.bit_length() > 99:
            # Python refuses to print an integer of more than 4300 digits, and TOML can spell one in hexadecimal.
            return "a number as large as that"
        case int() | float() | Decimal():
            return one_line(str(raw), limit=30)
        case None:
            return "nothing"
        case str():
            return "a number in quotes" if _NUMBER.fullmatch(raw) else "text" if raw else "nothing"
        case list() | tuple():
            return "an array"
        case dict():
            return "a table"
        case _:
            return "a date or a time"


def text(due: str, fault: Callable[[str], str] = checks.visible, *, longest: int = 512) -> Form:
    """Return the form of a text; `fault` says what is wrong with one."""
    type_ = Annotated[str, msgspec.Meta(max_length=longest)]

    def read(raw: object, place: Place) -> object:
        value = convert(raw, type_, due, place)
        if said := fault(str(value)):
            raise Unfit([(place, said)])
        return value

    return Form(read)


def choice(*words: str) -> Form:
    """Return the form of one of a few words."""
    due = " or ".join(f'"{word}"' for word in words)

    def read(raw: object, place: Place) -> object:
        if raw in words:
            return raw
        said = (
            f'"{one_line(raw, limit=30)}"{checks.did_you_mean(raw, words)}' if isinstance(raw, str) else described(raw)
        )
        raise Unfit([(place, f"{due} is due, not {said}")])

    return Form(read)


def flag() -> Form:
    """Return the form of true or false."""
    return Form(
        lambda raw, place: convert(raw, bool, "true or false", place),
        lambda said: _WORDS.get(said.strip().lower(), said),
    )


def whole(due: str, least: int, most: int) -> Form:
    """Return the form of a whole number in a range."""
    type_ = Annotated[int, msgspec.Meta(ge=least, le=most)]
    return Form(
        lambda raw, place: convert(raw, type_, f"{due} from {least} to {most}", place),
        lambda said: int(said) if _WHOLE.fullmatch(said.strip()) else said,
    )


def amount(due: str, *, may_be_none: bool = False) -> Form:
    """Return the form of USD, from 0 to 9 billion: the most that 64 bits of nano-USD hold; "none" is None where it may be."""

    def read(raw: object, place: Place) -> object:
        if may_be_none and isinstance(raw, str) and raw.strip().lower() == "none":
            return None
        unfit = Unfit([(place, f"{due} is due, not {described(raw)}")])
        # msgspec would take a Decimal from text.
        if isinstance(raw, str):
            raise unfit
        value = convert(raw, Decimal, due, place)
        assert isinstance(value, Decimal)
        if not value.is_finite() or not 0 <= value <= 9_000_000_000 or len(value.as_tuple().digits) > 40:
            raise unfit
        if value and value.adjusted() < -12:
            raise unfit
        return value.copy_abs()

    return Form(read, lambda said: number(said.strip()) if _NUMBER.fullmatch(said.strip()) else said)


def texts(due: str, fault: Callable[[str], str]) -> Form:
    """Return the form of an array of texts, read as a tuple; `fault` says what is wrong with one of them."""

    def read(raw: object, place: Place) -> object:
        value = convert(raw, tuple[str, ...], due, place)
        assert isinstance(value, tuple)
        if faults := [((*place, n), said) for n, item in enumerate(value) if (said := fault(item))]:
            raise Unfit(faults)
        return value

    return Form(read, structure_from_text)


def path() -> Form:
    """Return the form of the path of a file."""
    inner = text("a path", longest=4096)
    return Form(lambda raw, place: Path(str(inner.read(raw, place))) if raw != "" else None)


def structure_from_text(said: str) -> object:
    """Return the array or table that text spells in JSON or, failing that, in TOML; the text itself when it spells neither."""
    try:
        return json.loads(said, parse_float=number, parse_constant=number)
    except (ValueError, RecursionError):
        pass
    try:
        table = tomllib.loads(f"value = {said}", parse_float=number)
    except (ValueError, RecursionError):
        return said
    # One value, not a document: a second line could set something else.
    return table["value"] if list(table) == ["value"] else said


def number(said: str) -> Decimal:
    """Return a number of TOML or JSON exactly; one beyond what Decimal can hold becomes NaN, which no form accepts."""
    try:
        return Decimal(said.replace("_", ""))
    except InvalidOperation:
        return Decimal("NaN")
