"""Fixed ids and keys that several files of vectors share."""

from __future__ import annotations

from typing import Any, Final

from ofcd.e2e.keys import MemberKeys
from ofcd.protocol.codes import Malformed
from ofcd.protocol.ids import (
    BlobId,
    EventId,
    Hash32,
    InviteId,
    MemberId,
    PublicKey,
    RelayId,
    RoomId,
    Sid,
)
from ofcd.themis import KeyPair

ROOM: Final = RoomId(bytes(range(32)))
MID: Final = MemberId(bytes(range(32, 64)))
OTHER_MID: Final = MemberId(bytes(range(64, 96)))
EVENT: Final = EventId(bytes(range(96, 128)))
HASH: Final = Hash32(bytes(range(128, 160)))
RELAY: Final = RelayId(bytes(range(160, 192)))
SID: Final = Sid(bytes(range(16)))
INVITE: Final = InviteId(bytes(range(16, 32)))
BLOB: Final = BlobId(bytes(range(32, 48)))
NOW: Final = 1_750_000_000_000

Keys = dict[str, Any]


def member(keys: Keys, name: str) -> MemberKeys:
    """One of the members of keys.json."""
    found = keys["members"][name]
    return MemberKeys(sign=_pair(found["sign"]), encrypt=_pair(found["encrypt"]))


def relay_pair(keys: Keys) -> KeyPair:
    """The relay of keys.json."""
    return _pair(keys["relay"])


def public(keys: Keys, name: str, use: str = "sign") -> PublicKey:
    """A member's public key."""
    return PublicKey(bytes.fromhex(keys["members"][name][use]["public"]))


def code_of(decode: Any, raw: bytes) -> str:
    """The code with which `decode` refuses `raw`; it must."""
    try:
        decode(raw)
    except Malformed as malformed:
        return malformed.code
    raise AssertionError(f"this was to be refused: {raw[:80]!r}")


def _pair(found: dict[str, str]) -> KeyPair:
    return KeyPair(bytes.fromhex(found["private"]), bytes.fromhex(found["public"]))
