"""A stretch that a hub no longer keeps, while the copy waits for what is left of it.

The hub delivers its control records, with their key boxes. Those records are had once more, whole
and in order, from the control log; here only the boxes are kept, and how far the hub has come.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import trio
from attrs import define, field

from ofcd.protocol import limits
from ofcd.protocol.ids import Hash32, MemberId
from ofcd.relay import Entry

__all__ = ["Gap"]

_BOX_BYTES: Final = 16 * limits.MIB
"""Of key boxes. Who gets none asks an owner for the key, as after any other loss."""


@define(eq=False)
class Gap:
    """What is known of it."""

    floor: int
    """The first entry after it."""
    log: Hash32
    """The running hash before that, as the hub says."""
    reached: int
    """The last entry that the hub has delivered."""
    boxes: dict[int, tuple[tuple[MemberId, bytes], ...]] = field(factory=dict)
    _size: int = 0
    _came: trio.Event = field(factory=trio.Event)

    def take(self, entries: Iterable[Entry]) -> None:
        """The hub delivers these."""
        for entry in entries:
            self.reached = max(self.reached, entry.seq)
            size = sum(len(box) for _, box in entry.boxes)
            if entry.seq < self.floor and size and self._size + size <= _BOX_BYTES:
                self._size += size
                self.boxes[entry.seq] = entry.boxes
        self.stir()

    def stir(self) -> None:
        """The hub has sent something: whoever waits for it looks again."""
        self._came.set()
        self._came = trio.Event()

    async def more(self) -> None:
        """Wait until the hub has sent something."""
        await self._came.wait()

    async def reach(self, seq: int, seconds: float) -> None:
        """Wait until the hub has delivered so far, or nothing new for so many seconds."""
        with trio.move_on_after(seconds) as patience:
            while (reached := self.reached) < seq:
                await self._came.wait()
                if self.reached > reached:
                    patience.deadline = trio.current_time() + seconds
