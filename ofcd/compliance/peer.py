"""A client's end of a link that keeps to the rules, or breaks any of them on purpose.

What `ofcd.session.ClientSession` does by itself stands open here: the counter, the order of
messages, the trailer, the bytes of a frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypeVar

import trio

from ofcd.compliance.errors import LinkEnded, NotKept
from ofcd.protocol.codec import join_parts, split_parts
from ofcd.protocol.codes import Code, ProtocolError
from ofcd.protocol.frames import (
    ClientFrame,
    Failure,
    Hello,
    PeerFrame,
    RelayFrame,
    Welcome,
    decode_relay_frame,
    encode_frame,
    join_frames,
    split_frames,
)
from ofcd.protocol.ids import PublicKey, RelayId
from ofcd.protocol.limits import TRAILER_PARTS
from ofcd.protocol.versions import VERSIONS
from ofcd.session import BulkReader
from ofcd.themis import KeyPair, SecureSession, generate_keypair
from ofcd.themis.errors import ThemisError
from ofcd.themis.lineage import Lineage
from ofcd.wire import Closed, MessageStream

__all__ = ["PATIENCE", "Peer", "greet", "hang_up", "shake_hands"]

T = TypeVar("T")
PATIENCE: Final = 30.0
"""Seconds that an answer may take: a relay may be slow and far away, and still right."""
_SOFTWARE: Final = "ofc-compliance"
_COUNTER_BYTES: Final = 8
_MAX_MESSAGE: Final = 1 << 23
_AT_ONCE: Final = 50
_WAITS: Final = 50
"""How often one request waits because the relay said `rate_limited`."""


class Peer:
    """One open link to the relay, in the hands of someone who may do anything on it."""

    def __init__(self, stream: MessageStream, keys: KeyPair, session: SecureSession) -> None:
        """Use `shake_hands`, then `greet`."""
        self.stream = stream
        self.transport_key = PublicKey(keys.public)
        self.session = session
        self.welcome: Welcome | None = None
        self.inbox: list[RelayFrame] = []
        """What came and nobody has taken yet."""
        self.raw: list[bytes] = []
        """The relay's messages, as they came."""
        self._sent = 0
        self._received = 0
        self._rid = 0
        self._bulk = BulkReader()

    def decode(self, encoded: Sequence[bytes], trailer: Sequence[bytes]) -> list[Any]:
        """The frames of one message. Raises `Malformed`."""
        return self._bulk.unfold(map(decode_relay_frame, encoded), trailer)

    @property
    def relay_id(self) -> RelayId:
        """The relay at the other end, as its `welcome` proves. Raises `NotKept`."""
        shown = () if self.welcome is None else self.welcome.succession
        try:
            return Lineage.first_seen(self.relay_key, shown).relay_id
        except ProtocolError as error:
            raise NotKept(f"the relay does not prove how it came to its key: {error}") from None

    @property
    def relay_key(self) -> PublicKey:
        """The relay's key, proven."""
        return PublicKey(self.session.peer_id)

    @property
    def greeting(self) -> Welcome:
        """What the relay said first. Raises `NotKept` where it has not."""
        if self.welcome is None:
            raise NotKept("there was no welcome")
        return self.welcome

    def number(self) -> int:
        """A new request number."""
        self._rid += 1
        return self._rid

    # -- sending ---------------------------------------------------------------------------------

    def wrap(
        self,
        *frames: ClientFrame | PeerFrame | bytes,
        fseq: int | None = None,
        trailer: Sequence[bytes] = (),
    ) -> bytes:
        """A message with these frames, or bytes that pass for frames; not sent yet.

        `fseq` is its number, the next one unless given.
        """
        self._sent = self._sent + 1 if fseq is None else fseq
        encoded = [f if isinstance(f, bytes) else encode_frame(f) for f in frames]
        payload = self._sent.to_bytes(_COUNTER_BYTES, "big") + join_frames(encoded)
        return join_parts([self.session.wrap(payload), *trailer])

    async def send(self, *frames: ClientFrame | PeerFrame | bytes) -> None:
        """Send frames in one message. Raises `LinkEnded`."""
        await self.send_message(self.wrap(*frames))

    async def send_message(self, message: bytes) -> None:
        """Send a message as it is. Raises `LinkEnded`."""
        try:
            with trio.fail_after(PATIENCE):
                await self.stream.send(message)
        except Closed as closed:
            raise await self._end(closed) from None
        except trio.TooSlowError:
            raise NotKept(f"the relay did not take a message within {PATIENCE:g} s") from None

    # -- receiving -------------------------------------------------------------------------------

    async def receive(self, seconds: float = PATIENCE) -> None:
        """Take one message more into the inbox. Raises `LinkEnded`, or `NotKept` in silence."""
        try:
            with trio.fail_after(seconds):
                message = await self.stream.receive()
        except Closed as closed:
            raise await self._end(closed) from None
        except trio.TooSlowError:
            raise NotKept(f"the relay did not answer within {seconds:g} s") from None
        self._take(message)

    def _take(self, message: bytes) -> None:
        self.raw.append(message)
        try:
            wrapped, *trailer = split_parts(message, max_parts=TRAILER_PARTS + 1) or [b""]
            payload = self.session.unwrap(wrapped)
            self._received += 1
            if int.from_bytes(payload[:_COUNTER_BYTES], "big") != self._received:
                raise NotKept("the relay's own messages are not numbered one by one")
            self.inbox += self.decode(split_frames(payload[_COUNTER_BYTES:]), trailer)
        except (ProtocolError, ThemisError) as error:
            raise NotKept(f"the relay sent what is not OFC/1: {error}") from None

    async def _end(self, closed: Closed) -> LinkEnded:
        """What the relay said last, though our sending failed before we had read it."""
        try:
            while True:
                with trio.fail_after(PATIENCE):
                    self._take(await self.stream.receive())
        except (Closed, NotKept, trio.TooSlowError):
            pass
        said = [f.code for f in self.inbox if isinstance(f, Failure) and f.rid == 0]
        return LinkEnded(str(said[-1]) if said else "", closed.close_code)

    async def next(self, kind: type[T], seconds: float = PATIENCE) -> T:
        """The first frame of this kind that is not taken yet."""
        while True:
            for at, frame in enumerate(self.inbox):
                if isinstance(frame, kind):
                    del self.inbox[at]
                    return frame
            await self.receive(seconds)

    async def answer(self, rid: int, seconds: float = PATIENCE) -> RelayFrame:
        """The answer to request `rid`."""
        while True:
            for at, frame in enumerate(self.inbox):
                if rid and getattr(frame, "rid", 0) == rid:
                    del self.inbox[at]
                    return frame
            await self.receive(seconds)

    async def ask(self, frame: ClientFrame, *, patient: bool = True) -> RelayFrame:
        """The answer to one request; `rate_limited` is waited out, unless not `patient`."""
        rid: int = getattr(frame, "rid", 0)
        for _ in range(_WAITS):
            await self.send(frame)
            answer = await self.answer(rid)
            limited = isinstance(answer, Failure) and answer.code == Code.RATE_LIMITED
            if not (patient and limited and isinstance(answer, Failure)):
                return answer
            await trio.sleep((answer.retry_after or 1000) / 1000)
        raise NotKept("the relay says rate_limited without end, though the time it names is kept")

    async def ask_all(self, frames: Sequence[ClientFrame]) -> list[RelayFrame]:
        """The answers to requests that are all sent before the first one is answered.

        How far the relay is then counts once for all of them. Not more than `at_once`.
        """
        await self.send(*frames)
        return [await self.answer(getattr(frame, "rid", 0)) for frame in frames]

    @property
    def at_once(self) -> int:
        """How many requests may wait for their answers here, as far as the kit has use for it."""
        return min(_AT_ONCE, self.greeting.relay_limits.requests_in_flight)

    async def expect(self, kind: type[T], frame: ClientFrame) -> T:
        """The answer, which must be of this kind."""
        answer = await self.ask(frame)
        if not isinstance(answer, kind):
            raise NotKept(f"{_name(frame)} was answered by {_said(answer)}, not {kind.__name__}")
        return answer

    async def refused(self, frame: ClientFrame, *codes: Code, what: str = "") -> Failure:
        """The refusal of `frame`, which must bear one of `codes`."""
        answer = await self.ask(frame)
        wanted = " or ".join(codes)
        if not isinstance(answer, Failure):
            raise NotKept(f"{what or _name(frame)} was taken ({_said(answer)}), not {wanted}")
        if answer.code not in codes:
            raise NotKept(f"{what or _name(frame)} was refused with {answer.code}, not {wanted}")
        return answer

    async def quiet(self, seconds: float) -> list[RelayFrame]:
        """All that comes within `seconds`; the inbox is empty afterwards."""
        with trio.move_on_after(seconds):
            while True:
                try:
                    self._take(await self.stream.receive())
                except Closed as closed:
                    raise await self._end(closed) from None
        came, self.inbox = self.inbox, []
        return came

    async def ended(self, seconds: float = PATIENCE) -> LinkEnded:
        """How the relay ends this link, which it must within `seconds`."""
        until = trio.current_time() + seconds
        try:
            while (left := until - trio.current_time()) > 0:
                await self.receive(left)
        except LinkEnded as end:
            return end
        except NotKept:
            pass
        raise NotKept(f"the relay kept the link open for {seconds:g} s")


def _name(frame: object) -> str:
    return type(frame).__name__.lower()


def _said(frame: RelayFrame) -> str:
    return f"failure {frame.code}" if isinstance(frame, Failure) else type(frame).__name__


async def shake_hands(stream: MessageStream, keys: KeyPair | None = None) -> Peer:
    """The handshake, without `hello`. Raises `LinkEnded` or `NotKept`."""
    keys = keys or generate_keypair()
    session = SecureSession(keys.public, keys.private, lambda key: key)
    stream.max_message_bytes = _MAX_MESSAGE
    peer = Peer(stream, keys, session)
    await peer.send_message(session.connect_request())
    while not session.is_established:
        try:
            with trio.fail_after(PATIENCE):
                reply = session.handshake(await stream.receive())
        except Closed as closed:
            raise LinkEnded("", closed.close_code) from None
        except trio.TooSlowError:
            raise NotKept("the relay did not go on with the handshake") from None
        except ThemisError as error:
            raise NotKept(f"the relay's handshake is refused: {error}") from None
        if reply is not None:
            await peer.send_message(reply)
    return peer


async def greet(
    peer: Peer, versions: tuple[int, ...] = VERSIONS, pin: RelayId | None = None
) -> Peer:
    """`hello` and `welcome`, of the relay `pin`. Raises `LinkEnded` or `NotKept`."""
    await peer.send(Hello(versions=versions, software=_SOFTWARE))
    peer.welcome = await peer.next(Welcome)
    if pin not in (None, peer.relay_id):
        raise NotKept("the relay proved another key than --relay-id names")
    return peer


async def hang_up(peer: Peer) -> None:
    """Close the link; takes a bounded time, cancelled or not."""
    with trio.CancelScope(shield=True), trio.move_on_after(5):
        await peer.stream.close()
