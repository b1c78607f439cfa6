"""Which entries of a room's log are shown."""

from __future__ import annotations

from collections import deque

from ofcd.client import HubMoved, LoggedEvent, Message, Room

__all__ = ["events_after", "last_events", "void_before"]

_SLACK = 100
"""Entries that nobody is shown, per look back."""


async def events_after(room: Room, cursor: int, limit: int | None = None) -> list[LoggedEvent]:
    """What is here after number `cursor`; at most the first `limit`."""
    found: list[LoggedEvent] = []
    events = room.events_since(cursor, give_up_after=0, follow=False)
    while limit is None or len(found) < limit:
        try:
            found.append(await anext(events))
        except StopAsyncIteration:
            break
    return found


async def last_events(room: Room, limit: int) -> list[LoggedEvent]:
    """The last `limit` of what is here."""
    found: list[LoggedEvent] = []
    for start in (room.head - 4 * limit - _SLACK, -1):
        found = await events_after(room, max(start, -1))
        if len(found) >= limit or start <= -1:
            break
    return list(deque(found, maxlen=limit))


def void_before(room: Room, event: LoggedEvent) -> list[Message]:
    """Where root has moved the room by force: what came to nothing, and was not said again."""
    is_last = isinstance(event, HubMoved) and event.seq == room.hub_since
    return room.voided() if is_last else []
