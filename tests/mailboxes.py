"""SMTP servers on loopback: a real one that keeps what it is given, and one that says what a test wrote for it."""

import asyncio
import contextlib
import queue
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session


@dataclass
class Post:
    """An aiosmtpd handler: what a server accepted, and what it answers to a recipient, to DATA, to a login."""

    rcpt: dict[str, str] = field(default_factory=dict)
    data: list[str] = field(default_factory=list)
    sender: str = "250 OK"
    login: tuple[str, str] | None = None
    login_refusal: str = "535 5.7.8 Authentication credentials invalid"
    accepted: list[Envelope] = field(default_factory=list)
    spoken: list[str] = field(default_factory=list)
    encrypted: list[bool] = field(default_factory=list)

    @property
    def mails(self) -> list[EmailMessage]:
        found = []
        for envelope in self.accepted:
            mail = message_from_bytes(envelope.original_content or b"", policy=default)
            assert isinstance(mail, EmailMessage)
            found.append(mail)
        return found

    async def handle_EHLO(
        self, server: SMTP, session: Session, envelope: Envelope, hostname: str, responses: list[str]
    ) -> list[str]:
        session.host_name = hostname
        self.spoken.append(f"EHLO {hostname}")
        return responses

    async def handle_MAIL(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return self.sender

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        answer = self.rcpt.get(address, "250 OK")
        if answer.startswith("250"):
            envelope.rcpt_tos.append(address)
        return answer

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        answer = self.data.pop(0) if self.data else "250 OK"
        if answer.startswith("250"):
            self.accepted.append(envelope)
            self.encrypted.append(session.ssl is not None)
        return answer

    def authenticate(
        self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, given: LoginPassword
    ) -> AuthResult:
        if self.login is not None and (given.login.decode(), given.password.decode()) == self.login:
            return AuthResult(success=True)
        return AuthResult(success=False, handled=False, message=self.login_refusal)


@contextlib.contextmanager
def posting(post: Post, ssl_context: ssl.SSLContext | None = None, **settings: Any) -> Iterator[int]:
    """Run a server in a thread and yield its port; its connections end with it."""
    ready: queue.Queue[tuple[asyncio.AbstractEventLoop, asyncio.Event, int]] = queue.Queue()

    def connection() -> SMTP:
        return SMTP(post, hostname="post.example", authenticator=post.authenticate, **settings)

    async def run() -> None:
        stop = asyncio.Event()
        server = await asyncio.get_running_loop().create_server(connection, "127.0.0.1", 0, ssl=ssl_context)
        ready.put((asyncio.get_running_loop(), stop, server.sockets[0].getsockname()[1]))
        await stop.wait()
        server.close()

    thread = threading.Thread(target=lambda: asyncio.run(run()), daemon=True)
    thread.start()
    loop, stop, port = ready.get(timeout=5)
    try:
        yield port
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(timeout=5)


def certificate(folder: Path, *names: str) -> tuple[Path, Path] | None:
    """Make a certificate for these names and return it and its key, or None where there is no openssl."""
    openssl = shutil.which("openssl")
    if openssl is None:
        return None
    certificate_path, key_path = folder / "certificate.pem", folder / "key.pem"
    command = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=post.example"]
    command += ["-addext", f"subjectAltName={','.join(names)}", "-keyout", str(key_path), "-out", str(certificate_path)]
    made = subprocess.run(command, capture_output=True, check=False)
    return (certificate_path, key_path) if made.returncode == 0 else None


def server_context(paths: tuple[Path, Path]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*paths)
    return context


class Speaker:
    """A server that greets and then answers each line with the next thing written for it, or the last one for ever."""

    def __init__(self, greeting: bytes, *answers: bytes, drip: bytes = b"") -> None:
        self.heard: list[bytes] = []
        self._greeting, self._answers, self._drip = greeting, list(answers), drip
        self._stopping = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port), timeout=5).close()
        self._thread.join(timeout=5)
        self._listener.close()

    def _serve(self) -> None:
        connection, _ = self._listener.accept()
        with connection, contextlib.suppress(OSError), connection.makefile("rb") as lines:
            connection.sendall(self._greeting)
            while self._drip and not self._stopping.wait(0.02):
                connection.sendall(self._drip)
            for line in lines:
                self.heard.append(line)
                connection.sendall(self._answer(line))

    def _answer(self, line: bytes) -> bytes:
        if not self._answers:
            return b""
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]


class TakesAndFallsSilent(Speaker):
    """A server that accepts one mail and then says nothing more, not even to QUIT."""

    def __init__(self) -> None:
        super().__init__(b"220 hi\r\n")
        self._is_mail = self._is_done = False

    def _answer(self, line: bytes) -> bytes:
        if self._is_done or (self._is_mail and line != b".\r\n"):
            return b""
        self._is_done = self._is_mail
        self._is_mail = line == b"data\r\n"
        return b"354 go\r\n" if self._is_mail else b"250 ok\r\n"
