"""One scan: every configured source asked at once, each row stored as soon as its source has answered. `once` does one, the daemon many.

After it comes the upkeep: days are closed, and once a day what is older than its retention goes. Whatever touches the file runs in
the one thread of a `Writer`, in small steps, so that a lock held elsewhere never stalls the loop and a row never waits for long.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime, timedelta
from functools import partial
from time import monotonic
from typing import TypeVar

from orchestrator import config as configuration
from orchestrator import recording
from orchestrator.alerts import watch
from orchestrator.alerts.watch import Watch
from orchestrator.collectors.fetch import Client
from orchestrator.collectors.mlx import collect_mlx
from orchestrator.collectors.openrouter import collect_openrouter
from orchestrator.collectors.xmr import collect_xmr
from orchestrator.config import Config
from orchestrator.errors import FileLocked, OrchestratorError, StoreError
from orchestrator.growth import READINGS_THAT_CONVINCE
from orchestrator.ledger import alerts, growth_days, pruning, snapshots
from orchestrator.ledger import credits as credit_snapshots
from orchestrator.ledger.credits import CreditSnapshot
from orchestrator.ledger.setup import Setup
from orchestrator.ledger.snapshots import MLX_API, XMR_MINING, Snapshot
from orchestrator.log import logger
from orchestrator.periods import day_of, day_start, instant_from_text, text_from_instant
from orchestrator.recording import Drained, Rules, spool
from orchestrator.store import meta, retention, upkeep
from orchestrator.store.database import Connection, Database

T = TypeVar("T")
Row = Snapshot | CreditSnapshot
# Asks one source: called with a client and `now`.
Ask = Callable[..., Awaitable[Snapshot]]

LAST_PRUNE = "last_prune_at"
PRUNED_EVERY = timedelta(days=1)
# So long may nobody have collected; a clock that says more is taken for wrong.
LONGEST_PAUSE = timedelta(days=1100)
PRUNED = ("snapshots", "calls", "credit_snapshots", "alerts")
_ROWS_AT_ONCE = 200  # deleted in one transaction
# Two sources at five-minute intervals fill it in a day and a half; at the usual kilobyte a row that is a megabyte.
MOST_WAITING = 1_000
SHORT_PATIENCE_MS = 100

log = logger()


class Writer:
    """The one thread that works on a file, and the rows that it could not store yet; `stored` counts those that it has.

    `fault` is why the last work failed when the reason lies outside this process (a full disk, a lock, a file that may not be
    written), else None. `works` is False after work that failed for a reason of our own.
    """

    def __init__(self, database: Database, watched: Watch | None = None) -> None:
        self.database = database
        self.watched = watched
        self.waiting: deque[Row] = deque()
        self.stored = 0
        self.fault: StoreError | None = None
        self.works = True
        self._patience_ms = database.busy_timeout_ms
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="writer")

    async def do(self, work: Callable[[], T]) -> T:
        """Return what the work returns; raises what it raises. Work that was begun goes on when the caller is cancelled."""
        return await self._in_thread(partial(self._observed, work))

    async def write(self, job: Callable[[Connection], T]) -> T:
        """Return what a job returns, done in one transaction."""
        return await self.do(partial(self._write, job))

    async def read(self, job: Callable[[Connection], T]) -> T:
        """Return what a job returns that reads one state of the file."""
        return await self.do(partial(self._read, job))

    async def store(self, row: Row) -> None:
        """Store a row, those that wait, and the alerts that they call for, at once; a row that cannot be stored for now waits."""
        await self.do(partial(self._store, row))

    async def store_waiting(self) -> None:
        """Try again to store the rows that wait."""
        if self.waiting:
            await self.do(self._store_waiting)

    async def store_last(self, until: float) -> None:
        """Try a last time to store the rows that wait, those too that are on their way, and be patient until then (`monotonic`)."""
        await self._in_thread(partial(self._store_patiently, until))

    async def close_file(self) -> None:
        """Close the file behind all other work; that it can be closed does not show that it works."""
        await self._in_thread(self.database.close)

    def close(self) -> None:
        """Take no more work. What has begun goes on, what has not is dropped; nothing is waited for."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        begun = asyncio.get_running_loop().run_in_executor(self._thread, work)
        # When the caller is cancelled nobody else asks what came of it, and asyncio would log an error as one that nobody heard of.
        begun.add_done_callback(lambda done: done.cancelled() or done.exception())
        await asyncio.wait([begun])
        return begun.result()

    # What follows runs in the writer's thread.

    def _observed(self, work: Callable[[], T]) -> T:
        works = False
        try:
            done = work()
            works = True
            if not self.waiting:
                # While rows wait, work that happened to change nothing (a full disk permits that) has not shown that it is over.
                self.fault = None
        except StoreError as error:
            works, self.fault = True, error
            raise
        finally:
            self.works = works
            # Who has waited in vain for a lock does not wait as long again: the next work stands behind this one.
            self.database.busy_timeout_ms = (
                SHORT_PATIENCE_MS if isinstance(self.fault, FileLocked) else self._patience_ms
            )
        return done

    def _write(self, job: Callable[[Connection], T]) -> T:
        with self.database.write() as connection:
            return job(connection)

    def _read(self, job: Callable[[Connection], T]) -> T:
        with self.database.read() as connection:
            return job(connection)

    def _store(self, row: Row) -> None:
        self.waiting.append(row)
        try:
            self._store_waiting(new=1)
        finally:
            while len(self.waiting) > MOST_WAITING:
                log.error("row_dropped", collected_at=text_from_instant(self.waiting.popleft().collected_at))

    def _store_patiently(self, until: float) -> None:
        self.database.busy_timeout_ms = max(int((until - monotonic()) * 1000), SHORT_PATIENCE_MS)
        if self.waiting:
            self._observed(self._store_waiting)

    def _store_waiting(self, *, new: int = 0) -> None:
        rows = list(self.waiting)
        if not rows:
            return
        try:
            told = self._write(partial(watch.store, rows=rows, watch=self.watched))
        except StoreError:
            raise
        except Exception:  # noqa: BLE001 - a mistake in a rule must not cost the rows, nor one row the others
            self._store_one_by_one()
            return
        self.waiting.clear()
        self.stored += len(rows)
        if len(rows) > new:
            log.info("waiting_rows_stored", rows=len(rows) - new)
        watch.log(told)

    def _store_one_by_one(self) -> None:
        """Store each row in a transaction of its own, if need be without its alerts; raises in the end what refused a row for good."""
        refused = None
        while self.waiting:
            refused = self._store_alone(self.waiting[0]) or refused
            self.waiting.popleft()
        if refused is not None:
            raise refused

    def _store_alone(self, row: Row) -> Exception | None:
        """Return why a row can never be stored, None when it is."""
        try:
            told = self._write(partial(watch.store, rows=[row], watch=self.watched))
        except StoreError:
            raise
        except Exception as mistake:
            try:
                told = self._write(partial(watch.store, rows=[row], watch=None))
            except StoreError:
                raise
            except Exception as reason:  # noqa: BLE001 - as above
                log.error("row_refused", collected_at=text_from_instant(row.collected_at), reason=str(reason))
                return reason
            log.error("alerts_failed", exc_info=mistake)
        self.stored += 1
        watch.log(told)
        return None


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


async def drain_spool(writer: Writer, rules: Rules, *, seconds: float | None = None) -> None:
    """Store what waits in the spool beside the file because it would not take it when it was recorded, for about so long at most."""
    # Work that did not touch the file would pass for a sign that the file works.
    if not spool.is_waiting(writer.database.path):
        return
    try:
        drained = await writer.do(partial(recording.drain, writer.database, rules, seconds=seconds))
    except OSError as error:
        log.warning("spool_unusable", error=error.strerror)
        return
    if drained != Drained():
        log.info("spool_drained", **vars(drained))


async def close_days(
    writer: Writer, setup: Setup, *, said: Callable[[str, date], None] | None = None, now: datetime
) -> None:
    """Close every day that can be closed, some in each of many short transactions; `said` hears how far each source is."""
    for source in await writer.read(snapshots.sources_in):
        while days := await writer.write(
            partial(
                growth_days.close_days,
                source=source,
                tz=setup.tz,
                interval_seconds=setup.interval_seconds,
                now=now,
            )
        ):
            if said:
                said(source, days[-1])


async def prune_when_due(writer: Writer, config: Config, setup: Setup, *, now: datetime) -> dict[str, int] | None:
    """Prune a day after the last time; return what `prune` does, or None when it is not due.

    A last time that lies in the future was written by a clock that was wrong, and does not count.
    """
    last = await writer.read(lambda connection: meta.get(connection, LAST_PRUNE))
    pruned_at = instant_from_text(last) if last else None
    if pruned_at is not None and pruned_at <= now < pruned_at + PRUNED_EVERY:
        return None
    return await prune(writer, config, setup, now=now)


async def prune(writer: Writer, config: Config, setup: Setup, *, now: datetime) -> dict[str, int]:
    """Remove what is older than its retention and put the file in order, in many short steps; return how many rows went, by kind."""
    removed = dict.fromkeys(PRUNED, 0)
    steps = _prune_steps(writer.database, config, setup, now)
    while step := await writer.do(partial(next, steps, None)):
        kind, rows = step
        removed[kind] += rows
    pages = upkeep.shrink(writer.database)
    while await writer.do(partial(next, pages, 0)):
        pass
    await writer.do(partial(upkeep.optimize, writer.database))
    await writer.write(lambda connection: meta.put(connection, LAST_PRUNE, text_from_instant(now)))
    await writer.do(writer.database.checkpoint)
    return removed


def prunable(database: Database, config: Config, setup: Setup, now: datetime) -> dict[str, int]:
    """Return how many rows `prune` would remove now, by kind."""
    counted = dict.fromkeys(PRUNED, 0)
    with database.read() as connection:
        before = snapshots_prunable_before(connection, config.revenue.retention_days, setup, now)
        if before is not None:
            counted["snapshots"] = retention.prunable_snapshots(database, before, keep_good=READINGS_THAT_CONVINCE)
        if first := pruning.first_kept_day(config.retention.calls_days, setup.tz, now):
            counted["calls"] = pruning.prunable_calls(database, first)
        if kept_from := _kept_from(config.revenue.retention_days, setup, now):
            counted["credit_snapshots"] = credit_snapshots.prunable(connection, kept_from)
        if kept_from := _kept_from(config.retention.alerts_days, setup, now):
            counted["alerts"] = alerts.prunable(connection, kept_from)
    return counted


def _prune_steps(database: Database, config: Config, setup: Setup, now: datetime) -> Iterator[tuple[str, int]]:
    """Remove what is older than its retention; each step is one short transaction: the kind of its rows, and how many went."""
    with database.read() as connection:
        before = snapshots_prunable_before(connection, config.revenue.retention_days, setup, now)
    if before is not None:
        for rows in retention.prune_snapshots(database, before, keep_good=READINGS_THAT_CONVINCE):
            yield "snapshots", rows
    if first := pruning.first_kept_day(config.retention.calls_days, setup.tz, now):
        for rows in pruning.prune_calls(database, first):
            yield "calls", rows
    if kept_from := _kept_from(config.revenue.retention_days, setup, now):
        for rows in _batches(database, partial(credit_snapshots.prune, before=kept_from, most=_ROWS_AT_ONCE)):
            yield "credit_snapshots", rows
    if kept_from := _kept_from(config.retention.alerts_days, setup, now):
        for rows in _batches(database, partial(alerts.prune, before=kept_from, most=_ROWS_AT_ONCE)):
            yield "alerts", rows


def _batches(database: Database, job: Callable[[Connection], int]) -> Iterator[int]:
    while True:
        with database.write() as connection:
            rows = job(connection)
        if not rows:
            return
        yield rows


def _kept_from(days: int, setup: Setup, now: datetime) -> datetime | None:
    """Return where the oldest local day begins that is kept; None when all are."""
    return day_start(day_of(now, setup.tz) - timedelta(days=days), setup.tz) if days else None


def snapshots_prunable_before(connection: Connection, days: int, setup: Setup, now: datetime) -> datetime | None:
    """Return before when snapshots may go: whole local days that are closed for every source; None when none may.

    A clock that has leapt ahead must neither cost the readings of yesterday nor mark days as pruned that are still to come: never
    more goes than up to the last reading that is a day old, and nothing when that is years away.
    """
    sources = snapshots.sources_in(connection)
    settled = max(filter(None, (_newest(connection, source, now - PRUNED_EVERY) for source in sources)), default=None)
    if days == 0 or settled is None or now - settled > LONGEST_PAUSE:
        return None
    return min(
        day_start(day_of(now, setup.tz) - timedelta(days=days), setup.tz),
        day_start(day_of(settled, setup.tz) + timedelta(days=1), setup.tz),
        *(opened for source in sources if (opened := _open_from(connection, source, setup, now))),
    )


def _newest(connection: Connection, source: str, until: datetime) -> datetime | None:
    newest = connection.execute(
        "SELECT max(collected_at) FROM revenue_snapshots WHERE source = :source AND collected_at <= :until",
        {"source": source, "until": text_from_instant(until)},
    ).get
    return instant_from_text(str(newest)) if newest else None


def _open_from(connection: Connection, source: str, setup: Setup, now: datetime) -> datetime | None:
    """Return where a source's oldest day begins that is not closed, or None when it has no reading since its last closed day."""
    first = meta.get(connection, f"growth_from:{source}")
    opened = day_start(date.fromisoformat(first), setup.tz) if first else None
    oldest = connection.execute(
        """
        SELECT min(collected_at)
        FROM revenue_snapshots
        WHERE source = :source AND collected_at >= :opened AND collected_at <= :now
        """,
        {"source": source, "opened": text_from_instant(opened) if opened else "", "now": text_from_instant(now)},
    ).get
    return opened or instant_from_text(str(oldest)) if oldest else None
