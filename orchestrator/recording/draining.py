"""Draining the spool: what could not be stored before is stored now; once, whoever drains it and however often."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from orchestrator.errors import StoreError
from orchestrator.recording import spool
from orchestrator.recording.lines import Record, from_line, to_line
from orchestrator.recording.rules import Rules, configured
from orchestrator.recording.storing import store
from orchestrator.store.database import Database

log = logging.getLogger("orchestrator.recording")


@dataclass
class Drained:
    """What a drain met: records that it stored, those that had been stored before, lines that no record could be stored from."""

    stored: int = 0
    duplicates: int = 0
    put_aside: int = 0


def drain(database: Database, rules: Rules | None = None, *, seconds: float | None = None) -> Drained:
    """Store what waits in the spool beside a file, for about so many seconds at most, and return what that was.

    Costs one look for a file when there is none. Raises StoreError when the database still cannot be written: what was not stored
    stays in the spool, and so it does, with a line in the log, when this user may not read or write the spool.
    """
    drained = Drained()
    if not spool.is_waiting(database.path):
        return drained
    path = spool.spool_of(database.path)
    rules = rules or configured(database.path)
    until = None if seconds is None else monotonic() + seconds
    try:
        while spool.take(path, lambda lines: _store_lines(database, rules, lines, drained)):
            if until is not None and monotonic() >= until:
                break
    except OSError as error:
        log.warning("%s cannot be drained: %s", path, error.strerror or error)
    return drained


def waiting(database: Database) -> int:
    """Return how many records wait in the spool; 0 also for a spool that may not be read."""
    return _lines(spool.spool_of(database.path))


def lines_aside(database: Database) -> int:
    """Return how many lines were put aside because no record could be stored from them; 0 also for a file that may not be read."""
    return _lines(spool.aside_of(database.path))


def _lines(path: Path) -> int:
    try:
        with path.open("rb") as file:
            return sum(1 for line in file if line.strip())
    except OSError:
        return 0


def _store_lines(database: Database, rules: Rules, lines: list[bytes], drained: Drained) -> None:
    records: list[Record] = []
    aside: list[bytes] = []
    for text in lines:
        record = from_line(text)
        if isinstance(record, str):
            aside.append(text + b"\n")
            _say_aside(database.path, record)
        else:
            records.append(record)
    try:
        _store(database, rules, records, drained)
    except StoreError:
        raise
    except Exception:  # noqa: BLE001 - a line that the file refuses must not keep the others out of it
        for record in records:
            try:
                _store(database, rules, [record], drained)
            except StoreError:
                raise
            except Exception as error:  # noqa: BLE001 - as above
                aside.append(to_line(record))
                _say_aside(database.path, f"is refused: {error}")
    if aside:
        spool.append(spool.aside_of(database.path), aside)
        drained.put_aside += len(aside)


def _store(database: Database, rules: Rules, records: Sequence[Record], drained: Drained) -> None:
    if records:
        stored = [outcome for outcome, _ in store(database, rules, records)].count("stored")
        drained.stored += stored
        drained.duplicates += len(records) - stored


def _say_aside(database: Path, why: str) -> None:
    log.error(
        "a line of %s %s; it is kept in %s", spool.spool_of(database), why, spool.aside_of(database).name
    )  # fmt: skip
