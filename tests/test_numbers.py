import json
import sys
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.collectors.body import read_json
from orchestrator.collectors.numbers import counter, decimal, integer

MAX = 2**63 - 1


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("0", 0),
        ("-7", -7),
        (str(MAX), MAX),
        (str(-MAX - 1), -MAX - 1),
        (str(MAX + 1), None),
        ("1" + "0" * 400, None),
        ("45678901234.0", 45678901234),
        ("4.5678901234e10", 45678901234),
        ("4.5E+1", 45),
        ("1e0", 1),
        ("0e5", 0),
        ("-0.0", 0),
        ("0.5", None),
        ("1e-1", None),
        ("9007199254740991.0", 2**53 - 1),
        ("9007199254740993.0", None),
        ("1e18", None),
        ("1e999999999", None),
        ("1e-999999999", None),
        ("1e99999999999999999999", None),
        ('"45678901234"', 45678901234),
        ('"45678901234.0000"', 45678901234),
        ('"-5"', -5),
        (f'"{MAX}"', MAX),
        (f'"{MAX + 1}"', None),
        ('"' + "1" * 5000 + '"', None),
        ('"5.5"', None),
        ('"5."', None),
        ('".5"', None),
        ('"+5"', None),
        ('" 5"', None),
        ('"5\\n"', None),
        ('"1_000"', None),
        ('"1,000"', None),
        ('"1e3"', None),
        ('"0x10"', None),
        ('"٤٥"', None),
        ('"५"', None),
        ('"５"', None),
        ('"NaN"', None),
        ('"Infinity"', None),
        ('""', None),
        ("true", None),
        ("false", None),
        ("null", None),
        ("[5]", None),
        ('{"value": 5}', None),
    ],
)
def test_a_whole_number_is_read_strictly(written: str, value: int | None) -> None:
    read = integer(read_json(written))

    assert (read, type(read)) == (value, type(value))


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("356.42", "356.42"),
        ("357", "357"),
        ("1e-05", "0.00001"),
        ("-0.185116646", "-0.185116646"),
        ('"356.42"', "356.42"),
        ('"-3"', "-3"),
        ("999999999999999.9", "999999999999999.9"),
        ("1e15", None),
        ("1e308", None),
        ("-1e15", None),
        ("1e99999999999999999999", None),
        ("1" + "0" * 400, None),
        ('"1,356.42"', None),
        ('"1e3"', None),
        ('"13.84 kH/s"', None),
        ('"$5"', None),
        ('"nan"', None),
        ('"inf"', None),
        ('"٣٥٦"', None),
        ('""', None),
        ("true", None),
        ("null", None),
        ("[]", None),
    ],
)
def test_a_fraction_is_read_strictly(written: str, value: str | None) -> None:
    assert decimal(read_json(written)) == (None if value is None else Decimal(value))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), Decimal("NaN"), Decimal("sNaN"), 1e300])
def test_what_is_not_finite_or_far_too_large_is_no_number(value: object) -> None:
    assert (integer(value), decimal(value)) == (None, None)


def test_a_counter_is_never_negative() -> None:
    assert [counter(value) for value in (0, 5, -1, "-1", "7", Decimal("-0.0"))] == [0, 5, None, None, 7, 0]


@given(st.integers(-MAX - 1, MAX))
def test_every_int64_is_read_as_itself_also_as_text_and_as_text_with_a_scale(value: int) -> None:
    assert integer(value) == integer(str(value)) == integer(f"{value}.000") == value


@given(st.integers(-(2**53) + 1, 2**53 - 1))
def test_a_whole_double_is_read_as_itself_in_every_notation(value: int) -> None:
    assert integer(read_json(f"{value}.0")) == integer(float(value)) == integer(read_json(f"{value}e0")) == value


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists))
def test_no_value_is_an_exception_and_none_is_guessed(value: object) -> None:
    whole, number = integer(value), decimal(value)

    if whole is not None:
        assert value == whole or (isinstance(value, str) and json.loads(value.partition(".")[0]) == whole)
    if number is not None:
        assert abs(number) < 10**15
    if isinstance(value, bool):
        assert (whole, number) == (None, None)


def test_the_digits_that_python_refuses_to_read_are_refused_in_a_document_too() -> None:
    with pytest.raises(ValueError, match="digits"):
        read_json("1" * (sys.get_int_max_str_digits() + 1))
