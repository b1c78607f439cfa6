"""A room that left its hub, and who has not heard of it: what follows from HUB_MOVEs that are told.

(docs/protocol.md, "A hub that is gone for good".) The same for relays and clients: whether they
count against what stands in one's own log, and how far that log holds beside them.
"""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

from ofcd.protocol.codes import Code, Malformed, Refused
from ofcd.protocol.ids import Hash32, RelayId, RoomId
from ofcd.protocol.records import HubMove
from ofcd.protocol.room import HubTerm, RoomState
from ofcd.themis.signed import SignedRecord, open_signed, peek

__all__ = ["Moves", "Parting", "void_from"]


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


@frozen
class Moves:
    """The HUB_MOVEs of one room's log, as somebody tells them; NOT verified before `check`."""

    signed: tuple[SignedRecord, ...]

    @classmethod
    def read(cls, room: RoomId, envelopes: Sequence[bytes]) -> Moves:
        """What was told. Raises `Malformed`."""
        signed = tuple(peek(envelope) for envelope in envelopes)
        if not signed or any(_move(one).room != room for one in signed):
            raise Malformed(Code.BAD_RECORD, "these are not moves of this room")
        return cls(signed)

    def first_missing(self, state: RoomState) -> HubMove | None:
        """The first of them that does not stand in the own log, whose state is `state`."""
        here = {hub.event_id for hub in state.moved}
        return next((_move(one) for one in self.signed if one.event_id not in here), None)

    def part(self, state: RoomState, end: int, ours: Hash32 | None) -> Parting | None:
        """Where the own log, which ends at `end`, parts from theirs; None: it holds them all.

        `ours` is its L at what `first_missing` has seen, where known. Raises `Refused`: `conflict`
        where the own last move counts against theirs, `fork` where there are two histories.
        """
        here = {hub.event_id for hub in state.moved}
        missing = [one for one in self.signed if one.event_id not in here]
        if not missing:
            return None
        first, last = missing[0], self.signed[-1]
        if state.moved and state.moved[-1].rank > _rank(last):
            raise Refused(Code.CONFLICT, "another move of the room counts")
        seen = _move(first).seen
        told = {one.event_id for one in self.signed}
        beaten = [hub for hub in state.moved if hub.event_id not in told]
        if seen.seq <= end and ours in (None, seen.log):
            base = seen.seq
        elif beaten:
            base = min(beaten[0].since - 1, seen.seq)
        elif end < seen.seq:
            base = end
        else:
            raise Refused(Code.FORK, "root has signed another log than this one")
        return Parting(base, first, last)

    @property
    def hub(self) -> RelayId:
        """Who orders the room, as they say."""
        return _move(self.signed[-1]).hub

    def rival(self, state: RoomState) -> SignedRecord | None:
        """The last of them, if the own log has another move of the same term, and root's name."""
        last = self.signed[-1]
        is_rival = state.moved and state.moved[-1].term == _move(last).term
        return last if is_rival and state.moved[-1].event_id != last.event_id else None

    def check_claim(self, state: RoomState) -> None:
        """They are signed by who is root in the own log now. Raises `Refused`."""
        self._check(self.signed, state)

    def check(self, parting: Parting, state: RoomState, now: RoomState) -> None:
        """They are root's, who is so in `state`, that of the own log at the parting's base.

        And is so `now`, where the own log ends: who has handed the room over can not take that
        back, and all that came after it, by a record that is older. Raises `Refused` (forbidden,
        bad_signature). For a worker thread.
        """
        if state.root != now.root:
            raise Refused(Code.FORBIDDEN, "who was root there has handed the room over since")
        self._check(self.signed[self.signed.index(parting.first) :], state)

    def _check(self, signed: Sequence[SignedRecord], state: RoomState) -> None:
        for one in signed:
            if _move(one).mid != state.root:
                raise Refused(Code.FORBIDDEN, "only root moves a room")
            open_signed(state.member(state.root).sign_key, one.envelope)


def void_from(state: RoomState, seq: int) -> HubTerm | None:
    """The last move that made void whatever else was signed over entry `seq`, if any."""
    return next((hub for hub in reversed(state.moved) if hub.since <= seq), None)


def _move(signed: SignedRecord) -> HubMove:
    if not isinstance(signed.record, HubMove):
        raise Malformed(Code.BAD_RECORD, "these are not moves of a room")
    return signed.record


def _rank(signed: SignedRecord) -> tuple[int, int]:
    move = _move(signed)
    return HubTerm(move.term, move.hub, 0, event_id=signed.event_id).rank
