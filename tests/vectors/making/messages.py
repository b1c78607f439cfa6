"""contexts.json, bodies.json, names.json, invites.json: what members say to each other."""

from __future__ import annotations

import json
from typing import Any

from attrs import evolve

from ofcd.e2e import contexts
from ofcd.e2e.attachments import safe_file_name
from ofcd.e2e.bodies import (
    BODY_TYPES,
    BUCKETS,
    THUMB_BYTES,
    Alias,
    Beat,
    Body,
    Compare,
    CompareEnd,
    Content,
    Edit,
    FileRef,
    HandoverAccepted,
    HandoverOffer,
    Profile,
    Reaction,
    Redaction,
    RoomInfo,
    Text,
    TextFormat,
    Via,
    decode_body,
    encode_body,
    kind_of,
)
from ofcd.e2e.errors import LinkInvalid
from ofcd.e2e.invites import InviteCode, parse_link
from ofcd.e2e.names import display_name
from ofcd.protocol.codes import Code
from ofcd.protocol.ids import b64encode
from ofcd.protocol.records import EventKind
from tests.vectors.making.common import (
    BLOB,
    EVENT,
    HASH,
    INVITE,
    MID,
    OTHER_MID,
    RELAY,
    ROOM,
    SID,
    Keys,
    code_of,
    public,
)

_KEY = bytes(range(200, 232))


def _event_context(kind: EventKind) -> tuple[str, str, list[bytes | int], bytes]:
    context = contexts.message_context(ROOM, 3, MID, 7, SID, kind)
    fields: list[bytes | int] = [ROOM, 3, MID, 7, SID, kind.value.encode()]
    return f"cell of an event, kind {kind.value}", "msg", fields, context


def make_contexts(keys: Keys) -> dict[str, Any]:
    """The content of contexts.json."""
    sign_key, enc_key = public(keys, "ana"), public(keys, "ana", "encrypt")
    cases: list[tuple[str, str, list[bytes | int], bytes]] = [
        *map(_event_context, EventKind),
        (
            "cell of a routine REKEY",
            "rekey",
            [ROOM, 4, HASH, EVENT],
            contexts.rekey_context(ROOM, 4, HASH, EVENT),
        ),
        (
            "tproof",
            "jr-proof",
            [ROOM, INVITE],
            contexts.proof_context(ROOM, INVITE),
        ),
        (
            "plaintext of tproof",
            "jr",
            [ROOM, INVITE, sign_key, enc_key, HASH],
            contexts.proof_plaintext(ROOM, INVITE, sign_key, enc_key, HASH),
        ),
        (
            "cell of JOIN_RESP",
            "join",
            [ROOM, INVITE, _KEY, HASH],
            contexts.join_context(ROOM, INVITE, _KEY, HASH),
        ),
        (
            "cell of JOIN_CONFIRM",
            "conf",
            [ROOM, MID, 3],
            contexts.confirm_context(ROOM, MID, 3),
        ),
        (
            "attachment chunk",
            "att",
            [ROOM, BLOB, 1, 2, 300_000],
            contexts.attachment_context(ROOM, BLOB, 1, 2, 300_000),
        ),
        (
            "signal",
            "sig",
            [ROOM, 3, MID, bytes(SID)],
            contexts.signal_context(ROOM, 3, MID, bytes(SID)),
        ),
    ]
    return {
        "about": "What each seal is bound to: H(tag, fields) of ids.json.",
        "contexts": [
            {
                "of": of,
                "tag": tag,
                "fields": [f if isinstance(f, int) else f.hex() for f in fields],
                "context": context.hex(),
            }
            for of, tag, fields, context in cases
        ],
    }


# -- bodies --------------------------------------------------------------------------------------


_FILE = FileRef(BLOB, _KEY, 300_000, HASH, (HASH, HASH), "photo.jpg", "image/jpeg", "look")


def _contents() -> list[Content]:
    made: list[Content] = [
        Text("hello"),
        Text("*hi* 🦀", TextFormat.LITE, reply_to=EVENT, thread=EVENT, mentions=(OTHER_MID,)),
        Text("x" * 1000),
        Text("y" * 20_000),
        Edit(EVENT, "hello, world"),
        Reaction(EVENT, "👍"),
        Reaction(EVENT, "👍", removed=True),
        _FILE,
        evolve(_FILE, thumb=bytes(range(256)) * 3),
        Profile("Ana"),
        RoomInfo("Tea room", "what to drink"),
        Beat(),
        Redaction(EVENT, "wrong room"),
        HandoverOffer(OTHER_MID),
        HandoverAccepted(b"a signed record"),
        Compare(SID, OTHER_MID, 1, bytes(range(192))),
        CompareEnd(SID, OTHER_MID, "given_up"),
        Alias(OTHER_MID),
        Alias(OTHER_MID, removed=True),
    ]
    assert {type(content) for content in made} == set(BODY_TYPES.values())
    return made


def make_bodies(_: Keys) -> dict[str, Any]:
    """The content of bodies.json."""
    bodies = [Body(ROOM, MID, 7, SID, content, name="Ana") for content in _contents()]
    via = Via("irc", "nick!user@host", "Nick")
    bodies.append(Body(ROOM, MID, 7, SID, Text("hi"), "Bridge", 1, via, (EVENT,)))
    return {
        "about": "The plaintext of an event's cell: JSON, then spaces up to the next bucket.",
        "buckets": list(BUCKETS),
        "valid": [_valid_body(body) for body in bodies],
        "unknown": [
            {"json": text, "type": "poll"}
            for text in [_body_json(type="poll", content={"question": "tea?"}, more=[1, {}])]
        ],
        "invalid": [
            {"why": why, "json": text, "code": _refused_body(text)} for why, text in _bad_bodies()
        ],
    }


def _valid_body(body: Body) -> dict[str, Any]:
    raw = encode_body(body)
    assert decode_body(raw) == body
    return {"json": json.loads(raw), "kind": kind_of(body.content).value, "padded": len(raw)}


def _body_json(**changes: Any) -> str:
    base = json.loads(encode_body(Body(ROOM, MID, 7, SID, Text("hello"), name="Ana")))
    return json.dumps({**base, **changes})


def _file_json(thumb: str) -> str:
    base = json.loads(encode_body(Body(ROOM, MID, 7, SID, _FILE, name="Ana")))
    return json.dumps({**base, "content": {**base["content"], "thumb": thumb}})


def _refused_body(text: str) -> str:
    code = code_of(decode_body, text.encode())
    assert code == Code.BAD_RECORD
    return code


def _bad_bodies() -> list[tuple[str, str]]:
    return [
        ("no type", _body_json(type=None)),
        ("no content", _body_json(content=None)),
        ("content without its text", _body_json(content={})),
        ("text is a number", _body_json(content={"text": 7})),
        ("a thumbnail too long", _file_json(b64encode(bytes(THUMB_BYTES + 1)))),
        ("a thumbnail that is no base64url", _file_json("data:image/png,x")),
        ("a target that is no id", _body_json(type="edit", content={"target": "x", "text": ""})),
        ("room too short", _body_json(room="AAAA")),
        ("counter is a float", _body_json(counter=1.5)),
        ("257 characters of name", _body_json(name="n" * 257)),
        ("256 hops", _body_json(hops=256)),
        ("step 0 of a comparison", _body_json(type="compare", content=_step(0))),
        ("step 5 of a comparison", _body_json(type="compare", content=_step(5))),
        ("via without a remote id", _body_json(via={"network": "irc"})),
        ("a file key of 31 bytes", _body_json(type="file", content=_file_with_short_key())),
        ("not an object", "[]"),
    ]


def _step(number: int) -> dict[str, Any]:
    return {"run": b64encode(SID), "to": b64encode(OTHER_MID), "step": number, "data": "AAAA"}


def _file_with_short_key() -> dict[str, Any]:
    file: Any = next(c for c in _contents() if isinstance(c, FileRef))
    content: dict[str, Any] = json.loads(encode_body(Body(ROOM, MID, 7, SID, file)))["content"]
    return {**content, "key": "A" * 42}


# -- names and invites ---------------------------------------------------------------------------


def make_names(_: Keys) -> dict[str, Any]:
    """The content of names.json."""
    shown = [
        "Ana",
        "  Ana \t  Maria\n",
        "A\x00n\x1b[31ma",
        "Ana\u202egnp.exe",
        "A\u200bn\u200da\ufeff",
        "\u3164\u2800",
        "e\u0301",
        "Z" + "\u0334" * 9,
        "日本語 🦀",
        "x" * 100,
    ]
    saved = [
        "photo.jpg",
        "../../x",
        "..\\..\\x.txt",
        "/etc/passwd",
        "..",
        "",
        ".bashrc",
        "NUL.txt",
        "a<b>.txt",
        "cat\u202egpj.exe",
        "n" * 300 + ".tar",
    ]
    return {
        "about": "Names as they come, as they are shown, and as files are saved.",
        "display": [{"raw": raw, "shown": display_name(raw)} for raw in shown],
        "file": [{"raw": raw, "saved": safe_file_name(raw)} for raw in saved],
    }


def make_invites(_: Keys) -> dict[str, Any]:
    """The content of invites.json."""
    codes = [
        InviteCode(url, RELAY, ROOM, INVITE, _KEY, MID)
        for url in ("wss://relay.example", "ws://127.0.0.1:5103", "wss://[2001:db8::1]:443/ofc")
    ]
    return {
        "about": "ofc1: and base64url of relay id 32, room 32, invite id 16, token 32, inviter "
        "32, relay address, then 4 bytes of H('link', all before).",
        "valid": [_valid_link(code) for code in codes],
        "invalid": [{"text": text, "sentence": _refused_link(text)} for text in _bad_links(codes)],
    }


def _valid_link(code: InviteCode) -> dict[str, Any]:
    assert parse_link(code.link()) == parse_link(code.text) == code
    return {
        "relay_url": code.relay_url,
        "relay_id": code.relay_id.hex(),
        "room": code.room.hex(),
        "invite_id": code.invite_id.hex(),
        "token": code.token.hex(),
        "inviter": code.inviter.hex(),
        "proof": code.proof.hex(),
        "text": code.text,
        "link": code.link(),
    }


def _bad_links(codes: list[InviteCode]) -> list[str]:
    text = codes[0].text
    mistyped = text[:100] + ("A" if text[100] != "A" else "B") + text[101:]
    return ["", "hello", "https://relay.example/", text[:-6], mistyped, f"ftp://x/#{text}"]


def _refused_link(text: str) -> str:
    try:
        parse_link(text)
    except LinkInvalid as invalid:
        return str(invalid)
    raise AssertionError("this was to be refused")
