"""Relays whose key was replaced, and statements that are not what they should be."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, cast

from attrs import evolve

from ofcd.protocol.ids import PublicKey, RelayId, relay_id_of
from ofcd.protocol.records import Succession, SuccessionAccept
from ofcd.themis import KeyPair, generate_keypair
from ofcd.themis.lineage import Lineage, succeed
from ofcd.themis.signed import open_signed, peek, sign_record

NOW = 1_800_000_000_000


def public(keys: KeyPair) -> PublicKey:
    return PublicKey(keys.public)


def first(keys: KeyPair) -> Lineage:
    """What who knows nothing but the id knows of a relay with this first key."""
    return Lineage(relay_id_of(public(keys)))


def line(*pairs: KeyPair) -> Lineage:
    """A relay that has had these keys, one after the other."""
    known = first(pairs[0])
    for old, new in pairwise(pairs):
        known = succeed(known, old, new, NOW)
    return known


def keys(count: int) -> list[KeyPair]:
    return [generate_keypair() for _ in range(count)]


def statement(
    old: KeyPair,
    new: KeyPair,
    relay_id: RelayId,
    *,
    by: KeyPair | None = None,
    accepted_by: KeyPair | None = None,
    accept: dict[str, Any] | None = None,
    **changes: Any,
) -> bytes:
    """A SUCCESSION from `old` to `new`, but for what is changed."""
    fields: dict[str, Any] = {"v": 1, "relay_id": relay_id, "number": 1, "key": public(old)}
    agreed = SuccessionAccept(**{**fields, **(accept or {})})
    signed = sign_record((accepted_by or new).private, agreed)
    record = Succession(
        **{**fields, "next_key": public(new), "ts": NOW, "accept": signed.envelope, **changes}
    )
    return sign_record((by or old).private, record).envelope


def signed_anew(old: KeyPair, raw: bytes) -> bytes:
    """The same statement, said once more: the signature is another one."""
    record = cast("Succession", open_signed(public(old), raw).record)
    return sign_record(old.private, evolve(record, ts=record.ts + 1)).envelope


def next_key(raw: bytes) -> PublicKey:
    return cast("Succession", peek(raw).record).next_key
