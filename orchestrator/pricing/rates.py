"""What one model costs, and what a usage costs by it: exact arithmetic, and never a price for what has none."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from decimal import Context, Decimal
from types import MappingProxyType
from typing import Any, Final

from orchestrator.money import NanoUsd, nano_from_usd
from orchestrator.usage import Usage

UNITS: Final = ("characters", "images", "seconds", "videos", "requests", "credits", "gb_months", "machine_hours")
NANO_END: Final = 2**63  # a cost is a column of int64

_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})
_EXACT: Final = Context(prec=100)
_APART_INPUT: Final = ("input_audio", "input_image", "input_video")
_APART_OUTPUT: Final = ("output_audio", "output_image", "output_video")
_BUCKETS: Final = ("input", "cache_read", "cache_write", "output")
_APART: Final = frozenset((*_APART_INPUT, *_APART_OUTPUT, "reasoning"))


@dataclass(frozen=True, slots=True)
class Tiers:
    """A rate that depends on the length of the whole prompt; the highest step that the prompt exceeds holds for all."""

    base: Decimal
    steps: tuple[tuple[int, Decimal], ...]  # ascending: tokens of the prompt, rate beyond them

    def at(self, prompt_tokens: int) -> Decimal:
        """Return the rate for a prompt of this many tokens."""
        rate = self.base
        for beyond, dearer in self.steps:
            if prompt_tokens > beyond:
                rate = dearer
        return rate


Rate = Decimal | Tiers


@dataclass(frozen=True, slots=True)
class UnitRate:
    """USD for `per` of a unit; at least `at_least` of it are billed, and beyond `up_to` the price is not known."""

    usd: Decimal
    per: int = 1
    at_least: Decimal = Decimal(0)
    up_to: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Rates:
    """What one model costs. A kind of token or a unit that is not here has no known price.

    `tokens` is USD per million by kind: input, cache_read, cache_write, output, and what a model prices apart inside
    them (cache_write_1h, reasoning, input_audio, output_image …). `units` is what is billed otherwise. `unread` names
    something that the model bills and no usage tells us: then nothing it costs is known. `origin` is where the
    rates come from.
    """

    tokens: Mapping[str, Rate] = field(default_factory=lambda: _NOTHING)
    units: Mapping[str, UnitRate] = field(default_factory=lambda: _NOTHING)
    usd_per_request: Decimal = Decimal(0)
    unread: str | None = None
    origin: str = ""
    per_token: "PerToken | None" = field(init=False, repr=False, compare=False, default=None)

    def __post_init__(self) -> None:
        """Work out the integer form of rates that are the same for every token of a bucket."""
        object.__setattr__(self, "per_token", _per_token(self))


# Nano-USD for one token of each bucket (None: no price), times the denominator that makes all of them whole.
PerToken = tuple[tuple[int | None, int | None, int | None, int | None], int]

# When rates hold: always, from a UTC day on, or daily between two UTC times of day.
When = None | date | tuple[time, time]


@dataclass(frozen=True, slots=True)
class Dated:
    """Rates with the times at which they hold; the first that holds counts."""

    choices: tuple[tuple[When, Rates], ...]

    @property
    def always(self) -> Rates | None:
        """The rates that hold at any time; None where the day or the hour counts."""
        return self.choices[0][1] if self.choices and self.choices[0][0] is None else None

    def at(self, moment: datetime) -> Rates | None:
        """Return the rates in force at an instant; None when none were known then."""
        for when, rates in self.choices:
            if when is None or _holds(when, moment):
                return rates
        return None


def configured_rates(
    *,
    input_per_million: Decimal | float | None = None,
    output_per_million: Decimal | float | None = None,
    cache_read_per_million: Decimal | float | None = None,
    cache_write_per_million: Decimal | float | None = None,
    unit: str | None = None,
    usd_per_unit: Decimal | float | None = None,
) -> Rates:
    """Return the rates that a `[prices."model"]` of the configuration states; floats count as the decimal they show."""
    tokens = {
        "input": input_per_million,
        "output": output_per_million,
        "cache_read": cache_read_per_million,
        "cache_write": cache_write_per_million,
    }
    return Rates(
        tokens={kind: _decimal(usd) for kind, usd in tokens.items() if usd is not None},
        units={unit: UnitRate(_decimal(usd_per_unit))} if unit is not None and usd_per_unit is not None else _NOTHING,
        origin="config",
    )


def charge(rates: Rates, usage: Usage, quantity: Decimal | None, unit: str | None) -> tuple[NanoUsd | None, str | None]:
    """Return what a usage, or a quantity of a unit, costs in nano-USD, half to even once; None with the reason.

    A unit that is priced is the bill where the model has no price for tokens; otherwise tokens come on top. Everything
    that was reported must have a price, and something must have been reported that has one.
    """
    if rates.unread is not None:
        return None, f"it also bills {rates.unread}, which no usage tells"
    usd = rates.usd_per_request
    billed = False
    if unit is not None:
        amount, problem = _unit_cost(rates, quantity, unit)
        if amount is None:
            return None, problem
        usd = _EXACT.add(usd, amount)
        billed = True
    if rates.tokens or not billed:
        tokens, problem = _token_cost(rates, usage)
        if problem is not None:
            return None, problem
        if tokens is not None:
            usd = _EXACT.add(usd, tokens)
            billed = True
    searches = usage.parts.get("web_searches") if usage.parts else None
    if searches and rates.tokens:
        amount, problem = _unit_cost(rates, Decimal(searches), "web_searches")
        if amount is None:
            return None, problem
        usd = _EXACT.add(usd, amount)
    if not billed:
        return None, "nothing was reported that has a price"
    cost = nano_from_usd(usd)
    if not 0 <= cost < NANO_END:
        return None, "the cost is too large, or too small, to be true"
    return cost, None


def quick_charge(rates: Rates, usage: Usage) -> NanoUsd | None:
    """Return what `charge` returns for plain tokens at plain rates, in integers; None where it has to be asked."""
    if rates.per_token is None or (usage.parts and any(usage.parts.values())):
        return None
    (fresh, read, written, output), denominator = rates.per_token
    total, billed = 0, False
    for count, nano in (
        (usage.input_tokens, fresh),
        (usage.cache_read_tokens, read),
        (usage.cache_write_tokens, written),
        (usage.output_tokens, output),
    ):
        if count is None or (count == 0 and nano is None):
            continue
        if nano is None or count < 0:
            return None
        total += count * nano
        billed = True
    if denominator != 1:
        total, rest = divmod(total, denominator)
        if 2 * rest > denominator or (2 * rest == denominator and total % 2):
            total += 1
    return NanoUsd(total) if billed and 0 <= total < NANO_END else None


def _per_token(rates: Rates) -> PerToken | None:
    """Return plain rates as integers; None where a cost takes more than one multiplication a bucket."""
    if rates.unread or rates.usd_per_request or not _APART.isdisjoint(rates.tokens):
        return None
    buckets = [rates.tokens.get(kind) for kind in _BUCKETS]
    ratios: list[tuple[int, int] | None] = []
    for rate in buckets:
        if isinstance(rate, Tiers):
            return None
        # USD per million tokens are a thousand nano-USD per token.
        ratios.append(None if rate is None else _EXACT.multiply(rate, Decimal(1000)).as_integer_ratio())
    denominator = math.lcm(*(ratio[1] for ratio in ratios if ratio is not None))
    whole = [None if ratio is None else ratio[0] * (denominator // ratio[1]) for ratio in ratios]
    return (whole[0], whole[1], whole[2], whole[3]), denominator


def _unit_cost(rates: Rates, quantity: Decimal | None, unit: str) -> tuple[Decimal | None, str | None]:
    rate = rates.units.get(unit)
    if rate is None:
        return None, f"no price for {unit}"
    if quantity is None:
        return None, f"no quantity of {unit}"
    if rate.up_to is not None and quantity > rate.up_to:
        return None, f"no price beyond {rate.up_to} {unit}"
    billed = max(quantity, rate.at_least) if quantity else quantity
    return _EXACT.divide(_EXACT.multiply(billed, rate.usd), rate.per), None


def _token_cost(rates: Rates, usage: Usage) -> tuple[Decimal | None, str | None]:
    """Return USD for the tokens; None without a problem when no bucket was reported that has a price."""
    counts: dict[str, int | None] = {
        "input": usage.input_tokens,
        "cache_read": usage.cache_read_tokens,
        "cache_write": usage.cache_write_tokens,
        "output": usage.output_tokens,
    }
    if usage.parts or not _APART.isdisjoint(rates.tokens):
        problem = _split(rates, usage, counts)
        if problem is not None:
            return None, problem
    prompt = (usage.input_tokens or 0) + (usage.cache_read_tokens or 0) + (usage.cache_write_tokens or 0)
    total, billed = Decimal(0), False
    for kind, count in counts.items():
        if count is None:
            continue
        if count < 0:
            return None, f"{kind} tokens are negative"
        rate = rates.tokens.get(kind)
        if rate is None:
            if count:
                return None, f"no price for {kind} tokens"
            continue
        billed = True
        total = _EXACT.add(total, _EXACT.multiply(rate.at(prompt) if isinstance(rate, Tiers) else rate, count))
    return (_EXACT.scaleb(total, -6), None) if billed else (None, None)


def _split(rates: Rates, usage: Usage, counts: dict[str, int | None]) -> str | None:
    """Take out of the buckets what is priced apart, in place; return why that cannot be done, or None.

    Images and videos that have no price of their own cost what text costs, so providers bill; sound never does. Where
    sound that is heard is priced apart but not counted, there was none: text models hear too. Everything else that is
    priced apart must be counted.
    """
    priced, parts = rates.tokens, usage.parts
    hour = parts.get("cache_write_1h", 0)
    if hour:
        if "cache_write_1h" not in priced:
            return "no price for cache writes kept for an hour"
        counts["cache_write_1h"] = hour
        counts["cache_write"] = (usage.cache_write_tokens or 0) - hour
    cached = (usage.cache_read_tokens or 0) + (usage.cache_write_tokens or 0)
    for bucket, kinds in (("input", _APART_INPUT), ("output", _APART_OUTPUT)):
        whole = counts[bucket]
        for kind in kinds:
            count = parts.get(kind)
            if kind not in priced:
                if count and kind.endswith("audio"):
                    return f"no price for {kind} tokens"
                continue
            if count is None and whole and kind != "input_audio":
                return f"the usage does not tell {kind} tokens, which have a price of their own"
            if count and bucket == "input" and cached:
                return f"the usage does not tell how many {kind} tokens were cached"
            if count and whole is not None:
                counts[kind], whole = count, whole - count
        counts[bucket] = whole
    if priced.get("reasoning", priced.get("output")) != priced.get("output") and counts["output"]:
        if usage.reasoning_tokens is None:
            return "the usage does not tell reasoning tokens, which have a price of their own"
        counts["reasoning"] = usage.reasoning_tokens
        counts["output"] -= usage.reasoning_tokens
    return None


def _holds(when: date | tuple[time, time], moment: datetime) -> bool:
    moment = moment.astimezone(UTC)
    if isinstance(when, date):
        return moment.date() >= when
    start, end = when
    now = moment.time()
    return start <= now < end if start <= end else now >= start or now < end


def _decimal(usd: Decimal | float) -> Decimal:
    return usd if isinstance(usd, Decimal) else Decimal(repr(usd))
