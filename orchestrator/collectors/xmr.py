"""XMR mining: what a nodejs-pool (SupportXMR, MoneroOcean) owes and has paid to a wallet, and what CoinGecko says an XMR costs."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from urllib.parse import quote

from orchestrator.collectors.fetch import Client
from orchestrator.collectors.numbers import counter, decimal
from orchestrator.ledger.snapshots import XMR_MINING, Snapshot

LOWEST_PRICE_USD = Decimal(1)
HIGHEST_PRICE_USD = Decimal(100_000)
OLDEST_PRICE = timedelta(hours=24)
CLOCK_SKEW = timedelta(hours=1)

# Two hundred times what all of Monero computes: beyond it a number is something else.
_HIGHEST_HASHRATE = Decimal(10) ** 12


@dataclass(frozen=True)
class PoolStats:
    """What the pool says about a wallet, in piconero and H/s; `problems` names everything that is None."""

    balance_atomic: int | None = None
    paid_atomic: int | None = None
    hashrate: float | None = None
    last_hash_at: datetime | None = None
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class Price:
    """USD for one XMR, or None and why."""

    usd: float | None = None
    problem: str | None = None


async def collect_xmr(
    client: Client,
    *,
    wallet: str,
    pool_url: str,
    price_url: str,
    coingecko_key: str | None = None,
    deadline_s: float = 10.0,
    now: datetime,
) -> Snapshot:
    """Ask pool and price service at once and return one row; either may fail without the other, and `error` says how."""
    key = {"x-cg-demo-api-key": coingecko_key} if coingecko_key else None
    stats, price = await asyncio.gather(
        client.get_json(f"{pool_url.rstrip('/')}/miner/{quote(wallet, safe='')}/stats", deadline_s=deadline_s),
        client.get_json(
            f"{price_url.rstrip('/')}/simple/price"
            "?ids=monero&vs_currencies=usd&include_last_updated_at=true&precision=full",
            deadline_s=deadline_s,
            headers=key,
        ),
    )
    pool = PoolStats(problems=(stats.error,)) if stats.error else read_pool_stats(stats.document, now)
    xmr = Price(problem=price.error) if price.error else read_price(price.document, now)
    problems = [f"pool: {', '.join(pool.problems)}"] if pool.problems else []
    problems += [f"price: {xmr.problem}"] if xmr.problem else []
    answered = stats.status is not None or price.status is not None
    return Snapshot(
        source=XMR_MINING,
        collected_at=now,
        balance_atomic=pool.balance_atomic,
        paid_atomic=pool.paid_atomic,
        hashrate=pool.hashrate,
        xmr_price_usd=xmr.usd,
        raw_json=f'{{"pool": {stats.raw_json}, "price": {price.raw_json}}}' if answered else None,
        error="; ".join(problems) or None,
        last_hash_at=pool.last_hash_at,
    )


def read_pool_stats(answer: object, now: datetime) -> PoolStats:
    """Return what a `/miner/<wallet>/stats` answer says, each number None that it does not plainly say.

    A pool that does not know the wallet answers zeros without `hash` and `lastHash` (SupportXMR leaves out or sends
    null, MoneroOcean false): that is nothing known, not 0 XMR. One whose database is down answers `{}`.
    """
    match answer:
        case {"error": said} if said:
            return PoolStats(problems=("answered with an error",))
        case dict() as stats if stats.keys() & {"amtDue", "amtPaid", "hash"}:
            pass
        case _:
            return PoolStats(problems=("no miner's stats in the answer",))
    due, paid = counter(stats.get("amtDue")), counter(stats.get("amtPaid"))
    speed, seen = decimal(stats.get("hash")), decimal(stats.get("lastHash"))
    if speed is None and not seen and not due and not paid and not counter(stats.get("totalHashes")):
        return PoolStats(problems=("wallet unknown to the pool",))
    if speed is not None and not 0 <= speed <= _HIGHEST_HASHRATE:
        speed = None
    last_hash_at = _instant(seen, now)
    values = {"amtDue": due, "amtPaid": paid, "hash": speed, "lastHash": last_hash_at}
    return PoolStats(
        balance_atomic=due,
        paid_atomic=paid,
        hashrate=None if speed is None else float(speed),
        last_hash_at=last_hash_at,
        problems=tuple(
            f"{name} missing" if stats.get(name) is None else f"{name} not usable"
            for name, value in values.items()
            if value is None
        ),
    )


def read_price(answer: object, now: datetime) -> Price:
    """Return what a `/simple/price` answer says monero costs in USD, or why it cannot be believed.

    A price without `last_updated_at` is taken; one older than 24 hours, or dated in the future, is not.
    """
    match answer:
        case {"monero": {"usd": usd, **more}} if usd is not None:
            price, written = decimal(usd), more.get("last_updated_at")
        case _:
            return Price(problem="no monero.usd in the answer")
    if price is None:
        return Price(problem="not a number")
    if not LOWEST_PRICE_USD <= price <= HIGHEST_PRICE_USD:
        return Price(problem="not between $1 and $100,000")
    if written is not None:
        updated_at = _instant(decimal(written), now)
        if updated_at is None:
            return Price(problem="its last_updated_at is not usable")
        if now - updated_at > OLDEST_PRICE:
            return Price(problem="older than 24 hours")
    return Price(usd=float(price))


def _instant(seconds: Decimal | None, now: datetime) -> datetime | None:
    """Return the instant of unix seconds, or None for none, for one before 1970 and for one later than the clocks' skew."""
    if seconds is None or not 0 < seconds <= Decimal((now + CLOCK_SKEW).timestamp()):
        return None
    return datetime.fromtimestamp(float(seconds), UTC)
