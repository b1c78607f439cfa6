"""What waits for the rooms of its place, and mails that end the bridge."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from bridge.core import Portal
from bridge.core.model import Verdict
from bridge.email import inbox, incoming
from bridge.email.inbox import Said
from bridge.email.parsing import Mail
from ofcd.client import Room
from ofcd.protocol.ids import RoomId
from ofcd.protocol.records import Cap
from tests.bridge.email.post import (
    PROOF,
    Post,
    bring,
    by_bo,
    lives,
    read,
    scene_of,
    with_file,
    with_files,
)
from tests.bridge.email.scene import Scene, until


async def test_a_mail_with_files_waits_while_the_relay_is_away(
    tmp_path: Path, post: Post, autojump_clock: MockClock
) -> None:
    """It is on our disk, with all that comes after it: nothing is lost, and nothing overtakes."""
    async with scene_of(tmp_path) as scene:
        await scene.world.stop_relay()
        assert await bring(scene, with_file("look", 1)) == 250
        assert await bring(scene, by_bo("after it", 2)) == 250
        assert await bring(scene, by_bo("after it", 2)) == 250, "and a server comes twice"
        waits = scene.network.host.table("inraw", large=True)
        assert len(list(scene.bridge.vault.items(waits))) == 2
        assert "2 mails wait to be brought in" in await scene.do("status")
        await scene.world.start_relay()
        with trio.fail_after(600):
            while len(scene.texts()) < 3:  # noqa: ASYNC110 - the room tells no Event
                await trio.sleep(1)
        assert [text.partition("\n")[0] for text in scene.texts()] == [
            "Bo: **Friday**",
            "Bo: <a.txt>",
            "Bo: **Friday**",
        ]
        assert scene.texts()[0].endswith("look")
        assert scene.texts()[2].endswith("after it")
        assert await read(scene, "a.txt") == b"data"
        assert list(scene.bridge.vault.items(waits)) == []
        assert await bring(scene, by_bo("after it", 2)) == 250
        await trio.sleep(30)
        assert len(scene.texts()) == 3


async def test_a_mail_taken_while_another_is_brought_in_comes_after_it(
    tmp_path: Path, post: Post, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over two links at once: who was taken first is first in the room."""
    async with scene_of(tmp_path) as scene, trio.open_nursery() as nursery:
        room, upload = scene.bridge.rooms[0], type(scene.bridge.rooms[0]).upload

        async def slow(*args: Any, **more: Any) -> Any:
            await trio.sleep(50)
            return await upload(*args, **more)

        monkeypatch.setattr(type(room), "upload", slow)
        nursery.start_soon(bring, scene, with_file("first", 1))
        await trio.sleep(1)
        with trio.fail_after(10):  # and its server does not wait for the first one
            assert await bring(scene, by_bo("second", 2)) == 250
        await trio.sleep(100)
        assert [text.rpartition("\n")[2] for text in scene.texts()] == [
            "first",
            "Bo: <a.txt>",
            "second",
        ]


async def test_what_waits_for_the_room_is_bounded_and_ends(
    tmp_path: Path, post: Post, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More than may wait stays with its server; what waits for days, or makes us fail, goes to an
    owner, who lets it in under its author's own name: it is proven."""
    monkeypatch.setattr(inbox, "INBOX_MAILS", 2)
    monkeypatch.setattr(inbox, "_PATIENCE_MS", 600_000)
    async with scene_of(tmp_path) as scene:
        await scene.world.stop_relay()
        assert await bring(scene, with_file("one", 1)) == 250
        assert await bring(scene, by_bo("two", 2)) == 250
        with monkeypatch.context() as patch:
            patch.setattr(incoming, "parse", lambda _: pytest.fail("it is read for nothing"))
            assert await bring(scene, by_bo("three", 3)) == 451
        await trio.sleep(900)
        held = await scene.do("held")
        assert "0: from somebody known: no room took it for days" in held
        assert "1:" not in held, "words alone wait with all else that the room says"
        assert await bring(scene, by_bo("three", 3)) == 250
        await scene.world.start_relay()
        with trio.fail_after(600):
            while not any("waits for an owner's word" in one for one in scene.notices()):  # noqa: ASYNC110
                await trio.sleep(1)
        assert await scene.do("let", "0") == "It is in the room."
        assert all(text.startswith("Bo: ") for text in scene.texts())
        inside = scene.network.incoming

        def broken(*_: object, **_more: object) -> None:
            raise KeyError("a mistake")

        with monkeypatch.context() as patch:
            await inside.inbox._places["books"].turn.acquire()
            assert await bring(scene, by_bo("four", 4)) == 250
            inside.inbox._places["books"].turn.release()
            patch.setattr("bridge.email.saying.shown_of", broken)
            await trio.sleep(60)
        assert "something went wrong over it" in await scene.do("held")
        assert await bring(scene, by_bo("five", 5)) == 250
        await trio.sleep(10)
        assert scene.texts()[-1].endswith("five")


async def test_what_waits_is_bounded_by_its_bytes(
    tmp_path: Path, post: Post, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What would go over it stays with its server, and a smaller one may still wait."""
    monkeypatch.setattr(inbox, "INBOX_BYTES", 3000)
    async with scene_of(tmp_path) as scene:
        await scene.world.stop_relay()
        assert await bring(scene, with_file("one", 1)) == 250
        assert await bring(scene, by_bo("x" * 3000, 2)) == 451
        assert await bring(scene, by_bo("three", 3)) == 250


async def test_a_mail_that_takes_long_to_read_is_not_read_all_the_time(
    tmp_path: Path, post: Post, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While its relay is away: it takes a twentieth of the time at most."""
    tries: list[float] = []

    async def slow(_place: str, _mail: Mail, _raw: bytes, rooms: frozenset[RoomId]) -> Said:
        tries.append(trio.current_time())
        await trio.sleep(10)
        return Said(Verdict.FULL, rooms)

    async with scene_of(tmp_path) as scene:
        monkeypatch.setattr(scene.network.incoming.inbox, "_say", slow)
        assert await bring(scene, by_bo("one", 1)) == 250
        await trio.sleep(1000)
        assert 3 <= len(tries) <= 7


class Away:
    """A room whose relay does not answer, and then does."""

    def __init__(self, patch: pytest.MonkeyPatch, room: Room) -> None:
        self.on = True
        really: Any = Room.is_live
        live = property(lambda one: really.fget(one) and not (self.on and one.id == room.id))
        patch.setattr(Room, "is_live", live)


async def in_two_rooms(scene: Scene) -> Room:
    """The place's second room, in which the bridge is a member too."""
    other = await scene.ana.create_room(scene.world.url, "Films", my_name="Ana")
    await scene.bridge.join(await other.invite(caps={Cap.BRIDGE}), name="Bridge")
    return other


async def test_a_room_whose_relay_is_away_holds_up_no_other_room(
    tmp_path: Path, post: Post, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of a mail, and the mails after it, are in the one; then in the other, in their order."""
    portals = [Portal(room=name, network="mail", place="books") for name in ("Book club", "Films")]
    async with scene_of(tmp_path, portals=portals) as scene:
        other = await in_two_rooms(scene)
        away = Away(monkeypatch, other)
        files = [("a.txt", b"a"), ("b.txt", b"b")]
        assert await bring(scene, with_files("one", 1, *files)) == 250
        began = trio.current_time()
        assert await bring(scene, with_file("two", 2)) == 250
        assert await bring(scene, by_bo("three", 3)) == 250
        await until(lambda: len(scene.texts()) == 6)
        assert trio.current_time() - began < 5, "and at once"
        assert last_lines(scene.texts()) == [
            "one", "Bo: <a.txt>", "Bo: <b.txt>", "two", "Bo: <a.txt>", "three",
        ]  # fmt: skip
        await trio.sleep(300)
        assert last_lines(scene.texts(other)) == ["one"], "words wait with all that is said there"
        away.on = False
        await until(lambda: len(scene.texts(other)) == 6)
        await trio.sleep(300)
        assert last_lines(scene.texts(other)) == last_lines(scene.texts())
        assert not list(scene.network.store.inbox(scene.bridge.vault, "books"))
        assert not any("left out from" in one for one in scene.notices())


async def test_what_waits_in_one_room_for_days_is_in_the_other_once(
    tmp_path: Path, post: Post, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It goes to an owner, whose word brings it to the room that has it not."""
    monkeypatch.setattr(inbox, "_PATIENCE_MS", 600_000)
    portals = [Portal(room=name, network="mail", place="books") for name in ("Book club", "Films")]
    async with scene_of(tmp_path, portals=portals) as scene:
        other = await in_two_rooms(scene)
        away = Away(monkeypatch, other)
        assert await bring(scene, with_file("one", 1)) == 250
        await trio.sleep(900)
        assert "no room took it for days" in await scene.do("held")
        away.on = False
        assert await scene.do("let", "0") == "It is in the room."
        await until(lambda: len(scene.texts(other)) == 2)
        assert len(scene.texts()) == 2


async def test_a_mail_that_waits_for_its_turn_is_not_said_to_be_left_out(
    tmp_path: Path, post: Post, autojump_clock: MockClock
) -> None:
    """Too many files at once: they come, one after the other, and each is stored once."""
    portals = [
        Portal(room="Book club", network="mail", place="books", in_burst=2, in_per_second=0.5)
    ]
    async with scene_of(tmp_path, portals=portals) as scene:
        files = [(f"{n}.txt", b"%d" % n) for n in range(5)]
        assert await bring(scene, with_files("look", 1, *files)) == 250
        await until(lambda: len(scene.texts()) == 6)
        await trio.sleep(60)
        assert last_lines(scene.texts())[1:] == [f"Bo: <{n}.txt>" for n in range(5)]
        assert not any("left out from" in one for one in scene.notices())


def last_lines(texts: list[str]) -> list[str]:
    return [text.rpartition("\n")[2] for text in texts]


# -- mails that end the bridge ---------------------------------------------------------------------


async def test_a_mail_that_ends_the_bridge_is_not_read_for_ever(
    tmp_path: Path, post: Post, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its server brings it again after each kill; what was written before is all that is known."""
    async with scene_of(tmp_path) as scene:
        readers = scene.network.incoming._readers
        read: list[int] = []

        class Killed(BaseException): ...

        def shown(*_: object, **_more: object) -> None:
            read.append(readers._lives(f"show {sha256(PROOF + deadly).hexdigest()}"))
            raise Killed

        def note(key: str, count: int) -> None:
            if count or key.startswith("parse"):  # a process that was killed writes nothing
                keep(key, count)

        deadly, keep = by_bo("deadly", 1), readers._note
        with monkeypatch.context() as patch:
            patch.setattr("bridge.email.saying.shown_of", shown)
            patch.setattr(readers, "_note", note)
            for _ in range(3):
                with pytest.raises(Killed):
                    await bring(scene, deadly)
        assert await bring(scene, deadly) == 250
        assert read == [1, 2, 3], "it was not read once more"
        assert "the bridge ended whenever it was read" in await scene.do("held")
        assert "can not be brought in" in await scene.do("let", "0")
        assert await scene.do("drop", "0") == "It is gone."
        assert await bring(scene, by_bo("good", 2)) == 250
        await until(lambda: scene.texts())


async def test_who_was_there_when_the_bridge_ended_is_read_alone_and_cleared(
    tmp_path: Path, post: Post, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another's mail that is read at the same time is no reason to hold one back."""
    async with scene_of(tmp_path) as scene:
        readers, now, most = scene.network.incoming._readers, 0, [0]

        async def slow(work: Any) -> Any:
            nonlocal now
            now += 1
            most.append(now)
            await trio.sleep(1)
            now -= 1
            return work()

        monkeypatch.setattr(trio.to_thread, "run_sync", slow)
        async with trio.open_nursery() as nursery:
            for raw in (b"a", b"b", b"c"):
                nursery.start_soon(readers.read, raw, "parse", lambda: None)
        assert max(most) == 2
        most.clear()
        for raw in (b"a", b"b", b"c"):
            lives(scene, raw, 2)
        async with trio.open_nursery() as nursery:
            for raw in (b"a", b"b", b"c"):
                nursery.start_soon(readers.read, raw, "parse", lambda: None)
        assert max(most) == 1
        assert readers._known() == {}


async def test_what_is_known_of_mails_that_were_read_is_bounded(
    tmp_path: Path, post: Post, autojump_clock: MockClock
) -> None:
    async with scene_of(tmp_path) as scene:
        readers = scene.network.incoming._readers
        for number in range(1010):
            readers._note(str(number), 1)
        assert len(readers._known()) == 1000
        assert readers._lives("9") == 0
        assert readers._lives("1009") == 1
