"""bot.toml: where a process's bots live, what they join, how they log (strict, frozen)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from attrs import evolve, field, frozen
from attrs.validators import ge

from bots.limits import Rate
from ofcd.config.strict import read_toml, structure
from ofcd.errors import ConfigError, OfcError

__all__ = ["BotSettings", "LogSettings", "MetricsSettings", "Settings", "load_settings"]


def _is_rate(_: object, __: object, text: str) -> None:
    try:
        Rate.parse(text)
    except OfcError as error:
        raise ValueError(f"outbound: {error}") from None


@frozen
class BotSettings:
    """One [[bot]]: a bot, its vault, the rooms it joins."""

    code: str = ""
    """Its file or module, as on the command line: "dice.py", "package.module", "module:name"."""
    vault: str = "bot.vault"
    key_file: str = "bot.key"
    """Opens the vault. Made, with the vault, where there is none; keep it from others' eyes."""
    join: list[str] = field(factory=list, repr=False)
    """Invite links; each is used once, by the first start that reads it."""
    prefix: str = ""
    """Other than what the bot's code says; a room's owners may set another one there."""
    timezone: str = ""
    """Where "9am" in a command is, such as "Europe/Berlin"; the same holds."""
    grace: float = 10.0
    """Seconds that a stop leaves to what is under way."""
    tables_limit: int = field(default=64, validator=ge(1))
    """How large its own tables may be, in MiB."""
    outbound: str = field(default="60/6s", validator=_is_rate)
    """What it may send in all: 60 at once, and then 10 a second, half of what a relay allows a
    member by default."""
    isolation: Literal["none", "process"] = "none"
    """`process`: it runs in a process of its own, which is started again when it dies."""
    memory_limit: int = field(default=0, validator=ge(0))
    """What that process may have, in MiB; 0: as much as there is."""
    stall_limit: float = field(default=60.0, validator=ge(0))
    """Seconds that it may stand still, working or waiting without an `await`; 0: for ever."""
    options: dict[str, Any] = field(factory=dict, repr=False)
    """The bot's own settings: `bot.options`."""


@frozen
class LogSettings:
    """[log]."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["text", "json"] = "text"


@frozen
class MetricsSettings:
    """[metrics]: Prometheus, on an address of this machine; port 0: not at all."""

    address: str = "127.0.0.1"
    port: int = 0


@frozen
class Settings:
    """All of bot.toml."""

    bot: list[BotSettings] = field(factory=lambda: [BotSettings()])
    log: LogSettings = field(factory=LogSettings)
    metrics: MetricsSettings = field(factory=MetricsSettings)


def load_settings(path: Path | None) -> Settings:
    """The settings in a file; those of an empty one without. Paths in it start at its folder.

    Raises `ConfigError` that names file, key and fix.
    """
    if path is None:
        return Settings()
    settings = structure(read_toml(path), Settings, path, "bot.toml")
    if not settings.bot:
        raise ConfigError(f"{path} has no [[bot]]: write one")
    return evolve(settings, bot=[_placed(one, path.parent) for one in settings.bot])


def _placed(one: BotSettings, folder: Path) -> BotSettings:
    return evolve(one, vault=str(folder / one.vault), key_file=str(folder / one.key_file))
