"""frames.json: the bytes of every frame, and bytes that must be refused."""

from __future__ import annotations

import json
from typing import Any

import attrs

from ofcd.protocol.codec import join_parts
from ofcd.protocol.codes import Code
from ofcd.protocol.frames import (
    CLIENT_FRAMES,
    RELAY_FRAMES,
    Frame,
    RelayLimits,
    decode_client_frame,
    decode_relay_frame,
    encode_frame,
    join_frames,
    split_frames,
)
from ofcd.protocol.ids import RelayId
from tests.vectors.making.common import (
    BLOB,
    EVENT,
    HASH,
    INVITE,
    MID,
    NOW,
    ROOM,
    SID,
    Keys,
    code_of,
)

_VALUES: dict[str, Any] = {
    "rid": 7,
    "seq": 42,
    "start": 40,
    "cursor": 39,
    "head": 42,
    "epoch": 3,
    "index": 1,
    "count": 2,
    "version": 1,
    "ts": NOW,
    "retry_after": 500,
    "more": False,
    "room": ROOM,
    "mid": MID,
    "event_id": EVENT,
    "last": EVENT,
    "invite_id": INVITE,
    "sid": SID,
    "blob": BLOB,
    "log": HASH,
    "proof": HASH,
    "challenge": HASH,
    "versions": (1,),
    "seqs": (0, 41),
    "records": (b"record one", b"record two"),
    "succession": (b"first", b"second"),
    "boxes": (b"box one", b"box two"),
    "record": b"a signed record",
    "cell": b"a sealed cell",
    "box": b"a sealed box",
    "chunk": b"a sealed chunk",
    "code": "epoch_stale",
    "text": "the room key has been rotated; catch up and seal again",
    "state": "answered",
    "name": "relay.example",
    "software": "ofcd",
    "token": "a token",
    "hub": RelayId(HASH),
    "relay_id": RelayId(HASH),
    "hub_url": "wss://relay.example",
    "relay_limits": RelayLimits(65_536, 67_108_864, 500, 20, 32),
}

_BY_TYPE: dict[str, Any] = {
    "int": 5,
    "str": "some text",
    "bytes": b"some bytes",
    "bool": True,
    "Hash32": HASH,
    "EventId": EVENT,
    "MemberId": MID,
}
"""For fields that have no value of their own above."""


def make(_: Keys) -> dict[str, Any]:
    """The content of frames.json."""
    client = [_sample(cls) for cls in CLIENT_FRAMES.values()]
    relay = [_sample(cls) for cls in RELAY_FRAMES.values()]
    return {
        "about": "A frame is (u32be length, bytes)*: first a JSON head with its type, then the "
        "raw parts. A link message is u64be fseq and (u32be length, frame)*.",
        "client": [_valid(frame, decode_client_frame) for frame in client],
        "relay": [_valid(frame, decode_relay_frame) for frame in relay],
        "invalid": [_invalid(why, raw, code) for why, raw, code in _wrong()],
        "link_message": _link_message(client[:2]),
    }


def _sample(cls: type[Any]) -> Frame:
    frame: Frame = cls(**{f.name: _value(cls, f) for f in attrs.fields(cls)})
    return frame


def _value(cls: type[Any], field: Any) -> Any:
    if field.name in _VALUES:
        return _VALUES[field.name]
    if "PublicKey" in str(field.type):
        return None
    # A string until cattrs has resolved it, then the type itself.
    shown = field.type if isinstance(field.type, str) else getattr(field.type, "__name__", "")
    of_type = (shown or str(field.type)).removesuffix(" | None").rpartition(".")[2]
    assert of_type in _BY_TYPE, f"no sample value for {cls.__name__}.{field.name}: add one"
    return _BY_TYPE[of_type]


def _valid(frame: Frame, decode: Any) -> dict[str, Any]:
    raw = encode_frame(frame)
    assert decode(raw) == frame
    size = int.from_bytes(raw[:4], "big")
    head = json.loads(raw[4 : 4 + size])
    return {
        "type": head["type"],
        "head": head,
        "parts": _parts(raw[4 + size :]),
        "bytes": raw.hex(),
    }


def _parts(raw: bytes) -> list[str]:
    parts = []
    while raw:
        size = int.from_bytes(raw[:4], "big")
        parts.append(raw[4 : 4 + size].hex())
        raw = raw[4 + size :]
    return parts


def _invalid(why: str, raw: bytes, code: Code) -> dict[str, Any]:
    assert code_of(decode_client_frame, raw) == code, (why, code_of(decode_client_frame, raw))
    return {"why": why, "bytes": raw.hex(), "code": code.value}


def _wrong() -> list[tuple[str, bytes, Code]]:
    post = encode_frame(_sample(CLIENT_FRAMES["post"]))
    head = post[4 : 4 + int.from_bytes(post[:4], "big")]

    def frame(head: bytes, *parts: bytes) -> bytes:
        return join_parts([head, *parts])

    bad_frame, bad_record = Code.BAD_FRAME, Code.BAD_RECORD
    return [
        ("empty", b"", bad_frame),
        ("half a length", b"\0\0", bad_frame),
        ("a length past the end", b"\0\0\0\x09{}", bad_frame),
        ("a length of 4 GiB", b"\xff\xff\xff\xff{}", bad_frame),
        ("no type", frame(b"{}"), bad_frame),
        ("unknown type", frame(b'{"type":"poem"}'), bad_frame),
        ("type is a number", frame(b'{"type":7}'), bad_frame),
        ("a relay's frame", encode_frame(_sample(RELAY_FRAMES["ack"])), bad_frame),
        ("head is no object", frame(b"[]"), bad_record),
        ("head is no JSON", frame(b"{"), bad_record),
        ("a part missing", frame(head, b"record"), bad_frame),
        ("a part too many", frame(head, b"record", b"cell", b"more"), bad_frame),
        ("a part in the head", frame(head[:-1] + b',"cell":"eA"}', b"r", b"c"), bad_frame),
        ("a field missing", frame(b'{"type":"post","rid":7}', b"r", b"c"), bad_record),
        ("a field of a wrong type", frame(head.replace(b"7", b'"7"', 1), b"r", b"c"), bad_record),
        ("no versions", frame(b'{"type":"hello","versions":[]}'), bad_record),
    ]


def _link_message(frames: list[Frame]) -> dict[str, Any]:
    body = join_frames(encode_frame(frame) for frame in frames)
    assert split_frames(body) == [encode_frame(frame) for frame in frames]
    return {
        "fseq": 1,
        "frames": [encode_frame(frame).hex() for frame in frames],
        "bytes": ((1).to_bytes(8, "big") + body).hex(),
    }
