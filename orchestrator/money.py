"""Money as integers: nano-USD (1e-9 USD) and piconero (1e-12 XMR), exact, rounded half to even where rounding is due."""

from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import NewType

NanoUsd = NewType("NanoUsd", int)
Piconero = NewType("Piconero", int)

NANO_PER_USD = 1_000_000_000
PICONERO_PER_XMR = 1_000_000_000_000

# 60 digits hold every product of two int64 with room to spare, whatever context the caller has set.
_EXACT = Context(prec=60, rounding=ROUND_HALF_EVEN)


def nano_from_usd(usd: Decimal) -> NanoUsd:
    """Return USD as nano-USD, half to even. The amount must be finite."""
    return NanoUsd(int(_EXACT.multiply(usd, Decimal(NANO_PER_USD)).to_integral_value(ROUND_HALF_EVEN, _EXACT)))


def usd_from_nano(nano: int) -> Decimal:
    """Return nano-USD as an exact amount of USD without trailing zeros."""
    whole, remainder = divmod(nano, NANO_PER_USD)
    return _EXACT.scaleb(Decimal(nano), -9).normalize(_EXACT) if remainder else Decimal(whole)


def xmr_from_piconero(piconero: int) -> Decimal:
    """Return piconero as an exact amount of XMR, twelve decimals."""
    return _EXACT.scaleb(Decimal(piconero), -12)


def nano_price(price_usd: float | Decimal) -> int:
    """Return a price in USD as integer nano-USD; a float counts as the shortest decimal that reads back as it."""
    return nano_from_usd(price_usd if isinstance(price_usd, Decimal) else Decimal(repr(price_usd)))


def xmr_value_nano(piconero: int, price_nano: int) -> NanoUsd:
    """Return what an amount of piconero is worth at a price in nano-USD per XMR, half to even."""
    quotient, remainder = divmod(piconero * price_nano, PICONERO_PER_XMR)
    twice = 2 * remainder
    if twice > PICONERO_PER_XMR or (twice == PICONERO_PER_XMR and quotient % 2 == 1):
        quotient += 1
    return NanoUsd(quotient)


def usd_text(usd: Decimal) -> str:
    """Return an amount of USD for a reader: two decimals, four for less than a cent, never 0.00 for what is not zero."""
    sign, amount = ("-" if usd < 0 else ""), abs(usd)
    if amount == 0 or amount >= Decimal("0.01"):
        return f"{sign}${amount:.2f}"
    return f"{sign}${amount:.4f}" if amount >= Decimal("0.0001") else f"{sign}<$0.0001"


def xmr_text(piconero: int) -> str:
    """Return an amount of XMR for a reader: six decimals, never 0.000000 for what is not zero."""
    if 0 < abs(piconero) < 1_000_000:
        return "<0.000001 XMR" if piconero > 0 else "-<0.000001 XMR"
    return f"{xmr_from_piconero(piconero):.6f} XMR"
