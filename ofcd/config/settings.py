"""All settings of one relay, and the strict way from a TOML file to them."""

import json
import shlex
import textwrap
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import attrs
from attrs import field, frozen

from ofcd.config.fields import converter
from ofcd.config.sections import (
    SECTIONS,
    Access,
    Federation,
    Limits,
    Log,
    Metrics,
    Relay,
    Storage,
)
from ofcd.config.strict import hint, told
from ofcd.errors import ConfigError

EVERYWHERE: Final = ("0.0.0.0", "::")  # noqa: S104 - compared with, never bound


@frozen
class Settings:
    """All settings of one relay; `source` is the file they came from, None for the defaults."""

    relay: Relay = field(factory=Relay)
    storage: Storage = field(factory=Storage)
    limits: Limits = field(factory=Limits)
    access: Access = field(factory=Access)
    log: Log = field(factory=Log)
    metrics: Metrics = field(factory=Metrics)
    federation: Federation = field(factory=Federation)
    source: Path | None = field(default=None, eq=False)

    @classmethod
    def default(cls) -> "Settings":
        """Every setting at its default; relative paths start at the working directory."""
        return cls()

    @classmethod
    def load(cls, path: Path) -> "Settings":
        """The settings in a TOML file; a key it leaves out has its default.

        Raises:
            ConfigError: The file can not be read or any of it is wrong; all mistakes are named.
        """
        tree = _parse(path)
        mistakes = list(_misplaced(tree))
        made = {
            name: _section(kind, name, tree.get(name, {}), mistakes)
            for name, kind in SECTIONS.items()
        }
        if mistakes:
            raise ConfigError(told(path, mistakes))
        return cls(**made, source=path.absolute())

    @property
    def base(self) -> Path:
        """Where relative paths start: the directory of the file, else the working directory."""
        return self.source.parent if self.source else Path.cwd()

    @property
    def data_dir(self) -> Path:
        """The relay's data directory, absolute. It need not exist yet."""
        return self._absolute(self.relay.data_dir)

    @property
    def database_url(self) -> str:
        """The database's URL with `{data_dir}` filled in and its path absolute."""
        scheme = "sqlite:///"
        path = self.storage.url.removeprefix(scheme).replace("{data_dir}", str(self.data_dir))
        return scheme + str(self._absolute(path))

    @property
    def public_url(self) -> str:
        """Where clients reach the relay, without a slash at the end.

        Derived from host and port where none is set: with port 0 it is for the daemon to say
        which port it got.
        """
        if self.relay.public_url:
            return self.relay.public_url.rstrip("/")
        host = self.relay.name if self.relay.host in EVERYWHERE else self.relay.host
        bracketed = f"[{host}]" if ":" in host else host
        return f"ws://{bracketed}:{self.relay.port}"

    @property
    def create_token_file(self) -> Path | None:
        """The file with the token for making rooms, absolute; None where none is named."""
        named = self.access.create_token_file
        return self._absolute(named) if named else None

    def _absolute(self, path: str) -> Path:
        return self.base / Path(path).expanduser()


def _parse(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except FileNotFoundError:
        make = f"ofcd example-config > {shlex.quote(str(path))}"
        raise ConfigError(f"{path}: there is no such file: `{make}` writes one") from None
    except OSError as failed:
        raise ConfigError(f"{path}: it can not be read: {failed.strerror}") from failed
    except UnicodeDecodeError as wrong:
        raise ConfigError(f"{path}: it is not UTF-8 text (byte {wrong.start})") from None
    except tomllib.TOMLDecodeError as wrong:
        raise ConfigError(f"{path}: it is not TOML: {wrong}") from None


def _misplaced(tree: dict[str, Any]) -> Iterator[str]:
    """Sections there are not. Values stay unsaid: an unknown one may be a secret."""
    for name, value in tree.items():
        if name in SECTIONS:
            continue
        if isinstance(value, dict):
            yield f"[{name}] is not a section: {hint(name, SECTIONS, '[{}]')}"
        else:
            home = next((s for s, kind in SECTIONS.items() if name in _names(kind)), None)
            fix = f"move it below [{home}]" if home else "remove it"
            yield f"{name} stands outside of any section: {fix}"


def _section(kind: type[Any], where: str, table: Any, mistakes: list[str]) -> Any:
    """One section; what is wrong in it is added to `mistakes`, and its defaults come back."""
    if not isinstance(table, dict):
        mistakes.append(
            f"{where} = {_show(table)} is not a section: write [{where}] above its keys"
        )
        return kind()
    found: list[str] = [
        f"[{where}] {key} is not a setting: {hint(key, _names(kind))}"
        for key in table
        if key not in _names(kind)
    ]
    values = dict(_values(kind, where, table, found))
    if not found:
        try:
            return kind(**values)
        except ValueError as wrong:  # two settings that contradict each other
            found.append(f"[{where}] {wrong}")
    mistakes.extend(found)
    return kind()


def _values(
    kind: type[Any], where: str, table: dict[str, Any], found: list[str]
) -> Iterator[tuple[str, Any]]:
    for attribute in attrs.fields(kind):
        if attribute.name not in table:
            continue
        given = table[attribute.name]
        try:
            value = converter.structure(given, attribute.type)
            attribute.validator(None, attribute, value)
        except ValueError as wrong:
            found.append(f"[{where}] {attribute.name} = {_show(given)} {wrong}")
        else:
            yield attribute.name, value


def _names(kind: type[Any]) -> list[str]:
    return [attribute.name for attribute in attrs.fields(kind)]


def _show(value: Any) -> str:
    return textwrap.shorten(json.dumps(value, default=str, ensure_ascii=False), 60)
