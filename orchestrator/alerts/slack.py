"""Slack: an incoming webhook. It answers in plain text, and what an answer means is in its status."""

import re
from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import Final

from orchestrator.alerts.message import (
    Channel,
    Message,
    Outcome,
    blocks,
    cut,
    fingerprint,
    headline,
    in_own_words,
    length,
    permanent,
    retry,
    sent,
)
from orchestrator.collectors.fetch import Answer, Client
from orchestrator.config import Config

POST_S: Final = 10.0

# Slack asks for 4,000 characters at most and cuts without a word at 40,000.
_TEXT = 3900
_ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
# Only a webhook that parses names would hear these; which ones do is not in our hands.
_LOUD = re.compile(r"@(?=everyone|channel|here)")
_WORD = re.compile(r"[a-z_]{1,40}")
# What Slack answers in so many words; the phrases are ours, because the body is whatever stands at that address.
_CLOSED: Mapping[int, str] = {
    403: "the webhook is revoked or may not post there",
    404: "the webhook, its channel or its workspace does not exist",
    410: "the channel is archived",
}


def channels(config: Config) -> tuple[Channel, ...]:
    """Return `slack` when there is a webhook."""
    webhook = config.secrets.slack_webhook_url
    if not webhook:
        return ()
    return (Channel("slack", fingerprint("slack", webhook), partial(send_to_webhook, webhook)),)


async def send_to_webhook(
    webhook: str, client: Client, message: Message, now: datetime, *, deadline_s: float = POST_S
) -> Outcome:
    """Post a message to an incoming webhook and return what came of it."""
    post = partial(client.post_json, webhook, deadline_s=deadline_s)
    answer = await post(payload(message, now))
    if _is_refused_text(answer):
        answer = await post(_payload(escaped(in_own_words(message))))
    return read_answer(answer)


def payload(message: Message, now: datetime) -> dict[str, object]:
    """Return the body of a message: the headline, every id, the gravest notices in full, and of the others the titles."""
    told = [[escaped(line) for line in block] for block in blocks(message, now)]
    text = cut(escaped(headline(message)), 500)
    while told and length(text) + sum(length(line) + 1 for line in told[0]) < (_TEXT if len(told) == 1 else _TEXT // 2):
        text += "\n" * (1 + (len(message.notices) > 1)) + "\n".join(told.pop(0))
    if told:
        each = (_TEXT - length(text)) // len(told) - 1
        text += "\n\n" + "\n".join(cut(block[0], each) for block in told)
    return _payload(text)


def read_answer(answer: Answer) -> Outcome:
    """Return what an answer to a message means; only the status counts, and of a 400 that it was Slack who said it."""
    match answer.status:
        case None:
            return retry(answer.error or "no answer")
        case status if 200 <= status < 300:
            return sent()
        case status if status in _CLOSED:
            return permanent(f"{_CLOSED[status]} (HTTP {status})")
        case 400 if _is_refused_text(answer):
            return retry("Slack refuses even a plain message (HTTP 400)")
        case 429:
            return retry("asked to slow down (HTTP 429)", answer.retry_after_s)
        case status:
            return retry(f"HTTP {status}", answer.retry_after_s)


def escaped(text: str) -> str:
    """Return text that Slack shows as it is: no mention of anybody or of a channel, no link with another name."""
    return _LOUD.sub("@\u200b", text.translate(_ENTITIES))


def _payload(text: str) -> dict[str, object]:
    # Without mrkdwn nothing is bold, struck out or code; all the rest of Slack's syntax hangs on `<`.
    return {"text": cut(text, _TEXT), "mrkdwn": False, "unfurl_links": False, "unfurl_media": False}


def _is_refused_text(answer: Answer) -> bool:
    """Return whether Slack itself, in one of its words, refused what the message says."""
    return answer.status == 400 and _WORD.fullmatch(answer.text) is not None
