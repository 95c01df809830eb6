"""Run the measurements named on the command line, or all, and write their table to docs/benchmarks.md when all were run."""

import os
import platform
import sys
import tempfile
import time
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path

from bench.timing import Row

ALL = ("light", "context", "ledger", "million", "idle")
PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"


def main(names: list[str]) -> None:
    """Measure, printing each table as it is done."""
    # As installed: compiled once, not at each start.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    # A Wednesday afternoon: half a week and more than half a day of raw snapshots to read.
    now = datetime(2026, 11, 18, 14, 0, tzinfo=UTC)
    tables: dict[str, list[Row]] = {}
    for name in names or ALL:
        start = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            tables[name] = import_module(f"bench.{name}").measure(Path(folder), now)
        print(f"## {name} ({time.monotonic() - start:.0f} s)\n\n{_table(tables[name])}\n", flush=True)
    if not names:
        rows = [row for table in tables.values() for row in table]
        PAGE.write_text(f"{_heading()}\n{_table(rows)}\n")
        print(f"written to {PAGE.relative_to(Path.cwd())}")


def _heading() -> str:
    cores, memory = os.cpu_count(), os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        "# Benchmarks\n\n"
        f"`make bench` on {datetime.now(UTC):%Y-%m-%d}: {platform.system()} {platform.machine()}, {cores} cores, {memory:.0f} GiB, "
        f"Python {platform.python_version()}. Shared machines are noisy: what counts are the ratios, each the median over rounds in "
        "which all contenders ran in turn. Goals are those of the design.\n"
    )


def _table(rows: list[Row]) -> str:
    lines = ["| what | figure | beside | goal |", "|---|---|---|---|"]
    return "\n".join(lines + [f"| {row.what} | {row.figure} | {row.beside} | {row.goal} |" for row in rows])


if __name__ == "__main__":
    main(sys.argv[1:])
