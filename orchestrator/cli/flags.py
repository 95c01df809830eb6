"""The flags that reports share: which time, which rows, in which form, and where to."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from functools import wraps
from pathlib import Path
from typing import Any

import click

from orchestrator.ledger.setup import Setup
from orchestrator.periods import day_of, zone
from orchestrator.reports import window as windows
from orchestrator.reports.call_sums import Filters
from orchestrator.reports.window import Period, Window

FORMATS = ("table", "json", "jsonl", "csv")
MOST_DAYS = 36_525

_Command = Callable[..., Any]


@dataclass(frozen=True)
class ReportFlags:
    """What the user asked for; None is not said."""

    since: str | None = None
    until: str | None = None
    days: int | None = None
    period: Period | None = None
    date: str | None = None
    by: str | None = None
    limit: int | None = None
    format: str | None = None
    as_json: bool = False
    export: str | None = None
    output: Path | None = None
    service: str | None = None
    model: str | None = None
    tenant: str | None = None
    user: str | None = None

    def __post_init__(self) -> None:
        ways = {
            "--since and --until": self.since is not None or self.until is not None,
            "--days": self.days is not None,
            "--period and --date": self.period is not None or self.date is not None,
        }
        # --days N --until DATE is no contradiction: so many days, the last of them that one.
        if self.days is not None and self.since is None:
            ways["--since and --until"] = False
        said = [way for way, given in ways.items() if given]
        if len(said) > 1:
            raise click.UsageError(f"Say the time in one way: {', or '.join(said)}.")  # noqa: EM102 - click's own kind of error

    @property
    def filters(self) -> Filters:
        """Return which calls count."""
        return Filters(self.service, self.model, self.tenant, self.user)

    @property
    def form(self) -> str:
        """Return the format: the one that was named, else what the name of the file ends in, else a table."""
        named = {name for name in (self.format, self.export, "json" if self.as_json else None) if name is not None}
        if len(named) > 1:
            raise click.UsageError(f"Name one format, not {' and '.join(sorted(named))}.")  # noqa: EM102 - as above
        suffix = "" if self.output is None else self.output.suffix.removeprefix(".")
        return named.pop() if named else suffix if suffix in FORMATS else "table"

    def window(self, setup: Setup, now: datetime) -> Window:
        """Return the time that is asked for, in the file's zone: the last 30 local days unless the flags say otherwise."""
        try:
            return self._window(setup, now)
        except ValueError as error:
            raise click.UsageError(f"{self._said_time}: {error}.") from error  # noqa: EM102 - as above

    def _window(self, setup: Setup, now: datetime) -> Window:
        today = day_of(now, setup.tz)
        if self.period is not None or self.date is not None:
            day = today if self.date is None else windows.read_day(self.date, setup.tz)
            return windows.of_period(self.period or "day", day, setup.tz, setup.week_starts_on)
        if self.days is not None:
            until = windows.between(None, self.until, setup.tz, now).end
            last = day_of(until - timedelta(milliseconds=1), setup.tz)
            return Window(windows.last_days(self.days, last, setup.tz).start, until, setup.tz)
        return windows.between(self.since, self.until, setup.tz, now)

    @property
    def _said_time(self) -> str:
        return ", ".join(f"--{name}" for name in ("since", "until", "days", "period", "date") if getattr(self, name))


def report_flags(*by: str, filters: bool = False) -> Callable[[_Command], _Command]:
    """Give a command the shared flags as its argument `flags`: rows by one of `by`, and filters of calls if it knows any."""

    def decorate(command: _Command) -> _Command:
        @wraps(command)
        def gathered(*args: Any, **kwargs: Any) -> Any:
            said = {field.name: kwargs.pop(field.name) for field in fields(ReportFlags) if field.name in kwargs}
            return command(*args, flags=ReportFlags(**said), **kwargs)

        for option in reversed([*_time(), *_rows(by), *(_calls() if filters else ()), *_form()]):
            gathered = option(gathered)
        return gathered

    return decorate


def _time() -> list[Callable[[_Command], _Command]]:
    return [
        click.option("--since", metavar="TIME", callback=_moment, help="From this day or time on, in the file's zone."),
        click.option("--until", metavar="TIME", callback=_moment, help="Up to and with this day, or up to before this time."),
        click.option("--days", type=click.IntRange(1, MOST_DAYS), help="So many days, today or --until the last. [30]"),
        click.option("--period", type=click.Choice(["day", "week", "month"]), help="The day, week or month of --date."),
        click.option("--date", metavar="DATE", callback=_moment, help="The day that is meant, instead of today."),
    ]  # fmt: skip


def _rows(by: tuple[str, ...]) -> list[Callable[[_Command], _Command]]:
    return [
        click.option("--by", type=click.Choice(by), help="A row for each of these."),
        click.option("--limit", type=click.IntRange(min=1), help="At most so many rows: the dearest, or the latest."),
    ]


def _calls() -> list[Callable[[_Command], _Command]]:
    return [
        click.option("--service", help="Only calls to this service."),
        click.option("--model", help="Only calls of this model."),
        click.option("--tenant", help="Only calls for this tenant."),
        click.option("--user", help="Only calls for this user."),
    ]


def _form() -> list[Callable[[_Command], _Command]]:
    return [
        click.option("-f", "--format", type=click.Choice(FORMATS), help="How the answer is written. [table]"),
        click.option("--json", "as_json", is_flag=True, help="The same as --format json."),
        click.option("--export", type=click.Choice(["csv", "json"]), help="The same as --format, for files."),
        click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Write to this new file."),
    ]


def _moment(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    """Return the text if it is a date or a time: refused here, it is refused without a file too."""
    if value is not None:
        try:
            windows.read_moment(value, zone("UTC"))
        except ValueError as error:
            raise click.BadParameter(str(error)) from error
    return value
