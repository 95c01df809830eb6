"""A call from what its caller said of it: numbers checked, text cleaned, the cost looked up. Nothing here raises.

The cost is what the caller gives > 0 for a hit in the caller's own cache > what the provider reported > 0 for a call that failed
before it used anything > the reader's own price > a price of the tables > unknown.
"""

import json
import logging
from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import Any, Final

from orchestrator.ledger.calls import MOST_COST_NANO, MOST_TOKENS, Call, CostSource
from orchestrator.money import NanoUsd, usd_from_nano
from orchestrator.pricing import PriceBook
from orchestrator.recording import fields
from orchestrator.recording.fields import Around
from orchestrator.usage import Usage, estimate_tokens, given_usage, read_usage
from orchestrator.usage.values import line

# What tags() may say for every call made inside it, and `metadata`.
ATTRIBUTES: Final = frozenset((
    "operation", "tier", "tenant_id", "user_id", "organization_id", "session_id", "endpoint", "resource_type", "resource_id",
))  # fmt: skip
REQUIRED: Final = frozenset(("service", "model"))
BUCKETS: Final = ("input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens")
NAMES: Final = frozenset((
    *REQUIRED, *ATTRIBUTES, *BUCKETS, "usage", "quantity", "unit", "input_text", "cost_usd", "call_id", "called_at",
    "cache_hit", "succeeded", "error", "duration_ms", "metadata",
))  # fmt: skip

# Where each of a call's values stands in its tuple.
_AT: Final[Mapping[str, int]] = {name: place for place, name in enumerate(Call._fields)}
_BLANK: Final[tuple[Any, ...]] = ("", None, *(Call._field_defaults[name] for name in Call._fields[2:]))
_TEXTS: Final[Mapping[str, int]] = {name: _AT[name] for name in (*REQUIRED, *ATTRIBUTES, "unit")}
_BUCKETS: Final = frozenset(BUCKETS)
_CALL_ID, _CALLED_AT, _SERVICE, _MODEL = (_AT[name] for name in ("call_id", "called_at", "service", "model"))
_QUANTITY, _UNIT, _CACHE_HIT, _SUCCEEDED = (_AT[name] for name in ("quantity", "unit", "cache_hit", "succeeded"))
_ESTIMATED, _USAGE_DETAILS, _PROBLEM = (_AT[name] for name in ("tokens_estimated", "usage_details", "problem"))
# Stand side by side: the buckets, as they do in a Usage; the cost, its source and where it is from.
_BUCKETS_AT: Final = slice(_AT[BUCKETS[0]], _AT[BUCKETS[-1]] + 1)
_COST_AT: Final = slice(_AT["cost_nano"], _AT["price_origin"] + 1)
_FACTS: Final[Mapping[str, Callable[[str, object, list[str]], object]]] = {
    "quantity": fields.quantity,
    "cache_hit": partial(fields.flag, otherwise=False),
    "succeeded": partial(fields.flag, otherwise=True),
    "duration_ms": fields.milliseconds,
    "error": fields.failure,
    "metadata": fields.document,
}
_NO_USAGE: Final = Usage()

log = logging.getLogger("orchestrator.recording")

Cost = tuple[NanoUsd | None, CostSource, str | None]


def read_call(given: Mapping[str, object], around: Around) -> tuple[Call, str | None]:
    """Return the call, and on one line what of the arguments cannot be believed, None when all can.

    The call's own `problem` says that too, and why its cost is not known. What the arguments say comes before the tags.
    """
    said = _with_tags(given, around.tags) if around.tags else given
    problems: list[str] = []
    # Filled in place, because a million calls are read at a time: by name it takes half as long again.
    call = list(_BLANK)
    counts: dict[str, Any] = {}
    others: dict[str, object] = {}
    for name, value in said.items():
        if value is None:
            continue
        place = _TEXTS.get(name)
        if place is not None:
            call[place] = fields.text(name, value, problems)
        elif name in _BUCKETS:
            counts[name] = value
        elif name in _FACTS:
            call[_AT[name]] = _FACTS[name](name, value, problems)
        else:
            others[name] = value
    call[_CALLED_AT] = fields.instant("called_at", others.get("called_at"), problems, around.zone, around.now)
    call[_CALL_ID] = fields.identifier("call_id", others.get("call_id"), problems, around.new_ids)
    usage = _read_usage(others, counts, call, problems)
    if problems and usage.problem is None and call[_QUANTITY] is None and said.get("quantity") is not None:
        # Then what the tokens cost is not the whole cost, also when it is looked up again.
        usage = usage._replace(problem=line(problems))
    call[_BUCKETS_AT] = usage[: len(BUCKETS)]
    given_cost = fields.money("cost_usd", others.get("cost_usd"), problems, MOST_COST_NANO)
    doubt = line(problems) if problems else None
    if "cost_usd" in others:
        call[_COST_AT] = given_cost, "unknown" if given_cost is None else "given", None
    else:
        call[_COST_AT] = _cost(call, usage, around.prices, problems)
    call[_USAGE_DETAILS] = _details(usage)
    if problems:
        call[_PROBLEM] = line(problems)
    return Call._make(call), doubt


def calculate_cost(
    prices: PriceBook, usage: object, model: str | None, service: str | None, now: datetime
) -> Decimal | None:
    """Return what a usage costs in USD at the prices of now; None when that is not known. `quantity` and `unit` may stand in it."""
    quantity = unit = None
    if isinstance(usage, Mapping) and "unit" in usage:
        quantity, unit = usage.get("quantity"), usage["unit"]
        usage = {name: value for name, value in usage.items() if name not in ("quantity", "unit")} or None
    try:
        nano = prices.cost(
            service=service, model=model, usage=read_usage(usage), quantity=quantity, unit=unit, at=now
        ).cost_nano
    except Exception:
        log.exception("a price could not be looked up")
        return None
    return None if nano is None else usd_from_nano(nano)


def usage_of(call: Call) -> Usage:
    """Return what a stored call used, with all that its price depends on; the way back from `usage_details`."""
    details = {} if call.usage_details is None else _read_details(call.usage_details)
    return Usage(*(getattr(call, name) for name in BUCKETS), **details)


def _read_details(text: str) -> dict[str, Any]:
    try:
        details: object = json.loads(text)
    except (ValueError, RecursionError):
        details = None
    # Somebody else may have written it.
    if (
        isinstance(details, dict)
        and isinstance(details.get("problem"), str | None)
        and _are_all(details.get("parts", {}), int)
        and _are_all(details.get("terms", {}), str)
    ):
        return {name: details[name] for name in _DETAILS if name in details}
    return {"problem": "usage_details cannot be read"}


def _are_all(values: object, kind: type) -> bool:
    return isinstance(values, dict) and all(type(value) is kind for value in values.values())


_DETAILS: Final = ("problem", "parts", "terms")


def _details(usage: Usage) -> str | None:
    """Return as JSON what a later look at the price needs beside the buckets; None for nothing."""
    if usage.problem is None and not usage.parts and not usage.terms:
        return None
    told = {"problem": usage.problem, "parts": dict(usage.parts), "terms": dict(usage.terms)}
    return json.dumps({name: value for name, value in told.items() if value}, separators=(",", ":"))


def _with_tags(given: Mapping[str, object], tags: Mapping[str, object]) -> dict[str, object]:
    said = {**tags, **{name: value for name, value in given.items() if value is not None}}
    theirs, ours = tags.get("metadata"), given.get("metadata")
    if isinstance(theirs, Mapping) and isinstance(ours, Mapping):
        said["metadata"] = {**theirs, **ours}
    return said


def _read_usage(others: Mapping[str, object], counts: dict[str, Any], call: list[Any], problems: list[str]) -> Usage:
    """Return the tokens: a provider's usage, what the caller counted itself before that, and where neither says, an estimate."""
    # An empty usage, as many libraries give for a call that failed, is none.
    given = others.get("usage")
    told = "usage" in others and not (type(given) is dict and not given)
    if counts and not told and _are_plain(counts):
        usage = Usage(**counts)
    elif counts or told:
        usage = read_usage(others.get("usage"))
        if counts:
            usage = _put(usage, given_usage(**counts), counts)
        usage = _bounded(usage)
        if usage.problem is not None:
            problems.append(usage.problem)
    else:
        usage = _NO_USAGE
    if "input_text" in others:
        usage = _estimated(others["input_text"], usage, call, problems)
    return usage


def _are_plain(numbers: Mapping[str, Any]) -> bool:
    """Return whether these are plain counts that need no second look, as they nearly always are."""
    for number in numbers.values():
        if type(number) is not int or not 0 <= number <= MOST_TOKENS:
            return False
    return "reasoning_tokens" not in numbers


def _put(usage: Usage, counted: Usage, names: Mapping[str, object]) -> Usage:
    """Return the usage with the counts of these names from another."""
    problem = line([one for one in (usage.problem, counted.problem) if one])
    return usage._replace(problem=problem, **{name: getattr(counted, name) for name in names})


def _bounded(usage: Usage) -> Usage:
    """Return the usage without counts that nobody can have used."""
    counts = (getattr(usage, name) for name in BUCKETS)
    if all(count is None or count <= MOST_TOKENS for count in counts):
        return usage
    wrong: dict[str, Any] = {name: None for name in BUCKETS if (getattr(usage, name) or 0) > MOST_TOKENS}
    said = f"{', '.join(wrong)}: more than 10^12"
    return usage._replace(problem=line([usage.problem, said] if usage.problem else [said]), **wrong)


def _estimated(said: object, usage: Usage, call: list[Any], problems: list[str]) -> Usage:
    """Return the usage with an estimate of the input where it has no count of it; a call that failed at once used nothing."""
    if not isinstance(said, str):
        problems.append("input_text is not text")
        return usage
    if usage.input_tokens is not None or usage.problem is not None:
        return usage
    if not call[_SUCCEEDED] and not _used(usage, call):
        return usage
    call[_ESTIMATED] = True
    return _bounded(usage._replace(input_tokens=estimate_tokens(said)))


def _used(usage: Usage, call: list[Any]) -> bool:
    """Return whether anything is said to have been used."""
    return bool(call[_QUANTITY] or any(usage[: len(BUCKETS)]))


def _cost(call: list[Any], usage: Usage, prices: Callable[[], PriceBook], problems: list[str]) -> Cost:
    """Return what a call cost that nobody gave a cost for, what says so, and where a computed price is from.

    Why it is not known goes to the problems.
    """
    if call[_CACHE_HIT]:
        return NanoUsd(0), "cached", None
    if not call[_SUCCEEDED] and usage.reported_cost is None and usage.problem is None and not _used(usage, call):
        return NanoUsd(0), "failed", None
    try:
        priced = prices().cost(
            service=call[_SERVICE],
            model=call[_MODEL],
            usage=usage,
            quantity=call[_QUANTITY],
            unit=call[_UNIT],
            at=call[_CALLED_AT],
        )
    except Exception as error:
        # A price list that cannot be loaded must not cost us the record.
        log.exception("a price could not be looked up")
        problems.append(f"the price could not be looked up ({type(error).__name__})")
        return None, "unknown", None
    if priced.problem is not None:
        problems.append(priced.problem)
    if priced.cost_nano is not None and priced.cost_nano > MOST_COST_NANO:
        problems.append(f"a cost of more than {MOST_COST_NANO // 10**9} USD")
        return None, "unknown", None
    return priced.cost_nano, priced.source, priced.origin or None
