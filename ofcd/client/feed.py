"""The log of a room as an application reads it: by its own cursor, at its own pace."""

from __future__ import annotations

from collections import deque
from math import inf
from typing import TYPE_CHECKING, Final

import trio

from ofcd.client.archive import Entry, Kind
from ofcd.client.events import LoggedEvent, MessageUnreadable
from ofcd.protocol.ids import RoomId

if TYPE_CHECKING:
    from ofcd.client.client import Client  # the client imports this module

__all__ = ["LoggedEvents"]

_PAGE: Final = 100


class LoggedEvents:
    """`async for event in room.events_since(cursor)`. Nothing to close: it holds no queue."""

    def __init__(
        self, client: Client, room: RoomId, cursor: int, give_up_after: int | None, follow: bool
    ) -> None:
        """Use `Room.events_since`."""
        self._client = client
        self._room = room
        self._cursor = cursor
        self._give_up_after = give_up_after
        self._follow = follow
        self._ready: deque[LoggedEvent] = deque()
        self._cuts = client._core(room).head.cuts
        self._waits_at: int | None = None
        self.patient_until = 0
        """Nothing is given up before that, milliseconds since 1970."""

    @property
    def waits_at(self) -> int | None:
        """The entry that waits for its key, and holds up what is behind it; None: none does."""
        return None if self._ready else self._waits_at

    @property
    def passed(self) -> int:
        """The last entry behind which all events were handed over; some entries have none."""
        return self._ready[0].seq - 1 if self._ready else self._cursor

    def __aiter__(self) -> LoggedEvents:
        return self

    async def __anext__(self) -> LoggedEvent:
        await trio.lowlevel.checkpoint()
        self._go_back()
        while not self._ready:
            grown = self._client._hub.growth(self._room)
            self._go_back()
            before = self._cursor
            look_again = self._read_on()
            if self._ready or self._cursor > before:
                continue
            if not self._follow:
                raise StopAsyncIteration
            self._client._require_open()
            with trio.move_on_after(look_again / 1000):
                await grown.wait()
        return self._ready.popleft()

    def _go_back(self) -> None:
        """What came to nothing is not handed over: read on from before it."""
        head = self._client._core(self._room).head
        end = head.holds_since(self._cuts)
        self._cuts = head.cuts
        if end is not None:
            self._cursor = min(self._cursor, end)
            self._ready = deque(event for event in self._ready if event.seq <= end)

    def _read_on(self) -> float:
        """Take a page of what is here; milliseconds until what waits for a key is given up."""
        core, vault = self._client._core(self._room), self._client.vault
        self._waits_at = None
        for entry in core.archive.entries(vault, self._cursor + 1, limit=_PAGE):
            event = core.archive.event(vault, entry, self._cuts)
            if entry.kind is Kind.PARKED:
                if (left := self._patience_left(entry)) > 0:
                    self._waits_at = entry.seq
                    return left
                event = self._marker(entry)
            self._cursor = entry.seq
            if event is not None:
                self._ready.append(event)
        return inf

    def _patience_left(self, entry: Entry) -> float:
        if self._give_up_after is None:
            return inf
        until = max(entry.received + self._give_up_after, self.patient_until)
        return until - self._client.now()

    def _marker(self, entry: Entry) -> MessageUnreadable:
        return MessageUnreadable(
            room=self._room,
            seq=entry.seq,
            event_id=entry.event_id,
            mid=entry.mid,
            ts=entry.ts,
            epoch=entry.epoch,
            again=entry.again,
            earlier=entry.earlier,
            cuts=self._cuts,
        )
