"""Relays that the settings name without an address, or deny by name: their pages say who it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from ofcd.config import Settings
from ofcd.daemon.log import get_log
from ofcd.daemon.peers.discovery import find_relay
from ofcd.daemon.peers.known import Listed, plain_name
from ofcd.daemon.peers.linking import Linking
from ofcd.daemon.peers.roster import Roster
from ofcd.protocol.codes import ProtocolError
from ofcd.protocol.records import Descriptor
from ofcd.themis.lineage import Lineage
from ofcd.wire import WireError

if TYPE_CHECKING:
    from ofcd.daemon.hub import Hub

__all__ = ["Searching"]

_DAY_SECONDS: Final = 24 * 3600
_UNREAD: Final = "a relay's page could not be read"


class Searching:
    """Asks the pages of those relays."""

    def __init__(self, settings: Settings, hub: Hub, roster: Roster, linking: Linking) -> None:
        self._settings = settings.federation
        self._hub = hub
        self._roster = roster
        self._linking = linking
        self._log = get_log()

    def start(self) -> None:
        """Search each of them from here on, for as long as this relay runs."""
        for listed in self._roster.listed:
            if listed.is_searched and not listed.denied:
                self._hub.start(self._search, listed)
            elif listed.is_searched and self._settings.mode == "open":
                self._hub.start(self._search_denied, plain_name(listed.name))

    async def _search(self, listed: Listed) -> None:
        """Ask the page of a relay without an address in the settings; again where it is lost.

        Without a fingerprint either, the page is believed the first time.
        """
        backoff = self._roster.backoff()
        while True:
            relay_id = listed.relay_id or self._roster.named(listed.name)
            relay = None if relay_id is None else self._roster.identity_of(relay_id)
            known = None if relay_id is None else self._roster.peers.get(relay_id)
            counter = 0 if known is None else known.row.counter
            try:
                found, relay = await self._read_page(listed.name, relay, counter)
                self._roster.identity_of(found.relay_id).merged(
                    relay
                )  # known, but not by this name
            except (WireError, ProtocolError) as error:
                self._roster.note_dispute(error)
                self._log.warning(_UNREAD, name=listed.name, why=str(error))
                if known is not None and known.link is None:
                    self._roster.waits(known, f"its page could not be read: {error}")
                await trio.sleep(backoff.failed() / 1000)
                continue
            backoff.succeeded()
            peer = self._roster.configure(found.relay_id, listed)
            peer.found(found)
            await self._roster.learn(peer, relay)
            self._linking.keep(peer)
            peer.wake.set()
            await peer.lost.wait()

    async def _search_denied(self, name: str) -> None:
        """Whoever has a page of its own under a name that is denied: now, and each day."""
        backoff = self._roster.backoff()
        while True:
            try:
                found, _ = await self._read_page(name, None, 0)
            except (WireError, ProtocolError) as error:
                self._log.info(_UNREAD, name=name, why=str(error))
                await trio.sleep(backoff.failed() / 1000)
                continue
            backoff.succeeded()
            if plain_name(found.name) == plain_name(name):  # else a copy of somebody else's
                self._roster.deny(found.relay_id, name)
            await trio.sleep(_DAY_SECONDS)

    async def _read_page(
        self, name: str, known: Lineage | None, counter: int
    ) -> tuple[Descriptor, Lineage]:
        networks, now = self._settings.allow_private, self._hub.milliseconds()
        return await find_relay(name, networks, now, known, counter)
