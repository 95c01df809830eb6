"""`pnl` and `spend`: what they print for people and for programs, where to, and how they refuse."""

import csv
import io
import json
import os
import pty
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import books
import pytest
from books import DAY, USD, Books

import orchestrator as api
from orchestrator.ledger import pruning
from orchestrator.ledger.calls import Call
from orchestrator.ledger.entries import OperatingCost, Revenue
from orchestrator.money import NanoUsd
from orchestrator.store.database import Database

ROOT = Path(__file__).parents[1]
# Noon, so that neither today nor yesterday ends while a test runs.
NOW = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0)
BAIT = '=HYPERLINK("http://example.org","x")'


def environment(home: Path, more: dict[str, str]) -> dict[str, str]:
    """Return an environment that knows nothing of this machine but where the code is, and what coverage needs."""
    kept = {name: value for name, value in os.environ.items() if name == "PATH" or name.startswith("COVERAGE_")}
    return {**kept, "HOME": str(home), "PYTHONPATH": str(ROOT), **more}


def orchestrator(cwd: Path, *args: str, **environ: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "orchestrator", *args], cwd=cwd, capture_output=True, text=True, timeout=60, check=False,
        env=environment(cwd / "home", environ),
    )  # fmt: skip


def on_a_terminal(cwd: Path, *args: str, **environ: str) -> str:
    """Return what a command shows on a terminal of 100 columns."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "orchestrator", *args], cwd=cwd, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs,
        env=environment(cwd / "home", {"TERM": "xterm", "COLUMNS": "100"} | environ),
    )  # fmt: skip
    os.close(theirs)
    shown = b""
    try:
        while chunk := os.read(ours, 65536):
            shown += chunk
    except OSError:
        pass  # Linux says so when nobody holds the other end any more.
    finally:
        os.close(ours)
    assert process.wait(60) == 0
    return shown.decode()


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """Return a folder whose orchestrator.db has a few calls, a cost and revenue."""
    kept = Books(
        [
            Call(
                "a",
                NOW,
                "openai",
                "gpt-4o",
                None,
                "premium",
                10,
                20,
                None,
                30,
                cost_nano=NanoUsd(1_230_000_001),
                tenant_id="acme",
            ),
            Call(
                "b", NOW - DAY, "openai", "gpt-4o", cost_nano=NanoUsd(2 * USD), user_id=BAIT, tenant_id="@cf/meta/llama"
            ),
            Call("c", NOW, None, "[red]evil[/red]\x1b[31m"),
        ],
        [OperatingCost("d", "hosting", NanoUsd(3 * USD), NOW)],
        [Revenue("e", "consulting", NOW, NanoUsd(10 * USD))],
    )
    books.keep(tmp_path / "orchestrator.db", kept).close()
    return tmp_path


def data(done: "subprocess.CompletedProcess[str]") -> Any:
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert set(answer) == {"generated_at", "data"}
    return answer["data"]


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_pnl_as_json_has_the_names_of_the_api(kept: Path) -> None:
    answer = data(orchestrator(kept, "pnl", "--json"))

    expected = vars(api.get_pnl(db=kept / "orchestrator.db"))
    api.close()
    assert list(answer) == list(expected)
    assert answer["total_revenue_usd"] == 10
    assert answer["total_costs_usd"] == float(expected["total_costs_usd"]) == 6.230000001
    assert (answer["unpriced_calls"], answer["unknown"], answer["mining_usd"]) == (1, ["ai_inference"], 0)


def test_pnl_by_day_adds_up_to_pnl(kept: Path) -> None:
    days = data(orchestrator(kept, "pnl", "--by", "day", "--json"))

    assert len(days) == 30
    assert days[-1]["day"] == NOW.date().isoformat()
    assert sum(Decimal(str(day["net_pnl_usd"])) for day in days) == Decimal("3.769999999")


def test_pnl_as_text_says_what_is_not_counted(kept: Path) -> None:
    lines = orchestrator(kept, "pnl").stdout.splitlines()

    assert lines[0].startswith("Profit and loss, ")
    assert [line.split("  ")[0] for line in lines[2:]] == [
        "Revenue", "- mined", "- booked", "Costs", "- AI calls", "- operating", "Net", "Coverage: no mining."
    ]  # fmt: skip
    assert lines[6].split() == ["-", "AI", "calls", "$3.23", "1", "unpriced", "call"]


@pytest.mark.parametrize(
    ("args", "title"),
    [
        (["--date", "2026-02-03"], "2026-02-03 (UTC)"),
        (["--since", "2026-02-03", "--until", "2026-02-04"], "2026-02-03 to 2026-02-04 (UTC)"),
        (["--since", "2026-02-03T06:00", "--until", "2026-02-04"], "2026-02-03 06:00 to 2026-02-05 00:00 (UTC)"),
    ],
)
def test_a_table_says_which_time_it_covers(kept: Path, args: list[str], title: str) -> None:
    assert orchestrator(kept, "pnl", *args).stdout.splitlines()[0] == f"Profit and loss, {title}"


def test_spend_in_all_has_the_names_of_the_api(kept: Path) -> None:
    answer = data(orchestrator(kept, "spend", "--json"))

    assert answer == {
        "total_cost_usd": 3.230000001,
        "total_calls": 3,
        "unpriced_calls": 1,
        "by_tier": {
            "": {"calls": 2, "cost_usd": 2, "unpriced_calls": 1},
            "premium": {"calls": 1, "cost_usd": 1.230000001, "unpriced_calls": 0},
        },
    }


def test_a_tier_that_is_called_null_is_not_taken_for_none(tmp_path: Path) -> None:
    some = [Call("a", NOW, tier="null", cost_nano=NanoUsd(USD)), Call("b", NOW, cost_nano=NanoUsd(2 * USD))]
    books.keep(tmp_path / "orchestrator.db", Books(some)).close()

    found = data(orchestrator(tmp_path, "spend", "--json"))["by_tier"]

    assert {tier: one["cost_usd"] for tier, one in found.items()} == {"": 2, "null": 1}
    rows_by_tier = data(orchestrator(tmp_path, "spend", "--by", "tier", "--json"))
    assert {row["tier"]: row["cost_usd"] for row in rows_by_tier} == {None: 2, "null": 1}


def test_a_row_of_a_breakdown_has_dimensions_by_name_and_sums(kept: Path) -> None:
    answer = data(orchestrator(kept, "spend", "--by", "service", "--json"))

    assert answer == [
        {"service": "openai", "calls": 2, "cost_usd": 3.230000001, "unpriced_calls": 0, "input_tokens": 10,
         "cache_read_tokens": 20, "cache_write_tokens": None, "output_tokens": 30, "reasoning_tokens": None},
        {"service": None, "calls": 1, "cost_usd": 0, "unpriced_calls": 1, "input_tokens": None,
         "cache_read_tokens": None, "cache_write_tokens": None, "output_tokens": None, "reasoning_tokens": None},
    ]  # fmt: skip


@pytest.mark.parametrize(
    "by", ["day", "week", "month", "service", "model", "operation", "tier", "tenant", "user", "endpoint", "resource"]
)
def test_every_breakdown_adds_up_in_every_form(kept: Path, by: str) -> None:
    answer = data(orchestrator(kept, "spend", "--by", by, "--json"))
    lines = [json.loads(line) for line in orchestrator(kept, "spend", "--by", by, "-f", "jsonl").stdout.splitlines()]
    cells = rows(orchestrator(kept, "spend", "--by", by, "--export", "csv").stdout)

    assert sum(row["calls"] for row in answer) == 3
    assert lines == answer
    assert [row["cost_usd"] for row in cells] == [str(Decimal(str(row["cost_usd"]))) for row in answer]
    assert [list(row) for row in cells] == [list(row) for row in answer]


def test_filters_leave_the_other_calls_out(kept: Path) -> None:
    def calls(*args: str) -> int:
        return int(data(orchestrator(kept, "spend", "--json", *args))["total_calls"])

    assert calls("--service", "openai") == 2
    assert calls("--tenant", "acme") == 1
    assert calls("--model", "gpt-4o", "--user", BAIT) == 1
    assert calls("--service", "nobody") == 0


def test_an_export_reads_back_to_the_nano(kept: Path) -> None:
    done = orchestrator(kept, "pnl", "-o", "pnl.csv")

    [row] = rows((kept / "pnl.csv").read_text())
    assert (done.stdout, done.stderr) == ("", "")
    expected = vars(api.get_pnl(db=kept / "orchestrator.db"))
    api.close()
    assert list(row) == list(expected)
    for name in ("total_revenue_usd", "total_costs_usd", "net_pnl_usd", "ai_inference_cost_usd", "operating_cost_usd"):
        assert Decimal(row[name]) == expected[name]
    assert row["unknown"] == "ai_inference"
    assert row["mining_hours"] == ""
    assert row["period_end"].endswith("T00:00:00.000Z")


def test_an_export_as_json_is_what_json_prints(kept: Path) -> None:
    orchestrator(kept, "spend", "--by", "day", "--export", "json", "-o", "days")

    assert json.loads((kept / "days").read_text())["data"] == data(orchestrator(kept, "spend", "--by", "day", "--json"))


def test_a_file_that_exists_is_never_written_over(kept: Path) -> None:
    before = (kept / "orchestrator.db").read_bytes()

    done = orchestrator(kept, "spend", "--export", "csv", "-o", "orchestrator.db")

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    assert "exists already" in done.stderr
    assert (kept / "orchestrator.db").read_bytes() == before


def test_a_folder_that_is_missing_is_one_line(kept: Path) -> None:
    done = orchestrator(kept, "spend", "-o", "no/such/x.csv")

    assert (done.returncode, done.stderr.count("\n")) == (1, 1)


def test_no_cell_of_an_export_is_a_formula(kept: Path) -> None:
    cells = rows(orchestrator(kept, "spend", "--by", "user", "-f", "csv").stdout)

    assert [(row["tenant_id"], row["user_id"]) for row in cells if row["user_id"]] == [("@cf/meta/llama", f"'{BAIT}")]


def test_a_strangers_words_stay_in_their_cell(kept: Path) -> None:
    piped = orchestrator(kept, "spend", "--by", "model").stdout
    shown = on_a_terminal(kept, "spend", "--by", "model", NO_COLOR="1")

    for text in (piped, shown):
        assert "[red]evil[/red] [31m" in text
        assert "\x1b[31m" not in text


def test_tables_are_drawn_on_a_terminal_only(kept: Path) -> None:
    piped = orchestrator(kept, "pnl", "--by", "month").stdout
    shown = on_a_terminal(kept, "pnl", "--by", "month")
    plain = on_a_terminal(kept, "pnl", NO_COLOR="1")

    assert "─" not in piped
    assert "─" in shown
    assert "\x1b[3" not in plain
    assert "Coverage: no mining." in plain


def test_a_cost_of_which_nothing_is_known_is_not_zero(kept: Path) -> None:
    lines = orchestrator(kept, "spend", "--by", "service").stdout.splitlines()

    assert lines[3].split() == ["(none)", "1", "1", "unknown", "unknown", "unknown", "unknown"]
    assert lines[4].split() == ["all", "3", "1", "$3.23", "10", "20", "30"]


def test_what_was_pruned_is_said_beside_the_data(kept: Path) -> None:
    database = Database(kept / "orchestrator.db")
    for _ in pruning.prune_calls(database, NOW.date()):
        pass
    database.close()

    by_user = orchestrator(kept, "spend", "--by", "user", "--json")
    by_model = orchestrator(kept, "spend", "--by", "model", "--json")

    assert f"Calls before {NOW.date()} were pruned" in by_user.stderr
    assert sum(row["calls"] for row in data(by_user)) == 2
    assert (by_model.stderr, sum(row["calls"] for row in data(by_model))) == ("", 3)
    assert f"Calls before {NOW.date()} were pruned" in orchestrator(kept, "spend", "--by", "user").stdout


@pytest.mark.parametrize(
    "args",
    [
        ["pnl", "--by", "model"],
        ["pnl", "--since", "soon"],
        ["spend", "--days", "2", "--period", "day"],
        ["spend", "--json", "-f", "csv"],
        ["spend", "--since", (NOW + timedelta(days=2)).isoformat()],
    ],
)
def test_what_cannot_be_meant_is_a_usage_error(kept: Path, args: list[str]) -> None:
    done = orchestrator(kept, *args)

    assert (done.returncode, done.stdout) == (2, "")


@pytest.mark.parametrize("command", ["pnl", "spend"])
def test_without_a_file_a_report_says_so_and_makes_none(tmp_path: Path, command: str) -> None:
    done = orchestrator(tmp_path, command)

    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "there is no database yet" in done.stderr
    assert not list(tmp_path.rglob("*.db"))
