"""What the email network keeps, in tables of its own in the bridge's vault. Sans-IO.

sub      place/address     -> Subscriber
token    reply token       -> place/address
item     place/address/n   -> Waiting       what was said and is not in a mail yet
mail     n                 -> Posted        mails on their way to the server
raw      n                 -> the mail
mid      event             -> its Message-ID; alias/<Message-ID> -> what the core calls it
refs     Message-ID        -> the ids before it in its thread
failed   place, event      -> the addresses to which its mail was not delivered
sent     bounce token      -> Sent          which mail a report is about
held     place/n           -> Held          mail that waits for an owner's word
heldraw  place/n           -> the mail
inbox    place/n           -> Kept          mail that waits for its place's rooms, in order
inraw    place/n           -> the mail
state    name              -> small facts
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from hashlib import sha256
from typing import Any, Final, Literal, Protocol

from attrs import evolve, field, frozen

from bridge.email.fetching import Cursor
from bridge.email.limits import MIB
from bridge.email.settings import Wish
from ofcd.client.model import load, save
from ofcd.client.vault import Reader, Records
from ofcd.protocol.ids import EventId, RoomId

__all__ = ["Held", "Kept", "Posted", "Sent", "Store", "Subscriber", "Waiting"]

KEEP_MS: Final = 45 * 24 * 3_600_000
"""How long ids and bounce tokens are known."""
HELD_AT_ONCE: Final = 100
HELD_BYTES: Final = 64 * MIB
"""Of one place: anybody can have mail held."""
_PRUNED_AT_ONCE: Final = 200
_REFERENCES: Final = 20


class _Tables(Protocol):
    def table(self, name: str, *, large: bool = False) -> str: ...


@frozen(kw_only=True)
class Subscriber:
    """Somebody who gets a place's mail."""

    address: str
    token: str = field(repr=False)
    """Of the address that is theirs to answer to."""
    on: bool = True
    suspended: str = ""
    """Why no mail goes there any more, though they did not leave."""
    soft: int = 0
    """Days, none a week after the one before, on which a mail was not delivered."""
    soft_at: int = 0
    """When the last of them was counted."""
    last_notice: int = 0
    wish: Wish = field(factory=Wish)
    """How they want mail."""
    file: Literal["", "in", "out"] = ""
    """Whether the settings name them, or did, and do not any more."""


@frozen(kw_only=True)
class Waiting:
    """Something said, for one subscriber."""

    key: str
    """Of what it stems from: the same thing is not put twice."""
    number: int
    """The journal's number of it; it means nothing where `event` is None: that came by mail."""
    room: RoomId
    event: EventId | None
    message_id: str
    author: str
    ts: int
    due_from: int
    """When it began to wait."""
    plain: str = field(repr=False)
    html: str = field(repr=False)
    subject: str = field(repr=False)
    references: tuple[str, ...] = ()
    path: tuple[str, ...] = ()
    late: bool = False
    file: tuple[str, str, int, int] | None = None
    """Name, type, size, and the seq of its message."""
    file_words: str = field(default="", repr=False)
    """What `plain` and `html` end with about it."""


@frozen(kw_only=True)
class Posted:
    """A mail on its way to the server."""

    place: str
    to: str
    bounce: str
    born: int
    due: int
    attempts: int = 0
    """How often the server did not take it for now."""
    broken: int = 0
    """How often the link ended in the midst of it."""
    sending: bool = False
    """It was begun: if the process dies, the server may have it."""
    size: int = 0
    """In bytes."""
    events: tuple[tuple[EventId, int], ...] = ()


@frozen(kw_only=True)
class Sent:
    """A mail that a report may be about."""

    place: str
    to: str
    events: tuple[tuple[EventId, int], ...] = ()
    ts: int = 0


@frozen(kw_only=True)
class Held:
    """A mail that waits for an owner's word."""

    sender: str
    why: str
    ts: int
    mail_id: str
    size: int = 0
    """Of the mail, in bytes."""
    proven: bool = False
    """Its sender is known and proven: it waits for another reason."""


@frozen(kw_only=True)
class Kept:
    """A mail that waits for its place's rooms."""

    mail_id: str
    ts: int
    """Since when."""
    size: int
    failures: int = 0
    """How often something of ours went wrong over it."""
    rooms: tuple[RoomId, ...] | None = None
    """Those it waits for; None: for all of the place, it was not tried yet."""


class Store:
    """Reads and writes the tables; what is written belongs to the caller's transaction."""

    def __init__(self, tables: _Tables) -> None:
        self._sub = tables.table("sub")
        self._token = tables.table("token")
        self._state = tables.table("state")
        self._item = tables.table("item", large=True)
        self._mail = tables.table("mail", large=True)
        self._raw = tables.table("raw", large=True)
        self._mid = tables.table("mid", large=True)
        self._refs = tables.table("refs", large=True)
        self._failed = tables.table("failed", large=True)
        self._sent = tables.table("sent", large=True)
        self._held = tables.table("held", large=True)
        self._held_raw = tables.table("heldraw", large=True)
        self._inbox = tables.table("inbox", large=True)
        self._inbox_raw = tables.table("inraw", large=True)
        self._time = tables.table("time", large=True)

    # -- subscribers -----------------------------------------------------------------------------

    def subscriber(self, records: Reader, place: str, address: str) -> Subscriber | None:
        """Whoever has this address."""
        raw = records.get(self._sub, _person(place, address))
        return None if raw is None else load(Subscriber, raw)

    def subscribers(self, records: Reader, place: str) -> list[Subscriber]:
        """All of a place, those who left too."""
        found = records.items(self._sub, *_below(place.encode() + b"/"))
        return [load(Subscriber, raw) for _, raw in found]

    def keep_subscriber(self, tx: Records, place: str, one: Subscriber) -> None:
        """Keep somebody, findable by the token."""
        before = self.subscriber(tx, place, one.address)
        if before is not None and before.token != one.token:
            tx.delete(self._token, before.token.encode())
        tx.put(self._sub, _person(place, one.address), save(one))
        tx.put(self._token, one.token.encode(), f"{place}/{one.address}".encode())

    def by_token(self, records: Reader, token: str) -> tuple[str, Subscriber] | None:
        """The place and the person whose reply token this is."""
        raw = records.get(self._token, token.encode()) if token else None
        if raw is None:
            return None
        place, _, address = raw.decode().partition("/")
        one = self.subscriber(records, place, address)
        return None if one is None else (place, one)

    # -- what waits ------------------------------------------------------------------------------

    def put_item(self, tx: Records, place: str, address: str, item: Waiting) -> None:
        """At the end of what waits for somebody, unless it was put before."""
        done = b"item/" + _key(place, address, item.key)
        if tx.get(self._time, done) is not None:
            return
        tx.put(self._time, done, b"1")
        self._forget_later(tx, item.due_from, self._time, done)
        number = self.next(tx, "item")
        tx.put(self._item, _person(place, address) + b"/" + number.to_bytes(8, "big"), save(item))

    def was_put(self, records: Reader, place: str, address: str, key: str) -> bool:
        """Whether the thing with this key was ever put for somebody."""
        return records.get(self._time, b"item/" + _key(place, address, key)) is not None

    def items(
        self, records: Reader, place: str, address: str, limit: int | None = None
    ) -> list[tuple[bytes, Waiting]]:
        """What waits for somebody, in order."""
        start, end = _below(_person(place, address) + b"/")
        found = records.items(self._item, start, end, limit=limit)
        return [(key, load(Waiting, raw)) for key, raw in found]

    def item(self, records: Reader, key: bytes) -> Waiting | None:
        """What waits under a key of `items`, as it is now."""
        raw = records.get(self._item, key)
        return None if raw is None else load(Waiting, raw)

    def replace_item(self, tx: Records, key: bytes, item: Waiting | None) -> None:
        """Change what waits, or (None) take it out."""
        if item is None:
            tx.delete(self._item, key)
        else:
            tx.put(self._item, key, save(item))

    # -- mails on their way ----------------------------------------------------------------------

    def post(self, tx: Records, posted: Posted, raw: bytes) -> int:
        """A mail is to go out; its number."""
        number = self.next(tx, "mail")
        key = number.to_bytes(8, "big")
        tx.put(self._mail, key, save(evolve(posted, size=len(raw))))
        tx.put(self._raw, key, raw)
        sent = Sent(place=posted.place, to=posted.to, events=posted.events, ts=posted.born)
        tx.put(self._sent, posted.bounce.encode(), save(sent))
        self._forget_later(tx, posted.born, self._sent, posted.bounce.encode())
        return number

    def posted(self, records: Reader) -> Iterator[tuple[int, Posted]]:
        """All that is on its way, in order."""
        for key, raw in records.items(self._mail):
            yield int.from_bytes(key, "big"), load(Posted, raw)

    def raw(self, records: Reader, number: int) -> bytes:
        """A mail's bytes."""
        return records.get(self._raw, number.to_bytes(8, "big")) or b""

    def keep_posted(self, tx: Records, number: int, posted: Posted | None) -> None:
        """Change it; None: it is done with."""
        key = number.to_bytes(8, "big")
        if posted is None:
            tx.delete(self._mail, key)
            tx.delete(self._raw, key)
        else:
            tx.put(self._mail, key, save(posted))

    def sent(self, records: Reader, token: str) -> Sent | None:
        """The mail whose bounce token this is."""
        raw = records.get(self._sent, token.encode()) if token else None
        return None if raw is None else load(Sent, raw)

    def failed(self, records: Reader, place: str, event: bytes) -> tuple[str, ...]:
        """To whom a message was not delivered; () for nobody."""
        raw = records.get(self._failed, _key(place, event.hex()))
        return () if raw is None else tuple(json.loads(raw))

    def keep_failed(self, tx: Records, place: str, event: bytes, address: str, now: int) -> None:
        """To somebody more."""
        key, known = _key(place, event.hex()), self.failed(tx, place, event)
        tx.put(self._failed, key, json.dumps(sorted({*known, address})).encode())
        self._forget_later(tx, now, self._failed, key)

    def forget_failed(self, tx: Records, place: str, event: bytes) -> None:
        """It goes out again."""
        tx.delete(self._failed, _key(place, event.hex()))

    # -- ids -------------------------------------------------------------------------------------

    def message_id(self, tx: Records, place: str, what: str, fresh: str, now: int) -> str:
        """The Message-ID of something: `fresh`, unless it has one already."""
        key = _key(place, what)
        known = tx.get(self._mid, key)
        if known is not None:
            return known.decode()
        tx.put(self._mid, key, fresh.encode())
        self._forget_later(tx, now, self._mid, key)
        return fresh

    def keep_alias(self, tx: Records, message_id: str, remote_id: str, now: int) -> None:
        """A mail of ours under an id that the core does not know: what the core calls it."""
        key = b"alias/" + _key(message_id)
        tx.put(self._mid, key, remote_id.encode())
        self._forget_later(tx, now, self._mid, key)

    def alias(self, records: Reader, message_id: str) -> str | None:
        """What the core calls a mail of ours."""
        raw = records.get(self._mid, b"alias/" + _key(message_id))
        return None if raw is None else raw.decode()

    def knows(self, records: Reader, place: str, mail_id: str) -> bool:
        """Whether a mail of this id is known to have come to a place."""
        return records.get(self._mid, b"by/" + _key(place, mail_id)) is not None

    def said_by(
        self, tx: Records, place: str, mail_id: str, author: str, digest: str, now: int
    ) -> tuple[str, str]:
        """Who first brought a mail of this id to a place, and its digest: these, if nobody did."""
        key = b"by/" + _key(place, mail_id)
        known = tx.get(self._mid, key)
        if known is None:
            tx.put(self._mid, key, json.dumps([author, digest]).encode())
            self._forget_later(tx, now, self._mid, key)
            return author, digest
        first, what = json.loads(known)
        return first, what

    def references(self, records: Reader, message_id: str) -> tuple[str, ...]:
        """The ids before a mail in its thread, itself the last."""
        raw = records.get(self._refs, _key(message_id))
        return (*(json.loads(raw) if raw else ()), message_id)[-_REFERENCES:]

    def keep_references(
        self, tx: Records, message_id: str, before: tuple[str, ...], now: int
    ) -> None:
        """What stands before a mail in its thread."""
        if before:
            tx.put(self._refs, _key(message_id), json.dumps(before[-_REFERENCES:]).encode())
            self._forget_later(tx, now, self._refs, _key(message_id))

    # -- held ------------------------------------------------------------------------------------

    def hold(self, tx: Records, place: str, held: Held, raw: bytes) -> int | None:
        """A mail waits for an owner's word: its number; None where too many do, or too much."""
        waiting = list(self.held(tx, place))
        for number, one in waiting:
            # Not by its id alone: that of another's mail is known to whoever has that mail.
            if (one.mail_id, one.sender, one.proven) == (held.mail_id, held.sender, held.proven):
                return number
        size = sum(one.size for _, one in waiting) + len(raw)
        if len(waiting) >= HELD_AT_ONCE or size > HELD_BYTES:
            return None
        number = self.next(tx, "held")
        tx.put(self._held, _numbered(place, number), save(evolve(held, size=len(raw))))
        tx.put(self._held_raw, _numbered(place, number), raw)
        return number

    def held(self, records: Reader, place: str) -> Iterator[tuple[int, Held]]:
        """What waits for an owner's word."""
        for key, raw in records.items(self._held, *_below(place.encode() + b"/")):
            yield int.from_bytes(key[-8:], "big"), load(Held, raw)

    def held_raw(self, records: Reader, place: str, number: int) -> bytes:
        """The bytes of a mail that waits for an owner's word."""
        return records.get(self._held_raw, _numbered(place, number)) or b""

    def release(self, tx: Records, place: str, number: int) -> None:
        """It waits no longer."""
        tx.delete(self._held, _numbered(place, number))
        tx.delete(self._held_raw, _numbered(place, number))

    # -- what waits for rooms --------------------------------------------------------------------

    def put_in(self, tx: Records, place: str, kept: Kept, raw: bytes) -> int:
        """A mail waits, behind all others of its place, under the number that is returned."""
        number = self.next(tx, "inbox")
        tx.put(self._inbox, _numbered(place, number), save(kept))
        tx.put(self._inbox_raw, _numbered(place, number), raw)
        return number

    def inbox(self, records: Reader, place: str) -> Iterator[tuple[int, Kept]]:
        """What waits for a place's rooms, in order."""
        for key, raw in records.items(self._inbox, *_below(place.encode() + b"/")):
            yield int.from_bytes(key[-8:], "big"), load(Kept, raw)

    def raw_in(self, records: Reader, place: str, number: int) -> bytes:
        """The bytes of one of them."""
        return records.get(self._inbox_raw, _numbered(place, number)) or b""

    def keep_in(self, tx: Records, place: str, number: int, kept: Kept | None) -> None:
        """Change it; None: it waits no longer."""
        if kept is None:
            tx.delete(self._inbox, _numbered(place, number))
            tx.delete(self._inbox_raw, _numbered(place, number))
        else:
            tx.put(self._inbox, _numbered(place, number), save(kept))

    # -- small facts -----------------------------------------------------------------------------

    def fact(self, records: Reader, name: str) -> Any:
        """A small fact, or None."""
        raw = records.get(self._state, name.encode())
        return None if raw is None else json.loads(raw)

    def keep_fact(self, tx: Records, name: str, value: Any) -> None:
        """Keep a small fact."""
        tx.put(self._state, name.encode(), json.dumps(value).encode())

    def next(self, tx: Records, name: str) -> int:
        """The next number of a kind."""
        number = int(self.fact(tx, f"next/{name}") or 0)
        self.keep_fact(tx, f"next/{name}", number + 1)
        return number

    def imap_cursor(self, records: Reader) -> Cursor:
        """How far the mailbox is read."""
        raw = records.get(self._state, b"mailbox")
        return Cursor() if raw is None else load(Cursor, raw)

    def keep_imap_cursor(self, tx: Records, cursor: Cursor) -> None:
        """Keep how far."""
        tx.put(self._state, b"mailbox", save(cursor))

    # -- forgetting ------------------------------------------------------------------------------

    def _forget_later(self, tx: Records, now: int, table: str, key: bytes) -> None:
        when = b"t/" + now.to_bytes(8, "big") + _key(table, key.hex())
        tx.put(self._time, when, json.dumps([table, key.hex()]).encode())

    def prune(self, tx: Records, now: int) -> int:
        """Forget what is older than it has to be known; how many were left out."""
        end = b"t/" + max(0, now - KEEP_MS).to_bytes(8, "big")
        old = list(tx.items(self._time, b"t/", end, limit=_PRUNED_AT_ONCE))
        for when, raw in old:
            table, key = json.loads(raw)
            tx.delete(table, bytes.fromhex(key))
            tx.delete(self._time, when)
        return len(old)


def _person(place: str, address: str) -> bytes:
    return f"{place}/{address}".encode()


def _numbered(place: str, number: int) -> bytes:
    return place.encode() + b"/" + number.to_bytes(8, "big")


def _key(*parts: str) -> bytes:
    return sha256("\0".join(parts).encode("utf-8", "replace")).digest()[:20]


def _below(prefix: bytes) -> tuple[bytes, bytes]:
    return prefix, prefix[:-1] + bytes([prefix[-1] + 1])
