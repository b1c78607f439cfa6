"""What is under way to a hub, event by event: nothing is sent twice, forgotten, or out of turn."""

from __future__ import annotations

from attrs import evolve

from ofcd.daemon.peers.outgoing import Outgoing
from ofcd.protocol import frames
from ofcd.protocol.codes import Code
from ofcd.protocol.ids import EventId, MemberId, RoomId, Sid
from ofcd.relay import RoomLog
from ofcd.relay.facts import OutboxRow
from tests.federation.test_shares import BO, MALLORY, SilentHub, copy_with

SHARE = 16


def row(room: RoomLog, mid: MemberId, number: int) -> OutboxRow:
    sid = Sid(number.to_bytes(16, "big"))
    return OutboxRow(room.room, mid, sid, number, EventId(mid[:16] + sid), 0, b"r", b"c")


def deliver(room: RoomLog, mid: MemberId, *numbers: int) -> None:
    """They stand in the copy now."""
    for number in numbers:
        room.drop_waiting(mid, Sid(number.to_bytes(16, "big")))


async def answer(hub: SilentHub, start: int, frame: frames.RelayFrame) -> None:
    for _, _, answered in list(hub.asked[start:]):
        await answered(frame)


async def test_what_the_hub_has_is_not_sent_again_while_it_is_on_its_way() -> None:
    """Acked, and not in the copy yet: it still waits here, and stays sent."""
    hub, room = SilentHub(), copy_with({BO: 2})
    outgoing = Outgoing(hub)
    outgoing.pump(room)
    await answer(hub, 0, frames.Done(1))
    outgoing.pump(room)
    assert hub.of(BO) == 2


async def test_answers_count_after_the_copy_has_what_they_are_about() -> None:
    """Else the window would shrink by each of them, until nothing went any more."""
    hub, room = SilentHub(), copy_with({BO: 0})
    outgoing = Outgoing(hub)
    for turn in range(10):
        numbers = range(turn * SHARE, (turn + 1) * SHARE)
        for number in numbers:
            room.put_waiting(row(room, BO, number))
        before = len(hub.asked)
        outgoing.pump(room)
        assert len(hub.asked) == before + SHARE
        deliver(room, BO, *numbers)
        outgoing.pump(room)
        await answer(hub, before, frames.Done(1))


async def test_who_was_put_off_waits_even_if_what_waited_is_delivered() -> None:
    """What that member says next comes no earlier than the hub has asked for."""
    hub, room = SilentHub(), copy_with({BO: 1})
    outgoing = Outgoing(hub)
    outgoing.pump(room)
    await answer(hub, 0, frames.Failure(1, Code.TRY_AGAIN.value, ""))
    deliver(room, BO, 0)
    outgoing.pump(room)
    room.put_waiting(row(room, BO, 1))
    outgoing.pump(room)
    assert hub.of(BO) == 1
    hub.later_work[0]()
    assert hub.of(BO) == 2


async def test_a_room_that_goes_to_another_hub_takes_no_other_along() -> None:
    """Its own is under way no more; what is of other rooms goes on."""
    hub, moved, stays = SilentHub(), copy_with({BO: 1}), copy_with({MALLORY: SHARE + 1})
    outgoing = Outgoing(hub)
    outgoing.pump(moved)
    outgoing.pump(stays)
    outgoing.release(moved.room)
    assert (hub.of(BO), hub.of(MALLORY)) == (1, SHARE)
    await answer(hub, 1, frames.Done(1))
    assert hub.of(MALLORY) == SHARE + 1
    outgoing.pump(moved)
    assert hub.of(BO) == 2


class Telling(SilentHub):
    """Remembers what the hub is said to have, and what comes back."""

    def __init__(self) -> None:
        super().__init__()
        self.has: list[tuple[int, EventId]] = []
        self.back: list[int] = []

    async def has_come_to(
        self, room: RoomId, mid: MemberId, counter: int, event_id: EventId
    ) -> None:
        self.has.append((counter, event_id))

    async def give_back(
        self, room: RoomId, mid: MemberId, counter: int, why: frames.Failure
    ) -> None:
        self.back.append(counter)


async def test_the_last_event_that_the_hub_names_is_what_was_said_in_a_gap() -> None:
    """Only where a stretch is missing, and the event is one that waits; else it is a refusal."""
    room = copy_with({BO: 3})
    gap = frames.Failure(1, Code.COUNTER_GAP.value, "", None, row(room, BO, 1).event_id)

    async def refused(failure: frames.Failure) -> Telling:
        hub = Telling()
        outgoing = Outgoing(hub)
        outgoing.pump(room)
        await hub.asked[0][2](failure)
        return hub

    whole = await refused(gap)
    assert (whole.has, whole.back) == ([], [0])
    room.floor = 7
    missing = await refused(gap)
    assert (missing.has, missing.back) == ([(1, row(room, BO, 1).event_id)], [])
    for failure in (evolve(gap, event_id=None), evolve(gap, event_id=EventId(bytes(32)))):
        stranger = await refused(failure)
        assert (stranger.has, stranger.back) == ([], [0])
    [root] = room.state.members.values()
    for joined, has in ((7, []), (6, missing.has)):
        bo = evolve(root, mid=BO, joined_seq=joined)
        room.state = evolve(room.state, members={root.mid: root, BO: bo})
        assert (await refused(gap)).has == has, "who came after it said nothing in it"
