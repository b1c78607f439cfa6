"""Letting people in: the admitter's half of a join, without being asked (protocol.md §2.3, JOIN).

A stranger who proves the invite's token is answered at once by the inviter's client, or after a
moment by another admitter's. What was answered is kept before it is sent, so the same request gets
the same bytes; another request under the same invite is refused, and the owner told.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from attrs import define, evolve, field, frozen

from ofcd.client.controls import Change, ControlDesk, Made
from ofcd.client.core import Core
from ofcd.client.events import Alarm, AlarmKind, JoinAsked
from ofcd.client.holding import Held, HeldJoins, join_asked
from ofcd.client.model import load, save
from ofcd.client.turn import Ticket, Turn
from ofcd.client.vault import Reader, Records
from ofcd.e2e.controls import make_invite_close
from ofcd.e2e.epochs import make_boxed_rekey
from ofcd.e2e.errors import BoxRejected, JoinFault, JoinRejected, KeyMissing
from ofcd.e2e.invites import open_token_box
from ofcd.e2e.joining import (
    ABANDONED_AFTER,
    Answered,
    answer_request,
    check_confirm,
    is_abandoned,
    make_admit,
    rekey_first,
)
from ofcd.protocol import limits
from ofcd.protocol.codes import RETRYABLE, Code, ProtocolError
from ofcd.protocol.frames import Failure, JoinAnswer, RelayFrame
from ofcd.protocol.ids import Hash32, InviteId, PublicKey
from ofcd.protocol.records import (
    Admit,
    Control,
    HubMove,
    InviteClose,
    InviteOpen,
    JoinConfirm,
    JoinRequest,
    RekeyBoxed,
)
from ofcd.themis.signed import SignedRecord, peek

__all__ = ["AdmissionDesk", "keep_token"]

_TOKEN: Final = b"token/"
_ADMIT: Final = b"admit/"
_OTHERS_WAIT: Final = 3_000
_OTHERS_SPREAD: Final = 4_000
_LATER: Final = 30_000
_AGAIN: Final = RETRYABLE | {Code.INTERNAL}
_ASKED: Final = limits.OPEN_INVITES * limits.JOIN_TRIES


@frozen
class _Kept:
    request: bytes = field(repr=False)
    response: bytes = field(repr=False)
    epoch: int
    answered_at: int
    passed_over: bool = False
    """The relay says that another admitter was faster. If that is a lie, a stranger has the key."""

    @property
    def answered(self) -> Answered:
        return Answered(peek(self.request), peek(self.response), self.epoch, self.answered_at)

    @property
    def sign_key(self) -> PublicKey | None:
        """The joiner's."""
        request = peek(self.request).record
        return request.sign_key if isinstance(request, JoinRequest) else None


@define(eq=False)
class _Asked:
    signed: SignedRecord
    invite_id: InviteId
    due: int
    epoch: int = -1
    """The room's when it came: one REKEY since then is enough for `join_rekey`."""
    hold: bool = False
    """The application is to be asked first."""


class AdmissionDesk:
    """The joins of one room that this client may answer."""

    def __init__(self, core: Core, controls: ControlDesk, random: Callable[[], float]) -> None:
        """Works on `core`; ADMIT goes out by `controls`."""
        self._core = core
        self._controls = controls
        self._random = random
        self._asked: dict[bytes, _Asked] = {}
        self._held = HeldJoins(core)
        self._confirms: dict[InviteId, bytes] = {}
        self._next_review: int | None = 0

    # -- what comes in ---------------------------------------------------------------------------

    def link_lost(self) -> None:
        """The relay tells again, on the next link, what waits."""
        self._asked.clear()
        self._held.clear()
        self._confirms.clear()

    def asked(self, turn: Turn, envelope: bytes) -> None:
        """The relay shows a pending JOIN_REQ."""
        try:
            signed = peek(envelope)
        except ProtocolError:
            return
        request = signed.record
        if not isinstance(request, JoinRequest):
            return
        if signed.hash in self._asked or signed.hash in self._held:
            return
        if len(self._asked) + len(self._held) >= _ASKED:
            return  # more than the open invites of a room allow: no relay of ours
        core = self._core
        invite = core.state.invites.get(request.invite_id)
        mine = invite is not None and invite.inviter == core.me
        wait = 0 if mine else _OTHERS_WAIT + int(_OTHERS_SPREAD * self._random())
        due, epoch = turn.now + wait, core.state.epoch
        kept = self._kept(turn.records, request.invite_id)
        decided = kept is not None and kept.request == envelope
        hold = core.head.hold_joins and not decided
        self._asked[signed.hash] = _Asked(signed, request.invite_id, due, epoch, hold)
        if not hold:
            turn.tell(join_asked(core.room, request, signed.hash))

    def confirmed(self, turn: Turn, envelope: bytes) -> None:
        """The relay shows a JOIN_CONFIRM: admit, if it is the one for this client's answer."""
        try:
            confirm = peek(envelope).record
        except ProtocolError:
            return
        if not isinstance(confirm, JoinConfirm):
            return
        invite_id = confirm.invite_id
        name = f"admit {invite_id.hex()}"
        kept = self._kept(turn.records, invite_id)
        if kept is None:
            return
        if confirm.response_hash != kept.answered.response.hash:
            # Either it is for another admitter's answer, or a link or a relay died before the one
            # that was given anew: the relay takes that, or says whose counts.
            if not kept.passed_over and confirm.request_hash == kept.answered.request.hash:
                self._answer_again(turn, invite_id, kept)
            return
        self._confirms[invite_id] = envelope  # the last one is for the answer that counts
        if not self._controls.has(name):
            self._controls.add(Change(name, lambda later: self._admit(later, invite_id)))

    def control(self, turn: Turn, seq: int, record: Control) -> None:
        """The control record at `seq` was applied, perhaps others after it: invites come and go."""
        core = self._core
        if isinstance(record, InviteOpen) and core.me in dict(record.token_boxes):
            # The box was made by the key that the inviter had then.
            is_last = core.state.seq == seq
            state = core.state if is_last else core.state_before(turn.records, seq)
            try:
                token = open_token_box(state, core.mine, record)
            except (BoxRejected, ProtocolError):
                return  # this client can not answer it; others can
            keep_token(turn.records, core, record.invite_id, token)
        elif isinstance(record, Admit):
            self._held.drop(record.invite_id)
            self._admitted(turn, record)
        elif isinstance(record, InviteClose):
            self._held.drop(record.invite_id)
            self._closed(turn, record.invite_id)
        elif isinstance(record, HubMove):
            self._moved(turn)
        elif isinstance(record, RekeyBoxed):
            self._next_review = turn.now

    @property
    def are_waiting(self) -> bool:
        """Somebody asks in, and waits for this client's answer."""
        return bool(self._asked) or bool(len(self._held))

    # -- what the application decides ------------------------------------------------------------

    @property
    def held(self) -> list[JoinAsked]:
        """The requests that wait for its word, oldest first."""
        return self._held.told

    def decide(self, turn: Turn, request: Hash32, admit: bool) -> bool:
        """Answer a held request, or leave it to other admitters; False if it is not held."""
        held = self._held.take(request)
        if held is not None and admit:
            self._resume(turn, held)
        return held is not None

    def release(self, turn: Turn) -> None:
        """Nobody decides any more: answer all that were held."""
        for asked in self._asked.values():
            asked.hold = False
        for held in self._held.take_all():
            self._resume(turn, held)

    def _resume(self, turn: Turn, held: Held) -> None:
        epoch = self._core.state.epoch
        self._asked[held.signed.hash] = _Asked(held.signed, held.told.invite_id, turn.now, epoch)
        turn.again = True

    def _hold(self, turn: Turn, asked: _Asked) -> None:
        token = turn.records.get(self._core.tables.state, _TOKEN + asked.invite_id)
        if token is not None:  # else an invite that this client has no part in
            self._held.hold(turn, asked.signed, token)

    # -- what is to be done ----------------------------------------------------------------------

    def deadline(self) -> int | None:
        """When `pump` should be called, even if nothing comes in."""
        due = [asked.due for asked in self._asked.values()]
        return min([*due, *([self._next_review] if self._next_review else [])], default=None)

    def wants_rekey(self, now: int) -> bool:
        """A newcomer is to get a key without a past, and this owner may make one."""
        waits = (asked for asked in self._asked.values() if asked.due <= now)
        return self._core.is_owner and any(map(self._waits_for_rekey, waits))

    def _waits_for_rekey(self, asked: _Asked) -> bool:
        state = self._core.state
        same = asked.epoch == state.epoch and not asked.hold
        return same and rekey_first(state, self._core.log.seq)

    def pump(self, turn: Turn) -> None:
        """Answer who is due; give up on who never came."""
        for key, asked in list(self._asked.items()):
            if asked.due <= turn.now and not self._waits_for_rekey(asked):
                del self._asked[key]
                if asked.hold:
                    self._hold(turn, asked)
                else:
                    self._answer(turn, asked)
        if self._next_review is not None and turn.now >= self._next_review:
            self._review(turn)

    def _answer(self, turn: Turn, asked: _Asked) -> None:
        core = self._core
        kept = self._kept(turn.records, asked.invite_id)
        token = turn.records.get(core.tables.state, _TOKEN + asked.invite_id)
        if token is None:
            return  # an invite that this client has no part in
        try:
            answered = answer_request(
                core.state,
                core.mine,
                core.keys,
                asked.signed.envelope,
                token=token,
                seen=core.log.seen,
                now=turn.now,
                earlier=None if kept is None else kept.answered,
                names=core.names,
                room_name=core.head.room_name,
            )
        except JoinRejected as rejected:
            if rejected.alert:
                self._alarm(turn, AlarmKind.INVITE_CONTESTED, rejected)
            return
        except KeyMissing:
            self._later(turn, asked)  # the key desk has asked for it
            return
        self._keep(turn, asked.invite_id, answered)
        turn.ask(
            lambda rid: JoinAnswer(rid, core.room, answered.response.envelope),
            lambda later, frame: self._told(later, asked, answered, frame),
        )

    def _later(self, turn: Turn, asked: _Asked, retry_after: int = 0) -> None:
        asked.due = turn.now + max(_LATER, retry_after)
        self._asked[asked.signed.hash] = asked

    def _told(self, turn: Turn, asked: _Asked, answered: Answered, frame: RelayFrame) -> None:
        """What was answered is kept, whatever the relay says: it may have handed it over."""
        invite_id = asked.invite_id
        if isinstance(frame, Failure) and frame.code in _AGAIN:
            self._later(turn, asked, frame.wait)
        kept = self._kept(turn.records, invite_id)
        refused = isinstance(frame, Failure) and frame.code in ("invite_used", "invite_unknown")
        if refused and kept is not None and kept.response == answered.response.envelope:
            passed_over = save(evolve(kept, passed_over=True))
            turn.records.put(self._core.tables.state, _ADMIT + invite_id, passed_over)

    def _admitted(self, turn: Turn, admit: Admit) -> None:
        """Someone is in by an invite: whoever else this client answered under it is shut out."""
        kept = self._kept(turn.records, admit.invite_id)
        if kept is None or kept.sign_key == admit.sign_key:
            self._forget(turn, admit.invite_id)
        else:
            self._closed(turn, admit.invite_id)

    def _admit(self, turn: Turn, invite_id: InviteId) -> Made | None:
        core = self._core
        kept, envelope = self._kept(turn.records, invite_id), self._confirms.get(invite_id)
        if kept is None or envelope is None or invite_id not in core.state.invites:
            return None
        answered = kept.answered
        try:
            confirm = check_confirm(core.state, core.keys, answered, envelope)
            signed = make_admit(core.state, core.mine, answered, confirm, core.log.seen, turn.now)
        except JoinRejected as rejected:
            if rejected.fault is JoinFault.EPOCH_MOVED:
                self._answer_again(turn, invite_id, kept)
            elif rejected.alert:
                self._alarm(turn, AlarmKind.INVITE_CONTESTED, rejected)
            return None
        return Made(signed)

    def _answer_again(self, turn: Turn, invite_id: InviteId, kept: _Kept) -> None:
        request = kept.answered.request
        self._asked[request.hash] = _Asked(request, invite_id, turn.now)
        turn.again = True

    # -- joins that never end --------------------------------------------------------------------

    def _review(self, turn: Turn) -> None:
        """A joiner answered, but not admitted within a day, holds the room key: shut it out."""
        core = self._core
        self._next_review = None
        for key, raw in list(turn.records.items(core.tables.state, _ADMIT, b"admit0")):
            invite_id, kept = InviteId(key[len(_ADMIT) :]), load(_Kept, raw)
            if invite_id not in core.state.invites:
                self._closed(turn, invite_id)
            elif is_abandoned(kept.answered, turn.now):
                self._abandon(turn)
                self.close_invite(invite_id)
            else:
                self._look_again(kept)

    def _look_again(self, kept: _Kept) -> None:
        due = kept.answered_at + ABANDONED_AFTER
        self._next_review = min(self._next_review or due, due)

    def _abandon(self, turn: Turn) -> None:
        turn.tell(
            Alarm(
                self._core.room,
                AlarmKind.JOIN_ABANDONED,
                "someone was given the room key by an invite and never joined: "
                "the invite is closed and the key renewed",
            )
        )

    def close_invite(self, invite_id: InviteId, ticket: Ticket | None = None) -> None:
        """Cancel an invite, unless that is under way already."""
        name = f"close {invite_id.hex()}"
        if ticket is not None or not self._controls.has(name):
            self._controls.add(Change(name, lambda later: self._close(later, invite_id), ticket))

    def _close(self, turn: Turn, invite_id: InviteId) -> Made | None:
        core = self._core
        if invite_id not in core.state.invites:
            return None
        signed = make_invite_close(
            core.state,
            core.mine,
            core.log.seen,
            turn.now,
            invite_id=invite_id,
            answered=self._kept(turn.records, invite_id) is not None,
        )
        return Made(signed)

    def _moved(self, turn: Turn) -> None:
        """All invites ended with the move of the room."""
        core = self._core
        for key, _ in list(turn.records.items(core.tables.state, _TOKEN, b"token0")):
            invite_id = InviteId(key[len(_TOKEN) :])
            if invite_id not in core.state.invites:
                self._held.drop(invite_id)
                self._closed(turn, invite_id)

    def _closed(self, turn: Turn, invite_id: InviteId) -> None:
        """Whoever was answered under a closed invite holds a key of a room it is not in.

        Where another closed it, only this owner may know. What was answered is kept until the boxed
        REKEY is in the log, through restarts.
        """
        core = self._core
        kept = self._kept(turn.records, invite_id)
        if kept is None or not core.is_owner or self._is_shut_out(turn, kept.epoch):
            self._forget(turn, invite_id)
        elif not self._controls.has("shut out"):
            epoch = kept.epoch
            self._controls.add(Change("shut out", lambda later: self._shut_out(later, epoch)))

    def _is_shut_out(self, turn: Turn, epoch: int) -> bool:
        """Whether a boxed REKEY has come since: a routine one can be followed from `epoch`."""
        records = (peek(envelope).record for _, envelope in self._core.archive.chain(turn.records))
        return any(isinstance(r, RekeyBoxed) and r.epoch > epoch for r in records)

    def _shut_out(self, turn: Turn, epoch: int) -> Made | None:
        core = self._core
        if self._is_shut_out(turn, epoch):
            return None
        made = make_boxed_rekey(
            core.state, core.mine, core.log.seen, turn.now, reason="abandoned join"
        )
        return Made(made.signed, made.boxes)

    # -- in the vault ----------------------------------------------------------------------------

    def _kept(self, records: Reader, invite_id: InviteId) -> _Kept | None:
        raw = records.get(self._core.tables.state, _ADMIT + invite_id)
        return None if raw is None else load(_Kept, raw)

    def _keep(self, turn: Turn, invite_id: InviteId, answered: Answered) -> None:
        kept = _Kept(
            answered.request.envelope,
            answered.response.envelope,
            answered.epoch,
            answered.answered_at,
        )
        turn.records.put(self._core.tables.state, _ADMIT + invite_id, save(kept))
        self._look_again(kept)

    def _forget(self, turn: Turn, invite_id: InviteId) -> None:
        turn.records.delete(self._core.tables.state, _TOKEN + invite_id)
        turn.records.delete(self._core.tables.state, _ADMIT + invite_id)

    def _alarm(self, turn: Turn, kind: AlarmKind, error: Exception) -> None:
        turn.tell(Alarm(self._core.room, kind, str(error)))


def keep_token(records: Records, core: Core, invite_id: InviteId, token: bytes) -> None:
    """Keep the token of an invite that this client may answer; before INVITE_OPEN is sent."""
    records.put(core.tables.state, _TOKEN + invite_id, token)
