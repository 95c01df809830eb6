"""`format_for_context()` in a process that asks again and again, at 90 days and at 10 years of snapshots."""

import statistics
import time
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import orchestrator
from bench import history
from bench.timing import Row, in_turn, median_ms, ratio
from orchestrator.ledger import snapshots
from orchestrator.ledger.snapshots import XMR_MINING, Snapshot
from orchestrator.store.database import Database

CALLS = 1000
SPANS = {"90 days": 90, "10 years": 3650}


def measure(folder: Path, now: datetime) -> list[Row]:
    """Return the rows for a file that stays as it is between two calls, and for one that has a new row each time."""
    files = {name: history.make(folder / f"{days}.db", days, now) for name, days in SPANS.items()}
    again = in_turn({name: partial(_ask, file, now) for name, file in files.items()}, CALLS)
    changed: dict[str, list[float]] = {name: [] for name in files}
    spent: dict[str, list[float]] = {name: [] for name in files}
    for n in range(50):
        for name, file in files.items():
            at = now + timedelta(seconds=n)
            with file.write() as connection:
                snapshots.insert(connection, Snapshot(XMR_MINING, at, 10**11, 0, 1.0, 160.0))
            start = time.perf_counter()
            _ask(file, at)
            changed[name].append(time.perf_counter() - start)
            orchestrator.record_call(service="bench", model="bench", cost_usd=0, now=at, db=file)
            start = time.perf_counter()
            _ask(file, at)
            spent[name].append(time.perf_counter() - start)
    for file in files.values():
        file.close()
    beside = f"{ratio(again, '10 years', '90 days'):.2f} × the same at 90 days ({median_ms(again['90 days'])})"
    grown = statistics.median(changed["10 years"]) / statistics.median(changed["90 days"])
    return [
        Row("`format_for_context()`, 10 years of 5-minute snapshots", median_ms(again["10 years"]), beside, "≤ 1 ms, ≤ 1.3 ×"),
        Row(
            "the first call after a new snapshot", median_ms(changed["10 years"]),
            f"{grown:.2f} × the same at 90 days ({median_ms(changed['90 days'])})", "",
        ),
        Row("the first call after a recorded AI call", median_ms(spent["10 years"]), "", ""),
    ]  # fmt: skip


def _ask(file: Database, now: datetime) -> None:
    text = orchestrator.format_for_context(db=file, now=now)
    if "Week so far" not in text:
        raise AssertionError(text)
