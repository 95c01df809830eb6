"""Where each key of a TOML text stands, because tomllib does not tell."""

import re
import tomllib
from collections.abc import Iterator

from orchestrator.config.forms import Place

_TOKEN = re.compile(
    r"""
      (?P<blank> [ \t\r]+ | \#[^\n]* )
    | (?P<newline> \n )
    | (?P<text> \"\"\"(?:\\.|[^\\])*?\"\"\"\"{0,2} | '''.*?''''{0,2} | "(?:\\.|[^"\\])*" | '[^']*' )
    | (?P<mark> [][{},=.] )
    | (?P<word> [^][{},=."'\#\s]+ )
    """,
    re.VERBOSE | re.DOTALL,
)
_DEEPEST = 6


def lines_of(text: str) -> dict[Place, int]:
    """Return the line of every key, table and array item in a text that is valid TOML, by its path; arrays count from 0."""
    found: dict[Place, int] = {}
    lengths: dict[Place, int] = {}
    tokens = _Tokens(text)
    table: Place = ()
    while tokens.kind:
        line = tokens.line
        if tokens.word == "\n":
            tokens.take()
        elif tokens.word == "[":
            tokens.take()
            of_array = tokens.word == "["
            if of_array:
                tokens.take()
            table = _in_arrays(tokens.key(), lengths, of_array=of_array)
            while tokens.word == "]":
                tokens.take()
            _note(found, (), table, line)
        else:
            _read_pair(tokens, table, found)
    return found


class _Tokens:
    """The words of a text one after another, without blanks and comments; `kind` is "" at the end."""

    def __init__(self, text: str) -> None:
        self.line = 1
        self.kind = self.word = ""
        self._ahead = self._scan(text)
        self.take()

    def take(self) -> None:
        """Go to the next word."""
        self.kind, self.word, self.line = next(self._ahead, ("", "", self.line))

    def key(self) -> Place:
        """Return the dotted key that stands here, and go behind it."""
        names: list[str | int] = []
        while self.kind in ("word", "text") or self.word == ".":
            if self.word != ".":
                names.append(self.word if self.kind == "word" else next(iter(tomllib.loads(f"{self.word} = 0"))))
            self.take()
        return tuple(names)

    def _scan(self, text: str) -> Iterator[tuple[str, str, int]]:
        line = 1
        for match in _TOKEN.finditer(text):
            if match.lastgroup != "blank":
                yield match.lastgroup or "", match.group(), line
            line += match.group().count("\n")


def _in_arrays(names: Place, lengths: dict[Place, int], *, of_array: bool) -> Place:
    """Return the path of a header, with the index of each array of tables on its way."""
    path: Place = ()
    for n, name in enumerate(names):
        path = (*path, name)
        if of_array and n == len(names) - 1:
            lengths[path] = lengths.get(path, 0) + 1
        if path in lengths:
            path = (*path, lengths[path] - 1)
    return path


def _note(found: dict[Place, int], table: Place, path: Place, line: int) -> None:
    # Nothing of ours lies deeper, and every part of a key with ten thousand dots is not worth a line.
    for end in range(len(table) + 1, min(len(path), _DEEPEST) + 1):
        found.setdefault(path[:end], line)


def _read_pair(tokens: _Tokens, table: Place, found: dict[Place, int]) -> None:
    line = tokens.line
    path = (*table, *tokens.key())
    _note(found, table, path, line)
    tokens.take()
    _read_value(tokens, path, found)


def _read_value(tokens: _Tokens, path: Place, found: dict[Place, int]) -> None:
    opening = tokens.word
    if tokens.kind != "mark" or opening not in "[{":
        while tokens.kind in ("word", "text") or tokens.word == ".":
            tokens.take()
        return
    tokens.take()
    n = 0
    while tokens.word not in ("]", "}"):
        if tokens.word in ("\n", ","):
            tokens.take()
        elif opening == "{":
            _read_pair(tokens, path, found)
        else:
            found[*path, n] = tokens.line
            _read_value(tokens, (*path, n), found)
            n += 1
    tokens.take()
