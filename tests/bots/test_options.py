"""[bot.options] as a typed value: read strictly, a slip named, injected by type."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import field, frozen
from attrs.validators import ge
from trio.testing import MockClock

from bots import Bot, Context, SetupError
from bots.options import Duration, read_options
from bots.testing import BotWorld


@frozen
class Options:
    """Of a bot for tests."""

    most: int = field(default=3, validator=ge(1))
    wait: Duration = field(default=Duration("10m"))
    names: list[str] = field(factory=list)
    lengths: dict[str, Duration] = field(factory=dict)
    loud: bool = False


def test_what_is_left_out_is_as_the_class_says() -> None:
    """And what is given is read: lengths of time as people write them."""
    assert read_options({}, Options) == Options()
    read = read_options({"wait": "2 days", "lengths": {"a": "1h30"}, "names": ["b"]}, Options)
    assert (read.wait.ms, str(read.lengths["a"]), read.names) == (172_800_000, "1h 30m", ["b"])


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"moist": 1}, r"extra fields found \(moist\)"),
        ({"most": "3"}, "is no whole number @ bot.options.most"),
        ({"most": True}, "is no whole number @ bot.options.most"),
        ({"most": 0}, "most"),
        ({"wait": 600}, "is no text @ bot.options.wait"),
        ({"wait": "soon"}, "written as 10m.* @ bot.options.wait"),
        ({"lengths": {"a": "?"}}, r"written as 10m.* @ bot.options.lengths\['a'\]"),
        ({"names": [1]}, r"is no text @ bot.options.names"),
    ],
)
def test_a_slip_is_named(options: dict[str, Any], told: str) -> None:
    """Where it is and what is wrong with it."""
    with pytest.raises(SetupError, match=told):
        read_options(options, Options)


async def test_handlers_get_them_by_type(world: BotWorld, autojump_clock: MockClock) -> None:
    """As a resource, made when the bot starts."""
    bot = Bot("opted", options={"most": 7})

    @bot.resource
    def options(bot: Bot) -> Options:
        return read_options(bot.options, Options)

    @bot.command()
    async def most(ctx: Context, options: Options) -> None:
        """Say how many."""
        await ctx.reply(str(options.most))

    alice = await world.member("alice")
    room = await world.room(alice, bot)
    await alice.say("!most")
    assert (await room.next_from(bot)).text == "7"
