"""`config show|check|set`: what is in force and where it comes from, whether it can be right, and what the program may change."""

import json
import os
import sys
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import click

from orchestrator.cli.main import Options
from orchestrator.cli.output import plain, print_json
from orchestrator.config import Config, ensure_directory, find_database, load, working_directory, write_override
from orchestrator.config.layers import all_keys, dotted
from orchestrator.config.overrides import change, raw_from_text
from orchestrator.config.place import is_there, shown
from orchestrator.config.template import plain_value
from orchestrator.text import one_line

Row = tuple[str, object, str]


@click.group()
def config() -> None:
    """Show, check and change the configuration."""


@config.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def show(options: Options, *, as_json: bool) -> None:
    """Print every setting with its value and where it comes from; secrets only as set or not."""
    found = _load(options)
    rows = _rows(found)
    if as_json:
        settings = [{"key": key, "value": value, "origin": origin} for key, value, origin in rows]
        files = {"path": _text(found.path), "overrides": _text(found.overrides) if is_there(found.overrides) else None}
        print_json({**files, "settings": settings, "warnings": found.warnings}, datetime.now(UTC))
        return
    _print_table([(key, _shown(value), origin) for key, value, origin in rows])
    _warn(found)


@config.command()
@click.pass_obj
def check(options: Options) -> None:
    """Read everything that configures the program; print `ok`, or each problem with its line and exit 78."""
    found = _load(options)
    files = [shown(path) for path in (found.path, found.overrides) if path and is_there(path)]
    click.echo(f"ok: {', '.join(files)}" if files else "ok: there is no file, defaults and environment are in force")
    _warn(found)


@config.command(name="set", context_settings={"ignore_unknown_options": True})
@click.argument("key")
@click.argument("value", required=False)
@click.option("--unset", is_flag=True, help="Take the key out of overrides.toml again.")
@click.pass_obj
def set_(options: Options, key: str, value: str | None, *, unset: bool) -> None:
    """Change a setting in overrides.toml beside the database, which is stronger than config.toml.

    KEY is dotted as in `config show`. VALUE is a number or words as they are, an array or a table in TOML or JSON. A running daemon
    reads it at its next start. Actions, the web, the database and every URL belong in config.toml alone.
    """
    if unset == (value is not None):
        said = "Give a value, or --unset."
        raise click.UsageError(said)
    if value is None:
        _unset(options, key)
        return
    found = _load(options)
    ensure_directory(found.database, os.environ, working_directory())
    write_override(found, key, raw_from_text(key, value))
    click.echo(f"{one_line(key)} is set in {shown(found.overrides)}")
    origin = _load(options).origin(key)
    if origin.startswith(("environment ", "credential ")):
        click.echo(f"warning: {origin} is stronger, and stays in force", err=True)


def _unset(options: Options, key: str) -> None:
    # Without reading the configuration, so that a wrong value can be taken out which keeps everything else from starting.
    path = find_database(options.db, options.config_path, os.environ, working_directory()).parent / "overrides.toml"
    if not change(path, key, None):
        said = f"{one_line(key)} is not in {shown(path)}"
        raise click.ClickException(said)
    click.echo(f"{one_line(key)} is taken out of {shown(path)}")


def _load(options: Options) -> Config:
    return load(config_path=options.config_path, db=options.db, environ=os.environ, cwd=working_directory())


def _rows(found: Config) -> list[Row]:
    """Return key, value and origin of every setting, then of every secret: `set (environment)`, or None."""
    rows: list[Row] = []
    for key in all_keys():
        value: object = found
        for name in key.split("."):
            value = getattr(value, name)
        rows.append((key, plain(plain_value(value)), found.origin(key)))
    rows[0] = ("orchestrator.database", str(found.database), found.origin("orchestrator.database"))
    for model, price in found.prices.items():
        key = dotted(("prices", model))
        rows.append((key, plain(plain_value(price)), found.origin(key)))
    for name in vars(found.secrets):
        origin = found.origin(name)
        rows.append((name.upper(), f"set ({origin.split()[0]})" if found.is_set(name) else None, origin))
    return rows


def _shown(value: object) -> str:
    """Return a value in one line of a table."""
    if value is None:
        return "none"
    if isinstance(value, str):
        return one_line(value, limit=4096)
    return str(value) if isinstance(value, int | float | Decimal) and not isinstance(value, bool) else json.dumps(value)


def _print_table(rows: list[tuple[str, str, str]]) -> None:
    if sys.stdout.isatty():
        from rich.console import Console
        from rich.table import Table

        table = Table("key", "value", "origin", box=None, header_style="bold", pad_edge=False)
        for row in rows:
            table.add_row(*row)
        Console(markup=False, highlight=False, emoji=False).print(table)
        return
    width = max(len(key) for key, _, _ in rows)
    for key, value, origin in rows:
        click.echo(f"{key.ljust(width)}  {value.ljust(32)}  {origin}")


def _warn(found: Config) -> None:
    for warning in found.warnings:
        click.echo(f"warning: {warning}", err=True)


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)
