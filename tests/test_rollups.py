"""Rollups: equal to the raw rows to the nano whoever writes, checked by a plain loop; verified, rebuilt, moved to another zone."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import apsw
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from ledger_world import ACTS, CHANGES, NOW, PRUNES, Act, call, kept_sums, naive_sums, perform

from orchestrator.ledger import calls, entries, pruning, rollups
from orchestrator.ledger.calls import Call
from orchestrator.ledger.entries import OperatingCost, Revenue
from orchestrator.ledger.local_days import give_days, remember_zone, zone_offsets
from orchestrator.ledger.rollups import Difference
from orchestrator.money import NanoUsd
from orchestrator.periods import day_of, text_from_instant, zone
from orchestrator.store import meta
from orchestrator.store.database import Database

UTC_ZONE = zone("UTC")
BERLIN = zone("Europe/Berlin")
ZONES = ("UTC", "Europe/Berlin", "Asia/Kathmandu", "America/Sao_Paulo", "Pacific/Apia")
HERE = Path(__file__).parent
OFFSETS = {tz: zone_offsets(zone(tz)) for tz in ZONES}


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "orchestrator.db")
    yield database
    database.close()


def verified(database: Database, tz: str = "UTC") -> list[Difference]:
    with database.read() as connection:
        return rollups.verify(connection, zone(tz))


def rebuilt(database: Database, tz: str = "UTC", batch: int = 5000) -> None:
    for _ in rollups.rebuild(database, zone(tz), batch=batch):
        pass


def settle_in(database: Database, tz: str) -> None:
    with database.write() as connection:
        meta.put(connection, "timezone", tz)
        remember_zone(connection, zone(tz))


def query(database: Database, statement: str) -> list[tuple[Any, ...]]:
    with database.read() as connection:
        return list(connection.execute(statement))


def foreign(database: Database, statement: str, values: tuple[Any, ...] = ()) -> None:
    connection = apsw.Connection(str(database.path))
    try:
        connection.execute(statement, values)
    finally:
        connection.close()


@settings(max_examples=60)
@given(st.lists(ACTS, max_size=25), st.sampled_from(ZONES))
def test_rollups_equal_the_raw_rows_after_anything_anybody_did(
    tmp_path_factory: pytest.TempPathFactory, acts: list[Act], tz: str
) -> None:
    database = Database(tmp_path_factory.mktemp("ledger") / "orchestrator.db")
    settle_in(database, tz)

    for act in acts:
        perform(database, act, zone(tz))

    with database.read() as connection:
        assert kept_sums(connection) == naive_sums(connection)
    database.close()


@settings(max_examples=50)
@given(st.lists(ACTS | PRUNES, max_size=25))
def test_rollups_equal_the_raw_rows_of_the_days_that_were_not_pruned(
    tmp_path_factory: pytest.TempPathFactory, acts: list[Act]
) -> None:
    database = Database(tmp_path_factory.mktemp("ledger") / "orchestrator.db")
    settle_in(database, "UTC")

    for act in acts:
        perform(database, act, UTC_ZONE)

    with database.read() as connection:
        mark = pruning.pruned_before(connection)
        assert kept_sums(connection, mark) == naive_sums(connection, mark)
    database.close()


@settings(max_examples=5, phases=[Phase.generate])  # what processes do at once cannot be shrunk
@given(st.lists(st.lists(ACTS | PRUNES, min_size=5, max_size=15), min_size=4, max_size=4))
def test_rollups_equal_the_raw_rows_after_four_processes_wrote_at_once(
    tmp_path_factory: pytest.TempPathFactory, four: list[list[Act]]
) -> None:
    database = Database(tmp_path_factory.mktemp("ledger") / "orchestrator.db")
    settle_in(database, "UTC")
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parent)])}

    processes = [
        subprocess.Popen([sys.executable, HERE / "ledger_worker.py"], stdin=subprocess.PIPE, env=environ, text=True)
        for _ in four
    ]
    for process, acts in zip(processes, four, strict=True):
        assert process.stdin is not None
        process.stdin.write(json.dumps([str(database.path), "UTC", acts]))
        process.stdin.close()

    assert [process.wait(timeout=60) for process in processes] == [0, 0, 0, 0]
    with database.read() as connection:
        mark = pruning.pruned_before(connection)
        assert kept_sums(connection, mark) == naive_sums(connection, mark)
    database.close()


@pytest.mark.parametrize(("column", "value"), CHANGES)
@pytest.mark.parametrize("voided_at", [None, NOW])
def test_the_rollups_follow_a_change_of_any_column(
    database: Database, column: str, value: object, voided_at: datetime | None
) -> None:
    one = Call(
        "a", NOW, "openai", "m", "chat", "standard", input_tokens=2, cache_read_tokens=3, cache_write_tokens=5,
        output_tokens=7, reasoning_tokens=11, cost_nano=NanoUsd(13), cost_source="given", tenant_id="acme", user_id="ann",
        cache_hit=True, succeeded=False,
    )  # fmt: skip
    with database.write() as connection:
        calls.insert_many(connection, [one._replace(voided_at=voided_at), one._replace(call_id="b")], UTC_ZONE)

    foreign(database, f"UPDATE ai_calls SET {column} = ? WHERE call_id = 'a'", (value,))

    with database.read() as connection:
        assert kept_sums(connection) == naive_sums(connection)
    foreign(database, "DELETE FROM ai_calls WHERE call_id = 'a'")
    with database.read() as connection:
        assert kept_sums(connection) == naive_sums(connection)


def test_calls_without_dimensions_make_one_row(database: Database) -> None:
    with database.write() as connection:
        calls.insert_many(connection, [Call("a", NOW), Call("b", NOW, tenant_id=""), Call("c", NOW)], UTC_ZONE)

    assert query(database, "SELECT tenant_id, service, calls, unpriced_calls FROM daily_costs") == [("", "", 3, 3)]


def test_a_voided_call_counts_nowhere_not_even_as_unpriced(database: Database) -> None:
    with database.write() as connection:
        calls.insert_many(connection, [Call("a", NOW), Call("b", NOW, cost_nano=NanoUsd(5))], UTC_ZONE)

    with database.write() as connection:
        calls.void(connection, "a", NOW)
        calls.void(connection, "b", NOW)

    for table in ("daily_costs", "daily_totals", "daily_user_costs"):
        assert query(database, f"SELECT * FROM {table}") == []


def test_a_repriced_call_moves_from_the_unpriced_to_the_cost(database: Database) -> None:
    with database.write() as connection:
        calls.insert(connection, Call("a", NOW, model="m"), UTC_ZONE)

    with database.write() as connection:
        [(row_id, _)] = calls.repriceable(connection)
        calls.reprice(connection, row_id, NanoUsd(1_350), "priced", "prices.toml 2026-01-01", None)

    assert query(database, "SELECT calls, cost_nano, unpriced_calls FROM daily_totals") == [(1, 1_350, 0)]


def test_replacing_a_call_is_recording_it_twice(database: Database) -> None:
    with database.write() as connection:
        calls.insert(connection, Call("a", NOW, cost_nano=NanoUsd(5)), UTC_ZONE)

    foreign(
        database,
        "INSERT OR REPLACE INTO ai_calls (call_id, called_at, cost_nano) VALUES ('a', '2026-03-31T12:00:00.000Z', 9)",
    )
    foreign(
        database,
        "INSERT OR REPLACE INTO ai_calls (id, call_id, called_at, cost_nano) VALUES (1, 'b', '2026-03-31T12:00:00.000Z', 9)",
    )

    assert query(database, "SELECT call_id, cost_nano FROM ai_calls") == [("a", 5)]
    assert verified(database) == []


def test_a_call_keeps_its_id(database: Database) -> None:
    with database.write() as connection:
        calls.insert_many(connection, [Call("a", NOW), Call("b", NOW)], UTC_ZONE)

    with pytest.raises(apsw.ConstraintError, match="a call keeps its id"):
        foreign(database, "UPDATE OR REPLACE ai_calls SET call_id = 'a' WHERE call_id = 'b'")


def test_deleting_everything_leaves_no_sums(database: Database) -> None:
    with database.write() as connection:
        calls.insert_many(connection, [call(n) for n in range(12)], UTC_ZONE)

    foreign(database, "DELETE FROM ai_calls")

    assert query(database, "SELECT day FROM daily_costs UNION ALL SELECT day FROM daily_totals") == []


@pytest.mark.parametrize(
    ("statement", "table", "column", "kept", "counted"),
    [
        ("UPDATE daily_costs SET cost_nano = cost_nano + 1", "daily_costs", "cost_nano", 8, 7),
        ("UPDATE daily_totals SET calls = 3", "daily_totals", "calls", 3, 1),
        ("DELETE FROM daily_user_costs", "daily_user_costs", "cost_nano", 0, 7),
        ("UPDATE daily_operating_costs SET amount_nano = 9", "daily_operating_costs", "amount_nano", 9, 12),
        ("DELETE FROM operating_costs", "daily_operating_costs", "entries", 1, 0),
        ("UPDATE ai_calls SET day = '2026-03-30'", "ai_calls", "day", 1, 0),
        ("UPDATE ai_calls SET day = NULL", "ai_calls", "day", 1, 0),
        ("DROP TRIGGER ai_calls_moved; UPDATE ai_calls SET called_at = 'then'", "ai_calls", "day", 1, 0),
        ("UPDATE revenue SET day = '2026-03-30'", "revenue", "day", 1, 0),
    ],
)
def test_what_was_tampered_with_is_found_to_the_nano_and_mended(
    database: Database, statement: str, table: str, column: str, kept: int, counted: int
) -> None:
    with database.write() as connection:
        calls.insert(connection, Call("a", NOW, cost_nano=NanoUsd(7), cost_source="given"), UTC_ZONE)
        entries.insert_cost(connection, OperatingCost("c", "hosting", NanoUsd(12), NOW), UTC_ZONE)
        entries.insert_revenue(connection, Revenue("r", "sales", NOW, NanoUsd(5)), UTC_ZONE)
    assert verified(database) == []

    foreign(database, statement)

    found: dict[tuple[str, str], tuple[int, int]] = {
        (d.table, d.column): (d.kept, d.counted) for d in verified(database)
    }
    assert found[table, column] == (kept, counted)
    rebuilt(database)
    assert verified(database) == [] or "called_at" in statement


def test_rebuilding_a_sound_file_changes_nothing(database: Database) -> None:
    with database.write() as connection:
        calls.insert_many(connection, [call(n) for n in range(12)], UTC_ZONE)
        entries.insert_cost(connection, OperatingCost("c", "hosting", NanoUsd(10), NOW, NOW + timedelta(3)), UTC_ZONE)
    tables = ("daily_costs", "daily_totals", "daily_user_costs", "daily_operating_costs", "ai_calls")
    before = {table: query(database, f"SELECT * FROM {table}") for table in tables}

    steps = list(rollups.rebuild(database, UTC_ZONE, batch=5))

    assert {table: query(database, f"SELECT * FROM {table}") for table in tables} == before
    assert [step.what for step in steps].index("rollups") > 1
    assert (steps[-1].done, steps[-1].total) == (1, 1)


@settings(max_examples=30)
@given(st.lists(ACTS, max_size=15), st.sampled_from(ZONES), st.sampled_from(ZONES))
def test_another_zone_is_as_if_it_had_always_been_the_zone(
    tmp_path_factory: pytest.TempPathFactory, acts: list[Act], old: str, new: str
) -> None:
    database = Database(tmp_path_factory.mktemp("ledger") / "orchestrator.db")
    settle_in(database, old)
    for act in acts:
        perform(database, act, zone(old))
    with database.write() as connection:
        entries.insert_cost(
            connection, OperatingCost("c", "hosting", NanoUsd(1001), NOW, NOW + timedelta(10)), zone(old)
        )
        entries.insert_revenue(connection, Revenue("r", "sales", NOW, NanoUsd(5)), zone(old))

    rebuilt(database, new, batch=4)

    assert verified(database, new) == []
    with database.read() as connection:
        assert kept_sums(connection) == naive_sums(connection)
        assert meta.get(connection, "timezone") == new
    for at, day in query(database, "SELECT called_at, day FROM ai_calls UNION ALL SELECT earned_at, day FROM revenue"):
        assert day == day_of(datetime.fromisoformat(at), zone(new)).isoformat()
    database.close()


@pytest.mark.parametrize("new", ["Pacific/Honolulu", "Pacific/Kiritimati", "Asia/Kathmandu"])
def test_another_zone_changes_no_total_and_nothing_before_the_mark_of_pruning(database: Database, new: str) -> None:
    with database.write() as connection:
        many = [
            Call(f"c{n}", datetime(2026, 3, 25, tzinfo=UTC) + timedelta(hours=5 * n), cost_nano=NanoUsd(10**n))
            for n in range(12)
        ]
        calls.insert_many(connection, many, UTC_ZONE)
    for _ in pruning.prune_calls(database, date(2026, 3, 26)):
        pass
    with database.write() as connection:
        late = Call("late", datetime(2026, 3, 25, 23, tzinfo=UTC), cost_nano=NanoUsd(3 * 10**12))
        calls.insert(connection, late, UTC_ZONE)
    pruned = query(database, "SELECT * FROM daily_totals WHERE day < '2026-03-26'")
    total = query(database, "SELECT sum(cost_nano), sum(calls) FROM daily_totals")

    rebuilt(database, new)

    assert query(database, "SELECT * FROM daily_totals WHERE day < '2026-03-26'") == pruned
    assert query(database, "SELECT sum(cost_nano), sum(calls) FROM daily_totals") == total
    assert verified(database, new) == []


def test_a_rebuild_that_was_interrupted_is_known_and_can_be_begun_again(database: Database) -> None:
    with database.write() as connection:
        calls.insert_many(connection, [call(n) for n in range(12)], UTC_ZONE)

    steps = rollups.rebuild(database, BERLIN, batch=4)
    next(steps)
    steps.close()
    with database.read() as connection:
        interrupted = rollups.unfinished(connection)
    rebuilt(database, "Europe/Berlin")

    assert interrupted == "Europe/Berlin"
    with database.read() as connection:
        assert rollups.unfinished(connection) is None
    assert verified(database, "Europe/Berlin") == []


@pytest.mark.parametrize(
    ("tz", "called_at", "day"),
    [
        ("UTC", "2026-03-28T23:30:00.000Z", "2026-03-28"),
        ("Europe/Berlin", "2026-03-28T22:59:59.999Z", "2026-03-28"),
        ("Europe/Berlin", "2026-03-28T23:00:00.000Z", "2026-03-29"),
        ("Europe/Berlin", "2026-03-29T21:59:59.999Z", "2026-03-29"),
        ("Europe/Berlin", "2026-03-29T22:00:00.000Z", "2026-03-30"),
        ("Asia/Kathmandu", "2026-03-28T18:14:59.999Z", "2026-03-28"),
        ("Asia/Kathmandu", "2026-03-28T18:15:00.000Z", "2026-03-29"),
        ("Africa/Cairo", "2026-04-23T21:59:59.999Z", "2026-04-23"),
        ("Africa/Cairo", "2026-04-23T22:00:00.000Z", "2026-04-24"),
        ("America/Los_Angeles", "1999-12-31T08:00:00.000Z", "1999-12-31"),
    ],
)
def test_the_file_itself_tells_the_local_day_of_a_foreign_call(
    database: Database, tz: str, called_at: str, day: str
) -> None:
    settle_in(database, tz)

    foreign(database, "INSERT INTO ai_calls (call_id, called_at, cost_nano) VALUES ('a', ?, 5)", (called_at,))
    foreign(database, "INSERT INTO revenue (source, earned_at, amount_nano) VALUES ('sales', ?, 5)", (called_at,))

    assert query(database, "SELECT day, cost_nano FROM daily_totals") == [(day, 5)]
    assert query(database, "SELECT day FROM revenue") == [(day,)]
    assert verified(database, tz) == []


@given(st.sampled_from(ZONES), st.integers(0, 100 * 365 * 86_400))
def test_the_offsets_in_the_file_are_the_offsets_of_the_zone(tz: str, seconds: int) -> None:
    at = datetime(2000, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    text = text_from_instant(at)

    offset = [ahead for starts_at, ahead in OFFSETS[tz] if starts_at <= text][-1]

    assert timedelta(seconds=offset) == at.astimezone(zone(tz)).utcoffset()


def test_a_foreign_row_that_came_before_the_zone_was_known_gets_its_day_later(database: Database) -> None:
    with database.write() as connection:
        meta.put(connection, "timezone", "Europe/Berlin")
    foreign(database, "INSERT INTO ai_calls (called_at, cost_nano) VALUES ('2026-03-28T23:30:00.000Z', 5)")
    foreign(database, "INSERT INTO revenue (source, earned_at) VALUES ('sales', '2026-03-28T23:30:00.000Z')")
    assert query(database, "SELECT day FROM daily_totals") == []

    with database.write() as connection:
        given_to = give_days(connection, BERLIN)

    assert given_to == 2
    assert query(database, "SELECT day, cost_nano FROM daily_totals") == [("2026-03-29", 5)]
    assert query(database, "SELECT day FROM revenue") == [("2026-03-29",)]


def test_a_new_zone_takes_the_place_of_the_old_one_in_the_file(database: Database) -> None:
    for tz in ("Europe/Berlin", "Asia/Kathmandu", "Asia/Kathmandu"):
        with database.write() as connection:
            remember_zone(connection, zone(tz))

    assert query(database, "SELECT DISTINCT zone FROM zone_offsets") == [("Asia/Kathmandu",)]
