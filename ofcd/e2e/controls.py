"""Control records: what changes who is in the room and what they may do (protocol.md §2.3).

Each maker signs for the current control head. A lost race comes back as `conflict`: apply what
was missed, and make the record again. Every maker raises `Refused` for what the room's state does
not allow, before anything is sent.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ofcd.e2e.keys import MemberKeys
from ofcd.protocol.ids import Hash32, InviteId, MemberId, PublicKey, RelayId, RoomId
from ofcd.protocol.records import (
    Attach,
    Cap,
    Control,
    Grant,
    Handover,
    HandoverAccept,
    Home,
    HubMove,
    InviteClose,
    Leave,
    Record,
    Role,
    Seen,
    UpdateKey,
)
from ofcd.protocol.room import RoomState
from ofcd.protocol.versions import VERSION
from ofcd.themis.signed import SignedRecord, check_handover, sign_record

__all__ = [
    "accept_handover",
    "header_fields",
    "make_attach",
    "make_grant",
    "make_handover",
    "make_home",
    "make_hub_move",
    "make_invite_close",
    "make_key_update",
    "make_leave",
    "sign_control",
]


def header_fields(state: RoomState, mine: MemberKeys, seen: Seen, now: int) -> dict[str, Any]:
    """The fields every control record begins with; `now` in milliseconds since 1970."""
    return {
        "v": VERSION,
        "room": state.room,
        "mid": mine.mid,
        "prev": state.ctl,
        "seen": seen,
        "ts": now,
    }


def sign_control(state: RoomState, mine: MemberKeys, record: Control, seen: Seen) -> SignedRecord:
    """`record`, signed, once the state has been seen to allow it; raises `Refused`."""
    signed = sign_record(mine.sign.private, record)
    state.apply(record, signed.event_id, max(state.seq, seen.seq) + 1)
    return signed


def make_leave(state: RoomState, mine: MemberKeys, seen: Seen, now: int) -> SignedRecord:
    """LEAVE: my own departure; an owner must hand out a new key next."""
    return sign_control(state, mine, Leave(**header_fields(state, mine, seen, now)), seen)


def make_home(
    state: RoomState, mine: MemberKeys, seen: Seen, now: int, *, home: RelayId
) -> SignedRecord:
    """HOME: I am at home at the relay `home` from now on."""
    record = Home(**header_fields(state, mine, seen, now), home=home)
    return sign_control(state, mine, record, seen)


def make_key_update(
    state: RoomState, mine: MemberKeys, seen: Seen, now: int, enc_key: PublicKey
) -> SignedRecord:
    """UPDATE_E: `enc_key` takes the place of my encryption key.

    Keep its private half before this is sent: from where it stands, boxes are made for it alone.
    """
    record = UpdateKey(**header_fields(state, mine, seen, now), enc_key=enc_key)
    return sign_control(state, mine, record, seen)


def make_hub_move(
    state: RoomState,
    mine: MemberKeys,
    seen: Seen,
    now: int,
    *,
    hub: RelayId,
    urls: Iterable[str],
    above: int = 0,
    force: bool = False,
) -> SignedRecord:
    """HUB_MOVE: the relay `hub`, reached at `urls`, orders the room behind `seen`.

    By `force` its term is `above` all that root knows of; else one more than the room's.
    """
    fields = header_fields(state, mine, seen, now)
    record = HubMove(
        **fields,
        hub=hub,
        urls=tuple(urls),
        term=(max(state.term, above) if force else state.term) + 1,
        force=force,
        after=state.moved[-1].event_id if state.moved else None,
    )
    return sign_control(state, mine, record, seen)


def make_grant(
    state: RoomState,
    mine: MemberKeys,
    seen: Seen,
    now: int,
    *,
    member: MemberId,
    role: Role,
    caps: Iterable[Cap] = (),
) -> SignedRecord:
    """GRANT or REVOKE: sets the role and all the capabilities of `member`."""
    fields = header_fields(state, mine, seen, now)
    record = Grant(**fields, member=member, role=role, caps=tuple(sorted(caps)))
    return sign_control(state, mine, record, seen)


def make_invite_close(
    state: RoomState,
    mine: MemberKeys,
    seen: Seen,
    now: int,
    *,
    invite_id: InviteId,
    answered: bool = False,
) -> SignedRecord:
    """INVITE_CLOSE: nobody can join by this invite any more.

    `answered`: I gave someone the room key under it, so an owner must make a boxed REKEY next.
    """
    fields = header_fields(state, mine, seen, now)
    record = InviteClose(**fields, invite_id=invite_id, answered=answered)
    return sign_control(state, mine, record, seen)


def accept_handover(state: RoomState, mine: MemberKeys, now: int) -> SignedRecord:
    """HANDOVER_ACCEPT: I am ready to be root; sent to root inside a sealed message."""
    accept = HandoverAccept(
        v=VERSION, room=state.room, root=state.root, mid=mine.mid, ctl=state.heads[-1], ts=now
    )
    return sign_record(mine.sign.private, accept)


def make_handover(
    state: RoomState, mine: MemberKeys, seen: Seen, now: int, *, to: MemberId, accept: bytes
) -> SignedRecord:
    """HANDOVER: `to`, whose signed acceptance is nested, becomes root; a boxed REKEY comes next.

    Raises `Refused` or `Malformed` if `accept` is not the heir's, for this room, root and time.
    """
    record = Handover(**header_fields(state, mine, seen, now), to=to, accept=accept)
    check_handover(state, record)
    return sign_control(state, mine, record, seen)


def make_attach(
    room: RoomId,
    mine: MemberKeys,
    *,
    transport_key: PublicKey,
    relay_id: RelayId,
    challenge: Hash32,
    now: int,
) -> SignedRecord:
    """ATTACH: proves, on the session that `challenge` came on, that I hold this member's keys."""
    record: Record = Attach(
        v=VERSION,
        room=room,
        mid=mine.mid,
        transport_key=transport_key,
        relay_id=relay_id,
        challenge=challenge,
        ts=now,
    )
    return sign_record(mine.sign.private, record)
