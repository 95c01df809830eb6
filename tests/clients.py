"""Clients for tests that ask real servers: one for many questions, because making one reads all the certificates."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self, TypeVar

from orchestrator.collectors.fetch import Client

T = TypeVar("T")


def with_client(act: Callable[[Client], Awaitable[T]]) -> T:
    """Do something with a client of its own, as when a wait is asked for, which the client remembers."""

    async def run() -> T:
        async with Client() as client:
            return await act(client)

    return asyncio.run(run())


class SharedClient:
    """A client and its loop, which stay from one act to the next."""

    def __init__(self) -> None:
        self._lifetime = AsyncExitStack()

    def __enter__(self) -> Self:
        self._runner = asyncio.Runner()
        self._client = self._runner.run(self._opened())
        return self

    async def _opened(self) -> Client:
        return await self._lifetime.enter_async_context(Client())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._runner.run(self._lifetime.aclose())
        self._runner.close()

    def do(self, act: Callable[[Client], Awaitable[T]]) -> T:
        async def run() -> T:
            return await act(self._client)

        return self._runner.run(run())
