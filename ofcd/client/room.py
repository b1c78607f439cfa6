"""One room of this client: the machine that wires its parts and knows how far it has come.

    DOWN -> (CREATING) -> ATTACHING -> (CHAIN) -> SYNCING -> LIVE

A founder's room is CREATING until the relay has its GENESIS. CHAIN reads the control log, for a
newcomer and where the relay no longer keeps what was missed. Only LIVE rooms send. From anywhere a
relay that says what does not fit leads to WAITING, and from there to ATTACHING (waiting.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from ofcd.client.admitting import AdmissionDesk
from ofcd.client.aliases import Aliases
from ofcd.client.archive import Kind
from ofcd.client.beats import BeatDuty
from ofcd.client.blobdrops import BlobDrops
from ofcd.client.chainpages import ChainPages
from ofcd.client.comparing import CompareDesk
from ofcd.client.controls import ControlDesk
from ofcd.client.core import Core, load_core, refusal
from ofcd.client.cursors import CursorDuty
from ofcd.client.duties import expired_invites, next_check
from ofcd.client.errors import ClientError, JoinFailed, Offline, RelayRefused, RoomFrozen
from ofcd.client.events import (
    Alarm,
    AlarmKind,
    HistoryGap,
    RoomStatus,
    SignalReceived,
)
from ofcd.client.evidence import EvidenceDesk
from ofcd.client.handing import HandoverDuty
from ofcd.client.keydesk import KeyDesk
from ofcd.client.ledger import Ledger
from ofcd.client.moving import finish_move, follow_hub, is_elsewhere
from ofcd.client.outbox import Outbox
from ofcd.client.phase import LinkFacts, Phase
from ofcd.client.receipts import ReceiptDuty
from ofcd.client.rekeying import RekeyDesk
from ofcd.client.removal import status_after
from ofcd.client.renewing import RenewDuty
from ofcd.client.turn import Ticket, Turn
from ofcd.client.vault import Reader
from ofcd.client.voiding import TakenBack, take_moves
from ofcd.client.waiting import COPY_PATIENCE, HUB_PATIENCE, Misfit, Waiting, is_copy
from ofcd.e2e.bodies import Alias, Profile, Redaction
from ofcd.e2e.controls import make_attach
from ofcd.e2e.errors import JoinRejected, Unreadable
from ofcd.e2e.events import Opened
from ofcd.e2e.joining import check_admitted
from ofcd.e2e.keys import new_sid
from ofcd.e2e.signals import SignalKind, open_signal
from ofcd.protocol import frames
from ofcd.protocol.backoff import Backoff
from ofcd.protocol.codes import Code, Malformed, ProtocolError
from ofcd.protocol.ids import EventId, Hash32, RelayId, RoomId
from ofcd.protocol.records import (
    CONTROL_TYPES,
    Admit,
    Event,
    HubMove,
    UpdateKey,
)
from ofcd.themis.signed import SignedRecord, peek

__all__ = ["RoomMachine"]


class RoomMachine:
    """One room (sans-IO). Every method that takes a turn may be called in any phase."""

    def __init__(self, records: Reader, room: RoomId, random: Callable[[], float]) -> None:
        """Loads the room from the vault."""
        self.core: Core = load_core(records, room)
        self.phase = Phase.DOWN
        self.ledger = Ledger(self.core, self._heard)
        self.controls = ControlDesk(self.core, random)
        self.outbox = Outbox(self.core, records, random)
        self.admissions = AdmissionDesk(self.core, self.controls, random)
        self.keydesk = KeyDesk(self.core, self.ledger, self.controls)
        self.comparing = CompareDesk(self.core, records, self.outbox)
        self.aliases = Aliases(self.core, records)
        self._beats = BeatDuty(self.core, self.outbox, random)
        self._receipts = ReceiptDuty(self.core, random)
        self._evidence = EvidenceDesk(self.core)
        self.drops = BlobDrops(self.core, records, random)
        self.rekeys = RekeyDesk(self.core, self.controls, self.admissions, random)
        self._handover = HandoverDuty(self.core, self.controls)
        self._renewing = RenewDuty(self.core, self.controls, self.admissions, random)
        self._link: LinkFacts | None = None
        self._chain = ChainPages()
        self._backoff = Backoff(random, first=1_000, longest=600_000)
        self._waiting = Waiting(random)
        self._retry_at: int | None = None
        self._catch_up_to = -1
        self._own_last: tuple[int, EventId | None] = (0, None)
        self._pumped_at = -1
        self._opening: list[Ticket] = []
        self._halted: ClientError | None = None
        self._surveys: list[Ticket] = []
        self._told_end: tuple[int, Hash32] | None = None
        desks = (self.controls, self.admissions, self.keydesk)
        self._cursor = CursorDuty(self.core)
        duties = (self._beats, self._receipts, self._evidence, self.drops, self._renewing)
        self._parts = (*desks, *duties, self._cursor)

    @property
    def is_live(self) -> bool:
        """Attached and caught up."""
        return self.phase is Phase.LIVE

    @property
    def is_out(self) -> bool:
        """Removed, as somebody has signed."""
        return self.core.head.status is RoomStatus.EVICTED

    def check_open(self, *, reading: bool = False) -> None:
        """Raises why nothing can be done in this room, for good or on this link.

        `NotAllowed`, `RoomFrozen`, `JoinFailed`, `RelayRefused`. `reading`: only to catch up, as a
        frozen room is let to at a relay that is tried.
        """
        if not (reading and self.core.is_tried):
            self.core.check_usable()
        if self._halted is not None:
            raise self._halted

    def await_live(self, ticket: Ticket) -> None:
        """Settle `ticket` with the room's id once it is live, or by why it will not be."""
        self._opening.append(ticket)

    def _halt(self, turn: Turn, error: ClientError) -> None:
        """Nothing more on this link: whoever waits for something here hears why."""
        self.phase, self._halted = Phase.STOPPED, error
        self._retry_at = None
        for ticket in (*self._opening, *self._surveys):
            turn.settle(ticket, error)
        self._opening.clear()
        self._surveys.clear()
        self.controls.fail_all(turn, error)
        self.comparing.fail_all(turn, error)
        self.outbox.halt(turn, error)

    # -- the link --------------------------------------------------------------------------------

    def link_up(self, turn: Turn, link: LinkFacts) -> None:
        """A link to this room's relay is open."""
        self._link, self._retry_at = link, None
        head = self.core.head
        # Who was evicted, or is frozen, only asks: a relay may have to tell of a move.
        if head.status in (RoomStatus.LEFT, RoomStatus.CLOSED):
            self._halt_by_status(turn)
        elif head.created:
            self._attach(turn)
        else:
            self._create(turn)

    def link_down(self) -> None:
        """The link is gone."""
        self._end_talk()
        self.core.told.clear()

    def _end_talk(self) -> None:
        self.phase = Phase.DOWN
        self._link = self._retry_at = self._halted = self._told_end = None
        self._chain = ChainPages()
        self.core.misfit = None
        for part in (self.outbox, *self._parts):
            part.link_lost()

    def _create(self, turn: Turn) -> None:
        self.phase = Phase.CREATING
        token = self.core.head.create_token
        genesis = next(envelope for _, envelope in self.core.archive.chain(turn.records))
        turn.ask(lambda rid: frames.Create(rid, token, record=genesis), self._created)

    def _created(self, turn: Turn, frame: frames.RelayFrame) -> None:
        if self.phase is not Phase.CREATING:
            return
        if isinstance(frame, frames.Ack):
            self.core.save_head(turn, created=True, create_token="")
            self._attach(turn)
        elif isinstance(frame, frames.Failure):
            self._stop(turn, frame, RoomStatus.CLOSED, JoinFailed(frame.code, frame.text))

    def _attach(self, turn: Turn) -> None:
        self.phase = Phase.ATTACHING
        link = self._link
        if link is None:
            return
        signed = make_attach(
            self.core.room,
            self.core.mine,
            transport_key=link.transport_key,
            relay_id=RelayId(self.core.identity.relay_id),
            challenge=link.challenge,
            now=turn.now,
        )
        core = self.core
        hub = core.state.hub if core.is_away else None
        url = core.identity.hub_url
        turn.ask(
            lambda rid: frames.Attach(rid, signed.envelope, hub=hub, hub_url=url), self._attached
        )

    def _attached(self, turn: Turn, frame: frames.RelayFrame) -> None:
        core = self.core
        if self.phase is not Phase.ATTACHING:
            return  # stopped meanwhile: no answer revives what is frozen
        if isinstance(frame, frames.Failure):
            self._stop(turn, frame, RoomStatus.HIDDEN)
            return
        if not isinstance(frame, frames.Attached):
            return
        if core.head.may_return:
            core.come_back(turn)
        is_over = core.head.status in (RoomStatus.EVICTED, RoomStatus.FROZEN)
        if is_over and not core.is_tried:  # where one is evicted: a copy that is behind
            self._halt_by_status(turn)
            return
        if frame.counter > frame.seq:
            turn.drop = Code.BAD_FRAME.value  # more events of ours than the log has entries
            return
        self._told_end = frame.seq, frame.log
        if core.head.status is RoomStatus.HIDDEN:
            core.set_status(turn, RoomStatus.ACTIVE)
        word = self._misfit(turn, frame)
        if word is not None:
            self._wait(turn, word, frame.seq)
            return
        self._own_last = frame.counter, frame.last
        self._cursor.told = frame.cursor
        if core.head.begun:
            self._sync(turn)
        else:
            self._chain = ChainPages()
            self._read_chain(turn, core.state.seq + 1)

    def _misfit(self, turn: Turn, frame: frames.Attached) -> Misfit | None:
        """What of this does not fit the log that is here."""
        core = self.core
        if not core.head.begun:
            return None
        ours = core.checked_hash(turn.records, frame.seq)
        if ours is not None and ours != frame.log:
            return Misfit.FORK
        is_behind = frame.seq < max(core.head.seq, core.head.vouched_seq)
        return Misfit.HUB_BEHIND if is_behind else None

    def _wait(self, turn: Turn, word: Misfit, end: int) -> None:
        """The relay, whose log ends at `end`, says so, and proves nothing: ask it again."""
        core = self.core
        core.misfit, self.phase = None, Phase.WAITING
        copies = is_copy(core.state, core.identity.relay_id, end)
        if word is Misfit.HUB_BEHIND and copies:
            word = Misfit.COPY_BEHIND
        self._retry_at = turn.now + self._waiting.again(word, turn.now)
        if self._told_end is not None:
            self._surveyed(turn, self.end or refusal(Code.FORK.value))
        if self._waiting.tells(turn.now, COPY_PATIENCE if copies else HUB_PATIENCE):
            core.set_status(turn, RoomStatus.WAITING, word.value)
            if word is not Misfit.UNVERIFIED:  # told when it came
                core.tell_once(turn, word.alarm, word.text, core.head.seq)

    @property
    def waits_for(self) -> Offline | None:
        """Why the room is not live, where its relay says what does not fit."""
        word = self._waiting.word
        return None if word is None else Offline(word.text)

    def _check_fits(self, turn: Turn) -> None:
        """Nothing is waited for where the room is live, and nothing said is refused."""
        is_told = self.core.head.status is RoomStatus.WAITING
        if (self._waiting.word is None and not is_told) or self.outbox.is_doubted:
            return
        self._waiting.over()
        if is_told:
            self.core.set_status(turn, RoomStatus.ACTIVE)

    def _stop(
        self,
        turn: Turn,
        failure: frames.Failure,
        status: RoomStatus,
        error: ClientError | None = None,
    ) -> None:
        """The relay does not want us here. Keys and history stay."""
        if failure.code in _LATER:
            self.phase = Phase.WAITING
            self._retry_at = turn.now + self._backoff.failed(failure.wait)
            return
        if failure.code not in _REFUSALS:
            turn.drop = failure.code
            return
        self.core.set_status(turn, status, failure.code)
        if self.core.head.status is RoomStatus.EVICTED:
            self._halt_by_status(turn)
        else:
            self._halt(turn, error or RelayRefused(failure.code, failure.text))

    # -- catching up -----------------------------------------------------------------------------

    def _read_chain(self, turn: Turn, start: int) -> None:
        self.phase = Phase.CHAIN
        turn.ask(lambda rid: frames.ChainGet(rid, self.core.room, start), self._chain_page)

    def _chain_page(self, turn: Turn, frame: frames.RelayFrame) -> None:
        if self.phase is not Phase.CHAIN:
            return
        if isinstance(frame, frames.Failure):
            self._stop(turn, frame, RoomStatus.HIDDEN)
        elif not self._chain.take(frame):
            turn.drop = "bad page"
        elif self._chain.more:
            self._read_chain(turn, self._chain.next_seq)
        else:
            self._sync(turn)

    def _sync(self, turn: Turn) -> None:
        core = self.core
        self.phase = Phase.SYNCING
        self._catch_up_to = -1
        start = core.head.seq + 1 if core.head.begun else 0
        log = core.log.log if core.head.begun else None
        turn.ask(lambda rid: frames.Sync(rid, core.room, start, log), self._synced)

    def _synced(self, turn: Turn, frame: frames.RelayFrame) -> None:
        core = self.core
        if self.phase is not Phase.SYNCING:
            return
        if isinstance(frame, frames.Failure):
            self._sync_refused(turn, frame)
            return
        if not isinstance(frame, frames.Synced):
            return
        first = max(frame.start, frame.floor)
        if not core.head.begun and first < 1:
            turn.drop = "bad start"  # GENESIS alone is the founder's to begin with
            return
        if core.head.begun and first > core.head.seq + 1:
            # The relay no longer keeps what was missed: go on by the control log.
            core.save_head(turn, begun=False)
            self._chain = ChainPages()
            self._read_chain(turn, core.state.seq + 1)
            return
        if not core.head.begun and not self._begin(turn, first, frame.log):
            return  # `pump` finds why
        self._backoff.succeeded()
        self._catch_up_to = frame.head
        self._check_live(turn)

    def _begin(self, turn: Turn, first: int, log: Hash32) -> bool:
        """The log begins here; what the control log says of the time before is taken too."""
        known, chain, self._chain = self.core.state.seq, self._chain.records, ChainPages()
        newest = self.core.archive.entries(turn.records, limit=1, newest_first=True)
        before = next((entry.seq for entry in newest), None)
        if not self.ledger.begin(turn, first, log, chain):
            return False
        if before is not None and before + 1 < first:
            turn.tell(HistoryGap(self.core.room, before + 1, first))
        for seq, envelope in chain:
            if known < seq < first:
                self._control_taken(turn, seq, peek(envelope))
        self._check_admission(turn)
        return True

    def _control_taken(self, turn: Turn, seq: int, signed: SignedRecord) -> None:
        """A control record is verified and applied: what waits for it goes on."""
        record = signed.record
        if isinstance(record, CONTROL_TYPES):
            self.admissions.control(turn, seq, record)
            if isinstance(record, UpdateKey) and record.mid == self.core.me:
                self._renewing.renewed(turn.now)
            self.controls.delivered(turn, signed.event_id)
            if finish_move(turn, self.core, record):
                self._halt(turn, Offline(_MOVING))
            elif isinstance(record, HubMove):
                if follow_hub(turn, self.core, record):
                    self._halt(turn, Offline(_MOVING))
                self.keydesk.link_lost()  # what was asked of the hub before, the new one never got

    def _check_admission(self, turn: Turn) -> None:
        """Our own certificate names both our keys, or the admitter reads our boxes."""
        core = self.core
        if core.me not in core.state.members:
            return  # not that far yet
        try:
            check_admitted(core.state, core.mine)
        except JoinRejected as rejected:
            turn.tell(Alarm(core.room, AlarmKind.KEY_MISMATCH, str(rejected)))
            core.set_status(turn, RoomStatus.FROZEN, rejected.fault.value)

    def _sync_refused(self, turn: Turn, failure: frames.Failure) -> None:
        if failure.code in (Code.HUB_BEHIND, Code.FORK):
            end = self.core.head.seq if failure.seq is None else failure.seq
            self._wait(turn, Misfit(failure.code), end)
        else:
            self._stop(turn, failure, RoomStatus.HIDDEN)

    def _check_live(self, turn: Turn) -> None:
        core = self.core
        caught_up = self._catch_up_to >= 0 and core.head.seq >= self._catch_up_to
        self._stop_if_over(turn)
        if self.phase is not Phase.SYNCING or not caught_up:
            return
        self.phase, self._told_end = Phase.LIVE, None
        self._surveyed(turn, (core.head.seq, core.log.log))
        self._take_up(turn)
        for ticket in self._opening:
            turn.settle(ticket, core.room)
        self._opening.clear()
        self._announce(turn)

    def _take_up(self, turn: Turn) -> None:
        """Go on after our own last event, though it came in a stretch that is gone at the relay.

        Only the relay's word says which that was. Where nothing of our time here was missed, it is
        not asked: the log has said it.
        """
        core, (counter, last) = self.core, self._own_last
        me = core.state.members.get(core.me)
        missed = me is not None and core.head.start > me.joined_seq
        if last is not None and missed and counter > core.head.counter:
            self.outbox.take_up(turn, counter, last)
        if core.head.recounts:
            core.save_head(turn, recounts=False)
        self.outbox.caught_up(turn, counter)

    def _announce(self, turn: Turn) -> None:
        """Tell the others what we want to be called, once."""
        core = self.core
        member = core.state.members.get(core.me)
        if core.head.announced or member is None or not member.may_post:
            return
        core.save_head(turn, announced=True)
        if core.head.my_name:
            self.outbox.queue(turn.records, Profile(core.head.my_name), new_sid(), turn.now)
            turn.again = True

    # -- frames ----------------------------------------------------------------------------------

    def receive(self, turn: Turn, frame: frames.RelayFrame) -> None:
        """A frame that is no answer to a request of ours."""
        if self.phase in (Phase.DOWN, Phase.STOPPED):
            return
        match frame:
            case frames.Delivery():
                self._delivered(turn, frame)
            case frames.Box():
                self.ledger.take_box(frame.seq, frame.box)
            case frames.Head():
                if self._link is not None and self.core.head.begun:
                    key = frame.key or self._link.relay_key
                    self.ledger.take_word(turn, self._link, key, frame.record)
            case frames.JoinAsked():
                self.admissions.asked(turn, frame.record)
            case frames.JoinConfirmed():
                self.admissions.confirmed(turn, frame.record)
            case frames.KeyAsked():
                self.keydesk.asked(frame.record)
            case frames.KeyAnswered():
                self.keydesk.answered(turn, frame.record, frame.box)
            case frames.Signalled():
                self._signalled(turn, frame)
            case frames.Removed():
                self._removed(turn, frame)
            case frames.Returned():
                self.outbox.returned(turn, frame)
            case frames.Moved():
                self._moved(turn, frame.records)
            case frames.Evidence():
                if self._link is not None and self.core.head.begun:
                    self._evidence.shown(turn, frame.key or self._link.relay_key, frame.records)
            case _:
                return
        self._stop_if_over(turn)

    def _delivered(self, turn: Turn, frame: frames.Delivery) -> None:
        core = self.core
        if not core.head.begun or self._catch_up_to < 0:
            return  # of a subscription that is about to be replaced
        before = core.head.seq
        self.ledger.take(turn, frame)
        if core.misfit is not None:
            self._catch_up_to = -1  # nor is what comes behind it taken
        if core.head.seq == before:
            return
        self._cursor.grew(turn.now)
        signed = peek(frame.record)
        record = signed.record
        if isinstance(record, CONTROL_TYPES):
            if core.state.ctl == signed.event_id:
                if isinstance(record, Admit):
                    self._check_admission(turn)
                self._control_taken(turn, frame.seq, signed)
        elif isinstance(record, Event) and self._is_own(signed):
            self.outbox.delivered(turn, record.sid, signed.event_id, frame.seq)
            if record.target is not None:
                self.drops.look(turn.records)
            self._handover.delivered(turn, frame.seq)
        else:
            if isinstance(record, Event) and core.head.cuts:
                self._take_back_again(turn, frame.seq, record, signed.event_id)
            if core.head.offered_to is not None:
                self._handover.delivered(turn, frame.seq)
        self._check_live(turn)

    def _take_back_again(self, turn: Turn, seq: int, event: Event, event_id: EventId) -> None:
        """What this owner took back came to nothing, and is said again by who did not see that."""
        core, archive = self.core, self.core.archive
        entry = archive.find(turn.records, event_id)
        if entry is None or entry.seq != seq or entry.kind not in (Kind.MESSAGE, Kind.PARKED):
            return  # a relay can show it again, and again
        if archive.was_taken_back(turn.records, event.mid, event.sid) and core.is_owner:
            self.outbox.queue(turn.records, Redaction(event_id), new_sid(), turn.now)
            turn.again = True

    def _is_own(self, signed: SignedRecord) -> bool:
        """Whether this event, just taken, is verified to be this client's."""
        own = self.core.view.senders.heads.get(self.core.me)
        return own is not None and own.event_id == signed.event_id

    def _heard(self, turn: Turn, seq: int, opened: Opened) -> None:
        """What another member's client says to this one."""
        if isinstance(opened.content, Alias):
            self.aliases.heard(turn, opened.event.mid, opened.content)
        else:
            self.comparing.heard(turn, seq, opened)

    def _stop_if_over(self, turn: Turn) -> None:
        """Nothing more here, or a while of waiting, where what came calls for that."""
        core, status = self.core, self.core.head.status
        if status in (RoomStatus.EVICTED, RoomStatus.FROZEN) and self.phase is Phase.ATTACHING:
            return  # it was told something, and may be told more
        if status not in _GOES_ON and not core.is_tried:
            self._halt_by_status(turn)
        elif core.misfit is not None:
            self._wait(turn, *core.misfit)

    def _halt_by_status(self, turn: Turn) -> None:
        """The room is frozen, or over for this client: what is asked of it is refused so."""
        try:
            self.core.check_usable()
        except ClientError as error:
            self._halt(turn, error)
            if isinstance(error, RoomFrozen):  # but root may yet move the room
                self._retry_at = turn.now + self._backoff.failed()
            else:
                self.outbox.give_up(turn, error)

    def _signalled(self, turn: Turn, frame: frames.Signalled) -> None:
        core = self.core
        member = core.state.members.get(frame.mid)
        if member is None or frame.mid == core.me:
            return
        try:
            signal = open_signal(core.room, frame.epoch, core.keys, frame.mid, frame.cell, turn.now)
        except Unreadable:
            return  # a hint that can not be read is no hint
        if signal.kind is SignalKind.SEEN:
            self._receipts.heard(turn, member, signal)
        elif signal.kind is not SignalKind.UNKNOWN:
            turn.tell(SignalReceived(core.room, frame.mid, signal.kind.value))

    # -- a hub that is gone for good ---------------------------------------------------------------

    def take_moves(self, turn: Turn, records: Sequence[bytes]) -> TakenBack | None:
        """Root moved the room by force: go back to where it goes on, if it is so.

        Raises `Malformed` for what no log can hold.
        """
        core = self.core
        try:
            taken = take_moves(turn, core, records, has_acked=self.outbox.has_acked)
        except Malformed:
            raise
        except ProtocolError:
            return None  # it is not root's: it moves nobody
        if taken is None:
            return None
        core.misfit = None
        self.ledger.begin_anew()
        for part in self._parts:
            part.link_lost()
        self.aliases.begin_anew(turn, taken.void)
        self.outbox.begin_anew(turn, taken.said)
        self.comparing.begin_anew(turn)
        return taken

    def _moved(self, turn: Turn, records: Sequence[bytes]) -> None:
        core = self.core
        try:
            taken = self.take_moves(turn, records)
        except Malformed:
            turn.drop = Code.BAD_FRAME.value  # no relay in its right mind tells that
            return
        if taken is None:
            if is_elsewhere(turn, core):
                self._halt(turn, Offline(_MOVING))
            return
        if taken.void:
            core.come_back(turn)  # what put this member out stands behind all that it had
        if core.me not in core.state.members:
            turn.tell(Alarm(core.room, AlarmKind.ADMISSION_VOID, _ADMISSION_VOID))
            core.set_status(turn, RoomStatus.HIDDEN, Code.NOT_FOUND.value)
            self._halt(turn, refusal(Code.NOT_FOUND.value))
        elif is_elsewhere(turn, core):
            self._halt(turn, Offline(_MOVING))
        elif self.phase is not Phase.ATTACHING:
            turn.drop = "moved"

    @property
    def end(self) -> tuple[int, Hash32] | None:
        """Where this relay's copy ends, and L there; None before that is known.

        It is once the room is live, or the copy found not to go beyond what is here.
        """
        core, told = self.core, self._told_end
        if self.is_live:
            return core.head.seq, core.log.log
        is_here = self.phase is Phase.WAITING and told is not None and told[0] <= core.head.seq
        return told if is_here else None

    def await_end(self, ticket: Ticket) -> None:
        """Settle `ticket` with `end`."""
        self._surveys.append(ticket)

    def _surveyed(self, turn: Turn, end: tuple[int, Hash32] | ClientError) -> None:
        for ticket in self._surveys:
            turn.settle(ticket, end)
        self._surveys.clear()

    def force(self, turn: Turn, made: SignedRecord, ticket: Ticket) -> None:
        """Hand this forced HUB_MOVE to the relay that it names, which is this one.

        What is behind it here is taken back once it stands in the log there.
        """

        def answered(later: Turn, frame: frames.RelayFrame) -> None:
            if isinstance(frame, frames.Failure):
                later.settle(ticket, RelayRefused(frame.code, frame.text))
                return
            self._moved(later, (made.envelope,))
            later.settle(ticket, None)

        if isinstance(made.record, HubMove):
            self.core.note_term(turn, made.record)  # in the vault before it is sent
        turn.ask(lambda rid: frames.Control(rid, self.core.room, made.envelope), answered)

    def _removed(self, turn: Turn, frame: frames.Removed) -> None:
        """The relay says we are out; believed for good only with the record that says so."""
        status = status_after(self.core, turn.records, frame)
        self.core.set_status(turn, status, frame.code)
        if status is RoomStatus.HIDDEN:
            self._halt(turn, refusal(frame.code))
        else:
            self._halt_by_status(turn)

    # -- what is done without being asked --------------------------------------------------------

    def pump(self, turn: Turn) -> None:
        """Everything that is due: call it after each batch, and when `deadline` has come."""
        link = self._link
        if self._retry_at is not None and turn.now >= self._retry_at and link is not None:
            if self.phase is Phase.STOPPED:
                self._end_talk()
            self.link_up(turn, link)
        if self.phase not in (Phase.DOWN, Phase.STOPPED):
            self._stop_if_over(turn)
        if self.phase is not Phase.LIVE or self.core.is_tried:
            return
        self._check_fits(turn)
        self._pumped_at = turn.now
        self._renewing.pump(turn)
        self.rekeys.pump(turn)
        self.rekeys.warn(turn)
        for invite_id in expired_invites(self.core, turn.now):
            self.admissions.close_invite(invite_id)
        self.keydesk.pump(turn)
        self.admissions.pump(turn)
        self._handover.pump(turn)
        self.controls.pump(turn)
        self.comparing.pump(turn)
        self._beats.pump(turn)
        self._receipts.pump(turn)
        self._evidence.pump(turn)
        self.outbox.pump(turn)
        self.drops.pump(turn)
        self._cursor.pump(turn)

    def deadline(self) -> int | None:
        """When `pump` should be called, even if nothing comes in."""
        if self.phase is not Phase.LIVE:
            return self._retry_at
        due = [
            self.outbox.deadline(),
            self.controls.deadline(),
            self.admissions.deadline(),
            self.keydesk.deadline(),
            self.comparing.deadline(),
            self._beats.deadline(),
            self._receipts.deadline(),
            self._evidence.deadline(),
            self.drops.deadline(),
            self.rekeys.deadline(),
            self._renewing.deadline(),
            next_check(self.core),
            self._cursor.deadline(),
        ]
        # What was due at the last pump was done then, or waits for something to come in.
        later = (at for at in due if at is not None and at > self._pumped_at)
        return min(later, default=None)


_ADMISSION_VOID: Final = (
    "root moved this room to a relay whose copy ends before you were admitted: you are not in the "
    "room any more; ask for a new invite"
)
_MOVING: Final = "the room is reached at another relay from now on: what is queued is sent there"
_GOES_ON: Final = (RoomStatus.ACTIVE, RoomStatus.WAITING, RoomStatus.HIDDEN)
_LATER: Final = frozenset(
    {Code.RATE_LIMITED, Code.TRY_AGAIN, Code.STORAGE_FAILED, Code.INTERNAL, Code.HUB_AWAY}
)
"""Answers about this room alone that may be others in a while: the link serves the rest on."""
_REFUSALS: Final = frozenset(
    {
        Code.NOT_FOUND,
        Code.FORBIDDEN,
        Code.EVICTED,
        Code.LEFT,
        Code.ROOM_CLOSED,
        Code.QUOTA,
        Code.WRONG_RELAY,
        Code.BAD_KEY,
        Code.BAD_RECORD,
        Code.TOO_LARGE,
    }
)
"""Answers that another attempt on another link would get too."""
