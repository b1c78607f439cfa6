"""The command table: what each client frame needs before its handler sees it.

The law of the core stands here, once: what costs the relay more comes later. Size, then the link's
rates; for a member attachment, and the member's and the room's rates; then the record's shape, the
sender's role, the handler's own checks; the signature last.
"""

from __future__ import annotations

from typing import Any, Final

from attrs import evolve

from ofcd.protocol import frames, records
from ofcd.protocol.codes import Code, Malformed, Refused
from ofcd.protocol.ids import MemberId, RelayId, RoomId, room_id_of
from ofcd.protocol.room import Member
from ofcd.relay import (
    attach,
    blobs,
    control,
    forcing,
    forwarding,
    joining,
    keys,
    outbox,
    posting,
    sync,
)
from ofcd.relay.effects import LinkId
from ofcd.relay.links import Link
from ofcd.relay.policy import RelayPolicy
from ofcd.relay.rates import BY_LINK, BY_MEMBER, BY_ROOM, Rate
from ofcd.relay.request import Asked, Command, Core, Examined, Request, nothing_to_check
from ofcd.themis.signed import SignedRecord, peek

__all__ = ["COMMANDS", "examine", "read", "reopen"]


def _may_post(member: Member) -> bool:
    return member.may_post


def _may_attach(member: Member) -> bool:
    return member.may_attach


def _may_admit(member: Member) -> bool:
    return member.may_admit


def _is_owner(member: Member) -> bool:
    return member.is_owner


def _event_size(frame: Any, policy: RelayPolicy) -> bool:
    return len(frame.record) + len(frame.cell) <= policy.event_bytes


def _control_size(frame: Any, policy: RelayPolicy) -> bool:
    return len(frame.record) <= policy.control_bytes


_LOGGED: Final = tuple(kind for kind in records.CONTROL_TYPES if kind is not records.Genesis)

COMMANDS: Final[dict[type[frames.ClientFrame], Command]] = {
    frames.Create: Command(
        attach.check_create,
        attach.run_create,
        record=records.Genesis,
        attached=False,
        rates=(Rate.CREATE,),
    ),
    frames.Attach: Command(
        attach.check_attach,
        attach.run_attach,
        record=records.Attach,
        attached=False,
        guess=True,
    ),
    frames.Detach: Command(nothing_to_check, attach.run_detach, attached=False),
    frames.Sync: Command(sync.check_sync, sync.run_sync),
    frames.Cursor: Command(nothing_to_check, sync.run_cursor),
    frames.Post: Command(
        posting.check_post,
        posting.run_post,
        record=records.Event,
        allowed=_may_post,
        rates=(Rate.EVENT, Rate.ROOM_EVENT),
        size=_event_size,
    ),
    frames.Control: Command(
        control.check_control,
        control.run_control,
        record=_LOGGED,
        rates=(Rate.CONTROL,),
        size=_control_size,
    ),
    frames.ChainGet: Command(nothing_to_check, sync.run_chain),
    frames.Lookup: Command(joining.check_lookup, joining.run_lookup, attached=False, guess=True),
    frames.Join: Command(
        joining.check_join,
        joining.run_join,
        record=records.JoinRequest,
        attached=False,
        guess=True,
    ),
    frames.JoinAnswer: Command(
        joining.check_answer,
        joining.run_answer,
        record=records.JoinResponse,
        allowed=_may_admit,
        rates=(Rate.CONTROL,),
    ),
    frames.JoinConfirm: Command(
        joining.check_confirm,
        joining.run_confirm,
        record=records.JoinConfirm,
        attached=False,
        guess=True,
    ),
    frames.KeyRequest: Command(
        keys.check_key_request,
        keys.run_key_request,
        record=records.KeyRequest,
        rates=(Rate.CONTROL,),
    ),
    frames.KeyAnswer: Command(
        keys.check_key_answer,
        keys.run_key_answer,
        record=records.KeyAnswer,
        allowed=_is_owner,
        rates=(Rate.CONTROL,),
    ),
    frames.Signal: Command(
        posting.check_signal,
        posting.run_signal,
        allowed=_may_post,
        rates=(Rate.SIGNAL, Rate.ROOM_SIGNAL),
    ),
    frames.BlobPut: Command(blobs.check_put, blobs.run_put, allowed=_may_attach),
    frames.BlobGet: Command(nothing_to_check, blobs.run_get),
    frames.BlobDrop: Command(blobs.check_drop, blobs.run_drop),
}
"""Every frame a client may send on an open link; HELLO came before the link was open."""

_AWAY: Final[dict[type[frames.ClientFrame], Command]] = {
    frames.Post: evolve(COMMANDS[frames.Post], check=outbox.check_queue, run=outbox.run_queue),
    frames.Control: evolve(
        COMMANDS[frames.Control], check=forcing.check_away, run=forcing.run_away
    ),
    **{
        kind: evolve(COMMANDS[kind], check=forwarding.check_forward, run=forwarding.run_forward)
        for kind in (
            frames.JoinAnswer,
            frames.KeyRequest,
            frames.KeyAnswer,
            frames.Signal,
            frames.BlobPut,
        )
    },
    frames.BlobDrop: evolve(
        COMMANDS[frames.BlobDrop],
        check=forwarding.check_drop_away,
        run=forwarding.run_drop_away,
    ),
}
"""The same for a room that another relay orders: where it is not here, the copy answers."""
_FOREIGN: Final[dict[type[frames.ClientFrame], Command]] = {
    kind: evolve(
        COMMANDS[kind],
        check=forwarding.check_foreign,
        run=forwarding.run_foreign,
        needs_room=False,
    )
    for kind in (frames.Lookup, frames.Join, frames.JoinConfirm)
}
"""For a stranger who joins a room that another relay orders."""
_FOREIGN[frames.Attach] = evolve(
    COMMANDS[frames.Attach], check=forwarding.check_arrival, run=forwarding.run_arrival
)

_LOST: Final = evolve(COMMANDS[frames.Attach], check=forwarding.check_lost, run=forwarding.run_lost)
"""For a member who is at home elsewhere, and knows no better than a hub of before."""

_GUESSES: Final = frozenset({Code.NOT_FOUND, Code.INVITE_UNKNOWN, Code.INVITE_USED})


# -- before the signatures are verified ----------------------------------------------------------


def read(core: Core, link_id: LinkId, frame: frames.ClientFrame, now: int) -> Asked:
    """What needs no room: size, the link's own rates, a stranger's record. Raises `ProtocolError`.

    Before a room is read from the store for the frame: what is refused must not cost more.
    """
    command = _named(core, frame)
    if command is None:
        raise Refused(Code.OUT_OF_ORDER)
    if getattr(frame, "rid", 1) < 1:
        raise Malformed(Code.BAD_FRAME, "requests are numbered from 1")
    if command.size is not None and not command.size(frame, core.policy):
        raise Malformed(Code.TOO_LARGE)
    if command.guess:
        core.rates.require(Rate.GUESS, link_id, now)
    for rate in BY_LINK.intersection(command.rates):
        core.rates.take(rate, link_id, now)
    signed = None if command.attached else _read_record(command, frame)
    return Asked(frame, _room_of(frame, signed) if command.needs_room else None, signed)


def _named(core: Core, frame: frames.ClientFrame) -> Command | None:
    """The command for a frame, before its room is looked at."""
    hub = getattr(frame, "hub", None)
    if hub is not None and hub != core.relay_id:
        return _FOREIGN.get(type(frame))
    return COMMANDS.get(type(frame))


def _command_for(core: Core, asked: Asked | Examined) -> Command:
    """The command for a frame that was read, and whose room is loaded."""
    frame = asked.frame
    if isinstance(frame, frames.Attach):
        return _attaching(core, asked)
    room = core.rooms.get(getattr(frame, "room", None) or RoomId(b""))
    away = None if room is None or room.hub == core.relay_id else _AWAY.get(type(frame))
    return away or _named(core, frame) or COMMANDS[type(frame)]


def _attaching(core: Core, asked: Asked | Examined) -> Command:
    """Attach; or, for who is at home here only now, fetch the room first.

    Who came to the room after this relay had ceased to follow it, nobody here knows yet.
    """
    signed = asked.signed
    log = None if asked.room is None else core.rooms.get(asked.room)
    mid: MemberId = getattr(None if signed is None else signed.record, "mid", MemberId(b""))
    is_news = log is not None and log.hub != core.relay_id and not log.has_met(mid)
    if log is not None and log.takes_in(mid, core.relay_id) and not is_news:
        return COMMANDS[frames.Attach]
    hub: RelayId | None = getattr(asked.frame, "hub", None)
    if log is not None and mid in log.state.members and log.has_left(hub):
        return _LOST
    return _named(core, asked.frame) or COMMANDS[frames.Attach]


def _room_of(frame: frames.ClientFrame, signed: SignedRecord | None) -> RoomId | None:
    """The room that the frame names, or its record; that which a GENESIS founds."""
    if signed is not None and isinstance(frame, frames.Create):
        return room_id_of(signed.payload)
    room: RoomId | None = getattr(frame, "room", None)
    return room if signed is None else room or getattr(signed.record, "room", None)


def examine(core: Core, link_id: LinkId, asked: Asked, now: int) -> Examined:
    """The cheap checks that need the room; raises `ProtocolError`."""
    command = _command_for(core, asked)
    try:
        return _examine(core, command, _link(core, link_id), asked, now)
    except Refused as error:
        if command.guess and error.kind in _GUESSES:
            core.rates.spend(Rate.GUESS, link_id, now)
        raise


def _examine(core: Core, command: Command, link: Link, asked: Asked, now: int) -> Examined:
    request: Request[Any, Any] = Request(core, link, asked.frame, now, final=False)
    _admit_sender(request, command)
    _take_rates(request, command)
    signed = _read_record(command, asked.frame) if command.attached else asked.signed
    request.signed_record = signed
    _enter_room(request, command)
    return Examined(asked.frame, asked.room, signed, command.check(request))


def _link(core: Core, link_id: LinkId) -> Link:
    link = core.links.get(link_id)
    if link is None:
        raise Refused(Code.OUT_OF_ORDER)
    return link


def _admit_sender(request: Request[Any, Any], command: Command) -> None:
    """The link is attached, as someone who is still a member."""
    if not command.attached:
        return
    mid = request.link.rooms.get(request.frame.room)
    if mid is None:
        raise Refused(Code.NOT_ATTACHED)
    if request.frame.room in request.link.over:
        raise Refused(Code.TRY_AGAIN)
    request.room_log = request.core.find(request.frame.room)
    request.sender = request.room.state.member(mid)


def _take_rates(request: Request[Any, Any], command: Command) -> None:
    """Those of the member and of the room."""
    for rate in command.rates:
        if rate in BY_MEMBER:
            key = (request.frame.room, request.member.mid)
            request.core.rates.take(rate, key, request.now)
        elif rate in BY_ROOM:
            request.core.rates.take(rate, request.frame.room, request.now)


def _read_record(command: Command, frame: Any) -> SignedRecord | None:
    if command.record is None:
        return None
    signed = peek(frame.record)
    if not isinstance(signed.record, command.record):
        raise Malformed(Code.BAD_RECORD, "the frame carries another kind of record")
    return signed


def _enter_room(request: Request[Any, Any], command: Command) -> None:
    """Find the room; the record is this room's and the attached member's; its role allows this."""
    frame, signed = request.frame, request.signed_record
    if isinstance(frame, frames.Create | frames.Detach) or not command.needs_room:
        return
    record: Any = signed.record if signed else None
    named = getattr(frame, "room", None)
    if record is not None and named not in (None, record.room):
        raise Malformed(Code.BAD_RECORD, "the record names another room than its frame")
    if not command.attached:
        request.room_log = request.core.find(named or record.room)
        return
    if record is not None and record.mid != request.member.mid:
        raise Refused(Code.FORBIDDEN, "you are attached to the room as another member")
    if not command.allowed(request.member):
        raise Refused(Code.FORBIDDEN)


# -- after ---------------------------------------------------------------------------------------


def reopen(
    core: Core, link_id: LinkId, examined: Examined, now: int
) -> tuple[Command, Request[Any, Any]]:
    """The request again, with every check that the room's state may have changed since.

    Raises `ProtocolError`. The rates were counted, and what depends on the bytes alone checked,
    when the frame was examined.
    """
    command = _command_for(core, examined)
    link = _link(core, link_id)
    request: Request[Any, Any] = Request(core, link, examined.frame, now, final=True)
    request.signed_record = examined.signed
    _admit_sender(request, command)
    _enter_room(request, command)
    if command.check(request) != examined.signatures:
        raise Refused(Code.TRY_AGAIN)
    return command, request
