"""I3, I4, I5 and I8 in small: how often, how soon and as whom the bridge comes and speaks."""

from __future__ import annotations

import ssl
from contextlib import suppress
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest
import trio
import trustme
from attrs import evolve
from trio.testing import MockClock, memory_stream_pair

from bridge.irc.connection import Connection, Lost
from bridge.irc.login import Credentials, Login
from bridge.irc.opening import open_stream
from bridge.irc.settings import IrcPlace, IrcSettings
from tests.bridge.irc.scene import CHANNEL, irc_scene, portal, until
from tests.bridge.irc.scripted import ALL_CAPS, Guest

MODERN = [one for one in ALL_CAPS if "multiline" not in one and "relaymsg" not in one]
BASE = IrcSettings(
    name="irc", server="irc.example", nick="ofc", line_seconds=0.01, burst=100, puppet_seconds=5.0
)


@pytest.mark.parametrize(
    ("why", "least", "most"), [("", 8, 16), ("Throttled: reconnecting too fast", 4, 8)]
)
async def test_a_server_that_is_away_is_asked_less_and_less(
    tmp_path: Path, autojump_clock: MockClock, why: str, least: int, most: int
) -> None:
    """In a thousand seconds; and less still where it says so itself."""
    tried: list[float] = []
    async with irc_scene(tmp_path, settings=BASE) as scene:
        really = scene.server.open

        async def counted(_settings: object, *, tls: bool, port: int) -> trio.abc.Stream:
            tried.append(trio.current_time())
            if not why:
                raise Lost("nobody answers")
            return await really(_settings, tls=tls, port=port)

        scene.server.turn_away = lambda _: why
        scene.server.open = counted  # type: ignore[method-assign]
        async with scene.running():
            await trio.sleep(1000)
    assert least <= len(tried) <= most, len(tried)


async def test_the_nick_is_taken_back_as_soon_as_it_is_free(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """The server is asked to watch it (MONITOR), and not only asked for it once a minute."""
    isupport = "NICKLEN=30 CASEMAPPING=rfc1459 MONITOR=100"
    async with irc_scene(tmp_path, settings=BASE, isupport=isupport) as scene:
        other = Guest(memory_stream_pair()[0], False, 6667, nick="ofc", user="x")
        scene.server.guests.append(other)
        async with scene.running():
            await until(lambda: any(one.nick == "ofc_" for one in scene.server.guests))
            guest = scene.guest("ofc_")
            await until(lambda: guest.said("MONITOR") == [("+", "ofc")])
            await trio.sleep(5)
            scene.server.guests.remove(other)
            await scene.server.to(guest, "irc.example", "731", "ofc_", "ofc!x@y")
            with trio.fail_after(5):
                while guest.nick != "ofc":  # noqa: ASYNC110 - the server's own
                    await trio.sleep(0.1)


async def test_members_connect_one_after_the_other(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    there = portal(options=IrcPlace(mode="puppets"), out_burst=1000, out_per_second=1000.0)
    async with irc_scene(tmp_path, there, settings=BASE) as scene, scene.running():
        await scene.up()
        came: list[float] = []
        really = scene.server.turn_away

        def seen(guest: Guest) -> str:
            came.append(trio.current_time())
            return really(guest)

        scene.server.turn_away = seen
        for name in ("Bo", "Cy", "Di"):
            room = await (await scene.world.client(name)).join(await scene.room.invite(), name=name)
            await room.send("hello")
        await until(lambda: len(came) == 3)
        assert all(after - before >= 5.0 for before, after in pairwise(came))


async def test_a_long_line_costs_more_than_a_short_one(autojump_clock: MockClock) -> None:
    """Servers count their bytes, too."""
    settings = evolve(BASE, burst=1, line_seconds=1.0)
    took = []
    for size in (0, 512):
        link = Connection(settings, memory_stream_pair()[0], Login(Credentials("o", "o", "o")))
        began = trio.current_time()
        for _ in range(10):
            await link.paced(size)
        took.append(trio.current_time() - began)
    assert took[1] > 1.8 * took[0]


async def test_without_ids_a_line_is_known_by_its_time_and_words(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """What is played back after a restart is not said again; the same words later are new."""
    caps = [one for one in MODERN if one != "msgid"]
    isupport = "NICKLEN=30 CHATHISTORY=20 MSGREFTYPES=timestamp"
    async with irc_scene(tmp_path, settings=BASE, caps=caps, isupport=isupport) as scene:
        async with scene.running():
            await scene.up()
            await scene.server.say("kim", CHANNEL, "ok")
            await until(lambda: len(scene.bridged()) == 1)
            await trio.sleep(3)
        async with scene.running():
            await scene.up()
            assert scene.guest("ofc").said("CHATHISTORY")
            await trio.sleep(3)
            await scene.server.say("kim", CHANNEL, "ok")
            await until(lambda: len(scene.bridged()) == 2)
            await trio.sleep(3)
            assert scene.bridged() == ["kim: ok", "kim: ok"]


async def test_actions_are_and_notices_are_as_the_portal_has_it(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    there = irc_scene(tmp_path, portal(notices=False), settings=BASE)
    async with there as scene, scene.running():
        await scene.up()
        await scene.server.say("kim", CHANNEL, "\1ACTION waves\1")
        await scene.server.act("bot", "NOTICE", (CHANNEL, "beep"))
        await scene.server.say("kim", CHANNEL, "done")
        await until(lambda: len(scene.bridged()) == 2)
        await trio.sleep(3)
        assert scene.bridged() == ["kim: *waves*", "kim: done"]


@pytest.mark.parametrize(
    ("name", "known", "why"),
    [
        ("127.0.0.1", True, ""),
        ("127.0.0.1", False, "its certificate is not good: "),
        ("irc.other.example", True, "its certificate is not good: "),
    ],
)
async def test_only_a_server_that_proves_its_name_is_spoken_with(
    tmp_path: Path, name: str, known: bool, why: str
) -> None:
    """A certificate of who is not known, or of another server, is none."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(name).configure_cert(context)

    async def serve(stream: trio.abc.Stream) -> None:
        secured = trio.SSLStream(stream, context, server_side=True)
        with suppress(trio.BrokenResourceError):
            await secured.receive_some(1)

    ca_file = str(tmp_path / "ca.pem") if known else ""
    settings = evolve(BASE, server="127.0.0.1", ca_file=ca_file)
    async with trio.open_nursery() as nursery:
        serving = partial(trio.serve_tcp, serve, 0, host="127.0.0.1")
        [listener] = await nursery.start(serving)
        port = listener.socket.getsockname()[1]
        said = ""
        try:
            await trio.aclose_forcefully(await open_stream(settings, tls=True, port=port))
        except Lost as error:
            said = str(error).partition(f":{port}: ")[2]
        assert said.startswith(why)
        assert bool(said) is bool(why)
        nursery.cancel_scope.cancel()
