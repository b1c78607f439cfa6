"""GENESIS: founding a room (protocol.md §2.3)."""

from __future__ import annotations

from attrs import field, frozen

from ofcd.e2e.keys import EpochKeys, MemberKeys, key_commitment, new_nonce
from ofcd.e2e.log import RoomLog
from ofcd.protocol.ids import Hash32, RelayId, RoomId
from ofcd.protocol.records import Genesis, Policy
from ofcd.protocol.room import RoomState, found
from ofcd.protocol.versions import VERSION
from ofcd.themis import generate_key
from ofcd.themis.signed import SignedRecord, sign_record

__all__ = ["Founding", "make_genesis"]


@frozen
class Founding:
    """A new room, before any relay has heard of it."""

    signed: SignedRecord
    state: RoomState
    keys: EpochKeys
    """The first room key, of epoch 0."""
    log: RoomLog = field(repr=False)


def make_genesis(
    mine: MemberKeys,
    relay_id: RelayId,
    now: int,
    policy: Policy | None = None,
    predecessor: tuple[RoomId, Hash32] | None = None,
) -> Founding:
    """Found a room with `mine` as root, at the relay `relay_id`.

    Its id is a hash of what is signed here, so sending it again founds nothing new.
    """
    nonce, key = new_nonce(), generate_key()
    commitment = key_commitment(nonce, 0, key)
    genesis = Genesis(
        v=VERSION,
        nonce=nonce,
        sign_key=mine.sign_key,
        enc_key=mine.enc_key,
        relay_id=relay_id,
        policy=policy or Policy(),
        key_commitment=commitment,
        ts=now,
        predecessor=predecessor,
    )
    signed = sign_record(mine.sign.private, genesis)
    state = found(genesis, signed.payload)
    keys = EpochKeys(nonce).adopt(0, key, commitment)
    return Founding(signed, state, keys, RoomLog.founded(state.room))
