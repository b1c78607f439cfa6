"""Handing the room over: once the heir whom root asked has accepted (protocol.md, HANDOVER)."""

from __future__ import annotations

from ofcd.client.controls import Change, ControlDesk, Made
from ofcd.client.core import Core
from ofcd.client.turn import Turn
from ofcd.e2e.bodies import HandoverAccepted
from ofcd.e2e.controls import make_handover

__all__ = ["HandoverDuty"]


class HandoverDuty:
    """Root's, in one room."""

    def __init__(self, core: Core, controls: ControlDesk) -> None:
        """Reads and changes `core`, and asks for the record by `controls`."""
        self._core = core
        self._controls = controls

    def delivered(self, turn: Turn, seq: int) -> None:
        """The heir we asked may have accepted: then hand over."""
        core = self._core
        entry = core.archive.entry(turn.records, seq)
        if entry is None or entry.mid != core.head.offered_to:
            return
        if isinstance(core.archive.content(entry), HandoverAccepted):
            core.save_head(turn, offered_to=None, accepted_seq=seq, heir=entry.mid)

    def pump(self, turn: Turn) -> None:
        """Somebody has accepted the room: it is theirs, once that is in the log or refused."""
        core, seq = self._core, self._core.head.accepted_seq
        if seq < 0 or self._controls.has("handover"):
            return
        entry = core.archive.entry(turn.records, seq)
        content = None if entry is None else core.archive.content(entry)

        def make(later: Turn) -> Made | None:
            is_void = core.head.accepted_seq != seq
            if is_void or entry is None or not isinstance(content, HandoverAccepted):
                return None  # it is kept no longer
            if entry.mid != core.head.heir:
                return None  # nobody has asked them
            seen, accept = core.log.seen, content.accept
            return Made(
                make_handover(core.state, core.mine, seen, later.now, to=entry.mid, accept=accept)
            )

        def over(later: Turn) -> None:
            if core.head.accepted_seq == seq:  # else somebody else has accepted since
                core.save_head(later, accepted_seq=-1, heir=None)

        self._controls.add(Change("handover", make, then=over))
