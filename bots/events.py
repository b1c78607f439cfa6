"""What a bot's handlers are told of, and what a message lets them do."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Self

from attrs import evolve, field, frozen

from ofcd.client import FileInfo, Via
from ofcd.protocol.ids import EventId, InviteId, MemberId, RoomId, Sid
from ofcd.protocol.records import Cap, Role

if TYPE_CHECKING:
    from bots.context import Context

__all__ = [
    "Edit",
    "Event",
    "File",
    "HandoverOffer",
    "Join",
    "JoinRequest",
    "Leave",
    "Member",
    "Message",
    "Reaction",
    "Redacted",
    "Renamed",
    "RoleChange",
    "Rotation",
    "Tick",
]

_OWNERS = frozenset({Role.ROOT, Role.CO_OWNER})


@frozen
class Member:
    """Who did something: `mid` and `fingerprint` are proven by their key, `name` by nobody."""

    mid: MemberId
    name: str
    """As this member calls itself; anyone may take any name."""
    role: Role | None
    """Now, not when the event happened; None for one who is no member any more."""
    caps: frozenset[Cap] = frozenset()
    fingerprint: str = ""
    """Of the member's keys, to compare over another channel; "" for one who is gone."""
    is_me: bool = False

    @property
    def is_owner(self) -> bool:
        """Root or co-owner."""
        return self.role in _OWNERS

    @property
    def is_bot(self) -> bool:
        """Whether its owner made it a bot for all to see."""
        return Cap.BOT in self.caps

    @property
    def is_automatic(self) -> bool:
        """A bot or a bridge."""
        return bool(self.caps & {Cap.BOT, Cap.BRIDGE})


@frozen(kw_only=True)
class Event:
    """Something in a room's log."""

    room: RoomId
    seq: int
    id: EventId
    sender: Member
    ts: int
    """The sender's clock, milliseconds since 1970."""
    hops: int = 0


@frozen(kw_only=True)
class Message(Event):
    """Words someone said. Inside a handler it can be answered."""

    text: str = field(repr=lambda text: f"<{len(text)}>")
    format: str = "plain"
    reply_to: EventId | None = None
    thread: EventId | None = None
    mentions: tuple[MemberId, ...] = ()
    via: Via | None = None
    """Where a bridge says it comes from: the bridge's word, proven by nobody."""
    edited: bool = False
    to_me: bool = False
    """It mentions the bot, or answers a message of the bot's."""
    _ctx: Context | None = field(default=None, repr=False, eq=False)

    async def reply(
        self,
        text: str,
        *,
        markdown: bool = True,
        mention: bool = False,
        thread: EventId | None = None,
    ) -> Sid:
        """Answer this message; see `Context.reply`."""
        ctx = self._context
        return await ctx.answer(self, text, markdown=markdown, mention=mention, thread=thread)

    async def react(self, emoji: str, *, remove: bool = False) -> Sid:
        """Put a reaction on this message, or withdraw it."""
        return await self._context.react(emoji, target=self.id, remove=remove)

    async def edit(self, text: str) -> Sid:
        """New words for this message, if it is the bot's own."""
        return await self._context.edit(self.id, text)

    async def redact(self, reason: str = "") -> Sid:
        """Take this message back: the bot's own, or anyone's if the bot is an owner."""
        return await self._context.redact(self.id, reason)

    async def send_file(
        self, path: Path | str | bytes, *, name: str | None = None, caption: str = ""
    ) -> Sid:
        """Send a file to this message's room; see `Context.send_file`."""
        return await self._context.send_file(path, name=name, caption=caption)

    def typing(self) -> None:
        """Show that an answer is being made."""
        self._context.typing()

    def bound(self, ctx: Context) -> Self:
        """This message, to be answered through `ctx`."""
        return evolve(self, ctx=ctx)

    @property
    def _context(self) -> Context:
        if self._ctx is None:
            raise RuntimeError("this message is not being handled: it can not be answered")
        return self._ctx


@frozen(kw_only=True)
class File(Message):
    """An attachment; `text` is its caption."""

    info: FileInfo

    async def fetch(self, target: Path | str, *, limit: int = 16 * 1024 * 1024) -> Path:
        """Fetch it, check all of it, and put it at `target` (a directory: under a safe name)."""
        return await self._context.room.fetch_file(self.seq, target, limit=limit)

    async def read(self, *, limit: int = 1024 * 1024) -> bytes:
        """Fetch it and check all of it, and leave it in memory: nothing of it is on a disk."""
        return await self._context.room.read_file(self.seq, limit=limit)


@frozen(kw_only=True)
class Edit(Message):
    """A message as it reads after a change; `id` is the change's, `target` the message's."""

    target: EventId


@frozen(kw_only=True)
class Reaction(Event):
    """A reaction was put on a message, or withdrawn."""

    target: EventId
    emoji: str
    withdrawn: bool = False
    to_own: bool = False
    """On a message of the bot's."""
    target_sid: Sid | None = None
    """What `ctx.send` or `ctx.reply` returned for that message of the bot's."""


@frozen(kw_only=True)
class Redacted(Event):
    """A message was taken back."""

    target: EventId


@frozen(kw_only=True)
class Join(Event):
    """`member` was admitted by `sender`."""

    member: Member


@frozen(kw_only=True)
class Leave(Event):
    """`members` are gone: by themselves, or evicted by `sender`."""

    members: tuple[MemberId, ...]
    names: tuple[str, ...] = ()
    evicted: bool = False
    reason: str = ""


@frozen(kw_only=True)
class Renamed(Event):
    """The room's name or topic is another one now."""

    name: str
    topic: str


@frozen(kw_only=True)
class RoleChange(Event):
    """`member` has another role or other capabilities."""

    member: Member


@frozen(kw_only=True)
class JoinRequest(Event):
    """Someone with an invite asks in; see `Group.on_join_request`. It stands in no log: seq is -1.

    `sender` is who asks: `sender.name` is what they want to be called, their word alone.
    """

    inviter: Member
    role: Role
    """What the invite makes of them."""
    caps: frozenset[Cap] = frozenset()
    invite_id: InviteId


@frozen(kw_only=True)
class HandoverOffer(Event):
    """Root asks a member to become root: the bot itself, if `to_me`."""

    to: Member

    @property
    def to_me(self) -> bool:
        """Whether the bot is asked."""
        return self.to.is_me


@frozen(kw_only=True)
class Rotation(Event):
    """The room has a new key."""

    epoch: int


@frozen
class Tick:
    """A run of a timer."""

    name: str
    due: int
    """When it was planned for, milliseconds since 1970; it may be later now."""
    payload: str = ""
    """What `ctx.once` was given."""
