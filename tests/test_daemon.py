"""The daemon: its rhythm on a clock of the test's own, and its manners as a real process."""

import io
import json
import logging
import os
import random
import resource
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import apsw
import pytest
from clocks import FakeClock
from loopback import Asked, Loopback, reply, silence
from processes import FAST, WALLET, daemon, ended, environment, finished, locked, rows, services, until

from orchestrator import app, log, scan
from orchestrator.daemon import Daemon
from orchestrator.errors import ConfigError, LeaseHeld
from orchestrator.periods import instant_from_text
from orchestrator.store import lease, meta
from orchestrator.store.database import Database

START = datetime(2026, 11, 21, 8, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def watched(environ: Mapping[str, str], clock: FakeClock, tmp_path: Path) -> None:
    """Let a daemon run in this process until its clock ends it."""
    project = app.load(None, None, environ, tmp_path)

    async def main() -> None:
        await Daemon(project, environ, clock).run()

    scan.run(main())


def collected(path: Path, source: str = "mlx-api") -> list[datetime]:
    found = rows(path, f"SELECT collected_at FROM revenue_snapshots WHERE source = '{source}' ORDER BY id")
    return [instant for (text,) in found if (instant := instant_from_text(str(text)))]


@pytest.fixture
def server() -> Iterator[Loopback]:
    with services() as one:
        yield one


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "orchestrator.db"


def test_it_collects_at_the_start_and_at_every_fifth_tick(tmp_path: Path, path: Path, server: Loopback) -> None:
    watched(environment(tmp_path, server), FakeClock(START, 1200), tmp_path)

    assert collected(path) == [START + n * 5 * MINUTE for n in range(4)]
    assert collected(path, "xmr-mining") == collected(path)


def test_after_a_suspend_it_collects_once_and_stays_on_its_grid(tmp_path: Path, path: Path, server: Loopback) -> None:
    clock = FakeClock(START, 5400, suspends={660: 3621.5})

    watched(environment(tmp_path, server), clock, tmp_path)

    woken = START + timedelta(seconds=660 + 3621.5)
    assert collected(path) == [
        START, START + 5 * MINUTE, START + 10 * MINUTE, woken, START + 75 * MINUTE, START + 80 * MINUTE, START + 85 * MINUTE,
    ]  # fmt: skip


@pytest.mark.parametrize("jump", [timedelta(hours=5), timedelta(hours=-5), timedelta(days=-4000)])
def test_a_wall_clock_that_jumps_changes_neither_the_rhythm_nor_loses_a_row(
    tmp_path: Path, path: Path, server: Loopback, jump: timedelta
) -> None:
    watched(environment(tmp_path, server), FakeClock(START, 1800, jumps={660: jump}), tmp_path)

    assert collected(path) == [START + n * 5 * MINUTE + (jump if n > 2 else timedelta()) for n in range(6)]


def test_a_slow_source_keeps_no_row_waiting_and_no_second_collection_begins(
    tmp_path: Path, path: Path, server: Loopback
) -> None:
    server.put("/health", silence)

    with daemon(environment(tmp_path, server, **FAST), tmp_path) as process:
        until(lambda: len(collected(path, "xmr-mining")) == 1)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=2.2)
        ended(process, signal.SIGTERM)

    assert len(server.asked_for("/health")) == 1
    assert len(server.asked_for("/price/simple/price")) == 1


def test_a_row_that_cannot_be_stored_waits_for_the_lock_to_go(tmp_path: Path, path: Path, server: Loopback) -> None:
    with daemon(environment(tmp_path, server, **FAST), tmp_path) as process:
        until(lambda: collected(path))
        with locked(path):
            asked = len(server.asked_for("/health"))
            until(lambda: len(server.asked_for("/health")) >= asked + 2)
            stored = len(collected(path))
        until(lambda: len(collected(path)) >= stored + 2)
        code, _, told = ended(process, signal.SIGTERM)

    events = [json.loads(line)["event"] for line in told.splitlines()]
    assert code == 0
    assert [one for one in events if one.startswith("file_")] == ["file_fault", "file_works_again"]
    assert len(collected(path)) == len(set(collected(path))) >= len(server.asked_for("/health")) - 1


def test_rows_that_wait_are_stored_on_the_way_out(tmp_path: Path, path: Path, server: Loopback) -> None:
    with daemon(environment(tmp_path, server, **FAST), tmp_path) as process:
        until(lambda: collected(path))
        with locked(path):
            asked = len(server.asked_for("/health"))
            until(lambda: len(server.asked_for("/health")) >= asked + 2)
            process.send_signal(signal.SIGTERM)
        code = process.wait(timeout=5)

    assert code == 0
    assert len(collected(path)) >= asked + 1


@pytest.mark.parametrize("waited_before", [2, 0])
def test_on_the_way_out_it_waits_for_the_lock_to_go_as_long_as_there_is_time(
    tmp_path: Path, path: Path, server: Loopback, waited_before: int
) -> None:
    with daemon(environment(tmp_path, server, **FAST), tmp_path) as process:
        until(lambda: collected(path))
        with locked(path):
            asked = len(server.asked_for("/health"))
            until(lambda: len(server.asked_for("/health")) > asked + waited_before)
            process.send_signal(signal.SIGTERM)
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(timeout=2)
        _, told = process.communicate(timeout=3)

    assert process.returncode == 0
    assert len(collected(path)) >= asked + waited_before
    assert "rows_lost" not in told
    assert "Traceback" not in told
    assert rows(path, "SELECT value FROM meta WHERE key = 'daemon_lease'") == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_at_once(tmp_path: Path, path: Path, server: Loopback, number: signal.Signals) -> None:
    with daemon(environment(tmp_path, server), tmp_path) as process:
        until(lambda: len(collected(path, "xmr-mining")) == 1)
        code, seconds, told = ended(process, number)

    assert code == 0
    assert seconds < 3
    assert json.loads(told.splitlines()[-1])["event"] == "stopped"
    assert rows(path, "SELECT value FROM meta WHERE key = 'daemon_lease'") == []
    assert sorted(one.name for one in tmp_path.iterdir()) == ["orchestrator.db"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_while_every_server_hangs(tmp_path: Path, server: Loopback, number: signal.Signals) -> None:
    for place in (f"/pool/miner/{WALLET}/stats", "/price/simple/price", "/health"):
        server.put(place, silence)

    with daemon(environment(tmp_path, server), tmp_path) as process:
        until(lambda: len(server.asked) == 3)
        code, seconds, _ = ended(process, number)

    assert code == 0
    assert seconds < 5


def test_a_signal_ends_it_while_no_name_server_answers(tmp_path: Path) -> None:
    asleep = tmp_path / "asleep"
    (tmp_path / "sitecustomize.py").write_text(
        f"""
import pathlib, socket, time
def never(*arguments, **named):
    pathlib.Path({str(asleep)!r}).touch()
    time.sleep(60)
socket.getaddrinfo = never
"""
    )
    environ = environment(tmp_path, ORCHESTRATOR_REVENUE__MLX_URL="http://mlx.example:8100")
    environ["PYTHONPATH"] = f"{tmp_path}{os.pathsep}{environ['PYTHONPATH']}"

    with daemon(environ, tmp_path) as process:
        until(asleep.exists)
        code, seconds, _ = ended(process, signal.SIGTERM)

    assert code == 0
    assert seconds < 5


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_while_another_process_holds_the_lock(
    tmp_path: Path, path: Path, server: Loopback, number: signal.Signals
) -> None:
    with daemon(environment(tmp_path, server, **FAST), tmp_path) as process:
        until(lambda: collected(path))
        with locked(path):
            asked = len(server.asked)
            until(lambda: len(server.asked) >= asked + 3)
            code, seconds, told = ended(process, number)

    events = [json.loads(line)["event"] for line in told.splitlines()]
    assert code == 0
    assert seconds < 5
    assert events[-1] == "stopped"
    # What the file's last refusal was may be said just before or just after.
    assert "rows_lost" in events[-3:]


def test_a_signal_before_the_first_tick_is_heard(tmp_path: Path, path: Path, server: Loopback) -> None:
    Database(path).close()
    with daemon(environment(tmp_path, server), tmp_path) as process:
        until(path.exists)
        with locked(path):
            code, seconds, _ = ended(process, signal.SIGTERM)

    assert code == 0
    assert seconds < 5


def test_a_second_daemon_says_who_has_the_file_and_the_first_goes_on(
    tmp_path: Path, path: Path, server: Loopback
) -> None:
    environ = environment(tmp_path, server, **FAST)

    with daemon(environ, tmp_path) as first:
        until(lambda: collected(path))
        second = finished("run", environ=environ, cwd=tmp_path)
        stored = len(collected(path))
        until(lambda: len(collected(path)) > stored)

        assert second.returncode == 1
        assert f"pid {first.pid}" in second.stderr
        assert second.stderr.startswith("error: ")
        assert len(second.stderr.splitlines()) == 1


def test_the_lease_of_a_killed_daemon_is_taken_over_at_once(tmp_path: Path, path: Path, server: Loopback) -> None:
    environ = environment(tmp_path, server)
    with daemon(environ, tmp_path) as first:
        until(lambda: len(collected(path)) == 1)
        ended(first, signal.SIGKILL)

    with daemon(environ, tmp_path) as second:
        until(lambda: len(collected(path)) == 2)
        code, _, _ = ended(second, signal.SIGTERM)

    assert code == 0


def test_once_works_beside_a_daemon(tmp_path: Path, path: Path, server: Loopback) -> None:
    environ = environment(tmp_path, server)

    with daemon(environ, tmp_path) as process:
        until(lambda: len(collected(path)) == 1)
        done = finished("once", environ=environ, cwd=tmp_path)
        code, _, _ = ended(process, signal.SIGTERM)

    assert done.returncode == 0
    assert done.stdout.startswith("Revenue:\n- XMR Mining: $")
    assert len(collected(path)) == 2
    assert code == 0


def test_a_lease_that_another_daemon_took_ends_it(tmp_path: Path, path: Path, server: Loopback) -> None:
    environ = environment(tmp_path, server)
    database = Database(path)

    def take_over(_connection: socket.socket, _asked: Asked, _stopping: threading.Event) -> None:
        with database.write() as connection:
            held = json.loads(meta.get(connection, lease.DAEMON_LEASE) or "")
            meta.put(connection, lease.DAEMON_LEASE, json.dumps({**held, "pid": 1, "started": "1"}))

    server.put("/health", take_over)

    written = io.StringIO()
    log.configure(logging.INFO, str, {}, written)
    with pytest.raises(LeaseHeld, match="pid 1 on"):
        watched(environ, FakeClock(START, 3600), tmp_path)

    database.close()
    assert "started" in written.getvalue()
    assert "stopped" not in written.getvalue()
    assert rows(path, "SELECT json_extract(value, '$.pid') FROM meta WHERE key = 'daemon_lease'") == [(1,)]


def test_a_file_that_was_taken_away_is_made_again_with_what_is_configured(
    tmp_path: Path, path: Path, server: Loopback
) -> None:
    environ = environment(tmp_path, server, ORCHESTRATOR_ORCHESTRATOR__TIMEZONE="Asia/Tokyo", **FAST)

    with daemon(environ, tmp_path) as process:
        until(lambda: collected(path))
        for one in tmp_path.glob("orchestrator.db*"):
            one.unlink()
        until(lambda: rows(path, "SELECT value FROM meta WHERE key = 'timezone'"))
        code, _, _ = ended(process, signal.SIGTERM)

    assert code == 0
    assert rows(path, "SELECT value FROM meta WHERE key = 'timezone'") == [("Asia/Tokyo",)]


def test_a_damaged_file_is_refused_at_the_start(tmp_path: Path, path: Path, server: Loopback) -> None:
    environ = environment(tmp_path, server)
    finished("once", environ=environ, cwd=tmp_path)
    content = bytearray(path.read_bytes())
    content[4096 * 3 : 4096 * 3 + 64] = bytes(random.Random(1).randbytes(64))
    path.write_bytes(content)

    done = finished("run", environ=environ, cwd=tmp_path)

    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "is damaged" in done.stderr
    assert path.read_bytes() == content


def test_another_zone_than_the_files_is_refused_at_the_start(tmp_path: Path, path: Path, server: Loopback) -> None:
    environ = environment(tmp_path, server)
    watched(environ, FakeClock(START, 60), tmp_path)
    with Database(path).write() as connection:
        connection.execute(
            "INSERT INTO daily_growth (day, source, covered_seconds, flag) VALUES ('2026-11-20', 'mlx-api', 0, 'unknown')"
        )

    with pytest.raises(ConfigError, match="Asia/Tokyo"):
        watched({**environ, "ORCHESTRATOR_ORCHESTRATOR__TIMEZONE": "Asia/Tokyo"}, FakeClock(START, 60), tmp_path)


def test_without_a_source_it_waits_and_says_so(tmp_path: Path) -> None:
    name = str(tmp_path / "notify")
    environ = environment(tmp_path, ORCHESTRATOR_REVENUE__ENABLED="false", NOTIFY_SOCKET=name)

    with systemd(name) as listener, daemon(environ, tmp_path) as process:
        heard(listener, "STATUS=no source is configured")
        code, _, told = ended(process, signal.SIGTERM)

    assert code == 0
    assert "no_source_configured" in told


def test_a_source_that_fails_is_logged_when_that_changes(tmp_path: Path, path: Path, server: Loopback) -> None:
    good = reply({"requests_served": 5, "total_tokens_generated": 50})
    server.put("/health", good, good, reply("", 500), reply("", 500), reply("", 503), good)
    written = io.StringIO()
    log.configure(logging.INFO, str, {}, written)

    watched(environment(tmp_path, server), FakeClock(START, 2100), tmp_path)

    told = [json.loads(line) for line in written.getvalue().splitlines()]
    assert [(one["event"], one.get("error")) for one in told if one.get("source") == "mlx-api"] == [
        ("source_failing", "HTTP 500"),
        ("source_failing", "HTTP 503"),
        ("source_answers_again", None),
    ]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Give a folder on a disk of its own, of two megabytes."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("only root may mount a disk")
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a disk")
def test_a_disk_that_is_full_at_the_start_is_waited_for(tmp_path: Path, small_disk: Path, server: Loopback) -> None:
    name, path, filling = str(tmp_path / "notify"), small_disk / "orchestrator.db", small_disk / "filling"
    environ = environment(tmp_path, server, NOTIFY_SOCKET=name, WATCHDOG_USEC=200_000, **FAST)
    environ["ORCHESTRATOR_DB"] = str(path)
    with suppress(OSError):
        filling.write_bytes(bytes(3_000_000))

    with systemd(name) as listener, daemon(environ, tmp_path) as process:
        first = heard(listener, "STATUS=waiting for the file: the disk is full")
        blocked = [line for _ in range(20) for line in listener.recv(4096).decode().splitlines()]
        filling.unlink()
        heard(listener, "STATUS=2 of 2 sources")
        code, _, told = ended(process, signal.SIGTERM)

    events = [json.loads(line)["event"] for line in told.splitlines()]
    assert code == 0
    assert "READY=1" in first
    assert blocked.count("WATCHDOG=1") >= 15
    assert events.count("file_fault") == 1
    assert events.index("file_fault") < events.index("file_works_again")
    assert len(collected(path)) >= 1


def test_a_file_that_is_locked_at_the_start_is_waited_for(tmp_path: Path, path: Path, server: Loopback) -> None:
    name = str(tmp_path / "notify")
    environ = environment(tmp_path, server, NOTIFY_SOCKET=name, **FAST)
    with Database(path).write():
        pass

    with systemd(name) as listener, daemon(environ, tmp_path) as process:
        with locked(path):
            heard(listener, "STATUS=waiting for the file: is locked by another process")
        until(lambda: collected(path))
        code, _, _ = ended(process, signal.SIGTERM)

    assert code == 0


def test_a_signal_ends_a_daemon_that_waits_for_its_file_and_nothing_is_said_to_have_stopped(
    tmp_path: Path, path: Path, server: Loopback
) -> None:
    with Database(path).write():
        pass

    with locked(path), daemon(environment(tmp_path, server), tmp_path) as process:
        assert process.stderr is not None
        told = [json.loads(process.stderr.readline())]
        code, seconds, rest = ended(process, signal.SIGTERM)

    told += [json.loads(line) for line in rest.splitlines()]
    assert code == 0
    assert seconds < 5
    assert [one["event"] for one in told] == ["file_fault"]
    assert server.asked == []


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="only Linux limits another process")
def test_a_full_disk_keeps_rows_waiting_and_the_watchdog_fed_until_there_is_room(
    tmp_path: Path, path: Path, server: Loopback
) -> None:
    name = str(tmp_path / "notify")
    environ = environment(tmp_path, server, NOTIFY_SOCKET=name, WATCHDOG_USEC=200_000, **FAST)

    with systemd(name) as listener, daemon(environ, tmp_path) as process:
        heard(listener, "STATUS=2 of 2 sources")
        _, most = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (0, most))
        heard(listener, "STATUS=2 of 2 sources gave good values at", "6 rows wait: the disk is full")
        blocked = [line for _ in range(10) for line in listener.recv(4096).decode().splitlines()]
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (most, most))
        until(lambda: len(collected(path)) >= 4)
        code, _, told = ended(process, signal.SIGTERM)

    assert code == 0
    assert blocked.count("WATCHDOG=1") >= 5
    assert len(collected(path)) >= len(server.asked_for("/health")) - 1
    assert [line.count("file_fault") for line in told.splitlines()].count(1) == 1


def test_a_mistake_of_our_own_is_logged_and_the_ticks_go_on(tmp_path: Path, path: Path, server: Loopback) -> None:
    with daemon(environment(tmp_path, server, **FAST), tmp_path) as process:
        until(lambda: collected(path))
        other = apsw.Connection(str(path))
        other.set_busy_timeout(5000)
        other.execute("DROP VIEW timeseries; DROP VIEW latest_snapshots; DROP TABLE revenue_snapshots")
        other.close()
        asked = len(server.asked_for("/health"))
        until(lambda: len(server.asked_for("/health")) >= asked + 2)
        code, _, told = ended(process, signal.SIGTERM)

    failed = [one for line in told.splitlines() if (one := json.loads(line))["event"] == "job_failed"]
    assert code == 0
    assert {one["job"] for one in failed} >= {"store mlx-api", "store xmr-mining"}
    assert all("no such table" in one["exception"] for one in failed)


@contextmanager
def systemd(name: str) -> Iterator[socket.socket]:
    """Listen as systemd does, at a path or (with @) at a name without one."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(name.replace("@", "\0"))
        listener.settimeout(15)
        yield listener


def heard(listener: socket.socket, first: str, last: str = "") -> list[str]:
    """Return the lines up to one that begins and ends so."""
    lines: list[str] = []
    while not any(line.startswith(first) and line.endswith(last) for line in lines):
        lines += listener.recv(4096).decode().splitlines()
    return lines


@pytest.mark.parametrize("place", ["path", "abstract"])
def test_systemd_hears_when_it_is_ready_how_it_goes_that_it_lives_and_that_it_stops(
    tmp_path: Path, server: Loopback, place: str
) -> None:
    name = str(tmp_path / "notify") if place == "path" else f"@orchestrator-test-{os.getpid()}"
    environ = environment(tmp_path, server, NOTIFY_SOCKET=name, WATCHDOG_USEC=400_000)

    with systemd(name) as listener, daemon(environ, tmp_path) as process:
        lines = heard(listener, "READY=1") + heard(listener, "WATCHDOG=1") + heard(listener, "STATUS=2 of 2 sources")
        process.send_signal(signal.SIGTERM)
        lines += heard(listener, "STOPPING=1")
        process.wait(timeout=5)

    order = [line for line in lines if not line.startswith(("STATUS", "EXTEND_TIMEOUT"))]
    assert order[0] == "READY=1"
    assert order[-1] == "STOPPING=1"
    assert set(order[1:-1]) == {"WATCHDOG=1"}


def test_the_watchdog_is_fed_while_another_process_holds_the_lock(tmp_path: Path, path: Path, server: Loopback) -> None:
    name = str(tmp_path / "notify")
    environ = environment(tmp_path, server, NOTIFY_SOCKET=name, WATCHDOG_USEC=200_000, **FAST)

    with systemd(name) as listener, daemon(environ, tmp_path) as process:
        heard(listener, "STATUS=2 of 2 sources")
        with locked(path):
            heard(listener, "STATUS=2 of 2 sources gave good values at", "rows wait: is locked by another process")
            blocked = [line for _ in range(40) for line in listener.recv(4096).decode().splitlines()]
        ended(process, signal.SIGTERM)

    assert blocked.count("WATCHDOG=1") >= 30


def test_the_watchdog_starves_when_ticks_stop(tmp_path: Path, path: Path, server: Loopback) -> None:
    name = str(tmp_path / "notify")
    environ = environment(tmp_path, server, NOTIFY_SOCKET=name, WATCHDOG_USEC=200_000)

    with systemd(name) as listener, daemon(environ, tmp_path) as process:
        heard(listener, "WATCHDOG=1")
        process.send_signal(signal.SIGSTOP)
        listener.settimeout(0.5)
        silent = False
        while not silent:
            try:
                listener.recv(4096)
            except TimeoutError:
                silent = True
        process.send_signal(signal.SIGCONT)
        code, _, _ = ended(process, signal.SIGTERM)

    assert code == 0
