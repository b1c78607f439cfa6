"""A bridged room is moved by force: nothing is said outside twice, and both sides still meet."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import trio
from attrs import frozen
from trio.testing import MockClock

from bridge.core import Author, Portal, RemoteEdit
from bridge.core.formatting import plain_document, plain_text
from ofcd.client import Client, Room
from ofcd.protocol.records import Cap
from ofcd.testing import World, open_net
from tests.bridge.core.world import PLACE, Scene, Walls, running
from tests.federation.double import part, quickly, shared
from tests.federation.test_force import acquainted, force
from tests.world.scene import settle, texts

OTHER = "#other"
PORTALS = [
    Portal(room="tea", network="paper", place=place, hold=0.0, reactions=True)
    for place in (PLACE, OTHER)
]


@frozen
class Moved:
    """Root at a hub; Bo at the relay that is to be the hub; the bridge at a third one."""

    old: World
    new: World
    third: World
    ana: Room
    bo: Room
    bridge: Client

    def bridged(self, walls: Walls) -> AbstractAsyncContextManager[Scene]:
        ana = self.ana._client
        return running(self.third, ana, self.ana, self.bridge, walls, *PORTALS)

    @property
    def rooms(self) -> list[Room]:
        return [self.ana, self.bo, *self.bridge.rooms]

    async def is_cut_off(self) -> None:
        await settle(self.rooms)
        part(self.old, self.new)

    async def moves(self) -> None:
        await self.old.stop_relay()
        await force(self.ana, self.new)


@asynccontextmanager
async def opened(tmp_path: Path) -> AsyncIterator[Moved]:
    async with open_net(tmp_path, "old", "new", "third", change=quickly) as (old, new, third):
        ana, bo = await shared(old, new)
        bridge = await third.client("bridge")
        await bridge.join(await ana.invite(caps={Cap.BRIDGE}), name="Bridge", via=third.url)
        await acquainted(new, third)
        moved = Moved(old, new, third, ana, bo, bridge)
        await settle(moved.rooms)
        yield moved


def said(walls: Walls) -> list[tuple[str, str]]:
    return sorted((one.place, plain_text(one.document)) for one in walls.said)


async def test_what_is_said_again_is_not_told_again_and_what_is_told_of_it_finds_it(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """At two places, both ways; a command is answered once."""
    walls = Walls()
    async with opened(tmp_path) as moved, moved.bridged(walls) as scene:
        ana, bo = moved.ana, moved.bo
        await moved.is_cut_off()
        await ana.send("out")
        await ana.send("!bridge help")
        await scene.outside("in", "kims")
        await settle([ana, *moved.bridge.rooms])
        await scene.quiet()
        before = said(walls)
        assert before == [(PLACE, "out"), (OTHER, "in"), (OTHER, "out")]
        [out] = [one for one in walls.said if one.place == PLACE]
        remote = f"out{walls.said.index(out) + 1}"
        await moved.moves()
        await settle(moved.rooms)
        await scene.quiet()
        assert said(walls) == before
        assert {"!bridge help", "in", "out"} <= set(texts(bo))
        assert len(texts(bo)) == len(set(texts(bo)))
        now = {message.text: message for message in bo.messages(since=0)}
        walls.said.clear()
        # An edit, a reaction and an answer name outside what stands there since before the cut.
        await ana.edit(now["out"].event_id, "out, edited")
        await bo.react(now["out"].event_id, "👍")
        await bo.send("to kim", reply_to=now["in"].event_id)
        await settle(moved.rooms)
        await scene.quiet()
        here = [one for one in walls.said if one.place == PLACE]
        assert [one.remote_ids for one in here if one.target is not None] == [(remote,)] * 2
        [answer] = [one for one in here if one.reply_to is not None and one.target is None]
        assert answer.reply_to is not None
        assert answer.reply_to.remote_ids == ("kims",)
        # And so does what comes in.
        await scene.outside("to ana", "kims answer", reply_to=remote)
        edit = RemoteEdit(
            place=PLACE,
            id="kims edit",
            author=Author("kim!x@y", "kim"),
            target="kims",
            document=plain_document("in, edited"),
        )
        await scene.engine.inbound.take("paper", edit)
        await settle(moved.rooms)
        await scene.quiet()
        now = {message.text: message for message in bo.messages(since=0)}
        assert now["to ana"].reply_to == now["out, edited"].event_id
        assert now["in, edited"].event_id
        assert "in" not in now
        # Taken back, it is taken back outside, too.
        walls.said.clear()
        await ana.redact(now["out, edited"].event_id)
        await settle(moved.rooms)
        await scene.quiet()
        assert [one.remote_ids for one in walls.said if one.place == PLACE] == [(remote,)]


async def test_a_bridge_that_dies_while_its_log_is_cut(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """What it had told it does not tell again; what it had not, once."""
    walls = Walls()
    async with opened(tmp_path) as moved:
        async with moved.bridged(walls) as scene:
            await moved.is_cut_off()
            await moved.ana.send("told before")
            await scene.outside("in", "kims")
            await settle([moved.ana, *moved.bridge.rooms])
            await scene.quiet()
        await moved.ana.send("not told before")
        await settle([moved.ana, *moved.bridge.rooms])
        await moved.third.stop_client("bridge")
        await moved.moves()
        deaths = 0
        for step in range(3, 60, 6):
            bridge = await moved.third.client("bridge", die_after=step)
            deaths += await moved.third.client_dies("bridge", 60)
        assert deaths > 5
        bridge = await moved.third.client("bridge")
        again = Moved(moved.old, moved.new, moved.third, moved.ana, moved.bo, bridge)
        async with again.bridged(walls) as scene:
            await settle(again.rooms)
            await scene.quiet()
            assert said(walls) == [
                (PLACE, "not told before"),
                (PLACE, "told before"),
                (OTHER, "in"),
                (OTHER, "not told before"),
                (OTHER, "told before"),
            ]
            said_in = [text for text in texts(moved.bo) if text in ("in", "told before")]
            assert sorted(said_in) == ["in", "told before"]


async def test_an_event_in_hand_while_the_log_is_cut_is_told_once(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """The bridge had it from the log, and not yet written down what comes of it."""
    walls = Walls()
    async with opened(tmp_path) as moved, moved.bridged(walls) as scene:
        await moved.is_cut_off()
        gate, engine = trio.Event(), scene.engine

        async def waits(*_: object) -> str:
            await gate.wait()
            return "answered"

        engine.commands.of_networks = waits  # type: ignore[method-assign, assignment]
        await moved.ana.send("!bridge paper hello")
        await moved.ana.send("behind it")
        await settle([moved.ana, *moved.bridge.rooms])
        await scene.quiet()
        await moved.moves()
        await trio.sleep(60)
        gate.set()
        await settle(moved.rooms)
        await scene.quiet()
        assert said(walls) == [(PLACE, "behind it"), (OTHER, "behind it")]
        assert texts(moved.bo).count("answered") == 1
