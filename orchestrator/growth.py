"""What a balance or a counter grew by between two moments. Pure: times are integer milliseconds, money is integer.

Everything here is a cumulative series C and one rule: growth of (start, end] is C(end) − C(start), so windows add up.
C(t) is the value of the last counted sample at or before t. Inside a gap longer than `max_gap_ms` it is interpolated
(integer floor) and the answer is an estimate; before the first sample it is the first sample's value. Samples that are not
good (a NULL where a value is due) change nothing; of several samples at one time the last given counts.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from itertools import accumulate, pairwise
from typing import Literal

from orchestrator.money import xmr_value_nano

# (at_ms, balance in piconero, paid in piconero, nano-USD for one XMR); a reading is good when balance and paid are known.
MiningSample = tuple[int, int | None, int | None, int | None]
# (at_ms, counters of one process, seconds it is up, what names the process); good when the first counter is known.
CounterSample = tuple[int, tuple[int | None, ...], float | None, object]

Flag = Literal["exact", "estimated", "unknown"]

MAX_PRICE_AGE = timedelta(hours=24)
# A payout shows in two numbers that the pool reads separately: so many readings in a row must agree before an odd one counts.
READINGS_THAT_CONVINCE = 3


@dataclass(frozen=True)
class Series:
    """A cumulative series: strictly increasing times, the value at each, and the longest gap that is not interpolated."""

    at_ms: Sequence[int]
    values: Sequence[int]
    max_gap_ms: int

    @cached_property
    def covered_ms(self) -> Sequence[int]:
        """Return, for each sample, how much time up to it lies in gaps that are not too long."""
        steps = (b - a if b - a <= self.max_gap_ms else 0 for a, b in pairwise(self.at_ms))
        return list(accumulate(steps, initial=0))


@dataclass(frozen=True)
class Mining:
    """What was mined: piconero, what of it is worth in nano-USD, and the piconero that no price is known for."""

    atomic: Series
    nano: Series
    unpriced: Series
    torn_ms: Sequence[int]


@dataclass(frozen=True)
class Counters:
    """The growth of a process's counters across its restarts, one series each, in the order given."""

    series: tuple[Series, ...]
    restarts: int


@dataclass(frozen=True)
class Growth:
    """What a series grew by; `amount` is None, and the flag `unknown`, when nothing was observed in the window."""

    amount: int | None
    flag: Flag


def max_gap_ms(interval_seconds: float) -> int:
    """Return the longest gap between samples that counts as observed: 2.5 collection intervals, at least two hours."""
    return max(int(2500 * interval_seconds), 7_200_000)


def value_at(series: Series, t_ms: int) -> tuple[int | None, Literal["exact", "estimated", "before_first", "no_data"]]:
    """Return C(t) and how it is known; None when there is no sample at all."""
    at, values = series.at_ms, series.values
    if not at:
        return None, "no_data"
    i = bisect_right(at, t_ms) - 1
    if i < 0:
        return values[0], "before_first"
    if i + 1 == len(at) or at[i] == t_ms or at[i + 1] - at[i] <= series.max_gap_ms:
        return values[i], "exact"
    return values[i] + (values[i + 1] - values[i]) * (t_ms - at[i]) // (at[i + 1] - at[i]), "estimated"


def growth(series: Series, start_ms: int, end_ms: int) -> Growth:
    """Return what a series grew by in (start, end]: unknown unless the time between two samples lies partly inside."""
    at = series.at_ms
    closing = max(bisect_right(at, start_ms), 1)
    if start_ms >= end_ms or closing >= len(at) or at[closing - 1] >= end_ms:
        return Growth(None, "unknown")
    before, how_before = value_at(series, start_ms)
    after, how_after = value_at(series, end_ms)
    if before is None or after is None:
        return Growth(None, "unknown")
    return Growth(after - before, "estimated" if "estimated" in (how_before, how_after) else "exact")


def covered_ms(series: Series, start_ms: int, end_ms: int) -> int:
    """Return how much of (start, end] lies between samples that are no further apart than the longest gap."""
    return max(_covered_until(series, end_ms) - _covered_until(series, start_ms), 0)


def mining(
    samples: Iterable[MiningSample], max_gap_ms: int, max_price_age_ms: int = MAX_PRICE_AGE // timedelta(milliseconds=1)
) -> Mining:
    """Return the earned series, net of payout fees: balance + paid, signed, each interval at the price known at its end.

    A reading that breaks the payout identity against the last one that counted is torn and does not count, until three
    good ones in a row break it: then all three count from the first.
    """
    ordered = sorted(samples, key=_time)
    counted, torn = _counted(ordered)
    at = [s[0] for s in counted]
    earned = [balance + paid for _, balance, paid in counted]
    prices = [(s[0], s[3]) for s in ordered if s[3] is not None]
    nano, unpriced = priced(list(zip(at, earned, strict=True)), prices, max_price_age_ms)
    return Mining(Series(at, earned, max_gap_ms), Series(at, nano, max_gap_ms), Series(at, unpriced, max_gap_ms), torn)


def priced(
    cumulative: Sequence[tuple[int, int]], prices: Sequence[tuple[int, int | None]], max_price_age_ms: int
) -> tuple[list[int], list[int]]:
    """Return the cumulative nano-USD and the cumulative unpriced piconero of a cumulative series of piconero.

    Both begin at 0. Each interval is worth its own growth times the last price known at its end, half to even; where that
    price is older than allowed, or there is none, the interval stays piconero. Both arguments are in order of time.
    """
    known = [(at, price) for at, price in prices if price is not None]
    times = [at for at, _ in known]
    nano, unpriced = [0] * bool(cumulative), [0] * bool(cumulative)
    for (_, before), (at, after) in pairwise(cumulative):
        worth, rest = 0, after - before
        if rest:
            i = bisect_right(times, at) - 1
            if i >= 0 and at - times[i] <= max_price_age_ms:
                worth, rest = xmr_value_nano(rest, known[i][1]), 0
        nano.append(nano[-1] + worth)
        unpriced.append(unpriced[-1] + rest)
    return nano, unpriced


def counters(samples: Iterable[CounterSample], max_gap_ms: int) -> Counters:
    """Return the growth series of a process's counters.

    The process has restarted when any of its counters or its uptime fell, or its name changed; after a restart each
    counter's growth is its new value. A counter that is None in a sample has no point there.
    """
    good = {s[0]: s for s in sorted(samples, key=_time) if s[1] and s[1][0] is not None}
    width = max((len(s[1]) for s in good.values()), default=0)
    at: list[list[int]] = [[] for _ in range(width)]
    totals: list[list[int]] = [[] for _ in range(width)]
    last: list[int | None] = [None] * width
    last_uptime: float | None = None
    last_epoch: object = None
    restarts = 0
    for at_ms, values, uptime, epoch in good.values():
        if (
            any(new is not None and old is not None and new < old for new, old in zip(values, last, strict=False))
            or (uptime is not None and last_uptime is not None and uptime < last_uptime)
            or (epoch is not None and last_epoch is not None and epoch != last_epoch)
        ):
            restarts += 1
            last = [None if old is None else 0 for old in last]
            last_uptime = last_epoch = None
        last_uptime = last_uptime if uptime is None else uptime
        last_epoch = last_epoch if epoch is None else epoch
        for k, value in enumerate(values):
            if value is None:
                continue
            base = last[k]
            at[k].append(at_ms)
            totals[k].append(totals[k][-1] + value - base if base is not None else 0)
            last[k] = value
    return Counters(tuple(Series(at[k], totals[k], max_gap_ms) for k in range(width)), restarts)


def change_percent(current: int | None, previous: int | None) -> float | None:
    """Return the change in percent; 0 → 0 is 0, otherwise None when a side is unknown or the base is not above zero."""
    if current is None or previous is None:
        return None
    if previous <= 0:
        return 0.0 if current == previous == 0 else None
    return 100 * (current - previous) / previous


def _covered_until(series: Series, t_ms: int) -> int:
    at = series.at_ms
    i = bisect_right(at, t_ms) - 1
    if i < 0:
        return 0
    inside = i + 1 < len(at) and at[i + 1] - at[i] <= series.max_gap_ms
    return series.covered_ms[i] + (t_ms - at[i] if inside else 0)


def _time(sample: MiningSample | CounterSample) -> int:
    return sample[0]


def _counted(ordered: Iterable[MiningSample]) -> tuple[list[tuple[int, int, int]], list[int]]:
    """Return the readings that count as (time, balance, paid), and the times of the torn ones."""
    good = {at: (balance, paid) for at, balance, paid, _ in ordered if balance is not None and paid is not None}
    counted: list[tuple[int, int, int]] = []
    torn: list[int] = []
    odd: list[tuple[int, int, int]] = []
    for at, (balance, paid) in good.items():
        if not counted or _keeps_identity(counted[-1], balance, paid):
            torn.extend(reading[0] for reading in odd)
            odd.clear()
            counted.append((at, balance, paid))
            continue
        odd.append((at, balance, paid))
        if len(odd) == READINGS_THAT_CONVINCE:
            counted.extend(odd)
            odd.clear()
    torn.extend(reading[0] for reading in odd)
    return counted, torn


def _keeps_identity(last: tuple[int, int, int], balance: int, paid: int) -> bool:
    """Return whether a reading can follow the last one: nothing paid and no less due, or something paid and less due."""
    _, balance_before, paid_before = last
    return balance >= balance_before if paid == paid_before else paid > paid_before and balance < balance_before
