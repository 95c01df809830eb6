"""`pnl`: what was earned, what was spent, and what is left."""

from dataclasses import fields
from datetime import UTC, datetime
from typing import cast

import click

from orchestrator.cli.flags import ReportFlags, report_flags
from orchestrator.cli.main import Options
from orchestrator.cli.opening import for_report
from orchestrator.cli.tables import Report, Table, put, span_text, spool_remark
from orchestrator.ledger import setup as setups
from orchestrator.ledger.setup import Setup
from orchestrator.ledger.spooled import spooled
from orchestrator.money import usd_text
from orchestrator.periods import day_of
from orchestrator.reports import pnl as reports
from orchestrator.reports import window as windows
from orchestrator.reports.pnl import Pnl
from orchestrator.reports.window import Period, Window

FIELDS = tuple(field.name for field in fields(Pnl))


@click.command()
@report_flags("day", "week", "month")
@click.pass_obj
def pnl(options: Options, flags: ReportFlags) -> None:
    """Show profit and loss: revenue, costs, what is left, and what of it is not known.

    It covers the last 30 days, today included, unless told otherwise.
    """
    database, configured = for_report(options)
    now = datetime.now(UTC)
    waiting = spooled(database.path)
    with database.read() as connection:
        setup = setups.read(connection, configured)
        window = flags.window(setup, now)
        if flags.by is None:
            report = _one(reports.pnl(connection, setup, window, now, spooled=waiting), window)
        else:
            by = cast(Period, flags.by)
            rows = reports.pnl_by(connection, setup, window, by, now, spooled=waiting)
            report = _many(rows[-(flags.limit or len(rows)) :], by, window, setup, waiting)
    put(report, flags, now)


def _one(pnl: Pnl, window: Window) -> Report:
    remarks = reports.remarks(pnl)
    booked = pnl.total_revenue_usd - (pnl.mining_usd or 0)
    rows = [
        ("Revenue", usd_text(pnl.total_revenue_usd), ""),
        ("- mined", _mined(pnl), remarks.get("mining_price", "")),
        ("- booked", usd_text(booked), remarks.get("revenue", "")),
        ("Costs", usd_text(pnl.total_costs_usd), ""),
        ("- AI calls", usd_text(pnl.ai_inference_cost_usd), remarks.get("ai_inference", "")),
        ("- operating", usd_text(pnl.operating_cost_usd), remarks.get("operating_cost", "")),
        ("Net", usd_text(pnl.net_pnl_usd), ", ".join(remarks.values())),
    ]
    table = Table(
        f"Profit and loss, {span_text(window)}",
        ("", "USD", "not counted"),
        "lrl",
        rows,
        below=f"Coverage: {pnl.coverage}.",
    )
    return Report(pnl, FIELDS, [vars(pnl)], table)


def _many(rows: list[Pnl], by: Period, window: Window, setup: Setup, waiting: int | None) -> Report:
    records = [
        {by: windows.label(by, day_of(row.period_start, window.tz), setup.week_starts_on), **vars(row)} for row in rows
    ]
    table = Table(
        f"Profit and loss by {by}, {span_text(window)}",
        (by, "revenue", "mined", "AI calls", "operating", "net", "not counted"),
        "lrrrrrl",
        [
            (
                record[by], usd_text(row.total_revenue_usd), _mined(row), usd_text(row.ai_inference_cost_usd),
                usd_text(row.operating_cost_usd), usd_text(row.net_pnl_usd), _not_counted(row),
            )
            for record, row in zip(records, rows, strict=True)
        ],
    )  # fmt: skip
    return Report(records, (by, *FIELDS), records, table, spool_remark(waiting))


def _not_counted(pnl: Pnl) -> str:
    """Return what a row lacks; what waits in the spool is of no day yet, and said once for all rows."""
    return ", ".join(said for name, said in reports.remarks(pnl).items() if name != "spooled_records")


def _mined(pnl: Pnl) -> str:
    return "unknown" if pnl.mining_usd is None else usd_text(pnl.mining_usd)
