"""The strict way from a TOML file to frozen attrs classes, for applications' own settings."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, Final, TypeVar

from cattrs import BaseValidationError, Converter, transform_error
from cattrs.v import format_exception

from ofcd.errors import ConfigError

__all__ = ["read_toml", "structure"]

T = TypeVar("T")
_converter: Final = Converter(forbid_extra_keys=True)


def _is(value: Any, *kinds: type) -> Any:
    if type(value) not in kinds:  # a bool is an int to isinstance
        raise ValueError(f"is not a {kinds[0].__name__}")
    return value


_converter.register_structure_hook(str, lambda value, _: _is(value, str))
_converter.register_structure_hook(int, lambda value, _: _is(value, int))
_converter.register_structure_hook(bool, lambda value, _: _is(value, bool))
_converter.register_structure_hook(float, lambda value, _: float(_is(value, float, int)))


def _sentence(error: BaseException, kind: type | None) -> str:
    return str(error) if isinstance(error, ValueError) else format_exception(error, kind)


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a file; raises `ConfigError` that names it."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path} can not be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}") from None


def structure(read: Any, kind: type[T], path: Path, where: str) -> T:
    """`read` as settings of `kind`, without a key it does not know.

    Raises `ConfigError` that names the file, each key (which `where` begins) and the fix.
    """
    try:
        return _converter.structure(read, kind)
    except BaseValidationError as error:
        slips = transform_error(error, path=where, format_exception=_sentence)
        raise ConfigError(f"{path}: {'; '.join(slips)}") from None
    except ValueError as error:
        raise ConfigError(f"{path}: {where}: {error}") from None
