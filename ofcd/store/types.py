"""What the store gives back besides `RoomSnapshot`: pages, summaries, reports; and its policy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from struct import Struct
from typing import Final

from attrs import field, frozen
from attrs.validators import ge

from ofcd.protocol import limits
from ofcd.protocol.codec import split_parts
from ofcd.protocol.ids import BlobId, Hash32, MemberId, RelayId, RoomId
from ofcd.relay.facts import ChainRecord

__all__ = [
    "GAP_CODE",
    "MAX_PAST_HUBS",
    "MOVES_CODE",
    "BlobChunk",
    "BlobInfo",
    "CachedBlob",
    "ChainPage",
    "CheckReport",
    "Durability",
    "Evidence",
    "Gap",
    "Hole",
    "KeptMoves",
    "LogPage",
    "LogRow",
    "PeerRow",
    "Replica",
    "Retention",
    "RetentionReport",
    "RoomSummary",
]


class Durability(StrEnum):
    """What a commit survives once it returned; the values are those of the setting."""

    FULL = "full"
    """kill -9, a crash of the system, a power cut: the log is synced to disk at each commit."""
    NORMAL = "normal"
    """kill -9; a power cut or a crash of the system may take the last moments with it."""


@frozen
class LogRow:
    """One entry of the room log as it is delivered to one member."""

    seq: int
    record: bytes = field(repr=False)
    cell: bytes = field(default=b"", repr=False)
    """Empty for control records and redacted events."""
    box: bytes = field(default=b"", repr=False)
    """The member's key box, where the entry is a boxed REKEY that has one for it."""


@frozen
class LogPage:
    """Entries in order of seq.

    Below `floor` retention has been: of what it removed nothing is left but control records (and
    their boxes), so those rows have gaps between them; from `floor` on there are none, but for the
    `Hole`s of a copy, of which the control records are here, too.
    """

    rows: tuple[LogRow, ...]
    floor: int
    next_seq: int
    """Where the next page starts."""
    more: bool
    """Whether there was more in the store than fits this page."""


@frozen
class ChainPage:
    """Control records in order of seq; `more` says whether others follow the last of them."""

    records: tuple[ChainRecord, ...]
    more: bool


@frozen
class BlobChunk:
    """One sealed chunk of an attachment of `count` chunks, which `mid` stored."""

    mid: MemberId
    count: int
    chunk: bytes = field(repr=False)


@frozen
class BlobInfo:
    """Whose attachment it is, how many chunks it has, and how many of them (and bytes) are here."""

    blob: BlobId
    mid: MemberId
    count: int
    stored: int
    bytes: int


@frozen
class RoomSummary:
    """A room in figures, for the operator. Times are milliseconds since 1970."""

    room: RoomId
    creator: MemberId
    founded: int
    seq: int
    """Number of the last entry of its log."""
    floor: int
    events: int
    """Events that are kept, control records not counted."""
    bytes: int
    """Their records and cells."""
    last_ts: int
    """When its log last grew."""


@frozen
class PeerRow:
    """Another relay, as it is known here. Times are milliseconds since 1970; 0 for never."""

    relay_id: RelayId
    key: bytes = field(default=b"", repr=False)
    """Its R, once a link has proven it."""
    url: str = ""
    """Where it was last said to be reached; "" for nowhere."""
    name: str = ""
    pinned: str = ""
    """What vouches for the id: `config`, `invite`, `domain` or `link` (it dialled)."""
    counter: int = 0
    """Of its latest descriptor."""
    ts: int = 0
    """When it was first heard of."""
    contact: int = 0
    """When a link to it was last open."""
    state: str = "idle"
    """idle, up, waiting or quarantined."""
    detail: str = ""
    """Why there is no link, or why it is quarantined, in words."""
    quarantined: int = 0
    """Nothing is taken from it until then."""
    links: int = 0
    """How many links there were."""
    succession: bytes = field(default=b"", repr=False)
    """How it came to its key: the statements, as parts."""
    disputed: bytes = field(default=b"", repr=False)
    """Statements, as parts, of which the last is against one in `succession`; "" for none."""

    @property
    def statements(self) -> Sequence[bytes]:
        """What `succession` holds."""
        return split_parts(self.succession, max_parts=limits.SUCCESSIONS)

    @property
    def branch(self) -> Sequence[bytes]:
        """What `disputed` holds."""
        return split_parts(self.disputed, max_parts=limits.SUCCESSIONS)


@frozen
class Replica:
    """A copy of a room that another relay orders, and what waits here for it."""

    room: RoomId
    hub: RelayId
    seq: int
    frozen: str
    waiting: int = 0
    """Events of local members that the hub has not taken."""
    waiting_bytes: int = 0
    oldest: int = 0
    """When the oldest of them came."""


@frozen
class Evidence:
    """What was signed and can not all be true."""

    room: RoomId
    ts: int
    code: str
    records: tuple[bytes, ...] = field(repr=False)


_RANGE: Final = Struct(">QQ")
GAP_CODE: Final = "history_gap"
"""Kept among the evidence, under this code: it proves nothing, but somebody has to be told."""
MOVES_CODE: Final = "moved"
"""So are the HUB_MOVEs of a room that was moved: others have to be told."""


@frozen
class Gap:
    """A stretch of a copy whose events its hub no longer kept when this relay came for them."""

    room: RoomId
    ts: int
    first: int
    last: int
    head: bytes = field(default=b"", repr=False)
    """The LOG_HEAD by which the hub had so long a log."""

    @classmethod
    def unpacked(cls, room: RoomId, ts: int, raw: bytes) -> Gap:
        """As it is stored."""
        first, last = _RANGE.unpack_from(raw)
        return cls(room, ts, first, last, raw[_RANGE.size :])

    @property
    def packed(self) -> bytes:
        """For the store."""
        return _RANGE.pack(self.first, self.last) + self.head


MAX_PAST_HUBS: Final = 64
"""Of one room: those that stand in no log are few, unless its root makes them up."""


@frozen
class KeptMoves:
    """The last HUB_MOVEs of a room that was moved."""

    room: RoomId
    ts: int
    """When root signed the last one."""
    records: tuple[bytes, ...] = field(repr=False)
    hearers: frozenset[RelayId] | None = None
    """Who has to be told of them; None where that is not noted yet."""
    past: frozenset[RelayId] = frozenset()
    """Who had the room before; those of a time that is void are in no log."""


@frozen
class CachedBlob:
    """An attachment that was had from another relay, as far as it is here."""

    room: RoomId
    blob: BlobId
    size: int
    """Bytes of it that are stored."""


@frozen
class Hole:
    """A stretch that a copy lacks, where what stands before it may be read."""

    first: int
    next: int
    """The first entry after it."""
    log: Hash32
    """The running hash before that."""


@frozen
class Retention:
    """What to keep of each room; 0 means: no limit of this kind."""

    max_age_ms: int = field(default=0, validator=ge(0))
    max_events: int = field(default=0, validator=ge(0))
    max_bytes: int = field(default=0, validator=ge(0))
    idle_ms: int = field(default=0, validator=ge(0))
    """A member unseen for this long no longer holds up the removal of its old key boxes."""

    @property
    def keeps_all(self) -> bool:
        """Whether there is nothing that it would ever remove."""
        return not (self.max_age_ms or self.max_events or self.max_bytes)


@frozen
class RetentionReport:
    """What one call removed; while `more`, call again."""

    rooms: int = 0
    """Rooms that something was removed of."""
    events: int = 0
    bytes: int = 0
    """Of events, boxes and attachments."""
    boxes: int = 0
    blobs: int = 0
    """Attachments that are gone entirely."""
    more: bool = False
    floors: Mapping[RoomId, int] = field(factory=dict)
    """Rooms whose history now starts at this seq: older events must go from memory as well."""
    freed: Mapping[tuple[RoomId, MemberId], int] = field(factory=dict)
    """Bytes of attachments that no longer count against their members."""


@frozen
class CheckReport:
    """How the database is; `problems` are sentences, none if all is well."""

    revision: str | None
    """The schema's revision; None for a database without one."""
    expected: str
    """The revision this version of ofcd works with."""
    bytes: int
    """Size of the database and its write-ahead log."""
    free_bytes: int
    """Free space on its disk."""
    problems: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems
