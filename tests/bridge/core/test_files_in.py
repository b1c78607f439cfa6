"""Files from outside: stored at a room's relay once, and only where a message tells of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from bridge.core.model import Author, RemoteFile, RemoteMessage, Verdict
from ofcd.client import Room
from ofcd.protocol.records import Cap
from tests.bridge.irc.scene import CHANNEL, irc_scene, portal, until


async def test_a_room_whose_relay_is_away_keeps_a_file_from_no_other(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is stored once for each room, however often it is brought, and waited for by one."""
    async with irc_scene(tmp_path, portal(), portal(room="other")) as scene:
        other = await scene.ana.create_room(scene.world.url, "other", my_name="Ana")
        await scene.bridge.join(await other.invite(caps=frozenset({Cap.BRIDGE})), name="Bridge")
        async with scene.running() as net:
            await scene.up()
            really: Any = Room.is_live
            upload, stored = Room.upload, []

            async def counted(room: Room, *args: Any, **more: Any) -> Any:
                stored.append(room.id)
                return await upload(room, *args, **more)

            file = RemoteFile("a", "application/x", b"x" * 1000)
            said = RemoteMessage(
                place=CHANNEL, id="x", author=Author("a", "a"), document=(), file=file
            )
            monkeypatch.setattr(Room, "upload", counted)
            with monkeypatch.context() as patch:
                live = property(lambda room: room.id != other.id and really.fget(room))
                patch.setattr(Room, "is_live", live)
                assert [await net.host.take(said) for _ in range(3)] == [Verdict.FULL] * 3
                assert stored == [scene.room.id]
            assert await net.host.take(said) is Verdict.TAKEN
            assert await net.host.take(said) is Verdict.DUPLICATE
            assert stored == [scene.room.id, other.id]


async def test_a_file_that_no_message_will_tell_of_is_not_stored(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of who is ignored, and of more than may come now: that is stored once, when it may."""
    limits = portal(in_burst=1, in_per_second=0.1, ignore=["eve"])
    async with irc_scene(tmp_path, limits) as scene, scene.running() as net:
        await scene.up()
        upload, stored = Room.upload, []

        async def counted(room: Room, *args: Any, **more: Any) -> Any:
            stored.append(more["name"])
            return await upload(room, *args, **more)

        monkeypatch.setattr(Room, "upload", counted)

        async def take(name: str, who: str = "kim") -> Verdict:
            file = RemoteFile(name, "application/x", b"x" * 1000)
            author = Author(who, who)
            return await net.host.take(
                RemoteMessage(place=CHANNEL, id=name, author=author, document=(), file=file)
            )

        assert await take("unwanted", "eve") is Verdict.IGNORED
        assert await take("a") is Verdict.TAKEN
        assert [await take("b") for _ in range(3)] == [Verdict.LIMITED] * 3
        await trio.sleep(11)
        assert await take("b") is Verdict.TAKEN
        assert stored == ["a", "b"]


@pytest.mark.parametrize(
    ("words", "verdict"), [("!bridge ignore kim", Verdict.IGNORED), ("", Verdict.CLOSED)]
)
async def test_what_a_room_says_while_a_file_is_stored_counts(
    tmp_path: Path,
    autojump_clock: MockClock,
    monkeypatch: pytest.MonkeyPatch,
    words: str,
    verdict: Verdict,
) -> None:
    """Its owners ignore who brings it, or take the bridge's capability back."""
    async with irc_scene(tmp_path) as scene, scene.running() as net:
        await scene.up()
        upload = Room.upload

        async def slow(room: Room, *args: Any, **more: Any) -> Any:
            made = await upload(room, *args, **more)
            if words:
                await scene.room.send(words)
            else:
                me = next(one for one in scene.room.members() if one.name.startswith("Bridge"))
                await scene.room.grant(me.mid, me.role, set())
            await trio.sleep(10)
            return made

        monkeypatch.setattr(Room, "upload", slow)
        file = RemoteFile("a", "application/x", b"x")
        said = RemoteMessage(
            place=CHANNEL, id="x", author=Author("kim!k@h", "kim"), document=(), file=file
        )
        assert await net.host.take(said) is verdict
        await trio.sleep(10)
        assert scene.bridged() == []


async def test_a_file_that_is_too_large_for_the_portal_is_told_by_name(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with irc_scene(tmp_path, portal(file_bytes=1000)) as scene, scene.running() as net:
        await scene.up()
        for size in (1000, 1001):
            file = RemoteFile(f"f{size}", "application/x", b"x" * size)
            author = Author("kim", "kim")
            remote = RemoteMessage(
                place=CHANNEL, id=f"{size}", author=author, document=(), file=file
            )
            assert await net.host.take(remote) is Verdict.TAKEN
        await until(lambda: len(scene.bridged()) == 2)
        small, large = [one for one in scene.messages() if one.via is not None]
        assert small.file is not None
        assert large.file is None
        assert "[file f1001, 1001 bytes, was not taken" in large.text
