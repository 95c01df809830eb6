import json
import logging
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import loopback
import pytest
from clients import SharedClient
from hypothesis import given, settings
from loopback import Behaviour, Loopback, reply
from messages import BUDGET, HOSTILE, LOW_CREDITS, MESSAGES, NOW, config, message, waiting
from samples import document
from samples import payload as sample

from orchestrator.alerts import slack
from orchestrator.alerts.message import MOST_ALERTS, Channel, Message, Outcome, length
from orchestrator.config.credentials import Secrets

TOKEN = "aBcDeFgHiJkLmNoPqRsTuVwX"
HOOK = f"/services/T0123456789/B0123456789/{TOKEN}"

REFUSED = Outcome("retry", "Slack refuses even a plain message (HTTP 400)")
REVOKED = Outcome("permanent", "the webhook is revoked or may not post there (HTTP 403)")
MISSING = Outcome("permanent", "the webhook, its channel or its workspace does not exist (HTTP 404)")
ARCHIVED = Outcome("permanent", "the channel is archived (HTTP 410)")
MEANING = {
    "invalid_payload": REFUSED,
    "no_text": REFUSED,
    "user_not_found": REFUSED,
    "action_prohibited": REVOKED,
    "invalid_token": REVOKED,
    "channel_not_found": MISSING,
    "no_service": MISSING,
    "no_team": MISSING,
    "channel_is_archived": ARCHIVED,
    "rate_limited": Outcome("retry", "asked to slow down (HTTP 429)", 30.0),
    "rollup_error": Outcome("retry", "HTTP 500"),
}


@pytest.fixture
def server() -> Iterator[Loopback]:
    with Loopback() as started:
        yield started


@pytest.fixture(scope="module")
def client() -> Iterator[SharedClient]:
    with SharedClient() as shared:
        yield shared


def channel_at(server: Loopback) -> Channel:
    (channel,) = slack.channels(config(secrets=Secrets(slack_webhook_url=server.url + HOOK)))
    return channel


def send(client: SharedClient, server: Loopback, what: Message | None = None) -> Outcome:
    return client.do(lambda one: channel_at(server).send(one, what or message(), NOW))


def texts(server: Loopback) -> list[str]:
    return [json.loads(asked.body)["text"] for asked in server.asked]


def test_a_channel_exists_for_what_is_configured_and_its_fingerprint_follows() -> None:
    one, same, other = (
        slack.channels(config(secrets=Secrets(slack_webhook_url=url)))[0].fingerprint
        for url in ("https://s.example/1", "https://s.example/1", "https://s.example/2")
    )

    assert slack.channels(config()) == ()
    assert one == same != other


def test_a_message_arrives_as_text_with_amount_age_and_bar(server: Loopback, client: SharedClient) -> None:
    server.put(HOOK, sample("slack-200.txt"))

    outcome = send(client, server, message(BUDGET))

    assert outcome == Outcome("sent")
    (text,) = texts(server)
    assert text == (
        "[orchestrator] Daily budget of tenant acme at 80%\n"
        "Alert #13\n"
        "Severity: warning\n"
        "Spent: $8.05\n"
        "Limit: $10.00\n"
        "Remaining: $1.95\n"
        "Used: [########--] 80%\n"
        "Raised: 4min ago (2026-11-21 07:27 UTC)\n"
        "Page: https://orchestrator.example/alerts/13"
    )


def test_several_notices_arrive_as_one_message_the_gravest_first(server: Loopback, client: SharedClient) -> None:
    server.put(HOOK, sample("slack-200.txt"))

    send(client, server, message(BUDGET, LOW_CREDITS))

    (text,) = texts(server)
    first, ids, low, budget = text.split("\n\n")
    assert first == f"[orchestrator] 2 alerts, the gravest critical: {LOW_CREDITS.title}"
    assert ids == "Alerts #13, #12"
    assert low.startswith(f"#12 {LOW_CREDITS.title}\n{LOW_CREDITS.text}\nSeverity: critical\n")
    assert low.endswith(f"What to do: {LOW_CREDITS.what_to_do}")
    assert budget.startswith("#13 Daily budget of tenant acme at 80%\nSeverity: warning\n")


@pytest.mark.parametrize("said", document("slack-errors.json"), ids=lambda said: str(said["body"]))
def test_each_of_slacks_errors_decides_what_comes_next(
    server: Loopback, client: SharedClient, said: dict[str, Any]
) -> None:
    server.put(HOOK, reply(said["body"], said["status"], {"Content-Type": "text/html", **said.get("headers", {})}))

    assert send(client, server) == MEANING[said["body"]]


@pytest.mark.parametrize(
    ("behaviour", "outcome"),
    [
        (reply("<html>bad request</html>", 400), Outcome("retry", "HTTP 400")),
        (reply("<html>busy</html>", 503, {"Retry-After": "7"}), Outcome("retry", "HTTP 503", 7.0)),
        (reply("rate_limited", 429), Outcome("retry", "asked to slow down (HTTP 429)")),
        (
            reply("rate_limited", 429, {"Retry-After": "1000000000000"}),
            Outcome("retry", "asked to slow down (HTTP 429)", 3600.0),
        ),
        (reply("rate_limited", 429, {"Retry-After": "-1"}), Outcome("retry", "asked to slow down (HTTP 429)")),
        (loopback.redirect("https://evil.example/"), Outcome("retry", "HTTP 302")),
        (loopback.raw(b"SSH-2.0\r\n"), Outcome("retry", "answer broken off or not HTTP")),
    ],
)
def test_what_others_answer_in_slacks_place_may_pass(
    server: Loopback, client: SharedClient, behaviour: Behaviour, outcome: Outcome
) -> None:
    server.put(HOOK, behaviour)

    assert send(client, server) == outcome


@pytest.mark.parametrize("behaviour", [loopback.silence, loopback.drip_headers])
def test_a_service_that_does_not_answer_is_given_up_in_time(
    server: Loopback, client: SharedClient, behaviour: Behaviour
) -> None:
    server.put(HOOK, behaviour)
    started = time.monotonic()

    outcome = client.do(lambda one: slack.send_to_webhook(server.url + HOOK, one, message(), NOW, deadline_s=0.3))

    assert outcome == Outcome("retry", "timeout")
    assert time.monotonic() - started < 3


def test_a_refused_text_is_said_once_more_in_our_own_words(server: Loopback, client: SharedClient) -> None:
    server.put(HOOK, reply("invalid_payload", 400), sample("slack-200.txt"))

    outcome = send(client, server, message(replace(BUDGET, title=HOSTILE)))

    assert outcome == Outcome("sent")
    assert texts(server)[1] == (
        "[orchestrator] alert, warning #13: the text was refused here; see `orchestrator alerts list`"
    )


def test_nothing_from_outside_is_more_than_text() -> None:
    hostile = replace(BUDGET, title=HOSTILE, text=HOSTILE, what_to_do=HOSTILE)

    body = slack.payload(message(hostile), NOW)

    text = str(body["text"])
    assert (body["mrkdwn"], body["unfurl_links"], body["unfurl_media"]) == (False, False, False)
    assert "<" not in text
    assert ">" not in text
    assert "&lt;!channel&gt;" in text
    assert "@everyone" not in text
    assert "@here" not in text
    assert not any(character in text for character in "\r\u202e\x00\x1b")


def test_what_is_escaped_reads_as_it_was() -> None:
    assert slack.escaped("a & b < c > d &lt; <!here>") == "a &amp; b &lt; c &gt; d &amp;lt; &lt;!here&gt;"


@given(MESSAGES)
@settings(max_examples=60)
def test_every_message_keeps_to_slacks_limit_and_names_every_alert(what: Message) -> None:
    text = str(slack.payload(what, NOW)["text"])

    assert 0 < length(text) <= 4000
    assert all(f"#{one}" in text for one in what.ids)
    assert "<" not in text


@pytest.mark.parametrize("count", [1, 2, 9, 40, MOST_ALERTS])
def test_however_many_wait_each_is_named_and_the_gravest_are_told(count: int) -> None:
    text = str(slack.payload(waiting(count), NOW)["text"])

    assert all(f"#{10_000 + n}" in text for n in range(count))
    assert text.count("Severity: ") >= 1
    assert length(text) <= 4000


def test_no_secret_is_in_an_outcome_or_a_log(
    server: Loopback, client: SharedClient, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    told = [repr(channel_at(server))]
    for behaviour in (reply(HOOK, 404), reply(TOKEN, 400), reply(HOOK, 500), loopback.hang_up):
        server.put(HOOK, behaviour)
        told.append(repr(send(client, server)))

    printed = capfd.readouterr()
    assert TOKEN not in "\n".join([*told, caplog.text, printed.out, printed.err])
