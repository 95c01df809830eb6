"""When there is something to say: what a look showed of each condition, held against what is already said. Pure.

A look that does not show whether a condition is true changes nothing: what is unknown is neither an alarm nor its end.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from orchestrator.ledger.alerts import Severity, Words
from orchestrator.ledger.conditions import State
from orchestrator.ledger.credits import CreditSnapshot, left_usd
from orchestrator.ledger.snapshots import CLOCK_SKEW, NAMES, Latest
from orchestrator.money import usd_from_nano, usd_text
from orchestrator.periods import span_text
from orchestrator.text import one_line

Step = Literal["raise", "remind", "resolve", "refresh"]

LOW_CREDITS = "low_credits"
CREDITS_UNKNOWN = "credits_unknown"
KEY_REJECTED = "key_rejected"
OUT_OF_MONEY = "out_of_money"
SOURCE_SILENT = "source_silent"
FILE_UNWRITABLE = "file_unwritable"

# So long and two and a half intervals: from then on growth is only estimated.
SILENT_FOR = timedelta(hours=2)
# How often somebody hears again of what costs no money while it lasts; and never of what will not pass by itself.
DAILY = timedelta(days=1)
AT_ONCE = timedelta(0)
# What goes back and forth is told of so often within the time between two reminders; each time is stored all the same.
MOST_CROSSINGS = 3


@dataclass(frozen=True)
class Thresholds:
    """What makes a condition true: nano-USD below which credits are low, and how long silence may last."""

    low_nano: int
    debounce: timedelta
    credits_silent: timedelta
    sources_silent: timedelta


@dataclass(frozen=True)
class Credits:
    """What is known of the credits at the moment of a look: the look, the last good one before it, and since when none was good."""

    reading: CreditSnapshot
    before: CreditSnapshot | None
    unknown_since: datetime | None


@dataclass(frozen=True)
class Seen:
    """What a look showed of one condition; `holds` is None when it did not show it.

    `words` are there when it holds, `resolution` when it does not. Reminders are due `reminds` apart, never for None.
    """

    condition: str
    severity: Severity
    holds: bool | None
    words: Words | None = None
    resolution: str = ""
    reminds: timedelta | None = AT_ONCE


def silence(interval_seconds: float) -> timedelta:
    """Return how long a service may be silent that is asked every so many seconds."""
    return max(SILENT_FOR, timedelta(seconds=2.5 * interval_seconds))


def step(state: State | None, seen: Seen, debounce: timedelta, now: datetime) -> Step | None:
    """Return what is to be done about a condition, None for nothing."""
    lasts = state is not None and state.alert_id is not None
    if seen.holds is None:
        return None
    if not seen.holds:
        return "resolve" if lasts else None
    if state is None or not lasts:
        return "raise"
    if seen.reminds is not None and not state.acknowledged and _passed(state.said_at, max(debounce, seen.reminds), now):
        return "remind"
    return "refresh" if seen.words != state.words else None


def kept_back_until(state: State | None, debounce: timedelta) -> datetime | None:
    """Return until when nobody is to hear that a condition came true once more, None when it is told at once.

    `state.recent` counts how often it was told of within `debounce`.
    """
    if state is None or state.recent_from is None or state.recent < MOST_CROSSINGS:
        return None
    return state.recent_from + debounce


def credit_conditions(known: Credits, thresholds: Thresholds, now: datetime) -> tuple[Seen, ...]:
    """Return what a look at OpenRouter shows."""
    return (
        _low_credits(known, thresholds),
        _credits_unknown(known, thresholds, now),
        _key_rejected(known.reading),
        _out_of_money(known.reading),
    )


def source_condition(latest: Latest, thresholds: Thresholds, now: datetime) -> Seen:
    """Return whether a source is silent for long, also one that never was anything else."""
    condition, name = f"{SOURCE_SILENT}:{latest.source}", NAMES.get(latest.source, latest.source)
    if latest.failing_since is None:
        return Seen(condition, "warning", holds=False, resolution=f"{name} gives good values again.")
    if now - latest.failing_since < thresholds.sources_silent:
        return Seen(condition, "warning", holds=None)
    reason = one_line(latest.last_error or "no good value", 150)
    good = (
        "It never gave one." if latest.collected_at is None else f"The last good one is of {_at(latest.collected_at)}."
    )
    words = Words(
        brief=f"{name} silent: {reason}",
        title=f"{name} has given no good value for over {span_text(thresholds.sources_silent.total_seconds())}: {reason}",
        text=f"{good} What it earns or counts meanwhile can only be estimated.",
        what_to_do="See that the service runs and can be reached from here: `orchestrator doctor` asks it once.",
    )
    return Seen(condition, "warning", holds=True, words=words, reminds=DAILY)


def file_unwritable(what: str, rows: int, lasted: timedelta) -> Seen:
    """Return what a fault of the file shows that is over; `rows` had to wait meanwhile."""
    stored = "1 row that had to wait is stored now" if rows == 1 else f"{rows} rows that had to wait are stored now"
    span = span_text(lasted.total_seconds()) if lasted >= timedelta(minutes=1) else "less than a minute"
    words = Words(
        brief=f"the file could not be written for {span}",
        title=f"The database could not be written for {span}: {one_line(what, 150)}",
        text=f"It works again; {stored if rows else 'no row had to wait'}.",
        what_to_do="See that the disk has room and that no other program keeps the file locked: `orchestrator doctor`.",
    )
    return Seen(FILE_UNWRITABLE, "warning", holds=True, words=words)


def file_written(told_at: datetime, now: datetime) -> Seen:
    """Return what it shows that the file can be written: after a day without another fault it is over."""
    calm = _passed(told_at, DAILY, now)
    told = "The database has been written for a day without a fault."
    return Seen(FILE_UNWRITABLE, "warning", holds=False if calm else None, resolution=told)


def _low_credits(known: Credits, thresholds: Thresholds) -> Seen:
    reading = known.reading
    if reading.remaining_nano is None:
        if known.before is None or known.before.remaining_source != "key limit" or not _is_uncapped(reading):
            return Seen(LOW_CREDITS, "critical", holds=None)
        # No later look could end it: what was low is gone.
        told = (
            "The key's limit, of which little was left, is gone: it is uncapped, and OpenRouter's balance is unknown."
        )
        return Seen(LOW_CREDITS, "critical", holds=False, resolution=told)
    left, number = usd_text(left_usd(reading.remaining_nano)), reading.remaining_source or "account"
    if reading.remaining_nano >= thresholds.low_nano:
        if reading.failure is not None:
            # The account may be full: what the key itself still allows is not known.
            return Seen(LOW_CREDITS, "critical", holds=None)
        why = _why_more(known)
        told = f"Credits are no longer low: {left} remaining on OpenRouter ({number}){why}."
        return Seen(LOW_CREDITS, "critical", holds=False, resolution=told)
    threshold = usd_text(usd_from_nano(thresholds.low_nano))
    whole = None if reading.limit_nano is None else usd_text(usd_from_nano(reading.limit_nano))
    limit, bought = (f" of {whole}", f", for which {whole} was bought in all") if whole else ("", "")
    reset = f", which starts again {reading.limit_reset}" if reading.limit_reset else ""
    meaning, remedy = {
        "key limit": (f"the key's own limit{limit}{reset}", "Raise the key's limit at openrouter.ai/settings/keys"),
        "budget": (f"a budget{limit} above the key", "Raise the budget that holds for the key at openrouter.ai"),
    }.get(number, (f"the account{bought}", "Top up at openrouter.ai/settings/credits"))
    words = Words(
        brief=f"low credits, {left} left",
        title=f"Low credits: {left} remaining on OpenRouter ({number}). Please top up.",
        text=f"That is what is left of {meaning}; the threshold is {threshold}.",
        what_to_do=f"{remedy}, or lower credits.low_threshold_usd.",
        remaining_nano=reading.remaining_nano,
        limit_nano=reading.limit_nano,
    )
    return Seen(LOW_CREDITS, "critical", holds=True, words=words)


def _credits_unknown(known: Credits, thresholds: Thresholds, now: datetime) -> Seen:
    reading, condition = known.reading, CREDITS_UNKNOWN
    if reading.remaining_nano is not None and reading.failure is None:
        left = usd_text(left_usd(reading.remaining_nano))
        told = f"OpenRouter's credits are known again: {left} remaining ({reading.remaining_source or 'account'})."
        return Seen(condition, "warning", holds=False, resolution=told)
    since = known.unknown_since
    # A key that is refused has an alert of its own.
    if reading.failure not in (None, "unreachable") or since is None or now - since < thresholds.credits_silent:
        return Seen(condition, "warning", holds=None)
    if _is_uncapped(reading):
        words = Words(
            brief="OpenRouter's balance cannot be known: uncapped key",
            title="OpenRouter's balance cannot be known: the key has no limit, and no management key tells of the account.",
            text="Nobody will hear when credits run low. This is said once.",
            what_to_do="Set OPENROUTER_MANAGEMENT_KEY, or give the key a limit at openrouter.ai/settings/keys.",
        )
        return Seen(condition, "warning", holds=True, words=words, reminds=None)
    reason = one_line(reading.error or "no answer", 150)
    words = Words(
        brief=f"OpenRouter's credits unknown: {reason}",
        title=f"OpenRouter's credits have been unknown for over {span_text(thresholds.credits_silent.total_seconds())}: {reason}",
        text=f"No look since {_at(since)} has said what is left; nobody would hear that credits are low.",
        what_to_do="See that OpenRouter can be reached from here: `orchestrator doctor` asks it once.",
    )
    return Seen(condition, "warning", holds=True, words=words, reminds=DAILY)


def _key_rejected(reading: CreditSnapshot) -> Seen:
    if reading.failure == "unreachable":
        return Seen(KEY_REJECTED, "critical", holds=None)
    if reading.failure != "rejected":
        return Seen(KEY_REJECTED, "critical", holds=False, resolution="OpenRouter accepts the key again.")
    words = Words(
        brief="OpenRouter rejects the key",
        title="OpenRouter rejects the key (HTTP 401): nothing can be spent with it.",
        text="It was deleted, disabled, or has a typing error.",
        what_to_do="Make a new key at openrouter.ai/settings/keys, set OPENROUTER_API_KEY, and restart the daemon.",
    )
    return Seen(KEY_REJECTED, "critical", holds=True, words=words)


def _out_of_money(reading: CreditSnapshot) -> Seen:
    if reading.failure in ("unreachable", "rejected"):
        return Seen(OUT_OF_MONEY, "critical", holds=None)
    if reading.failure is None:
        return Seen(
            OUT_OF_MONEY, "critical", holds=False, resolution="OpenRouter no longer refuses the key for want of money."
        )
    said = one_line(reading.error or "", 100)
    words = Words(
        brief="out of money at OpenRouter",
        title="Out of money: OpenRouter refuses the key. Please top up.",
        text=f"It answers {said}." if said else "",
        what_to_do="Top up at openrouter.ai/settings/credits, or raise the limit of the key or the budget above it.",
        remaining_nano=reading.remaining_nano,
    )
    return Seen(OUT_OF_MONEY, "critical", holds=True, words=words)


def _is_uncapped(reading: CreditSnapshot) -> bool:
    """Return whether the key works, has no limit, and nothing else tells what is left."""
    return reading.failure is None and (reading.error or "").startswith("uncapped key")


def _why_more(known: Credits) -> str:
    """Return why there is more than before, as far as that can be told: a limit that starts again is no top-up."""
    before, reading = known.before, known.reading
    if before is None or before.remaining_source == "account":
        return ""
    if before.remaining_source == "budget":
        return ", perhaps because the budget started again"
    has_more = (
        before.limit_remaining_nano is not None
        and reading.limit_remaining_nano is not None
        and reading.limit_remaining_nano > before.limit_remaining_nano
    )
    reset = reading.limit_reset
    if reset and has_more and _period(before.collected_at, reset) != _period(reading.collected_at, reset):
        return f", because the key's {reset} limit started again; that is no top-up"
    return ""


def _period(at: datetime, reset: str) -> tuple[int, ...]:
    """Return which day, week (from Monday) or month an instant lies in; OpenRouter counts them in UTC."""
    day = at.astimezone(UTC).date()
    match reset:
        case "daily":
            return (day.toordinal(),)
        case "weekly":
            return day.isocalendar()[:2]
        case _:
            return (day.year, day.month)


def _passed(since: datetime, span: timedelta, now: datetime) -> bool:
    """Return whether a span has passed; a moment ahead of `now` was told by a clock that was wrong, and does not hold anything up."""
    return now - since >= span or since - now > max(span, CLOCK_SKEW)


def _at(instant: datetime) -> str:
    return f"{instant.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
