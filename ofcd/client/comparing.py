"""Comparing a secret phrase with a member: one run at a time with each, begun by people only.

Nothing here answers by itself: a run begins when the person at this end has typed the phrase, and
the other end's first step waits (at most `RUN_TIME`) until then. Both ends may begin at once: the
run whose first step stands first in the room's log is the one that goes on.

In the vault: when runs were begun (`compare/<mid>`: at most `RUNS_A_DAY`), which is open (a
restart ends it, and says so to both ends), the peer's waiting first step (`offer/<mid>`), and which
keys were found genuine (`verified/<mid>`). The phrase itself is never kept.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from attrs import define, evolve, field, frozen

from ofcd.client.core import Core, refusal
from ofcd.client.errors import ClientError, ComparisonFailed, NotAllowed
from ofcd.client.events import CompareAsked, ComparisonEnded, RoomStatus
from ofcd.client.model import load, save
from ofcd.client.outbox import Outbox
from ofcd.client.turn import Ticket, Turn
from ofcd.client.vault import Reader
from ofcd.e2e.bodies import Compare, CompareEnd
from ofcd.e2e.comparing import (
    RUN_TIME,
    RUNS_A_DAY,
    Comparison,
    compared_secret,
    normal_phrase,
)
from ofcd.e2e.errors import ComparisonBroken
from ofcd.e2e.events import Opened
from ofcd.e2e.keys import new_sid
from ofcd.protocol.codes import Code
from ofcd.protocol.ids import MemberId, PublicKey, Sid
from ofcd.protocol.room import Member

__all__ = ["COMPARE", "CompareDesk", "Outcome", "Verified", "runs_only"]

COMPARE: Final = b"compare/"
_OFFER: Final = b"offer/"
_VERIFIED: Final = b"verified/"
_DAY: Final = 24 * 3_600_000


class Outcome(StrEnum):
    """How a run ended."""

    SAME = "same"
    """Both typed the same phrase: each has the other's genuine keys."""
    DIFFERENT = "different"
    EXPIRED = "expired"
    GONE = "gone"
    GIVEN_UP = "given_up"
    RESTARTED = "restarted"
    BROKEN = "broken"
    MOVED = "moved"
    """Steps of it came to nothing, because root moved the room by force."""


_SENTENCES: Final = {
    Outcome.EXPIRED: "the other side did not finish the comparison in time: agree on a moment, "
    "and try again",
    Outcome.GONE: "that member is no longer in the room",
    Outcome.GIVEN_UP: "the other side gave the comparison up: ask them, and try again",
    Outcome.RESTARTED: "this program was restarted during the comparison: try again",
    Outcome.MOVED: "root moved the room without what was said last, steps of the comparison "
    "perhaps: try again",
    Outcome.BROKEN: "the other side did not keep to the steps of the comparison, so nothing was "
    "learnt: ask them what they run",
}


_LIMIT: Final = (
    f"{RUNS_A_DAY} comparisons with one member a day, so that nobody guesses the phrase: compare "
    "the code that `verify` shows, or try again tomorrow"
)


@frozen
class Verified:
    """The keys a member came with, that a phrase has shown to be genuine."""

    sign_key: PublicKey
    enc_key: PublicKey
    ts: int
    """When: milliseconds since 1970."""


@frozen
class _Kept:
    """What must outlive this process, of the runs with one member."""

    begun: tuple[int, ...] = ()
    open_run: Sid | None = None


@frozen
class _Offer:
    """A peer's first step that waits for the person here."""

    run: Sid
    until: int
    data: bytes = field(repr=False)


@define(eq=False)
class _Open:
    """A run under way."""

    comparison: Comparison
    until: int
    ticket: Ticket | None
    phrase: str = field(repr=False)
    first_sid: Sid | None = None
    """Of the event with our first step, where we are the initiator."""
    first_seq: int | None = None
    """Where that stands in the log, once it does."""


class CompareDesk:
    """The runs of one room."""

    def __init__(self, core: Core, records: Reader, outbox: Outbox) -> None:
        """Loads what the vault holds; a run that was open there is over."""
        self._core = core
        self._outbox = outbox
        table = core.tables.state
        self._open: dict[MemberId, _Open] = {}
        self._kept = {
            MemberId(key[len(COMPARE) :]): load(_Kept, raw)
            for key, raw in records.items(table, COMPARE, b"compare0")
        }
        self._offers = {
            MemberId(key[len(_OFFER) :]): load(_Offer, raw)
            for key, raw in records.items(table, _OFFER, b"offer0")
        }
        self._verified = {
            MemberId(key[len(_VERIFIED) :]): load(Verified, raw)
            for key, raw in records.items(table, _VERIFIED, b"verified0")
        }
        self._cut_off = {mid: run for mid, kept in self._kept.items() if (run := kept.open_run)}

    def verified(self, member: Member) -> int | None:
        """When a phrase has shown that exactly these keys are genuine; None if none has."""
        found = self._verified.get(member.mid)
        keys = (member.sign_key, member.first_enc_key)  # a later one is signed by the former
        return found.ts if found and (found.sign_key, found.enc_key) == keys else None

    # -- the person here -------------------------------------------------------------------------

    def check(self, now: int, peer: MemberId, phrase: str) -> None:
        """Whether `begin` may be called; raises `NotAllowed`, `RoomFrozen`, `PhraseTooShort`.

        The codes are compare_running, compare_limit, forbidden.
        """
        core = self._core
        core.check_usable()
        if peer == core.me or peer not in core.state.members or not self._may_send:
            raise refusal(Code.FORBIDDEN.value)
        if peer in self._open:
            raise NotAllowed("compare_running", "a comparison with this member is under way")
        if len(self._recent(now, peer)) >= RUNS_A_DAY:
            raise NotAllowed("compare_limit", _LIMIT)
        normal_phrase(phrase)

    def begin(self, turn: Turn, peer: MemberId, phrase: str, ticket: Ticket | None = None) -> None:
        """The person here has typed the phrase: take the peer's first step, or make ours.

        Settles `ticket` by True or False, or by why there is no result. Raises what `check` does;
        in a turn that must not fail, call that before.
        """
        self.check(turn.now, peer, phrase)
        offer = self._offers.get(peer)
        if offer is not None and offer.until <= turn.now:
            offer = None
        run = new_sid() if offer is None else offer.run
        comparison = self._comparison(run, peer, phrase, begins=offer is None)
        self._keep(turn, peer, _Kept((*self._recent(turn.now, peer), turn.now), run))
        until = turn.now + RUN_TIME if offer is None else offer.until
        made = self._open[peer] = _Open(comparison, until, ticket, phrase)
        if offer is None:
            made.first_sid = self._send(turn, comparison.begin())
        else:
            self._drop_offer(turn, peer)
            self._answer(turn, peer, Compare(run, self._core.me, 1, offer.data))

    def give_up(self, turn: Turn, peer: MemberId) -> None:
        """The person here waits no longer."""
        if peer in self._open:
            self._withdraw(turn, peer, Outcome.GIVEN_UP)

    def begin_anew(self, turn: Turn) -> None:
        """The end of the log came to nothing: so did runs under way. Those ended stay true."""
        for peer in list(self._open):
            self._withdraw(turn, peer, Outcome.MOVED)
        for peer in list(self._offers):
            self._drop_offer(turn, peer)

    def fail_all(self, turn: Turn, error: ClientError) -> None:
        """Nothing can be said in this room any more."""
        for peer, mine in list(self._open.items()):
            turn.settle(mine.ticket, error)
            self._over(turn, peer, Outcome.GIVEN_UP)

    def _comparison(self, run: Sid, peer: MemberId, phrase: str, *, begins: bool) -> Comparison:
        state = self._core.state
        us, them = state.member(self._core.me), state.member(peer)
        initiator, responder = (us, them) if begins else (them, us)
        secret = compared_secret(state.room, state.relay_id, run, initiator, responder, phrase)
        return Comparison(run, peer, secret, begins=begins)

    def _recent(self, now: int, peer: MemberId) -> tuple[int, ...]:
        """When runs with this member were begun, in the last 24 hours."""
        return tuple(ts for ts in self._kept.get(peer, _Kept()).begun if now - ts < _DAY)

    # -- the other end ---------------------------------------------------------------------------

    def heard(self, turn: Turn, seq: int, opened: Opened) -> None:
        """A step, or the end of a run, stands in the log as entry `seq`."""
        content, sender = opened.content, opened.event.mid
        if sender == self._core.me:
            self._came_back(seq, content)
        elif isinstance(content, Compare | CompareEnd) and content.to == self._core.me:
            self._expire(turn)
            if isinstance(content, CompareEnd):
                self._ended_there(turn, sender, content.run)
            elif content.step == 1:
                self._offered(turn, seq, opened, content)
            else:
                self._answer(turn, sender, content)

    def _came_back(self, seq: int, content: object) -> None:
        """Our own first step: where it stands decides, if both ends begin at once."""
        if isinstance(content, Compare) and content.step == 1:
            mine = self._open.get(content.to)
            if mine is not None and mine.comparison.run == content.run:
                mine.first_seq = seq

    def _offered(self, turn: Turn, seq: int, opened: Opened, step: Compare) -> None:
        """The peer begins a run."""
        peer = opened.event.mid
        until = min(opened.event.ts, turn.now) + RUN_TIME
        mine = self._open.get(peer)
        if turn.now >= until or (mine is not None and mine.comparison.run == step.run):
            return
        if mine is None:
            self._keep_offer(turn, peer, _Offer(step.run, until, step.data))
        elif not (mine.comparison.begins and mine.comparison.is_fresh):
            self._over(turn, peer, Outcome.GIVEN_UP)  # they have forgotten the run under way
            self._keep_offer(turn, peer, _Offer(step.run, until, step.data))
        elif mine.first_seq is None or opened.event.seen.seq >= mine.first_seq:
            self._yield_to(turn, peer, mine, step, until)

    def _yield_to(self, turn: Turn, peer: MemberId, mine: _Open, step: Compare, until: int) -> None:
        """Both have begun: theirs goes on. The person here has typed the phrase already.

        What was sent of our own run depends on no phrase, so it was no guess.
        """
        if mine.first_sid is not None:
            self._outbox.withdraw(turn, mine.first_sid)
        mine.first_sid = None
        mine.comparison = self._comparison(step.run, peer, mine.phrase, begins=False)
        mine.until = until
        self._keep(turn, peer, evolve(self._kept[peer], open_run=step.run))
        self._answer(turn, peer, step)

    def _answer(self, turn: Turn, peer: MemberId, step: Compare) -> None:
        """Take a step of the run under way; one of any other run is passed over."""
        mine = self._open.get(peer)
        if mine is None or mine.comparison.run != step.run:
            return
        comparison = mine.comparison
        try:
            reply = comparison.take(step)
        except ComparisonBroken:
            self._withdraw(turn, peer, Outcome.BROKEN)
            return
        mine.phrase = ""  # this run goes on to its end, or no other does
        if reply is not None:
            self._send(turn, reply)
        if comparison.result is not None:
            self._over(turn, peer, Outcome.SAME if comparison.result else Outcome.DIFFERENT)

    def _ended_there(self, turn: Turn, peer: MemberId, run: Sid) -> None:
        offer, mine = self._offers.get(peer), self._open.get(peer)
        if offer is not None and offer.run == run:
            self._drop_offer(turn, peer)
        if mine is not None and mine.comparison.run == run:
            self._over(turn, peer, Outcome.GIVEN_UP)

    # -- time ------------------------------------------------------------------------------------

    def pump(self, turn: Turn) -> None:
        """End what a restart has cut off, or what took too long. Only while attached."""
        cut_off, self._cut_off = self._cut_off, {}
        for peer, run in cut_off.items():
            self._say_end(turn, run, peer, Outcome.RESTARTED)
            if peer not in self._open:
                self._over(turn, peer, Outcome.RESTARTED)
        self._expire(turn)

    def deadline(self) -> int | None:
        """When `pump` should be called, even if nothing comes in."""
        due = [mine.until for mine in self._open.values()]
        due += [offer.until for offer in self._offers.values()]
        return min(due, default=None)

    def _expire(self, turn: Turn) -> None:
        for peer, mine in list(self._open.items()):
            if peer not in self._core.state.members:
                self._over(turn, peer, Outcome.GONE)
            elif mine.until <= turn.now:
                self._over(turn, peer, Outcome.EXPIRED)
        for peer, offer in list(self._offers.items()):
            if offer.until <= turn.now:
                self._drop_offer(turn, peer)

    # -- ends ------------------------------------------------------------------------------------

    def _withdraw(self, turn: Turn, peer: MemberId, outcome: Outcome) -> None:
        """End a run here, and tell the peer, who would wait."""
        mine = self._open[peer]
        first = mine.first_sid
        unsent = first is not None and self._outbox.withdraw(turn, first)
        if not unsent:
            self._say_end(turn, mine.comparison.run, peer, outcome)
        self._over(turn, peer, outcome)

    def _say_end(self, turn: Turn, run: Sid, peer: MemberId, outcome: Outcome) -> None:
        if peer in self._core.state.members:
            self._send(turn, CompareEnd(run, peer, outcome.value))

    def _over(self, turn: Turn, peer: MemberId, outcome: Outcome) -> None:
        core = self._core
        mine = self._open.pop(peer, None)
        self._keep(turn, peer, evolve(self._kept[peer], open_run=None))
        if outcome is Outcome.SAME:
            member = core.state.member(peer)
            found = self._verified[peer] = Verified(member.sign_key, member.first_enc_key, turn.now)
            turn.records.put(core.tables.state, _VERIFIED + peer, save(found))
        turn.tell(ComparisonEnded(core.room, peer, outcome.value))
        failed = _SENTENCES.get(outcome)
        if mine is not None:
            same = outcome is Outcome.SAME
            turn.settle(mine.ticket, same if failed is None else ComparisonFailed(outcome, failed))

    @property
    def _may_send(self) -> bool:
        core = self._core
        me = core.state.members.get(core.me)
        usable = core.head.status in (RoomStatus.ACTIVE, RoomStatus.HIDDEN)
        return usable and me is not None and me.may_post

    # -- keeping, sending ------------------------------------------------------------------------

    def _send(self, turn: Turn, content: Compare | CompareEnd) -> Sid | None:
        """Queue an event; None where this client may send nothing any more."""
        if not self._may_send:
            return None
        sid = new_sid()
        self._outbox.queue(turn.records, content, sid, turn.now)
        turn.again = True
        return sid

    def _keep(self, turn: Turn, peer: MemberId, kept: _Kept) -> None:
        self._kept[peer] = kept
        turn.records.put(self._core.tables.state, COMPARE + peer, save(kept))

    def _keep_offer(self, turn: Turn, peer: MemberId, offer: _Offer) -> None:
        if peer not in self._offers:  # who asks again and again is told of once
            turn.tell(CompareAsked(self._core.room, peer, offer.until))
        self._offers[peer] = offer
        turn.records.put(self._core.tables.state, _OFFER + peer, save(offer))

    def _drop_offer(self, turn: Turn, peer: MemberId) -> None:
        if self._offers.pop(peer, None) is not None:
            turn.records.delete(self._core.tables.state, _OFFER + peer)


def runs_only(raw: bytes) -> bytes:
    """A record under `COMPARE` for who is a new member now: how often it guessed still counts."""
    return save(evolve(load(_Kept, raw), open_run=None))
