import json
import unicodedata
from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from orchestrator.collectors.body import RAW_LIMIT, TEXT_LIMIT, Body, read_body
from orchestrator.redaction import redact

SECRET = "sk-or-v1-0123456789abcdef0123456789abcdef"

DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


# The characters that turn a line around, by their bidi class.
TURNING = {"LRE", "RLE", "PDF", "LRO", "RLO", "LRI", "RLI", "FSI", "PDI"}


def check(body: Body) -> None:
    """Whatever came, what is kept of it is bounded and fits into a row, a line and a prompt."""
    assert len(body.text) <= TEXT_LIMIT
    assert not {unicodedata.category(character) for character in body.text} & {"Cc", "Cs", "Zl", "Zp"}
    assert not {unicodedata.bidirectional(character) for character in body.text} & TURNING
    assert len(body.raw_json) <= RAW_LIMIT
    assert body.raw_json.isascii()
    assert body.raw_json.isprintable()
    json.loads(body.raw_json)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "empty answer"),
        (b" \n", "empty answer"),
        (b"OK", "not JSON"),
        (b"{", "not JSON"),
        (b'{"a": 1} trailing', "not JSON"),
        (b'{"a": 1}{"a": 2}', "not JSON"),
        (b'{"a": NaN}', "not JSON"),
        (b'{"a": -Infinity}', "not JSON"),
        (b"{'a': 1}", "not JSON"),
        (b'{"a": 01}', "not JSON"),
        (b'{"a": \\u0031}', "not JSON"),
        (b'{"a": "\x07"}', "not JSON"),
        (b'{"a": "\xe9"}', "not JSON"),
        (b'{"a": "\xed\xa0\x80"}', "not JSON"),
        (b"\xef\xbb\xbf", "not JSON"),
        (b"[" * 200_000, "not JSON"),
        (b'{"a":' * 100_000, "not JSON"),
        (b"1" * 5_000, "not JSON"),
        (b'{"a": 1' + b"0" * 5_000 + b"}", "not JSON"),
        (b"\x1f\x8b\x08\x00", "not JSON"),
        (b"\x00\x00\x00", "not JSON"),
        (b"data: {}\n\ndata: [DONE]\n\n", "not JSON"),
    ],
)
def test_what_is_no_document_is_named(content: bytes, problem: str) -> None:
    body = read_body(content)

    assert (body.problem, body.document) == (problem, None)
    check(body)


@pytest.mark.parametrize(
    ("content", "document"),
    [
        (b"null", None),
        (b'{"a": 1, "a": 2}', {"a": 2}),
        (b'{"a": 0.10}', {"a": Decimal("0.10")}),
        (b'\xef\xbb\xbf{"a": 1}', {"a": 1}),
        ('{"a": "é"}'.encode("utf-16"), {"a": "é"}),
        (b'{"a": "\\ud800"}', {"a": "\ud800"}),
        ('{"a": "\u202e"}'.encode(), {"a": "\u202e"}),
        (b'{"a": "\\\\u0041 \\/ \\u0041"}', {"a": "\\u0041 / A"}),
        (b'{"a": 1e999}', {"a": Decimal("1e999")}),
    ],
)
def test_what_is_a_document_is_read_and_kept_as_it_was(content: bytes, document: object) -> None:
    body = read_body(content)

    assert (body.problem, body.document) == (None, document)
    assert json.loads(body.raw_json, parse_float=Decimal) == document
    check(body)


def test_an_exponent_that_no_number_can_have_spoils_only_its_own_value() -> None:
    assert read_body(b'{"a": 1e99999999999999999999, "b": 2}').document == {"a": Decimal("Infinity"), "b": 2}


@given(st.binary() | st.text().map(lambda text: text.encode("utf-8", "surrogatepass")))
@example(b"\xff\xfe")
@example(b'"\\')
def test_no_bytes_are_an_exception(content: bytes) -> None:
    check(read_body(content))


@given(DOCUMENTS, st.booleans(), st.sampled_from([None, 2]))
def test_a_document_is_stored_on_one_line_of_ascii_with_the_same_meaning(
    document: object, ascii_only: bool, indent: int | None
) -> None:
    written = json.dumps(document, ensure_ascii=ascii_only, indent=indent)

    body = read_body(written.encode("utf-8", "surrogatepass"))

    if body.problem is None:
        check(body)
        assert json.loads(body.raw_json) == document


@given(st.text(max_size=20), st.text(max_size=20), st.integers(0, 2))
def test_a_secret_is_never_kept_however_it_is_written(before: str, after: str, way: int) -> None:
    escaped = "".join(f"\\u{ord(letter):04x}" for letter in SECRET)
    quoted = json.dumps(before + "|" + SECRET + "|" + after)
    content = [quoted, quoted.replace(SECRET, escaped), before + SECRET + after][way]

    body = read_body(content.encode("utf-8", "surrogatepass"), {SECRET})

    assert SECRET not in repr(body)
    assert SECRET not in str(json.loads(body.raw_json))
    check(body)


def test_a_document_that_is_too_long_is_read_whole_and_stored_by_its_beginning() -> None:
    content = json.dumps({f"key {number}": '"' for number in range(20_000)}).encode()

    body = read_body(content)

    assert body.problem is None
    assert isinstance(body.document, dict)
    assert len(body.document) == 20_000
    assert json.loads(body.raw_json).endswith(f"[cut, {len(content)} characters in all]")
    check(body)


@pytest.mark.parametrize(
    "secret",
    [
        SECRET,
        "sk-proj-AbCdEf0123456789_-AbCdEf",
        "CG-aBcDeFgHiJkLmNoPqRsTuVwX",
        "xoxb-1234567890-abcdefghij",
        "MTE4NjQ3MjE4NDQwNTk3NTA4MA.GaBcDe.aBcDeFgHiJkLmNoPqRsTuVwXyZ0123456789ab",
        "https://discord.com/api/webhooks/1186472184405975080/aBcD-eFgH_iJkL",
        "https://hooks.slack.com/services/T0000AAAA/B0000BBBB/aBcDeFgHiJkL",
    ],
)
def test_what_has_the_form_of_a_key_is_redacted_although_nobody_named_it(secret: str) -> None:
    line = redact(f"Invalid key {secret}, or: Authorization: Bearer abcdef.ghi, see {secret}")

    assert secret[-10:] not in line
    assert "abcdef.ghi" not in line
    assert line.startswith("Invalid key ")


@pytest.mark.parametrize(
    "harmless", ["sk-or-v1-0fa...240", "a task-oriented-conversation-about-it", "1234567890123", "no-reply@example.com"]
)
def test_what_only_resembles_a_key_is_left(harmless: str) -> None:
    assert redact(harmless, {"", "a", "12345", "345678"}) == harmless


def test_a_secret_of_digits_is_redacted_but_not_within_a_number() -> None:
    assert (
        redact('{"amtPaid": 1234567890, "key": "345678"}', {"345678"}) == '{"amtPaid": 1234567890, "key": "[redacted]"}'
    )


def test_a_megabyte_made_to_be_slow_to_search_is_not() -> None:
    for junk in (
        "a-" * 500_000,
        "sk-" * 300_000,
        "A" * 1_000_000,
        "Bearer " * 150_000,
        "/webhooks/1" * 90_000,
        "\\u0041" * 170_000,
    ):
        assert len(read_body(f'"{junk}"'.encode(), {"abcdefgh"}).raw_json) <= RAW_LIMIT
