"""The strict way from a TOML file to frozen attrs classes, for applications' own settings."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import attrs
from cattrs import BaseValidationError, Converter, ForbiddenExtraKeysError, transform_error
from cattrs.v import format_exception

from ofcd.errors import ConfigError

__all__ = ["NOT_IN_FILE", "hint", "read_toml", "structure", "told"]

NOT_IN_FILE: Final = {"not in file": True}
"""The metadata of an attribute that no file sets."""

T = TypeVar("T")
_converter: Final = Converter(forbid_extra_keys=True)


_CALLED: Final = {str: "text", int: "a whole number", bool: "true or false", float: "a number"}


def _is(value: Any, *kinds: type) -> Any:
    if type(value) not in kinds:  # a bool is an int to isinstance
        raise ValueError(f"has to be {_CALLED[kinds[0]]}")
    return value


_converter.register_structure_hook(str, lambda value, _: _is(value, str))
_converter.register_structure_hook(int, lambda value, _: _is(value, int))
_converter.register_structure_hook(bool, lambda value, _: _is(value, bool))
_converter.register_structure_hook(float, lambda value, _: float(_is(value, float, int)))


def hint(word: str, known: Iterable[str], form: str = "{}") -> str:
    """The nearest known word, or all of them where none is near; each shown in `form`."""
    near = difflib.get_close_matches(word, known := list(known), n=1)
    if near:
        return f"did you mean {form.format(near[0])}?"
    return f"there are {', '.join(form.format(name) for name in known)}"


def told(path: Path, mistakes: Sequence[str]) -> str:
    """All that is wrong in a file, a line each where there are several."""
    if len(mistakes) == 1:
        return f"{path}: {mistakes[0]}"
    return f"{path}: {len(mistakes)} mistakes:\n" + "\n".join(f"  {one}" for one in mistakes)


def _sentence(error: BaseException, kind: type | None) -> str:
    match error:
        case ForbiddenExtraKeysError():
            known = [one.name for one in attrs.fields(error.cl) if one.metadata != NOT_IN_FILE]
            return "\n".join(
                f"{key} is not a setting: {hint(key, known)}" for key in sorted(error.extra_fields)
            )
        case KeyError():
            return "is missing"
        case ValueError():
            return str(error)
        case _:
            return format_exception(error, kind)


def _mistakes(error: BaseValidationError, where: str) -> Iterator[str]:
    """What is wrong, behind what it is about."""
    for slip in transform_error(error, path=where, format_exception=_sentence):
        words, _, at = slip.rpartition(" @ ")
        for one in words.split("\n"):
            yield f"{where}{at.removeprefix(where).replace('.', ' ')} {one}"


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
        raise ConfigError(told(path, list(_mistakes(error, where)))) from None
    except ValueError as error:
        raise ConfigError(f"{path}: {where}: {error}") from None
