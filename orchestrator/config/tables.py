"""How a table of the configuration is described, as a frozen dataclass whose fields say what they mean, and how a record is read."""

from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields
from typing import TypeVar

from orchestrator.config import checks
from orchestrator.config.forms import Form, Place, Unfit, described, structure_from_text

T = TypeVar("T")


@dataclass(frozen=True)
class Setting:
    """One key: its form, what it means, the value shown instead of the default, and whether it waits to be filled in."""

    form: Form
    note: str
    default: object
    example: object
    to_fill: bool


@dataclass(frozen=True)
class Section:
    """One table: its record, or with `named` the record of each table in it, under names of the operator's choice."""

    record: type
    named: bool


def about(form: Form, note: str = "", *, example: object = None, to_fill: bool = False) -> Mapping[str, object]:
    """Return the metadata of the field of a key."""
    return {"form": form, "note": note, "example": example, "to_fill": to_fill}


def table(record: type, *, named: bool = False) -> Mapping[str, object]:
    """Return the metadata of the field of a table; the record's docstring says what it is about."""
    return {"section": Section(record, named)}


def settings_of(record: type) -> Mapping[str, Setting]:
    """Return the keys of a table, in their order."""
    return {f.name: Setting(**f.metadata, default=f.default) for f in fields(record) if "form" in f.metadata}


def sections_of(record: type) -> Mapping[str, Section]:
    """Return the tables in a table, in their order."""
    return {f.name: f.metadata["section"] for f in fields(record) if "section" in f.metadata}


def records(record: type[T], fault: Callable[[tuple[T, ...]], str] = lambda _: "") -> Form:
    """Return the form of an array of tables; `fault` says what is wrong with all of them together."""

    def read(raw: object, place: Place) -> object:
        if not isinstance(raw, list | tuple):
            raise Unfit([(place, f"an array of tables is due, not {described(raw)}")])
        read_ones: list[T] = []
        faults: list[tuple[Place, str]] = []
        for n, one in enumerate(raw):
            try:
                read_ones.append(read_record(record, one, (*place, n)))
            except Unfit as unfit:
                faults.extend(unfit.faults)
        if not faults and (said := fault(tuple(read_ones))):
            faults.append((place, said))
        if faults:
            raise Unfit(faults)
        return tuple(read_ones)

    return Form(read, structure_from_text)


def read_record(record: type[T], raw: object, place: Place) -> T:
    """Return a record read from a table; raises Unfit with everything that is wrong in it. Its own `fault()` has the last word."""
    if not isinstance(raw, dict):
        raise Unfit([(place, f"a table is due, not {described(raw)}")])
    known = settings_of(record)
    faults: list[tuple[Place, str]] = []
    values: dict[str, object] = {}
    for name, value in raw.items():
        if name not in known:
            faults.append(((*place, name), f"there is no such key{checks.did_you_mean(name, known)}"))
            continue
        try:
            values[name] = known[name].form.read(value, (*place, name))
        except Unfit as unfit:
            faults.extend(unfit.faults)
    faults += [(place, f"{n} is missing") for n, s in known.items() if s.default is MISSING and n not in raw]
    if faults:
        raise Unfit(faults)
    found = record(**values)
    if said := getattr(found, "fault", str)():
        raise Unfit([(place, said)])
    return found
