"""Real processes of `python -m orchestrator`, away from this machine's own configuration, and the servers that they ask."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import apsw
from loopback import Loopback, reply
from samples import payload

REPOSITORY = Path(__file__).resolve().parents[1]
WALLET = "4" + "A" * 94
PRICE = {"monero": {"usd": 312.5}}


def environment(tmp_path: Path, server: Loopback | None = None, /, **settings: object) -> dict[str, str]:
    """Return an environment in which nothing but `settings` (ORCHESTRATOR_REVENUE__MLX_URL=…) is configured.

    With a server, it is pool, price service and MLX server at once.
    """
    environ = {
        # Coverage follows child processes by its own variables.
        **{name: value for name, value in os.environ.items() if name == "PATH" or name.startswith("COVERAGE_")},
        "HOME": str(tmp_path),
        "PYTHONPATH": str(REPOSITORY),
        "ORCHESTRATOR_DB": str(tmp_path / "orchestrator.db"),
    }
    if server is not None:
        environ |= {
            "ORCHESTRATOR_REVENUE__XMR_WALLET": WALLET,
            "ORCHESTRATOR_REVENUE__POOL_URL": f"{server.url}/pool",
            "ORCHESTRATOR_REVENUE__PRICE_URL": f"{server.url}/price",
            "ORCHESTRATOR_REVENUE__MLX_URL": server.url,
        }
    return environ | {name: str(value) for name, value in settings.items()}


FAST = {"ORCHESTRATOR_ORCHESTRATOR__SCAN_INTERVAL_SECONDS": "1", "ORCHESTRATOR_REVENUE__COLLECTION_INTERVAL_SCANS": "1"}


@contextmanager
def services() -> Iterator[Loopback]:
    """Give a server that answers as pool, price service and MLX server do."""
    with Loopback() as server:
        server.put(f"/pool/miner/{WALLET}/stats", payload("supportxmr-miner-stats.json"))
        server.put("/price/simple/price", reply(PRICE))
        server.put("/health", payload("mlx-health.json"))
        yield server


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "orchestrator", *words]


def finished(*words: str, environ: Mapping[str, str], cwd: Path) -> subprocess.CompletedProcess[str]:
    """Return what a command did, which may take half a minute."""
    return subprocess.run(
        command(*words), env=environ, cwd=cwd, capture_output=True, text=True, timeout=30, check=False
    )


@contextmanager
def daemon(environ: Mapping[str, str], cwd: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    """Give a daemon that was just started, and kill it in the end if it still runs."""
    process = subprocess.Popen(
        command(*options, "run"), env=environ, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def ended(process: subprocess.Popen[str], number: signal.Signals) -> tuple[int, float, str]:
    """Send a signal and return the exit code, the seconds it took, and what stands in the log."""
    began = time.monotonic()
    process.send_signal(number)
    _, log = process.communicate(timeout=20)
    return process.returncode, time.monotonic() - began, log


def until(true: Callable[[], object], seconds: float = 15) -> None:
    """Wait for something that is about to be true."""
    late = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < late, "it did not come true"
        time.sleep(0.01)


def rows(path: Path, query: str) -> list[tuple[object, ...]]:
    """Return what a query finds in a file; nothing while there is no file, or no such table in it yet."""
    if not path.exists():
        return []
    connection = apsw.Connection(str(path))
    connection.set_busy_timeout(5000)
    try:
        return list(connection.execute(query))
    except apsw.SQLError:
        return []
    finally:
        connection.close()


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the file's write lock."""
    connection = apsw.Connection(str(path))
    connection.set_busy_timeout(5000)
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield
    finally:
        connection.close()
