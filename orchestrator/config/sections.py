"""The sections of config.toml: one frozen record a table, whose fields carry their form, default, unit and meaning.

`init` writes these descriptions as the comments of a new file, and the top-level config.toml is that file.
"""

from dataclasses import dataclass, field, fields
from decimal import Decimal
from pathlib import Path
from typing import Literal

from orchestrator.config import checks
from orchestrator.config.forms import amount, choice, flag, path, text, texts, whole
from orchestrator.config.tables import about, records, table
from orchestrator.periods import WeekStart

Severity = Literal["info", "warning", "critical", "emergency"]
Action = Literal["scale_down", "emergency_stop"]
Security = Literal["starttls", "tls", "none"]

_YEAR_SECONDS = 366 * 86_400
_USD = amount("a number of USD, 0 or more,")
_LIMIT = amount('a number of USD, 0 or more, or "none"', may_be_none=True)
_RATE = amount("a price in USD, 0 or more,")
_SECONDS = whole("a whole number of seconds", 1, _YEAR_SECONDS)
_DAYS = whole("a whole number of days (0: for ever)", 0, 36_500)
_NAME = text("text", longest=200)
_URL = text("a URL", checks.base_url)
_URL_OR_NOTHING = text("a URL", checks.optional_base_url)
_JSON_PATH = text("a dotted path", checks.dotted_path)
_COMMAND = texts("an array of texts", checks.argument)


@dataclass(frozen=True)
class Orchestrator:
    """The file, the rhythm and the calendar."""

    database: Path | None = field(
        default=None,
        metadata=about(
            path(),
            "The database, relative to this file. Unset: $STATE_DIRECTORY, ./orchestrator.db if it exists, else the user's state directory.",
            example="orchestrator.db",
        ),
    )
    scan_interval_seconds: int = field(
        default=60, metadata=about(_SECONDS, "Seconds from one scan to the next, 1 or more.")
    )
    timezone: str = field(
        default="UTC",
        metadata=about(
            text("the name of a time zone", checks.time_zone),
            "IANA time zone in which a day, a week and a month begin.",
        ),
    )
    week_starts_on: WeekStart = field(
        default="sunday", metadata=about(choice("sunday", "monday"), '"sunday" or "monday".')
    )


@dataclass(frozen=True)
class Revenue:
    """What is earned: the pool that mines for a wallet, the server that answers requests."""

    enabled: bool = field(default=True, metadata=about(flag(), "false: no source is asked."))
    collection_interval_scans: int = field(
        default=5,
        metadata=about(whole("a whole number of scans", 1, 1_000_000), "The sources are asked at every so many scans."),
    )
    retention_days: int = field(
        default=90, metadata=about(_DAYS, "Days that snapshots are kept, 0: for ever. Daily totals are always kept.")
    )
    xmr_wallet: str = field(
        default="",
        metadata=about(text("a Monero address", checks.wallet), "Monero address. Empty: mining is off.", to_fill=True),
    )
    pool_url: str = field(default="https://www.supportxmr.com/api", metadata=about(_URL, "API of the mining pool."))
    price_url: str = field(
        default="https://api.coingecko.com/api/v3",
        metadata=about(_URL, "API of the price service (COINGECKO_API_KEY is its optional demo key)."),
    )
    mlx_url: str = field(
        default="http://localhost:8100", metadata=about(_URL_OR_NOTHING, "MLX server, asked for /health. Empty: off.")
    )
    mlx_requests_key: str = field(
        default="requests_served",
        metadata=about(_JSON_PATH, "Where /health counts requests: names with dots between them."),
    )
    mlx_tokens_key: str = field(
        default="total_tokens_generated", metadata=about(_JSON_PATH, "Where /health counts generated tokens.")
    )


@dataclass(frozen=True)
class Retention:
    """How long details are kept; totals are kept for ever."""

    calls_days: int = field(default=90, metadata=about(_DAYS, "Days that single AI calls are kept, 0: for ever."))
    alerts_days: int = field(default=365, metadata=about(_DAYS, "Days that alerts are kept, 0: for ever."))


@dataclass(frozen=True)
class Credits:
    """What is left at OpenRouter."""

    openrouter_url: str = field(default="https://openrouter.ai/api/v1", metadata=about(_URL, "API of OpenRouter."))
    check_interval_seconds: int = field(
        default=300, metadata=about(_SECONDS, "Seconds from one look at the credits to the next, 1 or more.")
    )
    low_threshold_usd: Decimal = field(default=Decimal("5.0"), metadata=about(_USD, "USD below which credits are low."))


@dataclass(frozen=True)
class Threshold:
    """A part of a limit, in percent, at which an alert is raised, and the action that may follow."""

    at: int = field(metadata=about(whole("a whole number of percent", 1, 100_000)))
    severity: Severity = field(metadata=about(choice("info", "warning", "critical", "emergency")))
    action: Action | None = field(default=None, metadata=about(choice("scale_down", "emergency_stop")))


@dataclass(frozen=True)
class Scope:
    """A limit for one tenant, user, model … or, with "*", for each of them its own. None: not part of the scope; no limit."""

    tenant_id: str | None = field(default=None, metadata=about(_NAME))
    user_id: str | None = field(default=None, metadata=about(_NAME))
    organization_id: str | None = field(default=None, metadata=about(_NAME))
    service: str | None = field(default=None, metadata=about(_NAME))
    model: str | None = field(default=None, metadata=about(_NAME))
    operation: str | None = field(default=None, metadata=about(_NAME))
    tier: str | None = field(default=None, metadata=about(_NAME))
    session_id: str | None = field(default=None, metadata=about(_NAME))
    daily_limit_usd: Decimal | None = field(default=None, metadata=about(_LIMIT))
    monthly_limit_usd: Decimal | None = field(default=None, metadata=about(_LIMIT))

    def fault(self) -> str:
        """Say whether it names what it limits."""
        names = [f.name for f in fields(self) if not f.name.endswith("_usd")]
        return "" if any(getattr(self, name) for name in names) else f"one of {', '.join(names)} is due"


def _twice(thresholds: tuple[Threshold, ...]) -> str:
    percents = [threshold.at for threshold in thresholds]
    again = sorted({at for at in percents if percents.count(at) > 1})
    return f"{', '.join(map(str, again))} percent stands there more than once" if again else ""


@dataclass(frozen=True)
class Budget:
    """What may be spent. A limit of "none" does not exist, a limit of 0 allows nothing."""

    daily_limit_usd: Decimal | None = field(
        default=Decimal("10.0"), metadata=about(_LIMIT, 'USD a local day, or "none".')
    )
    monthly_limit_usd: Decimal | None = field(
        default=None, metadata=about(_LIMIT, 'USD a local month, or "none". Unset: none.', example=Decimal("412.0"))
    )
    enforce: bool = field(
        default=False,
        metadata=about(flag(), "true: what would pass a limit is refused to callers that ask before they spend."),
    )
    thresholds: tuple[Threshold, ...] = field(
        default=(
            Threshold(50, "info"),
            Threshold(80, "warning"),
            Threshold(95, "critical"),
            Threshold(100, "critical", "scale_down"),
            Threshold(150, "emergency", "emergency_stop"),
        ),
        metadata=about(
            records(Threshold, _twice),
            "Percent of a limit at which an alert is raised: info, warning, critical or emergency; an action runs its command of [actions].",
        ),
    )
    scopes: tuple[Scope, ...] = field(
        default=(),
        metadata=about(
            records(Scope),
            'Limits for one, or with "*" for each of them its own: tenant_id, user_id, organization_id, service, model, operation, tier, session_id.',
            example=(Scope(tenant_id="*", daily_limit_usd=Decimal("10.0")),),
        ),
    )


@dataclass(frozen=True)
class Discord:
    """DISCORD_WEBHOOK_URL posts to a channel; DISCORD_BOT_TOKEN with operator_user_id sends a direct message."""

    operator_user_id: str = field(
        default="",
        metadata=about(
            text("a Discord user id in quotes", checks.optional_discord_id),
            "Also DISCORD_OPERATOR_USER_ID in the environment.",
        ),
    )
    api_url: str = field(default="https://discord.com/api/v10", metadata=about(_URL, "API of Discord."))


@dataclass(frozen=True)
class Slack:
    """SLACK_WEBHOOK_URL posts to a channel."""


@dataclass(frozen=True)
class Email:
    """Mail through a server of yours; its password is SMTP_PASSWORD."""

    smtp_host: str = field(
        default="", metadata=about(text("the name of a host", checks.optional_host), "Empty: no mail is sent.")
    )
    smtp_port: int = field(default=587, metadata=about(whole("a port", 1, 65_535), "587 for starttls, 465 for tls."))
    security: Security = field(
        default="starttls", metadata=about(choice("starttls", "tls", "none"), '"starttls", "tls" or "none".')
    )
    username: str = field(default="", metadata=about(text("text"), "Empty: no login."))
    sender: str = field(
        default="",
        metadata=about(text("an e-mail address", checks.optional_email), "Address that the mail comes from."),
    )
    recipients: tuple[str, ...] = field(
        default=(),
        metadata=about(
            texts("an array of e-mail addresses", checks.email),
            "Addresses that it goes to; also AI_BUDGET_ALERT_EMAILS in the environment, with commas between them.",
        ),
    )


@dataclass(frozen=True)
class Alerts:
    """What is said to the operator, and where."""

    debounce_minutes: int = field(
        default=60,
        metadata=about(
            whole("a whole number of minutes", 0, 525_600), "Minutes between two reminders of a condition that lasts."
        ),
    )
    discord: Discord = field(default_factory=Discord, metadata=table(Discord))
    slack: Slack = field(default_factory=Slack, metadata=table(Slack))
    email: Email = field(default_factory=Email, metadata=table(Email))


@dataclass(frozen=True)
class Actions:
    """One command each, as an array of its words, run without a shell when a threshold says so."""

    scale_down: tuple[str, ...] = field(
        default=(), metadata=about(_COMMAND, "Run at a threshold with this action. Empty: nothing is run.")
    )
    emergency_stop: tuple[str, ...] = field(default=(), metadata=about(_COMMAND, "The same."))


@dataclass(frozen=True)
class PriceOverride:
    """What one model costs you, before every other source of prices: USD per million tokens, or per unit."""

    input_per_million: Decimal | None = field(default=None, metadata=about(_RATE))
    output_per_million: Decimal | None = field(default=None, metadata=about(_RATE))
    cache_read_per_million: Decimal | None = field(default=None, metadata=about(_RATE))
    cache_write_per_million: Decimal | None = field(default=None, metadata=about(_RATE))
    unit: str | None = field(
        default=None,
        metadata=about(
            choice("characters", "images", "seconds", "videos", "requests", "credits", "gb_months", "machine_hours")
        ),
    )
    usd_per_unit: Decimal | None = field(default=None, metadata=about(_RATE))

    def fault(self) -> str:
        """Say whether it can price anything."""
        if (self.unit is None) != (self.usd_per_unit is None):
            return "unit and usd_per_unit go together"
        rates = [getattr(self, f.name) for f in fields(self)]
        return "" if any(rate is not None for rate in rates) else "there is no price in it"


@dataclass(frozen=True)
class Web:
    """The dashboard. ORCHESTRATOR_WEB_TOKEN opens it, else a token made once beside the database."""

    enabled: bool = field(default=False, metadata=about(flag(), "true: the daemon serves the dashboard."))
    host: str = field(
        default="127.0.0.1", metadata=about(text("the name of a host", checks.optional_host), "Address to listen on.")
    )
    port: int = field(default=8787, metadata=about(whole("a port", 0, 65_535), "Port to listen on."))
    public_url: str = field(
        default="", metadata=about(_URL_OR_NOTHING, "URL at which readers reach it, for links in messages.")
    )
    rate_limit_per_minute: int = field(
        default=100,
        metadata=about(whole("a whole number of requests", 0, 1_000_000), "Requests a minute and client, 0: no limit."),
    )
