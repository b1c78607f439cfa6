"""Rooms that another relay orders: what their members ask, and the copy that is kept here.

The hub decides. What is said waits in the outbox until it is in the hub's log, and the sender is
told `queued`; what changes the room is asked of the hub at once. What the hub delivers is verified
as a client would (`verify_entries`), in a worker thread, before it stands in the copy.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from attrs import define, field, frozen

from ofcd.errors import OfcError
from ofcd.protocol import frames
from ofcd.protocol.codes import SENTENCES, Code, Malformed, ProtocolError, Refused
from ofcd.protocol.ids import (
    EventId,
    Hash32,
    MemberId,
    PublicKey,
    RelayId,
    RoomId,
    log_hash,
    member_id_of,
    sha256,
)
from ofcd.protocol.records import (
    CONTROL_TYPES,
    Admit,
    Attach,
    Control,
    Event,
    EventKind,
    Genesis,
    Handover,
    Home,
    HubMove,
    JoinConfirm,
    JoinRequest,
    LogHead,
    RekeyBoxed,
    UpdateKey,
)
from ofcd.protocol.room import RoomState, found
from ofcd.relay.attach import check_proof
from ofcd.relay.blobs import check_drop, drop
from ofcd.relay.control import leave_lanes, nested
from ofcd.relay.effects import (
    Appended,
    Arrive,
    Close,
    Decision,
    Effect,
    Forward,
    Push,
    Redacted,
    Stir,
    Unsubscribe,
)
from ofcd.relay.facts import (
    BoxStored,
    CellRedacted,
    ChainCopied,
    ChainRecord,
    EvidenceKept,
    Fact,
    HeadKept,
    OutboxDropped,
    OutboxRow,
    OutboxStored,
    ReplicaFounded,
    RoomFounded,
    RoomFrozen,
    SenderLearnt,
    SenderState,
)
from ofcd.relay.moving import change_hub
from ofcd.relay.policy import RelayPolicy
from ofcd.relay.posting import ack, check_shape, find_sid, perhaps_old, repeated
from ofcd.relay.rates import Rate
from ofcd.relay.refusal import Refusal
from ofcd.relay.request import Core, Request, Signatures
from ofcd.relay.room_log import DAY_MS, RoomLog, Waiting, chain_size
from ofcd.themis.signed import SignedRecord, check_handover, check_keys, open_signed, peek

__all__ = [
    "Entry",
    "HubLied",
    "Verified",
    "Walk",
    "accept_head",
    "check_arrival",
    "check_drop_away",
    "check_foreign",
    "check_forward",
    "check_queue",
    "copy_floor",
    "expire_outbox",
    "found_copy",
    "freeze",
    "has_come_to",
    "replicate",
    "return_events",
    "run_arrival",
    "run_drop_away",
    "run_foreign",
    "run_forward",
    "run_queue",
    "take_members_change",
    "verify_control",
    "verify_entries",
]

Post = Request[frames.Post, Event]


class HubLied(OfcError):
    """What the hub delivered, or signed, can not be true. `records` are what shows it."""

    code = "hub_lied"

    def __init__(self, kind: Code, text: str, records: Iterable[bytes] = ()) -> None:
        super().__init__(text)
        self.kind = kind
        self.records = tuple(record for record in records if record)
        self.before: tuple[Verified, ...] = ()
        """The entries before the one that is wrong."""

    @property
    def is_proof(self) -> bool:
        """Whether it shows two histories of the room, and not only bytes that do not verify."""
        return self.kind is Code.FORK


# -- what members ask ----------------------------------------------------------------------------


def check_queue(request: Post) -> Signatures:
    """The event is well-formed and its sender's; whether it fits the log is for the hub to say."""
    check_shape(request)
    _require_thawed(request.room)
    if repeated(request) is None and not perhaps_old(request):
        _check_new(request)
    return request.signed_by(request.member.sign_key)


def _require_thawed(room: RoomLog) -> None:
    if room.frozen:
        raise Refusal(Code(room.frozen), seq=room.seq)


def _require_home(request: Request[Any, Any]) -> None:
    """Who has moved says it through the relay it moved to: from here the hub takes nothing more."""
    if request.member.home != request.core.relay_id:
        raise Refused(Code.WRONG_RELAY, "this member is at home at another relay")


def _check_new(request: Post) -> None:
    _require_home(request)
    event, room, policy = request.record, request.room, request.policy
    last = room.sender(event.mid)
    if event.counter <= last.counter:
        raise Refusal(Code.COUNTER_GAP, event_id=last.last or None)
    if request.now - event.ts > policy.outbox_days * DAY_MS:
        raise Refused(Code.EXPIRED)
    _check_shown(room, event)
    if not request.final and sha256(request.frame.cell) != event.cell_hash:
        raise Refused(Code.CELL_MISMATCH)
    if (event.mid, event.sid) not in room.outbox:
        _check_share(room, event.mid, policy)


def _check_shown(room: RoomLog, event: Event) -> None:
    """Nobody at home here has seen more than this copy, or another log.

    What claims to have would wait for a log that never comes.
    """
    if event.seen.seq > room.seq:
        raise Refusal(Code.HUB_BEHIND, seq=room.seq)
    entry = room.recent.get(event.seen.seq)
    if entry is not None and entry.log != event.seen.log:
        raise Refusal(Code.FORK, seq=room.seq)


def _check_share(room: RoomLog, mid: MemberId, policy: RelayPolicy) -> None:
    """Nobody may have more waiting than there is space left: so there always is for others."""
    mine = room.waiting.get(mid) or Waiting()
    events = policy.outbox_events_per_room - len(room.outbox)
    size = policy.outbox_bytes_per_room - room.outbox_bytes
    if len(mine.rows) >= events or mine.size >= size:
        raise Refused(Code.HUB_AWAY, "too much waits for the room's own relay already")


def run_queue(request: Post) -> None:
    """Keep the event for the hub; a repeat of one that is in the log gets its Ack."""
    entry, event, room = repeated(request), request.record, request.room
    if entry is not None:
        request.reply(ack(request, entry))
        return
    key = event.mid, event.sid
    known = room.outbox.get(key)
    if known is None and perhaps_old(request):
        request.effects.append(find_sid(request))
        return
    if known is None or known.event_id != request.signed.event_id:
        row = OutboxRow(
            room=room.room,
            mid=event.mid,
            sid=event.sid,
            counter=event.counter,
            event_id=request.signed.event_id,
            ts=request.now,
            record=request.signed.envelope,
            cell=request.frame.cell,
        )
        room.put_waiting(row)
        request.facts.append(OutboxStored(row))
    request.reply(frames.Queued(request.rid, request.signed.event_id, event.sid))
    request.effects.append(Stir(room.hub, room.room))


def check_forward(request: Request[Any, Any]) -> Signatures:
    """A record of the member's own, for the hub to judge; frames without one are passed on."""
    _require_thawed(request.room)
    _require_home(request)
    if request.signed_record is None:
        return ()
    # All that the hub verifies, is verified here: it blames who passes on lies.
    return request.signed_by(request.member.sign_key) + nested(request.record, request.room.state)


def run_forward(request: Request[Any, Any]) -> None:
    """Ask the hub."""
    room = request.room
    request.effects.append(
        Forward(request.link.id, room.hub, "", room.room, request.member.mid, request.frame)
    )


def check_drop_away(request: Request[frames.BlobDrop, None]) -> Signatures:
    """As at the hub, for what is stored here; and, from a member at home here, for the hub."""
    if request.link.peer is None:
        check_forward(request)
    elif not request.room.was_ordered_by(request.core.relay_id):
        raise Refused(Code.WRONG_RELAY)
    return check_drop(request)


def run_drop_away(request: Request[frames.BlobDrop, None]) -> None:
    """Forget it here too: as a hub of before this relay may have what the hub never had."""
    drop(request)
    if request.link.peer is None:
        run_forward(request)
    else:
        request.reply(frames.Done(request.rid))


def check_foreign(request: Request[Any, Any]) -> Signatures:
    """A stranger joins, through this relay, a room that another one orders."""
    if request.link.peer is not None or not request.policy.federated:
        raise Refused(Code.NOT_FEDERATED)
    record = None if request.signed_record is None else request.signed_record.record
    if not isinstance(record, JoinRequest):
        return ()
    if record.home != request.core.relay_id:
        raise Refused(Code.WRONG_RELAY)
    return request.signed_by(record.sign_key)


def run_foreign(request: Request[Any, Any]) -> None:
    """Ask the relay that the invite names."""
    frame = request.frame
    record = None if request.signed_record is None else request.signed_record.record
    joiner = None
    if isinstance(record, JoinRequest):
        joiner = member_id_of(record.sign_key)
    elif isinstance(record, JoinConfirm):
        joiner = record.mid
    room: RoomId = frame.room if record is None else record.room  # type: ignore[union-attr]
    effect = Forward(request.link.id, frame.hub, frame.hub_url, room, None, frame, joiner)
    request.effects.append(effect)


def check_arrival(request: Request[frames.Attach, Attach]) -> Signatures:
    """A member says to be at home here only now: the hub knows, and the room has to be fetched.

    Its key is not known before; its signature is checked once the room is here.
    """
    if request.link.peer is not None or not request.policy.federated:
        raise Refused(Code.NOT_FEDERATED)
    check_proof(request)
    return ()


def run_arrival(request: Request[frames.Attach, Attach]) -> None:
    """Fetch the room; this counts as a guess, since anybody can say so."""
    frame, record = request.frame, request.record
    if frame.hub is None:
        raise Refused(Code.NOT_FOUND)
    request.core.rates.spend(Rate.GUESS, request.link.id, request.now)
    request.effects.append(
        Arrive(request.link.id, frame.hub, frame.hub_url, record.room, record.mid, frame)
    )


# -- what the hub delivers -----------------------------------------------------------------------


@frozen
class Entry:
    """One entry of the room log as the hub delivered it, and the key boxes that came with it."""

    seq: int
    record: bytes = field(repr=False)
    cell: bytes = field(default=b"", repr=False)
    boxes: tuple[tuple[MemberId, bytes], ...] = field(default=(), repr=False)


@frozen
class Verified:
    """An entry that fits, with its record read, and the room's state after it."""

    entry: Entry
    signed: SignedRecord
    log: Hash32
    mid: MemberId
    state: RoomState | None = None
    """None for an event: it changes nothing."""


@define
class Walk:
    """Where the log stands while entries are verified one after another."""

    room: RoomLog
    state: RoomState
    seq: int
    log: Hash32
    senders: dict[MemberId, SenderState] = field(factory=dict)
    hashes: dict[int, Hash32] = field(factory=dict)
    moved: bool = False
    """Whether the room has moved on the way: what is known of senders here is of before that."""

    def hash_at(self, seq: int) -> Hash32 | None:
        """L after entry `seq`, as far as it is known here."""
        if seq == self.room.seq:
            return self.room.log
        entry = self.room.recent.get(seq)
        return self.hashes.get(seq) or (None if entry is None else entry.log)

    def sender(self, mid: MemberId) -> SenderState | None:
        """The sender's last event; None where it is for the hub to say.

        So it is where the copy does not go back far enough to know, and, in a room that was moved,
        until the sender has spoken since: a hub that was a follower may know less than others do.
        What comes out must not depend on where this copy, or the hub's, begins.
        """
        state = self.state
        known = self.senders.get(mid) or (None if self.moved else self.room.senders.get(mid))
        if known is not None:
            return known if known.is_certain or not state.moved else None
        since = state.moved[-1].since if state.moved else -1
        joined = state.member(mid).joined_seq
        return (
            SenderState(0, EventId(state.room))
            if joined >= self.room.floor and joined > since
            else None
        )


def verify_entries(room: RoomLog, entries: Sequence[Entry]) -> list[Verified]:
    """Every entry verified: sender, signature, place, running hash. Raises `HubLied`.

    Changes nothing: for a worker thread, while nobody else appends to this room.
    """
    walk = Walk(room, room.state, room.seq, room.log)
    verified: list[Verified] = []
    try:
        for entry in entries:
            verified.append(_verify(walk, entry))
            if isinstance(verified[-1].signed.record, HubMove) and walk.state.hub != room.hub:
                break  # what comes next is the new hub's to deliver
    except HubLied as lied:
        lied.before = tuple(verified)
        raise
    return verified


def _verify(walk: Walk, entry: Entry) -> Verified:
    if entry.seq != walk.seq + 1:
        raise HubLied(Code.TRY_AGAIN, f"entry {entry.seq} was delivered after entry {walk.seq}")
    try:
        signed = peek(entry.record)
        record = signed.record
        if isinstance(record, Event):
            verified = _verify_event(walk, entry, signed, record)
        else:
            verified = verify_control(walk, entry, signed)
    except ProtocolError as error:
        raise HubLied(error.kind, f"entry {entry.seq}: {error}", (entry.record,)) from error
    walk.seq, walk.log = entry.seq, verified.log
    walk.hashes[entry.seq] = verified.log
    if isinstance(record, HubMove):
        walk.moved = True
        walk.senders.clear()
    return verified


def _verify_event(walk: Walk, entry: Entry, signed: SignedRecord, event: Event) -> Verified:
    state = walk.state
    member = state.member(event.mid)
    if event.room != state.room or not member.may_post:
        raise Refused(Code.FORBIDDEN)
    if event.epoch != state.epoch:
        raise Refused(Code.EPOCH_STALE)
    if event.ctl != state.ctl:
        raise Refused(Code.CTL_STALE)
    last = walk.sender(event.mid)
    if last is not None and not last.follows(event.counter):
        raise Refused(Code.COUNTER_GAP)
    if last is not None and last.is_certain and event.prev != last.last:
        raise Refused(Code.PREV_MISMATCH)
    if entry.cell and sha256(entry.cell) != event.cell_hash:
        raise Refused(Code.CELL_MISMATCH)
    open_signed(member.sign_key, entry.record)
    _check_seen(walk, entry, event.seen.seq, event.seen.log)
    walk.senders[event.mid] = SenderState(event.counter, signed.event_id)
    log = log_hash(walk.log, entry.seq, signed.event_id)
    return Verified(entry, signed, log, event.mid)


def _check_seen(walk: Walk, entry: Entry, seq: int, log: Hash32) -> None:
    """What a member has signed to have seen is what stands here, or the hub shows two histories."""
    ours = walk.hash_at(seq)
    if seq >= entry.seq or (ours is not None and ours != log):
        text = f"the sender of entry {entry.seq} was shown another log up to {seq}"
        raise HubLied(Code.FORK, text, (entry.record, walk.room.head))


def verify_control(walk: Walk, entry: Entry, signed: SignedRecord) -> Verified:
    """A control record at its place. Raises `ProtocolError`, `HubLied`; moves the walk's state."""
    record = signed.record
    if not isinstance(record, CONTROL_TYPES) or isinstance(record, Genesis):
        raise Malformed(Code.BAD_RECORD)
    open_signed(walk.state.key_of(record), entry.record)
    _check_nested(walk.state, record)
    _check_seen(walk, entry, record.seen.seq, record.seen.log)
    after = walk.state.apply(record, signed.event_id, entry.seq)
    listed = dict(record.boxes) if isinstance(record, RekeyBoxed) else {}
    for mid, box in entry.boxes:
        if listed.get(mid) != sha256(box):
            raise Refused(Code.CELL_MISMATCH, "a key box is not one that was signed")
    walk.state = after
    log = log_hash(walk.log, entry.seq, signed.event_id)
    return Verified(entry, signed, log, record.mid, after)


def _check_nested(state: RoomState, record: Control) -> None:
    """What a record brings beside its own signature: an heir's acceptance, a newcomer's keys."""
    if isinstance(record, Handover):
        check_handover(state, record)
    elif isinstance(record, Admit):
        check_keys(record.sign_key, record.enc_key)
    elif isinstance(record, UpdateKey):
        check_keys(record.enc_key)


def replicate(core: Core, room: RoomLog, entries: Sequence[Verified], now: int) -> Decision:
    """Put verified entries at the end of the copy."""
    facts: list[Fact] = []
    effects: list[Effect] = []
    for verified in entries:
        _take(core, room, verified, now, facts, effects)
    room.touched = now
    return Decision(tuple(facts), tuple(effects))


def _take(
    core: Core,
    room: RoomLog,
    verified: Verified,
    now: int,
    facts: list[Fact],
    effects: list[Effect],
) -> None:
    entry, record, before = verified.entry, verified.signed.record, room.state
    fact = room.append(verified.signed, verified.mid, now, cell=entry.cell)
    facts.append(fact)
    if isinstance(record, Event):
        if room.drop_waiting(record.mid, record.sid):
            facts.append(OutboxDropped(room.room, record.mid, record.sid))
        if record.kind is EventKind.REDACT and record.target is not None:
            owner = before.member(record.mid).is_owner
            facts.append(CellRedacted(room.room, record.target, record.mid, owner))
            target = room.by_event.get(record.target)
            if target is not None:
                effects.append(Redacted(room.room, target.seq))
        delivery = frames.Delivery(room.room, fact.seq, fact.record, fact.cell)
        effects.append(Appended(room.room, fact.seq, delivery))
        return
    if verified.state is not None and isinstance(record, CONTROL_TYPES):
        room.advance(record, verified.state)
    boxes = dict(entry.boxes)
    facts += [BoxStored(room.room, fact.seq, mid, box) for mid, box in boxes.items()]
    take_members_change(core, room, before, verified.signed, facts, effects)
    changed = before.homes != room.state.homes
    delivery = frames.Delivery(room.room, fact.seq, fact.record)
    effects.append(Appended(room.room, fact.seq, delivery, boxes, changed))


def take_members_change(
    core: Core,
    room: RoomLog,
    before: RoomState,
    signed: SignedRecord,
    facts: list[Fact],
    effects: list[Effect],
) -> None:
    """Who is no longer a member, or at home here, gets nothing more; what waits of theirs goes.

    Where the room has moved, its copy here has another hub from now on.
    """
    record = signed.record
    if isinstance(record, Home):
        leave_lanes(core, record)
        if record.home != core.relay_id:
            facts += _drop_outbox(room, record.mid)  # its sender has it, and sends it from there
    if isinstance(record, HubMove):
        facts += room.settle_senders(core.relay_id)
        if room.ahead == room.state.hub:
            room.ahead = None
        elif room.ahead is None:
            change_hub(core, room, before, facts, effects)
    for mid in before.members:
        if mid in room.state.members:
            continue
        told = frames.Removed(room.room, room.state.departed[mid].value, signed.envelope)
        for link in core.links.of_member(room.room, mid):
            effects += [Push(link, told), Unsubscribe(link, room.room)]
        facts += _drop_outbox(room, mid)


def _drop_outbox(room: RoomLog, mid: MemberId) -> list[Fact]:
    """Nothing of this member's waits here any more."""
    keys = [key for key in room.outbox if key[0] == mid]
    for key in keys:
        room.drop_waiting(*key)
    return [OutboxDropped(room.room, *key) for key in keys]


def accept_head(room: RoomLog, head: LogHead, envelope: bytes) -> Decision | None:
    """A LOG_HEAD of the hub's, whose signature was verified; None: the copy is not that far yet.

    Raises `HubLied` where the hub signed another log than it delivered.
    """
    if head.seq > room.seq:
        return None
    ours = room.log_before(head.seq + 1) if head.seq < room.seq else room.log
    if ours is None:
        return Decision()
    if ours != head.log:
        text = f"the hub signed another log up to {head.seq} than it delivered"
        raise HubLied(Code.FORK, text, (room.head, envelope))
    if room.head and getattr(peek(room.head).record, "seq", 0) >= head.seq:
        return Decision()
    room.head = envelope
    return Decision((HeadKept(room.room, head.seq, envelope),))


def freeze(core: Core, room: RoomLog, lied: HubLied, key: PublicKey | None, now: int) -> Decision:
    """Keep the evidence; where it proves two histories, take nothing more and tell all who read."""
    if room.frozen:
        return Decision()  # what was kept when it froze is enough
    facts: list[Fact] = []
    if lied.records:
        facts.append(EvidenceKept(room.room, now, lied.kind.value, lied.records))
    if not lied.is_proof:
        return Decision(tuple(facts))
    room.frozen = lied.kind.value
    facts.append(RoomFrozen(room.room, room.frozen))
    told = frames.Evidence(room.room, room.frozen, key=key, records=lied.records)
    effects = tuple(Push(link, told) for link in core.links.attached(room.room))
    return Decision(tuple(facts), effects)


# -- the copy begins -----------------------------------------------------------------------------


def copy_floor(chain: Sequence[ChainRecord], room: RoomId, home: RelayId) -> int:
    """Where a copy has to begin: whoever is, or comes to be, at home here reads nothing before it.

    Raises `HubLied`.
    """
    whole, _ = found_copy(chain, room, chain[-1].seq + 1, Hash32(bytes(32)), 0)
    state = whole.state
    starts = [member.history_from for member in state.members.values() if member.home == home]
    return max(1, min([state.epoch_seq + 1, *starts]))


def found_copy(
    chain: Sequence[ChainRecord], room: RoomId, floor: int, log: Hash32, now: int
) -> tuple[RoomLog, list[Fact]]:
    """A copy that begins at `floor`, from the control log before it. Raises `HubLied`.

    `log` is the running hash before `floor`: the hub's word, which its members check by what
    their admitters told them.
    """
    try:
        first, *rest = [peek(stored.record) for stored in chain if stored.seq < floor]
        genesis = first.record
        if not isinstance(genesis, Genesis):
            raise Malformed(Code.BAD_RECORD)
        open_signed(genesis.sign_key, first.envelope)
        state = found(genesis, first.payload)
        if state.room != room:
            raise Refused(Code.NOT_FOUND)
        copy = RoomLog.founded(first)
        now_hub = _hub_of(chain)
        copy.chain[first.event_id] = 0
        copy.chain_bytes = sum(chain_size(stored.record) for stored in chain)
        for stored, signed in zip(chain[1:], rest, strict=False):
            record = signed.record
            if not isinstance(record, CONTROL_TYPES):
                raise Malformed(Code.BAD_RECORD)
            open_signed(copy.state.key_of(record), signed.envelope)
            _check_nested(copy.state, record)
            copy.advance(record, copy.state.apply(record, signed.event_id, stored.seq))
    except (ProtocolError, ValueError) as error:
        text = f"the hub shows a false control log: {error}"
        raise HubLied(Code.BAD_RECORD, text) from error
    copy.seq, copy.log, copy.floor = floor - 1, log, floor
    copy.ahead = now_hub if now_hub != copy.state.hub else None
    copy.touched = now
    facts: list[Fact] = [
        RoomFounded(room, copy.state.root, now, floor, log),
        ReplicaFounded(room, copy.hub),
    ]
    for stored in chain:
        if stored.seq < floor:
            mid = _author(stored)
            facts.append(ChainCopied(room, stored.seq, stored.event_id, mid, stored.record, now))
    return copy, facts


def _hub_of(chain: Sequence[ChainRecord]) -> RelayId | None:
    """The hub that a control log names at its end; what of it is true, shows when it is applied."""
    records = (peek(stored.record).record for stored in reversed(chain))
    for record in records:
        if isinstance(record, HubMove):
            return record.hub
        if isinstance(record, Genesis):
            return record.relay_id
    return None


def _author(stored: ChainRecord) -> MemberId:
    record: Any = peek(stored.record).record
    return member_id_of(record.sign_key) if isinstance(record, Genesis) else record.mid


# -- what comes back -----------------------------------------------------------------------------


_BEHIND: Final = frames.Failure(0, Code.COUNTER_GAP.value, SENTENCES[Code.COUNTER_GAP])
"""Of an event behind a refused one: what was wrong with that one says nothing of this one."""


def return_events(
    core: Core, room: RoomLog, mid: MemberId, counter: int, failure: frames.Failure
) -> Decision:
    """The hub refused event `counter` of `mid`: it and all behind it go back to their sender."""
    rows = sorted(
        (row for row in room.outbox.values() if row.mid == mid and row.counter >= counter),
        key=lambda row: row.counter,
    )
    facts: list[Fact] = []
    effects: list[Effect] = []
    for row in rows:
        room.drop_waiting(row.mid, row.sid)
        facts.append(OutboxDropped(room.room, row.mid, row.sid))
        why = failure if row.counter == counter else _BEHIND
        told = frames.Returned(
            room.room, row.sid, row.event_id, why.code, why.text, why.seq, why.event_id
        )
        effects += [Push(link, told) for link in core.links.of_member(room.room, mid)]
    return Decision(tuple(facts), tuple(effects))


def has_come_to(
    core: Core, room: RoomLog, mid: MemberId, counter: int, event_id: EventId
) -> Decision:
    """Event `counter` of `mid`, which waits here, is the last of theirs that the hub has.

    It, and what came before it, stands in a stretch that is nowhere to be had. The sender's client
    learns from ATTACH that it was said.
    """
    rows = [row for row in room.outbox.values() if row.mid == mid and row.counter <= counter]
    for row in rows:
        room.drop_waiting(row.mid, row.sid)
    last = SenderState(counter, event_id)
    room.senders[mid] = last
    facts: list[Fact] = [OutboxDropped(room.room, row.mid, row.sid) for row in rows]
    told = frames.Failure(0, Code.TRY_AGAIN.value, SENTENCES[Code.TRY_AGAIN])
    effects = tuple(Close(link, told) for link in core.links.of_member(room.room, mid))
    return Decision((*facts, SenderLearnt(room.room, mid, last)), effects)


def expire_outbox(core: Core, room: RoomLog, now: int) -> Decision:
    """What waited too long goes back, with all that its sender said after it."""
    facts: list[Fact] = []
    effects: list[Effect] = []
    oldest: dict[MemberId, int] = {}
    for row in room.outbox.values():
        if now - row.ts > core.policy.outbox_days * DAY_MS:
            oldest[row.mid] = min(row.counter, oldest.get(row.mid, row.counter))
    for mid, counter in oldest.items():
        text = "the room's own relay could not be reached for too long"
        failure = frames.Failure(0, Code.EXPIRED.value, text)
        decision = return_events(core, room, mid, counter, failure)
        facts += decision.facts
        effects += decision.effects
    return Decision(tuple(facts), tuple(effects))
