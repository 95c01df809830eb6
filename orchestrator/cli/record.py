"""`record`: calls, costs and revenue, from options or from lines of JSON; and `record void`, which takes one back."""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import partial
from typing import Any, TypeVar, cast

import click

from orchestrator import config as configuration
from orchestrator import recording
from orchestrator.cli import jsonl
from orchestrator.cli.main import Options
from orchestrator.cli.output import print_json
from orchestrator.money import usd_text
from orchestrator.periods import instant_from_text
from orchestrator.recording import Kind, Recorded, Rules
from orchestrator.store.database import Database

Function = TypeVar("Function", bound=Callable[..., object])

FAILED = 1


def amount(said: str) -> Decimal:
    """Return a decimal number."""
    try:
        return Decimal(said)
    except ArithmeticError:
        raise click.BadParameter(f"{said!r} is not a number") from None  # noqa: EM102 - click's own kind of error


def time(said: str) -> str:
    """Return a time with its zone, or a day, as it was said: the recording knows the zone that a day is of."""
    if instant_from_text(said) is None and not _is_day(said):
        raise click.BadParameter(f"{said!r} is neither a day nor a time with its zone, like 2026-11-21T07:30:00Z")  # noqa: EM102
    return said


def json(said: str) -> dict[str, Any]:
    """Return an object of JSON."""
    found = jsonl.read_object(said)
    if isinstance(found, str):
        raise click.BadParameter(f"{said!r} {found}")  # noqa: EM102 - click's own kind of error
    return found


Kinds = Mapping[str, tuple[object, str]]

_TEXT, _COUNT, _FLAG = click.STRING, click.INT, click.BOOL

# The arguments of orchestrator.api, by name; a test holds the two together.
_CALL: Kinds = {
    "service": (_TEXT, "Who was called: openai, anthropic, openrouter, elevenlabs …"),
    "model": (_TEXT, "The model, by the name that the service knows."),
    "usage": (json, "The usage as the provider reported it."),
    "input_tokens": (_COUNT, "Tokens neither read from nor written to a cache."),
    "cache_read_tokens": (_COUNT, "Input tokens read from the provider's cache."),
    "cache_write_tokens": (_COUNT, "Input tokens written to the provider's cache."),
    "output_tokens": (_COUNT, "Tokens of the answer, reasoning included."),
    "reasoning_tokens": (_COUNT, "The part of the output that was reasoning."),
    "quantity": (amount, "How much was used of what is not billed by tokens."),
    "unit": (_TEXT, "What the quantity counts: characters, images, seconds, videos, requests, credits."),
    "input_text": (_TEXT, "The prompt, to estimate its tokens where nobody counted; it is not stored."),
    "cost_usd": (amount, "What the call cost, where you know; otherwise it is looked up."),
    "call_id": (_TEXT, "Your id of the call: recording it twice is recording it once."),
    "called_at": (time, "When the call was made; now unless given."),
    "operation": (_TEXT, "What the call did."),
    "tier": (_TEXT, "The tier that it belongs to."),
    "tenant_id": (_TEXT, "For which tenant."),
    "user_id": (_TEXT, "For which user."),
    "organization_id": (_TEXT, "For which organization."),
    "session_id": (_TEXT, "In which session."),
    "endpoint": (_TEXT, "Which endpoint of your program made it."),
    "resource_type": (_TEXT, "What kind of thing it was made for."),
    "resource_id": (_TEXT, "Which of them."),
    "cache_hit": (_FLAG, "Answered from a cache of your own: it cost nothing."),
    "succeeded": (_FLAG, "Whether the call succeeded; it did unless told otherwise."),
    "error": (_TEXT, "What it failed with."),
    "duration_ms": (amount, "How many milliseconds it took."),
    "metadata": (json, "Anything else to keep with it, at most 8 KiB."),
}
_COST: Kinds = {
    "category": (_TEXT, "What was paid for: hosting, storage, licences …"),
    "amount_usd": (amount, "USD, negative for a refund."),
    "service": (_TEXT, "Who was paid."),
    "description": (_TEXT, "A sentence for the reader."),
    "quantity": (amount, "How much of it was used."),
    "unit": (_TEXT, "What the quantity counts."),
    "period_start": (time, "From when on it was used; now unless given. A day is its local midnight."),
    "period_end": (time, "When the period was over: the cost is spread over its days. Without it, it belongs to one."),
    "tenant_id": (_TEXT, "For which tenant."),
    "resource_type": (_TEXT, "What kind of thing it was paid for."),
    "resource_id": (_TEXT, "Which of them."),
    "entry_id": (_TEXT, "Your id of the entry: recording it twice is recording it once."),
}
_REVENUE: Kinds = {
    "source": (_TEXT, "Where it came from."),
    "amount_usd": (amount, "USD, negative for a refund."),
    "strategy_id": (_TEXT, "Which strategy earned it."),
    "earned_at": (time, "When it was earned; now unless given."),
    "currency": (_TEXT, "The currency of the original amount."),
    "original_amount": (amount, "The amount in that currency; unknown in USD unless you say."),
    "tenant_id": (_TEXT, "For which tenant."),
    "note": (_TEXT, "A sentence for the reader."),
    "entry_id": (_TEXT, "Your id of the entry: recording it twice is recording it once."),
}
_KINDS = ("call", "cost", "revenue")
_REQUIRED: Mapping[Kind, tuple[str, ...]] = {
    "call": ("service", "model"),
    "cost": ("category", "amount_usd"),
    "revenue": ("source",),
}


def _arguments(table: Kinds) -> Callable[[Function], Function]:
    """Add an option for each argument, and what all the commands have."""

    def add(function: Function) -> Function:
        function = click.option("--json", "as_json", is_flag=True, help="Print JSON with the names of the API.")(
            function
        )
        function = click.option(
            "--strict", is_flag=True, help="Record nothing, and fail, if anything is not as it should be."
        )(function)
        for name, (kind, explained) in reversed(list(table.items())):
            option = name.replace("_", "-")
            declared = f"--{option}/--no-{option}" if kind is _FLAG else f"--{option}"
            function = click.option(declared, name, type=cast("Any", kind), default=None, help=explained)(function)
        return click.argument("lines", metavar="[-]", required=False, type=click.Choice(["-"]))(function)

    return add


@click.group()
def record() -> None:
    """Record an AI call, an operating cost or revenue; or void what was recorded wrongly."""


@record.command()
@_arguments(_CALL)
@click.pass_obj
def call(options: Options, /, lines: str | None, *, strict: bool, as_json: bool, **given: object) -> int:
    """Record an AI call; with -, calls from standard input, a JSON object a line with the options' names (input_tokens).

    Options given with - hold for every line that does not say otherwise.
    """
    return _record(options, "call", given, lines=lines, strict=strict, as_json=as_json)


@record.command()
@_arguments(_COST)
@click.pass_obj
def cost(options: Options, /, lines: str | None, *, strict: bool, as_json: bool, **given: object) -> int:
    """Record what anything but AI calls cost; with -, a JSON object a line from standard input."""
    return _record(options, "cost", given, lines=lines, strict=strict, as_json=as_json)


@record.command()
@_arguments(_REVENUE)
@click.pass_obj
def revenue(options: Options, /, lines: str | None, *, strict: bool, as_json: bool, **given: object) -> int:
    """Book what was earned, but for mining, which is measured; with -, a JSON object a line from standard input."""
    return _record(options, "revenue", given, lines=lines, strict=strict, as_json=as_json)


@record.command()
@click.argument("ids", metavar="ID…|-", nargs=-1, required=True)
@click.option("--kind", type=click.Choice(_KINDS), help="What it is, where two have the same id.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def void(options: Options, /, ids: tuple[str, ...], *, kind: Kind | None, as_json: bool) -> int:
    """Take calls and entries out of every sum, by their ids. What is right is recorded under another id.

    With -, a JSON object a line from standard input, with the `id`, and perhaps a `kind`.
    """
    database, rules = _opened(options)
    now = datetime.now(UTC)
    # What waits in the spool can be voided once it is stored.
    recording.drain(database, rules)
    outcomes = [
        (where, one, fault or recording.void(database, rules, one, its_kind, now=now))
        for where, one, its_kind, fault in _to_void(ids, kind)
    ]
    if as_json:
        print_json([{"id": one, "outcome": outcome} for _, one, outcome in outcomes], now)
    else:
        for where, one, outcome in outcomes:
            its_id = f"{one}: " if one else ""
            click.echo(f"{where}{its_id}{_VOIDED.get(outcome, outcome)}", err=outcome not in _DONE)
    return FAILED if any(outcome not in _DONE for *_, outcome in outcomes) else 0


_DONE = ("voided", "already voided")
_VOIDED = {
    "unknown": "nothing was recorded under this id",
    "ambiguous": "there is more than one of this id; say --kind call, cost or revenue",
}


def _to_void(ids: tuple[str, ...], kind: Kind | None) -> Iterator[tuple[str, str, Kind | None, str]]:
    """Yield where each id stands, the id, its kind, and what is wrong with it, empty for nothing."""
    for one in ids:
        if one != "-":
            yield "", one, kind, ""
            continue
        with jsonl.batches("voiding") as batches:
            for batch in batches:
                for number, found in batch:
                    where = f"line {number}: "
                    match found:
                        case {"id": str() as its_id, "kind": "call" | "cost" | "revenue" as its_kind}:
                            yield where, its_id, its_kind, ""
                        case {"id": str() as its_id} if "kind" not in found:
                            yield where, its_id, kind, ""
                        case _:
                            yield (
                                where,
                                "",
                                None,
                                found if isinstance(found, str) else 'has no "id", or a strange "kind"',
                            )


def _opened(options: Options) -> tuple[Database, Rules]:
    """Return the file, and the configuration's prices and zone; raises ConfigError only where nobody can tell which file it is."""
    cwd = configuration.working_directory()
    path = configuration.find_database(options.db, options.config_path, os.environ, cwd)
    with suppress(OSError):
        configuration.ensure_directory(path, os.environ, cwd)
    return Database(path), Rules(
        partial(configuration.load, config_path=options.config_path, db=options.db, environ=os.environ, cwd=cwd)
    )


def _record(
    options: Options, kind: Kind, given: dict[str, Any], *, lines: str | None, strict: bool, as_json: bool
) -> int:
    said = {name: value for name, value in given.items() if value is not None}
    if lines is not None:
        if strict:
            raise click.UsageError("--strict is for a single record")  # noqa: EM101 - click's own kind of error
        return _record_lines(options, kind, said, as_json=as_json)
    due = _REQUIRED[kind] if kind != "revenue" or "original_amount" in said else (*_REQUIRED[kind], "amount_usd")
    if missing := [name for name in due if name not in said]:
        raise click.UsageError(f"Missing option '--{missing[0].replace('_', '-')}'.")  # noqa: EM102 - as above
    database, rules = _opened(options)
    now = datetime.now(UTC)
    recorded = recording.record(database, rules, kind, said, strict=strict, now=now)
    if as_json:
        print_json(recorded, now)
    else:
        click.echo(f"{recorded.outcome} {recorded.id}{_cost_text(kind, recorded)}")
        if recorded.problem:
            click.echo(recorded.problem, err=True)
    return 0 if recorded.is_kept else FAILED


def _record_lines(options: Options, kind: Kind, said: dict[str, Any], *, as_json: bool) -> int:
    """Record what stands on standard input, and name each line that was not, the others' problems once."""
    database, rules = _opened(options)
    outcomes: Counter[str] = Counter()
    problems: dict[str, list[int]] = {}
    answers: list[dict[str, object]] = []
    with jsonl.batches("recording") as batches:
        for batch in batches:
            objects = [said | found for _, found in batch if isinstance(found, dict)]
            recorded = recording.record_all(database, rules, kind, objects, now=datetime.now(UTC))
            for number, found in batch:
                answer = _NO_OBJECT | {"problem": found} if isinstance(found, str) else asdict(next(recorded))
                outcomes[answer["outcome"]] += 1
                if answer["outcome"] in _NOT_KEPT:
                    click.echo(f"line {number}: {answer['outcome']}: {answer['problem']}", err=True)
                elif answer["problem"] is not None:
                    problems.setdefault(answer["problem"], []).append(number)
                if as_json:
                    answers.append({"line": number, **answer})
    for problem, numbers in problems.items():
        others = f" and {len(numbers) - 1} more" if len(numbers) > 1 else ""
        click.echo(f"line {numbers[0]}{others}: {problem}", err=True)
    if as_json:
        print_json(answers, datetime.now(UTC))
    else:
        counts = [f"{outcomes[one]} {one}" for one in _OUTCOMES if outcomes[one]]
        click.echo(", ".join(counts) or "nothing to record")
    return FAILED if any(outcomes[one] for one in _NOT_KEPT) else 0


_OUTCOMES = ("stored", "duplicate", "spooled", "refused", "lost", "failed")
_NOT_KEPT = ("refused", "lost", "failed")
_NO_OBJECT: dict[str, Any] = {"id": None, "cost_usd": None, "cost_source": None, "outcome": "failed"}


def _cost_text(kind: Kind, recorded: Recorded) -> str:
    if kind == "revenue" or recorded.outcome == "refused":
        return ""
    if recorded.cost_usd is None:
        return " cost unknown"
    return f" {usd_text(recorded.cost_usd)} ({recorded.cost_source})"


def _is_day(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return len(text) == len("2026-11-21")
