"""HUB_MOVE at the relay: when the hub takes it, and what follows from it at the new one."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from ofcd.protocol import frames, records
from ofcd.protocol.codes import Code, Refused
from ofcd.protocol.ids import EventId, RelayId
from ofcd.relay import (
    Entry,
    Forward,
    HubMoved,
    RelayPolicy,
    RoomLog,
    found_copy,
    verify_entries,
)
from ofcd.relay.effects import Appended, Push
from ofcd.relay.facts import (
    ChainRecord,
    JoinDropped,
    KeyRequestDropped,
    OutboxDropped,
    OutboxRow,
    ReplicaMoved,
    SenderState,
)
from ofcd.relay.following import replicate
from ofcd.relay.rates import Rates
from ofcd.relay.request import Core
from ofcd.themis.signed import peek
from tests.relay.world import NOW, Person, World, admit_to, digest, found_room, invite_named

THERE = RelayId(b"\x07" * 32)
ELSEWHERE = RelayId(b"\x09" * 32)
URLS = ("wss://there.example",)


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def ana(world: World) -> Person:
    return found_room(world)


@pytest.fixture
def bo(ana: Person) -> Person:
    """A member who is at home at the other relay, which has stored all there is."""
    joiner = admit_to(ana, "bo")
    joiner.say()
    joiner.do(joiner.control(records.Home, home=THERE))
    stored(joiner)
    return joiner


def test_nobody_goes_to_a_relay_that_this_one_never_talks_to() -> None:
    """They would hear nothing more of the room, and could not come back the way they went."""
    alone = World(RelayPolicy(federated=False))
    ana = found_room(alone)
    assert alone.code(ana.link, ana.control(records.Home, home=THERE)) == Code.NOT_FEDERATED


def stored(person: Person, seq: int | None = None) -> None:
    """The other relay says how far it has the room."""
    at = person.log.seq if seq is None else seq
    person.world.relay.acknowledged(person.room, THERE, at)
    person.world.relay._core.hosts.add((person.room, THERE))


def move(person: Person, **fields: Any) -> frames.Control:
    made: dict[str, Any] = {"hub": THERE, "urls": URLS, "term": person.log.state.term + 1, **fields}
    return person.control(records.HubMove, **made)


def test_the_hub_hands_over_and_follows(world: World, ana: Person, bo: Person) -> None:
    """The last entry it orders; what waits there for admitters and owners ends; it says so once."""
    ana.do(ana.invite(invite_named("open")))
    stored(ana)
    cai = Person(world, "cai", ana.room)
    world.expect(frames.JoinStatus, cai.link, cai.join(invite_named("open")))
    world.expect(frames.Done, bo.link, bo.key_request())
    decision = world.decide(ana.link, frame := move(ana))
    kinds = [type(fact) for fact in decision.facts]
    assert {ReplicaMoved, JoinDropped, KeyRequestDropped} <= set(kinds)
    [moved] = [effect for effect in decision.effects if isinstance(effect, HubMoved)]
    assert (moved.seq, moved.before, moved.hub, moved.urls) == (
        ana.log.seq,
        world.relay_id,
        THERE,
        URLS,
    )
    [appended] = [effect for effect in decision.effects if isinstance(effect, Appended)]
    assert decision.effects.index(moved) < decision.effects.index(appended)
    world.commit(decision)
    assert (ana.log.hub, ana.log.state.term) == (THERE, 1)
    assert ana.log.joins_of(invite_named("open")) == []
    assert (ana.log.key_asks, ana.log.state.invites) == ({}, {})
    assert ana.log.state.boxed_due
    [again] = world.decide(ana.link, evolve(frame, rid=ana.number())).effects
    assert isinstance(again, Forward), "the new hub knows the record, and acknowledges it"
    world.expect(frames.Queued, ana.link, ana.post())
    assert world.code(cai.link, cai.lookup(invite_named("open"))) == Code.INVITE_UNKNOWN


def test_it_is_taken_only_when_the_new_hub_has_everything(
    world: World, ana: Person, bo: Person
) -> None:
    """Else the room is held for a moment, in which nothing else is taken, and it is made anew."""
    stored(ana, ana.log.seq - 1)
    early = move(ana)
    refused = world.refused(ana.link, early)
    assert (refused.code, refused.retry_after) == (Code.TRY_AGAIN, 250)
    assert world.code(bo.link, bo.post()) == Code.TRY_AGAIN
    assert world.code(ana.link, ana.rekey()) == Code.TRY_AGAIN
    stored(ana)
    world.now += 5_000
    bo.say()
    stored(ana)
    assert world.code(ana.link, evolve(early, rid=ana.number())) == Code.TRY_AGAIN
    ana.do(move(ana))


def test_a_relay_that_does_not_follow_gets_nothing(world: World, ana: Person, bo: Person) -> None:
    """Nor one that did until its link ended, or that has no copy to go on with."""
    relay, log = world.relay, ana.log
    for ended in (
        lambda: relay.unfollowed(THERE),
        lambda: relay.unfollowed(THERE, ana.room),
        lambda: relay.check_follow(ana.room, THERE, log.seq + 1, None),
    ):
        relay.check_follow(ana.room, THERE, log.seq + 1, log.log)
        relay.unfollowed(ELSEWHERE)
        ended()
        assert world.code(ana.link, move(ana)) == Code.HUB_AWAY
        assert not relay._core.acked
    bo.say()


@pytest.mark.parametrize(
    "changes",
    [{"term": 0}, {"term": 2}, {"hub": RelayId(b"\x09" * 32)}],
    ids=["term of before", "term to come", "nobody there"],
)
def test_what_can_not_be_is_refused_and_holds_nothing(
    world: World, ana: Person, bo: Person, changes: dict[str, object]
) -> None:
    hub = changes.get("hub", THERE)
    world.relay._core.acked[ana.room, RelayId(hub)] = 0  # type: ignore[arg-type]
    assert world.code(ana.link, move(ana, **changes)) == Code.FORBIDDEN
    bo.say()


def test_nobody_but_root_says_so(world: World, ana: Person, bo: Person) -> None:
    """Nor holds the room by it."""
    ana.do(ana.grant(bo.mid, records.Role.CO_OWNER))
    for acked in (ana.log.seq, 0):
        stored(ana, acked)
        assert world.code(bo.link, move(bo)) == Code.FORBIDDEN
        bo.say()


def test_who_had_come_last_may_still_fetch_it(world: World, ana: Person, bo: Person) -> None:
    """The old hub gives its own time, with the record, to relays that follow; nothing after it."""
    ana.do(move(ana))
    since = ana.log.seq
    relay = world.relay
    assert relay.check_follow(ana.room, THERE, since, None) is ana.log
    with pytest.raises(Refused):
        relay.check_follow(ana.room, THERE, since + 1, None)
    assert relay.last_for(ana.room, THERE) == since


def test_the_new_hub_takes_over(world: World, ana: Person, bo: Person) -> None:
    """What waited there goes back to be signed anew; from the next entry on it orders."""
    before = move(ana)
    world.relay._core.relay_id = THERE  # from now on this is the other relay, with a copy
    log = ana.log
    signed = peek(bo.post().record)
    event = signed.record
    assert isinstance(event, records.Event)
    row = OutboxRow(
        ana.room,
        bo.mid,
        event.sid,
        event.counter,
        signed.event_id,
        world.now,
        signed.envelope,
        b"c",
    )
    log.put_waiting(row)
    moved = Entry(log.seq + 1, before.record)
    after = Entry(log.seq + 2, bo.post().record, b"sealed")
    verified = verify_entries(log, [moved, after])
    assert [one.entry for one in verified] == [moved], "the old hub goes on behind it"
    decision = replicate(world.relay._core, log, verified, world.now)
    assert ReplicaMoved(ana.room, None) in decision.facts
    assert OutboxDropped(ana.room, bo.mid, event.sid) in decision.facts
    [push] = [effect for effect in decision.effects if isinstance(effect, Push)]
    assert isinstance(push.frame, frames.Returned)
    assert (push.frame.sid, push.frame.code) == (event.sid, Code.CTL_STALE)
    world.commit(decision)
    assert world.relay.hub_of(ana.room) is None
    bo.say()


def test_a_sender_of_the_time_before_the_copy_is_taken_at_its_word(
    world: World, ana: Person, bo: Person
) -> None:
    """A hub that was a follower does not know how far they had come: their clients do."""
    log = ana.log
    log.floor = log.seq
    for mid in (ana.mid, bo.mid):
        log.senders.pop(mid, None)
    world.expect(frames.Ack, bo.link, bo.post(counter=7))
    assert world.code(bo.link, bo.post(counter=7)) == Code.COUNTER_GAP
    world.expect(frames.Ack, bo.link, bo.post(counter=8))
    cai = admit_to(ana, "cai")
    assert world.code(cai.link, cai.post(counter=7)) == Code.COUNTER_GAP
    log.senders[bo.mid] = SenderState(11, EventId(b""))  # of a copy that a stretch is missing in
    with pytest.raises(Refused, match="next one"):
        world.examine(bo.link, bo.post(counter=11, prev=EventId(bytes(32))))
    world.expect(frames.Ack, bo.link, bo.post(counter=14, prev=EventId(bytes(32))))


# -- what one relay takes, all others verify ------------------------------------------------------

FLOORS = st.integers(1, 12)
SAYS = st.tuples(st.integers(0, 3), st.one_of(st.none(), st.integers(1, 9), st.just(77)))
"""Who speaks, and a counter of their own making, with a `prev` to match."""


class Copy:
    """A copy of the room at one relay, from its floor on."""

    def __init__(self, relay: RelayId, person: Person, floor: int) -> None:
        stored = person.world.store.rooms[person.room].log
        self.person = person
        self.core = Core(relay, policy := RelayPolicy(), Rates(policy), room_count=0)
        chain = [ChainRecord(e.seq, e.event_id, e.record) for e in stored.values() if e.control]
        floor = min(floor, len(stored))
        self.log, _ = found_copy(chain, person.room, floor, stored[floor - 1].log, NOW)
        self.catch_up()

    def catch_up(self) -> None:
        """Take what the store has, verified."""
        stored = self.person.world.store.rooms[self.person.room].log
        while self.log.seq + 1 < len(stored):
            entries = [
                Entry(seq, stored[seq].record, stored[seq].cell)
                for seq in range(self.log.seq + 1, len(stored))
            ]
            verified = verify_entries(self.log, entries)
            replicate(self.core, self.log, verified, NOW)


def take_over(person: Person, copy: Copy) -> None:
    """From now on the world is this copy's relay."""
    person.world.relay_id = person.world.relay._core.relay_id = copy.core.relay_id
    person.world.relay._core.rooms[person.room] = copy.log


@settings(max_examples=20, phases=[Phase.generate])
@given(
    before=st.lists(st.integers(0, 5), max_size=6),
    floors=st.tuples(FLOORS, FLOORS, FLOORS),
    after=st.lists(SAYS, min_size=1, max_size=5),
    raised=st.booleans(),
)
def test_followers_verify_whatever_the_new_hub_takes(
    before: list[int],
    floors: tuple[int, int, int],
    after: list[tuple[int, int | None]],
    raised: bool,
) -> None:
    """Wherever the copies begin, the hub's included; live, at once, and when moved once more."""
    world = World(verify=False)
    ana = found_room(world)
    people = [ana, *(admit_to(ana, name) for name in ("bo", "cai"))]
    people[1].do(people[1].control(records.Home, home=THERE))
    for number in before:
        if number < len(people):
            people[number].say()
        else:
            ana.do(ana.rekey())
    people.append(admit_to(ana, "dan"))
    hub, near = Copy(THERE, ana, floors[0]), Copy(ELSEWHERE, ana, floors[1])
    far = Copy(ELSEWHERE, ana, floors[2])
    old = Copy(world.relay_id, ana, 1)
    stored(ana)
    ana.do(move(ana))
    for copy in (hub, near, old):
        copy.catch_up()
    take_over(ana, hub)
    people.append(admit_to(ana, "eve"))
    if raised:
        hub.log.floor = hub.log.seq + 1  # as retention does, and a start after it
    for who, counter in after:
        made: dict[str, Any] = (
            {} if counter is None else {"counter": counter, "prev": EventId(digest("another"))}
        )
        decision = world.decide(people[who].link, people[who].post(**made))
        if decision.facts:
            world.commit(decision)
        near.catch_up()
    refused = world.expect(frames.Failure, people[4].link, people[4].post(counter=77))
    assert refused.code == Code.COUNTER_GAP, "the hub saw her come"
    for copy in (far, old, late := Copy(ELSEWHERE, ana, floors[1])):
        copy.catch_up()
    assert {copy.log.log for copy in (near, far, old, late)} == {hub.log.log}


def test_a_restart_forgets_nothing_of_it(world: World, ana: Person, bo: Person) -> None:
    """What a follower holds nobody to any more, after a move, it does not after a start either."""
    ana.do(move(ana))
    assert not any(ana.log.sender(mid).is_certain for mid in (ana.mid, bo.mid))
    world.snapshot()
    loaded = world.store.load(ana.room)
    assert loaded is not None
    copy = RoomLog.from_snapshot(loaded)
    post = bo.post(counter=77)
    verified = verify_entries(copy, [Entry(copy.seq + 1, post.record, post.cell)])
    replicate(Core(THERE, p := RelayPolicy(), Rates(p), room_count=0), copy, verified, NOW)
    assert copy.senders[bo.mid].is_certain
