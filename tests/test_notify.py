"""What systemd hears, over a real socket."""

import os
import socket
from pathlib import Path

import pytest

from orchestrator.notify import notify, watchdog_seconds


@pytest.mark.parametrize("kind", ["path", "abstract"])
def test_lines_arrive_in_one_datagram(tmp_path: Path, kind: str) -> None:
    name = str(tmp_path / "socket") if kind == "path" else f"@orchestrator-notify-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(name.replace("@", "\0"))

        told = notify({"NOTIFY_SOCKET": name}, "READY=1", "STATUS=all is well\nREADY=0 \udcff")

        assert told
        assert listener.recv(4096) == b"READY=1\nSTATUS=all is well READY=0 ?"


@pytest.mark.parametrize(
    "name", ["", "relative", "vsock:2:1", "@nobody-listens-here", "/nobody/listens/here", "/" + "x" * 300]
)
def test_where_nobody_listens_nothing_happens(name: str) -> None:
    assert not notify({"NOTIFY_SOCKET": name}, "READY=1")
    assert not notify({}, "READY=1")


def test_a_listener_that_does_not_read_does_not_stop_us(tmp_path: Path) -> None:
    name = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(name)

        told = [notify({"NOTIFY_SOCKET": name}, "WATCHDOG=1") for _ in range(5000)]

    assert told[0]
    assert not told[-1]


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({"WATCHDOG_USEC": "300000000"}, 300.0),
        ({"WATCHDOG_USEC": "1500000", "WATCHDOG_PID": "7"}, 1.5),
        ({"WATCHDOG_USEC": "1500000", "WATCHDOG_PID": "8"}, None),
        ({"WATCHDOG_USEC": "1500000", "WATCHDOG_PID": ""}, 1.5),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "-5"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "٣٠"}, None),
        ({}, None),
    ],
)
def test_the_watchdog_is_for_the_process_it_names(environ: dict[str, str], seconds: float | None) -> None:
    assert watchdog_seconds(environ, pid=7) == seconds
