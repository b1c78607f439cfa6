"""Attachments of messages that this client redacted: dropped at the relay too.

What is to be dropped is kept in the vault with the redaction itself, until the relay has done it.
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

__all__ = ["BlobDrops", "keep_drop", "named", "unnamed"]

_DROP: Final = b"drop/"
_BLOB_BYTES: Final = 16
_LATER: Final = RETRYABLE | {Code.INTERNAL, Code.NOT_ATTACHED}


class BlobDrops:
    """What one room's relay is still to forget; one at a time."""

    def __init__(self, core: Core, records: Reader, random: Callable[[], float]) -> None:
        """Loads what the vault holds."""
        self._core = core
        self._waiting: dict[bytes, MemberId] = {}
        self._under_way = False
        self._not_before = 0
        self._backoff = Backoff(random, first=1_000, longest=600_000)
        self.look(records)

    def look(self, records: Reader) -> None:
        """A redaction of our own was taken: see what `keep_drop` kept."""
        for key, mid in records.items(self._core.tables.state, _DROP, b"drop0"):
            self._waiting[key] = MemberId(mid)

    def link_lost(self) -> None:
        """Asked again on the next link."""
        self._under_way = False

    def deadline(self) -> int | None:
        """When `pump` should be called, even if nothing comes in."""
        return self._not_before if self._waiting and not self._under_way else None

    def pump(self, turn: Turn) -> None:
        """Ask for the next one, if it is time. Only while attached."""
        if self._under_way or turn.now < self._not_before or not self._waiting:
            return
        self._under_way = True
        key, uploader = next(iter(self._waiting.items()))
        blob = BlobId(key[len(_DROP) :][:_BLOB_BYTES])  # all there is in one of an earlier version
        turn.ask(
            lambda rid: BlobDrop(rid, self._core.room, blob, uploader),
            lambda later, frame: self._answered(later, key, frame),
        )

    def _answered(self, turn: Turn, key: bytes, frame: RelayFrame) -> None:
        self._under_way = False
        if isinstance(frame, Failure) and frame.code in _LATER:
            self._not_before = turn.now + self._backoff.failed(frame.retry_after or 0)
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
