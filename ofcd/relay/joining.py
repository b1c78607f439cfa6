"""Joining: lookup, JOIN_REQ, JOIN_RESP, JOIN_CONFIRM, and what ADMIT needs of them.

Protocol.md §2.3, JOIN; what a stranger learns is the same for an unknown room, an unknown,
expired or closed invite and a wrong proof.
"""

from __future__ import annotations

from attrs import evolve, frozen

from ofcd.protocol import frames, limits
from ofcd.protocol.codes import Code, Malformed, Refused
from ofcd.protocol.ids import Hash32, InviteId, invite_commitment, member_id_of
from ofcd.protocol.records import (
    Admit,
    JoinConfirm,
    JoinRequest,
    JoinResponse,
    LoggedRecord,
)
from ofcd.protocol.room import Invite, Member, RoomState
from ofcd.relay.effects import ReadChain
from ofcd.relay.facts import JoinDropped, JoinRow, JoinStage, JoinStored
from ofcd.relay.rates import Rate
from ofcd.relay.refusal import Refusal, failure_of
from ofcd.relay.request import Request, Signatures
from ofcd.relay.room_log import Join, RoomLog, expired
from ofcd.themis.signed import check_keys

__all__ = [
    "check_admit",
    "check_answer",
    "check_confirm",
    "check_join",
    "check_lookup",
    "joins_lost",
    "run_answer",
    "run_confirm",
    "run_join",
    "run_lookup",
    "settle",
    "waiting_for",
]

Ask = Request[frames.Join, JoinRequest]
Answer = Request[frames.JoinAnswer, JoinResponse]
Confirm = Request[frames.JoinConfirm, JoinConfirm]


# -- the invite ----------------------------------------------------------------------------------


@frozen
class _Bearer:
    """Someone who has shown to hold an invite's token: `invite` is None once it was used."""

    room: RoomLog
    invite: Invite | None


def _bearer(room: RoomLog | None, invite_id: InviteId, proof: Hash32, now: int) -> _Bearer:
    """Raises `Refused` (invite_unknown) for whoever has not the token of an invite of the room."""
    if room is None:
        raise Refused(Code.INVITE_UNKNOWN)
    invite = room.state.invites.get(invite_id)
    commit = invite.commit if invite else room.used_invites.get(invite_id)
    if commit != invite_commitment(room.room, invite_id, proof):
        raise Refused(Code.INVITE_UNKNOWN)
    if invite is not None and invite.expires <= now:
        raise Refused(Code.INVITE_UNKNOWN)
    return _Bearer(room, invite)


# -- lookup --------------------------------------------------------------------------------------


def check_lookup(request: Request[frames.Lookup, None]) -> Signatures:
    """Only who holds an open invite's token may read the control log from outside."""
    frame = request.frame
    bearer = _bearer(request.room_log, frame.invite_id, frame.proof, request.now)
    if bearer.invite is None:
        raise Refused(Code.INVITE_USED)
    _require_open(request, bearer.room)
    return ()


def _require_open(request: Ask | Request[frames.Lookup, None], room: RoomLog) -> None:
    """Who is at home elsewhere may not join a room that never leaves its relay."""
    if request.link.peer is not None and room.state.policy.local_only:
        raise Refused(Code.NOT_FEDERATED)


def run_lookup(request: Request[frames.Lookup, None]) -> None:
    """A page of the control log."""
    policy, frame = request.policy, request.frame
    request.effects.append(
        ReadChain(
            request.link.id,
            frame.rid,
            frame.room,
            frame.start,
            policy.sync_page_events,
            policy.sync_page_bytes,
        )
    )


# -- JOIN_REQ ------------------------------------------------------------------------------------


def check_join(request: Ask) -> Signatures:
    """The joiner holds the token of an open invite, or repeats a request that is still kept."""
    record = request.record
    if _known_join(request) is None:
        bearer = _bearer(request.room_log, record.invite_id, record.proof, request.now)
        if bearer.invite is not None:
            _check_new(request, bearer.room, bearer.invite)
    return request.signed_by(record.sign_key)


def _known_join(request: Ask) -> Join | None:
    room = request.room_log
    join = room.joins.get((request.record.invite_id, request.signed.hash)) if room else None
    return None if join is None or _is_expired(join, request) else join


def _is_expired(join: Join, request: Ask | Answer | Confirm) -> bool:
    return expired(join.row.ts, request.policy.join_pending_days, request.now)


def _check_new(request: Ask, room: RoomLog, invite: Invite) -> None:
    record = request.record
    _require_open(request, room)
    if record.home != (request.link.peer or request.core.relay_id):
        raise Refused(Code.WRONG_RELAY)
    if record.sign_key == record.enc_key:
        raise Malformed(Code.BAD_KEY, "one key can not both sign and decrypt")
    if not request.final:
        check_keys(record.enc_key)
    mid = member_id_of(record.sign_key)
    if mid in room.state.members or mid in room.state.departed:
        raise Refused(Code.ALREADY_MEMBER)
    if any(len(box) > limits.BOX_BYTES for _, box in record.boxes):
        raise Malformed(Code.TOO_LARGE)
    boxed = [mid for mid, _ in record.boxes]
    if len(set(boxed)) != len(boxed) or not set(boxed) <= set(invite.admitters):
        raise Refused(Code.BOX_LIST_MISMATCH, "the boxes are not for the invite's admitters")
    room.require_space(request.policy.members_per_room)


def run_join(request: Ask) -> None:
    """Keep the request for its admitters; a repeat learns how far it has come."""
    join = _known_join(request)
    if join is None:
        join = _queue(request)
    if join is not None:
        _follow(request, join)
        request.reply(_status(request.rid, join))


def _queue(request: Ask) -> Join | None:
    """The new pending join; None where the invite is someone else's: its admitters are warned."""
    record, room = request.record, request.room
    tries = [join for join in room.joins_of(record.invite_id) if not _is_expired(join, request)]
    if record.invite_id not in room.state.invites or any(join.answered for join in tries):
        _warn(request)
        return None
    if len(tries) >= request.policy.join_tries_per_invite:
        raise Refused(Code.QUOTA, "this invite has seen too many requests: ask for a new one")
    row = JoinRow(
        room=room.room,
        invite_id=record.invite_id,
        request_hash=request.signed.hash,
        mid=member_id_of(record.sign_key),
        stage=JoinStage.PENDING,
        request=request.signed.envelope,
        ts=request.now,
    )
    request.facts.append(JoinStored(row))
    asked = frames.JoinAsked(room.room, row.request)
    listed = {mid for mid, _ in record.boxes}
    request.push_to_members(lambda member: member.may_admit and member.mid in listed, asked)
    return room.put_join(row)


def _warn(request: Ask) -> None:
    """A second bearer of one invite: refuse it, and let whoever may admit see it."""
    request.core.rates.spend(Rate.GUESS, request.link.id, request.now)
    request.reply(failure_of(request.rid, Refused(Code.INVITE_USED)))
    asked = frames.JoinAsked(request.room.room, request.signed.envelope)
    request.push_to_members(lambda member: member.may_admit, asked)


def _follow(request: Ask | Confirm, join: Join) -> None:
    key = (join.row.room, *join.key)
    request.core.links.remember_join(request.link, key, request.policy.joins_per_link)


def _status(rid: int, join: Join) -> frames.JoinStatus:
    row = join.row
    return frames.JoinStatus(rid, row.room, row.invite_id, row.stage.value, row.response)


# -- JOIN_RESP -----------------------------------------------------------------------------------


def check_answer(request: Answer) -> Signatures:
    """A listed admitter answers a pending request, the first one answered under its invite."""
    record, room = request.record, request.room
    join = _answerable(request)
    if record.to != join.row.mid:
        raise Malformed(Code.BAD_RECORD, "the answer names another joiner than the request")
    if join.answered and join.admitter != record.mid:
        raise Refused(Code.INVITE_USED, "another admitter has answered this request")
    if any(other.answered and other != join for other in room.joins_of(record.invite_id)):
        raise Refused(Code.INVITE_USED)
    if not _is_same_answer(request, join):
        room.require_space(request.policy.members_per_room)
    return request.signed_by(request.member.sign_key)


def _answerable(request: Answer) -> Join:
    record, room = request.record, request.room
    join = room.joins.get((record.invite_id, record.request_hash))
    if record.invite_id in room.used_invites:
        raise Refused(Code.INVITE_USED)
    if record.invite_id not in room.state.invites or join is None or _is_expired(join, request):
        raise Refused(Code.INVITE_UNKNOWN)
    if record.mid not in [member.mid for member in room.admitters(record.invite_id)]:
        raise Refused(Code.FORBIDDEN)
    return join


def _is_same_answer(request: Answer, join: Join) -> bool:
    return join.response is not None and join.response.hash == request.signed.hash


def run_answer(request: Answer) -> None:
    """Keep the answer and hand it on; it replaces the same admitter's earlier one."""
    record, room = request.record, request.room
    join = room.joins[record.invite_id, record.request_hash]
    if not _is_same_answer(request, join):
        answered = evolve(
            join.row,
            stage=JoinStage.ANSWERED,
            response=request.signed.envelope,
            confirm=b"",
            ts=request.now,
        )
        join = room.put_join(answered)
        request.facts.append(JoinStored(join.row))
    request.reply(frames.Done(request.rid))
    answer = frames.JoinAnswer(0, room.room, join.row.response)
    request.push_to_joiners(join.key, answer)


# -- JOIN_CONFIRM --------------------------------------------------------------------------------


def check_confirm(request: Confirm) -> Signatures:
    """The joiner confirms the answer that is stored."""
    record, room = request.record, request.room_log
    join = room.joins.get((record.invite_id, record.request_hash)) if room else None
    if join is None or _is_expired(join, request):
        raise Refused(Code.INVITE_UNKNOWN)
    if record.mid != join.row.mid:
        raise Malformed(Code.BAD_RECORD, "the confirmation names another joiner than the request")
    if join.row.stage is not JoinStage.ADMITTED:
        if join.response is None:
            raise Refused(Code.JOIN_NOT_READY)
        if record.response_hash != join.response.hash:
            raise Refused(Code.JOIN_NOT_READY, "the answer was replaced: ask for it again")
    return request.signed_by(join.request.sign_key)


def run_confirm(request: Confirm) -> None:
    """Keep the confirmation and hand it to the admitters; a repeat learns the state."""
    record, room = request.record, request.room
    join = room.joins[record.invite_id, record.request_hash]
    same = join.confirm is not None and join.confirm.hash == request.signed.hash
    if join.row.stage is not JoinStage.ADMITTED and not same:
        confirmed = evolve(
            join.row, stage=JoinStage.CONFIRMED, confirm=request.signed.envelope, ts=request.now
        )
        join = room.put_join(confirmed)
        request.facts.append(JoinStored(join.row))
        told = frames.JoinConfirmed(room.room, join.row.confirm)
        admitters = {member.mid for member in room.admitters(record.invite_id)}
        request.push_to_members(lambda member: member.mid in admitters, told)
    _follow(request, join)
    request.reply(_status(request.rid, join))


# -- ADMIT ---------------------------------------------------------------------------------------


def check_admit(room: RoomLog, record: Admit) -> None:
    """ADMIT certifies a confirmed join, unchanged, in the epoch that it confirmed."""
    confirmed = [j for j in room.joins_of(record.invite_id) if _is_confirmed_by(j, record)]
    join = confirmed[0] if confirmed else None
    if join is None or join.confirm is None:
        raise Refused(Code.JOIN_NOT_READY)
    asked = (join.request.sign_key, join.request.enc_key, join.request.home)
    if (record.sign_key, record.enc_key, record.home) != asked:
        raise Refused(Code.FORBIDDEN, "the admission names other keys than the join request")
    if record.confirm_hash != join.confirm.hash:
        raise Refused(Code.JOIN_NOT_READY, "the admission names another confirmation")
    if join.confirmed_epoch != record.epoch:
        raise Refusal(Code.EPOCH_STALE, seq=room.seq, event_id=room.state.ctl)


def _is_confirmed_by(join: Join, record: Admit) -> bool:
    """Whether this is the confirmed join of whom the record admits; an invite has one at most."""
    return join.row.stage is JoinStage.CONFIRMED and join.row.mid == member_id_of(record.sign_key)


def joins_lost(room: RoomLog, after: RoomState) -> list[Join]:
    """The joins whose invite is gone in the state `after`; the admitted one included."""
    return [
        join
        for join in room.joins.values()
        if join.row.invite_id in room.state.invites and join.row.invite_id not in after.invites
    ]


def settle(
    request: Request[frames.Control, LoggedRecord], record: LoggedRecord, lost: list[Join]
) -> None:
    """Drop the joins that lost their invite, but the one that used it: that one is admitted."""
    room = request.room
    for join in lost:
        row = join.row
        if not (isinstance(record, Admit) and _is_confirmed_by(join, record)):
            del room.joins[join.key]
            request.facts.append(JoinDropped(row.room, row.invite_id, row.request_hash))
            continue
        done = room.put_join(evolve(row, stage=JoinStage.ADMITTED, ts=request.now))
        request.facts.append(JoinStored(done.row))
        request.push_to_joiners(done.key, _status(0, done))


def waiting_for(
    room: RoomLog, member: Member, pending_days: int, now: int
) -> list[frames.RelayFrame]:
    """What an admitter is told after ATTACH: the requests and confirmations it may answer."""
    waiting: list[frames.RelayFrame] = []
    for join in room.joins.values():
        row = join.row
        listed = member.mid in [admitter.mid for admitter in room.admitters(row.invite_id)]
        if not listed or expired(row.ts, pending_days, now):
            continue
        boxed = member.mid in [mid for mid, _ in join.request.boxes]
        if row.stage is JoinStage.PENDING and boxed:
            waiting.append(frames.JoinAsked(room.room, row.request))
        elif row.stage is JoinStage.CONFIRMED:
            waiting.append(frames.JoinConfirmed(room.room, row.confirm))
    return waiting
