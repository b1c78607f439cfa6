"""Secure Message: signatures, and boxes from one key to another.

Source: Themis' documentation of Secure Message. A signed message is a container of three
little-endian u32 (type, payload length, signature length), the payload and the signature. Facts
to design around: the container verifies with junk after it and with the signature's twin s→n-s
(E6), and a box has no direction and no context (E5).
"""

from __future__ import annotations

import struct
from typing import Final

from ofcd.themis._core import pythemis_module
from ofcd.themis.errors import BadSignature, CannotOpen, CoreFailed, InvalidInput
from ofcd.themis.keys import require_canonical, require_private

__all__ = [
    "BOX_OVERHEAD",
    "SIGN_OVERHEAD_MAX",
    "box",
    "sign",
    "unbox",
    "unverified_payload",
    "verify",
]

SIGN_OVERHEAD_MAX: Final = 84
"""Bytes a signed message may be longer than its payload (mostly 82 or 83)."""
BOX_OVERHEAD: Final = 52
"""Bytes a box is longer than its payload."""

_HEADER: Final = struct.Struct("<III")
_EC_SIGNED: Final = 0x26042620
_SIGNATURE_BYTES: Final = range(8, 73)
"""A DER signature on P-256: two integers of 1 to 33 bytes with their headers."""

_smessage = pythemis_module("smessage")
_CoreError: type[Exception] = pythemis_module("exception").ThemisError


def sign(private: bytes, payload: bytes) -> bytes:
    """`payload` in a signed container. Signing is randomised: two calls differ.

    Raises `InvalidInput` for an empty payload or a key that is no EC private key.
    """
    require_private(private)
    _require_payload(payload)
    try:
        signed: bytes = _smessage.ssign(private, payload)
    except _CoreError:
        raise InvalidInput("the private key is damaged: the Themis core does not sign") from None
    return signed


def verify(public: bytes, signed: bytes) -> bytes:
    """The payload that `public` signed: the only thing to hash, compare or store by (E6).

    Raises `BadSignature`, or `InvalidInput` for a public key not in canonical form (E7).
    """
    require_canonical(public)
    payload = unverified_payload(signed)
    try:
        proven: bytes = _smessage.sverify(public, signed)
    except _CoreError:
        raise BadSignature("the signature does not match this key and these bytes") from None
    if proven != payload:
        raise CoreFailed("the Themis core verified other bytes than the container holds")
    return proven


def unverified_payload(signed: bytes) -> bytes:
    """What the container says its payload is, PROVEN BY NOBODY: for cheap checks before `verify`.

    Junk after the signature is ignored, as Themis does. Raises `BadSignature` when malformed.
    """
    if len(signed) < _HEADER.size:
        raise BadSignature("the signed message is cut short")
    kind, payload_bytes, signature_bytes = _HEADER.unpack_from(signed)
    if kind != _EC_SIGNED or not payload_bytes or signature_bytes not in _SIGNATURE_BYTES:
        raise BadSignature("not a message signed with an EC P-256 key")
    if len(signed) < _HEADER.size + payload_bytes + signature_bytes:
        raise BadSignature("the signed message is cut short")
    return signed[_HEADER.size : _HEADER.size + payload_bytes]


def box(sender_private: bytes, recipient_public: bytes, payload: bytes) -> bytes:
    """`payload` encrypted from one key to another; 52 bytes longer.

    No context and no direction (E5): the payload must say from, to and purpose.
    Raises `InvalidInput`.
    """
    require_private(sender_private)
    require_canonical(recipient_public)
    _require_payload(payload)
    try:
        boxed: bytes = _smessage.SMessage(sender_private, recipient_public).wrap(payload)
    except _CoreError:
        raise InvalidInput("one of the keys is damaged: the Themis core does not box") from None
    return boxed


def unbox(recipient_private: bytes, sender_public: bytes, boxed: bytes) -> bytes:
    """The payload of a box. Raises `CannotOpen`, or `InvalidInput` for keys of a wrong form."""
    require_private(recipient_private)
    require_canonical(sender_public)
    if len(boxed) <= BOX_OVERHEAD:
        raise CannotOpen("the box is cut short")
    try:
        payload: bytes = _smessage.SMessage(recipient_private, sender_public).unwrap(boxed)
    except _CoreError:
        raise CannotOpen("the box does not open: wrong keys or changed bytes") from None
    if len(payload) + BOX_OVERHEAD != len(boxed):  # Themis ignores what follows a box
        raise CannotOpen("there is something behind the box")
    return payload


def _require_payload(payload: bytes) -> None:
    if not payload:
        raise InvalidInput("an empty payload can not be signed or boxed")
