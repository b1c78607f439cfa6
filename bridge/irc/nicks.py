"""Nicks for members (I5): what a server takes of a name, marked as bridged, no two alike.

Sans-IO.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from bridge.core.names import skeleton
from bridge.irc.wire import fold
from ofcd.protocol.ids import MemberId

__all__ = ["nick_bases", "nick_candidates", "relayed_mark", "username_of"]

_FORBIDDEN: Final = re.compile(r"[^A-Za-z0-9_\[\]\\`^{}|-]+")
_LEAST: Final = 2
"""Letters of the name that stay, whatever the server's limit."""
_NUMBERS: Final = range(2, 8)
_USERNAME: Final = 9
_ID_DIGITS: Final = (6, 12, 64)
_ID_BESIDE: Final = 3
"""Letters of a name that are worth it to stand before the id."""


def _plain(name: str) -> str:
    """A name in the letters that every server takes: accents off, the rest as `_`."""
    bare = "".join(
        one
        for one in unicodedata.normalize("NFKD", name)
        if not unicodedata.category(one).startswith("M")
    )
    made = _FORBIDDEN.sub("_", bare).strip("_")
    return f"_{made}" if made[:1] in "0123456789-" and made else made


def nick_bases(names: Mapping[MemberId, str], room: int) -> dict[MemberId, str]:
    """What each member's nick begins with, in at most `room` letters; no two look alike (G5, I5).

    `names` as they are shown outside. What makes two of them differ may be letters that servers do
    not take, or stand behind what fits: then each gets the beginning of its id. Who has no such
    beginning in what is returned can have no nick: it would be another one's.
    """
    made = {mid: _plain(name)[:room] for mid, name in names.items()}
    for digits in _ID_DIGITS:
        again = _alike(made)
        if not again:
            break
        made |= {mid: _with_id(_plain(names[mid]), mid.hex()[:digits], room) for mid in again}
    alike = _alike(made)
    return {mid: base for mid, base in made.items() if mid not in alike}


def _alike(made: Mapping[MemberId, str]) -> set[MemberId]:
    looks = {mid: skeleton(base) or fold(base) for mid, base in made.items()}
    count = Counter(looks.values())
    return {mid for mid, look in looks.items() if not look or count[look] > 1}


def _with_id(base: str, ident: str, room: int) -> str:
    if base and room >= _ID_BESIDE + 1 + len(ident):
        return f"{base[: room - 1 - len(ident)]}-{ident}"
    return f"m{ident}"[:room]


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


def relayed_mark(separators: str) -> str:
    """What a nick for RELAYMSG ends with: a separator of it, with which no client can take one."""
    mark = next((one for one in separators if "!" < one <= "~" and not one.isalnum()), "/")
    return f"{mark}ofc"
