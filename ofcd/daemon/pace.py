"""How fast one link is read: what it sends costs the relay's only loop time, byte by byte."""

from __future__ import annotations

from typing import Final

import trio

__all__ = ["Pace"]

_BURST_SECONDS: Final = 4


class Pace:
    """So many bytes a second over time, and a burst of four seconds' worth.

    Who sends more is read later, and its own socket fills up: nothing is lost or refused.
    """

    def __init__(self, per_second: int) -> None:
        self._per_second = per_second
        self._paid_until = -float("inf")

    async def take(self, size: int) -> None:
        """Wait until `size` more bytes are within the pace."""
        now = trio.current_time()
        self._paid_until = max(self._paid_until, now - _BURST_SECONDS) + size / self._per_second
        if self._paid_until > now:
            await trio.sleep_until(self._paid_until)
