"""Voiding: what was recorded wrongly stays as a row and counts nowhere. The right one is recorded under a new id."""

from datetime import datetime
from typing import Literal
from zoneinfo import ZoneInfo

from orchestrator.ledger import calls, entries
from orchestrator.store.database import Connection

Kind = Literal["call", "cost", "revenue"]
Outcome = Literal["voided", "already voided", "unknown", "ambiguous"]


def void(connection: Connection, recorded_id: str, tz: ZoneInfo, kind: Kind | None = None, *, now: datetime) -> Outcome:
    """Mark the call or entry of an id as wrong, and take it out of every sum.

    An id is unique for each kind only: an invoice's number may be a cost and a revenue. Then nothing is done, and the answer is
    `ambiguous`, until `kind` says which.
    """
    found = [one for one in kinds_of(connection, recorded_id) if kind in (None, one)]
    if len(found) != 1:
        return "ambiguous" if found else "unknown"
    match found[0]:
        case "call":
            voided = calls.void(connection, recorded_id, now)
        case "cost":
            voided = entries.void_cost(connection, recorded_id, tz, now)
        case "revenue":
            voided = entries.void_revenue(connection, recorded_id, now)
    return "voided" if voided else "already voided"


def kinds_of(connection: Connection, recorded_id: str) -> list[Kind]:
    """Return what was recorded under an id, voided or not."""
    found: list[Kind] = []
    if calls.by_id(connection, recorded_id) is not None:
        found.append("call")
    if entries.cost_by_id(connection, recorded_id) is not None:
        found.append("cost")
    if entries.revenue_by_id(connection, recorded_id) is not None:
        found.append("revenue")
    return found
