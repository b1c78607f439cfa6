"""One command: its name, its grammar, its help."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from attrs import field, frozen

from bots.commands.converters import Converters, Given
from bots.commands.docs import Docs, read_docs
from bots.commands.errors import SignatureError, UsageError
from bots.commands.parsing import parse_line
from bots.commands.signature import Injected, Parameter, Signature, read_signature
from bots.commands.words import fold

__all__ = ["Command"]

_NAME: Final = re.compile(r"[^\W_][\w.-]{0,31}")


@frozen
class Command:
    """A function that members call by its name. Make one with `Command.from_function`."""

    function: Callable[..., Any]
    path: tuple[str, ...]
    """Its groups and its name: ("remind", "list") is typed `!remind list`."""
    aliases: tuple[str, ...]
    """Other last words of its path."""
    signature: Signature = field(repr=False)
    docs: Docs = field(repr=False)
    hidden: bool = False
    """Left out of listings and suggestions."""
    extra: Mapping[str, Any] = field(factory=dict, repr=False)
    """Whatever a bot wants to keep with it."""

    @classmethod
    def from_function(
        cls,
        function: Callable[..., Any],
        name: str | None = None,
        aliases: Sequence[str] = (),
        group: str | Sequence[str] | None = None,
        *,
        inject: Injected = (),
        converters: Converters | None = None,
        hidden: bool = False,
        namespace: Mapping[str, Any] | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> Command:
        """Make a command of a function, whose parameters are its grammar and docstring its help.

        `name` is the function's, with dashes, unless given. `group` is the words before it:
        "remind". Parameters whose type is in `inject` (or for which it returns true), those
        annotated `Annotated[X, Inject()]`, and a first one called `ctx` or without annotation are
        filled in by the bot. `namespace` holds names that annotations use besides their module's.

        Raises:
            SignatureError: A name or a parameter can not be typed on a line.
        """
        words = group.split() if isinstance(group, str) else tuple(group or ())
        last = name if name is not None else function.__name__.strip("_").replace("_", "-")
        docs = read_docs(function.__doc__)
        return cls(
            function,
            tuple(_checked_name(word) for word in (*words, last)),
            tuple(_checked_name(alias) for alias in aliases),
            read_signature(function, converters or Converters(), inject, docs, namespace),
            docs,
            hidden,
            dict(extra or {}),
        )

    @property
    def name(self) -> str:
        """All words of its path."""
        return " ".join(self.path)

    @property
    def injected(self) -> Mapping[str, Any]:
        """The parameters that the bot fills in, by name: their types; None for the context."""
        return self.signature.injected

    @property
    def summary(self) -> str:
        """The docstring's first line."""
        return self.docs.summary

    def parse(self, line: str, given: Given) -> dict[str, Any] | UsageError:
        """Read what stands behind the name: a value for each typed parameter, or what is wrong."""
        return parse_line(self.signature, line, given)

    def bind(
        self, values: Mapping[str, Any], injected: Mapping[str, Any]
    ) -> inspect.BoundArguments:
        """Put typed and injected values together: call `function(*bound.args, **bound.kwargs)`.

        Raises:
            SignatureError: An injected parameter without a default is missing.
        """
        bound = inspect.BoundArguments(self.signature.python, {})
        for name in self.signature.python.parameters:
            if name in values:
                bound.arguments[name] = values[name]
            elif name in injected:
                bound.arguments[name] = injected[name]
            elif self.signature.python.parameters[name].default is inspect.Parameter.empty:
                raise SignatureError(f"{self.name}: nothing was injected for {name}")
        bound.apply_defaults()
        return bound

    def usage(self, prefix: str = "!") -> str:
        """Return its usage line: "!roll <dice> [times] [--secret]"."""
        return f"{prefix}{self.name} {self.signature.usage}".strip()

    def help(self, prefix: str = "!") -> str:
        """Return its help: usage, docstring, parameters and aliases, as plain text."""
        lines = [self.usage(prefix)]
        lines += [text for text in (self.docs.summary, self.docs.details) if text]
        described = [_describe(one) for one in self.signature.parameters]
        lines += [f"  {text}" for text in described if text]
        if self.aliases:
            names = (" ".join((*self.path[:-1], alias)) for alias in self.aliases)
            lines.append("Also: " + ", ".join(f"{prefix}{name}" for name in names))
        return "\n".join(lines)


def _checked_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise SignatureError("a command's name is one word of letters, digits, dots and dashes")
    return fold(name)


def _describe(parameter: Parameter) -> str:
    """One line on a parameter: its help, its bounds and its default, where there are any."""
    facts = [one.hint for one in (*parameter.constraints, *parameter.total) if one.hint]
    if parameter.choices and parameter.converter.noun != "yes or no":
        facts.append("one of " + ", ".join(parameter.choices))
    if not parameter.required and parameter.default not in (None, (), [], False, ""):
        facts.append(f"else {_plain(parameter.default)}")
    text = "; ".join([part for part in (parameter.help.rstrip("."), *facts) if part])
    return f"{parameter.label}: {text}" if text else ""


def _plain(default: Any) -> str:
    if isinstance(default, bool):
        return "yes" if default else "no"
    value = getattr(default, "value", default)  # of an enum
    return value if isinstance(value, str) else str(value)
