"""A relay that says what does not fit, and proves nothing: it is asked again (sans-IO).

(protocol.md, "Word and proof".) Its log ends before what is known here, or is another one, or what
it delivers does not verify. It may have been put back from a backup, or have yet to hear of a move,
or to catch up; or it lies, which nobody can tell from here. So the room waits, and after a while
people are told.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Final

from attrs import define, field

from ofcd.client.events import AlarmKind
from ofcd.protocol.backoff import Backoff
from ofcd.protocol.room import RoomState

__all__ = ["COPY_PATIENCE", "HUB_PATIENCE", "Misfit", "Waiting", "is_copy"]

HUB_PATIENCE: Final = 10_000
"""Milliseconds that it may last before a person hears of it: a hub is filled up again by then."""
COPY_PATIENCE: Final = 300_000
"""The same of a relay that only follows the room."""


class Misfit(StrEnum):
    """What a relay said: the code of a room that waits."""

    HUB_BEHIND = "hub_behind"
    COPY_BEHIND = "copy_behind"
    FORK = "fork"
    UNVERIFIED = "unverified"

    @property
    def alarm(self) -> AlarmKind:
        """What people are told it is about."""
        return _ALARMS[self]

    @property
    def text(self) -> str:
        """What it is, and what to do, for people."""
        return _TEXTS[self]


def is_copy(state: RoomState, relay_id: bytes, end: int) -> bool:
    """Whether a relay whose log ends at `end` only follows the room, as far as is known here.

    So does one that the room was moved to, until it has stored that record.
    """
    return relay_id != state.hub or end < state.hubs[-1].since


@define
class Waiting:
    """How long one room has waited; neither a new link nor another word makes it begin anew."""

    random: Callable[[], float]
    word: Misfit | None = field(default=None, init=False)
    """What the relay said last; None where nothing is waited for."""
    _backoff: Backoff = field(init=False)
    _since: int | None = field(default=None, init=False)
    _told: set[Misfit] = field(factory=set, init=False)

    def __attrs_post_init__(self) -> None:
        """Longest a minute: whoever waits writes to nobody."""
        self._backoff = Backoff(self.random, first=1_000, longest=60_000)

    def again(self, word: Misfit, now: int) -> int:
        """It says so at `now`: how many milliseconds to wait before it is asked again."""
        self.word = word
        self._since = now if self._since is None else self._since
        return self._backoff.failed()

    def tells(self, now: int, patience: int) -> bool:
        """Whether a person should hear of it: true once for each word."""
        is_due = self._since is not None and now - self._since >= patience
        if not is_due or self.word is None or self.word in self._told:
            return False
        self._told.add(self.word)
        return True

    def over(self) -> None:
        """All fits."""
        self._backoff.succeeded()
        self.word = self._since = None
        self._told.clear()


_ALARMS: Final = {
    Misfit.HUB_BEHIND: AlarmKind.HUB_BEHIND,
    Misfit.COPY_BEHIND: AlarmKind.COPY_BEHIND,
    Misfit.FORK: AlarmKind.UNPROVEN,
    Misfit.UNVERIFIED: AlarmKind.HUB_MISBEHAVES,
}
_WAITS: Final = "it is asked again, and what you write waits"
_TEXTS: Final = {
    Misfit.HUB_BEHIND: "the room's relay has lost part of the room log that you have seen: "
    + _WAITS,
    Misfit.COPY_BEHIND: "your relay's copy of the room has been behind what you have seen for "
    "minutes: " + _WAITS,
    Misfit.FORK: "your relay says that its log of this room is another one than yours, and proves "
    "nothing: " + _WAITS,
    Misfit.UNVERIFIED: "your relay shows a record in this room that does not verify: " + _WAITS,
}
