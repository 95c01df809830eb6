"""How things are timed: in turn, so that a machine whose speed drifts slows all of them alike, and quoted as medians and ratios."""

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Row:
    """One line of the table: what was measured, its figure, what it stands beside, and the goal that DESIGN sets."""

    what: str
    figure: str
    beside: str
    goal: str


def in_turn(contenders: Mapping[str, Callable[[], object]], rounds: int, warm: int = 2) -> dict[str, list[float]]:
    """Return the seconds of each contender in each round; in a round each runs once."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for n in range(-warm, rounds):
        for name, run in contenders.items():
            start = time.perf_counter()
            run()
            took = time.perf_counter() - start
            if n >= 0:
                seconds[name].append(took)
    return seconds


def ratio(seconds: Mapping[str, Sequence[float]], a: str, b: str) -> float:
    """Return the median over the rounds of a's time against b's in the same round."""
    return statistics.median(x / y for x, y in zip(seconds[a], seconds[b], strict=True))


def median_ms(values: Sequence[float]) -> str:
    """Return the median as text in milliseconds."""
    return f"{1000 * statistics.median(values):.3g} ms"


def process(*argv: str, cwd: Path | None = None, environ: Mapping[str, str] | None = None) -> Callable[[], object]:
    """Return what runs a command to its end, its output thrown away."""

    def run() -> object:
        return subprocess.run(argv, cwd=cwd, env=environ, check=True, stdout=subprocess.DEVNULL)

    return run


def peak_memory_mb(argv: Sequence[str], cwd: Path) -> float:
    """Return the largest resident memory of one run of a command, in MB, as the kernel accounts it."""
    # Through a bare interpreter: the kernel counts the memory of the process that starts a command as the command's own.
    script = (
        "import os, sys\n"
        "pid = os.posix_spawnp(sys.argv[1], sys.argv[1:], os.environ, file_actions=[(os.POSIX_SPAWN_OPEN, 1, os.devnull, 1, 0)])\n"
        "_, status, usage = os.wait4(pid, 0)\n"
        "print(status, usage.ru_maxrss)"
    )
    bare = [sys.executable, "-I", "-S", "-c", script, *argv]
    done = subprocess.run(bare, cwd=cwd, check=True, capture_output=True, text=True)
    status, kilobytes = map(int, done.stdout.split())
    if status != 0:
        sys.exit(f"{argv} failed")
    return kilobytes / 1024
