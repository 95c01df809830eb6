"""One daemon a file, and what became of the last one."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from orchestrator.errors import FileMissing, LeaseHeld
from orchestrator.periods import text_from_instant
from orchestrator.store import lease, meta
from orchestrator.store.database import Database

ROOT = Path(__file__).parent.parent
NOW = datetime(2026, 11, 21, 7, 31, tzinfo=UTC)
HOLD = """
import sys
from datetime import UTC, datetime
from orchestrator.errors import LeaseHeld
from orchestrator.store import lease
from orchestrator.store.database import Database
try:
    lease.acquire(Database(sys.argv[1]), now=datetime.now(UTC))
except LeaseHeld as error:
    print(error, flush=True)
else:
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "orchestrator.db")
    yield database
    database.close()


def start(path: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", HOLD, path], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def left_by(database: Database, process: lease.Process, renewed_at: datetime) -> None:
    """Leave the lease of another daemon in the file."""
    times = {"since": text_from_instant(renewed_at), "renewed_at": text_from_instant(renewed_at)}
    with database.write() as connection:
        meta.put(connection, lease.DAEMON_LEASE, json.dumps({**asdict(process), **times}))


def test_a_lease_is_taken_kept_and_given_back(database: Database) -> None:
    taken = lease.acquire(database, now=NOW)
    assert lease.owner(database, now=NOW) == taken
    assert taken.process.pid == os.getpid()

    renewed = lease.renew(database, now=NOW + timedelta(minutes=1))
    assert (renewed.since, renewed.renewed_at) == (NOW, NOW + timedelta(minutes=1))

    lease.release(database)
    assert lease.owner(database, now=NOW) is None


def test_a_file_that_is_missing_has_no_owner_to_tell(database: Database) -> None:
    with pytest.raises(FileMissing):
        lease.owner(database, now=NOW)


def test_a_second_daemon_is_told_who_has_the_file(database: Database) -> None:
    with start(database.path) as first:
        assert said(first) == "held"
        with start(database.path) as second:
            refused = said(second)
        with pytest.raises(LeaseHeld):
            lease.acquire(database, now=datetime.now(UTC))
        with pytest.raises(LeaseHeld):
            lease.renew(database, now=datetime.now(UTC))
        lease.release(database)
        holder = lease.owner(database, now=datetime.now(UTC))
        first.communicate("\n", timeout=60)

    assert f"pid {first.pid} on {os.uname().nodename}, since 20" in refused
    assert str(database.path) in refused
    assert holder is not None
    assert holder.process.pid == first.pid


def test_only_one_of_many_daemons_gets_the_lease(database: Database) -> None:
    processes = [start(database.path) for _ in range(6)]
    answers = [said(process) for process in processes]
    for process in processes:
        process.communicate("\n", timeout=60)

    assert answers.count("held") == 1


def test_a_killed_daemons_lease_is_taken_over_at_once_also_before_anyone_waited_for_it(database: Database) -> None:
    with start(database.path) as first:
        assert said(first) == "held"
        first.send_signal(signal.SIGKILL)
        os.waitid(os.P_PID, first.pid, os.WEXITED | os.WNOWAIT)  # dead, but still in the list of processes

        assert lease.owner(database, now=datetime.now(UTC)) is None
        assert lease.acquire(database, now=datetime.now(UTC)).process.pid == os.getpid()


def test_a_stopped_daemon_keeps_its_lease_however_long(database: Database) -> None:
    with start(database.path) as first:
        assert said(first) == "held"
        first.send_signal(signal.SIGSTOP)
        with pytest.raises(LeaseHeld):
            lease.acquire(database, now=datetime.now(UTC) + timedelta(days=30))
        first.send_signal(signal.SIGCONT)
        first.communicate("\n", timeout=60)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="this system does not tell when a process started")
def test_a_later_process_with_the_pid_is_not_the_owner(database: Database) -> None:
    left_by(database, replace(lease.this_process(), pid=os.getppid(), started="1"), NOW)

    assert lease.owner(database, now=NOW) is None
    lease.acquire(database, now=NOW)


def test_a_lease_from_before_the_last_boot_is_nobodys(database: Database) -> None:
    left_by(database, replace(lease.this_process(), boot="before", namespace="pid:[1]"), NOW)

    lease.acquire(database, now=NOW)


@pytest.mark.parametrize("elsewhere", [{"machine": "another", "boot": "other"}, {"namespace": "pid:[1]"}])
def test_another_machine_or_container_owns_the_file_until_it_was_silent_for_long(
    database: Database, elsewhere: dict[str, str]
) -> None:
    left_by(database, replace(lease.this_process(), host="there", **elsewhere), NOW)  # type: ignore[arg-type]

    with pytest.raises(LeaseHeld, match="on there"):
        lease.acquire(database, now=NOW + lease.SILENCE - timedelta(seconds=1))
    assert lease.acquire(database, now=NOW + lease.SILENCE).process == lease.this_process()


def test_a_daemon_whose_lease_was_taken_learns_it_when_it_renews(database: Database) -> None:
    lease.acquire(database, now=NOW)
    left_by(database, replace(lease.this_process(), machine="another"), NOW)

    with pytest.raises(LeaseHeld):
        lease.renew(database, now=NOW + timedelta(days=1))


@pytest.mark.parametrize("value", ["", "x", "[]", "{}", "null", '{"pid": "1"}', "[" * 100_000])
def test_a_lease_that_cannot_be_read_is_nobodys(database: Database, value: str) -> None:
    with database.write() as connection:
        meta.put(connection, lease.DAEMON_LEASE, value)

    assert lease.owner(database, now=NOW) is None
    lease.acquire(database, now=NOW)


def test_a_pid_that_cannot_be_is_dead(database: Database) -> None:
    left_by(database, replace(lease.this_process(), pid=2**40), NOW)

    lease.acquire(database, now=NOW)
