"""How the log is written: `key=value` on a terminal, a JSON object a line elsewhere, as the journal and a file like it.

No line holds a secret, or a character that could leave the line: each text passes a function of the caller's that takes secrets
out, tracebacks too.
"""

import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TextIO

from orchestrator.text import one_line


@contextmanager
def without_rich() -> Iterator[None]:
    """Let what is imported inside believe that rich is not installed.

    structlog and httpx import it where it is, for tracebacks and a command line that nobody uses here: seventy modules and 5 MB
    that a daemon would carry for months.
    """
    rich = sys.modules.get("rich")
    sys.modules["rich"] = None  # type: ignore[assignment]  # how Python itself spells "not to be imported"
    try:
        yield
    finally:
        if rich is None:
            del sys.modules["rich"]
        else:
            sys.modules["rich"] = rich


with without_rich():
    import structlog
    from structlog.typing import EventDict, FilteringBoundLogger, WrappedLogger

_LONGEST = 2_000


def logger() -> FilteringBoundLogger:
    """Return what writes to the log; it may be asked for before `configure` is called."""
    found: FilteringBoundLogger = structlog.get_logger()
    return found


def configure(
    level: int, redact: Callable[[str], str], environ: Mapping[str, str], stream: TextIO | None = None
) -> None:
    """Write what has at least a level of `logging` to a stream, stderr unless given; NO_COLOR and a dumb terminal mean no colours."""
    stream = sys.stderr if stream is None else stream
    terminal = stream.isatty()
    colours = terminal and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"

    def clean(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        return {key: _cleaned(key, value, redact) for key, value in event.items()}

    renderer = (
        # The traceback as plain text: rich's would show the local variables, secrets among them.
        structlog.dev.ConsoleRenderer(
            colors=colours,
            pad_event_to=0,
            pad_level=False,
            sort_keys=False,
            exception_formatter=structlog.dev.plain_traceback,
        )
        if terminal
        else structlog.processors.JSONRenderer(ensure_ascii=False)
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            clean,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(_Lasting(stream)),  # type: ignore[arg-type]  # it writes and flushes
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    for handler in [one for one in root.handlers if isinstance(one, _Forwarding)]:
        root.removeHandler(handler)
    root.addHandler(_Forwarding(max(level, logging.WARNING)))


class _Lasting:
    """A stream whose reader may go away (`run 2>&1 | head`) without stopping what is worth more than its log."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        with suppress(OSError, ValueError):
            self._stream.write(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            self._stream.flush()


class _Forwarding(logging.Handler):
    """What the libraries say through `logging` goes the same way, cleaned like the rest."""

    def emit(self, record: logging.LogRecord) -> None:
        said = {"library": record.name, "message": record.getMessage(), "exc_info": record.exc_info or None}
        logger().log(record.levelno, "library_message", **said)


def _cleaned(key: str, value: object, redact: Callable[[str], str]) -> object:
    match value:
        case None | bool() | int() | float():
            return value
        case str() if key == "exception":
            return "".join(char if char.isprintable() or char == "\n" else "\ufffd" for char in redact(value))
        case _:
            return one_line(redact(str(value)), _LONGEST)
