"""Text from outside, made safe for one line: a log, a table cell, a row's `error`, an agent's prompt."""


def one_line(text: str, limit: int = 200) -> str:
    """Return text on one line, without characters that could leave it, reorder it or hide; `…` marks a cut at `limit` characters.

    Controls, separators, bidi marks, zero-width and unassigned characters and lone surrogates all become a space.
    """
    # No honest text needs more to fill the limit, and a megabyte of junk must not cost a second.
    line = text[: 8 * limit + 1000]
    if not (line.isascii() and line.isprintable()):
        line = "".join(character if character.isprintable() else " " for character in line)
    clean = " ".join(line.split())
    return clean if len(clean) <= limit else clean[: limit - 1].rstrip() + "…"
