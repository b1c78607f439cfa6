"""Fields of settings: each with its doc, unit and bounds, and types as strict as they read."""

import json
import math
import re
from collections.abc import Callable
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any, Final, Literal, NewType, TypeVar, get_args

import attrs
from attrs import field, frozen
from cattrs import Converter

__all__ = [
    "DOC",
    "Doc",
    "Networks",
    "Size",
    "Words",
    "converter",
    "describe_range",
    "networks",
    "setting",
    "show_size",
    "size",
    "words",
]

Networks = NewType("Networks", tuple[IPv4Network | IPv6Network, ...])
"""IP networks; in the file a list of texts such as "127.0.0.1" or "10.0.0.0/8"."""
Words = NewType("Words", tuple[str, ...])
"""Texts; in the file a list of them."""
Size = NewType("Size", int)
"""A number of bytes; in the file also a text such as "64 MiB"."""

T = TypeVar("T")

UNITS: Final = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
DOC: Final = "ofcd.doc"


def _structure_int(value: Any, _: Any) -> int:
    if type(value) is not int:  # a bool is an int to isinstance
        raise ValueError("is not a whole number: write it bare, as 100")
    return value


def _structure_float(value: Any, _: Any) -> float:
    if type(value) not in (int, float) or not math.isfinite(value):
        raise ValueError("is not a number: write it bare, as 10 or 2.5")
    return float(value)


def _structure_bool(value: Any, _: Any) -> bool:
    if type(value) is not bool:
        raise ValueError("is neither true nor false: write one of them, bare")
    return value


def _structure_str(value: Any, _: Any) -> str:
    if type(value) is not str:
        raise ValueError('is not a text: write it in quotes, as "text"')
    return value


def _structure_size(value: Any, _: Any) -> Size:
    if type(value) is int:
        return Size(value)
    found = re.fullmatch(r"(\d{1,18}) ?(B|KiB|MiB|GiB|TiB)", value) if type(value) is str else None
    if not found:
        raise ValueError('is not a size: write bytes, as 65536, or a text such as "64 KiB"')
    return Size(int(found[1]) * UNITS[found[2]])


def _structure_networks(value: Any, _: Any) -> Networks:
    if type(value) not in (list, tuple):
        raise ValueError('is not a list: write ["127.0.0.1"], or [] for none')
    return Networks(tuple(_network(one) for one in value))


def _network(value: Any) -> IPv4Network | IPv6Network:
    if isinstance(value, IPv4Network | IPv6Network):
        return value
    try:
        return ip_network(value if type(value) is str else "")
    except ValueError:
        raise ValueError(
            'holds what is no network: write addresses, as "127.0.0.1" or "::1", or networks '
            'whose bits after the mask are zero, as "10.0.0.0/8"'
        ) from None


def _structure_words(value: Any, _: Any) -> Words:
    if type(value) not in (list, tuple) or not all(type(one) is str for one in value):
        raise ValueError('is not a list of texts: write ["one", "two"], or [] for none')
    return Words(tuple(value))


def _is_choice(kind: Any) -> bool:
    return getattr(kind, "__origin__", None) is Literal


def _structure_choice(value: Any, kind: Any) -> Any:
    choices = get_args(kind)
    if value not in choices:
        raise ValueError(f"is not a choice here: use {' or '.join(map(json.dumps, choices))}")
    return value


def _strict_converter() -> Converter:
    strict = Converter()
    strict.register_structure_hook(int, _structure_int)
    strict.register_structure_hook(float, _structure_float)
    strict.register_structure_hook(bool, _structure_bool)
    strict.register_structure_hook(str, _structure_str)
    strict.register_structure_hook(Size, _structure_size)
    strict.register_structure_hook_func(lambda kind: kind is Networks, _structure_networks)
    strict.register_structure_hook_func(lambda kind: kind is Words, _structure_words)
    strict.register_structure_hook_func(_is_choice, _structure_choice)
    return strict


converter: Final = _strict_converter()


@frozen
class Doc:
    """What a setting means: one line, its unit, what is safe, and the bounds that are enforced."""

    text: str
    unit: str = ""
    safe: str = ""
    low: int | None = None
    high: int | None = None


def setting(
    default: T,
    text: str,
    *,
    unit: str = "",
    safe: str = "",
    low: int | None = None,
    high: int | None = None,
    check: Callable[[T], None] | None = None,
) -> T:
    """A field of a section, with its doc; `check(value)` raises ValueError with the fix."""
    doc = Doc(text, unit, safe, low, high)

    def valid(_instance: Any, attribute: "attrs.Attribute[Any]", value: Any) -> None:
        _check_type(attribute, value)
        _check_bounds(doc, value)
        if check is not None:
            check(value)

    made: T = field(default=default, validator=valid, metadata={DOC: doc})
    return made


def size(
    default: int, text: str, *, low: int | None = 0, high: int | None = None, safe: str = ""
) -> Size:
    """A field that holds bytes."""
    return setting(Size(default), text, unit="bytes", low=low, high=high, safe=safe)


def networks(text: str, *, safe: str = "", check: Callable[[Networks], None]) -> Networks:
    """A field that holds IP networks, by default none."""
    return setting(Networks(()), text, safe=safe, check=check)


def words(text: str, *, safe: str = "", check: Callable[[Words], None]) -> Words:
    """A field that holds texts, by default none."""
    return setting(Words(()), text, safe=safe, check=check)


def _check_type(attribute: "attrs.Attribute[Any]", value: Any) -> None:
    """Hold code that builds a section to the types that the file is held to."""
    kind: Any = attribute.type
    if converter.structure(value, kind) != value:
        raise ValueError("has to be of the type that the settings have in code (bytes, networks)")


def _check_bounds(doc: Doc, value: Any) -> None:
    if doc.low is not None and value < doc.low:
        raise ValueError(f"is too small: {describe_range(doc)}")
    if doc.high is not None and value > doc.high:
        raise ValueError(f"is too large: {describe_range(doc)}")


def describe_range(doc: Doc) -> str:
    """The bounds in words with their unit, "" where there are none."""
    show = show_size if doc.unit == "bytes" else "{:,}".format
    unit = "" if doc.unit in ("", "bytes") else f" {doc.unit}"
    if doc.low is not None and doc.high is not None:
        return f"{show(doc.low)} to {show(doc.high)}{unit}"
    if doc.low is not None:
        return f"at least {show(doc.low)}{unit}"
    return "" if doc.high is None else f"at most {show(doc.high)}{unit}"


def show_size(count: int) -> str:
    """Bytes in the largest unit that divides them: 65536 is "64 KiB"."""
    if not count:
        return "0 B"
    unit = next(name for name in reversed(UNITS) if count % UNITS[name] == 0)
    return f"{count // UNITS[unit]} {unit}"
