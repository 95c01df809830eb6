"""The MLX server: how many requests it has served and tokens it has made since it started, from its `/health`."""

from dataclasses import dataclass
from datetime import datetime

from orchestrator.collectors.fetch import Client
from orchestrator.collectors.numbers import counter, decimal
from orchestrator.ledger.snapshots import MLX_API, Snapshot

_WELL = {"ok", "okay", "healthy", "up", "running", "ready", "alive", "pass", "passing", "green", "success"}


@dataclass(frozen=True)
class Health:
    """What the server says of itself.

    The counters are those of its process. `healthy` and `uptime_seconds` are extras that many servers do not tell;
    `problems` names each counter that is None, and an extra only when it was told and not understood.
    """

    requests_served: int | None = None
    tokens_generated: int | None = None
    uptime_seconds: float | None = None
    healthy: bool | None = None
    problems: tuple[str, ...] = ()


async def collect_mlx(
    client: Client,
    *,
    mlx_url: str,
    requests_key: str = "requests_served",
    tokens_key: str = "total_tokens_generated",
    deadline_s: float = 5.0,
    now: datetime,
) -> Snapshot:
    """Ask the server's `/health` and return one row. Anything but HTTP 200 is a failure, whatever its body counts."""
    answer = await client.get_json(f"{mlx_url.rstrip('/')}/health", deadline_s=deadline_s)
    if answer.error:
        health = Health(problems=(answer.error,))
    else:
        health = read_health(answer.document, requests_key=requests_key, tokens_key=tokens_key)
    return Snapshot(
        source=MLX_API,
        collected_at=now,
        requests_served=health.requests_served,
        tokens_generated=health.tokens_generated,
        raw_json=None if answer.status is None else answer.raw_json,
        error=", ".join(health.problems) or None,
        uptime_seconds=health.uptime_seconds,
        healthy=health.healthy,
    )


def read_health(answer: object, *, requests_key: str, tokens_key: str) -> Health:
    """Return what a `/health` answer says; the keys are dotted paths into it, `stats.requests` for instance."""
    if not isinstance(answer, dict):
        return Health(problems=("no health object in the answer",))
    written = {requests_key: _at(answer, requests_key), tokens_key: _at(answer, tokens_key)}
    counters = {key: counter(value) for key, value in written.items()}
    if all(value is None for value in written.values()):
        problems = ["no counters in /health"]
    else:
        problems = [
            f"{key} missing" if written[key] is None else f"{key} not usable"
            for key, value in counters.items()
            if value is None
        ]
    told = next((answer[key] for key in ("uptime_seconds", "uptime_s", "uptime") if answer.get(key) is not None), None)
    uptime = decimal(told)
    if uptime is not None and uptime < 0:
        uptime = None
    if told is not None and uptime is None:
        problems.append("uptime not usable")
    return Health(
        requests_served=counters[requests_key],
        tokens_generated=counters[tokens_key],
        uptime_seconds=None if uptime is None else float(uptime),
        healthy=_healthy(answer),
        problems=tuple(problems),
    )


def _at(document: object, path: str) -> object:
    """Return what stands at a dotted path, or None."""
    for key in path.split("."):
        if not isinstance(document, dict):
            return None
        document = document.get(key)
    return document


def _healthy(answer: dict[object, object]) -> bool | None:
    """Return whether the server calls itself well: one word against it is enough, and None when it says none."""
    words = [word for key in ("ok", "healthy", "status") if isinstance(word := answer.get(key), bool)]
    match answer.get("status"):
        case str() as status:
            words.append(status.strip().lower() in _WELL)
    return all(words) if words else None
