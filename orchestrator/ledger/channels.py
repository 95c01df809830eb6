"""Channels: how the places are that messages go to, and which of them nothing reaches any more."""

from dataclasses import dataclass, replace
from datetime import datetime

from orchestrator.periods import instant_from_text, span_text
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


@dataclass(frozen=True)
class Unreached:
    """A place with channels that are stopped: how many of how many, and how many of the others fail for now.

    Only `email` has several, one for each recipient. `since` and `reason` are of the first that was stopped.
    """

    place: str
    configured: int = 0
    stopped: int = 0
    failing: int = 0
    since: datetime | None = None
    reason: str = ""


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


def unreached(connection: Connection) -> list[Unreached]:
    """Return the places of which at least one channel is stopped, by name."""
    found: dict[str, Unreached] = {}
    for name, stopped_at, reason, failed in connection.execute(
        "SELECT name, stopped_at, reason, failures FROM channels WHERE configured ORDER BY stopped_at"
    ):
        place = name.partition(":")[0]
        one = found.get(place) or Unreached(place)
        if stopped_at is None:
            found[place] = replace(one, configured=one.configured + 1, failing=one.failing + bool(failed))
        else:
            found[place] = replace(
                one,
                configured=one.configured + 1,
                stopped=one.stopped + 1,
                since=one.since or _maybe(stopped_at),
                reason=one.reason or reason or "refused",
            )
    return [one for _, one in sorted(found.items()) if one.stopped]


def unreached_text(one: Unreached, now: datetime) -> str:
    """Return which place alerts no longer reach, since when and why; of mailboxes only how many, and how the others fare."""
    age = span_text((now - (one.since or now)).total_seconds())
    others = one.configured - one.stopped
    if one.configured == 1:
        return f"{one.place} (stopped {age} ago): {one_line(one.reason)}"
    if not others:
        return f"any of {one.configured} {one.place} recipients (stopped {age} ago): {one_line(one.reason)}"
    whose = "the other" if others == 1 else f"the other {others}"
    if not one.failing:
        fare = f"{whose} still {'gets' if others == 1 else 'get'} them"
    elif one.failing == others:
        fare = f"{whose} cannot be reached for now"
    else:
        fare = f"of {whose}, {one.failing} cannot be reached for now"
    return (
        f"{one.stopped} of {one.configured} {one.place} recipients (stopped {age} ago): {one_line(one.reason)}; {fare}"
    )


def _maybe(text: str | None) -> datetime | None:
    return None if text is None else instant_from_text(text)
