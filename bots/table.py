"""A bot's handlers, checked and ready to run: made once when it starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from attrs import frozen

from bots.bot import Bot
from bots.commandtable import CommandTable
from bots.context import Context
from bots.errors import SetupError
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
from bots.handlers import Handler
from bots.inbound import Inbound
from bots.inject import Resources, hints_of, injected
from bots.limits import Limit
from bots.memory import Memory
from bots.middleware import Middleware
from bots.schedule import BadTime, zone
from bots.tables import Tables
from ofcd.client import Room

__all__ = ["Table", "build"]

_EVENTS: Final = (
    Event,
    Message,
    Edit,
    File,
    HandoverOffer,
    Join,
    JoinRequest,
    Leave,
    Reaction,
    Redacted,
    Renamed,
    RoleChange,
    Rotation,
)
BUILT_IN: Final = (Context, Room, Bot, Member, Memory, Tick, Inbound, *_EVENTS)


@frozen
class Table:
    """Everything a running bot looks up."""

    handlers: Sequence[Handler]
    commands: CommandTable
    timers: Mapping[str, Handler]
    limits: Mapping[str, Sequence[Limit]]
    summaries: Mapping[str, Handler]
    """Handlers that may be handed what was missed."""
    middlewares: Sequence[Middleware]
    _wiring: Mapping[str, Mapping[str, type]]

    @property
    def decides_joins(self) -> bool:
        """Whether the bot has a say in who is let in."""
        return any(handler.event is JoinRequest for handler in self.handlers)

    def injections(self, handler: Handler, ctx: Context, resources: Resources) -> dict[str, object]:
        """What a handler's parameters get, by name."""
        wanted = self._wiring[handler.name]
        return {name: _value(kind, ctx, resources) for name, kind in wanted.items()}


def _value(kind: type, ctx: Context, resources: Resources) -> object:
    if kind in resources:
        return resources.get(kind)
    if kind is Context:
        return ctx
    if kind is Room:
        return ctx.room
    if kind is Member:
        return ctx.sender
    if kind is Memory:
        return ctx.memory
    if kind is Tables:
        return ctx.tables
    if kind is Tick:
        return ctx.tick
    if kind is Inbound:
        return ctx.inbound
    return ctx.event


def build(bot: Bot) -> Table:
    """Check a bot and make its table; raises `SetupError` with the handler and the fix."""
    known = {*BUILT_IN, *bot.factories, *bot.overrides}
    try:
        zone(bot.timezone)
    except BadTime as wrong:
        raise SetupError(f"the bot's timezone is none ({bot.timezone!r}): {wrong}") from None
    if bot.tables_spec is not None:
        known.add(Tables)
    commands = CommandTable(bot, known)
    timers = [spec.handler for spec in bot.timers]
    others = [*bot.handlers, *timers, *bot.inbounds, *bot.starts, *bot.stops]
    wiring = dict(commands.wiring)
    for handler in others:
        if handler.name in wiring:
            raise SetupError(f"two handlers are called {handler.name!r}: give one a `name`")
        wiring[handler.name] = _wire(handler, known)
    return Table(
        handlers=tuple(bot.handlers),
        commands=commands,
        timers={handler.name: handler for handler in timers},
        limits={spec.handler.name: spec.limits for spec in commands.specs},
        summaries={
            handler.name: handler
            for handler in [*bot.handlers, *(spec.handler for spec in commands.specs)]
        },
        middlewares=tuple(bot.middlewares),
        wiring=wiring,
    )


def _wire(handler: Handler, known: set[type]) -> Mapping[str, type]:
    wired = injected(handler.function, known)
    hints = hints_of(handler.function)
    if "ctx" in hints:
        wired["ctx"] = Context
    left = sorted(set(hints) - {"return"} - set(wired))
    if left:
        raise SetupError(
            f"{handler.name} asks for {', '.join(left)}, which nothing provides: annotate it with "
            "a type of the SDK or of a @bot.resource"
        )
    return wired
