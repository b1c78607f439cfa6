"""Standup: asks at its time, collects the answers, and tells who said what and who did not.

`!standup setup weekdays 9:30 --window 2h` by an owner begins it. Answers are replies to the
question, messages in its thread, or `!standup done fixed the door`.
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from attrs import evolve, field, frozen

from bots import Bot, Context, Edit, Key, Message, Redacted, Rest, Tick, owners
from bots.options import Duration, read_options
from bots.schedule import (
    At,
    BadTime,
    Cron,
    Schedule,
    Timer,
    from_json,
    moment,
    to_json,
    to_wall,
)
from bots.shelf import words
from bots.shelf.patience import waits
from bots.shelf.standup_summary import Answer, Part, summary
from bots.shelf.words import quoted
from ofcd.client import MemberInfo
from ofcd.protocol.ids import EventId, MemberId
from ofcd.protocol.records import Cap, Role

__all__ = ["StandupSettings", "bot"]

ANSWER: Final = 2_000
"""Characters of one message that are kept."""
_PARTS: Final = 10
"""Messages of one member that are kept."""
_MENTIONS: Final = 64
_SKIPS: Final = 60
_EXPECTED: Final = 500
"""Members of a large room who are noted as missing: their ids have to fit one record."""
_FOREVER: Final = date.max.isoformat()

bot = Bot("standup")


@frozen
class StandupSettings:
    """[bot.options]."""

    question: str = "What did you do, what comes next, what is in your way?"
    """What is asked where a room's owners set no other question."""
    window: Duration = field(default=Duration("2h"))
    """How long answers are taken, where a room's owners say nothing else."""
    acknowledge: str = "✅"
    """The reaction that says an answer was taken; "" for none."""
    mention_missing: bool = False
    """Whether the summary mentions those who did not answer."""


@bot.resource
def settings(bot: Bot) -> StandupSettings:
    """The bot's options."""
    return read_options(bot.options, StandupSettings)


# -- what is remembered ----------------------------------------------------------------------------


@frozen
class Plan:
    """What a room's owners have set up."""

    timer: str = ""
    """"" where nothing is."""
    plan: dict[str, Any] = field(factory=dict)
    """The schedule, as `to_json` writes a timer."""
    window: int = 0
    """Milliseconds."""
    question: str = ""

    @property
    def schedule(self) -> Schedule:
        """When it asks."""
        return from_json(self.plan).schedule


@frozen
class Round:
    """One that is open."""

    day: str = ""
    """"" where none is."""
    sid: str = ""
    """Of the question, hex."""
    until: int = 0
    timer: str = ""
    expected: list[str] = field(factory=list)
    """Member ids, hex."""


PLAN: Final = Key("plan", Plan, Plan())
ROUND: Final = Key("round", Round, Round())
ANSWERS: Final[Key[list[Part]]] = Key("answer", list[Part], [])
"""By member, for the round that is open."""
AWAY: Final = Key("away", str, "")
"""By member: the day they are back."""
SKIPS: Final[Key[list[str]]] = Key("skip", list[str], [])


def _today(ctx: Context) -> date:
    return to_wall(ctx.now, ctx.zone).date()


def _is_away(ctx: Context, mid: str) -> bool:
    return _today(ctx).isoformat() < ctx.memory.room[AWAY.sub(mid)]


def _people(ctx: Context) -> list[MemberInfo]:
    """Those who could answer: no bots, no bridges, nobody who may not speak."""
    return [
        one
        for one in ctx.room.members()
        if not one.caps & {Cap.BOT, Cap.BRIDGE} and not one.is_me and one.role is not Role.READONLY
    ]


# -- setting up ------------------------------------------------------------------------------------


@bot.command("standup setup", allow=owners)
async def setup(
    ctx: Context,
    settings: StandupSettings,
    when: Schedule,
    *,
    window: timedelta | None = None,
    question: str = "",
    zone: ZoneInfo | None = None,
) -> None:
    """Have the room asked again and again: `!standup setup weekdays 9:30 --window 2h`.

    The window is how long answers are taken, the question (in quotes) what is asked, the zone one
    such as Europe/Berlin, else the room's.
    """
    if zone is not None and isinstance(when, At | Cron):
        when = evolve(when, tz=zone.key)
    length = settings.window.ms if window is None else window // timedelta(milliseconds=1)
    first = when.next_after(ctx.now)
    second = None if first is None else when.next_after(first)
    if first is None or second is None or second - first < length:
        await ctx.reply("Say when, such as weekdays 9:30, and a window that ends before the next.")
        return
    ctx.cancel(ask, ctx.memory.room[PLAN].timer)
    timer = ctx.once(ask, when)
    asked = words.one_line(question or settings.question, 500)
    ctx.memory.room[PLAN] = Plan(timer, to_json(Timer(when, ctx.now)), length, asked)
    await ctx.reply(f"I ask {_moment(ctx, first)} for the first time: {quoted(asked, 500)}")


@bot.command("standup off", allow=owners)
async def turn_off(ctx: Context) -> None:
    """Ask no more."""
    ctx.cancel(ask, ctx.memory.room[PLAN].timer)
    del ctx.memory.room[PLAN]
    await ctx.reply("I ask no more.")


@bot.command("standup now", allow=owners)
async def ask_now(ctx: Context, settings: StandupSettings) -> None:
    """Ask now, besides the times that are set."""
    if ctx.memory.room[ROUND].day:
        await ctx.reply("A standup is under way.")
    elif not await _ask(ctx, settings):
        await ctx.reply("There is nobody to ask.")


@bot.command("standup skip", allow=owners)
async def skip(ctx: Context, day: date) -> None:
    """Leave a day out, such as friday or 2026-12-24."""
    kept = {one for one in ctx.memory.room[SKIPS] if one >= _today(ctx).isoformat()}
    ctx.memory.room[SKIPS] = sorted(kept | {day.isoformat()})[:_SKIPS]
    await ctx.reply(f"No standup on {words.day(day)}.")


def _moment(ctx: Context, ms: int) -> str:
    return f"{words.moment(ms, ctx.zone, ctx.now)} ({ctx.zone.key})"


# -- asking ----------------------------------------------------------------------------------------


@bot.timer()
async def ask(ctx: Context, tick: Tick, settings: StandupSettings) -> None:
    """The time has come; too late, or on a day to be left out, nothing is asked."""
    plan = ctx.memory.room[PLAN]
    if ctx.now - tick.due > plan.window or _today(ctx).isoformat() in ctx.memory.room[SKIPS]:
        return
    if ctx.memory.room[ROUND].day:
        await _finish(ctx, settings)
    await _ask(ctx, settings)


async def _ask(ctx: Context, settings: StandupSettings) -> bool:
    """Ask who is there; False where there is nobody."""
    plan = ctx.memory.room[PLAN]
    there = [one.mid for one in _people(ctx) if not _is_away(ctx, one.mid.hex())]
    if not there:
        return False
    until = ctx.now + (plan.window or settings.window.ms)
    text = (
        f"**Standup, {words.day(_today(ctx))}**\n{quoted(plan.question or settings.question, 500)}"
        f"\n\nAnswer this, in its thread or with `{ctx.prefix}standup done …`, until "
        f"{_moment(ctx, until)}."
    )
    sid = await ctx.send(text, mentions=there[:_MENTIONS])
    timer = ctx.once(finish, until, "round")
    expected = [mid.hex() for mid in there[:_EXPECTED]]
    ctx.memory.room[ROUND] = Round(_today(ctx).isoformat(), sid.hex(), until, timer, expected)
    return True


# -- answering -------------------------------------------------------------------------------------


@bot.on(Message)
async def answered(ctx: Context, message: Message, settings: StandupSettings) -> None:
    """Take what answers the question."""
    asked = ctx.memory.room[ROUND]
    targets = (message.thread, message.reply_to)
    if asked.day and any(_sid_of(ctx, target) == asked.sid for target in targets):
        await _take(ctx, settings, message.text)


def _sid_of(ctx: Context, target: EventId | None) -> str:
    message = None if target is None else ctx.room.message(target)
    return "" if message is None else message.sid.hex()


@bot.command("standup done")
async def done(ctx: Context, settings: StandupSettings, text: Rest) -> None:
    """Answer from anywhere in the room: `!standup done fixed the door`."""
    if ctx.memory.room[ROUND].day:
        await _take(ctx, settings, text)
    else:
        await ctx.reply("No standup is under way.")


async def _take(ctx: Context, settings: StandupSettings, text: str) -> None:
    key = ANSWERS.sub(ctx.sender.mid.hex())
    parts = [*ctx.memory.room[key], Part(ctx.message.id.hex(), text[:ANSWER])]
    ctx.memory.room[key] = parts[:_PARTS]
    if settings.acknowledge:
        await ctx.react(settings.acknowledge)


@bot.on(Edit)
async def edited(ctx: Context, edit: Edit) -> None:
    """An answer reads otherwise now."""
    _change(ctx, edit.sender.mid.hex(), edit.target, edit.text[:ANSWER])


@bot.on(Redacted)
async def redacted(ctx: Context, event: Redacted) -> None:
    """An answer was taken back: by its sender, or by an owner."""
    for mid, _ in list(ctx.memory.room.under(ANSWERS)):
        _change(ctx, mid, event.target, "")


def _change(ctx: Context, mid: str, target: EventId, text: str) -> None:
    key = ANSWERS.sub(mid)
    parts = ctx.memory.room[key]
    if any(one.id == target.hex() for one in parts):
        changed = [evolve(one, text=text) if one.id == target.hex() else one for one in parts]
        ctx.memory.room[key] = [one for one in changed if one.text]


# -- being away ------------------------------------------------------------------------------------


@bot.command("standup away")
async def away(ctx: Context, until: Rest = "") -> None:
    """Not be asked: `!standup away until friday` (you are back on that day), or until you are."""
    day = until.strip().removeprefix("until").strip()
    back = _FOREVER
    if day:
        try:
            found = moment(f"{day} 23:59", ctx.now, ctx.zone)
        except BadTime:
            await ctx.reply("Say until which day, such as friday or 2026-12-24.")
            return
        back = to_wall(found, ctx.zone).date().isoformat()
    ctx.memory.room[AWAY.sub(ctx.sender.mid.hex())] = back
    told = f"until {words.day(date.fromisoformat(back))}" if day else "until you say you are back"
    await ctx.reply(f"You are away {told}.")


@bot.command("standup back")
async def back(ctx: Context) -> None:
    """Be asked again."""
    del ctx.memory.room[AWAY.sub(ctx.sender.mid.hex())]
    await ctx.reply("Welcome back.")


@bot.command()
async def standup(ctx: Context) -> None:
    """Say when the next standup is, and how the one under way stands."""
    plan, asked = ctx.memory.room[PLAN], ctx.memory.room[ROUND]
    following = plan.schedule.next_after(ctx.now) if plan.timer else None
    lines = ["No standup is set up here."]
    if following is not None:
        lines = [f"The next standup is {_moment(ctx, following)}."]
    if asked.day:
        count = sum(1 for _, parts in ctx.memory.room.under(ANSWERS) if parts)
        lines.append(f"One is under way until {_moment(ctx, asked.until)}: {count} answered.")
    away = [one.name for one in _people(ctx) if _is_away(ctx, one.mid.hex())]
    if away:
        lines.append(f"Away: {words.listed(away)}.")
    await ctx.reply("\n".join(lines))


# -- telling ---------------------------------------------------------------------------------------


@bot.timer()
async def finish(ctx: Context, tick: Tick, settings: StandupSettings) -> None:
    """Tell what was answered, once everything said in time is taken."""
    if ctx.memory.room[ROUND].day and not waits(ctx, finish, tick):
        await _finish(ctx, settings)


@bot.command("standup finish", allow=owners)
async def finish_now(ctx: Context, settings: StandupSettings) -> None:
    """Tell what was answered, without waiting any longer."""
    if ctx.memory.room[ROUND].day:
        await _finish(ctx, settings)
    else:
        await ctx.reply("No standup is under way.")


async def _finish(ctx: Context, settings: StandupSettings) -> None:
    room, asked = ctx.memory.room, ctx.memory.room[ROUND]
    ctx.cancel(finish, asked.timer)
    answers = {mid: parts for mid, parts in room.under(ANSWERS) if parts}
    people = {one.mid.hex(): one for one in _people(ctx)}
    missing = [people[mid] for mid in asked.expected if mid in people and mid not in answers]
    away = [one.name for mid, one in people.items() if _is_away(ctx, mid) and mid not in answers]
    told = [
        Answer(ctx.room.name_of(MemberId(bytes.fromhex(mid))), parts)
        for mid, parts in answers.items()
    ]
    told.sort(key=lambda one: one.name.casefold())
    text = summary(date.fromisoformat(asked.day), told, [one.name for one in missing], away)
    pinged = [one.mid for one in missing][:_MENTIONS] if settings.mention_missing else []
    await ctx.send(text, mentions=pinged)
    for mid in list(answers):
        del room[ANSWERS.sub(mid)]
    del room[ROUND]
