"""Secrets come from the environment and from credentials, and show nowhere."""

from pathlib import Path

import pytest
from config_world import World

from orchestrator.config.credentials import SECRET_NAMES, Secrets


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_secrets_come_from_the_environment_or_else_from_credentials(world: World) -> None:
    (world.credentials / "openrouter_api_key").write_text("sk-from-file\r\n")
    (world.credentials / "smtp_password").write_text("two words\n")
    (world.credentials / "coingecko_api_key").write_text("\n")
    (world.credentials / "someone_elses").write_bytes(b"\xff")

    config = world.load(
        OPENROUTER_API_KEY="sk-from-environment",
        DISCORD_WEBHOOK_URL="http://127.0.0.1:9/api/webhooks/1/x?thread_id=2",
        SLACK_WEBHOOK_URL="",
        ORCHESTRATOR_WEB_TOKEN="t0ken",
        CREDENTIALS_DIRECTORY=str(world.credentials),
    )

    assert config.secrets.openrouter_api_key == "sk-from-environment"
    assert config.secrets.smtp_password == "two words"
    assert config.secrets.coingecko_api_key is None
    assert config.secrets.slack_webhook_url is None
    assert config.secrets.orchestrator_web_token == "t0ken"
    assert config.origin("openrouter_api_key") == "environment OPENROUTER_API_KEY"
    assert config.origin("smtp_password") == "credential smtp_password"
    assert not config.is_set("slack_webhook_url")


def test_the_operators_id_and_the_recipients_may_be_credentials_too(world: World) -> None:
    (world.credentials / "discord_operator_user_id").write_text("80351110224678912\n")
    (world.credentials / "ai_budget_alert_emails").write_text("a@example.org\nb@example.org\n")
    world.environ["CREDENTIALS_DIRECTORY"] = str(world.credentials)
    toml = '[alerts.discord]\noperator_user_id = "11111111111111111"\n[alerts.email]\nrecipients = ["z@example.org"]\n'

    by_file = world.load(toml)
    by_name = world.load(toml, AI_BUDGET_ALERT_EMAILS="c@example.org, d@example.org,")
    by_key = world.load(toml, AI_BUDGET_ALERT_EMAILS="c@example.org", ORCHESTRATOR_ALERTS__EMAIL__RECIPIENTS="[]")

    assert by_file.alerts.discord.operator_user_id == "80351110224678912"
    assert by_file.alerts.email.recipients == ("a@example.org", "b@example.org")
    assert by_name.alerts.email.recipients == ("c@example.org", "d@example.org")
    assert by_name.origin("alerts.email.recipients") == "environment AI_BUDGET_ALERT_EMAILS"
    assert by_key.alerts.email.recipients == ()


def test_a_recipient_that_cannot_be_right_is_found_in_the_environment_too(world: World) -> None:
    assert world.problem(AI_BUDGET_ALERT_EMAILS="a@example.org, nobody") == (
        "environment AI_BUDGET_ALERT_EMAILS: alerts.email.recipients[2]: is not an e-mail address"
    )


@pytest.mark.parametrize("name", SECRET_NAMES)
@pytest.mark.parametrize("value", ["hunter2\nX: y", "hunter2\n", "hünter2", " hunter2", "hunter2\x7f", "hunter2\t"])
def test_a_secret_that_cannot_be_right_is_named_without_its_value(world: World, name: str, value: str) -> None:
    problem = world.problem(**{name.upper(): value})

    assert problem.startswith(f"environment {name.upper()}: ")
    assert "unter2" not in problem


@pytest.mark.parametrize("content", [b"a\x00b", b"\xff\xfe", b"x" * 300_000])
def test_a_credential_that_cannot_be_read_is_a_problem(world: World, content: bytes) -> None:
    (world.credentials / "openrouter_api_key").write_bytes(content)

    assert "openrouter_api_key" in world.problem(CREDENTIALS_DIRECTORY=str(world.credentials))


def test_a_credential_that_is_a_folder_is_a_problem_and_a_missing_folder_is_none(world: World) -> None:
    (world.credentials / "smtp_password").mkdir()
    (world.credentials / "ai_budget_alert_emails").mkdir()

    assert len(world.problems(CREDENTIALS_DIRECTORY=str(world.credentials))) == 2
    assert world.load(CREDENTIALS_DIRECTORY=str(world.root / "nowhere")).secrets == Secrets()


@pytest.mark.parametrize(
    ("toml", "name"),
    [
        ('OPENROUTER_API_KEY = "hunter2"', "OPENROUTER_API_KEY"),
        ('[credits]\nopenrouter_api_key = "hunter2"', "OPENROUTER_API_KEY"),
        ('[credits]\napi_key = "hunter2"', "OPENROUTER_API_KEY"),
        ('[alerts.discord]\nwebhook_url = "https://hunter2.example"', "DISCORD_WEBHOOK_URL"),
        ('[alerts.discord]\nbot_token = "hunter2"', "DISCORD_BOT_TOKEN"),
        ('[alerts.slack]\nwebhook_url = "https://hunter2.example"', "SLACK_WEBHOOK_URL"),
        ('[alerts.email]\npassword = "hunter2"', "SMTP_PASSWORD"),
        ('[web]\ntoken = "hunter2"', "ORCHESTRATOR_WEB_TOKEN"),
        ('[web]\nadmin_password = "hunter2"', "environment"),
    ],
)
def test_a_secret_in_a_file_is_a_problem_that_says_where_it_belongs(world: World, toml: str, name: str) -> None:
    problem = world.problem(toml)

    assert name in problem
    assert "hunter2" not in problem


def test_a_misspelt_key_that_sounds_like_a_secret_is_still_a_misspelt_key(world: World) -> None:
    assert world.problem('[revenue]\nmlx_token_key = "x"').endswith("(did you mean mlx_tokens_key?)")


def test_secrets_do_not_show_in_anything_printed(world: World) -> None:
    secrets = {name.upper(): f"https://hunter2.example/{name}" for name in SECRET_NAMES}

    config = world.load(**secrets)

    assert "hunter2" not in repr(config)
    assert "hunter2" not in str(config.secrets)
    assert "discord_bot_token=***" in repr(config.secrets)
