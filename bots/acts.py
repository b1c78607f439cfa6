"""What a bot does to a room as its co-owner: kept with the rest of a handler, then done (sans-IO).

A handler that evicts someone writes an act, in the transaction that holds its answers and its place
in the log. Only then is it done, by `hands`, as often as it takes; each act knows by the room's
state whether there is anything left to do. So the handler is not run again on a room that it has
half changed already.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Final

from attrs import frozen

from bots.effects import Effects
from bots.records import Reads, Writes
from ofcd.protocol.codec import build, unbuild
from ofcd.protocol.ids import InviteId, MemberId, RoomId, Sid
from ofcd.protocol.records import Cap, Role

__all__ = [
    "AcceptHandover",
    "Act",
    "CloseInvite",
    "Evict",
    "Grant",
    "HandOver",
    "Kept",
    "Rotate",
    "acts_of",
    "forget_act",
    "keep_act",
]


@frozen
class Evict:
    """Remove members; with it everyone else gets a new key."""

    members: tuple[MemberId, ...]
    reason: str = ""


@frozen
class Rotate:
    """Renew the key, if it still is that of `epoch`."""

    epoch: int
    boxed: bool = False


@frozen
class Grant:
    """Give a member this role and exactly these caps."""

    member: MemberId
    role: Role
    caps: tuple[Cap, ...] = ()


@frozen
class HandOver:
    """Ask a member to become root."""

    to: MemberId


@frozen
class AcceptHandover:
    """Become root, as root has asked."""


@frozen
class CloseInvite:
    """Nobody joins by it any more."""

    invite_id: InviteId


Act = Evict | Rotate | Grant | HandOver | AcceptHandover | CloseInvite
_KINDS: Final[dict[str, type[Act]]] = {
    "evict": Evict,
    "rotate": Rotate,
    "grant": Grant,
    "hand_over": HandOver,
    "accept_handover": AcceptHandover,
    "close_invite": CloseInvite,
}
_NAMES: Final = {cls: name for name, cls in _KINDS.items()}


@frozen
class Kept:
    """An act as it is kept until it is done."""

    key: bytes
    act: Act
    sid: Sid
    """The same in every run of its handler: of what is said about it."""


def keep_act(records: Writes, room: RoomId, effects: Effects, now: int, act: Act) -> None:
    """Have it done once the handler has ended, after those that were kept before."""
    sid = effects.next_sid()
    fields = {"kind": _NAMES[type(act)], "act": unbuild(act)}
    order = now.to_bytes(8, "big") + effects.count.to_bytes(4, "big")
    records.put(_table(room), order + sid, json.dumps(fields, separators=(",", ":")).encode())


def acts_of(records: Reads, room: RoomId) -> Iterator[Kept]:
    """What is still to be done in a room, in order."""
    for key, raw in list(records.items(_table(room))):
        fields = json.loads(raw)
        yield Kept(key, build(_KINDS[fields["kind"]], fields["act"]), Sid(key[-16:]))


def forget_act(records: Writes, room: RoomId, kept: Kept) -> None:
    """It is done."""
    records.delete(_table(room), kept.key)


def _table(room: RoomId) -> str:
    return f"app/bot/acts/{room.hex()}"
