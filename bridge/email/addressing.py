"""The bridge's own addresses: `books`, `books+<token>`, `bounce+<token>`, `books+<token>.off`.

`.each` and `.digest` are like `.off`, for how the token's owner wants mail.

Tokens are 120 random bits, kept in the vault with what they stand for. They take the place of a
MAC: what is not in the vault was never ours, there is no key to keep or to leak, a token can be
changed for one person, and it says nothing of rooms or events to who carries the mail.
"""

from __future__ import annotations

import re
from base64 import b32encode
from enum import StrEnum
from typing import Final

from attrs import frozen

__all__ = [
    "TOKEN_BYTES",
    "Own",
    "Purpose",
    "can_be_written_to",
    "own_address",
    "token_text",
    "without_tokens",
]

TOKEN_BYTES: Final = 15
_LOCAL: Final = re.compile(
    r"([a-z0-9][a-z0-9._-]{0,40})(?:\+([a-z2-7]{24})(?:\.(off|each|digest))?)?"
)

_OTHERS: Final = re.compile(
    r"[\w!#$%&'*+/=?^`{|}~.-]{1,64}@[a-z0-9-]+(?:\.[a-z0-9-]+)*", re.ASCII | re.IGNORECASE
)

_WITH_TOKEN: Final = re.compile(
    r"([a-z0-9._-]{1,41})\+[a-z2-7]{24}(?:\.[a-z]{2,6}(?=@))?", re.IGNORECASE
)


class Purpose(StrEnum):
    """What a mail to an address of ours is for."""

    ROOM = "room"
    BOUNCE = "bounce"
    OFF = "off"
    """Whoever has the token wants no more mail."""
    EACH = "each"
    """They want a mail for each message."""
    DIGEST = "digest"
    """They want what was said together."""


@frozen
class Own:
    """An address of ours."""

    purpose: Purpose
    local: str
    """The place, but for `BOUNCE`."""
    token: str = ""


def token_text(random: bytes) -> str:
    """24 small letters and digits: survives every server that folds case."""
    return b32encode(random).decode("ascii").lower()


def own_address(address: str, *, domain: str, bounce: str) -> Own | None:
    """What an address means; None: it is not ours."""
    local, _, where = address.lower().strip("<>").rpartition("@")
    found = _LOCAL.fullmatch(local)
    if where != domain or found is None:
        return None
    token = found[2] or ""
    if found[1] == bounce:
        return Own(Purpose.BOUNCE, bounce, token)
    return Own(Purpose(found[3] or "room"), found[1], token)


def can_be_written_to(address: str) -> bool:
    """Whether mail of ours can go there: letters of other scripts need servers that few have.

    A domain with such letters has a name without (`xn--...`).
    """
    return len(address) <= 254 and _OTHERS.fullmatch(address) is not None


def without_tokens(text: str) -> str:
    """A text in which addresses like ours have lost their tokens, good ones or not."""
    return _WITH_TOKEN.sub(r"\1+…", text)
