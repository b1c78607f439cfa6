"""A member's encryption key, replaced again and again (protocol.md §2.3, UPDATE_E).

Themis's boxes have no forward secrecy of their own: who steals a key opens every box that was ever
made for it, or by it. So each member replaces its key once it has been of use, and forgets the old
one an hour later. Nothing waits for the next boxed REKEY: in the log's order all boxes for the old
key stand before the UPDATE_E, and have been opened.

Everyone's key has been of use after a boxed REKEY. So that not all act at once, each waits for a
random time of a span that grows with the room.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ofcd.client.admitting import AdmissionDesk
from ofcd.client.controls import Change, ControlDesk, Made
from ofcd.client.core import Core
from ofcd.client.events import Alarm, AlarmKind
from ofcd.client.ownkeys import FORMER_KEPT, load_pairs
from ofcd.client.turn import Turn
from ofcd.e2e.controls import make_key_update
from ofcd.e2e.epochs import next_renewal
from ofcd.protocol.ids import PublicKey

__all__ = ["RenewDuty"]

_NAME: Final = "renew"
_REPLACED: Final = "your encryption key in this room was replaced, and the new one is not here"
_SPREAD: Final = 30_000
"""Milliseconds for each member of the room, among which they choose when to renew."""
_OVERDUE_SPREAD: Final = 3_000
"""The same for those who come back, and are late already."""
_AGAIN: Final = 6 * 3_600_000
"""Milliseconds until the next attempt, should one come to nothing."""
_LOOK_AGAIN: Final = 60_000
"""Milliseconds between two looks at whether a former key may go, where something needs it still."""
_SETTLED: Final = 60_000
"""Milliseconds on a link after which who waits to be let in has been told of, by any relay."""
_AHEAD: Final = 60_000
"""Milliseconds that a clock goes back by which was ahead; by less it is only set."""
_UNSETTLED_KEPT: Final = 24 * FORMER_KEPT
"""A former key that is older goes on a new link too: some clients never stay for long."""
_LONGEST_KEPT: Final = 7 * _UNSETTLED_KEPT
"""A former key that is older goes in any case: relays keep requests to be let in for so long, and
one that says that somebody waits shall not have it kept for ever."""


class RenewDuty:
    """Decides when this client renews its key in one room, and when it forgets a former one."""

    def __init__(
        self,
        core: Core,
        controls: ControlDesk,
        admissions: AdmissionDesk,
        random: Callable[[], float],
    ) -> None:
        """Reads `core`; UPDATE_E goes out by `controls`. Who asks in at `admissions` is waited for.

        A request to be let in is boxed for the key its sender has just looked up.
        """
        self._core = core
        self._controls = controls
        self._admissions = admissions
        self._random = random
        self._due: int | None = None
        self._act_at: int | None = None
        self._not_before = 0
        self._forget_at: int | None = 0
        self._live_since: int | None = None
        self._last_pumped = 0

    def link_lost(self) -> None:
        """On the next link choose anew: everybody else comes back with us."""
        self._due = self._act_at = self._live_since = None

    def deadline(self) -> int | None:
        """When `pump` should be called, even if nothing comes in."""
        due = [at for at in (self._act_at, self._forget_at) if at is not None]
        return min(due, default=None)

    def pump(self, turn: Turn) -> None:
        """Renew, and forget, what it is time for. Only while attached and caught up."""
        if turn.now < self._last_pumped - _AHEAD:
            self._clock_was_ahead()
        self._last_pumped = turn.now
        self._live_since = turn.now if self._live_since is None else self._live_since
        self._forget(turn)
        if self._controls.has(_NAME) or turn.now < self._not_before:
            return
        if not self._core.holds_own_key:
            self._start(turn, first=True)
            return
        self._choose(turn.now)
        if self._act_at is not None and turn.now >= self._act_at:
            self._start(turn, first=False)

    def _clock_was_ahead(self) -> None:
        """What was planned by it would come too late, or never."""
        self.link_lost()
        self._not_before = self._forget_at = 0

    def _choose(self, now: int) -> None:
        """When to act, chosen once for each time that it becomes due."""
        core = self._core
        due = next_renewal(core.state, core.me, now)
        if due == self._due:
            return
        self._due, members = due, len(core.state.members)
        if due is None:
            self._act_at = None
            return
        chance = self._random()
        on_time = due + int(chance * members * _SPREAD)
        late = now + int(chance * members * _OVERDUE_SPREAD)
        self._act_at = max(on_time, late) if due <= now else on_time

    def _start(self, turn: Turn, *, first: bool) -> None:
        self._not_before = turn.now + _AGAIN
        self._due = self._act_at = None
        if first:
            turn.tell(Alarm(self._core.room, AlarmKind.KEY_REPLACED, _REPLACED))
        self._controls.add(Change(_NAME, self._make), first=first)

    def _make(self, turn: Turn) -> Made | None:
        core = self._core
        due = next_renewal(core.state, core.me, turn.now)
        if core.holds_own_key and (due is None or due > turn.now):
            return None
        pair = core.next_own_pair(turn)
        enc_key = PublicKey(pair.public)
        return Made(make_key_update(core.state, core.mine, core.log.seen, turn.now, enc_key))

    # -- former keys -----------------------------------------------------------------------------

    def renewed(self, now: int) -> None:
        """A control record was applied: perhaps a key of ours is a former one now."""
        self._forget_at = now if self._forget_at is None else min(self._forget_at, now)

    def _forget(self, turn: Turn) -> None:
        core = self._core
        if self._forget_at is None or turn.now < self._forget_at:
            return
        core.forget_own_keys(turn, self._kept_for(turn.now))
        replaced = [p.replaced for p in load_pairs(turn.records, core.tables) if p.replaced]
        later = [max(at + FORMER_KEPT, turn.now + _LOOK_AGAIN) for at in replaced]
        self._forget_at = min(later, default=None)

    def _kept_for(self, now: int) -> int:
        """Milliseconds that a former key is kept, as things are now."""
        core = self._core
        if core.state.epoch not in core.keys or self._admissions.are_waiting:
            return _LONGEST_KEPT
        is_settled = self._live_since is not None and now - self._live_since >= _SETTLED
        return FORMER_KEPT if is_settled else _UNSETTLED_KEPT
