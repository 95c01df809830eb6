"""What was recorded while the file was locked: the next tick of `run` stores it, and `once` does, each record exactly once."""

import json
import signal
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from loopback import Loopback
from processes import FAST, daemon, ended, environment, finished, locked, rows, services, until

import orchestrator
from orchestrator import scan, upkeep
from orchestrator.errors import FileLocked, StoreError
from orchestrator.recording import Rules, configured, spool
from orchestrator.store.database import Database
from orchestrator.writer import Writer

NOW = datetime(2026, 11, 21, 8, tzinfo=UTC)


@pytest.fixture
def server() -> Iterator[Loopback]:
    with services() as one:
        yield one


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "orchestrator.db"


def record(path: Path, *call_ids: str) -> list[str]:
    """Record calls as an agent's own process does, and return what became of them."""
    try:
        return [
            orchestrator.record_call(
                service="openai", model="m", cost_usd="0.25", call_id=one, now=NOW, db=path
            ).outcome
            for one in call_ids
        ]
    finally:
        orchestrator.close()


def calls(path: Path) -> list[tuple[object, ...]]:
    return rows(path, "SELECT call_id, cost_nano FROM ai_calls ORDER BY call_id")


def test_the_next_tick_stores_what_was_recorded_while_the_file_was_locked(
    tmp_path: Path, path: Path, server: Loopback
) -> None:
    with daemon(environment(tmp_path, server, **FAST), tmp_path) as process:
        until(lambda: rows(path, "SELECT id FROM revenue_snapshots"))
        with locked(path):
            outcomes = record(path, "first", "second")
            asked = len(server.asked_for("/health"))
            until(lambda: len(server.asked_for("/health")) >= asked + 2)
        until(lambda: not spool.is_waiting(path))
        asked = len(server.asked_for("/health"))
        until(lambda: len(server.asked_for("/health")) >= asked + 2)
        code, _, told = ended(process, signal.SIGTERM)

    drained = [one for line in told.splitlines() if (one := json.loads(line))["event"] == "spool_drained"]
    assert code == 0
    assert outcomes == ["spooled", "spooled"]
    assert calls(path) == [("first", 250_000_000), ("second", 250_000_000)]
    assert rows(path, "SELECT calls, cost_nano FROM daily_totals") == [(2, 500_000_000)]
    assert [(one["stored"], one["duplicates"]) for one in drained] == [(2, 0)]


def test_once_stores_what_was_recorded_while_the_file_was_locked(tmp_path: Path, path: Path, server: Loopback) -> None:
    environ = environment(tmp_path, server)
    finished("once", environ=environ, cwd=tmp_path)
    with locked(path):
        outcomes = record(path, "first")

    codes = [finished("once", environ=environ, cwd=tmp_path).returncode for _ in range(2)]

    assert outcomes == ["spooled"]
    assert codes == [0, 0]
    assert calls(path) == [("first", 250_000_000)]
    assert rows(path, "SELECT calls, cost_nano FROM daily_totals") == [(1, 250_000_000)]
    assert not spool.spool_of(path).exists()


def test_a_tick_without_a_spool_is_no_sign_that_the_file_works(path: Path) -> None:
    database = Database(path, busy_timeout_ms=50)

    async def main() -> StoreError | None:
        writer = Writer(database)
        await writer.write(lambda _: None)
        with locked(path):
            with pytest.raises(FileLocked):
                await writer.write(lambda _: None)
            await upkeep.drain_spool(writer, configured(path))
        writer.close()
        return writer.fault

    fault = scan.run(main())
    database.close()

    assert isinstance(fault, FileLocked)


def test_a_spool_that_may_not_be_read_ends_nothing(path: Path) -> None:
    database = Database(path)
    (spool.spool_of(path) / "a folder in its place").mkdir(parents=True)

    async def main() -> None:
        writer = Writer(database)
        await upkeep.drain_spool(writer, Rules(lambda: pytest.fail("nothing is recorded")))
        writer.close()

    scan.run(main())
    database.close()

    assert not path.exists()
