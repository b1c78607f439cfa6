"""A bot: a table of handlers, filled by decorators.

    bot = Bot("dice")

    @bot.command()
    async def roll(ctx, dice: Dice = Dice(1, 6)):
        "Roll dice: `!roll 2d6`."
        await ctx.reply(...)

`Group` is the same without a name and a run: for modules of handlers that bots `include`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar

from attrs import define, evolve, field, frozen

from bots.commands import Converters, Given
from bots.errors import SetupError
from bots.events import Event, JoinRequest, Message, Reaction
from bots.handlers import (
    RUN,
    TIMEOUT,
    TRIES,
    Access,
    Handler,
    HandlerFunction,
    Kind,
    Missed,
    Options,
    anyone,
    name_of,
    skip_older_than,
)
from bots.inject import Factory, factory_of
from bots.limits import Limit, Rate
from bots.middleware import Middleware
from bots.schedule import At, Cron, Every, Overdue, Schedule
from bots.tables.spec import Migration, TablesSpec

if TYPE_CHECKING:
    from bots.tables.spec import MetaData

__all__ = ["Bot", "CommandSpec", "Group", "TimerSpec"]

F = TypeVar("F", bound=HandlerFunction)
M = TypeVar("M", bound=Middleware)
R = TypeVar("R", bound=Callable[..., Any])
T = TypeVar("T")
ConverterOf = Callable[[str, Given], T]
TEN_MINUTES: Final = skip_older_than("10m")


@frozen
class CommandSpec:
    """A command as its decorator describes it."""

    path: tuple[str, ...]
    """Its words: ("karma", "top") is called as `!karma top`."""
    handler: Handler
    aliases: tuple[str, ...] = ()
    limits: tuple[Limit, ...] = ()
    hidden: bool = False


@frozen
class TimerSpec:
    """A timer as its decorator describes it."""

    handler: Handler
    schedule: Schedule | None
    """None: only set off by `ctx.schedule`."""
    overdue: Overdue
    for_each_room: bool = True


@define(eq=False)
class Group:
    """Handlers that belong together; a bot takes them over with `include`."""

    commands: list[CommandSpec] = field(factory=list, init=False)
    handlers: list[Handler] = field(factory=list, init=False)
    timers: list[TimerSpec] = field(factory=list, init=False)
    inbounds: list[Handler] = field(factory=list, init=False)
    middlewares: list[Middleware] = field(factory=list, init=False)
    factories: dict[type, Factory] = field(factory=dict, init=False)
    starts: list[Handler] = field(factory=list, init=False)
    stops: list[Handler] = field(factory=list, init=False)
    converters: list[Callable[[Converters], None]] = field(factory=list, init=False)

    # -- commands --------------------------------------------------------------------------------

    def command(
        self,
        name: str | None = None,
        *,
        aliases: Sequence[str] = (),
        allow: Access = anyone,
        cooldown: Limit | Sequence[Limit] = (),
        hidden: bool = False,
        missed: Missed = TEN_MINUTES,
        timeout: float = TIMEOUT,
        tries: int = TRIES,
        concurrency: int | None = None,
        from_bots: bool = False,
    ) -> Callable[[F], F]:
        """A command; its arguments are the function's parameters, its help the docstring.

        `name` may be of several words ("karma top"); by default the function's. `allow` decides
        who may (and who sees it in `!help`), `cooldown` how often. `timeout` is in seconds.
        """
        options = Options(
            timeout=timeout,
            tries=tries,
            concurrency=concurrency,
            missed=missed,
            allow=allow,
            from_bots=from_bots,
        )
        limits = (cooldown,) if isinstance(cooldown, Limit) else tuple(cooldown)

        def add(function: F) -> F:
            path = tuple((name or function.__name__).split())
            handler = Handler(name_of(function, ".".join(path)), function, Kind.COMMAND, options)
            self.commands.append(CommandSpec(path, handler, tuple(aliases), limits, hidden))
            return function

        return add

    # -- events ----------------------------------------------------------------------------------

    def on(
        self,
        what: type[Event] | str | re.Pattern[str] = Message,
        *,
        where: Callable[[Any], bool] | None = None,
        emoji: str | None = None,
        to_own: bool = False,
        name: str | None = None,
        allow: Access = anyone,
        missed: Missed = RUN,
        timeout: float = TIMEOUT,
        tries: int = TRIES,
        concurrency: int | None = None,
        from_bots: bool = False,
    ) -> Callable[[F], F]:
        """A kind of event (`Message`, `Reaction`, `Edit`, `Join`, `Leave`, …), or a pattern.

        A pattern (a regular expression) is looked for in every message. `where` decides by the
        event; for a `Reaction`, `emoji` and `to_own` (on a message of the bot's) do.
        """
        options = Options(
            timeout=timeout,
            tries=tries,
            concurrency=concurrency,
            missed=missed,
            allow=allow,
            from_bots=from_bots,
        )
        pattern = re.compile(what) if isinstance(what, str | re.Pattern) else None
        kind: type[Event] = Message if isinstance(what, str | re.Pattern) else what
        if (emoji is not None or to_own) and kind is not Reaction:
            raise SetupError("`emoji` and `to_own` are for on(Reaction, …)")

        def fits(event: Any) -> bool:
            if emoji is not None and (event.emoji != emoji or event.withdrawn):
                return False
            return (not to_own or event.to_own) and (where is None or where(event))

        def add(function: F) -> F:
            self.handlers.append(
                Handler(
                    name_of(function, name),
                    function,
                    Kind.EVENT,
                    options,
                    event=kind,
                    where=fits,
                    pattern=pattern,
                )
            )
            return function

        return add

    def on_join_request(self, function: F) -> F:
        """Decide who is let in, where the bot may admit: `ctx.admit()`, `ctx.refuse()`, or later.

        With such a handler nobody whom the bot may admit gets in but by its word; without one,
        whoever bears the invite does. `async def decide(ctx, request: JoinRequest)`.
        """
        return self.on(JoinRequest)(function)

    # -- time ------------------------------------------------------------------------------------

    def every(
        self,
        period: str,
        *,
        overdue: str = "run-once",
        for_each_room: bool = True,
        name: str | None = None,
        timeout: float = TIMEOUT,
        tries: int = TRIES,
    ) -> Callable[[F], F]:
        """At even steps of time: `every("10m")`. Survives restarts; `overdue` says how."""
        return self._timer(Every(period), overdue, for_each_room, name, timeout, tries)

    def at(
        self,
        when: str,
        *,
        tz: str = "UTC",
        overdue: str = "run-once",
        for_each_room: bool = True,
        name: str | None = None,
        timeout: float = TIMEOUT,
        tries: int = TRIES,
    ) -> Callable[[F], F]:
        """At times of the clock: `at("weekdays 09:00", tz="Europe/Berlin")`, or a cron line."""
        cron = when.startswith("@") or (len(when.split()) == 5 and when[0] in "*0123456789")
        schedule = Cron(when, tz) if cron else At(when, tz)
        return self._timer(schedule, overdue, for_each_room, name, timeout, tries)

    def timer(
        self,
        *,
        name: str | None = None,
        overdue: str = "run-once",
        timeout: float = TIMEOUT,
        tries: int = TRIES,
    ) -> Callable[[F], F]:
        """A one-shot timer, set by `ctx.once(function, when, payload)` as often as is wanted."""
        return self._timer(None, overdue, True, name, timeout, tries)

    def _timer(
        self,
        schedule: Schedule | None,
        overdue: str,
        for_each_room: bool,
        name: str | None,
        timeout: float,
        tries: int,
    ) -> Callable[[F], F]:
        def add(function: F) -> F:
            options = Options(timeout=timeout, tries=tries)
            handler = Handler(name_of(function, name), function, Kind.TIMER, options)
            self.timers.append(TimerSpec(handler, schedule, Overdue.parse(overdue), for_each_room))
            return function

        return add

    # -- from outside ----------------------------------------------------------------------------

    def inbound(
        self, *, name: str | None = None, timeout: float = TIMEOUT, tries: int = TRIES
    ) -> Callable[[F], F]:
        """What comes from outside through an `Inbox`, once: `async def f(ctx, inbound: Inbound)`.

        What it sends and remembers is durable when `Inbox.deliver` returns.
        """

        def add(function: F) -> F:
            options = Options(timeout=timeout, tries=tries)
            handler = Handler(name_of(function, name), function, Kind.INBOUND, options)
            self.inbounds.append(handler)
            return function

        return add

    # -- around ----------------------------------------------------------------------------------

    def on_start(self, function: F) -> F:
        """Run when the bot has started, before it handles anything."""
        self.starts.append(Handler(name_of(function), function, Kind.START))
        return function

    def on_stop(self, function: F) -> F:
        """Run when the bot stops in order."""
        self.stops.append(Handler(name_of(function), function, Kind.STOP))
        return function

    def middleware(self, layer: M) -> M:
        """A layer around every handler, first ones outermost: `async def f(ctx, call_next)`."""
        self.middlewares.append(layer)
        return layer

    def resource(self, factory: R) -> R:
        """What makes a resource: handlers get it by naming its type.

        A function (or async function) that returns it, or an async generator that yields it once
        and ends it behind the `yield`. Its own parameters are resources too.
        """
        made = factory_of(factory)
        self.factories[made.kind] = made
        return factory

    def converter(self, kind: type[T], noun: str) -> Callable[[ConverterOf[T]], ConverterOf[T]]:
        """How words become a value of a type of yours: `def find(word, given) -> Service`.

        `noun` names it in help. Raise `BadValue` with a sentence for a word that is none.
        """

        def add(parse: ConverterOf[T]) -> ConverterOf[T]:
            self.converters.append(lambda known: known.add(kind, parse, noun=noun))
            return parse

        return add

    def include(self, group: Group, prefix: str = "") -> None:
        """Take over a group's handlers; with `prefix` its commands are `!prefix command`."""
        words = tuple(prefix.split())
        for command in group.commands:
            path = (*words, *command.path)
            handler = evolve(command.handler, name=".".join(path))
            self.commands.append(evolve(command, path=path, handler=handler))
        self.handlers += group.handlers
        self.timers += group.timers
        self.inbounds += group.inbounds
        self.middlewares += group.middlewares
        self.starts += group.starts
        self.stops += group.stops
        self.converters += group.converters
        self.factories.update(group.factories)


@define(eq=False)
class Bot(Group):
    """A bot by its name; `run` (or `ofc-bot run`) sets it going."""

    name: str = field()
    prefix: str = field(default="!", kw_only=True)
    """What a command begins with, unless a room's owners set another for it; calling the bot by its
    name works everywhere."""
    timezone: str = field(default="UTC", kw_only=True)
    """Where "9am" in a command is, unless a room's owners say otherwise: "Europe/Berlin"."""
    options: dict[str, Any] = field(factory=dict, kw_only=True, repr=False)
    """The table [bot.options] of its settings."""
    overrides: dict[type, object] = field(factory=dict, init=False, repr=False)
    tables_spec: TablesSpec | None = field(default=None, init=False)
    tables_limit: int = field(default=64, init=False)
    """How large its tables may be, in MiB; `tables_limit` of its settings."""
    outbound: Rate = field(default=Rate(60, 6_000), init=False)
    """What it may send in all; `outbound` of its settings."""

    def tables(self, metadata: MetaData, migrations: Sequence[Migration] = ()) -> None:
        """Give the bot tables of its own: handlers get at them as `ctx.tables`, or `Tables`.

        `metadata` is what they are now. `migrations` bring older ones there, in order, each a
        function of Alembic's operations; they are appended to, and never changed once released.
        """
        if self.tables_spec is not None:
            raise SetupError("a bot has one set of tables: put all of them into one MetaData")
        self.tables_spec = TablesSpec(metadata, tuple(migrations))

    def timer_of(self, function: Callable[..., object]) -> TimerSpec:
        """The timer that a function is; raises `SetupError`."""
        for spec in self.timers:
            if spec.handler.function is function:
                return spec
        raise SetupError("only a function under @bot.timer() can be set off later")

    def inbound_of(self, function: Callable[..., object]) -> Handler:
        """The handler of what comes from outside that a function is; raises `SetupError`."""
        for handler in self.inbounds:
            if handler.function is function:
                return handler
        raise SetupError("only a function under @bot.inbound() can be brought something")

    def override(self, kind: type, value: object) -> None:
        """Hand this out instead of the resource of that type: for tests."""
        self.overrides[kind] = value

    def run(self, config: str | None = None) -> int:
        """Run this bot until it is told to stop; returns the exit code. See docs/bots.md."""
        from bots.runner import run_bot  # the runner imports this module

        return run_bot(self, config)
