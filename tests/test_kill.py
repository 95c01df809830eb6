"""SIGKILL at random moments: nothing that was committed is lost, and the next daemon goes on at once."""

import random
import signal
import subprocess
from functools import partial
from pathlib import Path

import apsw
import pytest
from processes import FAST, daemon, environment, rows, services, until

KILLS = 20
EVERY_ROW = (
    "SELECT id, source, collected_at, balance_atomic, paid_atomic, requests_served, raw_json FROM revenue_snapshots"
)


@pytest.mark.slow
def test_twenty_kills_lose_no_committed_row_and_leave_a_sound_file(tmp_path: Path) -> None:
    path = tmp_path / "orchestrator.db"
    chance = random.Random(20)
    committed: set[tuple[object, ...]] = set()

    with services() as server:
        environ = environment(tmp_path, server, **FAST)
        for kill in range(KILLS):
            with daemon(environ, tmp_path) as process:
                if kill % 2:
                    # Around the moment at which the first rows are written and the days closed.
                    until(partial(_has_more_than, path, len(committed)))
                    wait = chance.uniform(0, 0.05)
                else:
                    wait = chance.uniform(0.1, 1.5)
                with pytest.raises(subprocess.TimeoutExpired):
                    process.wait(wait)
                committed |= set(rows(path, EVERY_ROW))
                process.send_signal(signal.SIGKILL)
                assert process.wait() == -signal.SIGKILL

            found = rows(path, EVERY_ROW)
            assert committed <= set(found)
            assert len({row[1:3] for row in found}) == len(found)
            assert not path.exists() or _check(path) == "ok"
            committed |= set(found)

    assert len(committed) >= KILLS


def _has_more_than(path: Path, count: int) -> bool:
    return len(rows(path, EVERY_ROW)) > count


def _check(path: Path) -> object:
    connection = apsw.Connection(str(path))
    try:
        return connection.pragma("integrity_check")
    finally:
        connection.close()
