"""Evidence that a relay shows against a room's hub, judged: what do the records prove, if anything?

A relay that says of another one that it showed two histories is believed as far as signatures go:
two LOG_HEADs of the hub's own, or one word, the hub's or a member's, over a log that is not the one
that this member was given. Everything else is that relay's talk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import combinations

from attrs import field, frozen

from ofcd.e2e.errors import Fault, LogBroken
from ofcd.e2e.trust import SignedHead, check_agreement, check_log_head
from ofcd.protocol.codes import Code, Malformed, ProtocolError, Refused
from ofcd.protocol.ids import EventId, Hash32, MemberId, PublicKey, RelayId
from ofcd.protocol.records import CONTROL_TYPES, Event, Genesis, LoggedRecord, LogHead, Seen
from ofcd.protocol.room import RoomState
from ofcd.themis.lineage import Lineage
from ofcd.themis.moves import void_from
from ofcd.themis.signed import open_signed, peek

__all__ = ["NotYet", "Proof", "is_void", "judge"]

HashAt = Callable[[int], Hash32 | None]
PlaceOf = Callable[[EventId], int | None]


@frozen
class Proof:
    """There are two histories of the room: `records` show it, alone or beside one's own log."""

    fault: Fault
    """EQUIVOCATION: the hub signed two logs. FORK: somebody signed another log than is here."""
    seq: int
    records: tuple[bytes, ...] = field(repr=False)
    witness: MemberId | None = None
    """The member who was shown another log; None where it is the hub's own word."""


@frozen
class NotYet:
    """Something was truly signed, about an entry that is not here: judge again at `seq`."""

    seq: int


@frozen
class _Word:
    """A log that somebody has signed."""

    seen: Seen
    envelope: bytes = field(repr=False)
    witness: MemberId | None = None


def judge(
    state: RoomState,
    end: int,
    hash_at: HashAt,
    relay_key: PublicKey,
    envelopes: Iterable[bytes],
    known: Callable[[RelayId], Lineage] = Lineage,
    place_of: PlaceOf = lambda _: None,
) -> Proof | NotYet | None:
    """What these records prove to who has the log up to `end`; None: nothing.

    `place_of` tells where a control record stands in one's own log. What was signed over a part
    that came to nothing when the room was moved (see `is_void`) proves nothing either.

    `relay_key` is said to be the hub's: it counts only if it is one of the relay that the room
    names, of whose keys `known` tells. What does not verify proves nothing, whoever it is said
    to be of.
    """
    heads: list[SignedHead] = []
    words: list[_Word] = []
    for envelope in envelopes:
        try:
            if isinstance(peek(envelope).record, LogHead):
                signed = check_log_head(state, relay_key, envelope, known)
                heads.append(signed)
                words.append(_Word(Seen(signed.head.seq, signed.head.log), envelope))
            else:
                words.append(_word_of_member(state, envelope, place_of))
        except (ProtocolError, LogBroken):
            continue
    return _contradiction(heads) or _against(words, end, hash_at)


def _word_of_member(state: RoomState, envelope: bytes, place_of: PlaceOf) -> _Word:
    """What a current member has signed to have seen; raises `ProtocolError`."""
    claimed = peek(envelope).record
    mid: MemberId = getattr(claimed, "mid", MemberId(bytes(32)))
    record = open_signed(state.member(mid).sign_key, envelope).record
    if isinstance(record, Genesis) or not isinstance(record, (Event, *CONTROL_TYPES)):
        raise Malformed(Code.BAD_RECORD)  # true, and says nothing of the log
    if record.room != state.room:
        raise Refused(Code.NOT_FOUND)
    if is_void(state, record, place_of):
        raise Refused(Code.CTL_STALE)
    return _Word(record.seen, envelope, mid)


def is_void(state: RoomState, record: Event | LoggedRecord, place_of: PlaceOf) -> bool:
    """Whether it was signed over what the hub of before put behind the place where a move stands.

    Its control head is then of before the move; or, where that was by force, one that is void too.
    """
    move = void_from(state, record.seen.seq)
    if move is None:
        return False
    place = place_of(record.ctl if isinstance(record, Event) else record.prev)
    return move.forced if place is None else place < move.since


def _contradiction(heads: list[SignedHead]) -> Proof | None:
    for one, other in combinations(heads, 2):
        try:
            check_agreement(one, other)
        except LogBroken as broken:
            return Proof(broken.fault, broken.seq, broken.evidence)
    return None


def _against(words: list[_Word], end: int, hash_at: HashAt) -> Proof | NotYet | None:
    """The first word over another log than is here; else whether one is still to be judged."""
    for word in words:
        ours = hash_at(word.seen.seq) if 0 <= word.seen.seq <= end else None
        if ours is not None and ours != word.seen.log:
            return Proof(Fault.FORK, word.seen.seq, (word.envelope,), word.witness)
    later = [word.seen.seq for word in words if word.seen.seq > end]
    return NotYet(min(later)) if later else None
