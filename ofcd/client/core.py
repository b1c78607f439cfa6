"""What every part of a room's machine shares: the room's state as of the last entry taken."""

from __future__ import annotations

from attrs import define, evolve, field

from ofcd.client import ownkeys, proofs
from ofcd.client.archive import Archive, Entry, Kind
from ofcd.client.errors import ClientError, NotAllowed, RoomFrozen, VaultDamaged
from ofcd.client.events import Alarm, AlarmKind, MemberReached, RoomStateChanged, RoomStatus
from ofcd.client.model import ROOMS, Head, Identity, Sender, Tables, load, number_key, save
from ofcd.client.proofs import Shows
from ofcd.client.turn import Turn
from ofcd.client.vault import Reader
from ofcd.client.waiting import Misfit
from ofcd.e2e.errors import Fault, LogBroken
from ofcd.e2e.keys import EpochKeys, MemberKeys
from ofcd.e2e.log import WINDOW, RoomLog, SenderHead, Senders
from ofcd.e2e.view import View
from ofcd.protocol import limits
from ofcd.protocol.codes import SENTENCES, Code, Refused
from ofcd.protocol.ids import EventId, Hash32, MemberId, RoomId
from ofcd.protocol.records import CONTROL_TYPES, Genesis, HubMove, Seen
from ofcd.protocol.room import RoomState, found
from ofcd.themis import KeyPair, generate_keypair
from ofcd.themis.signed import SignedRecord, peek

__all__ = ["Core", "load_core", "refusal"]

_KEY: bytes = b"key/"
_SENDER: bytes = b"sender/"
_AHEAD: bytes = b"ahead"
_VOIDED_KEPT = 256
_UNPROVEN = (
    "your relay says that this room's own relay shows two histories, but proves nothing: the room "
    "is not frozen here; ask your relay's operator"
)
_BY_PROOF = frozenset({Fault.FORK.value, Fault.EQUIVOCATION.value})
"""Why a room is frozen that root's next move by force thaws: somebody has signed two histories."""
_BY_WORD = frozenset({Misfit.HUB_BEHIND.value, Misfit.FORK.value})
"""Words of the relay for which a room once was frozen, with no evidence."""
_REMOVAL_VOID = (
    "you had been removed from this room, and are in it again: root moved it to a relay whose copy "
    "does not have that"
)
_FINAL = frozenset({RoomStatus.LEFT, RoomStatus.EVICTED, RoomStatus.CLOSED})


@define(eq=False)
class Core:
    """One room in memory; everything here is also in the vault, or follows from it."""

    identity: Identity
    head: Head
    view: View
    """What is verified so far; immutable, and replaced only as a whole."""
    archive: Archive
    tables: Tables
    names: dict[MemberId, str] = field(factory=dict)
    reached: dict[MemberId, int] = field(factory=dict)
    """The last entry that each member's own signature proves its device to have."""
    misfit: tuple[Misfit, int] | None = None
    """What the relay has just said that does not fit, and where its log ends: see `doubt`."""
    told: set[AlarmKind] = field(factory=set)
    """What people were told of on this link, and are not again."""

    @property
    def room(self) -> RoomId:
        """The room's id."""
        return self.identity.room

    @property
    def mine(self) -> MemberKeys:
        """This client's keys in the room."""
        return self.view.mine

    @property
    def state(self) -> RoomState:
        """What the control log says."""
        return self.view.state

    @property
    def keys(self) -> EpochKeys:
        """The room keys held."""
        return self.view.keys

    @property
    def log(self) -> RoomLog:
        """The room log's running hash."""
        return self.view.log

    @property
    def me(self) -> MemberId:
        """This client's member id."""
        return self.mine.mid

    @property
    def is_away(self) -> bool:
        """Whether the room is another relay's than this client's own."""
        return self.identity.relay_id != self.state.hub

    @property
    def is_owner(self) -> bool:
        """Whether this client is root or co-owner now."""
        member = self.state.members.get(self.me)
        return member is not None and member.is_owner

    # -- the head --------------------------------------------------------------------------------

    def save_head(self, turn: Turn, **changes: object) -> None:
        """Change the head, here and in the vault."""
        self.head = evolve(self.head, **changes)  # type: ignore[arg-type]
        turn.records.put(self.tables.state, b"head", save(self.head))

    def set_status(self, turn: Turn, status: RoomStatus, code: str = "") -> None:
        """Change what can be done in the room, and say so. A final status stays.

        So does what froze the room: no relay's word takes a proof back.
        """
        before = self.head.status, self.head.code
        is_frozen = before[0] is RoomStatus.FROZEN
        if before[0] in _FINAL or before == (status, code) or (is_frozen and status not in _FINAL):
            return
        self._set_status(turn, status, code)

    def _set_status(self, turn: Turn, status: RoomStatus, code: str = "") -> None:
        self.save_head(turn, status=status, code=code)
        turn.tell(RoomStateChanged(self.room, status, code))

    def come_back(self, turn: Turn) -> None:
        """What put this member out came to nothing: the one thing that undoes an eviction."""
        if self.head.status is RoomStatus.EVICTED and self.me in self.state.members:
            self.save_head(turn, may_return=False)
            self._set_status(turn, RoomStatus.ACTIVE)
            turn.tell(Alarm(self.room, AlarmKind.REMOVAL_VOID, _REMOVAL_VOID))

    def thaw(self, turn: Turn) -> None:
        """Root has moved the room by force, and so said which of two histories goes on."""
        if self.head.status is RoomStatus.FROZEN and self.head.code in _BY_PROOF:
            self._set_status(turn, RoomStatus.ACTIVE)

    @property
    def is_tried(self) -> bool:
        """Whether it is frozen, and read on at another relay: root may have moved it there."""
        return self.head.status is RoomStatus.FROZEN and self.head.back_to is not None

    def note_term(self, turn: Turn, move: HubMove) -> None:
        """This member signed that, or is about to have it sent: no later one is to count less."""
        signed = max(self.head.signed_term, move.term)
        forced = max(self.head.forced_term, move.term) if move.force else self.head.forced_term
        if (signed, forced) != (self.head.signed_term, self.head.forced_term):
            self.save_head(turn, signed_term=signed, forced_term=forced)

    def vouch(self, turn: Turn, seq: int, log: Hash32) -> None:
        """The relay says that the log's running hash after `seq` is `log`: to be checked there."""
        if self.head.vouched_log is None:
            self.save_head(turn, vouched_seq=seq, vouched_log=log)

    def freeze(self, turn: Turn, broken: LogBroken, text: str = "") -> None:
        """Fork evidence: keep it, say so, and send nothing more in this room.

        Where there is none, the room waits. What is about a time that root has ended by a move by
        force is kept and said, once, and no more.
        """
        if not broken.evidence:
            self.doubt(Misfit.FORK)
            return
        was_frozen = self.head.status is RoomStatus.FROZEN
        is_past = self.is_past(turn.records, broken.seq)
        shows = Shows.OFFENCE if is_past else Shows.PROOF
        is_news = self.keep_evidence(turn, broken.evidence, shows)
        if not is_past:
            self.set_status(turn, RoomStatus.FROZEN, broken.fault.value)
        if is_news or not (is_past or was_frozen):
            turn.tell(Alarm(self.room, AlarmKind.FORK, text or str(broken), broken.seq))

    def is_past(self, records: Reader, seq: int) -> bool:
        """Whether root has moved the room by force behind entry `seq`, and so said what goes on."""
        ahead = self.ahead(records)
        is_told = ahead is not None and ahead.force and ahead.seen.seq >= seq
        return is_told or any(hub.forced and hub.since > seq for hub in self.state.moved)

    # -- a move that was told ----------------------------------------------------------------------

    def expect(self, turn: Turn, move: SignedRecord) -> None:
        """This HUB_MOVE of root's is taken, and is yet to come in the log."""
        turn.records.put(self.tables.state, _AHEAD, move.envelope)

    def expected(self, records: Reader) -> SignedRecord | None:
        """The last one that was taken, and is yet to come: no lesser one counts meanwhile.

        None where a HUB_MOVE stands behind its place, and where it is not of who is root now.
        """
        raw = records.get(self.tables.state, _AHEAD)
        kept = None if raw is None else peek(raw)
        if kept is None or not isinstance(kept.record, HubMove):
            return None
        place = kept.record.seen.seq
        is_late = any(hub.since > place for hub in self.state.moved)
        return None if is_late or kept.record.mid != self.state.root else kept

    def ahead(self, records: Reader) -> HubMove | None:
        """What `expected` says."""
        kept = self.expected(records)
        return kept.record if kept is not None and isinstance(kept.record, HubMove) else None

    def doubt(self, word: Misfit, end: int | None = None) -> None:
        """The relay, whose log ends at `end`, says what does not fit, and proves nothing.

        The room's machine then waits, and asks it again.
        """
        self.misfit = word, self.head.seq if end is None else end

    def tell_once(self, turn: Turn, kind: AlarmKind, text: str, seq: int | None = None) -> None:
        """Tell people, but once a link."""
        if kind not in self.told:
            self.told.add(kind)
            turn.tell(Alarm(self.room, kind, text, seq))

    def blame(self, turn: Turn) -> None:
        """This client's relay says that the room's forks, and proves nothing."""
        self.tell_once(turn, AlarmKind.UNPROVEN, _UNPROVEN)

    def keep_evidence(self, turn: Turn, envelopes: tuple[bytes, ...], shows: Shows) -> bool:
        """Keep what can not be true; True if some of it is new as such, and kept."""
        return proofs.keep(turn.records, self.tables, envelopes, shows)

    def evidence(self, records: Reader) -> list[bytes]:
        """The envelopes kept by `keep_evidence`, what proves most first."""
        return proofs.kept(records, self.tables)

    # -- this member's own keys ------------------------------------------------------------------

    @property
    def holds_own_key(self) -> bool:
        """Whether the encryption key that others make boxes for is here.

        It is not in a vault that was put back from a backup made before a renewal.
        """
        member = self.state.members.get(self.me)
        return member is None or member.enc_key == self.mine.enc_key

    def turn_own_key(self, turn: Turn) -> None:
        """The control log may have an UPDATE_E of ours: go on with the pair that it names."""
        member = self.state.members.get(self.me)
        mine = self.mine if member is None else self.mine.turned_to(member.enc_key)
        if mine.enc_key != self.identity.enc_public:
            self.identity = ownkeys.turn_to(turn.records, self.identity, mine.encrypt, turn.now)
            self.view = evolve(self.view, mine=mine)

    def next_own_pair(self, turn: Turn) -> KeyPair:
        """The pair that our UPDATE_E names: kept before, and the same until the log has it.

        Another one where a member has taken its public key for its own: a relay may have shown it.
        What was sent before names an older head than that, and can not be taken any more.
        """
        kept = ownkeys.load_pairs(turn.records, self.tables)
        taken = [p for p in kept if not p.replaced and self.state.is_in_use(p.public)]
        if taken:
            mine = ownkeys.forget(turn.records, self.tables, self.mine, taken)
            self.view = evolve(self.view, mine=mine)
        pair = next((p.pair for p in kept if not p.replaced and p not in taken), None)
        if pair is None:
            pair = generate_keypair()
            ownkeys.keep_next(turn.records, self.tables, pair)
            self.view = evolve(self.view, mine=self.mine.holding(pair))
        return pair

    def forget_own_keys(self, turn: Turn, kept_for: int) -> None:
        """Delete the keys that were replaced so many milliseconds ago, or by a clock far ahead."""
        kept = ownkeys.load_pairs(turn.records, self.tables)
        ages = ((pair, turn.now - pair.replaced) for pair in kept if pair.replaced)
        due = [pair for pair, age in ages if age >= kept_for or age < -ownkeys.FORMER_KEPT]
        if due:
            mine = ownkeys.forget(turn.records, self.tables, self.mine, due)
            self.view = evolve(self.view, mine=mine)

    @property
    def needs_boxed(self) -> bool:
        """Whether this owner's next REKEY is a boxed one."""
        state = self.state
        return state.boxed_required or state.epoch not in self.keys or self.is_spent

    @property
    def is_spent(self) -> bool:
        """Whether this member may not renew its key again before a boxed REKEY.

        An owner then makes one: were this key lost once more, it could box for nobody.
        """
        member = self.state.members.get(self.me)
        return member is not None and member.renewals >= limits.KEY_RENEWALS

    def state_before(self, records: Reader, seq: int) -> RoomState:
        """The room's state just before entry `seq`, as the archive's control records tell it."""
        earlier = max(number for number, _ in self.archive.chain(records) if number < seq)
        return _replay(records, self.archive, self.room, earlier)

    # -- keys and senders --------------------------------------------------------------------------

    def adopt(self, turn: Turn, keys: EpochKeys) -> None:
        """Take these keys for the ones held, in the vault too."""
        held = {key for key, _ in turn.records.items(self.tables.state, _KEY, b"key0")}
        wanted = {number_key(epoch, _KEY): key for epoch, key in keys.keys.items()}
        for record_id in held - wanted.keys():
            turn.records.delete(self.tables.state, record_id)
        for record_id in wanted.keys() - held:
            turn.records.put(self.tables.state, record_id, wanted[record_id])
        self.view = evolve(self.view, keys=keys)

    def save_sender(self, turn: Turn, mid: MemberId) -> None:
        """Keep a sender's chain and name."""
        head = self.view.senders.heads.get(mid)
        kept = Sender(name=self.names.get(mid, ""), reached=self.reached.get(mid, -1))
        if head is not None:
            kept = evolve(
                kept,
                counter=head.counter,
                last=head.event_id,
                sid=head.sid,
                voided=head.voided,
                certain=head.certain,
            )
        turn.records.put(self.tables.state, _SENDER + mid, save(kept))

    def note_reached(self, turn: Turn, mid: MemberId, seen: Seen) -> None:
        """`mid` has signed `seen`: if its log is ours there, it has every entry up to there."""
        before = self.reached.get(mid, -1)
        if seen.seq <= before or self.checked_hash(turn.records, seen.seq) != seen.log:
            return
        self.reached[mid] = seen.seq
        self.save_sender(turn, mid)
        if mid != self.me and before < self.head.own_seq:
            turn.tell(MemberReached(self.room, mid, seen.seq))

    def is_new(self, entry: Entry) -> bool:
        """Whether it is a message of others that its person has not read in a part now void."""
        is_said = entry.kind is Kind.MESSAGE and not entry.code
        return is_said and entry.mid != self.me and not entry.read

    # -- what may be done --------------------------------------------------------------------------

    def check_usable(self) -> None:
        """Raises `RoomFrozen` or `NotAllowed` where nothing can be sent any more."""
        if self.head.status is RoomStatus.FROZEN:
            code = self.head.code
            raise RoomFrozen(f"nothing is sent in this room any more ({code}): {refusal(code)}")
        if self.head.status in _FINAL:
            raise refusal(self.head.code or self.head.status.value)

    def checked_hash(self, records: Reader, seq: int) -> Hash32 | None:
        """The running hash after entry `seq`, from memory or the archive."""
        known = self.log.hash_at(seq)
        if known is not None:
            return known
        return self.archive.hash_at(records, seq)

    def save_own(self, turn: Turn, counter: int, last: EventId) -> None:
        """This client's last accepted event."""
        voided = tuple(void for void in self.head.voided if void[0] > counter)
        self.save_head(turn, counter=counter, last=last, voided=voided)

    def save_void(self, turn: Turn, counter: int, event_id: EventId) -> None:
        """An own event that was signed and will not be: the one that takes its counter says so."""
        if counter > self.head.counter:
            voided = (*self.head.voided, (counter, event_id))[-_VOIDED_KEPT:]
            self.save_head(turn, voided=voided)

    def next_own(self) -> tuple[int, EventId]:
        """Counter and `prev` of this client's next event."""
        last = self.head.last
        return self.head.counter + 1, EventId(self.room) if last is None else last


def refusal(code: str) -> ClientError:
    """`NotAllowed` with the protocol's sentence for this code."""
    try:
        return NotAllowed(code, SENTENCES[Code(code)])
    except ValueError:
        return NotAllowed(code, f"this is not possible in this room ({code})")


# -- from the vault ----------------------------------------------------------------------------


def load_core(records: Reader, room: RoomId) -> Core:
    """The room as the vault has it. Its history stays closed, but for the control log."""
    tables = Tables(room)
    raw_identity, raw_head = records.get(ROOMS, room), records.get(tables.state, b"head")
    if raw_identity is None or raw_head is None:
        raise VaultDamaged(f"the vault has lost the state of room {room.hex()}")
    identity, head = load(Identity, raw_identity), load(Head, raw_head)
    pairs = tuple(kept.pair for kept in ownkeys.load_pairs(records, tables))
    mine = evolve(identity.mine, others=pairs)
    archive = Archive(room, mine.mid, identity.former)
    heads, names, reached = _load_senders(records, tables)
    seq, log = max(head.seq, 0), head.log or Hash32(room)
    recent = archive.hashes(records, seq - WINDOW, seq) if head.begun else ()
    view = View(
        mine=mine,
        state=_replay(records, archive, room, head.ctl_seq),
        keys=EpochKeys(identity.nonce, _load_keys(records, tables)),
        log=RoomLog.resumed(room, seq, log, recent, head.start),
        senders=Senders(room, heads),
    )
    core = Core(
        identity=identity,
        head=head,
        view=view,
        archive=archive,
        tables=tables,
        names=names,
        reached=reached,
    )
    if head.status is RoomStatus.FROZEN and not core.evidence(records) and head.code in _BY_WORD:
        core.head = evolve(head, status=RoomStatus.WAITING)
    return core


def _load_keys(records: Reader, tables: Tables) -> dict[int, bytes]:
    return {
        int.from_bytes(key[len(_KEY) :], "big"): value
        for key, value in records.items(tables.state, _KEY, b"key0")
    }


def _load_senders(
    records: Reader, tables: Tables
) -> tuple[dict[MemberId, SenderHead], dict[MemberId, str], dict[MemberId, int]]:
    heads: dict[MemberId, SenderHead] = {}
    names: dict[MemberId, str] = {}
    reached: dict[MemberId, int] = {}
    for key, raw in records.items(tables.state, _SENDER, b"sender0"):
        mid, kept = MemberId(key[len(_SENDER) :]), load(Sender, raw)
        if kept.name:
            names[mid] = kept.name
        if kept.reached >= 0:
            reached[mid] = kept.reached
        if kept.last is not None and kept.sid is not None:
            heads[mid] = SenderHead(kept.counter, kept.last, kept.sid, kept.voided, kept.certain)
    return heads, names, reached


def _replay(records: Reader, archive: Archive, room: RoomId, ctl_seq: int) -> RoomState:
    """The control log's state; each record was verified before it was kept, so only its rules."""
    damaged = VaultDamaged(f"the vault has lost part of the control log of room {room.hex()}")
    state: RoomState | None = None
    for seq, envelope in archive.chain(records):
        if seq > ctl_seq:
            break
        signed = peek(envelope)
        record = signed.record
        try:
            if state is None and isinstance(record, Genesis):
                state = found(record, signed.payload)
            elif state is not None and isinstance(record, CONTROL_TYPES):
                state = state.apply(record, signed.event_id, seq)
        except Refused:
            raise damaged from None
    if state is None or state.room != room or state.seq != ctl_seq:
        raise damaged
    return state
