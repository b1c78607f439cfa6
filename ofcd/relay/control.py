"""The control log: who is in, who may what, which key is current (protocol.md §2.2, §2.3).

`RoomState.apply` is the table of rights that relay and clients share. What stands here is what
only the relay can check: the log position, time, boxes, joins.
"""

from __future__ import annotations

from functools import singledispatch
from typing import Any, Final

from ofcd.protocol import frames, limits
from ofcd.protocol.codes import Code, Malformed, Refused
from ofcd.protocol.ids import EventId, MemberId, sha256
from ofcd.protocol.records import (
    Admit,
    Grant,
    Handover,
    HandoverAccept,
    Home,
    HubMove,
    InviteClose,
    InviteOpen,
    Leave,
    LoggedRecord,
    RekeyBoxed,
    UpdateKey,
)
from ofcd.protocol.room import RoomState
from ofcd.relay import joining, moving
from ofcd.relay.effects import Appended, FindEvent, Push, Unsubscribe
from ofcd.relay.facts import BoxStored, KeyRequestDropped
from ofcd.relay.moving import require_open
from ofcd.relay.refusal import Refusal
from ofcd.relay.request import Core, Request, Signatures
from ofcd.relay.room_log import DAY_MS, chain_size
from ofcd.themis.signed import check_keys, peek

__all__ = ["check_control", "leave_lanes", "nested", "run_control"]

Ask = Request[frames.Control, LoggedRecord]
_TO_THE_LAST: Final = (Leave, RekeyBoxed, Grant, Handover, InviteClose, HubMove)
"""What must be possible in a room that can have no new members any more."""


def check_control(request: Ask) -> Signatures:
    """The record may come next on the control log; a repeat of one that is there is let pass."""
    signatures = request.signed_by(request.member.sign_key)
    if request.signed.event_id in request.room.chain:
        return signatures
    record, room = request.record, request.room
    require_open(request)
    room.check_seen(record.seen)
    _check_space(request)
    if request.final or record.prev == room.state.ctl:
        request.next_state = _next_state(request)
    elif record.prev in room.chain:
        raise _conflict(request)
    if not request.final:
        _check_boxes(request)
        if isinstance(record, UpdateKey):  # whatever may yet come before it
            check_keys(record.enc_key)
    return signatures + nested(record, room.state)


def _check_space(request: Ask) -> None:
    """Nobody could join, or read the room on a new device, if its control log were longer."""
    left = limits.CHAIN_BYTES - request.room.chain_bytes
    if not isinstance(request.record, _TO_THE_LAST):
        left -= limits.CHAIN_RESERVE
    if chain_size(request.frame.record) > left:
        raise Refused(Code.QUOTA, "the room's control log is full: found the room anew")


def _conflict(request: Ask) -> Refusal:
    state = request.room.state
    return Refusal(Code.CONFLICT, seq=request.room.seq, event_id=state.ctl)


def _next_state(request: Ask) -> RoomState | None:
    room = request.room
    if request.record.prev != room.state.ctl and not room.state.closed:
        raise _conflict(request)
    record = request.record
    # A HUB_MOVE that is not ready is one all the same: the room waits for it (see `run_control`).
    ready = not isinstance(record, HubMove) or moving.is_ready(request.core, room, record)
    seq = room.seq + 1 if ready else record.seen.seq + 1
    state = room.state.apply(record, request.signed.event_id, seq)
    if not ready:
        return None
    _check_record(request.record, request)
    return state


_NOT_LISTED = (
    "the room's relay does not talk to the one that you would go to: stay, or choose another"
)


# -- what only the relay checks ------------------------------------------------------------------


@singledispatch
def _check_record(record: Any, request: Ask) -> None:
    """Records of which `RoomState.apply` checks all."""


@_check_record.register
def _(record: InviteOpen, request: Ask) -> None:
    policy, now = request.policy, request.now
    if not now < record.expires <= now + policy.invite_days * DAY_MS:
        raise Refused(Code.QUOTA, f"an invite lives at most {policy.invite_days} days here")
    if len(request.room.state.invites) >= policy.open_invites_per_room:
        raise Refused(Code.QUOTA, "the room has as many open invites as it may have: close some")
    boxed = [mid for mid, _ in record.token_boxes]
    if any(len(box) > limits.BOX_BYTES for _, box in record.token_boxes):
        raise Malformed(Code.TOO_LARGE)
    admitters = set(record.admitters)
    complete = admitters - {record.mid} <= set(boxed) <= admitters
    if not complete or len(set(boxed)) != len(boxed) or len(admitters) != len(record.admitters):
        raise Malformed(Code.BAD_RECORD, "the invite does not hold one box for each co-admitter")


@_check_record.register
def _(record: Home, request: Ask) -> None:
    if record.home == request.core.relay_id:
        return
    if not request.policy.federated:
        raise Refused(Code.NOT_FEDERATED, "this relay talks to no other: stay at home here")
    if not request.core.talks_to(record.home):
        raise Refused(Code.NOT_FEDERATED, _NOT_LISTED)


@_check_record.register
def _(record: Admit, request: Ask) -> None:
    joining.check_admit(request.room, record)
    request.room.require_space(request.policy.members_per_room)


@_check_record.register
def _(record: Handover, request: Ask) -> None:
    accept = peek(record.accept).record
    wanted = (record.room, record.mid, record.to)
    if not isinstance(accept, HandoverAccept) or (accept.room, accept.root, accept.mid) != wanted:
        raise Refused(Code.FORBIDDEN, "the heir has not accepted this handover")
    request.room.state.check_accepted(accept.ctl)


def nested(record: LoggedRecord, state: RoomState) -> Signatures:
    """The signature inside a HANDOVER."""
    if not isinstance(record, Handover):
        return ()
    return ((state.member(record.to).sign_key, record.accept),)


def _check_boxes(request: Ask) -> None:
    """The boxes are those the record lists, in its order; nothing else bears boxes."""
    record, boxes = request.record, request.frame.boxes
    listed = record.boxes if isinstance(record, RekeyBoxed) else ()
    if len(boxes) != len(listed):
        raise Refused(Code.BOX_LIST_MISMATCH)
    for box, (_, expected) in zip(boxes, listed, strict=True):
        if len(box) > limits.BOX_BYTES:
            raise Malformed(Code.TOO_LARGE)
        if sha256(box) != expected:
            raise Refused(Code.CELL_MISMATCH, "a key box is not the one that was signed")


# -- what comes of it ----------------------------------------------------------------------------


def run_control(request: Ask) -> None:
    """Commit the record; a repeat gets the Ack it got the first time."""
    event_id = request.signed.event_id
    if event_id in request.room.chain:
        _acknowledge_again(request, event_id)
        return
    before, after = request.room.state, request.next_state
    if after is None:
        moving.hold(request)
        return
    lost_joins = joining.joins_lost(request.room, after)
    fact = request.room.append(request.signed, request.record.mid, request.now)
    request.room.advance(request.signed, after)
    request.facts.append(fact)
    request.reply(frames.Ack(request.rid, event_id, fact.seq, fact.log))
    boxes = _store_boxes(request, fact.seq)
    _see_off(request, before, after)
    if isinstance(request.record, Home):
        leave_lanes(request.core, request.record)
    if isinstance(request.record, HubMove):
        request.facts += request.room.settle_senders(request.core.relay_id)
        moved = request.room
        moving.change_hub(
            request.core, moved, before.hub, moved.moves, request.facts, request.effects
        )
    delivery = frames.Delivery(fact.room, fact.seq, fact.record)
    changed = before.homes != after.homes
    request.effects.append(Appended(fact.room, fact.seq, delivery, boxes, changed))
    joining.settle(request, request.record, lost_joins)


def _acknowledge_again(request: Ask, event_id: EventId) -> None:
    room = request.room
    entry = room.by_event.get(event_id)
    if entry is None:
        request.effects.append(FindEvent(request.link.id, request.rid, room.room, event_id))
    else:
        request.reply(frames.Ack(request.rid, event_id, entry.seq, entry.log))


def _store_boxes(request: Ask, seq: int) -> dict[MemberId, bytes]:
    """Everyone listed has the new key: store it, and drop what KEY_REQs there were."""
    record, room = request.record, request.room
    if not isinstance(record, RekeyBoxed):
        return {}
    boxes = {mid: box for (mid, _), box in zip(record.boxes, request.frame.boxes, strict=True)}
    request.facts += [BoxStored(room.room, seq, mid, box) for mid, box in boxes.items()]
    _drop_key_asks(request, list(room.key_asks))
    return boxes


def _see_off(request: Ask, before: RoomState, after: RoomState) -> None:
    """Whoever is no longer a member gets nothing from here on, on any link."""
    room = request.room
    for mid in before.members:
        if mid in after.members:
            continue
        told = frames.Removed(room.room, after.departed[mid].value, request.signed.envelope)
        for link in request.core.links.of_member(room.room, mid):
            request.effects += [Push(link, told), Unsubscribe(link, room.room)]
        _drop_key_asks(request, [mid] if mid in room.key_asks else [])


def leave_lanes(core: Core, record: Home) -> None:
    """Who is at home elsewhere now asks nothing more through the relay before."""
    links = core.links
    for link_id in links.of_member(record.room, record.mid):
        link = links.get(link_id)
        if link is not None and link.peer not in (None, record.home):
            links.detach(link, record.room)


def _drop_key_asks(request: Ask, mids: list[MemberId]) -> None:
    room = request.room
    for mid in mids:
        del room.key_asks[mid]
        request.facts.append(KeyRequestDropped(room.room, mid))
