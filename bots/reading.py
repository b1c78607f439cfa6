"""From the client core's log to what a bot is told (sans-IO)."""

from __future__ import annotations

from functools import singledispatch
from typing import Protocol

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
from ofcd.protocol.ids import EventId, MemberId

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

    def is_own(self, target: EventId) -> bool:
        """Whether a message is the bot's own."""
        ...


def member_of(room: client.Room, mid: MemberId) -> Member:
    """A member of a room as handlers see one."""
    try:
        info = room.member(mid)
    except client.NotAllowed:
        return Member(mid, room.name_of(mid), None, is_me=mid == room.me)
    return Member(mid, info.name, info.role, info.caps, info.fingerprint, info.is_me)


@singledispatch
def read(event: client.LoggedEvent, view: View) -> Event | None:
    """The event for handlers; None for what no handler can ask for."""
    return None


@read.register
def _(event: client.MessageReceived, view: View) -> Event | None:
    message = event.message
    if message.unreadable or message.redacted_by is not None:
        return None
    sender = view.member(event.mid)
    common = {
        "room": event.room,
        "seq": event.seq,
        "id": event.event_id,
        "sender": sender,
        "ts": event.ts,
        "hops": message.hops,
        "text": message.text,
        "format": message.format,
        "reply_to": message.reply_to,
        "thread": message.thread,
        "mentions": message.mentions,
        "via": message.via,
        "edited": message.edited,
        "to_me": _is_to_me(message, view),
    }
    if message.file is not None:
        return File(**common, info=message.file)  # type: ignore[arg-type]  # attrs checks no types
    return Message(**common)  # type: ignore[arg-type]  # as above


@read.register
def _(event: client.MessageEdited, view: View) -> Event:
    message = event.message
    return Edit(
        room=event.room,
        seq=event.seq,
        id=event.event_id,
        sender=view.member(event.mid),
        ts=event.ts,
        hops=message.hops,
        text=message.text,
        format=message.format,
        reply_to=message.reply_to,
        thread=message.thread,
        mentions=message.mentions,
        via=message.via,
        edited=True,
        to_me=_is_to_me(message, view),
        target=message.event_id,
    )


def _is_to_me(message: client.Message, view: View) -> bool:
    if view.me in message.mentions:
        return True
    return any(target and view.is_own(target) for target in (message.reply_to, message.thread))


@read.register
def _(event: client.MessageReacted, view: View) -> Event:
    return Reaction(
        room=event.room,
        seq=event.seq,
        id=event.event_id,
        sender=view.member(event.mid),
        ts=event.ts,
        target=event.target,
        emoji=event.reaction,
        withdrawn=event.withdrawn,
        to_own=view.is_own(event.target),
    )


@read.register
def _(event: client.MessageRedacted, view: View) -> Event:
    return Redacted(
        room=event.room,
        seq=event.seq,
        id=event.event_id,
        sender=view.member(event.mid),
        ts=event.ts,
        target=event.target,
    )


@read.register
def _(event: client.MemberJoined, view: View) -> Event:
    return Join(
        room=event.room,
        seq=event.seq,
        id=event.event_id,
        sender=view.member(event.mid),
        ts=event.ts,
        member=view.member(event.member),
    )


@read.register
def _(event: client.MemberLeft, view: View) -> Event:
    return Leave(
        room=event.room,
        seq=event.seq,
        id=event.event_id,
        sender=view.member(event.mid),
        ts=event.ts,
        members=event.members,
        names=tuple(view.member(mid).name for mid in event.members),
        evicted=event.evicted,
        reason=event.reason,
    )


@read.register
def _(event: client.RoomRenamed, view: View) -> Event:
    return Renamed(
        room=event.room,
        seq=event.seq,
        id=event.event_id,
        sender=view.member(event.mid),
        ts=event.ts,
        name=event.name,
        topic=event.topic,
    )


@read.register
def _(event: client.RoleChanged, view: View) -> Event:
    return RoleChange(
        room=event.room,
        seq=event.seq,
        id=event.event_id,
        sender=view.member(event.mid),
        ts=event.ts,
        member=view.member(event.member),
    )


@read.register
def _(event: client.HandedOver, view: View) -> Event:
    return RoleChange(
        room=event.room,
        seq=event.seq,
        id=event.event_id,
        sender=view.member(event.mid),
        ts=event.ts,
        member=view.member(event.to),
    )


@read.register
def _(event: client.HandoverOffered, view: View) -> Event:
    return HandoverOffer(
        room=event.room,
        seq=event.seq,
        id=event.event_id,
        sender=view.member(event.mid),
        ts=event.ts,
        to=view.member(event.to),
    )


@read.register
def _(event: client.Rotated, view: View) -> Event:
    return Rotation(
        room=event.room,
        seq=event.seq,
        id=event.event_id,
        sender=view.member(event.mid),
        ts=event.ts,
        epoch=event.epoch,
    )
