"""Events that end the whole process, life after life: given up, and only those."""

from __future__ import annotations

from functools import partial

import pytest
import trio
from trio.testing import MockClock

from bots import Bot, Context, Tick
from bots.engine import open_engine
from bots.testing import BotWorld

RUNS: list[str] = []


@pytest.fixture(autouse=True)
def _careful(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every life follows a bad end."""
    monkeypatch.setattr("bots.testing.world.open_engine", partial(open_engine, careful=True))
    RUNS.clear()


def deadly_bot() -> Bot:
    """Has time to die in every handler."""
    bot = Bot("deadly")

    @bot.command()
    async def slow(ctx: Context) -> None:
        """Take ten seconds."""
        RUNS.append("slow")
        await trio.sleep(10)
        await ctx.reply("done")

    @bot.command()
    async def well(ctx: Context) -> None:
        """Answer."""
        await ctx.reply("well")

    @bot.timer()
    async def ring(ctx: Context, tick: Tick) -> None:
        RUNS.append("ring")
        await trio.sleep(10)

    @bot.command()
    async def later(ctx: Context) -> None:
        """Ring in five seconds."""
        ctx.once(ring, ctx.now + 5_000)
        await ctx.reply("yes")

    return bot


async def test_an_event_of_three_bad_ends_is_given_up_and_the_next_is_handled(
    world: BotWorld, autojump_clock: MockClock
) -> None:
    """Twice more it is tried; then the room is told, a dead letter kept, and nothing left over."""
    bot = deadly_bot()
    alice = await world.member("alice")
    room = await world.room(alice, bot)
    await alice.say("!slow")
    await alice.say("!well")
    for _ in range(2):
        await world.pass_time(3)
        await world.crash_and_restart(bot)
    assert "went wrong" in (await room.next_from(bot)).text
    assert (await room.next_from(bot)).text == "well"
    assert RUNS == ["slow", "slow"]
    assert [letter["error"] for letter in world.dead_letters(bot)] == ["ProcessDied"]
    assert list(world.client_of(bot).vault.items("app/bot/dead/begun")) == []


async def test_one_bad_end_is_nobodys_fault(world: BotWorld, autojump_clock: MockClock) -> None:
    """What is handled in the next life is handled, and leaves no mark."""
    bot = deadly_bot()
    alice = await world.member("alice")
    room = await world.room(alice, bot)
    await alice.say("!slow")
    await world.pass_time(3)
    await world.crash_and_restart(bot)
    assert (await room.next_from(bot)).text == "done"
    await room.quiet()
    assert list(world.client_of(bot).vault.items("app/bot/dead/begun")) == []


async def test_a_timer_is_given_up_too(world: BotWorld, autojump_clock: MockClock) -> None:
    """It is set off no fourth time."""
    bot = deadly_bot()
    alice = await world.member("alice")
    room = await world.room(alice, bot)
    await alice.say("!later")
    assert (await room.next_from(bot)).text == "yes"
    for _ in range(3):
        await world.pass_time(8)
        await world.crash_and_restart(bot)
    await world.pass_time(60)
    assert RUNS == ["ring", "ring"]
    assert [letter["handler"] for letter in world.dead_letters(bot)] == ["ring"]
