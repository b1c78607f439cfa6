"""How often: token buckets for members, rooms, commands and everything a bot sends.

    cooldown = per_member(3, "1m")                  # three at once, then one every 20 seconds
    limits = Limits()
    wait = limits.take([cooldown.of("roll", member=mid, room=rid)], now_ms)
    if wait is not None and wait.tell:              # told at most once a minute
        await ctx.reply(wait.sentence)

A bucket is kept as the one moment at which it will be full again (the generic cell rate
algorithm, ITU-T I.371, which is a token bucket without its counter). So a bucket that is full
again needs no row, and forgetting it changes nothing: that keeps the table small.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterable, Mapping
from datetime import timedelta
from enum import Enum
from typing import Final

from attrs import field, frozen, validators

from bots.durations import as_ms, show_duration
from ofcd.errors import OfcError

__all__ = [
    "BadRate",
    "Bucket",
    "Limit",
    "Limits",
    "Rate",
    "Scope",
    "Wait",
    "overall",
    "per_command",
    "per_member",
    "per_member_and_room",
    "per_room",
]

MAX_BUCKETS: Final = 10_000
TELL_EVERY: Final = 60_000
"""A refused caller is answered at most once in this many ms."""
MAX_AHEAD: Final = 3_600_000_000
"""How far ahead `reserve` goes, in microseconds: an hour."""

_RATE: Final = re.compile(r"(\d{1,6}) ?(?:/|per |in |every )(.{1,40})")


class BadRate(OfcError):
    """A text is not a rate; the sentence says how one is written."""

    code = "bot_rate"


@frozen
class Rate:
    """`count` in `period_ms`: that many at once, and refilled evenly over the period."""

    count: int = field(validator=[validators.ge(1), validators.le(1_000_000)])
    period_ms: int = field(converter=as_ms)

    @classmethod
    def parse(cls, text: str) -> Rate:
        """Read "3/1m", "3 per minute" or "10 in 2 hours".

        Raises:
            BadRate: The text is something else.
            BadDuration: What stands after "per" is not a length of time.
        """
        found = _RATE.fullmatch(" ".join(text.split()))
        if found is None or int(found[1]) < 1:
            raise BadRate("A rate is written as 3/1m, or 3 per minute.")
        period = found[2] if found[2][0].isdigit() else f"1 {found[2]}"
        return cls(int(found[1]), period)

    @property
    def step_us(self) -> int:
        """Microseconds until one more token is there; rounded up, never too generous."""
        return -(-self.period_ms * 1_000 // self.count)

    def __str__(self) -> str:
        return f"{self.count}/{show_duration(self.period_ms).replace(' ', '')}"


class Scope(Enum):
    """Whom a limit counts together."""

    MEMBER = "member"
    ROOM = "room"
    MEMBER_AND_ROOM = "member+room"
    COMMAND = "command"
    OVERALL = "overall"


@frozen
class Bucket:
    """One bucket: its key in the table, and its rate."""

    key: str
    rate: Rate


@frozen
class Limit:
    """A rate and whom it counts together; `of` gives the bucket of one caller."""

    scope: Scope
    rate: Rate

    def of(self, command: str = "", *, member: str = "", room: str = "") -> Bucket:
        """Return the bucket that a call counts in.

        Give `command` for a limit of that command, or leave it empty for one over all of them.
        `member` and `room` are ids as text; those the scope does not count by are left out.
        """
        counts = self.scope
        who = member if counts in (Scope.MEMBER, Scope.MEMBER_AND_ROOM) else ""
        where = room if counts in (Scope.ROOM, Scope.MEMBER_AND_ROOM) else ""
        what = "" if counts is Scope.OVERALL else command
        return Bucket("|".join((counts.value, *map(_escape, (what, who, where)))), self.rate)


def _escape(part: str) -> str:
    """Keep two different callers from ever sharing a key."""
    return part.replace("%", "%25").replace("|", "%7C")


def per_member(count: int, period: str | int | timedelta) -> Limit:
    """Count each member alone, in all rooms together: `per_member(3, "1m")`."""
    return Limit(Scope.MEMBER, Rate(count, period))


def per_room(count: int, period: str | int | timedelta) -> Limit:
    """Count all members of a room together."""
    return Limit(Scope.ROOM, Rate(count, period))


def per_member_and_room(count: int, period: str | int | timedelta) -> Limit:
    """Count each member in each room alone."""
    return Limit(Scope.MEMBER_AND_ROOM, Rate(count, period))


def per_command(count: int, period: str | int | timedelta) -> Limit:
    """Count all calls of one command, whoever makes them."""
    return Limit(Scope.COMMAND, Rate(count, period))


def overall(count: int, period: str | int | timedelta) -> Limit:
    """Count everything: what a bot may send in all, say, which `Limits.reserve` paces."""
    return Limit(Scope.OVERALL, Rate(count, period))


@frozen
class Wait:
    """A call is refused: come back in `wait_ms`."""

    key: str
    """Of the bucket that holds the call up longest."""
    wait_ms: int
    tell: bool
    """Whether to answer: false where this caller was told within the last minute."""

    @property
    def sentence(self) -> str:
        """What to answer: one short line."""
        return f"That was quick: try again in {show_duration(self.wait_ms)}."


class Limits:
    """A bounded table of buckets. Pure: time is handed in, as milliseconds since 1970.

    A clock that jumps back can not lock a caller out: a bucket is never emptier than empty.
    """

    def __init__(self, stored: Mapping[str, int] | None = None, *, size: int = MAX_BUCKETS) -> None:
        """Start from what `dump` gave (and `changes` since), or empty; keep up to `size` rows."""
        self._full_at_us: dict[str, int] = dict(stored or {})
        self._size = max(size, 1)
        self._changed: set[str] = set()

    def __len__(self) -> int:
        return len(self._full_at_us)

    def take(self, buckets: Iterable[Bucket], now_ms: int, *, cost: int = 1) -> Wait | None:
        """Take `cost` tokens from every bucket, or from none and return how long to wait.

        A `cost` above a bucket's count can never be paid, so that count is asked instead.
        """
        asked = tuple({bucket.key: bucket for bucket in buckets}.values())
        waits = [(self._wait_us(bucket, now_ms, cost, 0), bucket.key) for bucket in asked]
        longest, key = max(waits, default=(0, ""))
        if longest > 0:
            return Wait(key, -(-longest // 1_000), self._may_tell(key, now_ms))
        for bucket in asked:
            self._spend(bucket, now_ms, cost, 0)
        return None

    def reserve(self, bucket: Bucket, now_ms: int, *, cost: int = 1) -> int:
        """Take `cost` tokens in any case, and return how many ms to wait before using them.

        This paces what a bot sends: waits come out in order and keep the rate, up to an hour
        ahead. Ask one bucket through `take` or through `reserve`, not both.
        """
        wait = self._wait_us(bucket, now_ms, cost, MAX_AHEAD)
        self._spend(bucket, now_ms, cost, MAX_AHEAD)
        return max(0, -(-wait // 1_000))

    def dump(self, now_ms: int) -> dict[str, int]:
        """Return all rows that are not full again, to store: key to microseconds since 1970."""
        self._drop_full(now_ms)
        self._changed.clear()
        return dict(self._full_at_us)

    def changes(self) -> dict[str, int | None]:
        """Return the rows that changed since the last `changes` or `dump`; None: delete it."""
        changed = {key: self._full_at_us.get(key) for key in sorted(self._changed)}
        self._changed.clear()
        return changed

    # ------------------------------------------------------------ one bucket

    def _wait_us(self, bucket: Bucket, now_ms: int, cost: int, ahead_us: int) -> int:
        full_at = self._full_at(bucket, now_ms, ahead_us) + _price(bucket, cost)
        return full_at - _depth(bucket) - now_ms * 1_000

    def _full_at(self, bucket: Bucket, now_ms: int, ahead_us: int) -> int:
        """Never later than an empty bucket (and what is reserved): clocks may jump back."""
        now = now_ms * 1_000
        return min(max(self._full_at_us.get(bucket.key, 0), now), now + _depth(bucket) + ahead_us)

    def _spend(self, bucket: Bucket, now_ms: int, cost: int, ahead_us: int) -> None:
        full_at = self._full_at(bucket, now_ms, ahead_us) + _price(bucket, cost)
        if bucket.key not in self._full_at_us and len(self._full_at_us) >= self._size:
            self._make_room(now_ms)
        self._full_at_us[bucket.key] = full_at
        self._changed.add(bucket.key)

    def _may_tell(self, key: str, now_ms: int) -> bool:
        """Take the one answer a minute that a refused caller gets."""
        bucket = Bucket(f"tell|{key}", _TELL)
        if self._wait_us(bucket, now_ms, 1, 0) > 0:
            return False
        self._spend(bucket, now_ms, 1, 0)
        return True

    # ------------------------------------------------------------ the table

    def _make_room(self, now_ms: int) -> None:
        """Forget full buckets; where that is not enough, the tenth that is full soonest."""
        self._drop_full(now_ms)
        if len(self._full_at_us) >= self._size:
            some = self._size // 10 + 1
            self._drop(heapq.nsmallest(some, self._full_at_us, key=self._full_at_us.__getitem__))

    def _drop_full(self, now_ms: int) -> None:
        self._drop([key for key, full in self._full_at_us.items() if full <= now_ms * 1_000])

    def _drop(self, keys: Iterable[str]) -> None:
        for key in keys:
            del self._full_at_us[key]
            self._changed.add(key)


_TELL: Final = Rate(1, TELL_EVERY)


def _depth(bucket: Bucket) -> int:
    """Microseconds from empty to full."""
    return bucket.rate.step_us * bucket.rate.count


def _price(bucket: Bucket, cost: int) -> int:
    return bucket.rate.step_us * min(max(cost, 1), bucket.rate.count)
