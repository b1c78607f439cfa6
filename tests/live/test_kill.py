"""kill -9: of the relay under load, of a client in the midst of sending."""

from __future__ import annotations

import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import trio

from ofcd.client import MessageReceived, Offline, Room
from tests.live.support import ROOT, Relay, client, keep_trying, seed, settle, texts, until
from tests.sweeps import fewer

pytestmark = [pytest.mark.live, pytest.mark.slow]

KILLS = fewer(50)


@pytest.mark.timeout(180)
async def test_a_relay_killed_50_times_loses_and_doubles_nothing(
    relay: Relay, tmp_path: Path
) -> None:
    """Under load, at random points: no acknowledged event lost, none twice, no room stuck."""
    chance = random.Random(seed())
    acknowledged: list[str] = []
    heard: Counter[str] = Counter()
    async with (
        client(tmp_path / "ana.vault") as ana,
        client(tmp_path / "bo.vault") as bo,
        trio.open_nursery() as nursery,
    ):
        tea = await ana.create_room(relay.url, "tea", my_name="Ana")
        at_bo = await bo.join(await tea.invite(), name="Bo")
        nursery.start_soon(keep_trying, ana, bo)
        nursery.start_soon(hear, at_bo, heard)
        async with trio.open_nursery() as talkers:
            talkers.start_soon(talk, tea, "ana", acknowledged)
            talkers.start_soon(talk, at_bo, "bo", acknowledged)
            talkers.start_soon(rotate, tea, chance)
            for _ in range(KILLS):
                before = len(acknowledged)
                await until(lambda before=before: len(acknowledged) > before)  # type: ignore[misc]
                await trio.sleep(chance.random() * 0.25)
                relay.kill()
                await trio.to_thread.run_sync(relay.start)
            talkers.cancel_scope.cancel()
        last = await at_bo.send("not stuck")
        await settle(tea, at_bo)
        # What was on its way when the talkers stopped may come after that.
        await until(lambda: set(texts(at_bo)) <= set(heard))
        assert last.seq <= tea.head
        for room in (tea, at_bo):
            said = Counter(texts(room))
            assert max(said.values()) == 1, "nothing twice"
            assert set(acknowledged) <= set(said), "nothing lost that was acknowledged"
        assert texts(tea) == texts(at_bo)
        assert max(heard.values()) == 1, "nothing told twice"
        assert set(texts(at_bo)) == set(heard), "nothing told that is not there"
        assert relay.starts == KILLS + 1
        assert len(acknowledged) > KILLS
        nursery.cancel_scope.cancel()


async def talk(room: Room, name: str, acknowledged: list[str]) -> None:
    """Say one thing after the other; note what was acknowledged."""
    number = 0
    while True:
        text = f"{name} {number}"
        try:
            await room.send(text)
        except Offline:
            continue
        acknowledged.append(text)
        number += 1


async def rotate(room: Room, chance: random.Random) -> None:
    """Renew the key now and then."""
    while True:
        await trio.sleep(chance.random() * 2)
        try:
            await room.rotate()
        except Offline:
            continue


async def hear(room: Room, heard: Counter[str]) -> None:
    """Take every message from a cursor that is kept."""
    async for event in room.events_since(room.cursor()):
        with room._client.transaction() as tx:
            room.set_cursor(tx, event.seq)
        if isinstance(event, MessageReceived):
            heard[event.message.text] += 1


MESSAGES = 150
CLIENT_KILLS = 6


@pytest.mark.timeout(120)
async def test_a_client_killed_again_and_again_says_everything_once(
    relay: Relay, tmp_path: Path
) -> None:
    """Its outbox survives kill -9 at random points; each message is in the room once, in order."""
    chance = random.Random(seed())
    vault = tmp_path / "bo.vault"
    async with client(tmp_path / "ana.vault") as ana:
        tea = await ana.create_room(relay.url, "tea", my_name="Ana")
        async with client(vault) as bo:
            await bo.join(await tea.invite(), name="Bo")
        for _ in range(CLIENT_KILLS):
            enough = len(texts(tea)) + chance.randint(1, 12)
            process = talker(vault)
            try:
                await until(lambda enough=enough: len(texts(tea)) >= enough)  # type: ignore[misc]
                await trio.sleep(chance.random() * 0.02)
                assert process.poll() is None, "killed in the midst of talking"
            finally:
                process.kill()
                process.wait()
        assert await trio.to_thread.run_sync(talker(vault).wait, 60) == 0
        await until(lambda: len(texts(tea)) >= MESSAGES)
        assert texts(tea) == [f"message {number}" for number in range(MESSAGES)]


def talker(vault: Path) -> subprocess.Popen[bytes]:
    """A process that says `MESSAGES` things, however often it is started."""
    command = [sys.executable, "-m", "tests.live.scripts.talker", str(vault), str(MESSAGES)]
    return subprocess.Popen(command, cwd=ROOT)
