"""What one call used, read once from whatever the provider's library handed over.

Providers count alike but not the same. OpenAI's and OpenTelemetry's input includes what the cache served, Anthropic's
does not; both say `input_tokens`, and only the keys beside it tell them apart. Here the five buckets always mean one
thing: `input_tokens` without the cache, `cache_read_tokens`, `cache_write_tokens`, `output_tokens`, and
`reasoning_tokens` as a part of the output.
"""

from collections.abc import Iterator, Mapping
from decimal import Context, Decimal

from orchestrator.usage.counts import NOTHING, Usage, given_usage
from orchestrator.usage.values import INT64_END, USD_END, amount, count, is_plain, line, nested, value_of

_INPUT = ("prompt_tokens", "input_tokens")
_OUTPUT = ("completion_tokens", "output_tokens")
_COUNTED = (*_INPUT, *_OUTPUT, "cost")
_INPUT_DETAILS = ("prompt_tokens_details", "input_tokens_details", "input_token_details")
_OUTPUT_DETAILS = ("completion_tokens_details", "output_tokens_details", "output_token_details")
_READ = ("cached_tokens", "cache_read")
_WRITTEN = ("cache_write_tokens", "cache_creation_tokens", "cache_creation")
_REASONING = ("reasoning_tokens", "thinking_tokens", "reasoning")
_MODALITIES = ("audio", "image", "video")
# Our own names for the buckets. Alone they mean what they mean here; some libraries count the same two names inside their input.
_OURS = frozenset(Usage._fields[:5])
_EITHER_WAY = frozenset(("cache_read_tokens", "cache_write_tokens"))
# OpenTelemetry's names, the deprecated ones first so that the new ones win; its input includes the cache.
_OTEL = "gen_ai.usage."
_OTEL_NAMES = {
    "prompt_tokens": ("", "prompt_tokens"),
    "input_tokens": ("", "prompt_tokens"),
    "completion_tokens": ("", "completion_tokens"),
    "output_tokens": ("", "completion_tokens"),
    "cache_read.input_tokens": ("prompt_tokens_details", "cached_tokens"),
    "cache_creation.input_tokens": ("prompt_tokens_details", "cache_write_tokens"),
    "cache_write.input_tokens": ("prompt_tokens_details", "cache_write_tokens"),
    "image.input_tokens": ("prompt_tokens_details", "image_tokens"),
    "audio.input_tokens": ("prompt_tokens_details", "audio_tokens"),
    "reasoning.output_tokens": ("completion_tokens_details", "reasoning_tokens"),
    "image.output_tokens": ("completion_tokens_details", "image_tokens"),
    "audio.output_tokens": ("completion_tokens_details", "audio_tokens"),
}
_EXACT = Context(prec=100)  # whatever context the caller has set
_USUAL_TERMS = {
    "service_tier": {"standard", "default", "auto", "on_demand"},
    "speed": {"standard"},
    "inference_geo": {"global", "not_available"},
}


def read_usage(usage: object) -> Usage:
    """Return what a provider's usage object, mapping or whole answer says. Never raises; nonsense is None and a problem."""
    if usage is None:
        return Usage()
    try:
        return _read(usage)
    except Exception as error:  # noqa: BLE001 - a stranger's object may raise from anywhere, and a record must not
        return Usage(problem=f"a usage of type {type(usage).__name__} cannot be read ({type(error).__name__})")


def _read(usage: object) -> Usage:
    if isinstance(usage, Mapping) and "input_tokens" in usage and usage.keys() <= _OURS:
        return given_usage(**usage)
    source, answer = _counts_in(usage)
    if source is None:
        return Usage(problem="the usage has no counts that are known here")
    problems: list[str] = []
    reported = _reported_cost(source, problems)
    already = len(problems)
    if type(source) is not dict or not _EITHER_WAY.isdisjoint(source):
        found = (name for name in sorted(_EITHER_WAY) if value_of(source, name))
        problems += [f"{name} may be in or beside the input" for name in found]
    inside = nested(source, _INPUT_DETAILS, problems)
    total, fresh, read, written = _input(source, inside, problems, already=already)
    within = nested(source, _OUTPUT_DETAILS, problems)
    output, reasoning = _output(source, within, total, problems)
    parts = _parts(source, inside, within, problems)
    _check_parts(parts, total=total, written=written, output=output, problems=problems)
    terms = _terms((source, answer), problems)
    if total is None and reported is None and not problems:
        problems.append("no count of input tokens (the end of a stream repeats only the output)")
    return Usage(
        input_tokens=fresh,
        cache_read_tokens=read,
        cache_write_tokens=written,
        output_tokens=output,
        reasoning_tokens=reasoning,
        reported_cost=reported,
        problem=line(problems),
        parts=parts or NOTHING,
        terms=terms or NOTHING,
    )


def _counts_in(usage: object) -> tuple[object, object]:
    """Return the object that has the counts and the answer around it; the first is None when there are none."""
    for candidate in _forms(usage):
        if any(value_of(candidate, name) is not None for name in _COUNTED):
            return candidate, None
        for inner in _forms(value_of(candidate, "usage")):
            if any(value_of(inner, name) is not None for name in _COUNTED):
                return inner, candidate
    return _from_telemetry(usage), None


def _from_telemetry(attributes: object) -> object:
    """Return OpenTelemetry's span attributes in the shape of an OpenAI chat usage; None when they count nothing."""
    if not isinstance(attributes, Mapping):
        return None
    shaped: dict[str, dict[str, object]] = {"": {}}
    for theirs, (group, ours) in _OTEL_NAMES.items():
        value = value_of(attributes, _OTEL + theirs)
        if value is not None:
            shaped.setdefault(group, {})[ours] = value
    counts = shaped.pop("")
    return counts | shaped if counts else None


def _forms(thing: object) -> Iterator[object]:
    """Yield an object as it is, then as the mapping that a pydantic-like object writes itself to."""
    if thing is None or is_plain(thing):
        return
    yield thing
    dump = None if isinstance(thing, Mapping) else value_of(thing, "model_dump")
    if callable(dump):
        yield dump()


def _input(
    source: object, inside: object, problems: list[str], *, already: int
) -> tuple[int | None, int | None, int | None, int | None]:
    """Return the whole prompt, and of it what was neither read from nor written to the cache, read, and written.

    Where a count of the cache cannot be believed, the rest of the prompt is not known either.
    """
    name = _name_of(source, _INPUT)
    said = count(source, _INPUT, problems)
    read_inside = count(inside, _READ, problems)
    if read_inside is None:
        read_inside = count(source, ("prompt_cache_hit_tokens",), problems)  # DeepSeek
    written_inside = count(inside, _WRITTEN, problems)
    read_beside = count(source, ("cache_read_input_tokens",), problems)
    written_beside = count(source, ("cache_creation_input_tokens",), problems)
    if written_beside is None:
        written_beside = _written_by_age(source, problems)
    if name == "input_tokens" and (read_beside or written_beside):
        if read_inside or written_inside:
            problems.append("cached tokens are counted both inside and beside input_tokens")
            return None, None, None, None
        whole = None if said is None else said + (read_beside or 0) + (written_beside or 0)
        return whole, said, read_beside, written_beside
    read, written = _first(read_inside, read_beside), _first(written_inside, written_beside)
    if said is None or len(problems) > already:
        return said, None, read, written
    fresh = said - (read or 0) - (written or 0)
    if fresh < 0:
        problems.append(f"cached tokens ({(read or 0) + (written or 0)}) exceed {name} ({said})")
        return None, None, None, None
    return said, fresh, read, written


def _written_by_age(source: object, problems: list[str]) -> int | None:
    """Return what Anthropic's `cache_creation` adds up to where the sum itself is missing."""
    ages = nested(source, ("cache_creation",), problems)
    five = count(ages, ("ephemeral_5m_input_tokens",), problems)
    hour = count(ages, ("ephemeral_1h_input_tokens",), problems)
    if five is None and hour is None:
        return None
    both = (five or 0) + (hour or 0)
    if both >= INT64_END:
        problems.append("cache_creation adds up to more than 2^63 - 1")
        return None
    return both


def _output(source: object, within: object, total: int | None, problems: list[str]) -> tuple[int | None, int | None]:
    """Return the output, reasoning included, and the reasoning."""
    output = count(source, _OUTPUT, problems)
    reasoning = count(within, _REASONING, problems)
    if output is None or reasoning is None:
        return output, reasoning
    # xAI counts reasoning beside completion_tokens; its total gives that away.
    everything = count(source, ("total_tokens",), [])
    if reasoning and total is not None and everything == total + output + reasoning:
        return output + reasoning, reasoning
    if reasoning > output:
        problems.append(f"reasoning tokens ({reasoning}) exceed the output ({output})")
        return output, None
    return output, reasoning


def _parts(source: object, inside: object, within: object, problems: list[str]) -> dict[str, int]:
    """Return what a price may tell apart: tokens by modality, cache writes for an hour, web searches."""
    found: dict[str, int | None] = {}
    for direction, details in (("input", inside), ("output", within)):
        if details is not None:
            for modality in _MODALITIES:
                found[f"{direction}_{modality}"] = count(details, (f"{modality}_tokens", modality), problems)
    ages = nested(source, ("cache_creation",), problems)
    tools = nested(source, ("server_tool_use",), problems)
    # A zero of these two says nothing that a price needs.
    found["cache_write_1h"] = count(ages, ("ephemeral_1h_input_tokens",), problems) or None
    found["web_searches"] = count(tools, ("web_search_requests",), problems) or None
    return {name: counted for name, counted in found.items() if counted is not None}


def _check_parts(
    parts: Mapping[str, int], *, total: int | None, written: int | None, output: int | None, problems: list[str]
) -> None:
    """Name the parts that exceed the whole they belong to."""
    if not parts:
        return
    for what, whole in (("input", total), ("output", output)):
        counted = sum(parts.get(f"{what}_{modality}", 0) for modality in _MODALITIES)
        if whole is not None and counted > whole:
            problems.append(f"{what} tokens by modality ({counted}) exceed the {what} ({whole})")
    hour = parts.get("cache_write_1h", 0)
    if written is not None and hour > written:
        problems.append(f"cache writes for an hour ({hour}) exceed all cache writes ({written})")


def _reported_cost(source: object, problems: list[str]) -> Decimal | None:
    """Return what the provider says the call cost, in USD. With the caller's own key it is the fee plus the provider's."""
    own_key = value_of(source, "is_byok")
    cost = amount(source, "cost", problems)
    if own_key is None or own_key is False:
        return cost
    if own_key is not True:
        problems.append("is_byok is neither true nor false")
        return None
    upstream = amount(nested(source, ("cost_details",), problems), "upstream_inference_cost", problems)
    if cost is None or upstream is None:
        problems.append("called with an own key (is_byok), but what the provider charged for it is not reported")
        return None
    whole = _EXACT.add(cost, upstream)
    if whole >= USD_END:
        problems.append("cost and upstream_inference_cost add up to no amount of money")
        return None
    return whole


def _terms(sources: tuple[object, object], problems: list[str]) -> dict[str, str]:
    """Return the conditions that are not the usual ones."""
    terms: dict[str, str] = {}
    for source in sources:
        for name, usual in _USUAL_TERMS.items():
            said = value_of(source, name)
            if said is None or name in terms:
                continue
            if not isinstance(said, str):
                problems.append(f"{name} is not text")
            elif said.lower() not in usual:
                terms[name] = said.lower()[:40]
    return terms


def _name_of(source: object, names: tuple[str, ...]) -> str:
    return next((name for name in names if value_of(source, name) is not None), names[0])


def _first(one: int | None, other: int | None) -> int | None:
    return other if one is None else one
