"""What each seal is bound to: one tag for each kind of cell, so none opens as another (B2).

A context is a 32-byte `H(tag, fields…)` (protocol.md §2.1, §2.3); it goes into the key derivation
and the authenticated data of a Secure Cell.
"""

from __future__ import annotations

from ofcd.protocol.ids import (
    BlobId,
    EventId,
    Hash32,
    InviteId,
    MemberId,
    PublicKey,
    RoomId,
    Sid,
    tagged_hash,
)
from ofcd.protocol.records import EventKind

__all__ = [
    "attachment_context",
    "confirm_context",
    "join_context",
    "message_context",
    "proof_context",
    "proof_plaintext",
    "rekey_context",
    "signal_context",
]


def message_context(
    room: RoomId, epoch: int, mid: MemberId, counter: int, sid: Sid, kind: EventKind
) -> Hash32:
    """Of an event's cell, sealed under the epoch's key."""
    return tagged_hash("msg", room, epoch, mid, counter, sid, kind.value.encode("ascii"))


def rekey_context(room: RoomId, epoch: int, key_commitment: Hash32, prev: EventId) -> Hash32:
    """Of a routine REKEY's cell: the key of `epoch`, sealed under the one before."""
    return tagged_hash("rekey", room, epoch, key_commitment, prev)


def proof_context(room: RoomId, invite_id: InviteId) -> Hash32:
    """Of `tproof`, sealed under the invite's token."""
    return tagged_hash("jr-proof", room, invite_id)


def proof_plaintext(
    room: RoomId, invite_id: InviteId, sign_key: PublicKey, enc_key: PublicKey, nonce: Hash32
) -> Hash32:
    """What `tproof` says: the token's bearer shows these keys, in this request."""
    return tagged_hash("jr", room, invite_id, sign_key, enc_key, nonce)


def join_context(room: RoomId, invite_id: InviteId, token: bytes, request_hash: Hash32) -> Hash32:
    """Of JOIN_RESP's cell, sealed under the joiner's J, with the token as a second secret."""
    return tagged_hash("join", room, invite_id, token, request_hash)


def confirm_context(room: RoomId, mid: MemberId, epoch: int) -> Hash32:
    """Of JOIN_CONFIRM's cell, sealed under the epoch's key."""
    return tagged_hash("conf", room, mid, epoch)


def attachment_context(room: RoomId, blob: BlobId, index: int, count: int, size: int) -> Hash32:
    """Of one attachment chunk, sealed under the file's own key."""
    return tagged_hash("att", room, blob, index, count, size)


def signal_context(room: RoomId, epoch: int, mid: MemberId, nonce: bytes) -> Hash32:
    """Of an ephemeral signal, sealed under the epoch's key."""
    return tagged_hash("sig", room, epoch, mid, nonce)
