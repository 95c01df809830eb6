"""The upkeep of a file beside its scans: the spool is drained, days are closed, and once a day what is older than its retention goes."""

from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta
from functools import partial

from orchestrator import recording
from orchestrator.config import Config
from orchestrator.growth import READINGS_THAT_CONVINCE
from orchestrator.ledger import alerts, growth_days, pruning, snapshots
from orchestrator.ledger import credits as credit_snapshots
from orchestrator.ledger.setup import Setup
from orchestrator.log import logger
from orchestrator.periods import day_of, day_start, instant_from_text, text_from_instant
from orchestrator.recording import Drained, Rules, spool
from orchestrator.store import meta, retention
from orchestrator.store import upkeep as store_upkeep
from orchestrator.store.database import Connection, Database
from orchestrator.writer import Writer

LAST_PRUNE = "last_prune_at"
PRUNED_EVERY = timedelta(days=1)
# So long may nobody have collected; a clock that says more is taken for wrong.
LONGEST_PAUSE = timedelta(days=1100)
PRUNED = ("snapshots", "calls", "credit_snapshots", "alerts")
_ROWS_AT_ONCE = 200  # deleted in one transaction

log = logger()


async def drain_spool(writer: Writer, rules: Rules, *, seconds: float | None = None) -> None:
    """Store what waits in the spool beside the file because it would not take it when it was recorded, for about so long at most."""
    # Work that did not touch the file would pass for a sign that the file works.
    if not spool.is_waiting(writer.database.path):
        return
    try:
        drained = await writer.do(partial(recording.drain, writer.database, rules, seconds=seconds))
    except OSError as error:
        log.warning("spool_unusable", error=error.strerror)
        return
    if drained != Drained():
        log.info("spool_drained", **vars(drained))


async def close_days(
    writer: Writer, setup: Setup, *, said: Callable[[str, date], None] | None = None, now: datetime
) -> None:
    """Close every day that can be closed, some in each of many short transactions; `said` hears how far each source is."""
    for source in await writer.read(snapshots.sources_in):
        while days := await writer.write(
            partial(
                growth_days.close_days,
                source=source,
                tz=setup.tz,
                interval_seconds=setup.interval_seconds,
                now=now,
            )
        ):
            if said:
                said(source, days[-1])


async def prune_when_due(writer: Writer, config: Config, setup: Setup, *, now: datetime) -> dict[str, int] | None:
    """Prune a day after the last time; return what `prune` does, or None when it is not due.

    A last time that lies in the future was written by a clock that was wrong, and does not count.
    """
    last = await writer.read(lambda connection: meta.get(connection, LAST_PRUNE))
    pruned_at = instant_from_text(last) if last else None
    if pruned_at is not None and pruned_at <= now < pruned_at + PRUNED_EVERY:
        return None
    return await prune(writer, config, setup, now=now)


async def prune(writer: Writer, config: Config, setup: Setup, *, now: datetime) -> dict[str, int]:
    """Remove what is older than its retention and put the file in order, in many short steps; return how many rows went, by kind."""
    removed = dict.fromkeys(PRUNED, 0)
    steps = _prune_steps(writer.database, config, setup, now)
    while step := await writer.do(partial(next, steps, None)):
        kind, rows = step
        removed[kind] += rows
    pages = store_upkeep.shrink(writer.database)
    while await writer.do(partial(next, pages, 0)):
        pass
    await writer.do(partial(store_upkeep.optimize, writer.database))
    await writer.write(lambda connection: meta.put(connection, LAST_PRUNE, text_from_instant(now)))
    await writer.do(writer.database.checkpoint)
    return removed


def prunable(database: Database, config: Config, setup: Setup, now: datetime) -> dict[str, int]:
    """Return how many rows `prune` would remove now, by kind."""
    counted = dict.fromkeys(PRUNED, 0)
    with database.read() as connection:
        before = snapshots_prunable_before(connection, config.revenue.retention_days, setup, now)
        if before is not None:
            counted["snapshots"] = retention.prunable_snapshots(database, before, keep_good=READINGS_THAT_CONVINCE)
        if first := pruning.first_kept_day(config.retention.calls_days, setup.tz, now):
            counted["calls"] = pruning.prunable_calls(database, first)
        if kept_from := _kept_from(config.revenue.retention_days, setup, now):
            counted["credit_snapshots"] = credit_snapshots.prunable(connection, kept_from)
        if kept_from := _kept_from(config.retention.alerts_days, setup, now):
            counted["alerts"] = alerts.prunable(connection, kept_from)
    return counted


def _prune_steps(database: Database, config: Config, setup: Setup, now: datetime) -> Iterator[tuple[str, int]]:
    """Remove what is older than its retention; each step is one short transaction: the kind of its rows, and how many went."""
    with database.read() as connection:
        before = snapshots_prunable_before(connection, config.revenue.retention_days, setup, now)
    if before is not None:
        for rows in retention.prune_snapshots(database, before, keep_good=READINGS_THAT_CONVINCE):
            yield "snapshots", rows
    if first := pruning.first_kept_day(config.retention.calls_days, setup.tz, now):
        for rows in pruning.prune_calls(database, first):
            yield "calls", rows
    if kept_from := _kept_from(config.revenue.retention_days, setup, now):
        for rows in _batches(database, partial(credit_snapshots.prune, before=kept_from, most=_ROWS_AT_ONCE)):
            yield "credit_snapshots", rows
    if kept_from := _kept_from(config.retention.alerts_days, setup, now):
        for rows in _batches(database, partial(alerts.prune, before=kept_from, most=_ROWS_AT_ONCE)):
            yield "alerts", rows


def _batches(database: Database, job: Callable[[Connection], int]) -> Iterator[int]:
    while True:
        with database.write() as connection:
            rows = job(connection)
        if not rows:
            return
        yield rows


def _kept_from(days: int, setup: Setup, now: datetime) -> datetime | None:
    """Return where the oldest local day begins that is kept; None when all are."""
    return day_start(day_of(now, setup.tz) - timedelta(days=days), setup.tz) if days else None


def snapshots_prunable_before(connection: Connection, days: int, setup: Setup, now: datetime) -> datetime | None:
    """Return before when snapshots may go: whole local days that are closed for every source; None when none may.

    A clock that has leapt ahead must neither cost the readings of yesterday nor mark days as pruned that are still to come: never
    more goes than up to the last reading that is a day old, and nothing when that is years away.
    """
    sources = snapshots.sources_in(connection)
    settled = max(filter(None, (_newest(connection, source, now - PRUNED_EVERY) for source in sources)), default=None)
    if days == 0 or settled is None or now - settled > LONGEST_PAUSE:
        return None
    before = min(
        day_start(day_of(now, setup.tz) - timedelta(days=days), setup.tz),
        day_start(day_of(settled, setup.tz) + timedelta(days=1), setup.tz),
        *(opened for source in sources if (opened := _open_from(connection, source, setup, now))),
    )
    # After a change of zone the first day that is kept begins with the mark, and so may begin before its own midnight.
    mark, first_kept = growth_days.pruned_before(connection), growth_days.first_kept_day(connection, setup.tz)
    cuts_it = mark is not None and first_kept is not None and mark < before == day_start(first_kept, setup.tz)
    return None if cuts_it else before


def _newest(connection: Connection, source: str, until: datetime) -> datetime | None:
    newest = connection.execute(
        "SELECT max(collected_at) FROM revenue_snapshots WHERE source = :source AND collected_at <= :until",
        {"source": source, "until": text_from_instant(until)},
    ).get
    return instant_from_text(str(newest)) if newest else None


def _open_from(connection: Connection, source: str, setup: Setup, now: datetime) -> datetime | None:
    """Return where a source's oldest day begins that is not closed, or None when it has no reading since its last closed day."""
    first = growth_days.first_open_day(connection, source)
    opened = day_start(first, setup.tz) if first else None
    oldest = connection.execute(
        """
        SELECT min(collected_at)
        FROM revenue_snapshots
        WHERE source = :source AND collected_at >= :opened AND collected_at <= :now
        """,
        {"source": source, "opened": text_from_instant(opened) if opened else "", "now": text_from_instant(now)},
    ).get
    return opened or instant_from_text(str(oldest)) if oldest else None
