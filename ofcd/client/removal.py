"""A relay says that this member is out: what of that is proven (protocol.md, `removed`)."""

from __future__ import annotations

from ofcd.client.core import Core
from ofcd.client.events import RoomStatus
from ofcd.client.vault import Reader
from ofcd.e2e.evidence import is_void
from ofcd.protocol.codes import ProtocolError
from ofcd.protocol.frames import Removed
from ofcd.protocol.ids import EventId
from ofcd.protocol.records import Leave, RekeyBoxed
from ofcd.themis.signed import open_signed, peek

__all__ = ["status_after"]


def status_after(core: Core, records: Reader, frame: Removed) -> RoomStatus:
    """LEFT or EVICTED with the record that says so, and can stand in the log; else HIDDEN."""
    try:
        record = peek(frame.record).record
        if not isinstance(record, RekeyBoxed | Leave) or record.room != core.room:
            return RoomStatus.HIDDEN
        signer = core.state.member(record.mid)
        signed = open_signed(signer.sign_key, frame.record)
    except ProtocolError:
        return RoomStatus.HIDDEN
    if not _can_stand(core, records, record, signed.event_id):
        return RoomStatus.HIDDEN  # it came to nothing
    if isinstance(record, Leave):
        return RoomStatus.LEFT if record.mid == core.me else RoomStatus.HIDDEN
    is_evicted = core.me in record.removed and signer.is_owner
    return RoomStatus.EVICTED if is_evicted else RoomStatus.HIDDEN


def _can_stand(core: Core, records: Reader, record: RekeyBoxed | Leave, event_id: EventId) -> bool:
    """Whether it is, or can be, in this log: not where a move by force made it void."""
    seen = record.seen

    def place_of(control: EventId) -> int | None:
        entry = core.archive.find(records, control)
        return None if entry is None else entry.seq

    if place_of(event_id) is not None:
        return True
    ours = core.checked_hash(records, seen.seq)
    is_old = record.prev != core.state.ctl and place_of(record.prev) is not None
    return ours in (None, seen.log) and not is_old and not is_void(core.state, record, place_of)
