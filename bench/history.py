"""A file with years of five-minute snapshots of both sources, every day closed."""

import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

from orchestrator.ledger import growth_days, setup
from orchestrator.ledger.setup import Setup
from orchestrator.ledger.snapshots import MLX_API, XMR_MINING
from orchestrator.periods import text_from_instant
from orchestrator.store.database import Database

Columns = tuple[str, str, int | None, int | None, float | None, float | None, int | None, int | None]


def make(path: Path, days: int, now: datetime) -> Database:
    """Return a database of so many days up to `now`."""
    database = Database(path)
    kept = Setup(sources=(XMR_MINING, MLX_API))
    with database.write() as connection:
        setup.write(connection, kept)
        connection.executemany(
            """
            INSERT INTO revenue_snapshots (
                source, collected_at, balance_atomic, paid_atomic, hashrate, xmr_price_usd, requests_served, tokens_generated
            )
            VALUES (?, ?, ?, ?, ?, ?, ?, ?)
            """,
            _rows(days, now),
        )
    for source in (XMR_MINING, MLX_API):
        closed = True
        while closed:
            with database.write() as connection:
                closed = bool(growth_days.close_days(connection, source, kept.tz, kept.interval_seconds, now, most=64))
    database.checkpoint()
    return database


def _rows(days: int, now: datetime) -> Iterator[Columns]:
    chance = random.Random(1)
    at, balance, paid, requests, tokens = now - timedelta(days=days), 0, 0, 0, 0
    while at <= now:
        if chance.random() < 0.02:
            balance += chance.randrange(10**9, 10**10)
        if balance > 3 * 10**11:
            paid, balance = paid + balance - 4 * 10**8, 0
        requests += chance.randrange(5)
        tokens += chance.randrange(3000)
        text = text_from_instant(at)
        yield XMR_MINING, text, balance, paid, 13842.0, round(150 + 50 * chance.random(), 2), None, None
        yield MLX_API, text, None, None, None, None, requests, tokens
        at += timedelta(minutes=5)
