"""InspIRCd 3: IRCv3 as far as it offers it, and lines exactly once though processes are killed."""

from __future__ import annotations

import os
import random
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import pytest
import trio

from ofcd.client import Room
from tests.bridge.irc.processes import Bridge, bridge, bridged, is_in, relay_in, room_of, settings
from tests.bridge.irc.servers import Person, Server, free_port, inspircd, needs, person, until
from tests.live.support import Relay, keep_trying, seed

pytestmark = [pytest.mark.live, pytest.mark.slow, needs("inspircd"), pytest.mark.timeout(1800)]
LINES = 40 if "OFCD_SOAK_SECONDS" not in os.environ else int(os.environ["OFCD_SOAK_SECONDS"]) * 5
"""Of each side; one every fifth of a second."""
_APART = 2.0 if "OFCD_SOAK_SECONDS" not in os.environ else 4.0
"""Seconds from one kill to the next, at most."""
_TURNS = 6
"""Kills at least; they go on as long as anybody talks."""


@pytest.mark.parametrize("mode", ["relay", "puppets"])
async def test_each_line_is_said_once_whatever_is_killed(tmp_path: Path, mode: str) -> None:
    """`kill -9` of bridge, relay and IRC server at random while both sides talk.

    The server plays back what the bridge missed, but not over its own death: it dies while the
    bridge is there. A line that was under way then may be said again, marked as such.
    """
    chance = random.Random(seed())
    with (
        relay_in(tmp_path) as relay,
        inspircd(tmp_path / "irc", defaultmodes="ntH 500:1h") as server,
    ):
        async with (
            room_of(relay.url, tmp_path) as (client, room, link),
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(keep_trying, client)
            kim = Kim(server.port)
            nursery.start_soon(kim.live)
            text = settings(link, server.port, _MORE + f'[portal.irc]\nmode = "{mode}"\n', _IRC)
            with bridge(tmp_path / "bridge", text) as program:
                await until(lambda: _ready(program) == 1)
                await until(lambda: room.messages())  # it is in the room too, and says so
                victims: dict[str, Bridge | Relay | Server] = {
                    "bridge": program,
                    "relay": relay,
                    "server": server,
                }
                killed = {"bridge": 0, "relay": 0, "server": 0}
                async with trio.open_nursery() as talk:
                    talk.start_soon(kim.talk, LINES)
                    talk.start_soon(_talk_room, room, LINES)
                    turn = -1
                    while (turn := turn + 1) < _TURNS or len(talk.child_tasks):
                        await trio.sleep(chance.uniform(0.5, _APART))
                        what = ("bridge", "relay", "server")[turn % 3]
                        killed[what] += 1
                        ready = _ready(program)
                        victim = victims[what]
                        victim.kill()
                        await trio.sleep(chance.uniform(0.1, 1.0))
                        victim.start()
                        if what != "relay":
                            await until(lambda: _ready(program) > ready, 300)  # noqa: B023
                await until(lambda: f"Ana says {LINES - 1}" in "".join(kim.heard()[-1:]), 300)
                last = kim.sure[-1]
                await until(lambda: f"kim: kim says {last}" in _words(bridged(room)), 300)
                await trio.sleep(3)  # one too many would come now
                came = [int(one.rpartition(" ")[2]) for one in _words(bridged(room))]
                assert came == sorted(set(came)), "once, in order"
                assert set(kim.sure) <= set(came) <= set(range(LINES)), "all"
                marked = [one for one in kim.heard() if "(again?)" in one]
                said = [re.sub(r".*Ana says ", "", one) for one in kim.heard()]
                twice = [n for n, one in enumerate(said) if one in said[:n]]
                assert all("(again?)" in kim.heard()[n] for n in twice), "or marked"
                once = [one for n, one in enumerate(said) if n not in twice]
                assert once == [str(number) for number in range(LINES)]
                print(
                    f"\n{mode}: {LINES} lines each way, killed {killed}; "
                    f"{len(marked)} said again in doubt, {len(twice)} of them needlessly; "
                    f"kim was sure of {len(kim.sure)}, {len(came)} came"
                )
            nursery.cancel_scope.cancel()


_MORE = (
    "in_per_second = 1000.0\nin_burst = 1000\nout_per_second = 100.0\nout_burst = 100\n"
    "backlog = 10000\n"
)
_IRC = "puppet_seconds = 0.1\n"


def _ready(program: Bridge) -> int:
    """How often the bridge got into the channel."""
    return program.log.read_text().count("joined a channel")


class Kim:
    """Somebody on IRC who comes again whenever the server dies, and knows what it has taken."""

    def __init__(self, port: int) -> None:
        self.sure: list[int] = []
        """The lines that the server has taken for sure."""
        self._port = port
        self._me: Person | None = None
        self._before: list[str] = []

    async def live(self) -> None:
        while True:
            with suppress(OSError, trio.BrokenResourceError, trio.ClosedResourceError):
                async with person(self._port, "kim", "#books") as me:
                    self._me = me
                    await until(lambda: me.gone, 3600)
                    self._me = None
                    self._before += self._of(me)
            await trio.sleep(0.1)

    def _of(self, me: Person) -> list[str]:
        return [one for one in me.heard("#books") if "Ana says" in one]

    def heard(self) -> list[str]:
        return self._before + ([] if self._me is None else self._of(self._me))

    async def talk(self, count: int) -> None:
        """Each number once: one of which the server's taking is not sure is not repeated."""
        for number in range(count):
            await until(lambda: self._me is not None)
            me = self._me
            assert me is not None
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                await me.say("#books", f"kim says {number}")
                await me.send("PING", f"fence{number}")
                await until(lambda: me.gone or _answered(me, number))  # noqa: B023
                if _answered(me, number):
                    self.sure.append(number)
            await trio.sleep(0.2)


def _answered(me: Person, number: int) -> bool:
    wanted = f"fence{number}"
    return any(one.command == "PONG" and one.params[-1] == wanted for one in me.lines[-50:])


def _words(lines: list[str]) -> list[str]:
    """Without the time that late ones begin with."""
    return [re.sub(r"\(\d\d:\d\d UTC\) ", "", one) for one in lines]


async def _talk_room(room: Room, count: int) -> None:
    for number in range(count):
        with room._client.transaction() as tx:
            room.queue(tx, f"Ana says {number}")
        await trio.sleep(0.2)


async def test_a_real_netsplit_is_one_line_each_way(tmp_path: Path) -> None:
    """I6: two linked nodes are cut apart, six people are on the other side."""
    with relay_in(tmp_path) as relay:
        port = free_port()
        link = (
            '<link name="{name}" ipaddr="127.0.0.1" port="{port}" allowmask="127.0.0.1" '
            'sendpass="pass" recvpass="pass" timeout="1m">'
        )
        first = f'<bind address="127.0.0.1" port="{port}" type="servers">' + link.format(
            name="two.test.example", port=port
        )
        second = link.format(name="one.test.example", port=port) + (
            '<autoconnect period="1s" server="one.test.example">'
        )
        with inspircd(tmp_path / "one", more=first, name="one.test.example") as one:
            async with room_of(relay.url, tmp_path) as (_, room, invite):
                text = settings(invite, one.port, "presence = true\n")
                with bridge(tmp_path / "bridge", text) as program:
                    await until(lambda: "joined a channel" in program.log.read_text())
                    await is_in(room)
                    async with _far_away(tmp_path, second, 6):
                        await until(lambda: _notes(room, "joined") >= 6)
                    await until(lambda: _notes(room, "netsplit: 6 were split off") == 1)
                    assert _notes(room, "quit") == 0
                    async with _far_away(tmp_path, second, 6):
                        await until(lambda: _notes(room, "netsplit: 6 are back") == 1)
                        assert _notes(room, "joined") == 6


def _notes(room: Room, words: str) -> int:
    messages = room.messages(since=0, limit=10_000)
    return sum(words in message.text for message in messages if message.via is not None)


@asynccontextmanager
async def _far_away(folder: Path, more: str, count: int) -> AsyncIterator[None]:
    """People on a second node; at the end it is killed, and they are split off."""
    with inspircd(folder / "two", more=more, name="two.test.example", sid="002") as two:
        async with AsyncExitStack() as stack:
            for number in range(count):
                await stack.enter_async_context(person(two.port, f"far{number}", "#books"))
            yield
            two.kill()
