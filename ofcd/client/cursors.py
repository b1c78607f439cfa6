"""Telling the relay how far this client has read, now and then."""

from __future__ import annotations

from typing import Final

from ofcd.client.core import Core
from ofcd.client.turn import Turn
from ofcd.protocol.frames import Cursor

__all__ = ["CursorDuty"]

_EVERY: Final = 1_000
"""Milliseconds between two cursors."""


class CursorDuty:
    """For one room."""

    def __init__(self, core: Core) -> None:
        """Reads `core`."""
        self._core = core
        self._due: int | None = None
        self.told = -1
        """What the relay knows."""

    def link_lost(self) -> None:
        """The next `attached` says what the relay knows."""
        self._due = None

    def grew(self, now: int) -> None:
        """The log has grown."""
        self._due = self._due or now + _EVERY

    def deadline(self) -> int | None:
        """When it is to be told."""
        return self._due

    def pump(self, turn: Turn) -> None:
        """Tell it, if it is time."""
        core = self._core
        if self._due is not None and turn.now >= self._due:
            self._due = None
            if core.head.seq > self.told:
                self.told = core.head.seq
                turn.send(Cursor(core.room, core.head.seq))
