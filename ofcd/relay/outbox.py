"""What local members say in rooms that another relay orders: it waits here until the hub has it.

The hub decides. The sender is told `queued`, and what the hub refuses goes back to the sender.
"""

from __future__ import annotations

from typing import Any, Final

from ofcd.protocol import frames
from ofcd.protocol.codes import SENTENCES, Code, Refused
from ofcd.protocol.ids import EventId, MemberId, sha256
from ofcd.protocol.records import Event
from ofcd.relay.effects import Close, Decision, Effect, Push, Stir
from ofcd.relay.facts import Fact, OutboxDropped, OutboxRow, OutboxStored, SenderLearnt, SenderState
from ofcd.relay.policy import RelayPolicy
from ofcd.relay.posting import ack, check_shape, find_sid, perhaps_old, repeated
from ofcd.relay.refusal import Refusal
from ofcd.relay.request import Core, Request, Signatures
from ofcd.relay.room_log import DAY_MS, RoomLog, Waiting

__all__ = [
    "check_queue",
    "expire_outbox",
    "has_come_to",
    "require_home",
    "require_thawed",
    "return_events",
    "run_queue",
]

Post = Request[frames.Post, Event]


def check_queue(request: Post) -> Signatures:
    """The event is well-formed and its sender's; whether it fits the log is for the hub to say."""
    check_shape(request)
    require_thawed(request.room)
    if repeated(request) is None and not perhaps_old(request):
        _check_new(request)
    return request.signed_by(request.member.sign_key)


def require_thawed(room: RoomLog) -> None:
    """Raises where the room stands still: its hub was caught, or is this relay against its will."""
    if room.frozen:
        raise Refusal(Code(room.frozen), seq=room.seq)
    if room.unwilling:
        raise Refused(Code.FORBIDDEN, "the room was moved to this relay, which takes over none")


def require_home(request: Request[Any, Any]) -> None:
    """Who has moved says it through the relay it moved to: from here the hub takes nothing more."""
    if request.member.home != request.core.relay_id:
        raise Refused(Code.WRONG_RELAY, "this member is at home at another relay")


def _check_new(request: Post) -> None:
    require_home(request)
    event, room, policy = request.record, request.room, request.policy
    last = room.sender(event.mid)
    if event.counter <= last.counter:
        raise Refusal(Code.COUNTER_GAP, event_id=last.last or None)
    if request.now - event.ts > policy.outbox_days * DAY_MS:
        raise Refused(Code.EXPIRED)
    _check_shown(room, event)
    if not request.final and sha256(request.frame.cell) != event.cell_hash:
        raise Refused(Code.CELL_MISMATCH)
    if (event.mid, event.sid) not in room.outbox:
        _check_share(room, event.mid, policy)


def _check_shown(room: RoomLog, event: Event) -> None:
    """Nobody at home here has seen more than this copy, or another log.

    What claims to have would wait for a log that never comes.
    """
    if event.seen.seq > room.seq:
        raise Refusal(Code.HUB_BEHIND, seq=room.seq)
    entry = room.recent.get(event.seen.seq)
    if entry is not None and entry.log != event.seen.log:
        raise Refusal(Code.FORK, seq=room.seq)


def _check_share(room: RoomLog, mid: MemberId, policy: RelayPolicy) -> None:
    """Nobody may have more waiting than there is space left: so there always is for others."""
    mine = room.waiting.get(mid) or Waiting()
    events = policy.outbox_events_per_room - len(room.outbox)
    size = policy.outbox_bytes_per_room - room.outbox_bytes
    if len(mine.rows) >= events or mine.size >= size:
        raise Refused(Code.HUB_AWAY, "too much waits for the room's own relay already")


def run_queue(request: Post) -> None:
    """Keep the event for the hub; a repeat of one that is in the log gets its Ack."""
    entry, event, room = repeated(request), request.record, request.room
    if entry is not None:
        request.reply(ack(request, entry))
        return
    key = event.mid, event.sid
    known = room.outbox.get(key)
    if known is None and perhaps_old(request):
        request.effects.append(find_sid(request))
        return
    if known is None or known.event_id != request.signed.event_id:
        row = OutboxRow(
            room=room.room,
            mid=event.mid,
            sid=event.sid,
            counter=event.counter,
            event_id=request.signed.event_id,
            ts=request.now,
            record=request.signed.envelope,
            cell=request.frame.cell,
        )
        room.put_waiting(row)
        request.facts.append(OutboxStored(row))
    request.reply(frames.Queued(request.rid, request.signed.event_id, event.sid))
    request.effects.append(Stir(room.hub, room.room))


_BEHIND: Final = frames.Failure(0, Code.COUNTER_GAP.value, SENTENCES[Code.COUNTER_GAP])
"""Of an event behind a refused one: what was wrong with that one says nothing of this one."""


def return_events(
    core: Core, room: RoomLog, mid: MemberId, counter: int, failure: frames.Failure
) -> Decision:
    """The hub refused event `counter` of `mid`: it and all behind it go back to their sender."""
    rows = sorted(
        (row for row in room.outbox.values() if row.mid == mid and row.counter >= counter),
        key=lambda row: row.counter,
    )
    facts: list[Fact] = []
    effects: list[Effect] = []
    for row in rows:
        room.drop_waiting(row.mid, row.sid)
        facts.append(OutboxDropped(room.room, row.mid, row.sid))
        why = failure if row.counter == counter else _BEHIND
        told = frames.Returned(
            room.room, row.sid, row.event_id, why.code, why.text, why.seq, why.event_id
        )
        effects += [Push(link, told) for link in core.links.of_member(room.room, mid)]
    return Decision(tuple(facts), tuple(effects))


def has_come_to(
    core: Core, room: RoomLog, mid: MemberId, counter: int, event_id: EventId
) -> Decision:
    """Event `counter` of `mid`, which waits here, is the last of theirs that the hub has.

    It, and what came before it, stands in a stretch that is nowhere to be had. The sender's client
    learns from ATTACH that it was said.
    """
    rows = [row for row in room.outbox.values() if row.mid == mid and row.counter <= counter]
    for row in rows:
        room.drop_waiting(row.mid, row.sid)
    last = SenderState(counter, event_id)
    room.senders[mid] = last
    facts: list[Fact] = [OutboxDropped(room.room, row.mid, row.sid) for row in rows]
    told = frames.Failure(0, Code.TRY_AGAIN.value, SENTENCES[Code.TRY_AGAIN])
    effects = tuple(Close(link, told) for link in core.links.of_member(room.room, mid))
    return Decision((*facts, SenderLearnt(room.room, mid, last)), effects)


def expire_outbox(core: Core, room: RoomLog, now: int) -> Decision:
    """What waited too long goes back, with all that its sender said after it."""
    facts: list[Fact] = []
    effects: list[Effect] = []
    oldest: dict[MemberId, int] = {}
    for row in room.outbox.values():
        if now - row.ts > core.policy.outbox_days * DAY_MS:
            oldest[row.mid] = min(row.counter, oldest.get(row.mid, row.counter))
    for mid, counter in oldest.items():
        text = "the room's own relay could not be reached for too long"
        failure = frames.Failure(0, Code.EXPIRED.value, text)
        decision = return_events(core, room, mid, counter, failure)
        facts += decision.facts
        effects += decision.effects
    return Decision(tuple(facts), tuple(effects))
