"""Facts about the file, as text by key: its host id (a UUID made with it), time zone, daemon lease, what was pruned."""

from orchestrator.store.database import Connection


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


def remove(connection: Connection, key: str) -> None:
    """Forget the key, if it is there."""
    connection.execute("DELETE FROM meta WHERE key = :key", {"key": key})
