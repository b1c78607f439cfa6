"""Rooms that a member gave the bridge while it runs: a portal for each, kept in the journal (trio).

A member makes a room of their own and gives the bridge an invite to it, for what concerns them
alone; its place is the network's to name. After a restart it is there before anything else is.

A room that was ever given in this way is never what a [[portal]] of the settings means: it is
called what its owner likes, and could stand in for another.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import trio
from attrs import frozen

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
    Text,
    Transaction,
    VaultUnwritable,
    parse_link,
)
from ofcd.client.vault import Reader
from ofcd.errors import OfcError
from ofcd.protocol.ids import MemberId, RoomId

if TYPE_CHECKING:
    from bridge.core.engine import Engine

__all__ = ["Attached", "given_by_members"]

_KEY: Final = "given"
_LEAVING: Final = "leaving"
_EVER: Final = "app/bridge/given"
"""Each room that was ever given, also one that is not any more."""
_MOST: Final = 200
"""Rooms of this kind, of all networks."""
_JOIN_SECONDS: Final = 900.0
_LOOK_SECONDS: Final = 10.0
_LEAVE_SECONDS: Final = 60.0
"""For one try to leave a room, and until the next."""
_CANCEL_MS: Final = 24 * 3_600_000
"""Age at which a join that was given up is not waited for any longer, to leave that room."""
_THERE: Final = frozenset({RoomStatus.ACTIVE, RoomStatus.WAITING, RoomStatus.FROZEN})
"""A room of which the bridge is a member."""


@frozen
class _Given:
    """One of them: its portal, the room in which it was given and by whom, and the invite."""

    portal: Portal
    of: RoomId
    by: MemberId
    code: InviteCode


class Attached:
    """The portals that stand in no file."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._given: dict[tuple[str, str], _Given] = {}
        self._scopes: dict[tuple[str, str], trio.CancelScope] = {}
        self._nursery: trio.Nursery | None = None
        self._tried: dict[RoomId, float] = {}
        """When leaving it was tried last."""
        self._looked = -_LOOK_SECONDS
        self._invited = _rooms_of_links(engine.settings.bridge.join)
        vault = engine.client.vault
        for network, place, of, by, link in engine.journal.fact(vault, _KEY) or ():
            if network in engine.networks:
                ids = RoomId(bytes.fromhex(of)), MemberId(bytes.fromhex(by))
                self._given[network, place] = self._make(network, place, *ids, parse_link(link))
        leaving = engine.journal.fact(vault, _LEAVING) or ()
        self._leaving = {RoomId(bytes.fromhex(one)) for one in leaving}
        self._ever = _ever_given(vault)

    def __iter__(self) -> Iterator[Portal]:
        return iter([one.portal for one in self._given.values()])

    def room(self, network: str, place: str) -> RoomId | None:
        """The room of a place; None: none was given."""
        given = self._given.get((network, place))
        return None if given is None else given.code.room

    def inviter(self, network: str, place: str) -> MemberId | None:
        """Who made the invite that a place's room was given with; None: none was given."""
        given = self._given.get((network, place))
        return None if given is None else given.code.inviter

    def of(self, room: RoomId) -> list[Portal]:
        """The portals of a room."""
        return [one.portal for one in self._given.values() if one.code.room == room]

    def at(self, network: str, place: str) -> tuple[Portal, Room] | None:
        """The portal of a place with its room, as far as that is joined."""
        given = self._given.get((network, place))
        if given is None:
            return None
        try:
            room = self._engine.client.room(given.code.room)
        except NoSuchRoom:
            return None
        return (given.portal, room) if room.status.is_open else None

    def is_members(self, room: RoomId) -> bool:
        """Whether a room came from a member, ever, and not from who runs the bridge."""
        return room in self._ever and room not in self._invited

    def _make(self, network: str, place: str, of: RoomId, by: MemberId, code: InviteCode) -> _Given:
        """On terms for one person. Whom the settings ignore on the network is ignored here, too.

        Whom the owners of a room ignore is so in that room alone.
        """
        others = [one for one in self._engine.settings.portals if one.network == network]
        portal = Portal(
            room=code.room.hex(),
            network=network,
            place=place,
            hold=0.0,
            in_per_second=1.0,
            in_burst=20,
            ignore=[pattern for one in others for pattern in one.ignore],
            options=self._engine.networks[network].PlaceSettings(),
        )
        return _Given(portal, of, by, code)

    # -- serving ---------------------------------------------------------------------------------

    async def run(self) -> None:
        """Serve them until cancelled."""
        there = {one.id for one in self._engine.client.rooms}
        async with trio.open_nursery() as self._nursery:
            for (network, place), given in list(self._given.items()):
                self._serve(network, place)
                if given.code.room not in there:
                    self._nursery.start_soon(self._join, network, place, given)
            await trio.sleep_forever()

    def _serve(self, network: str, place: str) -> None:
        queue = self._engine.places.setdefault((network, place), PlaceQueue(network, place))
        scope = self._scopes[network, place] = trio.CancelScope()
        if self._nursery is not None:
            self._nursery.start_soon(self._send, network, queue, scope)

    async def _send(self, network: str, queue: PlaceQueue, scope: trio.CancelScope) -> None:
        if scope.cancel_called:
            return  # it was taken back before this began
        with scope:
            await PlaceSender(self._engine, self._engine.networks[network], queue).run()

    # -- giving and taking back ------------------------------------------------------------------

    def attach(self, network: str, place: str, of: Room, by: MemberId, link: str) -> MemberId:
        """Join by an invite that a member gave in the room `of`, and join that room to a place.

        Returns who made the invite. Raises `OfcError` where it can not be used; where it is refused
        later, `of` is told. The same room again (after a crash perhaps) changes nothing.
        """
        if self._nursery is None:
            raise BridgeError("I am not ready yet: try again")
        code = parse_link(link)
        had = self._given.get((network, place))
        if had is not None and had.code.room == code.room:
            return had.code.inviter  # the join has shown that one, and this link's may be made up
        self._require_free(of, code)
        if had is None and len(self._given) >= _MOST:
            raise BridgeError("I have as many rooms of this kind as I can serve")
        self.detach(network, place)
        given = self._given[network, place] = self._make(network, place, of.id, by, code)
        try:
            with self._engine.client.transaction() as tx:
                tx.put(_EVER, code.room, b"1")
                self._keep(tx)
        except VaultUnwritable:
            del self._given[network, place]
            raise
        self._ever.add(code.room)
        self._serve(network, place)
        self._nursery.start_soon(self._join, network, place, given)
        return code.inviter

    def _require_free(self, of: Room, code: InviteCode) -> None:
        """Raises where an invite can not be used.

        Only at the relay that the bridge speaks with anyway, and only to a room that it is not in,
        nor about to be: what it is a member of for others is nobody's own.
        """
        engine, room = self._engine, code.room
        if (code.relay_url, code.relay_id) != (of.relay_url, of.relay_id):
            raise BridgeError("make that room at the same relay as this one")
        if any(one.id == room for one in engine.client.rooms):
            raise BridgeError("I am in that room already, or was: make one for this alone")
        if (
            room in self._leaving
            or room in self._invited
            or any(one.code.room == room for one in self._given.values())
            or any(one.room == room for one in engine.client.pending_joins)
            or any(one.means(room) for one in engine.settings.portals)
        ):
            raise BridgeError("I have an invite to that room already: make one for this alone")

    async def _join(self, network: str, place: str, given: _Given) -> None:
        if self._given.get((network, place)) is not given:
            return  # it was taken back before this began
        why = "nobody let me in"
        with trio.move_on_after(_JOIN_SECONDS):
            try:
                await self._engine.client.join(given.code, name=self._engine.settings.bridge.name)
                return
            except ClientError as error:
                why = str(error)
        if self._given.get((network, place)) is given:
            await self._engine.disk.again(lambda: self.detach(network, place))
            await self._engine.disk.again(lambda: self._tell(given, network, place, why))

    def _tell(self, given: _Given, network: str, place: str, why: str) -> None:
        engine = self._engine
        try:
            room = engine.client.room(given.of)
        except NoSuchRoom:
            return
        about = f"{network}/{place}/{engine.client.now()}".encode()
        text = (
            f"I could not use an invite that I was given here: {why}. If it was somebody else who "
            "used it, they are in that room and read it: evict them"
        )
        with engine.client.transaction() as tx:
            engine.say(tx, room, Text(text), "not attached", about)

    def detach(self, network: str, place: str) -> bool:
        """Take its room away from a place, and leave that room; whether it had one."""
        given = self._given.pop((network, place), None)
        if given is None:
            return False
        leaves = given.code.room not in self._invited and given.code.room not in self._leaving
        if leaves:
            self._leaving.add(given.code.room)
        queue = self._engine.places.get((network, place))
        try:
            with self._engine.client.transaction() as tx:
                for entry in [] if queue is None else list(queue.entries.values()):
                    why = "it is not carried any more"
                    self._engine.ledger.finish(tx, entry, State.DROPPED, why)
                self._keep(tx)
        except VaultUnwritable:  # all is as it was, and is taken back when that is asked for again
            self._given[network, place] = given
            if leaves:
                self._leaving.discard(given.code.room)
            raise
        self._engine.places.pop((network, place), None)
        scope = self._scopes.pop((network, place), None)
        if scope is not None:
            scope.cancel()
        return True

    def _keep(self, tx: Transaction) -> None:
        kept = [
            (network, place, one.of.hex(), one.by.hex(), one.code.text)
            for (network, place), one in self._given.items()
        ]
        self._engine.journal.keep_fact(tx, _KEY, kept)
        self._engine.journal.keep_fact(tx, _LEAVING, [one.hex() for one in self._leaving])

    # -- what has to end -------------------------------------------------------------------------

    def look(self) -> None:
        """Called each second: leave what was taken back, and free what is nobody's any more."""
        if self._nursery is None:
            return
        now = trio.current_time()
        if now - self._looked >= _LOOK_SECONDS:
            self._looked = now
            known: dict[RoomId, frozenset[MemberId] | None] = {}
            for (network, place), given in list(self._given.items()):
                if self._is_over(given, known):
                    self.detach(network, place)
        rooms = {one.id: one for one in self._engine.client.rooms}
        pending = {one.room: one.created for one in self._engine.client.pending_joins}
        for room in list(self._leaving):
            if room in pending:
                # It is let in, and leaves then: without that it would stay listed in there.
                if self._engine.client.now() - pending[room] >= _CANCEL_MS:
                    self._engine.client.cancel_join(room)
            elif room not in rooms or rooms[room].status not in _THERE:
                self._forget(room)
            elif now - self._tried.get(room, -2 * _LEAVE_SECONDS) >= 2 * _LEAVE_SECONDS:
                self._tried[room] = now
                self._nursery.start_soon(self._leave, rooms[room])

    def _is_over(self, given: _Given, known: dict[RoomId, frozenset[MemberId] | None]) -> bool:
        """Whether who gave it is gone from where they did, or its owner from their room."""
        for room in (given.of, given.code.room):
            if room not in known:
                known[room] = self._members(room)
        around, own = known[given.of], known[given.code.room]
        return given.by not in (around or ()) or (own is not None and given.code.inviter not in own)

    def _members(self, room: RoomId) -> frozenset[MemberId] | None:
        """Who is in a room; nobody, where the bridge is not any more; None: it is not joined."""
        try:
            found = self._engine.client.room(room)
        except NoSuchRoom:
            return None
        people = found.members() if found.status in _THERE else ()
        return frozenset(one.mid for one in people)

    async def _leave(self, room: Room) -> None:
        with trio.move_on_after(_LEAVE_SECONDS):
            try:
                await room.leave()
            except OfcError as error:
                self._engine.log.warning("a room could not be left yet", code=error.code)

    def _forget(self, room: RoomId) -> None:
        self._leaving.discard(room)
        try:
            with self._engine.client.transaction() as tx:
                self._keep(tx)
        except VaultUnwritable:
            self._leaving.add(room)
            raise
        self._tried.pop(room, None)


def given_by_members(vault: Reader, links: list[str]) -> frozenset[RoomId]:
    """Rooms that came from a member, ever; `links` are the operator's own invites."""
    return frozenset(_ever_given(vault) - _rooms_of_links(links))


def _ever_given(vault: Reader) -> set[RoomId]:
    return {RoomId(key) for key, _ in vault.items(_EVER)}


def _rooms_of_links(links: list[str]) -> frozenset[RoomId]:
    found = set()
    for link in links:
        with suppress(OfcError):  # what is no link is told of when it is to be used
            found.add(parse_link(link).room)
    return frozenset(found)
