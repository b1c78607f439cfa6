"""The trio shell around one relay's machine: dial, handshake, read, write, try again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from itertools import islice
from typing import Final, Protocol

import trio

from ofcd.channel import ChannelError
from ofcd.client.errors import VaultError
from ofcd.client.events import LinkState
from ofcd.client.link import RelayMachine
from ofcd.client.turn import Turn
from ofcd.errors import OfcError
from ofcd.protocol import limits
from ofcd.protocol.backoff import Backoff
from ofcd.protocol.codes import SENTENCES, ProtocolError
from ofcd.protocol.frames import ClientFrame, RelayFrame, Welcome, encode_frame
from ofcd.protocol.ids import PublicKey, RelayId
from ofcd.session import ClientSession, SessionState
from ofcd.themis import generate_keypair
from ofcd.themis.errors import ThemisError
from ofcd.themis.lineage import Lineage, TwoSuccessors
from ofcd.wire import MessageStream, RelayBusy, WireError

__all__ = ["Dial", "Host", "RelayConnection"]

Dial = Callable[[str], AbstractAsyncContextManager[MessageStream]]
"""Opens a link to the relay at a URL; raises a `WireError`."""

_HANDSHAKE_SECONDS: Final = 20
_LIFETIME_SECONDS: Final = 23 * 3600
"""A session's keys are fixed: a new handshake comes before a day is over (E10)."""
_FRAMES_PER_TURN: Final = 64
"""Frames taken in one transaction; others get a turn in between."""
_MESSAGE_BYTES: Final = limits.LINK_MESSAGE_BYTES // 2
_MESSAGE_FRAMES: Final = 128
"""So many heads are well under HEADS_BYTES."""
_SEAL_BYTES: Final = 1024
_STEADY: Final = 10_000
"""Milliseconds after which a link counts as a success: one that breaks at once is no better."""


_SAID: Final = {code.value: sentence for code, sentence in SENTENCES.items()}


class _LinkLost(OfcError):
    """The link is to be opened anew, though nothing broke."""

    code = "link_lost"


_LINK_ERRORS: Final = (
    WireError,
    ChannelError,
    ProtocolError,
    ThemisError,
    VaultError,
    _LinkLost,
)


class Host(Protocol):
    """What a connection needs of the client it belongs to."""

    def turn(
        self, connection: RelayConnection, *, durable: bool = True
    ) -> AbstractContextManager[Turn]:
        """One transaction; when the block ends, its outcome is carried out."""
        ...

    def now(self) -> int:
        """Milliseconds since 1970."""
        ...

    def known(self, relay_id: RelayId) -> Lineage:
        """What is known of a relay's keys."""
        ...

    def linked(self, connection: RelayConnection, relay: Lineage) -> None:
        """The relay has proven to be this one: keep it as the pin.

        Raises as `Lineage.merged` where more is known of it by now, or was not asked for.
        """
        ...

    def disputed(self, connection: RelayConnection, proof: TwoSuccessors) -> None:
        """Another key than the known one follows the relay's, too: keep the proof."""
        ...

    def link_changed(
        self, connection: RelayConnection, state: LinkState, retry_at: int | None
    ) -> None:
        """Tell the application how the relay is reached."""
        ...


class RelayConnection:
    """One relay, reached by one link at a time."""

    def __init__(
        self,
        host: Host,
        url: str,
        relay_id: RelayId | None,
        *,
        dial: Dial,
        random: Callable[[], float],
        software: str,
    ) -> None:
        """`relay_id` is the pin; None trusts the first key seen, and then keeps to it."""
        self.url = url
        self.relay_id = relay_id
        self.machine = RelayMachine(random)
        self.detail = ""
        """Why there is no link, in words."""
        self.put_off = ""
        """Why the relay, which is there, takes no attachment yet, in words."""
        self.up = trio.Event()
        """Set while a link is open."""
        self.lost = trio.Event()
        """Set once the link that is open now is gone."""
        self._host = host
        self._dial = dial
        self._software = software
        self._backoff = Backoff(random, first=1_000, longest=600_000)
        self._outgoing: list[ClientFrame] = []
        self._to_write = trio.Event()
        self._stirred = trio.Event()
        self._asked = False
        self._retry = trio.Event()
        self._opened_at = 0
        self._aborted = ""

    # -- from the client -------------------------------------------------------------------------

    def stir(self) -> None:
        """Something was queued: see what can be sent."""
        self._asked = True
        self._stirred.set()

    def abort(self, why: str) -> None:
        """The machine was loaded anew: this link knows things that it does not."""
        self._aborted = why
        self._stirred.set()

    def retry_now(self) -> None:
        """Do not wait for the back-off to end, nor go by what the relay said before."""
        self.put_off = ""
        self._retry.set()

    def post(self, frames: Sequence[ClientFrame]) -> None:
        """Write these, in order, on the link that is open."""
        if frames and self.machine.is_up:
            self._outgoing.extend(frames)
            self._to_write.set()

    # -- the life of a link ----------------------------------------------------------------------

    async def run(self) -> None:
        """Keep a link open, until cancelled."""
        while True:
            self._host.link_changed(self, LinkState.CONNECTING, None)
            wish = 0
            try:
                with trio.move_on_after(_LIFETIME_SECONDS):
                    await self._link()
                self.detail = "the session is renewed"
            except RelayBusy as busy:
                self.detail, wish = str(busy), int(busy.retry_after * 1000)
            except _LINK_ERRORS as error:
                self.detail = str(error)
            except trio.TooSlowError:
                self.detail = f"the relay did not answer within {_HANDSHAKE_SECONDS} seconds"
            await self._wait(self._backoff.failed(wish))

    async def _wait(self, milliseconds: int) -> None:
        self._host.link_changed(self, LinkState.OFFLINE, self._host.now() + milliseconds)
        self._retry = trio.Event()
        with trio.move_on_after(milliseconds / 1000):
            await self._retry.wait()

    async def _link(self) -> None:
        async with self._dial(self.url) as stream:
            # A new pair for each link: only the rooms' own keys connect one link with another.
            keys = generate_keypair()
            known = None if self.relay_id is None else self._host.known(self.relay_id)
            session = ClientSession(keys, known, self._software)
            try:
                with trio.fail_after(_HANDSHAKE_SECONDS):
                    frames = await self._shake_hands(stream, session)
                self._host.linked(self, session.relay)
            except TwoSuccessors as proof:
                self._host.disputed(self, proof)
                raise
            stream.max_message_bytes = limits.LINK_MESSAGE_BYTES + _SEAL_BYTES
            self.relay_id = session.relay_id
            try:
                await self._talk(stream, session, PublicKey(keys.public), frames)
            finally:
                self._close()

    async def _shake_hands(
        self, stream: MessageStream, session: ClientSession
    ) -> tuple[RelayFrame, ...]:
        await stream.send(session.connect())
        while session.state is not SessionState.OPEN:
            received = session.receive(await stream.receive())
            for reply in received.replies:
                await stream.send(reply)
        return received.frames

    async def _talk(
        self,
        stream: MessageStream,
        session: ClientSession,
        own_key: PublicKey,
        frames: tuple[RelayFrame, ...],
    ) -> None:
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._write, stream, session)
                self._open(session, own_key)
                nursery.start_soon(self._watch)
                await self._take([f for f in frames if not isinstance(f, Welcome)])
                while True:
                    received = session.receive(await stream.receive())
                    await self._take(received.frames)
                    if session.is_worn:
                        raise _LinkLost("the session is renewed")
        except* _LINK_ERRORS as group:
            raise _first(group) from None

    def _open(self, session: ClientSession, own_key: PublicKey) -> None:
        welcome = session.welcome
        if welcome is None:
            raise _LinkLost("the relay did not say welcome")
        self.detail = self.put_off = self._aborted = ""
        self._opened_at = self._host.now()
        self.lost = trio.Event()
        machine = self.machine
        with self._host.turn(self) as turn:
            machine.link_up(turn, session.relay_id, session.peer, own_key, welcome)
            machine.pump(turn)
        self._host.link_changed(self, LinkState.ONLINE, None)
        self.up.set()

    def _close(self) -> None:
        self.machine.link_down()
        self._outgoing.clear()
        if self._host.now() - self._opened_at >= _STEADY:
            self._backoff.succeeded()
        if self.up.is_set():
            self.up = trio.Event()
        self.lost.set()

    # -- reading and writing ---------------------------------------------------------------------

    async def _take(self, frames: Sequence[RelayFrame]) -> None:
        """Some frames a transaction, so that a long history does not hold everybody else."""
        rest = iter(frames)
        while batch := list(islice(rest, _FRAMES_PER_TURN)):
            with self._host.turn(self, durable=False) as turn:
                for frame in batch:
                    self.machine.receive(turn, frame)
                    if turn.drop:
                        break
                self.machine.pump(turn)
            self._check(turn)
            self._stirred.set()  # for deadlines that have moved
            await trio.lowlevel.checkpoint()

    async def _watch(self) -> None:
        """Do what is due in time, or was asked for."""
        while True:
            deadline = self.machine.deadline()
            seconds = float("inf")
            if deadline is not None:
                seconds = max(0, deadline - self._host.now()) / 1000
            with trio.move_on_after(seconds) as timer:
                await self._stirred.wait()
            self._stirred = trio.Event()
            if self._aborted:
                raise _LinkLost(self._aborted)
            if not self._asked and not timer.cancelled_caught:
                continue
            self._asked = False
            with self._host.turn(self) as turn:
                self.machine.pump(turn)
            self._check(turn)

    def _check(self, turn: Turn) -> None:
        if turn.drop:
            raise _LinkLost(f"the link is opened anew: {_SAID.get(turn.drop, turn.drop)}")

    async def _write(self, stream: MessageStream, session: ClientSession) -> None:
        """The one writer: a Secure Session stands no reordering (E2)."""
        while True:
            await self._to_write.wait()
            self._to_write = trio.Event()
            while self._outgoing:
                await stream.send(session.send(self._next_batch()))

    def _next_batch(self) -> list[bytes]:
        """As many waiting frames as one message takes, encoded."""
        batch = [encode_frame(self._outgoing.pop(0))]
        size = len(batch[0])
        while self._outgoing and len(batch) < _MESSAGE_FRAMES:
            encoded = encode_frame(self._outgoing[0])
            size += len(encoded)
            if size > _MESSAGE_BYTES:
                break
            batch.append(encoded)
            del self._outgoing[0]
        return batch


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
