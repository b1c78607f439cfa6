"""How much may come and who decides (M3, M4, M7): a room in memory, on a clock that jumps."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from bridge.email import store
from bridge.email.fetching import Taken
from bridge.email.unsubscribing import LIMITS, answer_page
from ofcd.client.applog import get_log
from ofcd.client.webserver import serve_stream
from tests.bridge.email.corpus import mail
from tests.bridge.email.post import (
    PROOF,
    Post,
    bring,
    by_bo,
    scene_of,
    secret,
)


async def test_two_answering_machines_in_one_room_are_stopped(
    tmp_path: Path, post: Post, autojump_clock: MockClock
) -> None:
    """M4's backstop: they know no manners, each answers what the other says, proven, at once."""
    people = ("bo@example.org", "cleo@example.org")
    async with scene_of(tmp_path, subscribers=people) as scene:
        await scene.do("full", "on")
        answered = 0

        async def answer_all() -> None:
            nonlocal answered
            while True:
                for who, one, _ in post.mails[answered:]:
                    answered += 1
                    raw = mail(
                        f"I am away {answered}.\n",
                        From=who,
                        Message_ID=f"<{answered}@a>",
                        In_Reply_To=f"<{one.message_id}>",
                        Subject=f"Re: {one.subject}",
                    )
                    await bring(scene, raw, secret(scene, who), who)
                await trio.sleep(1)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(answer_all)
            await scene.room.send("anybody?")
            await trio.sleep(400)
            assert 20 <= len(scene.texts()) <= 40
            before = len(post.mails)
            await trio.sleep(400)
            assert len(post.mails) == before, "they have fallen silent"
            assert any("Over 20 mails in an hour" in one for one in scene.notices())
            nursery.cancel_scope.cancel()


async def test_one_thread_takes_twenty_mails_an_hour_whoever_writes(
    tmp_path: Path, post: Post, autojump_clock: MockClock
) -> None:
    """M4: none of them writes too much, and together they do; other threads go on."""
    async with scene_of(tmp_path, allow=("*@example.org",)) as scene:

        async def write(who: int, number: int, thread: str) -> None:
            raw = mail(
                f"mail {number}\n",
                From=f"p{who}@example.org",
                Message_ID=f"<{number}@example.org>",
                References=f"<{thread}>",
            )
            assert await bring(scene, raw, "books@bridge.example") == 250
            await trio.sleep(5)

        for number in range(24):
            await write(number % 6, number, "root@example.org")
        assert len(scene.texts()) == 20
        assert (await scene.do("held")).count("too many mails in an hour") == 4
        await write(0, 99, "another@example.org")
        assert scene.texts()[-1].endswith("mail 99")


async def test_twenty_mails_an_hour_then_an_owner_decides(
    tmp_path: Path, post: Post, autojump_clock: MockClock
) -> None:
    async with scene_of(tmp_path) as scene:
        for n in range(23):
            assert await bring(scene, by_bo(f"mail {n}", n)) == 250
            await trio.sleep(5)
        assert len(scene.texts()) == 20
        assert any("Over 20 mails in an hour from b…@example.org" in one for one in scene.notices())
        held = await scene.do("held")
        assert held.count("too many mails in an hour") == 3
        await trio.sleep(3700)
        assert await bring(scene, by_bo("later", 99)) == 250
        await trio.sleep(5)
        assert len(scene.texts()) == 21


async def test_mails_that_are_read_again_do_not_fill_the_hour(
    tmp_path: Path, post: Post, autojump_clock: MockClock
) -> None:
    """As after another UIDVALIDITY: all of a mailbox comes again, and is in the room already."""
    async with scene_of(tmp_path) as scene:
        for _ in range(3):
            for n in range(9):
                assert await bring(scene, by_bo(f"mail {n}", n)) == 250
        assert await bring(scene, by_bo("new", 99)) == 250
        await trio.sleep(5)
        assert len(scene.texts()) == 10
        assert await scene.do("held") == "No mail waits."


async def test_one_click_unsubscribes_by_post_alone() -> None:
    """Programs that open every link of a mail do not."""
    seen: list[str] = []

    def unsubscribe(token: str) -> bool:
        seen.append(token)
        return True

    app = partial(answer_page, unsubscribe=unsubscribe)

    async def ask(raw: bytes) -> bytes:
        ours, theirs = trio.testing.memory_stream_pair()
        answer = b""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve_stream, theirs, app, get_log("test"), LIMITS)
            await ours.send_all(raw)
            await ours.send_eof()
            while chunk := await ours.receive_some(4096):
                answer += chunk
        return answer

    token = "a" * 24
    head = f"/u/{token} HTTP/1.1\r\nHost: x\r\n".encode()
    assert b"200" in (await ask(b"GET " + head + b"\r\n")).split(b"\r\n")[0]
    assert seen == []
    body = b"List-Unsubscribe=One-Click"
    posted = b"POST " + head + b"Content-Length: %d\r\n\r\n" % len(body) + body
    assert b"200" in (await ask(posted)).split(b"\r\n")[0]
    assert seen == [token]
    assert b"404" in (await ask(b"POST /u/../x HTTP/1.1\r\nHost: x\r\n\r\n")).split(b"\r\n")[0]
    assert b" 400 " in await ask(b"\x00\x01 nonsense\r\n\r\n")
    large = b"Content-Length: 99999\r\n\r\n" + b"x" * 9999
    assert b" 413 " in await ask(b"POST " + head + large)
    bare = await ask(b"HEAD " + head + b"\r\n")
    assert bare.startswith(b"HTTP/1.1 200")
    assert bare.endswith(b"\r\n\r\n")
    assert seen == [token]


async def test_owners_command_in_the_room_and_nobody_else(
    tmp_path: Path, post: Post, autojump_clock: MockClock
) -> None:
    """M7: content goes out once an owner says so, where everybody sees it."""
    async with scene_of(tmp_path, subscribers=()) as scene:
        guest = await scene.world.client("guest")
        theirs = await guest.join(await scene.room.invite(), name="Guest")
        await theirs.send("!bridge mail full on")
        await scene.room.send("!bridge mail add Bo@example.org")
        await trio.sleep(5)
        await scene.room.send("no content yet")
        await trio.sleep(5)
        await scene.room.send("!bridge mail full on")
        await trio.sleep(5)
        await theirs.send("now with content")
        await trio.sleep(5)
        assert [m.subject for _, m, _ in post.mails] == [
            "New message in Book club",
            "[Book club] now with content",
        ]
        said = [one for one in scene.notices() if not one.startswith("!bridge")]
        assert "That is for the owners of this room." in said
        assert "b…@example.org gets mail from now on." in said
        assert any("in full. Mail is not end-to-end encrypted" in one for one in said)


async def test_strangers_are_told_of_once_an_hour(
    tmp_path: Path, post: Post, autojump_clock: MockClock
) -> None:
    async with scene_of(tmp_path) as scene:
        for number in range(10):
            raw = mail("buy\n", From="eve@far.example", Message_ID=f"<{number}@far>")
            assert await bring(scene, raw, "books@bridge.example", "eve@far.example") == 250
            await trio.sleep(120)
        assert sum("waits for an owner's word" in one for one in scene.notices()) == 1
        assert (await scene.do("held")).count("eve@far.example") == 10


async def test_strangers_mail_in_a_mailbox_is_not_tried_again_once_too_much_is_held(
    tmp_path: Path, post: Post, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "HELD_AT_ONCE", 3)
    async with scene_of(tmp_path) as scene:

        async def take(raw: bytes) -> Taken:
            answer = await scene.network.mailbox.take(raw, frozenset())
            assert (answer.taken is Taken.DONE) == (answer.places != {"books"})
            return answer.taken

        found = []
        for n in range(5):
            raw = mail(
                "x\n", From="eve@far.example", To="books@bridge.example", Message_ID=f"<{n}@f>"
            )
            found.append(await take(raw))
        assert found == [Taken.DONE] * 3 + [Taken.ASIDE] * 2
        assert await take(PROOF + by_bo("proven", To=secret(scene))) is Taken.DONE
        # A room of theirs that takes it later is waited for all the same.
        me = next(one for one in scene.room.members() if one.mid == scene.bridge.rooms[0].me)
        await scene.room.grant(me.mid, me.role, frozenset())
        await trio.sleep(5)
        assert await take(PROOF + by_bo("closed", 2, To=secret(scene))) is Taken.LATER


async def test_mails_left_in_the_mailbox_are_told_of_once_an_hour(
    tmp_path: Path, post: Post, autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    """To rooms, and to who runs the bridge: a catch-all gets any number of them."""
    async with scene_of(tmp_path) as scene:
        for uid in range(10):
            scene.network.mailbox.set_aside(uid, "it could not be handled", frozenset())
            await scene.network.mailbox.too_large(uid, 50_000_000)
            await trio.sleep(120)
        found = [one for one in scene.notices() if "set aside" in one or "too large" in one]
        assert found == [
            "A mail could not be brought in: it is set aside.",
            "A mail of 50000000 bytes was too large to be read.",
        ]
        told = capsys.readouterr()
        lines = (told.out + told.err).splitlines()
        for what in ("a mail in the mailbox was set aside", "a mail was too large to be read"):
            assert sum(what in line for line in lines) == 1
        await trio.sleep(3600)
        scene.network.mailbox.set_aside(11, "it could not be handled", frozenset())
        await trio.sleep(10)
        assert sum("set aside" in one for one in scene.notices()) == 2


async def test_what_strangers_write_fills_neither_disk_nor_memory(
    tmp_path: Path, post: Post, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mails that wait are bounded by their bytes, and none is read to see whether one more may."""
    monkeypatch.setattr(store, "HELD_BYTES", 300_000)
    async with scene_of(tmp_path, allow=("*@far.example",)) as scene:

        async def write(number: int) -> int:
            text = f"{number} {'x' * 70}\n" * 1500
            raw = mail(text, From="eve@far.example", Message_ID=f"<{number}@far>")
            to, sender = "books@bridge.example", "eve@far.example"
            return (await scene.network.incoming.take(raw, sender, to))[0]

        assert [await write(n) for n in (0, 1, 2, 0)] == [250, 250, 452, 250]
        table = scene.network.host.table("held", large=True)
        assert all(len(raw) < 1000 for _, raw in scene.bridge.vault.items(table))
        assert "No such mail" in await scene.do("drop", "9" * 30)
        assert await scene.do("let", "0") == "It is in the room."
        assert await write(2) == 250
        assert await scene.do("drop", "1") == "It is gone."
        assert await scene.do("let", "2") == "It is in the room."
        await trio.sleep(5)
        assert [("0 xxx" in text, "2 xxx" in text) for text in scene.texts() if "xxx" in text] == [
            (True, False),
            (False, True),
        ]
        raws = scene.network.host.table("heldraw", large=True)
        assert list(scene.bridge.vault.items(raws)) == []
