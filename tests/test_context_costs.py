"""The line of the context that says what was spent and what is left."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import books
import pytest
from books import DAY, HOUR, USD, Books

from orchestrator import context
from orchestrator.ledger import calls
from orchestrator.ledger.calls import Call
from orchestrator.ledger.entries import OperatingCost, Revenue
from orchestrator.ledger.setup import Setup
from orchestrator.ledger.snapshots import MLX_API, XMR_MINING, Snapshot
from orchestrator.money import NanoUsd
from orchestrator.store.database import Database

NOW = datetime(2026, 11, 18, 12, 0, tzinfo=UTC)  # a Wednesday


def call(n: int, cost: float | None, at: datetime = NOW) -> Call:
    return Call(f"{n}", at, "openai", "gpt-4o", cost_nano=None if cost is None else NanoUsd(round(cost * USD)))


def sold(usd: float | None) -> Revenue:
    return Revenue("r", "consulting", NOW, None if usd is None else NanoUsd(round(usd * USD)))


def mined(price: float | None = 200.0, hours: int = 30 * 24) -> list[Snapshot]:
    return [
        Snapshot(XMR_MINING, NOW - n * HOUR, (hours - n) * 10**9, 0, 1.0, price, healthy=True) for n in range(hours + 1)
    ]


def text(path: Path, kept: Books, sources: tuple[str, ...] = (), max_chars: int | None = None) -> str:
    database = books.keep(path / "orchestrator.db", kept, sources=sources)
    said = context.format_for_context(database, Setup, max_chars, NOW)
    database.close()
    return said


def costs(path: Path, kept: Books, sources: tuple[str, ...] = ()) -> str:
    """Return the line that begins with Costs, without that beginning."""
    [line] = [line for line in text(path, kept, sources).splitlines() if line.startswith("- Costs: ")]
    return line.removeprefix("- Costs: ")


def test_costs_of_today_and_of_thirty_days_and_what_is_left(tmp_path: Path) -> None:
    today = [call(n, 0.02) for n in range(39)] + [call(40, 0.45), call(41, None), call(42, None)]
    kept = Books(
        [*today, call(43, 20, NOW - DAY)], [OperatingCost("o", "hosting", NanoUsd(987 * USD // 100), NOW - DAY)]
    )
    kept.revenue.append(sold(26.90))

    assert costs(tmp_path, kept) == "$1.23 today (42 calls, 2 unpriced), $31.10 in 30 days; net 30 days -$4.20"


def test_one_call_is_one_call(tmp_path: Path) -> None:
    assert costs(tmp_path, Books([call(1, 1)])) == "$1.00 today (1 call), $1.00 in 30 days; net 30 days -$1.00"


@pytest.mark.parametrize("entry", ["call", "cost", "revenue"])
def test_the_line_stands_once_anything_was_recorded(tmp_path: Path, entry: str) -> None:
    one = {
        "call": Books([call(1, 1, NOW - 300 * DAY)]),
        "cost": Books(costs=[OperatingCost("o", "hosting", NanoUsd(USD), NOW - 300 * DAY)]),
        "revenue": Books(revenue=[sold(1)]),
    }[entry]

    assert costs(tmp_path, one).startswith("$0.00 today (0 calls), $0.00 in 30 days; net 30 days $")


def test_without_a_record_there_is_no_line(tmp_path: Path) -> None:
    said = text(tmp_path, Books(snapshots=mined(hours=3)), (XMR_MINING,))

    assert "Costs" not in said


def test_unknown_mining_is_named(tmp_path: Path) -> None:
    assert costs(tmp_path, Books([call(1, 1)]), (XMR_MINING,)).endswith("; net 30 days -$1.00 (mining unknown)")


def test_mining_known_for_a_part_of_the_time_says_how_much(tmp_path: Path) -> None:
    kept = Books([call(1, 1)], snapshots=mined(hours=30))

    assert costs(tmp_path, kept).endswith("; net 30 days $5.00 (mining known 30 of 708 h)")


def test_mining_that_is_known_counts(tmp_path: Path) -> None:
    assert costs(tmp_path, Books([call(1, 1)], snapshots=mined())).endswith("; net 30 days $140.60")


def test_what_has_no_price_or_rate_is_named(tmp_path: Path) -> None:
    kept = Books([call(1, 1)], [OperatingCost("o", "hosting", None, NOW)], [sold(None)], mined(None))

    assert costs(tmp_path, kept).endswith(
        "; net 30 days -$1.00 (0.708000 XMR unpriced, revenue without a rate, a cost not counted)"
    )


def test_what_is_not_known_at_all_is_no_zero(tmp_path: Path) -> None:
    kept = Books([call(1, None), call(2, None, NOW - DAY)])

    assert (
        costs(tmp_path, kept)
        == "unknown today (1 call, 1 unpriced), unknown in 30 days (2 unpriced); net 30 days unknown"
    )


def test_costs_matter_less_than_sources_and_more_than_the_week(tmp_path: Path) -> None:
    kept = Books([call(1, 1)], snapshots=mined(hours=24 * 14))
    lines = text(tmp_path, kept, (XMR_MINING, MLX_API)).splitlines()
    database = Database(tmp_path / "orchestrator.db")

    def left_out(room: int) -> list[str]:
        said = context.format_for_context(database, Setup, len("\n".join(lines)) - room, NOW).splitlines()
        return [line.split(":")[0] for line in lines if line not in said]

    week = next(line for line in lines if line.startswith("- Week"))
    assert left_out(1) == ["- Week so far"]
    assert left_out(len(week) + 2) == ["- Week so far", "- Costs"]
    database.close()


def test_the_line_follows_every_change(tmp_path: Path) -> None:
    database = books.keep(tmp_path / "orchestrator.db", Books([call(1, 1), call(2, 2)]))
    before = context.format_for_context(database, Setup, None, NOW)

    with database.write() as connection:
        calls.void(connection, "2", NOW)

    assert "$3.00 today (2 calls)" in before
    assert "$1.00 today (1 call)" in context.format_for_context(database, Setup, None, NOW + timedelta(seconds=1))
    database.close()
