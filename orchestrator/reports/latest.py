"""Where each source stands: its last good snapshot, how old it is, and what was tried since."""

from collections.abc import Callable
from datetime import datetime

from orchestrator.errors import FileMissing
from orchestrator.ledger import setup as setups
from orchestrator.ledger import snapshots
from orchestrator.ledger.setup import Setup
from orchestrator.ledger.snapshots import SOURCES, Latest
from orchestrator.loading import loading
from orchestrator.store.database import Database


def latest_by_source(database: Database, otherwise: Callable[[], Setup], now: datetime) -> dict[str, Latest | None]:
    """Return every source's standing; None for one that is neither configured nor in the file.

    `otherwise` tells what is configured where the file does not. Raises StoreError for a file that cannot be read.
    """
    try:
        with database.read() as connection:
            setup = setups.read(connection, otherwise)
            found = {
                source: snapshots.latest(connection, source, setup.interval_seconds, now)
                for source in snapshots.sources_in(connection)
            }
    except FileMissing:
        with loading():
            setup, found = otherwise(), {}
    return {
        source: found.get(source) or (snapshots.never(source) if source in (setup.sources or ()) else None)
        for source in SOURCES
    }
