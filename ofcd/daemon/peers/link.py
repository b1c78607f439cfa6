"""A link between two relays: either may have dialled, and either may be the hub of some rooms.

It is a `Connection` whose frames are those of relays: one writer, a bounded outbox, rooms fed by
cursor from their feeds, a slow lane for what has to wait. As a hub it serves `Follow` and lanes;
the rest goes to `Following`, which keeps this relay's copies of the other one's rooms.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Final

import trio
from attrs import define

from ofcd.channel import ChannelError
from ofcd.daemon.connection import Connection, failure_of
from ofcd.daemon.feed import FeedEntry, Subscription
from ofcd.daemon.linkend import Job
from ofcd.daemon.peers.lanes import Lane
from ofcd.protocol import limits
from ofcd.protocol.codes import Code, Malformed, ProtocolError
from ofcd.protocol.frames import (
    Cursor,
    Delivery,
    Done,
    Failure,
    Follow,
    LaneAsk,
    LaneClose,
    LaneLost,
    LaneOpen,
    LaneTell,
    Moved,
    PeerBox,
    PeerFrame,
    Ping,
    Pong,
    Refill,
    Unfollowed,
    encode_frame,
)
from ofcd.protocol.ids import Hash32, MemberId, RelayId, RoomId
from ofcd.protocol.rates import TokenBuckets
from ofcd.relay import LinkId, Subscribe
from ofcd.session import ClientSession, RelaySession
from ofcd.store import LogPage
from ofcd.themis.errors import ThemisError
from ofcd.wire import Closed, MessageStream

if TYPE_CHECKING:
    from ofcd.daemon.hub import Hub
    from ofcd.daemon.peers.federation import Federation

__all__ = ["PeerLink", "PeerSubscription"]

_PING_SECONDS: Final = 30
_DEAD_SECONDS: Final = 90
_IN_LANES: Final = 1024
"""What one link's lanes have under way, before it is read on: requests, and readings of the store.
"""
_IN_LANES_BYTES: Final = 8 * limits.MIB
"""And at most so many bytes of requests."""
_JOBS: Final = 16_384
"""What may wait in the slow lane of a peer that reads nothing."""
_LANES: Final = 10_000
_NOBODY: Final = MemberId(bytes(32))
_MAYBE_MOVED: Final = frozenset({Code.NOT_FOUND, Code.HUB_BEHIND, Code.FORK})
"""So a `follow` is refused where the follower has not heard of a move."""
_FRAMES_PER_TURN: Final = 64
"""Frames of one message taken before other tasks get a turn: it may hold thousands."""
_FORGERIES: Final = 20
_MINUTE: Final = 60


@define(eq=False)
class PeerSubscription(Subscription):
    """A relay's reading of a room: the deliveries once, and the boxes of all its members.

    It ends with the entry with which its last member went, or the room to another hub.
    """

    peer: PeerLink | None = None
    bulk: bool = False

    def frames(self, entry: FeedEntry) -> Iterable[bytes]:
        """The boxes for members who are at home there, then the delivery."""
        if self.peer is None or not self.takes(entry.seq):
            return
        if entry.boxes:
            homed = self.peer.homed(self.room)
            for mid, box in entry.boxes.items():
                if mid in homed:
                    yield encode_frame(PeerBox(self.room, entry.seq, mid, box))
        yield entry.delivery


class PeerLink(Connection):
    """One link to one relay, once both have introduced themselves."""

    def __init__(
        self,
        link: LinkId,
        challenge: Hash32,
        stream: MessageStream,
        session: RelaySession | ClientSession,
        hub: Hub,
        federation: Federation,
        peer: RelayId,
        *,
        dialled: bool,
        frames_per_second: int,
    ) -> None:
        """`dialled`: by this relay."""
        super().__init__(link, challenge, stream, session, hub)
        self.peer = peer
        self.dialled = dialled
        self.acked: dict[RoomId, int] = {}
        """By room that the other relay follows, how far it has stored it."""
        self.told_back: set[RoomId] = set()
        self.gone = trio.Event()
        self._federation = federation
        self._lanes: dict[int, Lane] = {}
        self._in_lanes = 0
        self._in_lanes_bytes = 0
        self._follows: set[RoomId] = set()
        self._serving = False
        self._room_in_lanes = trio.Event()
        self._last_heard = trio.current_time()
        self._last_signal = b""
        rate = frames_per_second
        self._rate = TokenBuckets(burst=2 * rate, per_second=rate, max_keys=1)
        self._forgeries = TokenBuckets(
            burst=_FORGERIES, per_second=_FORGERIES / _MINUTE, max_keys=1
        )
        self._refusals = TokenBuckets(burst=4 * rate, per_second=rate, max_keys=1)

    # -- life --------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Serve the link until it ends. A mistake of ours ends this link, and no other."""
        self._stream.max_message_bytes = self._limits.message_bytes
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                self._serving = True
                try:
                    nursery.start_soon(self._slow_lane)
                    nursery.start_soon(self._keep_alive)
                    with self._reading_scope:
                        await self._federation.linking.link_opened(self)
                        await self._read_peer()
                    await self._say_goodbye()
                finally:
                    self._serving = False
                nursery.cancel_scope.cancel()
        except* Closed:
            pass
        except* Exception as mistake:
            self.fail(mistake)
            await self._say_goodbye()
        finally:
            self._federation.linking.link_closed(self)
            for number in list(self._lanes):
                self._drop_lane(number)
            self.drop()

    async def _read_peer(self) -> None:
        try:
            while not self._last_words and not self.session.is_worn:
                message = await self._stream.receive()
                await self._pace.take(len(message))
                received = self.session.receive_peer(message)
                self._last_heard = trio.current_time()
                await self._take_peer(received)
            self.end(failure_of(Code.TRY_AGAIN))
        except ProtocolError as error:
            # What is refused is a limit, or a moment, of ours; order is lost on the network, too.
            if isinstance(error, Malformed) and error.kind is not Code.OUT_OF_ORDER:
                self.offend(str(error))
            self.end(Failure(0, error.code, str(error)))
        except (ChannelError, ThemisError) as error:
            self._last_words = True
            self._clear_outbox()
            await self._stream.close(1008, str(error)[:100])

    async def _keep_alive(self) -> None:
        number = 0
        while True:
            await trio.sleep(_PING_SECONDS)
            if trio.current_time() - self._last_heard > _DEAD_SECONDS:
                self.end(failure_of(Code.STALLED))
                return
            number += 1
            self.tell(Ping(number))
            self.pump()

    def spawn(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do this beside the reading, as long as the link lasts; not at all once it is gone."""
        if self._serving:
            self._nursery.start_soon(work)

    def do(self, job: Job) -> None:
        """Do this in the slow lane. A peer that reads nothing for so long that it fills is left."""
        if len(self._jobs) < _JOBS:
            super().do(job)
        else:
            self.end(failure_of(Code.STALLED))

    # -- out ---------------------------------------------------------------------------------------

    def tell(self, frame: PeerFrame) -> None:
        """Queue a frame; it goes out with the next `pump`."""
        self._queue(encode_frame(frame))

    def tell_signal(self, frame: bytes) -> None:
        """Queue a hint once, however many lanes it is for: they get one object."""
        if frame is not self._last_signal:
            self._last_signal = frame
            self.tell(LaneTell(0, frame))

    async def hand_over(self, frame: PeerFrame) -> None:
        """In the slow lane: queue a frame when the peer has taken most of what waits for it."""
        await self.make_room()
        self._queue(encode_frame(frame))

    # -- in ----------------------------------------------------------------------------------------

    async def _take_peer(self, received: Iterable[PeerFrame]) -> None:
        others: list[PeerFrame] = []
        for turn, frame in enumerate(received, start=1):
            if self._last_words:
                break
            if turn % _FRAMES_PER_TURN == 0:
                await trio.lowlevel.checkpoint()
            match frame:
                case LaneAsk() | LaneOpen():
                    await self._take_lane(frame)
                case LaneClose():
                    self._drop_lane(frame.lane)
                case Follow():
                    await self._pay()
                    self._queue_follow(frame)
                case Refill():
                    await self._pay()
                    await self._federation.refilled(self, frame)
                case Moved():
                    await self._pay()
                    await self._federation.moved(self, frame)
                case Cursor():
                    if frame.room in self._subscriptions and self._federation.linking.is_in_use(
                        self
                    ):
                        self.acked[frame.room] = frame.seq
                        self._hub.acknowledged(frame.room, self.peer, frame.seq)
                case Ping():
                    self.tell(Pong(frame.number))
                case Pong():
                    pass
                case Failure(rid=0):
                    self._federation.roster.told_off(self, frame)
                    self._last_words = True
                case _:
                    others.append(frame)
        if others:
            await self._federation.following(self.peer).take(self, others)
        self.pump()

    async def _take_lane(self, frame: LaneAsk | LaneOpen) -> None:
        await self._pay()
        while self._in_lanes >= _IN_LANES or self._in_lanes_bytes >= _IN_LANES_BYTES:
            self._room_in_lanes = trio.Event()
            await self._room_in_lanes.wait()
        lane = self._lanes.get(frame.lane)
        if lane is None:
            if len(self._lanes) >= _LANES:
                self.tell(LaneLost(frame.lane, Code.QUOTA.value))
                return
            lane = self._lanes[frame.lane] = Lane(frame.lane, self._hub.new_link(), self, self._hub)
            self._hub.open_lane(lane, self.peer, self.session.peer, self.challenge)
        if isinstance(frame, LaneOpen):
            lane.enter(frame)
        else:
            lane.ask(frame.frame)

    def close_lane(self, number: int, code: str) -> None:
        """Nothing more is taken in this lane; the other relay may open another."""
        self._drop_lane(number)
        self.tell(LaneLost(number, code))

    def _drop_lane(self, number: int) -> None:
        lane = self._lanes.pop(number, None)
        if lane is not None:
            self._hub.close_lane(lane)
            lane.drop()

    async def _pay(self) -> None:
        """The rate of this peer: who asks faster is read slower, and costs no more."""
        wait = self._rate.take(0, self._hub.milliseconds())
        if wait:
            await trio.sleep(wait / 1000)
            self._rate.take(0, self._hub.milliseconds())
        wait = self._refusals.wait(0, self._hub.milliseconds())
        if wait:
            await trio.sleep(wait / 1000)

    def charge(self, count: int, size: int = 0) -> None:
        """So much more is under way in lanes."""
        self._in_lanes += count
        self._in_lanes_bytes += size

    def landed(self, count: int, size: int = 0) -> None:
        """So much of it is done."""
        self._in_lanes -= count
        self._in_lanes_bytes -= size
        self._room_in_lanes.set()

    def refused(self) -> None:
        """Something that the peer passed on was refused: much of it makes it wait."""
        self._refusals.take(0, self._hub.milliseconds())

    def forged(self) -> None:
        """A false signature: an honest relay checks before it passes on."""
        if self._forgeries.take(0, self._hub.milliseconds()):
            self.offend("it passes on false signatures")

    def offend(self, reason: str) -> None:
        """The peer does what no honest relay does: nothing more is taken from it for a time."""
        self._federation.roster.quarantine(self.peer, reason)

    # -- rooms that the other relay follows --------------------------------------------------------

    def homed(self, room: RoomId) -> frozenset[MemberId]:
        """The room's members who are at home at the other relay."""
        return self._hub.homed(room, self.peer)

    def _queue_follow(self, frame: Follow) -> None:
        """One wish a room at a time, and as many rooms as it may follow."""
        if frame.room in self._follows:
            self.answer(failure_of(Code.TRY_AGAIN, frame.rid))
        elif len(self._follows) >= self._federation.rooms_per_peer:
            self.answer(failure_of(Code.QUOTA, frame.rid))
        else:
            self._follows.add(frame.room)
            self.do(lambda: self._follow(frame))

    async def _follow(self, frame: Follow) -> None:
        self._follows.discard(frame.room)
        held = {*self._subscriptions, *(feed.room for feed in self._awaited)}
        if frame.room not in held and len(held) >= self._federation.rooms_per_peer:
            self.answer(failure_of(Code.QUOTA, frame.rid))
            return
        try:
            await self._hub.follow(self, frame)
        except ProtocolError as error:
            self.refused()
            if error.kind in _MAYBE_MOVED:
                await self._federation.tell_moves(self, frame.room)
            self.answer(self._hub.failure(frame.rid, error))

    def reading(self, effect: Subscribe, start: int, last: int | None) -> Subscription | None:
        """Its members' rooms, up to the record with which the last of them went."""
        lasts = (last, self._hub.last_for(effect.room, self.peer))
        last = min((one for one in lasts if one is not None), default=None)
        return PeerSubscription(self, effect.room, _NOBODY, start, peer=self, last=last)

    def may_follow(self, room: RoomId) -> PeerSubscription | None:
        """Its subscription of this room."""
        held = self._subscriptions.get(room)
        subscription = None if held is None else held[0]
        return subscription if isinstance(subscription, PeerSubscription) else None

    @property
    def followed(self) -> dict[RoomId, int]:
        """By room that the other relay follows, how many entries it has not stored yet."""
        return {
            room: max(0, feed.head - self.acked.get(room, subscription.next_seq - 1))
            for room, (subscription, feed) in self._subscriptions.items()
        }

    def pump(self) -> None:
        """Send what is due; end the subscriptions whose last member's going was delivered."""
        super().pump()
        over = [
            room
            for room, (subscription, _) in self._subscriptions.items()
            if subscription.is_over and not self._page
        ]
        for room in over:
            self._unfollow(room, Code.NOT_FOUND.value)
        if over:
            super().pump()

    def _unfollow(self, room: RoomId, code: str) -> None:
        self.unsubscribe(room)
        if self._federation.linking.is_in_use(self):
            self._hub.unfollowed(self.peer, room)
        self.tell(Unfollowed(room, code))

    def come_back(self, room: RoomId, failure: Failure) -> None:
        """It follows this room anew; the others go on. One that is just being followed ends all."""
        if room in self._subscriptions and not any(feed.room == room for feed in self._awaited):
            self._unfollow(room, failure.code)
            self.pump()
        else:
            self.end(failure)

    async def _frames_of(self, subscription: Subscription, page: LogPage) -> list[bytes]:
        room, found = subscription.room, []
        homed = self.homed(room)
        boxes: dict[int, list[tuple[MemberId, bytes]]] = {}
        if any(not row.cell for row in page.rows):  # control records bear no cell
            stored = await self._hub.lookups.boxes(room, page.rows[0].seq, page.next_seq)
            for seq, mid, box in stored:
                boxes.setdefault(seq, []).append((mid, box))
        for row in page.rows:
            if not subscription.takes(row.seq):
                break
            for mid, box in boxes.get(row.seq, ()):
                if mid in homed:
                    found.append(encode_frame(PeerBox(room, row.seq, mid, box)))
            found.append(encode_frame(Delivery(room, row.seq, row.record, row.cell)))
        return found

    def done(self, rid: int) -> None:
        """A request of the other relay's is done."""
        self.tell(Done(rid))
