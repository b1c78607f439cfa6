"""Copies that go on after a gap: the hub no longer keeps what comes next in its log."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

import trio

from ofcd.daemon.log import get_log
from ofcd.daemon.peers.gaps import Gap, Leftovers, Space
from ofcd.daemon.peers.hublink import HubLine, HubRooms
from ofcd.protocol import limits
from ofcd.protocol.codes import ProtocolError
from ofcd.protocol.frames import Synced
from ofcd.protocol.ids import RoomId
from ofcd.relay import BadSnapshot, HubLied, Relay, Skip
from ofcd.store import StoreError

if TYPE_CHECKING:
    from ofcd.daemon.hub import Hub
    from ofcd.daemon.peers.copies import Copies, Copy

__all__ = ["SKIPS", "Skipping"]

_BOX_BYTES: Final = 16 * limits.MIB
"""Of key boxes. Who gets none asks an owner for the key, as after any other loss."""
_AFTER_SKIP: Final = 600.0
SKIPS: Final = 3
"""Gaps of one room in that time. A hub that forgets faster than this relay reads is not followed
into the next at once; one whose retention ran while its control log was read is."""


class Skipping:
    """Takes one hub's copies over such gaps."""

    def __init__(
        self,
        line: HubLine,
        rooms: HubRooms,
        hub: Hub,
        relay: Relay,
        copies: Copies,
        left: Leftovers,
    ) -> None:
        """`left` has what the hub still keeps of a gap."""
        self.count = 0
        """Stretches that the hub no longer had, in this process's time."""
        self.boxes = Space(_BOX_BYTES)
        """For key boxes of all stretches that are missing at a time."""
        self._line = line
        self._rooms = rooms
        self._hub = hub
        self._relay = relay
        self._copies = copies
        self._left = left
        self._log = get_log()

    def begin(self, room: RoomId, copy: Copy, start: int, synced: Synced) -> None:
        """The hub no longer keeps what comes next: go on after it, if that is no habit."""
        link, lately = self._line.link, copy.skipped
        if link is None:
            return
        copy.following = False
        if synced.floor > synced.head + 1:
            self._log.error("a hub keeps a room only from after its end on", room=room.hex()[:16])
            self._copies.resume_later(room)
            return
        if len(lately) == SKIPS and trio.current_time() - lately[0] < _AFTER_SKIP:
            self._copies.resume_later(room)
            return
        is_end = synced.floor == synced.head + 1
        gap = copy.missing = Gap(synced.floor, synced.log, start - 1, self.boxes, is_end, copy.head)
        link.spawn(partial(self._skip, room, copy, gap))

    async def _skip(self, room: RoomId, copy: Copy, gap: Gap) -> None:
        try:
            found = await self._left.of(room, gap, self._line.identity, self._line.key)
            now = self._hub.milliseconds()
            is_ours = await self._rooms.decide(room, lambda: self._relay.skip(room, found, now))
        except HubLied as lied:
            await self._copies.caught(room, copy, lied)
        except (StoreError, BadSnapshot, ProtocolError) as error:
            self._log.error("a copy of a room could not go on", error=str(error))
            self._copies.resume_later(room)
        else:
            if is_ours:
                self._went_on(room, found)
                copy.skipped.append(trio.current_time())
                copy.pause = 0.0
            if copy.missing is gap:
                copy.missing = None
                await self._copies.resume_now(room)
        finally:
            gap.close()
            if copy.missing is gap:  # and not that of the next link
                copy.missing = None

    def _went_on(self, room: RoomId, found: Skip) -> None:
        self.count += 1
        self._hub.goes_on_elsewhere(room)
        self._log.warning(
            "a hub no longer kept what a copy of its room lacked",
            room=room.hex()[:16],
            first=found.before + 1,
            last=found.floor - 1,
        )
