"""Rollups held against the rows they are made of: `verify` says where they differ, `rebuild` makes them anew.

Both leave alone what lies before the mark of pruning: of those days the rollups are all there is.
"""

from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal
from zoneinfo import ZoneInfo

from orchestrator.errors import Overtaken
from orchestrator.ledger import entries, shares
from orchestrator.ledger.local_days import LocalDays, remember_zone
from orchestrator.ledger.pruning import pruned_before
from orchestrator.store import meta
from orchestrator.store.database import Connection, Database

Table = Literal["daily_costs", "daily_totals", "daily_user_costs", "daily_operating_costs", "ai_calls", "revenue"]
# By a table's key, the day and its dimensions, '' for none: the sums beside them.
Sums = Mapping[tuple[str, ...], tuple[int, ...]]

COLUMNS = (
    "calls", "failed", "cache_hits", "input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens",
    "reasoning_tokens", "cost_nano", "unpriced_calls",
)  # fmt: skip
SHARES: Table = "daily_operating_costs"
SHARE_COLUMNS = ("amount_nano", "entries")

# In meta while a rebuild is under way: the zone it is for.
REBUILDING = "rebuilding"


@dataclass(frozen=True, slots=True)
class Difference:
    """A number that a rollup keeps, and what its rows add up to; dimensions as in the table's key, '' for none.

    For the tables `ai_calls` and `revenue` it is how many rows stand on a day, and how many of them belong to it.
    """

    table: Table
    day: str
    dimensions: tuple[str, ...]
    column: str
    kept: int
    counted: int


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a rebuild is: what it is at, and how much of that is done."""

    what: Literal["growth", "days of calls", "rollups", "entries"]
    done: int
    total: int


def verify(connection: Connection, tz: ZoneInfo) -> list[Difference]:
    """Return every difference between the rollups and the rows of days that were not pruned; none when all is well."""
    mark, local = pruned_before(connection), LocalDays(tz)
    found = [*_without_day(connection), *_misplaced_revenue(connection, local)]
    for day in _days(connection, mark):
        found += _misplaced(connection, day, local, mark)
        kept, counted = _kept(connection, day), _counted(connection, day)
        for table, sums in kept.items():
            found += _differences(table, COLUMNS, sums, counted[table])
    found += _differences(SHARES, SHARE_COLUMNS, shares.kept(connection), entries.counted_shares(connection, tz))
    return found


def rebuild(database: Database, tz: ZoneInfo, *, batch: int = 5000, begun: bool = False) -> Generator[Progress]:
    """Put every row on its local day in this zone, which becomes the file's, and make the rollups anew.

    Each step is one transaction; between two steps anybody may write. One that was interrupted is begun again; one that
    `growth_rollups.rebuild` has `begun` goes on. A call that the zone would move before the mark of pruning stays on the first day after
    it, so that no total changes. Raises Overtaken when another rebuild has begun meanwhile, in another zone.
    """
    local = LocalDays(tz)
    with database.write() as connection:
        if begun:
            go_on(database, connection, tz)
        meta.put(connection, REBUILDING, tz.key)
        meta.put(connection, "timezone", tz.key)
        remember_zone(connection, tz)
        last = connection.execute("SELECT coalesce(max(id), 0) FROM ai_calls").get
    done: int | None = 0
    while done is not None:
        with database.write() as connection:
            go_on(database, connection, tz)
            done = _place_calls(connection, local, done, batch)
        yield Progress("days of calls", last if done is None else min(done, last), last)
    with database.read() as connection:
        days = _days(connection, pruned_before(connection))
    for number, day in enumerate(days, 1):
        with database.write() as connection:
            go_on(database, connection, tz)
            if day >= pruned_before(connection):
                _rewrite(connection, day)
        yield Progress("rollups", number, len(days))
    with database.write() as connection:
        go_on(database, connection, tz)
        _place_revenue(connection, local)
        shares.rewrite(connection, entries.counted_shares(connection, tz))
        meta.remove(connection, REBUILDING)
    yield Progress("entries", 1, 1)


def go_on(database: Database, connection: Connection, tz: ZoneInfo) -> None:
    """Raise Overtaken unless the file's days are still to be those of this zone: two rebuilds at once would mix theirs."""
    kept = meta.get(connection, "timezone")
    if kept is not None and kept != tz.key:
        raise Overtaken(database.path, kept)


def unfinished(connection: Connection) -> str | None:
    """Return the zone of a rebuild that was interrupted, or is under way; None for none."""
    return meta.get(connection, REBUILDING)


def _days(connection: Connection, mark: str) -> list[str]:
    return [
        str(day)
        for (day,) in connection.execute(
            """
            SELECT DISTINCT day FROM ai_calls WHERE day >= :mark
            UNION
            SELECT DISTINCT day FROM daily_costs WHERE day >= :mark
            UNION
            SELECT DISTINCT day FROM daily_totals WHERE day >= :mark
            UNION
            SELECT DISTINCT day FROM daily_user_costs WHERE day >= :mark
            ORDER BY day
            """,
            {"mark": mark},
        )
    ]


def _counted(connection: Connection, day: str) -> dict[Table, Sums]:
    """Return what the calls of a day add up to in each rollup."""
    costs: dict[tuple[str, ...], tuple[int, ...]] = {}
    totals: dict[tuple[str, ...], tuple[int, ...]] = {}
    users: dict[tuple[str, ...], tuple[int, ...]] = {}
    for tenant, user, service, model, operation, tier, *sums in connection.execute(
        """
        SELECT coalesce(tenant_id, ''), coalesce(user_id, ''), coalesce(service, ''), coalesce(model, ''),
            coalesce(operation, ''), coalesce(tier, ''),
            count(id), sum(1 - succeeded), sum(cache_hit), coalesce(sum(input_tokens), 0),
            coalesce(sum(cache_read_tokens), 0), coalesce(sum(cache_write_tokens), 0), coalesce(sum(output_tokens), 0),
            coalesce(sum(reasoning_tokens), 0), coalesce(sum(cost_nano), 0), count(id) - count(cost_nano)
        FROM ai_calls
        WHERE day = :day AND voided_at IS NULL
        GROUP BY 1, 2, 3, 4, 5, 6
        """,
        {"day": day},
    ):
        for table, key in (
            (costs, (day, tenant, service, model, operation, tier)),
            (totals, (day, tenant)),
            (users, (day, tenant, user)),
        ):
            before = table.get(key)
            table[key] = tuple(sums) if before is None else tuple(a + b for a, b in zip(before, sums, strict=True))
    return {"daily_costs": costs, "daily_totals": totals, "daily_user_costs": users}


def _kept(connection: Connection, day: str) -> dict[Table, Sums]:
    """Return what the rollups say of a day."""
    costs = connection.execute(
        """
        SELECT day, tenant_id, service, model, operation, tier, calls, failed, cache_hits, input_tokens, cache_read_tokens,
            cache_write_tokens, output_tokens, reasoning_tokens, cost_nano, unpriced_calls
        FROM daily_costs
        WHERE day = :day
        """,
        {"day": day},
    )
    totals = connection.execute(
        """
        SELECT day, tenant_id, calls, failed, cache_hits, input_tokens, cache_read_tokens, cache_write_tokens, output_tokens,
            reasoning_tokens, cost_nano, unpriced_calls
        FROM daily_totals
        WHERE day = :day
        """,
        {"day": day},
    )
    users = connection.execute(
        """
        SELECT day, tenant_id, user_id, calls, failed, cache_hits, input_tokens, cache_read_tokens, cache_write_tokens,
            output_tokens, reasoning_tokens, cost_nano, unpriced_calls
        FROM daily_user_costs
        WHERE day = :day
        """,
        {"day": day},
    )
    return {
        "daily_costs": {row[:6]: row[6:] for row in costs},
        "daily_totals": {row[:2]: row[2:] for row in totals},
        "daily_user_costs": {row[:3]: row[3:] for row in users},
    }


def _differences(table: Table, columns: tuple[str, ...], kept: Sums, counted: Sums) -> Iterator[Difference]:
    nothing = (0,) * len(columns)
    for key in sorted(kept.keys() | counted.keys()):
        for column, a, b in zip(columns, kept.get(key, nothing), counted.get(key, nothing), strict=True):
            if a != b:
                yield Difference(table, key[0], key[1:], column, a, b)


def _rewrite(connection: Connection, day: str) -> None:
    """Make the rollups of a day anew from its calls."""
    counted = _counted(connection, day)
    meta.count_up(connection, meta.CALL_CHANGES)
    connection.execute("DELETE FROM daily_costs WHERE day = :day", {"day": day})
    connection.execute("DELETE FROM daily_totals WHERE day = :day", {"day": day})
    connection.execute("DELETE FROM daily_user_costs WHERE day = :day", {"day": day})
    connection.executemany(
        """
        INSERT INTO daily_costs (
            day, tenant_id, service, model, operation, tier, calls, failed, cache_hits, input_tokens, cache_read_tokens,
            cache_write_tokens, output_tokens, reasoning_tokens, cost_nano, unpriced_calls
        )
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
        """,
        ((*key, *sums) for key, sums in counted["daily_costs"].items()),
    )
    connection.executemany(
        """
        INSERT INTO daily_totals (
            day, tenant_id, calls, failed, cache_hits, input_tokens, cache_read_tokens, cache_write_tokens,
            output_tokens, reasoning_tokens, cost_nano, unpriced_calls
        )
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
        """,
        ((*key, *sums) for key, sums in counted["daily_totals"].items()),
    )
    connection.executemany(
        """
        INSERT INTO daily_user_costs (
            day, tenant_id, user_id, calls, failed, cache_hits, input_tokens, cache_read_tokens, cache_write_tokens,
            output_tokens, reasoning_tokens, cost_nano, unpriced_calls
        )
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
        """,
        ((*key, *sums) for key, sums in counted["daily_user_costs"].items()),
    )


def _misplaced(connection: Connection, day: str, local: LocalDays, mark: str) -> Iterator[Difference]:
    minutes = connection.execute(
        """
        SELECT substr(called_at, 1, 16) AS minute, count(id)
        FROM ai_calls
        WHERE day = :day
        GROUP BY minute
        """,
        {"day": day},
    )
    kept = counted = 0
    for minute, calls in minutes:
        kept += calls
        counted += calls if _kept_day(local, minute, mark) == day else 0
    if kept != counted:
        yield Difference("ai_calls", day, (), "day", kept, counted)


def _without_day(connection: Connection) -> Iterator[Difference]:
    calls = connection.execute("SELECT count(id) FROM ai_calls WHERE day IS NULL").get
    if calls:
        yield Difference("ai_calls", "", (), "day", calls, 0)


def _misplaced_revenue(connection: Connection, local: LocalDays) -> Iterator[Difference]:
    kept: dict[str, list[bool]] = {}
    for day, earned_at in connection.execute("SELECT coalesce(day, ''), earned_at FROM revenue ORDER BY day"):
        kept.setdefault(day, []).append(local.day(earned_at) == day)
    for day, belongs in kept.items():
        if not all(belongs):
            yield Difference("revenue", day, (), "day", len(belongs), sum(belongs))


def _kept_day(local: LocalDays, called_at: str, mark: str) -> str | None:
    day = local.day(called_at)
    return None if day is None else max(day, mark)


def _place_calls(connection: Connection, local: LocalDays, after: int, batch: int) -> int | None:
    """Put the next calls on their days; return the last row looked at, or None when there was none left."""
    mark = pruned_before(connection)
    rows: list[tuple[int, str, str | None]] = list(
        connection.execute(
            """
        SELECT id, called_at, day
        FROM ai_calls
        WHERE id > :after AND (day IS NULL OR day >= :mark)
        ORDER BY id
        LIMIT :batch
        """,
            {"after": after, "mark": mark, "batch": batch},
        )
    )
    connection.executemany(
        "UPDATE ai_calls SET day = :day WHERE id = :id",
        [
            {"id": row_id, "day": right}
            for row_id, called_at, day in rows
            if (right := _kept_day(local, called_at, mark)) is not None and right != day
        ],
    )
    return rows[-1][0] if rows else None


def _place_revenue(connection: Connection, local: LocalDays) -> None:
    rows = connection.execute("SELECT id, earned_at, day FROM revenue").fetchall()
    connection.executemany(
        "UPDATE revenue SET day = :day WHERE id = :id",
        [
            {"id": row_id, "day": right}
            for row_id, earned_at, day in rows
            if (right := local.day(str(earned_at))) is not None and right != day
        ],
    )
