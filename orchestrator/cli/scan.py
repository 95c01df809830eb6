"""`once` and `run`: ask the sources, once or for ever."""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from functools import partial

import click

from orchestrator import config as configuration
from orchestrator import log
from orchestrator.cli.main import Options
from orchestrator.cli.opening import project as open_project
from orchestrator.context import format_for_context
from orchestrator.errors import StoreError
from orchestrator.ledger import setup as setups
from orchestrator.redaction import redact
from orchestrator.store import lease

with log.without_rich():
    from orchestrator import app, scan, upkeep
    from orchestrator.alerts import channels as notifiers
    from orchestrator.alerts import deliver, watch
    from orchestrator.alerts.message import Channel
    from orchestrator.alerts.watch import Watch
    from orchestrator.app import Project
    from orchestrator.collectors.fetch import Client
    from orchestrator.recording import Rules
    from orchestrator.writer import Writer

SILENT = 3


@click.command()
@click.option("--strict", is_flag=True, help=f"Exit {SILENT} when a configured source gave no good value.")
@click.pass_obj
def once(options: Options, *, strict: bool) -> int:
    """Ask every source once, store the answers, and print the lines for an agent's prompt.

    Beside a running daemon it may be used too.
    """
    project = _opened(options, logging.WARNING)
    for warning in project.config.warnings:
        click.echo(f"warning: {warning}", err=True)
    is_new = not project.database.path.exists()
    all_good = scan.run(_once(project))
    click.echo(format_for_context(project.database, partial(setups.of_config, project.config), None, datetime.now(UTC)))
    project.database.close()
    if is_new:
        click.echo(f"Made {project.database.path}; `orchestrator status` says how things stand there.", err=True)
    _say_what_next(project)
    return SILENT if strict and not all_good else 0


@click.command()
@click.pass_obj
def run(options: Options) -> None:
    """Ask every source again and again until SIGTERM or SIGINT (Ctrl-C); one daemon a file."""
    from orchestrator.daemon import Daemon

    # Until the loop hears signals itself there is nothing to end but this process.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os._exit(0))
    project = _opened(options, logging.INFO)

    async def main() -> None:
        await Daemon(project, os.environ).run()

    scan.run(main())


def _opened(options: Options, level: int) -> Project:
    project = open_project(options)
    app.make_room(project, os.environ, configuration.working_directory())
    secrets = [value for value in vars(project.config.secrets).values() if value]
    if options.verbose < 0:
        level = logging.ERROR
    log.configure(
        max(level - 10 * max(options.verbose, 0), logging.DEBUG), partial(redact, secrets=secrets), os.environ
    )
    return project


async def _once(project: Project) -> bool:
    """Do one scan, deliver what is due, do the upkeep that is due, and return whether every source gave a good value.

    Raises the StoreError that kept a row from being stored.
    """
    watched, channels = watch.of_config(project.config), notifiers.configured(project.config)
    writer = Writer(project.database, watched)
    try:
        entering = asyncio.ensure_future(writer.do(partial(app.enter, project)))
        await asyncio.wait([entering], timeout=1)
        if not entering.done():
            _show("bringing the file up to date")
        setup = await entering
        await writer.do(partial(_enter_watch, project, watched, channels))
        async with Client() as client:
            snapshots, looked = await asyncio.gather(
                scan.scan(scan.asked_sources(project.config), client, writer, now=datetime.now(UTC)),
                scan.look_at_credits(project.config, client, writer, now=datetime.now(UTC)),
            )
            if writer.stored < len(snapshots) + (looked is not None):
                raise writer.fault or StoreError(project.database.path, "a row could not be stored")
            await scan.attempt("drain the spool", upkeep.drain_spool(writer, Rules(lambda: project.config)))
            senders = deliver.senders(project.config, channels, writer, client, lambda: datetime.now(UTC))
            await asyncio.gather(*(scan.attempt(f"deliver {one.channel.name}", one.send_due()) for one in senders))
        try:
            await upkeep.close_days(writer, setup, said=_progress(), now=datetime.now(UTC))
            await upkeep.prune_when_due(writer, project.config, setup, now=datetime.now(UTC))
        except StoreError as error:
            # The rows are stored, which is what counts; the next scan does the rest.
            click.echo(f"warning: {error}", err=True)
    finally:
        _show("")
        writer.close()
    return all(map(scan.is_good, snapshots)) and (looked is None or looked.failure is None)


def _enter_watch(project: Project, watched: Watch, channels: Sequence[Channel]) -> None:
    """Write into the file what is watched; beside a daemon nothing is taken back that it knows of and we may not."""
    now = datetime.now(UTC)
    alone = lease.owner(project.database, now=now) is None
    with project.database.write() as connection:
        watch.enter(connection, watched, notifiers.fingerprints(channels), withdraw=alone, now=now)


def _progress() -> Callable[[str, date], None]:
    """Return what shows how far the closing of days is, from the third handful on: years of them take a while."""
    steps = 0

    def said(source: str, day: date) -> None:
        nonlocal steps
        steps += 1
        if steps > 2:
            _show(f"closing days: {source} {day}")

    return said


def _show(text: str) -> None:
    """Show a line on a terminal that the next one takes the place of."""
    if sys.stderr.isatty():
        click.echo(f"\r{text:<60}" if text else f"\r{'':<60}\r", err=True, nl=False)


def _say_what_next(project: Project) -> None:
    if not configuration.sources(project.config):
        click.echo("No source is configured: `orchestrator init` writes a config.toml to fill in.", err=True)
    elif project.config.path is None:
        click.echo(
            "There is no config.toml yet: `orchestrator init` writes one; its xmr_wallet turns mining on.", err=True
        )
