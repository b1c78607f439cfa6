"""The bots of the shelf, through the kit that every author has."""

from __future__ import annotations

from collections import deque

from trio.testing import MockClock

from bots.shelf import dice, echo
from bots.testing import BotWorld


class Loaded:
    """Dice that fall as they are told."""

    def __init__(self, *falls: int) -> None:
        self._falls = deque(falls)

    def throw(self, sides: int) -> int:
        """The next fall."""
        return self._falls.popleft()


async def test_echo_says_it_again(world: BotWorld, autojump_clock: MockClock) -> None:
    """The rest of the line comes back as it was written, as an answer to its message."""
    alice = await world.member("alice")
    room = await world.room(alice, echo.bot)
    said = await alice.say('!echo hello,  "world" --to *all*')
    answer = await room.next_from(echo.bot)
    assert answer.text == 'hello,  "world" --to *all*'
    assert answer.reply_to == said


async def test_dice_fall_and_are_counted(world: BotWorld, autojump_clock: MockClock) -> None:
    """A roll tells each die and the sum; `!rolls` counts a member's dice."""
    dice.bot.override(dice.Luck, Loaded(3, 4, 6))
    alice = await world.member("alice")
    room = await world.room(alice, dice.bot)
    await alice.say("!roll 2d6+1")
    assert (await room.next_from(dice.bot)).text == "2d6+1: **8** (3, 4)"
    await alice.say("!r")
    assert (await room.next_from(dice.bot)).text == "1d6: **6**"
    await alice.say("!rolls")
    assert (await room.next_from(dice.bot)).text == "alice has thrown 3 dice here."


async def test_dice_answers_nonsense_kindly(world: BotWorld, autojump_clock: MockClock) -> None:
    """A wrong argument gets one line with what was wrong and the usage."""
    alice = await world.member("alice")
    room = await world.room(alice, dice.bot)
    await alice.say("!roll lots")
    answer = (await room.next_from(dice.bot)).text
    assert "2d6" in answer
    assert "Usage: !roll" in answer
    assert "\n" not in answer


async def test_dice_cool_down(world: BotWorld, autojump_clock: MockClock) -> None:
    """The eleventh roll in a minute is refused in words, the twelfth without; later all is well."""
    dice.bot.override(dice.Luck, Loaded(*[1] * 20))
    alice = await world.member("alice")
    room = await world.room(alice, dice.bot)
    for _ in range(12):
        await alice.say("!roll")
    await room.quiet()
    texts = room.texts_from(dice.bot)
    assert len([text for text in texts if text.startswith("1d6")]) == 10
    assert len([text for text in texts if text.startswith("That was quick")]) == 1
    await world.pass_time(60)
    await alice.say("!roll")
    await room.quiet()
    assert room.texts_from(dice.bot)[-1] == "1d6: **1**"
