"""The lease: a row in `meta` that lets one daemon own the file.

A daemon that was killed cannot give it back. So whoever wants it looks whether the owner still lives: on this machine by its process,
elsewhere (another machine, or a container whose processes cannot be seen from here) by how long ago it renewed.
"""

import json
import os
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path

from orchestrator.errors import LeaseHeld
from orchestrator.periods import instant_from_text, text_from_instant
from orchestrator.store import meta
from orchestrator.store.database import Connection, Database

DAEMON_LEASE = "daemon_lease"

# An owner that cannot be looked at counts as dead after this. A daemon renews several times as often.
SILENCE = timedelta(minutes=5)


@dataclass(frozen=True)
class Process:
    """A process as its machine knows it. Empty text: this machine does not tell."""

    host: str  # a name for people
    machine: str
    boot: str
    namespace: str  # pids mean something only inside it
    pid: int
    started: str  # in clock ticks since boot; tells this process from a later one with its pid


@dataclass(frozen=True)
class Owner:
    """Who holds the lease, since when, and when it last said so."""

    process: Process
    since: datetime
    renewed_at: datetime

    def __str__(self) -> str:
        return f"a daemon (pid {self.process.pid} on {self.process.host}, since {text_from_instant(self.since)})"


def acquire(database: Database, *, now: datetime) -> Owner:
    """Take the lease for this process, or keep it; raises LeaseHeld when another living owner has it."""
    with database.write() as connection:
        return _take(connection, database, now, over_the_dead=True)


def renew(database: Database, *, now: datetime) -> Owner:
    """Say that this process still lives; raises LeaseHeld when another one has taken the lease meanwhile."""
    with database.write() as connection:
        return _take(connection, database, now, over_the_dead=False)


def release(database: Database) -> None:
    """Give the lease back, if this process has it."""
    with database.write() as connection:
        held = _read(connection)
        if held is not None and held.process == this_process():
            meta.remove(connection, DAEMON_LEASE)


def owner(database: Database, *, now: datetime) -> Owner | None:
    """Return the living owner, or None when there is none."""
    with database.read() as connection:
        held = _read(connection)
    return held if held is not None and _lives(held, this_process(), now) else None


def this_process() -> Process:
    """Return who we are."""
    host = os.uname().nodename
    pid = os.getpid()
    found = _stat(pid)
    return Process(
        host=host,
        machine=_line("/etc/machine-id") or host,
        boot=_line("/proc/sys/kernel/random/boot_id"),
        namespace=_namespace(),
        pid=pid,
        started=found[1] if found else "",
    )


def _take(connection: Connection, database: Database, now: datetime, *, over_the_dead: bool) -> Owner:
    held = _read(connection)
    ours = this_process()
    since = now
    if held is not None and held.process == ours:
        since = held.since
    elif held is not None and not (over_the_dead and not _lives(held, ours, now)):
        raise LeaseHeld(database.path, str(held))
    taken = Owner(ours, since, now)
    times = {"since": text_from_instant(since), "renewed_at": text_from_instant(now)}
    meta.put(connection, DAEMON_LEASE, json.dumps({**asdict(ours), **times}))
    return taken


def _lives(held: Owner, ours: Process, now: datetime) -> bool:
    theirs = held.process
    if theirs.machine == ours.machine and theirs.boot != ours.boot:
        return False
    if theirs.machine == ours.machine and theirs.namespace == ours.namespace:
        alive = _is_running(theirs)
        if alive is not None:
            return alive
    return now - held.renewed_at < SILENCE


def _is_running(process: Process) -> bool | None:
    """Return whether a process of this machine still runs, None when the machine does not tell."""
    found = _stat(process.pid)
    if found is not None:
        state, started = found
        # A killed process that nobody has waited for is still in the list.
        return state not in ("Z", "X") and started == process.started
    try:
        os.kill(process.pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    # There is a process, but without /proc it may be a later one with the same pid.
    return None


def _stat(pid: int) -> tuple[str, str] | None:
    """Return a process's state and start time, None where there is no /proc or no such process."""
    fields = _line(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return (fields[0], fields[19]) if len(fields) > 19 else None


def _namespace() -> str:
    try:
        return os.readlink("/proc/self/ns/pid")  # noqa: PTH115 - the name it returns is no path
    except OSError:
        return ""


def _line(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _read(connection: Connection) -> Owner | None:
    try:
        found: object = json.loads(meta.get(connection, DAEMON_LEASE) or "null")
    except (ValueError, RecursionError):
        return None
    match found:
        case {
            "host": str(host),
            "machine": str(machine),
            "boot": str(boot),
            "namespace": str(namespace),
            "pid": int(pid),
            "started": str(started),
            "since": str(since),
            "renewed_at": str(renewed_at),
        }:
            began, renewed = instant_from_text(since), instant_from_text(renewed_at)
            if began is not None and renewed is not None:
                return Owner(Process(host, machine, boot, namespace, pid, started), began, renewed)
    return None
