"""Room keys over time: who follows a rotation, who can not, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve

from ofcd.e2e.boxes import AnswerBox, KeyBox, Party, seal_box
from ofcd.e2e.contexts import rekey_context
from ofcd.e2e.controls import header_fields, make_grant, make_leave
from ofcd.e2e.epochs import (
    Rekey,
    RekeyDue,
    forget_old_keys,
    make_boxed_rekey,
    make_key_answer,
    make_key_request,
    make_routine_rekey,
    open_boxed_rekey,
    open_key_answer,
    open_routine_rekey,
    rekey_due,
)
from ofcd.e2e.errors import KeyFault, KeyMissing, KeyRejected, Reason, Unreadable
from ofcd.e2e.events import open_event
from ofcd.e2e.keys import EpochKeys, MemberKeys, key_commitment
from ofcd.protocol.codes import Code, Malformed, Refused
from ofcd.protocol.ids import EventId, Hash32, RoomId, sha256
from ofcd.protocol.records import (
    KeyAnswer,
    KeyRequest,
    Policy,
    RekeyBoxed,
    RekeyRoutine,
    Role,
)
from ofcd.themis import generate_key, seal
from ofcd.themis.signed import SignedRecord, sign_record
from tests.e2e.world import NOW, Entry, Person, World, entry_of, found_world, rekey_entry

HOUR = 3_600_000


def troubles(person: Person) -> list[str]:
    return [type(t).__name__ for taken in person.taken for t in taken.troubles]


def boxed(person: Person) -> Rekey:
    view = person.view
    return make_boxed_rekey(view.state, view.mine, view.seen, NOW)


def record_of(rekey: Rekey) -> RekeyBoxed:
    assert isinstance(rekey.signed.record, RekeyBoxed)
    return rekey.signed.record


# -- following -----------------------------------------------------------------------------------


def test_everybody_follows_both_kinds(world: World) -> None:
    """After a routine and a boxed rotation all members hold the same new keys and talk on."""
    root, ana, bo = world.people
    world.rotate(root)
    world.say(ana, "one")
    world.rotate_boxed(root)
    world.say(bo, "two")
    for person in world.people:
        assert person.heard == ["one", "two"]
        assert person.view.state.epoch == 2
        assert person.view.keys == root.view.keys
        assert troubles(person) == []


def test_20_the_evicted_open_nothing_more(world: World) -> None:
    """Test 20: with all its keys, the raw recording and the relay's help: nothing after EVICT."""
    root, ana, bo = world.people
    world.say(root, "before")
    world.evict(root, bo)
    sealed = world.say(ana, "after")
    assert ana.heard == ["before", "after"]
    assert bo.heard == ["before"]
    for epoch in range(-1, 3):
        known = EpochKeys(bo.view.state.nonce, {1: bo.view.keys.keys.get(epoch, b"?" * 32)})
        with pytest.raises(Unreadable) as caught:
            open_event(ana.view.state, known, sealed.signed.envelope, sealed.cell)
        assert caught.value.reason is Reason.BAD_SEAL
    for box in world.relay.entries[-2].boxes.values():
        owner = root.view.state.member(root.mid)
        listed = evolve(record_of(boxed(root)), mid=owner.mid, boxes=((bo.mid, sha256(box)),))
        with pytest.raises(KeyRejected):
            open_boxed_rekey(root.view.state, bo.mine, listed, box, bo.view.keys)


def test_20_a_routine_rotation_is_opened_by_whoever_had_the_key(world: World) -> None:
    """Test 20, the control case: someone with the old key follows a routine rotation.

    This is the documented limit: only a boxed rotation heals.
    """
    root, ana, bo = world.people
    stolen, recorded = bo.view.keys, []
    recorded.append(world.rotate(root))
    sealed = world.say(ana, "readable")
    rekey = recorded[0].signed.record
    assert isinstance(rekey, RekeyRoutine)
    followed = open_routine_rekey(rekey, stolen)
    opened = open_event(ana.view.state, followed, sealed.signed.envelope, sealed.cell)
    assert opened.content.text == "readable"  # type: ignore[union-attr]


def test_20_the_evicted_can_not_follow_the_rotations_after(world: World) -> None:
    """Test 20: later routine rotations, sealed under the key it never got, stay closed too."""
    root, ana, bo = world.people
    world.evict(root, bo)
    world.rotate(root)
    world.say(ana, "much later")
    assert bo.heard == []
    assert list(bo.view.keys.keys) == [0]
    assert troubles(bo) == ["KeyMissing", "Unreadable"]


def test_20_nobody_seals_under_the_old_key_after_an_eviction(world: World) -> None:
    """Test 20: once EVICT is applied, a member's next message is under the new key alone."""
    root, ana, bo = world.people
    world.evict(root, bo)
    assert ana.seal("x").event.epoch == 1
    keyless = evolve(ana.view, keys=EpochKeys(ana.view.state.nonce, bo.view.keys.keys))
    ana.view = keyless
    with pytest.raises(KeyMissing):
        ana.seal("x")


def test_25_a_member_offline_through_25_epochs_reads_everything(world: World) -> None:
    """Test 25: 25 epochs, some of them boxed, taken in one go: every word, no key lost."""
    root, ana, bo = world.people
    world.people.remove(bo)
    for number in range(25):
        state = root.view.state
        step = world.rotate_boxed if state.boxed_required else world.rotate
        step(root)
        world.say(ana, f"word {number}")
    assert root.view.state.epoch == 25
    assert sum(1 for e in world.relay.entries if e.boxes) == 2
    bo.catch_up(world.relay)
    assert bo.heard == ana.heard == [f"word {n}" for n in range(25)]
    assert troubles(bo) == []
    assert bo.view.keys == root.view.keys


def test_25_without_its_box_a_member_asks_and_reads_on(world: World) -> None:
    """Test 25: a box that is gone: a marker for the missed stretch, then KEY_REQ, then words."""
    root, ana, bo = world.people
    world.people.remove(bo)
    rekey = world.rotate_boxed(root)
    world.say(ana, "missed")
    world.relay.entries[-2] = Entry(rekey.signed.envelope)
    bo.catch_up(world.relay)
    assert troubles(bo) == ["KeyMissing", "Unreadable"]
    assert (bo.heard, bo.view.state.epoch) == ([], 1)
    request = make_key_request(bo.view.state, bo.mine, NOW)
    answer, box = make_key_answer(root.view.state, root.mine, root.view.keys, request.envelope)
    bo.view = evolve(bo.view, keys=received(bo, request, answer.envelope, box))
    world.say(ana, "heard")
    bo.catch_up(world.relay)
    assert bo.heard == ["heard"]


def test_a_newcomer_reads_from_the_last_rotation_on(world: World) -> None:
    """History rule: what was said under the current key, nothing from before."""
    root, ana, _ = world.people
    world.say(ana, "old")
    world.rotate(root)
    world.say(ana, "recent")
    newcomer = world.join("Cy")
    world.say(ana, "new")
    assert newcomer.heard == ["recent", "new"]
    assert 0 not in newcomer.view.keys


# -- refusing ------------------------------------------------------------------------------------


def test_24_an_owner_who_boxes_another_key_to_some_is_found_out(world: World) -> None:
    """Test 24: Ana is boxed K', the rest K: alarm at Ana's, no adoption; the others go on."""
    root, ana, bo = world.people
    honest = boxed(root)
    record = record_of(honest)
    false = KeyBox(record.epoch, record.key_commitment, record.prev, generate_key())
    to_ana = seal_box(root.mine, Party(ana.mid, ana.mine.enc_key), root.view.room, false)
    order = [mid for mid, _ in record.boxes]
    boxes = tuple(to_ana if m == ana.mid else b for m, b in zip(order, honest.boxes, strict=True))
    listed = tuple((m, sha256(b)) for m, b in zip(order, boxes, strict=True))
    signed = sign_record(root.mine.sign.private, evolve(record, boxes=listed))
    world.commit(rekey_entry(Rekey(signed, boxes, honest.key)))
    assert troubles(ana) == ["KeyRejected"]
    assert 1 not in ana.view.keys
    assert bo.view.keys.get(1) == honest.key


def test_24_an_owner_who_leaves_a_member_out_is_found_out_by_all(world: World) -> None:
    """Test 24: a list without Bo, who was not removed: everyone refuses the record."""
    root, ana, bo = world.people
    record = record_of(boxed(root))
    short = tuple(pair for pair in record.boxes if pair[0] != bo.mid)
    signed = sign_record(root.mine.sign.private, evolve(record, boxes=short))
    world.commit(Entry(signed.envelope))
    for person in (ana, bo):
        refused = person.taken[-1].troubles[0]
        assert isinstance(refused, Refused)
        assert refused.kind is Code.BOX_LIST_MISMATCH
        assert person.view.state.epoch == 0


def test_24_a_committed_key_of_a_wrong_size_is_refused(world: World) -> None:
    """Test 24, routine: an owner who commits to 5 bytes can not make anybody adopt them."""
    root, ana, _ = world.people
    view = root.view
    commitment = key_commitment(view.state.nonce, 1, b"short")
    context = rekey_context(view.room, 1, commitment, view.state.ctl)
    record = RekeyRoutine(
        **header_fields(view.state, root.mine, view.seen, NOW),
        epoch=1,
        key_commitment=commitment,
        cell=seal(view.keys.get(0), b"short", context),
    )
    with pytest.raises(KeyRejected):
        open_routine_rekey(record, ana.view.keys)


def test_24_a_routine_rotation_to_another_key_is_refused(world: World) -> None:
    """Test 24, routine: a sealed key that is not the one committed to is not adopted."""
    root, ana, _ = world.people
    view = root.view
    epoch = 1
    commitment = key_commitment(view.state.nonce, epoch, generate_key())
    context = rekey_context(view.room, epoch, commitment, view.state.ctl)
    for false in (generate_key(), b"short"):
        record = RekeyRoutine(
            **header_fields(view.state, root.mine, view.seen, NOW),
            epoch=epoch,
            key_commitment=commitment,
            cell=seal(view.keys.get(0), false, context),
        )
        with pytest.raises(KeyRejected) as caught:
            open_routine_rekey(record, ana.view.keys)
        assert caught.value.fault is KeyFault.COMMITMENT


@pytest.mark.parametrize("field", ["epoch", "key_commitment", "prev"])
def test_a_key_box_belongs_to_its_record(world: World, field: str) -> None:
    """A box made for another epoch, commitment or control head is refused, though it is listed."""
    root, ana, _ = world.people
    rekey = boxed(root)
    record = record_of(rekey)
    said = KeyBox(record.epoch, record.key_commitment, record.prev, rekey.key)
    other: dict[str, object] = {"epoch": 9, "key_commitment": b"x" * 32, "prev": b"x" * 32}
    content = evolve(said, **{field: other[field]})  # type: ignore[arg-type]
    box = seal_box(root.mine, Party(ana.mid, ana.mine.enc_key), root.view.room, content)
    listed = evolve(record, boxes=((ana.mid, sha256(box)),))
    with pytest.raises(KeyRejected) as caught:
        open_boxed_rekey(ana.view.state, ana.mine, listed, box, ana.view.keys)
    assert caught.value.fault is KeyFault.CANNOT_OPEN


def test_a_key_box_that_the_record_does_not_list_is_refused(world: World) -> None:
    """The relay can not swap a member's box for an older or another one."""
    root, ana, bo = world.people
    rekey, other = boxed(root), boxed(root)
    order = [mid for mid, _ in record_of(rekey).boxes]
    at = order.index(ana.mid)
    for wrong in (other.boxes[at], rekey.boxes[order.index(bo.mid)], b""):
        with pytest.raises(KeyRejected) as caught:
            open_boxed_rekey(root.view.state, ana.mine, record_of(rekey), wrong, ana.view.keys)
        assert caught.value.fault is KeyFault.BOX_HASH


def test_11_a_key_box_reflected_to_the_owner_is_refused(world: World) -> None:
    """Test 11: the box the owner made for Ana, listed as if Ana had made it for the owner."""
    root, ana, _ = world.people
    rekey = boxed(root)
    record = record_of(rekey)
    order = [mid for mid, _ in record.boxes]
    box = rekey.boxes[order.index(ana.mid)]
    turned = evolve(record, mid=ana.mid, boxes=((root.mid, sha256(box)),))
    with pytest.raises(KeyRejected) as caught:
        open_boxed_rekey(root.view.state, root.mine, turned, box, root.view.keys)
    assert caught.value.fault is KeyFault.CANNOT_OPEN


def test_a_routine_cell_of_another_rotation_does_not_open(world: World) -> None:
    """The cell is bound to room, epoch, commitment and control head."""
    root = world.root
    view = root.view
    rekey = make_routine_rekey(view.state, root.mine, view.keys, view.seen, NOW)
    record = rekey.signed.record
    assert isinstance(record, RekeyRoutine)
    with pytest.raises(KeyRejected):
        open_routine_rekey(evolve(record, prev=EventId(b"x" * 32)), view.keys)
    with pytest.raises(KeyMissing):
        open_routine_rekey(evolve(record, epoch=9), view.keys)


def test_only_owners_rotate(world: World) -> None:
    """A member can not even make a rotation, of either kind, nor evict."""
    _, ana, bo = world.people
    view = ana.view
    with pytest.raises(Refused):
        make_routine_rekey(view.state, ana.mine, view.keys, view.seen, NOW)
    with pytest.raises(Refused):
        make_boxed_rekey(view.state, ana.mine, view.seen, NOW, removed=[bo.mid])


def test_23_a_departure_asks_for_a_boxed_rotation(world: World) -> None:
    """Test 23: while LEAVE waits for its rotation, a routine one is refused to its maker."""
    root, ana, _ = world.people
    world.control(make_leave(ana.view.state, ana.mine, ana.view.seen, NOW))
    view = root.view
    with pytest.raises(Refused) as caught:
        make_routine_rekey(view.state, root.mine, view.keys, view.seen, NOW)
    assert caught.value.kind is Code.BOXED_REQUIRED
    world.rotate_boxed(root)
    world.say(root, "without Ana")
    assert ana.heard == []


# -- asking --------------------------------------------------------------------------------------


def received(person: Person, request: SignedRecord, answer: bytes, box: bytes) -> EpochKeys:
    view = person.view
    return open_key_answer(view.state, person.mine, view.keys, request, answer, box)


def exchange(world: World) -> tuple[Person, Person, SignedRecord, SignedRecord, bytes]:
    """Root answers a KEY_REQ of Bo's."""
    root, _, bo = world.people
    world.rotate_boxed(root)
    request = make_key_request(bo.view.state, bo.mine, NOW)
    view = root.view
    answer, box = make_key_answer(view.state, root.mine, view.keys, request.envelope)
    return root, bo, request, answer, box


def test_only_a_members_own_request_is_answered(world: World) -> None:
    """KEY_REQ of a stranger, forged, for an old epoch or another room is refused; so by Ana."""
    root, ana, bo = world.people
    view = root.view
    good = make_key_request(bo.view.state, bo.mine, NOW)
    record = good.record
    assert isinstance(record, KeyRequest)
    stranger = MemberKeys.generate()
    wrong = {
        Code.NOT_FOUND: sign_record(stranger.sign.private, evolve(record, mid=stranger.mid)),
        Code.BAD_SIGNATURE: sign_record(ana.mine.sign.private, record),
        Code.EPOCH_STALE: sign_record(bo.mine.sign.private, evolve(record, epoch=5)),
    }
    for code, signed in wrong.items():
        with pytest.raises(Refused) as caught:
            make_key_answer(view.state, root.mine, view.keys, signed.envelope)
        assert caught.value.kind is code
    elsewhere = sign_record(bo.mine.sign.private, evolve(record, room=RoomId(b"x" * 32)))
    for other in (elsewhere.envelope, bo.seal("x").signed.envelope):
        with pytest.raises(Refused):
            make_key_answer(view.state, root.mine, view.keys, other)
    with pytest.raises(Refused) as caught:
        make_key_answer(ana.view.state, ana.mine, ana.view.keys, good.envelope)
    assert caught.value.kind is Code.FORBIDDEN
    with pytest.raises(Malformed):
        make_key_answer(view.state, root.mine, view.keys, b"junk")


def test_a_key_is_taken_from_an_owner_only(world: World) -> None:
    """A member who holds the right key still can not hand it on."""
    _, bo, request, answer, _ = exchange(world)
    ana = world.people[1]
    content = AnswerBox(1, ana.view.state.key_commitment, request.hash, ana.view.keys.get(1))
    box = seal_box(ana.mine, Party(bo.mid, bo.mine.enc_key), ana.view.room, content)
    assert isinstance(answer.record, KeyAnswer)
    forged = evolve(answer.record, mid=ana.mid, box_hash=sha256(box))
    signed = sign_record(ana.mine.sign.private, forged)
    with pytest.raises(KeyRejected) as caught:
        received(bo, request, signed.envelope, box)
    assert caught.value.fault is KeyFault.NOT_AN_OWNER
    unsigned = sign_record(ana.mine.sign.private, answer.record)
    with pytest.raises(KeyRejected) as caught:
        received(bo, request, unsigned.envelope, box)
    assert caught.value.fault is KeyFault.NOT_AN_OWNER


def test_an_answer_belongs_to_its_request(world: World) -> None:
    """An older answer, one for someone else, one for another room, and a swapped box: refused."""
    root, bo, request, answer, box = exchange(world)
    again = make_key_request(bo.view.state, bo.mine, NOW + 1)
    with pytest.raises(KeyRejected) as caught:
        received(bo, again, answer.envelope, box)
    assert caught.value.fault is KeyFault.OTHER_REQUEST
    record = answer.record
    assert isinstance(record, KeyAnswer)
    wrong: list[dict[str, Any]] = [
        {"to": root.mid},
        {"room": Hash32(b"x" * 32)},
        {"request_hash": Hash32(b"x" * 32)},
    ]
    for fields in wrong:
        other = sign_record(root.mine.sign.private, evolve(record, **fields))
        with pytest.raises(KeyRejected) as caught:
            received(bo, request, other.envelope, box)
        assert caught.value.fault is KeyFault.OTHER_REQUEST
    with pytest.raises(KeyRejected) as caught:
        received(bo, request, answer.envelope, box + b"x")
    assert caught.value.fault is KeyFault.BOX_HASH
    for envelope in (request.envelope, root.seal("x").signed.envelope, b"junk"):
        with pytest.raises(KeyRejected):
            received(bo, request, envelope, box)


def test_the_box_of_an_answer_is_checked_inside_too(world: World) -> None:
    """An owner whose box says another request, epoch, commitment or key is refused."""
    root, bo, request, answer, _ = exchange(world)
    state, key = bo.view.state, root.view.keys.get(1)
    good = AnswerBox(1, state.key_commitment, request.hash, key)
    faults = {
        evolve(good, request_hash=Hash32(b"x" * 32)): KeyFault.OTHER_REQUEST,
        evolve(good, epoch=2): KeyFault.COMMITMENT,
        evolve(good, key_commitment=Hash32(b"x" * 32)): KeyFault.COMMITMENT,
        evolve(good, key=generate_key()): KeyFault.COMMITMENT,
    }
    record = answer.record
    assert isinstance(record, KeyAnswer)
    for content, fault in faults.items():
        box = seal_box(root.mine, Party(bo.mid, bo.mine.enc_key), bo.view.room, content)
        signed = sign_record(root.mine.sign.private, evolve(record, box_hash=sha256(box)))
        with pytest.raises(KeyRejected) as caught:
            received(bo, request, signed.envelope, box)
        assert caught.value.fault is fault
    key_box = KeyBox(1, state.key_commitment, state.ctl, key)
    box = seal_box(root.mine, Party(bo.mid, bo.mine.enc_key), bo.view.room, key_box)
    signed = sign_record(root.mine.sign.private, evolve(record, box_hash=sha256(box)))
    with pytest.raises(KeyRejected) as caught:
        received(bo, request, signed.envelope, box)
    assert caught.value.fault is KeyFault.CANNOT_OPEN


# -- policy --------------------------------------------------------------------------------------


def test_what_an_owner_owes_the_room() -> None:
    """Rotation is due by log position, by age if anything was said, and at once after a leave."""
    world = found_world(Policy(rotate_after=5, rotate_hours=2, boxed_every=2))
    root, ana = world.root, world.join("Ana")
    state, base = root.view.state, root.view.state.epoch_seq
    assert rekey_due(state, base + 4, NOW, NOW) is RekeyDue.NO
    assert rekey_due(state, base + 5, NOW, NOW) is RekeyDue.ROUTINE
    assert rekey_due(state, base + 1, NOW, NOW + 2 * HOUR) is RekeyDue.ROUTINE
    assert rekey_due(state, base, NOW, NOW + 2 * HOUR) is RekeyDue.NO
    world.rotate(root)
    state = root.view.state
    assert rekey_due(state, state.epoch_seq + 5, NOW, NOW) is RekeyDue.BOXED
    world.control(make_leave(ana.view.state, ana.mine, ana.view.seen, NOW))
    assert rekey_due(root.view.state, 0, NOW, NOW) is RekeyDue.BOXED
    world.control(make_leave(root.view.state, root.mine, root.view.seen, NOW))
    assert rekey_due(root.view.state, 99, NOW, NOW) is RekeyDue.NO


def test_old_keys_are_forgotten() -> None:
    """All but one epoch before the stored one are dropped; the rest still open."""
    keys = EpochKeys(Hash32(b"n" * 32), {epoch: bytes([epoch]) * 32 for epoch in range(6)})
    assert sorted(forget_old_keys(keys, 4).keys) == [3, 4, 5]
    assert sorted(forget_old_keys(keys, 4, keep=0).keys) == [4, 5]
    with pytest.raises(KeyMissing) as caught:
        forget_old_keys(keys, 4).get(2)
    assert caught.value.epoch == 2


def test_22_messages_in_flight_across_a_rotation_arrive_once(world: World) -> None:
    """Test 22: sealed before a rotation, refused as stale, sealed again: each exactly once."""
    root, ana, bo = world.people
    for number in range(20):
        message = ana.outgoing(f"m{number}")
        stale = ana.seal_outgoing(message)
        if number % 3 == 0:
            world.rotate(root) if not root.view.state.boxed_required else world.rotate_boxed(root)
            assert stale.event.epoch != ana.view.state.epoch
        world.commit(entry_of(ana.seal_outgoing(message)))
    assert bo.heard == root.heard == [f"m{n}" for n in range(20)]
    assert troubles(bo) == []


def test_21_the_loser_of_two_rotations_makes_its_own_anew(world: World) -> None:
    """Test 21: two owners rotate at one control head; the second record is refused by all."""
    root, ana, bo = world.people
    world.control(
        make_grant(
            root.view.state, root.mine, root.view.seen, NOW, member=ana.mid, role=Role.CO_OWNER
        )
    )
    first, second = boxed(root), boxed(ana)
    world.commit(rekey_entry(first))
    world.commit(rekey_entry(second))
    for person in world.people:
        refused = person.taken[-1].troubles[0]
        assert isinstance(refused, Refused)
        assert refused.kind is Code.CONFLICT
        assert person.view.keys.get(1) == first.key
    world.rotate_boxed(ana)
    world.say(bo, "converged")
    assert root.heard == ana.heard == ["converged"]
