"""HUB_MOVEs that a relay tells a client, and what its person was told before (liar.py)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import trio
from attrs import evolve

from ofcd.client import AlarmKind, RoomStatus, voiding
from ofcd.client.archive import Archive, Entry
from ofcd.client.core import Core
from ofcd.client.phase import LinkFacts
from ofcd.client.turn import Turn
from ofcd.e2e.controls import make_hub_move
from ofcd.protocol import frames
from ofcd.protocol.ids import EventId, Hash32, PublicKey, RelayId, relay_id_of
from ofcd.protocol.records import HubMove, RekeyBoxed, Seen
from ofcd.protocol.room import RoomState
from ofcd.themis import generate_keypair
from ofcd.themis.signed import SignedRecord, peek, sign_record
from tests.client.liar import NOW, Bo, Scene, say
from tests.client.test_lies import delivered, post
from tests.client.world import Town, settled

ELSEWHERE = RelayId(b"e" * 32)
URL = "wss://e.example"


def with_homes(bo: Bo, scene: Scene) -> RoomState:
    """Ana is at home elsewhere: there is a relay that the room can be moved to."""
    core = bo.room.core
    members = dict(core.state.members)
    members[scene.ana.mid] = evolve(members[scene.ana.mid], home=ELSEWHERE)
    core.view = evolve(core.view, state=evolve(core.state, members=members))
    return core.state


def move(scene: Scene, state: RoomState, seen: Seen, now: int = NOW) -> SignedRecord:
    """By force: there, or back."""
    hub = ELSEWHERE if state.hub != ELSEWHERE else RelayId(state.relay_id)
    return make_hub_move(state, scene.ana, seen, now, hub=hub, urls=[URL], force=True)


def again(bo: Bo) -> frames.Attach:
    """A new link; what Bo's client asks on it."""
    bo.machine.link_down()
    limits = frames.RelayLimits(65536, 1 << 26, 500, 20, 64)
    welcome = frames.Welcome(1, Hash32(bytes(32)), limits, NOW)
    key, own = PublicKey(bo.scene.relay.public), PublicKey(generate_keypair().public)
    [attach] = bo.turn(lambda turn: bo.machine.link_up(turn, relay_id_of(key), key, own, welcome))
    assert isinstance(attach, frames.Attach)
    return attach


def evicted(bo: Bo) -> frames.Attach:
    scene = bo.scene
    bo.feed(*scene.truth, frames.Removed(scene.room, "evicted", scene.eviction.record))
    assert bo.status is RoomStatus.EVICTED
    return again(bo)


@pytest.mark.parametrize(("let_in", "by_force"), [(True, True), (False, True), (True, False)])
def test_an_eviction_that_may_stand_is_over_once_one_is_let_in(
    scene: Scene, bo: Bo, let_in: bool, by_force: bool
) -> None:
    """The move stands behind all that Bo has: whether his eviction is before or behind it he can
    not know, so nobody tells him that he is back until he is. One without force makes nothing
    void: who lets him in then is a copy that is behind."""
    attach, core = evicted(bo), bo.room.core
    seen = core.log.seen
    made = move(scene, with_homes(bo, scene), seen)
    if not by_force:
        state = core.state
        made = make_hub_move(state, scene.ana, seen, NOW, hub=ELSEWHERE, urls=[URL])
    bo.feed(frames.Moved(scene.room, (made.envelope,)))
    assert (bo.status, bo.alarms) == (RoomStatus.EVICTED, [])
    if not by_force:
        bo.feed(frames.Attached(attach.rid, scene.room, seen.seq + 1, Hash32(b"m" * 32), 0))
        assert (bo.status, bo.alarms) == (RoomStatus.EVICTED, [])
    elif let_in:
        bo.feed(frames.Attached(attach.rid, scene.room, seen.seq + 1, Hash32(b"m" * 32), 0))
        assert (bo.status, bo.alarms) == (RoomStatus.ACTIVE, [AlarmKind.REMOVAL_VOID])
    else:
        bo.feed(frames.Failure(attach.rid, "evicted", "out"))
        assert (bo.status, bo.alarms) == (RoomStatus.EVICTED, [])


@pytest.mark.parametrize("how", ["before the move", "over another log", "void"])
def test_an_eviction_that_can_not_stand_puts_nobody_out_for_good(
    scene: Scene, bo: Bo, how: str
) -> None:
    """Shown again by a relay of before: it hides the room, as any word of a relay's does."""
    with_homes(bo, scene)
    bo.feed(*scene.truth)
    core = bo.room.core
    moved = move(scene, core.state, core.log.seen)
    bo.feed(frames.Delivery(scene.room, core.log.seq + 1, moved.envelope))
    assert core.state.ctl == moved.event_id
    record = peek(scene.eviction.record).record
    assert isinstance(record, RekeyBoxed)
    if how == "over another log":
        record = evolve(record, prev=core.state.ctl, seen=Seen(core.log.seq, Hash32(b"x" * 32)))
    elif how == "void":
        record = evolve(record, prev=EventId(b"v" * 32), seen=core.log.seen)
    shown = sign_record(scene.ana.sign.private, record).envelope
    bo.feed(frames.Removed(scene.room, "evicted", shown))
    assert bo.status is RoomStatus.HIDDEN


@pytest.mark.parametrize("how", ["a move behind its place", "another root"])
def test_what_was_told_counts_until_it_can_not_come_any_more(
    scene: Scene, bo: Bo, how: str
) -> None:
    """Else it would count, for ever, against what is moved since."""
    state, core = with_homes(bo, scene), bo.room.core
    bo.feed(*scene.truth)
    kept = evolve(move(scene, state, core.log.seen).record, term=5)  # type: ignore[arg-type]
    signed = sign_record(scene.ana.sign.private, kept)
    bo.turn(lambda turn: core.expect(turn, signed))
    assert core.expected(bo.vault) is not None
    if how == "another root":
        core.view = evolve(core.view, state=evolve(core.state, root=scene.bo.mid))
        assert core.expected(bo.vault) is None
        return
    plain = make_hub_move(core.state, scene.ana, core.log.seen, NOW, hub=ELSEWHERE, urls=[URL])
    bo.feed(frames.Delivery(scene.room, core.log.seq + 1, plain.envelope))
    assert core.state.hub == ELSEWHERE
    forced = move(scene, core.state, core.log.seen)
    bo.feed(frames.Moved(scene.room, (plain.envelope, forced.envelope)))
    assert core.ahead(bo.vault) == forced.record


def test_a_move_that_can_not_stand_next_is_not_kept(scene: Scene, bo: Bo) -> None:
    """Also where nothing is taken back for it: nobody is at home at the relay that it names."""
    core = bo.room.core
    view = core.view
    made = move(scene, with_homes(bo, scene), core.log.seen)
    core.view = view
    bo.feed(frames.Moved(scene.room, (made.envelope,)))
    assert core.expected(bo.vault) is None
    with_homes(bo, scene)
    bo.feed(frames.Moved(scene.room, (made.envelope,)))
    assert core.ahead(bo.vault) == made.record


def test_of_two_moves_both_are_kept_and_people_told(scene: Scene, bo: Bo) -> None:
    """Whatever else they were told on that link."""
    state, core = with_homes(bo, scene), bo.room.core
    bo.turn(core.blame)
    seen = core.log.seen
    here, other = move(scene, state, seen), move(scene, state, seen, NOW + 1)
    bo.feed(frames.Delivery(scene.room, seen.seq + 1, here.envelope))
    for _ in range(2):
        bo.feed(frames.Moved(scene.room, (other.envelope,)))
    assert bo.alarms[:2] == [AlarmKind.UNPROVEN, AlarmKind.TWO_MOVES]
    assert bo.alarms.count(AlarmKind.TWO_MOVES) == 1
    assert core.evidence(bo.vault) == [here.envelope, other.envelope]


def test_a_fork_that_root_signed_is_kept_as_it_was_signed(scene: Scene, bo: Bo) -> None:
    """The first that is not here is the proof, whichever move was told last."""
    state, core = with_homes(bo, scene), bo.room.core
    first = move(scene, state, Seen(core.log.seq - 1, Hash32(b"x" * 32)))
    assert isinstance(first.record, HubMove)
    seen = Seen(core.log.seq, Hash32(b"y" * 32))
    record = evolve(first.record, seen=seen, term=2, after=first.event_id)
    last = sign_record(scene.ana.sign.private, record)
    bo.feed(frames.Moved(scene.room, (first.envelope, last.envelope)))
    assert (bo.status, bo.alarms) == (RoomStatus.FROZEN, [AlarmKind.FORK])
    assert core.evidence(bo.vault) == [first.envelope]


@pytest.mark.parametrize(
    ("told", "true"), [(False, True), (True, True), (True, False)], ids=["untold", "told", "false"]
)
def test_what_was_signed_over_another_log_before_a_move_by_force_freezes_nothing(
    scene: Scene, bo: Bo, told: bool, true: bool
) -> None:
    """It stands on the way to the move, so it is taken, kept and told: nothing behind it would be.
    But the move itself has to fit the log that leads to it."""
    state, core = with_homes(bo, scene), bo.room.core
    at = core.log.seq
    lied = say(scene, "lied to", seen=Seen(at - 1, Hash32(b"x" * 32)))
    behind = core.log.append(at + 1, lied.record).seen
    made = move(scene, state, behind if true else evolve(behind, log=Hash32(b"y" * 32)))
    if told:
        bo.feed(frames.Moved(scene.room, (made.envelope,)))
    bo.feed(lied)
    if not told:
        assert (bo.status, bo.texts) == (RoomStatus.FROZEN, [])
        return
    assert (bo.status, bo.texts) == (RoomStatus.ACTIVE, ["lied to"])
    assert core.evidence(bo.vault) == [lied.record]
    bo.feed(frames.Delivery(scene.room, at + 2, made.envelope))
    frozen = (RoomStatus.FROZEN, [AlarmKind.HUB_MISBEHAVES, AlarmKind.FORK], state.hub)
    moved = (RoomStatus.ACTIVE, [AlarmKind.HUB_MISBEHAVES], ELSEWHERE)
    assert (bo.status, bo.alarms, core.state.hub) == (moved if true else frozen)
    assert bo.dropped == ""


def test_a_cut_reads_no_history_for_ones_own_words(
    scene: Scene, bo: Bo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is void says itself what came before; nor are aliases looked for that nobody named."""
    monkeypatch.setattr(voiding, "_LOOK_BACK", 0)
    bo.feed(*scene.truth)  # nothing of his own
    state, core = with_homes(bo, scene), bo.room.core
    monkeypatch.setattr(Core, "state_before", lambda *_: state)
    before, seen = core.next_own(), core.log.seen
    sent = post(bo)
    bo.feed(delivered(scene, seen.seq + 1, sent))
    assert core.next_own() != before
    read: list[int] = []
    entries = Archive.entries

    def counted(self: Archive, *args: Any, **kwargs: Any) -> Iterator[Entry]:
        for entry in entries(self, *args, **kwargs):
            read.append(entry.seq)
            yield entry

    monkeypatch.setattr(Archive, "entries", counted)
    bo.feed(frames.Moved(scene.room, (move(scene, state, seen).envelope,)))
    assert (core.log.seq, core.next_own()) == (seen.seq, before)
    assert min(read) >= seen.seq - 1
    assert [item.sid for item in bo.room.outbox.items] == [
        getattr(peek(sent.record).record, "sid", 0)
    ]


def test_who_is_no_member_asks_last(scene: Scene, bo: Bo) -> None:
    """A relay counts what is asked in vain: the rooms that one is in are not to wait for it."""
    asked: list[str] = []

    class Other:
        is_out = False

        def link_up(self, turn: Turn, link: LinkFacts) -> None:
            asked.append("a room of ours")

    evicted(bo)
    bo.machine.link_down()
    mine = bo.machine.rooms[scene.room]
    link_up = mine.link_up

    def in_vain(turn: Turn, link: LinkFacts) -> None:
        asked.append("in vain")
        link_up(turn, link)

    mine.link_up = in_vain  # type: ignore[method-assign]
    bo.machine.rooms[b"other"] = Other()  # type: ignore[index,assignment]
    limits = frames.RelayLimits(65536, 1 << 26, 500, 20, 64)
    welcome = frames.Welcome(1, Hash32(bytes(32)), limits, NOW)
    key, own = PublicKey(scene.relay.public), PublicKey(generate_keypair().public)
    with bo.vault.transaction() as tx:
        turn = Turn(NOW, tx, lambda: 0.0, bo.machine)
        bo.machine.link_up(turn, relay_id_of(key), key, own, welcome)
    assert asked == ["a room of ours", "in vain"]


async def test_ones_own_admission_is_waited_for_and_not_looked_for(
    town: Town, autojump_clock: trio.abc.Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is read again before something has come."""
    mine, theirs = await town.pair()
    await settled(mine, theirs)
    admitted = await theirs.wait_admitted()
    listed, looks = theirs.members, []

    def members() -> list[Any]:
        looks.append(1)
        return [] if len(looks) == 1 else listed()

    monkeypatch.setattr(theirs, "members", members)
    async with trio.open_nursery() as nursery:
        found: list[int] = []
        nursery.cancel_scope.deadline = trio.current_time() + 600

        async def wait() -> None:
            found.append(await theirs.wait_admitted())

        nursery.start_soon(wait)
        await trio.sleep(300)
        assert (len(looks), found) == (1, [])
        await mine.send("something comes")
    assert found == [admitted]
