"""AI calls: one row each, recorded once by its id. Rollups follow by triggers, whoever writes."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from itertools import chain
from typing import Any, Literal, NamedTuple
from zoneinfo import ZoneInfo

from orchestrator.money import NanoUsd
from orchestrator.periods import day_of, instant_from_text, text_from_instant
from orchestrator.store.database import Connection

CostSource = Literal["reported", "override", "priced", "given", "cached", "failed", "unknown"]
Stored = Literal["stored", "duplicate", "voided"]

# What ai_calls takes: beyond it a number is nonsense, and sums of it could leave 64 bits.
MOST_TOKENS = 10**12
MOST_COST_NANO = 10**16
MOST_QUANTITY = 10**15
MOST_DURATION_MS = 10**12

# Bound by position, in the order of a Call and its day after it: a million rows by name take a third longer. The table itself passes
# over an id that it has.
_INSERT = """
    INSERT INTO ai_calls (
        call_id, called_at, service, model, operation, tier,
        input_tokens, cache_read_tokens, cache_write_tokens, output_tokens, reasoning_tokens, tokens_estimated,
        quantity, unit, cost_nano, cost_source, price_origin_id, usage_details,
        tenant_id, user_id, organization_id, session_id, endpoint, resource_type, resource_id,
        cache_hit, succeeded, duration_ms, voided_at, error, problem, metadata, day
    )
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
# To begin and end a statement that has triggers is a quarter of what its row takes.
_ROWS_AT_ONCE = 50
_HIGHEST_ID = 2**63 - 1
_INSERT_AT_ONCE = _INSERT + (", (" + ", ".join("?" * 33) + ")") * (_ROWS_AT_ONCE - 1)


class Call(NamedTuple):
    """One call; None is not known, or not said. Aware datetimes, nano-USD, tokens in five buckets.

    `input_tokens` were neither read from nor written to a cache; `reasoning_tokens` are a part of `output_tokens`.
    `price_origin` is where the price of a computed cost is from, `usage_details` the JSON of what some prices tell apart inside
    the tokens, `error` what the call failed with, `problem` why values are not known, `metadata` the caller's JSON.

    Not a dataclass, because a million calls are made and bound at a time: a frozen one with as many fields takes four times as long.
    """

    call_id: str
    called_at: datetime
    service: str | None = None
    model: str | None = None
    operation: str | None = None
    tier: str | None = None
    input_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    output_tokens: int | None = None
    reasoning_tokens: int | None = None
    tokens_estimated: bool = False
    quantity: Decimal | None = None
    unit: str | None = None
    cost_nano: NanoUsd | None = None
    cost_source: CostSource = "unknown"
    price_origin: str | None = None
    usage_details: str | None = None
    tenant_id: str | None = None
    user_id: str | None = None
    organization_id: str | None = None
    session_id: str | None = None
    endpoint: str | None = None
    resource_type: str | None = None
    resource_id: str | None = None
    cache_hit: bool = False
    succeeded: bool = True
    duration_ms: int | None = None
    voided_at: datetime | None = None
    error: str | None = None
    problem: str | None = None
    metadata: str | None = None


_CALLED_AT, _QUANTITY, _PRICE_ORIGIN, _VOIDED_AT = (
    Call._fields.index(name) for name in ("called_at", "quantity", "price_origin", "voided_at")
)


def insert(connection: Connection, call: Call, tz: ZoneInfo) -> Stored:
    """Store a call on its local day, unless its id is there: then it is a duplicate, `voided` when the one that is there is."""
    origin = call.price_origin
    at = text_from_instant(call.called_at)
    connection.execute(
        _INSERT,
        _bound(
            call, at, day_of(call.called_at, tz).isoformat(), None if origin is None else _origin_id(connection, origin)
        ),
    )
    return "stored" if connection.changes() else _outcomes(connection, [call])[0]


def insert_many(connection: Connection, calls: Sequence[Call], tz: ZoneInfo) -> list[Stored]:
    """Store calls and return for each, in order, what `insert` returns."""
    if len(calls) == 1:
        return [insert(connection, calls[0], tz)]
    last = _last_id(connection)
    if last == _HIGHEST_ID:
        # From there on SQLite picks ids at random.
        return [insert(connection, call, tz) for call in calls]
    _insert(connection, calls, tz)
    if _last_id(connection) - last == len(calls):
        return ["stored"] * len(calls)
    return _outcomes(connection, calls, last)


def believable(call: Call) -> Call:
    """Return the call with what no call can have used or cost as not known, and the problem named."""
    if _is_believable(call):
        return call
    bounds = {
        "input_tokens": MOST_TOKENS, "cache_read_tokens": MOST_TOKENS, "cache_write_tokens": MOST_TOKENS,
        "output_tokens": MOST_TOKENS, "reasoning_tokens": MOST_TOKENS, "quantity": MOST_QUANTITY,
        "duration_ms": MOST_DURATION_MS, "cost_nano": MOST_COST_NANO,
    }  # fmt: skip
    values = call._asdict()
    wrong = [name for name, most in bounds.items() if not _lies_within(values[name], most)]
    if "cost_nano" in wrong:
        values |= {"cost_source": "unknown", "price_origin": None}
    said = f"{', '.join(wrong)}: too large, or too small, to be true"
    problem = f"{call.problem}; {said}" if call.problem else said
    return Call(**{**values, **dict.fromkeys(wrong), "problem": problem})


def by_id(connection: Connection, call_id: str) -> Call | None:
    """Return the call of that id, voided or not, or None."""
    row = connection.execute(
        """
        SELECT call_id, called_at, service, model, operation, tier,
            input_tokens, cache_read_tokens, cache_write_tokens, output_tokens, reasoning_tokens, tokens_estimated,
            quantity, unit, cost_nano, cost_source,
            (SELECT origin FROM price_origins WHERE price_origins.id = ai_calls.price_origin_id), usage_details,
            tenant_id, user_id, organization_id, session_id, endpoint, resource_type, resource_id,
            cache_hit, succeeded, duration_ms, voided_at, error, problem, metadata
        FROM ai_calls
        WHERE call_id = :call_id
        """,
        {"call_id": call_id},
    ).fetchone()
    return None if row is None else _call(row)


def void(connection: Connection, call_id: str, now: datetime) -> bool:
    """Mark a call as wrong, so that it counts nowhere; False when there is none of that id that counts."""
    connection.execute(
        "UPDATE ai_calls SET voided_at = :now WHERE call_id = :call_id AND voided_at IS NULL",
        {"call_id": call_id, "now": text_from_instant(now)},
    )
    return connection.changes() > 0


def repriceable(
    connection: Connection,
    *,
    after: int = 0,
    model: str | None = None,
    since: datetime | None = None,
    most: int = 1000,
) -> list[tuple[int, Call]]:
    """Return up to `most` calls whose cost was computed or is not known, each with its row id, the first above `after`.

    Those that were reported or given keep their cost, and so do voided ones. `since` is the earliest `called_at`.
    """
    return [
        (row[0], _call(row[1:]))
        for row in connection.execute(
            """
            SELECT id, call_id, called_at, service, model, operation, tier,
                input_tokens, cache_read_tokens, cache_write_tokens, output_tokens, reasoning_tokens, tokens_estimated,
                quantity, unit, cost_nano, cost_source,
                (SELECT origin FROM price_origins WHERE price_origins.id = ai_calls.price_origin_id), usage_details,
                tenant_id, user_id, organization_id, session_id, endpoint, resource_type, resource_id,
                cache_hit, succeeded, duration_ms, voided_at, error, problem, metadata
            FROM ai_calls
            WHERE id > :after
                AND cost_source IN ('priced', 'override', 'unknown')
                AND voided_at IS NULL
                AND (:model IS NULL OR model = :model)
                AND (:since IS NULL OR called_at >= :since)
            ORDER BY id
            LIMIT :most
            """,
            {
                "after": after, "model": model, "since": None if since is None else text_from_instant(since),
                "most": most,
            },
        )
    ]  # fmt: skip


def reprice(
    connection: Connection,
    row_id: int,
    cost_nano: NanoUsd | None,
    cost_source: CostSource,
    price_origin: str | None,
    problem: str | None,
) -> None:
    """Set what a call cost and where that is from; `problem` is why it is not known, None when it is."""
    connection.execute(
        """
        UPDATE ai_calls
        SET cost_nano = :cost_nano, cost_source = :cost_source, price_origin_id = :price_origin_id, problem = :problem
        WHERE id = :row_id AND cost_source IN ('priced', 'override', 'unknown') AND voided_at IS NULL
        """,
        {
            "row_id": row_id, "cost_nano": cost_nano, "cost_source": cost_source,
            "price_origin_id": None if price_origin is None else _origin_id(connection, price_origin), "problem": problem,
        },
    )  # fmt: skip


def _insert(connection: Connection, calls: Sequence[Call], tz: ZoneInfo) -> None:
    origins = {call.price_origin for call in calls}
    ids: dict[str | None, int] = {one: _origin_id(connection, one) for one in origins if one is not None}
    rows = list(_rows(calls, tz, ids))
    alone = len(rows) % _ROWS_AT_ONCE
    for at in range(0, len(rows) - alone, _ROWS_AT_ONCE):
        connection.execute(_INSERT_AT_ONCE, tuple(chain.from_iterable(rows[at : at + _ROWS_AT_ONCE])))
    connection.executemany(_INSERT, rows[len(rows) - alone :])


def _last_id(connection: Connection) -> int:
    last = connection.execute("SELECT max(id) FROM ai_calls").get
    return 0 if last is None else int(last)


def _origin_id(connection: Connection, origin: str) -> int:
    """Return under which number the file knows where a price is from, a new one if it does not."""
    found = connection.execute("SELECT id FROM price_origins WHERE origin = :origin", {"origin": origin}).get
    if found is None:
        connection.execute("INSERT INTO price_origins (origin) VALUES (:origin)", {"origin": origin})
        return connection.last_insert_rowid()
    return int(found)


def _rows(calls: Iterable[Call], tz: ZoneInfo, origins: Mapping[str | None, int]) -> Iterator[list[Any]]:
    """Yield what is bound for each call."""
    # Calls that are recorded together often have one time, and telling its text and day is half the work. No zone begins a day inside
    # a minute.
    at, text, minute, day = None, "", "", ""
    for call in calls:
        if call.called_at is not at:
            at = call.called_at
            text = text_from_instant(at)
            if text[:16] != minute:
                minute, day = text[:16], day_of(at, tz).isoformat()
        yield _bound(call, text, day, origins.get(call.price_origin))


def _bound(call: Call, called_at: str, day: str, origin_id: int | None) -> list[Any]:
    """Return what is bound for a call: its local day after all it says, and nothing that no call can have."""
    row: list[Any] = [*(call if _is_believable(call) else believable(call)), day]
    row[_CALLED_AT] = called_at
    if row[_QUANTITY] is not None:
        row[_QUANTITY] = float(row[_QUANTITY])
    if row[_PRICE_ORIGIN] is not None:
        row[_PRICE_ORIGIN] = origin_id
    if row[_VOIDED_AT] is not None:
        row[_VOIDED_AT] = text_from_instant(row[_VOIDED_AT])
    return row


def _is_believable(call: Call) -> bool:
    return (
        0 <= (call.input_tokens or 0) <= MOST_TOKENS
        and 0 <= (call.output_tokens or 0) <= MOST_TOKENS
        and 0 <= (call.cache_read_tokens or 0) <= MOST_TOKENS
        and 0 <= (call.cache_write_tokens or 0) <= MOST_TOKENS
        and 0 <= (call.reasoning_tokens or 0) <= MOST_TOKENS
        and 0 <= (call.cost_nano or 0) <= MOST_COST_NANO
        and 0 <= (call.duration_ms or 0) <= MOST_DURATION_MS
        and (call.quantity is None or _lies_within(call.quantity, MOST_QUANTITY))
    )


def _lies_within(value: int | Decimal | None, most: int) -> bool:
    return value is None or (not (isinstance(value, Decimal) and value.is_nan()) and 0 <= value <= most)


def _outcomes(connection: Connection, calls: Sequence[Call], last: int | None = None) -> list[Stored]:
    """Return the outcome of each call when not all were stored; rows above `last` are new, none when it is None."""
    outcomes: list[Stored] = []
    seen: set[str] = set()
    for call in calls:
        row_id, voided_at = connection.execute(
            "SELECT id, voided_at FROM ai_calls WHERE call_id = :call_id", {"call_id": call.call_id}
        ).get
        if last is not None and row_id > last and call.call_id not in seen:
            outcomes.append("stored")
        else:
            outcomes.append("duplicate" if voided_at is None else "voided")
        seen.add(call.call_id)
    return outcomes


def _call(row: tuple[Any, ...]) -> Call:
    called_at = instant_from_text(row[1])
    assert called_at is not None, "the table takes no other form"
    call = Call(row[0], called_at, *row[2:])
    return call._replace(
        tokens_estimated=bool(call.tokens_estimated),
        quantity=None if call.quantity is None else Decimal(repr(call.quantity)),
        cache_hit=bool(call.cache_hit),
        succeeded=bool(call.succeeded),
        voided_at=None if row[28] is None else instant_from_text(row[28]),
    )
