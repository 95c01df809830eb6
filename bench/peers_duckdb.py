"""DuckDB with the same calls in a file of its own, asked the same questions."""

import csv
from datetime import date
from decimal import Decimal
from pathlib import Path

import duckdb

from orchestrator.store.database import Database

NANO = 10**9
_COLUMNS = {
    "day": "DATE", "called_at": "TIMESTAMP", "service": "VARCHAR", "model": "VARCHAR", "operation": "VARCHAR", "tier": "VARCHAR",
    "tenant_id": "VARCHAR", "user_id": "VARCHAR", "endpoint": "VARCHAR", "input_tokens": "BIGINT", "output_tokens": "BIGINT",
    "cost_nano": "BIGINT", "voided_at": "TIMESTAMP",
}  # fmt: skip


# Revenue less calls less operating costs, and what of them has no amount: asked of rows, as nothing else is kept there.
_FACTS = """
    SELECT day, 0 AS earned, coalesce(cost_nano, 0) AS spent, cost_nano IS NULL AS unpriced FROM calls
    WHERE voided_at IS NULL AND day BETWEEN $first AND $last
    UNION ALL
    SELECT day, 0, amount_nano, false FROM operating_costs WHERE voided_at IS NULL AND day BETWEEN $first AND $last
    UNION ALL
    SELECT day, amount_nano, 0, false FROM revenue WHERE voided_at IS NULL AND day BETWEEN $first AND $last"""


class Duck:
    """A DuckDB file with every call, operating cost and revenue that a ledger has."""

    def __init__(self, path: Path, database: Database) -> None:
        table = path.with_suffix(".csv")
        with database.read() as connection, table.open("w", newline="") as file:
            csv.writer(file).writerows(connection.execute(f"SELECT {', '.join(_COLUMNS)} FROM ai_calls ORDER BY id"))
        self._connection = duckdb.connect(str(path))
        columns = ", ".join(f"{name} {kind}" for name, kind in _COLUMNS.items())
        self._connection.execute(f"CREATE TABLE calls ({columns})")
        self._connection.execute(f"COPY calls FROM '{table}' (FORMAT csv, HEADER false)")
        table.unlink()
        for name, day in (("operating_costs", "substr(period_start, 1, 10)"), ("revenue", "day")):
            self._connection.execute(f"CREATE TABLE {name} (day DATE, amount_nano BIGINT, voided_at TIMESTAMP)")
            with database.read() as connection:
                entries = connection.execute(f"SELECT {day}, amount_nano, voided_at FROM {name}").fetchall()
            self._connection.executemany(f"INSERT INTO {name} VALUES (?, ?, ?)", entries)

    def net(self, first: date, last: date) -> Decimal:
        """Return what was left in USD of some days: revenue less calls less operating costs."""
        found = self._connection.execute(
            f"SELECT sum(earned), sum(spent), sum(earned) - sum(spent), count(*) FILTER (unpriced) FROM ({_FACTS})",
            {"first": first, "last": last},
        ).fetchone()
        assert found is not None
        return Decimal(int(found[2])) / NANO

    def net_by_day(self, first: date, last: date) -> dict[str, Decimal]:
        """Return the same of each day."""
        found = self._connection.execute(
            "SELECT day, sum(earned), sum(spent), sum(earned) - sum(spent), count(*) FILTER (unpriced) "
            f"FROM ({_FACTS}) GROUP BY day",
            {"first": first, "last": last},
        ).fetchall()
        return {str(day): Decimal(int(net)) / NANO for day, _, _, net, _ in found}

    def by_tier(self) -> dict[str, Decimal]:
        """Return what all calls cost by tier."""
        found = self._connection.execute(
            "SELECT tier, count(*), sum(cost_nano), count(*) - count(cost_nano) FROM calls WHERE voided_at IS NULL GROUP BY tier"
        ).fetchall()
        return {str(tier): Decimal(int(nano)) / NANO for tier, _, nano, _ in found}

    def by(self, column: str, first: date, last: date) -> dict[str, Decimal]:
        """Return the same by the values of a column."""
        query = (
            f"SELECT {column}, sum(cost_nano), count(*), count(*) - count(cost_nano), sum(input_tokens), sum(output_tokens) "
            f"FROM calls WHERE voided_at IS NULL AND day BETWEEN ? AND ? GROUP BY {column}"
        )
        return {
            str(name): Decimal(int(nano)) / NANO
            for name, nano, *_ in self._connection.execute(query, [first, last]).fetchall()
        }

    def close(self) -> None:
        """Close the file."""
        self._connection.close()
