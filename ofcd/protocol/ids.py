"""Identifiers, the hash `H`, and their text form (protocol.md §2.1)."""

from __future__ import annotations

import binascii
import hashlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Final, NewType

from ofcd.protocol.codes import Code, Malformed

__all__ = [
    "BlobId",
    "EventId",
    "Hash32",
    "InviteId",
    "MemberId",
    "PublicKey",
    "RelayId",
    "RoomId",
    "Sid",
    "b64decode",
    "b64encode",
    "check_public_key",
    "event_id_of",
    "invite_commitment",
    "invite_proof",
    "log_hash",
    "member_id_of",
    "payload_hash",
    "relay_id_of",
    "room_id_of",
    "sha256",
    "tagged_hash",
]

Hash32 = NewType("Hash32", bytes)
"""32 bytes: any SHA-256 of the protocol that has no name of its own."""
RoomId = NewType("RoomId", bytes)
"""32 bytes: H("room", GENESIS payload)."""
MemberId = NewType("MemberId", bytes)
"""32 bytes, `mid`: H("mid", the member's public signing key in this room)."""
RelayId = NewType("RelayId", bytes)
"""32 bytes: H("relay", the relay's public key)."""
EventId = NewType("EventId", bytes)
"""32 bytes: H("eid", the signed payload), never of the envelope (E6)."""
Sid = NewType("Sid", bytes)
"""16 bytes chosen by the sender: the same sid is the same message, however often it is sent."""
InviteId = NewType("InviteId", bytes)
"""16 random bytes."""
BlobId = NewType("BlobId", bytes)
"""16 random bytes that name an attachment at the relay."""
PublicKey = NewType("PublicKey", bytes)
"""45 bytes: a canonical EC P-256 public key (E7)."""

PUBLIC_KEY_BYTES: Final = 45
_PUBLIC_KEY_TAG: Final = b"UEC2"
_COMPRESSED_POINT: Final = (2, 3)
_PUBLIC_KEY_HEADER_BYTES: Final = 12


def sha256(data: bytes) -> Hash32:
    """The SHA-256 of `data`."""
    return Hash32(hashlib.sha256(data).digest())


def tagged_hash(tag: str, *fields: bytes | int) -> Hash32:
    r"""`H(tag, fields…)`: SHA-256 over "OFC1:" tag "\n" and each field, u32be length first.

    An int is written as 8 bytes, big-endian, so it must be in 0..2^64-1.
    """
    digest = hashlib.sha256(b"OFC1:" + tag.encode("ascii") + b"\n")
    for field in fields:
        raw = field.to_bytes(8, "big") if isinstance(field, int) else field
        digest.update(len(raw).to_bytes(4, "big"))
        digest.update(raw)
    return Hash32(digest.digest())


def room_id_of(genesis_payload: bytes) -> RoomId:
    """The self-certifying id of the room that this GENESIS payload founds."""
    return RoomId(tagged_hash("room", genesis_payload))


def event_id_of(payload: bytes) -> EventId:
    """The id of a signed record: a hash of what was signed, not of the envelope."""
    return EventId(tagged_hash("eid", payload))


def payload_hash(payload: bytes) -> Hash32:
    """The hash by which one join message names another (protocol.md §2.3, JOIN)."""
    return tagged_hash("payload", payload)


def member_id_of(sign_key: PublicKey) -> MemberId:
    """The `mid` of the member who signs with this key."""
    return MemberId(tagged_hash("mid", sign_key))


def relay_id_of(relay_key: PublicKey) -> RelayId:
    """The id that invites and clients pin for the relay with this key."""
    return RelayId(tagged_hash("relay", relay_key))


def log_hash(before: Hash32, seq: int, event_id: EventId) -> Hash32:
    """`L_s`: the room log's running hash after event number `seq` (protocol.md §2.2)."""
    return tagged_hash("log", before, seq, event_id)


def invite_proof(token: bytes) -> Hash32:
    """`P`, which shows the relay that its bearer knows the invite's token, without the token."""
    return tagged_hash("pre", token)


def invite_commitment(room: RoomId, invite_id: InviteId, proof: Hash32) -> Hash32:
    """What INVITE_OPEN publishes, so that the relay can check a `P` it has never seen."""
    return tagged_hash("inv", room, invite_id, proof)


def b64encode(raw: bytes) -> str:
    """Base64url without padding: how bytes stand in the JSON of records and frames."""
    return urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def b64decode(text: str) -> bytes:
    """The bytes of canonical base64url without padding.

    Raises `Malformed` for anything else, so that no two texts mean the same bytes.
    """
    try:
        raw = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        raise Malformed(Code.BAD_RECORD, "a field is not base64url") from None
    if b64encode(raw) != text:
        raise Malformed(Code.BAD_RECORD, "a field is not canonical base64url")
    return raw


def check_public_key(raw: bytes) -> PublicKey:
    """`raw` as a key, if it has the one canonical form (E7): tag UEC2, 45 bytes, prefix 02 or 03.

    Says nothing about the curve: the Themis core refuses a point that is not on it.
    Raises `Malformed` otherwise.
    """
    canonical = (
        len(raw) == PUBLIC_KEY_BYTES
        and raw[:4] == _PUBLIC_KEY_TAG
        and int.from_bytes(raw[4:8], "big") == PUBLIC_KEY_BYTES
        and raw[_PUBLIC_KEY_HEADER_BYTES] in _COMPRESSED_POINT
    )
    if not canonical:
        raise Malformed(Code.BAD_KEY, "the public key is not in its canonical 45-byte form")
    return PublicKey(raw)
