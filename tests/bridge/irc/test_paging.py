"""The rest of a long message on demand (I2, `long = "more"`)."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from bridge.irc.settings import IrcPlace, IrcSettings
from tests.bridge.irc.scene import CHANNEL, IrcScene, irc_scene, portal, until
from tests.bridge.irc.scripted import ALL_CAPS

CAPS = [one for one in ALL_CAPS if "relaymsg" not in one and "multiline" not in one]
BASE = IrcSettings(
    name="irc", server="irc.example", nick="ofc", line_seconds=0.01, burst=100, puppet_seconds=0.5
)


async def _asks(scene: IrcScene) -> None:
    await scene.server.say("kim", CHANNEL, "!more")
    await trio.sleep(6)


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
