"""One room as the relay has it in memory: its state, the head of its log, and what is pending."""

from __future__ import annotations

from collections import OrderedDict
from itertools import pairwise
from typing import Final

from attrs import define, evolve, field, frozen

from ofcd.errors import OfcError
from ofcd.protocol import limits
from ofcd.protocol.codes import Code, ProtocolError, Refused
from ofcd.protocol.ids import (
    BlobId,
    EventId,
    Hash32,
    InviteId,
    MemberId,
    RelayId,
    RoomId,
    Sid,
    log_hash,
)
from ofcd.protocol.records import (
    Admit,
    Event,
    Genesis,
    Home,
    HubMove,
    JoinConfirm,
    JoinRequest,
    JoinResponse,
    Leave,
    RekeyBoxed,
    Seen,
)
from ofcd.protocol.records import Control as ControlRecord
from ofcd.protocol.room import Member, RoomState, found
from ofcd.relay.facts import (
    RECENT_ENTRIES,
    UNWILLING,
    JoinRow,
    JoinStage,
    KeyRequestRow,
    LogAppended,
    LogEntry,
    OutboxRow,
    RoomSnapshot,
    SenderLearnt,
    SenderState,
)
from ofcd.relay.refusal import Refusal
from ofcd.themis.moves import seen_of
from ofcd.themis.signed import SignedRecord, peek

__all__ = ["DAY_MS", "BadSnapshot", "Join", "KeyAsk", "RoomLog", "Upload", "Waiting", "expired"]

DAY_MS: Final = 24 * 3600 * 1000


class BadSnapshot(OfcError):
    """What the store gave back is not a room: its records do not follow from each other."""

    code = "bad_snapshot"


@frozen
class Join:
    """A join request and its answers, read."""

    row: JoinRow
    request: JoinRequest
    response: SignedRecord | None
    confirm: SignedRecord | None

    @classmethod
    def read(cls, row: JoinRow) -> Join:
        """The join in a row whose records this relay verified when it took them."""
        return cls(
            row,
            _read(row.request, JoinRequest),
            peek(row.response) if row.response else None,
            peek(row.confirm) if row.confirm else None,
        )

    @property
    def key(self) -> tuple[InviteId, Hash32]:
        """Invite and request hash: what names it in its room."""
        return self.row.invite_id, self.row.request_hash

    @property
    def answered(self) -> bool:
        """An admitter has handed the room's key to this joiner."""
        return self.row.stage is not JoinStage.PENDING

    @property
    def admitter(self) -> MemberId | None:
        """Who answered."""
        answer = self.response.record if self.response else None
        return answer.mid if isinstance(answer, JoinResponse) else None

    @property
    def confirmed_epoch(self) -> int | None:
        """The epoch whose key the joiner has shown to hold."""
        confirm = self.confirm.record if self.confirm else None
        return confirm.epoch if isinstance(confirm, JoinConfirm) else None


@frozen
class KeyAsk:
    """A pending KEY_REQ and its hash."""

    row: KeyRequestRow
    hash: Hash32

    @classmethod
    def read(cls, row: KeyRequestRow) -> KeyAsk:
        """The request in a row."""
        return cls(row, peek(row.request).hash)


@define
class Upload:
    """An attachment of which chunks came while the room was in memory."""

    mid: MemberId
    count: int
    chunks: set[int] = field(factory=set)
    settled: bool = False
    """The store has said that it is this member's: nobody had the id before."""


@define
class Waiting:
    """What one member said in a copy, and the hub does not have yet; in the order it came."""

    rows: dict[Sid, OutboxRow] = field(factory=dict)
    size: int = 0
    """Bytes of it."""

    def put(self, row: OutboxRow) -> None:
        """One more."""
        self.rows[row.sid] = row
        self.size += row.size

    def drop(self, row: OutboxRow) -> bool:
        """It waits no more; whether others do."""
        del self.rows[row.sid]
        self.size -= row.size
        return bool(self.rows)


@define
class RoomLog:
    """A room in memory. Equal when all that the store holds of it is equal."""

    state: RoomState
    seq: int
    """The head of the room log."""
    log: Hash32
    """The running hash after the head."""
    recent: dict[int, LogEntry]
    """The last entries by seq, at most `RECENT_ENTRIES`."""
    chain: dict[EventId, int]
    """The seq of every control record."""
    used_invites: dict[InviteId, Hash32]
    """The commitments of the invites that were used."""
    chain_bytes: int = 0
    """What the control log counts against `CHAIN_BYTES`."""
    senders: dict[MemberId, SenderState] = field(factory=dict)
    cursors: dict[MemberId, int] = field(factory=dict)
    joins: dict[tuple[InviteId, Hash32], Join] = field(factory=dict)
    key_asks: dict[MemberId, KeyAsk] = field(factory=dict)
    blob_bytes: dict[MemberId, int] = field(factory=dict)
    outbox: dict[tuple[MemberId, Sid], OutboxRow] = field(factory=dict)
    """Of a copy: what waits for the hub, oldest first."""
    outbox_bytes: int = field(default=0, eq=False)
    waiting: dict[MemberId, Waiting] = field(factory=dict, eq=False, repr=False)
    """The same by sender."""
    floor: int = field(default=0, eq=False)
    """Of a copy, and of a room that was one before it was moved here: where it begins."""
    ahead: RelayId | None = None
    """Of a copy: the relay that is asked for what comes next, where that is another one than the
    log so far says. It was told so (`told`), or begun so, or is `unwilling`."""
    unwilling: bool = False
    """The last entry made this relay the hub, which takes over no rooms; `ahead` is the one before.
    """
    head: bytes = field(default=b"", repr=False)
    """Of a copy: the hub's latest LOG_HEAD that fits it."""
    lost: dict[int, EventId] = field(factory=dict, eq=False, repr=False)
    """Entries that a follower is giving back to this relay, and that are not here yet."""
    awaits: RelayId | None = field(default=None, eq=False, repr=False)
    """Who ordered the room before, and may know of more that was ordered here since."""
    lost_until: int = field(default=0, eq=False, repr=False)
    """When neither is waited for any more; 0: that begins when it is looked at next."""
    refiller: RelayId | None = field(default=None, eq=False, repr=False)
    """Who began to give them back."""
    refill_after: dict[RelayId, int] = field(factory=dict, eq=False, repr=False)
    """When who did not get to the end of it may begin again."""
    held_until: int = field(default=0, eq=False, repr=False)
    """Until when nothing is taken but the HUB_MOVE that root is about to send."""
    parted: dict[RelayId, int] = field(factory=dict)
    """With which entry the last member who was at home there went, by relay."""
    frozen: str = ""
    """Why nothing is taken in this room: the code of what the hub was caught at."""
    moves: tuple[bytes, ...] = field(default=(), repr=False)
    """The last HUB_MOVEs, in order."""
    told: tuple[bytes, ...] = field(default=(), repr=False)
    """Of a copy that is not as far as the last of these HUB_MOVEs: what was told, and taken."""
    by_sid: dict[tuple[MemberId, Sid], LogEntry] = field(factory=dict, eq=False, repr=False)
    by_event: dict[EventId, LogEntry] = field(factory=dict, eq=False, repr=False)
    uploads: OrderedDict[BlobId, Upload] = field(factory=OrderedDict, eq=False, repr=False)
    touched: int = field(default=0, eq=False)
    """When something was last asked or decided here."""

    @classmethod
    def founded(cls, signed: SignedRecord) -> RoomLog:
        """An empty log whose GENESIS is yet to be appended."""
        genesis = signed.record
        if not isinstance(genesis, Genesis):
            raise BadSnapshot("a room's first record is not a GENESIS")
        state = found(genesis, signed.payload)
        return cls(
            state=state, seq=-1, log=Hash32(state.room), recent={}, chain={}, used_invites={}
        )

    @classmethod
    def from_snapshot(cls, snapshot: RoomSnapshot) -> RoomLog:
        """The room that was stored; raises `BadSnapshot`. Pure: may run in any thread."""
        if not snapshot.chain:
            raise BadSnapshot("a stored room has no control log")
        try:
            room = cls._replay(snapshot)
            room.joins = {join.key: join for join in map(Join.read, snapshot.joins)}
            room.key_asks = {row.mid: KeyAsk.read(row) for row in snapshot.key_requests}
        except ProtocolError as error:
            raise BadSnapshot(f"a stored room does not add up: {error}") from error
        room.seq, room.log = snapshot.seq, snapshot.log
        for entry in snapshot.recent[-RECENT_ENTRIES:]:
            room._remember(entry)
        room.senders = dict(snapshot.senders)
        room.cursors = dict(snapshot.cursors)
        room.blob_bytes = dict(snapshot.blob_bytes)
        for row in snapshot.outbox:
            room.put_waiting(row)
        room.floor = snapshot.floor
        room.head, room.awaits = snapshot.head, snapshot.awaits
        room.unwilling = snapshot.frozen == UNWILLING
        room.frozen = "" if room.unwilling else snapshot.frozen
        room.ahead = snapshot.hub if snapshot.hub != room.state.hub else None
        last = peek(snapshot.told[-1]) if snapshot.told else None
        if last is not None and last.event_id not in room.chain:
            room.told, room.ahead = snapshot.told, getattr(last.record, "hub", None)
        return room

    @classmethod
    def _replay(cls, snapshot: RoomSnapshot) -> RoomLog:
        first, *rest = snapshot.chain
        room = cls.founded(peek(first.record))
        room.chain[first.event_id] = first.seq
        room.chain_bytes = sum(chain_size(stored.record) for stored in snapshot.chain)
        for stored in rest:
            signed = peek(stored.record)
            record = signed.record
            if not isinstance(record, ControlRecord):
                raise BadSnapshot("a record of the control log is no control record")
            room.advance(signed, room.state.apply(record, signed.event_id, stored.seq))
        if room.state.room != snapshot.room:
            raise BadSnapshot("a stored room has another room's records")
        return room

    # -- questions -------------------------------------------------------------------------------

    @property
    def room(self) -> RoomId:
        """The room's id."""
        return self.state.room

    @property
    def hub(self) -> RelayId:
        """The relay that orders this room."""
        return self.ahead or self.state.hub

    def was_ordered_by(self, relay: RelayId) -> bool:
        """Whether `relay` is, or was, the room's hub."""
        return any(hub.relay_id == relay for hub in self.state.hubs)

    def has_left(self, relay: RelayId | None) -> bool:
        """Whether `relay` was the room's hub, and is so no more."""
        return relay is not None and relay != self.hub and self.was_ordered_by(relay)

    def hubs_before(self, own: RelayId) -> tuple[RelayId, ...]:
        """The hubs that the room had before this one, the last first; without `own`."""
        hubs = dict.fromkeys(hub.relay_id for hub in reversed(self.state.hubs))
        return tuple(hub for hub in hubs if hub not in (self.hub, own))

    def takes_in(self, mid: MemberId, own: RelayId) -> bool:
        """Whether the relay `own` lets this member in: the room is its own, or the member.

        A hub of before lets everybody in, too: there they hear where the room went. Root comes to
        where it may move the room by force.
        """
        member = self.state.members.get(mid)
        is_here = member is None or member.home == own
        return is_here or self.was_ordered_by(own) or mid == self.state.root

    def has_met(self, mid: MemberId) -> bool:
        """Whether this log has heard of a member, of now or before."""
        return mid in self.state.members or mid in self.state.departed

    def last_of(self, relay: RelayId) -> int | None:
        """The last entry that `relay` gives others as the hub it is, or was; -1: none was its own.

        None: there is no last one.
        """
        if self.hub == relay:
            return None
        hubs = self.state.hubs
        ends = [after.since for hub, after in pairwise(hubs) if hub.relay_id == relay]
        return max(ends, default=-1)

    def last_for(self, peer: RelayId, own: RelayId) -> int | None:
        """The last entry that the relay `own` gives to `peer`; -1: none. None: there is no last.

        Where nobody is at home at `peer` any more, it is the record that says so.
        """
        last = self.last_of(own)
        if peer in self.state.homes.values():
            return last
        end = self.parted.get(peer, -1)
        return end if last is None else min(last, end)

    @property
    def all_in_memory(self) -> bool:
        """Whether `recent` is the whole log."""
        return len(self.recent) == self.seq + 1

    def log_before(self, seq: int) -> Hash32 | None:
        """The running hash before entry `seq` (of entry 0: the room's id); None: not in memory."""
        if seq <= 0:
            return Hash32(self.room)
        entry = self.recent.get(seq - 1)
        return None if entry is None else entry.log

    def log_at(self, seq: int) -> Hash32 | None:
        """The running hash after entry `seq`; None: not in memory.

        What stands before one of the last HUB_MOVEs is: root has signed it.
        """
        known = self.log if seq == self.seq else self.log_before(seq + 1)
        if known is None:
            seen = [record.seen for record in self._moves() if record.seen.seq == seq]
            known = seen[-1].log if seen else None
        return known

    def _moves(self) -> list[HubMove]:
        records = [peek(envelope).record for envelope in self.moves]
        return [record for record in records if isinstance(record, HubMove)]

    @property
    def last_told(self) -> SignedRecord | None:
        """The last HUB_MOVE that was told, and taken, and that the copy is not as far as.

        None also where this log is another one than theirs: then they have to be taken anew.
        """
        return peek(self.told[-1]) if self.told and not self.leaves_told(self.seq) else None

    def leaves_told(self, seq: int) -> bool:
        """Whether another entry, up to `seq`, stands where one of the told HUB_MOVEs would."""
        told = map(peek, self.told)
        return any(seen_of(one).seq < seq and one.event_id not in self.chain for one in told)

    def check_seen(self, seen: Seen) -> None:
        """Raises `Refusal` unless `seen` is a position of this log (protocol.md §2.2)."""
        if self.lost or self.awaits is not None or self.ahead is not None:
            raise Refusal(Code.TRY_AGAIN)  # what comes next in the log is known, and on its way
        if seen.seq > self.seq:
            raise Refusal(Code.HUB_BEHIND, seq=self.seq)
        entry = self.recent.get(seen.seq)
        if entry is None:
            raise Refusal(Code.SEEN_STALE, seq=self.seq)
        if entry.log != seen.log:
            raise Refusal(Code.FORK, seq=self.seq)

    def sender(self, mid: MemberId) -> SenderState:
        """The sender's last event; before the first: counter 0 and the room's id."""
        return self.senders.get(mid) or SenderState(0, EventId(self.room))

    def knows(self, member: Member) -> bool:
        """Whether this hub may hold the member to `sender`: not of a time that is not here.

        In a room that was moved, whoever came after that and is none of `senders` never spoke,
        however far the floor has risen since. Who takes a hub's log in holds nobody to more than
        this: see `following.Walk.sender`.
        """
        moved = self.state.moved
        return member.mid in self.senders or (
            member.joined_seq > moved[-1].since if moved else member.joined_seq >= self.floor
        )

    def require_space(self, members_per_room: int) -> None:
        """Raises `Refused` (room_full) when nobody else can be admitted."""
        if len(self.state.members) >= min(self.state.policy.max_members, members_per_room):
            raise Refused(Code.ROOM_FULL)

    def admitters(self, invite_id: InviteId) -> list[Member]:
        """The members who may answer this open invite now."""
        invite = self.state.invites.get(invite_id)
        listed = invite.admitters if invite else ()
        members = (self.state.members.get(mid) for mid in listed)
        return [member for member in members if member is not None and member.may_admit]

    def joins_of(self, invite_id: InviteId) -> list[Join]:
        """The join requests under this invite."""
        return [join for join in self.joins.values() if join.row.invite_id == invite_id]

    # -- changes ---------------------------------------------------------------------------------

    def append(
        self, signed: SignedRecord, mid: MemberId, now: int, *, cell: bytes = b""
    ) -> LogAppended:
        """Put a record at the end of the log."""
        event = signed.record if isinstance(signed.record, Event) else None
        event_id, seq = signed.event_id, self.seq + 1
        # Decision: L_0 is the room's id, which already commits to GENESIS.
        log = log_hash(self.log, seq, event_id) if seq else self.log
        sid = event.sid if event else None
        self.seq, self.log = seq, log
        self._remember(LogEntry(seq, event_id, log, mid, sid))
        if event is None:
            self.chain[event_id] = seq
            self.chain_bytes += chain_size(signed.envelope)
        else:
            self.senders[mid] = SenderState(event.counter, event_id)
        return LogAppended(
            room=self.room,
            seq=seq,
            event_id=event_id,
            log=log,
            mid=mid,
            control=event is None,
            record=signed.envelope,
            cell=cell,
            sid=sid,
            counter=event.counter if event else None,
            ts=now,
        )

    def advance(self, signed: SignedRecord, state: RoomState) -> None:
        """`state` is what follows from this control record."""
        record = signed.record
        if isinstance(record, HubMove):
            self.moves = (*self.moves, signed.envelope)[-limits.MOVES_TOLD :]
        if isinstance(record, Admit):
            invite = self.state.invites[record.invite_id]
            self.used_invites[invite.invite_id] = invite.commit
        if isinstance(record, Leave | Home | RekeyBoxed):
            gone = {*self.state.homes.values()} - {*state.homes.values()}
            self.parted |= dict.fromkeys(gone, state.seq)
        self.chain[state.ctl] = state.seq
        self.state = state

    def skip_to(self, floor: int, log: Hash32) -> None:
        """Of a copy: go on at `floor`. Whoever spoke before may have spoken in between."""
        self.seq, self.log, self.floor = floor - 1, log, floor
        for entry in [e for e in self.recent.values() if e.seq <= self.seq - RECENT_ENTRIES]:
            self._leave(self.recent.pop(entry.seq))
        unknown = EventId(b"")
        self.senders = {mid: evolve(s, last=unknown) for mid, s in self.senders.items()}

    def settle_senders(self, own: RelayId) -> list[SenderLearnt]:
        """The room has moved: what is known of its senders from now on, where that changes.

        Its new hub keeps what it knows; who never spoke here, in a copy that they came into, is
        held to that. It may know less than others do, so everybody else takes its word for where
        each sender stands, until that sender has spoken.
        """
        unheard, unknown = EventId(self.room), EventId(b"")
        learnt: dict[MemberId, SenderState] = {}
        for mid, member in self.state.members.items():
            if self.state.hub != own:
                learnt[mid] = evolve(self.sender(mid), last=unknown)
            elif mid not in self.senders and member.joined_seq >= self.floor:
                learnt[mid] = SenderState(0, unheard)
        learnt = {mid: last for mid, last in learnt.items() if self.senders.get(mid) != last}
        self.senders |= learnt
        return [SenderLearnt(self.room, mid, last) for mid, last in learnt.items()]

    def take_over(self, held: RoomLog) -> list[SenderLearnt]:
        """Take the place of `held`, the same room with more at its end, which is void.

        What is not of the log stays as it is in memory now. Who has spoken in what is void, and not
        before, as far as is known here, may have done so elsewhere.
        """
        self.cursors = {mid: min(seq, self.seq) for mid, seq in held.cursors.items()}
        self.joins = {}
        self.key_asks, self.blob_bytes, self.uploads = held.key_asks, held.blob_bytes, held.uploads
        self.outbox, self.outbox_bytes, self.waiting = (
            held.outbox,
            held.outbox_bytes,
            held.waiting,
        )
        self.refill_after, self.touched = held.refill_after, held.touched
        unheard = SenderState(0, EventId(b""))
        self.senders |= dict.fromkeys(held.senders.keys() - self.senders.keys(), unheard)
        return [
            SenderLearnt(self.room, mid, last)
            for mid, last in self.senders.items()
            if held.senders.get(mid) != last
        ]

    def free(self, mid: MemberId, size: int) -> None:
        """`size` bytes of attachments of `mid` no longer count."""
        left = self.blob_bytes.pop(mid, 0) - size
        if left > 0:
            self.blob_bytes[mid] = left

    def put_waiting(self, row: OutboxRow) -> None:
        """Something waits for the hub, in place of what did under this sid."""
        self.drop_waiting(row.mid, row.sid)
        self.outbox[row.mid, row.sid] = row
        self.outbox_bytes += row.size
        self.waiting.setdefault(row.mid, Waiting()).put(row)

    def drop_waiting(self, mid: MemberId, sid: Sid) -> bool:
        """It waits no more; whether it did."""
        row = self.outbox.pop((mid, sid), None)
        if row is None:
            return False
        self.outbox_bytes -= row.size
        if not self.waiting[mid].drop(row):
            del self.waiting[mid]
        return True

    def put_join(self, row: JoinRow) -> Join:
        """Insert or replace a join."""
        join = Join.read(row)
        self.joins[join.key] = join
        return join

    def _remember(self, entry: LogEntry) -> None:
        self.recent[entry.seq] = entry
        self.by_event[entry.event_id] = entry
        if entry.sid is not None:
            self.by_sid[entry.mid, entry.sid] = entry
        old = self.recent.pop(entry.seq - RECENT_ENTRIES, None)
        if old is not None:
            self._leave(old)

    def _leave(self, old: LogEntry) -> None:
        """An entry is too old to be remembered."""
        self.by_event.pop(old.event_id, None)
        if old.sid is not None and self.by_sid.get((old.mid, old.sid)) is old:
            del self.by_sid[old.mid, old.sid]


def _read(envelope: bytes, kind: type[JoinRequest]) -> JoinRequest:
    record = peek(envelope).record
    if not isinstance(record, kind):
        raise BadSnapshot("a stored join request is another kind of record")
    return record


def chain_size(envelope: bytes) -> int:
    """What a control record counts against `CHAIN_BYTES`."""
    return len(envelope) + limits.CHAIN_OVERHEAD


def expired(ts: int, days: int, now: int) -> bool:
    """Whether what was stored at `ts` is older than `days`."""
    return now - ts > days * DAY_MS
