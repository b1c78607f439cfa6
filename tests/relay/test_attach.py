"""Founding rooms and attaching to them (protocol.md §2.3 GENESIS, ATTACH; tests 3 and 26)."""

from __future__ import annotations

from collections import Counter
from importlib import import_module

import pytest
from attrs import evolve

from ofcd.protocol import frames, records
from ofcd.protocol.codes import Code
from ofcd.protocol.ids import Hash32, InviteId, PublicKey, RelayId, RoomId
from ofcd.relay import Appended, Arrive, Backlog, Push, RelayPolicy, Reply
from ofcd.relay.facts import LogAppended, RoomFounded
from ofcd.themis.signed import peek, sign_record
from tests.relay.world import (
    Person,
    World,
    admit_to,
    digest,
    found_room,
    keypair,
    transport_key,
)


@pytest.fixture
def world() -> World:
    return World()


def test_a_genesis_founds_the_room_that_its_hash_names(world: World) -> None:
    """The answer is entry 0, where the running hash is the room's id; a repeat is the same room."""
    ana = Person(world, "ana")
    frame = ana.create()
    first = world.expect(frames.Ack, ana.link, frame)
    assert (first.seq, first.log) == (0, Hash32(ana.room))
    facts = len(world.facts)
    assert world.send(ana.link, frame) == first
    assert len(world.facts) == facts


def test_the_genesis_is_the_first_entry_that_is_fed(world: World) -> None:
    """One decision founds the room and appends its GENESIS, for whoever reads along."""
    ana = Person(world, "ana")
    frame = ana.create()
    decision = world.decide(ana.link, frame)
    founded, appended = decision.facts
    assert founded == RoomFounded(ana.room, ana.mid, world.now)
    assert isinstance(appended, LogAppended)
    delivery = frames.Delivery(ana.room, 0, frame.record)
    assert Appended(ana.room, 0, delivery) in decision.effects


def test_a_genesis_for_another_relay_is_refused(world: World) -> None:
    """Nobody can make this relay the hub of a room that names another."""
    ana = Person(world, "ana")
    frame = ana.create(relay_id=RelayId(digest("another relay")))
    assert world.code(ana.link, frame) == Code.WRONG_RELAY


def test_a_genesis_is_signed_by_the_key_it_names(world: World) -> None:
    """A GENESIS signed by someone else's key is refused."""
    ana, eve = Person(world, "ana"), Person(world, "eve")
    forged = sign_record(eve.sign.private, ana.genesis())
    assert world.code(eve.link, frames.Create(1, record=forged.envelope)) == Code.BAD_SIGNATURE


def test_one_key_can_not_both_sign_and_decrypt(world: World) -> None:
    """Protocol.md §1, C1: separate keys for separate purposes."""
    ana = Person(world, "ana")
    frame = ana.create(enc_key=PublicKey(ana.sign.public))
    assert world.code(ana.link, frame) == Code.BAD_KEY


def test_the_relay_takes_as_many_rooms_as_its_policy_says() -> None:
    """The quota counts the rooms that were there at the start; a known room is no new one."""
    world = World(RelayPolicy(rooms_per_relay=2), rooms=1)
    ana, bo = Person(world, "ana"), Person(world, "bo")
    first = ana.create()
    world.expect(frames.Ack, ana.link, first)
    assert world.code(bo.link, bo.create()) == Code.QUOTA
    world.expect(frames.Ack, ana.link, first)


def test_a_failed_founding_does_not_count() -> None:
    """A room whose commit failed is not there, and frees its place in the quota."""
    world = World(RelayPolicy(rooms_per_relay=1))
    ana = Person(world, "ana")
    frame = ana.create()
    assert world.decide(ana.link, frame).facts
    world.relay.forget([ana.room])
    for _ in range(2):
        world.relay.load(ana.room, None)
    world.expect(frames.Ack, ana.link, frame)
    bo = Person(world, "bo")
    assert world.code(bo.link, bo.create()) == Code.QUOTA


def test_founding_may_take_a_token_or_be_forbidden() -> None:
    """`create_token` must be shown; with `may_create` off nothing helps."""
    world = World(RelayPolicy(create_token="let me"))
    ana = Person(world, "ana")
    assert world.code(ana.link, ana.create()) == Code.FORBIDDEN
    assert world.code(ana.link, ana.create(token="let mé")) == Code.FORBIDDEN
    world.expect(frames.Ack, ana.link, ana.create(token="let me"))
    closed = World(RelayPolicy(may_create=False))
    bo = Person(closed, "bo")
    assert closed.code(bo.link, bo.create()) == Code.FORBIDDEN


def test_a_room_that_is_there_takes_no_token_to_be_founded_again() -> None:
    """Its founder lost the answer, and the operator changed the token meanwhile: the same room.
    Another's signature under the same GENESIS gets nothing."""
    world = World(RelayPolicy(create_token="old"))
    ana = Person(world, "ana")
    frame = ana.create(token="old")
    first = world.expect(frames.Ack, ana.link, frame)
    world.relay._core.policy = RelayPolicy(create_token="new", rooms_per_relay=1)
    again = world.expect(frames.Ack, ana.link, frame)
    assert (again.event_id, again.seq) == (first.event_id, 0)
    forged = sign_record(keypair("eve").private, peek(frame.record).record)
    assert world.code(ana.link, frames.Create(9, record=forged.envelope)) == Code.BAD_SIGNATURE


def test_attaching_tells_the_head_and_the_cursor(world: World) -> None:
    """`Attached` names the log's end and what the member said it has."""
    ana = found_room(world)
    ack = ana.say()
    world.send(ana.link, frames.Cursor(ana.room, 1))
    told = world.expect(frames.Attached, ana.link, ana.attach())
    assert (told.seq, told.log, told.cursor) == (ack.seq, ack.log, 1)


def test_only_the_holder_of_the_members_key_attaches(world: World) -> None:
    """Test 3: another's mid, a stale challenge, another session's key: refused, no harm (B3)."""
    ana = found_room(world)
    eve = Person(world, "eve", ana.room)
    stolen = frames.Attach(1, ana.attach().record)
    assert world.code(eve.link, stolen) == Code.STALE_CHALLENGE
    assert world.code(eve.link, eve.attach(mid=ana.mid)) == Code.NOT_FOUND
    assert world.code(eve.link, eve.attach()) == Code.NOT_FOUND
    assert (
        world.code(ana.link, ana.attach(transport_key=transport_key("eve")))
        == Code.WRONG_TRANSPORT_KEY
    )
    assert world.code(ana.link, ana.attach(challenge=digest("old"))) == Code.STALE_CHALLENGE
    assert world.code(ana.link, ana.attach(relay_id=RelayId(digest("other")))) == Code.WRONG_RELAY
    ana.say()
    assert world.received(ana.link, frames.Delivery)[-1].cell == b"sealed"


def test_strangers_learn_nothing_from_how_they_are_refused(world: World) -> None:
    """Test 26: no such room, not a member, evicted, wrong signature: one and the same answer."""
    ana = found_room(world)
    bo = admit_to(ana, "bo")
    ana.do(ana.rekey_boxed(bo.mid))
    eve = Person(world, "eve", ana.room)
    guess = Person(world, "eve", RoomId(digest("no such room")))
    answers = {
        (failure.code, failure.text, failure.seq, failure.event_id, failure.retry_after)
        for failure in (
            world.refused(eve.link, eve.attach()),
            world.refused(guess.link, guess.attach()),
            world.refused(bo.link, bo.attach()),
            world.refused(eve.link, eve.attach(mid=ana.mid)),
            world.refused(bo.link, bo.sync()),
            world.refused(bo.link, bo.post()),
            world.refused(bo.link, frames.ChainGet(9, bo.room, 0)),
        )
    }
    assert len(answers) == 1
    assert answers.pop()[0] == Code.NOT_FOUND


@pytest.mark.parametrize("memory", ["cold", "warm"])
@pytest.mark.parametrize("ask", ["attach", "lookup", "join"])
def test_26_strangers_learn_nothing_from_how_long_it_takes(
    world: World, monkeypatch: pytest.MonkeyPatch, ask: str, memory: str
) -> None:
    """Test 26, the timing: the same work for a room that is not there, another's, one's former.

    Store reads, records parsed and signatures verified are what takes time. Only who names a
    current member has a signature looked at, and nobody guesses the hash of a key.
    """
    ana = found_room(world)
    bo = admit_to(ana, "bo")
    ana.do(ana.rekey_boxed(bo.mid))
    eve, nowhere = Person(world, "eve", ana.room), RoomId(digest("no such room"))
    asked = {
        "was": (bo.link, _question(bo, ask, ana.room)),
        "never": (eve.link, _question(eve, ask, ana.room)),
        "nowhere": (eve.link, _question(eve, ask, nowhere)),
    }
    work: Counter[str] = Counter()
    for owner, name in (
        (world.store, "load"),
        ("ofcd.relay.commands", "peek"),
        ("ofcd.relay.request", "open_signed"),
    ):
        _count(monkeypatch, work, owner, name)
    seen = {}
    for name, (link, frame) in asked.items():
        if memory == "cold":
            world.relay.forget([ana.room])
            world.relay._core.absent.clear()
        else:
            world.decide(link, frame)
        work.clear()
        [effect] = world.decide(link, frame).effects
        assert isinstance(effect, Reply)
        assert isinstance(effect.frame, frames.Failure)
        seen[name] = (effect.frame.code, effect.frame.text, sorted(work.items()))
    assert seen["was"] == seen["never"] == seen["nowhere"]
    assert dict(seen["was"][2]).get("load", 0) == (1 if memory == "cold" else 0)


def _question(who: Person, ask: str, room: RoomId) -> frames.ClientFrame:
    """What someone asks who is not in this room."""
    invite = InviteId(bytes(16))
    if ask == "attach":
        return who.attach(room=room)
    return who.lookup(invite, room=room) if ask == "lookup" else who.join(invite, room=room)


def _count(monkeypatch: pytest.MonkeyPatch, work: Counter[str], owner: object, name: str) -> None:
    """Count the calls of a function."""
    owner = import_module(owner) if isinstance(owner, str) else owner
    real = getattr(owner, name)

    def counted(*args: object) -> object:
        work[name] += 1
        return real(*args)

    monkeypatch.setattr(owner, name, counted)


def test_guessing_is_rate_limited() -> None:
    """After so many wrong guesses even a right ATTACH waits; time heals."""
    world = World(RelayPolicy(failed_lookups_per_minute_per_link=2))
    ana = found_room(world)
    for name in ("x", "y"):
        wrong = ana.attach(room=RoomId(digest(name)))
        assert world.code(ana.link, wrong) == Code.NOT_FOUND
    failure = world.refused(ana.link, ana.attach())
    assert failure.code == Code.RATE_LIMITED
    assert failure.retry_after == 30_000
    world.now += 30_000
    world.expect(frames.Attached, ana.link, ana.attach())


def test_one_member_attaches_on_many_links(world: World) -> None:
    """Both links are fed, and a signal of one reaches the other."""
    ana = found_room(world)
    second = world.open_link("ana")
    world.expect(frames.Attached, second, ana.attach(second))
    world.expect(frames.Synced, second, ana.sync())
    ana.say(b"to both")
    assert world.received(ana.link, frames.Delivery)[-1].cell == b"to both"
    assert world.received(second, frames.Delivery)[-1].cell == b"to both"


def test_a_link_is_one_member_of_a_room(world: World) -> None:
    """A second member on the same link must wait until the first one has detached."""
    ana = found_room(world)
    bo = admit_to(ana, "bo")
    as_bo = bo.attach(ana.link, transport_key=transport_key("ana"))
    assert world.code(ana.link, as_bo) == Code.FORBIDDEN
    world.expect(frames.Done, ana.link, frames.Detach(1, ana.room))
    world.expect(frames.Attached, ana.link, as_bo)


def test_rooms_of_a_link_are_bounded() -> None:
    """One link attaches to `rooms_per_link` rooms; a room it is in already is no new one."""
    world = World(RelayPolicy(rooms_per_link=1))
    ana = found_room(world)
    bo = found_room(world, "bo")
    joined = bo.attach(ana.link, transport_key=transport_key("ana"))
    assert world.code(ana.link, joined) == Code.QUOTA
    nowhere = bo.attach(ana.link, transport_key=transport_key("ana"), room=RoomId(digest("no")))
    assert world.code(ana.link, nowhere) == Code.QUOTA  # it tells of no room
    world.expect(frames.Attached, ana.link, ana.attach())


def test_detaching_ends_the_feed_and_may_be_repeated(world: World) -> None:
    """After DETACH nothing of the room comes, and nothing is taken."""
    ana = found_room(world)
    bo = admit_to(ana, "bo")
    for rid in (1, 2):
        world.expect(frames.Done, bo.link, frames.Detach(rid, bo.room))
    got = len(world.inbox[bo.link])
    ana.say()
    assert len(world.inbox[bo.link]) == got
    assert world.code(bo.link, bo.post()) == Code.NOT_ATTACHED


def test_a_closed_link_leaves_nothing_behind(world: World) -> None:
    """It is in no room; what it had under way is not decided. Closing it again is nothing."""
    ana = found_room(world)
    frame = ana.post()
    examined = world.examine(ana.link, frame)
    for _ in range(2):
        world.relay.close_link(ana.link)
        assert world.relay.decide(ana.link, examined, world.now).facts == ()
        assert not world.relay.is_attached(ana.link, ana.room, ana.mid)
        assert not world.relay._core.links.attached(ana.room)


def test_false_signatures_close_the_link() -> None:
    """Above the limit a link that sends false signatures is told so and closed."""
    world = World(RelayPolicy(bad_signatures_per_minute=2))
    link = world.open_link()
    assert world.relay.bad_signature(link, world.now).effects == ()
    assert world.relay.bad_signature(link, world.now).effects == ()
    (effect,) = world.relay.bad_signature(link, world.now).effects
    world._perform([effect])
    assert (world.closed[link].rid, world.closed[link].code) == (0, Code.RATE_LIMITED)
    world.now += 60_000
    assert world.relay.bad_signature(link, world.now).effects == ()


def test_waiting_requests_are_pushed_at_attach(world: World) -> None:
    """An owner who comes back hears of the KEY_REQ that came meanwhile, and nobody else does; nor
    does the owner, once it has detached before it was told."""
    ana = found_room(world)
    bo = admit_to(ana, "bo")
    cy = admit_to(ana, "cy", records.Role.READONLY)
    asked = bo.key_request()
    world.expect(frames.Done, bo.link, asked)
    told = frames.KeyAsked(ana.room, asked.record)
    for person, waiting in ((ana, [told]), (bo, []), (cy, [])):
        effects = world.decide(person.link, person.attach()).effects
        assert Backlog(person.link, ana.room, person.mid) in effects
        assert not any(isinstance(effect, Push) for effect in effects)
        backlog = world.relay.backlog(person.link, ana.room, person.mid, world.now)
        assert backlog == waiting
    world.expect(frames.Done, ana.link, frames.Detach(99, ana.room))
    assert world.relay.backlog(ana.link, ana.room, ana.mid, world.now) == []


def test_a_hello_on_an_open_link_is_out_of_order(world: World) -> None:
    """HELLO was said before the link was open; the core takes none."""
    link = world.open_link()
    assert world.decide(link, frames.Hello((1,))).effects == ()


HUB = RelayId(digest("the hub"))


def arriving(world: World) -> tuple[Person, frames.Attach]:
    """Somebody who says to be at home here now, in a room that another relay orders."""
    bo = Person(world, "bo")
    bo.create()  # not sent: this relay has no such room
    return bo, evolve(bo.attach(), hub=HUB, hub_url="wss://hub.example")


def test_who_comes_to_be_at_home_here_has_the_room_fetched() -> None:
    """Nothing is answered, and nobody attached, before the room and with it their key is here."""
    world = World(RelayPolicy(federated=True))
    bo, frame = arriving(world)
    decision = world.decide(bo.link, frame)
    wanted = Arrive(bo.link, HUB, "wss://hub.example", bo.room, bo.mid, frame)
    assert decision.effects == (wanted,)
    assert not world.relay.is_attached(bo.link, bo.room, bo.mid)


def test_a_fetch_is_asked_for_on_this_very_link_and_counts_as_a_guess() -> None:
    """Anybody can say so: few tries, and none where this relay talks to no other."""
    world = World(RelayPolicy(federated=True, failed_lookups_per_minute_per_link=3))
    bo, frame = arriving(world)
    stolen = evolve(frame, record=bo.attach(challenge=Hash32(digest("old"))).record)
    assert world.code(bo.link, stolen) == Code.STALE_CHALLENGE
    for _ in range(3):
        assert len(world.decide(bo.link, frame).effects) == 1
    assert world.code(bo.link, frame) == Code.RATE_LIMITED
    alone = World(RelayPolicy(federated=False))
    bo, frame = arriving(alone)
    assert alone.code(bo.link, frame) == Code.NOT_FEDERATED
