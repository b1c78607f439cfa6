"""Private messages in tests: Ana has a nick on IRC and a room of her own for what is said to it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from bridge.irc.settings import IrcPlace, IrcSettings
from ofcd.client import Room
from ofcd.protocol.records import Cap
from tests.bridge.irc.scene import CHANNEL, IrcScene, irc_scene, portal, until
from tests.bridge.irc.scripted import ALL_CAPS, Guest

__all__ = [
    "BASE",
    "KIM",
    "MODERN",
    "PUPPETS",
    "failed",
    "group",
    "more_failed",
    "own_room",
    "private_scene",
    "puppet",
    "said_in",
]

MODERN = [one for one in ALL_CAPS if "relaymsg" not in one]
PUPPETS = portal(options=IrcPlace(mode="puppets"), ignore=["*!*@bad.example"])
BASE = IrcSettings(
    name="irc", server="irc.example", nick="ofc", line_seconds=0.01, burst=100, puppet_seconds=0.5
)
KIM = "kim!k@there.example"


@asynccontextmanager
async def private_scene(folder: Path, *caps: str, isupport: str = "") -> AsyncIterator[IrcScene]:
    made = irc_scene(folder, PUPPETS, caps=[*MODERN, *caps], settings=BASE, isupport=isupport)
    async with made as scene:
        scene.server.people["kim"] = "k@there.example"
        yield scene


async def puppet(scene: IrcScene) -> Guest:
    await scene.up()
    await scene.room.send("first")
    await until(lambda: any(CHANNEL in g.channels and "Ana" in g.nick for g in scene.server.guests))
    await trio.sleep(2)
    return scene.guest("Ana[o]")


async def own_room(scene: IrcScene) -> Room:
    """Ana asks for them."""
    private = await scene.ana.create_room(scene.world.url, "irc", my_name="Ana")
    link = (await private.invite(caps=frozenset({Cap.BRIDGE}))).link()
    await scene.room.send(f"!bridge irc dm {link}")
    await until(lambda: any("I copy this room" in one.text for one in private.messages()))
    return private


def said_in(room: Room) -> list[str]:
    return [f"{m.via.name}: {m.text}" for m in room.messages() if m.via is not None]


def failed(room: Room) -> int:
    """How many messages bear the mark of one that was not delivered."""
    return sum(bool(m.reactions) for m in room.messages())


def more_failed(room: Room, than: int) -> bool:
    return failed(room) > than


def group(scene: IrcScene) -> str:
    """All that stands in the room of all, and in the channel."""
    return "\n".join([*(m.text for m in scene.messages()), *scene.heard()])
