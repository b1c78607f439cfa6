"""What who runs a mail bridge is told at night: by the log, by the room's status, by the check."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from attrs import define
from trio.testing import MockClock

from bridge.core.network import Finding
from bridge.email import checking
from bridge.email.checking import Check
from bridge.email.fetching import Answer, Taken
from bridge.email.settings import EmailSettings, Imap, Smtp
from ofcd.client import VaultUnwritable
from tests.bridge.email.corpus import mail
from tests.bridge.email.post import PROOF, Post, bring, by_bo, scene_of, secret, with_file
from tests.bridge.email.servers import free_port
from tests.bridge.email.test_mailbox import Mailbox


async def test_a_full_disk_takes_no_mail_and_is_told_of_in_a_line(
    tmp_path: Path,
    post: Post,
    autojump_clock: MockClock,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Servers come again (452), a mailbox is read on later, and nothing is set aside for it."""
    async with scene_of(tmp_path) as scene:
        raw = PROOF + by_bo("while it was full", To=secret(scene))

        def full(*_: object, **_more: object) -> None:
            raise VaultUnwritable("the disk is full")

        with monkeypatch.context() as patch:
            patch.setattr(scene.network.store, "keep_fact", full)
            for _ in range(5):
                assert await bring(scene, raw) == 452
            with pytest.raises(VaultUnwritable):
                await scene.network.mailbox.take(raw, frozenset())
        told = capsys.readouterr().out
        assert told.count("the disk takes nothing: mail waits") == 1
        assert "the disk is full" in told
        assert "trace=" not in told
        assert await scene.network.mailbox.take(raw, frozenset()) == Answer(Taken.DONE)


async def test_a_disk_that_is_full_for_an_hour_ends_nothing(
    tmp_path: Path, post: Post, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever was under way: it is done once there is space, and once."""
    async with scene_of(tmp_path) as scene:
        await scene.do("full", "on")
        post.replies["bo@example.org"] = (451, "4.7.1 greylisted")
        await scene.room.send("waits for the server")
        await trio.sleep(10)
        await scene.world.stop_relay()
        assert await bring(scene, with_file("waits for the room", 1)) == 250
        with scene.network.host.transaction() as tx:
            number = scene.network.store.next(tx, "item")
        assert number
        post.replies.clear()

        def full(*_: object, **_more: object) -> None:
            raise VaultUnwritable("the disk is full")

        with monkeypatch.context() as patch:
            patch.setattr(type(scene.network.host), "transaction", full)
            await trio.sleep(3600)
            assert post.words() == []
        await scene.world.start_relay()
        await trio.sleep(900)
        assert post.words() == ["waits for the server"]
        assert scene.texts() == ["Bo: **Friday**\n\nwaits for the room", "Bo: <a.txt>"]
        assert await scene.do("held") == "No mail waits."
        assert await bring(scene, by_bo("and then", 2)) == 250


async def test_a_server_that_checks_nothing_is_named(
    tmp_path: Path, post: Post, autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    """All mail is held, and the reason is not its senders."""
    async with scene_of(tmp_path) as scene:
        found = b"Authentication-Results: mta7.example; dmarc=pass header.from=example.org\r\n"
        for number in range(5):
            raw = found + by_bo("by Bo", number)
            code, _ = await scene.network.incoming.take(raw, "bo@example.org", secret(scene))
            assert code == 250
        told = capsys.readouterr().out
        assert told.count("mail comes without Authentication-Results of mx.example") == 1
        assert "found=mta7.example" in told
        assert "the last 5 mails had no Authentication-Results of mx.ex" in await scene.do("status")
        assert "5 mails wait for an owner's word" in await scene.do("status")
        assert await bring(scene, by_bo("checked", 9)) == 250
        assert "Authentication-Results" not in await scene.do("status")


async def test_the_status_says_how_long_mail_has_waited(
    tmp_path: Path, post: Post, autojump_clock: MockClock
) -> None:
    async with scene_of(tmp_path) as scene:
        await scene.do("full", "on")
        post.replies["bo@example.org"] = (451, "4.7.1 greylisted")
        await scene.room.send("one")
        await trio.sleep(3 * 3600)
        status = await scene.do("status")
        assert "1 mails wait for the server" in status
        assert "1 of them were put off, the oldest is 3.0 hours old" in status


@define
class Looked(Mailbox):
    """A mailbox whose server has this to say of the mail in it, and no IDLE."""

    results: bytes = b""

    def _answer(self, command: bytes) -> bytes:
        if command == b"CAPABILITY":
            return b"* CAPABILITY IMAP4rev1\r\n"
        if b"HEADER.FIELDS" in command:
            shown = self.results + b"\r\n"
            return b"* 1 FETCH (UID 1 BODY[HEADER] {%d}\r\n%b)\r\n" % (len(shown), shown)
        return super()._answer(command)


@pytest.mark.parametrize(
    ("results", "good"),
    [
        (b"Authentication-Results: mx.example; dkim=none\r\n", True),
        (b"Authentication-Results: other.example; dkim=pass header.d=x\r\n", False),
        (b"", False),
    ],
)
async def test_the_check_sees_whether_mail_in_the_mailbox_was_looked_at(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock, results: bytes, good: bool
) -> None:
    box = Looked(mails={1: mail()}, results=results)
    monkeypatch.setattr(checking, "connect", box.connect)
    settings = EmailSettings(
        domain="bridge.example",
        authserv_id="mx.example",
        smtp=Smtp(port=free_port()),
        imap=Imap(host="mx.example"),
    )
    said: list[Finding] = []
    await Check(settings, {}, said.append)._imap()
    texts = [one.text for one in said if one.good]
    assert any("no IDLE: it is looked at every 60 seconds" in one for one in texts)
    assert any("has results of mx.example" in one for one in texts) is good
    bad = [one.text for one in said if not one.good]
    assert bool(bad) is not good
    if bad:
        assert "none of the last 1 mails in INBOX has Authentication-Results of mx.ex" in bad[0]
        assert ("other.example" in bad[0]) is bool(results)
    assert box.seen == box.flagged == []
