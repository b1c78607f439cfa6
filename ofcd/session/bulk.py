"""Bulk: deliveries sealed once for every link that reads the room (docs/protocol.md, Bulk).

Wrapping the same thousand bytes for each of fifty members is most of what a relay does. So the
relay seals them once, under a feed key that each reader was given inside its own Secure Session,
and wraps for each link only the SHA-256 of the result. What a link carries stays as secret and as
unforgeable as before: the key is known to the room's readers and the relay alone, the hash stands
in a wrapped and counted message. A new key is made when a member comes or goes, connected or not,
and nothing older is sealed under it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from attrs import field, frozen

from ofcd.protocol import limits
from ofcd.protocol.codes import Code, Malformed
from ofcd.protocol.frames import (
    Bulk,
    Delivery,
    FeedKey,
    RelayFrame,
    decode_relay_frame,
    encode_frame,
    join_frames,
    split_frames,
)
from ofcd.protocol.ids import Hash32, RoomId, sha256, tagged_hash
from ofcd.themis import generate_key, seal, unseal
from ofcd.themis.errors import ThemisError

__all__ = ["BulkReader", "BulkSealer", "SealedBulk"]


@frozen
class SealedBulk:
    """Deliveries for many links: the frame to wrap for each, and the trailer part they share."""

    frame: bytes
    part: bytes = field(repr=False)


class BulkSealer:
    """The relay's side: one for each room that is read."""

    def __init__(self, room: RoomId) -> None:
        self._room = room
        self.number = 0
        """Of the current key; a link must have been given it by `key_frame`."""
        self.key_frame = b""
        self.renew()

    def renew(self) -> None:
        """Make a new key: others may read from now on."""
        self.number += 1
        self._key = generate_key()
        self.key_frame = encode_frame(FeedKey(self._room, self.number, self._key))

    def seal(self, deliveries: Iterable[bytes]) -> SealedBulk:
        """Seal encoded deliveries for all who hold the current key."""
        part = seal(self._key, join_frames(deliveries), _context(self._room, self.number))
        return SealedBulk(encode_frame(Bulk(self._room, self.number, sha256(part))), part)


class BulkReader:
    """The client's side: the feed keys of one link."""

    def __init__(self) -> None:
        self._keys: dict[RoomId, FeedKey] = {}

    def unfold(self, frames: Iterable[RelayFrame], trailer: Sequence[bytes]) -> list[RelayFrame]:
        """The frames of a message with each `Bulk` replaced by what it stands for.

        Raises `Malformed` if frames and trailer do not fit each other.
        """
        parts = iter(trailer)
        unfolded: list[RelayFrame] = []
        for frame in frames:
            if isinstance(frame, FeedKey):
                self._learn(frame)
            elif isinstance(frame, Bulk):
                unfolded += self._open(frame, next(parts, b""))
            else:
                unfolded.append(frame)
        if next(parts, None) is not None:
            raise Malformed(Code.BAD_FRAME, "a message has a trailer that no frame names")
        return unfolded

    def _learn(self, frame: FeedKey) -> None:
        if frame.room not in self._keys and len(self._keys) >= limits.FEEDS:
            raise Malformed(Code.BAD_FRAME, "the relay sends more feed keys than there are rooms")
        self._keys[frame.room] = frame

    def _open(self, bulk: Bulk, part: bytes) -> list[Delivery]:
        key = self._keys.get(bulk.room)
        if key is None or key.number != bulk.number or sha256(part) != bulk.hash:
            raise Malformed(Code.BAD_FRAME, "a bulk is not the one that was announced")
        try:
            joined = unseal(key.key, part, _context(bulk.room, bulk.number))
        except ThemisError:
            raise Malformed(Code.BAD_FRAME, "a bulk does not open under its feed key") from None
        return [_delivery(raw, bulk.room) for raw in split_frames(joined)]


def _delivery(raw: bytes, room: RoomId) -> Delivery:
    frame = decode_relay_frame(raw)
    if not isinstance(frame, Delivery) or frame.room != room:
        raise Malformed(Code.BAD_FRAME, "a bulk holds something else than its room's deliveries")
    return frame


def _context(room: RoomId, number: int) -> Hash32:
    return tagged_hash("feed", room, number)
