"""The test kit's own network: partitions, what overtakes, what is sent twice."""

from __future__ import annotations

import random
import time

import pytest
import trio
from trio.testing import MockClock

from bots import Bot, Context, Key, Message
from bots.testing import BotWorld, TestRoom

COUNT = Key("count", int, 0)


def counting_bot() -> Bot:
    """Counts what is said."""
    bot = Bot("counter")

    @bot.on(Message)
    async def count(ctx: Context, message: Message) -> None:
        ctx.memory.room[COUNT] += 1
        await ctx.reply(f"{ctx.memory.room[COUNT]}: {message.text}")

    return bot


async def test_a_partition_holds_everything_back_and_loses_nothing(
    world: BotWorld, autojump_clock: MockClock
) -> None:
    """An hour of it, on the bot's side and on a person's; no real time passes."""
    began = time.monotonic()
    bot = counting_bot()
    alice, bo = await world.member("alice"), await world.member("bo")
    room = await world.room(alice, bo, bot)
    with world.cut_off(bot, bo):
        bo.post("from afar")
        await alice.say("here")
        await world.pass_time(3_600)
        assert room.texts_from(bot) == []
        assert room.texts_from(bo) == []
    await room.quiet(30)
    assert room.texts_from(bot) == ["1: here", "2: from afar"]
    assert time.monotonic() - began < 300, "the clock jumps"


async def test_a_bot_that_is_cut_off_while_it_answers(
    world: BotWorld, autojump_clock: MockClock
) -> None:
    """What it said on the way waits with it, and is there once when the way is open again."""
    bot = counting_bot()
    alice = await world.member("alice")
    room = await world.room(alice, bot)
    for number in range(5):
        await alice.say(f"n{number}")
        with world.cut_off(bot):
            await world.pass_time(90)
    await room.quiet(30)
    assert room.texts_from(bot) == [f"{n + 1}: n{n}" for n in range(5)]


async def test_what_is_delayed_is_overtaken(world: BotWorld, autojump_clock: MockClock) -> None:
    """Said first, in the log last: the bot answers in the order of the log."""
    bot = counting_bot()
    alice, bo = await world.member("alice"), await world.member("bo")
    room = await world.room(alice, bo, bot)
    with world.delayed(alice, 20):
        alice.post("first")
        await world.pass_time(1)
        await bo.say("second")
        await room.quiet(60)
    assert room.texts_from(bot) == ["1: second", "2: first"]
    said = [one for one in room.room.messages(since=0) if one.name in ("alice", "bo")]
    assert said[0].ts > said[1].ts, "as its own clock says"


@pytest.mark.parametrize("seed", range(3))
async def test_bad_weather_of_all_kinds_at_once(
    seed: int, world: BotWorld, autojump_clock: MockClock
) -> None:
    """Random delays, links that break in the midst of something: each message answered once."""
    chance = random.Random(seed)
    bot = counting_bot()
    people = [await world.member(name) for name in ("alice", "bo", "cy")]
    room = await world.room(*people, bot)

    async def talk(number: int) -> None:
        with world.delayed(people[number], lambda: chance.uniform(0, 3)):
            for line in range(4):
                people[number].post(f"{number}.{line}")
                world.cut_after(people[number], chance.randrange(1, 2_000))
                world.cut_after(bot, chance.randrange(1, 2_000))
                await trio.sleep(chance.uniform(0, 60))
            await trio.sleep(300)

    async with trio.open_nursery() as nursery:
        for number in range(3):
            nursery.start_soon(talk, number)
    await room.quiet(1_300)  # longer than any back-off
    _assert_each_once(room, bot)
    assert world.inner.lines[bot.name].cuts > 0


def _assert_each_once(room: TestRoom, bot: Bot) -> None:
    texts = room.texts_from(bot)
    assert [int(text.split(":")[0]) for text in texts] == list(range(1, 13))
    answered = [text.split(": ")[1] for text in texts]
    assert sorted(answered) == sorted(f"{n}.{line}" for n in range(3) for line in range(4))
    for number in range(3):
        own = [text for text in answered if text.startswith(f"{number}.")]
        assert own == [f"{number}.{line}" for line in range(4)], "one member's words keep order"
