"""`!remind me in 2h to stretch`: reminders as people say them, once or again and again.

A reminder mentions who is reminded. A reaction to it puts it off.
"""

from __future__ import annotations

from typing import Any, Final
from zoneinfo import ZoneInfo

from attrs import field, frozen
from attrs.validators import ge

from bots import Bot, BotError, Context, Key, Reaction, Rest, Tick, per_member
from bots.options import Duration, read_options
from bots.schedule import (
    At,
    BadTime,
    Cron,
    Once,
    Schedule,
    Timer,
    from_json,
    split_schedule,
    to_json,
    zone,
)
from bots.shelf.words import called, in_full, moment, quoted
from ofcd.client import NotAllowed
from ofcd.protocol.ids import MemberId

__all__ = ["RemindSettings", "bot"]

TEXT: Final = 1_000
"""Characters of a reminder."""
_LATE: Final = 2 * 60_000
"""From so many ms on, a reminder says that it is late."""
_LISTED: Final = 20

bot = Bot("remind")


def _snoozes() -> dict[str, Duration]:
    lengths = {"💤": "10m", "⏰": "10m", "🕐": "1h", "📅": "1d"}
    return {emoji: Duration(length) for emoji, length in lengths.items()}


@frozen
class RemindSettings:
    """[bot.options]."""

    most: int = field(default=50, validator=ge(1))
    """Reminders that one member may have set in a room."""
    others: bool = True
    """Whether members may have others reminded, and the room."""
    least: Duration = field(default=Duration("10m"))
    """What recurs comes no more often than this."""
    late: Duration = field(default=Duration("2h"))
    """What recurs and is later than this, because the bot was away, is left out; a reminder that
    comes once is always given, with a word on when it was due."""
    snooze: dict[str, Duration] = field(factory=_snoozes)
    """For how long a reaction puts a reminder off."""
    kept: Duration = field(default=Duration("7d"))
    """How long after a reminder a reaction still does."""


@bot.resource
def settings(bot: Bot) -> RemindSettings:
    """The bot's options."""
    return read_options(bot.options, RemindSettings)


# -- what is remembered ----------------------------------------------------------------------------


@frozen
class Reminder:
    """One that is set."""

    number: int = 0
    who: str = ""
    """Member id, hex; "" for the whole room."""
    author: str = ""
    text: str = field(default="", repr=False)
    timer: str = ""
    """What `Context.cancel` takes."""
    plan: dict[str, Any] = field(factory=dict)
    """Its schedule, as `to_json` writes a timer."""

    @property
    def schedule(self) -> Schedule:
        """When it comes."""
        return from_json(self.plan).schedule


@frozen
class Given:
    """One that was given, and may be put off."""

    who: str = ""
    author: str = ""
    text: str = field(default="", repr=False)
    at: int = 0


REMINDER: Final = Key("reminder", Reminder, Reminder())
GIVEN: Final = Key("given", Given, Given())
"""By the sid of its message, hex."""
NUMBER: Final = Key("number", int, 0)
ZONE: Final = Key("zone", str, "")


def _zone(ctx: Context) -> ZoneInfo:
    """The time zone of who speaks: their own, or the room's."""
    name = ctx.memory.member[ZONE]
    return zone(name) if name else ctx.zone


def _name(ctx: Context, mid: str) -> str | None:
    """A member's name; None for one who has left."""
    try:
        return ctx.room.member(MemberId(bytes.fromhex(mid))).name
    except NotAllowed:
        return None


# -- setting ---------------------------------------------------------------------------------------


@bot.command(cooldown=per_member(20, "10m"))
async def remind(ctx: Context, settings: RemindSettings, text: Rest) -> None:
    """Set a reminder: `!remind me in 2h to stretch`, `!remind me every weekday at 9 standup`.

    Instead of "me" write "us" for the room, or @name. Times are those of your zone (see
    remind zone). React to a reminder with 💤 to have it again later.
    """
    try:
        who, said = _whom(ctx, text)
        when, what = split_schedule(said, ctx.now, _zone(ctx))
        _check(ctx, settings, who, when, what)
    except (BadTime, BotError) as wrong:
        await ctx.reply(f"{wrong} For example: `{ctx.prefix}remind me in 2h to stretch`.")
        return
    made = _set(ctx, who, when, what)
    first = moment(_next(ctx, when), _zone(ctx), ctx.now)
    again = f", then {_recurs(when)}" if when.recurring else ""
    await ctx.reply(
        f"I remind {_object(ctx, made)} {first}{again} (number {made.number}): {quoted(what)}"
    )


def _object(ctx: Context, reminder: Reminder) -> str:
    """Who is reminded, for who has set it."""
    if not reminder.who:
        return "us all"
    mine = reminder.who == reminder.author
    return "you" if mine else quoted(_name(ctx, reminder.who) or "", 64)


def _whom(ctx: Context, text: str) -> tuple[str, str]:
    """Who is to be reminded, and the rest of the words. Raises `BotError` for nobody known."""
    first, _, rest = text.partition(" ")
    if first.casefold() in ("us", "all", "everyone", "room"):
        return "", rest
    if not first.startswith("@"):
        return ctx.sender.mid.hex(), rest if first.casefold() == "me" else text
    words = text[1:]
    found = [
        one
        for one in ctx.room.members()
        if one.name and f"{words} ".casefold().startswith(f"{one.name} ".casefold())
    ]
    longest = max((len(one.name) for one in found), default=0)
    found = [one for one in found if len(one.name) == longest]
    if len(found) != 1:
        raise BotError("That is nobody's name here, or more than one member's.")
    return found[0].mid.hex(), words[longest:]


def _check(ctx: Context, settings: RemindSettings, who: str, when: Schedule, what: str) -> None:
    """Raises `BotError` for what may not be set."""
    mine = ctx.sender.mid.hex()
    if who != mine and not settings.others:
        raise BotError("I remind only those who ask for it.")
    if len(what) > TEXT:
        raise BotError(f"A reminder is at most {TEXT} characters long.")
    if sum(one.author == mine for one in _all(ctx)) >= settings.most:
        raise BotError(f"You have {settings.most} reminders set already: cancel one.")
    first = _next(ctx, when)
    second = when.next_after(first)
    if second is not None and second - first < settings.least.ms:
        raise BotError(f"What recurs comes at most every {settings.least}.")


def _set(ctx: Context, who: str, when: Schedule, what: str, author: str = "") -> Reminder:
    ctx.memory.room[NUMBER] += 1
    number = ctx.memory.room[NUMBER]
    timer = ctx.once(fire, when, str(number))
    plan = to_json(Timer(when, ctx.now))
    made = Reminder(number, who, author or ctx.sender.mid.hex(), what, timer, plan)
    ctx.memory.room[REMINDER.sub(str(number))] = made
    return made


def _next(ctx: Context, when: Schedule) -> int:
    """When it comes next; what will never come is due now."""
    following = when.next_after(ctx.now)
    return ctx.now if following is None else following


def _recurs(when: Schedule) -> str:
    """How it recurs, ready for a message."""
    match when:
        case Cron():
            return f"by the cron line `{when.line}` in {when.tz}"
        case At():
            return f"{quoted(when.text)} in {when.tz}"
        case _:
            return str(when)


# -- listing and cancelling ------------------------------------------------------------------------


def _all(ctx: Context) -> list[Reminder]:
    return sorted((one for _, one in ctx.memory.room.under(REMINDER)), key=lambda one: one.number)


@bot.command("remind list")
async def list_reminders(ctx: Context) -> None:
    """Say which reminders you have set or will get here."""
    mine = ctx.sender.mid.hex()
    found = [one for one in _all(ctx) if mine in (one.who, one.author) or not one.who]
    found.sort(key=lambda one: _next(ctx, one.schedule))
    lines = [
        f"- {one.number}: {moment(_next(ctx, one.schedule), _zone(ctx), ctx.now)}"
        f"{f', {_recurs(one.schedule)}' if one.schedule.recurring else ''}: {quoted(one.text, 60)}"
        for one in found[:_LISTED]
    ]
    if len(found) > _LISTED:
        lines.append(f"\nand {len(found) - _LISTED} more.")
    await ctx.reply("\n".join(lines) or "Nothing to be reminded of.")


@bot.command("remind cancel")
async def cancel(ctx: Context, number: int) -> None:
    """Cancel a reminder by its number: who set it, who is to get it, and owners."""
    found = ctx.memory.room[REMINDER.sub(str(number))]
    if not found.number:
        await ctx.reply("There is no reminder of that number.")
    elif ctx.sender.mid.hex() not in (found.author, found.who) and not ctx.sender.is_owner:
        await ctx.reply("That is not your reminder.")
    else:
        _forget(ctx, found)
        await ctx.reply(f"Cancelled: {quoted(found.text)}")


def _forget(ctx: Context, reminder: Reminder) -> None:
    ctx.cancel(fire, reminder.timer)
    del ctx.memory.room[REMINDER.sub(str(reminder.number))]


@bot.command("remind zone")
async def set_zone(ctx: Context, zone: ZoneInfo | None = None) -> None:
    """Say or set your time zone, such as Europe/Berlin; the room's is for its owners to set."""
    if zone is not None:
        ctx.memory.member[ZONE] = zone.key
    await ctx.reply(f"Your times here are those of {_zone(ctx).key}.", markdown=False)


# -- reminding -------------------------------------------------------------------------------------


@bot.timer()
async def fire(ctx: Context, tick: Tick, settings: RemindSettings) -> None:
    """Give a reminder."""
    _forget_old(ctx, settings)
    found = ctx.memory.room[REMINDER.sub(tick.payload)]
    if not found.number:
        return
    name = _name(ctx, found.who) if found.who else "everyone"
    recurring, late = found.schedule.recurring, ctx.now - tick.due
    if name is None or not recurring:
        _forget(ctx, found)
    if name is None or (recurring and late > settings.late.ms):
        return
    note = f"\n\n_I was away: this was due {moment(tick.due, ctx.zone, ctx.now)} ({ctx.zone.key})._"
    whom = called(name) if found.who else name
    text = f"⏰ {whom}: {in_full(found.text, TEXT)}{note if late > _LATE else ''}"
    sid = await ctx.send(text, mentions=[MemberId(bytes.fromhex(found.who))] if found.who else ())
    given = Given(found.who, found.author, found.text, ctx.now)
    ctx.memory.room[GIVEN.sub(sid.hex())] = given


def _forget_old(ctx: Context, settings: RemindSettings) -> None:
    room = ctx.memory.room
    for name, given in list(room.under(GIVEN)):
        if given.at < ctx.now - settings.kept.ms:
            del room[GIVEN.sub(name)]


@bot.on(Reaction, to_own=True)
async def snooze(ctx: Context, reaction: Reaction, settings: RemindSettings) -> None:
    """Put a reminder off: who got it does, or anyone if the room did."""
    message = ctx.room.message(reaction.target)
    length = settings.snooze.get(reaction.emoji) or settings.snooze.get(reaction.emoji[:1])
    if message is None or length is None or reaction.withdrawn:
        return
    key = GIVEN.sub(message.sid.hex())
    given = ctx.memory.room[key]
    if not given.at or given.who not in ("", ctx.sender.mid.hex()):
        return
    del ctx.memory.room[key]  # put off once; what comes then can be put off again
    made = _set(ctx, given.who, Once(ctx.now + length.ms), given.text, given.author)
    again = moment(ctx.now + length.ms, _zone(ctx), ctx.now)
    await ctx.reply(f"Again {again} (number {made.number}).")
