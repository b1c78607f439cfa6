"""What an owner owes a room without being asked (protocol.md §2.3, REKEY): when the key is rotated.

Every owner's client sees the same duty at the same moment. So that they do not all act at once,
root goes first and co-owners follow one after another, each only if it is still due.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
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
_NOBODY_CLOSED: Final = 24 * _HOUR
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
        said = _said_seq(core) > state.epoch_seq
        if not said or not (entries >= _OVERDUE * policy.rotate_after or by_time):
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
        if core.is_spent and core.holds_own_key and not core.state.closed:
            return RekeyDue.BOXED
        return rekey_due(
            core.state, core.log.seq, core.head.epoch_since, now, said_seq=_said_seq(core)
        )

    def deadline(self) -> int | None:
        """When to check again, even if nothing comes in."""
        core = self._core
        if self._act_at is not None:
            return self._act_at
        if _said_seq(core) <= core.state.epoch_seq:
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


def _said_seq(core: Core) -> int:
    """The last entry that is more than a beat: a beat after each rotation must not bring the next.

    An unknown one (of a vault written before it was kept) is taken for the last of all.
    """
    return core.log.seq if core.head.said_seq < 0 else core.head.said_seq


def _rank(state: RoomState, core: Core) -> int:
    """0 for root; co-owners from 1 on, in an order that all of them compute alike."""
    if state.root == core.me:
        return 0
    others = sorted(m.mid for m in state.members.values() if m.role is Role.CO_OWNER)
    return 1 + others.index(core.me) if core.me in others else 1 + len(others)


def expired_invites(core: Core, now: int) -> list[InviteId]:
    """Open invites that are over and to be closed by this client.

    Its own at once; an owner also those of who is gone, and after a day those that nobody closed:
    someone may have been given the room key under them.
    """
    due = ((invite.invite_id, _to_be_closed(core, invite)) for invite in _invites(core))
    return [invite_id for invite_id, at in due if at is not None and at <= now]


def next_check(core: Core) -> int | None:
    """When the next invite is over that `expired_invites` is to close."""
    due = (_to_be_closed(core, invite) for invite in _invites(core))
    return min((at for at in due if at is not None), default=None)


def _invites(core: Core) -> Iterable[Invite]:
    return core.state.invites.values()


def _to_be_closed(core: Core, invite: Invite) -> int | None:
    """When this client is to close an invite that is still open; None: never."""
    if invite.inviter == core.me:
        return invite.expires
    if not core.is_owner:
        return None
    if invite.inviter not in core.state.members:
        return invite.expires
    return invite.expires + _NOBODY_CLOSED + _rank(core.state, core) * _RANK_STEP
