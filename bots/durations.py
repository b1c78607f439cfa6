"""Lengths of time as people type them: "10m", "1h30", "2 days", "an hour and 5 minutes".

Everything is whole milliseconds. Months and years are refused: their length is not fixed.
"""

from __future__ import annotations

import re
from datetime import timedelta
from decimal import Decimal
from typing import Final

from ofcd.errors import OfcError

__all__ = ["DURATION", "BadDuration", "as_ms", "duration_ms", "show_duration"]

SECOND: Final = 1_000
MINUTE: Final = 60 * SECOND
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR
WEEK: Final = 7 * DAY
MAX: Final = 36_600 * DAY
"""A hundred years and a bit: what is longer is a slip of the finger."""

_UNITS: Final = {"s": SECOND, "m": MINUTE, "h": HOUR, "d": DAY, "w": WEEK}
_UNIT: Final = (
    r"(?:w(?:eeks?|ks?)?|d(?:ays?)?|h(?:ours?|rs?)?|m(?:in(?:ute)?s?)?|s(?:ec(?:ond)?s?)?)"
)
_PIECE: Final = rf"(?:\d{{1,9}}(?:\.\d{{1,3}})? ?|half an? |an? ){_UNIT}(?![a-z])"
_TIGHT: Final = rf"\d{{1,9}}(?:\.\d{{1,3}})?{_UNIT}"
DURATION: Final = (
    rf"(?:\d{{1,6}}h[0-5]?\d(?!\d|[a-z])|(?:{_TIGHT}(?=\d))*{_PIECE}"
    rf"(?:(?:,? and |, ?| )(?:{_TIGHT}(?=\d))*{_PIECE})*)"
)
"""A regular expression (no groups) of one duration in lower case with single spaces."""

_WHOLE: Final = re.compile(DURATION)
_EACH: Final = re.compile(rf"(\d+(?:\.\d+)?|half an?(?= )|an?(?= )) ?({_UNIT})")
_CLOCK: Final = re.compile(r"(\d+)h(\d+)")


class BadDuration(OfcError):
    """A text is not a length of time; the sentence says which forms are."""

    code = "bot_duration"


def duration_ms(text: str) -> int:
    """Return the milliseconds that `text` names: "90s", "1h30", "1.5 hours", "2 days".

    Raises:
        BadDuration: The text is something else, zero, or over a hundred years.
    """
    plain = " ".join(text.casefold().split()) if len(text) <= 100 else ""
    if not _WHOLE.fullmatch(plain):
        raise BadDuration("A length of time is written as 10m, 1h30, 90s or 2 days.")
    total = _sum(plain)
    if not 0 < total <= MAX:
        raise BadDuration("A length of time lies between a moment and a hundred years.")
    return total


def _sum(plain: str) -> int:
    if clock := _CLOCK.fullmatch(plain):
        return int(clock[1]) * HOUR + int(clock[2]) * MINUTE
    return int(sum(_amount(number) * _UNITS[unit[0]] for number, unit in _EACH.findall(plain)))


def _amount(number: str) -> Decimal:
    if number.startswith("half"):
        return Decimal("0.5")
    return Decimal(1) if number.startswith("a") else Decimal(number)


def as_ms(length: str | int | timedelta) -> int:
    """Return milliseconds from a text ("10m"), a `timedelta`, or milliseconds themselves."""
    if isinstance(length, str):
        return duration_ms(length)
    if isinstance(length, timedelta):
        length = length // timedelta(milliseconds=1)
    if not 0 < length <= MAX:
        raise BadDuration("A length of time lies between a moment and a hundred years.")
    return length


def show_duration(ms: int) -> str:
    """Write `ms` for a person, to the second, rounded up: "1h 30m", "2d", "0s".

    `duration_ms` reads it back, where it is over zero.
    """
    left = -(-max(ms, 0) // SECOND) * SECOND
    parts = []
    for unit in "dhms":
        count, left = divmod(left, _UNITS[unit])
        if count:
            parts.append(f"{count}{unit}")
    return " ".join(parts) or "0s"
