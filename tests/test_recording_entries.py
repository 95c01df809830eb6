"""Recording costs and revenue: exact amounts, periods in the file's zone, and what is refused."""

from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import orchestrator
from orchestrator.errors import FileMissing
from orchestrator.ledger import entries
from orchestrator.ledger.entries import OperatingCost, Revenue
from orchestrator.money import NanoUsd
from orchestrator.recording import NotRecorded, Recorded, configured, void
from orchestrator.store import meta
from orchestrator.store.database import Database

NOW = datetime(2026, 11, 18, 23, 30, tzinfo=UTC)


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    """A file whose days are Berlin's."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    database = Database(tmp_path / "orchestrator.db")
    with database.write() as connection:
        meta.put(connection, "timezone", "Europe/Berlin")
    yield database
    database.close()
    orchestrator.close()


def cost_of(database: Database, recorded: Recorded) -> OperatingCost:
    with database.read() as connection:
        cost = entries.cost_by_id(connection, recorded.id)
    assert cost is not None
    return cost


def revenue_of(database: Database, recorded: Recorded) -> Revenue:
    with database.read() as connection:
        revenue = entries.revenue_by_id(connection, recorded.id)
    assert revenue is not None
    return revenue


def days(database: Database) -> dict[str, int]:
    with database.read() as connection:
        return dict(connection.execute("SELECT day, sum(amount_nano) FROM daily_operating_costs GROUP BY day"))


def test_a_cost_without_a_period_belongs_to_the_day_on_which_it_is_recorded(database: Database) -> None:
    recorded = orchestrator.record_cost(
        category="hosting", amount_usd=12.5, service="fly", description="two machines", quantity=2, unit="machine_hours",
        tenant_id="acme", resource_type="vm", resource_id="17", entry_id="inv-1", now=NOW, db=database,
   )  # fmt: skip

    assert recorded == Recorded("inv-1", Decimal("12.5"), "given", "stored")
    assert cost_of(database, recorded) == OperatingCost(
        "inv-1", "hosting", NanoUsd(12_500_000_000), NOW, service="fly", description="two machines", quantity=Decimal("2.0"),
        unit="machine_hours", tenant_id="acme", resource_type="vm", resource_id="17",
    )  # fmt: skip
    assert days(database) == {"2026-11-19": 12_500_000_000}


def test_a_month_of_days_is_that_month_in_the_files_zone(database: Database) -> None:
    orchestrator.record_cost(
        category="hosting",
        amount_usd="31",
        period_start=date(2026, 10, 1),
        period_end="2026-11-01",
        now=NOW,
        db=database,
    )

    found = days(database)
    assert (len(found), min(found), max(found)) == (31, "2026-10-01", "2026-10-31")
    assert sum(found.values()) == 31_000_000_000
    # Clocks go back on the 25th: that day has 25 of the month's 745 hours.
    assert found["2026-10-25"] == 31_000_000_000 * 25 // 745


def test_a_refund_is_a_cost_below_zero(database: Database) -> None:
    recorded = orchestrator.record_cost(category="hosting", amount_usd=Decimal("-3.000000001"), now=NOW, db=database)

    assert recorded.cost_usd == Decimal("-3.000000001")
    assert days(database) == {"2026-11-19": -3_000_000_001}


@pytest.mark.parametrize(
    "category", ["ai_inference", "AI_Inference", "ai-inference", "AI inference", " ai\u200b_inference"]
)
def test_ai_inference_is_refused_as_a_cost(database: Database, category: str) -> None:
    recorded = orchestrator.record_cost(category=category, amount_usd=1, now=NOW, db=database)

    assert (recorded.outcome, recorded.cost_usd) == ("refused", None)
    assert "record_call" in str(recorded.problem)
    assert days(database) == {}
    with pytest.raises(NotRecorded, match="record_call"):
        orchestrator.record_cost(category=category, amount_usd=1, strict=True, now=NOW, db=database)


@pytest.mark.parametrize("source", ["xmr-mining", "XMR-Mining", "xmr_mining", "xmr mining"])
def test_mining_is_refused_as_revenue(database: Database, source: str) -> None:
    recorded = orchestrator.record_revenue(source=source, amount_usd=1, now=NOW, db=database)

    assert recorded.outcome == "refused"
    assert "twice" in str(recorded.problem)


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ({"amount_usd": "5 USD"}, "amount_usd"),
        ({"amount_usd": float("nan")}, "amount_usd"),
        ({"amount_usd": 10**9}, "amount_usd"),
        ({"amount_usd": -(10**9)}, "amount_usd"),
        ({"amount_usd": True}, "amount_usd"),
        ({"amount_usd": None}, "amount_usd"),
    ],
)
def test_an_amount_that_is_none_is_stored_as_unknown(database: Database, said: dict[str, Any], problem: str) -> None:
    recorded = orchestrator.record_cost(**{"category": "hosting", **said}, now=NOW, db=database)

    assert (recorded.outcome, recorded.cost_usd, recorded.cost_source) == ("stored", None, "unknown")
    assert problem in str(recorded.problem)
    cost = cost_of(database, recorded)
    assert (cost.amount_nano, cost.problem) == (None, recorded.problem)


@pytest.mark.parametrize(
    "said",
    [
        {"period_start": "2026-11-01", "period_end": "2026-11-01"},
        {"period_start": "2026-11-02", "period_end": "2026-11-01"},
        {"period_start": "2026-11-02", "period_end": "9990-01-01"},
        {"period_end": "soon"},
        {"period_start": NOW.replace(tzinfo=None)},
        {"quantity": -1},
        {"category": None},
        {"category": 1.5},
    ],
)
def test_nonsense_beside_the_amount_leaves_the_amount_and_names_itself(
    database: Database, said: dict[str, Any]
) -> None:
    recorded = orchestrator.record_cost(**{"category": "hosting", "amount_usd": 5, **said}, now=NOW, db=database)

    assert (recorded.outcome, recorded.cost_usd) == ("stored", Decimal(5))
    assert recorded.problem
    assert sum(days(database).values()) == 5_000_000_000
    with pytest.raises(NotRecorded):
        orchestrator.record_cost(**{"category": "hosting", "amount_usd": 5, **said}, strict=True, now=NOW, db=database)


def test_revenue_is_booked_on_its_local_day(database: Database) -> None:
    recorded = orchestrator.record_revenue(
        source="bounty", amount_usd="19.99", strategy_id="s1", tenant_id="acme", note="for a fix", entry_id="r1", now=NOW,
        db=database,
    )  # fmt: skip

    assert recorded == Recorded("r1", None, None, "stored")
    assert revenue_of(database, recorded) == Revenue(
        "r1",
        "bounty",
        NOW,
        NanoUsd(19_990_000_000),
        strategy_id="s1",
        tenant_id="acme",
        note="for a fix",
    )
    with database.read() as connection:
        assert connection.execute("SELECT day FROM revenue").get == "2026-11-19"


@pytest.mark.parametrize(
    ("said", "nano", "currency", "original", "problem"),
    [
        ({"currency": "eur", "original_amount": "7.5"}, None, "EUR", "7.5", "EUR without amount_usd"),
        ({"currency": "EUR", "original_amount": 7, "amount_usd": 8}, 8_000_000_000, "EUR", "7", None),
        ({"original_amount": "7.5"}, 7_500_000_000, "USD", "7.5", None),
        ({"currency": "€", "original_amount": "7.5"}, None, "XXX", "7.5", "currency"),
        ({"currency": "€", "amount_usd": "7.5"}, 7_500_000_000, "XXX", None, "currency"),
        ({"currency": "BTC", "original_amount": "0.000000001"}, None, "BTC", "1E-9", "BTC without"),
        ({"currency": "EUR", "original_amount": "lots"}, None, "EUR", None, "original_amount"),
        ({"currency": "EUR", "original_amount": Decimal("1e-500")}, None, "EUR", None, "original_amount"),
        ({"currency": "EUR", "original_amount": float("inf")}, None, "EUR", None, "original_amount"),
        ({"currency": "EUR", "original_amount": -3}, None, "EUR", "-3", "EUR without"),
        ({}, None, "USD", None, "there is no amount_usd"),
        ({"amount_usd": -1}, -1_000_000_000, "USD", None, None),
    ],
)
def test_another_currency_is_unknown_in_usd_unless_somebody_says(
    database: Database, said: dict[str, Any], nano: int | None, currency: str, original: str | None, problem: str | None
) -> None:
    recorded = orchestrator.record_revenue(source="bounty", **said, now=NOW, db=database)

    found = revenue_of(database, recorded)
    assert recorded.outcome == "stored"
    assert (found.amount_nano, found.currency) == (nano, currency)
    assert found.original_amount == (None if original is None else Decimal(original))
    assert (problem or "None") in str(recorded.problem)


def test_a_source_that_nobody_names_is_unknown_and_counted(database: Database) -> None:
    recorded = orchestrator.record_revenue(source=None, amount_usd=1, now=NOW, db=database)  # type: ignore[arg-type]

    assert (revenue_of(database, recorded).source, recorded.problem) == ("unknown", "there is no source")


def test_entries_are_recorded_once_by_their_id(database: Database) -> None:
    first = orchestrator.record_cost(category="hosting", amount_usd=5, entry_id="a", now=NOW, db=database)
    again = orchestrator.record_cost(category="hosting", amount_usd=7, entry_id="a", now=NOW, db=database)
    earned = orchestrator.record_revenue(source="bounty", amount_usd=5, entry_id="a", now=NOW, db=database)
    twice = orchestrator.record_revenue(source="bounty", amount_usd=5, entry_id="a", now=NOW, db=database)

    assert [one.outcome for one in (first, again, earned, twice)] == ["stored", "duplicate", "stored", "duplicate"]
    assert again.cost_usd == 5
    assert days(database) == {"2026-11-19": 5_000_000_000}


def test_a_voided_entry_is_a_duplicate_that_says_so(database: Database) -> None:
    rules = configured(database.path)
    orchestrator.record_cost(category="hosting", amount_usd=5, entry_id="a", now=NOW, db=database)
    orchestrator.record_revenue(source="bounty", amount_usd=5, entry_id="b", now=NOW, db=database)

    assert void(database, rules, "a", now=NOW) == void(database, rules, "b", now=NOW) == "voided"

    again = orchestrator.record_cost(category="hosting", amount_usd=5, entry_id="a", now=NOW, db=database)
    twice = orchestrator.record_revenue(source="bounty", amount_usd=5, entry_id="b", now=NOW, db=database)
    assert (again.outcome, again.problem, twice.outcome, twice.problem) == ("duplicate", "voided") * 2
    assert days(database) == {}


def test_voiding_makes_no_file(tmp_path: Path) -> None:
    database = Database(tmp_path / "x.db")

    with pytest.raises(FileMissing):
        void(database, configured(database.path), "a", now=NOW)

    assert not database.path.exists()
