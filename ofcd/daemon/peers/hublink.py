"""What this relay has of one hub: the link to it, and the rooms that it orders."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Protocol

from attrs import frozen

from ofcd.protocol.frames import PeerFrame
from ofcd.protocol.ids import RelayId, RoomId
from ofcd.relay import Relay, RoomLog

if TYPE_CHECKING:
    from ofcd.daemon.hub import Hub

__all__ = ["HubLink", "HubRooms"]


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
