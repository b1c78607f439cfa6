"""Private messages to members: only for who asked, in a room of their own, and both ways."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio
from trio.testing import MockClock

from bridge.irc.settings import IrcPlace, IrcSettings
from ofcd.client import Room
from ofcd.protocol.records import Cap
from tests.bridge.irc.scene import CHANNEL, IrcScene, irc_scene, portal, until
from tests.bridge.irc.scripted import ALL_CAPS, Guest

MODERN = [one for one in ALL_CAPS if "relaymsg" not in one]
PUPPETS = portal(options=IrcPlace(mode="puppets"), ignore=["*!*@bad.example"])
BASE = IrcSettings(
    name="irc", server="irc.example", nick="ofc", line_seconds=0.01, burst=100, puppet_seconds=0.5
)
KIM = "kim!k@there.example"


@asynccontextmanager
async def _scene(folder: Path) -> AsyncIterator[IrcScene]:
    async with irc_scene(folder, PUPPETS, caps=MODERN, settings=BASE) as scene:
        scene.server.people["kim"] = "k@there.example"
        yield scene


async def _puppet(scene: IrcScene) -> Guest:
    await scene.up()
    await scene.room.send("first")
    await until(lambda: any(CHANNEL in g.channels and "Ana" in g.nick for g in scene.server.guests))
    await trio.sleep(2)
    return scene.guest("Ana[o]")


async def _own_room(scene: IrcScene) -> Room:
    """Ana asks for them."""
    private = await scene.ana.create_room(scene.world.url, "irc", my_name="Ana")
    link = (await private.invite(caps=frozenset({Cap.BRIDGE}))).link()
    await scene.room.send(f"!bridge irc dm {link}")
    await until(lambda: any("I copy this room" in one.text for one in private.messages()))
    return private


def _said(room: Room) -> list[str]:
    return [f"{m.via.name}: {m.text}" for m in room.messages() if m.via is not None]


def _group(scene: IrcScene) -> str:
    """All that stands in the room of all, and in the channel."""
    return "\n".join([*(m.text for m in scene.messages()), *scene.heard()])


async def test_they_stand_in_a_room_of_ones_own_and_are_answered(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """From the puppet's nick, to who wrote; nothing of it in the room of all, nor in the channel;
    and after a restart too."""
    async with _scene(tmp_path) as scene:
        async with scene.running():
            guest = await _puppet(scene)
            private = await _own_room(scene)
            await scene.server.to(guest, KIM, "PRIVMSG", "Ana[o]", "psst \x02walnut\x02")
            await scene.server.to(guest, KIM, "PRIVMSG", "Ana[o]", "\1ACTION waves\1")
            await until(lambda: len(_said(private)) == 2)
            assert _said(private) == ["kim: psst **walnut**", "kim: *waves*"]
            first = next(m for m in private.messages() if m.via is not None)
            await private.send("not so **loud**", reply_to=first.event_id, markdown=True)
            await private.send("kim: I mean it")
            await until(lambda: len(scene.server.privately) == 2)
            assert scene.server.privately == [
                ("Ana[o]", "kim", "not so \x02loud"),
                ("Ana[o]", "kim", "I mean it"),
            ]
        await trio.sleep(5)
        async with scene.running():
            guest = await _puppet(scene)
            await scene.server.to(guest, KIM, "PRIVMSG", "Ana[o]", "walnut again")
            await until(lambda: len(_said(private)) == 3)
            await private.send("kim: walnuts all the time")
            await until(lambda: len(scene.server.privately) == 3)
        assert "walnut" not in _group(scene)
        assert "mean it" not in _group(scene)
        assert len(_said(private)) == 3
        assert not guest.said("NOTICE")


async def test_who_did_not_ask_gets_none_and_who_writes_is_told_once_a_day(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """However often they change their nick; and a crowd gets not more than an answer in a while."""
    async with _scene(tmp_path) as scene, scene.running():
        guest = await _puppet(scene)
        for number in range(10):
            source = f"kim{number}!k@there.example"
            await scene.server.to(guest, source, "PRIVMSG", "Ana[o]", "psst walnut")
            await scene.server.to(guest, KIM, "NOTICE", "Ana[o]", "psst walnut")
            await trio.sleep(5)
        assert [one[0] for one in guest.said("NOTICE")] == ["kim0"]
        for number in range(100):
            await scene.server.to(guest, f"x!x@host{number}", "PRIVMSG", "Ana[o]", "walnut")
        await trio.sleep(5)
        assert len(guest.said("NOTICE")) <= 7
        assert "walnut" not in _group(scene)


async def test_an_answer_reaches_nobody_else(tmp_path: Path, autojump_clock: MockClock) -> None:
    """Not who has the nick now, not services, not a channel, and not whom nobody named."""
    async with _scene(tmp_path) as scene, scene.running():
        guest = await _puppet(scene)
        private = await _own_room(scene)
        await scene.server.to(guest, KIM, "PRIVMSG", "Ana[o]", "psst")
        await until(lambda: _said(private))
        first = next(m for m in private.messages() if m.via is not None)
        scene.server.people["kim"] = "evil@elsewhere.example"
        await private.send("a secret", reply_to=first.event_id)
        scene.server.people["nickserv"] = "services@test"
        for text in ("a secret", f"{CHANNEL}: a secret", "kim,bo: a secret", "NickServ: DROP Ana"):
            await private.send(text)
        await private.send("nobody: a secret")
        del scene.server.people["kim"]
        await private.send("gone now", reply_to=first.event_id)
        await until(lambda: sum(bool(m.reactions) for m in private.messages()) == 7)
        assert scene.server.privately == []
        assert "secret" not in _group(scene)
        why = [m.text for m in private.messages() if m.text.startswith("Not delivered")]
        assert any("is not there now, or is somebody else" in one for one in why)
        assert any("begin with a nick and a colon" in one for one in why)


async def test_nothing_is_carried_while_somebody_else_is_in_that_room(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with _scene(tmp_path) as scene, scene.running():
        guest = await _puppet(scene)
        private = await _own_room(scene)
        bo = await scene.world.client("bo")
        theirs = await bo.join(await private.invite(), name="Bo")
        await trio.sleep(2)
        await scene.server.to(guest, KIM, "PRIVMSG", "Ana[o]", "psst walnut")
        await theirs.send("kim: I am Ana")
        await private.send("kim: really")
        await until(lambda: sum(bool(m.reactions) for m in private.messages()) == 2)
        await trio.sleep(5)
        assert _said(private) == []
        assert scene.server.privately == []
        assert [one[0] for one in guest.said("NOTICE")] == ["kim"]
        await private.evict(theirs.me)
        await trio.sleep(5)
        await scene.server.to(guest, "bad!b@bad.example", "PRIVMSG", "Ana[o]", "ignored")
        await scene.server.to(guest, KIM, "PRIVMSG", "Ana[o]", "alone now?")
        await until(lambda: _said(private) == ["kim: alone now?"])


async def test_it_is_ended_and_given_to_no_wrong_room(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with _scene(tmp_path) as scene, scene.running():
        guest = await _puppet(scene)
        private = await _own_room(scene)
        await scene.room.send("!bridge irc dm off")
        await until(
            lambda: any("Private messages on irc: no more" in one for one in scene.notices())
        )
        await scene.server.to(guest, KIM, "PRIVMSG", "Ana[o]", "walnut")
        await private.send("kim: walnut")
        await until(lambda: [one.is_me for one in private.members()] == [True])
        await trio.sleep(10)
        assert _said(private) == []
        assert scene.server.privately == []
        # The room of all, or one of the bridge's others, is nobody's own.
        bo = await scene.world.client("bo")
        theirs = await bo.join(await scene.room.invite(), name="Bo")
        link = (await scene.room.invite(caps=frozenset({Cap.BRIDGE}))).link()
        for words in (link, "nonsense", "", "a b"):
            await theirs.send(f"!bridge irc dm {words}".strip())
        answers = ("I am in that room already", "no ofc1: code", "make a room of your own")
        await until(lambda: all(any(a in one for one in scene.notices()) for a in answers))
        assert "walnut" not in _group(scene)


async def test_an_invite_that_is_refused_is_told_of_and_leaves_nothing(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """Somebody else may have used it: then nothing is carried there."""
    async with _scene(tmp_path) as scene:
        async with scene.running():
            guest = await _puppet(scene)
            private = await scene.ana.create_room(scene.world.url, "irc", my_name="Ana")
            code = await private.invite(caps=frozenset({Cap.BRIDGE}))
            thief = await scene.world.client("thief")
            await thief.join(code, name="Bridge")
            await scene.room.send(f"!bridge irc dm {code.link()}")
            told = "I could not use an invite"
            await until(lambda: any(told in one for one in scene.notices()), 1200)
            await scene.server.to(guest, KIM, "PRIVMSG", "Ana[o]", "walnut")
            await until(lambda: guest.said("NOTICE"))
            assert _said(private) == []
        async with scene.running():
            await scene.up()
            assert scene.engine is not None
            assert list(scene.engine.attached) == []


async def test_without_nicks_of_their_own_there_are_none(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with irc_scene(tmp_path, settings=BASE) as scene, scene.running():
        await scene.up()
        await scene.room.send("!bridge irc dm x")
        await until(lambda: any("no nicks of their own" in one for one in scene.notices()))
