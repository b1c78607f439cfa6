"""The network between a room in memory and a mail server in memory, on a clock that jumps."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from attrs import evolve
from trio.testing import MockClock

from bridge.core.links import LinksSettings
from bridge.core.model import Kind, Outgoing, State
from bridge.core.outbound import FAILED_MARK
from bridge.email import postman, store
from bridge.email.fetching import Answer, Taken
from bridge.email.settings import EmailPlace
from bridge.email.unsubscribing import LIMITS, answer_page
from ofcd.client import BadAttachment, lite
from ofcd.client.applog import get_log
from ofcd.client.webserver import serve_stream
from ofcd.protocol.ids import EventId
from ofcd.testing import open_world
from tests.bridge.email.corpus import mail, part
from tests.bridge.email.post import (
    PROOF,
    SETTINGS,
    Post,
    bring,
    by_bo,
    read,
    scene_of,
    secret,
)
from tests.bridge.email.scene import Scene, open_scene, until

# -- out (M7, G2) ----------------------------------------------------------------------------------


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
        assert await bring(scene, mail("x\n"), "books+" + "a" * 24 + ".each@bridge.example") == 250
        await scene.room.send("three")
        await trio.sleep(90)
        assert len(post.words("bo@example.org")) == 2
        assert await bring(scene, mail("y\n"), mine.replace("@", ".each@")) == 250
        await trio.sleep(90)
        assert post.words("bo@example.org")[2:] == ["three"]
        assert "Nobody with" in await scene.do("pace", "eve@example.org", "each")
        for wrong in (["daily"], ["quiet", "9-17"], ["quiet", "22:00-07:00", "Mars/Base"]):
            assert "That is no pace" in await scene.do("pace", "bo@example.org", *wrong)


async def test_notices_are_gathered(tmp_path: Path, post: Post, autojump_clock: MockClock) -> None:
    """The first at once, then one a quarter of an hour, however much is said."""
    async with scene_of(tmp_path, notice_every=900.0) as scene:
        for n in range(10):
            await scene.room.send(f"secret {n}")
            await trio.sleep(60)
        await trio.sleep(900)
        assert [one.subject for _, one, _ in post.mails] == [
            "New message in Book club",
            "9 new messages in Book club",
        ]
        assert not any(b"secret" in raw for _, _, raw in post.mails)


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


# -- the way to the server (G2, M5) ----------------------------------------------------------------


async def test_a_mail_waits_for_the_server_and_then_the_original_says_that_it_failed(
    tmp_path: Path, post: Post, autojump_clock: MockClock
) -> None:
    async with scene_of(tmp_path, evolve(SETTINGS, give_up_hours=1.0)) as scene:
        await scene.do("full", "on")
        post.down = True
        first = await scene.room.send("waits a while")
        await trio.sleep(1800)
        post.down = False
        await trio.sleep(400)
        assert post.words() == ["waits a while"]
        post.down = True
        lost = await scene.room.send("waits too long")
        await trio.sleep(4200)
        post.down = False
        await trio.sleep(400)
        assert post.words() == ["waits a while"]
        marks = {m.event_id: [r for r, _ in m.reactions] for m in scene.messages()}
        assert marks[lost.event_id] == [FAILED_MARK]
        assert marks[first.event_id] == []


async def test_an_outage_fills_no_disk_with_mails(
    tmp_path: Path, post: Post, autojump_clock: MockClock
) -> None:
    """A few wait for the server, the rest as it was said; in order, or failed in the end (G2)."""
    async with scene_of(tmp_path, evolve(SETTINGS, give_up_hours=1.0)) as scene:
        await scene.do("full", "on")
        post.down = True
        for n in range(9):
            await scene.room.send(f"word {n}")
            await trio.sleep(2)

        def waiting() -> int:
            return len(list(scene.network.store.posted(scene.bridge.vault)))

        await trio.sleep(100)
        assert waiting() == 5
        post.down = False
        await until(lambda: post.words(), 400)  # it is tried again after 375 s at the latest
        await trio.sleep(4)  # and not five every five seconds
        assert post.words() == [f"word {n}" for n in range(9)]
        post.down = True
        lost = [(await scene.room.send(f"lost {n}")).event_id for n in range(9)]
        await trio.sleep(20)
        assert waiting() == 5
        await trio.sleep(2 * 3600)
        post.down = False
        await trio.sleep(400)
        assert len(post.words()) == 9
        marks = {m.event_id: [r for r, _ in m.reactions] for m in scene.messages()}
        assert [marks[one] for one in lost] == [[FAILED_MARK]] * 9


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


async def test_a_refusal_for_now_is_tried_again(
    tmp_path: Path, post: Post, autojump_clock: MockClock
) -> None:
    async with scene_of(tmp_path, subscribers=("bo@example.org", "cleo@example.org")) as scene:
        await scene.do("full", "on")
        post.replies["bo@example.org"] = (451, "4.7.1 greylisted")
        await scene.room.send("one")
        await scene.room.send("two")
        await trio.sleep(20)
        assert post.words("cleo@example.org") == ["one", "two"], "nobody waits for somebody else"
        assert post.words() == []
        post.replies.clear()
        await trio.sleep(400)
        assert post.words() == ["one", "two"], "nothing overtakes"


@pytest.mark.parametrize("what", ["421", "hang"])
async def test_a_mail_that_ends_every_link_stands_in_nobodys_way(
    tmp_path: Path, post: Post, autojump_clock: MockClock, what: str
) -> None:
    """421 (or silence) at its RCPT: the others get theirs, it is tried less and less, then told."""
    people = ("bo@example.org", "cleo@example.org", "dan@example.net")
    settings = evolve(SETTINGS, give_up_hours=1.0)
    async with scene_of(tmp_path, settings, subscribers=people) as scene:
        await scene.do("full", "on")
        post.poison["bo@example.org"] = what
        first = await scene.room.send("one")
        await scene.room.send("two")
        await trio.sleep(700)  # each silence lasts five minutes
        for who in people[1:]:
            assert post.words(who) == ["one", "two"]
        assert post.words() == []
        await trio.sleep(2400)
        waits = [b - a for (a, _), (b, _) in zip(post.tries, post.tries[1:], strict=False)]
        assert 4 <= len(waits) <= 6, "its tries come further and further apart"
        assert waits[-1] > 800
        await trio.sleep(2700)
        marks = {m.event_id: [r for r, _ in m.reactions] for m in scene.messages()}
        assert marks[first.event_id] == [FAILED_MARK]
        assert not any(
            one.to == "bo@example.org" for _, one in scene.network.store.posted(scene.bridge.vault)
        )
        post.poison.clear()
        await scene.room.send("three")
        await trio.sleep(30)
        assert post.words() == ["three"]


async def test_what_a_server_says_as_it_goes_counts(
    tmp_path: Path, post: Post, autojump_clock: MockClock
) -> None:
    """Refused for good, and then the link ends: the mail is not tried again, others go on."""
    async with scene_of(tmp_path, subscribers=("bo@example.org", "cleo@example.org")) as scene:
        await scene.do("full", "on")
        post.poison["bo@example.org"] = "550"
        await scene.room.send("one")
        await trio.sleep(60)
        assert post.words("cleo@example.org") == ["one"]
        assert len(post.tries) == 1
        assert any("b…@example.org gets no more mail" in one for one in scene.notices())


async def test_a_domain_that_takes_nothing_is_left_alone_for_a_while(
    tmp_path: Path, post: Post, autojump_clock: MockClock
) -> None:
    """Three of its people in a row; one alone (a full mailbox) does not hold the others up."""
    people = tuple(f"p{n}@slow.example" for n in range(10))
    async with scene_of(tmp_path, subscribers=(*people, "bo@example.org")) as scene:
        await scene.do("full", "on")
        post.poison = dict.fromkeys(people, "421")
        await scene.room.send("one")
        await trio.sleep(20)
        assert post.words() == ["one"]
        assert len({who for _, who in post.tries}) == 3, "the others were not tried"
        post.poison = {people[0]: "421"}
        await trio.sleep(400)
        assert all(post.words(who) == ["one"] for who in people[1:])
        await scene.room.send("two")
        await trio.sleep(60)
        assert all(post.words(who) == ["one", "two"] for who in people[1:])


async def test_a_server_that_ends_every_link_is_given_rest(
    tmp_path: Path, post: Post, autojump_clock: MockClock
) -> None:
    """Three mails in a row that end their links: it is the server, which is left alone."""
    people = tuple(f"p{n}@d{n}.example" for n in range(30))
    async with scene_of(tmp_path, subscribers=people) as scene:
        await scene.do("full", "on")
        post.poison = dict.fromkeys(people, "421")
        await scene.room.send("one")
        await trio.sleep(4)
        assert 3 <= len(post.tries) <= 9
        assert scene.network.submitter.why
        post.poison.clear()
        await trio.sleep(120)
        assert all(post.words(who) == ["one"] for who in people)


async def test_a_link_that_dies_inside_a_mail_doubles_it_under_one_id(
    tmp_path: Path, post: Post, autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    """The one window that SMTP leaves: counted, said to the operator, and one Message-ID (G1)."""
    async with scene_of(tmp_path) as scene:
        await scene.do("full", "on")
        post.die_after_data = 1
        await scene.room.send("once")
        await trio.sleep(60)
        assert post.words() == ["once", "once"]
        assert len({one.message_id for _, one, _ in post.mails}) == 1
        assert "may arrive twice" in capsys.readouterr().out


def days_pass(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Lets the bridge's own clock jump by days, in which nothing else happens."""
    now, days = scene.network.host.now, 0.0

    def pass_(count: float) -> None:
        nonlocal days
        days += count

    monkeypatch.setattr(scene.network.host, "now", lambda: now() + int(days * 86_400_000))
    return pass_


async def test_five_soft_failures_suspend_and_an_answer_forgives(
    tmp_path: Path, post: Post, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with scene_of(tmp_path) as scene:
        pass_days = days_pass(scene, monkeypatch)
        await scene.do("full", "on")
        post.replies["bo@example.org"] = (552, "5.2.2 mailbox full")
        for n in range(4):
            await scene.room.send(f"full {n}")
            await trio.sleep(10)
            pass_days(1.01)
        assert await bring(scene, by_bo("made room")) == 250
        for n in range(4):
            await scene.room.send(f"full again {n}")
            await trio.sleep(10)
            pass_days(1.01)
        assert not any("gets no more mail" in one for one in scene.notices())
        last = await scene.room.send("the fifth")
        await trio.sleep(10)
        assert any("gets no more mail: on 5 days mails" in one for one in scene.notices())
        marked = next(m for m in scene.messages() if m.event_id == last.event_id)
        assert [r for r, _ in marked.reactions] == [FAILED_MARK]
        post.replies.clear()
        assert "gets mail from now on" in await scene.do("add", "bo@example.org")
        await scene.room.send("back")
        await trio.sleep(10)
        assert post.words() == ["back"]


async def test_neither_one_bad_day_nor_one_bad_mail_a_fortnight_suspends(
    tmp_path: Path, post: Post, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who only reads, and so never answers, is not ended by what was mended long ago."""
    async with scene_of(tmp_path) as scene:
        pass_days = days_pass(scene, monkeypatch)
        await scene.do("full", "on")
        post.replies["bo@example.org"] = (552, "5.2.2 mailbox full")
        for n in range(6):
            await scene.room.send(f"full {n}")
            await trio.sleep(10)
        for n in range(6):
            pass_days(14)
            await scene.room.send(f"full again {n}")
            await trio.sleep(10)
        assert not any("gets no more mail" in one for one in scene.notices())
        post.replies.clear()
        await scene.room.send("still here")
        await trio.sleep(10)
        assert post.words() == ["still here"]


# -- in (M1 to M4, M6) -----------------------------------------------------------------------------


async def test_a_mail_comes_once_by_its_id_or_by_its_words(
    tmp_path: Path, post: Post, autojump_clock: MockClock
) -> None:
    async with scene_of(tmp_path) as scene:
        same = by_bo("hello", 7)
        without = mail("no id\n", From="bo@example.org", Message_ID=None)
        again = b"Received: from a by b; later\r\n" + without
        for raw in (same, same, without, without, again, by_bo("hello", 8)):
            assert await bring(scene, raw) == 250
        await trio.sleep(5)
        assert [text.rpartition("\n")[2] for text in scene.texts()] == ["hello", "no id", "hello"]


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
        assert await bring(scene, by_bo("x"), "books+aaaa@bridge.example") == 550
        assert await bring(scene, by_bo("x"), "films@bridge.example") == 550


# -- one click (RFC 8058) --------------------------------------------------------------------------


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


async def test_what_failed_is_sent_again_to_who_has_it_not(
    tmp_path: Path, post: Post, autojump_clock: MockClock
) -> None:
    """`!bridge resend`, under the first mail's id (G2)."""
    async with scene_of(tmp_path, subscribers=("bo@example.org", "cleo@example.org")) as scene:
        await scene.do("full", "on")
        post.replies["bo@example.org"] = (554, "5.7.1 looks like spam")
        sent = await scene.room.send("honestly")
        await trio.sleep(10)
        assert (post.words(), post.words("cleo@example.org")) == ([], ["honestly"])
        post.replies.clear()
        await scene.room.send("!bridge resend", reply_to=sent.event_id)
        await trio.sleep(10)
        assert (post.words(), post.words("cleo@example.org")) == (["honestly"], ["honestly"])
        assert len({m.message_id for _, m, _ in post.mails}) == 1


async def test_who_was_not_reached_is_known_for_each_place_and_not_for_ever(
    tmp_path: Path, post: Post, autojump_clock: MockClock
) -> None:
    async with scene_of(tmp_path) as scene:
        post.replies["bo@example.org"] = (554, "5.7.1 looks like spam")
        sent = await scene.room.send("honestly")
        await trio.sleep(10)
        kept, vault = scene.network.store, scene.bridge.vault
        assert kept.failed(vault, "books", sent.event_id) == ("bo@example.org",)
        assert kept.failed(vault, "films", sent.event_id) == ()
        with scene.network.host.transaction() as tx:
            while kept.prune(tx, scene.network.host.now() + store.KEEP_MS + 1):
                pass
        assert list(vault.items(scene.network.host.table("failed", large=True))) == []


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


async def test_a_refusal_does_not_tell_the_room_an_address(
    tmp_path: Path, post: Post, autojump_clock: MockClock
) -> None:
    async with scene_of(tmp_path) as scene:
        bounce = "bounce+" + "b" * 24 + "@bridge.example"
        post.replies["bo@example.org"] = (550, f"5.1.1 <Bo@example.org>: no such user ({bounce})")
        await scene.room.send("hello?")
        await trio.sleep(10)
        assert any("no such user (bounce+…@" in one for one in scene.notices())
        assert any("b…@example.org" in one for one in scene.notices())
        assert not any("bo@example.org" in one.lower() for one in scene.notices())


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
            return (await scene.network._take_from_mailbox(raw, frozenset())).taken

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
    tmp_path: Path, post: Post, autojump_clock: MockClock
) -> None:
    async with scene_of(tmp_path) as scene:
        for uid in range(10):
            scene.network._aside(uid, "it could not be handled")
            await scene.network._too_large(uid, 50_000_000)
            await trio.sleep(120)
        found = [one for one in scene.notices() if "set aside" in one or "too large" in one]
        assert found == [
            "A mail could not be brought in: it is set aside.",
            "A mail of 50000000 bytes was too large to be read.",
        ]
        await trio.sleep(3600)
        scene.network._aside(11, "it could not be handled")
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
            answer = await scene.network._take_from_mailbox(raw, frozenset())
            assert answer == Answer(Taken.BROKEN)
        assert await bring(scene, raw) == 250
