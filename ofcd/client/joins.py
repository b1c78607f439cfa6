"""Joining a room by an invite: the joiner's half, kept through restarts (protocol.md §2.3, JOIN).

LOOKUP   read the control log by the token's proof, check it, make JOIN_REQ, keep it
ASKED    the relay holds the request for an admitter, who may be offline for days
CONFIRMED  the answer is checked and kept, the room's key with it; JOIN_CONFIRM is sent
(done)   admitted: the room is this client's, and attaches like any other
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Final

from attrs import evolve, field, frozen

from ofcd.client.arriving import continues, drop_staged, earlier_identity, enter, stage
from ofcd.client.chainpages import ChainPages
from ofcd.client.errors import JoinFailed
from ofcd.client.events import JoinStateChanged
from ofcd.client.model import JOINS, load, save
from ofcd.client.room import RoomMachine
from ofcd.client.turn import Ticket, Turn
from ofcd.client.vault import Reader, Records
from ofcd.e2e.chain import verify_chain
from ofcd.e2e.errors import JoinFault, JoinRejected
from ofcd.e2e.invites import InviteCode, parse_link
from ofcd.e2e.joining import Joining, check_response, make_request
from ofcd.e2e.keys import MemberKeys
from ofcd.protocol import frames, limits
from ofcd.protocol.backoff import Backoff
from ofcd.protocol.codes import RETRYABLE, Code, ProtocolError
from ofcd.protocol.ids import InviteId, PublicKey, RelayId, RoomId
from ofcd.protocol.records import HubMove
from ofcd.protocol.room import RoomState
from ofcd.themis import KeyPair
from ofcd.themis.signed import peek

__all__ = ["JoinMachine", "JoinStage", "PendingJoin", "join_key_of"]

_FIRST_POLL: Final = 5_000
_LAST_POLL: Final = 120_000
"""Milliseconds after which a joiner asks again how far its join has come, at first and in time."""
_SPENT: Final = frozenset({Code.INVITE_UNKNOWN, Code.INVITE_USED})
_AGAIN: Final = RETRYABLE | {Code.JOIN_NOT_READY, Code.INTERNAL}


class JoinStage(StrEnum):
    """How far a join of ours has come."""

    LOOKUP = "lookup"
    ASKED = "asked"
    CONFIRMED = "confirmed"
    ADMITTED = "admitted"
    FAILED = "failed"


@frozen
class PendingJoin:
    """A join as the vault keeps it."""

    code: str = field(repr=False)
    """The invite, in its bare text form: it holds the token."""
    my_name: str
    created: int
    stage: JoinStage = JoinStage.LOOKUP
    sign_private: bytes = field(default=b"", repr=False)
    sign_public: PublicKey | None = None
    enc_private: bytes = field(default=b"", repr=False)
    enc_public: PublicKey | None = None
    join_key: bytes = field(default=b"", repr=False)
    request: bytes = field(default=b"", repr=False)
    response: bytes = field(default=b"", repr=False)
    confirm: bytes = field(default=b"", repr=False)
    home_url: str = ""
    """The relay to join through; "" for the one that the invite names."""
    home_id: RelayId | None = None
    """Its id, once it is known."""

    @property
    def place(self) -> tuple[str, RelayId | None]:
        """Where this join is asked for: address and pin."""
        if not self.home_url:
            return self.invite.relay_url, self.invite.relay_id
        return self.home_url, self.home_id

    @property
    def invite(self) -> InviteCode:
        """The invite."""
        return parse_link(self.code)

    @property
    def joining(self) -> Joining | None:
        """What the joiner keeps until it is admitted; None before the request is made."""
        if self.sign_public is None or self.enc_public is None:
            return None
        keys = MemberKeys(
            sign=KeyPair(self.sign_private, self.sign_public),
            encrypt=KeyPair(self.enc_private, self.enc_public),
        )
        return Joining(self.invite, keys, self.join_key, peek(self.request))


def join_key_of(room: RoomId, invite_id: InviteId) -> bytes:
    """The id of a join's record in the vault."""
    return room + invite_id


class JoinMachine:
    """One join under way, on the link to its relay (sans-IO)."""

    def __init__(self, pending: PendingJoin, random: Callable[[], float]) -> None:
        """Goes on where `pending` stands."""
        self.pending = pending
        self.invite = pending.invite
        self.admitted = False
        """The room stands in the vault now: it is to be opened."""
        self.over = False
        self._chain = ChainPages()
        self._answer: bytes = b""
        """The JOIN_RESP for which the control log is being read."""
        self._tickets: list[Ticket] = []
        self._up = False
        self._home = self.invite.relay_id
        self._poll_at: int | None = None
        self._polls = Backoff(random, first=_FIRST_POLL, longest=_LAST_POLL)

    @property
    def room(self) -> RoomId:
        """The room to join."""
        return self.invite.room

    @property
    def tickets(self) -> list[Ticket]:
        """Who waits for this join."""
        return self._tickets

    # -- the link --------------------------------------------------------------------------------

    def link_up(self, turn: Turn, relay_id: RelayId) -> None:
        """A link to the relay is open: ask, or ask how far it has come."""
        self._up, self._home = True, relay_id
        self._go_on(turn)

    def _go_on(self, turn: Turn) -> None:
        if self.pending.stage is JoinStage.LOOKUP:
            self._look_up(turn)
        else:
            self._ask(turn)

    def link_down(self) -> None:
        """The link is gone."""
        self._up = False
        self._poll_at = None
        self._answer = b""

    def deadline(self) -> int | None:
        """When `pump` should be called, even if nothing comes in."""
        return self._poll_at if self._up else None

    def pump(self, turn: Turn) -> None:
        """Ask again, if it is time."""
        if self._up and not self.over and self._poll_at is not None and turn.now >= self._poll_at:
            self._poll_at = None
            self._go_on(turn)

    # -- LOOKUP ----------------------------------------------------------------------------------

    def _look_up(self, turn: Turn, start: int = 0) -> None:
        if start == 0:
            self._chain = ChainPages()
        invite = self.invite
        turn.ask(
            lambda rid: frames.Lookup(
                rid, invite.room, invite.invite_id, invite.proof, start, *self._hub
            ),
            self._looked_up,
        )

    def _looked_up(self, turn: Turn, frame: frames.RelayFrame) -> None:
        if isinstance(frame, frames.Failure):
            self._refused(turn, frame)
            return
        if not self._chain.take(frame):
            turn.drop = "bad page"
        elif self._chain.more:
            self._look_up(turn, self._chain.next_seq)
        elif self._answer:
            self._check_answer(turn)
        else:
            self._make_request(turn)

    def _make_request(self, turn: Turn) -> None:
        invite = self.invite
        try:
            state = verify_chain(invite.room, self._chain.records)
            if _is_inside(turn.records, state):
                self._fail(turn, Code.ALREADY_MEMBER.value, "this vault is in that room already")
                return
            joining = make_request(
                invite, state, home=self._home, now=turn.now, name=self.pending.my_name
            )
        except ProtocolError as error:
            self._fail(turn, JoinFault.BAD_CHAIN.value, f"the relay shows a false room: {error}")
            return
        except JoinRejected as error:
            self._fail(turn, error.fault.value, str(error))
            return
        self._keep(
            turn,
            stage=JoinStage.ASKED,
            sign_private=joining.keys.sign.private,
            sign_public=joining.keys.sign_key,
            enc_private=joining.keys.encrypt.private,
            enc_public=joining.keys.enc_key,
            join_key=joining.join_key,
            request=joining.request.envelope,
            home_id=self._home,
        )
        self._ask(turn)

    # -- ASKED -----------------------------------------------------------------------------------

    def _ask(self, turn: Turn) -> None:
        hub, url = self._hub
        turn.ask(
            lambda rid: frames.Join(rid, self.pending.request, hub=hub, hub_url=url), self.status
        )

    @property
    def _hub(self) -> tuple[RelayId | None, str]:
        """The room's own relay and its address, where that is another one than the link's."""
        invite = self.invite
        return (None, "") if self._home == invite.relay_id else (invite.relay_id, invite.relay_url)

    def status(self, turn: Turn, frame: frames.RelayFrame) -> None:
        """How far the relay says the join has come: asked for, or pushed."""
        if self.over:
            return
        if isinstance(frame, frames.Failure):
            self._refused(turn, frame)
            return
        if not isinstance(frame, frames.JoinStatus):
            return
        self._poll_at = turn.now + self._polls.failed()
        if frame.record and frame.record != self.pending.response:
            self.answered(turn, frame.record)
        elif frame.state == frames.JoinState.ADMITTED:
            self._admit(turn)
        elif frame.state == frames.JoinState.ANSWERED and self.pending.confirm:
            self._confirm(turn)

    def answered(self, turn: Turn, envelope: bytes) -> None:
        """A JOIN_RESP: check it against the control log as it stands now."""
        if self.over or self.pending.joining is None or envelope == self.pending.response:
            return
        reading, self._answer = bool(self._answer), envelope
        if not reading:
            self._look_up(turn)

    def _check_answer(self, turn: Turn) -> None:
        joining, envelope = self.pending.joining, self._answer
        self._answer = b""
        if joining is None:
            return
        try:
            joined = check_response(joining, self._chain.records, envelope)
        except JoinRejected as error:
            moved_on = error.fault is JoinFault.BAD_CHAIN and not error.alert
            if moved_on or self.pending.confirm:
                self._poll_at = turn.now + self._polls.failed()
            else:
                self._fail(turn, error.fault.value, str(error))
            return
        self._take_moves(turn)
        if not continues(turn.records, joining, self._chain.records):
            text = "the relay shows another past of this room than the one that is kept here"
            self._fail(turn, JoinFault.BAD_CHAIN.value, text)
            return
        stage(
            turn.records,
            joining,
            joined,
            envelope,
            self._chain.records,
            self.pending.my_name,
            turn.now,
        )
        self._keep(
            turn,
            stage=JoinStage.CONFIRMED,
            response=envelope,
            confirm=joined.confirm.envelope,
        )
        self._confirm(turn)

    def _take_moves(self, turn: Turn) -> None:
        """Who was in the room may not have been told that root moved it by force since."""
        chain = [envelope for _, envelope in self._chain.records]
        moves = [one for one in chain if isinstance(peek(one).record, HubMove)]
        if moves and earlier_identity(turn.records, self.room) is not None:
            RoomMachine(turn.records, self.room, turn.random).take_moves(
                turn, moves[-limits.MOVES_TOLD :]
            )
            turn.changed.append(self.room)

    def _confirm(self, turn: Turn) -> None:
        hub, url = self._hub
        turn.ask(
            lambda rid: frames.JoinConfirm(
                rid, self.room, self.pending.confirm, hub=hub, hub_url=url
            ),
            self.status,
        )

    # -- the end ---------------------------------------------------------------------------------

    def _admit(self, turn: Turn) -> None:
        joining = self.pending.joining
        if joining is None or not self.pending.confirm:
            return
        url, _ = self.pending.place
        enter(turn.records, joining, url, self.pending.home_id or self.invite.relay_id)
        self._end(turn, JoinStage.ADMITTED, "")
        self.admitted = True

    def _refused(self, turn: Turn, failure: frames.Failure) -> None:
        if failure.code in _SPENT and self.pending.confirm:
            # Perhaps admitted long ago: attaching will tell.
            self._admit(turn)
        elif failure.code in _AGAIN or self.pending.confirm:
            # Once confirmed, these keys may be a member's: no word of the relay's ends the join.
            self._answer = b""
            self._poll_at = turn.now + self._polls.failed(failure.wait)
        else:
            self._fail(turn, failure.code, failure.text)

    def _fail(self, turn: Turn, code: str, text: str) -> None:
        drop_staged(turn.records, self.room)
        self._end(turn, JoinStage.FAILED, code)
        for ticket in self._tickets:
            turn.settle(ticket, JoinFailed(code, text))
        self._tickets = []

    def _end(self, turn: Turn, stage: JoinStage, code: str) -> None:
        self.over = True
        self.pending = evolve(self.pending, stage=stage)
        turn.records.delete(JOINS, join_key_of(self.room, self.invite.invite_id))
        turn.tell(JoinStateChanged(self.room, self.invite.invite_id, stage.value, code))

    def _keep(self, turn: Turn, **changes: object) -> None:
        self.pending = evolve(self.pending, **changes)  # type: ignore[arg-type]
        keep_join(turn.records, self.pending)
        stage = self.pending.stage.value
        turn.tell(JoinStateChanged(self.room, self.invite.invite_id, stage))


def _is_inside(records: Reader, state: RoomState) -> bool:
    """Whether this client still is a member, whatever it was told."""
    earlier = earlier_identity(records, state.room)
    return earlier is not None and earlier.mine.mid in state.members


def keep_join(records: Records, pending: PendingJoin) -> None:
    """Write a join to the vault."""
    invite = pending.invite
    records.put(JOINS, join_key_of(invite.room, invite.invite_id), save(pending))


def load_joins(records: Reader) -> list[PendingJoin]:
    """Every join that is under way."""
    return [load(PendingJoin, raw) for _, raw in records.items(JOINS)]
