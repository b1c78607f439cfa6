"""The outbox of one room: what is to be said, kept until the relay has it (protocol.md §2.3, §2.5).

    queued   kept; waits for the link, the key, or its turn
    sent     sealed and signed, kept, then posted; posted again, byte for byte, on the next link
    held     kept by this client's own relay, for the room's; posted again on the next link
    accepted in the room log: by an Ack, or by its own delivery; kept until that
    failed   refused for good; stays until it is discarded

Some events are under way at once, each naming the one before it by its counter and id. If one is
refused, so are all behind it, and what is left is sent again in order once every answer is here.
Refused as stale, an event is signed (or sealed) again with the same counter and sid once what was
missed has come. Refused for good, the next event takes its counter and declares it void.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import takewhile
from typing import Final

from attrs import define, evolve

from ofcd.client.aiming import ABOUT, NOT_SAID_AGAIN, aimed, void_target
from ofcd.client.archive import VOID, Entry
from ofcd.client.blobdrops import told_of
from ofcd.client.core import Core, refusal
from ofcd.client.errors import ClientError, RelayRefused
from ofcd.client.events import MessageAccepted, MessageFailed, MessageHeld
from ofcd.client.model import Sent, load, number_key, save
from ofcd.client.queued import Flight, Queued, Stage
from ofcd.client.turn import Ticket, Turn
from ofcd.client.vault import Reader, Records
from ofcd.client.waiting import Misfit
from ofcd.e2e.bodies import Body, Content, FileRef, Redaction, Via, decode_body, encode_body
from ofcd.e2e.errors import BodyInvalid, KeyMissing
from ofcd.e2e.events import Outgoing, SealedEvent, may_send, resign_event, seal_event
from ofcd.protocol.backoff import Backoff
from ofcd.protocol.codes import SENTENCES, Code, Refused
from ofcd.protocol.frames import Ack, Failure, Post, RelayFrame, Returned
from ofcd.protocol.frames import Queued as QueuedFrame
from ofcd.protocol.ids import EventId, Sid

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
        Code.HUB_AWAY,
        Code.STORAGE_FAILED,
        Code.SHUTTING_DOWN,
        Code.STALLED,
        Code.INTERNAL,
        Code.WRONG_RELAY,  # it has seen our HOME before we have
    }
)
_NOT_HERE: Final = frozenset({Code.NOT_ATTACHED, Code.NOT_FOUND})
_MISFITS: Final = {Code.FORK: Misfit.FORK, Code.HUB_BEHIND: Misfit.HUB_BEHIND}
"""Mere words: the room attaches anew, and hears of a move then, if there was one."""


@define
class _Wait:
    """Something must be delivered before the next attempt at message `number`."""

    number: int
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
        self._next = max(self._items, default=-1) + 1
        acked = [item for item in self._items.values() if item.stage is Stage.ACKED]
        self._acked = {item.number: item for item in acked}
        """Accepted by an Ack, and not yet back in the log; these are no `items` any more."""
        for item in acked:
            del self._items[item.number]
        self._tickets: dict[Sid, list[Ticket]] = {}
        self._halted: ClientError | None = None
        self._flight = Flight()
        self._wait: _Wait | None = None
        self._not_before = 0
        self._backoff = Backoff(random, first=500, longest=60_000)

    @property
    def items(self) -> list[Queued]:
        """What is not accepted yet, in order; failed ones included."""
        return [self._items[number] for number in sorted(self._items)]

    @property
    def is_doubted(self) -> bool:
        """Whether something waits that the relay has refused by what it can not prove."""
        return any(i.code in _MISFITS and i.stage is not Stage.FAILED for i in self._items.values())

    @property
    def has_acked(self) -> bool:
        """Whether the relay has accepted what has not come back in the log yet."""
        return bool(self._acked)

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
        if core.me in core.state.members and not may_send(core.state, core.me, content):
            raise refusal(Code.FORBIDDEN.value)
        body = Body(
            room=core.room,
            mid=core.me,
            counter=1,  # replaced when it is sealed
            sid=sid,
            content=aimed(core.archive, records, content),
            name=core.head.my_name,
            hops=hops,
            via=via,
        )
        item = Queued(self._next, sid, now, encode_body(body).rstrip())
        self._next += 1
        self._put(records, item)
        if isinstance(content, FileRef):
            told_of(records, core, content.blob_id)
        records.on_commit(lambda: self._items.update({item.number: item}))
        return None

    def sent(self, records: Reader, sid: Sid) -> Sent | None:
        """Where an own message stands in the log, if it is there."""
        raw = records.get(self._core.tables.archive("sids"), sid)
        return None if raw is None else load(Sent, raw)

    def await_accepted(self, sid: Sid, ticket: Ticket) -> None:
        """Settle `ticket` by a `Sent` once the message is accepted, or by why it is not.

        Raises that at once where nothing is sent on this link.
        """
        if self._halted is not None:
            raise self._halted
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

    def withdraw(self, turn: Turn, sid: Sid) -> bool:
        """`discard` in a machine's own turn, whose `pump` is still to come: gone at once."""
        number = next((item.number for item in self._items.values() if item.sid == sid), None)
        gone = self.discard(turn.records, sid)
        if gone and number is not None:
            self._forget(number)
        return gone

    def _forget(self, number: int) -> None:
        self._items.pop(number, None)

    def begin_anew(self, turn: Turn, said: list[Queued]) -> None:
        """What this member `said` came to nothing: it is sent again, before all that waits.

        What waits is sealed anew, too: the key that it was sealed under may be void.
        """
        core, waiting = self._core, self.items
        acked = self._acked_anew(turn)
        for item in [*said, *acked, *waiting]:
            if item.event_id is not None and item.stage is not Stage.FAILED:
                core.save_void(turn, item.counter, item.event_id)
        for item in waiting:
            turn.records.delete(core.tables.state, number_key(item.number, _OUT))
        self._items.clear()
        self.link_lost()
        known, over = {item.sid for item in waiting}, _taken_back(waiting)
        said = [*said, *(item for item in acked if not _is_of_its_moment(item))]
        said = [item for item in said if item.event_id not in over]
        again = [item for item in said if item.sid not in known]
        for item in [*again, *waiting]:
            fresh = evolve(item, number=self._next)
            if item.stage is not Stage.FAILED:
                fresh = evolve(fresh, stage=Stage.QUEUED, code="", text="")
                fresh = evolve(fresh, record=b"", cell=b"", event_id=None, counter=0)
            self._next += 1
            self._keep(turn, fresh)

    def _acked_anew(self, turn: Turn) -> list[Queued]:
        """What was accepted, and never came: it is void as what did, and no number was used."""
        core, acked = self._core, sorted(self._acked.values(), key=lambda item: item.counter)
        if acked and acked[0].counter <= core.head.counter:
            first = acked[0].event
            core.save_own(turn, first.counter - 1, first.prev)
        for item in acked:
            turn.records.delete(core.tables.archive("sids"), item.sid)
        self._drop_acked(turn, acked)
        return acked

    def caught_up(self, turn: Turn, counter: int) -> None:
        """Own events up to this one have come, or stand in a stretch that is kept no longer."""
        self._drop_acked(turn, [one for one in self._acked.values() if one.counter <= counter])

    def _drop_acked(self, turn: Turn, done: list[Queued]) -> None:
        for item in done:
            del self._acked[item.number]
            turn.records.delete(self._core.tables.state, number_key(item.number, _OUT))

    # -- sending ---------------------------------------------------------------------------------

    def link_lost(self) -> None:
        """What was under way is posted again on the next link."""
        self._flight.clear()
        self._wait = None
        self._halted = None

    def halt(self, turn: Turn, error: ClientError) -> None:
        """Nothing is sent on this link any more: whoever waits hears why. What is queued stays."""
        self._halted = error
        for sid in list(self._tickets):
            self._settle(turn, sid, error)

    def give_up(self, turn: Turn, error: ClientError) -> None:
        """Nothing will ever be sent here again: all that waits has failed."""
        for item in self.items:
            if item.stage is not Stage.FAILED:
                doubt = " (this one may have been sent before that)" if item.record else ""
                self._fail(turn, item, error.code, f"{error}{doubt}")

    def deadline(self) -> int | None:
        """When `pump` should be called, even if nothing comes in."""
        if self._wait is not None:
            return self._wait.deadline
        return self._not_before if self._not_before and self._pending() else None

    def pump(self, turn: Turn) -> None:
        """Post the next messages, if it is time. Only while the room is attached and caught up."""
        if turn.now < self._not_before or self._is_waiting(turn):
            return
        self._not_before = 0
        while not self._flight.is_full and self._may_follow():
            item = self._pending()
            if item is None:
                return
            ready = self._ready(turn, item)
            if ready is not None:
                self._post(turn, ready)
            elif self._items[item.number].stage is not Stage.FAILED:
                return

    def _pending(self) -> Queued | None:
        # In the order they were queued: a dict keeps it, however long the outbox is.
        waiting = (i for i in self._items.values() if i.stage is not Stage.FAILED)
        return next((item for item in waiting if item.number not in self._flight.items), None)

    def _may_follow(self) -> bool:
        """Whether an event made now can follow what is under way: no refusal of that is to come."""
        core, last = self._core, self._flight.last
        if last is None:
            return True
        return last.counter >= core.next_own()[0] and last.event.ctl == core.state.ctl

    def _next_own(self) -> tuple[int, EventId]:
        """Counter and `prev` of the next event, if all that is under way is taken."""
        last = self._flight.last
        if last is None or last.event_id is None:
            return self._core.next_own()
        return last.counter + 1, last.event_id

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
        counter, prev = self._next_own()
        first = self._flight.last is None
        if item.stage is Stage.SENT and (first or item.follows(counter, prev)):
            return item  # byte for byte: the relay may have it
        item_now = self._aim(turn, item) if self._core.head.cuts else item
        if item_now is None:
            return None
        item = item_now
        try:
            sealed = self._seal(item, counter, prev)
        except KeyMissing:
            return None  # asked for by the key desk; pumped again when it comes
        except Refused as refused:
            self._fail(turn, item, refused.code, str(refused))
            return None
        except BodyInvalid as error:
            self._fail(turn, item, error.code, str(error))
            return None
        if item.event_id is not None and item.counter != counter:
            self._core.save_void(turn, item.counter, item.event_id)
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

    def _aim(self, turn: Turn, item: Queued) -> Queued | None:
        """The item by what its target is called now; None where that is to be said again first.

        Or where nobody says it again: then it has failed.
        """
        archive, body = self._core.archive, decode_body(item.body)
        content = body.content
        if not isinstance(content, ABOUT):
            return item  # what is said again is to read as it did
        void = void_target(archive, turn.records, content)
        if void is None:
            changed = evolve(body, content=aimed(archive, turn.records, content))
            return evolve(item, body=encode_body(changed).rstrip())
        known = (*self._items.values(), *self._acked.values())
        waiting = {one.sid for one in known if one.stage is not Stage.FAILED}
        if void.mid == self._core.me and void.sid in waiting:
            return None
        if isinstance(content, Redaction):
            archive.take_back_again(turn.records, void)
        self._fail(turn, item, VOID, self._why_void(content, void))
        return None

    def _why_void(self, content: Content, void: Entry) -> str:
        if not isinstance(content, Redaction):
            return _TARGET_VOID
        if void.mid == self._core.me:
            return _OWN_VOID
        return _TAKEN_BACK if self._core.is_owner else _TARGET_VOID

    def _seal(self, item: Queued, counter: int, prev: EventId) -> SealedEvent:
        core = self._core
        if item.record and item.counter == counter:
            before = item.sealed
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
            voids=tuple(void for at, void in core.head.voided if at == counter)[-_VOIDS:],
        )
        return seal_event(core.state, core.mine, core.keys, outgoing, core.log.seen)

    def _post(self, turn: Turn, item: Queued) -> None:
        self._flight.add(item)
        turn.ask(
            lambda rid: Post(rid, self._core.room, item.record, item.cell),
            lambda later, frame: self._answered(later, item, frame),
        )

    # -- what became of it -----------------------------------------------------------------------

    def delivered(self, turn: Turn, sid: Sid, event_id: EventId, seq: int) -> None:
        """An own event came back in the log."""
        self._drop_acked(turn, [one for one in self._acked.values() if one.sid == sid])
        for item in self.items:
            if item.sid == sid:
                self._accept(turn, item, Sent(event_id, seq))
                return
        self._remember(turn, sid, Sent(event_id, seq))

    def _answered(self, turn: Turn, item: Queued, frame: RelayFrame) -> None:
        if item.number not in self._items:
            return  # its delivery was faster than its Ack
        if isinstance(frame, Ack) and frame.event_id != item.event_id:
            turn.drop = Code.BAD_FRAME.value
        elif isinstance(frame, Ack):
            self._core.vouch(turn, frame.seq, frame.log)
            for before in self._before(item):
                # Each names the one before it: whatever becomes of their own answers, they are in.
                self._accept_unseen(turn, before)
            self._acked_at(turn, item, Sent(frame.event_id, frame.seq))
        elif isinstance(frame, QueuedFrame):
            self._held(turn, item, frame)
            return
        elif isinstance(frame, Failure):
            self._refused(turn, item, frame, self._flight.refused())
        self._flight.landed(item)

    def _held(self, turn: Turn, item: Queued, frame: QueuedFrame) -> None:
        if frame.event_id != item.event_id:
            turn.drop = Code.BAD_FRAME.value
            return
        if item.number in self._flight.items:
            self._flight.held.add(item.number)
        first = item.stage is not Stage.HELD
        self._keep(turn, evolve(item, stage=Stage.HELD, code="", text=""))
        if first:
            turn.tell(MessageHeld(self._core.room, item.sid))

    def returned(self, turn: Turn, frame: Returned) -> None:
        """The room's own relay refused what this client's relay kept for it."""
        for item in self.items:
            if item.sid == frame.sid and item.event_id == frame.event_id:
                failure = Failure(0, frame.code, frame.text, frame.seq, frame.last)
                self._refused(turn, item, failure, self._flight.refused())
                self._flight.landed(item)
                return

    def take_up(self, turn: Turn, counter: int, last: EventId) -> None:
        """Our last event at the relay is number `counter` with the id `last`: go on from there.

        If that is no message of this outbox, the vault was put back to an earlier state. What
        waits here may then have been sent long ago, and is not sent again by itself. But where the
        log was cut in a gap, that had been found out before.
        """
        core = self._core
        waiting = [item for item in self.items if item.stage is not Stage.FAILED]
        known = self._up_to(last)
        for item in known:
            self._accept_unseen(turn, item)
        self.caught_up(turn, counter)
        if not known and not core.head.recounts:
            for item in waiting:
                self._fail(turn, item, Code.COUNTER_GAP.value, _PUT_BACK)
        core.save_own(turn, counter, last)

    def _before(self, item: Queued) -> list[Queued]:
        """The messages posted before this one that no answer has come for."""
        earlier = takewhile(lambda other: other.number < item.number, self._items.values())
        return [other for other in earlier if other.stage is not Stage.FAILED and other.record]

    def _up_to(self, last: EventId | None) -> list[Queued]:
        """The messages posted, up to the one with this event id: each names the one before."""
        posted = [item for item in self.items if item.stage is not Stage.FAILED and item.record]
        ids = [item.event_id for item in posted]
        return posted[: ids.index(last) + 1] if last in ids else []

    def _accept_unseen(self, turn: Turn, item: Queued) -> None:
        """The relay has it; where it stands is no longer kept there."""
        if item.event_id is not None:
            self._acked_at(turn, item, Sent(item.event_id, self._core.head.seq))

    def _acked_at(self, turn: Turn, item: Queued, sent: Sent) -> None:
        """The relay has it; it is kept here until it comes back."""
        self._accept(turn, item, sent)
        if item.record:
            self._acked[item.number] = evolve(item, stage=Stage.ACKED)
            self._put(turn.records, self._acked[item.number])

    def _accept(self, turn: Turn, item: Queued, sent: Sent) -> None:
        core = self._core
        self._flight.accepted(item)
        if self._wait is not None and self._wait.number == item.number:
            self._wait = None
        self._backoff.succeeded()
        del self._items[item.number]
        turn.records.delete(core.tables.state, number_key(item.number, _OUT))
        if item.counter > core.head.counter:
            core.save_own(turn, item.counter, sent.event_id)
        self._remember(turn, item.sid, sent)
        turn.tell(MessageAccepted(core.room, item.sid, sent.event_id, sent.seq))
        self._settle(turn, item.sid, sent)

    def _remember(self, turn: Turn, sid: Sid, sent: Sent) -> None:
        turn.records.put(self._core.tables.archive("sids"), sid, save(sent))

    def _refused(self, turn: Turn, item: Queued, failure: Failure, first: bool) -> None:
        """`first`: what comes behind it is refused only because of it, unless for good."""
        core = self._core
        code = failure.code
        if code == Code.SID_CONFLICT and failure.event_id is not None and failure.seq is not None:
            # An earlier form of this very message is in the log: that is the one that counts.
            sent = Sent(failure.event_id, failure.seq)
            is_here = sent.seq <= core.head.seq
            (self._accept if is_here else self._acked_at)(turn, item, sent)
        elif code == Code.COUNTER_GAP and item in self._up_to(failure.event_id):
            # The relay has it: its last event of us is this one, or one that follows it.
            self._accept_unseen(turn, item)
        elif code in _WAIT_FOR_LOG:
            self._keep(turn, evolve(item, stage=Stage.QUEUED))
            if first:
                self._wait = self._wait_for(code, item, turn.now + _STALE_WAIT)
        elif code in _TRY_LATER or code in _MISFITS:
            if code in _MISFITS:
                core.doubt(_MISFITS[Code(code)], failure.seq)
            if first:
                self._keep(turn, evolve(item, code=code, text=failure.text or _sentence(code)))
                self._flight.slow_down()
                self._not_before = turn.now + self._backoff.failed(failure.wait)
        elif code in _NOT_HERE:
            turn.drop = code
        else:
            self._fail(turn, item, code, failure.text)

    def _wait_for(self, code: str, item: Queued, deadline: int) -> _Wait:
        core = self._core
        event, number = item.event, item.number
        if code in (Code.COUNTER_GAP, Code.PREV_MISMATCH):
            return _Wait(number, lambda: core.next_own() != (event.counter, event.prev), deadline)
        if code == Code.SEEN_STALE:
            return _Wait(number, lambda: core.log.seq > event.seen.seq, deadline)
        return _Wait(number, lambda: core.state.ctl != event.ctl, deadline)

    def _fail(self, turn: Turn, item: Queued, code: str, text: str) -> None:
        core = self._core
        self._keep(turn, evolve(item, stage=Stage.FAILED, code=code, text=text))
        if item.event_id is not None:
            core.save_void(turn, item.counter, item.event_id)
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


_PUT_BACK: Final = (
    "this vault was put back to an earlier state, and what was sent after that is no longer at the "
    "relay: this may have been said already"
)
_TARGET_VOID: Final = (
    "what this is about came to nothing when root moved the room: if it is said again, say this "
    "again, too"
)
_OWN_VOID: Final = (
    "what this takes back came to nothing when root moved the room, and is not said again"
)
_TAKEN_BACK: Final = (
    "what this takes back came to nothing when root moved the room: if it is said again, it is "
    "taken back again"
)
_VOIDS: Final = 16
"""As many as one body may declare."""


def _is_of_its_moment(item: Queued) -> bool:
    return isinstance(decode_body(item.body).content, NOT_SAID_AGAIN)


def _taken_back(waiting: list[Queued]) -> set[EventId]:
    """What the redactions among these are about."""
    hopeful = (item for item in waiting if item.stage is not Stage.FAILED)
    contents = (decode_body(item.body).content for item in hopeful)
    return {content.target for content in contents if isinstance(content, Redaction)}


def _sentence(code: str) -> str:
    try:
        return SENTENCES[Code(code)]
    except ValueError:
        return f"the relay refused this ({code})"
