"""`doctor`: what is wrong, and what to do about it."""

from collections.abc import Iterator
from datetime import UTC, datetime

import click

from orchestrator import doctor as examination
from orchestrator import scan
from orchestrator.app import Project
from orchestrator.cli.main import Options
from orchestrator.cli.opening import project as open_project
from orchestrator.cli.output import print_json
from orchestrator.doctor import Finding

# So many differences are printed: who sees them needs a rebuild, not the rest.
_SHOWN = 30


@click.command()
@click.option("--verify", is_flag=True, help="Only hold every sum of a day against the rows it is made of.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def doctor(options: Options, *, verify: bool, as_json: bool) -> int:
    """Check configuration, file, mode, lease, clock and free disk, and ask each source once. Exit 1 if something failed.

    With --verify compare the sums of days with calls, entries and snapshots, to the nano-dollar; `orchestrator rebuild` mends
    them. Nothing is changed, nothing is stored.
    """
    project, now = open_project(options), datetime.now(UTC)
    found: list[Finding] = []
    for finding in examination.verified(project, now) if verify else _examined(project, now):
        found.append(finding)
        if not as_json and (not verify or len(found) <= _SHOWN):
            click.echo(f"{finding.state:<8} {finding.subject}: {finding.text}")
    project.database.close()
    if as_json:
        print_json(found, now)
    elif verify and len(found) > _SHOWN:
        click.echo(f"and {len(found) - _SHOWN} more; --json has them all")
    return 1 if any(finding.state == "failed" for finding in found) else 0


def _examined(project: Project, now: datetime) -> Iterator[Finding]:
    yield from examination.findings(project, now)
    yield from scan.run(examination.source_findings(project, now))
