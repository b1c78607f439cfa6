"""`ofc`: rooms for people in a terminal. This module is the way in and out of the process."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from functools import partial
from typing import Final, TextIO

import trio

from ofcd.client import VaultExists, VaultUnwritable
from ofcd.errors import OfcError
from ofcd.ofc.commands.exporting import ExportOptions
from ofcd.ofc.commands.inviting import SERVE
from ofcd.ofc.console import Input, Output
from ofcd.ofc.errors import EXIT_INTERRUPTED, EXIT_OK, UsageError, report_of
from ofcd.ofc.held import Interrupted
from ofcd.ofc.inputs import no_input
from ofcd.ofc.output import HumanOutput, JsonOutput, Terminal, make_output
from ofcd.ofc.parser import Invocation, parse, wants_json
from ofcd.ofc.runner import run
from ofcd.ofc.text import moment

__all__ = ["main"]

EXIT_PIPE: Final = 1
_ENDS_SO: Final = (SERVE.name, "chat")
"""Commands that Ctrl-C ends as it should be."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line; returns the exit code (errors.EXITS)."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    try:
        invocation = parse(_text(words))
    except UsageError as error:
        return _complain(make_output(wants_json(words)), error)
    code = EXIT_PIPE
    try:
        code = trio.run(_main, invocation)
    except* KeyboardInterrupt:
        code = EXIT_INTERRUPTED
    except* BrokenPipeError:
        # Who read our output has gone: not worth a word, but Python would say one at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return code


def _text(words: Sequence[str]) -> Sequence[str]:
    """The words, if they are text: what is not UTF-8 comes as halves of characters."""
    try:
        "".join(words).encode("utf-8")
    except UnicodeEncodeError:
        raise UsageError("the command line is not UTF-8 text") from None
    return words


async def _main(invocation: Invocation) -> int:
    terminal = make_output(invocation.as_json)
    try:
        await run(invocation, terminal, partial(_front, invocation))
    except OfcError as error:
        return _complain(terminal, error)
    except BaseExceptionGroup as group:
        return _complain(terminal, _only(group))
    except Interrupted as interrupted:
        if invocation.command.name == SERVE.name:  # nobody may be looking: let its log say why
            await terminal.note(f"Ended by {interrupted}. ({moment(time.time_ns() // 1_000_000)})")
        return EXIT_OK if invocation.command.name in _ENDS_SO else EXIT_INTERRUPTED
    return EXIT_OK


def _complain(terminal: Terminal, error: OfcError) -> int:
    report = report_of(error)
    terminal.error(report)
    return report.exit


def _only(group: BaseExceptionGroup[BaseException]) -> OfcError:
    """The error of ours in a group of nothing else; other groups go on as they are."""
    ours, others = group.split(OfcError)
    if others is not None or ours is None:
        raise group
    error: OfcError | BaseExceptionGroup[OfcError] = ours
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


@contextlib.asynccontextmanager
async def _front(invocation: Invocation) -> AsyncIterator[tuple[Output, Input]]:
    """Where the command's output goes, and what the person types."""
    options = invocation.options
    if invocation.command.interactive:
        from ofcd.ofc.screen import open_screen  # a tenth of a second that only chats need

        async with open_screen(invocation.as_json) as sides:
            yield sides
    elif isinstance(options, ExportOptions):
        with _export_to(options) as file:
            yield _exporter(options, file), no_input()
    else:
        terminal = make_output(invocation.as_json, expects=invocation.command.expects)
        yield terminal, no_input()
        terminal.finish()


def _exporter(options: ExportOptions, file: TextIO) -> Terminal:
    if options.format == "json":
        return JsonOutput(file, sys.stderr)
    return HumanOutput(file, sys.stderr)


@contextlib.contextmanager
def _export_to(options: ExportOptions) -> Iterator[TextIO]:
    """Standard output, or a new file that only its owner can read."""
    if options.output is None:
        yield sys.stdout
        return
    try:
        opened = os.open(options.output, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise VaultExists(f"there already is a file at {options.output}") from None
    except OSError as error:
        raise VaultUnwritable(f"{options.output} can not be written ({error.strerror})") from error
    with os.fdopen(opened, "w", encoding="utf-8") as file:
        try:
            yield file
        finally:
            if not file.tell():  # nothing was exported: the name stays free for the next try
                os.unlink(options.output)


if __name__ == "__main__":
    sys.exit(main())
