"""`assistant`: `!ask` a language model, where the room's owners have agreed that text leaves it.

Off, until its settings name an endpoint and the room, and an owner says `!assistant on`. What goes
out is the question and its thread, and nothing else of the room.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from typing import Final

from attrs import frozen

from bots import (
    Bot,
    Context,
    Inbound,
    Inbox,
    Join,
    Key,
    Member,
    Reaction,
    Rest,
    Tick,
    owners,
    per_member,
)
from bots.log import get_log
from bots.options import read_options
from bots.shelf.assistant.endpoint import Endpoint, Turn
from bots.shelf.assistant.settings import AssistantSettings, api_key
from bots.shelf.assistant.talk import Ended, Talks, shown
from bots.shelf.patience import key_of
from bots.shelf.words import one_line
from bots.web import Errands, Guard, Web
from ofcd.client import Message as LogMessage
from ofcd.client import Sent
from ofcd.protocol.ids import EventId, Sid

__all__ = ["AssistantSettings", "Used", "bot", "one_more"]

STOP: Final = "🛑"
AT_ONCE: Final = 3
"""Answers under way in one room."""
LOOK_BACK: Final = 500
"""Messages of the room among which a thread is looked for."""
GRACE: Final = 60_000
"""Milliseconds past its time limit after which an answer that was lost is said to be."""
STEP: Final = 250
"""Milliseconds until the line of an answer may have been taken by the relay, …"""
LONGEST: Final = 30_000
"""… looked for less and less often, up to this."""

bot = Bot("assistant")


@frozen
class Line:
    """An answer that is to come, or under way; kept under its line's sid."""

    question: str
    """The id of its event, as hex."""
    asker: str
    timer: str


@frozen
class Used:
    """What a member has asked today."""

    day: str = ""
    count: int = 0


ON: Final = Key("on", str, "")
"""The host that the room has agreed to; another one in the settings is not agreed to."""
LINES: Final = Key("line", Line, Line("", "", ""))
USED: Final = Key("used", Used, Used())


@bot.resource
def settings(bot: Bot) -> AssistantSettings:
    """The bot's options."""
    return read_options(bot.options, AssistantSettings)


@bot.resource
def web(settings: AssistantSettings) -> Web:
    """How this bot goes out; tests override it."""
    return Web(Guard(settings.allow_networks), timeout=settings.silence.ms / 1000)


@bot.resource
async def errands(bot: Bot) -> AsyncIterator[Errands]:
    """Answers under way."""
    async with Errands.open(get_log(bot.name)) as made:
        yield made


@bot.resource
def talks(settings: AssistantSettings, web: Web, inbox: Inbox, errands: Errands) -> Talks:
    """What asks and shows."""
    return Talks(Endpoint(settings, web, api_key(settings.key_file)), inbox, errands, ended)


# -- consent ---------------------------------------------------------------------------------------


@bot.command("assistant on", allow=owners)
async def turn_on(ctx: Context, settings: AssistantSettings) -> None:
    """Let members ask; what they ask leaves this room."""
    if not settings.permits_room(ctx.room.id):
        await ctx.reply(
            "My settings do not allow this room. Whoever runs me adds it to `rooms`, as "
            f"{ctx.room.id.hex()}, beside `url` and `model`."
        )
        return
    ctx.memory.room[ON] = settings.host
    await ctx.reply(f"On. {_notice(settings)} `!assistant off` ends it.")


def _notice(settings: AssistantSettings) -> str:
    return (
        f"**What you write with !ask, and the thread it stands in, LEAVES this room**: it is sent "
        f"to {settings.host}, outside, and can be read there. Nothing else is."
    )


@bot.command("assistant off", allow=owners)
async def turn_off(ctx: Context, talks: Talks) -> None:
    """Let nothing leave this room any more; answers under way are broken off."""
    del ctx.memory.room[ON]
    for name, _ in ctx.memory.room.under(LINES):
        talks.stop(name, one_line(ctx.sender.name, 40))
    await ctx.reply("Off: nothing leaves this room any more.")


@bot.command("assistant")
async def state(ctx: Context, settings: AssistantSettings) -> None:
    """Say whether text leaves this room, and for where."""
    await ctx.reply(
        _notice(settings) if _is_on(ctx, settings) else "Off: nothing leaves this room."
    )


@bot.on(Join)
async def tell(ctx: Context, event: Join, settings: AssistantSettings) -> None:
    """Newcomers have to know, too."""
    if _is_on(ctx, settings) and not event.member.is_automatic:
        await ctx.send(f"Welcome. {_notice(settings)}", mentions=(event.member.mid,))


def _is_on(ctx: Context, settings: AssistantSettings) -> bool:
    return settings.permits_room(ctx.room.id) and ctx.memory.room[ON] == settings.host


# -- asking ----------------------------------------------------------------------------------------


@bot.command("ask", cooldown=per_member(5, "1m"))
async def ask(ctx: Context, settings: AssistantSettings, question: Rest) -> None:
    """Ask; the answer comes in a thread, and goes on there with the next !ask.

    The asker or an owner stops it with 🛑 on the answer.
    """
    refusal = _refusal(ctx, settings)
    if refusal:
        await ctx.reply(refusal)
        return
    message = ctx.message
    # With the rest of what is decided here, so that no line is left without anyone who ends it.
    line = await ctx.answer(message, "…", thread=message.thread or message.id)
    name = line.hex()
    ctx.once(begin, ctx.now + STEP, name)
    timer = ctx.once(lost, ctx.now + settings.timeout.ms + GRACE, name)
    ctx.memory.room[LINES.sub(name)] = Line(message.id.hex(), ctx.sender.mid.hex(), timer)


def _refusal(ctx: Context, settings: AssistantSettings) -> str:
    """Why a question is not taken; "" where it is, and counted."""
    if not _is_on(ctx, settings):
        return "I am off here: an owner turns me on with `!assistant on`."
    if not settings.permits_member(ctx.sender.mid):
        return "You are not among those who may ask me."
    if sum(1 for _ in ctx.memory.room.under(LINES)) >= AT_ONCE:
        return f"I am at {AT_ONCE} answers here already: wait for one to end."
    used = one_more(ctx.memory.member[USED], ctx.now)
    if used.count > settings.per_day:
        return f"That is all for today: {settings.per_day} questions a day, until midnight UTC."
    ctx.memory.member[USED] = used
    return ""


def one_more(used: Used, now: int) -> Used:
    """What has been asked today, with one more question; `now` in milliseconds since 1970."""
    today = datetime.fromtimestamp(now / 1000, UTC).date().isoformat()
    return Used(today, used.count + 1 if used.day == today else 1)


@bot.timer(overdue="run-once-if<1m")
async def begin(ctx: Context, tick: Tick, talks: Talks, settings: AssistantSettings) -> None:
    """Begin to answer, once the line for it is in the room, if the room still agrees."""
    name, tries = key_of(tick), int(tick.payload.partition(" ")[2] or 1)
    line, sent = ctx.memory.room[LINES.sub(name)], _sent(ctx, name)
    if not line.question:
        return
    if sent is None:
        pause = min(STEP * (tries + 1), LONGEST)
        ctx.once(begin, ctx.now + pause, f"{name} {tries + 1}")
    elif not _is_on(ctx, settings):
        await _end(ctx, name, Ended(problem="I was turned off"))
    else:
        question = EventId(bytes.fromhex(line.question))
        talks.start(ctx.room, name, sent.event_id, list(_turns(ctx, question, settings)))


def _sent(ctx: Context, name: str) -> Sent | None:
    return ctx.room.sent(Sid(bytes.fromhex(name)))


def _turns(ctx: Context, question: EventId, settings: AssistantSettings) -> Iterator[Turn]:
    """The instruction, and of the question's thread as much as fits, ending with the question."""
    yield Turn("system", settings.system)
    asked = ctx.room.message(question)
    if asked is None or asked.redacted_by is not None:
        return
    thread = asked.thread or asked.event_id
    room = [one for one in ctx.room.messages(limit=LOOK_BACK) if one.seq <= asked.seq]
    turns = [_turn(ctx, one) for one in room if _belongs(one, thread)]
    kept: list[Turn] = []
    for turn in reversed(turns[-settings.messages :]):
        if kept and sum(one.size for one in kept) + turn.size > settings.characters:
            break
        kept.append(Turn(turn.role, turn.text[: settings.characters]))
    yield from reversed(kept)


def _belongs(message: LogMessage, thread: EventId) -> bool:
    here = thread in (message.event_id, message.thread)
    return here and message.redacted_by is None and not message.unreadable and message.text != "…"


def _turn(ctx: Context, message: LogMessage) -> Turn:
    if message.mine:
        return Turn("assistant", message.text)
    words = message.text.removeprefix(f"{ctx.prefix}ask").strip()
    return Turn("user", f"{one_line(message.name, 40)}: {words}")


# -- the end of an answer --------------------------------------------------------------------------


@bot.on(Reaction, emoji=STOP, to_own=True)
async def stop(ctx: Context, event: Reaction, who: Member, talks: Talks) -> None:
    """The asker, or an owner, has had enough."""
    name = event.target_sid.hex() if event.target_sid else ""
    line = ctx.memory.room[LINES.sub(name)]
    if line.question and (who.is_owner or who.mid.hex() == line.asker):
        talks.stop(name, one_line(who.name, 40))


@bot.inbound()
async def ended(ctx: Context, inbound: Inbound) -> None:
    """An answer has come, or as much of it as there will be."""
    found = json.loads(inbound.payload)
    await _end(ctx, found["line"], Ended(found["text"], found["problem"]))


@bot.timer()
async def lost(ctx: Context, tick: Tick) -> None:
    """An answer was under way when the bot died, or its line waited too long for the relay."""
    name = tick.payload
    waiting = any(one.sid.hex() == name for one in ctx.room.outbox())
    if waiting and _sent(ctx, name) is None:
        ctx.once(lost, ctx.now + GRACE, name)  # it will be sent, and then has to be ended
    else:
        await _end(ctx, name, Ended(problem="I was stopped in between: ask again"))


async def _end(ctx: Context, name: str, how: Ended) -> None:
    key = LINES.sub(name)
    if key not in ctx.memory.room:
        return
    line, sent = ctx.memory.room[key], _sent(ctx, name)
    del ctx.memory.room[key]
    ctx.cancel(lost, line.timer)
    text = shown(how.text)
    note = f"({how.problem}.)" if how.problem else ""
    if sent is not None:
        await ctx.edit(sent.event_id, f"{text}\n{note}".strip())
    if not text:
        _give_back(ctx, bytes.fromhex(line.asker))


def _give_back(ctx: Context, asker: bytes) -> None:
    """A question without a word of answer does not count."""
    store = ctx.memory.of_member(asker)
    used = store[USED]
    store[USED] = Used(used.day, max(0, used.count - 1))
