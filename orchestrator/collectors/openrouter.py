"""OpenRouter: what the key, the budgets above it and the account behind it still allow to spend."""

import asyncio
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from orchestrator.collectors.fetch import Answer, Client
from orchestrator.collectors.numbers import decimal
from orchestrator.ledger.credits import CreditSnapshot, Failure, RemainingSource
from orchestrator.money import nano_from_usd

# A billion dollars: a number beyond it is a mistake, and a sum of such would leave int64.
_MOST_USD = Decimal(10) ** 9


@dataclass(frozen=True)
class Key:
    """What `/key` says, in nano-USD. `uncapped`: the key has no limit of its own, which is neither rich nor broke.

    `budget_is_limit`: the budget in force is no other than the key's own limit, said once more.
    """

    limit_nano: int | None = None
    limit_remaining_nano: int | None = None
    budget_limit_nano: int | None = None
    budget_remaining_nano: int | None = None
    budget_is_limit: bool = False
    usage_nano: int | None = None
    usage_daily_nano: int | None = None
    limit_reset: str | None = None
    uncapped: bool = False
    failure: Failure | None = None
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class Account:
    """What `/credits` says is left in the account, in nano-USD, negative when overdrawn, or None and why; and what was ever bought."""

    remaining_nano: int | None = None
    problem: str | None = None
    bought_nano: int | None = None


async def collect_openrouter(
    client: Client,
    *,
    openrouter_url: str,
    key: str,
    management_key: str | None = None,
    deadline_s: float = 10.0,
    now: datetime,
) -> CreditSnapshot:
    """Ask `/key`, and `/credits` only with a management key, and return one row; it never raises for what they answer."""
    base = openrouter_url.rstrip("/")
    asked = [client.get_json(f"{base}/key", deadline_s=deadline_s, headers={"Authorization": f"Bearer {key}"})]
    if management_key:
        bearer = {"Authorization": f"Bearer {management_key}"}
        asked.append(client.get_json(f"{base}/credits", deadline_s=deadline_s, headers=bearer))
    said, *more = await asyncio.gather(*asked)
    told = read_key(said)
    account = read_account(more[0], told.usage_nano) if more else None
    remaining_nano, remaining_source, limit_nano = _least(told, account)
    problems = [f"key: {', '.join(told.problems)}"] if told.problems else []
    problems += [f"credits: {account.problem}"] if account and account.problem else []
    if told.uncapped and remaining_nano is None:
        problems.insert(0, "uncapped key" if account else "uncapped key, no management key")
    raw = [("key", said), *(("credits", answer) for answer in more)]
    answered = any(answer.status is not None for _, answer in raw)
    return CreditSnapshot(
        collected_at=now,
        remaining_nano=remaining_nano,
        remaining_source=remaining_source,
        limit_nano=limit_nano,
        limit_remaining_nano=told.limit_remaining_nano,
        budget_remaining_nano=told.budget_remaining_nano,
        account_nano=account.remaining_nano if account else None,
        usage_nano=told.usage_nano,
        usage_daily_nano=told.usage_daily_nano,
        limit_reset=told.limit_reset,
        failure=told.failure,
        raw_json="{" + ", ".join(f'"{name}": {answer.raw_json}' for name, answer in raw) + "}" if answered else None,
        error="; ".join(problems) or None,
    )


def read_key(answer: Answer) -> Key:
    """Return what `/key` answers, each number None that it does not plainly say.

    `limit` was always there, if only as null, and tells a key from what else has a `usage`; newer fields may be absent.
    What is left is never computed as limit minus usage: usage is all-time, and the limit may start again every day.
    """
    if answer.error is not None:
        return Key(failure=_failure(answer.status), problems=(answer.error,))
    match answer.document:
        case {"error": said} if said:
            code = said.get("code") if isinstance(said, dict) else None
            return Key(failure=_failure(code), problems=("answered with an error",))
        case {"data": dict() as data} if data.keys() & {"limit", "limit_remaining"}:
            pass
        case _:
            return Key(failure="unreachable", problems=("no key's data in the answer",))
    match data.get("effective_budget"):
        case dict() as above:
            pass
        case _:
            above = {}
    uncapped = "limit" in data and data["limit"] is None and data.get("limit_remaining") is None
    written = {
        "limit_remaining": data.get("limit_remaining"),
        "effective_budget": above.get("remaining_usd"),
        "usage": data.get("usage"),
        "usage_daily": data.get("usage_daily"),
    }
    nano = {name: _nano(value) for name, value in written.items()}
    for name in ("usage", "usage_daily"):
        spent = nano[name]
        nano[name] = None if spent is None or spent < 0 else spent
    needed = {"usage"} if uncapped else {"usage", "limit_remaining"}
    problems = [
        f"{name} missing" if value is None else f"{name} not usable"
        for name, value in written.items()
        if nano[name] is None and (value is not None or name in needed)
    ]
    match data.get("limit_reset"):
        case "daily" | "weekly" | "monthly" as reset:
            pass
        case _:
            reset = None
    return Key(
        limit_nano=_limit(data.get("limit"), nano["limit_remaining"]),
        budget_limit_nano=_limit(above.get("limit_usd"), nano["effective_budget"]),
        budget_is_limit=above.get("scope") == "key_limit",
        limit_remaining_nano=nano["limit_remaining"],
        budget_remaining_nano=nano["effective_budget"],
        usage_nano=nano["usage"],
        usage_daily_nano=nano["usage_daily"],
        limit_reset=reset,
        uncapped=uncapped,
        problems=tuple(problems),
    )


def read_account(answer: Answer, usage_nano: int | None) -> Account:
    """Return what is left in the account by `/credits`.

    A key that is no management key has been seen to get HTTP 200 with zeros on a funded account: zeros count only
    beside a key that has never been used.
    """
    if answer.error is not None:
        return Account(problem=answer.error)
    match answer.document:
        case {"data": {"total_credits": bought, "total_usage": used}}:
            total, spent = _usd(bought), _usd(used)
        case _:
            return Account(problem="no totals in the answer")
    if total is None or spent is None or total < 0 or spent < 0:
        return Account(problem="totals not usable")
    if total == 0 and spent == 0 and usage_nano != 0:
        return Account(problem="zeros, which an ordinary key gets on a funded account too")
    bought_nano = nano_from_usd(total)
    return Account(remaining_nano=bought_nano - nano_from_usd(spent), bought_nano=bought_nano)


def _least(key: Key, account: Account | None) -> tuple[int | None, RemainingSource | None, int | None]:
    """Return the least of the numbers that are known, which it is, and what it is left of; with a rejected key nothing can be spent."""
    if key.failure == "rejected":
        return None, None, None
    numbers: list[tuple[int | None, RemainingSource, int | None]] = [
        (key.limit_remaining_nano, "key limit", key.limit_nano),
        (key.budget_remaining_nano, "key limit" if key.budget_is_limit else "budget", key.budget_limit_nano),
        (account.remaining_nano if account else None, "account", account.bought_nano if account else None),
    ]
    known = [(nano, source, limit) for nano, source, limit in numbers if nano is not None]
    return min(known, key=lambda number: number[0], default=(None, None, None))


def _failure(code: object) -> Failure:
    """Return what a status, or the code of an error that came with status 200, means for the key."""
    match code:
        case 401:
            return "rejected"
        case 402 | 403:
            return "out_of_money"
        case _:
            return "unreachable"


def _usd(value: object) -> Decimal | None:
    usd = decimal(value)
    return usd if usd is not None and usd.copy_abs() <= _MOST_USD else None


def _limit(value: object, remaining_nano: int | None) -> int | None:
    """Return a limit in nano-USD, None for one that cannot be what so much remains of."""
    limit = _nano(value)
    return None if limit is None or limit < 0 or remaining_nano is None or remaining_nano > limit else limit


def _nano(value: object) -> int | None:
    usd = _usd(value)
    return None if usd is None else nano_from_usd(usd)
