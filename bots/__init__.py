"""End-to-end encrypted bots in ten lines: decorators, typed commands, effects exactly once.

    from bots import Bot

    bot = Bot("echo")

    @bot.command()
    async def echo(ctx, *, text: Rest):
        "Say it again."
        await ctx.reply(text)

A handler's answers, what it remembers and the bot's place in the log are one transaction: a bot
that dies in the middle has done nothing, and does it when it is back. docs/bots.md is the guide,
`bots.testing` the first thing to use.
"""

from __future__ import annotations

from bots.bot import Bot, Group
from bots.commands import BadValue, Choice, Given, Length, Match, Range, Rest
from bots.context import Context, Progress
from bots.errors import (
    BotError,
    HandlerTimeout,
    InboundFailed,
    LoadError,
    NoRight,
    NotServed,
    SetupError,
    TextTooLong,
)
from bots.events import (
    Edit,
    Event,
    File,
    HandoverOffer,
    Join,
    JoinRequest,
    Leave,
    Member,
    Message,
    Reaction,
    Redacted,
    Renamed,
    RoleChange,
    Rotation,
    Tick,
)
from bots.handlers import RUN, SUMMARISE, anyone, members, owners, skip_older_than
from bots.inbound import Inbound, Inbox
from bots.limits import overall, per_command, per_member, per_member_and_room, per_room
from bots.memory import Key, Memory
from bots.middleware import Next
from bots.rooms import Named
from bots.tables import Tables, TablesError, TablesFull, TablesRefused
from ofcd.client import Room

__all__ = [
    "RUN",
    "SUMMARISE",
    "BadValue",
    "Bot",
    "BotError",
    "Choice",
    "Context",
    "Edit",
    "Event",
    "File",
    "Given",
    "Group",
    "HandlerTimeout",
    "HandoverOffer",
    "Inbound",
    "InboundFailed",
    "Inbox",
    "Join",
    "JoinRequest",
    "Key",
    "Leave",
    "Length",
    "LoadError",
    "Match",
    "Member",
    "Memory",
    "Message",
    "Named",
    "Next",
    "NoRight",
    "NotServed",
    "Progress",
    "Range",
    "Reaction",
    "Redacted",
    "Renamed",
    "Rest",
    "RoleChange",
    "Room",
    "Rotation",
    "SetupError",
    "Tables",
    "TablesError",
    "TablesFull",
    "TablesRefused",
    "TextTooLong",
    "Tick",
    "anyone",
    "members",
    "overall",
    "owners",
    "per_command",
    "per_member",
    "per_member_and_room",
    "per_room",
    "skip_older_than",
]
