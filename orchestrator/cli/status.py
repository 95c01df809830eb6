"""`status`: a line a source, and who watches the file."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import click

from orchestrator.cli.main import Options
from orchestrator.cli.opening import for_reading
from orchestrator.cli.output import print_json
from orchestrator.errors import FileMissing
from orchestrator.ledger import alerts, channels
from orchestrator.ledger import setup as setups
from orchestrator.ledger.alerts import Alert
from orchestrator.ledger.channels import ChannelState, channel_text
from orchestrator.ledger.setup import Setup
from orchestrator.ledger.snapshots import NAMES, Latest
from orchestrator.ledger.spooled import spooled, spooled_text
from orchestrator.periods import age_text, span_text
from orchestrator.reports.balance import NO_BALANCE, Balance, balance, balance_text
from orchestrator.reports.latest import latest_by_source
from orchestrator.store import lease
from orchestrator.store.database import Database
from orchestrator.text import one_line


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON with the names of the API.")
@click.pass_obj
def status(options: Options, *, as_json: bool) -> None:
    """Show each source's last good value, its age and what was tried since, what is left to spend, open alerts, and how their
    channels are, and whether a daemon runs.
    """
    database, configured = for_reading(options)
    now = datetime.now(UTC)
    waiting = spooled(database.path)
    sources = latest_by_source(database, configured, now)
    try:
        owner = lease.owner(database, now=now)
        told = _told(database, configured, now)
    except FileMissing:
        owner = None
        told = _Told(NO_BALANCE if configured().credits_interval_seconds else None, (), ())
    if as_json:
        print_json(
            {
                "database": str(database.path),
                "spooled_records": waiting,
                "daemon": owner,
                "sources": sources,
                "credits": told.balance,
                "alerts": [_alert_row(alert) for alert in told.alerts],
                "channels": [_channel_row(channel) for channel in told.channels],
            },
            now,
        )
        return
    for source, latest in sources.items():
        click.echo(f"{NAMES[source]}: {_state_text(latest, now)}")
    if told.balance is not None:
        click.echo(f"OpenRouter: {balance_text(told.balance, now)}")
    for alert in told.alerts:
        age = span_text((now - alert.raised_at).total_seconds())
        click.echo(f"Alert #{alert.id} ({alert.severity}, {age} ago): {one_line(alert.now.title)}")
    for channel in told.channels:
        click.echo(f"Channel {channel.name}: {channel_text(channel, now)}")
    if waiting != 0:
        click.echo(f"Spool: {spooled_text(waiting)}: the file could not be written")
    click.echo(f"Daemon: {owner or 'not running'}")
    click.echo(f"File: {database.path}{'' if database.path.exists() else ' (not made yet)'}")


@dataclass(frozen=True)
class _Told:
    """What is left, what is open, and how the channels are."""

    balance: Balance | None
    alerts: tuple[Alert, ...]
    channels: tuple[ChannelState, ...]


def _told(database: Database, configured: Callable[[], Setup], now: datetime) -> _Told:
    with database.read() as connection:
        interval = setups.read(connection, configured).credits_interval_seconds
        return _Told(
            None if interval is None else balance(connection, interval, now),
            tuple(alerts.open_alerts(connection)),
            tuple(channels.channel_states(connection)),
        )


def _alert_row(alert: Alert) -> dict[str, object]:
    return {
        "id": alert.id,
        "condition": alert.condition,
        "severity": alert.severity,
        "raised_at": alert.raised_at,
        "title": alert.now.title,
    }


def _channel_row(channel: ChannelState) -> dict[str, object]:
    return {
        "channel": channel.name,
        "stopped_at": channel.stopped_at,
        "reason": channel.reason,
        "failures": channel.failures,
        "last_sent_at": channel.last_sent_at,
        "waiting": channel.waiting,
        "waiting_since": channel.waiting_since,
    }


def _state_text(latest: Latest | None, now: datetime) -> str:
    if latest is None:
        return "not configured"
    if latest.last_attempt_at is None:
        return "no data collected yet"
    tried = age_text((now - latest.last_attempt_at).total_seconds())
    text = f"{latest.state}, last tried {tried}"
    if latest.age_seconds is not None:
        text = f"{latest.state}, last good value {age_text(latest.age_seconds)}, last tried {tried}"
    if latest.failures:
        text += f", {latest.failures} failed since"
    why = latest.last_error or latest.error
    return text + (f": {one_line(why)}" if why else "")
