"""The outbox of one hub: what local members said in its rooms, sent in each sender's order.

What is here stands in the store until it is in the hub's log. A few events of each sender are under
way at once. One that the hub can not take now is sent again later, with all behind it; one that it
refuses goes back to its sender, with all behind it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from itertools import islice
from typing import Final, Protocol

from attrs import define, field

from ofcd.protocol.codes import Code
from ofcd.protocol.frames import Ack, ClientFrame, Failure, Post, RelayFrame
from ofcd.protocol.ids import EventId, MemberId, RoomId
from ofcd.relay import RoomLog
from ofcd.relay.facts import OutboxRow

__all__ = ["Outgoing"]

_WINDOW: Final = 64
"""Events under way to one hub."""
_LOOKED_AT: Final = 4 * _WINDOW
"""Of what waits in one room: the first may be under way, or held."""
_POSTED: Final = 1024
_LATER: Final = frozenset(
    {
        Code.RATE_LIMITED,
        Code.TRY_AGAIN,
        Code.STORAGE_FAILED,
        Code.SHUTTING_DOWN,
        Code.STALLED,
        Code.INTERNAL,
        Code.HUB_AWAY,
        Code.HUB_BEHIND,
        Code.NOT_ATTACHED,
        Code.NOT_FOUND,
    }
)
"""What says nothing of the event itself: kept, and sent again."""
_PAUSE: Final = 1.0
_LONG_PAUSE: Final = 15.0
_AWAY: Final = frozenset({Code.NOT_ATTACHED, Code.NOT_FOUND, Code.HUB_BEHIND})

Answered = Callable[[RelayFrame], Awaitable[None]]


class Hub(Protocol):
    """Who carries requests to the hub, and gives events back."""

    def ask(self, room: RoomId, mid: MemberId, frame: ClientFrame, answered: Answered) -> None:
        """Ask the hub as this member; `frame` gets a number of its own."""
        ...

    async def give_back(self, room: RoomId, mid: MemberId, counter: int, why: Failure) -> None:
        """This event, and all behind it of this sender, go back to the sender."""
        ...

    def later(self, seconds: float, work: Callable[[], None]) -> None:
        """Do this after so many seconds, if the link lasts."""
        ...


@define(eq=False)
class _Stream:
    """What one member has under way."""

    posted: set[EventId] = field(factory=set)
    turn: int = 0
    """Counts up when all that is under way is to be sent again: its answers no longer count."""
    held: bool = False


class Outgoing:
    """Sends what waits, on the link that is open."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._streams: dict[tuple[RoomId, MemberId], _Stream] = {}
        self._rooms: dict[RoomId, RoomLog] = {}
        self._under_way = 0

    def link_lost(self) -> None:
        """What was under way is sent again on the next link."""
        self._streams.clear()
        self._rooms.clear()
        self._under_way = 0

    def pump(self, room: RoomLog) -> None:
        """Send what waits in this room, as far as the window allows."""
        self._rooms.pop(room.room, None)
        if not room.outbox:
            return
        self._rooms[room.room] = room
        for row in list(islice(room.outbox.values(), _LOOKED_AT)):  # each sender's are in order
            if self._under_way >= _WINDOW:
                return
            stream = self._streams.setdefault((row.room, row.mid), _Stream())
            if not stream.held and row.event_id not in stream.posted:
                self._post(stream, row)

    def _post(self, stream: _Stream, row: OutboxRow) -> None:
        stream.posted.add(row.event_id)
        self._under_way += 1
        turn = stream.turn

        async def answered(frame: RelayFrame) -> None:
            self._under_way = max(0, self._under_way - 1)
            if self._streams.get((row.room, row.mid)) is not stream:
                return  # of an earlier link
            if isinstance(frame, Failure) and stream.turn == turn:
                await self._refused(stream, row, frame)
            elif isinstance(frame, Ack) and len(stream.posted) > _POSTED:
                stream.posted &= self._waiting(row.room)
            self._go_on()

        self._hub.ask(row.room, row.mid, Post(1, row.room, row.record, row.cell), answered)

    def _waiting(self, room: RoomId) -> set[EventId]:
        held = self._rooms.get(room)
        return set() if held is None else {row.event_id for row in held.outbox.values()}

    async def _refused(self, stream: _Stream, row: OutboxRow, failure: Failure) -> None:
        stream.turn += 1
        stream.posted.clear()
        if failure.code not in _LATER:
            await self._hub.give_back(row.room, row.mid, row.counter, failure)
            return
        stream.held = True
        pause = _LONG_PAUSE if failure.code in _AWAY else _PAUSE

        def again() -> None:
            stream.held = False
            self._go_on()

        self._hub.later(max(pause, (failure.retry_after or 0) / 1000), again)

    def _go_on(self) -> None:
        for room in list(self._rooms.values()):
            if self._under_way >= _WINDOW:
                return
            self.pump(room)
