"""What a hub delivers, verified as a client would: pure, for a worker thread."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from attrs import define, field, frozen

from ofcd.errors import OfcError
from ofcd.protocol.codes import Code, Malformed, ProtocolError, Refused
from ofcd.protocol.ids import EventId, Hash32, MemberId, log_hash, sha256
from ofcd.protocol.records import (
    CONTROL_TYPES,
    Admit,
    Control,
    Event,
    Genesis,
    Handover,
    HubMove,
    RekeyBoxed,
    UpdateKey,
)
from ofcd.protocol.room import RoomState
from ofcd.relay.facts import SenderState
from ofcd.relay.room_log import RoomLog
from ofcd.themis.signed import SignedRecord, check_handover, check_keys, open_signed, peek

__all__ = [
    "Entry",
    "HubLied",
    "Verified",
    "Walk",
    "check_nested",
    "verify_control",
    "verify_entries",
]


class HubLied(OfcError):
    """What the hub delivered, or signed, can not be true. `records` are what shows it."""

    code = "hub_lied"

    def __init__(self, kind: Code, text: str, records: Iterable[bytes] = ()) -> None:
        super().__init__(text)
        self.kind = kind
        self.records = tuple(record for record in records if record)
        self.before: tuple[Verified, ...] = ()
        """The entries before the one that is wrong."""

    @property
    def is_proof(self) -> bool:
        """Whether it shows two histories of the room, and not only bytes that do not verify."""
        return self.kind is Code.FORK


@frozen
class Entry:
    """One entry of the room log as the hub delivered it, and the key boxes that came with it."""

    seq: int
    record: bytes = field(repr=False)
    cell: bytes = field(default=b"", repr=False)
    boxes: tuple[tuple[MemberId, bytes], ...] = field(default=(), repr=False)


@frozen
class Verified:
    """An entry that fits, with its record read, and the room's state after it."""

    entry: Entry
    signed: SignedRecord
    log: Hash32
    mid: MemberId
    state: RoomState | None = None
    """None for an event: it changes nothing."""

    def fits(self, room: RoomLog) -> bool:
        """Whether it still comes next: nothing was appended, or taken back, since."""
        seq = self.entry.seq
        return seq == room.seq + 1 and self.log == log_hash(room.log, seq, self.signed.event_id)


@define
class Walk:
    """Where the log stands while entries are verified one after another."""

    room: RoomLog
    state: RoomState
    seq: int
    log: Hash32
    senders: dict[MemberId, SenderState] = field(factory=dict)
    hashes: dict[int, Hash32] = field(factory=dict)
    moved: bool = False
    """Whether the room has moved on the way: what is known of senders here is of before that."""

    def hash_at(self, seq: int) -> Hash32 | None:
        """L after entry `seq`, as far as it is known here."""
        if seq == self.room.seq:
            return self.room.log
        entry = self.room.recent.get(seq)
        return self.hashes.get(seq) or (None if entry is None else entry.log)

    def sender(self, mid: MemberId) -> SenderState | None:
        """The sender's last event; None where it is for the hub to say.

        So it is where the copy does not go back far enough to know, and, in a room that was moved,
        until the sender has spoken since: a hub that was a follower may know less than others do.
        What comes out must not depend on where this copy, or the hub's, begins.
        """
        state = self.state
        known = self.senders.get(mid) or (None if self.moved else self.room.senders.get(mid))
        if known is not None:
            return known if known.is_certain or not state.moved else None
        since = state.moved[-1].since if state.moved else -1
        joined = state.member(mid).joined_seq
        return (
            SenderState(0, EventId(state.room))
            if joined >= self.room.floor and joined > since
            else None
        )


def verify_entries(room: RoomLog, entries: Sequence[Entry]) -> list[Verified]:
    """Every entry verified: sender, signature, place, running hash. Raises `HubLied`.

    Changes nothing: for a worker thread, while nobody else appends to this room.
    """
    walk = Walk(room, room.state, room.seq, room.log)
    verified: list[Verified] = []
    try:
        for entry in entries:
            verified.append(_verify(walk, entry))
            if isinstance(verified[-1].signed.record, HubMove) and walk.state.hub != room.hub:
                break  # what comes next is the new hub's to deliver
    except HubLied as lied:
        lied.before = tuple(verified)
        raise
    return verified


def _verify(walk: Walk, entry: Entry) -> Verified:
    if entry.seq != walk.seq + 1:
        raise HubLied(Code.TRY_AGAIN, f"entry {entry.seq} was delivered after entry {walk.seq}")
    try:
        signed = peek(entry.record)
        record = signed.record
        if isinstance(record, Event):
            verified = _verify_event(walk, entry, signed, record)
        else:
            verified = verify_control(walk, entry, signed)
    except ProtocolError as error:
        raise HubLied(error.kind, f"entry {entry.seq}: {error}", (entry.record,)) from error
    walk.seq, walk.log = entry.seq, verified.log
    walk.hashes[entry.seq] = verified.log
    if isinstance(record, HubMove):
        walk.moved = True
        walk.senders.clear()
    return verified


def _verify_event(walk: Walk, entry: Entry, signed: SignedRecord, event: Event) -> Verified:
    state = walk.state
    member = state.member(event.mid)
    if event.room != state.room or not member.may_post:
        raise Refused(Code.FORBIDDEN)
    if event.epoch != state.epoch:
        raise Refused(Code.EPOCH_STALE)
    if event.ctl != state.ctl:
        raise Refused(Code.CTL_STALE)
    last = walk.sender(event.mid)
    if last is not None and not last.follows(event.counter):
        raise Refused(Code.COUNTER_GAP)
    if last is not None and last.is_certain and event.prev != last.last:
        raise Refused(Code.PREV_MISMATCH)
    if entry.cell and sha256(entry.cell) != event.cell_hash:
        raise Refused(Code.CELL_MISMATCH)
    open_signed(member.sign_key, entry.record)
    _check_seen(walk, entry, event.seen.seq, event.seen.log)
    walk.senders[event.mid] = SenderState(event.counter, signed.event_id)
    log = log_hash(walk.log, entry.seq, signed.event_id)
    return Verified(entry, signed, log, event.mid)


def _check_seen(walk: Walk, entry: Entry, seq: int, log: Hash32) -> None:
    """What a member has signed to have seen is what stands here, or the hub shows two histories."""
    ours = walk.hash_at(seq)
    if seq >= entry.seq or (ours is not None and ours != log):
        text = f"the sender of entry {entry.seq} was shown another log up to {seq}"
        raise HubLied(Code.FORK, text, (entry.record, walk.room.head))


def verify_control(walk: Walk, entry: Entry, signed: SignedRecord) -> Verified:
    """A control record at its place. Raises `ProtocolError`, `HubLied`; moves the walk's state."""
    record = signed.record
    if not isinstance(record, CONTROL_TYPES) or isinstance(record, Genesis):
        raise Malformed(Code.BAD_RECORD)
    open_signed(walk.state.key_of(record), entry.record)
    check_nested(walk.state, record)
    _check_seen(walk, entry, record.seen.seq, record.seen.log)
    after = walk.state.apply(record, signed.event_id, entry.seq)
    listed = dict(record.boxes) if isinstance(record, RekeyBoxed) else {}
    for mid, box in entry.boxes:
        if listed.get(mid) != sha256(box):
            raise Refused(Code.CELL_MISMATCH, "a key box is not one that was signed")
    walk.state = after
    log = log_hash(walk.log, entry.seq, signed.event_id)
    return Verified(entry, signed, log, record.mid, after)


def check_nested(state: RoomState, record: Control) -> None:
    """What a record brings beside its own signature: an heir's acceptance, a newcomer's keys."""
    if isinstance(record, Handover):
        check_handover(state, record)
    elif isinstance(record, Admit):
        check_keys(record.sign_key, record.enc_key)
    elif isinstance(record, UpdateKey):
        check_keys(record.enc_key)
