"""The way to other relays, as the hub needs it: `ofcd.daemon.peers` is what is behind it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from ofcd.daemon.feed import Feed
from ofcd.daemon.linkend import LinkEnd
from ofcd.protocol.frames import Peer, Successions
from ofcd.protocol.ids import BlobId, Hash32, MemberId, PublicKey, RelayId, RoomId
from ofcd.relay import Arrive, Forward, HubMoved, LinkId, RoomLog
from ofcd.session import RelaySession
from ofcd.wire import MessageStream

__all__ = ["Across"]


class Across(Protocol):
    """The way to other relays, as the hub needs it."""

    async def accept(
        self, frame: Peer, challenge: Hash32, stream: MessageStream, session: RelaySession
    ) -> None:
        """Another relay has dialled: talk to it, until it is gone."""
        ...

    def forward(self, connection: LinkEnd, effect: Forward) -> None:
        """Ask another relay on behalf of this link, and answer it."""
        ...

    def is_up_to_date(self, hub: RelayId, log: RoomLog) -> bool:
        """Whether this copy has all that its hub has, as far as is known."""
        ...

    def arrive(self, connection: LinkEnd, effect: Arrive) -> None:
        """Fetch a room for a member who is at home here only now."""
        ...

    def was_read(self, room: RoomId, blob: BlobId) -> None:
        """Somebody reads an attachment that may be here for that alone."""
        ...

    def stir(self, hub: RelayId, room: RoomId) -> None:
        """Something waits for the room's hub."""
        ...

    def came(self, hub: RelayId, room: RoomId, mid: MemberId) -> None:
        """A local member of another relay's room is here."""
        ...

    def left(self, link: LinkId) -> None:
        """A link is gone."""
        ...

    def members_changed(self, room: RoomId, seq: int, feed: Feed) -> None:
        """With entry `seq` someone came or went: see which relays may still follow the room."""
        ...

    def hub_moved(self, effect: HubMoved, feed: Feed | None) -> None:
        """A room has another hub: follow it there, and end the following here."""
        ...

    def key_of(self, relay: RelayId) -> PublicKey | None:
        """The relay's key, once it has proven it."""
        ...

    def successions(self, relay: RelayId) -> Iterable[Successions]:
        """What people are shown of how the relay came to its key."""
        ...
