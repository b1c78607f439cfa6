"""The room's next key: made when it is due, or asked for (protocol.md, REKEY)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ofcd.client.admitting import AdmissionDesk
from ofcd.client.controls import Change, ControlDesk, Made
from ofcd.client.core import Core
from ofcd.client.duties import RekeyDuty
from ofcd.client.events import Alarm, AlarmKind
from ofcd.client.turn import Turn
from ofcd.e2e.epochs import RekeyDue, make_boxed_rekey, make_routine_rekey

__all__ = ["RekeyDesk"]

_KEY_OLD: Final = "the room key is overdue to be renewed: an owner has to come online"


class RekeyDesk:
    """Makes one room's REKEYs."""

    def __init__(
        self,
        core: Core,
        controls: ControlDesk,
        admissions: AdmissionDesk,
        random: Callable[[], float],
    ) -> None:
        """Reads `core`, and what `admissions` waits for; asks for the record by `controls`."""
        self._core = core
        self._controls = controls
        self._admissions = admissions
        self._duty = RekeyDuty(core, random)

    def pump(self, turn: Turn) -> None:
        """Renew the key, where that is due and ours to do, or an admission waits for it."""
        if self._controls.has("rekey"):
            return
        due = self._duty.check(turn.now)
        if due is not RekeyDue.NO:
            self._duty.hold(turn.now)
            self._controls.add(Change("rekey", self._rekey_if_due))
        elif self._admissions.wants_rekey(turn.now):
            self._controls.add(Change("rekey", self.make))

    def _rekey_if_due(self, turn: Turn) -> Made | None:
        return self.make(turn) if self._duty.is_due(turn.now) else None

    def make(self, turn: Turn) -> Made:
        """The kind of REKEY that is next: routine, or boxed where that is due."""
        core = self._core
        seen = core.log.seen
        if core.needs_boxed:
            made = make_boxed_rekey(core.state, core.mine, seen, turn.now)
        else:
            made = make_routine_rekey(core.state, core.mine, core.keys, seen, turn.now)
        return Made(made.signed, made.boxes)

    def warn(self, turn: Turn) -> None:
        """Tell people, once an epoch, that no owner has come to renew its key."""
        if self._duty.warns(turn.now):
            turn.tell(Alarm(self._core.room, AlarmKind.KEY_OLD, _KEY_OLD))

    def deadline(self) -> int | None:
        """When to look again, even if nothing comes in."""
        return self._duty.deadline()
