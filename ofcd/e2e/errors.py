"""What can go wrong between members.

E2eError
├── Unreadable      an event or signal that is not shown as its sender's words, and why
├── KeyMissing      the room key of an epoch is not here (yet)
├── KeyRejected     a room key was offered that must not be adopted: an alarm
├── BoxRejected     a box from one member to another that is not what it should be
├── JoinRejected    a join message failed a check; nothing was sealed
├── LinkInvalid     the text is not an invite link
├── BodyInvalid     what was to be sent can not be carried
│   └── BodyTooLong
├── FileRejected    an attachment that is not what its message says
├── PhraseTooShort  a phrase to compare that anyone would guess
├── ComparisonBroken  the other side of a comparison does not keep to its steps
└── LogBroken       the room log does not hold together; carries the evidence
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from ofcd.errors import OfcError

__all__ = [
    "BodyInvalid",
    "BodyTooLong",
    "BoxRejected",
    "ComparisonBroken",
    "E2eError",
    "Fault",
    "FileRejected",
    "JoinFault",
    "JoinRejected",
    "KeyFault",
    "KeyMissing",
    "KeyRejected",
    "LinkInvalid",
    "LogBroken",
    "PhraseTooShort",
    "Reason",
    "Unreadable",
]


class E2eError(OfcError):
    """Base of every error of this package."""

    code = "e2e"


class Reason(StrEnum):
    """Why an event or signal can not be read."""

    NOT_AN_EVENT = "not_an_event"
    WRONG_ROOM = "wrong_room"
    NOT_A_MEMBER = "not_a_member"
    MAY_NOT_POST = "may_not_post"
    MAY_NOT_ATTACH = "may_not_attach"
    BAD_SIGNATURE = "bad_signature"
    WRONG_EPOCH = "wrong_epoch"
    STALE_CONTROL = "stale_control"
    CELL_GONE = "cell_gone"
    CELL_MISMATCH = "cell_mismatch"
    MISSING_KEY = "missing_key"
    BAD_SEAL = "bad_seal"
    BAD_BODY = "bad_body"
    INNER_MISMATCH = "inner_mismatch"
    NOT_A_BRIDGE = "not_a_bridge"
    STALE = "stale"


_REASONS: Final[dict[Reason, str]] = {
    Reason.NOT_AN_EVENT: "this is not a well-formed message",
    Reason.WRONG_ROOM: "this message was made for another room",
    Reason.NOT_A_MEMBER: "this message names a sender who is not in the room",
    Reason.MAY_NOT_POST: "this message names a sender who may only read",
    Reason.MAY_NOT_ATTACH: "this message holds a file, and its sender may send none",
    Reason.BAD_SIGNATURE: "this message was not signed by the sender it names",
    Reason.WRONG_EPOCH: "this message was sealed under a room key that was no longer in use",
    Reason.STALE_CONTROL: "the sender of this message did not know who was in the room",
    Reason.CELL_GONE: "the content of this message is not there: removed, or withheld by the relay",
    Reason.CELL_MISMATCH: "the content of this message is not the one its sender signed",
    Reason.MISSING_KEY: "the room key for this message is not here",
    Reason.BAD_SEAL: "this message does not open with the room key",
    Reason.BAD_BODY: "the content of this message is not well-formed",
    Reason.INNER_MISMATCH: "the content of this message was made for another message",
    Reason.NOT_A_BRIDGE: "the sender of this message speaks for another network, but is no bridge",
    Reason.STALE: "this signal is too old",
}


class Unreadable(E2eError):
    """Show a marker with this sentence where the message stands, never its claimed content."""

    code = "unreadable"

    def __init__(self, reason: Reason) -> None:
        super().__init__(_REASONS[reason])
        self.reason = reason


class KeyMissing(E2eError):
    """The room key of `epoch` is not here; ask for it (KEY_REQ) if it is the current one."""

    code = "key_missing"

    def __init__(self, epoch: int) -> None:
        super().__init__(f"the room key of epoch {epoch} is not here")
        self.epoch = epoch


class KeyFault(StrEnum):
    """What is wrong with a room key that was offered."""

    COMMITMENT = "commitment"
    BOX_HASH = "box_hash"
    CANNOT_OPEN = "cannot_open"
    NOT_AN_OWNER = "not_an_owner"
    OTHER_REQUEST = "other_request"


_KEY_FAULTS: Final[dict[KeyFault, str]] = {
    KeyFault.COMMITMENT: "the room key offered is not the one the control log commits to",
    KeyFault.BOX_HASH: "the key box is not the one the signed record lists",
    KeyFault.CANNOT_OPEN: "the room key offered does not open, or was made for someone else",
    KeyFault.NOT_AN_OWNER: "a room key was offered by someone who is not an owner",
    KeyFault.OTHER_REQUEST: "the key answer belongs to another request",
}


class KeyRejected(E2eError):
    """Raise the alarm and do not adopt the key: an owner or the relay does not play fair."""

    code = "key_rejected"

    def __init__(self, fault: KeyFault) -> None:
        super().__init__(_KEY_FAULTS[fault])
        self.fault = fault


class BoxRejected(E2eError):
    """The box does not open, or was made for another purpose, room, sender or addressee (E5)."""

    code = "box_rejected"


class JoinFault(StrEnum):
    """Why a join message is refused by the one who received it."""

    MALFORMED = "malformed"
    WRONG_ROOM = "wrong_room"
    INVITE_UNKNOWN = "invite_unknown"
    INVITE_EXPIRED = "invite_expired"
    INVITE_USED = "invite_used"
    NOT_AN_ADMITTER = "not_an_admitter"
    ALREADY_MEMBER = "already_member"
    BAD_SIGNATURE = "bad_signature"
    BAD_PROOF = "bad_proof"
    BAD_BOX = "bad_box"
    BAD_KEY = "bad_key"
    BAD_CHAIN = "bad_chain"
    BAD_CELL = "bad_cell"
    WRONG_TRANSCRIPT = "wrong_transcript"
    EPOCH_MOVED = "epoch_moved"


_JOIN_FAULTS: Final[dict[JoinFault, str]] = {
    JoinFault.MALFORMED: "the join message is not well-formed",
    JoinFault.WRONG_ROOM: "the join message belongs to another room or relay",
    JoinFault.INVITE_UNKNOWN: "the invite is unknown or closed; ask for a new one",
    JoinFault.INVITE_EXPIRED: "the invite has expired; ask for a new one",
    JoinFault.INVITE_USED: "the invite was already used by someone else",
    JoinFault.NOT_AN_ADMITTER: "the join was answered by someone who may not answer this invite",
    JoinFault.ALREADY_MEMBER: "this key already is, or once was, a member of the room",
    JoinFault.BAD_SIGNATURE: "the join message was not signed by the one it names",
    JoinFault.BAD_PROOF: "the joiner does not prove that it holds the invite for these keys",
    JoinFault.BAD_BOX: "the joiner's box does not open, or was made for someone else",
    JoinFault.BAD_KEY: "a key in the join message is not a point on the curve",
    JoinFault.BAD_CHAIN: "the room's control log does not bear out what the join message says",
    JoinFault.BAD_CELL: "the sealed part of the join message does not open or is not well-formed",
    JoinFault.WRONG_TRANSCRIPT: "the join message answers another message",
    JoinFault.EPOCH_MOVED: "the room key has been rotated meanwhile; answer the request again",
}


class JoinRejected(E2eError):
    """A join message failed a check. `alert`: tell the owner, someone may be attacking."""

    code = "join_rejected"

    def __init__(self, fault: JoinFault, *, alert: bool = False) -> None:
        super().__init__(_JOIN_FAULTS[fault])
        self.fault = fault
        self.alert = alert


class LinkInvalid(E2eError):
    """The text is not an invite link; the sentence says what is wrong with it."""

    code = "link_invalid"


class BodyInvalid(E2eError, ValueError):
    """This can not be sent; the sentence says why."""

    code = "body_invalid"


class BodyTooLong(BodyInvalid):
    """It is `size` bytes where `allowed` fit."""

    code = "body_too_long"

    def __init__(self, size: int, allowed: int) -> None:
        super().__init__(f"the message has {size} bytes, and {allowed} fit; send it as a file")
        self.size = size
        self.allowed = allowed


class FileRejected(E2eError):
    """The attachment is not what its message says; show and keep nothing of it."""

    code = "file_rejected"


class PhraseTooShort(E2eError, ValueError):
    """Nothing was compared; a phrase has at least `least` characters."""

    code = "phrase_too_short"

    def __init__(self, least: int) -> None:
        super().__init__(f"a phrase to compare has at least {least} characters: choose two words")
        self.least = least


class ComparisonBroken(E2eError):
    """The run is over without a result: it took no step that could be told from an attack."""

    code = "comparison_broken"


class Fault(StrEnum):
    """What is wrong with a room log."""

    GAP = "gap"
    NOT_A_RECORD = "not_a_record"
    FORK = "fork"
    STALE_SEEN = "stale_seen"
    SENDER_GAP = "sender_gap"
    SENDER_PREV = "sender_prev"
    SENDER_FORK = "sender_fork"
    REPLAY = "replay"
    VOIDED = "voided"
    BAD_HEAD = "bad_head"
    EQUIVOCATION = "equivocation"


_FAULTS: Final[dict[Fault, str]] = {
    Fault.GAP: "the relay left out an event, or sent one twice",
    Fault.NOT_A_RECORD: "the relay put something into the room log that nobody can have signed",
    Fault.FORK: "the sender and you were shown different room logs: the relay lies to one of you",
    Fault.STALE_SEEN: "the sender was kept far behind: the relay should not have taken this event",
    Fault.SENDER_GAP: "an earlier event of this sender is missing from the room log",
    Fault.SENDER_PREV: "this event does not follow the sender's last one",
    Fault.SENDER_FORK: "the sender signed two different events with one number: two devices, or a "
    "stolen key",
    Fault.REPLAY: "the relay sent an old event again under a new number",
    Fault.VOIDED: "the relay published an event that it had refused",
    Fault.BAD_HEAD: "the relay's signed word for the room log is not signed by the room's relay",
    Fault.EQUIVOCATION: "the relay has signed two different room logs",
}


class LogBroken(E2eError):
    """The room log does not hold together at `seq`; `evidence` are the envelopes that show it."""

    code = "log_broken"

    def __init__(self, fault: Fault, seq: int, evidence: tuple[bytes, ...] = ()) -> None:
        super().__init__(_FAULTS[fault])
        self.fault = fault
        self.seq = seq
        self.evidence = evidence
