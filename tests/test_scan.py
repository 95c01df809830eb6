"""The parts of a scan: asking, the job boundary, the end."""

import asyncio
import io
import json
import logging
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from processes import rows
from writers import with_writer

from orchestrator import log, scan
from orchestrator.collectors.fetch import Client
from orchestrator.config import Config
from orchestrator.config.sections import Revenue
from orchestrator.errors import LeaseHeld
from orchestrator.ledger.snapshots import Snapshot
from orchestrator.scan import attempt
from orchestrator.store.database import Database
from orchestrator.writer import Writer

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


def test_without_a_configured_source_nobody_is_asked(database: Database) -> None:
    off = Config(database.path, revenue=Revenue(enabled=False, xmr_wallet="4" + "A" * 94))

    assert scan.asked_sources(off) == {}
