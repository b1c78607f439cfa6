"""Private messages to people with accounts: an answer is for that account, and for nobody else."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from ofcd.client import Message, Room
from tests.bridge.irc.private import (
    KIM,
    failed,
    own_room,
    private_scene,
    puppet,
    said_in,
)
from tests.bridge.irc.scene import IrcScene, until
from tests.bridge.irc.scripted import Guest

_SAYS = "NICKLEN=30 CASEMAPPING=rfc1459 CHATHISTORY=100 MSGREFTYPES=msgid,timestamp"
_ELSEWHERE = "kim!x@elsewhere.example"


async def _hears(
    scene: IrcScene, guest: Guest, private: Room, source: str, text: str, account: str = ""
) -> Message:
    """Somebody writes to Ana's nick; what stands in her room then."""
    count = len(said_in(private))
    tags = {"account": account} if account else {}
    await scene.server.to(guest, source, "PRIVMSG", "Ana[o]", text, **tags)
    await until(lambda: len(said_in(private)) > count)
    return [m for m in private.messages() if m.via is not None][-1]


@pytest.mark.parametrize("whox", [True, False], ids=["WHOX", "WHOIS"])
async def test_an_answer_is_for_the_account_that_wrote(
    tmp_path: Path, autojump_clock: MockClock, whox: bool
) -> None:
    """Not for who has the nick at the same address without it, nor under another account; but for
    the same account wherever it comes from."""
    says = f"{_SAYS} WHOX" if whox else _SAYS
    async with private_scene(tmp_path, "account-tag", isupport=says) as scene, scene.running():
        server = scene.server
        guest = await puppet(scene)
        private = await own_room(scene)
        first = await _hears(scene, guest, private, KIM, "psst", "kim")
        number = 0
        for account in ("", "other"):
            server.accounts["kim"] = account
            for text, reply_to in (("a secret", first.event_id), ("kim: a secret", None)):
                await private.send(text, reply_to=reply_to)
                number += 1
                await until(lambda: failed(private) == number)  # noqa: B023
        assert server.privately == []
        assert any("is not logged in as kim" in m.text for m in private.messages())
        server.accounts["kim"], server.people["kim"] = "KIM", "k@another.example"
        await private.send("a secret", reply_to=first.event_id)
        await private.send("kim: another")
        await until(lambda: len(server.privately) == 2)
        assert [one[2] for one in server.privately] == ["a secret", "another"]
        assert bool(guest.said("WHO")) is whox
        assert bool(guest.said("WHOIS")) is not whox


async def test_who_writes_under_that_nick_later_does_not_get_its_answers(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """`kim: ` stays the account; the room is told, and a reply to the other reaches the other."""
    async with private_scene(tmp_path, "account-tag") as scene, scene.running():
        server = scene.server
        guest = await puppet(scene)
        private = await own_room(scene)
        await _hears(scene, guest, private, KIM, "psst", "kim")
        server.people["kim"] = "x@elsewhere.example"
        other = await _hears(scene, guest, private, _ELSEWHERE, "it is me")
        told = "kim, who writes now, is not logged in, and is not kim, who wrote before"
        await until(lambda: any(told in m.text for m in private.messages()))
        await private.send("kim: a secret")
        await until(lambda: failed(private) == 1)
        assert server.privately == []
        await private.send("who are you?", reply_to=other.event_id)
        await until(lambda: len(server.privately) == 1)
        server.people["kim"], server.accounts["kim"] = "k@there.example", "kim"
        await private.send("kim: a secret")
        await until(lambda: len(server.privately) == 2)


async def test_without_accounts_the_address_is_asked_and_a_change_is_told(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """Nothing but USERHOST is said to the server."""
    async with private_scene(tmp_path) as scene, scene.running():
        server = scene.server
        guest = await puppet(scene)
        private = await own_room(scene)
        await _hears(scene, guest, private, KIM, "psst")
        await _hears(scene, guest, private, _ELSEWHERE, "psst")
        told = "kim writes from x@elsewhere.example now, and not from k@there.example as before"
        await until(lambda: any(told in m.text for m in private.messages()))
        await private.send("kim: hello")
        await until(lambda: failed(private) == 1)
        server.people["kim"] = "x@elsewhere.example"
        await private.send("kim: hello")
        await until(lambda: len(server.privately) == 1)
        assert guest.said("USERHOST")
        assert not guest.said("WHO")
        assert not guest.said("WHOIS")


async def test_who_is_ignored_changes_nothing(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with private_scene(tmp_path) as scene, scene.running():
        guest = await puppet(scene)
        private = await own_room(scene)
        await _hears(scene, guest, private, KIM, "psst")
        await scene.server.to(guest, "kim!x@bad.example", "PRIVMSG", "Ana[o]", "psst")
        await trio.sleep(10)
        await private.send("kim: hello")
        await until(lambda: len(scene.server.privately) == 1)
        assert not any("writes from" in m.text for m in private.messages())


async def test_what_can_not_be_told_to_one_alone_is_said(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """An edit; an answer that begins with another's nick; one who takes no strangers."""
    async with private_scene(tmp_path) as scene, scene.running():
        server = scene.server
        server.people["bo"] = "b@there.example"
        guest = await puppet(scene)
        private = await own_room(scene)
        first = await _hears(scene, guest, private, KIM, "psst")
        await _hears(scene, guest, private, "bo!b@there.example", "psst")
        await private.send("bo: a secret", reply_to=first.event_id)
        await until(lambda: failed(private) == 1)
        asked = "it answers kim and begins with bo: whom is it for?"
        assert any(asked in m.text for m in private.messages())
        sent = await private.send("note: buy walnuts", reply_to=first.event_id)
        await until(lambda: len(server.privately) == 1)
        await private.edit(sent.event_id, "note: buy none")
        kept = "(edit): what was said to one alone stays as it was said"
        await until(lambda: any(kept in m.text for m in private.messages()))
        server.refuse["Ana[o]", "PRIVMSG"] = "716"
        await private.send("kim: hello")
        await until(lambda: failed(private) == 2)
        assert any("it is refused" in m.text for m in private.messages())
