"""Sync, cursors, the control log, key requests, attachments (protocol.md §2.5; tests 25, 26)."""

from __future__ import annotations

import pytest

from ofcd.protocol import frames, records
from ofcd.protocol.codes import Code
from ofcd.protocol.ids import Hash32
from ofcd.relay import RelayPolicy, Subscribe, keys
from ofcd.relay.facts import CursorMoved, KeyRequestStored
from tests.relay.world import Person, World, admit_to, blob_named, digest, found_room

BLOB = blob_named("blob")


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def ana(world: World) -> Person:
    return found_room(world)


# -- sync ----------------------------------------------------------------------------------------


def test_a_sync_resumes_where_the_client_stands(world: World, ana: Person) -> None:
    """From `start` on, with the running hash before it; then live."""
    acks = [ana.say() for _ in range(3)]
    second = world.open_link("ana")
    world.expect(frames.Attached, second, ana.attach(second))
    synced = world.expect(frames.Synced, second, ana.sync(acks[1].seq, acks[0].log))
    assert (synced.start, synced.log, synced.head) == (acks[1].seq, acks[0].log, acks[2].seq)
    last = ana.say()
    seqs = [delivery.seq for delivery in world.received(second, frames.Delivery)]
    assert seqs == [acks[1].seq, acks[2].seq, last.seq]


def test_a_client_at_the_end_only_waits(world: World, ana: Person) -> None:
    """`start` may be the next seq; the hash before it is the head's."""
    ack = ana.say()
    synced = world.expect(frames.Synced, ana.link, ana.sync(ack.seq + 1, ack.log))
    assert synced.log == ack.log


def test_a_client_with_another_log_is_told(world: World, ana: Person) -> None:
    """`fork` if its hash differs, `hub_behind` if it has more than we do."""
    ack = ana.say()
    assert world.code(ana.link, ana.sync(ack.seq, digest("x"))) == Code.FORK
    assert world.code(ana.link, ana.sync(0, digest("x"))) == Code.FORK
    assert world.code(ana.link, ana.sync(ack.seq + 2)) == Code.HUB_BEHIND
    world.expect(frames.Synced, ana.link, ana.sync(0, Hash32(ana.room)))


def test_a_position_older_than_memory_is_checked_in_the_store(
    world: World, ana: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The effect carries the client's claim, and says `fork` itself."""
    monkeypatch.setattr("ofcd.relay.room_log.RECENT_ENTRIES", 2)
    acks = [ana.say() for _ in range(5)]
    for log, kind in ((acks[0].log, frames.Synced), (digest("x"), frames.Failure)):
        frame = ana.sync(acks[1].seq, log)
        (effect,) = world.decide(ana.link, frame).effects
        assert isinstance(effect, Subscribe)
        assert (effect.log, effect.claimed) == (None, log)
        assert isinstance(world.send(ana.link, frame), kind)


def test_below_the_floor_of_retention_a_claim_is_not_compared(world: World, ana: Person) -> None:
    """Who starts below what is kept starts at the floor, with the hash before that."""
    effect = Subscribe(ana.link, 1, ana.room, ana.mid, 3, 9, None, claimed=digest("mine"))
    answer = effect.synced(5, digest("floor"))
    assert isinstance(answer, frames.Synced)
    assert (answer.floor, answer.log, answer.head) == (5, digest("floor"), 9)


def test_a_newcomer_reads_from_its_admission_on(world: World, ana: Person) -> None:
    """Test 26: asking for earlier gives `history_from`; a claim about the past is passed over."""
    ana.say(b"before")
    ana.do(ana.rekey())
    bo = admit_to(ana, "bo")
    floor = ana.log.state.members[bo.mid].history_from
    synced = world.expect(frames.Synced, bo.link, bo.sync(0, digest("no idea")))
    assert synced.start == floor == ana.log.state.epoch_seq + 1
    assert all(delivery.seq >= floor for delivery in world.received(bo.link, frames.Delivery))


def test_26_asking_for_too_early_is_the_same_as_asking_for_what_one_may_read(
    world: World, ana: Person
) -> None:
    """Test 26: no word, no reading and no check more or less, so that time tells nothing either."""
    acks = [ana.say(b"before") for _ in range(3)]
    ana.do(ana.rekey())
    bo = admit_to(ana, "bo")
    floor = ana.log.state.members[bo.mid].history_from
    decided = [
        world.decide(bo.link, frames.Sync(7, bo.room, start, log))
        for start, log in (
            (floor, None),
            (0, None),
            (acks[1].seq, None),
            (acks[1].seq, acks[0].log),
            (acks[1].seq, digest("a guess")),
        )
    ]
    assert all(decision == decided[0] for decision in decided)


def test_a_cursor_moves_forward_within_the_log(world: World, ana: Person) -> None:
    """Back, past the head, or again: nothing happens, nobody answers."""
    ana.say()
    ana.say()
    assert world.send(ana.link, frames.Cursor(ana.room, 1)) is None
    assert world.facts[-1] == CursorMoved(ana.room, ana.mid, 1, world.now)
    facts = len(world.facts)
    for seq in (0, 1, 3):
        assert world.send(ana.link, frames.Cursor(ana.room, seq)) is None
    assert len(world.facts) == facts
    world.send(ana.link, frames.Cursor(ana.room, 2))
    assert world.room(ana.room).cursors == {ana.mid: 2}


# -- keys ----------------------------------------------------------------------------------------


def test_a_stranded_member_gets_the_current_key_from_an_owner(world: World, ana: Person) -> None:
    """KEY_REQ is kept and pushed to owners; so is its answer, for the member who may be away."""
    bo, cy = admit_to(ana, "bo"), admit_to(ana, "cy")
    ana.do(ana.rekey())
    asked = bo.key_request()
    world.expect(frames.Done, bo.link, asked)
    assert world.received(ana.link, frames.KeyAsked) == [frames.KeyAsked(ana.room, asked.record)]
    assert world.received(cy.link, frames.KeyAsked) == []
    answer = ana.key_answer(asked, bo, b"the key")
    decision = world.decide(ana.link, answer)
    (stored,) = decision.facts
    assert isinstance(stored, KeyRequestStored)
    assert (stored.row.mid, stored.row.answer, stored.row.box) == (
        bo.mid,
        answer.record,
        b"the key",
    )
    world.commit(decision)
    told = frames.KeyAnswered(ana.room, answer.record, b"the key")
    assert world.received(bo.link, frames.KeyAnswered) == [told]
    assert world.received(cy.link, frames.KeyAnswered) == []


def test_an_answer_waits_for_the_member_who_asked(world: World, ana: Person) -> None:
    """Answered while the member is away, the key is there at its next ATTACH; owners are done."""
    bo = admit_to(ana, "bo")
    ana.do(ana.rekey())
    asked = bo.key_request()
    world.expect(frames.Done, bo.link, asked)
    answer = ana.key_answer(asked, bo, b"the key")
    world.expect(frames.Done, ana.link, answer)
    told = frames.KeyAnswered(ana.room, answer.record, b"the key")
    pushed = keys.waiting_for(ana.log, ana.log.state.member(bo.mid))
    assert pushed == [told]
    assert keys.waiting_for(ana.log, ana.log.state.member(ana.mid)) == []


def test_a_key_request_is_kept_once_for_each_member(world: World, ana: Person) -> None:
    """A repeat changes nothing; a newer one takes its place; an answered one is gone."""
    bo = admit_to(ana, "bo")
    first = bo.key_request()
    world.expect(frames.Done, bo.link, first)
    facts = len(world.facts)
    world.expect(frames.Done, bo.link, first)
    assert len(world.facts) == facts
    second = bo.key_request(nonce=digest("anew"))
    world.expect(frames.Done, bo.link, second)
    assert world.code(ana.link, ana.key_answer(first, bo)) == Code.CONFLICT
    answer = ana.key_answer(second, bo)
    world.expect(frames.Done, ana.link, answer)
    assert world.code(ana.link, answer) == Code.CONFLICT


def test_wrong_key_requests_and_answers_have_their_codes(world: World, ana: Person) -> None:
    """Another epoch, another's request, an answer by a plain member, another box."""
    bo, cy = admit_to(ana, "bo"), admit_to(ana, "cy")
    asked = bo.key_request()
    assert world.code(bo.link, bo.key_request(epoch=1)) == Code.EPOCH_STALE
    assert world.code(cy.link, cy.key_request(mid=bo.mid)) == Code.FORBIDDEN
    assert world.code(cy.link, frames.KeyRequest(1, cy.room, asked.record)) == Code.FORBIDDEN
    assert world.code(ana.link, ana.key_answer(asked, bo)) == Code.CONFLICT
    world.expect(frames.Done, bo.link, asked)
    assert world.code(cy.link, cy.key_answer(asked, bo)) == Code.FORBIDDEN
    assert world.code(ana.link, ana.key_answer(asked, cy)) == Code.CONFLICT
    assert world.code(ana.link, ana.key_answer(asked, bo, epoch=1)) == Code.EPOCH_STALE
    other = ana.key_answer(asked, bo, box_hash=digest("x"))
    assert world.code(ana.link, other) == Code.CELL_MISMATCH
    assert world.code(ana.link, ana.key_answer(asked, bo, b"")) == Code.BAD_RECORD
    ana.do(ana.rekey())
    assert world.code(ana.link, ana.key_answer(asked, bo, epoch=0)) == Code.EPOCH_STALE
    world.expect(frames.Done, ana.link, ana.key_answer(asked, bo))


def test_a_boxed_rotation_answers_every_key_request(world: World, ana: Person) -> None:
    """Everyone listed has the key; the requests are dropped with it."""
    bo = admit_to(ana, "bo")
    world.expect(frames.Done, bo.link, bo.key_request())
    ana.do(ana.rekey_boxed())
    assert ana.log.key_asks == {}
    assert world.store.rooms[ana.room].key_requests == {}


# -- attachments ---------------------------------------------------------------------------------


def test_chunks_are_stored_and_read_back(world: World, ana: Person) -> None:
    """By every member, readonly ones too; a repeat is stored once."""
    bo = admit_to(ana, "bo", records.Role.READONLY)
    for index, chunk in enumerate((b"one", b"two", b"two")):
        world.expect(frames.Done, ana.link, ana.blob_put(BLOB, min(index, 1), chunk=chunk))
    assert len(world.store.rooms[ana.room].blobs) == 2
    assert ana.log.blob_bytes == {ana.mid: 6}
    blob = world.expect(frames.Blob, bo.link, bo.blob_get(BLOB, 1))
    assert (blob.count, blob.chunk) == (2, b"two")
    assert world.code(bo.link, bo.blob_get(BLOB, 2)) == Code.BLOB_GONE


def test_an_attachment_belongs_to_its_first_uploader(world: World, ana: Person) -> None:
    """Nobody adds to another's, or changes the number of chunks."""
    bo = admit_to(ana, "bo")
    world.expect(frames.Done, ana.link, ana.blob_put(BLOB))
    assert world.code(bo.link, bo.blob_put(BLOB, 1)) == Code.FORBIDDEN
    assert world.code(ana.link, ana.blob_put(BLOB, 1, count=3)) == Code.BAD_FRAME
    assert world.code(ana.link, ana.blob_put(BLOB, 2)) == Code.BAD_FRAME
    assert world.code(ana.link, ana.blob_put(BLOB, 1, chunk=b"")) == Code.BAD_FRAME


def test_attachments_have_quotas() -> None:
    """The size of one by its number of chunks, the sum by member."""
    world = World(RelayPolicy(blob_bytes=512 * 1024, blob_bytes_per_member=8))
    ana = found_room(world)
    bo = admit_to(ana, "bo")
    assert world.code(ana.link, ana.blob_put(BLOB, count=3)) == Code.QUOTA
    world.expect(frames.Done, ana.link, ana.blob_put(BLOB, 0, chunk=b"12345678"))
    assert world.code(ana.link, ana.blob_put(BLOB, 1)) == Code.QUOTA
    world.expect(frames.Done, ana.link, ana.blob_put(BLOB, 0, chunk=b"12345678"))
    world.relay.forget([ana.room])
    assert world.code(ana.link, ana.blob_put(BLOB, 1)) == Code.QUOTA
    world.expect(frames.Done, bo.link, bo.blob_put(blob_named("bo's")))


def test_a_dropped_attachment_is_gone_and_its_quota_is_given_back() -> None:
    """By who stored it or an owner; and what somebody else stored stays, whatever is claimed."""
    world = World(RelayPolicy(blob_bytes_per_member=8))
    ana = found_room(world)
    bo, cy = admit_to(ana, "bo"), admit_to(ana, "cy")
    for first in (True, False):
        world.expect(frames.Done, bo.link, bo.blob_put(BLOB, 0, count=1, chunk=b"12345678"))
        assert world.code(bo.link, bo.blob_put(blob_named("more"))) == Code.QUOTA
        assert world.code(cy.link, cy.blob_drop(BLOB, uploader=bo.mid)) == Code.FORBIDDEN
        world.expect(frames.Done, cy.link, cy.blob_drop(BLOB))
        world.expect(frames.Done, ana.link, ana.blob_drop(BLOB, uploader=cy.mid))
        world.expect(frames.Blob, bo.link, bo.blob_get(BLOB))
        who = bo if first else ana
        world.expect(frames.Done, who.link, who.blob_drop(BLOB, uploader=bo.mid))
        world.expect(frames.Done, who.link, who.blob_drop(BLOB, uploader=bo.mid))
        assert world.code(bo.link, bo.blob_get(BLOB)) == Code.BLOB_GONE
        assert ana.log.blob_bytes == {}


def test_a_relay_may_take_no_attachments() -> None:
    """`blob_bytes = 0`."""
    world = World(RelayPolicy(blob_bytes=0))
    ana = found_room(world)
    assert world.code(ana.link, ana.blob_put(BLOB)) == Code.QUOTA


def test_uploads_remembered_are_bounded() -> None:
    """Whose they are is known for the last few; for others the store is asked, which keeps the
    first of each chunk: who did not upload it is told so, and is not charged for it."""
    world = World(RelayPolicy(uploads_per_room=2))
    ana = found_room(world)
    bo = admit_to(ana, "bo")
    world.expect(frames.Done, ana.link, ana.blob_put(BLOB, chunk=b"hers"))
    for name, index in (("busy", 0), ("idle", 0), ("busy", 1), ("new", 0)):
        world.expect(frames.Done, ana.link, ana.blob_put(blob_named(name), index))
    assert list(ana.log.uploads) == [blob_named("busy"), blob_named("new")]
    for index, chunk in ((0, b"spoilt"), (1, b"as well")):
        refused = world.expect(frames.Failure, bo.link, bo.blob_put(BLOB, index, chunk=chunk))
        assert refused.code == Code.FORBIDDEN
    assert ana.log.blob_bytes.get(bo.mid) is None
    other_count = ana.blob_put(blob_named("idle"), count=3)
    refused = world.expect(frames.Failure, ana.link, other_count)
    assert refused.code == Code.BAD_FRAME
    world.snapshot()
    world.expect(frames.Done, ana.link, ana.blob_put(BLOB, 1, chunk=b"hers"))
    blob = world.expect(frames.Blob, ana.link, ana.blob_get(BLOB))
    assert blob.chunk == b"hers"
