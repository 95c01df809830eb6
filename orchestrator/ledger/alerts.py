"""Alerts: each time that a condition came true, and what is said of it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from orchestrator.periods import instant_from_millis, instant_from_text, text_from_instant
from orchestrator.store.database import Connection

Severity = Literal["info", "warning", "critical", "emergency"]

_GRAVITY = ("info", "warning", "critical", "emergency")
_NO_PERIOD: dict[str, None] = dict.fromkeys(("day", "scope", "period", "threshold_percent"))


@dataclass(frozen=True)
class Words:
    """What is said of a condition: a few words for a prompt, a sentence, more sentences, and the operator's next step.

    `limit_nano` is what `remaining_nano` is left of; None for either is not known, or not part of it.
    """

    brief: str
    title: str
    text: str = ""
    what_to_do: str | None = None
    remaining_nano: int | None = None
    limit_nano: int | None = None

    @property
    def spent_nano(self) -> int | None:
        """Return what was spent of the limit, None where that is not known."""
        return None if self.limit_nano is None or self.remaining_nano is None else self.limit_nano - self.remaining_nano


@dataclass(frozen=True)
class Limit:
    """What an alert about a budget has besides; `day` is the local day on which the period began."""

    day: str
    scope: str
    period: Literal["day", "month"]
    threshold_percent: int
    spent_nano: int
    limit_nano: int


@dataclass(frozen=True)
class Alert:
    """One time that a condition came true; None is not known, not part of it, or not yet.

    `said` counts what there was to say so far: the alert, each reminder, its end. `now` are its words as they are now.
    """

    id: int
    condition: str
    kind: str
    severity: Severity
    raised_at: datetime
    words: Words
    now: Words
    limit: Limit | None
    said: int
    said_at: datetime
    acknowledged_at: datetime | None
    resolved_at: datetime | None
    resolution: str | None

    @property
    def state(self) -> Literal["open", "acknowledged", "over"]:
        """Return whether it lasts, lasts and somebody knows, or is over."""
        if self.resolved_at is not None:
            return "over"
        return "open" if self.acknowledged_at is None else "acknowledged"


def raise_alert(
    connection: Connection,
    condition: str,
    severity: Severity,
    words: Words,
    *,
    limit: Limit | None = None,
    now: datetime,
) -> int:
    """Store that a condition came true and return the alert's id; the caller's transaction is the one that stores what showed it.

    A condition is named by its kind, and after a colon by what it is about: `source_silent:mlx-api`.
    """
    at = text_from_instant(now)
    connection.execute(
        """
        INSERT INTO alerts (
            condition, kind, severity, raised_at, brief, title, text, what_to_do, remaining_nano,
            day, scope, period, threshold_percent, spent_nano, limit_nano, said_at
        )
        VALUES (
            :condition, :kind, :severity, :at, :brief, :title, :text, :what_to_do, :remaining_nano,
            :day, :scope, :period, :threshold_percent, :spent_nano, :limit_nano, :at
        )
        """,
        {
            **vars(words),
            **(vars(limit) if limit else {**_NO_PERIOD, "spent_nano": words.spent_nano}),
            "condition": condition,
            "kind": condition.partition(":")[0],
            "severity": severity,
            "at": at,
        },
    )
    alert_id = connection.last_insert_rowid()
    connection.execute(
        """
        INSERT INTO alert_states (condition, alert_id, said_at, brief, title, text, what_to_do, remaining_nano, limit_nano)
        VALUES (:condition, :alert_id, :at, :brief, :title, :text, :what_to_do, :remaining_nano, :limit_nano)
        ON CONFLICT (condition) DO UPDATE SET
            alert_id = excluded.alert_id,
            said_at = excluded.said_at,
            brief = excluded.brief,
            title = excluded.title,
            text = excluded.text,
            what_to_do = excluded.what_to_do,
            remaining_nano = excluded.remaining_nano,
            limit_nano = excluded.limit_nano
        """,
        {**vars(words), "condition": condition, "alert_id": alert_id, "at": at},
    )
    return alert_id


def acknowledge(connection: Connection, alert_id: int, *, now: datetime) -> bool:
    """Store that somebody knows of an alert, which ends reminders and what still waits to be sent; False when there is none."""
    connection.execute(
        "UPDATE alerts SET acknowledged_at = coalesce(acknowledged_at, :at) WHERE id = :id",
        {"id": alert_id, "at": text_from_instant(now)},
    )
    if connection.changes() == 0:
        return False
    connection.execute(
        """
        UPDATE deliveries
        SET state = CASE said WHEN 0 THEN 'dropped' ELSE 'sent' END
        WHERE alert_id = :id AND state = 'waiting' AND NOT EXISTS (
            SELECT 1 FROM alerts WHERE id = :id AND resolved_at IS NOT NULL AND deliveries.said > 0
        )
        """,
        {"id": alert_id},
    )
    return True


def open_alerts(connection: Connection) -> list[Alert]:
    """Return the alerts that last and nobody has acknowledged, the gravest first."""
    found = connection.execute("SELECT id FROM alerts WHERE resolved_at IS NULL AND acknowledged_at IS NULL")
    alerts = by_ids(connection, [alert_id for (alert_id,) in found])
    return sorted(alerts, key=lambda one: (_GRAVITY.index(one.severity), one.raised_at), reverse=True)


def recent_alerts(connection: Connection, most: int) -> list[Alert]:
    """Return the last alerts, the newest first."""
    found = connection.execute("SELECT id FROM alerts ORDER BY id DESC LIMIT :most", {"most": most})
    return by_ids(connection, [alert_id for (alert_id,) in found])[::-1]


def by_ids(connection: Connection, ids: list[int]) -> list[Alert]:
    """Return the alerts with these ids, the oldest first; an id that there is no alert for is passed over."""
    if not ids:
        return []
    rows = connection.execute(
        """
        SELECT alert.id, alert.condition, alert.kind, alert.severity, alert.raised_at,
            alert.brief, alert.title, alert.text, alert.what_to_do, alert.remaining_nano, alert.limit_nano,
            state.brief, state.title, state.text, state.what_to_do, state.remaining_nano, state.limit_nano,
            alert.day, alert.scope, alert.period, alert.threshold_percent, alert.spent_nano, alert.limit_nano,
            alert.said, alert.said_at, alert.acknowledged_at, alert.resolved_at, alert.resolution
        FROM alerts AS alert
        LEFT JOIN alert_states AS state ON state.condition = alert.condition AND state.alert_id = alert.id
        WHERE alert.id IN (SELECT value FROM json_each(:ids))
        ORDER BY alert.id
        """,
        {"ids": f"[{','.join(map(str, ids))}]"},
    )
    return [_alert(row) for row in rows]


def prune(connection: Connection, before: datetime, most: int) -> int:
    """Remove up to `most` alerts that were over before, with their deliveries, and return how many went."""
    connection.execute(
        """
        DELETE FROM alerts
        WHERE id IN (
            SELECT id
            FROM alerts
            WHERE raised_at < :before AND resolved_at < :before
            ORDER BY raised_at
            LIMIT :most
        )
        """,
        {"before": text_from_instant(before), "most": most},
    )
    return connection.changes()


def prunable(connection: Connection, before: datetime) -> int:
    """Return how many alerts `prune` would remove in all."""
    return int(
        connection.execute(
            "SELECT count(id) FROM alerts WHERE raised_at < :before AND resolved_at < :before",
            {"before": text_from_instant(before)},
        ).get
    )


def _alert(row: tuple[Any, ...]) -> Alert:
    alert_id, condition, kind, severity, raised_at, *words = row[:11]
    now, limit = row[11:17], row[17:23]
    said, said_at, acknowledged_at, resolved_at, resolution = row[23:]
    return Alert(
        alert_id, condition, kind, severity, _instant(raised_at), Words(*words),
        Words(*words) if now[0] is None else Words(*now), None if limit[0] is None else Limit(*limit),
        said, _instant(said_at), _maybe(acknowledged_at), _maybe(resolved_at), resolution,
    )  # fmt: skip


def _instant(text: str) -> datetime:
    """Return a time that we stored ourselves; one that a stranger spoilt is the beginning of all."""
    return instant_from_text(text) or instant_from_millis(0)


def _maybe(text: str | None) -> datetime | None:
    return None if text is None else _instant(text)
