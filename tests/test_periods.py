"""Periods: the shared vectors for weeks, then days that add up in awkward zones."""

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator import periods

VECTORS: dict[str, Any] = json.loads((Path(__file__).parent / "answers" / "vectors.json").read_text())
ZONES = [
    "UTC",
    "Europe/Paris",
    "America/New_York",
    "Asia/Kathmandu",
    "Asia/Beirut",
    "Australia/Lord_Howe",
    "America/Havana",
]


def instant(text: str) -> datetime:
    found = periods.instant_from_text(text)
    assert found is not None
    return found


@pytest.mark.parametrize("case", VECTORS["weeks"], ids=lambda case: case["id"])
def test_a_week_begins_at_local_midnight(case: dict[str, Any]) -> None:
    start, end = periods.week_bounds(instant(case["now"]), periods.zone(case["tz"]), case["week_start"])

    assert (start, end) == (instant(case["expect"]["from"]), instant(case["expect"]["to"]))
    assert (end - start) / timedelta(hours=1) == case["expect"]["hours"]


@pytest.mark.parametrize("case", VECTORS["same_point_last_week"], ids=lambda case: case["id"])
def test_the_same_point_last_week_is_what_the_wall_clock_showed(case: dict[str, Any]) -> None:
    assert periods.same_point_last_week(instant(case["now"]), periods.zone(case["tz"])) == instant(case["expect"])


@given(st.dates(date(1995, 1, 1), date(2040, 1, 1)), st.sampled_from(ZONES))
def test_days_meet_without_gap_or_overlap_and_hold_their_own_instants(day: date, name: str) -> None:
    tz = periods.zone(name)

    start, end = periods.day_bounds(day, tz)

    assert end == periods.day_start(day + timedelta(days=1), tz)
    assert timedelta(hours=22) <= end - start <= timedelta(hours=26)
    assert periods.day_of(start, tz) == day
    assert periods.day_of(end - timedelta(milliseconds=1), tz) == day


def test_a_date_that_a_zone_skipped_has_no_length() -> None:
    start, end = periods.day_bounds(date(2011, 12, 30), periods.zone("Pacific/Apia"))

    assert start == end


@given(st.timedeltas(timedelta(0), timedelta(days=47_000)).map(lambda since: datetime(1970, 1, 1, tzinfo=UTC) + since))
def test_stored_text_reads_back_as_the_same_millisecond_and_sorts_like_time(when: datetime) -> None:
    text = periods.text_from_instant(when)

    assert len(text) == 24
    assert periods.millis(instant(text)) == periods.millis(when)
    assert periods.instant_from_millis(periods.millis(when)) == instant(text)
    assert text < periods.text_from_instant(when + timedelta(milliseconds=1))


@pytest.mark.parametrize(
    "text", ["", "soon", "2026-11-21", "2026-11-21 07:31:00", "2026-13-01T00:00:00Z", "0001-01-01T00:00+14:00"]
)
def test_text_without_an_offset_or_a_meaning_names_no_instant(text: str) -> None:
    assert periods.instant_from_text(text) is None


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "0min ago"), (59, "0min ago"), (60, "1min ago"), (240, "4min ago"), (3599, "59min ago"),
        (3600, "STALE: 1h ago"), (8100, "STALE: 2h 15min ago"), (86_400, "STALE: 1d ago"), (97_200, "STALE: 1d 3h ago"),
    ],
)  # fmt: skip
def test_an_age_reads_in_two_units_and_says_stale_from_an_hour_on(seconds: float, text: str) -> None:
    assert periods.age_text(seconds) == text


def test_days_between_includes_both_ends() -> None:
    assert periods.days_between(date(2026, 2, 27), date(2026, 3, 1)) == [
        date(2026, 2, 27), date(2026, 2, 28), date(2026, 3, 1)
    ]  # fmt: skip
    assert periods.days_between(date(2026, 3, 1), date(2026, 2, 28)) == []
