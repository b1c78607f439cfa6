"""All commands of a bot: finding the one a message calls, and help about them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeVar, overload

from attrs import field, frozen

from bots.commands.command import Command
from bots.commands.constraints import near_words
from bots.commands.converters import Converters, Given
from bots.commands.errors import Problem, SignatureError, UsageError
from bots.commands.signature import Injected
from bots.commands.words import fold, shown

__all__ = ["Commands", "Found", "Invocation", "May", "NotACommand", "Unknown", "Usage", "everybody"]

F = TypeVar("F", bound=Callable[..., Any])
May = Callable[[Command], bool]
"""Whether who asks may use a command."""

_MAX_NAME: Final = 64


def everybody(command: Command) -> bool:
    """Let everybody use every command."""
    return True


@frozen
class Invocation:
    """A command is called, and its arguments are fine."""

    command: Command
    arguments: Mapping[str, Any] = field(repr=False)
    """By the function's parameters; those to be injected are not among them."""

    def call(self, injected: Mapping[str, Any]) -> Any:
        """Call the function; for an `async def` this returns what to await."""
        bound = self.command.bind(self.arguments, injected)
        return self.command.function(*bound.args, **bound.kwargs)


@frozen
class NotACommand:
    """The message calls no command."""

    addressed: bool = False
    """Whether it is the bot's name and nothing else."""


@frozen
class Unknown:
    """A command is called that there is not, or that who calls may not know of."""

    name: str = field(repr=False)
    suggestions: tuple[str, ...] = ()
    """Full names of commands it may be a slip of, best first; only those the caller may use."""
    prefix: str = "!"

    @property
    def text(self) -> str:
        """What to answer: one line. Without suggestions it may be meant for another bot."""
        said = f"There is no command {shown(self.name)}"
        if not self.suggestions:
            return f"{said}."
        return f"{said}: did you mean {' or '.join(self.prefix + one for one in self.suggestions)}?"


@frozen
class Usage:
    """A command is called in a way it does not understand."""

    error: UsageError
    usage: str
    """The usage line of the command or, for a group, its subcommands."""
    command: Command | None = None
    """None where a group was called without a subcommand."""

    @property
    def text(self) -> str:
        """What to answer: what was wrong and how it is done, in one line."""
        return f"{self.error.sentence}. Usage: {self.usage}".replace("\n", " ")


Found = Invocation | NotACommand | Unknown | Usage


class Commands:
    """A bot's commands.

    ```python
    commands = Commands()

    @commands.command(aliases=["r"])
    async def roll(ctx, dice: Annotated[str, Match(r"[0-9]{1,3}d[0-9]{1,4}", "such as 2d6")]):
        '''Roll dice.'''

    match commands.find("!roll 2d6", given=Given(now_ms)):
        case Invocation() as call: await call.call({"ctx": ctx})
        case Usage() | Unknown() as wrong: await ctx.reply(wrong.text)
    ```
    """

    def __init__(self, converters: Converters | None = None, inject: Injected = ()) -> None:
        """`converters` and `inject` are those of every command made here."""
        self.converters = converters or Converters()
        self._inject = inject
        self._by_path: dict[tuple[str, ...], Command] = {}
        self._groups: dict[tuple[str, ...], str] = {}

    def __iter__(self) -> Iterator[Command]:
        """Go through all commands, by name."""
        unique = {command.path: command for command in self._by_path.values()}
        return iter([unique[path] for path in sorted(unique)])

    # ------------------------------------------------------------ adding

    @overload
    def command(self, function: F, /) -> F: ...

    @overload
    def command(
        self,
        name: str | None = None,
        /,
        *,
        aliases: Sequence[str] = (),
        group: str | Sequence[str] | None = None,
        hidden: bool = False,
    ) -> Callable[[F], F]: ...

    def command(
        self,
        name: str | Callable[..., Any] | None = None,
        /,
        *,
        aliases: Sequence[str] = (),
        group: str | Sequence[str] | None = None,
        hidden: bool = False,
    ) -> Callable[..., Any]:
        """Decorate a function as a command; it stays the function it is."""

        def decorate(function: F) -> F:
            named = name if isinstance(name, str) else None
            self.add_function(function, named, aliases, group, hidden=hidden)
            return function

        return decorate(name) if callable(name) else decorate

    def add_function(
        self,
        function: Callable[..., Any],
        name: str | None = None,
        aliases: Sequence[str] = (),
        group: str | Sequence[str] | None = None,
        **more: Any,
    ) -> Command:
        """Make a command of a function, as `Command.from_function` does, and add it."""
        more = {"inject": self._inject, "converters": self.converters, **more}
        command = Command.from_function(function, name, aliases, group, **more)
        self.add(command)
        return command

    def add(self, command: Command) -> None:
        """Add a command.

        Raises:
            SignatureError: One of its names is taken; then none of them is added.
        """
        paths = [command.path, *((*command.path[:-1], alias) for alias in command.aliases)]
        for path in paths:
            if path in self._by_path or paths.count(path) > 1:
                raise SignatureError(f"there are two commands called {' '.join(path)}")
        self._by_path.update(dict.fromkeys(paths, command))
        for depth in range(1, len(command.path)):
            self._groups.setdefault(command.path[:depth], "")

    def describe_group(self, group: str, summary: str) -> None:
        """Say in one line what a group is for; its help shows it."""
        self._groups[tuple(fold(group).split())] = summary

    # ------------------------------------------------------------ finding

    def find(
        self,
        text: str,
        prefix: str | Sequence[str] = "!",
        mention: Sequence[str] = (),
        *,
        given: Given,
        may: May = everybody,
    ) -> Found:
        """Find what a message calls. Whatever it holds, this returns one of the four kinds.

        A command begins with `prefix` (or one of several; "" in a room with the bot alone), or
        with a name of the bot in `mention`: "@bot roll 2d6", "bot: roll 2d6". `may` hides from
        suggestions what the caller may not use; refusing the call is up to the bot.
        """
        prefixes = (prefix,) if isinstance(prefix, str) else tuple(prefix)
        addressed = _after_mention(text, mention)
        line = addressed if addressed is not None else _after_prefix(text, prefixes)
        if line is None:
            return NotACommand()
        if addressed is not None:
            line = _after_prefix(line, prefixes) or line
        if not line.strip():
            return NotACommand(addressed=addressed is not None)
        return self._find(line, prefixes[0] if prefixes else "", given, may)

    def _find(self, line: str, prefix: str, given: Given, may: May) -> Found:
        path, rest = self._longest_path(line)
        if command := self._by_path.get(path):
            parsed = command.parse(rest, given)
            if isinstance(parsed, UsageError):
                return Usage(parsed, command.usage(prefix), command)
            return Invocation(command, parsed)
        if path and not rest.strip():
            return self._needs_subcommand(path, prefix, may)
        word = rest.split(None, 1)[0][:_MAX_NAME]
        return Unknown(" ".join((*path, word)), self._suggest(word, path, may), prefix)

    def _longest_path(self, line: str) -> tuple[tuple[str, ...], str]:
        """Return the longest start of `line` that names a command or a group, and what follows.

        Words that name a group but no command in it belong to the command that is called as the
        group is, where there is one.
        """
        path: tuple[str, ...] = ()
        best: tuple[tuple[str, ...], str] | None = None
        rest = line.lstrip()
        while rest:
            word = re.split(r"\s", rest[: _MAX_NAME + 1], maxsplit=1)[0]
            longer = (*path, fold(word))
            if longer not in self._by_path and longer not in self._groups:
                break
            path, rest = longer, rest[len(word) :].lstrip()
            if path in self._by_path:
                best = path, rest
        return best or (path, rest)

    def _needs_subcommand(self, group: tuple[str, ...], prefix: str, may: May) -> Usage:
        inside = [one for one in self._visible(may) if one.path[: len(group)] == group]
        names = tuple(dict.fromkeys(one.path[len(group)] for one in inside))
        name = " ".join(group)
        error = UsageError(Problem.NO_SUBCOMMAND, f"{name} needs a subcommand", None, names)
        return Usage(error, f"{prefix}{name} {'|'.join(names)}".rstrip())

    def _suggest(self, word: str, group: tuple[str, ...], may: May) -> tuple[str, ...]:
        """Return what `word`, typed after `group`, may be a slip of."""
        depth = len(group)
        known: dict[str, str] = {}
        for path, command in self._by_path.items():
            if may(command) and not command.hidden and path[:depth] == group != path:
                leads_to = command.path if len(path) == depth + 1 else path[: depth + 1]
                known[path[depth]] = " ".join(leads_to)
        close = near_words(fold(word), tuple(known))
        return tuple(dict.fromkeys(known[one] for one in close))

    def _visible(self, may: May) -> list[Command]:
        return [command for command in self if not command.hidden and may(command)]

    # ------------------------------------------------------------ help

    def listing(self, prefix: str = "!", may: May = everybody) -> str:
        """Return a line for each command that the caller may use."""
        lines = (
            f"{command.usage(prefix)}" + (f" \u2014 {command.summary}" if command.summary else "")
            for command in self._visible(may)
        )
        return "\n".join(lines) or "There are no commands for you here."

    def help(self, topic: str = "", prefix: str = "!", may: May = everybody) -> str:
        """Return help on a command or a group, by any of its names; on all where there is none.

        What the caller may not use looks as if it were not there.
        """
        if not topic.strip():
            return self.listing(prefix, may)
        path = tuple(fold(word) for word in topic.removeprefix(prefix).split()[:8])
        command = self._by_path.get(path)
        inside = [one for one in self._visible(may) if one.path[: len(path)] == path]
        if command is not None and may(command):
            others = [one.usage(prefix) for one in inside if one is not command]
            return "\n".join([command.help(prefix), *others])
        if inside:
            lines = [self._groups.get(path, ""), *(one.usage(prefix) for one in inside)]
            return "\n".join(line for line in lines if line)
        return Unknown(topic, self._suggest(topic[:_MAX_NAME], (), may), prefix).text


def _after_prefix(text: str, prefixes: Sequence[str]) -> str | None:
    """Return what follows a prefix, if that looks like a command: "!!!" and "! no" do not."""
    for prefix in sorted(prefixes, key=len, reverse=True):
        if not text.startswith(prefix):
            continue
        rest = text[len(prefix) :]
        if prefix[-1:].isalnum():  # a word: "bot roll", but not "bottle"
            if not rest[:1].isspace():
                continue
            rest = rest.lstrip()
        if rest[:1].isalnum():
            return rest
    return None


def _after_mention(text: str, names: Sequence[str]) -> str | None:
    """Return what follows the bot's name: "@bot roll", "bot: roll", "bot, roll", or "@bot"."""
    start = text.lstrip()
    for name in filter(None, names):
        has_at = start.startswith("@")
        rest = start[has_at:]
        if rest[: len(name)].casefold() != name.casefold():
            continue
        rest = rest[len(name) :]
        if rest[:1] in (":", ","):
            return rest[1:].strip()
        if has_at and (not rest or rest[0].isspace()):
            return rest.strip()
    return None
