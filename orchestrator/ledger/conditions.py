"""Conditions: what is true now, and what there is to say of it as long as it lasts and when it is over.

All that changes here is done inside the caller's transaction, the one that stores the row which showed the condition.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from orchestrator.ledger.alerts import Words
from orchestrator.periods import instant_from_millis, instant_from_text, text_from_instant
from orchestrator.store.database import Connection

_KEPT_BACK = "came and went too often"


@dataclass(frozen=True)
class State:
    """What is true of a condition now. `alert_id` is the alert that is not over, None when it is not true.

    `said_at` is when it was last alerted or reminded of. `recent` counts how often it was raised within the time that was
    asked for, and nobody kept that back; `recent_from` is the first of those times.
    """

    condition: str
    alert_id: int | None
    said_at: datetime
    acknowledged: bool
    words: Words
    recent: int = 0
    recent_from: datetime | None = None


def state(connection: Connection, condition: str, within: timedelta, *, now: datetime) -> State | None:
    """Return what is true of a condition, or None when it never was; `recent` counts within the time before `now`."""
    row = connection.execute(
        """
        SELECT state.alert_id, state.said_at, alert.acknowledged_at IS NOT NULL, state.brief, state.title, state.text,
            state.what_to_do, state.remaining_nano, state.limit_nano
        FROM alert_states AS state
        LEFT JOIN alerts AS alert ON alert.id = state.alert_id
        WHERE state.condition = :condition
        """,
        {"condition": condition},
    ).fetchone()
    if row is None:
        return None
    alert_id, said_at, acknowledged, *words = row
    # What waited from the first and was never sent is what `hold` kept back.
    [(recent, recent_from)] = connection.execute(
        """
        SELECT count(id), min(raised_at)
        FROM alerts
        WHERE condition = :condition AND raised_at > :since AND raised_at <= :now AND NOT EXISTS (
            SELECT 1
            FROM deliveries
            WHERE alert_id = alerts.id AND said = 0 AND due_at IS NOT NULL
        )
        """,
        {"condition": condition, "since": text_from_instant(now - within), "now": text_from_instant(now)},
    )
    return State(
        condition, alert_id, _instant(said_at), bool(acknowledged), Words(*words), recent,
        None if recent_from is None else _instant(recent_from),
    )  # fmt: skip


def lasting(connection: Connection) -> list[str]:
    """Return the conditions that are true now."""
    return [
        str(condition)
        for (condition,) in connection.execute("SELECT condition FROM alert_states WHERE alert_id IS NOT NULL")
    ]


def hold(connection: Connection, alert_id: int, until: datetime) -> None:
    """Store that no channel is to hear of an alert before then; when it is over by then, none hears of it at all."""
    connection.execute(
        """
        INSERT INTO deliveries (alert_id, channel, state, due_at, reason)
        SELECT DISTINCT :id, name, 'waiting', :until, :reason
        FROM channels
        WHERE configured
        """,
        {"id": alert_id, "until": text_from_instant(until), "reason": _KEPT_BACK},
    )


def remind(connection: Connection, alert_id: int, words: Words, apart: timedelta, *, now: datetime) -> None:
    """Store that an alert is to be said again, to each channel no sooner than `apart` after the last message about it."""
    at = text_from_instant(now)
    refresh(connection, alert_id, words)
    connection.execute("UPDATE alert_states SET said_at = :at WHERE alert_id = :id", {"id": alert_id, "at": at})
    connection.execute("UPDATE alerts SET said = said + 1, said_at = :at WHERE id = :id", {"id": alert_id, "at": at})
    connection.execute(
        """
        UPDATE deliveries
        SET state = 'waiting',
            due_at = CASE WHEN sent_at <= :at THEN strftime('%Y-%m-%dT%H:%M:%fZ', sent_at, :apart) END
        WHERE alert_id = :id AND said > 0 AND state <> 'expired'
        """,
        {"id": alert_id, "at": at, "apart": f"+{apart.total_seconds():.3f} seconds"},
    )
    # What is kept back waits no longer than a reminder; further ahead than that it was written by a clock that was wrong.
    connection.execute(
        "UPDATE deliveries SET due_at = :at WHERE alert_id = :id AND said = 0 AND due_at > :at",
        {"id": alert_id, "at": at},
    )


def refresh(connection: Connection, alert_id: int, words: Words) -> None:
    """Store how an alert that lasts would be worded now."""
    connection.execute(
        """
        UPDATE alert_states
        SET brief = :brief, title = :title, text = :text, what_to_do = :what_to_do, remaining_nano = :remaining_nano,
            limit_nano = :limit_nano
        WHERE alert_id = :id
        """,
        {**vars(words), "id": alert_id},
    )


def resolve(connection: Connection, alert_id: int, resolution: str | None, *, now: datetime) -> None:
    """Store that an alert is over, to be told where it arrived; None: nobody is told, and what still waits is dropped."""
    at = text_from_instant(now)
    connection.execute(
        """
        UPDATE alerts
        SET resolved_at = :at, resolution = :resolution, said = said + 1, said_at = :at
        WHERE id = :id AND resolved_at IS NULL
        """,
        {"id": alert_id, "at": at, "resolution": resolution},
    )
    connection.execute("UPDATE alert_states SET alert_id = NULL WHERE alert_id = :id", {"id": alert_id})
    if resolution is None:
        connection.execute(
            "UPDATE deliveries SET state = 'dropped' WHERE alert_id = :id AND state = 'waiting'", {"id": alert_id}
        )
    else:
        connection.execute(
            "UPDATE deliveries SET state = 'waiting', due_at = NULL WHERE alert_id = :id AND said > 0", {"id": alert_id}
        )
        connection.execute(
            """
            UPDATE deliveries
            SET state = 'dropped'
            WHERE alert_id = :id AND said = 0 AND state = 'waiting' AND due_at > :at
            """,
            {"id": alert_id, "at": at},
        )


def _instant(text: str) -> datetime:
    """Return a time that we stored ourselves; one that a stranger spoilt is the beginning of all."""
    return instant_from_text(text) or instant_from_millis(0)
