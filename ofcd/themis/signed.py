"""Signed records: a record of `ofcd.protocol.records` inside a Themis signed message.

Two ways in. `peek` reads without verifying, so that cheap checks can come before the costly one;
`open_signed` verifies. Nothing may act on a peeked record before it was opened under the key that
should have made it.
"""

from __future__ import annotations

from attrs import field, frozen

from ofcd.protocol.codes import Code, Malformed, Refused
from ofcd.protocol.ids import EventId, Hash32, PublicKey, event_id_of, payload_hash
from ofcd.protocol.records import (
    Handover,
    HandoverAccept,
    Record,
    decode_record,
    encode_record,
)
from ofcd.protocol.room import RoomState
from ofcd.themis import check_public_key, sign, unverified_payload, verify
from ofcd.themis.errors import BadSignature, InvalidInput

__all__ = [
    "SignedRecord",
    "check_handover",
    "check_keys",
    "open_signed",
    "peek",
    "sign_record",
]


@frozen
class SignedRecord:
    """A record, the payload that was signed, and the envelope that carries both verbatim."""

    record: Record
    payload: bytes = field(repr=False)
    envelope: bytes = field(repr=False)

    @property
    def event_id(self) -> EventId:
        """The id of this record in the room and control logs."""
        return event_id_of(self.payload)

    @property
    def hash(self) -> Hash32:
        """The hash by which join messages name each other."""
        return payload_hash(self.payload)


def sign_record(private_key: bytes, record: Record) -> SignedRecord:
    """`record`, signed."""
    payload = encode_record(record)
    return SignedRecord(record, payload, sign(private_key, payload))


def peek(envelope: bytes) -> SignedRecord:
    """The record in `envelope`, NOT verified. Raises `Malformed` if there is none."""
    try:
        payload = unverified_payload(envelope)
    except BadSignature:
        raise Malformed(Code.BAD_RECORD, "this is not a signed record") from None
    return SignedRecord(decode_record(payload), payload, envelope)


def open_signed(key: PublicKey, envelope: bytes) -> SignedRecord:
    """The record in `envelope`, verified under `key`.

    Raises `Refused` (bad_signature) if another key, or nobody, signed it; `Malformed` if what was
    signed is not a record.
    """
    try:
        payload = verify(key, envelope)
    except BadSignature:
        raise Refused(Code.BAD_SIGNATURE) from None
    return SignedRecord(decode_record(payload), payload, envelope)


def check_keys(*keys: PublicKey) -> None:
    """The keys that a record brings are points on the curve; else `Malformed` (bad_key).

    To be asked by whoever takes a member in, relay and clients alike: a key that one of them
    takes and another does not would part them for good.
    """
    try:
        for key in keys:
            check_public_key(key)
    except InvalidInput as error:
        raise Malformed(Code.BAD_KEY, str(error)) from None


def check_handover(state: RoomState, record: Handover) -> None:
    """The nested HANDOVER_ACCEPT is the heir's, for this room, root and time; else `Refused`."""
    heir = state.member(record.to)
    accept = open_signed(heir.sign_key, record.accept).record
    wanted = (state.room, record.mid, record.to)
    if not isinstance(accept, HandoverAccept) or (accept.room, accept.root, accept.mid) != wanted:
        raise Refused(Code.FORBIDDEN, "the heir has not accepted this handover")
    state.check_accepted(accept.ctl)
