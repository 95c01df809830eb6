"""`rebuild`: the sums of days made anew from their rows, in the same zone or in another."""

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import chain
from zoneinfo import ZoneInfo

import click

from orchestrator import app
from orchestrator.cli import progress
from orchestrator.cli.main import Options
from orchestrator.cli.opening import project as open_project
from orchestrator.config import checks
from orchestrator.ledger import growth_days, growth_rollups, pruning, rollups
from orchestrator.ledger import setup as setups
from orchestrator.periods import zone
from orchestrator.store.database import Connection

# So few in a transaction that a call which is recorded meanwhile does not wait for long.
_ROWS_AT_ONCE = 1_000


@click.command()
@click.option(
    "--timezone", metavar="ZONE", help="Whose days they shall be, like Europe/Vienna; the file's own unless given."
)
@click.pass_obj
def rebuild(options: Options, timezone: str | None) -> None:
    """Make the sums of days anew from calls, entries and snapshots, where `doctor --verify` finds a difference.

    With --timezone the days become those of another zone. Days whose rows were pruned stay as they are. A daemon may run meanwhile.
    """
    if timezone is not None and (problem := checks.time_zone(timezone)):
        raise click.BadParameter(problem, param_hint="--timezone")
    project, now = open_project(options), datetime.now(UTC)
    with project.database.read() as connection:
        setup = setups.read(connection, lambda: setups.of_config(project.config))
        pruned = list(_pruned(connection, setup.tz))
    # Without a zone of its own it refuses, like every other command, to go on in another one than the configured.
    tz = zone(timezone) if timezone is not None else app.enter(project).tz
    for step in chain(
        growth_rollups.rebuild(project.database, tz, setup.interval_seconds, now),
        rollups.rebuild(project.database, tz, batch=_ROWS_AT_ONCE, begun=True),
    ):
        progress.show(f"rebuilding {step.what}: {step.done} of {step.total}")
    progress.show("")
    click.echo(f"The sums of days are made anew, in {tz.key}.")
    whose = "" if setup.timezone == tz.key else f", days of {setup.timezone}"
    for what, day in pruned:
        click.echo(f"{what} before {day} were pruned: those days stay as they were{whose}.")
    configured = project.config.orchestrator.timezone
    if project.config.is_set("orchestrator.timezone") and configured != tz.key:
        click.echo(
            f"warning: orchestrator.timezone is {configured}: set it to {tz.key}, or the daemon refuses this file",
            err=True,
        )


def _pruned(connection: Connection, tz: ZoneInfo) -> Iterator[tuple[str, object]]:
    """Yield what was pruned, and the first day that was not."""
    if calls_from := pruning.pruned_before(connection):
        yield "AI calls", calls_from
    if snapshots_from := growth_days.first_kept_day(connection, tz):
        yield "Snapshots", snapshots_from
