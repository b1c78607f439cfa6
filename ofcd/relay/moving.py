"""A room that goes over to another hub: HUB_MOVE (docs/protocol.md, Moving a room).

The hub so far commits the record as the last entry it orders, once the new one has confirmed to
have all before it. From then on it follows. The new one orders from the same entry on: when it
stands in its copy. Whoever else follows the room asks the new one for what comes next.

By force (see also `forcing`) the new hub itself takes the record, at the end of its copy.
"""

from __future__ import annotations

from typing import Any, Final

from ofcd.protocol import frames
from ofcd.protocol.codes import SENTENCES, Code, Refused
from ofcd.protocol.ids import MemberId, RelayId
from ofcd.protocol.records import HubMove, LoggedRecord
from ofcd.relay.effects import Decision, Effect, HubMoved, Push
from ofcd.relay.facts import Fact, KeyRequestDropped, MovesKept, OutboxDropped, ReplicaMoved
from ofcd.relay.refusal import Refusal
from ofcd.relay.request import Core, Request
from ofcd.relay.room_log import RoomLog
from ofcd.themis.signed import peek

__all__ = ["change_hub", "hold", "is_ready", "require_open", "return_all", "take_up"]

_HOLD_MS: Final = 5_000
"""How long nothing else is taken in a room that is about to move: some tries of root's client."""
_AGAIN_MS: Final = 250
_NOT_WILLING: Final = "the relay that the room is to move to takes over no rooms of other relays"
_NOT_FOLLOWED: Final = "the relay that the room is to move to does not follow it now: try again"


def require_open(request: Request[Any, Any]) -> None:
    """Raises `Refusal` (try_again) while the room waits for its HUB_MOVE."""
    room = request.room
    if request.now < room.held_until and not isinstance(request.record, HubMove):
        raise Refusal(Code.TRY_AGAIN, retry_after=room.held_until - request.now)


def is_ready(core: Core, room: RoomLog, record: HubMove) -> bool:
    """Whether the record may stand next: behind what it has seen, and the new hub has all that.

    Raises `Refused` where the new hub does not even follow (hub_away), or takes none (forbidden).
    What is moved by force is refused (wrong_relay) anywhere but at the new hub, and (seen_stale) if
    that has more than root has seen.
    """
    if record.force:
        if record.hub != core.relay_id:
            raise Refused(Code.WRONG_RELAY, "the relay that the room is to move to takes this")
        if not core.policy.hosts:
            raise Refused(Code.FORBIDDEN, _NOT_WILLING)
        if record.seen.seq != room.seq:
            raise Refusal(Code.SEEN_STALE, seq=room.seq)
        return True
    acked = core.acked.get((room.room, record.hub))
    if acked is None:
        raise Refused(Code.HUB_AWAY, _NOT_FOLLOWED)
    if (room.room, record.hub) not in core.hosts:
        raise Refused(Code.FORBIDDEN, _NOT_WILLING)
    return record.seen.seq == room.seq <= acked


def hold(request: Request[frames.Control, LoggedRecord]) -> None:
    """It comes too early: take nothing else for a moment, and have it made again."""
    request.room.held_until = request.now + _HOLD_MS
    why = SENTENCES[Code.TRY_AGAIN]
    failure = frames.Failure(
        request.rid, Code.TRY_AGAIN.value, why, seq=request.room.seq, retry_after=_AGAIN_MS
    )
    request.reply(failure)


def take_up(core: Core, room: RoomLog) -> Decision:
    """Order a room that was moved here while this relay took over none, if it does so now."""
    if not room.unwilling or not core.policy.hosts:
        return Decision()
    before, room.ahead, room.unwilling = room.hub, None, False
    facts: list[Fact] = []
    effects: list[Effect] = []
    change_hub(core, room, before, room.moves, facts, effects)
    return Decision(tuple(facts), tuple(effects))


def change_hub(
    core: Core,
    room: RoomLog,
    before: RelayId,
    moves: tuple[bytes, ...],
    facts: list[Fact],
    effects: list[Effect],
) -> None:
    """Another relay than `before` orders the room now: what follows from it here.

    `moves` are the room's last HUB_MOVEs; the copy need not have come so far.
    """
    hub, own = room.hub, core.relay_id
    last = peek(moves[-1]).record
    if not isinstance(last, HubMove):
        raise TypeError("a room is moved by a HUB_MOVE")
    is_here = hub == own and room.ahead is None
    facts.append(ReplicaMoved(room.room, None if is_here else hub))
    facts.append(MovesKept(room.room, last.ts, moves, before))
    room.head, room.held_until = b"", 0
    # Who lacks a key asks the new hub.
    facts += [KeyRequestDropped(room.room, mid) for mid in room.key_asks]
    room.key_asks.clear()
    if before == own:
        _close_lanes(core, room)
    if hub == own:
        return_all(core, room, facts, effects)
    effects.append(HubMoved(room.room, room.seq, before, hub, last.urls, last.ts, moves))


def _close_lanes(core: Core, room: RoomLog) -> None:
    """What was asked here of the hub is asked of the new one."""
    for link_id in list(core.links.attached(room.room)):
        link = core.links.get(link_id)
        if link is not None and link.peer is not None:
            core.links.detach(link, room.room)


def return_all(core: Core, room: RoomLog, facts: list[Fact], effects: list[Effect]) -> None:
    """What waited here for the hub so far goes back to its senders, to be signed anew."""
    oldest: dict[MemberId, int] = {}
    for row in room.outbox.values():
        oldest[row.mid] = min(row.counter, oldest.get(row.mid, row.counter))
    for row in list(room.outbox.values()):
        room.drop_waiting(row.mid, row.sid)
        facts.append(OutboxDropped(room.room, row.mid, row.sid))
        code = Code.CTL_STALE if row.counter == oldest[row.mid] else Code.COUNTER_GAP
        told = frames.Returned(
            room.room, row.sid, row.event_id, code.value, SENTENCES[code], room.seq
        )
        effects += [Push(link, told) for link in core.links.of_member(room.room, row.mid)]
