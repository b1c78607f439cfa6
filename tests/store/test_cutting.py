"""The end of a log is void: what the store takes back, whatever else it did at that moment."""

from __future__ import annotations

import pytest
from attrs import evolve

from ofcd.protocol import frames, records
from ofcd.protocol.ids import EventId, Hash32
from ofcd.relay import RelayPolicy, RoomLog
from ofcd.relay.facts import BoxStored, CursorMoved, JoinStored, LogAppended, LogCut, SenderState
from ofcd.relay.forcing import Retreat
from ofcd.store import Retention, Store
from ofcd.store.errors import Contradiction
from ofcd.themis.moves import seen_of
from ofcd.themis.signed import SignedRecord, peek
from tests.relay.test_forcing import ELSEWHERE, THERE, forced, retreat
from tests.relay.world import NOW, Person, World, admit_to, digest, found_room, invite_named

DAY = 24 * 3600 * 1000


class Played:
    """A room at a hub whose facts go to a real store as well."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.world = World(RelayPolicy(federated=True, hosts=True))
        self.ana = ana = found_room(self.world)
        self.people = [ana]
        for name, home in (("bo", THERE), ("cai", ELSEWHERE)):
            joiner = admit_to(ana, name)
            joiner.say()
            joiner.do(joiner.control(records.Home, home=home))
            self.people.append(joiner)
        self.save()

    def save(self) -> None:
        """Commit what was decided since."""
        self.store.commit(self.world.facts)
        self.world.facts.clear()

    def talk(self, times: int = 2) -> None:
        for _ in range(times):
            for person in self.people:
                person.say()

    def rest(self, end: int, log: Hash32) -> RoomLog:
        """The room as it was after `end`, out of the store."""
        found = self.store.load_before(self.ana.room, end, log)
        assert found is not None
        return RoomLog.from_snapshot(found)

    def retreat(self, move: SignedRecord) -> Retreat:
        seen = seen_of(move)
        return retreat(self.ana, self.rest(seen.seq, seen.log), move)

    def step_back(self, found: Retreat) -> None:
        """In one commit with what was decided before, and is not stored yet."""
        relay = self.world.relay
        decision = relay.step_back(self.ana.room, found, THERE, self.world.now)
        self.store.commit([*self.world.facts, *decision.facts])
        self.world.facts.clear()

    def check(self) -> None:
        """Memory and disk say the same, and the account is right."""
        snapshot = self.store.load_room(self.ana.room)
        assert snapshot is not None
        stored, held = RoomLog.from_snapshot(snapshot), self.ana.log
        assert stored.recent.items() <= held.recent.items()  # but what retention has swept
        assert evolve(stored, recent={}) == evolve(held, recent={})
        assert self.store.check().ok
        page = self.store.read_log(
            self.ana.room, 0, mid=self.ana.mid, max_events=5_000, max_bytes=10_000_000
        )
        assert all(row.record for row in page.rows)
        events = [row for row in page.rows if isinstance(peek(row.record).record, records.Event)]
        [summary] = self.store.rooms()
        size = sum(len(row.record) + len(row.cell) for row in events)
        assert (summary.events, summary.bytes) == (len(events), size)
        assert summary.seq == self.ana.log.seq


@pytest.fixture
def played(store: Store) -> Played:
    return Played(store)


@pytest.fixture
def move(played: Played) -> SignedRecord:
    """A move behind what there is by then; then all say something."""
    played.talk()
    made = forced(played.ana)
    played.talk()
    played.save()
    return made


def test_what_is_void_is_gone(played: Played, move: SignedRecord) -> None:
    seen = seen_of(move)
    before = played.rest(seen.seq, seen.log).senders
    assert all(last.is_certain for last in before.values())
    counters = {mid: last.counter for mid, last in before.items()}
    played.step_back(played.retreat(move))
    played.check()
    assert {mid: last.counter for mid, last in played.ana.log.senders.items()} == counters


def test_what_was_decided_just_before_in_the_same_commit_is_gone_too(
    played: Played, move: SignedRecord
) -> None:
    """Entries, key boxes, cursors and joins, of which the disk has not heard yet."""
    ana, world = played.ana, played.world
    found = played.retreat(move)
    ana.do(ana.rekey_boxed())
    dan = Person(world, "dan", ana.room)
    ana.do(ana.invite(invite_named("void")))
    world.expect(frames.JoinStatus, dan.link, dan.join(invite_named("void")))
    played.talk(1)
    world.commit(world.decide(ana.link, frames.Cursor(ana.room, ana.log.seq)))
    kinds = {type(fact) for fact in world.facts}
    assert {LogAppended, BoxStored, JoinStored, CursorMoved} <= kinds
    played.step_back(found)
    played.check()
    assert played.store.read_boxes(ana.room, found.parting.base + 1, 10_000) == []


@pytest.mark.parametrize("swept", [False, True], ids=["blank", "gone"])
@pytest.mark.parametrize("when", ["before", "between"])
def test_retention_may_have_taken_of_it(
    played: Played,
    move: SignedRecord,
    swept: bool,
    when: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Before all of it, or between the look and the cut: of what is void only numbers are left."""
    if swept:
        monkeypatch.setattr("ofcd.store.retention.RECENT_ENTRIES", 2)

    def sweep() -> None:
        while played.store.apply_retention(Retention(max_events=1), NOW + DAY).more:
            pass

    if when == "before":
        sweep()
    found = played.retreat(move)
    assert found.room is not None
    senders = dict(found.room.senders)
    if when == "between":
        sweep()
    played.step_back(found)
    played.check()
    if when == "between":
        assert all(last.is_certain for last in senders.values())
    elif swept:
        assert set(senders.values()) == {SenderState(0, EventId(b""))}
    else:
        counters = {last.counter for last in senders.values() if not last.is_certain}
        assert counters == {2, 3}
    played.world.relay._core.relay_id = played.world.relay_id = THERE
    again = Person(played.world, "ana", played.ana.room)
    played.world.expect(frames.Attached, again.link, again.attach())


def test_a_log_is_cut_only_where_it_ends(played: Played, move: SignedRecord) -> None:
    """A cut that was decided on another end is not carried out, and nothing with it."""
    found = played.retreat(move)
    log = played.ana.log
    cut = LogCut(log.room, log.seq - 1, found.parting.base, log.log, NOW)
    with pytest.raises(Contradiction):
        played.store.commit([cut])
    played.check()
    played.ana.say()
    with pytest.raises(Contradiction):
        played.store.commit([*played.world.facts, evolve(cut, before=log.seq - 1)])
    played.save()
    played.check()


def test_what_was_told_is_there_after_a_start(played: Played) -> None:
    """Of a room that is not as far as the move yet."""
    ahead = records.Seen(played.ana.log.seq + 2, digest("there"))
    played.step_back(retreat(played.ana, None, forced(played.ana, seen=ahead)))
    assert (played.ana.log.hub, len(played.ana.log.told)) == (THERE, 1)
    played.check()
