"""The control log, replayed and verified: who is in the room, by signatures alone.

A relay can neither add, nor remove, nor reorder a record: each names the one before by hash, and
is signed by a key that the records before it authorise (protocol.md §2.2).
"""

from __future__ import annotations

from collections.abc import Iterable

from ofcd.protocol.codes import Code, Malformed, Refused
from ofcd.protocol.ids import EventId, RoomId, room_id_of
from ofcd.protocol.records import CONTROL_TYPES, Admit, Control, Genesis, Handover, UpdateKey
from ofcd.protocol.room import RoomState, found
from ofcd.themis.signed import SignedRecord, check_handover, check_keys, open_signed, peek

__all__ = ["apply_verified", "open_genesis", "verify_chain"]


def open_genesis(room: RoomId, envelope: bytes) -> tuple[RoomState, SignedRecord]:
    """The state that GENESIS opens; raises `Malformed` or `Refused` unless it founds `room`."""
    genesis = peek(envelope).record
    if not isinstance(genesis, Genesis):
        raise Malformed(Code.BAD_RECORD, "the control log does not begin with GENESIS")
    check_keys(genesis.sign_key, genesis.enc_key)
    signed = open_signed(genesis.sign_key, envelope)
    if room_id_of(signed.payload) != room:
        raise Refused(Code.NOT_FOUND, "this GENESIS founds another room")
    return found(genesis, signed.payload), signed


def apply_verified(state: RoomState, envelope: bytes, seq: int) -> tuple[RoomState, SignedRecord]:
    """The state after the control record in `envelope`, which stands at `seq` of the room log.

    Raises `Malformed` or `Refused` if the record is not signed by a key the log so far authorises,
    does not follow the log's head, or is not allowed to its signer. The state given stays as it is.
    """
    record = peek(envelope).record
    if not isinstance(record, CONTROL_TYPES):
        raise Malformed(Code.BAD_RECORD, "this is not a control record")
    signed = open_signed(state.key_of(record), envelope)
    if seq <= state.seq:
        raise Refused(Code.OUT_OF_ORDER, "a control record came out of order")
    _check_nested(state, record)
    return state.apply(record, signed.event_id, seq), signed


def verify_chain(
    room: RoomId,
    records: Iterable[tuple[int, bytes]],
    *,
    until: EventId | None = None,
    before: int | None = None,
) -> RoomState:
    """The state after a whole control log of (seq, envelope), GENESIS first.

    Stops after the record `until`, which must come; leaves out records at or after seq `before`.
    Raises `Malformed` or `Refused` at the first record that does not hold.
    """
    state: RoomState | None = None
    for seq, envelope in records:
        if state is None:
            if seq != 0:
                raise Refused(Code.OUT_OF_ORDER, "the control log does not begin at 0")
            state, _ = open_genesis(room, envelope)
        elif before is not None and seq >= before:
            break
        else:
            state, _ = apply_verified(state, envelope, seq)
        if state.ctl == until:
            return state
    if state is None or until is not None:
        raise Refused(Code.NOT_FOUND, "the control log is cut short")
    return state


def _check_nested(state: RoomState, record: Control) -> None:
    if isinstance(record, Handover):
        check_handover(state, record)
    if isinstance(record, Admit):
        check_keys(record.sign_key, record.enc_key)
    if isinstance(record, UpdateKey):
        check_keys(record.enc_key)
