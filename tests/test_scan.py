"""The parts of a scan: the writer's thread, the job boundary, what may be pruned."""

import asyncio
import io
import json
import logging
import threading
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest
from processes import locked, rows

from orchestrator import log, scan
from orchestrator.alerts import watch
from orchestrator.collectors.fetch import Client
from orchestrator.config import Config
from orchestrator.config.sections import Revenue
from orchestrator.errors import FileLocked, LeaseHeld
from orchestrator.growth import READINGS_THAT_CONVINCE
from orchestrator.ledger.setup import Setup
from orchestrator.ledger.snapshots import Snapshot
from orchestrator.scan import Writer, attempt
from orchestrator.store import meta
from orchestrator.store.database import Connection, Database

T = TypeVar("T")
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


def with_writer(database: Database, act: Callable[[Writer], Awaitable[T]]) -> T:
    async def main() -> T:
        writer = Writer(database)
        try:
            return await act(writer)
        finally:
            writer.close()

    return scan.run(main())


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
        writer.waiting.extend(snapshot(number) for number in range(scan.MOST_WAITING))
        with locked(database.path):
            await attempt("store", writer.store(snapshot(scan.MOST_WAITING)))
        await writer.store_waiting()

    with_writer(database, act)

    assert len(stored(database)) == scan.MOST_WAITING
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


def test_a_job_that_fails_is_logged_with_its_traceback_and_nothing_is_raised(
    told: Callable[[], list[dict[str, Any]]],
) -> None:
    async def job() -> int:
        return 1 // 0

    assert scan.run(attempt("divide", job())) is None

    (line,) = told()
    assert (line["event"], line["job"], line["level"]) == ("job_failed", "divide", "error")
    assert "ZeroDivisionError" in line["exception"]


@pytest.mark.parametrize("error", [LeaseHeld(Path("x.db"), "a daemon"), KeyboardInterrupt()])
def test_what_has_to_end_the_process_passes_the_job_boundary(error: BaseException) -> None:
    async def job() -> None:
        raise error

    with pytest.raises(type(error)):
        scan.run(attempt("job", job()))


def test_a_collector_with_a_mistake_in_it_leaves_a_row_and_the_others_alone(
    database: Database, told: Callable[[], list[dict[str, Any]]]
) -> None:
    async def mistaken(client: Client, *, now: datetime) -> Snapshot:
        raise KeyError("hash")

    async def sound(client: Client, *, now: datetime) -> Snapshot:
        return Snapshot("mlx-api", now, requests_served=5)

    async def act(writer: Writer) -> list[Snapshot]:
        async with Client() as client:
            return await scan.scan({"xmr-mining": mistaken, "mlx-api": sound}, client, writer, now=NOW)

    with_writer(database, act)

    assert rows(database.path, "SELECT source, requests_served, error FROM revenue_snapshots ORDER BY source") == [
        ("mlx-api", 5, None),
        ("xmr-mining", None, "internal error, the log has it"),
    ]
    assert [one["job"] for one in told() if one["event"] == "job_failed"] == ["collect xmr-mining"]


def test_the_end_does_not_wait_for_a_thread_that_cannot_be_stopped() -> None:
    go_on = threading.Event()

    async def main() -> str:
        # As a look-up does that no name server answers.
        never = asyncio.get_running_loop().run_in_executor(None, go_on.wait, 60)
        return "waiting" if not never.done() else "done"

    assert scan.run(main()) == "waiting"
    go_on.set()


def test_tasks_that_are_left_are_cancelled() -> None:
    left = []

    async def main() -> None:
        left.append(asyncio.ensure_future(asyncio.Event().wait()))

    scan.run(main())

    assert left[0].cancelled()


@pytest.mark.parametrize(
    ("good", "values"),
    [
        (True, {"source": "xmr-mining", "balance_atomic": 0, "paid_atomic": 0}),
        (False, {"source": "xmr-mining", "balance_atomic": 0}),
        (False, {"source": "xmr-mining", "xmr_price_usd": 300.0}),
        (True, {"source": "mlx-api", "requests_served": 0}),
        (False, {"source": "mlx-api", "tokens_generated": 7, "error": "requests_served missing"}),
    ],
)
def test_a_row_is_good_where_the_file_says_so_too(database: Database, good: bool, values: dict[str, Any]) -> None:
    one = Snapshot(collected_at=NOW, **values)

    with_writer(database, lambda writer: writer.store(one))

    assert scan.is_good(one) is good
    assert rows(database.path, "SELECT good FROM revenue_snapshots") == [(int(good),)]


def prunable(database: Database, days: int, now: datetime = NOW) -> datetime | None:
    with database.read() as connection:
        return scan.snapshots_prunable_before(connection, days, Setup(), now)


def fill(database: Database, source: str, first_day: int, last_day: int) -> None:
    """Store a good reading every six hours of some days of November."""
    with database.write() as connection:
        for day in range(first_day, last_day + 1):
            for hour in (0, 6, 12, 18):
                connection.execute(
                    """
                    INSERT INTO revenue_snapshots (source, collected_at, balance_atomic, paid_atomic, requests_served)
                    VALUES (?, ?, 1, 1, 1)
                    """,
                    (source, f"2026-11-{day:02}T{hour:02}:00:00.000Z"),
                )


def close_days(database: Database, now: datetime = NOW) -> None:
    with_writer(database, lambda writer: scan.close_days(writer, Setup(), now=now))


def november(day: int) -> datetime:
    return datetime(2026, 11, day, tzinfo=UTC)


def test_what_is_kept_for_ever_is_not_pruned(database: Database) -> None:
    fill(database, "mlx-api", 1, 21)
    close_days(database)

    assert prunable(database, 0) is None


def test_whole_days_go_when_they_are_closed(database: Database) -> None:
    fill(database, "mlx-api", 1, 21)
    close_days(database)

    assert prunable(database, 7) == november(14)


def test_a_day_that_is_not_closed_stays_however_short_the_retention(database: Database) -> None:
    fill(database, "mlx-api", 1, 20)
    close_days(database, november(21) + timedelta(hours=1))

    assert prunable(database, 1, november(21) + timedelta(hours=1)) == november(20)
    assert prunable(database, 1, november(23) - timedelta(seconds=1)) == november(20)


def test_a_source_that_is_asked_no_more_does_not_keep_the_others_rows(database: Database) -> None:
    fill(database, "xmr-mining", 1, 3)
    fill(database, "mlx-api", 1, 21)
    close_days(database)

    assert prunable(database, 7) == november(14)


def test_before_any_day_was_closed_nothing_goes(database: Database) -> None:
    fill(database, "mlx-api", 1, 21)

    assert prunable(database, 7) == november(1)


def test_a_clock_that_has_leapt_costs_no_reading_of_the_last_day_and_marks_no_day_to_come(database: Database) -> None:
    fill(database, "mlx-api", 1, 21)
    ahead = NOW + timedelta(days=400)
    with_writer(database, lambda writer: writer.store(Snapshot("mlx-api", ahead, requests_served=2)))
    close_days(database, ahead)

    assert prunable(database, 7, ahead) == november(22)
    assert prunable(database, 7, NOW + timedelta(days=3000)) is None


def test_a_reading_from_a_wrong_future_does_not_keep_what_is_old(database: Database) -> None:
    fill(database, "xmr-mining", 1, 3)
    with_writer(database, lambda writer: writer.store(Snapshot("xmr-mining", NOW + timedelta(days=400))))
    fill(database, "mlx-api", 1, 21)
    close_days(database)

    assert prunable(database, 7) == november(14)


def test_pruning_is_done_again_only_a_day_later(database: Database) -> None:
    fill(database, "mlx-api", 1, 21)
    close_days(database)
    config = Config(database.path, revenue=Revenue(retention_days=7))

    def prune(now: datetime) -> int | None:
        rows = with_writer(database, lambda writer: scan.prune_when_due(writer, config, Setup(), now=now))
        return None if rows is None else rows["snapshots"]

    assert prune(NOW) == 13 * 4 - READINGS_THAT_CONVINCE
    assert prune(NOW + timedelta(hours=23, minutes=59)) is None
    assert prune(NOW + timedelta(hours=24)) == 4
    # The clock was wrong, and is right again.
    assert prune(NOW - timedelta(days=1)) == 0


def test_without_a_configured_source_nobody_is_asked(database: Database) -> None:
    off = Config(database.path, revenue=Revenue(enabled=False, xmr_wallet="4" + "A" * 94))

    assert scan.asked_sources(off) == {}
