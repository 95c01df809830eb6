"""Text from outside: whatever it was, it ends up on one printable line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.text import one_line


@given(st.text(), st.integers(1, 300))
def test_any_text_becomes_one_printable_line_within_the_limit(text: str, limit: int) -> None:
    line = one_line(text, limit)

    assert len(line) <= limit
    assert line.isprintable()
    assert line == line.strip()


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("timeout", "timeout"),
        ("a\nb\t c\r\n", "a b c"),
        ("Zürich 東京 €5", "Zürich 東京 €5"),
        ("ev\u202eil\u2066\u200b\ufeffx", "ev il x"),
        ("\x1b[31mred", "[31mred"),
        ("a\u2028b\u2029c\x85d", "a b c d"),
        ("\ud800x\ud7fcy\U000e0041z", "x y z"),
    ],
)
def test_what_could_leave_the_line_becomes_a_space(text: str, line: str) -> None:
    assert one_line(text) == line


def test_a_cut_is_marked() -> None:
    assert one_line("x" * 300, 10) == "x" * 9 + "…"
    assert one_line("x" * 10_000_000, 10) == "x" * 9 + "…"
