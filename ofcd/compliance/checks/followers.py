"""A hostile follower: the kit as a relay that follows rooms of the relay under test."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import Any, Final

import trio
from attrs import frozen

from ofcd.compliance.beside import beside
from ofcd.compliance.check import check as group
from ofcd.compliance.check import require
from ofcd.compliance.errors import LinkEnded, NotKept
from ofcd.compliance.lab import Lab
from ofcd.compliance.peer import PATIENCE
from ofcd.compliance.people import Entry, Person, random_hash
from ofcd.compliance.relays import RelayEnd, open_relay
from ofcd.protocol import frames, records
from ofcd.protocol.codes import Code
from ofcd.protocol.frames import encode_frame
from ofcd.protocol.ids import Hash32, InviteId, RelayId, RoomId, event_id_of
from ofcd.themis import generate_keypair, sign
from ofcd.themis.signed import SignedRecord

check = group("follower")

_FLOOD: Final = 5000
_NOBODY: Final = (Code.NOT_FOUND, Code.NOT_ATTACHED, Code.FORBIDDEN)


@frozen
class Scene:
    """A room at the relay under test, and one member of it who is at home at the kit's relay."""

    ana: Person
    """Its founder, at the relay under test."""
    end: RelayEnd
    guest: Person
    """At home at the kit's relay; asks in `lane`."""
    lane: int


async def scene(lab: Lab) -> Scene:
    """Admit a member of another relay, by lanes, as an honest follower does."""
    ana = await lab.founder()
    end = await open_relay(lab)
    guest = Person(end, home=end.own_id)
    invite = await ana.open_invite()
    strangers = end.guest_lane()
    await end.took_in(strangers, guest.lookup(invite), frames.ChainPage)
    request = guest.join_request(invite)
    await end.took_in(strangers, guest.join(request), frames.JoinStatus)
    answer = ana.join_answer(request)
    await ana.peer.expect(frames.Done, ana.answer_with(answer))
    confirm = guest.join_confirm(ana.room, request, answer)
    await end.took_in(strangers, guest.confirm_with(ana.room, confirm), frames.JoinStatus)
    await ana.do(ana.admit(request, confirm))
    guest.comes_to(ana.room)
    return Scene(ana, end, guest, await end.lane(ana.room.id, guest.mid))


async def follow(
    there: Scene, start: int, log: Hash32 | None = None, *, hosts: bool = False
) -> frames.Synced:
    """Ask for the room from `start` on; `hosts`: as one that would be its hub."""
    rid = there.end.number()
    await there.end.send(frames.Follow(rid, there.ana.room.id, start, log, hosts))
    answer = await there.end.answer(rid)
    if not isinstance(answer, frames.Synced):
        said = answer.code if isinstance(answer, frames.Failure) else type(answer).__name__
        raise NotKept(f"FOLLOW by a relay with a member there was answered by {said}")
    return answer


async def said_in_lane(there: Scene, cell: bytes = b"from afar") -> Entry:
    """The guest says something that is right."""
    signed = there.guest.event(cell)
    frame = there.guest.post_of(signed, cell)
    ack = await there.end.took_in(there.lane, frame, frames.Ack)
    return there.ana.room.take(signed, cell, ack)


@check("served", "19", "A relay with a member in a room gets its log, and posts what they signed.")
async def served(lab: Lab) -> None:
    """The control: join, follow, post and hear, across relays."""
    there = await scene(lab)
    synced = await follow(there, there.ana.room.head.seq)
    require(synced.head == there.ana.room.head.seq, "the log ends elsewhere")
    mine = await said_in_lane(there)
    hers = await there.ana.say()
    got = await there.guest.deliveries(hers.seq)
    by_seq = {delivery.seq: delivery for delivery in got}
    for entry in (mine, hers):
        delivery = by_seq.get(entry.seq)
        require(
            delivery is not None and delivery.record == entry.record,
            f"entry {entry.seq} did not come to the follower as it was sent",
        )
    heard = await there.ana.deliveries(mine.seq)
    require(heard[-1].cell == b"from afar", "what was said afar did not come to the hub's member")


@check("uninvited", "19", "A relay without a member in a room gets nothing of it: test 29.")
async def uninvited(lab: Lab) -> None:
    """Nor does it learn whether the room is there."""
    ana = await lab.founder()
    end = await open_relay(lab)
    said = set()
    for room in (ana.room.id, RoomId(random_hash())):
        rid = end.number()
        await end.send(frames.Follow(rid, room, 0))
        answer = await end.answer(rid)
        if not isinstance(answer, frames.Failure):
            raise NotKept("a relay without a member in the room may follow it")
        said.add((answer.code, answer.text))
    require(len(said) == 1, f"a room that is there is told from one that is not: {sorted(said)}")
    await ana.say()
    heard = [f for f in await end.quiet(0.5) if isinstance(f, frames.Delivery | frames.Head)]
    require(not heard, "something of the room was sent all the same")


@check("anothers", "19", "A relay does nothing for members who are at home elsewhere: test 29.")
async def anothers(lab: Lab) -> None:
    """Not even with records that they have signed."""
    there = await scene(lab)
    ana = there.ana
    lane = await there.end.lane(ana.room.id, ana.mid)
    event = ana.post_of(ana.event(b"cell"), b"cell")
    await there.end.refused_in(lane, event, *_NOBODY, what="an event of the hub's own member")
    again = await there.end.lane(ana.room.id, there.guest.mid)
    stolen = frames.Post(ana.peer.number(), ana.room.id, event.record, b"cell")
    await there.end.refused_in(again, stolen, *_NOBODY, what="another member's event")
    await ana.say()


@check("forged", "19", "What a follower forges is refused: it has no member's key: test 29.")
async def forged(lab: Lab) -> None:
    """Events and control records with the guest's name."""
    there = await scene(lab)
    guest, key = there.guest, generate_keypair()
    good = guest.event(b"cell")
    forgery = SignedRecord(good.record, good.payload, sign(key.private, good.payload))
    frame = guest.post_of(forgery, b"cell")
    await there.end.refused_in(there.lane, frame, Code.BAD_SIGNATURE, what="a forged event")
    frame = guest.post_of(guest.event(b"cell"), b"another cell")
    await there.end.refused_in(there.lane, frame, Code.CELL_MISMATCH, what="another cell")
    rekey = guest.carry(guest.rekey())
    await there.end.refused_in(there.lane, rekey, Code.FORBIDDEN, what="a guest's rotation")
    evict, boxes = guest.boxed(there.ana.mid)
    frame_out = guest.carry(evict, boxes)
    await there.end.refused_in(there.lane, frame_out, Code.FORBIDDEN, what="evicting the root")
    await said_in_lane(there)


@check("homes", "19", "A join says where the joiner is at home, and that is the relay that asks.")
async def homes(lab: Lab) -> None:
    """A relay takes no member for another relay, or for the hub."""
    ana = await lab.founder()
    end = await open_relay(lab)
    invite = await ana.open_invite()
    for home in (end.relay_id, RelayId(random_hash())):
        guest = Person(end, home=home)
        lane = end.guest_lane()
        join = guest.join(guest.join_request(invite))
        await end.refused_in(lane, join, Code.WRONG_RELAY, what="a join for another relay")


@check("moved", "19", "With its last member's move to another relay a follower's copy ends.")
async def moved(lab: Lab) -> None:
    """It speaks for that member no more; who moved is still a member."""
    there = await scene(lab)
    await follow(there, there.ana.room.head.seq + 1)
    signed = there.guest.control(records.Home, home=RelayId(random_hash()))
    ack = await there.end.took_in(there.lane, there.guest.carry(signed), frames.Ack)
    there.ana.room.take(signed, b"", ack)
    event = there.guest.post_of(there.guest.event(b"cell"), b"cell")
    await there.end.refused_in(there.lane, event, *_NOBODY, what="an event of who has moved")
    later = await there.ana.say()
    heard = [f for f in await there.end.quiet(1.0) if isinstance(f, frames.Delivery)]
    require(later.seq not in {f.seq for f in heard}, "who has nobody left there is served on")
    rid = there.end.number()
    await there.end.send(frames.Follow(rid, there.ana.room.id, later.seq))
    answer = await there.end.answer(rid)
    require(isinstance(answer, frames.Failure), "who has nobody left there may follow on")
    await there.end.send(frames.Follow(there.end.number(), there.ana.room.id, 0))
    heard = [f for f in await there.end.quiet(1.0) if isinstance(f, frames.Delivery)]
    late = [f.seq for f in heard if f.seq > ack.seq]
    require(not late, f"who has nobody left there gets what came after: {late}")


@check(
    "hands_over",
    "19",
    "A room is moved when its new hub is willing and has it all; the old one follows.",
)
async def hands_over(lab: Lab) -> None:
    """Not before that, nor by anybody but root; nothing more is ordered at the old one."""
    there = await scene(lab)
    ana, end = there.ana, there.end
    told = {"hub": end.own_id, "urls": ("wss://new.example",), "term": 1}
    await follow(there, ana.room.head.seq)
    await end.send(frames.Cursor(ana.room.id, ana.room.head.seq))
    await end.quiet(0.5)
    unwilling = ana.control(records.HubMove, **told)
    await ana.refused(unwilling, Code.FORBIDDEN, what="a move to who takes over no rooms")
    await follow(there, ana.room.head.seq, hosts=True)
    early = (Code.TRY_AGAIN, Code.HUB_AWAY)
    await ana.refused(ana.control(records.HubMove, **told), *early, what="a move to who lacks it")
    await end.send(frames.Cursor(ana.room.id, ana.room.head.seq))
    await end.quiet(0.5)
    usurper = there.guest.carry(there.guest.control(records.HubMove, **told))
    await end.refused_in(there.lane, usurper, Code.FORBIDDEN, Code.TRY_AGAIN, what="a guest's move")
    entry = await _handed_over(ana, told)
    await there.guest.deliveries(entry.seq)
    await end.next(frames.Unfollowed)
    asked = await end.next(frames.Follow)
    require((asked.room, asked.start) == (ana.room.id, entry.seq + 1), "it does not follow on")
    answer = await ana.peer.ask(ana.post(b"for the new hub"))
    require(isinstance(answer, frames.Queued), "the old hub orders on")


async def _handed_over(ana: Person, told: dict[str, Any]) -> Entry:
    """The HUB_MOVE, taken as soon as the new hub has said that it has it all."""
    with trio.move_on_after(PATIENCE):
        while True:
            signed = ana.control(records.HubMove, **told)
            answer = await ana.peer.ask(ana.carry(signed))
            if isinstance(answer, frames.Ack):
                return ana.room.take(signed, b"", answer)
            await trio.sleep(0.2)
    raise NotKept(f"within {PATIENCE:g} s the room was not moved to who has it all")


@check("again", "19", "An event that a follower sends again is the same entry, with the same ack.")
async def again(lab: Lab) -> None:
    """As after a link that broke before the answer came."""
    there = await scene(lab)
    signed = there.guest.event(b"once")
    frame = there.guest.post_of(signed, b"once")
    ack = await there.end.took_in(there.lane, frame, frames.Ack)
    entry = there.ana.room.take(signed, b"once", ack)
    for _ in range(3):
        repeat = there.guest.post_of(signed, b"once")
        ack = await there.end.took_in(there.lane, repeat, frames.Ack)
        require((ack.seq, ack.log) == (entry.seq, entry.log), "a repeat was another entry")
    await there.ana.say()


@check("forked", "19", "A follower whose log is another one is told so, and given nothing.")
async def forked(lab: Lab) -> None:
    """By L, and by a log that is longer."""
    there = await scene(lab)
    await there.ana.say()
    head = there.ana.room.head.seq
    for start, code in ((head, Code.FORK), (head + 9, Code.HUB_BEHIND)):
        rid = there.end.number()
        await there.end.send(frames.Follow(rid, there.ana.room.id, start, random_hash()))
        answer = await there.end.answer(rid)
        if not isinstance(answer, frames.Failure) or answer.code != code:
            raise NotKept(f"a follower with another log was not told {code}")


@check("evicted", "19", "With its last member's eviction a follower's copy ends.")
async def evicted(lab: Lab) -> None:
    """It gets the entry that says so, and nothing after."""
    there = await scene(lab)
    await follow(there, there.ana.room.head.seq)
    evict, boxes = there.ana.boxed(there.guest.mid)
    entry = await there.ana.do(evict, boxes)
    await there.guest.deliveries(entry.seq)
    await there.end.next(frames.Unfollowed)
    await there.ana.say(b"not for that relay")
    heard = [f.seq for f in await there.end.quiet(0.5) if isinstance(f, frames.Delivery)]
    require(not heard, f"entries {heard} went to a relay without a member")
    post = there.guest.post()
    await there.end.refused_in(there.lane, post, *_NOBODY, Code.EVICTED, what="the evicted's post")


@check("boxes", "19", "A follower gets the key boxes of its own members, and no others.")
async def boxes(lab: Lab) -> None:
    """Others' boxes are none of its business."""
    there = await scene(lab)
    await follow(there, there.ana.room.head.seq)
    signed, sent = there.ana.boxed()
    entry = await there.ana.do(signed, sent)
    await there.guest.deliveries(entry.seq)
    got = [f for f in there.end.inbox if isinstance(f, frames.PeerBox)]
    require([f.mid for f in got] == [there.guest.mid], "it got others' boxes, or not its member's")


@check("local_only", "19", "A room that is local only is not shown to any other relay.")
async def local_only(lab: Lab) -> None:
    """Its invites lead nowhere there."""
    ana = await lab.founder(local_only=True)
    end = await open_relay(lab)
    guest = Person(end, home=end.own_id)
    invite = await ana.open_invite()
    closed = (Code.NOT_FEDERATED, Code.INVITE_UNKNOWN)
    for frame in (guest.lookup(invite), guest.join(guest.join_request(invite))):
        await end.refused_in(end.guest_lane(), frame, *closed, what="a join from another relay")


@check("refill", "19", "Nobody refills a log with what its hub never signed for.")
async def refill(lab: Lab) -> None:
    """With a head of another key; with entries that do not lead to it."""
    there = await scene(lab)
    ana, key = there.ana, generate_keypair()
    event = there.guest.event(b"cell")
    forged_head = there.end.introduction().envelope
    await there.end.send(
        frames.Refill(
            there.end.number(),
            ana.room.id,
            ana.room.head.seq + 1,
            forged_head,
            event_id_of(event.payload),
            (sign(key.private, event.payload), b"cell"),
        )
    )
    with suppress(LinkEnded):
        await there.end.quiet(0.5)
    attached = await ana.peer.expect(frames.Attached, ana.attach())
    require(attached.seq == ana.room.head.seq, "a log grew by what a follower made up")
    await ana.say()


@check("flood", "19", "A follower that floods costs the others nothing that they would notice.")
async def flood(lab: Lab) -> None:
    """Lanes without end, and guesses in each."""
    ana, bo = await lab.pair()
    end = await open_relay(lab)
    await beside(ana, bo, partial(_flood, end))


async def _flood(end: RelayEnd) -> None:
    guess = (RoomId(bytes(32)), InviteId(bytes(16)), Hash32(bytes(32)))
    try:
        for lane in range(1, _FLOOD):
            ask = frames.LaneAsk(lane, encode_frame(frames.Lookup(lane, *guess)))
            await end.send(*[ask] * 20)
    except (LinkEnded, NotKept):
        return
