"""G3: two bridges between the same room and channel never echo, whatever each one's mode is."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from attrs import evolve
from trio.testing import MockClock

from bridge.core.guard import EchoMemory
from bridge.irc.settings import IrcPlace
from ofcd.protocol.records import Cap
from tests.bridge.irc.processes import bridge, bridged, relay_in, room_of, settings
from tests.bridge.irc.scene import CHANNEL, IrcScene, irc_scene, portal
from tests.bridge.irc.servers import needs, ngircd, person, until

_TAGS = ("message-tags", "server-time", "msgid")
_MODES = [("relay", "relay"), ("relay", "puppets"), ("puppets", "puppets")]


@asynccontextmanager
async def _two(
    folder: Path, modes: Sequence[str], caps: Sequence[str] = (), **more: object
) -> AsyncIterator[tuple[IrcScene, IrcScene]]:
    """Two bridges of one room, both in one channel."""
    first, second = (portal(options=IrcPlace(mode=mode), **more) for mode in modes)
    async with irc_scene(folder, first, caps=tuple(caps)) as one:
        client = await one.world.client("other")
        await client.join(await one.room.invite(caps=frozenset({Cap.BRIDGE})), name="Other")
        two = evolve(
            one,
            bridge=client,
            settings=evolve(one.settings, nick="other", puppet_suffix="[x]"),
            portals=(second,),
        )
        async with one.running(), two.running():
            await one.up()
            await two.up()
            await one.room.send("hello")  # members' nicks come with it
            await trio.sleep(70)
            yield one, two


def _channel(scene: IrcScene) -> list[str]:
    """What was said in the channel since the last time."""
    return [one.params[1] for one in scene.server.history.pop(CHANNEL, [])]


@pytest.mark.parametrize("caps", [(), _TAGS], ids=["bare", "tags"])
@pytest.mark.parametrize("modes", _MODES, ids="-".join)
async def test_what_the_room_says_is_in_it_once(
    tmp_path: Path, autojump_clock: MockClock, modes: tuple[str, str], caps: tuple[str, ...]
) -> None:
    """Markup, lines, long ones, replies, edits: each comes to the channel from both, and ends."""
    async with _two(tmp_path, modes, caps) as (one, _):
        room = one.room
        _channel(one)
        said = await room.send("round and round")
        said_long = " ".join(f"word{n}" for n in range(150))
        for text in ("a **bold** and ~~gone~~ `word`", "> cited\n\n- item\n- item", said_long):
            await room.send(text, markdown=True)
        await room.send("first\nsecond\nthird")
        await room.send("\n".join(f"row {n}" for n in range(8)))
        await room.send("yes (it) does", reply_to=said.event_id)
        await trio.sleep(20)
        await room.edit(said.event_id, "square and square")
        await trio.sleep(70)
        assert one.bridged() == []
        lines = _channel(one)
        assert not any("@irc" in line for line in lines), "nothing was carried on"
        assert sum(line.endswith("second") for line in lines) == 2, "once by each"
        assert any("is it bridged twice?" in text for text in one.notices())


@pytest.mark.parametrize("modes", _MODES, ids="-".join)
async def test_what_somebody_there_says_is_not_carried_back(
    tmp_path: Path, autojump_clock: MockClock, modes: tuple[str, str]
) -> None:
    """Both hear it and bring it; neither says there what the other one brought."""
    async with _two(tmp_path, modes) as (one, _):
        _channel(one)
        for text in ("I am outside", "\x02bold\x02 outside", "\x01ACTION waves\x01"):
            await one.server.say("kim", CHANNEL, text)
            await trio.sleep(70)
            assert _channel(one) == [text]
        assert set(one.bridged()) == {"kim: I am outside", "kim: **bold** outside", "kim: *waves*"}


async def test_what_is_not_known_again_ends_where_it_was_said(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Should no words be known again, a bridge still knows its own nicks from another's."""
    monkeypatch.setattr(EchoMemory, "is_echo", lambda *_args, **_more: False)
    async with _two(tmp_path, ("relay", "puppets")) as (one, _):
        _channel(one)
        before = len(one.bridged())
        await one.room.send("round")
        await trio.sleep(70)
        assert len(one.bridged()) == before + 2
        assert sorted(_channel(one)) == ["<\x02Ana\x02> round", "round"]


@pytest.mark.live
@pytest.mark.slow
@needs("ngircd")
@pytest.mark.timeout(300)
async def test_two_bridges_on_a_real_server_make_no_ring(tmp_path: Path) -> None:
    """ngIRCd passes no tags: nothing but the words says that they were here."""
    with relay_in(tmp_path) as relay, ngircd(tmp_path / "irc") as server:
        async with (
            room_of(relay.url, tmp_path) as (_, room, link),
            person(server.port, "kim", "#books") as kim,
        ):
            invite = await room.invite(caps=frozenset({Cap.BRIDGE}))
            puppets = settings(
                invite.link(),
                server.port,
                '[portal.irc]\nmode = "puppets"\n',
                "puppet_seconds = 0.1\n",
            ).replace("ofcbridge", "second")
            # Each has to have heard the room and the channel before it says a line there.
            held = [
                one.replace("hold = 0.0", "hold = 2.0")
                for one in (settings(link, server.port), puppets)
            ]
            with (
                bridge(tmp_path / "one", held[0]),
                bridge(tmp_path / "two", held[1]),
            ):
                joined = {"ofcbridge", "second"}
                await until(lambda: joined <= {x.nick for x in kim.lines if x.command == "JOIN"})
                await until(lambda: sum("I copy this" in m.text for m in room.messages()) == 2)
                await room.send("hello")
                await until(
                    lambda: any(x.nick == "Ana[o]" for x in kim.lines if x.command == "JOIN")
                )
                await room.send("a **bold** word\nand another line", markdown=True)
                await until(lambda: sum("another line" in one for one in kim.heard("#books")) == 2)
                await kim.say("#books", "I am outside")
                await until(lambda: bridged(room))
                await room.send("the end")
                await until(lambda: sum("the end" in one for one in kim.heard("#books")) == 2)
                await trio.sleep(3)  # one too many would come now
                assert set(bridged(room)) == {"kim: I am outside"}
                assert not any("@" in one for one in kim.heard("#books"))
