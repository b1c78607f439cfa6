"""Rooms that members give the bridge: whose they are, and that they stand in for no other."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio
from attrs import evolve, frozen
from trio.testing import MockClock

from bridge.core import Portal, attached
from bridge.core.errors import BridgeError
from ofcd.client import Client, Room, RoomStatus, parse_link
from ofcd.protocol.ids import MemberId
from ofcd.protocol.records import Cap
from ofcd.testing import World, open_world
from tests.bridge.core.world import PLACE, Scene, Walls, running

OWN = "private/own"
OTHER = "private/other"


@frozen
class _Group:
    """The bridged room with Ana, whose it is, and Bo; the bridge runs as often as is wanted."""

    world: World
    ana: Client
    room: Room
    bridge: Client
    walls: Walls
    bo: Client
    by: MemberId
    """Bo."""

    def running(self, *portals: Portal) -> AbstractAsyncContextManager[Scene]:
        return running(self.world, self.ana, self.room, self.bridge, self.walls, *portals)

    def give(self, scene: Scene, link: str, place: str = OWN) -> MemberId:
        """Bo gives it."""
        return scene.network.host.attach(place, self.room.id, self.by, link)

    async def own_room(self, name: str = "own") -> tuple[Room, str]:
        """A room of Bo's, and an invite for the bridge."""
        room = await self.bo.create_room(self.world.url, name, my_name="Bo")
        return room, (await room.invite(caps=frozenset({Cap.BRIDGE}))).link()


@asynccontextmanager
async def _group(folder: Path) -> AsyncIterator[_Group]:
    async with open_world(folder) as world:
        ana, bridge, bo = [await world.client(name) for name in ("ana", "bridge", "bo")]
        room = await ana.create_room(world.url, "books", my_name="Ana")
        await bridge.join(await room.invite(caps=frozenset({Cap.BRIDGE})), name="Bridge")
        bos = await bo.join(await room.invite(), name="Bo")
        yield _Group(world, ana, room, bridge, Walls(), bo, bos.me)


async def _until(condition: Callable[[], object], seconds: float = 120) -> None:
    with trio.fail_after(seconds):
        while not condition():  # noqa: ASYNC110 - it watches others from outside
            await trio.sleep(0.2)


def _has(scene: Scene, room: Room) -> bool:
    """Whether the place has a room, and it is joined."""
    found = scene.engine.attached.at("paper", OWN)
    return found is not None and found[1].id == room.id


def _was_in(group: _Group, room: Room) -> bool:
    """Whether the bridge joined it, and has left it."""
    known = {one.id: one.status for one in group.bridge.rooms}
    return known.get(room.id) is RoomStatus.LEFT


def _names(room: Room) -> list[str]:
    return [one.name for one in room.members()]


def _told(scene: Scene) -> list[str]:
    return [one for one in scene.notices() if one.startswith("I could not use an invite")]


async def test_it_stands_in_for_no_other_room(tmp_path: Path, autojump_clock: MockClock) -> None:
    """Neither beside the room that a portal means, nor instead of it; by no name and no id."""
    async with _group(tmp_path) as group:
        mine, link = await group.own_room("books")
        async with group.running() as scene:
            group.give(scene, link)
            await _until(partial(_has, scene, mine))
            await group.room.send("to the wall")
            await _until(lambda: scene.walls.lines() == ["Ana: to the wall"])
            await scene.outside("for all")
            await mine.send("mine alone")
            await scene.quiet()
            assert scene.bridged() == ["kim: for all"]
            assert not [one for one in mine.messages() if one.via is not None]
            assert scene.walls.lines() == ["Ana: to the wall"]
            # Where no other room has that name, or that id.
            await mine.rename("only mine")
            bridged = scene.engine.client.room(mine.id)
            await _until(lambda: bridged.name == "only mine")
            made = [Portal(one, "paper", PLACE) for one in ("only mine", mine.id.hex()[:8])]
            assert [scene.engine.meant.room_of(one) for one in made] == [None, None]
            scene.network.host.detach(OWN)
            assert [scene.engine.meant.room_of(one) for one in made] == [None, None]
        # Another life knows it too: the room was not left yet.
        async with group.running(made[0]) as scene:
            assert scene.engine.attached.is_members(mine.id)
            assert [scene.engine.meant.room_of(one) for one in made] == [None, None]


async def test_a_room_is_one_place_alone(tmp_path: Path, autojump_clock: MockClock) -> None:
    """Not given twice, also not at the same moment, and never what who runs the bridge means."""
    async with _group(tmp_path) as group:
        mine, link = await group.own_room()
        named, named_link = await group.own_room()
        _, coming_link = await group.own_room()
        portal = Portal(named.id.hex()[:8], "paper", PLACE)
        async with group.running(portal) as scene:
            host = scene.network.host
            group.give(scene, link)
            for _ in range(2):  # not joined yet, and joined
                with pytest.raises(BridgeError, match="already"):
                    host.attach(OTHER, group.room.id, group.room.me, link)
                await _until(partial(_has, scene, mine))
            assert host.attached() == [OWN]
            # A room that the settings name by its id, or that the bridge is to join anyway.
            await group.world.stop_client("bo")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(partial(group.bridge.join, coming_link, name="Bridge"))
                await _until(lambda: group.bridge.pending_joins)
                for one in (named_link, coming_link):
                    with pytest.raises(BridgeError, match="already"):
                        group.give(scene, one, OTHER)
                nursery.cancel_scope.cancel()
            assert host.attached() == [OWN]


async def test_an_invite_of_the_settings_is_not_a_members(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """Nor can a member who gave that room before keep it from who runs the bridge."""
    async with _group(tmp_path) as group:
        mine, link = await group.own_room("theirs")
        portal = Portal("theirs", "paper", PLACE)
        async with group.running(portal) as scene:
            group.give(scene, link)
            await _until(partial(_has, scene, mine))
            assert scene.engine.meant.room_of(portal) is None
            scene.engine.settings.bridge.join.append(link)
            scene.engine.attached = attached.Attached(scene.engine)  # as the next life does
            meant = scene.engine.meant.room_of(portal)
            assert meant is not None
            assert meant.id == mine.id


async def test_what_is_asked_again_changes_nothing(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """Whose room it is was shown when it was joined: a link that is made up says nothing of it."""
    async with _group(tmp_path) as group, group.running() as scene:
        mine, link = await group.own_room()
        made_up = evolve(parse_link(link), inviter=group.room.me).link()
        for one in (link, made_up):
            assert group.give(scene, one) == mine.me
        await _until(partial(_has, scene, mine))
        assert group.give(scene, made_up) == mine.me


async def test_a_room_that_was_given_up_is_left(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whenever it lets the bridge in: at once, after the time for it, or in another life."""
    monkeypatch.setattr(attached, "_JOIN_SECONDS", 60.0)
    async with _group(tmp_path) as group:
        mine, link = await group.own_room()
        late, late_link = await group.own_room()
        later, later_link = await group.own_room()
        async with group.running() as scene:
            group.give(scene, link)
            with trio.fail_after(60):
                while not group.bridge.pending_joins:
                    await trio.lowlevel.checkpoint()
            assert scene.network.host.detach(OWN)
            await _until(partial(_was_in, group, mine))
            await _until(lambda: _names(mine) == ["Bo"])
            # Nobody is there to let it in.
            await group.world.stop_client("bo")
            group.give(scene, late_link)
            await _until(partial(_told, scene))
            assert scene.network.host.attached() == []
            assert "nobody let me in" in _told(scene)[0]
            group.give(scene, later_link)
            await _until(lambda: len(group.bridge.pending_joins) == 2)
            scene.network.host.detach(OWN)
            with pytest.raises(BridgeError, match="already"):
                group.give(scene, late_link)
        async with group.running() as scene:
            bo = await group.world.client("bo")
            for one in (late, later):
                await _until(partial(_was_in, group, one), 600)
                await _until(lambda one=one: _names(bo.room(one.id)) == ["Bo"])  # type: ignore[misc]
            assert group.bridge.pending_joins == []
            assert len(_told(scene)) == 1


async def test_a_room_that_is_taken_back_at_once_ends_nothing(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """Before anything of it has begun: the bridge serves everybody else on."""
    async with _group(tmp_path) as group, group.running() as scene:
        _, link = await group.own_room()
        group.give(scene, link)
        assert scene.network.host.detach(OWN)
        await trio.sleep(10)
        assert scene.network.host.attached() == []


async def test_a_join_that_nobody_answers_is_not_waited_for_without_end(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attached, "_CANCEL_MS", 60_000)
    async with _group(tmp_path) as group, group.running() as scene:
        _, link = await group.own_room()
        await group.world.stop_client("bo")
        group.give(scene, link)
        await _until(lambda: group.bridge.pending_joins)
        scene.network.host.detach(OWN)
        await trio.sleep(50)
        assert group.bridge.pending_joins
        await trio.sleep(20)
        assert group.bridge.pending_joins == []
        assert scene.engine.journal.fact(group.bridge.vault, "leaving") == []


async def test_another_life_goes_on_with_a_join(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It joins, or says within a time that it could not."""
    monkeypatch.setattr(attached, "_JOIN_SECONDS", 60.0)
    async with _group(tmp_path) as group:
        mine, link = await group.own_room()
        _, second_link = await group.own_room()
        await group.world.stop_client("bo")
        async with group.running() as scene:
            group.give(scene, link)
            group.give(scene, second_link, OTHER)
            await _until(lambda: len(group.bridge.pending_joins) == 2)
        # One is begun anew: the bridge may end before it is.
        second = next(one for one in group.bridge.pending_joins if one.room != mine.id)
        group.bridge.cancel_join(second.room)
        async with group.running() as scene:
            assert sorted(scene.network.host.attached()) == [OTHER, OWN]
            await _until(lambda: len(_told(scene)) == 2)
            assert scene.network.host.attached() == []


async def test_places_become_free(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When who gave a room is gone from where they did, and when that room is over."""
    monkeypatch.setattr(attached, "_MOST", 1)
    async with _group(tmp_path) as group, group.running() as scene:
        host = scene.network.host
        mine, link = await group.own_room()
        other, other_link = await group.own_room()
        group.give(scene, link)
        await _until(partial(_has, scene, mine))
        with pytest.raises(BridgeError, match="as many"):
            host.attach(OTHER, group.room.id, group.room.me, other_link)
        await trio.sleep(60)
        assert host.attached() == [OWN]
        bridge = next(one for one in mine.members() if not one.is_me)
        await mine.evict(bridge.mid)
        await _until(lambda: host.attached() == [])
        group.give(scene, other_link)
        await _until(partial(_has, scene, other))
        await group.room.evict(group.by)
        await _until(lambda: host.attached() == [])
        await _until(lambda: _names(other) == ["Bo"])
