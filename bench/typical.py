"""Typical calls: what an agent with some tenants, users and operations records, the same again at every run."""

import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from orchestrator.periods import text_from_instant

TENANTS, USERS, ENDPOINTS = 20, 10, 30
OPERATIONS = ("chat", "classify", "extract", "plan", "review", "search")
# 0.8 and 4 USD per million tokens: 0.00108 USD a call.
MODEL: dict[str, Any] = {"service": "anthropic", "model": "claude-3-5-haiku", "input_tokens": 450, "output_tokens": 180}


def calls(count: int, start: datetime, end: datetime, *, endpoints: bool = True) -> Iterator[dict[str, Any]]:
    """Yield arguments of `record_call`, evenly spread over the time from start to end."""
    chance = random.Random(1)
    step = (end - start) / count
    for n in range(count):
        tenant = chance.randrange(TENANTS)
        yield (
            MODEL
            | ({"endpoint": f"/v1/{chance.randrange(ENDPOINTS)}"} if endpoints else {})
            | {
                "called_at": start + n * step,
                "tenant_id": f"tenant-{tenant}",
                "user_id": f"user-{tenant}-{chance.randrange(USERS)}",
                "operation": chance.choice(OPERATIONS),
                "tier": "premium" if tenant < 4 else "standard",
                "duration_ms": chance.randrange(200, 4000),
            }
        )


def rows(count: int, now: datetime) -> Iterator[tuple[str | int, ...]]:
    """Yield the same as a peer would store them: sixteen columns that we fill too."""
    first = int(now.timestamp() * 1000)
    for n, one in enumerate(calls(count, now, now + timedelta(milliseconds=count))):
        text = text_from_instant(one["called_at"])
        yield (
            f"{first + n:013x}-7c21-8d5e-0123456789ab", text, text[:10], one["service"], one["model"], one["operation"],
            one["tier"], one["input_tokens"], one["output_tokens"], 1_080_000, "priced", "genai-prices 0.2.3",
            one["tenant_id"], one["user_id"], one["endpoint"], one["duration_ms"],
        )  # fmt: skip


COLUMNS = (
    "call_id TEXT NOT NULL UNIQUE", "called_at TEXT", "day TEXT", "service TEXT", "model TEXT", "operation TEXT", "tier TEXT",
    "input_tokens INTEGER", "output_tokens INTEGER", "cost_nano INTEGER", "cost_source TEXT", "price_origin TEXT",
    "tenant_id TEXT", "user_id TEXT", "endpoint TEXT", "duration_ms INTEGER",
)  # fmt: skip
NAMES = tuple(column.split()[0] for column in COLUMNS)
# The id is recorded once and the day is found, as in our table; there are no rollups.
CREATE = f"CREATE TABLE calls (id INTEGER PRIMARY KEY, {', '.join(COLUMNS)}); CREATE INDEX calls_by_day ON calls (day)"
INSERT = f"INSERT INTO calls ({', '.join(NAMES)}) VALUES ({', '.join('?' * len(NAMES))})"
