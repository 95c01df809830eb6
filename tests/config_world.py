"""A machine for the configuration to be read on: files, credentials and an environment of its own."""

from pathlib import Path

import pytest

from orchestrator.config import Config, load
from orchestrator.errors import ConfigError

WALLET = "4" + "A" * 94


class World:
    """A machine with one user: a home, a working directory, a config.toml, credentials and an environment."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.cwd = root / "work"
        self.cwd.mkdir()
        self.path = root / "etc" / "config.toml"
        self.path.parent.mkdir()
        self.credentials = root / "credentials"
        self.credentials.mkdir()
        self.environ = {"HOME": str(root / "home"), "ORCHESTRATOR_DB": str(root / "orchestrator.db")}
        self.overrides = root / "overrides.toml"

    def load(self, toml: str | bytes | None = None, **environ: str) -> Config:
        if toml is not None:
            self.path.write_bytes(toml if isinstance(toml, bytes) else toml.encode())
        path = self.path if self.path.exists() else None
        return load(config_path=path, environ=self.environ | environ, cwd=self.cwd)

    def problems(self, toml: str | bytes | None = None, **environ: str) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            self.load(toml, **environ)
        assert caught.value.exit_code == 78
        assert all(len(problem.splitlines()) == 1 for problem in caught.value.problems)
        return [problem.replace(f"{self.root}/", "") for problem in caught.value.problems]

    def problem(self, toml: str | bytes | None = None, **environ: str) -> str:
        (problem,) = self.problems(toml, **environ)
        return problem


def value_of(config: Config, key: str) -> object:
    """Return what stands under a dotted key."""
    found: object = config
    for part in key.split("."):
        found = getattr(found, part)
    return found
