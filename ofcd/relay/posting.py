"""EVENT: messages, redactions and beats; and ephemeral signals (protocol.md §2.3, §2.5)."""

from __future__ import annotations

from ofcd.protocol import frames
from ofcd.protocol.codes import Code, Malformed, Refused
from ofcd.protocol.ids import sha256
from ofcd.protocol.records import Event, EventKind
from ofcd.relay.effects import Appended, FindSid, Redacted
from ofcd.relay.facts import CellRedacted, LogEntry
from ofcd.relay.moving import require_open
from ofcd.relay.refusal import Refusal, failure_of
from ofcd.relay.request import Request, Signatures

__all__ = [
    "ack",
    "check_post",
    "check_shape",
    "check_signal",
    "find_sid",
    "perhaps_old",
    "repeated",
    "run_post",
    "run_signal",
]

Post = Request[frames.Post, Event]


def check_post(request: Post) -> Signatures:
    """The checks of an event, in the order of protocol.md §2.3; a repeat skips the later ones."""
    check_shape(request)
    if repeated(request) is None and not perhaps_old(request):
        _check_next(request)
    return request.signed_by(request.member.sign_key)


def run_post(request: Post) -> None:
    """Append the event; a repeat gets the Ack it got the first time."""
    entry = repeated(request)
    if entry is not None:
        request.reply(ack(request, entry))
    elif perhaps_old(request):
        request.effects.append(find_sid(request))
    else:
        _append(request)


def check_shape(request: Post) -> None:
    """What the header says of itself adds up."""
    event, frame = request.record, request.frame
    if (event.target is not None) != (event.kind is EventKind.REDACT):
        raise Malformed(Code.BAD_RECORD, "a redaction, and nothing else, names its target")
    if not frame.cell and event.kind is not EventKind.REDACT:
        raise Malformed(Code.BAD_RECORD, "the event has no sealed part")


def repeated(request: Post) -> LogEntry | None:
    """The entry of the same event, if memory holds it; raises if its sid is another event's."""
    event = request.record
    entry = request.room.by_sid.get((event.mid, event.sid))
    if entry is not None and entry.event_id != request.signed.event_id:
        raise Refusal(Code.SID_CONFLICT, seq=entry.seq, event_id=entry.event_id)
    return entry


def perhaps_old(request: Post) -> bool:
    """Whether this may be a repeat of an event that is older than memory."""
    room, event = request.room, request.record
    return event.counter <= room.sender(event.mid).counter and not room.all_in_memory


def find_sid(request: Post) -> FindSid:
    """Look for it among what is older than memory."""
    event = request.record
    gap = Refusal(Code.COUNTER_GAP, event_id=request.room.sender(event.mid).last or None)
    return FindSid(
        request.link.id,
        request.rid,
        request.room.room,
        event.mid,
        event.sid,
        request.signed.event_id,
        failure_of(request.rid, gap),
    )


def _check_next(request: Post) -> None:
    """The event is the sender's next one, at this point of the log.

    While examining, what may become right by what is under way is let pass.
    """
    event, room, final = request.record, request.room, request.final
    require_open(request)
    room.check_seen(event.seen)
    if event.epoch != room.state.epoch and (final or event.epoch < room.state.epoch):
        raise Refusal(Code.EPOCH_STALE, seq=room.seq, event_id=room.state.ctl)
    if event.ctl != room.state.ctl and (final or event.ctl in room.chain):
        raise Refusal(Code.CTL_STALE, seq=room.seq, event_id=room.state.ctl)
    if room.knows(request.member):
        _check_counter(request)
    if not final and sha256(request.frame.cell) != event.cell_hash:
        raise Refused(Code.CELL_MISMATCH)
    _check_stall(request)
    _check_target(request)


def _check_counter(request: Post) -> None:
    event, last = request.record, request.room.sender(request.record.mid)
    if event.counter <= last.counter or (request.final and not last.follows(event.counter)):
        raise Refusal(Code.COUNTER_GAP, event_id=last.last or None)
    if last.is_certain and event.counter == last.counter + 1 and event.prev != last.last:
        raise Refusal(Code.PREV_MISMATCH, event_id=last.last)


def _check_stall(request: Post) -> None:
    state = request.room.state
    if 0 < state.policy.stall_after <= request.room.seq - state.epoch_seq:
        raise Refused(Code.QUOTA, "nobody may post until an owner has rotated the room key")


def _check_target(request: Post) -> None:
    """Redact your own events, or as an owner anyone's; the store checks those older than memory."""
    event = request.record
    target = None if event.target is None else request.room.by_event.get(event.target)
    if target is None:
        return
    if target.sid is None or not (request.member.is_owner or target.mid == event.mid):
        raise Refused(Code.FORBIDDEN, "this is not yours to redact")


def _append(request: Post) -> None:
    event, frame, room = request.record, request.frame, request.room
    fact = room.append(request.signed, event.mid, request.now, cell=frame.cell)
    request.facts.append(fact)
    request.reply(ack(request, room.recent[fact.seq]))
    if event.target is not None:
        request.facts.append(
            CellRedacted(room.room, event.target, event.mid, request.member.is_owner)
        )
        target = room.by_event.get(event.target)
        if target is not None:
            request.effects.append(Redacted(room.room, target.seq))
    delivery = frames.Delivery(room.room, fact.seq, fact.record, fact.cell)
    request.effects.append(Appended(room.room, fact.seq, delivery))


def ack(request: Post, entry: LogEntry) -> frames.Ack:
    """The answer for an event that is in the log."""
    return frames.Ack(request.rid, entry.event_id, entry.seq, entry.log, entry.sid)


# -- signals -------------------------------------------------------------------------------------


def check_signal(request: Request[frames.Signal, None]) -> Signatures:
    """A signal is sealed in the current epoch."""
    state = request.room.state
    if request.frame.epoch != state.epoch:
        raise Refusal(Code.EPOCH_STALE, seq=request.room.seq, event_id=state.ctl)
    return ()


def run_signal(request: Request[frames.Signal, None]) -> None:
    """Pass it to every other link of the room; nothing is stored, nobody answers."""
    frame, member = request.frame, request.member
    told = frames.Signalled(frame.room, member.mid, frame.epoch, frame.cell)
    request.push_to_members(lambda _: True, told, except_link=request.link)
