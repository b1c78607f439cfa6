"""What crosses a bridge, as plain data: `Outgoing` to a place outside, `Remote` from one.

Words travel as the tree of text format lite (`ofcd.client.lite`): each network translates between
that tree and its own notation, and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from attrs import field, frozen

from ofcd.client import lite
from ofcd.protocol.ids import EventId, MemberId, RoomId

__all__ = [
    "Author",
    "FileOut",
    "Kind",
    "LocalAuthor",
    "Outgoing",
    "Receipt",
    "Remote",
    "RemoteEdit",
    "RemoteFile",
    "RemoteMessage",
    "RemoteNote",
    "RemoteReaction",
    "RemoteRedaction",
    "RemoteTopic",
    "ReplyTo",
    "State",
    "Verdict",
]


def _size(value: object) -> str:
    """What people wrote does not show in a repr, and so in no log."""
    return f"<{len(str(value))}>"


# -- from a room to a place ------------------------------------------------------------------------


class Kind(StrEnum):
    """What is to be said outside."""

    MESSAGE = "message"
    EDIT = "edit"
    """`document` is how the message reads now, `before` how it read outside so far."""
    REDACTION = "redaction"
    """The message that went out as `remote_ids` was taken back."""
    REACTION = "reaction"
    """`emoji` was put on (or, `withdrawn`, taken off) the message that went out, or came in, as
    `remote_ids`."""
    NOTE = "note"
    """A line of the bridge itself: somebody came or left, or messages were too old to be sent."""
    TOPIC = "topic"
    """The room's topic is another one."""


@frozen
class LocalAuthor:
    """Who said it in the room, with a name that is safe to show outside."""

    mid: MemberId
    name: str
    """Sanitised; unique among the room's members of this moment, and without `@` for a member. For
    somebody that a bridge speaks for: `name@network`."""
    network: str = ""
    """Not "": somebody outside, whom this bridge (or another) speaks for."""
    nick_only: bool = False
    """This member lets the bridge say that they spoke, and not what: `document` is empty."""


@frozen
class ReplyTo:
    """What a message answers."""

    remote_ids: tuple[str, ...]
    """The ids of the answered message at this place; () where it is not there."""
    name: str
    """Its author, as shown outside."""
    excerpt: str = field(default="", repr=_size)
    """How it begins, in plain words."""


@frozen
class FileOut:
    """A file that a room message carries: fetched with `Host.read_file`."""

    name: str
    """Untrusted."""
    media_type: str
    size: int
    seq: int
    """Of the message, for `Host.read_file`."""


@frozen(kw_only=True)
class Outgoing:
    """One thing to be said at one place. The journal knows it by `number`."""

    number: int
    """Of the journal: grows in the order in which things are to be said."""
    room: RoomId
    place: str
    kind: Kind
    event_id: EventId
    """Of the room event it stems from: the same however often it is handed over."""
    target: EventId | None = None
    """The message that an edit, redaction or reaction is about."""
    author: LocalAuthor | None = None
    document: lite.Document = field(default=(), repr=_size)
    before: lite.Document = field(default=(), repr=_size)
    emoji: str = ""
    withdrawn: bool = False
    reply_to: ReplyTo | None = None
    thread: EventId | None = None
    file: FileOut | None = None
    remote_ids: tuple[str, ...] = ()
    """What `target` is called at this place."""
    ts: int = 0
    """When it was said, milliseconds since 1970."""
    late: bool = False
    """It had to wait: show its own time."""
    again: bool = False
    """It was handed over before, and what became of it is not known: it may be there already."""
    path: tuple[str, ...] = ()
    """Where it has been: opaque tags, to be carried along where the network can (see `guard`)."""
    link: str | None = field(default=None, repr=False)
    """Opens its file, or else all of its text: set by a network that asked `Host.link` for it."""


class State(StrEnum):
    """How far something has come on its way out."""

    QUEUED = "queued"
    SENDING = "sending"
    SENT = "sent"
    """Handed to the network, which gives no proof."""
    CONFIRMED = "confirmed"
    FAILED = "failed"
    DROPPED = "dropped"
    """Deliberately not said: taken back before it was sent, or not meant for this place."""


@frozen
class Receipt:
    """What became of one `Outgoing`."""

    number: int
    state: State
    """`QUEUED`: not sent; the core hands it over again once the network is ready."""
    remote_ids: tuple[str, ...] = ()
    """What it is called there, for edits and replies."""
    reason: str = ""
    """For `FAILED`: the network's words, shown to the room; also for `DROPPED`, where it has to
    know."""
    doubtful: bool = False
    """With `QUEUED`: the link broke in the midst of it, it may have arrived (`Outgoing.again`)."""


# -- from a place to rooms -------------------------------------------------------------------------


@frozen
class Author:
    """Who said it outside: the network's word."""

    id: str
    """The same for the same person as long as the network can tell: account, address, hostmask."""
    name: str
    """As they are called there; shown sanitised, and always with the network's badge."""
    account: str = ""
    """An account that the network vouches for; "" where it does not."""
    origin: str = ""
    """Where they come from, if that is harder to change than `id`: what limits one limits all from
    there. "": `id`."""


@frozen
class RemoteFile:
    """A file that came with a message; `content` is all of it."""

    name: str
    media_type: str
    content: bytes = field(repr=_size)


@frozen(kw_only=True)
class Remote:
    """Something that came in at a place. Handed to `Host.take`."""

    place: str
    id: str
    """The outside's own id of it (msgid, Message-ID), the same whenever it comes again. The id of
    the room event is derived from it, so that it is said once. Where the network has no ids, one
    that never comes twice."""
    author: Author
    ts: int | None = None
    """When it was said, by the network's clock, milliseconds since 1970; None: now."""
    path: tuple[str, ...] = ()
    """The tags it carries, if it went through a bridge before."""
    late: bool = False
    """It is part of a gap that was filled: shown with its own time."""


@frozen(kw_only=True)
class RemoteMessage(Remote):
    """Words, or a file."""

    document: lite.Document = field(repr=_size)
    notice: bool = False
    """Said by a program, or as an aside."""
    action: bool = False
    """"/me ...": shown as what the author does."""
    reply_to: str = ""
    """The remote id of what it answers."""
    event: EventId | None = None
    """What it answers, where the network knows the room's own event (mail: from a signed id)."""
    mentions: tuple[MemberId, ...] = ()
    file: RemoteFile | None = None
    """With it, `document` is the caption."""


@frozen(kw_only=True)
class RemoteEdit(Remote):
    """The author changed what they said as `target`."""

    target: str
    document: lite.Document = field(repr=_size)


@frozen(kw_only=True)
class RemoteRedaction(Remote):
    """What was said as `target` was taken back there."""

    target: str


@frozen(kw_only=True)
class RemoteReaction(Remote):
    """A reaction to `target`."""

    target: str
    emoji: str
    withdrawn: bool = False


@frozen(kw_only=True)
class RemoteNote(Remote):
    """Something that happened there, in words: somebody came, left, was renamed, kicked."""

    text: str = field(repr=_size)


@frozen(kw_only=True)
class RemoteTopic(Remote):
    """The place has another topic."""

    topic: str = field(repr=_size)


class Verdict(StrEnum):
    """What became of a `Remote`. Where `TAKEN` or `DUPLICATE`, it is safe on disk."""

    TAKEN = "taken"
    DUPLICATE = "duplicate"
    """It was taken before."""
    ECHO = "echo"
    """It stems from here: a bridge, or somebody's relay, brought it back."""
    IGNORED = "ignored"
    """The place's ignore list, or its direction, says so."""
    LIMITED = "limited"
    """Too much at once; counted, and said to the room in one line."""
    FULL = "full"
    """The relay is away for so long that no more is kept; counted, and said to the room later."""
    CLOSED = "closed"
    """No room takes anything from this place now: not joined, no `bridge` capability, or frozen."""
    INVALID = "invalid"
    """It can not be said in a room (empty, or too long)."""

    @property
    def comes_again(self) -> bool:
        """Whether it is taken when it is brought once more, in a while."""
        return self in (Verdict.LIMITED, Verdict.FULL)

    @staticmethod
    def of_all(each: Iterable[Verdict]) -> Verdict:
        """What several rooms say, as one: where one takes it later, it has to come again."""
        said = list(each)
        order = (Verdict.FULL, Verdict.LIMITED, Verdict.TAKEN, Verdict.DUPLICATE)
        first = next((one for one in order if one in said), None)
        return first or next(iter(said), Verdict.CLOSED)
