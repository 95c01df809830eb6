"""The rules: when there is something to say, and what. Pure."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.alerts import rules
from orchestrator.alerts.rules import Credits, Seen, Step, Thresholds
from orchestrator.ledger import snapshots
from orchestrator.ledger.alerts import Words
from orchestrator.ledger.conditions import State
from orchestrator.ledger.credits import CreditSnapshot, RemainingSource
from orchestrator.ledger.snapshots import MLX_API, XMR_MINING, Latest

NOW = datetime(2026, 11, 21, 8, tzinfo=UTC)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
THRESHOLDS = Thresholds(
    low_nano=5_000_000_000, debounce=HOUR, credits_silent=rules.silence(300), sources_silent=rules.silence(300)
)
WORDS = Words("low credits, $4.27 left", "Low credits")
LOW = Seen("low_credits", "critical", holds=True, words=WORDS)
ENOUGH = Seen("low_credits", "critical", holds=False, resolution="No longer low.")
BLIND = Seen("low_credits", "critical", holds=None)


def state(*, lasts: bool = True, said: timedelta = timedelta(), acknowledged: bool = False, recent: int = 1) -> State:
    return State("low_credits", 7 if lasts else None, NOW - said, acknowledged, WORDS, recent)


def seen(reading: CreditSnapshot, condition: str, **known: object) -> Seen:
    """Return what a look shows of one condition."""
    facts = replace(Credits(reading, None, None), **known)  # type: ignore[arg-type]
    (found,) = (one for one in rules.credit_conditions(facts, THRESHOLDS, NOW) if one.condition == condition)
    return found


def left(nano: int | None, source: RemainingSource = "account", **more: object) -> CreditSnapshot:
    return replace(CreditSnapshot(NOW, nano, None if nano is None else source), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("before", "look", "step"),
    [
        (None, LOW, "raise"),
        (None, ENOUGH, None),
        (None, BLIND, None),
        (state(lasts=False, said=5 * MINUTE), LOW, "raise"),
        (state(lasts=False), ENOUGH, None),
        (state(), LOW, None),
        (state(), ENOUGH, "resolve"),
        (state(), BLIND, None),
        (state(said=5 * HOUR), BLIND, None),
        (state(said=HOUR - timedelta(milliseconds=1)), LOW, None),
        (state(said=HOUR), LOW, "remind"),
        (state(said=HOUR, acknowledged=True), LOW, None),
        (state(said=HOUR), replace(LOW, reminds=timedelta(days=1)), None),
        (state(said=timedelta(days=1)), replace(LOW, reminds=timedelta(days=1)), "remind"),
        (state(said=timedelta(days=400)), replace(LOW, reminds=None), None),
        (state(), replace(LOW, words=replace(WORDS, brief="low credits, $4.26 left")), "refresh"),
        # A clock that was ahead and is set right holds no reminder up, and a little difference makes none.
        (state(said=-timedelta(days=4000)), LOW, "remind"),
        (state(said=-3 * MINUTE), LOW, None),
        # However often it came and went: it is stored.
        (state(lasts=False, recent=2), LOW, "raise"),
        (state(lasts=False, recent=9), LOW, "raise"),
    ],
)
def test_what_is_said_follows_from_what_was_said_and_what_is_seen(
    before: State | None, look: Seen, step: Step | None
) -> None:
    assert rules.step(before, look, HOUR, NOW) == step


@pytest.mark.parametrize(("recent", "until"), [(0, None), (2, None), (3, NOW + HOUR), (4, NOW + HOUR)])
def test_what_came_true_three_times_is_told_again_when_the_first_is_as_old_as_a_reminder(
    recent: int, until: datetime | None
) -> None:
    before = replace(state(lasts=False, recent=recent), recent_from=NOW if recent else None)

    assert rules.kept_back_until(before, HOUR) == until
    assert rules.kept_back_until(None, HOUR) is None


@given(st.lists(st.tuples(st.sampled_from([LOW, ENOUGH, BLIND]), st.integers(1, 90)), max_size=60), st.integers(1, 120))
def test_however_it_goes_an_alert_precedes_its_end_and_reminders_keep_their_distance(
    looks: list[tuple[Seen, int]], debounce: int
) -> None:
    before: State | None = None
    now, span = NOW, timedelta(minutes=debounce)
    raised: list[datetime] = []
    told: list[tuple[Step, datetime]] = []

    for look, minutes in looks:
        now += minutes * MINUTE
        if before is not None:
            before = replace(before, recent=sum(at > now - span for at in raised))
        step = rules.step(before, look, span, now)
        if step in ("raise", "remind"):
            before = State("low_credits", 7, now, acknowledged=False, words=WORDS)
            raised += [now] * (step == "raise")
        elif step == "resolve":
            assert before is not None
            before = replace(before, alert_id=None)
        if step is not None:
            told.append((step, now))

    for (first, at), (second, later) in pairwise(told):
        assert (first, second) in {
            ("raise", "remind"), ("raise", "resolve"), ("remind", "remind"), ("remind", "resolve"), ("resolve", "raise"),
        }  # fmt: skip
        assert second != "remind" or later - at >= span
    assert [step for step, _ in told[:1]] in ([], ["raise"])


@pytest.mark.parametrize(
    ("nano", "holds"),
    [
        (4_270_000_000, True), (4_999_999_999, True), (5_000_000_000, False), (5_000_000_001, False), (0, True),
        (-423_100_000, True), (None, None),
    ],
)  # fmt: skip
def test_low_is_strictly_below_the_threshold_and_unknown_is_neither(nano: int | None, holds: bool | None) -> None:
    assert seen(left(nano), rules.LOW_CREDITS).holds is holds


@pytest.mark.parametrize("source", ["account", "budget", "key limit"])
def test_the_sentence_names_the_amount_and_which_number_it_is(source: RemainingSource) -> None:
    words = seen(left(4_270_000_000, source), rules.LOW_CREDITS).words

    assert words is not None
    assert words.title == f"Low credits: $4.27 remaining on OpenRouter ({source}). Please top up."
    assert words.brief == "low credits, $4.27 left"
    assert words.remaining_nano == 4_270_000_000
    assert "$5.00" in words.text


@pytest.mark.parametrize(
    ("source", "limit", "reset", "text"),
    [
        ("key limit", 20 * 10**9, None, "That is what is left of the key's own limit of $20.00; the threshold is $5.00."),
        ("key limit", 20 * 10**9, "daily", "That is what is left of the key's own limit of $20.00, which starts again daily; the threshold is $5.00."),
        ("key limit", None, "daily", "That is what is left of the key's own limit, which starts again daily; the threshold is $5.00."),
        ("budget", 20 * 10**9, None, "That is what is left of a budget of $20.00 above the key; the threshold is $5.00."),
        ("account", None, None, "That is what is left of the account; the threshold is $5.00."),
        ("account", 20 * 10**9, None, "That is what is left of the account, for which $20.00 was bought in all; the threshold is $5.00."),
    ],
)  # fmt: skip
def test_what_is_left_is_left_of_a_limit_where_that_is_known(
    source: RemainingSource, limit: int | None, reset: str | None, text: str
) -> None:
    words = seen(left(4_270_000_000, source, limit_nano=limit, limit_reset=reset), rules.LOW_CREDITS).words

    assert words is not None
    assert words.text == text
    assert words.limit_nano == limit
    assert words.spent_nano == (None if limit is None else 15_730_000_000)


@pytest.mark.parametrize(
    ("source", "look", "holds"),
    [
        ("key limit", {"error": "uncapped key, no management key"}, False),
        ("key limit", {"error": "uncapped key; credits: HTTP 403"}, False),
        ("key limit", {"error": "key: limit_remaining missing"}, None),
        ("key limit", {"failure": "unreachable", "error": "key: timeout"}, None),
        ("account", {"error": "uncapped key; credits: HTTP 500"}, None),
        ("budget", {"error": "uncapped key, no management key"}, None),
    ],
)
def test_a_low_limit_that_was_taken_off_the_key_is_low_no_more(
    source: RemainingSource, look: dict[str, str], holds: bool | None
) -> None:
    before = CreditSnapshot(NOW - 5 * MINUTE, 4_270_000_000, source)

    found = seen(replace(left(None), **look), rules.LOW_CREDITS, before=before)  # type: ignore[arg-type]

    assert found.holds is holds
    assert found.resolution == (
        "The key's limit, of which little was left, is gone: it is uncapped, and OpenRouter's balance is unknown."
        if holds is False
        else ""
    )


def test_almost_the_threshold_does_not_read_as_the_threshold() -> None:
    words = seen(left(4_999_999_999), rules.LOW_CREDITS).words

    assert words is not None
    assert words.brief == "low credits, $4.99 left"


def test_what_is_left_in_the_account_says_nothing_about_a_key_that_is_refused() -> None:
    assert seen(left(50_000_000_000, failure="out_of_money"), rules.LOW_CREDITS).holds is None
    assert seen(left(4_000_000_000, failure="out_of_money"), rules.LOW_CREDITS).holds is True


@pytest.mark.parametrize(
    ("reset", "before", "by_reset"),
    [
        ("daily", NOW - 9 * HOUR, True),
        ("daily", NOW - 7 * HOUR, False),
        ("weekly", datetime(2026, 11, 15, 23, tzinfo=UTC), True),
        ("weekly", datetime(2026, 11, 16, 1, tzinfo=UTC), False),
        ("monthly", datetime(2026, 10, 31, 23, tzinfo=UTC), True),
        ("monthly", datetime(2026, 11, 1, 1, tzinfo=UTC), False),
        (None, NOW - timedelta(days=90), False),
    ],
)
def test_a_limit_that_starts_again_is_no_top_up(reset: str | None, before: datetime, by_reset: bool) -> None:
    earlier = CreditSnapshot(before, 10**9, "key limit", limit_remaining_nano=10**9, limit_reset=reset)
    reading = left(30 * 10**9, "key limit", limit_remaining_nano=30 * 10**9, limit_reset=reset)

    told = seen(reading, rules.LOW_CREDITS, before=earlier).resolution

    assert told.startswith("Credits are no longer low: $30.00 remaining on OpenRouter (key limit)")
    assert told.endswith(f", because the key's {reset} limit started again; that is no top-up." if by_reset else ").")


def test_a_topped_up_account_is_no_reset_although_the_day_changed() -> None:
    earlier = CreditSnapshot(NOW - 12 * HOUR, 10**9, "account", limit_remaining_nano=20 * 10**9, limit_reset="daily")
    reading = left(25 * 10**9, limit_remaining_nano=30 * 10**9, limit_reset="daily")

    assert "started again" not in seen(reading, rules.LOW_CREDITS, before=earlier).resolution


@pytest.mark.parametrize(
    ("failure", "unknown", "holds"),
    [
        ("unreachable", 2 * HOUR, True),
        ("unreachable", 2 * HOUR - MINUTE, None),
        (None, 2 * HOUR, True),
        ("rejected", 9 * HOUR, None),
        ("out_of_money", 9 * HOUR, None),
    ],
)
def test_credits_that_are_unknown_for_two_hours_are_a_matter(
    failure: str | None, unknown: timedelta, holds: bool | None
) -> None:
    reading = left(None, failure=failure, error="key: timeout")

    assert seen(reading, rules.CREDITS_UNKNOWN, unknown_since=NOW - unknown).holds is holds


def test_a_known_balance_ends_the_not_knowing() -> None:
    look = seen(left(0), rules.CREDITS_UNKNOWN)

    assert look.holds is False
    assert look.resolution == "OpenRouter's credits are known again: $0.00 remaining (account)."


def test_an_uncapped_key_is_said_once_and_the_way_out_is_named() -> None:
    look = seen(
        left(None, error="uncapped key, no management key"), rules.CREDITS_UNKNOWN, unknown_since=NOW - 3 * HOUR
    )

    assert look.words is not None
    assert "OPENROUTER_MANAGEMENT_KEY" in (look.words.what_to_do or "")
    assert look.reminds is None


@pytest.mark.parametrize(
    ("failure", "rejected", "out_of_money"),
    [
        (None, False, False),
        ("rejected", True, None),
        ("out_of_money", False, True),
        ("unreachable", None, None),
    ],
)
def test_a_key_that_is_refused_is_rejected_or_out_of_money(
    failure: str | None, rejected: bool | None, out_of_money: bool | None
) -> None:
    reading = left(None, failure=failure, error="key: HTTP 4xx")

    assert seen(reading, rules.KEY_REJECTED).holds is rejected
    assert seen(reading, rules.OUT_OF_MONEY).holds is out_of_money


@pytest.mark.parametrize(
    ("interval", "silent"), [(1, 2 * HOUR), (300, 2 * HOUR), (3600, 2.5 * HOUR), (86_400, timedelta(days=2.5))]
)
def test_silence_is_long_after_two_hours_or_two_and_a_half_intervals(interval: float, silent: timedelta) -> None:
    assert rules.silence(interval) == silent


def silent(source: str, since: timedelta | None, good: timedelta | None = None) -> Latest:
    return replace(
        snapshots.never(source),
        collected_at=None if good is None else NOW - good,
        failing_since=None if since is None else NOW - since,
        last_error=None if since is None else "pool: timeout; price: HTTP 429",
    )


@pytest.mark.parametrize(
    ("since", "good", "holds"),
    [
        (None, timedelta(0), False),
        (2 * HOUR - MINUTE, 3 * HOUR, None),
        (2 * HOUR, 3 * HOUR, True),
        (2 * HOUR, None, True),
        # Nobody asked for a week, and then once in vain: that is no long silence of the source.
        (timedelta(0), timedelta(days=7), None),
    ],
)
def test_a_source_is_silent_when_asking_failed_for_long(
    since: timedelta | None, good: timedelta | None, holds: bool | None
) -> None:
    assert rules.source_condition(silent(XMR_MINING, since, good), THRESHOLDS, NOW).holds is holds


def test_each_source_is_a_condition_of_its_own_and_says_when_it_was_last_good() -> None:
    never = rules.source_condition(silent(MLX_API, 3 * HOUR), THRESHOLDS, NOW)
    once = rules.source_condition(silent(XMR_MINING, 3 * HOUR, 4 * HOUR), THRESHOLDS, NOW)

    assert (never.condition, once.condition) == ("source_silent:mlx-api", "source_silent:xmr-mining")
    assert never.words is not None
    assert once.words is not None
    assert never.words.text.startswith("It never gave one.")
    assert once.words.text.startswith("The last good one is of 2026-11-21 04:00 UTC.")


def test_a_reason_from_outside_stays_on_its_line() -> None:
    latest = replace(silent(MLX_API, 3 * HOUR), last_error="bad\r\n- OpenRouter: $9 left\x1b[2J")

    words = rules.source_condition(latest, THRESHOLDS, NOW).words

    assert words is not None
    assert words.brief.isprintable()
    assert words.title.isprintable()


@pytest.mark.parametrize(
    ("rows", "lasted", "title", "stored"),
    [
        (3, 12 * MINUTE, "The database could not be written for 12min: the disk is full", "3 rows that had to wait are"),
        (1, 59 * timedelta(seconds=1), "The database could not be written for less than a minute: the disk is full", "1 row"),
        (0, 3 * HOUR, "The database could not be written for 3h: the disk is full", "no row had to wait"),
    ],
)  # fmt: skip
def test_a_file_that_works_again_says_for_how_long_it_did_not(
    rows: int, lasted: timedelta, title: str, stored: str
) -> None:
    words = rules.file_unwritable("the disk is full", rows, lasted).words

    assert words is not None
    assert words.title == title
    assert stored in words.text


@pytest.mark.parametrize(
    ("ago", "holds"),
    [(timedelta(0), None), (24 * HOUR - MINUTE, None), (24 * HOUR, False), (-90 * 24 * HOUR, False)],
)
def test_a_fault_of_the_file_is_over_after_a_day_without_another(ago: timedelta, holds: bool | None) -> None:
    assert rules.file_written(NOW - ago, NOW).holds is holds
