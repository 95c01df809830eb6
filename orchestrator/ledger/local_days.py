"""Which local day an instant of the ledger belongs to, and the file's own knowledge of it for rows that come without a day."""

from datetime import UTC, datetime, timedelta
from functools import lru_cache, partial
from zoneinfo import ZoneInfo

from orchestrator.periods import day_of, instant_from_text, text_from_instant
from orchestrator.store.database import Connection

# Calls are made now; what lies outside is given the nearest offset.
_FIRST_YEAR = 2000
_LAST_YEAR = 2100
# No zone changes its clocks and changes them back within that time.
_STEP = timedelta(days=7)


def remember_zone(connection: Connection, tz: ZoneInfo) -> None:
    """Store the zone's offsets, unless the file has them, so that its triggers can tell a call's local day themselves."""
    known = connection.execute("SELECT 1 FROM zone_offsets WHERE zone = :zone LIMIT 1", {"zone": tz.key}).fetchone()
    if known is None:
        connection.execute("DELETE FROM zone_offsets")
        connection.executemany(
            "INSERT INTO zone_offsets (zone, starts_at, offset_seconds) VALUES (:zone, :starts_at, :offset_seconds)",
            [
                {"zone": tz.key, "starts_at": starts_at, "offset_seconds": offset}
                for starts_at, offset in zone_offsets(tz)
            ],
        )


def zone_offsets(tz: ZoneInfo) -> list[tuple[str, int]]:
    """Return from which instant on local time is ahead of UTC by how many seconds; the first instant is ''."""
    at, end = datetime(_FIRST_YEAR, 1, 1, tzinfo=UTC), datetime(_LAST_YEAR, 1, 1, tzinfo=UTC)
    offset = _offset(at, tz)
    offsets = [("", offset)]
    while at < end:
        later = at + _STEP
        if _offset(later, tz) != offset:
            change = _change(at, later, tz)
            offset = _offset(change, tz)
            offsets.append((text_from_instant(change), offset))
            later = change
        at = later
    return offsets


def give_days(connection: Connection, tz: ZoneInfo) -> int:
    """Give their local day to calls and revenue that have none, and return to how many.

    They were written by somebody else while the file did not know the offsets of its zone.
    """
    local = LocalDays(tz)
    calls = connection.execute("SELECT id, called_at FROM ai_calls WHERE day IS NULL").fetchall()
    connection.executemany(
        "UPDATE ai_calls SET day = :day WHERE id = :id",
        [{"id": row_id, "day": local.day(str(called_at))} for row_id, called_at in calls],
    )
    entries = connection.execute("SELECT id, earned_at FROM revenue WHERE day IS NULL").fetchall()
    connection.executemany(
        "UPDATE revenue SET day = :day WHERE id = :id",
        [{"id": row_id, "day": local.day(str(earned_at))} for row_id, earned_at in entries],
    )
    return len(calls) + len(entries)


class LocalDays:
    """Tells the local day of stored times, of many in a row at little cost."""

    def __init__(self, tz: ZoneInfo) -> None:
        # Offsets change at whole minutes, and so do days.
        self._of_minute = lru_cache(maxsize=4096)(partial(_day_of_minute, tz))

    def day(self, stored: str) -> str | None:
        """Return the local day of a time as it is stored, or None when it is no time."""
        return self._of_minute(stored[:16])


def _day_of_minute(tz: ZoneInfo, minute: str) -> str | None:
    instant = instant_from_text(f"{minute}:00Z")
    return None if instant is None else day_of(instant, tz).isoformat()


def _offset(at: datetime, tz: ZoneInfo) -> int:
    offset = at.astimezone(tz).utcoffset()
    assert offset is not None
    return int(offset.total_seconds())


def _change(before: datetime, after: datetime, tz: ZoneInfo) -> datetime:
    """Return the first instant after `before` with another offset, to the second."""
    seconds = int((after - before).total_seconds())
    offset = _offset(before, tz)
    low, high = 0, seconds
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _offset(before + timedelta(seconds=middle), tz) == offset else (low, middle)
    return before + timedelta(seconds=high)
