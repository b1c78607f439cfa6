"""Nicks for members (I5): what a server takes of a name, marked as bridged, no two alike.

Sans-IO.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator
from typing import Final

__all__ = ["nick_candidates", "relayed_nick", "username_of"]

_FORBIDDEN: Final = re.compile(r"[^A-Za-z0-9_\[\]\\`^{}|-]+")
_LEAST: Final = 2
"""Letters of the name that stay, whatever the server's limit."""
_NUMBERS: Final = range(2, 8)
_USERNAME: Final = 9


def _plain(name: str) -> str:
    """A name in the letters that every server takes: accents off, the rest as `_`."""
    bare = "".join(
        one
        for one in unicodedata.normalize("NFKD", name)
        if not unicodedata.category(one).startswith("M")
    )
    made = _FORBIDDEN.sub("_", bare).strip("_")
    return f"_{made}" if made[:1] in "0123456789-" and made else made


def nick_candidates(
    name: str, ident: str, suffix: str, length: int, is_taken: Callable[[str], bool]
) -> tuple[str, ...]:
    """Nicks to try for a member, best first: `Ana[o]`, `Ana2[o]`, ...; never one that is taken.

    `ident`: hexadecimal digits of the member's id, for names of which nothing is left. `length` is
    the server's limit (NICKLEN). All of them end with the suffix, or, for servers that take no
    brackets, with a plain form of it.
    """
    base = _plain(name) or f"m{ident[:6]}"
    plain_suffix = "_" + ("".join(one for one in suffix if one.isalnum()) or "o")

    def made() -> Iterator[str]:
        yield _fit(base, suffix, length)
        for number in _NUMBERS:
            yield _fit(base, f"{number}{suffix}", length)
        yield _fit(base, plain_suffix, length)
        yield _fit(base, f"{ident[:2]}{plain_suffix}", length)
        yield _fit(f"m{ident}", plain_suffix, length)

    return tuple(dict.fromkeys(one for one in made() if not is_taken(one)))


def _fit(base: str, end: str, length: int) -> str:
    return base[: max(_LEAST, length - len(end))] + end


def username_of(name: str, ident: str) -> str:
    """A user name (ident) for a member: a few small letters and digits."""
    letters = "".join(one for one in _plain(name).lower() if one.isascii() and one.isalnum())
    return letters[:_USERNAME] or f"m{ident[: _USERNAME - 1]}"


def relayed_nick(name: str, ident: str, separators: str, length: int) -> str:
    """A nick for RELAYMSG: its separator marks it, and no client can take one with it.

    `ident`: hexadecimal digits of the member's id, for names of which nothing is left.
    """
    mark = next((one for one in separators if "!" < one <= "~" and not one.isalnum()), "/")
    end = f"{mark}ofc"
    base = _plain(name) or f"m{ident[:6]}"
    return base[: max(_LEAST, length - len(end))] + end if length else base + end
