"""What the hub of a room is asked at once, on behalf of who is at home here, or comes to be."""

from __future__ import annotations

from typing import Any

from ofcd.protocol import frames
from ofcd.protocol.codes import Code, Refused
from ofcd.protocol.ids import RoomId, member_id_of
from ofcd.protocol.records import Attach, JoinConfirm, JoinRequest
from ofcd.relay.attach import check_proof
from ofcd.relay.blobs import check_drop, drop
from ofcd.relay.control import nested
from ofcd.relay.effects import Arrive, Forward, Push
from ofcd.relay.outbox import require_home, require_thawed
from ofcd.relay.rates import Rate
from ofcd.relay.request import Request, Signatures

__all__ = [
    "check_arrival",
    "check_drop_away",
    "check_foreign",
    "check_forward",
    "check_lost",
    "run_arrival",
    "run_drop_away",
    "run_foreign",
    "run_forward",
    "run_lost",
]


def check_forward(request: Request[Any, Any]) -> Signatures:
    """A record of the member's own, for the hub to judge; frames without one are passed on."""
    require_thawed(request.room)
    require_home(request)
    if request.signed_record is None:
        return ()
    # All that the hub verifies, is verified here: it blames who passes on lies.
    return request.signed_by(request.member.sign_key) + nested(request.record, request.room.state)


def run_forward(request: Request[Any, Any]) -> None:
    """Ask the hub."""
    room = request.room
    request.effects.append(
        Forward(request.link.id, room.hub, "", room.room, request.member.mid, request.frame)
    )


def check_drop_away(request: Request[frames.BlobDrop, None]) -> Signatures:
    """As at the hub, for what is stored here; and, from a member at home here, for the hub."""
    if request.link.peer is None:
        check_forward(request)
    elif not request.room.was_ordered_by(request.core.relay_id):
        raise Refused(Code.WRONG_RELAY)
    return check_drop(request)


def run_drop_away(request: Request[frames.BlobDrop, None]) -> None:
    """Forget it here too: as a hub of before this relay may have what the hub never had."""
    drop(request)
    if request.link.peer is None:
        run_forward(request)
    else:
        request.reply(frames.Done(request.rid))


def check_foreign(request: Request[Any, Any]) -> Signatures:
    """A stranger joins, through this relay, a room that another one orders."""
    if request.link.peer is not None or not request.policy.federated:
        raise Refused(Code.NOT_FEDERATED)
    record = None if request.signed_record is None else request.signed_record.record
    if not isinstance(record, JoinRequest):
        return ()
    if record.home != request.core.relay_id:
        raise Refused(Code.WRONG_RELAY)
    return request.signed_by(record.sign_key)


def run_foreign(request: Request[Any, Any]) -> None:
    """Ask the relay that the invite names."""
    frame = request.frame
    record = None if request.signed_record is None else request.signed_record.record
    joiner = None
    if isinstance(record, JoinRequest):
        joiner = member_id_of(record.sign_key)
    elif isinstance(record, JoinConfirm):
        joiner = record.mid
    room: RoomId = frame.room if record is None else record.room  # type: ignore[union-attr]
    effect = Forward(request.link.id, frame.hub, frame.hub_url, room, None, frame, joiner)
    request.effects.append(effect)


def check_arrival(request: Request[frames.Attach, Attach]) -> Signatures:
    """A member says to be at home here only now: the hub knows, and the room has to be fetched.

    Its key is not known before; its signature is checked once the room is here.
    """
    if request.link.peer is not None or not request.policy.federated:
        raise Refused(Code.NOT_FEDERATED)
    check_proof(request)
    return ()


def run_arrival(request: Request[frames.Attach, Attach]) -> None:
    """Fetch the room; this counts as a guess, since anybody can say so."""
    frame, record = request.frame, request.record
    if frame.hub is None:
        raise Refused(Code.NOT_FOUND)
    request.core.rates.spend(Rate.GUESS, request.link.id, request.now)
    request.effects.append(
        Arrive(request.link.id, frame.hub, frame.hub_url, record.room, record.mid, frame)
    )


def check_lost(request: Request[frames.Attach, Attach]) -> Signatures:
    """The same, where the room is here, and went on from the hub that the member names."""
    check_arrival(request)
    return request.signed_by(request.room.state.member(request.record.mid).sign_key)


def run_lost(request: Request[frames.Attach, Attach]) -> None:
    """It hears where the room went: what it named is maybe gone, and has nothing to say."""
    room = request.room
    told = frames.Moved(room.room, room.told or room.moves)
    request.effects.append(Push(request.link.id, told))
    run_arrival(request)
