"""A copy that can be relied on, while others write; and the file's upkeep."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from orchestrator import errors
from orchestrator.store import meta, upkeep
from orchestrator.store.backup import backup
from orchestrator.store.database import Database

ROOT = Path(__file__).parent.parent


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    (tmp_path / "home").mkdir()
    database = Database(tmp_path / "home" / "orchestrator.db")
    with database.write() as connection:
        connection.executemany(
            "INSERT INTO meta (key, value) VALUES (?, ?)", [(str(number), "x" * 1000) for number in range(2000)]
        )
    yield database
    database.close()


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "copy.db"


def keys(path: Path) -> set[str]:
    database = Database(path)
    with database.read() as connection:
        found = {str(key) for (key,) in connection.execute("SELECT key FROM meta")}
    database.close()
    return found


def damage(path: Path) -> None:
    """Spoil a page in the middle of the table."""
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        file.write(b"\xa5" * 4096)


def test_a_backup_is_one_private_file_with_every_row(database: Database, target: Path) -> None:
    steps: list[tuple[int, int]] = []

    backup(database, target, progress=lambda done, pages: steps.append((done, pages)))

    assert keys(target) == keys(database.path)
    assert target.stat().st_mode & 0o777 == 0o600
    assert steps[-1][0] == steps[-1][1] > 0
    assert [file.name for file in target.parent.iterdir() if file.is_file()] == ["copy.db"]


def test_a_backup_is_one_moment_however_much_is_written_meanwhile(database: Database, target: Path) -> None:
    stop = threading.Event()
    other = Database(database.path)

    def write_pairs() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            with other.write() as connection:
                meta.put(connection, f"left-{number}", "x" * 500)
                meta.put(connection, f"right-{number}", "x" * 500)

    writer = threading.Thread(target=write_pairs)
    writer.start()
    try:
        for attempt in range(5):
            backup(database, target.with_name(f"copy-{attempt}.db"))
    finally:
        stop.set()
        writer.join()
        other.close()

    for attempt in range(5):
        found = keys(target.with_name(f"copy-{attempt}.db"))
        left = {key.removeprefix("left-") for key in found if key.startswith("left-")}
        right = {key.removeprefix("right-") for key in found if key.startswith("right-")}
        assert left == right


@pytest.mark.parametrize("suffix", ["", "-journal", "-wal", "-shm"])
def test_a_backup_goes_only_where_nothing_is(database: Database, target: Path, suffix: str) -> None:
    there = Path(f"{target}{suffix}")
    there.write_text("mine")

    with pytest.raises(errors.FileExists, match="exists already"):
        backup(database, target)

    assert there.read_text() == "mine"
    assert [file for file in target.parent.iterdir() if file.is_file()] == [there]


def test_a_dangling_link_counts_as_something(database: Database, target: Path) -> None:
    target.symlink_to("nowhere")

    with pytest.raises(errors.FileExists):
        backup(database, target)

    assert target.is_symlink()


def test_a_backup_into_a_folder_that_is_missing_is_refused(database: Database, tmp_path: Path) -> None:
    with pytest.raises(errors.CopyUnreachable) as raised:
        backup(database, tmp_path / "missing" / "copy.db")

    assert str(raised.value) == (
        f"{tmp_path}/missing/copy.db: cannot be written (No such file or directory); "
        "make the folder, or give this user permission, or name another path"
    )


def test_a_backup_of_nothing_makes_nothing(tmp_path: Path, target: Path) -> None:
    with pytest.raises(errors.FileMissing):
        backup(Database(tmp_path / "missing.db"), target)

    assert list(tmp_path.iterdir()) == []


def test_a_backup_of_a_damaged_file_leaves_no_copy(database: Database, target: Path) -> None:
    database.close()
    damage(database.path)

    with pytest.raises(errors.FileCorrupt) as raised:
        backup(database, target)

    assert str(raised.value).startswith(f"{database.path}: ")
    assert not target.exists()


def test_a_backup_that_is_interrupted_leaves_no_copy(database: Database, target: Path) -> None:
    def interrupt(done: int, pages: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        backup(database, target, progress=interrupt)

    assert [file.name for file in target.parent.iterdir()] == ["home"]


def test_a_backup_onto_a_full_disk_says_so_and_leaves_no_copy(database: Database, target: Path) -> None:
    code = """
import resource, sys
from pathlib import Path
from orchestrator.errors import DiskFull
from orchestrator.store.backup import backup
from orchestrator.store.database import Database
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, resource.RLIM_INFINITY))
try:
    backup(Database(sys.argv[1]), Path(sys.argv[2]))
except DiskFull as error:
    print(error)
"""
    said = subprocess.run(
        [sys.executable, "-c", code, database.path, target], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout

    assert said.startswith(f"{target}: the disk is full")
    assert not target.exists()


# Upkeep


def test_a_sound_file_has_no_findings(database: Database) -> None:
    assert upkeep.quick_check(database) == []
    assert upkeep.integrity_check(database) == []


def test_a_damaged_file_has_findings_or_cannot_be_checked(database: Database) -> None:
    database.close()
    damage(database.path)
    before = database.path.read_bytes()

    try:
        findings = upkeep.quick_check(database)
    except errors.FileCorrupt as error:
        findings = [str(error)]
    database.close()

    assert findings
    assert database.path.read_bytes() == before


def test_an_index_that_lies_is_found_by_the_long_check(database: Database) -> None:
    with database.write() as connection:
        connection.execute(
            "INSERT INTO revenue_snapshots (source, collected_at) VALUES ('a', '2026-11-21T07:31:00.000Z')"
        )
    database.close()
    raw = apsw.Connection(str(database.path))
    root = raw.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'revenue_snapshots_by_time'").get
    raw.pragma("journal_mode", "DELETE")
    raw.close()
    with database.path.open("r+b") as file:
        file.seek((root - 1) * 4096)
        page = file.read(4096)
        file.seek((root - 1) * 4096)
        file.write(page.replace(b"a2026-11-21T07", b"a2026-11-21T08"))

    assert upkeep.integrity_check(database) != []


def test_deleted_rows_give_their_pages_back_in_steps(database: Database) -> None:
    with database.write() as connection:
        connection.execute("DELETE FROM meta")
    database.checkpoint()
    before = database.path.stat().st_size

    steps = list(upkeep.shrink(database))
    database.checkpoint()

    assert len(steps) > 1
    assert database.path.stat().st_size < before / 5
    assert list(upkeep.shrink(database)) == []


def test_the_planner_learns_how_full_the_tables_are(database: Database) -> None:
    rows = [("xmr-mining", f"2026-11-21T07:31:00.{number:03d}Z") for number in range(1000)]
    with database.write() as connection:
        connection.executemany("INSERT INTO revenue_snapshots (source, collected_at) VALUES (?, ?)", rows)
    database.close()

    upkeep.optimize(database)

    with database.read() as connection:
        known = {index for (index,) in connection.execute("SELECT idx FROM sqlite_stat1")}
    assert "revenue_snapshots_by_time" in known


def test_a_missing_file_is_not_made_by_a_check(tmp_path: Path) -> None:
    with pytest.raises(errors.FileMissing):
        upkeep.quick_check(Database(tmp_path / "missing.db"))
    assert list(tmp_path.iterdir()) == []
