"""Facts about the file, as text by key: its host id (a UUID made with it), time zone, daemon lease, what was pruned."""

from typing import Final

from orchestrator.store.database import Connection

# Counted by the file's own triggers: every change of a snapshot, and every change of a call that was there.
SNAPSHOT_CHANGES: Final = "snapshot_changes"
CALL_CHANGES: Final = "call_changes"


def get(connection: Connection, key: str) -> str | None:
    """Return the value, or None when the file has none for that key."""
    for (value,) in connection.execute("SELECT value FROM meta WHERE key = :key", {"key": key}):
        return str(value)
    return None


def put(connection: Connection, key: str, value: str) -> None:
    """Set the value."""
    connection.execute(
        """
        INSERT INTO meta (key, value)
        VALUES (:key, :value)
        ON CONFLICT (key) DO UPDATE SET value = excluded.value
        """,
        {"key": key, "value": value},
    )


def count_up(connection: Connection, key: str) -> None:
    """Count one more change, where the file counts them."""
    connection.execute("UPDATE meta SET value = CAST(value + 1 AS TEXT) WHERE key = :key", {"key": key})


def remove(connection: Connection, key: str) -> None:
    """Forget the key, if it is there."""
    connection.execute("DELETE FROM meta WHERE key = :key", {"key": key})
