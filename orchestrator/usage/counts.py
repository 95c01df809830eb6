"""What one call used: five buckets of tokens, the parts of them that are priced apart, the cost that was reported."""

from collections.abc import Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from orchestrator.usage.values import count, line

NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


class Usage(NamedTuple):
    """What one call used, as far as it was said; None is "not said".

    `parts` counts what some prices tell apart inside a bucket (`cache_write_1h`, `input_audio`, `output_image` …) or
    bill beside the tokens (`web_searches`). `terms` are conditions that change the price (`service_tier`, `speed`).
    `reported_cost` is the provider's own bill in USD. `problem` is one line on what cannot be believed: then no cost
    may be computed from the counts, because what is missing would be missing from the cost too.

    Not a dataclass, because every call makes one: a frozen one with as many fields takes four times as long.
    """

    input_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    output_tokens: int | None = None
    reasoning_tokens: int | None = None
    reported_cost: Decimal | None = None
    problem: str | None = None
    parts: Mapping[str, int] = NOTHING
    terms: Mapping[str, str] = NOTHING


def given_usage(
    *,
    input_tokens: object = None,
    cache_read_tokens: object = None,
    cache_write_tokens: object = None,
    output_tokens: object = None,
    reasoning_tokens: object = None,
) -> Usage:
    """Return counts that the caller gave in our own terms (input without the cache); nonsense is None and a problem."""
    problems: list[str] = []
    output = _given("output_tokens", output_tokens, problems)
    reasoning = _given("reasoning_tokens", reasoning_tokens, problems)
    if output is not None and reasoning is not None and reasoning > output:
        problems.append(f"reasoning_tokens ({reasoning}) exceed output_tokens ({output})")
        reasoning = None
    return Usage(
        input_tokens=_given("input_tokens", input_tokens, problems),
        cache_read_tokens=_given("cache_read_tokens", cache_read_tokens, problems),
        cache_write_tokens=_given("cache_write_tokens", cache_write_tokens, problems),
        output_tokens=output,
        reasoning_tokens=reasoning,
        problem=line(problems),
    )


def estimate_tokens(text: str) -> int:
    """Return about how many tokens a text has: one for four characters, rounded up."""
    return -(-len(text) // 4)


def _given(name: str, value: object, problems: list[str]) -> int | None:
    return count({name: value}, (name,), problems)
