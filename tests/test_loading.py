"""A process that forks while one of its threads imports on first use: the child must not wait for that thread, which it does not have."""

import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.store.database import Database

# What the thread does first, and the module in the middle of which the process forks.
SCRIPT = """
import os, signal, sys, threading, time
import orchestrator
call = dict(service="openai", model="gpt-4o", input_tokens=10, db=sys.argv[1])
if sys.argv[2] != "orchestrator.api":
    orchestrator.record_call(**call | dict(cost_usd=1))
thread = threading.Thread(target=lambda: orchestrator.record_call(**call))
thread.start()
while sys.argv[2] not in sys.modules:
    time.sleep(0.0001)
child = os.fork()
if child == 0:
    signal.alarm(20)
    os._exit({"stored": 0, "spooled": 0}.get(orchestrator.record_call(**call).outcome, 9))
thread.join()
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""

# Here the import takes so long that the process forks in the middle of it for sure.
ASKS = """
import os, signal, sys, threading, time
import orchestrator
path, name, module = sys.argv[1:]
ask = lambda: getattr(orchestrator, name)(db=path)
begun = threading.Event()
class Slow:
    def find_spec(self, wanted, path=None, target=None):
        if wanted == module:
            begun.set()
            time.sleep(0.3)
sys.meta_path.insert(0, Slow())
thread = threading.Thread(target=ask)
thread.start()
assert begun.wait(20), "nobody imports that"
child = os.fork()
if child == 0:
    signal.alarm(20)
    ask()
    os._exit(0)
thread.join()
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.parametrize("module", ["orchestrator.api", "genai_prices"])
def test_a_child_that_is_forked_during_a_first_import_records(tmp_path: Path, module: str) -> None:
    done = _run(SCRIPT, tmp_path, str(tmp_path / "a.db"), module)

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("name", "module", "is_there"),
    [
        ("get_cost_stats", "orchestrator.reports.spending", True),
        ("get_alert_history", "orchestrator.ledger.alerts", True),
        ("get_pnl", "orchestrator.config", True),
        ("get_latest", "orchestrator.config", True),
        ("get_latest", "orchestrator.config", False),
        ("format_for_context", "orchestrator.config", True),
        ("format_for_context", "orchestrator.config", False),
    ],
)
def test_a_child_that_is_forked_during_a_first_import_asks(
    tmp_path: Path, name: str, module: str, *, is_there: bool
) -> None:
    if is_there:
        with Database(tmp_path / "a.db").write():
            pass

    done = _run(ASKS, tmp_path, str(tmp_path / "a.db"), name, module)

    assert done.returncode == 0, done.stderr


def _run(script: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, *arguments],
        cwd=folder, env={"HOME": str(folder), "PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
