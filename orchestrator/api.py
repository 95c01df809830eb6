"""The in-process API: what an agent's own code asks and records.

Each call finds the file as the command line does and opens it once; `db=` names another file, a path or a `Database`, and `now=` an
aware datetime instead of the clock. Every call may be made from any thread, and after a fork. What is recorded is imported when it is
first needed: who only asks does not pay for prices.
"""

import os
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator import context
from orchestrator.config.place import ensure_directory, find_database
from orchestrator.errors import FileMissing, OrchestratorError
from orchestrator.ledger import setup as setups
from orchestrator.ledger.setup import Setup
from orchestrator.ledger.snapshots import Latest
from orchestrator.reports import pnl, trends
from orchestrator.reports import window as windows
from orchestrator.reports.latest import latest_by_source
from orchestrator.reports.pnl import Pnl
from orchestrator.reports.trends import WeeklyTrend
from orchestrator.reports.window import Moment
from orchestrator.store.database import Connection, Database

if TYPE_CHECKING:
    from orchestrator.ledger.alerts import Alert
    from orchestrator.recording import Kind, Recorded, Rules
    from orchestrator.reports.spending import AiSpend, CostStats, ServiceSpend, UserSpend

Amount = Decimal | float | int | str

# What decides where the file lies; while it stays the same, so does the file.
_PLACES = (
    b"ORCHESTRATOR_DB", b"ORCHESTRATOR_CONFIG", b"ORCHESTRATOR_ORCHESTRATOR__DATABASE", b"STATE_DIRECTORY", b"HOME",
    b"XDG_CONFIG_HOME", b"XDG_STATE_HOME",
)  # fmt: skip

_lock = threading.Lock()
_open: dict[Path, Database] = {}
_rules: dict[Path, "Rules"] = {}
_found: dict[tuple[str | bytes | None, ...], Path] = {}
# Files for which there is a folder, as far as that is ours to make.
_housed: set[Path] = set()


def format_for_context(
    max_chars: int | None = None, *, now: datetime | None = None, db: str | Path | Database | None = None
) -> str:
    """Return the lines for an agent's prompt; always a string, at most `max_chars` characters, the least important dropped first.

    What is unknown says so; a file that cannot be read becomes a line that says why.
    """
    try:
        database = _database(db)
    except OrchestratorError as error:
        return context.fitting(context.unavailable(error), max_chars)
    return context.format_for_context(database, _configured, max_chars, now or _now())


def get_latest(*, now: datetime | None = None, db: str | Path | Database | None = None) -> dict[str, Latest | None]:
    """Return each source's last good snapshot with its age and what was tried since.

    None stands for a source that is neither configured nor in the file; one that was never good has the state `never`.
    Raises StoreError for a file that cannot be read.
    """
    return latest_by_source(_database(db), _configured, now or _now())


def get_weekly_trend(*, now: datetime | None = None, db: str | Path | Database | None = None) -> WeeklyTrend:
    """Return this week so far, last week to the same point, and the whole last week, with the change in percent.

    Raises FileMissing while there is no file, StoreError for one that cannot be read.
    """
    with _asked(db) as (connection, setup):
        return trends.weekly_trend(connection, setup, now or _now())


def get_pnl(
    since: Moment | None = None,
    until: Moment | None = None,
    *,
    now: datetime | None = None,
    db: str | Path | Database | None = None,
) -> Pnl:
    """Return revenue, costs and what is left, in USD, with the names of what is not known; the last 30 local days by default.

    Here and below a date means the local day, as `until` that day included, and a datetime means the moment, as `until` excluded;
    text of either will do, and without an offset a time is in the file's zone. Operating costs accrue evenly over their local day.
    Raises FileMissing while there is no file, StoreError for one that cannot be read, ValueError for a time that is none.
    """
    now = now or _now()
    with _asked(db) as (connection, setup):
        return pnl.pnl(connection, setup, windows.between(since, until, setup.tz, now), now)


def get_operating_cost_total(
    category: str | None = None,
    *,
    now: datetime | None = None,  # noqa: ARG001 - every call takes `now`
    db: str | Path | Database | None = None,
) -> Decimal:
    """Return all operating costs ever recorded, in USD, or those of a category; without those whose amount is not known."""
    with _asked(db) as (connection, _):
        return pnl.operating_cost_total(connection, category)


def get_revenue_total(
    strategy_id: str | None = None, *, now: datetime | None = None, db: str | Path | Database | None = None
) -> Decimal:
    """Return all revenue ever booked and all mining that has a price, in USD; with a strategy, what was booked for it.

    What has no rate or no price is not in it; `get_pnl().unknown` names it.
    """
    with _asked(db) as (connection, setup):
        return pnl.revenue_total(connection, setup, strategy_id, now or _now())


def get_ai_spend_summary(
    *,
    now: datetime | None = None,  # noqa: ARG001 - every call takes `now`
    db: str | Path | Database | None = None,
) -> "AiSpend":
    """Return what all AI calls ever recorded cost in USD, how many have no known cost, and the same by tier."""
    from orchestrator.reports import spending

    with _asked(db) as (connection, _):
        return spending.ai_spend_ever(connection)


def get_daily_costs(
    day: Moment,
    *,
    now: datetime | None = None,  # noqa: ARG001 - every call takes `now`
    db: str | Path | Database | None = None,
) -> "AiSpend":
    """Return what the AI calls of a local day cost in USD; a moment stands for its day."""
    from orchestrator.reports import spending

    with _asked(db) as (connection, setup):
        local = windows.read_day(day, setup.tz)
        return spending.ai_spend(connection, windows.of_days(local, local, setup.tz))


def get_monthly_costs(
    year: int,
    month: int,
    *,
    now: datetime | None = None,  # noqa: ARG001 - every call takes `now`
    db: str | Path | Database | None = None,
) -> "AiSpend":
    """Return what the AI calls of a local month cost in USD."""
    from orchestrator.reports import spending

    with _asked(db) as (connection, setup):
        window = windows.of_period("month", date(year, month, 1), setup.tz, setup.week_starts_on)
        return spending.ai_spend(connection, window)


def get_service_breakdown(
    since: Moment | None = None,
    until: Moment | None = None,
    *,
    now: datetime | None = None,
    db: str | Path | Database | None = None,
) -> "list[ServiceSpend]":
    """Return calls, USD, unpriced calls and tokens by service, the dearest first; times as in `get_pnl`."""
    from orchestrator.reports import spending

    with _asked(db) as (connection, setup):
        return spending.service_breakdown(connection, windows.between(since, until, setup.tz, now or _now()))


def get_cost_stats(
    since: Moment | None = None,
    until: Moment | None = None,
    *,
    now: datetime | None = None,
    db: str | Path | Database | None = None,
) -> "CostStats":
    """Return how many AI calls there were, how they went and what they cost in USD; times as in `get_pnl`."""
    from orchestrator.reports import spending

    with _asked(db) as (connection, setup):
        return spending.cost_stats(connection, windows.between(since, until, setup.tz, now or _now()))


def get_top_users(
    since: Moment | None = None,
    until: Moment | None = None,
    limit: int = 10,
    *,
    now: datetime | None = None,
    db: str | Path | Database | None = None,
) -> "list[UserSpend]":
    """Return the users who cost most, the dearest first, as far back as single calls are kept; times as in `get_pnl`."""
    from orchestrator.reports import spending

    with _asked(db) as (connection, setup):
        return spending.top_users(connection, windows.between(since, until, setup.tz, now or _now()), limit)


def record_call(
    *,
    service: str | None,
    model: str | None,
    usage: object = None,
    input_tokens: int | None = None,
    cache_read_tokens: int | None = None,
    cache_write_tokens: int | None = None,
    output_tokens: int | None = None,
    reasoning_tokens: int | None = None,
    quantity: Amount | None = None,
    unit: str | None = None,
    input_text: str | None = None,
    cost_usd: Amount | None = None,
    call_id: str | None = None,
    called_at: datetime | str | None = None,
    operation: str | None = None,
    tier: str | None = None,
    tenant_id: str | None = None,
    user_id: str | None = None,
    organization_id: str | None = None,
    session_id: str | None = None,
    endpoint: str | None = None,
    resource_type: str | None = None,
    resource_id: str | None = None,
    cache_hit: bool = False,
    succeeded: bool = True,
    error: str | BaseException | None = None,
    duration_ms: float | None = None,
    metadata: Mapping[str, object] | None = None,
    strict: bool = False,
    now: datetime | None = None,
    db: str | Path | Database | None = None,
) -> "Recorded":
    """Record one AI call, once by its `call_id`, and return what became of it; what it cost is looked up unless `cost_usd` says.

    `usage` is a provider's object or mapping as it came; or the tokens are given, input without the cache; `input_text` estimates
    them. What is not billed by tokens is a `quantity` of a `unit`. Nothing is raised for an accounting problem: nonsense is stored
    as unknown, and a file that cannot be written within 250 ms has a spool beside it. With `strict`, NotRecorded (a ValueError) or
    StoreError is raised instead, and nothing is kept.
    """
    return _record("call", locals(), strict=strict, now=now, db=db)


def record_calls(
    calls: Iterable[Mapping[str, object]], *, now: datetime | None = None, db: str | Path | Database | None = None
) -> "list[Recorded]":
    """Record mappings of `record_call`'s arguments, thousands in a transaction; return what became of each, in order.

    One with a name that `record_call` does not have, or without service or model, is refused, and the others are recorded.
    """
    from orchestrator import recording

    now = now or _now()
    try:
        database = _database_to_write(db)
    except (OrchestratorError, OSError) as fault:
        return recording.lose(_rules_of(recording.nowhere()), "call", calls, str(fault), now)
    return list(recording.record_all(database, _rules_of(database.path), "call", calls, now=now))


def record_cost(
    *,
    category: str,
    amount_usd: Amount,
    service: str | None = None,
    description: str | None = None,
    quantity: Amount | None = None,
    unit: str | None = None,
    period_start: datetime | date | str | None = None,
    period_end: datetime | date | str | None = None,
    tenant_id: str | None = None,
    resource_type: str | None = None,
    resource_id: str | None = None,
    entry_id: str | None = None,
    strict: bool = False,
    now: datetime | None = None,
    db: str | Path | Database | None = None,
) -> "Recorded":
    """Record what anything but AI calls cost, once by its `entry_id`, negative for a refund; `ai_inference` is refused.

    It belongs to [period_start, period_end) and is spread over those local days; without an end, to the day of `period_start`,
    which is now unless given. A date is its local midnight.
    """
    return _record("cost", locals(), strict=strict, now=now, db=db)


def record_revenue(
    *,
    source: str,
    amount_usd: Amount | None = None,
    strategy_id: str | None = None,
    earned_at: datetime | date | str | None = None,
    currency: str | None = None,
    original_amount: Amount | None = None,
    tenant_id: str | None = None,
    note: str | None = None,
    entry_id: str | None = None,
    strict: bool = False,
    now: datetime | None = None,
    db: str | Path | Database | None = None,
) -> "Recorded":
    """Book revenue, once by its `entry_id`, negative for a refund; `xmr-mining` is refused, because it is measured.

    What was earned in another `currency` is an `original_amount`, and unknown in USD unless `amount_usd` says.
    """
    return _record("revenue", locals(), strict=strict, now=now, db=db)


def calculate_cost(
    usage: object,
    model: str,
    service: str | None = None,
    *,
    now: datetime | None = None,
    db: str | Path | Database | None = None,
) -> Decimal | None:
    """Return what a provider's usage costs in USD at the prices of now, or what it reports itself; None when that is not known.

    A mapping with `quantity` and `unit` is for what is not billed by tokens. Nothing is stored.
    """
    from orchestrator import recording

    path = recording.nowhere()
    with suppress(OrchestratorError, OSError):
        path = _database(db).path
    return recording.calculate_cost(_rules_of(path).prices(), usage, model, service, now or _now())


def tags(
    *,
    operation: str | None = None,
    tier: str | None = None,
    tenant_id: str | None = None,
    user_id: str | None = None,
    organization_id: str | None = None,
    session_id: str | None = None,
    endpoint: str | None = None,
    resource_type: str | None = None,
    resource_id: str | None = None,
    metadata: Mapping[str, object] | None = None,
) -> AbstractContextManager[None]:
    """Attribute whatever is recorded inside the block, in this thread or task: `with orchestrator.tags(tenant_id="acme"): …`.

    Blocks may be nested; the inner one, and what a record says itself, come first.
    """
    from orchestrator.recording.tags import tagged

    return tagged(locals())


def get_alert_history(
    limit: int = 50, *, now: datetime | None = None, db: str | Path | Database | None = None
) -> list["Alert"]:
    """Return the last alerts, at most `limit`, the newest first, with what became of each; none while there is no file.

    Raises StoreError for a file that cannot be read. `now` leaves out what was raised later.
    """
    from orchestrator.ledger import alerts

    try:
        with _database(db).read() as connection:
            found = alerts.recent_alerts(connection, limit)
    except FileMissing:
        return []
    return [alert for alert in found if now is None or alert.raised_at <= now]


def close() -> None:
    """Close every file that these calls have opened; the next call looks for it and opens it anew."""
    with _lock:
        databases = list(_open.values())
        _open.clear()
        _found.clear()
        _rules.clear()
        _housed.clear()
    for database in databases:
        database.close()


def _now() -> datetime:
    return datetime.now(UTC)


def _record(
    kind: "Kind",
    given: Mapping[str, object],
    *,
    strict: bool,
    now: datetime | None,
    db: str | Path | Database | None,
) -> "Recorded":
    from orchestrator import recording

    now = now or _now()
    try:
        database = _database_to_write(db)
    except (OrchestratorError, OSError) as fault:
        if strict:
            raise
        said = {name: value for name, value in given.items() if name not in ("strict", "now", "db")}
        return recording.lose(_rules_of(recording.nowhere()), kind, [said], str(fault), now)[0]
    return recording.record(database, _rules_of(database.path), kind, given, strict=strict, now=now)


def _database_to_write(db: str | Path | Database | None) -> Database:
    database = _database(db)
    if database.path not in _housed:
        # What keeps the folder from being made is said by the file that cannot be made in it.
        with suppress(OSError):
            ensure_directory(database.path, os.environ, Path.cwd())
            _housed.add(database.path)
    return database


def _rules_of(path: Path) -> "Rules":
    from orchestrator import recording

    return _rules.get(path) or _rules.setdefault(path, recording.configured(path))


@contextmanager
def _asked(db: str | Path | Database | None) -> Iterator[tuple[Connection, Setup]]:
    """Give one snapshot of the file, and what it says of its zone and its sources."""
    with _database(db).read() as connection:
        yield connection, setups.read(connection, _configured)


def _database(db: str | Path | Database | None) -> Database:
    if isinstance(db, Database):
        return db
    path = Path(db).absolute() if db is not None else _default_path()
    if (found := _open.get(path)) is not None:
        return found
    with _lock:
        return _open.setdefault(path, Database(path))


def _default_path() -> Path:
    # At every call, and as bytes in half the time that text takes.
    place = (os.getcwd(), *map(os.environb.get, _PLACES))  # noqa: PTH109
    found = _found.get(place)
    if found is None:
        found = find_database(None, None, os.environ, Path.cwd())
        # Where there is no file yet, a better place may still appear.
        if found.exists():
            _found[place] = found
    return found


def _configured() -> Setup:
    """Return what the configuration says, for a file that does not; the defaults when it has a problem."""
    from orchestrator import config

    try:
        return setups.of_config(config.load(environ=os.environ, cwd=Path.cwd()))
    except OrchestratorError:
        return Setup()


def _after_fork_in_child() -> None:
    global _lock
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_after_fork_in_child)
