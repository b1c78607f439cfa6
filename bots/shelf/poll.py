"""`!poll "Lunch?" Pizza Sushi --until 15:00`: votes by reactions or `!vote`, a tally that is live.

Votes are no secret: everyone sees who reacted, and the log holds every `!vote`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Annotated, Final

from attrs import evolve, field, frozen
from attrs.validators import ge

from bots import Bot, Context, Key, Length, Message, Range, Reaction, Redacted, Tick, per_member
from bots.options import Duration, read_options
from bots.schedule import to_ms
from bots.shelf.patience import key_of, waits
from bots.shelf.words import folded, listed, moment, one_line, quoted
from ofcd.protocol.ids import EventId, MemberId, Sid

__all__ = ["Poll", "PollSettings", "bot", "result", "tally"]

MOST_OPTIONS: Final = 10
_YES_OR_NO: Final = ("Yes", "No")
_KEYCAPS: Final = {f"{number}\N{COMBINING ENCLOSING KEYCAP}": number for number in range(10)}
_NUMBERS: Final = {
    **{sign: number for sign, number in _KEYCAPS.items() if number},
    **{str(number): number for number in range(1, MOST_OPTIONS + 1)},
    "🔟": 10,
}

bot = Bot("poll")


@frozen
class PollSettings:
    """[bot.options]."""

    length: Duration = field(default=Duration("24h"))
    """How long a poll is open that does not say until when."""
    longest: Duration = field(default=Duration("30d"))
    """How long one may be open."""
    open: int = field(default=10, validator=ge(1))
    """Polls that may be open in a room at once."""
    debounce: Duration = field(default=Duration("3s"))
    """The tally is edited at most so often."""


@bot.resource
def settings(bot: Bot) -> PollSettings:
    """The bot's options."""
    return read_options(bot.options, PollSettings)


# -- what is remembered ----------------------------------------------------------------------------


@frozen
class Poll:
    """An open poll."""

    number: int = 0
    question: str = ""
    options: list[str] = field(factory=list)
    author: str = ""
    """Member id, hex."""
    until: int = 0
    multiple: bool = False
    quorum: int = 0
    sid: str = ""
    """Of its message, hex."""
    timer: str = ""
    drawing: bool = False
    """An edit of the tally is on its way."""

    @property
    def title(self) -> str:
        """Number and question, ready for a message."""
        return f"Poll {self.number}: {quoted(self.question, 300)}"


POLL: Final = Key("poll", Poll, Poll())
NUMBER: Final = Key("number", int, 0)
MESSAGE: Final = Key("message", int, 0)
"""From a message's sid to the number of its poll."""
VOTE: Final[Key[list[int]]] = Key("vote", list[int], [])
"""By poll and member: what they chose, the last choice last."""


def _polls(ctx: Context) -> list[Poll]:
    return sorted((poll for _, poll in ctx.memory.room.under(POLL)), key=lambda one: one.number)


def _keep(ctx: Context, poll: Poll) -> None:
    ctx.memory.room[POLL.sub(str(poll.number))] = poll


def _votes(ctx: Context, poll: Poll) -> list[list[int]]:
    """What each voter chose that counts."""
    found = [chosen for _, chosen in ctx.memory.room.under(VOTE.sub(str(poll.number))) if chosen]
    return found if poll.multiple else [chosen[-1:] for chosen in found]


def _poll_on(ctx: Context, target: EventId | None) -> Poll | None:
    """The poll whose message that is."""
    message = None if target is None else ctx.room.message(target)
    number = 0 if message is None else ctx.memory.room[MESSAGE.sub(message.sid.hex())]
    return ctx.memory.room[POLL.sub(str(number))] if number else None


# -- words -----------------------------------------------------------------------------------------


def tally(poll: Poll, votes: Sequence[Sequence[int]], footer: str) -> str:
    """The poll's message: its options with their votes, and what to know besides."""
    counts = Counter(choice for chosen in votes for choice in chosen)
    lines = [f"**{poll.title}**"]
    for number, option in enumerate(poll.options, 1):
        share = f" ({100 * counts[number] // len(votes)} %)" if counts[number] else ""
        lines.append(f"{number}. {quoted(option, 100)}: **{counts[number]}**{share}")
    return "\n".join([*lines, "", f"{_voters(len(votes))}. {footer}"])


def _voters(count: int) -> str:
    return f"{count} voter{'' if count == 1 else 's'}"


def result(poll: Poll, votes: Sequence[Sequence[int]]) -> str:
    """What came of it, in a sentence."""
    if len(votes) < max(poll.quorum, 1):
        needed = f", and {poll.quorum} were needed" if poll.quorum > 1 else ""
        return f"no result: {_voters(len(votes))}{needed}."
    counts = Counter(choice for chosen in votes for choice in chosen)
    most = max(counts.values())
    best = [option for number, option in enumerate(poll.options, 1) if counts[number] == most]
    score = f"with {most} of {_voters(len(votes))}"
    if len(best) == 1:
        return f"**{quoted(best[0], 100)}**, {score}."
    return f"a tie between {listed(best)}, {score} each."


def _footer(ctx: Context, poll: Poll) -> str:
    how = "Choose as many as you like" if poll.multiple else "Choose one"
    quorum = f" Needs {_voters(poll.quorum)}." if poll.quorum > 1 else ""
    until = moment(poll.until, ctx.zone, ctx.now)
    return (
        f"{how}: react with a number, or say `{ctx.prefix}vote 1 --poll {poll.number}`. "
        f"Open until {until} ({ctx.zone.key}).{quorum}"
    )


# -- asking ----------------------------------------------------------------------------------------


@bot.command(cooldown=per_member(6, "10m"))
async def poll(
    ctx: Context,
    settings: PollSettings,
    question: Annotated[str, Length(1, 300)],
    options: Annotated[list[Annotated[str, Length(1, 100)]], Length(0, MOST_OPTIONS)] = [],  # noqa: B006 - a signature's default
    *,
    until: datetime | None = None,
    multiple: bool = False,
    quorum: Annotated[int, Range(1, 1000)] = 1,
) -> None:
    """Ask the room: `!poll "Lunch?" Pizza "Green curry" --until 15:00`.

    Without options it is yes or no; --multiple lets each choose several; below the quorum of
    voters there is no result. Votes are no secret.
    """
    wrong = _objection(ctx, settings, options, until)
    if wrong:
        await ctx.reply(wrong)
        return
    ctx.memory.room[NUMBER] += 1
    made = Poll(
        ctx.memory.room[NUMBER],
        one_line(question, 300),
        [one_line(option, 100) for option in options or _YES_OR_NO],
        ctx.sender.mid.hex(),
        ctx.now + settings.length.ms if until is None else to_ms(until),
        multiple,
        quorum,
    )
    sid = await ctx.send(tally(made, (), _footer(ctx, made)))
    timer = ctx.once(close_in_time, made.until, str(made.number))
    _keep(ctx, evolve(made, sid=sid.hex(), timer=timer))
    ctx.memory.room[MESSAGE.sub(sid.hex())] = made.number


def _objection(
    ctx: Context, settings: PollSettings, options: Sequence[str], until: datetime | None
) -> str:
    """What is wrong with a poll that is asked for; "" if nothing."""
    if len(options) == 1 or len({folded(one) for one in options}) < len(options):
        return "A poll has at least two options, and all are different."
    if not all(one_line(option) for option in options):
        return "An option has to have something to read in it."
    if until is not None and to_ms(until) - ctx.now > settings.longest.ms:
        return f"A poll is open for at most {settings.longest}."
    if len(_polls(ctx)) >= settings.open:
        return f"{settings.open} polls are open already: close one with `{ctx.prefix}poll close`."
    return ""


@bot.command("poll list")
async def list_polls(ctx: Context) -> None:
    """Say which polls are open."""
    lines = [
        f"- {one.title} ({_voters(len(_votes(ctx, one)))}, until "
        f"{moment(one.until, ctx.zone, ctx.now)})"
        for one in _polls(ctx)
    ]
    await ctx.reply("\n".join(lines) or "No poll is open.")


# -- voting ----------------------------------------------------------------------------------------


@bot.on(Reaction, to_own=True)
async def reacted(ctx: Context, reaction: Reaction, settings: PollSettings) -> None:
    """Count a number on a poll's message, or stop counting it."""
    found = _poll_on(ctx, reaction.target)
    # A keycap comes with or without the selector that asks for its coloured form.
    number = _NUMBERS.get(reaction.emoji.replace("\N{VARIATION SELECTOR-16}", ""), 0)
    if found is None or not 1 <= number <= len(found.options):
        return
    chosen = [one for one in _chosen(ctx, found) if one != number]
    _choose(ctx, found, settings, chosen if reaction.withdrawn else [*chosen, number])


@bot.command(cooldown=per_member(20, "1m"))
async def vote(
    ctx: Context,
    settings: PollSettings,
    choices: Annotated[list[str], Length(1, MOST_OPTIONS)],
    *,
    poll: int = 0,
) -> None:
    """Vote without a reaction: `!vote 2`, `!vote pizza`, `!vote none`.

    Answer the poll you mean, or give its number with --poll, where several are open.
    """
    found = _meant(ctx, poll)
    if isinstance(found, str):
        await ctx.reply(found)
        return
    chosen = [] if list(map(folded, choices)) == ["none"] else list(_numbers(found, choices))
    if 0 in chosen or (len(chosen) > 1 and not found.multiple):
        most = "several" if found.multiple else "one"
        await ctx.reply(
            f"Choose {most} of 1 to {len(found.options)}, by number or by name; or none."
        )
        return
    _choose(ctx, found, settings, chosen)
    await ctx.react("☑️")


def _numbers(poll: Poll, choices: Sequence[str]) -> Iterator[int]:
    """The options that words mean, each once; 0 for a word that means none."""
    names = {folded(option): number for number, option in enumerate(poll.options, 1)}
    for word in dict.fromkeys(choices):
        number = names.get(folded(word)) or _NUMBERS.get(word, 0)
        yield number if number <= len(poll.options) else 0


def _meant(ctx: Context, number: int) -> Poll | str:
    """The open poll that a member means, or what to answer."""
    polls = _polls(ctx)
    answered = _poll_on(ctx, ctx.message.reply_to)
    if answered is not None and not number:
        return answered
    found = [one for one in polls if not number or one.number == number]
    if len(found) == 1:
        return found[0]
    if not found:
        return "No such poll is open." if number else "No poll is open."
    numbers = ", ".join(str(one.number) for one in polls)
    return f"Several polls are open ({numbers}): answer the one you mean, or add `--poll NUMBER`."


def _chosen(ctx: Context, poll: Poll) -> list[int]:
    return ctx.memory.room[VOTE.sub(f"{poll.number}/{ctx.sender.mid.hex()}")]


def _choose(ctx: Context, poll: Poll, settings: PollSettings, chosen: list[int]) -> None:
    ctx.memory.room[VOTE.sub(f"{poll.number}/{ctx.sender.mid.hex()}")] = chosen
    if not poll.drawing:
        ctx.once(redraw, ctx.now + settings.debounce.ms, str(poll.number))
        _keep(ctx, evolve(poll, drawing=True))


@bot.timer()
async def redraw(ctx: Context, tick: Tick) -> None:
    """Bring a poll's message up to date."""
    found = ctx.memory.room[POLL.sub(tick.payload)]
    if found.number:
        _keep(ctx, evolve(found, drawing=False))
        await _draw(ctx, found, _footer(ctx, found))


async def _draw(ctx: Context, poll: Poll, footer: str) -> None:
    sent = ctx.room.sent(Sid(bytes.fromhex(poll.sid)))
    if sent is not None:
        await ctx.edit(sent.event_id, tally(poll, _votes(ctx, poll), footer))


# -- closing ---------------------------------------------------------------------------------------


@bot.timer()
async def close_in_time(ctx: Context, tick: Tick) -> None:
    """Close a poll when its time has come, and all that was voted before is counted."""
    found = ctx.memory.room[POLL.sub(key_of(tick))]
    if found.number and not waits(ctx, close_in_time, tick):
        await _close(ctx, found)


@bot.command("poll close")
async def close(ctx: Context, message: Message, number: int = 0) -> None:
    """Close a poll now: whoever asked, and owners."""
    found = _meant(ctx, number)
    if isinstance(found, str):
        await message.reply(found)
    elif found.author != ctx.sender.mid.hex() and not ctx.sender.is_owner:
        await message.reply("Only who asked, and owners, can close a poll.")
    else:
        ctx.cancel(close_in_time, found.timer)
        await _close(ctx, found)


async def _close(ctx: Context, poll: Poll) -> None:
    """The last tally, the result, and nothing kept of it."""
    await _draw(ctx, poll, "Closed.")
    author = MemberId(bytes.fromhex(poll.author))
    text = f"{poll.title}\n\nThe result is {result(poll, _votes(ctx, poll))}"
    await ctx.send(text, mentions=[author])
    _forget(ctx, poll)


@bot.on(Redacted)
async def withdrawn(ctx: Context, event: Redacted) -> None:
    """A poll whose message is taken back is over, without a result."""
    found = _poll_on(ctx, event.target)
    if found is not None:
        ctx.cancel(close_in_time, found.timer)
        _forget(ctx, found)


def _forget(ctx: Context, poll: Poll) -> None:
    room, votes = ctx.memory.room, VOTE.sub(str(poll.number))
    for name, _ in list(room.under(votes)):
        del room[votes.sub(name)]
    del room[MESSAGE.sub(poll.sid)]
    del room[POLL.sub(str(poll.number))]
