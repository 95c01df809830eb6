"""Economic awareness for an autonomous AI agent and its operator: earnings, spending and what is left, from one SQLite file.

    import orchestrator

    prompt += orchestrator.format_for_context()

Every name below is loaded on first use; importing the package reads no file and imports nothing else.
"""

# What typing.TYPE_CHECKING is, without the 5 ms that importing typing costs.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from orchestrator.api.answers import (
        format_for_context,
        get_alert_history,
        get_latest,
        get_operating_cost_total,
        get_pnl,
        get_revenue_total,
        get_weekly_trend,
    )
    from orchestrator.api.files import close
    from orchestrator.api.records import calculate_cost, record_call, record_calls, record_cost, record_revenue, tags
    from orchestrator.api.spending import (
        get_ai_spend_summary,
        get_cost_stats,
        get_daily_costs,
        get_monthly_costs,
        get_service_breakdown,
        get_top_users,
    )

__all__ = [
    "calculate_cost",
    "close",
    "format_for_context",
    "get_ai_spend_summary",
    "get_alert_history",
    "get_cost_stats",
    "get_daily_costs",
    "get_latest",
    "get_monthly_costs",
    "get_operating_cost_total",
    "get_pnl",
    "get_revenue_total",
    "get_service_breakdown",
    "get_top_users",
    "get_weekly_trend",
    "record_call",
    "record_calls",
    "record_cost",
    "record_revenue",
    "tags",
]


def __getattr__(name: str) -> object:
    """Load a public name from orchestrator.api (PEP 562)."""
    if name not in __all__:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    from orchestrator.loading import loading

    with loading():
        from orchestrator import api

        # Kept, so that the next use finds it without asking here again.
        found = globals()[name] = getattr(api, name)
    return found


def __dir__() -> list[str]:
    return sorted(__all__)
