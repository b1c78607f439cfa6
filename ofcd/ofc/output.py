"""What `ofc` prints: JSON lines for scripts, aligned text for people.

Results go to standard output; notes, progress and errors to standard error. Colour and redrawn
progress bars only on a terminal; NO_COLOR is respected.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator
from functools import partial
from typing import Final, TextIO

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn
from rich.progress import TransferSpeedColumn as Speed

from ofcd.ofc.console import Fields, Output, Shape
from ofcd.ofc.errors import OutputLost, Report
from ofcd.ofc.layout import Line, Transcript, lines_of, table

__all__ = ["HumanOutput", "JsonOutput", "Terminal", "make_output"]

_TABLES: Final = frozenset({Shape.ROOM, Shape.MEMBER})
_FOR_PEOPLE: Final = frozenset({Shape.TITLE, Shape.MARK, Shape.STATUS, Shape.QUIT})
_SHOWN_ONLY: Final = frozenset({"did", "mentioned", "qr"})
"""Fields that say how an object is shown to people."""
_EMPTY: Final = {
    Shape.ROOM: "No rooms yet. Make one with `ofc create NAME`, or join one with `ofc join LINK`.",
}


class Terminal(Output):
    """An `Output` of this process; `finish` prints what was held back, `error` says what failed."""

    def finish(self) -> None:
        """The command is through."""

    def error(self, report: Report) -> None:
        """The command failed."""


class JsonOutput(Terminal):
    """One object a line; notes and errors are objects too, on standard error."""

    def __init__(self, out: TextIO, err: TextIO) -> None:
        self._out = out
        self._err = err

    async def record(self, shape: Shape, fields: Fields) -> None:
        """Print the object at once: a script may be waiting for it."""
        if shape not in _FOR_PEOPLE:
            _write(self._out, {k: v for k, v in fields.items() if k not in _SHOWN_ONLY})

    async def note(self, text: str) -> None:
        """Print {"note": …}."""
        _write(self._err, {"note": text})

    async def progress(self, what: str, done: int, total: int) -> None:
        """Scripts are not shown progress."""

    def error(self, report: Report) -> None:
        """Print {"error": code, "message": …}."""
        _write(self._err, {"error": report.code, "message": report.message})


def _write(stream: TextIO, fields: Fields) -> None:
    with _said_where_it_fails():
        stream.write(json.dumps(fields, ensure_ascii=False) + "\n")
        stream.flush()


@contextlib.contextmanager
def _said_where_it_fails() -> Iterator[None]:
    """A full disk under `> FILE` ends in a sentence; a reader that went away, as cli.py says."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputLost(f"the output can not be written ({error.strerror})") from error


class HumanOutput(Terminal):
    """Text for people."""

    def __init__(self, out: TextIO, err: TextIO, *, expects: Shape | None = None) -> None:
        """`expects`: the table that is said to be empty if no row of it comes."""
        self._out = _console(out)
        self._err = _console(err)
        self._rows: dict[Shape, list[Fields]] = {} if expects is None else {expects: []}
        self._transcript = Transcript(width=self._out.width if self._out.is_terminal else None)
        self._bar: Progress | None = None
        self._tasks: dict[str, TaskID] = {}

    async def record(self, shape: Shape, fields: Fields) -> None:
        """Print the object as text; rows of a table wait for the last one."""
        if shape in _TABLES:
            self._rows.setdefault(shape, []).append(fields)
            return
        self._stop_bar()
        made = self._transcript.lines if shape is Shape.EVENT else partial(lines_of, shape)
        self._print(self._out, made(fields))

    async def note(self, text: str) -> None:
        """Print it on standard error."""
        self._stop_bar()
        self._print(self._err, [Line.words(line, "dim") for line in text.split("\n")])

    async def progress(self, what: str, done: int, total: int) -> None:
        """Redraw the bar, on a terminal."""
        if not self._err.is_terminal:
            return
        if self._bar is None:
            self._bar = _progress(self._err)
            self._bar.start()
        if what not in self._tasks:
            self._tasks[what] = self._bar.add_task(what, total=total)
        self._bar.update(self._tasks[what], completed=done)

    def finish(self) -> None:
        """Print the tables."""
        self._stop_bar()
        for shape, rows in self._rows.items():
            if rows:
                self._print(self._out, table(shape, rows))
            elif shape in _EMPTY:
                self._print(self._err, [Line.words(_EMPTY[shape], "dim")])
        self._rows.clear()

    def error(self, report: Report) -> None:
        """Print the sentence on standard error."""
        self.finish()
        self._print(self._err, [Line.words("ofc: ", "bold red").add(report.message)])

    def _print(self, console: Console, lines: list[Line]) -> None:
        with _said_where_it_fails():
            for line in lines:
                console.print(line.text(), soft_wrap=not (line.prose and console.is_terminal))

    def _stop_bar(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
            self._tasks.clear()


def make_output(as_json: bool, *, expects: Shape | None = None) -> Terminal:
    """The output of this process, on its standard streams."""
    if as_json:
        return JsonOutput(sys.stdout, sys.stderr)
    return HumanOutput(sys.stdout, sys.stderr, expects=expects)


def _console(stream: TextIO) -> Console:
    return _Console(file=stream, highlight=False, markup=False, emoji=False)


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Who read our output has gone: cli.py knows what to do, and rich would exit here."""
        raise BrokenPipeError


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        Speed(),
        console=console,
        transient=True,
    )
