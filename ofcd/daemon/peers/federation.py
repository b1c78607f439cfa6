"""This relay's dealings with all others, as its hub and its links see them.

roster     what is known of each, and who is talked to
linking    a link to each that is needed
searching  relays of the settings that their pages have to tell of
errands    what local links ask of others
telling    rooms that were moved
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

import trio

from ofcd.config import Settings
from ofcd.daemon.feed import Feed
from ofcd.daemon.identity import Identity
from ofcd.daemon.log import get_log
from ofcd.daemon.peers.cache import BlobCache
from ofcd.daemon.peers.errands import Errands
from ofcd.daemon.peers.following import Following
from ofcd.daemon.peers.handshake import Handshake
from ofcd.daemon.peers.known import KnownRelay
from ofcd.daemon.peers.link import PeerLink, PeerSubscription
from ofcd.daemon.peers.linking import Dial, Linking
from ofcd.daemon.peers.refilling import take_refill
from ofcd.daemon.peers.roster import Roster
from ofcd.daemon.peers.searching import Searching
from ofcd.daemon.peers.successions import shown
from ofcd.daemon.peers.telling import Telling
from ofcd.daemon.workers import Workers
from ofcd.protocol.codes import ProtocolError
from ofcd.protocol.frames import Moved, Peer, Refill, Successions
from ofcd.protocol.ids import BlobId, Hash32, MemberId, PublicKey, RelayId, RoomId
from ofcd.protocol.records import HubMove
from ofcd.relay import Arrive, BadSnapshot, Forward, HubMoved, LinkId, Relay, RoomLog
from ofcd.session import RelaySession
from ofcd.store import KeptMoves, Store, StoreError
from ofcd.themis.signed import peek
from ofcd.wire import MessageStream

if TYPE_CHECKING:
    from ofcd.daemon.hub import Hub
    from ofcd.daemon.linkend import LinkEnd

__all__ = ["Federation"]

_NOTE_SECONDS: Final = 10
_LONGEST_WAIT_SECONDS: Final = 600
"""Between tries to read what the store can not give."""


class Federation:
    """This relay's dealings with all others."""

    def __init__(
        self,
        settings: Settings,
        identity: Identity,
        hub: Hub,
        relay: Relay,
        store: Store,
        *,
        dial: Dial,
        url: Callable[[], str],
        workers: Workers,
        random: Callable[[], float],
    ) -> None:
        """`url` tells where this relay is reached."""
        self._settings = settings.federation
        self._identity = identity
        self._hub = hub
        self._relay = relay
        self._workers = workers
        self._cache = BlobCache(self._settings, hub, relay, store, workers)
        self._telling = Telling(hub, relay, store, workers, identity.relay_id)
        self.roster = Roster(
            settings,
            identity,
            hub,
            relay,
            store,
            cache=self._cache,
            workers=workers,
            random=random,
        )
        handshake = Handshake(identity, workers, url, hub.milliseconds)
        self.linking = Linking(
            settings,
            identity,
            hub,
            self,
            self.roster,
            self._telling,
            dial=dial,
            handshake=handshake,
        )
        self.searching = Searching(settings, hub, self.roster, self.linking)
        self._errands = Errands(hub, relay, self.roster, self.linking)
        self._log = get_log()
        relay.talk_only(self.roster.is_listed)

    @property
    def rooms_per_peer(self) -> int:
        """Rooms that one other relay may follow."""
        return self._settings.rooms_per_peer

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Load who is known, and keep the links that are needed, until cancelled.

        Started once it takes links: one that came earlier would be of a relay that is not known.
        """
        self.roster.load()
        await self.roster.take_orders()
        async with trio.open_nursery() as nursery:
            self.linking.start(nursery)
            task_status.started()
            for peer in list(self.roster.peers.values()):
                self.linking.keep(peer)
                if peer.following.wants_link and peer.is_unproven:
                    self._hub.start(self._learn_place, peer)
            self._hub.start(self._recall_moves)
            self.searching.start()
            try:
                while True:
                    with trio.move_on_after(_NOTE_SECONDS):
                        await self.roster.stirred.wait()
                    self.roster.stirred = trio.Event()
                    await self.roster.take_orders()
                    await self.roster.note()
            finally:
                self.linking.stop()

    async def _learn_place(self, peer: KnownRelay) -> None:
        """Rooms were moved to this relay: HUB_MOVE says where that is, noted or not."""
        for room in list(peer.following.rooms):
            try:
                log = await self._hub.room(room)
            except (StoreError, BadSnapshot) as error:
                self._log.error("reading a room failed", error=str(error))
                continue
            hubs = () if log is None else log.state.moved
            if hubs and hubs[-1].relay_id == peer.row.relay_id:
                self._place(peer, room, hubs[-1].urls)

    async def _recall_moves(self) -> None:
        """Rooms were moved before this start: where their hubs are, and whom to tell."""
        wait: float = _NOTE_SECONDS
        while True:
            found, is_all = await self._telling.load()
            if found:
                await self._recalled(found)
            if is_all:
                break
            await trio.sleep(wait)
            wait = min(2 * wait, _LONGEST_WAIT_SECONDS)

    async def _recalled(self, found: Iterable[KeptMoves]) -> None:
        for kept in found:
            await trio.lowlevel.checkpoint()  # there may be many
            last = peek(kept.records[-1]).record
            peer = self.roster.peers.get(last.hub) if isinstance(last, HubMove) else None
            if peer is not None and isinstance(last, HubMove) and kept.room in peer.following.rooms:
                self._place(peer, kept.room, last.urls)
        self._dial_hearers()
        for peer in list(self.roster.peers.values()):
            if peer.link is not None:
                self._telling.tell(peer.link)

    def _dial_hearers(self) -> None:
        for relay_id in self._telling.to_dial():
            self.linking.keep(self.roster.peer(relay_id, needed=True))

    def _place(self, peer: KnownRelay, room: RoomId, urls: tuple[str, ...]) -> None:
        """A room's owner says that this relay is reached there."""
        peer.placed(room, urls)
        self.roster.stirred.set()
        self.linking.keep(peer)

    def following(self, relay_id: RelayId) -> Following:
        """What this relay wants of another."""
        return self.roster.peer(relay_id).following

    def is_up_to_date(self, hub: RelayId, log: RoomLog) -> bool:
        """Whether this copy has all that its hub has, as far as is known."""
        return self.roster.peer(hub, needed=True).following.copies.is_up_to_date(log)

    # -- what the hub asks (Across) ----------------------------------------------------------------

    async def accept(
        self, frame: Peer, challenge: Hash32, stream: MessageStream, session: RelaySession
    ) -> None:
        """Another relay has dialled: talk to it, until it is gone."""
        await self.linking.accept(frame, challenge, stream, session)

    def forward(self, connection: LinkEnd, effect: Forward) -> None:
        """Ask another relay on behalf of this link, and answer it."""
        self._errands.forward(connection, effect)

    def arrive(self, connection: LinkEnd, effect: Arrive) -> None:
        """Fetch a room for a member who is at home here only now."""
        self._errands.arrive(connection, effect)

    def key_of(self, relay: RelayId) -> PublicKey | None:
        """The relay's key, once it has proven it."""
        return self.roster.key_of(relay)

    def successions(self, relay: RelayId) -> tuple[Successions, ...]:
        """What people are shown of how this relay came to its key."""
        return self.roster.successions(relay)

    def was_read(self, room: RoomId, blob: BlobId) -> None:
        """Somebody reads an attachment that may be here for that alone."""
        self._cache.was_read(room, blob)

    def stir(self, hub: RelayId, room: RoomId) -> None:
        """Something waits for the room's hub."""
        peer = self.roster.peer(hub, needed=True)
        peer.following.copies.stir(room)
        self.linking.keep(peer)

    def came(self, hub: RelayId, room: RoomId, mid: MemberId) -> None:
        """A local member of another relay's room is here."""
        peer = self.roster.peer(hub, needed=True)
        peer.following.came(room, mid)
        if not peer.row.url:  # forgotten, while nobody needed it
            self._hub.start(self._learn_place, peer)
        self.linking.keep(peer)

    def left(self, link: LinkId) -> None:
        """A local link is gone."""
        for peer in self.roster.peers.values():
            peer.following.left(link)

    def members_changed(self, room: RoomId, seq: int, feed: Feed) -> None:
        """With entry `seq` someone came or went: see which relays may still follow the room."""
        self._telling.members_changed(room)
        for subscription in feed.subscriptions:
            link = subscription.link
            if isinstance(link, PeerLink) and not link.homed(room):
                held = link.may_follow(room)
                if held is not None and held.last is None:
                    held.last = seq

    def hub_moved(self, effect: HubMoved, feed: Feed | None) -> None:
        """A room has another hub: follow it there, and end the following here with its record."""
        for subscription in () if feed is None else feed.subscriptions:
            if isinstance(subscription, PeerSubscription):
                subscription.last = effect.seq
        for before in self.roster.peers.values():  # the new hub too: what it gave may be void
            if effect.room in before.following.rooms:
                before.following.release(effect.room)
        is_here = effect.hub == self._identity.relay_id
        for relay_id in self._telling.heard(effect):
            if is_here:
                self.linking.keep(self.roster.peer(relay_id, needed=True))
            link = None if relay_id not in self.roster.peers else self.roster.peers[relay_id].link
            if link is not None:
                self._telling.tell(link, effect.room)
        if is_here:
            return
        self.roster.make_room(effect.hub)  # its root may move one room again and again
        peer = self.roster.peer(effect.hub, needed=True)
        peer.following.copies.adopt(effect.room)
        peer.following.copies.resume(effect.room)
        self._hub.show_all([effect.room], shown(peer.row))
        self._place(peer, effect.room, effect.urls)

    # -- what links to other relays ask ------------------------------------------------------------

    async def refilled(self, link: PeerLink, frame: Refill) -> None:
        """A follower has what this relay lost of a room of its own."""
        try:
            own, workers = self._identity, self._workers
            await take_refill(self._hub, self._relay, workers, own, link.peer, frame)
        except ProtocolError as error:
            link.answer(self._hub.failure(frame.rid, error))
            return
        link.done(frame.rid)

    async def moved(self, link: PeerLink, frame: Moved) -> None:
        """Another relay tells that a room was moved."""
        await self._telling.take(link, frame)

    async def tell_moves(self, link: PeerLink, room: RoomId) -> None:
        """See `Telling.answer`."""
        await self._telling.answer(link, room)
