"""Facts: what the relay decided and the store must hold, and what it must give back.

The hub commits the facts of one batch in order, in one transaction. `RoomSnapshot` is all that the
relay needs to have a room in memory again.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from attrs import field, frozen

from ofcd.protocol.ids import BlobId, EventId, Hash32, InviteId, MemberId, RelayId, RoomId, Sid

__all__ = [
    "CACHED",
    "RECENT_ENTRIES",
    "UNWILLING",
    "BlobDropped",
    "BlobStored",
    "BoxStored",
    "CellRedacted",
    "ChainCopied",
    "ChainRecord",
    "CopySkipped",
    "CursorMoved",
    "EvidenceKept",
    "Fact",
    "HeadKept",
    "HubAwaited",
    "JoinDropped",
    "JoinRow",
    "JoinStage",
    "JoinStored",
    "KeyRequestDropped",
    "KeyRequestRow",
    "KeyRequestStored",
    "LogAppended",
    "LogCut",
    "LogEntry",
    "MovesKept",
    "OutboxDropped",
    "OutboxRow",
    "OutboxStored",
    "ReplicaFounded",
    "ReplicaMoved",
    "RoomFounded",
    "RoomFrozen",
    "RoomSnapshot",
    "SenderLearnt",
    "SenderState",
]


@frozen
class RoomFounded:
    """A room exists; its GENESIS follows as `LogAppended` number 0."""

    room: RoomId
    creator: MemberId
    ts: int
    floor: int = 0
    """For a copy that begins later: the first entry that is all here."""
    floor_log: bytes = b""
    """The running hash before it."""


@frozen
class ReplicaFounded:
    """The room is a copy of what the relay `hub` orders."""

    room: RoomId
    hub: RelayId


@frozen
class ReplicaMoved:
    """Another relay orders the room from now on: `hub`; None where it is this one."""

    room: RoomId
    hub: RelayId | None


@frozen
class MovesKept:
    """The room was moved: its last HUB_MOVEs, to be told to whoever has not heard."""

    room: RoomId
    ts: int
    """When root signed the last one."""
    records: tuple[bytes, ...] = field(repr=False)
    before: RelayId
    """Who had the room until then."""


@frozen
class LogCut:
    """What stood in the log behind entry `end` is void: the room was moved without it.

    With it go key boxes and joins; how far senders had come follows as `SenderLearnt`.
    """

    room: RoomId
    before: int
    """The last entry so far."""
    end: int
    log: Hash32
    """The running hash after `end`."""
    ts: int


@frozen
class HubAwaited:
    """Before this relay orders on, `relay` says what it knows of; None: it has, or is too late."""

    room: RoomId
    relay: RelayId | None


@frozen
class ChainCopied:
    """A control record of the time before a copy's floor; where it stands is the hub's word."""

    room: RoomId
    seq: int
    event_id: EventId
    mid: MemberId
    record: bytes = field(repr=False)
    ts: int = 0


@frozen
class CopySkipped:
    """A copy goes on at `floor`: its hub keeps no event of what comes after `before` until then.

    Control records of the stretch follow as `ChainCopied`. Who spoke last before it may have
    spoken in it.
    """

    room: RoomId
    before: int
    floor: int
    log: Hash32
    """The running hash before `floor`."""
    ts: int
    head: bytes = field(default=b"", repr=False)
    """The LOG_HEAD by which the hub had so long a log."""


@frozen
class SenderLearnt:
    """The hub has said which event of a sender's is its last there."""

    room: RoomId
    mid: MemberId
    last: SenderState


@frozen
class HeadKept:
    """The hub's latest signed LOG_HEAD that fits the copy."""

    room: RoomId
    seq: int
    head: bytes = field(repr=False)


@frozen
class RoomFrozen:
    """The hub was caught lying: `code` says how; "" takes it back.

    Or this relay was made the hub, against its will (`UNWILLING`).
    """

    room: RoomId
    code: str


@frozen
class EvidenceKept:
    """What was signed and can not all be true."""

    room: RoomId
    ts: int
    code: str
    records: tuple[bytes, ...] = field(repr=False)


@frozen
class OutboxRow:
    """An event of a local member that waits for the room's hub; unique by (room, mid, sid)."""

    room: RoomId
    mid: MemberId
    sid: Sid
    counter: int
    event_id: EventId
    ts: int
    record: bytes = field(repr=False)
    cell: bytes = field(repr=False)

    @property
    def size(self) -> int:
        """Bytes that it takes."""
        return len(self.record) + len(self.cell)


@frozen
class OutboxStored:
    """Insert or replace what waits for the hub."""

    row: OutboxRow

    @property
    def room(self) -> RoomId:
        """The room it is about."""
        return self.row.room


@frozen
class OutboxDropped:
    """It is in the log, or came back."""

    room: RoomId
    mid: MemberId
    sid: Sid


@frozen
class LogAppended:
    """Entry `seq` of the room log: a control record or an event.

    Unique by (room, seq) and by (room, event_id). Events are looked up by (room, mid, sid), the
    lowest seq first; that is NOT unique: the core keeps a sender from using a sid twice only
    within `RECENT_ENTRIES`, so a unique index would let one hostile sender fail whole batches.
    """

    room: RoomId
    seq: int
    event_id: EventId
    log: Hash32
    """Running hash of the room log after this entry."""
    mid: MemberId
    control: bool
    record: bytes = field(repr=False)
    cell: bytes = field(default=b"", repr=False)
    sid: Sid | None = None
    counter: int | None = None
    ts: int = 0
    """When the relay took it, milliseconds since 1970."""


@frozen
class BoxStored:
    """The key box of `mid` for the boxed REKEY at `seq`."""

    room: RoomId
    seq: int
    mid: MemberId
    box: bytes = field(repr=False)


@frozen
class CursorMoved:
    """`mid` has everything up to `seq` on its own disk. Never moves back."""

    room: RoomId
    mid: MemberId
    seq: int
    ts: int


class JoinStage(StrEnum):
    """How far a join has come; the values are those of `frames.JoinState`."""

    PENDING = "pending"
    ANSWERED = "answered"
    CONFIRMED = "confirmed"
    ADMITTED = "admitted"


@frozen
class JoinRow:
    """One join request and what came of it; unique by (room, invite_id, request_hash)."""

    room: RoomId
    invite_id: InviteId
    request_hash: Hash32
    mid: MemberId
    """The joiner."""
    stage: JoinStage
    request: bytes = field(repr=False)
    response: bytes = field(default=b"", repr=False)
    confirm: bytes = field(default=b"", repr=False)
    ts: int = 0


@frozen
class JoinStored:
    """Insert or replace a join."""

    row: JoinRow

    @property
    def room(self) -> RoomId:
        """The room it is about."""
        return self.row.room


@frozen
class JoinDropped:
    """Forget a join that expired or lost to another one."""

    room: RoomId
    invite_id: InviteId
    request_hash: Hash32


@frozen
class KeyRequestRow:
    """A member's KEY_REQ, and its answer once there is one; kept while its epoch lasts."""

    room: RoomId
    mid: MemberId
    request: bytes = field(repr=False)
    ts: int = 0
    answer: bytes = field(default=b"", repr=False)
    box: bytes = field(default=b"", repr=False)


@frozen
class KeyRequestStored:
    """Insert or replace a member's KEY_REQ."""

    row: KeyRequestRow

    @property
    def room(self) -> RoomId:
        """The room it is about."""
        return self.row.room


@frozen
class KeyRequestDropped:
    """The KEY_REQ's epoch is over, or its member is gone."""

    room: RoomId
    mid: MemberId


CACHED: Final = MemberId(bytes(32))
"""In place of a member: whose a blob is that was had from another relay, and is nobody's here."""


@frozen
class BlobStored:
    """One sealed chunk of an attachment; a repeat changes nothing."""

    room: RoomId
    blob: BlobId
    index: int
    count: int
    mid: MemberId
    ts: int
    chunk: bytes = field(repr=False)


@frozen
class CellRedacted:
    """Drop the cell of event `target`, if `by` sent it or `any_sender` holds; keep its record."""

    room: RoomId
    target: EventId
    by: MemberId
    any_sender: bool


@frozen
class BlobDropped:
    """Forget an attachment, if it is `mid`'s: its message was redacted."""

    room: RoomId
    blob: BlobId
    mid: MemberId


Fact = (
    RoomFounded
    | LogAppended
    | BoxStored
    | CursorMoved
    | JoinStored
    | JoinDropped
    | KeyRequestStored
    | KeyRequestDropped
    | BlobStored
    | BlobDropped
    | CellRedacted
    | ReplicaFounded
    | ReplicaMoved
    | MovesKept
    | LogCut
    | HubAwaited
    | ChainCopied
    | CopySkipped
    | SenderLearnt
    | HeadKept
    | RoomFrozen
    | EvidenceKept
    | OutboxStored
    | OutboxDropped
)


@frozen
class ChainRecord:
    """One record of the control log."""

    seq: int
    event_id: EventId
    record: bytes = field(repr=False)


@frozen
class LogEntry:
    """What the relay remembers of a recent entry: enough for `seen` checks and repeats."""

    seq: int
    event_id: EventId
    log: Hash32
    mid: MemberId
    sid: Sid | None


@frozen
class SenderState:
    """A sender's last event; or, with an empty `last`, one that others may have followed since."""

    counter: int
    last: EventId

    @property
    def is_certain(self) -> bool:
        """Whether this was the last one: nothing is missing here since."""
        return bool(self.last)

    def follows(self, counter: int) -> bool:
        """Whether an event of this number may come next."""
        return counter == self.counter + 1 if self.is_certain else counter > self.counter


@frozen
class RoomSnapshot:
    """All the relay needs of a room: its whole control log, and the recent end of its room log."""

    room: RoomId
    chain: tuple[ChainRecord, ...]
    seq: int
    log: Hash32
    recent: tuple[LogEntry, ...]
    """The last entries in order, the head included; at most `RECENT_ENTRIES`."""
    senders: Mapping[MemberId, SenderState]
    cursors: Mapping[MemberId, int]
    joins: tuple[JoinRow, ...]
    key_requests: tuple[KeyRequestRow, ...]
    blob_bytes: Mapping[MemberId, int]
    """Bytes of attachment chunks stored, by member."""
    floor: int = 0
    """Where a copy begins, and a room that was one before it was moved here."""
    outbox: tuple[OutboxRow, ...] = ()
    """What waits for the hub, oldest first."""
    hub: RelayId | None = None
    """Who orders the room, for a copy."""
    head: bytes = field(default=b"", repr=False)
    """The hub's latest LOG_HEAD, for a copy."""
    frozen: str = ""
    """Why nothing can be said in this copy; "" for nothing."""
    awaits: RelayId | None = None
    """Who has to speak before this relay orders on."""
    told: tuple[bytes, ...] = field(default=(), repr=False)
    """The room's last HUB_MOVEs; a copy need not be as far as the last one."""


UNWILLING = "unwilling"
"""In place of what the hub was caught at: this relay was made the hub, and takes over no rooms."""
RECENT_ENTRIES = 1024
"""How far back `seen` may point, and repeats are answered from memory."""
