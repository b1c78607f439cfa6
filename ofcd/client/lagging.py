"""A relay whose copy of a room is behind what is known here: how long it is waited for (sans-IO).

Only the room's hub can have *lost* entries. A relay that follows it may be about to get them: after
a move, a HOME, or its own absence. It may also hold its people in the past on purpose, which nobody
can tell from here: so after a while they are told.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from attrs import define, field

from ofcd.protocol.backoff import Backoff
from ofcd.protocol.room import RoomState

__all__ = ["PATIENCE", "Lag", "is_copy"]

PATIENCE: Final = 300_000
"""Milliseconds that a copy may be behind before a person hears of it."""


def is_copy(state: RoomState, relay_id: bytes, end: int) -> bool:
    """Whether a relay whose log ends at `end` only follows the room, as far as is known here.

    So does one that the room was moved to, until it has stored that record.
    """
    return relay_id != state.hub or end < state.hubs[-1].since


@define
class Lag:
    """How long one room's relay has been behind; a new link does not make it begin anew."""

    random: Callable[[], float]
    _backoff: Backoff = field(init=False)
    _since: int | None = field(default=None, init=False)
    _is_told: bool = field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        """Longest a minute: whoever waits writes to nobody."""
        self._backoff = Backoff(self.random, first=1_000, longest=60_000)

    def behind(self, now: int) -> int:
        """It is behind at `now`: how many milliseconds to wait before it is asked again."""
        self._since = now if self._since is None else self._since
        return self._backoff.failed()

    def is_long(self, now: int) -> bool:
        """Whether a person should hear of it: true once."""
        is_due = not self._is_told and self._since is not None and now - self._since >= PATIENCE
        self._is_told = self._is_told or is_due
        return is_due

    def over(self) -> None:
        """It has all that is known here."""
        self._backoff.succeeded()
        self._since, self._is_told = None, False
