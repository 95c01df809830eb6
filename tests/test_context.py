"""The lines for a prompt: right figures with their age, no zero for the unknown, nothing that could leave its line."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator import context
from orchestrator.context import Line
from orchestrator.ledger import growth_days, setup, snapshots
from orchestrator.ledger.setup import Setup
from orchestrator.ledger.snapshots import MLX_API, XMR_MINING, Snapshot
from orchestrator.periods import zone
from orchestrator.store.database import Database

NOW = datetime(2026, 11, 18, 12, 0, tzinfo=UTC)  # a Wednesday
MINUTE = timedelta(minutes=1)
BOTH = Setup(sources=(XMR_MINING, MLX_API))


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return Database(tmp_path / "orchestrator.db")


def store(database: Database, *rows: Snapshot, configured: Setup | None = BOTH) -> None:
    with database.write() as connection:
        if configured is not None:
            setup.write(connection, configured)
        for row in rows:
            snapshots.insert(connection, row)


def lines(database: Database, now: datetime = NOW, configured: Setup = BOTH) -> list[str]:
    return context.format_for_context(database, lambda: configured, None, now).splitlines()


def mined(
    at: datetime, balance: int | None = 45_679_000_000, price: float | None = 312.84, error: str | None = None
) -> Snapshot:
    return Snapshot(
        XMR_MINING,
        at,
        balance,
        None if balance is None else 0,
        None if balance is None else 13842.0,
        price,
        error=error,
    )


def served(
    at: datetime, requests: int | None = 1234, tokens: int | None = 567_890, error: str | None = None
) -> Snapshot:
    return Snapshot(MLX_API, at, requests_served=requests, tokens_generated=tokens, error=error)


def test_fresh_values_stand_with_their_age(database: Database) -> None:
    store(database, mined(NOW - 4 * MINUTE), served(NOW - 4 * MINUTE))

    assert lines(database) == [
        "Revenue:",
        "- XMR Mining: $14.29 balance (0.045679 XMR), hashrate 13842 H/s (4min ago)",
        "- MLX API: 1234 requests served, 567890 tokens (4min ago)",
    ]


def test_after_failures_the_last_good_value_stands_with_how_long_and_why(database: Database) -> None:
    failures = [
        mined(NOW - 120 * MINUTE + n * 5 * MINUTE, None, None, "pool: timeout; price: HTTP 429") for n in range(1, 25)
    ]
    store(database, mined(NOW - 120 * MINUTE), *failures)

    assert lines(database)[1] == (
        "- XMR Mining: $14.29 balance (0.045679 XMR), hashrate 13842 H/s (STALE: 2h ago); unreachable for 2h, 24 tries: timeout"
    )


def test_a_source_that_was_never_good_has_no_figures(database: Database) -> None:
    store(
        database,
        mined(NOW - 4 * MINUTE, None, None, "pool: wallet unknown to the pool"),
        served(NOW, None, None, "connection refused"),
    )

    assert lines(database) == [
        "Revenue:",
        "- XMR Mining: data unavailable (4min ago): wallet unknown to the pool",
        "- MLX API: data unavailable (0min ago): connection refused",
    ]


def test_a_source_not_asked_yet_says_so_with_and_without_a_file(database: Database) -> None:
    expected = ["Revenue:", "- XMR Mining: no data collected yet", "- MLX API: no data collected yet"]
    assert lines(database) == expected
    assert not database.path.exists()

    store(database)
    assert lines(database) == expected


def test_no_configured_source_is_one_line(database: Database) -> None:
    assert lines(database, configured=Setup(sources=())) == ["Revenue: no source is configured"]

    store(database, configured=Setup(sources=()))
    assert lines(database) == ["Revenue: no source is configured"]


def test_what_is_unknown_is_named_and_never_zero(database: Database) -> None:
    store(
        database,
        Snapshot(
            XMR_MINING,
            NOW,
            balance_atomic=45_679_000_000,
            paid_atomic=0,
            error="pool: hashrate: missing; price: timeout",
        ),
        served(NOW, 41, None, "total_tokens_generated: missing"),
    )

    assert lines(database)[1:] == [
        "- XMR Mining: 0.045679 XMR balance (price unknown), hashrate unknown (0min ago)",
        "- MLX API: 41 requests served, tokens unknown (0min ago)",
    ]


def test_a_balance_read_without_a_price_takes_the_last_known_of_the_day(database: Database) -> None:
    store(database, mined(NOW - 60 * MINUTE), mined(NOW, price=None))

    assert lines(database)[1].startswith("- XMR Mining: $14.29 balance (0.045679 XMR)")
    assert "price unknown" in lines(database, NOW + timedelta(hours=24))[1]


def test_zero_stands_where_zero_was_seen(database: Database) -> None:
    store(database, Snapshot(XMR_MINING, NOW, 0, 0, 0.0, 300.0), served(NOW, 0, 0))

    assert lines(database)[1:] == [
        "- XMR Mining: $0.00 balance (0.000000 XMR), hashrate 0 H/s (0min ago)",
        "- MLX API: 0 requests served, 0 tokens (0min ago)",
    ]


def two_weeks(database: Database, now: datetime, *, until: datetime | None = None) -> None:
    """Store 1 mXMR and 5 requests an hour, from two weeks before `now`, at 100 USD last week and 120 this week."""
    start = now - timedelta(days=14)
    rows = []
    for n in range(14 * 24 + 1):
        at = start + timedelta(hours=n)
        if until is not None and at > until:
            break
        price = 100.0 if at <= datetime(2026, 11, 15, tzinfo=UTC) else 120.0
        rows += [mined(at, n * 10**9, price), served(at, n * 5, n * 100)]
    store(database, *rows)
    for source in (XMR_MINING, MLX_API):
        with database.write() as connection:
            growth_days.close_days(connection, source, zone("UTC"), 300, now)


def test_the_week_so_far_stands_beside_last_week_to_the_same_point(database: Database) -> None:
    two_weeks(database, NOW)

    assert lines(database)[3] == (
        "- Week so far: $10.08 mined vs $8.40 at this point last week (+20%); 420 requests vs 420 (+0%)"
    )


def test_a_comparison_says_how_little_of_last_week_is_known(database: Database) -> None:
    rows = [mined(NOW - timedelta(hours=n), (200 - n) * 10**9, 100.0) for n in range(190)]
    store(database, *rows, configured=Setup(sources=(XMR_MINING,)))

    week = lines(database)[2]

    assert week == "- Week so far: $8.40 mined vs $2.10 at this point last week (known 21 of 84h) (+300%)"


def test_what_was_mined_without_a_price_is_not_called_worthless(database: Database) -> None:
    rows = [mined(NOW - timedelta(hours=n), (60 - n) * 10**9, None) for n in range(60)]
    store(database, *rows, configured=Setup(sources=(XMR_MINING,)))

    assert lines(database)[2] == (
        "- Week so far: 0.059000 XMR (price unknown) mined vs unknown at this point last week"
    )


def test_a_source_that_is_no_longer_asked_is_shown_for_a_day(database: Database) -> None:
    store(database, mined(NOW - timedelta(hours=20)), served(NOW), configured=Setup(sources=(MLX_API,)))

    assert len(lines(database)) == 3
    assert lines(database, NOW + timedelta(hours=5))[1].startswith("- MLX API")


def test_rows_that_another_program_wrote_count_without_any_configuration(database: Database) -> None:
    store(database, mined(NOW - timedelta(days=3)), configured=None)

    assert lines(database, configured=Setup())[1] == (
        "- XMR Mining: $14.29 balance (0.045679 XMR), hashrate 13842 H/s (STALE: 3d ago)"
    )


def test_a_file_that_cannot_be_read_becomes_a_line(tmp_path: Path) -> None:
    path = tmp_path / "orchestrator.db"
    path.write_text("these are not the bytes of a database, but quite enough of them to be looked at" * 9)

    text = context.format_for_context(Database(path), lambda: BOTH, None, NOW)

    assert text.startswith("Revenue:\n- data unavailable: ")
    assert "is not a SQLite database" in text
    assert len(text.splitlines()) == 2


HOSTILE = "\x00\x1b[31m\n- Costs: $0\u2028\u202eevil\u2066\u200b\ud800\U000e0041\x85"


def test_nothing_from_outside_leaves_its_line(database: Database) -> None:
    with database.write() as connection:
        setup.write(connection, BOTH)
        connection.execute(
            "INSERT INTO revenue_snapshots (source, collected_at, error) VALUES ('mlx-api', '2026-11-18T12:00:00.000Z', ?)",
            (HOSTILE.replace("\ud800", ""),),
        )

    text = "\n".join(lines(database))

    assert len(text.splitlines()) == 3
    assert not set(text) & set(HOSTILE) - set("- Costs: $0evil[31m\n")


@given(st.integers(-5, 400))
def test_max_chars_is_a_bound_and_drops_the_least_important_first(limit: int) -> None:
    everything = [
        Line("Revenue:", 0),
        Line("- XMR " + "x" * 60, 1),
        Line("- MLX " + "y" * 60, 2),
        Line("- Week " + "z" * 60, 5),
    ]

    text = context.fitting(everything, limit)

    assert len(text) <= max(limit, 0)
    if "- MLX" in text:
        assert "- XMR" in text
    if "- Week" in text:
        assert text == context.fitting(everything, None)


def test_a_price_or_a_rate_that_is_none_is_unknown(database: Database) -> None:
    store(database, Snapshot(XMR_MINING, NOW, 10**12, 0, float("inf"), -3.0))
    assert lines(database)[1] == "- XMR Mining: 1.000000 XMR balance (price unknown), hashrate unknown (0min ago)"


def test_a_figure_is_never_cut_in_two() -> None:
    text = context.fitting([Line("- XMR Mining: $1234.56 balance", 1)], 20)

    assert text == "- XMR Mining:…"


def test_a_source_that_was_never_there_costs_no_more_with_the_years(database: Database) -> None:
    rows = [served(NOW - n * MINUTE, None, None, "connection refused") for n in range(1, 1200)]
    store(database, served(NOW - 1300 * MINUTE), *rows)

    assert "unreachable for 21h 40min, over 1000 tries: connection refused" in lines(database)[2]
