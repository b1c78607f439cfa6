"""A bot's own settings, [bot.options], as a typed value: strict, and a slip is refused by name.

    @frozen
    class Settings:
        most: int = 20
        quiet: Duration = Duration("10m")

    @bot.resource
    def settings(bot: Bot) -> Settings:
        return read_options(bot.options, Settings)

Handlers get it by naming its type.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeVar, get_args, get_origin

from attrs import field, frozen
from cattrs import BaseValidationError, Converter, transform_error
from cattrs.v import format_exception

from bots.durations import duration_ms, show_duration
from bots.errors import SetupError
from ofcd.errors import OfcError

__all__ = ["Duration", "read_options"]

T = TypeVar("T")


@frozen
class Duration:
    """A length of time, in TOML as "10m" or "2 days"; raises `BadDuration` for what is none."""

    text: str
    ms: int = field(init=False)
    """Milliseconds."""

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "ms", duration_ms(self.text))

    def __str__(self) -> str:
        return show_duration(self.ms)


_converter: Final = Converter(forbid_extra_keys=True)


_NOUNS: Final[dict[type, str]] = {str: "text", int: "whole number", bool: "true or false"}


def _exactly(kind: type[T]) -> Any:
    def check(value: Any, _: object) -> T:
        if type(value) is not kind:  # a bool is an int to isinstance
            raise ValueError(f"is no {_NOUNS[kind]}")
        return value

    return check


def _duration(value: Any, _: object) -> Duration:
    try:
        return Duration(_exactly(str)(value, str))
    except OfcError as wrong:
        raise ValueError(str(wrong)) from None


def _is_list(kind: Any) -> bool:
    return get_origin(kind) in (list, tuple)


def _list(value: Any, kind: Any) -> Any:
    """A list, or a tuple of any length; a text is no list of letters."""
    if type(value) is not list:
        raise ValueError("is not a list")
    return get_origin(kind)(_converter.structure(one, get_args(kind)[0]) for one in value)


for _kind in (str, int, bool):
    _converter.register_structure_hook(_kind, _exactly(_kind))
_converter.register_structure_hook_func(_is_list, _list)
_converter.register_structure_hook(Duration, _duration)


def _sentence(error: BaseException, kind: type | None) -> str:
    return str(error) if isinstance(error, ValueError) else format_exception(error, kind)


def read_options(options: Mapping[str, Any], kind: type[T], where: str = "bot.options") -> T:
    """`kind`, an attrs class, from a bot's options. Raises `SetupError` that names each slip.

    `where` is the table that they stand in.
    """
    try:
        return _converter.structure(dict(options), kind)
    except BaseValidationError as error:
        found = transform_error(error, path=where, format_exception=_sentence)
        slips = "; ".join(found)
        raise SetupError(f"the bot's options are wrong: {slips}") from None
