"""Records into the file: all in one transaction, each on the local day of the file's own zone."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from itertools import groupby
from typing import Final, cast
from zoneinfo import ZoneInfo

from orchestrator import periods
from orchestrator.errors import FileMissing, StoreError
from orchestrator.ledger import calls, entries, local_days, pruned_calls, voids
from orchestrator.ledger.calls import Call, Stored
from orchestrator.ledger.entries import OperatingCost, Revenue
from orchestrator.recording.lines import Record
from orchestrator.recording.rules import Rules
from orchestrator.store import meta
from orchestrator.store.database import Connection, Database

# How long a record waits for another writer.
PATIENCE_MS: Final = 250

_ZONE: Final = "timezone"


def store(
    database: Database, rules: Rules, records: Sequence[Record], *, timeout_ms: int = PATIENCE_MS
) -> list[tuple[Stored, Record]]:
    """Store records in one transaction; return what became of each, and the record of that id that the file has now.

    Makes the file if there is none. Raises StoreError, and then nothing was stored.
    """
    with database.write(timeout_ms=timeout_ms) as connection:
        # Asked for in one go: every record begins with it.
        facts = connection.execute(
            "SELECT value, EXISTS (SELECT 1 FROM pruned_calls) FROM meta WHERE key = 'timezone'"
        ).fetchone()
        if facts:
            return _stored(connection, records, periods.zone(facts[0]), were_pruned=bool(facts[1]))
    # Not inside a transaction: a fork waits for both the imports and the file.
    tz = periods.zone(rules.timezone())
    with database.write(timeout_ms=timeout_ms) as connection:
        return _stored(connection, records, _zone_in(connection, tz), were_pruned=True)


def void(
    database: Database, rules: Rules, recorded_id: str, kind: voids.Kind | None = None, *, now: datetime
) -> voids.Outcome:
    """Mark a call or an entry as wrong, so that it counts nowhere; raises StoreError, also when there is no file.

    What waits in the spool can be voided once it is stored: drain it first.
    """
    if not database.path.exists():
        raise FileMissing(database.path)
    tz = periods.zone(rules.timezone())
    with database.write() as connection:
        return voids.void(connection, recorded_id, _zone_in(connection, tz), kind, now=now)


def zone_of(database: Database, rules: Rules) -> ZoneInfo:
    """Return the zone of the file; of the configuration where the file has none or cannot be read."""
    name = None
    with suppress(StoreError), database.read() as connection:
        name = meta.get(connection, _ZONE)
    return periods.zone(name or rules.timezone())


def _zone_in(connection: Connection, configured: ZoneInfo) -> ZoneInfo:
    """Return the file's zone. A file without one is given the configured: from its first row on, its days are some zone's."""
    name = meta.get(connection, _ZONE)
    if name is not None:
        return periods.zone(name)
    meta.put(connection, _ZONE, configured.key)
    local_days.remember_zone(connection, configured)
    return configured


def _stored(
    connection: Connection, records: Sequence[Record], tz: ZoneInfo, *, were_pruned: bool
) -> list[tuple[Stored, Record]]:
    store_calls = _stored_once if were_pruned else _stored_calls
    if len(records) == 1 and type(records[0]) is Call:
        # As nearly always.
        return store_calls(connection, [records[0]], tz)
    outcomes: list[tuple[Stored, Record]] = []
    for kind, run in groupby(records, type):
        if kind is Call:
            outcomes += store_calls(connection, cast("list[Call]", list(run)), tz)
        else:
            outcomes += [
                _stored_entry(connection, entry, tz) for entry in cast("Iterator[OperatingCost | Revenue]", run)
            ]
    return outcomes


def _stored_entry(connection: Connection, entry: OperatingCost | Revenue, tz: ZoneInfo) -> tuple[Stored, Record]:
    there: Record | None
    if isinstance(entry, OperatingCost):
        stored = entries.insert_cost(connection, entry, tz)
        there = entries.cost_by_id(connection, entry.entry_id)
    else:
        stored = entries.insert_revenue(connection, entry, tz)
        there = entries.revenue_by_id(connection, entry.entry_id)
    return stored, there or entry


def _stored_once(connection: Connection, several: Sequence[Call], tz: ZoneInfo) -> list[tuple[Stored, Record]]:
    """Store calls where some were pruned: one that was is a duplicate."""
    pruned = pruned_calls.among(connection, [call.call_id for call in several])
    fresh = iter(_stored_calls(connection, [call for call in several if call.call_id not in pruned], tz))
    return [("duplicate", call) if call.call_id in pruned else next(fresh) for call in several]


def _stored_calls(connection: Connection, several: Sequence[Call], tz: ZoneInfo) -> list[tuple[Stored, Record]]:
    return [
        (stored, call if stored == "stored" else calls.by_id(connection, call.call_id) or call)
        for stored, call in zip(calls.insert_many(connection, several, tz), several, strict=True)
    ]
