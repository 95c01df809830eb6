"""Which local day an instant of the ledger belongs to, and the file's own knowledge of it for rows that come without a day."""

from bisect import bisect_right
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from orchestrator.periods import day_of, day_start, instant_from_text, text_from_instant
from orchestrator.store.database import Connection

# Calls are made now; what lies outside is given the nearest offset.
_FIRST_YEAR = 2000
_LAST_YEAR = 2100
_SHORTEST = timedelta(days=1)


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
        later = at + _SHORTEST
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
    given = 0
    for call_id, called_at in connection.execute("SELECT id, called_at FROM ai_calls WHERE day IS NULL").fetchall():
        connection.execute(
            "UPDATE ai_calls SET day = :day WHERE id = :id", {"id": call_id, "day": _day_text(called_at, tz)}
        )
        given += 1
    for entry, earned_at in connection.execute("SELECT id, earned_at FROM revenue WHERE day IS NULL").fetchall():
        connection.execute(
            "UPDATE revenue SET day = :day WHERE id = :id", {"id": entry, "day": _day_text(earned_at, tz)}
        )
        given += 1
    return given


class DayFinder:
    """Tells the local day of stored times, many in a row, by their text alone."""

    def __init__(self, first: date, last: date, tz: ZoneInfo) -> None:
        """Know every day from first to last, both included."""
        days = [first + timedelta(days=n) for n in range((last - first).days + 1)]
        self._starts = [text_from_instant(day_start(day, tz)) for day in days]
        self._days = [day.isoformat() for day in days]

    def day(self, at: str) -> str:
        """Return the local day of a stored time; the first or last known one for what lies outside."""
        return self._days[max(bisect_right(self._starts, at) - 1, 0)]


def _day_text(stored: object, tz: ZoneInfo) -> str | None:
    instant = instant_from_text(str(stored))
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
