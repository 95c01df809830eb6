"""The one thread that works on a file, in small steps: a lock held elsewhere never stalls the loop, and a row never waits for long."""

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from time import monotonic
from typing import TypeVar

from orchestrator.alerts import watch
from orchestrator.alerts.watch import Watch
from orchestrator.errors import FileLocked, StoreError
from orchestrator.ledger.credits import CreditSnapshot
from orchestrator.ledger.snapshots import Snapshot
from orchestrator.log import logger
from orchestrator.periods import text_from_instant
from orchestrator.store.database import Connection, Database

T = TypeVar("T")
Row = Snapshot | CreditSnapshot

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
