"""One process has the vault open; others hand it their commands over a real Unix socket."""

from __future__ import annotations

import json
import os
import socket
import stat
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from ofcd.client.errors import NotAllowed
from ofcd.ofc.agent import LINE_BYTES, Agent, Request, connect, hand_over, socket_path
from ofcd.ofc.console import Input, Output, Shape
from ofcd.ofc.errors import AgentBusy, AgentGone, CommandError, Told
from ofcd.ofc.inputs import no_input
from tests.ofc.people import Recorder

Handler = Callable[[Request, Output, Input], Awaitable[None]]


@asynccontextmanager
async def agent(vault: Path, handler: Handler) -> AsyncIterator[None]:
    async with trio.open_nursery() as nursery:
        made = Agent(vault, handler)
        await nursery.start(made.serve, made.listen())
        yield
        nursery.cancel_scope.cancel()


async def ask(vault: Path, request: Request, inputs: Input | None = None) -> Recorder:
    output = Recorder()
    stream = await connect(vault)
    assert stream is not None
    with trio.fail_after(10):
        await hand_over(stream, request, output, inputs or no_input())
    return output


async def echo(request: Request, output: Output, inputs: Input) -> None:
    await output.note(f"running {request.command}")
    await output.progress("file", 1, 2)
    await output.record(Shape.SENT, {"options": request.options, "text": "grüß\ndich"})


async def lines_back(request: Request, output: Output, inputs: Input) -> None:
    async for given in inputs:
        await output.record(Shape.EVENT, given)
        if given.get("end"):
            return


async def test_a_command_is_run_by_who_has_the_vault(tmp_path: Path) -> None:
    """Its options go over, and all that it says comes back, in order."""
    async with agent(tmp_path / "v.db", echo):
        told = await ask(tmp_path / "v.db", Request("send", {"room": "Club", "text": ["a"]}))
    assert told.notes == ["running send"]
    assert told.progressed == [("file", 1, 2)]
    assert told.one(Shape.SENT) == {
        "options": {"room": "Club", "text": ["a"]},
        "text": "grüß\ndich",
    }


async def test_many_guests_at_once(tmp_path: Path) -> None:
    """Each gets its own answers."""
    found: list[str] = []

    async def one(number: int) -> None:
        told = await ask(tmp_path / "v.db", Request(f"c{number}", {}))
        found.extend(told.notes)

    async with agent(tmp_path / "v.db", echo), trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(one, number)
    assert sorted(found) == sorted(f"running c{number}" for number in range(20))


async def test_what_is_typed_goes_over(tmp_path: Path) -> None:
    """While the command runs."""
    send, receive = trio.open_memory_channel[dict[str, Any]](10)
    typed: list[dict[str, Any]] = [{"line": "hi"}, {"typing": True}, {"end": True}]
    for given in typed:
        send.send_nowait(given)
    async with agent(tmp_path / "v.db", lines_back):
        told = await ask(tmp_path / "v.db", Request("chat", {}), receive)
    assert told.of(Shape.EVENT) == typed


async def test_an_error_comes_back_with_its_code(tmp_path: Path) -> None:
    """And with the exit code of its kind."""

    async def refuse(request: Request, output: Output, inputs: Input) -> None:
        raise NotAllowed("forbidden", "your role does not allow this")

    async with agent(tmp_path / "v.db", refuse):
        with pytest.raises(Told, match="your role does not allow this") as told:
            await ask(tmp_path / "v.db", Request("evict", {}))
    assert (told.value.report.code, told.value.report.exit) == ("forbidden", 5)


async def test_a_guest_that_hangs_up_cancels_its_command(tmp_path: Path) -> None:
    """Nothing runs on for nobody."""
    started, cancelled = trio.Event(), trio.Event()

    async def for_ever(request: Request, output: Output, inputs: Input) -> None:
        started.set()
        try:
            await trio.sleep_forever()
        finally:
            cancelled.set()

    async with agent(tmp_path / "v.db", for_ever):
        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(partial(ask, tmp_path / "v.db", Request("tail", {})))
                await started.wait()
                nursery.cancel_scope.cancel()
            await cancelled.wait()


async def test_a_host_that_ends_is_told(tmp_path: Path) -> None:
    """The guest does not wait for ever, and knows that the command did not end well."""
    started = trio.Event()

    async def for_ever(request: Request, output: Output, inputs: Input) -> None:
        started.set()
        await trio.sleep_forever()

    async def guest() -> None:
        with pytest.raises(AgentGone, match="run it again"):
            await ask(tmp_path / "v.db", Request("tail", {}))

    async with trio.open_nursery() as nursery, agent(tmp_path / "v.db", for_ever):
        nursery.start_soon(guest)
        await started.wait()


async def test_the_socket_is_its_owners_alone_and_goes_with_the_host(tmp_path: Path) -> None:
    """Mode 0600 from its first moment; removed at the end."""
    path = socket_path(tmp_path / "v.db")
    async with agent(tmp_path / "v.db", echo):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_ISSOCK(path.stat().st_mode)
    assert not path.exists()


async def test_a_socket_left_by_a_dead_process_is_replaced(tmp_path: Path) -> None:
    """And nobody is found listening on it before."""
    path = socket_path(tmp_path / "v.db")
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    assert await connect(tmp_path / "v.db") is None
    async with agent(tmp_path / "v.db", echo):
        assert (await ask(tmp_path / "v.db", Request("x", {}))).notes == ["running x"]


async def test_no_socket_no_agent(tmp_path: Path) -> None:
    """Neither a missing file nor one of another kind is an agent."""
    assert await connect(tmp_path / "v.db") is None
    socket_path(tmp_path / "v.db").write_text("no socket")
    assert await connect(tmp_path / "v.db") is None


async def test_a_long_path_is_no_obstacle(tmp_path: Path) -> None:
    """unix(7) allows 107 bytes; people's directories are longer."""
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    deep.mkdir(parents=True)
    async with agent(deep / "v.db", echo):
        assert (await ask(deep / "v.db", Request("x", {}))).notes == ["running x"]


async def test_a_directory_that_can_not_be_written_is_named(tmp_path: Path) -> None:
    """Instead of a traceback."""
    with pytest.raises(CommandError, match="no socket can be made"):
        Agent(tmp_path / "missing" / "v.db", echo).listen()


@pytest.mark.parametrize(
    "sent",
    [
        b"garbage\n",
        b"[]\n",
        b'{"v": 1}\n',
        b'{"v": 99, "command": "x", "options": {}}\n',
        b'{"v": 1, "command": 5, "options": {}}\n',
        b'{"v": 1, "command": "x", "options": []}\n',
        b"\xff\xfe\n",
        b"[" * 100_000 + b"\n",
        b"x" * (LINE_BYTES + 70_000),
    ],
)
async def test_garbage_is_refused_and_others_are_served_on(sent: bytes, tmp_path: Path) -> None:
    """With an error, at bounded cost; the agent lives."""
    async with agent(tmp_path / "v.db", echo):
        stream = await connect(tmp_path / "v.db")
        assert stream is not None
        async with stream:
            with trio.fail_after(10):
                await stream.send_all(sent)
                answer = bytearray()
                try:
                    async for piece in stream:
                        answer += piece
                except trio.BrokenResourceError:
                    pass  # closed with our bytes unread: as good as an answer
        if answer:
            assert "error" in json.loads(answer)
        assert (await ask(tmp_path / "v.db", Request("x", {}))).notes == ["running x"]


async def test_too_many_guests_are_turned_away(tmp_path: Path) -> None:
    """With an error that says so."""

    async def for_ever(request: Request, output: Output, inputs: Input) -> None:
        await output.note("in")
        await trio.sleep_forever()

    async with agent(tmp_path / "v.db", for_ever), trio.open_nursery() as nursery:
        for _ in range(32):
            nursery.start_soon(partial(ask_for_ever, tmp_path / "v.db"))
        await trio.testing.wait_all_tasks_blocked(0.1)
        with pytest.raises(Told) as told:
            await ask(tmp_path / "v.db", Request("x", {}))
        assert told.value.report.code == AgentBusy.code
        nursery.cancel_scope.cancel()


async def ask_for_ever(vault: Path) -> None:
    stream = await connect(vault)
    assert stream is not None
    await hand_over(stream, Request("tail", {}), Recorder(), no_input())


async def test_another_users_process_is_not_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even if it could open the socket: the system says who it is."""
    mine = os.geteuid()
    async with agent(tmp_path / "v.db", echo):
        stream = await connect(tmp_path / "v.db")
        assert stream is not None
        monkeypatch.setattr(os, "geteuid", lambda: mine + 1)
        with pytest.raises(AgentGone):
            await hand_over(stream, Request("x", {}), Recorder(), no_input())
