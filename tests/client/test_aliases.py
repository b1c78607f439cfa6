"""One person's devices: shown as such once both have said so, and not before."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from ofcd.client import AliasChanged, NotAllowed, Room
from ofcd.e2e.bodies import Alias
from ofcd.protocol.records import Role
from tests.client.world import Town, settled, until


def same(room: Room, one: Room, other: Room) -> tuple[bool, bool]:
    """Whether `room`'s client shows the two as one person: of the one, of the other."""
    members = {member.mid: member.same_as for member in room.members()}
    return other.me in members[one.me], one.me in members[other.me]


async def three(town: Town) -> tuple[Room, Room, Room]:
    """Ana's laptop, her phone, and Bo."""
    ana = await town.found()
    phone, bo = await town.join(ana, "phone"), await town.join(ana, "bo")
    await settled(ana, phone, bo)
    return ana, phone, bo


async def test_both_have_to_say_it(town: Town, autojump_clock: MockClock) -> None:
    """After the first statement nobody shows anything; after the second everybody does."""
    rooms = ana, phone, bo = await three(town)
    with bo.events() as events:
        await ana.set_alias(phone.me)
        await settled(*rooms)
        assert [same(room, ana, phone) for room in rooms] == [(False, False)] * 3
        await phone.set_alias(ana.me)
        await settled(*rooms)
        with trio.fail_after(60):
            async for event in events:
                if isinstance(event, AliasChanged):
                    break
    assert event == AliasChanged(bo.id, (phone.me, ana.me), same=True)
    assert [same(room, ana, phone) for room in rooms] == [(True, True)] * 3
    assert same(bo, ana, bo) == (False, False)


async def test_it_survives_a_restart_and_either_takes_it_back(
    town: Town, autojump_clock: MockClock
) -> None:
    """Kept in each client's vault; one side's word ends it."""
    ana, phone, bo = await three(town)
    await ana.set_alias(phone.me)
    await phone.set_alias(ana.me)
    await settled(ana, phone, bo)
    bo = (await town.again("bo")).room
    assert same(bo, ana, phone) == (True, True)
    await phone.set_alias(ana.me, removed=True)
    await settled(ana, phone, bo)
    assert same(bo, ana, phone) == same(ana, ana, phone) == (False, False)
    await phone.set_alias(ana.me)
    await settled(ana, phone, bo)
    assert same(bo, ana, phone) == (True, True)


async def test_nobody_makes_himself_somebody_else(town: Town, autojump_clock: MockClock) -> None:
    """Bo's claims alone show nothing, in whatever number and order."""
    ana, phone, bo = await three(town)
    await ana.set_alias(phone.me)
    for _ in range(3):
        await bo.set_alias(ana.me)
        await bo.set_alias(phone.me)
    await settled(ana, phone, bo)
    for room in (ana, phone, bo):
        assert all(member.same_as == () for member in room.members())


async def test_it_is_no_chat_and_grants_nothing(town: Town, autojump_clock: MockClock) -> None:
    """Nothing is shown or unread; roles stay, and the other device's words stay its own."""
    ana, phone, bo = await three(town)
    head = bo.head
    sent = await ana.send("from the laptop")
    await ana.set_alias(phone.me)
    await phone.set_alias(ana.me)
    await settled(ana, phone, bo)
    assert (bo.unread, len(bo.messages())) == (1, 1)
    assert len([event async for event in bo.events_since(head, follow=False)]) == 1
    assert phone.member(phone.me).role is Role.MEMBER
    with pytest.raises(NotAllowed):
        await phone.rename("mine now")
    await phone.edit(sent.event_id, "from the phone")
    await settled(ana, phone, bo)
    assert bo.messages()[0].text == "from the laptop"


async def test_who_is_gone_is_nobody(town: Town, autojump_clock: MockClock) -> None:
    """A device that was evicted is not shown; the statement about it can be taken back."""
    ana, phone, bo = await three(town)
    await ana.set_alias(phone.me)
    await phone.set_alias(ana.me)
    gone = phone.me
    await ana.evict(gone)
    await settled(ana, bo)
    assert bo.member(ana.me).same_as == ()
    with pytest.raises(NotAllowed):
        await ana.set_alias(gone)
    await ana.set_alias(gone, removed=True)


async def test_oneself_and_strangers(town: Town, autojump_clock: MockClock) -> None:
    """Nobody is an alias of oneself, also where a client says so by hand."""
    ana, _, bo = await three(town)
    with pytest.raises(NotAllowed):
        await ana.set_alias(ana.me)
    await bo.send_body(Alias(bo.me))
    await settled(ana, bo)
    assert ana.member(bo.me).same_as == ()


async def test_a_flood_of_statements_is_bounded(town: Town, autojump_clock: MockClock) -> None:
    """More members than a person has devices: those past the sixteenth are passed over."""
    ana, bo = await town.pair()
    for number in range(20):
        await bo.send_body(Alias(bytes([number]) * 32))  # type: ignore[arg-type]
    await settled(ana, bo)
    named = ana._client._machine(ana.id).aliases._named[bo.me]
    await until(lambda: ana.head == bo.head)
    assert len(named) == 16
