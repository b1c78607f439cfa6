"""Taking what the relay delivers: every entry verified, kept, and told (protocol.md §2.3).

`e2e.view` checks; here is what follows from it. An entry that fails a check becomes a visible
marker: never dropped, never shown as the claimed sender's words. An entry whose key is missing is
parked and opened, in order, once the key is here. What somebody signed and only a lying relay can
have caused freezes the room, and is kept as evidence. A record that does not verify is not taken.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from attrs import evolve

from ofcd.client.archive import Entry, Kind
from ofcd.client.beats import end_after
from ofcd.client.core import Core
from ofcd.client.events import Alarm, AlarmKind, KeyFound, KeyMissing, RoomStatus
from ofcd.client.folding import Folder, Hear
from ofcd.client.lineages import lineage_of
from ofcd.client.proofs import Shows
from ofcd.client.turn import Turn
from ofcd.client.waiting import Misfit
from ofcd.e2e import epochs
from ofcd.e2e.chain import apply_verified, verify_chain
from ofcd.e2e.errors import Fault, KeyFault, KeyRejected, LogBroken, Reason, Unreadable
from ofcd.e2e.errors import KeyMissing as NoKey
from ofcd.e2e.events import open_verified
from ofcd.e2e.keys import EpochKeys
from ofcd.e2e.log import RoomLog
from ofcd.e2e.trust import SignedHead, check_agreement, check_log_head
from ofcd.e2e.view import Taken, View
from ofcd.protocol.codes import ProtocolError
from ofcd.protocol.frames import Delivery
from ofcd.protocol.ids import Hash32, MemberId, PublicKey
from ofcd.protocol.records import (
    CONTROL_TYPES,
    Event,
    Genesis,
    HubMove,
    LogHead,
    RekeyBoxed,
    RekeyRoutine,
    Seen,
)
from ofcd.themis.signed import SignedRecord, peek

if TYPE_CHECKING:
    from ofcd.client.phase import LinkFacts

__all__ = ["Ledger"]

_ALARMS: Final = {Fault.SENDER_FORK: AlarmKind.SENDER_FORK}
_NOT_SHOWN: Final = (Fault.REPLAY, Fault.SENDER_FORK, Fault.VOIDED)


class Ledger:
    """The intake of one room."""

    def __init__(self, core: Core, hear: Hear) -> None:
        """Works on, and changes, `core`; `hear` is given what members' clients say to clients."""
        self.core = core
        self._folder = Folder(core, hear)
        self._boxes: dict[int, bytes] = {}
        self._word: SignedHead | None = None
        """The hub's last word, to compare with its next."""

    # -- where the log begins --------------------------------------------------------------------

    def begin(self, turn: Turn, start: int, log: Hash32, chain: list[tuple[int, bytes]]) -> bool:
        """Take the control log before `start`, and the log from there on, where its hash is `log`.

        For a newcomer, and where the relay no longer keeps what this client missed. False if the
        control log does not hold.
        """
        core = self.core
        if core.state.seq >= start:
            # A newcomer's admitter vouched for a later state; the log is read from `start` on.
            known = verify_chain(core.room, core.archive.chain(turn.records), before=start)
            core.view = evolve(core.view, state=known)
            core.save_head(turn, ctl_seq=known.seq)
        for seq, envelope in chain:
            if core.state.seq < seq < start and not self._take_old_control(turn, seq, envelope):
                return False
        begun = RoomLog.resumed(core.room, start - 1, log)
        core.view = evolve(core.view, log=begun, senders=core.view.senders.after_gap())
        for mid in core.view.senders.heads:
            core.save_sender(turn, mid)
        core.archive.add_hash(turn.records, start - 1, log)
        core.save_head(turn, begun=True, start=start - 1, seq=start - 1, log=log)
        return True

    def _take_old_control(self, turn: Turn, seq: int, envelope: bytes) -> bool:
        core = self.core
        try:
            state, signed = apply_verified(core.state, envelope, seq)
        except ProtocolError:
            self._pass_over(turn, envelope)
            return False
        try:
            keys = epochs.follow(core.state, core.mine, core.keys, signed, None)
        except (NoKey, KeyRejected):
            keys = core.keys  # of an epoch before ours; or it will be asked for
        self._enter(turn, evolve(core.view, state=state, keys=keys), seq, envelope)
        return True

    # -- deliveries ------------------------------------------------------------------------------

    def take_box(self, seq: int, box: bytes) -> None:
        """The key box of the boxed REKEY at `seq`, whose delivery comes next."""
        self._boxes = {seq: box}

    def take(self, turn: Turn, frame: Delivery) -> None:
        """Take the next entry. Repeats are passed over; a gap drops the link."""
        core, boxed = self.core, self._boxes.pop(frame.seq, None)
        if frame.seq <= core.head.seq:
            if boxed is not None:
                self._take_late_box(turn, frame.seq, boxed)
            return
        try:
            taken = core.view.take(frame.seq, frame.record, frame.cell, boxed)
        except LogBroken as broken:
            if broken.fault is Fault.NOT_A_RECORD:
                self._pass_over(turn, frame.record)
                return
            turn.tell(Alarm(core.room, AlarmKind.HUB_MISBEHAVES, str(broken), broken.seq))
            turn.drop = broken.fault.value
            return
        if self._is_forked(turn, frame, taken):
            return
        if taken.control is not None:
            self._take_control(turn, frame, taken, taken.control)
        else:
            self._take_event(turn, frame, taken)
        core.archive.add_hash(turn.records, frame.seq, core.log.log)
        signed = taken.control or taken.event
        end = end_after(core, frame.seq, signed, turn.now)
        core.save_head(turn, seq=frame.seq, log=core.log.log, **end)
        self._note_reached(turn, signed)
        self._check_vouched(turn)

    def _note_reached(self, turn: Turn, signed: SignedRecord | None) -> None:
        """Whoever signed this had the log up to what it names as seen."""
        record = None if signed is None else signed.record
        if isinstance(record, Event) or (
            isinstance(record, CONTROL_TYPES) and not isinstance(record, Genesis)
        ):
            self.core.note_reached(turn, record.mid, record.seen)

    def take_word(self, turn: Turn, link: LinkFacts, relay_key: PublicKey, envelope: bytes) -> None:
        """The hub's signed LOG_HEAD: what it tells others must be what it told me.

        It may overtake what it is about. And a relay that passes it on may know of another key of
        the hub's, met first or shown before HUB_MOVE came here: then it is no word to go by.
        """
        core = self.core
        known = partial(lineage_of, turn.records)
        seq, term = _claim_of(envelope)
        hub = core.state.hub_at(seq).relay_id
        if seq > core.head.seq and term > core.state.term:
            return  # of a time that is to come here: the room may have gone, and come back to it
        is_passed_on = hub != link.relay_id and relay_key != link.relay_key
        if (seq > core.head.seq or is_passed_on) and not known(hub).had(relay_key):
            return
        try:
            word = check_log_head(core.state, relay_key, envelope, known)
        except LogBroken as broken:
            turn.tell(Alarm(core.room, AlarmKind.HUB_MISBEHAVES, str(broken), None))
            turn.drop = broken.fault.value
            return
        try:
            if self._word is not None:
                check_agreement(self._word, word)
            self._word = word
            self._compare(turn, word.head.seq, word.head.log, word.envelope)
        except LogBroken as broken:
            core.freeze(turn, broken)

    def _check_vouched(self, turn: Turn) -> None:
        """What the admitter vouched for, and the hub's last word, once the log has come there."""
        core = self.core
        try:
            if core.head.vouched_log is not None and core.head.seq >= core.head.vouched_seq:
                vouched, by = core.head.vouched_log, core.head.vouched_by
                core.save_head(turn, vouched_log=None, vouched_by=b"")
                self._compare(turn, core.head.vouched_seq, vouched, by)
            word = self._word
            if word is not None and word.head.seq == core.head.seq and self._counts(word):
                self._compare(turn, word.head.seq, word.head.log, word.envelope)
        except LogBroken as broken:
            core.freeze(turn, broken)

    def _counts(self, word: SignedHead) -> bool:
        """Whether who said it had the room by then: it may have been moved since it was said."""
        return self.core.state.hub_at(word.head.seq).term == word.head.term

    def _compare(self, turn: Turn, seq: int, theirs: Hash32, envelope: bytes) -> None:
        ours = self.core.checked_hash(turn.records, seq)
        if ours is not None and ours != theirs:
            raise LogBroken(Fault.FORK, seq, (envelope,) if envelope else ())

    def _is_forked(self, turn: Turn, frame: Delivery, taken: Taken) -> bool:
        """Whether this delivery shows another log than others see, or can not stand here."""
        for trouble in taken.troubles:
            if isinstance(trouble, LogBroken) and trouble.fault is Fault.FORK:
                if self.core.is_past(turn.records, _seen_at(taken, frame.seq)):
                    continue  # it is taken, kept and told, and freezes nothing
                self.core.freeze(turn, trouble)
                return True
            if isinstance(trouble, ProtocolError) or _is_no_record(trouble, frame.record):
                self._pass_over(turn, frame.record)
                return True
        return False

    # -- control records -------------------------------------------------------------------------

    def _take_control(
        self, turn: Turn, frame: Delivery, taken: Taken, signed: SignedRecord
    ) -> None:
        core = self.core
        for trouble in taken.troubles:
            if isinstance(trouble, KeyRejected) and not self._is_for_lost(signed, trouble):
                core.keep_evidence(turn, (frame.record,), Shows.OFFENCE)
                turn.tell(Alarm(core.room, AlarmKind.KEY_MISMATCH, str(trouble), frame.seq))
            if isinstance(trouble, KeyRejected | NoKey):
                turn.tell(KeyMissing(core.room, taken.view.state.epoch, frame.seq))
            elif isinstance(trouble, LogBroken):
                self._sound(turn, frame.seq, trouble)
        record = signed.record
        is_genesis = isinstance(record, Genesis)
        entry = Entry(
            seq=frame.seq,
            event_id=signed.event_id,
            mid=core.state.root if is_genesis else _signer(signed),
            ts=record.ts,  # type: ignore[union-attr]  # every control record has one
            kind=Kind.CONTROL,
            received=turn.now,
        )
        self._enter(turn, taken.view, frame.seq, frame.record)
        entry = core.archive.said_again(turn.records, entry)
        core.archive.add(turn.records, entry)
        self._tell(turn, entry)

    def _is_for_lost(self, signed: SignedRecord, rejected: KeyRejected) -> bool:
        """Whether a key box was made for a key of ours that is gone: that alarms nobody."""
        is_closed = rejected.fault is KeyFault.CANNOT_OPEN
        return is_closed and isinstance(signed.record, RekeyBoxed) and not self.core.holds_own_key

    def _enter(self, turn: Turn, view: View, seq: int, envelope: bytes) -> None:
        """The room after a control record."""
        core = self.core
        opens = view.state.epoch != core.state.epoch
        core.view = view
        core.turn_own_key(turn)
        core.archive.add_control(turn.records, seq, envelope)
        if opens:
            core.save_head(turn, ctl_seq=seq, epoch_since=turn.now)
            self.adopt(turn, view.keys)
        else:
            core.save_head(turn, ctl_seq=seq)
        if view.state.closed:
            core.set_status(turn, RoomStatus.CLOSED, "room_closed")

    def _take_late_box(self, turn: Turn, seq: int, boxed: bytes) -> None:
        """A box below the place where this client's log begins: the key may still be wanted."""
        core = self.core
        known = core.archive.control(turn.records, seq)
        record = None if known is None else known.record
        if not isinstance(record, RekeyBoxed) or record.epoch in core.keys:
            return
        try:
            state = core.state_before(turn.records, seq)  # whose keys the box was made by and for
            keys = epochs.open_boxed_rekey(state, core.mine, record, boxed, core.keys)
        except (ProtocolError, KeyRejected):
            return  # no key from here: KEY_REQ asks for the current one
        self.adopt(turn, self._follow_on(turn, keys, seq))

    def _follow_on(self, turn: Turn, keys: EpochKeys, seq: int) -> EpochKeys:
        """`keys` with those of routine REKEYs after `seq` that could not be opened before."""
        for _, envelope in self.core.archive.chain(turn.records, seq + 1):
            record = peek(envelope).record
            if isinstance(record, RekeyRoutine) and record.epoch not in keys:
                try:
                    keys = epochs.open_routine_rekey(record, keys)
                except (NoKey, KeyRejected):
                    break
        return keys

    # -- events ----------------------------------------------------------------------------------

    def _take_event(self, turn: Turn, frame: Delivery, taken: Taken) -> None:
        core = self.core
        core.view = taken.view
        code = ""
        for trouble in taken.troubles:
            if isinstance(trouble, LogBroken):
                self._sound(turn, frame.seq, trouble)
                shown = trouble.fault not in _NOT_SHOWN
                code = code if shown else trouble.fault.value
            elif isinstance(trouble, Unreadable):
                code = code or trouble.reason.value
        signed = taken.event
        if signed is None or not isinstance(signed.record, Event):
            self._keep_marker(turn, frame, code)
            return
        event = signed.record
        if not taken.repeat:
            self._advance(turn, signed, event)
        entry = Entry(
            seq=frame.seq,
            event_id=signed.event_id,
            mid=event.mid,
            ts=event.ts,
            kind=Kind.SILENT if taken.repeat else Kind.INVALID,
            received=turn.now,
            sid=event.sid,
            epoch=event.epoch,
            code=code,
            own=(event.counter, event.prev) if self._is_mine(signed, event, code) else None,
        )
        self._keep(turn, entry, taken, frame)

    def _is_mine(self, signed: SignedRecord, event: Event, code: str) -> bool:
        """Whether it is this client's own, and the next one of it."""
        last = self.core.view.senders.heads.get(self.core.me)
        is_last = last is not None and last.event_id == signed.event_id
        return event.mid == self.core.me and is_last and code not in _NOT_SHOWN

    def _keep(self, turn: Turn, entry: Entry, taken: Taken, frame: Delivery) -> None:
        core = self.core
        if entry.code == Reason.MISSING_KEY.value:
            if not core.archive.parked(turn.records):
                turn.tell(KeyMissing(core.room, entry.epoch, entry.seq))
            entry = evolve(
                entry,
                kind=Kind.PARKED,
                caps=tuple(sorted(core.state.member(entry.mid).caps)),
                record=frame.record,
                cell=frame.cell,
            )
        elif entry.code == Reason.CELL_GONE.value:
            entry = evolve(entry, kind=Kind.MESSAGE)
        elif taken.opened is not None and not entry.code:
            entry = self._folder.fold(turn, entry, taken.opened)
            entry = core.archive.said_again(turn.records, entry)
        core.archive.add(turn.records, entry)
        self._folder.count(turn, entry)
        if entry.kind in (Kind.MESSAGE, Kind.PARKED):
            last = {"own_seq": entry.seq} if entry.mid == core.me else {"others_seq": entry.seq}
            core.save_head(turn, **last)
        self._tell(turn, entry)

    def _advance(self, turn: Turn, signed: SignedRecord, event: Event) -> None:
        """The sender's chain has gone on, this client's own perhaps."""
        core = self.core
        if event.mid == core.me and event.counter > core.head.counter:
            core.save_own(turn, event.counter, signed.event_id)
        core.save_sender(turn, event.mid)

    def _keep_marker(self, turn: Turn, frame: Delivery, code: str) -> None:
        """Something stands here that nobody can be said to have sent."""
        signed = peek(frame.record)
        event = signed.record
        claimed = event if isinstance(event, Event) else None
        entry = Entry(
            seq=frame.seq,
            event_id=signed.event_id,
            mid=self.core.state.root if claimed is None else claimed.mid,
            ts=turn.now if claimed is None else claimed.ts,
            kind=Kind.INVALID,
            received=turn.now,
            code=code,
        )
        self.core.archive.add(turn.records, entry)
        self._tell(turn, entry)

    def begin_anew(self) -> None:
        """The end of the log came to nothing: so did what was heard of it."""
        self._boxes.clear()
        self._word = None

    # -- parked ----------------------------------------------------------------------------------

    def adopt(self, turn: Turn, keys: EpochKeys) -> None:
        """Take these room keys, open what waited for one of them, and forget what is outlived."""
        self.core.adopt(turn, keys)
        self._release(turn)
        self.core.adopt(turn, epochs.forget_old_keys(keys, self.core.state.epoch))

    def _release(self, turn: Turn) -> None:
        """Open what waited for a key that is here now; mark what waits for one that never comes."""
        core = self.core
        recovered = lost = 0
        for seq in core.archive.parked(turn.records):
            entry = core.archive.entry(turn.records, seq)
            if entry is None or entry.kind is not Kind.PARKED:
                continue
            if entry.epoch in core.keys:
                self._open_parked(turn, entry)
                recovered += 1
            elif any(epoch > entry.epoch for epoch in core.keys.keys):
                # Keys are never handed out backwards (protocol.md §2.3, KEY_REQ).
                gone = evolve(entry, kind=Kind.UNREADABLE, code="key_lost", record=b"", cell=b"")
                core.archive.replace(turn.records, gone)
                self._tell(turn, gone)
                lost += 1
        if recovered or lost:
            turn.tell(KeyFound(core.room, core.state.epoch, recovered, lost))

    def _open_parked(self, turn: Turn, parked: Entry) -> None:
        core = self.core
        entry = evolve(parked, kind=Kind.INVALID, caps=(), code="", record=b"", cell=b"")
        try:
            signed = peek(parked.record)  # verified when it came
            opened = open_verified(core.keys, signed, parked.cell, caps=parked.caps)
            entry = self._folder.fold(turn, entry, opened)
            entry = core.archive.said_again(turn.records, entry)
        except Unreadable as error:
            entry = evolve(entry, code=error.reason.value)
        core.archive.replace(turn.records, entry)
        self._folder.count(turn, entry)
        self._tell(turn, entry)

    # -- telling ---------------------------------------------------------------------------------

    def _tell(self, turn: Turn, entry: Entry) -> None:
        event = self.core.archive.event(turn.records, entry, self.core.head.cuts)
        if event is not None:
            turn.tell(event)

    def _sound(self, turn: Turn, seq: int, broken: LogBroken) -> None:
        self.core.keep_evidence(turn, broken.evidence, Shows.OFFENCE)
        kind = _ALARMS.get(broken.fault, AlarmKind.HUB_MISBEHAVES)
        turn.tell(Alarm(self.core.room, kind, str(broken), seq))

    def _pass_over(self, turn: Turn, envelope: bytes) -> None:
        """The relay put something on the log that no honest relay takes: nor is it taken here."""
        core, word = self.core, Misfit.UNVERIFIED
        if core.keep_evidence(turn, (envelope,), Shows.JUNK):
            turn.tell(Alarm(core.room, word.alarm, word.text, core.head.seq + 1))
        core.doubt(word)


def _is_no_record(trouble: object, envelope: bytes) -> bool:
    """Whether the trouble is that nothing is known of it, not even its id."""
    if not isinstance(trouble, Unreadable) or trouble.reason is not Reason.NOT_AN_EVENT:
        return False
    try:
        peek(envelope)
    except ProtocolError:
        return True
    return False


def _seen_at(taken: Taken, seq: int) -> int:
    """Which entry the sender of `seq` has seen otherwise; a move by force ends no time itself."""
    signed = taken.control or taken.event
    record = None if signed is None else signed.record
    is_move = isinstance(record, HubMove) and record.force
    seen: Seen | None = getattr(record, "seen", None)
    return seq if seen is None or is_move else min(seen.seq, seq)


def _claim_of(envelope: bytes) -> tuple[int, int]:
    """Seq and term of a LOG_HEAD; zeros for what is none, and refused as such."""
    try:
        record = peek(envelope).record
    except ProtocolError:
        return 0, 0
    return (record.seq, record.term) if isinstance(record, LogHead) else (0, 0)


def _signer(signed: SignedRecord) -> MemberId:
    record = signed.record
    if isinstance(record, Genesis) or not isinstance(record, CONTROL_TYPES):
        raise TypeError("not a control record with a signer")
    return record.mid
