"""What is in memory, and for how long; and what expires (protocol.md §2.3, JOIN_REQ)."""

from __future__ import annotations

from typing import Final

from ofcd.protocol.ids import RoomId
from ofcd.relay import outbox
from ofcd.relay.effects import Decision, Effect
from ofcd.relay.facts import Fact, HubAwaited, JoinDropped, RoomSnapshot
from ofcd.relay.forcing import FORGET_ASKED_MS
from ofcd.relay.request import Core
from ofcd.relay.room_log import RoomLog, expired

__all__ = ["REFILL_MS", "forget", "take_in", "tick"]

REFILL_MS: Final = 60_000
"""How long a room that is refilled, or waits to be, takes nothing else, to begin with."""
_REFILL_REST_MS: Final = 600_000
"""How long a relay that did not complete a refill of a room may begin none there."""


def take_in(core: Core, room: RoomId, snapshot: RoomSnapshot | RoomLog | None) -> None:
    """A room from the store, or the news that there is none."""
    core.forgotten.pop(room, None)
    if snapshot is None:
        core.absent[room] = None
        if room in core.unsure:
            core.room_count -= 1
        if len(core.absent) > core.policy.absent_rooms:
            core.absent.popitem(last=False)
    else:
        core.rooms[room] = (
            snapshot if isinstance(snapshot, RoomLog) else RoomLog.from_snapshot(snapshot)
        )
    core.unsure.discard(room)


def forget(core: Core, room: RoomId) -> None:
    """Drop a room whose state in memory is not the stored one."""
    dropped = core.rooms.pop(room, None)
    if dropped is None:
        return
    core.links.restore(room)
    if core.links.attached(room):
        core.forgotten[room] = dropped
    if dropped.seq == 0:
        core.unsure.add(room)


def tick(core: Core, now: int) -> Decision:
    """Expire joins; let go of attachments without a member and of rooms without a link."""
    facts: list[Fact] = []
    for room in core.rooms.values():
        facts += _expire_joins(core, room, now)
    effects: list[Effect] = []
    for room in core.rooms.values():
        if room.outbox:
            expired_events = outbox.expire_outbox(core, room, now)
            facts += expired_events.facts
            effects += expired_events.effects
    for room in core.rooms.values():
        if room.lost and now >= room.lost_until:
            room.lost.clear()  # who began to give it back is gone, too slow, or made it up
            if room.refiller is not None:
                room.refill_after[room.refiller] = now + _REFILL_REST_MS
        if room.awaits is not None:
            facts += _await_on(room, now)
    for room in _settled(core, now):
        core.links.prune(room.room, room.state.members)
    _unload(core, now)
    for asked, (_, last) in list(core.force_asked.items()):
        if now - last > FORGET_ASKED_MS:
            del core.force_asked[asked]
    return Decision(tuple(facts), tuple(effects))


def _await_on(room: RoomLog, now: int) -> list[Fact]:
    """Who has to speak first has a minute for it, and again after a restart."""
    room.lost_until = room.lost_until or now + REFILL_MS
    if now < room.lost_until:
        return []
    room.awaits = None
    return [HubAwaited(room.room, None)]


def _expire_joins(core: Core, room: RoomLog, now: int) -> list[JoinDropped]:
    days = core.policy.join_pending_days
    old = [join.row for join in room.joins.values() if expired(join.row.ts, days, now)]
    for row in old:
        del room.joins[row.invite_id, row.request_hash]
    if old:
        room.touched = now
    return [JoinDropped(row.room, row.invite_id, row.request_hash) for row in old]


def _settled(core: Core, now: int) -> list[RoomLog]:
    """The rooms whose last decision is committed for sure, longest unused first."""
    settled = [
        room for room in core.rooms.values() if now - room.touched > core.policy.room_settle_ms
    ]
    return sorted(settled, key=lambda room: room.touched)


def _unload(core: Core, now: int) -> None:
    """Keep some rooms that nobody is attached to, the last used ones."""
    unused = [
        room
        for room in _settled(core, now)
        if not core.links.attached(room.room) and not room.outbox
    ]
    for room in unused[: max(0, len(unused) - core.policy.rooms_in_memory)]:
        del core.rooms[room.room]
