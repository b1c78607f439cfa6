"""A searchable archive of the room, for its members: `!log search tea --by alice --since 2d`.

What people say is kept in tables of the bot's own, encrypted in its vault, and found again in the
room it was said in and in no other. Edits and redactions are followed; `!log forget-me` takes a
member out. The bot knows what was said since it came in; bots and bridges are not recorded.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from attrs import field, frozen
from attrs.validators import ge, le

from bots import Bot, Context, Edit, File, Message, Redacted, Tables, owners, per_room
from bots.options import read_options
from bots.schedule import to_wall
from bots.shelf.log_lines import METADATA, Archive, Line, PlaceOf
from bots.shelf.words import one_line
from ofcd.protocol.ids import EventId

__all__ = ["LogSettings", "bot"]

_DAY: Final = 86_400_000
_HINT: Final = "Nothing found. All words have to be there; tea* finds teapot, too."

bot = Bot("log")
bot.tables(METADATA)


@frozen
class LogSettings:
    """[bot.options]."""

    days: int = field(default=0, validator=ge(0))
    """How long lines are kept; 0: for good."""
    results: int = field(default=10, validator=[ge(1), le(50)])
    """Lines that a search shows at most."""


@bot.resource
def settings(bot: Bot) -> LogSettings:
    """The bot's options."""
    return read_options(bot.options, LogSettings)


# -- recording -------------------------------------------------------------------------------------


@bot.on(Message)
async def record(ctx: Context, message: Message) -> None:
    """Keep what is said."""
    Archive(ctx.tables, ctx.room.id).record(message, _places(ctx))


@bot.on(File)
async def record_caption(ctx: Context, file: File) -> None:
    """Keep what is said of a file; not the file."""
    Archive(ctx.tables, ctx.room.id).record(file, _places(ctx))


@bot.on(Edit)
async def follow(ctx: Context, edit: Edit) -> None:
    """Keep the new words in the place of the old ones."""
    Archive(ctx.tables, ctx.room.id).change(edit.target, edit.text)


@bot.on(Redacted)
async def take_back(ctx: Context, redacted: Redacted) -> None:
    """Forget what is taken back."""
    Archive(ctx.tables, ctx.room.id).take_back(redacted.target)


@bot.every("1h")
async def expire(ctx: Context, settings: LogSettings) -> None:
    """Forget what is too old; find what was said again after a move of the room."""
    Archive(ctx.tables, ctx.room.id).bring_back(_places(ctx))
    if settings.days:
        Archive(ctx.tables, ctx.room.id).expire(ctx.now - settings.days * _DAY)


# -- looking things up -----------------------------------------------------------------------------


@bot.command("log search", cooldown=per_room(10, "1m"))
async def search(
    ctx: Context,
    tables: Tables,
    settings: LogSettings,
    *words: str,
    by: str = "",
    since: timedelta | None = None,
) -> None:
    """Find lines with all these words, newest first.

    "two words" in quotes are looked for side by side; tea* finds teapot, too. --by is who said
    it, --since how long ago at most, such as 2d.
    """
    if not words:
        await ctx.reply("What for? Say for example !log search tea --since 2d.")
        return
    first = 0 if since is None else ctx.now - since // timedelta(milliseconds=1)
    found = Archive(tables, ctx.room.id).search(words, by, first, settings.results)
    await _show(ctx, found, _HINT)


@bot.command("log around")
async def around(ctx: Context, tables: Tables, number: str) -> None:
    """Show what was said around a line, by the number that a search gives: #123."""
    digits = number.removeprefix("#")
    seq = int(digits) if digits.isdecimal() and len(digits) < 16 else -1
    found = Archive(tables, ctx.room.id).around(seq)
    await _show(ctx, found, f"There is no line {one_line(number, 20)}.")


@bot.command("log export", allow=owners, cooldown=per_room(2, "1h"), timeout=300)
async def export(ctx: Context, tables: Tables) -> None:
    """Send all lines as a file, one JSON object each."""
    lines = Archive(tables, ctx.room.id).all()
    await ctx.send_file(
        "".join(map(_as_json, lines)).encode(),
        name="log.jsonl",
        mime="application/jsonl",
        caption=f"{len(lines)} lines",
    )


@bot.command("log forget-me")
async def forget_me(ctx: Context, tables: Tables) -> None:
    """Forget all that you said here, and record you no more."""
    count = Archive(tables, ctx.room.id).silence(ctx.sender.mid)
    lines = f"{count} line{'' if count == 1 else 's'}"
    await ctx.reply(
        f"Forgotten: {lines} of yours. You are not recorded here until you say !log remember-me."
    )


@bot.command("log remember-me")
async def remember_me(ctx: Context, tables: Tables) -> None:
    """Record what you say, from now on."""
    Archive(tables, ctx.room.id).hear_again(ctx.sender.mid)
    await ctx.react("👍")


def _places(ctx: Context) -> PlaceOf:
    """Where messages stand in the room's log now."""

    def place_of(event_id: EventId) -> int | None:
        message = ctx.room.message(event_id)
        return None if message is None else message.seq

    return place_of


async def _show(ctx: Context, lines: Sequence[Line], otherwise: str) -> None:
    shown = "\n".join(_as_text(ctx, line) for line in lines)
    await ctx.reply(shown or otherwise, markdown=False)


def _as_text(ctx: Context, line: Line) -> str:
    when = to_wall(line.ts, ctx.zone)
    return f"#{line.seq} {when:%Y-%m-%d %H:%M} {one_line(line.name, 40)}: {one_line(line.text)}"


def _as_json(line: Line) -> str:
    record = {"seq": line.seq, "ts": line.ts, "name": line.name, "text": line.text}
    return json.dumps(record, ensure_ascii=False) + "\n"
