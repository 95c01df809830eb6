"""How far something is that takes a while: one line on a terminal, nothing elsewhere."""

import sys

import click


def show(text: str) -> None:
    """Show a line that the next one takes the place of; an empty one takes it away."""
    if sys.stderr.isatty():
        click.echo(f"\r{text:<60}" if text else f"\r{'':<60}\r", err=True, nl=False)
