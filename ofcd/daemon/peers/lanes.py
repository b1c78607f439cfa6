"""A lane at the hub: one member, or one guest, of another relay, as if it had a link of its own.

What it asks takes the way of every client's frame: cheap checks, signatures in a worker thread, the
hub. That its relay says so makes nobody a member: the control log says who is at home where, and
each record bears its member's signature.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

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


class Lane:
    """A `LinkEnd` whose bytes travel on the link of a relay."""

    def __init__(self, number: int, link: LinkId, peer: PeerLink, hub: Hub) -> None:
        self.number = number
        self.link = link
        self._peer = peer
        self._hub = hub
        self._waiting: deque[LaneOpen | bytes] = deque()
        self._working = False

    # -- what the other relay sends ----------------------------------------------------------------

    def take(self, item: LaneOpen | bytes) -> None:
        """Queue who it is, or a frame of theirs; in order. The peer's link bounds how many."""
        self._waiting.append(item)
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
            while self._waiting and isinstance(following := self._waiting[0], bytes):
                batch.append(following)
                self._waiting.popleft()
            await self._ask(batch)
            self._peer.landed(len(batch))
        self._working = False

    async def _enter(self, room: RoomId, mid: MemberId) -> None:
        try:
            await self._hub.enter_lane(self, room, mid)
        except (ProtocolError, StoreError, BadSnapshot) as error:
            self._peer.tell(LaneLost(self.number, error.code))
            if isinstance(error, ProtocolError):
                self._peer.refused()

    async def _ask(self, batch: list[bytes]) -> None:
        asked: list[frames.ClientFrame] = []
        for raw in batch:
            try:
                frame = decode_client_frame(raw)
            except ProtocolError as error:
                self._peer.offend(f"it passed on bytes that are no frame ({error.code})")
                return
            if isinstance(frame, _ALLOWED):
                asked.append(frame)
            elif rid_of(frame):
                self.answer(failure_of(Code.FORBIDDEN, rid_of(frame)))
        await self._hub.take(self, asked)

    # -- what the hub says (LinkEnd) ---------------------------------------------------------------

    @property
    def is_behind(self) -> bool:
        """Whether something waits for the other relay to read."""
        return self._peer.is_behind

    def answer(self, frame: frames.RelayFrame) -> None:
        """Send an answer back in the lane."""
        if isinstance(frame, frames.Failure):
            self._peer.refused()
            if frame.code == Code.BAD_SIGNATURE:
                self._peer.forged()
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
        self._peer.do(job)

    def do_once(self, room: RoomId, job: Job) -> None:
        """The same: a lane is entered seldom."""
        self._peer.do(job)

    async def hand(self, frame: frames.RelayFrame) -> None:
        """Queue a frame once the other relay has taken most of what waits."""
        await self._peer.hand_over(LaneTell(self.number, encode_frame(frame)))

    def end(self, failure: frames.Failure) -> None:
        """The relay stops; or so much was wrong in this lane that no honest one passes it on."""
        if failure.code == Code.RATE_LIMITED:
            self._peer.offend(failure.text)
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

    def reading(self, effect: Subscribe, start: int) -> Subscription | None:
        """Nothing is read here."""
        return None

    def subscribe(self, subscription: Subscription, feed: Feed) -> None:
        """Not asked for in a lane."""

    def unsubscribe(self, room: RoomId) -> None:
        """The member is gone; who follows the room learns it from the log."""

    def reads(self, room: RoomId) -> bool:
        """Nothing is read here."""
        return False

    def drop(self) -> None:
        """Nothing is held here."""
