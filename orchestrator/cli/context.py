"""`context`: the lines for an agent's prompt."""

from datetime import UTC, datetime

import click

from orchestrator.cli.main import Options
from orchestrator.cli.opening import for_reading
from orchestrator.context import format_for_context
from orchestrator.errors import FileMissing, StoreError


@click.command()
@click.option(
    "--max-chars", type=click.IntRange(0), help="Leave out the least important lines to stay within so many characters."
)
@click.pass_obj
def context(options: Options, max_chars: int | None) -> int:
    """Print the lines for an agent's prompt: what is earned, spent and left, with the age of each figure.

    Exit 1 when the file cannot be read; the lines say why.
    """
    database, configured = for_reading(options)
    click.echo(format_for_context(database, configured, max_chars, datetime.now(UTC)))
    try:
        with database.read():
            return 0
    except FileMissing:
        return 0
    except StoreError:
        return 1
