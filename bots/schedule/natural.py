"""What people type to a reminder bot: "in 20 minutes", "next friday at 18:30", "every monday 9am".

English only, and strict: a phrase is understood as a whole or refused, for a reminder at a
guessed time is worse than a question. Where people differ, this is what words mean here:

- "friday" is the next Friday ahead, today's included while its time is; "next friday" is the
  first one after today. "next week" is this weekday a week from now.
- a day without a time means 09:00, "tonight" 20:00; "at 9" is 09:00, never 21:00.
- a time without a day is the next such time, today or tomorrow.
- a date without a year is the next such date. "1/4" is refused: half the world reads April.
- "in 2 days" keeps the clock's time; "in 48 hours" counts hours.
- "half past 9" is 09:30 and "quarter to 5" 04:45, as "at 9" is 09:00.
- "every first monday of the month" and "every year on 24 december" are cron lines underneath.
- a time that goes on in a way that is not understood ("every 2 weeks on monday") is refused, not
  cut where it is not.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from functools import partial
from re import Match
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from bots.durations import DAY, DURATION, BadDuration, duration_ms
from bots.schedule.errors import BadTime
from bots.schedule.phrases import CLOCK, MONTHS, WEEKDAY, Part, Phrase, clock_time, plain, weekday
from bots.schedule.rules import At, Cron, Every, Once, Schedule
from bots.schedule.zones import from_wall, to_ms, to_wall

__all__ = ["moment", "schedule", "split_schedule"]

MORNING: Final = time(9)
EVENING: Final = time(20)
_PARTS_OF_DAY: Final = {"morning": MORNING, "afternoon": time(15), "evening": time(19)}
_MAX_WORDS: Final = 9
_WEEK: Final = timedelta(days=7)


class _Day(NamedTuple):
    """A day that a phrase names: the first candidate it may mean, and those after it."""

    first: Callable[[date], date]
    after: Callable[[date], date] | None = None
    """From a candidate that is past to the next one; None: the day is fixed."""
    time: time = MORNING


def _days_ahead(days: int, at: time = MORNING) -> _Day:
    return _Day(lambda today: today + timedelta(days=days), None, at)


def _named_weekday(match: Match[str]) -> _Day:
    wanted = weekday(match["day"])
    least = 1 if match["which"] == "next " else 0

    def first(today: date) -> date:
        return today + timedelta(days=(wanted - today.weekday() - least) % 7 + least)

    return _Day(first, lambda day: day + _WEEK)


def _calendar_day(match: Match[str]) -> _Day:
    groups = match.groupdict()
    number = groups.get("number")
    month = int(number) if number else MONTHS.index(match["month"][:3]) + 1
    day = int(match["day"])
    if year := groups.get("year"):
        fixed = _real_date(int(year), month, day)
        return _Day(lambda _: fixed)
    if not 1 <= day <= (29 if month == 2 else 30 if month in (4, 6, 9, 11) else 31):
        raise BadTime("That date is not in the calendar.")
    return _Day(partial(_yearly, month, day), lambda last: _yearly(month, day, last, later=True))


def _yearly(month: int, day: int, start: date, *, later: bool = False) -> date:
    """Return the first such date in the year of `start` or, with `later`, in a later year."""
    year = start.year + later
    while (month, day) == (2, 29) and not _is_leap(year):
        year += 1
    return date(year, month, day)


def _is_leap(year: int) -> bool:
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)


def _day_of_month(match: Match[str]) -> _Day:
    day = int(match["day"])
    if not 1 <= day <= 31:
        raise BadTime("A month's days go from the 1st to the 31st.")
    return _Day(partial(_monthly, day), lambda last: _monthly(day, last + timedelta(days=1)))


def _monthly(day: int, start: date) -> date:
    """Return the first such day of a month from `start` on."""
    while start.day != day:
        start += timedelta(days=1)
    return start


def _real_date(year: int, month: int, day: int) -> date:
    try:
        return date(year, month, day)
    except ValueError:
        raise BadTime("That date is not in the calendar.") from None


def _spoken_time(match: Match[str]) -> time:
    """Half past, quarter past, quarter to an hour."""
    hour = int(match["hour"])
    if not 1 <= hour <= 23:
        raise BadTime("A day's clock goes from 00:00 to 23:59.")
    if match["part"] == "quarter to":
        return time(hour - 1, 45)
    return time(hour, 30 if match["part"] == "half past" else 15)


def _length_ahead(match: Match[str]) -> int:
    try:
        return duration_ms(match["length"])
    except BadDuration as wrong:
        raise BadTime(str(wrong)) from None


_MONTH: Final = (
    r"(?P<month>jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?"
    r"|sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)"
)
_NTH: Final = r"(?P<day>\d{1,2})(?:st|nd|rd|th)?"
_YEAR: Final = r"(?:,? (?P<year>\d{4}))?"
_SPOKEN: Final = r"(?:at )?(?P<part>half past|quarter (?:past|to)) (?P<hour>\d{1,2})"
_PARTS: Final = (
    Part.of("length", rf"in (?P<length>{DURATION})", _length_ahead),
    Part.of("length", rf"(?P<length>{DURATION}) from now", _length_ahead),
    Part.of("day", r"(?:the )?day after tomorrow", lambda _: _days_ahead(2)),
    Part.of("day", r"today", lambda _: _days_ahead(0)),
    Part.of("day", r"tonight", lambda _: _days_ahead(0, EVENING)),
    Part.of("day", r"(?:tomorrow|tmrw)", lambda _: _days_ahead(1)),
    Part.of("day", r"next week", lambda _: _days_ahead(7)),
    Part.of("day", rf"(?P<which>this |next )?(?P<day>{WEEKDAY})", _named_weekday),
    Part.of("day", r"(?P<year>\d{4})-(?P<number>\d\d)-(?P<day>\d\d)", _calendar_day),
    Part.of("day", r"(?P<day>\d{1,2})\.(?P<number>\d{1,2})\.(?P<year>\d{4})", _calendar_day),
    Part.of("day", rf"(?:the )?{_NTH}(?: of)? {_MONTH}{_YEAR}", _calendar_day),
    Part.of("day", rf"{_MONTH} {_NTH}{_YEAR}", _calendar_day),
    Part.of("day", r"(?:the )?(?P<day>\d{1,2})(?:st|nd|rd|th)", _day_of_month),
    Part.of(
        "time", r"(?:at )?(?P<part>half past|quarter (?:past|to)) (?P<hour>\d{1,2})", _spoken_time
    ),
    Part.of("time", CLOCK, clock_time),
    Part.of("time", r"(?:in the |this )?morning", lambda _: _PARTS_OF_DAY["morning"]),
    Part.of("time", r"(?:in the |this )?afternoon", lambda _: _PARTS_OF_DAY["afternoon"]),
    Part.of("time", r"(?:in the |this )?evening", lambda _: _PARTS_OF_DAY["evening"]),
)
_FILLER: Final = ("on",)
_ISO: Final = re.compile(r"\d{4}-\d\d-\d\dt\d\d:\d\d(?::\d\d)?(?:z|[+-]\d\d:\d\d)?")
_RECURRING: Final = re.compile(
    r"(?:every|each|daily|hourly|weekly|monthly|yearly|(?:week|work)days|weekends"
    rf"|(?:mon|tues|wednes|thurs|fri|satur|sun)days|{WEEKDAY} ?- ?{WEEKDAY})(?!\w)"
)
_EVERY: Final = re.compile(r"(?:every|each) (?P<length>.+)")
_PART_OF_DAY: Final = re.compile(
    r"(?P<days>every|each|(?:every|each) .{1,60}) (?P<part>morning|afternoon|evening)s?"
)
_NTH_WEEKDAY: Final = re.compile(
    rf"every (?P<which>first|second|third|fourth|last) (?P<day>{WEEKDAY})"
    rf"(?: (?:of|in) (?:the|each|every) month)?(?: (?P<time>{CLOCK}))?"
)
_YEARLY: Final = re.compile(
    rf"(?:every year|each year|yearly)(?: on)? (?:(?:the )?{_NTH}(?: of)? {_MONTH}"
    rf"|{_MONTH.replace('month', 'month1')} {_NTH.replace('day', 'day1')})(?: (?P<time>{CLOCK}))?"
)
_WHICH: Final = {"first": "#1", "second": "#2", "third": "#3", "fourth": "#4", "last": "L"}
_NUMBERS: Final = "one two three four five six seven eight nine ten eleven twelve"
_COUNTED: Final = {word: number for number, word in enumerate(_NUMBERS.split(), 1)}
_COUNT: Final = re.compile(
    rf"(?<!\w)(?:(?P<word>{'|'.join(_COUNTED)})|(?:a )?couple(?: of)?)"
    r"(?= (?:second|minute|min|hour|day|week)s?(?!\w))"
)
_FROM_TO: Final = re.compile(rf"({WEEKDAY}) (?:to|through|till) ({WEEKDAY})(?!\w)")
_GOES_ON: Final = re.compile(
    r"(?:at|on|from|until|till|before|after|except|and|or)\s+(?:the\s+)?"
    rf"(?:\d|{WEEKDAY}(?!\w)|noon|midnight|tomorrow|today)",
    re.IGNORECASE,
)
_DANGLING: Final = ("and", "or", "at", "on", "in", "the")
_ONE: Final = {"second": "1s", "minute": "1m", "half hour": "30m", "hour": "1h"}


def moment(text: str, now_ms: int, tz: ZoneInfo) -> int:
    """Return the moment, in ms since 1970, that `text` names: "tomorrow 9am", "in 1h30", "10m".

    Raises:
        BadTime: The text is not understood, or that moment is past.
    """
    words = _counted(plain(text))
    if _ISO.fullmatch(words):
        found = _iso(words, tz)
    elif length := _length(words):
        found = now_ms + length
    else:
        found = _resolve(Phrase(words, _PARTS, _FILLER), now_ms, tz)
    if found <= now_ms:
        raise BadTime("That moment is past.")
    return found


def _counted(words: str) -> str:
    """`words` with "two hours" as "2 hours"."""
    return _COUNT.sub(lambda found: str(_COUNTED.get(found["word"], 2)), words)


def _length(words: str) -> int | None:
    try:
        return duration_ms(words)
    except BadDuration:
        return None


def _iso(words: str, tz: ZoneInfo) -> int:
    try:
        found = datetime.fromisoformat(words.upper())
    except ValueError:
        raise BadTime("That date or time is not in the calendar.") from None
    return to_ms(found) if found.tzinfo else from_wall(found.date(), found.time(), tz)


def _resolve(said: Phrase, now_ms: int, tz: ZoneInfo) -> int:
    at = said.one("time", time)
    day = said.one("day", _Day)
    length = said.one("length", int)
    if length is not None:
        return _resolve_length(length, at, day, now_ms, tz)
    if day is None and at is None:
        raise BadTime("Say when, such as in 20 minutes or tomorrow 9am.")
    if day is None:
        day = _Day(lambda today: today, lambda last: last + timedelta(days=1))
    return _resolve_day(day, at or day.time, now_ms, tz)


def _resolve_length(
    length: int, at: time | None, day: _Day | None, now_ms: int, tz: ZoneInfo
) -> int:
    wall = to_wall(now_ms, tz)
    if day is not None or (at is not None and length % DAY):
        raise BadTime("Say either how long from now or when, not both.")
    if length % DAY:
        return now_ms + length
    return from_wall(wall.date() + timedelta(milliseconds=length), at or wall.time(), tz)


def _resolve_day(day: _Day, at: time, now_ms: int, tz: ZoneInfo) -> int:
    on = day.first(to_wall(now_ms, tz).date())
    found = from_wall(on, at, tz)
    if found <= now_ms and day.after is not None:
        found = from_wall(day.after(on), at, tz)
    return found


def schedule(text: str, now_ms: int, tz: ZoneInfo) -> Schedule:
    """Return what `text` asks for: `Once` for a moment, `Every` or `At` for "every ...".

    "every 10 minutes" counts from now. A cron line is understood as well.

    Raises:
        BadTime: The text is not understood, or its moment is past.
    """
    words = _FROM_TO.sub(r"\1-\2", _counted(plain(text)))
    if words.startswith("on ") and _RECURRING.match(words[3:]):
        words = words[3:]
    if words.startswith("@") or (len(words.split()) == 5 and words[0] in "*0123456789"):
        return _cron_or_moment(words, now_ms, tz)
    if not _RECURRING.match(words):
        return Once(moment(words, now_ms, tz))
    if words == "hourly":
        words = "every hour"
    if (every := _EVERY.fullmatch(words)) and (length := _each_length(every["length"])):
        return Every(length, now_ms)
    return _cron_of(words, tz) or _at(words, tz)


def _cron_of(words: str, tz: ZoneInfo) -> Cron | None:
    """The cron line that says the same; None where the words are for `At`."""
    if found := _NTH_WEEKDAY.fullmatch(words):
        day = f"* * {(weekday(found['day']) + 1) % 7}{_WHICH[found['which']]}"
    elif found := _YEARLY.fullmatch(words):
        month = MONTHS.index((found["month"] or found["month1"])[:3]) + 1
        date_in = found["day"] or found["day1"]
        _real_date(2000, month, int(date_in))
        day = f"{int(date_in)} {month} *"
    else:
        return None
    at = clock_time(found) if found["time"] else MORNING
    return Cron(f"{at.minute} {at.hour} {day}", tz.key)


def _each_length(words: str) -> int | None:
    return _length(_ONE.get(words, words))


def _cron_or_moment(words: str, now_ms: int, tz: ZoneInfo) -> Schedule:
    try:
        return Cron(words, tz.key)
    except BadTime as wrong:
        try:
            return Once(moment(words, now_ms, tz))
        except BadTime:
            raise wrong from None


def _at(words: str, tz: ZoneInfo) -> At:
    if found := _PART_OF_DAY.fullmatch(words):
        days = found["days"] if " " in found["days"] else f"{found['days']} day"
        words = f"{days} {_PARTS_OF_DAY[found['part']]:%H:%M}"
    try:
        return At(words, tz.key)
    except BadTime as wrong:
        try:
            return At(f"{words} {MORNING:%H:%M}", tz.key)
        except BadTime:
            raise wrong from None


def split_schedule(text: str, now_ms: int, tz: ZoneInfo) -> tuple[Schedule, str]:
    """Split a reminder into when and what: "in 20 minutes take the pizza out" and the reverse.

    The longest time at the start is taken, else the longest at the end ("call mum tomorrow
    9am"). A "to" or "that" between the two is dropped. What is left keeps its spelling.

    Raises:
        BadTime: Neither end names a time, it goes on in a way that is not understood, or nothing
            is left to remind of.
    """
    words = text.split()
    found = _split_at_start(words, now_ms, tz) or _split_at_end(words, now_ms, tz)
    if found is None:
        raise BadTime("Say when, such as in 20 minutes or tomorrow 9am, and what.")
    when, taken = found
    kept = text.strip()
    kept = _without_start(kept, taken) if taken > 0 else _without_end(kept, -taken)
    if taken > 0 and _GOES_ON.match(kept):
        raise BadTime("That time goes on in a way that is not understood here.")
    what = re.sub(r"\A(?:to|that)(?:\s+|\Z)", "", kept, flags=re.IGNORECASE)
    if not what:
        raise BadTime("Say what to remind of, after the time.")
    return when, what


def _split_at_start(words: list[str], now_ms: int, tz: ZoneInfo) -> tuple[Schedule, int] | None:
    for count in range(min(len(words), _MAX_WORDS), 0, -1):
        if when := _try(words[:count], now_ms, tz):
            return when, count
    return None


def _split_at_end(words: list[str], now_ms: int, tz: ZoneInfo) -> tuple[Schedule, int] | None:
    for count in range(min(len(words), _MAX_WORDS), 0, -1):
        if when := _try(words[-count:], now_ms, tz):
            return when, -count
    return None


def _try(words: list[str], now_ms: int, tz: ZoneInfo) -> Schedule | None:
    if words[-1].casefold().rstrip(",") in _DANGLING:
        return None
    try:
        return schedule(" ".join(words), now_ms, tz)
    except BadTime:
        return None


def _without_start(text: str, words: int) -> str:
    parts = text.split(None, words)
    return parts[words] if len(parts) > words else ""


def _without_end(text: str, words: int) -> str:
    return text.rsplit(None, words)[0] if len(text.split()) > words else ""
