"""Discord: a webhook that posts to a channel, and a direct message of a bot to the operator.

`discord-webhook` builds the embeds and sends nothing: its own sending waits for ever, puts its fields (proxies with their
passwords among them) into the body and the webhook's token into its exceptions, and takes an empty answer for a failure.
"""

import asyncio
import hashlib
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import Final
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from orchestrator.alerts.message import (
    COLOURS,
    PREFIX,
    Channel,
    Message,
    Notice,
    Outcome,
    advice,
    cut,
    facts,
    fingerprint,
    headline,
    ids_text,
    in_own_words,
    length,
    permanent,
    retry,
    sent,
    text_of,
    title_of,
)
from orchestrator.collectors.fetch import Answer, Client
from orchestrator.config import Config
from orchestrator.periods import text_from_instant

POST_S: Final = 10.0

# Of one message: discord-api-docs, resources/message.mdx, "Embed Limits".
_CONTENT = 2000
_EMBEDS = 10
_ALL_EMBEDS = 6000
_TITLE = 256
_DESCRIPTION = 4096
_FIELD = 1024
# When there are more notices than embeds: so many are told in full, and the others share so many characters.
_IN_FULL = 5
_REST_ROOM = 2800

_MARKDOWN = re.compile(r"([\\*_~`|<>\[\]])|^([#+-])|(?<=:)//|@(?=everyone|here|[!&]?\d)")
_SNOWFLAKE = re.compile(r"[0-9]{1,20}")

# Discord's own error codes (opcodes-and-status-codes.mdx) that stay until somebody changes something. Whatever has another
# code, or none because a proxy or Cloudflare answered in Discord's place, may pass.
_CLOSED: Mapping[tuple[int, int], str] = {
    (400, 50033): "Discord does not take the operator's user id",
    (400, 220001): "the webhook's channel is a forum, and its URL names no thread_id",
    (401, 0): "the token is not valid",
    (401, 40001): "the token is not valid",
    (401, 50014): "the token is not valid",
    (401, 50027): "the webhook's token is not valid",
    (403, 50001): "the bot may not write there",
    (403, 50013): "the bot may not write there",
    (403, 50007): "the operator takes no direct messages from the bot",
    (403, 50278): "the bot shares no server with the operator",
    (404, 0): "the address leads nowhere",
    (404, 10003): "the channel or thread does not exist",
    (404, 10013): "there is no such user",
    (404, 10015): "the webhook does not exist",
}
_UNKNOWN_CHANNEL = (404, 10003)


def channels(config: Config) -> tuple[Channel, ...]:
    """Return `discord` when there is a webhook, and `discord-dm` when there is a bot's token and the operator's user id."""
    webhook, token = config.secrets.discord_webhook_url, config.secrets.discord_bot_token
    settings = config.alerts.discord
    found = []
    if webhook:
        found.append(Channel("discord", fingerprint("discord", webhook), partial(send_to_webhook, webhook)))
    if token and settings.operator_user_id:
        conversation = Conversation(settings.api_url, token, settings.operator_user_id)
        told = fingerprint("discord-dm", settings.api_url, token, settings.operator_user_id)
        found.append(Channel("discord-dm", told, conversation.send))
    return tuple(found)


async def send_to_webhook(
    webhook: str, client: Client, message: Message, now: datetime, *, deadline_s: float = POST_S
) -> Outcome:
    """Post a message to a webhook and return what came of it."""
    post = partial(client.post_json, _waiting(webhook), deadline_s=deadline_s, headers={"User-Agent": _user_agent()})
    answer = await post(await asyncio.to_thread(payload, message, now))
    if _is_refused_text(answer):
        answer = await post(_plain(message))
    return read_answer(answer)


class Conversation:
    """The direct messages with the operator; their channel is asked for once and remembered."""

    def __init__(self, api_url: str, token: str, user_id: str) -> None:
        self._api_url = api_url.rstrip("/")
        self._token = token
        self._user_id = user_id
        self._channel_id: str | None = None

    async def send(self, client: Client, message: Message, now: datetime) -> Outcome:
        """Send a message, opening the conversation first if need be, and return what came of it.

        The nonce makes Discord answer a repeated message with the first one, for a few minutes.
        """
        if self._channel_id is None:
            opened = await self._post(client, "/users/@me/channels", {"recipient_id": self._user_id})
            self._channel_id = _channel_id(opened)
            if self._channel_id is None:
                return _not_opened(opened)
        where = f"/channels/{self._channel_id}/messages"
        once = {"nonce": hashlib.sha256(message.key.encode()).hexdigest()[:25], "enforce_nonce": True}
        answer = await self._post(client, where, await asyncio.to_thread(payload, message, now) | once)
        if _is_refused_text(answer):
            answer = await self._post(client, where, _plain(message) | once)
        if (answer.status, _code(answer)) == _UNKNOWN_CHANNEL:
            self._channel_id = None
            return retry("the conversation is gone and will be opened again")
        return read_answer(answer)

    async def _post(self, client: Client, where: str, body: object) -> Answer:
        headers = {"User-Agent": _user_agent(), "Authorization": f"Bot {self._token}"}
        return await client.post_json(self._api_url + where, body, deadline_s=POST_S, headers=headers)


def payload(message: Message, now: datetime) -> dict[str, object]:
    """Return the body of a message within Discord's limits: headline, all ids, an embed each, and one for the rest.

    Slow the first time (0.3 s), because discord-webhook brings requests along: call it in a thread.
    """
    from discord_webhook import DiscordEmbed, DiscordWebhook  # type: ignore[import-untyped]

    ranked = message.ranked
    whole = ranked if len(ranked) <= _EMBEDS else ranked[:_IN_FULL]
    rest = ranked[len(whole) :]
    room = (_ALL_EMBEDS - (_REST_ROOM if rest else 0)) // len(whole)
    embeds = [_embed(notice, room, now) for notice in whole] + ([_embed_of_rest(rest)] if rest else [])
    webhook = DiscordWebhook(url="", content=_content(message), allowed_mentions={"parse": []})
    for embed in embeds:
        webhook.add_embed(DiscordEmbed(**embed))
    built = webhook.json
    return {
        "content": built["content"],
        "embeds": [{name: value for name, value in one.items() if value is not None} for one in built["embeds"]],
        "allowed_mentions": built["allowed_mentions"],
    }


def read_answer(answer: Answer) -> Outcome:
    """Return what an answer to a message means.

    200 brings the message, because we ask for it (`wait=true`). Another success comes from something that stands before
    Discord: to repeat a message that probably arrived would not end.
    """
    code = _code(answer)
    match answer.status:
        case None:
            return retry(answer.error or "no answer")
        case 200:
            return sent()
        case status if 200 <= status < 300:
            return sent(f"accepted, not confirmed (HTTP {status})")
        case 429:
            return retry("asked to slow down (HTTP 429)", answer.retry_after_s)
        case status if code is not None and (status, code) in _CLOSED:
            return permanent(f"{_CLOSED[status, code]} (HTTP {status}, code {code})")
        case status:
            told = f"HTTP {status}" if code is None else f"HTTP {status}, code {code}"
            return retry(told, answer.retry_after_s)


def escaped(text: str) -> str:
    """Return one line of text that Discord shows as it is: no mention, no markdown, no link."""
    return _MARKDOWN.sub(_escaped_one, text)


def _escaped_one(found: re.Match[str]) -> str:
    match found[0]:
        case "//":
            return "\\/\\/"
        case "@":
            return "@\u200b"
        case character:
            return f"\\{character}"


def _content(message: Message) -> str:
    """Return the headline, which is what a phone shows, and every id where there are several alerts."""
    ids = f"\nAlerts {ids_text(message.ids)}" if len(message.ids) > 1 else ""
    first = PREFIX + escaped(headline(message).removeprefix(PREFIX))
    return cut(cut(first, _CONTENT - len(ids)) + ids, _CONTENT)


def _embed(notice: Notice, room: int, now: datetime) -> dict[str, object]:
    """Return what makes an embed of at most so many characters in all; the text is what gives way."""
    title = cut(escaped(title_of(notice)), min(_TITLE, room // 3))
    footer = cut(f"Alert {ids_text(notice.ids)}", room // 6) if notice.ids else ""
    left = room - length(title) - len(footer)
    fields = []
    for name, value in facts(notice, now):
        fields.append({"name": name, "value": value, "inline": True})
        left -= len(name) + len(value)
    for name, value in advice(notice):
        said = value if name == "Page" else cut(escaped(value), min(_FIELD, left // 2))
        if len(name) + length(said) <= left:
            fields.append({"name": name, "value": said, "inline": False})
            left -= len(name) + length(said)
    return {
        "title": title,
        "description": cut(escaped(text_of(notice)), min(_DESCRIPTION, left)) or None,
        "color": COLOURS[notice.severity],
        "timestamp": text_from_instant(notice.raised_at),
        "fields": fields,
        "footer": {"text": footer} if footer else None,
    }


def _embed_of_rest(rest: Sequence[Notice]) -> dict[str, object]:
    """Return what makes the embed with one line for each notice that has none of its own."""
    title = f"{len(rest)} more"
    each = (_REST_ROOM - len(title)) // len(rest) - 1
    told = [cut(f"{ids_text(notice.ids)} {notice.severity}: {escaped(title_of(notice))}", each) for notice in rest]
    return {"title": title, "description": "\n".join(told), "color": COLOURS[rest[0].severity]}


def _plain(message: Message) -> dict[str, object]:
    return {"content": cut(in_own_words(message), _CONTENT), "allowed_mentions": {"parse": []}}


def _is_refused_text(answer: Answer) -> bool:
    """Return whether Discord itself refused what the message says: its form, its length, a word in it."""
    return answer.status == 400 and _code(answer) is not None


def _code(answer: Answer) -> int | None:
    """Return Discord's own error code, or None when it was not Discord that answered."""
    match answer.document:
        case {"code": int(code)} if not isinstance(code, bool):
            return code
    return None


def _channel_id(answer: Answer) -> str | None:
    match answer.document:
        case {"id": str(channel_id)} if answer.error is None and _SNOWFLAKE.fullmatch(channel_id):
            return channel_id
    return None


def _not_opened(answer: Answer) -> Outcome:
    """Return what it means that the conversation could not be opened."""
    if answer.error is None:
        return retry("no conversation in Discord's answer")
    return read_answer(answer)


def _waiting(webhook: str) -> str:
    """Return the webhook's URL that answers with the message; what else stands in its query (`thread_id`) is kept."""
    parts = urlsplit(webhook)
    query = [(name, value) for name, value in parse_qsl(parts.query, keep_blank_values=True) if name != "wait"]
    return urlunsplit(parts._replace(query=urlencode([*query, ("wait", "true")]), fragment=""))


def _user_agent() -> str:
    try:
        release = version("orchestrator-daemon")
    except PackageNotFoundError:
        release = "0"
    # Discord wants an address and a version, and Cloudflare turns others away; the program has no page of its own.
    return f"DiscordBot (https://orchestrator-daemon.invalid, {release})"
