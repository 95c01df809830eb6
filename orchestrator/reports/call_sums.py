"""Sums of AI calls by one dimension: of whole days from the smallest rollup that has it, else from the calls themselves."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Final, Literal, NamedTuple

from orchestrator.ledger.pruning import pruned_before
from orchestrator.periods import text_from_instant
from orchestrator.reports.window import Window
from orchestrator.store.database import Connection

Dimension = Literal["day", "service", "model", "operation", "tier", "tenant", "user", "endpoint", "resource"]

# The columns that name a row of each dimension; which of them stand in a rollup decides where its sums come from.
COLUMNS: Mapping[str, tuple[str, ...]] = {
    "day": ("day",),
    "service": ("service",),
    "model": ("model",),
    "operation": ("operation",),
    "tier": ("tier",),
    "tenant": ("tenant_id",),
    "user": ("tenant_id", "user_id"),
    "endpoint": ("endpoint",),
    "resource": ("resource_type", "resource_id"),
}
_TOTALS = {"day", "tenant_id"}
_COSTS = {"day", "tenant_id", "service", "model", "operation", "tier"}
_USERS = {"day", "tenant_id", "user_id"}


@dataclass(frozen=True)
class Filters:
    """Only calls of these count; None is any, and "" those without one."""

    service: str | None = None
    model: str | None = None
    tenant_id: str | None = None
    user_id: str | None = None


ANY = Filters()


class Sums(NamedTuple):
    """What calls add up to: `cost_nano` is that of the calls whose cost is known, `unpriced_calls` counts the others."""

    calls: int = 0
    failed: int = 0
    cache_hits: int = 0
    cost_nano: int = 0
    unpriced_calls: int = 0
    input_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0


# What names a group, '' where its calls have no value; two names for a user of a tenant and for a resource of a type.
Key = tuple[str, str]
_Row = tuple[str, str, *tuple[int, ...]]


@dataclass(frozen=True)
class Grouped:
    """Sums by the names of a dimension, `("", "")` for all calls in one.

    `known_from` is set where calls of earlier days would have been needed that were pruned: of days before it only what the
    rollups keep is contained, whole days by the dimensions of `daily_costs`.
    """

    sums: dict[Key, Sums]
    known_from: date | None


def grouped(connection: Connection, by: Dimension | None, window: Window | None, filters: Filters = ANY) -> Grouped:
    """Return the sums of the calls in a window, or of all there ever were, by a dimension or all in one."""
    asked = {"by": by, **vars(filters)}
    needed = {*(COLUMNS[by] if by else ()), *(name for name, value in vars(filters).items() if value is not None)}
    mark = pruned_before(connection)
    first = "" if window is None else window.first.isoformat()
    days = {"first": first, "last": "9999" if window is None else window.last.isoformat()}
    kept = {"first": max(first, mark), "last": days["last"]}
    known_from = None
    if needed <= _TOTALS:
        rows = _from_totals(connection, asked | days)
    elif needed <= _COSTS:
        rows = _from_costs(connection, asked | days)
    else:
        rows = _from_users(connection, asked | kept) if needed <= _USERS else _from_days(connection, asked | kept)
        known_from = mark if first < mark else None
    sums = _added({}, rows)
    for day, start, end in () if window is None else window.parts:
        if day.isoformat() < mark:
            known_from = mark
            continue
        part = {"first": day.isoformat(), "last": day.isoformat()}
        bounds = {"start": text_from_instant(start), "end": text_from_instant(end)}
        sums = _added(sums, _from_calls(connection, asked | part | bounds))
    return Grouped(sums, None if known_from is None else date.fromisoformat(known_from))


def newest_id(connection: Connection) -> int:
    """Return the number of the newest row of calls; what is put below it is counted in meta as a change."""
    return int(connection.execute("SELECT coalesce(max(id), 0) FROM ai_calls").get)


def added_by_tier(connection: Connection, sums: Mapping[Key, Sums], after: int) -> dict[Key, Sums]:
    """Return sums by tier with those of the calls above a number added to them."""
    return _added(sums, connection.execute(_BY_TIER_AFTER, {"after": after}))


def total(sums: Iterable[Sums]) -> Sums:
    """Return the sum of sums."""
    return Sums(*map(sum, zip(*sums, strict=True)))


def _added(sums: Mapping[Key, Sums], rows: Iterable[_Row]) -> dict[Key, Sums]:
    added = dict(sums)
    for name, second, *values in rows:
        key = (name, second)
        added[key] = total((added[key], Sums(*values))) if key in added else Sums(*values)
    return added


# In each of these the inner SELECT names a row, and LIMIT -1, which limits nothing, keeps it apart: flattened into the outer one,
# every column that the CASE could choose would be sorted along with the row, and half as fast.


def _from_totals(connection: Connection, asked: Mapping[str, object]) -> Iterable[_Row]:
    return connection.execute(
        """
        SELECT
            name, '', sum(calls), sum(failed), sum(cache_hits), sum(cost_nano), sum(unpriced_calls),
            sum(input_tokens), sum(cache_read_tokens), sum(cache_write_tokens), sum(output_tokens), sum(reasoning_tokens)
        FROM (
            SELECT
                CASE :by WHEN 'day' THEN day WHEN 'tenant' THEN tenant_id ELSE '' END AS name,
                calls, failed, cache_hits, cost_nano, unpriced_calls,
                input_tokens, cache_read_tokens, cache_write_tokens, output_tokens, reasoning_tokens
            FROM daily_totals
            WHERE day BETWEEN :first AND :last AND (:tenant_id IS NULL OR tenant_id = :tenant_id)
            LIMIT -1
        )
        GROUP BY name
        """,
        asked,
    )


def _from_costs(connection: Connection, asked: Mapping[str, object]) -> Iterable[_Row]:
    return connection.execute(
        """
        SELECT
            name, '', sum(calls), sum(failed), sum(cache_hits), sum(cost_nano), sum(unpriced_calls),
            sum(input_tokens), sum(cache_read_tokens), sum(cache_write_tokens), sum(output_tokens), sum(reasoning_tokens)
        FROM (
            SELECT
                CASE :by
                    WHEN 'day' THEN day
                    WHEN 'service' THEN service
                    WHEN 'model' THEN model
                    WHEN 'operation' THEN operation
                    WHEN 'tier' THEN tier
                    WHEN 'tenant' THEN tenant_id
                    ELSE ''
                END AS name,
                calls, failed, cache_hits, cost_nano, unpriced_calls,
                input_tokens, cache_read_tokens, cache_write_tokens, output_tokens, reasoning_tokens
            FROM daily_costs
            WHERE day BETWEEN :first AND :last
                AND (:tenant_id IS NULL OR tenant_id = :tenant_id)
                AND (:service IS NULL OR service = :service)
                AND (:model IS NULL OR model = :model)
            LIMIT -1
        )
        GROUP BY name
        """,
        asked,
    )


def _from_users(connection: Connection, asked: Mapping[str, object]) -> Iterable[_Row]:
    return connection.execute(
        """
        SELECT
            name, second, sum(calls), sum(failed), sum(cache_hits), sum(cost_nano), sum(unpriced_calls),
            sum(input_tokens), sum(cache_read_tokens), sum(cache_write_tokens), sum(output_tokens), sum(reasoning_tokens)
        FROM (
            SELECT
                CASE :by WHEN 'day' THEN day WHEN 'tenant' THEN tenant_id WHEN 'user' THEN tenant_id ELSE '' END AS name,
                CASE :by WHEN 'user' THEN user_id ELSE '' END AS second,
                calls, failed, cache_hits, cost_nano, unpriced_calls,
                input_tokens, cache_read_tokens, cache_write_tokens, output_tokens, reasoning_tokens
            FROM daily_user_costs
            WHERE day BETWEEN :first AND :last
                AND (:tenant_id IS NULL OR tenant_id = :tenant_id)
                AND (:user_id IS NULL OR user_id = :user_id)
            LIMIT -1
        )
        GROUP BY second, name
        """,
        asked,
    )


def _from_days(connection: Connection, asked: Mapping[str, object]) -> Iterator[_Row]:
    """Return the sums of each day's calls: rows of one day are sorted in a processor's own memory, which takes a quarter off."""
    days = connection.execute(
        "SELECT DISTINCT day FROM daily_totals WHERE day BETWEEN :first AND :last", asked
    ).fetchall()
    for (day,) in days:
        yield from _from_calls(connection, {**asked, "first": day, "last": day})


def _from_calls(connection: Connection, asked: Mapping[str, object]) -> Iterable[_Row]:
    bound = {"start": None, "end": None, **asked}
    match asked["by"]:
        case "endpoint":
            return connection.execute(_BY_ENDPOINT, bound)
        case "resource":
            return connection.execute(_BY_RESOURCE, bound)
    return connection.execute(_BY_OTHERS, bound)


# These two are in no rollup, so they are asked of the most calls: by their plain columns in half the time.
_BY_ENDPOINT: Final = """
    SELECT
        coalesce(endpoint, ''), '',
        count(*), count(*) - sum(succeeded), sum(cache_hit), coalesce(sum(cost_nano), 0), count(*) - count(cost_nano),
        coalesce(sum(input_tokens), 0), coalesce(sum(cache_read_tokens), 0), coalesce(sum(cache_write_tokens), 0),
        coalesce(sum(output_tokens), 0), coalesce(sum(reasoning_tokens), 0)
    FROM ai_calls
    WHERE day BETWEEN :first AND :last
        AND voided_at IS NULL
        AND (:start IS NULL OR (called_at >= :start AND called_at < :end))
        AND (:tenant_id IS NULL OR coalesce(tenant_id, '') = :tenant_id)
        AND (:user_id IS NULL OR coalesce(user_id, '') = :user_id)
        AND (:service IS NULL OR coalesce(service, '') = :service)
        AND (:model IS NULL OR coalesce(model, '') = :model)
    GROUP BY endpoint"""
_BY_RESOURCE: Final = """
    SELECT
        coalesce(resource_type, ''), coalesce(resource_id, ''),
        count(*), count(*) - sum(succeeded), sum(cache_hit), coalesce(sum(cost_nano), 0), count(*) - count(cost_nano),
        coalesce(sum(input_tokens), 0), coalesce(sum(cache_read_tokens), 0), coalesce(sum(cache_write_tokens), 0),
        coalesce(sum(output_tokens), 0), coalesce(sum(reasoning_tokens), 0)
    FROM ai_calls
    WHERE day BETWEEN :first AND :last
        AND voided_at IS NULL
        AND (:start IS NULL OR (called_at >= :start AND called_at < :end))
        AND (:tenant_id IS NULL OR coalesce(tenant_id, '') = :tenant_id)
        AND (:user_id IS NULL OR coalesce(user_id, '') = :user_id)
        AND (:service IS NULL OR coalesce(service, '') = :service)
        AND (:model IS NULL OR coalesce(model, '') = :model)
    GROUP BY resource_type, resource_id"""
_BY_TIER_AFTER: Final = """
    SELECT
        coalesce(tier, ''), '',
        count(*), count(*) - sum(succeeded), sum(cache_hit), coalesce(sum(cost_nano), 0), count(*) - count(cost_nano),
        coalesce(sum(input_tokens), 0), coalesce(sum(cache_read_tokens), 0), coalesce(sum(cache_write_tokens), 0),
        coalesce(sum(output_tokens), 0), coalesce(sum(reasoning_tokens), 0)
    FROM ai_calls
    WHERE id > :after AND day IS NOT NULL AND voided_at IS NULL
    GROUP BY tier"""
_BY_OTHERS: Final = """
    SELECT
        name, second, count(*), count(*) - sum(succeeded), sum(cache_hit), coalesce(sum(cost_nano), 0), count(*) - count(cost_nano),
        coalesce(sum(input_tokens), 0), coalesce(sum(cache_read_tokens), 0), coalesce(sum(cache_write_tokens), 0),
        coalesce(sum(output_tokens), 0), coalesce(sum(reasoning_tokens), 0)
    FROM (
        SELECT
            CASE :by
                WHEN 'user' THEN coalesce(tenant_id, '')
                WHEN 'day' THEN day
                WHEN 'service' THEN coalesce(service, '')
                WHEN 'model' THEN coalesce(model, '')
                WHEN 'operation' THEN coalesce(operation, '')
                WHEN 'tier' THEN coalesce(tier, '')
                WHEN 'tenant' THEN coalesce(tenant_id, '')
                ELSE ''
            END AS name,
            CASE :by WHEN 'user' THEN coalesce(user_id, '') ELSE '' END AS second,
            succeeded, cache_hit, cost_nano,
            input_tokens, cache_read_tokens, cache_write_tokens, output_tokens, reasoning_tokens
        FROM ai_calls
        WHERE day BETWEEN :first AND :last
            AND voided_at IS NULL
            AND (:start IS NULL OR (called_at >= :start AND called_at < :end))
            AND (:tenant_id IS NULL OR coalesce(tenant_id, '') = :tenant_id)
            AND (:user_id IS NULL OR coalesce(user_id, '') = :user_id)
            AND (:service IS NULL OR coalesce(service, '') = :service)
            AND (:model IS NULL OR coalesce(model, '') = :model)
        LIMIT -1
    )
    GROUP BY second, name"""
