"""10,000 alerts against services that fail 30 % of the time, in every way of the samples: all arrive, each once.

The file, the notifiers, HTTP and the services' answers are real; only the time between two attempts is simulated.
"""

import json
import random
import re
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path

import loopback
import pytest
from delivering import MINUTE, World
from loopback import Asked, Behaviour, Loopback, reply
from samples import PAYLOADS, payload

from orchestrator.alerts import discord, slack
from orchestrator.alerts.message import Channel
from orchestrator.collectors.fetch import Client
from orchestrator.store.database import Database
from orchestrator.writer import Writer


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    database = Database(tmp_path / "orchestrator.db")
    yield World(database)
    database.close()


FAILURES: dict[str, list[Behaviour]] = {
    "discord": [
        *(payload(name) for name in sorted(one.name for one in PAYLOADS.glob("discord-[45]*"))),
        loopback.hang_up,
        loopback.raw(b"HTTP/1.1 500 Whatever\r\nContent-Length: 100\r\n\r\n{"),
        reply("", 500),
        reply("<html>busy</html>", 503, {"Retry-After": "absurd"}),
        reply({"retry_after": -1}, 429),
        reply({"retry_after": 1e300}, 429),
        reply("", 302, {"Location": "https://example.org"}),
        loopback.raw(b"no HTTP at all\r\n\r\n"),
    ],
    "slack": [
        *(
            reply(one["body"], one["status"], one.get("headers"))
            for one in json.loads((PAYLOADS / "slack-errors.json").read_text())
        ),
        loopback.hang_up,
        loopback.raw(b"HTTP/1.1 500 Whatever\r\nContent-Length: 100\r\n\r\n{"),
        reply("<html>busy</html>", 503, {"Retry-After": "Wed, 21 Oct 2099 07:28:00 GMT"}),
        reply("", 502),
    ],
}
RARE = [loopback.silence, loopback.drip_headers]


class Unreliable:
    """Answers like the service, but 30 % of the time as badly as any of the samples; keeps what it really accepted."""

    def __init__(self, well: Behaviour, badly: list[Behaviour], chance: random.Random) -> None:
        self.accepted: Counter[int] = Counter()
        self.failed = 0
        self._well, self._badly, self._chance = well, badly, chance

    def __call__(self, connection: socket.socket, asked: Asked, stopping: threading.Event) -> None:
        if self._chance.random() < 0.3:
            self.failed += 1
            # The slow ones cost real time.
            badly = RARE if self._chance.random() < 0.002 else self._badly
            self._chance.choice(badly)(connection, asked, stopping)
            return
        self.accepted.update({int(one) for one in re.findall(rb"#(\d+)", asked.body)})
        self._well(connection, asked, stopping)


def channel_of(service: str, url: str, number: int) -> Channel:
    """Return the channel as it is configured for the n-th time."""
    match service:
        case "discord":
            hook = f"{url}/api/webhooks/1/token-{number}"
            send = partial(discord.send_to_webhook, hook, deadline_s=2.0)
        case _:
            send = partial(slack.send_to_webhook, f"{url}/services/T1/B1/{number}", deadline_s=2.0)
    return Channel(service, f"f{number}", send)


@pytest.mark.slow
@pytest.mark.parametrize("service", ["discord", "slack"])
def test_ten_thousand_alerts_all_arrive_although_thirty_percent_of_the_attempts_fail(
    world: World, service: str
) -> None:
    chance = random.Random(20261121)
    well = payload("discord-webhook-200.json" if service == "discord" else "slack-200.txt")
    unreliable = Unreliable(well, FAILURES[service], random.Random(7))
    configured = 0

    async def main(writer: Writer, client: Client, url: str) -> None:
        nonlocal configured
        raised = 0
        channel = channel_of(service, url, configured)
        world.enter(channel)
        sender = world.sender(channel, writer, client)
        while raised < 10_000 or await sender.due() is not None or world.channel().stopped_at is not None:
            if raised < 10_000:
                burst = min(chance.choice([1, 1, 1, 2, 3, 5, 12, 40]), 10_000 - raised)
                world.raised(*(f"budget:{raised + n}" for n in range(burst)))
                raised += burst
            await sender.send_due()
            if world.channel().stopped_at is not None:
                configured += 1
                channel = channel_of(service, url, configured)
                world.enter(channel)
                sender = world.sender(channel, writer, client)
            world.now += min(await sender.due() or MINUTE, timedelta(minutes=chance.randrange(1, 20)))

    with Loopback() as server:
        server.put("*", unreliable)
        world.run(lambda writer, client: main(writer, client, server.url))
        tries = len(server.asked)

    assert len(unreliable.accepted) == 10_000
    assert set(unreliable.accepted.values()) == {1}
    assert set(world.states()) == {"sent"}
    assert unreliable.failed > 0.25 * tries
    assert configured > 5
