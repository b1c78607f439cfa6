"""Attachments that were had from other relays: how much is kept of them, and what goes first.

A full cache drops what was not read for the longest time. What was read since this process began
is remembered here; all else goes before it, in the order in which it was stored.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Final

import trio

from ofcd.config import Federation
from ofcd.daemon.log import get_log
from ofcd.daemon.workers import Workers
from ofcd.protocol import limits
from ofcd.protocol.frames import Blob, BlobGet
from ofcd.protocol.ids import BlobId, RoomId
from ofcd.relay import Decision, Relay
from ofcd.relay.facts import CACHED, BlobDropped, BlobStored
from ofcd.store import CachedBlob, Store, StoreError

if TYPE_CHECKING:
    from ofcd.daemon.hub import Hub

__all__ = ["BlobCache"]

_RECOUNT_SECONDS: Final = 600
_READS: Final = 16_384
"""Attachments of which it is remembered when they were read."""
_LOOKED_AT: Final = 1024
"""Of those stored the longest, how many may go at a time."""


class BlobCache:
    """All of them, for all rooms and hubs."""

    def __init__(
        self, settings: Federation, hub: Hub, relay: Relay, store: Store, workers: Workers
    ) -> None:
        self._settings = settings
        self._hub = hub
        self._relay = relay
        self._store = store
        self._workers = workers
        self._reads: OrderedDict[tuple[RoomId, BlobId], None] = OrderedDict()
        """What was read lately, last what was read last."""
        self._turn = trio.Lock()
        self._used = 0
        self._counted = -float("inf")
        self._log = get_log()

    def was_read(self, room: RoomId, blob: BlobId) -> None:
        """Somebody here wants this one."""
        self._reads[room, blob] = None
        self._reads.move_to_end((room, blob))
        if len(self._reads) > _READS:
            self._reads.popitem(last=False)

    async def keep(self, get: BlobGet, answer: Blob) -> None:
        """Keep a part of an attachment, in place of what was not read for longer."""
        if (answer.count - 1) * limits.CHUNK_BYTES > self._most:
            return  # all else would go for it, and it would not fit
        self.was_read(get.room, get.blob)
        size = len(answer.chunk)
        try:
            async with self._turn:
                if await self._make_space(get, size):
                    await self._store_part(get, answer)
                    self._used += size
        except StoreError as error:
            self._log.error("an attachment could not be cached", error=str(error))

    @property
    def _most(self) -> int:
        return min(self._settings.blob_cache_bytes, self._settings.blob_cache_bytes_in_all)

    async def _store_part(self, get: BlobGet, answer: Blob) -> None:
        size, now = len(answer.chunk), self._hub.milliseconds()
        stored = BlobStored(get.room, get.blob, get.index, answer.count, CACHED, now, answer.chunk)

        def decide() -> Decision:
            log = self._relay.room(get.room)
            if log is None:
                return Decision()
            log.blob_bytes[CACHED] = log.blob_bytes.get(CACHED, 0) + size
            return Decision((stored,))

        await self._hub.do(decide, get.room)

    # -- space -------------------------------------------------------------------------------------

    async def _make_space(self, get: BlobGet, size: int) -> bool:
        """Whether so many bytes more fit, in the room and in all; what has to go for it is gone."""
        await self._count()
        over = self._held_of(get.room) + size - self._settings.blob_cache_bytes
        if over > 0:
            await self._free(get, over, get.room)
        over = self._used + size - self._settings.blob_cache_bytes_in_all
        if over > 0:
            await self._free(get, over)
        fits_room = self._held_of(get.room) + size <= self._settings.blob_cache_bytes
        return fits_room and self._used + size <= self._settings.blob_cache_bytes_in_all

    def _held_of(self, room: RoomId) -> int:
        log = self._relay.room(room)
        return 0 if log is None else log.blob_bytes.get(CACHED, 0)

    async def _count(self) -> None:
        """What retention removes, and people drop, is seen when it is counted again."""
        if trio.current_time() - self._counted >= _RECOUNT_SECONDS:
            self._counted = trio.current_time()
            self._used = await self._workers.run(self._store.cached_bytes)

    async def _free(self, get: BlobGet, over: int, room: RoomId | None = None) -> None:
        """Drop so many bytes, or more, of this room or of all; never what is being fetched."""
        found = await self._workers.run(partial(self._store.cached_blobs, room, _LOOKED_AT))
        others = [blob for blob in found if (blob.room, blob.blob) != (get.room, get.blob)]
        going = list(_enough(self._by_use(others), over))
        if not going:
            return
        facts = tuple(BlobDropped(blob.room, blob.blob, CACHED) for blob in going)
        await self._hub.do(lambda: Decision(facts), *{blob.room for blob in going})
        self._used -= sum(blob.size for blob in going)

    def _by_use(self, blobs: list[CachedBlob]) -> list[CachedBlob]:
        """Those first that were not read for the longest time; else as they are."""
        when = {key: number for number, key in enumerate(self._reads)}
        return sorted(blobs, key=lambda blob: when.get((blob.room, blob.blob), -1))


def _enough(blobs: list[CachedBlob], over: int) -> Iterator[CachedBlob]:
    for blob in blobs:
        if over <= 0:
            return
        over -= blob.size
        yield blob
