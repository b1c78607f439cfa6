"""What comes by mail (M1, M2, M3, M6): a room in memory, on a clock that jumps."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from bridge.email.fetching import Answer, Taken
from bridge.email.settings import EmailPlace
from ofcd.testing import open_world
from tests.bridge.email.corpus import mail, part
from tests.bridge.email.post import (
    SETTINGS,
    Post,
    bring,
    by_bo,
    read,
    scene_of,
    secret,
)
from tests.bridge.email.scene import open_scene


async def test_a_mail_comes_once_by_its_id_or_by_its_words(
    tmp_path: Path, post: Post, autojump_clock: MockClock
) -> None:
    async with scene_of(tmp_path) as scene:
        same = by_bo("hello", 7)
        without = mail("no id\n", From="bo@example.org", Message_ID=None)
        again = b"Received: from a by b; later\r\n" + without
        other = mail("none either\n", From="bo@example.org", Message_ID=None)
        for raw in (same, same, without, without, again, other, by_bo("hello", 8)):
            assert await bring(scene, raw) == 250
        await trio.sleep(5)
        said = [text.rpartition("\n")[2] for text in scene.texts()]
        assert said == ["hello", "no id", "none either", "hello"]


async def test_threads_go_by_id_and_never_by_subject(
    tmp_path: Path, post: Post, autojump_clock: MockClock
) -> None:
    async with scene_of(tmp_path) as scene:
        await scene.do("full", "on")
        one = await scene.room.send("one")
        two = await scene.room.send("two")
        await trio.sleep(10)
        ids = [m.message_id for _, m, _ in post.mails]
        await bring(scene, by_bo("a", 1, In_Reply_To=f"<{ids[0]}>", References=f"<{ids[1]}>"))
        await bring(scene, by_bo("b", 2, References=f"<{ids[0]}> <{ids[1]}> <unknown@x>"))
        await bring(
            scene,
            by_bo("c", 3, Subject="Re: [Book club] one", In_Reply_To="<forged@bridge.example>"),
        )
        await trio.sleep(5)
        said = [m for m in scene.messages() if m.via is not None]
        assert [m.reply_to for m in said] == [one.event_id, two.event_id, None]


async def test_an_id_of_another_room_begins_a_thread(
    tmp_path: Path, post: Post, autojump_clock: MockClock
) -> None:
    """M2: whoever is in both rooms can not tie one to the other; nor can a digest's id."""
    async with (
        open_world(tmp_path / "world") as world,
        open_scene(world, SETTINGS, EmailPlace(("bo@example.org",), hold=0.0), films=True) as scene,
    ):
        assert scene.films is not None
        for room in (scene.room, scene.films):
            await scene.network.command(room.id, ["mail", "full", "on"])
        await scene.films.send("a film")
        await scene.room.send("a book")
        await trio.sleep(10)
        ids = {m.subject: m.message_id for _, m, _ in post.mails}
        film, book = ids["[Films] a film"], ids["[Book club] a book"]
        await bring(scene, by_bo("forged", 1, In_Reply_To=f"<{film}>"))
        await bring(scene, by_bo("good", 2, References=f"<{book}> <{film}>"))
        await trio.sleep(5)
        said = [m for m in scene.messages() if m.via is not None]
        assert [m.text.rpartition("\n")[2] for m in said] == ["forged", "good"]
        assert said[0].reply_to is None
        assert said[1].reply_to is not None


async def test_a_new_token_makes_the_old_one_worthless(
    tmp_path: Path, post: Post, autojump_clock: MockClock
) -> None:
    async with scene_of(tmp_path) as scene:
        old = secret(scene)
        await scene.do("token", "bo@example.org")
        assert secret(scene) != old
        assert await bring(scene, by_bo("by the old", 1), old) == 250
        assert await bring(scene, by_bo("by the new", 2)) == 250
        await trio.sleep(5)
        assert [text.rpartition("\n")[2] for text in scene.texts()] == ["by the new"]


@pytest.mark.parametrize(
    "body",
    [
        b"\xff\xfe\x00" * 1000,
        "".join("--b\n\npart\n" for _ in range(10_000)).encode() + b"--b--\n",
        b"<script>" * 10_000,
        b"",
        b"\n" * 100_000,
        b"x" * 200_000,
        "\u202egnp.exe".encode(),
    ],
    ids=["bytes", "parts", "script", "empty", "lines", "long", "bidi"],
)
async def test_no_mail_ends_the_bridge(
    tmp_path: Path, post: Post, autojump_clock: MockClock, body: bytes
) -> None:
    """M6: each is taken (what could be read, and all of it beside), and so is the next."""
    async with scene_of(tmp_path) as scene:
        for kind in ("text/plain", "text/html", "multipart/mixed; boundary=b", "message/rfc822"):
            raw = mail(
                body, From="bo@example.org", Content_Type=kind, Message_ID=f"<{len(kind)}@x>"
            )
            assert await bring(scene, raw) == 250, (kind, scene.network.incoming.counts)
        assert await bring(scene, by_bo("still here")) == 250
        await trio.sleep(10)
        assert "still here" in scene.texts()[-1]


async def test_nothing_is_taken_while_no_room_takes_it(
    tmp_path: Path, post: Post, autojump_clock: MockClock
) -> None:
    """The server keeps it and comes again: 451, not 250."""
    async with scene_of(tmp_path) as scene:
        me = next(one for one in scene.room.members() if one.mid == scene.bridge.rooms[0].me)
        await scene.room.grant(me.mid, me.role, frozenset())
        await trio.sleep(5)
        assert await bring(scene, by_bo("early")) == 451
        body = "--b\n" + part("text/plain", b"data", "Content-Disposition: attachment") + "--b--\n"
        kind = {"Content_Type": "multipart/mixed; boundary=b"}
        assert await bring(scene, by_bo(body, 2, Subject=None, **kind)) == 451, "nothing but a file"
        assert await bring(scene, by_bo("x"), "books+aaaa@bridge.example") == 550
        assert await bring(scene, by_bo("x"), "films@bridge.example") == 550


async def test_a_quoted_foot_gives_no_secret_address_away(
    tmp_path: Path, post: Post, autojump_clock: MockClock
) -> None:
    async with scene_of(tmp_path) as scene:
        address = secret(scene)
        off = address.replace("@", ".off@")
        quoted = f"Fine.\n\nAna wrote on 2026-11-18:\n> {address}\n\nThat?\n\n> {off}\n\nYes."
        assert await bring(scene, by_bo(quoted)) == 250
        await trio.sleep(5)
        assert address.partition("@")[0] not in scene.texts()[0]
        assert "books+…" in scene.texts()[0]


async def test_the_original_gives_no_secret_address_away(
    tmp_path: Path, post: Post, autojump_clock: MockClock
) -> None:
    """An answer as programs write it: the address in To, in servers' fields, in the quote."""
    async with scene_of(tmp_path, subscribers=("bo@example.org", "cleo@example.org")) as scene:
        await scene.do("full", "on")
        await scene.room.send("shall we?")
        await trio.sleep(5)
        address = secret(scene)
        token = re.findall(r"\+([a-z2-7]{24})@", address)[0]
        quote = "\n".join(f"> {line}" for line in post.mails[0][2].decode().splitlines())
        received = f"from a by b for <{address}>; Sat, 28 Nov 2026 20:00:00 +0000"
        raw = by_bo(
            f"Yes.\n\nOn 18/11/2026 13:37, Ana wrote:\n{quote}",
            To=address, Delivered_To=address, X_Original_To=address, Received=received,
            Subject=f"for {address}",
        )  # fmt: skip
        assert raw.count(token.encode()) > 5
        assert await bring(scene, raw) == 250
        await trio.sleep(5)
        original = await read(scene, "original.eml")
        assert b"Yes." in original
        assert b"Delivered-To: books+withheld@bridge.example" in original
        seen = b"\n".join(
            [
                original,
                *(m.text.encode() for m in scene.messages()),
                *(r for *_, r in post.mails[2:]),
            ]
        )
        assert token.encode() not in seen
        assert "Yes." in post.words("cleo@example.org")[1]


async def test_a_file_that_the_room_can_not_take_costs_neither_the_mail_nor_the_others(
    tmp_path: Path, post: Post, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The words are in the room: the sender is not told otherwise, and the others get them."""
    people = ("bo@example.org", "cleo@example.org")
    async with scene_of(tmp_path, subscribers=people) as scene:
        await scene.do("full", "on")
        upload = scene.engine.inbound._upload

        async def odd(remote: Any, rooms: Any) -> Any:
            found = await upload(remote, rooms)
            if found and remote.file.name == "odd.txt":
                return dict.fromkeys(found, "")  # nothing that can be said
            return found

        monkeypatch.setattr(scene.engine.inbound, "_upload", odd)
        attach = 'Content-Disposition: attachment; filename="{}"'
        body = "--b\n\nlook\n--b\n"
        for name in ("odd.txt", "good.txt"):
            body += part("text/plain", b"data", attach.format(name)) + "--b\n"
        raw = by_bo(body, Content_Type="multipart/mixed; boundary=b")
        assert await bring(scene, raw) == 250
        await trio.sleep(10)
        assert [text.partition("\n")[0] for text in scene.texts()] == [
            "Bo: **Friday**",
            "Bo: <good.txt>",
        ]
        assert any("A file of a mail could not be brought in" in one for one in scene.notices())
        assert "look" in post.words("cleo@example.org")[0]


async def test_a_mistake_of_ours_costs_one_mail_and_not_the_bridge(
    tmp_path: Path, post: Post, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """M6: the mail comes again (451), and from a mailbox too."""
    async with scene_of(tmp_path) as scene:

        def broken(*_: object) -> None:
            raise KeyError("a mistake")

        with monkeypatch.context() as patch:
            patch.setattr("bridge.email.incoming.origin", broken)
            raw = by_bo("unlucky", To=secret(scene))
            assert await bring(scene, raw) == 451
            answer = await scene.network.mailbox.take(raw, frozenset())
            assert answer == Answer(Taken.BROKEN)
            patch.setattr("bridge.email.incoming.parse", broken)
            other = by_bo("not even read", 2, To=secret(scene))
            assert await scene.network.mailbox.take(other, frozenset()) == Answer(Taken.BROKEN)
        assert await bring(scene, raw) == 250
