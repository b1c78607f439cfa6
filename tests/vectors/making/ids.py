"""ids.json: the hash H, everything that is made with it, and the two text forms of bytes."""

from __future__ import annotations

from typing import Any

from ofcd.compliance.p256 import uncompressed_twin
from ofcd.e2e.keys import key_commitment
from ofcd.protocol.codes import Code
from ofcd.protocol.ids import (
    EventId,
    Hash32,
    b64decode,
    b64encode,
    check_public_key,
    event_id_of,
    invite_commitment,
    invite_proof,
    log_hash,
    member_id_of,
    payload_hash,
    relay_id_of,
    room_id_of,
    tagged_hash,
)
from tests.vectors.making.common import EVENT, HASH, INVITE, ROOM, Keys, code_of, public

_CASES: list[tuple[str, list[bytes | int]]] = [
    ("x", []),
    ("x", [b""]),
    ("x", [b"", b""]),
    ("x", [b"ab", b"c"]),
    ("x", [b"a", b"bc"]),
    ("y", [b"a", b"bc"]),
    ("x", [0]),
    ("x", [1]),
    ("x", [2**53 - 1]),
    ("x", [2**53 - 1]),
    ("msg", [b"\0" * 32, 7, b"msg"]),
    ("x", [b"\xff" * 1000]),
]
_PAYLOAD = b'OFC1:leave\n{"v":1}'


def make(keys: Keys) -> dict[str, Any]:
    """The content of ids.json."""
    return {
        "about": "H(tag, fields): SHA-256 of 'OFC1:' tag LF, then each field after its u32be "
        "length; an integer is 8 bytes, big-endian. A field is a hex string or an integer.",
        "hash": [_hash_case(tag, fields) for tag, fields in _CASES],
        "named": _named(keys),
        "log": _log(),
        "base64url": {
            "valid": [{"bytes": raw.hex(), "text": b64encode(raw)} for raw in _SAMPLES],
            "invalid": [{"text": text, "code": _refused_text(text)} for text in _BAD_TEXTS],
        },
        "public_keys": _public_keys(keys),
    }


_SAMPLES = [b"", b"\0", b"\xfb\xff", b"abc", bytes(range(32))]
_BAD_TEXTS = ["A", "AB", "AA==", "+/", "A A", "ä", "AAB", "AAAAB", "-", "A\n"]


def _hash_case(tag: str, fields: list[bytes | int]) -> dict[str, Any]:
    shown = [field if isinstance(field, int) else field.hex() for field in fields]
    return {"tag": tag, "fields": shown, "hash": tagged_hash(tag, *fields).hex()}


def _named(keys: Keys) -> list[dict[str, Any]]:
    sign_key, token, key = public(keys, "ana"), bytes(32), bytes(range(32))
    proof = invite_proof(token)
    cases: list[tuple[str, str, list[bytes | int], bytes]] = [
        ("room id", "room", [_PAYLOAD], room_id_of(_PAYLOAD)),
        ("event id", "eid", [_PAYLOAD], event_id_of(_PAYLOAD)),
        ("join message hash", "payload", [_PAYLOAD], payload_hash(_PAYLOAD)),
        ("member id", "mid", [sign_key], member_id_of(sign_key)),
        ("relay id", "relay", [sign_key], relay_id_of(sign_key)),
        ("invite proof P", "pre", [token], proof),
        ("invite commit", "inv", [ROOM, INVITE, proof], invite_commitment(ROOM, INVITE, proof)),
        ("key commitment kc", "kc", [HASH, 3, key], key_commitment(HASH, 3, key)),
    ]
    return [
        {"name": name, **_hash_case(tag, fields), "is": value.hex()}
        for name, tag, fields, value in cases
    ]


def _log() -> dict[str, Any]:
    log, rows = Hash32(ROOM), []
    for seq in range(1, 4):
        event_id = EventId(tagged_hash("vector", EVENT, seq))
        log = log_hash(log, seq, event_id)
        rows.append({"seq": seq, "event_id": event_id.hex(), "log": log.hex()})
    return {"room": ROOM.hex(), "entries": rows}


def _refused_text(text: str) -> str:
    return code_of(lambda raw: b64decode(raw.decode("utf-8")), text.encode("utf-8"))


def _public_keys(keys: Keys) -> dict[str, Any]:
    good = public(keys, "ana")
    wrong = {
        "uncompressed twin of the same point": uncompressed_twin(good),
        "one byte short": good[:-1],
        "one byte long": good + b"\0",
        "empty": b"",
        "private key's tag": b"REC2" + good[4:],
        "length field of another size": good[:4] + (77).to_bytes(4, "big") + good[8:],
        "point prefix 04": good[:12] + b"\x04" + good[13:],
    }
    assert all(code_of(check_public_key, raw) == Code.BAD_KEY for raw in wrong.values())
    return {
        "valid": [public(keys, name, use).hex() for name in ["ana", "bo"] for use in _USES],
        "invalid": [
            {"why": why, "key": raw.hex(), "code": Code.BAD_KEY} for why, raw in wrong.items()
        ],
    }


_USES = ("sign", "encrypt")
