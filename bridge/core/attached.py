"""Rooms that a member gave the bridge while it runs: a portal for each, kept in the journal (trio).

A member makes a room of their own and gives the bridge an invite to it, for what concerns them
alone; its place is the network's to name. After a restart it is there before anything else is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import trio

from bridge.core.errors import BridgeError
from bridge.core.model import State
from bridge.core.places import PlaceQueue
from bridge.core.sender import PlaceSender
from bridge.core.settings import Portal
from ofcd.client import (
    ClientError,
    InviteCode,
    NoSuchRoom,
    Room,
    RoomStatus,
    Transaction,
    parse_link,
)
from ofcd.protocol.ids import RoomId

if TYPE_CHECKING:
    from bridge.core.engine import Engine

__all__ = ["Attached"]

_KEY: Final = "attached"
_MOST: Final = 200
"""Rooms of this kind, of all networks."""
_JOIN_SECONDS: Final = 900.0


class Attached:
    """The portals that stand in no file."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._portals: dict[tuple[str, str], Portal] = {}
        self._scopes: dict[tuple[str, str], trio.CancelScope] = {}
        self._nursery: trio.Nursery | None = None
        for network, place, room in engine.journal.fact(engine.client.vault, _KEY) or ():
            if network in engine.networks:
                self._portals[network, place] = self._portal(network, place, room)

    def __iter__(self) -> Iterator[Portal]:
        return iter(self._portals.values())

    def room(self, network: str, place: str) -> RoomId | None:
        """The room of a place; None: none was given."""
        portal = self._portals.get((network, place))
        return None if portal is None else RoomId(bytes.fromhex(portal.room))

    def of(self, room: RoomId) -> list[Portal]:
        """The portals of a room."""
        wanted = room.hex()
        return [one for one in self._portals.values() if one.room == wanted]

    def at(self, network: str, place: str) -> tuple[Portal, Room] | None:
        """The portal of a place with its room, as far as that is joined."""
        portal = self._portals.get((network, place))
        if portal is None:
            return None
        try:
            room = self._engine.client.room(RoomId(bytes.fromhex(portal.room)))
        except NoSuchRoom:
            return None
        return (portal, room) if room.status is RoomStatus.ACTIVE else None

    def _portal(self, network: str, place: str, room: str) -> Portal:
        """On terms for one person; who is ignored elsewhere on the network is ignored here."""
        others = [one for one in self._engine.settings.portals if one.network == network]
        return Portal(
            room=room,
            network=network,
            place=place,
            hold=0.0,
            in_per_second=1.0,
            in_burst=20,
            ignore=[pattern for one in others for pattern in one.ignore],
            options=self._engine.networks[network].PlaceSettings(),
        )

    # -- serving ---------------------------------------------------------------------------------

    async def run(self) -> None:
        """Serve them until cancelled."""
        engine = self._engine
        async with trio.open_nursery() as self._nursery:
            coming = {one.room for one in engine.client.pending_joins}
            there = {one.id for one in engine.client.rooms}
            for network, place in list(self._portals):
                if self.room(network, place) in coming | there:
                    self._serve(network, place)
                else:
                    self.detach(network, place)  # its invite was refused
            await trio.sleep_forever()

    def _serve(self, network: str, place: str) -> None:
        queue = self._engine.places.setdefault((network, place), PlaceQueue(network, place))
        scope = self._scopes[network, place] = trio.CancelScope()
        if self._nursery is not None:
            self._nursery.start_soon(self._send, network, queue, scope)

    async def _send(self, network: str, queue: PlaceQueue, scope: trio.CancelScope) -> None:
        with scope:
            await PlaceSender(self._engine, self._engine.networks[network], queue).run()

    # -- giving and taking back ------------------------------------------------------------------

    def invited(self, room: Room, link: str) -> InviteCode:
        """What an invite that was given in `room` says; raises `OfcError` where it can not be used.

        Only at the relay that the bridge speaks with anyway, and only to a room that it is not in:
        what it is a member of for others is nobody's own.
        """
        code = parse_link(link)
        if (code.relay_url, code.relay_id) != (room.relay_url, room.relay_id):
            raise BridgeError("make that room at the same relay as this one")
        if any(one.id == code.room for one in self._engine.client.rooms):
            raise BridgeError("I am in that room already: make one for this alone")
        if len(self._portals) >= _MOST:
            raise BridgeError("I have as many rooms of this kind as I can serve")
        return code

    def attach(
        self, network: str, place: str, code: InviteCode, failed: Callable[[str], None]
    ) -> None:
        """Join by an invite, and join that room to a place; `failed` is told why it can not be."""
        if self._nursery is None:
            raise BridgeError("I am not ready yet: try again")
        self.end(network, place)
        self._portals[network, place] = self._portal(network, place, code.room.hex())
        with self._engine.client.transaction() as tx:
            self._keep(tx)
        self._serve(network, place)
        self._nursery.start_soon(self._join, network, place, code, failed)

    async def _join(
        self, network: str, place: str, code: InviteCode, failed: Callable[[str], None]
    ) -> None:
        why = "nobody let me in"
        with trio.move_on_after(_JOIN_SECONDS):
            try:
                await self._engine.client.join(code, name=self._engine.settings.bridge.name)
                return
            except ClientError as error:
                why = str(error)
        if self.room(network, place) == code.room:
            self.detach(network, place)
            failed(why)

    def end(self, network: str, place: str) -> bool:
        """Take its room away from a place, and leave that room; whether it had one."""
        room = self.room(network, place)
        if room is not None and self._nursery is not None:
            self._nursery.start_soon(self._leave, room)
        return self.detach(network, place)

    async def _leave(self, room: RoomId) -> None:
        if room in {one.id for one in self._engine.client.rooms}:
            with suppress(ClientError):  # whose room it is can evict a bridge that is still there
                await self._engine.client.room(room).leave()

    def detach(self, network: str, place: str) -> bool:
        """Take its room away from a place; whether it had one."""
        if self._portals.pop((network, place), None) is None:
            return False
        scope = self._scopes.pop((network, place), None)
        queue = self._engine.places.pop((network, place), None)
        with self._engine.client.transaction() as tx:
            for entry in [] if queue is None else list(queue.entries.values()):
                self._engine.outbound.finish(tx, entry, State.DROPPED, "it is not carried any more")
            self._keep(tx)
        if scope is not None:
            scope.cancel()
        return True

    def _keep(self, tx: Transaction) -> None:
        kept = [(network, place, one.room) for (network, place), one in self._portals.items()]
        self._engine.journal.keep_fact(tx, _KEY, kept)
