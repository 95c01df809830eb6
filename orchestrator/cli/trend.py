"""`trend`: this week beside last week."""

from datetime import UTC, datetime

import click

from orchestrator.cli.main import Options
from orchestrator.cli.opening import for_report
from orchestrator.cli.output import print_json
from orchestrator.ledger import setup as setups
from orchestrator.money import usd_text, xmr_text
from orchestrator.reports.trends import WeekGrowth, WeeklyTrend, weekly_trend


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON with the names of the API.")
@click.pass_obj
def trend(options: Options, *, as_json: bool) -> None:
    """Compare this week so far with last week: XMR mined, its value in USD, MLX requests and tokens."""
    database, configured = for_report(options)
    now = datetime.now(UTC)
    with database.read() as connection:
        setup = setups.read(connection, configured)
        weeks = weekly_trend(connection, setup, now)
    if as_json:
        print_json(weeks, now)
        return
    click.echo(_table(weeks))
    click.echo(f"Weeks begin on {setup.week_starts_on.capitalize()} in {setup.timezone}; ~ marks an estimate.")


def _table(weeks: WeeklyTrend) -> str:
    columns = [weeks.this_week, weeks.last_week_to_date, weeks.last_week]
    heads = ["", "this week", "to this point", "last week", "change"]
    change = weeks.change_percent
    rows = [
        ["XMR mined", *map(_mined, columns), _percent(change["xmr_atomic"])],
        ["value", *map(_value, columns), _percent(change["xmr_usd"])],
        ["without a price", *map(_unpriced, columns), ""],
        ["requests", *(_count(week.requests, week) for week in columns), _percent(change["requests"])],
        ["tokens", *(_count(week.tokens, week) for week in columns), _percent(change["tokens"])],
    ]
    widths = [max(len(row[i]) for row in [heads, *rows]) for i in range(len(heads))]
    return "\n".join(
        "  ".join(cell.ljust(width) if i == 0 else cell.rjust(width) for i, (cell, width) in enumerate(zip(row, widths, strict=True)))
        for row in [heads, *rows]
    )  # fmt: skip


def _mined(week: WeekGrowth) -> str:
    return "unknown" if week.xmr_atomic is None else _about(week.xmr_flag) + xmr_text(week.xmr_atomic)


def _value(week: WeekGrowth) -> str:
    return "unknown" if week.xmr_usd is None else _about(week.xmr_flag) + usd_text(week.xmr_usd)


def _unpriced(week: WeekGrowth) -> str:
    return "unknown" if week.unpriced_atomic is None else xmr_text(week.unpriced_atomic)


def _count(count: int | None, week: WeekGrowth) -> str:
    return "unknown" if count is None else f"{_about(week.mlx_flag)}{count}"


def _about(flag: str) -> str:
    return "~" if flag == "estimated" else ""


def _percent(change: float | None) -> str:
    return "" if change is None else f"{change:+.0f}%"
