"""`rebuild`: what was kept wrongly is right again, and days move to another zone, also while others write."""

import re
import signal
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from subprocess import PIPE, Popen

import pytest
from processes import FAST, daemon, ended, environment, finished, rows, services, until

from orchestrator.ledger import calls, entries, growth_days, growth_rollups, rollups, setup, snapshots
from orchestrator.ledger.calls import Call
from orchestrator.ledger.entries import OperatingCost, Revenue
from orchestrator.ledger.setup import Setup
from orchestrator.ledger.snapshots import XMR_MINING, Snapshot
from orchestrator.money import NanoUsd
from orchestrator.periods import text_from_instant, zone
from orchestrator.store.database import Database

NOW = datetime.now(UTC)
UTC_ZONE = zone("UTC")
NO_MLX = {"ORCHESTRATOR_REVENUE__MLX_URL": ""}

CALL = Call("one", NOW, "anthropic", "claude-3-5-haiku", cost_nano=NanoUsd(7), cost_source="given")
COST = OperatingCost("two", "hosting", NanoUsd(10**9), NOW, NOW + timedelta(days=3))
REVENUE = Revenue("three", "sales", NOW, NanoUsd(5))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "orchestrator.db"


def open_file(path: Path, days_of_calls: int = 0, days_of_readings: int = 0) -> Database:
    """Return a file with calls and readings of every hour up to now, in UTC, and a cost and a revenue."""
    database = Database(path)
    with database.write() as connection:
        setup.write(connection, Setup(sources=(XMR_MINING,)))
        times = [NOW - timedelta(hours=n) for n in range(24 * days_of_calls)]
        calls.insert_many(
            connection,
            [
                CALL._replace(call_id=f"call-{n}", called_at=at, tenant_id=f"t{n % 3}", cost_nano=NanoUsd(10**6 + n))
                for n, at in enumerate(times)
            ],
            UTC_ZONE,
        )
        for n in range(24 * days_of_readings, -1, -1):
            at = NOW - timedelta(hours=n)
            reading = Snapshot(XMR_MINING, at, 10**12 - n * 10**9, 0, xmr_price_usd=150.0)
            snapshots.insert(connection, reading)
    closed = True
    while closed:
        with database.write() as connection:
            closed = bool(growth_days.close_days(connection, XMR_MINING, UTC_ZONE, 300, NOW))
    return database


def sums(database: Database) -> list[tuple[int, ...]]:
    with database.read() as connection:
        return [
            connection.execute("SELECT sum(calls), sum(cost_nano), sum(unpriced_calls) FROM daily_totals").get,
            connection.execute("SELECT sum(calls), sum(cost_nano), sum(unpriced_calls) FROM daily_costs").get,
            connection.execute("SELECT sum(amount_nano), count(day) FROM daily_operating_costs").get,
            connection.execute("SELECT sum(amount_nano), count(day) FROM revenue").get,
        ]


def differences(database: Database, timezone: str) -> list[object]:
    tz = zone(timezone)
    with database.read() as connection:
        return [*rollups.verify(connection, tz), *growth_rollups.verify(connection, tz, 300, NOW)]


def test_everything_that_was_tampered_with_is_mended(tmp_path: Path, path: Path) -> None:
    database = open_file(path, days_of_calls=3, days_of_readings=5)
    with database.write() as connection:
        entries.insert_cost(connection, COST, UTC_ZONE)
        entries.insert_revenue(connection, REVENUE, UTC_ZONE)
    right = sums(database)
    with database.write() as connection:
        for table in ("daily_costs", "daily_totals", "daily_user_costs"):
            connection.execute(f"UPDATE {table} SET cost_nano = cost_nano + 1, calls = calls + 1")
        connection.execute("DELETE FROM daily_operating_costs")
        connection.execute("UPDATE revenue SET day = '2020-02-02'")
        connection.execute("UPDATE daily_growth SET earned_nano = 0")
    assert differences(database, "UTC")
    environ = environment(tmp_path, **NO_MLX)

    before = finished("doctor", "--verify", environ=environ, cwd=tmp_path)
    done = finished("rebuild", environ=environ, cwd=tmp_path)
    after = finished("doctor", "--verify", environ=environ, cwd=tmp_path)

    assert (before.returncode, done.returncode, after.returncode) == (1, 0, 0), done.stderr
    assert done.stdout == "The sums of days are made anew, in UTC.\n"
    assert sums(database) == right
    assert differences(database, "UTC") == []
    database.close()


def store_call(database: Database) -> None:
    with database.write() as connection:
        calls.insert(connection, CALL, UTC_ZONE)


def store_cost(database: Database) -> None:
    with database.write() as connection:
        entries.insert_cost(connection, COST, UTC_ZONE)


def store_revenue(database: Database) -> None:
    with database.write() as connection:
        entries.insert_revenue(connection, REVENUE, UTC_ZONE)


def store_growth(database: Database) -> None:
    with database.write() as connection:
        connection.execute(
            "INSERT INTO daily_growth (day, source, covered_seconds, flag) VALUES ('2026-01-01', 'mlx-api', 0, 'exact')"
        )


@pytest.mark.parametrize("store", [store_call, store_cost, store_revenue, store_growth])
def test_another_zone_is_refused_on_a_file_with_days_and_the_command_it_names_moves_them(
    tmp_path: Path, path: Path, store: object
) -> None:
    database = open_file(path)
    assert callable(store)
    store(database)
    environ = environment(tmp_path, **NO_MLX, ORCHESTRATOR_ORCHESTRATOR__TIMEZONE="Asia/Tokyo")

    refused = finished("once", environ=environ, cwd=tmp_path)
    named = re.search(r"`orchestrator (.* rebuild [^`]+)`", refused.stderr)
    assert (refused.returncode, refused.stderr.count("\n")) == (78, 1)
    assert named is not None

    moved = finished(*named[1].split(), environ=environ, cwd=tmp_path)
    again = finished("once", environ=environ, cwd=tmp_path)

    assert (moved.returncode, moved.stdout, moved.stderr) == (0, "The sums of days are made anew, in Asia/Tokyo.\n", "")
    assert again.returncode == 0, again.stderr
    assert differences(database, "Asia/Tokyo") == []
    database.close()


def test_without_a_zone_of_its_own_it_refuses_the_configured_other_one_too(tmp_path: Path, path: Path) -> None:
    database = open_file(path)
    store_call(database)
    environ = environment(tmp_path, ORCHESTRATOR_ORCHESTRATOR__TIMEZONE="Asia/Tokyo")

    done = finished("rebuild", environ=environ, cwd=tmp_path)

    assert (done.returncode, "rebuild --timezone Asia/Tokyo" in done.stderr) == (78, True)
    assert rows(path, "SELECT value FROM meta WHERE key = 'timezone'") == [("UTC",)]
    database.close()


def test_a_zone_that_is_not_the_configured_one_comes_with_a_warning(tmp_path: Path, path: Path) -> None:
    open_file(path).close()
    environ = environment(tmp_path, ORCHESTRATOR_ORCHESTRATOR__TIMEZONE="Asia/Tokyo")

    done = finished("rebuild", "--timezone", "Europe/Vienna", environ=environ, cwd=tmp_path)

    assert done.returncode == 0
    assert done.stderr.startswith("warning: orchestrator.timezone is Asia/Tokyo: set it to Europe/Vienna")


def test_it_says_which_days_stay_those_of_the_old_zone_and_no_total_changes(tmp_path: Path, path: Path) -> None:
    database = open_file(path, days_of_calls=30, days_of_readings=30)
    environ = environment(
        tmp_path, **NO_MLX, ORCHESTRATOR_RETENTION__CALLS_DAYS=10, ORCHESTRATOR_REVENUE__RETENTION_DAYS=20
    )
    pruned = finished("prune", environ=environ, cwd=tmp_path)
    assert re.match(r"[1-9]\d+ snapshots, [1-9]\d+ calls, ", pruned.stdout), pruned.stdout + pruned.stderr
    before, growth = sums(database), rows(path, "SELECT sum(earned_atomic), sum(earned_nano) FROM daily_growth")
    calls_from, readings_from = ((NOW - timedelta(days=n)).date().isoformat() for n in (10, 20))
    kept = f"SELECT * FROM daily_growth WHERE day < '{readings_from}'"
    kept_growth, kept_costs = rows(path, kept), rows(path, f"SELECT * FROM daily_costs WHERE day < '{calls_from}'")

    done = finished("rebuild", "--timezone", "America/New_York", environ=environ, cwd=tmp_path)

    assert done.stdout.splitlines() == [
        "The sums of days are made anew, in America/New_York.",
        f"AI calls before {calls_from} were pruned: those days stay as they were, days of UTC.",
        f"Snapshots before {readings_from} were pruned: those days stay as they were, days of UTC.",
    ]
    assert sums(database) == before
    assert rows(path, kept) == kept_growth
    assert rows(path, f"SELECT * FROM daily_costs WHERE day < '{calls_from}'") == kept_costs
    assert differences(database, "America/New_York") == []
    # The last day that is closed ends at another hour; nothing else differs.
    closed = rows(path, "SELECT sum(earned_atomic), sum(earned_nano) FROM daily_growth")
    assert isinstance(closed[0][0], int)
    assert isinstance(growth[0][0], int)
    assert abs(growth[0][0] - closed[0][0]) <= 24 * 10**9
    database.close()


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("rebuild", "--timezone", "Europe/Wien"), 2, "did you mean Europe/Vienna?"),
        (("rebuild", "--timezone", "../etc/passwd"), 2, "no time zone"),
        (("rebuild",), 1, "there is no database yet"),
    ],
)
def test_it_says_in_a_line_what_is_wrong_and_makes_no_file(
    tmp_path: Path, path: Path, arguments: tuple[str, ...], code: int, says: str
) -> None:
    done = finished(*arguments, environ=environment(tmp_path), cwd=tmp_path)

    assert (done.returncode, says in done.stderr, done.stdout) == (code, True, "")
    assert not path.exists()


def test_a_rebuild_that_was_broken_off_is_found_and_completed(tmp_path: Path, path: Path) -> None:
    database = open_file(path, days_of_calls=5, days_of_readings=5)
    before = sums(database)
    for _ in growth_rollups.rebuild(database, zone("Asia/Tokyo"), 300, NOW):
        break
    next(rollups.rebuild(database, zone("Asia/Tokyo"), batch=10))
    environ = environment(tmp_path, **NO_MLX)

    found = finished("doctor", "--verify", environ=environ, cwd=tmp_path)
    done = finished("rebuild", environ=environ, cwd=tmp_path)

    assert found.returncode == 1
    assert "a rebuild in Asia/Tokyo is under way, or was broken off: run `orchestrator rebuild`" in found.stdout
    assert done.stdout == "The sums of days are made anew, in Asia/Tokyo.\n"
    assert finished("doctor", "--verify", environ=environ, cwd=tmp_path).returncode == 0
    assert sums(database) == before
    database.close()


RECORDER = """
import sys
from orchestrator import record_call
from orchestrator.store.database import Database
name, path = sys.argv[1:]
database = Database(path)
for n in range(10**9):
    one = record_call(service="me", model="m", cost_usd="0.001", call_id=f"{name}-{n}", tenant_id=name, db=database)
    assert one.outcome in ("stored", "spooled"), one
    print(one.id, flush=True)
"""


@pytest.fixture
def recorders(tmp_path: Path, path: Path) -> Iterator[list[list[str]]]:
    """Two processes that record calls until the test ends them; the ids that they were told are recorded."""
    environ = environment(tmp_path)
    running = [
        Popen([sys.executable, "-c", RECORDER, name, str(path)], env=environ, cwd=tmp_path, stdout=PIPE, text=True)
        for name in ("a", "b")
    ]
    told: list[list[str]] = [[], []]

    def listen(process: "Popen[str]", ids: list[str]) -> None:
        assert process.stdout is not None
        ids.extend(line.strip() for line in process.stdout if line.endswith("\n"))

    threads = [threading.Thread(target=listen, args=pair) for pair in zip(running, told, strict=True)]
    for thread in threads:
        thread.start()
    yield told
    for process, thread in zip(running, threads, strict=True):
        process.kill()
        thread.join()
        process.communicate()


@pytest.mark.slow
def test_a_daemon_and_agents_go_on_while_the_days_move_to_another_zone(
    tmp_path: Path, path: Path, recorders: list[list[str]]
) -> None:
    database = open_file(path, days_of_calls=60, days_of_readings=60)
    with services() as server:
        environ = environment(tmp_path, server, **FAST)
        with daemon(environ, tmp_path) as process:
            until(lambda: len(rows(path, "SELECT id FROM revenue_snapshots WHERE source = 'mlx-api'")) > 1)
            until(lambda: all(len(ids) > 20 for ids in recorders))
            for timezone in ("Asia/Kolkata", "America/New_York", "Asia/Kolkata"):
                done = finished("rebuild", "--timezone", timezone, environ=environ, cwd=tmp_path)
                assert done.returncode == 0, done.stderr
            seen = [len(ids) for ids in recorders]
            until(lambda: all(len(ids) > n + 20 for n, ids in zip(seen, recorders, strict=True)))
            code, _, log = ended(process, signal.SIGTERM)
        assert (code, "Traceback" in log, "error" in log) == (0, False, False), log
        told = {one for ids in recorders for one in list(ids)}
        finished("once", environ=environ, cwd=tmp_path)

    with database.read() as connection:
        stored = {str(one) for (one,) in connection.execute("SELECT call_id FROM ai_calls WHERE service = 'me'")}
    assert told <= stored
    assert differences(database, "Asia/Kolkata") == []
    assert finished("doctor", "--verify", environ=environ, cwd=tmp_path).returncode == 0
    database.close()


def test_old_calls_go_and_what_they_cost_stays(tmp_path: Path, path: Path) -> None:
    database = open_file(path, days_of_calls=12)
    before = sums(database)
    environ = environment(tmp_path, **NO_MLX, ORCHESTRATOR_RETENTION__CALLS_DAYS=5)

    would = finished("prune", "--dry-run", environ=environ, cwd=tmp_path)
    done = finished("once", environ=environ, cwd=tmp_path)

    assert done.returncode == 0, done.stderr
    first = (NOW - timedelta(days=5)).date().isoformat()
    assert rows(path, "SELECT min(day), count(id) FROM ai_calls") == [
        (first, sum(at >= first for at in [text_from_instant(NOW - timedelta(hours=n)) for n in range(24 * 12)]))
    ]
    left = rows(path, "SELECT count(id) FROM ai_calls")[0][0]
    assert isinstance(left, int)
    assert f", {24 * 12 - left} calls, " in would.stdout
    assert sums(database) == before
    database.close()


def test_calls_that_are_kept_for_ever_stay(tmp_path: Path, path: Path) -> None:
    database = open_file(path, days_of_calls=12)
    environ = environment(tmp_path, **NO_MLX, ORCHESTRATOR_RETENTION__CALLS_DAYS=0)

    done = finished("prune", environ=environ, cwd=tmp_path)

    assert done.stdout.startswith("0 snapshots, 0 calls")
    database.close()
