"""What can not be told outside is marked, told or counted, and holds nothing else up for long."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio
from attrs import evolve
from trio.testing import MockClock

from bridge.core import Kind, Outgoing, Portal, Receipt, State
from bridge.core.ledger import FAILED_MARK
from ofcd.client import MessageReceived, MessageUnreadable, VaultUnwritable
from ofcd.protocol.records import Cap
from tests.bridge.core.world import PLACE, Scene, Walls, open_scene, running
from tests.bridge.pair import open_pair
from tests.client.test_client import forget_keys

BOTH = Portal(room="books", network="paper", place=PLACE, hold=0.0)


def _marks(scene: Scene) -> list[str]:
    """What bears the mark of what was not delivered."""
    marked = [one for one in scene.messages() if FAILED_MARK in dict(one.reactions)]
    return [one.text for one in marked]


def _count(scene: Scene, state: str) -> float:
    labels = {"network": "paper", "state": state}
    return scene.engine.metrics.registry.get_sample_value("bridge_went_total", labels) or 0.0


def _keyless(scene: Scene) -> float:
    return scene.engine.metrics.registry.get_sample_value("bridge_rooms_without_key") or 0.0


@pytest.mark.parametrize("away", [300, 900])
async def test_a_missing_key_holds_the_room_up_as_long_as_a_message_may_wait(
    tmp_path: Path, autojump_clock: MockClock, away: int
) -> None:
    """For chat ten minutes: what comes later is marked, and can be sent again."""
    async with open_pair(tmp_path) as pair:
        world, room = pair.world, pair.room.id
        await world.stop_client("bridge")
        await pair.room.send("under a key that is lost")
        await world.stop_client("ana")
        forget_keys(tmp_path, "bridge", room)
        bridge = await world.client("bridge")
        async with running(world, pair.ana, bridge.rooms[0], bridge, Walls()) as scene:
            await trio.sleep(60)
            assert _keyless(scene) == 1
            await trio.sleep(away - 60)
            ana = await world.client("ana")
            scene = evolve(scene, ana=ana, room=ana.room(room))
            await scene.room.send("and one more")
            await scene.quiet(20)
            assert _keyless(scene) == 0
            late = [] if away < 600 else ["under a key that is lost"]
            told = ["Ana: under a key that is lost"][len(late) :]
            assert scene.walls.lines() == [*told, "Ana: and one more"]
            assert _marks(scene) == late
            assert _count(scene, "failed") == len(late)
            for words in late:
                assert any("its key did not reach the bridge" in one for one in scene.notices())
                [lost] = [one for one in scene.messages() if one.text == words]
                await scene.room.send("!bridge resend", reply_to=lost.event_id)
                await scene.quiet()
                assert scene.walls.lines()[1:] == [f"Ana: {words}"]


async def _meet(scene: Scene, text: str, why: str) -> None:
    """Ana says something that the bridge, when it comes to it, can not read for this reason."""
    sent = await scene.room.send(text)
    await trio.sleep(1)
    [room] = scene.bridge.rooms
    message = room.message(sent.event_id)
    assert message is not None
    common: dict[str, Any] = {"room": room.id, "seq": message.seq, "event_id": message.event_id}
    common |= {"mid": message.mid, "ts": message.ts}
    event = MessageReceived(**common, message=evolve(message, text="", unreadable=why))
    with scene.bridge.transaction() as tx:
        made = MessageUnreadable(**common, epoch=0) if why == "key" else event
        scene.engine.outbound.event(tx, room, made)
    await trio.sleep(5)


async def test_what_is_of_an_unknown_kind_is_marked(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_scene(tmp_path, evolve(BOTH, hold=60.0)) as scene:
        await _meet(scene, "as if it were a poll", "unknown_type")
        assert _marks(scene) == ["as if it were a poll"]
        assert any("of a kind that this bridge does not know" in one for one in scene.notices())


async def test_what_was_not_to_be_told_is_not_marked_where_it_can_not_be_read(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """What the relay has no more, and whatever is of somebody who is not bridged."""
    async with open_scene(tmp_path, evolve(BOTH, hold=60.0)) as scene:
        await _meet(scene, "fell out of the log", "cell_gone")
        await scene.room.send("!bridge me withheld")
        await scene.quiet()
        await _meet(scene, "as if it were a poll", "unknown_type")
        await _meet(scene, "as if its key had not come", "key")
        assert _marks(scene) == []
        assert _count(scene, "failed") == 0
        assert not any("Not delivered" in one for one in scene.notices())


async def test_what_was_taken_back_while_the_bridge_was_away_is_not_marked(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_pair(tmp_path) as pair:
        await pair.world.stop_client("bridge")
        sent = await pair.room.send("never mind")
        await pair.room.redact(sent.event_id)
        bridge = await pair.world.client("bridge")
        async with running(pair.world, pair.ana, pair.room, bridge, Walls()) as scene:
            assert (_marks(scene), scene.walls.said) == ([], [])
            assert not any("Not delivered" in one for one in scene.notices())
            assert _count(scene, "dropped") == 1


async def test_nothing_is_given_up_before_its_key_could_come(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """While the bridge was down, and its relay away then, nobody could have brought it."""
    async with open_pair(tmp_path) as pair:
        world, room = pair.world, pair.room.id
        await world.stop_client("bridge")
        await pair.room.send("under a key that is lost")
        await world.stop_client("ana")
        forget_keys(tmp_path, "bridge", room)
        bridge = await world.client("bridge")
        await bridge.rooms[0].wait_live()
        await world.stop_client("bridge")
        await world.stop_relay()
        await trio.sleep(7200)
        bridge, patient = await world.client("bridge"), evolve(BOTH, max_age=86_400.0)
        async with running(world, pair.ana, bridge.rooms[0], bridge, Walls(), patient) as scene:
            await trio.sleep(120)
            await world.start_relay()
            ana = await world.client("ana")
            scene = evolve(scene, ana=ana, room=ana.room(room))
            await scene.quiet(200)
            assert scene.walls.lines() == ["Ana: under a key that is lost"]
            assert _marks(scene) == []


async def test_no_key_is_waited_for_behind_what_is_read_still(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A message that was taken back has no words, and needs no key."""
    async with open_scene(tmp_path) as scene:

        def full(*_: object) -> None:
            raise VaultUnwritable("the disk is full")

        monkeypatch.setattr(scene.engine.outbound, "event", full)
        await scene.room.send("waits for the disk")
        sent = await scene.room.send("never mind")
        await scene.room.redact(sent.event_id)
        await trio.sleep(30)
        assert _keyless(scene) == 0
        assert scene.engine.keyless == set()


@pytest.mark.parametrize("state", [State.DROPPED, State.FAILED])
async def test_what_is_not_told_of_a_room_is_said_in_that_room_alone(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, state: State
) -> None:
    """Another room that is joined to the same place may know nothing of it."""
    films = evolve(BOTH, room="films")
    async with open_scene(tmp_path, evolve(BOTH, max_edits=3), films) as scene:
        other = await scene.ana.create_room(scene.world.url, "films", my_name="Ana")
        await scene.bridge.join(await other.invite(caps={Cap.BRIDGE}), name="Bridge")
        sent = await scene.room.send("hello")
        await scene.quiet()

        async def refuse(one: Outgoing) -> Receipt:
            await trio.lowlevel.checkpoint()
            return Receipt(one.number, state, (), "it still stands there")

        monkeypatch.setattr(scene.network, "_deliver", refuse)
        await scene.room.edit(sent.event_id, "hello!")
        await scene.quiet()
        [told] = [one for one in scene.notices() if "it still stands there" in one]
        assert told.startswith("Not told to #books on paper (edit)")
        said = [one.text for one in other.messages(since=0, limit=1000)]
        assert not any("it still stands there" in one for one in said)


async def test_a_reaction_to_what_waits_goes_behind_it_and_ends_with_it(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_scene(tmp_path, evolve(BOTH, reactions=True)) as scene:
        for refuse in ("", "not that"):
            scene.walls.set_up(False)
            await trio.sleep(2)
            sent = await scene.room.send("shall we?")
            await scene.room.react(sent.event_id, "👍")
            await trio.sleep(10)
            scene.walls.refuse, scene.walls.seconds = refuse, 5.0
            scene.walls.set_up(True)
            await trio.sleep(7)
            scene.walls.refuse = ""
            await scene.quiet(20)
        assert [one.kind for one in scene.walls.said] == [Kind.MESSAGE, Kind.REACTION]
        assert scene.walls.said[1].remote_ids == ("out1",)


async def test_who_edits_on_learns_that_nobody_outside_reads_it(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """Once for each message; and each that is not told is counted."""
    async with open_scene(tmp_path, evolve(BOTH, max_edits=1)) as scene:
        sent = await scene.room.send("one")
        for text in ("two", "three", "four"):
            await scene.quiet()
            await scene.room.edit(sent.event_id, text)
        await scene.quiet()
        assert [one.kind for one in scene.walls.said] == [Kind.MESSAGE, Kind.EDIT]
        told = [one for one in scene.messages() if "is told no more" in one.text]
        assert [one.reply_to for one in told] == [sent.event_id]
        assert _count(scene, "dropped") == 2
