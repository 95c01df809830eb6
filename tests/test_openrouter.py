import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import loopback
import pytest
from clients import SharedClient, with_client
from hypothesis import given
from hypothesis import strategies as st
from loopback import Loopback, reply
from samples import PAYLOADS, Case, nasty, payload

from orchestrator.collectors.fetch import Answer
from orchestrator.collectors.openrouter import Account, collect_openrouter, read_account, read_key
from orchestrator.ledger.credits import CreditSnapshot
from orchestrator.money import usd_from_nano

NOW = datetime(2026, 11, 21, 2, 20, tzinfo=UTC)
API_KEY = "sk-or-v1-" + "0123456789abcdef" * 4
MANAGEMENT_KEY = "sk-or-v1-" + "fedcba9876543210" * 4

Collect = Callable[..., CreditSnapshot]

FOREIGN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.decimals() | st.text(),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(
            st.sampled_from(["data", "error", "code", "limit", "limit_remaining", "usage", "usage_daily"])
            | st.sampled_from(
                [
                    "limit_reset",
                    "effective_budget",
                    "remaining_usd",
                    "limit_usd",
                    "scope",
                    "total_credits",
                    "total_usage",
                ]
            ),
            inner,
        )
    ),
    max_leaves=12,
)


@pytest.fixture
def server() -> Iterator[Loopback]:
    with Loopback() as started:
        started.put("/api/v1/key", payload("openrouter-key.json"))
        started.put("/api/v1/credits", payload("openrouter-credits.json"))
        yield started


@pytest.fixture(scope="module")
def shared() -> Iterator[SharedClient]:
    with SharedClient() as client:
        yield client


@pytest.fixture
def collect(server: Loopback, shared: SharedClient) -> Collect:
    def act(
        *, management_key: str | None = None, key: str = API_KEY, deadline_s: float = 5.0, remembered: bool = False
    ) -> CreditSnapshot:
        do = with_client if remembered else shared.do
        return do(
            lambda client: collect_openrouter(
                client,
                openrouter_url=f"{server.url}/api/v1/",
                key=key,
                management_key=management_key,
                deadline_s=deadline_s,
                now=NOW,
            )
        )

    return act


def usd(nano: int | None) -> Decimal | None:
    return None if nano is None else usd_from_nano(nano)


def test_a_key_with_a_limit_is_a_row_without_an_error(collect: Collect) -> None:
    snapshot = collect()

    assert snapshot == CreditSnapshot(
        collected_at=NOW,
        remaining_nano=74_500_000_000,
        remaining_source="key limit",
        limit_nano=100_000_000_000,
        limit_remaining_nano=74_500_000_000,
        usage_nano=25_500_000_000,
        usage_daily_nano=25_500_000_000,
        limit_reset="monthly",
        raw_json=snapshot.raw_json,
    )
    assert json.loads(snapshot.raw_json or "")["key"]["data"]["limit_remaining"] == 74.5


def test_credits_are_asked_for_with_the_management_key_and_never_without_one(
    server: Loopback, collect: Collect
) -> None:
    collect()
    assert server.asked_for("/api/v1/credits") == []

    collect(management_key=MANAGEMENT_KEY)
    (asked,) = server.asked_for("/api/v1/credits")
    assert asked.headers["authorization"] == f"Bearer {MANAGEMENT_KEY}"
    assert {asked.headers["authorization"] for asked in server.asked_for("/api/v1/key")} == {f"Bearer {API_KEY}"}


@pytest.mark.parametrize(
    ("name", "remaining", "source", "failure", "error"),
    [
        ("openrouter-key.json", "74.5", "key limit", None, None),
        ("openrouter-key-2026-11-budgets.json", "4.2", "budget", None, None),
        ("openrouter-key-daily-limit.json", "29.9999982", "key limit", None, None),
        ("openrouter-key-exhausted.json", "0", "key limit", None, None),
        ("openrouter-key-negative-remaining.json", "-0.185117", "key limit", None, None),
        ("openrouter-key-unlimited.json", None, None, None, "uncapped key, no management key"),
        ("openrouter-key-free-tier.json", None, None, None, "uncapped key, no management key"),
        ("openrouter-key-legacy-2024.json", None, None, None, "uncapped key, no management key"),
        ("openrouter-401.json", None, None, "rejected", "key: HTTP 401"),
        ("openrouter-402.json", None, None, "out_of_money", "key: HTTP 402"),
        ("openrouter-402-limit-source.json", None, None, "out_of_money", "key: HTTP 402"),
        ("openrouter-403.json", None, None, "out_of_money", "key: HTTP 403"),
        ("openrouter-429.json", None, None, "unreachable", "key: HTTP 429"),
        ("openrouter-429-provider.json", None, None, "unreachable", "key: HTTP 429"),
        ("openrouter-500.json", None, None, "unreachable", "key: HTTP 500"),
        ("openrouter-524.txt", None, None, "unreachable", "key: HTTP 524"),
        ("openrouter-200-with-error.json", None, None, "unreachable", "key: answered with an error"),
        ("openrouter-activity.json", None, None, "unreachable", "key: no key's data in the answer"),
        ("openrouter-models-pricing.json", None, None, "unreachable", "key: no key's data in the answer"),
        ("openrouter-chat-usage.json", None, None, "unreachable", "key: no key's data in the answer"),
        ("openrouter-credits.json", None, None, "unreachable", "key: no key's data in the answer"),
        ("openrouter-generation.json", None, None, "unreachable", "key: no key's data in the answer"),
    ],
)
def test_what_openrouter_really_answers_about_a_key(
    server: Loopback,
    collect: Collect,
    name: str,
    remaining: str | None,
    source: str | None,
    failure: str | None,
    error: str | None,
) -> None:
    server.put("/api/v1/key", payload(name))

    snapshot = collect(remembered="429" in name)

    assert usd(snapshot.remaining_nano) == (None if remaining is None else Decimal(remaining))
    assert (snapshot.remaining_source, snapshot.failure, snapshot.error) == (source, failure, error)


@pytest.mark.parametrize(
    ("name", "funds", "limit"),
    [
        ("openrouter-key.json", None, "100"),
        ("openrouter-key-2026-11-budgets.json", None, "50"),
        ("openrouter-key-daily-limit.json", None, "30"),
        ("openrouter-key-exhausted.json", None, "20"),
        ("openrouter-key-negative-remaining.json", None, "20"),
        ("openrouter-key-unlimited.json", None, None),
        ("openrouter-key-legacy-2024.json", None, None),
        ("openrouter-402.json", None, None),
        # What is left of the account is left of what was ever bought.
        ("openrouter-key.json", "openrouter-credits-overdrawn.json", "10"),
        ("openrouter-key.json", "openrouter-credits.json", "100"),
        ("openrouter-key-unlimited.json", "openrouter-credits.json", "100.5"),
        ("openrouter-key-unlimited.json", "openrouter-credits-200-zeros-normal-key.json", None),
    ],
)
def test_the_limit_is_that_of_the_number_that_may_be_spent(
    server: Loopback, collect: Collect, name: str, funds: str | None, limit: str | None
) -> None:
    server.put("/api/v1/key", payload(name))
    if funds is not None:
        server.put("/api/v1/credits", payload(funds))

    snapshot = collect(management_key=None if funds is None else MANAGEMENT_KEY)

    assert usd(snapshot.limit_nano) == (None if limit is None else Decimal(limit))


@pytest.mark.parametrize(
    ("limit", "nano"),
    [
        (10, 10_000_000_000), ("10.5", 10_500_000_000), (2, 2_000_000_000), (Decimal("1.99"), None), (0, None), (-1, None),
        (True, None), ("$10", None), (10**10, None), ([], None), (None, None),
    ],
)  # fmt: skip
def test_a_limit_that_cannot_be_what_so_much_is_left_of_is_unknown(limit: object, nano: int | None) -> None:
    data = {
        "limit": limit,
        "limit_remaining": 2,
        "usage": 8,
        "effective_budget": {"remaining_usd": 2, "limit_usd": limit},
    }

    key = read_key(Answer({"data": data}, status=200))

    assert (key.limit_nano, key.budget_limit_nano, key.problems) == (nano, nano, ())


def test_a_limit_of_nothing_of_which_nothing_is_left_is_known() -> None:
    assert read_key(Answer({"data": {"limit": 0, "limit_remaining": 0, "usage": 0}}, status=200)).limit_nano == 0


def test_every_sample_of_openrouter_is_a_case_here() -> None:
    cases = Path(__file__).read_text("utf-8")

    samples = sorted(one.name for one in PAYLOADS.iterdir() if one.name.startswith("openrouter-"))

    assert [name for name in samples if f'"{name}"' not in cases] == []


def test_what_was_spent_today_is_kept_to_the_nano(server: Loopback, collect: Collect) -> None:
    server.put("/api/v1/key", payload("openrouter-key-daily-limit.json"))

    snapshot = collect()

    assert (snapshot.usage_nano, snapshot.usage_daily_nano, snapshot.limit_reset) == (3_175_613_960, 1_800, "daily")


@pytest.mark.parametrize(
    ("key", "funds", "remaining", "source", "account", "error"),
    [
        ("openrouter-key.json", "openrouter-credits.json", "74.5", "key limit", "74.75", None),
        ("openrouter-key.json", "openrouter-credits-overdrawn.json", "-0.4231", "account", "-0.4231", None),
        ("openrouter-key-2026-11-budgets.json", "openrouter-credits.json", "4.2", "budget", "74.75", None),
        ("openrouter-key-unlimited.json", "openrouter-credits.json", "74.75", "account", "74.75", None),
        ("openrouter-key-free-tier.json", "openrouter-credits-200-zeros-normal-key.json", "0", "account", "0", None),
        (
            "openrouter-key.json",
            "openrouter-credits-200-zeros-normal-key.json",
            "74.5",
            "key limit",
            None,
            "credits: zeros, which an ordinary key gets on a funded account too",
        ),
        (
            "openrouter-key-unlimited.json",
            "openrouter-credits-200-zeros-normal-key.json",
            None,
            None,
            None,
            "uncapped key; credits: zeros, which an ordinary key gets on a funded account too",
        ),
        ("openrouter-key-unlimited.json", "openrouter-403.json", None, None, None, "uncapped key; credits: HTTP 403"),
        ("openrouter-key.json", "openrouter-403.json", "74.5", "key limit", None, "credits: HTTP 403"),
        ("openrouter-500.json", "openrouter-credits.json", "74.75", "account", "74.75", "key: HTTP 500"),
        ("openrouter-402.json", "openrouter-credits-overdrawn.json", "-0.4231", "account", "-0.4231", "key: HTTP 402"),
        ("openrouter-401.json", "openrouter-credits.json", None, None, "74.75", "key: HTTP 401"),
        (
            "openrouter-500.json",
            "openrouter-credits-200-zeros-normal-key.json",
            None,
            None,
            None,
            "key: HTTP 500; credits: zeros, which an ordinary key gets on a funded account too",
        ),
    ],
)
def test_with_a_management_key_the_least_of_what_is_known_can_be_spent(
    server: Loopback,
    collect: Collect,
    key: str,
    funds: str,
    remaining: str | None,
    source: str | None,
    account: str | None,
    error: str | None,
) -> None:
    server.put("/api/v1/key", payload(key))
    server.put("/api/v1/credits", payload(funds))

    snapshot = collect(management_key=MANAGEMENT_KEY)

    assert usd(snapshot.remaining_nano) == (None if remaining is None else Decimal(remaining))
    assert usd(snapshot.account_nano) == (None if account is None else Decimal(account))
    assert (snapshot.remaining_source, snapshot.error) == (source, error)


@pytest.mark.parametrize("case", [*nasty("openrouter"), *nasty("any")], ids=lambda case: case.name)
def test_the_nasty_answers(server: Loopback, collect: Collect, case: Case) -> None:
    server.put("/api/v1/key", case.behaviour)

    snapshot = collect(deadline_s=case.deadline_s, remembered="retry_after" in case.expect)

    columns = {"limit_remaining": usd(snapshot.limit_remaining_nano), "usage": usd(snapshot.usage_nano)}
    for name in columns.keys() & case.expect.keys():
        expected = case.expect[name]
        assert columns[name] == (None if expected is None else Decimal(str(expected)))
    if not case.expect["ok"] or "usd" in case.expect:
        assert (snapshot.remaining_nano, snapshot.usage_nano) == (None, None)
        assert snapshot.failure is not None
    else:
        assert snapshot.failure is None
    assert (snapshot.error is None) == (None not in (snapshot.remaining_nano, snapshot.usage_nano))


@pytest.mark.parametrize("status", [200, 401, 500])
def test_a_key_that_is_echoed_is_in_no_column(server: Loopback, collect: Collect, status: int) -> None:
    echo = {"error": {"code": 401, "message": f"Invalid key {API_KEY} or {MANAGEMENT_KEY}"}, "k": "my-own-key"}
    server.put("/api/v1/key", reply(echo, status))
    server.put("/api/v1/credits", reply(echo, status))

    snapshot = collect(management_key=MANAGEMENT_KEY, key="my-own-key")

    assert not [secret for secret in (API_KEY, MANAGEMENT_KEY, "my-own-key") if secret in repr(snapshot)]


@pytest.mark.parametrize(
    ("code", "failure"),
    [(401, "rejected"), (402, "out_of_money"), (403, "out_of_money"), (500, "unreachable"), ("401", "unreachable")],
)
def test_an_error_with_status_200_counts_by_its_code(code: object, failure: str) -> None:
    assert read_key(Answer({"error": {"code": code}}, status=200)).failure == failure


@pytest.mark.parametrize(
    ("changed", "limit_remaining", "uncapped", "problems"),
    [
        ({}, 2_000_000_000, False, ()),
        ({"limit_remaining": "0.5"}, 500_000_000, False, ()),
        ({"limit_remaining": 0}, 0, False, ()),
        ({"limit_remaining": -3}, -3_000_000_000, False, ()),
        ({"limit_remaining": Decimal("1e-999999999")}, 0, False, ()),
        ({"limit_remaining": False}, None, False, ("limit_remaining not usable",)),
        ({"limit_remaining": "$2"}, None, False, ("limit_remaining not usable",)),
        ({"limit_remaining": 10**10}, None, False, ("limit_remaining not usable",)),
        ({"limit_remaining": None}, None, False, ("limit_remaining missing",)),
        ({"limit": None, "limit_remaining": None}, None, True, ()),
        ({"limit": None}, 2_000_000_000, False, ()),
        ({"usage": None}, 2_000_000_000, False, ("usage missing",)),
        ({"usage": -1}, 2_000_000_000, False, ("usage not usable",)),
        ({"usage_daily": None}, 2_000_000_000, False, ()),
        ({"usage_daily": Decimal("1e308")}, 2_000_000_000, False, ("usage_daily not usable",)),
        ({"effective_budget": None}, 2_000_000_000, False, ()),
        ({"effective_budget": []}, 2_000_000_000, False, ()),
        ({"effective_budget": {"remaining_usd": True}}, 2_000_000_000, False, ("effective_budget not usable",)),
        ({"limit_reset": ["daily"]}, 2_000_000_000, False, ()),
        ({"limit_reset": "\u202ehourly"}, 2_000_000_000, False, ()),
    ],
)
def test_a_keys_numbers_are_read_one_by_one(
    changed: dict[str, Any], limit_remaining: int | None, uncapped: bool, problems: tuple[str, ...]
) -> None:
    data = {"limit": 10, "limit_remaining": 2, "usage": 8, "usage_daily": 1, **changed}

    key = read_key(Answer({"data": data}, status=200))

    assert (key.limit_remaining_nano, key.uncapped, key.problems) == (limit_remaining, uncapped, problems)
    assert (key.failure, key.limit_reset) == (None, None)


@pytest.mark.parametrize(
    ("data", "usage_nano", "remaining_nano", "bought_nano"),
    [
        ({"total_credits": 10, "total_usage": "2.5"}, 1, 7_500_000_000, 10_000_000_000),
        ({"total_credits": 0, "total_usage": 0}, 0, 0, 0),
        ({"total_credits": 0, "total_usage": 0}, 1, None, None),
        ({"total_credits": 0, "total_usage": 0}, None, None, None),
        ({"total_credits": 0, "total_usage": 1}, 1, -1_000_000_000, 0),
        ({"total_credits": True, "total_usage": 0}, 0, None, None),
        ({"total_credits": 10, "total_usage": None}, 0, None, None),
        ({"total_credits": 10, "total_usage": -1}, 0, None, None),
        ({"total_credits": 10**12, "total_usage": 1}, 0, None, None),
        ({"total_credits": 10}, 0, None, None),
        ([], 0, None, None),
        (None, 0, None, None),
    ],
)
def test_an_account_is_what_was_bought_less_what_was_used(
    data: object, usage_nano: int | None, remaining_nano: int | None, bought_nano: int | None
) -> None:
    account = read_account(Answer({"data": data}, status=200), usage_nano)

    assert (account.remaining_nano, account.bought_nano) == (remaining_nano, bought_nano)
    assert (account.problem is None) == (remaining_nano is not None)


def test_when_nobody_answers_the_row_says_why(server: Loopback, collect: Collect) -> None:
    server.put("/api/v1/key", loopback.silence)
    server.put("/api/v1/credits", loopback.hang_up)

    alone, both = collect(deadline_s=0.2), collect(deadline_s=0.2, management_key=MANAGEMENT_KEY)

    assert alone == CreditSnapshot(NOW, failure="unreachable", error="key: timeout")
    assert (both.failure, both.remaining_nano, both.raw_json) == ("unreachable", None, None)


@pytest.mark.parametrize("key", ["ключ-ключ", "two\nlines", "\ud800", ""])
def test_a_key_that_cannot_be_sent_is_an_error_row(server: Loopback, collect: Collect, key: str) -> None:
    server.put("/api/v1/key", payload("openrouter-401.json"))

    snapshot = collect(key=key)

    assert snapshot.remaining_nano is None
    assert snapshot.error in {"key: URL or header not usable", "key: HTTP 401"}


@given(FOREIGN, FOREIGN)
def test_no_answer_is_an_exception(key: object, funds: object) -> None:
    told = read_key(Answer(key, status=200))
    account = read_account(Answer(funds, status=200), told.usage_nano)

    assert account == Account(account.remaining_nano, account.problem, account.bought_nano)
    assert (told.failure is None) <= (told.usage_nano is not None or "usage" in " ".join(told.problems))
    for nano in (
        told.limit_remaining_nano,
        told.budget_remaining_nano,
        told.usage_nano,
        account.remaining_nano,
        account.bought_nano,
        told.limit_nano,
        told.budget_limit_nano,
    ):
        assert nano is None or abs(nano) < 2**63
