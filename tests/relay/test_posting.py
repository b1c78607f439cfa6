"""Events and signals (protocol.md §2.3 EVENT, §2.5; tests 12, 15, 16, 27)."""

from __future__ import annotations

from typing import Any

import pytest

from ofcd.protocol import frames, records
from ofcd.protocol.codes import Code
from ofcd.protocol.ids import EventId, MemberId, RoomId, Sid, log_hash
from ofcd.relay import Appended, Redacted, RelayPolicy, Reply
from ofcd.relay.facts import LogAppended
from ofcd.themis.signed import peek
from tests.relay.world import Person, World, admit_to, digest, found_room


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def ana(world: World) -> Person:
    return found_room(world)


def test_an_event_is_acknowledged_with_its_place_in_the_log(world: World, ana: Person) -> None:
    """Ack: the event's id, its seq, the running hash there, its sid. Then everyone is fed it."""
    bo = admit_to(ana, "bo")
    before = ana.log.log
    frame = bo.post(b"hello")
    event = peek(frame.record)
    ack = world.expect(frames.Ack, bo.link, frame)
    assert ack.event_id == event.event_id
    assert ack.log == log_hash(before, ack.seq, ack.event_id)
    assert isinstance(event.record, records.Event)
    assert ack.sid == event.record.sid
    delivery = frames.Delivery(bo.room, ack.seq, frame.record, b"hello")
    for link in (ana.link, bo.link):
        assert world.received(link, frames.Delivery)[-1] == delivery


def test_facts_come_before_effects_and_nothing_else_does(world: World, ana: Person) -> None:
    """One event is one fact; its Ack and its fan-out are effects of the same decision."""
    decision = world.decide(ana.link, ana.post())
    (fact,) = decision.facts
    assert isinstance(fact, LogAppended)
    assert [type(effect) for effect in decision.effects] == [Reply, Appended]


MEMORY = 8


@pytest.fixture
def small_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """The core remembers the last `MEMORY` entries only."""
    monkeypatch.setattr("ofcd.relay.room_log.RECENT_ENTRIES", MEMORY)
    monkeypatch.setattr("ofcd.relay.facts.RECENT_ENTRIES", MEMORY)


def test_a_repeat_gets_the_same_ack_and_is_stored_once(world: World, ana: Person) -> None:
    """Test 27: the Ack was lost; the client sends again, and again after a restart."""
    frame = ana.post()
    first = world.expect(frames.Ack, ana.link, frame)
    ana.say()
    facts = len(world.facts)
    again = frames.Post(first.rid, frame.room, frame.record, frame.cell)
    assert world.send(ana.link, again) == first
    world.relay.forget([ana.room])
    assert world.send(ana.link, again) == first
    assert len(world.facts) == facts


@pytest.mark.usefixtures("small_memory")
def test_a_repeat_older_than_memory_is_looked_up(world: World, ana: Person) -> None:
    """The same Ack, from the store; another event under the same sid is a conflict there too."""
    frame = ana.post()
    first = world.expect(frames.Ack, ana.link, frame)
    event = peek(frame.record).record
    assert isinstance(event, records.Event)
    _fill(ana, MEMORY)
    assert world.send(ana.link, frame) == first
    other = ana.post(sid=event.sid, counter=1, prev=EventId(ana.room))
    failure = world.refused(ana.link, other)
    assert (failure.code, failure.seq) == (Code.SID_CONFLICT, first.seq)
    gap = ana.post(counter=1, prev=EventId(ana.room))
    assert world.code(ana.link, gap) == Code.COUNTER_GAP


def _fill(person: Person, events: int) -> None:
    for _ in range(events):
        person.world.now += 1000
        person.say()


def test_trailing_bytes_do_not_make_another_event(world: World, ana: Person) -> None:
    """Test 12: the id is a hash of what was signed, so junk after the signature is a repeat."""
    frame = ana.post()
    first = world.expect(frames.Ack, ana.link, frame)
    padded = frames.Post(frame.rid, frame.room, frame.record + b"junk", frame.cell)
    assert world.send(ana.link, padded) == first


def test_the_twin_signature_does_not_make_another_event(world: World, ana: Person) -> None:
    """Test 12: two signatures over one payload are one event."""
    event = ana.event()
    one, two = ana.signed(event), ana.signed(event)
    assert one.envelope != two.envelope
    first = world.expect(frames.Ack, ana.link, frames.Post(7, ana.room, one.envelope, b"sealed"))
    assert world.send(ana.link, frames.Post(7, ana.room, two.envelope, b"sealed")) == first


def test_another_event_under_a_used_sid_is_a_conflict(world: World, ana: Person) -> None:
    """The refusal names what was accepted under this sid."""
    frame = ana.post()
    first = world.expect(frames.Ack, ana.link, frame)
    event = peek(frame.record).record
    assert isinstance(event, records.Event)
    failure = world.refused(ana.link, ana.post(b"else", sid=event.sid))
    assert failure.code == Code.SID_CONFLICT
    assert (failure.seq, failure.event_id) == (first.seq, first.event_id)


def _wrong(**fields: Any) -> Any:
    return fields


WRONG_HEADERS = {
    "another room": (_wrong(room=RoomId(digest("elsewhere"))), Code.BAD_RECORD),
    "as another member": (_wrong(mid=MemberId(digest("someone"))), Code.FORBIDDEN),
    "an epoch to come": (_wrong(epoch=1), Code.EPOCH_STALE),
    "a gap in the counter": (_wrong(counter=3), Code.COUNTER_GAP),
    "a counter used before": (_wrong(counter=1, prev=EventId(digest("x"))), Code.COUNTER_GAP),
    "another predecessor": (_wrong(prev=EventId(digest("x"))), Code.PREV_MISMATCH),
    "another log": (_wrong(seen=records.Seen(0, digest("x"))), Code.FORK),
    "a log to come": (_wrong(seen=records.Seen(99, digest("x"))), Code.HUB_BEHIND),
    "an unknown control head": (_wrong(ctl=EventId(digest("x"))), Code.CTL_STALE),
    "another cell": (_wrong(cell_hash=digest("x")), Code.CELL_MISMATCH),
    "a target without redaction": (_wrong(target=EventId(digest("x"))), Code.BAD_RECORD),
    "a redaction without target": (_wrong(kind=records.EventKind.REDACT), Code.BAD_RECORD),
    "another version": (_wrong(v=2), Code.UNSUPPORTED_VERSION),
}


@pytest.mark.parametrize("case", WRONG_HEADERS)
def test_each_wrong_header_has_its_own_code(case: str, world: World, ana: Person) -> None:
    """Test 15: the exact code, and no state change."""
    fields, code = WRONG_HEADERS[case]
    ana.say()
    assert world.code(ana.link, ana.post(**fields)) == code


def test_an_event_made_before_a_rotation_is_stale(world: World, ana: Person) -> None:
    """`epoch_stale` names the new control head; the same counter and sid then pass, re-sealed."""
    late = ana.event()
    ana.do(ana.rekey())
    failure = world.refused(ana.link, _posted(ana, late))
    assert failure.code == Code.EPOCH_STALE
    assert (failure.seq, failure.event_id) == (ana.log.seq, ana.log.state.ctl)
    world.expect(frames.Ack, ana.link, ana.post(b"sealed anew", sid=late.sid))


def test_an_event_made_before_a_control_record_is_stale(world: World, ana: Person) -> None:
    """`ctl_stale`: the sender did not know who is in the room now."""
    late = ana.event()
    admit_to(ana, "bo")
    assert world.code(ana.link, _posted(ana, late)) == Code.CTL_STALE


def _posted(person: Person, event: records.Event, cell: bytes = b"sealed") -> frames.Post:
    return frames.Post(person.number(), person.room, person.signed(event).envelope, cell)


def test_events_under_way_are_judged_when_their_turn_comes(world: World, ana: Person) -> None:
    """A client may send the next event before the last one is decided; order decides."""
    one = _posted(ana, first := ana.event(sid=Sid(b"1" * 16)))
    second = ana.event(counter=2, prev=ana.signed(first).event_id, sid=Sid(b"2" * 16))
    two = _posted(ana, second)
    examined = [world.examine(ana.link, frame) for frame in (one, two)]
    out_of_order = world.relay.decide(ana.link, examined[1], world.now)
    assert out_of_order.facts == ()
    decisions = [world.relay.decide(ana.link, e, world.now) for e in examined]
    assert [len(decision.facts) for decision in decisions] == [1, 1]


@pytest.mark.usefixtures("small_memory")
def test_a_log_position_older_than_memory_is_stale(world: World, ana: Person) -> None:
    """`seen` may point back as far as the core remembers, no further."""
    old = ana.seen()
    _fill(ana, MEMORY - 1)
    world.expect(frames.Ack, ana.link, ana.post(seen=old))
    assert world.code(ana.link, ana.post(seen=old)) == Code.SEEN_STALE


def test_an_event_over_the_size_is_refused_unread(world: World, ana: Person) -> None:
    """Test 16: record and cell together; one byte more is too large."""
    small = World(RelayPolicy(event_bytes=4096))
    bo = found_room(small)
    frame = bo.post(b"x" * 3000)
    room_left = 4096 - len(frame.record) - len(frame.cell)
    assert room_left > 0
    fits, too_large = b"x" * (3000 + room_left), b"x" * (3001 + room_left + 8)
    assert small.code(bo.link, bo.post(too_large)) == Code.TOO_LARGE
    small.expect(frames.Ack, bo.link, bo.post(fits[:-8]))


def test_a_message_has_a_sealed_part(world: World, ana: Person) -> None:
    """An empty cell in a delivery means redacted; nobody may pretend that."""
    assert world.code(ana.link, ana.post(b"")) == Code.BAD_RECORD


def test_a_stalled_room_takes_no_messages_until_it_is_rotated(world: World) -> None:
    """`stall_after`: so many entries after the last rotation nobody may post."""
    ana = found_room(world, stall_after=3)
    for _ in range(3):
        ana.say()
    assert world.code(ana.link, ana.post()) == Code.QUOTA
    ana.do(ana.rekey())
    ana.say()


def test_members_and_rooms_have_a_rate() -> None:
    """Above the burst a sender is told how long to wait; the room's rate counts everyone."""
    world = World(RelayPolicy(events_burst_per_member=2, events_burst_per_room=3))
    ana = found_room(world)
    bo = admit_to(ana, "bo")
    ana.say()
    ana.say()
    failure = world.refused(ana.link, ana.post())
    assert (failure.code, failure.retry_after) == (Code.RATE_LIMITED, 50)
    bo.say()
    assert world.code(bo.link, bo.post()) == Code.RATE_LIMITED
    world.now += 50
    ana.say()


def test_the_signals_of_a_room_have_a_rate() -> None:
    """Each goes to everybody: however many members make them, no more than the room's rate."""
    world = World(RelayPolicy(signals_burst_per_room=3, signals_burst_per_member=2))
    ana = found_room(world)
    bo = admit_to(ana, "bo")
    for person in (ana, ana, bo, bo):
        world.send(person.link, person.signal())
    heard = [len(world.received(person.link, frames.Signalled)) for person in (ana, bo)]
    assert heard == [1, 2]


# -- redaction -----------------------------------------------------------------------------------


def test_a_redaction_drops_the_cell_and_keeps_the_record(world: World, ana: Person) -> None:
    """By its sender or by an owner; by nobody else."""
    bo, cy = admit_to(ana, "bo"), admit_to(ana, "cy")
    mine, hers = bo.say(b"mine"), ana.say(b"hers")
    assert world.code(cy.link, cy.redact(mine.event_id)) == Code.FORBIDDEN
    assert world.code(bo.link, bo.redact(hers.event_id)) == Code.FORBIDDEN
    decision = world.decide(bo.link, bo.redact(mine.event_id))
    assert Redacted(bo.room, mine.seq) in decision.effects
    world.commit(decision)
    world.expect(frames.Ack, ana.link, ana.redact(hers.event_id))
    log = world.store.rooms[ana.room].log
    assert [log[ack.seq].cell for ack in (mine, hers)] == [b"", b""]
    assert all(log[ack.seq].record for ack in (mine, hers))


def test_control_records_can_not_be_redacted(world: World, ana: Person) -> None:
    """There is nothing in them to drop."""
    assert world.code(ana.link, ana.redact(ana.log.state.ctl)) == Code.FORBIDDEN


@pytest.mark.usefixtures("small_memory")
def test_a_target_older_than_memory_is_left_to_the_store(world: World, ana: Person) -> None:
    """The fact carries the right, so that the store can check whose event it is."""
    bo = admit_to(ana, "bo")
    old = ana.say(b"hers")
    _fill(ana, MEMORY)
    world.expect(frames.Ack, bo.link, bo.redact(old.event_id))
    assert world.store.rooms[ana.room].log[old.seq].cell == b"hers"
    world.expect(frames.Ack, ana.link, ana.redact(old.event_id))
    assert world.store.rooms[ana.room].log[old.seq].cell == b""


# -- signals -------------------------------------------------------------------------------------


def test_a_signal_reaches_the_others_and_is_never_stored(world: World, ana: Person) -> None:
    """Every other link of the room gets it, with the relay's word for who sent it."""
    bo = admit_to(ana, "bo")
    facts = len(world.facts)
    assert world.send(bo.link, bo.signal(cell=b"typing")) is None
    assert world.received(ana.link, frames.Signalled) == [
        frames.Signalled(bo.room, bo.mid, 0, b"typing")
    ]
    assert world.received(bo.link, frames.Signalled) == []
    assert len(world.facts) == facts


def test_wrong_signals_vanish(world: World, ana: Person) -> None:
    """Another epoch, a readonly member, too many: nobody is told, nobody answers."""
    bo = admit_to(ana, "bo", records.Role.READONLY)
    world.send(ana.link, ana.signal(epoch=1))
    world.send(bo.link, bo.signal())
    assert world.received(ana.link, frames.Signalled) == []
    assert world.received(bo.link, frames.Signalled) == []
    for _ in range(40):
        world.send(ana.link, ana.signal())
    assert (
        len(world.received(bo.link, frames.Signalled)) == RelayPolicy().signals_burst_per_member - 1
    )
