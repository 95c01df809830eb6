"""`doctor --verify`: every sum of a day held against its rows, to the nano-dollar."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from processes import environment, finished, rows
from test_cli import data, orchestrator

from orchestrator.ledger import calls, entries, growth_days, local_days, setup, snapshots
from orchestrator.ledger.calls import Call
from orchestrator.ledger.entries import OperatingCost, Revenue
from orchestrator.ledger.setup import Setup
from orchestrator.ledger.snapshots import XMR_MINING, Snapshot
from orchestrator.money import NanoUsd
from orchestrator.periods import zone
from orchestrator.store.database import Database

NOON = datetime(2026, 11, 10, 12, tzinfo=UTC)
# Nobody answers there: who asked it would fail.
UNREACHABLE = {"ORCHESTRATOR_REVENUE__MLX_URL": "http://127.0.0.1:9"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder whose orchestrator.db has calls, a cost, a revenue and closed days of mining, all in order."""
    database, tz = Database(tmp_path / "orchestrator.db"), zone("Europe/Vienna")
    with database.write() as connection:
        setup.write(connection, Setup("Europe/Vienna", sources=(XMR_MINING,)))
        local_days.remember_zone(connection, tz)
        one = Call("", NOON, "anthropic", "claude-3-5-haiku", cost_nano=NanoUsd(1_080_000), cost_source="priced")
        calls.insert_many(
            connection,
            [one._replace(call_id=f"c{n}", called_at=NOON + n * timedelta(hours=5)) for n in range(20)],
            tz,
        )
        cost = OperatingCost("hosting-november", "hosting", NanoUsd(10**10 + 1), NOON, NOON + timedelta(days=7))
        entries.insert_cost(connection, cost, tz)
        entries.insert_revenue(connection, Revenue("r1", "sales", NOON, NanoUsd(5)), tz)
        for n in range(100):
            at = NOON + n * timedelta(hours=1)
            snapshots.insert(connection, Snapshot(XMR_MINING, at, n * 10**9, 0, xmr_price_usd=150.0))
        growth_days.close_days(connection, XMR_MINING, tz, 300, NOON + timedelta(days=10))
    database.close()
    return tmp_path


def change(folder: Path, statement: str) -> None:
    database = Database(folder / "orchestrator.db")
    with database.write() as connection:
        connection.execute(statement)
    database.close()


def findings(folder: Path) -> list[tuple[str, str]]:
    """Return state and text of what is said about sums."""
    done = orchestrator(folder, "doctor", "--verify", "--json", **UNREACHABLE)
    assert done.returncode in (0, 1), done.stderr
    found = data(type(done)(done.args, 0, done.stdout, done.stderr))
    assert (done.returncode == 1) == any(one["state"] == "failed" for one in found)
    return [(one["state"], one["text"]) for one in found if one["subject"] == "sums"]


def test_sums_in_order_are_said_to_be_and_no_source_is_asked(folder: Path) -> None:
    done = orchestrator(folder, "doctor", "--verify", **UNREACHABLE)

    assert done.returncode == 0, done.stdout
    assert done.stdout.splitlines()[-1] == "ok       sums: every day in Europe/Vienna is what its rows add up to"
    assert findings(folder) == [("ok", "every day in Europe/Vienna is what its rows add up to")]


@pytest.mark.parametrize(
    ("statement", "text"),
    [
        (
            "UPDATE daily_costs SET cost_nano = cost_nano - 1 WHERE day = '2026-11-11'",
            "daily_costs 2026-11-11 -/anthropic/claude-3-5-haiku/-/-: cost_nano is 4319999, its rows add up to 4320000",
        ),
        (
            "UPDATE daily_totals SET calls = 6 WHERE day = '2026-11-11'",
            "daily_totals 2026-11-11 -: calls is 6, its rows add up to 4",
        ),
        (
            "DELETE FROM daily_user_costs WHERE day = '2026-11-11'",
            "daily_user_costs 2026-11-11 -/-: calls is 0, its rows add up to 4",
        ),
        (
            "UPDATE daily_operating_costs SET amount_nano = amount_nano + 1 WHERE day = '2026-11-11'",
            "daily_operating_costs 2026-11-11 hosting/-/-: amount_nano is 1428571429, its rows add up to 1428571428",
        ),
        (
            "UPDATE ai_calls SET day = '2026-11-12' WHERE call_id = 'c0'",
            "ai_calls has 6 rows on 2026-11-12, 5 of them rightly",
        ),
        (
            "UPDATE ai_calls SET day = NULL WHERE call_id = 'c0'",
            "ai_calls has 1 rows on no day, 0 of them rightly",
        ),
        (
            "UPDATE operating_costs SET voided_at = '2026-11-12T00:00:00.000Z'",
            "daily_operating_costs 2026-11-11 hosting/-/-: amount_nano is 1428571428, its rows add up to 0",
        ),
        (
            "UPDATE revenue SET day = '2026-11-11'",
            "revenue has 1 rows on 2026-11-11, 0 of them rightly",
        ),
        (
            "UPDATE daily_growth SET earned_nano = earned_nano + 1 WHERE day = '2026-11-11'",
            "daily_growth 2026-11-11 xmr-mining: earned_nano is 3600000001, its snapshots make it 3600000000",
        ),
        (
            "UPDATE daily_growth SET requests = 3 WHERE day = '2026-11-11'",
            "daily_growth 2026-11-11 xmr-mining: requests is 3, its snapshots make it unknown",
        ),
    ],
)  # fmt: skip
def test_a_difference_is_found_to_the_nano_with_its_remedy_and_nothing_is_changed(
    folder: Path, statement: str, text: str
) -> None:
    change(folder, statement)
    database = Database(folder / "orchestrator.db")
    before = database.version()

    found = findings(folder)

    assert ("failed", f"{text}; run `orchestrator rebuild`") in found
    assert {state for state, _ in found} == {"failed"}
    assert database.version() == before
    database.close()
    assert orchestrator(folder, "rebuild", **UNREACHABLE).returncode == 0
    assert [state for state, _ in findings(folder)] == ["ok"]


def test_a_stranger_who_bypasses_nothing_leaves_no_difference(folder: Path) -> None:
    change(folder, "DELETE FROM ai_calls WHERE call_id = 'c3'")
    change(folder, "UPDATE ai_calls SET cost_nano = 7, tenant_id = 'acme' WHERE call_id = 'c4'")
    change(folder, "INSERT INTO ai_calls (called_at, service, cost_nano) VALUES ('2026-11-11 23:30:00', 'x', 3)")

    assert [state for state, _ in findings(folder)] == ["ok"]


def test_many_differences_are_cut_short_for_a_reader_but_not_in_json(folder: Path) -> None:
    change(
        folder,
        """
        WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100)
        INSERT INTO daily_operating_costs (day, category, service, tenant_id, amount_nano, entries)
        SELECT '2026-11-01', 'made up ' || i, '', '', 1, 0
        FROM n
        """,
    )

    done = orchestrator(folder, "doctor", "--verify", **UNREACHABLE)

    assert done.returncode == 1
    assert len(done.stdout.splitlines()) == 31
    assert done.stdout.splitlines()[-1] == "and 72 more; --json has them all"
    assert len(findings(folder)) == 100


def test_a_name_with_control_characters_stays_on_its_line(folder: Path) -> None:
    change(folder, "INSERT INTO daily_totals VALUES ('2026-11-01', 'a\n\x1b[31mb', 1, 0, 0, 0, 0, 0, 0, 0, 0, 0)")

    done = orchestrator(folder, "doctor", "--verify", **UNREACHABLE)

    assert "\x1b" not in done.stdout
    assert any(line.startswith("failed   sums: daily_totals 2026-11-01 a ") for line in done.stdout.splitlines())


def test_without_a_file_there_is_nothing_to_verify(tmp_path: Path) -> None:
    done = finished("doctor", "--verify", environ=environment(tmp_path), cwd=tmp_path)

    assert (done.returncode, "not made yet" in done.stdout) == (0, True)
    assert rows(tmp_path / "orchestrator.db", "SELECT 1") == []


def test_a_damaged_file_fails_before_anything_is_compared(folder: Path) -> None:
    path = folder / "orchestrator.db"
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(8192)
        file.write(os.urandom(size - 8192))

    done = orchestrator(folder, "doctor", "--verify", **UNREACHABLE)

    assert done.returncode == 1
    assert "sums" not in done.stdout
    assert "Traceback" not in done.stderr
