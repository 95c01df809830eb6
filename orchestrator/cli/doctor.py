"""`doctor`: what is wrong, and what to do about it."""

from datetime import UTC, datetime

import click

from orchestrator import doctor as examination
from orchestrator import scan
from orchestrator.cli.main import Options
from orchestrator.cli.opening import project as open_project
from orchestrator.cli.output import print_json
from orchestrator.doctor import Finding


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def doctor(options: Options, *, as_json: bool) -> int:
    """Check configuration, file, mode, lease, clock and free disk, and ask each source once. Exit 1 if something failed.

    Nothing is changed, nothing is stored.
    """
    project, now = open_project(options), datetime.now(UTC)
    found: list[Finding] = []
    for finding in examination.findings(project, now):
        found.append(finding)
        _say(finding, quiet=as_json)
    for finding in scan.run(examination.source_findings(project, now)):
        found.append(finding)
        _say(finding, quiet=as_json)
    project.database.close()
    if as_json:
        print_json(found, now)
    return 1 if any(finding.state == "failed" for finding in found) else 0


def _say(finding: Finding, *, quiet: bool) -> None:
    if not quiet:
        click.echo(f"{finding.state:<8} {finding.subject}: {finding.text}")
