"""Names that can not be mistaken: of members as shown outside, and of people outside (G5).

A member's name outside is sanitised, and where two members could be taken for each other (equal
but for case, accents that look alike, letters of another script) each gets the beginning of its
id. It never holds `@`, which marks those whom a bridge speaks for: `name@network`. In the room the
other way round: who speaks outside is named in the signed body's `via`, which every client shows
with the network's badge, whatever the name says.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from ofcd.client import display_name
from ofcd.protocol.ids import MemberId

__all__ = ["carried_name", "outside_name", "remote_name", "shown_names", "skeleton"]

NAME_CHARACTERS: Final = 32
_ID_DIGITS: Final = (6, 12, 24, 64)
"""Of an id behind a name, as many as it takes: who has time to spare makes an id that begins so."""
_NO_NAME: Final = "member"
_REMEMBERED: Final = 4096
"""Names: those of a room's members are asked for with each line from outside."""
_UNSAFE: Final = str.maketrans(
    {"@": "_", "~": "-", "<": "(", ">": ")", "\u2039": "(", "\u203a": ")"}
)
_LOOKALIKES: Final = str.maketrans(
    "аеорсухіјѕһԁԛԝкмтвнгαορνικτυχβεημ0135l|ıɑɡℓ",  # noqa: RUF001 - that is the point
    "aeopcyxijshdqwkmtbhraopviktuxbenuoiesiiiagi",
)
"""Letters of other scripts (and digits) that look like Latin ones, after case folding."""


@lru_cache(_REMEMBERED)
def skeleton(name: str) -> str:
    """What a name looks like: two names with one skeleton can be taken for each other."""
    folded = unicodedata.normalize("NFKD", name.casefold())
    bare = "".join(one for one in folded if not unicodedata.category(one).startswith("M"))
    letters = bare.translate(_LOOKALIKES).replace("rn", "m").replace("vv", "w")
    return "".join(one for one in letters if one.isalnum())


@lru_cache(_REMEMBERED)
def outside_name(name: str) -> str:
    """A member's name as one safe word or more: no `@`, no brackets, nothing hidden."""
    plain = display_name(name).translate(_UNSAFE)
    return display_name(plain, limit=NAME_CHARACTERS) or _NO_NAME


def shown_names(members: Iterable[tuple[MemberId, str]]) -> dict[MemberId, str]:
    """The name of each member outside, no two of which look alike."""
    names = {mid: outside_name(name) for mid, name in members}
    shown = dict(names)
    for digits in _ID_DIGITS:
        # Again, with what is shown now: somebody may be called like another with their id.
        alike = Counter(skeleton(name) for name in shown.values())
        again = [mid for mid, name in shown.items() if alike[skeleton(name)] > 1]
        if not again:
            break
        shown |= {mid: f"{names[mid]}~{mid.hex()[:digits]}" for mid in again}
    return shown


def remote_name(name: str, fallback: str = "") -> str:
    """The name of somebody outside: one line, nothing hidden in it."""
    return display_name(name, limit=NAME_CHARACTERS) or display_name(fallback) or "somebody"


def carried_name(name: str, fallback: str = "") -> str:
    """The name of somebody of one network as shown on another, where it stands among marks."""
    return outside_name(remote_name(name, fallback))
