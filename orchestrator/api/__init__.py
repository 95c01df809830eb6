"""The in-process API: what an agent's own code asks and records.

Each call finds the file as the command line does and opens it once; `db=` names another file, a path or a `Database`, and `now=` an
aware datetime instead of the clock. Every call may be made from any thread, and after a fork. A name is loaded on first use (PEP 562):
who only asks does not pay for prices.
"""

from importlib import import_module

# Where each public name is defined.
HOMES = {
    "calculate_cost": "records",
    "close": "files",
    "format_for_context": "answers",
    "get_ai_spend_summary": "spending",
    "get_alert_history": "answers",
    "get_cost_stats": "spending",
    "get_daily_costs": "spending",
    "get_latest": "answers",
    "get_monthly_costs": "spending",
    "get_operating_cost_total": "answers",
    "get_pnl": "answers",
    "get_revenue_total": "answers",
    "get_service_breakdown": "spending",
    "get_top_users": "spending",
    "get_weekly_trend": "answers",
    "record_call": "records",
    "record_calls": "records",
    "record_cost": "records",
    "record_revenue": "records",
    "tags": "records",
}


def __getattr__(name: str) -> object:
    """Load a public name from the module that defines it."""
    home = HOMES.get(name)
    if home is None:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    found = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = found
    return found
