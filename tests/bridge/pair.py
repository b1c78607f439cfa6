"""Ana's room with a bridge in it: made once in a process, and a copy of its own for each test.

To make one takes two tenths of a second, more than most tests here do with it. Both clients and the
relay are as after a restart at the moment at which the bridge was let in: the clock stands still.
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path

import trio
from attrs import frozen
from trio.testing import MockClock

from ofcd.client import Client, Room
from ofcd.protocol.records import Cap
from ofcd.testing import World, open_world

__all__ = ["Pair", "open_pair"]

_GRANTED = frozenset({Cap.BRIDGE})


@frozen
class Pair:
    """The world, and who is in it."""

    world: World
    ana: Client
    bridge: Client
    room: Room
    """As Ana has it."""


@asynccontextmanager
async def open_pair(
    folder: Path, name: str = "books", caps: frozenset[Cap] = _GRANTED
) -> AsyncIterator[Pair]:
    """A world, with a room called so; the bridge is a member with these rights."""
    shutil.copytree(_made(name, caps), folder, dirs_exist_ok=True)
    async with open_world(folder) as world:
        ana, bridge = await world.client("ana"), await world.client("bridge")
        for client in (ana, bridge):
            await client.rooms[0].wait_live()
        yield Pair(world, ana, bridge, ana.rooms[0])


@cache
def _made(name: str, caps: frozenset[Cap]) -> Path:
    """A world's folder, its relay and clients stopped."""
    folder = Path(tempfile.mkdtemp(prefix="ofcd-pair-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    # In a thread of its own: the test's own run waits, and its clock with it.
    failed: list[BaseException] = []

    def run() -> None:
        try:
            trio.run(_make, folder, name, caps, clock=MockClock(autojump_threshold=0))
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return folder


async def _make(folder: Path, name: str, caps: frozenset[Cap]) -> None:
    async with open_world(folder) as world:
        ana, bridge = await world.client("ana"), await world.client("bridge")
        room = await ana.create_room(world.url, name, my_name="Ana")
        await bridge.join(await room.invite(caps=caps), name="Bridge")
        await room.wait_live()
        while len(room.members()) < 2:
            await trio.lowlevel.checkpoint()
        assert trio.current_time() == 0.0
