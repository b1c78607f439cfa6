"""A copy that goes on after what its hub no longer keeps: what is verified, and what is unsure."""

from __future__ import annotations

import pytest
from attrs import evolve

from ofcd.protocol import records
from ofcd.protocol.codes import Code, Refused
from ofcd.protocol.ids import Hash32
from ofcd.relay import HubLied, RoomLog, verify_entries, verify_skip
from ofcd.relay.facts import RECENT_ENTRIES, BoxStored, ChainCopied, ChainRecord, CopySkipped
from ofcd.relay.following import replicate
from ofcd.relay.skipping import Skip, skip
from ofcd.themis.signed import peek
from tests.relay.test_following import OTHER, entry, forged
from tests.relay.world import NOW, Person, World, admit_to, digest, found_room

FLOOR_LOG = Hash32(digest("the log before the floor"))


@pytest.fixture
def ana() -> Person:
    return found_room(World())


@pytest.fixture
def bo(ana: Person) -> Person:
    joiner = admit_to(ana, "bo")
    joiner.say()
    return joiner


def snapshot(person: Person) -> RoomLog:
    """What a follower has of the room now."""
    loaded = person.world.store.load(person.room)
    assert loaded is not None
    return RoomLog.from_snapshot(loaded)


def chain_from(person: Person, start: int) -> list[ChainRecord]:
    loaded = person.world.store.load(person.room)
    assert loaded is not None
    return [stored for stored in loaded.chain if stored.seq >= start]


def go_on(person: Person, copy: RoomLog, floor: int) -> Skip:
    chain = [one for one in chain_from(person, copy.state.seq) if one.seq < floor]
    found = verify_skip(copy, chain, floor, FLOOR_LOG, {})
    skip(person.world.relay._core, copy, found, NOW)
    return found


def test_the_control_log_of_the_gap_is_taken_and_senders_are_unsure(
    ana: Person, bo: Person
) -> None:
    """Who spoke before may have spoken since, but takes no number for the second time."""
    copy = snapshot(ana)
    before = copy.senders[bo.mid]
    again = bo.post()
    bo.say()
    ana.do(ana.rekey())
    bo.say()
    floor = ana.log.seq + 1
    found = go_on(ana, copy, floor)
    assert (copy.seq, copy.log, copy.floor) == (floor - 1, FLOOR_LOG, floor)
    assert copy.state == ana.log.state
    assert [one.entry.seq for one in found.controls] == [copy.state.seq]
    assert not copy.senders[bo.mid].is_certain
    seen = records.Seen(copy.seq, FLOOR_LOG)
    for frame, code in (
        (bo.post(counter=before.counter, seen=seen), Code.COUNTER_GAP),
        (bo.post(seen=records.Seen(copy.seq, Hash32(digest("another")))), Code.FORK),
        (again, Code.EPOCH_STALE),
    ):
        with pytest.raises(HubLied) as lied:
            verify_entries(copy, [evolve(entry(bo, frame), seq=floor)])
        assert lied.value.kind is code
    verified = verify_entries(copy, [evolve(entry(bo, bo.post(seen=seen)), seq=floor)])
    replicate(ana.world.relay._core, copy, verified, NOW)
    assert copy.senders[bo.mid].is_certain


def test_what_the_gap_tells_is_kept_and_no_false_box(ana: Person, bo: Person) -> None:
    """Facts: where the copy goes on, each control record, the key boxes that are signed."""
    copy = snapshot(ana)
    ana.do(ana.rekey_boxed())
    floor = ana.log.seq + 1
    chain = chain_from(ana, copy.state.seq)
    at = chain[-1].seq
    boxes = {at: ((bo.mid, b"box of " + bo.mid),)}
    with pytest.raises(HubLied):
        verify_skip(copy, chain, floor, FLOOR_LOG, {at: ((bo.mid, b"another box"),)})
    found = verify_skip(copy, chain, floor, FLOOR_LOG, boxes)
    facts = skip(ana.world.relay._core, copy, found, NOW).facts
    assert [type(fact) for fact in facts] == [CopySkipped, ChainCopied, BoxStored]


def test_only_the_true_control_log_is_taken(ana: Person, bo: Person) -> None:
    """It begins with the record that the copy has; each is signed, and follows from the last."""
    copy = snapshot(ana)
    early = copy.recent[copy.seq - 1]
    ana.do(ana.rekey(seen=records.Seen(early.seq, early.log)))
    event = ana.post()
    known, new = chain_from(ana, copy.state.seq)
    floor = ana.log.seq + 1
    false = evolve(new, record=forged(new.record))
    stray = evolve(new, event_id=peek(event.record).event_id, record=event.record)
    for chain in (
        [new],
        [evolve(known, seq=known.seq - 1), new],
        [known, false],
        [known, stray],
        [known, new, new],
        [known, evolve(new, seq=copy.seq)],
    ):
        with pytest.raises(HubLied):
            verify_skip(copy, chain, floor, FLOOR_LOG, {})
    with pytest.raises(HubLied):
        verify_skip(copy, [known], copy.seq + 1, FLOOR_LOG, {})
    found = verify_skip(copy, [known, new], floor, FLOOR_LOG, {})
    copy.seq += 1
    with pytest.raises(Refused):
        skip(ana.world.relay._core, copy, found, NOW)


def test_memory_holds_no_more_than_before(ana: Person, bo: Person) -> None:
    """Entries that are too old after the gap are not remembered for ever."""
    copy = snapshot(ana)
    kept = copy.seq
    go_on(ana, copy, copy.seq + RECENT_ENTRIES - 1)
    assert set(copy.recent) == {kept - 1, kept}
    go_on(ana, copy, copy.seq + RECENT_ENTRIES + 2)
    assert [copy.recent, copy.by_event, copy.by_sid] == [{}, {}, {}]


def test_who_moved_away_in_the_gap_has_nothing_waiting_here(ana: Person, bo: Person) -> None:
    """As where the move itself is delivered."""
    copy = snapshot(ana)
    bo.do(bo.control(records.Home, home=OTHER))
    go_on(ana, copy, ana.log.seq + 1)
    assert copy.state.homes[bo.mid] == OTHER
