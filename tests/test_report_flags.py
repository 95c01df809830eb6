"""Which time and which form the flags of a report ask for."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.cli.flags import ReportFlags, report_flags
from orchestrator.ledger.setup import Setup
from orchestrator.periods import WeekStart, day_bounds, days_between, zone
from orchestrator.reports import window as windows
from orchestrator.reports.call_sums import Filters
from orchestrator.reports.window import Window

# A Wednesday; in Auckland it is Thursday already.
NOW = datetime(2026, 11, 18, 12, 0, tzinfo=UTC)
AUCKLAND = Setup("Pacific/Auckland")
ZONES = ["UTC", "America/Havana", "Asia/Kolkata", "Australia/Lord_Howe", "Europe/Vienna", "Pacific/Apia"]


def said(*args: str) -> ReportFlags:
    """Return what a command with all of the flags is given."""
    given: list[ReportFlags] = []

    @click.command()
    @report_flags("day", "service", filters=True)
    def command(flags: ReportFlags) -> None:
        given.append(flags)

    command.main(list(args), standalone_mode=False)
    return given[0]


def days(*args: str, setup: Setup = AUCKLAND) -> tuple[str, str]:
    """Return the first and the last local day that flags ask for."""
    window = said(*args).window(setup, NOW)
    assert window.parts == []
    return window.first.isoformat(), window.last.isoformat()


@pytest.mark.parametrize(
    ("args", "first", "last"),
    [
        ([], "2026-10-21", "2026-11-19"),
        (["--days", "1"], "2026-11-19", "2026-11-19"),
        (["--days", "7", "--until", "2026-11-10"], "2026-11-04", "2026-11-10"),
        (["--since", "2026-11-01"], "2026-11-01", "2026-11-19"),
        (["--since", "2026-11-01", "--until", "2026-11-02"], "2026-11-01", "2026-11-02"),
        (["--until", "2026-11-02"], "2026-10-04", "2026-11-02"),
        (["--until", "2026-11-03T00:00"], "2026-10-04", "2026-11-02"),
        (["--period", "day"], "2026-11-19", "2026-11-19"),
        (["--period", "week"], "2026-11-15", "2026-11-21"),
        (["--period", "month"], "2026-11-01", "2026-11-30"),
        (["--period", "month", "--date", "2024-02-10"], "2024-02-01", "2024-02-29"),
        (["--period", "month", "--date", "2026-12-31"], "2026-12-01", "2026-12-31"),
        (["--date", "2026-11-02"], "2026-11-02", "2026-11-02"),
        (["--days", "36525"], "1970-01-01", "2026-11-19"),
    ],
)
def test_the_time_that_is_asked_for(args: list[str], first: str, last: str) -> None:
    assert days(*args) == (first, last)


@pytest.mark.parametrize(("starts_on", "first"), [("sunday", "2026-11-15"), ("monday", "2026-11-16")])
def test_a_week_begins_where_the_file_says(starts_on: WeekStart, first: str) -> None:
    assert days("--period", "week", setup=Setup(week_starts_on=starts_on))[0] == first


def test_times_without_an_offset_are_the_files_and_others_are_their_own() -> None:
    window = said("--since", "2026-11-18T01:30", "--until", "2026-11-18T01:30Z").window(AUCKLAND, NOW)

    assert window.start == datetime(2026, 11, 17, 12, 30, tzinfo=UTC)
    assert window.end == datetime(2026, 11, 18, 1, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    "args",
    [
        ["--since", "yesterday"],
        ["--until", "2026-13-01"],
        ["--date", ""],
        ["--since", "0001-01-01"],
        ["--until", "9999-12-31"],
        ["--days", "0"],
        ["--days", "x"],
        ["--by", "moon"],
        ["--limit", "0"],
        ["--format", "xml"],
        ["--export", "table"],
        ["--days", "3", "--since", "2026-11-01"],
        ["--days", "3", "--period", "day"],
        ["--since", "2026-11-01", "--period", "day"],
        ["--until", "2026-11-01", "--date", "2026-11-01"],
    ],
)
def test_what_cannot_be_meant_is_a_usage_error(args: list[str]) -> None:
    with pytest.raises(click.UsageError):
        said(*args)


def test_an_end_before_the_beginning_is_a_usage_error() -> None:
    with pytest.raises(click.UsageError, match="after its end"):
        said("--since", "2026-11-02", "--until", "2026-11-01").window(AUCKLAND, NOW)


@pytest.mark.parametrize(
    "args",
    [
        ["--period", "week", "--date", "1970-01-01"],
        ["--period", "month", "--date", "9000-01-01"],
        ["--days", "3", "--until", "1970-01-01T00:00"],
    ],
)
def test_a_time_that_reaches_beyond_every_calendar_is_a_usage_error(args: list[str]) -> None:
    with pytest.raises(click.UsageError, match="is not between 1970-01-01 and 9000-01-01"):
        said(*args).window(Setup(), NOW)


@pytest.mark.parametrize(
    ("args", "form"),
    [
        ([], "table"),
        (["--json"], "json"),
        (["-f", "jsonl"], "jsonl"),
        (["--export", "csv"], "csv"),
        (["--json", "--export", "json", "-f", "json"], "json"),
        (["-o", "x.csv"], "csv"),
        (["-o", "x.csv", "--json"], "json"),
        (["-o", "x.txt"], "table"),
    ],
)
def test_the_form_that_is_asked_for(args: list[str], form: str) -> None:
    assert said(*args).form == form


def test_two_forms_are_a_usage_error() -> None:
    with pytest.raises(click.UsageError, match="csv and json"):
        said("--json", "--export", "csv").form  # noqa: B018


def test_filters_rows_and_file_are_passed_on() -> None:
    flags = said(
        "--service", "s", "--model", "m", "--tenant", "t", "--user", "u", "--by", "day", "--limit", "3", "-o", "f"
    )

    assert flags.filters == Filters("s", "m", "t", "u")
    assert (flags.by, flags.limit, flags.output) == ("day", 3, Path("f"))


@given(st.sampled_from(ZONES), st.integers(0, 400 * 24 * 60), st.integers(0, 5 * 24 * 60))
def test_whole_days_and_parts_make_up_a_window(name: str, minutes: int, length: int) -> None:
    tz = zone(name)
    start = datetime(2011, 12, 1, tzinfo=UTC) + timedelta(minutes=minutes)
    window = Window(start, start + timedelta(minutes=length), tz)

    pieces = [day_bounds(day, tz) for day in days_between(window.first, window.last)]
    pieces += [(a, b) for _, a, b in window.parts]

    edge = window.start
    for a, b in sorted(piece for piece in pieces if piece[0] < piece[1]):
        assert a == edge
        edge = b
    assert edge == window.end


@given(
    st.dates(date(1971, 1, 1), date(2100, 1, 1)),
    st.sampled_from(["day", "week", "month"]),
    st.sampled_from(["sunday", "monday"]),
)
def test_a_day_lies_in_its_period_and_periods_follow_each_other(
    day: date, period: windows.Period, starts_on: WeekStart
) -> None:
    tz = zone("Europe/Vienna")
    window = windows.of_period(period, day, tz, starts_on)

    assert window.first <= day <= window.last
    assert windows.of_period(period, window.last + timedelta(days=1), tz, starts_on).start == window.end
    assert windows.first_day(period, day, starts_on) == window.first
