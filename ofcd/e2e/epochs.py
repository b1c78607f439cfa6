"""Room keys over time: routine and boxed REKEY, KEY_REQ (protocol.md §2.3).

A key is adopted only if an owner signed for it in the control log, and only if it is the one that
record commits to: an owner can not give different members different keys, and a relay can not
give anybody any.
"""

from __future__ import annotations

from collections.abc import Collection
from enum import Enum
from typing import Final

from attrs import field, frozen

from ofcd.e2e.boxes import AnswerBox, KeyBox, Party, check_own, open_box, seal_box
from ofcd.e2e.contexts import rekey_context
from ofcd.e2e.controls import header_fields, sign_control
from ofcd.e2e.errors import BoxRejected, KeyFault, KeyMissing, KeyRejected
from ofcd.e2e.keys import EpochKeys, MemberKeys, key_commitment, new_nonce
from ofcd.protocol import limits
from ofcd.protocol.codes import Code, Malformed, Refused
from ofcd.protocol.ids import MemberId, sha256
from ofcd.protocol.records import (
    KeyAnswer,
    KeyRequest,
    RekeyBoxed,
    RekeyRoutine,
    Seen,
)
from ofcd.protocol.room import Member, RoomState
from ofcd.protocol.versions import VERSION
from ofcd.themis import KEY_BYTES, CannotOpen, generate_key, seal, unseal
from ofcd.themis.signed import SignedRecord, open_signed, peek, sign_record

__all__ = [
    "Rekey",
    "RekeyDue",
    "follow",
    "forget_old_keys",
    "make_boxed_rekey",
    "make_key_answer",
    "make_key_request",
    "make_routine_rekey",
    "next_renewal",
    "open_boxed_rekey",
    "open_key_answer",
    "open_routine_rekey",
    "rekey_due",
]

_HOUR: Final = 3_600_000
_DAY: Final = 24 * _HOUR
_RENEWED_AT_ONCE: Final = 35
"""Members of a room in which each renews its key once a day; in larger ones less often."""
_LONGEST_DAYS: Final = 14


@frozen
class Rekey:
    """A REKEY to send: the record, its boxes in the order the record lists them, and the key."""

    signed: SignedRecord
    boxes: tuple[bytes, ...] = field(repr=False)
    key: bytes = field(repr=False)


# -- routine -------------------------------------------------------------------------------------


def make_routine_rekey(
    state: RoomState, mine: MemberKeys, keys: EpochKeys, seen: Seen, now: int
) -> Rekey:
    """The next room key, sealed under the current one: whoever has that can follow.

    Raises `KeyMissing` without the current key, `Refused` if a boxed one is due.
    """
    key, epoch = generate_key(), state.epoch + 1
    commitment = key_commitment(state.nonce, epoch, key)
    context = rekey_context(state.room, epoch, commitment, state.ctl)
    record = RekeyRoutine(
        **header_fields(state, mine, seen, now),
        epoch=epoch,
        key_commitment=commitment,
        cell=seal(keys.get(state.epoch), key, context),
    )
    return Rekey(sign_control(state, mine, record, seen), (), key)


def open_routine_rekey(record: RekeyRoutine, keys: EpochKeys) -> EpochKeys:
    """`keys` with the new one; raises `KeyMissing` (the one before) or `KeyRejected`."""
    before = keys.get(record.epoch - 1)
    context = rekey_context(record.room, record.epoch, record.key_commitment, record.prev)
    try:
        key = unseal(before, record.cell, context)
    except CannotOpen:
        raise KeyRejected(KeyFault.CANNOT_OPEN) from None
    return keys.adopt(record.epoch, _key(key), record.key_commitment)


# -- boxed ---------------------------------------------------------------------------------------


def make_boxed_rekey(
    state: RoomState,
    mine: MemberKeys,
    seen: Seen,
    now: int,
    *,
    removed: Collection[MemberId] = (),
    reason: str = "",
) -> Rekey:
    """A fresh room key, boxed for each member who stays; with `removed`, this is EVICT.

    Does not need the current key. About 0.7 ms a member. Raises `Refused`.
    """
    check_own(state, mine)
    key, epoch = generate_key(), state.epoch + 1
    commitment = key_commitment(state.nonce, epoch, key)
    content = KeyBox(epoch, commitment, state.ctl, key)
    staying = [member for member in state.members.values() if member.mid not in removed]
    boxes = tuple(seal_box(mine, _party(member), state.room, content) for member in staying)
    record = RekeyBoxed(
        **header_fields(state, mine, seen, now),
        epoch=epoch,
        key_commitment=commitment,
        boxes=tuple((m.mid, sha256(made)) for m, made in zip(staying, boxes, strict=True)),
        removed=tuple(removed),
        reason=reason,
    )
    return Rekey(sign_control(state, mine, record, seen), boxes, key)


def open_boxed_rekey(
    state: RoomState, mine: MemberKeys, record: RekeyBoxed, boxed: bytes, keys: EpochKeys
) -> EpochKeys:
    """`keys` with the one boxed for me; raises `KeyRejected`.

    `state` is the room's just before or after the (verified) record.
    """
    if dict(record.boxes).get(mine.mid) != sha256(boxed):
        raise KeyRejected(KeyFault.BOX_HASH)
    owner = _party(state.member(record.mid))
    try:
        content = open_box(mine, owner, record.room, KeyBox, boxed)
    except BoxRejected:
        raise KeyRejected(KeyFault.CANNOT_OPEN) from None
    said = (content.epoch, content.key_commitment, content.prev)
    if said != (record.epoch, record.key_commitment, record.prev):
        raise KeyRejected(KeyFault.CANNOT_OPEN)
    return keys.adopt(record.epoch, content.key, record.key_commitment)


def follow(
    state: RoomState,
    mine: MemberKeys,
    keys: EpochKeys,
    signed: SignedRecord,
    boxed: bytes | None,
) -> EpochKeys:
    """`keys` after a verified control record: with the new key, where it is a REKEY for me.

    Raises `KeyMissing` if it can not be had from here (the key before is missing, or my box did
    not come: ask by KEY_REQ) and `KeyRejected` for an alarm; the log goes on in both cases.
    """
    record = signed.record
    if isinstance(record, RekeyRoutine):
        return open_routine_rekey(record, keys)
    if isinstance(record, RekeyBoxed) and mine.mid in dict(record.boxes):
        if boxed is None:
            raise KeyMissing(record.epoch)
        return open_boxed_rekey(state, mine, record, boxed, keys)
    return keys


# -- asking --------------------------------------------------------------------------------------


def make_key_request(state: RoomState, mine: MemberKeys, now: int) -> SignedRecord:
    """KEY_REQ: I can not read the current epoch. Keep it: the answer names it."""
    request = KeyRequest(
        v=VERSION, room=state.room, mid=mine.mid, epoch=state.epoch, nonce=new_nonce(), ts=now
    )
    return sign_record(mine.sign.private, request)


def make_key_answer(
    state: RoomState, mine: MemberKeys, keys: EpochKeys, request: bytes
) -> tuple[SignedRecord, bytes]:
    """An owner's answer to the KEY_REQ in the envelope `request`: the signed record and its box.

    Only the current key is given, only to a current member. Raises `Refused`, `Malformed`, and
    `KeyMissing` if I do not have it myself.
    """
    asked = peek(request).record
    if not isinstance(asked, KeyRequest) or asked.room != state.room:
        raise Refused(Code.NOT_FOUND)
    member = state.member(asked.mid)
    signed = open_signed(member.sign_key, request)
    if not state.member(mine.mid).is_owner:
        raise Refused(Code.FORBIDDEN)
    if asked.epoch != state.epoch:
        raise Refused(Code.EPOCH_STALE)
    check_own(state, mine)
    content = AnswerBox(state.epoch, state.key_commitment, signed.hash, keys.get(state.epoch))
    boxed = seal_box(mine, _party(member), state.room, content)
    answer = KeyAnswer(
        v=VERSION,
        room=state.room,
        mid=mine.mid,
        to=member.mid,
        epoch=state.epoch,
        request_hash=signed.hash,
        box_hash=sha256(boxed),
    )
    return sign_record(mine.sign.private, answer), boxed


def open_key_answer(
    state: RoomState,
    mine: MemberKeys,
    keys: EpochKeys,
    request: SignedRecord,
    answer: bytes,
    boxed: bytes,
) -> EpochKeys:
    """`keys` with the current one, from the answer to my own `request`; raises `KeyRejected`."""
    record, owner = _verified_answer(state, answer)
    if (record.to, record.request_hash) != (mine.mid, request.hash):
        raise KeyRejected(KeyFault.OTHER_REQUEST)
    if record.box_hash != sha256(boxed):
        raise KeyRejected(KeyFault.BOX_HASH)
    try:
        content = open_box(mine, _party(owner), state.room, AnswerBox, boxed)
    except BoxRejected:
        raise KeyRejected(KeyFault.CANNOT_OPEN) from None
    if content.request_hash != request.hash:
        raise KeyRejected(KeyFault.OTHER_REQUEST)
    if (content.epoch, content.key_commitment) != (state.epoch, state.key_commitment):
        raise KeyRejected(KeyFault.COMMITMENT)
    return keys.adopt(state.epoch, content.key, state.key_commitment)


def _verified_answer(state: RoomState, answer: bytes) -> tuple[KeyAnswer, Member]:
    try:
        record = peek(answer).record
        if not isinstance(record, KeyAnswer) or record.room != state.room:
            raise KeyRejected(KeyFault.OTHER_REQUEST)
        owner = state.member(record.mid)
        open_signed(owner.sign_key, answer)
    except (Malformed, Refused):
        raise KeyRejected(KeyFault.NOT_AN_OWNER) from None
    if not owner.is_owner:
        raise KeyRejected(KeyFault.NOT_AN_OWNER)
    return record, owner


# -- policy --------------------------------------------------------------------------------------


class RekeyDue(Enum):
    """Whether an owner should rotate the room key now, and how."""

    NO = "no"
    ROUTINE = "routine"
    BOXED = "boxed"


def rekey_due(
    state: RoomState, head_seq: int, epoch_began: int, now: int, *, said_seq: int | None = None
) -> RekeyDue:
    """What an owner owes the room, its log ending at `head_seq`.

    `epoch_began` is when the current epoch's record was made, in milliseconds since 1970;
    `said_seq` is the last entry that is no beat, where the end of the log may be one. After a
    departure or a handover at once; else every `rotate_after` log entries or `rotate_hours`, if
    anything was said since, or nothing more can be (`stall_after`).
    """
    if state.closed:
        return RekeyDue.NO
    if state.boxed_due:
        return RekeyDue.BOXED
    entries = head_seq - state.epoch_seq
    said = (head_seq if said_seq is None else said_seq) > state.epoch_seq
    stalled = 0 < state.policy.stall_after <= entries
    by_time = now - epoch_began >= state.policy.rotate_hours * _HOUR
    if not (stalled or said) or not (entries >= state.policy.rotate_after or by_time):
        return RekeyDue.NO
    return RekeyDue.BOXED if state.boxed_required else RekeyDue.ROUTINE


def next_renewal(state: RoomState, mid: MemberId, now: int) -> int | None:
    """When `mid` is to replace its encryption key, in milliseconds since 1970; None: not yet.

    Once the key has opened, or made, something that stays secret, and is a day old: in rooms of
    more than 35 members older, up to two weeks, for the control log keeps every renewal for ever.
    """
    member = state.members.get(mid)
    if member is None or len(state.members) < 2 or not member.boxed_ts:
        return None
    if member.renewals >= limits.KEY_RENEWALS - 1:
        return None  # the last one is for who lost the key
    days = min(max(1, len(state.members) / _RENEWED_AT_ONCE), _LONGEST_DAYS)
    # What a clock said that was ahead counts as long ago, or it would put this off for ever.
    since, boxed = (ts if ts <= now else 0 for ts in (member.renewed_ts, member.boxed_ts))
    return max(since + int(days * _DAY), boxed)


def forget_old_keys(keys: EpochKeys, stored_epoch: int, keep: int = 1) -> EpochKeys:
    """`keys` without what is no longer needed: all but `keep` epochs before `stored_epoch`.

    `stored_epoch` is that of the last event this member has opened and stored. A key that is gone
    can not be stolen: what was recorded of its epoch stays closed.
    """
    return keys.forget_before(stored_epoch - keep)


def _party(member: Member) -> Party:
    return Party(member.mid, member.enc_key)


def _key(raw: bytes) -> bytes:
    if len(raw) != KEY_BYTES:
        raise KeyRejected(KeyFault.COMMITMENT)
    return raw
