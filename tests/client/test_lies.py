"""A relay that lies about more than the log: acks, answers, floods (liar.py)."""

from __future__ import annotations

from pathlib import Path

import pytest
from attrs import evolve

from ofcd.client import AlarmKind, RoomStatus
from ofcd.client.phase import Phase
from ofcd.client.proofs import Shows
from ofcd.client.turn import Turn
from ofcd.e2e.bodies import Reaction, Redaction, Text
from ofcd.e2e.errors import LogBroken
from ofcd.e2e.events import Outgoing, seal_event
from ofcd.e2e.keys import new_sid
from ofcd.e2e.log import RoomLog
from ofcd.protocol import frames
from ofcd.protocol.ids import EventId, Hash32, PublicKey, relay_id_of
from ofcd.protocol.records import Event, LogHead
from ofcd.themis import generate_keypair
from ofcd.themis.signed import peek, sign_record
from tests.client.liar import NOW, Bo, Scene, attach_at, open_bo, say


def post(bo: Bo, text: str = "mine") -> frames.Post:
    """Bo's client says something; what it sends the relay."""

    def queue(turn: Turn) -> None:
        bo.room.outbox.queue(turn.records, Text(text), new_sid(), NOW)

    bo.turn(queue)
    [sent] = [f for f in bo.turn(lambda turn: None) if isinstance(f, frames.Post)]
    return sent


def delivered(scene: Scene, seq: int, sent: frames.Post) -> frames.Delivery:
    return frames.Delivery(scene.room, seq, sent.record, sent.cell)


def test_an_ack_of_something_else_is_no_ack(scene: Scene, bo: Bo) -> None:
    """It names another event: the message stays queued, and its sender's chain as it was."""
    sent, head = post(bo), bo.room.core.head
    bo.feed(frames.Ack(sent.rid, EventId(b"x" * 32), scene.log.seq + 1, Hash32(bytes(32))))
    assert bo.dropped
    assert bo.room.outbox.items
    assert bo.room.core.head.last == head.last


def test_an_acked_message_that_is_not_in_the_log_is_found_out(scene: Scene, bo: Bo) -> None:
    """Acknowledged as an entry where another one is delivered then: it was said by nobody who
    signed it, so the room waits; once, for what was said is not asked of the relay again."""
    sent = post(bo)
    event_id, seq = peek(sent.record).event_id, scene.log.seq + 1
    log = RoomLog.resumed(scene.room, scene.log.seq, scene.log.log).append(seq, sent.record).log
    bo.feed(frames.Ack(sent.rid, event_id, seq, log))
    assert not bo.room.outbox.items
    bo.feed(scene.truth[0])
    assert bo.room.phase is Phase.WAITING
    assert bo.room.waits_for is not None
    assert "its log of this room is another one" in str(bo.room.waits_for)


@pytest.mark.parametrize("code", ["forbidden", "try_again", "counter_gap"])
@pytest.mark.parametrize("early", [False, True])
def test_an_ack_of_what_follows_is_one_of_what_came_before(
    scene: Scene, bo: Bo, code: str, early: bool
) -> None:
    """The second names the first, so both are in: a refusal of the first, before or after that, is
    no reason to say it again."""
    posts = [post(bo, "first"), post(bo, "second")]
    ids = [peek(sent.record).event_id for sent in posts]
    log = RoomLog.resumed(scene.room, scene.log.seq, scene.log.log)
    for offset, sent in enumerate(posts, start=1):
        log = log.append(scene.log.seq + offset, sent.record)
    refusal = frames.Failure(posts[0].rid, code, "no", retry_after=1)
    ack = frames.Ack(posts[1].rid, ids[1], scene.log.seq + 2, log.log)
    said = bo.feed(*((refusal, ack) if early else (ack, refusal)))
    assert not [frame for frame in said if isinstance(frame, frames.Post)]
    for offset, sent in enumerate(posts, start=1):
        bo.feed(delivered(scene, scene.log.seq + offset, sent))
    assert bo.room.outbox.items == []
    assert (bo.texts, bo.alarms, bo.dropped) == (["first", "second"], [], "")


def test_no_relay_is_heeded_for_longer_than_ten_minutes(scene: Scene, bo: Bo) -> None:
    """Who names the year 37,000 is asked again all the same."""
    sent = post(bo)
    bo.feed(frames.Failure(sent.rid, "rate_limited", "later", retry_after=2**50))
    bo.now += 600_000
    said = bo.turn(lambda turn: None)
    assert [frame.record for frame in said if isinstance(frame, frames.Post)] == [sent.record]


@pytest.mark.parametrize("answered", [False, True])
def test_a_link_on_which_nothing_is_answered_is_left(scene: Scene, bo: Bo, answered: bool) -> None:
    """It may be open and deaf: what was asked is asked again on a new one, two minutes later."""
    sent = post(bo)
    due = bo.machine.deadline()
    assert due is not None
    assert due <= NOW + 120_000
    if answered:
        bo.feed(frames.Failure(sent.rid, "try_again", "later", retry_after=3_600_000))
    drops = []
    for now in (NOW + 119_999, NOW + 120_000):
        with bo.vault.transaction() as tx:
            turn = Turn(now, tx, lambda: 0.0, bo.machine)
            bo.machine.pump(turn)
        drops.append(turn.drop)
    assert drops == ["", "" if answered else "the relay does not answer"]


def test_an_ack_and_its_delivery_agree(scene: Scene, bo: Bo) -> None:
    """Then nobody is alarmed, whichever came first."""
    sent = post(bo)
    event_id, seq = peek(sent.record).event_id, scene.log.seq + 1
    log = RoomLog.resumed(scene.room, scene.log.seq, scene.log.log).append(seq, sent.record).log
    bo.feed(frames.Ack(sent.rid, event_id, seq, log), delivered(scene, seq, sent))
    assert (bo.alarms, bo.texts, bo.dropped) == ([], ["mine"], "")


def test_a_relay_that_lost_an_acked_message_is_behind(scene: Scene, bo: Bo) -> None:
    """Acknowledged, not delivered, and gone on the next link: nothing more is sent."""
    sent = post(bo)
    event_id, seq = peek(sent.record).event_id, scene.log.seq + 1
    bo.feed(frames.Ack(sent.rid, event_id, seq, Hash32(b"l" * 32)))
    bo.machine.link_down()
    attach_at(bo, scene, scene.log.seq, scene.log.log)
    assert bo.room.phase is Phase.WAITING
    assert "has lost part of the room log" in str(bo.room.waits_for)


def test_what_the_relay_has_as_the_last_event_is_accepted(scene: Scene, bo: Bo) -> None:
    """Taken, its Ack lost, its sid no longer kept: the outbox drains all the same."""
    sent = post(bo)
    event_id = peek(sent.record).event_id
    bo.feed(frames.Failure(sent.rid, "counter_gap", "gap", event_id=event_id))
    assert bo.room.outbox.items == []
    assert bo.room.core.head.last == event_id


def test_a_word_on_our_last_event_is_not_believed_over_the_log(
    scene: Scene, tmp_path: Path
) -> None:
    """Bo has missed nothing, so he knows his own last event: no word of the relay replaces it."""
    with open_bo(scene, tmp_path / "v") as bo:
        before = bo.room.core.next_own()
        assert before[0] < scene.log.seq
        bo.connect(last=(scene.log.seq, EventId(b"false" + bytes(27))))
        assert bo.room.is_live
        event = peek(post(bo).record).record
        assert isinstance(event, Event)
        assert (event.counter, event.prev) == before


@pytest.mark.parametrize("more", [1, 2**53 - 1])
def test_no_member_has_more_events_than_the_log_has_entries(
    scene: Scene, tmp_path: Path, more: int
) -> None:
    """A larger counter is no word to go by: the link is dropped, and nothing is kept of it."""
    with open_bo(scene, tmp_path / "v") as bo:
        counter = min(scene.log.seq + more, 2**53 - 1)
        bo.connect(last=(counter, EventId(b"false" + bytes(27))))
        assert bo.dropped == "bad_frame"
        assert not bo.room.is_live


def test_a_false_word_on_our_last_event_shows_at_the_others_as_the_relays(
    scene: Scene, tmp_path: Path
) -> None:
    """After a stretch nobody keeps any more Bo goes by it; Ana's next event by a false one alarms
    whoever knows better, about the relay, and is read."""
    with open_bo(scene, tmp_path / "v") as bo:
        bo.connect()
        one, *_ = scene.truth
        bo.feed(one)
        counter, _ = scene.next_own
        false = Outgoing(Text("after a lie"), new_sid(), counter + 7, EventId(bytes(32)), NOW)
        log = RoomLog.resumed(scene.room, scene.log.seq, scene.log.log).append(one.seq, one.record)
        sealed = seal_event(scene.state, scene.ana, scene.keys, false, log.seen)
        bo.feed(frames.Delivery(scene.room, one.seq + 1, sealed.signed.envelope, sealed.cell))
        assert bo.alarms == [AlarmKind.HUB_MISBEHAVES]
        assert bo.texts == ["one", "after a lie"]


def test_no_late_answer_revives_a_frozen_room(scene: Scene, tmp_path: Path) -> None:
    """Frozen between Attach and Attached: it stays frozen."""
    with open_bo(scene, tmp_path / "v") as bo:
        limits = frames.RelayLimits(65536, 1 << 26, 500, 20, 64)
        welcome = frames.Welcome(1, Hash32(bytes(32)), limits, NOW)
        key, own = PublicKey(scene.relay.public), PublicKey(generate_keypair().public)
        [attach] = bo.turn(
            lambda turn: bo.machine.link_up(turn, relay_id_of(key), key, own, welcome)
        )
        assert isinstance(attach, frames.Attach)
        head = LogHead(1, scene.room, 0, scene.log.seq, Hash32(b"other" + bytes(27)), NOW)
        bo.feed(frames.Head(scene.room, sign_record(scene.relay.private, head).envelope))
        assert bo.status is RoomStatus.FROZEN
        bo.feed(frames.Attached(attach.rid, scene.room, scene.log.seq, scene.log.log, 0))
        assert bo.status is RoomStatus.FROZEN


def test_a_room_that_can_not_be_attached_now_is_tried_again(scene: Scene, tmp_path: Path) -> None:
    """The relay's trouble with one room is not that of the link: later, and later still."""
    with open_bo(scene, tmp_path / "v") as bo:
        limits = frames.RelayLimits(65536, 1 << 26, 500, 20, 64)
        welcome = frames.Welcome(1, Hash32(bytes(32)), limits, NOW)
        key, own = PublicKey(scene.relay.public), PublicKey(generate_keypair().public)
        [attach] = bo.turn(
            lambda turn: bo.machine.link_up(turn, relay_id_of(key), key, own, welcome)
        )
        now, waits = NOW, []
        for code in ("rate_limited", "internal", "storage_failed"):
            assert isinstance(attach, frames.Attach)
            bo.feed(frames.Failure(attach.rid, code, "not now"))
            due = bo.room.deadline()
            assert due is not None
            waits.append(due - now)
            with bo.vault.transaction() as tx:
                turn = Turn(due, tx, lambda: 0.0, bo.machine)
                bo.machine.pump(turn)
            [attach] = turn.frames
        assert not bo.dropped
        assert waits == sorted(waits)
        assert len(set(waits)) == 3


def test_no_attempt_that_waits_revives_a_room_that_was_stopped(
    scene: Scene, tmp_path: Path
) -> None:
    """Told to come later, then that Bo is out: on this link that is the last word."""
    with open_bo(scene, tmp_path / "v") as bo:
        limits = frames.RelayLimits(65536, 1 << 26, 500, 20, 64)
        welcome = frames.Welcome(1, Hash32(bytes(32)), limits, NOW)
        key, own = PublicKey(scene.relay.public), PublicKey(generate_keypair().public)
        [attach] = bo.turn(
            lambda turn: bo.machine.link_up(turn, relay_id_of(key), key, own, welcome)
        )
        assert isinstance(attach, frames.Attach)
        bo.feed(frames.Failure(attach.rid, "try_again", "not now"))
        due = bo.room.deadline()
        assert due is not None
        bo.feed(frames.Removed(scene.room, "evicted", b"junk"))
        assert bo.room.deadline() is None
        with bo.vault.transaction() as tx:
            turn = Turn(due, tx, lambda: 0.0, bo.machine)
            bo.machine.pump(turn)
        assert turn.frames == []


def test_what_was_read_before_a_gap_is_not_shown_again_after_it(
    scene: Scene, tmp_path: Path
) -> None:
    """The relay claims that history is gone and delivers an old event as a new one."""
    with open_bo(scene, tmp_path / "v") as bo:
        bo.connect()
        one, two, three = scene.truth
        bo.feed(one, two)
        bo.machine.link_down()
        log = Hash32(b"l" * 32)
        attach_at(bo, scene, three.seq + 9, log)
        [sync] = bo.syncs
        floor = three.seq + 5
        synced = frames.Synced(sync.rid, scene.room, sync.start, floor, log, floor)
        [chain_get] = bo.feed(synced)
        assert isinstance(chain_get, frames.ChainGet)
        [again] = bo.feed(frames.ChainPage(chain_get.rid, scene.room, (), False, ()))
        assert isinstance(again, frames.Sync)
        bo.feed(evolve(synced, rid=again.rid), evolve(one, seq=floor))
        assert bo.texts == ["one", "two"]
        assert AlarmKind.HUB_MISBEHAVES in bo.alarms


def test_after_a_gap_and_a_restart_nobody_is_accused(scene: Scene, tmp_path: Path) -> None:
    """Events that retention took are no gap in their sender's chain."""
    path = tmp_path / "v"
    with open_bo(scene, path) as bo:
        bo.connect()
        one, two, three = scene.truth
        bo.feed(one)
        bo.machine.link_down()
        log = RoomLog.resumed(scene.room, scene.log.seq, scene.log.log)
        for gone in (one, two):
            log = log.append(gone.seq, gone.record)
        attach_at(bo, scene, three.seq, log.log)
        [sync] = bo.syncs
        synced = frames.Synced(sync.rid, scene.room, sync.start, three.seq, log.log, three.seq)
        [chain_get] = bo.feed(synced)
        assert isinstance(chain_get, frames.ChainGet)
        [again] = bo.feed(frames.ChainPage(chain_get.rid, scene.room, (), False, ()))
        assert isinstance(again, frames.Sync)
        bo.feed(evolve(synced, rid=again.rid))
        bo.machine.load(bo.vault, [scene.room], [])
        bo.connect(attached=(three.seq, log.log))
        bo.feed(three)
        assert bo.texts == ["one", "three"]
        assert bo.alarms == []


def test_an_event_once_more_does_not_take_the_place_of_the_first(scene: Scene, bo: Bo) -> None:
    """A redaction still finds the message that was said, not its replay."""
    one, two, three = scene.truth
    counter, prev = scene.next_own[0] + 3, peek(three.record).event_id
    replayed = evolve(one, seq=three.seq + 1)
    log = RoomLog.resumed(scene.room, scene.log.seq, scene.log.log)
    for frame in (one, two, three, replayed):
        log = log.append(frame.seq, frame.record)
    redaction = Outgoing(Redaction(peek(one.record).event_id), new_sid(), counter, prev, NOW)
    sealed = seal_event(scene.state, scene.ana, scene.keys, redaction, log.seen)
    bo.feed(
        *(one, two, three, replayed),
        frames.Delivery(scene.room, log.seq + 1, sealed.signed.envelope, sealed.cell),
    )
    assert bo.shown()[0].redacted_by == scene.ana.mid


def test_reactions_to_one_message_are_bounded(scene: Scene, bo: Bo) -> None:
    """A member who puts on ever new ones fills no vault."""
    bo.feed(*scene.truth)
    log = RoomLog.resumed(scene.room, scene.log.seq, scene.log.log)
    for frame in scene.truth:
        log = log.append(frame.seq, frame.record)
    counter, prev = scene.next_own[0] + 3, peek(scene.truth[-1].record).event_id
    target = peek(scene.truth[0].record).event_id
    for number in range(200):
        one = Outgoing(Reaction(target, f"+{number}"), new_sid(), counter, prev, NOW)
        sealed = seal_event(scene.state, scene.ana, scene.keys, one, log.seen)
        frame = frames.Delivery(scene.room, log.seq + 1, sealed.signed.envelope, sealed.cell)
        bo.feed(frame)
        log, counter, prev = log.append(frame.seq, frame.record), counter + 1, sealed.event_id
    assert AlarmKind.HUB_MISBEHAVES not in bo.alarms
    assert 0 < len(bo.shown()[0].reactions) < 100


def test_evidence_is_bounded(scene: Scene, bo: Bo) -> None:
    """The first pieces tell enough: a relay that goes on lying fills no vault."""
    bo.feed(*scene.truth)
    start = scene.truth[-1].seq + 1
    for number in range(100):
        bo.feed(evolve(scene.truth[0], seq=start + number))
    assert 0 < len(bo.room.core.evidence(bo.vault)) < 100


def _fill_with_junk(bo: Bo) -> list[bytes]:
    junk = [bytes([number]) * 40 for number in range(100)]
    core = bo.room.core

    def keep(turn: Turn) -> None:
        for one in junk:
            core.keep_evidence(turn, (one,), Shows.JUNK)

    bo.turn(keep)
    assert len(core.evidence(bo.vault)) == 8
    return junk


def test_of_what_does_not_verify_little_is_kept(scene: Scene, bo: Bo) -> None:
    """A relay makes as much of it as it likes."""
    _fill_with_junk(bo)
    bo.feed(frames.Delivery(scene.room, scene.log.seq + 1, b"no record at all"))
    assert bo.room.waits_for is not None
    assert len(bo.room.core.evidence(bo.vault)) == 8


def test_what_anybody_can_make_keeps_no_proof_out(scene: Scene, bo: Bo) -> None:
    """Neither do records that were delivered before: what freezes the room has its own places."""
    core = bo.room.core
    junk = _fill_with_junk(bo)
    bo.feed(*scene.truth)
    start = scene.truth[-1].seq + 1
    for number in range(100):
        record = say(scene, str(number), counter=1, ts=number).record
        bo.feed(frames.Delivery(scene.room, start + number, record))
    full = len(core.evidence(bo.vault))
    assert sum(one in junk for one in core.evidence(bo.vault)) == 8
    assert full < 100
    heads = [LogHead(1, scene.room, 0, 10**6, Hash32(log * 32), NOW) for log in (b"a", b"b")]
    signed = [sign_record(scene.relay.private, head).envelope for head in heads]
    bo.feed(*(frames.Head(scene.room, one) for one in signed))
    assert bo.status is RoomStatus.FROZEN
    assert core.evidence(bo.vault)[:2] == signed
    assert len(core.evidence(bo.vault)) == full + 2


def test_a_relay_that_asks_for_ever_and_never_answers_is_left(scene: Scene, bo: Bo) -> None:
    """The same key request pushed again and again: what waits for an answer is bounded."""
    machine = bo.machine

    def flood(turn: Turn) -> None:
        for _ in range(100_000):
            machine.ask(turn, lambda rid: frames.Detach(rid, scene.room), lambda _, __: None)
            if turn.drop:
                break

    bo.turn(flood)
    assert bo.dropped


@pytest.mark.parametrize("behind", [0, 1022, 1023])
def test_the_oldest_seen_that_a_relay_takes_is_no_offence(behind: int) -> None:
    """Client and relay remember equally far back: 1024 entries before the event's own."""
    room = b"r" * 32
    log = RoomLog.resumed(room, 0, Hash32(room))  # type: ignore[arg-type]
    keys = generate_keypair()
    seen = []
    for seq in range(1, 1200):
        seen.append(log.seen)
        head = LogHead(1, room, 0, seq, Hash32(bytes(32)), NOW)  # type: ignore[arg-type]
        log = log.append(seq, sign_record(keys.private, head).envelope)
    log.check_seen(log.seq, seen[-1 - behind], b"")
    with pytest.raises(LogBroken):
        log.check_seen(log.seq, seen[-1 - 1024], b"")
