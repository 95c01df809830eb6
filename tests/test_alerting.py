"""Alerts from end to end: real processes, real servers that play OpenRouter, Discord, Slack and a mail server."""

import json
import random
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from alerting import (
    BOT_TOKEN,
    CONVERSATION,
    DIRECT,
    KEY,
    MANAGEMENT_KEY,
    SLACK,
    WEBHOOK,
    Services,
    all_services,
    left,
)
from clocks import FakeClock
from loopback import Asked, hang_up, reply, silence
from processes import daemon, ended, finished, locked, rows, until
from samples import payload

from orchestrator import app, scan
from orchestrator.daemon import Daemon

CHANNELS = ["discord", "discord-dm", "email:boss@example.org", "email:ops@example.org", "slack"]
LOW = "[orchestrator] Low credits: $4.27 remaining on OpenRouter (key limit). Please top up."
FAST = {"ORCHESTRATOR_ORCHESTRATOR__SCAN_INTERVAL_SECONDS": "1", "ORCHESTRATOR_CREDITS__CHECK_INTERVAL_SECONDS": "1"}


@pytest.fixture
def services() -> Iterator[Services]:
    with all_services() as found:
        yield found


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "orchestrator.db"


def more_looks(services: Services, than: int) -> bool:
    return len(services.asked(KEY)) >= than


def listed(environ: dict[str, str], cwd: Path) -> list[Any]:
    done = finished("alerts", "list", "--json", environ=environ, cwd=cwd)
    assert done.returncode == 0, done.stderr
    found: list[Any] = json.loads(done.stdout)["data"]
    return found


def test_once_tells_every_channel_of_low_credits_once_and_of_their_end(tmp_path: Path, services: Services) -> None:
    environ = services.environment(tmp_path)
    services.server.put(KEY, left(4.27, limit_reset="daily"))
    first = finished("once", environ=environ, cwd=tmp_path)
    again = finished("once", environ=environ, cwd=tmp_path)
    (discord,), (direct,), (slack,) = services.told(WEBHOOK), services.told(DIRECT), services.told(SLACK)
    mails = list(services.post.mails)
    services.server.put(KEY, left(30))
    over = finished("once", environ=environ, cwd=tmp_path)

    assert (first.returncode, again.returncode, over.returncode) == (0, 0, 0), first.stderr
    assert first.stdout.splitlines()[-2:] == [
        "- OpenRouter: $4.27 left, $1.20 spent today (0min ago)",
        "- Alert (critical, 0min ago): low credits, $4.27 left",
    ]
    assert LOW in discord["content"]
    assert LOW in direct["content"]
    assert slack["text"].startswith(LOW)
    assert [(mail["To"], mail["Subject"]) for mail in mails] == [(mail["To"], LOW) for mail in mails]
    assert {mail["To"] for mail in mails} == {"ops@example.org", "boss@example.org"}
    assert services.asked(DIRECT)[0].headers["authorization"] == f"Bot {BOT_TOKEN}"
    assert "Credits are no longer low: $30.00 remaining" in services.told(WEBHOOK)[1]["content"]
    assert [len(services.told(path)) for path in (WEBHOOK, DIRECT, SLACK)] == [2, 2, 2]
    assert len(services.post.mails) == 4
    (alert,) = listed(environ, tmp_path)
    assert (alert["kind"], alert["severity"], alert["state"], alert["remaining_usd"]) == (
        "low_credits",
        "critical",
        "over",
        4.27,
    )
    assert [(one["channel"], one["state"]) for one in alert["deliveries"]] == [(name, "sent") for name in CHANNELS]


SPENT = {"Spent": "$95.73", "Limit": "$100.00", "Remaining": "$4.27", "Used": "[#########-] 95%"}


def lines_of(text: str) -> dict[str, str]:
    return dict(line.split(": ", 1) for line in text.splitlines() if ": " in line)


def fields_of(body: Any) -> dict[str, str]:
    (embed,) = body["embeds"]
    return {field["name"]: field["value"] for field in embed["fields"]}


def part(mail: EmailMessage, kind: str) -> str:
    body = mail.get_body((kind,))
    assert body is not None
    return str(body.get_content())


def test_what_was_spent_of_the_limit_is_in_every_message_with_a_bar(tmp_path: Path, services: Services) -> None:
    services.server.put(KEY, left(4.27, limit_reset="daily"))
    environ = services.environment(tmp_path)

    done = finished("once", environ=environ, cwd=tmp_path)

    assert done.returncode == 0, done.stderr
    for body in (services.told(WEBHOOK)[0], services.told(DIRECT)[0]):
        fields = fields_of(body)
        assert fields.items() >= SPENT.items()
        assert "Raise the key's limit" in fields["What to do"]
        assert "$100.00, which starts again daily" in body["embeds"][0]["description"]
    assert lines_of(services.told(SLACK)[0]["text"]).items() >= SPENT.items()
    mail = services.post.mails[0]
    assert lines_of(part(mail, "plain")).items() >= SPENT.items()
    html = part(mail, "html")
    assert all(f">{value}<" in html for value in SPENT.values())
    assert "width:95%" in html
    assert "<b>Raise the key&#x27;s limit" in html
    (alert,) = listed(environ, tmp_path)
    assert (alert["spent_usd"], alert["limit_usd"], alert["remaining_usd"]) == (95.73, 100.0, 4.27)


def test_low_credits_of_the_account_are_told_with_what_was_bought_and_spent(tmp_path: Path, services: Services) -> None:
    services.server.put(KEY, left(None))
    services.server.put("/api/v1/credits", reply({"data": {"total_credits": 100, "total_usage": 95.73}}))
    environ = services.environment(tmp_path, OPENROUTER_MANAGEMENT_KEY=MANAGEMENT_KEY)

    done = finished("once", environ=environ, cwd=tmp_path)

    title = "[orchestrator] Low credits: $4.27 remaining on OpenRouter (account). Please top up."
    bought = "That is what is left of the account, for which $100.00 was bought in all; the threshold is $5.00."
    assert done.returncode == 0, done.stderr
    for body in (services.told(WEBHOOK)[0], services.told(DIRECT)[0]):
        assert body["content"] == title
        assert body["embeds"][0]["description"] == bought
        assert fields_of(body).items() >= SPENT.items()
    assert services.told(SLACK)[0]["text"].startswith(f"{title}\nAlert #1\n{bought}\n")
    for mail in services.post.mails:
        assert mail["Subject"] == title
        assert lines_of(part(mail, "plain")).items() >= SPENT.items()
        assert "width:95%" in part(mail, "html")


def test_where_no_limit_is_known_no_message_has_one(tmp_path: Path, services: Services) -> None:
    services.server.put(KEY, reply({"data": {"limit_remaining": 4.27, "usage": 12.5, "usage_daily": 1.2}}))

    finished("once", environ=services.environment(tmp_path), cwd=tmp_path)

    (discord,), (slack,) = services.told(WEBHOOK), services.told(SLACK)
    mail = services.post.mails[0]
    assert fields_of(discord)["Remaining"] == "$4.27"
    assert lines_of(part(mail, "plain"))["Remaining"] == "$4.27"
    for text in (str(discord["embeds"]), slack["text"], part(mail, "plain"), part(mail, "html")):
        assert "Remaining" in text
        assert not [word for word in ("Spent", "Limit", "Used", "$0.00", "%]", "[###") if word in text]
        assert "width:" not in text


@pytest.mark.parametrize(
    ("answer", "kind"),
    [("openrouter-401.json", "key_rejected"), ("openrouter-402.json", "out_of_money"), ("openrouter-403.json", "out_of_money")],
)  # fmt: skip
def test_a_refused_key_is_told_at_once(tmp_path: Path, services: Services, answer: str, kind: str) -> None:
    services.server.put(KEY, payload(answer))
    environ = services.quiet(tmp_path)

    done = finished("once", environ=environ, cwd=tmp_path)

    assert done.returncode == 0
    assert [alert["kind"] for alert in listed(environ, tmp_path)] == [kind]
    assert len(services.told(WEBHOOK)) == 1
    assert "- Alert (critical, 0min ago): " in done.stdout


def test_strict_counts_a_key_that_cannot_be_asked_as_silent(tmp_path: Path, services: Services) -> None:
    environ = services.quiet(tmp_path)
    well = finished("once", "--strict", environ=environ, cwd=tmp_path)
    services.server.put(KEY, hang_up)
    badly = finished("once", "--strict", environ=environ, cwd=tmp_path)

    assert (well.returncode, badly.returncode) == (0, 3)
    assert rows(tmp_path / "orchestrator.db", "SELECT remaining_nano, failure, error FROM credit_snapshots") == [
        (16_630_000_000, None, None),
        (None, "unreachable", "key: answer broken off or not HTTP"),
    ]


def test_from_the_condition_to_the_message_it_takes_a_tick_and_less_than_five_seconds(
    tmp_path: Path, services: Services
) -> None:
    with daemon(services.quiet(tmp_path, **FAST), tmp_path) as process:
        until(lambda: len(services.asked(KEY)) >= 2)
        services.server.put(KEY, left(4.27))
        began = time.monotonic()
        until(lambda: services.told(WEBHOOK))
        seconds = time.monotonic() - began
        code, _, log = ended(process, signal.SIGTERM)

    assert code == 0
    assert seconds < 1 + 5
    events = [json.loads(line)["event"] for line in log.splitlines()]
    assert [one for one in events if one.startswith("alert")] == ["alert_raised", "alerts_delivered"]


def test_neither_a_restart_nor_once_beside_the_daemon_repeats_an_alert(tmp_path: Path, services: Services) -> None:
    services.server.put(KEY, left(4.27))
    environ = services.quiet(tmp_path, **FAST)
    for _ in range(2):
        with daemon(environ, tmp_path) as process:
            until(partial(more_looks, services, len(services.asked(KEY)) + 2))
            beside = finished("once", environ=environ, cwd=tmp_path)
            assert beside.returncode == 0
            until(lambda: services.told(WEBHOOK))
            ended(process, signal.SIGKILL)

    assert len(services.told(WEBHOOK)) == 1
    assert len(listed(environ, tmp_path)) == 1


def test_once_without_the_daemons_keys_takes_nothing_back(tmp_path: Path, services: Services, path: Path) -> None:
    services.server.put(KEY, left(4.27))
    environ = services.quiet(tmp_path, **FAST)
    bare = {name: value for name, value in environ.items() if name not in ("OPENROUTER_API_KEY", "DISCORD_WEBHOOK_URL")}
    with daemon(environ, tmp_path) as process:
        until(lambda: services.told(WEBHOOK))
        beside = finished("once", environ=bare, cwd=tmp_path)
        asked = len(services.asked(KEY))
        until(lambda: len(services.asked(KEY)) >= asked + 2)
        ended(process, signal.SIGTERM)
    alone = finished("once", environ=bare, cwd=tmp_path)

    assert "- OpenRouter: $4.27 left" in beside.stdout
    assert len(services.told(WEBHOOK)) == 1
    assert "OpenRouter" not in alone.stdout
    assert rows(path, "SELECT resolution FROM alerts WHERE resolved_at IS NOT NULL") == [(None,)]


def test_a_daemon_whose_channels_all_hang_collects_and_looks_as_ever(
    tmp_path: Path, services: Services, path: Path
) -> None:
    for place in (WEBHOOK, SLACK, CONVERSATION):
        services.server.put(place, silence)
    services.server.put(KEY, left(4.27))
    environ = services.environment(tmp_path, ORCHESTRATOR_REVENUE__COLLECTION_INTERVAL_SCANS="1", **FAST)
    with daemon(environ, tmp_path) as process:
        until(lambda: services.asked(WEBHOOK))
        until(lambda: len(services.asked("/health")) >= 4)
        until(lambda: len(services.asked(KEY)) >= 4)
        until(lambda: len(services.post.mails) == 2)
        code, seconds, _ = ended(process, signal.SIGTERM)

    assert code == 0
    assert seconds < 5
    assert len(rows(path, "SELECT id FROM credit_snapshots")) >= 4


def test_a_file_that_could_not_be_written_for_a_while_is_told_of(
    tmp_path: Path, services: Services, path: Path
) -> None:
    environ = services.quiet(tmp_path, **FAST)
    with daemon(environ, tmp_path) as process:
        until(lambda: rows(path, "SELECT id FROM credit_snapshots"))
        with locked(path):
            asked = len(services.asked(KEY))
            until(lambda: len(services.asked(KEY)) >= asked + 2)
        until(lambda: services.told(WEBHOOK))
        code, _, _ = ended(process, signal.SIGTERM)

    assert code == 0
    (alert,) = listed(environ, tmp_path)
    assert alert["kind"] == "file_unwritable"
    assert "is locked by another process" in alert["title"]
    assert len(rows(path, "SELECT id FROM credit_snapshots")) >= len(services.asked(KEY)) - 1


def test_credits_are_looked_at_from_the_start_on_a_schedule_of_their_own(
    tmp_path: Path, services: Services, path: Path
) -> None:
    environ = services.quiet(tmp_path, ORCHESTRATOR_CREDITS__CHECK_INTERVAL_SECONDS="1")
    with daemon(environ, tmp_path) as process:
        until(lambda: len(rows(path, "SELECT id FROM credit_snapshots")) >= 3)
        until(lambda: rows(path, "SELECT value FROM meta WHERE key = 'last_prune_at'"))
        ended(process, signal.SIGTERM)

    assert {asked.headers["authorization"] for asked in services.asked(KEY)} != {""}
    assert services.asked("/api/v1/credits") == []


def test_without_a_key_nobody_is_asked_and_nothing_is_said_of_it(
    tmp_path: Path, services: Services, path: Path
) -> None:
    environ = services.quiet(tmp_path, OPENROUTER_API_KEY="")

    done = finished("once", environ=environ, cwd=tmp_path)

    assert "OpenRouter" not in done.stdout
    assert services.asked(KEY) == []
    assert rows(path, "SELECT id FROM credit_snapshots") == []


def test_without_a_channel_an_alert_is_a_row_a_line_in_the_log_and_one_in_the_context(
    tmp_path: Path, services: Services
) -> None:
    services.server.put(KEY, left(4.27))
    environ = services.quiet(tmp_path, DISCORD_WEBHOOK_URL="")

    done = finished("once", environ=environ, cwd=tmp_path)

    assert done.returncode == 0
    assert '"event": "alert_raised"' in done.stderr
    assert "- Alert (critical, 0min ago): low credits, $4.27 left" in done.stdout
    assert listed(environ, tmp_path)[0]["deliveries"] == []


def test_a_stopped_channel_is_named_by_status_doctor_and_context_until_it_works_again(
    tmp_path: Path, services: Services
) -> None:
    services.server.put(WEBHOOK, payload("discord-404-unknown-webhook.json"))
    services.server.put(KEY, left(4.27))
    environ = services.quiet(tmp_path)
    for _ in range(3):
        finished("once", environ=environ, cwd=tmp_path)
    tried = len(services.asked(WEBHOOK))
    told = {word: finished(word, environ=environ, cwd=tmp_path) for word in ("status", "doctor", "context")}
    as_json = json.loads(finished("status", "--json", environ=environ, cwd=tmp_path).stdout)["data"]
    failing = finished("alerts", "test", environ=environ, cwd=tmp_path)
    services.server.put(WEBHOOK, payload("discord-webhook-200.json"))
    works = finished("alerts", "test", "discord", environ=environ, cwd=tmp_path)
    finished("once", environ=environ, cwd=tmp_path)

    assert tried == 1
    for done in told.values():
        assert "the webhook does not exist (HTTP 404, code 10015)" in done.stdout
    assert told["doctor"].returncode == 1
    assert "Alert #1 (critical, 0min ago): Low credits: $4.27" in told["status"].stdout
    (channel,) = as_json["channels"]
    assert (channel["channel"], channel["waiting"], channel["failures"]) == ("discord", 1, 1)
    assert (as_json["credits"]["remaining_usd"], as_json["credits"]["state"]) == (4.27, "fresh")
    assert [alert["id"] for alert in as_json["alerts"]] == [1]
    assert (failing.returncode, failing.stdout.split(":")[0]) == (1, "discord")
    assert (works.returncode, works.stdout) == (0, "discord: sent\n")
    assert LOW in services.told(WEBHOOK)[-1]["content"]
    assert "Test: Alerts from this installation arrive here." in services.told(WEBHOOK)[-2]["content"]


def test_a_stopped_channel_that_is_configured_anew_gets_what_waited(tmp_path: Path, services: Services) -> None:
    services.server.put(WEBHOOK, payload("discord-404-unknown-webhook.json"))
    services.server.put(f"{WEBHOOK}2", payload("discord-webhook-200.json"))
    services.server.put(KEY, left(4.27))
    environ = services.quiet(tmp_path)
    for _ in range(2):
        finished("once", environ=environ, cwd=tmp_path)
    renewed = environ | {"DISCORD_WEBHOOK_URL": environ["DISCORD_WEBHOOK_URL"] + "2"}
    for _ in range(2):
        done = finished("once", environ=renewed, cwd=tmp_path)

    assert len(services.asked(WEBHOOK)) == 1
    assert [LOW in body["content"] for body in services.told(f"{WEBHOOK}2")] == [True]
    assert "no longer reach" not in done.stdout


def test_a_mailbox_that_is_refused_is_one_of_several_and_the_others_get_their_mail(
    tmp_path: Path, services: Services
) -> None:
    services.post.rcpt["boss@example.org"] = "550 5.1.1 no such user"
    services.server.put(KEY, left(4.27))
    environ = services.environment(tmp_path)

    done = finished("once", environ=environ, cwd=tmp_path)

    assert done.stdout.splitlines()[-1] == (
        "- Alerts no longer reach 1 of 2 email recipients (stopped 0min ago): the recipient is refused (SMTP 550); "
        "the other still gets them"
    )
    assert [mail["To"] for mail in services.post.mails] == ["ops@example.org"]
    status = finished("status", environ=environ, cwd=tmp_path).stdout
    assert (
        "\nChannel email:boss@example.org: stopped 0min ago: the recipient is refused (SMTP 550); 1 alert waits"
        in status
    )
    assert "\nChannel email:ops@example.org: works, last message 0min ago\n" in status


def test_a_test_says_what_came_of_it_for_each_channel(tmp_path: Path, services: Services) -> None:
    environ = services.environment(tmp_path)
    services.server.put(SLACK, reply("no_service", 404))
    services.post.rcpt["boss@example.org"] = "550 5.1.1 no such user"

    every = finished("alerts", "test", environ=environ, cwd=tmp_path)
    mail = finished("alerts", "test", "email", environ=environ, cwd=tmp_path)
    one = finished("alerts", "test", "email:ops@example.org", environ=environ, cwd=tmp_path)
    unknown = finished("alerts", "test", "pager", environ=environ, cwd=tmp_path)

    lines = dict(line.split(": ", 1) for line in every.stdout.splitlines())
    assert every.returncode == 1
    assert {name: line.split(",")[0] for name, line in lines.items()} == {
        "discord": "sent", "discord-dm": "sent", "slack": "failed", "email:ops@example.org": "sent",
        "email:boss@example.org": "failed",
    }  # fmt: skip
    assert len(mail.stdout.splitlines()) == 2
    assert (one.returncode, one.stdout) == (0, "email:ops@example.org: sent\n")
    assert unknown.returncode == 1
    assert "pager is not configured; configured are: discord, " in unknown.stderr
    assert not (tmp_path / "orchestrator.db").exists()


def test_a_test_without_a_channel_fails_and_says_where_to_look(tmp_path: Path, services: Services) -> None:
    done = finished("alerts", "test", environ=services.quiet(tmp_path, DISCORD_WEBHOOK_URL=""), cwd=tmp_path)

    assert done.returncode == 1
    assert "no channel is configured" in done.stderr


def acked(environ: dict[str, str], cwd: Path, *ids: str) -> "subprocess.CompletedProcess[str]":
    return finished("alerts", "ack", *ids, environ=environ, cwd=cwd)


def test_an_acknowledged_alert_leaves_the_context_and_stays_in_the_list(tmp_path: Path, services: Services) -> None:
    services.server.put(KEY, left(4.27))
    environ = services.quiet(tmp_path)
    finished("once", environ=environ, cwd=tmp_path)

    done = acked(environ, tmp_path, "#1")
    again = acked(environ, tmp_path, "1", "99")

    assert (done.returncode, done.stdout) == (0, "#1 acknowledged\n")
    assert (again.returncode, again.stderr) == (1, "there is no alert #99\n")
    assert acked(environ, tmp_path, "one").returncode == 2
    assert "Alert" not in finished("context", environ=environ, cwd=tmp_path).stdout
    text = finished("alerts", "list", environ=environ, cwd=tmp_path).stdout
    assert text.startswith("#1 critical, acknowledged, 0min ago (")
    assert "\n    discord: sent " in text


def test_there_is_nothing_to_list_or_to_acknowledge_without_a_file(tmp_path: Path, services: Services) -> None:
    environ = services.quiet(tmp_path)

    assert finished("alerts", "list", environ=environ, cwd=tmp_path).returncode == 1
    assert acked(environ, tmp_path, "1").returncode == 1
    assert list(tmp_path.iterdir()) == []


def test_doctor_says_what_a_key_allows_and_what_it_does_not_tell(tmp_path: Path, services: Services) -> None:
    environ = services.quiet(tmp_path)
    found = []
    for answer in (left(5), left(4.27), left(None), payload("openrouter-401.json"), hang_up):
        services.server.put(KEY, answer)
        done = finished("doctor", environ=environ, cwd=tmp_path)
        found += [line for line in done.stdout.splitlines() if "openrouter" in line]

    assert found[0] == "ok       openrouter: $5.00 left (key limit)"
    assert found[1] == (
        "warning  openrouter: $4.27 left (key limit); "
        "less than credits.low_threshold_usd, $5.00: top up, or lower the threshold"
    )
    assert found[2].startswith("warning  openrouter: balance unknown (uncapped key, no management key)")
    assert found[3].startswith("failed   openrouter: the key is rejected")
    assert found[4].startswith("failed   openrouter: cannot be asked (key: answer broken off")


def test_doctor_calls_low_what_an_alert_would_also_within_a_cent(tmp_path: Path, services: Services) -> None:
    environ = services.quiet(tmp_path) | {"ORCHESTRATOR_CREDITS__LOW_THRESHOLD_USD": "4.275"}
    found = []
    for answer in (left(4.279), left(4.274)):
        services.server.put(KEY, answer)
        done = finished("doctor", environ=environ, cwd=tmp_path)
        found += [line.split()[0] for line in done.stdout.splitlines() if "openrouter" in line]

    assert found == ["ok", "warning"]


def test_a_day_on_a_key_with_a_daily_limit_is_an_alert_a_reminder_an_hour_and_a_reset(
    tmp_path: Path, services: Services
) -> None:
    clock = FakeClock(datetime(2026, 11, 21, 10, 2, tzinfo=UTC), 24 * 3600)
    chance = random.Random(4)
    arrived: list[tuple[datetime, str]] = []

    def key(connection: socket.socket, asked: Asked, stopping: threading.Event) -> None:
        # Ten dollars from midnight on, of which half a dollar an hour is spent.
        spent = (clock.now() - clock.now().replace(hour=0, minute=0)) / timedelta(hours=2)
        left(round(10 - spent, 4), limit_reset="daily")(connection, asked, stopping)

    def webhook(connection: socket.socket, asked: Asked, stopping: threading.Event) -> None:
        if chance.random() < 0.3:
            chance.choice([hang_up, payload("discord-502.txt"), payload("discord-429.json")])(
                connection, asked, stopping
            )
            return
        arrived.append((clock.now(), json.loads(asked.body)["content"]))
        payload("discord-webhook-200.json")(connection, asked, stopping)

    services.server.put(KEY, key)
    services.server.put(WEBHOOK, webhook)
    environ = services.quiet(tmp_path)
    project = app.load(None, None, environ, tmp_path)

    async def main() -> None:
        await Daemon(project, environ, clock).run()

    scan.run(main())

    first = datetime(2026, 11, 21, 10, 2, tzinfo=UTC)
    assert len(services.asked(KEY)) == 24 * 12
    assert arrived[0][1] == "[orchestrator] Low credits: $4.98 remaining on OpenRouter (key limit). Please top up."
    assert [at for at, _ in arrived[:-1]] == sorted(at for at, _ in arrived[:-1])
    assert all(later - at >= timedelta(minutes=60) for (at, _), (later, _) in pairwise(arrived[:-1]))
    assert 12 <= len(arrived[:-1]) <= 14
    assert arrived[0][0] - first < timedelta(minutes=5)
    assert arrived[-1][1] == (
        "[orchestrator] Credits are no longer low: $9.98 remaining on OpenRouter (key limit), because the key's daily limit "
        "started again; that is no top-up."
    )
    (alert,) = listed(environ, tmp_path)
    assert alert["state"] == "over"
