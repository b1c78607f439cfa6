"""Checks of the ledger that nothing else needs: each found untested by `make mutation`."""

from __future__ import annotations

from ofcd.client import (
    AlarmKind,
    KeyFound,
    KeyMissing,
    MessageReceived,
    RoomStateChanged,
    RoomStatus,
)
from ofcd.e2e.bodies import Text
from ofcd.e2e.chain import apply_verified
from ofcd.e2e.controls import make_grant
from ofcd.e2e.epochs import Rekey, make_boxed_rekey, make_routine_rekey
from ofcd.e2e.events import Outgoing, seal_event
from ofcd.e2e.keys import new_sid
from ofcd.protocol import frames
from ofcd.protocol.ids import EventId, Hash32, MemberId
from ofcd.protocol.records import LogHead, RekeyBoxed, Role
from ofcd.themis.signed import sign_record
from tests.client.liar import NOW, Bo, Scene


def word(scene: Scene, seq: int, log: bytes) -> frames.Head:
    """The relay's signed word that its log has this hash there."""
    head = LogHead(1, scene.room, 0, seq, Hash32(log), NOW)
    return frames.Head(scene.room, sign_record(scene.relay.private, head).envelope)


def outgoing(counter: int, prev: EventId) -> Outgoing:
    """A message of Ana's."""
    return Outgoing(content=Text("hi"), sid=new_sid(), counter=counter, prev=prev, ts=NOW)


def box_for(rekey: Rekey, member: MemberId) -> bytes:
    """The box that holds the new key for this member."""
    record = rekey.signed.record
    assert isinstance(record, RekeyBoxed)
    return rekey.boxes[[mid for mid, _ in record.boxes].index(member)]


def test_17_two_words_about_what_has_not_come_yet_are_proof(scene: Scene, bo: Bo) -> None:
    """Whatever comes then, one of them was a lie: the room is frozen at once."""
    ahead = scene.log.seq + 7
    bo.feed(word(scene, ahead, b"a" * 32), word(scene, ahead, b"a" * 32))
    assert bo.alarms == []
    bo.feed(word(scene, ahead, b"b" * 32))
    assert bo.alarms == [AlarmKind.FORK]
    assert bo.status is RoomStatus.FROZEN
    assert len(bo.room.core.evidence(bo.vault)) == 2


def test_a_rekey_shown_twice_without_its_box_is_a_repeat(scene: Scene, bo: Bo) -> None:
    """The key is missing and asked for; the repeat brings nothing, and breaks nothing."""
    rekey = make_boxed_rekey(scene.state, scene.ana, scene.log.seen, NOW)
    delivery = frames.Delivery(scene.room, scene.log.seq + 1, rekey.signed.envelope)
    bo.feed(delivery, delivery)
    core = bo.room.core
    assert (core.state.epoch, 1 in core.keys) == (1, False)
    assert (bo.alarms, bo.dropped) == ([], "")


def test_what_an_admitter_vouched_for_is_checked_when_the_log_gets_there(
    scene: Scene, bo: Bo
) -> None:
    """Not before: an entry on the way there proves nothing, and forgets nothing. What the admitter
    has signed is kept."""
    one, two, three = scene.truth
    vouched = {"vouched_seq": two.seq, "vouched_log": Hash32(b"x" * 32), "vouched_by": b"answer"}
    bo.turn(lambda turn: bo.room.core.save_head(turn, **vouched))
    bo.feed(one)
    assert bo.alarms == []
    bo.feed(two, three)
    assert (bo.status, bo.alarms) == (RoomStatus.FROZEN, [AlarmKind.FORK])
    assert bo.room.core.evidence(bo.vault) == [b"answer"]
    assert bo.texts == ["one", "two"]


def test_a_box_for_what_is_no_rekey_is_passed_over(scene: Scene, bo: Bo) -> None:
    """The relay gives a box with an entry that has come already: an event, or another record."""
    for seq in range(scene.log.seq + 1):
        bo.feed(
            frames.Box(scene.room, seq, b"b" * 300),
            frames.Delivery(scene.room, seq, scene.truth[0].record),
        )
    bo.feed(*scene.truth)
    assert bo.texts == ["one", "two", "three"]
    assert (bo.alarms, bo.dropped) == ([], "")


def test_a_message_sealed_twice_is_shown_once(scene: Scene, bo: Bo) -> None:
    """Both variants are in the log, by a lying relay: the second one is passed over in silence."""
    counter, prev = scene.next_own
    message = outgoing(counter, prev)
    for seq in (scene.log.seq + 1, scene.log.seq + 2):
        made = seal_event(scene.state, scene.ana, scene.keys, message, scene.log.seen)
        bo.feed(frames.Delivery(scene.room, seq, made.signed.envelope, made.cell))
    assert bo.texts == ["hi"]
    told = [event for event in bo.events if not isinstance(event, RoomStateChanged)]
    assert [type(event) for event in told] == [MessageReceived]
    assert [message.unreadable for message in bo.shown()] == [""]
    assert (bo.alarms, bo.dropped) == ([], "")


def test_a_missing_key_is_told_once_for_all_that_waits(scene: Scene, bo: Bo) -> None:
    """When the first message waits for it, not with each one more."""
    rekey = make_boxed_rekey(scene.state, scene.ana, scene.log.seen, NOW)
    seq, envelope = scene.log.seq + 1, rekey.signed.envelope
    state, _ = apply_verified(scene.state, envelope, seq)
    keys = scene.keys.adopt(state.epoch, rekey.key, state.key_commitment)
    log = scene.log.append(seq, envelope)
    bo.feed(frames.Delivery(scene.room, seq, envelope))
    counter, prev = scene.next_own
    told: list[int] = []
    for _ in range(3):
        made = seal_event(state, scene.ana, keys, outgoing(counter, prev), log.seen)
        envelope, seq = made.signed.envelope, seq + 1
        bo.feed(frames.Delivery(scene.room, seq, envelope, made.cell))
        log, counter, prev = log.append(seq, envelope), counter + 1, made.signed.event_id
        told.append(sum(isinstance(event, KeyMissing) for event in bo.events))
    assert [message.unreadable for message in bo.shown()] == ["missing_key"] * 3
    assert told[0] == told[1] == told[2]


def test_a_key_that_comes_late_is_followed_past_other_records(scene: Scene, bo: Bo) -> None:
    """Between the boxed REKEY and now stand a GRANT and a routine REKEY: both keys are there."""
    ana, state, keys, log = scene.ana, scene.state, scene.keys, scene.log
    boxed = make_boxed_rekey(state, ana, log.seen, NOW)
    at = log.seq + 1
    state, _ = apply_verified(state, boxed.signed.envelope, at)
    keys, log = (
        keys.adopt(1, boxed.key, state.key_commitment),
        log.append(at, boxed.signed.envelope),
    )
    grant = make_grant(state, ana, log.seen, NOW, member=scene.bo.mid, role=Role.CO_OWNER)
    state, _ = apply_verified(state, grant.envelope, at + 1)
    log = log.append(at + 1, grant.envelope)
    routine = make_routine_rekey(state, ana, keys, log.seen, NOW)
    for seq, signed in enumerate((boxed.signed, grant, routine.signed), start=at):
        bo.feed(frames.Delivery(scene.room, seq, signed.envelope))
    assert not {1, 2} & bo.room.core.keys.keys.keys()
    box = box_for(boxed, scene.bo.mid)
    again = frames.Delivery(scene.room, at, boxed.signed.envelope)
    bo.feed(frames.Box(scene.room, at, box), again)
    assert 2 in bo.room.core.keys
    assert (bo.alarms, bo.dropped) == ([], "")


def test_an_old_event_of_ones_own_does_not_turn_the_numbers_back(scene: Scene, bo: Bo) -> None:
    """Replayed by the relay: else the next message would bear a number that was used."""
    core = bo.room.core
    (counter, prev), seen = core.next_own(), scene.log.seen
    first = seal_event(scene.state, scene.bo, scene.keys, outgoing(counter, prev), seen)
    message = outgoing(counter + 1, first.signed.event_id)
    second = seal_event(scene.state, scene.bo, scene.keys, message, seen)
    for seq, made in enumerate((first, second, first), start=scene.log.seq + 1):
        bo.feed(frames.Delivery(scene.room, seq, made.signed.envelope, made.cell))
    assert bo.alarms == [AlarmKind.HUB_MISBEHAVES]
    assert core.next_own() == (counter + 2, second.signed.event_id)


def test_what_waits_for_a_later_key_waits_on(scene: Scene, bo: Bo) -> None:
    """A key of an epoch before does not make it lost: its own may still come."""
    ana, state, keys, log = scene.ana, scene.state, scene.keys, scene.log
    given: list[tuple[frames.Box, frames.Delivery]] = []
    for seq in (log.seq + 1, log.seq + 2):
        rekey = make_boxed_rekey(state, ana, log.seen, NOW)
        envelope = rekey.signed.envelope
        state, _ = apply_verified(state, envelope, seq)
        keys = keys.adopt(state.epoch, rekey.key, state.key_commitment)
        log, box = log.append(seq, envelope), box_for(rekey, scene.bo.mid)
        delivery = frames.Delivery(scene.room, seq, envelope)
        given.append((frames.Box(scene.room, seq, box), delivery))
        bo.feed(delivery)
    made = seal_event(state, ana, keys, outgoing(*scene.next_own), log.seen)
    bo.feed(frames.Delivery(scene.room, log.seq + 1, made.signed.envelope, made.cell))
    bo.feed(*given[0])
    assert [message.unreadable for message in bo.shown()] == ["missing_key"]
    bo.feed(*given[1])
    assert bo.texts == ["hi"]


def test_a_key_that_comes_in_time_was_never_lost(scene: Scene, bo: Bo) -> None:
    """Nothing waited for it: nobody is told that a key was found."""
    rekey = make_boxed_rekey(scene.state, scene.ana, scene.log.seen, NOW)
    seq = scene.log.seq + 1
    bo.feed(
        frames.Box(scene.room, seq, box_for(rekey, scene.bo.mid)),
        frames.Delivery(scene.room, seq, rekey.signed.envelope),
    )
    assert 1 in bo.room.core.keys
    assert not any(isinstance(event, KeyFound | KeyMissing) for event in bo.events)
