"""Private messages to members: only for who asked, in a room of their own, and both ways."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import trio
from attrs import evolve
from trio.testing import MockClock

from bridge.core.model import Kind, LocalAuthor, Outgoing, ReplyTo, State
from bridge.irc.asking import Who
from bridge.irc.connection import Connection
from bridge.irc.login import Credentials, Login
from bridge.irc.wire import Line
from ofcd.client import lite
from ofcd.protocol.ids import EventId, MemberId
from ofcd.protocol.records import Cap
from tests.bridge.irc.private import (
    BASE,
    KIM,
    MODERN,
    PUPPETS,
    failed,
    group,
    more_failed,
    own_room,
    private_scene,
    puppet,
    said_in,
)
from tests.bridge.irc.scene import CHANNEL, irc_scene, until
from tests.bridge.irc.scripted import Kept


async def test_they_stand_in_a_room_of_ones_own_and_are_answered(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """From the puppet's nick, to who wrote; nothing of it in the room of all, nor in the channel;
    and after a restart too."""
    async with private_scene(tmp_path) as scene:
        async with scene.running():
            guest = await puppet(scene)
            private = await own_room(scene)
            await scene.server.to(guest, KIM, "PRIVMSG", "Ana[o]", "psst \x02walnut\x02")
            await scene.server.to(guest, KIM, "PRIVMSG", "Ana[o]", "\1ACTION waves\1")
            await until(lambda: len(said_in(private)) == 2)
            assert said_in(private) == ["kim: psst **walnut**", "kim: *waves*"]
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
            guest = await puppet(scene)
            await scene.server.to(guest, KIM, "PRIVMSG", "Ana[o]", "walnut again")
            await until(lambda: len(said_in(private)) == 3)
            await private.send("kim: walnuts all the time")
            await until(lambda: len(scene.server.privately) == 3)
        assert "walnut" not in group(scene)
        assert "mean it" not in group(scene)
        assert len(said_in(private)) == 3
        assert not guest.said("NOTICE")


async def test_who_did_not_ask_gets_none_and_who_writes_is_told_once_a_day(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """However often they change their nick; and a crowd gets not more than an answer in a while."""
    async with private_scene(tmp_path) as scene, scene.running():
        guest = await puppet(scene)
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
        assert "walnut" not in group(scene)


async def test_a_refusal_of_an_answer_tells_no_password(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    (tmp_path / "password").write_text("sesame")
    async with private_scene(tmp_path) as scene:
        scene.settings = evolve(scene.settings, password_file=str(tmp_path / "password"))
        async with scene.running():
            guest = await puppet(scene)
            private = await own_room(scene)
            await scene.server.to(guest, KIM, "PRIVMSG", "Ana[o]", "psst")
            await until(lambda: said_in(private))
            scene.server.refusal = "you said PASS sesame"
            scene.server.refuse["Ana[o]", "PRIVMSG"] = "404"
            await private.send("kim: yes?")
            await until(lambda: failed(private) == 1)
            await trio.sleep(3)
            why = [m.text for m in private.messages() if m.text.startswith("Not delivered")]
            assert [one.rpartition(": ")[2] for one in why] == ["you said PASS ***"]


async def test_an_answer_reaches_nobody_else(tmp_path: Path, autojump_clock: MockClock) -> None:
    """Not who has the nick now, not services, not a channel, and not whom nobody named."""
    async with private_scene(tmp_path) as scene, scene.running():
        guest = await puppet(scene)
        private = await own_room(scene)
        await scene.server.to(guest, KIM, "PRIVMSG", "Ana[o]", "psst")
        await until(lambda: said_in(private))
        first = next(m for m in private.messages() if m.via is not None)
        scene.server.people["kim"] = "evil@elsewhere.example"
        await private.send("a secret", reply_to=first.event_id)
        scene.server.people["nickserv"] = "services@test"
        for text in ("a secret", f"{CHANNEL}: a secret", "kim,bo: a secret", "NickServ: DROP Ana"):
            await private.send(text)
        await private.send("nobody: a secret")
        del scene.server.people["kim"]
        await private.send("gone now", reply_to=first.event_id)
        await until(lambda: failed(private) == 7)
        assert scene.server.privately == []
        assert "secret" not in group(scene)
        why = [m.text for m in private.messages() if m.text.startswith("Not delivered")]
        assert any("is not there now, or is somebody else" in one for one in why)
        assert any("begin with the nick and a colon" in one for one in why)


async def test_nothing_is_carried_while_somebody_else_is_in_that_room(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with private_scene(tmp_path) as scene, scene.running():
        guest = await puppet(scene)
        private = await own_room(scene)
        bo = await scene.world.client("bo")
        theirs = await bo.join(await private.invite(), name="Bo")
        await trio.sleep(2)
        await scene.server.to(guest, KIM, "PRIVMSG", "Ana[o]", "psst walnut")
        await theirs.send("kim: I am Ana")
        await private.send("kim: really")
        await until(lambda: failed(private) == 2)
        await trio.sleep(5)
        assert said_in(private) == []
        assert scene.server.privately == []
        assert [one[0] for one in guest.said("NOTICE")] == ["kim"]
        await private.evict(theirs.me)
        await trio.sleep(5)
        await scene.server.to(guest, "bad!b@bad.example", "PRIVMSG", "Ana[o]", "ignored")
        await scene.server.to(guest, KIM, "PRIVMSG", "Ana[o]", "alone now?")
        await until(lambda: said_in(private) == ["kim: alone now?"])


async def test_another_bridge_in_that_room_is_somebody_else(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """It reads that room, as who was quicker with a link would."""
    async with private_scene(tmp_path) as scene, scene.running():
        guest = await puppet(scene)
        private = await own_room(scene)
        other = await scene.world.client("other")
        code = await private.invite(caps=frozenset({Cap.BRIDGE}))
        stolen = await other.join(code, name="Bridge")
        await trio.sleep(5)
        await scene.server.to(guest, KIM, "PRIVMSG", "Ana[o]", "psst walnut")
        await private.send("!msg kim walnut")
        await until(lambda: any(m.reactions for m in private.messages()))
        assert said_in(private) == []
        assert scene.server.privately == []
        await private.evict(stolen.me)
        await trio.sleep(5)
        await scene.server.to(guest, KIM, "PRIVMSG", "Ana[o]", "alone now?")
        await until(lambda: said_in(private) == ["kim: alone now?"])


async def test_nobody_else_speaks_from_a_members_nick(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """Neither what waited until its author was gone, nor whom a bridge speaks for."""
    async with private_scene(tmp_path) as scene, scene.running() as network:
        await puppet(scene)
        private = await own_room(scene)
        bo = await scene.world.client("bo")
        theirs = await bo.join(await private.invite(), name="Bo")
        await trio.sleep(2)
        assert network._direct is not None
        network._direct.ready(False, "a break")
        await theirs.send("!msg kim I am Ana")
        await trio.sleep(2)
        await private.evict(theirs.me)
        await trio.sleep(10)
        network._direct.ready(True)
        await until(lambda: any("only whose room this is" in m.text for m in private.messages()))
        assert scene.server.privately == []

        place = next(iter(network.host.attached()))
        ana = LocalAuthor(private.me, "Ana")
        one = Outgoing(
            number=1,
            room=private.id,
            place=place,
            kind=Kind.MESSAGE,
            event_id=EventId(bytes(32)),
            author=ana,
            document=(lite.Paragraph(((lite.Text("!msg kim hi"),),)),),
        )
        others = (LocalAuthor(MemberId(bytes(32)), "Ana"), evolve(ana, network="mail"))
        for author in others:
            (receipt,) = await network.deliver([evolve(one, author=author)])
            assert receipt.state is State.FAILED
        assert scene.server.privately == []
        (receipt,) = await network.deliver([one])
        assert receipt.state is State.SENT
        assert scene.server.privately == [("Ana[o]", "kim", "hi")]


async def test_a_nick_is_who_wrote_under_it_or_asked_for_as_such(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """The first word of a sentence is nobody, whoever bears that nick; after a restart too."""
    async with private_scene(tmp_path) as scene:
        scene.server.people["sorry"] = "s@elsewhere.example"
        async with scene.running():
            guest = await puppet(scene)
            private = await own_room(scene)
            await scene.server.to(guest, KIM, "PRIVMSG", "Ana[o]", "psst")
            await until(lambda: said_in(private))
            for text in ("Sorry, my password is walnut", "Sorry: my password is walnut"):
                await private.send(text)
            await until(lambda: failed(private) == 2)
            assert scene.server.privately == []
            assert any("begin with !msg Sorry" in m.text for m in private.messages())
            await private.send("!msg Sorry who are you?")
            await private.send("KIM: it is me")
            await until(lambda: len(scene.server.privately) == 2)
            assert scene.server.privately == [
                ("Ana[o]", "Sorry", "who are you?"),
                ("Ana[o]", "KIM", "it is me"),
            ]
        await trio.sleep(5)
        async with scene.running():
            await puppet(scene)
            await private.send("kim: still me")
            await until(lambda: len(scene.server.privately) == 3)
            scene.server.people["kim"] = "evil@elsewhere.example"
            await private.send("kim: a secret")
            await until(lambda: failed(private) == 3)
            await trio.sleep(10)
            assert len(scene.server.privately) == 3


async def test_who_takes_the_nick_in_the_midst_of_it_gets_no_more(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    slow = evolve(BASE, line_seconds=2.0, burst=1)
    async with irc_scene(tmp_path, PUPPETS, caps=MODERN, settings=slow) as scene, scene.running():
        scene.server.people["kim"] = "k@there.example"
        guest = await puppet(scene)
        private = await own_room(scene)
        await scene.server.to(guest, KIM, "PRIVMSG", "Ana[o]", "psst")
        await until(lambda: said_in(private))
        first = next(m for m in private.messages() if m.via is not None)
        lines = "\n".join(f"secret {number}" for number in range(8))
        for head, reply_to in (("", first.event_id), ("!msg kim ", None)):
            scene.server.people["kim"] = "k@there.example"
            scene.server.privately.clear()
            before = failed(private)
            await private.send(head + lines, reply_to=reply_to)
            await until(lambda: len(scene.server.privately) == 2)
            scene.server.people["kim"] = "evil@elsewhere.example"
            await until(partial(more_failed, private, before))
            assert len(scene.server.privately) == 2
        told = "or is somebody else: 2 of 8 lines were said"
        assert any(told in m.text for m in private.messages())


async def test_where_somebody_is_is_told_by_no_answer_about_another(
    autojump_clock: MockClock,
) -> None:
    """A late answer to an earlier question is none to this one."""
    ours, theirs = trio.testing.memory_stream_pair()
    link = Connection(BASE, ours, Login(Credentials("ofc", "ofc", "bridge")))
    found: list[Who | None] = []

    async def ask() -> None:
        found.append(await link.who_is("kim[1]"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await theirs.receive_some(100)
        for text in ("bo=+b@elsewhere", "kim=+x@elsewhere", "KIM{1}*=-k@there "):
            await link._own(Line("302", ("ofc", text)))
    assert found == [Who("k@there")]


async def test_services_are_not_spoken_to(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with private_scene(tmp_path) as scene, scene.running() as network:
        await puppet(scene)
        private = await own_room(scene)
        for nick in ("Q", "x", "L", "*status", "AuthServ"):
            scene.server.people[nick.lower()] = "s@services.example"
            one = Outgoing(
                number=1,
                room=private.id,
                place=next(iter(network.host.attached())),
                kind=Kind.MESSAGE,
                event_id=EventId(bytes(32)),
                author=LocalAuthor(private.me, "Ana"),
                document=(lite.Paragraph(((lite.Text(f"!msg {nick} DROP Ana"),),)),),
            )
            answer = evolve(one, reply_to=ReplyTo((f"{nick}!s@services.example id",), nick))
            for each in (one, answer):
                (receipt,) = await network.deliver([each])
                assert receipt.state is State.FAILED
        assert scene.server.privately == []


async def test_a_message_of_several_lines_to_a_member_is_one(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with private_scene(tmp_path) as scene, scene.running():
        guest = await puppet(scene)
        private = await own_room(scene)
        inner = tuple(Line("PRIVMSG", ("Ana[o]", text)) for text in ("psst", "", "two \x02bold"))
        kept = Kept(KIM, "PRIVMSG", ("Ana[o]", ""), scene.server._stamp(), inner)
        await scene.server.several(guest, kept, {})
        await scene.server.to(guest, KIM, "PRIVMSG", "Ana[o]", "and one")
        await until(lambda: any("and one" in one for one in said_in(private)))
        assert said_in(private) == ["kim: psst\ntwo **bold**", "kim: and one"]


async def test_it_is_ended_and_given_to_no_wrong_room(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with private_scene(tmp_path) as scene, scene.running():
        guest = await puppet(scene)
        private = await own_room(scene)
        await scene.room.send("!bridge irc dm off")
        await until(
            lambda: any("Private messages on irc: no more" in one for one in scene.notices())
        )
        await scene.server.to(guest, KIM, "PRIVMSG", "Ana[o]", "walnut")
        await private.send("kim: walnut")
        await until(lambda: [one.is_me for one in private.members()] == [True])
        await trio.sleep(10)
        assert said_in(private) == []
        assert scene.server.privately == []
        # The room of all, or one of the bridge's others, is nobody's own.
        bo = await scene.world.client("bo")
        theirs = await bo.join(await scene.room.invite(), name="Bo")
        link = (await scene.room.invite(caps=frozenset({Cap.BRIDGE}))).link()
        for words in (link, "nonsense", "", "a b"):
            await theirs.send(f"!bridge irc dm {words}".strip())
        answers = ("I am in that room already", "no ofc1: code", "make a room of your own")
        await until(lambda: all(any(a in one for one in scene.notices()) for a in answers))
        assert "walnut" not in group(scene)


async def test_an_invite_that_is_refused_is_told_of_and_leaves_nothing(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """Somebody else may have used it: then nothing is carried there."""
    async with private_scene(tmp_path) as scene:
        async with scene.running():
            guest = await puppet(scene)
            private = await scene.ana.create_room(scene.world.url, "irc", my_name="Ana")
            code = await private.invite(caps=frozenset({Cap.BRIDGE}))
            thief = await scene.world.client("thief")
            await thief.join(code, name="Bridge")
            await scene.room.send(f"!bridge irc dm {code.link()}")
            told = "they are in that room and read it: evict them"
            await until(lambda: any(told in one for one in scene.notices()), 1200)
            await scene.server.to(guest, KIM, "PRIVMSG", "Ana[o]", "walnut")
            await until(lambda: guest.said("NOTICE"))
            assert said_in(private) == []
        async with scene.running():
            await scene.up()
            assert scene.engine is not None
            assert list(scene.engine.attached) == []


async def test_what_was_not_delivered_is_told_of_whatever_strangers_ask(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with private_scene(tmp_path) as scene, scene.running():
        guest = await puppet(scene)
        await own_room(scene)
        for number in range(30):
            who = f"s{number}!s@h{number}.example"
            await scene.server.to(scene.guest("ofc"), who, "PRIVMSG", "ofc", "hi")
        await trio.sleep(1)
        for number in range(30):
            await scene.server.to(guest, KIM, "PRIVMSG", "Ana[o]", f"line {number}")
        await trio.sleep(5)
        assert guest.said("NOTICE") == [("kim", "That was not delivered.")]


async def test_a_message_with_nothing_to_show_is_not_dropped_without_a_word(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with private_scene(tmp_path) as scene, scene.running():
        guest = await puppet(scene)
        private = await own_room(scene)
        await scene.server.to(guest, KIM, "PRIVMSG", "Ana[o]", "psst")
        await until(lambda: said_in(private))
        first = next(m for m in private.messages() if m.via is not None)
        await private.send("\x07", reply_to=first.event_id)
        await until(lambda: failed(private))
        notices = [m.text for m in private.messages()]
        assert any("there is nothing in it that can be shown" in one for one in notices)
        assert scene.server.privately == []


async def test_without_nicks_of_their_own_there_are_none(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with irc_scene(tmp_path, settings=BASE) as scene, scene.running():
        await scene.up()
        await scene.room.send("!bridge irc dm x")
        await until(lambda: any("no nicks of their own" in one for one in scene.notices()))
