"""The journal: what goes out, before and after it went; what came in; and what is what (G1).

    out     number          -> Entry      what is to be said outside, until it is (or is not)
    map     event+place     -> Passed     a room event at a place, either direction
    in      remote id+place -> Came       something that came in: its room events' sids
    sid     sid+room        -> place, id  the same, to be found when the event is in the log
    time    ms+key          -> keys       what of map, in and sid is old enough to be forgotten

All of them live in the vault, so each change is one with the client core's own: a room's cursor
moves with the entries that its events make, and a message that came in is queued with the record
that keeps it from being queued again. `out` is pinned by the vault's index; the others may be
large, and are not. Sans-IO.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from attrs import evolve, field, frozen

from bridge.core.model import Kind, State
from ofcd.client import TextFormat, Via
from ofcd.client.model import load, save
from ofcd.client.vault import Reader, Records
from ofcd.protocol.ids import EventId, MemberId, RoomId, Sid, tagged_hash

__all__ = ["Came", "Entry", "Journal", "Outside", "Passed", "place_tag", "sid_of"]

_OUT: Final = "app/bridge/out"
_STATE: Final = "app/bridge/state"
_MAP: Final = "archive/bridge/map"
_IN: Final = "archive/bridge/in"
_SID: Final = "archive/bridge/sid"
_TIME: Final = "archive/bridge/time"
_NEXT: Final = b"next"
_KEEP_MS: Final = 45 * 24 * 3_600_000
"""How long both ids of a message are known to belong together (G1 asks for 30 days)."""
_PRUNED_AT_ONCE: Final = 500


def _size(value: str) -> str:
    return f"<{len(value)}>"


def sid_of(network: str, place: str, remote_id: str, what: str = "") -> Sid:
    """The id of what a bridge says for something outside: the same whenever it comes again."""
    parts = (network, place, remote_id, what)
    return Sid(tagged_hash("bridge", *(part.encode("utf-8", "replace") for part in parts))[:16])


def place_tag(network: str, place: str) -> bytes:
    """Eight bytes that name a place in keys."""
    return tagged_hash("bridge-place", network.encode(), place.encode())[:8]


@frozen(kw_only=True)
class Entry:
    """One thing on its way out."""

    number: int
    network: str
    place: str
    room: RoomId
    kind: Kind
    event_id: EventId
    seq: int
    ts: int
    """When it was said, by its author's clock."""
    due: int
    """Not before this: milliseconds since 1970."""
    expires: int
    said: int = 0
    """No later than this, by the bridge's own clock."""
    target: EventId | None = None
    mid: MemberId | None = None
    name: str = ""
    """As it was to be shown when it was said."""
    via: Via | None = None
    nick_only: bool = False
    text: str = field(default="", repr=_size)
    format: TextFormat = TextFormat.PLAIN
    mentions: tuple[tuple[MemberId, str], ...] = ()
    before: str = field(default="", repr=_size)
    before_format: TextFormat = TextFormat.PLAIN
    emoji: str = ""
    withdrawn: bool = False
    reply_to: EventId | None = None
    thread: EventId | None = None
    file: tuple[str, str, int] | None = None
    path: tuple[str, ...] = ()
    state: State = State.QUEUED
    again: bool = False


@frozen(kw_only=True)
class Passed:
    """A room event at a place."""

    state: State
    incoming: bool = False
    reason: str = ""
    remote_ids: tuple[str, ...] = ()
    ts: int = 0
    text: str = field(default="", repr=_size)
    """How it reads there now."""
    format: TextFormat = TextFormat.PLAIN
    edits: int = 0
    """How many edits of it were said there."""
    doubtful: bool = False
    """The link died inside one send: it may be there twice (counted, G1)."""
    path: tuple[str, ...] = ()


@frozen(kw_only=True)
class Came:
    """Something that came in."""

    ts: int
    rooms: tuple[RoomId, ...]
    author: str = ""
    """The author's id outside: only they change or take it back."""
    waits: tuple[RoomId, ...] = ()
    """Rooms that had no place for it: said there when it comes again."""
    path: tuple[str, ...] = ()


@frozen(kw_only=True)
class Outside:
    """Where something stands outside."""

    network: str
    place: str
    id: str


class Journal:
    """Reads and writes those tables; every write is in the caller's transaction."""

    # -- out -------------------------------------------------------------------------------------

    def add(self, tx: Records, entry: Entry) -> Entry:
        """Put something at the end of the queue; it gets its number."""
        raw = tx.get(_STATE, _NEXT)
        number = 0 if raw is None else int.from_bytes(raw, "big")
        tx.put(_STATE, _NEXT, (number + 1).to_bytes(8, "big"))
        entry = evolve(entry, number=number)
        self.keep(tx, entry)
        return entry

    def keep(self, tx: Records, entry: Entry) -> None:
        """Change something in the queue."""
        tx.put(_OUT, entry.number.to_bytes(8, "big"), save(entry))

    def remove(self, tx: Records, number: int) -> None:
        """It is no longer on its way."""
        tx.delete(_OUT, number.to_bytes(8, "big"))

    def queue(self, records: Reader) -> Iterator[Entry]:
        """What is on its way, in order."""
        for _, raw in records.items(_OUT):
            yield load(Entry, raw)

    def entry(self, records: Reader, number: int) -> Entry | None:
        """One thing on its way."""
        raw = records.get(_OUT, number.to_bytes(8, "big"))
        return None if raw is None else load(Entry, raw)

    # -- both ways -------------------------------------------------------------------------------

    def passed(self, records: Reader, network: str, place: str, event: EventId) -> Passed | None:
        """A room event at a place."""
        raw = records.get(_MAP, event + place_tag(network, place))
        return None if raw is None else load(Passed, raw)

    def keep_passed(
        self, tx: Records, network: str, place: str, event: EventId, passed: Passed, now: int
    ) -> None:
        """Keep it, findable from either side."""
        key = event + place_tag(network, place)
        before = self.passed(tx, network, place, event)
        tx.put(_MAP, key, save(passed))
        keys = [(_MAP, key)] if before is None else []
        known = () if before is None else before.remote_ids
        for remote_id in passed.remote_ids:
            if remote_id not in known and not passed.incoming:
                back = _back(network, place, remote_id)
                tx.put(_IN, back, b"=" + event)
                keys.append((_IN, back))
        if keys:
            self._forget_later(tx, now, keys)

    # -- in --------------------------------------------------------------------------------------

    def came(self, records: Reader, network: str, place: str, remote_id: str) -> Came | None:
        """What is known of something that came in before; None for what went out, or never came."""
        raw = records.get(_IN, _back(network, place, remote_id))
        if raw is None or raw[:1] == b"=":
            return None
        return load(Came, raw)

    def went(self, records: Reader, network: str, place: str, remote_id: str) -> EventId | None:
        """The room event that went out under this remote id."""
        raw = records.get(_IN, _back(network, place, remote_id))
        return EventId(raw[1:]) if raw is not None and raw[:1] == b"=" else None

    def keep_came(
        self, tx: Records, network: str, place: str, remote_id: str, came: Came, now: int
    ) -> None:
        """It came in, and what is said of it in each room has `sid_of` as its sid."""
        key = _back(network, place, remote_id)
        tx.put(_IN, key, save(came))
        sid = sid_of(network, place, remote_id)
        tx.put(_SID, sid, save(Outside(network=network, place=place, id=remote_id)))
        self._forget_later(tx, now, [(_IN, key), (_SID, sid)])

    def outside_of(self, records: Reader, sid: Sid) -> Outside | None:
        """What it was that was said under `sid`."""
        raw = records.get(_SID, sid)
        return None if raw is None else load(Outside, raw)

    # -- small facts -----------------------------------------------------------------------------

    def fact(self, records: Reader, key: str) -> Any:
        """A small fact that was kept, or None."""
        raw = records.get(_STATE, b"fact/" + key.encode())
        return None if raw is None else json.loads(raw)

    def keep_fact(self, tx: Records, key: str, value: Any) -> None:
        """Keep a small fact; None forgets it."""
        if value is None:
            tx.delete(_STATE, b"fact/" + key.encode())
        else:
            tx.put(_STATE, b"fact/" + key.encode(), json.dumps(value).encode())

    # -- forgetting ------------------------------------------------------------------------------

    def _forget_later(self, tx: Records, now: int, keys: list[tuple[str, bytes]]) -> None:
        listed = [[table, key.hex()] for table, key in keys]
        # One event is kept for several places in the same millisecond: all of the key tells them.
        name = tagged_hash("bridge-time", keys[0][0].encode(), keys[0][1])[:16]
        tx.put(_TIME, now.to_bytes(8, "big") + name, json.dumps(listed).encode())

    def prune(self, tx: Records, now: int) -> int:
        """Forget what is older than it has to be known; returns how many were left out."""
        end = max(0, now - _KEEP_MS).to_bytes(8, "big")
        old = list(tx.items(_TIME, None, end, limit=_PRUNED_AT_ONCE))
        for key, raw in old:
            for table, record_id in json.loads(raw):
                tx.delete(table, bytes.fromhex(record_id))
            tx.delete(_TIME, key)
        return len(old)


def _back(network: str, place: str, remote_id: str) -> bytes:
    return sid_of(network, place, remote_id, "remote")
