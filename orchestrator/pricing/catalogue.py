"""The rates of models from genai-prices, read offline and with more doubt than its own calculation has.

genai-prices prices a token without a rate as 0, or as another kind of token; here such a usage has no price. It also
matches by the beginning of a name, so that an unheard-of `claude-3-5-haiku-max` would cost what `claude-3-5-haiku`
costs; here what follows the match must be a date or another word that changes nothing.

The package is imported on the first call that needs it, because it brings pydantic and an HTTP client along
(docs/design/0040-pricing.md has the figures). Its bundled data are used directly: whatever updates the host process
has asked it to fetch, a call of a day keeps its price.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, time
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, Final

from orchestrator.pricing.rates import Dated, Rate, Rates, Tiers, UnitRate, When
from orchestrator.pricing.services import is_said, maker, seller

if TYPE_CHECKING:
    from genai_prices import types

_TOKENS: Final = {
    "input_mtok": "input",
    "output_mtok": "output",
    "cache_read_mtok": "cache_read",
    "cache_write_mtok": "cache_write",
    "cache_write_1h_mtok": "cache_write_1h",
    "output_reasoning_mtok": "reasoning",
    "input_audio_mtok": "input_audio",
    "input_image_mtok": "input_image",
    "input_video_mtok": "input_video",
    "output_audio_mtok": "output_audio",
    "output_image_mtok": "output_image",
    "output_video_mtok": "output_video",
}
_UNITS: Final = {
    "input_mchars": ("characters", 1_000_000),
    "audio_hours": ("seconds", 3_600),
    "input_audio_hours": ("seconds", 3_600),
    "web_searches_kcount": ("web_searches", 1_000),
}
# Cached sound and cached pictures are refused where they matter; a file search is no part of any usage.
_LEFT_OUT: Final = frozenset(("cache_audio_read_mtok", "cache_image_read_mtok", "storage_searches_kcount"))
# Groq bills at least ten seconds of a transcription (genai-prices knows it in its code, not in its data).
_AT_LEAST: Final = {("groq", "whisper-large-v3"): 10, ("groq", "whisper-large-v3-turbo"): 10}

_COMPACT_DATE = re.compile(r"-(20[0-9]{2})([01][0-9])([0-3][0-9])(?=-|:|$)")
_DATE = r"(?:[0-9]{8}|[0-9]{4}-[0-9]{2}-[0-9]{2}|[0-9]{2}-[0-9]{4}|[0-9]{2}-[0-9]{2}|[0-9]{6}|[0-9]{3,4})"
_HARMLESS = re.compile(rf"(?:[-@](?:{_DATE}|latest|preview|exp|instruct|v[0-9]+:[0-9]+)|:[0-9]+)*")
_LAST_DIGITS = re.compile(r"[0-9]+$")
_FIRST_DIGITS = re.compile(r"[0-9]+")


def model_rates(service: str | None, model: str) -> tuple[tuple[Dated, ...], str | None]:
    """Return the rates that a service's model can mean, by date: one, a few in doubt, or none and the reason."""
    meanings, problem = _meanings(service, model.strip().lower())
    found: list[Dated] = []
    for provider, info in meanings:
        dated = _dated(provider, info)
        if dated not in found:
            found.append(dated)
    return tuple(found), problem


def model_rates_on_terms(
    service: str | None, model: str, terms: Mapping[str, str], at: datetime
) -> tuple[tuple[Dated, ...], str | None]:
    """Return the rates that hold under unusual terms (a batch, a faster tier) at an instant; none when not listed."""
    meanings, problem = _meanings(service, model.strip().lower())
    context = {("processing" if term == "batch" else name): term for name, term in terms.items()}
    found: list[Dated] = []
    for provider, info in meanings:
        met = {
            key
            for variant in info.price_variants or ()
            if variant.constraint is None or variant.constraint.active(at)
            if variant.when.items() <= context.items()
            for key in variant.when
        }
        # A reseller's terms are its own: what is listed for the maker does not hold there.
        if met == set(context) and any(info is own for own in provider.models):
            found.append(Dated(((None, _rates(provider, info, info.get_prices(at, context))),)))
    if problem is None and len(found) < len(meanings):
        problem = "no price for " + ", ".join(f"{name}={term}" for name, term in terms.items())
    return tuple(found), problem


def catalogue() -> Iterator[tuple[str, str, Dated]]:
    """Yield every provider, model and its rates by date."""
    for provider in _providers().values():
        for info in provider.models:
            yield provider.id, info.id, _dated(provider, info)


@cache
def _providers() -> "Mapping[str, types.Provider]":
    from genai_prices.data import providers

    return {provider.id: provider for provider in providers}


@cache
def _origin() -> str:
    from importlib.metadata import version

    return f"genai-prices {version('genai-prices')}"


def _meanings(service: str | None, name: str) -> "tuple[list[tuple[types.Provider, types.ModelInfo]], str | None]":
    """Return the entries that a service's model can mean, and why there is none.

    Where no service was said, `a/b` is the seller a's model b or OpenRouter's model a/b, and a bare name its maker's.
    """
    try:
        providers = _providers()
    except ImportError as error:
        return [], f"no price: genai-prices cannot be loaded ({error})"
    if is_said(service):
        sold_by = seller(service) or str(service).strip().lower()
        if sold_by not in providers:
            return [], "no price: the service is not one whose prices are known"
        readings = [(sold_by, name)]
    else:
        head, slash, rest = name.partition("/")
        readings = [(seller(head) or head, rest), ("openrouter", name)] if slash else [(maker(name) or "", name)]
    found = [
        (provider, info)
        for who, what in readings
        if (provider := providers.get(who)) is not None and (info := _model(provider, what)) is not None
    ]
    if found:
        return found, None
    reason = "the service's price list has no such model" if is_said(service) else "name the service that sold it"
    return [], f"no price: {reason}"


def _model(provider: "types.Provider", name: str) -> "types.ModelInfo | None":
    """Return the entry that a name surely means: as it is, without the seller's prefix, or with its date spelt out."""
    names = [name]
    head, slash, rest = name.partition("/")
    if slash and (seller(head) or head) == provider.id:
        names.append(rest)
    if "models/" in name and provider.id == "google":
        names.append(name.rpartition("models/")[2])
    sellers = [provider, *filter(None, map(_providers().get, provider.fallback_model_providers or ()))]
    for form in (*names, *(_COMPACT_DATE.sub(r"-\1-\2-\3", name) for name in names)):
        for one in sellers:
            for info in one.models:
                if form == info.id.lower() or _surely(info.match, form):
                    return info
    return None


def _surely(clause: "types.MatchLogic", name: str) -> bool:
    """Return whether a name matches so that nothing is left of it that could make it another model."""
    from genai_prices import types

    match clause:
        case types.ClauseEquals(equals=whole):
            return name == whole.lower()
        case types.ClauseRegex():
            return clause.is_match(name)
        case types.ClauseOr(or_=clauses):
            return any(_surely(one, name) for one in clauses)
        case types.ClauseAnd(and_=clauses):
            return all(_surely(one, name) for one in clauses)
        case types.ClauseStartsWith(starts_with=start):
            return name.startswith(start.lower()) and _is_harmless(start.lower(), name[len(start) :])
        case types.ClauseEndsWith(ends_with=end):
            return name.endswith(end.lower()) and _is_path(name[: -len(end)])
    before, found, after = name.partition(clause.contains.lower())
    return bool(found) and _is_path(before) and _is_harmless(found, after)


def _is_harmless(pattern: str, after: str) -> bool:
    """Return whether what follows a pattern changes no price: nothing, a date, `-latest`, a fine-tune's own name."""
    if pattern.startswith("ft:") or ".ft-" in pattern:
        return True
    begun, ended = _LAST_DIGITS.search(pattern), _FIRST_DIGITS.match(after)
    if begun is not None and ended is not None:
        number = begun.group() + ended.group()
        if (len(number), number[:1]) not in ((8, "2"), (3, "0")):  # a date like 20250514, a number like 001
            return False
        after = after[ended.end() :]
    elif after and pattern[-1] in "-@":
        after = f"-{after}"
    return _HARMLESS.fullmatch(after) is not None


def _is_path(before: str) -> bool:
    """Return whether what precedes a model's name only says where it is kept: a region, a folder."""
    return before == "" or before[-1] in "/."


def _dated(provider: "types.Provider", info: "types.ModelInfo") -> Dated:
    """Return an entry's rates by date: the last whose constraint is met counts, and where none is, the first."""
    if not isinstance(info.prices, list):
        return Dated(((None, _rates(provider, info, info.prices)),))
    choices: list[tuple[When, Rates]] = [
        (_when(price.constraint), _rates(provider, info, price.prices)) for price in reversed(info.prices)
    ]
    return Dated((*choices, (None, choices[-1][1])))


def _when(constraint: "types.StartDateConstraint | types.TimeOfDateConstraint | None") -> When:
    from genai_prices import types

    match constraint:
        case types.StartDateConstraint(start_date=start):
            return start
        case types.TimeOfDateConstraint(start_time=start, end_time=end):
            return _utc(start), _utc(end)
    return None


def _utc(moment: time) -> time:
    if moment.tzinfo is None:
        return moment
    return datetime.combine(date(1970, 1, 2), moment).astimezone(UTC).time()


def _rates(provider: "types.Provider", info: "types.ModelInfo", price: "types.ModelPrice") -> Rates:
    tokens: dict[str, Rate] = {}
    units: dict[str, UnitRate] = {}
    per_request = Decimal(0)
    unread: list[str] = []
    stated: dict[str, Decimal | types.TieredPrices | None] = vars(price)
    for key, rate in sorted(stated.items()):
        if rate is None or key in _LEFT_OUT:
            continue
        if key in _TOKENS:
            tokens[_TOKENS[key]] = rate if isinstance(rate, Decimal) else _tiers(rate)
        elif key in _UNITS and isinstance(rate, Decimal):
            unit, per = _UNITS[key]
            at_least = _AT_LEAST.get((provider.id, info.id), 0) if unit == "seconds" else 0
            units[unit] = UnitRate(rate, per, Decimal(at_least))
        elif key == "requests_kcount" and isinstance(rate, Decimal):
            per_request = rate / 1_000
        else:
            unread.append(key)
    return Rates(tokens, units, per_request, ", ".join(unread) or None, _origin())


def _tiers(rate: "types.TieredPrices") -> Tiers:
    return Tiers(rate.base, tuple((tier.start, tier.price) for tier in rate.tiers))
