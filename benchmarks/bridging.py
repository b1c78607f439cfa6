"""What the benchmarks of bridges share: clients on vaults, and how long something takes to come."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import trio
from attrs import define, field

from ofcd.client import Client, MessageReceived, Room, Vault, open_client

__all__ = ["PATIENCE_SECONDS", "Tally", "client", "seen", "timed"]

PATIENCE_SECONDS = 180


@define
class Tally:
    """How many have come, and who waits for more."""

    count: int = 0
    _changed: trio.Event = field(factory=trio.Event)

    def add(self) -> None:
        """One more."""
        self.count += 1
        self._changed.set()
        self._changed = trio.Event()

    async def until(self, count: int) -> None:
        """Until so many have come."""
        with trio.fail_after(PATIENCE_SECONDS):
            while self.count < count:
                await self._changed.wait()


@asynccontextmanager
async def client(path: Path) -> AsyncIterator[Client]:
    """A client on a vault of its own."""
    with Vault.create(path, bytes(32)) as vault:
        async with open_client(vault) as made:
            yield made


async def seen(room: Room, after: int, count: int = 1) -> None:
    """Until so many messages of others are here."""
    with trio.fail_after(PATIENCE_SECONDS):
        async for event in room.events_since(after):
            if isinstance(event, MessageReceived) and not event.message.mine:
                count -= 1
                if not count:
                    return


async def timed(
    into: list[float], started: float, wait: Callable[..., Awaitable[object]], *arguments: object
) -> None:
    """Wait, and put down how many milliseconds since `started` that took."""
    await wait(*arguments)
    into.append((time.perf_counter() - started) * 1e3)
