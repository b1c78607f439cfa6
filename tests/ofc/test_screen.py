"""The terminal's side of the chat: keys in, lines out, and the terminal given back at the end."""

from __future__ import annotations

import io
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from attrs import define
from prompt_toolkit import PromptSession
from prompt_toolkit.application import create_app_session
from prompt_toolkit.input import PipeInput, create_pipe_input
from prompt_toolkit.output import DummyOutput

from ofcd.ofc.console import Shape
from ofcd.ofc.output import HumanOutput
from ofcd.ofc.screen import ChatScreen, open_screen, toolbar


@define
class Terminal:
    """A screen, its keyboard, and what comes out at the other end."""

    screen: ChatScreen
    keyboard: PipeInput
    arrived: trio.MemoryReceiveChannel[dict[str, Any]]
    printed: io.StringIO

    async def next(self) -> dict[str, Any]:
        with trio.fail_after(10):
            return await self.arrived.receive()

    async def next_line(self) -> str:
        while "line" not in (given := await self.next()):
            pass
        return str(given["line"])


@pytest.fixture
def keyboard() -> Iterator[PipeInput]:
    with create_pipe_input() as made, create_app_session(input=made, output=DummyOutput()):
        yield made


@asynccontextmanager
async def terminal(keyboard: PipeInput) -> AsyncIterator[Terminal]:
    send, receive = trio.open_memory_channel[dict[str, Any]](50)
    printed = io.StringIO()
    session: PromptSession[str] = PromptSession(input=keyboard, output=DummyOutput())
    screen = ChatScreen(HumanOutput(printed, printed), send, session)
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(screen.watch)
            nursery.start_soon(screen.prompt)
            yield Terminal(screen, keyboard, receive, printed)
            nursery.cancel_scope.cancel()


async def test_lines_come_over_with_the_persons_directory(keyboard: PipeInput) -> None:
    """One after the other, as typed."""
    async with terminal(keyboard) as seen:
        keyboard.send_text("hello there\r")
        assert await seen.next_line() == "hello there"
        keyboard.send_text("grüß 👋\r")
        assert await seen.next_line() == "grüß 👋"
        keyboard.send_text("x\r")
        while "cwd" not in (given := await seen.next()):
            pass
        assert given["cwd"].startswith("/")


async def test_others_are_told_of_typing_but_not_of_commands(keyboard: PipeInput) -> None:
    """At most once in a few seconds."""
    async with terminal(keyboard) as seen:
        keyboard.send_text("/help\r")
        assert "line" in await seen.next()
        keyboard.send_text("h")
        assert await seen.next() == {"typing": True}
        keyboard.send_text("ello\r")
        assert (await seen.next())["line"] == "hello"


@pytest.mark.parametrize("key", ["\x03", "\x04"], ids=["Ctrl-C", "Ctrl-D"])
async def test_keys_that_end_it(key: str, keyboard: PipeInput) -> None:
    """The command is told, and ends the chat."""
    async with terminal(keyboard) as seen:
        keyboard.send_text(key)
        assert await seen.next() == {"end": True}


async def test_when_the_chat_ends_so_does_the_prompt(keyboard: PipeInput) -> None:
    """No thread waits at the terminal: else the shell would fight with it for keys."""
    async with terminal(keyboard) as seen:
        keyboard.send_text("hi\r")
        await seen.next_line()
        await seen.screen.record(Shape.QUIT, {})
        assert await seen.next() == {"end": True}
        with pytest.raises(trio.EndOfChannel):
            await seen.next()


async def test_cancelled_while_somebody_types(keyboard: PipeInput) -> None:
    """The block is left within the time allowed."""
    async with terminal(keyboard) as seen:
        keyboard.send_text("half a sen")
        assert await seen.next() == {"typing": True}


async def test_what_is_said_is_printed_and_status_is_not(keyboard: PipeInput) -> None:
    """Status is the line under the prompt."""
    async with terminal(keyboard) as seen:
        await seen.screen.note("a note")
        await seen.screen.record(Shape.STATUS, {"typing": ["Bo"]})
        await seen.screen.record(Shape.PROBLEM, {"text": "no such thing"})
        await seen.screen.progress("a.png", 1, 2)
        await seen.screen.progress("a.png", 2, 2)
        assert seen.printed.getvalue() == "a note\nno such thing\na.png: done\n"


@pytest.mark.parametrize(
    ("status", "shown"),
    [
        ({}, ""),
        ({"typing": ["Bo"]}, "Bo is typing…"),
        ({"typing": ["Bo", "Cy"]}, "Bo, Cy are typing…"),
        ({"typing": ["Bo", "Cy", "Di", "Ed"]}, "4 people are typing…"),
        ({"online": False, "detail": "no route"}, "offline: no route"),
        ({"delivery": "#7 delivered to Bo"}, "#7 delivered to Bo"),
        ({"online": True, "elsewhere": 3}, "3 unread in other rooms"),
    ],
)
def test_the_line_under_the_prompt(status: dict[str, Any], shown: str) -> None:
    """Only what is worth a glance."""
    assert "".join(piece[1] for piece in toolbar(status)).strip() == shown


async def test_without_a_terminal_lines_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """From standard input, until it ends."""
    monkeypatch.setattr(sys, "stdin", io.StringIO("one\n/quit\n"))
    async with open_screen(as_json=True) as (_, inputs):
        with trio.fail_after(10):
            found = [given async for given in inputs]
    assert [given.get("line") for given in found] == ["one", "/quit", None]
    assert found[-1] == {"end": True}
