"""Beats: after a silence, somebody says how far they have seen the log (protocol.md §2.2).

A relay that cuts off the end of the log, or shows two members two ends, is found out when somebody
next speaks. So that this does not take long, one member who has seen what another said, and has
heard nobody confirm it, sends a beat. Its header names the end of the log as every event's does.

One beat is enough, and nobody waits to be the first: each waits for a random time, of which long
ones are more likely the more members there are, so that the shortest of all stands alone (RTCP-like
suppression with exponential timers: J. Nonnenmacher and E. W. Biersack, "Scalable Feedback for
Large Groups", 1999). A beat needs no beat, and does not keep a room's rotation going.
"""

from __future__ import annotations

from collections.abc import Callable
from math import log
from typing import Any, Final

from ofcd.client.core import Core
from ofcd.client.outbox import Outbox, Stage
from ofcd.client.turn import Ticket, Turn
from ofcd.e2e.bodies import Beat
from ofcd.e2e.keys import new_sid
from ofcd.protocol.ids import Sid
from ofcd.protocol.records import Event, EventKind, UpdateKey
from ofcd.themis.signed import SignedRecord

__all__ = ["LEAST_MEMBERS", "BeatDuty", "end_after"]

LEAST_MEMBERS: Final = 3
"""In a room of two nobody beats: what one has said, only the other could confirm, and answers."""
SPREAD: Final = 300_000
"""Milliseconds among which members choose when to beat."""
_MINUTE: Final = 60_000


def end_after(core: Core, seq: int, signed: SignedRecord | None, now: int) -> dict[str, Any]:
    """How entry `seq`, verified or None, changes what the head says of the log's end."""
    head, record = core.head, None if signed is None else signed.record
    beat = isinstance(record, Event) and record.kind is EventKind.BEAT
    if isinstance(record, UpdateKey) or (isinstance(record, Event) and beat):
        return {"unconfirmed": -1} if record.seen.seq >= head.unconfirmed else {}
    said = {"said_seq": seq}
    if record is None or getattr(record, "mid", None) != core.me:
        return {**said, "unconfirmed": seq, "unconfirmed_since": now}
    seen: int = record.seen.seq  # type: ignore[union-attr]  # of an event, or a control record
    return {**said, "unconfirmed": -1} if seen >= head.unconfirmed else said


class BeatDuty:
    """Decides when this client beats in one room."""

    def __init__(self, core: Core, outbox: Outbox, random: Callable[[], float]) -> None:
        """Reads `core`; beats go out by `outbox`."""
        self._core = core
        self._outbox = outbox
        self._random = random
        self._at: int | None = None
        self._of = -1
        """The entry that a beat at `_at` would confirm."""
        self._sid: Sid | None = None
        self._sent: Ticket | None = None

    def deadline(self) -> int | None:
        """When `pump` should be called, even if nothing comes in."""
        return self._at

    def link_lost(self) -> None:
        """On the next link choose anew: everybody else comes back with us."""
        self._at, self._of = None, -1

    def pump(self, turn: Turn) -> None:
        """Beat, if it is time. Only while attached and caught up."""
        self._forget_refused(turn)
        head = self._core.head
        if head.unconfirmed < 0 or not self._may_beat():
            self._at, self._of = None, -1
        elif self._of != head.unconfirmed:
            self._of = head.unconfirmed
            self._at = max(self._silent_from(), turn.now) + self._delay()
        elif self._at is not None and turn.now >= self._at:
            self._at = None
            self._beat(turn)

    def _silent_from(self) -> int:
        core = self._core
        return core.head.unconfirmed_since + core.state.policy.beat_minutes * _MINUTE

    def _may_beat(self) -> bool:
        state = self._core.state
        me = state.members.get(self._core.me)
        return (
            state.policy.beat_minutes > 0
            and len(state.members) >= LEAST_MEMBERS
            and me is not None
            and me.may_post
            and state.epoch in self._core.keys
        )

    def _delay(self) -> int:
        """From a truncated exponential distribution: of n members few are early."""
        count = len(self._core.state.members)
        return int(SPREAD * log(1 + self._random() * (count - 1)) / log(count))

    def _beat(self, turn: Turn) -> None:
        if any(item.stage is not Stage.FAILED for item in self._outbox.items):
            self._of = -1
            return  # what waits there says as much; should it be refused, choose anew
        self._sid, self._sent = new_sid(), Ticket("beat")
        self._outbox.queue(turn.records, Beat(), self._sid, turn.now)
        self._outbox.await_accepted(self._sid, self._sent)
        turn.again = True

    def _forget_refused(self, turn: Turn) -> None:
        """A beat that the relay has just refused for good is nothing to tell a person of."""
        if self._sent is None or not self._sent.settled:
            return
        if self._sent.error is not None and self._sid is not None:
            self._outbox.withdraw(turn, self._sid)
            turn.events = [e for e in turn.events if getattr(e, "sid", None) != self._sid]
        self._sent = self._sid = None
