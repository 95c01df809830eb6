"""Text from outside, made safe for one line: a log, a table cell, a row's `error`, an agent's prompt."""

import re

# Controls, line and paragraph separators, bidi marks and overrides, zero-width joiners and tags, lone surrogates, noncharacters.
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff0-\uffff\ud800-\udfff\U000e0000-\U000e0fff]+"
)


def one_line(text: str, limit: int = 200) -> str:
    """Return text on one line, without characters that could leave it or reorder it; `…` marks a cut at `limit` characters."""
    clean = " ".join(_UNSAFE.sub(" ", text).split())
    return clean if len(clean) <= limit else clean[: limit - 1].rstrip() + "…"
