"""What a room is told of its bridge, and what a portal does not take or tell (G4)."""

from __future__ import annotations

from pathlib import Path

import pytest
from attrs import evolve
from trio.testing import MockClock

from bridge.core import Author, Kind, Portal, Remote, RemoteNote, RemoteTopic, Verdict
from bridge.core.formatting import plain_text
from ofcd.protocol.records import Cap
from tests.bridge.core.world import PLACE, open_scene

BOOKS = Portal(room="books", network="paper", place=PLACE, hold=0.0)
KIM = Author("kim!x@y", "kim")
JOINED = RemoteNote(place=PLACE, id="n", author=KIM, text="kim joined")
TOPIC = RemoteTopic(place=PLACE, id="t", author=KIM, topic="films")


async def test_each_grant_and_each_loss_of_it_is_said_in_the_room(
    tmp_path: Path, autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    async with open_scene(tmp_path, BOOKS, caps=frozenset()) as scene:
        me = next(one for one in scene.room.members() if one.name.startswith("Bridge"))
        for caps in (frozenset({Cap.BRIDGE}), frozenset[Cap](), frozenset({Cap.BRIDGE})):
            await scene.room.grant(me.mid, me.role, caps)
            await scene.quiet(20)
        said = ["I copy" if one.startswith("I copy") else one[:9] for one in scene.notices()]
        assert said == ["I may not", "I copy", "I may not", "I copy"]
    log = capsys.readouterr().out
    assert log.count("said what this bridge may do in a room") == 4


@pytest.mark.parametrize("consent", ["withheld", "nick-only", "full"])
async def test_the_topic_of_who_is_withheld_stays(
    tmp_path: Path, autojump_clock: MockClock, consent: str
) -> None:
    """Also where that is said, or lifted, only while the topic waits."""
    async with open_scene(tmp_path, evolve(BOOKS, topic=True)) as scene:
        await scene.room.send(f"!bridge me {consent}")
        await scene.quiet()
        await scene.room.rename("books", "my own words")
        await scene.quiet()
        if consent != "full":
            scene.walls.set_up(False)
            await scene.room.rename("books", "still my own words")
            await scene.quiet()
            await scene.room.send("!bridge me full")
            await scene.quiet()
            scene.walls.set_up(True)
            await scene.quiet()
        else:
            scene.walls.set_up(False)
            await scene.room.rename("books", "other words")
            await scene.quiet()
            await scene.room.send("!bridge me withheld")
            await scene.quiet()
            scene.walls.set_up(True)
            await scene.quiet()
        told = [plain_text(one.document) for one in scene.walls.said if one.kind is Kind.TOPIC]
        assert told == (["my own words"] if consent == "full" else [])


@pytest.mark.parametrize(("remote", "setting"), [(JOINED, "presence"), (TOPIC, "topic")])
async def test_who_comes_and_goes_and_topics_only_where_the_portal_wants_them(
    tmp_path: Path, autojump_clock: MockClock, remote: Remote, setting: str
) -> None:
    """Neither way, by default."""
    for wanted in (False, True):
        presence, topic = wanted and setting == "presence", wanted and setting == "topic"
        portal = evolve(BOOKS, presence=presence, topic=topic)
        async with open_scene(tmp_path / str(wanted), portal) as scene:
            verdict = await scene.engine.inbound.take("paper", remote)
            assert verdict is (Verdict.TAKEN if wanted else Verdict.IGNORED)
            bo = await scene.world.client("bo")
            await bo.join(await scene.room.invite(), name="Bo")
            await scene.room.rename("books", "stories")
            await scene.quiet()
            assert bool(scene.bridged()) is wanted
            assert bool(scene.walls.said) is wanted
