"""Money: exact there and back, and rounded half to even."""

from decimal import Decimal, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator import money


@given(st.integers(-(2**63), 2**63 - 1))
def test_nano_usd_survives_the_way_to_decimal_and_back_in_any_context(nano: int) -> None:
    with localcontext(prec=5):
        assert money.nano_from_usd(money.usd_from_nano(nano)) == nano


@pytest.mark.parametrize(
    ("nano", "text"),
    [(0, "0"), (1, "1E-9"), (1_500_000_000, "1.5"), (-4_200_000_000, "-4.2"), (1_080_000_000_000, "1080")],
)
def test_usd_has_no_more_digits_than_it_needs(nano: int, text: str) -> None:
    assert str(money.usd_from_nano(nano)) == text


@pytest.mark.parametrize(
    ("usd", "nano"), [("0.0000000005", 0), ("0.0000000015", 2), ("-0.0000000005", 0), ("0.1", 10**8)]
)
def test_usd_rounds_half_to_even(usd: str, nano: int) -> None:
    assert money.nano_from_usd(Decimal(usd)) == nano


def test_a_float_price_is_the_decimal_that_it_prints_as() -> None:
    assert money.nano_price(356.42) == 356_420_000_000
    assert money.nano_price(Decimal("356.42")) == 356_420_000_000


@given(st.integers(-(10**20), 10**20), st.integers(0, 10**15))
def test_the_value_of_piconero_is_the_half_even_quotient(piconero: int, price_nano: int) -> None:
    with localcontext(prec=60):
        exact = Decimal(piconero) * price_nano / 10**12
        assert money.xmr_value_nano(piconero, price_nano) == int(exact.to_integral_value("ROUND_HALF_EVEN"))


def test_piconero_shows_as_xmr_with_twelve_decimals() -> None:
    assert str(money.xmr_from_piconero(45_679_000_000)) == "0.045679000000"


@pytest.mark.parametrize(
    ("usd", "text"),
    [("0", "$0.00"), ("14.294", "$14.29"), ("-4.2", "-$4.20"), ("0.003", "$0.0030"), ("0.000001", "<$0.0001"), ("1234567.5", "$1234567.50")],
)  # fmt: skip
def test_usd_is_never_shown_as_zero_unless_it_is(usd: str, text: str) -> None:
    assert money.usd_text(Decimal(usd)) == text


def test_xmr_is_never_shown_as_zero_unless_it_is() -> None:
    assert money.xmr_text(0) == "0.000000 XMR"
    assert money.xmr_text(999_999) == "<0.000001 XMR"
    assert money.xmr_text(-999_999) == "-<0.000001 XMR"
    assert money.xmr_text(-1_500_000_000_000) == "-1.500000 XMR"
