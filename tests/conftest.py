"""What holds for every test: nobody's environment, nobody's home, and no clock against a slow machine."""

import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

# A busy machine is no counterexample.
settings.register_profile("house", deadline=None)
settings.load_profile("house")

# What a developer, a CI or systemd may have set, and what would lead a test to a real file, a real key or a real service.
FOREIGN = ("ORCHESTRATOR_", "OPENROUTER_", "COINGECKO_", "DISCORD_", "SLACK_", "SMTP_", "AI_BUDGET_")
FOREIGN_NAMES = (
    "STATE_DIRECTORY",
    "CREDENTIALS_DIRECTORY",
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
    "NO_COLOR",
)


@pytest.fixture(scope="session", autouse=True)
def clean_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Take away what would configure the program, and send the user's folders to a temporary place."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(FOREIGN) or name in FOREIGN_NAMES:
                patch.delenv(name)
        for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME"):
            patch.setenv(name, str(home / name.lower()))
        yield
