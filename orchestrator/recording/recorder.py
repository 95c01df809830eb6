"""Recording: what a caller says becomes rows; else lines beside the file; else, at the very least, a mark that it was lost.

Nothing here raises for an accounting problem, except in the name of `strict`.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import lru_cache, partial
from itertools import islice
from pathlib import Path
from typing import Final, Literal

from orchestrator import periods
from orchestrator.errors import StoreError
from orchestrator.ledger.calls import Call, Stored
from orchestrator.ledger.entries import OperatingCost
from orchestrator.loading import loading
from orchestrator.money import usd_from_nano
from orchestrator.recording import spool, tags
from orchestrator.recording.call import NAMES, REQUIRED, read_call
from orchestrator.recording.draining import drain
from orchestrator.recording.entry import (
    COST_NAMES,
    COST_REQUIRED,
    REVENUE_NAMES,
    REVENUE_REQUIRED,
    cost_refusal,
    read_cost,
    read_revenue,
    revenue_refusal,
)
from orchestrator.recording.fields import Around, new_ids
from orchestrator.recording.lines import Record, to_line
from orchestrator.recording.lost import mark_lost, nowhere
from orchestrator.recording.results import NotRecorded, Outcome, Recorded
from orchestrator.recording.rules import Rules
from orchestrator.recording.storing import PATIENCE_MS, store, zone_of
from orchestrator.store.database import Database
from orchestrator.text import one_line

Kind = Literal["call", "cost", "revenue"]

# So many are stored in one transaction, for which other writers wait: some tens of milliseconds.
AT_ONCE: Final = 2_000
# So long may who records have to wait while the spool is drained behind the record.
DRAIN_SECONDS: Final = 0.25
VOIDED: Final = "voided"

_NAMES: Final = {
    "call": (REQUIRED, NAMES),
    "cost": (COST_REQUIRED, COST_NAMES),
    "revenue": (REVENUE_REQUIRED, REVENUE_NAMES),
}
_LONGEST_PROBLEM: Final = 300

_usd = lru_cache(maxsize=4096)(usd_from_nano)

log = logging.getLogger("orchestrator.recording")


# What was read from the arguments: a record, or None for what is refused; and the refusal, or what cannot be believed.
Said = tuple[Record | None, str | None]


def record(
    database: Database, rules: Rules, kind: Kind, given: Mapping[str, object], *, strict: bool = False, now: datetime
) -> Recorded:
    """Record what the arguments say; what is no argument of record_call, record_cost or record_revenue is passed over.

    With `strict`, raises NotRecorded for what cannot be believed or does not belong here, and StoreError for a file that cannot be
    written; nothing is kept then.
    """
    around = Around(tags.current(), rules.prices, partial(zone_of, database, rules), new_ids(now), now)
    said, doubt = _read(kind, given, around)
    if strict and doubt is not None:
        raise NotRecorded(doubt)
    if said is None:
        return _refused(doubt, around)
    try:
        ((stored, kept),) = store(database, rules, (said,))
    except Exception as fault:
        if strict:
            raise
        outcome, why = _otherwise(database, (said,), fault, now)
        return _recorded(said, outcome, _both(said.problem, why))
    if spool.is_waiting(database.path):
        _drain_behind(database, rules)
    return _answer(stored, kept, doubt)


def record_all(
    database: Database, rules: Rules, kind: Kind, items: Iterable[Mapping[str, object]], *, now: datetime
) -> Iterator[Recorded]:
    """Record each mapping of arguments, thousands in a transaction, and yield what became of each, in order.

    When `items` raises, what it gave until then is recorded first.
    """
    around = Around(tags.current(), rules.prices, partial(zone_of, database, rules), new_ids(now), now)
    remaining, patience_ms = iter(items), PATIENCE_MS
    while True:
        said: list[Said] = []
        try:
            for given in islice(remaining, AT_ONCE):
                said.append(_read_named(kind, given, around))  # noqa: PERF401 - `items` may raise
        finally:
            recorded, works = _keep(database, rules, said, patience_ms, around)
        yield from recorded
        if len(said) < AT_ONCE:
            return
        # Who has waited in vain for the file does not wait again for every thousand.
        patience_ms = PATIENCE_MS if works else 0


def lose(rules: Rules, kind: Kind, items: Iterable[Mapping[str, object]], reason: str, now: datetime) -> list[Recorded]:
    """Leave a mark of what belongs in a file that nobody can name for now."""
    around = Around(tags.current(), rules.prices, lambda: periods.zone(rules.timezone()), new_ids(now), now)
    said = [_read_named(kind, given, around) for given in items]
    _lose(nowhere(), [to_line(one) for one, _ in said if one is not None], reason, now)
    return [
        _refused(doubt, around) if one is None else _recorded(one, "lost", _both(one.problem, reason))
        for one, doubt in said
    ]


def _read(kind: Kind, given: Mapping[str, object], around: Around) -> Said:
    try:
        match kind:
            case "call":
                return read_call(given, around)
            case "cost":
                refusal = cost_refusal(given)
                return (None, refusal) if refusal else read_cost(given, around)
            case "revenue":
                refusal = revenue_refusal(given)
                return (None, refusal) if refusal else read_revenue(given, around)
    except Exception as error:
        # What a stranger gave may raise from anywhere. The traceback goes to the log, because the mistake may be ours.
        log.exception("a record cannot be read")
        return None, f"cannot be read ({type(error).__name__})"


def _read_named(kind: Kind, given: object, around: Around) -> Said:
    """Return what is in a mapping of arguments, whose names may be wrong."""
    try:
        said = given if type(given) is dict else dict(given) if isinstance(given, Mapping) else None
    except Exception as error:  # noqa: BLE001 - a stranger's mapping may raise anything
        return None, f"cannot be read ({type(error).__name__})"
    if said is None:
        return None, f"is no mapping of arguments but {type(given).__name__}"
    wrong = _misnamed(kind, said)
    return (None, wrong) if wrong else _read(kind, said, around)


def _misnamed(kind: Kind, said: Mapping[object, object]) -> str | None:
    """Return which argument has no such name, or is missing; None when the names are right."""
    required, names = _NAMES[kind]
    if said.keys() <= names and said.keys() >= required:
        return None
    for name in said:
        if name not in names:
            with loading():
                from difflib import get_close_matches

            close = get_close_matches(str(name), names, 1)
            return f"there is no argument {str(name)[:40]!r}" + (f"; did you mean {close[0]!r}?" if close else "")
    return f"there is no {', no '.join(sorted(required - said.keys()))}"


def _keep(
    database: Database, rules: Rules, said: Sequence[Said], patience_ms: int, around: Around
) -> tuple[list[Recorded], bool]:
    """Store what was read, or spool it; return what became of each, and whether the file was in order."""
    records = [one for one, _ in said if one is not None]
    try:
        stored = iter(store(database, rules, records, timeout_ms=patience_ms) if records else ())
    except Exception as fault:  # noqa: BLE001 - whatever it is, what was spent must not be lost to it
        outcome, why = _otherwise(database, records, fault, around.now)
        return [
            _refused(doubt, around) if one is None else _recorded(one, outcome, _both(one.problem, why))
            for one, doubt in said
        ], False
    if spool.is_waiting(database.path):
        _drain_behind(database, rules)
    return [_refused(doubt, around) if one is None else _answer(*next(stored), doubt) for one, doubt in said], True


def _answer(stored: Stored, kept: Record, doubt: str | None) -> Recorded:
    if stored == "stored" and type(kept) is Call:
        # As nearly always.
        nano = kept.cost_nano
        return Recorded(kept.call_id, None if nano is None else _usd(nano), kept.cost_source, "stored", kept.problem)
    match stored:
        case "stored":
            return _recorded(kept, "stored", kept.problem)
        case "duplicate":
            return _recorded(kept, "duplicate", doubt)
        case "voided":
            return _recorded(kept, "duplicate", VOIDED)


def _refused(why: str | None, around: Around) -> Recorded:
    return Recorded(next(around.new_ids), None, None, "refused", why)


def _recorded(kept: Record, outcome: Outcome, problem: str | None) -> Recorded:
    match kept:
        case Call():
            cost = None if kept.cost_nano is None else _usd(kept.cost_nano)
            return Recorded(kept.call_id, cost, kept.cost_source, outcome, problem)
        case OperatingCost():
            if kept.amount_nano is None:
                return Recorded(kept.entry_id, None, "unknown", outcome, problem)
            return Recorded(kept.entry_id, _usd(kept.amount_nano), "given", outcome, problem)
        case _:
            return Recorded(kept.entry_id, None, None, outcome, problem)


def _otherwise(database: Database, records: Sequence[Record], fault: Exception, now: datetime) -> tuple[Outcome, str]:
    """Put records that the file did not take on the disk beside it, or where that fails too, leave a mark that they are lost."""
    if not isinstance(fault, StoreError):
        log.error("a record could not be stored", exc_info=fault)
    lines = [to_line(one) for one in records]
    try:
        spool.append(spool.spool_of(database.path), lines)
    except OSError as error:
        reason = one_line(f"{fault}; and the spool beside it: {error.strerror or error}", _LONGEST_PROBLEM)
        _lose(database.path, lines, reason, now)
        return "lost", reason
    return "spooled", one_line(str(fault), _LONGEST_PROBLEM)


def _lose(database: Path, lines: Sequence[bytes], reason: str, now: datetime) -> None:
    marked = mark_lost(database, lines, reason, now) if lines else None
    log.error("%d records lost: %s; noted in %s", len(lines), reason, marked or "no place at all")


def _drain_behind(database: Database, rules: Rules) -> None:
    try:
        drain(database, rules, seconds=DRAIN_SECONDS)
    except StoreError as fault:
        # The record itself is stored; what waits goes on waiting.
        log.info("the spool still waits: %s", fault)


def _both(one: str | None, other: str) -> str:
    return f"{one}; {other}" if one else other
