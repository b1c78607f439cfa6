"""KEY_REQ and its answer (protocol.md §2.3): only owners hand out keys, only the current one."""

from __future__ import annotations

from attrs import evolve

from ofcd.protocol import frames
from ofcd.protocol.codes import Code, Malformed, Refused
from ofcd.protocol.ids import sha256
from ofcd.protocol.records import KeyAnswer, KeyRequest
from ofcd.protocol.room import Member
from ofcd.relay.effects import Push
from ofcd.relay.facts import KeyRequestRow, KeyRequestStored
from ofcd.relay.refusal import Refusal
from ofcd.relay.request import Request, Signatures
from ofcd.relay.room_log import KeyAsk, RoomLog

__all__ = [
    "check_key_answer",
    "check_key_request",
    "run_key_answer",
    "run_key_request",
    "waiting_for",
]

Ask = Request[frames.KeyRequest, KeyRequest]
Answer = Request[frames.KeyAnswer, KeyAnswer]


def _check_epoch(epoch: int, room: RoomLog) -> None:
    if epoch != room.state.epoch:
        raise Refusal(Code.EPOCH_STALE, seq=room.seq, event_id=room.state.ctl)


def check_key_request(request: Ask) -> Signatures:
    """A member asks for the current epoch's key."""
    _check_epoch(request.record.epoch, request.room)
    return request.signed_by(request.member.sign_key)


def run_key_request(request: Ask) -> None:
    """Keep the request, in place of the member's last one, and tell the owners."""
    room, row = request.room, _row(request)
    known = room.key_asks.get(row.mid)
    if known is None or known.hash != request.signed.hash:
        room.key_asks[row.mid] = KeyAsk.read(row)
        request.facts.append(KeyRequestStored(row))
        asked = frames.KeyAsked(room.room, row.request)
        request.push_to_members(lambda m: m.is_owner and m.mid != row.mid, asked)
    request.reply(frames.Done(request.rid))


def _row(request: Ask) -> KeyRequestRow:
    return KeyRequestRow(
        request.room.room, request.member.mid, request.signed.envelope, request.now
    )


def check_key_answer(request: Answer) -> Signatures:
    """An owner answers the pending request of a member with the current epoch's key."""
    record, room = request.record, request.room
    _check_epoch(record.epoch, room)
    asked = room.key_asks.get(record.to)
    if asked is None or asked.row.answer or asked.hash != record.request_hash:
        raise Refused(Code.CONFLICT, "this key request was answered, or replaced by a newer one")
    if not request.frame.box:
        raise Malformed(Code.BAD_RECORD, "the answer holds no box")
    if not request.final and sha256(request.frame.box) != record.box_hash:
        raise Refused(Code.CELL_MISMATCH, "the key box is not the one that was signed")
    return request.signed_by(request.member.sign_key)


def run_key_answer(request: Answer) -> None:
    """Keep the answer beside its request, and hand it over now or when the member attaches."""
    to, room = request.record.to, request.room
    row = evolve(room.key_asks[to].row, answer=request.signed.envelope, box=request.frame.box)
    room.key_asks[to] = evolve(room.key_asks[to], row=row)
    request.facts.append(KeyRequestStored(row))
    request.reply(frames.Done(request.rid))
    links = request.core.links.of_member(room.room, to)
    request.effects += [Push(link, _answered(row)) for link in links]


def _answered(row: KeyRequestRow) -> frames.KeyAnswered:
    return frames.KeyAnswered(row.room, row.answer, row.box)


def waiting_for(room: RoomLog, member: Member) -> list[frames.RelayFrame]:
    """What a member is told after ATTACH: the answer to its KEY_REQ; an owner, those of others."""
    rows = [ask.row for ask in room.key_asks.values()]
    told: list[frames.RelayFrame] = [
        _answered(row) for row in rows if row.answer and row.mid == member.mid
    ]
    if member.is_owner:
        told += [
            frames.KeyAsked(room.room, row.request)
            for row in rows
            if not row.answer and row.mid != member.mid
        ]
    return told
