"""One mail handed to an SMTP server by smtplib, in a thread, with a deadline over the whole conversation."""

import asyncio
import contextlib
import ipaddress
import smtplib
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final

from orchestrator.alerts.message import Outcome, permanent, retry, sent
from orchestrator.config.sections import Email

_MAX_REPLY: Final = 64 * 1024


@dataclass(frozen=True)
class Mail:
    """What goes to one recipient: the mail, and the one for a server that refuses what it says, as bytes ready to be sent."""

    recipient: str
    content: bytes
    plain: bytes


async def hand_over(settings: Email, password: str | None, mail: Mail, deadline_s: float) -> Outcome:
    """Hold the conversation in a thread and return its outcome, or that the time was up; then the line is cut.

    The thread is a daemon: a name server that does not answer cannot be interrupted, and must not hold up the end of the
    program.
    """
    loop = asyncio.get_running_loop()
    told: asyncio.Future[Outcome] = loop.create_future()
    line = _Line(deadline_s)

    def tell(outcome: Outcome) -> None:
        if not told.done():
            told.set_result(outcome)

    def talk() -> None:
        outcome = retry("the conversation broke off")
        try:
            outcome = _converse(settings, password, mail, line)
        finally:
            with contextlib.suppress(RuntimeError):  # the loop has ended, and nobody asks any more
                loop.call_soon_threadsafe(tell, outcome)

    threading.Thread(target=talk, name="smtp", daemon=True).start()
    try:
        async with asyncio.timeout(deadline_s):
            return await told
    except TimeoutError:
        return retry("timeout")
    finally:
        line.cut()


def read_error(error: Exception) -> Outcome:
    """Return what it means that the conversation ended with an error. The server's own words are in none of it.

    What a server says for good (5xx) of the recipient, the sender, the login or even of our own words closes the channel;
    all the rest may pass: a greeting that is refused, a certificate that is not renewed, an encryption that is not offered.
    """
    match error:
        case smtplib.SMTPRecipientsRefused(recipients=refused):
            codes = [code for code, _ in refused.values()]
            return _refused("the recipient is refused", codes[0] if codes else 0)
        case smtplib.SMTPSenderRefused(smtp_code=int(code)):
            return _refused("the sender is refused", code)
        case smtplib.SMTPAuthenticationError(smtp_code=int(code)):
            return _refused("the login is refused", code)
        case smtplib.SMTPDataError(smtp_code=int(code)):
            return _refused("the mail is refused", code)
        case smtplib.SMTPResponseException(smtp_code=int(code)):
            return retry(f"the server is not ready (SMTP {code})")
        case _:
            return retry(_phrase(error))


def _refused(what: str, code: int) -> Outcome:
    return permanent(f"{what} (SMTP {code})") if 500 <= code < 600 else retry(f"{what} for now (SMTP {code})")


def _phrase(error: Exception) -> str:
    """Return what failed in a few fixed words."""
    if isinstance(error.__context__, TimeoutError):
        # smtplib calls a silence "unexpectedly closed".
        return "timeout"
    for kind, phrase in (
        (smtplib.SMTPNotSupportedError, "the server offers no STARTTLS, or no login"),
        (smtplib.SMTPServerDisconnected, "connection lost"),
        (smtplib.SMTPException, "the server does not speak as it should"),
        (TimeoutError, "timeout"),
        (ConnectionRefusedError, "connection refused"),
        (socket.gaierror, "host not found"),
        (ssl.SSLCertVerificationError, "certificate not valid"),
        (ssl.SSLError, "TLS failed"),
        (OSError, "cannot connect"),
    ):
        if isinstance(error, kind):
            return phrase
    return "host, name or address not usable"


def _converse(settings: Email, password: str | None, mail: Mail, line: "_Line") -> Outcome:
    try:
        with _connection(settings, line) as smtp:
            if settings.username:
                smtp.login(settings.username, password or "")
            try:
                smtp.sendmail(settings.sender, mail.recipient, mail.content)
            except smtplib.SMTPDataError as error:
                if not 500 <= error.smtp_code < 600:
                    raise
                smtp.sendmail(settings.sender, mail.recipient, mail.plain)
    except (OSError, ValueError) as error:  # SMTPException is an OSError
        return read_error(error)
    return sent()


@contextlib.contextmanager
def _connection(settings: Email, line: "_Line") -> Iterator["_Smtp"]:
    """Yield a server that has said hello, encrypted as configured; the certificate must be valid for the host's name."""
    context = None if settings.security == "none" else ssl.create_default_context()
    with contextlib.closing(_Smtp(settings, line, context if settings.security == "tls" else None)) as smtp:
        smtp.local_hostname = _literal(smtp)
        if context is not None and settings.security == "starttls":
            smtp.starttls(context=context)
        yield smtp
        # The mail is accepted: nobody waits for what the server has to say to a farewell.
        with contextlib.suppress(OSError):
            smtp.putcmd("quit")


def _literal(smtp: smtplib.SMTP) -> str:
    """Return our own address as RFC 5321 wants it in a greeting, where smtplib would ask a name server for our name."""
    address = "127.0.0.1" if smtp.sock is None else smtp.sock.getsockname()[0].partition("%")[0]
    return f"[IPv6:{address}]" if ipaddress.ip_address(address).version == 6 else f"[{address}]"


class _Line:
    """The connection under a conversation, which another thread can cut; once cut, it is not opened any more."""

    def __init__(self, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        self._lock = threading.Lock()
        self._is_cut = False
        self._copy: socket.socket | None = None

    def watch(self, connection: socket.socket) -> None:
        """Keep a second hold of the connection, which stays while TLS is wrapped around the first; raises when cut already."""
        with self._lock:
            if self._is_cut:
                raise ConnectionAbortedError
            self._copy = connection.dup()

    def cut(self) -> None:
        """End the connection, whoever reads from it."""
        with self._lock:
            self._is_cut = True
            if self._copy is not None:
                with contextlib.suppress(OSError):
                    self._copy.shutdown(socket.SHUT_RDWR)
                self._copy.close()
                self._copy = None


class _Smtp(smtplib.SMTP):
    """smtplib's client on a line that can be cut, which does not read replies without end."""

    def __init__(self, settings: Email, line: _Line, tls: ssl.SSLContext | None) -> None:
        self._line = line
        self._tls = tls
        super().__init__(settings.smtp_host, settings.smtp_port, local_hostname="localhost", timeout=line.timeout_s)

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        connection = socket.create_connection((host, port), timeout)
        try:
            self._line.watch(connection)
            return self._tls.wrap_socket(connection, server_hostname=host) if self._tls else connection
        except BaseException:
            connection.close()
            raise

    def getreply(self) -> tuple[int, bytes]:
        """Return the server's next reply; one over 64 KiB is the end of the conversation."""
        if self.sock is not None:
            self.file = _Reply(self.file.source if self.file else self.sock.makefile("rb"))
        return super().getreply()


class _Reply:
    """What is read of one reply, up to its limit; then the end is reached."""

    def __init__(self, source: BinaryIO) -> None:
        self.source = source
        self._left = _MAX_REPLY

    def readline(self, limit: int) -> bytes:
        read = self.source.readline(min(limit, self._left))
        self._left -= len(read)
        return read

    def close(self) -> None:
        self.source.close()
