"""One scan: every configured source asked at once, each row stored as soon as its source has answered. `once` does one, the daemon many."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from datetime import datetime
from functools import partial
from typing import TypeVar

from orchestrator import config as configuration
from orchestrator.collectors.fetch import Client
from orchestrator.collectors.mlx import collect_mlx
from orchestrator.collectors.openrouter import collect_openrouter
from orchestrator.collectors.xmr import collect_xmr
from orchestrator.config import Config
from orchestrator.errors import OrchestratorError, StoreError
from orchestrator.ledger.credits import CreditSnapshot
from orchestrator.ledger.snapshots import MLX_API, XMR_MINING, Snapshot
from orchestrator.log import logger
from orchestrator.writer import Writer

T = TypeVar("T")
# Asks one source: called with a client and `now`.
Ask = Callable[..., Awaitable[Snapshot]]

log = logger()


def run(main: Coroutine[object, object, T]) -> T:
    """Return what a coroutine returns, like asyncio.run, but without waiting in the end for threads that cannot be stopped.

    A look-up that a name server does not answer is such a thread. The process has to leave by os._exit then.
    """
    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(main)
    finally:
        if left := asyncio.all_tasks(loop):
            for task in left:
                task.cancel()
            loop.run_until_complete(asyncio.wait(left, timeout=1))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


async def attempt(job: str, work: Awaitable[T]) -> T | None:
    """Return what a job returns, or None when it failed; the reason is the writer's `fault`, or in the log.

    Only what ends a process is raised: a configuration that cannot be used, a lease that another has.
    """
    try:
        return await work
    except StoreError:
        return None
    except OrchestratorError:
        raise
    except Exception:
        # The job boundary, and so the one blind except: an error nobody thought of must not end a loop that is to run for months.
        log.exception("job_failed", job=job)
        return None


def asked_sources(config: Config) -> dict[str, Ask]:
    """Return how each configured source is asked, by its name."""
    revenue = config.revenue
    every: dict[str, Ask] = {
        XMR_MINING: partial(
            collect_xmr,
            wallet=revenue.xmr_wallet,
            pool_url=revenue.pool_url,
            price_url=revenue.price_url,
            coingecko_key=config.secrets.coingecko_api_key,
        ),
        MLX_API: partial(
            collect_mlx,
            mlx_url=revenue.mlx_url,
            requests_key=revenue.mlx_requests_key,
            tokens_key=revenue.mlx_tokens_key,
        ),
    }
    return {source: every[source] for source in configuration.sources(config)}


async def scan(asked: Mapping[str, Ask], client: Client, writer: Writer, *, now: datetime) -> list[Snapshot]:
    """Ask every source at once, store each row as it comes, and return the rows; never raises for a source or the file."""

    async def one(source: str, ask: Ask) -> Snapshot:
        snapshot = await attempt(f"collect {source}", ask(client, now=now))
        if snapshot is None:
            snapshot = Snapshot(source, now, error="internal error, the log has it")
        await attempt(f"store {source}", writer.store(snapshot))
        log.debug("collected", source=source, good=is_good(snapshot), error=snapshot.error)
        return snapshot

    return await asyncio.gather(*(one(source, ask) for source, ask in asked.items()))


async def look_at_credits(config: Config, client: Client, writer: Writer, *, now: datetime) -> CreditSnapshot | None:
    """Ask OpenRouter what is left, store the row, and return it, or None when there is no key to ask with; never raises."""
    key = config.secrets.openrouter_api_key
    if not key:
        return None
    asking = collect_openrouter(
        client,
        openrouter_url=config.credits.openrouter_url,
        key=key,
        management_key=config.secrets.openrouter_management_key,
        now=now,
    )
    reading = await attempt("look at credits", asking)
    if reading is None:
        reading = CreditSnapshot(now, failure="unreachable", error="internal error, the log has it")
    await attempt("store credits", writer.store(reading))
    log.debug("looked_at_credits", known=reading.remaining_nano is not None, error=reading.error)
    return reading


def is_good(snapshot: Snapshot) -> bool:
    """Return whether a row has the values that growth is made of; the column `good` says the same in the file."""
    if snapshot.source == XMR_MINING:
        return snapshot.balance_atomic is not None and snapshot.paid_atomic is not None
    return snapshot.requests_served is not None
