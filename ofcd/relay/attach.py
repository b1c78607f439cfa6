"""GENESIS, ATTACH and detach (protocol.md §2.3)."""

from __future__ import annotations

import hmac

from ofcd.protocol import frames
from ofcd.protocol.codes import Code, Malformed, Refused
from ofcd.protocol.ids import event_id_of, member_id_of, room_id_of
from ofcd.protocol.records import Attach, Genesis
from ofcd.relay.effects import Appended, Backlog, Push, Unsubscribe
from ofcd.relay.facts import RoomFounded
from ofcd.relay.request import Request, Signatures
from ofcd.relay.room_log import RoomLog
from ofcd.themis.signed import check_keys

__all__ = [
    "check_attach",
    "check_create",
    "check_proof",
    "run_attach",
    "run_create",
    "run_detach",
]


def check_create(request: Request[frames.Create, Genesis]) -> Signatures:
    """GENESIS names this relay and fits it, and there is room for it. Repeats are the same room."""
    genesis = request.record
    if genesis.relay_id != request.core.relay_id:
        raise Refused(Code.WRONG_RELAY)
    if genesis.sign_key == genesis.enc_key:
        raise Malformed(Code.BAD_KEY, "one key can not both sign and decrypt")
    if not request.final:
        check_keys(genesis.enc_key)
    if request.core.find(room_id_of(request.signed.payload)) is None:
        _require_creator(request)
        if request.core.room_count >= request.policy.rooms_per_relay:
            raise Refused(Code.QUOTA, "this relay takes no more rooms")
    return request.signed_by(genesis.sign_key)


def _require_creator(request: Request[frames.Create, Genesis]) -> None:
    policy = request.policy
    token = request.frame.token.encode()
    if not policy.may_create or not (
        policy.create_token == "" or hmac.compare_digest(policy.create_token.encode(), token)
    ):
        raise Refused(Code.FORBIDDEN, "this relay does not let you make rooms")


def run_create(request: Request[frames.Create, Genesis]) -> None:
    """Found the room, unless it is there already; the answer is the same."""
    signed, core = request.signed, request.core
    room_id = room_id_of(signed.payload)
    if core.find(room_id) is None:
        _found(request)
    request.reply(
        frames.Ack(request.rid, event_id_of(signed.payload), 0, RoomLog.founded(signed).log)
    )


def _found(request: Request[frames.Create, Genesis]) -> None:
    signed, core = request.signed, request.core
    room = RoomLog.founded(signed)
    creator = member_id_of(request.record.sign_key)
    fact = room.append(signed, creator, request.now)
    room.touched = request.now
    core.rooms[room.room] = room
    core.absent.pop(room.room, None)
    core.room_count += 1
    request.facts += [RoomFounded(room.room, creator, request.now), fact]
    request.effects.append(Appended(room.room, 0, frames.Delivery(room.room, 0, signed.envelope)))


def check_attach(request: Request[frames.Attach, Attach]) -> Signatures:
    """ATTACH proves `mid` on this very session (B3). No room, or not a member: not_found."""
    check_proof(request)
    record, link = request.record, request.link
    before = link.rooms.get(record.room)
    if before is None and len(link.rooms) >= request.policy.rooms_per_link:
        raise Refused(Code.QUOTA, "this connection is attached to as many rooms as it may be")
    member = request.room.state.member(record.mid)
    if not request.room.takes_in(record.mid, request.core.relay_id):
        raise Refused(Code.WRONG_RELAY, "this member is at home at another relay")
    if before not in (None, member.mid) and before in request.room.state.members:
        raise Refused(Code.FORBIDDEN, "this connection is in the room as another member: detach")
    return request.signed_by(member.sign_key)


def check_proof(request: Request[frames.Attach, Attach]) -> None:
    """The ATTACH was made for this very link."""
    record, link = request.record, request.link
    if record.relay_id != request.core.relay_id:
        raise Refused(Code.WRONG_RELAY)
    if record.challenge != link.challenge:
        raise Refused(Code.STALE_CHALLENGE)
    if record.transport_key != link.transport_key:
        raise Refused(Code.WRONG_TRANSPORT_KEY)


def run_attach(request: Request[frames.Attach, Attach]) -> None:
    """Take the link into the room; what waits for this member follows."""
    record, link, room = request.record, request.link, request.room
    member = room.state.member(record.mid)
    request.core.links.attach(link, room.room, member.mid)
    cursor = room.cursors.get(member.mid, 0)
    own = room.senders.get(member.mid)
    counter, last = (own.counter, own.last or None) if own and own.counter else (0, None)
    if room.moves:
        request.effects.append(Push(link.id, frames.Moved(room.room, room.moves)))
    request.reply(
        frames.Attached(request.rid, room.room, room.seq, room.log, cursor, counter, last)
    )
    request.effects.append(Backlog(link.id, room.room, member.mid))


def run_detach(request: Request[frames.Detach, None]) -> None:
    """Take the room off this link."""
    room = request.frame.room
    request.core.links.detach(request.link, room)
    request.reply(frames.Done(request.rid))
    request.effects.append(Unsubscribe(request.link.id, room))
