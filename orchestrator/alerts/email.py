"""E-mail: each recipient is a channel of its own, so that one who is refused, or has to wait, is nobody else's matter."""

import asyncio
import hashlib
import html
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime

from orchestrator.alerts.message import (
    COLOURS,
    DEADLINE_S,
    Channel,
    Message,
    Notice,
    Outcome,
    advice,
    blocks,
    cut,
    facts,
    fingerprint,
    headline,
    ids_text,
    in_own_words,
    text_of,
    title_of,
)
from orchestrator.alerts.smtp import Mail, hand_over
from orchestrator.collectors.fetch import Client
from orchestrator.config import Config
from orchestrator.config.sections import Email

_SUBJECT = 240
# 7bit: what is not ASCII is encoded, because sendmail() does not ask the server whether it takes eight bits.
_POLICY = SMTP.clone(cte_type="7bit")


@dataclass(frozen=True)
class Mailbox:
    """One recipient, and how mail gets there."""

    settings: Email
    recipient: str
    password: str | None = field(default=None, repr=False)
    deadline_s: float = DEADLINE_S

    async def send(self, _client: Client, message: Message, now: datetime) -> Outcome:
        """Mail a message to the recipient and return what came of it, within `deadline_s` however slowly a server speaks."""
        # A hundred alerts take 50 ms to write down, which the loop has better use for.
        mail = await asyncio.to_thread(self._mail, message, now)
        return await hand_over(self.settings, self.password, mail, self.deadline_s)

    def _mail(self, message: Message, now: datetime) -> Mail:
        plain = letter_in_own_words(self, message, now)
        return Mail(self.recipient, letter(self, message, now).as_bytes(), plain.as_bytes())


def channels(config: Config) -> tuple[Channel, ...]:
    """Return `email:` and the address of each recipient; none without a server and a sender."""
    settings, password = config.alerts.email, config.secrets.smtp_password
    if not settings.smtp_host or not settings.sender:
        return ()
    route = (settings.smtp_host, str(settings.smtp_port), settings.security, settings.username, settings.sender)
    return tuple(
        Channel(
            f"email:{recipient}",
            fingerprint("email", *route, recipient, password or ""),
            Mailbox(settings, recipient, password).send,
        )
        for recipient in dict.fromkeys(settings.recipients)
    )


def letter(mailbox: Mailbox, message: Message, now: datetime) -> EmailMessage:
    """Return the mail: everything that the notices say, as plain text and as HTML."""
    first = headline(message)
    mail = _envelope(mailbox, message, first, now)
    mail.set_content("\n\n".join([first, *("\n".join(block) for block in blocks(message, now))]) + "\n")
    mail.add_alternative(page(message, now), subtype="html")
    return mail


def letter_in_own_words(mailbox: Mailbox, message: Message, now: datetime) -> EmailMessage:
    """Return the mail for a server that refuses what the first one says."""
    told = in_own_words(message)
    mail = _envelope(mailbox, message, told, now)
    mail.set_content(told + "\n")
    return mail


def page(message: Message, now: datetime) -> str:
    """Return the HTML of a message, everything from outside escaped; it loads nothing from anywhere."""
    several = len(message.notices) > 1
    head = [f"<h1 style='font-size:18px'>{html.escape(headline(message))}</h1>"]
    if several and message.ids:
        head.append(f"<p>Alerts {html.escape(ids_text(message.ids))}</p>")
    sections = [_section(notice, now, several=several) for notice in message.ranked]
    return "\n".join(
        [
            "<!doctype html>",
            "<html lang='en'><body style='font-family:sans-serif;font-size:14px'>",
            *head,
            *sections,
            "</body></html>",
            "",
        ]
    )


def _envelope(mailbox: Mailbox, message: Message, subject: str, now: datetime) -> EmailMessage:
    mail = EmailMessage(policy=_POLICY)
    sender = mailbox.settings.sender
    # email.message decodes what looks like an encoded word when a header is set, line breaks in it included.
    mail["Subject"] = cut(subject.replace("=?", "= ?"), _SUBJECT)
    mail["From"] = f"orchestrator <{sender}>"
    mail["To"] = mailbox.recipient
    mail["Date"] = format_datetime(now)
    name = hashlib.sha256(message.key.encode()).hexdigest()[:32]
    mail["Message-ID"] = f"<{name}@{sender.rpartition('@')[2]}>"
    mail["Auto-Submitted"] = "auto-generated"
    return mail


def _section(notice: Notice, now: datetime, *, several: bool) -> str:
    colour = f"#{COLOURS[notice.severity]:06x}"
    named = f"{ids_text(notice.ids)} {title_of(notice)}".lstrip() if several else f"Alert {ids_text(notice.ids)}"
    told = [f"<h2 style='font-size:15px'>{html.escape(named)}</h2>"] if several or notice.ids else []
    if text := text_of(notice):
        told.append(f"<p>{html.escape(text)}</p>")
    rows = [_row(name, html.escape(value)) for name, value in facts(notice, now)]
    if bar := _bar(notice.percent, colour):
        rows.append(_row("", bar))
    for name, value in advice(notice):
        said = html.escape(value)
        rows.append(_row(name, f"<a href='{said}'>{said}</a>" if name == "Page" else f"<b>{said}</b>"))
    told.append("<table>" + "".join(rows) + "</table>")
    return f"<div style='border-left:4px solid {colour};padding:0 12px;margin:12px 0'>{''.join(told)}</div>"


def _bar(percent: Decimal | None, colour: str) -> str:
    """Return a bar of 240 pixels, full from 100 % on, or "" for a percentage that is not known."""
    if percent is None or not percent.is_finite():
        return ""
    width = int(min(max(percent, Decimal(0)), Decimal(100)))
    inner = f"<div style='width:{width}%;height:10px;background:{colour}'></div>"
    return f"<div style='width:240px;background:#dddddd'>{inner}</div>"


def _row(name: str, value: str) -> str:
    return f"<tr><td style='padding:2px 12px 2px 0;color:#666666'>{name}</td><td>{value}</td></tr>"
