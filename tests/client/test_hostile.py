"""A relay that lies about the log: what a member is shown of it (liar.py)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest
from attrs import evolve
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ofcd.client import AlarmKind, HistoryGap, RoomStatus
from ofcd.e2e.controls import make_grant
from ofcd.e2e.errors import Fault, LogBroken
from ofcd.e2e.log import RoomLog
from ofcd.protocol import frames
from ofcd.protocol.ids import EventId, Hash32, RoomId
from ofcd.protocol.records import LogHead, RekeyBoxed, Role, Seen
from ofcd.themis import sign
from ofcd.themis.signed import peek, sign_record
from tests.client.liar import NOW, Bo, Scene, attach_at, open_bo, say


def test_the_truth_is_shown(scene: Scene, bo: Bo) -> None:
    """Unchanged, all is shown and nobody is alarmed."""
    bo.feed(*scene.truth)
    assert bo.texts == ["one", "two", "three"]
    assert bo.alarms == []


def test_an_event_left_out_is_found_on_the_very_next_one(scene: Scene, bo: Bo) -> None:
    """Renumbered, so that no number is missing: the next event's `seen` is proof; frozen."""
    one, _, three = scene.truth
    bo.feed(one, evolve(three, seq=one.seq + 1))
    assert bo.status is RoomStatus.FROZEN
    assert AlarmKind.FORK in bo.alarms
    assert bo.texts == ["one"]
    assert bo.room.core.evidence(bo.vault)


def test_a_gap_drops_the_link_and_nothing_is_shown(scene: Scene, bo: Bo) -> None:
    """Not renumbered: the client asks again on another link."""
    one, _, three = scene.truth
    bo.feed(one, three)
    assert bo.dropped == "gap"
    assert bo.texts == ["one"]
    assert bo.status is RoomStatus.ACTIVE


def test_swapped_events_are_found(scene: Scene, bo: Bo) -> None:
    """Two and three in the other order: proof on the first of them."""
    one, two, three = scene.truth
    bo.feed(one, evolve(three, seq=two.seq), evolve(two, seq=three.seq))
    assert bo.status is RoomStatus.FROZEN
    assert bo.texts == ["one"]


def test_an_old_event_under_a_new_number_is_not_shown_again(scene: Scene, bo: Bo) -> None:
    """Replayed as number four: a marker and an alarm, not the words."""
    one, two, three = scene.truth
    bo.feed(one, two, three, evolve(one, seq=three.seq + 1))
    assert bo.texts == ["one", "two", "three"]
    assert bo.shown()[-1].unreadable == "replay"
    assert AlarmKind.HUB_MISBEHAVES in bo.alarms


def test_the_same_delivery_twice_is_one_message(scene: Scene, bo: Bo) -> None:
    """After a reconnect, say; no alarm."""
    bo.feed(*scene.truth, *scene.truth)
    assert bo.texts == ["one", "two", "three"]
    assert bo.alarms == []


def test_junk_behind_a_signature_changes_nothing(scene: Scene, bo: Bo) -> None:
    """The same event id (E6): accepted once, no second display."""
    one, two, three = scene.truth
    bo.feed(evolve(one, record=one.record + b"junk"), two, three)
    assert bo.texts == ["one", "two", "three"]


def test_anothers_cell_is_not_shown_under_this_header(scene: Scene, bo: Bo) -> None:
    """Cells exchanged: markers, no words."""
    one, two, _ = scene.truth
    bo.feed(evolve(one, cell=two.cell))
    assert [m.unreadable for m in bo.shown()] == ["cell_mismatch"]


def test_a_withheld_cell_leaves_a_marker(scene: Scene, bo: Bo) -> None:
    """The header proves that something was said."""
    bo.feed(evolve(scene.truth[0], cell=b""), *scene.truth[1:])
    assert [m.unreadable for m in bo.shown()] == ["cell_gone", "", ""]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"epoch": 7}, "wrong_epoch"),
        ({"room": RoomId(b"x" * 32)}, "wrong_room"),
        ({"ctl": EventId(b"x" * 32)}, "stale_control"),
        ({"cell_hash": Hash32(b"x" * 32)}, "cell_mismatch"),
        ({"sid": b"y" * 16}, "bad_seal"),
        ({"mid": b"z" * 32}, "not_a_member"),
    ],
)
def test_a_false_header_is_a_marker(
    scene: Scene, bo: Bo, changes: dict[str, object], reason: str
) -> None:
    """Signed by Ana all the same, but not what it should be: never her words."""
    bo.feed(say(scene, "false", **changes))
    assert [m.unreadable for m in bo.shown()] == [reason]
    assert bo.texts == []


def test_words_signed_by_another_are_not_the_named_senders(scene: Scene, bo: Bo) -> None:
    """Bo's own key under Ana's name: bad_signature."""
    forged = say(scene, "I am Ana")
    event = peek(forged.record).record
    by_bo = sign_record(scene.bo.sign.private, event).envelope
    bo.feed(evolve(forged, record=by_bo))
    assert [m.unreadable for m in bo.shown()] == ["bad_signature"]


def test_another_log_seen_by_a_member_freezes_the_room(scene: Scene, bo: Bo) -> None:
    """Ana had seen another hash at a number that Bo knows: fork, with her signed word kept."""
    seen = Seen(scene.log.seq, Hash32(b"other" + bytes(27)))
    delivery = say(scene, "from another log", seen=seen)
    bo.feed(delivery)
    assert bo.status is RoomStatus.FROZEN
    assert bo.alarms == [AlarmKind.FORK]
    assert bo.room.core.evidence(bo.vault) == [delivery.record]
    assert bo.texts == []


def test_old_seen_hashes_are_checked_after_a_restart(scene: Scene, bo: Bo) -> None:
    """The running hashes are kept: a lie about an older entry is found, too."""
    seen = Seen(scene.log.seq - 2, Hash32(b"other" + bytes(27)))
    bo.feed(say(scene, "from another log", seen=seen))
    assert bo.alarms == [AlarmKind.FORK]


def test_a_missing_event_of_a_sender_is_an_alarm(scene: Scene, bo: Bo) -> None:
    """The counter jumps: something of hers is missing before."""
    own, _ = scene.next_own
    bo.feed(say(scene, "after a gap", counter=own + 5))
    assert bo.alarms == [AlarmKind.HUB_MISBEHAVES]


def test_two_events_with_one_number_are_an_alarm(scene: Scene, bo: Bo) -> None:
    """Signed twice by Ana, other sid, no `voids`: a second device or a stolen key."""
    one = say(scene, "first")
    head = RoomLog.resumed(scene.room, scene.log.seq, scene.log.log).append(one.seq, one.record)
    two = evolve(say(scene, "second", seen=head.seen), seq=one.seq + 1)
    bo.feed(one, two)
    assert bo.texts == ["first"]
    assert bo.alarms == [AlarmKind.SENDER_FORK]


def test_the_hubs_word_for_another_log_freezes_the_room(scene: Scene, bo: Bo) -> None:
    """Its signature on what it did not deliver here."""
    head = LogHead(1, scene.room, 0, scene.log.seq, Hash32(b"other" + bytes(27)), NOW)
    bo.feed(frames.Head(scene.room, sign_record(scene.relay.private, head).envelope))
    assert bo.status is RoomStatus.FROZEN


def test_the_hubs_word_given_ahead_is_checked_when_the_log_gets_there(scene: Scene, bo: Bo) -> None:
    """A head beyond what has come says nothing yet; then it must be true."""
    head = LogHead(1, scene.room, 0, scene.truth[0].seq, Hash32(b"other" + bytes(27)), NOW)
    bo.feed(frames.Head(scene.room, sign_record(scene.relay.private, head).envelope))
    assert bo.alarms == []
    bo.feed(scene.truth[0])
    assert bo.status is RoomStatus.FROZEN


def test_a_word_that_is_not_the_hubs_drops_the_link(scene: Scene, bo: Bo) -> None:
    """Signed by somebody else: no evidence of anything, but no relay of ours either."""
    head = LogHead(1, scene.room, 0, scene.log.seq, scene.log.log, NOW)
    bo.feed(frames.Head(scene.room, sign_record(scene.bo.sign.private, head).envelope))
    assert bo.dropped
    assert bo.status is RoomStatus.ACTIVE


def test_a_control_record_that_is_not_allowed_changes_nothing(scene: Scene, bo: Bo) -> None:
    """A member cannot grant itself a role, whatever the relay delivers: the room waits, and the
    relay is asked for that entry again. It is told, and kept, once."""
    granted = make_grant(
        scene.state, scene.ana, scene.log.seen, NOW, member=scene.bo.mid, role=Role.CO_OWNER
    )
    forged = sign_record(scene.bo.sign.private, evolve(granted.record, mid=scene.bo.mid))  # type: ignore[arg-type]
    before = bo.room.core.state.members
    lie = frames.Delivery(scene.room, scene.log.seq + 1, forged.envelope)
    assert patiently(bo, lie) == [AlarmKind.HUB_MISBEHAVES]
    assert bo.room.core.state.members == before
    assert bo.room.core.evidence(bo.vault) == [forged.envelope]


def test_garbage_instead_of_a_record_stops_at_that_place(scene: Scene, bo: Bo) -> None:
    """No exception, nothing shown."""
    for record in (b"garbage", sign(scene.ana.sign.private, b"OFC1:nothing\n{}")):
        alarms = len(bo.alarms)
        lie = frames.Delivery(scene.room, scene.log.seq + 1, record, b"more")
        assert patiently(bo, lie)[alarms:] == [AlarmKind.HUB_MISBEHAVES]
        assert bo.texts == []


def patiently(bo: Bo, lie: frames.Delivery) -> list[AlarmKind]:
    """It is delivered, whenever it is asked for, for half a minute, with what comes behind it;
    then the truth. The alarms."""
    scene, behind = bo.scene, evolve(bo.scene.truth[1], seq=lie.seq + 1)
    begun = bo.now
    bo.feed(lie, behind)
    while bo.now < begun + 30_000:
        due = bo.room.deadline()
        assert due is not None
        bo.now = due
        [attach] = bo.turn(lambda turn: None)
        assert isinstance(attach, frames.Attach)
        [sync] = bo.feed(frames.Attached(attach.rid, scene.room, lie.seq, Hash32(bytes(32)), 0))
        assert isinstance(sync, frames.Sync)
        assert (sync.start, sync.log) == (lie.seq, scene.log.log)
        answer = (sync.rid, scene.room, sync.start, sync.start, scene.log.log, lie.seq)
        bo.feed(frames.Synced(*answer), lie, behind)
    assert (bo.status, bo.room.core.head.code) == (RoomStatus.WAITING, "unverified")
    assert bo.dropped == ""
    return bo.alarms


def test_a_key_that_others_did_not_get_is_not_adopted(scene: Scene, bo: Bo) -> None:
    """The box holds another key than the record commits to: alarm, old keys kept, no guess."""
    record = peek(scene.eviction.record).record
    assert isinstance(record, RekeyBoxed)
    mids = [scene.ana.mid, scene.bo.mid]
    boxes = tuple((mid, Hash32(b"h" * 32)) for mid in mids)
    lying = evolve(record, removed=(), boxes=boxes, seen=scene.log.seen, prev=scene.state.ctl)
    signed = sign_record(scene.ana.sign.private, lying)
    bo.feed(
        frames.Box(scene.room, scene.log.seq + 1, b"b" * 300),
        frames.Delivery(scene.room, scene.log.seq + 1, signed.envelope),
    )
    core = bo.room.core
    assert AlarmKind.KEY_MISMATCH in bo.alarms
    assert (core.state.epoch, 1 in core.keys) == (1, False)


def test_removal_is_believed_for_good_only_with_the_record(scene: Scene, bo: Bo) -> None:
    """The relay's word hides the room; Ana's record evicts. The keys stay in both cases."""
    with open_bo(scene, bo.vault.path.with_name("second.vault")) as hidden:
        hidden.connect()
        hidden.feed(frames.Removed(scene.room, "evicted"))
        assert hidden.status is RoomStatus.HIDDEN
        assert hidden.room.core.keys.keys
    bo.feed(*scene.truth, frames.Removed(scene.room, "evicted", scene.eviction.record))
    assert bo.status is RoomStatus.EVICTED
    assert bo.room.core.keys.keys
    assert bo.texts == ["one", "two", "three"]


def test_history_that_is_no_longer_kept_is_said_so(scene: Scene, tmp_path: Path) -> None:
    """A floor above what was missed: the control log is read, the gap told, and talk goes on."""
    with open_bo(scene, tmp_path / "v") as bo:
        floor = scene.truth[1].seq
        log = RoomLog.resumed(scene.room, scene.log.seq, scene.log.log)
        log = log.append(scene.truth[0].seq, scene.truth[0].record)
        attach_at(bo, scene, scene.truth[-1].seq, log.log)
        [sync] = bo.syncs
        [chain_get] = bo.feed(
            frames.Synced(sync.rid, scene.room, sync.start, floor, log.log, scene.truth[-1].seq)
        )
        assert isinstance(chain_get, frames.ChainGet)
        [again] = bo.feed(frames.ChainPage(chain_get.rid, scene.room, (), False, ()))
        assert isinstance(again, frames.Sync)
        bo.feed(
            frames.Synced(again.rid, scene.room, again.start, floor, log.log, scene.truth[-1].seq),
            *scene.truth[1:],
        )
        assert [e for e in bo.events if isinstance(e, HistoryGap)]
        assert bo.texts == ["two", "three"]
        assert bo.alarms == []
        assert bo.room.is_live


Lie = tuple[int, int, str]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lies=st.lists(
        st.tuples(
            st.integers(0, 3),
            st.integers(-2, 6),
            st.sampled_from(["as is", "no cell", "cut", "other cell", "junk"]),
        ),
        max_size=8,
    )
)
def test_no_lie_is_shown_and_none_breaks_the_client(
    scene: Scene, tmp_path_factory: pytest.TempPathFactory, lies: Sequence[Lie]
) -> None:
    """Whatever is delivered in whatever order: only Ana's words, each at most once, in order."""
    with open_bo(scene, tmp_path_factory.mktemp("lies") / "v") as bo:
        bo.connect()
        for lie in lies:
            if bo.machine.is_up:
                bo.feed(told(scene, lie))
        assert bo.texts == [text for text in ("one", "two", "three") if text in bo.texts]


def told(scene: Scene, lie: Lie) -> frames.Delivery:
    which, where, how = lie
    true = (*scene.truth, scene.eviction)[which]
    frame = evolve(true, seq=scene.log.seq + 1 + where)
    match how:
        case "no cell":
            return evolve(frame, cell=b"")
        case "cut":
            return evolve(frame, record=frame.record[:-9])
        case "other cell":
            return evolve(frame, cell=scene.truth[which - 1].cell)
        case "junk":
            return evolve(frame, record=frame.record + b"junk")
        case _:
            return frame


@pytest.mark.parametrize("code", ["hub_behind", "fork"])
def test_no_word_of_the_relay_takes_back_what_froze_a_room(scene: Scene, bo: Bo, code: str) -> None:
    """Only the end of the room for Bo, which Ana signed, is more than what was proven."""
    core = bo.room.core
    broken = LogBroken(Fault.EQUIVOCATION, scene.log.seq, (b"signed",))
    bo.turn(lambda turn: core.freeze(turn, broken))
    for status in (RoomStatus.FROZEN, RoomStatus.HIDDEN, RoomStatus.ACTIVE):
        bo.turn(partial(core.set_status, status=status, code=code))
        assert (bo.status, core.head.code) == (RoomStatus.FROZEN, "equivocation")
    bo.feed(frames.Removed(scene.room, "evicted"))
    bo.machine.link_down()
    bo.connect()  # it hears of a move, if there was one, and asks for nothing else
    assert (bo.syncs, bo.room.is_live) == ([], False)
    assert (bo.status, core.head.code) == (RoomStatus.FROZEN, "equivocation")
    bo.turn(lambda turn: core.set_status(turn, RoomStatus.EVICTED, "evicted"))
    assert (bo.status, core.head.code) == (RoomStatus.EVICTED, "evicted")


def test_what_waits_gives_way_to_what_is_proven(scene: Scene, bo: Bo) -> None:
    """`hub_behind` is over once the relay has its log again: a fork is not."""
    core = bo.room.core
    bo.turn(lambda turn: core.set_status(turn, RoomStatus.WAITING, "hub_behind"))
    broken = LogBroken(Fault.EQUIVOCATION, scene.log.seq, (b"signed",))
    bo.turn(lambda turn: core.freeze(turn, broken))
    assert (bo.status, core.head.code) == (RoomStatus.FROZEN, "equivocation")
