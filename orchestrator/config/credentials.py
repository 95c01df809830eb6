"""Keys, passwords and webhooks: from the environment, else from `$CREDENTIALS_DIRECTORY/<name in lower case>`, never from a file of ours.

Nothing here repeats a value, not even in a message that says why it cannot be right.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path

from orchestrator.config import checks
from orchestrator.config.forms import Place
from orchestrator.config.place import read_text
from orchestrator.errors import ConfigError


@dataclass(frozen=True, repr=False)
class Secrets:
    """What the program may know and never show. None: not given."""

    openrouter_api_key: str | None = field(default=None, metadata={"check": checks.key})
    openrouter_management_key: str | None = field(default=None, metadata={"check": checks.key})
    coingecko_api_key: str | None = field(default=None, metadata={"check": checks.key})
    discord_webhook_url: str | None = field(default=None, metadata={"check": checks.web_address})
    discord_bot_token: str | None = field(default=None, metadata={"check": checks.key})
    slack_webhook_url: str | None = field(default=None, metadata={"check": checks.web_address})
    smtp_password: str | None = field(default=None, metadata={"check": checks.secret})
    orchestrator_web_token: str | None = field(default=None, metadata={"check": checks.key})

    def __repr__(self) -> str:
        given = [f"{name}=***" for name in SECRET_NAMES if getattr(self, name) is not None]
        return f"Secrets({', '.join(given)})"


SECRET_NAMES = tuple(f.name for f in fields(Secrets))

_CHECKS: Mapping[str, Callable[[str], str]] = {f.name: f.metadata["check"] for f in fields(Secrets)}
# What people call a secret in a file, by the table that they would look for it in.
_OTHER_NAMES = {
    ("credits", "api_key"): "openrouter_api_key",
    ("credits", "management_key"): "openrouter_management_key",
    ("revenue", "api_key"): "coingecko_api_key",
    ("discord", "webhook_url"): "discord_webhook_url",
    ("discord", "bot_token"): "discord_bot_token",
    ("discord", "token"): "discord_bot_token",
    ("slack", "webhook_url"): "slack_webhook_url",
    ("email", "password"): "smtp_password",
    ("web", "token"): "orchestrator_web_token",
    ("web", "web_token"): "orchestrator_web_token",
}
_LIKE_A_SECRET = re.compile(r"secret|token|passw|api_?key|webhook", re.IGNORECASE)


def given(name: str, environ: Mapping[str, str]) -> tuple[str, str] | None:
    """Return the text given under a name in lower case and its origin, or None; raises ConfigError for a file that cannot be read."""
    if said := environ.get(name.upper()):
        return said, f"environment {name.upper()}"
    path = Path(environ.get("CREDENTIALS_DIRECTORY", ""), name)
    if not path.is_absolute() or not _is_given(path):
        return None
    # Editors and `echo` end a file with a line break that is no part of the key.
    said = read_text(path).rstrip("\r\n")
    return (said, f"credential {name}") if said else None


def _is_given(path: Path) -> bool:
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        # It is there, and this user may not look: reading it says so.
        return True
    return True


def read_secrets(environ: Mapping[str, str]) -> tuple[Secrets, dict[str, str], list[str]]:
    """Return the secrets, the origin of each by name, and what is wrong with them."""
    values: dict[str, str] = {}
    origins: dict[str, str] = {}
    problems: list[str] = []
    for name in SECRET_NAMES:
        try:
            found = given(name, environ)
        except ConfigError as error:
            problems.extend(error.problems)
            continue
        if not found:
            continue
        if fault := _CHECKS[name](found[0]):
            problems.append(f"{found[1]}: {fault}")
        values[name], origins[name] = found
    return Secrets(**values), origins, problems


def belongs_elsewhere(place: Place, known: Sequence[str]) -> str:
    """Return where the secret belongs that somebody wrote into a file under an unknown key, or "" when it does not look like one."""
    *tables, name = [str(part).lower() for part in place]
    secret = name if name in SECRET_NAMES else _OTHER_NAMES.get((tables[-1] if tables else "", name))
    if secret:
        return f"is a secret, which is not read from a file like this: set {secret.upper()} in the environment, or the credential {secret}"
    if _LIKE_A_SECRET.search(name) and not checks.did_you_mean(name, known):
        return "looks like a secret, and secrets are read from the environment and from credentials only"
    return ""
