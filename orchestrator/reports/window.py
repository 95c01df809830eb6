"""Which time a report covers: [start, end), mostly whole local days of the file's zone, and parts of days at its ends."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from typing import Literal
from zoneinfo import ZoneInfo

from orchestrator.periods import WeekStart, day_bounds, day_of, day_start

# A date, a time, or the text of one; a time without an offset is one of the file's zone.
Moment = date | datetime | str
Period = Literal["day", "week", "month"]

DEFAULT_DAYS = 30
# Outside of these the bounds of a local day could leave what a datetime can say.
EARLIEST, LATEST = date(1970, 1, 1), date(9000, 1, 1)


@dataclass(frozen=True)
class Window:
    """The time from `start` to before `end`, both UTC, and the zone whose days it is made of."""

    start: datetime
    end: datetime
    tz: ZoneInfo

    @cached_property
    def first(self) -> date:
        """Return the first local day that lies wholly inside; after `last` when none does."""
        day = day_of(self.start, self.tz)
        return day if day_start(day, self.tz) == self.start else day + timedelta(days=1)

    @cached_property
    def last(self) -> date:
        """Return the last local day that lies wholly inside."""
        return day_of(self.end, self.tz) - timedelta(days=1)

    @cached_property
    def parts(self) -> list[tuple[date, datetime, datetime]]:
        """Return the local days of which only a part lies inside, at most two, each with the bounds of that part."""
        parts = []
        for day in dict.fromkeys((self.first - timedelta(days=1), self.last + timedelta(days=1))):
            opens, closes = day_bounds(day, self.tz)
            start, end = max(opens, self.start), min(closes, self.end)
            if start < end:
                parts.append((day, start, end))
        return parts


def of_days(first: date, last: date, tz: ZoneInfo) -> Window:
    """Return the local days from first to last, both included; raises ValueError for days before 1970."""
    return between(first, last, tz, _EPOCH)


def last_days(days: int, last: date, tz: ZoneInfo) -> Window:
    """Return so many local days up to `last`, that day included."""
    return of_days(max(last - timedelta(days=days - 1), EARLIEST), last, tz)


def between(since: Moment | None, until: Moment | None, tz: ZoneInfo, now: datetime) -> Window:
    """Return the time from `since` on: up to and with `until` if that is a date, up to but without it if it is a time.

    Without `until` it ends with today, without `since` it is the last 30 local days before its end. Raises ValueError for what is
    neither a date nor a time, for days before 1970, and for a `since` after `until`.
    """
    upper = read_moment(day_of(now, tz) if until is None else until, tz)
    end = upper if isinstance(upper, datetime) else day_bounds(upper, tz)[1]
    if since is None:
        last = day_of(end - timedelta(milliseconds=1), tz)
        since = max(last - timedelta(days=DEFAULT_DAYS - 1), EARLIEST)
    lower = read_moment(since, tz)
    start = lower if isinstance(lower, datetime) else day_start(lower, tz)
    # A day that is before `since` by one ends where `since` begins.
    days = not isinstance(lower, datetime) and not isinstance(upper, datetime)
    if start > end or (days and lower > upper):
        message = f"it would begin at {lower}, after its end at {upper}"
        raise ValueError(message)
    return Window(start, end, tz)


def of_period(period: Period, day: date, tz: ZoneInfo, week_starts_on: WeekStart) -> Window:
    """Return the local day, week or month that a day belongs to."""
    first = first_day(period, day, week_starts_on)
    after = first + timedelta(days={"day": 1, "week": 7, "month": 31}[period])
    return of_days(first, first_day(period, after, week_starts_on) - timedelta(days=1), tz)


def first_day(period: Period, day: date, week_starts_on: WeekStart) -> date:
    """Return the first day of the day, week or month that a day belongs to."""
    if period == "month":
        return day.replace(day=1)
    if period == "week":
        return day - timedelta(days=(day.weekday() + (week_starts_on == "sunday")) % 7)
    return day


def label(period: Period, day: date, week_starts_on: WeekStart) -> str:
    """Return what the day, week or month of a day is called: 2026-11-21, a week by its first day, a month 2026-11."""
    first = first_day(period, day, week_starts_on).isoformat()
    return first[:7] if period == "month" else first


def read_day(moment: Moment, tz: ZoneInfo) -> date:
    """Return the local day that a date, a time, or the text of one names; raises ValueError for none."""
    found = read_moment(moment, tz)
    return day_of(found, tz) if isinstance(found, datetime) else found


def read_moment(moment: Moment, tz: ZoneInfo) -> date | datetime:
    """Return a date as it is and a time in UTC; raises ValueError for text that is neither, and for what lies before 1970."""
    if isinstance(moment, str):
        moment = _read(moment.strip())
    day = moment.date() if isinstance(moment, datetime) else moment
    if not EARLIEST <= day <= LATEST:
        message = f"{moment} is not between {EARLIEST} and {LATEST}"
        raise ValueError(message)
    if not isinstance(moment, datetime):
        return moment
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=tz)).astimezone(UTC)


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _read(text: str) -> date:
    # A time alone would do for a date, at midnight; so dates come first.
    for form in (date.fromisoformat, datetime.fromisoformat):
        try:
            return form(text)
        except ValueError:
            continue
    message = f"{text!r} is neither a date, 2026-11-21, nor a time, 2026-11-21T07:30"
    raise ValueError(message)
