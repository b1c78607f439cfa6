"""The live end of each room's log: encoded once, read by every link at its own pace.

Delivery is pull by cursor. A feed keeps the last committed entries as encoded frames; a
subscription keeps the seq its link wants next. There is no queue of deliveries for a link to
overflow: who lags behind the feed is served from the store, and loses nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, Protocol

from attrs import define, field, frozen

from ofcd.protocol.frames import Box, Delivery, encode_frame
from ofcd.protocol.ids import Hash32, MemberId, RoomId
from ofcd.session import BulkSealer, SealedBulk

__all__ = ["FEED_BYTES", "FEED_ENTRIES", "Feed", "FeedEntry", "Subscriber", "Subscription", "Taken"]

FEED_ENTRIES: Final = 1024
"""Entries of one room kept encoded in memory: a reconnect after minutes is served from here."""
FEED_BYTES: Final = 1 << 20
"""And at most this many bytes of them."""
_BULK_READERS: Final = 3
"""From so many readers on, sealing once and wrapping a hash is cheaper than wrapping for each."""
_BULK_BYTES: Final = 256 * 1024
"""About how much is sealed in one go."""
_BULKS_KEPT: Final = 4
"""Readers stand at a few places of the log; who goes through it must not fill memory."""


class Subscriber(Protocol):
    """A link, as its feeds know it."""

    def pump(self) -> None:
        """There is something new: send what can be sent now."""
        ...

    def push_encoded(self, frame: bytes) -> None:
        """Queue an encoded frame that goes to many links."""
        ...


@frozen
class FeedEntry:
    """One committed entry of a room's log, ready to send."""

    seq: int
    delivery: bytes = field(repr=False)
    boxes: Mapping[MemberId, bytes] = field(repr=False)

    @property
    def size(self) -> int:
        """Bytes in memory, about."""
        return len(self.delivery) + sum(map(len, self.boxes.values()))

    def frames_for(self, mid: MemberId, room: RoomId) -> Iterator[bytes]:
        """The encoded frames for one member: its own key box first, where there is one."""
        box = self.boxes.get(mid) if self.boxes else None
        if box is not None:
            yield encode_frame(Box(room=room, seq=self.seq, box=box))
        yield self.delivery


@define(eq=False)
class Subscription:
    """One link's reading of one room."""

    link: Subscriber
    room: RoomId
    mid: MemberId
    next_seq: int
    feed_key: int = 0
    """Number of the feed key that this link was given; 0 for none."""
    bulk: bool = True
    """Whether it may be fed in bulk."""
    last: int | None = None
    """With this entry it ends: nothing after it, no signed head either. None: it goes on."""

    def takes(self, seq: int) -> bool:
        """Whether this entry is for it."""
        return self.last is None or seq <= self.last

    @property
    def is_over(self) -> bool:
        """Whether it has come to its end."""
        return not self.takes(self.next_seq)

    def frames(self, entry: FeedEntry) -> Iterable[bytes]:
        """What this reader gets of an entry."""
        return entry.frames_for(self.mid, self.room)


@frozen
class Taken:
    """What goes into a link's next message: frames to wrap, and parts that stand beside them."""

    frames: list[bytes] = field(factory=list)
    trailer: list[bytes] = field(factory=list)

    @property
    def size(self) -> int:
        """Bytes in all."""
        return sum(map(len, self.frames)) + sum(map(len, self.trailer))


@frozen
class _CachedBulk:
    sealed: SealedBulk
    next_seq: int


class Feed:
    """The recent end of one room's log, and who reads it."""

    def __init__(self, room: RoomId, head: int) -> None:
        """`head` is the seq of the last entry already committed; none of it is in memory yet."""
        self.room = room
        self.head = head
        self.log: Hash32 | None = None
        """The running hash after `head`, once known."""
        self.subscriptions: set[Subscription] = set()
        self.foreign = False
        """Another relay orders the room: its heads are signed there."""
        self.term = 0
        """Else, of which term of its hubs this relay's are."""
        self.signed_head = b""
        """The latest of those, encoded; for who comes to read."""
        self.awaited = 0
        """Links about to subscribe: the feed must not be dropped under them."""
        self.sealer = BulkSealer(room)
        self._key_from = head + 1
        """Entries before this one stand in no bulk: not all who hold the key may read them."""
        self._entries: deque[FeedEntry] = deque()
        self._bulks: dict[int, _CachedBulk] = {}
        self._bytes = 0

    @property
    def is_idle(self) -> bool:
        """Nobody reads it, or is about to."""
        return not self.subscriptions and not self.awaited

    @property
    def size(self) -> int:
        """Bytes in memory, about."""
        return self._bytes + sum(len(bulk.sealed.part) for bulk in self._bulks.values())

    @property
    def oldest(self) -> int:
        """The lowest seq that can be served from memory."""
        return self._entries[0].seq if self._entries else self.head + 1

    def append(self, delivery: Delivery, boxes: Mapping[MemberId, bytes]) -> None:
        """Take a newly committed entry; its seq follows the last one."""
        entry = FeedEntry(delivery.seq, encode_frame(delivery), boxes)
        self._entries.append(entry)
        self._bytes += entry.size
        self.head = delivery.seq
        self._bulks.clear()
        while len(self._entries) > FEED_ENTRIES or self._bytes > FEED_BYTES:
            self._bytes -= self._entries.popleft().size

    def lags(self, subscription: Subscription) -> bool:
        """The next entry wanted has left memory: read the store first."""
        return subscription.next_seq < self.oldest and subscription.next_seq <= self.head

    def take(self, subscription: Subscription, budget: int) -> Taken:
        """What comes next for a subscription, about `budget` bytes of it; moves it on.

        Nothing if it is up to date, or lags. Where several links read the room, what they all get
        alike is sealed once for them all (bulk).
        """
        if self.oldest <= subscription.next_seq <= self.head:
            if subscription.bulk and len(self.subscriptions) >= _BULK_READERS:
                bulk = self._bulk(subscription.next_seq)
                if bulk is not None:
                    return self._take_bulk(subscription, bulk)
            return self._take_frames(subscription, budget)
        return Taken()

    def _take_frames(self, subscription: Subscription, budget: int) -> Taken:
        frames: list[bytes] = []
        for index in range(subscription.next_seq - self.oldest, len(self._entries)):
            entry = self._entries[index]
            for frame in subscription.frames(entry):
                frames.append(frame)
                budget -= len(frame)
            subscription.next_seq = entry.seq + 1
            if budget <= 0:
                break
        return Taken(frames)

    def _take_bulk(self, subscription: Subscription, bulk: _CachedBulk) -> Taken:
        frames = [bulk.sealed.frame]
        if subscription.feed_key != self.sealer.number:
            subscription.feed_key = self.sealer.number
            frames.insert(0, self.sealer.key_frame)
        subscription.next_seq = bulk.next_seq
        return Taken(frames, [bulk.sealed.part])

    def _bulk(self, start: int) -> _CachedBulk | None:
        """The entries from `start` on, up to the next that has boxes, sealed once."""
        if start < self._key_from:
            return None
        cached = self._bulks.get(start)
        if cached is None:
            deliveries: list[bytes] = []
            size = 0
            for index in range(start - self.oldest, len(self._entries)):
                entry = self._entries[index]
                if entry.boxes or size > _BULK_BYTES:
                    break
                deliveries.append(entry.delivery)
                size += len(entry.delivery)
            if not deliveries:
                return None
            cached = _CachedBulk(self.sealer.seal(deliveries), start + len(deliveries))
            self._bulks[start] = cached
            if len(self._bulks) > _BULKS_KEPT:
                del self._bulks[next(iter(self._bulks))]
        return cached

    def renew_key(self) -> None:
        """Others may read the room from now on: a member went, or came.

        Who went, or who reads along on the wire and came later, must not read in the bulks of
        others what the relay does not deliver to him.
        """
        self.sealer.renew()
        self._key_from = self.head + 1
        self._bulks.clear()

    def forget_before(self, floor: int) -> None:
        """Retention has taken what stands before `floor`; control records are in the store."""
        while self._entries and self._entries[0].seq < floor:
            self._bytes -= self._entries.popleft().size
        self._bulks.clear()

    def forget(self) -> None:
        """Serve the past from the store alone: a cell was dropped that may still stand here."""
        self._entries.clear()
        self._bulks.clear()
        self._bytes = 0
