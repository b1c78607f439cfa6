"""The feeds of all rooms: how many there are, and how much memory they take together."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Final

from ofcd.daemon.feed import Feed
from ofcd.protocol.frames import Delivery
from ofcd.protocol.ids import MemberId, RoomId
from ofcd.protocol.limits import MIB

__all__ = ["FEEDS_BYTES", "Feeds"]

FEEDS_BYTES: Final = 64 * MIB
"""Of all feeds together. Above it the room that was silent for longest is served from the store."""
_IDLE_FEEDS: Final = 256
"""Feeds kept for rooms that nobody reads just now."""


class Feeds:
    """One feed for each room that is read, or was lately."""

    def __init__(self, most_bytes: int = FEEDS_BYTES, most_idle: int = _IDLE_FEEDS) -> None:
        self._most_bytes = most_bytes
        self._most_idle = most_idle
        self._feeds: dict[RoomId, Feed] = {}
        self._sizes: OrderedDict[RoomId, int] = OrderedDict()
        """Of the feeds that hold anything; the room with the latest entry last."""
        self._bytes = 0
        self._look_again_at = most_idle

    def __len__(self) -> int:
        return len(self._feeds)

    @property
    def size(self) -> int:
        """Bytes in memory, about."""
        return self._bytes

    def get(self, room: RoomId) -> Feed | None:
        """The room's feed, if there is one."""
        return self._feeds.get(room)

    def open(self, room: RoomId, head: int) -> Feed:
        """The room's feed; a new one begins after entry `head`."""
        feed = self._feeds.get(room)
        if feed is None:
            self._make_space()
            feed = self._feeds[room] = Feed(room, head)
        return feed

    def append(self, feed: Feed, delivery: Delivery, boxes: Mapping[MemberId, bytes]) -> None:
        """Give a feed its next entry."""
        feed.append(delivery, boxes)
        self._count(feed)
        self._sizes.move_to_end(feed.room)
        self._keep_within()

    def drop(self, room: RoomId) -> None:
        """Forget a feed that nobody reads any more."""
        if self._feeds.pop(room, None) is not None:
            self._bytes -= self._sizes.pop(room, 0)

    def trim(self) -> None:
        """Count what feeds hold beside their entries (bulks), and let go. For every few seconds."""
        for room in list(self._sizes):
            self._count(self._feeds[room])
        self._keep_within()
        self._drop_idle()

    def _count(self, feed: Feed) -> None:
        size = feed.size
        self._bytes += size - self._sizes.get(feed.room, 0)
        self._sizes[feed.room] = size

    def _keep_within(self) -> None:
        while self._bytes > self._most_bytes:
            room, size = self._sizes.popitem(last=False)
            self._bytes -= size
            self._feeds[room].forget()

    def _make_space(self) -> None:
        if len(self._feeds) > self._look_again_at:
            self._drop_idle()

    def _drop_idle(self) -> None:
        """Keep some feeds that nobody reads, those made last. Looks at all: not for every room."""
        idle = [room for room, feed in self._feeds.items() if feed.is_idle]
        for room in idle[: max(0, len(idle) - self._most_idle)]:
            self.drop(room)
        self._look_again_at = 2 * len(self._feeds) + self._most_idle
