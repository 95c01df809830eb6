"""The answers in tests/answers: what services really sent (payloads), and what a collector must survive (nasty)."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import loopback
from loopback import Behaviour, reply

PAYLOADS = Path(__file__).parent / "answers" / "payloads"
NASTY = Path(__file__).parent / "answers" / "nasty"

# The files that only describe what a server does, each with a server that does it.
_PLAYED: Mapping[str, list[Behaviour]] = {
    "any-gzip-bomb.txt": [loopback.gzip_bomb()],
    "any-slow-drip.txt": [loopback.drip, loopback.drip_headers, loopback.silence],
    "any-endless-headers.txt": [
        loopback.endless_headers,
        loopback.endless_header_line,
        loopback.endless_hints,
        loopback.raw(b"HTTP/1.1 200 OK\r\nX-Padding: " + b"x" * 120_000 + b"\r\n\r\n{}"),
        loopback.raw(b"HTTP/1.1 200 OK\nX-Broken\n\n{}"),
    ],
}


@dataclass(frozen=True)
class Case:
    """One answer and what is to come of it."""

    name: str
    behaviour: Behaviour
    expect: Mapping[str, Any]
    deadline_s: float = 5.0


def nasty(source: str) -> list[Case]:
    """Return the manifest's cases for one source."""
    rows = json.loads((NASTY / "manifest.json").read_text("utf-8"))
    return [case for row in rows if row["source"] == source for case in _cases(row)]


def _cases(row: Mapping[str, Any]) -> list[Case]:
    name, expect = row["file"], row["expect"]
    if name in _PLAYED:
        return [
            Case(f"{name} {number}", played, expect, deadline_s=0.75) for number, played in enumerate(_PLAYED[name])
        ]
    return [Case(name, reply((NASTY / name).read_bytes(), row["status"], row["headers"]), expect)]


def payload(name: str) -> Behaviour:
    """Return a server's answer with the recorded body, status and headers."""
    told = json.loads((PAYLOADS / "http.json").read_text("utf-8"))[name]
    headers = {key: value for key, value in told["headers"].items() if key != "Content-Length"}
    return reply((PAYLOADS / name).read_bytes(), told["status"], headers)


def document(name: str) -> Any:
    """Return the recorded body as a document."""
    return json.loads((PAYLOADS / name).read_text("utf-8"))
