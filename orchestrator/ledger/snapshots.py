"""Revenue snapshots: what one source said at one moment, one row of `revenue_snapshots` each."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

XMR_MINING: Final = "xmr-mining"
MLX_API: Final = "mlx-api"


@dataclass(frozen=True)
class Snapshot:
    """What a source said at `collected_at`, an aware instant. None is "not known", and `error` says why.

    Amounts are piconero, the hashrate is H/s, the price USD per XMR; counters are those of the server's process.
    """

    source: str
    collected_at: datetime
    balance_atomic: int | None = None
    paid_atomic: int | None = None
    hashrate: float | None = None
    xmr_price_usd: float | None = None
    requests_served: int | None = None
    tokens_generated: int | None = None
    raw_json: str | None = None
    error: str | None = None
    uptime_seconds: float | None = None
    healthy: bool | None = None
    last_hash_at: datetime | None = None
