"""B1 on real processes: a bot that counts is killed with `kill -9` a hundred times at random."""

from __future__ import annotations

import random
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest
import trio

from ofcd.client import MessageReceived, Room, Vault, open_client
from ofcd.protocol.records import Cap
from tests.cli.support import ROOT, relay
from tests.prefork import Program
from tests.sweeps import fewer

KILLS = fewer(100)
BOT = """
import os
import trio
from bots import Bot, Context, Key, Tables
from sqlalchemy import Column, Integer, MetaData, Table, func, insert, select

bot = Bot("counter")
COUNT = Key("count", int, 0)
metadata = MetaData()
counted = Table("counted", metadata, Column("number", Integer, primary_key=True))
bot.tables(metadata)


@bot.command()
async def count(ctx: Context, tables: Tables) -> None:
    "Count one up."
    with open(bot.options["runs"], "ab", buffering=0) as runs:
        runs.write(ctx.idempotency_key.encode() + b"\\n")
    ctx.memory.room[COUNT] += 1
    await trio.sleep(0.01)
    tables.execute(insert(counted).values(number=ctx.memory.room[COUNT]))
    rows = tables.execute(select(func.count()).select_from(counted)).scalar_one()
    await ctx.reply(f"count {rows}")
    await trio.sleep(0.01)
"""


class Lives:
    """A bot's process, again and again."""

    def __init__(self, command: list[str], log: IO[bytes]) -> None:
        self._command = command
        self._log = log
        self._process: Program[bytes] | None = None

    def start(self) -> None:
        """Begin a life."""
        self._process = Program[bytes](self._command, stderr=self._log, cwd=ROOT)

    def kill(self) -> None:
        """End it."""
        assert self._process is not None
        self._process.kill()
        assert self._process.wait(20) == -signal.SIGKILL, "it ended by itself"
        self._process = None

    def end(self) -> None:
        """After the last one, if it is still lived."""
        if self._process is not None:
            self.kill()


@contextmanager
def lives(folder: Path) -> Iterator[Lives]:
    """A bot's program and settings in `folder`, ready to live."""
    command = [sys.executable, "-m", "bots.cli", "run", str(folder / "counter.py")]
    command += ["--config", str(folder / "bot.toml")]
    with (folder / "log").open("wb") as log:
        bot = Lives(command, log)
        try:
            yield bot
        finally:
            bot.end()


def _write(folder: Path, link: str) -> None:
    (folder / "counter.py").write_text(BOT)
    (folder / "bot.toml").write_text(
        f'[[bot]]\njoin = ["{link}"]\n[bot.options]\nruns = "{folder / "runs"}"\n'
    )


@pytest.mark.live
@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a_hundred_kills_neither_lose_nor_double_an_answer(tmp_path: Path) -> None:
    """Every command is answered once, in order, with the count that it ought to have."""
    config = tmp_path / "config.toml"
    config.write_text('[relay]\nport = 0\ndata_dir = "var"\n[limits]\n' + LIMITS)
    with relay("--config", config) as running:
        trio.run(_kill_and_count, running.url, tmp_path)


LIMITS = """
handshakes_per_minute_per_ip = 100000
events_per_second_per_member = 1000
events_burst_per_member = 10000
events_per_second_per_room = 10000
"""


async def _kill_and_count(url: str, folder: Path) -> None:
    with Vault.create(folder / "alice.vault", bytes(32)) as vault:
        async with open_client(vault) as client:
            room = await client.create_room(url, "counting", my_name="alice")
            code = await room.invite(caps=(Cap.BOT,))
            _write(folder, code.link())
            with lives(folder) as bot:
                asked = await _live_and_die(room, bot, folder / "runs")
                bot.start()
                await _answered(room, asked)
                bot.kill()
            answers = [m.text for m in room.messages(since=0, limit=100_000) if not m.mine]
            assert answers == [f"count {n + 1}" for n in range(asked)]
    runs = (folder / "runs").read_bytes().split()
    assert len(set(runs)) == asked, "a rerun has the key of the first run"
    assert len(runs) > asked, "some handlers were killed in the middle"


async def _live_and_die(room: Room, bot: Lives, runs: Path) -> int:
    """A hundred lives; while the bot lives or is dead, someone asks. How often that was."""
    chance = random.Random(103)
    asked = 0
    bot.start()
    while len(room.members()) < 2:  # noqa: ASYNC110 - admitted by its own first life
        await trio.sleep(0.05)
    for life in range(KILLS):
        begun = _size(runs)
        for _ in range(chance.randrange(1, 4)):
            with room._client.transaction() as tx:
                room.queue(tx, "!count")
            asked += 1
        if life % 2:  # anywhere, from the start of its process on
            await trio.sleep(chance.uniform(0.03, 0.4))
        else:  # in a handler, or just behind it
            with trio.fail_after(60):
                while _size(runs) == begun:  # noqa: ASYNC110 - another process writes
                    await trio.sleep(0.002)
            await trio.sleep(chance.uniform(0, 0.02))
        bot.kill()
        bot.start()
    bot.kill()
    return asked


def _size(runs: Path) -> int:
    return runs.stat().st_size if runs.exists() else 0


async def _answered(room: Room, count: int) -> None:
    with trio.fail_after(60):
        async for event in room.events_since():
            if isinstance(event, MessageReceived) and event.message.text == f"count {count}":
                break
        await trio.sleep(0.5)  # one too many would come now
