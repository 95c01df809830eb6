"""What a stored row shows becomes alerts, in the very transaction that stores it: whoever sees the row sees the alert."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

import structlog
from structlog.typing import FilteringBoundLogger

from orchestrator import config as configuration
from orchestrator.alerts import rules
from orchestrator.alerts.rules import Credits, Seen, Thresholds
from orchestrator.config import Config
from orchestrator.errors import StoreError
from orchestrator.ledger import alerts, conditions, deliveries, setup, snapshots
from orchestrator.ledger import credits as looks
from orchestrator.ledger.alerts import Severity
from orchestrator.ledger.credits import CreditSnapshot
from orchestrator.ledger.snapshots import Snapshot
from orchestrator.money import nano_from_usd
from orchestrator.store.database import Connection

# The conditions of a key; without a key they are nobody's.
_OF_CREDITS = (rules.LOW_CREDITS, rules.CREDITS_UNKNOWN, rules.KEY_REJECTED, rules.OUT_OF_MONEY)


_log: FilteringBoundLogger = structlog.get_logger()


@dataclass(frozen=True)
class Watch:
    """What is watched, and when there is something to say. `credits_interval_seconds` is None when there is no key to ask with."""

    thresholds: Thresholds
    sources: tuple[str, ...]
    interval_seconds: float
    credits_interval_seconds: float | None


@dataclass(frozen=True)
class Told:
    """What was stored to be said, for the log."""

    event: Literal["raised", "reminded", "resolved"]
    alert_id: int
    condition: str
    severity: Severity
    title: str


def of_config(config: Config) -> Watch:
    """Return what a configuration says is to be watched."""
    interval = float(configuration.collection_interval_seconds(config))
    every = float(config.credits.check_interval_seconds)
    return Watch(
        Thresholds(
            low_nano=nano_from_usd(config.credits.low_threshold_usd),
            debounce=timedelta(minutes=config.alerts.debounce_minutes),
            credits_silent=rules.silence(every),
            sources_silent=rules.silence(interval),
        ),
        sources=configuration.sources(config),
        interval_seconds=interval,
        credits_interval_seconds=every if config.secrets.openrouter_api_key else None,
    )


def enter(connection: Connection, watch: Watch, channels: Mapping[str, str], *, withdraw: bool, now: datetime) -> None:
    """Write into the file what is watched, and the channels with their fingerprints.

    `withdraw` also takes back what is no longer configured, and closes its alerts without a word. Beside a daemon it is not for
    `once` to do so: whoever runs it may simply not have the daemon's keys.
    """
    setup.write_credits_interval(connection, watch.credits_interval_seconds, withdraw=withdraw)
    deliveries.enter(connection, channels, withdraw=withdraw)
    if withdraw:
        for condition in conditions.lasting(connection):
            kind, _, source = condition.partition(":")
            gone = kind in _OF_CREDITS and watch.credits_interval_seconds is None
            if gone or (kind == rules.SOURCE_SILENT and source not in watch.sources):
                _resolve(connection, condition, None, now)


def store(connection: Connection, rows: Collection[Snapshot | CreditSnapshot], watch: Watch | None) -> list[Told]:
    """Store rows and what the newest of each kind shows, as of the moment it was read, and return what there is to say."""
    newest: dict[str, Snapshot | CreditSnapshot] = {}
    for row in rows:
        if isinstance(row, CreditSnapshot):
            looks.insert(connection, row)
            newest["openrouter"] = row
        else:
            snapshots.insert(connection, row)
            newest[row.source] = row
    told: list[Told] = []
    if watch is None:
        return told
    for row in newest.values():
        now = row.collected_at
        told += _apply(connection, _file_seen(connection, now), watch, now)
        if isinstance(row, CreditSnapshot):
            told += _apply(connection, _credits_seen(connection, row, watch, now), watch, now)
        else:
            told += _apply(connection, _source_seen(connection, row.source, watch, now), watch, now)
    return told


def file_survived(
    connection: Connection, fault: StoreError, rows: int, since: datetime, watch: Watch, *, now: datetime
) -> list[Told]:
    """Store that the file could not be written for a while, and return what there is to say."""
    return _apply(connection, [rules.file_unwritable(fault.what(), rows, now - since)], watch, now)


def log(told: Collection[Told]) -> None:
    """Log what has come up to be said; where no channel is configured, that and the rows are all."""
    for one in told:
        write = _log.info if one.event == "resolved" else _log.warning
        write(f"alert_{one.event}", alert=one.alert_id, condition=one.condition, severity=one.severity, title=one.title)


def _credits_seen(connection: Connection, reading: CreditSnapshot, watch: Watch, now: datetime) -> tuple[Seen, ...]:
    # Not the row with the latest time: a clock that was set back would let the rows of before decide until it has caught up.
    before = looks.latest_good(connection, now, before=reading.collected_at)
    known = Credits(reading, before, looks.unknown_since(connection, now))
    return rules.credit_conditions(known, watch.thresholds, now)


def _source_seen(connection: Connection, source: str, watch: Watch, now: datetime) -> tuple[Seen, ...]:
    latest = snapshots.latest(connection, source, watch.interval_seconds, now)
    return () if latest is None else (rules.source_condition(latest, watch.thresholds, now),)


def _file_seen(connection: Connection, now: datetime) -> tuple[Seen, ...]:
    state = conditions.state(connection, rules.FILE_UNWRITABLE, rules.DAILY, now=now)
    return () if state is None or state.alert_id is None else (rules.file_written(state.said_at, now),)


def _apply(connection: Connection, seen: Collection[Seen], watch: Watch, now: datetime) -> list[Told]:
    debounce = watch.thresholds.debounce
    told = []
    for one in seen:
        state = conditions.state(connection, one.condition, debounce, now=now)
        words, alert_id = one.words, state.alert_id if state else None
        match rules.step(state, one, debounce, now):
            case "raise" if words is not None:
                alert_id = alerts.raise_alert(connection, one.condition, one.severity, words, now=now)
                if until := rules.kept_back_until(state, debounce):
                    conditions.hold(connection, alert_id, until)
                told.append(Told("raised", alert_id, one.condition, one.severity, words.title))
            case "remind" if words is not None and alert_id is not None:
                conditions.remind(connection, alert_id, words, debounce, now=now)
                told.append(Told("reminded", alert_id, one.condition, one.severity, words.title))
            case "refresh" if words is not None and alert_id is not None:
                conditions.refresh(connection, alert_id, words)
            case "resolve" if alert_id is not None:
                conditions.resolve(connection, alert_id, one.resolution, now=now)
                told.append(Told("resolved", alert_id, one.condition, "info", one.resolution))
    return told


def _resolve(connection: Connection, condition: str, resolution: str | None, now: datetime) -> None:
    state = conditions.state(connection, condition, rules.DAILY, now=now)
    if state is not None and state.alert_id is not None:
        conditions.resolve(connection, state.alert_id, resolution, now=now)
