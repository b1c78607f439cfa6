"""A member's view of a room, one delivery at a time: every check of protocol.md §2.3 in its order.

`View.take` is a pure function from (view, delivery) to (view, what to show). It never raises for
what a peer did wrong but `LogBroken` for a delivery that is not the log's next entry; all else
comes back as `troubles`, for a marker or an alarm, and the log goes on.
"""

from __future__ import annotations

from attrs import evolve, field, frozen

from ofcd.e2e.chain import apply_verified
from ofcd.e2e.epochs import follow
from ofcd.e2e.errors import E2eError, KeyMissing, KeyRejected, LogBroken, Reason, Unreadable
from ofcd.e2e.events import Opened, open_verified, verify_event
from ofcd.e2e.genesis import Founding
from ofcd.e2e.keys import EpochKeys, MemberKeys
from ofcd.e2e.log import RoomLog, Senders
from ofcd.protocol.codes import Malformed, ProtocolError, Refused
from ofcd.protocol.ids import EventId, MemberId, RoomId
from ofcd.protocol.records import CONTROL_TYPES, Seen
from ofcd.protocol.room import Member, RoomState
from ofcd.themis.signed import SignedRecord, peek

__all__ = ["Taken", "View"]

Trouble = E2eError | ProtocolError


@frozen
class View:
    """What one member knows of a room; immutable, so that it changes only once all is stored."""

    mine: MemberKeys
    state: RoomState
    keys: EpochKeys
    log: RoomLog
    senders: Senders

    @classmethod
    def founded(cls, mine: MemberKeys, founding: Founding) -> View:
        """The founder's, of a room that holds GENESIS alone."""
        room = founding.state.room
        return cls(mine, founding.state, founding.keys, founding.log, Senders(room))

    @classmethod
    def joined(cls, mine: MemberKeys, state: RoomState, keys: EpochKeys, log: RoomLog) -> View:
        """A newcomer's: `state` by the control records up to `log.seq` and none later."""
        return cls(mine, state, keys, log, Senders(state.room))

    @property
    def room(self) -> RoomId:
        """The room's id."""
        return self.state.room

    @property
    def seen(self) -> Seen:
        """What my next record names as seen."""
        return self.log.seen

    def next_own(self) -> tuple[int, EventId]:
        """Counter and `prev` of my next event, as far as the log tells."""
        return self.senders.next_of(self.mine.mid)

    def take(
        self, seq: int, envelope: bytes, cell: bytes = b"", boxed: bytes | None = None
    ) -> Taken:
        """The log's entry `seq`, with the key box that came just before it, if one did.

        Raises `LogBroken` (gap, not_a_record) if it can not be the log's next entry; then nothing
        has changed, and the room should not be trusted further.
        """
        view = evolve(self, log=self.log.append(seq, envelope))
        try:
            record = peek(envelope).record
        except Malformed:
            return Taken(view, troubles=(Unreadable(Reason.NOT_AN_EVENT),))
        if isinstance(record, CONTROL_TYPES):
            return view._take_control(seq, envelope, boxed)
        return view._take_event(seq, envelope, cell)

    def _take_control(self, seq: int, envelope: bytes, boxed: bytes | None) -> Taken:
        try:
            state, signed = apply_verified(self.state, envelope, seq)
        except (Malformed, Refused) as refused:
            return Taken(self, troubles=(refused,))
        troubles = self._seen_troubles(seq, signed)
        keys = self.keys
        try:
            keys = follow(self.state, self.mine, keys, signed, boxed)
        except (KeyMissing, KeyRejected) as trouble:
            troubles = (*troubles, trouble)
        mine, me = self.mine, state.members.get(self.mine.mid)
        if me is not None:
            mine = mine.turned_to(me.enc_key)  # of an UPDATE_E of mine
        view = evolve(self, mine=mine, state=state, keys=keys)
        return Taken(view, control=signed, troubles=troubles)

    def _take_event(self, seq: int, envelope: bytes, cell: bytes) -> Taken:
        try:
            signed = verify_event(self.state, envelope)
        except Unreadable as unreadable:
            return Taken(self, troubles=(unreadable,))
        troubles: tuple[Trouble, ...] = self._seen_troubles(seq, signed)
        opened: Opened | None = None
        try:
            opened = open_verified(self.keys, signed, cell, caps=self._sender(signed).caps)
        except Unreadable as unreadable:
            troubles = (*troubles, unreadable)
        return self._take_chained(seq, signed, opened, troubles)

    def _take_chained(
        self,
        seq: int,
        signed: SignedRecord,
        opened: Opened | None,
        troubles: tuple[Trouble, ...],
    ) -> Taken:
        voids = opened.body.voids if opened else ()
        try:
            senders, new = self.senders.accept(
                seq, signed, voids=voids, from_start=self._from_start(signed)
            )
        except LogBroken as broken:
            skipped = self.senders.skip_to(signed)
            shown = opened if skipped is not self.senders else None
            view = evolve(self, senders=skipped)
            return Taken(view, event=signed, opened=shown, troubles=(*troubles, broken))
        if not new:
            return Taken(self, event=signed, repeat=True)
        return Taken(evolve(self, senders=senders), event=signed, opened=opened, troubles=troubles)

    def _from_start(self, signed: SignedRecord) -> bool:
        """Whether I have read the log since the sender joined."""
        return self._sender(signed).joined_seq >= self.log.start

    def _sender(self, signed: SignedRecord) -> Member:
        mid: MemberId = signed.record.mid  # type: ignore[union-attr]
        return self.state.member(mid)

    def _seen_troubles(self, seq: int, signed: SignedRecord) -> tuple[Trouble, ...]:
        seen: Seen = signed.record.seen  # type: ignore[union-attr]
        try:
            self.log.check_seen(seq, seen, signed.envelope)
        except LogBroken as broken:
            return (broken,)
        return ()


@frozen
class Taken:
    """What one delivery came to."""

    view: View
    opened: Opened | None = None
    """What to show as its sender's words; None where there is nothing, or a trouble instead."""
    event: SignedRecord | None = None
    """The verified header, also where the cell did not open."""
    control: SignedRecord | None = None
    """The verified control record; `view.state` is after it."""
    repeat: bool = False
    """A message that was taken before: show nothing."""
    troubles: tuple[Trouble, ...] = field(default=())
    """Alarms and reasons for a marker, worst first."""
