import asyncio
import logging
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from email.message import EmailMessage
from functools import partial
from pathlib import Path
from typing import Any

import loopback
import pytest
from clients import SharedClient, with_client
from hypothesis import given, settings
from mailboxes import Post, Speaker, TakesAndFallsSilent, certificate, posting, server_context
from messages import BUDGET, HOSTILE, KEY, LOW_CREDITS, MESSAGES, NOW, config, message, waiting

from orchestrator.alerts import email
from orchestrator.alerts.email import Mailbox
from orchestrator.alerts.message import MOST_ALERTS, Channel, Message, Outcome
from orchestrator.collectors.fetch import Client
from orchestrator.config.credentials import Secrets
from orchestrator.config.sections import Alerts, Email

ANN, BOB = "ann@ops.example", "bob@ops.example"
PASSWORD = "correct-horse-battery"
PLAIN = Email(smtp_host="127.0.0.1", security="none", sender="orchestrator@agent.example", recipients=(ANN,))


@pytest.fixture
def post() -> Post:
    return Post()


@pytest.fixture(scope="module")
def client() -> Iterator[SharedClient]:
    with SharedClient() as shared:
        yield shared


@pytest.fixture(scope="module")
def certified(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    made = certificate(tmp_path_factory.mktemp("tls"), "DNS:localhost", "IP:127.0.0.1")
    if made is None:
        pytest.skip("there is no openssl command to make a certificate with")
    return made


def send(
    client: SharedClient, settings: Email, what: Message | None = None, password: str | None = None, **more: Any
) -> Outcome:
    box = Mailbox(settings, settings.recipients[0], password, **more)
    return client.do(lambda one: box.send(one, what or message(), NOW))


async def deliver(channel: Channel, client: Client) -> Outcome:
    return await channel.send(client, message(), NOW)


def parts(mail: EmailMessage) -> tuple[str, str]:
    plain, page = mail.get_body(("plain",)), mail.get_body(("html",))
    assert plain is not None
    assert page is not None
    return plain.get_content(), page.get_content()


def test_each_recipient_is_a_channel_when_a_server_and_a_sender_are_configured() -> None:
    def names(settings: Email) -> list[str]:
        return [channel.name for channel in email.channels(config(Alerts(email=settings)))]

    assert names(replace(PLAIN, recipients=(ANN, BOB, ANN))) == [f"email:{ANN}", f"email:{BOB}"]
    assert names(Email()) == []
    assert names(replace(PLAIN, sender="")) == []
    assert names(replace(PLAIN, smtp_host="")) == []
    assert names(replace(PLAIN, recipients=())) == []


@pytest.mark.parametrize(
    "change",
    [
        {"smtp_host": "mail.example"},
        {"smtp_port": 25},
        {"security": "tls"},
        {"username": "me"},
        {"sender": "other@agent.example"},
    ],
)
def test_a_fingerprint_follows_the_way_to_the_recipient(change: dict[str, Any]) -> None:
    def prints(settings: Email, password: str | None = None) -> list[str]:
        found = email.channels(config(Alerts(email=settings), Secrets(smtp_password=password)))
        return [channel.fingerprint for channel in found]

    both = replace(PLAIN, recipients=(ANN, BOB))
    assert prints(both)[0] != prints(both)[1]
    assert prints(both)[:1] == prints(PLAIN)
    assert prints(PLAIN) != prints(PLAIN, PASSWORD)
    assert prints(PLAIN) != prints(replace(PLAIN, **change))


def test_a_mail_has_a_plain_and_an_html_part_with_all_that_is_known(post: Post, client: SharedClient) -> None:
    with posting(post) as port:
        outcome = send(client, replace(PLAIN, smtp_port=port), message(replace(BUDGET, what_to_do="Raise the limit.")))

    assert outcome == Outcome("sent")
    (mail,), (envelope,) = post.mails, post.accepted
    assert (envelope.mail_from, envelope.rcpt_tos) == (PLAIN.sender, [ANN])
    assert mail["Subject"] == "[orchestrator] Daily budget of tenant acme at 80%"
    assert (mail["From"], mail["To"]) == (f"orchestrator <{PLAIN.sender}>", ANN)
    assert mail["Date"] == "Sat, 21 Nov 2026 07:31:00 +0000"
    assert mail["Auto-Submitted"] == "auto-generated"
    for part in parts(mail):
        for told in (
            "Alert #13",
            "warning",
            "$8.05",
            "$10.00",
            "$1.95",
            "[########--] 80%",
            "4min ago",
            "Raise the limit.",
            "https://orchestrator.example/alerts/13",
        ):
            assert told in part
    assert "href='https://orchestrator.example/alerts/13'" in parts(mail)[1]
    assert "width:80%" in parts(mail)[1]


def test_a_server_is_greeted_with_our_address(post: Post, client: SharedClient) -> None:
    with posting(post) as port:
        send(client, replace(PLAIN, smtp_port=port))

    assert post.spoken == ["EHLO [127.0.0.1]"]


def test_a_mail_that_is_sent_again_has_the_same_name(post: Post, client: SharedClient) -> None:
    with posting(post) as port:
        for what in (message(), message(), Message((LOW_CREDITS,), "another key")):
            send(client, replace(PLAIN, smtp_port=port), what)

    one, again, other = (mail["Message-ID"] for mail in post.mails)
    assert one == again != other
    assert one.endswith("@agent.example>")
    assert KEY not in one


def test_a_hundred_alerts_are_one_mail_that_names_them_all(post: Post, client: SharedClient) -> None:
    with posting(post) as port:
        send(client, replace(PLAIN, smtp_port=port), waiting(MOST_ALERTS))

    (mail,) = post.mails
    for part in parts(mail):
        assert all(f"#{10_000 + n}" in part for n in range(MOST_ALERTS))


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        ("550 5.1.1 no such user", Outcome("permanent", "the recipient is refused (SMTP 550)")),
        ("552 mailbox full", Outcome("permanent", "the recipient is refused (SMTP 552)")),
        ("450 4.2.0 greylisted, come back", Outcome("retry", "the recipient is refused for now (SMTP 450)")),
        ("421 too busy", Outcome("retry", "the recipient is refused for now (SMTP 421)")),
    ],
)
def test_a_recipient_who_is_refused_keeps_nobody_else_from_the_mail(
    post: Post, client: SharedClient, answer: str, outcome: Outcome
) -> None:
    post.rcpt = {ANN: answer}
    with posting(post) as port:
        found = email.channels(
            config(Alerts(email=replace(PLAIN, smtp_port=port, recipients=(ANN, BOB))), Secrets(smtp_password=None))
        )
        outcomes = [client.do(partial(deliver, channel)) for channel in found]

    assert outcomes == [outcome, Outcome("sent")]
    assert [envelope.rcpt_tos for envelope in post.accepted] == [[BOB]]


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        ("550 not you", Outcome("permanent", "the sender is refused (SMTP 550)")),
        ("451 not now", Outcome("retry", "the sender is refused for now (SMTP 451)")),
    ],
)
def test_a_sender_who_is_refused(post: Post, client: SharedClient, answer: str, outcome: Outcome) -> None:
    post.sender = answer
    with posting(post) as port:
        assert send(client, replace(PLAIN, smtp_port=port)) == outcome


def test_a_refused_text_is_said_once_more_in_our_own_words(post: Post, client: SharedClient) -> None:
    post.data = ["554 5.7.1 this looks like spam", "250 OK"]
    with posting(post) as port:
        outcome = send(client, replace(PLAIN, smtp_port=port), message(replace(BUDGET, title=HOSTILE)))

    assert outcome == Outcome("sent")
    (mail,) = post.mails
    told = "[orchestrator] alert, warning #13: the text was refused here; see `orchestrator alerts list`"
    assert (mail["Subject"], mail.get_content().strip()) == (told, told)


@pytest.mark.parametrize(
    ("answers", "outcome"),
    [
        (["554 spam", "554 spam"], Outcome("permanent", "the mail is refused (SMTP 554)")),
        (["451 later"], Outcome("retry", "the mail is refused for now (SMTP 451)")),
        (["554 spam", "451 later"], Outcome("retry", "the mail is refused for now (SMTP 451)")),
    ],
)
def test_a_mail_that_is_refused_altogether(
    post: Post, client: SharedClient, answers: list[str], outcome: Outcome
) -> None:
    post.data = answers
    with posting(post) as port:
        assert send(client, replace(PLAIN, smtp_port=port)) == outcome
    assert post.accepted == []


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_a_mail_travels_encrypted_to_a_server_whose_certificate_is_trusted(
    post: Post,
    client: SharedClient,
    certified: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
    security: Any,
    host: str,
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certified[0]))
    post.login = ("me", PASSWORD)
    context = server_context(certified)
    tls: dict[str, Any] = {"tls_context": context, "require_starttls": True}
    if security == "tls":  # aiosmtpd offers a login after STARTTLS only, unless it is told otherwise
        tls = {"ssl_context": context, "auth_require_tls": False}
    with posting(post, **tls) as port:
        settings = replace(PLAIN, smtp_host=host, smtp_port=port, security=security, username="me")
        outcome = send(client, settings, password=PASSWORD)

    assert outcome == Outcome("sent")
    assert len(post.accepted) == 1


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_a_certificate_that_nobody_vouches_for_is_not_accepted(
    post: Post, client: SharedClient, certified: tuple[Path, Path], security: Any
) -> None:
    context = server_context(certified)
    tls: dict[str, Any] = {"tls_context": context} if security == "starttls" else {"ssl_context": context}
    with posting(post, **tls) as port:
        outcome = send(client, replace(PLAIN, smtp_port=port, security=security))

    assert outcome == Outcome("retry", "certificate not valid")
    assert post.accepted == []


def test_a_certificate_for_another_host_is_not_accepted(
    post: Post, client: SharedClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = certificate(tmp_path, "DNS:elsewhere.example")
    if made is None:
        pytest.skip("there is no openssl command to make a certificate with")
    monkeypatch.setenv("SSL_CERT_FILE", str(made[0]))
    with posting(post, tls_context=server_context(made)) as port:
        outcome = send(client, replace(PLAIN, smtp_host="localhost", smtp_port=port, security="starttls"))

    assert outcome == Outcome("retry", "certificate not valid")


def test_what_is_to_be_encrypted_is_never_sent_in_the_clear(post: Post, client: SharedClient) -> None:
    post.login = ("me", PASSWORD)
    with posting(post, auth_require_tls=False) as port:
        settings = replace(PLAIN, smtp_port=port, security="starttls", username="me")
        outcome = send(client, settings, password=PASSWORD)

    assert outcome == Outcome("retry", "the server offers no STARTTLS, or no login")
    assert post.accepted == []


@pytest.mark.parametrize(
    ("given", "refusal", "outcome"),
    [
        (PASSWORD, "", Outcome("sent")),
        ("wrong", "535 5.7.8 bad credentials", Outcome("permanent", "the login is refused (SMTP 535)")),
        ("wrong", "534 5.7.9 too weak", Outcome("permanent", "the login is refused (SMTP 534)")),
        ("wrong", "454 4.7.0 try later", Outcome("retry", "the login is refused for now (SMTP 454)")),
        (None, "535 5.7.8 bad credentials", Outcome("permanent", "the login is refused (SMTP 535)")),
    ],
)
def test_a_login_decides(post: Post, client: SharedClient, given: str | None, refusal: str, outcome: Outcome) -> None:
    post.login, post.login_refusal = ("me", PASSWORD), refusal
    with posting(post, auth_require_tls=False) as port:
        assert send(client, replace(PLAIN, smtp_port=port, username="me"), password=given) == outcome


def test_a_login_that_is_not_offered_may_be_so_later(post: Post, client: SharedClient) -> None:
    with posting(post) as port:
        outcome = send(client, replace(PLAIN, smtp_port=port, username="me"), password=PASSWORD)

    assert outcome == Outcome("retry", "the server offers no STARTTLS, or no login")


@pytest.mark.parametrize(
    ("speaker", "outcome"),
    [
        (Speaker(b"554 go away\r\n"), Outcome("retry", "the server is not ready (SMTP 554)")),
        (Speaker(b"421 busy\r\n"), Outcome("retry", "the server is not ready (SMTP 421)")),
        (Speaker(b"HTTP/1.1 400 Bad Request\r\n"), Outcome("retry", "the server is not ready (SMTP -1)")),
        (Speaker(b"220 hi\r\n", b"502 what?\r\n"), Outcome("retry", "the server is not ready (SMTP 502)")),
        (
            Speaker(b"220 hi\r\n", b"250 a\r\n", b"x" * 9000 + b"\r\n"),
            Outcome("retry", "the server is not ready (SMTP 500)"),
        ),
        (Speaker(b"220-" + b"more\r\n220-" * 20_000), Outcome("retry", "connection lost")),
    ],
    ids=lambda said: said.reason if isinstance(said, Outcome) else "",
)
def test_a_server_that_speaks_as_it_should_not(client: SharedClient, speaker: Speaker, outcome: Outcome) -> None:
    with speaker:
        assert send(client, replace(PLAIN, smtp_port=speaker.port)) == outcome


@pytest.mark.parametrize(
    "speaker",
    [
        Speaker(b""),
        Speaker(b"220-", drip=b"x"),
        Speaker(b"220-hi\r\n", drip=b"220-hi\r\n"),
        Speaker(b"220 hi\r\n"),
        Speaker(b"220 hi\r\n", b"250-a\r\n"),
    ],
    ids=["silent", "dripping a line", "dripping lines", "silent after the greeting", "in the middle of a reply"],
)
def test_the_whole_conversation_has_one_deadline_and_leaves_nobody_talking(
    client: SharedClient, speaker: Speaker
) -> None:
    with speaker:
        started = time.monotonic()
        outcome = send(client, replace(PLAIN, smtp_port=speaker.port), deadline_s=0.3)
        took = time.monotonic() - started

        assert outcome == Outcome("retry", "timeout")
        assert took < 2
        wait_for_silence()


def test_a_tls_server_that_never_shakes_hands_is_given_up(client: SharedClient) -> None:
    with Speaker(b"") as speaker:
        settings = replace(PLAIN, smtp_port=speaker.port, security="tls")

        assert send(client, settings, deadline_s=0.3) == Outcome("retry", "timeout")
        wait_for_silence()


def test_a_cancelled_mail_is_not_sent_later() -> None:
    async def run(client: Client, port: int) -> bool:
        box = Mailbox(replace(PLAIN, smtp_port=port), ANN)
        sending = asyncio.create_task(box.send(client, message(), NOW))
        await asyncio.wait([sending], timeout=0.2)
        sending.cancel()
        await asyncio.wait([sending])
        return sending.cancelled()

    with Speaker(b"220 hi\r\n", b"250 a\r\n", b"250 b\r\n", b"250-c\r\n") as speaker:
        assert with_client(lambda client: run(client, speaker.port))
        wait_for_silence()
        assert not any(line.lower().startswith(b"data") for line in speaker.heard)


def wait_for_silence() -> None:
    """Wait until no conversation is left, which a cut line ends within moments."""
    for thread in threading.enumerate():
        if thread.name == "smtp":
            thread.join(timeout=2)
            assert not thread.is_alive()


@pytest.mark.parametrize(
    ("host", "port", "reason"),
    [
        ("127.0.0.1", 0, "connection refused"),
        ("no-such-host.invalid", 25, "host not found"),
        ("a" * 64 + ".invalid", 25, "host, name or address not usable"),
    ],
)
def test_a_server_that_cannot_be_reached_is_tried_again(
    client: SharedClient, host: str, port: int, reason: str
) -> None:
    settings = replace(PLAIN, smtp_host=host, smtp_port=port or loopback.closed_port())
    assert send(client, settings) == Outcome("retry", reason)


def test_a_server_that_does_not_answer_the_farewell_has_the_mail_all_the_same(client: SharedClient) -> None:
    with TakesAndFallsSilent() as speaker:
        started = time.monotonic()

        assert send(client, replace(PLAIN, smtp_port=speaker.port)) == Outcome("sent")
        assert time.monotonic() - started < 5


def test_nothing_from_outside_is_more_than_text(post: Post, client: SharedClient) -> None:
    hostile = replace(BUDGET, title=HOSTILE, text=HOSTILE, what_to_do=HOSTILE)

    with posting(post) as port:
        send(client, replace(PLAIN, smtp_port=port), message(hostile))

    (mail,), (envelope,) = post.mails, post.accepted
    assert envelope.rcpt_tos == [ANN]
    assert mail["Bcc"] is None
    plain, page = parts(mail)
    assert "<script>" not in page
    assert "</td><" not in page.split("&lt;/td&gt;")[1].split("</h1>")[0]
    assert "Bcc" not in [line.partition(":")[0] for line in plain.splitlines()]
    assert not any(character in plain + page for character in "\u202e\x00\x1b")


@pytest.mark.parametrize(
    "title",
    [
        "a\r\nBcc: victim@evil.example",
        "=?utf-8?q?a=0D=0ABcc:_victim=40evil.example?=",
        "=?utf-8?b?YQ0KQmNjOiB2aWN0aW1AZXZpbC5leGFtcGxl?=",
        "x" * 5000,
        "ключ " * 100,
        "💸" * 300,
        "\ud800",
        "",
    ],
)
def test_no_title_makes_a_header_of_its_own(post: Post, client: SharedClient, title: str) -> None:
    with posting(post) as port:
        outcome = send(client, replace(PLAIN, smtp_port=port), message(replace(BUDGET, title=title)))

    assert outcome == Outcome("sent")
    (mail,), (envelope,) = post.mails, post.accepted
    assert set(mail.keys()) <= {
        *("Subject", "From", "To", "Date", "Message-ID", "Auto-Submitted", "MIME-Version", "Content-Type"),
        *("X-Peer", "X-MailFrom", "X-RcptTo"),
    }
    assert mail["Subject"].startswith("[orchestrator]")
    assert all(len(line) <= 998 for line in (envelope.original_content or b"").split(b"\r\n"))


@given(MESSAGES)
@settings(max_examples=40)
def test_every_message_can_be_written_as_a_mail_of_ascii(what: Message) -> None:
    box = Mailbox(PLAIN, ANN)

    content = email.letter(box, what, NOW).as_bytes() + email.letter_in_own_words(box, what, NOW).as_bytes()

    assert content.isascii()
    assert all(f"#{one}" in email.page(what, NOW) for one in what.ids)


def test_no_secret_is_in_an_outcome_or_a_log(
    post: Post, client: SharedClient, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    post.login, post.login_refusal = ("me", "other"), f"535 {PASSWORD} is wrong"
    settings = replace(PLAIN, username="me")
    found = email.channels(config(Alerts(email=settings), Secrets(smtp_password=PASSWORD)))
    told = [repr(found), repr(Mailbox(settings, ANN, PASSWORD))]
    with posting(post, auth_require_tls=False) as port:
        told.append(repr(send(client, replace(settings, smtp_port=port), password=PASSWORD)))
    with Speaker(f"554 {PASSWORD}\r\n".encode()) as speaker:
        told.append(repr(send(client, replace(settings, smtp_port=speaker.port), password=PASSWORD)))
    told.append(repr(send(client, replace(settings, username="é"), password=PASSWORD)))

    printed = capfd.readouterr()
    ours = [record.getMessage() for record in caplog.records if record.name != "mail.log"]  # aiosmtpd's own
    assert PASSWORD not in "\n".join([*told, *ours, printed.out, printed.err])


def test_no_socket_is_left_behind(client: SharedClient) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        assert send(client, replace(PLAIN, smtp_port=port), deadline_s=0.2).reason == "timeout"
        wait_for_silence()
