"""`status`: a line a source, and who watches the file."""

from datetime import UTC, datetime

import click

from orchestrator.cli.main import Options
from orchestrator.cli.opening import for_reading
from orchestrator.cli.output import print_json
from orchestrator.errors import FileMissing
from orchestrator.ledger.snapshots import NAMES, Latest
from orchestrator.periods import age_text
from orchestrator.reports.latest import latest_by_source
from orchestrator.store import lease
from orchestrator.text import one_line


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON with the names of the API.")
@click.pass_obj
def status(options: Options, *, as_json: bool) -> None:
    """Show each source's last good value, its age and what was tried since, and whether a daemon runs."""
    database, configured = for_reading(options)
    now = datetime.now(UTC)
    sources = latest_by_source(database, configured, now)
    try:
        owner = lease.owner(database, now=now)
    except FileMissing:
        owner = None
    if as_json:
        print_json({"database": str(database.path), "daemon": owner, "sources": sources}, now)
        return
    for source, latest in sources.items():
        click.echo(f"{NAMES[source]}: {_state_text(latest, now)}")
    click.echo(f"Daemon: {owner or 'not running'}")
    click.echo(f"File: {database.path}{'' if database.path.exists() else ' (not made yet)'}")


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
