"""Rooms whose relay says what does not fit, and proves nothing: root and members leave it."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from ofcd.client import Alarm, AlarmKind, Offline, Room, RoomFrozen, RoomStatus
from ofcd.e2e.errors import Fault, LogBroken
from ofcd.protocol.records import Role
from ofcd.testing import World, open_net
from tests.federation.double import local, part, quickly, rejoin, shared
from tests.federation.test_force import force
from tests.federation.test_hostile import log_of
from tests.federation.test_lost import backup, put_back
from tests.world.scene import agree, settle, texts, told, until

TEN_MINUTES = 600


async def anew(world: World, name: str) -> Room:
    """Their program ends, and starts again."""
    await world.stop_client(name)
    [room] = (await world.client(name)).rooms
    return room


@pytest.mark.parametrize("moved", [False, True])
async def test_a_hub_that_is_filled_up_again_is_asked_on_the_same_link(
    tmp_path: Path, autojump_clock: trio.abc.Clock, moved: bool
) -> None:
    """Its people wait meanwhile, and read; also where `moved` comes before each answer."""
    async with open_net(tmp_path, "old", "new", change=quickly) as (old, new):
        if moved:
            ana, bo = await shared(old, new)
            await ana.move_hub(new.url)
        else:
            bo, ana = await shared(new, old)
        await settle([ana, bo])
        backup(new, tmp_path / "new.db")
        await ana.send("not in the backup")
        await settle([ana, bo])
        before = log_of(new, ana.id)
        part(old, new)
        seen = bo.events()
        await put_back(new, tmp_path / "new.db")
        await new.start_relay()
        await until(lambda: bo.status is RoomStatus.WAITING)
        assert bo.status_code == "hub_behind"
        [alarm] = [event for event in told(seen) if isinstance(event, Alarm)]
        assert alarm.kind is AlarmKind.HUB_BEHIND
        with bo._client.transaction() as tx:
            bo.queue(tx, "written meanwhile")
        lost = bo._client._connection(bo.id).lost
        rejoin(old, new)
        await until(lambda: log_of(new, ana.id)[: len(before)] == before)
        await until(lambda: bo.status is RoomStatus.ACTIVE, TEN_MINUTES)
        assert not lost.is_set()
        await settle([ana, bo])
        assert texts(ana) == ["not in the backup", "written meanwhile"]


async def test_root_leaves_a_hub_that_was_put_back_with_what_it_lacks(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """It says `hub_behind` to root, which can move the room to the follower all the same."""
    async with open_net(tmp_path, "old", "new", change=quickly) as (old, new):
        ana, bo = await shared(old, new)
        dan = await local(old, ana, "dan")
        await settle([ana, bo, dan])
        backup(old, tmp_path / "old.db")
        await dan.send("not in the backup")
        await settle([ana, bo, dan])
        part(old, new)
        await put_back(old, tmp_path / "old.db")
        await old.start_relay()
        await until(lambda: {dan.status, ana.status} == {RoomStatus.WAITING})
        await force(ana, new)
        rejoin(old, new)
        await bo.send("after")
        await settle([ana, bo, dan])
        agree([ana, bo, dan])
        assert texts(dan) == ["not in the backup", "after"]


async def test_a_word_of_fork_keeps_nobody_in_the_room_of_a_hub_that_was_put_back(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """It has gone on from its backup: two histories, and nobody signed both. Root takes the one
    that it has seen, by force; Eve, who saw it too, goes where the room is."""
    async with open_net(tmp_path, "old", "new", change=quickly) as (old, new):
        ana, bo = await shared(old, new)
        dan = await local(old, ana, "dan")
        eve = await local(old, ana, "eve")
        await settle([ana, bo, dan, eve])
        await old.stop_client("dan")
        backup(old, tmp_path / "old.db")
        await ana.send("not in the backup")
        await settle([ana, bo, eve])
        for name in ("ana", "eve"):
            await old.stop_client(name)
        part(old, new)
        await put_back(old, tmp_path / "old.db")
        await old.start_relay()
        [dan] = (await old.client("dan")).rooms
        for number in range(3):
            await dan.send(f"on the restored log {number}")
        [ana], [eve] = [(await old.client(name)).rooms for name in ("ana", "eve")]
        seen = eve.events()
        await until(lambda: {ana.status, eve.status} == {RoomStatus.WAITING})
        assert (ana.status_code, eve.status_code) == ("fork", "fork")
        assert AlarmKind.UNPROVEN in [e.kind for e in told(seen) if isinstance(e, Alarm)]
        await old.stop_relay()
        await force(ana, new)
        await eve.move_home(new.url)
        await eve.send("here I am")
        await settle([ana, bo, eve])
        agree([ana, bo, eve])
        assert texts(bo) == ["not in the backup", "here I am"]


async def frozen(room: Room) -> None:
    """Somebody has signed another log than was delivered here."""
    client = room._client
    core = client._core(room.id)
    proof = LogBroken(Fault.FORK, core.head.seq, (b"signed by somebody",))
    with client._turn(client._connection(room.id)) as turn:
        core.freeze(turn, proof)
    await until(lambda: room.status is RoomStatus.FROZEN)


async def test_a_move_by_force_thaws_what_was_frozen_for_the_hub_before(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """Root, frozen, moves it; a member who is told thaws, and one who is not goes there by HOME.

    The proof is kept, and shown again it freezes nothing.
    """
    async with open_net(tmp_path, "old", "new", change=quickly) as (old, new):
        ana, bo = await shared(old, new)
        dan = await local(old, ana, "dan")
        await dan.send("before")
        await settle([ana, bo, dan])
        for room in (ana, bo, dan):
            await frozen(room)
        with pytest.raises(Offline):
            await dan.move_home(new.url)  # which has nothing to tell, and lets nobody in yet
        with pytest.raises(RoomFrozen):
            await dan.send("still frozen")
        assert dan._client._core(dan.id).identity.relay_id == ana.hub_id
        ana = await anew(old, "ana")
        await old.stop_relay()
        await force(ana, new)
        await ana.send("after")
        await until(lambda: bo.status is RoomStatus.ACTIVE, 2 * TEN_MINUTES)
        await dan.move_home(new.url)
        await dan.send("I, too")
        await settle([ana, bo, dan])
        agree([ana, bo, dan])
        assert texts(bo) == ["before", "after", "I, too"]
        core = dan._client._core(dan.id)
        assert core.evidence(dan._client.vault) == [b"signed by somebody"]
        await until(lambda: dan.is_live)
        old_one = LogBroken(Fault.FORK, 1, (b"another one, of before",))
        with dan._client._turn(dan._client._connection(dan.id)) as turn:
            core.freeze(turn, old_one)
        assert (dan.status, len(core.evidence(dan._client.vault))) == (RoomStatus.ACTIVE, 2)


async def test_root_frozen_at_the_relay_that_is_to_be_the_hub_moves_it_there(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """No other relay has to be gone to; and what the copy has beyond root's log is read first."""
    async with open_net(tmp_path, "old", "new", change=quickly) as (old, new):
        ana, bo = await shared(old, new)
        await ana.move_home(new.url)
        await ana.send("before")
        await settle([ana, bo])
        await frozen(ana)
        await bo.send("said while root is frozen")
        await until(lambda: "said while root is frozen" in texts(bo))
        with pytest.raises(RoomFrozen):
            await ana.move_home(new.url)  # nobody there knows of a move
        assert texts(ana) == ["before", "said while root is frozen"], "it was read in that try"
        with pytest.raises(RoomFrozen):
            await ana.send("still frozen")
        await old.stop_relay()
        await force(ana, new)
        await settle([ana, bo])
        agree([ana, bo])
        assert texts(ana) == ["before", "said while root is frozen"]
        assert ana.status is RoomStatus.ACTIVE


async def test_who_is_hidden_at_a_hub_that_came_back_empty_goes_home_elsewhere(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """It answers `not_found`: just these people are told to go where the room is now."""
    async with open_net(tmp_path, "old", "new", change=quickly) as (old, new):
        backup(old, tmp_path / "empty.db")
        ana, bo = await shared(old, new)
        dan = await local(old, ana, "dan")
        await dan.send("before")
        await settle([ana, bo, dan])
        part(old, new)
        await put_back(old, tmp_path / "empty.db")
        await old.start_relay()
        await until(lambda: dan.status is RoomStatus.HIDDEN)
        await force(ana, new)
        await dan.move_home(new.url)
        await dan.send("after")
        await settle([ana, bo, dan])
        assert texts(bo) == ["before", "after"]


@pytest.mark.parametrize("how", ["admitted", "left", "evicted", "left+rotated", "evicted+rotated"])
async def test_who_was_never_told_comes_back_by_a_new_invite(
    tmp_path: Path, autojump_clock: trio.abc.Clock, how: str
) -> None:
    """In, or out, in what is void, and offline at the cut: its words are said again, not lost."""
    async with open_net(tmp_path, "old", "new", change=quickly) as (old, new):
        ana, bo = await shared(old, new)
        dan = await local(old, ana, "dan")
        zed = ana
        if how != "admitted":
            zed = await local(old, ana, "zed")
        await ana.grant(dan.me, Role.CO_OWNER)
        await settle([ana, bo, dan, zed])
        await old.stop_client("ana")
        part(old, new)
        if how == "admitted":
            zed = await local(old, dan, "zed")
        await zed.send("zed was here")
        if "rotated" in how:
            await dan.rotate()
        await settle([dan, zed])
        mid = zed.me
        if "left" in how:
            await zed.leave()
        elif "evicted" in how:
            await dan.evict(mid)
        await trio.sleep(20)
        await old.stop_client("zed")
        await old.stop_relay()
        [ana] = (await old.client("ana")).rooms
        await force(ana, new)
        if how != "admitted":
            await ana.evict(mid)
        client = await old.client("zed")
        [zed] = client.rooms
        with trio.fail_after(TEN_MINUTES):
            zed = await client.join(await ana.invite(), name="zed")
        await settle([ana, bo, zed])
        assert texts(bo) == ["zed was here"]
        assert zed.status is RoomStatus.ACTIVE
        agree([ana, bo, zed])
