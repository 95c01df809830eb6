"""What AI calls cost: by every dimension, for every time, the same as a plain loop over the calls says."""

import tempfile
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, get_args

import apsw
import books
import pytest
from books import DAY, HOUR, USD, Books
from hypothesis import given, settings
from hypothesis import strategies as st

import orchestrator
from orchestrator.ledger import calls, pruning
from orchestrator.ledger.calls import Call
from orchestrator.ledger.setup import Setup
from orchestrator.money import NanoUsd
from orchestrator.periods import zone
from orchestrator.reports import spending
from orchestrator.reports import window as windows
from orchestrator.reports.call_sums import ANY, Filters
from orchestrator.reports.spending import AiSpend, Breakdown, By, CostStats, ServiceSpend, TierSpend, UserSpend
from orchestrator.reports.window import Window
from orchestrator.store.database import Database

NOW = datetime(2026, 11, 18, 12, 0, tzinfo=UTC)
TODAY = datetime(2026, 11, 18, tzinfo=UTC)
UTC_ZONE = zone("UTC")


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = books.keep(tmp_path / "orchestrator.db", Books())
    yield database
    database.close()


def call(at: datetime = NOW, cost: int | None = USD, **values: Any) -> Call:
    nano = None if cost is None else NanoUsd(cost)
    return Call(
        f"{at} {cost} {values}", at, cost_nano=nano, cost_source="unknown" if cost is None else "priced", **values
    )


def by(
    database: Database, by: By, window: Window | None = None, filters: Filters = ANY, limit: int | None = None
) -> Breakdown:
    with database.read() as connection:
        return spending.breakdown(
            connection, Setup(), by, window or windows.between(None, None, UTC_ZONE, NOW), filters, limit
        )


def prune(database: Database, before: date) -> None:
    for _ in pruning.prune_calls(database, before):
        pass


def test_a_summary_has_the_sum_of_known_costs_and_the_count_of_the_unknown(database: Database) -> None:
    books.add(database, Books([
        call(tier="premium"), call(NOW - 400 * DAY, tier="premium"), call(cost=None, tier="standard"), call(cost=None), call(cost=0),
    ]))  # fmt: skip

    assert orchestrator.get_ai_spend_summary(db=database) == AiSpend(
        Decimal(2), 5, 2,
        {None: TierSpend(2, Decimal(0), 1), "premium": TierSpend(2, Decimal(2), 0), "standard": TierSpend(1, Decimal(0), 1)},
    )  # fmt: skip


CHANGES = [
    "INSERT INTO ai_calls (called_at, tier, cost_nano) VALUES ('2026-01-01', 'a', 5)",
    "INSERT INTO ai_calls (called_at, day, tier, cost_nano, cost_source) VALUES ('2026-01-01T00:00:00.000Z', '2026-01-01', 'b', 7, 'given')",
    "INSERT INTO ai_calls (called_at, tier) VALUES ('2026-01-01', 'a')",
    # In a gap, as of rows that are copied from another file.
    (
        "INSERT OR IGNORE INTO ai_calls (id, called_at, day, tier, cost_nano, cost_source) "
        "SELECT max(max(id) - 1, 1), '2026-01-01T00:00:00.000Z', '2026-01-01', 'c', 11, 'given' FROM ai_calls"
    ),
    "INSERT INTO ai_calls (id, called_at, tier, cost_nano) SELECT max(id) + 10, '2026-01-01', 'b', 13 FROM ai_calls",
    "UPDATE ai_calls SET tier = 'd' WHERE id = (SELECT max(id) FROM ai_calls)",
    "UPDATE ai_calls SET cost_nano = 17 WHERE id = (SELECT min(id) FROM ai_calls)",
    "UPDATE ai_calls SET voided_at = '2026-01-01T00:00:00.000Z' WHERE id = (SELECT min(id) FROM ai_calls WHERE voided_at IS NULL)",
    "DELETE FROM ai_calls WHERE id = (SELECT max(id) FROM ai_calls)",
    "DELETE FROM ai_calls WHERE id = (SELECT min(id) FROM ai_calls)",
    "DELETE FROM meta WHERE key = 'call_changes'",
]


@settings(max_examples=60)
@given(st.lists(st.sampled_from(CHANGES), max_size=20))
def test_a_summary_is_right_after_any_change_by_anybody(changes: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        database = books.keep(Path(folder) / "orchestrator.db", Books([call(), call(tier="a")]))
        stranger = apsw.Connection(str(database.path))
        for change in changes:
            stranger.execute(change)
            naive = {
                tier: TierSpend(calls, Decimal(nano) / 10**9, unpriced)
                for tier, calls, nano, unpriced in stranger.execute(
                    "SELECT tier, count(*), coalesce(sum(cost_nano), 0), count(*) - count(cost_nano) FROM ai_calls "
                    "WHERE voided_at IS NULL GROUP BY tier"
                )
            }
            found = orchestrator.get_ai_spend_summary(db=database)
            assert (found.by_tier, found.total_calls) == (naive, sum(tier.calls for tier in naive.values()))
        stranger.close()
        database.close()


def test_a_summary_of_no_calls_is_zero_and_follows_every_change(database: Database) -> None:
    assert orchestrator.get_ai_spend_summary(db=database) == AiSpend(Decimal(0), 0, 0, {})

    books.add(database, Books([call(user_id="x")]))
    first = orchestrator.get_ai_spend_summary(db=database)
    first.by_tier.clear()
    with database.write() as connection:
        calls.void(connection, call(user_id="x").call_id, NOW)

    assert first.total_calls == 1
    assert orchestrator.get_ai_spend_summary(db=database).total_calls == 0


def test_a_summary_forgets_what_was_rolled_back(database: Database) -> None:
    books.add(database, Books([call()]))

    found = []
    for cost in (2, 5):
        with suppress(ZeroDivisionError), database.write() as connection:
            connection.execute("UPDATE ai_calls SET cost_nano = ?", (cost * USD,))
            found.append(spending.ai_spend_ever(connection).total_cost_usd)
            1 / 0  # noqa: B018

    assert found == [2, 5]
    assert orchestrator.get_ai_spend_summary(db=database).total_cost_usd == 1


def test_a_summary_is_right_after_a_backup_was_copied_into_the_file(database: Database, tmp_path: Path) -> None:
    books.add(database, Books([call()]))
    with apsw.Connection(str(tmp_path / "backup.db")) as copy, database.read() as connection:
        with copy.backup("main", connection, "main") as step:
            step.step()
    books.add(database, Books([call(tier="a")]))
    assert orchestrator.get_ai_spend_summary(db=database).total_calls == 2

    stranger = apsw.Connection(str(database.path))
    with apsw.Connection(str(tmp_path / "backup.db")) as copy, stranger.backup("main", copy, "main") as step:
        step.step()
    stranger.close()

    assert orchestrator.get_ai_spend_summary(db=database).total_calls == 1


@pytest.mark.parametrize("name", ["service", "user", "endpoint"])
@pytest.mark.parametrize("since", [TODAY, NOW - HOUR])
def test_an_empty_filter_is_calls_without_a_value_whatever_the_sums_are_from(
    database: Database, name: By, since: datetime
) -> None:
    books.add(database, Books([call(), call(tenant_id="acme", user_id="ann"), call(tenant_id="acme", user_id="")]))
    window = windows.between(since, None, zone("UTC"), NOW)

    with database.read() as connection:
        found = [
            spending.breakdown(connection, Setup(), name, window, filters, None).total.calls
            for filters in (Filters(tenant_id=""), Filters(user_id=""), Filters(tenant_id="acme", user_id=""))
        ]

    assert found == [1, 2, 1]


def test_a_day_and_a_month_are_local(tmp_path: Path) -> None:
    late = datetime(2026, 10, 31, 23, 30, tzinfo=UTC)
    database = books.keep(tmp_path / "x.db", Books([call(late)]), "Europe/Vienna")

    assert orchestrator.get_daily_costs("2026-10-31", db=database).total_calls == 0
    assert orchestrator.get_daily_costs(date(2026, 11, 1), db=database).total_calls == 1
    assert orchestrator.get_daily_costs(late, db=database).total_calls == 1
    assert orchestrator.get_monthly_costs(2026, 10, db=database).total_calls == 0
    assert orchestrator.get_monthly_costs(2026, 11, db=database).total_cost_usd == 1
    database.close()


def test_services_come_with_their_tokens_the_dearest_first(database: Database) -> None:
    books.add(database, Books([
        call(service="openai", input_tokens=3, output_tokens=5), call(service="openai", cost=None, input_tokens=4, reasoning_tokens=1),
        call(service="anthropic", cost=2 * USD, cache_read_tokens=7, cache_write_tokens=8), call(NOW - 40 * DAY, service="old"),
    ]))  # fmt: skip

    assert orchestrator.get_service_breakdown(now=NOW, db=database) == [
        ServiceSpend("anthropic", 1, Decimal(2), 0, None, 7, 8, None, None, None),
        ServiceSpend("openai", 2, Decimal(1), 1, 7, None, None, 5, 1, None),
    ]


def test_tokens_that_nobody_counted_are_not_zero(database: Database) -> None:
    counted = call(cost=None, service="openai", model="whisper", input_tokens=0, output_tokens=9)
    books.add(database, Books([call(cost=None, service="openai", model="dall-e-3"), counted]))

    images, texts = sorted(by(database, "model").rows, key=lambda row: str(row.dimensions["model"]))
    nothing = by(database, "model", filters=Filters(model="none such")).total

    # The sums do not tell whether the 0 was counted.
    assert (images.input_tokens, images.output_tokens) == (None, None)
    assert (texts.input_tokens, texts.output_tokens) == (None, 9)
    assert (nothing.calls, nothing.input_tokens, nothing.reasoning_tokens) == (0, 0, 0)


def test_stats_tell_how_calls_went(database: Database) -> None:
    books.add(
        database,
        Books([call(), call(cost=0, succeeded=False), call(cost=0, cache_hit=True), call(cost=None, cache_hit=True)]),
    )

    assert orchestrator.get_cost_stats(now=NOW, db=database) == CostStats(4, 3, 1, 2, 0.75, 0.5, Decimal(1), 1, None)


def test_without_calls_there_are_no_rates(database: Database) -> None:
    stats = orchestrator.get_cost_stats(now=NOW, db=database)

    assert (stats.total_calls, stats.success_rate, stats.cache_hit_rate) == (0, None, None)


def test_top_users_are_the_dearest_and_nobody_is_no_user(database: Database) -> None:
    books.add(database, Books([
        call(user_id="ann", tenant_id="acme"), call(NOW + HOUR, user_id="ann", tenant_id="acme"), call(user_id="bob"),
        call(user_id="cyd", cost=None), call(cost=9 * USD),
    ]))  # fmt: skip

    assert orchestrator.get_top_users(limit=2, now=NOW, db=database) == [
        UserSpend("acme", "ann", 2, Decimal(2), 0, None),
        UserSpend(None, "bob", 1, Decimal(1), 0, None),
    ]


def test_rows_are_named_by_their_dimensions(database: Database) -> None:
    books.add(
        database, Books([call(resource_type="doc", resource_id="7", tenant_id="acme", user_id="ann"), call(cost=None)])
    )

    assert [row.dimensions for row in by(database, "resource").rows] == [
        {"resource_type": "doc", "resource_id": "7"},
        {"resource_type": None, "resource_id": None},
    ]
    assert [row.dimensions for row in by(database, "user").rows] == [
        {"tenant_id": "acme", "user_id": "ann"},
        {"tenant_id": None, "user_id": None},
    ]
    assert by(database, "day").rows[0].dimensions == {"day": "2026-11-18"}
    assert by(database, "week").rows[0].dimensions == {"week": "2026-11-15"}
    assert by(database, "month").rows[0].dimensions == {"month": "2026-11"}


def test_a_limit_keeps_the_latest_or_the_dearest_and_the_total_stays(database: Database) -> None:
    books.add(database, Books([call(NOW - n * DAY, cost=n * USD, model=f"m{n}") for n in range(5)]))

    days, models = by(database, "day", limit=2), by(database, "model", limit=2)

    assert [row.dimensions["day"] for row in days.rows] == ["2026-11-17", "2026-11-18"]
    assert [row.dimensions["model"] for row in models.rows] == ["m4", "m3"]
    assert days.total == models.total
    assert days.total.cost_usd == 10


def test_pruning_changes_no_answer_that_the_rollups_hold(database: Database) -> None:
    old = TODAY - 20 * DAY
    books.add(
        database,
        Books([call(old + n * HOUR, service="s", model="m", operation="o", tier="t", tenant_id="a", user_id="u") for n in range(40)]),
    )  # fmt: skip
    kept: list[By] = ["day", "week", "month", "service", "model", "operation", "tier", "tenant"]
    before = [by(database, name) for name in kept]

    prune(database, date(2026, 11, 1))

    assert [by(database, name) for name in kept] == before
    assert before[0].known_from is None


@pytest.mark.parametrize("name", ["user", "endpoint", "resource"])
def test_what_no_rollup_holds_is_known_from_the_first_day_that_is_kept(database: Database, name: By) -> None:
    books.add(
        database,
        Books([call(TODAY - 20 * DAY + n * DAY, endpoint="e", user_id="u", resource_id="r") for n in range(21)]),
    )

    prune(database, date(2026, 11, 11))

    found = by(database, name)
    assert found.known_from == date(2026, 11, 11)
    assert [row.calls for row in found.rows] == [8]
    assert by(database, name, windows.between("2026-11-11", None, UTC_ZONE, NOW)).known_from is None
    assert orchestrator.get_top_users(now=NOW, db=database)[0].known_from == date(2026, 11, 11)


def test_a_part_of_a_pruned_day_does_not_count_and_the_answer_says_so(database: Database) -> None:
    old = TODAY - 20 * DAY
    books.add(database, Books([call(old + n * HOUR, service="s") for n in range(48)]))

    prune(database, date(2026, 11, 1))

    stats = orchestrator.get_cost_stats(old + 12 * HOUR, old + 2 * DAY, now=NOW, db=database)
    assert (stats.total_calls, stats.known_from) == (24, date(2026, 11, 1))
    rows = orchestrator.get_service_breakdown(old + 12 * HOUR, old + 2 * DAY, now=NOW, db=database)
    assert [(row.calls, row.known_from) for row in rows] == [(24, date(2026, 11, 1))]


NAMES = st.sampled_from([None, "", "a", "b"])


@st.composite
def some_calls(draw: st.DrawFn) -> list[Call]:
    count = draw(st.integers(0, 12))
    return [
        Call(
            f"{n}", TODAY - 6 * DAY + timedelta(minutes=draw(st.integers(0, 8 * 24 * 60))), draw(NAMES), draw(NAMES), draw(NAMES),
            draw(NAMES), draw(st.none() | st.integers(0, 9)), draw(st.none() | st.integers(0, 9)), output_tokens=draw(st.integers(0, 9)),
            cost_nano=draw(st.none() | st.integers(0, 10**12).map(NanoUsd)), tenant_id=draw(NAMES), user_id=draw(NAMES),
            endpoint=draw(NAMES), resource_type=draw(NAMES), resource_id=draw(NAMES),
            voided_at=draw(st.sampled_from([None, None, None, NOW])),
        )
        for n in range(count)
    ]  # fmt: skip


def naive(
    some: list[Call], by: By, tz_name: str, window: Window, filters: Filters
) -> dict[tuple[str | None, ...], list[int | None]]:
    """Return for each name of a dimension: calls, nano-USD, unpriced calls, input, cache read and output tokens, None for no tokens."""
    sums: dict[tuple[str | None, ...], list[int]] = {}
    for one in some:
        day = one.called_at.astimezone(zone(tz_name)).date()
        sunday = day - DAY * ((day.weekday() + 1) % 7)
        named = {"day": str(day), "week": str(sunday), "month": f"{day:%Y-%m}"}
        if one.voided_at is not None or not window.start <= one.called_at < window.end:
            continue
        if any(value is not None and getattr(one, name) != value for name, value in vars(filters).items()):
            continue
        key = tuple(named.get(name) or getattr(one, name, None) or None for name in spending.NAMES[by])
        add = [
            1,
            one.cost_nano or 0,
            int(one.cost_nano is None),
            one.input_tokens or 0,
            one.cache_read_tokens or 0,
            one.output_tokens or 0,
        ]
        sums[key] = [a + b for a, b in zip(sums.get(key, [0] * 6), add, strict=True)]
    return {key: [*added[:3], *(count or None for count in added[3:])] for key, added in sums.items()}


@settings(max_examples=80)
@given(
    some=some_calls(),
    name=st.sampled_from([*get_args(get_args(By)[0]), "week", "month"]),
    tz_name=st.sampled_from(["UTC", "Asia/Kolkata", "Europe/Vienna"]),
    start=st.integers(-24, 6 * 24),
    hours=st.integers(0, 9 * 24),
    filters=st.builds(Filters, *[st.sampled_from([None, None, None, "a"])] * 4),
)
def test_any_breakdown_says_what_a_plain_loop_says(
    some: list[Call], name: By, tz_name: str, start: int, hours: int, filters: Filters
) -> None:
    tz = zone(tz_name)
    window = Window(TODAY - 6 * DAY + start * HOUR, TODAY - 6 * DAY + (start + hours) * HOUR, tz)
    with tempfile.TemporaryDirectory() as folder:
        database = books.keep(Path(folder) / "x.db", Books(some), tz_name)

        found = by(database, name, window, filters)

        assert {
            tuple(row.dimensions.values()): [
                row.calls, int(row.cost_usd * USD), row.unpriced_calls, row.input_tokens, row.cache_read_tokens, row.output_tokens
            ]
            for row in found.rows
        } == naive(some, name, tz_name, window, filters)  # fmt: skip
        assert found.total.calls == sum(row.calls for row in found.rows)
        assert found.total.cost_usd == sum(row.cost_usd for row in found.rows)
        database.close()
