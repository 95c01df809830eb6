"""The spool: what a file does not take for now is kept beside it, once, and what can be kept nowhere leaves a mark."""

import json
import logging
import os
import stat
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from time import monotonic
from typing import Any

import apsw
import pytest
from hypothesis import given
from hypothesis import strategies as st

import orchestrator
from orchestrator.errors import FileCorrupt, FileLocked, FileUnreachable
from orchestrator.ledger.calls import Call
from orchestrator.ledger.entries import OperatingCost, Revenue
from orchestrator.periods import instant_from_millis
from orchestrator.recording import Drained, drain, lines_aside, lost_marks, spool, waiting
from orchestrator.recording.lines import Record, from_line, to_line
from orchestrator.recording.lost import LARGEST_MARK, mark_lost
from orchestrator.store.database import Database

NOW = datetime(2026, 11, 18, 12, 0, tzinfo=UTC)
ROOT = Path(__file__).parents[1]
CALL: Mapping[str, Any] = {"service": "anthropic", "model": "m", "input_tokens": 450, "cost_usd": "0.25"}

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    """A file with one call in it, in a folder of its own."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    (tmp_path / "data").mkdir()
    monkeypatch.chdir(tmp_path)
    database = Database(tmp_path / "data" / "orchestrator.db")
    assert record(database, "first") == "stored"
    yield database
    database.close()
    orchestrator.close()


def record(database: Database, call_id: str, **said: Any) -> str:
    return orchestrator.record_call(**{**CALL, **said}, call_id=call_id, now=NOW, db=database).outcome


def ids(database: Database) -> list[str]:
    with database.read() as connection:
        return [str(one) for (one,) in connection.execute("SELECT call_id FROM ai_calls ORDER BY call_id")]


def spool_of(database: Database) -> Path:
    return spool.spool_of(database.path)


@contextmanager
def locked(database: Database) -> Iterator[None]:
    """Hold the file's write lock, as another process does."""
    connection = apsw.Connection(str(database.path))
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield
    finally:
        connection.close()


LOCKER = """
import apsw, sys
connection = apsw.Connection(sys.argv[1])
connection.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
sys.stdin.readline()
"""


def test_while_another_process_holds_the_file_a_record_is_spooled_soon_and_stored_later_once(
    database: Database,
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", LOCKER, str(database.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        began = monotonic()
        recorded = orchestrator.record_call(**CALL, call_id="a", now=NOW, db=database)
        took = monotonic() - began
        twice = record(database, "a")
        process.communicate("\n")

    after = record(database, "b")

    assert (recorded.outcome, recorded.cost_usd, twice, after) == ("spooled", Decimal("0.25"), "spooled", "stored")
    assert "locked" in str(recorded.problem)
    assert 0.2 < took < 0.8
    assert ids(database) == ["a", "b", "first"]
    assert not spool_of(database).exists()


def test_a_lock_that_is_soon_gone_is_waited_for(database: Database) -> None:
    with ThreadPoolExecutor(1) as thread:
        with locked(database):
            waiting = thread.submit(record, database, "a")
            with pytest.raises(TimeoutError):
                waiting.result(timeout=0.1)

        assert waiting.result() == "stored"


def test_with_strict_a_locked_file_raises_and_nothing_is_spooled(database: Database) -> None:
    with locked(database), pytest.raises(FileLocked):
        orchestrator.record_call(**CALL, strict=True, now=NOW, db=database)

    assert not spool_of(database).exists()


def test_thousands_of_calls_wait_once_for_a_locked_file_and_are_drained_behind_the_next_record(
    database: Database,
) -> None:
    with locked(database):
        began = monotonic()
        results = orchestrator.record_calls([CALL] * 6000, now=NOW, db=database)
        took = monotonic() - began

    assert {one.outcome for one in results} == {"spooled"}
    assert took < 3
    while spool_of(database).exists():
        assert record(database, f"next {monotonic()}") == "stored"
    assert set(ids(database)) >= {one.id for one in results}


def test_costs_and_revenue_wait_in_the_spool_like_calls(database: Database) -> None:
    with locked(database):
        spent = orchestrator.record_cost(
            category="hosting", amount_usd=31, period_start="2026-10-01", period_end="2026-11-01", quantity=2, unit="vm",
            now=NOW, db=database,
        )  # fmt: skip
        earned = orchestrator.record_revenue(
            source="bounty", currency="EUR", original_amount="7.50", amount_usd=8, now=NOW, db=database
        )

    drained = drain(database)

    assert (spent.outcome, earned.outcome) == ("spooled", "spooled")
    assert drained == Drained(stored=2)
    with database.read() as connection:
        assert connection.execute("SELECT count(*), sum(amount_nano) FROM daily_operating_costs").get == (
            31,
            31 * 10**9,
        )
        assert connection.execute("SELECT original_amount, day FROM revenue").get == ("7.50", "2026-11-18")


def test_draining_what_is_stored_already_changes_nothing(database: Database) -> None:
    with locked(database):
        record(database, "a")
        record(database, "a")
    kept = spool_of(database).read_bytes()
    drain(database)

    spool_of(database).write_bytes(kept)
    again = drain(database)

    assert again == Drained(duplicates=2)
    assert ids(database) == ["a", "first"]


def test_without_a_spool_there_is_nothing_to_drain_and_no_file_is_made(tmp_path: Path) -> None:
    assert drain(Database(tmp_path / "x.db")) == Drained()
    assert list(tmp_path.iterdir()) == []


def test_a_drain_that_finds_the_file_locked_says_so_and_leaves_the_spool(database: Database) -> None:
    with locked(database):
        record(database, "a")
        kept = spool_of(database).read_bytes()
        with pytest.raises(FileLocked):
            drain(database)

    assert spool_of(database).read_bytes() == kept


def test_a_line_that_is_no_record_is_kept_aside_and_named_and_the_others_are_stored(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    with locked(database):
        record(database, "a")
        with spool_of(database).open("ab") as file:
            file.write(
                b'nonsense\n\n{"kind":"call"}\n[]\n{"kind":"call","call_id":"c","called_at":"2026-11-18T12:00:00.000Z",'
            )
            file.write(b'"colour":"red"}\n{"kind":"cost","entry_id":"x","category":"ai_inference","amount_nano":5,')
            file.write(
                b'"period_start":"2026-11-18T12:00:00.000Z"}\n{"kind":"call","call_id":"torn","called_at":"2026-11-'
            )
        record(database, "b")

    drained = drain(database)

    assert drained == Drained(stored=2, put_aside=6)
    assert ids(database) == ["a", "b", "first"]
    assert len(spool.aside_of(database.path).read_bytes().splitlines()) == lines_aside(database) == 6
    assert b"torn" in spool.aside_of(database.path).read_bytes()
    said = [one.getMessage() for one in caplog.records if one.levelno == logging.ERROR]
    assert len(said) == 6
    assert all(spool_of(database).name in one and spool.aside_of(database.path).name in one for one in said)


def test_a_torn_last_line_is_kept_aside(database: Database) -> None:
    with locked(database):
        record(database, "a")
    with spool_of(database).open("ab") as file:
        file.write(b'{"kind":"call","call_id":"torn"')

    assert drain(database) == Drained(stored=1, put_aside=1)
    assert not spool_of(database).exists()


def test_a_long_spool_is_stored_in_many_steps(database: Database) -> None:
    long = "x" * 400
    with locked(database):
        orchestrator.record_calls(
            [{**CALL, "call_id": f"{n:05}", "error": long} for n in range(3000)], now=NOW, db=database
        )
    size = spool_of(database).stat().st_size
    assert waiting(database) == 3000
    assert size > 10 * spool.STEP_BYTES

    first = drain(database, seconds=0)
    left = spool_of(database).stat().st_size
    rest = drain(database)

    assert 0 < first.stored < 1000
    assert 0 < left < size
    assert first.stored + rest.stored == 3000
    assert waiting(database) == 0
    assert len(ids(database)) == 3001


def test_a_line_longer_than_a_step_is_stored(database: Database) -> None:
    with locked(database):
        orchestrator.record_calls([{**CALL, "metadata": {"a": "é" * 4000}}] * 3, now=NOW, db=database)

    taken: list[int] = []
    while spool.take(spool_of(database), lambda lines: taken.append(len(lines)), most_bytes=10):
        pass

    assert taken == [1, 1, 1]


HAMMER = """
import sys, random, os
from datetime import UTC, datetime
from pathlib import Path
from orchestrator import recording
from orchestrator.errors import FileLocked
from orchestrator.ledger.calls import Call
from orchestrator.recording import spool
from orchestrator.recording.lines import to_line
from orchestrator.store.database import Database
path, who, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
database = Database(path)
for n in range(count):
    line = to_line(Call(f"{who}-{n}", datetime(2026, 11, 18, tzinfo=UTC)))
    spool.append(spool.spool_of(path), [line])
    if random.random() < 0.1:
        try:
            recording.drain(database)
        except FileLocked:
            pass
print("done")
"""


def test_many_processes_append_and_drain_at_once_and_every_line_is_stored_once(database: Database) -> None:
    workers = [
        subprocess.Popen([sys.executable, "-c", HAMMER, database.path, who, "150"], cwd=ROOT, stdout=subprocess.PIPE)
        for who in "abcd"
    ]
    assert [worker.communicate(timeout=60)[0] for worker in workers] == [b"done\n"] * 4

    drain(database)

    assert Counter(ids(database)) == Counter(["first", *(f"{who}-{n}" for who in "abcd" for n in range(150))])
    assert lines_aside(database) == 0
    assert not spool_of(database).exists()


def test_threads_append_and_fork_and_drain_at_once(database: Database) -> None:
    stop = threading.Event()
    appended: list[str] = []

    def append() -> None:
        while not stop.is_set():
            call_id = f"t{len(appended)}"
            spool.append(spool_of(database), [to_line(Call(call_id, NOW))])
            appended.append(call_id)

    thread = threading.Thread(target=append)
    thread.start()
    try:
        for n in range(10):
            child = os.fork()
            if child == 0:
                spool.append(spool_of(database), [to_line(Call(f"child{n}", NOW))])
                os._exit(0)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
            drain(database, seconds=0.1)
    finally:
        stop.set()
        thread.join()
    drain(database)

    assert set(ids(database)) == {"first", *appended, *(f"child{n}" for n in range(10))}


@pytest.mark.parametrize(("folder", "expected"), [(0o700, 0o600), (0o2770, 0o660), (0o770, 0o600)])
@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_the_spool_has_the_mode_of_the_file(database: Database, folder: int, expected: int, umask: int) -> None:
    database.path.parent.chmod(folder)
    before = os.umask(umask)
    try:
        with locked(database):
            record(database, "a")
    finally:
        os.umask(before)

    assert stat.S_IMODE(spool_of(database).stat().st_mode) == expected


# Why a file takes nothing


def test_a_damaged_file_is_not_touched_and_its_records_are_spooled(database: Database) -> None:
    database.close()
    content = bytearray(database.path.read_bytes())
    content[4096 * 2 :] = b"\xff" * (len(content) - 4096 * 2)
    database.path.write_bytes(content)

    outcomes = {record(database, "a"), record(database, "b")}

    assert outcomes == {"spooled"}
    assert database.path.read_bytes() == content
    with pytest.raises(FileCorrupt):
        drain(database)
    assert len(spool_of(database).read_bytes().splitlines()) == 2


def test_a_file_of_another_kind_is_not_touched_and_its_records_are_spooled(tmp_path: Path) -> None:
    (tmp_path / "orchestrator.db").write_bytes(b"a letter, not a database" * 400)
    database = Database(tmp_path / "orchestrator.db")

    assert record(database, "a") == "spooled"
    assert database.path.read_bytes() == b"a letter, not a database" * 400


def test_records_are_stored_when_a_sound_file_takes_the_place_of_a_damaged_one(database: Database) -> None:
    database.close()
    sound = database.path.read_bytes()
    database.path.write_bytes(b"x" * 8192)
    assert record(database, "a") == "spooled"

    database.path.unlink()
    database.path.write_bytes(sound)

    assert record(database, "b") == "stored"
    assert ids(database) == ["a", "b", "first"]


LIMITED = """
import json, resource, sys
import orchestrator
path, limit = sys.argv[1], int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
said = dict(service="a", model="m", cost_usd=1, metadata={"a": "x" * 4000}, db=path)
print(json.dumps([orchestrator.record_call(**said, call_id=f"c{n}").outcome for n in range(150)]))
"""


def run_limited(database: Database, limit: int) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(database.path), str(limit)], check=True, capture_output=True, timeout=60,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    outcomes: list[str] = json.loads(done.stdout)
    return outcomes


def test_where_no_file_may_grow_any_more_what_fits_is_stored_then_spooled_and_the_rest_is_noted(
    database: Database,
) -> None:
    database.close()
    outcomes = run_limited(database, database.path.stat().st_size + 100_000)

    counted = Counter(outcomes)
    assert set(counted) == {"stored", "spooled", "lost"}
    drain(database)
    assert set(ids(database)) == {"first", *(f"c{n}" for n in range(150) if outcomes[n] != "lost")}
    marks = lost_marks(database)
    assert marks[0].path.parent == database.path.parent
    assert sum(mark.records for mark in marks) == counted["lost"]
    assert all("disk is full" in mark.reason for mark in marks)


@contextmanager
def small_disk(path: Path) -> Iterator[None]:
    path.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(path)], check=False, capture_output=True
    )
    if mounted.returncode != 0:
        pytest.skip("this user may not mount a disk")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


@needs_root
def test_on_a_full_disk_nothing_that_was_kept_is_lost_and_what_was_lost_is_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "disk" / "state"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "disk"))
    with small_disk(tmp_path / "disk"):
        (tmp_path / "disk" / "ballast").write_bytes(b"x" * 200_000)
        database = Database(tmp_path / "disk" / "orchestrator.db")
        outcomes = [record(database, f"c{n}", metadata={"a": "x" * 8000}) for n in range(150)]

        kept = spool_of(database).read_bytes().splitlines() if spool_of(database).exists() else []
        found = [*ids(database), *(json.loads(line)["call_id"] for line in kept)]
        assert "lost" in outcomes
        assert sorted(found) == sorted(f"c{n}" for n, one in enumerate(outcomes) if one != "lost")
        assert len(lost_marks(database)) == 1
        (tmp_path / "disk" / "ballast").unlink()
        assert record(database, "with room again") == "stored"
        database.close()


AS_ANOTHER = """
import os, sys
import orchestrator
from orchestrator import recording
from orchestrator.store.database import Database
path, state = sys.argv[1:]
orchestrator.record_call(service="a", model="m", cost_usd=1, db=os.path.join(state, "warm.db"))   # loads what the other may not read
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
os.environ["XDG_STATE_HOME"] = state
recorded = orchestrator.record_call(service="a", model="m", cost_usd=1, call_id="other", db=path)
print(recorded.outcome, [str(mark.path) for mark in recording.lost_marks(Database(path))])
"""


@pytest.fixture
def common() -> Iterator[Path]:
    """A folder that other users can reach, which pytest's own is not."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        for path in (Path(name), Path(name) / "data", Path(name) / "state"):
            path.mkdir(exist_ok=True)
            path.chmod(0o777)
        yield Path(name)


def as_another(common: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", AS_ANOTHER, str(common / "data" / "x.db"), str(common / "state")],
        capture_output=True, check=True, timeout=60, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}, cwd=common,
    )  # fmt: skip
    return done.stdout.strip()


@needs_root
def test_a_read_only_file_in_a_folder_that_may_be_written_has_a_spool(common: Path) -> None:
    database = Database(common / "data" / "x.db")
    record(database, "first")
    database.close()
    database.path.chmod(0o444)

    assert as_another(common) == "spooled []"

    assert drain(database) == Drained(stored=1)
    database.close()


AGAIN = """
import os, sys
import orchestrator
path, state = sys.argv[1:]
def record(db):
    return orchestrator.record_call(service="a", model="m", cost_usd=1, db=db).outcome
record(os.path.join(state, "warm.db"))   # loads what the other may not read
orchestrator.format_for_context(db=os.path.join(state, "warm.db"))
if os.getuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
print(record(path))
orchestrator.close()
os.chmod(path, 0o400)
if (child := os.fork()) == 0:
    orchestrator.format_for_context(db=path)   # leaves a log and an index that are as read-only as the file
    os._exit(0)
os.waitpid(child, 0)
orchestrator.format_for_context(db=path)
print(record(path))
orchestrator.format_for_context(db=path)
os.chmod(path, 0o600)
print(record(path), record(path))
"""


def test_a_file_that_may_be_written_again_takes_what_waits(common: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", AGAIN, str(common / "data" / "x.db"), str(common / "state")],
        capture_output=True, check=True, timeout=60, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}, cwd=common,
    )  # fmt: skip

    assert done.stdout.split() in (
        ["stored", "spooled", "spooled", "stored"],
        ["stored", "spooled", "stored", "stored"],
    )
    assert [path.name for path in (common / "data").iterdir() if "spool" in path.name] == []


DOCTOR = """
import os, sys
from datetime import UTC, datetime
from pathlib import Path
from orchestrator import app, doctor
path, state = sys.argv[1:]
project = lambda path: app.load(None, path, {"HOME": state}, Path(state))
list(doctor.findings(project(os.path.join(state, "warm.db")), datetime.now(UTC)))   # loads what the other may not read
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
print(*(one.text for one in doctor.findings(project(path), datetime.now(UTC)) if one.subject == "mode"), sep="\\n")
"""


@needs_root
def test_the_doctor_names_an_index_that_only_another_user_may_write(common: Path) -> None:
    database = Database(common / "data" / "x.db")
    record(database, "first")
    index = Path(f"{database.path}-shm")
    for path in (database.path, Path(f"{database.path}-wal")):
        os.chown(path, 65534, 65534)
    index.chmod(0o444)

    done = subprocess.run(
        [sys.executable, "-c", DOCTOR, str(database.path), str(common / "state")],
        capture_output=True, check=True, timeout=60, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}, cwd=common,
    )  # fmt: skip

    assert done.stdout.splitlines() == ["0600", f"{index} may not be written by this user: its owner gives it 0600"]
    database.close()


@needs_root
def test_in_a_folder_that_may_not_be_written_a_record_is_lost_and_noted_elsewhere(common: Path) -> None:
    database = Database(common / "data" / "x.db")
    record(database, "first")
    database.close()
    database.path.parent.chmod(0o555)

    said = as_another(common)

    assert said.startswith(f"lost ['{common}/state/orchestrator/lost-")
    (mark,) = (common / "state" / "orchestrator").iterdir()
    assert json.loads(mark.read_text())["record"]["call_id"] == "other"
    assert stat.S_IMODE(mark.stat().st_mode) == 0o600


def test_without_its_folder_a_record_is_lost_and_the_folder_is_not_made(
    database: Database, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    nowhere = Database(tmp_path / "no such folder" / "orchestrator.db")

    recorded = orchestrator.record_call(**CALL, call_id="a", now=NOW, db=nowhere)

    assert recorded.outcome == "lost"
    assert [one.levelno for one in caplog.records] == [logging.ERROR]
    assert not nowhere.path.parent.exists()
    (mark,) = lost_marks(nowhere)
    assert (mark.records, mark.last_at, mark.path.parent) == (1, NOW, tmp_path / "state" / "orchestrator")
    assert lost_marks(database) == []
    with pytest.raises(FileUnreachable):
        orchestrator.record_call(**CALL, strict=True, now=NOW, db=nowhere)


def test_what_was_lost_can_be_put_into_the_spool_by_hand(database: Database, tmp_path: Path) -> None:
    nowhere = Database(tmp_path / "no such folder" / "orchestrator.db")
    orchestrator.record_call(**CALL, call_id="a", now=NOW, db=nowhere)
    (mark,) = lost_marks(nowhere)

    with spool_of(database).open("w") as file:
        file.writelines(json.dumps(json.loads(line)["record"]) + "\n" for line in mark.path.read_text().splitlines())

    assert drain(database) == Drained(stored=1)
    assert ids(database) == ["a", "first"]


def test_a_link_in_the_place_of_the_spool_is_not_followed(database: Database, tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("")
    spool_of(database).symlink_to(tmp_path / "victim")

    with locked(database):
        outcome = record(database, "a")

    assert outcome == "lost"
    assert (tmp_path / "victim").read_text() == ""


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo])
def test_something_else_in_the_place_of_the_spool_keeps_nobody_waiting(database: Database, make: Any) -> None:
    make(spool_of(database))
    began = monotonic()

    with locked(database):
        outcome = record(database, "a")

    assert outcome == "lost"
    assert monotonic() - began < 1
    assert record(database, "b") == "stored"
    assert drain(database) == Drained()


def test_a_mark_does_not_grow_without_end(database: Database) -> None:
    line = to_line(Call("x" * 200, NOW, metadata=json.dumps({"a": "x" * 8000})))

    for _ in range(40):
        mark_lost(database.path, [line] * 50, "why", NOW)

    marks = lost_marks(database)
    assert len(marks) == 3
    assert all(mark.path.stat().st_size <= LARGEST_MARK for mark in marks)
    assert {(mark.reason, mark.last_at) for mark in marks} == {("why", NOW)}


def test_an_empty_mark_says_when(database: Database) -> None:
    path = database.path.with_name("orchestrator.db-lost.jsonl")
    path.touch()

    (mark,) = lost_marks(database)

    assert (mark.path, mark.records, mark.reason) == (path, 0, "")
    assert abs((mark.last_at - datetime.now(UTC)).total_seconds()) < 60


# Lines

TEXTS = st.none() | st.text(max_size=20)
TIMES = st.integers(0, 250_000_000_000_000).map(instant_from_millis)
COUNTS = st.none() | st.integers(0, 10**12)
AMOUNTS = st.none() | st.decimals(min_value=0, max_value=10**15, allow_nan=False, allow_infinity=False)
NANO = st.none() | st.integers(-(10**17), 10**17)
CALLS: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {"call_id": st.text(min_size=1), "called_at": TIMES},
    optional={
        "service": TEXTS, "metadata": TEXTS, "input_tokens": COUNTS, "quantity": AMOUNTS, "cost_nano": COUNTS,
        "cost_source": st.sampled_from(["priced", "given"]), "tokens_estimated": st.booleans(), "succeeded": st.booleans(),
    },
)  # fmt: skip
RECORDS: st.SearchStrategy[Record] = st.one_of(
    CALLS.map(lambda said: Call(**said)),
    st.builds(OperatingCost, st.text(min_size=1), st.text(min_size=1), NANO, TIMES, st.none() | TIMES, quantity=AMOUNTS),
    st.builds(Revenue, st.text(min_size=1), st.text(min_size=1), TIMES, NANO, original_amount=AMOUNTS, note=TEXTS),
)  # fmt: skip


@given(RECORDS)
def test_a_record_is_the_same_after_it_was_a_line(record: Record) -> None:
    line = to_line(record)

    assert from_line(line.rstrip()) == record
    assert line.count(b"\n") == 1
    assert line.isascii()


@given(st.binary() | st.dictionaries(st.sampled_from(["kind", "call_id", "called_at", "cost_nano"]), st.none() | st.integers() | st.sampled_from(
    ["call", "cost", "2026-11-18T12:00:00Z"]) | st.lists(st.none())).map(lambda one: json.dumps(one).encode()))  # fmt: skip
def test_whatever_a_line_holds_it_is_a_record_or_a_reason(line: bytes) -> None:
    assert isinstance(from_line(line), str | Call | OperatingCost | Revenue)
