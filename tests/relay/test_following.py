"""What a follower verifies before it believes its hub, and before it passes anything on."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy

import pytest
from attrs import evolve

from ofcd.compliance.p256 import off_curve_key
from ofcd.protocol import frames, records
from ofcd.protocol.codes import Code
from ofcd.protocol.ids import (
    EventId,
    Hash32,
    MemberId,
    PublicKey,
    RelayId,
    RoomId,
    Sid,
    sha256,
)
from ofcd.relay import (
    Entry,
    Forward,
    HubLied,
    RelayPolicy,
    RoomLog,
    copy_floor,
    found_copy,
    verify_entries,
)
from ofcd.relay.effects import Appended
from ofcd.relay.facts import ChainRecord, OutboxRow
from ofcd.relay.following import accept_head, freeze, replicate
from ofcd.relay.outbox import return_events
from ofcd.relay.room_log import chain_size
from ofcd.themis import generate_keypair
from ofcd.themis.signed import SignedRecord, peek, sign_record
from tests.relay.world import (
    DAY,
    NOW,
    Person,
    World,
    admit_to,
    digest,
    found_room,
    invite_named,
)

OTHER = RelayId(b"\x07" * 32)
FORGER = generate_keypair()


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def ana(world: World) -> Person:
    return found_room(world)


@pytest.fixture
def bo(ana: Person) -> Person:
    joiner = admit_to(ana, "bo")
    joiner.say()
    return joiner


def forged(envelope: bytes) -> bytes:
    return sign_record(FORGER.private, peek(envelope).record).envelope


def entry(person: Person, frame: frames.Post | frames.Control, **changes: object) -> Entry:
    """What a hub would deliver next."""
    cell = frame.cell if isinstance(frame, frames.Post) else b""
    made = Entry(person.log.seq + 1, frame.record, cell)
    return evolve(made, **changes)  # type: ignore[arg-type]


def lie(room: RoomLog, *entries: Entry) -> HubLied:
    with pytest.raises(HubLied) as caught:
        verify_entries(room, entries)
    return caught.value


Wrong = Callable[[Person], Entry]


def at(bo: Person, ahead: int) -> records.Seen:
    return records.Seen(bo.log.seq + ahead, digest("another log"))


EVENTS: dict[str, tuple[Wrong, Code]] = {
    "of another room": (
        lambda bo: entry(bo, bo.post(room=RoomId(digest("room")))),
        Code.FORBIDDEN,
    ),
    "of another epoch": (lambda bo: entry(bo, bo.post(epoch=7)), Code.EPOCH_STALE),
    "of another head": (lambda bo: entry(bo, bo.post(ctl=EventId(bytes(32)))), Code.CTL_STALE),
    "after a gap": (lambda bo: entry(bo, bo.post(counter=9)), Code.COUNTER_GAP),
    "after another": (lambda bo: entry(bo, bo.post(prev=EventId(bytes(32)))), Code.PREV_MISMATCH),
    "with another cell": (lambda bo: entry(bo, bo.post(), cell=b"other"), Code.CELL_MISMATCH),
    "of a stranger": (
        lambda bo: entry(bo, bo.post(mid=MemberId(digest("nobody")))),
        Code.NOT_FOUND,
    ),
    "that is forged": (
        lambda bo: entry(bo, frame := bo.post(), record=forged(frame.record)),
        Code.BAD_SIGNATURE,
    ),
    "that saw itself": (lambda bo: entry(bo, bo.post(seen=at(bo, 1))), Code.FORK),
    "that saw another log": (lambda bo: entry(bo, bo.post(seen=at(bo, 0))), Code.FORK),
    "in another place": (lambda bo: entry(bo, bo.post(), seq=bo.log.seq + 2), Code.TRY_AGAIN),
}


@pytest.mark.parametrize("name", EVENTS)
def test_no_event_is_believed_that_does_not_verify(bo: Person, name: str) -> None:
    """Each by its own reason; the one that is right is."""
    wrong, code = EVENTS[name]
    assert lie(bo.log, wrong(bo)).kind is code
    assert verify_entries(bo.log, [entry(bo, bo.post())])


def test_what_stood_before_a_lie_stands(bo: Person) -> None:
    """And what comes after an entry is verified by what that one changed."""
    first = bo.post()
    follows = bo.post(counter=3, prev=peek(first.record).event_id)
    second = entry(bo, follows, seq=bo.log.seq + 2)
    assert len(verify_entries(bo.log, [entry(bo, first), second])) == 2
    again = entry(bo, first, seq=bo.log.seq + 2)
    caught = lie(bo.log, entry(bo, first), again)
    assert [one.entry.seq for one in caught.before] == [bo.log.seq + 1]
    assert caught.records == (first.record,)


def test_who_may_only_read_says_nothing(ana: Person, bo: Person) -> None:
    """However well it is signed."""
    ana.do(ana.grant(bo.mid, records.Role.READONLY))
    assert lie(bo.log, entry(bo, bo.post())).kind is Code.FORBIDDEN


def control_lies(ana: Person, bo: Person) -> list[tuple[Entry, Code]]:
    """Records that a hub, or a member with it, might make up."""
    leave, handover = bo.leave(), ana.handover(bo)
    head = bo.signed(records.LogHead(1, bo.room, 0, 1, Hash32(bytes(32)), NOW))
    accept = peek(handover.record).record
    assert isinstance(accept, records.Handover)
    boxed = ana.rekey_boxed(bo.mid)
    genesis = ana.signed(ana.genesis())
    return [
        (entry(bo, leave, record=head.envelope), Code.BAD_RECORD),
        (entry(bo, leave, record=genesis.envelope), Code.BAD_RECORD),
        (entry(bo, leave, record=forged(leave.record)), Code.BAD_SIGNATURE),
        (entry(ana, ana.handover(bo, accept=forged(accept.accept))), Code.BAD_SIGNATURE),
        (entry(bo, bo.leave(seen=at(bo, 0))), Code.FORK),
        (entry(bo, leave, boxes=((bo.mid, b"stray"),)), Code.CELL_MISMATCH),
        (entry(ana, boxed, boxes=((ana.mid, b"another"),)), Code.CELL_MISMATCH),
    ]


def test_no_control_record_is_believed_that_does_not_verify(ana: Person, bo: Person) -> None:
    """Kind, signature, nested signature, place, boxes."""
    for wrong, code in control_lies(ana, bo):
        assert lie(ana.log, wrong).kind is code
    for frame in (bo.leave(), ana.handover(bo), ana.rekey_boxed(bo.mid)):
        assert verify_entries(ana.log, [entry(ana, frame)])


def test_a_key_that_is_no_point_is_admitted_by_no_follower(ana: Person) -> None:
    """Nobody could be sent a box under it."""
    cai = Person(ana.world, "cai", ana.room)
    invite = invite_named("cai")
    ana.do(ana.invite(invite))
    join = cai.join(invite)
    ana.world.expect(frames.JoinStatus, cai.link, join)
    answer = ana.answer(join)
    ana.world.expect(frames.Done, ana.link, answer)
    confirm = cai.confirm(join, answer)
    ana.world.expect(frames.JoinStatus, cai.link, confirm)
    right = PublicKey(cai.enc.public)
    wrong = PublicKey(right[:-1] + bytes([right[-1] ^ 1]))
    admit = ana.admit(cai, join, confirm, enc_key=wrong)
    assert lie(ana.log, entry(ana, admit)).kind is Code.BAD_KEY
    assert verify_entries(ana.log, [entry(ana, ana.admit(cai, join, confirm))])


# -- heads ---------------------------------------------------------------------------------------


def test_a_signed_head_that_is_not_what_was_delivered_is_a_fork(bo: Person) -> None:
    """At the end and before it; what the copy has not come to says nothing yet."""
    room = deepcopy(bo.log)
    for seq in (room.seq, room.seq - 1):
        head = records.LogHead(1, bo.room, 0, seq, digest("other"), NOW)
        with pytest.raises(HubLied) as caught:
            accept_head(room, head, bo.signed(head).envelope, room.hub)
        assert caught.value.is_proof
    ahead = records.LogHead(1, bo.room, 0, room.seq + 1, digest("other"), NOW)
    assert accept_head(room, ahead, b"", room.hub) is None
    true = records.LogHead(1, bo.room, 0, room.seq, room.log, NOW)
    decision = accept_head(room, true, bo.signed(true).envelope, room.hub)
    assert decision is not None
    assert len(decision.facts) == 1


# -- the copy begins -----------------------------------------------------------------------------


def chain_of(person: Person) -> list[ChainRecord]:
    log = person.world.store.rooms[person.room].log
    return [
        ChainRecord(fact.seq, fact.event_id, fact.record) for fact in log.values() if fact.control
    ]


def stood(chain: list[ChainRecord], place: int, record: SignedRecord | bytes) -> list[ChainRecord]:
    envelope = record if isinstance(record, bytes) else record.envelope
    event_id = peek(envelope).event_id
    return [
        evolve(one, record=envelope, event_id=event_id) if number == place else one
        for number, one in enumerate(chain)
    ]


def test_no_copy_begins_with_a_false_control_log(ana: Person, bo: Person) -> None:
    """Forged, another room's, without its beginning, with what is no control record."""
    handover = ana.handover(bo)
    accept = peek(handover.record).record
    assert isinstance(accept, records.Handover)
    false = ana.handover(bo, accept=forged(accept.accept))
    chain, end = chain_of(ana), ana.log.seq + 1
    stray = bo.signed(records.LogHead(1, bo.room, 0, 1, Hash32(bytes(32)), NOW))
    last = ChainRecord(end, peek(false.record).event_id, false.record)
    right = evolve(last, record=handover.record, event_id=peek(handover.record).event_id)

    def begin(given: list[ChainRecord], room: RoomId = ana.room) -> RoomLog:
        return found_copy(given, room, end + 1, Hash32(bytes(32)), NOW)[0]

    for wrong, room in (
        (chain[1:], ana.room),
        (chain, RoomId(digest("room"))),
        (stood(chain, 0, forged(chain[0].record)), ana.room),
        (stood(chain, 1, forged(chain[1].record)), ana.room),
        (stood(chain, 1, stray), ana.room),
        ([*chain, last], ana.room),
    ):
        with pytest.raises(HubLied):
            begin(wrong, room)
    assert begin(chain).state == ana.log.state
    assert begin([*chain, right]).state.root == bo.mid
    before, _ = found_copy(chain, ana.room, chain[-1].seq, Hash32(bytes(32)), NOW)
    assert bo.mid not in before.state.members
    assert (before.seq, before.floor) == (chain[-1].seq - 1, chain[-1].seq)
    assert before.chain_bytes == sum(chain_size(one.record) for one in chain[:-1]), "what is here"


def test_no_key_off_the_curve_comes_with_a_copy(ana: Person, bo: Person) -> None:
    """UPDATE_E, delivered as the next entry or in the control log that a copy begins with."""
    wrong = bo.control(records.UpdateKey, enc_key=PublicKey(off_curve_key()))
    right = bo.control(records.UpdateKey, enc_key=PublicKey(generate_keypair().public))
    assert lie(bo.log, entry(bo, wrong)).kind is Code.BAD_KEY
    assert verify_entries(bo.log, [entry(bo, right)])
    chain, end = chain_of(ana), ana.log.seq + 1
    for frame in (wrong, right):
        last = ChainRecord(end, peek(frame.record).event_id, frame.record)
        given = [*chain, last]
        if frame is wrong:
            with pytest.raises(HubLied):
                found_copy(given, ana.room, end + 1, Hash32(bytes(32)), NOW)
        else:
            copy, _ = found_copy(given, ana.room, end + 1, Hash32(bytes(32)), NOW)
            assert copy.state.member(bo.mid).has_renewed


def test_a_copy_begins_where_those_at_home_here_begin(ana: Person, bo: Person) -> None:
    """Members of other relays read what they read elsewhere."""
    ana.do(ana.rekey())
    cai = admit_to(ana, "cai")
    chain = chain_of(ana)
    assert copy_floor(chain, ana.room, OTHER) == cai.log.state.epoch_seq + 1
    starts = [member.history_from for member in ana.log.state.members.values()]
    assert copy_floor(chain, ana.room, ana.world.relay_id) == max(1, min(starts))


# -- what members at home here ask -----------------------------------------------------------------


@pytest.fixture
def foreign(ana: Person, bo: Person) -> Person:
    """Bo, in what is a copy of another relay's room from now on, and at home here."""
    bo.do(bo.control(records.Home, home=OTHER))
    ana.world.relay._core.relay_id = OTHER
    return bo


def small(events: int = 4, size: int = 1 << 20) -> RelayPolicy:
    return RelayPolicy(outbox_events_per_room=events, outbox_bytes_per_room=size)


def test_what_waits_for_the_hub_is_the_senders_own_and_fits_the_copy(foreign: Person) -> None:
    """Shape, signature, counter, age, cell, what was seen: before anything is kept."""
    world, bo = foreign.world, foreign
    event = bo.post()
    for frame, code in (
        (evolve(event, cell=b""), Code.BAD_RECORD),
        (evolve(event, record=forged(event.record)), Code.BAD_SIGNATURE),
        (bo.post(counter=1), Code.COUNTER_GAP),
        (bo.post(ts=NOW - 8 * DAY), Code.EXPIRED),
        (evolve(event, cell=b"other"), Code.CELL_MISMATCH),
        (bo.post(seen=at(bo, 1)), Code.HUB_BEHIND),
        (bo.post(seen=at(bo, 0)), Code.FORK),
    ):
        assert world.code(bo.link, frame) == code
    world.expect(frames.Queued, bo.link, event)


@pytest.mark.parametrize("policy", [small(), small(100, 3000)])
def test_a_sender_leaves_as_much_of_the_outbox_as_it_takes(
    foreign: Person, policy: RelayPolicy
) -> None:
    """By number and by size."""
    world, bo = foreign.world, foreign
    world.relay._core.policy = policy
    answers = [world.send(bo.link, bo.post(counter=number)) for number in range(5, 12)]
    refused = [answer for answer in answers if isinstance(answer, frames.Failure)]
    assert {answer.code for answer in refused} == {Code.HUB_AWAY}
    assert 2 <= len(answers) - len(refused) <= 4


def test_in_a_frozen_copy_nothing_is_asked(foreign: Person) -> None:
    """Neither said nor changed."""
    foreign.log.frozen = "fork"
    for frame in (foreign.post(), foreign.leave()):
        refused = foreign.world.expect(frames.Failure, foreign.link, frame)
        assert refused.code == Code.FORK


def test_nothing_is_asked_for_who_has_moved_away(foreign: Person) -> None:
    """Neither kept for the hub nor passed on."""
    foreign.world.relay._core.relay_id = RelayId(digest("the relay before"))
    for frame in (foreign.post(), foreign.leave()):
        assert foreign.world.code(foreign.link, frame) == Code.WRONG_RELAY
    assert not foreign.log.outbox


def test_what_is_passed_on_is_signed_by_who_asks(foreign: Person) -> None:
    """The record's own signature, before the hub sees it."""
    leave = foreign.leave()
    false = evolve(leave, record=forged(leave.record))
    assert foreign.world.code(foreign.link, false) == Code.BAD_SIGNATURE


# -- what goes and what comes back -----------------------------------------------------------------


def waiting(room: RoomLog, mid: MemberId, counter: int) -> None:
    sid = Sid(sha256(mid + bytes([counter]))[:16])
    row = OutboxRow(room.room, mid, sid, counter, EventId(sha256(sid)), NOW, b"r", b"c")
    room.put_waiting(row)


def left(room: RoomLog) -> list[tuple[MemberId, int]]:
    return [(row.mid, row.counter) for row in room.outbox.values()]


def test_what_comes_back_is_the_refused_one_and_what_its_sender_said_after(
    ana: Person, bo: Person
) -> None:
    """Nothing before it, and nobody else's."""
    room = bo.log
    for mid, counter in ((bo.mid, 1), (bo.mid, 2), (bo.mid, 3), (ana.mid, 3)):
        waiting(room, mid, counter)
    failure = frames.Failure(0, Code.EPOCH_STALE.value, "")
    return_events(bo.world.relay._core, room, bo.mid, 2, failure)
    assert left(room) == [(bo.mid, 1), (ana.mid, 3)]


def test_what_waits_of_who_is_no_member_any_more_goes_with_him(ana: Person, bo: Person) -> None:
    """The others' stays."""
    room = bo.log
    waiting(room, bo.mid, 9)
    waiting(room, ana.mid, 9)
    verified = verify_entries(room, [entry(bo, bo.leave())])
    replicate(bo.world.relay._core, room, verified, NOW)
    assert left(room) == [(ana.mid, 9)]


def test_only_two_histories_stop_a_room_and_what_shows_them_is_kept(bo: Person) -> None:
    """Bytes that do not verify are evidence against a relay, and no reason to stand still."""
    core, room = bo.world.relay._core, bo.log
    freeze(core, room, HubLied(Code.BAD_SIGNATURE, "", (b"one", b"")), None, NOW)
    assert room.frozen != "fork"
    lied = HubLied(Code.FORK, "", (b"one", b"", b"two"))
    assert lied.records == (b"one", b"two")
    freeze(core, room, lied, None, NOW)
    assert room.frozen == "fork"


def test_a_stranger_is_passed_on_with_its_own_word_alone(world: World, ana: Person) -> None:
    """At home here, signed by the key it brings, from a client's link, where this relay may."""
    cai = Person(world, "cai", ana.room)
    ana.do(ana.invite(invite_named("cai")))
    join = evolve(cai.join(invite_named("cai")), hub=OTHER)
    world.relay._core.policy = RelayPolicy(federated=False)
    assert world.code(cai.link, join) == Code.NOT_FEDERATED
    world.relay._core.policy = RelayPolicy(federated=True)
    abroad = evolve(cai.join(invite_named("cai"), home=OTHER), hub=OTHER)
    assert world.code(cai.link, abroad) == Code.WRONG_RELAY
    assert world.code(cai.link, evolve(join, record=forged(join.record))) == Code.BAD_SIGNATURE
    [effect] = world.decide(cai.link, join).effects
    assert isinstance(effect, Forward)
    held = world.relay._core.links.get(cai.link)
    assert held is not None
    held.peer = OTHER
    assert world.code(cai.link, join) == Code.NOT_FEDERATED


# -- what a hub gets back --------------------------------------------------------------------------


def test_a_hub_does_not_wait_for_what_a_follower_made_up(world: World, bo: Person) -> None:
    """However much is asked in the room meanwhile, and however long it drips."""

    def give_back(*made_up: int) -> None:
        verified = verify_entries(bo.log, [entry(bo, bo.post())])
        ids = {bo.log.seq + 1 + ahead: EventId(digest("made up")) for ahead in made_up}
        world.commit(world.relay.refill(bo.room, OTHER, verified, ids, world.now))

    def waits(milliseconds: int) -> bool:
        world.now += milliseconds
        bo.log.touched = world.now
        world.commit(world.relay.tick(world.now))
        return bool(bo.log.lost)

    give_back(*range(1, 9))
    assert world.code(bo.link, bo.post()) == Code.TRY_AGAIN
    for left in range(7, 0, -1):
        assert waits(8_000)
        give_back(*range(1, left + 1))
    assert waits(4_000)
    assert not waits(400), "seven more entries bought it no more than they take"
    assert bo.log.refill_after[OTHER] - world.now > 500_000
    bo.say()


def test_a_refill_has_as_long_as_it_takes_on_a_slow_road(world: World, bo: Person) -> None:
    """50 bytes a millisecond, and 20 ms an entry, beside the first minute."""
    cell = bytes(60_000)
    entries = [entry(bo, bo.post(cell))]
    verified = verify_entries(bo.log, entries)
    lost = {bo.log.seq + 2: EventId(digest("to come"))}
    world.commit(world.relay.refill(bo.room, OTHER, verified, lost, world.now))
    size = len(cell) + len(entries[0].record)
    assert bo.log.lost_until == world.now + 60_000 + 20 + size // 50


def test_who_had_moved_asks_no_more_through_the_relay_before(
    world: World, ana: Person, bo: Person
) -> None:
    """A HOME that a follower gives back counts as it did the first time."""
    moved = verify_entries(bo.log, [entry(bo, bo.control(records.Home, home=OTHER))])
    lane, links = world.open_link(), world.relay._core.links
    held = links.get(lane)
    assert held is not None
    held.peer = RelayId(digest("before"))
    links.attach(held, bo.room, bo.mid)
    decision = world.relay.refill(bo.room, OTHER, moved, {}, world.now)
    [appended] = [e for e in decision.effects if isinstance(e, Appended)]
    assert appended.members_changed
    assert world.relay.links_of(bo.room, bo.mid) == [bo.link]
