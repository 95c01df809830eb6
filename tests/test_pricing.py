"""What calls cost: exactly right or unknown, never a false zero."""

import hashlib
import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.money import nano_from_usd, usd_from_nano
from orchestrator.pricing import UNITS, PriceBook, Priced, Rates, charge, configured_rates
from orchestrator.pricing.own import own_prices
from orchestrator.pricing.rates import Tiers, UnitRate, quick_charge
from orchestrator.usage import Usage, read_usage

ANSWERS = Path(__file__).parent / "answers" / "payloads"
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
BOOK = PriceBook()
HAIKU = configured_rates(input_per_million=1.0, output_per_million=5.0)


def answer(name: str) -> Any:
    return json.loads((ANSWERS / f"{name}.json").read_text(), parse_float=Decimal)


def cost(service: str | None, model: str | None, at: datetime = NOW, **used: Any) -> Priced:
    counts = {name: used.pop(name) for name in list(used) if name.endswith("_tokens") or name in ("parts", "terms")}
    return BOOK.cost(service=service, model=model, usage=Usage(**counts), at=at, **used)


def usd(service: str | None, model: str | None, at: datetime = NOW, **used: Any) -> Decimal | None:
    nano = cost(service, model, at, **used).cost_nano
    return None if nano is None else usd_from_nano(nano)


def test_a_million_calls_of_haiku_make_exactly_1080_dollars() -> None:
    one = cost("anthropic", "claude-3-5-haiku", input_tokens=450, output_tokens=180)

    assert one.source == "priced"
    assert one.cost_nano == 1_080_000
    assert usd_from_nano(1_000_000 * one.cost_nano) == Decimal(1080)


def test_an_override_of_1_and_5_dollars_makes_them_exactly_1350() -> None:
    book = PriceBook({"claude-3-5-haiku": HAIKU})

    one = book.cost(
        service="anthropic", model="claude-3-5-haiku", usage=Usage(input_tokens=450, output_tokens=180), at=NOW
    )

    assert one == Priced(one.cost_nano, "override", "config")
    assert one.cost_nano is not None
    assert usd_from_nano(1_000_000 * one.cost_nano) == Decimal(1350)


def test_a_thousand_embedded_tokens_cost_13_hundred_thousandths() -> None:
    assert usd("openai", "text-embedding-3-large", input_tokens=1000) == Decimal("0.00013")


# USD as the providers' price pages have it, or None where an honest answer is "unknown".
AWKWARD: list[tuple[str | None, str | None, dict[str, Any], str | None]] = [
    # names of one model
    ("anthropic", "claude-3-5-haiku-20241022", {"input_tokens": 1000, "output_tokens": 1000}, "0.0048"),
    ("anthropic", "claude-3-5-haiku-latest", {"input_tokens": 1000, "output_tokens": 1000}, "0.0048"),
    ("Anthropic ", "CLAUDE-3-5-HAIKU", {"input_tokens": 1000, "output_tokens": 1000}, "0.0048"),
    ("claude", "anthropic/claude-3-5-haiku-20241022", {"input_tokens": 1000, "output_tokens": 1000}, "0.0048"),
    ("bedrock", "anthropic.claude-3-5-haiku-20241022-v1:0", {"input_tokens": 1000, "output_tokens": 1000}, "0.0048"),
    ("aws", "us.anthropic.claude-3-5-haiku-20241022-v1:0", {"input_tokens": 1000, "output_tokens": 1000}, "0.0048"),
    ("vertex_ai", "claude-3-5-haiku@20241022", {"input_tokens": 1000, "output_tokens": 1000}, "0.0048"),
    ("openrouter", "anthropic/claude-3.5-haiku", {"input_tokens": 1000, "output_tokens": 1000}, "0.0048"),
    ("openrouter", "anthropic/claude-3.5-haiku:beta", {"input_tokens": 1000, "output_tokens": 1000}, "0.0048"),
    ("azure", "gpt-4o", {"input_tokens": 1000, "output_tokens": 1000}, "0.0125"),
    ("openai", "gpt-4o-2024-05-13", {"input_tokens": 1000, "output_tokens": 1000}, "0.02"),
    ("openai", "gpt-5.2-20251211", {"input_tokens": 1000, "output_tokens": 1000}, "0.01575"),
    ("openai", "ft:gpt-4o-mini-2024-07-18:acme::Ab12", {"input_tokens": 1000, "output_tokens": 1000}, "0.0015"),
    ("google", "models/gemini-2.5-flash", {"input_tokens": 1000, "output_tokens": 1000}, "0.0028"),
    ("gemini", "gemini-2.5-pro-preview-05-06", {"input_tokens": 1000, "output_tokens": 1000}, "0.01125"),
    ("groq", "llama-3.3-70b-versatile", {"input_tokens": 1000, "output_tokens": 1000}, "0.00138"),
    ("x-ai", "grok-4", {"input_tokens": 1000, "output_tokens": 1000}, "0.018"),
    ("mistralai", "codestral-latest", {"input_tokens": 1000, "output_tokens": 1000}, "0.0012"),
    # nobody said who sold it
    (None, "claude-3-5-haiku", {"input_tokens": 1000, "output_tokens": 1000}, "0.0048"),
    (None, "anthropic/claude-3.5-haiku", {"input_tokens": 1000, "output_tokens": 1000}, "0.0048"),
    ("litellm", "openrouter/anthropic/claude-3.5-haiku", {"input_tokens": 1000, "output_tokens": 1000}, "0.0048"),
    (None, "deepseek/deepseek-chat", {"input_tokens": 1000, "output_tokens": 1000}, None),
    (None, "llama-3.3-70b-instruct", {"input_tokens": 1000, "output_tokens": 1000}, None),
    (None, "gpt-oss-120b", {"input_tokens": 1000, "output_tokens": 1000}, None),
    # names that only look like a model that has a price
    ("anthropic", "claude-3-5-haiku-max", {"input_tokens": 1000, "output_tokens": 1000}, None),
    ("anthropic", "claude-opus-4-10", {"input_tokens": 1000, "output_tokens": 1000}, None),
    ("anthropic", "claude-haiku-4-5-1", {"input_tokens": 1000, "output_tokens": 1000}, None),
    ("anthropic", "claude-2000", {"input_tokens": 1000, "output_tokens": 1000}, None),
    ("anthropic", "my-claude-3-5-haiku", {"input_tokens": 1000, "output_tokens": 1000}, None),
    ("google", "gemini-1.5-flash-8b", {"input_tokens": 1000, "output_tokens": 1000}, None),
    ("openai", "gpt-4o-super", {"input_tokens": 1000, "output_tokens": 1000}, None),
    ("openai", "claude-3-5-haiku", {"input_tokens": 1000, "output_tokens": 1000}, None),
    ("openrouter", "anthropic/claude-3.5-haiku:nitro", {"input_tokens": 1000, "output_tokens": 1000}, None),
    ("openrouter", "openai/gpt-oss-20b:free", {"input_tokens": 1000, "output_tokens": 1000}, None),
    ("openrouter", "openrouter/auto", {"input_tokens": 1000, "output_tokens": 1000}, None),
    ("my-own-proxy", "gpt-4o", {"input_tokens": 1000, "output_tokens": 1000}, None),
    ("mlx", "mlx-community/Llama-3.2-3B-Instruct-4bit", {"input_tokens": 1000, "output_tokens": 1000}, None),
    ("openai", "", {"input_tokens": 1000}, None),
    ("openai", None, {"input_tokens": 1000}, None),
    # tokens that a price does not know
    ("openai", "tts-1", {"input_tokens": 1000}, None),
    ("openai", "tts-1", {"input_tokens": 0, "output_tokens": 0}, None),
    ("openai", "whisper-1", {"input_tokens": 1000, "output_tokens": 10}, None),
    ("openai", "text-embedding-3-small", {"input_tokens": 8, "output_tokens": 1}, None),
    ("openai", "gpt-4", {"input_tokens": 10, "cache_read_tokens": 5, "output_tokens": 1}, None),
    ("openai", "gpt-4", {"input_tokens": 10, "cache_read_tokens": 0, "output_tokens": 1}, "0.00036"),
    ("openai", "gpt-4o", {"input_tokens": 10, "cache_write_tokens": 5, "output_tokens": 1}, None),
    ("openai", "omni-moderation-latest", {"input_tokens": 1000}, None),
    ("openai", "gpt-4o-audio-preview", {"input_tokens": 9, "output_tokens": 9, "parts": {"output_audio": 9}}, None),
    ("openai", "gpt-audio", {"input_tokens": 1000, "output_tokens": 1000}, None),
    (
        "openai",
        "gpt-audio",
        {"input_tokens": 1000, "output_tokens": 1000, "parts": {"input_audio": 400, "output_audio": 900}},
        "0.0729",
    ),
    ("openai", "gpt-image-1.5", {"input_tokens": 50, "output_tokens": 4160}, None),
    (
        "openai",
        "gpt-image-1",
        {"input_tokens": 50, "output_tokens": 4160, "parts": {"input_image": 10, "output_image": 4160}},
        "0.1667",
    ),
    (
        "google",
        "gemini-2.5-flash",
        {"input_tokens": 1000, "output_tokens": 0, "parts": {"input_audio": 500}},
        "0.00065",
    ),
    (
        "google",
        "gemini-2.5-flash",
        {"input_tokens": 1000, "cache_read_tokens": 9, "parts": {"input_audio": 500}},
        None,
    ),
    ("google", "gemini-2.5-flash-image", {"input_tokens": 100, "output_tokens": 1290}, None),
    ("perplexity", "sonar-deep-research", {"input_tokens": 100, "output_tokens": 100, "reasoning_tokens": 9}, None),
    ("perplexity", "sonar", {"input_tokens": 1000, "output_tokens": 1000}, "0.014"),
    # the whole prompt decides on the tier, the cached part of it included
    ("anthropic", "claude-sonnet-4-5", {"input_tokens": 200_000, "output_tokens": 1000}, "0.615"),
    ("anthropic", "claude-sonnet-4-5", {"input_tokens": 200_001, "output_tokens": 1000}, "1.222506"),
    (
        "anthropic",
        "claude-sonnet-4-5",
        {"input_tokens": 1, "cache_read_tokens": 200_000, "output_tokens": 1000},
        "0.142506",
    ),
    # cache writes that are kept for an hour cost more
    (
        "anthropic",
        "claude-sonnet-4-5",
        {"input_tokens": 0, "cache_write_tokens": 300, "output_tokens": 0, "parts": {"cache_write_1h": 200}},
        "0.001575",
    ),
    (
        "bedrock",
        "anthropic.claude-3-5-haiku-20241022-v1:0",
        {"input_tokens": 0, "cache_write_tokens": 300, "parts": {"cache_write_1h": 200}},
        None,
    ),
    ("anthropic", "claude-sonnet-4-5", {"input_tokens": 0, "parts": {"web_searches": 3}}, "0.03"),
    ("anthropic", "claude-3-haiku", {"input_tokens": 100, "parts": {"web_searches": 3}}, None),
    # terms
    ("anthropic", "claude-haiku-4-5", {"input_tokens": 1000, "terms": {"service_tier": "batch"}}, "0.0005"),
    ("anthropic", "claude-haiku-4-5", {"input_tokens": 1000, "terms": {"service_tier": "priority"}}, None),
    ("anthropic", "claude-opus-4-8", {"input_tokens": 1000, "terms": {"speed": "fast"}}, "0.01"),
    ("anthropic", "claude-haiku-4-5", {"input_tokens": 1000, "terms": {"inference_geo": "us"}}, None),
    ("openai", "o3", {"input_tokens": 1000, "terms": {"service_tier": "flex"}}, "0.001"),
    ("openai", "gpt-4", {"input_tokens": 1000, "terms": {"service_tier": "flex"}}, None),
    ("azure", "o3", {"input_tokens": 1000, "terms": {"service_tier": "flex"}}, None),
    # what is not billed by tokens
    ("openai", "tts-1", {"quantity": 1000, "unit": "characters"}, "0.015"),
    ("openai", "tts-1", {"quantity": 1000, "unit": "characters", "input_tokens": 250}, "0.015"),
    ("openai", "whisper-1", {"quantity": "90.5", "unit": "seconds"}, "0.00905"),
    ("groq", "whisper-large-v3", {"quantity": 3, "unit": "second"}, "0.000308333"),
    ("elevenlabs", "eleven_multilingual_v2", {"quantity": 735, "unit": "characters"}, "0.0588"),
    ("ElevenLabs", "eleven_turbo_v2_5", {"quantity": 735, "unit": "Characters"}, "0.0294"),
    ("elevenlabs", "eleven_turbo_v2_5", {"quantity": 403, "unit": "credits"}, None),
    ("elevenlabs", "eleven_turbo_v2_5", {"input_tokens": 100}, None),
    ("openai", "dall-e-3:1024x1024:standard", {"quantity": 1, "unit": "images"}, "0.04"),
    ("images", "dall-e-3:1024x1024", {"quantity": 1, "unit": "image"}, "0.04"),
    ("dalle", "dall-e-3-hd-1024x1792", {"quantity": 2, "unit": "images"}, "0.24"),
    ("openai", "dall-e-3/hd/1792×1024", {"quantity": 1, "unit": "images"}, "0.12"),
    ("openai", "dall-e-2:512x512", {"quantity": 10, "unit": "images"}, "0.18"),
    ("openai", "dall-e-3", {"quantity": 1, "unit": "images"}, None),
    ("openai", "dall-e-3:512x512", {"quantity": 1, "unit": "images"}, None),
    ("azure", "dall-e-3:1024x1024:hd", {"quantity": 1, "unit": "images"}, None),
    ("openai", "gpt-image-1:1024x1536:high", {"quantity": 1, "unit": "images"}, "0.25"),
    ("openai", "gpt-image-1:auto:high", {"quantity": 1, "unit": "images"}, None),
    ("openai", "gpt-4o", {"quantity": 3, "unit": "images", "input_tokens": 100, "output_tokens": 10}, None),
    ("pika", "pika-2.2:1080p:5s", {"quantity": 1, "unit": "videos"}, "0.45"),
    ("pika", "pika-2.2:1080p:10s", {"quantity": 1, "unit": "videos"}, None),
    ("fal", "fal-ai/pika/v2.2/pikaframes:720p", {"quantity": 3, "unit": "seconds"}, "0.2"),
    ("fal", "fal-ai/pika/v2.2/pikaframes:720p", {"quantity": "7.5", "unit": "seconds"}, "0.3"),
    ("fal", "fal-ai/pika/v2.2/pikaframes:720p", {"quantity": 0, "unit": "seconds"}, "0"),
    ("s3", "s3-standard", {"quantity": 100, "unit": "gb_months"}, "2.3"),
    ("aws", "s3-standard", {"quantity": 51_201, "unit": "gb_months"}, None),
    ("cloudflare", "r2-standard", {"quantity": 100, "unit": "GB-months"}, "1.5"),
    ("fly.io", "shared-cpu-1x", {"quantity": 720, "unit": "machine_hours"}, "2.194128"),
    ("openai", "tts-1", {"quantity": -1, "unit": "characters"}, None),
    ("openai", "tts-1", {"quantity": float("nan"), "unit": "characters"}, None),
    ("openai", "tts-1", {"quantity": True, "unit": "characters"}, None),
    ("openai", "tts-1", {"quantity": 10}, None),
    ("openai", "tts-1", {"unit": "characters"}, None),
    ("openai", "tts-1", {"quantity": 10, "unit": "words"}, None),
    # nothing, and far too much
    ("openai", "gpt-4o", {}, None),
    ("openai", "gpt-4o", {"input_tokens": 0, "output_tokens": 0}, "0"),
    ("openai", "gpt-4o", {"input_tokens": -5, "output_tokens": 10}, None),
    ("openai", "gpt-4.5-preview", {"input_tokens": 2**63 - 1, "output_tokens": 2**63 - 1}, None),
]


@pytest.mark.parametrize(("service", "model", "used", "expected"), AWKWARD)
def test_an_awkward_call_is_priced_exactly_or_not_at_all(
    service: str | None, model: str | None, used: dict[str, Any], expected: str | None
) -> None:
    priced = cost(service, model, **used)

    assert (None if priced.cost_nano is None else usd_from_nano(priced.cost_nano)) == (
        None if expected is None else Decimal(expected)
    )
    assert priced.source == ("unknown" if expected is None else "priced")
    assert (priced.problem is None) == (expected is not None)


@pytest.mark.parametrize(
    ("name", "service", "model", "expected"),
    [
        ("openai-chat-usage", "openai", "gpt-5.4-2026-03-05", "0.005195"),
        ("openai-responses-usage", "openai", "gpt-5.4", "0.005195"),
        ("openai-embeddings-usage", "openai", "text-embedding-3-small", "0.00000016"),
        ("openai-images-usage", "openai", "gpt-image-1.5", "0.1334"),
        # 50 x 3 + 1,024 x 3.75 + 100,000 x 0.30 + 503 x 15 a million, and one web search
        ("anthropic-usage", "anthropic", "claude-sonnet-4-5-20250929", "0.051535"),
        ("otel-genai-span-attributes", "anthropic", "claude-sonnet-4-5-20250929", "0.041535"),
    ],
)
def test_a_providers_own_usage_is_priced_to_the_nano(name: str, service: str, model: str, expected: str) -> None:
    priced = BOOK.cost(service=service, model=model, usage=read_usage(answer(name)), at=NOW)

    assert priced.cost_nano == nano_from_usd(Decimal(expected))


def test_what_the_provider_reported_wins_over_every_table() -> None:
    book = PriceBook({"anthropic/claude-sonnet-4.5": HAIKU})

    priced = book.cost(
        service="openrouter",
        model="anthropic/claude-sonnet-4.5",
        usage=read_usage(answer("openrouter-chat-usage")),
        at=NOW,
    )

    assert priced == Priced(nano_from_usd(Decimal("0.000612")), "reported")


def test_a_reported_cost_is_kept_when_the_counts_are_nonsense_and_says_so() -> None:
    usage = read_usage({"prompt_tokens": -1, "completion_tokens": 2, "cost": 0.5})

    priced = BOOK.cost(service="openrouter", model="x/y", usage=usage, at=NOW)

    assert (priced.cost_nano, priced.source) == (500_000_000, "reported")
    assert priced.problem


@pytest.mark.parametrize(
    "usage",
    [
        {"prompt_tokens": -1, "completion_tokens": 2},
        {"prompt_tokens": 10, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 11}},
        {"prompt_tokens": 10, "completion_tokens": 2, "cost": -1},
        {"prompt_tokens": 10, "completion_tokens": 2, "cost": 0.1, "is_byok": True},
        {"output_tokens": 503},
    ],
)
def test_a_usage_with_a_problem_has_no_price_however_well_the_model_is_known(usage: dict[str, Any]) -> None:
    read = read_usage(usage)

    assert BOOK.cost(service="openai", model="gpt-4o", usage=read, at=NOW) == Priced(None, "unknown", "", read.problem)


def test_an_override_that_lacks_a_rate_is_unknown_and_no_other_table_is_asked() -> None:
    book = PriceBook({"gpt-4o": HAIKU, "tts-1": configured_rates(unit="characters", usd_per_unit=0.00002)})
    cached = Usage(input_tokens=10, cache_read_tokens=5, output_tokens=1)

    assert book.cost(service="openai", model="gpt-4o", usage=cached, at=NOW).problem == "no price for cache_read tokens"
    spoken = book.cost(service="openai", model="tts-1", quantity=1000, unit="characters", at=NOW)
    assert spoken == Priced(nano_from_usd(Decimal("0.02")), "override", "config")
    assert book.cost(service="openai", model="tts-1", usage=Usage(input_tokens=5), at=NOW).cost_nano is None


def test_an_override_of_zero_is_a_price() -> None:
    book = PriceBook({"llama": configured_rates(input_per_million=0, output_per_million=0)})

    priced = book.cost(service="mlx", model="llama", usage=Usage(input_tokens=5, output_tokens=7), at=NOW)

    assert priced == Priced(priced.cost_nano, "override", "config")
    assert priced.cost_nano == 0


def test_an_override_of_our_own_table_wins() -> None:
    book = PriceBook({"eleven_v3": configured_rates(unit="characters", usd_per_unit=Decimal("0.0003"))})

    assert book.cost(service="elevenlabs", model="eleven_v3", quantity=10, unit="characters", at=NOW).cost_nano == (
        3_000_000
    )


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        (datetime(2025, 6, 9, 23, 59, tzinfo=UTC), "0.01"),
        (datetime(2025, 6, 10, tzinfo=UTC), "0.002"),
        # the day is a UTC day: half past midnight in Berlin is still the evening before
        (datetime(2025, 6, 10, 0, 30, tzinfo=timezone(timedelta(hours=2))), "0.01"),
    ],
)
def test_a_model_costs_what_it_cost_on_the_day_of_the_call(at: datetime, expected: str) -> None:
    assert usd("openai", "o3", at, input_tokens=1000, output_tokens=0) == Decimal(expected)


def test_a_price_by_the_time_of_day_is_that_of_the_call() -> None:
    day, night = datetime(2026, 11, 21, 12, tzinfo=UTC), datetime(2026, 11, 21, 20, tzinfo=UTC)

    assert usd("deepseek", "deepseek-chat", day, input_tokens=1_000_000) == Decimal("0.27")
    assert usd("deepseek", "deepseek-chat", night, input_tokens=1_000_000) == Decimal("0.135")


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        (datetime(2026, 6, 8, 23, 59, tzinfo=UTC), None),
        (datetime(2026, 6, 9, tzinfo=UTC), "0.1"),
        (datetime(2026, 10, 2, 23, 59, tzinfo=UTC), "0.1"),
        (datetime(2026, 10, 3, tzinfo=UTC), "0.08"),
    ],
)
def test_our_own_prices_hold_from_their_day_until_the_next(at: datetime, expected: str | None) -> None:
    priced = cost("elevenlabs", "eleven_v3", at, quantity=1000, unit="characters")

    assert priced.cost_nano == (None if expected is None else nano_from_usd(Decimal(expected)))


def test_each_of_our_own_prices_has_a_source_a_unit_and_a_day_once() -> None:
    prices = own_prices()

    assert len(prices) >= 90
    assert {price.unit for price in prices} <= set(UNITS)
    assert all(price.source and price.model == price.model.lower() and price.rate.usd > 0 for price in prices)
    assert len({(price.model, price.valid_from) for price in prices}) == len(prices)


def test_no_price_that_was_shipped_is_edited() -> None:
    """When a price was added, add its day with the digest up to that day; what stands here stays."""
    shipped = {"2026-10-03": "51d455c26f08095fe6b1b08cca89c9249dc0181a3df0ce00e6c7e18abb7b0f80"}

    for day, digest in shipped.items():
        lines = sorted(
            f"{one.service} {one.model} {one.valid_from} {one.rate.usd}/{one.unit} {one.rate.at_least} {one.rate.up_to}"
            for one in own_prices()
            if str(one.valid_from) <= day
        )
        assert hashlib.sha256("\n".join(lines).encode()).hexdigest() == digest


def test_units_are_understood_in_the_singular_and_with_a_hyphen() -> None:
    for unit in ("characters", "character", "chars", " Characters "):
        assert usd("openai", "tts-1", quantity=1000, unit=unit) == Decimal("0.015")
    assert usd("aws", "s3-standard", quantity=1, unit="gb-month") == Decimal("0.023")


def test_a_model_is_listed_with_all_its_prices_and_shown_with_those_in_force() -> None:
    book = PriceBook({"my-haiku": HAIKU})

    listed = list(book.listed("eleven_v3"))
    assert [(row.table, row.usd, str(row.valid_from)) for row in listed] == [
        ("prices.toml", Decimal("0.0001"), "2026-06-09"),
        ("prices.toml", Decimal("0.00008"), "2026-10-03"),
    ]
    assert {(row.table, row.unit, row.usd) for row in book.listed("my-haiku")} == {
        ("override", "input tokens", Decimal(1)),
        ("override", "output tokens", Decimal(5)),
    }
    shown, problem = book.shown("claude-sonnet-4-5", service="anthropic", at=NOW)
    assert problem is None
    assert ("input tokens", Decimal(6), 200_000) in {(row.unit, row.usd, row.beyond_prompt_tokens) for row in shown}
    assert book.shown("gpt-4o", service="my-own-proxy", at=NOW)[0] == ()
    assert {row.table for row in book.listed("haiku")} == {"override", "genai-prices"}


def test_the_book_forgets_names_rather_than_grow_for_ever() -> None:
    book = PriceBook()

    for number in range(9000):
        book.cost(service="mlx", model=f"m{number}", usage=Usage(input_tokens=1), at=NOW)

    assert len(book._listed) <= 4096


RATE = st.decimals(0, 1000, places=6).map(lambda rate: rate.normalize())
KIND = st.sampled_from(["input", "cache_read", "cache_write", "output"])
TIERED = st.builds(Tiers, RATE, st.tuples(st.tuples(st.integers(0, 10**6), RATE)))
PLAIN = st.builds(Rates, st.dictionaries(KIND, RATE))
RATES = st.builds(
    Rates,
    st.dictionaries(
        KIND | st.sampled_from(["reasoning", "output_image", "input_audio", "cache_write_1h"]), RATE | TIERED
    ),
    st.dictionaries(
        st.sampled_from([*UNITS, "web_searches"]), st.builds(UnitRate, RATE, st.sampled_from([1, 1000, 3600]))
    ),
)
COUNT = st.none() | st.integers(0, 10**7)
PARTS = st.dictionaries(
    st.sampled_from(["input_audio", "input_image", "output_image", "output_audio", "cache_write_1h", "web_searches"]),
    st.integers(0, 10**6),
    max_size=2,
)
# Built from a tuple: of a named one, `builds` would fill in the fields that were left out.
PLAIN_USAGES = st.tuples(COUNT, COUNT, COUNT, COUNT).map(lambda counts: Usage(*counts))
USAGES = st.tuples(PLAIN_USAGES, COUNT, PARTS).map(
    lambda said: said[0]._replace(reasoning_tokens=said[1], parts=said[2])
)
QUANTITY = st.none() | st.decimals(0, 10**6, places=3)


@given(RATES, USAGES, QUANTITY, st.none() | st.sampled_from(UNITS))
def test_a_cost_is_never_negative_and_never_zero_where_something_was_used_at_a_price(
    rates: Rates, usage: Usage, quantity: Decimal | None, unit: str | None
) -> None:
    nano, problem = charge(rates, usage, quantity, unit)

    assert (nano is None) == (problem is not None)
    if nano == 0 and unit is None:
        # Half a nano rounds to nothing: only what costs less than that may be free.
        free = [count for count in (usage.input_tokens, usage.output_tokens) if count]
        stated = [rate for rate in rates.tokens.values() if isinstance(rate, Decimal)]
        assert not free or min(stated, default=Decimal(0)) * 1000 * max(free) <= Decimal("0.5")
    assert nano is None or nano >= 0


@given(PLAIN, PLAIN_USAGES)
def test_the_quick_way_and_the_full_way_agree(rates: Rates, usage: Usage) -> None:
    nano, _ = charge(rates, usage, None, None)

    assert quick_charge(rates, usage) == nano


@given(PLAIN, st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**6))
def test_a_cost_is_the_exact_sum_rounded_once(rates: Rates, fresh: int, read: int, written: int, output: int) -> None:
    nano = quick_charge(rates, Usage(fresh, read, written, output))

    counts = {"input": fresh, "cache_read": read, "cache_write": written, "output": output}
    if any(count and kind not in rates.tokens for kind, count in counts.items()) or not rates.tokens:
        assert nano is None
    else:
        exact = sum(
            (Decimal(count) * Decimal(str(rates.tokens.get(kind, 0))) for kind, count in counts.items()), Decimal(0)
        )
        assert nano == nano_from_usd(exact / 1_000_000)


NAME = st.text(max_size=12) | st.sampled_from(
    ["gpt-4o", "claude-3-5-haiku", "tts-1", "dall-e-3:1024x1024", "a/b", "/", ":"]
)
ANYTHING = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.lists(st.integers())


@given(st.none() | NAME, st.none() | NAME, USAGES, ANYTHING, st.none() | st.text(max_size=5) | st.sampled_from(UNITS))
def test_pricing_never_raises(
    service: str | None, model: str | None, usage: Usage, quantity: object, unit: str | None
) -> None:
    priced = BOOK.cost(service=service, model=model, usage=usage, quantity=quantity, unit=unit, at=NOW)

    assert (priced.cost_nano is None) == (priced.source == "unknown") == (priced.problem is not None)


def test_every_listed_model_costs_what_genai_prices_calculates_or_is_unknown() -> None:
    """Where all that was reported has a rate, the two must agree to the nano, at any date."""
    from genai_prices import Usage as TheirUsage
    from genai_prices.data import providers

    checked = 0
    for at in (datetime(2025, 1, 1, tzinfo=UTC), NOW, datetime(2027, 2, 1, 2, tzinfo=UTC)):
        for provider in providers:
            for model in provider.models:
                for fresh, read, written, output in ((450, 0, 0, 180), (300_000, 5, 7, 1001)):
                    usage = Usage(fresh, read, written, output, 0)
                    nano = BOOK.cost(service=provider.id, model=model.id, usage=usage, at=at).cost_nano
                    if nano is None:
                        continue
                    theirs = model.calc_price(
                        TheirUsage(
                            input_tokens=fresh + read + written,
                            cache_read_tokens=read,
                            cache_write_tokens=written,
                            output_tokens=output,
                        ),
                        provider,
                        genai_request_timestamp=at,
                    )
                    assert nano == nano_from_usd(theirs.total_price), (provider.id, model.id)
                    checked += 1
    assert checked > 5000


def test_prices_that_the_host_process_fetched_change_nothing() -> None:
    from genai_prices.data_snapshot import DataSnapshot, set_custom_snapshot

    set_custom_snapshot(DataSnapshot(providers=[], from_auto_update=True))
    try:
        fresh = PriceBook().cost(service="openai", model="gpt-4o", usage=Usage(input_tokens=1_000_000), at=NOW)
    finally:
        set_custom_snapshot(None)

    assert fresh.cost_nano == 2_500_000_000


OFFLINE = """
import sys
def refuse(event, args):
    if event.startswith(("socket.connect", "socket.getaddrinfo", "socket.bind", "urllib.Request")):
        raise SystemExit("network: " + event)
sys.addaudithook(refuse)
from datetime import UTC, datetime
from orchestrator.pricing import PriceBook
from orchestrator.usage import Usage
book, at, heavy = PriceBook(), datetime(2026, 11, 21, tzinfo=UTC), ("genai_prices", "pydantic", "httpx2", "asyncio")
book.cost(service="elevenlabs", model="eleven_v3", quantity=5, unit="characters", at=at)
assert not [name for name in heavy if name in sys.modules], "loaded too early"
assert book.cost(service="openai", model="gpt-4o", usage=Usage(input_tokens=1000), at=at).cost_nano == 2_500_000
assert "genai_prices" in sys.modules
"""


def test_models_are_priced_offline_and_the_catalogue_is_loaded_only_when_a_call_needs_it() -> None:
    ran = subprocess.run([sys.executable, "-c", OFFLINE], capture_output=True, text=True, timeout=60, check=False)

    assert (ran.returncode, ran.stderr) == (0, "")


@pytest.mark.parametrize(
    ("service", "model", "variant"),
    [
        ("openai", "DALL-E-3", "dall-e-3:1024x1024:standard"),
        (None, "dall-e-2", "dall-e-2:1024x1024"),
        ("pika", "pika-2.2", "pika-2.2:720p:5s"),
    ],
)
def test_a_model_that_is_priced_by_variants_only_says_so(service: str | None, model: str, variant: str) -> None:
    priced = PriceBook().cost(service=service, model=model, quantity=1, unit="images", at=NOW)

    assert priced == (None, "unknown", "", f"no price: it depends on the variant; name one, like {variant}")
