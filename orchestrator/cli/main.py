"""The root of the command line: global options, commands that are imported when they are called, and how errors end a process."""

import os
import sys
import threading
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import NoReturn

import click

from orchestrator.errors import OrchestratorError

# Command → module of orchestrator.cli that defines it under the same name.
COMMANDS = {
    "once": "scan",
    "run": "scan",
    "status": "status",
    "context": "context",
    "trend": "trend",
    "pnl": "pnl",
    "spend": "spend",
    "prune": "keeping",
    "rebuild": "rebuild",
    "backup": "keeping",
    "record": "record",
    "reprice": "reprice",
    "prices": "prices",
    "alerts": "alerts",
    "doctor": "doctor",
    "init": "init",
    "config": "config",
}

INTERRUPTED = 130


@dataclass(frozen=True)
class Options:
    """The global options: a config.toml and a database named by the user, and how much to log (-1 quiet, 0, 1 and more verbose)."""

    config_path: Path | None
    db: str | None
    verbose: int


class _Commands(click.Group):
    """The commands, each imported when it is asked for, so that `context` does not pay for the daemon."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        module = COMMANDS.get(cmd_name)
        if module is None:
            return None
        command: click.Command = getattr(import_module(f"orchestrator.cli.{module}"), cmd_name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            from difflib import get_close_matches

            close = get_close_matches(args[0], COMMANDS, 1)
            meant = f" Did you mean {close[0]!r}?" if close else ""
            raise click.UsageError(f"No such command {args[0]!r}.{meant}", ctx)  # noqa: EM102 - click's own kind of error
        return super().resolve_command(ctx, args)


def _print_version(ctx: click.Context, _param: click.Parameter, value: bool) -> None:  # noqa: FBT001 - click's signature
    if value and not ctx.resilient_parsing:
        from importlib.metadata import version

        click.echo(f"orchestrator {version('orchestrator-daemon')}")
        ctx.exit()


def _named(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    if value == "":
        # As from a variable that is not set: to take another file then would be worse than to stop.
        raise click.BadParameter("a path is due")  # noqa: EM101 - click's own kind of error
    return value


@click.command(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "-c",
    "--config",
    "config_path",
    type=click.Path(path_type=Path),
    help="The config.toml to use instead of the one found.",
)
@click.option("--db", callback=_named, help="The database file to use instead of the configured one.")
@click.option("-v", "--verbose", count=True, help="Log more, to stderr.")
@click.option("-q", "--quiet", is_flag=True, help="Log errors only.")
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Show the version and exit.",
)
@click.pass_context
def cli(ctx: click.Context, config_path: Path | None, db: str | None, *, verbose: int, quiet: bool) -> None:
    """Watch what an AI agent earns, spends and has left.

    Start with `orchestrator init`, then `orchestrator once`.
    """
    ctx.obj = Options(config_path, db, -1 if quiet else verbose)


def main(args: list[str] | None = None) -> NoReturn:
    """Run a command and end the process: 0 done, 1 failed, 2 usage, 78 configuration; what went wrong is on stderr, a line each."""
    _leave(_run(args))


def _run(args: list[str] | None) -> int:
    try:
        returned = cli.main(args, prog_name="orchestrator", standalone_mode=False)
    except click.exceptions.Abort:
        return INTERRUPTED
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except OrchestratorError as error:
        for line in str(error).splitlines():
            click.echo(f"error: {line}", err=True)
        return error.exit_code
    except BrokenPipeError:
        # The reader, `head` say, has seen enough. The interpreter's own flush at exit must not complain again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return returned if isinstance(returned, int) else 0


def _leave(code: int) -> NoReturn:
    sys.stdout.flush()
    sys.stderr.flush()
    others = [one for one in threading.enumerate() if one is not threading.main_thread() and not one.daemon]
    if others:
        # A thread that waits for a name server cannot be stopped, and the interpreter would wait for it.
        os._exit(code)
    sys.exit(code)
