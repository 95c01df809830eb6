"""The file as readers, writers, threads, forks and other processes see it."""

import hashlib
import os
import resource
import signal
import sqlite3
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic

import apsw
import pytest

from orchestrator import errors
from orchestrator.store import meta
from orchestrator.store.database import Connection, Database, protect
from orchestrator.store.migrate import APPLICATION_ID, NEWEST

ROOT = Path(__file__).parent.parent
NOBODY = 65534

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "orchestrator.db"


@pytest.fixture
def database(path: Path) -> Iterator[Database]:
    database = Database(path)
    yield database
    database.close()


def put(database: Database, key: str, value: str = "1") -> None:
    with database.write() as connection:
        meta.put(connection, key, value)


def keys(database: Database) -> set[str]:
    with database.read() as connection:
        return {
            str(key)
            for (key,) in connection.execute(
                "SELECT key FROM meta WHERE key NOT IN ('host_id', 'snapshot_changes', 'call_changes')"
            )
        }


def start(code: str, *arguments: object) -> subprocess.Popen[str]:
    words = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(words, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def run(code: str, *arguments: object) -> str:
    with start(code, *arguments) as process:
        said, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    return said.strip()


def fingerprint(folder: Path) -> dict[str, tuple[str, int, int]]:
    """What must not change where a file is refused: names, contents, times and modes."""
    return {
        file.name: (
            hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else "",
            file.stat().st_mtime_ns,
            file.stat().st_mode,
        )
        for file in folder.iterdir()
    }


# First use


def test_making_a_database_touches_no_disk(tmp_path: Path) -> None:
    Database(tmp_path / "missing" / "orchestrator.db")

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("folder", [".", "missing"])
def test_a_reader_never_makes_a_file(tmp_path: Path, folder: str) -> None:
    database = Database(tmp_path / folder / "orchestrator.db")

    with pytest.raises(errors.FileMissing, match="there is no database yet"):
        keys(database)
    with pytest.raises(errors.FileMissing):
        database.version()
    assert list(tmp_path.iterdir()) == []


def test_a_reader_takes_an_empty_file_for_a_missing_one(path: Path, database: Database) -> None:
    path.touch()

    with pytest.raises(errors.FileMissing):
        keys(database)
    assert path.stat().st_size == 0


@pytest.mark.parametrize("journal", ["DELETE", "WAL"])
def test_a_database_without_tables_is_missing_to_a_reader_and_filled_by_a_writer(
    path: Path, database: Database, journal: str
) -> None:
    empty = apsw.Connection(str(path))
    empty.pragma("journal_mode", journal)
    empty.execute("CREATE TABLE gone (x); DROP TABLE gone;").fetchall()
    empty.close()
    before = fingerprint(path.parent)

    with pytest.raises(errors.FileMissing):
        keys(database)
    assert fingerprint(path.parent) == before

    put(database, "a")
    assert keys(database) == {"a"}


def test_a_writer_makes_the_file_by_the_recipe(path: Path, database: Database) -> None:
    put(database, "a")

    with database.write() as connection:
        settings = {
            name: connection.pragma(name)
            for name in (
                "application_id", "user_version", "journal_mode", "auto_vacuum", "synchronous", "foreign_keys",
                "recursive_triggers", "trusted_schema", "journal_size_limit", "wal_autocheckpoint",
            )
        }  # fmt: skip
        switches = {
            option: connection.config(option, -1)
            for option in (
                apsw.SQLITE_DBCONFIG_DQS_DDL,
                apsw.SQLITE_DBCONFIG_DQS_DML,
                apsw.SQLITE_DBCONFIG_DEFENSIVE,
                apsw.SQLITE_DBCONFIG_ENABLE_QPSG,
            )
        }
        assert connection.transaction_mode == "IMMEDIATE"
    assert settings == {
        "application_id": APPLICATION_ID,
        "user_version": NEWEST,
        "journal_mode": "wal",
        "auto_vacuum": 2,
        "synchronous": 2,
        "foreign_keys": 1,
        "recursive_triggers": 1,
        "trusted_schema": 0,
        "journal_size_limit": 8 * 1024 * 1024,
        "wal_autocheckpoint": 2000,
    }
    assert list(switches.values()) == [0, 0, 1, 1]


def test_a_writer_makes_no_folder_and_says_which_is_missing(tmp_path: Path) -> None:
    with pytest.raises(errors.FileUnreachable, match="make the folder"):
        put(Database(tmp_path / "missing" / "orchestrator.db"), "a")
    assert list(tmp_path.iterdir()) == []


def test_the_path_may_hold_what_means_something_in_a_uri(tmp_path: Path) -> None:
    database = Database(tmp_path / "100% a?b#c.db")
    put(database, "a")
    other = Database(database.path)

    assert keys(other) == {"a"}
    assert [file.name.removeprefix("100% a?b#c.db") for file in sorted(tmp_path.iterdir())] == ["", "-shm", "-wal"]
    database.close()
    other.close()


# Transactions


def test_a_read_is_one_snapshot_whatever_is_written_meanwhile(database: Database) -> None:
    put(database, "a")

    with database.read() as connection:
        before = connection.execute(
            "SELECT count(key) FROM meta WHERE key NOT IN ('host_id', 'snapshot_changes', 'call_changes')"
        ).get
        put(database, "b")
        after = connection.execute(
            "SELECT count(key) FROM meta WHERE key NOT IN ('host_id', 'snapshot_changes', 'call_changes')"
        ).get
        inner = keys(database)

    assert (before, after, inner) == (1, 1, {"a"})
    assert keys(database) == {"a", "b"}


def test_a_reader_cannot_write(database: Database) -> None:
    put(database, "a")

    with pytest.raises(errors.FileReadOnly), database.read() as connection:
        meta.put(connection, "b", "1")
    assert keys(database) == {"a"}


def test_a_write_that_raises_leaves_nothing(database: Database) -> None:
    put(database, "a")

    with pytest.raises(ZeroDivisionError), database.write() as connection:
        connection.execute("INSERT INTO meta (key, value) VALUES ('b', :value)", {"value": "1"}).fetchall()[1 // 0]
    assert keys(database) == {"a"}


def test_errors_about_a_statement_stay_what_they_are(database: Database) -> None:
    with pytest.raises(apsw.ConstraintError), database.write() as connection:
        connection.execute("INSERT INTO meta (key, value) VALUES ('a', NULL)")
    with pytest.raises(apsw.SQLError), database.write() as connection:
        connection.execute("SELECT nonsense")
    put(database, "a")
    assert keys(database) == {"a"}


def test_a_write_inside_a_write_is_refused_and_the_outer_one_goes_on(database: Database) -> None:
    with database.write() as connection:
        meta.put(connection, "outer", "1")
        with pytest.raises(RuntimeError, match="pass the connection on"):
            put(database, "inner")
    assert keys(database) == {"outer"}


def test_a_database_opens_again_after_close(database: Database) -> None:
    put(database, "a")
    database.close()
    database.close()
    put(database, "b")
    assert keys(database) == {"a", "b"}


def test_closing_leaves_one_file(path: Path, database: Database) -> None:
    put(database, "a")
    keys(database)
    database.close()
    assert list(path.parent.iterdir()) == [path]


def test_a_checkpoint_empties_the_log(path: Path, database: Database) -> None:
    put(database, "a")
    assert database.checkpoint()
    assert Path(f"{path}-wal").stat().st_size == 0


def test_a_checkpoint_gives_way_to_a_reader(database: Database) -> None:
    put(database, "a")
    other = Database(database.path)
    with other.read() as connection:
        connection.execute("SELECT key FROM meta").fetchall()
        put(database, "b")
        assert not database.checkpoint(timeout_ms=20)
    other.close()


# Versions


def test_the_version_changes_when_anyone_changed_the_file(path: Path, database: Database) -> None:
    put(database, "a")
    seen = [database.version()]

    put(database, "b")
    seen.append(database.version())
    run(f"import apsw; apsw.Connection({str(path)!r}).execute(\"INSERT INTO meta VALUES ('c', '1')\")")
    seen.append(database.version())

    assert len(set(seen)) == 3


def test_the_version_stays_while_nobody_changes_the_file(database: Database) -> None:
    put(database, "a")
    seen = {database.version()}
    for _ in range(3):
        keys(database)
        seen.add(database.version())
    with database.read():
        seen.add(database.version())
    assert len(seen) == 1


def test_a_file_that_was_replaced_is_read_and_written_anew(path: Path, database: Database, tmp_path: Path) -> None:
    put(database, "old")
    old = database.version()
    (tmp_path / "elsewhere").mkdir()
    other = Database(tmp_path / "elsewhere" / "new.db")
    put(other, "new")
    other.close()
    for suffix in ("-wal", "-shm"):
        Path(f"{path}{suffix}").unlink()
    other.path.replace(path)

    assert keys(database) == {"new"}
    assert database.version() != old
    put(database, "newer")
    assert keys(database) == {"new", "newer"}


def test_a_file_that_was_removed_is_missing_to_readers_and_made_anew_by_a_writer(
    path: Path, database: Database
) -> None:
    put(database, "old")
    keys(database)
    for file in path.parent.iterdir():
        file.unlink()

    with pytest.raises(errors.FileMissing):
        keys(database)
    put(database, "new")
    assert keys(database) == {"new"}


def look_with_another_sqlite(path: Path) -> None:
    """Open and close the file with Python's own copy of SQLite, which drops this process's locks and takes the log away."""
    other = sqlite3.connect(path)
    try:
        other.execute("SELECT 1 FROM meta").fetchall()
    finally:
        other.close()


def remove_log(path: Path) -> None:
    for suffix in ("-wal", "-shm"):
        Path(f"{path}{suffix}").unlink()


def seen_by_another_process(path: Path) -> set[str]:
    code = """
import sys
from orchestrator.store.database import Database
with Database(sys.argv[1]).read() as connection:
    print(*(key for (key,) in connection.execute("SELECT key FROM meta WHERE key NOT IN ('host_id', 'snapshot_changes', 'call_changes')")))
"""
    return set(run(code, path).split())


@pytest.mark.parametrize("lose_log", [look_with_another_sqlite, remove_log])
def test_what_was_stored_stays_when_the_log_is_taken_away(
    path: Path, database: Database, lose_log: Callable[[Path], None]
) -> None:
    beside = Database(path)
    for number in range(10):
        put(database, f"a{number}")
        assert f"a{number}" in keys(beside)
        lose_log(path)
        put(beside, f"b{number}")
        lose_log(path)
        assert f"b{number}" in keys(database)

    assert seen_by_another_process(path) == {f"{name}{number}" for name in "ab" for number in range(10)}
    beside.close()


@pytest.mark.parametrize("lose_log", [look_with_another_sqlite, remove_log])
def test_a_write_whose_log_is_taken_away_is_not_said_to_be_stored(
    path: Path, database: Database, lose_log: Callable[[Path], None]
) -> None:
    put(database, "a")

    def put_and_lose_log() -> None:
        with database.write() as connection:
            meta.put(connection, "b", "1")
            lose_log(path)

    with pytest.raises(errors.FileLocked, match="its log was removed"):
        put_and_lose_log()

    put(database, "c")
    assert keys(database) == {"a", "c"}
    assert seen_by_another_process(path) == {"a", "c"}


def test_a_write_whose_log_is_taken_away_during_its_commit_is_not_said_to_be_stored(
    path: Path, database: Database
) -> None:
    put(database, "a")
    keys(database)
    assert database.checkpoint()

    def lose_log() -> bool:
        remove_log(path)
        return False

    def put_and_lose_log() -> None:
        with database.write() as connection:
            meta.put(connection, "b", "1")
            connection.set_commit_hook(lose_log)

    with pytest.raises(errors.FileLocked, match="its log was removed"):
        put_and_lose_log()

    put(database, "c")
    assert seen_by_another_process(path) == keys(database) == {"a", "c"}


def test_a_write_inside_a_read_whose_log_was_taken_away_is_refused_until_the_read_is_over(
    path: Path, database: Database
) -> None:
    put(database, "a")

    with database.read():
        remove_log(path)
        with pytest.raises(errors.FileLocked, match="its log was removed"):
            put(database, "b")

    put(database, "c")
    assert seen_by_another_process(path) == {"a", "c"}


# Others at the same time


def test_eight_processes_make_one_file(path: Path) -> None:
    code = """
import sys
from orchestrator.store import meta
from orchestrator.store.database import Database
database = Database(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
with database.write() as connection:
    meta.put(connection, sys.argv[2], "1")
with database.read() as connection:
    assert meta.get(connection, sys.argv[2]) == "1"
"""
    processes = [start(code, path, number) for number in range(8)]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        process.communicate(timeout=60)
        assert process.returncode == 0

    database = Database(path)
    assert keys(database) == {str(number) for number in range(8)}
    with database.read() as connection:
        assert connection.pragma("integrity_check") == "ok"
        assert (connection.pragma("auto_vacuum"), connection.pragma("journal_mode")) == (2, "wal")
    database.close()


def test_a_log_that_goes_while_the_file_is_looked_at_is_no_error(path: Path, database: Database) -> None:
    put(database, "a")
    database.close()
    last = start(
        "import apsw, sys\nfrom orchestrator.store.database import Database\ndatabase = Database(sys.argv[1])\n"
        "with database.write() as c: c.execute(\"INSERT INTO meta VALUES ('b', '1')\")\n"
        "print('written', flush=True)\nsys.stdin.readline()\ndatabase.close()",
        path,
    )
    assert last.stdout is not None
    assert last.stdout.readline() == "written\n"

    def end_the_last_one(connection: Connection) -> None:
        if connection.open_flags & apsw.SQLITE_OPEN_URI and last.poll() is None:
            last.communicate("go\n", timeout=60)

    apsw.connection_hooks.append(end_the_last_one)
    try:
        assert keys(database) == {"a", "b"}
    finally:
        apsw.connection_hooks.remove(end_the_last_one)
    assert last.returncode == 0


def test_many_short_lived_processes_find_the_file(path: Path, database: Database) -> None:
    put(database, "a")
    database.close()
    code = """
import sys
from orchestrator.store import meta
from orchestrator.store.database import Database
database = Database(sys.argv[1])
with database.write() as connection:
    meta.put(connection, sys.argv[2], "1")
database.close()
"""
    for some in range(2):
        processes = [start(code, path, f"{some}-{number}") for number in range(16)]
        for process in processes:
            process.communicate(timeout=60)
        assert [process.returncode for process in processes] == [0] * 16

    assert len(keys(database)) == 33


def test_threads_share_a_database(database: Database) -> None:
    failed: list[BaseException] = []

    def work(name: int) -> None:
        try:
            for number in range(20):
                put(database, f"{name}-{number}")
                assert f"{name}-{number}" in keys(database)
        except BaseException as error:  # noqa: BLE001 - a thread's failure is the test's
            failed.append(error)

    threads = [threading.Thread(target=work, args=(name,)) for name in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failed == []
    assert len(keys(database)) == 160


def test_a_reader_does_not_wait_for_a_writer_of_the_same_database(database: Database) -> None:
    put(database, "a")
    found: list[set[str]] = []

    with database.write() as connection:
        meta.put(connection, "b", "1")
        reader = threading.Thread(target=lambda: found.append(keys(database)))
        reader.start()
        reader.join(timeout=5)

    assert found == [{"a"}]


def test_a_writer_waits_no_longer_than_it_is_told(path: Path, database: Database) -> None:
    put(database, "a")
    other = Database(path)

    with other.write():
        began = monotonic()
        with pytest.raises(errors.FileLocked, match="try again"), database.write(timeout_ms=200):
            pass
        waited = monotonic() - began
        assert keys(database) == {"a"}

    assert 0.15 < waited < 2
    put(database, "b")
    other.close()


def test_a_writer_waits_no_longer_than_it_is_told_for_another_thread(database: Database) -> None:
    put(database, "a")
    entered, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with database.write():
            entered.set()
            leave.wait(10)

    holder = threading.Thread(target=hold)
    holder.start()
    entered.wait(10)
    with pytest.raises(errors.FileLocked, match="another thread"), database.write(timeout_ms=50):
        pass
    leave.set()
    holder.join()


def test_killed_writers_lose_no_committed_row(path: Path) -> None:
    code = """
import sys
from orchestrator.store import meta
from orchestrator.store.database import Database
database = Database(sys.argv[1])
for number in range(10**9):
    key = f"{sys.argv[2]}-{number}"
    with database.write() as connection:
        meta.put(connection, key, "1")
    print(key, flush=True)
"""
    committed: set[str] = set()
    for attempt in range(6):
        process = start(code, path, attempt)
        assert process.stdout is not None
        for _ in range(1 + 7 * attempt):
            committed.add(process.stdout.readline().strip())
        process.send_signal(signal.SIGKILL)
        said, _ = process.communicate(timeout=60)
        committed |= {line for line in said.split("\n")[:-1] if line}

    database = Database(path)
    assert committed <= keys(database)
    with database.read() as connection:
        assert connection.pragma("integrity_check") == "ok"
    database.close()


# Forks

FORK = """
import os, sys
from orchestrator.store import meta
from orchestrator.store.database import Database
database = Database(sys.argv[1])

def put(key):
    with database.write() as connection:
        meta.put(connection, key, "1")

def keys():
    with database.read() as connection:
        return sorted(key for (key,) in connection.execute("SELECT key FROM meta WHERE key NOT IN ('host_id', 'snapshot_changes', 'call_changes')"))
"""


def test_parent_and_child_both_write_after_a_fork_and_the_parents_end_takes_nothing_away(path: Path) -> None:
    said = run(
        FORK
        + """
put("before")
assert keys() == ["before"]
turn_read, turn_write = os.pipe()
child = os.fork()
if child == 0:
    put("child-1")
    os.read(turn_read, 1)     # the parent has closed the file
    put("child-2")
    assert keys() == ["before", "child-1", "child-2", "parent"], keys()
    os._exit(0)
while "child-1" not in keys():
    os.sched_yield()
put("parent")
database.close()
os.write(turn_write, b"x")
assert os.waitpid(child, 0)[1] == 0
print(*keys())
""",
        path,
    )
    assert said == "before child-1 child-2 parent"


def test_a_child_forked_inside_a_write_can_neither_commit_nor_go_on(path: Path) -> None:
    said = run(
        FORK
        + """
from orchestrator.errors import FileLocked
put("before")
try:
    with database.write() as connection:
        meta.put(connection, "inside", "1")
        child = os.fork()
except RuntimeError as error:
    assert child == 0 and "only the parent" in str(error)
if child == 0:
    try:
        put("child")
    except FileLocked:
        os._exit(0)
    os._exit(1)
assert os.waitpid(child, 0)[1] == 0
put("parent")
print(*keys())
""",
        path,
    )
    assert said == "before inside parent"


def test_a_fork_inside_a_read_leaves_the_parents_snapshot_alone(path: Path) -> None:
    said = run(
        FORK
        + """
put("before")
with database.read() as connection:
    assert connection.execute("SELECT count(key) FROM meta WHERE key NOT IN ('host_id', 'snapshot_changes', 'call_changes')").get == 1
    child = os.fork()
    if child == 0:
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    put("after")
    assert connection.execute("SELECT count(key) FROM meta WHERE key NOT IN ('host_id', 'snapshot_changes', 'call_changes')").get == 1
print(*keys())
""",
        path,
    )
    assert said == "after before"


# Files that are not ours, or not well


def foreign(path: Path, *statements: str) -> Connection:
    connection = apsw.Connection(str(path))
    connection.execute(
        "PRAGMA journal_mode = WAL; CREATE TABLE notes (text); INSERT INTO notes VALUES ('x')"
    ).fetchall()
    for statement in statements:
        connection.execute(statement).fetchall()
    return connection


def crashed(path: Path, *statements: str, index: bool) -> None:
    """Leave what a killed process leaves: file, log and, unless only these two were copied, index."""
    aside = path.with_name("aside.db")
    live = foreign(aside, *statements)
    for suffix in ("", "-wal", "-shm") if index else ("", "-wal"):
        Path(f"{path}{suffix}").write_bytes(Path(f"{aside}{suffix}").read_bytes())
    live.close()
    aside.unlink()


def ours_but(path: Path, *statements: str) -> None:
    database = Database(path)
    put(database, "a")
    database.close()
    connection = apsw.Connection(str(path))
    for statement in statements:
        connection.execute(statement).fetchall()
    connection.close()


def damaged(path: Path) -> None:
    ours_but(
        path,
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 5000) INSERT INTO meta SELECT i, i FROM n",
    )
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xa5" * (path.stat().st_size - 4096))


def cut_off(path: Path) -> None:
    damaged(path)
    os.truncate(path, 6000)


def made_of(path: Path, *statements: str) -> None:
    connection = apsw.Connection(str(path))
    for statement in statements:
        connection.execute(statement).fetchall()
    connection.close()


TEN_COLUMNS = """
id, source, collected_at, balance_atomic, paid_atomic, hashrate, xmr_price_usd, requests_served, tokens_generated, raw_json
"""

REFUSED: list[tuple[str, Callable[[Path], object], type[errors.StoreError]]] = [
    ("text", lambda path: path.write_text("Dear diary,\n" * 1000), errors.NotADatabase),
    ("a few bytes", lambda path: path.write_bytes(b"\0"), errors.NotADatabase),
    ("zeros", lambda path: path.write_bytes(bytes(8192)), errors.NotADatabase),
    ("a header alone", lambda path: path.write_bytes(b"SQLite format 3\0"), errors.NotADatabase),
    ("a folder", lambda path: path.mkdir(), errors.NotADatabase),
    ("a pipe", os.mkfifo, errors.NotADatabase),
    ("foreign", lambda path: foreign(path, "PRAGMA journal_mode = DELETE").close(), errors.ForeignFile),
    ("foreign in WAL mode", lambda path: foreign(path).close(), errors.ForeignFile),
    ("foreign, crashed", lambda path: crashed(path, index=True), errors.ForeignFile),
    ("foreign, copied with its log", lambda path: crashed(path, index=False), errors.ForeignFile),
    ("foreign by its id", lambda path: foreign(path, "PRAGMA application_id = 7").close(), errors.ForeignFile),
    ("foreign by the id in its log", lambda path: crashed(path, "PRAGMA application_id = 7", index=True), errors.ForeignFile),
    ("foreign by its version", lambda path: foreign(path, "DROP TABLE notes", "PRAGMA user_version = 7").close(), errors.ForeignFile),
    ("nothing but a view", lambda path: made_of(path, "CREATE VIEW revenue_snapshots AS SELECT 1 AS id"), errors.ForeignFile),
    ("nothing but a view in WAL mode",
     lambda path: made_of(path, "PRAGMA journal_mode = WAL", "CREATE VIEW totals AS SELECT 1 AS id"), errors.ForeignFile),
    ("nothing but a view and its trigger",
     lambda path: made_of(
         path, "CREATE VIEW totals AS SELECT 1 AS id",
         "CREATE TRIGGER revenue_snapshots INSTEAD OF INSERT ON totals BEGIN SELECT 1; END",
     ), errors.ForeignFile),
    ("an index of the name on another table",
     lambda path: foreign(path, "CREATE INDEX revenue_snapshots ON notes (text)").close(), errors.ForeignFile),
    ("the Node one with a view where a table of ours would be",
     lambda path: made_of(path, f"CREATE TABLE revenue_snapshots ({TEN_COLUMNS})", "CREATE VIEW meta AS SELECT 1 AS key"),
     errors.ForeignFile),
    ("newer", lambda path: ours_but(path, "PRAGMA user_version = 99"), errors.FileNewer),
    ("damaged", damaged, errors.FileCorrupt),
    ("cut off", cut_off, errors.FileCorrupt),
]  # fmt: skip


@pytest.mark.parametrize(("make", "error"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_a_file_that_cannot_be_used_is_named_in_one_line_and_left_as_it_is(
    path: Path, make: Callable[[Path], object], error: type[errors.StoreError]
) -> None:
    make(path)
    before = fingerprint(path.parent)
    database = Database(path)

    for _ in range(2):
        with pytest.raises(error) as reading:
            keys(database)
        with pytest.raises(error) as writing:
            put(database, "b")
    database.close()

    assert fingerprint(path.parent) == before
    for raised in (reading, writing):
        assert str(raised.value).startswith(f"{path}: ")
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("statements", "error"),
    [
        ((), errors.ForeignFile),
        (
            ("DROP TABLE notes", f"PRAGMA application_id = {APPLICATION_ID}", "PRAGMA user_version = 99"),
            errors.FileNewer,
        ),
    ],
)
def test_a_file_that_another_process_writes_to_is_refused_and_its_log_left_alone(
    path: Path, statements: tuple[str, ...], error: type[errors.StoreError]
) -> None:
    code = """
import sys, apsw
connection = apsw.Connection(sys.argv[1])
for statement in ["PRAGMA journal_mode = WAL", "CREATE TABLE notes (text)", *sys.argv[2:]]:
    connection.execute(statement).fetchall()
print("ready", flush=True)
sys.stdin.readline()
"""
    with start(code, path, *statements) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        before = fingerprint(path.parent)
        assert len(before) == 3

        database = Database(path)
        with pytest.raises(error):
            keys(database)
        with pytest.raises(error):
            put(database, "b")
        database.close()

        assert fingerprint(path.parent) == before
        process.communicate("\n", timeout=60)


# Full disks

FULL = """
import sys
from orchestrator.errors import DiskFull
from orchestrator.store import meta
from orchestrator.store.database import Database
{prepare}
database = Database(sys.argv[1])
with database.write() as connection:
    meta.put(connection, "kept", "1")
try:
    for number in range(10000):
        with database.write() as connection:
            meta.put(connection, f"big-{{number}}", "x" * 50000)
except DiskFull as error:
    assert "\\n" not in str(error) and "free some space" in str(error), error
else:
    raise SystemExit("never full")
with database.read() as connection:
    assert meta.get(connection, "kept") == "1"
    assert connection.execute("SELECT count(key) FROM meta WHERE key NOT IN ('host_id', 'snapshot_changes', 'call_changes')").get == number + 1
{mend}
with database.write() as connection:
    meta.put(connection, "after", "1")
"""


def test_a_file_that_may_not_grow_is_a_full_disk_and_the_process_goes_on(path: Path) -> None:
    run(
        FULL.format(
            prepare="import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (3_000_000, resource.RLIM_INFINITY))",
            mend="resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))",
        ),
        path,
    )
    database = Database(path)
    assert {"kept", "after"} <= keys(database)
    database.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MB and at most 20 files."""
    disk = tmp_path / "disk"
    disk.mkdir()
    options = ["-t", "tmpfs", "-o", "size=2m,nr_inodes=20"]
    if subprocess.run(["mount", *options, "tmpfs", disk], check=False, capture_output=True).returncode != 0:
        pytest.skip("may not mount a small file system here")
    try:
        yield disk
    finally:
        subprocess.run(["umount", disk], check=True)


@needs_root
def test_a_full_disk_loses_nothing_that_was_committed(small_disk: Path) -> None:
    path, ballast = small_disk / "o.db", small_disk / "ballast"
    ballast.write_bytes(bytes(500_000))

    run(FULL.format(prepare="import os", mend="os.unlink(sys.argv[2])"), path, ballast)

    database = Database(path)
    assert {"kept", "after"} <= keys(database)
    database.close()


@needs_root
@pytest.mark.parametrize("pages_left", [0, 1, 4, 8, 9])
def test_a_disk_that_is_full_when_the_file_is_opened_is_named_and_once_there_is_room_all_is_there(
    small_disk: Path, pages_left: int
) -> None:
    database = Database(small_disk / "o.db")
    put(database, "kept")
    database.close()
    ballast = small_disk / "ballast"
    free = os.statvfs(small_disk).f_bavail - pages_left
    ballast.write_bytes(bytes(4096 * free))

    for _ in range(2):
        with pytest.raises(errors.DiskFull, match="free some space"), database.write() as connection:
            meta.put(connection, "large", "x" * 4096 * 10)
    if pages_left == 0:
        with pytest.raises(errors.DiskFull, match="free some space"):
            keys(database)
    database.close()
    ballast.unlink()

    put(database, "after")
    assert keys(database) == {"kept", "after"}
    database.close()


@needs_root
@pytest.mark.parametrize("exists", [True, False])
def test_a_disk_without_room_for_one_more_file_is_full(small_disk: Path, exists: bool) -> None:
    database = Database(small_disk / "o.db")
    if exists:
        put(database, "kept")
        database.close()
    for number in range(os.statvfs(small_disk).f_favail):
        (small_disk / str(number)).touch()

    with pytest.raises(errors.DiskFull, match="free some space"):
        put(database, "a")

    database.close()


def test_the_limit_on_the_file_size_is_this_processes_own() -> None:
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[1] == resource.RLIM_INFINITY


# Modes and other users


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o777])
@pytest.mark.parametrize(("folder", "expected"), [(0o755, 0o600), (0o2750, 0o600), (0o770, 0o600), (0o2770, 0o660)])
def test_the_files_have_the_mode_that_the_folder_asks_for_whatever_the_umask(
    tmp_path: Path, umask: int, folder: int, expected: int
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    home.chmod(folder)
    database = Database(home / "orchestrator.db")
    spool = home / "spool"

    before = os.umask(umask)
    try:
        put(database, "a")
        keys(database)
        spool.touch()
        protect(spool)
    finally:
        os.umask(before)

    names = {file.name: mode(file) for file in home.iterdir()}
    database.close()
    assert names == dict.fromkeys(["orchestrator.db", "orchestrator.db-wal", "orchestrator.db-shm", "spool"], expected)


AS_ANOTHER = """
import os, sys
from orchestrator import errors
from orchestrator.store import meta, migrate
from orchestrator.store.database import Database
migrate.sql_file("views.sql")     # loads what the other user may not: Python may lie in a home directory
sys.stdout.reconfigure(line_buffering=True)
path, uid, gid, umask, *keys = sys.argv[1:]
os.umask(int(umask, 8))
os.setgroups([])
os.setgid(int(gid))
os.setuid(int(uid))
database = Database(path)
for key in keys:
    try:
        if key == "read":
            with database.read() as connection:
                print(*sorted(key for (key,) in connection.execute("SELECT key FROM meta WHERE key NOT IN ('host_id', 'snapshot_changes', 'call_changes')")))
        else:
            with database.write() as connection:
                meta.put(connection, key, "1")
            print("written")
    except errors.StoreError as error:
        print(type(error).__name__, error)
database.close()
"""


@pytest.fixture
def common() -> Iterator[Path]:
    """A folder that other users can reach, which pytest's own is not."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        Path(name).chmod(0o755)
        home = Path(name) / "home"
        home.mkdir()
        yield home


@needs_root
@pytest.mark.parametrize("umask", ["000", "077"])
def test_two_users_of_one_group_share_the_file(common: Path, umask: str) -> None:
    os.chown(common, 4001, 5001)
    common.chmod(0o2770)
    path = common / "orchestrator.db"

    first = run(AS_ANOTHER, path, 4001, 5001, umask, "a", "read")
    second = run(AS_ANOTHER, path, 4002, 5001, umask, "b", "read")
    third = run(AS_ANOTHER, path, 4001, 5001, umask, "c", "read")

    assert first.splitlines() == ["written", "a"]
    assert second.splitlines() == ["written", "a b"]
    assert third.splitlines() == ["written", "a b c"]
    assert mode(path) == 0o660


@needs_root
def test_two_users_share_the_file_while_both_have_it_open(common: Path) -> None:
    os.chown(common, 4001, 5001)
    common.chmod(0o2770)
    path = common / "orchestrator.db"
    holding = AS_ANOTHER.replace("database.close()", "print('open', flush=True); sys.stdin.readline()")
    assert holding != AS_ANOTHER

    with start(holding, path, 4001, 5001, "077", "a", "read") as process:
        assert process.stdout is not None
        assert list(iter(process.stdout.readline, "open\n")) == ["written\n", "a\n"]
        second = run(AS_ANOTHER, path, 4002, 5001, "077", "b", "read")
        modes = {mode(file) for file in common.iterdir()}
        process.communicate("\n", timeout=60)

    assert second.splitlines() == ["written", "a b"]
    assert modes == {0o660}


@needs_root
def test_another_user_may_not_open_the_file(common: Path) -> None:
    common.chmod(0o755)
    path = common / "orchestrator.db"
    database = Database(path)
    put(database, "a")
    database.close()

    said = run(AS_ANOTHER, path, NOBODY, NOBODY, "022", "read", "b").splitlines()

    assert all(line.startswith("FileUnreachable") for line in said)
    assert len(said) == 2


@needs_root
def test_who_may_only_read_gets_one_line_on_writing(common: Path) -> None:
    path = common / "orchestrator.db"
    database = Database(path)
    put(database, "a")
    database.close()
    path.chmod(0o644)
    common.chmod(0o777)

    said = run(AS_ANOTHER, path, NOBODY, NOBODY, "022", "read", "b").splitlines()

    assert said[0] == "a"
    assert said[1].startswith("FileReadOnly")
    assert len(said) == 2


@needs_root
def test_a_permission_that_is_given_later_is_used_at_once(common: Path) -> None:
    common.chmod(0o777)
    path = common / "orchestrator.db"
    database = Database(path)
    put(database, "a")
    database.close()
    path.chmod(0o644)
    waiting = AS_ANOTHER.replace("for key in keys:", "for key in keys:\n    sys.stdin.readline()")

    with start(waiting, path, NOBODY, NOBODY, "022", "b", "c") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("\n")
        process.stdin.flush()
        refused = process.stdout.readline()
        path.chmod(0o666)
        accepted, _ = process.communicate("\n", timeout=60)

    assert refused.startswith("FileReadOnly")
    assert accepted == "written\n"


@needs_root
def test_who_may_not_write_the_folder_reads_while_the_owner_has_the_file_open_and_else_learns_why_not(
    common: Path,
) -> None:
    common.chmod(0o755)
    path = common / "orchestrator.db"
    database = Database(path)
    put(database, "a")
    for file in common.iterdir():
        file.chmod(0o644)
    beside = run(AS_ANOTHER, path, NOBODY, NOBODY, "022", "read", "b").splitlines()
    database.close()
    alone = run(AS_ANOTHER, path, NOBODY, NOBODY, "022", "read", "b").splitlines()

    assert beside[0] == "a"
    assert beside[1].startswith("FileReadOnly")
    assert alone[0].startswith("FileReadOnly")
    assert "-shm" in alone[0]
    assert len(alone) == 2
    assert list(common.iterdir()) == [path]


@needs_root
def test_who_may_not_write_the_folder_makes_no_file(common: Path) -> None:
    common.chmod(0o755)

    said = run(AS_ANOTHER, common / "orchestrator.db", NOBODY, NOBODY, "022", "read", "b").splitlines()

    assert said[0].startswith("FileMissing")
    assert said[1].startswith("FileReadOnly")
