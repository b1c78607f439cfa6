"""The terminal's side of `ofc chat`: what is typed, and where what is said appears.

On a terminal the prompt stays at the bottom and everything else is printed above it. The prompt
(prompt_toolkit, which has an event loop of its own) runs in a worker thread; lines and keystrokes
come over to trio by `trio.from_thread`. Without a terminal, lines are read and lines are printed.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import AsyncIterator
from typing import Any, Final

import trio
from prompt_toolkit import PromptSession
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.formatted_text import FormattedText
from prompt_toolkit.history import InMemoryHistory
from prompt_toolkit.patch_stdout import patch_stdout

from ofcd.ofc.console import Fields, Input, Shape
from ofcd.ofc.errors import Report
from ofcd.ofc.output import HumanOutput, Terminal, make_output

__all__ = ["ChatScreen", "open_screen", "toolbar"]

_WAITING: Final = 64
_TYPING_SECONDS: Final = 4.0
"""How often at most others are told that this person types."""
_LINE_BYTES: Final = 64 * 1024


@contextlib.asynccontextmanager
async def open_screen(as_json: bool) -> AsyncIterator[tuple[Terminal, Input]]:
    """An output and what the person types, for one chat."""
    send, receive = trio.open_memory_channel[dict[str, Any]](_WAITING)
    if as_json or not (sys.stdin.isatty() and sys.stdout.isatty()):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_read_lines, send)
            yield make_output(as_json), receive
            nursery.cancel_scope.cancel()
        return
    with patch_stdout(raw=True):
        screen = ChatScreen(HumanOutput(sys.stdout, sys.stdout), send)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(screen.watch)
            nursery.start_soon(screen.prompt)
            yield screen, receive
            nursery.cancel_scope.cancel()


# -- without a terminal ----------------------------------------------------------------------------


async def _read_lines(send: trio.MemorySendChannel[dict[str, Any]]) -> None:
    """Standard input, line by line. A thread that waits for a line is left behind at the end."""
    async with send:
        while True:
            line = await trio.to_thread.run_sync(
                sys.stdin.readline, _LINE_BYTES, abandon_on_cancel=True
            )
            if not line:
                await send.send({"end": True})
                return
            await send.send({"line": line.rstrip("\n"), "cwd": os.getcwd()})


# -- on a terminal ---------------------------------------------------------------------------------


def toolbar(status: Fields) -> FormattedText:
    """The line under the prompt: the relay, who types, how far the last message has come."""
    parts: list[tuple[str, str]] = []
    if not status.get("online", True):
        parts.append(("class:offline", f" offline: {status.get('detail') or 'no link'} "))
    names = status.get("typing", ())
    if names:
        parts.append(("", f" {_listed(names)} typing… "))
    if status.get("delivery"):
        parts.append(("", f" {status['delivery']} "))
    if status.get("elsewhere"):
        parts.append(("", f" {status['elsewhere']} unread in other rooms "))
    return FormattedText(parts or [("", " ")])


def _listed(names: Any) -> str:
    if len(names) > 3:
        return f"{len(names)} people are"
    return f"{', '.join(names)} {'is' if len(names) == 1 else 'are'}"


class ChatScreen(Terminal):
    """A prompt with everything else printed above it."""

    def __init__(
        self,
        inner: HumanOutput,
        send: trio.MemorySendChannel[dict[str, Any]],
        session: PromptSession[str] | None = None,
    ) -> None:
        """`session` is for tests; `inner` must print above the prompt."""
        self._inner = inner
        self._send = send
        self._status: Fields = {}
        self._closing = False
        self._told_typing = float("-inf")
        self._session: PromptSession[str] = session or PromptSession(
            history=InMemoryHistory(), reserve_space_for_menu=0
        )
        self._session.app.erase_when_done = True
        self._session.bottom_toolbar = lambda: toolbar(self._status)
        self._session.default_buffer.on_text_changed += self._keystroke

    # -- output ----------------------------------------------------------------------------------

    async def record(self, shape: Shape, fields: Fields) -> None:
        """Print it, or change the line under the prompt."""
        if shape is Shape.STATUS:
            self._status = dict(fields)
            self._session.app.invalidate()
        elif shape is Shape.QUIT:
            self._leave()
        else:
            await self._inner.record(shape, fields)

    async def note(self, text: str) -> None:
        """Print it."""
        await self._inner.note(text)

    async def progress(self, what: str, done: int, total: int) -> None:
        """The prompt has the last lines of the screen: only the end is told."""
        if done >= total:
            await self._inner.note(f"{what}: done")

    def finish(self) -> None:
        """Nothing is held back."""
        self._inner.finish()

    def error(self, report: Report) -> None:
        """Print it."""
        self._inner.error(report)

    # -- input -----------------------------------------------------------------------------------

    async def prompt(self) -> None:
        """Send what is typed, until Ctrl-C, Ctrl-D or the end of the chat."""
        async with self._send:
            with contextlib.suppress(EOFError, KeyboardInterrupt):
                while not self._closing:
                    line = await trio.to_thread.run_sync(self._ask)
                    await self._send.send({"line": line, "cwd": os.getcwd()})
            await self._send.send({"end": True})

    async def watch(self) -> None:
        """Give the terminal back when the chat is cancelled: no thread is left at the prompt."""
        try:
            await trio.sleep_forever()
        finally:
            self._leave()

    def _ask(self) -> str:
        return self._session.prompt("> ", pre_run=self._check)

    def _check(self) -> None:
        if self._closing:
            self._session.app.exit(exception=EOFError())

    def _leave(self) -> None:
        self._closing = True
        app = self._session.app
        if app.loop is not None and not app.loop.is_closed():
            app.loop.call_soon_threadsafe(self._exit)

    def _exit(self) -> None:
        app = self._session.app
        if app.is_running and not app.is_done:
            app.exit(exception=EOFError())

    def _keystroke(self, buffer: Buffer) -> None:
        """In the prompt's thread: tell that somebody types, now and then, but not of commands."""
        if not buffer.text or buffer.text.startswith("/"):
            return
        with contextlib.suppress(trio.RunFinishedError, RuntimeError):
            trio.from_thread.run_sync(self._typing)

    def _typing(self) -> None:
        now = trio.current_time()
        if now - self._told_typing >= _TYPING_SECONDS:
            self._told_typing = now
            with contextlib.suppress(trio.WouldBlock, trio.BrokenResourceError):
                self._send.send_nowait({"typing": True})
