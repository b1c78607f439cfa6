"""What the core does for one network: `network.Host`."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Final

from bridge.core.consent import Consent, consent_of
from bridge.core.errors import BridgeError
from bridge.core.journal import Entry, place_tag
from bridge.core.model import Author, LocalAuthor, Outgoing, Receipt, Remote, Verdict
from bridge.core.names import shown_names
from bridge.core.network import LocalMember
from ofcd.client import NoSuchRoom, NotAllowed, Offline, Transaction, VaultUnwritable
from ofcd.client.applog import get_log
from ofcd.protocol.ids import EventId, MemberId, RoomId
from ofcd.protocol.records import Cap, Role

if TYPE_CHECKING:
    from bridge.core.engine import Engine

__all__ = ["ADMINS", "HostOf"]

ADMINS: Final = (Role.ROOT, Role.CO_OWNER)


class HostOf:
    """`network.Host` for one network."""

    def __init__(self, engine: Engine, name: str) -> None:
        self._engine = engine
        self._name = name
        self.vault = engine.client.vault
        self.log = get_log("bridge", network=name)

    def now(self) -> int:
        """Milliseconds since 1970."""
        return self._engine.client.now()

    async def take(self, remote: Remote) -> Verdict:
        """See `Host`."""
        return await self._engine.inbound.take(self._name, remote)

    async def take_in(self, remote: Remote, rooms: frozenset[RoomId]) -> dict[RoomId, Verdict]:
        """See `Host`."""
        return await self._engine.inbound.take_in(self._name, remote, rooms)

    def settle(self, place: str, event_id: EventId, receipt: Receipt) -> None:
        """See `Host`."""
        self._engine.ledger.settle_late(self._name, place, event_id, receipt)

    def transaction(self) -> AbstractContextManager[Transaction]:
        """See `Host`."""
        return self._engine.client.transaction()

    def table(self, name: str, *, large: bool = False) -> str:
        """See `Host`."""
        return f"{'archive' if large else 'app'}/bridge/net/{self._name}/{name}"

    def rooms(self, place: str) -> list[RoomId]:
        """See `Host`."""
        return [room.id for _, room in self._engine.portals_at(self._name, place)]

    def is_over(self, place: str) -> bool:
        """See `Host`."""
        return self._engine.meant.is_over(self._name, place)

    def room_name(self, room: RoomId) -> str:
        """See `Host`."""
        return self._engine.client.room(room).name

    def members(self, place: str) -> list[LocalMember]:
        """See `Host`."""
        found: dict[MemberId, LocalMember] = {}
        for _, room in self._engine.portals_at(self._name, place):
            people = room.members()
            names = shown_names((one.mid, one.name) for one in people)
            for one in people:
                if Cap.BRIDGE not in one.caps:
                    author = LocalAuthor(one.mid, names[one.mid])
                    found[one.mid] = LocalMember(author, Cap.BOT in one.caps, one.role in ADMINS)
        return list(found.values())

    def is_alone(self, place: str, mid: MemberId) -> bool:
        """See `Host`."""
        rooms = [room for _, room in self._engine.portals_at(self._name, place)]
        return bool(rooms) and all(
            {one.mid for one in room.members()} == {mid, room.me} for room in rooms
        )

    def consent(self, room: RoomId, mid: MemberId) -> Consent:
        """See `Host`."""
        return consent_of(self.vault, room, mid)

    def is_ignored(self, place: str, room: RoomId, author: Author) -> bool:
        """See `Host`."""
        return any(
            one.id == room and self._engine.is_ignored(portal, one, author)
            for portal, one in self._engine.portals_at(self._name, place)
        )

    def may_say(self, place: str, room: RoomId, event_id: EventId) -> bool:
        """See `Host`."""
        try:
            there = self._engine.client.room(room)
        except NoSuchRoom:
            return False
        message = there.message(event_id)
        if message is None or message.redacted_by is not None or not self._engine.is_open(there):
            return False
        said = self._engine.journal.passed(self.vault, self._name, place, event_id)
        if message.edited and (said is None or said.edits or said.text != message.text):
            return False  # an edit before it was said there is in what was said
        return message.via is not None or self.consent(room, message.mid) is Consent.FULL

    def remote_ids(self, place: str, event_id: EventId) -> tuple[str, ...]:
        """See `Host`."""
        return self._engine.handing.remote_ids(self.vault, self._name, place, event_id)

    def event_of(self, place: str, remote_id: str) -> EventId | None:
        """See `Host`."""
        for _, room in self._engine.portals_at(self._name, place):
            found = self._engine.inbound.event_of(self._name, place, remote_id, room)
            if found is not None:
                return found
        return None

    def queued(self, place: str) -> list[Entry]:
        """See `Host`."""
        return list(self._engine.places[self._name, place].entries.values())

    def ready(self, place: str, on: bool, why: str = "") -> None:
        """See `Host`."""
        queue = self._engine.places.get((self._name, place))
        if queue is None:
            raise BridgeError(f"no portal names {place}")
        queue.set_ready(on, why)

    async def read_file(self, room: RoomId, event_id: EventId, limit: int) -> bytes:
        """See `Host`."""
        there = self._engine.client.room(room)
        message = there.message(event_id)
        if message is None:
            raise NotAllowed("not_found", "there is no such message any more")
        return await there.read_file(message, limit=limit)

    async def link(self, one: Outgoing) -> str | None:
        """See `Host`."""
        try:
            return await self._engine.links.link(self._name, one)
        except VaultUnwritable as error:
            self._engine.disk.failed(error)
            raise Offline("the disk takes nothing: what is to be linked waits") from error

    def end_links(self, tx: Transaction, place: str, room: RoomId) -> None:
        """See `Host`."""
        self._engine.links.withdraw(tx, room, place=place_tag(self._name, place))

    def attach(self, place: str, of: RoomId, by: MemberId, link: str) -> MemberId:
        """See `Host`."""
        room = self._engine.client.room(of)
        return self._engine.attached.attach(self._name, place, room, by, link)

    def detach(self, place: str) -> bool:
        """See `Host`."""
        return self._engine.attached.detach(self._name, place)

    def attached(self) -> list[str]:
        """See `Host`."""
        return [one.place for one in self._engine.attached if one.network == self._name]

    def notice(self, place: str, text: str, *, key: str = "") -> None:
        """See `Host`."""
        self._engine.notice(self._name, place, text, key=key)

    def declined(self) -> None:
        """See `Host`."""
        self._engine.metrics.declined.labels(self._name).inc()

    def operator(self, text: str, **facts: Any) -> None:
        """See `Host`."""
        self.log.error(text, **facts)
