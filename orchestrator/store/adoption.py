"""The file of the earlier Node implementation becomes ours: every row stays, with its id.

Its columns may have any type and its text any encoding, so each value is read on its own: digit strings, integral floats. What does
not fit is NULL, with the original in `error`. Times are read by the table's own trigger, like every foreign writer's.
"""

import re
from collections.abc import Callable
from decimal import Decimal

import apsw

from orchestrator.store.migrate import run, upgrade

Value = None | int | float | str

RAW_JSON_BYTES = 16 * 1024

_SHOWN_CHARACTERS = 200
_LARGEST_REAL = 1e300
_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,4})?", re.ASCII)


def adopt(connection: apsw.Connection) -> None:
    """Put our table with the Node implementation's rows in the place of its own, inside the caller's transaction."""
    for kind, name in connection.execute(
        """
        SELECT type, name
        FROM sqlite_schema
        WHERE tbl_name = 'revenue_snapshots' AND type IN ('index', 'trigger') AND sql IS NOT NULL
        """
    ).fetchall():
        quoted = str(name).replace('"', '""')
        run(connection, f'DROP {kind} "{quoted}"')
    # A view that somebody made over the table shall read the new one: the renaming must not follow into it.
    connection.config(apsw.SQLITE_DBCONFIG_LEGACY_ALTER_TABLE, 1)
    try:
        run(connection, "ALTER TABLE revenue_snapshots RENAME TO adopted_snapshots")
    finally:
        connection.config(apsw.SQLITE_DBCONFIG_LEGACY_ALTER_TABLE, 0)
    upgrade(connection, 0)
    _copy_rows(connection)
    run(connection, "DROP TABLE adopted_snapshots")


def _copy_rows(connection: apsw.Connection) -> None:
    encoding = str(connection.pragma("encoding"))
    homeless = []
    for stored in connection.execute(_SELECT):
        row = tuple(_decoded(value, encoding) for value in stored)
        values = _read(row)
        if values["id"] is not None:
            connection.execute(_INSERT, values)
        if values["id"] is None or connection.changes() == 0:
            homeless.append((row[0], values))
    # Only a table whose `id` is no integer primary key can hold such rows. They get the next free ids.
    for given, values in homeless:
        problems = [f"id was {_shown(given)}", values["error"]]
        error = "; ".join(str(problem) for problem in problems if problem is not None)
        connection.execute(_INSERT, {**values, "id": None, "error": error})


def _read(row: tuple[Value, ...]) -> dict[str, Value]:
    values: dict[str, Value] = {}
    problems = []
    for (column, read), value in zip(_COLUMNS.items(), row, strict=True):
        values[column] = read(value)
        if values[column] is None and value is not None and column != "id":
            problems.append(f"{column} was {_shown(value)}")
    if values["source"] is None:
        values["source"] = "unknown"
        problems.append("source was NULL")
    values["error"] = "; ".join(problems) or None
    return values


def _decoded(value: Value | bytes, encoding: str) -> Value:
    """Return text from its bytes in the file's encoding or, as hexadecimal digits, from a BLOB's in UTF-8; what is neither is escaped."""
    match value:
        case bytes():
            return value.decode(encoding, "backslashreplace")
        case str():
            return bytes.fromhex(value).decode("utf-8", "backslashreplace")
    return value


def _whole(value: Value) -> int | None:
    """Return a 64-bit integer from an integer, an integral float or the digits of one."""
    match value:
        case int():
            return value
        case float():
            number = Decimal(value)
        case str() if _NUMBER.fullmatch(value.strip()):
            number = Decimal(value.strip())
        case _:
            return None
    in_range = number.is_finite() and -(2**63) <= number < 2**63
    return int(number) if in_range and number == number.to_integral_value() else None


def _real(value: Value) -> float | None:
    """Return a float from a number or its digits; infinity and what comes near it is no measurement."""
    if value is None or (isinstance(value, str) and not _NUMBER.fullmatch(value.strip())):
        return None
    number = float(value)
    return number if abs(number) <= _LARGEST_REAL else None


def _text(value: Value) -> str | None:
    """Return text as it is, a number as its digits."""
    return None if value is None else str(value)


def _raw_json(value: Value) -> str | None:
    text = _text(value)
    return None if text is None else text.encode()[:RAW_JSON_BYTES].decode("utf-8", "ignore")


def _shown(value: Value) -> str:
    text = ("NULL" if value is None else str(value))[:_SHOWN_CHARACTERS]
    return f"'{text}'" if isinstance(value, str) else text


_COLUMNS: dict[str, Callable[[Value], Value]] = {
    "id": _whole,
    "source": _text,
    "collected_at": _text,
    "balance_atomic": _whole,
    "paid_atomic": _whole,
    "hashrate": _real,
    "xmr_price_usd": _real,
    "requests_served": _whole,
    "tokens_generated": _whole,
    "raw_json": _raw_json,
}

# Text comes as bytes, because nothing makes SQLite's text be well-formed, and bytes as hexadecimal digits. Rows whose id is an integer
# come first and so keep it.
_SELECT = """
SELECT
    CASE typeof(id) WHEN 'text' THEN CAST(id AS BLOB) WHEN 'blob' THEN hex(id) ELSE id END,
    CASE typeof(source) WHEN 'text' THEN CAST(source AS BLOB) WHEN 'blob' THEN hex(source) ELSE source END,
    CASE typeof(collected_at) WHEN 'text' THEN CAST(collected_at AS BLOB) WHEN 'blob' THEN hex(collected_at) ELSE collected_at END,
    CASE typeof(balance_atomic) WHEN 'text' THEN CAST(balance_atomic AS BLOB) WHEN 'blob' THEN hex(balance_atomic) ELSE balance_atomic END,
    CASE typeof(paid_atomic) WHEN 'text' THEN CAST(paid_atomic AS BLOB) WHEN 'blob' THEN hex(paid_atomic) ELSE paid_atomic END,
    CASE typeof(hashrate) WHEN 'text' THEN CAST(hashrate AS BLOB) WHEN 'blob' THEN hex(hashrate) ELSE hashrate END,
    CASE typeof(xmr_price_usd) WHEN 'text' THEN CAST(xmr_price_usd AS BLOB) WHEN 'blob' THEN hex(xmr_price_usd) ELSE xmr_price_usd END,
    CASE typeof(requests_served) WHEN 'text' THEN CAST(requests_served AS BLOB) WHEN 'blob' THEN hex(requests_served) ELSE requests_served END,
    CASE typeof(tokens_generated) WHEN 'text' THEN CAST(tokens_generated AS BLOB) WHEN 'blob' THEN hex(tokens_generated) ELSE tokens_generated END,
    CASE typeof(raw_json) WHEN 'text' THEN CAST(raw_json AS BLOB) WHEN 'blob' THEN hex(raw_json) ELSE raw_json END
FROM adopted_snapshots
ORDER BY typeof(id) <> 'integer', id
"""

_INSERT = """
INSERT INTO revenue_snapshots (
    id, source, collected_at, balance_atomic, paid_atomic, hashrate, xmr_price_usd, requests_served, tokens_generated,
    raw_json, error
)
VALUES (
    :id, :source, :collected_at, :balance_atomic, :paid_atomic, :hashrate, :xmr_price_usd, :requests_served,
    :tokens_generated, :raw_json, :error
)
ON CONFLICT (id) DO NOTHING
"""
