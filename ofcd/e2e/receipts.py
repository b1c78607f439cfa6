"""Receipts: a member's signed word that its device has the room log up to some entry.

Nothing in a receipt is new: every event and control record names in `seen` what its sender had
verified, and proves as much. A receipt says it for members who have nothing else to say. What it
proves is that the signer's client computed this L, so that it had every entry up to there; not that
it could read them, or that a person did.
"""

from __future__ import annotations

from ofcd.e2e.errors import Reason, Unreadable
from ofcd.e2e.keys import MemberKeys
from ofcd.protocol.codes import Malformed, Refused
from ofcd.protocol.ids import RoomId
from ofcd.protocol.records import Receipt, Seen
from ofcd.protocol.room import Member
from ofcd.protocol.versions import VERSION
from ofcd.themis.signed import SignedRecord, open_signed, sign_record

__all__ = ["make_receipt", "open_receipt"]


def make_receipt(room: RoomId, mine: MemberKeys, seen: Seen, now: int) -> SignedRecord:
    """My word that I have the log of `room` up to `seen`."""
    return sign_record(mine.sign.private, Receipt(VERSION, room, mine.mid, seen, now))


def open_receipt(room: RoomId, member: Member, envelope: bytes) -> Receipt:
    """The receipt that `member` signed for `room`; raises `Unreadable` (bad_signature, bad_body).

    What it says is true only where its L is one's own.
    """
    try:
        receipt = open_signed(member.sign_key, envelope).record
    except Refused:
        raise Unreadable(Reason.BAD_SIGNATURE) from None
    except Malformed:
        raise Unreadable(Reason.BAD_BODY) from None
    if not isinstance(receipt, Receipt) or (receipt.room, receipt.mid) != (room, member.mid):
        raise Unreadable(Reason.BAD_BODY)
    return receipt
