"""Signatures of webhooks (sans-IO): the HMAC-SHA256 that this ecosystem agreed on.

These are other people's protocols at the edge of ours: Standard Webhooks (standardwebhooks.com,
its specification, "Signature scheme") and GitHub's X-Hub-Signature-256. Nothing that stays inside
a room is protected this way.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from typing import Final

from ofcd.errors import OfcError

__all__ = ["BadSignature", "check_github", "check_standard", "read_secret", "sign"]

SECRET_BYTES: Final = 16
"""At least."""
_PREFIX: Final = "whsec_"
_ID_LENGTH: Final = 200


class BadSignature(OfcError):
    """A request is not signed with this hook's secret, or not now."""

    code = "webhook_signature"


def read_secret(text: str) -> bytes:
    """A secret as written in a file: "whsec_" and base64, or any text. Raises ValueError."""
    secret = text.encode("ascii")
    if text.startswith(_PREFIX):
        try:
            secret = base64.b64decode(text[len(_PREFIX) :], validate=True)
        except binascii.Error:
            raise ValueError("what follows whsec_ is no base64") from None
    if len(secret) < SECRET_BYTES:
        raise ValueError(f"a secret is at least {SECRET_BYTES} bytes long")
    return secret


def sign(secret: bytes, message_id: str, seconds: int, body: bytes) -> str:
    """The value of `webhook-signature`; `seconds` since 1970 go into `webhook-timestamp`."""
    mac = hmac.digest(secret, f"{message_id}.{seconds}.".encode() + body, hashlib.sha256)
    return "v1," + base64.b64encode(mac).decode("ascii")


def check_standard(
    secret: bytes, headers: Mapping[str, str], body: bytes, now: int, tolerance: int
) -> str:
    """Check a request by Standard Webhooks; returns the id it is known by.

    `now` and `tolerance` in milliseconds. Raises `BadSignature`.
    """
    message_id = headers.get("webhook-id", "")
    stamp = headers.get("webhook-timestamp", "")
    if not 0 < len(message_id) <= _ID_LENGTH or not (stamp.isascii() and stamp.isdigit()):
        raise BadSignature("webhook-id and webhook-timestamp are missing, or none")
    if "." in message_id:  # as in "id.time.body": another split of it would be signed, too
        raise BadSignature("webhook-id holds a dot")
    if len(stamp) > 12 or abs(now - int(stamp) * 1000) > tolerance:
        raise BadSignature("webhook-timestamp is too far from this machine's clock")
    wanted = sign(secret, message_id, int(stamp), body)
    given = headers.get("webhook-signature", "").split()[:10]
    # All are compared, each in constant time; several are sent while a secret is changed.
    if not sum(_equal(wanted, one) for one in given):
        raise BadSignature("webhook-signature does not fit")
    return f"id:{message_id}"


def check_github(secret: bytes, headers: Mapping[str, str], body: bytes) -> str:
    """Check a request by X-Hub-Signature-256; returns the id it is known by: its body's hash.

    GitHub's own id of a delivery is not signed, so it proves nothing. Raises `BadSignature`.
    """
    wanted = "sha256=" + hmac.digest(secret, body, hashlib.sha256).hex()
    if not _equal(wanted, headers.get("x-hub-signature-256", "")):
        raise BadSignature("x-hub-signature-256 does not fit")
    return f"body:{hashlib.sha256(body).hexdigest()}"


def _equal(wanted: str, given: str) -> bool:
    return hmac.compare_digest(wanted.encode(), given.encode("utf-8", "replace"))
