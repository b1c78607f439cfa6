"""The rest of a long message on demand (I2, `long = "more"`)."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from attrs import evolve
from trio.testing import MockClock

from bridge.irc.settings import IrcPlace, IrcSettings
from bridge.irc.shared import ORIGIN_TAG
from bridge.irc.wire import Line
from tests.bridge.irc.scene import CHANNEL, IrcScene, irc_scene, portal, until
from tests.bridge.irc.scripted import ALL_CAPS, Guest

CAPS = [one for one in ALL_CAPS if "relaymsg" not in one and "multiline" not in one]
BASE = IrcSettings(
    name="irc", server="irc.example", nick="ofc", line_seconds=0.01, burst=100, puppet_seconds=0.5
)


async def _asks(scene: IrcScene) -> None:
    await scene.server.say("kim", CHANNEL, "!more")
    await trio.sleep(6)


async def test_who_is_ignored_asks_in_vain(tmp_path: Path, autojump_clock: MockClock) -> None:
    """By the settings, or by the owners of the room that the message is of."""
    there = portal(options=IrcPlace(long="more", max_lines=1), ignore=["eve!*"])
    async with irc_scene(tmp_path, there, settings=BASE) as scene, scene.running():
        await scene.up()
        await scene.room.send("!bridge ignore mallory")
        await scene.room.send("one\ntwo")
        await until(lambda: scene.heard())
        before = scene.heard()
        for who in ("eve", "mallory"):
            await scene.server.say(who, CHANNEL, "!more")
            await trio.sleep(10)
            assert scene.heard() == before
        await _asks(scene)
        assert len(scene.heard()) == len(before) + 1
        assert scene.bridged() == []


@pytest.mark.parametrize("mode", ["relay", "puppets"])
async def test_who_asks_gets_the_rest_and_no_word_twice(
    tmp_path: Path, autojump_clock: MockClock, mode: str
) -> None:
    """Each line fits, also when the bridge's nick goes on for a puppet."""
    there = portal(options=IrcPlace(mode=mode, long="more", max_lines=2))
    async with irc_scene(tmp_path, there, caps=CAPS, settings=BASE) as scene, scene.running():
        await scene.up()
        await scene.room.send("first")
        await trio.sleep(10)
        words = [f"wörd{number}" for number in range(230)]
        await scene.room.send(" ".join(words))
        await until(lambda: "say !more)" in scene.heard()[-1])
        assert len(scene.heard()) == 4
        await _asks(scene)
        assert scene.heard()[-1].startswith("ofc: (")
        for _ in range(2):
            await _asks(scene)
        rest = [one for one in scene.heard()[1:] if "say !more" not in one]
        said = " ".join(one.partition(": ")[2].removeprefix("<\x02Ana\x02> ") for one in rest)
        assert said == " ".join(words)
        assert {one.partition(":")[0] for one in rest[2:]} == {"ofc"}
        assert all(one.partition(": ")[2].startswith("<\x02Ana\x02> ") for one in rest[2:])
        for kept in scene.server.history[CHANNEL]:
            assert len(f":{kept.source} PRIVMSG {CHANNEL} :{kept.params[1]}\r\n".encode()) <= 512
        assert scene.bridged() == ["kim: !more"], "there was nothing more to ask for"


async def test_what_was_taken_back_or_is_old_is_not_said(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    there = portal(options=IrcPlace(long="more", max_lines=2), redactions=False)
    long = "\n".join(f"line {number}" for number in range(6))
    async with irc_scene(tmp_path, there, caps=CAPS, settings=BASE) as scene, scene.running():
        await scene.up()
        sent = await scene.room.send(long)
        await until(lambda: len(scene.heard()) == 3)
        await scene.room.redact(sent.event_id)
        await trio.sleep(2)
        await _asks(scene)
        await scene.room.send(long)
        await until(lambda: len(scene.heard()) == 6)
        await trio.sleep(700)
        await _asks(scene)
        await scene.room.send(long)
        await until(lambda: len(scene.heard()) == 9)
        await scene.room.send("!bridge me nick-only")
        await trio.sleep(5)
        await _asks(scene)
        assert not any("line 2" in one for one in scene.heard())
        assert len(scene.bridged()) == 3


@pytest.mark.parametrize("edits", ["diff", "off"])
async def test_what_an_edit_took_out_is_not_said(
    tmp_path: Path, autojump_clock: MockClock, edits: str
) -> None:
    """Neither where edits are told nor where they are not; one before it was said is in it."""
    long = "\n".join(f"line {number} walnut" for number in range(6))
    there = portal(options=IrcPlace(long="more", max_lines=2), edits=edits, hold=5.0)
    async with irc_scene(tmp_path, there, caps=CAPS, settings=BASE) as scene, scene.running():
        await scene.up()
        sent = await scene.room.send("typo\n" + long)
        await trio.sleep(1)
        await scene.room.edit(sent.event_id, long)
        await until(lambda: len(scene.heard()) == 3)
        await _asks(scene)
        assert scene.heard()[-2].endswith("line 3 walnut")
        await scene.room.edit(sent.event_id, "short now")
        await trio.sleep(20)
        await _asks(scene)
        assert not any("line 4" in one for one in scene.heard())
        assert scene.bridged() == ["kim: !more"]


async def test_the_rest_is_said_as_the_other_lines_are(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """It says where it has been, and its arrival is proven."""
    there = portal(options=IrcPlace(long="more", max_lines=2))
    async with irc_scene(tmp_path, there, caps=CAPS, settings=BASE) as scene, scene.running():
        await scene.up()
        await scene.room.send("\n".join(f"line {number}" for number in range(6)))
        await until(lambda: len(scene.heard()) == 3)
        await _asks(scene)
        kept = [one for one in scene.server.history[CHANNEL] if one.source.startswith("ofc!")]
        assert len(kept) == 6
        assert {one.tags.get(ORIGIN_TAG) for one in kept} == {kept[0].tags[ORIGIN_TAG]}
        said = [one for one in scene.guest("ofc").lines if one.command == "PRIVMSG"]
        assert all("label" in one.tags for one in said)


async def test_who_asks_holds_nothing_up(tmp_path: Path, autojump_clock: MockClock) -> None:
    """What is said waits for its turn; the server's PING and what others say do not."""
    there = portal(options=IrcPlace(long="more", max_lines=5))
    slow = evolve(BASE, line_seconds=10.0, burst=1)
    async with irc_scene(tmp_path, there, caps=CAPS, settings=slow) as scene, scene.running():
        await scene.up()
        await scene.room.send("\n".join(f"line {number}" for number in range(100)))
        await until(lambda: len(scene.heard()) == 6)
        await trio.sleep(100)
        for _ in range(10):
            await scene.server.say("kim", CHANNEL, "!more")
        await scene.server.to(scene.guest("ofc"), "", "PING", "there?")
        await scene.server.say("kim", CHANNEL, "hello?")
        await trio.sleep(1)
        assert scene.bridged() == ["kim: hello?"]
        assert ("there?",) in scene.guest("ofc").said("PONG")
        await trio.sleep(300)
        assert sum("line" in one for one in scene.heard()) == 10, "asked once, the others in vain"


async def test_a_link_that_breaks_doubles_no_line_and_leaves_out_none(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    there = portal(options=IrcPlace(long="more", max_lines=4))
    slow = evolve(BASE, line_seconds=1.0, burst=1)
    async with irc_scene(tmp_path, there, caps=CAPS, settings=slow) as scene, scene.running():
        await scene.up()
        await scene.room.send("\n".join(f"line {number}" for number in range(10)))
        await until(lambda: len(scene.heard()) == 5)
        await trio.sleep(30)
        broken: list[Line] = []

        def breaks(_guest: Guest, line: Line) -> str:
            if line.command == "PRIVMSG" and "line 6" in line[1] and not broken:
                broken.append(line)
                return "before"
            return ""

        scene.server.swallow = breaks
        await scene.server.say("kim", CHANNEL, "!more")
        await until(lambda: broken)
        await trio.sleep(60)
        await scene.up()
        await scene.server.say("kim", CHANNEL, "!more")
        await trio.sleep(60)
        said = [one.rpartition(" ")[2] for one in scene.heard() if "line" in one and "(" not in one]
        assert said == [str(number) for number in range(10)]
