"""Frames and records that are not well-formed: test 16."""

from __future__ import annotations

from typing import Final

from ofcd.compliance.check import check as group
from ofcd.compliance.check import require
from ofcd.compliance.errors import LinkEnded, NotKept
from ofcd.compliance.lab import Lab
from ofcd.compliance.malformed import DAMAGES, UNHARMFUL, damaged
from ofcd.compliance.peer import Peer
from ofcd.compliance.people import Person
from ofcd.protocol import frames
from ofcd.protocol.codec import join_parts
from ofcd.protocol.codes import Code
from ofcd.protocol.ids import RoomId, b64encode
from ofcd.protocol.limits import FRAME_BYTES, HEADS_BYTES, LINK_MESSAGE_BYTES
from ofcd.themis import sign
from ofcd.themis.signed import SignedRecord

check = group("frames")

_ROOM: Final = b64encode(bytes(32)).encode()
_GOOD: Final = b'{"type":"detach","rid":7,"room":"' + _ROOM + b'"}'
_MALFORMED: Final = (Code.BAD_FRAME, Code.BAD_RECORD, Code.BAD_KEY, Code.TOO_LARGE)


async def _refuses(lab: Lab, what: str, *frame: bytes) -> None:
    """A link that sends this ends, with words that fit, and nothing in it is done."""
    peer = await lab.link()
    try:
        await peer.send(*frame)
        end = await peer.ended()
    except LinkEnded as ended:
        end = ended
    require(
        not any(isinstance(got, frames.Done | frames.Ack) for got in peer.inbox),
        f"{what} was taken",
    )
    require(end.last_words in _MALFORMED, f"{what} ended the link with {end.last_words!r}")


@check("json", "1", "A frame's head that is not strict JSON ends the link with a code, no crash.")
async def json(lab: Lab) -> None:
    """Double keys, floats, 2^53, NUL, half characters, depth."""
    peer = await lab.link()
    await peer.send(join_parts([_GOOD]))
    await peer.answer(7)  # the control: what is damaged below was good
    for name, damage in DAMAGES.items():
        await _refuses(lab, f"a head with {name}", join_parts([damage(_GOOD)]))


@check("fields", "1", "A field that is missing or of another type makes the whole frame refused.")
async def fields(lab: Lab) -> None:
    """And so does an id that is not canonical base64url."""
    short, padded = _ROOM[:-2], _ROOM + b"="
    # The last character of 32 bytes carries four bits: another one with the same four is a twin.
    twin = _ROOM[:-1] + b"B"
    for name, head in {
        "no room": b'{"type":"detach","rid":7}',
        "a rid that is a text": _GOOD.replace(b"7", b'"7"', 1),
        "a rid that is true": _GOOD.replace(b"7", b"true", 1),
        "a room that is a number": _GOOD.replace(b'"' + _ROOM + b'"', b"5"),
        "a room of 30 bytes": _GOOD.replace(_ROOM, short),
        "a padded room": _GOOD.replace(_ROOM, padded),
        "a room in another base64": _GOOD.replace(_ROOM, b"+" + _ROOM[1:]),
        "a room that is not canonical": _GOOD.replace(_ROOM, twin),
        "an unknown type": _GOOD.replace(b"detach", b"nonsense"),
        "a type that is the relay's": b'{"type":"done","rid":7}',
        "no type": _GOOD.replace(b'"type":"detach",', b""),
    }.items():
        await _refuses(lab, f"a frame with {name}", join_parts([head]))


@check("parts", "3", "A frame has exactly the parts that its type has, and they add up.")
async def parts(lab: Lab) -> None:
    """One too many, one too few, lengths that lie."""
    attach = b'{"type":"attach","rid":7}'
    for name, frame in {
        "a part too many": join_parts([_GOOD, b"more"]),
        "a part too few": join_parts([attach]),
        "its part in its head": join_parts([attach[:-1] + b',"record":"AAAA"}', b"x"]),
        "a length past its end": (1000).to_bytes(4, "big") + _GOOD,
        "a length of 4 GiB": b"\xff\xff\xff\xff" + _GOOD,
        "half a length": join_parts([_GOOD]) + b"\0\0",
        "nothing in it": b"",
    }.items():
        await _refuses(lab, f"a frame with {name}", frame)


@check("sizes", "14", "Frames and messages over their limits end the link.")
async def sizes(lab: Lab) -> None:
    """One frame of 1 MiB and a byte; a head of 4 KiB; 64 KiB of heads; a message over 2 MiB."""
    await _refuses(lab, "a frame over 1 MiB", join_parts([_GOOD, bytes(FRAME_BYTES)]))
    long_head = _GOOD[:-1] + b',"x":"' + b"x" * 4096 + b'"}'
    await _refuses(lab, "a head over 4 KiB", join_parts([long_head]))
    many = [join_parts([_GOOD.replace(b"7", str(n).encode(), 1)]) for n in range(1, 1000)]
    require(sum(map(len, many)) + 128 * len(many) > HEADS_BYTES, "too few heads to try it")
    peer = await lab.link()
    await peer.send(*many)
    end = await peer.ended()
    require(end.last_words == Code.TOO_LARGE, f"64 KiB of heads ended with {end.last_words!r}")
    peer = await lab.link()
    try:
        await peer.send_message(peer.wrap(bytes(2 * LINK_MESSAGE_BYTES)))
        end = await peer.ended()
    except LinkEnded as ended:
        end = ended
    require(end.close_code in (1009, 1006), f"a message of 4 MiB closed with {end.close_code}")


@check("unknown_field", "1", "A field that is not known is passed over.")
async def unknown_field(lab: Lab) -> None:
    """Else no later version could add one."""
    peer = await lab.link()
    await peer.send(join_parts([UNHARMFUL(_GOOD)]))
    require(isinstance(await peer.answer(7), frames.Done), "a head with one more field: refused")
    person = await lab.founder(peer)
    event = person.event(b"cell")
    later = _resigned(person, UNHARMFUL, event)
    ack = await peer.expect(frames.Ack, person.post_of(later, b"cell"))
    person.room.take(later, b"cell", ack)


def _resigned(person: Person, change: object, signed: SignedRecord) -> SignedRecord:
    """The record with other JSON, signed anew."""
    if not callable(change):
        raise TypeError("a change is a function")
    payload = damaged(signed.payload, change)
    return SignedRecord(signed.record, payload, sign(person.sign.private, payload))


@check("records", "1", "A signed record that is not strict JSON is refused, and the link goes on.")
async def records(lab: Lab) -> None:
    """The same damage as to a head; each signed by the right key."""
    person = await lab.founder()
    event = person.event(b"cell")
    for name, damage in DAMAGES.items():
        wrong = _resigned(person, damage, event)
        await person.peer.refused(
            person.post_of(wrong, b"cell"), *_MALFORMED, what=f"an event with {name}"
        )
    for name, payload in {
        "of no type": event.payload.replace(b"OFC1:event", b"OFC1:", 1),
        "of an unknown type": event.payload.replace(b"OFC1:event", b"OFC1:party", 1),
        "of another protocol": event.payload.replace(b"OFC1", b"OFC9", 1),
        "of version 2": event.payload.replace(b'"v":1', b'"v":2', 1),
        "without a version": event.payload.replace(b'"v":1,', b"", 1),
    }.items():
        made = SignedRecord(event.record, payload, sign(person.sign.private, payload))
        codes = (*_MALFORMED, Code.UNSUPPORTED_VERSION)
        await person.peer.refused(person.post_of(made, b"cell"), *codes, what=f"an event {name}")
    other = person.rekey()
    await person.peer.refused(
        person.post_of(other, b"cell"), *_MALFORMED, what="a rotation sent as an event"
    )
    await person.say()


@check("rids", "3", "A request whose number waits for an answer ends the link; so does number 0.")
async def rids(lab: Lab) -> None:
    """One answer would do for two requests."""
    person = await lab.founder()
    post = person.post()
    put = frames.Post(post.rid, post.room, post.record, post.cell)
    await person.peer.send(post, put)
    end = await person.peer.ended()
    require(end.last_words == Code.BAD_FRAME, f"a number twice: {end.last_words!r}")
    peer = await lab.link()
    await peer.send(frames.Detach(0, RoomId(bytes(32))))
    try:
        came = await peer.quiet(1.0)
    except LinkEnded:
        return
    require(not any(isinstance(f, frames.Done) for f in came), "request 0 was answered")


@check("pipelined", "3", "Requests may be sent before the first is answered; each gets one answer.")
async def pipelined(lab: Lab) -> None:
    """As many as welcome says."""
    peer = await lab.link()
    most = min(peer.greeting.relay_limits.requests_in_flight, 64)
    asked = [frames.Detach(peer.number(), RoomId(bytes(32))) for _ in range(most)]
    await peer.send(*asked)
    for frame in asked:
        await peer.answer(frame.rid)
    await _nothing_more(peer)


async def _nothing_more(peer: Peer) -> None:
    if await peer.quiet(0.2):
        raise NotKept("a request was answered twice")
