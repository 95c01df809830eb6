"""The command line: what each command prints, where it prints it, and how it ends."""

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from orchestrator.ledger import growth_days, setup, snapshots
from orchestrator.ledger.setup import Setup
from orchestrator.ledger.snapshots import MLX_API, XMR_MINING, Snapshot
from orchestrator.periods import zone
from orchestrator.store.database import Database

ROOT = Path(__file__).parents[1]


def environment(home: Path, more: Mapping[str, str]) -> dict[str, str]:
    """Return an environment that knows nothing of this machine but where the code is, and what coverage needs."""
    kept = {name: value for name, value in os.environ.items() if name == "PATH" or name.startswith("COVERAGE_")}
    return {**kept, "HOME": str(home), "PYTHONPATH": str(ROOT), **more}


def orchestrator(cwd: Path, *args: str, **environ: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "orchestrator", *args],
        cwd=cwd,
        env=environment(cwd / "home", environ),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def filled(tmp_path: Path) -> Path:
    """Return a folder whose orchestrator.db has two weeks of hourly readings up to now."""
    now = datetime.now(UTC)
    database = Database(tmp_path / "orchestrator.db")
    with database.write() as connection:
        setup.write(connection, Setup(sources=(XMR_MINING, MLX_API)))
        for n in range(14 * 24 + 1):
            at = now - timedelta(hours=14 * 24 - n)
            snapshots.insert(connection, Snapshot(XMR_MINING, at, n * 10**9, 0, 100.0, 200.0))
            snapshots.insert(connection, Snapshot(MLX_API, at, requests_served=n * 3, tokens_generated=n * 50))
        for source in (XMR_MINING, MLX_API):
            growth_days.close_days(connection, source, zone("UTC"), 300, now)
    database.close()
    return tmp_path


def data(done: "subprocess.CompletedProcess[str]") -> Any:
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert set(answer) == {"generated_at", "data"}
    return answer["data"]


def test_context_prints_the_lines_and_nothing_else(filled: Path) -> None:
    done = orchestrator(filled, "context")

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0] == "Revenue:"
    assert len(done.stdout.splitlines()) == 4


def test_context_keeps_to_max_chars(filled: Path) -> None:
    done = orchestrator(filled, "context", "--max-chars", "90")

    assert 0 < len(done.stdout.rstrip("\n")) <= 90


def test_context_says_what_is_wrong_with_a_file_and_fails(tmp_path: Path) -> None:
    (tmp_path / "orchestrator.db").write_bytes(b"not a database" * 400)

    done = orchestrator(tmp_path, "context")

    assert done.returncode == 1
    assert "is not a SQLite database" in done.stdout


def test_status_has_a_line_a_source(filled: Path) -> None:
    lines = orchestrator(filled, "status").stdout.splitlines()

    assert [line.split(":")[0] for line in lines] == ["XMR Mining", "MLX API", "Daemon", "File"]
    assert "fresh" in lines[0]


def test_status_as_json_has_the_names_of_the_api(filled: Path) -> None:
    sources = data(orchestrator(filled, "status", "--json"))["sources"]

    assert set(sources) == {XMR_MINING, MLX_API}
    assert sources[XMR_MINING]["balance_atomic"] == 336 * 10**9
    assert {"age_minutes", "state", "last_attempt_at", "failures"} <= set(sources[XMR_MINING])


def test_status_without_a_file_makes_none(tmp_path: Path) -> None:
    done = orchestrator(tmp_path, "status")

    assert done.returncode == 0
    assert "no data collected yet" in done.stdout
    assert "not made yet" in done.stdout
    assert not list(tmp_path.rglob("*.db"))


def test_trend_as_json_has_the_names_of_the_api(filled: Path) -> None:
    trend = data(orchestrator(filled, "trend", "--json"))

    assert set(trend) == {"this_week", "last_week_to_date", "last_week", "change_percent"}
    assert {"xmr_atomic", "xmr_usd", "unpriced_atomic", "requests", "tokens", "flag"} <= set(trend["this_week"])
    assert set(trend["change_percent"]) == {"xmr_atomic", "xmr_usd", "requests", "tokens"}


def test_trend_as_text_stands_in_columns(filled: Path) -> None:
    lines = orchestrator(filled, "trend").stdout.splitlines()

    assert len({len(line.rstrip()) for line in lines[:1]}) == 1
    assert [line.split("  ")[0] for line in lines[1:6]] == [
        "XMR mined",
        "value",
        "without a price",
        "requests",
        "tokens",
    ]


def test_a_missing_file_is_one_line_with_its_remedy(tmp_path: Path) -> None:
    done = orchestrator(tmp_path, "trend")

    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "run `orchestrator once` to make it" in done.stderr


def test_doctor_finds_a_sound_file_and_a_silent_source(filled: Path) -> None:
    done = orchestrator(filled, "doctor", ORCHESTRATOR_REVENUE__MLX_URL="http://127.0.0.1:9")

    assert done.returncode == 1
    assert "ok       file: " in done.stdout
    assert "failed   mlx-api: connection refused" in done.stdout
    assert "xmr-mining" not in done.stdout


def test_doctor_without_sources_passes_and_stores_nothing(tmp_path: Path) -> None:
    done = orchestrator(tmp_path, "doctor", "--json", ORCHESTRATOR_REVENUE__MLX_URL="")

    assert ("config", "warning") in {(finding["subject"], finding["state"]) for finding in data(done)}
    assert not list(tmp_path.rglob("*.db"))


def test_doctor_names_damage(tmp_path: Path) -> None:
    (tmp_path / "orchestrator.db").write_bytes(b"\0" * 5000)

    done = orchestrator(tmp_path, "doctor", ORCHESTRATOR_REVENUE__MLX_URL="")

    assert done.returncode == 1
    assert "failed   file: " in done.stdout


def test_doctor_sees_a_row_from_the_future_and_an_open_mode(filled: Path) -> None:
    database = Database(filled / "orchestrator.db")
    with database.write() as connection:
        snapshots.insert(connection, Snapshot(XMR_MINING, datetime.now(UTC) + timedelta(days=3)))
    database.close()
    (filled / "orchestrator.db").chmod(0o644)

    done = orchestrator(filled, "doctor", ORCHESTRATOR_REVENUE__MLX_URL="")

    assert "warning  clock: a row lies 2d 23h in the future" in done.stdout
    assert "warning  mode: 0644; expected 0600" in done.stdout


def test_prune_says_first_what_it_would_remove(filled: Path) -> None:
    few_days = {"ORCHESTRATOR_REVENUE__RETENTION_DAYS": "3", "ORCHESTRATOR_REVENUE__MLX_URL": ""}

    would = orchestrator(filled, "prune", "--dry-run", **few_days)
    done = orchestrator(filled, "prune", **few_days)
    again = orchestrator(filled, "prune", **few_days)

    count = int(would.stdout.split()[0])
    assert count > 300
    assert done.stdout == f"{count} snapshots, 0 calls, 0 credit snapshots, 0 alerts removed\n"
    assert again.stdout == "0 snapshots, 0 calls, 0 credit snapshots, 0 alerts removed\n"


def test_prune_changes_no_day_and_no_week(filled: Path) -> None:
    before = data(orchestrator(filled, "trend", "--json"))["last_week"]

    assert orchestrator(filled, "prune", ORCHESTRATOR_REVENUE__RETENTION_DAYS="3").returncode == 0

    after = data(orchestrator(filled, "trend", "--json"))["last_week"]
    assert {k: after[k] for k in ("xmr_atomic", "xmr_usd", "requests")} == {
        k: before[k] for k in ("xmr_atomic", "xmr_usd", "requests")
    }


def test_backup_makes_a_copy_and_never_overwrites(filled: Path) -> None:
    first = orchestrator(filled, "backup", "copy.db")
    second = orchestrator(filled, "backup", "copy.db")

    assert first.returncode == 0, first.stderr
    assert (second.returncode, second.stderr.count("\n")) == (1, 1)
    assert orchestrator(filled, "--db", "copy.db", "context").stdout == orchestrator(filled, "context").stdout


def test_a_mistyped_command_is_a_usage_error_with_a_suggestion(tmp_path: Path) -> None:
    done = orchestrator(tmp_path, "contxt")

    assert done.returncode == 2
    assert "Did you mean 'context'?" in done.stderr


def test_a_bad_configuration_is_78_with_every_problem(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("[orchestrator]\ntimezone = 'Mars/Base'\n[revenue]\nxmr_walet = 'x'\n")

    done = orchestrator(tmp_path, "once")

    assert done.returncode == 78
    assert "Mars/Base" in done.stderr
    assert "xmr_wallet" in done.stderr
    assert not list(tmp_path.rglob("*.db"))


def test_another_zone_than_the_files_days_is_refused(filled: Path) -> None:
    done = orchestrator(
        filled, "once", ORCHESTRATOR_ORCHESTRATOR__TIMEZONE="Europe/Paris", ORCHESTRATOR_REVENUE__MLX_URL=""
    )

    assert done.returncode == 78
    (command,) = re.findall(r"`orchestrator (.* rebuild --timezone Europe/Paris)`", done.stderr)
    # Somewhere else, where no configuration names the file.
    elsewhere = filled / "elsewhere"
    elsewhere.mkdir()
    assert orchestrator(elsewhere, *shlex.split(command)).returncode == 0
    assert orchestrator(filled, "trend", ORCHESTRATOR_ORCHESTRATOR__TIMEZONE="Europe/Paris").returncode == 0


@pytest.mark.parametrize("report", [("trend",), ("pnl",), ("spend",)])
def test_reports_too_refuse_another_zone_than_the_files_days(filled: Path, report: tuple[str, ...]) -> None:
    done = orchestrator(filled, *report, ORCHESTRATOR_ORCHESTRATOR__TIMEZONE="Europe/Paris")

    assert done.returncode == 78
    assert "rebuild --timezone Europe/Paris" in done.stderr


def test_the_context_keeps_to_the_files_own_zone(filled: Path) -> None:
    assert orchestrator(filled, "context", ORCHESTRATOR_ORCHESTRATOR__TIMEZONE="Europe/Paris").returncode == 0


def test_the_version_is_the_installed_one(tmp_path: Path) -> None:
    assert orchestrator(tmp_path, "--version").stdout.startswith("orchestrator 0.")


def test_a_reader_that_has_seen_enough_is_no_error(filled: Path) -> None:
    done = subprocess.run(
        f"{sys.executable} -m orchestrator trend --json | head -n 1", shell=True, cwd=filled, capture_output=True, text=True,
        env=environment(filled, {}), timeout=60, check=True,
    )  # fmt: skip

    assert (done.stdout, done.stderr) == ("{\n", "")
