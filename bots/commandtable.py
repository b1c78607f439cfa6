"""The bot's commands, from words to calls (sans-IO): grammar by `bots.commands`, rights, help."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from bots.bot import Bot, CommandSpec
from bots.commands import Command, Commands, Converters, Given, Invocation, Rest, Unknown, Usage
from bots.context import Context
from bots.dispatch import Answer, Call, Situation
from bots.events import Member, Message
from bots.handlers import Handler, Kind, Options, skip_older_than

__all__ = ["CommandTable"]

_SPEC: Final = "spec"


class CommandTable:
    """Every command of one bot, with `help` unless it has its own."""

    def __init__(self, bot: Bot, injected: Collection[type]) -> None:
        """Raises `SignatureError` for a command whose parameters can not be typed on a line."""
        self.specs = list(bot.commands)
        if not any(spec.path == ("help",) for spec in self.specs):
            self.specs.append(self._help())
        self._commands = Commands(Converters())
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
            given=Given(situation.now),
            may=lambda command: _may(command, event.sender),
        )
        if isinstance(found, Invocation):
            return _call(found, event.sender)
        if isinstance(found, Usage):
            hidden = found.command is not None and not _may(found.command, event.sender)
            return _REFUSED if hidden else Answer(found.text, "usage")
        # Without its name, a word this bot does not know may well be another bot's.
        if isinstance(found, Unknown) and (named or found.suggestions):
            return Answer(found.text, "unknown")
        return None

    def help(self, topic: str, prefix: str, member: Member) -> str:
        """Help on a command, or on all that this member may use."""
        return self._commands.help(topic, prefix, lambda command: _may(command, member))

    def _help(self) -> CommandSpec:
        async def show_help(ctx: Context, topic: Rest = "") -> None:
            """Say what I can do, or how a command is used."""
            await ctx.reply(self.help(topic or "", ctx.bot.prefix, ctx.sender), markdown=False)

        options = Options(missed=skip_older_than("10m"))
        return CommandSpec(("help",), Handler("help", show_help, Kind.COMMAND, options))


_REFUSED: Final = Answer("You may not do that here.", "refused")


def _may(command: Command, member: Member) -> bool:
    spec: CommandSpec = command.extra[_SPEC]
    return spec.handler.options.allow(member)


def _call(found: Invocation, member: Member) -> Call | Answer:
    spec: CommandSpec = found.command.extra[_SPEC]
    return Call(spec.handler, found) if _may(found.command, member) else _REFUSED
