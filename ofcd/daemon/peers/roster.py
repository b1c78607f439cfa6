"""What is known of other relays, in memory and in the store, and which of them are talked to.

off        nobody: there is nothing of all this then
allowlist  those in the settings
open       all but those denied, and those in quarantine
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final

import trio
from attrs import evolve

from ofcd.config import Settings
from ofcd.daemon.connection import failure_of
from ofcd.daemon.identity import Identity
from ofcd.daemon.log import get_log
from ofcd.daemon.orders import Order, left_in, put_aside
from ofcd.daemon.peers.cache import BlobCache
from ofcd.daemon.peers.following import Following
from ofcd.daemon.peers.known import KnownRelay, Listed, host_of, listed_in, plain_name
from ofcd.daemon.peers.refilling import refill_room
from ofcd.daemon.peers.successions import disputed, learnt, shown
from ofcd.daemon.report import counted
from ofcd.daemon.workers import Workers
from ofcd.errors import ConfigError
from ofcd.protocol.backoff import Backoff
from ofcd.protocol.codes import Code, Refused
from ofcd.protocol.frames import Failure, Successions
from ofcd.protocol.ids import PublicKey, RelayId
from ofcd.relay import Arrive, Forward, Relay
from ofcd.relay.facts import UNWILLING
from ofcd.store import PeerRow, Store, StoreError
from ofcd.themis.lineage import Lineage, TwoSuccessors

if TYPE_CHECKING:
    from ofcd.daemon.hub import Hub
    from ofcd.daemon.peers.link import PeerLink

__all__ = ["NOTHING_TAKEN", "Roster"]

_PEERS: Final = 10_000
"""Relays remembered."""
_FIRST_WAIT: Final = 1_000
_LONGEST_WAIT: Final = 600_000
_MINUTE_MS: Final = 60_000
NOTHING_TAKEN: Final = "this relay takes nothing from you for now"


class Roster:
    """Every other relay that this one knows of."""

    def __init__(
        self,
        settings: Settings,
        identity: Identity,
        hub: Hub,
        relay: Relay,
        store: Store,
        *,
        cache: BlobCache,
        workers: Workers,
        random: Callable[[], float],
    ) -> None:
        self.peers: dict[RelayId, KnownRelay] = {}
        self.listed = listed_in(settings.federation)
        self.stirred = trio.Event()
        """Set, until it is made anew, when something is to be noted in the store."""
        self._settings = settings.federation
        self._folder = settings.data_dir
        self._identity = identity
        self._hub = hub
        self._relay = relay
        self._store = store
        self._cache = cache
        self._workers = workers
        self._random = random
        self._gaps = 0
        """Stretches that copies lacked when this process began."""
        self._forgotten: set[RelayId] = set()
        """What is to be dropped from the store."""
        self._log = get_log()
        self._denied = {one.relay_id for one in self.listed if one.denied and one.relay_id}
        self._denied_names = {
            plain_name(one.name) for one in self.listed if one.denied and one.name
        }
        hub.metrics.watch_peers(self._counts)

    def load(self) -> None:
        """Read what the store knows, and then what the settings say."""
        for row in self._store.peers():
            # What was caught before a restart is not forgiven by it.
            state = "quarantined" if row.quarantined > self._hub.milliseconds() else "idle"
            self.peers[row.relay_id] = self._known(evolve(row, state=state))
        for peer in list(self.peers.values()):
            peer.set_address("")  # what the settings named once is not what they name
            if plain_name(peer.row.name) in self._denied_names:
                self.deny(peer.row.relay_id, peer.row.name)
        for listed in self.listed:
            relay_id = listed.relay_id or self.named(listed.name)
            if relay_id is not None and not listed.denied:
                self.configure(relay_id, listed)
        self._gaps = len(self._store.gaps())
        for replica in self._store.replicas():
            if replica.frozen not in ("", UNWILLING):
                self._relay.frozen.add(replica.room)
            if replica.hub == self._identity.relay_id:
                continue  # its own, which lacks what was there before it came here
            self.peer(replica.hub, needed=True).following.copies.adopt(replica.room)
        while len(self.peers) > _PEERS and self.forget_one():
            pass  # rows of many years

    def peer(self, relay_id: RelayId, *, needed: bool = False) -> KnownRelay:
        """What is known of a relay. Raises `Refused` where there are too many, if not `needed`."""
        peer = self.peers.get(relay_id)
        if peer is None:
            if not needed and len(self.peers) >= _PEERS and not self.forget_one():
                raise Refused(Code.QUOTA, "this relay knows as many others as it may")
            row = PeerRow(relay_id, ts=self._hub.milliseconds())
            peer = self.peers[relay_id] = self._known(row)
            self._forgotten.discard(relay_id)
        return peer

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
        following.line.key = PublicKey(row.key) if row.key else None
        following.line.identity = Lineage.recalled(row.relay_id, row.statements)
        following.copies.refill = partial(refill_room, self._store, self._workers)
        return KnownRelay(row, following, self.backoff())

    def backoff(self) -> Backoff:
        """How long to wait between tries to reach a relay."""
        return Backoff(self._random, first=_FIRST_WAIT, longest=_LONGEST_WAIT)

    def forget_one(self) -> bool:
        """Make room: strangers may not fill the table with relays that are of no use here."""
        now = self._hub.milliseconds()
        spare = [peer for peer in self.peers.values() if peer.is_spare(now)]
        if not spare:
            return False
        oldest = min(spare, key=KnownRelay.worth)
        del self.peers[oldest.row.relay_id]
        self._forgotten.add(oldest.row.relay_id)
        self.stirred.set()
        return True

    def make_room(self, relay_id: RelayId) -> None:
        """This relay will be needed: where there are too many, forget another for it."""
        if relay_id not in self.peers and len(self.peers) >= _PEERS:
            self.forget_one()

    def named(self, name: str) -> RelayId | None:
        """The relay whose page was believed under this name before."""
        rows = (peer.row for peer in self.peers.values())
        return next((row.relay_id for row in rows if row.name == name and row.pinned), None)

    def configure(self, relay_id: RelayId, listed: Listed) -> KnownRelay:
        """The settings name this relay."""
        peer = self.peer(relay_id, needed=True)
        peer.configured = True
        peer.row = evolve(peer.row, name=listed.name)
        peer.set_address(listed.url)
        self.stirred.set()
        return peer

    def deny(self, relay_id: RelayId, name: str) -> None:
        """It is at a name that the settings deny."""
        if any(one.relay_id == relay_id and not one.denied for one in self.listed):
            return  # by its fingerprint, which says more than a name
        peer = self.peer(relay_id, needed=True)
        peer.denied = True
        peer.row = evolve(peer.row, name=name)
        self._denied.add(relay_id)
        self.stirred.set()
        if peer.link is not None:
            peer.link.end(failure_of(Code.NOT_FEDERATED))

    def require_welcome(self, relay_id: RelayId) -> None:
        """Raises `Refused` for a relay that is not talked to."""
        if not self.is_listed(relay_id):
            listed = "this relay talks only to those it has listed"
            raise Refused(
                Code.NOT_FEDERATED, listed if self._settings.mode == "allowlist" else None
            )
        peer = self.peers.get(relay_id)
        if peer is not None and peer.row.quarantined > self._hub.milliseconds():
            raise Refused(Code.RATE_LIMITED, NOTHING_TAKEN)

    def is_listed(self, relay_id: RelayId) -> bool:
        """Whether the settings let this relay talk to that one."""
        peer, mode = self.peers.get(relay_id), self._settings.mode
        if relay_id in self._denied:
            return False
        return mode != "allowlist" or (peer is not None and peer.configured)

    def pinned(self, effect: Forward | Arrive) -> KnownRelay:
        """The relay that an invite names: what is known of it already stays."""
        if self._settings.mode == "allowlist" and effect.hub not in self.peers:
            raise Refused(Code.NOT_FEDERATED, "your relay talks only to those it has listed")
        self.require_allowed(effect.hub_url)
        peer = self.peer(effect.hub)
        if effect.hub_url:
            peer.invited_to(effect.hub_url)
            self.stirred.set()
        return peer

    def require_allowed(self, url: str) -> None:
        """Raises `Refused` for an address whose name the settings deny, whoever answers there."""
        if host_of(url) in self._denied_names:
            raise Refused(Code.NOT_FEDERATED)

    def quarantine(self, relay_id: RelayId, reason: str) -> None:
        """Nothing is taken from this relay for a time: it did what no honest one does."""
        until = self._hub.milliseconds() + self._settings.quarantine_minutes * _MINUTE_MS
        peer = self.peer(relay_id)
        if until > peer.row.quarantined:  # else by hand, for longer
            peer.row = evolve(peer.row, state="quarantined", detail=reason, quarantined=until)
        self._hang_up(peer, reason)

    def _hang_up(self, peer: KnownRelay, why: str, told: str | None = None) -> None:
        relay = peer.row.relay_id.hex()[:16]
        self._log.warning("a relay is in quarantine", relay=relay, why=why)
        self._hub.metrics.quarantines.inc()
        self.stirred.set()
        if peer.link is not None:
            peer.link.end(Failure(0, Code.RATE_LIMITED.value, (told or why)[:200]))

    async def take_orders(self) -> None:
        """Do what the operator has left for this relay; the rest later where one can not be done.

        In their order: the last word is the one that holds.
        """
        try:
            for path, order in left_in(self._folder):
                if order is None:
                    self._log.error("a file is no order, and is put aside", file=path.name)
                    put_aside(path)
                    continue
                if not await self._follow(order):
                    return
                path.unlink(missing_ok=True)
        except (ConfigError, OSError) as error:
            self._log.error("an order waits, with all behind it", error=str(error))

    async def _follow(self, order: Order) -> bool:
        peer = self.peer(order.relay_id, needed=True)
        row = order.applied(peer.row)
        if row != peer.row:  # else it is done, and was not stored
            peer.row = row
            if order.until:  # what the operator says of it is not the other one's to read
                self._hang_up(peer, order.reason, NOTHING_TAKEN)
            else:
                relay = order.relay_id.hex()[:16]
                self._log.warning("a relay is in quarantine no more", relay=relay)
                peer.wake.set()
        return await self._put(peer)

    def told_off(self, link: PeerLink, failure: Failure) -> None:
        """The other relay ends the link, and says why."""
        peer = self.peer(link.peer)
        if peer.row.state != "quarantined":
            peer.row = evolve(peer.row, detail=f"it hung up: {failure.text}"[:300])

    def waits(self, peer: KnownRelay, why: str) -> None:
        """It was not reached, and is dialled again later."""
        if peer.row.state != "quarantined":
            peer.row = evolve(peer.row, state="waiting", detail=why[:300])
        elif peer.row.quarantined <= self._hub.milliseconds():
            peer.row = evolve(peer.row, state="waiting", quarantined=0)
        self.stirred.set()

    async def learn(self, peer: KnownRelay, relay: Lineage) -> None:
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

    def note_dispute(self, error: Exception) -> None:
        """It may prove that a relay's key has two successors."""
        peer = self.peers.get(error.relay_id) if isinstance(error, TwoSuccessors) else None
        if peer is not None and isinstance(error, TwoSuccessors):
            self._keep_row(peer, disputed(peer.row, error))

    def _keep_row(self, peer: KnownRelay, row: PeerRow) -> None:
        if row is not peer.row:
            peer.row = row
            self.stirred.set()
            self._hub.show_all(peer.following.rooms, shown(row))

    def successions(self, relay: RelayId) -> tuple[Successions, ...]:
        """What people are shown of how this relay came to its key."""
        peer = self.peers.get(relay)
        return () if peer is None else shown(peer.row)

    def welcome_identity(self, relay: RelayId) -> Lineage:
        """As `_identity_of`, of one that may talk to this one. Raises `Refused`."""
        self.require_welcome(relay)
        return self.identity_of(relay)

    def identity_of(self, relay: RelayId) -> Lineage:
        """How this relay came to its key, as far as is known."""
        peer = self.peers.get(relay)
        return Lineage(relay) if peer is None else peer.following.line.identity

    def key_of(self, relay: RelayId) -> PublicKey | None:
        """The relay's key, once it has proven it."""
        peer = self.peers.get(relay)
        if peer is None:
            return None
        return peer.following.line.key or (PublicKey(peer.row.key) if peer.row.key else None)

    async def note(self) -> None:
        """Keep what is known of each relay, where it has changed."""
        forgotten, self._forgotten = self._forgotten, set()
        for relay_id in forgotten:
            await self._store_peer(partial(self._store.drop_peer, relay_id))
        for peer in list(self.peers.values()):
            link = peer.link
            if link is not None and peer.row.state == "up":
                peer.row = evolve(peer.row, detail=_lag(peer.following, link))
            if peer.noted != peer.row and peer.is_worth_noting:
                await self._put(peer)

    async def _put(self, peer: KnownRelay) -> bool:
        peer.noted = peer.row
        return await self._store_peer(partial(self._store.put_peer, peer.row))

    async def _store_peer(self, change: Callable[[], None]) -> bool:
        try:
            await self._hub.with_writer(change)
        except StoreError as error:
            self._log.error("what is known of a relay was not kept", error=str(error))
            return False
        return True

    def _counts(self) -> dict[str, float]:
        """For the metrics."""
        links = [peer.link for peer in self.peers.values() if peer.link is not None]
        now = self._hub.milliseconds()
        copies = [peer.following.copies for peer in self.peers.values()]
        lags = [lag for c in copies for lag in c.lags()]
        waiting = [self._relay.room(room) for c in copies for room in c.rooms]
        return {
            "links": len(links),
            "quarantined": sum(p.row.quarantined > now for p in self.peers.values()),
            "followed": sum(len(link.followed) for link in links),
            "lag": sum(sum(link.followed.values()) for link in links),
            "copies": sum(len(c.rooms) for c in copies),
            "copies_behind": len(lags),
            "copies_lag": max(lags, default=0),
            "copies_frozen": len(self._relay.frozen),
            "gaps": self._gaps + sum(c.skipping.count for c in copies),
            "outbox": sum(len(room.outbox) for room in waiting if room is not None),
        }


def _lag(following: Following, link: PeerLink) -> str:
    """How far either relay is behind the other, in words; "" where nothing is followed."""
    said: list[str] = []
    if link.followed:
        lag, rooms = sum(link.followed.values()), counted(len(link.followed), "room")
        said.append(f"it follows {rooms} of ours, {counted(lag, 'entry')} behind")
    if following.rooms:
        said.append(_behind(following.copies.lags(), len(following.rooms)))
    return "; ".join(said)


def _behind(lags: list[int], copies: int) -> str:
    """How far our copies are behind what the hub has said that it has."""
    if not lags:
        return "our copies of its rooms are 0 entries behind"
    verb, worst = ("is", "") if len(lags) == 1 else ("are", f", {max(lags)} of them in one room")
    which = f"{len(lags)} of our copies of its {counted(copies, 'room')}"
    return f"{which} {verb} {counted(sum(lags), 'entry')} behind{worst}"
