"""Joining: the joiner's and the admitter's half (protocol.md §2.3, JOIN).

    joiner                            admitter
    make_request   -- JOIN_REQ -->    answer_request
    check_response <-- JOIN_RESP --
                   -- JOIN_CONFIRM -> check_confirm, make_admit  -- ADMIT --> the control log

The room key goes only to someone who proves, under the invite's token, that the keys shown are
its own: a relay that swaps keys, or asks for an invite that was never made, is sealed nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, TypeVar

from attrs import field, frozen
from attrs.validators import max_len, min_len

from ofcd.e2e.boxes import JoinBox, Party, open_box, seal_box
from ofcd.e2e.chain import verify_chain
from ofcd.e2e.contexts import confirm_context, join_context, proof_context, proof_plaintext
from ofcd.e2e.controls import header_fields, sign_control
from ofcd.e2e.errors import BoxRejected, JoinFault, JoinRejected, KeyRejected
from ofcd.e2e.invites import InviteCode
from ofcd.e2e.keys import EpochKeys, MemberKeys, new_nonce
from ofcd.e2e.names import NAME_CHARACTERS, display_name
from ofcd.protocol import limits
from ofcd.protocol.codec import build, dump_json, parse_json, unbuild
from ofcd.protocol.codes import Malformed, Refused
from ofcd.protocol.ids import (
    EventId,
    Hash32,
    MemberId,
    PublicKey,
    RelayId,
    b64encode,
    invite_commitment,
    invite_proof,
    member_id_of,
)
from ofcd.protocol.records import (
    Admit,
    History,
    JoinConfirm,
    JoinRequest,
    JoinResponse,
    Seen,
)
from ofcd.protocol.room import Invite, Member, RoomState
from ofcd.protocol.versions import VERSION
from ofcd.themis import (
    KEY_BYTES,
    CannotOpen,
    generate_key,
    seal,
    unseal,
)
from ofcd.themis.signed import SignedRecord, check_keys, open_signed, peek, sign_record

__all__ = [
    "ABANDONED_AFTER",
    "Answered",
    "Joined",
    "Joining",
    "Welcome",
    "answer_request",
    "check_admitted",
    "check_confirm",
    "check_response",
    "is_abandoned",
    "make_admit",
    "make_request",
    "rekey_first",
    "requested_name",
]

J = TypeVar("J", JoinRequest, JoinResponse, JoinConfirm)

ABANDONED_AFTER: Final = 24 * 3_600_000
"""Milliseconds after which an answered join that was not finished costs a boxed REKEY."""
_NAME_STEP: Final = 64
_NAMES_BYTES: Final = 6 * limits.KIB
"""Names told to a newcomer: the response fits RECORD_BYTES; the rest come with messages."""


# -- what both keep, and what is sealed ----------------------------------------------------------


@frozen
class Joining:
    """A joiner's secrets until it is admitted: stored, so that a restart goes on with the join."""

    code: InviteCode
    keys: MemberKeys
    join_key: bytes = field(repr=False)
    """J: 32 bytes, the key of JOIN_RESP's cell."""
    request: SignedRecord


@frozen
class Joined:
    """What JOIN_RESP brought a joiner, checked; it is a member once ADMIT is in the control log."""

    keys: EpochKeys
    state: RoomState
    """The room at the control head the admitter named."""
    welcome: Welcome
    confirm: SignedRecord
    """JOIN_CONFIRM, to send; keep it: send the same one again, not a new one."""


@frozen
class Answered:
    """What an admitter keeps of the one request it answered for an invite: stored with the room."""

    request: SignedRecord
    response: SignedRecord
    epoch: int
    answered_at: int
    """Milliseconds since 1970, by the admitter's clock."""


@frozen
class Welcome:
    """The sealed part of JOIN_RESP."""

    key: bytes = field(repr=False, validator=[min_len(KEY_BYTES), max_len(KEY_BYTES)])
    epoch: int
    key_commitment: Hash32
    ctl: EventId
    seq: int
    log: Hash32
    names: tuple[tuple[MemberId, str], ...] = ()
    """What members call themselves: to show until they say so themselves."""
    room_name: str = ""


@frozen
class _Transcript:
    request_hash: Hash32
    response_hash: Hash32


# -- the joiner ----------------------------------------------------------------------------------


def make_request(
    code: InviteCode,
    state: RoomState,
    *,
    home: RelayId,
    now: int,
    mine: MemberKeys | None = None,
    name: str = "",
) -> Joining:
    """JOIN_REQ for the invite in `code`, by someone who wants to be called `name`.

    `state` is the room's by the control log that the relay showed (`chain.verify_chain`).
    Raises `JoinRejected` if the log does not bear out what the invite says.
    """
    invite = _invite_of(code, state, now)
    keys, join_key, nonce = mine or MemberKeys.generate(), generate_key(), new_nonce()
    proof = _prove(code, keys, nonce)
    content = JoinBox(code.invite_id, join_key, nonce, proof, _padded(name))
    admitters = [state.members[mid] for mid in invite.admitters if mid in state.members]
    boxes = tuple(
        (m.mid, seal_box(keys, Party(m.mid, m.enc_key), state.room, content)) for m in admitters
    )
    request = JoinRequest(
        v=VERSION,
        room=code.room,
        invite_id=code.invite_id,
        proof=code.proof,
        sign_key=keys.sign_key,
        enc_key=keys.enc_key,
        nonce=nonce,
        home=home,
        boxes=boxes,
    )
    return Joining(code, keys, join_key, sign_record(keys.sign.private, request))


def check_response(joining: Joining, chain: Iterable[tuple[int, bytes]], envelope: bytes) -> Joined:
    """What the JOIN_RESP in `envelope` brings, and the JOIN_CONFIRM to send.

    `chain` is the control log from GENESIS on, at least up to the head that the response names;
    it must show that the responder may answer this invite, and commit to the key handed over.
    Raises `JoinRejected`.
    """
    response = _opened_unverified(envelope, JoinResponse)
    wanted = (joining.code.room, joining.code.invite_id, joining.request.hash, joining.keys.mid)
    if (response.room, response.invite_id, response.request_hash, response.to) != wanted:
        raise JoinRejected(JoinFault.WRONG_TRANSCRIPT)
    welcome = _open_welcome(joining, response)
    state = _state_at(joining.code, chain, welcome.ctl)
    signed = _verified(_admitter_key(state, joining.code, response.mid), envelope)
    said = (welcome.epoch, welcome.key_commitment)
    if said != (state.epoch, state.key_commitment) or welcome.seq < state.seq:
        raise JoinRejected(JoinFault.BAD_CHAIN)
    try:
        keys = EpochKeys(state.nonce).adopt(state.epoch, welcome.key, state.key_commitment)
    except KeyRejected:
        raise JoinRejected(JoinFault.BAD_CHAIN, alert=True) from None
    return Joined(keys, state, welcome, _make_confirm(joining, signed, welcome))


def check_admitted(state: RoomState, mine: MemberKeys) -> Member:
    """Me as the control log has me; raises `JoinRejected` unless ADMIT names both my keys.

    An admitter that put another encryption key beside my identity would read my boxes. One that
    UPDATE_E has set since bears my own signature.
    """
    member = state.members.get(mine.mid)
    if member is None:
        raise JoinRejected(JoinFault.BAD_CHAIN)
    if not member.has_renewed and member.enc_key != mine.enc_key:
        raise JoinRejected(JoinFault.BAD_KEY, alert=True)
    return member


def _invite_of(code: InviteCode, state: RoomState, now: int) -> Invite:
    if (state.room, state.hub) != (code.room, code.relay_id):
        raise JoinRejected(JoinFault.WRONG_ROOM)
    invite = state.invites.get(code.invite_id)
    if invite is None:
        raise JoinRejected(JoinFault.INVITE_UNKNOWN)
    if invite.expires <= now:
        raise JoinRejected(JoinFault.INVITE_EXPIRED)
    commit = invite_commitment(code.room, code.invite_id, code.proof)
    if (invite.commit, invite.inviter) != (commit, code.inviter):
        raise JoinRejected(JoinFault.BAD_CHAIN)
    return invite


def _padded(name: str) -> str:
    """A name whose length the box does not tell."""
    shown = display_name(name)
    return shown + " " * (-len(shown.encode()) % _NAME_STEP)


def _prove(code: InviteCode, keys: MemberKeys, nonce: Hash32) -> bytes:
    shown = proof_plaintext(code.room, code.invite_id, keys.sign_key, keys.enc_key, nonce)
    return seal(code.token, shown, proof_context(code.room, code.invite_id))


def _open_welcome(joining: Joining, response: JoinResponse) -> Welcome:
    code = joining.code
    context = join_context(code.room, code.invite_id, code.token, joining.request.hash)
    try:
        raw = unseal(joining.join_key, response.cell, context)
        return build(Welcome, parse_json(raw, max_bytes=limits.RECORD_BYTES))
    except (CannotOpen, Malformed):
        raise JoinRejected(JoinFault.BAD_CELL) from None


def _state_at(code: InviteCode, chain: Iterable[tuple[int, bytes]], ctl: EventId) -> RoomState:
    try:
        state = verify_chain(code.room, chain, until=ctl)
    except (Malformed, Refused):
        raise JoinRejected(JoinFault.BAD_CHAIN) from None
    if state.hub != code.relay_id:
        raise JoinRejected(JoinFault.WRONG_ROOM)
    return state


def _admitter_key(state: RoomState, code: InviteCode, mid: MemberId) -> PublicKey:
    invite, admitter = state.invites.get(code.invite_id), state.members.get(mid)
    if invite is None:
        raise JoinRejected(JoinFault.INVITE_UNKNOWN)
    if admitter is None or not admitter.may_admit or mid not in invite.admitters:
        raise JoinRejected(JoinFault.NOT_AN_ADMITTER)
    return admitter.sign_key


def _make_confirm(joining: Joining, response: SignedRecord, welcome: Welcome) -> SignedRecord:
    transcript = _Transcript(joining.request.hash, response.hash)
    mid, room = joining.keys.mid, joining.code.room
    cell = seal(
        welcome.key, dump_json(unbuild(transcript)), confirm_context(room, mid, welcome.epoch)
    )
    confirm = JoinConfirm(
        v=VERSION,
        room=room,
        invite_id=joining.code.invite_id,
        request_hash=transcript.request_hash,
        response_hash=transcript.response_hash,
        mid=mid,
        epoch=welcome.epoch,
        cell=cell,
    )
    return sign_record(joining.keys.sign.private, confirm)


# -- the admitter --------------------------------------------------------------------------------


def answer_request(
    state: RoomState,
    mine: MemberKeys,
    keys: EpochKeys,
    envelope: bytes,
    *,
    token: bytes | None,
    seen: Seen,
    now: int,
    earlier: Answered | None = None,
    names: Mapping[MemberId, str] | None = None,
    room_name: str = "",
) -> Answered:
    """The answer to the JOIN_REQ in `envelope`: send its `response`, keep it all.

    `token` is what this admitter holds for the request's invite, `earlier` what it answered for
    that invite before: the same request again gets the same bytes, unless the room key has been
    rotated; another request is refused, and the owner told. Raises `JoinRejected`, having sealed
    nothing; `KeyMissing` without the room key.
    """
    if token is None:
        raise JoinRejected(JoinFault.INVITE_UNKNOWN)
    signed, request = _check_request(state, mine, envelope, token, now)
    if earlier is not None and earlier.request.hash != signed.hash:
        raise JoinRejected(JoinFault.INVITE_USED, alert=True)
    if earlier is not None and earlier.epoch == state.epoch:
        return earlier
    content = _open_request(state, mine, request, token)
    welcome = Welcome(
        key=keys.get(state.epoch),
        epoch=state.epoch,
        key_commitment=state.key_commitment,
        ctl=state.ctl,
        seq=seen.seq,
        log=seen.log,
        names=_names_that_fit(state, names or {}),
        room_name=display_name(room_name),
    )
    context = join_context(state.room, request.invite_id, token, signed.hash)
    response = JoinResponse(
        v=VERSION,
        room=state.room,
        invite_id=request.invite_id,
        request_hash=signed.hash,
        mid=mine.mid,
        to=member_id_of(request.sign_key),
        cell=seal(content.key, dump_json(unbuild(welcome)), context),
    )
    return Answered(signed, sign_record(mine.sign.private, response), state.epoch, now)


def requested_name(
    state: RoomState, mine: MemberKeys, envelope: bytes, *, token: bytes, now: int
) -> str:
    """What the sender of the JOIN_REQ in `envelope` wants to be called; "" if it does not say.

    For an admitter that decides before it answers: makes every check that `answer_request` makes of
    the request, and raises `JoinRejected` as that does.
    """
    _, request = _check_request(state, mine, envelope, token, now)
    return display_name(_open_request(state, mine, request, token).name)


def check_confirm(
    state: RoomState, keys: EpochKeys, answered: Answered, envelope: bytes
) -> SignedRecord:
    """The JOIN_CONFIRM in `envelope`: the joiner holds the room key and saw the same transcript.

    Raises `JoinRejected`; with EPOCH_MOVED, answer the request again instead of admitting.
    """
    request = _request_of(answered)
    confirm = _opened_unverified(envelope, JoinConfirm)
    said = (confirm.room, confirm.invite_id, confirm.mid, confirm.request_hash)
    mid = member_id_of(request.sign_key)
    if said != (state.room, request.invite_id, mid, answered.request.hash):
        raise JoinRejected(JoinFault.WRONG_TRANSCRIPT)
    if confirm.response_hash != answered.response.hash:
        raise JoinRejected(JoinFault.WRONG_TRANSCRIPT)
    signed = _verified(request.sign_key, envelope)
    if confirm.epoch != answered.epoch or answered.epoch != state.epoch:
        raise JoinRejected(JoinFault.EPOCH_MOVED)
    context = confirm_context(state.room, mid, confirm.epoch)
    try:
        raw = unseal(keys.get(confirm.epoch), confirm.cell, context)
        transcript = build(_Transcript, parse_json(raw, max_bytes=limits.RECORD_BYTES))
    except (CannotOpen, Malformed):
        raise JoinRejected(JoinFault.BAD_CELL) from None
    if transcript != _Transcript(answered.request.hash, answered.response.hash):
        raise JoinRejected(JoinFault.WRONG_TRANSCRIPT)
    return signed


def make_admit(
    state: RoomState,
    mine: MemberKeys,
    answered: Answered,
    confirm: SignedRecord,
    seen: Seen,
    now: int,
) -> SignedRecord:
    """ADMIT for the joiner whose `confirm` was checked; raises `Refused` if it is not allowed."""
    request = _request_of(answered)
    invite = state.invites.get(request.invite_id)
    if invite is None:
        raise JoinRejected(JoinFault.INVITE_UNKNOWN)
    record = Admit(
        **header_fields(state, mine, seen, now),
        invite_id=request.invite_id,
        sign_key=request.sign_key,
        enc_key=request.enc_key,
        role=invite.role,
        caps=tuple(sorted(invite.caps)),
        confirm_hash=confirm.hash,
        epoch=answered.epoch,
        history_from=_history_from(state, invite, seen),
        home=request.home,
    )
    return sign_control(state, mine, record, seen)


def rekey_first(state: RoomState, head_seq: int) -> bool:
    """Whether an owner should rotate before it answers, so that the key has no past to open."""
    return state.policy.join_rekey and head_seq > state.epoch_seq


def is_abandoned(answered: Answered, now: int) -> bool:
    """Whether a joiner who was answered, but not admitted, has had its time.

    It holds the room key: close the invite and make a boxed REKEY.
    """
    return now - answered.answered_at >= ABANDONED_AFTER


def _check_request(
    state: RoomState, mine: MemberKeys, envelope: bytes, token: bytes, now: int
) -> tuple[SignedRecord, JoinRequest]:
    request = _opened_unverified(envelope, JoinRequest)
    if request.room != state.room:
        raise JoinRejected(JoinFault.WRONG_ROOM)
    invite = state.invites.get(request.invite_id)
    if invite is None:
        raise JoinRejected(JoinFault.INVITE_UNKNOWN)
    if invite.expires <= now:
        raise JoinRejected(JoinFault.INVITE_EXPIRED)
    me = state.members.get(mine.mid)
    if me is None or not me.may_admit or mine.mid not in invite.admitters:
        raise JoinRejected(JoinFault.NOT_AN_ADMITTER)
    if request.proof != invite_proof(token):
        raise JoinRejected(JoinFault.BAD_PROOF, alert=True)
    try:
        check_keys(request.sign_key, request.enc_key)
    except Malformed:
        raise JoinRejected(JoinFault.BAD_KEY) from None
    signed = _verified(request.sign_key, envelope)
    mid = member_id_of(request.sign_key)
    if mid in state.members or mid in state.departed:
        raise JoinRejected(JoinFault.ALREADY_MEMBER)
    return signed, request


def _open_request(
    state: RoomState, mine: MemberKeys, request: JoinRequest, token: bytes
) -> JoinBox:
    """The joiner's box: opening it with E_j proves that the joiner can use E_j."""
    boxed = dict(request.boxes).get(mine.mid)
    joiner = Party(member_id_of(request.sign_key), request.enc_key)
    if boxed is None:
        raise JoinRejected(JoinFault.BAD_BOX)
    try:
        content = open_box(mine, joiner, state.room, JoinBox, boxed)
        shown = unseal(token, content.proof, proof_context(state.room, request.invite_id))
    except BoxRejected:
        # Who renewed its key may be shown a box for one that is forgotten: no reason for an alarm.
        alert = not state.member(mine.mid).has_renewed
        raise JoinRejected(JoinFault.BAD_BOX, alert=alert) from None
    except CannotOpen:
        raise JoinRejected(JoinFault.BAD_PROOF, alert=True) from None
    if (content.invite_id, content.nonce) != (request.invite_id, request.nonce):
        raise JoinRejected(JoinFault.BAD_BOX, alert=True)
    if shown != proof_plaintext(
        state.room, request.invite_id, request.sign_key, request.enc_key, request.nonce
    ):
        raise JoinRejected(JoinFault.BAD_PROOF, alert=True)
    return content


def _history_from(state: RoomState, invite: Invite, seen: Seen) -> int:
    joins_only = History.JOIN in (invite.history, state.policy.history)
    return max(state.epoch_seq, seen.seq if joins_only else 0) + 1


def _names_that_fit(
    state: RoomState, names: Mapping[MemberId, str]
) -> tuple[tuple[MemberId, str], ...]:
    told: list[tuple[MemberId, str]] = []
    size = 0
    for mid in dict.fromkeys((*state.members, *state.sponsors.values())):
        name = display_name(names.get(mid, ""), limit=NAME_CHARACTERS)
        size += len(dump_json({b64encode(mid): name}))
        if name and size <= _NAMES_BYTES:
            told.append((mid, name))
    return tuple(told)


def _request_of(answered: Answered) -> JoinRequest:
    request = answered.request.record
    if not isinstance(request, JoinRequest):
        raise JoinRejected(JoinFault.MALFORMED)
    return request


# -- both ----------------------------------------------------------------------------------------


def _opened_unverified(envelope: bytes, cls: type[J]) -> J:
    try:
        record = peek(envelope).record
    except Malformed:
        raise JoinRejected(JoinFault.MALFORMED) from None
    if not isinstance(record, cls):
        raise JoinRejected(JoinFault.MALFORMED)
    return record


def _verified(key: PublicKey, envelope: bytes) -> SignedRecord:
    try:
        return open_signed(key, envelope)
    except Refused:
        raise JoinRejected(JoinFault.BAD_SIGNATURE, alert=True) from None
