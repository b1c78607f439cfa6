"""Attachments: sealed chunks, opaque to the relay (protocol.md §2.5, §3).

A blob belongs to its first uploader, and a stored chunk is never replaced. The core remembers whose
it is while the blob is in memory; beyond that the store is asked, after the commit.
"""

from __future__ import annotations

from typing import Final

from ofcd.protocol import frames, limits
from ofcd.protocol.codes import Code, Malformed, Refused
from ofcd.protocol.ids import MemberId
from ofcd.relay.effects import FindUpload, Forward, ReadBlob
from ofcd.relay.facts import CACHED, BlobDropped, BlobStored
from ofcd.relay.refusal import failure_of
from ofcd.relay.request import Request, Signatures
from ofcd.relay.room_log import RoomLog, Upload

__all__ = ["check_drop", "check_put", "drop", "run_drop", "run_get", "run_put", "settle"]

_ANOTHERS: Final = "the attachment is another member's"
_OTHER_COUNT: Final = "the attachment has another number of chunks"

Drop = Request[frames.BlobDrop, None]
Put = Request[frames.BlobPut, None]


def check_put(request: Put) -> Signatures:
    """The chunk is one of its blob, the blob the member's, and there is space left for it."""
    frame, policy, room = request.frame, request.policy, request.room
    if frame.index >= frame.count or not frame.chunk:
        raise Malformed(Code.BAD_FRAME, "the chunk is not one of its attachment")
    most = min(limits.BLOB_CHUNKS, -(-policy.blob_bytes // limits.CHUNK_BYTES))
    if frame.count > most:
        raise Refused(Code.QUOTA, _larger(policy.blob_bytes))
    upload = room.uploads.get(frame.blob)
    if upload is not None and upload.mid != request.member.mid:
        raise Refused(Code.FORBIDDEN, _ANOTHERS)
    if upload is not None and upload.count != frame.count:
        raise Malformed(Code.BAD_FRAME, _OTHER_COUNT)
    if not _is_repeat(request):
        _check_space(request)
    return ()


def _larger(most: int) -> str:
    return f"the attachment is larger than this relay takes: at most {_bytes(most)}"


def _bytes(size: int) -> str:
    """As people write it, and exact."""
    return f"{size // limits.MIB} MiB" if size % limits.MIB == 0 else f"{size} bytes"


def _is_repeat(request: Put) -> bool:
    upload = request.room.uploads.get(request.frame.blob)
    return upload is not None and request.frame.index in upload.chunks


def _check_space(request: Put) -> None:
    stored = request.room.blob_bytes.get(request.member.mid, 0)
    if stored + len(request.frame.chunk) > request.policy.blob_bytes_per_member:
        most = _bytes(request.policy.blob_bytes_per_member)
        raise Refused(Code.QUOTA, f"your attachments here would come to more than {most}")


def run_put(request: Put) -> None:
    """Store the chunk; a repeat changes nothing."""
    repeat = _is_repeat(request)
    if not repeat:
        _store(request)
    frame, mid = request.frame, request.member.mid
    if request.room.uploads[frame.blob].settled:
        request.reply(frames.Done(request.rid))
        return
    size = 0 if repeat else len(frame.chunk)
    request.effects.append(
        FindUpload(request.link.id, frame.rid, frame.room, frame.blob, mid, frame.count, size)
    )


def settle(
    room: RoomLog | None, put: FindUpload, owner: tuple[MemberId, int] | None
) -> frames.Done | frames.Failure:
    """What to answer, now that the store says whose the attachment is, and of how many chunks."""
    upload = None if room is None else room.uploads.get(put.blob)
    if owner is None or owner == (put.mid, put.count):  # None: dropped again meanwhile
        if upload is not None and owner == (upload.mid, upload.count):
            upload.settled = True
        return frames.Done(put.rid)
    if room is not None and upload is not None:  # else it was loaded anew, and counts right
        room.uploads[put.blob] = Upload(*owner, settled=True)
        room.free(put.mid, put.size)
    mid, _ = owner
    if mid != put.mid:
        return failure_of(put.rid, Refused(Code.FORBIDDEN, _ANOTHERS))
    return failure_of(put.rid, Malformed(Code.BAD_FRAME, _OTHER_COUNT))


def _store(request: Put) -> None:
    frame, room, mid = request.frame, request.room, request.member.mid
    upload = room.uploads.setdefault(frame.blob, Upload(mid, frame.count))
    upload.chunks.add(frame.index)
    _bound_uploads(room, frame, request.policy.uploads_per_room)
    room.blob_bytes[mid] = room.blob_bytes.get(mid, 0) + len(frame.chunk)
    request.facts.append(
        BlobStored(room.room, frame.blob, frame.index, frame.count, mid, request.now, frame.chunk)
    )


def _bound_uploads(room: RoomLog, frame: frames.BlobPut, most: int) -> None:
    room.uploads.move_to_end(frame.blob)
    if len(room.uploads) > most:
        room.uploads.popitem(last=False)


def run_get(request: Request[frames.BlobGet, None]) -> None:
    """Read one chunk."""
    frame = request.frame
    request.effects.append(
        ReadBlob(request.link.id, frame.rid, frame.room, frame.blob, frame.index)
    )


def check_drop(request: Drop) -> Signatures:
    """One's own attachment, or, for an owner, anyone's."""
    if request.frame.uploader != request.member.mid and not request.member.is_owner:
        raise Refused(Code.FORBIDDEN, _ANOTHERS)
    return ()


def run_drop(request: Drop) -> None:
    """Forget it."""
    drop(request)
    request.reply(frames.Done(request.rid))


def drop(request: Drop) -> None:
    """Forget it here, and at the hubs of before; `Relay.freed` tells what it freed here."""
    frame, uploads = request.frame, request.room.uploads
    upload = uploads.get(frame.blob)
    if upload is not None and upload.mid == frame.uploader:
        del uploads[frame.blob]
    request.facts.append(BlobDropped(frame.room, frame.blob, frame.uploader))
    if _may_drop_cached(request):
        request.facts.append(BlobDropped(frame.room, frame.blob, CACHED))
    if request.link.peer is None:  # of another relay's member, that one tells them
        link, mid = request.link.id, request.member.mid
        for hub in request.room.hubs_before(request.core.relay_id):
            request.effects.append(Forward(link, hub, "", frame.room, mid, frame, quiet=True))


def _may_drop_cached(request: Drop) -> bool:
    """Whose a cached one is, nobody knows here, and the hub may have the only one there is left."""
    is_only_a_copy = request.room.hub != request.core.relay_id and request.link.peer is None
    return request.member.is_owner or is_only_a_copy
