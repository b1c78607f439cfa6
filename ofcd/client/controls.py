"""Changes to the room itself: control records, made, sent, and made again after a lost race.

One is under way at a time. Each is made for the control head of the moment; refused with
`conflict`, it is made anew (or found needless) once the record that won has come. What makes a
record can be called several times, and after the link was lost: the record that was sent may have
been taken after all, and then its delivery settles it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from attrs import define, field, frozen

from ofcd.client.core import Core, refusal
from ofcd.client.errors import ClientError, KeyUnavailable, RelayRefused
from ofcd.client.events import RoomStatus
from ofcd.client.turn import Ticket, Turn
from ofcd.e2e.errors import E2eError, KeyMissing
from ofcd.protocol.backoff import Backoff
from ofcd.protocol.codes import Code, ProtocolError
from ofcd.protocol.frames import Ack, Control, Failure, RelayFrame
from ofcd.protocol.ids import EventId
from ofcd.protocol.records import Leave
from ofcd.themis.signed import SignedRecord

__all__ = ["Change", "ControlDesk", "Made"]

_STALE_WAIT: Final = 15_000
_AGAIN: Final = frozenset({Code.CONFLICT, Code.EPOCH_STALE, Code.SEEN_STALE, Code.BOXED_REQUIRED})
_LATER: Final = frozenset(
    {
        Code.RATE_LIMITED,
        Code.TRY_AGAIN,
        Code.HUB_AWAY,
        Code.STORAGE_FAILED,
        Code.SHUTTING_DOWN,
        Code.STALLED,
        Code.INTERNAL,
        Code.WRONG_RELAY,  # it has seen our HOME before we have
    }
)
_NOT_HERE: Final = frozenset({Code.NOT_ATTACHED, Code.NOT_FOUND})
_TRIES: Final = 8
"""How often a change that gives way is put off before it is given up."""
_HELD: Final = 2_000
"""The longest wait before the next of these tries: a room that is about to move is kept for it for
five seconds after each, and what comes later meets a room where others have spoken."""


@frozen
class Made:
    """A control record to send."""

    signed: SignedRecord
    boxes: tuple[bytes, ...] = field(default=(), repr=False)
    value: object = None
    """What the application is answered once it is in the log."""


@define(eq=False)
class Change:
    """Something to change. `make` raises what forbids it; None: nothing is left to do."""

    name: str
    make: Callable[[Turn], Made | None]
    ticket: Ticket | None = None
    made: Made | None = None
    sent_for: EventId | None = None
    """The control head it was last made for."""
    gives_way: bool = False
    """It may never become possible: all others go first, and it is given up after some tries."""
    tries_left: int = _TRIES
    then: Callable[[Turn], None] | None = None
    """Called once it is in the log, or refused for good."""


class ControlDesk:
    """The pending changes of one room, first come, first served."""

    def __init__(self, core: Core, random: Callable[[], float]) -> None:
        """Works on `core`."""
        self._core = core
        self._changes: list[Change] = []
        self._under_way = False
        self._stale_since: int | None = None
        self._not_before = 0
        """Until when the first change is put off."""
        self._wished = 0
        """Until when the relay wants to be asked nothing, whatever it is."""
        self._backoff = Backoff(random, first=500, longest=60_000)

    def add(self, change: Change, *, first: bool = False) -> None:
        """Do this after what is pending, or (`first`) before all that is not under way.

        Nothing waits for a change that gives way, but while its answer is awaited.
        """
        begun = int(self._under_way)
        kept = self._changes[begun:]
        end = begun + sum(not other.gives_way for other in kept)
        if kept and kept[0].gives_way and not change.gives_way:
            self._not_before, self._stale_since = 0, None  # that wait was the other's
        if change.gives_way:
            end = len(self._changes)
        self._changes.insert(begun if first else end, change)

    def has(self, name: str) -> bool:
        """Whether a change of this name is pending."""
        return any(change.name == name for change in self._changes)

    def withdraw(self, turn: Turn, ticket: Ticket, error: ClientError) -> None:
        """The application waits no longer: what gives way is tried no more.

        What was sent may be taken all the same: its delivery shows it.
        """
        for change in [one for one in self._changes if one.ticket is ticket and one.gives_way]:
            if self._under_way and change is self._changes[0]:
                change.tries_left = 0
            else:
                self._finish(turn, change, error)

    def link_lost(self) -> None:
        """What was under way is made again, unless the log shows that it was taken."""
        self._under_way = False
        self._stale_since = None
        self._wished = 0  # another relay may be the next

    def deadline(self) -> int | None:
        """When `pump` should be called, even if nothing comes in."""
        if not self._changes or self._under_way:
            return None
        wait = max(self._not_before, self._wished)
        if self._stale_since is not None:
            return max(wait, self._stale_since + _STALE_WAIT)
        return wait or None

    def fail_all(self, turn: Turn, error: ClientError) -> None:
        """Nothing can be changed here any more."""
        for change in self._changes:
            turn.settle(change.ticket, error)
        self._changes.clear()

    def pump(self, turn: Turn) -> None:
        """Send the next change, if it is time. Only while the room is attached and caught up."""
        if self._under_way or not self._changes:
            return
        if turn.now < max(self._not_before, self._wished):
            return
        if self._stale_since is not None and self._changes[0].sent_for == self._core.state.ctl:
            if turn.now >= self._stale_since + _STALE_WAIT:
                self._stale_since = None
                turn.drop = "catch up"
            return
        self._stale_since = None
        self._not_before = self._wished = 0
        while self._changes and not self._under_way:
            self._send(turn, self._changes[0])

    def _send(self, turn: Turn, change: Change) -> None:
        core = self._core
        if change.tries_left <= 0:  # withdrawn, and the link was lost before it was answered
            self._finish(turn, change, None)
            return
        try:
            core.check_usable()
            made = change.make(turn)
        except KeyMissing:
            self._finish(turn, change, KeyUnavailable("the room key is not here yet"))
            return
        except ProtocolError as refused:
            self._finish(turn, change, refusal(refused.code))
            return
        except E2eError as error:
            self._finish(turn, change, RelayRefused(error.code, str(error)))
            return
        except ClientError as error:
            self._finish(turn, change, error)
            return
        if made is None:
            self._finish(turn, change, None)
            return
        change.made, change.sent_for = made, core.state.ctl
        self._under_way = True
        turn.ask(
            lambda rid: Control(rid, core.room, made.signed.envelope, made.boxes),
            lambda later, frame: self._answered(later, change, frame),
        )

    # -- what became of it -----------------------------------------------------------------------

    def delivered(self, turn: Turn, event_id: EventId) -> None:
        """An own control record came in the log, and is applied."""
        for change in self._changes:
            if change.made is not None and change.made.signed.event_id == event_id:
                self._under_way = False
                self._backoff.succeeded()
                self._finish(turn, change, change.made.value)
                return

    def _answered(self, turn: Turn, change: Change, frame: RelayFrame) -> None:
        if change not in self._changes:
            return  # its delivery was faster than its Ack
        if isinstance(frame, Ack):
            if change.made is not None and isinstance(change.made.signed.record, Leave):
                # Who has left is delivered nothing more.
                self._core.set_status(turn, RoomStatus.LEFT, Code.LEFT.value)
                self.delivered(turn, frame.event_id)
            return  # settled when it is delivered, and so applied
        self._under_way = False
        if isinstance(frame, Failure):
            self._refused(turn, change, frame)

    def _refused(self, turn: Turn, change: Change, failure: Failure) -> None:
        code = failure.code
        asked = failure.wait
        if asked and code in _LATER - {Code.TRY_AGAIN}:  # which is said of this change alone
            self._wished = turn.now + asked
        if change.gives_way and code in _AGAIN | _LATER | _NOT_HERE:
            change.tries_left -= 1
            if change.tries_left <= 0:
                self._finish(turn, change, RelayRefused(code, failure.text))
                return
            self._changes.sort(key=lambda one: one.gives_way)  # who came meanwhile is first
            if self._changes[0] is not change and code not in _NOT_HERE:
                return
        if code in _AGAIN:
            self._stale_since = turn.now
        elif code in _LATER:
            wait = self._backoff.failed(asked)
            if change.gives_way and code == Code.TRY_AGAIN:
                wait = min(wait, _HELD)
            self._not_before = turn.now + wait
        elif code in _NOT_HERE:
            turn.drop = code
        else:
            self._finish(turn, change, RelayRefused(code, failure.text))

    def _finish(self, turn: Turn, change: Change, outcome: object) -> None:
        if change.gives_way and change is self._changes[0]:
            self._not_before = 0  # whoever asks for the same again does not inherit its waits
            self._backoff.succeeded()
        self._changes.remove(change)
        turn.settle(change.ticket, outcome)
        if change.then is not None:
            change.then(turn)
