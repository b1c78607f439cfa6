"""That there is one link to each relay that is needed, dialled by either.

A link is dialled for as long as anything is to be had: rooms to follow, something a local client
asks, a peer of the settings. Its retry depends on nothing else; a link that the other side opens
serves as well, and ends the wait.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Final

import trio
from attrs import evolve

from ofcd.channel import ChannelError
from ofcd.config import Settings
from ofcd.daemon.connection import failure_of
from ofcd.daemon.identity import Identity
from ofcd.daemon.peers.handshake import Handshake, url_in
from ofcd.daemon.peers.known import KnownRelay
from ofcd.daemon.peers.link import PeerLink
from ofcd.daemon.peers.roster import NOTHING_TAKEN, Roster
from ofcd.daemon.peers.telling import Telling
from ofcd.protocol.codes import Code, ProtocolError, Refused
from ofcd.protocol.frames import Failure, Peer, Peered
from ofcd.protocol.ids import Hash32
from ofcd.session import ClientSession, RelaySession
from ofcd.themis.errors import ThemisError
from ofcd.wire import MessageStream, RelayBusy, WireError

if TYPE_CHECKING:
    from ofcd.daemon.hub import Hub
    from ofcd.daemon.peers.federation import Federation

__all__ = ["Dial", "Linking"]

Dial = Callable[[str], AbstractAsyncContextManager[MessageStream]]
"""Opens a link to the relay at a URL; raises a `WireError`."""

_LINK_WAIT_SECONDS: Final = 10
"""How long a local client's request waits for a link to its room's relay."""
_FIRST_WAIT: Final = 1_000
_STEADY_MS: Final = 10_000
_ERRORS: Final = (WireError, ChannelError, ProtocolError, ThemisError)


class Linking:
    """The links to all other relays."""

    def __init__(
        self,
        settings: Settings,
        identity: Identity,
        hub: Hub,
        federation: Federation,
        roster: Roster,
        telling: Telling,
        *,
        dial: Dial,
        handshake: Handshake,
    ) -> None:
        """`federation` is what the links work for."""
        self._settings = settings.federation
        self._identity = identity
        self._hub = hub
        self._federation = federation
        self._roster = roster
        self._telling = telling
        self._dial = dial
        self._handshake = handshake
        self._nursery: trio.Nursery | None = None

    def start(self, nursery: trio.Nursery) -> None:
        """From here on others are dialled, in this nursery."""
        self._nursery = nursery

    def stop(self) -> None:
        """Links that end from here on are dialled no more."""
        self._nursery = None

    def keep(self, peer: KnownRelay) -> None:
        """Have a link dialled for as long as there is need of one."""
        if not peer.keeping and self._nursery is not None:
            peer.keeping = True
            self._nursery.start_soon(self._dial_on, peer)

    async def linked(self, peer: KnownRelay) -> None:
        """Wait for a link for a while."""
        if peer.link is not None:
            return
        peer.asked += 1
        self.keep(peer)
        peer.wake.set()
        with trio.move_on_after(_LINK_WAIT_SECONDS):
            await peer.up.wait()
        peer.asked -= 1

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
                    self._roster.require_welcome(peer.row.relay_id)
                    await self._dial_once(peer)
                except RelayBusy as busy:
                    wish = int(busy.retry_after * 1000)
                    self._roster.waits(peer, str(busy))
                except _ERRORS as error:
                    self._roster.note_dispute(error)
                    if not isinstance(error, Refused) or error.kind is Code.WRONG_RELAY:
                        peer.missed()
                    self._roster.waits(peer, str(error))
                except trio.TooSlowError:
                    peer.missed()
                    self._roster.waits(peer, "it did not answer the handshake in time")
                await self._pause(peer, wish)
        finally:
            peer.keeping = False

    async def _pause(self, peer: KnownRelay, wish: int) -> None:
        wait = peer.backoff.failed(wish)
        least = min(wait, _FIRST_WAIT)  # who asks may shorten a wait, but not abolish it
        await trio.sleep(least / 1000)
        with trio.move_on_after((wait - least) / 1000):
            await peer.wake.wait()

    async def _dial_once(self, peer: KnownRelay) -> None:
        url = peer.next_address()
        self._roster.require_allowed(url)
        async with self._dial(url) as stream:
            session = ClientSession(self._identity.keys, peer.following.line.identity, "ofcd")
            challenge, says = await self._handshake.dialled(stream, session, peer.row.relay_id)
            await self._roster.learn(peer, session.relay)
            peer.reached(url, says)
            await self._talk(peer, stream, session, challenge, dialled=True)

    async def accept(
        self, frame: Peer, challenge: Hash32, stream: MessageStream, session: RelaySession
    ) -> None:
        """Another relay has dialled: talk to it, until it is gone."""
        try:
            relay = await self._handshake.check(
                frame.record,
                session.peer,
                challenge,
                self._roster.welcome_identity,
                frame.succession,
            )
            url = url_in(frame.record)
            self._roster.require_allowed(url)
            peer = self._roster.peer(relay.relay_id)
            # At once: another may have come while this one was verified.
            await self._roster.learn(peer, relay)
        except ProtocolError as error:
            self._roster.note_dispute(error)
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
            self._federation,
            peer.row.relay_id,
            dialled=dialled,
            frames_per_second=self._settings.frames_per_second_per_peer,
        )
        if hindrance := self._take_over(peer, link):
            await stream.close(1000, hindrance)
            return
        await link.run()

    def _take_over(self, peer: KnownRelay, link: PeerLink) -> str:
        """Have this link be the one that stays; else why it is not.

        Of two it is the one that the relay with the lower id dialled; of one dialler's, the newer.
        None goes on, or stands in the way, by a key that the relay has replaced.
        """
        before, is_current = peer.link, peer.following.line.identity.is_current
        if not is_current(link.session.peer):
            return "it is not by the key of now"
        if peer.row.quarantined > self._hub.milliseconds():
            return NOTHING_TAKEN  # since this one was let in
        is_rival = before is not None and is_current(before.session.peer)
        if before is not None and is_rival and before.dialled != link.dialled:
            lower_is_us = self._identity.relay_id < peer.row.relay_id
            if link.dialled != lower_is_us:
                return "there is a link already"
        if before is not None:
            before.end(failure_of(Code.TRY_AGAIN))
            self._hub.unfollowed(peer.row.relay_id)
        peer.link = link
        return ""

    def is_in_use(self, link: PeerLink) -> bool:
        """Whether this is the link to its relay, and not one that another took the place of."""
        return self._roster.peer(link.peer).link is link

    async def link_opened(self, link: PeerLink) -> None:
        """A link is ready."""
        peer = self._roster.peer(link.peer)
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
        self._roster.stirred.set()

    def link_closed(self, link: PeerLink) -> None:
        """A link is gone."""
        self._hub.unregister(link)
        link.gone.set()
        peer = self._roster.peer(link.peer)
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
        self._roster.stirred.set()
        self.keep(peer)
