"""Growth: the shared vectors, then the laws that hold for every series."""

import json
from collections.abc import Iterable
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator import growth
from orchestrator.growth import CounterSample, Growth, MiningSample, Series
from orchestrator.periods import instant_from_text, millis

HERE = Path(__file__).parent
SHARED = HERE.parents[1] / "shared" / "vectors.json"
VECTORS: dict[str, Any] = json.loads((HERE / "answers" / "vectors.json").read_text())
HOUR = 3_600_000


def ms(text: str) -> int:
    instant = instant_from_text(text)
    assert instant is not None
    return millis(instant)


def vectors(kind: str) -> Iterable[Any]:
    return [pytest.param(case, id=case["id"]) for case in VECTORS[kind]]


@pytest.mark.skipif(not SHARED.exists(), reason="the shared vectors are not beside this checkout")
def test_the_copied_vectors_are_the_shared_ones() -> None:
    assert json.loads(SHARED.read_text()) == VECTORS


@pytest.mark.parametrize("case", vectors("revenue"))
def test_mining_growth_is_what_the_vector_says(case: dict[str, Any]) -> None:
    samples: list[MiningSample] = [(ms(s["ts"]), s["due"], s["paid"], None) for s in case["samples"]]
    start, end = ms(case["window"]["from"]), ms(case["window"]["to"])

    mined = growth.mining(samples, case["max_gap_s"] * 1000)

    flags = [growth.value_at(mined.atomic, t)[1] for t in (start, end)]
    assert growth.growth(mined.atomic, start, end).amount == case["expect"]["net_atomic"]
    assert (flags[:1] if flags[0] == "no_data" else flags) == case["expect"]["flags"]
    assert list(mined.torn_ms) == [ms(t) for t in case["expect"]["torn_samples"]]


@pytest.mark.parametrize("case", vectors("counter"))
def test_counter_growth_is_what_the_vector_says(case: dict[str, Any]) -> None:
    names = list(case["expect"]["increase"])
    samples: list[CounterSample] = [
        (ms(s["ts"]), tuple(s.get(name) for name in names), s.get("uptime"), s.get("epoch")) for s in case["samples"]
    ]
    start, end = ms(case["window"]["from"]), ms(case["window"]["to"])

    counted = growth.counters(samples, case["max_gap_s"] * 1000)

    grown = {name: growth.growth(one, start, end).amount for name, one in zip(names, counted.series, strict=True)}
    assert grown == case["expect"]["increase"]
    assert counted.restarts == case["expect"]["resets"]


@pytest.mark.parametrize("case", vectors("baseline"))
def test_the_baseline_is_the_last_sample_before_the_window(case: dict[str, Any]) -> None:
    series = Series(
        [ms(s["ts"]) for s in case["samples"]], [s["value"] for s in case["samples"]], case["max_gap_s"] * 1000
    )

    grown = [growth.growth(series, ms(w["from"]), ms(w["to"])).amount for w in case["windows"]]

    assert grown == [w["expect"] for w in case["windows"]]


@pytest.mark.parametrize("case", vectors("pricing"))
def test_each_interval_is_worth_its_own_price(case: dict[str, Any]) -> None:
    cumulative = [(ms(p["ts"]), p["cum_atomic"]) for p in case["cum"]]
    prices = [(ms(p["ts"]), p["price_nano"]) for p in case["prices"]]

    nano, unpriced = growth.priced(cumulative, prices, case["max_price_age_s"] * 1000)

    lines = [
        (at, after - before, after_nano - before_nano)
        for ((_, before), before_nano), ((at, after), after_nano) in pairwise(zip(cumulative, nano, strict=True))
    ]
    assert (nano[-1], unpriced[-1]) == (case["expect"]["usd_nano"], case["expect"]["unpriced_atomic"])
    assert lines == [(ms(x["ts"]), x["delta_atomic"], x["usd_nano"]) for x in case["expect"]["lines"]]


@pytest.mark.parametrize("case", vectors("trend"))
def test_a_change_in_percent_needs_a_base_above_zero(case: dict[str, Any]) -> None:
    assert growth.change_percent(case["current"], case["previous"]) == case["expect_pct"]


@pytest.mark.parametrize("case", vectors("partial_week"))
def test_a_week_so_far_is_compared_to_the_same_point_last_week(case: dict[str, Any]) -> None:
    from orchestrator.periods import same_point_last_week, week_bounds, zone

    tz, now = zone(case["tz"]), datetime.fromisoformat(case["now"])
    series = Series([ms(p["ts"]) for p in case["cum"]], [p["value"] for p in case["cum"]], 10**12)
    week, _ = week_bounds(now, tz, case["week_start"])
    last_week, _ = week_bounds(same_point_last_week(now, tz), tz, case["week_start"])
    # These samples are days apart; the vector means them as exact points.
    current = growth.growth(series, millis(week), millis(now)).amount
    previous = growth.growth(series, millis(last_week), millis(same_point_last_week(now, tz))).amount
    full = growth.growth(series, millis(last_week), millis(week)).amount

    assert (current, previous, full) == (
        case["expect"]["current"],
        case["expect"]["previous_same_elapsed"],
        case["expect"]["previous_full"],
    )
    assert growth.change_percent(current, previous) == case["expect"]["trend_pct"]


amounts = st.one_of(st.none(), st.integers(0, 10**13))
prices_nano = st.one_of(st.none(), st.integers(10**9, 10**14))
mining_samples = st.lists(st.tuples(st.integers(0, 400 * HOUR), amounts, amounts, prices_nano), max_size=30)
counter_samples = st.lists(
    st.tuples(
        st.integers(0, 400 * HOUR),
        st.tuples(st.one_of(st.none(), st.integers(0, 10**9)), st.one_of(st.none(), st.integers(0, 10**9))),
        st.one_of(st.none(), st.floats(0, 1e6)),
        st.none(),
    ),
    max_size=30,
)
cuts = st.lists(st.integers(-HOUR, 410 * HOUR), min_size=2, max_size=12).map(sorted)


def total(series: Series, edges: list[int]) -> int:
    return sum(growth.growth(series, a, b).amount or 0 for a, b in pairwise(edges))


@given(mining_samples, cuts)
def test_mining_adds_up_over_any_partition_in_piconero_and_in_usd(
    samples: list[MiningSample], edges: list[int]
) -> None:
    mined = growth.mining(samples, 2 * HOUR)

    for series in (mined.atomic, mined.nano, mined.unpriced):
        assert total(series, edges) == (growth.growth(series, edges[0], edges[-1]).amount or 0)


@given(counter_samples, cuts)
def test_counters_add_up_over_any_partition_and_never_fall(samples: list[CounterSample], edges: list[int]) -> None:
    counted = growth.counters(samples, 2 * HOUR)

    for series in counted.series:
        assert total(series, edges) == (growth.growth(series, edges[0], edges[-1]).amount or 0)
        assert list(series.values) == sorted(series.values)


@given(mining_samples, st.randoms(use_true_random=False), st.lists(st.integers(0, 400 * HOUR), max_size=5))
def test_mining_is_indifferent_to_null_rows_duplicates_and_order(
    samples: list[MiningSample], random: Any, null_times: list[int]
) -> None:
    distinct = list({s[0]: s for s in samples}.values())
    noisy = distinct + distinct[:5] + [(t, None, None, None) for t in null_times]
    random.shuffle(noisy)

    assert growth.mining(noisy, 2 * HOUR) == growth.mining(distinct, 2 * HOUR)


@given(counter_samples, st.randoms(use_true_random=False), st.lists(st.integers(0, 400 * HOUR), max_size=5))
def test_counters_are_indifferent_to_null_rows_duplicates_and_order(
    samples: list[CounterSample], random: Any, null_times: list[int]
) -> None:
    distinct = list({s[0]: s for s in samples}.values())
    noisy = distinct + distinct[:5] + [(t, (None, None), None, None) for t in null_times]
    random.shuffle(noisy)

    assert growth.counters(noisy, 2 * HOUR) == growth.counters(distinct, 2 * HOUR)


@given(mining_samples, cuts)
def test_coverage_adds_up_and_never_exceeds_the_window(samples: list[MiningSample], edges: list[int]) -> None:
    series = growth.mining(samples, 2 * HOUR).atomic

    parts = [growth.covered_ms(series, a, b) for a, b in pairwise(edges)]

    assert all(0 <= part <= b - a for part, (a, b) in zip(parts, pairwise(edges), strict=True))
    assert sum(parts) == growth.covered_ms(series, edges[0], edges[-1])


def test_three_odd_readings_in_a_row_all_count_from_the_first() -> None:
    samples: list[MiningSample] = [
        (0, 1000, 0, None), (HOUR, 400, 0, None), (2 * HOUR, 410, 0, None), (3 * HOUR, 420, 0, None), (4 * HOUR, 450, 0, None)
    ]  # fmt: skip

    mined = growth.mining(samples, 2 * HOUR)

    assert mined.torn_ms == []
    assert growth.growth(mined.atomic, 0, HOUR) == Growth(-600, "exact")
    assert growth.growth(mined.atomic, 0, 4 * HOUR) == Growth(-550, "exact")


def test_two_odd_readings_do_not_count_yet() -> None:
    samples: list[MiningSample] = [(0, 1000, 0, None), (HOUR, 400, 0, None), (2 * HOUR, 410, 0, None)]

    mined = growth.mining(samples, 2 * HOUR)

    assert list(mined.torn_ms) == [HOUR, 2 * HOUR]
    assert growth.growth(mined.atomic, 0, 2 * HOUR) == Growth(None, "unknown")


def test_a_price_older_than_a_day_leaves_the_growth_unpriced() -> None:
    samples: list[MiningSample] = [
        (0, 0, 0, 10**11),
        (24 * HOUR, 10**12, 0, None),
        (24 * HOUR + 1, 3 * 10**12, 0, None),
    ]

    mined = growth.mining(samples, 48 * HOUR)

    assert growth.growth(mined.nano, 0, 25 * HOUR) == Growth(10**11, "exact")
    assert growth.growth(mined.unpriced, 0, 25 * HOUR) == Growth(2 * 10**12, "exact")


def test_a_counter_first_seen_after_others_begins_there() -> None:
    samples: list[CounterSample] = [
        (0, (5, None), None, None),
        (HOUR, (6, 100), None, None),
        (2 * HOUR, (7, 130), None, None),
    ]

    requests, tokens = growth.counters(samples, 2 * HOUR).series

    assert growth.growth(requests, 0, 2 * HOUR).amount == 2
    assert growth.growth(tokens, 0, 2 * HOUR).amount == 30
    assert growth.growth(tokens, 0, HOUR).amount is None


def test_a_counter_missing_at_the_restart_still_counts_from_zero_afterwards() -> None:
    samples: list[CounterSample] = [
        (0, (50, 900), None, None),
        (HOUR, (3, None), None, None),
        (2 * HOUR, (4, 1000), None, None),
    ]

    _, tokens = growth.counters(samples, 2 * HOUR).series

    assert growth.growth(tokens, 0, 2 * HOUR).amount == 1000
