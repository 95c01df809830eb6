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


class Duck:
    """A DuckDB file with every call that a ledger has."""

    def __init__(self, path: Path, database: Database) -> None:
        table = path.with_suffix(".csv")
        with database.read() as connection, table.open("w", newline="") as file:
            csv.writer(file).writerows(connection.execute(f"SELECT {', '.join(_COLUMNS)} FROM ai_calls ORDER BY id"))
        self._connection = duckdb.connect(str(path))
        columns = ", ".join(f"{name} {kind}" for name, kind in _COLUMNS.items())
        self._connection.execute(f"CREATE TABLE calls ({columns})")
        self._connection.execute(f"COPY calls FROM '{table}' (FORMAT csv, HEADER false)")
        table.unlink()

    def total(self, first: date = date.min, last: date = date.max) -> Decimal:
        """Return what the calls of some days cost in USD."""
        query = "SELECT sum(cost_nano), count(*) FROM calls WHERE voided_at IS NULL AND day BETWEEN ? AND ?"
        found = self._connection.execute(query, [first, last]).fetchone()
        assert found is not None
        return Decimal(int(found[0])) / NANO

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
