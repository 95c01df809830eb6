"""All sources of settings, weakest first: default, config.toml, overrides.toml, credentials, environment, flag; every problem at once."""

import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from orchestrator.config import layers
from orchestrator.config.credentials import read_secrets
from orchestrator.config.forms import Place
from orchestrator.config.layers import Entry, Layer, dotted
from orchestrator.config.place import absolute, choose_database, is_there, read_text, search, working_directory
from orchestrator.config.record import Config
from orchestrator.config.tables import sections_of, settings_of
from orchestrator.errors import ConfigError

# Sections that are read and checked, but that nothing acts on yet; one goes from here when its feature comes.
UNUSED_SECTIONS = ("budget", "actions", "web")
# Keys in them that are used all the same: the address to which alerts link.
USED_KEYS: tuple[Place, ...] = (("web", "public_url"),)

_DATABASE: Place = ("orchestrator", "database")


def load(
    *,
    config_path: str | Path | None = None,
    db: str | Path | None = None,
    environ: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Config:
    """Return the configuration in force; raises ConfigError with every problem. `config_path` and `db` are what the flags say."""
    environ = os.environ if environ is None else environ
    cwd = cwd or working_directory()
    environment = layers.environment_layer(environ)
    aliases = layers.alias_layer(environ)
    secrets, secret_origins, secret_problems = read_secrets(environ)
    path, file, warnings = _read_file(config_path, environ, cwd)

    named = environment.entries.get(_DATABASE) or file.entries.get(_DATABASE)
    base = path.parent if path and _DATABASE not in environment.entries else cwd
    configured = (absolute(str(named.value), base, environ), named.origin) if named and named.value else None
    database, database_origin = choose_database(db, configured, environ, cwd)
    # While nobody can say where the database lies, there is no folder to look into.
    is_sure = db or environ.get("ORCHESTRATOR_DB") or _DATABASE not in file.unread | environment.unread
    overrides = _read_overrides(database.parent / "overrides.toml") if is_sure else Layer()

    ordered = (file, overrides, aliases, environment)
    if problems := [problem for layer in ordered for problem in layer.problems] + secret_problems:
        raise ConfigError(tuple(problems))
    merged = {place: entry for layer in ordered for place, entry in layer.entries.items()}
    origins = {dotted(place): entry.origin for place, entry in merged.items()} | secret_origins
    if configured:
        merged[_DATABASE] = Entry(*configured)
    sections = {
        name: _record(section.record, (name,), merged, named=section.named)
        for name, section in sections_of(Config).items()
    }
    config = Config(
        database=database,
        secrets=secrets,
        origins=origins | {dotted(_DATABASE): database_origin},
        path=path,
        **sections,
    )
    return replace(
        config, warnings=(*warnings, *environment.warnings, *_file_warnings(file, overrides), *_half_set(config))
    )


def _read_file(
    config_path: str | Path | None, environ: Mapping[str, str], cwd: Path
) -> tuple[Path | None, Layer, tuple[str, ...]]:
    """Return the config.toml in force, what it says, and a warning for one that was passed over."""
    try:
        path, text, warnings = search(Path(config_path) if config_path else None, environ, cwd)
        return path, layers.file_layer(path, text) if path else Layer(), warnings
    except ConfigError as error:
        return None, Layer(problems=list(error.problems), unread={_DATABASE}), ()


def _read_overrides(path: Path) -> Layer:
    """Return what overrides.toml says; nothing when there is none."""

    def allowed(status: os.stat_result) -> str:
        return "everybody may write it: chmod o-w" if status.st_mode & stat.S_IWOTH else ""

    if not is_there(path):
        return Layer()
    try:
        return layers.file_layer(path, read_text(path, allowed), is_override=True)
    except ConfigError as error:
        return Layer(problems=list(error.problems))


def _record(record: type, above: Place, merged: Mapping[Place, Entry], *, named: bool = False) -> Any:
    """Return a section with the values that are set, and the defaults of the others."""
    if named:
        return {place[1]: entry.value for place, entry in merged.items() if place[:1] == above}
    values = {name: merged[*above, name].value for name in settings_of(record) if (*above, name) in merged}
    for name, section in sections_of(record).items():
        values[name] = _record(section.record, (*above, name), merged)
    return record(**values)


def _file_warnings(file: Layer, overrides: Layer) -> Iterator[str]:
    """Yield a warning for each section that nothing acts on yet, and for each value of config.toml that is not in force."""
    for name in UNUSED_SECTIONS:
        set_in = [
            entry.origin
            for layer in (file, overrides)
            for place, entry in layer.entries.items()
            if place[0] == name and place not in USED_KEYS
        ]
        if set_in:
            yield f"{set_in[0]}: [{name}] is not used by this version"
    for place, entry in overrides.entries.items():
        if place in file.entries:
            yield f"{entry.origin}: {dotted(place)} replaces what stands at {file.entries[place].origin}"


def _half_set(config: Config) -> Iterator[str]:
    """Yield a warning for each channel of alerts that lacks a part."""
    mail, discord = config.alerts.email, config.alerts.discord
    lacking = [name for name in ("sender", "recipients") if not getattr(mail, name)]
    if mail.smtp_host and lacking:
        yield f"alerts.email.smtp_host is set without {' and '.join(lacking)}: no mail is sent"
    if mail.recipients and not mail.smtp_host:
        yield "alerts.email.recipients is set without smtp_host: no mail is sent"
    if mail.smtp_host and mail.username and not config.secrets.smtp_password:
        yield "alerts.email.username is set without SMTP_PASSWORD: the login will be refused"
    if config.secrets.smtp_password and not mail.username:
        yield "SMTP_PASSWORD is set without alerts.email.username: there is no login"
    if config.secrets.discord_bot_token and not discord.operator_user_id:
        yield "DISCORD_BOT_TOKEN is set without alerts.discord.operator_user_id: no direct message is sent"
    if discord.operator_user_id and not config.secrets.discord_bot_token:
        yield "alerts.discord.operator_user_id is set without DISCORD_BOT_TOKEN: no direct message is sent"
