"""Pruning: old detail goes, in small transactions; totals and what an open day needs stay."""

from collections.abc import Iterator
from datetime import datetime

from orchestrator.growth import MAX_PRICE_AGE
from orchestrator.periods import text_from_instant
from orchestrator.store import meta
from orchestrator.store.database import Connection, Database

SNAPSHOTS_PRUNED_BEFORE = "snapshots_pruned_before"


def prune_snapshots(database: Database, before: datetime, *, keep_good: int, batch: int = 200) -> Iterator[int]:
    """Remove snapshots older than `before`; each step is one short transaction and the number of rows it removed.

    Between two steps anybody may write. The mark in `meta` is raised just before the first removal. Of each source the newest
    `keep_good` good rows stay, which what comes after them grew from, so its newest good row always does; and the last price that
    may be in force after them. A row without a time stays too.
    """
    limits, mark = _limits(before, keep_good), text_from_instant(before)
    with database.read() as connection:
        sources = _sources(connection)
    for source in sources:
        removed = batch
        while removed == batch:
            with database.write() as connection:
                old = connection.execute(
                    """
                    SELECT id
                    FROM revenue_snapshots
                    WHERE source = :source
                        AND collected_at < :before
                        AND id NOT IN (
                            SELECT id
                            FROM revenue_snapshots
                            WHERE source = :source AND good AND collected_at < :before
                            ORDER BY collected_at DESC, id DESC
                            LIMIT :keep_good
                        )
                        AND id IS NOT (
                            SELECT id
                            FROM revenue_snapshots
                            WHERE source = :source
                                AND xmr_price_usd IS NOT NULL
                                AND collected_at >= :price_from
                                AND collected_at < :before
                            ORDER BY collected_at DESC, id DESC
                            LIMIT 1
                        )
                    ORDER BY collected_at
                    LIMIT :batch
                    """,
                    {**limits, "source": source, "batch": batch},
                ).fetchall()
                removed = len(old)
                if old and (meta.get(connection, SNAPSHOTS_PRUNED_BEFORE) or "") < mark:
                    meta.put(connection, SNAPSHOTS_PRUNED_BEFORE, mark)
                connection.executemany("DELETE FROM revenue_snapshots WHERE id = ?", old)
            if removed:
                yield removed


def prunable_snapshots(database: Database, before: datetime, *, keep_good: int) -> int:
    """Return how many rows `prune_snapshots` would remove now."""
    limits = _limits(before, keep_good)
    prunable = 0
    with database.read() as connection:
        for source in _sources(connection):
            prunable += connection.execute(
                """
                SELECT count(id)
                FROM revenue_snapshots
                WHERE source = :source
                    AND collected_at < :before
                    AND id NOT IN (
                        SELECT id
                        FROM revenue_snapshots
                        WHERE source = :source AND good AND collected_at < :before
                        ORDER BY collected_at DESC, id DESC
                        LIMIT :keep_good
                    )
                    AND id IS NOT (
                        SELECT id
                        FROM revenue_snapshots
                        WHERE source = :source
                            AND xmr_price_usd IS NOT NULL
                            AND collected_at >= :price_from
                            AND collected_at < :before
                        ORDER BY collected_at DESC, id DESC
                        LIMIT 1
                    )
                """,
                {**limits, "source": source},
            ).get
    return prunable


def _limits(before: datetime, keep_good: int) -> dict[str, str | int]:
    return {
        "before": text_from_instant(before),
        "price_from": text_from_instant(before - MAX_PRICE_AGE),
        "keep_good": keep_good,
    }


def _sources(connection: Connection) -> list[str]:
    return [str(source) for (source,) in connection.execute("SELECT DISTINCT source FROM revenue_snapshots")]
