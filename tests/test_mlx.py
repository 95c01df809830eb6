import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import loopback
import pytest
from clients import SharedClient, with_client
from hypothesis import given
from hypothesis import strategies as st
from loopback import Behaviour, Loopback, reply
from samples import Case, document, nasty, payload

from orchestrator.collectors.mlx import Health, collect_mlx, read_health
from orchestrator.ledger.snapshots import Snapshot

NOW = datetime(2026, 11, 21, 2, 20, tzinfo=UTC)
REQUESTS, TOKENS = "requests_served", "total_tokens_generated"

Collect = Callable[..., Snapshot]

FOREIGN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.decimals() | st.text(),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(st.sampled_from(["a", "b", "status", "ok", "healthy", "uptime", "uptime_s"]), inner)
    ),
    max_leaves=12,
)


@pytest.fixture
def server() -> Iterator[Loopback]:
    with Loopback() as started:
        started.put("/health", payload("mlx-health.json"))
        yield started


@pytest.fixture(scope="module")
def shared() -> Iterator[SharedClient]:
    with SharedClient() as client:
        yield client


@pytest.fixture
def collect(server: Loopback, shared: SharedClient) -> Collect:
    def act(*, deadline_s: float = 5.0, remembered: bool = False, tokens_key: str = TOKENS) -> Snapshot:
        do = with_client if remembered else shared.do
        return do(
            lambda client: collect_mlx(
                client, mlx_url=f"{server.url}/", tokens_key=tokens_key, deadline_s=deadline_s, now=NOW
            )
        )

    return act


def read(answer: object) -> Health:
    return read_health(answer, requests_key=REQUESTS, tokens_key=TOKENS)


def test_a_server_that_counts_makes_a_row_without_an_error(collect: Collect) -> None:
    snapshot = collect()

    assert snapshot == Snapshot(
        source="mlx-api",
        collected_at=NOW,
        requests_served=1234,
        tokens_generated=567890,
        uptime_seconds=86400.0,
        healthy=True,
        raw_json=snapshot.raw_json,
    )
    assert json.loads(snapshot.raw_json or "") == document("mlx-health.json")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mlx-health.json", Health(1234, 567890, 86400.0, healthy=True)),
        ("mlx-health-restarted.json", Health(3, 901, 12.0, healthy=True)),
        ("mlx-lm-health.json", Health(healthy=True, problems=("no counters in /health",))),
        ("vllm-mlx-health.json", Health(healthy=True, problems=("no counters in /health",))),
        ("mlx-openai-server-health.json", Health(healthy=True, problems=("no counters in /health",))),
        ("jevmlx-health.json", Health(41, healthy=True, problems=("total_tokens_generated missing",))),
        ("mlx-lm-chat-usage.json", Health(problems=("no counters in /health",))),
        ("ollama-generate.json", Health(problems=("no counters in /health",))),
        ("mlx-lm-health-503.json", Health(problems=("HTTP 503",))),
        ("mlx-openai-server-health-503.json", Health(problems=("HTTP 503",))),
        ("vllm-metrics.txt", Health(problems=("not JSON",))),
        ("vllm-mlx-metrics.txt", Health(problems=("not JSON",))),
    ],
)
def test_what_servers_really_answer(server: Loopback, collect: Collect, name: str, expected: Health) -> None:
    server.put("/health", payload(name))

    snapshot = collect()

    assert snapshot.requests_served == expected.requests_served
    assert snapshot.tokens_generated == expected.tokens_generated
    assert snapshot.uptime_seconds == expected.uptime_seconds
    assert snapshot.healthy == expected.healthy
    assert snapshot.error == (", ".join(expected.problems) or None)


def test_another_servers_counters_are_read_at_the_keys_it_uses() -> None:
    status = document("vllm-mlx-status.json")

    health = read_health(status, requests_key="total_requests_processed", tokens_key="total_completion_tokens")

    assert health == Health(1234, 567890, 86400.1, healthy=True)


@pytest.mark.parametrize("case", [*nasty("mlx"), *nasty("any")], ids=lambda case: case.name)
def test_the_servers_nasty_answers(server: Loopback, collect: Collect, case: Case) -> None:
    server.put("/health", case.behaviour)

    snapshot = collect(deadline_s=case.deadline_s, remembered="retry_after" in case.expect)

    columns = {REQUESTS: snapshot.requests_served, TOKENS: snapshot.tokens_generated, "healthy": snapshot.healthy}
    assert {name: value for name, value in columns.items() if name in case.expect} == {
        name: value for name, value in case.expect.items() if name in columns
    }
    if not case.expect["ok"] or "usd" in case.expect:
        assert (snapshot.requests_served, snapshot.tokens_generated) == (None, None)
    assert (snapshot.error is not None) == (None in (snapshot.requests_served, snapshot.tokens_generated))


def test_a_server_that_is_not_there_is_an_error_row() -> None:
    url = f"http://127.0.0.1:{loopback.closed_port()}"

    snapshot = with_client(lambda client: collect_mlx(client, mlx_url=url, now=NOW))

    assert snapshot == Snapshot("mlx-api", NOW, error="connection refused")


@pytest.mark.parametrize("behaviour", [loopback.silence, loopback.drip, loopback.drip_headers, loopback.endless_hints])
def test_a_server_that_takes_its_time_is_left_at_the_deadline(
    server: Loopback, collect: Collect, behaviour: Behaviour
) -> None:
    server.put("/health", behaviour)
    started = time.monotonic()

    snapshot = collect(deadline_s=0.2)

    assert snapshot.error == "timeout"
    assert time.monotonic() - started < 1.2


def test_counters_beside_an_error_status_do_not_count(server: Loopback, collect: Collect) -> None:
    server.put("/health", reply({"status": "ok", REQUESTS: 5, TOKENS: 6}, 503))

    snapshot = collect()

    assert (snapshot.requests_served, snapshot.tokens_generated, snapshot.error) == (None, None, "HTTP 503")
    assert json.loads(snapshot.raw_json or "") == {"status": "ok", REQUESTS: 5, TOKENS: 6}


@pytest.mark.parametrize(
    ("path", "tokens", "problem"),
    [
        ("stats.tokens", 7, None),
        ("stats.deep.er", 8, None),
        ("stats", None, "stats not usable"),
        ("stats.tokens.more", None, "stats.tokens.more missing"),
        ("stats.none", None, "stats.none missing"),
        ("list.0", None, "list.0 missing"),
        ("stats..tokens", None, "stats..tokens missing"),
        ("", None, " missing"),
    ],
)
def test_keys_are_dotted_paths(
    server: Loopback, collect: Collect, path: str, tokens: int | None, problem: str | None
) -> None:
    server.put("/health", reply({REQUESTS: 1, "stats": {"tokens": 7, "deep": {"er": 8}}, "list": [9]}))

    snapshot = collect(tokens_key=path)

    assert (snapshot.requests_served, snapshot.tokens_generated, snapshot.error) == (1, tokens, problem)


@pytest.mark.parametrize(
    ("told", "healthy"),
    [
        ({"status": "ok"}, True),
        ({"status": " Healthy "}, True),
        ({"status": "READY"}, True),
        ({"status": "degraded"}, False),
        ({"status": "starting"}, False),
        ({"status": ""}, False),
        ({"status": True}, True),
        ({"status": 200}, None),
        ({"status": None}, None),
        ({"status": {"ok": True}}, None),
        ({"ok": True}, True),
        ({"ok": False}, False),
        ({"healthy": False}, False),
        ({"ok": True, "status": "degraded"}, False),
        ({"ok": "yes"}, None),
        ({}, None),
    ],
)
def test_a_server_is_healthy_when_it_says_so_and_nothing_against_it(told: object, healthy: bool | None) -> None:
    assert isinstance(told, dict)
    assert read({REQUESTS: 1, TOKENS: 2, **told}).healthy is healthy


@pytest.mark.parametrize(
    ("told", "seconds", "problems"),
    [
        ({"uptime_seconds": 12}, 12.0, ()),
        ({"uptime_s": 86400.5}, 86400.5, ()),
        ({"uptime": "77"}, 77.0, ()),
        ({"uptime_seconds": None, "uptime": 5}, 5.0, ()),
        ({}, None, ()),
        ({"uptime": -1}, None, ("uptime not usable",)),
        ({"uptime": True}, None, ("uptime not usable",)),
        ({"uptime": "3 days"}, None, ("uptime not usable",)),
    ],
)
def test_uptime_has_three_names_and_may_be_missing(
    told: dict[str, object], seconds: float | None, problems: tuple[str, ...]
) -> None:
    health = read({REQUESTS: 1, TOKENS: 2, **told})

    assert (health.uptime_seconds, health.problems) == (seconds, problems)


@pytest.mark.parametrize(
    ("requests", "tokens", "problems"),
    [
        (0, 0, ()),
        ("1234", "5", ()),
        (1234.0, 5.0, ()),
        (1234, 5.5, (f"{TOKENS} not usable",)),
        (1234, -1, (f"{TOKENS} not usable",)),
        (2**63, 5, (f"{REQUESTS} not usable",)),
        (True, False, (f"{REQUESTS} not usable", f"{TOKENS} not usable")),
        (None, 5, (f"{REQUESTS} missing",)),
        ([5], {"n": 5}, (f"{REQUESTS} not usable", f"{TOKENS} not usable")),
        (None, None, ("no counters in /health",)),
    ],
)
def test_a_counter_is_a_whole_number_or_has_a_reason(requests: object, tokens: object, problems: tuple[str]) -> None:
    assert read({REQUESTS: requests, TOKENS: tokens}).problems == problems


@given(FOREIGN, st.sampled_from(["a", "a.b", "status", "", "a.b.a"]))
def test_no_answer_is_an_exception(answer: object, path: str) -> None:
    health = read_health(answer, requests_key=path, tokens_key="b.a")

    assert (None in (health.requests_served, health.tokens_generated)) <= bool(health.problems)
