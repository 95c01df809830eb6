"""What a notifier is given and what it answers: notices, the message that carries them, the channel, the outcome. Pure.

A notifier is one file with `channels(config) -> tuple[Channel, ...]`, empty when nothing is configured for it. Whoever
delivers asks a channel to send and keeps the outcome; it decides when to try again, the notifier decides what an answer means.
"""

import hashlib
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import ROUND_FLOOR, Decimal
from typing import TYPE_CHECKING, Final, Literal

from orchestrator.money import usd_text
from orchestrator.periods import span_text
from orchestrator.text import one_line

if TYPE_CHECKING:
    from orchestrator.collectors.fetch import Client

Severity = Literal["info", "warning", "critical", "emergency"]
Result = Literal["sent", "retry", "permanent"]

# So many ids stand in full in the smallest channel: the embeds of one Discord message have 6,000 characters in all.
MOST_ALERTS: Final = 100
# What one attempt may take, from the first connection to the last answer.
DEADLINE_S: Final = 30.0
MAX_RETRY_AFTER_S: Final = 3600.0
PREFIX: Final = "[orchestrator] "
SEVERITIES: Final[tuple[Severity, ...]] = ("info", "warning", "critical", "emergency")
COLOURS: Final[dict[Severity, int]] = {
    "info": 0x3498DB,
    "warning": 0xF1C40F,
    "critical": 0xE74C3C,
    "emergency": 0x8E44AD,
}

_TITLE_LIMIT = 200
_TEXT_LIMIT = 800
_LINK = re.compile(r"https?://[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]{1,500}")


@dataclass(frozen=True)
class Notice:
    """What one condition has to say. Amounts are USD; None: not known, or not part of it.

    `ids` are the alerts that it stands for, none for a test. `title` is the sentence that stands for the whole where
    there is room for one only (`[orchestrator]` is put before it), `text` what else there is to say, `what_to_do` the operator's next step. They may hold
    characters from outside: every notifier escapes them for its own medium. `percent` is spent of limit, 72 for 72 %.
    """

    ids: tuple[int, ...]
    kind: str
    severity: Severity
    title: str
    raised_at: datetime
    text: str = ""
    amount_usd: Decimal | None = None
    spent_usd: Decimal | None = None
    limit_usd: Decimal | None = None
    remaining_usd: Decimal | None = None
    percent: Decimal | None = None
    what_to_do: str | None = None
    link: str | None = None
    test: bool = False


@dataclass(frozen=True)
class Message:
    """One or several notices that go out together, for at most MOST_ALERTS alerts; every alert's id stands in it.

    `key` names this delivery among all others of every installation and is the same when it is tried again, so that a
    second arrival can be recognised (Discord's nonce, the Message-ID of a mail). A random UUID that is kept will do.
    """

    notices: tuple[Notice, ...]
    key: str

    def __post_init__(self) -> None:
        if not self.notices or len(self.ids) > MOST_ALERTS:
            problem = f"a message carries one notice or more, for at most {MOST_ALERTS} alerts"
            raise ValueError(problem)

    @property
    def ids(self) -> tuple[int, ...]:
        """Return the ids of all alerts, in the order of the notices."""
        return tuple(one for notice in self.notices for one in notice.ids)

    @property
    def ranked(self) -> tuple[Notice, ...]:
        """Return the notices, the gravest first, of equals the latest."""
        return tuple(sorted(self.notices, key=lambda n: (SEVERITIES.index(n.severity), n.raised_at), reverse=True))


@dataclass(frozen=True)
class Outcome:
    """What came of sending: it arrived, it may be tried again, or the channel is closed until its configuration changes.

    `reason` is one short line without a secret, empty when all is well. `retry_after_s`, within 0 and an hour, is what
    the other side asked to wait; None when it did not say.
    """

    result: Result
    reason: str = ""
    retry_after_s: float | None = None


@dataclass(frozen=True)
class Channel:
    """One place that messages go to: `discord`, `discord-dm`, `slack`, or `email:` and one recipient's address.

    `fingerprint` changes when what configures the channel changes, and tells nothing of it. `send` never raises for what
    a network or a stranger does, and is done within DEADLINE_S.
    """

    name: str
    fingerprint: str
    send: "Callable[[Client, Message, datetime], Awaitable[Outcome]]" = field(repr=False)  # bound to the secret


def sent(reason: str = "") -> Outcome:
    """Return that it arrived; a reason says what is odd about it."""
    return Outcome("sent", one_line(reason))


def retry(reason: str, after_s: float | None = None) -> Outcome:
    """Return that it did not arrive and may later; the wait is bounded to an hour."""
    return Outcome("retry", one_line(reason), None if after_s is None else min(max(after_s, 0.0), MAX_RETRY_AFTER_S))


def permanent(reason: str) -> Outcome:
    """Return that nothing will arrive until somebody changes the configuration."""
    return Outcome("permanent", one_line(reason))


def fingerprint(*parts: str) -> str:
    """Return six hexadecimal digits that stand for what configures a channel.

    They are stored, and a password may be a word: 24 bits show a change and leave a list of words as long as before for
    who tries them, and each try is slow.
    """
    told = "\0".join(parts).encode("utf-8", "surrogatepass")
    return hashlib.pbkdf2_hmac("sha256", told, b"orchestrator channel", 50_000).hex()[:6]


def headline(message: Message) -> str:
    """Return the line that stands for the whole message, not escaped for any medium."""
    ranked = message.ranked
    if len(ranked) == 1:
        return f"{PREFIX}{title_of(ranked[0])}"
    return f"{PREFIX}{_many(ranked)}: {title_of(ranked[0])}"


def in_own_words(message: Message) -> str:
    """Return one line with the ids and nothing from outside, for a channel that refuses the words of the message itself.

    A name that somebody chose must not be able to close a channel whose filter dislikes it.
    """
    ranked = message.ranked
    kind = f"{'test' if ranked[0].test else 'alert'}, {ranked[0].severity}" if len(ranked) == 1 else _many(ranked)
    told = f" {ids_text(message.ids)}" if message.ids else ""
    return f"{PREFIX}{kind}{told}: the text was refused here; see `orchestrator alerts list`"


def title_of(notice: Notice) -> str:
    """Return the title on one line, marked when it is a test, not escaped."""
    return f"{'Test: ' if notice.test else ''}{one_line(notice.title, _TITLE_LIMIT)}"


def text_of(notice: Notice) -> str:
    """Return the text on one line, not escaped."""
    return one_line(notice.text, _TEXT_LIMIT)


def facts(notice: Notice, now: datetime) -> tuple[tuple[str, str], ...]:
    """Return what is known of a notice as names and values of one line each, in reading order: our words alone."""
    amounts = (
        ("Amount", notice.amount_usd),
        ("Spent", notice.spent_usd),
        ("Limit", notice.limit_usd),
        ("Remaining", notice.remaining_usd),
    )
    told = [("Severity", str(notice.severity))]
    told += [(name, cut(usd_text(amount), 40)) for name, amount in amounts if amount is not None]
    if notice.percent is not None:
        told.append(("Used", progress_bar(notice.percent)))
    told.append(("Raised", age_text(notice.raised_at, now)))
    return tuple(told)


def advice(notice: Notice) -> tuple[tuple[str, str], ...]:
    """Return what to do and where to look, as names and values of one line each, not escaped."""
    todo, page = one_line(notice.what_to_do or "", _TEXT_LIMIT), page_of(notice)
    return (("What to do", todo),) * bool(todo) + (("Page", page or ""),) * bool(page)


def page_of(notice: Notice) -> str | None:
    """Return the link when it is an http(s) URL of visible ASCII that every medium can carry, else None."""
    return notice.link if notice.link and _LINK.fullmatch(notice.link) else None


def blocks(message: Message, now: datetime) -> tuple[tuple[str, ...], ...]:
    """Return what stands below the headline in plain text, a block of lines a notice, the gravest first, not escaped.

    The first line of each names its alert. Where there are several, a block with every id comes before them.
    """
    ranked = message.ranked
    if len(ranked) == 1:
        ids = ids_text(message.ids)
        return ((*([f"Alert {ids}"] if ids else []), *_lines(ranked[0], now)),)
    told = tuple((f"{ids_text(notice.ids)} {title_of(notice)}".lstrip(), *_lines(notice, now)) for notice in ranked)
    return ((f"Alerts {ids_text(message.ids)}",), *told) if message.ids else told


def age_text(raised_at: datetime, now: datetime) -> str:
    """Return when something was raised, for a reader: its age and its moment in UTC."""
    age = span_text((now - raised_at).total_seconds())
    return f"{age} ago ({raised_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC)"


def ids_text(ids: tuple[int, ...]) -> str:
    """Return the ids as they are named to `alerts ack`: `#12, #13`; empty for none."""
    return ", ".join(f"#{one}" for one in ids)


def progress_bar(percent: Decimal, width: int = 10) -> str:
    """Return a bar like `[#######---] 72%`; it is full from 100 % on and never rounds up to a threshold not reached."""
    if not percent.is_finite():
        return f"[{'?' * width}]"
    shown = int(max(percent, Decimal(0)).to_integral_value(ROUND_FLOOR)) if percent < 1_000_000 else 1_000_000
    filled = min(shown * width // 100, width)
    return f"[{'#' * filled}{'-' * (width - filled)}] {'over ' if shown == 1_000_000 else ''}{shown}%"


def length(text: str) -> int:
    """Return how long text is for whoever counts most: in UTF-16 units, where an emoji is two."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def cut(text: str, limit: int) -> str:
    """Return text no longer than the limit by any count; `…` marks where it was cut."""
    if length(text) <= limit:
        return text
    kept = text.encode("utf-16-le", "surrogatepass")[: 2 * max(limit - 1, 0)].decode("utf-16-le", "ignore")
    return kept.rstrip("\\ ") + "…" * (limit > 0)


def _lines(notice: Notice, now: datetime) -> list[str]:
    text = text_of(notice)
    return [text] * bool(text) + [f"{name}: {value}" for name, value in facts(notice, now) + advice(notice)]


def _many(ranked: tuple[Notice, ...]) -> str:
    what = "test messages" if all(notice.test for notice in ranked) else "alerts"
    return f"{len(ranked)} {what}, the gravest {ranked[0].severity}"
