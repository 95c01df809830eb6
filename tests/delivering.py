"""A file with alerts, a clock that stands still, and channels of the test's own to deliver to."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from orchestrator.alerts.deliver import Sender
from orchestrator.alerts.message import Channel, Message, Outcome, sent
from orchestrator.collectors.fetch import Client
from orchestrator.ledger import alerts, channels, deliveries
from orchestrator.ledger.alerts import Words
from orchestrator.ledger.channels import ChannelState
from orchestrator.ledger.deliveries import Delivery
from orchestrator.store.database import Connection, Database
from orchestrator.writer import Writer

NOW = datetime(2026, 11, 21, 8, tzinfo=UTC)
SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
WORDS = Words(
    "low credits, $4.27 left", "Low credits: $4.27 remaining on OpenRouter (account). Please top up.", "So it is."
)


@dataclass
class Place:
    """A channel of the test's own: what arrived, and what it answers next; when that is used up, that it arrived."""

    name: str = "slack"
    fingerprint: str = "f1"
    answers: list[Outcome] = field(default_factory=list)
    tried: list[Message] = field(default_factory=list)
    arrived: list[Message] = field(default_factory=list)
    before: Callable[[], Awaitable[object]] | None = None

    @property
    def channel(self) -> Channel:
        return Channel(self.name, self.fingerprint, self._send)

    @property
    def ids(self) -> list[tuple[int, ...]]:
        return [message.ids for message in self.arrived]

    async def _send(self, client: Client, message: Message, now: datetime) -> Outcome:
        self.tried.append(message)
        if self.before is not None:
            await self.before()
        outcome = self.answers.pop(0) if self.answers else sent()
        if outcome.result == "sent":
            self.arrived.append(message)
        return outcome


@dataclass
class World:
    """A file, a clock that stands still until it is set, and what sends."""

    database: Database
    now: datetime = NOW

    def raised(self, *conditions: str, severity: alerts.Severity = "warning") -> list[int]:
        with self.database.write() as connection:
            return [
                alerts.raise_alert(connection, condition, severity, replace(WORDS, brief=condition), now=self.now)
                for condition in conditions
            ]

    def do(self, job: Callable[[Connection], Any]) -> Any:
        with self.database.write() as connection:
            return job(connection)

    def enter(self, *channels: Channel) -> None:
        configured = {channel.name: channel.fingerprint for channel in channels}
        self.do(partial(deliveries.enter, configured=configured, withdraw=True))

    def sender(self, channel: Channel, writer: Writer, client: Client) -> Sender:
        return Sender(channel, writer, client, clock=lambda: self.now, chance=lambda: 0.5, link=None)

    def run(self, main: Callable[[Writer, Client], Coroutine[Any, Any, object]]) -> None:
        async def whole() -> None:
            writer = Writer(self.database)
            async with Client() as client:
                await main(writer, client)
            writer.close()

        asyncio.run(whole())

    def send(self, *channels: Channel, passes: int = 1) -> None:
        """Do one pass, or several at the same moment."""

        async def main(writer: Writer, client: Client) -> None:
            senders = [self.sender(channel, writer, client) for channel in channels]
            for _ in range(passes):
                await asyncio.gather(*(sender.send_due() for sender in senders))

        self.run(main)

    def found(self) -> list[Delivery]:
        with self.database.read() as connection:
            ids = [alert.id for alert in alerts.recent_alerts(connection, 100_000)]
            return deliveries.of_alerts(connection, ids)

    def states(self) -> list[str]:
        return [one.state for one in self.found()]

    def channel(self) -> ChannelState:
        with self.database.read() as connection:
            (one,) = channels.channel_states(connection)
        return one
