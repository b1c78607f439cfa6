"""The room log as one member sees it: the running hash, and what gives a lying relay away.

`L_0` is the room id, `L_s = H("log", L_{s-1}, s, event_id)`. Every event and control record names
the last (seq, L) its sender had seen; whoever has another L there holds proof that the two were
shown different logs (protocol.md §2.2). Senders also number and chain their own events.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from attrs import evolve, field, frozen

from ofcd.e2e.errors import Fault, LogBroken
from ofcd.protocol.ids import EventId, Hash32, MemberId, RoomId, Sid, event_id_of, log_hash
from ofcd.protocol.records import Event, LogHead, Seen
from ofcd.themis import BadSignature, unverified_payload
from ofcd.themis.signed import SignedRecord

__all__ = ["WINDOW", "RoomLog", "SenderHead", "Senders"]

WINDOW: Final = 1024
"""How many entries `seen` may lie behind the one that names it, at the relay and here."""


@frozen
class RoomLog:
    """The log up to `seq`, where its running hash is `log`; immutable."""

    room: RoomId
    seq: int
    log: Hash32
    recent: tuple[Hash32, ...] = field(repr=False)
    """The last running hashes, that of `seq` last."""
    start: int = 0
    """Where this member began to read: what lies before is not known to it."""

    @classmethod
    def founded(cls, room: RoomId) -> RoomLog:
        """The log of a room that holds GENESIS alone."""
        return cls.resumed(room, 0, Hash32(room))

    @classmethod
    def resumed(
        cls,
        room: RoomId,
        seq: int,
        log: Hash32,
        recent: tuple[Hash32, ...] = (),
        start: int | None = None,
    ) -> RoomLog:
        """The log from a known point on: a stored one, or where a newcomer's history starts.

        `recent` (the running hashes up to `seq`) and `start` are those of the stored log; without
        them, `seen` is checked from here on.
        """
        begins = seq if start is None else start
        return cls(room=room, seq=seq, log=log, recent=recent or (log,), start=begins)

    @property
    def seen(self) -> Seen:
        """What this member's next record names."""
        return Seen(self.seq, self.log)

    def hash_at(self, seq: int) -> Hash32 | None:
        """The running hash after `seq`, if it is still remembered."""
        back = self.seq - seq
        return self.recent[-1 - back] if 0 <= back < len(self.recent) else None

    def append(self, seq: int, envelope: bytes) -> RoomLog:
        """With the record delivered as number `seq`; raises `LogBroken` (gap, not_a_record).

        Do so for every delivery, even one whose signature or cell does not hold: the log counts
        what the relay put there.
        """
        if seq != self.seq + 1:
            raise LogBroken(Fault.GAP, seq, (envelope,))
        try:
            event_id = event_id_of(unverified_payload(envelope))
        except BadSignature:
            raise LogBroken(Fault.NOT_A_RECORD, seq, (envelope,)) from None
        log = log_hash(self.log, seq, event_id)
        recent = (*self.recent, log)[-WINDOW - 1 :]
        return evolve(self, seq=seq, log=log, recent=recent)

    def check_seen(self, seq: int, seen: Seen, envelope: bytes) -> None:
        """The sender of record `seq` had seen the log that I have; else `LogBroken` (fork).

        Call it for records whose signature was verified, after or before `append`.
        """
        if seen.seq >= seq:
            raise LogBroken(Fault.FORK, seq, (envelope,))
        if seq - seen.seq > WINDOW:
            raise LogBroken(Fault.STALE_SEEN, seq, (envelope,))
        mine = self.hash_at(seen.seq)
        if mine is not None and mine != seen.log:
            raise LogBroken(Fault.FORK, seq, (envelope,))

    def check_head(self, head: LogHead, envelope: bytes) -> None:
        """The hub's verified LOG_HEAD says what I computed; else `LogBroken` (fork).

        A head past my own end, or before my knowledge begins, says nothing yet.
        """
        mine = self.hash_at(head.seq)
        if head.room != self.room or (mine is not None and mine != head.log):
            raise LogBroken(Fault.FORK, head.seq, (envelope,))


@frozen
class SenderHead:
    """A sender's last event in the log."""

    counter: int
    event_id: EventId
    sid: Sid
    voided: tuple[EventId, ...] = ()
    """Events that it declared refused by the relay, with this counter."""
    certain: bool = True
    """Its next event must follow this one; False after a stretch that this member has not read."""

    def is_past(self, signed: SignedRecord, event: Event) -> bool:
        """Whether this is no later one; this one itself is known also where its number is not."""
        return event.counter <= self.counter or signed.event_id == self.event_id


@frozen
class Senders:
    """The chain of each sender's own events, by member."""

    room: RoomId
    heads: Mapping[MemberId, SenderHead] = field(factory=dict)

    def next_of(self, mid: MemberId) -> tuple[int, EventId]:
        """The counter and `prev` that this member's next event must carry."""
        head = self.heads.get(mid)
        return (head.counter + 1, head.event_id) if head else (1, EventId(self.room))

    def accept(
        self,
        seq: int,
        signed: SignedRecord,
        *,
        voids: tuple[EventId, ...] = (),
        from_start: bool,
    ) -> tuple[Senders, bool]:
        """With a verified event, and whether it is new: False for the same message once more.

        `voids` are those of its body, where that opened. `from_start`: this member has read the
        log since the sender joined, so its first event must be number 1. Raises `LogBroken`.
        """
        event = signed.record
        if not isinstance(event, Event):
            raise TypeError("only events have a sender's chain")
        head = self.heads.get(event.mid)
        if head is not None and head.is_past(signed, event):
            return self._again(seq, event, signed, head, voids)
        if head.certain if head is not None else from_start:
            self._check_next(seq, event, signed)
        new = SenderHead(event.counter, signed.event_id, event.sid, voids)
        return evolve(self, heads={**self.heads, event.mid: new}), True

    def after_gap(self) -> Senders:
        """Where this member reads on after a stretch it has not: old events are still known."""
        return evolve(self, heads={m: evolve(h, certain=False) for m, h in self.heads.items()})

    def skip_to(self, signed: SignedRecord) -> Senders:
        """With an event after which a fault was reported, so that each is reported once."""
        event = signed.record
        if not isinstance(event, Event):
            raise TypeError("only events have a sender's chain")
        head = self.heads.get(event.mid)
        if head is not None and head.is_past(signed, event):
            return self
        new = SenderHead(event.counter, signed.event_id, event.sid)
        return evolve(self, heads={**self.heads, event.mid: new})

    def _check_next(self, seq: int, event: Event, signed: SignedRecord) -> None:
        counter, prev = self.next_of(event.mid)
        if event.counter != counter:
            raise LogBroken(Fault.SENDER_GAP, seq, (signed.envelope,))
        if event.prev != prev:
            raise LogBroken(Fault.SENDER_PREV, seq, (signed.envelope,))

    def _again(
        self,
        seq: int,
        event: Event,
        signed: SignedRecord,
        head: SenderHead,
        voids: tuple[EventId, ...],
    ) -> tuple[Senders, bool]:
        if event.counter < head.counter or signed.event_id == head.event_id:
            raise LogBroken(Fault.REPLAY, seq, (signed.envelope,))
        if event.sid == head.sid:
            return self, False
        voided = head.event_id in voids or signed.event_id in head.voided
        raise LogBroken(Fault.VOIDED if voided else Fault.SENDER_FORK, seq, (signed.envelope,))
