"""Pruning of calls: whole closed days go, in small transactions; what they cost stays in the rollups, for ever.

So does a number made of each id: who records a pruned call again, as an import of a whole history does every night, does not count twice.
"""

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from orchestrator.ledger import pruned_calls
from orchestrator.periods import day_of
from orchestrator.store import meta
from orchestrator.store.database import Connection, Database

# A local day: the first whose calls are all there. The file's delete triggers know the name too.
PRUNED_BEFORE = "pruned_before"


def first_kept_day(days: int, tz: ZoneInfo, now: datetime) -> date | None:
    """Return the first local day whose calls stay when they are kept for that many days; None when all do."""
    return day_of(now, tz) - timedelta(days=days) if days else None


def pruned_before(connection: Connection) -> str:
    """Return the day before which calls were pruned, as text, '' for none: rollups of earlier days have nothing to be compared with."""
    return meta.get(connection, PRUNED_BEFORE) or ""


def prune_calls(database: Database, before: date, *, batch: int = 500) -> Iterator[int]:
    """Remove the calls of the days before `before`; each step is one short transaction and the number of calls it removed.

    Between two steps anybody may write. What users cost on those days goes with the calls; every other sum stays.
    """
    removed = batch if prunable_calls(database, before) else 0
    while removed == batch:
        with database.write() as connection:
            # First, because the delete trigger leaves alone what lies before the mark.
            meta.put(connection, PRUNED_BEFORE, max(pruned_before(connection), before.isoformat()))
            old = connection.execute(
                """
                SELECT id, call_id
                FROM ai_calls
                WHERE day < :before
                ORDER BY day
                LIMIT :batch
                """,
                {"before": before.isoformat(), "batch": batch},
            ).fetchall()
            removed = len(old)
            connection.executemany("DELETE FROM ai_calls WHERE id = ?", ((row_id,) for row_id, _ in old))
            # Afterwards, into the room that they left.
            pruned_calls.remember(connection, (str(call_id) for _, call_id in old))
            connection.execute(
                """
                DELETE FROM daily_user_costs
                WHERE day < :before AND day < coalesce((SELECT min(day) FROM ai_calls), :before)
                """,
                {"before": before.isoformat()},
            )
        if removed:
            yield removed


def prunable_calls(database: Database, before: date) -> int:
    """Return how many calls `prune_calls` would remove now."""
    with database.read() as connection:
        found = connection.execute(
            "SELECT count(id) FROM ai_calls WHERE day < :before", {"before": before.isoformat()}
        ).get
    return int(found)
