"""A process that forks while one of its threads imports on first use: the child must not wait for that thread, which it does not have."""

import subprocess
import sys
from pathlib import Path

import pytest

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


@pytest.mark.parametrize("module", ["orchestrator.api", "genai_prices"])
def test_a_child_that_is_forked_during_a_first_import_records(tmp_path: Path, module: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SCRIPT, str(tmp_path / "a.db"), module],
        cwd=tmp_path, env={"HOME": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
