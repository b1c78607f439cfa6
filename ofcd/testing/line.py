"""One client's way to the relay in a `World`, and everything that can go wrong on it."""

from __future__ import annotations

from collections.abc import Callable

import trio
from trio.testing import MemoryReceiveStream, MemorySendStream

__all__ = ["Line"]


Link = trio.StapledStream[MemorySendStream, MemoryReceiveStream]


class Line:
    """The network between one client and the relay, whatever link is open on it."""

    def __init__(self) -> None:
        """A line without faults."""
        self.up = True
        """Whether a new link can be opened."""
        self.carried = 0
        """Bytes carried so far, both ways together."""
        self.cuts = 0
        """How often `cut_after` has struck."""
        self.delay: Callable[[], float] | None = None
        """Seconds that each piece of data takes on its way; None for no time at all."""
        self.loses: Callable[[], bool] | None = None
        """Whether the next piece of data is lost on its way, what follows it comes; None: never."""
        self.lost = 0
        """How many pieces were."""
        self.record: Callable[[bytes], None] | None = None
        """Is shown everything that is carried, either way."""
        self._left: int | None = None
        self._flowing = trio.Event()
        self._flowing.set()
        self._links: set[Link] = set()

    def cut_after(self, count: int | None) -> None:
        """Break the link once `count` more bytes have passed, either way, and not one more.

        Links opened later are whole. None takes it back.
        """
        self._left = count

    def hold(self) -> None:
        """From now on what the relay sends waits before the client, as before one that hangs."""
        self._flowing = trio.Event()

    def release(self) -> None:
        """End `hold`."""
        self._flowing.set()

    def cut(self) -> None:
        """Break every link that is open on this line."""
        for link in self._links:
            link.send_stream.close()
            link.receive_stream.close()
        self._links.clear()

    def attach(self, inner: Link) -> trio.abc.Stream:
        """The relay's end of a new link, `inner`, with this line's faults."""
        self._links.add(inner)
        return _Carrier(self, inner)

    async def wait(self) -> None:
        """Wait as long as a piece of data takes."""
        if self.delay is not None:
            await trio.sleep(self.delay())

    async def wait_flowing(self) -> None:
        """Wait while the line is held."""
        await self._flowing.wait()

    def take(self, data: bytes) -> tuple[bytes, bool]:
        """The part of `data` that gets through, and whether the link breaks behind it."""
        if self.loses is not None and self.loses():
            self.lost += 1
            return b"", False
        breaks = self._left is not None and len(data) >= self._left
        through = data[: self._left] if breaks else data
        if breaks:
            self._left = None
            self.cuts += 1
        elif self._left is not None:
            self._left -= len(data)
        self.carried += len(through)
        if self.record is not None:
            self.record(through)
        return through, breaks

    def leave(self, inner: Link) -> None:
        """This link is over."""
        self._links.discard(inner)


class _Carrier(trio.abc.HalfCloseableStream):
    """The relay's end of one link."""

    def __init__(self, line: Line, inner: Link) -> None:
        self._line = line
        self._inner = inner
        self._received = b""
        self._broken = False

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._line.wait()
        await self._line.wait_flowing()
        self._check()
        through, breaks = self._line.take(bytes(data))
        await self._inner.send_all(through)
        if breaks:
            await self._break()

    async def wait_send_all_might_not_block(self) -> None:
        await self._inner.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        await self._inner.send_eof()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        if self._broken:
            self._check()
        through, breaks = b"", False
        while not (through or breaks):
            if not self._received:  # else: cancelled while it was on its way
                self._received = bytes(await self._inner.receive_some(max_bytes))
            await self._line.wait()
            data, self._received = self._received, b""
            if not data:
                return b""
            through, breaks = self._line.take(data)
        if breaks:
            self._broken = True
            await trio.aclose_forcefully(self._inner)
            if not through:
                self._check()
        return through

    async def aclose(self) -> None:
        self._line.leave(self._inner)
        await self._inner.aclose()

    def _check(self) -> None:
        if self._broken:
            raise trio.BrokenResourceError("the line was cut")

    async def _break(self) -> None:
        self._broken = True
        await trio.aclose_forcefully(self._inner)
        self._check()
