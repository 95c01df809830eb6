"""Repricing: calls whose cost was computed, or is not known, at the prices in force when they were made."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import NamedTuple

from orchestrator.ledger import calls
from orchestrator.ledger.calls import MOST_COST_NANO, Call
from orchestrator.pricing import PriceBook, Priced
from orchestrator.recording.call import NAMES, usage_of
from orchestrator.store.database import Database

# Read, priced and stored at once: some tens of milliseconds, for which other writers wait.
AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Repriced:
    """How far repricing is. `done` of `total` row ids were passed; the rest counts calls, and nano-USD of those that changed.

    `found` are calls whose cost was not known and is now, `unknown` those of which it still is not; `problem` is why, of the last one.
    """

    done: int = 0
    total: int = 0
    looked_at: int = 0
    changed: int = 0
    found: int = 0
    unknown: int = 0
    before_nano: int = 0
    after_nano: int = 0
    problem: str | None = None


class _Change(NamedTuple):
    row_id: int
    before: Call
    after: Priced


def reprice(
    database: Database,
    prices: PriceBook,
    *,
    model: str | None = None,
    since: datetime | None = None,
    dry_run: bool = False,
) -> Iterator[Repriced]:
    """Set the cost of calls anew, some in each of many short transactions, and yield after each how far that is.

    A cost that was reported or given stays, and so does one that was known where no price is. With `dry_run` nothing is stored.
    """
    with database.read() as connection:
        so_far = Repriced(total=connection.execute("SELECT coalesce(max(id), 0) FROM ai_calls").get)
    while True:
        with database.read() as connection:
            rows = calls.repriceable(connection, after=so_far.done, model=model, since=since, most=AT_ONCE)
        # What is recorded meanwhile has its price, and could go on for ever.
        rows = [row for row in rows if row[0] <= so_far.total]
        if not rows:
            yield replace(so_far, done=so_far.total)
            return
        changes = [_Change(row_id, call, _priced(prices, call)) for row_id, call in rows]
        so_far = _counted(so_far, changes)
        changes = [change for change in changes if _differs(change)]
        if changes and not dry_run:
            with database.write() as connection:
                for row_id, before, after in changes:
                    problem = "; ".join(filter(None, (_doubts(before.problem), after.problem))) or None
                    calls.reprice(connection, row_id, after.cost_nano, after.source, after.origin or None, problem)
        yield so_far


def _priced(prices: PriceBook, call: Call) -> Priced:
    """Return what a call cost at the prices of its time, as it would be recorded."""
    priced = prices.cost(
        service=call.service,
        model=call.model,
        usage=usage_of(call),
        quantity=call.quantity,
        unit=call.unit,
        at=call.called_at,
    )
    if priced.cost_nano is not None and priced.cost_nano > MOST_COST_NANO:
        return Priced(None, "unknown", "", f"a cost of more than {MOST_COST_NANO // 10**9} USD")
    return priced


def _differs(change: _Change) -> bool:
    """Return whether a row has to be written: another cost, or one from elsewhere, but never unknown in the place of known."""
    _, before, after = change
    if after.cost_nano is None:
        return before.cost_nano is None and (after.problem or "") not in (before.problem or "")
    return (before.cost_nano, before.cost_source, before.price_origin or "") != (
        after.cost_nano,
        after.source,
        after.origin,
    )


def _counted(so_far: Repriced, changes: list[_Change]) -> Repriced:
    changed = [one for one in changes if one.after.cost_nano not in (None, one.before.cost_nano)]
    unknown = [one for one in changes if one.after.cost_nano is None and one.before.cost_nano is None]
    return Repriced(
        done=changes[-1].row_id,
        total=so_far.total,
        looked_at=so_far.looked_at + len(changes),
        changed=so_far.changed + len(changed),
        found=so_far.found + sum(one.before.cost_nano is None for one in changed),
        unknown=so_far.unknown + len(unknown),
        before_nano=so_far.before_nano + sum(one.before.cost_nano or 0 for one in changed),
        after_nano=so_far.after_nano + sum(one.after.cost_nano or 0 for one in changed),
        problem=unknown[-1].after.problem if unknown else so_far.problem,
    )


def _doubts(problem: str | None) -> str | None:
    """Return of a call's problem what is said of its arguments; the rest is why there was no price."""
    said = [one for one in (problem or "").split("; ") if one.split(" ")[0].rstrip(",:") in NAMES]
    return "; ".join(said) or None
