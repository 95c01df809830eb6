"""How a report leaves the command line: a table for people, or JSON, JSON lines or CSV for programs, to stdout or a new file."""

import csv
import io
import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import click

from orchestrator.cli.flags import ReportFlags
from orchestrator.cli.output import json_text, plain
from orchestrator.errors import FileExists
from orchestrator.ledger.spooled import spooled_text
from orchestrator.reports.window import Window
from orchestrator.text import one_line

# A cell like =HYPERLINK("…") is computed by the spreadsheet that opens the file; @cf/meta/llama and -3.5 are harmless.
_FORMULA = re.compile(r"\s*[=+@-].*[(|!]", re.DOTALL)


@dataclass(frozen=True)
class Table:
    """Cells as text; `align` has l or r for each column, `total` is the last line, and `below` is said under it."""

    title: str
    heads: tuple[str, ...]
    align: str
    rows: Sequence[tuple[str, ...]]
    total: tuple[str, ...] | None = None
    below: str = ""


@dataclass(frozen=True)
class Report:
    """One answer in every form: the document that JSON holds, the same as flat records of these columns, and a table.

    `remark` is what none of them can say: from when on it is known.
    """

    document: object
    columns: tuple[str, ...]
    records: Sequence[Mapping[str, object]]
    table: Table
    remark: str = ""


def put(report: Report, flags: ReportFlags, now: datetime) -> None:
    """Write a report as the flags say; a file that exists already is never written over (FileExists).

    Beside data for programs the remark goes to stderr.
    """
    form = flags.form
    if report.remark and form != "table":
        click.echo(report.remark, err=True)
    if form == "table" and flags.output is None and sys.stdout.isatty():
        _put_rich(report.table)
        text = _lines(report.table.below, report.remark)
    elif form == "table":
        text = _lines(table_text(report.table), report.table.below, report.remark)
    else:
        text = {"json": _json, "jsonl": _json_lines, "csv": _csv}[form](report, now)
    if flags.output is not None and str(flags.output) != "-":
        _write_new(flags.output, f"{text}\n" if text else "")
    elif text:
        click.echo(text)


def table_text(table: Table) -> str:
    """Return a table as aligned lines, the title first."""
    lines = [table.heads, *table.rows, *([table.total] if table.total else [])]
    cells = [[one_line(cell) for cell in line] for line in lines]
    widths = [max(len(line[i]) for line in cells) for i in range(len(table.heads))]
    aligned = (
        "  ".join(cell.ljust(width) if side == "l" else cell.rjust(width) for cell, width, side in zip(line, widths, table.align, strict=True))
        for line in cells
    )  # fmt: skip
    return "\n".join([table.title, *(line.rstrip() for line in aligned)])


def spool_remark(records: int | None) -> str:
    """Return what a report says below it of records that wait beside the file, None: some; nothing for none."""
    waiting = spooled_text(records)
    return f"{waiting[:1].upper()}{waiting[1:]}, and {'is' if records == 1 else 'are'} not counted." if waiting else ""


def span_text(window: Window) -> str:
    """Return a window for a reader: its local days or, where it cuts one, local times; and their zone."""
    if window.parts or window.first > window.last:
        start, end = (f"{at.astimezone(window.tz):%Y-%m-%d %H:%M}" for at in (window.start, window.end))
    else:
        start, end = window.first.isoformat(), window.last.isoformat()
    return f"{start} ({window.tz.key})" if start == end else f"{start} to {end} ({window.tz.key})"


def _put_rich(table: Table) -> None:
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    # Text, not str: what stands in brackets in a stranger's name is no markup.
    drawn = RichTable(title=Text(table.title), title_justify="left", box=SIMPLE, show_footer=table.total is not None)
    for head, side, footer in zip(table.heads, table.align, table.total or [""] * len(table.heads), strict=True):
        # A name may take two lines where room is short; a number must not.
        drawn.add_column(
            Text(head), justify="left" if side == "l" else "right", overflow="fold", no_wrap=side == "r", footer=Text(footer)
        )  # fmt: skip
    for row in table.rows:
        drawn.add_row(*(Text(one_line(cell)) for cell in row))
    Console().print(drawn)


def _lines(*texts: str) -> str:
    return "\n".join(text for text in texts if text)


def _json(report: Report, now: datetime) -> str:
    return json_text(report.document, now)


def _json_lines(report: Report, _now: datetime) -> str:
    return "\n".join(json.dumps(plain(record), ensure_ascii=False) for record in report.records)


def _csv(report: Report, _now: datetime) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(report.columns)
    for record in report.records:
        writer.writerow([_csv_cell(record[column]) for column in report.columns])
    return text.getvalue().removesuffix("\n")


def _csv_cell(value: object) -> str:
    """Return a value as CSV has it: nothing for unknown, amounts exact, lists by spaces, no formula."""
    if value is None:
        return ""
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, tuple):
        return " ".join(map(str, value))
    text = str(plain(value))
    return f"'{text}" if _FORMULA.match(text) else text


def _write_new(path: Path, text: str) -> None:
    try:
        with path.open("x", encoding="utf-8", newline="") as file:
            file.write(text)
    except FileExistsError as error:
        raise FileExists(path) from error
    except OSError as error:
        raise click.FileError(str(path), error.strerror) from error
