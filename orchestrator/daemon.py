"""The daemon: a tick every scan interval, a collection at every so many ticks, upkeep after it, until SIGTERM or SIGINT.

Ticks lie on a grid of the monotonic clock: they do not drift, one that was missed is skipped, and the wall clock may jump as it
likes. Each job is a task of its own; none runs twice at once, and none holds up the ticks.
"""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from time import monotonic
from typing import Protocol

from orchestrator import app
from orchestrator.alerts import channels as notifiers
from orchestrator.alerts import deliver, watch
from orchestrator.alerts.deliver import Sender
from orchestrator.app import Project
from orchestrator.collectors.fetch import Client
from orchestrator.errors import DiskFull, FileCorrupt, FileLocked, FileMissing, StoreError
from orchestrator.ledger.snapshots import Snapshot
from orchestrator.log import logger
from orchestrator.notify import notify, watchdog_seconds
from orchestrator.periods import text_from_instant
from orchestrator.recording import Rules
from orchestrator.scan import asked_sources, attempt, is_good, look_at_credits, scan
from orchestrator.store import lease
from orchestrator.store import upkeep as store_upkeep
from orchestrator.store.database import Connection, Database
from orchestrator.upkeep import PRUNED_EVERY, close_days, drain_spool, prune_when_due
from orchestrator.writer import Writer

# A stop has to be over within five seconds, whoever holds the file's lock.
BUSY_TIMEOUT_MS = 2_000
_LAST_WORK_SECONDS = 3.5
_LAST_STEPS_SECONDS = 0.5  # of which so much is kept for what comes after the rows
# However long the scan interval: a lease that is not renewed for minutes is taken over, and rows that wait want to be stored.
_BEAT_SECONDS = 60.0
_RENEW_AFTER_SECONDS = 30.0
# A long spool is drained over several ticks, so that no row of a collection waits for it.
_DRAIN_SECONDS = 1.0
# So late may a beat be before it counts as missing: longer than work in the writer's thread that waits for a lock.
_LATE_SECONDS = 30.0
# A machine that slept is awake again after less than that, as a rule.
_LEAP_SECONDS = 7 * 86_400.0
_SHORTEST_PAUSE_SECONDS = 1.0
# So soon is a start tried again that a full disk or a lock has stopped.
_AGAIN_SECONDS = 2.0

log = logger()


class Clock(Protocol):
    """The time of day, a time that only goes forward, and a way to wait that hears a stop."""

    def now(self) -> datetime:
        """Return the wall clock's time, aware."""

    def seconds(self) -> float:
        """Return seconds since some moment."""

    async def wait(self, stop: asyncio.Event, seconds: float) -> None:
        """Return after so many seconds, or as soon as `stop` is set."""


class SystemClock:
    """The machine's clocks."""

    def now(self) -> datetime:
        """Return the wall clock's time in UTC."""
        return datetime.now(UTC)

    def seconds(self) -> float:
        """Return the loop's time, which does not jump."""
        return asyncio.get_running_loop().time()

    async def wait(self, stop: asyncio.Event, seconds: float) -> None:
        """Return after so many seconds, or as soon as `stop` is set."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await stop.wait()


@dataclass
class _Said:
    """What the log was last told, so that it hears of changes only; of a fault also since when, and how many rows wait at most."""

    fault: StoreError | None = None
    since: datetime | None = None
    rows: int = 0
    errors: dict[str, str | None] | None = None


class Daemon:
    """One run over one file; `stop` ends it."""

    def __init__(self, project: Project, environ: Mapping[str, str], clock: Clock | None = None) -> None:
        database = Database(project.database.path, busy_timeout_ms=BUSY_TIMEOUT_MS)
        self.project = replace(project, database=database)
        self.stop = asyncio.Event()
        self._environ = environ
        self._clock = clock or SystemClock()
        self._watched = watch.of_config(project.config)
        self._writer = Writer(database, self._watched)
        self._asked = asked_sources(project.config)
        self._rules = Rules(lambda: project.config)
        self._client = Client()
        channels = notifiers.configured(project.config)
        self._fingerprints = notifiers.fingerprints(channels)
        self._senders = deliver.senders(project.config, channels, self._writer, self._client, self._clock.now)
        # Set when there may be something to send.
        self._news = {sender.channel.name: asyncio.Event() for sender in self._senders}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._error: BaseException | None = None
        self._said = _Said(errors={})
        self._owns = self._started = False
        self._beat_at = self._renewed_at = self._prune_from = self._clock.seconds()
        self._ahead = self._clock.now().timestamp() - self._clock.seconds()

    async def run(self) -> None:
        """Watch until `stop` is set, or SIGTERM or SIGINT arrives.

        Raises LeaseHeld when another daemon owns the file, at the start or later; at the start also ConfigError and StoreError,
        unless the disk is full or the file locked: that is waited for.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self.stop.set)
        self._start("watch", self._watch())
        await self.stop.wait()
        await self._end()
        if self._error is not None:
            raise self._error

    async def _watch(self) -> None:
        # The check reads the whole file, and an old one is brought up to date: more than the minute and a half that systemd gives.
        self._tell("EXTEND_TIMEOUT_USEC=600000000", "STATUS=checking the file")
        await self._patiently(partial(self._writer.do, self._check))
        await self._patiently(self._take_over)
        self._started = True
        self._beat_at = self._renewed_at = self._clock.seconds()
        self._say_ready("waiting for the first answers")
        config = self.project.config
        log.info("started", database=str(self.project.database.path), sources=" ".join(self._asked), pid=os.getpid())
        for warning in config.warnings:
            log.warning("config_warning", warning=warning)
        if not self._asked:
            log.warning("no_source_configured")
            self._tell("STATUS=no source is configured")
        if self._watched.credits_interval_seconds is not None:
            self._start("credits", self._look_at_credits(self._watched.credits_interval_seconds))
        for sender in self._senders:
            self._start(f"delivery {sender.channel.name}", self._deliver(sender))
        await self._tick(config.orchestrator.scan_interval_seconds, config.revenue.collection_interval_scans)

    async def _patiently(self, begin: Callable[[], Awaitable[object]]) -> None:
        """Do what comes before the first tick, again and again while the disk is full or the file locked: a restart would not help."""
        while True:
            try:
                await begin()
            except (DiskFull, FileLocked) as fault:
                self._say_fault()
                self._beat_at = self._clock.seconds()
                self._say_ready(f"waiting for the file: {fault.what()}")
            else:
                return
            await self._clock.wait(self.stop, _AGAIN_SECONDS)

    async def _take_over(self) -> None:
        """Make the file this daemon's, with what is configured in it."""
        await self._writer.do(partial(lease.acquire, self.project.database, now=self._clock.now()))
        self._owns = True
        await self._writer.do(partial(app.enter, self.project))
        await self._writer.write(self._enter_watch)

    def _say_ready(self, status: str) -> None:
        """Tell systemd that the start is over, and from now on that the daemon lives."""
        self._tell("READY=1", f"STATUS={status}")
        if (limit := watchdog_seconds(self._environ)) is not None:
            self._start("watchdog", self._ping(limit / 2))

    def _check(self) -> None:
        with suppress(FileMissing):
            if findings := store_upkeep.quick_check(self.project.database):
                raise FileCorrupt(self.project.database.path, findings[0])

    async def _tick(self, interval: float, every: int) -> None:
        """Tick at `start + n * interval` for ever; where ticks were missed, once and then on the same grid."""
        start = self._clock.seconds()
        tick, collect_at = 0, 0
        # Once `stop` is set a wait returns at once, without letting anyone else run.
        while not self.stop.is_set():
            await self._beat()
            if tick >= collect_at and self._start_collection():
                collect_at = (tick // every + 1) * every
            tick = max(tick, int((self._clock.seconds() - start) // interval)) + 1
            due = start + tick * interval
            while not self.stop.is_set() and (left := due - self._clock.seconds()) > 0:
                await self._clock.wait(self.stop, min(left, _BEAT_SECONDS))
                if left > _BEAT_SECONDS:
                    await self._beat()
            tick = max(tick, int((self._clock.seconds() - start) // interval))

    def _start_collection(self) -> bool:
        """Start a collection, which ends with the upkeep, or where no source is configured the upkeep alone."""
        return self._start("collection", self._collect()) if self._asked else self._start("upkeep", self._keep())

    async def _look_at_credits(self, interval: float) -> None:
        """Look at the credits at once and at `start + n * interval` for ever."""
        start, looks = self._clock.seconds(), 0
        while not self.stop.is_set():
            await look_at_credits(self.project.config, self._client, self._writer, now=self._clock.now())
            self._after_storing()
            looks = max(looks, int((self._clock.seconds() - start) // interval)) + 1
            while not self.stop.is_set() and (left := start + looks * interval - self._clock.seconds()) > 0:
                await self._clock.wait(self.stop, left)

    async def _deliver(self, sender: Sender) -> None:
        """Send what is due to one channel, again and again: on news, when a pause is over, and at every tick for other processes' alerts."""
        name, news = sender.channel.name, self._news[sender.channel.name]
        longest = min(float(self.project.config.orchestrator.scan_interval_seconds), _BEAT_SECONDS)
        while not self.stop.is_set():
            news.clear()
            await attempt(f"deliver {name}", sender.send_due())
            due = await attempt(f"deliver {name}", sender.due())
            # What is due and was not sent now is in another process's hands, or the file cannot be written.
            pause = longest if due is None else max(due.total_seconds(), _SHORTEST_PAUSE_SECONDS)
            await self._clock.wait(news, min(pause, longest))

    async def _beat(self) -> None:
        """Keep the lease, try again what could not be stored, and note that the loop lives."""
        if self._clock.seconds() - self._renewed_at >= _RENEW_AFTER_SECONDS:
            now = self._clock.now()
            if await attempt("renew lease", self._writer.do(partial(lease.renew, self.project.database, now=now))):
                self._renewed_at = self._clock.seconds()
        await attempt("store waiting rows", self._writer.store_waiting())
        await attempt("drain the spool", drain_spool(self._writer, self._rules, seconds=_DRAIN_SECONDS))
        self._after_storing()
        self._look_at_clock()
        self._beat_at = self._clock.seconds()

    def _look_at_clock(self) -> None:
        """Put off pruning when the wall clock has leapt ahead: it may be wrong, and be put right within a day."""
        ahead = self._clock.now().timestamp() - self._clock.seconds()
        if ahead - self._ahead > _LEAP_SECONDS:
            self._prune_from = self._clock.seconds() + PRUNED_EVERY.total_seconds()
            log.warning("clock_leapt", days=round((ahead - self._ahead) / 86_400))
        self._ahead = ahead

    async def _collect(self) -> None:
        snapshots = await scan(self._asked, self._client, self._writer, now=self._clock.now())
        self._after_storing()
        self._say_sources(snapshots)
        self._start("upkeep", self._keep())

    async def _keep(self) -> None:
        """Close days and prune, in the zone that the file has now: another process may have rebuilt it, or it may be a new file."""
        setup = await attempt("enter", self._writer.do(partial(app.enter, self.project)))
        if setup is None:
            return
        await attempt("enter", self._writer.write(self._enter_watch))
        await attempt("close days", close_days(self._writer, setup, now=self._clock.now()))
        if self._clock.seconds() < self._prune_from:
            return
        pruned = await attempt("prune", prune_when_due(self._writer, self.project.config, setup, now=self._clock.now()))
        if pruned is not None:
            log.info("pruned", **pruned)

    def _enter_watch(self, connection: Connection) -> None:
        watch.enter(connection, self._watched, self._fingerprints, withdraw=True, now=self._clock.now())

    def _after_storing(self) -> None:
        """Tell of a fault that came or went, and let every channel look for news."""
        said = self._said
        fault, since, rows = said.fault, said.since, max(said.rows, len(self._writer.waiting))
        self._say_fault()
        if fault is not None and since is not None and said.fault is None:
            self._start("tell of a fault", self._tell_of_fault(fault, rows, since))
        self._wake()

    async def _tell_of_fault(self, fault: StoreError, rows: int, since: datetime) -> None:
        job = partial(
            watch.file_survived, fault=fault, rows=rows, since=since, watch=self._watched, now=self._clock.now()
        )
        watch.log(await attempt("tell of a fault", self._writer.write(job)) or [])
        self._wake()

    def _wake(self) -> None:
        for news in self._news.values():
            news.set()

    async def _ping(self, every: float) -> None:
        """Tell systemd that the daemon lives, as long as that is so; when it is not, systemd starts another."""
        while not self.stop.is_set():
            beats = self._clock.seconds() - self._beat_at <= _BEAT_SECONDS + _LATE_SECONDS
            # A full disk, a lock, a file made read-only are outside this process: a restart would not help.
            lives = beats and self._writer.works
            if lives:
                self._tell("WATCHDOG=1")
            # What fails now may work in a moment, before systemd's patience ends.
            await self._clock.wait(self.stop, every if lives else every / 4)

    def _start(self, job: str, work: Coroutine[object, object, None]) -> bool:
        """Start a job as a task of its own; False, and nothing is started, while the same job still runs."""
        if (running := self._tasks.get(job)) is not None and not running.done():
            work.close()
            return False
        task = asyncio.get_running_loop().create_task(work, name=job)
        task.add_done_callback(self._ended)
        self._tasks[job] = task
        return True

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._error = self._error or error
            self.stop.set()

    async def _end(self) -> None:
        """Stop every job, store what waits, give the lease back; what is not done after a few seconds is left undone."""
        self._tell("STOPPING=1", "STATUS=stopping")
        until = monotonic() + _LAST_WORK_SECONDS - _LAST_STEPS_SECONDS
        for task in self._tasks.values():
            task.cancel()
        with suppress(TimeoutError):
            async with asyncio.timeout(_LAST_WORK_SECONDS):
                await asyncio.wait(self._tasks.values())
                await attempt("store waiting rows", self._writer.store_last(until))
                if self._owns:
                    await attempt("release lease", self._writer.do(partial(lease.release, self.project.database)))
                await attempt("close the file", self._writer.close_file())
                await self._client.close()
        self._writer.close()
        if self._error is None:
            self._say_fault()
        if self._writer.waiting:
            log.error("rows_lost", rows=len(self._writer.waiting), reason=str(self._writer.fault))
        if self._started and self._error is None:
            log.info("stopped")

    def _say_fault(self) -> None:
        fault, said = self._writer.fault, self._said
        if fault is None and said.fault is not None:
            log.info("file_works_again")
            said.since, said.rows = None, 0
        elif fault is not None:
            said.rows = max(said.rows, len(self._writer.waiting))
            if type(fault) is not type(said.fault):
                log.error("file_fault", error=str(fault), rows_waiting=len(self._writer.waiting))
                said.since = said.since or self._clock.now()
        said.fault = fault

    def _say_sources(self, snapshots: list[Snapshot]) -> None:
        before = self._said.errors or {}
        for one in snapshots:
            if one.error and one.error != before.get(one.source):
                log.warning("source_failing", source=one.source, error=one.error, good=is_good(one))
            elif not one.error and before.get(one.source, ""):
                log.info("source_answers_again", source=one.source)
        self._said.errors = {one.source: one.error for one in snapshots}
        good = sum(map(is_good, snapshots))
        waiting, fault = len(self._writer.waiting), self._writer.fault
        status = f"{good} of {len(snapshots)} sources gave good values at {text_from_instant(self._clock.now())}"
        if fault is not None:
            status += f"; {waiting} rows wait: {fault.what()}"
        self._tell(f"STATUS={status}")

    def _tell(self, *lines: str) -> None:
        notify(self._environ, *lines)
