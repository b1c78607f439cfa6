"""A bot on the SDK against one on the bare client core, side by side: `python -m benchmarks.bots`.

Both answer `!echo …` with the words, over a real relay, each in a process of its own on the
processor that the asker has too. The rival reads the log and queues its answer in the transaction
that moves its cursor: effectively once as well, and nothing else: no commands, limits, middleware,
timers, metrics. What is compared: answers a second when all questions are asked at once, and the
time from a question to its answer when one is asked at a time; beside it what the relay and two
clients take for one message.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from benchmarks.relay import percentile
from benchmarks.servers import LOAD_CPU, relay
from ofcd.client import MessageReceived, Room, Vault, open_client
from ofcd.protocol.records import Cap

SDK_BOT = [sys.executable, "-m", "bots.cli", "run", "bots.shelf.echo"]
BARE_BOT = [sys.executable, "-m", "benchmarks.bots", "--answer"]
QUESTION = "!echo "
PAUSE_SECONDS = 0.1
PATIENCE_SECONDS = 120


async def answer(vault_path: Path, link: str) -> None:
    """The rival: a bot without an SDK, until it is killed."""
    with Vault.create(vault_path, bytes(32)) as vault:
        async with open_client(vault) as client:
            room = await client.join(link, name="echo")
            async for event in room.events_since(room.cursor("bot")):
                with client.transaction() as tx:
                    if isinstance(event, MessageReceived) and not event.message.mine:
                        words = event.message.text.removeprefix(QUESTION)
                        room.queue(tx, words)
                    room.set_cursor(tx, event.seq, "bot")


@asynccontextmanager
async def answered_room(url: str, command: list[str], folder: Path) -> AsyncIterator[Room]:
    """A room with its owner here, and a bot in a process that answers."""
    with Vault.create(folder / "asker.vault", bytes(32)) as vault:
        async with open_client(vault) as client:
            room = await client.create_room(url, "questions", my_name="asker")
            link = (await room.invite(caps=(Cap.BOT,))).link()
            arguments = _prepared(command, folder, link)
            with subprocess.Popen(arguments, cwd=folder) as bot:  # noqa: ASYNC220 - just a start
                try:
                    await _until(lambda: len(room.members()) == 2)
                    yield room
                finally:
                    bot.kill()


def _prepared(command: list[str], folder: Path, link: str) -> list[str]:
    if command is BARE_BOT:
        return [*command, str(folder / "bot.vault"), link]
    config = folder / "bot.toml"
    # What it could do, not what it is held to.
    settings = f'[[bot]]\njoin = ["{link}"]\noutbound = "100000/1s"\n[log]\nlevel = "error"\n'
    config.write_text(settings)
    return [*command, "--config", str(config)]


async def _until(true: Callable[[], bool]) -> None:
    with trio.fail_after(PATIENCE_SECONDS):
        while not true():  # noqa: ASYNC110 - it watches another process
            await trio.sleep(0.01)


async def throughput(room: Room, questions: int) -> float:
    """Answers a second, all questions asked at once."""
    started, seen = time.perf_counter(), room.head
    with room._client.transaction() as tx:
        for number in range(questions):
            room.queue(tx, f"{QUESTION}{number}")
    await _answers(room, seen, questions)
    return questions / (time.perf_counter() - started)


async def _answers(room: Room, seen: int, count: int) -> None:
    with trio.fail_after(PATIENCE_SECONDS):
        async for event in room.events_since(seen):
            if isinstance(event, MessageReceived) and not event.message.mine:
                count -= 1
                if not count:
                    return


async def latency(room: Room, questions: int) -> tuple[list[float], list[float]]:
    """Milliseconds until the relay has the question, and until the answer is here, of each."""
    taken: list[float] = []
    answered: list[float] = []
    for number in range(questions):
        await trio.sleep(PAUSE_SECONDS)
        started, seen = time.perf_counter(), room.head
        await room.send(f"{QUESTION}{number}")
        taken.append((time.perf_counter() - started) * 1e3)
        await _answers(room, seen, 1)
        answered.append((time.perf_counter() - started) * 1e3)
    return taken, answered


async def measure(
    url: str, command: list[str], questions: int
) -> tuple[float, list[float], list[float]]:
    """One bot: answers a second, and the latencies."""
    with tempfile.TemporaryDirectory() as folder:
        async with answered_room(url, command, Path(folder)) as room:
            await latency(room, 3)
            taken, answered = await latency(room, questions // 4)
            return await throughput(room, questions), taken, answered


def main() -> None:
    """Run what is asked for, and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--questions", type=int, default=200)
    parser.add_argument("--answer", nargs=2, metavar=("VAULT", "LINK"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    os.sched_setaffinity(0, {LOAD_CPU})
    if options.answer:
        trio.run(answer, Path(options.answer[0]), options.answer[1])
    else:
        _compare(options.rounds, options.questions)


def _compare(rounds: int, questions: int) -> None:
    rates: dict[str, list[float]] = {"sdk": [], "bare": []}
    answered: dict[str, list[float]] = {"sdk": [], "bare": []}
    taken: list[float] = []
    for _ in range(rounds):
        for side, command in (("bare", BARE_BOT), ("sdk", SDK_BOT)):
            with relay() as server:
                rate, sent, told = trio.run(measure, server.url, command, questions)
            rates[side].append(rate)
            answered[side] += told
            taken += sent
    print(f"an echo bot, {questions} questions at once, then one at a time:")
    sdk, bare = statistics.median(rates["sdk"]), statistics.median(rates["bare"])
    print(f"  answers a second      bot {sdk:8.1f}  bare core {bare:8.1f}  {sdk / bare:.2f}x")
    for name, part in (("p50", 0.5), ("p99", 0.99)):
        sdk, bare = (percentile(answered[side], part) for side in ("sdk", "bare"))
        print(
            f"  answer {name} ms         bot {sdk:8.1f}  bare core {bare:8.1f}  {sdk / bare:.2f}x"
        )
    own = percentile(taken, 0.5)
    over = percentile(answered["sdk"], 0.5) - own
    print(f"  one message, send to acknowledgement, p50: {own:.1f} ms: the relay's own")
    print(f"  an answer beyond that, p50: {over:.1f} ms")


if __name__ == "__main__":
    main()
