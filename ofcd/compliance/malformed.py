"""JSON that OFC/1 refuses, made from JSON that it takes (docs/protocol.md, JSON)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

__all__ = ["DAMAGES", "UNHARMFUL", "damaged"]


def _with(field: bytes) -> Callable[[bytes], bytes]:
    """The object with one field more."""
    return lambda whole: whole[:-1] + b"," + field + b"}"


DAMAGES: Final[dict[str, Callable[[bytes], bytes]]] = {
    "a key that stands twice": _with(b'"x":1,"x":1'),
    "a key twice, one of them escaped": _with(b'"x":1,"\\u0078":2'),
    "a float": _with(b'"x":1.5'),
    "a number with an exponent": _with(b'"x":1e3'),
    "a negative number": _with(b'"x":-1'),
    "2^53": _with(b'"x":9007199254740992'),
    "a number of a thousand digits": _with(b'"x":' + b"9" * 1000),
    "NaN": _with(b'"x":NaN'),
    "a NUL in a text": _with(b'"x":"a\\u0000b"'),
    "half of a surrogate pair": _with(b'"x":"\\ud800"'),
    "nine containers deep": _with(b'"x":' + b"[" * 8 + b"]" * 8),
    "bytes that are not UTF-8": _with(b'"x":"\xff\xfe"'),
    "something behind the object": lambda whole: whole + b"{}",
    "an object cut short": lambda whole: whole[:-1],
    "a list": lambda whole: b"[" + whole + b"]",
    "nothing": lambda whole: b"",
}
"""By name, what is done to a good JSON object to make it one that must be refused."""

UNHARMFUL: Final = _with(b'"later":{"versions":["may",{"say":[[[[1]]]]}]}')
"""A field that is not known, eight containers deep: it must be passed over."""


def damaged(payload: bytes, damage: Callable[[bytes], bytes]) -> bytes:
    """A record's payload with its JSON damaged."""
    head, newline, body = payload.partition(b"\n")
    return head + newline + damage(body)
