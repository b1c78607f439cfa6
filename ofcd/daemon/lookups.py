"""What a link has to read from the store: history pages, the control log, attachments, repeats.

Run in the link's slow lane, on read-only connections in reader threads: never on the hub.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

import trio

from ofcd.daemon.feed import Subscription
from ofcd.daemon.limits import ConnectionLimits
from ofcd.daemon.workers import Workers
from ofcd.protocol.codes import Code, Refused
from ofcd.protocol.frames import RelayFrame, Synced
from ofcd.protocol.ids import Hash32, MemberId, RoomId
from ofcd.relay import FindEvent, FindSid, FindUpload, ReadBlob, ReadChain, RoomLog, Subscribe
from ofcd.store import LogPage, Store

__all__ = ["Lookups", "Question"]

_READERS: Final = 4
T = TypeVar("T")
Question = FindSid | FindEvent | ReadChain | ReadBlob
"""Effects that are answered from the store."""


class Lookups:
    """Readings of the store, a bounded number at once."""

    def __init__(self, store: Store, limits: ConnectionLimits, workers: Workers) -> None:
        self._store = store
        self._limits = limits
        self._workers = workers
        self._readers = trio.CapacityLimiter(_READERS)

    async def room(self, room: RoomId) -> RoomLog | None:
        """All that the relay needs of a room. Raises `StoreError` or `BadSnapshot`."""
        return await self._read(lambda: _room(self._store, room))

    async def page(self, subscription: Subscription) -> LogPage:
        """The next page for a subscription that lags behind its feed."""
        return await self._read(
            lambda: self._store.read_log(
                subscription.room,
                subscription.next_seq,
                mid=subscription.mid,
                max_events=self._limits.page_events,
                max_bytes=self._limits.page_bytes,
            )
        )

    async def answer(self, question: Question) -> RelayFrame:
        """The frame that answers a question. Raises `StoreError`."""
        return await self._read(lambda: _answer(self._store, question))

    async def owner(self, put: FindUpload) -> tuple[MemberId, int] | None:
        """Whose the attachment is, and how many chunks it has. Raises `StoreError`."""
        info = await self._read(lambda: self._store.blob_info(put.room, put.blob))
        return None if info is None else (info.mid, info.count)

    async def synced(self, effect: Subscribe) -> tuple[RelayFrame, int | None]:
        """The answer to a Sync: a `Synced`, or a `Failure` after which nothing is fed.

        And the last entry that is fed, if there is one: the end of the log for this reader, or
        what stands before a hole in it. After that it asks again.
        """
        return await self._read(lambda: _synced(self._store, effect))

    async def boxes(self, room: RoomId, start: int, stop: int) -> list[tuple[int, MemberId, bytes]]:
        """The key boxes of these entries, whosever they are."""
        return await self._read(lambda: self._store.read_boxes(room, start, stop))

    async def has_blob(self, question: ReadBlob) -> bool:
        """Whether a chunk of an attachment is here."""
        return await self._read(
            lambda: self._store.read_blob(question.room, question.blob, question.index) is not None
        )

    async def evidence(self, room: RoomId, code: str) -> tuple[bytes, ...]:
        """The records of the first piece of evidence of this kind that is kept of a room."""
        kept = await self._read(self._store.evidence)
        return next((one.records for one in kept if (one.room, one.code) == (room, code)), ())

    async def log_after(self, room: RoomId, seq: int) -> Hash32 | None:
        """The running hash of a room's log after entry `seq`."""
        return await self._read(lambda: self._store.log_before(room, seq + 1))

    async def _read(self, reading: Callable[[], T]) -> T:
        return await self._workers.run(reading, self._readers)


def _room(store: Store, room: RoomId) -> RoomLog | None:
    snapshot = store.load_room(room)
    return None if snapshot is None else RoomLog.from_snapshot(snapshot)


def _answer(store: Store, question: Question) -> RelayFrame:
    match question:
        case FindSid():
            return question.found(store.find_sid(question.room, question.mid, question.sid))
        case FindEvent():
            return question.found(store.find_event(question.room, question.event_id))
        case ReadChain():
            page = store.read_chain(
                question.room,
                question.start,
                question.max_records,
                max_bytes=question.max_bytes,
            )
            return question.page(page.records, page.more)
        case ReadBlob():
            chunk = store.read_blob(question.room, question.blob, question.index)
            return question.missing() if chunk is None else question.found(chunk.count, chunk.chunk)


def _synced(store: Store, effect: Subscribe) -> tuple[Synced | RelayFrame, int | None]:
    floor, end = store.floor(effect.room), effect.last
    for hole in store.holes(effect.room):
        if max(effect.start, floor) < hole.first and not effect.begins:
            end = hole.first - 1 if end is None else min(end, hole.first - 1)
            break
        if effect.start < hole.next:
            floor = hole.next
    floor = floor if end is None else min(floor, end + 1)
    start = max(effect.start, floor)
    log: Hash32 | None = effect.log if start == effect.start else None
    if log is None:
        log = store.log_before(effect.room, start)
    if not log:
        raise Refused(Code.TRY_AGAIN)  # retention moved the floor between the two readings
    return effect.synced(floor, log, end), end
