"""The file of the earlier Node implementation becomes ours: every row stays, with its id.

Its columns may have any type, so each value is read on its own: times in SQL or ISO form or as epoch seconds or milliseconds,
digit strings, integral floats. What does not fit is NULL, with the original in `error`.
"""

import math
import re
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal

import apsw

from orchestrator.periods import instant_from_millis, text_from_instant
from orchestrator.store import migrate

Value = None | int | float | str | bytes

RAW_JSON_BYTES = 16 * 1024

_SHOWN_CHARACTERS = 200
_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,4})?", re.ASCII)
_TIME = re.compile(
    r"([12][0-9]{3}-[0-9]{2}-[0-9]{2})(?:[T ] *([0-9:.,]+) *(Z|[+-][0-9:]+)?)?", re.ASCII | re.IGNORECASE
)


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
        migrate.run(connection, f'DROP {kind} "{quoted}"')
    # A view that somebody made over the table shall read the new one: the renaming must not follow into it.
    connection.config(apsw.SQLITE_DBCONFIG_LEGACY_ALTER_TABLE, 1)
    try:
        migrate.run(connection, "ALTER TABLE revenue_snapshots RENAME TO adopted_snapshots")
    finally:
        connection.config(apsw.SQLITE_DBCONFIG_LEGACY_ALTER_TABLE, 0)
    migrate.upgrade(connection, 0)
    _copy_rows(connection)
    migrate.run(connection, "DROP TABLE adopted_snapshots")


def _copy_rows(connection: apsw.Connection) -> None:
    homeless = []
    for row in connection.execute(_SELECT):
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


def _whole(value: Value) -> int | None:
    """Return a 64-bit integer from an integer, an integral float or the digits of one."""
    match value:
        case int():
            return value
        case float():
            number = Decimal(value)
        case _:
            text = _text(value)
            if text is None or not _NUMBER.fullmatch(text.strip()):
                return None
            number = Decimal(text.strip())
    in_range = number.is_finite() and -(2**63) <= number < 2**63
    return int(number) if in_range and number == number.to_integral_value() else None


def _real(value: Value) -> float | None:
    """Return a finite float from a number or its digits."""
    if isinstance(value, int | float):
        number = float(value)
    else:
        text = _text(value)
        if text is None or not _NUMBER.fullmatch(text.strip()):
            return None
        number = float(text)
    return number if math.isfinite(number) else None


def _text(value: Value) -> str | None:
    """Return text as it is, bytes that are not UTF-8 escaped, a number as its digits."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    return None if value is None else str(value)


def _raw_json(value: Value) -> str | None:
    text = _text(value)
    return None if text is None else text.encode()[:RAW_JSON_BYTES].decode("utf-8", "ignore")


def _instant(value: Value) -> str | None:
    """Return a time as we store it. Text without an offset is UTC, as SQLite's own functions write it."""
    text = (_text(value) or "").strip()
    if _NUMBER.fullmatch(text):
        return _epoch(Decimal(text))
    found = _TIME.fullmatch(text)
    if found is None:
        return None
    day, clock, offset = found.groups()
    try:
        instant = datetime.fromisoformat(f"{day}T{clock or '00:00'}{(offset or 'Z').upper()}")
        return text_from_instant(instant.astimezone(UTC))
    except (ValueError, OverflowError):
        return None


def _epoch(number: Decimal) -> str | None:
    # Ten digits before the point are seconds and thirteen are milliseconds, from 2001 to 2286; anything else, 0 too, is no time.
    if 10**9 <= number < 10**10:
        return text_from_instant(instant_from_millis(int(number * 1000)))
    if 10**12 <= number < 10**13:
        return text_from_instant(instant_from_millis(int(number)))
    return None


def _shown(value: Value) -> str:
    text = (_text(value) or "")[:_SHOWN_CHARACTERS]
    return f"'{text}'" if isinstance(value, bytes) else "NULL" if value is None else text


_COLUMNS: dict[str, Callable[[Value], Value]] = {
    "id": _whole,
    "source": _text,
    "collected_at": _instant,
    "balance_atomic": _whole,
    "paid_atomic": _whole,
    "hashrate": _real,
    "xmr_price_usd": _real,
    "requests_served": _whole,
    "tokens_generated": _whole,
    "raw_json": _raw_json,
}

# Text comes as bytes, because nothing makes SQLite's text be UTF-8. Rows whose id is an integer come first and so keep it.
_SELECT = """
SELECT
    CASE WHEN typeof(id) = 'text' THEN CAST(id AS BLOB) ELSE id END,
    CASE WHEN typeof(source) = 'text' THEN CAST(source AS BLOB) ELSE source END,
    CASE WHEN typeof(collected_at) = 'text' THEN CAST(collected_at AS BLOB) ELSE collected_at END,
    CASE WHEN typeof(balance_atomic) = 'text' THEN CAST(balance_atomic AS BLOB) ELSE balance_atomic END,
    CASE WHEN typeof(paid_atomic) = 'text' THEN CAST(paid_atomic AS BLOB) ELSE paid_atomic END,
    CASE WHEN typeof(hashrate) = 'text' THEN CAST(hashrate AS BLOB) ELSE hashrate END,
    CASE WHEN typeof(xmr_price_usd) = 'text' THEN CAST(xmr_price_usd AS BLOB) ELSE xmr_price_usd END,
    CASE WHEN typeof(requests_served) = 'text' THEN CAST(requests_served AS BLOB) ELSE requests_served END,
    CASE WHEN typeof(tokens_generated) = 'text' THEN CAST(tokens_generated AS BLOB) ELSE tokens_generated END,
    CASE WHEN typeof(raw_json) = 'text' THEN CAST(raw_json AS BLOB) ELSE raw_json END
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
