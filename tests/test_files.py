"""The file, its log and the log's index: that a change of any of them is noticed, though only their folder is asked."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from threading import Event

import pytest
from processes import until

from orchestrator.store.files import Files, opened

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
