"""One link at the relay: a reader, a sender, and the slow lane between them and the store.

The reader takes messages, checks them cheaply, has signatures verified off the hub, and hands
requests to the hub; it waits while too many are unanswered. `pump` sends what is due without a
task switch as long as the socket takes it; the slow lane does what has to wait: a full socket, a
reading of the store.

Memory of one link beyond `ofcd.wire`'s: `outbox_bytes` of answers, one page of history, and
`requests_in_flight` requests. Deliveries are not queued: they are read from the room's feed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Final

import trio

from ofcd.channel import ChannelError
from ofcd.daemon.feed import Feed, Subscription, Taken
from ofcd.daemon.pace import Pace
from ofcd.protocol.codes import SENTENCES, Code, Malformed, ProtocolError
from ofcd.protocol.frames import (
    BlobPut,
    Box,
    ClientFrame,
    Delivery,
    Failure,
    Peer,
    RelayFrame,
    encode_frame,
)
from ofcd.protocol.ids import Hash32, RoomId
from ofcd.protocol.limits import TRAILER_PARTS
from ofcd.session import ClientSession, RelaySession, SessionState
from ofcd.store import LogPage, StoreError
from ofcd.themis.errors import ThemisError
from ofcd.wire import Closed, MessageStream

if TYPE_CHECKING:
    from ofcd.daemon.hub import Hub
    from ofcd.relay import LinkId, Subscribe

__all__ = ["Connection", "failure_of", "rid_of"]

_BATCH_BYTES: Final = 256 * 1024
"""About how much goes into one sealed message: large enough that one wrap serves many frames."""
_POLICY_VIOLATION: Final = 1008
_TRY_LATER: Final = 1013
_LIFETIME_SECONDS: Final = 24 * 3600
"""After a day a link is opened anew, with fresh session keys (E10)."""
_WORN: Final = Failure(0, Code.TRY_AGAIN, "the link has served its time; open a new one")
"""For a link that is a day old, or has carried so many messages."""
_WEIGHT: Final = 16 * 1024
"""Bytes of an attachment that count as one more request under way."""

Job = Callable[[], Awaitable[None]]


class Connection:
    """One client's link, from its handshake to its end."""

    def __init__(
        self,
        link: LinkId,
        challenge: Hash32,
        stream: MessageStream,
        session: RelaySession | ClientSession,
        hub: Hub,
    ) -> None:
        self.link = link
        self.challenge = challenge
        self.session = session
        self._stream = stream
        self._hub = hub
        self._limits = hub.limits
        self._pace = Pace(hub.limits.bytes_per_second)
        self._outbox: deque[bytes] = deque()
        self._outbox_bytes = 0
        self._page: deque[bytes] = deque()
        self._subscriptions: dict[RoomId, tuple[Subscription, Feed]] = {}
        self._awaited: list[Feed] = []
        self._jobs: deque[Job] = deque()
        self._once: set[RoomId] = set()
        self._wake = trio.Event()
        self._unanswered: dict[int, int] = {}
        self._in_flight = 0
        self._unchecked: deque[ClientFrame] = deque()
        self._checking = False
        self._answered = trio.Event()
        self._last_words = False
        self._reading_scope = trio.CancelScope()
        self._introduction: Peer | None = None

    # -- life ------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Serve the link until it ends. A mistake of ours ends this link, and no other."""
        first = await self._handshake()
        if first is None:
            return
        self._hub.open_link(self)
        await self._serve_until_gone(first)
        if self._introduction is not None and not self._last_words:
            await self._hub.welcome_peer(
                self._introduction, self.challenge, self._stream, self._client
            )

    async def _serve_until_gone(self, first: tuple[ClientFrame, ...]) -> None:
        try:
            await self._serve(first)
        except* Closed:
            pass  # the peer is gone
        except* Exception as mistake:
            self.fail(mistake)
            await self._say_goodbye()
        finally:
            self._hub.close_link(self)

    @property
    def _client(self) -> RelaySession:
        """The session, of a client that dialled."""
        if not isinstance(self.session, RelaySession):
            raise AssertionError("a link that this relay dialled has no client at its end")
        return self.session

    async def _serve(self, first: tuple[ClientFrame, ...]) -> None:
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            nursery.start_soon(self._slow_lane)
            self._reading_scope.deadline = trio.current_time() + _LIFETIME_SECONDS
            with self._reading_scope:
                await self._read(first)
            if self._introduction is None:
                self.end(_WORN)
                await self._say_goodbye()
            nursery.cancel_scope.cancel()

    async def _handshake(self) -> tuple[ClientFrame, ...] | None:
        with trio.move_on_after(self._limits.handshake_seconds):
            try:
                first = await self._shake_hands()
            except (ChannelError, ProtocolError, ThemisError) as error:
                self._hub.metrics.handshakes.labels("refused").inc()
                await self._stream.close(_POLICY_VIOLATION, str(error)[:100])
                return None
            self._hub.metrics.handshakes.labels("done").inc()
            return first
        self._hub.metrics.handshakes.labels("timeout").inc()
        await self._stream.close(_POLICY_VIOLATION, "the handshake took too long")
        return None

    async def _shake_hands(self) -> tuple[ClientFrame, ...]:
        while True:
            received = self._client.receive(await self._stream.receive())
            is_open = self.session.state is SessionState.OPEN
            if is_open:  # before the peer learns of it: what it sends then may be large
                self._stream.max_message_bytes = self._limits.message_bytes
            for reply in received.replies:
                await self._stream.send(reply)
            if is_open:
                return received.frames

    async def _read(self, frames: tuple[ClientFrame, ...]) -> None:
        """Take messages until the peer breaks a rule, is told to go, or the link is worn out."""
        try:
            await self._take(frames)
            while not self._is_done:
                message = await self._stream.receive()
                await self._pace.take(len(message))
                await self._take(self._client.receive(message).frames)
        except ProtocolError as error:
            self.end(Failure(0, error.code, str(error)))
        except (ChannelError, ThemisError) as error:
            self._last_words = True  # its session is closed: nothing can be wrapped any more
            self._clear_outbox()
            await self._stream.close(_POLICY_VIOLATION, str(error)[:100])

    @property
    def _is_done(self) -> bool:
        """Nothing more is read in this way."""
        return self._last_words or self.session.is_worn or self._introduction is not None

    async def _take(self, frames: Iterable[ClientFrame]) -> None:
        """Queue requests to be checked; wait while too many are under way."""
        for frame in frames:
            if isinstance(frame, Peer):  # no client, but a relay: it gets a link of another kind
                self._introduction = frame
                return
            while not self._has_room() and not self._last_words:
                self._answered = trio.Event()
                await self._answered.wait()
            self._charge(frame)
            self._unchecked.append(frame)
            if not self._checking:
                self._checking = True
                self._nursery.start_soon(self._check)

    def _has_room(self) -> bool:
        limit = self._limits.requests_in_flight
        return self._in_flight < limit and len(self._unchecked) < limit

    async def _check(self) -> None:
        """Hand over what is queued, all at once: one trip to a verifying thread serves it all."""
        while self._unchecked and not self._last_words:
            batch = list(self._unchecked)
            self._unchecked.clear()
            self._answered.set()
            await self._hub.take(self, batch)
        self._checking = False

    def _charge(self, frame: ClientFrame) -> None:
        """Count a request as under way; an attachment's chunk counts as many.

        Raises `Malformed` for a number that waits for its answer already.
        """
        rid = rid_of(frame)
        if rid in self._unanswered:  # else one answer would do for both
            raise Malformed(Code.BAD_FRAME, "a request has the number of one under way")
        if rid:
            weight = 1 + (len(frame.chunk) // _WEIGHT if isinstance(frame, BlobPut) else 0)
            self._unanswered[rid] = weight
            self._in_flight += weight

    async def _say_goodbye(self) -> None:
        """Let the last words arrive, if the peer reads."""
        with trio.move_on_after(self._limits.goodbye_seconds):
            while self._outbox or self._stream.congested:
                await self._stream.flush()
                self.pump()
            await self._stream.close(_TRY_LATER, "see the last frame")

    # -- what the hub tells this link --------------------------------------------------------------

    def answer(self, frame: RelayFrame) -> None:
        """Queue the answer to a request; it goes out with the next `pump`."""
        self._in_flight -= self._unanswered.pop(rid_of(frame), 0)
        self._answered.set()
        self._queue(encode_frame(frame))

    @property
    def is_behind(self) -> bool:
        """Whether something waits for the peer to read: not the time for what is only a hint."""
        return bool(self._outbox) or self._stream.congested

    def push_encoded(self, frame: bytes) -> None:
        """Queue an encoded frame that nobody asked for, or that goes to many links."""
        self._queue(frame)

    def push_signal(self, frame: bytes) -> None:
        """Queue a hint for the screen: it may be lost."""
        self._queue(frame)

    def reading(self, effect: Subscribe, start: int, last: int | None) -> Subscription | None:
        """The subscription that this effect asks for; None where it may not read any more."""
        if not self._hub.is_attached(self.link, effect.room, effect.mid):
            return None
        return Subscription(self, effect.room, effect.mid, start, last=last)

    def do(self, job: Job) -> None:
        """Do this in the slow lane, in the order it was asked for."""
        self._jobs.append(job)
        self._wake.set()

    def do_once(self, room: RoomId, job: Job) -> None:
        """As `do`, unless it is still to be done for this room."""

        async def once() -> None:
            self._once.discard(room)
            await job()

        if room not in self._once:
            self._once.add(room)
            self.do(once)

    async def hand(self, frame: RelayFrame) -> None:
        """In the slow lane: queue a frame when the peer has taken most of what waits for it."""
        await self.make_room()
        self._queue(encode_frame(frame))

    async def make_room(self) -> None:
        """In the slow lane: wait until the peer has taken most of what waits for it."""
        if self._outbox_bytes > _BATCH_BYTES:
            await self._drain()

    def await_feed(self, feed: Feed) -> None:
        """A job is to subscribe to this feed: it must be there until then."""
        feed.awaited += 1
        self._awaited.append(feed)

    def await_no_more(self, feed: Feed) -> None:
        """The end of one `await_feed`."""
        self._awaited.remove(feed)
        feed.awaited -= 1

    def subscribe(self, subscription: Subscription, feed: Feed) -> None:
        """Read this room from now on, in place of an earlier reading of it."""
        self.unsubscribe(subscription.room)
        self._subscriptions[subscription.room] = (subscription, feed)
        feed.subscriptions.add(subscription)
        self._wake.set()

    def unsubscribe(self, room: RoomId) -> None:
        """Read this room no more."""
        held = self._subscriptions.pop(room, None)
        if held is not None:
            subscription, feed = held
            feed.subscriptions.discard(subscription)

    def drop(self) -> None:
        """The link is gone: leave every room, also those that it was about to read."""
        for feed in list(self._awaited):
            self.await_no_more(feed)
        for room in list(self._subscriptions):
            self.unsubscribe(room)

    def come_back(self, room: RoomId, failure: Failure) -> None:
        """The feed that is read here of this room ends: on a link anew it is served on."""
        self.end(failure)

    def end(self, failure: Failure) -> None:
        """Say why, and close."""
        if not self._last_words:
            self._last_words = True
            self._queue(encode_frame(failure))
            self.pump()
            self._reading_scope.cancel()

    def fail(self, mistake: Exception) -> None:
        """We made a mistake while serving this link: nothing more is known to be right on it."""
        self._hub.report(mistake)
        self._clear_outbox()
        self._page.clear()
        self.end(failure_of(Code.INTERNAL))

    def _queue(self, frame: bytes) -> None:
        if self._outbox_bytes + len(frame) > self._limits.outbox_bytes and not self._last_words:
            self._clear_outbox()
            self.end(failure_of(Code.STALLED))
            return
        self._outbox.append(frame)
        self._outbox_bytes += len(frame)

    def _clear_outbox(self) -> None:
        self._outbox.clear()
        self._outbox_bytes = 0

    # -- sending ---------------------------------------------------------------------------------

    def pump(self) -> None:
        """Send all that is due and that the socket takes now; leave the rest to the slow lane."""
        try:
            while not self._stream.congested:
                due = self._collect()
                if not due.frames:
                    break
                self._stream.try_send(self.session.send(due.frames, due.trailer))
                self._hub.metrics.messages.inc()
        except (Closed, ThemisError):
            return  # the reader learns of it, and ends the link
        except Exception as mistake:  # whoever pumps serves others as well
            self.fail(mistake)
            return
        if self.session.is_worn:
            self.end(_WORN)
        if self._stream.congested or any(feed.lags(s) for s, feed in self._reading()):
            self._wake.set()

    def _collect(self) -> Taken:
        due = Taken()
        frames = due.frames
        budget = _BATCH_BYTES
        while self._outbox and budget > 0:
            frames.append(self._outbox.popleft())
            self._outbox_bytes -= len(frames[-1])
            budget -= len(frames[-1])
        while self._page and budget > 0:
            frames.append(self._page.popleft())
            budget -= len(frames[-1])
        if self._page or self._last_words:
            return due
        for subscription, feed in self._reading():
            if budget <= 0 or len(due.trailer) >= TRAILER_PARTS:
                break
            if subscription.next_seq <= feed.head and not subscription.is_over:
                taken = feed.take(subscription, budget)
                due.frames.extend(taken.frames)
                due.trailer.extend(taken.trailer)
                budget -= taken.size
        return due

    def _reading(self) -> Iterable[tuple[Subscription, Feed]]:
        return self._subscriptions.values()

    # -- the slow lane ---------------------------------------------------------------------------

    async def _slow_lane(self) -> None:
        while True:
            await self._wake.wait()
            self._wake = trio.Event()
            try:
                await self._drain()
                while self._jobs:
                    await self._jobs.popleft()()
                    await self._drain()
                for subscription, feed in list(self._reading()):
                    await self._catch_up(subscription, feed)
            except Closed:
                return  # the reader learns of it too, and ends the link
            except StoreError:
                self.end(failure_of(Code.STORAGE_FAILED))
                return
            self.pump()

    async def _catch_up(self, subscription: Subscription, feed: Feed) -> None:
        """Serve from the store, page by page, until the room's feed has the rest."""
        while self._holds(subscription) and feed.lags(subscription) and not self._last_words:
            if subscription.is_over:
                break  # what memory has is after a hole
            page = await self._hub.lookups.page(subscription)
            if not self._holds(subscription):
                return  # evicted, or subscribed anew, while the store was read
            self._page.extend(await self._frames_of(subscription, page))
            subscription.next_seq = page.next_seq
            await self._drain()
        if self._holds(subscription) and subscription.is_over:
            self.end(failure_of(Code.TRY_AGAIN))  # it goes on after a hole, which `synced` tells

    async def _frames_of(self, subscription: Subscription, page: LogPage) -> list[bytes]:
        """What this reader gets of a page from the store, encoded."""
        frames: list[bytes] = []
        for row in page.rows:
            if not subscription.takes(row.seq):
                break
            if row.box:
                frames.append(encode_frame(Box(subscription.room, row.seq, row.box)))
            delivery = Delivery(subscription.room, row.seq, row.record, row.cell)
            frames.append(encode_frame(delivery))
        return frames

    async def _drain(self) -> None:
        """Let the peer take what waits, before there is more of it. Raises `Closed`."""
        await self._stream.flush()
        self.pump()
        while (self._outbox or self._page) and not self._last_words:
            await self._stream.flush()
            self.pump()

    def reads(self, room: RoomId) -> bool:
        """Whether the room's feed goes to this link, or is about to."""
        return room in self._subscriptions or any(feed.room == room for feed in self._awaited)

    def _holds(self, subscription: Subscription) -> bool:
        held = self._subscriptions.get(subscription.room)
        return held is not None and held[0] is subscription


def failure_of(code: Code, rid: int = 0) -> Failure:
    """The failure of a request, or with `rid` 0 of the link, in the code's own words."""
    return Failure(rid, code, SENTENCES[code])


def rid_of(frame: object) -> int:
    """The frame's request number; 0 where it has none."""
    return getattr(frame, "rid", 0)
