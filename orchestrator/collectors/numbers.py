"""Numbers from outside, read strictly: what is not plainly a number within bounds is None, never 0 and never a guess."""

import re
from decimal import Decimal

_INT64 = range(-(2**63), 2**63)
_EXACT_FLOAT = 2**53
_PLAUSIBLE = Decimal(10) ** 15
# [0-9], because \d and int() also take the digits of other scripts; at most 40, because int64 has 19.
_WHOLE = re.compile(r"(-?[0-9]{1,40})(?:\.0{1,40})?")
_PLAIN = re.compile(r"-?[0-9]{1,40}(?:\.[0-9]{1,40})?")


def integer(value: object) -> int | None:
    """Return a whole number within int64, or None.

    Accepts an int, a fraction that is whole and below 2^53, where a double is still exact, and a string of ASCII digits,
    which may end in zeros after a point (a DECIMAL column with a scale).
    """
    match value:
        case bool():
            return None
        case int():
            whole = value
        case Decimal() | float():
            exact = Decimal(value)
            # The size first: int(Decimal("1e999999999")) would fill the memory, and abs() of it raises Overflow.
            if not exact.is_finite() or exact.copy_abs() >= _EXACT_FLOAT or exact != exact.to_integral_value():
                return None
            whole = int(exact)
        case str():
            digits = _WHOLE.fullmatch(value)
            if digits is None:
                return None
            whole = int(digits[1])
        case _:
            return None
    return whole if whole in _INT64 else None


def counter(value: object) -> int | None:
    """Return a whole number within int64 that is not negative, or None."""
    whole = integer(value)
    return whole if whole is not None and whole >= 0 else None


def decimal(value: object) -> Decimal | None:
    """Return a finite number of plausible size (below 1e15 either way) as Decimal, or None.

    Accepts an int, a Decimal, a float and a string in plain notation, without an exponent.
    """
    match value:
        case bool():
            return None
        case int():
            number = Decimal(value)
        case Decimal():
            number = value
        case float():
            number = Decimal(repr(value))
        case str():
            if _PLAIN.fullmatch(value) is None:
                return None
            number = Decimal(value)
        case _:
            return None
    return number if number.is_finite() and number.copy_abs() < _PLAUSIBLE else None
