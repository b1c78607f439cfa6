"""`!roll 2d6+1`: dice whose sum is told; `!rolls` says how many each member has thrown."""

from __future__ import annotations

import re
import secrets
from typing import Final, Protocol

from attrs import frozen

from bots import BadValue, Bot, Context, Given, Key, Memory, per_member
from bots.shelf.words import quoted

__all__ = ["Dice", "Luck", "bot"]

MOST: Final = 100
SIDES: Final = 1000
THROWN: Final = Key("thrown", int, 0)
_DICE: Final = re.compile(r"(\d{1,3})?[dw](\d{1,4})([+-]\d{1,4})?", re.IGNORECASE)

bot = Bot("dice")


@frozen
class Dice:
    """So many dice of so many sides, and what is added."""

    count: int
    sides: int
    plus: int = 0

    def __str__(self) -> str:
        return f"{self.count}d{self.sides}" + (f"{self.plus:+d}" if self.plus else "")


class Luck(Protocol):
    """What throws a die."""

    def throw(self, sides: int) -> int:
        """From 1 to `sides`."""
        ...


class Chance:
    """The system's own randomness."""

    def throw(self, sides: int) -> int:
        """From 1 to `sides`, all equally likely."""
        return secrets.randbelow(sides) + 1


@bot.resource
def luck() -> Luck:
    """What this bot throws with; tests override it."""
    return Chance()


@bot.converter(Dice, "dice, such as 2d6+1")
def read_dice(word: str, given: Given) -> Dice:
    """Read "2d6+1"; raises `BadValue`."""
    found = _DICE.fullmatch(word)
    if found is None:
        raise BadValue("is no dice: write 2d6, or d20+1")
    count, sides = int(found[1] or 1), int(found[2])
    if not (1 <= count <= MOST and 2 <= sides <= SIDES):
        raise BadValue(f"is too much: up to {MOST} dice of 2 to {SIDES} sides")
    return Dice(count, sides, int(found[3] or 0))


@bot.command(aliases=("r",), cooldown=per_member(10, "1m"))
async def roll(ctx: Context, luck: Luck, memory: Memory, dice: Dice = Dice(1, 6)) -> None:
    """Roll dice.

    Write 2d6 for two dice of six sides, d20+1 to add one to what falls.
    """
    thrown = [luck.throw(dice.sides) for _ in range(dice.count)]
    memory.member[THROWN] += dice.count
    total = sum(thrown) + dice.plus
    shown = f" ({', '.join(map(str, thrown))})" if len(thrown) > 1 or dice.plus else ""
    await ctx.reply(f"{dice}: **{total}**{shown}")


@bot.command()
async def rolls(ctx: Context, memory: Memory) -> None:
    """Say how many dice you have thrown here."""
    await ctx.reply(f"{quoted(ctx.sender.name)} has thrown {memory.member[THROWN]} dice here.")
