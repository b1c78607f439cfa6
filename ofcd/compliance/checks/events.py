"""Events: what a relay takes, what it refuses, and with which code: tests 12, 15, 27."""

from __future__ import annotations

from typing import Any, Final

import trio

from ofcd.compliance.check import check as group
from ofcd.compliance.check import require
from ofcd.compliance.errors import NotKept, Skipped
from ofcd.compliance.lab import Lab
from ofcd.compliance.p256 import signature_twin
from ofcd.compliance.people import Person, random_hash
from ofcd.protocol import frames, records
from ofcd.protocol.codes import Code
from ofcd.protocol.ids import EventId, RoomId, Sid
from ofcd.protocol.records import EventKind, Seen
from ofcd.themis import generate_keypair, sign
from ofcd.themis.signed import SignedRecord, open_signed

check = group("events")

_SEEN_ENTRIES: Final = 1024
_HEAD_SECONDS: Final = 30.0


@check("log", "5", "Entries are numbered without a gap, chained by L, delivered as they were sent.")
async def log(lab: Lab) -> None:
    """To two readers, and to the sender too."""
    ana, bo = await lab.pair()
    for n in range(5):
        await (ana if n % 2 else bo).say(b"cell %d" % n)
    head = ana.room.head.seq
    for person in (ana, bo):
        for got in await person.deliveries(head):
            sent = ana.room.log[got.seq]
            require(
                (got.record, got.cell) == (sent.record, sent.cell),
                f"entry {got.seq} was delivered other than it was sent",
            )


async def _unchanged(person: Person) -> None:
    """After refusals the next event is the next entry, and nothing was in between."""
    await person.say(b"after all that")


WRONG: Final[tuple[tuple[str, tuple[Code, ...], dict[str, Any]], ...]] = (
    ("of another room", (Code.BAD_RECORD,), {"room": RoomId(bytes(32))}),
    ("of the next epoch", (Code.EPOCH_STALE,), {"epoch": 2}),
    ("of the epoch before", (Code.EPOCH_STALE,), {"epoch": 0}),
    ("with a gap in its counter", (Code.COUNTER_GAP,), {"counter": 9}),
    ("with a counter used before", (Code.COUNTER_GAP,), {"counter": 1}),
    ("that follows another one", (Code.PREV_MISMATCH,), {"prev": EventId(bytes(32))}),
    ("with a foreign L", (Code.FORK,), {"seen": "foreign"}),
    ("that has seen the future", (Code.HUB_BEHIND,), {"seen": "future"}),
    ("for an old control head", (Code.CTL_STALE,), {"ctl": "genesis"}),
    ("for an unknown control head", (Code.CTL_STALE,), {"ctl": EventId(bytes(32))}),
    ("whose cell is another", (Code.CELL_MISMATCH,), {"cell_hash": random_hash()}),
    ("that has a target", (Code.BAD_RECORD,), {"target": EventId(bytes(32))}),
    ("of a kind nobody knows", (Code.BAD_RECORD,), {"kind": "shout"}),
)
"""An event with one field wrong, and the code of its refusal (docs/protocol.md, 8)."""


def _fields(person: Person, fields: dict[str, Any]) -> dict[str, Any]:
    head = person.room.head
    special = {
        "foreign": Seen(head.seq, random_hash()),
        "future": Seen(head.seq + 1, random_hash()),
        "genesis": EventId(person.room.log[0].event_id),
    }
    return {k: special.get(v, v) if isinstance(v, str) else v for k, v in fields.items()}


@check("wrong", "8", "An event with one field wrong is refused with the code for it: test 15.")
async def wrong(lab: Lab) -> None:
    """And changes nothing."""
    ana, _ = await lab.pair()
    await ana.do(ana.rekey())
    await ana.say()
    for name, codes, fields in WRONG:
        if fields.get("kind") == "shout":
            good = ana.event(b"cell")
            payload = good.payload.replace(b'"kind":"msg"', b'"kind":"shout"')
            signed = SignedRecord(good.record, payload, sign(ana.sign.private, payload))
        else:
            signed = ana.event(b"cell", **_fields(ana, fields))
        frame = ana.post_of(signed, b"cell")
        await ana.peer.refused(frame, *codes, what=f"an event {name}")
        await _head_is_unmoved(ana)
    await _unchanged(ana)


async def _head_is_unmoved(person: Person) -> None:
    attached = await person.peer.expect(frames.Attached, person.attach())
    head = person.room.head
    require(
        (attached.seq, attached.log) == (head.seq, head.log),
        "what was refused has moved the log",
    )


@check("signed", "8", "An event is signed by the member it names, who is attached here.")
async def signed(lab: Lab) -> None:
    """Nobody speaks as another, by any link."""
    ana, bo = await lab.pair()
    good = ana.event(b"cell")
    key = generate_keypair()
    forged = SignedRecord(good.record, good.payload, sign(key.private, good.payload))
    await ana.peer.refused(ana.post_of(forged, b"cell"), Code.BAD_SIGNATURE)
    named = ana.event(b"cell", mid=bo.mid, prev=EventId(ana.room.id))
    await ana.peer.refused(ana.post_of(named, b"cell"), Code.FORBIDDEN, what="another's name")
    relayed = frames.Post(bo.peer.number(), bo.room.id, good.envelope, b"cell")
    await bo.peer.refused(relayed, Code.FORBIDDEN, what="another's event")
    ack = await ana.peer.expect(frames.Ack, ana.post_of(good, b"cell"))
    ana.room.take(good, b"cell", ack)


@check("again", "8", "The same event again gets the same ack, however late: test 27.")
async def again(lab: Lab) -> None:
    """On the same link, on a new one, and when others have spoken."""
    ana, bo = await lab.pair()
    first = ana.event(b"once")
    ack = await ana.peer.expect(frames.Ack, ana.post_of(first, b"once"))
    ana.room.take(first, b"once", ack)
    repeat = await ana.peer.expect(frames.Ack, ana.post_of(first, b"once"))
    _same(ack, repeat)
    await bo.say()
    await ana.say()
    await ana.do(ana.rekey())
    await ana.move(await lab.link())
    _same(ack, await ana.peer.expect(frames.Ack, ana.post_of(first, b"once")))
    await ana.say()


def _same(one: frames.Ack, other: frames.Ack) -> None:
    same = (one.event_id, one.seq, one.log, one.sid) == (
        other.event_id,
        other.seq,
        other.log,
        other.sid,
    )
    require(same, f"a repeat was acked as entry {other.seq}, the first time it was {one.seq}")


@check("twins", "1", "Another container of the same payload is the same event: test 12.")
async def twins(lab: Lab) -> None:
    """Signed once more, with s turned to n-s, with bytes behind: never a second entry."""
    ana = await lab.founder()
    first = ana.event(b"once")
    ack = await ana.peer.expect(frames.Ack, ana.post_of(first, b"once"))
    ana.room.take(first, b"once", ack)
    for name, envelope in (
        ("signed once more", sign(ana.sign.private, first.payload)),
        ("with n-s for s", signature_twin(first.envelope)),
        ("with bytes behind it", first.envelope + b"behind"),
    ):
        twin = SignedRecord(first.record, first.payload, envelope)
        answer = await ana.peer.ask(ana.post_of(twin, b"once"))
        if isinstance(answer, frames.Ack):
            _same(ack, answer)
        else:
            require(name != "signed once more", "the same event, signed once more, was refused")
    await ana.say()


@check("sid", "8", "One sid is one message: another under it is sid_conflict.")
async def sid(lab: Lab) -> None:
    """It names the entry that has it."""
    ana = await lab.founder()
    number = Sid(random_hash()[:16])
    entry = await ana.say(b"one", sid=number)
    failure = await ana.peer.refused(ana.post(b"two", sid=number), Code.SID_CONFLICT)
    require(failure.event_id in (None, entry.event_id), "it names another entry")
    await _unchanged(ana)


@check("order", "3", "Requests of one link are decided in the order they came.")
async def order(lab: Lab) -> None:
    """Twenty events, sent before the first is answered."""
    ana, bo = await lab.pair()
    count = min(20, ana.peer.greeting.relay_limits.requests_in_flight)
    await ana.say_many(count)
    got = await bo.deliveries(ana.room.head.seq)
    require([g.seq for g in got] == sorted(g.seq for g in got), "deliveries are out of order")


@check("epoch_stale", "8", "A message under the key before is epoch_stale, with where the log is.")
async def epoch_stale(lab: Lab) -> None:
    """So that the sender can catch up and seal anew."""
    ana, bo = await lab.pair()
    late = bo.post(b"late")
    await ana.do(ana.rekey())
    failure = await bo.peer.refused(late, Code.EPOCH_STALE, what="a message under the old key")
    require(failure.seq == ana.room.head.seq, "it does not say where the log's end is")
    require(failure.event_id == ana.room.state.ctl, "it does not name the control head")
    await bo.say()


@check("large", "14", "An event over the relay's size is too_large; one under it is taken.")
async def large(lab: Lab) -> None:
    """EVENT_BYTES, or what welcome says."""
    ana = await lab.founder()
    most = ana.peer.greeting.relay_limits.event_bytes
    await ana.peer.refused(ana.post(bytes(most)), Code.TOO_LARGE, what="too large an event")
    await ana.say(bytes(most - 2048))


@check("empty", "8", "A message has a sealed part, and a redaction a target.")
async def empty(lab: Lab) -> None:
    """Cells are empty in redactions only."""
    ana = await lab.founder()
    await ana.peer.refused(ana.post(b""), Code.BAD_RECORD, what="a message without a cell")
    untold = ana.post(b"cell", kind=EventKind.REDACT)
    await ana.peer.refused(untold, Code.BAD_RECORD, what="a redaction of nothing")
    await ana.say(b"cell", kind=EventKind.BEAT)


@check("readonly", "6", "A readonly member reads, and posts nothing.")
async def readonly(lab: Lab) -> None:
    """Neither events, nor attachments."""
    ana = await lab.founder()
    bo = await lab.member(ana, role=records.Role.READONLY)
    await bo.peer.refused(bo.post(), Code.FORBIDDEN, what="a readonly member's message")
    entry = await ana.say()
    await bo.deliveries(entry.seq)


@check("hub_behind", "5", "Who has seen more than the relay has is told hub_behind: test 19.")
async def hub_behind(lab: Lab) -> None:
    """Messages, control records and syncs alike: its numbers are not given out again."""
    ana = await lab.founder()
    head = ana.room.head.seq
    later = Seen(head + 5, random_hash())
    await ana.peer.refused(ana.post(seen=later), Code.HUB_BEHIND)
    await ana.refused(ana.rekey(seen=later), Code.HUB_BEHIND)
    await ana.peer.refused(ana.sync(head + 6, random_hash()), Code.HUB_BEHIND)


@check("seen_stale", "8", "A position before the last 1024 entries is seen_stale.")
async def seen_stale(lab: Lab) -> None:
    """Only where a member may send so many in bearable time."""
    ana = await lab.founder()
    if ana.peer.greeting.relay_limits.events_per_second < 200:
        raise Skipped("the relay takes too few messages a second to send 1024 of them")
    old = ana.room.seen
    at_once = min(50, ana.peer.greeting.relay_limits.requests_in_flight)
    for _ in range(_SEEN_ENTRIES // at_once + 1):
        await ana.say_many(at_once)
    await ana.peer.refused(ana.post(seen=old), Code.SEEN_STALE)
    await _unchanged(ana)


@check("head", "5", "The relay signs LOG_HEADs, and they are those of the log.")
async def head(lab: Lab) -> None:
    """By the key that the handshake proved."""
    ana = await lab.founder()
    entry = await ana.say()
    with trio.move_on_after(_HEAD_SECONDS):
        while True:
            got = await ana.peer.next(frames.Head)
            record = open_signed(ana.peer.relay_key, got.record).record
            if not isinstance(record, records.LogHead):
                raise NotKept("a head holds another record")
            require(record.room == ana.room.id, "a LOG_HEAD of another room")
            require(record.log == ana.room.log[record.seq].log, "a LOG_HEAD names another L")
            if record.seq == entry.seq:
                return
    raise NotKept(f"there was no LOG_HEAD within {_HEAD_SECONDS:g} s")
