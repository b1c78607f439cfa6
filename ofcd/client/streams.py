"""Live events, each reader with its own bounded queue."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType

import trio

from ofcd.client.errors import ClientClosed, TooSlow
from ofcd.client.events import AppEvent
from ofcd.protocol.ids import RoomId

__all__ = ["EventHub", "EventStream"]


class EventStream:
    """Events from the moment this was made on: `async for event in stream`.

    Raises `TooSlow` after what is queued, if the reader fell more than the queue behind, and
    `ClientClosed` when the client is closed. `close` it, or use it as a context manager.
    """

    def __init__(
        self, room: RoomId | None, size: int, leave: Callable[[EventStream], None]
    ) -> None:
        """Made by `Client.events` and `Room.events`."""
        self._room = room
        self._leave = leave
        self._send, self._receive = trio.open_memory_channel[AppEvent](size)
        self._overrun = False

    def offer(self, event: AppEvent) -> None:
        """Queue an event, if it is for this reader."""
        if self._room is not None and getattr(event, "room", None) != self._room:
            return
        try:
            self._send.send_nowait(event)
        except trio.WouldBlock:
            self._overrun = True
            self.end()
        except (trio.ClosedResourceError, trio.BrokenResourceError):
            self._leave(self)

    def end(self) -> None:
        """Nothing more comes."""
        self._send.close()
        self._leave(self)

    def close(self) -> None:
        """Stop listening."""
        self.end()
        self._receive.close()

    def receive_nowait(self) -> AppEvent | None:
        """The next event that is queued already, or None."""
        try:
            return self._receive.receive_nowait()
        except (trio.WouldBlock, trio.EndOfChannel):
            return None

    def __aiter__(self) -> EventStream:
        return self

    async def __anext__(self) -> AppEvent:
        try:
            return await self._receive.receive()
        except trio.EndOfChannel:
            if self._overrun:
                raise TooSlow("events came faster than they were read; use events_since") from None
            raise ClientClosed("the client is closed") from None
        except trio.ClosedResourceError:
            raise StopAsyncIteration from None

    def __enter__(self) -> EventStream:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self.close()


class EventHub:
    """Hands each event to every reader, and wakes who waits for a room's log to grow."""

    def __init__(self) -> None:
        """No readers yet."""
        self._streams: list[EventStream] = []
        self._grown: dict[RoomId, trio.Event] = {}

    def listen(self, room: RoomId | None, size: int) -> EventStream:
        """A new reader."""
        stream = EventStream(room, size, self._leave)
        self._streams.append(stream)
        return stream

    def tell(self, events: list[AppEvent]) -> None:
        """Hand these to every reader."""
        for event in events:
            for stream in list(self._streams):
                stream.offer(event)
            room = getattr(event, "room", None)
            if room is not None:
                self.wake(room)

    def wake(self, room: RoomId) -> None:
        """The room's log, or what is known of it, has changed."""
        grown = self._grown.pop(room, None)
        if grown is not None:
            grown.set()

    def growth(self, room: RoomId) -> trio.Event:
        """Set at the next change of this room."""
        return self._grown.setdefault(room, trio.Event())

    def close(self) -> None:
        """End every stream."""
        for stream in list(self._streams):
            stream.end()
        for grown in self._grown.values():
            grown.set()
        self._grown.clear()

    def _leave(self, stream: EventStream) -> None:
        if stream in self._streams:
            self._streams.remove(stream)
