"""A disk that takes nothing ends no bridge, and what comes meanwhile is not lost unsaid (G2)."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from attrs import evolve
from trio.testing import MockClock

from bridge.core import Portal, Verdict
from ofcd.client import Client
from ofcd.protocol.records import Cap
from ofcd.testing import open_world
from tests.bridge.core.world import PLACE, Scene, Walls, open_scene, running

BOTH = Portal(room="books", network="paper", place=PLACE, hold=0.0)


def _fill(client: Client) -> None:
    """Its vault's file can not grow any more."""
    database = client.vault._db
    (pages,) = database.execute("PRAGMA page_count").fetchone()
    database.execute(f"PRAGMA max_page_count={pages}")


def _free(client: Client) -> None:
    client.vault._db.execute("PRAGMA max_page_count=1000000")


async def test_what_is_said_while_the_disk_is_full_goes_out_once_there_is_space(
    tmp_path: Path, autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both ways: once each, or counted and told; the log says why, once an hour."""
    async with open_scene(tmp_path, evolve(BOTH, max_age=6 * 3600.0)) as scene:
        await scene.room.send("before")
        await scene.quiet()
        _fill(scene.bridge)
        for number in range(12):
            await scene.room.send(f"{number} {'x' * 3000}")
            await trio.sleep(1)
        verdicts = [await scene.outside(f"in {number} {'y' * 3000}") for number in range(12)]
        assert Verdict.FULL in verdicts
        scene.engine.notice("paper", PLACE, f"something happened {'z' * 9000}")
        await trio.sleep(4000)
        _free(scene.bridge)
        await trio.sleep(1200)  # the client's link has tried less and less often
        lines = [one.removeprefix("Ana: ").split()[0] for one in scene.walls.lines()]
        assert lines == ["before", *(str(number) for number in range(12))]
        left = verdicts.count(Verdict.FULL)
        assert len(scene.bridged()) == 12 - left
        told = [one for one in scene.notices() if "left out from" in one]
        words = "message was" if left == 1 else "messages were"
        why = "the bridge had no space to keep them"
        assert told == [f"{left} {words} left out from {PLACE} on paper: {why}"]
        assert sum(one.startswith("something happened") for one in scene.notices()) == 1
    said = capsys.readouterr().out
    assert 1 <= said.count("the disk takes nothing: what is said waits") <= 3


async def test_what_a_full_disk_held_for_too_long_is_marked_and_told(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """As of any outage: hours later nobody is shown it as new."""
    async with open_scene(tmp_path, evolve(BOTH, max_age=600.0)) as scene:
        _fill(scene.bridge)
        sent = [await scene.room.send(f"{number} {'x' * 3000}") for number in range(12)]
        await trio.sleep(4000)
        _free(scene.bridge)
        await trio.sleep(1200)
        assert scene.walls.lines() == []
        await scene.room.send("after it")
        await scene.quiet(20)
        marked = {one.event_id for one in scene.messages() if one.reactions}
        count = len(marked & {one.event_id for one in sent})
        told = f"-: {count} earlier messages from the room could not be brought here in time"
        assert (count, scene.walls.lines()) == (12, [told, "Ana: after it"])


async def test_what_was_said_there_is_known_whenever_the_disk_takes_it(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """A line is handed over, and then there is no space to keep its receipt: it is said once."""
    walls = Walls()
    walls.seconds = 5.0
    async with open_scene(tmp_path, BOTH, walls=walls) as scene:
        sent = await scene.room.send("a line")
        await trio.sleep(3)
        database = scene.bridge.vault._db
        database.execute("PRAGMA query_only=1")  # nothing at all is written
        await trio.sleep(600)
        database.execute("PRAGMA query_only=0")
        await trio.sleep(60)
        assert scene.walls.lines() == ["Ana: a line"]
        passed = scene.engine.journal.passed(scene.bridge.vault, "paper", PLACE, sent.event_id)
        assert passed is not None
        assert (passed.state.value, passed.doubtful) == ("confirmed", False)


async def test_another_life_tells_how_many_were_left_out(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    limits = evolve(BOTH, in_backlog=5, in_burst=1000, in_per_second=1000.0)
    async with open_world(tmp_path) as world:
        ana, bridge = await world.client("ana"), await world.client("bridge")
        room = await ana.create_room(world.url, "books", my_name="Ana")
        await bridge.join(await room.invite(caps={Cap.BRIDGE}), name="Bridge")
        scene: Scene
        async with running(world, ana, room, bridge, Walls(), limits) as scene:
            await world.stop_relay()
            await trio.sleep(5)
            verdicts = [await scene.outside(f"line {number}") for number in range(12)]
            assert verdicts.count(Verdict.FULL) == 7
            await trio.sleep(2)
        async with running(world, ana, room, bridge, Walls(), limits) as scene:
            await world.start_relay()
            await trio.sleep(300)
            why = f"7 messages were left out from {PLACE} on paper: the relay was away too long"
            assert [one for one in scene.notices() if "left out from" in one] == [why]
        async with running(world, ana, room, bridge, Walls(), limits) as scene:
            await trio.sleep(60)
            assert sum("left out from" in one for one in scene.notices()) == 1


async def test_who_dies_while_it_tells_what_was_left_out_tells_it_in_another_life(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The count goes with the words, or stays."""

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    async with open_scene(tmp_path, BOTH) as scene:
        inbound = scene.engine.inbound
        inbound._skip("paper", PLACE, Verdict.FULL.value)
        inbound._keep_skipped()
        with monkeypatch.context() as patch:
            patch.setattr(scene.engine, "say", die)
            with pytest.raises(KeyboardInterrupt):
                inbound.tell_skipped()
        kept = scene.engine.journal.fact(scene.bridge.vault, "left out")
        assert kept == [["paper", PLACE, "full", 1]]
        await scene.quiet(30)
        assert sum("1 message was left out from" in one for one in scene.notices()) == 1
        assert scene.engine.journal.fact(scene.bridge.vault, "left out") is None
