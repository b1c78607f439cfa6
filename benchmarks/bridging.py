"""What the benchmarks of bridges share: clients on vaults, and how long something takes to come."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from ofcd.client import Client, MessageReceived, Room, Vault, open_client

__all__ = ["PATIENCE_SECONDS", "client", "seen", "timed"]

PATIENCE_SECONDS = 180


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


async def timed(into: list[float], started: float, wait: object, *arguments: object) -> None:
    """Wait, and put down how many milliseconds since `started` that took."""
    await wait(*arguments)  # type: ignore[operator]
    into.append((time.perf_counter() - started) * 1e3)
