"""A relay that says what does not fit, and proves nothing (docs/protocol.md, Word and proof)."""

from __future__ import annotations

from functools import partial

import pytest
from attrs import evolve

from ofcd.client import AlarmKind, RoomStatus
from ofcd.client.core import load_core
from ofcd.client.model import Head, load, save
from ofcd.client.turn import Turn
from ofcd.client.waiting import COPY_PATIENCE, HUB_PATIENCE, is_copy
from ofcd.e2e.errors import Fault, LogBroken
from ofcd.protocol import frames
from ofcd.protocol.ids import Hash32, RelayId
from ofcd.protocol.room import HubTerm
from tests.client.liar import NOW, Bo, Scene, attach_at
from tests.client.test_lies import post

ELSEWHERE = RelayId(b"e" * 32)
OTHER = Hash32(b"o" * 32)


def at_a_follower(bo: Bo) -> None:
    """Bo's relay is not the room's hub, as far as his client knows."""
    core = bo.room.core
    core.identity = evolve(core.identity, relay_id=ELSEWHERE, hub_url="wss://hub.example")


def asked_again(bo: Bo) -> frames.Attach:
    """What Bo's client asks when it is next due; nothing else."""
    due = bo.machine.deadline()
    assert due is not None
    assert bo.now < due <= bo.now + 72_000
    bo.now = due
    [attach] = bo.turn(lambda turn: None)
    assert isinstance(attach, frames.Attach)
    return attach


def before(scene: Scene) -> tuple[int, Hash32]:
    """Where the log was an entry ago, and L there."""
    known = scene.log.hash_at(scene.log.seq - 1)
    assert known is not None
    return scene.log.seq - 1, known


def behind(bo: Bo, scene: Scene, attach: frames.Attach) -> list[frames.ClientFrame]:
    return bo.feed(frames.Attached(attach.rid, scene.room, *before(scene), 0))


def fits(bo: Bo, scene: Scene, attach: frames.Attach) -> list[frames.ClientFrame]:
    """The relay's log is Bo's: what his client says then."""
    [sync] = bo.feed(frames.Attached(attach.rid, scene.room, scene.log.seq, scene.log.log, 0))
    assert isinstance(sync, frames.Sync)
    answer = (sync.rid, scene.room, sync.start, sync.start, scene.log.log, scene.log.seq)
    said = bo.feed(frames.Synced(*answer))
    assert bo.room.is_live
    return said


def posted_again(bo: Bo, scene: Scene) -> frames.Post:
    """What was refused: on the same link, when it is due."""
    said = fits(bo, scene, asked_again(bo))
    if not said:
        due = bo.room.outbox.deadline()
        assert due is not None
        bo.now = due
        said = bo.turn(lambda turn: None)
    [again] = said
    assert isinstance(again, frames.Post)
    return again


def test_a_copy_that_is_behind_is_asked_until_it_has_caught_up(scene: Scene, bo: Bo) -> None:
    """No alarm, nothing frozen; then it goes on as if nothing had been."""
    bo.machine.link_down()
    at_a_follower(bo)
    attach_at(bo, scene, *before(scene))
    assert behind(bo, scene, asked_again(bo)) == []
    assert (bo.status, bo.alarms, bo.room.is_live) == (RoomStatus.ACTIVE, [], False)
    attach = asked_again(bo)
    [sync] = bo.feed(frames.Attached(attach.rid, scene.room, scene.log.seq, scene.log.log, 0))
    assert isinstance(sync, frames.Sync)
    refused = frames.Failure(sync.rid, "hub_behind", "behind", seq=scene.log.seq - 1)
    assert bo.feed(refused) == []  # its copy was read anew meanwhile
    fits(bo, scene, asked_again(bo))
    assert bo.alarms == []
    bo.machine.link_down()
    bo.now += COPY_PATIENCE
    attach_at(bo, scene, *before(scene))
    assert bo.alarms == []  # the time of before is over
    assert bo.machine.deadline() in range(bo.now, bo.now + 1_300)


def test_a_relay_that_keeps_one_in_the_past_is_told_of_once(scene: Scene, bo: Bo) -> None:
    """After minutes, however often it hangs up; it is still asked, and nothing is sent."""
    bo.machine.link_down()
    at_a_follower(bo)
    attach_at(bo, scene, *before(scene))
    while bo.now < NOW + COPY_PATIENCE:
        assert bo.alarms == []
        behind(bo, scene, asked_again(bo))
        bo.machine.link_down()
        attach_at(bo, scene, *before(scene))
    for _ in range(5):
        assert behind(bo, scene, asked_again(bo)) == []
    assert (bo.status, bo.alarms) == (RoomStatus.WAITING, [AlarmKind.COPY_BEHIND])
    assert bo.room.core.head.code == "copy_behind"
    fits(bo, scene, asked_again(bo))
    assert (bo.status, bo.room.core.head.code) == (RoomStatus.ACTIVE, "")


@pytest.mark.parametrize(("code", "alarm"), [("fork", "unproven"), ("hub_behind", "hub_behind")])
def test_what_is_refused_so_is_said_again_and_nothing_is_lost(
    scene: Scene, bo: Bo, code: str, alarm: str
) -> None:
    """On the same link, attached anew, later each time. Who is live, and refused, still waits: it
    is over once the relay takes what it had refused."""
    sent, waits = post(bo), []
    for _ in range(8):
        bo.feed(frames.Failure(sent.rid, code, "so it says"))
        assert (bo.room.is_live, bo.dropped) == (False, "")
        refused_at = bo.now
        again = posted_again(bo, scene)
        waits.append(bo.now - refused_at)
        assert again.record == sent.record
        sent = again
    assert waits == sorted(waits)
    assert (bo.status, bo.room.core.head.code) == (RoomStatus.WAITING, code)
    assert bo.alarms == [AlarmKind(alarm)]
    [item] = bo.room.outbox.items
    assert item.event_id is not None
    bo.feed(frames.Ack(sent.rid, item.event_id, scene.log.seq + 1, OTHER))
    assert (bo.status, bo.room.outbox.items) == (RoomStatus.ACTIVE, [])


def test_a_word_that_is_taken_back_at_once_alarms_nobody(scene: Scene, bo: Bo) -> None:
    """It may just have heard of a move, which it tells before it is attached to."""
    for number in range(3):
        sent = post(bo, f"number {number}")
        bo.feed(frames.Failure(sent.rid, "fork", "fork"))
        again = posted_again(bo, scene)
        [item] = bo.room.outbox.items
        assert item.event_id is not None
        assert again.record == sent.record
        bo.turn(partial(bo.room.outbox.delivered, sid=item.sid, event_id=item.event_id, seq=9))
        assert (bo.status, bo.alarms, bo.room.waits_for) == (RoomStatus.ACTIVE, [], None)


def test_the_hub_itself_has_lost_what_it_does_not_have(scene: Scene, bo: Bo) -> None:
    """It is no copy, but for the moment in which it has not stored that the room moved to it."""
    core = bo.room.core
    bo.machine.link_down()
    attach_at(bo, scene, *before(scene))
    while bo.now < NOW + HUB_PATIENCE:
        assert bo.alarms == []
        behind(bo, scene, asked_again(bo))
    assert (bo.status, core.head.code) == (RoomStatus.WAITING, "hub_behind")
    assert bo.alarms == [AlarmKind.HUB_BEHIND]
    at = scene.log.seq
    moved = evolve(core.state, moved=(HubTerm(1, ELSEWHERE, at, ("wss://e.example",)),))
    assert [is_copy(moved, ELSEWHERE, end) for end in (at - 1, at)] == [True, False]
    assert is_copy(moved, RelayId(core.state.relay_id), at)


@pytest.mark.parametrize("at_hub", [True, False])
@pytest.mark.parametrize("back", [0, 1])
def test_another_log_is_a_word_as_any(scene: Scene, bo: Bo, at_hub: bool, back: int) -> None:
    """`attached` is signed by nobody: it is asked again, and told after a while."""
    if not at_hub:
        at_a_follower(bo)
    bo.machine.link_down()
    attach_at(bo, scene, scene.log.seq - back, OTHER)
    patience = HUB_PATIENCE if at_hub else COPY_PATIENCE
    while bo.now < NOW + patience:
        assert bo.alarms == []
        bo.feed(frames.Attached(asked_again(bo).rid, scene.room, scene.log.seq - back, OTHER, 0))
    assert (bo.status, bo.room.core.head.code) == (RoomStatus.WAITING, "fork")
    assert bo.alarms == [AlarmKind.UNPROVEN]
    fits(bo, scene, asked_again(bo))
    assert bo.status is RoomStatus.ACTIVE


def test_words_by_turns_are_one_wait(scene: Scene, bo: Bo) -> None:
    """A relay that says another thing each time is told of as soon, each of them once."""
    bo.machine.link_down()
    attach_at(bo, scene, *before(scene))
    for number in range(12):
        log = OTHER if number % 2 else before(scene)[1]
        bo.feed(frames.Attached(asked_again(bo).rid, scene.room, before(scene)[0], log, 0))
    assert sorted(bo.alarms) == [AlarmKind.HUB_BEHIND, AlarmKind.UNPROVEN]


@pytest.mark.parametrize(
    ("code", "proofs", "status"),
    [
        ("hub_behind", 0, RoomStatus.WAITING),
        ("fork", 0, RoomStatus.WAITING),
        ("fork", 1, RoomStatus.FROZEN),
    ],
)
def test_a_room_that_a_word_once_froze_waits_now(
    scene: Scene, bo: Bo, code: str, proofs: int, status: RoomStatus
) -> None:
    """In a vault of an earlier version."""
    core = bo.room.core
    with bo.vault.transaction() as tx:
        head = load(Head, tx.get(core.tables.state, b"head") or b"")
        frozen = evolve(head, status=RoomStatus.FROZEN, code=code)
        tx.put(core.tables.state, b"head", save(frozen))
        for number in range(proofs):
            tx.put(core.tables.state, b"evidence/" + number.to_bytes(8, "big"), b"signed")
    assert load_core(bo.vault, scene.room).head.status is status


def test_what_froze_a_room_is_told_once_however_often_it_is_asked_again(
    scene: Scene, bo: Bo
) -> None:
    """The proof once for all, what a relay repeats once a link; another proof is news."""
    core = bo.room.core
    proof = LogBroken(Fault.FORK, 1, (b"signed by somebody",))

    def says_it_again(turn: Turn) -> None:
        core.freeze(turn, proof)
        core.blame(turn)

    bo.turn(says_it_again)
    assert bo.alarms == [AlarmKind.FORK, AlarmKind.UNPROVEN]
    for _ in range(4):
        attach = asked_again(bo)
        bo.turn(says_it_again)
        bo.feed(frames.Attached(attach.rid, scene.room, scene.log.seq, scene.log.log, 0))
    assert bo.alarms == [AlarmKind.FORK, AlarmKind.UNPROVEN]
    bo.turn(lambda turn: core.freeze(turn, LogBroken(Fault.FORK, 1, (b"another one",))))
    assert bo.alarms[2:] == [AlarmKind.FORK]
