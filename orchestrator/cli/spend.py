"""`spend`: what AI calls cost, in all or by one of their dimensions."""

from dataclasses import fields, replace
from datetime import UTC, date, datetime
from typing import cast

import click

from orchestrator.cli.flags import ReportFlags, report_flags
from orchestrator.cli.main import Options
from orchestrator.cli.opening import for_report
from orchestrator.cli.tables import Report, Table, put, span_text, spool_remark
from orchestrator.ledger import setup as setups
from orchestrator.ledger.spooled import spooled
from orchestrator.money import usd_text
from orchestrator.reports import spending
from orchestrator.reports.spending import AiSpend, Breakdown, By, Row, TierSpend
from orchestrator.reports.window import Window

SUMS = tuple(field.name for field in fields(Row) if field.name != "dimensions")
TIER_SUMS = tuple(field.name for field in fields(TierSpend))
HEADS = ("calls", "unpriced", "cost")
TOKENS = ("input", "cache read", "output")


@click.command()
@report_flags(*spending.NAMES, filters=True)
@click.pass_obj
def spend(options: Options, flags: ReportFlags) -> None:
    """Show what AI calls cost: in all and by tier or, with --by, a row for each day, model, tenant and so on.

    It covers the last 30 days, today included, unless told otherwise.
    """
    database, configured = for_report(options)
    now = datetime.now(UTC)
    with database.read() as connection:
        setup = setups.read(connection, configured)
        window = flags.window(setup, now)
        if flags.by is None:
            report = _in_all(spending.ai_spend(connection, window, flags.filters), window)
        else:
            by = cast(By, flags.by)
            rows = spending.breakdown(connection, setup, by, window, flags.filters, flags.limit)
            report = _by(rows, by, window)
    remarks = (report.remark, spool_remark(spooled(database.path)))
    put(replace(report, remark="\n".join(filter(None, remarks))), flags, now)


def _in_all(spend: AiSpend, window: Window) -> Report:
    whole = TierSpend(spend.total_calls, spend.total_cost_usd, spend.unpriced_calls)
    table = Table(
        f"AI calls by tier, {span_text(window)}",
        ("tier", *HEADS),
        "lrrr",
        [(_name(tier), *_cells(one)) for tier, one in spend.by_tier.items()],
        total=("all", *_cells(whole)),
    )
    records = [{"tier": tier, **vars(one)} for tier, one in spend.by_tier.items()]
    return Report(spend, ("tier", *TIER_SUMS), records, table)


def _by(found: Breakdown, by: By, window: Window) -> Report:
    names = spending.NAMES[by]
    table = Table(
        f"AI calls by {by}, {span_text(window)}",
        (*names, *HEADS, *TOKENS),
        "l" * len(names) + "rrrrrr",
        [(*map(_name, row.dimensions.values()), *_cells(row), *_tokens(row)) for row in found.rows],
        total=("all", *[""] * (len(names) - 1), *_cells(found.total), *_tokens(found.total)),
    )
    records = [row.dimensions | {name: getattr(row, name) for name in SUMS} for row in found.rows]
    return Report(records, (*names, *SUMS), records, table, _remark(found.known_from))


def _remark(known_from: date | None) -> str:
    if known_from is None:
        return ""
    return (
        f"Calls before {known_from} were pruned: of those days only daily sums are known, not what this report needs."
    )


def _name(value: str | None) -> str:
    return "(none)" if value is None else value


def _cells(sums: Row | TierSpend) -> tuple[str, str, str]:
    # Where no call has a price the cost is unknown, and not $0.00.
    cost = "unknown" if sums.calls and sums.calls == sums.unpriced_calls else usd_text(sums.cost_usd)
    return str(sums.calls), str(sums.unpriced_calls), cost


def _tokens(row: Row) -> tuple[str, str, str]:
    read, cached, written = (
        "unknown" if count is None else str(count)
        for count in (row.input_tokens, row.cache_read_tokens, row.output_tokens)
    )
    return read, cached, written
