"""The one door through which a link's bytes pass: who writes when, and who is still there.

Laws of this file:
1. A frame that has begun goes out whole before any other byte. What the socket does not take at
   once becomes the *rest*; while there is a rest, or someone waits for a turn, nobody else writes.
2. A rest is carried by a task of its own, which no caller's cancellation reaches; so a send
   cancelled half-way can not tear a frame.
3. A peer that does not read (the rest waits too long) or is silent (no bytes after a ping) is cut.

trio-websocket writes its pongs and close frames through this stream as well (`send_all`), so data
frames, which go past trio-websocket's own send, can not be interleaved with them.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import trio

from ofcd.wire.limits import SLOWEST_BYTES_PER_SECOND, LinkLimits

__all__ = ["Gate", "linger"]

_BROKEN = (trio.BrokenResourceError, trio.ClosedResourceError)
_LINGER_BYTES = 64 * 1024


async def linger(stream: trio.abc.Stream, seconds: float) -> None:
    """Stop writing, then discard what still comes for up to `seconds` or 64 KiB.

    Closing a socket with unread bytes makes TCP send a reset, which can overtake the last words
    (RFC 9112 section 9.6). The stream is left for the caller to close.
    """
    left = _LINGER_BYTES
    with trio.move_on_after(seconds):
        try:
            if isinstance(stream, trio.abc.HalfCloseableStream):
                await stream.send_eof()
            while left > 0 and (data := await stream.receive_some(4096)):
                left -= len(data)
        except _BROKEN:
            return


class Gate(trio.abc.Stream):
    """A stream that wraps the socket's: FIFO writes, a non-blocking `offer`, keepalive on reads.

    `nursery` carries the rests; `ping` gives the bytes of a ping frame (b"" when none may be sent).
    """

    def __init__(self, inner: trio.abc.Stream, nursery: trio.Nursery, limits: LinkLimits) -> None:
        self.ping: Callable[[], bytes] = bytes
        self.failure: str | None = None
        """Why this end gave the link up; None while it has not."""
        self._inner = inner
        self._nursery = nursery
        self._limits = limits
        # os.write on the descriptor is the public way to a non-blocking send: trio's own always
        # passes through its scheduler. Windows has no such write on sockets.
        self._fileno: Callable[[], int] | None = None
        if isinstance(inner, trio.SocketStream) and os.name == "posix":
            self._fileno = inner.socket.fileno
        self._rest: bytes = b""
        self._drained = trio.Event()
        self._turn = trio.StrictFIFOLock()
        self._carrying = trio.CancelScope(shield=True)

    # ---- writing

    @property
    def congested(self) -> bool:
        """Whether bytes, or writers, wait for the socket."""
        return bool(self._rest) or self._turn.locked()

    def offer(self, frame: bytes) -> bool:
        """Take a frame unless congested; never waits. Call only while `failure` is None."""
        if self._rest or self._turn.locked():
            return False
        self._put(frame)
        return True

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Write after all who came before; returns when everything is with the socket."""
        await trio.lowlevel.checkpoint_if_cancelled()
        if not self.congested:
            self._put(bytes(data))
            if self._rest:
                await self._flush_rest()
            else:
                await trio.lowlevel.cancel_shielded_checkpoint()
            return
        async with self._turn:
            await self._flush_rest()
            self._put(bytes(data))
            await self._flush_rest()

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until nothing waits before the socket."""
        await self.flush()

    async def flush(self) -> None:
        """Wait until not congested. Raises BrokenResourceError when the rest can not go out."""
        while self.congested:
            if not self._rest:  # whose turn it is can go on at once
                await trio.lowlevel.checkpoint()
            await self._flush_rest()
        await self._flush_rest()

    async def _flush_rest(self) -> None:
        while self._rest:
            await self._drained.wait()
        if self.failure is not None:
            raise trio.BrokenResourceError(self.failure)

    def _put(self, frame: bytes) -> None:
        if self.failure is not None:
            raise trio.BrokenResourceError(self.failure)
        if self._fileno is not None:
            try:
                written = os.write(self._fileno(), frame)
            except OSError:
                written = 0  # full; any other error meets the carrier again, which names it
            if written == len(frame):
                return
            frame = frame[written:]
        self._rest = frame
        self._drained = trio.Event()
        self._nursery.start_soon(self._carry)

    async def _carry(self) -> None:
        seconds = self._limits.stall_seconds
        failure: str | None = f"the peer did not read for {seconds:g} seconds"
        with trio.CancelScope(shield=True) as self._carrying:
            with trio.move_on_after(seconds + len(self._rest) / SLOWEST_BYTES_PER_SECOND):
                try:
                    await self._inner.send_all(self._rest)
                    failure = None
                except _BROKEN:
                    failure = "the connection broke"
            if failure is not None:
                await self._cut(failure)
        self._rest = b""
        self._drained.set()

    # ---- reading

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """Bytes from the peer; after `idle_ping_seconds` of silence it is asked for a sign of life.

        Only time spent waiting here counts as silence: while the reader is held up by a full
        queue, a peer can not be taken for dead.
        """
        with trio.move_on_after(self._limits.idle_ping_seconds):
            return await self._inner.receive_some(max_bytes)
        frame = self.ping()
        if frame and self.failure is None:
            self.offer(frame)  # when congested, the peer is measured by its reading instead
        with trio.move_on_after(self._limits.pong_seconds):
            return await self._inner.receive_some(max_bytes)
        await self._cut("the peer did not answer a ping")
        return b""

    # ---- ending

    async def linger(self) -> None:
        """Let the last words arrive before the stream is closed (see `linger`)."""
        await linger(self._inner, self._limits.linger_seconds)

    async def aclose(self) -> None:
        """Close the stream at once, without TLS's farewell (the close frame was ours)."""
        await self._cut("the link was closed")

    def stop(self) -> None:
        """End the task that carries a rest, if there is one."""
        self.failure = self.failure or "the link was closed"
        self._carrying.cancel()

    async def _cut(self, failure: str) -> None:
        self.failure = self.failure or failure
        await trio.aclose_forcefully(self._inner)
