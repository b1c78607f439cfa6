"""Karma: `tea++`, `meetings-- for being long`, `@bo ++`; `!karma top` says who has most.

Things and members gather points, room by room. Nobody raises themselves, and everybody has so many
points a day to give.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Final

from attrs import evolve, field, frozen
from attrs.validators import ge

from bots import Bot, Context, Key, Message, Range, Reaction, Rest
from bots.options import read_options
from bots.schedule import to_wall
from bots.shelf.words import folded, one_line, quoted
from ofcd.client import MemberInfo, lite
from ofcd.protocol.ids import MemberId

__all__ = ["KarmaSettings", "Spoken", "bot", "spoken"]

NAME: Final = 64
"""Characters in the name of a thing."""
_KEPT: Final = 5
"""Reasons that are remembered for each."""
_COUNTED: Final = 100
"""Reactions of one member that can still be withdrawn."""

bot = Bot("karma")


@frozen
class KarmaSettings:
    """[bot.options]."""

    daily: int = field(default=20, validator=ge(1))
    """Points that a member can give, or take, in one day of the room's time zone."""
    each: int = field(default=5, validator=ge(1))
    """Points that one message can give."""
    things: int = field(default=2_000, validator=ge(1))
    """Names that a room remembers; points for more of them are not kept."""
    ignore: list[str] = field(factory=lambda: ["c", "g", "notepad"])
    """What is written with ++ and means something else."""
    acknowledge: str = "👍"
    """The reaction that says a point was counted; "" for none."""
    reactions: dict[str, int] = field(factory=dict)
    """Reactions that count for the sender of the message they are on: {"🎉" = 1}."""


@bot.resource
def settings(bot: Bot) -> KarmaSettings:
    """The bot's options."""
    return read_options(bot.options, KarmaSettings)


# -- what is remembered ----------------------------------------------------------------------------


@frozen
class Reason:
    """Why somebody gave or took a point."""

    text: str
    points: int
    by: str


@frozen
class Karma:
    """One name's."""

    name: str
    points: int = 0
    reasons: list[Reason] = field(factory=list)

    @property
    def shown(self) -> str:
        """The name and its points, ready for a message."""
        return f"{quoted(self.name, NAME)} {self.points:+d}"


@frozen
class Spent:
    """What a member gave on a day."""

    day: str = ""
    points: int = 0


KARMA: Final = Key("karma", Karma, Karma(""))
SPENT: Final = Key("spent", Spent, Spent())
COUNTED: Final[Key[list[str]]] = Key("counted", list[str], [])
"""Reactions of a member that were counted, latest last."""


# -- reading ---------------------------------------------------------------------------------------


@frozen
class Spoken:
    """A point that a text gives or takes."""

    name: str
    points: int
    reason: str = ""


_SIGNS: Final = re.compile(r"(?P<gap> ?)(?P<signs>\+\+|--)(?=[\s.,;:!?)]|\Z)")
_SUBJECT: Final = re.compile(
    r'(?<!\S)(?:"(?P<quoted>[^"]{1,64})"|\((?P<bracketed>[^()]{1,64})\)|(?P<word>[^\s"()]{1,64}))\Z'
)
_REASON: Final = re.compile(r"\s*(?:for|because)\s+(?P<reason>\S.{0,199})", re.IGNORECASE)
_LOOK_BACK: Final = NAME + 4
_NO_NAME: Final = " \x01"
"""Stands for what is no name: invisible, so that nothing is left of it as one."""


def spoken(text: str, names: Sequence[str]) -> Iterator[Spoken]:
    """The points in a text, in order; `names` are those of the members it mentions.

    A name is one word, words in quotes or in brackets, or a mention, behind which a space may
    stand. Code is not looked at. Takes time linear in the text's length.
    """
    for line in _lines(text):
        end = len(line)
        latest_first = []
        for signs in reversed(list(_SIGNS.finditer(line))):
            name, start = _name_before(line, signs.start(), bool(signs["gap"]), names)
            if name:
                reason = _REASON.match(line, signs.end(), end)
                words = one_line(reason["reason"]).rstrip(" ,;") if reason else ""
                latest_first.append(Spoken(name, 1 if signs["signs"] == "++" else -1, words))
                end = start
        yield from reversed(latest_first)


def _lines(text: str) -> Iterator[str]:
    """The lines of a text without its code, which is full of signs that give no points."""
    for block in lite.parse(text):
        if isinstance(block, lite.Paragraph):
            for line in block.lines:
                yield "".join(_without_code(line))


def _without_code(line: lite.Line) -> Iterator[str]:
    for piece in line:
        match piece:
            case lite.Text():
                yield piece.text
            case lite.Code() | lite.Link() | lite.Mention():
                yield _NO_NAME
            case _:
                yield from _without_code(piece.children)


def _name_before(line: str, end: int, has_gap: bool, names: Sequence[str]) -> tuple[str, int]:
    """The name that ends there and where it begins; "" if there is none."""
    before = line[max(end - _LOOK_BACK, 0) : end]
    for name in names:
        at = len(before) - len(name) - 1
        mentioned = at >= 0 and before[at:].casefold() == f"@{name}".casefold()
        if mentioned and not before[:at][-1:].strip():
            return f"@{name}", end - len(name) - 1
    found = None if has_gap else _SUBJECT.search(before)
    if found is None:
        return "", end
    name = one_line(found["quoted"] or found["bracketed"] or found["word"], NAME)
    is_name = any(character.isalnum() or character > "\x7f" for character in name)
    return (name if is_name else ""), end - len(found[0])


# -- who and what ----------------------------------------------------------------------------------


@frozen
class Subject:
    """Who or what gets points: a member by id, anything else by its name."""

    key: str
    name: str
    member: MemberId | None = None


def subject_of(ctx: Context, name: str) -> Subject:
    """Whom or what a name means here."""
    bare = folded(name.removeprefix("@"))
    found = [one for one in ctx.room.members() if folded(one.name) == bare]
    if len(found) == 1:
        return _of_member(found[0])
    return Subject("thing:" + bare[:NAME], one_line(name.removeprefix("@"), NAME))


def _of_member(member: MemberInfo) -> Subject:
    return Subject(f"member:{member.mid.hex()}", member.name, member.mid)


def _record(subject: Subject) -> Key[Karma]:
    # A name's bytes are up to four to a character, and a record's key is short.
    return KARMA.sub(subject.key.encode()[:180].decode(errors="ignore"))


# -- giving ----------------------------------------------------------------------------------------


@bot.on(r"\+\+|--")
async def gave(ctx: Context, message: Message, settings: KarmaSettings) -> None:
    """Count what a message gives and takes."""
    names = [ctx.room.name_of(mid) for mid in message.mentions]
    ignored = {folded(one) for one in settings.ignore}
    wanted = [one for one in spoken(message.text, names) if folded(one.name) not in ignored]
    done = [_give(ctx, subject_of(ctx, one.name), one, settings) for one in wanted[: settings.each]]
    if all(done) and settings.acknowledge and done:
        await message.react(settings.acknowledge)
    elif done and not all(done):
        await message.react("🙅")


def _give(ctx: Context, subject: Subject, given: Spoken, settings: KarmaSettings) -> bool:
    """Give the points; False where nobody may, or not any more today."""
    if subject.member == ctx.sender.mid or not _spend(ctx, settings):
        return False
    room, key = ctx.memory.room, _record(subject)
    if key not in room and sum(1 for _ in room.under(KARMA)) >= settings.things:
        return False
    old = room[key]
    reasons = list(old.reasons)
    if given.reason:
        reasons.append(Reason(given.reason, given.points, ctx.sender.name))
    room[key] = Karma(subject.name, old.points + given.points, reasons[-_KEPT:])
    return True


def _spend(ctx: Context, settings: KarmaSettings) -> bool:
    today = to_wall(ctx.now, ctx.zone).date().isoformat()
    spent = ctx.memory.member[SPENT]
    if spent.day != today:
        spent = Spent(today)
    if spent.points >= settings.daily:
        return False
    ctx.memory.member[SPENT] = evolve(spent, points=spent.points + 1)
    return True


@bot.on(Reaction)
async def reacted(ctx: Context, reaction: Reaction, settings: KarmaSettings) -> None:
    """Count a reaction for whoever said what it is on."""
    points = settings.reactions.get(reaction.emoji, 0)
    message = ctx.room.message(reaction.target)
    members = {one.mid: one for one in ctx.room.members()}
    if not points or message is None or message.mine or message.mid not in members:
        return
    mark = f"{reaction.target.hex()[:32]} {reaction.emoji}"
    counted = ctx.memory.member[COUNTED]
    if reaction.withdrawn != (mark in counted):
        return
    sign = -1 if reaction.withdrawn else 1
    subject = _of_member(members[message.mid])
    if reaction.withdrawn:
        old = ctx.memory.room[_record(subject)]
        ctx.memory.room[_record(subject)] = evolve(old, points=old.points + sign * points)
        counted = [one for one in counted if one != mark]
    elif _give(ctx, subject, Spoken(subject.name, points), settings):
        counted = [*counted, mark][-_COUNTED:]
    ctx.memory.member[COUNTED] = counted


# -- asking ----------------------------------------------------------------------------------------


@bot.command()
async def karma(ctx: Context, name: Rest = "") -> None:
    """Say how someone or something stands, and why: `!karma tea`.

    Write tea++ or tea-- in any message, "two words"++ or @name ++, with a reason if you like:
    tea++ for being warm.
    """
    subject = subject_of(ctx, name or ctx.sender.name)
    if not name:
        subject = Subject(f"member:{ctx.sender.mid.hex()}", ctx.sender.name)
    found = evolve(ctx.memory.room[_record(subject)], name=subject.name)
    reasons = "".join(
        f"\n- {one.points:+d} {quoted(one.text)} ({quoted(one.by, 40)})" for one in found.reasons
    )
    await ctx.reply(f"**{found.shown}**{reasons}")


@bot.command("karma top")
async def top(ctx: Context, count: Annotated[int, Range(1, 25)] = 5) -> None:
    """Say who and what has most."""
    await _say_ranked(ctx, sorted(_all(ctx).values(), key=lambda one: -one.points)[:count])


@bot.command("karma bottom")
async def bottom(ctx: Context, count: Annotated[int, Range(1, 25)] = 5) -> None:
    """Say who and what has least."""
    await _say_ranked(ctx, sorted(_all(ctx).values(), key=lambda one: one.points)[:count])


def _all(ctx: Context) -> Mapping[str, Karma]:
    """Everything with points here, members under the names they have now."""
    names = {_of_member(one).key: one.name for one in ctx.room.members()}
    found = ctx.memory.room.under(KARMA)
    return {key: evolve(one, name=names.get(key, one.name)) for key, one in found}


async def _say_ranked(ctx: Context, ranked: Sequence[Karma]) -> None:
    lines = [f"{number}. {one.shown}" for number, one in enumerate(ranked, 1)]
    await ctx.reply("\n".join(lines) or "Nothing has any karma here yet.")


@bot.command("karma forget")
async def forget(ctx: Context, name: Rest) -> None:
    """Forget all points of a name (owners), or your own."""
    subject = subject_of(ctx, name)
    if subject.member != ctx.sender.mid and not ctx.sender.is_owner:
        await ctx.reply("Only owners can have others forgotten.")
        return
    del ctx.memory.room[_record(subject)]
    await ctx.reply(f"{quoted(subject.name, NAME)} is forgotten.")
