"""Where settings come from, which source wins, and that every problem is told at once."""

from decimal import Decimal
from pathlib import Path

import pytest
from config_world import WALLET, World, value_of

from orchestrator.config import collection_interval_seconds, sources
from orchestrator.config.credentials import Secrets
from orchestrator.config.sections import PriceOverride, Scope, Threshold


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_nothing_at_all_is_a_configuration(world: World) -> None:
    config = world.load()

    assert config.orchestrator.scan_interval_seconds == 60
    assert config.orchestrator.timezone == "UTC"
    assert config.orchestrator.week_starts_on == "sunday"
    assert config.revenue.retention_days == 90
    assert config.revenue.mlx_requests_key == "requests_served"
    assert config.retention.alerts_days == 365
    assert config.credits.low_threshold_usd == 5
    assert config.budget.daily_limit_usd == 10
    assert config.budget.monthly_limit_usd is None
    assert config.budget.scopes == ()
    assert config.budget.thresholds[-1] == Threshold(150, "emergency", "emergency_stop")
    assert config.alerts.email.smtp_port == 587
    assert config.prices == {}
    assert config.web.port == 8787
    assert config.path is None
    assert config.secrets == Secrets()
    assert config.warnings == ()
    assert set(config.origins) == {"orchestrator.database"}


def test_a_whole_file_is_read_into_its_records(world: World) -> None:
    config = world.load(f"""
        [orchestrator]
        scan_interval_seconds = 1
        timezone = "Europe/Berlin"
        week_starts_on = "monday"
        [revenue]
        collection_interval_scans = 7
        retention_days = 0
        xmr_wallet = "{WALLET}"
        mlx_url = ""
        [credits]
        low_threshold_usd = 2.50
        [alerts.email]
        recipients = ["ops@example.org", "root@localhost"]
        [prices."gpt-4.1"]
        input_per_million = 1
        output_per_million = 5.000000001
        [prices.voice]
        unit = "characters"
        usd_per_unit = 0.00003
    """)

    assert collection_interval_seconds(config) == 7
    assert sources(config) == ("xmr-mining",)
    assert config.revenue.retention_days == 0
    assert config.credits.low_threshold_usd == Decimal("2.50")
    assert config.alerts.email.recipients == ("ops@example.org", "root@localhost")
    assert config.prices["gpt-4.1"] == PriceOverride(Decimal(1), Decimal("5.000000001"))
    assert config.prices["voice"] == PriceOverride(unit="characters", usd_per_unit=Decimal("0.00003"))


@pytest.mark.parametrize(
    ("toml", "expected"),
    [
        ("", ("mlx-api",)),
        ('[revenue]\nmlx_url = ""', ()),
        (f'[revenue]\nxmr_wallet = "{WALLET}"', ("xmr-mining", "mlx-api")),
        (f'[revenue]\nxmr_wallet = "{WALLET}"\nenabled = false', ()),
    ],
)
def test_a_source_is_asked_when_its_address_is_there_and_revenue_is_on(
    world: World, toml: str, expected: tuple[str, ...]
) -> None:
    assert sources(world.load(toml)) == expected


def test_the_stronger_source_wins_and_is_named(world: World) -> None:
    world.overrides.write_text(
        "[revenue]\nretention_days = 2\ncollection_interval_scans = 2\n[retention]\ncalls_days = 2\n"
    )
    toml = (
        "[revenue]\nretention_days = 1\ncollection_interval_scans = 1\n[retention]\ncalls_days = 1\nalerts_days = 1\n"
    )

    config = world.load(toml, ORCHESTRATOR_REVENUE__RETENTION_DAYS="3")

    assert config.revenue.retention_days == 3
    assert config.revenue.collection_interval_scans == 2
    assert config.retention.alerts_days == 1
    assert config.credits.check_interval_seconds == 300
    assert config.origin("revenue.retention_days") == "environment ORCHESTRATOR_REVENUE__RETENTION_DAYS"
    assert config.origin("revenue.collection_interval_scans") == f"{world.overrides}:3"
    assert config.origin("retention.alerts_days") == f"{world.path}:6"
    assert config.origin("credits.check_interval_seconds") == "default"


def test_a_value_that_is_set_to_its_default_is_known_to_be_set(world: World) -> None:
    assert world.load('[orchestrator]\ntimezone = "UTC"').is_set("orchestrator.timezone")
    assert world.load(ORCHESTRATOR_ORCHESTRATOR__TIMEZONE="UTC").is_set("orchestrator.timezone")
    assert not world.load("").is_set("orchestrator.timezone")


def test_an_override_that_shadows_the_file_is_a_warning(world: World) -> None:
    world.overrides.write_text("[retention]\ncalls_days = 2\n")

    config = world.load("[retention]\ncalls_days = 1\nalerts_days = 1\n")

    assert config.warnings == (f"{world.overrides}:2: retention.calls_days replaces what stands at {world.path}:2",)


def test_one_models_prices_come_from_one_source(world: World) -> None:
    world.overrides.write_text("[prices.a]\noutput_per_million = 2\n")

    config = world.load("[prices.a]\ninput_per_million = 1\n[prices.b]\ninput_per_million = 3\n")

    assert config.prices == {"a": PriceOverride(output_per_million=Decimal(2)), "b": PriceOverride(Decimal(3))}


@pytest.mark.parametrize(
    ("name", "text", "key", "expected"),
    [
        ("REVENUE__ENABLED", "false", "revenue.enabled", False),
        ("REVENUE__ENABLED", "1", "revenue.enabled", True),
        ("REVENUE__RETENTION_DAYS", " 30 ", "revenue.retention_days", 30),
        ("REVENUE__XMR_WALLET", WALLET, "revenue.xmr_wallet", WALLET),
        ("REVENUE__MLX_URL", "", "revenue.mlx_url", ""),
        ("CREDITS__LOW_THRESHOLD_USD", "2.50", "credits.low_threshold_usd", Decimal("2.50")),
        ("BUDGET__DAILY_LIMIT_USD", "none", "budget.daily_limit_usd", None),
        ("BUDGET__MONTHLY_LIMIT_USD", "0", "budget.monthly_limit_usd", Decimal(0)),
        ("ALERTS__EMAIL__SMTP_HOST", "smtp.example.org", "alerts.email.smtp_host", "smtp.example.org"),
        ("ALERTS__EMAIL__RECIPIENTS", '["a@b.org"]', "alerts.email.recipients", ("a@b.org",)),
        ("ACTIONS__SCALE_DOWN", "['systemctl', 'stop', 'x']", "actions.scale_down", ("systemctl", "stop", "x")),
        (
            "BUDGET__THRESHOLDS",
            '[{"at": 90, "severity": "critical"}, {"at": 10, "severity": "info"}]',
            "budget.thresholds",
            (Threshold(90, "critical"), Threshold(10, "info")),
        ),
        (
            "BUDGET__SCOPES",
            '[{ tenant_id = "*", daily_limit_usd = 1.5 }]',
            "budget.scopes",
            (Scope(tenant_id="*", daily_limit_usd=Decimal("1.5")),),
        ),
        ("PRICES", '{"gpt-4.1": {"input_per_million": 1}}', "prices", {"gpt-4.1": PriceOverride(Decimal(1))}),
        ("PRICES", "{ m = { output_per_million = 2 } }", "prices", {"m": PriceOverride(output_per_million=Decimal(2))}),
    ],
)
def test_the_environment_spells_every_kind_of_value(
    world: World, name: str, text: str, key: str, expected: object
) -> None:
    config = world.load(**{f"ORCHESTRATOR_{name}": text})

    assert value_of(config, key) == expected


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("REVENUE__ENABLED", "maybe"),
        ("REVENUE__RETENTION_DAYS", ""),
        ("REVENUE__RETENTION_DAYS", "٣"),
        ("REVENUE__RETENTION_DAYS", "1_0"),
        ("REVENUE__RETENTION_DAYS", "9" * 5000),
        ("CREDITS__LOW_THRESHOLD_USD", "nan"),
        ("CREDITS__LOW_THRESHOLD_USD", "1e999"),
        ("CREDITS__LOW_THRESHOLD_USD", "none"),
        ("ALERTS__EMAIL__RECIPIENTS", "a@b.org"),
        ("ALERTS__EMAIL__RECIPIENTS", '["a@b.org"]\nx = 1'),
        ("ALERTS__EMAIL__RECIPIENTS", "[" * 5000),
        ("ALERTS__EMAIL__SMTP_HOST", "smtp\udcff"),
        ("BUDGET__SCOPES", "[null]"),
        ("BUDGET__SCOPES", "NaN"),
        ("PRICES", "1"),
        ("PRICES", '{"m\\u0000": {"input_per_million": 1}}'),
        ("PRICES", '{"m": {"input_per_million": Infinity}}'),
    ],
)
def test_a_value_in_the_environment_that_cannot_be_right_is_named_with_its_variable(
    world: World, name: str, text: str
) -> None:
    assert world.problem(**{f"ORCHESTRATOR_{name}": text}).startswith(f"environment ORCHESTRATOR_{name}: ")


@pytest.mark.parametrize(
    ("name", "guess"),
    [
        ("REVENU__XMR_WALLET", " (did you mean ORCHESTRATOR_REVENUE__XMR_WALLET?)"),
        ("ALERTS__SMTP_HOST", " (did you mean ORCHESTRATOR_ALERTS__EMAIL__SMTP_HOST?)"),
        ("QUITE__OTHER", ""),
        ("PRICES__GPT", ""),
    ],
)
def test_a_variable_that_is_not_a_key_is_a_problem_with_the_likely_one(world: World, name: str, guess: str) -> None:
    problem = world.problem(**{f"ORCHESTRATOR_{name}": "x"})

    assert problem == f"environment ORCHESTRATOR_{name}: there is no such key{guess}"


def test_a_variable_without_two_underscores_may_be_anothers_but_a_slip_is_a_warning(world: World) -> None:
    config = world.load(
        ORCHESTRATOR_TIMEZONE="Europe/Berlin",
        ORCHESTRATOR_REVENUE_MLX_URL="http://x",
        ORCHESTRATOR_SERVICE_HOST="10.0.0.1",
        ORCHESTRATOR_PORT_8787_TCP="tcp://10.0.0.1:8787",
    )

    assert config.orchestrator.timezone == "UTC"
    assert config.warnings == (
        "environment ORCHESTRATOR_REVENUE_MLX_URL: is not read (did you mean ORCHESTRATOR_REVENUE__MLX_URL?)",
        "environment ORCHESTRATOR_TIMEZONE: is not read (did you mean ORCHESTRATOR_ORCHESTRATOR__TIMEZONE?)",
    )


def test_every_problem_is_told_at_once_with_its_line(world: World) -> None:
    world.overrides.write_text("[retention]\ncalls_days = -1\n")
    (world.credentials / "smtp_password").write_bytes(b"a\nb\n")
    toml = """\
[orchestrator]
scan_interval_seconds = "60"
timezone = "Europe/Berln"
[revenu]
x = 1
[revenue]
retention_days = true
pool_urll = "https://pool.example.org"
smtp_host = "x"
mlx_url = "localhost:8100"
[[budget.scopes]]
modle = "x"
[budget]
thresholds = [
  { at = 50, severity = "info" },
  { at = "50", severity = "loud" },
]
[alerts.email]
recipients = ["ops@example.org",
  "not an address"]
"""

    problems = world.problems(
        toml,
        ORCHESTRATOR_REVENUE__XMR_WALLET=WALLET[:-1],
        DISCORD_WEBHOOK_URL="hunter2",
        CREDENTIALS_DIRECTORY=str(world.credentials),
    )

    assert problems == [
        "etc/config.toml:2: orchestrator.scan_interval_seconds: a whole number of seconds from 1 to 31622400 is due, not a number in quotes",
        'etc/config.toml:3: orchestrator.timezone: there is no time zone "Europe/Berln" (did you mean Europe/Berlin?)',
        "etc/config.toml:4: revenu: there is no such table (did you mean revenue?)",
        "etc/config.toml:7: revenue.retention_days: a whole number of days (0: for ever) from 0 to 36500 is due, not true",
        "etc/config.toml:8: revenue.pool_urll: there is no such key (did you mean pool_url?)",
        "etc/config.toml:9: revenue.smtp_host: there is no such key (did you mean alerts.email.smtp_host?)",
        "etc/config.toml:10: revenue.mlx_url: is not a URL: http:// or https:// and a host are due",
        "etc/config.toml:12: budget.scopes[1].modle: there is no such key (did you mean model?)",
        "etc/config.toml:16: budget.thresholds[2].at: a whole number of percent from 1 to 100000 is due, not a number in quotes",
        'etc/config.toml:16: budget.thresholds[2].severity: "info" or "warning" or "critical" or "emergency" is due, not "loud"',
        "etc/config.toml:20: alerts.email.recipients[2]: is not an e-mail address",
        "overrides.toml:2: retention.calls_days: a whole number of days (0: for ever) from 0 to 36500 is due, not -1",
        "environment ORCHESTRATOR_REVENUE__XMR_WALLET: revenue.xmr_wallet: is not a Monero address: 95 characters of base58 that begin with 4 or 8, or 106 that begin with 4",
        "environment DISCORD_WEBHOOK_URL: is not a URL: http:// or https:// and a host are due",
        "credential smtp_password: has a line break or another character that cannot be printed",
    ]


@pytest.mark.parametrize(
    ("toml", "refused"),
    [
        ('[actions]\nscale_down = ["rm"]', "actions.scale_down"),
        ("[web]\nport = 1", "web.port"),
        ("[web]\nport = 'x'", "web.port"),
        ('[orchestrator]\ndatabase = "other.db"', "orchestrator.database"),
        ('[revenue]\npool_url = "https://evil.example"', "revenue.pool_url"),
        ('[revenue]\nprice_url = "https://evil.example"', "revenue.price_url"),
        ('[revenue]\nmlx_url = ""', "revenue.mlx_url"),
        ('[credits]\nopenrouter_url = "https://evil.example"', "credits.openrouter_url"),
        ('[alerts.discord]\napi_url = "https://evil.example"', "alerts.discord.api_url"),
    ],
)
def test_what_the_program_must_never_change_is_refused_in_overrides(world: World, toml: str, refused: str) -> None:
    world.overrides.write_text(toml)

    assert world.problem() == f"overrides.toml:2: {refused}: cannot be set here; it belongs in config.toml"


def test_overrides_that_everybody_may_write_are_refused(world: World) -> None:
    world.overrides.write_text("")
    world.overrides.chmod(0o666)

    assert world.problem() == "overrides.toml: everybody may write it: chmod o-w"


def test_sections_that_nothing_acts_on_yet_are_checked_and_warned_about_once(world: World) -> None:
    config = world.load('[budget]\ndaily_limit_usd = "none"\nenforce = true\n[web]\n[actions]\nscale_down = ["true"]\n')

    assert config.budget.daily_limit_usd is None
    assert config.warnings == (
        f"{world.path}:2: [budget] is not used by this version",
        f"{world.path}:6: [actions] is not used by this version",
    )


def test_a_channel_that_lacks_a_part_is_a_warning(world: World) -> None:
    config = world.load('[alerts.email]\nsmtp_host = "a.example"', SMTP_PASSWORD="x", DISCORD_BOT_TOKEN="y")

    assert config.warnings == (
        "alerts.email.smtp_host is set without sender and recipients: no mail is sent",
        "SMTP_PASSWORD is set without alerts.email.username: there is no login",
        "DISCORD_BOT_TOKEN is set without alerts.discord.operator_user_id: no direct message is sent",
    )


def test_what_only_a_channel_that_is_not_configured_would_use_is_a_warning(world: World) -> None:
    host, login = '[alerts.email]\nsmtp_host = "a.example"\nsender = "o@example.org"\n', 'username = "o"\n'

    nowhere = world.load(AI_BUDGET_ALERT_EMAILS="a@example.org", DISCORD_OPERATOR_USER_ID="82198898841029460")
    no_login = world.load(host + login, AI_BUDGET_ALERT_EMAILS="a@example.org")
    complete = world.load(host + login, AI_BUDGET_ALERT_EMAILS="a@example.org", SMTP_PASSWORD="x")

    assert nowhere.warnings == (
        "alerts.email.recipients is set without smtp_host: no mail is sent",
        "alerts.discord.operator_user_id is set without DISCORD_BOT_TOKEN: no direct message is sent",
    )
    assert no_login.warnings == ("alerts.email.username is set without SMTP_PASSWORD: the login will be refused",)
    assert complete.warnings == ()
