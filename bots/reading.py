"""From the client core's log to what a bot is told (sans-IO)."""

from __future__ import annotations

from functools import singledispatch
from typing import Protocol, TypedDict

from bots.events import (
    Edit,
    Event,
    File,
    HandoverOffer,
    Join,
    Leave,
    Member,
    Message,
    Reaction,
    Redacted,
    Renamed,
    RoleChange,
    Rotation,
)
from ofcd import client
from ofcd.protocol.ids import EventId, MemberId, RoomId, Sid

__all__ = ["View", "member_of", "read"]


class View(Protocol):
    """What has to be known of a room to read its log."""

    @property
    def me(self) -> MemberId:
        """The bot itself."""
        ...

    def member(self, mid: MemberId) -> Member:
        """Who that is now; without a role where they are no member any more."""
        ...

    def first_id(self, event_id: EventId) -> EventId:
        """The id under which the bot first had what has this one."""
        ...

    def own_sid(self, target: EventId) -> Sid | None:
        """The sid of a message of the bot's own; None for others'."""
        ...


def member_of(room: client.Room, mid: MemberId) -> Member:
    """A member of a room as handlers see one."""
    try:
        info = room.member(mid)
    except client.NotAllowed:
        return Member(mid, room.name_of(mid), None, is_me=mid == room.me)
    return Member(mid, info.name, info.role, info.caps, info.fingerprint, info.is_me)


class _Common(TypedDict):
    """What every event for handlers has."""

    room: RoomId
    seq: int
    id: EventId
    sender: Member
    ts: int


class _Said(TypedDict):
    """What a message and new words for one have in common."""

    hops: int
    text: str
    format: str
    reply_to: EventId | None
    thread: EventId | None
    mentions: tuple[MemberId, ...]
    via: client.Via | None
    to_me: bool


def _common(event: client.LoggedEvent, view: View) -> _Common:
    return {
        "room": event.room,
        "seq": event.seq,
        "id": event.first_id,  # as it was kept, though it was said again under another one
        "sender": view.member(event.mid),
        "ts": event.ts,
    }


def _said(message: client.Message, view: View) -> _Said:
    return {
        "hops": message.hops,
        "text": message.text,
        "format": message.format,
        "reply_to": _first(view, message.reply_to),
        "thread": _first(view, message.thread),
        "mentions": message.mentions,
        "via": message.via,
        "to_me": _is_to_me(message, view),
    }


def read(event: client.LoggedEvent, view: View, *, kept: bool = False) -> Event | None:
    """The event for handlers; None for what no handler can ask for, or has had.

    `kept`: it was for later, so that none has.

    What came to nothing, and is said again, handlers have had; and what is new of it has the id
    under which the bot first had it, in `target` and `reply_to` too: what they keep by it is true.
    """
    return None if event.again and not kept else _read(event, view)


def _first(view: View, event_id: EventId | None) -> EventId | None:
    return None if event_id is None else view.first_id(event_id)


@singledispatch
def _read(event: client.LoggedEvent, view: View) -> Event | None:
    return None


@_read.register
def _(event: client.MessageReceived, view: View) -> Event | None:
    message = event.message
    if message.unreadable or message.redacted_by is not None:
        return None
    said = {**_common(event, view), **_said(message, view), "edited": message.edited}
    if message.file is not None:
        return File(**said, info=message.file)  # type: ignore[arg-type]  # attrs checks no types
    return Message(**said)  # type: ignore[arg-type]  # as above


@_read.register
def _(event: client.MessageEdited, view: View) -> Event:
    message = event.message
    return Edit(
        **_common(event, view), **_said(message, view), edited=True, target=message.first_id
    )


def _is_to_me(message: client.Message, view: View) -> bool:
    if view.me in message.mentions:
        return True
    return any(target and view.own_sid(target) for target in (message.reply_to, message.thread))


@_read.register
def _(event: client.MessageReacted, view: View) -> Event:
    own = view.own_sid(event.target)
    return Reaction(
        **_common(event, view),
        target=view.first_id(event.target),
        emoji=event.reaction,
        withdrawn=event.withdrawn,
        to_own=own is not None,
        target_sid=own,
    )


@_read.register
def _(event: client.MessageRedacted, view: View) -> Event:
    return Redacted(
        **_common(event, view),
        target=view.first_id(event.target),
    )


@_read.register
def _(event: client.MemberJoined, view: View) -> Event:
    return Join(
        **_common(event, view),
        member=view.member(event.member),
    )


@_read.register
def _(event: client.MemberLeft, view: View) -> Event:
    return Leave(
        **_common(event, view),
        members=event.members,
        names=tuple(view.member(mid).name for mid in event.members),
        evicted=event.evicted,
        reason=event.reason,
    )


@_read.register
def _(event: client.RoomRenamed, view: View) -> Event:
    return Renamed(
        **_common(event, view),
        name=event.name,
        topic=event.topic,
    )


@_read.register
def _(event: client.RoleChanged, view: View) -> Event:
    return RoleChange(
        **_common(event, view),
        member=view.member(event.member),
    )


@_read.register
def _(event: client.HandedOver, view: View) -> Event:
    return RoleChange(
        **_common(event, view),
        member=view.member(event.to),
    )


@_read.register
def _(event: client.HandoverOffered, view: View) -> Event:
    return HandoverOffer(
        **_common(event, view),
        to=view.member(event.to),
    )


@_read.register
def _(event: client.Rotated, view: View) -> Event:
    return Rotation(
        **_common(event, view),
        epoch=event.epoch,
    )
