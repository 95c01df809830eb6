"""Secrets taken out of text that is about to be stored, logged or sent."""

import json
import re
from collections.abc import Iterable
from typing import Final

REDACTED: Final = "[redacted]"
SHORTEST_SECRET: Final = 6

# What a key looks like wherever it turns up, and what is said to be one by the name before it, which is kept. The vendor's own masked
# label (sk-or-v1-0fa...240) is too short to match. What most places lack comes first: it makes the search three times as fast.
_KEYS = re.compile(
    r"\b(?:sk[-_][\w-]{16,}|CG-[A-Za-z0-9]{16,}|xox[a-z]-[A-Za-z0-9-]{8,}"
    r"|(?:AIza|AKIA|gsk_|hf_|r8_|xai-|pplx-|gh[a-z]_|github_pat_)[\w-]{16,})"
    r"|(?<![\w-])(?:[\w-]{20,80}\.[\w-]{6}\.[\w-]{20,}"  # a Discord bot's token
    r"|eyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]+)?)"  # a JSON Web Token
    r"|(?<=[/ ])(?:(?<=/webhooks/)\d+/[\w.-]+|(?<=/services/)[A-Za-z0-9]+/[A-Za-z0-9]+/[A-Za-z0-9]+"
    r"|(?<=Bearer )[^\s\"'\\,]+|(?<=://)[^\s\"'\\/@:]*:[^\s\"'\\/@]+(?=@))"
    r"|(?=[aspbir])((?:api[-_]?key|secret|passw(?:or)?d|authorization|private[-_]?key|(?:access|auth|bot|id|refresh|session)[-_]?token)"
    r"(?:=|: ?)(?:(?:Basic|Bearer) )?+)(?!\[)[^\s\"'\\,;&(){}\[\]]+",
    re.IGNORECASE | re.ASCII,
)
# The same names, and `token` alone, as the keys of JSON or of a Python mapping, each with text as its value. A quote that may end a
# string of JSON ends the value too: a mapping quoted in such a string, and cut, would else take the rest of the document along.
_NAMED = re.compile(
    r"(?=[aspt])((?:api[-_]?key|secret|passw(?:or)?d|authorization|private[-_]?key|(?:(?<![a-z])|(?<=access)|(?<=auth)|(?<=refresh))token)([\"'])\s*:\s*([\"']))"
    r"(?:\\.|(?!\3|\"\s*(?:[,:}\]]|\Z))[^\\])+",
    re.IGNORECASE | re.ASCII | re.DOTALL,
)


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """Return text without the given secrets (of six characters or more) and without anything formed or named like a key or a webhook."""
    # The longest first: a secret may be part of another.
    for secret in sorted({secret for secret in secrets if len(secret) >= SHORTEST_SECRET}, key=len, reverse=True):
        if secret.isdigit():
            # Digits are also found inside somebody's balance, which is to stay a number.
            text = re.sub(rf"(?<!\d){re.escape(secret)}(?!\d)", REDACTED, text)
        else:
            text = text.replace(secret, REDACTED)
    return _NAMED.sub(rf"\1{REDACTED}", _KEYS.sub(rf"\1{REDACTED}", text))


def redact_json(text: str) -> str:
    r"""Return valid JSON text, as compact as `json.dumps` can, in which no string has in it what `redact` takes out.

    Text with a backslash in it is read for that: the n of a \n would be a part of the key that begins a line.
    """
    if "\\" not in text:
        return redact(text)
    return redact(json.dumps(_redacted(json.loads(text)), ensure_ascii=False, separators=(",", ":")))


def _redacted(document: object) -> object:
    match document:
        case str():
            return redact(document)
        case list():
            return [_redacted(one) for one in document]
        case dict():
            return {redact(name): _redacted(value) for name, value in document.items()}
    return document
