"""A room as it was before entries that came to nothing: it was moved by force (protocol.md, 19)."""

from __future__ import annotations

from typing import Any, Final, TypeAlias

import sqlalchemy as sa
from attrs import evolve
from sqlalchemy import bindparam, func, select

from ofcd.protocol.ids import EventId, Hash32, MemberId
from ofcd.protocol.records import Event
from ofcd.relay.facts import RECENT_ENTRIES, LogEntry, RoomSnapshot, SenderState
from ofcd.store import tables as t
from ofcd.themis.signed import peek

__all__ = ["cut_off"]

AnyRow: TypeAlias = "sa.Row[*tuple[Any, ...]]"

_log = t.log.c
_MINE: Final = _log.room == bindparam("b_room")
_RECENT: Final = (
    select(_log.seq, _log.event_id, _log.log, _log.mid, _log.sid)
    .where(_MINE, _log.seq > bindparam("b_after"), _log.seq <= bindparam("b_end"))
    .order_by(_log.seq)
)
_FIRSTS: Final = (
    select(func.min(_log.seq))
    .where(_MINE, _log.seq > bindparam("b_end"), _log.control == sa.false())
    .group_by(_log.mid)
)
_ENTRY: Final = select(_log.mid, _log.counter, _log.record).where(
    _MINE, _log.seq == bindparam("b_seq")
)
_SWEPT: Final = select(t.rooms.c.swept).where(t.rooms.c.id == bindparam("b_room"))


def cut_off(
    connection: sa.Connection, found: AnyRow, whole: RoomSnapshot, end: int, log: Hash32
) -> RoomSnapshot:
    """The room after its entry `end`. `log` is L there, in case it is not kept here."""
    recent = tuple(
        LogEntry(*row)
        for row in connection.execute(
            _RECENT, {"b_room": found.id, "b_end": end, "b_after": end - RECENT_ENTRIES}
        )
        if row.log
    )
    if recent and recent[-1].seq == end:
        log = recent[-1].log
    return evolve(
        whole,
        chain=tuple(stored for stored in whole.chain if stored.seq <= end),
        seq=end,
        log=log,
        recent=recent,
        senders={**whole.senders, **_senders(connection, found, whole, end)},
        cursors={mid: min(seq, end) for mid, seq in whole.cursors.items()},
        joins=(),
        floor=min(whole.floor, end + 1),
        head=b"",
        frozen="",
        hub=None,
        told=(),
    )


def _senders(
    connection: sa.Connection, found: AnyRow, whole: RoomSnapshot, end: int
) -> dict[MemberId, SenderState]:
    """How far those had come who spoke behind `end`: as the first thing they said there tells.

    What retention has left of an entry is its number: what came before that is not known then.
    """
    unknown = EventId(b"")
    if connection.execute(_SWEPT, {"b_room": found.id}).scalar_one() > end + 1:
        # Of some of it not even the rows are left: whoever has spoken may have done so there.
        return {mid: SenderState(0, unknown) for mid in whole.senders}
    states: dict[MemberId, SenderState] = {}
    for (seq,) in connection.execute(_FIRSTS, {"b_room": found.id, "b_end": end}).all():
        entry = connection.execute(_ENTRY, {"b_room": found.id, "b_seq": seq}).one()
        event = peek(entry.record).record if entry.record else None
        before = event.prev if isinstance(event, Event) else unknown
        states[MemberId(entry.mid)] = SenderState(entry.counter - 1, before)
    return states
