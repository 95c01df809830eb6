"""A process that does what it is told on standard input to a ledger, as one of several at once: a path, a zone, then acts."""

import json
import sys

from ledger_world import perform

from orchestrator.periods import zone
from orchestrator.store.database import Database

if __name__ == "__main__":
    path, zone_name, acts = json.load(sys.stdin)
    database = Database(path, busy_timeout_ms=20_000)
    for act in acts:
        perform(database, act, zone(zone_name))
    database.close()
