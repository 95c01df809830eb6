"""A small world of calls: what may be done to the ledger, by us and by strangers, and what the rollups must say afterwards."""

from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import apsw
from hypothesis import strategies as st

from orchestrator.ledger import calls, pruning, rollups
from orchestrator.ledger.calls import Call
from orchestrator.money import NanoUsd
from orchestrator.store.database import Connection, Database

NOW = datetime(2026, 3, 31, 12, tzinfo=UTC)
FIRST_DAY = date(2026, 3, 25)

# By table: its dimensions after the day.
DIMENSIONS = {
    "daily_costs": ("tenant_id", "service", "model", "operation", "tier"),
    "daily_totals": ("tenant_id",),
    "daily_user_costs": ("tenant_id", "user_id"),
}
Sums = dict[str, dict[tuple[str, ...], list[int]]]

# One act: its name and what it is done to and with, in values that JSON can carry.
Act = list[Any]


def call(number: int, variant: int = 0, **values: Any) -> Call:
    """Return one of a few calls that share days, tenants, models; the same number is the same id."""
    pick = number * 7 + variant
    made = Call(
        call_id=f"call-{number}",
        called_at=datetime(2026, 3, 25, 1, 30, tzinfo=UTC) + timedelta(hours=11 * (pick % 13)),
        service=("anthropic", "openai", None)[pick % 3],
        model=("claude-3-5-haiku", "gpt-4o-mini")[pick % 2],
        operation=(None, "chat")[pick // 2 % 2],
        tier=(None, "standard", "premium")[pick // 3 % 3],
        input_tokens=(None, 0, 450, 10**12)[pick % 4],
        cache_read_tokens=(None, 20)[pick // 5 % 2],
        cache_write_tokens=(None, 7)[pick // 7 % 2],
        output_tokens=(180, None)[pick // 3 % 2],
        reasoning_tokens=(None, 60)[pick // 2 % 2],
        cost_nano=(None, NanoUsd(0), NanoUsd(1_080_000), NanoUsd(10**16))[pick // 2 % 4],
        cost_source=("unknown", "priced", "reported", "override")[pick // 2 % 4],
        tenant_id=(None, "acme", "")[pick % 3],
        user_id=(None, "ann", "bob")[pick // 2 % 3],
        cache_hit=pick % 5 == 0,
        succeeded=pick % 4 != 0,
    )
    return made._replace(**values)


NUMBERS = st.integers(0, 5)
DAYS = st.integers(0, 6).map(lambda n: (FIRST_DAY + timedelta(days=n)).isoformat())
# What a stranger may set a column to.
CHANGES: list[tuple[str, str | int | None]] = [
    ("day", "2026-03-28"), ("day", None), ("tenant_id", "other"), ("tenant_id", None), ("user_id", "cyd"), ("service", "x"),
    ("model", None), ("operation", "embed"), ("tier", ""), ("succeeded", 0), ("succeeded", 1), ("cache_hit", 0),
    ("cache_hit", 1), ("input_tokens", 5), ("cache_read_tokens", None), ("cache_write_tokens", 1),
    ("output_tokens", 10**12), ("reasoning_tokens", 3), ("cost_nano", None), ("cost_nano", 3),
    ("voided_at", "2026-03-30T00:00:00.000Z"), ("voided_at", None),
]  # fmt: skip
ACTS = st.one_of(
    st.tuples(st.just("record"), st.lists(st.tuples(NUMBERS, st.integers(0, 12)), min_size=1, max_size=6)),
    st.tuples(st.just("void"), NUMBERS),
    st.tuples(st.just("reprice"), NUMBERS, st.none() | st.integers(0, 10**16)),
    st.tuples(st.just("foreign insert"), NUMBERS, st.integers(0, 12), st.sampled_from(["", "OR IGNORE", "OR REPLACE"])),
    st.tuples(st.just("foreign update"), NUMBERS, st.sampled_from(CHANGES)),
    st.tuples(st.just("foreign delete"), NUMBERS),
)
PRUNES = st.tuples(st.just("prune"), DAYS)


def perform(database: Database, act: Act, tz: ZoneInfo) -> None:
    """Do it, each foreign act over a connection that knows nothing of ours."""
    match act:
        case "record", chosen:
            with database.write() as connection:
                calls.insert_many(connection, [call(number, variant) for number, variant in chosen], tz)
        case "void", number:
            with database.write() as connection:
                calls.void(connection, f"call-{number}", NOW)
        case "reprice", number, cost:
            with database.write() as connection:
                for row_id, one in calls.repriceable(connection):
                    if one.call_id == f"call-{number}":
                        calls.reprice(connection, row_id, cost, "unknown" if cost is None else "priced", "p", None)
        case "foreign insert", number, variant, conflict:
            one = call(number, variant)
            # The time in another form; no day, so that the file has to tell it.
            values = (one.call_id, one.called_at.strftime("%Y-%m-%d %H:%M:%S"), *one[2:11], one.cost_nano)
            _foreign(
                database,
                f"""
                INSERT {conflict} INTO ai_calls (
                    call_id, called_at, service, model, operation, tier, input_tokens, cache_read_tokens,
                    cache_write_tokens, output_tokens, reasoning_tokens, cost_nano
                )
                VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
                """,
                values,
            )
        case "foreign update", number, (column, value):
            _foreign(database, f"UPDATE ai_calls SET {column} = ? WHERE call_id = ?", (value, f"call-{number}"))
        case "foreign delete", number:
            _foreign(database, "DELETE FROM ai_calls WHERE call_id = ?", (f"call-{number}",))
        case "prune", day:
            for _ in pruning.prune_calls(database, date.fromisoformat(day), batch=3):
                pass
        case _:
            raise AssertionError(act)


def _foreign(database: Database, statement: str, values: Iterable[Any]) -> None:
    connection = apsw.Connection(str(database.path))
    try:
        connection.set_busy_timeout(10_000)
        connection.execute(statement, tuple(values))
    finally:
        connection.close()


def naive_sums(connection: Connection, from_day: str = "") -> Sums:
    """Return what the rollups have to say of the days from one on: a loop over every row, in Python."""
    sums: Sums = {table: defaultdict(lambda: [0] * 10) for table in DIMENSIONS}
    names = (
        "day", "tenant_id", "user_id", "service", "model", "operation", "tier", "succeeded", "cache_hit", "input_tokens",
        "cache_read_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens", "cost_nano", "voided_at",
    )  # fmt: skip
    for values in connection.execute(f"SELECT {', '.join(names)} FROM ai_calls"):
        row = dict(zip(names, values, strict=True))
        if row["day"] is None or row["day"] < from_day or row["voided_at"] is not None:
            continue
        amounts = [1, 0 if row["succeeded"] else 1, row["cache_hit"]]
        amounts += [row[name] or 0 for name in names[9:14]]
        amounts += [row["cost_nano"] or 0, int(row["cost_nano"] is None)]
        for table, dimensions in DIMENSIONS.items():
            key = (row["day"], *(row[name] or "" for name in dimensions))
            sums[table][key] = [a + b for a, b in zip(sums[table][key], amounts, strict=True)]
    return {table: dict(by_key) for table, by_key in sums.items()}


def kept_sums(connection: Connection, from_day: str = "") -> Sums:
    """Return what the rollups do say of the days from one on."""
    sums: Sums = {}
    for table, dimensions in DIMENSIONS.items():
        key = 1 + len(dimensions)
        sums[table] = {
            tuple(row[:key]): list(row[key:])
            for row in connection.execute(
                f"SELECT day, {', '.join(dimensions)}, {', '.join(rollups.COLUMNS)} FROM {table} WHERE day >= ?",
                (from_day,),
            )
        }
    return sums
