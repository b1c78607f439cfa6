"""New copies: a room of the hub's that a member who comes home here needs."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

import trio

from ofcd.daemon.log import get_log
from ofcd.daemon.peers.asking import Asking
from ofcd.daemon.peers.copies import Copies
from ofcd.daemon.peers.hublink import HubLine, HubRooms
from ofcd.daemon.workers import Workers
from ofcd.protocol.codes import Code, ProtocolError
from ofcd.protocol.frames import Follow, PeerFrame, Synced
from ofcd.protocol.ids import MemberId, RelayId, RoomId
from ofcd.relay import BadSnapshot, HubLied, Relay, copy_floor, found_copy
from ofcd.relay.facts import ChainRecord, Fact
from ofcd.store import StoreError

if TYPE_CHECKING:
    from ofcd.daemon.hub import Hub

__all__ = ["Founding"]

_COPY_SECONDS: Final = 60


class Founding:
    """Begins copies of one hub's rooms."""

    def __init__(
        self,
        line: HubLine,
        rooms: HubRooms,
        hub: Hub,
        relay: Relay,
        workers: Workers,
        own_id: RelayId,
        copies: Copies,
        asking: Asking,
        *,
        copiers: trio.CapacityLimiter,
    ) -> None:
        """`copiers`: how many control logs are read at once."""
        self._line = line
        self._rooms = rooms
        self._hub = hub
        self._relay = relay
        self._workers = workers
        self._own_id = own_id
        self._copies = copies
        self._asking = asking
        self._copiers = copiers
        self._copying: dict[RoomId, trio.Event] = {}
        self._log = get_log()

    async def have(self, room: RoomId, mid: MemberId) -> bool:
        """The copy is here, and this member at home here; waits a bounded time for it."""
        with trio.move_on_after(_COPY_SECONDS):
            while self._line.link is not None:
                try:
                    log = await self._rooms.load(room)
                    if log is None:
                        # What is here is another relay's, whichever a stranger named.
                        if self._relay.is_loaded(room) or not await self._copy(room, mid):
                            return False
                        continue
                    if log.state.homes.get(mid) == self._own_id:
                        return True
                except (StoreError, BadSnapshot, ProtocolError, HubLied) as error:
                    self._log.error("a copy of a room could not be made", error=str(error))
                    return False
                copy = self._copies.rooms.setdefault(room, self._copies.new_copy())
                self._copies.follow(room)
                self._line.flush()
                await copy.grown.wait()
        return False

    async def _copy(self, room: RoomId, mid: MemberId) -> bool:
        """Begin a copy for a member who was just admitted; whether it was made."""
        under_way = self._copying.get(room)
        if under_way is not None:
            await under_way.wait()
            return self._rooms.held(room) is not None
        self._copying[room] = trio.Event()
        try:
            async with self._copiers:
                return await self._make_copy(room, mid)
        finally:
            self._copying.pop(room).set()

    async def _make_copy(self, room: RoomId, mid: MemberId) -> bool:
        chain = await self._asking.read_chain(room, mid) if self._copies.may_copy(room) else []
        if not chain:
            return False
        floor = await self._workers.run(
            partial(copy_floor, chain, room, self._own_id), self._copies.threads
        )
        link = self._line.link
        if link is None:
            return False
        done, made = trio.Event(), False

        async def answered(frame: PeerFrame) -> None:
            nonlocal made
            try:
                made = isinstance(frame, Synced) and await self._begin(room, chain, frame)
            finally:
                done.set()

        rid = self._line.number(answered)
        link.tell(Follow(rid, room, floor, hosts=self._relay.hosts))
        link.pump()
        await done.wait()
        return made

    async def _begin(self, room: RoomId, chain: list[ChainRecord], synced: Synced) -> bool:
        """The hub's answer: here the copy begins, before its first entry is taken."""
        start, now = max(synced.start, synced.floor), self._hub.milliseconds()
        try:
            copy, facts = await self._workers.run(
                partial(found_copy, chain, room, start, synced.log, now), self._copies.threads
            )
            if copy.was_ordered_by(self._rooms.hub_id) and copy.hub != self._rooms.hub_id:
                return False  # the room went elsewhere: who asked hears it there
            if copy.hub != self._rooms.hub_id:
                raise HubLied(Code.WRONG_RELAY, "the room is another relay's")
        except HubLied as lied:
            if self._line.link is not None:
                self._line.link.offend(str(lied))
            return False
        kept: list[Fact] = facts
        await self._hub.do(lambda: self._relay.found_copy(copy, kept), room)
        self._copies.rooms[room] = self._copies.new_copy()
        self._copies.rooms[room].following = True
        return True
