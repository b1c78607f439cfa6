"""A room's events as the JSON objects that scripts read and people are shown.

Every entry has `seq`, `event_id`, `member`, `name`, `kind`, `text`, `ts`; further fields depend on
the kind. Ids are lower-case hex, times milliseconds since 1970. What is live and stands in no log
has no `seq` (null).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import singledispatch
from typing import Any

from attrs import frozen

from ofcd.client import Delivery, MemberInfo, Sponsor, events
from ofcd.ofc.text import one_line
from ofcd.protocol.ids import MemberId
from ofcd.protocol.records import Cap
from ofcd.protocol.scopes import scopes_of

__all__ = ["Who", "delivery_record", "event_record", "member_record", "sponsor_record"]

Made = dict[str, Any]


@frozen
class Who:
    """What is known of a room's members when an event is described."""

    name: Callable[[MemberId], str]
    caps: Callable[[MemberId], frozenset[Cap]]
    me: MemberId
    sponsor: Callable[[MemberId], Sponsor | None] = lambda _: None
    """Whose bot a member is, or was."""

    def subjects(self, *members: MemberId) -> list[Made]:
        """Members as the objects in `subjects`."""
        return [{"member": mid.hex(), "name": self.name(mid)} for mid in members]


def event_record(event: events.AppEvent, who: Who) -> Made | None:
    """The object for this event; None for one that only the program itself is told."""
    details = _details(event, who)
    if details is None:
        return None
    return {**_common(event, who), **details}


def void_record(message: events.Message, who: Who) -> Made:
    """The object for a message that came to nothing, and was not said again: with `void`."""
    received = events.MessageReceived(
        room=message.room,
        seq=message.seq,
        event_id=message.event_id,
        mid=message.mid,
        ts=message.ts,
        message=message,
    )
    return {**_common(received, who), **_message(message, who), "void": True}


def _common(event: events.AppEvent, who: Who) -> Made:
    seq: int | None = getattr(event, "seq", None)
    event_id: bytes | None = getattr(event, "event_id", None)
    mid: MemberId | None = getattr(event, "mid", None)
    made: Made = {
        "seq": seq,
        "event_id": None if event_id is None else event_id.hex(),
        "member": None if mid is None else mid.hex(),
        "name": "" if mid is None else who.name(mid),
        "kind": "",
        "text": "",
        "ts": getattr(event, "ts", None),
    }
    if getattr(event, "earlier", ()):
        made |= {"again": True, "first_id": event.first_id.hex()}  # type: ignore[union-attr]
    if mid is not None:
        made |= {cap.value: True for cap in (Cap.BOT, Cap.BRIDGE) if cap in who.caps(mid)}
        sponsor = who.sponsor(mid)
        made |= {} if sponsor is None else {"bot": True, "sponsor": sponsor_record(sponsor)}
        made |= {"mine": True} if mid == who.me else {}
    return made


def member_record(member: MemberInfo) -> Made:
    """A member as the object of `ofc members`; for a bot, whose it is and what it may do.

    `verified` is when a phrase has shown its keys to be genuine; `same_as` its person's devices.
    """
    made: Made = {
        "member": member.mid.hex(),
        "name": member.name,
        "role": member.role.value,
        "caps": sorted(cap.value for cap in member.caps),
        "you": member.is_me,
        "fingerprint": member.fingerprint,
    }
    if member.verified is not None:
        made["verified"] = member.verified
    if member.same_as:
        made["same_as"] = [mid.hex() for mid in member.same_as]
    if member.sponsor is not None:
        made["sponsor"] = sponsor_record(member.sponsor)
        made["scopes"] = [scope.value for scope in scopes_of(member.role, member.caps)]
    return made


def sponsor_record(sponsor: Sponsor) -> Made:
    """Whose bot it is, as the object in `sponsor`."""
    made: Made = {"member": sponsor.mid.hex(), "name": sponsor.name}
    return {**made, "gone": sponsor.gone} if sponsor.gone else made


def delivery_record(delivery: Delivery) -> Made:
    """How far a message of one's own has come, as the object in `delivery`."""
    return {
        "state": delivery.state,
        "reached": [mid.hex() for mid in delivery.reached],
        "awaited": [mid.hex() for mid in delivery.awaited],
    }


# -- messages --------------------------------------------------------------------------------------


def _message(message: events.Message, who: Who) -> Made:
    made: Made = {"kind": "message", "text": message.text}
    if message.name:
        made["name"] = message.name
    if message.file is not None:
        made["kind"] = "file"
        made["file"] = _file(message.file)
    if message.via is not None:
        made["name"] = one_line(message.via.name or message.via.remote_id)
        made["via"] = _via(message.via)
    if message.redacted_by is not None:
        return {**made, "redacted_by": message.redacted_by.hex()}
    if message.unreadable:
        return {**made, "kind": "unreadable", "reason": message.unreadable}
    made |= _context(message, who)
    if message.reactions:
        made["reactions"] = {
            emoji: [who.name(mid) or mid.hex() for mid in mids] for emoji, mids in message.reactions
        }
    return made


def _context(message: events.Message, who: Who) -> Made:
    made = _form(message, who)
    if message.edited:
        made["edited"] = True
    for field in ("reply_to", "thread"):
        target = getattr(message, field)
        if target is not None:
            made[field] = target.hex()
    return made


def _form(message: events.Message, who: Who) -> Made:
    """How the text is to be shown, and whom it mentions."""
    made: Made = {}
    if message.format != "plain":
        made["format"] = message.format
    if message.mentions:
        made["mentions"] = [mid.hex() for mid in message.mentions]
        made["mentioned"] = who.subjects(*message.mentions)
    return made


def _file(info: events.FileInfo) -> Made:
    return {"name": one_line(info.name), "type": info.media_type, "size": info.size}


def _via(via: events.Via) -> Made:
    return {
        "network": one_line(via.network) or "?",  # never an empty mark
        "remote_id": one_line(via.remote_id),
        "name": one_line(via.name),
    }


# -- one function a kind ---------------------------------------------------------------------------


@singledispatch
def _details(event: Any, who: Who) -> Made | None:
    return None


@_details.register
def _(event: events.MessageReceived, who: Who) -> Made:
    return _message(event.message, who)


@_details.register
def _(event: events.MessageEdited, who: Who) -> Made:
    return {
        "kind": "edit",
        "text": event.message.text,
        "target": event.message.event_id.hex(),
        "target_seq": event.message.seq,
        **_form(event.message, who),
    }


@_details.register
def _(event: events.MessageRedacted, who: Who) -> Made:
    return {"kind": "redaction", "target": event.target.hex(), "target_seq": event.target_seq}


@_details.register
def _(event: events.MessageReacted, who: Who) -> Made:
    return {
        "kind": "reaction",
        "target": event.target.hex(),
        "target_seq": event.target_seq,
        "reaction": event.reaction,
        "withdrawn": event.withdrawn,
    }


@_details.register
def _(event: events.MessageInvalid, who: Who) -> Made:
    return {"kind": "invalid", "reason": event.reason}


@_details.register
def _(event: events.MessageUnreadable, who: Who) -> Made:
    return {"kind": "unreadable", "epoch": event.epoch, "reason": ""}


@_details.register
def _(event: events.NameChanged, who: Who) -> Made | None:
    first = not event.before and event.mid == who.me
    if first or event.name == event.before:
        return None  # nobody has to be told
    return {"kind": "name", "name": event.name, "before": event.before}


@_details.register
def _(event: events.RoomRenamed, who: Who) -> Made:
    return {
        "kind": "room",
        "room_name": event.name,
        "topic": event.topic,
        "before": event.before,
    }


@_details.register
def _(event: events.RoomFounded, who: Who) -> Made:
    return {"kind": "founded"}


@_details.register
def _(event: events.MemberJoined, who: Who) -> Made:
    return {
        "kind": "joined",
        "subjects": who.subjects(event.member),
        "role": event.role.value,
        "caps": sorted(event.caps),
    }


@_details.register
def _(event: events.MemberLeft, who: Who) -> Made:
    return {
        "kind": "evicted" if event.evicted else "left",
        "subjects": who.subjects(*event.members),
        "reason": event.reason,
    }


@_details.register
def _(event: events.RoleChanged, who: Who) -> Made:
    return {
        "kind": "role",
        "subjects": who.subjects(event.member),
        "role": event.role.value,
        "caps": sorted(event.caps),
    }


@_details.register
def _(event: events.HandoverOffered, who: Who) -> Made:
    return {"kind": "handover_offer", "subjects": who.subjects(event.to)}


@_details.register
def _(event: events.HandedOver, who: Who) -> Made:
    return {"kind": "handover", "subjects": who.subjects(event.to)}


@_details.register
def _(event: events.HomeChanged, who: Who) -> Made:
    return {"kind": "home", "relay": event.home.hex()}


@_details.register
def _(event: events.HubMoved, who: Who) -> Made:
    return {"kind": "move", "relay": event.hub.hex(), "url": event.url}


@_details.register
def _(event: events.Rotated, who: Who) -> Made:
    return {"kind": "rotated", "epoch": event.epoch, "boxed": event.boxed}


@_details.register
def _(event: events.InviteOpened, who: Who) -> Made:
    return {
        "kind": "invite_opened",
        "invite": event.invite_id.hex(),
        "role": event.role.value,
        "caps": sorted(event.caps),
    }


@_details.register
def _(event: events.InviteClosed, who: Who) -> Made:
    return {"kind": "invite_closed", "invite": event.invite_id.hex()}


# -- live ------------------------------------------------------------------------------------------


@_details.register
def _(event: events.Alarm, who: Who) -> Made:
    return {"kind": "alarm", "alarm": event.kind.value, "text": event.text}


@_details.register
def _(event: events.KeyMissing, who: Who) -> Made:
    return {"kind": "key_missing", "epoch": event.epoch}


@_details.register
def _(event: events.KeyFound, who: Who) -> Made:
    return {
        "kind": "key_found",
        "epoch": event.epoch,
        "recovered": event.recovered,
        "lost": event.lost,
    }


@_details.register
def _(event: events.HistoryGap, who: Who) -> Made:
    return {"kind": "gap", "start": event.start, "end": event.end}


@_details.register
def _(event: events.EntriesVoided, who: Who) -> Made:
    return {
        "kind": "void",
        "start": event.start,
        "end": event.end,
        "messages": len(event.messages),
        "own": event.own,
        "changes": event.controls,
    }


@_details.register
def _(event: events.MessageFailed, who: Who) -> Made:
    return {"kind": "failed", "code": event.code, "text": event.text}


@_details.register
def _(event: events.JoinAsked, who: Who) -> Made:
    return {"kind": "join_asked", "invite": event.invite_id.hex()}


@_details.register
def _(event: events.CompareAsked, who: Who) -> Made:
    return {"kind": "compare_asked", "until": event.until}


@_details.register
def _(event: events.ComparisonEnded, who: Who) -> Made:
    return {"kind": "compare_ended", "outcome": event.outcome}


@_details.register
def _(event: events.AliasChanged, who: Who) -> Made:
    return {"kind": "alias", "subjects": who.subjects(*event.members), "same": event.same}


@_details.register
def _(event: events.RoomStateChanged, who: Who) -> Made:
    return {"kind": "status", "state": event.status.value, "reason": event.code}


@_details.register
def _(event: events.RelayKeyChanged, who: Who) -> Made:
    return {"kind": "relay_key", "text": event.text, "disputed": event.disputed}


@_details.register
def _(event: events.LinkStateChanged, who: Who) -> Made:
    return {
        "kind": "link",
        "state": event.state.value,
        "text": event.detail,
        "retry_at": event.retry_at,
    }
