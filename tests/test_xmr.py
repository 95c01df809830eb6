import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import loopback
import pytest
from clients import SharedClient, with_client
from hypothesis import given
from hypothesis import strategies as st
from loopback import Behaviour, Loopback, reply
from samples import Case, document, nasty, payload

from orchestrator.collectors.xmr import PoolStats, Price, collect_xmr, read_pool_stats, read_price
from orchestrator.ledger.snapshots import Snapshot

Collect = Callable[..., Snapshot]

NOW = datetime(2026, 11, 21, 2, 20, tzinfo=UTC)
WALLET = "4" + "8AbC" * 23 + "xy"
STATS = f"/api/miner/{WALLET}/stats"
PRICE = "/v3/simple/price"
UNKNOWN_WALLET = PoolStats(problems=("wallet unknown to the pool",))

FOREIGN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.decimals() | st.text(),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(
            st.sampled_from(["hash", "lastHash", "amtDue", "amtPaid", "totalHashes", "error", "monero", "usd"])
            | st.sampled_from(["last_updated_at", ""]),
            inner,
        )
    ),
    max_leaves=12,
)


@pytest.fixture
def server() -> Iterator[Loopback]:
    with Loopback() as started:
        started.put(STATS, payload("nodejspool-miner-stats.json"))
        started.put(PRICE, payload("coingecko-simple-price-last-updated.json"))
        yield started


@pytest.fixture(scope="module")
def shared() -> Iterator[SharedClient]:
    with SharedClient() as client:
        yield client


@pytest.fixture
def collect(server: Loopback, shared: SharedClient) -> Collect:
    def act(
        *, key: str | None = None, wallet: str = WALLET, deadline_s: float = 5.0, remembered: bool = False
    ) -> Snapshot:
        do = with_client if remembered else shared.do
        return do(
            lambda client: collect_xmr(
                client,
                wallet=wallet,
                pool_url=f"{server.url}/api/",
                price_url=f"{server.url}/v3",
                coingecko_key=key,
                deadline_s=deadline_s,
                now=NOW,
            )
        )

    return act


def pool_values(snapshot: Snapshot) -> tuple[object, ...]:
    return snapshot.balance_atomic, snapshot.paid_atomic, snapshot.hashrate, snapshot.last_hash_at


def test_a_pool_and_a_price_service_that_answer_make_a_row_without_an_error(server: Loopback, collect: Collect) -> None:
    snapshot = collect()

    assert snapshot == Snapshot(
        source="xmr-mining",
        collected_at=NOW,
        balance_atomic=45678901234,
        paid_atomic=1234567890123,
        hashrate=13842.0,
        xmr_price_usd=356.42,
        last_hash_at=datetime(2026, 11, 21, 2, 18, 40, tzinfo=UTC),
        raw_json=snapshot.raw_json,
    )
    assert json.loads(snapshot.raw_json or "") == {
        "pool": document("nodejspool-miner-stats.json"),
        "price": document("coingecko-simple-price-last-updated.json"),
    }


def test_the_price_is_asked_for_with_its_age_and_the_demo_key(server: Loopback, collect: Collect) -> None:
    collect(key="CG-demo")

    (asked,) = server.asked_for(PRICE)
    assert asked.target.endswith("?ids=monero&vs_currencies=usd&include_last_updated_at=true&precision=full")
    assert asked.headers["x-cg-demo-api-key"] == "CG-demo"


def test_without_a_demo_key_none_is_sent_and_the_pool_never_sees_it(server: Loopback, collect: Collect) -> None:
    collect()
    collect(key="CG-demo")

    assert "x-cg-demo-api-key" not in server.asked_for(PRICE)[0].headers
    assert [asked for asked in server.asked_for(STATS) if "x-cg-demo-api-key" in asked.headers] == []


def test_a_wallet_stays_one_part_of_the_path(server: Loopback, collect: Collect) -> None:
    collect(wallet="../config?x=1#y z")

    assert [asked.target for asked in server.asked if PRICE not in asked.target] == [
        "/api/miner/..%2Fconfig%3Fx%3D1%23y%20z/stats"
    ]


def test_a_pool_that_does_not_answer_is_null_and_the_price_is_kept(server: Loopback, collect: Collect) -> None:
    server.put(STATS, loopback.silence)

    snapshot = collect(deadline_s=0.2)

    assert pool_values(snapshot) == (None, None, None, None)
    assert snapshot.xmr_price_usd == 356.42
    assert snapshot.error == "pool: timeout"


def test_a_price_that_does_not_come_is_null_and_the_balance_is_kept(server: Loopback, collect: Collect) -> None:
    server.put(PRICE, payload("coingecko-429.json"))

    snapshot = collect()

    assert snapshot.balance_atomic == 45678901234
    assert snapshot.xmr_price_usd is None
    assert snapshot.error == "price: HTTP 429"


def test_when_nothing_answers_the_row_says_why_and_has_no_raw_answer(server: Loopback, collect: Collect) -> None:
    server.put("*", loopback.silence)
    server.put(STATS, loopback.silence)
    server.put(PRICE, loopback.drip_headers)
    started = time.monotonic()

    snapshot = collect(deadline_s=0.3)

    assert snapshot == Snapshot("xmr-mining", NOW, error="pool: timeout; price: timeout")
    assert time.monotonic() - started < 1.3, "the two are asked at once"


def test_urls_that_lead_nowhere_are_an_error_row() -> None:
    snapshot = with_client(
        lambda client: collect_xmr(client, wallet="", pool_url="", price_url="http://127.0.0.1:99999", now=NOW)
    )

    error = "pool: URL not usable; price: URL or header not usable"
    assert snapshot == Snapshot("xmr-mining", NOW, error=error)


def test_a_raw_answer_is_valid_json_on_one_line_within_16_kib_whatever_came(server: Loopback, collect: Collect) -> None:
    server.put(STATS, reply(json.dumps({"hash": 1, "amtDue": 1, "note": '"\u202e\n' * 5000}, ensure_ascii=False)))
    server.put(PRICE, reply("<html>" + '"é\\' * 50_000, 503))

    snapshot = collect()

    assert snapshot.raw_json is not None
    assert len(snapshot.raw_json) <= 16 * 1024
    assert snapshot.raw_json.isascii()
    assert snapshot.raw_json.isprintable()
    assert set(json.loads(snapshot.raw_json)) == {"pool", "price"}


def test_a_key_that_the_price_service_echoes_is_in_no_column(server: Loopback, collect: Collect) -> None:
    server.put(PRICE, reply({"status": {"error_message": "invalid key demo-key-1234"}}, 401))

    assert "demo-key-1234" not in repr(collect(key="demo-key-1234"))


@pytest.mark.parametrize("case", [*nasty("supportxmr"), *nasty("any")], ids=lambda case: case.name)
def test_the_pools_nasty_answers(server: Loopback, case: Case, collect: Collect) -> None:
    server.put(STATS, case.behaviour)

    snapshot = collect(deadline_s=case.deadline_s, remembered="retry_after" in case.expect)

    assert snapshot.xmr_price_usd == 356.42
    check_expected(snapshot, case, {"amt_due": "balance_atomic", "amt_paid": "paid_atomic", "hashrate": "hashrate"})
    if "last_hash" in case.expect:
        assert snapshot.last_hash_at is None
    if not case.expect["ok"] or "usd" in case.expect:
        assert pool_values(snapshot) == (None, None, None, None)
    if "reason" in case.expect:
        assert snapshot.error == "pool: wallet unknown to the pool"
    check_reasons(snapshot)


@pytest.mark.parametrize("case", [*nasty("coingecko"), *nasty("any")], ids=lambda case: case.name)
def test_the_price_services_nasty_answers(server: Loopback, case: Case, collect: Collect) -> None:
    server.put(PRICE, case.behaviour)

    snapshot = collect(deadline_s=case.deadline_s, remembered="retry_after" in case.expect)

    assert snapshot.balance_atomic == 45678901234
    check_expected(snapshot, case, {"usd": "xmr_price_usd"})
    if not case.expect["ok"]:
        assert snapshot.xmr_price_usd is None
    check_reasons(snapshot)


def check_expected(snapshot: Snapshot, case: Case, columns: dict[str, str]) -> None:
    found = {name: getattr(snapshot, column) for name, column in columns.items() if name in case.expect}
    assert found == {name: case.expect[name] for name in found}


def check_reasons(snapshot: Snapshot) -> None:
    """Every NULL has its reason, and without a NULL there is none."""
    error = snapshot.error or ""
    assert ("pool: " in error) == (None in pool_values(snapshot))
    assert ("price: " in error) == (snapshot.xmr_price_usd is None)
    assert "\n" not in error


MINUTE_AGO = int((NOW - timedelta(minutes=1)).timestamp())
SEEN_AT = datetime.fromtimestamp(MINUTE_AGO, UTC)
GOOD = {"hash": 5, "lastHash": MINUTE_AGO, "amtDue": 7, "amtPaid": 3}


@pytest.mark.parametrize(
    ("name", "due", "paid", "hashrate", "problems"),
    [
        ("supportxmr-miner-stats.json", 556595600361, 26897458215139, 3570.0, ()),
        ("supportxmr-miner-stats-idle.json", 27931073311, 519018917949, 0.0, ()),
        ("nodejspool-miner-stats.json", 45678901234, 1234567890123, 13842.0, ()),
        ("nodejspool-miner-stats-invalidshares-null.json", 23171671600, 0, 90.0, ()),
        ("nodejspool-miner-stats-no-share-counters.json", 0, 0, 0.0, ()),
        ("moneroocean-miner-stats.json", 45678901234, 1234567890123, 13842.33, ()),
        ("moneroocean-miner-stats-stats-cache-miss.json", 0, 0, None, ("hash not usable", "lastHash not usable")),
        ("nodejspool-miner-stats-unknown-wallet.json", None, None, None, ("wallet unknown to the pool",)),
        ("moneroocean-miner-stats-unknown-wallet.json", None, None, None, ("wallet unknown to the pool",)),
        ("moneroocean-miner-stats-db-error.json", None, None, None, ("no miner's stats in the answer",)),
        ("nodejspool-miner-payments-db-error.json", None, None, None, ("answered with an error",)),
        ("nodejspool-miner-payments.json", None, None, None, ("no miner's stats in the answer",)),
        ("nodejspool-miner-payments-unknown.json", None, None, None, ("no miner's stats in the answer",)),
        ("nodejspool-miner-identifiers-unknown.json", None, None, None, ("no miner's stats in the answer",)),
        ("nodejspool-miner-allworkers.json", None, None, None, ("no miner's stats in the answer",)),
        ("nodejspool-miner-chart-hashrate.json", None, None, None, ("no miner's stats in the answer",)),
        ("nodejspool-pool-stats.json", None, None, None, ("no miner's stats in the answer",)),
        ("nodejspool-config.json", None, None, None, ("no miner's stats in the answer",)),
        ("moneroocean-config.json", None, None, None, ("no miner's stats in the answer",)),
    ],
)
def test_what_pools_really_answer(
    name: str, due: int | None, paid: int | None, hashrate: float | None, problems: tuple[str, ...]
) -> None:
    stats = read_pool_stats(document(name), NOW)

    assert (stats.balance_atomic, stats.paid_atomic, stats.hashrate, stats.problems) == (due, paid, hashrate, problems)


def test_the_networks_own_hash_is_no_hashrate() -> None:
    assert read_pool_stats(document("nodejspool-network-stats.json"), NOW) == UNKNOWN_WALLET


def test_a_payout_is_read_step_by_step_as_the_pool_shows_it() -> None:
    steps = [read_pool_stats(step["stats"], NOW) for step in document("nodejspool-payout-sequence.json")]

    sums = [(step.balance_atomic or 0) + (step.paid_atomic or 0) for step in steps]
    assert sums == [step["sum_due_plus_paid"] for step in document("nodejspool-payout-sequence.json")]


@pytest.mark.parametrize("name", ["nodejspool-404.txt", "nodejspool-miner-chart-hashrate-unknown.txt"])
def test_what_pools_answer_besides_json_is_a_failure(server: Loopback, name: str, collect: Collect) -> None:
    server.put(STATS, payload(name))

    snapshot = collect()

    assert pool_values(snapshot) == (None, None, None, None)
    assert snapshot.error in {"pool: HTTP 404", "pool: empty answer"}


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, PoolStats(7, 3, 5.0, SEEN_AT)),
        ({"amtDue": 0, "amtPaid": 0}, PoolStats(0, 0, 5.0, SEEN_AT)),
        ({"amtDue": 0, "amtPaid": 0, "hash": 0}, PoolStats(0, 0, 0.0, SEEN_AT)),
        ({"amtDue": 0, "amtPaid": 0, "hash": 0, "lastHash": None}, PoolStats(0, 0, 0.0, None, ("lastHash missing",))),
        ({"amtDue": 0, "amtPaid": 0, "hash": None}, PoolStats(0, 0, None, SEEN_AT, ("hash missing",))),
        ({"hash": None, "lastHash": None}, PoolStats(7, 3, None, None, ("hash missing", "lastHash missing"))),
        ({"hash": "13.84 kH/s"}, PoolStats(7, 3, None, SEEN_AT, ("hash not usable",))),
        ({"hash": -1}, PoolStats(7, 3, None, SEEN_AT, ("hash not usable",))),
        ({"hash": 10**13}, PoolStats(7, 3, None, SEEN_AT, ("hash not usable",))),
        ({"hash": "13842"}, PoolStats(7, 3, 13842.0, SEEN_AT)),
        ({"amtDue": -1}, PoolStats(None, 3, 5.0, SEEN_AT, ("amtDue not usable",))),
        ({"amtPaid": 2**63}, PoolStats(7, None, 5.0, SEEN_AT, ("amtPaid not usable",))),
        ({"amtPaid": 2**63 - 1}, PoolStats(7, 2**63 - 1, 5.0, SEEN_AT)),
        ({"amtPaid": None}, PoolStats(7, None, 5.0, SEEN_AT, ("amtPaid missing",))),
        ({"lastHash": 0}, PoolStats(7, 3, 5.0, None, ("lastHash not usable",))),
        ({"lastHash": MINUTE_AGO * 1000}, PoolStats(7, 3, 5.0, None, ("lastHash not usable",))),
        ({"lastHash": str(MINUTE_AGO)}, PoolStats(7, 3, 5.0, SEEN_AT)),
        ({"lastHash": MINUTE_AGO + 660}, PoolStats(7, 3, 5.0, SEEN_AT + timedelta(minutes=11))),
        ({"lastHash": MINUTE_AGO + 2 * 3600}, PoolStats(7, 3, 5.0, None, ("lastHash not usable",))),
        ({"lastHash": "2026-11-21"}, PoolStats(7, 3, 5.0, None, ("lastHash not usable",))),
        ({"error": None}, PoolStats(7, 3, 5.0, SEEN_AT)),
        ({"error": "database is down", "amtDue": 0}, PoolStats(problems=("answered with an error",))),
        ({"amtDue": 0, "amtPaid": 0, "hash": None, "lastHash": None}, UNKNOWN_WALLET),
        ({"amtDue": "0", "amtPaid": "0.000", "hash": None, "lastHash": None}, UNKNOWN_WALLET),
        ({"amtDue": 0, "amtPaid": 0, "hash": False, "lastHash": False, "totalHashes": False}, UNKNOWN_WALLET),
        ({"amtDue": 0, "amtPaid": 0, "hash": False, "lastHash": 0, "totalHashes": 0}, UNKNOWN_WALLET),
        ({"amtDue": 0, "amtPaid": None, "hash": None, "lastHash": None}, UNKNOWN_WALLET),
    ],
)
def test_a_pools_numbers_are_read_one_by_one(changed: dict[str, Any], expected: PoolStats) -> None:
    assert read_pool_stats({**GOOD, **changed}, NOW) == expected


@pytest.mark.parametrize(
    ("name", "usd"),
    [
        ("coingecko-simple-price.json", 356.42),
        ("coingecko-simple-price-last-updated.json", 356.42),
        ("coingecko-simple-price-full.json", None),
        ("coingecko-simple-price-exponent.json", None),
        ("coingecko-simple-price-null.json", None),
        ("coingecko-simple-price-unknown-currency.json", None),
        ("coingecko-simple-price-unknown-id.json", None),
        ("coingecko-429.json", None),
        ("coingecko-429-cloudflare.txt", None),
        ("coingecko-401-missing-key.json", None),
        ("coingecko-400-wrong-key-root.json", None),
    ],
)
def test_what_coingecko_really_answers(server: Loopback, name: str, usd: float | None, collect: Collect) -> None:
    server.put(PRICE, payload(name))

    snapshot = collect()

    assert snapshot.xmr_price_usd == usd
    check_reasons(snapshot)


@pytest.mark.parametrize(
    ("quote", "expected"),
    [
        ({"usd": 1}, Price(1.0)),
        ({"usd": 100_000}, Price(100_000.0)),
        ({"usd": 0.999}, Price(problem="not between $1 and $100,000")),
        ({"usd": 100_000.01}, Price(problem="not between $1 and $100,000")),
        ({"usd": True}, Price(problem="not a number")),
        ({"usd": "about 300"}, Price(problem="not a number")),
        ({"usd": [356.42]}, Price(problem="not a number")),
        ({"eur": 300}, Price(problem="no monero.usd in the answer")),
        ({"usd": 300, "last_updated_at": None}, Price(300.0)),
        ({"usd": 300, "last_updated_at": MINUTE_AGO}, Price(300.0)),
        ({"usd": 300, "last_updated_at": str(MINUTE_AGO)}, Price(300.0)),
        ({"usd": 300, "last_updated_at": int(NOW.timestamp()) - 24 * 3600}, Price(300.0)),
        ({"usd": 300, "last_updated_at": int(NOW.timestamp()) - 24 * 3600 - 1}, Price(problem="older than 24 hours")),
        ({"usd": 300, "last_updated_at": 1}, Price(problem="older than 24 hours")),
        ({"usd": 300, "last_updated_at": MINUTE_AGO + 660}, Price(300.0)),
        ({"usd": 300, "last_updated_at": MINUTE_AGO + 86_400}, Price(problem="its last_updated_at is not usable")),
        ({"usd": 300, "last_updated_at": MINUTE_AGO * 1000}, Price(problem="its last_updated_at is not usable")),
        ({"usd": 300, "last_updated_at": -1}, Price(problem="its last_updated_at is not usable")),
        ({"usd": 300, "last_updated_at": "yesterday"}, Price(problem="its last_updated_at is not usable")),
        ({"usd": 300, "last_updated_at": 10**300}, Price(problem="its last_updated_at is not usable")),
    ],
)
def test_a_price_is_believed_within_a_band_and_for_a_day(quote: dict[str, Any], expected: Price) -> None:
    assert read_price({"monero": quote}, NOW) == expected


@given(FOREIGN)
def test_no_answer_is_an_exception(answer: object) -> None:
    stats, price = read_pool_stats(answer, NOW), read_price(answer, NOW)

    values = (stats.balance_atomic, stats.paid_atomic, stats.hashrate, stats.last_hash_at)
    assert (None in values) == bool(stats.problems)
    assert (price.usd is None) == (price.problem is not None)


BEHAVIOURS: list[Behaviour] = [
    loopback.hang_up,
    loopback.short_body,
    loopback.endless_body,
    loopback.reset,
    loopback.raw(b""),
    reply("[]"),
    reply(r'{"hash": "\ud83d\ude00", "amtDue": {"amtDue": 1}, "monero": {"usd": {"usd": 1}}}'),
    reply({"monero": None, "amtDue": [], "hash": {}}, 299),
]


@pytest.mark.parametrize("behaviour", BEHAVIOURS)
def test_whatever_both_services_do_there_is_a_row(server: Loopback, behaviour: Behaviour, collect: Collect) -> None:
    server.put(STATS, behaviour)
    server.put(PRICE, behaviour)

    snapshot = collect(deadline_s=0.5)

    assert (*pool_values(snapshot), snapshot.xmr_price_usd) == (None,) * 5
    check_reasons(snapshot)
