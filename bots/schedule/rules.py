"""The kinds of schedule: `Every`, `At`, `Cron` and `Once`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from re import Match
from typing import Final
from zoneinfo import ZoneInfo

from attrs import field, frozen
from cronsim import CronSim, CronSimError

from bots.durations import BadDuration, as_ms, show_duration
from bots.schedule.errors import BadTime
from bots.schedule.phrases import CLOCK, WEEKDAY, Part, Phrase, clock_time, plain, weekday
from bots.schedule.zones import from_wall, to_ms, to_wall, zone

__all__ = ["At", "Cron", "Every", "Once", "Schedule"]

_ALL: Final = frozenset(range(7))
_LAST: Final = 0
"""Stands for a month's last day among days of the month."""
_HORIZON: Final = 8 * 366
"""Days to look ahead: from one 29 February to the next takes up to eight years."""
_MACROS: Final = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}


class Schedule(ABC):
    """When something is due. Schedules are values: equal texts give equal schedules."""

    @abstractmethod
    def next_after(self, now_ms: int) -> int | None:
        """Return the first moment later than `now_ms`, in ms since 1970; None: never again."""

    @property
    @abstractmethod
    def recurring(self) -> bool:
        """Whether it can come more than once."""


def _period(text: str | int | timedelta) -> int:
    try:
        period = as_ms(text)
    except BadDuration as wrong:
        raise BadTime(str(wrong)) from None
    if period < 1_000:
        raise BadTime("A timer runs at most once a second.")
    return period


@frozen
class Every(Schedule):
    """At even steps of elapsed time: `Every("10m")`, `Every("2 days")`.

    Steps are counted from `start_ms`; from 1970 where none is given, so that they do not move
    with the bot's restarts. A day is 24 hours here: for a wall clock's day use `At`.
    """

    period_ms: int = field(converter=_period)
    start_ms: int = 0

    def next_after(self, now_ms: int) -> int:
        """Return the next step; the first one is a period after the start."""
        done = max(0, (now_ms - self.start_ms) // self.period_ms)
        return self.start_ms + (done + 1) * self.period_ms

    @property
    def recurring(self) -> bool:
        """Always."""
        return True

    def __str__(self) -> str:
        return f"every {show_duration(self.period_ms)}"


def _moment(at: int | datetime) -> int:
    return to_ms(at) if isinstance(at, datetime) else at


@frozen
class Once(Schedule):
    """At one moment: ms since 1970, or an aware `datetime`."""

    at_ms: int = field(converter=_moment)

    def next_after(self, now_ms: int) -> int | None:
        """Return the moment while it is ahead."""
        return self.at_ms if self.at_ms > now_ms else None

    @property
    def recurring(self) -> bool:
        """Never."""
        return False


def _cron_line(line: str) -> str:
    return _MACROS.get(line.strip().lower(), line)


@frozen
class Cron(Schedule):
    """By a cron line of five fields in a time zone: `Cron("0 9 * * 1-5", "Europe/Berlin")`.

    Lines mean what they mean to Debian's cron, days of the week included ("MON#1", "5L").
    "@daily" and its kin are understood.

    Raises:
        BadTime: The line or the zone is wrong.
    """

    line: str = field(converter=_cron_line)
    tz: str = "UTC"
    _zone: ZoneInfo = field(init=False, repr=False, eq=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "_zone", zone(self.tz))
        if len(self.line) > 200 or len(self.line.split()) != 5:
            raise BadTime("A cron line has five fields: minute, hour, day, month, weekday.")
        try:
            self._moments(0)
        except (CronSimError, ValueError) as wrong:
            raise BadTime(f"The cron line is wrong: {wrong}.") from None

    def _moments(self, now_ms: int) -> Iterator[datetime]:
        return CronSim(self.line, to_wall(now_ms, self._zone))

    def next_after(self, now_ms: int) -> int | None:
        """Return the line's next moment; None where there is none in fifty years."""
        # Where the clock goes back, cronsim starts anew in the first of the two equal hours.
        return next((ms for ms in map(to_ms, self._moments(now_ms)) if ms > now_ms), None)

    @property
    def recurring(self) -> bool:
        """Always."""
        return True


def _day_range(match: Match[str]) -> frozenset[int]:
    first, last = weekday(match["first"]), weekday(match["last"])
    return frozenset((first + step) % 7 for step in range((last - first) % 7 + 1))


def _month_day(match: Match[str]) -> int:
    day = int(match["nth"])
    if not 1 <= day <= 31:
        raise BadTime("A month's days go from the 1st to the 31st.")
    return day


_AT_PARTS: Final = (
    Part.of("days", r"(?:daily|days?)", lambda _: _ALL),
    Part.of("days", r"(?:week|work)days?", lambda _: frozenset(range(5))),
    Part.of("days", r"weekends?", lambda _: frozenset((5, 6))),
    Part.of(
        "days", rf"(?P<first>{WEEKDAY}) ?(?:-|\u2013|to|through) ?(?P<last>{WEEKDAY})", _day_range
    ),
    Part.of("days", WEEKDAY, lambda match: frozenset((weekday(match[0]),))),
    Part.of("month", r"last day(?: of(?: the| each| every)? month)?", lambda _: _LAST),
    Part.of("month", r"(?P<nth>\d{1,2})(?:st|nd|rd|th)", _month_day),
    Part.of("time", CLOCK, clock_time),
)
_AT_FILLER: Final = ("and", "on", "the", "every", "each", "of", "month", "monthly", "week")


@frozen
class At(Schedule):
    """At wall clock times of some days: `At("weekdays 09:00", "Europe/Berlin")`.

    Days: daily (or none named), weekdays, weekends, mon-fri, "mon, wed and fri", "1st and 15th",
    "last day of the month". Times: 09:00, 9am, 6:30 pm, noon; several are fine. "every", "on",
    "at" and the like may stand between. A month without a 31st is skipped.

    Raises:
        BadTime: The text or the zone is not understood.
    """

    text: str = field(converter=plain)
    tz: str = "UTC"
    _zone: ZoneInfo = field(init=False, repr=False, eq=False)
    _times: tuple[time, ...] = field(init=False, repr=False, eq=False)
    _weekdays: frozenset[int] = field(init=False, repr=False, eq=False)
    _month_days: frozenset[int] = field(init=False, repr=False, eq=False)

    def __attrs_post_init__(self) -> None:
        said = Phrase(self.text, _AT_PARTS, _AT_FILLER)
        times = tuple(sorted(set(said.all("time", time))))
        weekdays = frozenset[int]().union(*said.all("days", frozenset))
        month_days = frozenset(said.all("month", int))
        _check_at(self.text, times, weekdays, month_days)
        object.__setattr__(self, "_zone", zone(self.tz))
        object.__setattr__(self, "_times", times)
        object.__setattr__(self, "_weekdays", weekdays or _ALL)
        object.__setattr__(self, "_month_days", month_days)

    def next_after(self, now_ms: int) -> int | None:
        """Return the next of the times; across changes of the clock as `zones` says."""
        today = to_wall(now_ms, self._zone).date()
        for ahead in range(_HORIZON):
            day = today + timedelta(days=ahead)
            if self._holds(day):
                moments = (from_wall(day, at, self._zone) for at in self._times)
                if later := [ms for ms in moments if ms > now_ms]:
                    return min(later)
        return None

    def _holds(self, day: date) -> bool:
        if not self._month_days:
            return day.weekday() in self._weekdays
        is_last = (day + timedelta(days=1)).day == 1
        return day.day in self._month_days or (is_last and _LAST in self._month_days)

    @property
    def recurring(self) -> bool:
        """Always."""
        return True

    def __str__(self) -> str:
        return f"{self.text} ({self.tz})"


def _check_at(
    text: str, times: tuple[time, ...], weekdays: frozenset[int], month_days: frozenset[int]
) -> None:
    if not times:
        raise BadTime("Say at what time of day too, such as 09:00 or 9am.")
    if weekdays and month_days:
        raise BadTime("Name days of the week or days of the month, not both.")
    words = set(text.replace(",", " ").split())
    if words & {"every", "each"} and not (weekdays or month_days):
        raise BadTime("Say on which days, such as every day or every monday.")
    if words & {"week"} and not weekdays:
        raise BadTime("Say on which day of the week, such as every monday 09:00.")
    if words & {"month", "monthly"} and not month_days:
        raise BadTime("Say on which day of the month, such as the 1st.")
