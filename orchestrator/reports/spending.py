"""What was spent on AI calls: sums of the costs that are known, and beside them how many calls have none."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Literal
from weakref import WeakKeyDictionary

from orchestrator.ledger.setup import Setup
from orchestrator.money import usd_from_nano
from orchestrator.reports import window as windows
from orchestrator.reports.call_sums import (
    ANY,
    COLUMNS,
    Dimension,
    Filters,
    Key,
    Sums,
    added_by_tier,
    grouped,
    newest_id,
    total,
)
from orchestrator.reports.window import Window
from orchestrator.store import meta
from orchestrator.store.database import Connection

By = Dimension | Literal["week", "month"]

# What a row of a breakdown is named by.
NAMES: Mapping[str, tuple[str, ...]] = {"day": ("day",), "week": ("week",), "month": ("month",)} | dict(COLUMNS)


@dataclass(frozen=True)
class TierSpend:
    """The calls of one tier: USD of those whose cost is known, and how many have none."""

    calls: int
    cost_usd: Decimal
    unpriced_calls: int


@dataclass(frozen=True)
class AiSpend:
    """What AI calls cost in USD, 0 if there are no known costs, and how many calls have none; the same for each tier.

    The tier None is that of calls without one; in JSON, whose keys are text, it is "", which no tier is called.
    """

    total_cost_usd: Decimal
    total_calls: int
    unpriced_calls: int
    by_tier: dict[str | None, TierSpend]


@dataclass(frozen=True)
class ServiceSpend:
    """The calls to one service, None: those that name none; USD of the priced ones, and the tokens that were counted.

    Tokens of a kind are None where no call counted any: the sums do not tell a 0 that was counted from a count that is missing.
    `known_from` is set where a part of a day was asked for whose calls were pruned: from that day on all is contained.
    """

    service: str | None
    calls: int
    cost_usd: Decimal
    unpriced_calls: int
    input_tokens: int | None
    cache_read_tokens: int | None
    cache_write_tokens: int | None
    output_tokens: int | None
    reasoning_tokens: int | None
    known_from: date | None


@dataclass(frozen=True)
class UserSpend:
    """The calls of one user of one tenant, None: users without one; USD of the priced ones.

    `known_from` is set where days were asked for whose calls were pruned: from that day on all is contained.
    """

    tenant_id: str | None
    user_id: str
    calls: int
    cost_usd: Decimal
    unpriced_calls: int
    known_from: date | None


@dataclass(frozen=True)
class CostStats:
    """How calls went: counts, rates as shares of 1 (None without a call), USD of the priced ones.

    `known_from` is set where a part of a day was asked for whose calls were pruned: from that day on all is contained.
    """

    total_calls: int
    succeeded: int
    failed: int
    cache_hits: int
    success_rate: float | None
    cache_hit_rate: float | None
    total_cost_usd: Decimal
    unpriced_calls: int
    known_from: date | None


@dataclass(frozen=True)
class Row:
    """One row of a breakdown: its dimensions by name, None where calls have none, and what its calls add up to.

    Tokens are None as in `ServiceSpend`.
    """

    dimensions: dict[str, str | None]
    calls: int
    cost_usd: Decimal
    unpriced_calls: int
    input_tokens: int | None
    cache_read_tokens: int | None
    cache_write_tokens: int | None
    output_tokens: int | None
    reasoning_tokens: int | None


@dataclass(frozen=True)
class Breakdown:
    """Rows by one dimension: in order of time, else the dearest first, and what all of them add up to, shown or not.

    `known_from` is set where calls of earlier days were needed that were pruned: from that day on all is contained.
    """

    rows: list[Row]
    total: Row
    known_from: date | None


def ai_spend(connection: Connection, window: Window, filters: Filters = ANY) -> AiSpend:
    """Return what the calls in a window cost."""
    return _ai_spend(grouped(connection, "tier", window, filters).sums)


def ai_spend_ever(connection: Connection) -> AiSpend:
    """Return what all calls that were ever recorded cost. It is remembered, for it grows with history, and new calls are added to it."""
    counted = meta.get(connection, meta.CALL_CHANGES)
    # What this connection changed itself may be rolled back, and the count with it. A reader changes nothing.
    changes = None if counted is None else (counted, connection.total_changes())
    known, newest = _ever.get(connection), newest_id(connection)
    # Without a change none goes, unless a backup was copied into the file.
    if known is None or changes is None or known.changes != changes or newest < known.newest:
        known = _Ever(changes, newest, grouped(connection, "tier", None).sums)
    elif newest > known.newest:
        known = _Ever(changes, newest, added_by_tier(connection, known.sums, known.newest))
    _ever[connection] = known
    return _ai_spend(known.sums)


def service_breakdown(connection: Connection, window: Window) -> list[ServiceSpend]:
    """Return the calls in a window by service, the dearest first."""
    found = grouped(connection, "service", window)
    return [
        ServiceSpend(
            service or None, sums.calls, usd_from_nano(sums.cost_nano), sums.unpriced_calls, *_tokens(sums), found.known_from,
        )
        for (service, _), sums in _dearest_first(found.sums)
    ]  # fmt: skip


def top_users(connection: Connection, window: Window, limit: int) -> list[UserSpend]:
    """Return those users who spent most in a window, at most `limit`, the dearest first; calls without a user are nobody's."""
    found = grouped(connection, "user", window)
    users = {key: sums for key, sums in found.sums.items() if key[1]}
    return [
        UserSpend(
            tenant or None, user, sums.calls, usd_from_nano(sums.cost_nano), sums.unpriced_calls, found.known_from
        )
        for (tenant, user), sums in _dearest_first(users)[: max(limit, 0)]
    ]  # fmt: skip


def cost_stats(connection: Connection, window: Window) -> CostStats:
    """Return how the calls in a window went."""
    found = grouped(connection, None, window)
    sums = total(found.sums.values())
    succeeded = sums.calls - sums.failed
    return CostStats(
        sums.calls, succeeded, sums.failed, sums.cache_hits,
        succeeded / sums.calls if sums.calls else None, sums.cache_hits / sums.calls if sums.calls else None,
        usd_from_nano(sums.cost_nano), sums.unpriced_calls, found.known_from,
    )  # fmt: skip


def breakdown(
    connection: Connection, setup: Setup, by: By, window: Window, filters: Filters, limit: int | None
) -> Breakdown:
    """Return the calls in a window by a dimension: the last `limit` days, weeks or months, or the `limit` dearest of others."""
    if by == "week" or by == "month":
        found = grouped(connection, "day", window, filters)
        sums: dict[Key, Sums] = {}
        for (day, _), one in found.sums.items():
            key = (windows.label(by, date.fromisoformat(day), setup.week_starts_on), "")
            sums[key] = total((sums.get(key, Sums()), one))
    else:
        found = grouped(connection, by, window, filters)
        sums = found.sums
    if by in ("day", "week", "month"):
        ordered = sorted(sums.items())[-limit if limit else 0 :]
    else:
        ordered = _dearest_first(sums)[:limit]
    return Breakdown(
        [_row(dict(zip(NAMES[by], (name or None for name in key), strict=False)), one) for key, one in ordered],
        _row({}, total(sums.values())),
        found.known_from,
    )


@dataclass(frozen=True)
class _Ever:
    """The sums of all calls up to the newest by tier, right while no older one was changed."""

    changes: tuple[str, int] | None
    newest: int
    sums: Mapping[Key, Sums]


_ever: WeakKeyDictionary[Connection, _Ever] = WeakKeyDictionary()


def _ai_spend(tiers: Mapping[Key, Sums]) -> AiSpend:
    all_tiers = total(tiers.values())
    return AiSpend(
        usd_from_nano(all_tiers.cost_nano),
        all_tiers.calls,
        all_tiers.unpriced_calls,
        {
            tier or None: TierSpend(sums.calls, usd_from_nano(sums.cost_nano), sums.unpriced_calls)
            for (tier, _), sums in sorted(tiers.items())
        },
    )


def _row(dimensions: dict[str, str | None], sums: Sums) -> Row:
    return Row(dimensions, sums.calls, usd_from_nano(sums.cost_nano), sums.unpriced_calls, *_tokens(sums))


def _tokens(sums: Sums) -> tuple[int | None, int | None, int | None, int | None, int | None]:
    """Return the tokens of each kind; None where there were calls, and none of them is known to have used any."""
    nothing = 0 if sums.calls == 0 else None
    return (
        sums.input_tokens or nothing,
        sums.cache_read_tokens or nothing,
        sums.cache_write_tokens or nothing,
        sums.output_tokens or nothing,
        sums.reasoning_tokens or nothing,
    )


def _dearest_first(sums: Mapping[Key, Sums]) -> list[tuple[Key, Sums]]:
    return sorted(sums.items(), key=lambda one: (-one[1].cost_nano, -one[1].unpriced_calls, -one[1].calls, one[0]))
