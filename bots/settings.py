"""bot.toml: where a process's bots live, what they join, how they log (strict, frozen)."""

from __future__ import annotations

import os
import secrets
import tomllib
from pathlib import Path
from typing import Any, Final, Literal

from attrs import evolve, field, frozen
from attrs.validators import ge
from cattrs import BaseValidationError, Converter, transform_error
from cattrs.v import format_exception

from ofcd.errors import ConfigError

__all__ = ["BotSettings", "LogSettings", "MetricsSettings", "Settings", "key_of", "load_settings"]

_KEY_BYTES: Final = 32


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


_converter: Final = Converter(forbid_extra_keys=True)


def _is(value: Any, *kinds: type) -> Any:
    if type(value) not in kinds:  # a bool is an int to isinstance
        raise ValueError(f"is not a {kinds[0].__name__}")
    return value


_converter.register_structure_hook(str, lambda value, _: _is(value, str))
_converter.register_structure_hook(int, lambda value, _: _is(value, int))
_converter.register_structure_hook(float, lambda value, _: float(_is(value, float, int)))


def _sentence(error: BaseException, kind: type | None) -> str:
    return str(error) if isinstance(error, ValueError) else format_exception(error, kind)


def load_settings(path: Path | None) -> Settings:
    """The settings in a file; those of an empty one without. Paths in it start at its folder.

    Raises `ConfigError` that names file, key and fix.
    """
    if path is None:
        return Settings()
    try:
        read = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path} can not be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}") from None
    try:
        settings = _converter.structure(read, Settings)
    except BaseValidationError as error:
        slips = transform_error(error, path="bot.toml", format_exception=_sentence)
        raise ConfigError(f"{path}: {'; '.join(slips)}") from None
    if not settings.bot:
        raise ConfigError(f"{path} has no [[bot]]: write one")
    return evolve(settings, bot=[_placed(one, path.parent) for one in settings.bot])


def _placed(one: BotSettings, folder: Path) -> BotSettings:
    return evolve(one, vault=str(folder / one.vault), key_file=str(folder / one.key_file))


def key_of(path: Path, *, make: bool) -> bytes:
    """The 32 bytes in a key file, as hex; made if there is none and `make`."""
    if make and not path.exists():
        text = secrets.token_hex(_KEY_BYTES)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text + "\n")
    try:
        key = bytes.fromhex(path.read_text(encoding="ascii").strip())
    except FileNotFoundError:
        raise ConfigError(f"the vault's key file {path} is missing: put it back") from None
    except (OSError, ValueError):
        raise ConfigError(f"the key file {path} can not be read as hex") from None
    if len(key) != _KEY_BYTES:
        raise ConfigError(f"the key file {path} does not hold {_KEY_BYTES} bytes as hex")
    return key
