"""Operating costs that another program wrote: noticed at once, and given their shares of days by `once` and the daemon."""

import tempfile
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import apsw
import pytest
from hypothesis import given
from hypothesis import strategies as st
from processes import FAST, daemon, environment, rows, until
from test_cli import data
from test_cli import orchestrator as command

import orchestrator
from orchestrator.ledger import entries, rollups, setup, shares
from orchestrator.ledger.entries import OperatingCost
from orchestrator.ledger.setup import Setup
from orchestrator.money import NanoUsd
from orchestrator.periods import text_from_instant, zone
from orchestrator.store.database import Connection, Database

UTC_ZONE = zone("UTC")
TODAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
QUIET = {"ORCHESTRATOR_REVENUE__MLX_URL": ""}


def cost(number: int, usd: int = 1) -> OperatingCost:
    return OperatingCost(f"o{number}", "hosting", NanoUsd(usd * 10**9), TODAY - timedelta(days=number))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a file with two costs of a dollar, of yesterday and the day before."""
    database = Database(tmp_path / "orchestrator.db")
    with database.write() as connection:
        setup.write(connection, Setup(sources=()))
        for number in (1, 2):
            entries.insert_cost(connection, cost(number), UTC_ZONE)
    database.close()
    return database.path


def foreign(path: Path, statement: str, *values: str) -> None:
    connection = apsw.Connection(str(path))
    connection.set_busy_timeout(10_000)
    connection.execute(statement, values)
    connection.close()


def insert(path: Path) -> None:
    """Write a cost of three dollars for the three days before today, as a program that knows only the columns."""
    foreign(
        path,
        "INSERT INTO operating_costs (category, amount_nano, period_start, period_end) VALUES ('storage', 3000000000, ?, ?)",
        text_from_instant(TODAY - timedelta(days=3)),
        text_from_instant(TODAY),
    )


def total(path: Path) -> Decimal:
    pnl = orchestrator.get_pnl(db=path)
    orchestrator.close()
    return pnl.operating_cost_usd


def findings(path: Path) -> dict[str, str]:
    return {one["subject"]: one["state"] for one in data(command(path.parent, "doctor", "--json", **QUIET))}


def test_it_is_named_as_not_counted_and_once_counts_it(path: Path) -> None:
    assert "costs" not in findings(path)
    insert(path)

    before = orchestrator.get_pnl(db=path)
    earlier = orchestrator.get_pnl(TODAY - timedelta(days=9), TODAY - timedelta(days=5), db=path)
    assert (before.operating_cost_usd, before.unknown) == (Decimal(2), ("operating_cost",))
    assert earlier.unknown == ()
    assert orchestrator.get_operating_cost_total(db=path) == Decimal(5)
    orchestrator.close()
    assert "- operating   $2.00  a cost not counted" in command(path.parent, "pnl", **QUIET).stdout
    assert findings(path)["costs"] == "warning"

    assert command(path.parent, "once", **QUIET).returncode == 0

    after = orchestrator.get_pnl(db=path)
    assert (after.operating_cost_usd, after.unknown) == (Decimal(5), ())
    orchestrator.close()
    assert "costs" not in findings(path)
    assert command(path.parent, "doctor", "--verify", **QUIET).returncode == 0


@pytest.mark.parametrize(
    ("statement", "left"),
    [
        ("UPDATE operating_costs SET voided_at = '2026-01-01T00:00:00.000Z' WHERE entry_id = 'o1'", 1),
        ("UPDATE operating_costs SET amount_nano = 5000000000 WHERE entry_id = 'o2'", 6),
        ("UPDATE operating_costs SET category = 'other' WHERE entry_id = 'o2'", 2),
        ("DELETE FROM operating_costs", 0),
    ],
)
def test_what_another_program_changed_is_put_right_too(path: Path, statement: str, left: int) -> None:
    foreign(path, statement)
    assert findings(path)["costs"] == "warning"

    command(path.parent, "once", **QUIET)

    assert total(path) == left
    assert command(path.parent, "doctor", "--verify", **QUIET).returncode == 0


def test_a_running_daemon_counts_it_at_its_next_collection(path: Path) -> None:
    environ = environment(path.parent, **FAST, **QUIET)
    with daemon(environ, path.parent):
        until(lambda: rows(path, "SELECT 1 FROM meta WHERE key = 'last_prune_at'"))
        insert(path)

        until(lambda: total(path) == 5)


def test_a_cost_of_ours_after_a_foreign_one_does_not_hide_it(path: Path) -> None:
    insert(path)
    database = Database(path)
    with database.write() as connection:
        entries.insert_cost(connection, cost(3), UTC_ZONE)

        assert not shares.are_complete(connection)
        assert entries.share_out(connection, UTC_ZONE)
        assert shares.are_complete(connection)
        assert not entries.share_out(connection, UTC_ZONE)
        entries.insert_cost(connection, cost(4), UTC_ZONE)
        assert shares.are_complete(connection)
        assert rollups.verify(connection, UTC_ZONE) == []
    database.close()


def test_voiding_it_before_it_has_its_shares_takes_nothing_from_the_others(path: Path) -> None:
    foreign(
        path,
        "INSERT INTO operating_costs (entry_id, category, amount_nano, period_start) VALUES ('f', 'hosting', 5000000000, ?)",
        text_from_instant(TODAY - timedelta(days=1)),
    )

    assert command(path.parent, "record", "void", "f", **QUIET).returncode == 0

    answer = orchestrator.get_pnl(db=path)
    orchestrator.close()
    assert (answer.operating_cost_usd, answer.unknown) == (Decimal(2), ())
    assert command(path.parent, "doctor", "--verify", **QUIET).returncode == 0


ACTS = st.lists(
    st.tuples(st.sampled_from(["ours", "foreign", "void", "delete", "share"]), st.integers(0, 4)), max_size=10
)


@given(ACTS)
def test_after_sharing_out_every_day_is_what_its_costs_add_up_to(acts: list[tuple[str, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        database = Database(Path(folder) / "x.db")
        with database.write() as connection:
            for act, number in acts:
                perform(connection, act, number)
            noticed = not shares.are_complete(connection)
            differs = bool(rollups.verify(connection, UTC_ZONE))

            entries.share_out(connection, UTC_ZONE)

            # What is noticed may be right already; what is wrong is noticed.
            assert noticed or not differs
            assert shares.are_complete(connection)
            assert rollups.verify(connection, UTC_ZONE) == []
        database.close()


def perform(connection: Connection, act: str, number: int) -> None:
    match act:
        case "ours":
            entries.insert_cost(connection, cost(number, 2**number), UTC_ZONE)
        case "foreign":
            connection.execute(
                "INSERT INTO operating_costs (category, amount_nano, period_start) VALUES ('x', ?, ?)",
                (10 ** (9 + number), text_from_instant(TODAY - timedelta(days=number))),
            )
        case "void":
            connection.execute("UPDATE operating_costs SET voided_at = 'then' WHERE id = ?", (number,))
        case "delete":
            connection.execute("DELETE FROM operating_costs WHERE id = ?", (number,))
        case "share":
            entries.share_out(connection, UTC_ZONE)
