"""How much is kept of attachments in other relays' rooms, all of them together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import trio

from ofcd.daemon.workers import Workers

__all__ = ["BlobCache"]

_RECOUNT_SECONDS: Final = 600


class BlobCache:
    """Says what still fits. What retention removes is seen when it is counted again."""

    def __init__(self, limit: int, count: Callable[[], int], workers: Workers) -> None:
        """`limit` in bytes; `count` asks the store, and may raise a `StoreError`."""
        self._limit = limit
        self._count = count
        self._workers = workers
        self._used = 0
        self._counted = -float("inf")

    async def take(self, size: int) -> bool:
        """Whether so many bytes more fit; then they count. Raises `StoreError`."""
        if self._used + size > self._limit or self._counted == -float("inf"):
            await self._recount()
        if self._used + size > self._limit:
            return False
        self._used += size
        return True

    async def _recount(self) -> None:
        if trio.current_time() - self._counted < _RECOUNT_SECONDS:
            return
        self._counted = trio.current_time()
        self._used = await self._workers.run(self._count)
