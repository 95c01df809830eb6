"""The tables, the trigger and the views as the migrations make them."""

import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path

import apsw
import pytest
from hypothesis import given
from hypothesis import strategies as st

import orchestrator
from orchestrator.periods import instant_from_text, text_from_instant
from orchestrator.store import meta, migrate
from orchestrator.store.database import Connection, Database

ROOT = Path(__file__).parent.parent
STORE = ROOT / "orchestrator" / "store"
INSERT = """
INSERT INTO revenue_snapshots (
    source, collected_at, balance_atomic, paid_atomic, hashrate, xmr_price_usd, requests_served, tokens_generated, raw_json
)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
"""


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "orchestrator.db")
    yield database
    database.close()


def stored(connection: Connection, collected_at: object) -> tuple[object, object]:
    """Return what becomes of a time that a foreign writer stores, and the error beside it."""
    connection.execute(INSERT, ("xmr-mining", collected_at, 1, 2, None, None, None, None, None))
    row = connection.execute(
        "SELECT collected_at, error FROM revenue_snapshots WHERE id = ?", (connection.last_insert_rowid(),)
    ).get
    assert isinstance(row, tuple)
    return row


def make_node_file(path: Path, collected_at: object) -> None:
    """Make the earlier implementation's file, with one row."""
    connection = apsw.Connection(str(path))
    connection.execute(
        """
        CREATE TABLE revenue_snapshots (
            id INTEGER PRIMARY KEY, source, collected_at, balance_atomic, paid_atomic, hashrate, xmr_price_usd, requests_served,
            tokens_generated, raw_json
        )
        """
    )
    connection.execute(INSERT, ("xmr-mining", collected_at, 1, 2, None, None, None, None, None))
    connection.close()


def test_every_migration_is_listed_and_numbered() -> None:
    files = sorted(file.stem for file in (STORE / "migrations").glob("*.sql"))

    assert tuple(files) == migrate.MIGRATIONS
    assert [int(name[:4]) for name in files] == list(range(1, migrate.NEWEST + 1))


def test_each_file_has_an_id_of_its_own_that_stays(tmp_path: Path) -> None:
    ids = []
    for name in ("a.db", "b.db", "a.db"):
        database = Database(tmp_path / name)
        with database.write() as connection:
            ids.append(uuid.UUID(meta.get(connection, "host_id")))
        database.close()

    assert ids[0] == ids[2] != ids[1]
    assert [(each.version, each.variant) for each in ids] == [(4, uuid.RFC_4122)] * 3


def test_every_table_is_strict(database: Database) -> None:
    with database.write() as connection:
        tables = connection.execute("SELECT name, strict FROM pragma_table_list WHERE type = 'table'").fetchall()
    loose = [name for name, strict in tables if not strict and not str(name).startswith("sqlite_")]

    assert loose == []


def test_every_view_can_be_read(database: Database) -> None:
    with database.write() as connection:
        views = [name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'view'")]
        for view in views:
            connection.execute(f"SELECT * FROM {view}").fetchall()

    assert {"latest_snapshots", "timeseries"} <= set(views)


def test_statements_after_one_that_returns_rows_are_run_too() -> None:
    connection = apsw.Connection(":memory:")

    migrate.run(
        connection, "CREATE TABLE t (x); INSERT INTO t VALUES (1), (2); SELECT x FROM t; INSERT INTO t VALUES (3)"
    )

    assert connection.execute("SELECT count(x) FROM t").get == 3
    connection.close()


def test_a_file_is_made_whole_or_not_at_all_however_its_maker_dies(tmp_path: Path) -> None:
    code = """
import os, signal, sys, threading
from orchestrator.store import meta, migrate
from orchestrator.store.database import Database
migrate.sql_file("views.sql")
threading.Timer(float(sys.argv[2]), lambda: os.kill(os.getpid(), signal.SIGKILL)).start()
with Database(sys.argv[1]).write():
    pass
os.kill(os.getpid(), signal.SIGKILL)
"""
    for attempt in range(10):
        path = tmp_path / f"{attempt}.db"
        with subprocess.Popen([sys.executable, "-c", code, path, str(attempt * 0.0015)], cwd=ROOT) as process:
            process.wait(timeout=60)
        assert process.returncode == -signal.SIGKILL

        database = Database(path)
        with database.write() as connection:
            connection.execute(INSERT, ("xmr-mining", None, 1, 2, None, None, None, None, None))
        with database.read() as connection:
            assert connection.execute("SELECT count(id) FROM revenue_snapshots").get == 1
            assert connection.pragma("integrity_check") == "ok"
            assert (connection.pragma("journal_mode"), connection.pragma("auto_vacuum")) == ("wal", 2)
        database.close()


def first_version(path: Path, rows: int) -> None:
    """Make the file as the first release made it."""
    connection = apsw.Connection(str(path))
    connection.pragma("journal_mode", "WAL")
    migrate.run(connection, migrate.sql_file("migrations/0001_snapshots.sql"))
    migrate.run(connection, "CREATE VIEW timeseries AS SELECT 1 AS outdated; CREATE VIEW mine AS SELECT 1 AS kept")
    migrate.run(connection, f"PRAGMA application_id = {migrate.APPLICATION_ID}; PRAGMA user_version = 1")
    with connection:
        connection.executemany(INSERT, [("xmr-mining", None, 1, 2, None, None, None, None, None)] * rows)
    connection.close()


@pytest.mark.skipif(migrate.NEWEST == 1, reason="there is no older version yet")
def test_an_older_file_is_brought_up_to_date_by_whoever_opens_it_first(tmp_path: Path) -> None:
    path = tmp_path / "orchestrator.db"
    first_version(path, rows=1000)
    code = """
import sys
from orchestrator.store.database import Database
print("ready", flush=True)
sys.stdin.readline()
with Database(sys.argv[1]).read() as connection:
    print(connection.pragma("user_version"), connection.execute("SELECT count(id) FROM revenue_snapshots").get)
"""
    words = [sys.executable, "-c", code, str(path)]
    processes = [
        subprocess.Popen(words, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(4)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    said = [process.communicate(timeout=60)[0] for process in processes]

    assert said == [f"{migrate.NEWEST} 1000\n"] * 4
    database = Database(path)
    with database.read() as connection:
        columns = {name for (name,) in connection.execute("SELECT name FROM pragma_table_info('timeseries')")}
        assert columns == {"time", "metric", "value"}
        assert connection.execute("SELECT kept FROM mine").get == 1
    database.close()


# Foreign writers


def outdated(path: Path, version: int) -> apsw.Connection:
    """Return a new file of that version."""
    older = apsw.Connection(str(path))
    older.pragma("journal_mode", "wal")
    for name in migrate.MIGRATIONS[:version]:
        migrate.run(older, migrate.sql_file(f"migrations/{name}.sql"))
    migrate.run(older, f"PRAGMA application_id = {migrate.APPLICATION_ID}; PRAGMA user_version = {version}")
    return older


@pytest.mark.parametrize("version", [1, 2, 3])
def test_what_an_older_file_holds_is_known_afterwards_as_before(tmp_path: Path, version: int) -> None:
    path = tmp_path / "orchestrator.db"
    older = outdated(path, version)
    older.execute(INSERT, ("xmr-mining", "2026-03-31T10:00:00.000Z", 0, 0, None, 200.0, None, None, None))
    older.execute(INSERT, ("xmr-mining", "2026-03-31T11:00:00.000Z", 10**12, 0, None, 200.0, None, None, None))
    if version > 1:
        older.execute(
            """
            INSERT INTO ai_calls (call_id, called_at, cost_nano) VALUES ('a', '2026-03-31T11:30:00.000Z', 3000000000);
            INSERT INTO operating_costs (entry_id, category, amount_nano, period_start)
            VALUES ('c', 'hosting', 5000000000, '2026-03-31T00:00:00.000Z');
            INSERT INTO daily_operating_costs VALUES ('2026-03-31', 'hosting', '', '', 5000000000, 1);
            """
        )
    older.close()
    now = datetime(2026, 3, 31, 12, tzinfo=UTC)

    recorded = orchestrator.record_call(service="s", model="m", cost_usd=1, call_id="a", now=now, db=path)
    orchestrator.record_cost(category="hosting", amount_usd=1, now=now, db=path)
    pnl = orchestrator.get_pnl(now=now, db=path)
    spend = orchestrator.get_ai_spend_summary(db=path)
    orchestrator.close()

    assert recorded.outcome == ("stored" if version == 1 else "duplicate")
    assert (pnl.mining_usd, pnl.unknown) == (Decimal(200), ())
    assert pnl.operating_cost_usd == (1 if version == 1 else 6)
    assert spend.total_cost_usd == (1 if version == 1 else 3)


def test_a_cost_without_shares_in_an_older_file_is_named_until_it_has_them(tmp_path: Path) -> None:
    path = tmp_path / "orchestrator.db"
    older = outdated(path, 3)
    older.execute(
        "INSERT INTO operating_costs (category, amount_nano, period_start) VALUES ('x', 5, '2026-03-31T00:00:00.000Z')"
    )
    older.close()

    pnl = orchestrator.get_pnl(now=datetime(2026, 3, 31, 12, tzinfo=UTC), db=path)
    orchestrator.close()

    assert (pnl.operating_cost_usd, pnl.unknown) == (Decimal(0), ("operating_cost",))


def test_a_foreign_insert_of_the_ten_columns_counts_like_ours(database: Database) -> None:
    with database.write() as connection:
        connection.execute(
            """
            INSERT INTO revenue_snapshots (
                id, source, collected_at, balance_atomic, paid_atomic, hashrate, xmr_price_usd, requests_served,
                tokens_generated, raw_json
            )
            VALUES (41, 'xmr-mining', '2026-11-21T07:31:00.000Z', 45679000000, 0, 13842, 312.5, NULL, NULL, '{}')
            """
        )
    with database.read() as connection:
        assert connection.execute("SELECT id, good, error, healthy FROM revenue_snapshots").get == (41, 1, None, None)
        assert connection.execute("SELECT id FROM latest_snapshots").get == 41


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("2026-11-21T07:31:00.000Z", "2026-11-21T07:31:00.000Z"),
        ("2026-11-21 07:31:00", "2026-11-21T07:31:00.000Z"),
        ("2026-11-21 07:31", "2026-11-21T07:31:00.000Z"),
        ("2026-11-21 07:31:00.25", "2026-11-21T07:31:00.250Z"),
        ("2026-11-21T07:31:00Z", "2026-11-21T07:31:00.000Z"),
        ("2026-11-21T07:31:00+02:00", "2026-11-21T05:31:00.000Z"),
        ("2026-11-21 07:31:00.123 -03:30", "2026-11-21T11:01:00.123Z"),
        ("2026-11-21T07:31:00.123456Z", "2026-11-21T07:31:00.123Z"),
        ("2026-11-21", "2026-11-21T00:00:00.000Z"),
        (1795246260, "2026-11-21T07:31:00.000Z"),
        ("1795246260", "2026-11-21T07:31:00.000Z"),
        (1795246260123, "2026-11-21T07:31:00.123Z"),
        (1795246260.5, "2026-11-21T07:31:00.500Z"),
        ("1795246260.25", "2026-11-21T07:31:00.250Z"),
        (1795246260123.0, "2026-11-21T07:31:00.123Z"),
        ("1795246260123", "2026-11-21T07:31:00.123Z"),
        ("2026-11-21t07:31:00z", "2026-11-21T07:31:00.000Z"),
        ("2026-11-21t07:31:00.000Z", "2026-11-21T07:31:00.000Z"),
        ("2026-11-21T07:31:00+0200", "2026-11-21T05:31:00.000Z"),
        ("2026-11-21 07:31:00.5 -0330", "2026-11-21T11:01:00.500Z"),
        ("2026-11-21T07:31+02", "2026-11-21T05:31:00.000Z"),
        ("2026-11-21T07:31:00,5Z", "2026-11-21T07:31:00.500Z"),
        (" 2026-11-21T07:31:00Z\n", "2026-11-21T07:31:00.000Z"),
        ("2024-02-29T23:59:59.999Z", "2024-02-29T23:59:59.999Z"),
        ("2024-02-29 23:59:59.999", "2024-02-29T23:59:59.999Z"),
        ("1970-01-01T00:00:07.000Z", "1970-01-01T00:00:07.000Z"),
        (None, None),
    ],
)
def test_a_foreign_writers_time_becomes_ours_also_in_a_file_that_is_adopted(
    database: Database, given: object, kept: object
) -> None:
    make_node_file(database.path, given)

    with database.write() as connection:
        assert connection.execute("SELECT collected_at, error FROM revenue_snapshots").get == (kept, None)
        assert stored(connection, given) == (kept, None)


@pytest.mark.parametrize(
    "given",
    [
        "now",
        "NOW",
        "2026",
        "20261121",
        "yesterday",
        "",
        " ",
        "07:31",
        "2461365.8",
        "2026-11-21 now",
        "2026-11-21 07:31 CET",
        "0",
        "-1",
        "1795246260.5.5",
        "1795246260x",
        "1.7952e9",
        "17952462601",
        "0000-00-00T00:00:00.000Z",
        "0000-01-01T00:00:00.000Z",
        "9999-01-01T00:00:00.000Z",
        "2026-11-00T00:00:00.000Z",
        "2026-00-21T00:00:00.000Z",
        "2026-13-21T00:00:00.000Z",
        "2026-11-21T29:59:59.000Z",
        "2026-11-21T24:00:00.000Z",
        "2026-11-21 24:00:00",
        "2026-11-21 07:31:60",
        "2026-02-31 00:00:00",
        "2026-02-31T00:00:00.000Z",
        "2026-02-29",
        "2026-11-31T07:31:00+02:00",
        "2026-11-21T07:31:00+2:00",
        "2026-11-21T07:31:00+02000",
        "2026-11-21T07:31:00+0260",
        "2026-11-21T07:31:00ZZ",
    ],
)
def test_what_is_no_time_is_kept_in_the_error_also_in_a_file_that_is_adopted(database: Database, given: str) -> None:
    make_node_file(database.path, given)

    with database.write() as connection:
        unreadable = (None, f"collected_at was '{given}'")
        assert connection.execute("SELECT collected_at, error FROM revenue_snapshots").get == unreadable
        assert stored(connection, given) == unreadable


def test_every_time_that_is_written_as_ours_stays_as_it_is() -> None:
    connection = apsw.Connection(":memory:")
    migrate.run(connection, migrate.sql_file("migrations/0001_snapshots.sql"))
    start = datetime(2026, 2, 28, 23, 59, 30, tzinfo=UTC)
    times = [text_from_instant(start + timedelta(milliseconds=number)) for number in range(60_000)]

    connection.executemany(
        "INSERT INTO revenue_snapshots (source, collected_at) VALUES ('xmr-mining', ?)", [(at,) for at in times]
    )

    kept = [at for (at,) in connection.execute("SELECT collected_at FROM revenue_snapshots ORDER BY id")]
    connection.close()
    assert kept == times


@pytest.mark.parametrize(
    ("hashrate", "price", "kept", "error"),
    [
        (13842.0, 312.5, (13842.0, 312.5), None),
        (0.0, None, (0.0, None), None),
        (float("inf"), 312.5, (None, 312.5), "hashrate was Inf"),
        (13842.0, float("-inf"), (13842.0, None), "xmr_price_usd was -Inf"),
        (1e301, float("inf"), (None, None), "hashrate was 1.0e+301; xmr_price_usd was Inf"),
        (float("nan"), 312.5, (None, 312.5), None),
    ],
)
def test_a_number_without_end_is_unknown_and_kept_in_the_error(
    database: Database, hashrate: float, price: float | None, kept: tuple[object, object], error: str | None
) -> None:
    with database.write() as connection:
        connection.execute(INSERT, ("xmr-mining", "2026-11-21T07:31:00.000Z", 1, 2, hashrate, price, None, None, None))
        row = connection.execute("SELECT hashrate, xmr_price_usd, error, good FROM revenue_snapshots").get
        assert row == (*kept, error, 1)


def test_nothing_is_lost_where_time_and_number_are_both_wrong(database: Database) -> None:
    with database.write() as connection:
        connection.execute(
            "INSERT INTO revenue_snapshots (source, collected_at, hashrate, error) VALUES ('a', 'soon', 9e999, 'slow')"
        )
        row = connection.execute("SELECT collected_at, hashrate, error FROM revenue_snapshots").get

    assert isinstance(row, tuple)
    assert row[:2] == (None, None)
    assert set(str(row[2]).split("; ")) == {"slow", "collected_at was 'soon'", "hashrate was Inf"}


@given(
    st.datetimes(datetime(1970, 1, 2), datetime(2199, 12, 30)),  # noqa: DTZ001 - hypothesis adds the zone
    st.integers(-14 * 60, 14 * 60),
    st.sampled_from(["T", " "]),
    st.sampled_from(["seconds", "milliseconds", "microseconds"]),
)
def test_any_offset_and_precision_is_the_same_instant(
    wall: datetime, minutes: int, separator: str, precision: str
) -> None:
    instant = wall.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    text = instant.isoformat(separator, precision)
    exact = instant_from_text(text)
    assert exact is not None
    connection = apsw.Connection(":memory:")
    migrate.run(connection, migrate.sql_file("migrations/0001_snapshots.sql"))

    kept, error = stored(connection, text)

    connection.close()
    assert error is None
    assert isinstance(kept, str)
    found = instant_from_text(kept)
    assert found is not None
    assert kept == text_from_instant(found)
    assert abs(found - exact) <= timedelta(milliseconds=1)


def test_a_known_error_stays_beside_an_unreadable_time(database: Database) -> None:
    with database.write() as connection:
        connection.execute(
            "INSERT INTO revenue_snapshots (source, collected_at, error) VALUES ('mlx-api', 'soon', 'timeout')"
        )
        row = connection.execute("SELECT collected_at, error FROM revenue_snapshots").get
    assert row == (None, "timeout; collected_at was 'soon'")


# What is good, latest, and drawn


@pytest.mark.parametrize(
    ("row", "good"),
    [
        (("xmr-mining", 1, 2, None, None), 1),
        (("xmr-mining", 0, 0, None, None), 1),
        (("xmr-mining", 1, None, None, None), 0),
        (("xmr-mining", 1, 2, None, "price: timeout"), 1),
        (("mlx-api", None, None, 0, None), 1),
        (("mlx-api", None, None, None, "no counters in /health"), 0),
        (("gpu-rental", None, None, None, None), 1),
        (("gpu-rental", 1, 2, 3, "refused"), 0),
    ],
)
def test_a_sample_is_good_by_its_source(database: Database, row: tuple[object, ...], good: int) -> None:
    with database.write() as connection:
        connection.execute(
            "INSERT INTO revenue_snapshots (source, balance_atomic, paid_atomic, requests_served, error) VALUES (?, ?, ?, ?, ?)",
            row,
        )
        assert connection.execute("SELECT good FROM revenue_snapshots").get == good


def test_the_latest_of_each_source_is_its_last_good_row(database: Database) -> None:
    with database.write() as connection:
        connection.executemany(
            INSERT,
            [
                ("xmr-mining", "2026-11-21T07:00:00.000Z", 1, 2, None, None, None, None, "first"),
                ("xmr-mining", "2026-11-21T07:05:00.000Z", 1, 2, None, None, None, None, "before"),
                ("xmr-mining", "2026-11-21T07:05:00.000Z", 1, 2, None, None, None, None, "good"),
                ("xmr-mining", "2026-11-21T07:10:00.000Z", 1, None, None, None, None, None, "bad"),
                ("xmr-mining", None, 1, 2, None, None, None, None, "without a time"),
                ("mlx-api", "2026-11-21T07:05:00.000Z", None, None, None, None, None, None, "never good"),
                ("gpu-rental", "2026-11-21T07:05:00.000Z", None, None, None, None, None, None, "other"),
            ],
        )
        found = connection.execute("SELECT source, raw_json FROM latest_snapshots").fetchall()
    assert sorted(found) == [("gpu-rental", "other"), ("xmr-mining", "good")]


def test_a_chart_has_gaps_where_nothing_is_known(database: Database) -> None:
    with database.write() as connection:
        connection.executemany(
            INSERT,
            [
                ("xmr-mining", "2026-11-21T07:00:00.000Z", 45_679_000_000, 0, 13842.0, 312.5, None, None, None),
                ("xmr-mining", "2026-11-21T07:05:00.000Z", None, None, None, 313.5, None, None, None),
                ("mlx-api", "2026-11-21T07:00:00.000Z", None, None, None, None, 12, 340, None),
            ],
        )
        found = connection.execute("SELECT metric, time, value FROM timeseries ORDER BY metric, time").fetchall()
    assert found == [
        ("hashrate", "2026-11-21T07:00:00.000Z", 13842.0),
        ("mlx_requests", "2026-11-21T07:00:00.000Z", 12),
        ("mlx_tokens", "2026-11-21T07:00:00.000Z", 340),
        ("xmr_balance", "2026-11-21T07:00:00.000Z", 0.045679),
        ("xmr_price_usd", "2026-11-21T07:00:00.000Z", 312.5),
        ("xmr_price_usd", "2026-11-21T07:05:00.000Z", 313.5),
    ]


NEWEST_GOOD = """
SELECT id FROM revenue_snapshots WHERE source = :source AND good AND collected_at <= :until ORDER BY collected_at DESC, id DESC LIMIT 1
"""
LAST_ATTEMPT = """
SELECT id, error FROM revenue_snapshots WHERE source = :source AND collected_at <= :until ORDER BY collected_at DESC, id DESC LIMIT 1
"""
FAILURES = "SELECT count(id) FROM revenue_snapshots WHERE source = :source AND collected_at > :since AND collected_at <= :until"
WINDOW = """
SELECT id FROM revenue_snapshots WHERE source = :source AND good AND collected_at > :since AND collected_at <= :until ORDER BY collected_at, id
"""


@pytest.mark.parametrize("query", [NEWEST_GOOD, LAST_ATTEMPT, FAILURES, WINDOW, "SELECT * FROM latest_snapshots"])
def test_no_reading_walks_through_history(database: Database, query: str) -> None:
    start = datetime(2020, 1, 1, tzinfo=UTC)
    times = [text_from_instant(start + timedelta(minutes=number)) for number in range(30_000)]
    with database.write() as connection:
        # A year of failures must not cost more than a day of them.
        rows = [
            ("xmr-mining", at, 1 if number < 9 else None, 1, None, None, None, None, None)
            for number, at in enumerate(times)
        ]
        connection.executemany(INSERT, rows)
    bindings = {"source": "xmr-mining", "since": times[-20], "until": times[-1]}
    steps = 0

    def count() -> bool:
        nonlocal steps
        steps += 1
        return False

    with database.read() as connection:
        connection.set_progress_handler(count, 100)
        connection.execute(query, bindings).fetchall()
        connection.set_progress_handler(None)

    assert steps < 10
