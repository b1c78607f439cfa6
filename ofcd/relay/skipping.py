"""A copy that goes on after a stretch which its hub no longer keeps.

Retention at the hub took events before the follower had them. What is left of that stretch is its
control log: each record is signed and names the one before it, so that the hub can leave none out
between two that it shows; it can keep back the last ones, until somebody speaks who has seen them.
That no event but those that retention took is missing, and L where the log goes on, are the hub's
word, as they are to a client; a LOG_HEAD or a `seen` over another L proves it false.

Where the room went to another hub, root has signed how long the log was, and its L, by HUB_MOVE. A
copy goes on after that record, at the new hub, and needs no LOG_HEAD of the one before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import evolve, field, frozen

from ofcd.protocol.codes import Code, ProtocolError, Refused
from ofcd.protocol.ids import Hash32, MemberId, PublicKey, log_hash
from ofcd.protocol.records import CONTROL_TYPES, HubMove, LogHead
from ofcd.relay.effects import Decision, Effect
from ofcd.relay.facts import (
    BoxStored,
    ChainCopied,
    ChainRecord,
    CopySkipped,
    Fact,
)
from ofcd.relay.following import take_members_change
from ofcd.relay.request import Core
from ofcd.relay.room_log import RoomLog, chain_size
from ofcd.relay.verifying import Entry, HubLied, Verified, Walk, verify_control
from ofcd.themis.lineage import Lineage
from ofcd.themis.signed import peek

__all__ = ["Skip", "signed_skip", "skip", "verify_skip"]

Boxes = Mapping[int, tuple[tuple[MemberId, bytes], ...]]


@frozen
class Skip:
    """A stretch that is nowhere to be had, and the control records of it, verified."""

    before: int
    """The copy's last entry before it."""
    floor: int
    """The first entry after it."""
    log: Hash32
    """The running hash before `floor`."""
    controls: tuple[Verified, ...] = field(repr=False)
    begins: Hash32
    """The running hash after `before`."""
    head: bytes = field(default=b"", repr=False)
    """What shows that the log is that long, and is kept: a LOG_HEAD of the hub's at the stretch's
    end, or after it; or the HUB_MOVE by which root took the room from that hub."""


def verify_skip(
    room: RoomLog, chain: Sequence[ChainRecord], floor: int, log: Hash32, boxes: Boxes
) -> Skip:
    """Every control record of the stretch, verified. Raises `HubLied`.

    `chain` is the hub's control log from the last record of the copy on, to its end; what comes
    after the stretch is looked at only as far as a HUB_MOVE there shows how long the log is.
    Changes nothing: for a worker thread.
    """
    known, *rest = chain
    if (known.seq, known.event_id) != (room.state.seq, room.state.ctl):
        # Perhaps it was put back to a backup, and went on: its other rooms are none the worse.
        raise HubLied(Code.FORK, "the hub no longer has the log that it gave before", (room.head,))
    if floor <= room.seq + 1:
        raise HubLied(Code.BAD_RECORD, "the hub keeps all that the copy lacks")
    walk = Walk(room, room.state, room.seq, room.log, hashes={floor - 1: log})
    departure = _departure(room, rest)
    controls: list[Verified] = []
    for stored in rest:
        if departure is None and stored.seq >= floor:
            break
        if not walk.seq < stored.seq:
            raise HubLied(Code.BAD_RECORD, "the hub shows its control log out of order")
        entry = Entry(stored.seq, stored.record, boxes=boxes.get(stored.seq, ()))
        try:
            controls.append(verify_control(walk, entry, peek(stored.record)))
        except ProtocolError as error:
            text = f"control record {stored.seq}: {error}"
            raise HubLied(error.kind, text, (stored.record,)) from error
        walk.seq = stored.seq
        if stored is departure:
            return _moved_skip(room, floor, log, controls)
    return Skip(room.seq, floor, log, tuple(controls), room.log)


def _departure(room: RoomLog, chain: Sequence[ChainRecord]) -> ChainRecord | None:
    """The HUB_MOVE that took the room from the copy's hub for good, if there is one."""
    last, hub = None, room.state.hub
    for stored in chain:
        record = peek(stored.record).record
        if isinstance(record, HubMove):
            last, hub = (stored if hub == room.hub else last), record.hub
    return None if hub == room.hub else last


def _moved_skip(room: RoomLog, floor: int, log: Hash32, controls: Sequence[Verified]) -> Skip:
    """The last of `controls` is a HUB_MOVE: root has signed what the log was before it."""
    move = controls[-1]
    seq, record = move.entry.seq, move.signed.record
    assert isinstance(record, HubMove)  # noqa: S101 - what it was found by
    after = log_hash(record.seen.log, seq, move.signed.event_id)
    if seq + 1 == floor and log != after:
        raise HubLied(Code.BAD_RECORD, "root signed another log than the hub names")
    if seq >= floor:
        return Skip(
            room.seq,
            floor,
            log,
            tuple(one for one in controls if one.entry.seq < floor),
            room.log,
            move.entry.record,
        )
    return Skip(room.seq, seq + 1, after, tuple(controls), room.log, move.entry.record)


def signed_skip(room: RoomLog, found: Skip, head: bytes, hub: Lineage, key: PublicKey) -> Skip:
    """The same, with the hub's signature that its log is as long as that; `key` is the one it has.

    Raises `HubLied`; `Refused` if it is of no use. For a worker thread.
    """
    record = peek(head).record
    if not isinstance(record, LogHead) or record.room != room.room or record.seq < found.floor - 1:
        raise Refused(Code.HUB_AWAY, "its relay signs no log that is as long as it says")
    states = [one.state for one in found.controls if one.state is not None]
    state = states[-1] if states else room.state
    term, signer = state.hub_at(record.seq), (hub.relay_id, record.term)
    # The HUB_MOVE to the hub that a copy begins with may come after the stretch.
    is_to_come = state.hub != room.hub == signer[0] and record.term > state.term
    if (term.relay_id, term.term) != signer and not is_to_come:
        raise Refused(Code.HUB_AWAY, "its relay signs a log of another time")
    try:
        hub.opened(key, head)
    except ProtocolError as error:
        raise HubLied(error.kind, f"its LOG_HEAD: {error}", (head,)) from error
    if record.seq == found.floor - 1 and record.log != found.log:
        raise HubLied(Code.BAD_RECORD, "the hub signed another log than it names", (head,))
    return evolve(found, head=head)


def skip(core: Core, room: RoomLog, found: Skip, now: int) -> Decision:
    """The copy goes on at the floor. Raises `Refused` (try_again) if it has changed meanwhile."""
    if (room.seq, room.log) != (found.before, found.begins):
        raise Refused(Code.TRY_AGAIN)
    missing = CopySkipped(room.room, found.before, found.floor, found.log, now, found.head)
    facts: list[Fact] = [missing]
    effects: list[Effect] = []
    room.skip_to(found.floor, found.log)
    for verified in found.controls:
        _take(core, room, verified, now, facts, effects)
    room.touched = now
    return Decision(tuple(facts), tuple(effects))


def _take(
    core: Core,
    room: RoomLog,
    verified: Verified,
    now: int,
    facts: list[Fact],
    effects: list[Effect],
) -> None:
    entry, signed, before = verified.entry, verified.signed, room.state
    facts.append(
        ChainCopied(room.room, entry.seq, signed.event_id, verified.mid, entry.record, now)
    )
    facts += [BoxStored(room.room, entry.seq, mid, box) for mid, box in entry.boxes]
    room.chain_bytes += chain_size(entry.record)
    if verified.state is not None and isinstance(signed.record, CONTROL_TYPES):
        room.advance(signed, verified.state)
    take_members_change(core, room, before, signed, facts, effects)
