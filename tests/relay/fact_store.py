"""A store in memory: applies facts as the real one must, and gives rooms back."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import define, evolve, field

from ofcd.protocol.ids import BlobId, EventId, Hash32, MemberId, RelayId, RoomId, Sid
from ofcd.relay import facts as f


@define
class StoredRoom:
    """What is stored of one room."""

    log: dict[int, f.LogAppended] = field(factory=dict)
    boxes: dict[tuple[int, MemberId], bytes] = field(factory=dict)
    cursors: dict[MemberId, int] = field(factory=dict)
    joins: dict[tuple[bytes, bytes], f.JoinRow] = field(factory=dict)
    key_requests: dict[MemberId, f.KeyRequestRow] = field(factory=dict)
    blobs: dict[tuple[BlobId, int], f.BlobStored] = field(factory=dict)
    outbox: dict[tuple[MemberId, Sid], f.OutboxRow] = field(factory=dict)
    senders: dict[MemberId, f.SenderState] = field(factory=dict)
    hub: RelayId | None = None
    moves: tuple[bytes, ...] = ()
    awaits: RelayId | None = None


class FactStore:
    """Facts in, rooms out; what a database would refuse, an assertion refuses here."""

    def __init__(self) -> None:
        self.rooms: dict[RoomId, StoredRoom] = {}

    def commit(self, facts: Sequence[f.Fact]) -> list[int]:
        freed: list[int] = []
        for fact in facts:
            if isinstance(fact, f.BlobDropped):
                freed.append(self._drop(fact))
            else:
                self._apply(fact)
        return freed

    def _drop(self, fact: f.BlobDropped) -> int:
        blobs = self.rooms[fact.room].blobs
        gone = [key for key, blob in blobs.items() if (key[0], blob.mid) == (fact.blob, fact.mid)]
        return sum(len(blobs.pop(key).chunk) for key in gone)

    def _apply(self, fact: f.Fact) -> None:
        if isinstance(fact, f.RoomFounded):
            assert fact.room not in self.rooms
            self.rooms[fact.room] = StoredRoom()
            return
        if isinstance(fact, f.JoinStored | f.KeyRequestStored | f.OutboxStored):
            room = self.rooms[fact.row.room]
        else:
            room = self.rooms[fact.room]
        match fact:
            case f.LogAppended():
                assert fact.seq == len(room.log)
                assert fact.event_id not in [entry.event_id for entry in room.log.values()]
                room.log[fact.seq] = fact
                if fact.counter is not None:
                    room.senders[fact.mid] = f.SenderState(fact.counter, fact.event_id)
            case f.SenderLearnt():
                room.senders[fact.mid] = fact.last
            case f.BoxStored():
                room.boxes[fact.seq, fact.mid] = fact.box
            case f.CursorMoved():
                assert fact.seq > room.cursors.get(fact.mid, -1)
                room.cursors[fact.mid] = fact.seq
            case f.JoinStored(row):
                room.joins[row.invite_id, row.request_hash] = row
            case f.JoinDropped():
                del room.joins[fact.invite_id, fact.request_hash]
            case f.KeyRequestStored(row):
                room.key_requests[row.mid] = row
            case f.KeyRequestDropped():
                del room.key_requests[fact.mid]
            case f.BlobStored():
                mine = (fact.mid, fact.count)
                known = [b for (blob, _), b in room.blobs.items() if blob == fact.blob]
                if all((b.mid, b.count) == mine for b in known):
                    room.blobs.setdefault((fact.blob, fact.index), fact)
            case f.OutboxStored(row):
                room.outbox[row.mid, row.sid] = row
            case f.OutboxDropped():
                room.outbox.pop((fact.mid, fact.sid), None)
            case f.ReplicaMoved():
                room.hub = fact.hub
            case f.LogCut():
                assert fact.before == len(room.log) - 1
                room.log = {seq: entry for seq, entry in room.log.items() if seq <= fact.end}
                room.boxes = {key: box for key, box in room.boxes.items() if key[0] <= fact.end}
                room.cursors = {mid: min(s, fact.end) for mid, s in room.cursors.items()}
                room.joins.clear()
            case f.MovesKept():
                room.moves = fact.records
            case f.HubAwaited():
                room.awaits = fact.relay
            case f.CellRedacted():
                self._redact(room, fact)
            case _:
                raise AssertionError(f"the core decided {fact}")

    def _redact(self, room: StoredRoom, fact: f.CellRedacted) -> None:
        for seq, entry in room.log.items():
            if entry.event_id == fact.target and (fact.any_sender or entry.mid == fact.by):
                room.log[seq] = evolve(entry, cell=b"")

    # -- readings --------------------------------------------------------------------------------

    def load(self, room: RoomId) -> f.RoomSnapshot | None:
        stored = self.rooms.get(room)
        if stored is None:
            return None
        log = list(stored.log.values())
        blob_bytes: dict[MemberId, int] = {}
        for blob in stored.blobs.values():
            blob_bytes[blob.mid] = blob_bytes.get(blob.mid, 0) + len(blob.chunk)
        return f.RoomSnapshot(
            room=room,
            chain=tuple(f.ChainRecord(e.seq, e.event_id, e.record) for e in log if e.control),
            seq=log[-1].seq,
            log=log[-1].log,
            recent=tuple(map(_entry, log[-f.RECENT_ENTRIES :])),
            senders=dict(stored.senders),
            cursors=dict(stored.cursors),
            joins=tuple(stored.joins.values()),
            key_requests=tuple(stored.key_requests.values()),
            blob_bytes=blob_bytes,
            hub=stored.hub,
            awaits=stored.awaits,
            outbox=tuple(stored.outbox.values()),
            told=stored.moves,
        )

    def find_sid(self, room: RoomId, mid: MemberId, sid: Sid) -> f.LogEntry | None:
        log = self.rooms[room].log.values()
        return next((_entry(e) for e in log if (e.mid, e.sid) == (mid, sid)), None)

    def find_event(self, room: RoomId, event_id: EventId) -> f.LogEntry | None:
        log = self.rooms[room].log.values()
        return next((_entry(e) for e in log if e.event_id == event_id), None)

    def log_before(self, room: RoomId, seq: int) -> Hash32:
        return Hash32(room) if seq == 0 else self.rooms[room].log[seq - 1].log


def _entry(fact: f.LogAppended) -> f.LogEntry:
    return f.LogEntry(fact.seq, fact.event_id, fact.log, fact.mid, fact.sid)
