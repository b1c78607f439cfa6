"""A room as it was before entries that came to nothing: it was moved by force (protocol.md, 19)."""

from __future__ import annotations

from typing import Any, Final, TypeAlias

import sqlalchemy as sa
from attrs import evolve, field, frozen
from sqlalchemy import bindparam, func, select

from ofcd.protocol.ids import EventId, Hash32, MemberId
from ofcd.protocol.records import Event
from ofcd.relay.facts import (
    RECENT_ENTRIES,
    LogCut,
    LogEntry,
    RoomSnapshot,
    SenderLearnt,
    SenderState,
)
from ofcd.store import tables as t
from ofcd.themis.signed import peek

__all__ = ["Retained", "cut_off"]

AnyRow: TypeAlias = "sa.Row[*tuple[Any, ...]]"

_log = t.log.c
_MINE: Final = _log.room == bindparam("b_room")
_RECENT: Final = (
    select(_log.seq, _log.event_id, _log.log, _log.mid, _log.sid)
    .where(_MINE, _log.seq > bindparam("b_after"), _log.seq <= bindparam("b_end"))
    .order_by(_log.seq)
)
_FIRST: Final = (
    select(func.min(_log.seq))
    .where(_MINE, _log.seq > bindparam("b_end"), _log.control == sa.false())
    .group_by(_log.mid)
)
_RECORD: Final = select(_log.record).where(_MINE, _log.seq == bindparam("b_seq"))
_SIZES: Final = select(
    func.count(), func.coalesce(func.sum(func.length(_log.record) + func.length(_log.cell)), 0)
).where(
    _MINE,
    _log.seq > bindparam("b_end"),
    _log.seq >= bindparam("b_floor"),
    _log.control == sa.false(),
)
_SWEPT: Final = select(t.rooms.c.swept).where(t.rooms.c.id == bindparam("b_room"))


@frozen
class Retained:
    """What is left of a room, and the facts by which the store comes to hold no more than that."""

    snapshot: RoomSnapshot
    cut: LogCut
    senders: tuple[SenderLearnt, ...] = field(repr=False)


def cut_off(
    connection: sa.Connection, found: AnyRow, whole: RoomSnapshot, end: int, log: Hash32
) -> Retained:
    """The room after its entry `end`. `log` is L there, in case it is not kept here."""
    key = {"b_room": found.id, "b_end": end}
    recent = tuple(
        LogEntry(*row)
        for row in connection.execute(_RECENT, {**key, "b_after": end - RECENT_ENTRIES})
        if row.log
    )
    if recent and recent[-1].seq == end:
        log = recent[-1].log
    senders = {**whole.senders, **_senders(connection, found, whole, end)}
    count, size = connection.execute(_SIZES, {**key, "b_floor": found.floor}).one()
    snapshot = evolve(
        whole,
        chain=tuple(stored for stored in whole.chain if stored.seq <= end),
        seq=end,
        log=log,
        recent=recent,
        senders=senders,
        cursors={mid: min(seq, end) for mid, seq in whole.cursors.items()},
        joins=(),
        floor=min(whole.floor, end + 1),
        head=b"",
        frozen="",
        hub=None,
    )
    cut = LogCut(whole.room, whole.seq, end, log, 0, count, size)
    learnt = (
        SenderLearnt(whole.room, mid, last)
        for mid, last in senders.items()
        if whole.senders.get(mid) != last
    )
    return Retained(snapshot, cut, tuple(learnt))


def _senders(
    connection: sa.Connection, found: AnyRow, whole: RoomSnapshot, end: int
) -> dict[MemberId, SenderState]:
    """How far those had come who spoke behind `end`: as the first thing they said there tells."""
    states: dict[MemberId, SenderState] = {}
    if connection.execute(_SWEPT, {"b_room": found.id}).scalar_one() > end + 1:
        # Of some of it not even the headers are left: whoever has spoken may have done so there.
        states = {mid: SenderState(0, EventId(b"")) for mid in whole.senders}
    for (seq,) in connection.execute(_FIRST, {"b_room": found.id, "b_end": end}).all():
        raw = connection.execute(_RECORD, {"b_room": found.id, "b_seq": seq}).scalar_one()
        event = peek(raw).record
        if isinstance(event, Event):
            states[event.mid] = SenderState(event.counter - 1, event.prev)
    return states
