"""Mails on their way to the server (G2, M5): a mail server in memory, on a clock that jumps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from attrs import evolve
from trio.testing import MockClock

from bridge.core.ledger import FAILED_MARK
from bridge.email import store
from bridge.email.composing import compose
from bridge.email.store import Posted
from tests.bridge.email.post import (
    SETTINGS,
    Post,
    bring,
    by_bo,
    scene_of,
)
from tests.bridge.email.scene import Scene, until


async def test_a_mail_waits_for_the_server_and_then_the_original_says_that_it_failed(
    tmp_path: Path, post: Post, autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]
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
        told = capsys.readouterr().out.count("the mail server takes no mail")
        assert told == 2, "once an outage, however often it is tried"


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


async def test_what_is_said_later_waits_behind_a_mail_that_was_put_off(
    tmp_path: Path, post: Post, autojump_clock: MockClock
) -> None:
    """Though the server would take it by now: somebody's mails come in order."""
    async with scene_of(tmp_path) as scene:
        await scene.do("full", "on")
        post.replies["bo@example.org"] = (451, "4.7.1 greylisted")
        await scene.room.send("one")
        await trio.sleep(10)
        post.replies.clear()
        await scene.room.send("two")
        await trio.sleep(20)
        assert post.words() == []
        await trio.sleep(60)
        assert post.words() == ["one", "two"]


async def test_a_server_that_does_not_relay_suspends_nobody(
    tmp_path: Path, post: Post, autojump_clock: MockClock
) -> None:
    """It refuses every address, in words alone; a bare 550 for another reason is an address's."""
    people = ("bo@example.org", "cleo@example.org", "dan@example.org")
    async with scene_of(tmp_path, subscribers=people) as scene:
        await scene.do("full", "on")
        post.poison["bo@example.org"] = "550 relay not permitted"
        post.poison["cleo@example.org"] = "550 Blocked, see https://lists.example/198.51.100.1"
        post.poison["dan@example.org"] = "550 unknown user"
        await scene.room.send("one")
        await trio.sleep(30)
        told = [one for one in scene.notices() if "gets no more mail" in one]
        assert [one.partition(" ")[0] for one in told] == ["d…@example.org"]


async def test_a_mail_that_can_not_be_made_ends_nothing_and_is_told_of(
    tmp_path: Path,
    post: Post,
    autojump_clock: MockClock,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A mistake of ours: the others have theirs, and the original says that it failed (G2)."""
    people = ("bo@example.org", "cleo@example.org")
    async with scene_of(tmp_path, evolve(SETTINGS, give_up_hours=1.0), subscribers=people) as scene:
        await scene.do("full", "on")

        def broken(letter: Any) -> bytes:
            if letter.to == "bo@example.org" and letter.subject == "one":
                raise KeyError("a mistake")
            return compose(letter)

        monkeypatch.setattr("bridge.email.postman.compose", broken)
        sent = await scene.room.send("one")
        await scene.room.send("two")
        await trio.sleep(600)
        assert post.words("cleo@example.org") == ["one", "two"]
        assert capsys.readouterr().out.count("a mail could not be made") == 1
        await trio.sleep(3700)
        assert post.words() == ["two"]
        marks = {m.event_id: [r for r, _ in m.reactions] for m in scene.messages()}
        assert marks[sent.event_id] == [FAILED_MARK]


@pytest.mark.parametrize("what", ["421", "drip"])
async def test_a_mail_that_ends_every_link_stands_in_nobodys_way(
    tmp_path: Path, post: Post, autojump_clock: MockClock, what: str
) -> None:
    """421 (or a word without end) at its RCPT: the others get theirs; less and less, then told."""
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


async def test_whose_mail_ended_a_link_is_tried_after_the_others(
    tmp_path: Path, post: Post, autojump_clock: MockClock
) -> None:
    """In order among themselves."""
    async with scene_of(tmp_path) as scene:
        post.down = True
        people = (("bo", 1), ("cleo", 0), ("bo", 0))
        with scene.network.host.transaction() as tx:
            for n, (who, broken) in enumerate(people):
                made = Posted(place="books", to=f"{who}@example.org", bounce=f"b{n}", born=0, due=0)
                scene.network.store.post(tx, evolve(made, broken=broken), b"")
        assert [one.bounce for _, one in scene.network.submitter._due()] == ["b1", "b0", "b2"]


async def test_what_a_server_says_as_it_goes_counts(
    tmp_path: Path, post: Post, autojump_clock: MockClock
) -> None:
    """Refused for good, and then the link ends: the mail is not tried again, others go on."""
    async with scene_of(tmp_path, subscribers=("bo@example.org", "cleo@example.org")) as scene:
        await scene.do("full", "on")
        post.poison["bo@example.org"] = "550 5.1.1 nobody"
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


async def test_no_room_is_told_where_the_password_stands(
    tmp_path: Path, post: Post, autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    """The log is; the rooms hear that it can not be read."""
    gone = tmp_path / "gone"
    gone.write_text("secret")
    settings = evolve(SETTINGS, smtp=evolve(SETTINGS.smtp, password_file=str(gone)))
    async with scene_of(tmp_path, settings) as scene:
        await scene.do("full", "on")
        gone.unlink()
        await scene.room.send("waits")
        await trio.sleep(60)
        status = await scene.do("status")
        assert "the file of its password can not be read" in status
        assert "gone" not in status
        assert f"the file {gone} can not be read" in capsys.readouterr().out


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
