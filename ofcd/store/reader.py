"""Reading: rooms, pages of history, single things; each reading sees one moment of the database."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeAlias, TypeVar

import sqlalchemy as sa
from sqlalchemy import bindparam, func, select

from ofcd.protocol.codec import split_parts
from ofcd.protocol.ids import BlobId, EventId, Hash32, InviteId, MemberId, RelayId, RoomId, Sid
from ofcd.relay.facts import (
    CACHED,
    RECENT_ENTRIES,
    ChainRecord,
    JoinRow,
    JoinStage,
    KeyRequestRow,
    LogEntry,
    OutboxRow,
    RoomSnapshot,
    SenderState,
)
from ofcd.store import tables as t
from ofcd.store.cutting import cut_off
from ofcd.store.engine import reader_engine
from ofcd.store.errors import Closed
from ofcd.store.faults import translated
from ofcd.store.types import (
    GAP_CODE,
    MOVES_CODE,
    BlobChunk,
    BlobInfo,
    CachedBlob,
    ChainPage,
    Evidence,
    Gap,
    Hole,
    KeptMoves,
    LogPage,
    LogRow,
    PeerRow,
    Replica,
    RoomSummary,
)

__all__ = ["AnyRow", "Reader"]

T = TypeVar("T")
AnyRow: TypeAlias = "sa.Row[*tuple[Any, ...]]"
AnySelect: TypeAlias = "sa.Select[*tuple[Any, ...]]"

_log, _rooms = t.log.c, t.rooms.c
_ROOM: Final[sa.BindParameter[Any]] = bindparam("b_room")
_MINE: Final = _log.room == _ROOM

_FIND_ROOM: Final = select(_rooms.id, _rooms.seq, _rooms.log, _rooms.floor, _rooms.floor_log).where(
    _rooms.room == _ROOM
)
_FOUNDED_HERE: Final = select(_log.log).where(_MINE, _log.seq == 0)
"""Of a copy, and what was one, the entries before its floor bear no running hash."""
_SKIPPED: Final = (
    select(t.evidence.c.id)
    .where(t.evidence.c.room == _ROOM, t.evidence.c.code == GAP_CODE)
    .limit(1)
)
_HOLES: Final = (
    select(t.holes.c.first, t.holes.c.next, t.holes.c.log)
    .where(t.holes.c.room == _ROOM)
    .order_by(t.holes.c.first)
)
_CHAIN: Final = (
    select(_log.seq, _log.event_id, _log.record)
    .where(_MINE, _log.control, _log.seq >= bindparam("b_start"))
    .order_by(_log.seq)
)
_ENTRY: Final = select(_log.seq, _log.event_id, _log.log, _log.mid, _log.sid).where(_MINE)
_RECENT: Final = _ENTRY.where(_log.seq > bindparam("b_after")).order_by(_log.seq)
_BY_SID: Final = (
    _ENTRY.where(_log.mid == bindparam("b_mid"), _log.sid == bindparam("b_sid"))
    .order_by(_log.seq)
    .limit(1)
)
_BY_EVENT: Final = _ENTRY.where(_log.event_id == bindparam("b_event"))
_LOG_OF: Final = select(_log.log).where(_MINE, _log.seq == bindparam("b_seq"))
_PAGE: Final = (
    select(_log.seq, _log.record, _log.cell, t.boxes.c.box)
    .outerjoin(
        t.boxes,
        sa.and_(
            t.boxes.c.room == _log.room,
            t.boxes.c.seq == _log.seq,
            t.boxes.c.mid == bindparam("b_mid"),
        ),
    )
    .where(
        _MINE,
        _log.seq >= bindparam("b_start"),
        sa.or_(_log.seq >= bindparam("b_floor"), _log.control),
    )
    .order_by(_log.seq)
    .limit(bindparam("b_limit"))
)
_SENDERS: Final = select(t.senders).where(t.senders.c.room == _ROOM)
_CURSORS: Final = select(t.cursors).where(t.cursors.c.room == _ROOM)
_JOINS: Final = (
    select(t.joins)
    .where(t.joins.c.room == _ROOM)
    .order_by(t.joins.c.ts, t.joins.c.invite_id, t.joins.c.request_hash)
)
_KEY_REQUESTS: Final = (
    select(t.key_requests)
    .where(t.key_requests.c.room == _ROOM)
    .order_by(t.key_requests.c.ts, t.key_requests.c.mid)
)
_REPLICA: Final = select(t.replicas).where(t.replicas.c.room == _ROOM)
_AWAITED: Final = select(t.awaited.c.relay_id).where(t.awaited.c.room == _ROOM)
_OUTBOX: Final = (
    select(t.outbox)
    .where(t.outbox.c.room == _ROOM)
    .order_by(t.outbox.c.ts, t.outbox.c.mid, t.outbox.c.counter)
)
_REPLICAS: Final = select(_rooms.room, t.replicas.c.hub, _rooms.seq, t.replicas.c.frozen).join(
    t.replicas, t.replicas.c.room == _rooms.id
)
_WAITING: Final = (
    select(
        _rooms.room,
        func.count(),
        func.coalesce(func.sum(func.length(t.outbox.c.cell)), 0),
        func.min(t.outbox.c.ts),
    )
    .join(t.outbox, t.outbox.c.room == _rooms.id)
    .group_by(_rooms.room)
)
_CACHED: Final = (
    select(func.coalesce(func.sum(t.blob_chunks.c.size), 0))
    .join(
        t.blobs,
        sa.and_(t.blobs.c.room == t.blob_chunks.c.room, t.blobs.c.blob == t.blob_chunks.c.blob),
    )
    .where(t.blobs.c.mid == CACHED)
)
_CACHED_BLOBS: Final = (
    select(_rooms.room, t.blobs.c.blob, func.coalesce(func.sum(t.blob_chunks.c.size), 0))
    .join(t.blobs, t.blobs.c.room == _rooms.id)
    .outerjoin(
        t.blob_chunks,
        sa.and_(t.blob_chunks.c.room == t.blobs.c.room, t.blob_chunks.c.blob == t.blobs.c.blob),
    )
    .where(t.blobs.c.mid == CACHED)
    .group_by(_rooms.room, t.blobs.c.blob, t.blobs.c.ts)
    .order_by(t.blobs.c.ts, t.blobs.c.blob)
)
_PEERS: Final = (
    select(
        t.peers,
        func.coalesce(t.successions.c.statements, b""),
        func.coalesce(t.successions.c.disputed, b""),
    )
    .outerjoin(t.successions, t.successions.c.relay_id == t.peers.c.relay_id)
    .order_by(t.peers.c.ts)
)
_EVIDENCE: Final = (
    select(_rooms.room, t.evidence.c.ts, t.evidence.c.code, t.evidence.c.records)
    .join(t.evidence, t.evidence.c.room == _rooms.id)
    .order_by(t.evidence.c.id)
)
_LIES: Final = _EVIDENCE.where(t.evidence.c.code.not_in((GAP_CODE, MOVES_CODE)))
_MOVES: Final = select(t.evidence.c.records).where(
    t.evidence.c.room == _ROOM, t.evidence.c.code == MOVES_CODE
)
_MOVED: Final = (
    select(_rooms.room, t.evidence.c.ts, t.evidence.c.records, t.hearers.c.relays)
    .join(t.evidence, t.evidence.c.room == _rooms.id)
    .outerjoin(t.hearers, t.hearers.c.room == _rooms.id)
    .where(t.evidence.c.code == MOVES_CODE)
    .order_by(t.evidence.c.id)
)
_PAST_HUBS: Final = select(_rooms.room, t.past_hubs.c.relay_id).join(
    t.past_hubs, t.past_hubs.c.room == _rooms.id
)
_NO_LIES: Final = _EVIDENCE.where(t.evidence.c.code == bindparam("b_code"))
"""What is kept beside it, under a code of its own."""
_ID_BYTES: Final = 32
_BOXES: Final = (
    select(t.boxes.c.seq, t.boxes.c.mid, t.boxes.c.box)
    .where(
        t.boxes.c.room == _ROOM,
        t.boxes.c.seq >= bindparam("b_start"),
        t.boxes.c.seq < bindparam("b_stop"),
    )
    .order_by(t.boxes.c.seq)
)
_CHUNKS: Final = sa.and_(
    t.blob_chunks.c.room == t.blobs.c.room, t.blob_chunks.c.blob == t.blobs.c.blob
)
_BLOB_BYTES: Final = (
    select(t.blobs.c.mid, func.sum(t.blob_chunks.c.size))
    .join(t.blob_chunks, _CHUNKS)
    .where(t.blobs.c.room == _ROOM)
    .group_by(t.blobs.c.mid)
)
_BLOB: Final = (
    select(
        t.blobs.c.mid,
        t.blobs.c.count,
        func.count(t.blob_chunks.c.idx),
        func.coalesce(func.sum(t.blob_chunks.c.size), 0),
    )
    .outerjoin(t.blob_chunks, _CHUNKS)
    .where(t.blobs.c.room == _ROOM, t.blobs.c.blob == bindparam("b_blob"))
    .group_by(t.blobs.c.mid, t.blobs.c.count)
)
_BLOB_CHUNK: Final = (
    select(t.blobs.c.mid, t.blobs.c.count, t.blob_chunks.c.chunk)
    .join(t.blob_chunks, _CHUNKS)
    .where(
        t.blobs.c.room == _ROOM,
        t.blobs.c.blob == bindparam("b_blob"),
        t.blob_chunks.c.idx == bindparam("b_index"),
    )
)
_SUMMARIES: Final = select(
    _rooms.room,
    _rooms.creator,
    _rooms.ts.label("founded"),
    _rooms.seq,
    _rooms.floor,
    _rooms.events,
    _rooms.bytes,
    _rooms.last_ts,
).order_by(_rooms.id)


class Reader:
    """All reading of one database, on a few connections that can not write; any thread may."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._engine = reader_engine(path)
        self._closed = False

    def close(self) -> None:
        """Close the connections; twice is fine."""
        self._closed = True
        self._engine.dispose()

    @contextmanager
    def snapshot(self) -> Iterator[sa.Connection]:
        """A connection that sees the database as it is now, until the end of the block."""
        if self._closed:
            raise Closed("the store is closed")
        with translated(self._path), self._engine.connect() as connection, connection.begin():
            yield connection

    def load_room(self, room: RoomId) -> RoomSnapshot | None:
        """See `Store.load_room`."""
        with self.snapshot() as connection:
            found = _find(connection, room)
            if found is None or found.seq < 0:
                return None
            return _snapshot(connection, room, found)

    def read_log(
        self, room: RoomId, start: int, *, mid: MemberId, max_events: int, max_bytes: int
    ) -> LogPage:
        """See `Store.read_log`."""
        with self.snapshot() as connection:
            found = _find(connection, room)
            if found is None:
                return LogPage((), floor=0, next_seq=start, more=False)
            parameters = {
                "b_room": found.id,
                "b_start": start,
                "b_floor": found.floor,
                "b_mid": mid,
                "b_limit": max_events + 1,  # one more tells whether there is more
            }
            rows = (
                LogRow(seq, record, cell, box or b"")
                for seq, record, cell, box in connection.execute(_PAGE, parameters)
            )
            taken, more = _up_to(rows, max_events, max_bytes, _row_bytes)
            holes = [] if more else _holes(connection, found.id)
        following = taken[-1].seq + 1 if taken else start
        if not more:  # of what comes before the floor, and in a hole, nothing else is there
            following = max(following, found.floor)
        for hole in holes:
            following = hole.next if hole.first <= following < hole.next else following
        return LogPage(tuple(taken), found.floor, following, more)

    def event_ids(self, room: RoomId, start: int, limit: int) -> list[EventId]:
        """See `Store.event_ids`."""
        with self.snapshot() as connection:
            found = _find(connection, room)
            if found is None:
                return []
            query = _RECENT.limit(limit)
            rows = connection.execute(query, {"b_room": found.id, "b_after": start - 1})
            return [EventId(row.event_id) for row in rows]

    def read_boxes(self, room: RoomId, start: int, stop: int) -> list[tuple[int, MemberId, bytes]]:
        """See `Store.read_boxes`."""
        with self.snapshot() as connection:
            found = _find(connection, room)
            if found is None:
                return []
            rows = connection.execute(
                _BOXES, {"b_room": found.id, "b_start": start, "b_stop": stop}
            )
            return [(seq, MemberId(mid), box) for seq, mid, box in rows]

    def replicas(self) -> list[Replica]:
        """See `Store.replicas`."""
        with self.snapshot() as connection:
            waiting = {room: rest for room, *rest in connection.execute(_WAITING)}
            return [
                Replica(
                    RoomId(room),
                    RelayId(hub),
                    seq,
                    frozen,
                    *(waiting.get(room) or (0, 0, 0)),
                )
                for room, hub, seq, frozen in connection.execute(_REPLICAS)
            ]

    def cached_bytes(self) -> int:
        """See `Store.cached_bytes`."""
        with self.snapshot() as connection:
            return int(connection.execute(_CACHED).scalar_one())

    def cached_blobs(self, room: RoomId | None, limit: int) -> list[CachedBlob]:
        """See `Store.cached_blobs`."""
        query = _CACHED_BLOBS.limit(limit)
        if room is not None:
            query = query.where(_rooms.room == room)
        with self.snapshot() as connection:
            return [
                CachedBlob(RoomId(of), BlobId(blob), int(size))
                for of, blob, size in connection.execute(query)
            ]

    def peers(self) -> list[PeerRow]:
        """See `Store.peers`."""
        with self.snapshot() as connection:
            return [PeerRow(*row) for row in connection.execute(_PEERS)]

    def evidence(self) -> list[Evidence]:
        """See `Store.evidence`."""
        with self.snapshot() as connection:
            return [
                Evidence(RoomId(room), ts, code, tuple(split_parts(raw, max_parts=64)))
                for room, ts, code, raw in connection.execute(_LIES)
            ]

    def gaps(self) -> list[Gap]:
        """See `Store.gaps`."""
        with self.snapshot() as connection:
            return [
                Gap.unpacked(RoomId(room), ts, raw)
                for room, ts, _, raw in connection.execute(_NO_LIES, {"b_code": GAP_CODE})
            ]

    def moves(self) -> list[KeptMoves]:
        """See `Store.moves`."""
        past = defaultdict[bytes, set[RelayId]](set)
        with self.snapshot() as connection:
            for room, relay_id in connection.execute(_PAST_HUBS):
                past[room].add(RelayId(relay_id))
            return [
                KeptMoves(
                    RoomId(room),
                    ts,
                    tuple(split_parts(raw, max_parts=64)),
                    _ids(relays),
                    frozenset(past[room]),
                )
                for room, ts, raw, relays in connection.execute(_MOVED)
            ]

    def load_before(self, room: RoomId, end: int, log: Hash32) -> RoomSnapshot | None:
        """See `Store.load_before`."""
        with self.snapshot() as connection:
            found = _find(connection, room)
            if found is None or found.seq <= end:
                return None
            return cut_off(connection, found, _snapshot(connection, room, found), end, log)

    def read_chain(self, room: RoomId, start: int, limit: int, *, max_bytes: int) -> ChainPage:
        """See `Store.read_chain`."""
        with self.snapshot() as connection:
            found = _find(connection, room)
            if found is None:
                return ChainPage((), more=False)
            rows = connection.execute(
                _CHAIN.limit(limit + 1), {"b_room": found.id, "b_start": start}
            )
            records = (ChainRecord(*row) for row in rows)
            taken, more = _up_to(records, limit, max_bytes, lambda record: len(record.record))
        return ChainPage(tuple(taken), more)

    def log_before(self, room: RoomId, seq: int) -> Hash32 | None:
        """See `Store.log_before`."""
        if seq == 0:
            return Hash32(room)
        with self.snapshot() as connection:
            found = _find(connection, room)
            if found is None:
                return None
            if seq == found.floor:
                return Hash32(found.floor_log)
            for hole in _holes(connection, found.id):
                if seq == hole.next:
                    return hole.log
            return connection.execute(_LOG_OF, {"b_room": found.id, "b_seq": seq - 1}).scalar()

    def floor(self, room: RoomId) -> int:
        """See `Store.floor`."""
        with self.snapshot() as connection:
            found = _find(connection, room)
        return 0 if found is None else int(found.floor)

    def holes(self, room: RoomId) -> list[Hole]:
        """See `Store.holes`."""
        with self.snapshot() as connection:
            found = _find(connection, room)
            return [] if found is None else _holes(connection, found.id)

    def find_sid(self, room: RoomId, mid: MemberId, sid: Sid) -> LogEntry | None:
        """See `Store.find_sid`."""
        return self._entry(_BY_SID, room, b_mid=mid, b_sid=sid)

    def find_event(self, room: RoomId, event_id: EventId) -> LogEntry | None:
        """See `Store.find_event`."""
        return self._entry(_BY_EVENT, room, b_event=event_id)

    def read_blob(self, room: RoomId, blob: BlobId, index: int) -> BlobChunk | None:
        """See `Store.read_blob`."""
        with self.snapshot() as connection:
            found = _find(connection, room)
            if found is None:
                return None
            parameters = {"b_room": found.id, "b_blob": blob, "b_index": index}
            row = connection.execute(_BLOB_CHUNK, parameters).first()
        return None if row is None else BlobChunk(*row)

    def blob_info(self, room: RoomId, blob: BlobId) -> BlobInfo | None:
        """See `Store.blob_info`."""
        with self.snapshot() as connection:
            found = _find(connection, room)
            if found is None:
                return None
            row = connection.execute(_BLOB, {"b_room": found.id, "b_blob": blob}).first()
        return None if row is None else BlobInfo(blob, *row)

    def rooms(self) -> list[RoomSummary]:
        """See `Store.rooms`."""
        with self.snapshot() as connection:
            return [RoomSummary(*row) for row in connection.execute(_SUMMARIES)]

    def _entry(self, query: AnySelect, room: RoomId, **keys: bytes) -> LogEntry | None:
        with self.snapshot() as connection:
            found = _find(connection, room)
            if found is None:
                return None
            row = connection.execute(query, {"b_room": found.id, **keys}).first()
        return None if row is None else LogEntry(*row)


def _find(connection: sa.Connection, room: RoomId) -> AnyRow | None:
    return connection.execute(_FIND_ROOM, {"b_room": room}).first()


def _holes(connection: sa.Connection, room: int) -> list[Hole]:
    rows = connection.execute(_HOLES, {"b_room": room})
    return [Hole(first, following, Hash32(log)) for first, following, log in rows]


def _snapshot(connection: sa.Connection, room: RoomId, found: AnyRow) -> RoomSnapshot:
    def rows(query: AnySelect, **more: int) -> Iterable[AnyRow]:
        found_rows: Iterable[AnyRow] = connection.execute(query, {"b_room": found.id, **more})
        return found_rows

    replica = connection.execute(_REPLICA, {"b_room": found.id}).first()
    awaited = connection.execute(_AWAITED, {"b_room": found.id}).scalar()
    return RoomSnapshot(
        room=room,
        chain=tuple(ChainRecord(*row) for row in rows(_CHAIN, b_start=0)),
        seq=found.seq,
        log=Hash32(found.log),
        recent=tuple(
            LogEntry(*row)
            for row in rows(_RECENT, b_after=found.seq - RECENT_ENTRIES)
            if row.log  # else it is of the time before a copy
        ),
        senders={
            MemberId(mid): SenderState(counter, EventId(last))
            for _, mid, counter, last in rows(_SENDERS)
        },
        cursors={MemberId(mid): seq for _, mid, seq, _ in rows(_CURSORS)},
        joins=tuple(_join(room, row) for row in rows(_JOINS)),
        key_requests=tuple(
            KeyRequestRow(room, MemberId(row.mid), row.request, row.ts, row.answer, row.box)
            for row in rows(_KEY_REQUESTS)
        ),
        blob_bytes={MemberId(mid): int(size) for mid, size in rows(_BLOB_BYTES)},
        floor=_whole_from(connection, found),
        outbox=tuple(
            OutboxRow(
                room,
                MemberId(row.mid),
                Sid(row.sid),
                row.counter,
                EventId(row.event_id),
                row.ts,
                row.record,
                row.cell,
            )
            for row in (rows(_OUTBOX) if replica is not None else ())
        ),
        hub=None if replica is None else RelayId(replica.hub),
        head=b"" if replica is None else replica.head,
        frozen="" if replica is None else replica.frozen,
        awaits=None if awaited is None else RelayId(awaited),
        told=_told(connection, found.id),
    )


def _told(connection: sa.Connection, room: int) -> tuple[bytes, ...]:
    """The HUB_MOVEs that are kept of a room."""
    found = connection.execute(_MOVES, {"b_room": room}).scalar()
    return tuple(split_parts(found, max_parts=64)) if found else ()


def _ids(relays: bytes | None) -> frozenset[RelayId] | None:
    if relays is None:
        return None
    return frozenset(
        RelayId(relays[start : start + _ID_BYTES]) for start in range(0, len(relays), _ID_BYTES)
    )


def _whole_from(connection: sa.Connection, found: AnyRow) -> int:
    """From where on all was here, if the log began later than the room, or skipped a stretch."""
    room = found.id
    here = connection.execute(_FOUNDED_HERE, {"b_room": room}).scalar()
    if here and connection.execute(_SKIPPED, {"b_room": room}).first() is None:
        return 0
    return max([int(found.floor), *(hole.next for hole in _holes(connection, room))])


def _join(room: RoomId, row: AnyRow) -> JoinRow:
    return JoinRow(
        room=room,
        invite_id=InviteId(row.invite_id),
        request_hash=Hash32(row.request_hash),
        mid=MemberId(row.mid),
        stage=JoinStage(row.stage),
        request=row.request,
        response=row.response,
        confirm=row.confirm,
        ts=row.ts,
    )


def _row_bytes(row: LogRow) -> int:
    return len(row.record) + len(row.cell) + len(row.box)


def _up_to(
    items: Iterable[T], max_items: int, max_bytes: int, size: Callable[[T], int]
) -> tuple[list[T], bool]:
    """The first items within both limits, at least one of them; and whether there are others."""
    taken: list[T] = []
    left = max_bytes
    for item in items:
        left -= size(item)
        if taken and (len(taken) >= max_items or left < 0):
            return taken, True
        taken.append(item)
    return taken, False
