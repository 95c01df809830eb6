"""`prices list|show`: what models, images, seconds and gigabytes cost, and who says so."""

from collections.abc import Sequence
from dataclasses import asdict, fields
from datetime import UTC, datetime

import click

from orchestrator.cli.flags import ReportFlags
from orchestrator.cli.main import Options
from orchestrator.cli.opening import project as open_project
from orchestrator.cli.tables import Report, Table, put
from orchestrator.pricing import Listing, PriceBook
from orchestrator.recording import Rules
from orchestrator.text import one_line

COLUMNS = tuple(field.name for field in fields(Listing))


@click.group()
def prices() -> None:
    """Show what is charged for a call: your own prices, then prices.toml, then genai-prices."""


@prices.command("list")
@click.argument("search", default="")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def list_(options: Options, search: str, *, as_json: bool) -> None:
    """Show every price in all tables, or those whose service or model contains SEARCH."""
    found = list(_book(options).listed(search))
    if not found and not as_json:
        click.echo(f"No price has {one_line(search)!r} in its service or model.", err=True)
        return
    _put(f"Prices of {one_line(search)!r}" if search else "Prices", found, as_json=as_json)


@prices.command()
@click.argument("model")
@click.option("--service", help="Who sells it, where several do.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def show(options: Options, model: str, service: str | None, *, as_json: bool) -> int:
    """Show what a call of MODEL would be charged now. Exit 1, with the reason, when that is not known."""
    found, problem = _book(options).shown(model, service=service, at=datetime.now(UTC))
    if len({(one.unit, one.beyond_prompt_tokens) for one in found}) < len(found):
        problem = "sold at more than one price: name the service"
    if found or as_json:
        _put(f"Price of {one_line(model)}", found, as_json=as_json)
    if found and problem is None:
        return 0
    click.echo(f"{one_line(model)}: {problem or 'no price today'}", err=True)
    return 1


def _book(options: Options) -> PriceBook:
    config = open_project(options).config
    return Rules(lambda: config).prices()


def _put(title: str, found: Sequence[Listing], *, as_json: bool) -> None:
    rows = [
        (
            one.service or "",
            one.model,
            f"{one.usd:f}",
            _measure(one),
            "" if one.valid_from is None else one.valid_from.isoformat(),
            one.source if one.table == "genai-prices" else one.table,
        )
        for one in found
    ]
    table = Table(title, ("service", "model", "USD", "for", "from", "listed in"), "llrlll", rows)
    report = Report(found, COLUMNS, [asdict(one) for one in found], table)
    put(report, ReportFlags(as_json=as_json), datetime.now(UTC))


def _measure(one: Listing) -> str:
    """Return what a price is for: `1 image`, `1M input tokens, prompt beyond 200000`."""
    unit = one.unit.replace("_", " ")
    match one.per:
        case 1:
            measure = f"1 {unit.removesuffix('s')}"
        case 1_000_000:
            measure = f"1M {unit}"
        case per:
            measure = f"{per} {unit}"
    return measure if one.beyond_prompt_tokens is None else f"{measure}, prompt beyond {one.beyond_prompt_tokens}"
