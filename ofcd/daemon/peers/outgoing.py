"""The outbox of one hub: what local members said in its rooms, sent in each sender's order.

What is here stands in the store until it is in the hub's log. Senders take turns, and each has only
a few events under way at once, so that nobody holds up anybody else. One that the hub can not take
now is sent again later, with all of its sender's behind it; one that it refuses goes back to its
sender, with all behind it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from attrs import define, field

from ofcd.protocol.codes import Code
from ofcd.protocol.frames import ClientFrame, Failure, Post, RelayFrame
from ofcd.protocol.ids import EventId, MemberId, RoomId, Sid
from ofcd.relay import RoomLog
from ofcd.relay.facts import OutboxRow

__all__ = ["Outgoing"]

_WINDOW: Final = 128
"""Events under way to one hub."""
_SHARE: Final = 16
"""Of them, those of one sender in one room."""
_AHEAD: Final = 256
"""Events of one sender that the hub has, or is sent, and that are not in the copy yet."""
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

    async def has_come_to(
        self, room: RoomId, mid: MemberId, counter: int, event_id: EventId
    ) -> None:
        """Event `counter`, which waits here, is the last of this sender's that the hub has."""
        ...

    def later(self, seconds: float, work: Callable[[], None]) -> None:
        """Do this after so many seconds, if the link lasts."""
        ...


@define(eq=False)
class _Stream:
    """What one member has under way in one room."""

    room: RoomLog
    mid: MemberId
    posted: dict[Sid, EventId] = field(factory=dict)
    """What the hub has, or is being sent."""
    under_way: int = 0
    turn: int = 0
    """Counts up when all that is under way is to be sent again: its answers no longer count."""
    held: bool = False

    @property
    def is_over(self) -> bool:
        """Nothing waits, and no answer is awaited."""
        return not (self.held or self.under_way or self.mid in self.room.waiting)

    def waiting(self, event_id: EventId | None) -> OutboxRow | None:
        """The event of this id, if it waits, and the copy can not tell what came of it."""
        known, member = self.room.senders.get(self.mid), self.room.state.members.get(self.mid)
        if known is None:
            unsure = member is None or member.joined_seq < self.room.floor
        else:
            unsure = not known.is_certain
        if event_id is None or not self.room.floor or not unsure:
            return None
        rows = self.room.waiting[self.mid].rows if self.mid in self.room.waiting else {}
        return next((row for row in rows.values() if row.event_id == event_id), None)

    def next(self) -> OutboxRow | None:
        """What comes next, if anything may."""
        if self.held or self.under_way >= _SHARE or self.mid not in self.room.waiting:
            return None
        rows = self.room.waiting[self.mid].rows
        if len(self.posted) >= _AHEAD:
            kept = {sid: eid for sid, eid in self.posted.items() if _is(rows.get(sid), eid)}
            self.posted = kept
            if len(kept) >= _AHEAD:
                return None
        return next((r for r in rows.values() if self.posted.get(r.sid) != r.event_id), None)


def _is(row: OutboxRow | None, event_id: EventId) -> bool:
    return row is not None and row.event_id == event_id


class Outgoing:
    """Sends what waits, on the link that is open."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._streams: dict[tuple[RoomId, MemberId], _Stream] = {}
        """All who have something waiting; whose turn it is stands first."""
        self._under_way = 0

    def link_lost(self) -> None:
        """What was under way is sent again on the next link."""
        self._streams.clear()
        self._under_way = 0

    def release(self, room: RoomId) -> None:
        """Another hub orders this room: what waits is sent there."""
        for key in [key for key in self._streams if key[0] == room]:
            self._under_way -= self._streams.pop(key).under_way

    def pump(self, room: RoomLog) -> None:
        """Send what waits in this room, as far as the window allows."""
        for mid in room.waiting:
            stream = self._streams.setdefault((room.room, mid), _Stream(room, mid))
            stream.room = room  # it may have been loaded anew
        self._go_on()

    def _go_on(self) -> None:
        """An event of each sender in turn, until none has any, or the window is full."""
        idle = 0
        while self._under_way < _WINDOW and idle < len(self._streams):
            key = next(iter(self._streams))
            stream = self._streams.pop(key)
            row = stream.next()
            if row is not None:
                self._streams[key] = stream
                self._post(stream, row)
                idle = 0
            elif not stream.is_over:
                self._streams[key] = stream
                idle += 1

    def _post(self, stream: _Stream, row: OutboxRow) -> None:
        stream.posted[row.sid] = row.event_id
        stream.under_way += 1
        self._under_way += 1
        turn = stream.turn

        async def answered(frame: RelayFrame) -> None:
            if self._streams.get((row.room, row.mid)) is not stream:
                return  # of an earlier link
            stream.under_way -= 1
            self._under_way -= 1
            if isinstance(frame, Failure) and stream.turn == turn:
                await self._refused(stream, row, frame)
            self._go_on()

        self._hub.ask(row.room, row.mid, Post(1, row.room, row.record, row.cell), answered)

    async def _refused(self, stream: _Stream, row: OutboxRow, failure: Failure) -> None:
        stream.turn += 1
        stream.posted.clear()
        if failure.code == Code.COUNTER_GAP:
            last = stream.waiting(failure.event_id)
            if last is not None and last.counter >= row.counter:
                await self._hub.has_come_to(row.room, row.mid, last.counter, last.event_id)
                return
        if failure.code not in _LATER:
            await self._hub.give_back(row.room, row.mid, row.counter, failure)
            return
        stream.held = True
        pause = _LONG_PAUSE if failure.code in _AWAY else _PAUSE

        def again() -> None:
            stream.held = False
            self._go_on()

        self._hub.later(max(pause, (failure.retry_after or 0) / 1000), again)
