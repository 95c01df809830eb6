"""Secrets in text and in JSON: what has the form of one, and what is said to be one by its name."""

import json
from time import perf_counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.redaction import redact, redact_json

KEY = "sk-or-v1-0123456789abcdef0123456789abcdef"
# Built here: a scanner of repositories would take them for real ones.
SECRETS = [
    KEY,
    "sk-ant-" + "api03-abcdefghijklmnopqrst",
    "sk_" + "0123456789abcdef" * 3,
    "AI" + "zaSyA0123456789abcdefghijklmnopqrstu",
    "gsk_" + "a1b2c3d4e5f6g7h8i9j0",
    "hf_" + "abcdefghijklmnopqrstuvwx",
    "AK" + "IAABCDEFGHIJKLMNOP",
    "eyJ" + "hbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl",
]


@pytest.mark.parametrize("secret", SECRETS, ids=lambda secret: secret[:5])
@pytest.mark.parametrize("before", ["", "Incorrect key ", "key:\n", "key\t", '{"k": "', "a\\n "])
def test_a_key_is_taken_out_wherever_it_stands(secret: str, before: str) -> None:
    assert redact(f"{before}{secret}") == f"{before}[redacted]"


@pytest.mark.parametrize(
    ("said", "left"),
    [
        ("401 for https://api.example/v1?api_key=abc123&model=x", "401 for https://api.example/v1?api_key=[redacted]&model=x"),
        ("xi-api-key: 0a1b2c", "xi-api-key: [redacted]"),
        ("Authorization: Basic dXNlcjpwYXNz", "Authorization: Basic [redacted]"),
        ("Authorization: Bearer abc.def", "Authorization: Bearer [redacted]"),
        ("{'Authorization': 'Bearer abc def'}", "{'Authorization': '[redacted]'}"),
        ("{'password': 'a\"b c', 'n': 1}", "{'password': '[redacted]', 'n': 1}"),
        ('{"password": "a\\"b", "token": "t", "n": 1}', '{"password": "[redacted]", "token": "[redacted]", "n": 1}'),
        ('{"accessToken":"abc"}', '{"accessToken":"[redacted]"}'),
        ("OPENAI_API_KEY=abc failed", "OPENAI_API_KEY=[redacted] failed"),
        ("postgres://me:hunter2@db.example/x", "postgres://[redacted]@db.example/x"),
        ("https://discord.com/api/webhooks/123/a-b_c", "https://discord.com/api/webhooks/[redacted]"),
        ("https://hooks.slack.com/services/T0/B0/xyz", "https://hooks.slack.com/services/[redacted]"),
    ],
)  # fmt: skip
def test_what_a_name_says_is_secret_is_taken_out_and_the_name_stays(said: str, left: str) -> None:
    assert redact(said) == left
    assert redact(left) == left


@pytest.mark.parametrize(
    "harmless",
    [
        "Incorrect API key provided", "the secretary: Bob", "max_tokens: 4096, total_tokens=12", '{"prompt_tokens": "12"}',
        "rate limit reached for gpt-4o in organization org-abc on tokens per min", "http://localhost:8100/health",
        "claude-3-5-sonnet-20241022", '{"label": "sk-or-v1-0fa...240"}', "at 10:30:00, retry in 20s",
    ],
)  # fmt: skip
def test_what_is_no_secret_stays(harmless: str) -> None:
    assert redact(harmless) == harmless


TEXTS = st.text(alphabet=st.sampled_from("ab\n\t\"'\\/:é \x01"), max_size=8) | st.sampled_from(
    ["{'token': 'a", "it's", "secret':\"b"]
)
SAID = st.builds(lambda before, secret, after: f"{before} {secret} {after}", TEXTS, st.sampled_from(SECRETS), TEXTS)
DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS | SAID,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS | st.just("api_key"), inner, max_size=3),
    max_leaves=8,
)


@given(DOCUMENTS)
def test_json_stays_json_of_the_same_shape_and_has_no_key_in_it(document: object) -> None:
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))

    clean = redact_json(text)

    assert shape(json.loads(clean)) == shape(document)
    assert not any(secret in clean for secret in SECRETS)
    if "redacted" not in clean:
        assert json.loads(clean) == document


def shape(document: object) -> object:
    match document:
        case dict():
            return [shape(one) for one in document.values()]
        case list():
            return [shape(one) for one in document]
        case _:
            return type(document)


def test_a_key_at_the_beginning_of_a_line_within_json_is_seen() -> None:
    assert redact_json(json.dumps({"log": f"failed:\n{KEY}"})) == '{"log":"failed:\\n[redacted]"}'


@pytest.mark.parametrize(
    ("said", "left"),
    [
        ({"log": "{'token': 'abc", "n": "1"}, {"log": "{'token': '[redacted]", "n": "1"}),
        ({"log": "{'token': 'abc", "n": "it's"}, {"log": "{'token': '[redacted]", "n": "it's"}),
        ({"logs": ["{'token': 'abc"], "n": 1}, {"logs": ["{'token': '[redacted]"], "n": 1}),
    ],
)
def test_a_mapping_that_is_quoted_in_json_and_cut_takes_nothing_else_along(said: object, left: object) -> None:
    assert json.loads(redact_json(json.dumps(said))) == left


@pytest.mark.parametrize(
    "part", ["eyJ-", "secret\":'", "token':'\"  ", "://a:", "a" * 90 + ".", "api_key=[", "sk-", "token"]
)
def test_a_megabyte_that_looks_like_secrets_everywhere_is_through_in_no_time(part: str) -> None:
    text = part * (1_000_000 // len(part))

    began = perf_counter()
    redact(text)

    assert perf_counter() - began < 2
