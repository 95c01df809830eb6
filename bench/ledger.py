"""The ledger: calls recorded one by one and by the thousand, beside other ways to store a row, and what they weigh."""

import statistics
import time
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path

import orchestrator
from bench import peers, typical
from bench.peers import Rows, Store
from bench.peers_node import better_sqlite3
from bench.timing import Row, median_ms, ratio
from orchestrator.store.database import Database

SINGLE_ROUNDS, SINGLE = 40, 50
BULK_ROUNDS, BULK, TOGETHER = 7, 20_000, 2_000

PROBE, APSW, STDLIB = (
    "raw `pwrite 4 KiB + fdatasync`",
    "apsw, bare insert",
    "sqlite3 of the standard library, bare insert",
)
ORM, NODE, OWN = "SQLAlchemy ORM", "better-sqlite3, bare insert", "apsw, bare insert into our table with its triggers"


def measure(folder: Path, now: datetime) -> list[Row]:
    """Return the rows of the ledger."""
    return [*_single(folder, now), *_bulk(folder, now), *_size(folder, now)]


def _single(folder: Path, now: datetime) -> list[Row]:
    """Measure calls that are durable one by one, in blocks of each contender in turn."""
    ours = "`record_call`"
    database = Database(folder / "single.db")
    contenders = {ours: _record_call(database, now), PROBE: peers.probe(folder / "probe")} | _peers(folder, "single")
    node = better_sqlite3(folder / "single-node.db")
    if not isinstance(node, str):
        contenders[NODE] = node
    told = typical.rows((SINGLE_ROUNDS + 1) * SINGLE, now)
    blocks: dict[str, list[list[float]]] = {name: [] for name in contenders}
    for _ in range(SINGLE_ROUNDS + 1):
        block: list[Rows] = [[row] for row in islice(told, SINGLE)]
        for name, store in contenders.items():
            blocks[name].append(store(block))
    database.close()
    medians = {name: [statistics.median(one) for one in several[1:]] for name, several in blocks.items()}
    sums = {name: [sum(one) for one in several[1:]] for name, several in blocks.items()}

    def rate(name: str) -> str:
        return f"{SINGLE / statistics.median(sums[name]):,.0f} rows/s"

    def beside(name: str) -> str:
        return f"{ratio(sums, name, ours):.2f} × {name} ({rate(name)})" if name in sums else str(node)

    p50 = f"{ratio(medians, ours, PROBE):.2f} × {PROBE} ({median_ms(medians[PROBE])})"
    goals = {NODE: "≥ 0.85 ×", ORM: "≥ 2 ×", STDLIB: "", APSW: "", OWN: ""}
    return [
        Row("durable `record_call`, rollups included: p50", median_ms(medians[ours]), p50, "≤ 1.1 ×"),
        *(Row("durable `record_call`: rate", rate(ours), beside(name), goal) for name, goal in goals.items()),
    ]


def _bulk(folder: Path, now: datetime) -> list[Row]:
    """Measure calls that come by the thousand, in as many transactions for all."""
    ours, contenders, database = "`record_calls`", _peers(folder, "bulk"), Database(folder / "bulk.db")
    seconds: dict[str, list[float]] = {name: [] for name in (ours, *contenders)}
    for n in range(BULK_ROUNDS + 1):
        start = now - timedelta(days=n + 1)
        given, rows = list(typical.calls(BULK, start, start + timedelta(hours=23))), list(typical.rows(BULK, start))
        transactions: list[Rows] = [rows[i : i + TOGETHER] for i in range(0, BULK, TOGETHER)]
        began = time.perf_counter()
        recorded = orchestrator.record_calls(given, db=database, now=now)
        seconds[ours].append(time.perf_counter() - began)
        if {one.outcome for one in recorded} != {"stored"}:
            raise AssertionError(recorded)
        for name, store in contenders.items():
            seconds[name].append(sum(store(transactions)))
    database.close()
    seconds = {name: several[1:] for name, several in seconds.items()}

    def rate(name: str) -> str:
        return f"{BULK / statistics.median(seconds[name]):,.0f} rows/s"

    goals = {APSW: "≥ 0.2 ×", ORM: "≥ 3 ×", STDLIB: "", OWN: ""}
    return [
        Row(
            f"`record_calls`, {TOGETHER:,} in a transaction, rollups included", rate(ours),
            f"{ratio(seconds, name, ours):.2f} × {name} ({rate(name)})", goal,
        )
        for name, goal in goals.items()
    ]  # fmt: skip


def _size(folder: Path, now: datetime) -> list[Row]:
    """Measure how much the file grows by the typical calls of ten days."""
    count, database = 100_000, Database(folder / "size.db")
    given = list(typical.calls(count, now - timedelta(days=10), now, endpoints=False))
    before = _bytes(database)
    orchestrator.record_calls(given, db=database, now=now)
    grown = _bytes(database) - before
    database.close()
    return [Row("the file, for a typical call with indices and rollups", f"{grown / count:.0f} B", "", "≤ 260 B")]


def _record_call(database: Database, now: datetime) -> Store:
    given = typical.calls((SINGLE_ROUNDS + 1) * SINGLE, now, now + timedelta(hours=1))

    def store(_rows: Rows) -> None:
        one = orchestrator.record_call(**next(given), db=database)
        if one.outcome != "stored":
            raise AssertionError(one)

    return peers.timed(store)


def _peers(folder: Path, name: str) -> dict[str, Store]:
    return {
        APSW: peers.bare_apsw(folder / f"{name}-apsw.db"),
        OWN: peers.own_table(folder / f"{name}-own.db"),
        STDLIB: peers.stdlib_sqlite3(folder / f"{name}-sqlite3.db"),
        ORM: peers.sqlalchemy_orm(folder / f"{name}-orm.db"),
    }


def _bytes(database: Database) -> int:
    """Return how large the file is, with the log copied into it."""
    with database.write():
        pass
    database.checkpoint()
    return database.path.stat().st_size
