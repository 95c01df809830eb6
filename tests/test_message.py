from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from messages import BUDGET, HOSTILE, KEY, LOW_CREDITS, NOW, message

from orchestrator.alerts import message as messages
from orchestrator.alerts.message import (
    MOST_ALERTS,
    Message,
    blocks,
    cut,
    facts,
    fingerprint,
    headline,
    in_own_words,
    length,
    page_of,
    progress_bar,
    retry,
)


@pytest.mark.parametrize(
    ("percent", "bar"),
    [
        ("0", "[----------] 0%"),
        ("0.9", "[----------] 0%"),
        ("9.99", "[----------] 9%"),
        ("10", "[#---------] 10%"),
        ("72", "[#######---] 72%"),
        ("79.999", "[#######---] 79%"),
        ("99.99", "[#########-] 99%"),
        ("100", "[##########] 100%"),
        ("151.2", "[##########] 151%"),
        ("-3", "[----------] 0%"),
        ("1E+30", "[##########] over 1000000%"),
        ("NaN", "[??????????]"),
        ("Infinity", "[??????????]"),
    ],
)
def test_a_progress_bar_is_full_at_the_limit_and_not_before(percent: str, bar: str) -> None:
    assert progress_bar(Decimal(percent)) == bar


def test_what_is_known_of_a_notice_is_told_and_what_is_not_is_left_out() -> None:
    assert facts(LOW_CREDITS, NOW) == (
        ("Severity", "critical"),
        ("Amount", "$4.27"),
        ("Raised", "2h ago (2026-11-21 05:31 UTC)"),
    )
    assert facts(BUDGET, NOW) == (
        ("Severity", "warning"),
        ("Spent", "$8.05"),
        ("Limit", "$10.00"),
        ("Remaining", "$1.95"),
        ("Used", "[########--] 80%"),
        ("Raised", "4min ago (2026-11-21 07:27 UTC)"),
    )


def test_one_notice_is_its_own_headline_and_several_are_counted_with_the_gravest_first() -> None:
    emergency = replace(BUDGET, ids=(14,), severity="emergency", title="Monthly budget at 150%")

    assert headline(message()) == f"[orchestrator] {LOW_CREDITS.title}"
    assert headline(message(BUDGET, LOW_CREDITS, emergency)) == (
        "[orchestrator] 3 alerts, the gravest emergency: Monthly budget at 150%"
    )
    assert [block[0] for block in blocks(message(BUDGET, LOW_CREDITS, emergency), NOW)] == [
        "Alerts #13, #12, #14",
        "#14 Monthly budget at 150%",
        f"#12 {LOW_CREDITS.title}",
        "#13 Daily budget of tenant acme at 80%",
    ]


def test_a_test_says_that_it_is_one() -> None:
    trial = replace(LOW_CREDITS, ids=(), test=True, title="this is how an alert arrives")

    assert headline(message(trial)) == "[orchestrator] Test: this is how an alert arrives"
    assert blocks(message(trial), NOW)[0][0] == LOW_CREDITS.text
    assert in_own_words(message(trial)).startswith("[orchestrator] test, critical:")


def test_nothing_from_outside_is_in_our_own_words() -> None:
    hostile = replace(BUDGET, title=HOSTILE, text=HOSTILE, what_to_do=HOSTILE, kind=HOSTILE)

    assert in_own_words(message(hostile)) == (
        "[orchestrator] alert, warning #13: the text was refused here; see `orchestrator alerts list`"
    )
    assert in_own_words(message(hostile, LOW_CREDITS)).startswith(
        "[orchestrator] 2 alerts, the gravest critical #13, #12:"
    )


def test_no_line_of_a_notice_can_become_two() -> None:
    hostile = replace(BUDGET, title=HOSTILE, text=HOSTILE, what_to_do=HOSTILE)

    told = [headline(message(hostile)), *(line for block in blocks(message(hostile), NOW) for line in block)]

    assert all(line.isprintable() for line in told)


@pytest.mark.parametrize(
    ("link", "shown"),
    [
        ("https://orchestrator.example/alerts?id=13&x=%20#a", True),
        ("http://127.0.0.1:8787/", True),
        ("http://[::1]:8787/", True),
        ("javascript:alert(1)", False),
        ("https://x.example/\"onclick='", False),
        ("https://x.example/a b", False),
        ("https://x.example/\r\n", False),
        ("https://x.example/é", False),
        ("", False),
        (None, False),
    ],
)
def test_only_a_plain_web_address_is_a_link(link: str | None, shown: bool) -> None:
    assert page_of(replace(BUDGET, link=link)) == (link if shown else None)


def test_a_message_carries_no_more_alerts_than_the_smallest_channel_can_name() -> None:
    Message((replace(BUDGET, ids=tuple(range(MOST_ALERTS))),), KEY)

    with pytest.raises(ValueError, match="at most 100"):
        Message((replace(BUDGET, ids=tuple(range(MOST_ALERTS + 1))),), KEY)
    with pytest.raises(ValueError, match="one notice"):
        Message((), KEY)


@pytest.mark.parametrize(("asked", "kept"), [(-5.0, 0.0), (0.0, 0.0), (64.57, 64.57), (1e12, 3600.0), (None, None)])
def test_a_wait_is_within_an_hour(asked: float | None, kept: float | None) -> None:
    assert retry("slow down", asked).retry_after_s == kept


def test_a_reason_is_one_short_line() -> None:
    assert retry("a\r\nb" + "c" * 1000).reason.startswith("a bccc")
    assert len(retry("c" * 1000).reason) <= 200


def test_a_fingerprint_changes_with_each_part_and_tells_too_little_to_guess_one() -> None:
    one = fingerprint("discord", "https://discord.example/api/webhooks/1/token")

    assert one == fingerprint("discord", "https://discord.example/api/webhooks/1/token")
    assert one != fingerprint("discord", "https://discord.example/api/webhooks/1/tokens")
    assert fingerprint("a", "bc") != fingerprint("ab", "c")
    assert len(one) == 6


@given(st.text(), st.integers(0, 50))
def test_a_cut_is_never_longer_than_its_limit_by_any_count(text: str, limit: int) -> None:
    short = cut(text, limit)

    assert len(short) <= length(short) <= limit
    assert short == text or short == "" or short.endswith("…")


@pytest.mark.parametrize("seconds", [-600, 0])
def test_an_alert_from_the_future_is_new(seconds: int) -> None:
    assert messages.age_text(NOW - timedelta(seconds=seconds), NOW).startswith("0min ago")
