"""The file of the earlier Node implementation becomes ours."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import apsw
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator import errors
from orchestrator.store.adoption import RAW_JSON_BYTES, _real, _whole
from orchestrator.store.database import Database
from orchestrator.store.migrate import APPLICATION_ID, NEWEST

ROOT = Path(__file__).parent.parent
COLUMNS = "source, collected_at, balance_atomic, paid_atomic, hashrate, xmr_price_usd, requests_served, tokens_generated, raw_json"
UNTYPED = f"CREATE TABLE revenue_snapshots (id INTEGER PRIMARY KEY AUTOINCREMENT, {COLUMNS})"
TYPED = """
CREATE TABLE revenue_snapshots (
    id INTEGER PRIMARY KEY AUTOINCREMENT, source VARCHAR(20) NOT NULL, collected_at DATETIME DEFAULT CURRENT_TIMESTAMP,
    balance_atomic BIGINT, paid_atomic BIGINT, hashrate DOUBLE, xmr_price_usd NUMERIC, requests_served INT, tokens_generated INT,
    raw_json JSON
)
"""


class Row(NamedTuple):
    id: object
    source: object = "xmr-mining"
    collected_at: object = "2026-11-21T07:31:00.000Z"
    balance_atomic: object = None
    paid_atomic: object = None
    hashrate: object = None
    xmr_price_usd: object = None
    requests_served: object = None
    tokens_generated: object = None
    raw_json: object = None


def node_file(path: Path, rows: list[Row], table: str = UNTYPED, *more: str, encoding: str = "UTF-8") -> None:
    connection = apsw.Connection(str(path))
    connection.pragma("encoding", encoding)
    connection.execute(table).fetchall()
    with connection:
        connection.executemany(
            f"INSERT INTO revenue_snapshots (id, {COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            rows,
        )
    for statement in more:
        connection.execute(statement).fetchall()
    connection.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "orchestrator.db"


@pytest.fixture
def database(path: Path) -> Iterator[Database]:
    database = Database(path)
    yield database
    database.close()


def adopted(database: Database) -> dict[int, dict[str, object]]:
    with database.read() as connection:
        names = [*("id", *COLUMNS.split(", ")), "error", "good"]
        rows = connection.execute(f"SELECT {', '.join(names)} FROM revenue_snapshots")
        return {int(row[0]): dict(zip(names, row, strict=True)) for row in rows}


# What is stored → the values that differ from the default row, and the error
AWKWARD: list[tuple[Row, dict[str, object], str | None]] = [
    (Row(1, collected_at="2026-11-21 07:31:00"), {"collected_at": "2026-11-21T07:31:00.000Z"}, None),
    (Row(2, collected_at="2026-11-21 07:31:00.5"), {"collected_at": "2026-11-21T07:31:00.500Z"}, None),
    (Row(3, collected_at="2026-11-21T07:31:00+02:00"), {"collected_at": "2026-11-21T05:31:00.000Z"}, None),
    (Row(4, collected_at="2026-11-21 07:31:00 -0330"), {"collected_at": "2026-11-21T11:01:00.000Z"}, None),
    (Row(5, collected_at="2026-11-21T07:31:00z"), {"collected_at": "2026-11-21T07:31:00.000Z"}, None),
    (Row(6, collected_at="2026-11-21T07:31"), {"collected_at": "2026-11-21T07:31:00.000Z"}, None),
    (Row(7, collected_at="2026-11-21"), {"collected_at": "2026-11-21T00:00:00.000Z"}, None),
    (Row(8, collected_at=" 2026-11-21T07:31:00.123456789Z "), {"collected_at": "2026-11-21T07:31:00.123Z"}, None),
    (Row(9, collected_at=1795246260), {"collected_at": "2026-11-21T07:31:00.000Z"}, None),
    (Row(10, collected_at=1795246260.123), {"collected_at": "2026-11-21T07:31:00.123Z"}, None),
    (Row(11, collected_at=1795246260123), {"collected_at": "2026-11-21T07:31:00.123Z"}, None),
    (Row(12, collected_at=1795246260123.0), {"collected_at": "2026-11-21T07:31:00.123Z"}, None),
    (Row(13, collected_at="1795246260"), {"collected_at": "2026-11-21T07:31:00.000Z"}, None),
    (Row(14, collected_at="1795246260123"), {"collected_at": "2026-11-21T07:31:00.123Z"}, None),
    (Row(15, collected_at=b"2026-11-21T07:31:00Z"), {"collected_at": "2026-11-21T07:31:00.000Z"}, None),
    (Row(16, collected_at=None), {"collected_at": None}, None),
    (Row(17, collected_at="now"), {"collected_at": None}, "collected_at was 'now'"),
    (Row(18, collected_at=""), {"collected_at": None}, "collected_at was ''"),
    (Row(19, collected_at=0), {"collected_at": None}, "collected_at was '0'"),
    (Row(20, collected_at="2026-02-30T07:31:00Z"), {"collected_at": None}, "collected_at was '2026-02-30T07:31:00Z'"),
    (Row(21, collected_at="20261121"), {"collected_at": None}, "collected_at was '20261121'"),
    (Row(22, collected_at="2026-11-21T25:00:00Z"), {"collected_at": None}, "collected_at was '2026-11-21T25:00:00Z'"),
    (Row(23, collected_at="٢٠٢٦-11-21T07:31:00Z"), {"collected_at": None}, "collected_at was '٢٠٢٦-11-21T07:31:00Z'"),
    (Row(24, collected_at=float("inf")), {"collected_at": None}, "collected_at was 'inf'"),
    (Row(25, collected_at="2026-11-21 24:00:00"), {"collected_at": None}, "collected_at was '2026-11-21 24:00:00'"),
    (Row(26, collected_at="1795246260.5"), {"collected_at": "2026-11-21T07:31:00.500Z"}, None),
    (Row(27, collected_at="2026-11-21t07:31:00,25+02"), {"collected_at": "2026-11-21T05:31:00.250Z"}, None),
    (Row(28, hashrate="x", collected_at="soon"), {"collected_at": None}, "hashrate was 'x'; collected_at was 'soon'"),
    (Row(30, balance_atomic="123", paid_atomic=" 7 "), {"balance_atomic": 123, "paid_atomic": 7, "good": 1}, None),
    (Row(31, balance_atomic=5.0, paid_atomic=2.0**60), {"balance_atomic": 5, "paid_atomic": 2**60, "good": 1}, None),
    (Row(32, balance_atomic="12.0", paid_atomic="1e3"), {"balance_atomic": 12, "paid_atomic": 1000, "good": 1}, None),
    (Row(33, balance_atomic="12.5", paid_atomic=1), {"paid_atomic": 1}, "balance_atomic was '12.5'"),
    (Row(34, balance_atomic=12.5), {}, "balance_atomic was 12.5"),
    (Row(35, balance_atomic=1e19), {}, "balance_atomic was 1e+19"),
    (Row(36, balance_atomic=str(2**63)), {}, f"balance_atomic was '{2**63}'"),
    (Row(37, balance_atomic=str(2**63 - 1)), {"balance_atomic": 2**63 - 1}, None),
    (Row(38, balance_atomic="1e9999"), {}, "balance_atomic was '1e9999'"),
    (Row(39, balance_atomic="9" * 5000), {}, f"balance_atomic was '{'9' * 200}'"),
    (Row(40, balance_atomic="", paid_atomic="NaN"), {}, "balance_atomic was ''; paid_atomic was 'NaN'"),
    (Row(41, balance_atomic="٤٥"), {}, "balance_atomic was '٤٥'"),
    (Row(42, balance_atomic="1_000"), {}, "balance_atomic was '1_000'"),
    (Row(43, balance_atomic="0x10"), {}, "balance_atomic was '0x10'"),
    (Row(44, balance_atomic=-5), {"balance_atomic": -5}, None),
    (Row(45, hashrate=13842, xmr_price_usd="312.84"), {"hashrate": 13842.0, "xmr_price_usd": 312.84}, None),
    (Row(46, hashrate="fast", xmr_price_usd=float("inf")), {}, "hashrate was 'fast'; xmr_price_usd was inf"),
    (Row(47, hashrate="1e999"), {}, "hashrate was '1e999'"),
    (Row(48, hashrate=1e301, xmr_price_usd=float("-inf")), {}, "hashrate was 1e+301; xmr_price_usd was -inf"),
    (Row(49, hashrate=b"7", xmr_price_usd=b"many"), {"hashrate": 7.0}, "xmr_price_usd was 'many'"),
    (Row(50, source="mlx-api", requests_served="12", tokens_generated=3.0),
     {"source": "mlx-api", "requests_served": 12, "tokens_generated": 3, "good": 1}, None),
    (Row(51, source=None), {"source": "unknown"}, "source was NULL"),
    (Row(52, source=7), {"source": "7", "good": 1}, None),
    (Row(53, source=b"\xff\xfe"), {"source": "\\xff\\xfe", "good": 1}, None),
    (Row(54, raw_json='{"a":1}'), {"raw_json": '{"a":1}'}, None),
    (Row(55, raw_json=b'{"b":2}'), {"raw_json": '{"b":2}'}, None),
    (Row(56, raw_json=12), {"raw_json": "12"}, None),
    (Row(57, raw_json="ä" * RAW_JSON_BYTES), {"raw_json": "ä" * (RAW_JSON_BYTES // 2)}, None),
    (Row(58, raw_json="nul\0inside"), {"raw_json": "nul\0inside"}, None),
    (Row(-3), {}, None),
    (Row(2**62), {}, None),
]  # fmt: skip


def test_every_awkward_row_is_kept_with_what_fits_and_a_note_of_what_does_not(path: Path, database: Database) -> None:
    node_file(path, [row for row, _, _ in AWKWARD])

    found = adopted(database)

    expected = {}
    for row, values, error in AWKWARD:
        default = Row(row.id)._asdict() | {"error": None, "good": 0}
        expected[row.id] = default | values | {"error": error}
    assert found == expected


def test_columns_with_types_are_adopted_too(path: Path, database: Database) -> None:
    rows = [
        Row(3, "xmr-mining", "2026-11-21 07:31:00", "45679000000", 0, 13842, "312.5"),
        Row(9, "mlx-api", "2026-11-21 07:31:00", None, None, None, None, "1234", "567890", "{}"),
    ]
    node_file(path, rows, TYPED)

    found = adopted(database)

    assert found[3]["balance_atomic"] == 45679000000
    assert (found[3]["hashrate"], found[3]["xmr_price_usd"], found[3]["good"]) == (13842.0, 312.5, 1)
    assert (found[9]["requests_served"], found[9]["tokens_generated"], found[9]["good"]) == (1234, 567890, 1)


def test_rows_whose_id_cannot_stay_get_a_free_one_and_say_so(path: Path, database: Database) -> None:
    table = f"CREATE TABLE revenue_snapshots (id, {COLUMNS})"
    node_file(path, [Row("abc"), Row(None), Row(5, source="first"), Row(5, source="second"), Row("7"), Row(6.0)], table)

    found = adopted(database)

    assert [found[number]["source"] for number in (5, 6, 7)] == ["first", "xmr-mining", "xmr-mining"]
    assert {row["error"] for number, row in found.items() if number > 7} == {"id was 'abc'", "id was NULL", "id was 5"}
    assert len(found) == 6


def test_text_that_is_not_utf_8_is_adopted_escaped(path: Path, database: Database) -> None:
    node_file(path, [Row(1)], UNTYPED, "UPDATE revenue_snapshots SET raw_json = CAST(x'7bff7d' AS TEXT)")

    assert adopted(database)[1]["raw_json"] == "{\\xff}"


@pytest.mark.parametrize("encoding", ["UTF-8", "UTF-16le", "UTF-16be"])
def test_a_file_in_any_encoding_is_adopted_with_its_text(path: Path, database: Database, encoding: str) -> None:
    rows = [
        Row(1, "xmr-mining", "2026-11-21 07:31:00", "45679000000", "0", raw_json='{"name": "Jürgen 🐇"}'),
        Row(2, b"mlx-api", b"2026-11-21T07:31:00.000Z", b"12", raw_json="{'J\u00fcrgen'}".encode()),
        Row(3, balance_atomic="viel"),
    ]
    node_file(path, rows, encoding=encoding)

    found = adopted(database)

    assert (found[1]["source"], found[1]["collected_at"]) == ("xmr-mining", "2026-11-21T07:31:00.000Z")
    assert (found[1]["balance_atomic"], found[1]["good"], found[1]["raw_json"]) == (45679000000, 1, rows[0].raw_json)
    assert (found[2]["source"], found[2]["balance_atomic"], found[2]["raw_json"]) == ("mlx-api", 12, "{'Jürgen'}")
    assert [row["error"] for row in found.values()] == [None, None, "balance_atomic was 'viel'"]


def test_half_a_character_of_utf_16_is_adopted_escaped(path: Path, database: Database) -> None:
    spoil = "UPDATE revenue_snapshots SET raw_json = CAST(x'7b003dd87d00' AS TEXT)"
    node_file(path, [Row(1)], UNTYPED, spoil, encoding="UTF-16le")

    assert adopted(database)[1]["raw_json"] == "{\\x3d\\xd8}"


def test_the_adopted_file_is_ours_in_every_respect(path: Path, database: Database) -> None:
    node_file(path, [Row(number, raw_json="x" * 1000) for number in range(1, 500)])
    path.chmod(0o644)

    with database.read() as connection:
        facts = [connection.pragma(name) for name in ("application_id", "user_version", "journal_mode", "auto_vacuum")]
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
        assert connection.pragma("integrity_check") == "ok"
    database.close()

    assert facts == [APPLICATION_ID, NEWEST, "wal", 2]
    assert "adopted_snapshots" not in tables
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_a_reader_adopts_too_and_an_empty_table_is_adopted(path: Path, database: Database) -> None:
    node_file(path, [])

    assert adopted(database) == {}
    with database.write() as connection:
        connection.execute("INSERT INTO revenue_snapshots (source) VALUES ('xmr-mining')")
    assert len(adopted(database)) == 1


def test_indices_triggers_and_views_of_the_node_file_do_not_get_in_the_way(path: Path, database: Database) -> None:
    node_file(
        path,
        [Row(1)],
        UNTYPED,
        "CREATE INDEX revenue_snapshots_good ON revenue_snapshots (source)",
        'CREATE UNIQUE INDEX "odd ""name" ON revenue_snapshots (id, source)',
        "CREATE TRIGGER revenue_snapshots_time AFTER INSERT ON revenue_snapshots BEGIN SELECT 1; END",
        "CREATE VIEW mine AS SELECT source FROM revenue_snapshots",
        "CREATE VIEW latest_snapshots AS SELECT 1",
    )

    assert len(adopted(database)) == 1
    with database.write() as connection:
        connection.execute("INSERT INTO revenue_snapshots (source, collected_at) VALUES ('b', '2026-11-21 07:31:00')")
    with database.read() as connection:
        assert connection.execute("SELECT count(source) FROM mine").get == 2
        assert connection.execute("SELECT collected_at FROM revenue_snapshots WHERE source = 'b'").get == (
            "2026-11-21T07:31:00.000Z"
        )


def test_the_node_program_may_go_on_inserting(path: Path, database: Database) -> None:
    node_file(path, [Row(1)], UNTYPED, "PRAGMA journal_mode = WAL")
    node = apsw.Connection(str(path))
    insert = "INSERT INTO revenue_snapshots (source, collected_at, balance_atomic, paid_atomic) VALUES (?, ?, ?, ?)"
    node.execute(insert, ("xmr-mining", "2026-11-21T07:31:00.000Z", 1, 0))

    assert len(adopted(database)) == 2
    node.execute(insert, ("xmr-mining", "2026-11-21 07:36:00", 2, 0))

    assert adopted(database)[3]["collected_at"] == "2026-11-21T07:36:00.000Z"
    node.close()


@pytest.mark.parametrize(
    "statements",
    [
        ("ALTER TABLE revenue_snapshots ADD COLUMN profit",),
        ("ALTER TABLE revenue_snapshots DROP COLUMN raw_json",),
        ("ALTER TABLE revenue_snapshots RENAME COLUMN hashrate TO rate",),
        ("CREATE TABLE orders (id)",),
        ("PRAGMA user_version = 3",),
        ("PRAGMA user_version = 1",),
    ],
)
@pytest.mark.parametrize("journal", ["DELETE", "WAL"])
def test_a_file_that_only_looks_like_the_node_one_is_refused_and_untouched(
    path: Path, database: Database, statements: tuple[str, ...], journal: str
) -> None:
    node_file(path, [Row(1)], UNTYPED, *statements, f"PRAGMA journal_mode = {journal}")
    before = path.read_bytes(), path.stat().st_mtime_ns

    with pytest.raises(errors.ForeignFile):
        adopted(database)
    with pytest.raises(errors.ForeignFile), database.write():
        pass

    assert (path.read_bytes(), path.stat().st_mtime_ns) == before
    assert list(path.parent.iterdir()) == [path]


def start(code: str, *arguments: object) -> subprocess.Popen[str]:
    words = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(words, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


ADOPT = """
import sys
from orchestrator.store.database import Database
print("ready", flush=True)
sys.stdin.readline()
with Database(sys.argv[1]).read() as connection:
    print(connection.execute("SELECT count(id) FROM revenue_snapshots").get)
"""


def test_several_processes_adopt_one_file(path: Path, database: Database) -> None:
    node_file(path, [Row(number) for number in range(1, 2001)])

    processes = [start(ADOPT, path) for _ in range(4)]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    said = [process.communicate(timeout=60)[0] for process in processes]

    assert said == ["2000\n"] * 4
    assert len(adopted(database)) == 2000


@pytest.mark.parametrize("journal", ["DELETE", "WAL"])
def test_a_process_that_is_killed_halfway_leaves_the_old_file_or_the_new_one(
    path: Path, database: Database, journal: str
) -> None:
    rows = [Row(number, balance_atomic=str(number), paid_atomic=0, raw_json="x" * 500) for number in range(1, 8001)]
    node_file(path, rows, UNTYPED, f"PRAGMA journal_mode = {journal}")
    code = """
import os, signal, sys, threading
from orchestrator.store.database import Database
threading.Timer(float(sys.argv[2]), lambda: os.kill(os.getpid(), signal.SIGKILL)).start()
with Database(sys.argv[1]).read():
    pass
os.kill(os.getpid(), signal.SIGKILL)
"""
    for delay in (0.02, 0.05, 0.08, 0.12):
        with start(code, path, delay) as process:
            process.communicate(timeout=60)
        assert process.returncode == -signal.SIGKILL
        looking = apsw.Connection(str(path))
        assert looking.execute("SELECT count(id) FROM revenue_snapshots").get == 8000
        looking.close()

    found = adopted(database)
    assert [row["balance_atomic"] for row in found.values()] == list(range(1, 8001))


def test_a_node_file_that_may_not_be_written_is_named_read_only(path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can act as another user")
    node_file(path, [Row(1)])
    path.chmod(0o644)
    for folder in path.parents[:4]:
        folder.chmod(folder.stat().st_mode | 0o755)
    before = path.read_bytes()
    code = """
import os, sys
from orchestrator.errors import FileReadOnly
from orchestrator.store import migrate
from orchestrator.store.database import Database
migrate.sql_file("views.sql")
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
try:
    with Database(sys.argv[1]).read():
        pass
except FileReadOnly as error:
    print(error)
"""
    with start(code, path) as process:
        said, _ = process.communicate(timeout=60)

    assert "has to be brought up to date" in said
    assert path.read_bytes() == before


@given(st.integers(-(2**63), 2**63 - 1))
def test_an_integer_is_read_back_from_all_its_forms(value: int) -> None:
    assert _whole(value) == _whole(str(value)) == _whole(f" {value}.0 ") == value


@given(st.one_of(st.text(), st.floats(allow_nan=False), st.integers(-(2**63), 2**63 - 1)))
def test_reading_a_value_never_fails(value: str | float) -> None:
    whole, real = _whole(value), _real(value)

    assert whole is None or -(2**63) <= whole < 2**63
    assert real is None or json.loads(json.dumps(real)) == real
