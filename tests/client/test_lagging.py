"""A relay that follows the room and is behind what is known here (docs/protocol.md, Two relays)."""

from __future__ import annotations

from attrs import evolve

from ofcd.client import AlarmKind, RoomStatus
from ofcd.client.lagging import PATIENCE, is_copy
from ofcd.e2e.log import RoomLog
from ofcd.protocol import frames
from ofcd.protocol.ids import Hash32, RelayId
from ofcd.protocol.room import HubTerm
from tests.client.liar import NOW, Bo, Scene, attach_at
from tests.client.test_lies import post

ELSEWHERE = RelayId(b"e" * 32)


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


def behind(bo: Bo, scene: Scene, attach: frames.Attach) -> list[frames.ClientFrame]:
    old = frames.Attached(attach.rid, scene.room, scene.log.seq - 1, Hash32(bytes(32)), 0)
    return bo.feed(old)


def test_a_copy_that_is_behind_is_asked_until_it_has_caught_up(scene: Scene, bo: Bo) -> None:
    """No alarm, nothing frozen; then it goes on as if nothing had been."""
    bo.machine.link_down()
    at_a_follower(bo)
    attach_at(bo, scene, scene.log.seq - 1, Hash32(bytes(32)))
    assert behind(bo, scene, asked_again(bo)) == []
    assert (bo.status, bo.alarms, bo.room.is_live) == (RoomStatus.ACTIVE, [], False)
    attach = asked_again(bo)
    [sync] = bo.feed(frames.Attached(attach.rid, scene.room, scene.log.seq, scene.log.log, 0))
    assert isinstance(sync, frames.Sync)
    refused = frames.Failure(sync.rid, "hub_behind", "behind", seq=scene.log.seq - 1)
    assert bo.feed(refused) == []  # its copy was read anew meanwhile
    attach = asked_again(bo)
    [sync] = bo.feed(frames.Attached(attach.rid, scene.room, scene.log.seq, scene.log.log, 0))
    assert isinstance(sync, frames.Sync)
    answer = (sync.rid, scene.room, sync.start, sync.start, scene.log.log, scene.log.seq)
    bo.feed(frames.Synced(*answer))
    assert (bo.room.is_live, bo.alarms) == (True, [])
    bo.machine.link_down()
    bo.now += PATIENCE
    attach_at(bo, scene, scene.log.seq - 1, Hash32(bytes(32)))
    assert bo.alarms == []  # the time of before is over
    assert bo.machine.deadline() in range(bo.now, bo.now + 1_300)


def test_a_relay_that_keeps_one_in_the_past_is_told_of_once(scene: Scene, bo: Bo) -> None:
    """After minutes, however often it hangs up; it is still asked, and nothing is sent."""
    bo.machine.link_down()
    at_a_follower(bo)
    attach_at(bo, scene, scene.log.seq - 1, Hash32(bytes(32)))
    while bo.now < NOW + PATIENCE:
        assert bo.alarms == []
        behind(bo, scene, asked_again(bo))
        bo.machine.link_down()
        attach_at(bo, scene, scene.log.seq - 1, Hash32(bytes(32)))
    for _ in range(5):
        assert behind(bo, scene, asked_again(bo)) == []
    assert (bo.status, bo.alarms) == (RoomStatus.ACTIVE, [AlarmKind.COPY_BEHIND])


def test_who_says_so_of_a_post_is_attached_at_anew_and_nothing_is_lost(
    scene: Scene, bo: Bo
) -> None:
    """What was said waits longer each time; the room's own relay freezes it by that word."""
    at_a_follower(bo)
    waits = []
    sent = post(bo)
    for _ in range(3):
        bo.feed(frames.Failure(sent.rid, "hub_behind", "behind", seq=scene.log.seq - 1))
        assert (bo.status, bo.alarms, bo.dropped) == (RoomStatus.ACTIVE, [], "hub_behind")
        bo.machine.link_down()
        attach_at(bo, scene, scene.log.seq, scene.log.log)
        [sync] = bo.syncs
        answer = (sync.rid, scene.room, sync.start, sync.start, scene.log.log, scene.log.seq)
        bo.feed(frames.Synced(*answer))
        assert bo.room.is_live
        due = bo.room.outbox.deadline()
        assert due is not None
        waits.append(due - bo.now)
        bo.now = due
        [again] = [f for f in bo.turn(lambda turn: None) if isinstance(f, frames.Post)]
        assert again.record == sent.record
        sent = again
    assert waits == sorted(set(waits))
    bo.room.core.identity = evolve(bo.room.core.identity, relay_id=bo.room.core.state.hub)
    bo.feed(frames.Failure(sent.rid, "hub_behind", "behind", seq=scene.log.seq - 1))
    assert (bo.status, bo.room.core.head.code) == (RoomStatus.FROZEN, "hub_behind")


def test_the_hub_itself_has_lost_what_it_does_not_have(scene: Scene, bo: Bo) -> None:
    """It is no copy, but for the moment in which it has not stored that the room moved to it."""
    core = bo.room.core
    bo.machine.link_down()
    attach_at(bo, scene, scene.log.seq - 1, Hash32(bytes(32)))
    assert (bo.status, core.head.code) == (RoomStatus.FROZEN, "hub_behind")
    assert (bo.alarms, bo.machine.deadline()) == ([AlarmKind.HUB_BEHIND], None)
    at = scene.log.seq
    moved = evolve(core.state, moved=(HubTerm(1, ELSEWHERE, at, ("wss://e.example",)),))
    assert [is_copy(moved, ELSEWHERE, end) for end in (at - 1, at)] == [True, False]
    assert is_copy(moved, RelayId(core.state.relay_id), at)


def test_a_copy_of_another_log_is_a_fork_all_the_same(scene: Scene, bo: Bo) -> None:
    """As long, and different: that is no matter of time."""
    bo.machine.link_down()
    at_a_follower(bo)
    other = RoomLog.resumed(scene.room, scene.log.seq, Hash32(b"o" * 32))
    attach_at(bo, scene, other.seq, other.log)
    assert (bo.status, bo.alarms) == (RoomStatus.FROZEN, [AlarmKind.FORK])
