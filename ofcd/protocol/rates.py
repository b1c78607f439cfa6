"""Token buckets by key: sans-IO, the caller passes the time in; in tables of bounded size."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from math import ceil

__all__ = ["TokenBuckets"]


class TokenBuckets:
    """One bucket a key: it starts full with `burst` tokens and regains `per_second` a second.

    When the table is full the key unseen for longest is forgotten, which gives it a full bucket
    again: the price of bounded memory, paid only by a table smaller than the crowd.
    """

    def __init__(self, *, burst: float, per_second: float, max_keys: int) -> None:
        self._burst = float(burst)
        self._per_ms = per_second / 1000
        self._max_keys = max_keys
        self._buckets: OrderedDict[Hashable, tuple[float, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def wait(self, key: Hashable, now: int) -> int:
        """Milliseconds until `key` has a token; 0 when it has one. Takes none.

        `now` is any clock in milliseconds; where it runs backwards, nothing is regained.
        """
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
