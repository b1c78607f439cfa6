"""Work beside the rooms: what waits for others outside must not hold a room's order up (trio)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

import trio
from attrs import define, field

from bots.log import Log

__all__ = ["Errands"]

AT_ONCE: Final = 8
QUEUED: Final = 256


@define(eq=False)
class Errands:
    """Runs errands, a few at once, each known by a key; nothing of them outlives the process.

    So a handler sets a timer that begins the errand, again and again until its outcome has come
    back through the bot's `Inbox`.
    """

    _nursery: trio.Nursery
    log: Log
    _turn: trio.CapacityLimiter = field(factory=lambda: trio.CapacityLimiter(AT_ONCE))
    _scopes: dict[str, trio.CancelScope] = field(factory=dict)

    @classmethod
    @asynccontextmanager
    async def open(cls, log: Log) -> AsyncIterator[Errands]:
        """Errands until the block ends; what is under way then is cancelled."""
        async with trio.open_nursery() as nursery:
            yield cls(nursery, log)
            nursery.cancel_scope.cancel()

    def start(self, key: str, work: Callable[[], Awaitable[None]]) -> bool:
        """Begin an errand; False where one of that key is under way, or too many wait."""
        if key in self._scopes or len(self._scopes) >= QUEUED:
            return False
        self._scopes[key] = trio.CancelScope()
        self._nursery.start_soon(self._run, key, work)
        return True

    def cancel(self, key: str) -> bool:
        """Break one off; False where there is none."""
        scope = self._scopes.get(key)
        if scope is not None:
            scope.cancel()
        return scope is not None

    async def _run(self, key: str, work: Callable[[], Awaitable[None]]) -> None:
        try:
            async with self._turn:
                with self._scopes[key]:
                    await work()
        except Exception as error:
            # One errand's bug must not end the bot; its timer begins it again.
            self.log.error("an errand failed", exc_info=error)
        finally:
            del self._scopes[key]
