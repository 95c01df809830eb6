"""The views on what was earned and spent: their columns, what NULL means in them, and that they read no more days than asked."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from orchestrator.ledger import calls, entries
from orchestrator.ledger.calls import Call
from orchestrator.ledger.entries import OperatingCost, Revenue
from orchestrator.money import NanoUsd
from orchestrator.periods import zone
from orchestrator.store.database import Database

NOW = datetime(2026, 3, 31, 12, tzinfo=UTC)
UTC_ZONE = zone("UTC")
USD = 10**9


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "orchestrator.db")
    with database.write():
        pass
    yield database
    database.close()


def query(database: Database, statement: str) -> list[tuple[Any, ...]]:
    with database.read() as connection:
        return list(connection.execute(statement))


def mined(database: Database, day: str, earned_nano: int | None, source: str = "xmr-mining") -> None:
    with database.write() as connection:
        connection.execute(
            "INSERT INTO daily_growth (day, source, earned_nano, covered_seconds, flag) VALUES (?, ?, ?, 0, 'exact')",
            (day, source, earned_nano),
        )


def called(database: Database, *several: Call) -> None:
    with database.write() as connection:
        calls.insert_many(connection, several, UTC_ZONE)


def sold(database: Database, *several: Revenue) -> None:
    with database.write() as connection:
        for one in several:
            entries.insert_revenue(connection, one, UTC_ZONE)


def spent(database: Database, *several: OperatingCost) -> None:
    with database.write() as connection:
        for one in several:
            entries.insert_cost(connection, one, UTC_ZONE)


@pytest.mark.parametrize(
    ("view", "columns"),
    [
        (
            "pnl_daily",
            "day revenue_usd revenue_nano costs_usd costs_nano net_usd net_nano ai_usd ai_nano operating_usd operating_nano unpriced_calls",
        ),
        ("costs_daily", "day kind category service tenant_id cost_usd cost_nano calls unpriced_calls"),
        ("revenue_daily", "day source strategy_id revenue_usd revenue_nano"),
        ("timeseries", "time metric value"),
    ],
)
def test_a_view_has_its_columns(database: Database, view: str, columns: str) -> None:
    found = query(database, f"SELECT name FROM pragma_table_info('{view}')")

    assert [name for (name,) in found] == columns.split()


def test_a_days_profit_is_its_revenue_and_mining_less_its_calls_and_costs(database: Database) -> None:
    called(database, Call("a", NOW, cost_nano=NanoUsd(2 * USD), tenant_id="acme"), Call("b", NOW), Call("c", NOW))
    spent(database, OperatingCost("c", "hosting", NanoUsd(10 * USD), NOW, NOW + timedelta(days=1)))
    sold(database, Revenue("r", "sales", NOW, NanoUsd(7 * USD)), Revenue("e", "sales", NOW, None, currency="EUR"))
    mined(database, "2026-03-31", 4 * USD)
    mined(database, "2026-03-31", None, "mlx-api")

    rows = query(
        database,
        "SELECT day, revenue_usd, costs_usd, net_usd, ai_usd, operating_usd, unpriced_calls FROM pnl_daily ORDER BY day",
    )

    assert rows == [
        ("2026-03-31", 11.0, 7.0, 4.0, 2.0, 5.0, 2),
        ("2026-04-01", 0.0, 5.0, -5.0, 0.0, 5.0, 0),
    ]


def test_a_day_of_which_nothing_is_known_is_not_there(database: Database) -> None:
    mined(database, "2026-03-30", None)
    sold(database, Revenue("e", "sales", NOW, None, currency="EUR"))

    assert query(database, "SELECT * FROM pnl_daily") == []


def test_a_day_of_unpriced_calls_is_there_with_their_number(database: Database) -> None:
    called(database, Call("a", NOW))

    assert query(database, "SELECT day, costs_nano, unpriced_calls FROM pnl_daily") == [("2026-03-31", 0, 1)]


def test_revenue_whose_worth_is_not_known_is_null(database: Database) -> None:
    sold(
        database,
        Revenue("e", "sales", NOW, None, strategy_id="eur", currency="EUR"),
        Revenue("a", "sales", NOW, NanoUsd(5), strategy_id="usd"),
        Revenue("b", "sales", NOW, NanoUsd(6), strategy_id="usd"),
        Revenue("v", "sales", NOW, NanoUsd(9), strategy_id="usd", voided_at=NOW),
        Revenue("n", "sales", NOW, NanoUsd(1)),
    )
    mined(database, "2026-03-31", 3)
    mined(database, "2026-03-30", None)

    rows = query(database, "SELECT day, source, strategy_id, revenue_nano FROM revenue_daily ORDER BY day, 2, 3")

    assert rows == [
        ("2026-03-30", "xmr-mining", None, None),
        ("2026-03-31", "sales", None, 1),
        ("2026-03-31", "sales", "eur", None),
        ("2026-03-31", "sales", "usd", 11),
        ("2026-03-31", "xmr-mining", None, 3),
    ]


def test_costs_say_what_they_are_and_null_where_a_dimension_is_missing(database: Database) -> None:
    called(
        database,
        Call("a", NOW, service="openai", model="m", cost_nano=NanoUsd(5), tenant_id="acme"),
        Call("b", NOW, service="openai", model="n", cost_nano=NanoUsd(6), tenant_id="acme"),
        Call("c", NOW, service="openai", tenant_id="acme"),
        Call("d", NOW, cost_nano=NanoUsd(1)),
    )
    spent(
        database,
        OperatingCost("c", "hosting", NanoUsd(8), NOW),
        OperatingCost("d", "r2", NanoUsd(9), NOW, service="cf"),
    )

    rows = query(
        database,
        "SELECT kind, category, service, tenant_id, cost_nano, calls, unpriced_calls FROM costs_daily ORDER BY cost_nano",
    )

    assert rows == [
        ("ai", "ai_inference", None, None, 1, 1, 0),
        ("operating", "hosting", None, None, 8, 0, 0),
        ("operating", "r2", "cf", None, 9, 0, 0),
        ("ai", "ai_inference", "openai", "acme", 11, 3, 1),
    ]


def test_the_time_series_have_a_point_a_day_and_a_gap_for_what_is_not_known(database: Database) -> None:
    called(database, Call("a", NOW, cost_nano=NanoUsd(USD)), Call("b", NOW), Call("c", NOW + timedelta(days=1)))
    spent(database, OperatingCost("c", "hosting", NanoUsd(2 * USD), NOW))
    mined(database, "2026-03-31", 3 * USD)
    mined(database, "2026-04-02", None)

    rows = query(database, "SELECT * FROM timeseries WHERE metric IN ('cost_usd', 'revenue_usd') ORDER BY metric")

    assert rows == [("2026-03-31T00:00:00.000Z", "cost_usd", 3.0), ("2026-03-31T00:00:00.000Z", "revenue_usd", 3.0)]


@pytest.mark.parametrize("view", ["pnl_daily", "costs_daily", "revenue_daily"])
def test_a_question_about_some_days_reads_only_those(database: Database, view: str) -> None:
    first, last = date(2026, 3, 1).isoformat(), date(2026, 3, 31).isoformat()

    plan = query(database, f"EXPLAIN QUERY PLAN SELECT * FROM {view} WHERE day BETWEEN '{first}' AND '{last}'")

    tables = ("revenue", "daily_growth", "daily_totals", "daily_costs", "daily_operating_costs")
    steps = [str(step) for *_, step in plan]
    assert any(step.startswith("SEARCH ") for step in steps)
    assert not [step for step in steps if step.startswith("SCAN ") and step.split()[1] in tables]
