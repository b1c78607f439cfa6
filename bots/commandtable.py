"""The bot's commands, from words to calls (sans-IO): grammar by `bots.commands`, rights, help.

Besides the bot's own there are `help`, and for owners `prefix` and `timezone`, which set what holds
in their room. Those two are only heard by name (`dice: prefix ?`): several bots of a room begin
with the same sign, and one of them is meant. A bot's own command of that name takes their place.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final
from zoneinfo import ZoneInfo

from attrs import evolve

from bots.bot import Bot, CommandSpec
from bots.commands import (
    Command,
    Commands,
    Converters,
    Found,
    Given,
    Invocation,
    Rest,
    Unknown,
    Usage,
)
from bots.context import Context
from bots.dispatch import Answer, Call, Situation
from bots.events import Member, Message
from bots.handlers import (
    Access,
    Handler,
    HandlerFunction,
    Kind,
    Options,
    anyone,
    owners,
    skip_older_than,
)
from bots.rooms import Named, Prefix, find_member, keep_settings, read_prefix, settings_of

__all__ = ["CommandTable"]

_SPEC: Final = "spec"


class CommandTable:
    """Every command of one bot, with `help` unless it has its own."""

    def __init__(self, bot: Bot, injected: Collection[type]) -> None:
        """Raises `SignatureError` for a command whose parameters can not be typed on a line."""
        own = {spec.path for spec in bot.commands}
        built_in = [self._help(), _prefix(), _timezone()]
        self.specs = [*bot.commands, *(spec for spec in built_in if spec.path not in own)]
        self._by_name = {("prefix",), ("timezone",)} - own
        self._commands = Commands(Converters())
        self._commands.converters.add(Named, find_member, noun="member", words=4)
        self._commands.converters.add(Prefix, read_prefix, noun="signs")
        for converter in bot.converters:
            converter(self._commands.converters)
        self.wiring: dict[str, Mapping[str, type]] = {}
        for spec in self.specs:
            command = self._commands.add_function(
                spec.handler.function,
                spec.path[-1],
                spec.aliases,
                spec.path[:-1],
                hidden=spec.hidden,
                inject=injected,
                extra={_SPEC: spec},
            )
            self.wiring[spec.handler.name] = {
                name: kind or Context for name, kind in command.injected.items()
            }

    def read(self, event: Message, situation: Situation) -> Call | Answer | None:
        """What a message asks of this bot; None where it is no command, or another bot's."""
        named = not event.text.lstrip().startswith(situation.prefix or "\0")
        found = self._commands.find(
            event.text.strip(),
            situation.prefix,
            (situation.name,),
            given=Given(situation.now, situation.tz, situation.known),
            may=lambda command: _may(command, event.sender),
        )
        if not named and self._wants_name(found):
            return None
        if isinstance(found, Invocation):
            return _call(found, event.sender)
        if isinstance(found, Usage):
            hidden = found.command is not None and not _may(found.command, event.sender)
            return _REFUSED if hidden else Answer(found.text, "usage")
        # Without its name, a word this bot does not know may well be another bot's.
        if isinstance(found, Unknown) and (named or found.suggestions):
            return Answer(found.text, "unknown")
        return None

    def _wants_name(self, found: Found) -> bool:
        command = found.command if isinstance(found, Invocation | Usage) else None
        return command is not None and command.path in self._by_name

    def help(self, topic: str, prefix: str, member: Member) -> str:
        """Help on a command, or on all that this member may use."""
        return self._commands.help(topic, prefix, lambda command: _may(command, member))

    def _help(self) -> CommandSpec:
        async def show_help(ctx: Context, topic: Rest = "") -> None:
            """Say what I can do, or how a command is used."""
            await ctx.reply(self.help(topic or "", ctx.prefix, ctx.sender), markdown=False)

        return _spec("help", show_help, anyone)


def _prefix() -> CommandSpec:
    async def set_prefix(ctx: Context, prefix: Prefix) -> None:
        """Set what my commands begin with in this room."""
        kept = settings_of(ctx.records, ctx.room.id)
        keep_settings(ctx.records, ctx.room.id, evolve(kept, prefix=prefix))
        await ctx.reply(f"My commands begin with {prefix} here.", markdown=False)

    return _spec("prefix", set_prefix, owners)


def _timezone() -> CommandSpec:
    async def set_timezone(ctx: Context, zone: ZoneInfo) -> None:
        """Set the time zone in which I read times in this room."""
        kept = settings_of(ctx.records, ctx.room.id)
        keep_settings(ctx.records, ctx.room.id, evolve(kept, timezone=zone.key))
        await ctx.reply(f"I read times as those of {zone.key} here.", markdown=False)

    return _spec("timezone", set_timezone, owners)


def _spec(name: str, function: HandlerFunction, allow: Access) -> CommandSpec:
    options = Options(missed=skip_older_than("10m"), allow=allow)
    handler = Handler(name, function, Kind.COMMAND, options)
    return CommandSpec((name,), handler, hidden=name != "help")


_REFUSED: Final = Answer("You may not do that here.", "refused")


def _may(command: Command, member: Member) -> bool:
    spec: CommandSpec = command.extra[_SPEC]
    return spec.handler.options.allow(member)


def _call(found: Invocation, member: Member) -> Call | Answer:
    spec: CommandSpec = found.command.extra[_SPEC]
    return Call(spec.handler, found) if _may(found.command, member) else _REFUSED
