"""History: sync, cursors and pages of the control log (protocol.md §2.5)."""

from __future__ import annotations

from ofcd.protocol import frames
from ofcd.protocol.codes import Code
from ofcd.protocol.ids import Hash32
from ofcd.relay.effects import ReadChain, Subscribe
from ofcd.relay.facts import CursorMoved
from ofcd.relay.refusal import Refusal
from ofcd.relay.request import Request, Signatures

__all__ = ["check_sync", "run_chain", "run_cursor", "run_sync"]


def check_sync(request: Request[frames.Sync, None]) -> Signatures:
    """The client's log is no longer than ours, and the same."""
    frame, room = request.frame, request.room
    if frame.start > room.seq + 1:
        raise Refusal(Code.HUB_BEHIND, seq=room.seq)
    ours = room.log_before(frame.start)
    if None not in (frame.log, ours) and frame.log != ours and _readable(request):
        raise Refusal(Code.FORK, seq=room.seq)
    return ()


def _readable(request: Request[frames.Sync, None]) -> bool:
    """Whether the member may read from where it asks; else its claim is not looked at."""
    return request.frame.start >= request.member.history_from


def run_sync(request: Request[frames.Sync, None]) -> None:
    """Feed the link from `start`, or from the first entry that this member may read."""
    frame, room, member = request.frame, request.room, request.member
    start = max(frame.start, member.history_from)
    log = room.log_before(start)
    claimed: Hash32 | None = frame.log if log is None and _readable(request) else None
    request.effects.append(
        Subscribe(
            link=request.link.id,
            rid=frame.rid,
            room=room.room,
            mid=member.mid,
            start=start,
            head=room.seq,
            log=log,
            claimed=claimed,
            begins=frame.log is None or not _readable(request),
        )
    )


def run_cursor(request: Request[frames.Cursor, None]) -> None:
    """The member has everything up to `seq`. Cursors never move back, nor past the head."""
    room, mid, seq = request.room, request.member.mid, request.frame.seq
    if room.cursors.get(mid, -1) < seq <= room.seq:
        room.cursors[mid] = seq
        request.facts.append(CursorMoved(room.room, mid, seq, request.now))


def run_chain(request: Request[frames.ChainGet, None]) -> None:
    """A page of the control log."""
    frame, policy = request.frame, request.policy
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
