"""A day of five-minute scans with a bad pool, a bad price service and a bad MLX server, all real ones, on a clock of the test's own.

The day is the one on which Berlin's clocks go back, 25 hours long. What `daily_growth` says of it is held against growth.py on
the whole list of readings, and against a plain sum over what the servers knew to be true.
"""

import random
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from clocks import FakeClock
from loopback import Asked, Behaviour, Loopback, hang_up, raw, reply
from processes import WALLET, environment, rows

from orchestrator import app, growth, scan
from orchestrator.daemon import Daemon
from orchestrator.periods import day_bounds, instant_from_text, millis

BERLIN = ZoneInfo("Europe/Berlin")
DAY = date(2026, 10, 25)
START = datetime(2026, 10, 24, 20, 2, 30, tzinfo=UTC)
HOURS = 29
GAP_MS = 7_200_000
NONSENSE: list[Behaviour] = [hang_up, reply("", 500), reply("{}"), raw(b"HTTP/1.1 200 OK\r\n\r\n{"), reply([1])]


@dataclass(frozen=True)
class Moment:
    """What is true at one scan, and what each service makes of it; `at` is when the pool was asked."""

    due: int
    paid: int
    price_nano: int
    requests: int
    tokens: int
    uptime: int
    starts: int
    pool: str = "good"
    price: str = "good"
    mlx: str = "good"
    at: datetime | None = None


def a_bad_day(chance: random.Random, scans: int) -> list[Moment]:
    """Return scans with payouts (some of them torn), restarts, and a tenth of all answers missing."""
    due, paid, requests, tokens, uptime, starts = 80_000_000_000, 5 * 10**12, 1000, 400_000, 86_400, 1
    moments: list[Moment] = []
    for _ in range(scans):
        # The pool credits a block now and then; a payout sends what is due, less a fee.
        due += chance.choice([0, 0, chance.randrange(1, 4_000_000_000)])
        torn = ""
        if due > 100_000_000_000:
            gross, fee = due - due % 1_000_000, 400_000_000
            torn = chance.choice(["", "due first", "paid first"])
            due, paid = due - gross, paid + gross - fee
        if chance.random() < 0.03 and uptime > 600:
            requests, tokens, uptime, starts = 0, 0, chance.randrange(60), starts + 1
        else:
            uptime += 300
        served = chance.choice([0, chance.randrange(40)])
        requests, tokens = requests + served, tokens + served * chance.randrange(900)
        pool, price, mlx = chance.choices(["good", "bad"], [9, 1], k=3)
        moment = Moment(
            due, paid, chance.randrange(300_000_000_000, 330_000_000_000), requests, tokens, uptime, starts,
            pool, price, mlx,
        )  # fmt: skip
        if torn:
            # The two numbers come from two queries: for one reading only one of them has moved.
            half = (due, moments[-1].paid) if torn == "due first" else (moments[-1].due + gross, paid)
            moment = replace(moment, due=half[0], paid=half[1], pool="torn")
        moments.append(moment)
    return moments


class World:
    """The three services: each answers its n-th question with the n-th moment, and the pool notes when that was."""

    def __init__(self, moments: list[Moment], clock: Callable[[], FakeClock], chance: random.Random) -> None:
        self.moments = moments
        self.asked = {"pool": 0, "price": 0, "mlx": 0}
        self._clock = clock
        self._chance = chance

    def service(self, name: str) -> Behaviour:
        def answer(connection: socket.socket, asked: Asked, stopping: threading.Event) -> None:
            number = self.asked[name]
            self.asked[name] += 1
            if name == "pool":
                self.moments[number] = replace(self.moments[number], at=self._clock().now())
            self._said(name, self.moments[number])(connection, asked, stopping)

        return answer

    def _said(self, name: str, moment: Moment) -> Behaviour:
        if getattr(moment, name) == "bad":
            return self._chance.choice(NONSENSE)
        answers: Mapping[str, object] = {
            "pool": {"hash": 3570, "lastHash": 1_700_000_000, "amtDue": moment.due, "amtPaid": moment.paid},
            "price": f'{{"monero": {{"usd": {moment.price_nano / 1e9!r}}}}}',
            "mlx": {
                "requests_served": moment.requests,
                "total_tokens_generated": moment.tokens,
                "uptime_seconds": moment.uptime,
            },
        }
        return reply(answers[name])


def lived_through(
    tmp_path: Path, moments: list[Moment], clocks: list[FakeClock], chance: random.Random, *, minutes: int = 5
) -> World:
    """Let one daemon after the other watch the world, each on its clock, with so many minutes between collections."""
    turn = iter(clocks)
    clock = next(turn)
    world = World(moments, lambda: clock, chance)
    with Loopback() as server:
        server.put(f"/pool/miner/{WALLET}/stats", world.service("pool"))
        server.put("/price/simple/price", world.service("price"))
        server.put("/health", world.service("mlx"))
        environ = environment(
            tmp_path,
            server,
            ORCHESTRATOR_ORCHESTRATOR__TIMEZONE="Europe/Berlin",
            ORCHESTRATOR_ORCHESTRATOR__SCAN_INTERVAL_SECONDS=60 * minutes,
            ORCHESTRATOR_REVENUE__COLLECTION_INTERVAL_SCANS=1,
        )

        async def watch() -> None:
            await Daemon(app.load(None, None, environ, tmp_path), {}, clock).run()

        while True:
            scan.run(watch())
            if (after := next(turn, None)) is None:
                break
            clock = after
    assert len(set(world.asked.values())) == 1
    world.moments = [moment for moment in world.moments if moment.at is not None]
    return world


def stored_day(tmp_path: Path, source: str) -> tuple[object, ...]:
    """Return what daily_growth says of the day."""
    (found,) = rows(
        tmp_path / "orchestrator.db",
        f"""
        SELECT earned_atomic, earned_nano, unpriced_atomic, requests, tokens, covered_seconds, flag
        FROM daily_growth
        WHERE day = '{DAY}' AND source = '{source}'
        """,
    )
    return found


def computed_day(tmp_path: Path, source: str) -> tuple[object, ...]:
    """Return what growth.py says of the day, given every row that was stored."""
    found = rows(
        tmp_path / "orchestrator.db",
        f"""
        SELECT collected_at, balance_atomic, paid_atomic, xmr_price_usd, requests_served, tokens_generated, uptime_seconds
        FROM revenue_snapshots
        WHERE source = '{source}'
        ORDER BY id
        """,
    )
    start, end = map(millis, day_bounds(DAY, BERLIN))

    def between(series: growth.Series) -> int | None:
        return growth.growth(series, start, end).amount

    samples = [(millis(at), *values) for text, *values in found if (at := instant_from_text(str(text)))]
    if source == "xmr-mining":
        mined = growth.mining(
            [(at, due, paid, None if usd is None else round(usd * 10**9)) for at, due, paid, usd, *_ in samples],  # type: ignore[operator, misc]
            GAP_MS,
        )
        amounts = [between(mined.atomic), between(mined.nano), between(mined.unpriced), None, None]
        main = mined.atomic
    else:
        served = growth.counters(
            [(at, (requests, tokens), uptime, None) for at, _, _, _, requests, tokens, uptime in samples],  # type: ignore[misc]
            GAP_MS,
        )
        amounts = [None, None, None, between(served.series[0]), between(served.series[1])]
        main = served.series[0]
    flag = growth.growth(main, start, end).flag
    return (*amounts, growth.covered_ms(main, start, end) // 1000, flag)


def true_day(moments: list[Moment]) -> tuple[int, int, int, int]:
    """Return piconero, nano-USD, requests and tokens of the day, by a plain sum from one good answer to the next."""
    start, end = day_bounds(DAY, BERLIN)
    piconero = nano = requests = tokens = 0
    prices = [(moment.at, moment.price_nano) for moment in moments if moment.price == "good"]
    for before, after in pairwise([moment for moment in moments if moment.pool == "good"]):
        assert before.at
        assert after.at
        if start < after.at <= end:
            grown = after.due + after.paid - before.due - before.paid
            price = [nano for at, nano in prices if at and at <= after.at][-1]
            piconero += grown
            nano += round(Fraction(grown * price, 10**12))
    for before, after in pairwise([moment for moment in moments if moment.mlx == "good"]):
        assert after.at
        if start < after.at <= end:
            restarted = after.starts != before.starts
            requests += after.requests - (0 if restarted else before.requests)
            tokens += after.tokens - (0 if restarted else before.tokens)
    return piconero, nano, requests, tokens


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_a_day_of_faults_ends_with_what_was_really_earned_and_served(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    # The daemon is started anew twice; the wall clock is put right by a few minutes, forwards and back, and the machine sleeps.
    clocks = [
        FakeClock(START, 7 * 3600, jumps={3 * 3600: timedelta(minutes=17)}),
        FakeClock(START + timedelta(hours=7.5), 10 * 3600, jumps={5000: timedelta(minutes=-3)}, suspends={9000: 5400}),
        FakeClock(START + timedelta(hours=18), (HOURS - 18) * 3600),
    ]

    world = lived_through(tmp_path, a_bad_day(chance, 12 * HOURS), clocks, chance)

    mined, served = stored_day(tmp_path, "xmr-mining"), stored_day(tmp_path, "mlx-api")
    piconero, nano, requests, tokens = true_day(world.moments)
    assert mined[:3] == (piconero, nano, 0)
    assert served[3:5] == (requests, tokens)
    assert mined[6] == served[6] == "exact"
    assert mined == computed_day(tmp_path, "xmr-mining")
    assert served == computed_day(tmp_path, "mlx-api")
    assert {moment.pool for moment in world.moments} == {"good", "bad", "torn"}
    assert world.moments[-1].starts > 3


@pytest.mark.slow
@pytest.mark.parametrize("jump", [timedelta(hours=-3), timedelta(hours=4), timedelta(days=-1), timedelta(days=400)])
def test_a_day_on_a_clock_that_leaps_is_still_what_growth_makes_of_all_rows(tmp_path: Path, jump: timedelta) -> None:
    chance = random.Random(jump.total_seconds())
    # A leap of more than a year is put right within the hour.
    jumps: dict[float, timedelta] = {11 * 3600: jump}
    lasting = jump
    if jump > timedelta(days=366):
        jumps[12 * 3600], lasting = -jump, timedelta()
    clock = FakeClock(START, (HOURS + 3) * 3600 - lasting.total_seconds(), jumps=jumps)

    world = lived_through(tmp_path, a_bad_day(chance, 3 * (HOURS + 60)), [clock], chance, minutes=20)

    stored = rows(tmp_path / "orchestrator.db", "SELECT count(*) FROM revenue_snapshots")
    assert stored == [(2 * len(world.moments),)]
    assert stored_day(tmp_path, "xmr-mining") == computed_day(tmp_path, "xmr-mining")
    assert stored_day(tmp_path, "mlx-api") == computed_day(tmp_path, "mlx-api")
