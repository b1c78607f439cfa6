"""The archive of one room: every entry of its log that this client has seen, and how it reads now.

An entry is written once, when it is delivered; edits, reactions and redactions later change the
entry they are about. Nothing is opened but what is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Any, Final

from attrs import evolve, field, frozen

from ofcd.client.events import (
    FileInfo,
    HandedOver,
    HandoverOffered,
    HomeChanged,
    HubMoved,
    InviteClosed,
    InviteOpened,
    LoggedEvent,
    MemberJoined,
    MemberLeft,
    Message,
    MessageEdited,
    MessageInvalid,
    MessageReacted,
    MessageReceived,
    MessageRedacted,
    MessageUnreadable,
    NameChanged,
    RoleChanged,
    RoomFounded,
    RoomRenamed,
    Rotated,
)
from ofcd.client.model import Tables, load, number_key, save
from ofcd.client.vault import Reader, Records
from ofcd.e2e import bodies
from ofcd.e2e.bodies import Body, decode_body
from ofcd.e2e.names import display_name
from ofcd.protocol.codes import Malformed
from ofcd.protocol.ids import EventId, Hash32, MemberId, RoomId, Sid, member_id_of
from ofcd.protocol.records import (
    Admit,
    Cap,
    Genesis,
    Grant,
    Handover,
    Home,
    HubMove,
    InviteClose,
    InviteOpen,
    Leave,
    RekeyBoxed,
    RekeyRoutine,
)
from ofcd.themis.signed import SignedRecord, peek

__all__ = ["VOID", "Archive", "Entry", "Kind"]

_HASHES: Final = 128
"""Running hashes in one record: few enough to rewrite with every entry."""
_HASH_BYTES: Final = 32
_EARLIER: Final = 7
"""Former ids of one message that are kept beside the first."""
VOID: Final = "void"
"""The code of an entry that stood in the log, and does not any more."""


class Kind(StrEnum):
    """What an entry of the archive is."""

    CONTROL = "control"
    MESSAGE = "message"
    EDIT = "edit"
    REACTION = "reaction"
    REDACTION = "redaction"
    PROFILE = "profile"
    ROOM = "room"
    OFFER = "offer"
    SILENT = "silent"
    """Valid, but nothing that a person is shown: a beat, a message once more, an edit in vain."""
    INVALID = "invalid"
    PARKED = "parked"
    """Waits for its key."""
    UNREADABLE = "unreadable"
    """Its key will never come."""


_LAST_TIME: Final = 253_402_128_000_000
"""Two days before the last moment that a date of Python's names in any zone. Milliseconds."""


def _in_calendar(ts: int) -> int:
    """A member's clock may say anything; what is made of it for people must not fail."""
    return min(ts, _LAST_TIME)


@frozen
class Entry:
    """One entry of the room log as this client keeps it."""

    seq: int
    event_id: EventId
    mid: MemberId
    ts: int = field(converter=_in_calendar)
    """What its sender's clock said."""
    kind: Kind
    received: int = 0
    """When it came here: our own clock."""
    sid: Sid | None = None
    epoch: int = 0
    body: bytes = field(default=b"", repr=False)
    """The message's plaintext."""
    target_seq: int = -1
    edited: bytes = field(default=b"", repr=False)
    """Plaintext of the last valid edit."""
    redacted_by: MemberId | None = None
    reactions: tuple[tuple[str, tuple[MemberId, ...]], ...] = ()
    code: str = ""
    """Why it is invalid, or can not be read."""
    before: str = ""
    """The name that a profile or room entry replaced."""
    caps: tuple[Cap, ...] = ()
    """The sender's when it spoke; for parked entries."""
    record: bytes = field(default=b"", repr=False)
    cell: bytes = field(default=b"", repr=False)
    """Envelope and cell of a parked entry."""
    again: bool = False
    """It stood in the log before, in a part that came to nothing, and applications had it then."""
    read: bool = False
    """So it did, and its person had read it."""
    earlier: tuple[EventId, ...] = ()
    """Its ids there, the first one first."""
    counter: int = 0
    """Its sender's, if it was redacted: the body told it before."""
    own: tuple[int, EventId] | None = None
    """Its counter and `prev`, if it is this member's own."""

    @property
    def first_id(self) -> EventId:
        """The id under which applications first had it."""
        return self.earlier[0] if self.earlier else self.event_id

    @property
    def number(self) -> int | None:
        """Its sender's counter, where that is known here."""
        if self.own is not None:
            return self.own[0]
        body = _decode(self.body)
        return self.counter or None if body is None else body.counter


class Archive:
    """One room's entries in the vault."""

    def __init__(self, room: RoomId, me: MemberId, former: tuple[MemberId, ...] = ()) -> None:
        """`me` is this client's own member id there, `former` are those it had before."""
        self.room = room
        self._mine = frozenset({me, *former})
        tables = Tables(room)
        self._log = tables.archive("log")
        self._ids = tables.archive("ids")
        self._chain = tables.archive("chain")
        self._parked = tables.archive("parked")
        self._titles = tables.archive("titles")
        self._hashes = tables.archive("hashes")
        self._sids = tables.archive("sids")
        self._void = tables.archive("void")
        self._taken = tables.archive("taken")

    # -- writing ---------------------------------------------------------------------------------

    def add(self, records: Records, entry: Entry) -> None:
        """Keep a new entry."""
        key = number_key(entry.seq)
        records.put(self._log, key, save(entry))
        if records.get(self._ids, entry.event_id) is None:  # a replay takes nobody's place
            records.put(self._ids, entry.event_id, key)
        self._list(records, entry)

    def replace(self, records: Records, entry: Entry) -> None:
        """Keep what became of an entry."""
        key = number_key(entry.seq)
        records.put(self._log, key, save(entry))
        if entry.kind is not Kind.PARKED:
            records.delete(self._parked, key)
        self._list(records, entry)

    def _list(self, records: Records, entry: Entry) -> None:
        """Entries that are looked for by their kind can be found without reading the log."""
        table = {Kind.PARKED: self._parked, Kind.ROOM: self._titles}.get(entry.kind)
        if table is not None:
            records.put(table, number_key(entry.seq), b"")

    def add_control(self, records: Records, seq: int, envelope: bytes) -> None:
        """Keep a control record verbatim."""
        records.put(self._chain, number_key(seq), envelope)

    def add_hash(self, records: Records, seq: int, log: Hash32) -> None:
        """Keep the log's running hash after entry `seq`, the one after the last kept."""
        block, place = divmod(seq, _HASHES)
        key = number_key(block)
        before = (records.get(self._hashes, key) or b"")[: place * _HASH_BYTES]
        # A log that begins inside a block has nothing to say of what stands before.
        padded = before.ljust(place * _HASH_BYTES, b"\0")
        records.put(self._hashes, key, padded + log)

    def take_back(self, records: Records, end: int, done: int, read: int) -> list[Entry]:
        """Nothing stands behind entry `end` any more: what did is set aside, and returned.

        Up to entry `done` every application has done with it, and up to `read` its person has.
        """
        gone = list(self.entries(records, end + 1))
        for entry in gone:
            key = number_key(entry.seq)
            records.delete(self._log, key)
            records.delete(self._parked, key)
            records.delete(self._titles, key)
            for event_id in (entry.event_id, *entry.earlier):
                if records.get(self._ids, event_id) == key:
                    records.delete(self._ids, event_id)
            if entry.sid is not None and entry.mid in self._mine:
                records.delete(self._sids, entry.sid)
            aside = evolve(
                entry,
                code=entry.code or VOID,
                record=b"",
                cell=b"",
                again=entry.again or entry.seq <= done,
                read=entry.read or entry.seq <= read,
            )
            records.put(self._void, _void_key(entry), save(aside))
            if entry.redacted_by in self._mine:
                self.take_back_again(records, entry)
        for seq, _ in list(self.chain(records, end + 1)):
            records.delete(self._chain, number_key(seq))
        block, place = divmod(end + 1, _HASHES)
        for key, raw in list(records.items(self._hashes, number_key(block))):
            if key == number_key(block) and place:
                records.put(self._hashes, key, raw[: place * _HASH_BYTES])
            else:
                records.delete(self._hashes, key)
        return gone

    def said_again(self, records: Records, entry: Entry) -> Entry:
        """A new entry, with what is known of it if it stood in the log before, and is void there.

        That is the same event; or the same words of the same member under the same sid. Other
        words are another message, and what is void stays so.
        """
        for key, raw in list(records.items(self._void, *_void_range(entry))):
            aside = load(Entry, raw)
            if aside.event_id != entry.event_id and not self._says_the_same(aside, entry):
                continue
            records.delete(self._void, key)
            first, *more = dict.fromkeys((*aside.earlier, aside.event_id))
            ids = (first, *more[-_EARLIER:])
            for event_id in ids:
                if records.get(self._ids, event_id) is None:
                    records.put(self._ids, event_id, number_key(entry.seq))
            earlier = () if ids == (entry.event_id,) else ids
            return evolve(entry, again=aside.again, read=aside.read, earlier=earlier)
        return entry

    def take_back_again(self, records: Records, entry: Entry) -> None:
        """This member has taken it back, and it is void: done anew each time it is said again."""
        if entry.sid is not None:
            records.put(self._taken, entry.mid + entry.sid, b"")

    def was_taken_back(self, records: Records, mid: MemberId, sid: Sid) -> bool:
        """Whether this member had taken this message back before it came to nothing.

        It is void no more, then.
        """
        start = mid + sid
        if records.get(self._taken, start) is None:
            return False
        for key, raw in list(records.items(self._void, start, start + b"\xff" * 33)):
            if load(Entry, raw).redacted_by in self._mine:
                records.delete(self._void, key)
        return True

    def _says_the_same(self, aside: Entry, entry: Entry) -> bool:
        """Whether both are the same words; those of a text that was edited are its last ones."""
        before, now = _decode(aside.body), _decode(entry.body)
        if before is None or now is None or before.via != now.via:
            return False
        return now.content in (before.content, self.as_it_reads(aside))

    # -- reading ---------------------------------------------------------------------------------

    def void(self, records: Reader) -> list[Entry]:
        """What stood in the log, came to nothing, and was not said again; in its order."""
        found = (load(Entry, raw) for _, raw in records.items(self._void))
        return sorted(found, key=lambda entry: (entry.received, entry.seq))

    def entry(self, records: Reader, seq: int) -> Entry | None:
        """Entry number `seq`."""
        raw = records.get(self._log, number_key(seq)) if seq >= 0 else None
        return None if raw is None else load(Entry, raw)

    def find(self, records: Reader, event_id: EventId) -> Entry | None:
        """The entry with this id; or that had it, in a part that is void, before it was said again.

        In the log itself only its `event_id` means it.
        """
        key = records.get(self._ids, event_id)
        return None if key is None else self.entry(records, int.from_bytes(key, "big"))

    def entries(
        self,
        records: Reader,
        start: int = 0,
        end: int | None = None,
        *,
        limit: int | None = None,
        newest_first: bool = False,
    ) -> Iterator[Entry]:
        """Entries with start <= seq < end."""
        stop = None if end is None else number_key(end)
        for _, raw in records.items(
            self._log, number_key(max(start, 0)), stop, limit=limit, reverse=newest_first
        ):
            yield load(Entry, raw)

    def names(self, records: Reader, end: int) -> Iterator[Entry]:
        """Entries with seq < end that give the room its name and topic, the last one first."""
        for key, _ in records.items(self._titles, number_key(0), number_key(end), reverse=True):
            entry = self.entry(records, int.from_bytes(key, "big"))
            if entry is not None and entry.kind is Kind.ROOM:
                yield entry

    def hash_at(self, records: Reader, seq: int) -> Hash32 | None:
        """The log's running hash after entry `seq`, if it is kept."""
        found = self.hashes(records, seq, seq)
        return found[0] if found else None

    def hashes(self, records: Reader, first: int, last: int) -> tuple[Hash32, ...]:
        """The running hashes kept after entries `first` to `last`; those at the front may lack."""
        first = max(first, 0)
        found: list[Hash32] = []
        for block in range(first // _HASHES, last // _HASHES + 1):
            raw = records.get(self._hashes, number_key(block)) or b""
            for seq in range(max(first, block * _HASHES), min(last + 1, (block + 1) * _HASHES)):
                at = (seq % _HASHES) * _HASH_BYTES
                one = raw[at : at + _HASH_BYTES]
                if len(one) < _HASH_BYTES or one == bytes(_HASH_BYTES):
                    found.clear()
                else:
                    found.append(Hash32(one))
        return tuple(found)

    def parked(self, records: Reader) -> list[int]:
        """The seqs of entries that wait for a key, in order."""
        return [int.from_bytes(key, "big") for key, _ in records.items(self._parked)]

    def chain(self, records: Reader, start: int = 0) -> Iterator[tuple[int, bytes]]:
        """Control records from seq `start` on: (seq, envelope)."""
        for key, envelope in records.items(self._chain, number_key(start)):
            yield int.from_bytes(key, "big"), envelope

    def control(self, records: Reader, seq: int) -> SignedRecord | None:
        """The control record at `seq`, verified when it came."""
        envelope = records.get(self._chain, number_key(seq))
        return None if envelope is None else peek(envelope)

    # -- as the application sees it ----------------------------------------------------------------

    def content(self, entry: Entry) -> bodies.Content | None:
        """What the entry says, as it was sent; None where there is nothing to read."""
        body = _decode(entry.body)
        return None if body is None else body.content

    def as_it_reads(self, entry: Entry) -> bodies.Content | None:
        """The same with the last edit of a text in it."""
        content, edit = self.content(entry), _decode(entry.edited)
        if isinstance(content, bodies.Text) and edit and isinstance(edit.content, bodies.Edit):
            now = edit.content
            return evolve(content, text=now.text, format=now.format, mentions=now.mentions)
        return content

    def message(self, entry: Entry) -> Message:
        """A message entry as it reads now."""
        body = _decode(entry.body)
        made = Message(
            room=self.room,
            seq=entry.seq,
            event_id=entry.event_id,
            mid=entry.mid,
            name="" if body is None else display_name(body.name),
            ts=entry.ts,
            sid=entry.sid or Sid(b""),
            redacted_by=entry.redacted_by,
            reactions=entry.reactions,
            mine=entry.mid in self._mine,
            again=entry.again,
            earlier=entry.earlier,
        )
        if body is None:
            return evolve(made, unreadable=entry.code or entry.kind.value)
        return self._filled(made, body, _decode(entry.edited))

    def event(self, records: Reader, entry: Entry, cuts: int = 0) -> LoggedEvent | None:
        """The logged event that this entry is for the application, if it is one.

        `cuts`: how often the log has lost its end.
        """
        common: dict[str, Any] = {
            "room": self.room,
            "seq": entry.seq,
            "event_id": entry.event_id,
            "mid": entry.mid,
            "ts": entry.ts,
            "again": entry.again,
            "earlier": entry.earlier,
            "cuts": cuts,
        }
        match entry.kind:
            case Kind.CONTROL:
                return self._control_event(records, entry.seq, common)
            case Kind.MESSAGE:
                return MessageReceived(**common, message=self.message(entry))
            case Kind.EDIT:
                target = self.entry(records, entry.target_seq)
                return MessageEdited(**common, message=self.message(target)) if target else None
            case Kind.REDACTION | Kind.REACTION:
                return self._aimed_event(records, entry, common)
            case Kind.PROFILE | Kind.ROOM | Kind.OFFER:
                return self._said_event(entry, common)
            case Kind.INVALID:
                return MessageInvalid(**common, reason=entry.code)
            case Kind.UNREADABLE:
                return MessageUnreadable(**common, epoch=entry.epoch)
            case _:
                return None

    def _filled(self, made: Message, body: Body, edit: Body | None) -> Message:
        content = body.content
        made = evolve(made, via=body.via, hops=body.hops)
        if isinstance(content, bodies.Text):
            now = edit.content if edit is not None else content
            if not isinstance(now, bodies.Text | bodies.Edit):
                now = content
            return evolve(
                made,
                text=now.text,
                format=now.format.value,
                mentions=now.mentions,
                reply_to=content.reply_to,
                thread=content.thread,
                edited=edit is not None,
            )
        if isinstance(content, bodies.FileRef):
            info = FileInfo(content.name, content.mime, content.size)
            return evolve(made, text=content.caption, file=info)
        return evolve(made, unreadable="unknown_type")

    def _aimed_event(
        self, records: Reader, entry: Entry, common: dict[str, Any]
    ) -> LoggedEvent | None:
        target = self.entry(records, entry.target_seq)
        if target is None:
            return None
        aim = {**common, "target": target.event_id, "target_seq": target.seq}
        if entry.kind is Kind.REDACTION:
            return MessageRedacted(**aim)
        body = _decode(entry.body)
        if body is None or not isinstance(body.content, bodies.Reaction):
            return None
        return MessageReacted(
            **aim,
            reaction=body.content.emoji,
            withdrawn=body.content.removed,
        )

    def _said_event(self, entry: Entry, common: dict[str, Any]) -> LoggedEvent | None:
        body = _decode(entry.body)
        content = None if body is None else body.content
        match content:
            case bodies.Profile():
                name = display_name(content.name)
                return NameChanged(**common, name=name, before=entry.before)
            case bodies.RoomInfo():
                return RoomRenamed(
                    **common,
                    name=display_name(content.name),
                    topic=content.topic,
                    before=entry.before,
                )
            case bodies.HandoverOffer():
                return HandoverOffered(**common, to=content.to)
            case _:
                return None

    def _control_event(
        self, records: Reader, seq: int, common: dict[str, Any]
    ) -> LoggedEvent | None:
        signed = self.control(records, seq)
        if signed is None:
            return None
        return _of_control(signed, common)


def _of_control(signed: SignedRecord, common: dict[str, Any]) -> LoggedEvent | None:
    made: LoggedEvent | None = None
    kw: dict[str, Any]
    match signed.record:
        case Genesis():
            made = RoomFounded(**common)
        case Admit() as record:
            kw = {"role": record.role, "caps": frozenset(record.caps)}
            mid = member_id_of(record.sign_key)
            made = MemberJoined(**common, **kw, member=mid)
        case RekeyRoutine() as record:
            made = Rotated(**common, epoch=record.epoch, boxed=False)
        case RekeyBoxed(removed=()) as record:
            made = Rotated(**common, epoch=record.epoch, boxed=True)
        case RekeyBoxed() as record:
            kw = {"members": record.removed, "evicted": True, "reason": record.reason}
            made = MemberLeft(**common, **kw)
        case Leave() as record:
            made = MemberLeft(**common, members=(record.mid,), evicted=False)
        case Grant() as record:
            kw = {"role": record.role, "caps": frozenset(record.caps)}
            made = RoleChanged(**common, **kw, member=record.member)
        case Handover() as record:
            made = HandedOver(**common, to=record.to)
        case Home() as record:
            made = HomeChanged(**common, home=record.home)
        case HubMove() as record:
            made = HubMoved(**common, hub=record.hub, url=record.urls[0])
        case InviteOpen() as record:
            kw = {"role": record.role, "caps": frozenset(record.caps)}
            made = InviteOpened(**common, **kw, invite_id=record.invite_id)
        case InviteClose() as record:
            made = InviteClosed(**common, invite_id=record.invite_id)
    return made


def _void_key(entry: Entry) -> bytes:
    return entry.event_id if entry.sid is None else entry.mid + entry.sid + entry.event_id


def _void_range(entry: Entry) -> tuple[bytes, bytes]:
    start = entry.event_id if entry.sid is None else entry.mid + entry.sid
    return start, start + b"\xff" * 33


def _decode(raw: bytes) -> Body | None:
    if not raw:
        return None
    try:
        return decode_body(raw)
    except Malformed:
        return None
