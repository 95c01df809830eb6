"""config.toml, overrides.toml, environment and credentials, read into one frozen `Config`, with all problems at once.

Where the files lie is light to ask (`place`); everything else is loaded on first use, because an agent's process would feel msgspec.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from orchestrator.config.place import ensure_directory, find_config_file, find_database, working_directory

if TYPE_CHECKING:
    from orchestrator.config.credentials import Secrets
    from orchestrator.config.loading import load
    from orchestrator.config.overrides import write_override
    from orchestrator.config.record import Config, collection_interval_seconds, sources
    from orchestrator.config.template import default_toml

__all__ = [
    "Config",
    "Secrets",
    "collection_interval_seconds",
    "default_toml",
    "ensure_directory",
    "find_config_file",
    "find_database",
    "load",
    "sources",
    "working_directory",
    "write_override",
]

_HOMES = {
    "Config": "record",
    "Secrets": "credentials",
    "collection_interval_seconds": "record",
    "default_toml": "template",
    "load": "loading",
    "sources": "record",
    "write_override": "overrides",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        said = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(said)
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
