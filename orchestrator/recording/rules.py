"""What a record needs of the configuration: the reader's own prices, and the zone of a file that has none yet."""

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from orchestrator.loading import guard_forks, loading
from orchestrator.pricing import PriceBook, configured_rates

if TYPE_CHECKING:
    from orchestrator.config import Config

DEFAULT_ZONE: Final = "UTC"

log = logging.getLogger("orchestrator.recording")

guard_forks()  # logging is there now


class Rules:
    """The prices and the zone, read when they are first asked for; a configuration with a problem is as good as none.

    Two threads that ask first at the same time may both read it, and find the same.
    """

    def __init__(self, load: "Callable[[], Config]") -> None:
        self._load = load
        self._read: tuple[PriceBook, str] | None = None

    def prices(self) -> PriceBook:
        """Return the price book, with the configured prices in it."""
        return (self._read or self._now_read())[0]

    def timezone(self) -> str:
        """Return the name of the configured zone."""
        return (self._read or self._now_read())[1]

    def _now_read(self) -> tuple[PriceBook, str]:
        try:
            with loading():
                config = self._load()
            overrides = {model: configured_rates(**vars(price)) for model, price in config.prices.items()}
            self._read = PriceBook(overrides), config.orchestrator.timezone
        except Exception as error:  # noqa: BLE001 - whatever is wrong with a file of settings, it must not cost us a record
            log.warning("recording without the configuration, at the usual prices: %s", " ".join(str(error).split()))
            self._read = PriceBook(), DEFAULT_ZONE
        return self._read


def configured(database: Path) -> Rules:
    """Return the rules of the configuration that this process finds for a database."""

    def load() -> "Config":
        from orchestrator import config

        return config.load(db=database, environ=os.environ, cwd=config.working_directory())

    return Rules(load)
