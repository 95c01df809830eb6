"""Our own dated table, prices.toml: what genai-prices lacks."""

import re
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import cache
from typing import Final

from orchestrator.pricing.rates import Dated, Rates, UnitRate
from orchestrator.pricing.services import seller

_SIZE = re.compile(r"(?<![0-9])([0-9]{3,4})[x×]([0-9]{3,4})(?![0-9])")
_QUALITY = re.compile(r"(?<![a-z0-9])(standard|hd|low|medium|high)(?![a-z0-9])")
_EDGES: Final = "-:/@_ ,"


@dataclass(frozen=True, slots=True)
class OwnPrice:
    """One line of the table: what one unit of a model costs from a day on, and who said so."""

    service: str
    model: str
    unit: str
    rate: UnitRate
    valid_from: date
    source: str


def own_rates(service: str | None, model: str) -> Dated | None:
    """Return a model's rates by day from prices.toml; None when it is not there, or is sold by somebody else."""
    by_model = _by_model()
    dated = by_model.get(model.strip().lower()) or by_model.get(_with_variant(model))
    if dated is None:
        return None
    who, rates = dated
    # The service is free text (a ledger may say "images"); only another seller that is known has another price.
    return rates if seller(service) in (None, who) else None


def variant_of(model: str) -> str | None:
    """Return the first variant of a model that has none in its name and is priced by variants only; None for any other."""
    return next((name for name in _by_model() if name.startswith(f"{model.strip().lower()}:")), None)


@cache
def own_prices() -> tuple[OwnPrice, ...]:
    """Return every line of prices.toml, in its order."""
    import tomllib
    from importlib.resources import files

    text = files("orchestrator").joinpath("prices.toml").read_text(encoding="utf-8")
    return tuple(
        OwnPrice(
            service=block["service"],
            model=model,
            unit=block["unit"],
            rate=UnitRate(
                Decimal(usd),
                at_least=Decimal(block.get("at_least", 0)),
                up_to=Decimal(block["up_to"]) if "up_to" in block else None,
            ),
            valid_from=block["valid_from"],
            source=block["source"],
        )
        for block in tomllib.loads(text, parse_float=Decimal)["prices"]
        for model, usd in block["usd_per_unit"].items()
    )


@cache
def _by_model() -> dict[str, tuple[str, Dated]]:
    found: dict[str, tuple[str, Dated]] = {}
    for price in sorted(own_prices(), key=lambda price: price.valid_from):
        rates = Rates(units={price.unit: price.rate}, origin=f"prices.toml {price.valid_from}")
        _, earlier = found.get(price.model, ("", Dated(())))
        found[price.model] = (price.service, Dated(((price.valid_from, rates), *earlier.choices)))
    return found


def _with_variant(model: str) -> str:
    """Return an image model's name as the table writes it, `name:size:quality`, however the two were put.

    Only a size that was said makes a variant. DALL-E 3 made standard pictures unless asked for hd; the others have no
    quality, or none that could be guessed.
    """
    name = model.strip().lower()
    size = _SIZE.search(name)
    if size is None:
        return name
    name = name[: size.start()] + name[size.end() :]
    quality = _QUALITY.search(name)
    if quality is not None:
        name = name[: quality.start()] + name[quality.end() :]
    name = name.removeprefix("openai/").strip(_EDGES)
    said = quality.group(1) if quality is not None else "standard" if name == "dall-e-3" else None
    return ":".join(filter(None, (name, f"{size.group(1)}x{size.group(2)}", said)))
