"""Files and long messages on IRC (G8, I2): as links that end, and that end with the message."""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode
from pathlib import Path

import pytest
import trio
from attrs import evolve
from trio.testing import MockClock, memory_stream_pair

from bridge.core.links import LinksSettings
from bridge.core.links.desk import _Link
from bridge.irc.settings import IrcPlace
from bridge.irc.wire import Line
from ofcd.client import VaultUnwritable
from ofcd.client.boxes import Box
from ofcd.client.model import load
from ofcd.protocol.records import Cap
from tests.bridge.irc.scene import IrcScene, irc_scene, portal, until
from tests.bridge.irc.scripted import Guest

LONG = "\n".join(f"line {number} of the poem" for number in range(12))
_URL = re.compile(r"https://files\.example/b/([A-Za-z0-9_-]{43})(?![A-Za-z0-9_-])")


def links(folder: Path, **more: object) -> LinksSettings:
    made = LinksSettings(
        public_url="https://files.example/b/", port=0, files_dir=str(folder / "links")
    )
    return evolve(made, **more)  # type: ignore[arg-type]


async def opened(scene: IrcScene, token: str) -> tuple[int, bytes]:
    """What somebody outside gets who follows the link."""
    assert scene.engine is not None
    here, there = memory_stream_pair()
    raw = b""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(scene.engine.links.pages.serve, there)
        await here.send_all(f"GET /b/{token} HTTP/1.1\r\nhost: x\r\n\r\n".encode())
        while part := await here.receive_some(100_000):
            raw += part
    return int(raw.split()[1]), raw.partition(b"\r\n\r\n")[2]


async def told(scene: IrcScene, count: int = 1) -> str:
    """The token in the last of so many lines."""
    await until(lambda: len(scene.heard()) >= count)
    found = _URL.search(scene.heard()[-1])
    assert found is not None, scene.heard()
    return found[1]


def on_disk(folder: Path) -> list[Path]:
    return list((folder / "links").glob("*"))


async def test_a_file_is_a_link_and_only_its_key_opens_it(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with irc_scene(tmp_path, links=links(tmp_path)) as scene, scene.running():
        await scene.up()
        await scene.room.send_file(b"%PDF of Ana's", name="plan.pdf", mime="application/pdf")
        token = await told(scene)
        assert scene.heard()[0].startswith("ofc: <\x02Ana\x02> [file plan.pdf, 13 bytes, https://")
        assert await opened(scene, token) == (200, b"%PDF of Ana's")
        key = urlsafe_b64decode(token + "=")
        assert len(_kept(scene)) == 1
        await until(lambda: load(_Link, _kept(scene)[0]).key == b"")
        assert load(_Link, _kept(scene)[0]).box == Box(key, 0).id
        assert b"plan" not in on_disk(tmp_path)[0].read_bytes()


async def test_no_box_stays_that_the_vault_does_not_know(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk took what a link opens, and then not the link."""

    def full(*_: object) -> bool:
        raise VaultUnwritable("no space")

    async with irc_scene(tmp_path, links=links(tmp_path)) as scene, scene.running():
        await scene.up()
        assert scene.engine is not None
        with monkeypatch.context() as patch:
            patch.setattr(scene.engine.links, "_keep", full)
            await scene.room.send_file(b"%PDF of Ana's", name="plan.pdf", mime="application/pdf")
            await trio.sleep(60)
            assert on_disk(tmp_path) == []
        await told(scene)
        assert len(on_disk(tmp_path)) == 1


def _kept(scene: IrcScene) -> list[bytes]:
    return [raw for _, raw in scene.bridge.vault.items("app/bridge/links")]


async def test_a_long_message_is_its_first_lines_and_a_link(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    place = IrcPlace(max_lines=3)
    scene_of = irc_scene(tmp_path, portal(options=place), links=links(tmp_path))
    async with scene_of as scene, scene.running():
        await scene.up()
        await scene.room.send(LONG)
        token = await told(scene, 4)
        assert [one.rpartition("> ")[2] for one in scene.heard()[:3]] == LONG.split("\n")[:3]
        assert re.search(r"> \(9 more: https://\S+ \)$", scene.heard()[3])
        status, body = await opened(scene, token)
        assert status == 200
        assert body.decode().endswith(f"\n\n{LONG}\n")
        assert body.decode().startswith("Ana, 20")
        await scene.room.send("short")
        await until(lambda: len(scene.heard()) == 5)
        assert scene.heard()[4].endswith("> short")


@pytest.mark.parametrize(
    ("options", "more", "last"),
    [
        (IrcPlace(max_lines=3, long="clip"), {}, "(9 more lines are in the room)"),
        (IrcPlace(max_lines=3, long="all"), {}, "line 11 of the poem"),
        (IrcPlace(max_lines=3), {"links": False}, "(9 more lines are in the room)"),
    ],
)
async def test_a_portal_may_have_it_otherwise(
    tmp_path: Path,
    autojump_clock: MockClock,
    options: IrcPlace,
    more: dict[str, object],
    last: str,
) -> None:
    scene_of = irc_scene(tmp_path, portal(options=options, **more), links=links(tmp_path))
    async with scene_of as scene, scene.running():
        await scene.up()
        await scene.room.send(LONG)
        await until(lambda: scene.heard() and scene.heard()[-1].endswith(last))
        if not more:
            return
        await scene.room.send_file(b"%PDF", name="plan.pdf")
        await until(lambda: "plan.pdf" in scene.heard()[-1])
        assert scene.heard()[-1].endswith("[file plan.pdf, 4 bytes, in the room]")
        assert on_disk(tmp_path) == []


async def test_taking_the_message_back_revokes_its_link(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """Whatever else the place is told of it."""
    quiet = portal(redactions=False)
    async with irc_scene(tmp_path, quiet, links=links(tmp_path)) as scene, scene.running():
        await scene.up()
        await scene.room.send_file(b"one", name="one.pdf")
        first = await told(scene)
        await scene.room.send_file(b"two", name="two.pdf")
        second = await told(scene, 2)
        message = next(m for m in scene.messages() if m.file and m.file.name == "one.pdf")
        await scene.room.redact(message.event_id)
        await until(lambda: len(on_disk(tmp_path)) == 1)
        assert (await opened(scene, first))[0] == 404
        assert await opened(scene, second) == (200, b"two")


async def test_an_edit_ends_the_link_to_the_words_of_before(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """A file is what it was: no edit changes it."""
    async with irc_scene(tmp_path, links=links(tmp_path)) as scene, scene.running():
        await scene.up()
        poem = await scene.room.send(LONG)
        words = await told(scene)
        await scene.room.send_file(b"one", name="one.pdf")
        file = await told(scene, len(scene.heard()) + 1)
        assert [(await opened(scene, one))[0] for one in (words, file)] == [200, 200]
        await scene.room.edit(poem.event_id, "a shorter one")
        sent = next(m for m in scene.messages() if m.file is not None)
        await scene.room.edit(sent.event_id, "// a file has no other words")
        await until(lambda: len(on_disk(tmp_path)) == 1)
        await trio.sleep(5)
        assert [(await opened(scene, one))[0] for one in (words, file)] == [404, 200]
        await scene.room.redact(sent.event_id)
        await until(lambda: not on_disk(tmp_path))
        assert _kept(scene) == []


async def test_a_link_is_not_made_of_words_that_were_changed_meanwhile(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """The line is handed over again, after a crash; what it says now is told as an edit."""
    async with irc_scene(tmp_path, links=links(tmp_path)) as scene:
        scene.server.swallow = lambda _guest, line: "before" if line.command == "PRIVMSG" else ""
        async with scene.running():
            await scene.up()
            poem = await scene.room.send(LONG)
            await until(lambda: on_disk(tmp_path))
            await scene.room.edit(poem.event_id, "a shorter one")
            await until(lambda: not on_disk(tmp_path))
        scene.server.swallow = lambda _guest, _line: ""
        async with scene.running():
            await until(lambda: len(scene.heard()) >= 2)
            assert not any("http" in one for one in scene.heard())
            assert on_disk(tmp_path) == []


@pytest.mark.parametrize("how", ["edit", "redact", "withdraw"])
async def test_no_link_is_good_whose_message_changed_while_it_was_made(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    async with irc_scene(tmp_path, links=links(tmp_path)) as scene, scene.running():
        await scene.up()
        assert scene.engine is not None
        put, made = scene.engine.links._put, trio.Event()

        async def slow(name: str, kind: str, content: bytes) -> _Link:
            link = await put(name, kind, content)
            made.set()
            await trio.sleep(10)
            return link

        monkeypatch.setattr(scene.engine.links, "_put", slow)
        poem = await scene.room.send(LONG)
        await made.wait()
        assert len(on_disk(tmp_path)) == 1
        match how:
            case "edit":
                await scene.room.edit(poem.event_id, "a shorter one")
            case "redact":
                await scene.room.redact(poem.event_id)
            case _:
                await scene.room.send("!bridge me withheld")
        await trio.sleep(20)
        assert on_disk(tmp_path) == []
        assert _kept(scene) == []
        assert not any("http" in one for one in scene.heard())


async def test_who_takes_back_what_was_agreed_ends_the_links(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """G4: a member all of theirs, an owner all of the room's; the operator a portal's."""
    async with irc_scene(tmp_path, links=links(tmp_path)) as scene:
        async with scene.running():
            await scene.up()
            bo = await scene.world.client("bo")
            theirs = await bo.join(await scene.room.invite(), name="Bo")
            await theirs.send_file(b"two", name="two.pdf")
            second = await told(scene)
            await scene.room.send_file(b"one", name="one.pdf")
            first = await told(scene, 2)
            await theirs.send("!bridge me nick-only")
            await until(lambda: len(on_disk(tmp_path)) == 1)
            assert [(await opened(scene, one))[0] for one in (first, second)] == [200, 404]
            await scene.room.send_file(b"three", name="three.pdf")
            third = await told(scene, 3)
            bridge = next(one for one in scene.room.members() if Cap.BRIDGE in one.caps)
            await scene.room.grant(bridge.mid, bridge.role, frozenset())
            await until(lambda: not on_disk(tmp_path))
            assert [(await opened(scene, one))[0] for one in (first, third)] == [404, 404]
            await scene.room.grant(bridge.mid, bridge.role, {Cap.BRIDGE})
            assert scene.engine is not None
            await until(lambda: scene.engine and scene.engine.is_open(scene.bridge.rooms[0]))
            await scene.room.send_file(b"four", name="four.pdf")
            await told(scene, 4)
        scene.portals = (portal(links=False),)
        async with scene.running():
            assert on_disk(tmp_path) == []
            assert _kept(scene) == []


async def test_who_is_evicted_leaves_what_they_said(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """In the room as outside: an owner takes back what is to go."""
    async with irc_scene(tmp_path, links=links(tmp_path)) as scene, scene.running():
        await scene.up()
        bo = await scene.world.client("bo")
        theirs = await bo.join(await scene.room.invite(), name="Bo")
        await theirs.send_file(b"two", name="two.pdf")
        token = await told(scene)
        bo_is = next(one for one in scene.room.members() if one.name == "Bo")
        await scene.room.evict(bo_is.mid)
        await trio.sleep(30)
        assert (await opened(scene, token))[0] == 200
        sent = next(m for m in scene.messages() if m.file is not None)
        await scene.room.redact(sent.event_id)
        await until(lambda: not on_disk(tmp_path))
        assert (await opened(scene, token))[0] == 404


async def test_a_link_ends(tmp_path: Path, autojump_clock: MockClock) -> None:
    made = links(tmp_path, expire_hours=1.0)
    async with irc_scene(tmp_path, links=made) as scene, scene.running():
        await scene.up()
        await scene.room.send_file(b"one", name="one.pdf")
        token = await told(scene)
        await trio.sleep(3500)
        assert (await opened(scene, token))[0] == 200
        await trio.sleep(110)
        assert (await opened(scene, token))[0] == 404
        assert on_disk(tmp_path) == []
        assert _kept(scene) == []


async def test_what_is_told_again_has_the_same_link(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """The link broke before the line arrived; and the bridge itself begins another life."""
    async with irc_scene(tmp_path, links=links(tmp_path)) as scene:
        tokens: list[str] = []

        def swallow(_guest: Guest, line: Line) -> str:
            if line.command != "PRIVMSG" or len(tokens) == 2:
                return ""
            found = _URL.search(line.params[1])
            assert found is not None
            tokens.append(found[1])
            return "before"

        scene.server.swallow = swallow
        async with scene.running():
            await scene.up()
            await scene.room.send_file(b"one", name="one.pdf")
            await until(lambda: tokens)
        async with scene.running():
            token = await told(scene)
            assert tokens == [token, token]
            assert await opened(scene, token) == (200, b"one")
        async with scene.running():
            assert (await opened(scene, token))[0] == 200, "a later life knows it"
        assert len(on_disk(tmp_path)) == 1


async def test_what_is_too_large_is_told_by_name_and_the_room_learns_why(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    made = links(tmp_path, total_bytes=30)
    small = portal(file_bytes=20)
    async with irc_scene(tmp_path, small, links=made) as scene, scene.running():
        await scene.up()
        await scene.room.send_file(b"x" * 21, name="large.pdf")
        await until(lambda: scene.heard())
        assert scene.heard()[0].endswith("[file large.pdf, 21 bytes, in the room]")
        await until(
            lambda: any(
                "large.pdf has no link" in one and "up to 20 bytes" in one
                for one in scene.notices()
            )
        )
        await scene.room.send_file(b"x" * 20, name="fits.pdf")
        await told(scene, 2)
        await scene.room.send_file(b"x" * 20, name="more.pdf")
        await until(lambda: len(scene.heard()) == 3)
        assert scene.heard()[2].endswith("[file more.pdf, 20 bytes, in the room]")
        await until(lambda: any("keeps as much for links" in one for one in scene.notices()))


async def test_who_lets_only_their_name_out_has_no_link(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with irc_scene(tmp_path, links=links(tmp_path)) as scene, scene.running():
        await scene.up()
        await scene.room.send("!bridge me nick-only")
        await scene.room.send_file(b"private", name="private.pdf")
        await scene.room.send(LONG)
        await until(lambda: len(scene.heard()) == 2)
        assert not any("private.pdf" in one or "http" in one for one in scene.heard())
        assert on_disk(tmp_path) == []
