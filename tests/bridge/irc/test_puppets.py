"""A nick for each member (I5): who speaks when, in what order; nothing is lost or doubled."""

from __future__ import annotations

import random
from itertools import pairwise
from pathlib import Path

import pytest
import trio
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from bridge.irc.nicks import nick_candidates, username_of
from bridge.irc.settings import IrcPlace, IrcSettings
from bridge.irc.wire import Line
from ofcd.client import Room
from tests.bridge.irc.scene import CHANNEL, IrcScene, irc_scene, portal, until
from tests.bridge.irc.scripted import ALL_CAPS, Guest

MODERN = [one for one in ALL_CAPS if "multiline" not in one and "relaymsg" not in one]
PUPPETS = portal(options=IrcPlace(mode="puppets"), out_burst=1000, out_per_second=1000.0)
BASE = IrcSettings(
    name="irc",
    server="irc.example",
    nick="ofc",
    line_seconds=0.01,
    burst=100,
    puppet_seconds=0.5,
)


async def _second(scene: IrcScene, name: str = "Bo") -> Room:
    bo = await scene.world.client(name)
    return await bo.join(await scene.room.invite(), name=name)


async def _with_puppet(scene: IrcScene, nick: str = "Ana[o]") -> Guest:
    """Ana has spoken, and her puppet is in the channel."""
    await scene.up()
    await scene.room.send("first")
    await until(lambda: any(g.nick == nick and CHANNEL in g.channels for g in scene.server.guests))
    await trio.sleep(2)
    return scene.guest(nick)


async def test_nobody_waits_for_a_puppet_and_then_it_speaks(
    tmp_path: Path, autojump_clock: object
) -> None:
    caps: list[str]
    for at, caps in enumerate([[], MODERN]):
        async with irc_scene(tmp_path / str(at), PUPPETS, caps=caps) as scene, scene.running():
            await _with_puppet(scene)
            await scene.room.send("second **bold**", markdown=True)
            await until(lambda: len(scene.heard()) == 2)
            assert scene.heard() == ["ofc: <\x02Ana\x02> first", "Ana[o]: second \x02bold"]
            await scene.server.say("kim", CHANNEL, "hello Ana")
            await until(lambda: scene.bridged())
            await trio.sleep(10)
            assert scene.bridged() == ["kim: hello Ana"], "what puppets say does not come back"


async def test_who_is_in_its_channel_wakes_for_nothing(
    tmp_path: Path, autojump_clock: object
) -> None:
    """A member's connection that has nothing to do costs nothing: there may be a hundred."""
    woken: list[str] = []

    class Steps(trio.abc.Instrument):
        def before_task_step(self, task: trio.lowlevel.Task) -> None:
            woken.append(task.name)

    async with irc_scene(tmp_path, PUPPETS, settings=BASE) as scene, scene.running():
        await _with_puppet(scene)
        steps = Steps()
        trio.lowlevel.add_instrument(steps)
        await trio.sleep(100)
        trio.lowlevel.remove_instrument(steps)
    assert not [one for one in woken if one.endswith("Puppets._join")]
    assert any(one.endswith("Puppets.run") for one in woken), "their names are such"


async def test_order_is_kept_though_two_nicks_speak_for_one(
    tmp_path: Path, autojump_clock: object
) -> None:
    """Lines go on while the puppet connects; the change of nick overtakes nothing."""
    async with irc_scene(tmp_path, PUPPETS, caps=MODERN, settings=BASE) as scene, scene.running():
        await scene.up()
        bo = await _second(scene)
        for number in range(40):
            await scene.room.send(f"line {2 * number}")
            await bo.send(f"line {2 * number + 1}")
            await trio.sleep(0.1)
        await until(lambda: len(scene.heard()) == 80)
        words = [one.rpartition("line ")[2] for one in scene.heard()]
        assert words == [str(number) for number in range(80)]
        nicks = {one.partition(":")[0] for one in scene.heard()}
        assert nicks == {"ofc", "Ana[o]", "Bo[o]"}


@pytest.mark.parametrize("answered", [True, False])
async def test_a_nick_that_is_not_in_the_channel_does_not_speak_there(
    tmp_path: Path, autojump_clock: object, answered: bool
) -> None:
    """It is connected, and the channel is full, or does not answer: the bridge's nick speaks."""
    async with irc_scene(tmp_path, PUPPETS, settings=BASE) as scene, scene.running():
        await scene.up()
        if answered:
            scene.server.refuse["Ana[o]", "JOIN"] = "471"
        else:
            scene.server.swallow = lambda guest, line: (
                "lost" if guest.nick == "Ana[o]" and line.command == "JOIN" else ""
            )
        for number in range(2):
            await scene.room.send(f"line {number}")
            await until(lambda: any(one.nick == "Ana[o]" for one in scene.server.guests))
            await trio.sleep(3)
        assert scene.heard() == [f"ofc: <\x02Ana\x02> line {number}" for number in range(2)]


async def test_nothing_overtakes_what_a_nick_could_not_say(
    tmp_path: Path, autojump_clock: object
) -> None:
    """Bo's nick breaks off amid a line; Ana, for whom the bridge's speaks, was to come next."""
    settings = evolve(BASE, max_puppets=1)
    async with irc_scene(tmp_path, PUPPETS, settings=settings) as scene, scene.running() as net:
        bo = await _second(scene)
        await scene.up()
        await bo.send("first")
        await until(lambda: any(g.nick == "Bo[o]" and g.channels for g in scene.server.guests))
        await trio.sleep(2)
        fates = ["before"]

        def swallow(guest: Guest, line: Line) -> str:
            is_his = guest.nick == "Bo[o]" and line.command == "PRIVMSG"
            return fates.pop() if is_his and fates else ""

        scene.server.swallow = swallow
        net.host.ready(CHANNEL, False, "so that both go together")
        await bo.send("second")
        await until(lambda: scene.room.messages()[-1].text == "second")
        await scene.room.send("third")
        await trio.sleep(2)
        net.host.ready(CHANNEL, True)
        await until(lambda: len(scene.heard()) == 3)
        assert not fates
        assert [one.rpartition(" ")[2] for one in scene.heard()] == ["first", "second", "third"]


@pytest.mark.parametrize("seed", [1])
async def test_links_that_break_at_random_lose_and_double_nothing(
    tmp_path: Path, autojump_clock: object, seed: int
) -> None:
    """Any link, before or behind a line: each line once, in order for each who speaks."""
    chance = random.Random(seed)

    def swallow(_guest: Guest, line: Line) -> str:
        if line.command != "PRIVMSG" or chance.random() > 0.1:
            return ""
        return chance.choice(["before", "after"])

    async with irc_scene(tmp_path, PUPPETS, caps=MODERN, settings=BASE) as scene, scene.running():
        await _with_puppet(scene)
        bo = await _second(scene)
        scene.server.swallow = swallow
        for number in range(40):
            await scene.room.send(f"Ana says {number}")
            await bo.send(f"Bo says {number}")
            await trio.sleep(chance.uniform(0, 3))
        await until(lambda: any("Bo says 39" in one for one in scene.heard()), 600)
        await until(lambda: any("Ana says 39" in one for one in scene.heard()), 600)
        await trio.sleep(60)
        heard = [one.rpartition("> ")[2].rpartition(": ")[2] for one in scene.heard()]
        heard = [one.replace("(again?) ", "").rpartition("UTC] ")[2] for one in heard]
        for who in ("Ana", "Bo"):
            said = [one for one in heard if one.startswith(f"{who} says")]
            assert said == [f"{who} says {number}" for number in range(40)]


async def test_a_taken_nick_is_passed_over_and_two_members_never_share_one(
    tmp_path: Path, autojump_clock: object
) -> None:
    async with irc_scene(tmp_path, PUPPETS, settings=BASE) as scene, scene.running():
        stranger = Guest(trio.testing.memory_stream_pair()[0], False, 1, nick="ana[o]")
        scene.server.guests.append(stranger)
        await _with_puppet(scene, "Ana2[o]")
        await scene.room.send("mine")
        await until(lambda: scene.heard()[-1:] == ["Ana2[o]: mine"])


async def test_who_is_silent_goes_and_comes_back(tmp_path: Path, autojump_clock: object) -> None:
    settings = evolve(BASE, puppet_idle=100.0)
    async with irc_scene(tmp_path, PUPPETS, settings=settings) as scene, scene.running():
        await _with_puppet(scene)
        await trio.sleep(110)
        assert [one.nick for one in scene.server.guests] == ["ofc"]
        await scene.room.send("here again")
        await until(lambda: "Ana[o]" in {one.nick for one in scene.server.guests})
        await trio.sleep(3)
        await scene.room.send("and now")
        await until(lambda: scene.heard()[-1:] == ["Ana[o]: and now"])
        assert scene.heard()[1] == "ofc: <\x02Ana\x02> here again"


async def test_there_are_no_more_than_allowed_and_the_longest_silent_makes_room(
    tmp_path: Path, autojump_clock: object
) -> None:
    settings = evolve(BASE, max_puppets=1)
    async with irc_scene(tmp_path, PUPPETS, settings=settings) as scene, scene.running():
        await _with_puppet(scene)
        bo = await _second(scene)
        await bo.send("no room yet")
        await until(lambda: len(scene.heard()) == 2)
        assert scene.heard()[-1] == "ofc: <\x02Bo\x02> no room yet"
        await trio.sleep(70)
        for number in range(6):
            await bo.send(f"word {number}")
            await trio.sleep(2)
        assert {one.nick for one in scene.server.guests} == {"ofc", "Bo[o]"}
        assert scene.heard()[-1] == "Bo[o]: word 5"
        assert len(scene.heard()) == 8


async def test_one_that_is_killed_stays_away_and_its_words_do_not(
    tmp_path: Path, autojump_clock: object
) -> None:
    async with irc_scene(tmp_path, PUPPETS, settings=BASE) as scene, scene.running():
        guest = await _with_puppet(scene)
        await scene.server.to(guest, "", "ERROR", "Closing Link: Ana[o] (Killed (oper (no bots)))")
        await scene.server.drop(guest, "Killed (no bots)")
        await until(lambda: any("my own nick speaks for them" in x for x in scene.notices()))
        for number in range(20):
            await scene.room.send(f"word {number}")
            await trio.sleep(20)
        assert [one.rpartition("> ")[2] for one in scene.heard()[1:]] == [
            f"word {number}" for number in range(20)
        ]
        assert [one.nick for one in scene.server.everybody].count("Ana[o]") == 1, "for ten minutes"


async def test_a_server_that_throttles_is_left_in_peace(
    tmp_path: Path, autojump_clock: object
) -> None:
    """The refusal is of the bridge's address: no other member's puppet tries either."""
    async with irc_scene(tmp_path, PUPPETS, settings=BASE) as scene, scene.running():
        await scene.up()
        bo = await _second(scene)

        tries: list[float] = []

        def turn_away(_guest: Guest) -> str:
            tries.append(trio.current_time())
            return "Closing Link: Your host is trying to (re)connect too fast -- throttled"

        scene.server.turn_away = turn_away
        for number in range(25):
            await scene.room.send(f"word {number}")
            await bo.send(f"word {number}")
            await trio.sleep(10)
        await until(lambda: len(scene.heard()) == 50)
        pauses = [b - a for a, b in pairwise(tries)]
        assert pauses, tries
        assert all(one >= 60 for one in pauses), pauses
        assert pauses[-1] >= 120, "longer each time"


async def test_a_ban_from_the_channel_is_not_got_round(
    tmp_path: Path, autojump_clock: object
) -> None:
    """Who is banned there is not spoken for by the bridge's nick: their message says so."""
    async with irc_scene(tmp_path, PUPPETS, settings=BASE) as scene, scene.running():
        await scene.up()
        scene.server.refuse["Ana[o]", "JOIN"] = "474"
        await scene.room.send("first")
        await until(
            lambda: any(one.said("JOIN") for one in scene.server.guests if "Ana" in one.nick)
        )
        await trio.sleep(2)
        await scene.room.send("second")
        await until(lambda: any("does not let Ana in" in one for one in scene.notices()))
        assert len(scene.heard()) == 1


async def test_somebody_else_with_the_nick_of_a_puppet_is_heard(
    tmp_path: Path, autojump_clock: object
) -> None:
    """A puppet's words are known by user and host too, also after a restart."""
    async with irc_scene(tmp_path, PUPPETS, caps=MODERN, settings=BASE) as scene:
        async with scene.running():
            guest = await _with_puppet(scene)
            await scene.room.send("mine")
            await until(lambda: len(scene.heard()) == 2)
            mask = guest.mask
        await trio.sleep(5)
        await scene.server.act("Ana[o]", "PRIVMSG", (CHANNEL, "I am a stranger"))
        assert mask.startswith("Ana[o]!")
        stamp = scene.server._stamp()
        await scene.server._spread(mask, "PRIVMSG", (CHANNEL, "a ghost's"), stamp, None, "")
        async with scene.running():
            await scene.up()
            await until(lambda: scene.bridged())
            await trio.sleep(5)
            assert [one.rpartition(") ")[2] for one in scene.bridged()] == ["I am a stranger"]


async def test_members_comings_and_goings_are_not_told_to_members(
    tmp_path: Path, autojump_clock: object
) -> None:
    settings = evolve(BASE, puppet_idle=60.0)
    there = evolve(PUPPETS, presence=True)
    async with irc_scene(tmp_path, there, settings=settings) as scene, scene.running():
        await _with_puppet(scene)
        await scene.server.act("kim", "JOIN", (CHANNEL,))
        await trio.sleep(100)
        assert scene.bridged() == ["kim: *kim joined*"]


async def test_who_withdraws_has_no_nick_there(tmp_path: Path, autojump_clock: object) -> None:
    async with irc_scene(tmp_path, PUPPETS, settings=BASE) as scene, scene.running():
        await _with_puppet(scene)
        await scene.room.send("!bridge me withheld")
        await until(lambda: [one.nick for one in scene.server.guests] == ["ofc"])


async def test_webirc_says_whom_a_connection_is_for(tmp_path: Path, autojump_clock: object) -> None:
    (tmp_path / "webirc").write_text("sesame\n")
    settings = evolve(
        BASE, webirc_password_file=str(tmp_path / "webirc"), webirc_host="ofcd.example"
    )
    async with irc_scene(tmp_path / "x", PUPPETS, settings=settings) as scene, scene.running():
        guest = await _with_puppet(scene)
        [(password, gateway, host, address)] = guest.said("WEBIRC")
        assert (password, gateway) == ("sesame", "ofcd")
        assert host.endswith(".ofcd.example")
        assert address.startswith("fd0f:")
        assert not scene.guest("ofc").said("WEBIRC")


async def test_a_puppet_that_is_named_is_the_member(tmp_path: Path, autojump_clock: object) -> None:
    async with irc_scene(tmp_path, PUPPETS, settings=BASE) as scene, scene.running():
        await _with_puppet(scene)
        await scene.server.say("kim", CHANNEL, "Ana[o]: are you there?")
        await until(lambda: scene.bridged())
        said = next(one for one in scene.messages() if one.via is not None)
        assert said.mentions == (scene.room.me,)


# -- nicks -----------------------------------------------------------------------------------------


@given(st.text(max_size=60), st.integers(9, 40), st.sets(st.integers(0, 5)))
def test_every_name_has_nicks_that_servers_take(name: str, length: int, gone: set[int]) -> None:
    """Letters of RFC 2812, no digit or dash first, no longer than allowed, none that is taken."""
    ident = "0123456789abcdef" * 4
    all_ = nick_candidates(name, ident, "[o]", length, lambda _: False)
    taken = {all_[at] for at in gone if at < len(all_)}
    found = nick_candidates(name, ident, "[o]", length, lambda nick: nick in taken)
    assert found == tuple(one for one in all_ if one not in taken)
    for nick in all_:
        assert 3 <= len(nick) <= length
        assert nick[0] not in "0123456789-"
        assert all(one in _NICK for one in nick)
    user = username_of(name, ident)
    assert user.isascii()
    assert user.isalnum()
    assert len(user) <= 10


_NICK = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789[]\\`_^{|}-"


def test_names_stay_recognisable() -> None:
    def first(name: str) -> str:
        return nick_candidates(name, "ab" * 32, "[o]", 16, lambda _: False)[0]

    assert first("Ana") == "Ana[o]"
    assert first("Zoë Müller") == "Zoe_Muller[o]"
    assert first("4ever") == "_4ever[o]"
    assert first("Максим") == "mababab[o]"
    assert first("a" * 50) == "a" * 13 + "[o]"
