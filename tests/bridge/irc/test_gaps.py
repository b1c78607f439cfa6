"""What was said while the bridge was away, and no server says again, is told of as missing (I8)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trio

from tests.bridge.irc.scene import CHANNEL, IrcScene, irc_scene
from tests.bridge.irc.scripted import ALL_CAPS

HISTORY = [one for one in ALL_CAPS if "multiline" not in one and "relaymsg" not in one]


def _gaps(scene: IrcScene) -> list[str]:
    return [one for one in scene.notices() if "I was not in" in one]


async def _away(scene: IrcScene, seconds: float) -> None:
    await scene.server.die()
    await trio.sleep(seconds)
    scene.server.dead = False
    await trio.sleep(400)
    await scene.up()
    await trio.sleep(30)


@pytest.mark.parametrize("history", [False, True])
async def test_a_gap_without_history_is_told_in_the_room(
    tmp_path: Path, autojump_clock: object, history: bool
) -> None:
    """By when it began and ended; a short one, and one that the server fills, is none."""
    caps = HISTORY if history else []
    async with irc_scene(tmp_path, caps=caps) as scene:
        async with scene.running():
            await scene.up()
            await trio.sleep(30)
            assert _gaps(scene) == []
            await scene.server.die()
            scene.server.dead = False
            await trio.sleep(5)
            await scene.up()
            await trio.sleep(30)
            assert _gaps(scene) == [], "nobody misses a few seconds"
            await _away(scene, 3 * 3600)
            assert len(_gaps(scene)) == (not history)
        await trio.sleep(7200)
        async with scene.running():
            await scene.up()
            await trio.sleep(30)
            told = _gaps(scene)
            assert len(told) == 2 * (not history), "another life knows when the last one ended"
            for one in told:
                assert one.startswith(f"I was not in {CHANNEL} on irc from ")
                first, last = one.split()[8], one.split()[10]
                minutes = [int(at[:2]) * 60 + int(at[3:]) for at in (first, last)]
                assert 119 <= (minutes[1] - minutes[0]) % 1440 <= 200


async def test_a_link_that_dies_with_no_word_is_a_gap_from_then_on(
    tmp_path: Path, autojump_clock: object
) -> None:
    """The server is given up after two minutes: what was said since it was heard is lost."""
    async with irc_scene(tmp_path, caps=[]) as scene, scene.running() as network:
        await scene.up()
        await trio.sleep(300)
        ours = scene.guest("ofc")
        scene.server.guests.remove(ours)
        scene.server.swallow = lambda guest, _line: "lost" if guest is ours else ""
        died = network.host.now()
        await trio.sleep(30)
        await scene.server.say("kim", CHANNEL, "lost words")
        await trio.sleep(400)
        await scene.up()
        await trio.sleep(60)
        assert scene.bridged() == []
        [told] = _gaps(scene)
        at = datetime.fromtimestamp(died / 1000, UTC)
        minutes = {f"{at - timedelta(minutes=one):%H:%M}" for one in range(3)}
        assert told.split()[8] in minutes


async def test_a_quiet_server_makes_no_gap_of_a_restart(
    tmp_path: Path, autojump_clock: object
) -> None:
    """It is silent because nobody says anything."""
    async with irc_scene(tmp_path, caps=[]) as scene:
        for _ in range(2):
            async with scene.running():
                await scene.up()
                await trio.sleep(58)
        async with scene.running():
            await scene.up()
            await trio.sleep(30)
            assert _gaps(scene) == []


async def test_a_vault_that_does_not_know_when_the_bridge_was_there_tells_of_no_gap(
    tmp_path: Path, autojump_clock: object
) -> None:
    """It is of an older version: that nobody has said anything for hours is no gap."""
    async with irc_scene(tmp_path, caps=["server-time", "message-tags"]) as scene:
        async with scene.running() as network:
            await scene.up()
            await trio.sleep(30)
            await scene.server.say("kim", CHANNEL, "one")
            await trio.sleep(4 * 3600)
            host = network.host
        with host.transaction() as tx:
            tx.delete(host.table("there"), CHANNEL.encode())
        await trio.sleep(5)
        async with scene.running() as network:
            await scene.up()
            await trio.sleep(3)
            assert _gaps(scene) == []
            assert host.vault.get(host.table("there"), CHANNEL.encode()), "from now on it is known"


async def test_owners_can_ask_who_reads_the_channel(tmp_path: Path, autojump_clock: object) -> None:
    async with irc_scene(tmp_path, caps=[]) as scene, scene.running() as network:
        await scene.up()
        ofc = scene.guest("ofc")
        await scene.server.to(ofc, "irc.example", "353", "ofc", "=", CHANNEL, "@zoe ofc +kim")
        await trio.sleep(2)
        told = await network.command(scene.room.id, ["irc", "names"])
        assert told == f"{CHANNEL}, 2 others: kim, zoe"
        assert "irc names" in str(await network.command(scene.room.id, ["irc"]))
