"""What is counted, by whom, and how much of it is too much (protocol.md §3)."""

from __future__ import annotations

from collections.abc import Hashable
from enum import Enum, auto
from typing import Final

from ofcd.protocol.codes import Code
from ofcd.protocol.rates import TokenBuckets
from ofcd.relay.policy import RelayPolicy
from ofcd.relay.refusal import Refusal

__all__ = ["BY_LINK", "BY_MEMBER", "BY_ROOM", "Rate", "Rates"]

_MINUTE: Final = 60


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
    ROOM_SIGNAL = auto()
    """By room: each goes to all who are there."""
    GUESS = auto()
    """By link: rooms and invites asked for in vain."""
    REFUSAL = auto()
    """By link: whatever was refused, for whatever reason."""
    BAD_SIGNATURE = auto()
    """By link."""


BY_LINK: Final = frozenset({Rate.REQUEST, Rate.CREATE})
BY_MEMBER: Final = frozenset({Rate.EVENT, Rate.CONTROL, Rate.SIGNAL})
BY_ROOM: Final = frozenset({Rate.ROOM_EVENT, Rate.ROOM_SIGNAL})


class Rates:
    """All the rates of one relay."""

    def __init__(self, policy: RelayPolicy) -> None:
        self._buckets = {
            rate: TokenBuckets(burst=burst, per_second=per_second, max_keys=policy.tracked_keys)
            for rate, (burst, per_second) in _bursts_and_rates(policy).items()
        }

    def take(self, rate: Rate, key: Hashable, now: int) -> None:
        """Take a token; raises `Refusal` (rate_limited, with the time to wait) if there is none."""
        _refuse_if(self._buckets[rate].take(key, now))

    def require(self, rate: Rate, key: Hashable, now: int) -> None:
        """As `take`, but only looks."""
        _refuse_if(self._buckets[rate].wait(key, now))

    def wait(self, rate: Rate, key: Hashable, now: int) -> int:
        """Milliseconds until there is a token; takes none."""
        return self._buckets[rate].wait(key, now)

    def spend(self, rate: Rate, key: Hashable, now: int) -> bool:
        """Take a token if there is one; whether there was."""
        return self._buckets[rate].take(key, now) == 0


def _bursts_and_rates(p: RelayPolicy) -> dict[Rate, tuple[int, float]]:
    """Tokens at once, and tokens a second."""
    return {
        Rate.REQUEST: (p.requests_burst_per_link, p.requests_per_second_per_link),
        Rate.CREATE: _each_minute(p.creations_per_minute_per_link),
        Rate.EVENT: (p.events_burst_per_member, p.events_per_second_per_member),
        Rate.ROOM_EVENT: (p.events_burst_per_room, p.events_per_second_per_room),
        Rate.CONTROL: _each_minute(p.control_per_minute_per_member),
        Rate.SIGNAL: (p.signals_burst_per_member, p.signals_per_second_per_member),
        Rate.ROOM_SIGNAL: (p.signals_burst_per_room, p.signals_per_second_per_room),
        Rate.GUESS: _each_minute(p.failed_lookups_per_minute_per_link),
        Rate.REFUSAL: (p.refusals_burst_per_link, p.refusals_per_second_per_link),
        Rate.BAD_SIGNATURE: _each_minute(p.bad_signatures_per_minute),
    }


def _each_minute(count: int) -> tuple[int, float]:
    return count, count / _MINUTE


def _refuse_if(wait: int) -> None:
    if wait:
        raise Refusal(Code.RATE_LIMITED, retry_after=wait)
