"""What a client does by itself about encryption keys, its own and those that others box for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import define, evolve

from ofcd.client import AlarmKind, KeyMissing
from ofcd.e2e.chain import apply_verified
from ofcd.e2e.controls import make_grant, make_key_update
from ofcd.e2e.epochs import (
    make_boxed_rekey,
    make_key_answer,
    make_key_request,
    make_routine_rekey,
    open_key_answer,
)
from ofcd.e2e.keys import EpochKeys, MemberKeys
from ofcd.e2e.log import RoomLog
from ofcd.protocol import frames
from ofcd.protocol.ids import PublicKey
from ofcd.protocol.records import KeyRequest, RekeyBoxed, RekeyRoutine, Role, UpdateKey
from ofcd.protocol.room import RoomState
from ofcd.themis import generate_keypair
from ofcd.themis.signed import SignedRecord, peek, sign_record
from tests.client.liar import NOW, Bo, Scene, open_bo

HOUR = 3_600_000
DAY = 24 * HOUR


@define
class Told:
    """What an honest relay delivers to Bo, and what Ana sees."""

    scene: Scene
    bo: Bo
    ana: MemberKeys
    state: RoomState
    keys: EpochKeys
    log: RoomLog

    def records(
        self, signed: SignedRecord, box: bytes | None = None
    ) -> tuple[frames.RelayFrame, ...]:
        """The record is put on the log; the frames that Bo is to be given."""
        seq = self.log.seq + 1
        self.state, _ = apply_verified(self.state, signed.envelope, seq)
        self.log = self.log.append(seq, signed.envelope)
        delivery = frames.Delivery(self.scene.room, seq, signed.envelope)
        return (delivery,) if box is None else (frames.Box(self.scene.room, seq, box), delivery)

    def rekey(self, ts: int) -> tuple[frames.RelayFrame, ...]:
        """Ana makes a boxed rotation at this time of her clock."""
        made = make_boxed_rekey(self.state, self.ana, self.log.seen, ts)
        record = made.signed.record
        assert isinstance(record, RekeyBoxed)
        box = made.boxes[[mid for mid, _ in record.boxes].index(self.scene.bo.mid)]
        given = self.records(made.signed, box)
        self.keys = self.keys.adopt(record.epoch, made.key, record.key_commitment)
        return given

    def update(self, who: MemberKeys, enc_key: bytes) -> tuple[frames.RelayFrame, ...]:
        """UPDATE_E of one of them."""
        key = PublicKey(enc_key)
        return self.records(make_key_update(self.state, who, self.log.seen, NOW, key))

    def passes(self, hours: int) -> list[UpdateKey]:
        """Bo stays for so many hours; the renewals that he makes, each of them acknowledged."""
        made: list[UpdateKey] = []
        for _ in range(hours):
            self.bo.now += HOUR
            for sent in self.bo.turn(lambda turn: None):
                if isinstance(sent, frames.Control):
                    signed = peek(sent.record)
                    assert isinstance(signed.record, UpdateKey)
                    made.append(signed.record)
                    given = self.records(signed)
                    ack = frames.Ack(sent.rid, signed.event_id, self.log.seq, self.log.log)
                    self.bo.feed(ack, *given)
        return made


@pytest.fixture
def told(scene: Scene, tmp_path: Path) -> Iterator[Told]:
    """Bo is caught up, and nothing is due."""
    with open_bo(scene, tmp_path / "bo.vault") as bo:
        bo.chance = 0.5
        bo.now = scene.state.members[scene.bo.mid].renewed_ts + HOUR
        bo.connect()
        assert bo.room.is_live
        yield Told(scene, bo, scene.ana, scene.state, scene.keys, scene.log)


def asked(bo: Bo) -> list[KeyRequest]:
    """What Bo asks owners for in a turn."""
    sent = bo.turn(lambda turn: None)
    found = [peek(frame.record).record for frame in sent if isinstance(frame, frames.KeyRequest)]
    return [record for record in found if isinstance(record, KeyRequest)]


# -- when ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ahead", [0, 400 * DAY], ids=["", "by a clock that is a year ahead"])
def test_a_key_is_renewed_after_a_day_of_use_and_once(told: Told, ahead: int) -> None:
    """After the admission, and after each boxed rotation, whatever the owner's clock says."""
    bo = told.bo
    assert told.passes(22) == []
    assert len(told.passes(4)) == 1
    core = bo.room.core
    assert core.holds_own_key
    assert told.passes(3 * 24) == []
    assert core.mine.others == ()
    bo.feed(*told.rekey(bo.now + ahead))
    [renewed] = told.passes(3)
    assert told.passes(3 * 24) == []
    assert told.state.members[bo.room.core.me].enc_key == renewed.enc_key == core.mine.enc_key
    assert AlarmKind.KEY_MISMATCH not in bo.alarms


def test_a_clock_that_was_ahead_puts_no_renewal_off(told: Told) -> None:
    """Bo's own was, by a year, when he renewed; it is set right, and the next is as soon as due."""
    bo = told.bo
    bo.now += 365 * DAY
    assert len(told.passes(2)) == 1
    bo.now -= 365 * DAY
    bo.feed(*told.rekey(bo.now))
    assert len(told.passes(3)) == 1
    assert told.passes(2) == []
    assert bo.room.core.mine.others == ()


# -- a key that was lost ---------------------------------------------------------------------------


def test_who_finds_its_key_replaced_says_so_and_renews_it(told: Told) -> None:
    """By a vault that was put back, or by a thief: once, and before all else."""
    bo = told.bo
    sent = bo.feed(*told.update(told.scene.bo, generate_keypair().public))
    assert bo.alarms == [AlarmKind.KEY_REPLACED]
    [made] = [peek(frame.record).record for frame in sent if isinstance(frame, frames.Control)]
    assert isinstance(made, UpdateKey)
    assert made.enc_key in {pair.public for pair in bo.room.core.mine.others}
    bo.now += HOUR
    bo.turn(lambda turn: None)
    assert bo.alarms == [AlarmKind.KEY_REPLACED]


def test_a_pair_that_somebody_else_has_taken_is_made_anew(told: Told) -> None:
    """A relay showed Bo's record to Ana, and took hers first."""
    bo = told.bo
    sent = bo.feed(*told.update(told.scene.bo, generate_keypair().public))
    [first] = [frame for frame in sent if isinstance(frame, frames.Control)]
    made = peek(first.record).record
    assert isinstance(made, UpdateKey)
    stolen = told.update(told.ana, made.enc_key)
    conflict = frames.Failure(first.rid, "conflict", "", seq=told.log.seq)
    sent = [*bo.feed(conflict), *bo.feed(*stolen)]
    [second] = [frame for frame in sent if isinstance(frame, frames.Control)]
    again = peek(second.record)
    assert isinstance(again.record, UpdateKey)
    assert again.record.enc_key != made.enc_key
    given = told.records(again)
    bo.feed(frames.Ack(second.rid, again.event_id, told.log.seq, told.log.log), *given)
    core = bo.room.core
    assert core.holds_own_key
    assert made.enc_key not in {pair.public for pair in core.mine.held}


def test_a_box_for_a_lost_key_is_missed_and_no_alarm_of_its_own(told: Told) -> None:
    """The vault was put back: what it can not open was made for a key that it has not."""
    bo = told.bo
    bo.feed(*told.update(told.scene.bo, generate_keypair().public), *told.rekey(NOW))
    assert bo.alarms == [AlarmKind.KEY_REPLACED]
    assert [type(event) for event in bo.events if isinstance(event, KeyMissing)] == [KeyMissing]
    assert bo.room.core.evidence(bo.vault) == []


def test_a_lost_key_excuses_nothing_else(told: Told) -> None:
    """Another box than the signed one is still the relay's doing, and a false cell an owner's."""
    bo = told.bo
    bo.feed(*told.update(told.scene.bo, generate_keypair().public))
    made = make_routine_rekey(told.state, told.ana, told.keys, told.log.seen, NOW)
    record = made.signed.record
    assert isinstance(record, RekeyRoutine)
    false = sign_record(told.ana.sign.private, evolve(record, cell=bytes(len(record.cell))))
    bo.feed(*told.records(false))
    assert bo.alarms == [AlarmKind.KEY_REPLACED, AlarmKind.KEY_MISMATCH]
    told.keys = told.keys.adopt(record.epoch, made.key, record.key_commitment)
    _, delivery = told.rekey(NOW)
    bo.feed(frames.Box(told.scene.room, told.log.seq, b"another box"), delivery)
    assert bo.alarms[1:] == [AlarmKind.KEY_MISMATCH] * 2


def test_a_box_that_does_not_open_by_the_key_held_is_an_alarm(told: Told) -> None:
    """An owner made it so."""
    bo, members = told.bo, told.state.members
    false = evolve(members[told.scene.bo.mid], enc_key=PublicKey(generate_keypair().public))
    honest = told.state
    told.state = evolve(honest, members={**members, false.mid: false})
    made = make_boxed_rekey(told.state, told.ana, told.log.seen, NOW)
    record = made.signed.record
    assert isinstance(record, RekeyBoxed)
    box = made.boxes[[mid for mid, _ in record.boxes].index(false.mid)]
    told.state = honest
    bo.feed(*told.records(made.signed, box))
    assert bo.alarms == [AlarmKind.KEY_MISMATCH]
    assert bo.room.core.evidence(bo.vault) == [made.signed.envelope]


# -- KEY_REQ beside UPDATE_E -----------------------------------------------------------------------


def test_an_answer_that_crossed_a_renewal_is_asked_for_anew(told: Told) -> None:
    """By another request: the relay keeps one answer to each, and that does not open."""
    bo = told.bo
    [delivery] = [f for f in told.rekey(NOW) if isinstance(f, frames.Delivery)]
    sent = bo.feed(delivery)
    [first] = [frame.record for frame in sent if isinstance(frame, frames.KeyRequest)]
    member = told.state.members[told.scene.bo.mid]
    crossed = evolve(
        told.state,
        members={
            **told.state.members,
            member.mid: evolve(member, enc_key=PublicKey(generate_keypair().public)),
        },
    )
    answer, box = make_key_answer(crossed, told.ana, told.keys, first)
    bo.feed(frames.KeyAnswered(told.scene.room, answer.envelope, box))
    assert asked(bo) == []
    bo.now += 31_000
    [again] = asked(bo)
    before = peek(first).record
    assert isinstance(before, KeyRequest)
    assert again.nonce != before.nonce
    second = bo.room.core.head.key_request
    answer, box = make_key_answer(told.state, told.ana, told.keys, second)
    bo.feed(frames.KeyAnswered(told.scene.room, answer.envelope, box))
    assert told.state.epoch in bo.room.core.keys
    assert bo.alarms == []


def test_who_asks_is_answered_once_all_before_it_is_here(scene: Scene, tmp_path: Path) -> None:
    """Bo is an owner, and comes back; Ana lost her key, and renewed hers: for that it is boxed."""
    with open_bo(scene, tmp_path / "bo.vault") as bo:
        bo.now = scene.state.members[scene.bo.mid].renewed_ts + HOUR
        bo.connect()
        told = Told(scene, bo, scene.ana, scene.state, scene.keys, scene.log)
        grant = make_grant(
            told.state, told.ana, told.log.seen, NOW, member=scene.bo.mid, role=Role.CO_OWNER
        )
        bo.feed(*told.records(grant))
        bo.machine.link_down()
        bo.scene = evolve(scene, log=told.log)
        pair = generate_keypair()
        renewal = told.update(told.ana, pair.public)
        ana = told.ana.holding(pair).turned_to(PublicKey(pair.public))
        request = make_key_request(told.state, ana, NOW)
        bo.connect((told.log.seq, told.log.log))
        early = bo.feed(frames.KeyAsked(scene.room, request.envelope))
        assert bo.room.core.head.seq < told.log.seq
        sent = bo.feed(*renewal)
        assert bo.room.is_live
        [answer] = [frame for frame in (*early, *sent) if isinstance(frame, frames.KeyAnswer)]
        keys = EpochKeys(scene.keys.nonce)
        found = open_key_answer(told.state, ana, keys, request, answer.record, answer.box)
        assert found.get(0) == scene.keys.get(0)
