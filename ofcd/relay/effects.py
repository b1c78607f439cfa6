"""Effects: what the shell does once the facts of the same decision are committed.

In order, and with no rules of its own: where a lookup in the store decides what a client is told,
the effect has a method that turns what was found into the frame to send.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NewType

from attrs import field, frozen

from ofcd.protocol import frames
from ofcd.protocol.codes import SENTENCES, Code
from ofcd.protocol.ids import BlobId, EventId, Hash32, MemberId, RelayId, RoomId, Sid
from ofcd.relay.facts import ChainRecord, Fact, LogEntry

__all__ = [
    "Appended",
    "Arrive",
    "Backlog",
    "Close",
    "Decision",
    "Effect",
    "FindEvent",
    "FindSid",
    "FindUpload",
    "Forward",
    "HubMoved",
    "LinkId",
    "Push",
    "ReadBlob",
    "ReadChain",
    "Redacted",
    "Reply",
    "Rewound",
    "Stir",
    "Subscribe",
    "Unsubscribe",
]

LinkId = NewType("LinkId", int)
"""The shell's number for one authenticated connection; never used twice."""


@frozen
class Reply:
    """The answer to a request of this link."""

    link: LinkId
    frame: frames.RelayFrame


@frozen
class Push:
    """A small frame that nobody on this link asked for.

    One frame for many links is one object in many pushes, so that it need be encoded only once.
    """

    link: LinkId
    frame: frames.RelayFrame


@frozen
class Appended:
    """Entry `seq` is in the room log: feed it to every link that is subscribed to the room.

    `boxes` are the key boxes by addressee: each stands just before the delivery in the feed of
    its addressee, as `frames.Box`, and in nobody else's.
    """

    room: RoomId
    seq: int
    delivery: frames.Delivery
    boxes: Mapping[MemberId, bytes] = field(factory=dict, repr=False)
    members_changed: bool = False
    """Someone came or went with this entry: what readers share must be made anew before it."""


@frozen
class Redacted:
    """The cell of entry `seq` is gone: drop it from memory too (rings of `RECENT_ENTRIES`)."""

    room: RoomId
    seq: int


@frozen
class Subscribe:
    """Answer `synced(...)`, then feed this link from `start` on, as member `mid`.

    `log` is the running hash before `start`; None when it is older than memory: then read it
    (that of entry `start - 1`). Where retention has removed entries from `start` on, `floor` is the
    first seq from which on there are no gaps, and the hash is the one before that. A subscription
    of the same link and room replaces the one before; nothing is fed after a `Failure`.
    """

    link: LinkId
    rid: int
    room: RoomId
    mid: MemberId
    start: int
    head: int
    log: Hash32 | None
    claimed: Hash32 | None = None
    """What the client holds the hash before `start` to be, where the core could not check it."""
    last: int | None = None
    """The last entry that is fed at all: the log ends there, for whoever reads it."""
    begins: bool = False
    """The reader knows nothing of the log yet: it begins where nothing is missing after."""

    def synced(
        self, floor: int, log: Hash32, last: int | None = None
    ) -> frames.Synced | frames.Failure:
        """What to tell the client: `log` is the running hash before max(`start`, `floor`).

        `last`: the end of what it is fed, where that is not the head.
        """
        head = self.head if last is None else min(self.head, last)
        if self.claimed is not None and floor <= self.start and self.claimed != log:
            return _failure(self.rid, Code.FORK)
        return frames.Synced(self.rid, self.room, self.start, floor, log, head)


@frozen
class Backlog:
    """`mid` has come by this link: push it `Relay.backlog(...)`, as fast as the link takes it.

    It can be more than may wait for a link at once, so it is asked for when its turn comes.
    """

    link: LinkId
    room: RoomId
    mid: MemberId


@frozen
class Unsubscribe:
    """Feed nothing more of this room to this link, from this effect on."""

    link: LinkId
    room: RoomId


@frozen
class Close:
    """Send this last frame and end the link."""

    link: LinkId
    failure: frames.Failure


@frozen
class FindSid:
    """Look up the event of `mid` under `sid`, older than memory, and reply `found(...)`."""

    link: LinkId
    rid: int
    room: RoomId
    mid: MemberId
    sid: Sid
    event_id: EventId
    otherwise: frames.Failure
    """The answer where there is no such event."""

    def found(self, entry: LogEntry | None) -> frames.Ack | frames.Failure:
        """The same Ack as the first time, or why not (protocol.md §2.5, ACK)."""
        if entry is None:
            return self.otherwise
        if entry.event_id != self.event_id:
            return _failure(self.rid, Code.SID_CONFLICT, seq=entry.seq, event_id=entry.event_id)
        return frames.Ack(self.rid, entry.event_id, entry.seq, entry.log, self.sid)


@frozen
class FindEvent:
    """Look up the control record `event_id`, older than memory, and reply `found(...)`."""

    link: LinkId
    rid: int
    room: RoomId
    event_id: EventId

    def found(self, entry: LogEntry | None) -> frames.Ack | frames.Failure:
        """The same Ack as the first time."""
        if entry is None:
            return _failure(self.rid, Code.CONFLICT)
        return frames.Ack(self.rid, entry.event_id, entry.seq, entry.log)


@frozen
class FindUpload:
    """Look up whose attachment the store has under this id, and reply `Relay.uploaded(...)`.

    For a chunk of one that memory does not know: the store passes over what is another's.
    """

    link: LinkId
    rid: int
    room: RoomId
    blob: BlobId
    mid: MemberId
    count: int
    size: int


@frozen
class ReadChain:
    """Read the room's control records with seq >= `start`, in order, and reply `page(...)`."""

    link: LinkId
    rid: int
    room: RoomId
    start: int
    max_records: int
    max_bytes: int
    """All records of a page together; but a page that is not the last holds at least one."""

    def page(self, records: Sequence[ChainRecord], more: bool) -> frames.ChainPage:
        """The page to send; `more` where the log goes on after the last of `records`."""
        return frames.ChainPage(
            self.rid,
            self.room,
            tuple(record.seq for record in records),
            more,
            tuple(record.record for record in records),
        )


@frozen
class ReadBlob:
    """Read one chunk of an attachment and reply `found(...)` or `missing()`."""

    link: LinkId
    rid: int
    room: RoomId
    blob: BlobId
    index: int

    def found(self, count: int, chunk: bytes) -> frames.Blob:
        """The chunk, and how many there are."""
        return frames.Blob(self.rid, count, chunk)

    def missing(self) -> frames.Failure:
        """There is no such chunk here."""
        return _failure(self.rid, Code.BLOB_GONE)


@frozen
class Forward:
    """Ask the room's hub, and give the link its answer: the frame as it came.

    As `mid`, who is at home here; or, where that is None, as a stranger who joins.
    """

    link: LinkId
    hub: RelayId
    hub_url: str
    room: RoomId
    mid: MemberId | None
    frame: frames.ClientFrame
    joiner: MemberId | None = None
    """Who would be the member, where this is a request to join."""
    others: tuple[RelayId, ...] = ()
    """Where it is not there, relays to ask next: what was stored with a hub of before."""
    missed: bool = False
    """One that may have it could not be asked: it is not known to be gone."""
    quiet: bool = False
    """Nobody waits for the answer."""


@frozen
class Arrive:
    """Have this room of the hub's here for `mid`, if it is at home here; then take the frame again.

    The frame is its Attach, whose signature nobody can check before.
    """

    link: LinkId
    hub: RelayId
    hub_url: str
    room: RoomId
    mid: MemberId
    frame: frames.Attach


@frozen
class Stir:
    """Something waits for this room's hub: send it."""

    hub: RelayId
    room: RoomId


@frozen
class Rewound:
    """The end of a room's log was taken back: who reads it comes back, and reads on from there."""

    room: RoomId


@frozen
class HubMoved:
    """With entry `seq`, another relay orders the room: `hub`, reached at `urls`; perhaps this one.

    It stands before the entry's `Appended`.
    """

    room: RoomId
    seq: int
    before: RelayId
    hub: RelayId
    urls: tuple[str, ...]
    ts: int = 0
    """When root signed it."""
    told: tuple[bytes, ...] = field(default=(), repr=False)
    """The room's last HUB_MOVEs: for whoever has not heard of it."""


Effect = (
    Reply
    | Push
    | Appended
    | Redacted
    | Subscribe
    | Backlog
    | Unsubscribe
    | Close
    | FindSid
    | FindEvent
    | FindUpload
    | ReadChain
    | ReadBlob
    | Forward
    | Arrive
    | Stir
    | HubMoved
    | Rewound
)


@frozen
class Decision:
    """Facts to commit, in order and in one transaction; then, and only then, the effects."""

    facts: tuple[Fact, ...] = ()
    effects: tuple[Effect, ...] = ()


def _failure(
    rid: int,
    code: Code,
    text: str | None = None,
    *,
    seq: int | None = None,
    event_id: EventId | None = None,
) -> frames.Failure:
    return frames.Failure(rid, code.value, text or SENTENCES[code], seq, event_id)
