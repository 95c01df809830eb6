"""What systemd hears from the daemon over the socket in $NOTIFY_SOCKET (sd_notify(3)): ready, status, still alive, stopping."""

import os
import socket
from collections.abc import Mapping


def notify(environ: Mapping[str, str], *lines: str) -> bool:
    """Send lines such as `READY=1` and return whether somebody took them; nobody listens outside systemd."""
    address = environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    if address.startswith("@"):
        address = "\0" + address[1:]
    message = "\n".join(" ".join(line.split()) for line in lines)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            # A full queue must not stop the loop; what is lost is said again soon.
            sender.settimeout(0)
            sender.sendto(message.encode("utf-8", "replace"), address)
    except OSError:
        return False
    return True


def watchdog_seconds(environ: Mapping[str, str], pid: int | None = None) -> float | None:
    """Return within how many seconds this process has to say `WATCHDOG=1`, or None when nobody waits for it."""
    limit, meant_for = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
    if not (limit.isascii() and limit.isdigit()) or int(limit) == 0:
        return None
    if meant_for and meant_for != str(os.getpid() if pid is None else pid):
        return None
    return int(limit) / 1_000_000
