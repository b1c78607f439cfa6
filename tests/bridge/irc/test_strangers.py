"""Who writes to the bridge's own nick, or invites it; and channels whose room is gone."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from attrs import evolve
from trio.testing import MockClock

from bridge.core import Finding, PlaceInfo, meant
from bridge.core.secrets import read_secret
from bridge.irc.answers import Answers
from bridge.irc.checking import check
from bridge.irc.dialing import Dialer, credentials_of
from bridge.irc.settings import IrcPlace
from bridge.irc.wire import Line
from ofcd.errors import ConfigError
from tests.bridge.irc.private import BASE
from tests.bridge.irc.scene import CHANNEL, IrcScene, irc_scene, portal
from tests.bridge.irc.scripted import Scripted

KIM = "kim!k@there.example"
MORE = portal(options=IrcPlace(long="more"))


def _told(scene: IrcScene) -> list[tuple[str, ...]]:
    return [one for one in scene.guest("ofc").said("NOTICE") if not one[0].startswith("#")]


async def test_who_writes_to_the_bridges_nick_is_answered_once_a_day(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """Nothing of it goes anywhere; a channel is named to who is in it, too."""
    async with irc_scene(tmp_path, MORE, caps=["message-tags"]) as scene, scene.running():
        await scene.up()
        ours = scene.guest("ofc")
        await scene.server.act("kim", "JOIN", (CHANNEL,))
        for words in ("hello?", "help", "\x01ACTION waves\x01"):
            await scene.server.to(ours, KIM, "PRIVMSG", "OFC", words)
        await trio.sleep(60)
        await scene.server.to(ours, "eve!e@elsewhere.example", "PRIVMSG", "ofc", "who are you")
        await trio.sleep(60)
        [kim, eve] = _told(scene)
        assert (kim[0], eve[0]) == ("kim", "eve")
        assert CHANNEL in kim[1]
        assert "!more" in kim[1]
        assert "#" not in eve[1]
        assert "!more" not in eve[1]
        assert scene.bridged() == []


async def test_an_answer_is_given_once_a_day_and_not_to_a_crowd(
    autojump_clock: MockClock,
) -> None:
    """By where they come from, and not by the nick; five at once to all, and then one in ten s."""
    at, server = [0], Scripted()
    async with trio.open_nursery() as nursery:
        await nursery.start(server.run)
        connection = await Dialer(BASE, open_=server.open).connect(credentials_of(BASE))
        answers = Answers(lambda: at[0])

        async def told(nick: str, host: str) -> int:
            await answers.tell(connection, Line("PRIVMSG", nick=nick, user="u", host=host), "hi")
            await trio.sleep(1)
            return len(server.guests[0].said("NOTICE"))

        assert [await told("kim", "a"), await told("kim2", "a")] == [1, 1]
        at[0] = 80_000_000
        assert await told("kim", "a") == 1
        at[0] = 87_000_000
        assert await told("kim", "a") == 2
        assert [await told("x", str(n)) for n in range(9)][-1] == 6
        at[0] += 10_000
        assert await told("x", "8") == 7, "who was not told is, when they write again"
        nursery.cancel_scope.cancel()


async def test_no_program_is_answered(tmp_path: Path, autojump_clock: MockClock) -> None:
    """Notices, services, the server, who says of itself that it is a bot, and the bridge itself."""
    async with irc_scene(tmp_path, caps=["message-tags"]) as scene, scene.running():
        await scene.up()
        ours = scene.guest("ofc")
        await scene.server.to(ours, KIM, "NOTICE", "ofc", "I am a bot, too")
        await scene.server.to(ours, "NickServ!s@services.example", "PRIVMSG", "ofc", "identify")
        await scene.server.to(ours, "irc.example", "PRIVMSG", "ofc", "a word of the server")
        await scene.server.to(ours, ours.mask, "PRIVMSG", "ofc", "to myself")
        await scene.server.to(ours, "b!b@h.example", "PRIVMSG", "ofc", "hi", bot="")
        await scene.server.to(ours, "c!c@i.example", "INVITE", "ofc", "#x", **{"x.org/bot": ""})
        await trio.sleep(120)
        assert _told(scene) == []


async def test_an_invitation_to_elsewhere_is_declined(
    tmp_path: Path, autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a notice, a line in the log and a number; however many come."""
    async with irc_scene(tmp_path) as scene, scene.running():
        await scene.up()
        for number in range(100):
            await scene.server.to(scene.guest("ofc"), KIM, "INVITE", "ofc", f"#party{number}")
        await trio.sleep(60)
        assert [one[0] for one in _told(scene)] == ["kim"]
        assert scene.guest("ofc").channels == {CHANNEL}
        assert scene.engine is not None
        page = scene.engine.metrics.render().decode()
        assert 'bridge_declined_total{network="irc"} 100.0' in page
    assert 1 <= capsys.readouterr().out.count("an invitation to a channel is declined") <= 6


async def test_an_invitation_to_where_it_is_to_be_is_taken_soon(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """A channel that lets in who is invited (+i) is asked less and less, and then at once."""
    async with irc_scene(tmp_path) as scene, scene.running():
        scene.server.refuse["ofc", "JOIN"] = "473"
        await trio.sleep(600)
        before = len(scene.guest("ofc").said("JOIN"))
        assert before < 6
        await scene.server.to(scene.guest("ofc"), KIM, "INVITE", "ofc", CHANNEL.upper())
        for _ in range(20):
            await scene.server.to(scene.guest("ofc"), KIM, "INVITE", "ofc", CHANNEL)
            await trio.sleep(1)
        assert len(scene.guest("ofc").said("JOIN")) == before + 1
        scene.server.refuse.clear()
        await trio.sleep(20)
        await scene.server.to(scene.guest("ofc"), KIM, "INVITE", "ofc", CHANNEL)
        await trio.sleep(10)
        await scene.up()
        assert _told(scene) == []


@pytest.mark.parametrize("farewell", [True, False])
async def test_a_channel_whose_room_is_gone_is_told_and_left(
    tmp_path: Path, autojump_clock: MockClock, farewell: bool
) -> None:
    """Once: neither another connection nor another life of the bridge goes there again."""
    there = portal(options=IrcPlace(farewell=farewell))
    async with irc_scene(tmp_path, there) as scene:
        async with scene.running():
            await scene.up()
            await trio.sleep(5)
            [room] = scene.bridge.rooms
            await scene.room.evict(room.me)
            await trio.sleep(30)
            ours = scene.guest("ofc")
            assert len([one for one in ours.said("NOTICE") if one[0] == CHANNEL]) == farewell
            assert ours.said("PART") == [(CHANNEL,)]
            await scene.server.drop(ours, "gone")
            await trio.sleep(60)
            assert scene.guest("ofc").said("JOIN") == []
        async with scene.running():
            await trio.sleep(60)
            assert scene.guest("ofc").said("JOIN") == []
            assert scene.guest("ofc").said("NOTICE") == []


async def test_who_was_put_out_while_away_leaves_once_the_relay_has_said_so_for_long(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says only that there is no such room, which nobody signed: for a while it may be wrong."""
    monkeypatch.setattr(meant, "_HIDDEN_MS", 120_000)
    async with irc_scene(tmp_path) as scene:
        async with scene.running():
            await scene.up()
            await trio.sleep(5)
        me = scene.bridge.rooms[0].me
        await scene.world.stop_client("bridge")
        await scene.room.evict(me)
        scene.bridge = await scene.world.client("bridge")
        async with scene.running():
            await trio.sleep(60)
            ours = scene.guest("ofc")
            assert (ours.said("PART"), ours.said("JOIN")) == ([], [(CHANNEL,)])
        async with scene.running():
            await trio.sleep(30)
            ours = scene.guest("ofc")
            assert ours.said("PART") == []
            await trio.sleep(60)
            assert ours.said("PART") == [(CHANNEL,)]
        async with scene.running():
            await trio.sleep(30)
            assert scene.guest("ofc").said("JOIN") == []


async def test_a_channel_with_another_room_is_not_left(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """Nor does anybody there hear of it: the other room may be one that nobody knows of."""
    async with irc_scene(tmp_path, portal(), portal(room="films")) as scene, scene.running():
        await scene.up()
        films = await scene.ana.create_room(scene.world.url, "films", my_name="Ana")
        await scene.bridge.join(await films.invite(), name="Bridge")
        await trio.sleep(5)
        await scene.room.evict(next(one.me for one in scene.bridge.rooms if one.name == "books"))
        await trio.sleep(60)
        ours = scene.guest("ofc")
        assert ours.said("PART") == []
        assert [one for one in ours.said("NOTICE") if one[0] == CHANNEL] == []


@pytest.mark.parametrize("content", [None, b"\xff\xfe\0"])
async def test_a_channels_key_stands_in_a_file(
    tmp_path: Path, autojump_clock: MockClock, content: bytes | None
) -> None:
    """It is read anew for each JOIN; a file that can not be read costs this channel alone.

    Where it stands on the bridge's machine is for the log, and not for members.
    """
    file = tmp_path / "key"
    if content is not None:
        file.write_bytes(content)
    there = portal(options=IrcPlace(key_file=str(file)))
    async with irc_scene(tmp_path, there) as scene, scene.running():
        await trio.sleep(30)
        assert scene.engine is not None
        queue = scene.engine.places["irc", CHANNEL]
        assert (scene.guest("ofc").said("JOIN"), queue.is_ready) == ([], False)
        assert queue.why == "its key can not be read"
        file.write_text("walnut\n")
        await scene.up()
        assert scene.guest("ofc").said("JOIN") == [(CHANNEL, "walnut")]


@pytest.mark.parametrize(
    ("options", "said", "good"),
    [
        (IrcPlace(key="walnut"), "its key stands in the settings", True),
        (IrcPlace(key_file="/nowhere/key"), "/nowhere/key can not be read", False),
    ],
)
async def test_check_says_where_a_key_stands(
    autojump_clock: MockClock, options: IrcPlace, said: str, good: bool
) -> None:
    found: list[Finding] = []
    server = Scripted()
    info = PlaceInfo(CHANNEL, options, sends=True, takes=True)
    async with trio.open_nursery() as nursery:
        await nursery.start(server.run)
        await check(BASE, {CHANNEL: info}, server.open, found.append)
        nursery.cancel_scope.cancel()
    assert [one.good for one in found if said in one.text] == [good]
    assert not any("walnut" in one.text for one in found)


async def test_a_password_that_can_not_be_read_ends_nothing_and_no_member_hears_where_it_stands(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    file = tmp_path / "password"
    file.write_bytes(b"\xff\xfe\0")
    async with irc_scene(tmp_path) as scene:
        scene.settings = evolve(scene.settings, password_file=str(file))
        async with scene.running():
            await trio.sleep(30)
            assert scene.engine is not None
            assert scene.engine.places["irc", CHANNEL].why == (
                "a file of its settings can not be read"
            )
            file.write_text("walnut")
            await scene.up()


def test_a_secret_that_can_not_be_read_is_not_shown(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_bytes(b"walnut \xe9")
    for name in (str(file), str(tmp_path), f"{file}\0"):
        with pytest.raises(ConfigError, match="can not be read") as caught:
            read_secret(name)
        assert not any(one in str(caught.value) for one in ("walnut", "e9"))


def test_a_key_stands_in_one_place() -> None:
    with pytest.raises(ValueError, match="key_file"):
        IrcPlace(key="walnut", key_file="key")
    assert "walnut" not in repr(evolve(IrcPlace(), key="walnut"))
