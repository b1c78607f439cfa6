"""What one's relay shows against a room's own relay: judged here, before anything follows from it.

A room is frozen by what `e2e.evidence` finds proven, and by nothing that a relay merely says. What
proves nothing is told to people once a link: their relay is mistaken, or lies.
"""

from __future__ import annotations

from functools import partial
from typing import Final

from ofcd.client.core import Core
from ofcd.client.events import RoomStatus
from ofcd.client.lineages import lineage_of
from ofcd.client.turn import Turn
from ofcd.e2e.errors import Fault, LogBroken
from ofcd.e2e.evidence import NotYet, Proof, judge
from ofcd.protocol.ids import EventId, PublicKey

__all__ = ["EvidenceDesk"]

_PATIENCE: Final = 60_000
"""Milliseconds in which the entry must come that evidence is about."""


class EvidenceDesk:
    """The evidence shown in one room."""

    def __init__(self, core: Core) -> None:
        """Works on `core`."""
        self._core = core
        self._waiting: tuple[PublicKey, tuple[bytes, ...]] | None = None
        self._seq = -1
        """The entry that `_waiting` is about."""
        self._until = 0

    def link_lost(self) -> None:
        """The next link shows it again, if it is any."""
        self._waiting = None

    def deadline(self) -> int | None:
        """When `pump` should be called, even if nothing comes in."""
        return None if self._waiting is None else self._until

    def shown(self, turn: Turn, key: PublicKey, records: tuple[bytes, ...]) -> None:
        """The relay shows this, and says that `key` is that of the room's own relay."""
        core = self._core
        if core.head.status is RoomStatus.FROZEN:
            return

        def place_of(control: EventId) -> int | None:
            entry = core.archive.find(turn.records, control)
            return None if entry is None else entry.seq

        found = judge(
            core.state,
            core.log.seq,
            lambda seq: core.checked_hash(turn.records, seq),
            key,
            records,
            partial(lineage_of, turn.records),
            place_of,
        )
        if isinstance(found, Proof):
            self._waiting = None
            broken = LogBroken(found.fault, found.seq, found.records)
            core.freeze(turn, broken, self._words(found))
        elif isinstance(found, NotYet):
            if self._waiting is None:
                self._until = turn.now + _PATIENCE
            self._waiting, self._seq = (key, records), found.seq
        else:
            self._waiting = None
            core.blame(turn)

    def pump(self, turn: Turn) -> None:
        """Judge again what waits, once its entry is here, or too long."""
        if self._waiting is None:
            return
        if self._core.log.seq >= self._seq:
            self.shown(turn, *self._waiting)
        elif turn.now >= self._until:
            self._waiting = None
            self._core.blame(turn)

    def _words(self, proof: Proof) -> str:
        if proof.fault is Fault.EQUIVOCATION:
            return f"the room's relay has signed two different logs up to entry {proof.seq}"
        who = "the room's relay"
        if proof.witness is not None:
            who = self._core.names.get(proof.witness) or f"member {proof.witness.hex()[:8]}"
        return f"{who} has signed another log up to entry {proof.seq} than was delivered here"
