"""Delivery: what is raised arrives, at least once, once where nobody dies, and one failing channel is nobody else's matter.

Time is the test's own. The file is real, and so are Discord's and Slack's answers, from a server on loopback, and the mail server.
"""

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from delivering import HOUR, MINUTE, NOW, SECOND, WORDS, Place, World
from hypothesis import given
from hypothesis import strategies as st
from loopback import Loopback, reply
from mailboxes import Post, posting
from processes import REPOSITORY, locked

from orchestrator.alerts import deliver, email
from orchestrator.alerts.deliver import pause_s
from orchestrator.alerts.message import Notice, permanent, retry, sent
from orchestrator.collectors.fetch import Client
from orchestrator.config import Config
from orchestrator.config.credentials import Secrets
from orchestrator.config.sections import Alerts, Email
from orchestrator.ledger import alerts, channels, conditions, deliveries
from orchestrator.ledger.alerts import Alert, Limit
from orchestrator.ledger.deliveries import EXPIRES, LEASE, Delivery, Waiting
from orchestrator.store.database import Database
from orchestrator.writer import Writer


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    database = Database(tmp_path / "orchestrator.db")
    yield World(database)
    database.close()


def test_an_alert_arrives_once_and_its_delivery_is_noted(world: World) -> None:
    place = Place()
    world.enter(place.channel)
    (alert_id,) = world.raised("low_credits")

    world.send(place.channel, passes=3)

    assert place.ids == [(alert_id,)]
    assert world.found() == [Delivery(alert_id, "slack", "sent", 1, NOW, None)]


def test_several_that_wait_are_one_message_that_names_each(world: World) -> None:
    place = Place(answers=[retry("connection refused")])
    world.enter(place.channel)
    first = world.raised("a")
    world.send(place.channel)
    others = world.raised("b", "c", "d")
    world.now += HOUR

    world.send(place.channel)

    assert place.ids == [tuple(first + others)]


def test_more_than_a_message_carries_are_several(world: World) -> None:
    place = Place()
    world.enter(place.channel)
    ids = world.raised(*(f"budget:{n}" for n in range(250)))

    world.send(place.channel)

    assert [len(message) for message in place.ids] == [100, 100, 50]
    assert [one for message in place.ids for one in message] == ids


def test_each_channel_gets_every_alert_whatever_becomes_of_the_others(world: World) -> None:
    good, slow, closed, broken = (
        Place(name) for name in ("discord", "discord-dm", "slack", "email:ops@example.org")
    )  # fmt: skip
    slow.answers, closed.answers = [retry("timeout")], [permanent("the channel is archived (HTTP 410)")]
    world.enter(good.channel, slow.channel, closed.channel, broken.channel)
    ids = world.raised("a", "b")

    async def never() -> None:
        raise ZeroDivisionError

    broken.before = never
    with pytest.raises(ZeroDivisionError):
        world.send(good.channel, slow.channel, closed.channel, broken.channel)

    assert good.ids == [tuple(ids)]
    assert [(one.channel, one.state, one.reason) for one in world.found() if one.alert_id == ids[0]] == [
        ("discord", "sent", None),
        ("discord-dm", "waiting", "timeout"),
        ("email:ops@example.org", "waiting", "internal error, the log has it"),
        ("slack", "waiting", "the channel is archived (HTTP 410)"),
    ]


def test_a_channel_that_hangs_holds_up_no_other(world: World) -> None:
    hanging, good = Place("slack"), Place("discord")
    world.enter(hanging.channel, good.channel)
    world.raised("a")

    async def main(writer: Writer, client: Client) -> None:
        never = asyncio.Event()
        hanging.before = never.wait
        tasks = [asyncio.ensure_future(world.sender(one.channel, writer, client).send_due()) for one in (hanging, good)]
        await asyncio.wait_for(tasks[1], 5)
        assert not tasks[0].done()
        never.set()
        await tasks[0]

    world.run(main)

    assert (len(good.ids), len(hanging.ids)) == (1, 1)


def test_two_processes_do_not_both_send(world: World, tmp_path: Path) -> None:
    daemon, once = Place(), Place()
    world.enter(daemon.channel)
    world.raised("a")
    other = Database(world.database.path)

    async def main(writer: Writer, client: Client) -> None:
        beside = Writer(other)
        daemon.before = world.sender(once.channel, beside, client).send_due
        await world.sender(daemon.channel, writer, client).send_due()
        beside.close()

    world.run(main)
    other.close()

    assert (len(daemon.ids), len(once.ids)) == (1, 0)


KILLED = """
import asyncio, os, signal, sys
from datetime import datetime, timezone
from orchestrator.alerts.deliver import Sender
from orchestrator.alerts.message import Channel
from orchestrator.collectors.fetch import Client
from orchestrator.writer import Writer
from orchestrator.store.database import Database

async def main():
    async with Client() as client:
        async def send(client, message, now):
            await client.post_json(sys.argv[2], {"ids": message.ids}, deadline_s=5)
            os.kill(os.getpid(), signal.SIGKILL)
        now = datetime.fromisoformat(sys.argv[3])
        channel = Channel("slack", "f1", send)
        await Sender(channel, Writer(Database(sys.argv[1])), client, clock=lambda: now, chance=lambda: 0.5).send_due()

asyncio.run(main())
"""


def test_who_is_killed_between_sending_and_noting_makes_one_duplicate(world: World) -> None:
    place = Place()
    world.enter(place.channel)
    (alert_id,) = world.raised("a")
    with Loopback() as server:
        server.put("/hook", reply("ok"))
        command = [sys.executable, "-c", KILLED, str(world.database.path), f"{server.url}/hook", NOW.isoformat()]
        killed = subprocess.run(command, cwd=REPOSITORY, check=False, timeout=30)
        arrived = [json.loads(asked.body)["ids"] for asked in server.asked_for("/hook")]

    assert killed.returncode == -signal.SIGKILL
    world.now += LEASE - SECOND
    world.send(place.channel, passes=3)
    assert place.ids == []
    world.now += 2 * SECOND
    world.send(place.channel, passes=3)

    assert arrived == [[alert_id]]
    assert place.ids == [(alert_id,)]
    assert world.found()[0].attempts == 2


def test_an_outcome_that_cannot_be_noted_waits_and_nothing_is_sent_twice(world: World) -> None:
    place = Place()
    world.enter(place.channel)
    world.raised("a")

    async def main(writer: Writer, client: Client) -> None:
        sender = world.sender(place.channel, writer, client)
        lock = locked(world.database.path)

        async def taken() -> None:
            lock.__enter__()

        place.before, world.database.busy_timeout_ms = taken, 50
        for _ in range(3):
            with pytest.raises(Exception, match="locked"):
                await sender.send_due()
            world.now += LEASE
        lock.__exit__(None, None, None)
        await sender.send_due()

    world.run(main)

    assert len(place.tried) == 1
    assert world.states() == ["sent"]


def test_a_message_under_way_when_the_program_stops_may_still_arrive(world: World) -> None:
    place = Place()
    world.enter(place.channel)
    world.raised("a")

    async def main(writer: Writer, client: Client) -> None:
        under_way, arrives = asyncio.Event(), asyncio.Event()

        async def slowly() -> None:
            under_way.set()
            await arrives.wait()

        place.before = slowly
        sending = asyncio.ensure_future(world.sender(place.channel, writer, client).send_due())
        await under_way.wait()
        sending.cancel()
        asyncio.get_running_loop().call_later(0.05, arrives.set)
        with pytest.raises(asyncio.CancelledError):
            await sending

    world.run(main)

    assert world.states() == ["sent"]
    assert world.channel().failures == 0


def test_a_message_that_does_not_arrive_in_time_is_sent_again_after_its_claim(world: World) -> None:
    place = Place()
    world.enter(place.channel)
    world.raised("a")

    async def main(writer: Writer, client: Client) -> None:
        under_way = asyncio.Event()

        async def for_ever() -> None:
            under_way.set()
            await asyncio.Event().wait()

        place.before = for_ever
        sending = asyncio.ensure_future(world.sender(place.channel, writer, client).send_due())
        await under_way.wait()
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending

    world.run(main)
    place.before = None
    world.send(place.channel)
    assert place.arrived == []
    world.now += LEASE
    world.send(place.channel)

    assert len(place.arrived) == 1


def test_a_closed_channel_is_left_alone_until_its_configuration_changes(world: World) -> None:
    place = Place(answers=[permanent("the webhook does not exist (HTTP 404, code 10015)")])
    world.enter(place.channel)
    first = world.raised("a")
    for _ in range(50):
        world.send(place.channel)
        world.now += HOUR
    world.enter(place.channel)
    second = world.raised("b")
    world.send(place.channel)
    closed = world.channel()
    renewed = replace(place, fingerprint="f2", answers=[])
    world.enter(renewed.channel)
    world.send(renewed.channel)

    assert len(place.tried) == 2  # `renewed` writes into the same list
    assert (closed.stopped_at, closed.reason) == (NOW, "the webhook does not exist (HTTP 404, code 10015)")
    assert renewed.ids == [tuple(first + second)]
    assert world.channel().stopped_at is None


def test_a_closed_channel_stays_closed_when_its_old_configuration_comes_back_until_a_test_succeeds(
    world: World,
) -> None:
    place, other = Place(answers=[permanent("gone")]), Place(fingerprint="f2")
    world.enter(place.channel)
    world.raised("a")
    world.send(place.channel)
    world.enter(other.channel)
    world.enter(place.channel)
    world.send(place.channel)
    assert place.arrived == []

    world.do(partial(channels.reopen, name="slack", fingerprint="f1"))
    world.send(place.channel)

    assert len(place.arrived) == 1


def test_a_network_that_is_dead_for_five_days_costs_little_and_then_all_arrives_at_once(world: World) -> None:
    dead = retry("cannot connect")
    place = Place(answers=[dead] * 100_000)
    world.enter(place.channel)
    ids: list[int] = []

    async def main(writer: Writer, client: Client) -> None:
        sender = world.sender(place.channel, writer, client)
        while world.now < NOW + timedelta(days=5):
            if (world.now - NOW) // (6 * HOUR) >= len(ids):
                ids.extend(world.raised(f"budget:{len(ids)}"))
            await sender.send_due()
            world.now += await sender.due() or MINUTE
        place.answers = []
        back = world.now
        while not place.arrived:
            await sender.send_due()
            world.now += await sender.due() or timedelta(0)
        assert world.now - back <= timedelta(minutes=10)

    world.run(main)

    assert place.ids == [tuple(ids)]
    assert len(ids) == 20
    # Ten minutes apart, and less at the beginning.
    assert 700 < len(place.tried) < 1000


def test_a_retry_after_is_kept(world: World) -> None:
    place = Place(answers=[retry("asked to slow down (HTTP 429)", 1337.0)])
    world.enter(place.channel)
    world.raised("a")
    world.send(place.channel)
    world.now += timedelta(seconds=1336)
    world.send(place.channel)
    assert place.arrived == []
    world.now += timedelta(seconds=1337 * 0.05)
    world.send(place.channel)

    assert len(place.arrived) == 1


def test_pauses_double_up_to_ten_minutes() -> None:
    assert [pause_s(n, None, 1.0) for n in range(1, 12)] == [2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600]
    assert [pause_s(n, None, 0.0) for n in (1, 2, 10_000)] == [1, 2, 300]


@given(st.integers(1, 10**9), st.none() | st.floats(allow_nan=False), st.floats(0, 1))
def test_whatever_is_asked_a_pause_is_a_second_at_least_and_little_more_than_an_hour_at_most(
    failures: int, retry_after: float | None, chance: float
) -> None:
    pause = pause_s(failures, retry_after, chance)

    assert 1 <= pause <= 3600 * 1.05
    assert pause >= min(retry_after or 0, 3600)


def test_a_clock_that_jumped_back_stops_neither_claim_nor_retry_for_long(world: World) -> None:
    place = Place(answers=[retry("timeout")])
    world.now = NOW + timedelta(days=4000)
    world.enter(place.channel)
    world.raised("a")
    world.send(place.channel)
    world.do(partial(deliveries.claim, name="slack", fingerprint="f1", sender="the dead", most=9, now=world.now + HOUR))

    world.now = NOW
    world.send(place.channel)

    assert len(place.arrived) == 1


def test_a_new_channel_hears_of_what_is_open_and_not_of_the_past(world: World) -> None:
    old = Place("discord")
    world.enter(old.channel)
    over, known, lasts = world.raised("over", "known", "lasts")
    world.do(partial(conditions.resolve, alert_id=over, resolution="It is over.", now=NOW))
    world.do(partial(alerts.acknowledge, alert_id=known, now=NOW))
    new = Place("slack")
    world.enter(old.channel, new.channel)
    (later,) = world.raised("later")

    world.send(old.channel, new.channel)

    assert new.ids == [(lasts, later)]
    assert old.ids == [(over, lasts, later)]


def test_reminders_that_come_up_while_nothing_arrives_are_one_message(world: World) -> None:
    place = Place(answers=[retry("timeout")] * 3)
    world.enter(place.channel)
    (alert_id,) = world.raised("low_credits")
    now_less = replace(WORDS, title="Low credits: $3.10 remaining on OpenRouter (account). Please top up.")
    for _ in range(3):
        world.send(place.channel)
        world.now += HOUR
        world.do(partial(conditions.remind, alert_id=alert_id, words=now_less, apart=HOUR, now=world.now))

    world.send(place.channel, passes=3)

    (message,) = place.arrived
    (notice,) = message.notices
    assert notice.title == now_less.title
    assert "When it was raised: Low credits: $4.27 remaining" in notice.text


def test_a_reminder_keeps_its_distance_where_the_alert_was_late(world: World) -> None:
    late, quick = Place("discord", answers=[retry("timeout")]), Place("slack")
    world.enter(late.channel, quick.channel)
    (alert_id,) = world.raised("low_credits")
    world.send(late.channel, quick.channel)
    world.now += 50 * MINUTE
    world.send(late.channel, quick.channel)
    world.now += 10 * MINUTE
    world.do(partial(conditions.remind, alert_id=alert_id, words=WORDS, apart=HOUR, now=world.now))
    world.send(late.channel, quick.channel)
    assert (len(late.arrived), len(quick.arrived)) == (1, 2)
    world.now += 50 * MINUTE - SECOND
    world.send(late.channel, quick.channel)
    assert (len(late.arrived), len(quick.arrived)) == (1, 2)
    world.now += SECOND
    world.send(late.channel, quick.channel)

    assert (len(late.arrived), len(quick.arrived)) == (2, 2)


def test_the_end_is_told_where_the_alert_arrived_and_both_at_once_where_it_did_not(world: World) -> None:
    quick, late = Place("discord"), Place("slack", answers=[retry("timeout")])
    world.enter(quick.channel, late.channel)
    (alert_id,) = world.raised("low_credits", severity="critical")
    world.send(quick.channel, late.channel)
    world.now += 3 * HOUR
    world.do(partial(conditions.resolve, alert_id=alert_id, resolution="Credits are no longer low.", now=world.now))

    world.send(quick.channel, late.channel, passes=2)

    told = [[(one.notices[0].severity, one.notices[0].title) for one in place.arrived] for place in (quick, late)]
    assert told == [
        [("critical", WORDS.title), ("info", "Credits are no longer low.")],
        [("info", "Credits are no longer low.")],
    ]
    assert late.arrived[0].notices[0].text == f"The alert was open for 3h: {WORDS.title}"


def test_who_acknowledges_hears_no_more_of_it_but_its_end(world: World) -> None:
    told, untold = Place("discord"), Place("slack", answers=[retry("timeout")])
    world.enter(told.channel, untold.channel)
    (alert_id,) = world.raised("low_credits")
    world.send(told.channel, untold.channel)
    world.do(partial(conditions.remind, alert_id=alert_id, words=WORDS, apart=HOUR, now=NOW))
    world.do(partial(alerts.acknowledge, alert_id=alert_id, now=NOW))
    world.now += HOUR
    world.send(told.channel, untold.channel)
    assert (len(told.arrived), len(untold.arrived)) == (1, 0)

    world.do(partial(conditions.resolve, alert_id=alert_id, resolution="Over.", now=world.now))
    world.send(told.channel, untold.channel)

    assert (len(told.arrived), len(untold.arrived)) == (2, 0)


def test_what_is_over_and_waited_for_a_week_is_not_sent_and_what_lasts_is(world: World) -> None:
    place = Place(answers=[permanent("gone")])
    world.enter(place.channel)
    over, lasts = world.raised("over", "lasts")
    world.send(place.channel)
    world.do(partial(conditions.resolve, alert_id=over, resolution="Over.", now=NOW))
    world.now += EXPIRES + SECOND
    renewed = Place(fingerprint="f2")
    world.enter(renewed.channel)

    world.send(renewed.channel)

    assert renewed.ids == [(lasts,)]
    assert world.states() == ["expired", "sent"]


def test_what_comes_up_while_a_message_is_under_way_is_said_next(world: World) -> None:
    place = Place()
    world.enter(place.channel)
    (alert_id,) = world.raised("low_credits")

    async def over() -> None:
        place.before = None
        world.do(partial(conditions.resolve, alert_id=alert_id, resolution="Over.", now=world.now))

    place.before = over
    world.send(place.channel)

    assert [message.notices[0].title for message in place.arrived] == [WORDS.title, "Over."]


def test_the_same_message_has_the_same_key_and_another_another(world: World) -> None:
    place = Place(answers=[retry("timeout"), retry("timeout")])
    world.enter(place.channel)
    world.raised("a")
    for _ in range(2):
        world.send(place.channel)
        world.now += HOUR
    world.raised("b")
    world.send(place.channel)

    keys = [message.key for message in place.tried]
    assert keys[0] == keys[1] != keys[2]


LIMIT = Limit("2026-11-21", "tenant_id=acme", "day", 80, 8_050_000_000, 10**10)


def alert(**more: object) -> Alert:
    plain = Alert(7, "low_credits", "low_credits", "critical", NOW, WORDS, WORDS, None, 1, NOW, None, None, None)
    return replace(plain, **more)  # type: ignore[arg-type]


def said(one: Alert, arrived: int = 0) -> Notice:
    return deliver.notice(Waiting(one, arrived), "https://orchestrator.example", NOW + 2 * HOUR)


def test_a_notice_says_what_there_is_to_say_where_so_much_has_arrived() -> None:
    assert (said(alert()).title, said(alert()).text) == (WORDS.title, "So it is.")
    assert said(alert(), 1).text == "Reminder: the alert has been open for 2h. So it is."
    over = alert(resolved_at=NOW + HOUR, resolution="Over.")
    assert (said(over, 1).title, said(over, 1).text, said(over, 1).severity) == (
        "Over.",
        "The alert was open for 1h.",
        "info",
    )
    assert said(alert()).link == "https://orchestrator.example"


def test_a_budgets_notice_has_its_amounts() -> None:
    notice = said(alert(limit=LIMIT))

    amounts = (notice.spent_usd, notice.limit_usd, notice.remaining_usd, notice.percent)
    assert [str(amount) for amount in amounts] == ["8.05", "10", "1.95", "80.5"]
    assert said(alert(limit=replace(LIMIT, limit_nano=0))).percent is None


@pytest.mark.parametrize(
    ("left", "limit", "amounts"),
    [
        (4_270_000_000, 20 * 10**9, ["15.73", "20", "4.27", "78.65"]),
        (4_999_999_999, 20 * 10**9, ["15.01", "20", "4.99", "75.000000005"]),
        (-185_117_000, 20 * 10**9, ["20.19", "20", "-0.19", "100.925585"]),
        (0, 0, ["0", "0", "0", "None"]),
        (4_270_000_000, None, ["None", "None", "4.27", "None"]),
        (None, 20 * 10**9, ["None", "None", "None", "None"]),
    ],
)
def test_low_credits_are_told_with_the_limit_where_it_is_known_and_no_amount_is_invented(
    left: int | None, limit: int | None, amounts: list[str]
) -> None:
    words = replace(WORDS, remaining_nano=left, limit_nano=limit)

    notice = said(alert(words=words, now=words))

    told = (notice.spent_usd, notice.limit_usd, notice.remaining_usd, notice.percent)
    assert [str(amount) for amount in told] == amounts


def test_mail_that_is_put_off_arrives_too(world: World) -> None:
    post = Post(data=["451 4.3.0 try again later", "452 4.2.2 mailbox full"])
    with posting(post) as port:
        settings = Email(
            smtp_host="127.0.0.1",
            smtp_port=port,
            security="none",
            sender="o@example.org",
            recipients=("a@example.org",),
        )
        (channel,) = email.channels(Config(database=Path("x"), alerts=Alerts(email=settings), secrets=Secrets()))
        world.enter(channel)
        ids = world.raised("a", "b")

        async def main(writer: Writer, client: Client) -> None:
            sender = world.sender(channel, writer, client)
            while (wait := await sender.due()) is not None:
                world.now += wait
                await sender.send_due()

        world.run(main)

    (mail,) = post.mails
    text = mail.get_body(("plain",)).get_content()  # type: ignore[union-attr]
    assert all(f"#{alert_id}" in text for alert_id in ids)
    assert world.found()[0].attempts == 3


def test_a_test_message_is_marked_and_stands_for_no_alert(world: World) -> None:
    place = Place()

    async def main(writer: Writer, client: Client) -> None:
        assert await deliver.send_test(place.channel, client, key="k", now=NOW) == sent()

    world.run(main)

    (message,) = place.arrived
    assert message.ids == ()
    assert message.notices[0].test
    assert not world.database.path.exists()
