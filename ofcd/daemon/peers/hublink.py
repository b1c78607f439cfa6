"""What this relay has of one hub: its key, the link to it, and the rooms that it orders."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from itertools import count
from typing import TYPE_CHECKING, Final, Protocol

import trio
from attrs import frozen

from ofcd.protocol.codes import Code, Refused
from ofcd.protocol.frames import Done, Failure, PeerFrame, Synced
from ofcd.protocol.ids import PublicKey, RelayId, RoomId
from ofcd.relay import Decision, Relay, RoomLog
from ofcd.themis.lineage import Lineage

if TYPE_CHECKING:
    from ofcd.daemon.hub import Hub

__all__ = ["HubLine", "HubLink", "HubRooms"]

Answered = Callable[[PeerFrame], Awaitable[None]]

_TRIES: Final = 5


class HubLink(Protocol):
    """A link to the hub."""

    def tell(self, frame: PeerFrame) -> None:
        """Queue a frame."""
        ...

    @property
    def is_behind(self) -> bool:
        """Whether something waits for the hub to read."""
        ...

    async def hand_over(self, frame: PeerFrame) -> None:
        """In the slow lane: queue a frame when most of what waits was taken."""
        ...

    def do(self, job: Callable[[], Awaitable[None]]) -> None:
        """Do this in the link's slow lane."""
        ...

    def pump(self) -> None:
        """Send what can be sent."""
        ...

    def spawn(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do this as long as the link lasts."""
        ...

    def offend(self, reason: str) -> None:
        """The hub does what no honest one does."""
        ...


class HubLine:
    """The hub, as it is reached: how it came to its key, and the link that is open, if one is."""

    def __init__(self, hub_id: RelayId) -> None:
        self.key: PublicKey | None = None
        """The hub's key, once a link has proven it."""
        self.identity = Lineage(hub_id)
        """How it came to that key."""
        self.link: HubLink | None = None
        self._rids = count(1)
        self._requests: dict[int, Answered] = {}

    def up(self, link: HubLink, key: PublicKey) -> None:
        """A link is open."""
        self.link, self.key = link, key

    def down(self) -> None:
        """It is gone, and with it what was asked."""
        self.link = None
        self._requests.clear()

    def number(self, answered: Answered | None = None) -> int:
        """The number of a request, whose answer `answered` takes."""
        rid = next(self._rids)
        if answered is not None:
            self._requests[rid] = answered
        return rid

    async def take(self, frame: Synced | Failure | Done) -> None:
        """An answer of the hub's."""
        request = self._requests.pop(frame.rid, None)
        if request is not None:
            await request(frame)

    def later(self, seconds: float, work: Callable[[], None]) -> None:
        """Do this after so many seconds, if the link lasts."""

        async def wait() -> None:
            await trio.sleep(seconds)
            work()
            self.flush()

        if self.link is not None:
            self.link.spawn(wait)

    def flush(self) -> None:
        """Send what can be sent."""
        if self.link is not None:
            self.link.pump()


@frozen
class HubRooms:
    """The rooms here that this hub orders. A room of anybody else's is none, whoever names it."""

    hub_id: RelayId
    _hub: Hub
    _relay: Relay

    def held(self, room: RoomId) -> RoomLog | None:
        """The room, if it is in memory."""
        return self._own(self._relay.room(room))

    async def load(self, room: RoomId) -> RoomLog | None:
        """The room, from the store if need be. Raises `StoreError`, `BadSnapshot`."""
        return self._own(await self._hub.room(room))

    def _own(self, log: RoomLog | None) -> RoomLog | None:
        return log if log is not None and log.hub == self.hub_id else None

    async def decide(self, room: RoomId, decide: Callable[[], Decision]) -> bool:
        """Decide this of a copy, which may have left memory meanwhile: load it, and again.

        False where another relay orders the room by then: what this one said counts no more.
        """
        is_ours = True

        def decided() -> Decision:
            nonlocal is_ours
            held = self._relay.room(room)
            is_ours = held is None or held.hub == self.hub_id
            return decide() if is_ours else Decision()

        for left in reversed(range(_TRIES)):
            await self._hub.room(room)
            try:
                await self._hub.do(decided, room)
                break
            except Refused as error:
                if error.kind is not Code.TRY_AGAIN or not left:
                    raise
        return is_ours
