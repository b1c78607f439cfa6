"""Each kind of fact: what it stores, what a repeat does, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from attrs import evolve

from ofcd.protocol.ids import EventId, Hash32, MemberId
from ofcd.relay.facts import (
    RECENT_ENTRIES,
    BlobDropped,
    ChainRecord,
    Fact,
    JoinDropped,
    JoinStage,
    JoinStored,
    KeyRequestDropped,
    KeyRequestStored,
    SenderState,
)
from ofcd.store import BlobChunk, BlobInfo, Contradiction, Store
from tests.store.support import (
    ANA,
    BO,
    CY,
    Room,
    blob_id,
    digest,
    entry,
    loaded,
    opened,
    room_id,
    sid,
    url,
)


@pytest.fixture
def room(store: Store) -> Room:
    """A founded room."""
    made = Room()
    store.commit(made.founded())
    return made


def test_a_founded_room_comes_back(store: Store, room: Room) -> None:
    """RoomFounded and GENESIS make a room with one control record and nothing else."""
    snapshot = loaded(store, room)
    genesis = room.log[0]
    assert snapshot.chain == (ChainRecord(0, genesis.event_id, genesis.record),)
    assert (snapshot.seq, snapshot.log, snapshot.recent) == (0, genesis.log, (entry(genesis),))
    assert (snapshot.senders, snapshot.cursors, snapshot.blob_bytes) == ({}, {}, {})
    assert (snapshot.joins, snapshot.key_requests) == ((), ())
    assert [(r.room, r.creator, r.founded) for r in store.rooms()] == [(room.id, ANA, 1000)]


def test_an_unknown_room_is_none(store: Store) -> None:
    """Reading of a room that was never founded gives nothing, and raises nothing."""
    nobody = room_id("nobody")
    assert store.load_room(nobody) is None
    assert store.read_log(nobody, 0, mid=ANA, max_events=5, max_bytes=5).rows == ()
    assert store.read_chain(nobody, 0, 5).records == ()
    assert store.log_before(nobody, 3) is None
    assert store.find_sid(nobody, ANA, sid(1)) is None
    assert store.read_blob(nobody, blob_id("x"), 0) is None
    assert store.blob_info(nobody, blob_id("x")) is None
    assert store.floor(nobody) == 0


def test_entries_come_back_as_they_were(store: Store, room: Room) -> None:
    """Events and control records keep their bytes, order, chain and senders."""
    facts = [room.event(ANA), room.event(BO), room.control(), room.event(ANA)]
    store.commit(facts)
    page = store.read_log(room.id, 1, mid=ANA, max_events=10, max_bytes=10_000)
    assert [(r.seq, r.record, r.cell) for r in page.rows] == [
        (f.seq, f.record, f.cell) for f in facts
    ]
    snapshot = loaded(store, room)
    assert snapshot.recent == tuple(map(entry, room.log))
    assert [record.seq for record in snapshot.chain] == [0, 3]
    assert snapshot.senders == {
        ANA: SenderState(2, facts[3].event_id),
        BO: SenderState(1, facts[1].event_id),
    }


def test_recent_is_bounded(store: Store, room: Room) -> None:
    """A snapshot holds the last RECENT_ENTRIES entries, the head among them, and all the chain."""
    store.commit(room.events(RECENT_ENTRIES + 10))
    snapshot = loaded(store, room)
    assert snapshot.recent == tuple(map(entry, room.log[-RECENT_ENTRIES:]))
    assert len(snapshot.chain) == 1


def test_log_before_is_the_hash_of_the_entry_before(store: Store, room: Room) -> None:
    """It reaches from the room's id before GENESIS to the head, and no further."""
    store.commit(room.events(3))
    assert store.log_before(room.id, 0) == Hash32(room.id)
    assert [store.log_before(room.id, seq + 1) for seq in range(4)] == [f.log for f in room.log]
    assert store.log_before(room.id, 5) is None


def test_entries_are_found_by_sid_and_by_id(store: Store, room: Room) -> None:
    """A sid is its sender's: the same bytes of another member are nobody's."""
    sent = room.event(ANA)
    store.commit([sent])
    assert sent.sid is not None
    assert store.find_sid(room.id, ANA, sent.sid) == entry(sent)
    assert store.find_sid(room.id, BO, sent.sid) is None
    assert store.find_event(room.id, sent.event_id) == entry(sent)
    assert store.find_event(room.id, EventId(digest("none"))) is None


def test_a_sid_used_twice_means_the_first_entry(store: Store, room: Room) -> None:
    """A member who uses an old sid again fails nobody's batch, and is told of the first one."""
    first, second = room.event(ANA), room.event(ANA)
    store.commit([first])
    store.commit([evolve(second, sid=first.sid)])
    assert first.sid is not None
    assert store.find_sid(room.id, ANA, first.sid) == entry(first)


def test_boxes_reach_their_member_only(store: Store, room: Room) -> None:
    """A page holds the reader's own box with the record; a renewal replaces it."""
    rekey = room.control()
    store.commit([rekey, room.box(1, ANA, b"for Ana"), room.box(1, BO, b"for Bo")])
    store.commit([room.box(1, BO, b"for Bo, anew")])

    def box_of(mid: MemberId) -> bytes:
        return store.read_log(room.id, 1, mid=mid, max_events=1, max_bytes=1).rows[0].box

    assert (box_of(ANA), box_of(BO), box_of(CY)) == (b"for Ana", b"for Bo, anew", b"")


def test_cursors_never_move_back(store: Store, room: Room) -> None:
    """The highest seq counts, within a batch and over batches."""
    store.commit([room.cursor(ANA, 3), room.cursor(ANA, 5), room.cursor(ANA, 4)])
    store.commit([room.cursor(ANA, 2), room.cursor(BO, 1)])
    snapshot = loaded(store, room)
    assert snapshot.cursors == {ANA: 5, BO: 1}


def test_joins_are_replaced_and_dropped(store: Store, room: Room) -> None:
    """A join is one row by invite and request, in order of asking."""
    first, second = room.join("first", ts=1), room.join("second", ts=2)
    answered = evolve(first, stage=JoinStage.ANSWERED, response=b"yes")
    store.commit([JoinStored(second), JoinStored(first), JoinStored(answered)])
    snapshot = loaded(store, room)
    assert snapshot.joins == (answered, second)
    store.commit([JoinDropped(room.id, first.invite_id, first.request_hash)])
    snapshot = loaded(store, room)
    assert snapshot.joins == (second,)


def test_order_counts_within_a_batch(store: Store, room: Room) -> None:
    """Stored, dropped and stored again in one batch is stored; the other way round is not."""
    join = room.join("first")
    dropped = JoinDropped(room.id, join.invite_id, join.request_hash)
    store.commit([JoinStored(join), dropped, JoinStored(join)])
    snapshot = loaded(store, room)
    assert snapshot.joins == (join,)
    store.commit([JoinStored(join), dropped])
    snapshot = loaded(store, room)
    assert snapshot.joins == ()


def test_key_requests_are_one_for_each_member(store: Store, room: Room) -> None:
    """A later one replaces the one before; dropping one leaves the others."""
    old, new, other = (
        room.key_request(ANA, b"old"),
        room.key_request(ANA, b"new", ts=5),
        room.key_request(BO, ts=2),
    )
    store.commit([KeyRequestStored(old), KeyRequestStored(other), KeyRequestStored(new)])
    snapshot = loaded(store, room)
    assert snapshot.key_requests == (other, new)
    store.commit([KeyRequestDropped(room.id, BO)])
    snapshot = loaded(store, room)
    assert snapshot.key_requests == (new,)


def test_chunks_are_stored_once(store: Store, room: Room) -> None:
    """A repeat changes nothing, and members are charged for what is stored."""
    store.commit(
        [room.chunk("a", 0, 2), room.chunk("a", 1, 2, chunk=b"end"), room.chunk("b", 0, 1)]
    )
    store.commit([room.chunk("a", 0, 2, chunk=b"something else")])
    assert store.read_blob(room.id, blob_id("a"), 0) == BlobChunk(ANA, 2, b"chunk")
    assert store.read_blob(room.id, blob_id("a"), 1) == BlobChunk(ANA, 2, b"end")
    assert store.read_blob(room.id, blob_id("a"), 2) is None
    assert store.blob_info(room.id, blob_id("a")) == BlobInfo(blob_id("a"), ANA, 2, 2, 8)
    snapshot = loaded(store, room)
    assert snapshot.blob_bytes == {ANA: 13}


@pytest.mark.parametrize(
    ("index", "count", "mid"), [(1, 2, BO), (1, 3, ANA), (2, 2, ANA), (-1, 2, ANA)]
)
def test_chunks_that_do_not_fit_are_passed_over(
    store: Store, room: Room, index: int, count: int, mid: MemberId
) -> None:
    """Another member, another count or an index out of range adds nothing to an attachment."""
    store.commit([room.chunk("a", 0, 2)])
    store.commit([room.chunk("a", index, count, mid=mid)])
    assert store.blob_info(room.id, blob_id("a")) == BlobInfo(blob_id("a"), ANA, 2, 1, 5)


def test_a_dropped_attachment_is_gone_and_says_what_it_freed(store: Store, room: Room) -> None:
    """In the order of the facts, and its owner's alone; it may be stored again."""
    store.commit(
        [room.chunk("a", 0, 2), room.chunk("a", 1, 2, chunk=b"end"), room.chunk("b", 0, 1)]
    )
    a = blob_id("a")
    assert store.commit([BlobDropped(room.id, a, BO)]) == [0]
    again = room.chunk("a", 0, 1, chunk=b"again")
    dropped = BlobDropped(room.id, a, ANA)
    assert store.commit([dropped, dropped, again]) == [8, 0]
    assert store.blob_info(room.id, a) == BlobInfo(a, ANA, 1, 1, 5)
    assert loaded(store, room).blob_bytes == {ANA: 10}


def test_the_same_blob_id_in_two_rooms_is_two_attachments(store: Store, room: Room) -> None:
    """Rooms do not see each other's attachments."""
    other = Room("other")
    store.commit([*other.founded(), room.chunk("a", 0, 1)])
    assert store.read_blob(other.id, blob_id("a"), 0) is None


@pytest.mark.parametrize(
    ("by", "any_sender", "gone"), [(ANA, False, True), (BO, False, False), (BO, True, True)]
)
def test_redaction_takes_the_right(
    store: Store, room: Room, by: MemberId, any_sender: bool, gone: bool
) -> None:
    """The sender's own cell goes, or any for an owner; the record and the others stay."""
    sent, other = room.event(ANA), room.event(ANA)
    store.commit([sent, other])
    store.commit([room.redacted(sent, by, any_sender=any_sender)])
    rows = store.read_log(room.id, 1, mid=ANA, max_events=9, max_bytes=9_999).rows
    assert [row.cell for row in rows] == [b"" if gone else sent.cell, other.cell]
    assert [row.record for row in rows] == [sent.record, other.record]
    kept = [row.record + row.cell for row in rows]
    assert store.rooms()[0].bytes == sum(map(len, kept))


def test_redaction_in_the_batch_of_its_event(store: Store, room: Room) -> None:
    """It takes the events before it, once, and control records never."""
    sent = room.event(ANA)
    twice = [room.redacted(sent, ANA), room.redacted(sent, ANA)]
    store.commit([sent, *twice, room.redacted(room.log[0], ANA, any_sender=True)])
    rows = store.read_log(room.id, 0, mid=ANA, max_events=9, max_bytes=9_999).rows
    assert [(row.record, row.cell) for row in rows] == [
        (room.log[0].record, b""),
        (sent.record, b""),
    ]
    assert store.rooms()[0].bytes == len(sent.record)


def test_redaction_is_for_events_only(store: Store, room: Room) -> None:
    """A control record keeps all it has, even from an owner."""
    odd = evolve(room.control(), cell=b"no control record has one")
    store.commit([odd])
    store.commit([room.redacted(odd, ANA, any_sender=True)])
    (row,) = store.read_log(room.id, 1, mid=ANA, max_events=9, max_bytes=9_999).rows
    assert row.cell == odd.cell
    assert store.rooms()[0].bytes == 0


def test_many_rooms_in_one_batch(store: Store) -> None:
    """Rooms founded and used in one commit stay apart."""
    rooms = [Room(f"room {n}") for n in range(20)]
    founded = [fact for room in rooms for fact in room.founded()]
    events = [room.event() for _ in range(3) for room in rooms]
    store.commit([*founded, *events])
    assert [(r.room, r.seq, r.events) for r in store.rooms()] == [(r.id, 3, 3) for r in rooms]


def test_nothing_to_commit(store: Store) -> None:
    """An empty batch is fine."""
    store.commit([])
    assert store.rooms() == []


def _refused(room: Room) -> dict[str, list[Fact]]:
    """Batches that contradict a room with one event; each begins with a fact that fits."""
    stored = room.log[1]
    following = room.event()
    unfounded = Room("unfounded")
    return {
        "gap": [following, evolve(following, seq=4, event_id=EventId(digest(1)), sid=sid("x"))],
        "gap before": [evolve(following, seq=following.seq + 1)],
        "behind": [evolve(following, seq=1, event_id=EventId(digest(2)), sid=sid("y"))],
        "event_id": [evolve(following, event_id=stored.event_id)],
        "founded twice": [following, room.founded()[0]],
        "never founded": [following, unfounded.control()],
        "box without room": [following, unfounded.box(0, ANA)],
    }


@pytest.mark.parametrize("case", list(_refused(Room("x", log=Room("y").events(2)))))
def test_contradictions_change_nothing(template: Path, tmp_path: Path, case: str) -> None:
    """A batch that does not fit raises Contradiction, leaves no trace, and the next one works."""
    room = Room()
    with opened(template, tmp_path) as store:
        store.commit([*room.founded(), room.event()])
        before = store.load_room(room.id), store.rooms()
        with pytest.raises(Contradiction):
            store.commit(_refused(room)[case])
        assert (store.load_room(room.id), store.rooms()) == before
        del room.log[2:]
        store.commit([room.event()])
    with Store.open(url(tmp_path / "test.db")) as again:
        snapshot = loaded(again, room)
        assert snapshot.recent == tuple(map(entry, room.log))


def test_all_survives_closing(store: Store, room: Room) -> None:
    """What was committed is there when the database is opened again."""
    store.commit([room.event(), room.box(0, ANA), room.cursor(ANA, 1), room.chunk("a", 0, 1)])
    before = store.load_room(room.id)
    store.close()
    with Store.open(url(store.path)) as again:
        assert again.load_room(room.id) == before
