"""What is left to spend at OpenRouter: the last answer with its age, what was tried since, and one line that says both."""

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from orchestrator.ledger import credits as looks
from orchestrator.ledger.credits import CreditSnapshot, Failure, RemainingSource, left_usd
from orchestrator.ledger.snapshots import State, state_at
from orchestrator.money import nano_from_usd, usd_from_nano, usd_text
from orchestrator.periods import age_text, span_text
from orchestrator.store.database import Connection
from orchestrator.text import one_line

_FAILED: dict[Failure, str] = {
    "rejected": "key rejected",
    "out_of_money": "out of money",
    "unreachable": "unreachable",
}


@dataclass(frozen=True)
class Balance:
    """Where the credits stand. What is not known is None, `error` says why; an uncapped key is answered and unknown.

    `remaining_usd` and what stands beside it are of the last look at which the key worked; `spent_today_usd` counts from
    00:00 UTC and is None when that look is of another day. `failures` counts the looks since, `failure` is what became of the last.
    `at_most_usd` is what the account holds while the key itself cannot be asked.
    """

    remaining_usd: Decimal | None
    remaining_source: RemainingSource | None
    limit_reset: str | None
    spent_today_usd: Decimal | None
    collected_at: datetime | None
    age_seconds: float | None
    age_minutes: int | None
    state: State
    error: str | None
    last_attempt_at: datetime | None
    failures: int
    failure: Failure | None
    last_error: str | None
    at_most_usd: Decimal | None


NO_BALANCE = Balance(None, None, None, None, None, None, None, "never", None, None, 0, None, None, None)


def balance(connection: Connection, interval_seconds: float, now: datetime) -> Balance:
    """Return where the credits stand when they are looked at every so many seconds."""
    found = looks.standing(connection, now)
    last, answered = found.latest, found.answered
    age = None if answered is None else max((now - answered.collected_at).total_seconds(), 0.0)
    failed = last if found.failures else None
    return Balance(
        remaining_usd=_usd(answered.remaining_nano) if answered else None,
        remaining_source=answered.remaining_source if answered else None,
        limit_reset=answered.limit_reset if answered else None,
        spent_today_usd=_spent_today(answered, now),
        collected_at=answered.collected_at if answered else None,
        age_seconds=age,
        age_minutes=None if age is None else int(age // 60),
        state=state_at(age, interval_seconds),
        error=answered.error if answered else None,
        last_attempt_at=last.collected_at if last else None,
        failures=found.failures,
        failure=failed.failure if failed else None,
        last_error=failed.error if failed else None,
        at_most_usd=_usd(failed.remaining_nano) if failed else None,
    )


def balance_text(one: Balance, now: datetime) -> str:
    """Return the line: the last answer with its age, and how it has failed since."""
    if one.last_attempt_at is None:
        return "no data collected yet"
    failed = _FAILED[one.failure] if one.failure else ""
    reason = _reason(one.last_error) if one.failure == "unreachable" else ""
    if one.age_seconds is None:
        text = f"{failed} ({age_text((now - one.last_attempt_at).total_seconds())})" + (f": {reason}" if reason else "")
    else:
        text = f"{_answer_text(one)} ({age_text(one.age_seconds)})"
        if one.remaining_usd is None and not failed and not _is_uncapped(one):
            text += f": {_reason(one.error)}"
        if failed:
            tries = "1 try" if one.failures == 1 else f"{one.failures} tries"
            text += f"; {failed} for {span_text(one.age_seconds)}, {tries}" + (f": {reason}" if reason else "")
    if one.at_most_usd is not None:
        text += f"; {_left_text(one.at_most_usd)} in the account"
    return text


def _answer_text(one: Balance) -> str:
    if one.remaining_usd is None:
        return "uncapped key, balance unknown" if _is_uncapped(one) else "balance unknown"
    spent = "" if one.spent_today_usd is None else f", {usd_text(one.spent_today_usd)} spent today"
    return f"{_left_text(one.remaining_usd)} left{spent}"


def _is_uncapped(one: Balance) -> bool:
    return (one.error or "").startswith("uncapped key")


def _reason(error: str | None) -> str:
    """Return why a look failed, without what says only that it was the key that was asked for."""
    return one_line((error or "").partition("; ")[0].removeprefix("key: "), 100)


def _spent_today(answered: CreditSnapshot | None, now: datetime) -> Decimal | None:
    if answered is None or answered.usage_daily_nano is None:
        return None
    same_day = answered.collected_at.astimezone(UTC).date() == now.astimezone(UTC).date()
    return usd_from_nano(answered.usage_daily_nano) if same_day else None


def _usd(nano: int | None) -> Decimal | None:
    return None if nano is None else usd_from_nano(nano)


def _left_text(usd: Decimal) -> str:
    return usd_text(left_usd(nano_from_usd(usd)))
