"""The commented config.toml that `init` writes, made from the fields of the sections."""

import textwrap
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path

import tomli_w

from orchestrator.config.credentials import SECRET_NAMES
from orchestrator.config.record import Config
from orchestrator.config.tables import Setting, sections_of, settings_of

_WIDTH = 110
_HEAD = (
    "The configuration of orchestrator. A line that begins with # and no blank shows a default or an example: remove the # and change "
    "it. `orchestrator config check` reads this file, `orchestrator config show` prints what is in force and where each value comes "
    "from. What `orchestrator config set` changes goes to overrides.toml beside the database, which is stronger than this file; the "
    "environment (ORCHESTRATOR_REVENUE__XMR_WALLET for xmr_wallet in [revenue]) is stronger still."
)
_SECRETS = (
    "Secrets never stand here. They are read from the environment, or from files of the same names in lower case in "
    "$CREDENTIALS_DIRECTORY: "
)
_PRICES = """\
#[prices."my-model"]
#input_per_million = 1.0
#output_per_million = 5.0
#cache_read_per_million = 0.1
#cache_write_per_million = 1.25

#[prices."my-voice"]
#unit = "characters"
#usd_per_unit = 0.00003
"""


def default_toml() -> str:
    """Return the text of a new config.toml: every key with its meaning, and commented out but for those that wait to be filled in."""
    names = ", ".join(name.upper() for name in SECRET_NAMES)
    head = [*_comment(_HEAD), "#", *_comment(f"{_SECRETS}{names}.")]
    return "\n".join([*head, *_tables(Config, "")]) + "\n"


def plain_value(value: object) -> object:
    """Return a value in dicts, lists, texts and numbers: a record without what is not set in it, a path as text."""
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, tuple | list):
        return [plain_value(item) for item in value]
    if is_dataclass(value):
        named = {f.name: getattr(value, f.name) for f in fields(value)}
        return {name: plain_value(item) for name, item in named.items() if item is not None}
    return value


def _tables(record: type, above: str) -> Iterator[str]:
    for name, section in sections_of(record).items():
        yield from ("", *_comment(section.record.__doc__ or ""))
        if section.named:
            yield _PRICES.rstrip()
            continue
        yield f"[{above}{name}]"
        for key, setting in settings_of(section.record).items():
            yield from _comment(setting.note)
            yield from _assignment(key, setting)
        yield from _tables(section.record, f"{above}{name}.")


def _assignment(key: str, setting: Setting) -> list[str]:
    shown = setting.default if setting.example is None else setting.example
    lines = tomli_w.dumps({"k": plain_value(shown)}, indent=0).rstrip().split("\n")
    lines[0] = key + lines[0].removeprefix("k")
    return lines if setting.to_fill else [f"#{line}" for line in lines]


def _comment(text: str) -> list[str]:
    return [f"# {line}" for line in textwrap.wrap(text, _WIDTH)]
