"""Who asks in, where the bot decides: each request handled once, and what was decided kept.

The relay shows a pending request again on every link. What the bot decided is a record of its
vault, so a request is answered as decided, however often it is shown.
"""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Final

from bots.events import JoinRequest, Member
from bots.reading import member_of
from bots.records import Reads, Writes
from ofcd.client import JoinAsked, Room
from ofcd.protocol.ids import EventId, Hash32, InviteId, RoomId

__all__ = ["Decision", "apply_decisions", "decide", "decision_of", "keep_asked", "request_of"]

_STATE: Final = "state"
_INVITE: Final = "invite"


class Decision(StrEnum):
    """What became of a request."""

    OPEN = "open"
    """A handler has seen it, and not decided yet."""
    ADMIT = "admit"
    REFUSE = "refuse"


def request_of(room: Room, asked: JoinAsked, now: int) -> JoinRequest | None:
    """A request as handlers see one; None where its invite is open no more."""
    invite = next((one for one in room.invites() if one.invite_id == asked.invite_id), None)
    if invite is None:
        return None
    return JoinRequest(
        room=room.id,
        seq=-1,
        id=EventId(asked.request),
        sender=Member(asked.mid, asked.name, None),
        ts=now,
        inviter=member_of(room, invite.inviter),
        role=invite.role,
        caps=invite.caps,
        invite_id=invite.invite_id,
    )


def decision_of(records: Reads, room: RoomId, request: bytes) -> Decision | None:
    """What was decided; None for a request that no handler has seen."""
    raw = records.get(_table(room), request)
    return None if raw is None else Decision(json.loads(raw)[_STATE])


def keep_asked(records: Writes, room: Room, request: JoinRequest) -> None:
    """A handler sees it; requests by invites that are open no more are forgotten."""
    table = _table(room.id)
    still_open = {one.invite_id.hex() for one in room.invites()}
    for key, raw in list(records.items(table)):
        if json.loads(raw)[_INVITE] not in still_open:
            records.delete(table, key)
    _put(records, room.id, request.id, Decision.OPEN, request.invite_id)


def decide(records: Writes, room: RoomId, request: EventId, decision: Decision) -> InviteId | None:
    """Decide an open request, and return its invite; None where there is nothing to decide."""
    raw = records.get(_table(room), request)
    kept = {} if raw is None else json.loads(raw)
    if kept.get(_STATE) != Decision.OPEN:
        return None
    invite_id = InviteId(bytes.fromhex(kept[_INVITE]))
    _put(records, room, request, decision, invite_id)
    return invite_id


def apply_decisions(records: Reads, room: Room) -> list[JoinAsked]:
    """Answer what is decided; returns what no handler has seen yet."""
    unseen: list[JoinAsked] = []
    for asked in room.held_joins():
        decision = decision_of(records, room.id, asked.request)
        if decision is None:
            unseen.append(asked)
        elif decision is not Decision.OPEN:
            room.answer_join(Hash32(asked.request), admit=decision is Decision.ADMIT)
    return unseen


def _put(
    records: Writes, room: RoomId, request: bytes, decision: Decision, invite: InviteId
) -> None:
    fields = {_STATE: decision.value, _INVITE: invite.hex()}
    records.put(_table(room), request, json.dumps(fields).encode())


def _table(room: RoomId) -> str:
    return f"app/bot/joins/{room.hex()}"
