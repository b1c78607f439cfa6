"""A relay's key is replaced under a bot that runs, and under one that does not."""

from __future__ import annotations

from trio.testing import MockClock

from bots import Bot, Context
from bots.testing import BotWorld
from tests.federation.test_succession import replace


def repeater() -> Bot:
    bot = Bot("repeater")

    @bot.command()
    async def say(ctx: Context, word: str) -> None:
        """Say a word."""
        await ctx.reply(word)

    return bot


async def test_a_bot_goes_on_when_its_relay_has_a_new_key(
    world: BotWorld, autojump_clock: MockClock
) -> None:
    """Nobody has to tell it, and each command has one answer."""
    bot = repeater()
    alice = await world.member("alice")
    room = await world.room(alice, bot)
    await alice.say("!say one")
    assert (await room.next_from(bot)).text == "one"
    await replace(world.inner)
    await alice.say("!say two")
    assert (await room.next_from(bot)).text == "two"
    await world.stop(bot)
    await replace(world.inner)
    await alice.say("!say three")
    await world.start(bot)
    assert (await room.next_from(bot)).text == "three"
    await room.quiet()
    assert room.texts_from(bot) == ["one", "two", "three"]
