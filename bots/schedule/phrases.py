"""The words of days and clock times, which `At` and people's own phrases share.

A text is read from left to right as parts (a day, a time, a length); what is no part, or what
is left over, makes the whole text unknown. Nothing is guessed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from datetime import time
from re import Match
from typing import Final, NamedTuple, TypeVar

from bots.schedule.errors import BadTime

__all__ = ["CLOCK", "MONTHS", "WEEKDAY", "Part", "Phrase", "clock_time", "plain", "weekday"]

T = TypeVar("T")

MAX_PHRASE: Final = 200
_END: Final = r"(?![\w:.-])"

_DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_YEAR: Final = "janfebmaraprmayjunjulaugsepoctnovdec"
MONTHS: Final = tuple(_YEAR[at : at + 3] for at in range(0, 36, 3))
WEEKDAY: Final = (
    r"(?:mon(?:day)?s?|tues?(?:days?)?|wed(?:nesdays?)?|thu(?:rs?(?:days?)?)?"
    r"|fri(?:days?)?|sat(?:urdays?)?|sun(?:days?)?)"
)
CLOCK: Final = (
    r"(?:(?:at |@ ?)?(?:(?P<hour>\d{1,2})[:.](?P<minute>\d\d) ?(?P<half>am|pm)?"
    r"|(?P<hour12>\d{1,2}) ?(?P<half12>am|pm)|(?P<word>noon|midday|midnight))"
    r"|at (?P<bare>\d{1,2})(?: ?o'?clock)?)"
)


class Part(NamedTuple):
    """One kind of part: its pattern, and what a match of it means."""

    kind: str
    pattern: re.Pattern[str]
    meaning: Callable[[Match[str]], object]

    @classmethod
    def of(cls, kind: str, pattern: str, meaning: Callable[[Match[str]], object]) -> Part:
        """Compile `pattern`, which then ends at a word's end."""
        return cls(kind, re.compile(pattern + _END), meaning)


class Phrase:
    """What the parts of a text say: a list of meanings for each kind."""

    def __init__(self, text: str, parts: Sequence[Part], filler: Iterable[str]) -> None:
        """Read all of `text`, which is `plain`; words of `filler` say nothing.

        Raises:
            BadTime: Something in it is none of the parts.
        """
        self._found: dict[str, list[object]] = {}
        skip = re.compile(rf"(?:(?:{'|'.join(filler)}){_END}|[ ,])+")
        position = _skipped(skip, text, 0)
        while position < len(text):
            position = _skipped(skip, text, self._read_part(text, position, parts))

    def _read_part(self, text: str, position: int, parts: Sequence[Part]) -> int:
        for part in parts:
            if match := part.pattern.match(text, position):
                self._found.setdefault(part.kind, []).append(part.meaning(match))
                return match.end()
        raise BadTime("That is not a time that is understood here.")

    def all(self, kind: str, of: type[T]) -> list[T]:
        """Return the meanings of every part of this kind."""
        return [meaning for meaning in self._found.get(kind, []) if isinstance(meaning, of)]

    def one(self, kind: str, of: type[T]) -> T | None:
        """Return the meaning of the one part of this kind, or None.

        Raises:
            BadTime: There are two.
        """
        found = self.all(kind, of)
        if len(found) > 1:
            raise BadTime(f"That names more than one {kind}.")
        return found[0] if found else None


def _skipped(skip: re.Pattern[str], text: str, position: int) -> int:
    found = skip.match(text, position)
    return found.end() if found else position


def plain(text: str) -> str:
    """Return `text` in lower case with single spaces.

    Raises:
        BadTime: It is empty, or longer than any phrase about time is.
    """
    if len(text) > MAX_PHRASE or not (words := text.casefold().split()):
        raise BadTime("A time is a short phrase, such as tomorrow 9am.")
    return " ".join(words)


def weekday(name: str) -> int:
    """Return 0 for Monday to 6 for Sunday, from a name that `WEEKDAY` matched."""
    return _DAYS.index(name[:3])


def clock_time(match: Match[str]) -> time:
    """Return the time of day that `CLOCK` matched.

    Raises:
        BadTime: The clock never shows it.
    """
    if word := match["word"]:
        return time(0) if word == "midnight" else time(12)
    hour = int(match["hour"] or match["hour12"] or match["bare"])
    if half := match["half"] or match["half12"]:
        if not 1 <= hour <= 12:
            raise BadTime("With am or pm, hours go from 1 to 12.")
        hour = hour % 12 + (12 if half == "pm" else 0)
    minute = int(match["minute"] or 0)
    if hour > 23 or minute > 59:
        raise BadTime("A day's clock goes from 00:00 to 23:59.")
    return time(hour, minute)
