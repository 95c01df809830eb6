"""JSON objects from standard input, one a line: read as they come, with the line numbers of what is none, and a bar when it takes long."""

import json
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from itertools import repeat
from typing import Any, BinaryIO, Final

import click

# So much is read at once: from a file thousands of lines, from a pipe what is there.
BLOCK = 1024 * 1024
LONGEST_LINE = 16 * 1024 * 1024
# Shorter input is through before a bar could be read.
LONG_INPUT = 512 * 1024


# Stands for a line that is too long to be kept.
_TOO_LONG: Final = f"is longer than {LONGEST_LINE // 1024**2} MiB"

# Some lines: the number of each, and the object in it, or why there is none.
Batch = list[tuple[int, dict[str, Any] | str]]


def read_object(text: str | bytes) -> dict[str, Any] | str:
    """Return a JSON object, its decimals exact, or in a few words why it is none."""
    try:
        found = json.loads(text, parse_float=Decimal)
    except (ValueError, RecursionError):
        return "is not JSON"
    return found if isinstance(found, dict) else "is not a JSON object"


@contextmanager
def batches(label: str) -> Iterator[Iterator[Batch]]:
    """Give what stands on standard input, batch by batch; on a terminal, a bar on stderr shows how far it is."""
    stream = sys.stdin.buffer
    length = _length(stream)
    short = length is not None and length < LONG_INPUT
    with click.progressbar(
        None if length is not None else repeat(None),
        length=length,
        label=label,
        file=sys.stderr,
        hidden=short or not sys.stderr.isatty(),
    ) as bar:

        def read() -> Iterator[Batch]:
            for size, numbered in _numbered_lines(stream):
                yield _batch(numbered)
                bar.update(size)

        yield read()


def _length(stream: BinaryIO) -> int | None:
    """Return how many bytes there are to read, None for a pipe or a terminal."""
    try:
        found = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return None
    return found.st_size if stat.S_ISREG(found.st_mode) else None


def _numbered_lines(stream: Any) -> Iterator[tuple[int, list[tuple[int, bytes | None]]]]:
    """Yield the lines of each block with their numbers, None for one that is too long, and the block's size."""
    number, rest = 0, b""
    too_long = False
    while block := stream.read1(BLOCK):
        lines: list[bytes | None]
        *lines, rest = (rest + block).split(b"\n")
        if too_long and lines:
            lines[0], too_long = None, False
        if too_long or len(rest) > LONGEST_LINE:
            # Only its end is still looked for.
            rest, too_long = b"", True
        yield len(block), list(enumerate(lines, number + 1))
        number += len(lines)
    if rest or too_long:
        yield 0, [(number + 1, None if too_long else rest)]


def _batch(numbered: list[tuple[int, bytes | None]]) -> Batch:
    return [
        (
            number,
            _TOO_LONG if text is None else read_object(text.removeprefix(b"\xef\xbb\xbf") if number == 1 else text),
        )
        for number, text in numbered
        if text is None or text.strip()
    ]
