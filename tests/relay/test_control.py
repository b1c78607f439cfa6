"""The control log at the relay (protocol.md §2.2, §2.3; tests 12, 15, 22, 24)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ofcd.compliance.p256 import off_curve_key
from ofcd.protocol import frames, limits, records
from ofcd.protocol.codes import Code, Malformed
from ofcd.protocol.ids import EventId, MemberId, PublicKey, log_hash, sha256
from ofcd.relay import Appended, RelayPolicy, Reply
from ofcd.relay.facts import BoxStored, KeyRequestDropped, LogAppended
from ofcd.themis.signed import peek
from tests.relay.world import (
    DAY,
    Person,
    World,
    admit_to,
    blob_named,
    digest,
    found_room,
    invite_named,
    keypair,
)

Role = records.Role


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def ana(world: World) -> Person:
    return found_room(world)


def test_a_control_record_takes_a_place_in_the_room_log(world: World, ana: Person) -> None:
    """It is acknowledged, delivered, and becomes the head of the control log."""
    before = ana.log.log
    frame = ana.rekey()
    ack = ana.do(frame)
    assert ack.log == log_hash(before, ack.seq, ack.event_id)
    assert (ana.log.state.ctl, ana.log.state.epoch) == (ack.event_id, 1)
    assert world.received(ana.link, frames.Delivery)[-1].record == frame.record


def test_of_two_changes_at_one_head_the_first_wins(world: World, ana: Person) -> None:
    """The loser gets `conflict` with the new head, and may try again on it."""
    co = admit_to(ana, "co", Role.CO_OWNER)
    first, second = ana.rekey(), co.rekey()
    ack = ana.do(first)
    failure = world.refused(co.link, second)
    assert failure.code == Code.CONFLICT
    assert (failure.seq, failure.event_id) == (ack.seq, ack.event_id)
    co.do(co.rekey())
    assert ana.log.state.epoch == 2


def test_changes_under_way_are_judged_when_their_turn_comes(world: World, ana: Person) -> None:
    """Both pass the cheap checks; the order of decisions decides."""
    co = admit_to(ana, "co", Role.CO_OWNER)
    examined = [(person.link, world.examine(person.link, person.rekey())) for person in (co, ana)]
    decisions = [world.relay.decide(link, e, world.now) for link, e in examined]
    assert [len(decision.facts) for decision in decisions] == [1, 0]
    (reply,) = decisions[1].effects
    assert isinstance(reply, Reply)
    assert isinstance(reply.frame, frames.Failure)
    assert (reply.frame.code, reply.frame.event_id) == (Code.CONFLICT, ana.log.state.ctl)


def test_a_key_off_the_curve_is_refused_whatever_comes_before_it(world: World, ana: Person) -> None:
    """Its record stands behind one that is not decided yet, and would fit by then."""
    bo = admit_to(ana, "bo")
    first = bo.control(records.UpdateKey, enc_key=PublicKey(keypair("second").public))
    ahead = EventId(peek(first.record).event_id)
    second = bo.control(records.UpdateKey, prev=ahead, enc_key=PublicKey(off_curve_key()))
    examined = world.examine(bo.link, first)
    with pytest.raises(Malformed) as caught:
        world.examine(bo.link, second)
    assert caught.value.code == Code.BAD_KEY
    world.commit(world.relay.decide(bo.link, examined, world.now))
    assert world.code(bo.link, second) == Code.BAD_KEY
    third = bo.control(records.UpdateKey, enc_key=PublicKey(keypair("third").public))
    assert bo.do(third).seq == ana.log.seq


def test_a_repeated_record_gets_the_same_ack(world: World, ana: Person) -> None:
    """Test 27: again, after others, with junk behind it, after a restart."""
    frame = ana.rekey()
    first = ana.do(frame)
    ana.do(ana.rekey())
    facts = len(world.facts)
    padded = frames.Control(frame.rid, frame.room, frame.record + b"junk")
    for again in (frame, padded):
        assert world.send(ana.link, again) == first
    world.relay.forget([ana.room])
    assert world.send(ana.link, frame) == first
    assert len(world.facts) == facts


def test_a_repeat_older_than_memory_is_looked_up(
    world: World, ana: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The chain is known by its ids; the Ack comes from the store."""
    monkeypatch.setattr("ofcd.relay.room_log.RECENT_ENTRIES", 4)
    frame = ana.rekey()
    first = ana.do(frame)
    for _ in range(4):
        ana.say()
    assert world.send(ana.link, frame) == first


def test_wrong_records_have_their_codes(world: World, ana: Person) -> None:
    """Test 15 for control records: exact code, no change."""
    bo = admit_to(ana, "bo")
    cases = {
        Code.CONFLICT: ana.rekey(prev=EventId(digest("x"))),
        Code.FORK: ana.rekey(seen=records.Seen(0, digest("x"))),
        Code.HUB_BEHIND: ana.rekey(seen=records.Seen(99, digest("x"))),
        Code.FORBIDDEN: ana.rekey(mid=bo.mid),
        Code.EPOCH_STALE: ana.rekey(epoch=2),
        Code.UNSUPPORTED_VERSION: ana.rekey(v=2),
        Code.NOT_FOUND: ana.rekey_boxed(sent=(b"",), removed=(MemberId(digest("x")),)),
        Code.BAD_RECORD: frames.Control(1, ana.room, ana.post().record),
    }
    for code, frame in cases.items():
        assert world.code(ana.link, frame) == code
    genesis = frames.Control(1, ana.room, ana.signed(ana.genesis()).envelope)
    assert world.code(ana.link, genesis) == Code.BAD_RECORD


def test_a_record_over_the_size_is_refused_unread() -> None:
    """Test 16: one byte over the relay's own limit."""
    world = World(RelayPolicy(control_bytes=600))
    ana = found_room(world)
    short = ana.rekey(cell=b"x" * 64)
    assert len(short.record) <= 600
    ana.do(short)
    assert world.code(ana.link, ana.rekey(cell=b"x" * 600)) == Code.TOO_LARGE


def test_control_records_have_a_rate() -> None:
    """Thirty a minute for each member, by the policy."""
    world = World(RelayPolicy(control_per_minute_per_member=2))
    ana = found_room(world)
    ana.do(ana.rekey())
    ana.do(ana.rekey())
    failure = world.refused(ana.link, ana.rekey())
    assert (failure.code, failure.retry_after) == (Code.RATE_LIMITED, 30_000)


# -- boxed rotations, evictions, departures --------------------------------------------------------


def test_each_box_goes_to_its_addressee_alone(world: World, ana: Person) -> None:
    """Just before the record's delivery, and from the store to who comes later."""
    bo = admit_to(ana, "bo")
    decision = world.decide(ana.link, ana.rekey_boxed())
    stored = [fact for fact in decision.facts if isinstance(fact, BoxStored)]
    assert {fact.mid: fact.box for fact in stored} == {p.mid: b"box of " + p.mid for p in (ana, bo)}
    world.commit(decision)
    for person in (ana, bo):
        box, delivery = world.inbox[person.link][-2:]
        assert isinstance(box, frames.Box)
        assert isinstance(delivery, frames.Delivery)
        assert (box.box, box.seq) == (b"box of " + person.mid, delivery.seq)


def test_boxes_are_those_the_record_lists(world: World, ana: Person) -> None:
    """Test 24, the relay's part: a box changed, missing or too many; a member left out."""
    bo = admit_to(ana, "bo")
    right = (b"box of " + ana.mid, b"box of " + bo.mid)
    one = ((ana.mid, sha256(right[0])),)
    twice = (*one, *one)
    huge = b"x" * 4096
    cases = [
        (Code.CELL_MISMATCH, ana.rekey_boxed(sent=(right[1], right[0]))),
        (Code.CELL_MISMATCH, ana.rekey_boxed(sent=(right[0], b"other"))),
        (Code.BOX_LIST_MISMATCH, ana.rekey_boxed(sent=right[:1])),
        (Code.BOX_LIST_MISMATCH, ana.rekey_boxed(sent=(*right, b"more"))),
        (Code.BOX_LIST_MISMATCH, ana.rekey_boxed(sent=right[:1], boxes=one)),
        (Code.BOX_LIST_MISMATCH, ana.rekey_boxed(sent=(right[0], right[0]), boxes=twice)),
        (Code.BOX_LIST_MISMATCH, ana.rekey(sent=(b"box",))),
    ]
    for code, frame in cases:
        assert world.code(ana.link, frame) == code
    listed = ((ana.mid, sha256(right[0])), (bo.mid, sha256(huge + b"x")))
    too_large = ana.rekey_boxed(boxes=listed, sent=(right[0], huge + b"x"))
    assert world.code(ana.link, too_large) == Code.TOO_LARGE


def test_an_evicted_member_gets_nothing_from_then_on(world: World, ana: Person) -> None:
    """On none of its links, not even the record's delivery: only the word that it is out."""
    bo, cy = admit_to(ana, "bo"), admit_to(ana, "cy")
    second = world.open_link("bo")
    world.expect(frames.Attached, second, bo.attach(second))
    world.expect(frames.Synced, second, bo.sync())
    world.expect(frames.Done, bo.link, bo.key_request())
    evict = ana.rekey_boxed(bo.mid)
    decision = world.decide(ana.link, evict)
    assert KeyRequestDropped(ana.room, bo.mid) in decision.facts
    world.commit(decision)
    removed = frames.Removed(ana.room, Code.EVICTED.value, evict.record)
    ana.say()
    world.send(cy.link, cy.signal())
    for link in (bo.link, second):
        assert world.inbox[link][-1] == removed
        assert not world.relay.is_attached(link, ana.room, bo.mid)
    for frame in (bo.post(), bo.sync(), bo.leave(), bo.attach()):
        assert world.code(bo.link, frame) == Code.NOT_FOUND
    assert world.received(cy.link, frames.Delivery)[-1].cell == b"sealed"


def test_an_eviction_whose_commit_failed_took_nothing_away(world: World, ana: Person) -> None:
    """The member is still attached and fed; the next eviction reaches its links."""
    bo = admit_to(ana, "bo")
    evict = ana.rekey_boxed(bo.mid)
    assert world.decide(ana.link, evict).facts
    world.relay.forget([ana.room])
    bo.say()
    ana.do(evict)
    assert isinstance(world.inbox[bo.link][-1], frames.Removed)
    assert (bo.link, bo.room) not in world.feeds


def test_who_leaves_is_out_and_the_key_must_change(world: World, ana: Person) -> None:
    """LEAVE is acknowledged, then the link is out; only a boxed rotation may follow."""
    bo = admit_to(ana, "bo")
    world.expect(frames.Done, bo.link, bo.key_request())
    frame = bo.leave()
    decision = world.decide(bo.link, frame)
    assert KeyRequestDropped(bo.room, bo.mid) in decision.facts
    world.commit(decision)
    assert world.inbox[bo.link][-1] == frames.Removed(bo.room, Code.LEFT.value, frame.record)
    assert world.code(bo.link, bo.attach()) == Code.NOT_FOUND
    assert world.code(ana.link, ana.rekey()) == Code.BOXED_REQUIRED
    ana.do(ana.rekey_boxed())
    ana.do(ana.rekey())


def test_every_tenth_rotation_is_boxed(world: World) -> None:
    """`boxed_every` counts the routine ones."""
    ana = found_room(world, boxed_every=3)
    ana.do(ana.rekey())
    ana.do(ana.rekey())
    assert world.code(ana.link, ana.rekey()) == Code.BOXED_REQUIRED
    ana.do(ana.rekey_boxed())


def test_the_last_to_leave_closes_the_room(world: World, ana: Person) -> None:
    """Root leaves only alone; then the room is gone for everyone."""
    bo = admit_to(ana, "bo")
    assert world.code(ana.link, ana.leave()) == Code.ROOT_MUST_HAND_OVER
    bo.do(bo.leave())
    ana.do(ana.leave())
    assert ana.log.state.closed
    assert world.code(ana.link, ana.attach()) == Code.NOT_FOUND


def test_a_handover_bears_the_heirs_signature(world: World, ana: Person) -> None:
    """The nested acceptance is verified with the record; then a boxed rotation is due."""
    bo, cy = admit_to(ana, "bo"), admit_to(ana, "cy")
    ctl = ana.log.state.ctl
    forged = records.HandoverAccept(1, ana.room, ana.mid, bo.mid, ctl, world.now)
    by_cy = ana.handover(bo, accept=cy.signed(forged).envelope)
    assert world.code(ana.link, by_cy) == Code.BAD_SIGNATURE
    for wrong in (
        records.HandoverAccept(1, ana.room, ana.mid, cy.mid, ctl, world.now),
        records.HandoverAccept(1, ana.room, cy.mid, bo.mid, ctl, world.now),
        records.HandoverAccept(1, ana.room, ana.mid, bo.mid, EventId(bytes(32)), world.now),
        records.Leave(
            v=1, room=ana.room, mid=bo.mid, prev=ana.log.state.ctl, seen=ana.seen(), ts=1
        ),
    ):
        frame = ana.handover(bo, accept=bo.signed(wrong).envelope)
        assert world.code(ana.link, frame) == Code.FORBIDDEN
    ana.do(ana.handover(bo))
    assert ana.log.state.root == bo.mid
    assert world.code(bo.link, bo.rekey()) == Code.BOXED_REQUIRED
    bo.do(bo.rekey_boxed())


def test_an_acceptance_counts_once(world: World, ana: Person) -> None:
    """After the handover it is void, whoever is root again."""
    bo = admit_to(ana, "bo")
    accept = records.HandoverAccept(1, ana.room, ana.mid, bo.mid, ana.log.state.ctl, world.now)
    old = bo.signed(accept).envelope
    ana.do(ana.handover(bo, accept=old))
    bo.do(bo.rekey_boxed())
    bo.do(bo.handover(ana))
    ana.do(ana.rekey_boxed())
    assert world.code(ana.link, ana.handover(bo, accept=old)) == Code.FORBIDDEN


@pytest.mark.parametrize("late", [False, True])
def test_an_acceptance_does_not_count_for_long(world: World, ana: Person, late: bool) -> None:
    """So many control records after it, it is too old."""
    bo = admit_to(ana, "bo")
    accept = records.HandoverAccept(1, ana.room, ana.mid, bo.mid, ana.log.state.ctl, world.now)
    frame = {"accept": bo.signed(accept).envelope}
    for _ in range(limits.HANDOVER_RECORDS - (not late)):
        ana.do(ana.rekey_boxed())
        world.now += DAY
    if late:
        assert world.code(ana.link, ana.handover(bo, **frame)) == Code.FORBIDDEN
    else:
        ana.do(ana.handover(bo, **frame))


# -- invites -------------------------------------------------------------------------------------


def test_invites_end_and_are_few() -> None:
    """They live some days at most, and only so many are open at once."""
    world = World(RelayPolicy(invite_days=2, open_invites_per_room=1))
    ana = found_room(world)
    one, two = invite_named("one"), invite_named("two")
    for expires in (world.now, world.now - 1, world.now + 2 * DAY + 1):
        assert world.code(ana.link, ana.invite(one, expires=expires)) == Code.QUOTA
    ana.do(ana.invite(one, expires=world.now + 2 * DAY))
    assert world.code(ana.link, ana.invite(two)) == Code.QUOTA
    ana.do(ana.control(records.InviteClose, invite_id=one))
    ana.do(ana.invite(two))


def test_each_co_admitter_gets_the_token(world: World, ana: Person) -> None:
    """Without its box a co-admitter could not check who holds the token."""
    co = admit_to(ana, "co", Role.CO_OWNER)
    stranger = MemberId(digest("x"))
    both = (ana.mid, co.mid)
    for boxes in (
        (),
        ((ana.mid, b"b"),),
        ((co.mid, b"b"), (co.mid, b"b")),
        ((co.mid, b"b"), (stranger, b"b")),
    ):
        frame = ana.invite(invite_named("i"), admitters=both, token_boxes=boxes)
        assert world.code(ana.link, frame) == Code.BAD_RECORD
    twice = ana.invite(invite_named("i"), admitters=(ana.mid, ana.mid))
    assert world.code(ana.link, twice) == Code.BAD_RECORD
    large = ((co.mid, b"x" * 4097),)
    frame = ana.invite(invite_named("i"), admitters=both, token_boxes=large)
    assert world.code(ana.link, frame) == Code.TOO_LARGE
    ana.do(ana.invite(invite_named("i"), admitters=both, token_boxes=((co.mid, b"b"),)))


# -- who may do what -----------------------------------------------------------------------------

WHO = ("root", "co-owner", "member", "readonly", "doorkeeper", "evicted")
YES = {
    "post": {"root", "co-owner", "member", "doorkeeper"},
    "redact another's": {"root", "co-owner"},
    "upload": {"root", "co-owner", "member", "doorkeeper"},
    "download": {"root", "co-owner", "member", "readonly", "doorkeeper"},
    "sync": {"root", "co-owner", "member", "readonly", "doorkeeper"},
    "read the chain": {"root", "co-owner", "member", "readonly", "doorkeeper"},
    "ask for a key": {"root", "co-owner", "member", "readonly", "doorkeeper"},
    "answer a key request": {"root", "co-owner"},
    "invite a member": {"root", "co-owner", "doorkeeper"},
    "invite a co-owner": {"root"},
    "invite a doorkeeper": {"root"},
    "close another's invite": {"root", "co-owner"},
    "rotate": {"root", "co-owner"},
    "rotate boxed": {"root", "co-owner"},
    "evict a member": {"root", "co-owner"},
    "evict a co-owner": {"root"},
    "evict root": set(),
    "make readonly": {"root", "co-owner"},
    "make co-owner": {"root"},
    "demote a co-owner": {"root"},
    "hand over": {"root"},
    "leave": {"co-owner", "member", "readonly", "doorkeeper"},
}


class Cast:
    """One room with someone of each role."""

    def __init__(self) -> None:
        self.world = world = World()
        self.ana = ana = found_room(world)
        self.bo = admit_to(ana, "bo")
        self.co = admit_to(ana, "other co", Role.CO_OWNER)
        self.people = {
            "root": ana,
            "co-owner": admit_to(ana, "co", Role.CO_OWNER),
            "member": admit_to(ana, "mem"),
            "readonly": admit_to(ana, "ro", Role.READONLY),
            "doorkeeper": admit_to(ana, "door", caps=(records.Cap.ADMIT,)),
            "evicted": admit_to(ana, "out"),
        }
        ana.do(ana.rekey_boxed(self.people["evicted"].mid))
        ana.do(ana.invite(invite_named("hers")))
        self.said = self.bo.say()
        self.asked = self.bo.key_request()
        world.expect(frames.Done, self.bo.link, self.asked)
        world.expect(frames.Done, self.bo.link, self.bo.blob_put(BLOB))
        world.now += 3_600_000

    def frame(self, who: Person, what: str) -> frames.ClientFrame:
        mine: dict[str, Any] = {"admitters": (who.mid,), "expires": self.world.now + DAY}
        new = invite_named("new")
        makers: dict[str, Callable[[], frames.ClientFrame]] = {
            "post": who.post,
            "redact another's": lambda: who.redact(self.said.event_id),
            "upload": lambda: who.blob_put(OTHER_BLOB),
            "download": lambda: who.blob_get(BLOB),
            "sync": who.sync,
            "read the chain": lambda: frames.ChainGet(1, who.room, 0),
            "ask for a key": who.key_request,
            "answer a key request": lambda: who.key_answer(self.asked, self.bo),
            "invite a member": lambda: who.invite(new, **mine),
            "invite a co-owner": lambda: who.invite(new, role=Role.CO_OWNER, **mine),
            "invite a doorkeeper": lambda: who.invite(new, caps=(records.Cap.ADMIT,), **mine),
            "close another's invite": lambda: who.control(
                records.InviteClose, invite_id=invite_named("hers")
            ),
            "rotate": who.rekey,
            "rotate boxed": who.rekey_boxed,
            "evict a member": lambda: who.rekey_boxed(self.bo.mid),
            "evict a co-owner": lambda: who.rekey_boxed(self.co.mid),
            "evict root": lambda: who.rekey_boxed(self.ana.mid),
            "make readonly": lambda: who.grant(self.bo.mid, Role.READONLY),
            "make co-owner": lambda: who.grant(self.bo.mid, Role.CO_OWNER),
            "demote a co-owner": lambda: who.grant(self.co.mid, Role.MEMBER),
            "hand over": lambda: who.handover(self.bo),
            "leave": who.leave,
        }
        return makers[what]()


BLOB, OTHER_BLOB = blob_named("blob"), blob_named("other")


@pytest.mark.parametrize("what", YES)
@pytest.mark.parametrize("who", WHO)
def test_everyone_may_do_what_the_table_says(who: str, what: str) -> None:
    """Role by role, deed by deed: done, or refused with the state unchanged."""
    cast = Cast()
    person = cast.people[who]
    frame = cast.frame(person, what)
    if who in YES[what]:
        answer = cast.world.send(person.link, frame)
        assert answer is not None
        assert not isinstance(answer, frames.Failure)
        return
    wanted = {Code.FORBIDDEN}
    if who == "evicted":
        wanted = {Code.NOT_FOUND}
    elif (who, what) == ("root", "leave"):
        wanted = {Code.ROOT_MUST_HAND_OVER}
    assert cast.world.code(person.link, frame) in wanted


def test_a_demoted_admitter_answers_no_more(world: World, ana: Person) -> None:
    """Invites that nobody may answer any more are gone, with their requests."""
    door = admit_to(ana, "door", caps=(records.Cap.ADMIT,))
    invite = invite_named("by the door")
    door.do(door.invite(invite))
    cy = Person(world, "cy", ana.room)
    join = cy.join(invite)
    world.expect(frames.JoinStatus, cy.link, join)
    late = door.answer(join)
    ana.do(ana.grant(door.mid, Role.MEMBER))
    assert ana.log.joins_of(invite) == []
    assert world.code(door.link, late) == Code.FORBIDDEN
    assert world.code(cy.link, join) == Code.INVITE_UNKNOWN


def test_every_fact_of_a_record_is_in_one_decision(world: World, ana: Person) -> None:
    """Admission, consumed invite and dropped rivals: one transaction (test 8)."""
    invite = invite_named("i")
    ana.do(ana.invite(invite))
    cy, di = Person(world, "cy", ana.room), Person(world, "di", ana.room)
    join, rival = cy.join(invite), di.join(invite)
    for person, asked in ((cy, join), (di, rival)):
        world.expect(frames.JoinStatus, person.link, asked)
    answer = ana.answer(join)
    world.expect(frames.Done, ana.link, answer)
    confirm = cy.confirm(join, answer)
    world.expect(frames.JoinStatus, cy.link, confirm)
    decision = world.decide(ana.link, ana.admit(cy, join, confirm))
    names = [type(fact).__name__ for fact in decision.facts]
    assert names == ["LogAppended", "JoinStored", "JoinDropped"]
    assert isinstance(decision.facts[0], LogAppended)
    assert peek(decision.facts[0].record).event_id == ana.log.state.ctl


def test_the_feed_is_told_who_comes_and_who_goes(world: World, ana: Person) -> None:
    """So that what its readers share is renewed; entries that change no member say nothing."""

    def changes(frame: frames.Control, person: Person = ana) -> bool:
        decision = world.decide(person.link, frame)
        world.commit(decision)
        (appended,) = [e for e in decision.effects if isinstance(e, Appended)]
        return appended.members_changed

    bo, cy = admit_to(ana, "bo"), Person(world, "cy", ana.room)
    assert not changes(ana.rekey())
    assert not changes(ana.grant(bo.mid, Role.READONLY))
    invite_id = invite_named("for cy")
    assert not changes(ana.invite(invite_id))
    join = cy.join(invite_id)
    world.expect(frames.JoinStatus, cy.link, join)
    answer = ana.answer(join)
    world.expect(frames.Done, ana.link, answer)
    confirm = cy.confirm(join, answer)
    world.expect(frames.JoinStatus, cy.link, confirm)
    assert changes(ana.admit(cy, join, confirm))
    cy.come()
    assert changes(cy.leave(), cy)
    assert changes(ana.rekey_boxed(bo.mid))
    assert not changes(ana.rekey_boxed())


def test_a_control_log_ends_before_nobody_can_read_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """What clients would refuse to read is never written; evicting and leaving go on for longer."""
    monkeypatch.setattr(limits, "CHAIN_BYTES", 16_000)
    monkeypatch.setattr(limits, "CHAIN_RESERVE", 6_000)
    world = World(RelayPolicy(control_per_minute_per_member=1000))
    ana = found_room(world)
    bo, cy = admit_to(ana, "bo"), admit_to(ana, "cy")
    while ana.log.chain_bytes < 9_000:
        ana.do(ana.rekey(cell=bytes(100)))
    assert world.code(ana.link, ana.rekey(cell=bytes(1_000))) == Code.QUOTA
    ana.do(ana.rekey_boxed(bo.mid))
    world.expect(frames.Ack, cy.link, cy.leave())
    assert ana.log.chain_bytes > 10_000
    stored = world.store.rooms[ana.room].log.values()
    sizes = [len(entry.record) + limits.CHAIN_OVERHEAD for entry in stored if entry.control]
    assert ana.log.chain_bytes == sum(sizes) < limits.CHAIN_BYTES
    world.snapshot()
    while ana.log.chain_bytes < 15_000:
        ana.do(ana.rekey_boxed())
    too_much = ana.rekey_boxed(sent=(), boxes=((ana.mid, digest("x")),) * 30)
    assert world.code(ana.link, too_much) == Code.QUOTA
