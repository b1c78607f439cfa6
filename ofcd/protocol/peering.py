"""What two relays say to each other on their link (docs/protocol.md, Federation).

For a room one of the two is its *hub*, which orders it, and the other a *follower*, which keeps a
copy for its own members; for other rooms it may be the other way round, on the same link. What
members ask of the hub travels in *lanes*: one for each member, and one for each stranger who joins.
"""

from __future__ import annotations

from attrs import field, frozen
from attrs.validators import ge, max_len

from ofcd.protocol import limits
from ofcd.protocol.ids import Hash32, MemberId, RoomId
from ofcd.protocol.parts import part, parts

__all__ = [
    "Follow",
    "LaneAsk",
    "LaneClose",
    "LaneLost",
    "LaneOpen",
    "LaneTell",
    "PeerBox",
    "Ping",
    "Pong",
    "Refill",
    "Unfollowed",
]


@frozen
class Follow:
    """Follower: send me the room's log from `start` on, live. Answer: `Synced`, or `Failure`.

    `log` is the follower's own running hash before `start`, where it has one. `hosts`: it would
    order the room, if root moved it there.
    """

    rid: int
    room: RoomId
    start: int
    log: Hash32 | None = None
    hosts: bool = False


@frozen
class Unfollowed:
    """Hub: nothing more of this room for this follower; `code` says why."""

    room: RoomId
    code: str = field(validator=max_len(limits.SHORT_TEXT))


@frozen
class PeerBox:
    """Hub: the key box of a member of the follower's; stands before its record's `Delivery`."""

    room: RoomId
    seq: int
    mid: MemberId
    box: bytes = part(limits.BOX_BYTES)


@frozen
class LaneOpen:
    """Follower: what comes in this lane is of member `mid`, who is at home here. No answer."""

    lane: int = field(validator=ge(1))
    room: RoomId
    mid: MemberId


@frozen
class LaneAsk:
    """Follower: a frame of a client of mine, as it came."""

    lane: int
    frame: bytes = part(limits.FRAME_BYTES)


@frozen
class LaneTell:
    """Hub: a frame for a client of yours; lane 0 for all who are in the room that it names."""

    lane: int
    frame: bytes = part(limits.FRAME_BYTES)


@frozen
class LaneClose:
    """Follower: the lane is done with. No answer."""

    lane: int


@frozen
class LaneLost:
    """Hub: nobody is at the end of this lane; what was asked in it has no answer."""

    lane: int
    code: str = field(validator=max_len(limits.SHORT_TEXT))


@frozen
class Refill:
    """Follower: entries that the hub has lost, from `start` on: records and cells by turns.

    `head` is a LOG_HEAD that the hub itself signed, of an entry it no longer has; `ids` are the
    event ids of all entries from `start` on that the follower has, 32 bytes each. Answer: `Done`.
    """

    rid: int
    room: RoomId
    start: int
    head: bytes = part(limits.RECORD_BYTES)
    ids: bytes = part(limits.FRAME_BYTES // 2)
    entries: tuple[bytes, ...] = parts(limits.FRAME_PARTS)


@frozen
class Ping:
    """Are you there? Answer: `Pong`."""

    number: int


@frozen
class Pong:
    """Here."""

    number: int
