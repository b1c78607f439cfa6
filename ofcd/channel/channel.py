"""One end of a link's Secure Session, with its own message counter (docs/protocol.md, Link)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from ofcd.errors import OfcError
from ofcd.protocol import limits
from ofcd.protocol.codec import join_parts, split_parts
from ofcd.protocol.codes import Code, ProtocolError, Refused
from ofcd.protocol.frames import join_frames, split_frames
from ofcd.protocol.ids import PublicKey, check_public_key
from ofcd.themis import KeyPair, SecureSession, SessionError

__all__ = ["MAX_MESSAGES", "Channel", "ChannelError"]

MAX_MESSAGES: Final = 2**20
"""Messages in one direction before a new handshake is due (E10)."""
_COUNTER_BYTES: Final = 8


class ChannelError(OfcError):
    """The peer is not who it should be, or a message was forged, replayed, lost or cut."""

    code = "channel"


class Channel:
    """Client (who calls `connect` first) or relay; belongs to the thread that made it."""

    def __init__(self, keys: KeyPair, accept: Callable[[PublicKey], bool]) -> None:
        """`keys` are our transport keys; `accept` says whether to talk to this peer's key."""
        self._session = SecureSession(keys.public, keys.private, self._key_of_peer)
        self._accept = accept
        self._sent = 0
        self._received = 0

    @property
    def is_established(self) -> bool:
        """Both ends have proven their keys."""
        return self._session.is_established

    @property
    def peer(self) -> PublicKey:
        """The peer's proven key."""
        return PublicKey(self._session.peer_id)

    @property
    def is_worn(self) -> bool:
        """So many messages have passed that the link should be opened anew."""
        return max(self._sent, self._received) >= MAX_MESSAGES

    def connect(self) -> bytes:
        """The client's first handshake message."""
        return self._session.connect_request()

    def handshake(self, message: bytes) -> bytes | None:
        """Take a handshake message; the answer to send, if one is due. Raises `ChannelError`."""
        try:
            return self._session.handshake(message)
        except SessionError as error:
            raise ChannelError(f"the handshake failed: {error}") from None

    def wrap(self, frames: Iterable[bytes], trailer: Sequence[bytes] = ()) -> bytes:
        """One message that carries these encoded frames, in order: one crossing for all of them.

        `trailer` goes beside what is wrapped, sealed already and named by hash in a frame: what
        many links get alike need not be wrapped for each of them.
        """
        self._sent += 1
        counter = self._sent.to_bytes(_COUNTER_BYTES, "big")
        return join_parts([self._session.wrap(counter + join_frames(frames)), *trailer])

    def unwrap(self, message: bytes) -> tuple[list[bytes], Sequence[bytes]]:
        """The encoded frames of a message, and its trailer, of which nothing is proven yet.

        Raises `ChannelError` for a forged message; `Refused` (out_of_order) for one replayed,
        reordered or after a gap; `Malformed` if the frames do not add up.
        """
        try:
            wrapped, *trailer = split_parts(message, max_parts=limits.TRAILER_PARTS + 1) or [b""]
        except ProtocolError:  # nobody vouches for this much: the network may have changed it
            raise ChannelError("a message was cut or changed on its way") from None
        try:
            payload = self._session.unwrap(wrapped)
        except SessionError as error:
            raise ChannelError(f"a message was refused: {error}") from None
        self._received += 1
        if payload[:_COUNTER_BYTES] != self._received.to_bytes(_COUNTER_BYTES, "big"):
            raise Refused(Code.OUT_OF_ORDER)
        return split_frames(payload[_COUNTER_BYTES:]), trailer

    def _key_of_peer(self, peer_id: bytes) -> bytes | None:
        try:
            key = check_public_key(peer_id)
        except ProtocolError:
            return None
        return key if self._accept(key) else None
