"""A message on its way: as the outbox keeps it, and what of them is under way on the link."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from attrs import define, field, frozen

from ofcd.e2e.events import SealedEvent
from ofcd.protocol.ids import EventId, Sid
from ofcd.protocol.records import Event
from ofcd.themis.signed import peek

__all__ = ["Flight", "Queued", "Stage"]

_WINDOW: Final = 12
"""Events under way at once in a room: a link's requests leave space for others beside them."""


class Stage(StrEnum):
    """How far a message has come."""

    QUEUED = "queued"
    SENT = "sent"
    HELD = "held"
    ACKED = "acked"
    """Accepted; kept until it comes back in the log, which may lose it before."""
    FAILED = "failed"


@frozen
class Queued:
    """A message in the outbox."""

    number: int
    sid: Sid
    created: int
    body: bytes = field(repr=False)
    """The plaintext, counter aside."""
    stage: Stage = Stage.QUEUED
    record: bytes = field(default=b"", repr=False)
    cell: bytes = field(default=b"", repr=False)
    event_id: EventId | None = None
    counter: int = 0
    code: str = ""
    """Why it failed, or why the relay last put it off."""
    text: str = ""

    @property
    def sealed(self) -> SealedEvent:
        """The event it was last made into; only where there is a `record`."""
        return SealedEvent(peek(self.record), self.cell)

    @property
    def event(self) -> Event:
        """That event's header."""
        return self.sealed.event

    def follows(self, counter: int, prev: EventId) -> bool:
        """Whether it was made to be number `counter`, after `prev`."""
        event = self.event
        return (event.counter, event.prev) == (counter, prev)


@define
class Flight:
    """The messages under way, in order. Once one is refused, those behind it are refused too."""

    items: dict[int, Queued] = field(factory=dict)
    held: set[int] = field(factory=set)
    """Those that the client's own relay keeps for the room's: they do not fill the window."""
    draining: bool = False
    """One was refused: nothing more is posted until all are answered."""
    _window: int = _WINDOW

    @property
    def is_full(self) -> bool:
        """Whether answers are to be waited for."""
        return self.draining or len(self.items) - len(self.held) >= self._window

    @property
    def last(self) -> Queued | None:
        """The one that what is posted next follows."""
        return next(reversed(self.items.values()), None)

    def add(self, item: Queued) -> None:
        """It is posted."""
        self.items[item.number] = item

    def accepted(self, item: Queued) -> None:
        """The relay has it."""
        self._window = min(_WINDOW, self._window + 1)
        self.landed(item)

    def refused(self) -> bool:
        """One was refused; whether it is the first, and the cause of those that follow."""
        first, self.draining = not self.draining, True
        return first

    def landed(self, item: Queued) -> None:
        """It was answered."""
        self.items.pop(item.number, None)
        self.held.discard(item.number)
        self.draining = self.draining and bool(self.items)

    def slow_down(self) -> None:
        """The relay can not take so many."""
        self._window = max(1, self._window // 2)

    def clear(self) -> None:
        """The link is gone."""
        self.items.clear()
        self.held.clear()
        self.draining = False
