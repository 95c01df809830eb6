"""What each source of settings says: a file, or the environment.

Every value is read, also one that a stronger source replaces, so that all that is wrong is known at once.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from orchestrator.config import checks, credentials
from orchestrator.config.forms import Form, Place, Unfit, described, number, structure_from_text
from orchestrator.config.lines import lines_of
from orchestrator.config.place import Table, parse, shown
from orchestrator.config.record import Config
from orchestrator.config.tables import read_record, sections_of, settings_of
from orchestrator.errors import ConfigError
from orchestrator.text import one_line

_PREFIX = "ORCHESTRATOR_"
_OTHER_VARIABLES = ("ORCHESTRATOR_DB", "ORCHESTRATOR_CONFIG", "ORCHESTRATOR_WEB_TOKEN", "ORCHESTRATOR_PRICES")
# What only the operator's own file and environment may say: where programs run, who is listened to, who receives what.
_NEVER_OVERRIDDEN: tuple[Place, ...] = (
    ("actions",),
    ("web",),
    ("orchestrator", "database"),
    ("alerts", "email", "smtp_host"),  # these two decide who sees SMTP_PASSWORD
    ("alerts", "email", "security"),
)
_ALIASES = {
    "discord_operator_user_id": "alerts.discord.operator_user_id",
    "ai_budget_alert_emails": "alerts.email.recipients",
}


@dataclass(frozen=True)
class Entry:
    """A value and where it comes from: `/etc/orchestrator/config.toml:12`, `environment NAME`, `credential name`."""

    value: object
    origin: str


@dataclass
class Layer:
    """What one source says, by path, what is wrong with it, and the keys that could not be read for that; filled as it is read."""

    origin: str = ""
    lines: Mapping[Place, int] = field(default_factory=dict)
    is_override: bool = False
    entries: dict[Place, Entry] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    unread: set[Place] = field(default_factory=set)

    def origin_of(self, place: Place) -> str:
        """Return the source, with the line of a place or of the nearest table around it where the source has lines."""
        while place and place not in self.lines:
            place = place[:-1]
        return f"{self.origin}:{self.lines[place]}" if place else self.origin

    def add_problem(self, place: Place, fault: str) -> None:
        """Note what is wrong at a place."""
        self.problems.append(f"{self.origin_of(place)}: {dotted(place)}: {fault}")


def dotted(place: Place) -> str:
    """Return a path as it is written in TOML: `revenue.pool_url`, `prices."gpt-4.1".unit`, `budget.thresholds[2].at`."""
    said = ""
    for part in place:
        if isinstance(part, int):
            said += f"[{part + 1}]"
        else:
            bare = part.replace("_", "").replace("-", "").isalnum() and part.isascii()
            said += "." * bool(said) + (part if bare else f'"{part}"')
    return one_line(said, limit=120)


def form_at(place: Place) -> Form | None:
    """Return the form of the key at a path, or None when there is no such key."""
    record: type = Config
    for n, name in enumerate(place):
        section = sections_of(record).get(str(name))
        if not section:
            setting = settings_of(record).get(str(name))
            return setting.form if setting and n == len(place) - 1 else None
        if section.named:
            # One model's prices are one value: half of one source and half of another would be nobody's price.
            return Form(partial(read_record, section.record), structure_from_text) if len(place) == n + 2 else None
        record = section.record
    return None


def all_keys() -> list[str]:
    """Return every dotted key but those under names of the operator's choice."""
    return [".".join(path) for path in _paths(Config, ())]


def may_be_overridden(place: Place) -> bool:
    """Return whether a key may stand in overrides.toml, which the web and everybody in the file's group can write."""
    if place[0] == "prices":
        return True
    return place[:1] not in _NEVER_OVERRIDDEN and place not in _NEVER_OVERRIDDEN and not str(place[-1]).endswith("_url")


def file_layer(path: Path, text: str, *, is_override: bool = False) -> Layer:
    """Return what the text of a TOML file says; raises ConfigError when it is not TOML."""
    table = parse(path, text, number)
    layer = Layer(shown(path), lines_of(text) if table else {}, is_override)
    _read_section(layer, Config, table, ())
    return layer


def table_layer(path: Path, table: Table) -> Layer:
    """Return what a table says that is to be written to overrides.toml."""
    layer = Layer(shown(path), is_override=True)
    _read_section(layer, Config, table, ())
    return layer


def environment_layer(environ: Mapping[str, str]) -> Layer:
    """Return what ORCHESTRATOR_SECTION__KEY variables say: numbers and words as they are, arrays and tables in TOML or JSON."""
    layer = Layer()
    variables = {f"{_PREFIX}{key.upper().replace('.', '__')}": key for key in all_keys()}
    for name in sorted(name for name in environ if name.startswith(_PREFIX)):
        layer.origin = f"environment {one_line(name)}"
        if name == "ORCHESTRATOR_PRICES":
            _read_section(layer, Config, {"prices": structure_from_text(environ[name])}, ())
        elif name in variables:
            place = tuple(variables[name].split("."))
            form = form_at(place)
            assert form
            _read_value(layer, form, form.from_text(environ[name]), place)
        elif "__" in name:
            guess = checks.did_you_mean(
                name.removeprefix(_PREFIX), [known.removeprefix(_PREFIX) for known in variables]
            )
            layer.problems.append(f"{layer.origin}: there is no such key{guess.replace('mean ', f'mean {_PREFIX}')}")
        elif name not in _OTHER_VARIABLES:
            # Without two underscores it may be another program's: container hosts set ORCHESTRATOR_PORT for a service of that name.
            ending = name.replace(_PREFIX, "__", 1)
            near = [known for known in variables if known.replace("__", "_") == name or known.endswith(ending)]
            layer.warnings += [f"{layer.origin}: is not read (did you mean {' or '.join(near)}?)"] if near else []
    return layer


def alias_layer(environ: Mapping[str, str]) -> Layer:
    """Return what two variables with names of their own say; like secrets they may be credentials."""
    layer = Layer()
    for name, key in _ALIASES.items():
        try:
            found = credentials.given(name, environ)
        except ConfigError as error:
            layer.problems.extend(error.problems)
            continue
        if not found:
            continue
        text, layer.origin = found
        place = tuple(key.split("."))
        form = form_at(place)
        assert form
        several = [part.strip() for part in text.replace("\n", ",").split(",") if part.strip()]
        _read_value(layer, form, several if key.endswith("recipients") else text, place)
    return layer


def _paths(record: type, above: tuple[str, ...]) -> list[tuple[str, ...]]:
    found = [(*above, name) for name in settings_of(record)]
    for name, section in sections_of(record).items():
        if not section.named:
            found += _paths(section.record, (*above, name))
    return found


def _read_section(layer: Layer, record: type, raw: object, place: Place) -> None:
    if not isinstance(raw, dict):
        layer.add_problem(place, f"a table is due, not {described(raw)}")
        return
    sections = sections_of(record)
    for name, value in raw.items():
        here = (*place, name)
        form = form_at(here)
        section = sections.get(name)
        if form:
            _read_value(layer, form, value, here)
        elif section and section.named:
            _read_named(layer, value, here)
        elif section:
            _read_section(layer, section.record, value, here)
        else:
            layer.add_problem(here, _unknown(here, value, [*settings_of(record), *sections]))


def _read_named(layer: Layer, raw: object, place: Place) -> None:
    if not isinstance(raw, dict):
        layer.add_problem(place, f"a table is due, not {described(raw)}")
        return
    for name, value in raw.items():
        form = form_at((*place, name))
        assert form
        if fault := checks.visible(name) if 0 < len(name) <= 200 else "has no name, or one of more than 200 characters":
            layer.add_problem((*place, name), fault)
        else:
            _read_value(layer, form, value, (*place, name))


def _read_value(layer: Layer, form: Form, raw: object, place: Place) -> None:
    if layer.is_override and not may_be_overridden(place):
        layer.add_problem(place, "cannot be set here; it belongs in config.toml")
        return
    try:
        layer.entries[place] = Entry(form.read(raw, place), layer.origin_of(place))
    except Unfit as unfit:
        layer.unread.add(place)
        for where, fault in unfit.faults:
            layer.add_problem(where, fault)


def _unknown(place: Place, raw: object, siblings: list[str]) -> str:
    """Say that there is no such key, and which one may be meant."""
    if elsewhere := credentials.belongs_elsewhere(place, siblings):
        return elsewhere
    name = str(place[-1])
    guess = checks.did_you_mean(name, siblings)
    if not guess and (homes := [key for key in all_keys() if key.split(".")[-1] == name]):
        guess = f" (did you mean {' or '.join(homes)}?)"
    return f"there is no such {'table' if isinstance(raw, dict) else 'key'}{guess}"
