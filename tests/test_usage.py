"""What a provider says that a call used: one meaning for all, and nothing believed that cannot be true."""

import json
from collections import namedtuple
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal, Inexact, localcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.usage import Usage, estimate_tokens, given_usage, read_usage

ANSWERS = Path(__file__).parent / "answers" / "payloads"
INT64 = 2**63


def answer(name: str) -> Any:
    return json.loads((ANSWERS / f"{name}.json").read_text(), parse_float=Decimal)


def buckets(usage: Usage) -> tuple[int | None, ...]:
    return (
        usage.input_tokens,
        usage.cache_read_tokens,
        usage.cache_write_tokens,
        usage.output_tokens,
        usage.reasoning_tokens,
    )


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("openai-chat-usage", (86, 1920, 0, 300, 128)),
        ("openai-responses-usage", (86, 1920, 0, 300, 128)),
        ("openai-embeddings-usage", (8, None, None, None, None)),
        ("openai-images-usage", (50, None, None, 4160, None)),
        ("anthropic-usage", (50, 100_000, 1024, 503, 210)),
        ("openrouter-chat-usage", (94, 0, 100, 2, 0)),
        ("mlx-lm-chat-usage", (3, 0, None, 16, None)),
        ("otel-genai-span-attributes", (50, 100_000, 1024, 503, 210)),
        ("otel-genai-span-attributes-legacy", (171, 640, 0, 92, None)),
    ],
)
def test_each_provider_is_read_into_the_same_five_buckets(name: str, expected: tuple[int | None, ...]) -> None:
    read = read_usage(answer(name))

    assert buckets(read) == expected
    assert read.problem is None


@pytest.mark.parametrize(
    "name", ["openai-chat-usage", "openai-responses-usage", "anthropic-usage", "openrouter-chat-usage"]
)
def test_the_usage_alone_and_the_whole_answer_are_the_same(name: str) -> None:
    whole = answer(name)

    assert read_usage(whole["usage"]) == read_usage(whole)


def test_what_a_price_tells_apart_is_kept_beside_the_buckets() -> None:
    assert read_usage(answer("openai-images-usage")).parts == {"input_image": 10, "output_image": 4160}
    assert read_usage(answer("anthropic-usage")).parts == {"web_searches": 1}
    hour = {
        "input_tokens": 5,
        "cache_creation_input_tokens": 300,
        "cache_creation": {"ephemeral_5m_input_tokens": 100, "ephemeral_1h_input_tokens": 200},
        "output_tokens": 1,
    }
    assert read_usage(hour).parts == {"cache_write_1h": 200}
    audio = {
        "gen_ai.usage.input_tokens": 9,
        "gen_ai.usage.audio.input_tokens": "4",
        "gen_ai.usage.output_tokens": 3,
        "gen_ai.usage.image.output_tokens": 3,
    }
    assert read_usage(audio).parts == {"input_audio": 4, "output_image": 3}


def test_only_unusual_terms_are_kept() -> None:
    assert read_usage(answer("anthropic-usage")).terms == {}
    batch = {"input_tokens": 1, "output_tokens": 1, "service_tier": "batch", "speed": "fast", "inference_geo": "us"}
    assert read_usage(batch).terms == {"service_tier": "batch", "speed": "fast", "inference_geo": "us"}
    flex = {"service_tier": "flex", "usage": {"prompt_tokens": 1, "completion_tokens": 1}}
    assert read_usage(flex).terms == {"service_tier": "flex"}


def test_openrouters_cost_is_what_it_charged() -> None:
    assert read_usage(answer("openrouter-chat-usage")).reported_cost == Decimal("0.000612")


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"cost": 0}, Decimal(0)),
        ({"cost": "0.0012"}, Decimal("0.0012")),
        ({"cost": 1e-05}, Decimal("0.00001")),
        ({"cost": 0.95, "is_byok": True, "cost_details": {"upstream_inference_cost": 19}}, Decimal("19.95")),
        ({"cost": 0, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.5}}, Decimal("0.5")),
        ({"cost": 0.2, "is_byok": False, "cost_details": {"upstream_inference_cost": 0.1}}, Decimal("0.2")),
        ({"cost": 0.2, "is_byok": None, "cost_details": None}, Decimal("0.2")),
    ],
)
def test_a_reported_cost_is_read_exactly_and_an_own_key_adds_what_the_provider_charged(
    usage: dict[str, Any], expected: Decimal
) -> None:
    read = read_usage(usage)

    assert read.reported_cost == expected
    assert read.problem is None


@pytest.mark.parametrize(
    "usage",
    [
        {"cost": 0.95, "is_byok": True, "cost_details": {"upstream_inference_cost": None}},
        {"cost": 0.95, "is_byok": True, "cost_details": None},
        {"cost": 0.95, "is_byok": True},
        {"cost": None, "is_byok": True, "cost_details": {"upstream_inference_cost": 1}},
        {"cost": 0.95, "is_byok": "yes"},
        {"cost": 0.95, "is_byok": 1},
        {"cost": -0.1},
        {"cost": True},
        {"cost": float("nan")},
        {"cost": float("inf")},
        {"cost": Decimal("sNaN")},
        {"cost": Decimal("1e999999")},
        {"cost": 2**63},
        {"cost": "1,5"},
        {"cost": "١"},
        {"cost": {"total": 1}},
        {"cost": 9e9, "is_byok": True, "cost_details": {"upstream_inference_cost": 9e9}},
    ],
)
def test_a_cost_that_cannot_be_told_is_unknown_with_a_problem_and_the_tokens_are_kept(usage: dict[str, Any]) -> None:
    read = read_usage({"prompt_tokens": 10, "completion_tokens": 2, **usage})

    assert read.reported_cost is None
    assert read.problem
    assert buckets(read) == (10, None, None, 2, None)


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        # whatever the cached part is, an impossible one leaves the rest of the prompt unknown
        ({"prompt_tokens": 10, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 11}}, (None, 2)),
        ({"prompt_tokens": 10, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": -1}}, (None, 2)),
        ({"prompt_tokens": 10, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": True}}, (None, 2)),
        ({"prompt_tokens": 10, "completion_tokens": 2, "prompt_tokens_details": "many"}, (None, 2)),
        ({"prompt_tokens": 10, "completion_tokens": 2, "prompt_tokens_details": [1]}, (None, 2)),
        ({"input_tokens": 10, "output_tokens": 2, "cache_read_input_tokens": "x"}, (None, 2)),
        # Anthropic's way and OpenAI's way at once mean two different things
        (
            {
                "input_tokens": 10,
                "output_tokens": 2,
                "cache_read_input_tokens": 4,
                "input_tokens_details": {"cached_tokens": 4},
            },
            (None, 2),
        ),
        ({"prompt_tokens": -1, "completion_tokens": 2}, (None, 2)),
        ({"prompt_tokens": True, "completion_tokens": 2}, (None, 2)),
        ({"prompt_tokens": 1.5, "completion_tokens": 2}, (None, 2)),
        ({"prompt_tokens": float("nan"), "completion_tokens": 2}, (None, 2)),
        ({"prompt_tokens": float("inf"), "completion_tokens": 2}, (None, 2)),
        ({"prompt_tokens": Decimal("NaN"), "completion_tokens": 2}, (None, 2)),
        ({"prompt_tokens": INT64, "completion_tokens": 2}, (None, 2)),
        ({"prompt_tokens": 10**400, "completion_tokens": 2}, (None, 2)),
        ({"prompt_tokens": "ten", "completion_tokens": 2}, (None, 2)),
        ({"prompt_tokens": "1_000", "completion_tokens": 2}, (None, 2)),
        ({"prompt_tokens": "٤٥", "completion_tokens": 2}, (None, 2)),
        ({"prompt_tokens": " 12 ", "completion_tokens": 2}, (None, 2)),
        ({"prompt_tokens": "-3", "completion_tokens": 2}, (None, 2)),
        ({"prompt_tokens": b"12", "completion_tokens": 2}, (None, 2)),
        ({"prompt_tokens": {"total": 10}, "completion_tokens": 2}, (None, 2)),
        ({"prompt_tokens": 10, "completion_tokens": [2]}, (10, None)),
        ({"prompt_tokens": 10, "completion_tokens": -2}, (10, None)),
        ({"prompt_tokens": 10, "completion_tokens": 2, "completion_tokens_details": {"reasoning_tokens": 3}}, (10, 2)),
        ({"prompt_tokens": 10, "completion_tokens": 2, "prompt_tokens_details": {"audio_tokens": 11}}, (10, 2)),
        ({"prompt_tokens": 10, "completion_tokens": 2, "service_tier": 7}, (10, 2)),
        # the last event of Anthropic's stream repeats only the output: as it is, it has no price
        ({"output_tokens": 503}, (None, 503)),
        ({"input_tokens": 5, "cache_creation": {"ephemeral_1h_input_tokens": INT64 - 1}, "output_tokens": 2}, (5, 2)),
    ],
)
def test_nonsense_is_unknown_with_a_problem_and_the_rest_is_kept(
    usage: dict[str, Any], expected: tuple[int | None, int | None]
) -> None:
    read = read_usage(usage)

    if "cache_creation" not in usage:
        assert read.problem
        assert "\n" not in read.problem
    assert (read.input_tokens, read.output_tokens) == expected


def test_a_sum_that_fits_no_column_is_unknown() -> None:
    ages = {"ephemeral_5m_input_tokens": INT64 - 1, "ephemeral_1h_input_tokens": INT64 - 1}

    read = read_usage({"input_tokens": 5, "cache_creation": ages, "output_tokens": 2})

    assert read.cache_write_tokens is None
    assert read.problem


@pytest.mark.parametrize(
    "thing",
    [None, {}, [], "", "usage", b"usage", 5, 5.5, True, object(), (1, 2), {"usage": None}, {"usage": 5}, {1: 2}],
)
def test_what_is_no_usage_counts_nothing(thing: object) -> None:
    read = read_usage(thing)

    assert buckets(read) == (None,) * 5
    assert (read.problem is None) == (thing is None)


@pytest.mark.parametrize(
    "name", ["fal-pika-result", "elevenlabs-tts-response-headers", "openai-images-dalle3-historical"]
)
def test_an_answer_without_counts_says_so(name: str) -> None:
    assert read_usage(answer(name)).problem == "the usage has no counts that are known here"


def test_digits_as_text_and_numbers_without_a_fraction_are_counts() -> None:
    assert buckets(read_usage({"prompt_tokens": "811", "completion_tokens": 92.0})) == (811, None, None, 92, None)
    assert buckets(read_usage({"prompt_tokens": Decimal("8E2"), "completion_tokens": 0})) == (800, None, None, 0, None)


def test_deepseek_and_litellm_count_the_cache_inside_the_prompt() -> None:
    deepseek = {
        "prompt_tokens": 100,
        "prompt_cache_hit_tokens": 64,
        "prompt_cache_miss_tokens": 36,
        "completion_tokens": 7,
    }
    assert buckets(read_usage(deepseek)) == (36, 64, None, 7, None)
    litellm = {
        "prompt_tokens": 130,
        "completion_tokens": 7,
        "cache_read_input_tokens": 100,
        "cache_creation_input_tokens": 20,
        "prompt_tokens_details": {"cached_tokens": 100},
    }
    assert buckets(read_usage(litellm)) == (10, 100, 20, 7, None)
    langchain = {
        "input_tokens": 350,
        "output_tokens": 240,
        "input_token_details": {"audio": 10, "cache_creation": 200, "cache_read": 100},
        "output_token_details": {"reasoning": 200},
    }
    assert buckets(read_usage(langchain)) == (50, 100, 200, 240, 200)


def test_xai_counts_reasoning_beside_the_completion_and_its_total_gives_that_away() -> None:
    usage = {
        "prompt_tokens": 10,
        "completion_tokens": 20,
        "total_tokens": 130,
        "completion_tokens_details": {"reasoning_tokens": 100},
    }

    assert buckets(read_usage(usage)) == (10, None, None, 120, 100)


def test_new_names_of_telemetry_win_over_the_deprecated_ones() -> None:
    both = {"gen_ai.usage.prompt_tokens": 1, "gen_ai.usage.input_tokens": 10, "gen_ai.usage.output_tokens": "3"}

    assert buckets(read_usage(both)) == (10, None, None, 3, None)


class Dumped:
    """An object that only writes itself to a mapping."""

    def __init__(self, values: dict[str, Any]) -> None:
        self.values = values

    def model_dump(self) -> dict[str, Any]:
        return self.values


@dataclass
class Plain:
    input_tokens: int
    output_tokens: int
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None


Pair = namedtuple("Pair", "prompt_tokens completion_tokens")


def test_objects_are_read_by_their_attributes_and_else_by_what_they_dump() -> None:
    expected = (50, 100_000, 1024, 503, None)
    assert buckets(read_usage(Plain(50, 503, 100_000, 1024))) == expected
    assert buckets(read_usage(Dumped({"usage": vars(Plain(50, 503, 100_000, 1024))}))) == expected
    assert buckets(read_usage(SimpleNamespace(usage=Plain(50, 503, 100_000, 1024)))) == expected
    assert buckets(read_usage(Pair(8, 9))) == (8, None, None, 9, None)
    nested = SimpleNamespace(
        prompt_tokens=10, completion_tokens=3, prompt_tokens_details=SimpleNamespace(cached_tokens=4)
    )
    assert buckets(read_usage(nested)) == (6, 4, None, 3, None)


def test_a_pydantic_model_is_read_with_the_fields_that_its_class_does_not_know() -> None:
    class Completion(pydantic.BaseModel):
        model_config = pydantic.ConfigDict(extra="allow")
        prompt_tokens: int
        completion_tokens: int
        prompt_tokens_details: Any = None

    usage = {"prompt_tokens": 194, "completion_tokens": 2, "cost": 0.000612, "is_byok": False}
    read = read_usage(Completion.model_validate(usage))

    assert buckets(read) == (194, None, None, 2, None)
    assert read.reported_cost == Decimal("0.000612")


class Hostile:
    """Every attribute raises, as a lazily loaded answer may."""

    prompt_tokens = 10

    @property
    def completion_tokens(self) -> int:
        raise RuntimeError("the stream was not consumed")

    @property
    def prompt_tokens_details(self) -> object:
        raise RecursionError


class Bottomless(dict[str, Any]):
    def get(self, key: str, default: object = None) -> Any:
        raise OSError(key)


class Liar:
    @property  # type: ignore[misc]
    def __class__(self) -> type:
        raise ValueError("no class")


class Raising:
    def model_dump(self) -> object:
        raise ZeroDivisionError


@pytest.mark.parametrize("make", [Hostile, Bottomless, Liar, Raising, lambda: {"usage": Raising()}, lambda: type])
def test_an_object_that_raises_is_unknown_with_a_problem(make: Callable[[], object]) -> None:
    read = read_usage(make())

    assert read.problem
    assert read.input_tokens is None


def test_a_callers_decimal_context_changes_nothing() -> None:
    usage = {
        "cost": Decimal("0.123456789"),
        "is_byok": True,
        "cost_details": {"upstream_inference_cost": "1.00000000001"},
    }

    with localcontext() as context:
        context.prec = 3
        context.traps[Inexact] = True
        read = read_usage({"prompt_tokens": 1, "completion_tokens": 1, **usage})

    assert read.reported_cost == Decimal("1.12345678901")


def test_given_numbers_are_the_buckets_as_they_are() -> None:
    read = given_usage(input_tokens=50, cache_read_tokens="100", output_tokens=5, reasoning_tokens=2)

    assert buckets(read) == (50, 100, None, 5, 2)
    assert read.problem is None


def test_a_mapping_of_our_own_names_alone_means_what_they_mean_here() -> None:
    ours = {
        "input_tokens": 50,
        "cache_read_tokens": 100,
        "cache_write_tokens": None,
        "output_tokens": 5,
        "reasoning_tokens": 2,
    }

    assert read_usage(ours) == given_usage(**ours)


@pytest.mark.parametrize("name", ["cache_read_tokens", "cache_write_tokens"])
def test_a_cached_count_that_libraries_count_in_or_beside_the_input_leaves_the_rest_unknown(name: str) -> None:
    read = read_usage({"input_tokens": 50, "output_tokens": 5, "requests": 1, name: 40})

    assert buckets(read) == (None, None, None, 5, None)
    assert read.problem == f"{name} may be in or beside the input"
    assert read_usage({"input_tokens": 50, "output_tokens": 5, "requests": 1, name: 0}).problem is None


@pytest.mark.parametrize("bad", [-1, True, 1.5, float("nan"), "x", INT64, [], Decimal("-0.1")])
def test_given_nonsense_is_unknown_with_a_problem(bad: object) -> None:
    read = given_usage(input_tokens=bad, output_tokens=7)

    assert buckets(read) == (None, None, None, 7, None)
    assert read.problem == "input_tokens is not a whole number from 0 to 2^63 - 1"


def test_given_reasoning_beyond_the_output_is_unknown() -> None:
    read = given_usage(output_tokens=7, reasoning_tokens=8)

    assert buckets(read) == (None, None, None, 7, None)
    assert read.problem


@pytest.mark.parametrize(("text", "tokens"), [("", 0), ("a", 1), ("abcd", 1), ("abcde", 2), ("x" * 4001, 1001)])
def test_a_text_has_a_token_for_four_characters(text: str, tokens: int) -> None:
    assert estimate_tokens(text) == tokens


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.decimals()
    | st.text(max_size=6)
    | st.binary(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
NAMES = [
    "prompt_tokens", "input_tokens", "completion_tokens", "output_tokens", "total_tokens", "cost", "is_byok",
    "cost_details", "prompt_tokens_details", "input_tokens_details", "completion_tokens_details", "service_tier",
    "output_tokens_details", "cache_read_input_tokens", "cache_creation_input_tokens", "cache_creation", "usage",
    "prompt_cache_hit_tokens", "gen_ai.usage.input_tokens", "gen_ai.usage.cache_read.input_tokens", "cached_tokens",
    "reasoning_tokens", "cache_write_tokens", "audio_tokens", "upstream_inference_cost", "server_tool_use",
    "web_search_requests", "ephemeral_1h_input_tokens", "model_dump",
]  # fmt: skip
COUNTS = st.integers(0, 50) | JSON
DETAILS = st.dictionaries(st.sampled_from(NAMES), COUNTS, max_size=4)
USAGES = st.dictionaries(st.sampled_from(NAMES), COUNTS | DETAILS, max_size=8)


@given(USAGES | JSON)
def test_reading_never_raises_and_never_counts_what_no_column_holds(usage: object) -> None:
    read = read_usage(usage)

    counted = [count for count in (*buckets(read), *read.parts.values()) if count is not None]
    assert all(type(count) is int and 0 <= count < INT64 for count in counted)
    assert read.reported_cost is None or (read.reported_cost.is_finite() and read.reported_cost >= 0)
    assert read.problem is None or (len(read.problem) <= 300 and "\n" not in read.problem)
    assert all(isinstance(term, str) for term in read.terms.values())


@given(st.integers(0, 10**9), st.integers(0, 10**9), st.integers(0, 10**9), st.integers(0, 10**9), st.data())
def test_the_same_call_told_the_openai_and_the_anthropic_way_is_the_same(
    fresh: int, read: int, written: int, output: int, data: st.DataObject
) -> None:
    reasoning = data.draw(st.integers(0, output))
    chat = {
        "prompt_tokens": fresh + read + written,
        "completion_tokens": output,
        "total_tokens": fresh + read + written + output,
        "prompt_tokens_details": {"cached_tokens": read, "cache_write_tokens": written},
        "completion_tokens_details": {"reasoning_tokens": reasoning},
    }
    anthropic = {
        "input_tokens": fresh,
        "cache_read_input_tokens": read,
        "cache_creation_input_tokens": written,
        "output_tokens": output,
        "output_tokens_details": {"thinking_tokens": reasoning},
    }

    assert buckets(read_usage(chat)) == buckets(read_usage(anthropic)) == (fresh, read, written, output, reasoning)
