"""This relay as a follower of one hub: copies of its rooms, and what local people ask of it.

    copies    what stands in its rooms; `founding` begins one, `skipping` takes one over a gap
    asking    what local members ask of it, in lanes
    outgoing  what they said, and waits for it

All of it begins anew on each link, from what the store holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Final

import trio

from ofcd.config import Federation
from ofcd.daemon.peers.asking import Answered, Asking
from ofcd.daemon.peers.cache import BlobCache
from ofcd.daemon.peers.copies import Copies
from ofcd.daemon.peers.founding import Founding
from ofcd.daemon.peers.hublink import HubLine, HubLink, HubRooms
from ofcd.daemon.peers.outgoing import Outgoing
from ofcd.daemon.workers import Workers
from ofcd.protocol import frames
from ofcd.protocol.frames import (
    Delivery,
    Head,
    LaneLost,
    LaneTell,
    PeerBox,
    PeerFrame,
    Synced,
    Unfollowed,
    decode_relay_frame,
)
from ofcd.protocol.ids import EventId, MemberId, PublicKey, RelayId, RoomId
from ofcd.relay import Entry, Forward, LinkId, Relay

if TYPE_CHECKING:
    from ofcd.daemon.hub import Hub
    from ofcd.daemon.linkend import LinkEnd

__all__ = ["Following"]

_ENTRIES: Final = 256
"""Entries verified and committed in one go."""
_FRAMES_PER_TURN: Final = 64
"""Frames of one message taken before other tasks get a turn, as at the link."""
_COPIERS: Final = 2
"""Copies of one hub's rooms that are begun, or go on after a gap, at once: each takes a control
log's memory."""


class Following:
    """All that this relay wants of one hub."""

    def __init__(
        self,
        hub_id: RelayId,
        hub: Hub,
        relay: Relay,
        workers: Workers,
        own_id: RelayId,
        settings: Federation,
        cache: BlobCache,
    ) -> None:
        """`cache` is one for all hubs."""
        self.hub_id = hub_id
        self.line = HubLine(hub_id)
        self._hub = hub
        self._relay = relay
        self._rooms = HubRooms(hub_id, hub, relay)
        self._asking = Asking(self._rooms, hub, relay, cache, self.have)
        self.outgoing = Outgoing(self)
        copiers = trio.CapacityLimiter(_COPIERS)
        self.copies = Copies(
            self.line,
            self._rooms,
            hub,
            relay,
            workers,
            own_id,
            settings,
            self._asking,
            self.outgoing,
            copiers=copiers,
        )
        self._founding = Founding(
            self.line,
            self._rooms,
            hub,
            relay,
            workers,
            own_id,
            self.copies,
            self._asking,
            copiers=copiers,
        )
        self.rooms = self.copies.rooms
        """Those that are copied."""

    @property
    def wants_link(self) -> bool:
        """Whether there is anything to talk about."""
        return bool(self.copies.rooms)

    def release(self, room: RoomId) -> None:
        """Another relay orders this room from now on."""
        self.copies.release(room)
        self._asking.release(room)
        self.outgoing.release(room)

    async def link_up(self, link: HubLink, key: PublicKey) -> None:
        """A link is open: follow every room on, and send what waits."""
        self.link_down()
        self.line.up(link, key)
        self._asking.link_up(link)
        self.copies.link_up(link)

    def link_down(self) -> None:
        """The link is gone: who asked something is told so."""
        self.line.down()
        self._asking.link_down()
        self.outgoing.link_lost()
        self.copies.link_down()

    def forward(self, connection: LinkEnd, effect: Forward) -> bool:
        """Ask the hub what a local link asked, and answer it; False without a link."""
        return self._asking.forward(connection, effect)

    def ask(
        self, room: RoomId, mid: MemberId, frame: frames.ClientFrame, answered: Answered
    ) -> None:
        """Ask the hub as this member."""
        self._asking.ask(room, mid, frame, answered)

    def came(self, room: RoomId, mid: MemberId) -> None:
        """A local member is here: have the hub say what waits for it."""
        self.copies.came(room, mid)
        self._asking.came(room, mid)

    async def have(self, room: RoomId, mid: MemberId) -> bool:
        """The copy is here, and this member at home here; waits a bounded time for it."""
        return await self._founding.have(room, mid)

    def left(self, link: LinkId) -> None:
        """A local link is gone: with it goes the lane of a stranger."""
        self._asking.left(link)

    def later(self, seconds: float, work: Callable[[], None]) -> None:
        """Do this after so many seconds, if the link lasts."""
        self.line.later(seconds, work)

    async def give_back(
        self, room: RoomId, mid: MemberId, counter: int, why: frames.Failure
    ) -> None:
        """The hub refused this event: it goes back to its sender, with all behind it."""
        await self._rooms.decide(room, lambda: self._relay.return_events(room, mid, counter, why))
        self._hub.deliver_soon()

    async def has_come_to(
        self, room: RoomId, mid: MemberId, counter: int, event_id: EventId
    ) -> None:
        """The hub's last event of this sender is one that waits here: all up to it is said."""
        decide = partial(self._relay.has_come_to, room, mid, counter, event_id)
        await self._rooms.decide(room, decide)

    async def take(self, link: HubLink, received: Iterable[PeerFrame]) -> None:
        """Frames of the hub's, in order; no more once another link took this one's place.

        Raises `StoreError`.
        """
        entries: list[Entry] = []
        room: RoomId | None = None
        for turn, frame in enumerate(received, start=1):
            if turn % _FRAMES_PER_TURN == 0:
                await trio.lowlevel.checkpoint()
            if not _goes_with(frame, room, entries):
                await self._grow(link, room, entries)
                entries, room = [], None
            if link is not self.line.link:
                return
            if isinstance(frame, Delivery):
                room = frame.room
                entries.append(self._entry(frame))
            elif isinstance(frame, PeerBox):
                self.copies.box(frame)
            else:
                await self._take_one(frame)
        await self._grow(link, room, entries)

    async def _grow(self, link: HubLink, room: RoomId | None, entries: list[Entry]) -> None:
        if link is self.line.link:
            await self.copies.grow(room, entries)

    def _entry(self, frame: Delivery) -> Entry:
        copy = self.copies.rooms.get(frame.room)
        if copy is not None:
            self.copies.hub_says(frame.room, frame.seq)
        boxes = {} if copy is None else copy.boxes.pop(frame.seq, {})
        return Entry(frame.seq, frame.record, frame.cell, tuple(boxes.items()))

    async def _take_one(self, frame: PeerFrame) -> None:
        match frame:
            case LaneTell(lane=0):
                self._asking.signalled(decode_relay_frame(frame.frame))
            case LaneTell():
                await self._asking.told(frame.lane, decode_relay_frame(frame.frame))
            case LaneLost():
                await self._asking.lost(frame)
            case Synced() | frames.Failure() | frames.Done():
                await self.line.take(frame)
            case Head():
                await self.copies.headed(frame)
            case Unfollowed():
                await self.copies.unfollowed(frame)


def _goes_with(frame: PeerFrame, room: RoomId | None, entries: list[Entry]) -> bool:
    """Whether it is taken before these are committed: as one of them, or it belongs to one."""
    if isinstance(frame, Delivery):
        return room in (None, frame.room) and len(entries) < _ENTRIES
    return isinstance(frame, PeerBox)
