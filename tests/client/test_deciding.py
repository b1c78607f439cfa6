"""Joins that the application decides, and invites that it asks for twice."""

from __future__ import annotations

import trio
from trio.testing import MockClock

from ofcd.client import InviteCode, JoinAsked, JoinFailed, Room
from ofcd.e2e.joining import make_request
from ofcd.protocol.ids import Hash32, InviteId, RelayId
from ofcd.protocol.records import JoinRequest
from tests.client.world import Person, Town, until
from tests.e2e.world import NOW, found_world

ID = InviteId(bytes(range(16)))


async def join(who: Person, code: InviteCode, failed: list[str]) -> None:
    try:
        await who.client.join(code, name=who.name.title())
    except JoinFailed as error:
        failed.append(error.code)


def names(room: Room) -> set[str]:
    """Of the members."""
    return {member.name for member in room.members()}


async def test_a_held_request_waits_for_a_word(town: Town, autojump_clock: MockClock) -> None:
    """It is told with the name that the joiner goes by; admitted, it goes on by itself."""
    mine = await town.found()
    mine.hold_joins()
    bo = await town.person("bo")
    told: list[JoinAsked] = []
    async with trio.open_nursery() as nursery, trio.open_nursery() as listening:

        async def listen() -> None:
            async for event in mine.events():
                if isinstance(event, JoinAsked):
                    told.append(event)

        listening.start_soon(listen)
        nursery.start_soon(join, bo, await mine.invite(), [])
        await until(lambda: mine.held_joins())
        await trio.sleep(60)
        assert len(mine.members()) == 1
        [asked] = mine.held_joins()
        assert (asked.name, asked.held, told) == ("Bo", True, [asked])
        assert mine.answer_join(asked.request, admit=True)
        await until(lambda: "Bo" in names(mine))
        listening.cancel_scope.cancel()
    assert mine.held_joins() == []
    assert not mine.answer_join(asked.request, admit=True)
    assert not mine.answer_join(Hash32(bytes(32)), admit=False)


async def test_holding_outlives_a_restart(town: Town, autojump_clock: MockClock) -> None:
    """Before the link is up it is known that nobody is let in; what waits is shown again."""
    mine = await town.found()
    code = await mine.invite()
    mine.hold_joins()
    bo = await town.person("bo")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(join, bo, code, [])
        await until(lambda: mine.held_joins())
        ana = await town.again("ana")
        await until(lambda: ana.room.held_joins())
        assert len(ana.room.members()) == 1
        ana.room.hold_joins(False)
        await until(lambda: "Bo" in names(ana.room))


async def test_a_request_that_is_left_waits_for_others(
    town: Town, autojump_clock: MockClock
) -> None:
    """Its invite closed, it fails; nothing is held of it any more."""
    mine = await town.found()
    mine.hold_joins()
    bo = await town.person("bo")
    failed: list[str] = []
    code = await mine.invite()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(join, bo, code, failed)
        await until(lambda: mine.held_joins())
        [asked] = mine.held_joins()
        assert mine.answer_join(asked.request, admit=False)
        await trio.sleep(60)
        assert mine.held_joins() == []
        assert failed == []
        await mine.close_invite(code.invite_id)
    assert failed == ["invite_unknown"]
    assert len(mine.members()) == 1


async def test_an_invite_asked_for_twice_is_made_once(
    town: Town, autojump_clock: MockClock
) -> None:
    """Open, after a restart, or used up: the same id brings the same code."""
    mine = await town.found()
    code = await mine.invite(invite_id=ID)
    assert code.invite_id == ID
    assert await mine.invite(invite_id=ID) == code
    assert (await mine.invite()).invite_id != ID
    mine = (await town.again("ana")).room
    assert await mine.invite(invite_id=ID) == code
    bo = await town.person("bo")
    with trio.fail_after(300):
        await join(bo, code, [])
    assert await mine.invite(invite_id=ID) == code
    assert [one.invite_id for one in mine.invites() if one.invite_id == ID] == []


async def test_a_code_is_forgotten_when_it_has_expired(
    town: Town, autojump_clock: MockClock
) -> None:
    """Then the id is free for another invite."""
    mine = await town.found()
    old = await mine.invite(invite_id=ID, expires_in=60_000)
    await trio.sleep(120)
    await until(lambda: not mine.invites())
    await mine.invite(invite_id=InviteId(bytes(16)))
    new = await mine.invite(invite_id=ID)
    assert new.token != old.token


def test_a_join_box_does_not_tell_how_long_the_name_is() -> None:
    """The relay carries it, and learns nothing but whether there is one."""

    def box_bytes(name: str) -> int:
        world = found_world()
        invite = world.invite(world.root)
        state = world.root.view.state
        home = RelayId(state.relay_id)
        request = make_request(invite.code, state, home=home, now=NOW, name=name).request.record
        assert isinstance(request, JoinRequest)
        return len(request.boxes[0][1])

    assert box_bytes("A") == box_bytes("Ana, the gardener") == box_bytes("é" * 32)
