"""A clock for the daemon whose time passes only while every job waits, so that months are over in seconds."""

import asyncio
from collections.abc import Mapping
from datetime import datetime, timedelta

# The daemon's jobs; while one of them works, no time passes.
JOBS = ("watch", "collection", "upkeep", "credits", "delivery", "tell of a fault")


class FakeClock:
    """Starts at a moment, ends the daemon after so many seconds; at given seconds its wall clock jumps, or its machine sleeps."""

    def __init__(
        self,
        start: datetime,
        lasts: float,
        *,
        jumps: Mapping[float, timedelta] | None = None,
        suspends: Mapping[float, float] | None = None,
    ) -> None:
        self._wall = start
        self._elapsed = 0.0
        self._lasts = lasts
        self._jumps = dict(jumps or {})
        self._suspends = dict(suspends or {})
        # Who waits, until when, and for what.
        self._waiting: dict[asyncio.Task[object], tuple[float, asyncio.Event]] = {}

    def now(self) -> datetime:
        return self._wall

    def seconds(self) -> float:
        return self._elapsed

    async def wait(self, stop: asyncio.Event, seconds: float) -> None:
        task = asyncio.current_task()
        assert task is not None
        until = self._elapsed + seconds
        self._waiting[task] = (until, stop)
        try:
            while not stop.is_set() and self._elapsed < until:
                if busy := [one for one in asyncio.all_tasks() if self._is_busy(one)]:
                    await asyncio.wait(busy, timeout=0.001)
                elif until <= min(other for other, _ in self._waiting.values()):
                    self._pass_until(until)
                else:
                    await asyncio.sleep(0)
        finally:
            del self._waiting[task]
        await asyncio.sleep(0)

    def _is_busy(self, task: asyncio.Task[object]) -> bool:
        return task.get_name().startswith(JOBS) and task not in self._waiting

    def _pass_until(self, until: float) -> None:
        self._pass(until - self._elapsed)
        for at in [at for at in self._suspends if at <= self._elapsed]:
            self._pass(self._suspends.pop(at))
        for at in [at for at in self._jumps if at <= self._elapsed]:
            self._wall += self._jumps.pop(at)
        if self._elapsed >= self._lasts:
            for _, stop in self._waiting.values():
                stop.set()

    def _pass(self, seconds: float) -> None:
        self._elapsed += seconds
        self._wall += timedelta(seconds=seconds)
