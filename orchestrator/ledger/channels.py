"""Channels: how the places are that messages go to, and which of them nothing reaches any more."""

from dataclasses import dataclass
from datetime import datetime

from orchestrator.periods import instant_from_millis, instant_from_text, span_text
from orchestrator.store.database import Connection
from orchestrator.text import one_line


@dataclass(frozen=True)
class ChannelState:
    """How a configured channel is. `stopped_at` is None while it is used; `reason` is why it is stopped, or failed last.

    `waiting` counts the alerts that wait for it, `waiting_since` is when the first of them was raised.
    """

    name: str
    fingerprint: str
    stopped_at: datetime | None
    reason: str | None
    failures: int
    last_sent_at: datetime | None
    waiting: int
    waiting_since: datetime | None


def failures(connection: Connection, name: str, fingerprint: str) -> int:
    """Return how many attempts have failed since the last message that arrived."""
    found = connection.execute(
        "SELECT failures FROM channels WHERE name = :name AND fingerprint = :fingerprint",
        {"name": name, "fingerprint": fingerprint},
    ).get
    return int(found or 0)


def reopen(connection: Connection, name: str, fingerprint: str) -> None:
    """Store that a channel works after all: it is not stopped, and what waits is due."""
    connection.execute(
        """
        UPDATE channels
        SET failures = 0, next_attempt_at = NULL, stopped_at = NULL, reason = NULL
        WHERE name = :name AND fingerprint = :fingerprint
        """,
        {"name": name, "fingerprint": fingerprint},
    )


def channel_states(connection: Connection) -> list[ChannelState]:
    """Return how the configured channels are, by name."""
    return [
        ChannelState(name, print_, _maybe(stopped_at), reason, failed, _maybe(last_sent_at), waiting, _maybe(since))
        for name, print_, stopped_at, reason, failed, last_sent_at, waiting, since in connection.execute(
            """
            SELECT name, fingerprint, stopped_at, reason, failures, last_sent_at,
                (SELECT count(alert_id) FROM deliveries WHERE channel = channels.name AND state = 'waiting'),
                (
                    SELECT min(raised_at)
                    FROM alerts
                    WHERE id = (SELECT min(alert_id) FROM deliveries WHERE channel = channels.name AND state = 'waiting')
                )
            FROM channels
            WHERE configured
            ORDER BY name
            """
        )
    ]


def channel_text(one: ChannelState, now: datetime) -> str:
    """Return how a channel is, for a reader: stopped and why, failing and what waits, or when a message last arrived."""
    waits = "" if not one.waiting else "; 1 alert waits" if one.waiting == 1 else f"; {one.waiting} alerts wait"
    if one.waiting and one.waiting_since is not None:
        waits += f", the first for {span_text((now - one.waiting_since).total_seconds())}"
    if one.stopped_at is not None:
        age = span_text((now - one.stopped_at).total_seconds())
        return f"stopped {age} ago: {one_line(one.reason or 'refused')}{waits}"
    if one.failures:
        tries = "1 try" if one.failures == 1 else f"{one.failures} tries"
        return f"failing, {tries}: {one_line(one.reason or 'no reason')}{waits}"
    if one.last_sent_at is None:
        return f"nothing sent yet{waits}"
    return f"works, last message {span_text((now - one.last_sent_at).total_seconds())} ago{waits}"


def stopped(connection: Connection) -> list[tuple[str, datetime, str]]:
    """Return the configured channels that are stopped: name, since when, and why."""
    return [
        (name, _maybe(stopped_at) or instant_from_millis(0), reason or "")
        for name, stopped_at, reason in connection.execute(
            "SELECT name, stopped_at, reason FROM channels WHERE configured AND stopped_at IS NOT NULL ORDER BY name"
        )
    ]


def _maybe(text: str | None) -> datetime | None:
    return None if text is None else instant_from_text(text)
