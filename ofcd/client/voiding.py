"""The end of a room's log came to nothing: root moved the room by force (protocol.md, Federation).

The relay shows the moves; that they are root's, and how far this client's log holds beside them, is
checked here. Then, in one transaction, all behind that is taken back: what is void is set aside and
told, and this member's own words among it are sent again. Like what waits, they are sealed anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from attrs import evolve

from ofcd.client.aiming import NOT_SAID_AGAIN
from ofcd.client.archive import Entry, Kind
from ofcd.client.blobdrops import unnamed
from ofcd.client.core import Core
from ofcd.client.events import Alarm, AlarmKind, EntriesVoided, RoomStatus
from ofcd.client.folding import refold
from ofcd.client.proofs import Shows
from ofcd.client.queued import Queued
from ofcd.client.turn import Turn
from ofcd.e2e import bodies
from ofcd.e2e.bodies import Body, decode_body, encode_body
from ofcd.e2e.errors import Fault, LogBroken
from ofcd.e2e.log import WINDOW, RoomLog, SenderHead, Senders
from ofcd.e2e.names import display_name
from ofcd.protocol.codes import Code, Malformed, Refused
from ofcd.protocol.ids import EventId, Hash32, MemberId, Sid
from ofcd.protocol.records import HubMove
from ofcd.protocol.room import RoomState
from ofcd.themis.moves import Moves, Parting, check_claim, seen_of
from ofcd.themis.signed import SignedRecord

__all__ = ["TakenBack", "take_moves"]

_LOOK_BACK: Final = 2_000
"""Entries that are looked through for the last words of those whose later ones are void."""
_NO_SID: Final = Sid(bytes(16))
_APP: Final = b"app/"


class TakenBack:
    """What came of the moves that a relay tells."""

    def __init__(self, parting: Parting, void: list[Entry], said: list[Queued]) -> None:
        self.parting = parting
        self.void = void
        self.said = said
        """This member's own words that came to nothing."""


def take_moves(
    turn: Turn, core: Core, records: Sequence[bytes], *, has_acked: bool = False
) -> TakenBack | None:
    """Take back what is void, as these HUB_MOVEs have it; None where nothing is.

    `has_acked`: the relay has accepted what has not come here: that may be void, too.

    Raises `ProtocolError` for what proves nothing.
    """
    moves = Moves.read(core.room, records)
    _flag(turn, core, moves)
    kept = core.expected(turn.records)
    if kept is not None and kept.event_id in {one.event_id for one in moves.signed}:
        kept = None
    try:
        missing = moves.news(core.state, kept)
    except Refused:
        return None  # another move counts
    if not missing:
        return None
    check_claim(missing, core.state)
    _note_terms(turn, core, missing)
    begun = core.head.begun
    end = core.head.seq if begun else max(core.head.seq, core.state.seq)
    seq = seen_of(missing[0]).seq
    ours = core.checked_hash(turn.records, seq) if begun and seq <= end else None
    try:
        parting = moves.part(missing, core.state, end, ours)
    except Refused as refused:
        if refused.kind is Code.FORK:
            core.freeze(turn, LogBroken(Fault.FORK, seq, (missing[0].envelope,)))
        return None
    is_whole = parting.base >= end
    state = core.state if is_whole else core.state_before(turn.records, parting.base + 1)
    parting.check_root(state, core.state)
    if parting.is_next and (begun or not is_whole):
        # It has to hold there: nothing is taken back, or kept, for one that no log can have.
        state.apply(parting.move, parting.first.event_id, parting.base + 1)
    core.expect(turn, parting.last)
    if any(isinstance(one.record, HubMove) and one.record.force for one in missing):
        core.thaw(turn)
    elif is_whole:
        return None
    if is_whole:
        if core.head.status is RoomStatus.EVICTED:
            core.save_head(turn, may_return=True)
        if not begun or not has_acked:
            return None
        # Its Ack vouched for the log there; if it does hold, it comes back before it is sent again.
        core.save_head(turn, vouched_seq=-1, vouched_log=None, vouched_by=b"")
        return TakenBack(parting, [], [])
    return _take_back(turn, core, parting, state)


def _note_terms(turn: Turn, core: Core, signed: Sequence[SignedRecord]) -> None:
    """Verified to be root's: if that is this client, a vault of before may not know of them."""
    for one in signed:
        if core.me == core.state.root and isinstance(one.record, HubMove):
            core.note_term(turn, one.record)


def _flag(turn: Turn, core: Core, moves: Moves) -> None:
    """Root has signed two moves of one term: both are kept, and people are told, once a link."""
    rivals = moves.rivals(core.state)
    if not rivals or AlarmKind.TWO_MOVES in core.told:
        return
    check_claim([told for _, told in rivals], core.state)
    for ours, told in rivals:
        here = core.archive.control(turn.records, ours.since)
        both = (*([here.envelope] if here else ()), told.envelope)
        core.keep_evidence(turn, both, Shows.PROOF)
    core.tell_once(turn, AlarmKind.TWO_MOVES, _TWO_MOVES)


def _take_back(turn: Turn, core: Core, parting: Parting, state: RoomState) -> TakenBack:
    base, end, before = parting.base, max(core.head.seq, core.state.seq), core.state
    known = core.checked_hash(turn.records, base) if core.head.begun else None
    log = known or (parting.move.seen.log if parting.is_next else None)
    done = _put_cursors_back(turn, core, base)
    void = core.archive.take_back(turn.records, base, done, core.head.read_seq)
    for entry in void:
        content = core.archive.content(entry)
        if isinstance(content, bodies.FileRef):
            unnamed(turn.records, core, content.blob_id, entry.mid)
    for target in {e.target_seq for e in void if 0 <= e.target_seq <= base}:
        refold(core.archive, turn.records, target, base)
    recent = core.archive.hashes(turn.records, base - WINDOW, base)
    start = min(core.head.start, base)
    held = {epoch: key for epoch, key in core.keys.keys.items() if epoch <= state.epoch}
    first = _first_own(core, void, base)
    last = _last_words(turn, core, void, base, first)
    senders = _senders(core, void, base, last, first)
    core.view = evolve(
        core.view,
        state=state,
        log=RoomLog.resumed(core.room, base, log or Hash32(core.room), recent, start),
        senders=senders,
    )
    core.adopt(turn, evolve(core.keys, keys=held))
    core.turn_own_key(turn)
    _put_names_back(core, void, last)
    for mid in {entry.mid for entry in void}:
        core.save_sender(turn, mid)
    for mid, reached in list(core.reached.items()):
        if reached > base:
            core.reached[mid] = base
            core.save_sender(turn, mid)
    said = _own_words(core, void)
    _save_head(turn, core, base, log, void)
    _tell(turn, core, void, before, base, end, len(said))
    return TakenBack(parting, void, said)


def _put_cursors_back(turn: Turn, core: Core, base: int) -> int:
    """What applications have done with is not what will stand there; how far all had come."""
    cursors = []
    for key, raw in list(turn.records.items(core.tables.state, _APP, b"app0")):
        cursor = int.from_bytes(raw, "big")
        cursors.append(cursor)
        if cursor > base:
            turn.records.put(core.tables.state, key, base.to_bytes(8, "big"))
    return min(cursors, default=-1)  # who has stored none has perhaps just begun


def _save_head(turn: Turn, core: Core, base: int, log: Hash32 | None, void: list[Entry]) -> None:
    head, own = core.head, core.view.senders.heads.get(core.me)
    is_void = any(entry.mid == core.me and entry.kind is not Kind.CONTROL for entry in void)
    was_taken_up = head.start > base  # by the relay's word, for a gap: that may be void, too
    unread = sum(core.is_new(entry) and entry.seq > head.read_seq for entry in void)
    changes: dict[str, Any] = {
        name: min(getattr(head, name), base)
        for name in ("said_seq", "unconfirmed", "own_seq", "others_seq", "read_seq", "start")
    }
    changes |= _room_before(turn, core, void, base)
    changes["offered_to"] = None
    if head.accepted_seq > base:
        changes |= {"heir": None, "accepted_seq": -1}
    if is_void or was_taken_up:
        counter = 0 if own is None else own.counter
        changes |= {"counter": counter, "last": own.event_id if own and counter else None}
    changes["recounts"] = head.recounts or was_taken_up
    if head.vouched_seq > base:
        changes |= {"vouched_seq": -1, "vouched_log": None, "vouched_by": b""}
    core.head = head.after_cut(base)
    core.save_head(
        turn,
        begun=log is not None,
        seq=base,
        log=log,
        ctl_seq=core.state.seq,
        epoch_since=turn.now,
        unread=max(0, head.unread - unread),
        key_request=b"",
        key_asked=0,
        **changes,
    )


# -- senders -------------------------------------------------------------------------------------


def _last_words(
    turn: Turn,
    core: Core,
    void: list[Entry],
    base: int,
    own: tuple[int, EventId] | None,
) -> dict[MemberId, Entry]:
    """The last event that holds of each who said something that does not, if it is near."""
    sought = {entry.mid for entry in void if entry.kind is not Kind.CONTROL}
    needed = set() if own else sought & {core.me}  # in a vault of before, and behind a gap
    found: dict[MemberId, Entry] = {}
    for entry in core.archive.entries(turn.records, 0, base + 1, newest_first=True):
        if not sought or (base - entry.seq > _LOOK_BACK and not sought & needed):
            break
        if entry.mid in sought and entry.kind is not Kind.CONTROL:
            sought.discard(entry.mid)
            found[entry.mid] = entry
    return found


def _senders(
    core: Core,
    void: list[Entry],
    base: int,
    last: dict[MemberId, Entry],
    own: tuple[int, EventId] | None,
) -> Senders:
    """How far each had come before what is void; at least, where a gap lies before that."""
    firsts: dict[MemberId, Entry] = {}
    for entry in void:
        if entry.kind is not Kind.CONTROL:
            firsts.setdefault(entry.mid, entry)
    heads = dict(core.view.senders.heads)
    start = core.head.start
    for mid, first in firsts.items():
        there, before = last.get(mid), _counter_before(first) if start <= base else None
        if there is None:
            heads[mid] = _head_before(core, before)
        else:
            heads[mid] = _head_of(there, before, is_missed=there.seq <= start)
    if own is not None:
        counter, prev = own
        heads[core.me] = SenderHead(counter - 1, prev, heads[core.me].sid)
    return Senders(core.room, heads)


def _first_own(core: Core, void: list[Entry], base: int) -> tuple[int, EventId] | None:
    """Counter and `prev` of this member's first event that is void; None where that may be another.

    So it is with a gap behind `base`.
    """
    if core.head.start > base:
        return None
    return next((entry.own for entry in void if entry.own is not None), None)


def _put_names_back(core: Core, void: list[Entry], last: dict[MemberId, Entry]) -> None:
    """What each was called before what is void; where nothing is known of that, it stays."""
    for entry in reversed(void):
        if entry.kind is Kind.PROFILE and entry.before:
            core.names[entry.mid] = entry.before
    for mid, entry in last.items():
        body = _body(entry)
        if body is not None and (name := display_name(body.name)):
            core.names[mid] = name


def _room_before(turn: Turn, core: Core, void: list[Entry], base: int) -> dict[str, str]:
    """The room's name and topic before those that are void."""
    first = next((entry for entry in void if entry.kind is Kind.ROOM), None)
    if first is None:
        return {}
    said = map(core.archive.content, core.archive.names(turn.records, base + 1))
    info = next((one for one in said if isinstance(one, bodies.RoomInfo)), None)
    return {"room_name": first.before, "topic": "" if info is None else info.topic}


def _head_of(last: Entry, before: int | None, *, is_missed: bool) -> SenderHead:
    """The sender's last known event that holds is `last`, of the number `before` unless it tells.

    `is_missed`: it may not be the last, for a gap lies behind it; the last is number `before` then.
    """
    counter = before if last.number is None else last.number
    certain = counter is not None and not is_missed
    if is_missed:
        counter = max(counter or 0, before or 0)
    return SenderHead(counter or 0, last.event_id, last.sid or _NO_SID, certain=certain)


def _head_before(core: Core, before: int | None) -> SenderHead:
    """It is too far back, or in a gap, or there is none: what comes next is checked from there."""
    return SenderHead(before or 0, EventId(core.room), _NO_SID, certain=before == 0)


def _counter_before(first: Entry) -> int | None:
    return None if first.number is None else first.number - 1


def _body(entry: Entry) -> Body | None:
    try:
        return decode_body(entry.body) if entry.body else None
    except Malformed:
        return None


# -- one's own words -----------------------------------------------------------------------------


def _own_words(core: Core, void: list[Entry]) -> list[Queued]:
    """What this member said, to be said again: each under its sid, as it reads now."""
    gone = {entry.event_id for entry in void}
    words: list[Queued] = []
    for entry in void:
        body = _body(entry)
        content = core.archive.as_it_reads(entry)
        if entry.mid != core.me or content is None or entry.sid is None or entry.code:
            continue
        target = getattr(content, "target", None)
        if body is None or isinstance(content, NOT_SAID_AGAIN) or target in gone:
            continue
        raw = encode_body(evolve(body, content=content, voids=())).rstrip()
        made = Queued(0, entry.sid, entry.ts, raw, event_id=entry.event_id, counter=body.counter)
        words.append(made)
    return words


# -- telling -------------------------------------------------------------------------------------


def _tell(
    turn: Turn,
    core: Core,
    void: list[Entry],
    before: RoomState,
    base: int,
    end: int,
    own: int,
) -> None:
    again = [
        mid
        for mid, why in before.departed.items()
        if why is Code.EVICTED and mid in core.state.members
    ]
    messages = tuple(core.archive.message(e) for e in void if e.kind is Kind.MESSAGE)
    controls = sum(entry.kind is Kind.CONTROL for entry in void)
    turn.tell(
        EntriesVoided(core.room, base + 1, end + 1, messages, own, controls, evicted=tuple(again))
    )
    if again:
        names = ", ".join(core.names.get(mid) or f"member {mid.hex()[:8]}" for mid in again)
        turn.tell(Alarm(core.room, AlarmKind.EVICTION_VOID, _EVICTION_VOID.format(names=names)))


_TWO_MOVES: Final = (
    "root has signed two moves of this room that can not both be: the one with the lower id counts "
    "everywhere; ask root what is meant"
)
_EVICTION_VOID: Final = (
    "{names} had been evicted, and is in the room again: root moved the room to a relay whose copy "
    "does not have that; an owner has to evict them anew"
)
