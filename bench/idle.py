"""The idle daemon: memory and processor time of `run` while its sources answer and nothing else happens."""

import http.server
import json
import os
import signal
import subprocess
import sys
import threading
import time
from datetime import datetime
from pathlib import Path

from bench.timing import Row

SECONDS = int(os.environ.get("BENCH_IDLE_SECONDS", "600"))
WALLET = "4" + "A" * 94
ANSWERS = {
    "/miner/": {"hash": 13842, "lastHash": 1795227520, "amtPaid": 1234567890123, "amtDue": 45678901234},
    "/simple/price": {"monero": {"usd": 356.42}},
    "/health": {"status": "ok", "requests_served": 1234, "total_tokens_generated": 567890},
}


class _Sources(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = json.dumps(next(answer for path, answer in ANSWERS.items() if path in self.path)).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        pass


def measure(folder: Path, now: datetime) -> list[Row]:
    """Return the rows for a daemon with default intervals, after its first collection."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Sources)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    config = folder / "config.toml"
    config.write_text(
        f'[orchestrator]\ndatabase = "idle.db"\n[revenue]\nxmr_wallet = "{WALLET}"\n'
        f'pool_url = "{url}"\nprice_url = "{url}"\nmlx_url = "{url}"\n'
    )
    daemon = subprocess.Popen(
        [sys.executable, "-m", "orchestrator", "--config", str(config), "run"], cwd=folder, stderr=subprocess.DEVNULL
    )
    wait = threading.Event().wait
    wait(15)
    before, start = _cpu_seconds(daemon.pid), time.monotonic()
    wait(SECONDS)
    used, took = _cpu_seconds(daemon.pid) - before, time.monotonic() - start
    resident = _resident_mb(daemon.pid)
    daemon.send_signal(signal.SIGTERM)
    code = daemon.wait(10)
    server.shutdown()
    server.server_close()
    if code != 0:
        raise AssertionError(code)
    return [
        Row(f"idle daemon, {took / 60:.0f} min: resident memory", f"{resident:.1f} MB", "", "≤ 45 MB"),
        Row(f"idle daemon, {took / 60:.0f} min: processor", f"{100 * used / took:.3f} %", "of one core", "≤ 0.1 %"),
    ]


def _cpu_seconds(pid: int) -> float:
    values = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(values[11]) + int(values[12])) / os.sysconf("SC_CLK_TCK")


def _resident_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1024
