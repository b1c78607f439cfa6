"""Stable error codes of OFC/1, each with the sentence a person reads."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from ofcd.errors import OfcError

__all__ = ["RETRYABLE", "SENTENCES", "Code", "Malformed", "ProtocolError", "Refused"]


class Code(StrEnum):
    """What went wrong, as a word that never changes its meaning."""

    BAD_FRAME = "bad_frame"
    BAD_RECORD = "bad_record"
    BAD_KEY = "bad_key"
    BAD_SIGNATURE = "bad_signature"
    TOO_LARGE = "too_large"
    UNSUPPORTED_VERSION = "unsupported_version"
    OUT_OF_ORDER = "out_of_order"
    STALE_CHALLENGE = "stale_challenge"
    WRONG_TRANSPORT_KEY = "wrong_transport_key"
    WRONG_RELAY = "wrong_relay"
    NOT_ATTACHED = "not_attached"
    NOT_FOUND = "not_found"
    FORBIDDEN = "forbidden"
    EPOCH_STALE = "epoch_stale"
    CTL_STALE = "ctl_stale"
    CONFLICT = "conflict"
    COUNTER_GAP = "counter_gap"
    PREV_MISMATCH = "prev_mismatch"
    FORK = "fork"
    HUB_BEHIND = "hub_behind"
    SEEN_STALE = "seen_stale"
    CELL_MISMATCH = "cell_mismatch"
    SID_CONFLICT = "sid_conflict"
    BOXED_REQUIRED = "boxed_required"
    BOX_LIST_MISMATCH = "box_list_mismatch"
    ROOM_CLOSED = "room_closed"
    ROOM_FULL = "room_full"
    ALREADY_MEMBER = "already_member"
    ROOT_MUST_HAND_OVER = "root_must_hand_over"
    INVITE_UNKNOWN = "invite_unknown"
    INVITE_USED = "invite_used"
    JOIN_NOT_READY = "join_not_ready"
    EVICTED = "evicted"
    LEFT = "left"
    QUOTA = "quota"
    RATE_LIMITED = "rate_limited"
    STALLED = "stalled"
    TRY_AGAIN = "try_again"
    STORAGE_FAILED = "storage_failed"
    SHUTTING_DOWN = "shutting_down"
    HUB_AWAY = "hub_away"
    EXPIRED = "expired"
    NOT_FEDERATED = "not_federated"
    BLOB_GONE = "blob_gone"
    INTERNAL = "internal"


SENTENCES: Final[dict[Code, str]] = {
    Code.BAD_FRAME: "the frame is not well-formed OFC/1",
    Code.BAD_RECORD: "the signed record is not well-formed OFC/1",
    Code.BAD_KEY: "a public key is not in its canonical 45-byte form",
    Code.BAD_SIGNATURE: "the signature does not belong to the key that should have made it",
    Code.TOO_LARGE: "the message is larger than this relay takes",
    Code.UNSUPPORTED_VERSION: "this relay does not speak that protocol version; update the client",
    Code.OUT_OF_ORDER: "a frame came out of order; reconnect",
    Code.STALE_CHALLENGE: "the proof was made for another connection; reconnect and attach again",
    Code.WRONG_TRANSPORT_KEY: "the proof names another connection's key",
    Code.WRONG_RELAY: "the record names another relay",
    Code.NOT_ATTACHED: "attach to the room first",
    Code.NOT_FOUND: "there is no such room here, or you are not in it",
    Code.FORBIDDEN: "your role in the room does not allow this",
    Code.EPOCH_STALE: "the room key has been rotated; catch up and seal again",
    Code.CTL_STALE: "the room's membership has changed; catch up and sign again",
    Code.CONFLICT: "someone else changed the room first; catch up and try again",
    Code.COUNTER_GAP: "the message is not the sender's next one",
    Code.PREV_MISMATCH: "the message does not follow the sender's last one",
    Code.FORK: "you and the relay do not have the same room log: one of you was lied to",
    Code.HUB_BEHIND: "the relay has lost part of the room log and takes nothing until refilled",
    Code.SEEN_STALE: "the log position named is too old; catch up and sign again",
    Code.CELL_MISMATCH: "the sealed part is not the one that was signed",
    Code.SID_CONFLICT: "another message was already accepted under this id",
    Code.BOXED_REQUIRED: "the room key must now be handed out anew to each member (boxed rotation)",
    Code.BOX_LIST_MISMATCH: "the rotation does not list exactly the current members",
    Code.ROOM_CLOSED: "the room is closed",
    Code.ROOM_FULL: "the room has as many members as it may have",
    Code.ALREADY_MEMBER: "this key already is, or once was, a member of the room",
    Code.ROOT_MUST_HAND_OVER: "hand the room over before leaving it",
    Code.INVITE_UNKNOWN: "the invite is unknown, expired or closed; ask for a new one",
    Code.INVITE_USED: "the invite was already used; ask for a new one",
    Code.JOIN_NOT_READY: "the join has not come that far yet",
    Code.EVICTED: "you have been removed from the room",
    Code.LEFT: "you have left the room",
    Code.QUOTA: "a limit of this relay is reached",
    Code.RATE_LIMITED: "too fast; slow down and try again",
    Code.STALLED: "the connection read too slowly; reconnect and resume, nothing is lost",
    Code.TRY_AGAIN: "the relay could not do this now; try again",
    Code.STORAGE_FAILED: "the relay could not store this; nothing was accepted, try again later",
    Code.SHUTTING_DOWN: "the relay is stopping; reconnect later",
    Code.HUB_AWAY: "the room's own relay can not be reached now; try again later",
    Code.EXPIRED: "this waited too long for the room's own relay; say it again if it matters",
    Code.NOT_FEDERATED: "these two relays, or this room, do not talk across relays",
    Code.BLOB_GONE: "the attachment is no longer there; ask its sender for it",
    Code.INTERNAL: "the relay made a mistake; it has been logged",
}
"""The sentence for each code; a `Refused` may carry a more exact one."""

RETRYABLE: Final = frozenset(
    {
        Code.EPOCH_STALE,
        Code.CTL_STALE,
        Code.CONFLICT,
        Code.COUNTER_GAP,
        Code.PREV_MISMATCH,
        Code.SEEN_STALE,
        Code.RATE_LIMITED,
        Code.TRY_AGAIN,
        Code.STORAGE_FAILED,
        Code.SHUTTING_DOWN,
        Code.STALLED,
        Code.HUB_AWAY,
    }
)
"""Codes after which the same message may succeed, once the client has caught up or waited."""


class ProtocolError(OfcError):
    """OFC/1 does not allow what was sent; `kind` is the code a peer is told."""

    def __init__(self, kind: Code, detail: str | None = None) -> None:
        super().__init__(detail or SENTENCES[kind])
        self.kind = kind

    @property
    def code(self) -> str:  # type: ignore[override]  # per instance here: one class, many codes
        """The stable code of this error."""
        return self.kind.value


class Malformed(ProtocolError):
    """The bytes are not a well-formed frame, record or key."""


class Refused(ProtocolError):
    """A well-formed request that the state does not allow."""
