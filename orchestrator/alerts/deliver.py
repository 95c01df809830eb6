"""Delivery: what waits for a channel goes out as one message, and what came of it is noted.

At least once: alerts are claimed in one transaction, sent, and noted in another. Who is killed between the two leaves a claim
that ends by itself, and the message goes out a second time.
"""

import asyncio
import random
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Final, Protocol, TypeVar

import structlog
from structlog.typing import FilteringBoundLogger

from orchestrator.alerts.message import MOST_ALERTS, Channel, Message, Notice, Outcome, retry
from orchestrator.collectors.fetch import Client
from orchestrator.config import Config
from orchestrator.ledger import channels as places
from orchestrator.ledger import deliveries
from orchestrator.ledger.credits import left_usd
from orchestrator.ledger.deliveries import Waiting
from orchestrator.money import usd_from_nano
from orchestrator.periods import span_text
from orchestrator.store import meta
from orchestrator.store.database import Connection

T = TypeVar("T")

HOST_ID: Final = "host_id"

FIRST_PAUSE_S: Final = 2.0
LONGEST_PAUSE_S: Final = 600.0
# A message under way when the program is to stop has so long to arrive, so that it need not be sent again.
_LAST_SECONDS: Final = 1.5

log: FilteringBoundLogger = structlog.get_logger()


class File(Protocol):
    """What runs jobs on the file, away from the loop."""

    async def write(self, job: Callable[[Connection], T]) -> T:
        """Return what a job returns, done in one transaction."""

    async def read(self, job: Callable[[Connection], T]) -> T:
        """Return what a job returns that reads one state of the file."""


class Sender:
    """One channel's delivery in this process.

    While the file cannot be written, what came of the last message waits here and is noted before anything else is sent.
    """

    def __init__(
        self, channel: Channel, file: File, client: Client, *, clock: Callable[[], datetime],
        chance: Callable[[], float], link: str | None = None,
    ) -> None:  # fmt: skip
        self.channel = channel
        self._place = (channel.name, channel.fingerprint, uuid.uuid4().hex)
        self._file = file
        self._client = client
        self._clock = clock
        self._chance = chance
        self._link = link
        self._unnoted: Callable[[Connection], None] | None = None

    async def due(self) -> timedelta | None:
        """Return in how long there is something to send, zero for now, None when nothing waits or the channel is stopped."""
        name, fingerprint, _ = self._place
        return await self._file.read(partial(deliveries.due, name=name, fingerprint=fingerprint, now=self._clock()))

    async def send_due(self) -> None:
        """Send message after message while something is due and arrives."""
        await self._note()
        while await self.due() == timedelta(0) and await self._send_one():
            pass

    async def _send_one(self) -> bool:
        """Send what waits, up to what one message carries; return whether it arrived."""
        batch = await self._file.write(partial(_claim, place=self._place, link=self._link, now=self._clock()))
        if batch is None:
            return False
        waiting, message = batch
        sending = asyncio.ensure_future(self.channel.send(self._client, message, self._clock()))
        try:
            await asyncio.wait([sending])
        except asyncio.CancelledError:
            # The program is to stop. A message that has not arrived by then is sent again, perhaps a second time, after the claim.
            if not (await asyncio.wait([sending], timeout=_LAST_SECONDS))[0]:
                sending.cancel()
                raise
            await self._noted(waiting, sending)
            raise
        return (await self._noted(waiting, sending)).result == "sent"

    async def _noted(self, waiting: Sequence[Waiting], sending: "asyncio.Future[Outcome]") -> Outcome:
        """Return what came of a message, and note it; raises what the notifier raised, which it never should."""
        failed = sending.exception()
        outcome = retry("internal error, the log has it") if failed else sending.result()
        ids = " ".join(str(one.alert.id) for one in waiting)
        if outcome.result == "sent":
            log.info("alerts_delivered", channel=self.channel.name, alerts=ids)
        else:
            event = "channel_stopped" if outcome.result == "permanent" else "delivery_failed"
            log.warning(event, channel=self.channel.name, alerts=ids, reason=outcome.reason)
        self._unnoted = partial(
            _note, place=self._place, waiting=waiting, outcome=outcome, chance=self._chance(), now=self._clock()
        )
        await self._note()
        if failed:
            raise failed
        return outcome

    async def _note(self) -> None:
        if self._unnoted is not None:
            await self._file.write(self._unnoted)
            self._unnoted = None


def senders(
    config: Config, channels: Sequence[Channel], file: File, client: Client, clock: Callable[[], datetime]
) -> list[Sender]:
    """Return what delivers to each channel."""
    link = config.web.public_url or None
    return [Sender(one, file, client, clock=clock, chance=random.random, link=link) for one in channels]


async def send_test(channel: Channel, client: Client, *, key: str, now: datetime) -> Outcome:
    """Send a message that is marked as a test and return what came of it; it stands for no alert."""
    notice = Notice(
        ids=(),
        kind="test",
        severity="info",
        title="Alerts from this installation arrive here.",
        raised_at=now,
        text="Nothing is wrong: somebody ran `orchestrator alerts test`.",
        test=True,
    )
    return await channel.send(client, Message((notice,), key), now)


def pause_s(failures: int, retry_after_s: float | None, chance: float) -> float:
    """Return for how many seconds to wait after so many failures: twice as long each time, ten minutes at most.

    What the other side asked to wait is kept, an hour at most. `chance`, from 0 to 1, spreads those who failed together.
    """
    grown = min(FIRST_PAUSE_S * 2.0 ** min(failures - 1, 20), LONGEST_PAUSE_S)
    asked = min(max(retry_after_s or 0.0, 0.0), 3600.0)
    return max(grown * (0.5 + 0.5 * chance), asked * (1.0 + 0.05 * chance))


def notice(waiting: Waiting, link: str | None, now: datetime) -> Notice:
    """Return what there is to say of an alert where so much of it has arrived: the alert, a reminder, that it is over, or all at once."""
    alert, words = waiting.alert, waiting.alert.now
    lasted = span_text(((alert.resolved_at or now) - alert.raised_at).total_seconds())
    said = Notice(
        ids=(alert.id,),
        kind=alert.kind,
        severity=alert.severity,
        title=words.title,
        text=words.text,
        raised_at=alert.raised_at,
        what_to_do=words.what_to_do,
        link=link,
        remaining_usd=None if words.remaining_nano is None else left_usd(words.remaining_nano),
    )
    if alert.limit is not None:
        said = _with_limit(said, alert.limit.spent_nano, alert.limit.limit_nano)
    elif words.spent_nano is not None and words.limit_nano is not None:
        said = _with_limit(said, words.spent_nano, words.limit_nano)
    if alert.resolution is not None:
        over = f"The alert was open for {lasted}" + ("." if waiting.arrived else f": {alert.words.title}")
        return replace(
            said, severity="info", title=alert.resolution, text=over, what_to_do=None, remaining_usd=None,
            spent_usd=None, limit_usd=None, percent=None,
        )  # fmt: skip
    if waiting.arrived:
        return replace(said, text=f"Reminder: the alert has been open for {lasted}. {words.text}".rstrip())
    if words.title != alert.words.title:
        return replace(said, text=f"{words.text} When it was raised: {alert.words.title}".lstrip())
    return said


def _with_limit(said: Notice, spent_nano: int, limit_nano: int) -> Notice:
    limit, left = usd_from_nano(limit_nano), left_usd(limit_nano - spent_nano)
    return replace(
        said,
        # What is left is cut to the cent, and the two shall add up.
        spent_usd=limit - left,
        limit_usd=limit,
        remaining_usd=left,
        percent=Decimal(100 * spent_nano) / limit_nano if limit_nano > 0 else None,
    )


def _claim(
    connection: Connection, place: tuple[str, str, str], link: str | None, now: datetime
) -> tuple[Sequence[Waiting], Message] | None:
    name, fingerprint, sender = place
    waiting = deliveries.claim(connection, name, fingerprint, sender, MOST_ALERTS, now=now)
    if not waiting:
        return None
    # The same alerts with the same to say make the same key, so that a second arrival is recognised where that is possible.
    told = ",".join(f"{one.alert.id}.{one.alert.said}" for one in waiting)
    message = Message(
        tuple(notice(one, link, now) for one in waiting), f"{meta.get(connection, HOST_ID)}:{name}:{told}"
    )
    return waiting, message


def _note(
    connection: Connection,
    place: tuple[str, str, str],
    waiting: Sequence[Waiting],
    outcome: Outcome,
    chance: float,
    now: datetime,
) -> None:
    match outcome.result:
        case "sent":
            deliveries.note_sent(connection, *place, waiting, outcome.reason, now=now)
        case "permanent":
            deliveries.note_failed(connection, *place, waiting, outcome.reason, next_attempt_at=None, now=now)
        case "retry":
            failures = places.failures(connection, *place[:2]) + 1
            pause = timedelta(seconds=pause_s(failures, outcome.retry_after_s, chance))
            deliveries.note_failed(connection, *place, waiting, outcome.reason, next_attempt_at=now + pause, now=now)
