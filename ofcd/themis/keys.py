"""Keys: EC P-256 pairs from the core, and the one form in which a public key may stand (E7)."""

from __future__ import annotations

import secrets
from ctypes import byref, c_int, create_string_buffer
from typing import Final

from attrs import field, frozen

from ofcd.protocol import ids
from ofcd.protocol.codes import Malformed
from ofcd.themis._core import pythemis_module
from ofcd.themis.errors import CoreFailed, InvalidInput

__all__ = [
    "KEY_BYTES",
    "PRIVATE_KEY_BYTES",
    "PUBLIC_KEY_BYTES",
    "KeyPair",
    "check_public_key",
    "generate_key",
    "generate_keypair",
    "is_canonical_public_key",
]

KEY_BYTES: Final = 32
PUBLIC_KEY_BYTES: Final = ids.PUBLIC_KEY_BYTES
PRIVATE_KEY_BYTES: Final = 45

_PRIVATE_KEY_TAG: Final = b"REC2"
_BUFFER_TOO_SMALL: Final = 14
_TRIES: Final = 64
_EC_SIGNED: Final = 0x26042620

_skeygen = pythemis_module("skeygen")
_library = pythemis_module("smessage").themis


@frozen
class KeyPair:
    """An EC P-256 key pair in Themis' containers, 45 bytes each; the public key is canonical."""

    private: bytes = field(repr=False)
    public: bytes


def generate_keypair() -> KeyPair:
    """A new EC P-256 pair; the randomness is the core's, seeded by the OS."""
    pair = _skeygen.GenerateKeyPair(_skeygen.KEY_PAIR_TYPE.EC)
    public = pair.export_public_key()
    if not is_canonical_public_key(public):
        raise CoreFailed("the Themis core made a public key that is not in canonical form")
    return KeyPair(private=pair.export_private_key(), public=public)


def generate_key() -> bytes:
    """32 random bytes from the OS: a key for `seal`."""
    return secrets.token_bytes(KEY_BYTES)


def is_canonical_public_key(raw: bytes) -> bool:
    """Whether `raw` has the one allowed form: UEC2, 45 bytes, compressed point (E7).

    Looks at the form only: the point may still lie off the curve.
    """
    try:
        ids.check_public_key(raw)
    except Malformed:
        return False
    return True


def check_public_key(raw: bytes) -> ids.PublicKey:
    """`raw` as a public key whose form, checksum and point the core has accepted.

    The core loads the key, which proves the point is on the curve, and is stopped before any
    signature work by an output buffer too small for its answer. Raises `InvalidInput`.
    """
    require_canonical(raw)
    valid = _library.themis_is_valid_asym_key(raw, len(raw)) == 0
    probe = b"".join(n.to_bytes(4, "little") for n in (_EC_SIGNED, 1, 1)) + b"\0\0"
    status = _library.themis_secure_message_verify(
        raw, len(raw), probe, len(probe), create_string_buffer(1), byref(c_int(0))
    )
    if not valid or status != _BUFFER_TOO_SMALL:
        raise InvalidInput("the public key is damaged or not a point on the curve")
    return ids.PublicKey(raw)


def require_canonical(raw: bytes) -> None:
    """Raises `InvalidInput` unless `raw` is a public key in canonical form."""
    if not is_canonical_public_key(raw):
        raise InvalidInput("the public key is not in its canonical 45-byte form")


def require_private(raw: bytes) -> None:
    """Raises `InvalidInput` unless `raw` has the form of an EC P-256 private key."""
    if len(raw) != PRIVATE_KEY_BYTES or raw[:4] != _PRIVATE_KEY_TAG:
        raise InvalidInput("the private key is not an EC P-256 key of 45 bytes")
