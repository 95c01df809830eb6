"""Instants, local days and weeks, and ages. An instant is an aware datetime; a local day begins at local midnight in a zone.

Stored times are UTC text with milliseconds, `2026-11-21T07:31:00.000Z`: fixed width, so they sort as text.
Where local midnight does not exist (a zone that jumps at 00:00) the day begins at the jump; where it comes twice, at the first.
"""

from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Literal
from zoneinfo import ZoneInfo

WeekStart = Literal["sunday", "monday"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


def text_from_instant(instant: datetime) -> str:
    """Return an instant as it is stored: UTC, milliseconds (cut, not rounded), `Z`."""
    return instant.astimezone(UTC).isoformat("T", "milliseconds")[:-6] + "Z"


def instant_from_text(text: str) -> datetime | None:
    """Return the UTC instant that ISO 8601 text names, or None when it names none or has no offset."""
    try:
        instant = datetime.fromisoformat(text)
        return instant.astimezone(UTC) if instant.tzinfo is not None else None
    except (ValueError, OverflowError):
        # Overflow: the first hours of year 1 and the last of 9999, east and west of Greenwich.
        return None


def millis(instant: datetime) -> int:
    """Return an instant as whole milliseconds since the epoch, rounded down."""
    return (instant - _EPOCH) // _MILLISECOND


def instant_from_millis(at_ms: int) -> datetime:
    """Return the UTC instant of whole milliseconds since the epoch."""
    return _EPOCH + timedelta(milliseconds=at_ms)


@lru_cache(maxsize=32)
def zone(name: str) -> ZoneInfo:
    """Return the IANA zone of that name; raises zoneinfo.ZoneInfoNotFoundError or ValueError for none."""
    return ZoneInfo(name)


def day_of(instant: datetime, tz: ZoneInfo) -> date:
    """Return the local day that an instant falls on."""
    return instant.astimezone(tz).date()


# Reports ask for the same days again and again.
@lru_cache(maxsize=4096)
def day_start(day: date, tz: ZoneInfo) -> datetime:
    """Return the instant, in UTC, at which a local day begins."""
    # fold=0 reads a midnight inside a gap with the offset before the jump, which is the jump itself, and a doubled one as the first.
    return datetime.combine(day, time(), tz).astimezone(UTC)


def day_bounds(day: date, tz: ZoneInfo) -> tuple[datetime, datetime]:
    """Return [start, end) of a local day in UTC: 23 to 25 hours where clocks change, none at all where a zone skipped the date."""
    return day_start(day, tz), day_start(day + timedelta(days=1), tz)


def days_between(first: date, last: date) -> list[date]:
    """Return every date from first to last, both included; none when last is before first."""
    return [first + timedelta(days=n) for n in range((last - first).days + 1)]


def week_start(now: datetime, tz: ZoneInfo, starts_on: WeekStart) -> date:
    """Return the local day on which the week of `now` began."""
    today = day_of(now, tz)
    since = today.weekday() if starts_on == "monday" else (today.weekday() + 1) % 7
    return today - timedelta(days=since)


def week_bounds(now: datetime, tz: ZoneInfo, starts_on: WeekStart) -> tuple[datetime, datetime]:
    """Return [start, end) in UTC of the week that holds `now`: 167 to 169 hours where clocks change."""
    first = week_start(now, tz, starts_on)
    return day_start(first, tz), day_start(first + timedelta(days=7), tz)


def same_point_last_week(now: datetime, tz: ZoneInfo) -> datetime:
    """Return the instant, in UTC, at which a clock on the wall showed a week ago what it shows now.

    A wall-clock time that did not exist then is read with the offset before the jump.
    """
    wall = now.astimezone(tz).replace(tzinfo=None, fold=0)
    return (wall - timedelta(days=7)).replace(tzinfo=tz).astimezone(UTC)


def span_text(seconds: float) -> str:
    """Return a length of time in at most two units: `4min`, `2h 15min`, `3d 4h`; less than a minute is `0min`."""
    minutes = max(int(seconds // 60), 0)
    if minutes < 60:
        return f"{minutes}min"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours}h {minutes}min" if minutes else f"{hours}h"
    days, hours = divmod(hours, 24)
    return f"{days}d {hours}h" if hours else f"{days}d"


def age_text(seconds: float) -> str:
    """Return an age as readers see it: `4min ago`, and from an hour on `STALE: 2h 15min ago`."""
    return f"{span_text(seconds)} ago" if seconds < 3600 else f"STALE: {span_text(seconds)} ago"
