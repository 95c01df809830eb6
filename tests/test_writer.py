"""The writer's thread: rows wait for a file that does not take them, and nothing that fails costs more than itself."""

import asyncio
import io
import json
import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from processes import locked, rows
from writers import with_writer

from orchestrator import log, scan
from orchestrator.alerts import watch
from orchestrator.config import Config
from orchestrator.errors import FileLocked
from orchestrator.ledger.snapshots import Snapshot
from orchestrator.scan import attempt
from orchestrator.store import meta
from orchestrator.store.database import Connection, Database
from orchestrator.writer import MOST_WAITING, Writer

NOW = datetime(2026, 11, 21, 19, tzinfo=UTC)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    one = Database(tmp_path / "orchestrator.db", busy_timeout_ms=50)
    with one.write():
        pass
    yield one
    one.close()


@pytest.fixture
def told() -> Callable[[], list[dict[str, Any]]]:
    stream = io.StringIO()
    log.configure(logging.DEBUG, str, {}, stream)
    return lambda: [json.loads(line) for line in stream.getvalue().splitlines()]


def stored(database: Database) -> list[object]:
    found = rows(database.path, "SELECT requests_served FROM revenue_snapshots ORDER BY collected_at")
    return [number for (number,) in found]


def snapshot(number: int) -> Snapshot:
    return Snapshot("mlx-api", NOW + timedelta(minutes=number), requests_served=number)


def test_rows_wait_for_a_lock_and_are_stored_with_the_next_one(database: Database) -> None:
    async def act(writer: Writer) -> None:
        with locked(database.path):
            for number in (1, 2):
                with pytest.raises(FileLocked):
                    await writer.store(snapshot(number))
            assert len(writer.waiting) == 2
            assert isinstance(writer.fault, FileLocked)
            assert writer.works
        await writer.store(snapshot(3))
        assert not writer.waiting
        assert writer.fault is None

    with_writer(database, act)

    assert stored(database) == [1, 2, 3]


def test_of_more_rows_than_can_wait_the_oldest_go_and_the_log_says_so(
    database: Database, told: Callable[[], list[dict[str, Any]]]
) -> None:
    async def act(writer: Writer) -> None:
        writer.waiting.extend(snapshot(number) for number in range(MOST_WAITING))
        with locked(database.path):
            await attempt("store", writer.store(snapshot(MOST_WAITING)))
        await writer.store_waiting()

    with_writer(database, act)

    assert len(stored(database)) == MOST_WAITING
    assert stored(database)[0] == 1
    assert [one["collected_at"] for one in told() if one["event"] == "row_dropped"] == ["2026-11-21T19:00:00.000Z"]


def test_a_row_that_no_table_can_hold_keeps_no_other_row_from_being_stored(database: Database) -> None:
    async def act(writer: Writer) -> bool:
        await attempt("store", writer.store(replace(snapshot(0), requests_served=2**70)))
        works = writer.works
        await writer.store(snapshot(1))
        return works

    worked = with_writer(database, act)

    assert not worked
    assert stored(database) == [1]


def test_a_row_that_no_table_can_hold_goes_and_those_that_waited_with_it_are_stored(
    database: Database, told: Callable[[], list[dict[str, Any]]]
) -> None:
    async def act(writer: Writer) -> tuple[bool, int]:
        with locked(database.path):
            for one in (snapshot(1), replace(snapshot(2), requests_served=2**70), snapshot(3)):
                await attempt("store", writer.store(one))
        await attempt("store waiting rows", writer.store_waiting())
        return writer.works, len(writer.waiting)

    assert with_writer(database, act) == (False, 0)

    assert stored(database) == [1, 3]
    assert [one["collected_at"] for one in told() if one["event"] == "row_refused"] == ["2026-11-21T19:02:00.000Z"]
    assert [one["job"] for one in told() if one["event"] == "job_failed"] == ["store waiting rows"]


def test_a_rule_that_fails_costs_the_alert_and_not_the_row(
    database: Database, told: Callable[[], list[dict[str, Any]]]
) -> None:
    watched = watch.of_config(Config(database.path))
    with database.write() as connection:
        connection.execute("ALTER TABLE alerts RENAME TO whoever_did_this")

    async def main() -> tuple[bool, int]:
        writer = Writer(database, watched)
        with locked(database.path):
            await attempt("store", writer.store(snapshot(1)))
        await writer.store(snapshot(2))
        writer.close()
        return writer.works, writer.stored

    assert scan.run(main()) == (True, 2)

    assert stored(database) == [1, 2]
    failed = [one for one in told() if one["event"] == "alerts_failed"]
    assert len(failed) == 2
    assert "no such table" in failed[0]["exception"]


def test_rows_that_were_stored_one_by_one_are_not_stored_again(database: Database) -> None:
    with database.write() as connection:
        connection.execute(
            """
            CREATE TRIGGER full AFTER INSERT ON revenue_snapshots WHEN NEW.requests_served = 3
            BEGIN SELECT RAISE(ABORT, 'not this one'); END
            """
        )

    async def act(writer: Writer) -> None:
        writer.waiting.extend(map(snapshot, (1, 2, 3, 4)))
        for _ in range(2):
            await attempt("store waiting rows", writer.store_waiting())

    with_writer(database, act)

    assert stored(database) == [1, 2, 4]


def test_work_that_was_begun_is_finished_though_its_caller_is_cancelled(database: Database) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slow(connection: Connection) -> None:
        begun.set()
        go_on.wait(10)
        meta.put(connection, "finished", "yes")

    async def act(writer: Writer) -> str | None:
        caller = asyncio.ensure_future(writer.write(slow))
        await asyncio.to_thread(begun.wait)
        caller.cancel()
        await asyncio.wait([caller])
        assert caller.cancelled()
        go_on.set()
        return await writer.read(partial(meta.get, key="finished"))

    assert with_writer(database, act) == "yes"
