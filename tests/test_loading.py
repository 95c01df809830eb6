"""A process that forks while another thread imports, records or opens a file: the child must not wait for that thread, which it has not."""

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

# A thread is kept in the middle of its work until the process has forked, or waits to; then the child does that work too.
FORKS = """
import os, signal, sys, threading, time
begun = threading.Event()
def fork_inside(work):
    thread = threading.Thread(target=work)
    thread.start()
    assert begun.wait(20), "nobody comes by there"
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        work()
        os._exit(0)
    thread.join()
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""

# In the middle of an import.
ASKS = (
    FORKS
    + """
import orchestrator
path, name, module = sys.argv[1:]
class Slow:
    def find_spec(self, wanted, path=None, target=None):
        if wanted == module:
            begun.set()
            time.sleep(0.3)
sys.meta_path.insert(0, Slow())
fork_inside(lambda: getattr(orchestrator, name)(db=path))
"""
)

# In the middle of reading the rules, for the first record of a file without a zone.
ZONE = (
    FORKS
    + """
import orchestrator
from orchestrator.recording.rules import Rules
def record():
    recorded = orchestrator.record_revenue(source="x", amount_usd=1, db=sys.argv[1])
    assert recorded.outcome == "stored", recorded
read = Rules._now_read
def slowly(self):
    begun.set()
    time.sleep(0.3)
    return read(self)
Rules._now_read = slowly
fork_inside(record)
"""
)

# A thread that never stops making files of its own; it ends with the process.
MAKER = """
import os, sys, threading
from pathlib import Path
from orchestrator.store.database import Database
path = Path(sys.argv[1])
def make():
    while True:
        with Database(path).read():
            pass
threading.Thread(target=make, daemon=True).start()
for _ in range(20):
    child = os.fork()
    if child == 0:
        with Database(path).write():
            os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
os._exit(0)
"""

FAULTY = """
import os, threading
from orchestrator import loading
seen = []
loading.at_fork(before=lambda: seen.append("before"), after_in_child=lambda: seen.append("child"))
loading.at_fork(before=lambda: 1 / 0, after_in_parent=lambda: 1 / 0, after_in_child=lambda: 1 / 0)
loading.at_fork(after_in_parent=lambda: seen.append("parent"), after_in_child=lambda: seen.append("child too"))
child = os.fork()
taken = []
thread = threading.Thread(target=lambda: taken.append(loading.loading().acquire(timeout=5)))
thread.start()
thread.join()
assert taken == [True], "the lock of imports was not given back"
assert seen == (["before", "parent"] if child else ["before", "child", "child too"]), seen
if child:
    assert os.waitpid(child, 0)[1] == 0
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


def test_a_child_that_is_forked_during_the_first_record_of_a_file_records_too(tmp_path: Path) -> None:
    done = _run(ZONE, tmp_path, str(tmp_path / "a.db"))

    assert done.returncode == 0, done.stderr


def test_a_process_forks_while_others_open_one_file_after_the_other(tmp_path: Path) -> None:
    with Database(tmp_path / "a.db").write():
        pass

    done = _run(MAKER, tmp_path, str(tmp_path / "a.db"))

    assert done.returncode == 0, done.stderr


def test_who_fails_around_a_fork_keeps_nobody_else_from_their_part(tmp_path: Path) -> None:
    done = _run(FAULTY, tmp_path)

    assert done.returncode == 0, done.stderr
    assert "ZeroDivisionError" in done.stderr


def _run(script: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, *arguments],
        cwd=folder, env={"HOME": str(folder), "PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
