"""A clock for the daemon whose time passes only while the daemon waits, so that months are over in seconds."""

import asyncio
from collections.abc import Mapping
from datetime import datetime, timedelta


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

    def now(self) -> datetime:
        return self._wall

    def seconds(self) -> float:
        return self._elapsed

    async def wait(self, stop: asyncio.Event, seconds: float) -> None:
        while busy := [task for task in asyncio.all_tasks() if task.get_name() in ("collection", "upkeep")]:
            await asyncio.wait(busy)
        self._pass(seconds)
        for at in [at for at in self._suspends if at <= self._elapsed]:
            self._pass(self._suspends.pop(at))
        for at in [at for at in self._jumps if at <= self._elapsed]:
            self._wall += self._jumps.pop(at)
        if self._elapsed >= self._lasts:
            stop.set()
            await asyncio.Event().wait()
        await asyncio.sleep(0)

    def _pass(self, seconds: float) -> None:
        self._elapsed += seconds
        self._wall += timedelta(seconds=seconds)
