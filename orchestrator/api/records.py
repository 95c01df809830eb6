"""What an agent records: calls, costs and revenue, stored once by their ids; and what a call would cost."""

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, suppress
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

from orchestrator import recording
from orchestrator.api.files import clock, database_of, database_to_write, rules_of
from orchestrator.errors import OrchestratorError
from orchestrator.recording import Kind, Recorded
from orchestrator.recording.tags import tagged
from orchestrator.store.database import Database

Amount = Decimal | float | int | str


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
) -> Recorded:
    """Record one AI call, once by its `call_id`, and return what became of it; what it cost is looked up unless `cost_usd` says.

    `usage` is a provider's object or mapping as it came; or the tokens are given, input without the cache; `input_text` estimates
    them. What is not billed by tokens is a `quantity` of a `unit`. Nothing is raised for an accounting problem: nonsense is stored
    as unknown, and a file that cannot be written within 250 ms has a spool beside it. With `strict`, NotRecorded (a ValueError) or
    StoreError is raised instead, and nothing is kept.
    """
    return _record("call", locals(), strict=strict, now=now, db=db)


def record_calls(
    calls: Iterable[Mapping[str, object]], *, now: datetime | None = None, db: str | Path | Database | None = None
) -> list[Recorded]:
    """Record mappings of `record_call`'s arguments, thousands in a transaction; return what became of each, in order.

    One with a name that `record_call` does not have, or without service or model, is refused, and the others are recorded.
    """
    now = now or clock()
    try:
        database = database_to_write(db)
    except (OrchestratorError, OSError) as fault:
        return recording.lose(rules_of(recording.nowhere()), "call", calls, str(fault), now)
    return list(recording.record_all(database, rules_of(database.path), "call", calls, now=now))


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
) -> Recorded:
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
) -> Recorded:
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
    path = recording.nowhere()
    with suppress(OrchestratorError, OSError):
        path = database_of(db).path
    return recording.calculate_cost(rules_of(path).prices(), usage, model, service, now or clock())


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
    return tagged(locals())


def _record(
    kind: Kind,
    given: Mapping[str, object],
    *,
    strict: bool,
    now: datetime | None,
    db: str | Path | Database | None,
) -> Recorded:
    now = now or clock()
    try:
        database = database_to_write(db)
    except (OrchestratorError, OSError) as fault:
        if strict:
            raise
        said = {name: value for name, value in given.items() if name not in ("strict", "now", "db")}
        return recording.lose(rules_of(recording.nowhere()), kind, [said], str(fault), now)[0]
    return recording.record(database, rules_of(database.path), kind, given, strict=strict, now=now)
