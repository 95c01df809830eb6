"""Servers that play OpenRouter, Discord, Slack and a mail server, and an environment in which all of them are configured."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loopback import Asked, Behaviour, Loopback, reply
from mailboxes import Post, posting
from processes import WALLET, environment
from samples import payload

API_KEY = "sk-or-v1-" + "0123456789abcdef" * 4
MANAGEMENT_KEY = "sk-or-v1-" + "fedcba9876543210" * 4
DISCORD_TOKEN = "aBcDeFgHiJkLmNoPqRsTuVwXyZ0123456789-_aBcDeFgHiJkLmNoPqRsTuVwXyZ0123"
BOT_TOKEN = "MTE2MDAwMDAwMDAwMDAwMDAwMA.GaBcDe.aBcDeFgHiJkLmNoPqRsTuVwXyZ0123456789ab"
SLACK_TOKEN = "XXXXhunter2XXXXXXXXXXXXX"
PASSWORD = "correct-horse-battery-staple"
OPERATOR = "82198898841029460"

KEY = "/api/v1/key"
WEBHOOK = f"/api/webhooks/1160000000000000000/{DISCORD_TOKEN}"
SLACK = f"/services/T0001/B0001/{SLACK_TOKEN}"
CONVERSATION = "/api/v10/users/@me/channels"
DIRECT = "/api/v10/channels/319674150115610528/messages"


def left(usd: float | None, **more: Any) -> Behaviour:
    """Answer as OpenRouter does for a key with so much left of its limit; None: it has no limit."""
    data = {"limit": None if usd is None else 100, "limit_remaining": usd, "usage": 12.5, "usage_daily": 1.2}
    return reply({"data": data | more})


@dataclass
class Services:
    """What everyone said: the server that plays OpenRouter, Discord and Slack, and the mail server."""

    server: Loopback
    post: Post
    mail_port: int

    def told(self, path: str) -> list[Any]:
        return [json.loads(asked.body) for asked in self.server.asked_for(path)]

    def asked(self, path: str) -> list[Asked]:
        return self.server.asked_for(path)

    def environment(self, tmp_path: Path, /, **settings: object) -> dict[str, str]:
        """Return an environment with a source, a key, and a Discord webhook, direct messages, Slack and mail."""
        return environment(tmp_path, **(_settings(self) | settings))

    def quiet(self, tmp_path: Path, /, **settings: object) -> dict[str, str]:
        """Return an environment with a key and a Discord webhook, and nothing else."""
        only = ("OPENROUTER_API_KEY", "ORCHESTRATOR_CREDITS__OPENROUTER_URL", "DISCORD_WEBHOOK_URL")
        kept = {name: value for name, value in _settings(self).items() if name in only}
        return environment(tmp_path, **(kept | {"ORCHESTRATOR_REVENUE__MLX_URL": ""} | settings))


@contextmanager
def all_services() -> Iterator[Services]:
    """Give services that all answer well, with $16.63 left."""
    post = Post(login=("orchestrator", PASSWORD))
    with Loopback() as server, posting(post, auth_require_tls=False) as port:
        server.put(f"/pool/miner/{WALLET}/stats", payload("supportxmr-miner-stats.json"))
        server.put("/price/simple/price", reply({"monero": {"usd": 312.5}}))
        server.put("/health", payload("mlx-health.json"))
        server.put(KEY, left(16.63))
        server.put(WEBHOOK, payload("discord-webhook-200.json"))
        server.put(CONVERSATION, payload("discord-dm-channel.json"))
        server.put(DIRECT, payload("discord-webhook-200.json"))
        server.put(SLACK, payload("slack-200.txt"))
        yield Services(server, post, port)


def _settings(services: Services) -> dict[str, object]:
    url = services.server.url
    return {
        "ORCHESTRATOR_REVENUE__MLX_URL": url,
        "ORCHESTRATOR_CREDITS__OPENROUTER_URL": f"{url}/api/v1",
        "OPENROUTER_API_KEY": API_KEY,
        "DISCORD_WEBHOOK_URL": f"{url}{WEBHOOK}",
        "ORCHESTRATOR_ALERTS__DISCORD__API_URL": f"{url}/api/v10",
        "DISCORD_BOT_TOKEN": BOT_TOKEN,
        "DISCORD_OPERATOR_USER_ID": OPERATOR,
        "SLACK_WEBHOOK_URL": f"{url}{SLACK}",
        "ORCHESTRATOR_ALERTS__EMAIL__SMTP_HOST": "127.0.0.1",
        "ORCHESTRATOR_ALERTS__EMAIL__SMTP_PORT": services.mail_port,
        "ORCHESTRATOR_ALERTS__EMAIL__SECURITY": "none",
        "ORCHESTRATOR_ALERTS__EMAIL__USERNAME": "orchestrator",
        "ORCHESTRATOR_ALERTS__EMAIL__SENDER": "orchestrator@example.org",
        "AI_BUDGET_ALERT_EMAILS": "ops@example.org,boss@example.org",
        "SMTP_PASSWORD": PASSWORD,
    }
