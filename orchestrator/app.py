"""The composition root: configuration → database, and what the file keeps of the configuration."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from orchestrator import config as configuration
from orchestrator.config import Config
from orchestrator.config.place import ensure_directory
from orchestrator.errors import ConfigError
from orchestrator.ledger import entries, local_days
from orchestrator.ledger import setup as setups
from orchestrator.ledger.setup import Setup
from orchestrator.store import meta
from orchestrator.store.database import Connection, Database


@dataclass(frozen=True)
class Project:
    """A configuration and the database that it names, not opened yet."""

    config: Config
    database: Database


def load(config_path: Path | None, db: str | None, environ: Mapping[str, str], cwd: Path) -> Project:
    """Return the project that the arguments, the environment and the files describe; raises ConfigError with every problem."""
    config = configuration.load(config_path=config_path, db=db, environ=environ, cwd=cwd)
    return Project(config, Database(config.database))


def make_room(project: Project, environ: Mapping[str, str], cwd: Path) -> None:
    """Make the folder for the file where it is ours to make: the user's state directory."""
    ensure_directory(project.database.path, environ, cwd)


def enter(project: Project) -> Setup:
    """Write what is configured into the file, making it if need be, and return what is in force.

    A zone that is configured explicitly and differs from the zone of the days that the file keeps raises ConfigError; one that
    is not gives way to the file's.
    """
    with project.database.write() as connection:
        setup = replace(setups.of_config(project.config), timezone=zone_in_force(project, connection))
        setups.write(connection, setup)
        local_days.remember_zone(connection, setup.tz)
        local_days.give_days(connection, setup.tz)
        entries.share_out(connection, setup.tz)
        return setup


def zone_in_force(project: Project, connection: Connection) -> str:
    """Return the name of the zone of the file's days, or the configured one where there are none yet.

    Raises ConfigError when another one is configured explicitly.
    """
    configured = project.config.orchestrator.timezone
    kept = meta.get(connection, "timezone")
    if kept is None or kept == configured or not _has_days(connection):
        return configured
    if project.config.is_set("orchestrator.timezone"):
        raise ConfigError((_other_zone(configured, kept, project.database.path),))
    return kept


def _has_days(connection: Connection) -> bool:
    return bool(
        connection.execute(
            """
            SELECT EXISTS (SELECT 1 FROM daily_growth)
                OR EXISTS (SELECT 1 FROM daily_totals)
                OR EXISTS (SELECT 1 FROM ai_calls WHERE day IS NOT NULL)
                OR EXISTS (SELECT 1 FROM daily_operating_costs)
                OR EXISTS (SELECT 1 FROM revenue WHERE day IS NOT NULL)
            """
        ).get
    )


def _other_zone(configured: str, kept: str, path: Path) -> str:
    from shlex import quote

    return (
        f"orchestrator.timezone: {configured} is configured, but the days in {path} are those of {kept}; "
        f"configure that, or run `orchestrator --db {quote(str(path))} rebuild --timezone {configured}`"
    )
