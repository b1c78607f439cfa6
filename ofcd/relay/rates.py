"""Token buckets (protocol.md §3): sans-IO, in milliseconds, in tables of bounded size."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from enum import Enum, auto
from math import ceil
from typing import Final

from ofcd.protocol.codes import Code
from ofcd.relay.policy import RelayPolicy
from ofcd.relay.refusal import Refusal

__all__ = ["Rate", "Rates", "TokenBuckets"]

_SECOND: Final = 1000.0
_MINUTE: Final = 60_000.0


class Rate(Enum):
    """What is counted."""

    REQUEST = auto()
    """By link: every request that has no rate of its own."""
    CREATE = auto()
    """By link."""
    EVENT = auto()
    """By member."""
    ROOM_EVENT = auto()
    """By room."""
    CONTROL = auto()
    """By member."""
    SIGNAL = auto()
    """By member."""
    GUESS = auto()
    """By link: rooms and invites asked for in vain."""
    BAD_SIGNATURE = auto()
    """By link."""


class TokenBuckets:
    """One bucket a key: it starts full with `burst` tokens and regains `per_ms` a millisecond.

    When the table is full the key unseen for longest is forgotten, which gives it a full bucket
    again: the price of bounded memory, paid only by a table smaller than the crowd.
    """

    def __init__(self, *, burst: int, per_ms: float, max_keys: int) -> None:
        self._burst = float(burst)
        self._per_ms = per_ms
        self._max_keys = max_keys
        self._buckets: OrderedDict[Hashable, tuple[float, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def wait(self, key: Hashable, now: int) -> int:
        """Milliseconds until `key` has a token; 0 when it has one. Takes none."""
        tokens = self._tokens(key, now)
        return 0 if tokens >= 1.0 else ceil((1.0 - tokens) / self._per_ms)

    def take(self, key: Hashable, now: int) -> int:
        """As `wait`, and takes the token if there is one."""
        wait = self.wait(key, now)
        tokens = self._tokens(key, now)
        self._buckets[key] = (tokens if wait else tokens - 1.0, now)
        self._buckets.move_to_end(key)
        if len(self._buckets) > self._max_keys:
            self._buckets.popitem(last=False)
        return wait

    def _tokens(self, key: Hashable, now: int) -> float:
        tokens, since = self._buckets.get(key, (self._burst, now))
        return min(self._burst, tokens + max(0, now - since) * self._per_ms)


class Rates:
    """All the rates of one relay."""

    def __init__(self, policy: RelayPolicy) -> None:
        p = policy
        per_minute = p.control_per_minute_per_member
        self._buckets = {
            rate: TokenBuckets(burst=burst, per_ms=per_ms, max_keys=p.tracked_keys)
            for rate, burst, per_ms in (
                (
                    Rate.REQUEST,
                    p.requests_burst_per_link,
                    p.requests_per_second_per_link / _SECOND,
                ),
                (
                    Rate.CREATE,
                    p.creations_per_minute_per_link,
                    p.creations_per_minute_per_link / _MINUTE,
                ),
                (Rate.EVENT, p.events_burst_per_member, p.events_per_second_per_member / _SECOND),
                (Rate.ROOM_EVENT, p.events_burst_per_room, p.events_per_second_per_room / _SECOND),
                (Rate.CONTROL, per_minute, per_minute / _MINUTE),
                (
                    Rate.SIGNAL,
                    p.signals_burst_per_member,
                    p.signals_per_second_per_member / _SECOND,
                ),
                (
                    Rate.GUESS,
                    p.failed_lookups_per_minute_per_link,
                    p.failed_lookups_per_minute_per_link / _MINUTE,
                ),
                (
                    Rate.BAD_SIGNATURE,
                    p.bad_signatures_per_minute,
                    p.bad_signatures_per_minute / _MINUTE,
                ),
            )
        }

    def take(self, rate: Rate, key: Hashable, now: int) -> None:
        """Take a token; raises `Refusal` (rate_limited, with the time to wait) if there is none."""
        _refuse_if(self._buckets[rate].take(key, now))

    def require(self, rate: Rate, key: Hashable, now: int) -> None:
        """As `take`, but only looks."""
        _refuse_if(self._buckets[rate].wait(key, now))

    def spend(self, rate: Rate, key: Hashable, now: int) -> bool:
        """Take a token if there is one; whether there was."""
        return self._buckets[rate].take(key, now) == 0


def _refuse_if(wait: int) -> None:
    if wait:
        raise Refusal(Code.RATE_LIMITED, retry_after=wait)
