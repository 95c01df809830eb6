"""The doctor: what an operator would look at one after the other, each as a finding with its remedy."""

import os
import shutil
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Literal

from orchestrator import recording
from orchestrator.alerts import channels as notifiers
from orchestrator.app import Project, zone_in_force
from orchestrator.collectors.fetch import Client
from orchestrator.collectors.openrouter import collect_openrouter
from orchestrator.errors import ConfigError, FileMissing, StoreError
from orchestrator.ledger import channels, growth_rollups, rollups, shares
from orchestrator.ledger import setup as setups
from orchestrator.ledger.channels import ChannelState, channel_text
from orchestrator.ledger.credits import CreditSnapshot, left_usd
from orchestrator.ledger.growth_rollups import GrowthDifference
from orchestrator.ledger.rollups import Difference
from orchestrator.ledger.snapshots import CLOCK_SKEW
from orchestrator.ledger.spooled import SPOOL, spooled_text
from orchestrator.money import nano_from_usd, usd_text
from orchestrator.periods import instant_from_text, span_text, text_from_instant
from orchestrator.recording import spool
from orchestrator.scan import asked_sources, is_good
from orchestrator.store import lease, upkeep
from orchestrator.store.database import Database
from orchestrator.store.modes import beside, file_mode
from orchestrator.text import one_line

State = Literal["ok", "warning", "failed"]

# What config.place calls the folder that the program makes itself.
OWN_FOLDER = "the user's state directory"
# A day of five-minute collections takes about a megabyte.
ROOM_TO_WARN = 500 * 1024 * 1024
ROOM_TO_FAIL = 20 * 1024 * 1024
REBUILD = "run `orchestrator rebuild`"


@dataclass(frozen=True)
class Finding:
    """What was looked at, how it stands, and in a sentence what was found and, where something is wrong, what to do."""

    subject: str
    state: State
    text: str


def findings(project: Project, now: datetime) -> Iterator[Finding]:
    """Yield what there is to say about configuration, file, lease, clock and disk; nothing is changed."""
    config = project.config
    where = str(config.path) if config.path else "no config.toml, defaults; `orchestrator init` writes one"
    yield Finding("config", "ok", where)
    for warning in config.warnings:
        yield Finding("config", "warning", warning)
    if not setups.of_config(config).sources:
        yield Finding("config", "warning", "no source is configured: set revenue.xmr_wallet or revenue.mlx_url")
    yield from _zone(project)
    yield from _file(project.database)
    yield _disk(project)
    yield from _beside(project.database)
    yield from _guarded(lambda: _lease(project.database, now))
    yield from _guarded(lambda: _clock(project.database, now))
    yield from _costs(project.database)
    yield from _channels(project, now)


def verified(project: Project, now: datetime) -> Iterator[Finding]:
    """Yield what `findings` says of the file, and every sum of a day that is not what its rows add up to; nothing is changed."""
    file = list(_file(project.database))
    yield from file
    if any(finding.state == "failed" for finding in file):
        return
    try:
        with project.database.read() as connection:
            setup = setups.read(connection, lambda: setups.of_config(project.config))
            unfinished = rollups.unfinished(connection)
            found = [*map(_difference_text, rollups.verify(connection, setup.tz))]
            found += map(_growth_text, growth_rollups.verify(connection, setup.tz, setup.interval_seconds, now))
    except FileMissing:
        return
    except StoreError as error:
        yield Finding("sums", "failed", str(error))
        return
    if unfinished is not None:
        yield Finding("sums", "failed", f"a rebuild in {unfinished} is under way, or was broken off: {REBUILD}")
    for text in found:
        yield Finding("sums", "failed", f"{text}; {REBUILD}")
    if not found and unfinished is None:
        yield Finding("sums", "ok", f"every day in {setup.timezone} is what its rows add up to")


async def source_findings(project: Project, now: datetime) -> list[Finding]:
    """Ask each configured source once and return what it said; nothing is stored."""
    found = []
    async with Client() as client:
        for source, ask in asked_sources(project.config).items():
            snapshot = await ask(client, now=now)
            state: State = "failed" if not is_good(snapshot) else "warning" if snapshot.error else "ok"
            found.append(Finding(source, state, snapshot.error or "answers"))
        key = project.config.secrets.openrouter_api_key
        if key:
            found.append(
                _credits(
                    await collect_openrouter(
                        client,
                        openrouter_url=project.config.credits.openrouter_url,
                        key=key,
                        management_key=project.config.secrets.openrouter_management_key,
                        now=now,
                    ),
                    project.config.credits.low_threshold_usd,
                )
            )
    return found


def _credits(reading: CreditSnapshot, low_usd: Decimal) -> Finding:
    if reading.failure is not None:
        remedy = {
            "rejected": "the key is rejected: make a new one at openrouter.ai/settings/keys and set OPENROUTER_API_KEY",
            "out_of_money": "out of money: top up at openrouter.ai/settings/credits, or raise the key's limit",
            "unreachable": "cannot be asked",
        }[reading.failure]
        return Finding("openrouter", "failed", f"{remedy} ({reading.error})")
    if reading.remaining_nano is None:
        remedy = "low credits will not be noticed: set OPENROUTER_MANAGEMENT_KEY, or give the key a limit"
        return Finding("openrouter", "warning", f"balance unknown ({reading.error}); {remedy}")
    said = [f"{usd_text(left_usd(reading.remaining_nano))} left ({reading.remaining_source})"]
    if reading.remaining_nano < nano_from_usd(low_usd):
        said.append(f"less than credits.low_threshold_usd, {usd_text(low_usd)}: top up, or lower the threshold")
    if reading.error:
        said.append(reading.error)
    return Finding("openrouter", "ok" if len(said) == 1 else "warning", "; ".join(said))


def _channels(project: Project, now: datetime) -> Iterator[Finding]:
    configured = notifiers.configured(project.config)
    if not configured:
        nowhere = "no channel is configured: alerts stay in the file, the log and the context; docs/alerts.md says how"
        yield Finding("alerts", "warning", nowhere)
        return
    known: dict[str, ChannelState] = {}
    try:
        with project.database.read() as connection:
            known = {one.name: one for one in channels.channel_states(connection)}
    except StoreError:
        pass  # reported already, or not made yet
    for channel in configured:
        one = known.get(channel.name)
        if one is None or one.fingerprint != channel.fingerprint:
            yield Finding(
                channel.name, "ok", f"configured, not used yet; `orchestrator alerts test {channel.name}` tries it"
            )
        elif one.stopped_at is not None:
            remedy = f"change its configuration, or try it with `orchestrator alerts test {channel.name}`"
            yield Finding(channel.name, "failed", f"{channel_text(one, now)}; {remedy}")
        else:
            yield Finding(channel.name, "warning" if one.failures else "ok", channel_text(one, now))


def _difference_text(one: Difference) -> str:
    if one.column == "day":
        return f"{one.table} has {one.kept} rows on {one.day or 'no day'}, {one.counted} of them rightly"
    whose = "/".join(dimension or "-" for dimension in one.dimensions)
    return f"{one.table} {one.day} {one_line(whose)}: {one.column} is {one.kept}, its rows add up to {one.counted}"


def _growth_text(one: GrowthDifference) -> str:
    kept, counted = ("unknown" if value is None else value for value in (one.kept, one.counted))
    return f"daily_growth {one.day} {one.source}: {one.column} is {kept}, its snapshots make it {counted}"


def _zone(project: Project) -> Iterator[Finding]:
    try:
        with project.database.read() as connection:
            zone_in_force(project, connection)
    except ConfigError as error:
        yield Finding("config", "failed", str(error))
    except StoreError:
        # What is wrong with the file is said below.
        return


def _file(database: Database) -> Iterator[Finding]:
    try:
        damage = upkeep.quick_check(database)
    except FileMissing as error:
        yield Finding("file", "ok", f"{database.path}: not made yet; {error.remedy}")
        return
    except StoreError as error:
        yield Finding("file", "failed", str(error))
        return
    if damage:
        yield Finding("file", "failed", f"{database.path}: damaged: {damage[0]}; restore a backup")
        return
    size = database.path.stat().st_size / 1024 / 1024
    yield Finding("file", "ok", f"{database.path}, {size:.1f} MB, sound")
    status = database.path.stat()
    mode, due = stat.S_IMODE(status.st_mode), file_mode(database.path)
    if mode == due:
        yield Finding("mode", "ok", f"{mode:04o}")
    else:
        yield Finding("mode", "warning", f"{mode:04o}; expected {due:04o}: chmod {due:o} {database.path}")
    if not os.access(database.path, os.W_OK) or not os.access(database.path.parent, os.W_OK):
        yield Finding("mode", "warning", "this user may read the file but not write it")
        return
    for name in beside(database.path):
        if not os.access(name, os.W_OK):
            yield Finding("mode", "warning", f"{name} may not be written by this user: its owner gives it {due:04o}")


def _disk(project: Project) -> Finding:
    folder = project.database.path.parent
    if not folder.is_dir():
        if project.config.origin("orchestrator.database") != OWN_FOLDER:
            return Finding("disk", "failed", f"{folder}: no such folder; make it, or name another file with --db")
        # `once` and `run` make this one.
        folder = next(parent for parent in folder.parents if parent.is_dir())
    free = shutil.disk_usage(folder).free
    text = f"{free // 1024 // 1024} MB free in {folder}"
    if free < ROOM_TO_FAIL:
        return Finding("disk", "failed", f"{text}; free some space")
    return Finding("disk", "warning" if free < ROOM_TO_WARN else "ok", text)


def _beside(database: Database) -> Iterator[Finding]:
    """Yield what lies beside the file because it, or even its spool, did not take it."""
    name = database.path.name
    if records := recording.waiting(database):
        text = f"{spooled_text(records)}: the daemon, `orchestrator once` or the next record stores them when the file can be written"
        yield Finding("spool", "warning", text)
    elif spool.is_waiting(database.path):
        yield Finding(
            "spool", "warning", f"{name}{SPOOL} may not be read by this user; give the file's group the right to"
        )
    else:
        yield Finding("spool", "ok", "no record waits")
    if lines := recording.lines_aside(database):
        aside = spool.aside_of(database.path)
        yield Finding("spool", "warning", f"{lines} lines in {aside} are no records: see to them, then remove it")
    for mark in recording.lost_marks(database):
        lost = f"{mark.records} records" if mark.records != 1 else "1 record"
        text = f"{lost if mark.records else 'records'} lost, last at {text_from_instant(mark.last_at)}"
        why = f": {mark.reason}" if mark.reason else ""
        remedy = f"see to {mark.path}"
        if mark.records:
            remedy = f"append the `record` of each line of {mark.path} to {name}{SPOOL}"
        yield Finding("lost", "failed", f"{text}{why}; {remedy}, then remove it")


def _lease(database: Database, now: datetime) -> Finding:
    owner = lease.owner(database, now=now)
    return Finding("daemon", "ok", f"runs: {owner}" if owner else "not running")


def _clock(database: Database, now: datetime) -> Finding:
    with database.read() as connection:
        newest = connection.execute("SELECT max(collected_at) FROM revenue_snapshots").get
    newest_at = instant_from_text(newest) if newest else None
    if newest_at is not None and newest_at > now + CLOCK_SKEW:
        ahead = span_text((newest_at - now).total_seconds())
        return Finding(
            "clock", "warning", f"a row lies {ahead} in the future: the clock is wrong now or was then; set it with NTP"
        )
    return Finding("clock", "ok", f"{now:%Y-%m-%d %H:%M:%S} UTC, no row ahead of it")


def _costs(database: Database) -> Iterator[Finding]:
    try:
        with database.read() as connection:
            complete = shares.are_complete(connection)
    except StoreError:
        return
    if not complete:
        text = (
            "another program wrote operating costs that are in no day yet: `orchestrator once` or a daemon sees to it"
        )
        yield Finding("costs", "warning", text)


def _guarded(look: Callable[[], Finding]) -> Iterator[Finding]:
    """Yield what a look at the file's content finds; a file that cannot be read has been reported already."""
    try:
        yield look()
    except StoreError:
        return
