"""What waits for the store: rooms to load, and what links ask for in their slow lanes."""

from __future__ import annotations

from collections.abc import Callable

import trio

from ofcd.daemon.connection import failure_of
from ofcd.daemon.feed import Feed
from ofcd.daemon.heads import HeadSigner
from ofcd.daemon.linkend import LinkEnd
from ofcd.daemon.log import get_log
from ofcd.daemon.lookups import Lookups
from ofcd.protocol.codes import Code, Refused
from ofcd.protocol.frames import RelayFrame, Synced
from ofcd.protocol.ids import RoomId
from ofcd.relay import (
    Asked,
    Backlog,
    BadSnapshot,
    Examined,
    FindEvent,
    FindSid,
    FindUpload,
    ReadBlob,
    ReadChain,
    Relay,
    Subscribe,
)
from ofcd.store import StoreError

__all__ = ["Jobs"]

Answer = Callable[[LinkEnd, RelayFrame], None]


class Jobs:
    """Reads the store on behalf of rooms and links, and tells the core or the link what it says."""

    def __init__(
        self,
        relay: Relay,
        lookups: Lookups,
        heads: HeadSigner,
        now: Callable[[], int],
        answer: Answer,
    ) -> None:
        """`answer` answers a request of a link."""
        self._relay = relay
        self._lookups = lookups
        self._heads = heads
        self._now = now
        self._answer = answer
        self._loading: dict[RoomId, trio.Event] = {}
        self._log = get_log()

    # -- rooms -----------------------------------------------------------------------------------

    async def ensure_room(self, asked: Asked | Examined) -> None:
        """Have the room in memory that this frame is about. Raises `StoreError`, `BadSnapshot`."""
        while (room := self._relay.needs(asked)) is not None:
            await self.load(room)

    async def load(self, room: RoomId) -> None:
        """Take a room into memory. Raises `StoreError`, `BadSnapshot`."""
        under_way = self._loading.get(room)
        if under_way is not None:
            await under_way.wait()
            return
        self._loading[room] = trio.Event()
        try:
            self._relay.load(room, await self._lookups.room(room))
        finally:
            self._loading.pop(room).set()

    # -- in a link's slow lane -------------------------------------------------------------------

    async def subscribe(self, connection: LinkEnd, effect: Subscribe, feed: Feed) -> None:
        """Answer a Sync, then let the link read the room's feed."""
        frame: RelayFrame
        last: int | None = None
        try:
            frame, last = await self._lookups.synced(effect)
            if feed.log is None:
                await self._learn_head(feed)
        except Refused as error:
            frame = self._relay.failure(effect.rid, error)
        except StoreError as error:
            self._log.error("reading a room's log failed", error=str(error))
            frame = failure_of(Code.STORAGE_FAILED, effect.rid)
        finally:
            connection.await_no_more(feed)
        self._answer(connection, frame)
        if not isinstance(frame, Synced):
            return
        subscription = connection.reading(effect, frame.start, last)
        if subscription is not None:
            connection.subscribe(subscription, feed)
            self._heads.mark(feed)
            if feed.signed_head and subscription.last is None:
                connection.push_encoded(feed.signed_head)

    async def tell_backlog(self, connection: LinkEnd, effect: Backlog) -> None:
        """Push what waits for who attached, a part at a time."""
        where = (connection.link, effect.room, effect.mid)
        if not self._relay.is_loaded(effect.room) and self._relay.is_attached(*where):
            try:
                await self.load(effect.room)
            except BadSnapshot as error:
                self._log.error("reading a room failed", error=str(error))
        for frame in self._relay.backlog(*where, self._now()):
            if self._relay.is_attached(*where):
                await connection.hand(frame)

    async def _learn_head(self, feed: Feed) -> None:
        head = feed.head
        log = await self._lookups.log_after(feed.room, head)
        if feed.head == head:
            feed.log = log

    async def look_up(
        self,
        connection: LinkEnd,
        question: FindUpload | FindSid | FindEvent | ReadChain | ReadBlob,
    ) -> None:
        """Answer from the store."""
        try:
            frame: RelayFrame
            if isinstance(question, FindUpload):
                frame = self._relay.uploaded(question, await self._lookups.owner(question))
            else:
                frame = await self._lookups.answer(question)
        except StoreError as error:
            self._log.error("a reading of the store failed", error=str(error))
            frame = failure_of(Code.STORAGE_FAILED, question.rid)
        self._answer(connection, frame)
