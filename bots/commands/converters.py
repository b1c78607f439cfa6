"""From a word to a value, by type; bots add converters for types of their own.

converters = Converters()
converters.add(Service, find_service, noun="service")

def find_service(word: str, given: Given) -> Service:
try:
return given.get(Catalogue).services[word]
except KeyError:
raise BadValue("is not a service we run", near_words(word, names)) from None
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from enum import Enum
from typing import Any, Final, TypeVar, cast
from zoneinfo import ZoneInfo

from attrs import field, frozen

from bots.commands.constraints import near_words
from bots.commands.errors import BadValue, SignatureError
from bots.commands.words import fold
from bots.durations import BadDuration, duration_ms
from bots.schedule import BadTime, Once, Schedule, moment, schedule, to_wall, zone
from bots.schedule.phrases import CLOCK, clock_time

__all__ = ["Converter", "Converters", "Given", "of_choices", "of_enum"]

T = TypeVar("T")

_WHOLE: Final = re.compile(r"[+-]?[0-9]{1,18}")
_DECIMAL: Final = re.compile(
    r"[+-]?(?:[0-9]{1,18}(?:\.[0-9]{0,18})?|\.[0-9]{1,18})(?:e[+-]?[0-9]{1,2})?"
)
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_CLOCK: Final = re.compile(CLOCK)
_YES: Final = dict.fromkeys(("yes", "y", "true", "on", "1"), True)
_NO: Final = dict.fromkeys(("no", "n", "false", "off", "0"), False)
_TIME_WORDS: Final = 8


@frozen
class Given:
    """What a line alone does not say: the time, where its member is, and what the bot knows."""

    now_ms: int
    """Milliseconds since 1970."""
    tz: ZoneInfo = field(factory=lambda: ZoneInfo("UTC"))
    """Of the member or the room: "9am" is there."""
    known: Mapping[type, object] = field(factory=dict, repr=False)
    """By type, whatever converters need: the room, its members, a resource."""

    def get(self, kind: type[T]) -> T:
        """Return what the bot gave for `kind`; KeyError where it gave nothing."""
        return cast("T", self.known[kind])


@frozen
class Converter:
    """How the words for one type are read."""

    parse: Callable[[str, Given], Any]
    """From a word to the value; raises `BadValue`."""
    noun: str
    """What it is, for help: "whole number"."""
    words: int = 1
    """Up to so many words are tried together, most first: "2 days", "next friday at 9"."""
    choices: tuple[str, ...] = ()
    """All it takes, where that is a list."""


class Converters:
    """The converters by type. A new one knows `str`, numbers, `bool` and all about time."""

    def __init__(self) -> None:
        self._by_type: dict[Any, Converter] = dict(_BUILT_IN)

    def add(
        self, kind: type[T], parse: Callable[[str, Given], T], *, noun: str = "", words: int = 1
    ) -> None:
        """Let parameters annotated `kind` be read by `parse`, which raises `BadValue`.

        A kind that is known already is read anew. `words` above 1 lets a value be several words.
        """
        self._by_type[kind] = Converter(parse, noun or kind.__name__.lower(), words)

    def knows(self, annotation: object) -> bool:
        """Whether there is a converter for it: what has none may be a resource to inject."""
        try:
            self.of(annotation)
        except SignatureError:
            return False
        return True

    def of(self, kind: Any) -> Converter:
        """Return the converter of a plain type or enum.

        Raises:
            SignatureError: There is none.
        """
        try:
            if known := self._by_type.get(kind):
                return known
        except TypeError:  # not hashable
            pass
        if isinstance(kind, type) and issubclass(kind, Enum):
            return of_enum(kind)
        raise SignatureError(
            f"no converter for {getattr(kind, '__name__', kind)}: add one, or have it injected"
        )


# ---------------------------------------------------------------- what is built in


def _whole(word: str, _: Given) -> int:
    if not _WHOLE.fullmatch(word):
        raise BadValue("is not a whole number")
    return int(word)


def _decimal(word: str, _: Given) -> float:
    if not _DECIMAL.fullmatch(word.lower()) or not math.isfinite(number := float(word)):
        raise BadValue("is not a number")
    return number


def _yes_or_no(word: str, _: Given) -> bool:
    answer = (_YES | _NO).get(word.casefold())
    if answer is None:
        raise BadValue("is neither yes nor no")
    return answer


def _length_of_time(word: str, _: Given) -> timedelta:
    try:
        return timedelta(milliseconds=duration_ms(word))
    except BadDuration:
        raise BadValue("is not a length of time, such as 10m or 2 days") from None


def _moment(word: str, given: Given) -> datetime:
    try:
        return to_wall(moment(word, given.now_ms, given.tz), given.tz)
    except BadTime as wrong:
        raise _bad_time(wrong) from None


def _day(word: str, given: Given) -> date:
    try:
        if _DATE.fullmatch(word):  # may be past
            return date.fromisoformat(word)
        return to_wall(moment(f"{word} 23:59", given.now_ms, given.tz), given.tz).date()
    except (BadTime, ValueError):
        raise BadValue("is not a day to come, such as friday or 2026-04-01") from None


def _time_of_day(word: str, _: Given) -> time:
    found = _CLOCK.fullmatch(" ".join(word.casefold().split()))
    try:
        if found:
            return clock_time(found)
    except BadTime:
        pass
    raise BadValue("is not a time of day, such as 9am or 18:30")


def _schedule(word: str, given: Given) -> Schedule:
    try:
        return schedule(word, given.now_ms, given.tz)
    except BadTime as wrong:
        raise _bad_time(wrong) from None


def _once(word: str, given: Given) -> Once:
    try:
        return Once(moment(word, given.now_ms, given.tz))
    except BadTime as wrong:
        raise _bad_time(wrong) from None


def _zone(word: str, _: Given) -> ZoneInfo:
    try:
        return zone(word)
    except BadTime:
        raise BadValue("is not a time zone, such as Europe/Berlin") from None


def _bad_time(wrong: BadTime) -> BadValue:
    if "past" in str(wrong):
        return BadValue("is past")
    return BadValue("is not a time, such as 10m, tomorrow 9am or friday 18:30")


_BUILT_IN: Final[Mapping[Any, Converter]] = {
    str: Converter(lambda word, _: word, "text"),
    int: Converter(_whole, "whole number"),
    float: Converter(_decimal, "number"),
    bool: Converter(_yes_or_no, "yes or no", choices=("yes", "no")),
    timedelta: Converter(_length_of_time, "length of time", words=5),
    datetime: Converter(_moment, "time", words=_TIME_WORDS),
    date: Converter(_day, "day", words=4),
    time: Converter(_time_of_day, "time of day", words=2),
    Schedule: Converter(_schedule, "time", words=_TIME_WORDS),
    Once: Converter(_once, "time", words=_TIME_WORDS),
    ZoneInfo: Converter(_zone, "time zone"),
}


def of_enum(kind: type[Enum]) -> Converter:
    """Read a member of an enum by its name or, where that is a text, its value; in any case."""
    shown = tuple(str(one.value) if isinstance(one.value, str) else _dashed(one) for one in kind)
    known = {fold(_dashed(one)): one for one in kind}
    known |= {fold(one.value): one for one in kind if isinstance(one.value, str)}
    return _of_known(known, shown, kind.__name__)


def _dashed(one: Enum) -> str:
    return one.name.lower().replace("_", "-")


def of_choices(values: tuple[object, ...]) -> Converter:
    """Read one of the texts and whole numbers of a `Literal`.

    Raises:
        SignatureError: There is something else among them.
    """
    if not all(type(value) in (str, int) for value in values):
        raise SignatureError("a Literal of a command holds texts and whole numbers only")
    known = {fold(str(value)): value for value in values}
    return _of_known(known, tuple(str(value) for value in values), "choice")


def _of_known(known: Mapping[str, object], shown: tuple[str, ...], noun: str) -> Converter:
    def parse(word: str, _: Given) -> object:
        try:
            return known[fold(word)]
        except KeyError:
            listed = ", ".join(shown[:12]) + (" ..." if len(shown) > 12 else "")
            raise BadValue(f"is not one of {listed}", near_words(word, shown)) from None

    return Converter(parse, noun.lower(), choices=shown)
