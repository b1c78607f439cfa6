"""A disk that takes nothing ends no IRC bridge, and what was said meanwhile is told of (G2)."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from bridge.irc.kept import Kept
from bridge.irc.settings import IrcPlace
from ofcd.client import VaultUnwritable
from tests.bridge.irc.scene import CHANNEL, irc_scene, portal, until
from tests.bridge.irc.scripted import ALL_CAPS

CAPS = [one for one in ALL_CAPS if "multiline" not in one and "relaymsg" not in one]


async def test_a_disk_that_is_full_ends_no_link_and_no_line_is_missing_unsaid(
    tmp_path: Path, autojump_clock: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the bridge joins and rejoins, puppets come, and lines go both ways."""
    there = portal(options=IrcPlace(mode="puppets"))
    async with irc_scene(tmp_path, there, caps=CAPS) as scene, scene.running():
        await scene.up()
        await scene.server.say("kim", CHANNEL, "one")
        await trio.sleep(5)
        really = type(scene.bridge).transaction

        def full(client: object) -> object:
            if client is scene.bridge:
                raise VaultUnwritable("the disk is full")
            return really(client)  # type: ignore[arg-type]

        with monkeypatch.context() as patch:
            patch.setattr(type(scene.bridge), "transaction", full)
            await scene.server.say("kim", CHANNEL, "two")
            await scene.room.send("by Ana")
            await trio.sleep(60)
            await scene.server.die()
            scene.server.dead = False
            await trio.sleep(60)
        await scene.up()
        await scene.server.say("kim", CHANNEL, "three")
        await until(lambda: scene.bridged()[-1:] == ["kim: three"])
        await until(lambda: scene.heard())
        await trio.sleep(60)
        assert [one for one in scene.bridged() if one in ("kim: one", "kim: three")] == [
            "kim: one",
            "kim: three",
        ]
        assert sum("by Ana" in one for one in scene.heard()) == 1
        was = "left out from #books on irc (irc.example): the bridge had no space to keep them"
        assert any(was in one for one in scene.notices())
        # What is known of the channel and its nicks is on the disk again.
        host = scene.network.host if scene.network is not None else None
        assert host is not None
        assert host.vault.get(host.table("seen"), CHANNEL.encode()) is not None


async def test_a_record_holds_though_the_disk_does_not_take_it(
    tmp_path: Path, autojump_clock: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also that one is gone; and the next that is kept brings it along."""
    async with irc_scene(tmp_path) as scene, scene.running() as network:
        await scene.up()
        host = network.host
        kept, table = Kept(host), host.table("things")
        for key in ("a", "b"):
            kept.note(table, key, b"old")
        kept.keep()

        def full(_client: object) -> object:
            raise VaultUnwritable("the disk is full")

        with monkeypatch.context() as patch:
            patch.setattr(type(scene.bridge), "transaction", full)
            kept.note(table, "a", b"new")
            kept.note(table, "b", None)
            kept.keep()
            assert (kept.get(table, "a"), kept.get(table, "b")) == (b"new", None)
        assert [Kept(host).get(table, key) for key in ("a", "b")] == [b"old", b"old"]
        kept.note(table, "c", b"more")
        kept.keep()
        assert [Kept(host).get(table, key) for key in ("a", "b", "c")] == [b"new", None, b"more"]
