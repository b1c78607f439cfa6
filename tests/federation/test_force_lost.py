"""What a client noted of entries that came to nothing with a move by force must go with them."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
import trio
from attrs import evolve

from ofcd.client import Alarm, AlarmKind, Edit, NotAllowed, Offline, Room, RoomStatus
from ofcd.client.archive import Entry, Kind
from ofcd.client.handing import HandoverDuty
from ofcd.client.queued import Stage
from ofcd.client.room import RoomMachine
from ofcd.client.turn import Turn
from ofcd.client.voiding import take_moves
from ofcd.e2e.bodies import Beat
from ofcd.protocol.frames import Delivery
from ofcd.protocol.ids import Hash32
from ofcd.protocol.records import Role, Seen
from ofcd.testing import open_net
from tests.federation.double import local, part, quickly, shared
from tests.federation.test_force import force
from tests.federation.test_force_again import opened
from tests.federation.test_force_hostile import moving, signed
from tests.federation.test_home import relay_of
from tests.federation.test_hostile import log_of
from tests.world.scene import agree, settle, texts, told, until


def entries(room: Room) -> list[Entry]:
    return list(room._client._core(room.id).archive.entries(room._client.vault))


async def test_an_acceptance_that_is_void_hands_the_room_to_nobody(
    tmp_path: Path, autojump_clock: trio.abc.Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever accepts at its place in the new log was never asked."""
    async with opened(tmp_path) as scene:
        ana, bo, cai = scene.rooms
        await scene.is_cut_off()
        for number in range(4):
            await cai.send(f"void {number}")
        with monkeypatch.context() as held:
            held.setattr(HandoverDuty, "pump", lambda *_: None)
            await ana.hand_over(cai.me)
            await settle([ana, cai])
            await cai.accept_handover()
            await settle([ana, cai])
            core = ana._client._core(ana.id)
            assert core.head.accepted_seq > bo.head
            await scene.third.stop_client("cai")
            await scene.old.stop_relay()
            await force(ana, scene.new)
            for _ in range(8):
                await bo.accept_handover()
            await settle([ana, bo])
        await trio.sleep(60)
        await ana.send("still root")
        await trio.sleep(60)
        assert ana._client._core(ana.id).state.root == ana.me
        await ana.hand_over(bo.me)
        await settle([ana, bo])
        await bo.accept_handover()
        await until(lambda: bo._client._core(bo.id).state.root == bo.me)


async def test_words_that_were_accepted_and_never_came_are_said_again(
    tmp_path: Path, autojump_clock: trio.abc.Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hub took them, and was gone before it delivered them; whatever else is void with them."""
    async with opened(tmp_path) as scene:
        ana, bo, cai = scene.rooms
        await scene.is_cut_off()
        await cai.send("before")
        await settle([ana, cai])
        with monkeypatch.context() as deaf:
            deaf.setattr(RoomMachine, "_delivered", lambda *_: None)
            await ana.send("acked")
            assert ana.outbox() == []
            await ana.send_body(Beat())
            await scene.old.stop_relay()
        await force(ana, scene.new)
        await ana.send("after")
        await settle(scene.rooms)
        agree(scene.rooms, ["before", "acked", "after"])
        kinds = [entry.kind for entry in entries(bo)]
        assert Kind.SILENT not in kinds, "a beat was meant for its moment"
        assert {room.status for room in scene.rooms} == {RoomStatus.ACTIVE}


async def test_who_had_just_an_answer_and_nothing_void_is_not_frozen(
    tmp_path: Path, autojump_clock: trio.abc.Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An Ack vouched for an entry that is void; the client's log ends where the copy does."""
    async with opened(tmp_path) as scene:
        ana, bo, _ = scene.rooms
        await scene.is_cut_off()
        with monkeypatch.context() as deaf:
            deaf.setattr(RoomMachine, "_delivered", lambda *_: None)
            mine = await ana.send("acked")
            with ana._client.transaction() as tx:
                ana.queue(tx, Edit(mine.event_id, "acked, and edited"))
            await trio.sleep(5)
            await scene.old.stop_client("ana")
            await scene.old.stop_relay()
        [ana] = (await scene.old.client("ana")).rooms
        assert ana.head == bo.head
        await force(ana, scene.new)
        await ana.send("after")
        await settle([ana, bo])
        assert texts(bo)[0].startswith("acked")
        assert texts(bo)[1:] == ["after"]
        assert ana.status is RoomStatus.ACTIVE


async def test_an_edit_waits_until_what_it_is_about_is_back(
    tmp_path: Path, autojump_clock: trio.abc.Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The new hub has taken that, and its new id comes with its delivery only."""
    take = RoomMachine._delivered

    def late(machine: RoomMachine, turn: Turn, frame: Delivery) -> None:
        if not machine.is_live:
            take(machine, turn, frame)

    async with opened(tmp_path) as scene:
        ana, bo, _ = scene.rooms
        await scene.is_cut_off()
        mine = await ana.send("void")
        await settle([ana, scene.cai])
        await scene.old.stop_relay()
        with ana._client.transaction() as tx:
            ana.queue(tx, Edit(mine.event_id, "edited"))
        with monkeypatch.context() as held:
            held.setattr(RoomMachine, "_delivered", late)
            with suppress(Offline):  # its HOME is not delivered either
                await force(ana, scene.new)
            await trio.sleep(5)
            assert [item.stage for item in ana.outbox()] == [Stage.QUEUED]
        await scene.old.stop_client("ana")
        [ana] = (await scene.old.client("ana")).rooms
        await until(lambda: texts(bo) == ["edited"])


@pytest.mark.parametrize("said", [0, 2])
async def test_who_was_evicted_in_what_is_void_goes_on_as_a_member(
    tmp_path: Path, autojump_clock: trio.abc.Clock, said: int
) -> None:
    """Whether anything that came here is void with the eviction, or nothing."""
    async with open_net(tmp_path, "old", "new", change=quickly) as (old, new):
        ana, bo = await shared(old, new)
        dan = await local(old, ana, "dan")
        eve = await local(old, ana, "eve")
        await ana.grant(dan.me, Role.CO_OWNER)
        await settle([ana, bo, dan, eve])
        await old.stop_client("ana")
        part(old, new)
        for number in range(said):
            await dan.send(f"void {number}")
        await settle([dan, eve])
        await dan.evict(eve.me)
        await until(lambda: eve.status is RoomStatus.EVICTED)
        await old.restart_relay()
        await trio.sleep(60)
        assert eve.status is RoomStatus.EVICTED
        with pytest.raises(NotAllowed):
            await eve.send("out")
        await old.stop_relay()
        [ana] = (await old.client("ana")).rooms
        await force(ana, new)
        live = eve.events()
        old.to_relays[new.url].up = new.to_relays[old.url].up = True
        await old.start_relay()
        await until(lambda: log_of(old, ana.id) == log_of(new, ana.id))
        await old.restart_relay()  # she asks on each new link
        await until(lambda: eve.status is RoomStatus.ACTIVE)
        await settle([ana, bo, dan, eve])
        await eve.send("in again")
        await settle([ana, bo, dan, eve])
        agree([ana, bo, dan, eve], [*(f"void {number}" for number in range(said)), "in again"])
        kinds = [event.kind for event in told(live) if isinstance(event, Alarm)]
        assert kinds == [AlarmKind.REMOVAL_VOID]


async def test_a_lesser_move_cuts_nothing_once_a_greater_one_was_taken(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """Both are root's, and neither is in the own log yet; so also after a start."""
    async with open_net(tmp_path, "old", "new", change=quickly) as (old, new):
        ana, bo = await shared(old, new)
        for number in range(6):
            await ana.send(f"{number}")
        await settle([ana, bo])
        await old.stop_relay()
        hub = relay_of(new)
        await new.stop_relay()
        core = bo._client._core(bo.id)
        ends = [Seen(core.head.seq - back, must_hash(bo, core.head.seq - back)) for back in (1, 3)]
        made = [
            evolve(moving(ana, hub, new.now()), term=term, seen=seen)
            for term, seen in zip((3, 2), ends, strict=True)
        ]
        greater, lesser = (signed(ana, move).envelope for move in made)
        connection = bo._client._connection(bo.id)
        for records in ((greater,), (lesser,)):
            with bo._client._turn(connection) as turn:
                take_moves(turn, core, records)
            assert bo.head == ends[0].seq


async def test_a_client_that_reads_its_log_anew_takes_back_what_its_archive_has(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """Its control log ends before that."""
    async with open_net(tmp_path, "old", "new", change=quickly) as (old, new):
        ana, bo = await shared(old, new)
        await ana.send("holds")
        await bo.send("bo's, void")
        await settle([ana, bo])
        hub, core = relay_of(new), bo._client._core(bo.id)
        await old.stop_relay()
        await new.stop_relay()
        seen = Seen(core.head.seq - 1, must_hash(bo, core.head.seq - 1))
        move = signed(ana, evolve(moving(ana, hub, new.now()), seen=seen))
        with bo._client._turn(bo._client._connection(bo.id)) as turn:
            core.save_head(turn, begun=False)
            taken = take_moves(turn, core, (move.envelope,))
            assert taken is not None
            assert len(taken.said) == 1
        assert entries(bo)[-1].seq == seen.seq


def must_hash(room: Room, seq: int) -> Hash32:
    found = room._client._core(room.id).checked_hash(room._client.vault, seq)
    assert found is not None
    return found


async def test_a_file_that_is_said_again_and_then_redacted_is_dropped(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """It was counted where it is void, too: one message names it, not two."""
    async with opened(tmp_path) as scene:
        ana, bo, _ = scene.rooms
        await scene.is_cut_off()
        await ana.send_file(b"picture", name="a.png", mime="image/png")
        await settle([ana, scene.cai])
        await scene.moves()
        core = bo._client._core(bo.id)
        for room in (ana, bo):
            named = room._client.vault.items(core.tables.archive("named"))
            assert [int.from_bytes(raw, "big") for _, raw in named] == [1]


async def test_a_topic_that_is_void_gives_way_to_the_one_before(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """It is found without a reading of the log, however long that is."""
    async with opened(tmp_path) as scene:
        ana, bo, cai = scene.rooms
        await ana.grant(cai.me, Role.CO_OWNER)
        await ana.rename("garden", "roses")
        await scene.is_cut_off()
        await cai.rename("prison", "walls")
        await cai.rename("cell", "bars")
        await settle([ana, cai])
        assert (ana.name, ana.topic) == ("cell", "bars")
        core = ana._client._core(ana.id)
        named = [one.before for one in core.archive.names(ana._client.vault, ana.head + 1)]
        assert named[:2] == ["prison", "garden"]
        await scene.third.stop_client("cai")  # who would say it again
        await scene.old.stop_relay()
        await force(ana, scene.new)
        await settle([ana, bo])
        assert (ana.name, ana.topic) == ("garden", "roses")
        left = [one.before for one in core.archive.names(ana._client.vault, ana.head + 1)]
        assert left == named[2:]
