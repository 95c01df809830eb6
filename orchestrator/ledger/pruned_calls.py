"""What is left of the ids of calls that were pruned: enough to tell that a call was recorded before, 12 bytes each."""

import hashlib
from collections.abc import Iterable, Sequence

from orchestrator.store.database import Connection


def remember(connection: Connection, call_ids: Iterable[str]) -> None:
    """Keep the ids of calls that are about to go."""
    connection.executemany(
        "INSERT INTO pruned_calls (id_hash) VALUES (?) ON CONFLICT DO NOTHING", ((_hash(one),) for one in call_ids)
    )


def among(connection: Connection, call_ids: Sequence[str]) -> frozenset[str]:
    """Return which of these ids calls had that were pruned; wrong once in 10^13 times, where a million were."""
    hashes = [_hash(one) for one in call_ids]
    found = {
        number
        for (number,) in connection.execute(
            "SELECT id_hash FROM pruned_calls WHERE id_hash IN (SELECT value FROM json_each(?))", (str(hashes),)
        )
    }
    return frozenset(call_id for call_id, number in zip(call_ids, hashes, strict=True) if number in found)


def _hash(call_id: str) -> int:
    return int.from_bytes(hashlib.sha256(call_id.encode("utf-8", "surrogatepass")).digest()[:8], signed=True)
