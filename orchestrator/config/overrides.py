"""overrides.toml beside the database: what `config set` and the web change, since config.toml is the operator's alone.

The new text is checked whole, written beside the old one and put in its place in one step; a lock on the folder keeps two writers
from losing each other's key.
"""

import errno
import fcntl
import os
import stat
import tempfile
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import tomli_w

from orchestrator.config import layers
from orchestrator.config.forms import Place, number
from orchestrator.config.layers import dotted
from orchestrator.config.place import Table, is_there, parse, read_text
from orchestrator.config.record import Config
from orchestrator.config.sections import PriceOverride
from orchestrator.config.tables import settings_of
from orchestrator.config.template import plain_value
from orchestrator.errors import ConfigError, DiskFull, FileUnreachable
from orchestrator.text import one_line

_HEAD = "# Written by `orchestrator config set` and the web; stronger than config.toml, weaker than the environment.\n"


def write_override(config: Config, key: str, value: object) -> None:
    """Set a dotted key in overrides.toml, or take it out with None; raises ConfigError and writes nothing when that cannot be right.

    A running daemon goes on with what it has read at its start.
    """
    change(config.overrides, key, value)


def change(path: Path, key: str, value: object) -> bool:
    """Do the same for the overrides.toml at a path, whatever else is wrong in it; return False when there was nothing to take out."""
    place = _place(key)
    with _locked(path.parent):
        table = parse(path, read_text(path), number) if is_there(path) else {}
        if value is not None:
            _put(table, place, plain_value(value))
            if problems := layers.table_layer(path, table).problems:
                raise ConfigError(tuple(problems))
        elif not _take_out(table, place):
            return False
        _replace(path, _HEAD + tomli_w.dumps(table))
    return True


def raw_from_text(key: str, text: str) -> object:
    """Return the raw value that a command line's text stands for under a key: a number or a word as it is, the rest TOML or JSON."""
    place = _place(key)
    form = layers.form_at(place)
    if not form and place[0] == "prices" and len(place) == 3:
        setting = settings_of(PriceOverride).get(str(place[2]))
        form = setting.form if setting else None
    return form.from_text(text) if form else text


def _place(key: str) -> Place:
    """Return the path that a dotted key names, spelt as in TOML."""
    fault = ConfigError((f"{one_line(key)}: is not a key: names with dots between them are due",))
    try:
        left: object = tomllib.loads(f"{key} = 0")
    except ValueError as error:
        raise fault from error
    place: list[str] = []
    while isinstance(left, dict) and len(left) == 1:
        name, left = next(iter(left.items()))
        place.append(name)
    if left != 0:
        raise fault
    return tuple(place)


def _put(table: Table, place: Place, value: object) -> None:
    for name in place[:-1]:
        inner = table.setdefault(str(name), {})
        if not isinstance(inner, dict):
            raise ConfigError((f"{dotted(place)}: there is no such key",))
        table = inner
    table[str(place[-1])] = value


def _take_out(table: Table, place: Place) -> bool:
    """Take a key out, with the tables that this leaves empty; return whether it was there."""
    name = str(place[0])
    if len(place) == 1:
        return table.pop(name, None) is not None
    inner = table.get(name)
    found = isinstance(inner, dict) and _take_out(inner, place[1:])
    if found and not inner:
        del table[name]
    return found


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise FileUnreachable(folder, error.strerror or "") from error
    try:
        # A network's file system may know no lock for a folder; two writers at once are rare enough to go on there without.
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
        # The new name is on the disk only when its folder is.
        with suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _replace(path: Path, text: str) -> None:
    """Put a file with that text in the place of another, with the mode that the database beside it has."""
    folder_mode = path.parent.stat().st_mode
    is_shared = folder_mode & stat.S_ISGID and folder_mode & stat.S_IWGRP
    temporary = Path()
    try:
        descriptor, name = tempfile.mkstemp(prefix=".overrides-", dir=path.parent)
        temporary = Path(name)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fchmod(descriptor, 0o660 if is_shared else 0o600)
            os.fsync(descriptor)
        temporary.replace(path)
    except OSError as error:
        if temporary.name:
            temporary.unlink(missing_ok=True)
        failure = DiskFull if error.errno in (errno.ENOSPC, errno.EDQUOT) else FileUnreachable
        raise failure(path, error.strerror or "") from error
