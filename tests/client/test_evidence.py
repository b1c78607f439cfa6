"""What a client does when its relay says that the room's own one shows two histories."""

from __future__ import annotations

import pytest
from attrs import evolve

from ofcd.client import AlarmKind, RoomStatus
from ofcd.client.events import Alarm
from ofcd.client.evidence import EvidenceDesk
from ofcd.client.turn import Turn
from ofcd.protocol import frames
from ofcd.protocol.ids import Hash32, PublicKey
from ofcd.protocol.records import Event, LogHead, Record, Seen
from ofcd.themis import KeyPair, generate_keypair
from ofcd.themis.signed import peek, sign_record
from tests.client.liar import NOW, Bo, Scene, say

WRONG, OTHER = Hash32(b"\x07" * 32), Hash32(b"\x08" * 32)


def evidence(scene: Scene, by: KeyPair, *records: Record) -> frames.Evidence:
    """What Bo's relay shows, with the key that it says to be the hub's."""
    envelopes = tuple(sign_record(by.private, record).envelope for record in records)
    return frames.Evidence(scene.room, "fork", key=PublicKey(by.public), records=envelopes)


def head(scene: Scene, log: Hash32, seq: int | None = None) -> LogHead:
    return LogHead(1, scene.room, 0, scene.log.seq if seq is None else seq, log, NOW)


def texts(bo: Bo) -> list[str]:
    return [event.text for event in bo.events if isinstance(event, Alarm)]


def test_two_heads_of_the_hub_freeze_the_room(scene: Scene, bo: Bo) -> None:
    """Kept, and said in words; nothing more is sent."""
    shown = evidence(scene, scene.relay, head(scene, WRONG), head(scene, OTHER))
    bo.feed(shown)
    assert (bo.status, bo.alarms) == (RoomStatus.FROZEN, [AlarmKind.FORK])
    assert bo.room.core.evidence(bo.vault) == list(shown.records)
    assert "has signed two different logs up to entry" in texts(bo)[0]


def test_a_member_who_was_shown_another_log_freezes_it(scene: Scene, bo: Bo) -> None:
    """By their own signature; they are named."""
    event = peek(say(scene, "hi").record).record
    assert isinstance(event, Event)
    bo.feed(evidence(scene, scene.ana.sign, evolve(event, seen=Seen(event.seen.seq, WRONG))))
    assert (bo.status, bo.alarms) == (RoomStatus.FROZEN, [AlarmKind.FORK])
    assert texts(bo)[0].startswith("Ana has signed another log up to entry")


def test_false_evidence_freezes_nothing(scene: Scene, bo: Bo) -> None:
    """Signed by nobody it should be, or proving nothing: told once, and all goes on."""
    stranger = generate_keypair()
    bo.feed(evidence(scene, stranger, head(scene, WRONG), head(scene, OTHER)))
    true = head(scene, scene.log.log)
    bo.feed(evidence(scene, scene.relay, true, evolve(true, ts=NOW + 1)))
    bo.feed(frames.Evidence(scene.room, "fork", records=(b"junk",)))
    bo.feed(frames.Evidence(scene.room, "fork", records=()))
    assert (bo.status, bo.alarms) == (RoomStatus.ACTIVE, [AlarmKind.UNPROVEN])
    assert bo.room.core.evidence(bo.vault) == []
    bo.feed(*scene.truth)
    assert bo.texts == ["one", "two", "three"]


def test_what_is_about_an_entry_to_come_is_judged_then(scene: Scene, bo: Bo) -> None:
    """Neither frozen nor rejected before; by the log that has come to be."""
    ahead = head(scene, WRONG, scene.log.seq + 1)
    bo.feed(evidence(scene, scene.relay, ahead))
    assert (bo.status, bo.alarms) == (RoomStatus.ACTIVE, [])
    bo.feed(scene.truth[0])
    assert (bo.status, bo.alarms) == (RoomStatus.FROZEN, [AlarmKind.FORK])


@pytest.mark.parametrize("comes", [True, False], ids=["and agrees", "and never comes"])
def test_what_is_about_an_entry_to_come_may_prove_nothing(
    scene: Scene, bo: Bo, comes: bool
) -> None:
    """The log comes there and is the same, or it does not come: the relay's word alone."""
    log = scene.log.append(scene.log.seq + 1, scene.truth[0].record).log
    desk = EvidenceDesk(bo.room.core)
    shown = evidence(scene, scene.relay, head(scene, log, scene.log.seq + 1))
    if comes:
        bo.feed(shown, scene.truth[0])
        assert (bo.status, bo.alarms) == (RoomStatus.ACTIVE, [AlarmKind.UNPROVEN])
        return
    with bo.vault.transaction() as tx:
        turn = Turn(NOW, tx, lambda: 0.0, bo.machine)
        assert shown.key is not None
        desk.shown(turn, shown.key, shown.records)
        due = desk.deadline()
        assert due is not None
        turn.now = due - 1
        desk.pump(turn)
        assert turn.events == []
        turn.now = due
        desk.pump(turn)
    assert [e.kind for e in turn.events if isinstance(e, Alarm)] == [AlarmKind.UNPROVEN]
    assert desk.deadline() is None
