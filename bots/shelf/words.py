"""What the shelf's bots say: other people's words made safe, and moments as people read them."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from datetime import date
from typing import Final
from zoneinfo import ZoneInfo

from bots.schedule import to_wall
from ofcd.client import lite, visible_text

__all__ = ["called", "day", "folded", "in_full", "listed", "moment", "one_line", "quoted"]

_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_YEAR: Final = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec"
_MONTHS: Final = tuple(_YEAR[at : at + 3] for at in range(0, 48, 4))


def one_line(text: str, most: int = 200) -> str:
    """`text` on one line of at most `most` characters, nothing in it hidden or reordered."""
    shown = " ".join(visible_text(text[: 8 * most]).split())
    return shown if len(shown) <= most else shown[: most - 1].rstrip() + "…"


def quoted(text: str, most: int = 200) -> str:
    """`one_line`, with no markup in it: for words of others in a message that has some."""
    return lite.escape(one_line(text, most))


def in_full(text: str, most: int = 4_000) -> str:
    """Several lines of other people's words, with no markup in them."""
    lines = (visible_text(line).rstrip() for line in text[:most].splitlines())
    return lite.escape("\n".join(lines)) + ("…" if len(text) > most else "")


def folded(text: str) -> str:
    """The form in which names are compared: one line, compatible forms and cases made one."""
    return unicodedata.normalize("NFKC", one_line(text)).casefold()


def listed(names: Iterable[str]) -> str:
    """Names in a row, ready for a message: "a, b and c"."""
    *most, last = [quoted(name, 40) for name in names] or ["nobody"]
    return f"{', '.join(most)} and {last}" if most else last


def moment(ms: int, tz: ZoneInfo, now: int) -> str:
    """A moment as people read it, in `tz`: "today 15:00", "Fri 27 Nov 09:00"."""
    there, here = to_wall(ms, tz), to_wall(now, tz)
    days = (there.date() - here.date()).days
    if days in (0, 1):
        return f"{('today', 'tomorrow')[days]} {there:%H:%M}"
    year = "" if there.year == here.year else f" {there.year}"
    return f"{day(there)}{year} {there:%H:%M}"


def day(on: date) -> str:
    """A day of the year as people read it: "Fri 27 Nov"."""
    return f"{_DAYS[on.weekday()]} {on.day} {_MONTHS[on.month - 1]}"


def called(name: str) -> str:
    """How a member is called upon in a message that mentions them."""
    return "@" + quoted(name, 64)
