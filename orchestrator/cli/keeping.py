"""`prune` and `backup`: what is done to the file as a whole."""

import sys
from datetime import UTC, datetime
from pathlib import Path

import click

from orchestrator import app, scan, upkeep
from orchestrator.cli.main import Options
from orchestrator.cli.opening import for_reading
from orchestrator.cli.opening import project as open_project
from orchestrator.ledger import setup as setups
from orchestrator.store import backup as backups
from orchestrator.writer import Writer


@click.command()
@click.option("--dry-run", is_flag=True, help="Only say how much would go.")
@click.pass_obj
def prune(options: Options, *, dry_run: bool) -> None:
    """Remove snapshots, AI calls and alerts that are older than configured. Days keep their totals for ever.

    The daemon and `once` do it by themselves once a day. How long they are kept is set by revenue.retention_days,
    retention.calls_days and retention.alerts_days.
    """
    project, now = open_project(options), datetime.now(UTC)
    if dry_run:
        with project.database.read() as connection:
            setup = setups.read(connection, lambda: setups.of_config(project.config))
        click.echo(f"{_counts(upkeep.prunable(project.database, project.config, setup, now))} would be removed")
        return
    click.echo(f"{_counts(scan.run(_prune(project, now)))} removed")


async def _prune(project: app.Project, now: datetime) -> dict[str, int]:
    writer = Writer(project.database)
    try:
        setup = await writer.do(lambda: app.enter(project))
        await upkeep.close_days(writer, setup, now=now)
        return await upkeep.prune(writer, project.config, setup, now=now)
    finally:
        writer.close()


def _counts(rows: dict[str, int]) -> str:
    return ", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in rows.items())


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.pass_obj
def backup(options: Options, file: Path) -> None:
    """Copy the database to FILE, where nothing may be yet, while others use it; the copy is checked before it counts."""
    database, _ = for_reading(options)
    with click.progressbar(length=0, label="copying", file=sys.stderr, hidden=not sys.stderr.isatty()) as bar:

        def progress(done: int, total: int) -> None:
            bar.length = total
            bar.update(done - bar.pos)

        backups.backup(database, file, progress=progress)
    click.echo(f"{database.path} copied to {file} ({file.stat().st_size / 1024 / 1024:.1f} MB), and found sound")
