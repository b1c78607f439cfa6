"""What the wire tests share: a relay on one in-memory stream, and peers that are not our code."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import trio
import trio.testing
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, CloseConnection, Event, Request

from ofcd import wire

HEAD = (
    b"GET /ofc HTTP/1.1\r\nHost: relay\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
    b"Sec-WebSocket-Protocol: other, ofc.1\r\n\r\n"
)


async def echo(link: wire.MessageStream) -> None:
    """A handler that answers each message with itself."""
    while True:
        await link.send(await link.receive())


def no_page(request: wire.HttpRequest) -> wire.HttpResponse:
    return wire.HttpResponse.sentence(404, "no such page")


@asynccontextmanager
async def relay(
    handler: Callable[[wire.MessageStream], Awaitable[None]] = echo,
    pages: wire.Pages = no_page,
    *,
    lockstep: bool = False,
    limits: wire.ServeLimits | None = None,
    allow_origin: Callable[[str], bool] = lambda origin: True,
) -> AsyncIterator[trio.abc.Stream]:
    """`serve_stream` on one end of a stream pair; yields the other. Ends when both are done."""
    make = trio.testing.lockstep_stream_pair if lockstep else trio.testing.memory_stream_pair
    ours, theirs = make()
    async with trio.open_nursery() as nursery:

        async def serve() -> None:
            await wire.serve_stream(
                theirs, handler, pages, limits=limits, allow_origin=allow_origin
            )

        nursery.start_soon(serve)
        try:
            yield ours
        finally:
            await trio.aclose_forcefully(ours)


async def read_all(stream: trio.abc.Stream) -> bytes:
    """Everything until the end of the stream; a stream that breaks has ended."""
    parts: list[bytes] = []
    try:
        while data := await stream.receive_some():
            parts.append(bytes(data))
    except trio.BrokenResourceError:
        pass
    return b"".join(parts)


async def ask(stream: trio.abc.Stream, request: bytes) -> bytes:
    """Send a request and read the whole answer."""
    await stream.send_all(request)
    return await read_all(stream)


class RawPeer:
    """A WebSocket client made of wsproto alone, which can also say what no client should."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self.ws = WSConnection(ConnectionType.CLIENT)
        self._seen: list[Event] = []

    async def shake_hands(self) -> AcceptConnection:
        hello = Request(host="relay", target="/ofc", subprotocols=["ofc.1"])
        await self.stream.send_all(self.ws.send(hello))
        answer = await self.event()
        assert isinstance(answer, AcceptConnection)
        return answer

    async def send(self, event: Event) -> None:
        await self.stream.send_all(self.ws.send(event))

    async def event(self) -> Event:
        """The next event; EOFError when the stream ends first."""
        while not self._seen:
            data = await self.stream.receive_some()
            if not data:
                raise EOFError
            self.ws.receive_data(bytes(data))
            self._seen.extend(self.ws.events())
        return self._seen.pop(0)

    async def close_code(self) -> int:
        """The code of the close frame that comes next, anything before it skipped."""
        while not isinstance(event := await self.event(), CloseConnection):
            pass
        return event.code


def frame(first: int, payload: bytes = b"", *, masked: bool = True) -> bytes:
    """One frame by hand, from its first byte; masked with zeros, as a client's must be."""
    mask, key = (0x80, bytes(4)) if masked else (0, b"")
    size = len(payload)
    if size < 126:
        return bytes((first, mask | size)) + key + payload
    if size < 1 << 16:
        return bytes((first, mask | 126)) + size.to_bytes(2, "big") + key + payload
    return bytes((first, mask | 127)) + size.to_bytes(8, "big") + key + payload
