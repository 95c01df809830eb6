"""What waits in the spool is in no sum, and every answer says so."""

import csv
import io
import os
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import books
import pytest
from books import Books
from test_cli import data
from test_cli import orchestrator as command

import orchestrator
from orchestrator.context import format_for_context
from orchestrator.ledger.calls import Call
from orchestrator.ledger.setup import Setup
from orchestrator.ledger.spooled import MOST_COUNTED, is_waiting, spooled
from orchestrator.money import NanoUsd
from orchestrator.recording import drain
from orchestrator.store.database import Database

NOW = datetime.now(UTC)
QUIET = {"ORCHESTRATOR_REVENUE__MLX_URL": ""}


def record(database: Database, number: int) -> None:
    """Record a call of a dollar while another process holds the file."""
    with database.write():
        said = orchestrator.record_call(
            service="a", model="m", cost_usd=1, call_id=f"s{number}", now=NOW, db=database.path
        )
    assert said.outcome == "spooled"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a file with a call of a dollar in it, and three that wait."""
    call = Call("c", NOW, "openai", "gpt-4o", cost_nano=NanoUsd(10**9), cost_source="given")
    database = books.keep(tmp_path / "orchestrator.db", Books([call]))
    for number in range(3):
        record(database, number)
    database.close()
    orchestrator.close()
    return database.path


def context_of(path: Path) -> str:
    database = Database(path)
    said = format_for_context(database, Setup, None, NOW)
    database.close()
    return said


def costs(path: Path) -> str:
    return next(line for line in context_of(path).splitlines() if line.startswith("- Costs: "))


def test_the_context_says_how_many_records_wait_until_they_are_stored(path: Path) -> None:
    assert costs(path) == (
        "- Costs: $1.00 today (1 call), $1.00 in 30 days; net 30 days -$1.00 (3 records wait in the spool)"
    )

    database = Database(path)
    drain(database)
    database.close()

    assert costs(path) == "- Costs: $4.00 today (4 calls), $4.00 in 30 days; net 30 days -$4.00"


def test_a_file_with_nothing_recorded_but_a_spool_has_unknown_costs(tmp_path: Path) -> None:
    database = books.keep(tmp_path / "orchestrator.db", Books())
    record(database, 1)
    database.close()

    assert costs(database.path) == (
        "- Costs: unknown today (0 calls), unknown in 30 days; net 30 days unknown (1 record waits in the spool)"
    )


@pytest.mark.parametrize("fate", ["removed", "damaged"])
def test_a_file_that_cannot_be_read_still_says_that_records_wait(path: Path, fate: str) -> None:
    path.unlink() if fate == "removed" else path.write_bytes(b"no database" * 100)

    assert costs(path) == "- Costs: unknown (3 records wait in the spool)"


def test_a_profit_and_loss_names_them(path: Path) -> None:
    pnl = orchestrator.get_pnl(now=NOW, db=path)
    orchestrator.close()

    assert pnl.total_costs_usd == Decimal(1)
    assert (pnl.unknown, pnl.spooled_records) == (("spooled_records",), 3)

    said: Any = data(command(path.parent, "pnl", "--json", **QUIET))
    assert (said["unknown"], said["spooled_records"]) == (["spooled_records"], 3)
    table = command(path.parent, "pnl", **QUIET).stdout
    assert any(line.startswith("Net") and line.endswith("3 records wait in the spool") for line in table.splitlines())


def test_a_profit_and_loss_without_a_spool_names_nothing(path: Path) -> None:
    database = Database(path)
    drain(database)
    database.close()

    pnl = orchestrator.get_pnl(now=NOW, db=path)
    orchestrator.close()

    assert (pnl.unknown, pnl.spooled_records, pnl.total_costs_usd) == ((), 0, Decimal(4))


def test_a_breakdown_says_it_once_for_people_and_beside_each_row_for_programs(path: Path) -> None:
    shown = command(path.parent, "pnl", "--by", "day", "--days", "3", **QUIET)
    rows = command(path.parent, "pnl", "--by", "day", "--days", "3", "--export", "csv", **QUIET)

    remark = "3 records wait in the spool, and are not counted."
    assert shown.stdout.count("3 records") == 1
    assert shown.stdout.splitlines()[-1] == remark
    assert rows.stderr.splitlines() == [remark]
    assert [row["unknown"] for row in csv.DictReader(io.StringIO(rows.stdout))] == ["spooled_records"] * 3


@pytest.mark.parametrize("words", [(), ("--by", "model")])
def test_spend_says_it_below_the_table_and_beside_data(path: Path, words: tuple[str, ...]) -> None:
    remark = "3 records wait in the spool, and are not counted."

    assert command(path.parent, "spend", *words, **QUIET).stdout.splitlines()[-1] == remark
    assert command(path.parent, "spend", *words, "--json", **QUIET).stderr.splitlines() == [remark]


def test_status_and_doctor_count_them(path: Path) -> None:
    assert "Spool: 3 records wait in the spool: the file could not be written" in command(path.parent, "status").stdout
    assert data(command(path.parent, "status", "--json"))["spooled_records"] == 3
    assert "warning  spool: 3 records wait in the spool: the daemon" in command(path.parent, "doctor", **QUIET).stdout

    assert command(path.parent, "once", **QUIET).returncode == 0

    assert "Spool" not in command(path.parent, "status").stdout
    assert "ok       spool: no record waits" in command(path.parent, "doctor", **QUIET).stdout


def test_doctor_tells_of_lost_records_and_of_lines_that_are_none(path: Path, tmp_path: Path) -> None:
    Path(f"{path}-spool-bad.jsonl").write_bytes(b"x\ny\n")
    (tmp_path / "no").mkdir()
    lost = command(
        tmp_path, "--db", str(tmp_path / "no" / "such" / "x.db"), "record", "call", "--service", "a", "--model", "m"
    )

    here = command(tmp_path, "doctor", **QUIET)
    there = command(tmp_path, "--db", str(tmp_path / "no" / "such" / "x.db"), "doctor", **QUIET)

    assert (lost.returncode, lost.stdout.split()[0]) == (1, "lost")
    assert f"warning  spool: 2 lines in {path}-spool-bad.jsonl are no records" in here.stdout
    [line] = [line for line in there.stdout.splitlines() if line.startswith("failed   lost: ")]
    assert line.startswith("failed   lost: 1 record lost, last at ")
    assert "No such file or directory" in line
    assert line.endswith("to x.db-spool.jsonl, then remove it")
    assert there.returncode == 1


def test_a_spool_too_long_to_count_waits_without_a_number(path: Path) -> None:
    spool = Path(f"{path}-spool.jsonl")
    spool.write_bytes(b"x" * 99 + b"\n")
    assert spooled(path) == 1

    spool.write_bytes((b"x" * 99 + b"\n") * (MOST_COUNTED // 100 + 1))

    assert spooled(path) is None
    assert costs(path).endswith("net 30 days -$1.00 (records wait in the spool)")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_spool_that_may_not_be_read_waits_without_a_number(path: Path) -> None:
    Path(f"{path}-spool.jsonl").chmod(0)

    assert spooled(path) is None


def test_something_else_in_the_place_of_the_spool_holds_nobody_up(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    os.mkfifo(f"{path}-spool.jsonl")
    assert spooled(path) == 0
    Path(f"{path}-spool.jsonl").unlink()
    Path(f"{path}-spool.jsonl").mkdir()
    assert spooled(path) == 0
    Path(f"{path}-spool.jsonl").rmdir()
    Path(f"{path}-spool.jsonl").symlink_to(tmp_path / "elsewhere")
    assert spooled(path) == 0
    (tmp_path / "elsewhere").write_text("x\n")
    assert spooled(path) == 0

    assert not is_waiting(Path("a\0b"))
