"""Token buckets by key, sans-IO: the caller passes the time in."""

from __future__ import annotations

from collections import OrderedDict

__all__ = ["TokenBuckets"]


class TokenBuckets:
    """One token bucket a key, in a table of bounded size.

    A bucket starts full with `burst` tokens and regains `per_second` of them a second. When the
    table is full the key unseen for longest is forgotten, which gives it a full bucket again:
    the price of bounded memory, paid only by a table smaller than the crowd.
    """

    def __init__(self, *, burst: int, per_second: float, max_keys: int) -> None:
        self._burst = float(burst)
        self._per_second = per_second
        self._max_keys = max_keys
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, key: str, now: float) -> float:
        """Take one token. Returns 0.0 when there was one, else the seconds until there is.

        `now` is any clock in seconds that does not run backwards.
        """
        tokens, since = self._buckets.pop(key, (self._burst, now))
        tokens = min(self._burst, tokens + (now - since) * self._per_second)
        wait = 0.0 if tokens >= 1.0 else (1.0 - tokens) / self._per_second
        self._buckets[key] = (tokens if wait else tokens - 1.0, now)
        if len(self._buckets) > self._max_keys:
            self._buckets.popitem(last=False)
        return wait
