"""`orchestrator record`: options and lines of JSON become records; what cannot is named, and the rest is kept."""

import json
import os
import pty
import subprocess
import sys
import time
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import apsw
import click
import pytest

from orchestrator.cli import jsonl
from orchestrator.cli import record as commands
from orchestrator.recording import spool
from orchestrator.recording.call import NAMES
from orchestrator.recording.entry import COST_NAMES, REVENUE_NAMES

ROOT = Path(__file__).parents[1]
CALL = (
    "call",
    "--service",
    "anthropic",
    "--model",
    "claude-3-5-haiku",
    "--input-tokens",
    "450",
    "--output-tokens",
    "180",
)
LINE: Mapping[str, Any] = {
    "service": "anthropic",
    "model": "claude-3-5-haiku",
    "input_tokens": 450,
    "output_tokens": 180,
}


def environment(home: Path) -> dict[str, str]:
    return {
        "HOME": str(home / "home"), "PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"],
        "ORCHESTRATOR_DB": str(home / "orchestrator.db"),
    }  # fmt: skip


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "orchestrator.db"


def record(
    path: Path, *words: str, lines: str | bytes = "", before: tuple[str, ...] = ()
) -> "subprocess.CompletedProcess[str]":
    content = lines.encode() if isinstance(lines, str) else lines
    done = subprocess.run(
        [sys.executable, "-m", "orchestrator", *before, "record", *words],
        cwd=path.parent, env=environment(path.parent), input=content, capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


def rows(path: Path, query: str) -> list[tuple[Any, ...]]:
    connection = apsw.Connection(str(path))
    try:
        return list(connection.execute(query))
    finally:
        connection.close()


def test_the_options_are_the_arguments_of_the_api() -> None:
    shell = {"lines", "strict", "as_json"}

    for command, names in (
        (commands.call, NAMES), (commands.cost, COST_NAMES), (commands.revenue, REVENUE_NAMES),
    ):  # fmt: skip
        assert {param.name for param in command.params} - shell == names
        flags = {param.opts[0] for param in command.params if isinstance(param, click.Option)}
        assert flags == {f"--{name.replace('_', '-')}" for name in names} | {"--strict", "--json"}


def test_a_call_is_recorded_priced_and_told(path: Path) -> None:
    done = record(path, *CALL, "--call-id", "a", "--tenant-id", "acme", "--cache-hit", "--metadata", '{"k": 1.50}')

    assert (done.returncode, done.stdout, done.stderr) == (0, "stored a $0.00 (cached)\n", "")
    assert rows(path, "SELECT tenant_id, cache_hit, metadata FROM ai_calls") == [("acme", 1, '{"k":"1.50"}')]


def test_the_answer_as_json_has_the_names_of_the_api(path: Path) -> None:
    done = record(path, *CALL, "--call-id", "a", "--json")

    answer = json.loads(done.stdout, parse_float=Decimal)
    assert set(answer) == {"generated_at", "data"}
    assert answer["data"] == {
        "id": "a", "cost_usd": Decimal("0.00108"), "cost_source": "priced", "outcome": "stored", "problem": None,
    }  # fmt: skip


def test_recording_it_again_is_no_failure(path: Path) -> None:
    record(path, *CALL, "--call-id", "a")

    done = record(path, *CALL, "--call-id", "a")

    assert (done.returncode, done.stdout) == (0, "duplicate a $0.0011 (priced)\n")


def test_what_is_wrong_with_a_record_is_said_on_stderr(path: Path) -> None:
    done = record(path, "call", "--service", "me", "--model", "mine", "--input-tokens", "-4")

    assert done.returncode == 0
    assert done.stdout.endswith(" cost unknown\n")
    assert done.stderr == "input_tokens is not a whole number from 0 to 2^63 - 1\n"


def test_strict_records_nothing_that_is_not_as_it_should_be(path: Path) -> None:
    done = record(path, "call", "--service", "me", "--model", "mine", "--input-tokens", "-4", "--strict")

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "error: input_tokens is not a whole number from 0 to 2^63 - 1\n"
    assert not path.exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("call", "--service", "a"), "Missing option '--model'"),
        (("call", "--service", "a", "--model", "b", "--input-tokens", "x"), "'x' is not a valid integer"),
        (("call", "--service", "a", "--model", "b", "--cost-usd", "x"), "'x' is not a number"),
        (("call", "--service", "a", "--model", "b", "--called-at", "2026-11-21T07:30"), "nor a day nor a time"),
        (("call", "--service", "a", "--model", "b", "--usage", "[]"), "is not a JSON object"),
        (("cost", "--category", "a"), "Missing option '--amount-usd'"),
        (("revenue", "--source", "a"), "Missing option '--amount-usd'"),
        (("call", "-", "--strict"), "--strict is for a single record"),
        (("call", "x"), "'x' is not '-'"),
        (("void",), "Missing argument"),
    ],
)
def test_a_wrong_command_line_ends_with_2_and_records_nothing(path: Path, words: tuple[str, ...], said: str) -> None:
    done = record(path, *words)

    assert done.returncode == 2
    assert said.replace("nor a day nor a time", "neither a day nor a time") in done.stderr
    assert not path.exists()


def test_mining_is_refused_with_the_reason(path: Path) -> None:
    done = record(path, "revenue", "--source", "xmr-mining", "--amount-usd", "5")

    assert done.returncode == 1
    assert done.stdout.startswith("refused ")
    assert "count it twice" in done.stderr


def test_an_operating_cost_is_spread_over_its_days(path: Path) -> None:
    done = record(
        path, "cost", "--category", "hosting", "--amount-usd", "30", "--period-start", "2026-11-01", "--period-end", "2026-12-01"
    )  # fmt: skip

    assert done.returncode == 0
    assert rows(path, "SELECT count(*), min(amount_nano), max(amount_nano) FROM daily_operating_costs") == [
        (30, 10**9, 10**9)
    ]


def test_revenue_without_a_rate_is_unknown(path: Path) -> None:
    done = record(path, "revenue", "--source", "bounty", "--currency", "EUR", "--original-amount", "7.50")

    assert done.returncode == 0
    assert "EUR without amount_usd" in done.stderr
    assert rows(path, "SELECT amount_nano, original_amount FROM revenue") == [(None, "7.50")]


def test_lines_are_recorded_and_each_bad_one_is_named_by_its_number(path: Path) -> None:
    lines = [
        json.dumps({**LINE, "call_id": "a"}), "nonsense", "", json.dumps({**LINE, "call_id": "a"}), "[]",
        json.dumps({"service": "x"}), json.dumps({**LINE, "colour": 1}), json.dumps({**LINE, "model": "none"}),
        json.dumps({**LINE, "model": "none", "tenant_id": "own"}), json.dumps({**LINE, "call_id": "b"}),
    ]  # fmt: skip

    done = record(path, "call", "-", "--tenant-id", "acme", lines="\ufeff" + "\r\n".join(lines))

    assert done.returncode == 1
    assert done.stdout == "4 stored, 1 duplicate, 2 refused, 2 failed\n"
    assert done.stderr.splitlines() == [
        "line 2: failed: is not JSON",
        "line 5: failed: is not a JSON object",
        "line 6: refused: there is no model",
        "line 7: refused: there is no argument 'colour'",
        "line 8 and 1 more: no price: the service's price list has no such model",
    ]
    assert rows(path, "SELECT tenant_id, calls FROM daily_totals ORDER BY 1") == [("acme", 3), ("own", 1)]


def test_a_line_that_is_too_long_is_named_and_those_after_it_are_kept(path: Path) -> None:
    long = '{"note": "' + "x" * (jsonl.LONGEST_LINE + jsonl.BLOCK) + '"}'
    line = json.dumps(LINE)

    in_the_middle = record(path, "call", "-", lines="\n".join([line, long, line, "", line]))
    at_the_end = record(path, "call", "-", lines="\n".join([line, long]))

    assert (in_the_middle.returncode, in_the_middle.stdout) == (1, "3 stored, 1 failed\n")
    assert in_the_middle.stderr == "line 2: failed: is longer than 16 MiB\n"
    assert (at_the_end.returncode, at_the_end.stdout) == (1, "1 stored, 1 failed\n")


def test_lines_that_are_all_in_order_end_with_0(path: Path) -> None:
    done = record(
        path, "cost", "-", lines='{"category": "a", "amount_usd": 0.1}\n{"category": "a", "amount_usd": "0.2"}\n'
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, "2 stored\n", "")
    assert rows(path, "SELECT sum(amount_nano) FROM operating_costs") == [(300_000_000,)]


def test_no_lines_are_nothing_to_record(path: Path) -> None:
    done = record(path, "revenue", "-")

    assert (done.returncode, done.stdout) == (0, "nothing to record\n")
    assert not path.exists()


def test_lines_as_json_tell_what_became_of_each(path: Path) -> None:
    done = record(path, "call", "-", "--json", lines=f"{json.dumps({**LINE, 'call_id': 'a'})}\nx\n")

    assert json.loads(done.stdout)["data"] == [
        {"line": 1, "id": "a", "cost_usd": 0.00108, "cost_source": "priced", "outcome": "stored", "problem": None},
        {"line": 2, "id": None, "cost_usd": None, "cost_source": None, "outcome": "failed", "problem": "is not JSON"},
    ]


def test_a_line_in_a_pipe_is_recorded_before_the_next_one_comes(path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "orchestrator", "record", "call", "-"], cwd=path.parent, env=environment(path.parent),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdin is not None
        process.stdin.write(json.dumps(LINE).encode() + b"\n" + json.dumps(LINE).encode()[:20])
        process.stdin.flush()
        late = time.monotonic() + 30
        while not path.exists() or not counted(path):
            assert time.monotonic() < late
            time.sleep(0.02)
        process.stdin.write(json.dumps(LINE).encode()[20:])
        process.stdin.close()
        assert process.stdout is not None
        assert process.stdout.read() == b"2 stored\n"


def counted(path: Path) -> int:
    try:
        return int(rows(path, "SELECT count(*) FROM ai_calls")[0][0])
    except apsw.Error:
        return 0


def test_long_input_shows_a_bar_on_a_terminal(path: Path) -> None:
    long = path.parent / "calls.jsonl"
    long.write_text("".join(json.dumps({**LINE, "call_id": f"c{n}", "error": "x" * 300}) + "\n" for n in range(4000)))
    ours, theirs = pty.openpty()
    with long.open("rb") as lines, subprocess.Popen(
        [sys.executable, "-m", "orchestrator", "record", "call", "-"], cwd=path.parent, env=environment(path.parent),
        stdin=lines, stdout=subprocess.PIPE, stderr=theirs,
    ) as process:  # fmt: skip
        os.close(theirs)
        said = b"".join(iter(lambda: read(ours), b""))
        assert process.stdout is not None
        assert process.stdout.read() == b"4000 stored\n"
    os.close(ours)

    assert b"recording" in said
    assert b"100%" in said


def read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:
        return b""


def test_a_locked_file_leaves_what_was_said_in_the_spool_and_the_next_record_drains_it(path: Path) -> None:
    record(path, *CALL, "--call-id", "a")
    connection = apsw.Connection(str(path))
    connection.execute("BEGIN IMMEDIATE")
    done = record(path, *CALL, "--call-id", "b")
    connection.close()

    assert (done.returncode, done.stdout) == (0, "spooled b $0.0011 (priced)\n")
    assert "locked" in done.stderr
    assert spool.spool_of(path).exists()
    record(path, *CALL, "--call-id", "c")
    assert rows(path, "SELECT call_id FROM ai_calls ORDER BY 1") == [("a",), ("b",), ("c",)]


def test_a_record_that_can_be_kept_nowhere_ends_with_1(path: Path) -> None:
    done = record(path, *CALL, before=("--db", str(path.parent / "no such folder" / "x.db")))

    assert done.returncode == 1
    assert done.stdout.startswith("lost ")


def test_prices_of_the_named_configuration_count(path: Path) -> None:
    config = path.parent / "mine.toml"
    config.write_text(
        '[orchestrator]\n[prices."claude-3-5-haiku"]\ninput_per_million = 1.0\noutput_per_million = 5.0\n'
    )

    done = record(path, *CALL, "--json", before=("--config", str(config)))

    assert json.loads(done.stdout)["data"]["cost_usd"] == 0.00135


def test_void_takes_a_call_or_an_entry_out_of_every_sum(path: Path) -> None:
    record(path, *CALL, "--call-id", "a")
    record(path, "cost", "--category", "x", "--amount-usd", "5", "--entry-id", "b")
    record(path, "revenue", "--source", "x", "--amount-usd", "5", "--entry-id", "c")

    done = record(path, "void", "a", "b", "c", "nobody")
    again = record(path, "void", "a", "--json")

    assert done.returncode == 1
    assert done.stdout == "a: voided\nb: voided\nc: voided\n"
    assert done.stderr == "nobody: nothing was recorded under this id\n"
    assert (again.returncode, json.loads(again.stdout)["data"]) == (0, [{"id": "a", "outcome": "already voided"}])
    assert rows(path, "SELECT count(*) FROM daily_costs") == [(0,)]
    assert rows(path, "SELECT count(*) FROM daily_operating_costs") == [(0,)]
    assert record(path, *CALL, "--call-id", "a").stderr == "voided\n"


def test_void_asks_which_where_two_have_the_same_id(path: Path) -> None:
    record(path, "cost", "--category", "x", "--amount-usd", "5", "--entry-id", "a")
    record(path, "revenue", "--source", "x", "--amount-usd", "5", "--entry-id", "a")

    done = record(path, "void", "a")
    told = record(path, "void", "a", "--kind", "revenue")

    assert (done.returncode, told.returncode, told.stdout) == (1, 0, "a: voided\n")
    assert "--kind" in done.stderr
    assert rows(
        path, "SELECT (SELECT voided_at FROM operating_costs) IS NULL, (SELECT voided_at FROM revenue) IS NULL"
    ) == [(1, 0)]


def test_void_reads_lines_too(path: Path) -> None:
    record(path, *CALL, "--call-id", "a")
    record(path, "cost", "--category", "x", "--amount-usd", "5", "--entry-id", "b")

    done = record(
        path, "void", "-", lines='{"id": "a"}\nx\n{"id": 4}\n{"id": "b", "kind": "cost"}\n{"id": "b", "kind": "x"}'
    )

    assert done.returncode == 1
    assert done.stdout == "line 1: a: voided\nline 4: b: voided\n"
    assert [line.split(":")[0] for line in done.stderr.splitlines()] == ["line 2", "line 3", "line 5"]


def test_void_finds_what_still_waits_in_the_spool(path: Path) -> None:
    record(path, *CALL, "--call-id", "a")
    connection = apsw.Connection(str(path))
    connection.execute("BEGIN IMMEDIATE")
    record(path, *CALL, "--call-id", "b")
    connection.close()

    assert record(path, "void", "b").stdout == "b: voided\n"


def test_void_without_a_file_says_so_and_makes_none(path: Path) -> None:
    done = record(path, "void", "a")

    assert done.returncode == 1
    assert "there is no database yet" in done.stderr
    assert not path.exists()
