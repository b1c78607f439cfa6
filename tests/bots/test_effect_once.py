"""B1: what a bot remembers and what it says happen exactly once, wherever its process dies."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from bots import Bot, Context, Key
from bots.testing import BotWorld, TestRoom
from tests.sweeps import fewer, stride

COUNT = Key("count", int, 0)
RUNS: list[str] = []


def counting_bot() -> Bot:
    """Counts, remembers, answers twice and shows its progress: every kind of effect."""
    bot = Bot("counter")

    @bot.command()
    async def count(ctx: Context) -> None:
        """Count one up."""
        RUNS.append(ctx.idempotency_key)
        async with ctx.working("counting") as progress:
            ctx.memory.room[COUNT] += 1
            await progress.update("nearly there")
            await ctx.reply(f"count {ctx.memory.room[COUNT]}")
            await progress.done("counted")
        await ctx.react("✅")

    return bot


def answers(room: TestRoom, bot: Bot) -> list[str]:
    """What it said, sorted: one line a message, as it reads now."""
    return sorted(room.texts_from(bot))


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_dying_at_every_await_neither_loses_nor_doubles(
    world: BotWorld, autojump_clock: MockClock
) -> None:
    """The bot dies at awaits all the way from its start to a command's end; none of it shows."""
    bot = counting_bot()
    alice = await world.member("alice")
    room = await world.room(alice, bot)
    await room.quiet()
    RUNS.clear()
    number = points = interrupted = 0
    while True:
        points += 1
        number += 1
        await world.stop(bot)
        before = len(RUNS)
        said = await alice.say("!count")
        await world.start(bot, die_after=points * STRIDE)
        died = await world.died(bot, within=30)
        if died:
            await world.crash_and_restart(bot)
        await _counted(room, bot, number)
        interrupted += len(set(RUNS[before:])) == 1 and len(RUNS) - before > 1
        mine = room.room.message(said)
        assert mine is not None
        assert [emoji for emoji, _ in mine.reactions] == ["✅"]
        if not died:
            break
    wanted = sorted([*(f"count {n + 1}" for n in range(number)), *["counted"] * number])
    assert answers(room, bot) == wanted
    assert len(set(RUNS)) == number, "a rerun has the first run's idempotency key"
    assert interrupted >= fewer(3), "some deaths were in the middle of a handler"


STRIDE = stride(5)
"""Awaits from one crash point to the next."""


async def _counted(room: TestRoom, bot: Bot, number: int) -> None:
    """Wait for an answer, while its bot looks for the relay again and again."""
    since = max(0, room.room.head - 20)
    with trio.fail_after(300):
        while f"count {number}" not in {m.text for m in room.room.messages(since=since)}:
            await trio.sleep(1)
            room.world.client_of(bot).retry_now()
    await room.quiet()


async def test_a_reply_is_said_once_though_the_link_breaks_at_any_byte(
    world: BotWorld, autojump_clock: MockClock
) -> None:
    """Cut at 25 places of its link, the bot still says each answer once."""
    bot = counting_bot()
    alice = await world.member("alice")
    room = await world.room(alice, bot)
    for cut in range(25):
        world.inner.lines[bot.name].cut_after(97 * cut + 13)
        await alice.say("!count")
        await _counted(room, bot, cut + 1)
    assert [t for t in room.texts_from(bot) if t.startswith("count ")] == [
        f"count {n + 1}" for n in range(25)
    ]
    assert world.inner.lines[bot.name].cuts >= 20


async def test_two_rooms_that_change_one_record_lose_no_change(
    world: BotWorld, autojump_clock: MockClock
) -> None:
    """Handlers of two rooms read and write one record at once: one of them runs again."""
    bot = Bot("shared")
    runs: list[int] = []

    @bot.command()
    async def up(ctx: Context) -> None:
        """Count, slowly."""
        value = ctx.memory.bot[COUNT]
        runs.append(value)
        await trio.sleep(1)
        ctx.memory.bot[COUNT] = value + 1
        await ctx.reply(f"now {value + 1}")

    alice, bo = await world.member("alice"), await world.member("bo")
    one, two = await world.room(alice, bot), await world.room(bo, bot)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(alice.say, "!up")
        nursery.start_soon(bo.say, "!up")
    texts = {(await one.next_from(bot)).text, (await two.next_from(bot)).text}
    assert texts == {"now 1", "now 2"}
    assert len(runs) == 3


async def test_what_a_handler_did_before_it_raised_is_undone(
    world: BotWorld, autojump_clock: MockClock
) -> None:
    """A handler that fails twice and then succeeds has counted once and answered once."""
    bot = Bot("wobbly")
    tries: list[int] = []

    @bot.command()
    async def count(ctx: Context) -> None:
        """Count one up."""
        ctx.memory.room[COUNT] += 1
        await ctx.reply(f"count {ctx.memory.room[COUNT]}")
        tries.append(1)
        if len(tries) < 3:
            raise ValueError("not yet")

    alice = await world.member("alice")
    room = await world.room(alice, bot)
    await alice.say("!count")
    assert (await room.next_from(bot)).text == "count 1"
    await room.quiet()
    assert room.count_from(bot) == 1
    assert len(tries) == 3
