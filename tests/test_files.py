"""The file, its log and the log's index: that a change of any of them is noticed, though only their folder is asked."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event

import pytest
from processes import until

from orchestrator.store.files import Files, opened, settled_after

SUFFIXES = ("", "-wal", "-shm")


def names(path: Path) -> tuple[str, str, str]:
    return str(path), f"{path}-wal", f"{path}-shm"


def made(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    for suffix in SUFFIXES:
        Path(f"{path}{suffix}").write_text(suffix)
    return path


def settled(files: Files) -> Files:
    """Wait until the folder alone is asked."""
    until(lambda: not files.changed() and files._settled is not None)
    return files


def replace_log(path: Path) -> None:
    Path(f"{path}-new").write_text("new")
    Path(f"{path}-new").rename(f"{path}-wal")


def move_folder(path: Path) -> None:
    path.parent.rename(path.parent.with_name("old"))
    shutil.copytree(path.parent.with_name("old"), path.parent)


def replace_and_hide_it(path: Path) -> None:
    before = path.parent.stat()
    replace_log(path)
    os.utime(path.parent, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize(
    "change",
    [
        lambda path: path.unlink(),
        lambda path: path.rename(path.with_name("elsewhere")),
        lambda path: Path(f"{path}-wal").unlink(),
        lambda path: Path(f"{path}-shm").unlink(),
        lambda path: shutil.rmtree(path.parent),
        replace_log,
        replace_and_hide_it,
        move_folder,
    ],
)
def test_what_no_longer_lies_where_it_was_is_noticed(tmp_path: Path, change: Callable[[Path], object]) -> None:
    path = made(tmp_path / "folder" / "a.db")
    files = settled(opened(names(path), (0, 0)))

    change(path)

    assert files.changed()
    assert files.changed()


def test_another_file_in_the_folder_is_no_change(tmp_path: Path) -> None:
    path = made(tmp_path / "a.db")
    files = settled(opened(names(path), (0, 0)))

    (tmp_path / "other").write_text("")

    assert not files.changed()
    assert not files.log_changed()
    replace_log(path)
    assert files.log_changed()


def test_a_change_right_after_another_one_is_noticed(tmp_path: Path) -> None:
    path = made(tmp_path / "a.db")

    for _ in range(200):
        files = opened(names(path), (0, 0))
        (tmp_path / "other").write_text("")
        assert not files.changed()
        (tmp_path / "other").unlink()
        replace_log(path)
        assert files.log_changed()


@pytest.fixture
def coarse(tmp_path: Path) -> Iterator[Path]:
    """A folder on a file system that tells whole seconds, as ext4 does with small inodes."""
    image, folder = tmp_path / "image", tmp_path / "coarse"
    folder.mkdir()
    image.write_bytes(b"")
    os.truncate(image, 4 * 1024 * 1024)
    made_one = shutil.which("mke2fs") and not os.system(f"mke2fs -q -t ext4 -I 128 {image} 2>/dev/null")
    if not made_one or os.system(f"mount -o loop {image} {folder} 2>/dev/null"):
        pytest.skip("no such file system can be made and mounted here")
    yield folder
    os.system(f"umount {folder}")


def test_a_change_in_the_same_second_as_another_one_is_noticed(coarse: Path) -> None:
    path = made(coarse / "x.db")
    files = opened(names(path), (0, 0))
    for _ in range(100):
        (coarse / "other").touch()
        (coarse / "other").unlink()
        second = coarse.stat().st_ctime_ns
        for _ in range(20):
            assert not files.changed()
            Event().wait(0.01)

        replace_log(path)
        if coarse.stat().st_ctime_ns == second:
            break
        files = opened(names(path), (0, 0))

    assert files.changed()


def test_a_folder_whose_time_is_a_whole_second_is_asked_longer_before_it_is_trusted() -> None:
    assert settled_after(1_795_227_000_000_000_000) > 2
    assert settled_after(1_795_227_000_004_000_000) < 0.2


def test_what_a_link_leads_to_may_change_unseen_by_its_folder(tmp_path: Path) -> None:
    path = made(tmp_path / "there" / "a.db")
    other = made(tmp_path / "there" / "b.db")
    link = tmp_path / "here" / "link.db"
    link.parent.mkdir()
    link.symlink_to(path)
    files = opened((str(link), *names(path)[1:]), (0, 0))
    assert not files.changed()
    Event().wait(0.15)
    assert not files.changed()
    assert not files.changed()

    link.unlink()
    link.symlink_to(other)
    assert files.changed()
    link.unlink()
    link.symlink_to(path)
    assert not files.changed()
    Path(f"{path}-wal").unlink()
    assert files.log_changed()
