"""What is wrong with a text that has the right type: a zone, a wallet, a URL, an e-mail address. Each returns "" when nothing is.

A text is never repeated in what is said of it, because it may be a secret in the wrong place; a misspelt zone is.
"""

import re
from collections.abc import Iterable
from urllib.parse import urlsplit
from zoneinfo import ZoneInfoNotFoundError

from orchestrator.periods import zone
from orchestrator.text import one_line

_BASE58 = "[1-9A-HJ-NP-Za-km-z]"
# A payment id or a worker's name may follow: pools split the path at dots.
_WALLET = re.compile(rf"(?:[48]{_BASE58}{{94}}|4{_BASE58}{{105}})(?:\.[A-Za-z0-9_-]{{1,64}}){{0,2}}")
_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_EMAIL = re.compile(rf"(?=.{{3,254}}\Z)(?=[^@]{{1,64}}@){_ATOM}(?:\.{_ATOM})*@{_LABEL}(?:\.{_LABEL})*")
# Underscores are no part of a host's name by the book, and common in the names that containers give one another.
_HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,251}[A-Za-z0-9_.])?|[0-9A-Fa-f:.]{2,45}")


def visible(text: str) -> str:
    """Say whether there is a character in text that cannot be seen."""
    return "" if text.isprintable() else "has a line break or another character that cannot be printed"


def time_zone(name: str) -> str:
    """Say whether there is a time zone of that name on this machine."""
    try:
        zone(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        from zoneinfo import available_timezones

        return f'there is no time zone "{one_line(name, limit=40)}"{did_you_mean(name, available_timezones())}'
    return ""


def wallet(text: str) -> str:
    """Say whether text has the form of a Monero address on the main net; nothing at all is right too."""
    if not text or _WALLET.fullmatch(text):
        return ""
    return "is not a Monero address: 95 characters of base58 that begin with 4 or 8, or 106 that begin with 4"


def web_address(text: str) -> str:
    """Say whether text is an http(s) URL with a host and without a password."""
    if not text.isascii() or not text.isprintable() or " " in text:
        return "is not a URL: it has a blank, a line break or a character beyond ASCII"
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return "is not a URL"
    if parts.scheme not in ("http", "https") or not _HOST.fullmatch(host) or port == 0:
        return "is not a URL: http:// or https:// and a host are due"
    return "must not have a user name or a password in it" if "@" in parts.netloc else ""


def base_url(text: str) -> str:
    """Say whether text is a URL to which a path can be added."""
    return web_address(text) or ("" if set("?#").isdisjoint(text) else "must not have a ? or a # in it")


def optional_base_url(text: str) -> str:
    """Say the same of a service that may be switched off with nothing."""
    return base_url(text) if text else ""


def dotted_path(text: str) -> str:
    """Say whether text is a path into a JSON answer: names with dots between them."""
    return visible(text) or ("" if all(text.split(".")) else "is not a path of names with dots between them")


def email(text: str) -> str:
    """Say whether text is one e-mail address, with no name before it."""
    return "" if _EMAIL.fullmatch(text) else "is not an e-mail address"


def optional_email(text: str) -> str:
    """Say the same of an address that need not be there."""
    return email(text) if text else ""


def optional_host(text: str) -> str:
    """Say whether text is the name or the address of a host, or nothing."""
    return "" if not text or _HOST.fullmatch(text) else "is not the name or the address of a host"


def optional_discord_id(text: str) -> str:
    """Say whether text is the id of a Discord user, or nothing."""
    return "" if not text or re.fullmatch(r"[0-9]{15,20}", text) else "is not a Discord user id: 15 to 20 digits"


def argument(text: str) -> str:
    """Say whether text can be handed to a program; several lines can."""
    return "" if text and "\0" not in text else "is empty or has a NUL in it"


def secret(text: str) -> str:
    """Say whether text can be a key or a password that travels in a header."""
    if not text.isascii():
        return "has a character beyond ASCII"
    return visible(text) or ("begins or ends with a blank" if text != text.strip() else "")


def key(text: str) -> str:
    """Say whether text can be an API key or a token, which have no blanks at all."""
    return secret(text) or ("has a blank in it" if " " in text else "")


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ` (did you mean …?)` when something known is spelt much like the word, else ""."""
    import difflib

    spelt = {k.lower(): k for k in known}
    close = difflib.get_close_matches(word.lower()[:100], spelt, n=1, cutoff=0.7)
    return f" (did you mean {spelt[close[0]]}?)" if close else ""
