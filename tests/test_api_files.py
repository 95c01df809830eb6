"""What is no file for a database is said to be none, and nothing is left beside it."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from test_cli import orchestrator as command

import orchestrator
from orchestrator.errors import ConfigError
from orchestrator.recording import lost_marks, nowhere
from orchestrator.store.database import Database

NOW = datetime(2026, 11, 18, 12, 0, tzinfo=UTC)
CALL: Mapping[str, Any] = {"service": "openai", "model": "gpt-4o", "input_tokens": 1}


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    orchestrator.close()


@pytest.mark.parametrize("place", ["folder", "device"])
def test_beside_what_is_no_file_nothing_is_left(tmp_path: Path, place: str) -> None:
    path = {"folder": tmp_path / "folder", "device": Path("/dev/null")}[place]
    (tmp_path / "folder").mkdir()
    beside = set(path.parent.iterdir())

    recorded = orchestrator.record_call(**CALL, now=NOW, db=path)

    (mark,) = lost_marks(Database(path))
    assert recorded.outcome == "lost"
    assert recorded.problem is not None
    assert "is not a SQLite database (not a regular file)" in recorded.problem
    assert set(path.parent.iterdir()) == beside
    assert not list((tmp_path / "folder").iterdir())
    mark.path.unlink()


@pytest.mark.parametrize("db", ["", "a\0b"])
def test_what_is_no_path_is_said_to_be_none_and_the_record_is_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, db: str
) -> None:
    monkeypatch.chdir(tmp_path)

    recorded = orchestrator.record_call(**CALL, now=NOW, db=db)

    (mark,) = lost_marks(Database(nowhere()))
    assert (recorded.outcome, recorded.problem) == ("lost", "db: a path is due")
    assert (mark.records, mark.reason) == (1, "db: a path is due")
    assert list(tmp_path.iterdir()) == []
    mark.path.unlink()
    assert orchestrator.format_for_context(db=db) == "Revenue:\n- data unavailable: db: a path is due"
    for ask in (orchestrator.get_pnl, orchestrator.get_latest):
        with pytest.raises(ConfigError, match="a path is due"):
            ask(db=db)
    with pytest.raises(ConfigError, match="a path is due"):
        orchestrator.record_call(**CALL, strict=True, now=NOW, db=db)


@pytest.mark.parametrize("words", [("status",), ("once",), ("record", "call", "--service", "a", "--model", "m")])
def test_an_empty_path_on_the_command_line_is_an_error_of_usage(tmp_path: Path, words: tuple[str, ...]) -> None:
    done = command(tmp_path, "--db", "", *words)

    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == "Error: Invalid value for '--db': a path is due"
    assert list(tmp_path.iterdir()) == []


def test_a_working_directory_that_was_removed_costs_neither_a_record_nor_its_own_price(tmp_path: Path) -> None:
    path, config, gone = tmp_path / "a.db", tmp_path / "a.toml", tmp_path / "gone"
    config.write_text('[orchestrator]\n[prices."mine"]\ninput_per_million = 2.0\n')
    gone.mkdir()
    script = f"""
import os, orchestrator
os.rmdir({str(gone)!r})
call = dict(service="me", model="mine", input_tokens=1_000_000)
print([orchestrator.record_call(**call), orchestrator.record_call(**call, db={str(tmp_path / "b.db")!r})])
print(repr(orchestrator.format_for_context()), orchestrator.record_call(**call, db="relative.db").outcome)
del os.environ["ORCHESTRATOR_DB"]
print(repr(orchestrator.format_for_context(db="relative.db")), orchestrator.get_latest())
"""
    environ = {**os.environ, "ORCHESTRATOR_DB": str(path), "ORCHESTRATOR_CONFIG": str(config), "HOME": str(tmp_path)}

    asked = subprocess.run(
        [sys.executable, "-c", script], cwd=gone, env=environ, capture_output=True, text=True, check=False
    )
    gone.mkdir()
    told = subprocess.run(
        ["sh", "-c", 'rmdir "$PWD"; "$0" -m orchestrator context', sys.executable],
        cwd=gone, env=environ, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert asked.returncode == 0, asked.stderr
    assert asked.stdout.count("cost_usd=Decimal('2'), cost_source='override', outcome='stored'") == 2
    assert asked.stdout.count("Revenue:") == 2
    assert asked.stdout.count(" lost\n") == 1
    assert (told.returncode, told.stdout[:8]) == (0, "Revenue:"), told.stderr
