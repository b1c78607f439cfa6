"""What rooms say becomes mail (M7, G2, G6): a mail server in memory, on a clock that jumps."""

from __future__ import annotations

import io
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from attrs import evolve
from PIL import Image
from trio.testing import MockClock

from bridge.core import Portal
from bridge.core.links import LinksSettings
from bridge.core.links.cleaner import cleaned
from bridge.core.model import Kind, Outgoing, State
from bridge.email import postman
from bridge.email.settings import EmailPlace, EmailSettings, Lmtp
from ofcd.client import BadAttachment, lite
from ofcd.protocol.ids import EventId
from tests.bridge.email.corpus import mail
from tests.bridge.email.post import (
    SETTINGS,
    Post,
    bring,
    by_bo,
    scene_of,
    secret,
)


async def test_an_edit_within_the_hold_goes_out_as_if_written_so(
    tmp_path: Path, post: Post, autojump_clock: MockClock
) -> None:
    async with scene_of(tmp_path, hold=60.0) as scene:
        await scene.do("full", "on")
        sent = await scene.room.send("helo")
        await trio.sleep(30)
        await scene.room.edit(sent.event_id, "hello")
        await trio.sleep(25)
        assert post.words() == []
        await trio.sleep(20)
        assert post.words() == ["hello"]
        await scene.room.edit(sent.event_id, "hello!")
        await trio.sleep(120)
        assert post.words()[1:] == ["[edit]\nhello!"]


async def test_of_mail_that_nobody_gets_nothing_is_said_in_the_room(
    tmp_path: Path, post: Post, autojump_clock: MockClock
) -> None:
    """Nor of reactions, which mail does not have: that would be once a minute, for ever."""
    there = Portal(room="Book club", network="mail", place="books", reactions=True, topic=True)
    async with scene_of(tmp_path, subscribers=(), portals=[there]) as scene:
        sent = await scene.room.send("hello")
        await scene.room.react(sent.event_id, "👍")
        await trio.sleep(120)
        assert not any("Not told" in one for one in scene.notices())


async def test_an_edit_while_files_are_fetched_is_what_goes_out(
    tmp_path: Path, post: Post, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with scene_of(tmp_path, delivery="digest", every=60.0) as scene:
        await scene.do("full", "on")
        read_file, asked = scene.network.host.read_file, 0

        async def slow(*args: Any) -> bytes:
            nonlocal asked
            asked += 1
            await trio.sleep(30)
            return await read_file(*args)

        monkeypatch.setattr(scene.network.host, "read_file", slow)
        sent = await scene.room.send("helo")
        await scene.room.send_file(b"%PDF", name="plan.pdf")
        await trio.sleep(75)
        assert asked == 1
        await scene.room.edit(sent.event_id, "hello")
        await trio.sleep(120)
        [words] = post.words()
        assert "hello" in words.split("\n")
        assert "helo" not in words.split("\n")
        assert [one.name for one in post.mails[0][1].attachments] == ["plan.pdf"]


async def test_an_edit_reaches_who_has_the_mail_and_who_does_not_yet(
    tmp_path: Path, post: Post, autojump_clock: MockClock
) -> None:
    people = ("bo@example.org", "cleo@example.org")
    async with scene_of(tmp_path, subscribers=people) as scene:
        await scene.do("full", "on")
        await scene.do("pace", "cleo@example.org", "digest", "10m")
        sent = await scene.room.send("helo")
        await trio.sleep(60)
        await scene.room.edit(sent.event_id, "hello")
        await trio.sleep(60)
        assert post.words("bo@example.org") == ["helo", "[edit]\nhello"]
        assert post.words("cleo@example.org") == []
        await trio.sleep(1200)
        assert post.words("cleo@example.org") == ["hello"]
        assert len(post.words("bo@example.org")) == 2


@pytest.mark.parametrize("mailed", [True, False])
async def test_what_somebody_has_by_mail_counts_as_not_taken_back(
    tmp_path: Path, post: Post, autojump_clock: MockClock, mailed: bool
) -> None:
    people = ("bo@example.org", "cleo@example.org")
    async with scene_of(tmp_path, subscribers=people, delivery="digest", every=600.0) as scene:
        await scene.do("full", "on")
        if mailed:
            await scene.do("pace", "bo@example.org", "each")
        sent = await scene.room.send("oops")
        await trio.sleep(60)
        assert len(post.words("bo@example.org")) == mailed
        await scene.do("add", "dan@example.org")  # who came later has nothing of it
        await scene.room.redact(sent.event_id)
        await trio.sleep(1200)
        assert post.words("cleo@example.org") == post.words("dan@example.org") == []
        counted = scene.engine.metrics.went
        states = [counted.labels("mail", one)._value.get() for one in ("confirmed", "dropped")]
        assert states == ([0, 1] if mailed else [1, 0])


async def test_a_file_waits_for_the_relay_and_stands_in_nobodys_way(
    tmp_path: Path, post: Post, autojump_clock: MockClock
) -> None:
    """Nobody gets a mail without it while the relay is away; what needs no file goes out."""
    people = ("bo@example.org", "cleo@example.org", "dan@example.org")
    async with scene_of(tmp_path, subscribers=people, delivery="digest", every=600.0) as scene:
        await scene.do("full", "on")
        await scene.room.send_file(b"%PDF", name="plan.pdf")
        await trio.sleep(60)
        network = scene.network
        [(key, _)] = network.store.items(scene.bridge.vault, "books", "dan@example.org")
        with network.host.transaction() as tx:
            network.store.replace_item(tx, key, None)
        await scene.room.send("see you")
        await trio.sleep(60)
        await scene.world.stop_relay()
        await trio.sleep(1200)
        assert [to for to, _, _ in post.mails] == ["dan@example.org"]
        await scene.world.start_relay()
        with trio.fail_after(1200):
            while len(post.mails) < 3:  # noqa: ASYNC110 - until the bridge has the relay again
                await trio.sleep(10)
        for to, one, _ in post.mails[1:]:
            assert [file.content for file in one.attachments] == [b"%PDF"], to
            assert "see you" in "\n".join(post.words(to))


async def test_a_mail_does_not_wait_for_its_file_for_ever(
    tmp_path: Path, post: Post, autojump_clock: MockClock
) -> None:
    settings = evolve(SETTINGS, give_up_hours=1.0)
    async with scene_of(tmp_path, settings, hold=60.0) as scene:
        await scene.do("full", "on")
        await scene.room.send_file(b"%PDF", name="plan.pdf")
        await trio.sleep(10)
        await scene.world.stop_relay()
        await trio.sleep(3000)
        assert post.words() == []
        await trio.sleep(1000)
        [words] = post.words()
        assert "could not be fetched" in words


async def test_a_file_that_is_not_to_be_had_is_said_to_be_missing(
    tmp_path: Path, post: Post, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with scene_of(tmp_path) as scene:
        await scene.do("full", "on")

        async def gone(*_: object) -> bytes:
            await trio.lowlevel.checkpoint()
            raise BadAttachment("the file is not what was announced")

        monkeypatch.setattr(scene.network.host, "read_file", gone)
        await scene.room.send_file(b"%PDF", name="plan.pdf")
        await trio.sleep(10)
        [words] = post.words()
        assert words.split("\n") == [
            "[file: plan.pdf, 4 bytes]",
            "[this file could not be fetched, and is not with this mail]",
        ]
        assert post.mails[0][2].count(b"could not be fetched") == 2, "in both of its texts"


async def test_what_is_taken_back_within_the_hold_does_not_go_out(
    tmp_path: Path, post: Post, autojump_clock: MockClock
) -> None:
    async with scene_of(tmp_path, hold=60.0) as scene:
        await scene.do("full", "on")
        sent = await scene.room.send("oops")
        await trio.sleep(10)
        await scene.room.redact(sent.event_id)
        await trio.sleep(200)
        assert post.words() == []


async def test_a_digest_holds_what_was_said_in_order(
    tmp_path: Path, post: Post, autojump_clock: MockClock
) -> None:
    async with scene_of(tmp_path, delivery="digest", every=600.0, count=50) as scene:
        await scene.do("full", "on")
        for text in ("one", "two", "three"):
            await scene.room.send(text)
        await trio.sleep(500)
        assert post.words() == []
        await trio.sleep(200)
        [words] = post.words()
        said = [line for line in words.split("\n") if line and not line.startswith("Ana,")]
        assert said == ["one", "two", "three"]
        # An answer to a digest answers the last of it.
        raw = by_bo("and me", In_Reply_To=f"<{post.mails[0][1].message_id}>")
        assert await bring(scene, raw) == 250
        await trio.sleep(5)
        said_by_bo = next(m for m in scene.messages() if m.via is not None)
        last = next(m for m in scene.messages() if m.text == "three")
        assert said_by_bo.reply_to == last.event_id


async def test_a_digest_has_no_more_files_than_one_mail_may(
    tmp_path: Path, post: Post, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """G8: neither more bytes of them, all together, nor more in number."""
    monkeypatch.setattr(postman, "_FILES", 3)
    scene_with = scene_of(tmp_path, delivery="digest", every=600.0, count=50, attachment_bytes=100)
    async with scene_with as scene:
        await scene.do("full", "on")
        for name, size in (("a", 60), ("b", 60), ("c", 10), ("d", 10), ("e", 10)):
            await scene.room.send_file(b"%" * size, name=name)
        await trio.sleep(700)
        [(_, read, _)] = post.mails
        assert [one.name for one in read.attachments] == ["a", "c", "d"]


async def test_a_picture_that_grows_when_it_is_cleaned_stays_under_the_limit(
    tmp_path: Path, post: Post, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """G8: what is made anew of a photo of low quality is several times as large; the server would
    refuse the mail, and all the words in it."""
    made = io.BytesIO()
    Image.effect_noise((64, 64), 100).save(made, "JPEG", quality=5)
    photo = made.getvalue()
    grown = cleaned(photo)
    assert len(grown) > 2 * len(photo)

    async def as_it_may_leave(content: bytes, kind: str) -> tuple[bytes, str]:
        await trio.lowlevel.checkpoint()  # the clock jumps over what another process does
        return (cleaned(content) if content == photo else content), kind

    monkeypatch.setattr(postman, "as_it_may_leave", as_it_may_leave)
    most = len(grown) - 1
    scene_with = scene_of(tmp_path, delivery="digest", every=600.0, count=50, attachment_bytes=most)
    async with scene_with as scene:
        await scene.do("full", "on")
        await scene.room.send_file(photo, name="us.jpg", mime="image/jpeg")
        await scene.room.send_file(b"%" * most, name="plan.pdf")
        await trio.sleep(700)
        [(_, read, _)] = post.mails
        assert [one.name for one in read.attachments] == ["plan.pdf"]
        assert "us.jpg" in post.words()[0], "that there is one, the mail says"


async def test_a_full_digest_does_not_wait(
    tmp_path: Path, post: Post, autojump_clock: MockClock
) -> None:
    async with scene_of(tmp_path, delivery="digest", every=6000.0, count=3) as scene:
        await scene.do("full", "on")
        for text in ("one", "two", "three"):
            await scene.room.send(text)
        await trio.sleep(10)
        assert len(post.words()) == 1


async def test_each_person_gets_mail_at_their_own_pace(
    tmp_path: Path, post: Post, autojump_clock: MockClock
) -> None:
    """M7: one at once, one together, one not at night; by an owner's word, or their own."""
    people = ("bo@example.org", "cleo@example.org", "dan@example.org")
    async with scene_of(tmp_path, subscribers=people, hold=60.0, every=6000.0) as scene:
        await scene.do("full", "on")
        answer = await scene.do("pace", "cleo@example.org", "digest", "10m")
        assert answer == "c…@example.org gets what was said together, every 10 minutes."
        now = datetime.fromtimestamp(scene.engine.client.now() / 1000, UTC)
        quiet = f"{now - timedelta(hours=1):%H:%M}-{now + timedelta(hours=1):%H:%M}"
        assert "nothing from" in await scene.do("pace", "dan@example.org", "quiet", quiet)
        await scene.room.send("one")
        sent = await scene.room.send("too")
        await scene.room.edit(sent.event_id, "two")
        await trio.sleep(90)
        assert post.words("bo@example.org") == ["one", "two"]
        assert post.words("cleo@example.org") == post.words("dan@example.org") == []
        await trio.sleep(600)
        [together] = post.words("cleo@example.org")
        assert [line for line in together.split("\n") if line in ("one", "too", "two")] == [
            "one",
            "two",
        ]
        assert post.words("dan@example.org") == []
        await trio.sleep(3600)
        [morning] = post.words("dan@example.org")
        assert "two" in morning.split("\n")
        # Everybody by themselves, with the address in the foot, and nobody else.
        mine = secret(scene)
        foot = f"All together: write to {mine.replace('@', '.digest@')}"
        assert foot in post.mails[0][2].decode().replace("=\r\n", "")
        assert await bring(scene, mail("x\n"), mine.replace("@", ".digest@")) == 250
        assert await bring(scene, mail("x\n"), "books+" + "a" * 24 + ".each@bridge.example") == 550
        await scene.room.send("three")
        await trio.sleep(90)
        assert len(post.words("bo@example.org")) == 2
        assert await bring(scene, mail("y\n"), mine.replace("@", ".each@")) == 250
        await trio.sleep(90)
        assert post.words("bo@example.org")[2:] == ["three"]
        assert "Nobody with" in await scene.do("pace", "eve@example.org", "each")
        for wrong in (["daily"], ["quiet", "9-17"], ["quiet", "22:00-07:00", "Mars/Base"]):
            assert "That is no pace" in await scene.do("pace", "bo@example.org", *wrong)


async def test_no_night_is_too_long_a_wait(
    tmp_path: Path, post: Post, autojump_clock: MockClock
) -> None:
    """Also where the server is away as it ends, and mails are given up sooner than that."""
    settings, people = evolve(SETTINGS, give_up_hours=0.25), ("bo@example.org", "dan@example.org")
    async with scene_of(tmp_path, settings, subscribers=people) as scene:
        await scene.do("full", "on")
        now = datetime.fromtimestamp(scene.engine.client.now() / 1000, UTC)
        night = f"{now - timedelta(hours=1):%H:%M}-{now + timedelta(hours=1):%H:%M}"
        await scene.do("pace", "dan@example.org", "quiet", night)
        post.down = True
        await scene.room.send("good night")
        await trio.sleep(3500)
        await scene.room.send("good morning")
        await trio.sleep(300)
        post.down = False
        await trio.sleep(600)
        assert "good night" in post.words("dan@example.org")[0]
        assert post.words("bo@example.org") == ["good morning"]


async def test_notices_are_gathered(tmp_path: Path, post: Post, autojump_clock: MockClock) -> None:
    """The first at once, then one a quarter of an hour, however much is said; and no file (M7)."""
    async with scene_of(tmp_path, notice_every=900.0) as scene:
        for n in range(10):
            await scene.room.send(f"secret {n}")
            await trio.sleep(60)
        await trio.sleep(900)
        assert [one.subject for _, one, _ in post.mails] == [
            "New message in Book club",
            "9 new messages in Book club",
        ]
        first = await scene.room.send_file(b"secret words", name="secret.txt")
        await trio.sleep(900)
        await scene.room.send("secret too", reply_to=first.event_id)
        await trio.sleep(900)
        for _, one, _ in post.mails[2:]:
            assert (one.attachments, one.references, one.in_reply_to) == ((), (), ())
        assert len(post.mails) == 4
        assert not any(words in raw for _, _, raw in post.mails for words in (b"secret", b"Ana"))


async def test_a_flood_becomes_one_mail_and_the_room_is_told(
    tmp_path: Path, post: Post, autojump_clock: MockClock
) -> None:
    """M4's backstop on the way out: so many an hour, then together; nothing is lost (G2)."""
    assert SETTINGS.per_hour == 20
    async with scene_of(tmp_path, evolve(SETTINGS, per_hour=5)) as scene:
        await scene.do("full", "on")
        for n in range(9):
            await scene.room.send(f"word {n}")
            await trio.sleep(1)
        await trio.sleep(60)
        assert len(post.mails) == 5
        await trio.sleep(3700)
        assert len(post.mails) == 6
        assert all(f"word {n}" in "\n".join(post.words()).split("\n") for n in range(9))
        assert any("Over 5 mails in an hour to b…@example.org" in one for one in scene.notices())


async def test_who_is_copied_by_name_only_is(
    tmp_path: Path, post: Post, autojump_clock: MockClock
) -> None:
    """G4: consent reaches mail too, and a message that says so stays in the room."""
    async with scene_of(tmp_path) as scene:
        await scene.do("full", "on")
        await scene.room.send("// only here")
        await scene.room.send("!bridge me nick-only")
        await scene.room.send("marker")
        await trio.sleep(30)
        assert post.words() == ["(said something that is not copied)"]
        assert not any(b"marker" in raw or b"only here" in raw for _, _, raw in post.mails)


async def test_a_digest_is_no_larger_than_a_mail_may_be(
    tmp_path: Path, post: Post, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postman, "_DIGEST_BYTES", 5000)
    async with scene_of(tmp_path, delivery="digest", every=600) as scene:
        await scene.do("full", "on")
        for n in range(6):
            await scene.room.send(f"{n}" * 1000)
        await trio.sleep(1300)
        assert len(post.mails) == 3
        found = "".join(post.words())
        assert [found.count(f"{n}" * 1000) for n in range(6)] == [1] * 6


async def test_a_file_too_large_for_a_mail_is_a_link_in_it(
    tmp_path: Path, post: Post, autojump_clock: MockClock
) -> None:
    """G8: the same for all who get it; and none where content does not go out by mail."""
    made = LinksSettings(
        public_url="https://files.example", port=0, files_dir=str(tmp_path / "links")
    )
    people = ("bo@example.org", "cy@example.org")
    scene_with = scene_of(tmp_path, links=made, subscribers=people, attachment_bytes=10)
    async with scene_with as scene:
        await scene.room.send_file(b"%PDF of no size", name="before.pdf")
        await trio.sleep(5)
        assert not (tmp_path / "links").exists()
        await scene.room.send("!bridge mail full on")
        await trio.sleep(5)
        post.mails.clear()
        await scene.room.send_file(b"%PDF of no size", name="plan.pdf")
        await trio.sleep(5)
        link = re.compile(r"https://files\.example/([\w-]{43}) ")
        texts = ["\n".join(line.plain for line in m.lines) for _, m, _ in post.mails]
        found = [link.findall(text) for text in texts]
        assert len(found) == 2
        assert found[0] == found[1]
        assert len(found[0]) == 1
        assert all(m.attachments == () for _, m, _ in post.mails)
        await scene.room.send_file(b"%PDF small", name="small.pdf")
        await trio.sleep(5)
        mail_with = post.mails[-1][1]
        assert [one.content for one in mail_with.attachments] == [b"%PDF small"]
        assert len(list((tmp_path / "links").iterdir())) == 1
        await scene.room.send("!bridge mail full off")
        await trio.sleep(5)
        assert list((tmp_path / "links").iterdir()) == [], "what an owner takes back is gone there"


async def test_an_edit_leaves_what_is_said_of_the_file(
    tmp_path: Path, post: Post, autojump_clock: MockClock
) -> None:
    """Whatever a member's program edits: the file is still there."""
    async with scene_of(tmp_path, hold=60.0, attachment_bytes=1) as scene:
        await scene.do("full", "on")
        await scene.room.send_file(b"the plan", name="plan.pdf", caption="as promisd")
        await trio.sleep(5)
        sent = next(one for one in scene.messages() if one.file is not None)
        edit = Outgoing(
            number=10**6,
            room=scene.room.id,
            place="books",
            kind=Kind.EDIT,
            event_id=EventId(sent.event_id[::-1]),
            target=sent.event_id,
            document=lite.parse("as promised"),
        )
        [receipt] = await scene.network.deliver([edit])
        assert receipt.state is State.SENT
        await trio.sleep(120)
        assert post.words() == ["as promised\n[file: plan.pdf, 8 bytes]"]


async def test_a_message_is_edited_by_mail_three_times_at_most(
    tmp_path: Path, post: Post, autojump_clock: MockClock
) -> None:
    """G6: each edit of what is a mail already would be one more mail."""
    async with scene_of(tmp_path) as scene:
        await scene.do("full", "on")
        sent = await scene.room.send("0")
        for number in range(1, 7):
            await trio.sleep(60)
            await scene.room.edit(sent.event_id, f"{number}")
        await trio.sleep(120)
        assert post.words() == ["0", *(f"[edit]\n{n}" for n in (1, 2, 3))]


def test_what_is_promised_is_what_nobody_has_to_set() -> None:
    """M3, M4, M7: the hold, the hour's bound, how long a mail is tried, and own looks at DKIM."""
    place, network = EmailPlace(), EmailSettings(domain="x.org", lmtp=Lmtp(port=1))
    assert (place.hold, place.quiet, place.delivery, place.allow) == (60.0, "", "each", ())
    assert (network.per_hour, network.give_up_hours, network.dkim) == (20, 24.0, True)
    assert (network.smtp.tls, network.imap.tls, network.lmtp.address) == (
        "starttls",
        "tls",
        "127.0.0.1",
    )
