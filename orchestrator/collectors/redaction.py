"""Secrets taken out of text that is about to be stored, logged or sent."""

import re
from collections.abc import Iterable

REDACTED = "[redacted]"
SHORTEST_SECRET = 6

# What a key looks like wherever it turns up. The vendor's own masked label (sk-or-v1-0fa...240) is too short to match.
_KEYS = re.compile(
    r"\bsk-[A-Za-z0-9_-]{16,}"
    r"|\bCG-[A-Za-z0-9]{16,}"
    r"|\bxox[a-z]-[A-Za-z0-9-]{8,}"
    r"|(?<![A-Za-z0-9_-])[A-Za-z0-9_-]{20,80}\.[A-Za-z0-9_-]{6}\.[A-Za-z0-9_-]{20,}"  # a Discord bot's token
    r"|(?<=/webhooks/)\d+/[A-Za-z0-9._-]+"
    r"|(?<=/services/)[A-Za-z0-9]+/[A-Za-z0-9]+/[A-Za-z0-9]+"
    r"|(?<=Bearer )[^\s\"'\\,]+",
    re.IGNORECASE,
)


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """Return text without the given secrets (of six characters or more) and without anything formed like a key or a webhook."""
    # The longest first: a secret may be part of another.
    for secret in sorted({secret for secret in secrets if len(secret) >= SHORTEST_SECRET}, key=len, reverse=True):
        if secret.isdigit():
            # Digits are also found inside somebody's balance, which is to stay a number.
            text = re.sub(rf"(?<!\d){re.escape(secret)}(?!\d)", REDACTED, text)
        else:
            text = text.replace(secret, REDACTED)
    return _KEYS.sub(REDACTED, text)
