"""What an owner owes a room without being asked (protocol.md §2.3, REKEY): when the key is rotated.

Every owner's client sees the same duty at the same moment. So that they do not all act at once,
root goes first and co-owners follow one after another, each only if it is still due.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ofcd.client.core import Core
from ofcd.e2e.epochs import RekeyDue, rekey_due
from ofcd.protocol.ids import InviteId
from ofcd.protocol.records import Role
from ofcd.protocol.room import Invite, RoomState

__all__ = ["RekeyDuty", "expired_invites", "next_check"]

_RANK_STEP: Final = 20_000
_RANK_SPREAD: Final = 10_000
_HOLD: Final = 30_000
_HOUR: Final = 3_600_000
_OVERDUE: Final = 2
"""Times the room's own limits, after which its members are told that the key is old."""


class RekeyDuty:
    """Decides when this client rotates one room's key."""

    def __init__(self, core: Core, random: Callable[[], float]) -> None:
        """Reads `core`."""
        self._core = core
        self._random = random
        self._act_at: int | None = None
        self._epoch = -1
        self._warned = -1

    def check(self, now: int) -> RekeyDue:
        """What to do now: NO while it is not due, not ours, or another owner's turn."""
        core, due = self._core, self._due(now)
        if due is RekeyDue.NO:
            self._act_at = None
            return due
        if self._act_at is None or self._epoch != core.state.epoch:
            self._epoch = core.state.epoch
            self._act_at = now + self._delay()
        return due if now >= self._act_at else RekeyDue.NO

    def is_due(self, now: int) -> bool:
        """Whether anybody still has to do it."""
        return self._due(now) is not RekeyDue.NO

    def warns(self, now: int) -> bool:
        """True once an epoch: its key should be long gone, and no owner came to renew it."""
        core = self._core
        state, policy = core.state, core.state.policy
        if self._warned == state.epoch:
            return False
        entries = core.log.seq - state.epoch_seq
        by_time = now - core.head.epoch_since >= _OVERDUE * policy.rotate_hours * _HOUR
        if entries < _OVERDUE * policy.rotate_after and not (entries > 0 and by_time):
            return False
        self._warned = state.epoch
        return True

    def hold(self, now: int) -> None:
        """It is being done; should that come to nothing, try again after a while."""
        self._act_at = now + _HOLD

    def _due(self, now: int) -> RekeyDue:
        core = self._core
        if not core.is_owner:
            return RekeyDue.NO
        return rekey_due(core.state, core.log.seq, core.head.epoch_since, now)

    def deadline(self) -> int | None:
        """When to check again, even if nothing comes in."""
        core = self._core
        if self._act_at is not None:
            return self._act_at
        if core.log.seq <= core.state.epoch_seq:
            return None
        hours = core.state.policy.rotate_hours
        if not core.is_owner:
            hours *= _OVERDUE  # for `warns`
        return core.head.epoch_since + hours * _HOUR

    def _delay(self) -> int:
        rank = _rank(self._core.state, self._core)
        if rank == 0:
            return 0
        return rank * _RANK_STEP + int(_RANK_SPREAD * self._random())


def _rank(state: RoomState, core: Core) -> int:
    """0 for root; co-owners from 1 on, in an order that all of them compute alike."""
    if state.root == core.me:
        return 0
    others = sorted(m.mid for m in state.members.values() if m.role is Role.CO_OWNER)
    return 1 + others.index(core.me) if core.me in others else 1 + len(others)


def expired_invites(core: Core, now: int) -> list[InviteId]:
    """Open invites that are over and to be closed: own ones; by an owner, those of who is gone."""
    return [
        invite.invite_id
        for invite in core.state.invites.values()
        if invite.expires <= now and _is_ours_to_close(core, invite)
    ]


def next_check(core: Core) -> int | None:
    """When the next invite expires that `expired_invites` is to close."""
    ours = [i.expires for i in core.state.invites.values() if _is_ours_to_close(core, i)]
    return min(ours, default=None)


def _is_ours_to_close(core: Core, invite: Invite) -> bool:
    gone = invite.inviter not in core.state.members
    return invite.inviter == core.me or (gone and core.is_owner)
