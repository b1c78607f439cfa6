"""LOG_HEAD: the hub's signed word for the end of each room's log (docs/protocol.md, Log head).

Signed off the hub and at most once a second for a room, so that it costs no delivery anything: a
relay that shows two people two logs is caught a second later, with its own signature as evidence.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

import trio

from ofcd.daemon.feed import Feed
from ofcd.daemon.identity import Identity
from ofcd.daemon.workers import Workers
from ofcd.protocol.frames import Head, encode_frame
from ofcd.protocol.ids import Hash32, RoomId
from ofcd.protocol.records import LogHead
from ofcd.protocol.versions import VERSION
from ofcd.themis.signed import sign_record

__all__ = ["HeadSigner"]

_PERIOD_SECONDS: Final = 1.0

Publish = Callable[[Feed, bytes], None]


class HeadSigner:
    """Signs the heads of rooms whose log grew, or who gained a reader."""

    def __init__(self, identity: Identity, now: Callable[[], int], workers: Workers) -> None:
        self._keys = identity.keys
        self._now = now
        self._workers = workers
        self._due: dict[RoomId, Feed] = {}
        self._stirred = trio.Event()

    def mark(self, feed: Feed) -> None:
        """This room's head is to be signed soon."""
        if feed.subscriptions and feed.log is not None and not feed.foreign:
            self._due[feed.room] = feed
            self._stirred.set()

    async def run(self, publish: Publish) -> None:
        """Sign what is due, once a period; `publish` hands a signed head to the room's readers."""
        while True:
            await self._stirred.wait()
            self._stirred = trio.Event()
            due, self._due = self._due, {}
            for feed in due.values():
                if feed.log is None or feed.foreign:
                    continue  # it was moved away meanwhile
                record = self._record(feed, feed.log)
                signed = await self._workers.run(partial(sign_record, self._keys.private, record))
                publish(feed, encode_frame(Head(feed.room, signed.envelope)))
            await trio.sleep(_PERIOD_SECONDS)

    def _record(self, feed: Feed, log: Hash32) -> LogHead:
        return LogHead(
            v=VERSION, room=feed.room, term=feed.term, seq=feed.head, log=log, ts=self._now()
        )
