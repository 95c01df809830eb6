"""Notices and messages for tests of the notifiers, and what must not get through them."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from hypothesis import strategies as st

from orchestrator.alerts.message import SEVERITIES, Message, Notice
from orchestrator.config.credentials import Secrets
from orchestrator.config.record import Config
from orchestrator.config.sections import Alerts

NOW = datetime(2026, 11, 21, 7, 31, tzinfo=UTC)
KEY = "0196a1de-5c0e-7b1a-9a55-3f0e6a5b2c10"

LOW_CREDITS = Notice(
    ids=(12,),
    kind="low_credits",
    severity="critical",
    title="Low credits: $4.27 remaining on OpenRouter (account). Please top up.",
    raised_at=NOW - timedelta(hours=2),
    text="The threshold is $5.00.",
    amount_usd=Decimal("4.27"),
    what_to_do="Top up at OpenRouter, or raise low_threshold_usd.",
)
BUDGET = Notice(
    ids=(13,),
    kind="budget",
    severity="warning",
    title="Daily budget of tenant acme at 80%",
    raised_at=NOW - timedelta(minutes=4),
    spent_usd=Decimal("8.05"),
    limit_usd=Decimal(10),
    remaining_usd=Decimal("1.95"),
    percent=Decimal("80.5"),
    link="https://orchestrator.example/alerts/13",
)
HOSTILE = (
    "@everyone @here <@82198898841029460> <@&1> <#1> <!channel> <!here|x> **bold** ~~no~~ ||no|| `code` [a](http://evil.example) "
    "https://evil.example </td><script>alert(1)</script> & \r\nBcc: victim@evil.example\r\n\r\n. \u202egnp.exe \x00\x1b[2J"
)


def message(*notices: Notice) -> Message:
    return Message(notices or (LOW_CREDITS,), KEY)


def waiting(count: int) -> Message:
    """Return a message of so many notices, each with its own id, some of them hostile."""
    words = (BUDGET, LOW_CREDITS, replace(BUDGET, title=HOSTILE, text=HOSTILE, what_to_do=HOSTILE))
    return Message(tuple(replace(words[n % 3], ids=(10_000 + n,)) for n in range(count)), KEY)


def config(alerts: Alerts | None = None, secrets: Secrets | None = None) -> Config:
    return Config(database=Path("unused.db"), alerts=alerts or Alerts(), secrets=secrets or Secrets())


_AMOUNTS = st.none() | st.decimals(allow_nan=False, allow_infinity=False)
_WORDS = st.builds(str.__mul__, st.text(max_size=12), st.sampled_from([1, 300])) | st.just(HOSTILE * 10)
_NOTICES = st.builds(
    Notice,
    ids=st.lists(st.integers(1, 10**9), min_size=1, max_size=3).map(tuple),
    kind=st.just("budget"),
    severity=st.sampled_from(SEVERITIES),
    title=_WORDS,
    raised_at=st.datetimes(timezones=st.just(UTC)),
    text=_WORDS,
    amount_usd=_AMOUNTS,
    spent_usd=_AMOUNTS,
    limit_usd=_AMOUNTS,
    remaining_usd=_AMOUNTS,
    percent=st.none() | st.decimals(),
    what_to_do=st.none() | _WORDS,
    link=st.none() | st.text(max_size=30).map(lambda tail: f"https://x.example/{tail}"),
)
MESSAGES = st.builds(Message, st.lists(_NOTICES, min_size=1, max_size=20).map(lambda some: (*some,)), st.just(KEY))
