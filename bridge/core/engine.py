"""The bridge at work: rooms on one side, networks on the other, the journal between (trio)."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, Final, NamedTuple

import trio
from attrs import evolve

from bridge.core.attached import Attached
from bridge.core.backlog import Backlog
from bridge.core.commands import Commands
from bridge.core.disk import Disk
from bridge.core.echoes import Echoes
from bridge.core.handing import Handing
from bridge.core.hosting import ADMINS, HostOf
from bridge.core.ignoring import ignored_in, is_ignored
from bridge.core.inbound import Inbound
from bridge.core.journal import Journal
from bridge.core.ledger import Ledger
from bridge.core.links import LinkDesk
from bridge.core.meant import MeantRooms
from bridge.core.metrics import Metrics
from bridge.core.model import Author, LocalAuthor, State
from bridge.core.names import outside_name, shown_names
from bridge.core.network import Network
from bridge.core.outbound import Outbound
from bridge.core.places import PlaceQueue
from bridge.core.reader import RoomReader
from bridge.core.relays import Relays
from bridge.core.sender import PlaceSender
from bridge.core.settings import Portal, Settings
from bridge.core.sids import own_sid
from ofcd.client import (
    Client,
    Content,
    MessageFailed,
    Room,
    Text,
    Transaction,
    VaultError,
)
from ofcd.client.applog import Log, get_log
from ofcd.errors import OfcError
from ofcd.protocol.ids import MemberId, RoomId
from ofcd.protocol.rates import TokenBuckets
from ofcd.protocol.records import Cap

__all__ = ["Engine"]

_LOOK_SECONDS: Final = 1.0
_KEEP_HOUSE_SECONDS: Final = 1.0
_PRUNE_SECONDS: Final = 3600.0
_MEASURE_SECONDS: Final = 10.0
_NOTICE_EVERY_MS: Final = 60_000
_NOTICE_KEYS: Final = 1000
_UNSAID: Final = 100


class _Notice(NamedTuple):
    network: str
    place: str
    text: str
    key: str
    room: RoomId | None


class Engine:
    """All portals of one process."""

    def __init__(
        self,
        settings: Settings,
        client: Client,
        networks: Mapping[str, Network[Any, Any]],
        metrics: Metrics | None = None,
        log: Log | None = None,
    ) -> None:
        self.settings = settings
        self.client = client
        self.networks = networks
        self.metrics = metrics or Metrics()
        self.log = log or get_log("bridge")
        self.journal = Journal()
        self.disk = Disk(client.now, self.log)
        self.started = client.now()
        self.places: dict[tuple[str, str], PlaceQueue] = {}
        self.echoes = Echoes(self)
        self.inbound = Inbound(self)
        self.ledger = Ledger(self)
        self.outbound = Outbound(self)
        self.handing = Handing(self)
        self.backlog = Backlog(self)
        self.commands = Commands(self)
        self.attached = Attached(self)
        self.meant = MeantRooms(
            settings, client, self.journal, self.log, lambda room: self.attached.is_members(room)
        )
        self.relays = Relays(client, self.metrics, self.log)
        self.links = LinkDesk(self, settings.links)
        self.keyless: set[RoomId] = set()
        """Rooms of which a reader waits for a key."""
        self._readers: set[RoomId] = set()
        self._before: dict[RoomId, int] = {}
        """By room: its head when it became live."""
        self._apart: dict[RoomId, int] = {}
        """By room: when it was last seen to be live no more, milliseconds since 1970."""
        """How far each room's log went when it was first there whole, in this life."""
        self._notices = TokenBuckets(
            burst=1, per_second=1000 / _NOTICE_EVERY_MS, max_keys=_NOTICE_KEYS
        )
        self._pruned = 0
        self._unsaid: deque[_Notice] = deque(maxlen=_UNSAID)
        """Notices that the disk did not take."""
        for portal in self.portals:
            self.places.setdefault(
                (portal.network, portal.place), PlaceQueue(portal.network, portal.place)
            )
        self._load()

    def _load(self) -> None:
        """What an earlier life left: what it was sending may have arrived."""
        with self.client.transaction() as tx:
            for entry in list(self.journal.queue(tx)):
                queue = self.places.get((entry.network, entry.place))
                if queue is None:
                    self.ledger.finish(tx, entry, State.DROPPED, "no portal names it any more")
                    continue
                if entry.state is State.SENDING:
                    entry = evolve(entry, state=State.QUEUED, again=True)
                    self.journal.keep(tx, entry)
                queue.put(entry)

    # -- running ---------------------------------------------------------------------------------

    async def run(self) -> None:
        """Work until cancelled."""
        served: list[PlaceQueue] = []
        async with trio.open_nursery() as nursery:
            for name, network in self.networks.items():
                network.host = HostOf(self, name)
                nursery.start_soon(network.run)
            for portal in self.settings.portals:
                queue = self.places[portal.network, portal.place]
                if queue not in served:
                    served.append(queue)
                    sender = PlaceSender(self, self.networks[portal.network], queue)
                    nursery.start_soon(sender.run)
            nursery.start_soon(self.attached.run)
            nursery.start_soon(self._look_for_rooms, nursery)
            nursery.start_soon(self._keep_house)
            nursery.start_soon(self._watch)
            nursery.start_soon(self.links.run)

    async def _look_for_rooms(self, nursery: trio.Nursery) -> None:
        while True:
            self.meant.look()
            self._say_unsaid()
            for room in self.client.rooms:
                if room.id not in self._readers and self.portals_of(room):
                    self._readers.add(room.id)
                    nursery.start_soon(self._read, room)
            self.disk.try_to(self.attached.look)
            await trio.sleep(_LOOK_SECONDS)

    async def _read(self, room: Room) -> None:
        try:
            await RoomReader(self, room).run()
        finally:
            self._readers.discard(room.id)

    async def _keep_house(self) -> None:
        pruned, measured = -_PRUNE_SECONDS, -_MEASURE_SECONDS
        while True:
            await trio.sleep(_KEEP_HOUSE_SECONDS)
            self.disk.try_to(self._end_what_is_old)
            for name in self.networks:
                mine = [q for (network, _), q in self.places.items() if network == name]
                self.metrics.queued.labels(name).set(sum(len(q.entries) for q in mine))
                ready = [q for q in mine if q.is_ready and self._is_live(q)]
                self.metrics.connected.labels(name).set(len(ready))
                self.metrics.without_room.labels(name).set(self.meant.without_room(name))
            self.metrics.keyless.set(len(self.keyless))
            self.relays.look()
            if trio.current_time() - measured >= _MEASURE_SECONDS:
                measured = trio.current_time()
                for network in self.networks.values():
                    network.measure(self.metrics)
            if trio.current_time() - pruned >= _PRUNE_SECONDS and self.disk.try_to(self._prune):
                # Some at once, so that others' turn comes; the rest a moment later.
                pruned = -_PRUNE_SECONDS if self._pruned else trio.current_time()

    def _is_live(self, queue: PlaceQueue) -> bool:
        """Whether a room of a place has its relay."""
        return any(room.is_live for _, room in self.portals_at(queue.network, queue.place))

    def _end_what_is_old(self) -> None:
        for queue in self.places.values():
            self.backlog.expire(queue)
        self.inbound.tell_skipped()
        self.links.keep_house()

    def _prune(self) -> None:
        with self.client.transaction() as tx:
            self._pruned = self.journal.prune(tx, self.client.now())

    async def _watch(self) -> None:
        """What the relay refuses for good is not lost silently either."""
        with self.client.events() as events:
            async for event in events:
                if isinstance(event, MessageFailed):
                    self.log.error("the relay refused a message for good", code=event.code)
                    room, sid = self.client.room(event.room), event.sid
                    await self.disk.again(partial(room.discard, sid))

    # -- rooms and portals -----------------------------------------------------------------------

    @property
    def portals(self) -> list[Portal]:
        """Those of the settings, and those that members made."""
        return [*self.settings.portals, *self.attached]

    def portals_of(self, room: Room) -> list[Portal]:
        """The portals of a room."""
        if not room.status.is_open:
            return []
        return [*self.meant.all_of(room), *self.attached.of(room.id)]

    def portals_at(self, network: str, place: str) -> Iterator[tuple[Portal, Room]]:
        """The portals of a place, with their rooms, as far as those are joined."""
        yield from self.meant.at(network, place)
        given = self.attached.at(network, place)
        if given is not None:
            yield given

    def is_open(self, room: Room) -> bool:
        """Whether anything may cross: the room can be used, and has granted `bridge` (G4)."""
        return room.status.is_open and Cap.BRIDGE in room.caps_of(room.me)

    def born(self, room: Room, seq: int, ts: int) -> int:
        """Since when an event of a room counts as said, milliseconds since 1970.

        Its own clock alone counts for what came while the room was live here: a member's may be
        wrong. What was there before may be old, and only its author says how old; but it is no
        older than the outage.
        """
        now = self.client.now()
        if seq > self._before.get(room.id, seq):
            return now
        return min(now, max(ts, self._apart.get(room.id, 0)))

    def came_whole(self, room: Room) -> None:
        """All that was said in a room before is there: what comes now is of now."""
        self._before[room.id] = room.head

    def came_apart(self, room: Room) -> None:
        """A room is not live any more: what comes until it is again may be of before."""
        self._before.pop(room.id, None)
        self._apart[room.id] = self.client.now()

    def is_admin(self, room: Room, mid: MemberId) -> bool:
        """Whether a member is root or co-owner."""
        return any(one.mid == mid and one.role in ADMINS for one in room.members())

    def ring(self, network: str, place: str, who: str) -> None:
        """Report an echo, where it was not simply our own line."""
        self.metrics.rings.labels(network).inc()
        self.log.warning("an echo was stopped", network=network)
        self.notice(
            network,
            place,
            f"{who} brings back what this room has said ({place} on {network}): is it "
            "bridged twice? Such lines are left out.",
            key="echo",
        )

    def is_ignored(self, portal: Portal, room: Room, author: Author) -> bool:
        """Whether a portal, or the owners of its room, take nothing from this author."""
        patterns = (*portal.ignore, *ignored_in(self.client.vault, room.id))
        return is_ignored(patterns, author)

    def author(self, room: Room, mid: MemberId) -> LocalAuthor:
        """A member as shown outside."""
        names = shown_names((one.mid, one.name) for one in room.members())
        return LocalAuthor(mid, names.get(mid) or outside_name(room.name_of(mid)))

    # -- saying something as the bridge ----------------------------------------------------------

    def say(self, tx: Transaction, room: Room, content: Content, what: str, about: bytes) -> None:
        """Queue something of the bridge's own; `what` and `about` make its id: said once."""
        sid = own_sid(what, room.id, about)
        try:
            room.queue(tx, content, sid=sid, hops=1)
        except VaultError:
            raise  # the transaction is not to be kept
        except OfcError as error:
            self.log.warning("a notice could not be said", what=what, code=error.code)

    def notice(
        self, network: str, place: str, text: str, *, key: str = "", room: RoomId | None = None
    ) -> None:
        """Tell a place's rooms something, or one of them alone; with a `key` once a minute."""
        if key and self._notices.take((network, place, key, room), self.client.now()):
            return
        notice = _Notice(network, place, text, key, room)
        if not self.disk.try_to(lambda: self._notice(notice)):
            self._unsaid.append(notice)

    def _notice(self, notice: _Notice) -> None:
        with self.client.transaction() as tx:
            self.notice_with(tx, *notice)

    def notice_with(
        self,
        tx: Transaction,
        network: str,
        place: str,
        text: str,
        key: str = "",
        only: RoomId | None = None,
    ) -> None:
        """As `notice`, kept together with something else."""
        now = self.client.now()
        for _, room in self.portals_at(network, place):
            if self.is_open(room) and only in (None, room.id):
                about = f"{network}/{place}/{key}/{now}/{text}".encode()
                self.say(tx, room, Text(text), "notice", about)

    def _say_unsaid(self) -> None:
        """What could not be said for want of space, as soon as there is some."""
        while self._unsaid and self.disk.try_to(lambda: self._notice(self._unsaid[0])):
            self._unsaid.popleft()

    def is_told(self, key: str) -> bool:
        """Whether this was told within the last minute; if not, it is now."""
        return self._notices.take(("told", key), self.client.now()) > 0

    # -- stopping --------------------------------------------------------------------------------

    def is_idle(self) -> bool:
        """Whether nothing is being sent."""
        return not any(
            entry.state is State.SENDING
            for queue in self.places.values()
            for entry in queue.entries.values()
        )
