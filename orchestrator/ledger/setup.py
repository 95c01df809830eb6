"""What the daemon last said of its configuration, kept in the file for processes that cannot read it: an agent, a dashboard."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from orchestrator import periods
from orchestrator.ledger.snapshots import SOURCES, sources_in
from orchestrator.periods import WeekStart
from orchestrator.store import meta
from orchestrator.store.database import Connection

if TYPE_CHECKING:
    from orchestrator.config import Config

DEFAULT_INTERVAL_SECONDS = 300.0
CREDITS_INTERVAL = "credits_interval_seconds"

# What a daemon says always; of credits it may say nothing.
_SAID = {"timezone", "week_starts_on", "sources", "collection_interval_seconds"}


@dataclass(frozen=True)
class Setup:
    """The zone and first weekday of every day and week, the sources that are asked, and how many seconds lie between two readings.

    `sources` is None when nobody has said, `credits_interval_seconds` when nobody looks at credits. `said_by_file` tells what a daemon wrote from what a reader was told.
    """

    timezone: str = "UTC"
    week_starts_on: WeekStart = "sunday"
    sources: tuple[str, ...] | None = None
    interval_seconds: float = DEFAULT_INTERVAL_SECONDS
    said_by_file: bool = False
    credits_interval_seconds: float | None = None

    @property
    def tz(self) -> ZoneInfo:
        """Return the zone."""
        return periods.zone(self.timezone)


def of_config(config: "Config") -> Setup:
    """Return what the file keeps of a configuration."""
    from orchestrator import config as configuration

    return Setup(
        config.orchestrator.timezone,
        config.orchestrator.week_starts_on,
        configuration.sources(config),
        configuration.collection_interval_seconds(config),
        credits_interval_seconds=float(config.credits.check_interval_seconds)
        if config.secrets.openrouter_api_key
        else None,
    )


def read(connection: Connection, otherwise: Callable[[], Setup] = Setup) -> Setup:
    """Return what was last said; `otherwise` is asked where nothing was."""
    # In one go: every report begins with it.
    said = dict(
        connection.execute(
            """
            SELECT key, value
            FROM meta
            WHERE key IN (
                'timezone', 'week_starts_on', 'sources', 'collection_interval_seconds', 'credits_interval_seconds'
            )
            """
        )
    )
    timezone = said.get("timezone")
    if said.keys() >= _SAID:
        asked = tuple(one for one in SOURCES if one in said["sources"].split(","))
        looks = said.get(CREDITS_INTERVAL)
        return Setup(
            said["timezone"],
            "monday" if said["week_starts_on"] == "monday" else "sunday",
            asked,
            float(said["collection_interval_seconds"]),
            said_by_file=True,
            credits_interval_seconds=float(looks) if looks else None,
        )
    told = otherwise()
    return replace(told, timezone=timezone or told.timezone)


def write(connection: Connection, setup: Setup) -> None:
    """Store what is configured now; writes only what differs."""
    said = {
        "timezone": setup.timezone,
        "week_starts_on": setup.week_starts_on,
        "sources": None if setup.sources is None else ",".join(setup.sources),
        "collection_interval_seconds": repr(setup.interval_seconds),
    }
    for key, value in said.items():
        if value is not None and meta.get(connection, key) != value:
            meta.put(connection, key, value)


def write_credits_interval(connection: Connection, interval_seconds: float | None, *, withdraw: bool) -> None:
    """Store how often credits are looked at; None, nobody looks at them, only with `withdraw`. Writes only what differs."""
    said = "" if interval_seconds is None else repr(interval_seconds)
    if (said or withdraw) and (meta.get(connection, CREDITS_INTERVAL) or "") != said:
        meta.put(connection, CREDITS_INTERVAL, said)


def shown_sources(connection: Connection, setup: Setup) -> tuple[str, ...]:
    """Return the sources to show: those that are asked, and those that have rows."""
    return tuple(s for s in SOURCES if s in (setup.sources or ()) or s in sources_in(connection))
