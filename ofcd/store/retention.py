"""Retention: remove what the policy does not keep, and give its space back, a little at a time.

What goes: events from the oldest on (by age, count, bytes), key boxes and attachments of the time
that is gone. What stays: every control record; of the last `RECENT_ENTRIES` entries the skeleton
(ids and hashes, no content), since the relay answers repeats and checks `seen` by it; and every
box whose member has not confirmed it, until the member counts as idle.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, Final

import sqlalchemy as sa
from attrs import evolve, frozen
from sqlalchemy import bindparam, func, select

from ofcd.protocol.ids import MemberId, RoomId
from ofcd.relay.facts import RECENT_ENTRIES
from ofcd.store import tables as t
from ofcd.store.errors import StoreError
from ofcd.store.reader import AnyRow, Reader
from ofcd.store.types import Retention, RetentionReport
from ofcd.store.writer import Writer

__all__ = ["Sweeper"]

_ROOMS_A_CALL: Final = 128
_ROWS_A_CALL: Final = 128
"""Events, and boxes, that one call removes of a room: about 5 ms of the writer's time."""
_CHUNKS_A_CALL: Final = 4
"""Attachment chunks of 256 KiB each, which are overwritten: 1 MiB of writing."""
_BLOB_GRACE_MS: Final = 24 * 3600 * 1000
"""An attachment is stored before the event that names it: this much, at most, in good faith."""

_log, _rooms, _boxes, _cursors = t.log.c, t.rooms.c, t.boxes.c, t.cursors.c
_blobs, _chunks = t.blobs.c, t.blob_chunks.c
_ID: Final[sa.BindParameter[Any]] = bindparam("b_id")
_FLOOR: Final[sa.BindParameter[Any]] = bindparam("b_floor")
_SIZE: Final = func.length(_log.record) + func.length(_log.cell)

_SOME_ROOMS: Final = (
    select(t.rooms).where(_rooms.id > bindparam("b_after")).order_by(_rooms.id).limit(_ROOMS_A_CALL)
)
_ONE_ROOM: Final = select(t.rooms).where(_rooms.id == _ID)
_OLDEST: Final = (
    select(_log.seq, _log.log, _log.ts, _SIZE.label("size"))
    .where(_log.room == _ID, _log.seq >= _FLOOR, sa.not_(_log.control))
    .order_by(_log.seq)
    .limit(bindparam("b_limit"))
)
_MOVE_FLOOR: Final = (
    sa.update(t.rooms)
    .where(_rooms.id == _ID)
    .values(
        floor=_FLOOR,
        floor_log=bindparam("b_log"),
        events=_rooms.events - bindparam("b_events"),
        bytes=_rooms.bytes - bindparam("b_bytes"),
        swept=bindparam("b_swept"),
    )
)
_EVENTS_BETWEEN: Final = sa.and_(
    _log.room == _ID,
    _log.seq >= bindparam("b_start"),
    _log.seq < bindparam("b_stop"),
    sa.not_(_log.control),
)
_DROP_HOLES: Final = sa.delete(t.holes).where(t.holes.c.room == _ID, t.holes.c.next <= _FLOOR)
_BLANK: Final = (
    sa.update(t.log)
    .where(_EVENTS_BETWEEN, _log.record != b"")
    .values(
        record=sa.literal(b"", sa.LargeBinary),
        cell=sa.literal(b"", sa.LargeBinary),
    )
)
_DELETE: Final = sa.delete(t.log).where(_EVENTS_BETWEEN)
_OLD_BOXES: Final = (
    select(_boxes.seq, _boxes.mid, func.length(_boxes.box).label("size"))
    .outerjoin(t.cursors, sa.and_(_cursors.room == _boxes.room, _cursors.mid == _boxes.mid))
    .outerjoin(t.log, sa.and_(_log.room == _boxes.room, _log.seq == _boxes.seq))
    .where(
        _boxes.room == _ID,
        _boxes.seq < _FLOOR,
        sa.or_(
            _cursors.seq >= _boxes.seq,
            func.coalesce(_cursors.ts, _log.ts) < bindparam("b_seen_after"),
        ),
    )
    .limit(_ROWS_A_CALL)
)
_DELETE_BOX: Final = sa.delete(t.boxes).where(
    _boxes.room == _ID, _boxes.seq == bindparam("b_seq"), _boxes.mid == bindparam("b_mid")
)
_OLD_CHUNKS: Final = (
    select(_blobs.blob, _blobs.mid, _chunks.idx, _chunks.size)
    .outerjoin(t.blob_chunks, sa.and_(_chunks.room == _blobs.room, _chunks.blob == _blobs.blob))
    .where(_blobs.room == _ID, _blobs.ts < bindparam("b_before"))
    .limit(_CHUNKS_A_CALL)
)
_DELETE_CHUNK: Final = sa.delete(t.blob_chunks).where(
    _chunks.room == _ID, _chunks.blob == bindparam("b_blob"), _chunks.idx == bindparam("b_idx")
)
_DELETE_BLOB: Final = sa.delete(t.blobs).where(
    _blobs.room == _ID,
    _blobs.blob == bindparam("b_blob"),
    sa.not_(sa.exists().where(_chunks.room == _blobs.room, _chunks.blob == _blobs.blob)),
)


@frozen
class _Plan:
    """What to remove of one room now; `full` if there may be more of it."""

    room: AnyRow
    gone: tuple[AnyRow, ...]
    """Events from the floor on."""
    boxes: tuple[AnyRow, ...]
    chunks: tuple[AnyRow, ...]
    """Attachments by their chunks; one without any has one row without an index."""

    @property
    def floor(self) -> int:
        """The floor afterwards."""
        return int(self.gone[-1].seq + 1 if self.gone else self.room.floor)

    @property
    def skeletons_from(self) -> int:
        """Entries from here on keep their row."""
        return max(0, int(self.room.seq) - RECENT_ENTRIES + 1)

    @property
    def swept(self) -> int:
        """Events below this have no row afterwards."""
        return max(int(self.room.swept), min(self.floor, self.skeletons_from))

    @property
    def weight(self) -> int:
        """How much work it is, an event or a box counting one."""
        a_chunk = _ROWS_A_CALL // _CHUNKS_A_CALL
        return len(self.gone) + len(self.boxes) + a_chunk * len(self.chunks)

    @property
    def empty(self) -> bool:
        return not (self.gone or self.boxes or self.chunks) and self.swept == self.room.swept

    @property
    def full(self) -> bool:
        return (
            len(self.gone) == _ROWS_A_CALL
            or len(self.boxes) == _ROWS_A_CALL
            or len(self.chunks) == _CHUNKS_A_CALL
        )


class Sweeper:
    """Applies a policy to all rooms in turn; each call goes on where the last one stopped."""

    def __init__(self, reader: Reader, writer: Writer) -> None:
        self._reader = reader
        self._writer = writer
        self._after = 0
        self._mutex = threading.Lock()

    def apply(self, policy: Retention, now: int) -> RetentionReport:
        """See `Store.apply_retention`."""
        if policy.keeps_all:
            return RetentionReport()
        with self._mutex:
            due, last = self._look(policy, now)
            report = self._remove(due, policy, now)
            self._after = last or 0
            # Rooms first: what they leave behind is what can be given back.
            return evolve(report, more=last is not None or self._shrink())

    def _shrink(self) -> bool:
        """Whether there is more to give back to the disk."""
        try:
            return self._writer.shrink()
        except StoreError:  # such as a full disk: what was removed has to be told all the same
            return False

    def _look(self, policy: Retention, now: int) -> tuple[list[_Plan], int | None]:
        """What is due in the next rooms, and the last of them that is done with; None: all are.

        Runs on a reader, so that the writer's time is spent on rooms that have something to remove.
        """
        due: list[_Plan] = []
        weight, last = 0, self._after
        with self._reader.snapshot() as connection:
            rooms = connection.execute(_SOME_ROOMS, {"b_after": self._after}).all()
            for room in rooms:
                plan = _plan(connection, room, policy, now)
                if not plan.empty:
                    due.append(plan)
                    weight += plan.weight
                if plan.full:
                    return due, last
                last = room.id
                if weight >= _ROWS_A_CALL:
                    return due, last
        return due, last if len(rooms) == _ROOMS_A_CALL else None

    def _remove(self, due: list[_Plan], policy: Retention, now: int) -> RetentionReport:
        """Look again, as the writer, and remove it: something may have changed since."""
        if not due:
            return RetentionReport()
        with self._writer.transaction() as connection:
            rooms = [connection.execute(_ONE_ROOM, {"b_id": plan.room.id}).one() for plan in due]
            reports = [_execute(connection, _plan(connection, room, policy, now)) for room in rooms]
        self._writer.grew(sum(report.bytes for report in reports))
        return _sum(reports)


def _plan(connection: sa.Connection, room: AnyRow, policy: Retention, now: int) -> _Plan:
    gone = tuple(_gone(connection, room, policy, now))
    floor = gone[-1].seq + 1 if gone else room.floor
    boxes = connection.execute(
        _OLD_BOXES,
        {
            "b_id": room.id,
            "b_floor": floor,
            "b_seen_after": now - policy.idle_ms if policy.idle_ms else 0,
        },
    )
    before = _blobs_before(connection, room, floor, policy, now)
    chunks = connection.execute(_OLD_CHUNKS, {"b_id": room.id, "b_before": before})
    return _Plan(room, gone, tuple(boxes), tuple(chunks))


def _gone(connection: sa.Connection, room: AnyRow, policy: Retention, now: int) -> Iterator[AnyRow]:
    """The oldest events as long as they are too old, or the room has too many, or too large."""
    events = room.events - policy.max_events if policy.max_events else 0
    size = room.bytes - policy.max_bytes if policy.max_bytes else 0
    before = now - policy.max_age_ms if policy.max_age_ms else 0
    for row in _oldest(connection, room, room.floor, _ROWS_A_CALL):
        if events <= 0 and size <= 0 and row.ts >= before:
            return
        events -= 1
        size -= row.size
        yield row


def _oldest(connection: sa.Connection, room: AnyRow, floor: int, limit: int) -> Iterable[AnyRow]:
    parameters = {"b_id": room.id, "b_floor": floor, "b_limit": limit}
    return connection.execute(_OLDEST, parameters)


def _blobs_before(
    connection: sa.Connection, room: AnyRow, floor: int, policy: Retention, now: int
) -> int:
    """Attachments stored before this time go: too old, or older than all events that are kept."""
    before = now - policy.max_age_ms if policy.max_age_ms else 0
    if floor == 0:
        return before
    kept = next(iter(_oldest(connection, room, floor, 1)), None)
    return max(before, (now if kept is None else kept.ts) - _BLOB_GRACE_MS)


def _execute(connection: sa.Connection, plan: _Plan) -> RetentionReport:
    if plan.empty:
        return RetentionReport()
    _remove_events(connection, plan)
    for box in plan.boxes:
        connection.execute(_DELETE_BOX, {"b_id": plan.room.id, "b_seq": box.seq, "b_mid": box.mid})
    freed = _remove_chunks(connection, plan)
    blobs = {chunk.blob for chunk in plan.chunks}
    room = RoomId(plan.room.room)
    return RetentionReport(
        rooms=1,
        events=len(plan.gone),
        bytes=sum(row.size for row in (*plan.gone, *plan.boxes)) + freed.total(),
        boxes=len(plan.boxes),
        blobs=sum(
            connection.execute(_DELETE_BLOB, {"b_id": plan.room.id, "b_blob": blob}).rowcount
            for blob in blobs
        ),
        floors={room: plan.floor} if plan.gone else {},
        freed={(room, mid): size for mid, size in freed.items()},
    )


def _remove_events(connection: sa.Connection, plan: _Plan) -> None:
    """Move the floor; drop rows that nobody needs, and the content of the recent ones."""
    room = plan.room
    connection.execute(
        _MOVE_FLOOR,
        {
            "b_id": room.id,
            "b_floor": plan.floor,
            "b_log": plan.gone[-1].log if plan.gone else room.floor_log,
            "b_events": len(plan.gone),
            "b_bytes": sum(row.size for row in plan.gone),
            "b_swept": plan.swept,
        },
    )
    connection.execute(_DELETE, {"b_id": room.id, "b_start": room.swept, "b_stop": plan.swept})
    connection.execute(_DROP_HOLES, {"b_id": room.id, "b_floor": plan.floor})
    connection.execute(_BLANK, {"b_id": room.id, "b_start": plan.swept, "b_stop": plan.floor})


def _remove_chunks(connection: sa.Connection, plan: _Plan) -> Counter[MemberId]:
    """Remove chunks; return how many bytes of each member they were."""
    freed: Counter[MemberId] = Counter()
    for chunk in plan.chunks:
        if chunk.idx is not None:
            parameters = {"b_id": plan.room.id, "b_blob": chunk.blob, "b_idx": chunk.idx}
            connection.execute(_DELETE_CHUNK, parameters)
            freed[MemberId(chunk.mid)] += chunk.size
    return freed


def _sum(reports: list[RetentionReport]) -> RetentionReport:
    return RetentionReport(
        **{
            name: sum(getattr(report, name) for report in reports)
            for name in ("rooms", "events", "bytes", "boxes", "blobs")
        },
        floors={room: floor for report in reports for room, floor in report.floors.items()},
        freed={key: size for report in reports for key, size in report.freed.items()},
    )
