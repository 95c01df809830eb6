"""Recording and SIGKILL: whatever a process was told is stored or spooled is there afterwards, once."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from orchestrator.ledger import rollups
from orchestrator.periods import zone
from orchestrator.recording import drain, lines_aside, spool
from orchestrator.store import upkeep
from orchestrator.store.database import Database

ROOT = Path(__file__).parents[1]
KILLS = 50

# Four processes record without a pause, alone and in small batches, and tell what became of each call before they make the next.
# A fifth locks the file now and then, so that they spool and drain. One of the four after the other is killed at some moment.
CONDUCTOR = """
import json, os, random, select, signal, sys, time
import apsw
import orchestrator

path, kills = sys.argv[1], int(sys.argv[2])
orchestrator.record_call(service="anthropic", model="claude-3-5-haiku", input_tokens=1, output_tokens=1, call_id="first", db=path)

def said(call_id):
    return dict(service="anthropic", model="claude-3-5-haiku", input_tokens=450, output_tokens=180, call_id=call_id, user_id="u")

def work(who, pipe):
    n = 0
    while True:
        if n % 7 == 6:
            done = orchestrator.record_calls([said(f"{who}-{n}-{k}") for k in range(5)], db=path)
        else:
            done = [orchestrator.record_call(**said(f"{who}-{n}"), db=path)]
        os.write(pipe, "".join(f"{one.id} {one.outcome}\\n" for one in done).encode())
        n += 1

def lock():
    connection = apsw.Connection(path)
    connection.set_busy_timeout(10_000)
    while True:
        connection.execute("BEGIN IMMEDIATE")
        time.sleep(random.choice([0.01, 0.8]))
        connection.execute("COMMIT")
        time.sleep(random.uniform(0, 0.2))

def start(job, *arguments):
    child = os.fork()
    if child == 0:
        try:
            job(*arguments)
        finally:
            os._exit(1)
    return child

heard = b""
ours, theirs = os.pipe()
living = {}
for who in range(4):
    living[start(work, f"w{who}", theirs)] = who
locker = start(lock)
random.seed()
for killed in range(kills):
    until = time.monotonic() + random.uniform(0.01, 0.3)
    while (left := until - time.monotonic()) > 0:
        if select.select([ours], [], [], left)[0]:
            heard += os.read(ours, 1 << 16)
    child = random.choice(list(living))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    del living[child]
    living[start(work, f"w{4 + killed}", theirs)] = 4 + killed
for child in (*living, locker):
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
os.close(theirs)
while more := os.read(ours, 1 << 16):
    heard += more
lines = [line.split() for line in heard.decode().splitlines()]
print(json.dumps(lines))
"""


@pytest.mark.slow
def test_fifty_kills_lose_nothing_that_was_called_stored_or_spooled(tmp_path: Path) -> None:
    database = Database(tmp_path / "orchestrator.db")

    done = subprocess.run(
        [sys.executable, "-c", CONDUCTOR, str(database.path), str(KILLS)],
        cwd=tmp_path, env={"HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}, capture_output=True, timeout=300, check=True,
    )  # fmt: skip

    told = [(call_id, outcome) for call_id, outcome in json.loads(done.stdout)]
    outcomes = Counter(outcome for _, outcome in told)
    assert set(outcomes) == {"stored", "spooled"}
    assert min(outcomes.values()) >= 10, outcomes
    drain(database)
    with database.read() as connection:
        found = [str(one) for (one,) in connection.execute("SELECT call_id FROM ai_calls")]
        summed = connection.execute("SELECT sum(calls), sum(cost_nano), sum(input_tokens) FROM daily_totals").get
        raw = connection.execute("SELECT count(*), sum(cost_nano), sum(input_tokens) FROM ai_calls").get
        assert rollups.verify(connection, zone("UTC")) == []
    assert len(found) == len(set(found))
    assert {call_id for call_id, _ in told} <= set(found)
    # Nobody waited to be told of more than the five that one of the killed was about to say.
    assert len(found) - len(told) <= 1 + (KILLS + 4) * 5
    assert summed == raw
    assert upkeep.integrity_check(database) == []
    # A line that was cut short was never called spooled.
    assert lines_aside(database) <= KILLS + 4
    assert not spool.is_waiting(database.path)
    database.close()
