"""HUB_MOVE by force at the relay's core: what is decided on what no longer holds, and when."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
from attrs import evolve

from ofcd.protocol import frames, records
from ofcd.protocol.codes import Code, Refused
from ofcd.protocol.ids import EventId, Hash32, RelayId, log_hash
from ofcd.protocol.records import Seen
from ofcd.relay import Entry, HubLied, RelayPolicy, Rewound, RoomLog, verify_entries
from ofcd.relay.effects import Close, Decision, HubMoved, Push, Reply
from ofcd.relay.facts import (
    CursorMoved,
    MovesKept,
    OutboxDropped,
    OutboxRow,
    ReplicaMoved,
    SenderState,
)
from ofcd.relay.following import accept_head
from ofcd.relay.forcing import Retreat, prepare, stand_still
from ofcd.relay.skipping import Skip
from ofcd.relay.verifying import Verified
from ofcd.themis import generate_keypair
from ofcd.themis.moves import Moves
from ofcd.themis.signed import SignedRecord, open_signed, peek, sign_record
from tests.relay.world import NOW, Person, World, admit_to, found_room, invite_named

THERE, ELSEWHERE = RelayId(b"\x07" * 32), RelayId(b"\x09" * 32)
URLS = ("wss://there.example",)


@pytest.fixture
def world() -> World:
    return World(RelayPolicy(federated=True, hosts=True))


@pytest.fixture
def ana(world: World) -> Person:
    """Root, of a room with somebody at home at each of two other relays."""
    root = found_room(world)
    for name, home in (("bo", THERE), ("cai", ELSEWHERE)):
        joiner = admit_to(root, name)
        joiner.say()
        joiner.do(joiner.control(records.Home, home=home))
    return root


def forced(root: Person, hub: RelayId = THERE, **fields: Any) -> SignedRecord:
    """A move by force behind the log as it is now."""
    moved = root.log.state.moved
    made: dict[str, Any] = {
        "hub": hub,
        "urls": URLS,
        "term": root.log.state.term + 1,
        "force": True,
        "after": moved[-1].event_id if moved else None,
    }
    return peek(root.control(records.HubMove, **(made | fields)).record)


def kept(root: Person) -> RoomLog:
    """The room as the store has it now."""
    stored = root.world.store.load(root.room)
    assert stored is not None
    return RoomLog.from_snapshot(stored)


def retreat(root: Person, rest: RoomLog | None, *told: SignedRecord) -> Retreat:
    """What this relay is about to do, prepared on the log as it is."""
    log = root.log
    moves = Moves.read(root.room, [one.envelope for one in told])
    missing = moves.news(log.state, log.last_told)
    first = missing[0].record
    assert isinstance(first, records.HubMove)
    ours = log.log_at(first.seen.seq) if first.seen.seq <= log.seq else None
    return prepare(log, moves, moves.part(missing, log.state, log.seq, ours), rest)


def step_back(root: Person, found: Retreat) -> list[Any]:
    """Do it; the facts."""
    decision = root.world.relay.step_back(root.room, found, THERE, root.world.now)
    root.world.commit(decision)
    root.world.snapshot()
    return [*decision.facts, *decision.effects]


def scene(ana: Person) -> tuple[RoomLog, SignedRecord]:
    """The room as it is now, a move behind that; then somebody speaks."""
    rest, move = kept(ana), forced(ana)
    ana.say()
    ana.say()
    return rest, move


def test_the_hub_steps_down(world: World, ana: Person) -> None:
    """With all that it has ordered behind the move; the store holds the same as the memory."""
    rest, move = scene(ana)
    end = rest.seq
    done = step_back(ana, retreat(ana, rest, move))
    assert (ana.log.seq, ana.log.hub, ana.log.ahead, ana.log.told) == (end + 1, THERE, None, ())
    kinds = [type(one) for one in done]
    assert kinds.index(Rewound) < kinds.index(HubMoved)
    assert ReplicaMoved(ana.room, THERE) in done
    assert kept(ana) == ana.log


def test_who_is_in_the_room_comes_again_before_anything_is_asked(world: World, ana: Person) -> None:
    """Also before the commit, when nobody has been told: else it were a fork to who is behind."""
    rest, move = scene(ana)
    sync = ana.sync(ana.log.seq + 1, ana.log.log)
    decision = world.relay.step_back(ana.room, retreat(ana, rest, move), THERE, NOW)
    [answer] = world.decide(ana.link, sync).effects
    assert isinstance(answer, Reply)
    assert isinstance(answer.frame, frames.Failure)
    assert answer.frame.code == Code.TRY_AGAIN
    told = [one for one in decision.effects if isinstance(one, Push | Close)]
    mine = [one for one in told if one.link == ana.link]
    assert [type(one) for one in mine] == [Push, Close]
    world.relay.forget([ana.room])  # the commit failed
    world.expect(frames.Synced, ana.link, ana.sync(sync.start, sync.log))


def test_a_hub_that_is_told_of_a_move_it_has_not_come_to_takes_the_room_up_by_nothing(
    world: World, ana: Person
) -> None:
    """It was put back to well before: what waits there is for the new hub."""
    seen = Seen(ana.log.seq + 50, Hash32(bytes(32)))
    step_back(ana, retreat(ana, None, forced(ana, force=False, seen=seen)))
    assert (ana.log.hub, ana.log.state.hub) == (THERE, world.relay_id)
    assert world.relay.take_up(ana.room) == Decision()
    world.expect(frames.Queued, ana.link, ana.post())


def test_nor_does_one_that_was_put_back_to_an_earlier_time_of_its_own(
    world: World, ana: Person
) -> None:
    """It was told that the room is where it came from then: it was willing then, and is."""
    for hub in (THERE, world.relay_id):
        put(ana, forced(ana, hub))
        world.relay._core.relay_id = hub
    seen = Seen(ana.log.seq + 50, Hash32(bytes(32)))
    step_back(ana, retreat(ana, None, forced(ana, force=False, seen=seen)))
    assert (ana.log.hub, ana.log.state.hub) == (THERE, world.relay_id)
    assert world.relay.take_up(ana.room) == Decision()
    assert (ana.log.hub, kept(ana).hub) == (THERE, THERE)


# -- verified on what is not there any more ------------------------------------------------------


def test_entries_that_were_verified_on_what_is_void_are_not_taken(
    world: World, ana: Person
) -> None:
    """The log may be as long again as it was: its numbers fit, and nothing else."""
    rest, move = scene(ana)
    post = ana.post()
    verified = verify_entries(ana.log, [Entry(ana.log.seq + 1, post.record, post.cell)])
    step_back(ana, retreat(ana, rest, move))
    log = ana.log
    log.state, log.ahead = evolve(log.state, boxed_due=False), None
    world.relay._core.relay_id = world.relay_id = THERE
    world.expect(frames.Attached, ana.link, ana.attach())
    while log.seq + 1 < verified[0].entry.seq:
        ana.say()
    assert verified[0].entry.seq == log.seq + 1
    before = deepcopy(log)
    with pytest.raises(Refused) as refused:
        world.relay.replicate(ana.room, verified, NOW)
    assert refused.value.kind is Code.TRY_AGAIN
    assert ana.log == before


def test_a_stretch_is_not_skipped_from_what_is_void(ana: Person) -> None:
    rest, move = scene(ana)
    found = Skip(ana.log.seq, ana.log.seq + 9, ana.log.log, (), ana.log.log)
    step_back(ana, retreat(ana, rest, move))
    ana.log.seq = found.before
    with pytest.raises(Refused) as refused:
        ana.world.relay.skip(ana.room, found, NOW)
    assert refused.value.kind is Code.TRY_AGAIN


def test_a_head_of_the_hub_before_is_no_lie_behind_the_move(ana: Person) -> None:
    """It was verified while that one was the hub; what stands there now is another's."""
    rest, move = scene(ana)
    head = records.LogHead(1, ana.room, 0, ana.log.seq - 1, ana.log.log, NOW)
    step_back(ana, retreat(ana, rest, move))
    assert accept_head(ana.log, head, b"", ana.world.relay_id) is None


def test_nothing_is_given_back_to_a_hub_that_has_stepped_down(ana: Person) -> None:
    """Its follower's entries may fit, where the copy is behind the move."""
    short = kept(ana)
    post = ana.post()
    ana.say()
    move = forced(ana)
    ana.world.relay._core.rooms[ana.room] = short
    verified = verify_entries(ana.log, [Entry(ana.log.seq + 1, post.record, post.cell)])
    found = retreat(ana, None, move)
    ana.world.relay.step_back(ana.room, found, THERE, NOW)
    assert (ana.log.hub, ana.log.seq) == (THERE, short.seq)
    with pytest.raises(Refused) as refused:
        ana.world.relay.refill(ana.room, THERE, verified, {}, NOW)
    assert refused.value.kind is Code.NOT_FOUND


# -- what came between ---------------------------------------------------------------------------


def test_what_the_hub_orders_meanwhile_is_void_too(world: World, ana: Person) -> None:
    """A busy hub steps down all the same. Who spoke only then is back where they were."""
    rest, move = scene(ana)
    found = retreat(ana, rest, move)
    dan = admit_to(ana, "dan")
    dan.say()
    ana.say()
    step_back(ana, found)
    assert (ana.log.seq, ana.log.hub) == (rest.seq, THERE)
    assert ana.log.senders[dan.mid] == SenderState(0, EventId(b""))
    assert kept(ana) == ana.log


@pytest.mark.parametrize("what", ["handed over", "moved", "gone back"])
def test_it_is_prepared_anew_where_something_counts_that_did_not(
    world: World, ana: Person, what: str
) -> None:
    """Another root would have to have signed; another move may count; another log may be here."""
    rest, move = scene(ana)
    found = retreat(ana, rest, move)
    log = ana.log
    if what == "handed over":
        log.state = evolve(log.state, root=next(mid for mid in log.state.members if mid != ana.mid))
    elif what == "moved":
        log.state = evolve(log.state, moved=(log.state.hub_at(0),))
    else:
        log.recent[found.end] = log.recent[found.end - 1]
        log.log = rest.log
    before = deepcopy(log)
    with pytest.raises(Refused) as refused:
        world.relay.step_back(ana.room, found, THERE, NOW)
    assert refused.value.kind is Code.TRY_AGAIN
    assert ana.log == before


def test_where_nothing_is_void_nothing_may_have_come(ana: Person) -> None:
    found = retreat(ana, None, forced(ana))
    ana.say()
    with pytest.raises(Refused) as refused:
        ana.world.relay.step_back(ana.room, found, THERE, NOW)
    assert refused.value.kind is Code.TRY_AGAIN


def test_what_waits_since_goes_back_and_cursors_do_not_point_behind_the_end(
    world: World, ana: Person
) -> None:
    """What is in memory by then counts, not what the store told while it was prepared."""
    rest, move = scene(ana)
    end, found = rest.seq, retreat(ana, rest, move)
    signed = peek(ana.post().record)
    event = signed.record
    assert isinstance(event, records.Event)
    row = OutboxRow(
        ana.room, ana.mid, event.sid, 1, signed.event_id, NOW, signed.envelope, b"sealed"
    )
    ana.log.put_waiting(row)
    world.commit(world.decide(ana.link, frames.Cursor(ana.room, ana.log.seq)))
    assert isinstance(world.facts[-1], CursorMoved)
    done = step_back(ana, found)
    assert OutboxDropped(ana.room, ana.mid, event.sid) in done
    returned = [one.frame for one in done if isinstance(one, Push)]
    assert [f.sid for f in returned if isinstance(f, frames.Returned)] == [event.sid]
    assert ana.log.outbox == {}
    assert ana.log.cursors == {ana.mid: end}


# -- moves that are told, and not here yet -------------------------------------------------------


def put(ana: Person, signed: SignedRecord) -> None:
    """A move that the hub of then ordered."""
    state = ana.log.state.apply(signed.record, signed.event_id, ana.log.seq + 1)  # type: ignore[arg-type]
    ana.world.commit(Decision((ana.log.append(signed, ana.mid, NOW),)))
    ana.log.advance(signed, state)


def chain(ana: Person) -> tuple[RoomLog, list[SignedRecord], list[Entry]]:
    """A copy of before three moves, there, elsewhere, and there again; they; and all entries."""
    before = kept(ana)
    moves: list[SignedRecord] = []
    for hub in (THERE, ELSEWHERE, THERE):
        moves.append(forced(ana, hub))
        put(ana, moves[-1])
    rows = ana.world.store.rooms[ana.room].log
    entries = [Entry(n, rows[n].record, rows[n].cell) for n in range(before.seq + 1, len(rows))]
    return before, moves, entries


def test_a_copy_goes_on_to_the_last_move_that_it_was_told(world: World, ana: Person) -> None:
    """Not to the first that names the same relay: until then another one is asked for nothing."""
    before, moves, entries = chain(ana)
    core = world.relay._core
    core.relay_id = RelayId(b"\x0b" * 32)
    core.rooms[ana.room] = before
    world.store.rooms[ana.room].log = {
        seq: row for seq, row in world.store.rooms[ana.room].log.items() if seq <= before.seq
    }
    step_back(ana, retreat(ana, None, *moves))
    assert (ana.log.hub, ana.log.seq) == (THERE, entries[0].seq)
    assert kept(ana) == ana.log
    for entry in entries[1:]:
        assert ana.log.hub == THERE
        assert ana.log.told
        decision = world.relay.replicate(ana.room, verify_entries(ana.log, [entry]), NOW)
        assert not any(isinstance(effect, HubMoved) for effect in decision.effects)
        world.commit(decision)
        assert kept(ana) == ana.log
    assert (ana.log.told, ana.log.ahead, ana.log.hub) == ((), None, THERE)


def test_what_was_told_before_counts_also_after_a_start(world: World, ana: Person) -> None:
    """An older list does not lead the copy back to a hub that the room has left."""
    before, moves, _ = chain(ana)
    core = world.relay._core
    core.relay_id = RelayId(b"\x0b" * 32)
    core.rooms[ana.room] = before
    world.store.rooms[ana.room].log = {
        seq: row for seq, row in world.store.rooms[ana.room].log.items() if seq <= before.seq
    }
    step_back(ana, retreat(ana, None, *moves))
    core.rooms[ana.room] = kept(ana)
    last = ana.log.last_told
    assert last is not None
    assert last.event_id == moves[-1].event_id
    older = Moves.read(ana.room, [one.envelope for one in moves[:2]])
    with pytest.raises(Refused) as refused:
        older.news(ana.log.state, last)
    assert refused.value.kind is Code.CONFLICT
    same = Moves.read(ana.room, [one.envelope for one in moves])
    assert same.news(ana.log.state, last) == ()


# -- root comes to the copy ----------------------------------------------------------------------


@pytest.fixture
def copy(world: World, ana: Person) -> Person:
    """Root, attached at the relay THERE, which has a copy of what the world has."""
    world.relay._core.relay_id = world.relay_id = THERE
    link = world.open_link("ana there")
    ana.link, ana.name = link, "ana there"
    world.expect(frames.Attached, link, ana.attach())
    return ana


def ask(root: Person) -> frames.Control:
    return frames.Control(root.number(), root.room, forced(root).envelope)


def test_a_forced_move_waits_for_what_the_hub_has_while_that_is_there(
    world: World, copy: Person
) -> None:
    """It may be a HANDOVER that is on its way: a former root is not to slip in before it."""
    relay, room, seq = world.relay, copy.room, copy.log.seq
    relay.hub_says(room, None)
    for known in (None, seq + 2):
        relay.hub_says(room, known)
        refused = world.refused(copy.link, ask(copy))
        assert (refused.code, refused.retry_after) == (Code.TRY_AGAIN, 1_000)
    relay.hub_gone([room])
    relay.hub_says(room, seq)
    world.expect(frames.Ack, copy.link, ask(copy))


def test_a_hub_that_is_never_level_does_not_keep_its_room(world: World, copy: Person) -> None:
    """A minute after root has asked first; whatever it says and gives, also on a new link."""
    relay, room = world.relay, copy.room
    world.now += 3_600_000  # however long the link has been open by then
    for number in range(6):
        relay.hub_gone([room])
        relay.hub_says(room, None)
        relay.hub_says(room, 1_000_000 + number)
        assert world.code(copy.link, ask(copy)) == Code.TRY_AGAIN
        world.now += 9_999
    assert world.code(copy.link, ask(copy)) == Code.TRY_AGAIN
    world.now += 6
    world.expect(frames.Ack, copy.link, ask(copy))


def test_who_asks_no_more_waits_again(world: World, copy: Person) -> None:
    """What is on its way by then is another thing. Nor does it count who else has asked."""
    relay, room, bo = world.relay, copy.room, Person(world, "bo", copy.room)
    world.expect(frames.Attached, bo.link, bo.attach())
    relay.hub_says(room, 1_000_000)
    assert world.code(bo.link, ask(bo)) == Code.TRY_AGAIN
    for wait in (60_000, 600_001):
        world.now += wait
        relay.tick(world.now)
        assert world.code(copy.link, ask(copy)) == Code.TRY_AGAIN


def test_nor_does_one_that_is_gone(world: World, copy: Person) -> None:
    world.relay.hub_says(copy.room, 1_000_000)
    world.relay.hub_gone([copy.room])
    world.expect(frames.Ack, copy.link, ask(copy))


def test_joins_under_way_end_with_what_is_void(world: World, ana: Person) -> None:
    """In memory and in the store."""
    rest = kept(ana)
    move = forced(ana)
    ana.do(ana.invite(invite_named("void")))
    dan = Person(world, "dan", ana.room)
    world.expect(frames.JoinStatus, dan.link, dan.join(invite_named("void")))
    found = retreat(ana, rest, move)
    step_back(ana, found)
    assert (ana.log.joins, world.store.rooms[ana.room].joins) == ({}, {})


# -- what an honest relay may tell -----------------------------------------------------------------


def test_who_could_not_know_of_another_move_is_not_blamed(ana: Person) -> None:
    """Root signed two of one term. A copy with neither takes the other one, and tells it."""
    behind, end = kept(ana), ana.log.seq
    other = forced(ana, ELSEWHERE, force=False)
    ana.say()
    put(ana, forced(ana, THERE, force=False))
    last = forced(ana, ELSEWHERE, force=False, after=None)
    put(ana, last)
    told = Moves.read(ana.room, [other.envelope, last.envelope])
    missing = told.news(behind.state)
    assert told.part(missing, behind.state, end, behind.log).base == end
    with pytest.raises(Refused) as refused:
        told.news(ana.log.state)
    assert refused.value.kind is Code.CONFLICT


@pytest.mark.parametrize("fits", [True, False])
def test_what_stands_in_the_log_is_told_on_as_it_is_signed_there(
    world: World, ana: Person, fits: bool
) -> None:
    """Its id is of what it says: told with a false signature, it is the same one."""
    _, moves, _ = chain(ana)
    fake = sign_record(generate_keypair().private, moves[-1].record)
    assert fake.event_id == moves[-1].event_id
    world.relay._core.relay_id = RelayId(b"\x0b" * 32) if fits else THERE
    last = forced(ana, ELSEWHERE, seen=Seen(ana.log.seq + 5, Hash32(bytes(32))))
    if fits:
        done = step_back(ana, retreat(ana, None, fake, last))
    else:
        told, lied = (fake.envelope, last.envelope), HubLied(Code.FORK, "two logs")
        done = [*stand_still(world.relay._core, ana.log, told, lied, NOW).facts]
        assert stand_still(world.relay._core, ana.log, told, lied, NOW) == Decision()
    [records_kept] = [one.records for one in done if isinstance(one, MovesKept)]
    assert records_kept == (moves[-1].envelope, last.envelope)
    open_signed(ana.log.state.member(ana.mid).sign_key, records_kept[0])


# -- moves that were told, and never stood in the log ----------------------------------------------


def copied(ana: Person) -> Callable[[], None]:
    """Makes this relay a third one, whose copy ends where the room does now."""
    core, stored = ana.world.relay._core, ana.world.store.rooms
    before, rows = kept(ana), deepcopy(stored[ana.room])

    def starve() -> None:
        core.relay_id = RelayId(b"\x0b" * 32)
        core.rooms[ana.room], stored[ana.room] = before, rows

    return starve


@pytest.mark.parametrize("hub", [THERE, ELSEWHERE], ids=["there", "elsewhere"])
def test_a_move_that_the_log_has_passed_is_awaited_no_more(
    world: World, ana: Person, hub: RelayId
) -> None:
    """The hub of before kept it from root, which signed again; then starved a copy, and told it."""
    end, starve = ana.log.seq, copied(ana)
    ana.say()
    never = forced(ana, THERE, force=False)
    ana.say()
    move = forced(ana, hub, force=False)
    put(ana, move)
    rows = world.store.rooms[ana.room].log
    entries = [Entry(n, rows[n].record, rows[n].cell) for n in range(end + 1, len(rows))]
    starve()
    step_back(ana, retreat(ana, None, never))
    assert (ana.log.hub, ana.log.ahead) == (THERE, THERE)
    decision = world.relay.replicate(ana.room, verify_entries(ana.log, entries), NOW)
    world.commit(decision)
    assert (ana.log.hub, ana.log.told, ana.log.ahead) == (hub, (), None)
    ana.log.check_seen(Seen(ana.log.seq, ana.log.log))
    [told] = [one for one in decision.effects if isinstance(one, HubMoved)]
    assert (told.before, told.hub, told.told) == (THERE, hub, (move.envelope,))
    assert kept(ana) == ana.log


def test_the_hub_that_a_move_names_says_which_one_stands_in_the_log(
    world: World, ana: Person
) -> None:
    """Of two of one term, without force, whichever has the lower id."""
    starve = copied(ana)
    ana.say()
    one, other = (forced(ana, hub, force=False) for hub in (THERE, ELSEWHERE))
    starve()
    for never, true, hub in ((one, other, ELSEWHERE), (other, one, THERE)):
        step_back(ana, retreat(ana, None, never))
        told, last = Moves.read(ana.room, [true.envelope]), ana.log.last_told
        with pytest.raises(Refused):
            told.news(ana.log.state, last, THERE if hub == ELSEWHERE else ELSEWHERE)
        assert told.news(ana.log.state, last, hub) == told.signed


def test_moves_in_a_stretch_that_is_skipped_are_not_behind_the_last_one(
    world: World, ana: Person
) -> None:
    """The copy is at the stretch's end before they are looked at, one after another."""
    starve = copied(ana)
    _, moves, entries = chain(ana)
    end, last, controls = ana.log.log, ana.log.state, []
    starve()
    step_back(ana, retreat(ana, None, *moves))
    log, state = ana.log.log, ana.log.state
    for entry, move in zip(entries[1:], moves[1:], strict=True):
        log = log_hash(log, entry.seq, move.event_id)
        assert isinstance(move.record, records.HubMove)
        state = state.apply(move.record, move.event_id, entry.seq)
        controls.append(Verified(entry, move, log, ana.mid, state))
    assert (state, log) == (last, end)
    found = Skip(ana.log.seq, entries[-1].seq + 1, log, tuple(controls), ana.log.log)
    decision = world.relay.skip(ana.room, found, NOW)
    assert not any(isinstance(effect, HubMoved) for effect in decision.effects)
    assert (ana.log.told, ana.log.ahead, ana.log.hub) == ((), None, THERE)


def test_a_log_that_goes_another_way_than_what_was_told_is_taken_back_anew(
    world: World, ana: Person
) -> None:
    """By what was told before: it was taken then, and has come to nothing."""
    end, starve = ana.log.seq, copied(ana)
    ana.say()
    move = forced(ana)
    ana.say()
    rows = world.store.rooms[ana.room].log
    true, void = [Entry(n, rows[n].record, rows[n].cell) for n in range(end + 1, len(rows))]
    starve()
    step_back(ana, retreat(ana, None, move))
    told = Moves.read(ana.room, [move.envelope])
    world.relay.replicate(ana.room, verify_entries(ana.log, [true]), NOW)
    assert told.news(ana.log.state, ana.log.last_told) == ()
    world.relay.replicate(ana.room, verify_entries(ana.log, [void]), NOW)
    missing = told.news(ana.log.state, ana.log.last_told)
    parting = told.part(missing, ana.log.state, ana.log.seq, ana.log.log_at(true.seq))
    assert parting.base == true.seq


def test_what_the_hub_orders_while_a_move_is_verified_is_no_lie(ana: Person) -> None:
    """Nothing was void; and then there is an entry more: it is prepared anew."""
    moves = Moves.read(ana.room, [forced(ana).envelope])
    missing = moves.news(ana.log.state, ana.log.last_told)
    parting = moves.part(missing, ana.log.state, ana.log.seq, ana.log.log)
    ana.say()
    with pytest.raises(Refused) as refused:
        prepare(ana.log, moves, parting, None)
    assert refused.value.kind is Code.TRY_AGAIN
