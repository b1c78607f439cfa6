"""Between wall clocks and milliseconds since 1970, right across both changes of the clock.

A wall time that the clock skips (spring) means the first moment after the gap; one that comes
twice (autumn) means the first of the two. `cronsim` and Debian's cron decide the same.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from bots.schedule.errors import BadTime

__all__ = ["from_wall", "to_ms", "to_wall", "zone"]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(?:/[A-Za-z0-9_+-]+){0,2}")
_MINUTE: Final = timedelta(minutes=1)


def zone(name: str) -> ZoneInfo:
    """Return the time zone called `name`, such as "Europe/Berlin".

    Raises:
        BadTime: There is none of that name.
    """
    if len(name) <= 64 and _NAME.fullmatch(name):
        try:
            return ZoneInfo(name)
        except (ZoneInfoNotFoundError, OSError, ValueError):  # a folder is an OSError
            pass
    raise BadTime("That time zone is not known: write one such as Europe/Berlin or UTC.")


def to_ms(moment: datetime) -> int:
    """Return the milliseconds since 1970 of an aware `moment`, rounded down."""
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def to_wall(ms: int, tz: ZoneInfo) -> datetime:
    """Return the wall clock in `tz` at `ms`, aware."""
    return (_EPOCH + timedelta(milliseconds=ms)).astimezone(tz)


def from_wall(day: date, at: time, tz: ZoneInfo) -> int:
    """Return the milliseconds since 1970 at which the clock in `tz` shows `at` on `day`."""
    wall = datetime.combine(day, at)
    while not _exists(wall, tz):
        wall = wall.replace(second=0, microsecond=0) + _MINUTE
    return to_ms(wall.replace(tzinfo=tz))


def _exists(wall: datetime, tz: ZoneInfo) -> bool:
    there_and_back = wall.replace(tzinfo=tz).astimezone(UTC).astimezone(tz)
    return there_and_back.replace(tzinfo=None) == wall
