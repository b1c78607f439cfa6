"""Where the daemon does what would hold its loop: in worker threads."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import trio

__all__ = ["Workers"]

T = TypeVar("T")


class Workers:
    """Runs blocking work in threads. A test whose clock is virtual passes one that does not."""

    async def run(self, work: Callable[[], T], limiter: trio.CapacityLimiter | None = None) -> T:
        """The result of `work()`, done elsewhere; `limiter` bounds how many run at once."""
        return await trio.to_thread.run_sync(work, limiter=limiter)
