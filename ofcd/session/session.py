"""The state machine of a link, for both roles (docs/protocol.md, Link).

role    handshake                       hello                       open
client  connect(); until established    sends Hello, wants Welcome  RelayFrames in
relay   until established               wants Hello, sends Welcome  ClientFrames in
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from enum import Enum, auto
from typing import Final, Generic, TypeVar

from attrs import frozen

from ofcd.channel import Channel
from ofcd.protocol import limits
from ofcd.protocol.codes import Code, Malformed, Refused
from ofcd.protocol.frames import (
    ClientFrame,
    Failure,
    Frame,
    Hello,
    PeerFrame,
    RelayFrame,
    Welcome,
    decode_client_frame,
    decode_peer_frame,
    decode_relay_frame,
    encode_frame,
)
from ofcd.protocol.ids import PublicKey, RelayId
from ofcd.protocol.versions import VERSIONS, agree
from ofcd.session.bulk import BulkReader
from ofcd.themis import KeyPair
from ofcd.themis.lineage import Lineage

__all__ = ["ClientSession", "Received", "RelaySession", "SessionState"]

_FRAME_OVERHEAD: Final = 128
"""What a frame counts beside its head: a message of many tiny ones costs as much to take."""
_PEER_HEADS_BYTES: Final = 1024 * 1024
"""As HEADS_BYTES, for relays: two thousand deliveries."""
_U32: Final = 4

Incoming = TypeVar("Incoming", ClientFrame, RelayFrame)


class SessionState(Enum):
    """How far a link has come."""

    HANDSHAKE = auto()
    HELLO = auto()
    OPEN = auto()


@frozen
class Received(Generic[Incoming]):
    """What one message brought: frames to act on, and messages to send back."""

    frames: tuple[Incoming, ...] = ()
    replies: tuple[bytes, ...] = ()


class _Session:
    def __init__(self, keys: KeyPair, accept: Callable[[PublicKey], bool]) -> None:
        self.state = SessionState.HANDSHAKE
        self._channel = Channel(keys, accept)

    @property
    def peer(self) -> PublicKey:
        """The peer's proven transport key."""
        return self._channel.peer

    @property
    def is_worn(self) -> bool:
        """The link has carried so many messages that it should be opened anew (E10)."""
        return self._channel.is_worn

    def receive_peer(self, message: bytes) -> tuple[PeerFrame, ...]:
        """Take a message on a link of two relays, once both have introduced themselves.

        Raises `ChannelError` or `ProtocolError`; the link is then to be closed.
        """
        raw_frames, trailer = self._channel.unwrap(message)
        if trailer:
            raise Malformed(Code.BAD_FRAME, "a relay's message to another has no trailer")
        if sum(map(_cost, raw_frames)) > _PEER_HEADS_BYTES:
            raise Malformed(Code.TOO_LARGE, "a message has too many frames, or too much JSON")
        return tuple(map(decode_peer_frame, raw_frames))

    def send(self, frames: Iterable[Frame | bytes], trailer: Sequence[bytes] = ()) -> bytes:
        """One message that carries all these frames; those already encoded go as they are."""
        return self._channel.wrap(
            (frame if isinstance(frame, bytes) else encode_frame(frame) for frame in frames),
            trailer,
        )


class ClientSession(_Session):
    """The client's end of a link."""

    def __init__(self, keys: KeyPair, known: Lineage | None, software: str = "") -> None:
        """`known` is the pin: no other relay is talked to. None trusts the first one seen.

        Whether a relay is the known one shows only with its `Welcome`, which says how it came to
        its key: until then it is told nothing but `Hello`, and nothing of it is taken.
        """
        self._known = known
        self._software = software
        self.welcome: Welcome | None = None
        self._offered: tuple[PublicKey, Welcome] | None = None
        self._bulk = BulkReader()
        super().__init__(keys, lambda key: True)

    @property
    def relay(self) -> Lineage:
        """The relay on the other end, proven. Raises `Refused` (out_of_order) before `welcome`."""
        if self.welcome is None or self._known is None:
            raise Refused(Code.OUT_OF_ORDER)
        return self._known

    @property
    def relay_id(self) -> RelayId:
        """The same relay's id."""
        return self.relay.relay_id

    def connect(self) -> bytes:
        """The first message to send."""
        return self._channel.connect()

    def receive(self, message: bytes) -> Received[RelayFrame]:
        """Take a message of the relay's.

        Raises `ChannelError` or `ProtocolError`, `Refused` (wrong_relay) for another relay than the
        known one, or (out_of_order) where it does not begin with a welcome; the link is then to be
        closed.
        """
        received = self.receive_unproven(message)
        self.prove()
        return received

    def receive_unproven(self, message: bytes) -> Received[RelayFrame]:
        """As `receive`, but for `prove`: until that has returned, nothing is to be taken."""
        if self.state is SessionState.HANDSHAKE:
            return self._shake(message)
        raw_frames, trailer = self._channel.unwrap(message)
        frames = self._bulk.unfold(map(decode_relay_frame, raw_frames), trailer)
        if self.state is SessionState.HELLO:
            self._offered = self.peer, self._welcome_in(frames[0] if frames else None)
        return Received(frames=tuple(frames))

    def prove(self) -> None:
        """Verify the welcome, if one has come: whose key it is. Raises as `receive`.

        Statements take a while to verify. Unlike the session, which lives in the thread that made
        it, this may run in any.
        """
        if self._offered is None:
            return
        (key, welcome), known, self._offered = self._offered, self._known, None
        shown = welcome.succession
        self._known = Lineage.first_seen(key, shown) if known is None else known.proven(key, shown)
        self.welcome = welcome
        self.state = SessionState.OPEN

    def _shake(self, message: bytes) -> Received[RelayFrame]:
        reply = self._channel.handshake(message)
        replies = [] if reply is None else [reply]
        if self._channel.is_established:
            self.state = SessionState.HELLO
            replies.append(self.send([Hello(versions=VERSIONS, software=self._software)]))
        return Received(replies=tuple(replies))

    def _welcome_in(self, frame: RelayFrame | None) -> Welcome:
        known = self._known
        if not isinstance(frame, Welcome):
            is_known = known is None or known.is_current(self.peer)
            why = frame.text if is_known and isinstance(frame, Failure) else "it says no welcome"
            raise Refused(Code.OUT_OF_ORDER, f"the relay refuses the link: {why}"[:300])
        if frame.version not in VERSIONS:
            raise Refused(Code.UNSUPPORTED_VERSION)
        return frame


class RelaySession(_Session):
    """The relay's end of a link."""

    def __init__(
        self,
        keys: KeyPair,
        make_welcome: Callable[[int], Welcome],
        *,
        frame_bytes: int = limits.FRAME_BYTES,
    ) -> None:
        """`make_welcome(version)` makes the frame that answers Hello.

        `frame_bytes` is the largest frame this relay takes.
        """
        self._make_welcome = make_welcome
        self._frame_bytes = frame_bytes
        super().__init__(keys, lambda key: True)

    def receive(self, message: bytes) -> Received[ClientFrame]:
        """Take a message of the client's.

        Raises `ChannelError` or `ProtocolError`; the link is then to be closed.
        """
        if self.state is SessionState.HANDSHAKE:
            return self._shake(message)
        raw_frames, trailer = self._channel.unwrap(message)
        if trailer:
            raise Malformed(Code.BAD_FRAME, "a client's message has no trailer")
        if any(len(raw) > self._frame_bytes for raw in raw_frames):
            raise Malformed(Code.TOO_LARGE)
        if sum(map(_cost, raw_frames)) > limits.HEADS_BYTES:
            raise Malformed(Code.TOO_LARGE, "a message has too many frames, or too much JSON")
        frames = [decode_client_frame(raw) for raw in raw_frames]
        if self.state is SessionState.HELLO:
            return self._take_hello(frames)
        if any(isinstance(frame, Hello) for frame in frames):
            raise Malformed(Code.BAD_FRAME, "a second hello")
        return Received(frames=tuple(frames))

    def _shake(self, message: bytes) -> Received[ClientFrame]:
        if len(message) > limits.PREAUTH_BYTES:
            raise Malformed(Code.TOO_LARGE)
        reply = self._channel.handshake(message)
        if self._channel.is_established:
            self.state = SessionState.HELLO
        return Received(replies=() if reply is None else (reply,))

    def _take_hello(self, frames: list[ClientFrame]) -> Received[ClientFrame]:
        if not frames or not isinstance(frames[0], Hello):
            raise Malformed(Code.BAD_FRAME, "the first frame is not a hello")
        welcome = self.send([self._make_welcome(agree(frames[0].versions))])
        self.state = SessionState.OPEN
        return Received(frames=tuple(frames[1:]), replies=(welcome,))


def _cost(raw: bytes) -> int:
    """What a frame's head costs to parse, in bytes, by its own word: it can not be more."""
    return int.from_bytes(raw[:_U32], "big") + _FRAME_OVERHEAD
