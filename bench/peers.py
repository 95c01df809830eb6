"""The peers of the ledger: each stores the same sixteen columns in a table of its own file with a unique id and an index on the day, by
WAL and FULL, without rollups.

A peer is a function of rows: it stores each in a transaction of its own, or all in one, and returns the seconds of each transaction.
"""

import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import apsw

from bench.typical import CREATE, INSERT, NAMES
from orchestrator.store.database import Database

Rows = Sequence[tuple[str | int, ...]]
Store = Callable[[Iterable[Rows]], list[float]]

PAGE = b"\0" * 4096


def probe(path: Path) -> Store:
    """Return what writes 4 KiB to the end of a file and waits for the disk: the least that a durable row can take."""
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY, 0o600)
    end = 0

    def store(_rows: Rows) -> None:
        nonlocal end
        os.pwrite(descriptor, PAGE, end)
        os.fdatasync(descriptor)
        end += len(PAGE)

    return timed(store)


def bare_apsw(path: Path) -> Store:
    """Return what inserts by apsw, by itself."""
    connection = apsw.Connection(str(path))
    connection.execute(f"PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; {CREATE}").fetchall()

    def store(rows: Rows) -> None:
        with connection:
            connection.executemany(INSERT, rows)

    return timed(store)


def own_table(path: Path) -> Store:
    """Return what inserts the same by apsw into our table: what its checks, triggers and rollups take, and nothing of Python."""
    database = Database(path)
    with database.write():
        pass
    database.close()
    connection = apsw.Connection(str(path))
    connection.execute("PRAGMA synchronous = FULL").fetchall()
    # There is no other column for the price's origin as a text.
    names = ", ".join("session_id" if name == "price_origin" else name for name in NAMES)
    insert = f"INSERT INTO ai_calls ({names}) VALUES ({', '.join('?' * len(NAMES))})"

    def store(rows: Rows) -> None:
        with connection:
            connection.executemany(insert, rows)

    return timed(store)


def stdlib_sqlite3(path: Path) -> Store:
    """Return what inserts by the standard library's sqlite3."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.executescript(f"PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; {CREATE}")

    def store(rows: Rows) -> None:
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(INSERT, rows)
        connection.execute("COMMIT")

    return timed(store)


def sqlalchemy_orm(path: Path) -> Store:
    """Return what adds objects to a session of SQLAlchemy's ORM and commits."""
    import sqlalchemy as sa
    from sqlalchemy import event, orm

    engine = sa.create_engine(f"sqlite:///{path}")

    @event.listens_for(engine, "connect")
    def settings(connection: Any, _record: object) -> None:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")

    class Base(orm.DeclarativeBase):
        pass

    kinds = {"input_tokens", "output_tokens", "cost_nano", "duration_ms"}
    columns: dict[str, Any] = {
        name: orm.mapped_column(
            sa.Integer if name in kinds else sa.String, nullable=True, unique=name == "call_id", index=name == "day"
        )
        for name in NAMES
    }
    mapped: Any = type(
        "Call", (Base,), {"__tablename__": "calls", "id": orm.mapped_column(sa.Integer, primary_key=True)} | columns
    )
    Base.metadata.create_all(engine)

    def store(rows: Rows) -> None:
        with orm.Session(engine) as session:
            session.add_all([mapped(**dict(zip(NAMES, row, strict=True))) for row in rows])
            session.commit()

    return timed(store)


def timed(store: Callable[[Rows], None]) -> Store:
    """Return what stores each transaction's rows and says how long each took."""

    def run(transactions: Iterable[Rows]) -> list[float]:
        seconds = []
        for rows in transactions:
            start = time.perf_counter()
            store(rows)
            seconds.append(time.perf_counter() - start)
        return seconds

    return run
