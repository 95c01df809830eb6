"""`init`: a new config.toml with every key explained, and what to do next."""

import os
from pathlib import Path

import click

from orchestrator.cli.main import Options
from orchestrator.config.place import absolute, find_config_file, shown, working_directory
from orchestrator.config.template import default_toml
from orchestrator.errors import ConfigError


@click.command()
@click.argument("path", required=False, type=click.Path(path_type=Path))
@click.pass_obj
def init(options: Options, path: Path | None) -> None:
    """Write a commented config.toml to PATH (./config.toml if not given) and say what to do next; never over an existing file."""
    target = absolute(str(path or options.config_path or "config.toml"), working_directory(), os.environ)
    if target.is_dir():
        target /= "config.toml"
    try:
        _write_new(target, default_toml())
    except FileExistsError as error:
        said = f"{shown(target)} exists, and is left as it is"
        raise click.ClickException(said) from error
    except (OSError, ValueError) as error:
        said = f"{shown(target)} cannot be written: {getattr(error, 'strerror', None) or 'it is not a path'}"
        raise click.ClickException(said) from error
    command = "orchestrator" if _is_found(target) else f"orchestrator --config {shown(target)}"
    click.echo(
        f"Wrote {shown(target)}.\n"
        "Next:\n"
        "  1. Put the address of your Monero wallet into xmr_wallet, and the URL of your MLX server into mlx_url if it is another.\n"
        "     Keys and webhooks go into the environment; the file lists their names.\n"
        f"  2. {command} config check\n"
        f"  3. {command} once    collects once and prints what the agent will read\n"
        f"  4. {command} run     goes on doing so"
    )


def _write_new(path: Path, text: str) -> None:
    """Write a file that only its owner can read; raises FileExistsError for anything that is there, a dangling link too."""
    if not path.parent.exists():
        path.parent.mkdir(parents=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            # Whatever the umask, its owner can read it.
            os.fchmod(descriptor, 0o600)
            file.write(text)
    except OSError:
        path.unlink()
        raise


def _is_found(path: Path) -> bool:
    try:
        return find_config_file(None, os.environ, working_directory()) == path
    except ConfigError:
        return False
