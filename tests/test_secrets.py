"""No secret leaves: everything that a thoroughly failing run produced is searched for each of them.

Every service answers with what it was asked, keys and tokens included, under all kinds of statuses.
"""

import base64
import json
import signal
import socket
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import pytest
from alerting import (
    API_KEY,
    BOT_TOKEN,
    DISCORD_TOKEN,
    MANAGEMENT_KEY,
    PASSWORD,
    SLACK_TOKEN,
    WEBHOOK,
    Services,
    all_services,
)
from alerting import SLACK as SLACK_PATH
from loopback import Asked, Behaviour, Loopback, reply
from processes import daemon, ended, finished, rows, until

from orchestrator.config.credentials import SECRET_NAMES

pytestmark = pytest.mark.slow

COINGECKO_KEY = "CG-notForAnyonesEyes0123456"
WEB_TOKEN = "web-token-that-opens-the-dashboard"
SECRETS = {
    "openrouter_api_key": API_KEY,
    "openrouter_management_key": MANAGEMENT_KEY,
    "coingecko_api_key": COINGECKO_KEY,
    "discord_webhook_url": DISCORD_TOKEN,
    "discord_bot_token": BOT_TOKEN,
    "slack_webhook_url": SLACK_TOKEN,
    "smtp_password": PASSWORD,
    "orchestrator_web_token": WEB_TOKEN,
}
COMMANDS = [
    ["status"], ["status", "--json"], ["context"], ["trend", "--json"], ["doctor"], ["doctor", "--json"], ["alerts", "list"],
    ["alerts", "list", "--json"], ["alerts", "test"], ["config", "show"], ["config", "check"], ["backup", "copy.db"],
    ["-vv", "once", "--strict"], ["prune"],
]  # fmt: skip


def echo(status: int) -> Behaviour:
    """Answer with everything that was asked, as an error's words."""

    def answer(connection: socket.socket, asked: Asked, stopping: threading.Event) -> None:
        told = {"target": asked.target, **asked.headers, "body": asked.body.decode("latin-1")}
        said = {"error": {"code": status, "message": f"you said {json.dumps(told)}"}, "message": str(told), "code": 0}
        reply(said, status, {"Retry-After": "0", "X-Echo": asked.headers.get("authorization", "")})(
            connection, asked, stopping
        )

    return answer


def told_of_itself(connection: socket.socket, asked: Asked, stopping: threading.Event) -> None:
    """Answer well, with the key for a label, and so little left that it is an alert."""
    key = asked.headers["authorization"].removeprefix("Bearer ")
    data = {"label": key, "limit": 10, "limit_remaining": 1.5, "usage": 8.5, "limit_reset": key}
    reply({"data": data, "key": key})(connection, asked, stopping)


def hostile(server: Loopback) -> None:
    """Let every service give everything away, one status after the other."""
    statuses = [500, 400, 429, 403, 503, 302, 401, 404, 200]
    for place in ("/health", "/price/simple/price", "*"):
        server.put(place, *(echo(status) for status in statuses))
    server.put("/api/v1/key", told_of_itself, *(echo(status) for status in statuses), told_of_itself)
    server.put(WEBHOOK, echo(500), echo(429), echo(400), echo(502), echo(401))
    server.put(SLACK_PATH, echo(500), echo(429), echo(404))


@pytest.fixture(scope="module")
def produced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, bytes]]:
    """Give everything that was printed, logged, stored, backed up and sent, by where it was found."""
    folder = tmp_path_factory.mktemp("failing")
    with all_services() as services:
        hostile(services.server)
        services.post.login_refusal = f"535 5.7.8 {PASSWORD} is wrong for orchestrator"
        services.post.login = ("orchestrator", "another")
        yield _produced(folder, services)


def _produced(folder: Path, services: Services) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    settings = {
        name: SECRETS[name] for name in ("openrouter_management_key", "coingecko_api_key", "orchestrator_web_token")
    }
    environ = services.environment(
        folder,
        **{name.upper(): value for name, value in settings.items()},
        ORCHESTRATOR_REVENUE__XMR_WALLET="4" + "A" * 94,
        ORCHESTRATOR_REVENUE__POOL_URL=f"{services.server.url}/pool",
        ORCHESTRATOR_REVENUE__PRICE_URL=f"{services.server.url}/price",
        ORCHESTRATOR_ORCHESTRATOR__SCAN_INTERVAL_SECONDS=1,
        ORCHESTRATOR_REVENUE__COLLECTION_INTERVAL_SCANS=1,
        ORCHESTRATOR_CREDITS__CHECK_INTERVAL_SECONDS=1,
        ORCHESTRATOR_ALERTS__DEBOUNCE_MINUTES=0,
    )
    path = folder / "orchestrator.db"
    with daemon(environ, folder, "-vv") as process:
        until(lambda: len(rows(path, "SELECT name FROM channels WHERE stopped_at IS NOT NULL")) >= 4, seconds=40)
        until(lambda: len(rows(path, "SELECT id FROM credit_snapshots")) >= 10, seconds=40)
        _, _, log = ended(process, signal.SIGTERM)
    found["the daemon's log"] = log.encode()
    for words in COMMANDS:
        done = finished(*words, environ=environ, cwd=folder)
        found[" ".join(words)] = (done.stdout + done.stderr).encode()
    with closing(sqlite3.connect(path)) as connection:
        for (table,) in connection.execute("SELECT name FROM sqlite_schema WHERE type IN ('table', 'view')").fetchall():
            found[f"table {table}"] = repr(connection.execute(f'SELECT * FROM "{table}"').fetchall()).encode()
    for file in folder.rglob("*"):
        if file.is_file():
            found[f"file {file.name}"] = file.read_bytes()
    # What was sent may hold the secret it was sent with, in its place; its words may hold none.
    for number, asked in enumerate(services.server.asked):
        found[f"message {number} to {asked.path[:8]}"] = asked.body
    for number, mail in enumerate(services.post.mails):
        found[f"mail {number}"] = mail.as_bytes()
    return found


def spelled(secret: str) -> list[bytes]:
    """Return the ways in which a secret may turn up."""
    ways: list[Callable[[str], str]] = [
        str, quote, lambda text: base64.b64encode(text.encode()).decode().rstrip("="), lambda text: text[::-1],
        lambda text: text[:24], lambda text: text[-24:],
    ]  # fmt: skip
    return [way(secret).encode() for way in ways]


def test_every_secret_that_there_is_was_part_of_the_run() -> None:
    assert set(SECRETS) == set(SECRET_NAMES)


def test_the_run_did_fail_in_every_way_that_it_was_to(produced: dict[str, bytes]) -> None:
    log = produced["the daemon's log"].decode()
    events = {json.loads(line)["event"] for line in log.splitlines()}

    assert {"source_failing", "alert_raised", "delivery_failed", "channel_stopped"} <= events
    assert b"[redacted]" in produced["table credit_snapshots"]
    assert b"stopped" in produced["doctor"]
    assert produced["config show"].count(b"set (environment)") == len(SECRETS)
    assert len([name for name in produced if name.startswith("message")]) > 20


@pytest.mark.parametrize("name", sorted(SECRETS))
def test_no_secret_is_in_anything_that_a_failing_run_produced(produced: dict[str, bytes], name: str) -> None:
    found = [
        where
        for where, content in produced.items()
        if any(spelling in content for spelling in spelled(SECRETS[name]))
    ]  # fmt: skip

    assert found == []
