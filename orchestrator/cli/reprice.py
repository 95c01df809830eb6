"""`reprice`: what calls cost, computed anew at the prices of their time."""

from datetime import UTC, datetime

import click

from orchestrator.cli import progress
from orchestrator.cli.main import Options
from orchestrator.cli.opening import project as open_project
from orchestrator.cli.output import print_json
from orchestrator.ledger import pruning
from orchestrator.ledger import setup as setups
from orchestrator.ledger.setup import Setup
from orchestrator.money import usd_from_nano, usd_text
from orchestrator.periods import day_of, day_start
from orchestrator.recording import Rules
from orchestrator.recording.repricing import Repriced
from orchestrator.recording.repricing import reprice as repricing
from orchestrator.reports import window as windows
from orchestrator.text import one_line


@click.command()
@click.option("--dry-run", is_flag=True, help="Only say what would change.")
@click.option("--model", help="Only calls of this model.")
@click.option("--since", metavar="TIME", help="Only calls made from this day or time on, in the file's zone.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def reprice(options: Options, *, dry_run: bool, model: str | None, since: str | None, as_json: bool) -> None:
    """Set the cost of calls anew whose cost was computed, or is not known, at the price in force when each was made.

    What a provider reported and what the caller gave stays, and a cost that is known is never replaced by an unknown one.
    """
    project, now = open_project(options), datetime.now(UTC)
    with project.database.read() as connection:
        setup = setups.read(connection, lambda: setups.of_config(project.config))
        mark = pruning.pruned_before(connection)
    start = _start(since, setup)
    done = Repriced()
    prices = Rules(lambda: project.config).prices()
    for done in repricing(project.database, prices, model=model, since=start, dry_run=dry_run):
        progress.show(f"repricing: {100 * done.done // max(done.total, 1)} %, {done.changed} changed")
    progress.show("")
    if as_json:
        print_json(_record(done), now)
        return
    click.echo(_text(done, dry_run=dry_run))
    if mark and (start is None or day_of(start, setup.tz).isoformat() < mark):
        click.echo(f"Calls before {mark} were pruned: what they cost stays as it is.")


def _start(since: str | None, setup: Setup) -> datetime | None:
    if since is None:
        return None
    try:
        moment = windows.read_moment(since, setup.tz)
    except ValueError as error:
        raise click.UsageError(f"--since: {error}.") from error  # noqa: EM102 - click's own kind of error
    return moment if isinstance(moment, datetime) else day_start(moment, setup.tz)


def _record(done: Repriced) -> dict[str, object]:
    return {
        "looked_at": done.looked_at,
        "changed": done.changed,
        "found": done.found,
        "unknown": done.unknown,
        "before_usd": usd_from_nano(done.before_nano),
        "after_usd": usd_from_nano(done.after_nano),
    }


def _text(done: Repriced, *, dry_run: bool) -> str:
    verb = "would change" if dry_run else "changed"
    text = f"{done.changed} of {done.looked_at} calls {verb}"
    if done.changed:
        before, after = (usd_text(usd_from_nano(nano)) for nano in (done.before_nano, done.after_nano))
        text += f": {before} before, {after} after"
    if done.found:
        text += f"; {done.found} of them had no known cost"
    if done.unknown:
        why = f": {one_line(done.problem)}" if done.unknown == 1 and done.problem else ""
        why = why or (f", the last one: {one_line(done.problem)}" if done.problem else "")
        text += f"\n{done.unknown} stay unknown{why}"
    return text
