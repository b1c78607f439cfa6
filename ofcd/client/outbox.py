"""The outbox of one room: what is to be said, kept until the relay has it (protocol.md §2.3, §2.5).

    queued   kept; waits for the link, the key, or its turn
    sent     sealed and signed, kept, then posted; posted again, byte for byte, on the next link
    accepted in the room log: by an Ack, or by its own delivery
    failed   refused for good; stays until it is discarded

One event at a time is under way, so each names the one before it by a counter and an id that are
certain. Refused as stale, it is signed (or sealed) again with the same counter and sid once what
was missed has come. Refused for good, the next event takes its counter and declares it void.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Final

from attrs import define, evolve, field, frozen

from ofcd.client.backoff import Backoff
from ofcd.client.core import Core, refusal
from ofcd.client.errors import ClientError, RelayRefused
from ofcd.client.events import MessageAccepted, MessageFailed, RoomStatus
from ofcd.client.model import Sent, load, number_key, save
from ofcd.client.turn import Ticket, Turn
from ofcd.client.vault import Reader, Records
from ofcd.e2e.bodies import Body, Content, Via, decode_body, encode_body
from ofcd.e2e.errors import BodyInvalid, KeyMissing
from ofcd.e2e.events import Outgoing, SealedEvent, resign_event, seal_event
from ofcd.protocol.codes import SENTENCES, Code, Refused
from ofcd.protocol.frames import Ack, Failure, Post, RelayFrame
from ofcd.protocol.ids import EventId, Sid
from ofcd.themis.signed import peek

__all__ = ["Outbox", "Queued", "Stage"]

_OUT: Final = b"out/"
_STALE_WAIT: Final = 15_000
"""Milliseconds to wait for what was missed before the link is opened anew to fetch it."""
_WAIT_FOR_LOG: Final = frozenset(
    {Code.EPOCH_STALE, Code.CTL_STALE, Code.SEEN_STALE, Code.COUNTER_GAP, Code.PREV_MISMATCH}
)
_TRY_LATER: Final = frozenset(
    {
        Code.RATE_LIMITED,
        Code.TRY_AGAIN,
        Code.STORAGE_FAILED,
        Code.SHUTTING_DOWN,
        Code.STALLED,
        Code.INTERNAL,
    }
)
_NOT_HERE: Final = frozenset({Code.NOT_ATTACHED, Code.NOT_FOUND})
_LIES: Final = frozenset({Code.FORK, Code.HUB_BEHIND})


class Stage(StrEnum):
    """How far a message has come."""

    QUEUED = "queued"
    SENT = "sent"
    FAILED = "failed"


@frozen
class Queued:
    """A message in the outbox."""

    number: int
    sid: Sid
    created: int
    body: bytes = field(repr=False)
    """The plaintext, counter aside."""
    stage: Stage = Stage.QUEUED
    record: bytes = field(default=b"", repr=False)
    cell: bytes = field(default=b"", repr=False)
    event_id: EventId | None = None
    counter: int = 0
    code: str = ""
    text: str = ""


@define
class _Wait:
    """Something must be delivered before the next attempt."""

    over: Callable[[], bool]
    deadline: int


class Outbox:
    """One room's outbox."""

    def __init__(self, core: Core, records: Reader, random: Callable[[], float]) -> None:
        """Loads what the vault holds."""
        self._core = core
        self._items = {
            item.number: item
            for _, raw in records.items(core.tables.state, _OUT, b"out0")
            for item in (load(Queued, raw),)
        }
        self._tickets: dict[Sid, list[Ticket]] = {}
        self._next = max(self._items, default=-1) + 1
        self._under_way: int | None = None
        self._wait: _Wait | None = None
        self._not_before = 0
        self._backoff = Backoff(random, first=500, longest=60_000)

    @property
    def items(self) -> list[Queued]:
        """What is not accepted yet, in order; failed ones included."""
        return [self._items[number] for number in sorted(self._items)]

    # -- the application's side ------------------------------------------------------------------

    def queue(
        self,
        records: Records,
        content: Content,
        sid: Sid,
        now: int,
        *,
        hops: int = 0,
        via: Via | None = None,
    ) -> Sent | None:
        """Keep a message for sending, in the caller's transaction.

        The same sid again queues nothing: where that message is in the log already, says where.
        Raises `BodyInvalid`, `RoomFrozen`, `NotAllowed`.
        """
        core = self._core
        known = self.sent(records, sid)
        if known is not None:
            return known
        if any(item.sid == sid for item in self._items.values()):
            return None
        core.check_usable()
        member = core.state.members.get(core.me)
        if member is not None and not member.may_post:
            raise refusal(Code.FORBIDDEN.value)
        body = Body(
            room=core.room,
            mid=core.me,
            counter=1,  # replaced when it is sealed
            sid=sid,
            content=content,
            name=core.head.my_name,
            hops=hops,
            via=via,
        )
        item = Queued(self._next, sid, now, encode_body(body).rstrip())
        self._next += 1
        self._put(records, item)
        records.on_commit(lambda: self._items.update({item.number: item}))
        return None

    def sent(self, records: Reader, sid: Sid) -> Sent | None:
        """Where an own message stands in the log, if it is there."""
        raw = records.get(self._core.tables.archive("sids"), sid)
        return None if raw is None else load(Sent, raw)

    def await_accepted(self, sid: Sid, ticket: Ticket) -> None:
        """Settle `ticket` by a `Sent` once the message is accepted, or by why it never will be."""
        self._tickets.setdefault(sid, []).append(ticket)

    def discard(self, records: Records, sid: Sid) -> bool:
        """Drop a message that failed, or that was never sent; False if it is under way or gone."""
        item = next((item for item in self._items.values() if item.sid == sid), None)
        if item is None or (item.record and item.stage is not Stage.FAILED):
            return False
        number = item.number
        records.delete(self._core.tables.state, number_key(number, _OUT))
        records.on_commit(lambda: self._forget(number))
        return True

    def _forget(self, number: int) -> None:
        self._items.pop(number, None)

    # -- sending ---------------------------------------------------------------------------------

    def link_lost(self) -> None:
        """What was under way is posted again on the next link."""
        self._under_way = None
        self._wait = None

    def deadline(self) -> int | None:
        """When `pump` should be called, even if nothing comes in."""
        if self._wait is not None:
            return self._wait.deadline
        return self._not_before if self._not_before and self._pending() else None

    def pump(self, turn: Turn) -> None:
        """Post the next message, if it is time. Only while the room is attached and caught up."""
        if self._under_way is not None or turn.now < self._not_before or self._is_waiting(turn):
            return
        self._not_before = 0
        while (item := self._pending()) is not None:
            ready = self._ready(turn, item)
            if ready is not None:
                self._post(turn, ready)
                return
            if item.number in self._items and self._items[item.number].stage is not Stage.FAILED:
                return

    def _pending(self) -> Queued | None:
        # In the order they were queued: a dict keeps it, however long the outbox is.
        return next((i for i in self._items.values() if i.stage is not Stage.FAILED), None)

    def _is_waiting(self, turn: Turn) -> bool:
        if self._wait is None:
            return False
        if self._wait.over():
            self._wait = None
            return False
        if turn.now >= self._wait.deadline:
            self._wait = None
            turn.drop = "catch up"
        return True

    def _ready(self, turn: Turn, item: Queued) -> Queued | None:
        """The item, sealed and kept; None if it can not be sealed now, or never."""
        if item.stage is Stage.SENT:
            return item
        core = self._core
        try:
            sealed = self._seal(item)
        except KeyMissing:
            return None  # asked for by the key desk; pumped again when it comes
        except Refused as refused:
            self._fail(turn, item, refused.code, str(refused))
            return None
        except BodyInvalid as error:
            self._fail(turn, item, error.code, str(error))
            return None
        counter, _ = core.next_own()
        ready = evolve(
            item,
            stage=Stage.SENT,
            record=sealed.signed.envelope,
            cell=sealed.cell,
            event_id=sealed.event_id,
            counter=counter,
        )
        self._keep(turn, ready)
        return ready

    def _seal(self, item: Queued) -> SealedEvent:
        core = self._core
        counter, prev = core.next_own()
        if item.record and item.counter == counter:
            before = SealedEvent(peek(item.record), item.cell)
            if before.event.epoch == core.state.epoch:
                return resign_event(core.state, core.mine, before, core.log.seen, prev)
        body = decode_body(item.body)
        outgoing = Outgoing(
            content=body.content,
            sid=item.sid,
            counter=counter,
            prev=prev,
            ts=item.created,
            name=core.head.my_name,
            hops=body.hops,
            via=body.via,
            voids=core.head.voids,
        )
        return seal_event(core.state, core.mine, core.keys, outgoing, core.log.seen)

    def _post(self, turn: Turn, item: Queued) -> None:
        self._under_way = item.number
        turn.ask(
            lambda rid: Post(rid, self._core.room, item.record, item.cell),
            lambda later, frame: self._answered(later, item, frame),
        )

    # -- what became of it -----------------------------------------------------------------------

    def delivered(self, turn: Turn, sid: Sid, event_id: EventId, seq: int) -> None:
        """An own event came back in the log."""
        for item in self.items:
            if item.sid == sid:
                self._accept(turn, item, Sent(event_id, seq))
                return
        self._remember(turn, sid, Sent(event_id, seq))

    def _answered(self, turn: Turn, item: Queued, frame: RelayFrame) -> None:
        if item.number not in self._items:
            return  # its delivery was faster than its Ack
        if self._under_way == item.number:
            self._under_way = None
        if isinstance(frame, Ack) and frame.event_id != item.event_id:
            turn.drop = Code.BAD_FRAME.value
        elif isinstance(frame, Ack):
            self._core.vouch(turn, frame.seq, frame.log)
            self._accept(turn, item, Sent(frame.event_id, frame.seq))
        elif isinstance(frame, Failure):
            self._refused(turn, item, frame)

    def _accept(self, turn: Turn, item: Queued, sent: Sent) -> None:
        core = self._core
        if self._under_way == item.number:
            self._under_way = None
        self._wait = None
        self._backoff.succeeded()
        del self._items[item.number]
        turn.records.delete(core.tables.state, number_key(item.number, _OUT))
        if item.counter > core.head.counter:
            core.save_head(turn, counter=item.counter, last=sent.event_id, voids=())
        self._remember(turn, item.sid, sent)
        turn.tell(MessageAccepted(core.room, item.sid, sent.event_id, sent.seq))
        self._settle(turn, item.sid, sent)

    def _remember(self, turn: Turn, sid: Sid, sent: Sent) -> None:
        turn.records.put(self._core.tables.archive("sids"), sid, save(sent))

    def _refused(self, turn: Turn, item: Queued, failure: Failure) -> None:
        core = self._core
        code = failure.code
        if code == Code.SID_CONFLICT and failure.event_id is not None and failure.seq is not None:
            # An earlier form of this very message is in the log: that is the one that counts.
            self._accept(turn, item, Sent(failure.event_id, failure.seq))
        elif (
            code == Code.COUNTER_GAP
            and failure.event_id is not None
            and failure.event_id == item.event_id
        ):
            # It is the last event the relay has of us; where it stands is no longer kept there.
            self._accept(turn, item, Sent(failure.event_id, core.head.seq))
        elif code in _WAIT_FOR_LOG:
            self._keep(turn, evolve(item, stage=Stage.QUEUED))
            self._wait = self._wait_for(code, item, turn.now + _STALE_WAIT)
        elif code in _TRY_LATER:
            self._not_before = turn.now + self._backoff.failed(failure.retry_after or 0)
        elif code in _LIES:
            core.set_status(turn, RoomStatus.FROZEN, code)
        elif code in _NOT_HERE:
            turn.drop = code
        else:
            self._fail(turn, item, code, failure.text)

    def _wait_for(self, code: str, item: Queued, deadline: int) -> _Wait:
        core = self._core
        event = SealedEvent(peek(item.record), item.cell).event
        if code in (Code.COUNTER_GAP, Code.PREV_MISMATCH):
            return _Wait(lambda: core.next_own() != (event.counter, event.prev), deadline)
        if code == Code.SEEN_STALE:
            return _Wait(lambda: core.log.seq > event.seen.seq, deadline)
        return _Wait(lambda: core.state.ctl != event.ctl, deadline)

    def _fail(self, turn: Turn, item: Queued, code: str, text: str) -> None:
        core = self._core
        self._keep(turn, evolve(item, stage=Stage.FAILED, code=code, text=text))
        if item.event_id is not None:
            core.save_head(turn, voids=(*core.head.voids, item.event_id)[-_VOIDS:])
        turn.tell(MessageFailed(core.room, item.sid, code, text))
        self._settle(turn, item.sid, RelayRefused(code, text or _sentence(code)))

    def _settle(self, turn: Turn, sid: Sid, outcome: Sent | ClientError) -> None:
        for ticket in self._tickets.pop(sid, ()):
            turn.settle(ticket, outcome)

    def _keep(self, turn: Turn, item: Queued) -> None:
        self._items[item.number] = item
        self._put(turn.records, item)

    def _put(self, records: Records, item: Queued) -> None:
        records.put(self._core.tables.state, number_key(item.number, _OUT), save(item))


_VOIDS: Final = 16
"""As many as one body may declare."""


def _sentence(code: str) -> str:
    try:
        return SENTENCES[Code(code)]
    except ValueError:
        return f"the relay refused this ({code})"
