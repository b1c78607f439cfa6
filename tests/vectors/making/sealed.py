"""keys.json and sealed.json: fixed keys, and what was sealed, boxed and signed under them once."""

from __future__ import annotations

from typing import Any

from ofcd.compliance.p256 import signature_twin
from ofcd.e2e.attachments import FileSealer
from ofcd.e2e.bodies import FileRef
from ofcd.e2e.boxes import AnswerBox, Content, JoinBox, KeyBox, Party, TokenBox, seal_box
from ofcd.e2e.keys import EpochKeys, MemberKeys
from ofcd.e2e.signals import Signal, SignalKind, seal_signal
from ofcd.protocol.codec import unbuild
from ofcd.protocol.records import LogHead, encode_record
from ofcd.themis import KeyPair, generate_key, generate_keypair, seal, sign, verify
from tests.vectors.making.common import (
    EVENT,
    HASH,
    INVITE,
    MID,
    NOW,
    ROOM,
    Keys,
    member,
)

_MEMBERS = ("root", "ana", "bo", "cy")


def make_keys() -> dict[str, Any]:
    """The content of keys.json."""
    return {
        "about": "Keys for tests, in Themis' containers; everybody knows them, so use them "
        "nowhere else.",
        "relay": _shown(generate_keypair()),
        "members": {name: _member(MemberKeys.generate()) for name in _MEMBERS},
        "symmetric": generate_key().hex(),
    }


def _member(keys: MemberKeys) -> dict[str, Any]:
    return {"mid": keys.mid.hex(), "sign": _shown(keys.sign), "encrypt": _shown(keys.encrypt)}


def _shown(pair: KeyPair) -> dict[str, str]:
    return {"private": pair.private.hex(), "public": pair.public.hex()}


def make(keys: Keys) -> dict[str, Any]:
    """The content of sealed.json."""
    return {
        "about": "Made once with keys.json: seals under `symmetric`, boxes from ana to bo, "
        "signatures by ana. Each must open to its plaintext, and to nothing once changed.",
        "cells": [_cell(keys, plaintext) for plaintext in (b"x", b"hello" * 50)],
        "boxes": [_box(keys, content) for content in _box_contents(keys)],
        "signatures": _signatures(keys),
        "signal": _signal(keys),
        "file": _file(),
    }


def _cell(keys: Keys, plaintext: bytes) -> dict[str, str]:
    sealed = seal(bytes.fromhex(keys["symmetric"]), plaintext, HASH)
    return {"context": HASH.hex(), "plaintext": plaintext.hex(), "sealed": sealed.hex()}


def _box_contents(keys: Keys) -> list[Content]:
    key = bytes.fromhex(keys["symmetric"])
    return [
        KeyBox(3, HASH, EVENT, key),
        AnswerBox(3, HASH, HASH, key),
        TokenBox(INVITE, key),
        JoinBox(INVITE, key, HASH, b"a proof"),
    ]


def _box(keys: Keys, content: Content) -> dict[str, Any]:
    ana, bo = member(keys, "ana"), member(keys, "bo")
    boxed = seal_box(ana, Party(bo.mid, bo.enc_key), ROOM, content)
    purpose = {KeyBox: "key", AnswerBox: "answer", TokenBox: "inv", JoinBox: "join"}
    return {
        "purpose": purpose[type(content)],
        "room": ROOM.hex(),
        "from": "ana",
        "to": "bo",
        "fields": unbuild(content),
        "box": boxed.hex(),
    }


def _signatures(keys: Keys) -> list[dict[str, str]]:
    ana = member(keys, "ana")
    payload = encode_record(LogHead(1, ROOM, 0, 41, HASH, NOW))
    first = sign(ana.sign.private, payload)
    forms = {
        "signed": first,
        "signed again": sign(ana.sign.private, payload),
        "the twin signature": signature_twin(first),
        "junk behind": first + b"junk",
    }
    assert all(verify(ana.sign_key, form) == payload for form in forms.values())
    return [
        {"what": what, "by": "ana", "payload": payload.decode(), "envelope": form.hex()}
        for what, form in forms.items()
    ]


def _signal(keys: Keys) -> dict[str, Any]:
    epoch_keys = EpochKeys(HASH, {3: bytes.fromhex(keys["symmetric"])})
    cell = seal_signal(ROOM, 3, epoch_keys, MID, Signal(SignalKind.TYPING, NOW))
    return {
        "room": ROOM.hex(),
        "epoch": 3,
        "mid": MID.hex(),
        "kind": "typing",
        "ts": NOW,
        "cell": cell.hex(),
    }


def _file() -> dict[str, Any]:
    content = b"a small file"
    sealer = FileSealer(ROOM, len(content))
    chunk = sealer.seal(content)
    ref: FileRef = sealer.finish("notes.txt", "text/plain")
    return {
        "room": ROOM.hex(),
        "content": content.hex(),
        "ref": unbuild(ref),
        "chunks": [chunk.data.hex()],
    }
