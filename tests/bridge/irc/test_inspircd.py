"""InspIRCd 3: IRCv3 as far as it offers it, and lines exactly once though processes are killed."""

from __future__ import annotations

import os
import random
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
import trio

from ofcd.client import Room
from tests.bridge.irc.processes import bridge, bridged, room_of, settings
from tests.bridge.irc.servers import Person, free_port, inspircd, needs, person, until
from tests.live.support import Relay, keep_trying, seed

pytestmark = [pytest.mark.live, pytest.mark.slow, needs("inspircd"), pytest.mark.timeout(1800)]
LINES = 40 if "OFCD_SOAK_SECONDS" not in os.environ else int(os.environ["OFCD_SOAK_SECONDS"]) * 5
"""Of each side; one every fifth of a second."""


async def test_each_line_is_said_once_though_bridge_and_relay_are_killed(tmp_path: Path) -> None:
    """`kill -9` at random while both sides talk; the server plays back what the bridge missed."""
    chance = random.Random(seed())
    relay = Relay(tmp_path / "relay")
    relay.folder.mkdir()
    relay.start()
    try:
        with inspircd(tmp_path / "irc") as server:
            async with (
                room_of(relay.url, tmp_path) as (client, room, link),
                person(server.port, "kim", "#books") as kim,
                trio.open_nursery() as nursery,
            ):
                nursery.start_soon(keep_trying, client)
                await kim.send("MODE", "#books", "+H", "500:1h")
                text = settings(link, server.port, "in_per_second = 1000.0\nin_burst = 1000\n")
                with bridge(tmp_path / "bridge", text) as program:
                    await until(lambda: _is_in(kim))
                    asked = LINES
                    async with trio.open_nursery() as talk:
                        talk.start_soon(_talk_irc, kim, asked)
                        talk.start_soon(_talk_room, room, asked)
                        for turn in range(max(4, asked // 30)):
                            await trio.sleep(chance.uniform(1.0, 4.0))
                            victim = program if turn % 2 == 0 else relay
                            victim.kill()
                            await trio.sleep(chance.uniform(0.1, 1.0))
                            victim.start()
                    await until(lambda: f"kim: kim says {asked - 1}" in _words(bridged(room)), 120)
                    await until(lambda: f"Ana says {asked - 1}" in _last(kim), 120)
                    await trio.sleep(3)  # one too many would come now
                    assert _words(bridged(room)) == [f"kim: kim says {n}" for n in range(asked)]
                    heard = [one.partition("> ")[2] for one in kim.heard("#books")]
                    assert [x for x in heard if x] == [f"Ana says {n}" for n in range(asked)]
                nursery.cancel_scope.cancel()
    finally:
        relay.kill()


def _is_in(kim: Person) -> bool:
    return any(line.command == "JOIN" and line.nick == "ofcbridge" for line in kim.lines)


def _words(lines: list[str]) -> list[str]:
    """Without the time that late ones begin with."""
    return [re.sub(r"\(\d\d:\d\d UTC\) ", "", one) for one in lines]


def _last(kim: Person) -> str:
    return (kim.heard("#books") or [""])[-1]


async def _talk_irc(kim: Person, count: int) -> None:
    for number in range(count):
        await kim.say("#books", f"kim says {number}")
        await trio.sleep(0.2)


async def _talk_room(room: Room, count: int) -> None:
    for number in range(count):
        with room._client.transaction() as tx:
            room.queue(tx, f"Ana says {number}")
        await trio.sleep(0.2)


async def test_a_real_netsplit_is_one_line_each_way(tmp_path: Path) -> None:
    """I6: two linked nodes are cut apart, six people are on the other side."""
    relay = Relay(tmp_path / "relay")
    relay.folder.mkdir()
    relay.start()
    try:
        port = free_port()
        link = (
            '<link name="{name}" ipaddr="127.0.0.1" port="{port}" allowmask="127.0.0.1" '
            'sendpass="pass" recvpass="pass" timeout="1m">'
        )
        first = f'<bind address="127.0.0.1" port="{port}" type="servers">' + link.format(
            name="two.test.example", port=port
        )
        second = link.format(name="one.test.example", port=port) + (
            '<autoconnect period="2s" server="one.test.example">'
        )
        with inspircd(tmp_path / "one", more=first, name="one.test.example") as one:
            async with room_of(relay.url, tmp_path) as (_, room, invite):
                text = settings(invite, one.port, "presence = true\n")
                with bridge(tmp_path / "bridge", text) as program:
                    await until(lambda: "joined a channel" in program.log.read_text())
                    async with _far_away(tmp_path, second, 6):
                        await until(lambda: _notes(room, "joined") >= 6)
                    await until(lambda: _notes(room, "netsplit: 6 were split off") == 1)
                    assert _notes(room, "quit") == 0
                    async with _far_away(tmp_path, second, 6):
                        await until(lambda: _notes(room, "netsplit: 6 are back") == 1)
                        assert _notes(room, "joined") == 6
    finally:
        relay.kill()


def _notes(room: Room, words: str) -> int:
    messages = room.messages(since=0, limit=10_000)
    return sum(words in message.text for message in messages if message.via is not None)


@asynccontextmanager
async def _far_away(folder: Path, more: str, count: int) -> AsyncIterator[None]:
    """People on a second node; at the end it is killed, and they are split off."""
    with inspircd(folder / "two", more=more, name="two.test.example", sid="002") as two:
        async with AsyncExitStack() as stack:
            await trio.sleep(4)  # the nodes find each other
            for number in range(count):
                await stack.enter_async_context(person(two.port, f"far{number}", "#books"))
            yield
            two.kill()
