import hashlib
import json
import logging
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import loopback
import pytest
from clients import SharedClient
from hypothesis import given, settings
from hypothesis import strategies as st
from loopback import Behaviour, Loopback, reply
from messages import BUDGET, HOSTILE, KEY, LOW_CREDITS, MESSAGES, NOW, config, message, waiting
from samples import payload as sample

from orchestrator.alerts import discord
from orchestrator.alerts.message import COLOURS, MOST_ALERTS, Channel, Message, Outcome, length
from orchestrator.config.credentials import Secrets
from orchestrator.config.sections import Alerts
from orchestrator.config.sections import Discord as Settings

TOKEN = "aBcDeFgHiJkLmNoPqRsTuVwXyZ0123456789-_aBcDeFgHiJkLmNoPqRsTuVwXyZ0123"
HOOK = f"/api/webhooks/1160000000000000000/{TOKEN}"
BOT = "MTE2MDAwMDAwMDAwMDAwMDAwMA.GaBcDe.aBcDeFgHiJkLmNoPqRsTuVwXyZ0123456789ab"
OPERATOR = "82198898841029460"
OPEN = "/api/v10/users/@me/channels"
SAY = "/api/v10/channels/319674150115610528/messages"

# What Discord documents for both ways of sending that we use.
DOCUMENTED = {"content", "embeds", "allowed_mentions", "nonce", "enforce_nonce"}
EMBED = {"title", "description", "color", "timestamp", "fields", "footer"}


@pytest.fixture
def server() -> Iterator[Loopback]:
    with Loopback() as started:
        yield started


@pytest.fixture(scope="module")
def client() -> Iterator[SharedClient]:
    with SharedClient() as shared:
        yield shared


def webhook(server: Loopback, query: str = "") -> Channel:
    (channel,) = discord.channels(config(secrets=Secrets(discord_webhook_url=f"{server.url}{HOOK}{query}")))
    return channel


def direct(server: Loopback) -> Channel:
    alerts = Alerts(discord=Settings(operator_user_id=OPERATOR, api_url=f"{server.url}/api/v10/"))
    (channel,) = discord.channels(config(alerts, Secrets(discord_bot_token=BOT)))
    return channel


def send(client: SharedClient, channel: Channel, what: Message | None = None) -> Outcome:
    return client.do(lambda one: channel.send(one, what or message(), NOW))


def bodies(server: Loopback, path: str = HOOK) -> list[Any]:
    return [json.loads(asked.body) for asked in server.asked_for(path)]


def strings(document: object) -> Iterator[str]:
    match document:
        case str():
            yield document
        case Mapping():
            for value in document.values():
                yield from strings(value)
        case list():
            for value in document:
                yield from strings(value)


def test_a_channel_exists_for_what_is_configured() -> None:
    dm = Alerts(discord=Settings(operator_user_id=OPERATOR))
    hook = "https://discord.com/api/webhooks/1/x"

    assert discord.channels(config()) == ()
    assert discord.channels(config(secrets=Secrets(discord_bot_token=BOT))) == ()
    assert discord.channels(config(dm)) == ()
    both = discord.channels(config(dm, Secrets(discord_webhook_url=hook, discord_bot_token=BOT)))
    assert [channel.name for channel in both] == ["discord", "discord-dm"]


def test_a_fingerprint_follows_the_configuration() -> None:
    def prints(alerts: Alerts, secrets: Secrets) -> list[str]:
        return [channel.fingerprint for channel in discord.channels(config(alerts, secrets))]

    dm = Alerts(discord=Settings(operator_user_id=OPERATOR))
    first = prints(dm, Secrets(discord_webhook_url="https://d.example/1", discord_bot_token=BOT))

    assert first == prints(dm, Secrets(discord_webhook_url="https://d.example/1", discord_bot_token=BOT))
    other = prints(
        replace(dm, discord=Settings(operator_user_id="82198898841029461")),
        Secrets(discord_webhook_url="https://d.example/2", discord_bot_token=BOT),
    )
    assert all(one != two for one, two in zip(first, other, strict=True))


def test_a_message_arrives_as_an_embed_with_colour_amount_age_and_bar(server: Loopback, client: SharedClient) -> None:
    server.put(HOOK, sample("discord-webhook-200.json"))

    outcome = send(client, webhook(server), message(BUDGET, LOW_CREDITS))

    assert outcome == Outcome("sent")
    (body,) = bodies(server)
    assert body["content"] == f"[orchestrator] 2 alerts, the gravest critical: {LOW_CREDITS.title}\nAlerts #13, #12"
    low, budget = body["embeds"]
    assert (low["color"], budget["color"]) == (COLOURS["critical"], COLOURS["warning"])
    assert low["title"] == LOW_CREDITS.title
    assert low["timestamp"] == "2026-11-21T05:31:00.000Z"
    assert {"name": "Amount", "value": "$4.27", "inline": True} in low["fields"]
    assert {"name": "Raised", "value": "2h ago (2026-11-21 05:31 UTC)", "inline": True} in low["fields"]
    assert {"name": "Used", "value": "[########--] 80%", "inline": True} in budget["fields"]
    assert {"name": "Page", "value": BUDGET.link, "inline": False} in budget["fields"]
    assert budget["footer"] == {"text": "Alert #13"}


def test_the_body_holds_what_discord_documents_and_mentions_nobody(server: Loopback, client: SharedClient) -> None:
    server.put(HOOK, sample("discord-webhook-200.json"))

    send(client, webhook(server), waiting(30))

    (body,) = bodies(server)
    assert body.keys() <= DOCUMENTED
    assert all(embed.keys() <= EMBED for embed in body["embeds"])
    assert body["allowed_mentions"] == {"parse": []}
    (asked,) = server.asked
    assert asked.headers["user-agent"].startswith("DiscordBot (https://")
    assert TOKEN not in asked.body.decode()


@pytest.mark.parametrize(
    ("query", "target"),
    [
        ("", "?wait=true"),
        ("?thread_id=1170000000000000001", "?thread_id=1170000000000000001&wait=true"),
        ("?wait=false&thread_id=1", "?thread_id=1&wait=true"),
        ("?wait=true", "?wait=true"),
        ("?with_components=", "?with_components=&wait=true"),
    ],
)
def test_the_answer_is_waited_for_and_the_webhooks_own_query_is_kept(
    server: Loopback, client: SharedClient, query: str, target: str
) -> None:
    server.put(HOOK, sample("discord-webhook-200.json"))

    send(client, webhook(server, query))

    assert [asked.target for asked in server.asked] == [HOOK + target]


@pytest.mark.parametrize(
    ("behaviour", "outcome"),
    [
        (sample("discord-webhook-200.json"), Outcome("sent")),
        (sample("discord-webhook-204.txt"), Outcome("sent", "accepted, not confirmed (HTTP 204)")),
        (sample("discord-429.json"), Outcome("retry", "asked to slow down (HTTP 429)", 64.57)),
        (sample("discord-429-global.json"), Outcome("retry", "asked to slow down (HTTP 429)", 64.57)),
        (sample("discord-429-shared.json"), Outcome("retry", "asked to slow down (HTTP 429)", 1336.57)),
        (sample("discord-429-blocked-no-retry-after.json"), Outcome("retry", "asked to slow down (HTTP 429)")),
        (sample("discord-429-cloudflare.txt"), Outcome("retry", "asked to slow down (HTTP 429)", 600.0)),
        (
            reply({"retry_after": 1e12}, 429, {"Retry-After": "999999999999"}),
            Outcome("retry", "asked to slow down (HTTP 429)", 3600.0),
        ),
        (
            reply({"retry_after": -1, "message": "x"}, 429, {"Retry-After": "soon"}),
            Outcome("retry", "asked to slow down (HTTP 429)"),
        ),
        (reply(["x"], 429), Outcome("retry", "asked to slow down (HTTP 429)")),
        (
            sample("discord-404-unknown-webhook.json"),
            Outcome("permanent", "the webhook does not exist (HTTP 404, code 10015)"),
        ),
        (
            sample("discord-401-invalid-webhook-token.json"),
            Outcome("permanent", "the webhook's token is not valid (HTTP 401, code 50027)"),
        ),
        (sample("discord-502.txt"), Outcome("retry", "HTTP 502")),
        (reply("upstream", 503, {"Retry-After": "30"}), Outcome("retry", "HTTP 503", 30.0)),
        (reply("<html>not found</html>", 404), Outcome("retry", "HTTP 404")),
        (reply("error code: 1020", 403), Outcome("retry", "HTTP 403")),
        (reply("<html>bad request</html>", 400), Outcome("retry", "HTTP 400")),
        (reply({"code": True}, 404), Outcome("retry", "HTTP 404")),
        (reply({"code": 99999, "message": "x"}, 403), Outcome("retry", "HTTP 403, code 99999")),
        (loopback.redirect("https://evil.example/"), Outcome("retry", "HTTP 302")),
        (loopback.raw(b"SSH-2.0\r\n"), Outcome("retry", "answer broken off or not HTTP")),
        (loopback.endless_headers, Outcome("retry", "answer broken off or not HTTP")),
    ],
)
def test_what_discord_answers_decides_what_comes_next(
    server: Loopback, client: SharedClient, behaviour: Behaviour, outcome: Outcome
) -> None:
    server.put(HOOK, behaviour)

    assert send(client, webhook(server)) == outcome


def test_a_service_that_cannot_be_reached_is_tried_again(client: SharedClient) -> None:
    gone = f"http://127.0.0.1:{loopback.closed_port()}/api/webhooks/1/x"
    (channel,) = discord.channels(config(secrets=Secrets(discord_webhook_url=gone)))

    assert send(client, channel) == Outcome("retry", "connection refused")


@pytest.mark.parametrize("behaviour", [loopback.silence, loopback.drip_headers, loopback.endless_hints])
def test_a_service_that_does_not_answer_is_given_up_in_time(
    server: Loopback, client: SharedClient, behaviour: Behaviour
) -> None:
    server.put(HOOK, behaviour)
    started = time.monotonic()

    outcome = client.do(lambda one: discord.send_to_webhook(f"{server.url}{HOOK}", one, message(), NOW, deadline_s=0.3))

    assert outcome == Outcome("retry", "timeout")
    assert time.monotonic() - started < 3


@pytest.mark.parametrize("refusal", ["discord-400-invalid-form.json", "discord-400-empty.json"])
def test_a_refused_text_is_said_once_more_in_our_own_words(
    server: Loopback, client: SharedClient, refusal: str
) -> None:
    server.put(HOOK, sample(refusal), sample("discord-webhook-200.json"))

    outcome = send(client, webhook(server), message(replace(BUDGET, title=HOSTILE)))

    assert outcome == Outcome("sent")
    assert bodies(server)[1] == {
        "content": "[orchestrator] alert, warning #13: the text was refused here; see `orchestrator alerts list`",
        "allowed_mentions": {"parse": []},
    }


@pytest.mark.parametrize(
    ("refusal", "outcome"),
    [
        (sample("discord-400-invalid-form.json"), Outcome("retry", "HTTP 400, code 50035")),
        (sample("discord-400-empty.json"), Outcome("retry", "HTTP 400, code 50006")),
        (
            reply({"code": 220001, "message": "x"}, 400),
            Outcome(
                "permanent",
                "the webhook's channel is a forum, and its URL names no thread_id (HTTP 400, code 220001)",
            ),
        ),
    ],
)
def test_a_channel_that_refuses_even_our_own_words_is_not_closed_for_words(
    server: Loopback, client: SharedClient, refusal: Behaviour, outcome: Outcome
) -> None:
    server.put(HOOK, refusal)

    assert send(client, webhook(server)) == outcome
    assert len(server.asked) == 2


def test_a_direct_message_opens_the_conversation_once(server: Loopback, client: SharedClient) -> None:
    server.put(OPEN, sample("discord-dm-channel.json"))
    server.put(SAY, sample("discord-webhook-200.json"))
    channel = direct(server)

    outcomes = [send(client, channel), send(client, channel, message(BUDGET))]

    assert outcomes == [Outcome("sent"), Outcome("sent")]
    assert [asked.path for asked in server.asked] == [OPEN, SAY, SAY]
    assert bodies(server, OPEN) == [{"recipient_id": OPERATOR}]
    assert {asked.headers["authorization"] for asked in server.asked} == {f"Bot {BOT}"}
    first = bodies(server, SAY)[0]
    assert first.keys() <= DOCUMENTED
    assert first["embeds"][0]["title"] == LOW_CREDITS.title


def test_a_direct_message_that_is_tried_again_can_be_recognised(server: Loopback, client: SharedClient) -> None:
    server.put(OPEN, sample("discord-dm-channel.json"))
    server.put(SAY, sample("discord-502.txt"), sample("discord-webhook-200.json"))

    outcomes = [send(client, direct(server)).result for _ in range(2)]
    send(client, direct(server), Message((BUDGET,), "another key"))

    assert outcomes == ["retry", "sent"]
    nonces = [body["nonce"] for body in bodies(server, SAY)]
    assert nonces[0] == nonces[1] == hashlib.sha256(KEY.encode()).hexdigest()[:25]
    assert nonces[2] != nonces[0]
    assert {body["enforce_nonce"] for body in bodies(server, SAY)} == {True}


@pytest.mark.parametrize(
    ("behaviour", "result", "reason"),
    [
        (sample("discord-401-bot.json"), "permanent", "the token is not valid (HTTP 401, code 0)"),
        (
            sample("discord-403-cannot-dm.json"),
            "permanent",
            "the operator takes no direct messages from the bot (HTTP 403, code 50007)",
        ),
        (
            sample("discord-403-no-mutual-guilds.json"),
            "permanent",
            "the bot shares no server with the operator (HTTP 403, code 50278)",
        ),
        (sample("discord-403-dm-too-fast.json"), "retry", "HTTP 403, code 40003"),
        (sample("discord-429.json"), "retry", "asked to slow down (HTTP 429)"),
        (sample("discord-502.txt"), "retry", "HTTP 502"),
    ],
)
@pytest.mark.parametrize("step", [OPEN, SAY])
def test_a_direct_message_fails_for_a_reason(
    server: Loopback, client: SharedClient, step: str, behaviour: Behaviour, result: str, reason: str
) -> None:
    server.put(OPEN, sample("discord-dm-channel.json"))
    server.put(step, behaviour)

    outcome = send(client, direct(server))

    assert (outcome.result, outcome.reason) == (result, reason)


@pytest.mark.parametrize(
    ("behaviour", "outcome"),
    [
        (
            reply({"code": 50033, "message": "Invalid Recipient(s)"}, 400),
            Outcome("permanent", "Discord does not take the operator's user id (HTTP 400, code 50033)"),
        ),
        (reply({"code": 50035, "message": "Invalid Form Body"}, 400), Outcome("retry", "HTTP 400, code 50035")),
        (reply({"id": "../../webhooks/1"}), Outcome("retry", "no conversation in Discord's answer")),
        (reply({"id": 319674150115610528}), Outcome("retry", "no conversation in Discord's answer")),
        (reply("ok"), Outcome("retry", "no conversation in Discord's answer")),
        (reply({"code": 10013}, 404), Outcome("permanent", "there is no such user (HTTP 404, code 10013)")),
    ],
)
def test_a_conversation_that_cannot_be_opened_says_why(
    server: Loopback, client: SharedClient, behaviour: Behaviour, outcome: Outcome
) -> None:
    server.put(OPEN, behaviour)

    assert send(client, direct(server)) == outcome
    assert [asked.path for asked in server.asked] == [OPEN]


def test_a_conversation_that_is_gone_is_opened_again(server: Loopback, client: SharedClient) -> None:
    server.put(OPEN, sample("discord-dm-channel.json"))
    server.put(SAY, reply({"code": 10003, "message": "Unknown Channel"}, 404), sample("discord-webhook-200.json"))
    channel = direct(server)

    outcomes = [send(client, channel), send(client, channel)]

    assert [outcome.result for outcome in outcomes] == ["retry", "sent"]
    assert [asked.path for asked in server.asked] == [OPEN, SAY, OPEN, SAY]


def test_a_refused_direct_message_is_said_once_more_in_our_own_words(server: Loopback, client: SharedClient) -> None:
    server.put(OPEN, sample("discord-dm-channel.json"))
    server.put(SAY, sample("discord-400-invalid-form.json"), sample("discord-webhook-200.json"))

    assert send(client, direct(server)).result == "sent"
    first, second = bodies(server, SAY)
    assert "embeds" not in second
    assert first["nonce"] == second["nonce"]


def test_nothing_from_outside_is_more_than_text() -> None:
    hostile = replace(BUDGET, title=HOSTILE, text=HOSTILE, what_to_do=HOSTILE)

    body = discord.payload(message(hostile), NOW)

    told = list(strings(body))
    for text in told:
        assert "@everyone" not in text
        assert "@here" not in text
        assert "://evil" not in text
        for markup in ("<@", "<#", "**", "~~", "||", "](", "`"):
            assert all(text[at - 1] == "\\" for at in range(len(text)) if text.startswith(markup, at))
    assert not any(character in text for text in told for character in "\r\u202e\x00\x1b")
    assert "\n" not in "".join(told)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Low credits: $4.27 remaining (account). 72%", "Low credits: $4.27 remaining (account). 72%"),
        ("openai/gpt-4.1_mini", "openai/gpt-4.1\\_mini"),
        ("# heading", "\\# heading"),
        ("- item", "\\- item"),
        ("\\*", "\\\\\\*"),
        ("ops@hereford.example", "ops@\u200bhereford.example"),
        ("me@x.example", "me@x.example"),
        ("https://x.example", "https:\\/\\/x.example"),
    ],
)
def test_markdown_is_taken_for_what_it_is(text: str, shown: str) -> None:
    assert discord.escaped(text) == shown


@given(MESSAGES)
@settings(max_examples=60)
def test_every_message_keeps_to_discords_limits_and_names_every_alert(what: Message) -> None:
    body: Any = discord.payload(what, NOW)

    assert 0 < length(body["content"]) <= 2000
    assert 1 <= len(body["embeds"]) <= 10
    for embed in body["embeds"]:
        assert length(embed.get("title", "")) <= 256
        assert length(embed.get("description", "")) <= 4096
        assert length(embed.get("footer", {}).get("text", "")) <= 2048
        assert len(embed.get("fields", [])) <= 25
        assert all(0 < length(field["name"]) <= 256 for field in embed.get("fields", []))
        assert all(0 < length(field["value"]) <= 1024 for field in embed.get("fields", []))
    uncounted = ("color", "timestamp")
    counted = [{name: value for name, value in embed.items() if name not in uncounted} for embed in body["embeds"]]
    assert sum(length(text) for text in strings(counted)) <= 6000
    everything = "\n".join(strings(body))
    assert all(f"#{one}" in everything for one in what.ids)


@given(st.integers(1, MOST_ALERTS))
@settings(max_examples=20)
def test_however_many_wait_each_is_named_and_the_gravest_are_told(count: int) -> None:
    body: Any = discord.payload(waiting(count), NOW)

    everything = "\n".join(strings(body))
    assert all(f"#{10_000 + n}" in everything for n in range(count))
    assert any(field["name"] == "Severity" for field in body["embeds"][0]["fields"])


def test_no_secret_is_in_an_outcome_or_a_log(
    server: Loopback, client: SharedClient, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    echo = f"no {server.url}{HOOK} {TOKEN} Bot {BOT}"
    behaviours = [
        reply({"message": echo, "code": 10015}, 404),
        reply({"message": echo, "code": 50035}, 400),
        reply(echo, 502),
        reply(echo, 429, {"Retry-After": echo}),
        loopback.hang_up,
    ]
    told = []
    for behaviour in behaviours:
        server.put("*", behaviour)
        told += [repr(channel) + repr(send(client, channel)) for channel in (webhook(server), direct(server))]

    printed = capfd.readouterr()
    everything = "\n".join([*told, caplog.text, printed.out, printed.err])
    assert TOKEN not in everything
    assert BOT not in everything


def test_the_library_is_loaded_when_something_is_sent_and_not_before() -> None:
    code = "import sys, orchestrator.alerts.discord; print('discord_webhook' in sys.modules, 'requests' in sys.modules)"

    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert ran.stdout.split() == ["False", "False"]


def test_the_library_is_imported_by_this_notifier_alone() -> None:
    package = Path(discord.__file__).parents[1]

    users = [
        one for one in package.rglob("*.py") if re.search(r"(import|from) discord_webhook", one.read_text("utf-8"))
    ]

    assert users == [Path(discord.__file__)]
