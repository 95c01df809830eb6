"""The channels that are configured. A notifier is one file with `channels(config)`, and one line here."""

from collections.abc import Sequence

from orchestrator.alerts.message import Channel
from orchestrator.config import Config


def configured(config: Config) -> tuple[Channel, ...]:
    """Return every place that messages go to; the notifiers of others are not even imported."""
    found: list[Channel] = []
    secrets = config.secrets
    if secrets.discord_webhook_url or secrets.discord_bot_token:
        from orchestrator.alerts import discord

        found += discord.channels(config)
    if secrets.slack_webhook_url:
        from orchestrator.alerts import slack

        found += slack.channels(config)
    if config.alerts.email.smtp_host:
        from orchestrator.alerts import email

        found += email.channels(config)
    return tuple(found)


def fingerprints(channels: Sequence[Channel]) -> dict[str, str]:
    """Return each channel's fingerprint by its name."""
    return {channel.name: channel.fingerprint for channel in channels}


def named(channels: tuple[Channel, ...], name: str | None) -> tuple[Channel, ...]:
    """Return the channels that a name means, all of them for None: `email` means every recipient."""
    return tuple(one for one in channels if name is None or name in (one.name, one.name.partition(":")[0]))
