"""`alerts`: what was raised and where it arrived, that somebody knows, and whether messages arrive at all."""

import asyncio
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from orchestrator.cli.main import Options
from orchestrator.cli.opening import for_reading
from orchestrator.cli.opening import project as open_project
from orchestrator.cli.output import print_json
from orchestrator.errors import FileMissing, StoreError
from orchestrator.ledger import alerts as ledger
from orchestrator.ledger import channels as places
from orchestrator.ledger import deliveries
from orchestrator.ledger.alerts import Alert
from orchestrator.ledger.deliveries import Delivery
from orchestrator.money import usd_from_nano
from orchestrator.periods import span_text
from orchestrator.store.database import Database
from orchestrator.text import one_line

if TYPE_CHECKING:
    from orchestrator.alerts.message import Channel, Outcome


@click.group()
def alerts() -> None:
    """What the operator was told, where it arrived, and what is still to be seen to."""


@alerts.command("list")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1), help="The last so many alerts.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def list_(options: Options, limit: int, *, as_json: bool) -> None:
    """Show the last alerts, the newest first, and what came of sending each."""
    database, _ = for_reading(options)
    now = datetime.now(UTC)
    with database.read() as connection:
        found = ledger.recent_alerts(connection, limit)
        sent = deliveries.of_alerts(connection, [alert.id for alert in found])
    if as_json:
        print_json([_row(alert, sent) for alert in found], now)
        return
    for alert in found:
        age = span_text((now - alert.raised_at).total_seconds())
        at = f"{alert.raised_at:%Y-%m-%d %H:%M} UTC"
        click.echo(f"#{alert.id} {alert.severity}, {alert.state}, {age} ago ({at}): {one_line(alert.words.title)}")
        if alert.resolved_at is not None and alert.resolution:
            click.echo(f"    over since {alert.resolved_at:%Y-%m-%d %H:%M} UTC: {one_line(alert.resolution)}")
        for one in sent:
            if one.alert_id == alert.id:
                click.echo(f"    {one.channel}: {_delivery_text(one)}")
    if not found:
        click.echo("No alert was ever raised.")


@alerts.command()
@click.argument("alert_ids", metavar="ID...", nargs=-1, required=True)
@click.pass_obj
def ack(options: Options, alert_ids: tuple[str, ...]) -> int:
    """Say that somebody knows of an alert: no more reminders, and no line in the agent's prompt. Its end is still told."""
    wanted = [_alert_id(text) for text in alert_ids]
    database, _ = for_reading(options)
    with database.read():
        pass  # who acknowledges never makes a file
    with database.write() as connection:
        known = [ledger.acknowledge(connection, alert_id, now=datetime.now(UTC)) for alert_id in wanted]
    for alert_id, is_known in zip(wanted, known, strict=True):
        click.echo(f"#{alert_id} acknowledged" if is_known else f"there is no alert #{alert_id}", err=not is_known)
    return 0 if all(known) else 1


@alerts.command()
@click.argument("channel", required=False)
@click.pass_obj
def test(options: Options, channel: str | None) -> int:
    """Send a message that is marked as a test, now, and say what came of it for each channel. Exit 1 if one fails.

    CHANNEL is discord, discord-dm, slack, email (every recipient) or email:ADDRESS; without it all are tried. A channel that was
    stopped and works again is used again.
    """
    from orchestrator import scan
    from orchestrator.alerts import channels as notifiers

    project = open_project(options)
    configured = notifiers.configured(project.config)
    chosen = notifiers.named(configured, channel)
    if not chosen:
        names = ", ".join(one.name for one in configured)
        asked = f"{channel} is not configured" if channel else "no channel is configured"
        instead = f"configured are: {names}" if names else "docs/alerts.md says how to configure one"
        click.echo(f"error: {asked}; {instead}", err=True)
        return 1
    outcomes = scan.run(_sent(chosen))
    for one, outcome in zip(chosen, outcomes, strict=True):
        click.echo(f"{one.name}: {_outcome_text(outcome)}")
    _reopen(project.database, [one for one, outcome in zip(chosen, outcomes, strict=True) if outcome.result == "sent"])
    return 0 if all(outcome.result == "sent" for outcome in outcomes) else 1


async def _sent(chosen: "tuple[Channel, ...]") -> "list[Outcome]":
    from orchestrator.alerts import deliver
    from orchestrator.collectors.fetch import Client

    async with Client() as client:
        now = datetime.now(UTC)
        return await asyncio.gather(*(deliver.send_test(one, client, key=str(uuid.uuid4()), now=now) for one in chosen))


def _reopen(database: Database, working: "list[Channel]") -> None:
    """Let what waits for these channels go out with the next delivery."""
    try:
        with database.read() as connection:
            troubled = {one.name for one in places.channel_states(connection) if one.failures}
        if any(one.name in troubled for one in working):
            with database.write() as connection:
                for one in working:
                    places.reopen(connection, one.name, one.fingerprint)
    except FileMissing:
        pass
    except StoreError as error:
        click.echo(f"warning: {error}", err=True)
    finally:
        database.close()


def _alert_id(text: str) -> int:
    digits = text.removeprefix("#")
    if not (digits.isascii() and digits.isdigit() and len(digits) < 19):
        raise click.BadParameter(f"{text!r} is no alert's id; `alerts list` shows them")  # noqa: EM102 - click's own kind of error
    return int(digits)


def _row(alert: Alert, sent: list[Delivery]) -> dict[str, object]:
    limit = alert.limit
    return {
        "id": alert.id,
        "condition": alert.condition,
        "kind": alert.kind,
        "severity": alert.severity,
        "state": alert.state,
        "raised_at": alert.raised_at,
        "title": alert.words.title,
        "text": alert.words.text,
        "what_to_do": alert.words.what_to_do,
        "now": alert.now.title if alert.state != "over" else None,
        "remaining_usd": _usd(alert.words.remaining_nano),
        "day": limit.day if limit else None,
        "scope": limit.scope if limit else None,
        "period": limit.period if limit else None,
        "threshold_percent": limit.threshold_percent if limit else None,
        "spent_usd": _usd(limit.spent_nano if limit else alert.words.spent_nano),
        "limit_usd": _usd(limit.limit_nano if limit else alert.words.limit_nano),
        "acknowledged_at": alert.acknowledged_at,
        "resolved_at": alert.resolved_at,
        "resolution": alert.resolution,
        "deliveries": [
            {
                "channel": one.channel,
                "state": one.state,
                "attempts": one.attempts,
                "sent_at": one.sent_at,
                "reason": one.reason,
            }
            for one in sent
            if one.alert_id == alert.id
        ],
    }


def _usd(nano: int | None) -> object:
    return None if nano is None else usd_from_nano(nano)


def _delivery_text(one: Delivery) -> str:
    tries = "1 try" if one.attempts == 1 else f"{one.attempts} tries"
    reason = f": {one_line(one.reason)}" if one.reason else ""
    if one.state == "sent" and one.sent_at is not None:
        return f"sent {one.sent_at:%Y-%m-%d %H:%M} UTC{reason}"
    return f"{one.state}, {tries}{reason}"


def _outcome_text(outcome: "Outcome") -> str:
    match outcome.result:
        case "sent":
            return "sent" + (f" ({outcome.reason})" if outcome.reason else "")
        case "permanent":
            return f"failed, and will until the configuration changes: {outcome.reason}"
        case "retry":
            return f"failed: {outcome.reason}"
