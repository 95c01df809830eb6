"""What a command opens: the whole project, or for reading only the file and, if it has to be asked, the configuration."""

import os
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from orchestrator.cli.main import Options
from orchestrator.config.place import find_database, working_directory
from orchestrator.errors import FileMissing
from orchestrator.ledger import setup as setups
from orchestrator.ledger.setup import Setup
from orchestrator.store.database import Database

if TYPE_CHECKING:
    from orchestrator.app import Project


def project(options: Options) -> "Project":
    """Return the project that the options, the environment and the files describe; raises ConfigError with every problem."""
    from orchestrator import app

    return app.load(options.config_path, options.db, os.environ, working_directory())


def for_reading(options: Options) -> tuple[Database, Callable[[], Setup]]:
    """Return the file, and what tells the configuration where the file does not: it is costly and seldom asked."""

    def configured() -> Setup:
        return setups.of_config(project(options).config)

    return Database(find_database(options.db, options.config_path, os.environ, working_directory())), configured


def for_report(options: Options) -> tuple[Database, Callable[[], Setup]]:
    """Return what `for_reading` does; raises ConfigError when another zone is configured than that of the days in the file."""
    from orchestrator import app

    opened = project(options)
    with suppress(FileMissing), opened.database.read() as connection:
        app.zone_in_force(opened, connection)
    return opened.database, lambda: setups.of_config(opened.config)
