"""What waits to be said at one place, in memory as in the journal, and whether it can be said."""

from __future__ import annotations

from math import inf

import trio
from attrs import define, field

from bridge.core.journal import Entry
from bridge.core.model import Kind, State

__all__ = ["PlaceQueue"]


@define(eq=False)
class PlaceQueue:
    """One place's queue."""

    network: str
    place: str
    entries: dict[int, Entry] = field(factory=dict)
    """By number, in order; those being sent too."""
    is_ready: bool = False
    why: str = "not connected yet"
    ready_since: float = inf
    changed: trio.Event = field(factory=trio.Event)

    def put(self, entry: Entry) -> None:
        """It was added, or changed."""
        self.entries[entry.number] = entry
        self.stir()

    def drop(self, number: int) -> None:
        """It is done with."""
        self.entries.pop(number, None)

    def stir(self) -> None:
        """Something changed: whoever waits looks again."""
        self.changed.set()
        self.changed = trio.Event()

    def set_ready(self, on: bool, why: str) -> None:
        """Whether it can be spoken to."""
        if on != self.is_ready:
            self.ready_since = trio.current_time() if on else inf
        self.is_ready, self.why = on, "" if on else why
        self.stir()

    def due(self, now: int, count: int) -> list[Entry]:
        """The first that are due, in order: nothing overtakes what stands before it.

        But for reactions: those wait to be told together, and nothing waits for them.
        """
        found: list[Entry] = []
        for entry in self.entries.values():
            if len(found) == count or (entry.due > now and entry.kind is not Kind.REACTION):
                break
            if entry.due <= now:
                found.append(entry)
        return found

    def next_due(self) -> int | None:
        """When something is due next."""
        soonest: int | None = None
        for entry in self.entries.values():
            soonest = entry.due if soonest is None else min(soonest, entry.due)
            if entry.kind is not Kind.REACTION:
                break
        return soonest

    def waiting(self) -> list[Entry]:
        """What is not being sent right now."""
        return [entry for entry in self.entries.values() if entry.state is State.QUEUED]
