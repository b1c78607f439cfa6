"""What a command is: its words on the command line, its options, and the function that does it."""

from __future__ import annotations

import argparse
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import attrs
from attrs import field, frozen

from ofcd.ofc.console import Output, Shape
from ofcd.ofc.context import Context

__all__ = ["DEFAULT_TIMEOUT", "Command", "Local", "Options", "options_of"]

DEFAULT_TIMEOUT: Final = 30
"""Seconds that a command which does one thing waits for the relay."""


@frozen(kw_only=True)
class Options:
    """What every command takes.

    Only texts, whole numbers, flags and lists of texts: it crosses the agent's socket as JSON.
    """

    relay: str | None = None
    timeout: int | None = None
    """Seconds; None for the command's own default."""


@frozen
class Local:
    """What a command on the vault's file works with."""

    vault: Path
    passphrase_file: str | None
    output: Output


def _no_arguments(parser: argparse.ArgumentParser) -> None:
    """A command without arguments of its own."""


def _no_reading(options: Any) -> Any:
    return options


@frozen
class Command:
    """One subcommand of `ofc`."""

    name: str
    summary: str
    examples: tuple[str, ...]
    options: type[Options]
    run: Callable[[Context, Any], Awaitable[None]] | None = None
    """Given the client; in this process, or in the one that has the vault open."""
    arguments: Callable[[argparse.ArgumentParser], None] = _no_arguments
    localise: Callable[[Any], Any] = _no_reading
    """Runs where the person is, before the command is handed over: standard input, paths."""
    timeout: int | None = DEFAULT_TIMEOUT
    """None: waits without limit unless `--timeout` is given."""
    lasts: Callable[[Any], bool] = field(default=lambda _: False)
    """Whether it runs until it is stopped: then it serves other commands meanwhile."""
    goes_on: bool = False
    """Whether it begins again, in a process of its own, when the one that ran it ends."""
    creates_vault: bool = False
    """Whether it may be somebody's first command."""
    if_late: Callable[[Any], str] = field(default=lambda _: "")
    """What the person should know when the time is up."""
    local: Callable[[Local, Any], Awaitable[None]] | None = None
    """Done on the vault's file itself, with nobody else using it; then `run` is not."""
    expects: Shape | None = None
    """The table it prints, to say so when it is empty."""
    interactive: bool = False
    """Whether a person types while it runs."""
    details: str = ""
    """More of its help."""


def options_of(command: Command, namespace: argparse.Namespace) -> Options:
    """The command's options, from what was parsed."""
    known = attrs.fields_dict(command.options)
    given: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in vars(namespace).items()
        if name in known
    }
    return command.options(**given)
