"""What a value may be, and how one that cannot be right is named."""

from collections.abc import Callable
from pathlib import Path

import pytest
import tomli_w
from config_world import WALLET, World
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.config import load
from orchestrator.config.layers import all_keys
from orchestrator.errors import ConfigError

INTEGRATED = "4" + "B" * 105


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.mark.parametrize(
    "line",
    [
        "orchestrator.scan_interval_seconds = 0",
        "orchestrator.scan_interval_seconds = 0.5",
        "orchestrator.scan_interval_seconds = 60.0",
        "orchestrator.scan_interval_seconds = true",
        "orchestrator.scan_interval_seconds = []",
        "orchestrator.scan_interval_seconds = 1979-05-27",
        "orchestrator.scan_interval_seconds = 9223372036854775808",
        f"orchestrator.scan_interval_seconds = 0x{'f' * 5000}",
        "orchestrator.timezone = ''",
        "orchestrator.timezone = 'Europe'",
        "orchestrator.timezone = '../../etc/passwd'",
        "orchestrator.timezone = '/etc/localtime'",
        "orchestrator.timezone = 1",
        "orchestrator.week_starts_on = 'tuesday'",
        "orchestrator.week_starts_on = 7",
        "orchestrator.database = 5",
        "orchestrator.database = 'a\\u0000b'".replace("'", '"'),
        "revenue.enabled = 'true'",
        "revenue.enabled = 1",
        "revenue.retention_days = 1.5",
        "revenue.retention_days = -1",
        "revenue.collection_interval_scans = 0",
        "revenue.mlx_requests_key = ''",
        "revenue.mlx_requests_key = 'a..b'",
        "revenue = 5",
        "revenue = []",
        "credits.low_threshold_usd = nan",
        "credits.low_threshold_usd = inf",
        "credits.low_threshold_usd = -0.01",
        "credits.low_threshold_usd = '5'",
        "credits.low_threshold_usd = 'none'",
        "credits.low_threshold_usd = true",
        "credits.low_threshold_usd = 1e-999999",
        "credits.low_threshold_usd = 1e999999999999999999999",
        "credits.low_threshold_usd = 1e11",
        "credits.check_interval_seconds = 0",
        "budget.daily_limit_usd = 'some'",
        "budget.daily_limit_usd = -1",
        "budget.thresholds = [50]",
        "budget.thresholds = 50",
        "budget.thresholds = [{ at = 50 }]",
        "budget.thresholds = [{ at = 50, severity = 'info' }, { at = 50, severity = 'warning' }]",
        "budget.thresholds = [{ at = 50, severity = 'info', action = 'explode' }]",
        "budget.scopes = [{ daily_limit_usd = 1 }]",
        "budget.scopes = { tenant_id = '*' }",
        "alerts.debounce_minutes = -1",
        "alerts.discord.operator_user_id = 80351110224678912",
        "alerts.discord.operator_user_id = 'me'",
        "alerts.slack = 'on'",
        "alerts.slack.channel = 'ops'",
        "alerts.email.smtp_port = 0",
        "alerts.email.smtp_port = 65536",
        "alerts.email.smtp_host = 'https://smtp.example.org'",
        "alerts.email.security = 'ssl'",
        "alerts.email.sender = 'me'",
        'alerts.email.username = "a\\nb"',
        "alerts.email.recipients = 'ops@example.org'",
        "actions.scale_down = 'rm -rf /'",
        "actions.scale_down = ['']",
        "actions.scale_down = [1]",
        "prices.m = 1",
        "prices.m = {}",
        "prices.m.unit = 'images'",
        "prices.m.usd_per_unit = 1",
        "prices.m = { unit = 'tokens', usd_per_unit = 1 }",
        "prices.m.input_per_million = '1'",
        "prices.m.input = 1",
        "prices.'' = { input_per_million = 1 }",
        "web.port = 65536",
        "web.host = 'a b'",
        "timezone = 'UTC'",
    ],
)
def test_a_value_that_cannot_be_right_is_one_problem_with_its_line(world: World, line: str) -> None:
    problem = world.problem(f"# a comment\n{line}\n")

    assert problem.startswith("etc/config.toml:2: ")
    assert len(problem) < 300


@pytest.mark.parametrize(
    ("wallet", "is_right"),
    [
        ("", True),
        (WALLET, True),
        ("8" + "z" * 94, True),
        (INTEGRATED, True),
        (f"{WALLET}.rig-1_a", True),
        (f"{WALLET}.{'0' * 64}.rig1", True),
        (WALLET + "A", False),
        (WALLET[:-1], False),
        ("5" + WALLET[1:], False),
        ("8" + INTEGRATED[1:], False),
        (WALLET[:-1] + "0", False),
        (WALLET[:-1] + "l", False),
        (WALLET + "\n", False),
        (f" {WALLET}", False),
        (f"{WALLET}.", False),
        (f"{WALLET}./../x", False),
        (f"{WALLET}.a.b.c", False),
        (f"{WALLET}+1000", False),
        ("4" + "Ä" * 94, False),
    ],
)
def test_a_wallet_is_right_when_a_pool_would_take_it(world: World, wallet: str, is_right: bool) -> None:
    toml = tomli_w.dumps({"revenue": {"xmr_wallet": wallet}})

    if is_right:
        assert world.load(toml).revenue.xmr_wallet == wallet
    else:
        problem = world.problem(toml)
        assert "is not a Monero address" in problem
        assert WALLET[:20] not in problem


@pytest.mark.parametrize(
    ("url", "is_right"),
    [
        ("http://localhost:8100", True),
        ("http://127.0.0.1:8100/", True),
        ("http://[::1]:8100/v1", True),
        ("http://mlx_server:8100", True),
        ("https://pool.example.org/api", True),
        ("HTTPS://pool.example.org", True),
        ("", False),
        ("localhost:8100", False),
        ("pool.example.org/api", False),
        ("ftp://pool.example.org", False),
        ("file:///etc/passwd", False),
        ("http://", False),
        ("http:///api", False),
        ("http://:8100", False),
        ("http://[::1", False),
        ("http://a:0", False),
        ("http://a:65536", False),
        ("http://a:b", False),
        ("http://a b", False),
        ("http://a/b\nHost: c", False),
        ("http://a/\tb", False),
        ("http://a\x00", False),
        ("http://münchen.example", False),
        ("http://a/?key=1", False),
        ("http://a/#x", False),
        ("https://user:hunter2@pool.example.org", False),
        ("https://" + "a" * 600, False),
    ],
)
def test_a_url_is_right_when_it_is_http_with_a_host_and_nothing_hidden_in_it(
    world: World, url: str, is_right: bool
) -> None:
    toml = tomli_w.dumps({"revenue": {"pool_url": url}})

    if is_right:
        assert world.load(toml).revenue.pool_url == url
    else:
        assert "hunter2" not in world.problem(toml)


@pytest.mark.parametrize(
    ("address", "is_right"),
    [
        ("ops@example.org", True),
        ("first.last+tag@sub.example.org", True),
        ("root@localhost", True),
        ("ops", False),
        ("@example.org", False),
        ("ops@", False),
        ("a@b@c.org", False),
        ("a..b@example.org", False),
        (".a@example.org", False),
        ("a@-example.org", False),
        ("a@example..org", False),
        ("Ops <ops@example.org>", False),
        ("a@example.org,b@example.org", False),
        ("a@example.org\r\nBcc: b@example.org", False),
        ("a b@example.org", False),
        ("ä@example.org", False),
        ("a" * 65 + "@example.org", False),
        ("a@" + "b." * 130 + "org", False),
    ],
)
def test_a_recipient_is_one_plain_address(world: World, address: str, is_right: bool) -> None:
    toml = tomli_w.dumps({"alerts": {"email": {"recipients": [address]}}})

    if is_right:
        assert world.load(toml).alerts.email.recipients == (address,)
    else:
        assert "is not an e-mail address" in world.problem(toml)


ANYTHING = st.recursive(
    st.booleans() | st.integers() | st.decimals() | st.text(st.characters(codec="utf-8")) | st.dates(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["at", "severity", "model", "x"]), inner)
    ),
    max_leaves=6,
)


@given(key=st.sampled_from(all_keys()), value=ANYTHING)
def test_whatever_stands_under_a_key_it_is_read_or_refused_in_one_line_each(
    tmp_path_factory: pytest.TempPathFactory, key: str, value: object
) -> None:
    table: dict[str, object] = {}
    *above, name = key.split(".")
    inner = table
    for part in above:
        inner = inner.setdefault(part, {})  # type: ignore[assignment]
    inner[name] = value
    folder = tmp_path_factory.mktemp("any")
    path = folder / "config.toml"
    path.write_bytes(tomli_w.dumps(table).encode())

    problems = problems_of(
        lambda: load(config_path=path, environ={"ORCHESTRATOR_DB": str(folder / "x.db")}, cwd=folder)
    )

    assert all(len(problem.splitlines()) == 1 and problem.isprintable() for problem in problems)
    assert all(problem.startswith(f"{path}:") for problem in problems)


@given(key=st.sampled_from(all_keys()), text=st.text())
def test_whatever_the_environment_says_it_is_read_or_refused_in_one_line_each(key: str, text: str) -> None:
    name = f"ORCHESTRATOR_{key.upper().replace('.', '__')}"

    problems = problems_of(lambda: load(environ={name: text, "ORCHESTRATOR_DB": "/nowhere/x.db"}, cwd=Path("/nowhere")))

    assert all(len(problem.splitlines()) == 1 and problem.startswith(f"environment {name}: ") for problem in problems)


def problems_of(act: Callable[[], object]) -> tuple[str, ...]:
    try:
        act()
    except ConfigError as error:
        return error.problems
    return ()
