"""What is in memory: loading, forgetting, expiry, bounds."""

from __future__ import annotations

import pytest
from attrs import evolve

from ofcd.protocol import frames
from ofcd.protocol.codes import Code, Malformed, Refused
from ofcd.protocol.ids import RoomId
from ofcd.relay import BadSnapshot, RelayPolicy, RoomLog, Subscribe
from ofcd.relay.facts import JoinRow, JoinStage
from tests.relay.world import Person, World, admit_to, digest, found_room, invite_named


@pytest.fixture
def world() -> World:
    return World()


def test_a_room_is_needed_once(world: World) -> None:
    """Frames name the room that must be loaded, until it is; a room that is not is known too."""
    ana = found_room(world)
    world.relay.forget([ana.room])
    frame = ana.attach()
    world.relay.forget([ana.room])
    asked = world.relay.read(ana.link, frame, world.now)
    assert world.relay.needs(asked) == ana.room
    world.relay.load(ana.room, world.store.load(ana.room))
    assert world.relay.needs(asked) is None
    nowhere = RoomId(digest("nowhere"))
    lookup = ana.lookup(invite_named("i"), room=nowhere)
    asked = world.relay.read(ana.link, lookup, world.now)
    assert world.relay.needs(asked) == nowhere
    world.relay.load(nowhere, None)
    assert world.relay.needs(asked) is None


def test_nothing_is_loaded_for_who_is_not_attached(world: World) -> None:
    """A frame that will be refused anyway costs no reading of the store."""
    ana = found_room(world)
    world.close_link(ana.link)
    post = ana.post()
    world.relay.forget([ana.room])
    link = world.open_link()
    assert world.relay.needs(world.relay.read(link, post, world.now)) is None
    for junk in (
        frames.Create(1, record=b"junk"),
        frames.Attach(1, b"junk"),
        frames.Attach(1, post.record),
    ):
        with pytest.raises(Malformed):
            world.relay.read(link, junk, world.now)


def test_a_link_that_is_gone_asks_nothing(world: World) -> None:
    """What it sent before it went is refused, and breaks nothing."""
    ana = found_room(world)
    asked = world.relay.read(ana.link, ana.post(), world.now)
    world.close_link(ana.link)
    with pytest.raises(Refused) as refused:
        world.relay.examine(ana.link, asked, world.now)
    assert refused.value.code == Code.OUT_OF_ORDER


def test_what_is_in_memory_is_known(world: World) -> None:
    """The daemon loads a room whose backlog is to be told only where it is not here."""
    ana = found_room(world)
    assert world.relay.is_loaded(ana.room)
    world.relay.forget([ana.room])
    assert not world.relay.is_loaded(ana.room)


def test_a_room_not_loaded_is_tried_again(world: World) -> None:
    """Dropped between the two steps: the client is asked to try again, nothing breaks."""
    ana = found_room(world)
    frame = ana.post()
    examined = world.examine(ana.link, frame)
    world.relay.forget([ana.room])
    decision = world.relay.decide(ana.link, examined, world.now)
    answer = world.answer_in(decision.effects, ana.link, frame)
    assert isinstance(answer, frames.Failure)
    assert answer.code == Code.TRY_AGAIN


def test_only_what_was_verified_is_decided(world: World) -> None:
    """If other signatures are asked for than were verified, nothing is done."""
    ana = found_room(world)
    frame = ana.post()
    examined = world.examine(ana.link, frame)
    assert len(examined.signatures) == 1
    unverified = evolve(examined, signatures=())
    decision = world.relay.decide(ana.link, unverified, world.now)
    answer = world.answer_in(decision.effects, ana.link, frame)
    assert isinstance(answer, frames.Failure)
    assert (answer.code, decision.facts) == (Code.TRY_AGAIN, ())


def test_links_stay_attached_while_a_room_is_forgotten(world: World) -> None:
    """A failed commit costs nobody the attachment; whoever is no member has none."""
    ana = found_room(world)
    bo = admit_to(ana, "bo")
    evicted = admit_to(ana, "cy")
    ana.do(ana.rekey_boxed(evicted.mid))
    world.relay.forget([ana.room])
    for person, attached in ((ana, True), (bo, True), (evicted, False)):
        assert world.relay.is_attached(person.link, ana.room, person.mid) is attached
    bo.say()
    assert world.relay._core.forgotten == {}
    assert world.relay.is_attached(bo.link, ana.room, bo.mid)
    assert not world.relay.is_attached(bo.link, ana.room, ana.mid)
    assert not world.relay.is_attached(bo.link, RoomId(digest("nowhere")), bo.mid)


def test_a_room_read_elsewhere_is_taken_as_it_is(world: World) -> None:
    """A worker thread may build the room from its snapshot; a loaded room is not replaced."""
    ana = found_room(world)
    ana.say()
    snapshot = world.store.load(ana.room)
    assert snapshot is not None
    kept = ana.log
    world.relay.load(ana.room, RoomLog.from_snapshot(snapshot))
    assert ana.log is kept
    world.relay.forget([ana.room])
    world.relay.load(ana.room, RoomLog.from_snapshot(snapshot))
    assert ana.log == kept


def test_a_room_that_does_not_add_up_is_not_taken(world: World) -> None:
    """A store that lost or mixed records is found out when the room is loaded."""
    ana = found_room(world)
    ana.do(ana.rekey())
    ana.do(ana.rekey())
    bo = found_room(world, "bo")
    said = ana.post()
    snapshot = world.store.load(ana.room)
    assert snapshot is not None
    genesis, first, second = snapshot.chain
    event = world.store.rooms[bo.room].log[0]
    for chain in (
        (),
        (genesis, second),
        (first, second),
        (genesis, evolve(first, record=event.record)),
        (genesis, evolve(first, record=b"junk")),
        (genesis, evolve(first, record=said.record)),
    ):
        with pytest.raises(BadSnapshot):
            RoomLog.from_snapshot(evolve(snapshot, chain=chain))
    with pytest.raises(BadSnapshot):
        RoomLog.from_snapshot(evolve(snapshot, room=bo.room))
    row = JoinRow(
        ana.room, invite_named("i"), digest("hash"), bo.mid, JoinStage.PENDING, said.record
    )
    with pytest.raises(BadSnapshot):
        RoomLog.from_snapshot(evolve(snapshot, joins=(row,)))


def test_rooms_nobody_uses_are_unloaded() -> None:
    """Those without a link, once their last commit is over, beyond the number to keep."""
    world = World(RelayPolicy(rooms_in_memory=1))
    people = [found_room(world, name) for name in ("ana", "bo", "cy")]
    for person in people[:2]:
        world.close_link(person.link)
        world.now += 1
    world.relay.tick(world.now)
    assert len(world.relay._core.rooms) == 3
    world.now += RelayPolicy().room_settle_ms
    world.relay.tick(world.now)
    assert list(world.relay._core.rooms) == [people[1].room, people[2].room]


def test_a_room_founded_after_it_was_asked_for_is_there() -> None:
    """Known not to exist, then founded, then unloaded: it is read again from the store."""
    world = World(RelayPolicy(rooms_in_memory=0))
    ana = Person(world, "ana")
    frame = ana.create()
    assert world.code(ana.link, ana.attach()) == Code.NOT_FOUND
    world.expect(frames.Ack, ana.link, frame)
    world.now += RelayPolicy().room_settle_ms + 1
    world.relay.tick(world.now)
    assert not world.relay._core.rooms
    world.expect(frames.Attached, ana.link, ana.attach())


def test_attachments_without_a_member_are_let_go(world: World) -> None:
    """A while after the eviction; until then they are good for nothing."""
    ana = found_room(world)
    bo = admit_to(ana, "bo")
    ana.do(ana.rekey_boxed(bo.mid))
    link = world.relay._core.links.get(bo.link)
    assert link is not None
    world.relay.tick(world.now)
    assert link.rooms
    world.now += RelayPolicy().room_settle_ms + 1
    world.relay.tick(world.now)
    assert link.rooms == {}
    assert world.code(bo.link, bo.sync()) == Code.NOT_ATTACHED


def test_rooms_known_not_to_exist_are_bounded() -> None:
    """Guesses do not fill the memory."""
    world = World(RelayPolicy(absent_rooms=2))
    for name in ("a", "b", "c"):
        world.relay.load(RoomId(digest(name)), None)
    assert list(world.relay._core.absent) == [RoomId(digest("b")), RoomId(digest("c"))]


def test_reading_is_not_deciding(world: World) -> None:
    """A Sync is a question to the shell: no facts."""
    ana = found_room(world)
    decision = world.decide(ana.link, ana.sync())
    assert decision.facts == ()
    assert [type(effect) for effect in decision.effects] == [Subscribe]


def test_a_stranger_has_no_number(world: World) -> None:
    """Requests on a link that is not open are refused, and nothing breaks."""
    ana = Person(world, "ana")
    frame = ana.create()
    world.close_link(ana.link)
    decision = world.decide(ana.link, frame)
    assert decision.facts == ()
