"""A room, people, a bridge between them and a network made of plain lists: the core's own test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio
from attrs import evolve, frozen

from bridge.core import (
    Author,
    Engine,
    Finding,
    Network,
    Outgoing,
    PlaceInfo,
    Portal,
    Receipt,
    RemoteMessage,
    Settings,
    State,
    Verdict,
)
from bridge.core.formatting import plain_document, plain_text
from bridge.core.settings import BridgeSettings
from ofcd.client import Client, Message, Room
from ofcd.protocol.records import Cap
from ofcd.testing import World
from tests.bridge.pair import open_pair

PLACE = "#books"


@frozen
class PaperSettings:
    name: str = "paper"


@frozen
class PaperPlace:
    shade: str = "white"


class Paper(Network[PaperSettings, PaperPlace]):
    """What is said there is kept as long as the test: it outlives a bridge."""

    kind = "paper"
    Settings = PaperSettings
    PlaceSettings = PaperPlace

    def __init__(
        self, settings: PaperSettings, places: Sequence[PlaceInfo[PaperPlace]], walls: Walls
    ) -> None:
        super().__init__(settings, places)
        self.walls = walls

    async def run(self) -> None:
        while True:
            changed = self.walls.changed
            for place in self.places:
                self.host.ready(place, self.walls.up, "the wall is down")
            await changed.wait()

    async def deliver(self, batch: Sequence[Outgoing]) -> Sequence[Receipt]:
        return [await self._deliver(one) for one in batch]

    async def _deliver(self, one: Outgoing) -> Receipt:
        await trio.sleep(self.walls.seconds)
        if self.walls.refuse:
            return Receipt(one.number, State.FAILED, (), self.walls.refuse)
        if not self.walls.up:
            return Receipt(one.number, State.QUEUED)
        self.walls.said.append(one)
        return Receipt(one.number, State.CONFIRMED, (f"out{len(self.walls.said)}",))

    async def check(self, report: Callable[[Finding], None]) -> None:
        report(Finding(True, "paper is patient"))


class Walls:
    """The network outside."""

    def __init__(self) -> None:
        self.said: list[Outgoing] = []
        self.up = True
        self.seconds = 0.01
        self.refuse = ""
        self.changed = trio.Event()

    def set_up(self, on: bool) -> None:
        self.up = on
        self.changed.set()
        self.changed = trio.Event()

    def lines(self, place: str = PLACE) -> list[str]:
        """What stands there, as `name: words`."""
        return [
            f"{one.author.name if one.author else '-'}: {plain_text(one.document)}"
            for one in self.said
            if one.place == place
        ]


@frozen
class Scene:
    """All of it."""

    world: World
    ana: Client
    room: Room
    bridge: Client
    engine: Engine
    walls: Walls
    network: Paper

    async def outside(
        self, text: str, ident: str = "", who: str = "kim", place: str = PLACE, **more: Any
    ) -> Verdict:
        """Somebody outside says something."""
        remote = RemoteMessage(
            place=place,
            id=ident or text,
            author=Author(f"{who}!x@y", who),
            document=plain_document(text),
        )
        return await self.engine.inbound.take("paper", evolve(remote, **more))

    def messages(self) -> list[Message]:
        return self.room.messages(since=0, limit=100_000)

    def bridged(self) -> list[str]:
        """What stands in the room of others, as `name: words`."""
        return [f"{m.via.name}: {m.text}" for m in self.messages() if m.via is not None]

    def notices(self) -> list[str]:
        """What the bridge says itself."""
        return [m.text for m in self.messages() if not m.mine and m.via is None]

    async def quiet(self, seconds: float = 3.0) -> None:
        """Nothing new for a while."""
        while True:
            before = (self.room.head, len(self.walls.said))
            await trio.sleep(seconds)
            if (self.room.head, len(self.walls.said)) == before:
                return


def settings(*portals: Portal) -> Settings:
    """One network called paper, joined like this."""
    made = portals or (Portal(room="books", network="paper", place=PLACE, hold=0.0),)
    return Settings(BridgeSettings(), (PaperSettings(),), {"paper": Paper}, made)


@asynccontextmanager
async def open_scene(
    folder: Path,
    *portals: Portal,
    walls: Walls | None = None,
    caps: frozenset[Cap] = frozenset({Cap.BRIDGE}),
    world: World | None = None,
) -> AsyncIterator[Scene]:
    """A scene in which the bridge is a member of the room and runs."""
    if world is None:
        async with (
            open_pair(folder, caps=caps) as pair,
            running(
                pair.world, pair.ana, pair.room, pair.bridge, walls or Walls(), *portals
            ) as scene,
        ):
            yield scene
        return
    ana, bridge = await world.client("ana"), await world.client("bridge")
    room = await ana.create_room(world.url, "books", my_name="Ana")
    await bridge.join(await room.invite(caps=caps), name="Bridge")
    async with running(world, ana, room, bridge, walls or Walls(), *portals) as scene:
        yield scene


@asynccontextmanager
async def running(
    world: World, ana: Client, room: Room, bridge: Client, walls: Walls, *portals: Portal
) -> AsyncIterator[Scene]:
    """One life of a bridge."""
    made = settings(*portals)
    places = made._places("paper")
    paper = Paper(made.networks[0], places, walls)
    engine = Engine(made, bridge, {"paper": paper})
    async with trio.open_nursery() as nursery:
        nursery.start_soon(engine.run)
        scene = Scene(world, ana, room, bridge, engine, walls, paper)
        await scene.quiet()
        yield scene
        nursery.cancel_scope.cancel()


__all__ = ["PLACE", "Paper", "Scene", "Walls", "open_scene", "running", "settings"]
