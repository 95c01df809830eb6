"""The configuration as the rest of the program sees it: one frozen record, read once at the edge and handed down."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.config.credentials import Secrets
from orchestrator.config.sections import (
    Actions,
    Alerts,
    Budget,
    Credits,
    Orchestrator,
    PriceOverride,
    Retention,
    Revenue,
    Web,
)
from orchestrator.config.tables import table

DEFAULT = "default"


@dataclass(frozen=True)
class Config:
    """Every setting, where the database lies, and where each value comes from.

    `origins` has the dotted keys (`revenue.pool_url`) and the secrets' names that somebody has set, and always `orchestrator.database`;
    `path` is the config.toml in force, None for none; `warnings` are sentences for the operator.
    """

    database: Path
    orchestrator: Orchestrator = field(default_factory=Orchestrator, metadata=table(Orchestrator))
    revenue: Revenue = field(default_factory=Revenue, metadata=table(Revenue))
    retention: Retention = field(default_factory=Retention, metadata=table(Retention))
    credits: Credits = field(default_factory=Credits, metadata=table(Credits))
    budget: Budget = field(default_factory=Budget, metadata=table(Budget))
    alerts: Alerts = field(default_factory=Alerts, metadata=table(Alerts))
    actions: Actions = field(default_factory=Actions, metadata=table(Actions))
    prices: Mapping[str, PriceOverride] = field(default_factory=dict, metadata=table(PriceOverride, named=True))
    web: Web = field(default_factory=Web, metadata=table(Web))
    secrets: Secrets = field(default_factory=Secrets)
    origins: Mapping[str, str] = field(default_factory=dict)
    path: Path | None = None
    warnings: tuple[str, ...] = ()

    @property
    def overrides(self) -> Path:
        """Return where overrides.toml lies, whether or not there is one."""
        return self.database.parent / "overrides.toml"

    def origin(self, key: str) -> str:
        """Return where a value comes from, by its dotted key or its secret's name; `default` when nobody has set it."""
        return self.origins.get(key, DEFAULT)

    def is_set(self, key: str) -> bool:
        """Return whether somebody has set a key, be it to its default."""
        return key in self.origins


def sources(config: Config) -> tuple[str, ...]:
    """Return the names of the sources that are asked."""
    asked = {"xmr-mining": config.revenue.xmr_wallet, "mlx-api": config.revenue.mlx_url}
    return tuple(name for name, where in asked.items() if config.revenue.enabled and where)


def collection_interval_seconds(config: Config) -> int:
    """Return the seconds from one collection to the next."""
    return config.orchestrator.scan_interval_seconds * config.revenue.collection_interval_scans
