"""Events: a body sealed under the room key, in a header its sender signed (protocol.md §2.3)."""

from __future__ import annotations

from collections.abc import Collection

from attrs import evolve, field, frozen

from ofcd.e2e.bodies import (
    Body,
    Content,
    FileRef,
    Redaction,
    Via,
    decode_body,
    encode_body,
    kind_of,
)
from ofcd.e2e.contexts import message_context
from ofcd.e2e.errors import KeyMissing, Reason, Unreadable
from ofcd.e2e.keys import EpochKeys, MemberKeys
from ofcd.e2e.names import display_name
from ofcd.protocol.codes import Code, Malformed, Refused
from ofcd.protocol.ids import EventId, MemberId, PublicKey, Sid, sha256
from ofcd.protocol.records import Cap, Event, Seen
from ofcd.protocol.room import RoomState
from ofcd.protocol.versions import VERSION
from ofcd.themis import CannotOpen, seal, unseal
from ofcd.themis.signed import SignedRecord, open_signed, peek, sign_record

__all__ = [
    "Opened",
    "Outgoing",
    "SealedEvent",
    "may_edit",
    "may_name_room",
    "may_redact",
    "may_send",
    "open_event",
    "open_verified",
    "resign_event",
    "seal_event",
    "verify_event",
]


@frozen
class Outgoing:
    """A message as its sender keeps it until it is accepted: the same however often it is sent.

    After `epoch_stale`, seal it again; counter, sid and content stay, so receivers know it for
    the same message (protocol.md §2.3).
    """

    content: Content
    sid: Sid
    counter: int
    prev: EventId
    """The sender's last event; `EventId(room)` before the first."""
    ts: int
    name: str = ""
    hops: int = 0
    via: Via | None = None
    voids: tuple[EventId, ...] = ()


@frozen
class SealedEvent:
    """What is posted: the signed header and the cell beside it."""

    signed: SignedRecord
    cell: bytes = field(repr=False)

    @property
    def event(self) -> Event:
        """The header."""
        return _event_of(self.signed)

    @property
    def event_id(self) -> EventId:
        """The event's id."""
        return self.signed.event_id


@frozen
class Opened:
    """An event that passed every check: `body` is what the member `event.mid` said."""

    event: Event
    event_id: EventId
    body: Body

    @property
    def content(self) -> Content:
        """What was said."""
        return self.body.content

    @property
    def name(self) -> str:
        """What the sender calls itself, safe to show; may be empty."""
        return display_name(self.body.name)


def seal_event(
    state: RoomState, mine: MemberKeys, keys: EpochKeys, message: Outgoing, seen: Seen
) -> SealedEvent:
    """`message` under the current room key, signed for the current control head.

    Raises `KeyMissing` without that key, `BodyTooLong` and `BodyInvalid`, and `Refused` if I am
    not in the room or may not post this.
    """
    if not may_send(state, mine.mid, message.content):
        raise Refused(Code.FORBIDDEN)
    kind = kind_of(message.content)
    context = message_context(state.room, state.epoch, mine.mid, message.counter, message.sid, kind)
    cell = seal(keys.get(state.epoch), encode_body(_body(state, mine, message)), context)
    event = Event(
        v=VERSION,
        room=state.room,
        epoch=state.epoch,
        mid=mine.mid,
        counter=message.counter,
        prev=message.prev,
        seen=seen,
        ctl=state.ctl,
        kind=kind,
        sid=message.sid,
        cell_hash=sha256(cell),
        ts=message.ts,
        target=message.content.target if isinstance(message.content, Redaction) else None,
    )
    return SealedEvent(sign_record(mine.sign.private, event), cell)


def _body(state: RoomState, mine: MemberKeys, message: Outgoing) -> Body:
    return Body(
        room=state.room,
        mid=mine.mid,
        counter=message.counter,
        sid=message.sid,
        content=message.content,
        name=display_name(message.name),
        hops=message.hops,
        via=message.via,
        voids=message.voids,
    )


def resign_event(
    state: RoomState,
    mine: MemberKeys,
    sealed: SealedEvent,
    seen: Seen,
    prev: EventId | None = None,
) -> SealedEvent:
    """The same cell under a header for the current control head: after `ctl_stale`, `seen_stale`.

    `prev`: where the sender's event before this one was itself signed anew. Raises `Refused`
    (epoch_stale) if the room key has changed since: seal again instead.
    """
    if sealed.event.epoch != state.epoch:
        raise Refused(Code.EPOCH_STALE)
    event = evolve(sealed.event, ctl=state.ctl, seen=seen, prev=prev or sealed.event.prev)
    return SealedEvent(sign_record(mine.sign.private, event), sealed.cell)


def verify_event(state: RoomState, envelope: bytes) -> SignedRecord:
    """The header in `envelope`, signed by a member who may post; raises `Unreadable`.

    `state` is the room's where the event stands in the log: the relay must not have taken it
    under any other control head or epoch.
    """
    try:
        event = peek(envelope).record
    except Malformed:
        raise Unreadable(Reason.NOT_AN_EVENT) from None
    if not isinstance(event, Event):
        raise Unreadable(Reason.NOT_AN_EVENT)
    if event.room != state.room:
        raise Unreadable(Reason.WRONG_ROOM)
    signed = _open_signed(_sender_key(state, event.mid), envelope)
    if event.epoch != state.epoch:
        raise Unreadable(Reason.WRONG_EPOCH)
    if event.ctl != state.ctl:
        raise Unreadable(Reason.STALE_CONTROL)
    return signed


def open_event(state: RoomState, keys: EpochKeys, envelope: bytes, cell: bytes) -> Opened:
    """What a member said; raises `Unreadable`, whose sentence is shown in its place.

    Checks what `verify_event` and `open_verified` check.
    """
    signed = verify_event(state, envelope)
    caps = state.member(_event_of(signed).mid).caps
    return open_verified(keys, signed, cell, caps=caps)


def open_verified(
    keys: EpochKeys, signed: SignedRecord, cell: bytes, *, caps: Collection[Cap]
) -> Opened:
    """What the sender of an event that `verify_event` passed said; raises `Unreadable`.

    Checks that the cell is the one signed for, that it opens under the epoch's key for this very
    header, and that its inner fields equal the header's. Needs no room state but the sender's
    `caps` when it spoke, so an event that waited for its key can be opened later.
    """
    event = _event_of(signed)
    body = _open_cell(keys, event, cell)
    if (body.room, body.mid, body.counter, body.sid) != (
        event.room,
        event.mid,
        event.counter,
        event.sid,
    ):
        raise Unreadable(Reason.INNER_MISMATCH)
    target = body.content.target if isinstance(body.content, Redaction) else None
    if kind_of(body.content) is not event.kind or target != event.target:
        raise Unreadable(Reason.INNER_MISMATCH)
    if body.via is not None and Cap.BRIDGE not in caps:
        raise Unreadable(Reason.NOT_A_BRIDGE)
    if isinstance(body.content, FileRef) and Cap.NO_FILES in caps:
        raise Unreadable(Reason.MAY_NOT_ATTACH)
    return Opened(event, signed.event_id, body)


def may_send(state: RoomState, mid: MemberId, content: Content) -> bool:
    """Whether this member may say that; raises `Refused` (not_found) for a stranger."""
    member = state.member(mid)
    return member.may_attach if isinstance(content, FileRef) else member.may_post


def may_edit(editor: MemberId, sender: MemberId) -> bool:
    """Whether `editor`'s edit of `sender`'s text counts: only one's own words."""
    return editor == sender


def may_redact(state: RoomState, redactor: MemberId, sender: MemberId) -> bool:
    """Whether `redactor`'s redaction of `sender`'s event counts: one's own, or an owner's."""
    member = state.members.get(redactor)
    return member is not None and (redactor == sender or member.is_owner)


def may_name_room(state: RoomState, mid: MemberId) -> bool:
    """Whether a `RoomInfo` of this member counts: an owner's."""
    member = state.members.get(mid)
    return member is not None and member.is_owner


def _sender_key(state: RoomState, mid: MemberId) -> PublicKey:
    member = state.members.get(mid)
    if member is None:
        raise Unreadable(Reason.NOT_A_MEMBER)
    if not member.may_post:
        raise Unreadable(Reason.MAY_NOT_POST)
    return member.sign_key


def _open_signed(key: PublicKey, envelope: bytes) -> SignedRecord:
    try:
        return open_signed(key, envelope)
    except Refused:
        raise Unreadable(Reason.BAD_SIGNATURE) from None


def _event_of(signed: SignedRecord) -> Event:
    if not isinstance(signed.record, Event):
        raise Unreadable(Reason.NOT_AN_EVENT)
    return signed.record


def _open_cell(keys: EpochKeys, event: Event, cell: bytes) -> Body:
    if not cell:
        raise Unreadable(Reason.CELL_GONE)
    if sha256(cell) != event.cell_hash:
        raise Unreadable(Reason.CELL_MISMATCH)
    context = message_context(
        event.room, event.epoch, event.mid, event.counter, event.sid, event.kind
    )
    try:
        return decode_body(unseal(keys.get(event.epoch), cell, context))
    except KeyMissing:
        raise Unreadable(Reason.MISSING_KEY) from None
    except CannotOpen:
        raise Unreadable(Reason.BAD_SEAL) from None
    except Malformed:
        raise Unreadable(Reason.BAD_BODY) from None
