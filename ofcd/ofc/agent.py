"""One process has the vault open; the others hand it their commands over a Unix socket.

A vault is used by one process at a time. People run `ofc serve` in one terminal and `ofc send` in
another: so a command that lasts listens beside the vault, and every other command on that vault
is run by it. As with ssh-agent, whoever may open the socket may use the unlocked vault: its mode
is 0600, and the peer's user is checked where the system tells it. The passphrase never crosses it.

Lines of JSON, one object each (protocol.md is not concerned: this never leaves the machine):

    guest  {"v": 1, "command": name, "options": {…}}, then {"input": {…}} while it runs
    host   {"record": [shape, fields]} | {"note": text} | {"progress": [what, done, total]}, then
           {"done": true} or {"error": code, "message": sentence, "exit": number}

A guest that hangs up cancels its command.
"""

from __future__ import annotations

import contextlib
import os
import socket as stdlib_socket
import stat
import struct
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, Final

import trio
from attrs import define, field

from ofcd.errors import OfcError
from ofcd.ofc.console import Fields, Input, Output, Shape
from ofcd.ofc.errors import AgentBusy, AgentGone, CommandError, Report, Told, report_of
from ofcd.ofc.held import Held
from ofcd.protocol.codec import dump_json, parse_json
from ofcd.protocol.codes import Malformed

__all__ = ["LINE_BYTES", "Agent", "Request", "connect", "hand_over", "socket_path"]

LINE_BYTES: Final = 1024 * 1024
"""One line: the longest message, escaped, with room to spare."""
_GUESTS: Final = 32
_INPUT_WAITING: Final = 64
_VERSION: Final = 1
_READ: Final = 64 * 1024
_PATH_BYTES: Final = 100
_OWNER_ONLY: Final = 0o177
_CREDENTIALS: Final = struct.Struct("3i")
_BROKEN: Final = (trio.BrokenResourceError, trio.ClosedResourceError)


@define
class Request:
    """A command that a guest asks for."""

    command: str
    options: dict[str, Any]


Handler = Callable[[Request, Output, Input], Awaitable[None]]
"""Runs one command; its errors are told to the guest."""


def socket_path(vault: Path) -> Path:
    """Where the agent of this vault listens."""
    return vault.with_name(vault.name + ".sock")


# -- lines -----------------------------------------------------------------------------------------


class _Lines:
    """Objects over a stream, one a line."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._sending = trio.Lock()
        self._waiting = bytearray()

    async def send(self, fields: Fields) -> None:
        async with self._sending:
            await self._stream.send_all(dump_json(dict(fields)) + b"\n")

    async def receive(self) -> dict[str, Any] | None:
        """The next object, None when the other end hung up; raises `Malformed`."""
        searched = 0
        while (end := self._waiting.find(b"\n", searched)) < 0:
            searched = len(self._waiting)
            if searched > LINE_BYTES or not await self._read():
                return None
        line = bytes(self._waiting[:end])
        del self._waiting[: end + 1]
        return parse_json(line, max_bytes=LINE_BYTES)

    async def _read(self) -> bool:
        try:
            more = await self._stream.receive_some(_READ)
        except _BROKEN:
            return False
        self._waiting += more
        return bool(more)


# -- host ------------------------------------------------------------------------------------------


@define
class _GuestOutput(Output):
    lines: _Lines

    async def record(self, shape: Shape, fields: Fields) -> None:
        await self.lines.send({"record": [shape.value, dict(fields)]})

    async def note(self, text: str) -> None:
        await self.lines.send({"note": text})

    async def progress(self, what: str, done: int, total: int) -> None:
        await self.lines.send({"progress": [what, done, total]})


@define
class Agent:
    """Listens beside a vault that this process has open, and runs what guests ask for."""

    vault: Path
    handler: Handler
    _guests: int = field(default=0, init=False)

    def listen(self) -> stdlib_socket.socket:
        """A socket beside the vault; raises `CommandError`.

        One that is already there is stale: the vault's lock is ours.
        """
        return _bind(socket_path(self.vault))

    async def serve(
        self,
        listening: stdlib_socket.socket,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Run what guests ask for, until cancelled; the socket is removed then."""
        try:
            listener = trio.SocketListener(trio.socket.from_stdlib_socket(listening))
            task_status.started()
            await trio.serve_listeners(self._welcome, [listener])
        finally:
            socket_path(self.vault).unlink(missing_ok=True)

    async def _welcome(self, stream: trio.SocketStream) -> None:
        lines = _Lines(stream)
        async with stream:
            if not _same_user(stream.socket):
                return
            self._guests += 1
            try:
                if self._guests > _GUESTS:
                    raise AgentBusy("the process that has the vault open does too much already")
                await self._run(lines)
                await lines.send({"done": True})
            except _BROKEN:
                return
            except OfcError as error:
                await _tell(lines, report_of(error))
            finally:
                self._guests -= 1

    async def _run(self, lines: _Lines) -> None:
        """One guest's command; cancelled when the guest hangs up."""
        request = await _request(lines)
        send, receive = trio.open_memory_channel[dict[str, Any]](_INPUT_WAITING)
        held = Held(*_BROKEN)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_listen, lines, send, nursery.cancel_scope)
            with held:
                await self.handler(request, _GuestOutput(lines), receive)
            nursery.cancel_scope.cancel()
        held.release()


async def _request(lines: _Lines) -> Request:
    first = await lines.receive() or {}
    command, options = first.get("command"), first.get("options")
    if first.get("v", _VERSION) != _VERSION:
        raise CommandError("the two ends are of different versions: restart the other `ofc`")
    if not isinstance(command, str) or not isinstance(options, dict):
        raise CommandError("that is no request")
    return Request(command, options)


async def _listen(
    lines: _Lines, inputs: trio.MemorySendChannel[dict[str, Any]], scope: trio.CancelScope
) -> None:
    """Pass on what the guest types, and cancel its command when it hangs up."""
    with contextlib.suppress(Malformed, trio.BrokenResourceError):
        while (fields := await lines.receive()) is not None:
            given = fields.get("input")
            if isinstance(given, dict):
                await inputs.send(given)
    scope.cancel()


async def _tell(lines: _Lines, report: Report) -> None:
    with contextlib.suppress(*_BROKEN):
        await lines.send({"error": report.code, "message": report.message, "exit": report.exit})


def _bind(path: Path) -> stdlib_socket.socket:
    """A listening socket at `path` that only its owner may open."""
    listening = stdlib_socket.socket(stdlib_socket.AF_UNIX, stdlib_socket.SOCK_STREAM)
    before = os.umask(_OWNER_ONLY)
    try:
        path.unlink(missing_ok=True)
        with _short(path) as address:
            listening.bind(address)
        listening.listen(_GUESTS)
    except OSError as error:
        listening.close()
        raise CommandError(f"no socket can be made at {path} ({error.strerror})") from error
    finally:
        os.umask(before)
    listening.setblocking(False)
    return listening


@contextlib.contextmanager
def _short(path: Path) -> Iterator[str]:
    """An address for `path`: a socket's may have 107 bytes (unix(7)), a path many more."""
    if len(os.fsencode(path)) <= _PATH_BYTES:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def _same_user(socket: trio.socket.SocketType) -> bool:
    option = getattr(stdlib_socket, "SO_PEERCRED", None)
    if option is None:  # not Linux: the socket's mode is the guard
        return True
    raw = socket.getsockopt(stdlib_socket.SOL_SOCKET, option, _CREDENTIALS.size)
    _, user, _ = _CREDENTIALS.unpack(bytes(raw))
    return bool(user == os.geteuid())


# -- guest -----------------------------------------------------------------------------------------


async def connect(vault: Path) -> trio.SocketStream | None:
    """The agent of this vault, or None where none listens."""
    path = socket_path(vault)
    try:
        if not stat.S_ISSOCK(path.stat().st_mode):
            return None
        with _short(path) as address:
            return await _open(address)
    except OSError:
        return None


async def _open(address: str) -> trio.SocketStream:
    socket = trio.socket.socket(stdlib_socket.AF_UNIX, stdlib_socket.SOCK_STREAM)
    try:
        await socket.connect(address)
    except BaseException:
        socket.close()
        raise
    return trio.SocketStream(socket)


async def hand_over(
    stream: trio.SocketStream, request: Request, output: Output, inputs: Input
) -> None:
    """Have the agent run a command, and pass on what it says.

    Raises `Told` for an error there, `AgentGone` if it ends first.
    """
    lines, held = _Lines(stream), Held(*_BROKEN)
    async with stream, trio.open_nursery() as nursery:
        with held:
            await lines.send(
                {"v": _VERSION, "command": request.command, "options": request.options}
            )
            nursery.start_soon(_forward, inputs, lines)
            await _pass_on(lines, output)
        nursery.cancel_scope.cancel()
    try:
        held.release()
    except _BROKEN:
        raise _gone() from None


async def _forward(inputs: Input, lines: _Lines) -> None:
    with contextlib.suppress(*_BROKEN):
        async for given in inputs:
            await lines.send({"input": given})


async def _pass_on(lines: _Lines, output: Output) -> None:
    while (said := await lines.receive()) is not None:
        match said:
            case {"record": [str(shape), dict(fields)]}:
                await output.record(Shape(shape), fields)
            case {"note": str(text)}:
                await output.note(text)
            case {"progress": [str(what), int(done), int(total)]}:
                await output.progress(what, done, total)
            case {"done": True}:
                return
            case {"error": str(code), "message": str(message), "exit": int(number)}:
                raise Told(Report(code, message, number))
    raise _gone()


def _gone() -> AgentGone:
    return AgentGone(
        "the process that has the vault open ended before the command did: see what was done, "
        "then run it again"
    )
