"""A real HTTP server on loopback that answers what a test puts there, politely or not.

    with Loopback() as server:
        server.put("/health", reply({"status": "ok"}))
        server.put("/slow", reply({}, status=503), drip)     # one after the other, the last one for ever
        ... server.url + "/health" ...
        assert server.asked[0].headers["accept-encoding"] == "identity"

A behaviour is a function of the connection, the request and an event that is set when the server stops.
"""

import contextlib
import gzip
import json
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Asked:
    """One request as it arrived; header names are lower case."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def path(self) -> str:
        return urlsplit(self.target).path


Behaviour = Callable[[socket.socket, Asked, threading.Event], None]


class Loopback:
    """A threaded server that remembers in `asked` what it was asked; a path that nobody put there is a 404."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        self.asked: list[Asked] = []
        self._behaviours: dict[str, list[Behaviour]] = {}
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server((host, 0))
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://{host}:{self.port}"
        self._acceptor = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> Self:
        self._acceptor.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        with contextlib.suppress(OSError):  # a last connection, so that accept() returns
            socket.create_connection(self._listener.getsockname()[:2], timeout=5).close()
        self._acceptor.join()
        self._listener.close()
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(timeout=5)

    def put(self, path: str, *behaviours: Behaviour) -> None:
        """Answer this path, or with "*" every path that has nothing of its own, so; the last behaviour stays."""
        with self._lock:
            self._behaviours[path] = list(behaviours)

    def asked_for(self, path: str) -> list[Asked]:
        with self._lock:
            return [asked for asked in self.asked if asked.path == path]

    def _accept(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            if self._stopping.is_set():
                connection.close()
                return
            with self._lock:
                self._open.add(connection)
                thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
                self._threads = [*(thread for thread in self._threads if thread.is_alive()), thread]
                thread.start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            asked = _read_request(connection)
            if asked is not None:
                self._behaviour(asked)(connection, asked, self._stopping)
        except OSError:
            pass  # the client has gone, which is what many tests are about
        finally:
            with self._lock:
                self._open.discard(connection)
            connection.close()

    def _behaviour(self, asked: Asked) -> Behaviour:
        with self._lock:
            self.asked.append(asked)
            waiting = self._behaviours.get(asked.path) or self._behaviours.get("*") or [reply(b"", status=404)]
            return waiting.pop(0) if len(waiting) > 1 else waiting[0]


def _read_request(connection: socket.socket) -> Asked | None:
    received = b""
    while b"\r\n\r\n" not in received:
        chunk = connection.recv(65536)
        if not chunk:
            return None
        received += chunk
    head, _, body = received.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ", 2)
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    while len(body) < int(headers.get("content-length", "0")):
        body += connection.recv(65536)
    return Asked(method, target, headers, body)


def reply(body: bytes | str | object, status: int = 200, headers: Mapping[str, str] | None = None) -> Behaviour:
    """Answer with these bytes, this text, or anything else as JSON."""
    match body:
        case bytes():
            content = body
        case str():
            content = body.encode()
        case _:
            content = json.dumps(body).encode()
    given = {"Content-Type": "application/json", "Content-Length": str(len(content)), **(headers or {})}
    head = [f"HTTP/1.1 {status} Whatever", *(f"{name}: {value}" for name, value in given.items()), "Connection: close"]

    def answer(connection: socket.socket, asked: Asked, stopping: threading.Event) -> None:
        connection.sendall("\r\n".join([*head, "", ""]).encode("latin-1") + content)

    return answer


def raw(content: bytes) -> Behaviour:
    """Send these bytes as they are, which need not be HTTP, and hang up."""

    def answer(connection: socket.socket, asked: Asked, stopping: threading.Event) -> None:
        connection.sendall(content)

    return answer


def silence(connection: socket.socket, asked: Asked, stopping: threading.Event) -> None:
    """Take the question and never answer."""
    stopping.wait(60)


def hang_up(connection: socket.socket, asked: Asked, stopping: threading.Event) -> None:
    """Close without a word."""


def drip(connection: socket.socket, asked: Asked, stopping: threading.Event) -> None:
    """Send headers at once and then a byte of the body now and then, for ever."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{")
    while not stopping.wait(0.05):
        connection.sendall(b" ")


def drip_headers(connection: socket.socket, asked: Asked, stopping: threading.Event) -> None:
    """Send a byte of one header line now and then, for ever."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    while not stopping.wait(0.05):
        connection.sendall(b"x")


def endless_headers(connection: socket.socket, asked: Asked, stopping: threading.Event) -> None:
    """Send header lines as fast as they are taken."""
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    while not stopping.is_set():
        connection.sendall(b"X-Padding: " + b"x" * 4096 + b"\r\n")


def endless_header_line(connection: socket.socket, asked: Asked, stopping: threading.Event) -> None:
    """Send one header line that does not end."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nX-Padding: ")
    while not stopping.is_set():
        connection.sendall(b"x" * 4096)


def endless_hints(connection: socket.socket, asked: Asked, stopping: threading.Event) -> None:
    """Send one early hint (103) after another, and never the answer."""
    while not stopping.is_set():
        connection.sendall(b"HTTP/1.1 103 Early Hints\r\nLink: </>\r\n\r\n" * 50)


def endless_body(connection: socket.socket, asked: Asked, stopping: threading.Event) -> None:
    """Send a body without a length, as fast as it is taken."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")
    while not stopping.is_set():
        connection.sendall(b" " * 65536)


def short_body(connection: socket.socket, asked: Asked, stopping: threading.Event) -> None:
    """Promise a hundred bytes and hang up after twelve, which would be good JSON."""
    connection.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"ok": true}')


def reset(connection: socket.socket, asked: Asked, stopping: threading.Event) -> None:
    """Break the connection in the middle of the body, with a reset instead of an end."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")


@cache
def gzip_bomb(mebibytes: int = 20) -> Behaviour:
    """Send a small compressed body that unfolds to so much."""
    content = gzip.compress(b" " * (mebibytes * 1024 * 1024), 9)
    return reply(content, headers={"Content-Encoding": "gzip"})


def redirect(to: str, status: int = 302) -> Behaviour:
    return reply(b"", status=status, headers={"Location": to})


def closed_port() -> int:
    """Return a port of this machine that refuses connections."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
