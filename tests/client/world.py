"""People in the world of `ofcd.testing`: short words for what these tests do again and again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import trio
from attrs import define

from ofcd.client import Client, Room
from ofcd.protocol.records import Policy
from ofcd.testing import World

__all__ = ["KEY", "URL", "Person", "Town", "settled", "texts", "until"]

URL = World.url
KEY = bytes(range(32))
"""What opens the vaults of `ofcd.testing`."""


@define
class Person:
    """A running client."""

    name: str
    client: Client

    @property
    def room(self) -> Room:
        """The only room."""
        [room] = self.client.rooms
        return room


class Town:
    """The world, and who is in it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.folder: Path = world.folder
        self.people: dict[str, Person] = {}

    async def person(self, name: str) -> Person:
        """This person's client runs, on the same vault each time."""
        self.people[name] = Person(name, await self.world.client(name))
        return self.people[name]

    async def stop(self, name: str) -> None:
        """This person's client stops."""
        await self.world.stop_client(name)

    async def again(self, name: str) -> Person:
        """This person's client stops and is started anew."""
        await self.stop(name)
        return await self.person(name)

    async def found(self, policy: Policy | None = None) -> Room:
        """Ana's room."""
        ana = await self.person("ana")
        return await ana.client.create_room(URL, "garden", my_name="Ana", policy=policy)

    async def pair(self, policy: Policy | None = None) -> tuple[Room, Room]:
        """A room of Ana's that Bo has joined; both have taken everything."""
        mine = await self.found(policy)
        return mine, await self.join(mine, "bo")

    async def join(self, room: Room, name: str) -> Room:
        """One more member of a room."""
        person = await self.person(name)
        theirs = await person.client.join(await room.invite(), name=name.title())
        await settled(room, theirs)
        return theirs


async def until(condition: Callable[[], object], seconds: float = 300) -> None:
    """Wait for something that the tasks under way bring about; fails the test if it never does."""
    began = trio.current_time()
    with trio.fail_after(seconds):
        while not condition():  # noqa: ASYNC110 - it watches others from outside
            await trio.sleep(max(0.1, (trio.current_time() - began) / 50))


async def settled(*rooms: Room) -> None:
    """Everything said has been taken, by everyone."""
    await until(
        lambda: not any(room.outbox() for room in rooms) and len({r.head for r in rooms}) == 1
    )


async def texts(room: Room, count: int) -> list[str]:
    """The room's texts, once there are `count` messages."""
    await until(lambda: len(room.messages(limit=1000)) >= count)
    return [message.text for message in room.messages(limit=1000)]
