"""A room whose hub is gone for good: the relay under test takes it over, or is told of it."""

from __future__ import annotations

from typing import Any

from ofcd.compliance.check import check as group
from ofcd.compliance.check import require
from ofcd.compliance.checks.hubs import Scene, scene
from ofcd.compliance.lab import Lab
from ofcd.compliance.people import Entry, random_hash
from ofcd.protocol import frames
from ofcd.protocol.codes import Code
from ofcd.protocol.ids import log_hash
from ofcd.protocol.records import HubMove, LogHead, Seen
from ofcd.themis import generate_keypair, sign
from ofcd.themis.signed import SignedRecord, open_signed

check = group("forced")


def _move(there: Scene, lab: Lab, **fields: Any) -> SignedRecord:
    """HUB_MOVE by force, to the relay under test, by root."""
    hub = there.hub
    told = {"hub": hub.end.relay_id, "urls": (lab.target.url,), "term": 1, "force": True}
    return hub.owner.control(HubMove, **(told | fields))


@check("taken", "19", "Root has a room go on from a copy, at its very end, without its hub.")
async def taken(lab: Lab) -> None:
    """Root comes to the relay of the copy; the hub of before orders nothing more."""
    there = await scene(lab)
    hub, root = there.hub, there.hub.owner
    end = hub.room.head
    root.peer = await lab.link()
    attached = await root.peer.expect(frames.Attached, root.attach(relay_id=hub.end.relay_id))
    require((attached.seq, attached.log) == (end.seq, end.log), "root is shown another end")
    before = hub.room.log[-2]
    for fields, code in (
        ({"seen": Seen(before.seq, before.log)}, Code.SEEN_STALE),
        ({"seen": Seen(end.seq + 1, end.log)}, Code.HUB_BEHIND),
        ({"seen": Seen(end.seq, random_hash())}, Code.FORK),
        ({"hub": hub.end.own_id}, Code.WRONG_RELAY),
    ):
        answer = await root.peer.ask(root.carry(_move(there, lab, **fields)))
        refused = isinstance(answer, frames.Failure) and answer.code == code
        require(refused, f"a move that is wrong was not refused as {code.value}")
    signed = _move(there, lab)
    ack = await root.peer.expect(frames.Ack, root.carry(signed))
    require(ack.seq == end.seq + 1, "the move stands elsewhere than behind the copy's end")
    moved = root.room.take(signed, b"", ack)
    await there.bo.deliveries(moved.seq)
    late = log_hash(end.log, end.seq + 1, root.event(b"late").event_id)
    await there.sent(hub.head(seq=end.seq + 1, log=late))
    said = await there.bo.say(b"at the new hub")
    head = open_signed(hub.end.relay_key, (await there.bo.peer.next(frames.Head)).record).record
    require(isinstance(head, LogHead) and head.term == 1, "its heads are not of the next term")
    told = await hub.end.next(frames.Moved)
    require(told.records == (signed.envelope,), "the hub of before is told something else")
    require(said.seq == moved.seq + 1, "what is said next stands elsewhere")


async def _tail(there: Scene) -> list[Entry]:
    """What the hub orders besides, and delivers."""
    tail = [there.hub.says(b"void %d" % n) for n in range(3)]
    async with there.hub.serving():
        await there.hub.deliver_from(tail[0].seq)
        await there.bo.deliveries(tail[-1].seq)
    return tail


@check("taken_back", "19", "What is void by a move that a relay is told of, it takes back.")
async def taken_back(lab: Lab) -> None:
    """It tells who attaches, and holds to it; a false one, by any key, changes nothing."""
    there = await scene(lab)
    hub, bo = there.hub, there.bo
    kept = hub.room.head
    signed = _move(there, lab)
    tail = await _tail(there)
    forgery = sign(generate_keypair().private, signed.payload)
    by_bo = bo.control(HubMove, hub=hub.end.relay_id, urls=(lab.target.url,), term=1, force=True)
    for false in (forgery, by_bo.envelope):
        await there.sent(frames.Moved(hub.room_id, (false,)))
        await there.stands_at(tail[-1], "after a move that is not root's")
    await there.sent(frames.Moved(hub.room_id, (signed.envelope,)))
    await bo.peer.next(frames.Moved)
    bo.peer = await lab.link()
    attached = await bo.peer.expect(frames.Attached, bo.attach())
    log = log_hash(kept.log, kept.seq + 1, signed.event_id)
    require((attached.seq, attached.log) == (kept.seq + 1, log), "what is void was not taken back")
    told = await bo.peer.next(frames.Moved)
    require(told.records == (signed.envelope,), "who attaches is told of another move")
