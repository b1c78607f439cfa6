"""Frames: what client and relay say to each other inside a Secure Session (docs/protocol.md).

`rid` is the client's number for a request; the relay's answer carries it. Fields marked `part()`
travel as raw bytes after the JSON head, in the order they are declared; `parts()` takes all that
are left and stands last.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import attrs
from attrs import field, frozen
from attrs.validators import ge, max_len, min_len

from ofcd.protocol import limits
from ofcd.protocol.codec import build, dump_json, join_parts, parse_json, split_parts, unbuild
from ofcd.protocol.codes import Code, Malformed
from ofcd.protocol.ids import (
    BlobId,
    EventId,
    Hash32,
    InviteId,
    MemberId,
    PublicKey,
    RelayId,
    RoomId,
    Sid,
)
from ofcd.protocol.parts import optional_part, part, parts
from ofcd.protocol.peering import (
    Follow,
    LaneAsk,
    LaneClose,
    LaneLost,
    LaneOpen,
    LaneTell,
    PeerBox,
    Ping,
    Pong,
    Refill,
    Unfollowed,
)

__all__ = [
    "CLIENT_FRAMES",
    "PEER_FRAMES",
    "RELAY_FRAMES",
    "Ack",
    "Attach",
    "Attached",
    "Blob",
    "BlobDrop",
    "BlobGet",
    "BlobPut",
    "Box",
    "Bulk",
    "ChainGet",
    "ChainPage",
    "ClientFrame",
    "Control",
    "Create",
    "Cursor",
    "Delivery",
    "Detach",
    "Done",
    "Evidence",
    "Failure",
    "FeedKey",
    "Follow",
    "Frame",
    "Head",
    "Hello",
    "Join",
    "JoinAnswer",
    "JoinAsked",
    "JoinConfirm",
    "JoinConfirmed",
    "JoinState",
    "JoinStatus",
    "KeyAnswer",
    "KeyAnswered",
    "KeyAsked",
    "KeyRequest",
    "LaneAsk",
    "LaneClose",
    "LaneLost",
    "LaneOpen",
    "LaneTell",
    "Lookup",
    "Moved",
    "Peer",
    "PeerBox",
    "PeerFrame",
    "Peered",
    "Ping",
    "Pong",
    "Post",
    "Queued",
    "Refill",
    "RelayFrame",
    "RelayLimits",
    "Removed",
    "Returned",
    "Signal",
    "Signalled",
    "Successions",
    "Sync",
    "Synced",
    "Unfollowed",
    "Welcome",
    "decode_client_frame",
    "decode_peer_frame",
    "decode_relay_frame",
    "encode_frame",
    "join_frames",
    "split_frames",
]

_LONGEST_WAIT: Final = 600_000

# -- client to relay -----------------------------------------------------------------------------


@frozen
class Hello:
    """First frame of a client: the versions it speaks."""

    versions: tuple[int, ...] = field(validator=[min_len(1), max_len(limits.VERSIONS)])
    software: str = field(default="", validator=max_len(limits.SHORT_TEXT))


@frozen
class Create:
    """Found a room by its GENESIS; a repeat is the same room. Answer: `Ack` with seq 0."""

    rid: int
    token: str = field(default="", repr=False, validator=max_len(limits.SHORT_TEXT))
    """What this relay asks of those who found rooms, where it asks anything."""
    record: bytes = field(
        default=b"",
        kw_only=True,
        metadata={"part": "one"},
        validator=max_len(limits.RECORD_BYTES),
        repr=False,
    )


@frozen
class Attach:
    """Prove to be a member, here and now. Answer: `Attached`.

    `hub` and `hub_url`: the room's own relay, where that is another one; this relay may still have
    to fetch the room from there, for a member who is at home here only now.
    """

    rid: int
    hub: RelayId | None = field(default=None, kw_only=True)
    hub_url: str = field(default="", kw_only=True, validator=max_len(limits.URL_TEXT))
    record: bytes = part(limits.ATTACH_BYTES)


@frozen
class Detach:
    """Take the room off this link. Answer: `Done`."""

    rid: int
    room: RoomId


@frozen
class Sync:
    """Send me the room's events from `start` on, and all that follow, live. Answer: `Synced`.

    `log` is the running hash before `start` where the client has one: the relay refuses with
    `fork` if its own differs.
    """

    rid: int
    room: RoomId
    start: int
    log: Hash32 | None = None


@frozen
class Cursor:
    """All events up to `seq` are safely on the client's disk. No answer."""

    room: RoomId
    seq: int


@frozen
class Post:
    """Add an EVENT with its sealed cell. Answer: `Ack`, after commit."""

    rid: int
    room: RoomId
    record: bytes = part(limits.RECORD_BYTES)
    cell: bytes = part(limits.EVENT_BYTES)


@frozen
class Control:
    """Add a control record, with the boxes its list names, in that order. Answer: `Ack`."""

    rid: int
    room: RoomId
    record: bytes = part(limits.CONTROL_BYTES)
    boxes: tuple[bytes, ...] = parts(limits.ROOM_MEMBERS)


@frozen
class ChainGet:
    """Send me the control log from `start` on (members). Answer: `ChainPage`."""

    rid: int
    room: RoomId
    start: int


@frozen
class Lookup:
    """Send me the control log of the room I hold an invite for. Answer: `ChainPage`."""

    rid: int
    room: RoomId
    invite_id: InviteId
    proof: Hash32
    start: int = 0
    hub: RelayId | None = None
    """The relay that orders the room, where that is another one: ask there, and answer here."""
    hub_url: str = field(default="", validator=max_len(limits.URL_TEXT))
    """Where the invite says that it is reached."""


@frozen
class Join:
    """Ask in by JOIN_REQ; the same request again asks how far it has come. Answer: `JoinStatus`."""

    rid: int
    hub: RelayId | None = field(default=None, kw_only=True)
    hub_url: str = field(default="", kw_only=True, validator=max_len(limits.URL_TEXT))
    record: bytes = part(limits.JOIN_REQUEST_BYTES)


@frozen
class JoinAnswer:
    """An admitter's JOIN_RESP. Answer: `Done`. The relay hands it to the joiner with rid 0."""

    rid: int
    room: RoomId
    record: bytes = part(limits.RECORD_BYTES)


@frozen
class JoinConfirm:
    """The joiner's JOIN_CONFIRM. Answer: `JoinStatus`."""

    rid: int
    room: RoomId
    hub: RelayId | None = field(default=None, kw_only=True)
    hub_url: str = field(default="", kw_only=True, validator=max_len(limits.URL_TEXT))
    record: bytes = part(limits.RECORD_BYTES)


@frozen
class KeyRequest:
    """A stranded member's KEY_REQ; kept until answered. Answer: `Done`."""

    rid: int
    room: RoomId
    record: bytes = part(limits.KEY_REQUEST_BYTES)


@frozen
class KeyAnswer:
    """An owner's answer to a KEY_REQ, with its box. Answer: `Done`."""

    rid: int
    room: RoomId
    record: bytes = part(limits.RECORD_BYTES)
    box: bytes = part(limits.BOX_BYTES)


@frozen
class Signal:
    """A sealed ephemeral signal to all who are attached; never stored, never acknowledged."""

    room: RoomId
    epoch: int
    cell: bytes = part(limits.SIGNAL_BYTES)


@frozen
class BlobPut:
    """One sealed chunk of an attachment; repeats are harmless. Answer: `Done`, once stored."""

    rid: int
    room: RoomId
    blob: BlobId
    index: int
    count: int = field(validator=ge(1))
    chunk: bytes = part(limits.SEALED_CHUNK_BYTES)


@frozen
class BlobGet:
    """Send me one chunk of an attachment. Answer: `Blob`."""

    rid: int
    room: RoomId
    blob: BlobId
    index: int


@frozen
class BlobDrop:
    """Forget an attachment whose message was redacted. Answer: `Done`, also if it is not here.

    Only what `uploader` stored: a message may name an attachment that is not its sender's. For
    the uploader and owners.
    """

    rid: int
    room: RoomId
    blob: BlobId
    uploader: MemberId


@frozen
class Peer:
    """A relay introduces itself by its PEER record: the link is one of relays from the answer on.

    Answer: `Peered`.
    """

    rid: int
    record: bytes = part(limits.ATTACH_BYTES)
    succession: tuple[bytes, ...] = parts(limits.SUCCESSIONS)
    """As in `Welcome`."""


# -- relay to client -----------------------------------------------------------------------------


@frozen
class RelayLimits:
    """What this relay takes, so that a client can tell before it sends."""

    event_bytes: int
    blob_bytes: int
    room_members: int
    events_per_second: int
    requests_in_flight: int


@frozen
class Welcome:
    """First frame of a relay: the version chosen and the challenge to prove members against."""

    version: int
    challenge: Hash32
    relay_limits: RelayLimits
    ts: int
    name: str = field(default="", validator=max_len(limits.SHORT_TEXT))
    software: str = field(default="", validator=max_len(limits.SHORT_TEXT))
    succession: tuple[bytes, ...] = parts(limits.SUCCESSIONS)
    """How the relay came to its key from its first one: signed SUCCESSIONs, the oldest first."""


@frozen
class Failure:
    """A request failed (`rid`), or the link ends (rid 0). `seq` and `event_id` where they help."""

    rid: int
    code: str
    text: str
    seq: int | None = None
    event_id: EventId | None = None
    retry_after: int | None = None
    """Milliseconds to wait before trying again."""

    @property
    def wait(self) -> int:
        """The same as a client heeds it: ten minutes at most, 0 where the relay names none."""
        return min(self.retry_after or 0, _LONGEST_WAIT)


@frozen
class Done:
    """The request is done, and safely stored where it stores."""

    rid: int


@frozen
class Ack:
    """The record is committed as number `seq`, where the log's running hash is `log`."""

    rid: int
    event_id: EventId
    seq: int
    log: Hash32
    sid: Sid | None = None


@frozen
class Queued:
    """Your relay keeps the event for the room's own relay, which has not taken it yet.

    It is in the log once it is delivered; if it can not be taken, `Returned` says so.
    """

    rid: int
    event_id: EventId
    sid: Sid


@frozen
class Returned:
    """An event that was queued for the room's own relay came back, and is kept here no more.

    The fields are those of the `Failure` that it was refused with: `last` is its `event_id`.
    """

    room: RoomId
    sid: Sid
    event_id: EventId
    code: str
    text: str
    seq: int | None = None
    last: EventId | None = None


@frozen
class Moved:
    """The room was moved: the last HUB_MOVEs of its log, in order.

    To a client before `Attached`, and when something was just taken back; between relays as well.
    """

    room: RoomId
    records: tuple[bytes, ...] = parts(limits.MOVES_TOLD)


@frozen
class Attached:
    """You are `mid` in the room on this link; its log ends at `seq`; `cursor` is your last one.

    `counter` and `last` are those of your last event here: the relay's word, for a member that has
    lost its own.
    """

    rid: int
    room: RoomId
    seq: int
    log: Hash32
    cursor: int
    counter: int = 0
    last: EventId | None = None


@frozen
class Synced:
    """Entries follow from `start` on, live after `head`, the log's end now.

    `start` is later than asked for where older entries are not yours to read. Below `floor` only
    control records are still kept, so entries there have gaps; from `floor` on there are none, and
    `log` is the running hash before the later of `start` and `floor`.
    """

    rid: int
    room: RoomId
    start: int
    floor: int
    log: Hash32
    head: int


@frozen
class Delivery:
    """One event or control record of the room log, as its sender signed it.

    `cell` is empty for control records, and for events whose cell was redacted.
    """

    room: RoomId
    seq: int
    record: bytes = part(limits.CONTROL_BYTES)
    cell: bytes = optional_part(limits.EVENT_BYTES)


@frozen
class Box:
    """Your key box of the boxed REKEY at `seq`; stands just before that record's `Delivery`."""

    room: RoomId
    seq: int
    box: bytes = part(limits.BOX_BYTES)


@frozen
class FeedKey:
    """The key under which this room's bulk is sealed from now on; taken in by the session."""

    room: RoomId
    number: int
    key: bytes = part(32)


@frozen
class Bulk:
    """Deliveries, sealed once for all who read the room; unfolded by the session.

    Stands for the next part of the message's trailer, whose SHA-256 is `hash`: deliveries joined
    as frames, in Secure Cell under the room's `FeedKey`, context H("feed", room, number).
    """

    room: RoomId
    number: int
    hash: Hash32


@frozen
class Head:
    """The hub's signed LOG_HEAD. `key` is the hub's where that is another relay than this one."""

    room: RoomId
    key: PublicKey | None = field(default=None, kw_only=True)
    record: bytes = part(limits.RECORD_BYTES)


@frozen
class ChainPage:
    """Control records and their seqs, in order; ask again from the last seq + 1 while `more`."""

    rid: int
    room: RoomId
    seqs: tuple[int, ...] = field(validator=max_len(limits.PAGE_RECORDS))
    more: bool
    records: tuple[bytes, ...] = parts(limits.PAGE_RECORDS)


class JoinState:
    """How far a join has come, as the relay knows it."""

    PENDING: Final = "pending"
    ANSWERED: Final = "answered"
    CONFIRMED: Final = "confirmed"
    ADMITTED: Final = "admitted"


@frozen
class JoinStatus:
    """How far this join has come; with the stored JOIN_RESP once it is answered."""

    rid: int
    room: RoomId
    invite_id: InviteId
    state: str
    record: bytes = optional_part(limits.RECORD_BYTES)


@frozen
class JoinAsked:
    """To admitters: a pending JOIN_REQ."""

    room: RoomId
    record: bytes = part(limits.JOIN_REQUEST_BYTES)


@frozen
class JoinConfirmed:
    """To admitters: the JOIN_CONFIRM of a request that was answered."""

    room: RoomId
    record: bytes = part(limits.RECORD_BYTES)


@frozen
class KeyAsked:
    """To owners: a pending KEY_REQ."""

    room: RoomId
    record: bytes = part(limits.KEY_REQUEST_BYTES)


@frozen
class KeyAnswered:
    """To the member who asked: an owner's answer and its box."""

    room: RoomId
    record: bytes = part(limits.RECORD_BYTES)
    box: bytes = part(limits.BOX_BYTES)


@frozen
class Signalled:
    """A member's ephemeral signal; `mid` is the relay's word, the seal is the member's."""

    room: RoomId
    mid: MemberId
    epoch: int
    cell: bytes = part(limits.SIGNAL_BYTES)


@frozen
class Removed:
    """You are no longer in the room; the record is the one that says so, where there is one."""

    room: RoomId
    code: str
    record: bytes = optional_part(limits.CONTROL_BYTES)


@frozen
class Blob:
    """One chunk of an attachment."""

    rid: int
    count: int
    chunk: bytes = part(limits.SEALED_CHUNK_BYTES)


@frozen
class Evidence:
    """What was signed and can not all be true of this room: it is frozen. `code` says what it is.

    `key` is the room's own relay's, which signed these records, or forwarded them.
    """

    room: RoomId
    code: str
    key: PublicKey | None = field(default=None, kw_only=True)
    records: tuple[bytes, ...] = parts(limits.EVIDENCE_RECORDS)


@frozen
class Successions:
    """How another relay, which orders rooms of this client's, came to its key; see `Welcome`."""

    relay_id: RelayId
    records: tuple[bytes, ...] = parts(limits.SUCCESSIONS)


@frozen
class Peered:
    """The answer to `Peer`: this relay's own PEER record."""

    rid: int
    record: bytes = part(limits.ATTACH_BYTES)


ClientFrame = (
    Hello
    | Create
    | Attach
    | Detach
    | Sync
    | Cursor
    | Post
    | Control
    | ChainGet
    | Lookup
    | Join
    | JoinAnswer
    | JoinConfirm
    | KeyRequest
    | KeyAnswer
    | Signal
    | BlobPut
    | BlobGet
    | BlobDrop
    | Peer
)
RelayFrame = (
    Welcome
    | Failure
    | Done
    | Ack
    | Moved
    | Attached
    | Synced
    | Delivery
    | Box
    | FeedKey
    | Bulk
    | Head
    | ChainPage
    | JoinStatus
    | JoinAsked
    | JoinAnswer
    | JoinConfirmed
    | KeyAsked
    | KeyAnswered
    | Signalled
    | Removed
    | Blob
    | Queued
    | Returned
    | Evidence
    | Successions
    | Peered
)
PeerFrame = (
    Follow
    | Unfollowed
    | PeerBox
    | LaneOpen
    | LaneAsk
    | LaneTell
    | LaneClose
    | LaneLost
    | Refill
    | Moved
    | Ping
    | Pong
    | Cursor
    | Synced
    | Failure
    | Done
    | Delivery
    | Head
)
Frame = ClientFrame | RelayFrame | PeerFrame

CLIENT_FRAMES: Final[dict[str, type[ClientFrame]]] = {
    "hello": Hello,
    "create": Create,
    "attach": Attach,
    "detach": Detach,
    "sync": Sync,
    "cursor": Cursor,
    "post": Post,
    "control": Control,
    "chain_get": ChainGet,
    "lookup": Lookup,
    "join": Join,
    "join_answer": JoinAnswer,
    "join_confirm": JoinConfirm,
    "key_request": KeyRequest,
    "key_answer": KeyAnswer,
    "signal": Signal,
    "blob_put": BlobPut,
    "blob_get": BlobGet,
    "blob_drop": BlobDrop,
    "peer": Peer,
}
RELAY_FRAMES: Final[dict[str, type[RelayFrame]]] = {
    "welcome": Welcome,
    "failure": Failure,
    "done": Done,
    "ack": Ack,
    "moved": Moved,
    "attached": Attached,
    "synced": Synced,
    "delivery": Delivery,
    "box": Box,
    "feed_key": FeedKey,
    "bulk": Bulk,
    "head": Head,
    "chain_page": ChainPage,
    "join_status": JoinStatus,
    "join_asked": JoinAsked,
    "join_answer": JoinAnswer,
    "join_confirmed": JoinConfirmed,
    "key_asked": KeyAsked,
    "key_answered": KeyAnswered,
    "signalled": Signalled,
    "removed": Removed,
    "blob": Blob,
    "queued": Queued,
    "returned": Returned,
    "evidence": Evidence,
    "successions": Successions,
    "peered": Peered,
}
PEER_FRAMES: Final[dict[str, type[PeerFrame]]] = {
    "follow": Follow,
    "unfollowed": Unfollowed,
    "peer_box": PeerBox,
    "lane_open": LaneOpen,
    "lane_ask": LaneAsk,
    "lane_tell": LaneTell,
    "lane_close": LaneClose,
    "lane_lost": LaneLost,
    "refill": Refill,
    "moved": Moved,
    "ping": Ping,
    "pong": Pong,
    "cursor": Cursor,
    "synced": Synced,
    "failure": Failure,
    "done": Done,
    "delivery": Delivery,
    "head": Head,
}
_NAMES: Final = {
    cls: name for types in (CLIENT_FRAMES, RELAY_FRAMES, PEER_FRAMES) for name, cls in types.items()
}
_U32: Final = 4


def _part_fields(cls: type[Any]) -> list[tuple[str, str]]:
    return [(f.name, f.metadata["part"]) for f in attrs.fields(cls) if "part" in f.metadata]


_PARTS: Final = {cls: _part_fields(cls) for cls in _NAMES}


def encode_frame(frame: Frame) -> bytes:
    """The bytes of one frame."""
    cls = type(frame)
    parts = [dump_json({"type": _NAMES[cls], **unbuild(frame)})]
    for name, arity in _PARTS[cls]:
        value = getattr(frame, name)
        parts.extend(value if arity == "rest" else (value,))
    return join_parts(parts)


def decode_client_frame(raw: bytes) -> ClientFrame:
    """The frame a client sent; raises `Malformed`."""
    frame: ClientFrame = _decode(raw, CLIENT_FRAMES, limits.HEAD_BYTES)
    return frame


def decode_relay_frame(raw: bytes) -> RelayFrame:
    """The frame a relay sent; raises `Malformed`."""
    frame: RelayFrame = _decode(raw, RELAY_FRAMES, limits.HEADS_BYTES)
    return frame


def decode_peer_frame(raw: bytes) -> PeerFrame:
    """The frame another relay sent; raises `Malformed`."""
    frame: PeerFrame = _decode(raw, PEER_FRAMES, limits.HEADS_BYTES)
    return frame


def _decode(raw: bytes, types: dict[str, Any], head_bytes: int) -> Any:
    if len(raw) > limits.FRAME_BYTES:
        raise Malformed(Code.TOO_LARGE)
    parts = list(split_parts(raw, max_parts=limits.FRAME_PARTS))
    if not parts:
        raise Malformed(Code.BAD_FRAME, "the frame is empty")
    fields = parse_json(parts.pop(0), max_bytes=head_bytes)
    name = fields.pop("type", None)
    cls = types.get(name) if isinstance(name, str) else None
    if cls is None:
        raise Malformed(Code.BAD_FRAME, "the frame is of no known type")
    return _fill(cls, fields, parts)


def _fill(cls: type[Any], fields: dict[str, Any], parts: list[bytes]) -> Any:
    taken: dict[str, Any] = {}
    for name, arity in _PARTS[cls]:
        if arity == "rest":
            taken[name], parts = tuple(parts), []
        elif parts:
            taken[name] = parts.pop(0)
        else:
            raise Malformed(Code.BAD_FRAME, "a part of the frame is missing")
    if parts:
        raise Malformed(Code.BAD_FRAME, "the frame has parts too many")
    if any(name in fields for name in taken):
        raise Malformed(Code.BAD_FRAME, "a part of the frame stands in its head")
    return build(cls, fields, **taken)


def join_frames(frames: Iterable[bytes]) -> bytes:
    """Encoded frames as the body of one link message."""
    return join_parts(frames)


def split_frames(raw: bytes, *, max_frames: int = 4096) -> list[bytes]:
    """The encoded frames of one link message; raises `Malformed`."""
    return list(split_parts(raw, max_parts=max_frames))
