"""records.json: payloads of every signed record, and payloads that must be refused."""

from __future__ import annotations

import json
from typing import Any

from ofcd.compliance.p256 import uncompressed_twin
from ofcd.protocol.codes import Code
from ofcd.protocol.ids import RelayId, b64encode, event_id_of
from ofcd.protocol.records import (
    RECORD_TYPES,
    Admit,
    Attach,
    Cap,
    Descriptor,
    Event,
    EventKind,
    Genesis,
    Grant,
    Handover,
    HandoverAccept,
    History,
    Home,
    HubMove,
    InviteClose,
    InviteOpen,
    JoinConfirm,
    JoinRequest,
    JoinResponse,
    KeyAnswer,
    KeyRequest,
    Leave,
    LogHead,
    Peer,
    Policy,
    Receipt,
    Record,
    RekeyBoxed,
    RekeyRoutine,
    Role,
    Seen,
    Succession,
    SuccessionAccept,
    UpdateKey,
    decode_record,
    encode_record,
)
from tests.vectors.making.common import (
    EVENT,
    HASH,
    INVITE,
    MID,
    NOW,
    OTHER_MID,
    RELAY,
    ROOM,
    SID,
    Keys,
    code_of,
    public,
)

_SEEN = Seen(41, HASH)
_CONTROL: dict[str, Any] = {
    "v": 1,
    "room": ROOM,
    "mid": MID,
    "prev": EVENT,
    "seen": _SEEN,
    "ts": NOW,
}
_EVENT: dict[str, Any] = {
    "v": 1,
    "room": ROOM,
    "epoch": 3,
    "mid": MID,
    "counter": 7,
    "prev": EVENT,
    "seen": _SEEN,
    "ctl": EVENT,
    "sid": SID,
    "cell_hash": HASH,
    "ts": NOW,
}


def make(keys: Keys) -> dict[str, Any]:
    """The content of records.json."""
    return {
        "about": "A payload is 'OFC1:' type LF and strict JSON; it is signed and hashed as it "
        "stands and never written anew. `fields` are its JSON; what stands at its default is "
        "left out. Ids, hashes and keys are base64url without padding.",
        "valid": [_valid(record) for record in samples(keys)],
        "invalid": [_invalid(why, payload, code) for why, payload, code in _wrong(keys)],
    }


def _valid(record: Record) -> dict[str, Any]:
    payload = encode_record(record)
    assert decode_record(payload) == record
    head, _, fields = payload.partition(b"\n")
    return {
        "type": head.removeprefix(b"OFC1:").decode(),
        "payload": payload.decode("utf-8"),
        "fields": json.loads(fields),
        "event_id": event_id_of(payload).hex(),
    }


def _invalid(why: str, payload: bytes, code: Code) -> dict[str, Any]:
    assert code_of(decode_record, payload) == code, (why, code_of(decode_record, payload))
    return {"why": why, "payload": payload.hex(), "code": code.value}


def samples(keys: Keys) -> list[Record]:
    """At least one record of every type."""
    sign_key, enc_key = public(keys, "ana"), public(keys, "ana", "encrypt")
    made: list[Record] = [
        Genesis(1, HASH, sign_key, enc_key, RELAY, Policy(), HASH, NOW),
        Genesis(
            1,
            HASH,
            sign_key,
            enc_key,
            RELAY,
            Policy(
                rotate_after=50,
                history=History.JOIN,
                join_rekey=True,
                stall_after=900,
                beat_minutes=0,
                local_only=True,
            ),
            HASH,
            NOW,
            predecessor=(ROOM, HASH),
        ),
        Attach(1, ROOM, MID, sign_key, RELAY, HASH, NOW),
        InviteOpen(
            **_CONTROL,
            invite_id=INVITE,
            commit=HASH,
            expires=NOW + 1,
            admitters=(MID, OTHER_MID),
            role=Role.MEMBER,
            caps=(Cap.BOT,),
            token_boxes=((OTHER_MID, b"a box"),),
        ),
        InviteClose(**_CONTROL, invite_id=INVITE),
        Admit(
            **_CONTROL,
            invite_id=INVITE,
            sign_key=sign_key,
            enc_key=enc_key,
            role=Role.READONLY,
            confirm_hash=HASH,
            epoch=3,
            history_from=40,
            home=RELAY,
        ),
        RekeyRoutine(**_CONTROL, epoch=4, key_commitment=HASH, cell=b"a cell"),
        RekeyBoxed(
            **_CONTROL,
            epoch=4,
            key_commitment=HASH,
            boxes=((MID, HASH),),
            removed=(OTHER_MID,),
            reason="left the club, über alles gut",
        ),
        Leave(**_CONTROL),
        Grant(**_CONTROL, member=OTHER_MID, role=Role.CO_OWNER, caps=(Cap.ADMIT, Cap.BRIDGE)),
        Grant(**_CONTROL, member=OTHER_MID, role=Role.MEMBER, caps=(Cap.BOT, Cap("later"))),
        Handover(**_CONTROL, to=OTHER_MID, accept=b"a signed record"),
        Home(**_CONTROL, home=RELAY),
        UpdateKey(**_CONTROL, enc_key=enc_key),
        HubMove(**_CONTROL, hub=RELAY, urls=("wss://relay.example", "wss://r.example"), term=1),
        HubMove(
            **_CONTROL, hub=RELAY, urls=("wss://relay.example",), term=7, force=True, after=EVENT
        ),
        HandoverAccept(1, ROOM, MID, OTHER_MID, EVENT, NOW),
        JoinRequest(1, ROOM, INVITE, HASH, sign_key, enc_key, HASH, RELAY, ((MID, b"a box"),)),
        JoinResponse(1, ROOM, INVITE, HASH, MID, OTHER_MID, b"a cell"),
        JoinConfirm(1, ROOM, INVITE, HASH, HASH, OTHER_MID, 3, b"a cell"),
        Event(**_EVENT, kind=EventKind.MESSAGE),
        Event(**_EVENT, kind=EventKind.REDACT, target=EVENT),
        Event(**_EVENT, kind=EventKind.BEAT),
        KeyRequest(1, ROOM, MID, 3, HASH, NOW),
        KeyAnswer(1, ROOM, MID, OTHER_MID, 3, HASH, HASH),
        Receipt(1, ROOM, MID, _SEEN, NOW),
        LogHead(1, ROOM, 0, 41, HASH, NOW),
        Peer(1, RELAY, RelayId(HASH), HASH, NOW, "wss://relay.example"),
        Descriptor(1, RELAY, sign_key, "relay.example", ("wss://relay.example",), NOW + 1, 7),
        Succession(1, RELAY, 1, sign_key, enc_key, NOW, b"accept"),
        SuccessionAccept(1, RELAY, 1, sign_key),
    ]
    assert {type(record) for record in made} == set(RECORD_TYPES.values())
    return made


def _wrong(keys: Keys) -> list[tuple[str, bytes, Code]]:
    good = encode_record(Event(**_EVENT, kind=EventKind.MESSAGE))
    admit = next(r for r in samples(keys) if isinstance(r, Admit))
    twin = uncompressed_twin(admit.sign_key)
    fields: dict[str, Any] = json.loads(good.partition(b"\n")[2])

    def event(**changes: Any) -> bytes:
        return b"OFC1:event\n" + json.dumps({**fields, **changes}).encode()

    def without(name: str) -> bytes:
        return b"OFC1:event\n" + json.dumps({k: v for k, v in fields.items() if k != name}).encode()

    def raw(text: str) -> bytes:
        return good[:-1] + b"," + text.encode() + b"}"

    def moved(**changes: Any) -> bytes:
        move = next(r for r in samples(keys) if isinstance(r, HubMove))
        there = json.loads(encode_record(move).partition(b"\n")[2])
        return b"OFC1:hub_move\n" + json.dumps({**there, **changes}).encode()

    def with_key(key: bytes) -> bytes:
        admitted = json.loads(encode_record(admit).partition(b"\n")[2])
        return b"OFC1:admit\n" + json.dumps({**admitted, "sign_key": b64encode(key)}).encode()

    bad, key = Code.BAD_RECORD, Code.BAD_KEY
    missing = [(f"without {name}", without(name), bad) for name in fields if name != "v"]
    return [
        *missing,
        ("without v", without("v"), Code.UNSUPPORTED_VERSION),
        ("unknown version", event(v=2), Code.UNSUPPORTED_VERSION),
        ("version as text", event(v="1"), Code.UNSUPPORTED_VERSION),
        ("empty", b"", bad),
        ("no newline", b"OFC1:event", bad),
        ("unknown type", b'OFC1:poem\n{"v":1}', bad),
        ("reserved type", b'OFC1:recover\n{"v":1}', bad),
        ("no prefix", good.removeprefix(b"OFC1:"), bad),
        ("another family", good.replace(b"OFC1:", b"OFC2:", 1), bad),
        ("not an object", b"OFC1:event\n[]", bad),
        ("junk behind", good + b"x", bad),
        ("duplicate key", raw('"v":1'), bad),
        ("float", event(ts=1.0), bad),
        ("exponent", raw('"x":1e3'), bad),
        ("NaN", raw('"x":NaN'), bad),
        ("2^53", event(ts=2**53), bad),
        ("a number of 400 digits", raw('"x":' + "9" * 400), bad),
        ("negative", event(ts=-1), bad),
        ("true for a number", event(ts=True), bad),
        ("NUL", raw('"x":"a\\u0000b"'), bad),
        ("lone surrogate", raw('"x":"\\ud83e"'), bad),
        ("not UTF-8", good[:-1] + b',"x":"\xff"}', bad),
        ("depth 9", raw('"x":' + "[" * 8 + "]" * 8), bad),
        ("depth 2000, unclosed", raw('"x":' + "[" * 2000), bad),
        ("id too short", event(sid="AAAA"), bad),
        ("padded base64", event(room=fields["room"] + "="), bad),
        ("base64 that is not canonical", event(room=fields["room"][:-1] + "9"), bad),
        ("counter 0", event(counter=0), bad),
        ("unknown kind", event(kind="shout"), bad),
        ("seen without log", event(seen={"seq": 1}), bad),
        ("null for an id", event(prev=None), bad),
        ("a move to nowhere", moved(urls=[]), bad),
        ("a move to five addresses", moved(urls=["wss://r.example"] * 5), bad),
        ("a move to a long address", moved(urls=["wss://" + "w" * 195]), bad),
        *(
            (f"a move to {what}", moved(urls=[url]), bad)
            for what, url in (
                ("nothing", ""),
                ("a page", "https://r.example"),
                ("no host", "wss://"),
                ("a person at a host", "wss://me:word@r.example"),
                ("a port too far", "wss://r.example:65536"),
                ("port 0", "wss://r.example:0"),
                ("a question", "wss://r.example/?to=me"),
                ("a fragment", "wss://r.example/#ofc1:"),
                ("another script", "wss://r\u0435lay.example"),
                ("two lines", "wss://r.example\n"),
                ("capitals", "WSS://r.example"),
            )
        ),
        ("uncompressed public key", with_key(twin), key),
        ("key of 44 bytes", with_key(admit.sign_key[:-1]), key),
    ]
