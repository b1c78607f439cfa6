"""Copies of rooms that another relay orders: what is taken into them, and what freezes them."""

from __future__ import annotations

from collections.abc import Sequence

from ofcd.protocol import frames
from ofcd.protocol.codes import Code
from ofcd.protocol.ids import MemberId, PublicKey, RelayId
from ofcd.protocol.records import CONTROL_TYPES, Event, EventKind, Home, HubMove, LogHead
from ofcd.protocol.room import RoomState
from ofcd.relay.control import leave_lanes
from ofcd.relay.effects import Appended, Decision, Effect, Push, Redacted, Unsubscribe
from ofcd.relay.facts import (
    UNWILLING,
    BoxStored,
    CellRedacted,
    EvidenceKept,
    Fact,
    HeadKept,
    OutboxDropped,
    ReplicaMoved,
    RoomFrozen,
)
from ofcd.relay.moving import change_hub
from ofcd.relay.request import Core
from ofcd.relay.room_log import RoomLog
from ofcd.relay.verifying import HubLied, Verified
from ofcd.themis.signed import SignedRecord, peek

__all__ = ["accept_head", "freeze", "replicate", "take_members_change"]


def replicate(core: Core, room: RoomLog, entries: Sequence[Verified], now: int) -> Decision:
    """Put verified entries at the end of the copy."""
    facts: list[Fact] = []
    effects: list[Effect] = []
    for verified in entries:
        _take(core, room, verified, now, facts, effects)
    room.touched = now
    return Decision(tuple(facts), tuple(effects))


def _take(
    core: Core,
    room: RoomLog,
    verified: Verified,
    now: int,
    facts: list[Fact],
    effects: list[Effect],
) -> None:
    entry, record, before = verified.entry, verified.signed.record, room.state
    fact = room.append(verified.signed, verified.mid, now, cell=entry.cell)
    facts.append(fact)
    if isinstance(record, Event):
        if room.drop_waiting(record.mid, record.sid):
            facts.append(OutboxDropped(room.room, record.mid, record.sid))
        if record.kind is EventKind.REDACT and record.target is not None:
            owner = before.member(record.mid).is_owner
            facts.append(CellRedacted(room.room, record.target, record.mid, owner))
            target = room.by_event.get(record.target)
            if target is not None:
                effects.append(Redacted(room.room, target.seq))
        delivery = frames.Delivery(room.room, fact.seq, fact.record, fact.cell)
        effects.append(Appended(room.room, fact.seq, delivery))
        return
    if verified.state is not None and isinstance(record, CONTROL_TYPES):
        room.advance(verified.signed, verified.state)
    boxes = dict(entry.boxes)
    facts += [BoxStored(room.room, fact.seq, mid, box) for mid, box in boxes.items()]
    take_members_change(core, room, before, verified.signed, facts, effects)
    changed = before.homes != room.state.homes
    delivery = frames.Delivery(room.room, fact.seq, fact.record)
    effects.append(Appended(room.room, fact.seq, delivery, boxes, changed))


def take_members_change(
    core: Core,
    room: RoomLog,
    before: RoomState,
    signed: SignedRecord,
    facts: list[Fact],
    effects: list[Effect],
) -> None:
    """Who is no longer a member, or at home here, gets nothing more; what waits of theirs goes.

    Where the room has moved, its copy here has another hub from now on.
    """
    record = signed.record
    if isinstance(record, Home):
        leave_lanes(core, record)
        if record.home != core.relay_id:
            facts += _drop_outbox(room, record.mid)  # its sender has it, and sends it from there
    if isinstance(record, HubMove):
        facts += room.settle_senders(core.relay_id)
        asked = before.hub
        if room.unwilling:  # so that hub orders on, against what root has signed
            room.ahead, room.unwilling = None, False
        if room.leaves_told(room.state.seq):  # what never stood there is not to come
            asked, room.ahead, room.told = room.hub, None, ()
        last = peek(room.told[-1]) if room.told else None
        if last is not None and last.event_id == signed.event_id:
            room.ahead, room.told = None, ()
            if room.state.hub == core.relay_id:  # it was put back to before this
                facts.append(ReplicaMoved(room.room, None))
        elif last is None and room.ahead == room.state.hub:
            room.ahead = None
        elif room.ahead is not None:
            pass  # read on there: the room has gone on since
        elif room.state.hub == core.relay_id and not core.policy.hosts:
            # An honest hub asks before. It orders no more, and nor does this relay.
            room.ahead, room.unwilling = before.hub, True
            facts.append(RoomFrozen(room.room, UNWILLING))
        else:
            change_hub(core, room, asked, room.moves, facts, effects)
    for mid in before.members:
        if mid in room.state.members:
            continue
        told = frames.Removed(room.room, room.state.departed[mid].value, signed.envelope)
        for link in core.links.of_member(room.room, mid):
            effects += [Push(link, told), Unsubscribe(link, room.room)]
        facts += _drop_outbox(room, mid)


def _drop_outbox(room: RoomLog, mid: MemberId) -> list[Fact]:
    """Nothing of this member's waits here any more."""
    keys = [key for key in room.outbox if key[0] == mid]
    for key in keys:
        room.drop_waiting(*key)
    return [OutboxDropped(room.room, *key) for key in keys]


def accept_head(room: RoomLog, head: LogHead, envelope: bytes, hub: RelayId) -> Decision | None:
    """A LOG_HEAD of `hub`, whose signature was verified; None: the copy is not that far yet.

    So it is with one of another time: what stands there now may be another hub's. Raises `HubLied`
    where the hub signed another log than it delivered.
    """
    term = room.state.hub_at(head.seq)
    if head.seq > room.seq or (term.relay_id, term.term) != (hub, head.term):
        return None
    ours = room.log_before(head.seq + 1) if head.seq < room.seq else room.log
    if ours is None:
        return Decision()
    if ours != head.log:
        text = f"the hub signed another log up to {head.seq} than it delivered"
        raise HubLied(Code.FORK, text, (room.head, envelope))
    if room.head and getattr(peek(room.head).record, "seq", 0) >= head.seq:
        return Decision()
    room.head = envelope
    return Decision((HeadKept(room.room, head.seq, envelope),))


def freeze(core: Core, room: RoomLog, lied: HubLied, key: PublicKey | None, now: int) -> Decision:
    """Keep the evidence; where it proves two histories, take nothing more and tell all who read."""
    if room.frozen:
        return Decision()  # what was kept when it froze is enough
    facts: list[Fact] = []
    if lied.records:
        facts.append(EvidenceKept(room.room, now, lied.kind.value, lied.records))
    if not lied.is_proof:
        return Decision(tuple(facts))
    room.frozen, room.unwilling = lied.kind.value, False
    facts.append(RoomFrozen(room.room, room.frozen))
    told = frames.Evidence(room.room, room.frozen, key=key, records=lied.records)
    effects = tuple(Push(link, told) for link in core.links.attached(room.room))
    return Decision(tuple(facts), effects)
