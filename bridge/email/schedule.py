"""When a mail goes out, when it is tried again, and when there were too many. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, time
from enum import StrEnum
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from attrs import frozen

__all__ = [
    "PER_HOUR",
    "Delivery",
    "Pace",
    "check_zone",
    "flush_at",
    "may_pass",
    "quiet_hours",
    "quiet_until",
    "retry_at",
]

PER_HOUR: Final = 20
"""Mails to (and from) one correspondent an hour, and in one thread: more is a loop (M4)."""
HOUR_MS: Final = 3_600_000
_HOURS: Final = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)")
_RETRIES: Final = (60, 300, 900, 1800)
"""Seconds to the first tries; after them every half hour, the least that RFC 5321 4.5.4.1 names
(sooner at first, for the server we hand mail to is our own)."""
_SOON: Final = (1, 15, *_RETRIES)
"""After a link that ended: the mail may have been in it by chance."""


class Delivery(StrEnum):
    """How somebody gets what is said."""

    EACH = "each"
    """A mail for each message."""
    DIGEST = "digest"
    """What was said, together."""


@frozen
class Pace:
    """How, and when, somebody wants mail."""

    delivery: Delivery = Delivery.EACH
    hold: float = 0.0
    """Seconds that each message waits."""
    every: float = 3600.0
    """Seconds from the first message of a digest to its mail."""
    count: int = 50
    """Messages that make a digest full before that."""
    quiet: tuple[time, time] | None = None
    """From when to when no mail is to come, by the clock of `zone`."""
    zone: str = "UTC"


def quiet_hours(text: str) -> tuple[time, time] | None:
    """From when to when, of "22:00-07:00"; None for ""; raises ValueError."""
    if not text:
        return None
    found = _HOURS.fullmatch(text)
    if found is None:
        raise ValueError('quiet has to be hours, as "22:00-07:00"')
    a, b, c, d = map(int, found.groups())
    return time(a, b), time(c, d)


def check_zone(name: str) -> None:
    """Raises ValueError where there is no such time zone."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"there is no time zone {name}") from None


def flush_at(pace: Pace, first: int, waiting: int, now: int) -> int:
    """When what waits since `first` goes out, in milliseconds since 1970."""
    due = first + int(pace.hold * 1000)
    if pace.delivery is Delivery.DIGEST and waiting < pace.count:
        due = first + int(max(pace.every, pace.hold) * 1000)
    return quiet_until(pace, max(due, now)) if due <= now else due


def quiet_until(pace: Pace, now: int) -> int:
    """`now`, or the end of the quiet hours it falls into."""
    if pace.quiet is None:
        return now
    start, end = pace.quiet
    local = datetime.fromtimestamp(now / 1000, ZoneInfo(pace.zone))
    clock = local.time()
    inside = start <= clock < end if start <= end else clock >= start or clock < end
    if not inside:
        return now
    finish = local.replace(hour=end.hour, minute=end.minute, second=0, microsecond=0)
    wait = (finish - local).total_seconds() % 86_400
    return now + int(wait * 1000)


def retry_at(attempts: int, now: int, jitter: float, *, soon: bool = False) -> int:
    """When a mail that failed `attempts` times for now is tried again; `jitter` is 0 to 1.

    `soon`: the first two times after seconds.
    """
    waits = _SOON if soon else _RETRIES
    seconds = waits[min(attempts, len(waits)) - 1]
    return now + int(seconds * 1000 * (0.9 + 0.2 * jitter))


def may_pass(times: Sequence[int], now: int, limit: int = PER_HOUR) -> tuple[bool, tuple[int, ...]]:
    """Whether one more may pass, and the times to remember (itself among them if it may)."""
    recent = tuple(at for at in times if now - HOUR_MS < at <= now)[-limit:]
    if len(recent) >= limit:
        return False, recent
    return True, (*recent, now)
