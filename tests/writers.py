"""A writer on a file of the test's own, closed in the end."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from orchestrator import scan
from orchestrator.store.database import Database
from orchestrator.writer import Writer

T = TypeVar("T")


def with_writer(database: Database, act: Callable[[Writer], Awaitable[T]]) -> T:
    async def main() -> T:
        writer = Writer(database)
        try:
            return await act(writer)
        finally:
            writer.close()

    return scan.run(main())
