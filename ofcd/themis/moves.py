"""A room that left its hub, and who has not heard of it: what follows from HUB_MOVEs that are told.

(docs/protocol.md, "A hub that is gone for good".) The same for relays and clients: whether they
count against what stands in one's own log, and how far that log holds beside them. The caller asks
in this order: `Moves.read`, `Moves.news`, `check_claim`, `Moves.part`, `Parting.check_root`.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from attrs import frozen

from ofcd.protocol import limits
from ofcd.protocol.codes import Code, Malformed, Refused
from ofcd.protocol.ids import Hash32, RelayId, RoomId
from ofcd.protocol.records import HubMove, Seen
from ofcd.protocol.room import HubTerm, RoomState
from ofcd.themis.signed import SignedRecord, open_signed, peek

__all__ = ["Moves", "Parting", "check_claim", "seen_of", "void_from"]


@frozen
class Parting:
    """The own log does not hold the moves told: what is behind entry `base` of it is void."""

    base: int
    first: SignedRecord
    """The first HUB_MOVE that is not in the own log."""
    last: SignedRecord
    """The one that decides; `hub` of it is who orders the room now."""

    @property
    def move(self) -> HubMove:
        """What `first` says."""
        return _move(self.first)

    @property
    def hub(self) -> RelayId:
        """Who orders the room now."""
        return _move(self.last).hub

    @property
    def urls(self) -> tuple[str, ...]:
        """Where that relay is reached."""
        return _move(self.last).urls

    @property
    def is_next(self) -> bool:
        """Whether `first` is the entry after `base`: else more is to be had before it."""
        return self.base == self.move.seen.seq

    def check_root(self, state: RoomState, now: RoomState) -> None:
        """Who is root `now`, at the end of the own log, is so in `state`, that at `base`, too.

        Else who has handed the room over could take that back, and all that came after it, by a
        record that is older. Raises `Refused` (forbidden).
        """
        if state.root != now.root:
            raise Refused(Code.FORBIDDEN, "who was root there has handed the room over since")


@frozen
class Moves:
    """The HUB_MOVEs of one room's log, as told; NOT verified before `check_claim`."""

    signed: tuple[SignedRecord, ...]

    @classmethod
    def read(cls, room: RoomId, envelopes: Sequence[bytes]) -> Moves:
        """What was told. Raises `Malformed` for what no log can hold."""
        signed = tuple(peek(envelope) for envelope in envelopes)
        told = [_move(one) for one in signed]
        if not 0 < len(signed) <= limits.MOVES_TOLD or any(one.room != room for one in told):
            raise _malformed()
        for before, after in pairwise(signed):
            if not _follows(before, after):
                raise _malformed()
        return cls(signed)

    @property
    def hub(self) -> RelayId:
        """Who orders the room, as they say."""
        return _move(self.signed[-1]).hub

    def news(
        self,
        state: RoomState,
        kept: SignedRecord | None = None,
        teller: RelayId | None = None,
    ) -> tuple[SignedRecord, ...]:
        """Those that the own log, whose state is `state`, lacks, if these count; else none.

        `kept` is the last one that was told before, and taken, and is not in the own log yet;
        `teller` the relay that tells these, where that is to be looked at (`_may_follow`).
        Raises `Refused` (conflict) where one's own last move, or `kept`, counts against these, and
        for what no log can hold beside the own: who tells it need not have what shows that.
        """
        here = {hub.event_id for hub in state.moved}
        missing = tuple(one for one in self.signed if one.event_id not in here)
        last = self.signed[-1]
        if missing != self.signed[len(self.signed) - len(missing) :]:
            raise Refused(Code.CONFLICT, "the own log has no move between these")
        if not missing or (kept is not None and kept.event_id == last.event_id):
            return ()
        is_less = bool(state.moved) and state.moved[-1].rank > _rank(last)
        if is_less or (kept is not None and not _may_follow(kept, last, teller)):
            raise Refused(Code.CONFLICT, "another move of the room counts")
        return missing

    def part(
        self,
        missing: Sequence[SignedRecord],
        state: RoomState,
        end: int,
        ours: Hash32 | None,
    ) -> Parting:
        """Where the own log, which ends at `end`, parts from theirs; it lacks these of `news`.

        `ours` is its L at what the first of those has seen, where known. Only a move by force makes
        anything void. Raises `Refused`: `conflict` where there is none, and the own log goes
        another way; `fork` where root has signed another log than the own.
        """
        first, last = missing[0], missing[-1]
        seen = _move(first).seen
        beaten = self._beaten(state)
        is_same = seen.seq <= end and ours in (None, seen.log) and _is_behind(first, state)
        if not any(_move(one).force for one in missing):
            if beaten or not (end < seen.seq or (end == seen.seq and is_same)):
                raise Refused(Code.CONFLICT, "the own log goes another way")
            return Parting(end, first, last)
        if is_same:
            return Parting(seen.seq, first, last)
        if beaten:
            return Parting(min(beaten[0].since - 1, seen.seq), first, last)
        if end < seen.seq:
            return Parting(end, first, last)
        if not self._reaches(state):
            raise Refused(Code.CONFLICT, "these moves begin behind where the two logs part")
        raise Refused(Code.FORK, "root has signed another log than this one")

    def counts_less(self, other: Moves) -> bool:
        """Whether the last of the others counts more than the last of these."""
        return _rank(self.signed[-1]) < _rank(other.signed[-1])

    def rivals(self, state: RoomState) -> tuple[tuple[HubTerm, SignedRecord], ...]:
        """Pairs of one term, of the own log and of these: root has signed both."""
        return tuple(
            (hub, one)
            for hub in state.moved
            for one in self.signed
            if hub.term == _move(one).term and hub.event_id != one.event_id
        )

    def _beaten(self, state: RoomState) -> tuple[HubTerm, ...]:
        """The moves of the own log that can not stand in theirs."""
        first = _move(self.signed[0])
        told = {first.after, *(one.event_id for one in self.signed)}
        shared = [place for place, hub in enumerate(state.moved) if hub.event_id in told]
        if shared:
            return state.moved[shared[-1] + 1 :]
        if first.force and first.after is None:
            return state.moved  # theirs has none before
        return tuple(
            hub for hub in state.moved if hub.term >= first.term or hub.since > first.seen.seq
        )

    def _reaches(self, state: RoomState) -> bool:
        """Whether no move that the own log lacks stands before the first of these."""
        after = _move(self.signed[0]).after
        here = {hub.event_id for hub in state.moved}
        return after is None or after in here or self.signed[0].event_id in here


def check_claim(signed: Sequence[SignedRecord], state: RoomState) -> None:
    """They are signed by who is root in the own log. Raises `Refused`; for a worker thread."""
    for one in signed:
        if _move(one).mid != state.root:
            raise Refused(Code.FORBIDDEN, "only root moves a room")
        open_signed(state.member(state.root).sign_key, one.envelope)


def seen_of(signed: SignedRecord) -> Seen:
    """What stands just before this HUB_MOVE in its log."""
    return _move(signed).seen


def void_from(state: RoomState, seq: int) -> HubTerm | None:
    """The last move by force that made void whatever else was signed over entry `seq`, if any."""
    return next((hub for hub in reversed(state.moved) if hub.forced and hub.since <= seq), None)


def _follows(before: SignedRecord, after: SignedRecord) -> bool:
    """Whether the one can stand in a log as the next move behind the other."""
    one, other = _move(before), _move(after)
    linked = other.after == before.event_id or (other.after is None and not other.force)
    return linked and one.term < other.term and one.seen.seq < other.seen.seq


def _is_behind(signed: SignedRecord, state: RoomState) -> bool:
    """Whether the move before it, as it says, is the last one that the own log has up to there."""
    move = _move(signed)
    before = [hub.event_id for hub in state.moved if hub.since <= move.seen.seq]
    is_silent = move.after is None and not move.force
    return is_silent or move.after == (before[-1] if before else None)


def _move(signed: SignedRecord) -> HubMove:
    if not isinstance(signed.record, HubMove):
        raise _malformed()
    return signed.record


def _may_follow(kept: SignedRecord, last: SignedRecord, teller: RelayId | None) -> bool:
    """Whether `last` counts beside the one that was told before.

    Root's client may sign several without force for one place, of one term, until the hub takes
    one. Only that stands in the log, whatever its id: its hub says so, and no other relay.
    """
    one, other = _move(kept), _move(last)
    if one.term == other.term and not (one.force or other.force):
        return teller in (None, other.hub)
    return _rank(kept) <= _rank(last)


def _rank(signed: SignedRecord) -> tuple[int, int]:
    move = _move(signed)
    return HubTerm(move.term, move.hub, 0, event_id=signed.event_id).rank


def _malformed() -> Malformed:
    return Malformed(Code.BAD_RECORD, "these are not the moves of a room's log")
