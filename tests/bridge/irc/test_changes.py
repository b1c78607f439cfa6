"""G6 and G2 on IRC: edits, what is taken back, reactions, and what comes late, as they are told."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import trio

from bridge.core.guard import room_tag
from tests.bridge.irc.scene import CHANNEL, irc_scene, portal, until
from tests.bridge.irc.scripted import ALL_CAPS

MODERN = [one for one in ALL_CAPS if "multiline" not in one and "relaymsg" not in one]


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("diff", ["[edit] six → seven"]),
        ("full", ["[edit] we meet at seven by the old bridge"]),
        ("off", []),
    ],
)
async def test_a_later_edit_is_told_as_the_portal_has_it(
    tmp_path: Path, autojump_clock: object, how: str, told: list[str]
) -> None:
    """What differs, all of it, or nothing; of many differences all of it, too."""
    async with irc_scene(tmp_path, portal(edits=how)) as scene, scene.running():
        await scene.up()
        sent = await scene.room.send("we meet at six by the old bridge")
        await until(lambda: scene.heard())
        await trio.sleep(1)
        await scene.room.edit(sent.event_id, "we meet at seven by the old bridge")
        await trio.sleep(10)
        assert scene.heard()[1:] == [f"ofc: <\x02Ana\x02> {one}" for one in told]
        await scene.room.edit(sent.event_id, "no, let us all stay at home")
        await trio.sleep(10)
        whole = ["ofc: <\x02Ana\x02> [edit] no, let us all stay at home"] if told else []
        assert scene.heard()[2:] == whole


async def test_what_is_taken_back_stays_where_the_portal_says_so(
    tmp_path: Path, autojump_clock: object
) -> None:
    there = portal(redactions=False)
    async with irc_scene(tmp_path, there, caps=MODERN) as scene, scene.running():
        await scene.up()
        sent = await scene.room.send("stays")
        await until(lambda: scene.heard())
        await trio.sleep(1)
        await scene.room.redact(sent.event_id)
        await trio.sleep(10)
        assert scene.guest("ofc").said("REDACT") == []


async def test_nobody_takes_back_what_another_said(tmp_path: Path, autojump_clock: object) -> None:
    async with irc_scene(tmp_path, caps=MODERN) as scene, scene.running():
        await scene.up()
        theirs = await scene.server.say("kim", CHANNEL, "mine")
        await until(lambda: scene.bridged())
        await scene.server.act("eve", "REDACT", (CHANNEL, theirs))
        await trio.sleep(10)
        [message] = [one for one in scene.messages() if one.via is not None]
        assert message.redacted_by is None


async def test_a_reaction_is_taken_back_as_one(tmp_path: Path, autojump_clock: object) -> None:
    async with irc_scene(tmp_path, portal(reactions=True), caps=MODERN) as scene, scene.running():
        await scene.up()
        theirs = await scene.server.say("kim", CHANNEL, "shall we?")
        await until(lambda: scene.bridged())
        [message] = [one for one in scene.messages() if one.via is not None]
        await scene.room.react(message.event_id, "👍")
        await until(lambda: len(scene.guest("ofc").said("TAGMSG")) == 1)
        await trio.sleep(1)
        await scene.room.react(message.event_id, "👍", remove=True)
        await until(lambda: len(scene.guest("ofc").said("TAGMSG")) == 2)
        told = [one.tags for one in scene.guest("ofc").lines if one.command == "TAGMSG"]
        assert [one.get("+draft/unreact") for one in told] == [None, "👍"]
        assert {one["+draft/reply"] for one in told} == {theirs}


@pytest.mark.parametrize(
    ("denied", "tags"),
    [("*", 0), ("draft/react", 0), ("*,-draft/react", 1), ("draft/typing", 1)],
)
async def test_where_the_server_takes_no_such_tags_reactions_are_words(
    tmp_path: Path, autojump_clock: object, denied: str, tags: int
) -> None:
    there, isupport = portal(reactions=True), f"NICKLEN=30 CLIENTTAGDENY={denied}"
    made = irc_scene(tmp_path, there, caps=MODERN, isupport=isupport)
    async with made as scene, scene.running():
        await scene.up()
        await scene.server.say("kim", CHANNEL, "shall we?")
        await until(lambda: scene.bridged())
        [message] = [one for one in scene.messages() if one.via is not None]
        await scene.room.react(message.event_id, "👍")
        await trio.sleep(30)
        assert len(scene.guest("ofc").said("TAGMSG")) == tags
        assert len(scene.heard()) == 1 - tags


async def test_who_lets_only_their_name_out_reacts_to_nothing_there(
    tmp_path: Path, autojump_clock: object
) -> None:
    async with irc_scene(tmp_path, portal(reactions=True)) as scene, scene.running():
        await scene.up()
        await scene.server.say("kim", CHANNEL, "shall we?")
        await until(lambda: scene.bridged())
        [message] = [one for one in scene.messages() if one.via is not None]
        await scene.room.send("!bridge me nick-only")
        await scene.room.react(message.event_id, "👍")
        await trio.sleep(30)
        assert scene.heard() == []


async def test_who_comes_and_goes_is_told_by_name_and_who_is_withheld_is_not(
    tmp_path: Path, autojump_clock: object
) -> None:
    """Joined, called something else, gone by themselves, or put out."""
    async with irc_scene(tmp_path, portal(presence=True)) as scene, scene.running():
        await scene.up()
        for name in ("Bo", "Cy", "Di"):
            client = await scene.world.client(name)
            room = await client.join(await scene.room.invite(), name=name)
            await trio.sleep(2)
            if name == "Bo":
                await room.send("!bridge me withheld")
                await room.set_name("Bob")
            if name == "Cy":
                await room.set_name("Cyd")
            await trio.sleep(2)
            if name == "Di":
                await scene.room.evict(room.me)
            else:
                await room.leave()
            await trio.sleep(5)
        assert [one.rpartition("ofc: ")[2] for one in scene.heard()] == [
            "Bo joined",
            "Cy joined",
            "Cy is now Cyd",
            "Cyd left",
            "Di joined",
            "Di was removed",
        ]


async def test_who_is_ignored_comes_and_goes_unsaid(tmp_path: Path, autojump_clock: object) -> None:
    """By what stands behind the nick, as in what they say."""
    there = portal(presence=True, ignore=["*!*@evil.example"])
    async with irc_scene(tmp_path, there) as scene, scene.running():
        await scene.up()
        for host in ("evil.example", "good.example"):
            for command, *words in (("JOIN", CHANNEL), ("NICK", f"{host[0]}2"), ("QUIT", "bye")):
                nick = f"{host[0]}2" if command == "QUIT" else host[0]
                await scene.server.to(scene.guest("ofc"), f"{nick}!u@{host}", command, *words)
                await trio.sleep(2)
        await trio.sleep(5)
        assert scene.bridged() == ["g: *g joined*", "g: *g is now g2*", "g2: *g2 quit*"]


async def test_what_comes_late_says_when_it_was_said(
    tmp_path: Path, autojump_clock: object
) -> None:
    async with irc_scene(tmp_path) as scene, scene.running():
        await scene.up()
        await scene.server.die()
        await scene.room.send("waiting")
        await trio.sleep(120)
        scene.server.dead = False
        await scene.up()
        await until(lambda: scene.heard())
        await scene.room.send("at once")
        await until(lambda: len(scene.heard()) == 2)
        first, second = scene.heard()
        assert re.fullmatch(r"ofc: \[\d\d:\d\d UTC\] <\x02Ana\x02> waiting", first)
        assert second == "ofc: <\x02Ana\x02> at once"


async def test_a_line_that_says_it_was_in_the_room_is_not_taken(
    tmp_path: Path, autojump_clock: object
) -> None:
    """Nor one that has been through three bridges; one through two, of which this is none, is."""
    async with irc_scene(tmp_path, caps=MODERN) as scene, scene.running():
        await scene.up()
        for words, path in (
            ("round", room_tag(scene.room.id)),
            ("far", "a,b,c"),
            ("near", "a,b"),
        ):
            await scene.server.say("relay", CHANNEL, words, **{"+ofcd/origin": path})
        await until(lambda: scene.bridged())
        await trio.sleep(5)
        assert scene.bridged() == ["relay: near"]
        assert any("is it bridged twice?" in one for one in scene.notices())


async def test_a_reaction_to_a_line_without_an_id_is_told_in_words(
    tmp_path: Path, autojump_clock: object
) -> None:
    """Beside one to a line that has an id: nobody gets a tag that means nothing."""
    there = portal(reactions=True)
    async with irc_scene(tmp_path, there, caps=MODERN) as scene, scene.running():
        await scene.up()
        theirs = await scene.server.say("kim", CHANNEL, "with an id")
        await until(lambda: len(scene.bridged()) == 1)
        scene.server.caps.remove("msgid")
        await scene.server.say("kim", CHANNEL, "without an id")
        await until(lambda: len(scene.bridged()) == 2)
        for message in [one for one in scene.messages() if one.via is not None]:
            await scene.room.react(message.event_id, "👍")
            await scene.room.send("so?", reply_to=message.event_id)
        await trio.sleep(30)
        tags = [one.tags for one in scene.guest("ofc").lines if "+draft/reply" in one.tags]
        assert {one["+draft/reply"] for one in tags} == {theirs}
        assert [one.get("+draft/react") for one in tags] == [None, "👍"]
        told = [one for one in scene.heard() if "👍" in one]
        assert told == ['ofc: to kim, "without an id": 👍 Ana']


async def test_what_still_stands_there_and_what_can_not_be_shown_is_said_in_the_room(
    tmp_path: Path, autojump_clock: object
) -> None:
    async with irc_scene(tmp_path) as scene, scene.running():
        await scene.up()
        await scene.room.send("\x07")
        sent = await scene.room.send("no, wait")
        await until(lambda: scene.heard())
        await trio.sleep(1)
        await scene.room.redact(sent.event_id)
        await trio.sleep(10)
        assert len(scene.heard()) == 1
        notices = "\n".join(scene.notices())
        assert "there is nothing in it that can be shown" in notices
        assert "(redaction): it still stands there, to be read" in notices
