"""Links: the authenticated connections of clients, and as whom each is in which room.

An attachment says only that the link once proved to be `mid`. Who acts on it must look whether
`mid` is still a member: an attachment outlives its member until `prune`, so that an eviction whose
commit failed takes nothing away.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping

from attrs import define, field

from ofcd.protocol.ids import Hash32, InviteId, MemberId, PublicKey, RelayId, RoomId
from ofcd.relay.effects import LinkId

__all__ = ["JoinKey", "Link", "Links"]

JoinKey = tuple[RoomId, InviteId, Hash32]
"""Names one join request: room, invite, hash of the request."""


@define
class Link:
    """One connection: who is at its other end was proved by the Secure Session."""

    id: LinkId
    transport_key: PublicKey
    challenge: Hash32
    """What this link's ATTACH records must answer."""
    peer: RelayId | None = None
    """For a lane: the relay whose member or guest is at its end."""
    rooms: dict[RoomId, MemberId] = field(factory=dict)
    over: set[RoomId] = field(factory=set)
    """Rooms of which it was shown what is void now: it has to come again."""
    joins: OrderedDict[JoinKey, None] = field(factory=OrderedDict)
    """The join requests it sent: their answers are pushed to it."""


class Links:
    """All open links, by id and by room."""

    def __init__(self) -> None:
        self._links: dict[LinkId, Link] = {}
        self._rooms: dict[RoomId, dict[LinkId, MemberId]] = {}
        self._joiners: dict[JoinKey, set[LinkId]] = {}

    def __len__(self) -> int:
        return len(self._links)

    def open(self, link: Link) -> None:
        """Take in a new link."""
        self._links[link.id] = link

    def get(self, link: LinkId) -> Link | None:
        """The open link with this id."""
        return self._links.get(link)

    def close(self, link_id: LinkId) -> None:
        """Forget a link and all it was attached to."""
        link = self._links.pop(link_id, None)
        if link is None:
            return
        for room in list(link.rooms):
            self.detach(link, room)
        for key in list(link.joins):
            self._forget_join(link, key)

    def attach(self, link: Link, room: RoomId, mid: MemberId) -> None:
        """The link has proved to be `mid`."""
        link.rooms[room] = mid
        link.over.discard(room)
        self._rooms.setdefault(room, {})[link.id] = mid

    def detach(self, link: Link, room: RoomId) -> None:
        """The link is no longer in the room."""
        link.rooms.pop(room, None)
        link.over.discard(room)
        attached = self._rooms.get(room)
        if attached is not None:
            attached.pop(link.id, None)
            if not attached:
                del self._rooms[room]

    def attached(self, room: RoomId) -> Mapping[LinkId, MemberId]:
        """The links attached to the room, and as whom: not all need still be members."""
        return self._rooms.get(room, {})

    def of_member(self, room: RoomId, mid: MemberId) -> Iterator[LinkId]:
        """The links attached to the room as `mid`."""
        return (link for link, who in list(self.attached(room).items()) if who == mid)

    def end(self, room: RoomId) -> list[LinkId]:
        """The log has lost its end: clients come again, before they ask anything. Who they are."""
        links = [self._links[link_id] for link_id in self.attached(room)]
        own = [link for link in links if link.peer is None]
        for link in own:
            link.over.add(room)
        return [link.id for link in own]

    def restore(self, room: RoomId) -> None:
        """It has not: the commit failed."""
        for link_id in self.attached(room):
            self._links[link_id].over.discard(room)

    def prune(self, room: RoomId, members: Mapping[MemberId, object]) -> None:
        """Drop the attachments of those who are no longer members."""
        for link_id, mid in list(self.attached(room).items()):
            if mid not in members:
                self.detach(self._links[link_id], room)

    # -- joiners ---------------------------------------------------------------------------------

    def remember_join(self, link: Link, key: JoinKey, most: int) -> None:
        """Push to this link what becomes of the join `key`; it follows `most` joins at once."""
        link.joins[key] = None
        link.joins.move_to_end(key)
        self._joiners.setdefault(key, set()).add(link.id)
        if len(link.joins) > most:
            self._forget_join(link, next(iter(link.joins)))

    def joiners(self, key: JoinKey) -> list[LinkId]:
        """The links that follow the join `key`."""
        return sorted(self._joiners.get(key, ()))

    def _forget_join(self, link: Link, key: JoinKey) -> None:
        link.joins.pop(key, None)
        followers = self._joiners.get(key)
        if followers is not None:
            followers.discard(link.id)
            if not followers:
                del self._joiners[key]
