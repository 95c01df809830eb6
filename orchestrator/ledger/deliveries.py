"""Deliveries: which alerts are to arrive at which channels, which still wait there, and what came of sending them.

What has been said of an alert is a number (`alerts.said`), and so is what of it has arrived (`deliveries.said`): however many
reminders came up while a channel could not be reached, one message makes up for them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from orchestrator.ledger import alerts
from orchestrator.ledger.alerts import Alert
from orchestrator.periods import instant_from_text, text_from_instant
from orchestrator.store.database import Connection

# What is over and has waited for so long is not sent any more; what lasts is tried as long as it lasts.
EXPIRES = timedelta(days=7)
# Longer than any attempt takes: whoever claimed and has not noted the outcome by then was killed.
LEASE = timedelta(seconds=90)
# No wait is longer: a next attempt further ahead was written by a clock that was wrong.
LONGEST_WAIT = timedelta(minutes=66)


@dataclass(frozen=True)
class Waiting:
    """An alert that has something to say which has not arrived at a channel; `arrived` is how much of it has."""

    alert: Alert
    arrived: int


@dataclass(frozen=True)
class Delivery:
    """What came of sending an alert to a channel: `waiting`, `sent`, `expired`, or `dropped` since somebody knows of it."""

    alert_id: int
    channel: str
    state: str
    attempts: int
    sent_at: datetime | None
    reason: str | None


def enter(connection: Connection, configured: Mapping[str, str], *, withdraw: bool) -> None:
    """Store which channels are configured, by name with their fingerprints, and with `withdraw` that others are not.

    One that was never known by its name gets the alerts that are open; what is over is of no use to it. One whose configuration
    has changed goes on where the former stood, and is not stopped.
    """
    known = {
        (name, fingerprint): (bool(is_configured), seen)
        for name, fingerprint, is_configured, seen in connection.execute(
            "SELECT name, fingerprint, configured, seen_alert_id FROM channels"
        )
    }
    for name, fingerprint in known:
        now_configured = configured.get(name) == fingerprint
        if known[name, fingerprint][0] != now_configured and (now_configured or withdraw):
            connection.execute(
                "UPDATE channels SET configured = :configured WHERE name = :name AND fingerprint = :fingerprint",
                {"name": name, "fingerprint": fingerprint, "configured": now_configured},
            )
    for name, fingerprint in configured.items():
        if (name, fingerprint) in known:
            continue
        seen = [seen for (other, _), (_, seen) in known.items() if other == name]
        newest = connection.execute("SELECT coalesce(max(id), 0) FROM alerts").get
        connection.execute(
            """
            INSERT INTO channels (name, fingerprint, configured, seen_alert_id)
            VALUES (:name, :fingerprint, 1, :seen)
            """,
            {"name": name, "fingerprint": fingerprint, "seen": max(seen, default=newest)},
        )
        if not seen:
            _wait(connection, name, [alert.id for alert in alerts.open_alerts(connection)])


def due(connection: Connection, name: str, fingerprint: str, *, now: datetime) -> timedelta | None:
    """Return in how long there is something to send to a channel, zero for now, None when nothing waits or it is stopped."""
    row = connection.execute(
        """
        SELECT next_attempt_at,
            CASE
                WHEN seen_alert_id < (SELECT max(id) FROM alerts) THEN ''
                ELSE (SELECT min(coalesce(due_at, '')) FROM deliveries WHERE channel = :name AND state = 'waiting')
            END
        FROM channels
        WHERE name = :name AND fingerprint = :fingerprint AND stopped_at IS NULL
        """,
        {"name": name, "fingerprint": fingerprint},
    ).fetchone()
    if row is None or row[1] is None:
        return None
    pause, wait = ((instant_from_text(text) or now if text else now) - now for text in row)
    return max(timedelta(0), wait, pause if pause <= LONGEST_WAIT else timedelta(0))


def claim(
    connection: Connection, name: str, fingerprint: str, sender: str, most: int, *, now: datetime
) -> list[Waiting]:
    """Return up to `most` alerts that this sender is to send to a channel now, none when nothing is due or another one sends.

    The claim holds for `LEASE`, or until the outcome is noted.
    """
    place = {"name": name, "fingerprint": fingerprint, "sender": sender, "now": text_from_instant(now)}
    if due(connection, name, fingerprint, now=now) != timedelta(0):
        return []
    # Also of a row with another fingerprint: what waits is the same. A claim beyond the lease is from a clock that was wrong.
    claimed = connection.execute(
        """
        SELECT EXISTS (
            SELECT 1
            FROM channels
            WHERE name = :name AND claimed_by <> :sender AND claimed_until > :now AND claimed_until <= :latest
        )
        """,
        {**place, "latest": text_from_instant(now + LEASE)},
    ).get
    if claimed:
        return []
    _take_in(connection, name, now)
    rows = connection.execute(
        """
        SELECT alert_id, said
        FROM deliveries
        WHERE channel = :name AND state = 'waiting' AND coalesce(due_at, '') <= :now
        ORDER BY alert_id
        LIMIT :most
        """,
        {**place, "most": most},
    )
    arrived: dict[int, int] = dict(rows)
    if not arrived:
        return []
    connection.execute(
        """
        UPDATE channels
        SET claimed_by = :sender, claimed_until = :until
        WHERE name = :name AND fingerprint = :fingerprint
        """,
        {**place, "until": text_from_instant(now + LEASE)},
    )
    connection.executemany(
        "UPDATE deliveries SET attempts = attempts + 1 WHERE alert_id = :id AND channel = :name",
        [{"id": alert_id, "name": name} for alert_id in arrived],
    )
    return [Waiting(alert, arrived[alert.id]) for alert in alerts.by_ids(connection, list(arrived))]


def note_sent(
    connection: Connection,
    name: str,
    fingerprint: str,
    sender: str,
    sent: Iterable[Waiting],
    reason: str,
    *,
    now: datetime,
) -> None:
    """Store that a message with these alerts arrived; what came up meanwhile still waits."""
    at = text_from_instant(now)
    connection.executemany(
        """
        UPDATE deliveries
        SET said = max(said, :said),
            state = CASE WHEN (SELECT said FROM alerts WHERE id = :id) > :said AND state = 'waiting' THEN 'waiting' ELSE 'sent' END,
            sent_at = :at,
            reason = :reason
        WHERE alert_id = :id AND channel = :name
        """,
        [
            {"id": one.alert.id, "said": one.alert.said, "name": name, "at": at, "reason": reason or None}
            for one in sent
        ],
    )
    connection.execute(
        """
        UPDATE channels
        SET failures = 0, next_attempt_at = NULL, last_sent_at = :at, stopped_at = NULL, reason = NULL
        WHERE name = :name AND fingerprint = :fingerprint
        """,
        {"name": name, "fingerprint": fingerprint, "at": at},
    )
    _give_back(connection, name, fingerprint, sender)


def note_failed(
    connection: Connection,
    name: str,
    fingerprint: str,
    sender: str,
    tried: Iterable[Waiting],
    reason: str,
    *,
    next_attempt_at: datetime | None,
    now: datetime,
) -> None:
    """Store that a message did not arrive and when to try again; None: not before the configuration changes."""
    connection.executemany(
        "UPDATE deliveries SET reason = :reason WHERE alert_id = :id AND channel = :name",
        [{"id": one.alert.id, "name": name, "reason": reason} for one in tried],
    )
    connection.execute(
        """
        UPDATE channels
        SET failures = failures + 1, next_attempt_at = :next, reason = :reason, stopped_at = :stopped_at
        WHERE name = :name AND fingerprint = :fingerprint
        """,
        {
            "name": name,
            "fingerprint": fingerprint,
            "next": None if next_attempt_at is None else text_from_instant(next_attempt_at),
            "reason": reason,
            "stopped_at": text_from_instant(now) if next_attempt_at is None else None,
        },
    )
    _give_back(connection, name, fingerprint, sender)


def of_alerts(connection: Connection, ids: list[int]) -> list[Delivery]:
    """Return what came of sending these alerts."""
    return [
        Delivery(alert_id, channel, state, attempts, _maybe(sent_at), reason)
        for alert_id, channel, state, attempts, sent_at, reason in connection.execute(
            """
            SELECT alert_id, channel, state, attempts, sent_at, reason
            FROM deliveries
            WHERE alert_id IN (SELECT value FROM json_each(:ids))
            ORDER BY alert_id, channel
            """,
            {"ids": f"[{','.join(map(str, ids))}]"},
        )
    ]


def _take_in(connection: Connection, name: str, now: datetime) -> None:
    """Let new alerts wait for a channel, and let go what has waited for too long."""
    expired = text_from_instant(now - EXPIRES)
    new = connection.execute(
        """
        SELECT id
        FROM alerts
        WHERE id > (SELECT max(seen_alert_id) FROM channels WHERE name = :name)
            AND acknowledged_at IS NULL
            AND (resolved_at IS NULL OR (said_at >= :expired AND resolution IS NOT NULL))
        """,
        {"name": name, "expired": expired},
    ).fetchall()
    _wait(connection, name, [int(str(alert_id)) for (alert_id,) in new])
    connection.execute(
        """
        UPDATE channels
        SET seen_alert_id = max(seen_alert_id, (SELECT coalesce(max(id), 0) FROM alerts))
        WHERE name = :name
        """,
        {"name": name},
    )
    connection.execute(
        """
        UPDATE deliveries
        SET state = 'expired'
        WHERE channel = :name AND state = 'waiting'
            AND alert_id IN (SELECT id FROM alerts WHERE resolved_at IS NOT NULL AND said_at < :expired)
        """,
        {"name": name, "expired": expired},
    )


def _wait(connection: Connection, name: str, alert_ids: list[int]) -> None:
    connection.executemany(
        """
        INSERT INTO deliveries (alert_id, channel, state)
        VALUES (:id, :name, 'waiting')
        ON CONFLICT (alert_id, channel) DO NOTHING
        """,
        [{"id": alert_id, "name": name} for alert_id in alert_ids],
    )


def _give_back(connection: Connection, name: str, fingerprint: str, sender: str) -> None:
    connection.execute(
        """
        UPDATE channels
        SET claimed_by = NULL, claimed_until = NULL
        WHERE name = :name AND fingerprint = :fingerprint AND claimed_by = :sender
        """,
        {"name": name, "fingerprint": fingerprint, "sender": sender},
    )


def _maybe(text: str | None) -> datetime | None:
    return None if text is None else instant_from_text(text)
