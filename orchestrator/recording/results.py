"""What became of a record."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from orchestrator.errors import NotRecorded
from orchestrator.ledger.calls import CostSource

__all__ = ["NotRecorded", "Outcome", "Recorded"]

Outcome = Literal["stored", "duplicate", "spooled", "refused", "lost"]


@dataclass(frozen=True, slots=True)
class Recorded:
    """What became of one record.

    `cost_usd` is None when the cost is not known, and for revenue; for a duplicate it is that of the record that was there, or where
    that one was pruned, what was computed now. `outcome`: `stored` in the file; `duplicate`, the id was there; `spooled`, on the disk
    beside the file, from where it is stored at the next chance; `refused` for the reason in `problem`; `lost`, it could be written
    nowhere. `problem` is one line on what is not as it should be, None when all is well.
    """

    id: str
    cost_usd: Decimal | None
    cost_source: CostSource | None
    outcome: Outcome
    problem: str | None = None

    @property
    def is_kept(self) -> bool:
        """Return whether the record is where it will be counted."""
        return self.outcome in ("stored", "duplicate", "spooled")
