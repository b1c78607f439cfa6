"""Which relays are talked to, and that there is a link to each that is needed.

    off        nobody
    allowlist  those in the settings
    open       all but those denied, and those in quarantine

A link is dialled for as long as anything is to be had: rooms to follow, something a local client
asks, a peer of the settings. Its retry depends on nothing else; a link that the other side opens
serves as well, and ends the wait.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import TYPE_CHECKING, Final

import trio
from attrs import evolve

from ofcd.channel import ChannelError
from ofcd.config import Settings
from ofcd.daemon.connection import failure_of, rid_of
from ofcd.daemon.feed import Feed
from ofcd.daemon.identity import Identity
from ofcd.daemon.log import get_log
from ofcd.daemon.peers.asking import last_word, next_to_ask
from ofcd.daemon.peers.cache import BlobCache
from ofcd.daemon.peers.discovery import find_relay
from ofcd.daemon.peers.following import Following
from ofcd.daemon.peers.handshake import Handshake, url_in
from ofcd.daemon.peers.known import KnownRelay, Listed, host_of, listed_in, plain_name
from ofcd.daemon.peers.link import PeerLink, PeerSubscription
from ofcd.daemon.peers.refilling import refill_room, take_refill
from ofcd.daemon.peers.successions import disputed, learnt, shown
from ofcd.daemon.peers.telling import Telling
from ofcd.daemon.report import counted
from ofcd.daemon.workers import Workers
from ofcd.protocol.backoff import Backoff
from ofcd.protocol.codes import Code, ProtocolError, Refused
from ofcd.protocol.frames import BlobGet, Failure, Join, Moved, Peer, Peered, Refill, Successions
from ofcd.protocol.ids import BlobId, Hash32, MemberId, PublicKey, RelayId, RoomId
from ofcd.protocol.records import Descriptor, HubMove
from ofcd.relay import Arrive, BadSnapshot, Forward, HubMoved, LinkId, Relay, RoomLog
from ofcd.session import ClientSession, RelaySession
from ofcd.store import PeerRow, Store, StoreError
from ofcd.themis.errors import ThemisError
from ofcd.themis.lineage import Lineage, TwoSuccessors
from ofcd.themis.signed import peek
from ofcd.wire import MessageStream, RelayBusy, WireError

if TYPE_CHECKING:
    from ofcd.daemon.hub import Hub
    from ofcd.daemon.linkend import LinkEnd

__all__ = ["Dial", "Federation"]

Dial = Callable[[str], AbstractAsyncContextManager[MessageStream]]
"""Opens a link to the relay at a URL; raises a `WireError`."""

_LINK_WAIT_SECONDS: Final = 10
"""How long a local client's request waits for a link to its room's relay."""
_FIRST_WAIT: Final = 1_000
_LONGEST_WAIT: Final = 600_000
_STEADY_MS: Final = 10_000
_MINUTE_MS: Final = 60_000
_ERRORS: Final = (WireError, ChannelError, ProtocolError, ThemisError)
_PEERS: Final = 10_000
"""Relays remembered."""
_NOTE_SECONDS: Final = 10
_DAY_SECONDS: Final = 24 * 3600
_UNREAD: Final = "a relay's page could not be read"


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
        self._store = store
        self._dial = dial
        self._handshake = Handshake(identity, workers, url, hub.milliseconds)
        self._workers = workers
        self._random = random
        self._peers: dict[RelayId, KnownRelay] = {}
        self._cache = BlobCache(self._settings, hub, relay, store, workers)
        self._telling = Telling(hub, relay, store, workers, identity.relay_id)
        self._gaps = 0
        """Stretches that copies lacked when this process began."""
        self._forgotten: set[RelayId] = set()
        """What is to be dropped from the store."""
        self._log = get_log()
        self._stirred = trio.Event()
        self._stopping = False
        self._listed = listed_in(settings.federation)
        self._denied = {one.relay_id for one in self._listed if one.denied and one.relay_id}
        self._denied_names = {
            plain_name(one.name) for one in self._listed if one.denied and one.name
        }
        hub.metrics.watch_peers(self._counts)
        relay.talk_only(self._is_listed)

    @property
    def rooms_per_peer(self) -> int:
        """Rooms that one other relay may follow."""
        return self._settings.rooms_per_peer

    # -- life --------------------------------------------------------------------------------------

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Load who is known, and keep the links that are needed, until cancelled.

        Started once it takes links: one that came earlier would be of a relay that is not known.
        """
        for row in self._store.peers():
            # What was caught before a restart is not forgiven by it.
            state = "quarantined" if row.quarantined > self._hub.milliseconds() else "idle"
            self._peers[row.relay_id] = self._known(evolve(row, state=state))
        for peer in list(self._peers.values()):
            peer.set_address("")  # what the settings named once is not what they name
            if plain_name(peer.row.name) in self._denied_names:
                self._deny(peer.row.relay_id, peer.row.name)
        for listed in self._listed:
            relay_id = listed.relay_id or self._named(listed.name)
            if relay_id is not None and not listed.denied:
                self._configure(relay_id, listed)
        self._gaps = len(self._store.gaps())
        for replica in self._store.replicas():
            if replica.hub == self._identity.relay_id:
                continue  # its own, which lacks what was there before it came here
            peer = self._peer(replica.hub, needed=True)
            peer.following.adopt(replica.room)
        while len(self._peers) > _PEERS and self._forget_one():
            pass  # rows of many years
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            task_status.started()
            for peer in list(self._peers.values()):
                self._keep(peer)
                if peer.following.wants_link and peer.is_unproven:
                    self._hub.start(self._learn_place, peer)
            self._hub.start(self._recall_moves)
            for listed in self._listed:
                if listed.is_searched and not listed.denied:
                    self._hub.start(self._search, listed)
                elif listed.is_searched and self._settings.mode == "open":
                    self._hub.start(self._search_denied, plain_name(listed.name))
            try:
                while True:
                    with trio.move_on_after(_NOTE_SECONDS):
                        await self._stirred.wait()
                    self._stirred = trio.Event()
                    await self._note()
            finally:
                self._stopping = True  # links that end from here on are dialled no more

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
        for kept in await self._telling.load():
            last = peek(kept.records[-1]).record
            peer = self._peers.get(last.hub) if isinstance(last, HubMove) else None
            if peer is not None and isinstance(last, HubMove) and kept.room in peer.following.rooms:
                self._place(peer, kept.room, last.urls)
        self._dial_hearers()
        for peer in list(self._peers.values()):
            if peer.link is not None:
                self._telling.tell(peer.link)

    def _dial_hearers(self) -> None:
        for relay_id in self._telling.to_dial():
            self._keep(self._peer(relay_id, needed=True))

    def _place(self, peer: KnownRelay, room: RoomId, urls: tuple[str, ...]) -> None:
        """A room's owner says that this relay is reached there."""
        peer.placed(room, urls)
        self._stirred.set()
        self._keep(peer)

    def _named(self, name: str) -> RelayId | None:
        """The relay whose page was believed under this name before."""
        rows = (peer.row for peer in self._peers.values())
        return next((row.relay_id for row in rows if row.name == name and row.pinned), None)

    def _configure(self, relay_id: RelayId, listed: Listed) -> KnownRelay:
        peer = self._peer(relay_id, needed=True)
        peer.configured = True
        peer.row = evolve(peer.row, name=listed.name)
        peer.set_address(listed.url)
        self._stirred.set()
        return peer

    async def _search(self, listed: Listed) -> None:
        """Ask the page of a relay without an address in the settings; again where it is lost.

        Without a fingerprint either, the page is believed the first time.
        """
        backoff = self._backoff()
        while True:
            relay_id = listed.relay_id or self._named(listed.name)
            relay = None if relay_id is None else self._identity_of(relay_id)
            known = None if relay_id is None else self._peers.get(relay_id)
            counter = 0 if known is None else known.row.counter
            try:
                found, relay = await self._read_page(listed.name, relay, counter)
                self._identity_of(found.relay_id).merged(relay)  # known, but not by this name
            except (WireError, ProtocolError) as error:
                self._note_dispute(error)
                self._log.warning(_UNREAD, name=listed.name, why=str(error))
                if known is not None and known.link is None:
                    self._waits(known, f"its page could not be read: {error}")
                await trio.sleep(backoff.failed() / 1000)
                continue
            backoff.succeeded()
            peer = self._configure(found.relay_id, listed)
            peer.found(found)
            await self._learn(peer, relay)
            self._keep(peer)
            peer.wake.set()
            await peer.lost.wait()

    async def _search_denied(self, name: str) -> None:
        """Whoever has a page of its own under a name that is denied: now, and each day."""
        backoff = self._backoff()
        while True:
            try:
                found, _ = await self._read_page(name, None, 0)
            except (WireError, ProtocolError) as error:
                self._log.info(_UNREAD, name=name, why=str(error))
                await trio.sleep(backoff.failed() / 1000)
                continue
            backoff.succeeded()
            if plain_name(found.name) == plain_name(name):  # else a copy of somebody else's
                self._deny(found.relay_id, name)
            await trio.sleep(_DAY_SECONDS)

    async def _read_page(
        self, name: str, known: Lineage | None, counter: int
    ) -> tuple[Descriptor, Lineage]:
        networks, now = self._settings.allow_private, self._hub.milliseconds()
        return await find_relay(name, networks, now, known, counter)

    def _deny(self, relay_id: RelayId, name: str) -> None:
        if any(one.relay_id == relay_id and not one.denied for one in self._listed):
            return  # by its fingerprint, which says more than a name
        peer = self._peer(relay_id, needed=True)
        peer.denied = True
        peer.row = evolve(peer.row, name=name)
        self._denied.add(relay_id)
        self._stirred.set()
        if peer.link is not None:
            peer.link.end(failure_of(Code.NOT_FEDERATED))

    # -- keys --------------------------------------------------------------------------------------

    async def _learn(self, peer: KnownRelay, relay: Lineage) -> None:
        """This is how it came to its key. Raises as `Lineage.merged`: then it is not talked to.

        It is in the store before the relay is talked to: what was replaced stays so, whatever dies.
        """
        row = learnt(peer.row, peer.following, relay)
        if row is peer.row:
            return
        self._keep_row(peer, row)
        if peer.link is not None and not relay.is_current(peer.link.session.peer):
            peer.link.end(failure_of(Code.WRONG_RELAY))
        await self._put(peer)

    def _note_dispute(self, error: Exception) -> None:
        """It may prove that a relay's key has two successors."""
        peer = self._peers.get(error.relay_id) if isinstance(error, TwoSuccessors) else None
        if peer is not None and isinstance(error, TwoSuccessors):
            self._keep_row(peer, disputed(peer.row, error))

    def _keep_row(self, peer: KnownRelay, row: PeerRow) -> None:
        if row is not peer.row:
            peer.row = row
            self._stirred.set()
            self._hub.show_all(peer.following.rooms, shown(row))

    def successions(self, relay: RelayId) -> tuple[Successions, ...]:
        """What people are shown of how this relay came to its key."""
        peer = self._peers.get(relay)
        return () if peer is None else shown(peer.row)

    def _welcome_identity(self, relay: RelayId) -> Lineage:
        """As `_identity_of`, of one that may talk to this one. Raises `Refused`."""
        self._require_welcome(relay)
        return self._identity_of(relay)

    def _identity_of(self, relay: RelayId) -> Lineage:
        peer = self._peers.get(relay)
        return Lineage(relay) if peer is None else peer.following.identity

    def _known(self, row: PeerRow) -> KnownRelay:
        following = Following(
            row.relay_id,
            self._hub,
            self._relay,
            self._workers,
            self._identity.relay_id,
            self._settings,
            self._cache,
        )
        following.key = PublicKey(row.key) if row.key else None
        following.identity = Lineage.recalled(row.relay_id, row.statements)
        following.refill = partial(refill_room, self._store, self._workers)
        return KnownRelay(row, following, self._backoff())

    def _backoff(self) -> Backoff:
        return Backoff(self._random, first=_FIRST_WAIT, longest=_LONGEST_WAIT)

    def _peer(self, relay_id: RelayId, *, needed: bool = False) -> KnownRelay:
        """What is known of a relay. Raises `Refused` where there are too many, if not `needed`."""
        peer = self._peers.get(relay_id)
        if peer is None:
            if not needed and len(self._peers) >= _PEERS and not self._forget_one():
                raise Refused(Code.QUOTA, "this relay knows as many others as it may")
            row = PeerRow(relay_id, ts=self._hub.milliseconds())
            peer = self._peers[relay_id] = self._known(row)
            self._forgotten.discard(relay_id)
        return peer

    def _forget_one(self) -> bool:
        """Make room: strangers may not fill the table with relays that are of no use here."""
        now = self._hub.milliseconds()
        spare = [peer for peer in self._peers.values() if peer.is_spare(now)]
        if not spare:
            return False
        oldest = min(spare, key=KnownRelay.worth)
        del self._peers[oldest.row.relay_id]
        self._forgotten.add(oldest.row.relay_id)
        self._stirred.set()
        return True

    def following(self, relay_id: RelayId) -> Following:
        """What this relay wants of another."""
        return self._peer(relay_id).following

    def is_up_to_date(self, hub: RelayId, log: RoomLog) -> bool:
        """Whether this copy has all that its hub has, as far as is known."""
        return self._peer(hub, needed=True).following.is_up_to_date(log)

    # -- who may -----------------------------------------------------------------------------------

    def _require_welcome(self, relay_id: RelayId) -> None:
        """Raises `Refused` for a relay that is not talked to."""
        if not self._is_listed(relay_id):
            listed = "this relay talks only to those it has listed"
            raise Refused(
                Code.NOT_FEDERATED, listed if self._settings.mode == "allowlist" else None
            )
        peer = self._peers.get(relay_id)
        if peer is not None and peer.row.quarantined > self._hub.milliseconds():
            raise Refused(Code.RATE_LIMITED, "this relay takes nothing from you for now")

    def _is_listed(self, relay_id: RelayId) -> bool:
        """Whether the settings let this relay talk to that one."""
        peer, mode = self._peers.get(relay_id), self._settings.mode
        if mode == "off" or relay_id in self._denied:
            return False
        return mode != "allowlist" or (peer is not None and peer.configured)

    def quarantine(self, relay_id: RelayId, reason: str) -> None:
        """Nothing is taken from this relay for a time: it did what no honest one does."""
        peer = self._peer(relay_id)
        until = self._hub.milliseconds() + self._settings.quarantine_minutes * _MINUTE_MS
        peer.row = evolve(peer.row, state="quarantined", detail=reason, quarantined=until)
        self._log.warning("a relay is in quarantine", relay=relay_id.hex()[:16], why=reason)
        self._hub.metrics.quarantines.inc()
        self._stirred.set()
        if peer.link is not None:
            peer.link.end(Failure(0, Code.RATE_LIMITED.value, reason[:200]))

    def told_off(self, link: PeerLink, failure: Failure) -> None:
        """The other relay ends the link, and says why."""
        peer = self._peer(link.peer)
        if peer.row.state != "quarantined":
            peer.row = evolve(peer.row, detail=f"it hung up: {failure.text}"[:300])

    def key_of(self, relay: RelayId) -> PublicKey | None:
        """The relay's key, once it has proven it."""
        peer = self._peers.get(relay)
        if peer is None:
            return None
        return peer.following.key or (PublicKey(peer.row.key) if peer.row.key else None)

    # -- what the hub asks (Across) ----------------------------------------------------------------

    def forward(self, connection: LinkEnd, effect: Forward) -> None:
        """Ask another relay on behalf of this link, and answer it."""
        self._hub.start(self._forward, connection, effect)

    async def _forward(self, connection: LinkEnd, effect: Forward) -> None:
        try:
            peer = self._pinned(effect)
            self._require_welcome(effect.hub)
            if isinstance(effect.frame, Join) and not peer.following.may_copy(effect.room):
                raise Refused(Code.QUOTA, "it keeps as many rooms of that one as it may")
        except Refused as error:
            self._go_on(connection, effect, error.kind, str(error))
            return
        await self._linked(peer)
        if not peer.following.forward(connection, effect):
            # What came of dialling is the operator's to know: strangers name what is dialled.
            self._go_on(connection, effect, Code.HUB_AWAY, "")

    def _go_on(self, connection: LinkEnd, effect: Forward, code: Code, detail: str) -> None:
        """It can not be asked there: elsewhere, or nowhere."""
        if effect.others:
            self.forward(connection, next_to_ask(effect, code))
        elif effect.quiet:
            return
        elif isinstance(effect.frame, BlobGet) and effect.hub != self._relay.hub_of(effect.room):
            away = last_word(evolve(effect, missed=True), failure_of(Code.BLOB_GONE))
            self._tell(connection, effect, away)
        else:
            self._answer(connection, effect, code, detail)

    def arrive(self, connection: LinkEnd, effect: Arrive) -> None:
        """Fetch a room for a member who is at home here only now."""
        self._hub.start(self._arrive, connection, effect)

    async def _arrive(self, connection: LinkEnd, effect: Arrive) -> None:
        try:
            peer = self._pinned(effect)
            self._require_welcome(effect.hub)
        except Refused as error:
            self._answer(connection, effect, error.kind, str(error))
            return
        peer.asked += 1  # until the copy is here, nothing else keeps the link
        try:
            await self._linked(peer)
            here = await peer.following.have(effect.room, effect.mid)
        finally:
            peer.asked -= 1
        if here:
            try:
                await self._hub.take(connection, [evolve(effect.frame, hub=None, hub_url="")])
            except Exception as mistake:  # it ends the link that it happened on, not the relay
                connection.fail(mistake)
        else:
            self._answer(connection, effect, Code.HUB_AWAY, "")  # as in `_forward`

    async def _linked(self, peer: KnownRelay) -> None:
        """Wait for a link for a while."""
        if peer.link is not None:
            return
        peer.asked += 1
        self._keep(peer)
        peer.wake.set()
        with trio.move_on_after(_LINK_WAIT_SECONDS):
            await peer.up.wait()
        peer.asked -= 1

    def _pinned(self, effect: Forward | Arrive) -> KnownRelay:
        """The relay that an invite names: what is known of it already stays."""
        if self._settings.mode == "off":
            raise Refused(Code.NOT_FEDERATED)
        if self._settings.mode == "allowlist" and effect.hub not in self._peers:
            raise Refused(Code.NOT_FEDERATED, "your relay talks only to those it has listed")
        self._require_allowed(effect.hub_url)
        peer = self._peer(effect.hub)
        if effect.hub_url:
            peer.invited_to(effect.hub_url)
            self._stirred.set()
        return peer

    def _require_allowed(self, url: str) -> None:
        """Raises `Refused` for an address whose name the settings deny, whoever answers there."""
        if host_of(url) in self._denied_names:
            raise Refused(Code.NOT_FEDERATED)

    def _answer(
        self, connection: LinkEnd, effect: Forward | Arrive, code: Code, detail: str
    ) -> None:
        failure = failure_of(code)
        if detail:
            failure = evolve(failure, text=f"{failure.text} ({detail})"[:300])
        self._tell(connection, effect, failure)

    def _tell(self, connection: LinkEnd, effect: Forward | Arrive, failure: Failure) -> None:
        rid = rid_of(effect.frame)
        if rid:
            self._hub.answer(connection, evolve(failure, rid=rid))
            connection.pump()

    def was_read(self, room: RoomId, blob: BlobId) -> None:
        """Somebody reads an attachment that may be here for that alone."""
        self._cache.was_read(room, blob)

    def stir(self, hub: RelayId, room: RoomId) -> None:
        """Something waits for the room's hub."""
        peer = self._peer(hub, needed=True)
        peer.following.stir(room)
        self._keep(peer)

    def came(self, hub: RelayId, room: RoomId, mid: MemberId) -> None:
        """A local member of another relay's room is here."""
        peer = self._peer(hub, needed=True)
        peer.following.came(room, mid)
        if not peer.row.url:  # forgotten, while nobody needed it
            self._hub.start(self._learn_place, peer)
        self._keep(peer)

    def left(self, link: LinkId) -> None:
        """A local link is gone."""
        for peer in self._peers.values():
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
        for before in self._peers.values():  # the new hub too: what it gave may be void
            if effect.room in before.following.rooms:
                before.following.release(effect.room)
        is_here = effect.hub == self._identity.relay_id
        for relay_id in self._telling.heard(effect):
            if is_here:
                self._keep(self._peer(relay_id, needed=True))
            link = None if relay_id not in self._peers else self._peers[relay_id].link
            if link is not None:
                self._telling.tell(link, effect.room)
        if is_here:
            return
        if effect.hub not in self._peers and len(self._peers) >= _PEERS:
            self._forget_one()  # its root may move one room again and again
        peer = self._peer(effect.hub, needed=True)
        peer.following.adopt(effect.room)
        peer.following.resume(effect.room)
        self._hub.show_all([effect.room], shown(peer.row))
        self._place(peer, effect.room, effect.urls)

    async def accept(
        self, frame: Peer, challenge: Hash32, stream: MessageStream, session: RelaySession
    ) -> None:
        """Another relay has dialled: talk to it, until it is gone."""
        try:
            relay = await self._handshake.check(
                frame.record, session.peer, challenge, self._welcome_identity, frame.succession
            )
            url = url_in(frame.record)
            self._require_allowed(url)
            peer = self._peer(relay.relay_id)
            # At once: another may have come while this one was verified.
            await self._learn(peer, relay)
        except ProtocolError as error:
            self._note_dispute(error)
            with trio.move_on_after(self._hub.limits.goodbye_seconds):
                failure = Failure(frame.rid, error.code, str(error))
                await stream.send(session.send([failure]))
                await stream.close(1008, str(error)[:100])
            return
        if url:
            peer.says_it_is_at(url)
        own = await self._handshake.introduction(relay.relay_id, challenge)
        await stream.send(session.send([Peered(frame.rid, own)]))
        await self._talk(peer, stream, session, challenge, dialled=False)

    # -- links -------------------------------------------------------------------------------------

    def _keep(self, peer: KnownRelay) -> None:
        """Have a link dialled for as long as there is need of one."""
        if not peer.keeping and not self._stopping and self._settings.mode != "off":
            peer.keeping = True
            self._nursery.start_soon(self._dial_on, peer)

    def _needs_link(self, peer: KnownRelay) -> bool:
        wanted = peer.asked or peer.following.wants_link or peer.configured
        return bool((wanted or self._telling.wants(peer.row.relay_id)) and peer.row.url)

    async def _dial_on(self, peer: KnownRelay) -> None:
        try:
            while self._needs_link(peer):
                if peer.link is not None:
                    await peer.link.gone.wait()
                    continue
                peer.wake = trio.Event()
                wish = 0
                try:
                    self._require_welcome(peer.row.relay_id)
                    await self._dial_once(peer)
                except RelayBusy as busy:
                    wish = int(busy.retry_after * 1000)
                    self._waits(peer, str(busy))
                except _ERRORS as error:
                    self._note_dispute(error)
                    if not isinstance(error, Refused) or error.kind is Code.WRONG_RELAY:
                        peer.missed()
                    self._waits(peer, str(error))
                except trio.TooSlowError:
                    peer.missed()
                    self._waits(peer, "it did not answer the handshake in time")
                await self._pause(peer, wish)
        finally:
            peer.keeping = False

    async def _pause(self, peer: KnownRelay, wish: int) -> None:
        wait = peer.backoff.failed(wish)
        least = min(wait, _FIRST_WAIT)  # who asks may shorten a wait, but not abolish it
        await trio.sleep(least / 1000)
        with trio.move_on_after((wait - least) / 1000):
            await peer.wake.wait()

    def _waits(self, peer: KnownRelay, why: str) -> None:
        if peer.row.state != "quarantined":
            peer.row = evolve(peer.row, state="waiting", detail=why[:300])
        elif peer.row.quarantined <= self._hub.milliseconds():
            peer.row = evolve(peer.row, state="waiting", quarantined=0)
        self._stirred.set()

    async def _dial_once(self, peer: KnownRelay) -> None:
        url = peer.next_address()
        self._require_allowed(url)
        async with self._dial(url) as stream:
            session = ClientSession(self._identity.keys, peer.following.identity, "ofcd")
            challenge, says = await self._handshake.dialled(stream, session, peer.row.relay_id)
            await self._learn(peer, session.relay)
            peer.reached(url, says)
            await self._talk(peer, stream, session, challenge, dialled=True)

    async def _talk(
        self,
        peer: KnownRelay,
        stream: MessageStream,
        session: RelaySession | ClientSession,
        challenge: Hash32,
        *,
        dialled: bool,
    ) -> None:
        link = PeerLink(
            self._hub.new_link(),
            challenge,
            stream,
            session,
            self._hub,
            self,
            peer.row.relay_id,
            dialled=dialled,
            frames_per_second=self._settings.frames_per_second_per_peer,
        )
        if not self._take_over(peer, link):
            await stream.close(1000, "there is a link already")
            return
        await link.run()

    def _take_over(self, peer: KnownRelay, link: PeerLink) -> bool:
        """Whether this link is the one that stays.

        Of two it is the one that the relay with the lower id dialled; of one dialler's, the newer.
        None goes on, or stands in the way, by a key that the relay has replaced.
        """
        before, is_current = peer.link, peer.following.identity.is_current
        if not is_current(link.session.peer):
            return False
        is_rival = before is not None and is_current(before.session.peer)
        if before is not None and is_rival and before.dialled != link.dialled:
            lower_is_us = self._identity.relay_id < peer.row.relay_id
            if link.dialled != lower_is_us:
                return False
        if before is not None:
            before.end(failure_of(Code.TRY_AGAIN))
            self._hub.unfollowed(peer.row.relay_id)
        peer.link = link
        return True

    def is_in_use(self, link: PeerLink) -> bool:
        """Whether this is the link to its relay, and not one that another took the place of."""
        return self._peer(link.peer).link is link

    async def link_opened(self, link: PeerLink) -> None:
        """A link is ready."""
        peer = self._peer(link.peer)
        self._hub.register(link)
        peer.opened = self._hub.milliseconds()
        peer.row = evolve(
            peer.row,
            key=link.session.peer,
            state="up",
            detail="",
            quarantined=0,
            contact=peer.opened,
            links=peer.row.links + 1,
        )
        peer.wake.set()
        peer.up.set()
        await peer.following.link_up(link, link.session.peer)
        self._telling.tell(link)
        self._stirred.set()

    def link_closed(self, link: PeerLink) -> None:
        """A link is gone."""
        self._hub.unregister(link)
        link.gone.set()
        peer = self._peer(link.peer)
        if peer.link is not link:
            return  # it was replaced
        peer.link = None
        self._hub.unfollowed(link.peer)
        peer.up = trio.Event()
        peer.following.link_down()
        now = self._hub.milliseconds()
        if now - peer.opened >= _STEADY_MS:
            peer.backoff.succeeded()
        if peer.row.state == "up":
            peer.row = evolve(peer.row, state="waiting", contact=now)
        self._stirred.set()
        self._keep(peer)

    # -- refilling ---------------------------------------------------------------------------------

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

    # -- for the operator --------------------------------------------------------------------------

    async def _note(self) -> None:
        """Keep what is known of each relay, where it has changed."""
        forgotten, self._forgotten = self._forgotten, set()
        for relay_id in forgotten:
            await self._store_peer(partial(self._store.drop_peer, relay_id))
        for peer in list(self._peers.values()):
            link = peer.link
            if link is not None and peer.row.state == "up":
                peer.row = evolve(peer.row, detail=_lag(peer.following, link))
            if peer.noted != peer.row and peer.is_worth_noting:
                await self._put(peer)

    async def _put(self, peer: KnownRelay) -> None:
        peer.noted = peer.row
        await self._store_peer(partial(self._store.put_peer, peer.row))

    async def _store_peer(self, change: Callable[[], None]) -> None:
        try:
            await self._hub.with_writer(change)
        except StoreError as error:
            self._log.error("what is known of a relay was not kept", error=str(error))

    def _counts(self) -> dict[str, float]:
        """For the metrics."""
        links = [peer.link for peer in self._peers.values() if peer.link is not None]
        now = self._hub.milliseconds()
        waiting = [
            self._relay.room(room) for peer in self._peers.values() for room in peer.following.rooms
        ]
        return {
            "links": len(links),
            "quarantined": sum(p.row.quarantined > now for p in self._peers.values()),
            "followed": sum(len(link.followed) for link in links),
            "lag": sum(sum(link.followed.values()) for link in links),
            "copies": sum(len(peer.following.rooms) for peer in self._peers.values()),
            "gaps": self._gaps + sum(peer.following.skips for peer in self._peers.values()),
            "outbox": sum(len(room.outbox) for room in waiting if room is not None),
        }


def _lag(following: Following, link: PeerLink) -> str:
    """How far either relay is behind the other, in words; "" where nothing is followed."""
    said: list[str] = []
    if link.followed:
        lag, rooms = sum(link.followed.values()), counted(len(link.followed), "room")
        said.append(f"it follows {rooms} of ours, {counted(lag, 'entry')} behind")
    if following.rooms:
        said.append(f"our copies of its rooms are {counted(following.lag, 'entry')} behind")
    return "; ".join(said)
