"""A lane at the hub: one member, or one guest, of another relay, as if it had a link of its own.

What it asks takes the way of every client's frame: cheap checks, signatures in a worker thread, the
hub. That its relay says so makes nobody a member: the control log says who is at home where, and
each record bears its member's signature.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from attrs import evolve, frozen

from ofcd.daemon.connection import failure_of, rid_of
from ofcd.daemon.feed import Feed, Subscription
from ofcd.protocol import frames
from ofcd.protocol.codes import Code, ProtocolError
from ofcd.protocol.frames import LaneLost, LaneOpen, LaneTell, decode_client_frame, encode_frame
from ofcd.protocol.ids import MemberId, RoomId
from ofcd.relay import BadSnapshot, LinkId, Subscribe
from ofcd.store import StoreError

if TYPE_CHECKING:
    from ofcd.daemon.hub import Hub
    from ofcd.daemon.linkend import Job
    from ofcd.daemon.peers.link import PeerLink

__all__ = ["Lane"]

_ALLOWED: Final = (
    frames.Post,
    frames.Control,
    frames.ChainGet,
    frames.Lookup,
    frames.Join,
    frames.JoinAnswer,
    frames.JoinConfirm,
    frames.KeyRequest,
    frames.KeyAnswer,
    frames.Signal,
    frames.BlobPut,
    frames.BlobGet,
    frames.BlobDrop,
)
"""What may be asked in a lane: links are attached and fed by their own relay."""


_UNDER_WAY: Final = 32
"""Of one lane: what comes above it is refused, so that no other lane waits for this one."""
_RETRY_MS: Final = 1000
_UNCHECKED: Final = (frames.JoinConfirm,)
"""What an honest relay passes on without knowing the key that must have signed it."""


@frozen
class _Asked:
    """A request that is under way."""

    kind: type[frames.ClientFrame]
    size: int


class Lane:
    """A `LinkEnd` whose bytes travel on the link of a relay."""

    def __init__(self, number: int, link: LinkId, peer: PeerLink, hub: Hub) -> None:
        self.number = number
        self.link = link
        self._peer = peer
        self._hub = hub
        self._waiting: deque[LaneOpen | frames.ClientFrame] = deque()
        self._working = False
        self._under_way: dict[int, _Asked] = {}
        self._hints = 0
        """Of what waits, frames that get no answer."""
        self._once: set[RoomId] = set()
        self._closed = False

    # -- what the other relay sends ----------------------------------------------------------------

    def enter(self, frame: LaneOpen) -> None:
        """Queue who it is; in the order of what is asked."""
        if len(self._waiting) < _UNDER_WAY:  # an honest relay says it once
            self._queue(frame)

    def ask(self, raw: bytes) -> None:
        """Queue a frame of theirs, in order. Where too much is under way, it is refused."""
        try:
            frame = decode_client_frame(raw)
        except ProtocolError as error:
            self._peer.offend(f"it passed on bytes that are no frame ({error.code})")
            return
        rid = rid_of(frame)
        if not isinstance(frame, _ALLOWED):
            self._refuse(rid, Code.FORBIDDEN)
        elif isinstance(frame, frames.BlobDrop) and not self._hub.is_up_to_date(frame.room):
            self._refuse(rid, Code.HUB_AWAY)  # who may drop it now is not known here
        elif len(self._under_way) + self._hints >= _UNDER_WAY:
            self._refuse(rid, Code.RATE_LIMITED)
        elif rid in self._under_way:
            self._refuse(rid, Code.BAD_FRAME)
        else:
            if rid:
                self._under_way[rid] = _Asked(type(frame), len(raw))
                self._peer.charge(1, len(raw))
            else:
                self._hints += 1
            self._queue(frame)

    def _refuse(self, rid: int, code: Code) -> None:
        self._peer.refused()
        if rid:
            failure = failure_of(code, rid)
            if code is Code.RATE_LIMITED:
                failure = evolve(failure, retry_after=_RETRY_MS)
            self._tell(failure)

    def _queue(self, item: LaneOpen | frames.ClientFrame) -> None:
        self._waiting.append(item)
        self._peer.charge(1)
        if not self._working:
            self._working = True
            self._peer.spawn(self._work)

    async def _work(self) -> None:
        while self._waiting:
            item = self._waiting.popleft()
            if isinstance(item, LaneOpen):
                await self._enter(item.room, item.mid)
                self._peer.landed(1)
                continue
            batch = [item]
            while self._waiting and not isinstance(following := self._waiting[0], LaneOpen):
                batch.append(following)
                self._waiting.popleft()
            self._hints -= sum(not rid_of(frame) for frame in batch)
            await self._hub.take(self, batch)
            self._peer.landed(len(batch))
        self._working = False

    async def _enter(self, room: RoomId, mid: MemberId) -> None:
        try:
            await self._hub.enter_lane(self, room, mid)
        except (ProtocolError, StoreError, BadSnapshot) as error:
            self._peer.tell(LaneLost(self.number, error.code))
            if isinstance(error, ProtocolError):
                self._peer.refused()

    # -- what the hub says (LinkEnd) ---------------------------------------------------------------

    @property
    def is_behind(self) -> bool:
        """Whether something waits for the other relay to read."""
        return self._peer.is_behind

    def answer(self, frame: frames.RelayFrame) -> None:
        """Send an answer back in the lane."""
        asked = self._under_way.pop(rid_of(frame), None)
        if asked is not None and not self._closed:
            self._peer.landed(1, asked.size)
        if isinstance(frame, frames.Failure):
            self._peer.refused()
            known = asked is not None and asked.kind not in _UNCHECKED
            if frame.code == Code.BAD_SIGNATURE and known:
                self._peer.forged()
        self._tell(frame)

    def _tell(self, frame: frames.RelayFrame) -> None:
        if not self._closed:
            self._peer.tell(LaneTell(self.number, encode_frame(frame)))

    def push_encoded(self, frame: bytes) -> None:
        """Send a frame that nobody asked for."""
        self._peer.tell(LaneTell(self.number, frame))

    def push_signal(self, frame: bytes) -> None:
        """One copy for all of the relay's members."""
        self._peer.tell_signal(frame)

    def pump(self) -> None:
        """Send what can be sent now."""
        self._peer.pump()

    def do(self, job: Job) -> None:
        """Do this in the peer link's slow lane."""

        async def done() -> None:
            try:
                await job()
            finally:
                self._peer.landed(1)

        self._peer.charge(1)
        self._peer.do(done)

    def do_once(self, room: RoomId, job: Job) -> None:
        """The same, unless it is still to be done for this room."""

        async def once() -> None:
            self._once.discard(room)
            await job()

        if room not in self._once:
            self._once.add(room)
            self.do(once)

    async def hand(self, frame: frames.RelayFrame) -> None:
        """Queue a frame once the other relay has taken most of what waits."""
        await self._peer.hand_over(LaneTell(self.number, encode_frame(frame)))

    def end(self, failure: frames.Failure) -> None:
        """The relay stops; or so much was wrong in this lane that it is closed: it alone."""
        if failure.code == Code.RATE_LIMITED:
            self._peer.close_lane(self.number, failure.code)
        else:
            self._peer.end(failure)

    def fail(self, mistake: Exception) -> None:
        """A mistake of ours: the whole link is opened anew."""
        self._peer.fail(mistake)

    # A lane reads no feed: the other relay follows the room once for all of its members.

    def await_feed(self, feed: Feed) -> None:
        """Not asked for in a lane."""

    def await_no_more(self, feed: Feed) -> None:
        """Not asked for in a lane."""

    def reading(self, effect: Subscribe, start: int, last: int | None) -> Subscription | None:
        """Nothing is read here."""
        return None

    def subscribe(self, subscription: Subscription, feed: Feed) -> None:
        """Not asked for in a lane."""

    def unsubscribe(self, room: RoomId) -> None:
        """The member is gone; who follows the room learns it from the log."""

    def reads(self, room: RoomId) -> bool:
        """Nothing is read here."""
        return False

    def come_back(self, room: RoomId, failure: frames.Failure) -> None:
        """No feed is read here."""

    def drop(self) -> None:
        """The lane is done with: nothing in it is awaited any more."""
        if self._closed:
            return
        self._closed = True
        for asked in self._under_way.values():
            self._peer.landed(1, asked.size)
        self._peer.landed(len(self._waiting))
        self._waiting.clear()
