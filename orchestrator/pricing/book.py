"""The price book: whose price counts for a call, and what is remembered between calls."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Final, Literal, NamedTuple, TypeVar

from orchestrator.loading import loading
from orchestrator.money import NanoUsd, nano_from_usd
from orchestrator.pricing.own import own_prices, own_rates, variant_of
from orchestrator.pricing.rates import NANO_END, UNITS, Dated, Rates, charge, quick_charge
from orchestrator.usage import Usage
from orchestrator.usage.values import QUANTITY_END, decimal_of

T = TypeVar("T")
Source = Literal["reported", "override", "priced", "unknown"]
Table = Literal["override", "prices.toml", "genai-prices"]

_REMEMBERED: Final = 4096  # names of models come from outside: a stream of new ones must not grow the book for ever
_NO_USAGE: Final = Usage()
_NO_QUANTITY: Final = (None, None, None)
_UNIT_NAMES: Final = {unit.removesuffix("s"): unit for unit in UNITS} | {"char": "characters", "chars": "characters"}
_PER_MILLION: Final = 1_000_000


class Priced(NamedTuple):
    """What a call cost in nano-USD, None when unknown; where that is from, in short (`origin`), and why not (`problem`)."""

    cost_nano: NanoUsd | None
    source: Source
    origin: str = ""
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Listing:
    """One price for a reader: USD for `per` of a unit, from a day on, beyond a length of the prompt where that counts."""

    table: Table
    service: str | None
    model: str
    unit: str
    usd: Decimal
    per: int
    valid_from: date | None = None
    beyond_prompt_tokens: int | None = None
    source: str = ""


class PriceBook:
    """Prices calls: the reader's own prices first, then prices.toml, then genai-prices. Safe to share between threads.

    What a model was found to cost is remembered, its dates included, so that the second call of a model looks up one
    key. Nothing is loaded before a call needs it.
    """

    def __init__(self, overrides: Mapping[str, Rates] | None = None) -> None:
        """Make a book with the reader's own prices, by the model's exact name."""
        self._overrides = dict(overrides or {})
        # Rates that hold at any time, by the names they were asked for; the two below know the days.
        self._plain: dict[tuple[str | None, str], tuple[Source, Rates]] = {}
        self._own: dict[tuple[str | None, str], Dated | None] = {}
        self._listed: dict[tuple[str | None, str], tuple[tuple[Dated, ...], str | None]] = {}

    def cost(
        self,
        *,
        service: str | None,
        model: str | None,
        usage: Usage | None = None,
        quantity: object = None,
        unit: str | None = None,
        at: datetime,
    ) -> Priced:
        """Return what a call cost at the prices of the instant it was made; never raises, unknown is None and a reason.

        What the provider reported wins. `quantity` of a `unit` (characters, images, seconds …) is for what is not
        billed by tokens; both may be singular or plural.
        """
        usage = usage or _NO_USAGE
        if usage.reported_cost is not None:
            return _reported(usage.reported_cost, usage.problem)
        if usage.problem is not None:
            return _unknown(usage.problem)
        if not isinstance(model, str) or not isinstance(service, str | None):
            return _unknown("no price without a model")
        if quantity is None and unit is None and not usage.terms:
            plain = self._plain.get((service, model))
            cost = quick_charge(plain[1], usage) if plain is not None else None
            if plain is not None and cost is not None:
                return Priced(cost, plain[0], plain[1].origin)
        return self._cost_in_full(service, model, usage, quantity, unit, at)

    def _cost_in_full(
        self, service: str | None, model: str, usage: Usage, quantity: object, unit: str | None, at: datetime
    ) -> Priced:
        amount, counted, problem = _NO_QUANTITY if quantity is None and unit is None else _quantity(quantity, unit)
        if problem is not None:
            return _unknown(problem)
        own = self._overrides.get(model)
        if own is not None:
            _remember(self._plain, (service, model), ("override", own))
            return _priced("override", own, usage, amount, counted)
        rates, problem = self._in_force(service, model, usage.terms, at)
        if problem is not None:
            return _unknown(problem)
        answers = [_priced("priced", one, usage, amount, counted) for one in rates]
        if len({answer.cost_nano for answer in answers}) != 1:
            return _unknown("no price: sold at more than one; name the service that sold it")
        return answers[0]

    def listed(self, search: str = "") -> Iterator[Listing]:
        """Yield every price in all tables whose service or model contains a text; loads genai-prices."""
        from orchestrator.pricing.catalogue import catalogue

        wanted = search.strip().lower()
        for model, rates in self._overrides.items():
            if wanted in model.lower():
                yield from _listings("override", None, model, rates, None)
        for price in own_prices():
            if wanted in price.model or wanted in price.service:
                yield Listing(
                    table="prices.toml",
                    service=price.service,
                    model=price.model,
                    unit=price.unit,
                    usd=price.rate.usd,
                    per=price.rate.per,
                    valid_from=price.valid_from,
                    source=price.source,
                )
        for service, model, dated in catalogue():
            if wanted in model.lower() or wanted in service:
                for when, rates in dated.choices:
                    yield from _listings(
                        "genai-prices", service, model, rates, when if isinstance(when, date) else None
                    )

    def shown(self, model: str, *, service: str | None = None, at: datetime) -> tuple[tuple[Listing, ...], str | None]:
        """Return the prices that a call of a model would be charged at an instant, and why there are none."""
        own = self._overrides.get(model)
        if own is not None:
            return tuple(_listings("override", service, model, own, None)), None
        rates, problem = self._in_force(service, model, {}, at)
        return tuple(
            listing
            for one in rates
            for listing in _listings(
                "prices.toml" if one.origin.startswith("prices.toml") else "genai-prices", service, model, one, None
            )
        ), problem

    def _in_force(
        self, service: str | None, model: str, terms: Mapping[str, str], at: datetime
    ) -> tuple[tuple[Rates, ...], str | None]:
        """Return the rates that a model can mean at an instant: one, a few in doubt, or none and the reason."""
        key = service, model
        try:
            dated = self._own[key]
        except KeyError:
            with loading():
                dated = _remember(self._own, key, own_rates(service, model))
        rates = dated.at(at) if dated is not None else None
        if rates is not None:
            return (rates,), None
        if terms:
            with loading():
                from orchestrator.pricing.catalogue import model_rates_on_terms

                found, problem = model_rates_on_terms(service, model, terms, at)
        else:
            try:
                found, problem = self._listed[key]
            except KeyError:
                with loading():
                    from orchestrator.pricing.catalogue import model_rates

                    found, problem = model_rates(service, model)
                    if problem is not None and (variant := variant_of(model)) is not None:
                        problem = f"no price: it depends on the variant; name one, like {variant}"
                    _remember(self._listed, key, (found, problem))
        if problem is not None:
            return (), "no price on that day: prices.toml begins later" if dated is not None else problem
        if dated is None and not terms and len(found) == 1 and found[0].always is not None:
            _remember(self._plain, key, ("priced", found[0].always))
        return tuple(one for dated in found if (one := dated.at(at)) is not None), None


def _priced(source: Source, rates: Rates, usage: Usage, quantity: Decimal | None, unit: str | None) -> Priced:
    cost, problem = charge(rates, usage, quantity, unit)
    return _unknown(problem) if cost is None else Priced(cost, source, rates.origin)


def _reported(usd: Decimal, problem: str | None) -> Priced:
    cost = nano_from_usd(usd)
    return Priced(cost, "reported", "", problem) if cost < NANO_END else _unknown("the reported cost is too large")


def _unknown(problem: str | None) -> Priced:
    return Priced(None, "unknown", "", problem)


def _quantity(quantity: object, unit: object) -> tuple[Decimal | None, str | None, str | None]:
    """Return a quantity and its unit as the tables write it, or what is wrong with them."""
    if not isinstance(unit, str) or not unit:
        return None, None, "a quantity needs a unit"
    name = unit.strip().lower().replace("-", "_").replace(" ", "_")
    name = name if name in UNITS else _UNIT_NAMES.get(name, name)
    amount = None if quantity is None else decimal_of(quantity, QUANTITY_END)
    if amount is None and quantity is not None:
        return None, None, "quantity is not a number from 0 on"
    return amount, name, None


def _remember(memory: dict[tuple[str | None, str], T], key: tuple[str | None, str], found: T) -> T:
    if len(memory) >= _REMEMBERED:
        memory.clear()
    memory[key] = found
    return found


def _listings(
    table: Table, service: str | None, model: str, rates: Rates, valid_from: date | None
) -> Iterator[Listing]:
    for kind, rate in rates.tokens.items():
        steps = ((None, rate),) if isinstance(rate, Decimal) else ((None, rate.base), *rate.steps)
        for beyond, usd in steps:
            unit = f"{kind} tokens"
            yield Listing(table, service, model, unit, usd, _PER_MILLION, valid_from, beyond, rates.origin)
    for unit, price in rates.units.items():
        yield Listing(table, service, model, unit, price.usd, price.per, valid_from, None, rates.origin)
    if rates.usd_per_request:
        yield Listing(table, service, model, "requests", rates.usd_per_request, 1, valid_from, None, rates.origin)
