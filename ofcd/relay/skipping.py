"""A copy that goes on after a stretch which its hub no longer keeps.

Retention at the hub took events before the follower had them. What is left of that stretch is its
control log: each record is signed and names the one before it, so that the hub can leave none out
between two that it shows; it can keep back the last ones, until somebody speaks who has seen them.
That no event but those that retention took is missing, and L where the log goes on, are the hub's
word, as they are to a client; a LOG_HEAD or a `seen` over another L proves it false.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import evolve, field, frozen

from ofcd.protocol.codes import Code, ProtocolError, Refused
from ofcd.protocol.ids import Hash32, MemberId, PublicKey, relay_id_of
from ofcd.protocol.records import CONTROL_TYPES, LogHead
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
from ofcd.themis.signed import open_signed, peek

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
    head: bytes = field(default=b"", repr=False)
    """A LOG_HEAD of the hub's at the stretch's end, or after it: kept, as what the hub said."""


def verify_skip(
    room: RoomLog, chain: Sequence[ChainRecord], floor: int, log: Hash32, boxes: Boxes
) -> Skip:
    """Every control record of the stretch, verified. Raises `HubLied`.

    `chain` begins with the last control record of the copy. Changes nothing: for a worker thread.
    """
    known, *rest = chain
    if (known.seq, known.event_id) != (room.state.seq, room.state.ctl):
        raise HubLied(Code.BAD_RECORD, "the hub has another control log than before")
    if floor <= room.seq + 1:
        raise HubLied(Code.BAD_RECORD, "the hub keeps all that the copy lacks")
    walk = Walk(room, room.state, room.seq, room.log, hashes={floor - 1: log})
    controls: list[Verified] = []
    for stored in rest:
        if not walk.seq < stored.seq < floor:
            raise HubLied(Code.BAD_RECORD, "the hub shows its control log out of order")
        entry = Entry(stored.seq, stored.record, boxes=boxes.get(stored.seq, ()))
        try:
            controls.append(verify_control(walk, entry, peek(stored.record)))
        except ProtocolError as error:
            text = f"control record {stored.seq}: {error}"
            raise HubLied(error.kind, text, (stored.record,)) from error
        walk.seq = stored.seq
    return Skip(room.seq, floor, log, tuple(controls))


def signed_skip(room: RoomLog, found: Skip, head: bytes, key: PublicKey) -> Skip:
    """The same, with the hub's signature that its log is as long as that.

    Raises `HubLied`; `Refused` if it is of no use. For a worker thread.
    """
    try:
        record = open_signed(key, head).record
    except ProtocolError as error:
        raise HubLied(error.kind, f"its LOG_HEAD: {error}", (head,)) from error
    if not isinstance(record, LogHead) or record.room != room.room or record.seq < found.floor - 1:
        raise Refused(Code.HUB_AWAY, "its relay signs no log that is as long as it says")
    states = [one.state for one in found.controls if one.state is not None]
    term = (states[-1] if states else room.state).hub_at(record.seq)
    if (term.relay_id, term.term) != (relay_id_of(key), record.term):
        raise Refused(Code.HUB_AWAY, "its relay signs a log of another time")
    if record.seq == found.floor - 1 and record.log != found.log:
        raise HubLied(Code.BAD_RECORD, "the hub signed another log than it names", (head,))
    return evolve(found, head=head)


def skip(core: Core, room: RoomLog, found: Skip, now: int) -> Decision:
    """The copy goes on at the floor. Raises `Refused` (try_again) if it has changed meanwhile."""
    if room.seq != found.before:
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
        room.advance(signed.record, verified.state)
    take_members_change(core, room, before, signed, facts, effects)
