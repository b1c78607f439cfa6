"""A stretch that a hub no longer keeps, while the copy waits for what is left of it.

The hub delivers its control records, with their key boxes. Those records are had once more, whole
and in order, from the control log; here only the boxes are kept, and how far the hub has come.

Where nobody is at home here any more the hub tells no control log: then what was delivered is all
there is, and it ends with the record that says so.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Final

import trio
from attrs import define, field, frozen

from ofcd.daemon.peers.asking import Asking
from ofcd.daemon.peers.hublink import HubRooms
from ofcd.daemon.workers import Workers
from ofcd.protocol.codes import Code, Refused
from ofcd.protocol.ids import Hash32, MemberId, PublicKey, RelayId, RoomId
from ofcd.protocol.records import LogHead
from ofcd.relay import Entry, Relay, RoomLog, Skip, signed_skip, verify_skip
from ofcd.relay.facts import ChainRecord
from ofcd.themis.lineage import Lineage
from ofcd.themis.signed import peek

__all__ = ["Gap", "Leftovers", "Space"]

_SECONDS: Final = 60
"""How long nothing may come of it."""


@define(eq=False)
class Space:
    """Bytes that something may take, of all that take some."""

    left: int

    def take(self, size: int) -> bool:
        """Whether there was so much left; then it is taken."""
        fits = size <= self.left
        self.left -= size if fits else 0
        return fits


@define(eq=False)
class Gap:
    """What is known of it."""

    floor: int
    """The first entry after it."""
    log: Hash32
    """The running hash before that, as the hub says."""
    reached: int
    """The last entry that the hub has delivered."""
    space: Space
    """For boxes, and records, of all gaps."""
    is_end: bool = False
    """The hub has nothing for this relay after it."""
    head: bytes = field(default=b"", repr=False)
    """The hub's latest LOG_HEAD."""
    boxes: dict[int, tuple[tuple[MemberId, bytes], ...]] = field(factory=dict)
    records: list[ChainRecord] = field(factory=list)
    """At the end of the log, its control records as they were delivered."""
    _size: int = 0
    _is_closed: bool = False
    _came: trio.Event = field(factory=trio.Event)

    def take(self, entries: Iterable[Entry]) -> None:
        """The hub delivers these."""
        for entry in entries:
            is_new = entry.seq > self.reached
            self.reached = max(self.reached, entry.seq)
            if self.is_end and is_new and self._has_room(len(entry.record)):
                event_id = peek(entry.record).event_id
                self.records.append(ChainRecord(entry.seq, event_id, entry.record))
            size = sum(len(box) for _, box in entry.boxes)
            wanted = size and entry.seq < self.floor and entry.seq not in self.boxes
            if wanted and self._has_room(size):
                self.boxes[entry.seq] = entry.boxes
        self._stir()

    def _has_room(self, size: int) -> bool:
        fits = not self._is_closed and self.space.take(size)
        self._size += size if fits else 0
        return fits

    def headed(self, head: bytes) -> None:
        """The hub has signed how far its log goes."""
        self.head = head
        self._stir()

    def close(self) -> None:
        """It is done with: what it took is others' again."""
        self._is_closed = True
        self.space.left += self._size
        self._size = 0
        self.boxes = {}
        self.records.clear()

    def _stir(self) -> None:
        self._came.set()
        self._came = trio.Event()

    async def reach(self, seq: int) -> None:
        """Wait until the hub has delivered so far, or nothing new for a while."""
        with trio.move_on_after(_SECONDS) as patience:
            while (reached := self.reached) < seq:
                await self._came.wait()
                if self.reached > reached:
                    patience.deadline = trio.current_time() + _SECONDS

    async def signed(self) -> bytes:
        """What the hub signs of its log, up to the gap's end at least. Raises `Refused`."""
        with trio.move_on_after(_SECONDS):
            while True:
                head = peek(self.head).record if self.head else None
                if isinstance(head, LogHead) and head.seq >= self.floor - 1:
                    return self.head
                await self._came.wait()
        raise Refused(Code.HUB_AWAY, "its relay signs no log that is as long as it says")


@frozen
class Leftovers:
    """What one hub still has of a gap."""

    _rooms: HubRooms
    _relay: Relay
    _own_id: RelayId
    _asking: Asking
    _workers: Workers
    _threads: trio.CapacityLimiter
    _readers: trio.CapacityLimiter
    """How many control logs are read at once."""

    async def of(self, room: RoomId, gap: Gap, hub: Lineage, key: PublicKey | None) -> Skip:
        """Have it, verified; `key` is the one that the hub has.

        Raises `Refused` if the hub does not tell, `HubLied`, `StoreError`, `BadSnapshot`.
        """
        log = await self._rooms.load(room)
        if log is None or key is None:
            raise Refused(Code.HUB_AWAY)
        async with self._readers:
            chain = await self._chain(log) or await self._delivered(log, gap)
            inside = [stored.seq for stored in chain if stored.seq < gap.floor]
            if not inside:
                raise Refused(Code.HUB_AWAY, "its relay shows no control log")
            await gap.reach(inside[-1])
            verify = partial(verify_skip, log, chain, gap.floor, gap.log, gap.boxes)
            found = await self._workers.run(verify, self._threads)
        if found.head or not self._is_at_home(found):
            return found
        head = await gap.signed()
        verify = partial(signed_skip, log, found, head, hub, key)
        return await self._workers.run(verify, self._threads)

    async def _chain(self, log: RoomLog) -> list[ChainRecord]:
        """The control log, from the last record that the copy has on."""
        with trio.move_on_after(_SECONDS) as patience:

            def paged() -> None:
                patience.deadline = trio.current_time() + _SECONDS

            for mid in self._relay.homed(log.room, self._own_id):  # some may be evicted since
                chain = await self._asking.read_chain(log.room, mid, log.state.seq, paged)
                if chain:
                    return chain
        return []

    async def _delivered(self, log: RoomLog, gap: Gap) -> list[ChainRecord]:
        """The same, from what was delivered of a log that ends here."""
        if not gap.is_end:
            return []
        await gap.reach(gap.floor - 1)
        return [ChainRecord(log.state.seq, log.state.ctl, b""), *gap.records]

    def _is_at_home(self, found: Skip) -> bool:
        """Whether anybody is, after the gap: else nothing comes that its L would be good for."""
        states = [one.state for one in found.controls if one.state is not None]
        return not states or self._own_id in states[-1].homes.values()
