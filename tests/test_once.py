"""`once`: one scan, stored, tidied up and told."""

import os
import pty
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import apsw
from loopback import closed_port, hang_up, reply
from processes import WALLET, command, environment, finished, locked, rows, services

from orchestrator.growth import READINGS_THAT_CONVINCE as KEPT
from orchestrator.periods import text_from_instant

NO_MLX = {"ORCHESTRATOR_REVENUE__MLX_URL": ""}


def test_each_source_gets_a_row_and_the_context_goes_to_stdout(tmp_path: Path) -> None:
    with services() as server:
        done = finished("once", environ=environment(tmp_path, server), cwd=tmp_path)

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == "Revenue:"
    assert "XMR Mining: $" in done.stdout
    assert "(0min ago)" in done.stdout
    assert [
        row[0] for row in rows(tmp_path / "orchestrator.db", "SELECT source FROM revenue_snapshots ORDER BY 1")
    ] == [
        "mlx-api",
        "xmr-mining",
    ]
    assert (tmp_path / "orchestrator.db").stat().st_mode & 0o777 == 0o600


def test_a_silent_source_gets_a_row_that_says_why_and_the_other_one_is_whole(tmp_path: Path) -> None:
    with services() as server:
        server.put(f"/pool/miner/{WALLET}/stats", hang_up)
        done = finished("once", environ=environment(tmp_path, server), cwd=tmp_path)

    mlx, xmr = rows(
        tmp_path / "orchestrator.db",
        "SELECT balance_atomic, xmr_price_usd, requests_served IS NOT NULL, error FROM revenue_snapshots ORDER BY source",
    )
    assert done.returncode == 0
    assert xmr == (None, 312.5, 0, "pool: answer broken off or not HTTP")
    assert mlx == (None, None, 1, None)


def test_strict_turns_a_source_without_a_good_value_into_exit_code_3(tmp_path: Path) -> None:
    with services() as server:
        environ = environment(tmp_path, server)
        well = finished("once", "--strict", environ=environ, cwd=tmp_path)
        server.put("/health", reply({"status": "ok"}))
        silent = finished("once", "--strict", environ=environ, cwd=tmp_path)

    assert well.returncode == 0
    assert silent.returncode == 3
    assert silent.stdout.startswith("Revenue:")
    assert len(rows(tmp_path / "orchestrator.db", "SELECT id FROM revenue_snapshots")) == 4


def test_a_missing_price_is_not_a_missing_source(tmp_path: Path) -> None:
    with services() as server:
        server.put("/price/simple/price", reply("", 429))
        done = finished("once", "--strict", environ=environment(tmp_path, server), cwd=tmp_path)

    assert done.returncode == 0
    assert "price unknown" in done.stdout


def test_a_newcomer_sees_what_is_unknown_and_what_to_do_next(tmp_path: Path) -> None:
    environ = environment(tmp_path, ORCHESTRATOR_REVENUE__MLX_URL=f"http://127.0.0.1:{closed_port()}")
    del environ["ORCHESTRATOR_DB"]

    done = finished("once", environ=environ, cwd=tmp_path)

    assert done.returncode == 0
    assert done.stdout == "Revenue:\n- MLX API: data unavailable (0min ago): connection refused\n"
    made, what_next = done.stderr.splitlines()
    path = tmp_path / ".local/state/orchestrator/orchestrator.db"
    assert path.exists()
    assert made.startswith(f"Made {path};")
    assert "orchestrator init" in what_next
    again = finished("once", environ=environ, cwd=tmp_path)
    assert len(again.stderr.splitlines()) == 1


def test_without_any_source_it_says_so_and_succeeds(tmp_path: Path) -> None:
    done = finished("once", "--strict", environ=environment(tmp_path, **NO_MLX), cwd=tmp_path)

    assert done.returncode == 0
    assert done.stdout == "Revenue: no source is configured\n"
    assert "orchestrator init" in done.stderr


def test_a_file_that_is_not_ours_is_one_line_and_exit_code_1(tmp_path: Path) -> None:
    path = tmp_path / "orchestrator.db"
    path.write_text("Not a database, but a letter.\n" * 100)
    before = path.read_bytes()

    done = finished("once", environ=environment(tmp_path, **NO_MLX), cwd=tmp_path)

    assert done.returncode == 1
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert "is not a SQLite database" in done.stderr
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_stays_locked_is_one_line_and_exit_code_1(tmp_path: Path) -> None:
    environ = environment(tmp_path, **NO_MLX)
    finished("once", environ=environ, cwd=tmp_path)

    with locked(tmp_path / "orchestrator.db"):
        done = finished("once", environ=environ, cwd=tmp_path)

    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "is locked by another process" in done.stderr


def test_a_wrong_configuration_is_exit_code_78_and_makes_no_file(tmp_path: Path) -> None:
    environ = environment(tmp_path, ORCHESTRATOR_REVENUE__XMR_WALLET="4oops")

    done = finished("once", environ=environ, cwd=tmp_path)

    assert done.returncode == 78
    assert "revenue.xmr_wallet" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_days_of_an_adopted_file_are_closed(tmp_path: Path) -> None:
    today = _a_node_file(tmp_path / "orchestrator.db", 40)

    done = finished("once", environ=environment(tmp_path, **NO_MLX), cwd=tmp_path)

    days = rows(tmp_path / "orchestrator.db", "SELECT day, earned_atomic, flag FROM daily_growth ORDER BY day")
    assert done.returncode == 0, done.stderr
    # The last reading is 23:00 of yesterday, which is not closed before 48 h have passed.
    assert len(days) == 39
    assert {row[1:] for row in days[1:]} == {(24_000_000_000, "exact")}
    assert days[-1][0] == (today - timedelta(days=2)).date().isoformat()


def test_who_watches_hears_how_far_the_closing_of_years_is(tmp_path: Path) -> None:
    _a_node_file(tmp_path / "orchestrator.db", 100)
    terminal, their_end = pty.openpty()

    done = subprocess.run(
        command("once"),
        env=environment(tmp_path, **NO_MLX),
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=their_end,
        check=True,
        timeout=30,
    )
    os.close(their_end)
    shown = os.read(terminal, 65536).decode()
    os.close(terminal)

    assert "closing days: xmr-mining 20" in shown
    assert shown.splitlines()[-1].startswith("No source is configured")
    assert b"closing" not in done.stdout


def _a_node_file(path: Path, days: int) -> datetime:
    """Make a file of the earlier implementation with hourly readings up to today's midnight, and return that."""
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    node = apsw.Connection(str(path))
    node.execute(
        """
        CREATE TABLE revenue_snapshots (
            id INTEGER PRIMARY KEY, source TEXT, collected_at TEXT, balance_atomic INTEGER, paid_atomic INTEGER,
            hashrate REAL, xmr_price_usd REAL, requests_served INTEGER, tokens_generated INTEGER, raw_json TEXT
        )
        """
    )
    with node:
        node.executemany(
            """
            INSERT INTO revenue_snapshots (source, collected_at, balance_atomic, paid_atomic, xmr_price_usd)
            VALUES ('xmr-mining', ?, ?, 0, 100.0)
            """,
            [
                (text_from_instant(today - timedelta(days=days) + timedelta(hours=hour)), 1_000_000_000 * (1 + hour))
                for hour in range(24 * days)
            ],
        )
    node.close()
    return today


def test_old_rows_go_once_a_day_and_their_days_stay(tmp_path: Path) -> None:
    environ = environment(tmp_path, **NO_MLX)
    path = tmp_path / "orchestrator.db"
    finished("once", environ=environ, cwd=tmp_path)
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    times = [text_from_instant(today - timedelta(days=100) + timedelta(hours=hour)) for hour in range(24 * 100)]
    _insert_readings(path, times)

    finished("once", environ=environ, cwd=tmp_path)
    before_its_day = rows(path, "SELECT count(*) FROM revenue_snapshots")
    _execute(
        path, "UPDATE meta SET value = ? WHERE key = 'last_prune_at'", text_from_instant(today - timedelta(days=2))
    )
    done = finished("once", environ=environ, cwd=tmp_path)

    assert done.returncode == 0
    assert before_its_day == [(2400,)]
    assert rows(path, "SELECT count(*), min(collected_at) FROM revenue_snapshots") == [
        (2160 + KEPT, text_from_instant(today - timedelta(days=90) - KEPT * timedelta(hours=1)))
    ]
    assert len(rows(path, "SELECT day FROM daily_growth")) == 99
    assert rows(path, "SELECT value FROM meta WHERE key = 'snapshots_pruned_before'") == [
        (text_from_instant(today - timedelta(days=90)),)
    ]


def test_a_pruning_dated_in_the_future_does_not_put_off_the_next_one(tmp_path: Path) -> None:
    environ = environment(tmp_path, **NO_MLX)
    path = tmp_path / "orchestrator.db"
    finished("once", environ=environ, cwd=tmp_path)
    _execute(path, "UPDATE meta SET value = ? WHERE key = 'last_prune_at'", "2126-01-01T00:00:00.000Z")

    finished("once", environ=environ, cwd=tmp_path)

    (last,) = rows(path, "SELECT value FROM meta WHERE key = 'last_prune_at'")
    assert str(last[0]) < "2126"


def test_no_secret_reaches_the_log(tmp_path: Path) -> None:
    with services() as server:
        environ = environment(tmp_path, server, COINGECKO_API_KEY="CG-notforanyoneselogs")
        done = finished("-vv", "once", environ=environ, cwd=tmp_path)

    assert "collected" in done.stderr
    assert "notforanyone" not in done.stdout + done.stderr
    assert server.asked_for("/price/simple/price")[0].headers["x-cg-demo-api-key"] == "CG-notforanyoneselogs"


def _insert_readings(path: Path, times: list[str]) -> None:
    connection = apsw.Connection(str(path))
    with connection:
        connection.executemany(
            """
            INSERT INTO revenue_snapshots (source, collected_at, balance_atomic, paid_atomic, xmr_price_usd)
            VALUES ('xmr-mining', ?, ?, 0, 100.0)
            """,
            [(time, 1_000_000_000 * number) for number, time in enumerate(times)],
        )
    connection.close()


def _execute(path: Path, statement: str, *values: str) -> None:
    connection = apsw.Connection(str(path))
    connection.execute(statement, values)
    connection.close()
