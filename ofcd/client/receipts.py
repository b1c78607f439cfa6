"""Receipts: what this client says has come here, where it says nothing else (protocol.md §12).

Every event and control record proves in `seen` how far its sender has the log. Who only reads
proves nothing, so that nobody knows whether words have come to them. In a small room its client
says so by a signal: at once on a new link (a program that only reads may be gone a moment later),
then now and then, one for all that came meanwhile, and not if words of its own say it already. A
lost receipt is not sent again; whoever comes back and has said something that others are not known
to have asks for theirs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ofcd.client.core import Core
from ofcd.client.turn import Turn
from ofcd.e2e.errors import Unreadable
from ofcd.e2e.receipts import make_receipt, open_receipt
from ofcd.e2e.signals import Signal, SignalKind, seal_signal
from ofcd.protocol import frames
from ofcd.protocol.ids import MemberId
from ofcd.protocol.records import Seen
from ofcd.protocol.room import Member

__all__ = ["RECEIPT_MEMBERS", "ReceiptDuty"]

RECEIPT_MEMBERS: Final = 16
"""In a larger room nobody sends receipts: each goes to everybody."""
_SOON: Final = 1_000
_SPREAD: Final = 2_000
"""Milliseconds after something came that a receipt goes out, and how far they are apart."""
_EVERY: Final = 10_000
"""Milliseconds between two receipts."""


class ReceiptDuty:
    """Decides when this client sends a receipt in one room, and takes those of others."""

    def __init__(self, core: Core, random: Callable[[], float]) -> None:
        """Works on `core`."""
        self._core = core
        self._random = random
        self._at: int | None = None
        self._not_before = 0
        self._is_asked = False
        self._is_fresh = True
        self._asks_for = -1
        """What was said before this link came up, and others are not known to have."""
        self._ahead: dict[MemberId, Seen] = {}
        """Receipts that came before the entries they are about."""

    def deadline(self) -> int | None:
        """When `pump` should be called, even if nothing comes in."""
        return self._at

    def link_lost(self) -> None:
        """What was said on it may have come to nobody."""
        self._at, self._is_asked = None, False
        self._is_fresh, self._asks_for = True, -1

    def pump(self, turn: Turn) -> None:
        """Send a receipt, if one is due. Only while attached and caught up."""
        at_once, self._is_fresh = self._is_fresh, False
        if at_once:
            self._asks_for = self._core.head.own_seq
        self._take_ahead(turn)
        if not self._may_send() or not self._is_due():
            self._at = None
        elif at_once and turn.now >= self._not_before:
            self._send(turn)
        elif self._at is None:
            soon = turn.now + _SOON + int(self._random() * _SPREAD)
            self._at = max(soon, self._not_before)
        elif turn.now >= self._at:
            self._send(turn)

    def heard(self, turn: Turn, member: Member, signal: Signal) -> None:
        """A signal of SEEN that the relay says is of `member`; believed by its signature alone."""
        try:
            receipt = open_receipt(self._core.room, member, signal.receipt)
        except Unreadable:
            return
        self._ahead[member.mid] = receipt.seen
        self._take_ahead(turn)
        self._is_asked = self._is_asked or signal.ask

    def _take_ahead(self, turn: Turn) -> None:
        for mid, seen in list(self._ahead.items()):
            if seen.seq <= self._core.log.seq:
                del self._ahead[mid]
                self._core.note_reached(turn, mid, seen)

    def _may_send(self) -> bool:
        state = self._core.state
        me = state.members.get(self._core.me)
        return (
            1 < len(state.members) <= RECEIPT_MEMBERS
            and me is not None
            and me.may_post
            and state.epoch in self._core.keys
        )

    def _is_due(self) -> bool:
        told = self._core.reached.get(self._core.me, -1)
        return self._is_asked or self._core.head.others_seq > told or self._wants()

    def _wants(self) -> bool:
        """Whether others are to be asked, once, for what they are not known to have."""
        core, own = self._core, self._asks_for
        return any(
            core.reached.get(mid, -1) < own
            for mid, member in core.state.members.items()
            if mid != core.me and member.may_post and member.history_from <= own
        )

    def _send(self, turn: Turn) -> None:
        core = self._core
        asks, seen = self._wants(), core.log.seen
        self._at, self._not_before = None, turn.now + _EVERY
        self._is_asked, self._asks_for = False, -1
        receipt = make_receipt(core.room, core.mine, seen, turn.now)
        signal = Signal(SignalKind.SEEN, turn.now, receipt.envelope, asks)
        epoch = core.state.epoch
        cell = seal_signal(core.room, epoch, core.keys, core.me, signal)
        turn.send(frames.Signal(core.room, epoch, cell))
        core.note_reached(turn, core.me, seen)
