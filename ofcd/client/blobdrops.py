"""Attachments that no message of this client tells of: dropped at the relay too.

Of a message that was redacted: what is to be dropped is kept in the vault with the redaction
itself, until the relay has done it. Of a message that never was: an upload is noted before it
begins, until a message that tells of it is queued. What is still noted when a client begins was
left behind by one that died in between.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ofcd.client.core import Core
from ofcd.client.turn import Turn
from ofcd.client.vault import Reader, Records
from ofcd.protocol.backoff import Backoff
from ofcd.protocol.codes import RETRYABLE, Code
from ofcd.protocol.frames import BlobDrop, Failure, RelayFrame
from ofcd.protocol.ids import BlobId, MemberId

__all__ = ["BlobDrops", "keep_drop", "named", "told_of", "unnamed"]

_DROP: Final = b"drop/"
_UPLOAD: Final = b"upload/"
_BLOB_BYTES: Final = 16
_LATER: Final = RETRYABLE | {Code.INTERNAL, Code.NOT_ATTACHED}


class BlobDrops:
    """What one room's relay is still to forget; one at a time."""

    def __init__(self, core: Core, records: Reader, random: Callable[[], float]) -> None:
        """Loads what the vault holds."""
        self._core = core
        self._waiting: dict[bytes, tuple[BlobId, MemberId]] = {}
        self._under_way = False
        self._not_before = 0
        self._backoff = Backoff(random, first=1_000, longest=600_000)
        self.look(records)
        for key, blob in records.items(core.tables.state, _UPLOAD, b"upload0"):
            self._waiting[key] = (BlobId(blob), core.me)

    def look(self, records: Reader) -> None:
        """See what `keep_drop` kept: a redaction of our own was taken."""
        for key, mid in records.items(self._core.tables.state, _DROP, b"drop0"):
            blob = BlobId(key[len(_DROP) :][:_BLOB_BYTES])  # all there is in an earlier version's
            self._waiting[key] = (blob, MemberId(mid))

    def begin(self, records: Records, blob: BlobId) -> None:
        """Chunks of an attachment are about to be stored, and no message tells of it yet."""
        records.put(self._core.tables.state, _UPLOAD + blob, blob)

    def give_up(self, records: Records, blob: BlobId) -> None:
        """No message will tell of it."""
        told_of(records, self._core, blob)
        keep_drop(records, self._core, blob, self._core.me)
        self.look(records)

    def link_lost(self) -> None:
        """Asked again on the next link."""
        self._under_way = False

    def deadline(self) -> int | None:
        """When `pump` should be called, even if nothing comes in."""
        return self._not_before if self._waiting and not self._under_way else None

    def pump(self, turn: Turn) -> None:
        """Ask for the next one, if it is time. Only while attached."""
        if self._under_way or turn.now < self._not_before:
            return
        while (key := next(iter(self._waiting), None)) is not None:
            if turn.records.get(self._core.tables.state, key) is not None:
                break
            del self._waiting[key]  # a message tells of it after all
        if key is None:
            return
        self._under_way = True
        blob, uploader = self._waiting[key]
        turn.ask(
            lambda rid: BlobDrop(rid, self._core.room, blob, uploader),
            lambda later, frame: self._answered(later, key, frame),
        )

    def _answered(self, turn: Turn, key: bytes, frame: RelayFrame) -> None:
        self._under_way = False
        if isinstance(frame, Failure) and frame.code in _LATER:
            self._not_before = turn.now + self._backoff.failed(frame.wait)
            return
        self._backoff.succeeded()
        self._waiting.pop(key, None)
        turn.records.delete(self._core.tables.state, key)


def keep_drop(records: Records, core: Core, blob: BlobId, uploader: MemberId) -> None:
    """The message of `uploader` that named this attachment is redacted.

    Others may have stored one under the same id: each of them is asked for by itself.
    """
    records.put(core.tables.state, _DROP + blob + uploader, uploader)


def named(records: Records, core: Core, blob: BlobId, mid: MemberId) -> None:
    """A message of `mid` that names an attachment came in; said anew, it names it twice."""
    _count(records, core, blob, mid, _named_by(records, core, blob, mid) + 1)


def unnamed(records: Records, core: Core, blob: BlobId, mid: MemberId) -> bool:
    """Such a message is redacted; whether none of theirs names the attachment now.

    As far as they were counted: an earlier version did not.
    """
    left = max(0, _named_by(records, core, blob, mid) - 1)
    _count(records, core, blob, mid, left)
    return left == 0


def _named_by(records: Reader, core: Core, blob: BlobId, mid: MemberId) -> int:
    return int.from_bytes(records.get(core.tables.archive("named"), blob + mid) or b"", "big")


def _count(records: Records, core: Core, blob: BlobId, mid: MemberId, count: int) -> None:
    records.put(core.tables.archive("named"), blob + mid, count.to_bytes(8, "big"))


def told_of(records: Records, core: Core, blob: BlobId) -> None:
    """A message that tells of it is queued."""
    records.delete(core.tables.state, _UPLOAD + blob)
