"""What each member lets a bridge copy (G4), as they said in the room; kept in the vault."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from ofcd.client.vault import Reader, Records
from ofcd.protocol.ids import MemberId, RoomId

__all__ = ["PRIVATE_MARK", "WHY_WITHHELD", "Consent", "consent_of", "is_private", "keep_consent"]

PRIVATE_MARK: Final = "//"
"""A message that begins with it, or "// ", stays in the room."""
WHY_WITHHELD: Final = "its author is not bridged"
_TABLE: Final = "app/bridge/consent"


class Consent(StrEnum):
    """How much."""

    FULL = "full"
    """Words and name: at first, everybody."""
    NICK_ONLY = "nick-only"
    """That they spoke, under their name, and not what they said."""
    WITHHELD = "withheld"
    """Nothing: neither their words nor their name leave the room."""


def consent_of(records: Reader, room: RoomId, mid: MemberId) -> Consent:
    """What a member has said."""
    raw = records.get(_TABLE, room + mid)
    return Consent.FULL if raw is None else Consent(raw.decode())


def keep_consent(tx: Records, room: RoomId, mid: MemberId, consent: Consent) -> None:
    """A member says so."""
    if consent is Consent.FULL:
        tx.delete(_TABLE, room + mid)
    else:
        tx.put(_TABLE, room + mid, consent.value.encode())


def is_private(text: str) -> bool:
    """Whether a message says of itself that it is not to be bridged."""
    return text.startswith(PRIVATE_MARK)
