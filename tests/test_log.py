"""What the log looks like, and what it never holds."""

import io
import json
import logging
import subprocess
import sys
from functools import partial

import pytest

from orchestrator import log
from orchestrator.redaction import redact

SECRET = "correct-horse-battery-staple"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def written(stream: io.StringIO, **environ: str) -> None:
    log.configure(logging.INFO, partial(redact, secrets=[SECRET]), environ, stream)


def test_elsewhere_than_on_a_terminal_each_event_is_a_json_object() -> None:
    stream = io.StringIO()
    written(stream)

    log.logger().warning("source_failing", source="mlx-api", tries=3, good=False, error=None)

    (line,) = stream.getvalue().splitlines()
    told = json.loads(line)
    assert told.pop("timestamp").endswith("Z")
    assert told == {
        "event": "source_failing", "level": "warning", "source": "mlx-api", "tries": 3, "good": False, "error": None,
    }  # fmt: skip


def test_on_a_terminal_it_is_key_value() -> None:
    stream = Terminal()
    written(stream, NO_COLOR="1")

    log.logger().info("started", sources="mlx-api", pid=7)

    assert stream.getvalue().endswith("started sources=mlx-api pid=7\n")


@pytest.mark.parametrize(
    ("environ", "coloured"),
    [({}, True), ({"NO_COLOR": "1"}, False), ({"NO_COLOR": ""}, True), ({"TERM": "dumb"}, False)],
)
def test_colours_are_for_terminals_that_want_them(environ: dict[str, str], coloured: bool) -> None:
    stream = Terminal()
    written(stream, **environ)

    log.logger().info("started")

    assert ("\x1b[" in stream.getvalue()) is coloured


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()])
def test_no_secret_is_written_not_even_in_a_traceback(stream: io.StringIO) -> None:
    written(stream, NO_COLOR="1")

    try:
        raise ValueError(f"refused: {SECRET}\x1b[2J")
    except ValueError:
        log.logger().exception(
            "job_failed", url=f"https://pool.example/?key={SECRET}", key="sk-or-v1-0123456789abcdef0123"
        )

    text = stream.getvalue()
    assert "ValueError" in text
    assert SECRET not in text
    assert "0123456789abcdef" not in text
    assert "\x1b" not in text
    assert "[2J" in text


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()])
def test_a_strangers_text_stays_on_its_line(stream: io.StringIO) -> None:
    written(stream, NO_COLOR="1")

    log.logger().warning("source_failing", error="down\n2026 [error] all is lost\x1b[31m\u202e\u2028", body=["a\nb"])

    assert len(stream.getvalue().splitlines()) == 1
    assert stream.getvalue().isprintable() or stream.getvalue()[:-1].isprintable()


def test_what_libraries_log_is_cleaned_too() -> None:
    stream = io.StringIO()
    written(stream)

    logging.getLogger("some.library").warning("cannot reach %s", f"https://pool.example/{SECRET}")
    logging.getLogger("some.library").info("not of interest")

    (line,) = stream.getvalue().splitlines()
    told = json.loads(line)
    assert told["event"] == "library_message"
    assert told["library"] == "some.library"
    assert told["message"] == "cannot reach https://pool.example/[redacted]"


def test_below_its_level_nothing_is_written() -> None:
    stream = io.StringIO()
    log.configure(logging.ERROR, redact, {}, stream)

    log.logger().warning("source_failing")
    log.logger().error("file_fault")

    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["file_fault"]


def test_a_reader_that_went_away_stops_nobody() -> None:
    stream = io.StringIO()
    written(stream)
    stream.close()

    log.logger().error("file_fault")


def test_the_daemon_does_not_carry_rich() -> None:
    code = "import sys, orchestrator.cli.scan, orchestrator.daemon; print([m for m in sys.modules if m.startswith('rich')])"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "[]\n"
