"""The room log: what a lying relay can not do without being found out, and on which event."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from ofcd.e2e.errors import E2eError, Fault, LogBroken, Reason, Unreadable
from ofcd.e2e.events import SealedEvent, resign_event
from ofcd.e2e.keys import MemberKeys, new_sid
from ofcd.e2e.log import WINDOW, RoomLog, SenderHead, Senders
from ofcd.e2e.trust import SignedHead, check_agreement, check_log_head
from ofcd.e2e.view import Taken
from ofcd.protocol.codes import ProtocolError
from ofcd.protocol.ids import EventId, Hash32, RoomId, log_hash
from ofcd.protocol.records import LogHead, Seen
from ofcd.themis import sign
from ofcd.themis.signed import peek, sign_record
from tests.e2e.changes import Change, changed, changes
from tests.e2e.world import RELAY, RELAY_ID, RELAY_KEY, Entry, Person, World, entry_of, found_world


def fault_of(taken: Taken) -> Fault:
    (broken,) = taken.troubles
    assert isinstance(broken, LogBroken)
    assert broken.evidence
    return broken.fault


def conversation(world: World, words: int) -> list[Entry]:
    """Ana and Bo take turns, each having seen what came before; returned, not delivered to Root."""
    root, ana, bo = world.people
    world.people.remove(root)
    before = world.relay.head
    for number in range(words):
        world.say((ana, bo)[number % 2], f"w{number}")
    return world.relay.entries[before + 1 :]


def deliver(person: Person, entries: list[Entry]) -> list[Taken]:
    """Hand these to `person` as the next log entries, as a relay would."""
    return [person.take(person.view.log.seq + 1, entry) for entry in entries]


def test_all_members_compute_the_same_log(world: World) -> None:
    """Everybody's running hash is the relay's, from L_0 = the room's id on."""
    entries = conversation(world, 6)
    root, (ana, _) = world.root, world.people
    assert RoomLog.founded(world.relay.room).log == Hash32(world.relay.room)
    assert ana.view.log.log == world.relay.hash_at(world.relay.head)
    assert len(entries) == 6
    assert root.view.log.log == ana.view.log.log


def test_18_a_dropped_event_shows_on_the_next(world: World) -> None:
    """Test 18: one middle event left out, the rest renumbered: found on that very place."""
    root = world.root
    entries = conversation(world, 6)
    taken = deliver(root, [*entries[:2], *entries[3:]])
    assert [bool(t.troubles) for t in taken[:3]] == [False, False, True]
    assert fault_of(taken[2]) is Fault.FORK


def test_18_a_dropped_event_shows_in_the_numbers_too(world: World) -> None:
    """Test 18: left out but not renumbered: the gap is refused outright."""
    root = world.root
    entries = conversation(world, 3)
    deliver(root, entries[:1])
    before = root.view
    with pytest.raises(LogBroken) as caught:
        root.take(root.view.log.seq + 2, entries[2])
    assert caught.value.fault is Fault.GAP
    assert root.view == before


def test_18_two_swapped_events_show_on_the_first(world: World) -> None:
    """Test 18: two events swapped: the first of them names a log that is not there yet."""
    root = world.root
    entries = conversation(world, 4)
    taken = deliver(root, [entries[0], entries[2], entries[1], entries[3]])
    assert not taken[0].troubles
    assert Fault.FORK in {t.fault for t in taken[1].troubles if isinstance(t, LogBroken)}


def test_18_an_old_event_shown_again_is_a_replay(world: World) -> None:
    """Test 18: event 5 again as 9: refused on that very event, not shown a second time."""
    root = world.root
    entries = conversation(world, 4)
    deliver(root, entries)
    for old in (entries[3], entries[0]):
        (taken,) = deliver(root, [old])
        assert taken.opened is None
        assert fault_of(taken) is Fault.REPLAY
    assert root.heard == ["w0", "w1", "w2", "w3"]


def test_17_two_logs_meet_in_the_first_message_across(world: World) -> None:
    """Test 17: log A to Ana, log B to Bo: the first event that both see raises FORK at each."""
    root, ana, bo = world.people
    one, two = entry_of(root.seal("for Ana")), entry_of(root.seal("for Bo", sid=new_sid()))
    deliver(ana, [one])
    deliver(bo, [two])
    from_ana, from_bo = entry_of(ana.seal("hi Bo")), entry_of(bo.seal("hi Ana"))
    (at_bo,) = deliver(bo, [from_ana])
    (at_ana,) = deliver(ana, [from_bo])
    for taken, entry in ((at_bo, from_ana), (at_ana, from_bo)):
        assert fault_of(taken) is Fault.FORK
        (broken,) = taken.troubles
        assert isinstance(broken, LogBroken)
        assert broken.evidence == (entry.envelope,)


def test_17_a_control_record_across_a_fork_raises_it_too(world: World) -> None:
    """Test 17: control records carry `seen` as well, and are checked the same way."""
    root, ana, bo = world.people
    deliver(ana, [entry_of(bo.seal("only for Ana"))])
    world.people.remove(ana)
    invites = [Entry(world.invite(root).signed.envelope) for _ in range(2)]
    first, second = deliver(ana, invites)
    assert not first.troubles
    assert fault_of(second) is Fault.FORK
    assert second.control is not None


def test_seen_is_checked_as_far_back_as_it_may_lie() -> None:
    """`seen` at the edge of the window is checked; past it the relay was wrong to take it."""
    room = RoomId(b"r" * 32)
    mine = MemberKeys.generate()
    log, hashes = RoomLog.founded(room), [Hash32(room)]
    for seq in range(1, WINDOW + 10):
        log = log.append(seq, sign(mine.sign.private, b"x%d" % seq) if seq < 3 else ENVELOPE)
        hashes.append(log.log)
    seq, oldest = log.seq + 1, log.seq - WINDOW + 1
    log.check_seen(seq, Seen(oldest, hashes[oldest]), b"e")
    for seen, fault in [
        (Seen(oldest, hashes[oldest - 1]), Fault.FORK),
        (Seen(oldest - 1, hashes[oldest - 1]), Fault.STALE_SEEN),
        (Seen(seq, hashes[-1]), Fault.FORK),
    ]:
        with pytest.raises(LogBroken) as caught:
            log.check_seen(seq, seen, b"e")
        assert caught.value.fault is fault


ENVELOPE = sign(MemberKeys.generate().sign.private, b"payload")


def test_what_lies_before_ones_own_start_is_not_judged() -> None:
    """A newcomer does not know the log before its history: `seen` there is passed over."""
    room = RoomId(b"r" * 32)
    log = RoomLog.resumed(room, 50, Hash32(b"l" * 32)).append(51, ENVELOPE)
    log.check_seen(52, Seen(20, Hash32(b"?" * 32)), b"e")
    log.check_seen(52, Seen(50, Hash32(b"l" * 32)), b"e")
    with pytest.raises(LogBroken):
        log.check_seen(52, Seen(50, Hash32(b"?" * 32)), b"e")
    assert (log.start, log.hash_at(49), log.hash_at(52)) == (50, None, None)


def test_a_stored_log_goes_on_where_it_was() -> None:
    """A log restored with its recent hashes checks `seen` exactly as before."""
    room = RoomId(b"r" * 32)
    log = RoomLog.founded(room).append(1, ENVELOPE).append(2, ENVELOPE)
    restored = RoomLog.resumed(room, log.seq, log.log, log.recent, log.start)
    assert restored == log
    restored.check_seen(3, Seen(0, Hash32(room)), b"e")
    assert restored.seen == Seen(2, log.log)


@pytest.mark.parametrize("envelope", [b"", b"junk", b"\x20\x26\x04\x26" + b"\0" * 20])
def test_bytes_that_are_no_record_end_the_log(world: World, envelope: bytes) -> None:
    """What can not have been signed can have no id, and so no place in the log."""
    before = world.root.view
    with pytest.raises(LogBroken) as caught:
        before.take(before.log.seq + 1, envelope)
    assert caught.value.fault is Fault.NOT_A_RECORD


def test_an_event_nobody_can_read_still_counts(world: World) -> None:
    """A forged event gets a marker; log hash and the sender's chain go on for the honest ones."""
    _, ana, bo = world.people
    honest = ana.seal("honest")
    forged = sign_record(bo.mine.sign.private, evolve(honest.event, sid=new_sid()))
    (taken,) = deliver(bo, [Entry(forged.envelope, honest.cell)])
    assert taken.opened is None
    (trouble,) = taken.troubles
    assert isinstance(trouble, Unreadable)
    assert trouble.reason is Reason.BAD_SIGNATURE
    deliver(ana, [Entry(forged.envelope, honest.cell)])
    again = ana.seal("honest")
    (taken,) = deliver(bo, [entry_of(again)])
    assert taken.opened is not None
    assert not taken.troubles


def test_a_record_of_a_future_version_is_marked_and_counted(world: World) -> None:
    """A record this version can not read has its place in the log, and a marker."""
    _, ana, bo = world.people
    envelope = sign(ana.mine.sign.private, b'OFC1:recover\n{"v":1}')
    (taken,) = deliver(bo, [Entry(envelope)])
    assert isinstance(taken.troubles[0], Unreadable)
    assert bo.view.log.seq == ana.view.log.seq + 1


# -- senders' own chains -------------------------------------------------------------------------


def variant(sender: Person, sealed: SealedEvent, **changes: Any) -> Entry:
    """The same cell under another header of the same sender."""
    signed = sign_record(sender.mine.sign.private, evolve(sealed.event, **changes))
    return Entry(signed.envelope, sealed.cell)


@pytest.mark.parametrize("shift", [1, 5])
def test_15_a_gap_in_a_senders_numbers_is_seen(world: World, shift: int) -> None:
    """Test 15, at the reader: a number skipped is a fault; the words are still the sender's."""
    _, ana, bo = world.people
    counter, _ = ana.view.next_own()
    (taken,) = deliver(bo, [entry_of(ana.seal("x", counter=counter + shift))])
    assert fault_of(taken) is Fault.SENDER_GAP
    assert taken.opened is not None
    assert bo.view.senders.next_of(ana.mid)[0] == counter + shift + 1


def test_15_an_event_follows_the_senders_last_one(world: World) -> None:
    """Test 15: the right number but another `prev` is a fault; reported once, not for ever."""
    _, ana, bo = world.people
    (taken,) = deliver(bo, [entry_of(ana.seal("x", prev=EventId(b"p" * 32)))])
    assert fault_of(taken) is Fault.SENDER_PREV
    last = taken.event
    assert last is not None
    (taken,) = deliver(bo, [entry_of(ana.seal("y", counter=2, prev=last.event_id))])
    assert not taken.troubles


def test_the_first_event_of_a_member_is_number_one(world: World) -> None:
    """Who saw a member join insists on number 1; a newcomer takes what it finds, and goes on."""
    _, ana, bo = world.people
    world.say(ana, "one")
    world.rotate(world.root)
    newcomer = world.join("Cy")
    world.say(ana, "two")
    world.say(bo, "first")
    assert newcomer.heard == ["two", "first"]
    assert all(not t.troubles for t in newcomer.taken)
    late = world.join("Dee")
    (taken,) = deliver(newcomer, [entry_of(late.seal("x", counter=3))])
    assert fault_of(taken) is Fault.SENDER_GAP


def test_the_same_message_sealed_twice_is_shown_once(world: World) -> None:
    """A relay that publishes both variants of a message (same number, same sid): one message."""
    _, ana, bo = world.people
    message = ana.outgoing("once")
    first = ana.seal_outgoing(message)
    second = ana.seal_outgoing(message)
    taken = deliver(bo, [entry_of(first), entry_of(second)])
    assert first.event_id != second.event_id
    assert [t.repeat for t in taken] == [False, True]
    assert bo.heard == ["once"]


def test_two_messages_with_one_number_raise_the_alarm(world: World) -> None:
    """Same sender and number, another sid, nothing voided: two devices, or a stolen key."""
    _, ana, bo = world.people
    first, second = ana.seal("one"), ana.seal("other")
    (_, taken) = deliver(bo, [entry_of(first), entry_of(second)])
    assert fault_of(taken) is Fault.SENDER_FORK
    assert taken.opened is None


@pytest.mark.parametrize("order", [1, -1])
def test_an_event_the_relay_had_refused_gives_it_away(world: World, order: int) -> None:
    """The number is used again with `voids`: fine alone; with the refused one, in either order,
    it shows that the relay lied to the sender."""
    _, ana, bo = world.people
    refused = ana.seal("refused")
    again = ana.seal("instead", voids=(refused.event_id,))
    (alone,) = [bo.view.take(bo.view.log.seq + 1, again.signed.envelope, again.cell)]
    assert alone.opened is not None
    assert not alone.troubles
    (_, taken) = deliver(bo, [entry_of(e) for e in (refused, again)[::order]])
    assert fault_of(taken) is Fault.VOIDED


def test_a_header_signed_again_counts_once(world: World) -> None:
    """Signed anew after a membership change and published twice: one message."""
    root, ana, bo = world.people
    early = ana.seal("once")
    world.invite(root)
    late = resign_event(ana.view.state, ana.mine, early, ana.view.seen)
    deliver(bo, [entry_of(late)])
    (taken,) = deliver(bo, [variant(ana, late, ts=1)])
    assert taken.repeat
    assert bo.heard == ["once"]


@pytest.mark.parametrize("counter", [0, 1])
def test_the_last_event_again_is_a_replay_whatever_is_known_of_its_number(
    world: World, counter: int
) -> None:
    """All that is left of Ana's last words is their id: somebody had them redacted."""
    _, ana, bo = world.people
    said = ana.seal("once")
    deliver(bo, [entry_of(said)])
    head = SenderHead(counter, said.event_id, said.event.sid, certain=False)
    bo.view = evolve(bo.view, senders=Senders(world.relay.room, {ana.mid: head}))
    (taken,) = deliver(bo, [entry_of(said)])
    assert fault_of(taken) is Fault.REPLAY
    assert taken.opened is None


def test_only_events_have_a_chain(world: World) -> None:
    """Handing in a control record is a mistake of the caller's, and says so."""
    signed = peek(world.relay.entries[0].envelope)
    senders = Senders(world.relay.room)
    with pytest.raises(TypeError):
        senders.accept(1, signed, from_start=True)
    with pytest.raises(TypeError):
        senders.skip_to(signed)


# -- the hub's word ------------------------------------------------------------------------------


def test_the_hubs_word_is_compared_with_ones_own(world: World) -> None:
    """A signed head that agrees passes; one with another hash, or of another room, is a fork."""
    root, ana, _ = world.people
    world.say(ana, "x")
    view = root.view
    good = check_log_head(view.state, RELAY_KEY, world.relay.signed_head())
    view.log.check_head(good.head, good.envelope)
    older = check_log_head(view.state, RELAY_KEY, world.relay.signed_head(2))
    view.log.check_head(older.head, older.envelope)
    ahead = world.relay.signed_head(seq=None, log=Hash32(b"f" * 32))
    false = check_log_head(view.state, RELAY_KEY, ahead)
    with pytest.raises(LogBroken) as caught:
        view.log.check_head(false.head, false.envelope)
    assert (caught.value.fault, caught.value.evidence) == (Fault.FORK, (ahead,))
    far = check_log_head(view.state, RELAY_KEY, ahead_of(world))
    view.log.check_head(far.head, far.envelope)
    other = evolve(good.head, room=RoomId(b"x" * 32))
    with pytest.raises(LogBroken):
        view.log.check_head(other, good.envelope)


def ahead_of(world: World) -> bytes:
    head = LogHead(1, world.relay.room, 0, 10_000, Hash32(b"f" * 32), 1)
    return sign_record(RELAY.private, head).envelope


def test_only_the_rooms_relay_speaks_for_the_log(world: World) -> None:
    """A head signed by someone else, of another room, or that is no head, is refused."""
    state = world.root.view.state
    good = world.relay.signed_head()
    stranger = MemberKeys.generate()
    wrong = [
        (stranger.sign_key, good),
        (stranger.sign_key, sign_record(stranger.sign.private, peek(good).record).envelope),
        (RELAY_KEY, sign_record(stranger.sign.private, peek(good).record).envelope),
        (RELAY_KEY, world.relay.signed_head(room=RoomId(b"x" * 32))),
        (RELAY_KEY, sign(RELAY.private, peek(world.relay.entries[0].envelope).payload)),
        (RELAY_KEY, b"junk"),
    ]
    for key, envelope in wrong:
        with pytest.raises(LogBroken) as caught:
            check_log_head(state, key, envelope)
        assert caught.value.fault is Fault.BAD_HEAD


def test_17_two_words_of_the_hub_are_proof(world: World) -> None:
    """Test 17: two heads for one place with different hashes: both envelopes are the evidence."""
    state = world.root.view.state
    one = check_log_head(state, RELAY_KEY, world.relay.signed_head())
    two = check_log_head(state, RELAY_KEY, world.relay.signed_head(log=Hash32(b"f" * 32)))
    with pytest.raises(LogBroken) as caught:
        check_agreement(one, two)
    assert caught.value.fault is Fault.EQUIVOCATION
    assert caught.value.evidence == (one.envelope, two.envelope)
    check_agreement(one, check_log_head(state, RELAY_KEY, world.relay.signed_head()))
    for fields in ({"seq": 1}, {"term": 1}, {"room": RoomId(b"x" * 32)}):
        check_agreement(one, SignedHead(evolve(two.head, **fields), two.envelope))


@given(changes)
def test_any_changed_byte_of_the_hubs_word_fails_closed(quiet: World, change: Change) -> None:
    """One byte changed in a signed head: refused, or exactly the same words."""
    good = quiet.relay.signed_head()
    try:
        head = check_log_head(quiet.root.view.state, RELAY_KEY, changed(good, change)).head
    except LogBroken:
        return
    assert head == peek(good).record


@given(st.binary(max_size=300), st.binary(max_size=100))
def test_arbitrary_deliveries_raise_only_typed_errors(
    quiet: World, envelope: bytes, cell: bytes
) -> None:
    """No delivery makes the view raise anything but LogBroken, or show anything."""
    view = quiet.root.view
    with pytest.raises(LogBroken):
        view.take(view.log.seq + 1, envelope, cell)


_types = st.sampled_from(["event", "admit", "genesis", "rekey", "leave", "poem"])


@given(_types, st.binary(max_size=80), st.booleans())
def test_arbitrary_signed_payloads_are_marked(
    quiet: World, name: str, rest: bytes, by_member: bool
) -> None:
    """Any payload a member or stranger signs is taken as trouble, never raised, never shown."""
    view = quiet.root.view
    keys = quiet.people[1].mine if by_member else STRANGER
    payload = f"OFC1:{name}\n".encode() + rest
    taken = view.take(view.log.seq + 1, sign(keys.sign.private, payload), rest)
    assert taken.opened is None
    assert all(isinstance(t, E2eError | ProtocolError) for t in taken.troubles)
    assert taken.troubles
    assert taken.view.state == view.state


STRANGER = MemberKeys.generate()


def test_the_log_hash_counts_position_and_order() -> None:
    """L depends on what came before, on the number and on the event."""
    log, event = Hash32(b"l" * 32), EventId(b"e" * 32)
    base = log_hash(log, 1, event)
    assert base != log_hash(Hash32(b"x" * 32), 1, event)
    assert base != log_hash(log, 2, event)
    assert base != log_hash(log, 1, EventId(b"x" * 32))


def test_the_relay_of_the_world_is_the_rooms() -> None:
    """The test world's relay is the one its rooms name."""
    assert found_world().root.view.state.relay_id == RELAY_ID
