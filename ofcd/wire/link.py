"""One WebSocket link: trio-websocket reads, answers and closes; this end sends past it.

Why data frames do not go through `WebSocketConnection.send_message` (figures of one run of
`benchmarks/wire_send.py` stand in that file): its send builds an event and a frame through wsproto
(2.4 us), takes a lock and makes a trip through the scheduler (3 us each), around a system call of
1.6 us. A server's frame is not masked: two to ten bytes of header before the payload. What must
hold all the same is kept: no data frame once closing has begun (`closed` is set by trio-websocket
before it queues its close frame), and no interleaving (all writes pass the `Gate`).

Three behaviours of trio-websocket 0.12 are changed in `_Link`, through the handlers of its reader:
- bytes that break RFC 6455 are answered with a close frame (1002, 1007) before the stream is shut;
- text, and messages in too many pieces, end the link; pieces are joined as they come, so a flood
  of tiny or empty ones costs no more memory than their bytes;
- a ping that arrives after we began to close does not raise.
"""

from __future__ import annotations

import math
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import trio
from trio_websocket import ConnectionClosed, WebSocketConnection
from wsproto import WSConnection
from wsproto.connection import Connection, ConnectionState
from wsproto.events import BytesMessage, CloseConnection, Ping, TextMessage

from ofcd.wire.errors import Closed
from ofcd.wire.gate import Gate
from ofcd.wire.limits import LinkLimits
from ofcd.wire.stream import MessageStream, RemoteAddress

__all__ = ["WebSocketStream", "open_link"]

_FINAL_BINARY = 0x82
_short_head = struct.Struct("!BB").pack
_medium_head = struct.Struct("!BBH").pack
_long_head = struct.Struct("!BBQ").pack


def server_frame(payload: bytes) -> bytes:
    """One unmasked, final binary frame (RFC 6455 section 5.2)."""
    size = len(payload)
    if size < 126:
        return _short_head(_FINAL_BINARY, size) + payload
    if size < 1 << 16:
        return _medium_head(_FINAL_BINARY, 126, size) + payload
    return _long_head(_FINAL_BINARY, 127, size) + payload


class _Link(WebSocketConnection):
    """trio-websocket's connection after the handshake, with this project's rules on what it takes.

    `wsproto`'s bare `Connection` takes the place of its `WSConnection`: the handshake is over, and
    its parser need not be kept in memory for every idle link.
    """

    def __init__(self, gate: Gate, frames: Connection, limits: LinkLimits) -> None:
        super().__init__(
            gate,
            cast("WSConnection", frames),
            host="",
            path="",
            message_queue_size=limits.queued_messages,
            max_message_size=limits.opening_message_bytes or limits.message_bytes,
            receive_buffer_size=limits.receive_bytes,
        )
        self._initial_request = None  # the handshake is done
        self._gate = gate
        self._limits = limits
        self._joined = bytearray()
        self._pieces = 0

    @property
    def open(self) -> bool:
        return self._wsproto.state is ConnectionState.OPEN

    def masked_frame(self, payload: bytes) -> bytes:
        return self._wsproto.send(BytesMessage(data=payload))

    def ping_frame(self) -> bytes:
        return self._wsproto.send(Ping()) if self.open else b""

    async def finished(self) -> None:
        """Wait until the closing handshake is over, or the link broke."""
        await self._close_handshake.wait()

    async def _handle_message_event(self, event: BytesMessage | TextMessage) -> None:
        if self._close_reason is not None:
            return  # closing: what still comes is nobody's
        if isinstance(event, TextMessage):
            await self._refuse(1003, "only binary messages are taken here")
            return
        self._joined += event.data
        self._pieces += event.frame_finished
        if len(self._joined) > self._max_message_size:
            await self._refuse(1009, f"a message may have {self._max_message_size} bytes")
        elif event.message_finished:
            message, self._joined, self._pieces = bytes(self._joined), bytearray(), 0
            await self._hand_over(message)
        elif self._pieces >= self._limits.fragments:
            await self._refuse(1008, f"a message may have {self._limits.fragments} fragments")

    async def _hand_over(self, message: bytes) -> None:
        try:
            await self._send_channel.send(message)
        except (trio.ClosedResourceError, trio.BrokenResourceError):
            return  # we are closing: nobody will read it

    async def _handle_ping_event(self, event: Ping) -> None:
        if self.open:
            await super()._handle_ping_event(event)

    async def _handle_close_connection_event(self, event: CloseConnection) -> None:
        if self._wsproto.state in (ConnectionState.REMOTE_CLOSING, ConnectionState.CLOSED):
            await super()._handle_close_connection_event(event)
        else:  # not a close frame: wsproto's word for bytes it could not parse
            await self._refuse(event.code, event.reason or "")

    async def _refuse(self, code: int, reason: str) -> None:
        """Fail the WebSocket connection (RFC 6455 section 7.1.7) for what the peer sent."""
        self._joined = bytearray()
        saying = self.open
        if self._close_reason is None:
            await self._close_web_socket(code, reason)
        try:
            if saying:
                await self._send(CloseConnection(code=code, reason=reason))
                await self._gate.linger()
        except ConnectionClosed:
            pass  # the peer is gone; that the link is closed was said above
        finally:
            self._close_handshake.set()
            await self._close_stream()


class WebSocketStream(MessageStream):
    """`MessageStream` over one WebSocket link. Made by `open_link`."""

    def __init__(self, link: _Link, gate: Gate, limits: LinkLimits, remote: RemoteAddress | None):
        self._link = link
        self._gate = gate
        self._limits = limits
        self._remote = remote
        self._frame = link.masked_frame if link.is_client else server_frame
        self._ended: Closed | None = None

    @property
    def remote(self) -> RemoteAddress | None:
        """See `MessageStream.remote`."""
        return self._remote

    @property
    def max_message_bytes(self) -> int:
        """See `MessageStream.max_message_bytes`."""
        return self._link._max_message_size

    @max_message_bytes.setter
    def max_message_bytes(self, size: int) -> None:
        self._link._max_message_size = size

    @property
    def congested(self) -> bool:
        """See `MessageStream.congested`."""
        return self._gate.congested

    def try_send(self, payload: bytes) -> bool:
        """See `MessageStream.try_send`."""
        if self._link._close_reason is not None or self._gate.failure is not None:
            raise self._closed()
        return not self._gate.congested and self._gate.offer(self._frame(payload))

    async def send(self, payload: bytes) -> None:
        """See `MessageStream.send`."""
        if self._link._close_reason is not None or self._gate.failure is not None:
            raise self._closed()
        try:
            await self._gate.send_all(self._frame(payload))
        except trio.BrokenResourceError:
            raise self._closed() from None

    async def flush(self) -> None:
        """See `MessageStream.flush`."""
        try:
            await self._gate.flush()
        except trio.BrokenResourceError:
            raise self._closed() from None

    async def receive(self) -> bytes:
        """See `MessageStream.receive`."""
        try:
            return cast("bytes", await self._link.get_message())
        except ConnectionClosed:
            raise self._closed() from None

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """See `MessageStream.close`."""
        await self._close(code, reason, self._limits.close_seconds)

    async def _close(self, code: int, reason: str, seconds: float) -> None:
        if self._link.closed is None and self._gate.failure is None:
            self._ended = Closed(code, reason)
        with trio.move_on_after(seconds):
            await self._link.aclose(code, reason)
            await self._link.finished()  # a second caller waits as well, and cuts nothing short
        await self._gate.aclose()

    def _closed(self) -> Closed:
        """Why the link is closed: our own word first, then the peer's, then the gate's."""
        if self._ended is None:
            said = self._link.closed
            if said is None or said.code == 1006:
                self._ended = Closed(1006, self._gate.failure or "the connection broke")
            else:
                self._ended = Closed(said.code, said.reason or "")
        return Closed(self._ended.close_code, self._ended.reason)


@asynccontextmanager
async def open_link(
    stream: trio.abc.Stream,
    frames: Connection,
    limits: LinkLimits,
    *,
    remote: RemoteAddress | None = None,
    grace_seconds: float | None = None,
) -> AsyncIterator[WebSocketStream]:
    """Run a link, its WebSocket handshake done, for as long as the block lasts; then close it.

    Leaving normally closes with 1000, through an error with 1011, cancelled with 1001 and
    `grace_seconds` (default: `limits.close_seconds`) for the peer's answer. An error of the block
    comes out as it is, not in a group. No task outlives the block.
    """
    error: BaseException | None = None
    reader = trio.CancelScope(shield=True)  # it must still hear the peer's answer to our close
    try:
        async with trio.open_nursery() as nursery:
            gate = Gate(stream, nursery, limits)
            link = _Link(gate, frames, limits)
            gate.ping = link.ping_frame
            nursery.start_soon(_read, link, reader)
            messages = WebSocketStream(link, gate, limits, remote)
            try:
                yield messages
            except trio.Cancelled:
                raise
            except BaseException as caught:  # kept, to leave the nursery outside any group
                error = caught
            finally:
                code, reason, seconds = _farewell(error, limits, grace_seconds)
                with trio.CancelScope(shield=True):
                    await messages._close(code, reason, seconds)
                gate.stop()
                reader.cancel()
    finally:
        if error is not None:
            raise error


async def _read(link: _Link, scope: trio.CancelScope) -> None:
    with scope:
        await link._reader_task()


def _farewell(
    error: BaseException | None, limits: LinkLimits, grace_seconds: float | None
) -> tuple[int, str, float]:
    """Close code, reason and patience. Call where the block ends, outside any shield."""
    if trio.current_effective_deadline() == -math.inf:  # cancelled from outside
        seconds = limits.close_seconds if grace_seconds is None else grace_seconds
        return 1001, "going away", seconds
    if error is not None:
        return 1011, "internal error", limits.close_seconds
    return 1000, "", limits.close_seconds
