"""The one place that speaks HTTP: a question with a total deadline, answered by what came back or by why nothing did."""

import asyncio
import json
import logging
import math
import re
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from http.cookiejar import CookieJar, DefaultCookiePolicy
from importlib.metadata import PackageNotFoundError, version
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import SplitResult, urlsplit

import httpx

from orchestrator.collectors.body import read_body
from orchestrator.collectors.lookups import LookupThreads
from orchestrator.collectors.numbers import decimal
from orchestrator.periods import span_text

MAX_BODY: Final = 1024 * 1024
MAX_WAIT_S: Final = 3600.0
_LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
_OPEN_HEADERS = {"accept", "content-type", "user-agent"}
# What httpx and the libraries below it let out for a network, a server, a URL or a header that is not usable: a port of
# 99999 is an OverflowError within a group, a label of 70 letters or a key that is not ASCII a UnicodeError.
_TROUBLES = (
    httpx.HTTPError,
    httpx.InvalidURL,
    OSError,
    ValueError,
    OverflowError,
    RuntimeError,
    ExceptionGroup,
)
_SECONDS = re.compile(r"[0-9]{1,300}(?:\.[0-9]{1,9})?")


@dataclass(frozen=True)
class Answer:
    """What came back.

    `error` is None for a good answer, else a fixed phrase that holds nothing a stranger wrote. `document` is the JSON
    of the body, also of an error's, and None where there is none. `text` (one line, at most 2,000 characters) and
    `raw_json` (valid JSON, at most 8,000) are the body without secrets. `retry_after_s` is within 0 and an hour.
    """

    document: object = None
    text: str = ""
    raw_json: str = "null"
    status: int | None = None
    error: str | None = None
    retry_after_s: float | None = None


class Client:
    """Asks over HTTP and never raises for anything that a network or a stranger can do.

    Redirects are not followed, cookies not kept, compressed bodies refused. Proxies of the environment are used,
    but never for this machine. One client lives as long as the loop: `async with` opens it, so that no name lookup
    holds up the loop's end, and closes it.
    """

    def __init__(self) -> None:
        # httpx tells the URL at INFO and httpcore every header at DEBUG: webhook tokens and keys, in whoever's log.
        for library in ("httpx", "httpcore"):
            logging.getLogger(library).setLevel(logging.WARNING)
        self._http, self._no_way = _opened()
        self._waits: dict[str, tuple[float, int]] = {}
        # Every key this client has ever sent: one service may repeat what another was told, through a proxy's error page.
        self._keys: set[str] = set()

    async def __aenter__(self) -> Self:
        asyncio.get_running_loop().set_default_executor(LookupThreads())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close every connection; a question asked afterwards is answered with an error."""
        await self._http.aclose()

    async def get_json(self, url: str, *, deadline_s: float, headers: Mapping[str, str] | None = None) -> Answer:
        """Return the JSON document at a URL, or why there is none, within `deadline_s` seconds whatever happens.

        Only a status 200 is good. A host that answered 429 or 503 with Retry-After is not asked again before that
        time, an hour at most.
        """
        loop = asyncio.get_running_loop()
        host = "/".join(url.split("/", 3)[:3])
        until, status = self._waits.get(host, (-math.inf, 0))
        left = until - loop.time()
        if left > 0:
            return Answer(error=f"asked to wait (HTTP {status}), {_left_text(left)} left", retry_after_s=left)
        answer = await self._ask("GET", url, None, headers or {}, deadline_s)
        if answer.status in {429, 503} and answer.retry_after_s is not None:
            self._waits[host] = (loop.time() + answer.retry_after_s, answer.status)
        return answer

    async def post_json(
        self, url: str, body: object, *, deadline_s: float, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Send JSON and return the answer; it is good when the status is 2xx, whatever the body looks like.

        A wait that the service asks for is only reported: what is sent later is decided by who sends. The URL's path
        counts as a secret, because a webhook's token is part of it.
        """
        return await self._ask("POST", url, json.dumps(body).encode("ascii"), headers or {}, deadline_s)

    async def _ask(
        self, method: str, url: str, content: bytes | None, headers: Mapping[str, str], deadline_s: float
    ) -> Answer:
        if self._no_way is not None and not _is_loopback(url):
            return Answer(error=self._no_way)
        if content is not None:
            headers = {"Content-Type": "application/json", **headers}
        self._keys |= _keys(url, headers)
        head: httpx.Response | None = None
        body = b""
        trouble: str | None = None
        async with AsyncExitStack() as sockets:

            async def watch(event: str, told: Mapping[str, Any]) -> None:
                # httpcore 1.0.9 leaves the socket open when a TLS handshake is cancelled, which is what a deadline does.
                if event == "connection.connect_tcp.complete":
                    sockets.push_async_callback(told["return_value"].aclose)

            try:
                # httpx's own timeouts are per read: a server that sends a byte now and then is never late for them.
                async with asyncio.timeout(deadline_s):
                    request = self._http.stream(
                        method, url, content=content, headers=headers, extensions={"trace": watch}
                    )
                    async with request as head:
                        body, trouble = await _received(head)
            except TimeoutError:
                trouble = "timeout"
            except _TROUBLES as error:
                trouble = _phrase(error)
        # A webhook's token is part of its path.
        path = _parts(url).path
        hidden = {url, path, *(part for part in path.split("/") if len(part) >= 16)} if method == "POST" else set()
        return _answer(method, head, body, trouble, self._keys | hidden)


def _opened() -> tuple[httpx.AsyncClient, str | None]:
    """Return the connection pool, and why it may only be used for this machine when the environment is not usable."""
    try:
        return _http_client(trust_env=True), None
    except (ImportError, ValueError, OSError, httpx.InvalidURL):
        # A proxy is often the only permitted way out, so going around one that cannot be used is not ours to choose.
        return _http_client(trust_env=False), "the proxy or the certificates named in the environment are not usable"


def _http_client(*, trust_env: bool) -> httpx.AsyncClient:
    try:
        release = version("orchestrator-daemon")
    except PackageNotFoundError:
        release = "0"
    return httpx.AsyncClient(
        headers={
            "User-Agent": f"orchestrator-daemon/{release} (reads one operator's own revenue and credits)",
            "Accept": "application/json",
            "Accept-Encoding": "identity",
        },
        verify=httpx.create_ssl_context(trust_env=trust_env),
        trust_env=trust_env,
        mounts={f"all://{host}": None for host in _LOOPBACK},
        follow_redirects=False,
        timeout=None,  # noqa: S113 - asyncio.timeout around every question bounds it in total
        # Minutes lie between two questions: a connection that was kept would be found dead when it is used.
        limits=httpx.Limits(max_connections=20, max_keepalive_connections=0),
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
    )


def _is_loopback(url: str) -> bool:
    return _parts(url).hostname in {"localhost", "127.0.0.1", "::1"}


async def _received(head: httpx.Response) -> tuple[bytes, str | None]:
    """Return the body as it was sent, or nothing and why it is refused."""
    if head.headers.get("Content-Encoding", "identity").strip().lower() not in {"", "identity"}:
        return b"", "compressed answer refused"
    body = bytearray()
    async for chunk in head.aiter_raw():
        body += chunk
        if len(body) > MAX_BODY:
            return b"", "body over 1 MiB"
    return bytes(body), None


def _answer(method: str, head: httpx.Response | None, body: bytes, trouble: str | None, secrets: set[str]) -> Answer:
    if head is None:
        return Answer(error=trouble)
    read = read_body(body, secrets)
    match head.status_code:
        case 200 if method == "GET":
            error = trouble or read.problem
        case status if 200 <= status < 300 and method == "POST":
            error = None
        case status if 300 <= status < 400:
            error = f"redirected ({status})"
        case status:
            error = f"HTTP {status}"
    retry_after_s = _retry_after(head.headers, read.document)
    return Answer(read.document, read.text, read.raw_json, head.status_code, error, retry_after_s)


def _keys(url: str, headers: Mapping[str, str]) -> set[str]:
    """Return the secrets a question is asked with: its headers' values and a password in the URL."""
    told = [value for name, value in headers.items() if name.lower() not in _OPEN_HEADERS]
    parts = _parts(url)
    return {*told, *(value.rpartition(" ")[2] for value in told), parts.username or "", parts.password or ""}


def _parts(url: str) -> SplitResult:
    """Return the parts of a URL, none when it is not one."""
    try:
        return urlsplit(url)
    except ValueError:
        return urlsplit("")


def _retry_after(headers: httpx.Headers, document: object) -> float | None:
    """Return the seconds to wait, at most an hour, or None when the answer does not say or says nonsense.

    A body's `retry_after` (Discord: fractional seconds) is finer than the header and goes first. A date in the header
    is measured from the answer's own Date, so that a clock that is wrong on either side does not matter.
    """
    match document:
        case {"retry_after": value} if (seconds := decimal(value)) is not None and seconds >= 0:
            return min(float(seconds), MAX_WAIT_S)
    written = headers.get("Retry-After", "").strip()
    if _SECONDS.fullmatch(written):
        return min(float(written), MAX_WAIT_S)
    until, sent = _http_date(written), _http_date(headers.get("Date", ""))
    if until is None or sent is None:
        return None
    return min(max((until - sent).total_seconds(), 0.0), MAX_WAIT_S)


def _http_date(written: str) -> datetime | None:
    try:
        return datetime.strptime(written, "%a, %d %b %Y %H:%M:%S GMT").replace(tzinfo=UTC)
    except ValueError:
        return None


def _left_text(seconds: float) -> str:
    return span_text(seconds) if seconds >= 60 else f"{math.ceil(seconds)}s"


def _phrase(error: BaseException) -> str:
    """Return what failed in a few fixed words: an exception's own ones may quote the URL or a header, token and all."""
    causes = list(_causes(error))
    for kind, phrase in (
        (ConnectionRefusedError, "connection refused"),
        (socket.gaierror, "host not found"),
        (ssl.SSLCertVerificationError, "certificate not valid"),
        (ssl.SSLError, "TLS failed"),
        (httpx.InvalidURL, "URL not usable"),
        (httpx.UnsupportedProtocol, "URL not usable"),
        ((UnicodeError, OverflowError, httpx.LocalProtocolError), "URL or header not usable"),
        (httpx.ProxyError, "proxy failed"),
        (httpx.ConnectError, "cannot connect"),
        (httpx.RemoteProtocolError, "answer broken off or not HTTP"),
    ):
        if any(isinstance(cause, kind) for cause in causes):
            return phrase
    return "connection lost"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        if isinstance(error, BaseExceptionGroup):
            for inner in error.exceptions:
                yield from _causes(inner)
        error = error.__cause__ or error.__context__
