"""What the client core tells its application.

Two kinds. *Logged* events stand in the room's log: each has a `seq`, they come in order, exactly
one for each entry that concerns a person, and `Room.events_since(cursor)` gives them again.
*Live* events (signals, key trouble, alarms, state) are told once, to whoever listens.
"""

from __future__ import annotations

from enum import StrEnum

from attrs import field, frozen

from ofcd.e2e.bodies import Via
from ofcd.protocol.ids import EventId, Hash32, InviteId, MemberId, RelayId, RoomId, Sid
from ofcd.protocol.records import Cap, Role

__all__ = [
    "Alarm",
    "AlarmKind",
    "AliasChanged",
    "AppEvent",
    "CompareAsked",
    "ComparisonEnded",
    "EntriesVoided",
    "FileInfo",
    "HandedOver",
    "HandoverOffered",
    "HistoryGap",
    "HomeChanged",
    "HubMoved",
    "InviteClosed",
    "InviteOpened",
    "JoinAsked",
    "JoinStateChanged",
    "KeyFound",
    "KeyMissing",
    "LinkState",
    "LinkStateChanged",
    "LiveEvent",
    "LoggedEvent",
    "MemberJoined",
    "MemberLeft",
    "MemberReached",
    "Message",
    "MessageAccepted",
    "MessageEdited",
    "MessageFailed",
    "MessageHeld",
    "MessageInvalid",
    "MessageReacted",
    "MessageReceived",
    "MessageRedacted",
    "MessageUnreadable",
    "NameChanged",
    "RoleChanged",
    "RoomFounded",
    "RoomRenamed",
    "RoomStateChanged",
    "RoomStatus",
    "Rotated",
    "SignalReceived",
    "Via",
]


def _size(value: str) -> str:
    """What people wrote does not show in a repr, and so in no application's log."""
    return f"<{len(value)}>"


@frozen
class FileInfo:
    """An attachment, as its sender describes it: name and type are untrusted."""

    name: str
    media_type: str
    size: int
    """Bytes."""


@frozen
class Message:
    """One message of the room as it reads now: edited, redacted, reacted to."""

    room: RoomId
    seq: int
    event_id: EventId
    mid: MemberId
    name: str
    """The sender's display name at the time; anyone may take any name, only `mid` is proven."""
    ts: int
    """The sender's clock, milliseconds since 1970."""
    sid: Sid
    text: str = field(default="", repr=_size)
    format: str = "plain"
    """How the text is to be shown: `plain` or `markdown-lite`."""
    file: FileInfo | None = None
    """An attachment; `text` is then its caption."""
    via: Via | None = None
    """Where a bridge says it comes from: the bridge's word, proven by nobody."""
    hops: int = 0
    """How many bots it has passed through."""
    reply_to: EventId | None = None
    thread: EventId | None = None
    mentions: tuple[MemberId, ...] = ()
    edited: bool = False
    redacted_by: MemberId | None = None
    reactions: tuple[tuple[str, tuple[MemberId, ...]], ...] = ()
    mine: bool = False
    unreadable: str = ""
    """Why there is nothing to read: a code, or "" for a readable message."""
    again: bool = False
    """It stood in the log, and was given, before, in a part that came to nothing: no new one."""
    earlier: tuple[EventId, ...] = ()
    """Its ids there, the first one first; they mean this message, too, to this client."""

    @property
    def first_id(self) -> EventId:
        """The id under which this client first had it: what is kept by it stays true."""
        return self.earlier[0] if self.earlier else self.event_id


# -- logged ----------------------------------------------------------------------------------------


@frozen(kw_only=True)
class _Logged:
    room: RoomId
    seq: int
    event_id: EventId
    mid: MemberId
    """Who did it."""
    ts: int
    """That member's clock, milliseconds since 1970."""
    again: bool = False
    """It stood in the log, and was given, before, in a part that came to nothing: nothing new."""
    earlier: tuple[EventId, ...] = ()
    """Its ids there, the first one first."""
    cuts: int = field(default=0, eq=False)
    """How often the log had lost its end when this was read; see `Room.holds`."""

    @property
    def first_id(self) -> EventId:
        """The id under which this client first had it."""
        return self.earlier[0] if self.earlier else self.event_id


@frozen(kw_only=True)
class RoomFounded(_Logged):
    """The room began."""


@frozen(kw_only=True)
class MessageReceived(_Logged):
    """A message (of anyone, you included: see `message.mine`)."""

    message: Message


@frozen(kw_only=True)
class MessageEdited(_Logged):
    """A message was changed by its sender; `message` is how it reads now."""

    message: Message


@frozen(kw_only=True)
class MessageRedacted(_Logged):
    """A message was taken back, by its sender or an owner."""

    target: EventId
    target_seq: int


@frozen(kw_only=True)
class MessageReacted(_Logged):
    """A reaction was set or withdrawn."""

    target: EventId
    target_seq: int
    reaction: str
    withdrawn: bool = False


@frozen(kw_only=True)
class MessageInvalid(_Logged):
    """An entry that failed a check: shown as a marker, never as the claimed sender's words."""

    reason: str


@frozen(kw_only=True)
class MessageUnreadable(_Logged):
    """A message whose key never came (or not in time): a marker in its place."""

    epoch: int


@frozen(kw_only=True)
class NameChanged(_Logged):
    """A member's display name is another one now."""

    name: str
    before: str


@frozen(kw_only=True)
class RoomRenamed(_Logged):
    """The room's name or topic is another one now."""

    name: str
    topic: str
    before: str


@frozen(kw_only=True)
class HandoverOffered(_Logged):
    """Root asks `to` to become root; `Room.accept_handover` does."""

    to: MemberId


@frozen(kw_only=True)
class MemberJoined(_Logged):
    """`member` was admitted, by `mid`."""

    member: MemberId
    role: Role
    caps: frozenset[Cap]


@frozen(kw_only=True)
class MemberLeft(_Logged):
    """`members` are gone: by themselves, or evicted by `mid` (who also renewed the key)."""

    members: tuple[MemberId, ...]
    evicted: bool
    reason: str = ""


@frozen(kw_only=True)
class RoleChanged(_Logged):
    """`member` has another role or other capabilities, given by `mid`."""

    member: MemberId
    role: Role
    caps: frozenset[Cap]


@frozen(kw_only=True)
class HandedOver(_Logged):
    """`to` is root now; `mid`, who was, is a co-owner."""

    to: MemberId


@frozen(kw_only=True)
class HomeChanged(_Logged):
    """`mid` is at home at another relay now: the one with this id."""

    home: RelayId


@frozen(kw_only=True)
class HubMoved(_Logged):
    """`mid`, who is root, has moved the room: the relay with this id orders it from now on."""

    hub: RelayId
    url: str
    """Where it is reached."""


@frozen(kw_only=True)
class Rotated(_Logged):
    """A new room key; `boxed` where it was handed to each member anew."""

    epoch: int
    boxed: bool


@frozen(kw_only=True)
class InviteOpened(_Logged):
    """An invite was made."""

    invite_id: InviteId
    role: Role
    caps: frozenset[Cap]


@frozen(kw_only=True)
class InviteClosed(_Logged):
    """An invite was cancelled."""

    invite_id: InviteId


LoggedEvent = (
    RoomFounded
    | MessageReceived
    | MessageEdited
    | MessageRedacted
    | MessageReacted
    | MessageInvalid
    | MessageUnreadable
    | NameChanged
    | RoomRenamed
    | MemberJoined
    | MemberLeft
    | RoleChanged
    | HandoverOffered
    | HandedOver
    | HomeChanged
    | HubMoved
    | Rotated
    | InviteOpened
    | InviteClosed
)


# -- live ------------------------------------------------------------------------------------------


class AlarmKind(StrEnum):
    """What an alarm is about."""

    FORK = "fork"
    HUB_BEHIND = "hub_behind"
    COPY_BEHIND = "copy_behind"
    """At one's own relay, which is not the room's: it may have to catch up, or holds one back."""
    HUB_MISBEHAVES = "hub_misbehaves"
    SENDER_FORK = "sender_fork"
    KEY_MISMATCH = "key_mismatch"
    INVITE_CONTESTED = "invite_contested"
    JOIN_ABANDONED = "join_abandoned"
    KEY_OLD = "key_old"
    KEY_REPLACED = "key_replaced"
    """Of one's own: by a vault that was put back, or by somebody who has the keys."""
    EVICTION_VOID = "eviction_void"
    """Who had been evicted is in the room again: the eviction came to nothing."""
    REMOVAL_VOID = "removal_void"
    """So is this member."""
    ADMISSION_VOID = "admission_void"
    """One's own admission came to nothing: it needs a new invite."""
    TWO_MOVES = "two_moves"
    """Root has signed two moves of the room that can not both be."""
    UNPROVEN = "unproven"
    """One's own relay speaks of another history of the room, and proves nothing."""


@frozen
class Alarm:
    """Something a person should know of; `text` says what and what to do."""

    room: RoomId
    kind: AlarmKind
    text: str
    seq: int | None = None


@frozen
class KeyMissing:
    """From `seq` on messages can not be read until epoch `epoch`'s key comes; it is asked for."""

    room: RoomId
    epoch: int
    seq: int


@frozen
class KeyFound:
    """The key came: `recovered` messages were read, `lost` ones never will be."""

    room: RoomId
    epoch: int
    recovered: int
    lost: int


@frozen
class HistoryGap:
    """The relay no longer keeps entries `start` to `end` - 1; they are not in this archive."""

    room: RoomId
    start: int
    end: int


@frozen
class EntriesVoided:
    """Entries from `start` to `end` - 1 came to nothing: root moved the room by force.

    They are in nobody's log any more. `messages` are those that were read here; who said them says
    them again, if their client still comes. See `Room.voided`.
    """

    room: RoomId
    start: int
    end: int
    messages: tuple[Message, ...] = ()
    own: int = 0
    """How many of one's own words are sent again by themselves."""
    controls: int = 0
    """Changes of the room that are undone with them."""
    evicted: tuple[MemberId, ...] = ()
    """Members who had been evicted by one of these, and are in the room again."""


@frozen
class SignalReceived:
    """A member's ephemeral signal (typing, presence, how far they have read)."""

    room: RoomId
    mid: MemberId
    kind: str
    seq: int | None = None


@frozen
class MemberReached:
    """A member's own signature proves that its device has the log up to `seq`.

    Told where that may be news of something this client has said; see `Room.delivery`.
    """

    room: RoomId
    mid: MemberId
    seq: int


@frozen
class MessageAccepted:
    """A queued message is in the room's log now."""

    room: RoomId
    sid: Sid
    event_id: EventId
    seq: int


@frozen
class MessageHeld:
    """This client's relay keeps a message for the room's own relay, which has not taken it yet."""

    room: RoomId
    sid: Sid


@frozen
class MessageFailed:
    """A queued message was refused for good."""

    room: RoomId
    sid: Sid
    code: str
    text: str


@frozen
class JoinAsked:
    """A stranger with an invite asks in; answered by this client, if it may, unless `held`."""

    room: RoomId
    invite_id: InviteId
    mid: MemberId
    request: Hash32
    """Names the request: for `Room.answer_join`."""
    name: str = ""
    """What they want to be called, where the request is `held`; "" where they do not say."""
    held: bool = False
    """Checked, and waiting for `Room.answer_join` (see `Room.hold_joins`)."""


@frozen
class JoinStateChanged:
    """A join of ours has come further: asked, answered, confirmed, admitted, or failed."""

    room: RoomId
    invite_id: InviteId
    state: str
    code: str = ""


@frozen
class CompareAsked:
    """A member wants to compare a secret phrase; it waits for `Room.compare` until `until`."""

    room: RoomId
    mid: MemberId
    until: int
    """Milliseconds since 1970."""


@frozen
class ComparisonEnded:
    """A comparison with a member is over; `outcome` is one of `comparing.Outcome`."""

    room: RoomId
    mid: MemberId
    outcome: str


@frozen
class AliasChanged:
    """Two members say of each other that they are the same person, or (not `same`) no longer do."""

    room: RoomId
    members: tuple[MemberId, MemberId]
    same: bool


class RoomStatus(StrEnum):
    """What can be done in a room."""

    ACTIVE = "active"
    WAITING = "waiting"
    """What the relay says does not fit, and nobody signed it: it is asked again, and what is
    written is kept until then."""
    HIDDEN = "hidden"
    """The relay says there is no such room; keys and history stay here."""
    FROZEN = "frozen"
    LEFT = "left"
    EVICTED = "evicted"
    CLOSED = "closed"

    @property
    def is_open(self) -> bool:
        """Whether one is in the room, and what is written there is sent, now or later."""
        return self in (RoomStatus.ACTIVE, RoomStatus.WAITING)


@frozen
class RoomStateChanged:
    """The room's status changed; `code` says why."""

    room: RoomId
    status: RoomStatus
    code: str = ""


class LinkState(StrEnum):
    """How a relay is reached."""

    OFFLINE = "offline"
    CONNECTING = "connecting"
    ONLINE = "online"


@frozen
class LinkStateChanged:
    """The link to a relay came up or went down; `detail` says why, `retry_at` when it is tried."""

    url: str
    relay_id: RelayId | None
    state: LinkState
    detail: str = ""
    retry_at: int | None = None


@frozen
class RelayKeyChanged:
    """A relay has another key, signed for by the one before; `text` says so in a sentence.

    `disputed`: its key has signed for two that follow it. The one that was known first stays, and
    `text` says what to do.
    """

    relay_id: RelayId
    text: str
    disputed: bool = False


LiveEvent = (
    Alarm
    | KeyMissing
    | KeyFound
    | HistoryGap
    | EntriesVoided
    | SignalReceived
    | MemberReached
    | MessageAccepted
    | MessageHeld
    | MessageFailed
    | JoinAsked
    | JoinStateChanged
    | CompareAsked
    | ComparisonEnded
    | AliasChanged
    | RoomStateChanged
    | LinkStateChanged
    | RelayKeyChanged
)
AppEvent = LoggedEvent | LiveEvent
