"""The share of each local day in the operating costs: spread exactly, kept in daily_operating_costs with the cost itself."""

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from orchestrator.periods import day_bounds, day_of, days_between, millis
from orchestrator.store import meta
from orchestrator.store.database import Connection

# A row's key: day, category, service, tenant; '' for a dimension that a cost does not have.
Key = tuple[str, ...]

# A longer period is nonsense: it would be a row for each of its days.
LONGEST_PERIOD = timedelta(days=36_525)
_MILLISECOND = timedelta(milliseconds=1)
# In meta: every cost up to this row id has its shares. Who writes into the table without us does not move it.
_SHARED = "operating_costs_shared"


def spread(amount_nano: int, start: datetime, end: datetime | None, tz: ZoneInfo) -> list[tuple[date, int]]:
    """Return what each local day carries of an amount for [start, end), only days that carry any; together exactly the amount.

    In proportion to the time that the day shares with the period, rounded down, the rest on the last day. Without an end, or with
    one that is not after `start` or more than a century later, the day of `start` carries all.
    """
    a, b = millis(start), millis(start if end is None else end)
    first = last = day_of(start, tz)
    if end is not None and a < b <= a + LONGEST_PERIOD // _MILLISECOND:
        last = day_of(end - _MILLISECOND, tz)
    carried = []
    rest = amount_nano
    for day in days_between(first, last - timedelta(days=1)):
        opens, closes = day_bounds(day, tz)
        # Less than nothing where clocks that went back past midnight showed the day before once more.
        shared = max(min(millis(closes), b) - max(millis(opens), a), 0)
        share = amount_nano * shared // (b - a)
        rest -= share
        carried.append((day, share))
    carried.append((last, rest))
    return [(day, share) for day, share in carried if share]


def add(connection: Connection, shares: Mapping[Key, int]) -> None:
    """Add one cost's shares to their days."""
    for (day, category, service, tenant_id), share in shares.items():
        connection.execute(
            """
            INSERT INTO daily_operating_costs (day, category, service, tenant_id, amount_nano, entries)
            VALUES (:day, :category, :service, :tenant_id, :share, 1)
            ON CONFLICT (day, category, service, tenant_id) DO UPDATE SET
                amount_nano = amount_nano + excluded.amount_nano,
                entries = entries + 1
            """,
            {"day": day, "category": category, "service": service, "tenant_id": tenant_id, "share": share},
        )


def take_away(connection: Connection, shares: Mapping[Key, int]) -> None:
    """Take one cost's shares away from their days, and with the last cost the row."""
    for (day, category, service, tenant_id), share in shares.items():
        key = {"day": day, "category": category, "service": service, "tenant_id": tenant_id}
        connection.execute(
            """
            UPDATE daily_operating_costs
            SET amount_nano = amount_nano - :share, entries = entries - 1
            WHERE day = :day AND category = :category AND service = :service AND tenant_id = :tenant_id
            """,
            {**key, "share": share},
        )
        connection.execute(
            """
            DELETE FROM daily_operating_costs
            WHERE day = :day AND category = :category AND service = :service AND tenant_id = :tenant_id
                AND entries = 0 AND amount_nano = 0
            """,
            key,
        )


def note_shared(connection: Connection, row_id: int) -> None:
    """Note that the cost of a row id, the newest, has its shares, if all before it have theirs."""
    if shared_up_to(connection) == row_id - 1:
        meta.put(connection, _SHARED, str(row_id))


def shared_up_to(connection: Connection) -> int:
    """Return up to which row id every cost has its shares; beyond it there may be some that another program wrote."""
    return int(meta.get(connection, _SHARED) or 0)


def are_complete(connection: Connection) -> bool:
    """Return whether no other program has written a cost that has no shares yet, or changed one that has.

    Compares ids and sums, not days: `rollups.verify` does.
    """
    last = connection.execute("SELECT coalesce(max(id), 0) FROM operating_costs").get
    if shared_up_to(connection) < last:
        return False
    written = connection.execute(
        """
        SELECT category, coalesce(service, '') AS whose, coalesce(tenant_id, '') AS tenant, sum(amount_nano) AS amount
        FROM operating_costs
        WHERE voided_at IS NULL
        GROUP BY category, whose, tenant
        HAVING amount <> 0
        """
    ).fetchall()
    carried = connection.execute(
        """
        SELECT category, service, tenant_id, sum(amount_nano) AS amount
        FROM daily_operating_costs
        GROUP BY category, service, tenant_id
        HAVING amount <> 0
        """
    ).fetchall()
    return set(written) == set(carried)


def kept(connection: Connection) -> dict[Key, tuple[int, int]]:
    """Return every row: nano-USD, and how many costs have a share in it."""
    return {
        (day, category, service, tenant_id): (amount, entries)
        for day, category, service, tenant_id, amount, entries in connection.execute(
            "SELECT day, category, service, tenant_id, amount_nano, entries FROM daily_operating_costs"
        )
    }


def rewrite(connection: Connection, rows: Mapping[Key, tuple[int, int]]) -> None:
    """Put these rows, the shares of every cost, in the place of all. Operating costs are never pruned, so no day is only here."""
    connection.execute("DELETE FROM daily_operating_costs")
    connection.executemany(
        """
        INSERT INTO daily_operating_costs (day, category, service, tenant_id, amount_nano, entries)
        VALUES (?, ?, ?, ?, ?, ?)
        """,
        ((*key, *row) for key, row in rows.items()),
    )
    last = connection.execute("SELECT coalesce(max(id), 0) FROM operating_costs").get
    meta.put(connection, _SHARED, str(last))
